"""Edits are kept only if a command still passes: what breaks it is found by bisection over files, then over blocks.

The command runs in worktrees of the repository, beside each other, each with some of the edits made: what the work tree
has beyond the last commit is in them, but for ignored files. They lie in the user's folder for temporary files, and are
taken away at the end; those of a run that was killed by the next one.
"""

import contextlib
import os
import queue
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import psutil

from assistant.errors import HoneError, RequestError
from assistant.refactor import git
from assistant.refactor.change import Change
from assistant.refactor.journal import Journal
from assistant.refactor.select import Block

T = TypeVar("T")

LINES = 12
"""Of what a command that fails printed last."""
SLACK, LEAST_S = 5.0, 60.0
"""A trial may take so many times as long as the command took without edits, and at least so long: an edit can make a
program run for ever."""
BROKEN = b"\x00(this does not parse\n"

Part = tuple[str, Block]
"""One block's edits, in one file."""


@dataclass(frozen=True)
class Trial:
    passed: bool
    seconds: float
    output: str = ""
    """Its last lines."""
    code: int | None = None
    """None where it took too long."""

    @property
    def why(self) -> str:
        return "took too long" if self.code is None else f"exit code {self.code}"


@dataclass(frozen=True)
class Verified:
    changes: list[Change]
    """With those edits alone that pass together."""
    failed: dict[str, str]
    """What the command printed last, by the file where an edit made it fail."""
    trials: int
    blind: bool = False
    """The command passes with the files broken, too: it does not look at them."""


