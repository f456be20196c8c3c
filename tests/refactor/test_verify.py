"""`--verify`: edits are kept only with which a command still passes, in real worktrees of a real repository."""

import shlex
import sys
import time
from pathlib import Path

import psutil
import pytest

from assistant.errors import RequestError
from assistant.refactor.change import Change, Outcome
from assistant.refactor.files import Original
from assistant.refactor.journal import Journal
from assistant.refactor.select import Text, Wanted
from assistant.refactor.verify import Verified, passes, verify
from assistant.types import TextEdit
from tests.refactor.conftest import WRONG, Hone, commit, git, snapshot

PYTHON = shlex.quote(sys.executable)


def change(folder: Path, name: str, count: int) -> Change:
    """A file of functions that return their number, each changed to return another."""
    text = "".join(f"def f{index}():\n    return {index}\n\n\n" for index in range(count))
    (folder / name).write_text(text)
    outcomes = []
    for index, block in enumerate(Text(text, "python").blocks(Wanted())):
        new = text[block.start : block.end].replace(f"return {index}", f"return {index + 100}")
        at = text.index(f"return {index}\n")
        outcomes.append(Outcome(block, None, (TextEdit(at, at + 8, "", index, 1.0),), new))
    return Change(Original(name, text.encode(), 0o644), "python", tuple(outcomes))


def check(folder: Path, changes: list[Change], code: str, **more: object) -> Verified:
    """``code`` sees ``new``: names of the functions that are changed."""
    (folder / "check.py").write_text(
        "import ast, pathlib, sys\n"
        "new = set()\n"
        "for path in sorted(pathlib.Path().glob('m*.py')):\n"
        "    for node in ast.parse(path.read_text()).body:\n"
        "        if node.body[0].value.value >= 100:\n"
        "            new.add(f'{path.stem}.{node.name}')\n"
        f"print(sorted(new))\n{code}"
    )
    commit(folder)
    with Journal(folder) as journal:
        done = verify(changes, f"{PYTHON} check.py", folder, journal, jobs=2, **more)  # type: ignore[arg-type]
        assert journal.worktrees() == []
    assert git(folder, "worktree", "list").count("\n") == 1
    return done


def kept(done: Verified) -> set[str]:
    return {f"{Path(one.path).stem}.{outcome.block.name}" for one in done.changes for outcome in one.changed}


def test_what_passes_is_kept_at_once(repo: Path) -> None:
    done = check(repo, [change(repo, "m0.py", 3), change(repo, "m1.py", 2)], "")
    assert kept(done) == {"m0.f0", "m0.f1", "m0.f2", "m1.f0", "m1.f1"}
    assert done.trials == 3, "without edits, with broken files, with all edits"
    assert not done.blind


def test_what_fails_is_found_in_files_and_blocks(repo: Path) -> None:
    changes = [change(repo, f"m{index}.py", 4) for index in range(5)]
    done = check(repo, changes, "sys.exit(bool({'m1.f2', 'm3.f0', 'm3.f3'} & new))")
    assert kept(done) == {f"m{file}.f{index}" for file in range(5) for index in range(4)} - {"m1.f2", "m3.f0", "m3.f3"}
    assert set(done.failed) == {"m1.py", "m3.py"}
    assert "m1.f2" in done.failed["m1.py"]
    reasons = {outcome.reason for one in done.changes for outcome in one.outcomes if outcome.reason}
    assert reasons == {f"fails {PYTHON + ' check.py'!r}"}


def test_edits_that_fail_together_only(repo: Path) -> None:
    changes = [change(repo, f"m{index}.py", 2) for index in range(4)]
    done = check(repo, changes, "sys.exit({'m0.f1', 'm3.f0'} <= new)")
    assert len(kept(done)) == 7
    assert len(kept(done) & {"m0.f1", "m3.f0"}) == 1


def test_nothing_that_passes(repo: Path) -> None:
    done = check(repo, [change(repo, "m0.py", 2), change(repo, "m1.py", 1)], "sys.exit(bool(new))")
    assert kept(done) == set()


def test_what_runs_for_ever_fails(repo: Path) -> None:
    done = check(repo, [change(repo, "m0.py", 2)], "while 'm0.f1' in new: pass", timeout_s=3.0)
    assert kept(done) == {"m0.f0"}


