"""What was edited and written in one repository: an SQLite file in the user's state folder.

``answers`` are what the model said of a block, by all that it depends on: a preview's answers are those that are then
written, and an interrupted run goes on where it was. A ``run`` writes: before the first file is touched, all that it
will write stands in the journal, with the bytes that were there, so that it can be finished or undone whenever it is
killed. What has been written is told by the files themselves.

The file holds code of the repository, so only its owner may read it. Old runs and answers are forgotten.
"""

import contextlib
import hashlib
import json
import os
import sqlite3
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import platformdirs
from filelock import FileLock, Timeout

from assistant.errors import BusyError, HoneError
from assistant.types import TextEdit

VERSION = 1
RUNS = 20
"""Runs that can be undone."""
FORGET_S = 30 * 86400
"""After so long answers are asked for again."""
WAIT_S = 20.0
PROGRAMS = ("assistant", "infill", "model")
"""Packages on which an answer depends."""
SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    id INTEGER PRIMARY KEY, began REAL NOT NULL, task TEXT NOT NULL, options TEXT NOT NULL, state TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS files (
    run INTEGER NOT NULL, path TEXT NOT NULL, mode INTEGER NOT NULL, before BLOB NOT NULL, after BLOB NOT NULL,
    old TEXT NOT NULL, new TEXT NOT NULL, blocks INTEGER NOT NULL, refused INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (run, path)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, at REAL NOT NULL, answer TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS worktrees (path TEXT PRIMARY KEY, pid INTEGER NOT NULL) WITHOUT ROWID;
"""

State = Literal["editing", "writing", "written", "undoing", "undone", "ended"]
"""editing: nothing is written yet. writing: some files may be. written: all are. ended: there was nothing to write."""
UNFINISHED = ("editing", "writing", "undoing")


@dataclass(frozen=True)
class Run:
    id: int
    began: float
    task: str
    options: dict[str, Any]
    state: State

    @property
    def when(self) -> str:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(self.began))


@dataclass(frozen=True)
class Written:
    """A file of a run: the bytes before and after, and the digests of both."""

    path: str
    mode: int
    before: bytes
    after: bytes
    old: str
    new: str
    blocks: int
    refused: bool = False
    """It was not what it had been when it was to be written, and is as it was found."""


@dataclass(frozen=True)
class Answer:
    """What a model says of a block: offsets are those of the text."""

    edits: tuple[TextEdit, ...]
    reason: str | None


def key(**depends: object) -> str:
    """Of an answer, from all that it depends on, and from the programs that make it."""
    return hashlib.sha256(json.dumps({**depends, "programs": programs()}, sort_keys=True).encode()).hexdigest()


@cache
def programs() -> str:
    """A digest of this installation's own code: other code may answer otherwise, under the same version too."""
    digest = hashlib.sha256()
    top = Path(__file__).parents[2]
    for package in PROGRAMS:
        for path in sorted((top / package).rglob("*.py")):
            digest.update(f"{path.relative_to(top).as_posix()} {path.stat().st_size}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def state_folder(env: Mapping[str, str] | None = None) -> Path:
    env = os.environ if env is None else env
    base = Path(env["HONE_STATE_DIR"]) if env.get("HONE_STATE_DIR") else platformdirs.user_state_path("hone")
    return base / "refactor"


def journal_file(root: Path) -> Path:
    name = hashlib.sha256(os.fsencode(root)).hexdigest()[:20]
    return state_folder() / f"{name}.sqlite3"


class Journal:
    """Of one repository. May be used by the thread that opened it."""

    def __init__(self, root: Path) -> None:
        """Raises:
        HoneError: it cannot be opened; says where it is.
        """
        self.file = journal_file(root)
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(self.file, os.O_CREAT | os.O_RDWR, 0o600))
            self._rows = sqlite3.connect(self.file, timeout=WAIT_S, isolation_level=None)
            self._rows.execute("PRAGMA synchronous = FULL")
            (version,) = self._rows.execute("PRAGMA user_version").fetchone()
            if version not in (0, VERSION):
                raise HoneError(
                    f"{self.file} is a journal of another version of Hone; move it away to go on without it"
                )
            self._rows.executescript(SCHEMA)
            self._rows.execute(f"PRAGMA user_version = {VERSION}")
        except (OSError, sqlite3.Error) as error:
            raise HoneError(f"the journal {self.file} cannot be used: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._rows.close()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """For those who write: one at a time in a repository.

        Raises:
            BusyError: another one is at work.
        """
        lock = FileLock(f"{self.file}.lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise BusyError("another `hone refactor` is writing in this repository; wait for it", 5.0) from None
        try:
            yield
        finally:
            lock.release()

    # Runs.

    def begin(self, task: str, options: Mapping[str, Any], state: State = "editing") -> Run:
        """``state``: "ended" for a run that is decided at once, so that there is nothing to go on with before that."""
        now = time.time()
        with self._whole():
            if state == "editing":
                self._rows.execute("UPDATE runs SET state = 'ended' WHERE state = 'editing'")
            row = self._rows.execute(
                "INSERT INTO runs (began, task, options, state) VALUES (?, ?, ?, ?)",
                (now, task, json.dumps(options), state),
            )
            assert row.lastrowid is not None
            self._forget(now)
        return Run(row.lastrowid, now, task, dict(options), state)

    def decide(self, run: Run, files: Sequence[Written]) -> None:
        """All that a run will write, before the first file is touched."""
        with self._whole():
            self._rows.executemany(
                "INSERT INTO files (run, path, mode, before, after, old, new, blocks) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (run.id, f.path, f.mode, zlib.compress(f.before), zlib.compress(f.after), f.old, f.new, f.blocks)
                    for f in files
                ],
            )
            self._rows.execute("UPDATE runs SET state = ? WHERE id = ?", ("writing" if files else "ended", run.id))

    def become(self, run: Run, state: State) -> None:
        self._rows.execute("UPDATE runs SET state = ? WHERE id = ?", (state, run.id))

    def give_up(self, run: Run) -> None:
        """It ended before anything was written, and not by being interrupted."""
        self._rows.execute("UPDATE runs SET state = 'ended' WHERE id = ? AND state = 'editing'", (run.id,))

    def refuse(self, run: Run, path: str) -> None:
        self._rows.execute("UPDATE files SET refused = 1 WHERE run = ? AND path = ?", (run.id, path))

    def unfinished(self) -> Run | None:
        """The last run, where it did not come to its end."""
        return self._run(f"WHERE state IN ({', '.join(map(repr, UNFINISHED))})")

    def undoable(self) -> Run | None:
        """The last run that wrote something which is not undone."""
        return self._run("WHERE state IN ('writing', 'written', 'undoing')")

    def files(self, run: Run) -> list[Written]:
        rows = self._rows.execute(
            "SELECT path, mode, before, after, old, new, blocks, refused FROM files WHERE run = ? ORDER BY path",
            (run.id,),
        )
        return [
            Written(path, mode, zlib.decompress(before), zlib.decompress(after), old, new, blocks, bool(refused))
            for path, mode, before, after, old, new, blocks, refused in rows
        ]

    def _run(self, where: str) -> Run | None:
        found = self._rows.execute(
            f"SELECT id, began, task, options, state FROM runs {where} ORDER BY id DESC LIMIT 1"  # noqa: S608 (ours)
        ).fetchone()
        return None if found is None else Run(found[0], found[1], found[2], json.loads(found[3]), found[4])

    # Answers.

    def answer(self, key: str) -> Answer | None:
        found = self._rows.execute("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()
        if found is None:
            return None
        values = json.loads(found[0])
        return Answer(tuple(TextEdit(**one) for one in values["edits"]), values["reason"])

    def keep(self, answers: Mapping[str, Answer]) -> None:
        now = time.time()
        with self._whole():
            self._rows.executemany(
                "INSERT OR REPLACE INTO answers (key, at, answer) VALUES (?, ?, ?)",
                [
                    (key, now, json.dumps({"edits": [asdict(edit) for edit in one.edits], "reason": one.reason}))
                    for key, one in answers.items()
                ],
            )

    # Worktrees, which are taken away whatever happens.

    def note_worktree(self, path: Path) -> None:
        self._rows.execute("INSERT OR REPLACE INTO worktrees (path, pid) VALUES (?, ?)", (str(path), os.getpid()))

    def forget_worktree(self, path: Path) -> None:
        self._rows.execute("DELETE FROM worktrees WHERE path = ?", (str(path),))

    def worktrees(self) -> list[tuple[Path, int]]:
        """With the process that made each."""
        return [(Path(path), pid) for path, pid in self._rows.execute("SELECT path, pid FROM worktrees")]

    def _forget(self, now: float) -> None:
        self._rows.execute("DELETE FROM answers WHERE at < ?", (now - FORGET_S,))
        last = "SELECT id FROM runs ORDER BY id DESC LIMIT ?"
        self._rows.execute(f"DELETE FROM runs WHERE id NOT IN ({last})", (RUNS,))  # noqa: S608 (ours)
        self._rows.execute("DELETE FROM files WHERE run NOT IN (SELECT id FROM runs)")

    @contextlib.contextmanager
    def _whole(self) -> Iterator[None]:
        """All of it or nothing."""
        self._rows.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._rows.execute("ROLLBACK")
            raise
        self._rows.execute("COMMIT")
