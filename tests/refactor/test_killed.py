"""Killed at random moments, gone on with, taken back: no file is ever half of anything.

HONE_KILLS sets how often; 50 by hand, fewer in the suite.
"""

import multiprocessing
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest

from assistant.refactor.journal import Journal
from tests.refactor.conftest import FIXES, WRONG, commit, environment, git, snapshot

KILLS = int(os.environ.get("HONE_KILLS", "6"))
FILES = 8
DEADLINE_S = 90.0
PHASES_S: dict[str | None, float] = {"editing": 0.4, "writing": 0.6}
"""So long these last at least, since what is below them sleeps."""
CONTEXT = multiprocessing.get_context("forkserver")


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[None]:
    """Torch is imported once: a process that is forked from there begins at once."""
    CONTEXT.set_forkserver_preload(["tests.refactor.mended"])
    yield
    from multiprocessing import forkserver

    forkserver._forkserver._stop()  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small repository with all that a file can have: line ends, marks, modes, no end."""
    folder = tmp_path_factory.mktemp("original") / "repo"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(folder.parent).items():
            patch.setenv(name, value)
        for index in range(FILES):
            text = WRONG.replace("add", f"add{index}")
            data = text.encode()
            if index % 4 == 1:
                data = data.replace(b"\n", b"\r\n")
            if index % 4 == 2:
                data = b"\xef\xbb\xbf" + data
            if index % 4 == 3:
                data = data.rstrip()
            path = folder / f"part {index % 3}" / f"module_{index}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
            path.chmod(0o755 if index % 2 else 0o644)
        commit(folder)
    return folder


class Lab:
    """A copy of the repository, and processes that work on it."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder, self.home = folder, home
        self.log = home / "log"
        self.before = snapshot(folder)
        self.after = {path: (_mended(data), mode) for path, (data, mode) in self.before.items()}

    def start(self, *arguments: str) -> ForkServerProcess:
        from tests.refactor.mended import hone

        process = CONTEXT.Process(
            target=hone, args=(str(self.folder), arguments, environment(self.home), str(self.log)), daemon=True
        )
        process.start()
        return process

    def run(self, *arguments: str) -> int:
        process = self.start(*arguments)
        process.join(DEADLINE_S)
        if process.exitcode is None:
            process.kill()
            process.join()
            pytest.fail(f"{arguments} does not end: {self.said()}")
        return process.exitcode

    def kill(self, delay_s: float, *arguments: str, after: str | None = None) -> bool:
        """So long after it began, or after the run is in a state; False where it had ended by then."""
        process = self.start(*arguments)
        deadline = time.monotonic() + DEADLINE_S
        while after is not None and process.is_alive() and _state(self) != after:
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.003)
        process.join(delay_s)
        killed = process.is_alive()
        process.kill()
        process.join()
        return killed and process.exitcode == -signal.SIGKILL

    def said(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def written(self) -> int:
        """How many files are new; every one is old or new, and whole."""
        now = snapshot(self.folder)
        temporary = {path for path in now if path.endswith(".hone-refactor")}
        for path in now.keys() - temporary:
            assert now[path] in (self.before[path], self.after[path]), f"{path} is neither old nor new"
        assert now.keys() - temporary == self.before.keys()
        return sum(now[path] == self.after[path] != self.before[path] for path in self.before)


def _mended(data: bytes) -> bytes:
    for wrong, right in FIXES.items():
        data = data.replace(wrong.encode(), right.encode())
    return data


@pytest.mark.timeout(60 + 60 * KILLS)
def test_killed_at_random_moments(original: Path, tmp_path: Path) -> None:
    dice = random.Random(os.environ.get("HONE_SEED", "refactor"))
    found: list[str] = []
    whole_s: float | None = None
    warm = False
    for kill in range(KILLS):
        folder = tmp_path / str(kill)
        shutil.copytree(original, folder / "repo")
        lab = Lab(folder / "repo", folder)
        while whole_s is None:
            started = time.monotonic()
            assert lab.run("refactor", "fix", "--write") == 0, lab.said()
            whole_s = time.monotonic() - started if warm else None
            warm = True
            assert lab.written() == FILES
            assert lab.run("refactor", "--undo") == 0
            assert snapshot(lab.folder) == lab.before
            (Path(environment(folder)["HONE_STATE_DIR"]) / "refactor").rename(folder / f"forgotten {time.monotonic()}")
        # A run of the next one is about as long; each of its phases gets its share.
        after = dice.choice([None, "editing", "writing", "writing"])
        killed = lab.kill(dice.uniform(0, PHASES_S.get(after, whole_s)), "refactor", "fix", "--write", after=after)
        written = lab.written()
        state = _state(lab)
        found.append(f"{state} {written}" if killed else "too late")
        if dice.random() < 0.5 and state == "writing":
            # It is killed again while it is gone on with.
            lab.kill(dice.uniform(0, whole_s), "refactor", "--resume")
            assert lab.written() >= written
        if state in ("editing", "writing"):
            expected = 0 if _state(lab) == state else 1
            assert lab.run("refactor", "--resume") == expected, lab.said()
        else:
            assert lab.run("refactor", "fix", "--write", "--force") == 0, lab.said()
        assert snapshot(lab.folder) == lab.after, lab.said()
        if dice.random() < 0.5:
            lab.kill(dice.uniform(0, PHASES_S["writing"]), "refactor", "--undo", after="undoing")
            lab.written()
        code = lab.run("refactor", "--undo")
        assert code in (0, 1), lab.said()
        assert snapshot(lab.folder) == lab.before, lab.said()
        assert git(lab.folder, "status", "--porcelain") == ""
        shutil.rmtree(folder)
    print("\nkilled while", ", ".join(found))  # noqa: T201 (with -s: what was hit)


def _state(lab: Lab) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HONE_STATE_DIR", environment(lab.home)["HONE_STATE_DIR"])
        with Journal(lab.folder.resolve()) as journal:
            run = journal.unfinished()
            return "none" if run is None else run.state


@pytest.mark.parametrize("state", ["writing", "editing"])
def test_an_interrupted_run_is_told_of_and_not_run_over(original: Path, tmp_path: Path, state: str) -> None:
    shutil.copytree(original, tmp_path / "repo")
    lab = Lab(tmp_path / "repo", tmp_path)
    process = lab.start("refactor", "fix", "--write")
    deadline = time.monotonic() + DEADLINE_S
    while not (lab.written() if state == "writing" else _state(lab) == "editing"):
        assert time.monotonic() < deadline, lab.said()
        time.sleep(0.01)
    process.kill()
    process.join()
    assert _state(lab) == state
    assert lab.run("refactor", "fix", "--check", "nothing") == 2
    lab.run("refactor", "fix", "--check")
    assert f"was interrupted {'while' if state == 'writing' else 'before'} it wrote: --resume" in lab.said()
    code = lab.run("refactor", "fix", "--write")
    if state == "editing":
        assert code == 0
        assert snapshot(lab.folder) == lab.after
    else:
        assert code == 2
        assert "`hone refactor --resume` finishes it" in lab.said()
        assert lab.written() < FILES
        assert lab.run("refactor", "--undo") == 0
        assert snapshot(lab.folder) == lab.before


def test_a_polite_end_takes_everything_away(original: Path, tmp_path: Path) -> None:
    """SIGTERM while the command of --verify runs: no worktree, no process, no file is left."""
    shutil.copytree(original, tmp_path / "repo")
    lab = Lab(tmp_path / "repo", tmp_path)
    mark = tmp_path / "begun"
    process = lab.start("refactor", "fix", "--write", "--verify", f"echo $$ > {mark}; sleep 1000")
    deadline = time.monotonic() + DEADLINE_S
    while not (mark.exists() and mark.read_text().strip()):
        assert time.monotonic() < deadline, lab.said()
        time.sleep(0.01)
    process.terminate()
    process.join(DEADLINE_S)
    assert process.exitcode == 130, lab.said()
    assert "`hone refactor --resume` goes on where it was" in lab.said()
    with pytest.raises(ProcessLookupError):
        os.kill(int(mark.read_text()), 0)
    assert git(lab.folder, "worktree", "list").count("\n") == 1
    assert list(tmp_path.glob("hone-verify-*")) == []
    assert snapshot(lab.folder) == lab.before


def test_worktrees_of_a_killed_run_are_taken_away_by_the_next(original: Path, tmp_path: Path) -> None:
    shutil.copytree(original, tmp_path / "repo")
    lab = Lab(tmp_path / "repo", tmp_path)
    mark = tmp_path / "begun"
    process = lab.start("refactor", "fix", "--write", "--verify", f"echo $$ > {mark}; sleep 1000")
    deadline = time.monotonic() + DEADLINE_S
    while not (mark.exists() and mark.read_text().strip()):
        assert time.monotonic() < deadline, lab.said()
        time.sleep(0.01)
    process.kill()
    process.join()
    os.killpg(int(mark.read_text()), signal.SIGKILL)
    assert git(lab.folder, "worktree", "list").count("\n") > 1
    assert lab.run("refactor", "--undo") == 1
    assert git(lab.folder, "worktree", "list").count("\n") == 1
    assert list(tmp_path.glob("hone-verify-*")) == []