def test_a_command_that_looks_elsewhere_is_noticed(repo: Path) -> None:
    one = change(repo, "m0.py", 1)
    commit(repo)
    with Journal(repo) as journal:
        assert verify([one], "true", repo, journal, jobs=1).blind


def test_a_command_that_fails_without_edits(repo: Path) -> None:
    one = change(repo, "m0.py", 1)
    commit(repo)
    with (
        Journal(repo) as journal,
        pytest.raises(RequestError, match=r"does not pass without edits \(exit code 3\).*mind"),
    ):
        verify([one], "echo never mind; exit 3", repo, journal, jobs=1)
    assert git(repo, "worktree", "list").count("\n") == 1


def test_what_is_not_committed_is_in_the_trees(repo: Path) -> None:
    one = change(repo, "m0.py", 1)
    (repo / "gone.txt").write_text("x")
    (repo / ".gitignore").write_text("ignored\n")
    commit(repo)
    (repo / "gone.txt").unlink()
    (repo / "new folder").mkdir()
    (repo / "new folder" / "new.txt").write_text("new")
    (repo / "ignored").write_text("x")
    git(repo, "add", "new folder")
    one = change(repo, "m0.py", 2)
    command = 'test ! -e gone.txt && test -e "new folder/new.txt" && test ! -e ignored && grep -q "def f1" m0.py'
    with Journal(repo) as journal:
        done = verify([one], command, repo, journal, jobs=1)
    assert len(done.changes[0].changed) == 2


def test_without_a_repository(tmp_path: Path) -> None:
    one = change(tmp_path, "m0.py", 1)
    with Journal(tmp_path) as journal, pytest.raises(RequestError, match="needs a git repository"):
        verify([one], "true", tmp_path, journal, jobs=1)


def test_a_command_ends_with_all_that_it_started(tmp_path: Path) -> None:
    done = passes("sleep 1000 & echo $! > pid; exit 0", tmp_path)
    assert done.passed
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 30
    while psutil.pid_exists(pid) and psutil.Process(pid).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
        assert time.monotonic() < deadline
        time.sleep(0.01)


# From the command line.


@pytest.fixture
def project(repo: Path) -> Path:
    (repo / "a.py").write_text(WRONG)
    (repo / "b.py").write_text(WRONG.replace("os", "sys"))
    commit(repo)
    return repo


def test_only_what_passes_is_written(project: Path, hone: Hone) -> None:
    before = snapshot(project)
    command = f"{PYTHON} -c \"assert 'a - b.bb' in open('b.py').read(); import a, b\""
    done = hone("refactor", "fix", "--write", "--verify", command)
    assert done.code == 0, done
    assert "b.py fails" in done.err
    assert "AssertionError" in done.err
    assert (project / "b.py").read_text() == WRONG.replace("os", "sys").replace("a + b.bb", "a + b")
    assert "a - b\n" in (project / "a.py").read_text()
    assert hone("refactor", "--undo").code == 0
    assert snapshot(project) == before


def test_a_preview_shows_what_passes(project: Path, hone: Hone) -> None:
    before = snapshot(project)
    done = hone("refactor", "fix", "--verify", "grep -q 'a - b.bb' a.py && grep -q 'a - b.bb' b.py")
    assert done.code == 0, done
    assert done.out.count("\n+    total = a + b\n") == 2
    assert "\n+    return a - b\n" not in done.out
    assert snapshot(project) == before


def test_the_work_tree_has_the_last_word(project: Path, hone: Hone) -> None:
    """What passes in a worktree may fail in the work tree, where ignored files are."""
    (project / ".gitignore").write_text("marker\n")
    commit(project)
    (project / "marker").write_text("x")
    before = snapshot(project)
    done = hone("refactor", "fix", "--write", "--verify", "test ! -e marker")
    assert done.code == 2, done
    assert "fails in the work tree" in done.err
    assert "2 files put back" in done.err
    assert snapshot(project) == before
    assert hone("refactor", "--undo").code == 1


def test_a_file_of_a_repository_inside_of_this_one_is_tried_too(repo: Path) -> None:
    (repo / "vendor").mkdir()
    git(repo / "vendor", "init", "--quiet")
    (repo / "vendor" / "m1.py").write_text("def f0():\n    return 0\n")
    commit(repo / "vendor")
    one = change(repo, "m0.py", 1)
    inner = change(repo, "vendor/m1.py", 1)
    done = check(repo, [one, inner], "")
    assert kept(done) == {"m0.f0", "m1.f0"}