def verify(
    changes: Sequence[Change],
    command: str,
    root: Path,
    journal: Journal,
    *,
    jobs: int,
    folder: str = "",
    timeout_s: float | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Verified:
    """``folder``: below the root, where the command runs.

    Raises:
        RequestError: the command does not pass without edits, or this is no git repository.
    """
    changed = {one.path: one for one in changes if one.changed}
    if not changed:
        return Verified(list(changes), {}, 0)
    with trees(root, min(jobs, max(1, len(changed))), journal) as places:
        trials = _Trials(places, command, folder, changed)

        def search() -> tuple[frozenset[Part], bool]:
            tell(f"{command!r} without edits")
            first = trials.run(frozenset(), timeout_s)
            if not first.passed:
                raise RequestError(
                    f"{command!r} does not pass without edits ({first.why}), in a worktree, where ignored files are "
                    f"missing: {first.output.strip() or 'it prints nothing'}"
                )
            trials.limit_s = timeout_s or max(LEAST_S, SLACK * first.seconds)
            blind = trials.broken().passed
            everything = [(path, one.block) for path, change in changed.items() for one in change.changed]
            tell(f"{command!r} with {len(everything)} edits")
            return frozenset(_Search(trials, tell).keep(frozenset(), everything)), blind

        kept, blind = _aside(search, trials.running)
    reason = f"fails {command!r}"
    return Verified(
        [one.only([block for path, block in kept if path == one.path], reason) for one in changes],
        trials.failed,
        trials.count,
        blind,
    )


def passes(command: str, folder: Path, timeout_s: float | None = None) -> Trial:
    """The command in a folder; all that it started has ended when this returns, also with an exception."""
    running = Running()
    return _aside(partial(_run, command, folder, timeout_s, running), running)


def _aside(work: Callable[[], T], running: "Running") -> T:
    """Does it on another thread: Ctrl-C comes to the main one, at any moment, also while a process is being started."""
    with ThreadPoolExecutor(1, thread_name_prefix="verify") as pool:
        future = pool.submit(work)
        try:
            return future.result()
        finally:
            running.stop()


class Running:
    """Processes that are to end together."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._processes: list[subprocess.Popen[bytes]] = []
        self.stopped = False

    def add(self, process: "subprocess.Popen[bytes]") -> None:
        with self._lock:
            self._processes.append(process)
            if self.stopped:
                _end(process)

    def stop(self) -> None:
        """Ends what runs, and what is yet to be added."""
        with self._lock:
            self.stopped = True
            for process in self._processes:
                if process.returncode is None:
                    _end(process)


def _run(command: str, folder: Path, timeout_s: float | None, running: Running) -> Trial:
    started = time.monotonic()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(  # noqa: S602 (it is the user's command line)
            command,
            shell=True,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # Compiled files know a source by its time in seconds and its size: a trial could run another one's edits.
            env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        )
        try:
            running.add(process)
            code: int | None = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _end(process)
        seconds = time.monotonic() - started
        size = output.seek(0, os.SEEK_END)
        output.seek(max(size - 8192, 0))
        last = output.read().decode("utf-8", "replace").splitlines()[-LINES:]
    return Trial(code == 0, seconds, "\n".join(last), code)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """With all that it started."""
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(OSError):
        process.kill()
    process.wait()


@dataclass
class _Trials:
    """The command with sets of edits, each tried once, as many at a time as there are trees."""

    places: Sequence[Path]
    command: str
    folder: str
    changed: dict[str, Change]
    limit_s: float | None = None
    count: int = 0
    failed: dict[str, str] = field(default_factory=dict[str, str])
    running: Running = field(default_factory=Running)
    _known: dict[frozenset[Part], "Future[Trial]"] = field(default_factory=dict[frozenset[Part], "Future[Trial]"])

    def __post_init__(self) -> None:
        self._free: queue.SimpleQueue[Path] = queue.SimpleQueue()
        for place in self.places:
            self._free.put(place)
        self._lock = threading.Lock()
        self._clock = int(time.time())

    def passes(self, parts: frozenset[Part]) -> bool:
        return self.result(parts).passed

    def result(self, parts: frozenset[Part]) -> Trial:
        with self._lock:
            future = self._known.get(parts)
            mine = future is None
            if future is None:
                future = self._known[parts] = Future()
        if mine:
            try:
                future.set_result(self.run(parts, self.limit_s))
            except BaseException as error:  # whoever waits for it is told, too
                future.set_exception(error)
                raise
        return future.result()

    def run(self, parts: frozenset[Part], timeout_s: float | None) -> Trial:
        def data(change: Change) -> bytes:
            blocks = [block for path, block in parts if path == change.path]
            return change.only(blocks, "").data

        return self._run({path: data(change) for path, change in self.changed.items()}, timeout_s)

    def broken(self) -> Trial:
        """With all files broken, which a command that looks at any of them notices."""
        return self._run(dict.fromkeys(self.changed, BROKEN), self.limit_s)

    def _run(self, files: dict[str, bytes], timeout_s: float | None) -> Trial:
        place = self._free.get()
        try:
            with self._lock:
                self.count += 1
                # As above: no two contents of a file have the same time.
                self._clock += 2
                now = self._clock
                if self.running.stopped:
                    raise HoneError("stopped")
            for path, data in files.items():
                # In a repository inside of this one the trees have no folders: git does not list what is in it.
                (place / path).parent.mkdir(parents=True, exist_ok=True)
                (place / path).write_bytes(data)
                os.utime(place / path, (now, now))
            return _run(self.command, place / self.folder, timeout_s, self.running)
        finally:
            self._free.put(place)


@dataclass
class _Search:
    trials: _Trials
    tell: Callable[[str], None]

    def keep(self, base: frozenset[Part], parts: Sequence[Part]) -> list[Part]:
        """As many of the parts as can be found that pass together with ``base``, which passes."""
        if not parts or self.trials.passes(base | frozenset(parts)):
            return list(parts)
        if len(parts) == 1:
            [(path, block)] = parts
            self.trials.failed[path] = self.trials.result(base | frozenset(parts)).output
            self.tell(f"fails with {path}:{block.first}")
            return []
        left, right = _halves(parts)
        first, second = self._both(base, left, right)
        # Each passes with the base alone; they need not pass together.
        if first and second and not self.trials.passes(base | frozenset(first) | frozenset(second)):
            second = self.keep(base | frozenset(first), second)
        return [*first, *second]

    def _both(
        self, base: frozenset[Part], left: Sequence[Part], right: Sequence[Part]
    ) -> tuple[list[Part], list[Part]]:
        """The two halves side by side: what runs at once is bounded by the trees."""
        future: Future[list[Part]] = Future()

        def work() -> None:
            try:
                future.set_result(self.keep(base, right))
            except BaseException as error:  # noqa: BLE001 (it is raised below)
                future.set_exception(error)

        thread = threading.Thread(target=work, name="verify", daemon=True)
        thread.start()
        first = self.keep(base, left)
        return first, future.result()


def _halves(parts: Sequence[Part]) -> tuple[Sequence[Part], Sequence[Part]]:
    """Between two files as long as there are several."""
    paths = list(dict.fromkeys(path for path, _ in parts))
    if len(paths) > 1:
        left = set(paths[: len(paths) // 2])
        return [part for part in parts if part[0] in left], [part for part in parts if part[0] not in left]
    middle = len(parts) // 2
    return parts[:middle], parts[middle:]


# Worktrees.


@contextmanager
def trees(root: Path, count: int, journal: Journal) -> Iterator[list[Path]]:
    """Copies of what is below ``root``, as it is in the work tree now. For as long as the block is not left.

    Raises:
        RequestError: this is no git repository, or has no commit.
    """
    repository = git.top(root)
    if repository is None:
        raise RequestError("--verify needs a git repository: the command runs in worktrees of it")
    clear(root, journal)
    base = Path(os.path.realpath(tempfile.mkdtemp(prefix="hone-verify-")))
    journal.note_worktree(base)
    try:
        made = []
        for index in range(count):
            place = base / str(index)
            try:
                git.run(repository, "worktree", "add", "--detach", "--force", "--quiet", str(place), "HEAD")
            except HoneError as error:
                raise RequestError(f"--verify cannot make a worktree: {error}") from error
            _overlay(repository, place)
            made.append(place / git.prefix_of(repository, root))
        yield made
    finally:
        _remove(repository, base)
        journal.forget_worktree(base)


def clear(root: Path, journal: Journal) -> None:
    """Takes away the worktrees of runs that were killed."""
    for base, pid in journal.worktrees():
        if pid != os.getpid() and psutil.pid_exists(pid):
            continue
        repository = git.top(root)
        if repository is not None:
            _remove(repository, base)
        journal.forget_worktree(base)


def _remove(repository: Path, base: Path) -> None:
    with contextlib.suppress(HoneError):
        # One by one: to prune would also forget trees of the user's that are away for a while.
        for line in git.run(repository, "worktree", "list", "--porcelain").splitlines():
            place = Path(os.fsdecode(line.removeprefix(b"worktree ")))
            if line.startswith(b"worktree ") and place.is_relative_to(base):
                git.run(repository, "worktree", "remove", "--force", "--force", str(place))
    for _ in range(3):  # something that the command started may still be writing
        shutil.rmtree(base, ignore_errors=True)
        if not base.exists():
            break
        time.sleep(0.2)


def _overlay(repository: Path, place: Path) -> None:
    """What is not committed, but for what is ignored."""
    listed = git.run(repository, "ls-files", "-z", "--modified", "--others", "--deleted", "--exclude-standard")
    staged = git.run(repository, "diff", "--cached", "--name-only", "-z", "--no-renames")
    for entry in {*listed.split(b"\0"), *staged.split(b"\0")} - {b""}:
        path = os.fsdecode(entry).rstrip("/")
        old, new = repository / path, place / path
        if old.is_symlink() or old.is_file():
            new.parent.mkdir(parents=True, exist_ok=True)
            new.unlink(missing_ok=True)
            shutil.copy2(old, new, follow_symlinks=False)
        elif not old.exists():
            with contextlib.suppress(OSError):
                new.unlink(missing_ok=True)
