"""What a workspace defines, in an SQLite file below the user's cache folder: written by ``sweep``, read by ``Reader``.

One file for one root. It holds definitions and their first lines, and of each indexed file its path, time, size and
hash; a file that the gate keeps out leaves no trace but its path and the reason. A sweep goes through the workspace in
small transactions, so that one that was killed is gone on with, and reads what has changed since only. Readers see the
last transaction (WAL) and never wait. A damaged file, or one of another version, is made anew.

It must not run in a process that has to answer: ``python -m assistant.workspace`` is one of its own.
"""

import contextlib
import hashlib
import math
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

import platformdirs
from filelock import FileLock, Timeout

from assistant.workspace.gate import Found, Gate, KeptOut

T = TypeVar("T")

VERSION = 1
BATCH = 50
"""Files in one transaction."""
UNUSED_S = 90 * 86400
"""An index that nobody has opened for so long is removed."""
WAIT_S, LOCK_S = 5.0, 60.0
"""For another's transaction, and for its whole work."""
KEPT = 3000
"""Rows that a reader remembers."""
SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE files (
    id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, stem TEXT NOT NULL, language TEXT NOT NULL,
    mtime INTEGER NOT NULL, size INTEGER NOT NULL, hash BLOB NOT NULL, reason TEXT
);
CREATE INDEX files_stem ON files (stem);
CREATE TABLE definitions (
    id INTEGER PRIMARY KEY, file INTEGER NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL, scope TEXT NOT NULL,
    signature TEXT NOT NULL, text TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL
);
CREATE INDEX definitions_name ON definitions (name);
CREATE INDEX definitions_file ON definitions (file);
CREATE VIRTUAL TABLE words USING fts5 (
    text, content='definitions', content_rowid='id', detail='none',
    tokenize="unicode61 remove_diacritics 0 tokenchars '_'"
);
"""


@dataclass(frozen=True)
class Entry:
    """A definition of the workspace."""

    path: str
    """Below the root, with slashes."""
    language: str
    name: str
    kind: str
    scope: str
    signature: str
    text: str
    first: int
    last: int


@dataclass(frozen=True)
class Progress:
    done: int
    total: int
    """Files with definitions that are looked at; known once the workspace was walked."""
    changed: int
    """Of those, read anew."""


@dataclass(frozen=True)
class Swept:
    files: int
    definitions: int
    changed: int
    removed: int
    kept_out: tuple[KeptOut, ...]
    seconds: float


# Places.


def folder() -> Path:
    """Where all indexes are; ``HONE_CACHE_DIR`` overrides the user's cache folder."""
    base = os.environ.get("HONE_CACHE_DIR")
    return (Path(base) if base else platformdirs.user_cache_path("hone")) / "workspaces"


def index_file(root: Path) -> Path:
    real = os.path.realpath(root)
    digest = hashlib.sha256(real.encode("utf-8", errors="surrogateescape")).hexdigest()[:16]
    name = "".join(sign if sign.isalnum() or sign in "-_" else "-" for sign in Path(real).name)[:40]
    return folder() / f"{name or 'root'}-{digest}.db"


def forget(root: Path) -> bool:
    """Removes the index of a workspace; whether there was one."""
    return _remove(index_file(root))


def _remove(file: Path) -> bool:
    was_there = file.exists()
    for end in ("", "-wal", "-shm", ".lock"):
        with contextlib.suppress(OSError):
            file.with_name(file.name + end).unlink()
    return was_there


def prune(now: float | None = None) -> list[str]:
    """Removes indexes whose workspace is gone, that nobody used for long, or that cannot be read; gives their roots."""
    now = time.time() if now is None else now
    gone = []
    for file in sorted(folder().glob("*.db")):
        # Whoever makes one holds its lock; until it is made, nothing can be read from it.
        with contextlib.suppress(OSError, Timeout), FileLock(_lock(file), timeout=0):
            root, unused = _root_of(file), now - file.stat().st_mtime > UNUSED_S
            if unused or not root or not Path(root).is_dir():
                _remove(file)
                gone.append(root or file.name)
    return gone


def _root_of(file: Path) -> str:
    try:
        with contextlib.closing(_connect(file, read_only=True)) as db:
            return _meta(db, "root") or ""
    except sqlite3.Error:
        return ""


def _lock(file: Path) -> Path:
    return file.with_name(file.name + ".lock")


# Writing.


def sweep(
    gate: Gate,
    file: Path | None = None,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    pause_s: float = 0.0,
) -> Swept | None:
    """Brings the index up to date with the workspace; None where another process is at it.

    ``pause_s``: a rest after each batch, for the sake of everybody else.
    Raises: OSError where the cache folder cannot be written; sqlite3.Error where SQLite cannot do what is needed.
    """
    file = file or index_file(gate.root)
    started = time.monotonic()
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with FileLock(_lock(file), timeout=0):
            swept = _mended(gate, file, lambda db: _sweep(db, gate, on_progress, should_stop, pause_s))
    except Timeout:
        return None
    return Swept(*swept, seconds=time.monotonic() - started)


def update(gate: Gate, paths: Iterable[str], file: Path | None = None) -> int:
    """Looks at these files again, paths below the root with slashes; how many have changed. Also for what is gone.

    Raises: as ``sweep``; filelock.Timeout where another process writes for too long.
    """
    file = file or index_file(gate.root)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with FileLock(_lock(file), timeout=LOCK_S):
        return _mended(gate, file, lambda db: _update(db, gate, sorted(set(paths))))


def _mended(gate: Gate, file: Path, work: Callable[[sqlite3.Connection], T]) -> T:
    """``work`` on the index; where that turns out to be damaged, once more on a new one."""
    try:
        with contextlib.closing(_open(file, gate)) as db:
            return work(db)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError) and "malformed" not in str(error):
            raise
        _remove_data(file)
        with contextlib.closing(_open(file, gate)) as db:
            return work(db)


def _remove_data(file: Path) -> None:
    for end in ("", "-wal", "-shm"):
        file.with_name(file.name + end).unlink(missing_ok=True)


def _open(file: Path, gate: Gate) -> sqlite3.Connection:
    if not file.exists():
        # Nobody else may read it, whatever the process's mask says.
        os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
    db = _connect(file)
    try:
        fits = _meta(db, "version") == str(VERSION) and _meta(db, "root") == str(gate.root)
        broken = fits and db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok"
    except sqlite3.OperationalError:
        fits = broken = False  # no tables: a new file
    except sqlite3.DatabaseError:
        db.close()
        raise
    if broken or not fits:
        db.close()
        _remove_data(file)
        os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
        db = _connect(file)
        db.execute("PRAGMA journal_mode = WAL")
        with db:
            db.execute("BEGIN IMMEDIATE")
            for statement in filter(str.strip, SCHEMA.split(";")):
                db.execute(statement)
            db.executemany(
                "INSERT INTO meta VALUES (?, ?)",
                [("version", str(VERSION)), ("root", str(gate.root)), ("swept", "")],
            )
    file.touch()
    return db


def _connect(file: Path, *, read_only: bool = False) -> sqlite3.Connection:
    mode = "ro" if read_only else "rw"
    db = sqlite3.connect(
        f"{file.resolve().as_uri()}?mode={mode}",
        uri=True,
        timeout=WAIT_S,
        check_same_thread=False,
        isolation_level=None,
    )
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("PRAGMA cache_size = -4000")
    db.execute("PRAGMA secure_delete = ON")  # what is kept out from now on leaves nothing behind
    return db


def _meta(db: sqlite3.Connection, key: str) -> str | None:
    row = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return None if row is None else str(row[0])


@contextlib.contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def _sweep(
    db: sqlite3.Connection,
    gate: Gate,
    on_progress: Callable[[Progress], None] | None,
    should_stop: Callable[[], bool],
    pause_s: float,
) -> tuple[int, int, int, int, tuple[KeptOut, ...]]:
    kept_out: list[KeptOut] = []
    found = [(one, language) for one in gate.walk(kept_out) if (language := _language(one.path)) is not None]
    known = {path: (mtime, size) for path, mtime, size in db.execute("SELECT path, mtime, size FROM files")}
    gone = sorted(known.keys() - {one.path for one, _ in found})
    with _transaction(db):
        for path in gone:
            _drop(db, path)
    changed = [(one, language) for one, language in found if known.get(one.path) != (one.mtime, one.size)]
    # Small files first is no help; the nearest to the top are those that most others use.
    changed.sort(key=lambda one: (one[0].path.count("/"), one[0].path))
    done = len(found) - len(changed)
    for start in range(0, len(changed), BATCH):
        if should_stop():
            break
        batch = changed[start : start + BATCH]
        with _transaction(db):
            for one, language in batch:
                _put(db, gate, one, language)
        done += len(batch)
        if on_progress is not None:
            on_progress(Progress(done, len(found), start + len(batch)))
        if pause_s:
            time.sleep(pause_s)
    else:
        with _transaction(db):
            db.execute("UPDATE meta SET value = ? WHERE key = 'swept'", (str(int(time.time())),))
    kept_out += [KeptOut(*row) for row in db.execute("SELECT path, reason FROM files WHERE reason IS NOT NULL")]
    count = db.execute("SELECT count(*) FROM definitions").fetchone()[0]
    return len(found), count, len(changed), len(gone), tuple(kept_out)


def _update(db: sqlite3.Connection, gate: Gate, paths: Sequence[str]) -> int:
    changed = 0
    for start in range(0, len(paths), BATCH):
        with _transaction(db):
            for path in paths[start : start + BATCH]:
                changed += _look(db, gate, path)
    return changed


def _look(db: sqlite3.Connection, gate: Gate, path: str) -> bool:
    language = _language(path)
    place = gate.root / path
    try:
        status = place.lstat()
    except OSError:
        # It is gone; it may have been a folder.
        rows = db.execute(
            "SELECT path FROM files WHERE path = ? OR substr(path, 1, ?) = ?", (path, len(path) + 1, path + "/")
        ).fetchall()
        for (one,) in rows:
            _drop(db, one)
        return bool(rows)
    if language is None or place.is_dir():
        return False
    if gate.path(path) is not None:
        return _drop(db, path)
    return _put(db, gate, Found(path, status.st_mtime_ns, status.st_size), language)


def _put(db: sqlite3.Connection, gate: Gate, one: Found, language: str) -> bool:
    """Whether what is known of the file has changed."""
    from assistant.workspace.definitions import definitions  # noqa: PLC0415 (grammars: only who writes needs them)

    text = gate.read_known(one.path)
    if isinstance(text, KeptOut):
        _drop(db, one.path)
        stem = PurePosixPath(one.path).stem
        db.execute(
            "INSERT INTO files (path, stem, language, mtime, size, hash, reason) VALUES (?, ?, ?, ?, ?, x'', ?)",
            (one.path, stem, language, one.mtime, one.size, text.reason),
        )
        return True
    digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
    row = db.execute("SELECT hash FROM files WHERE path = ?", (one.path,)).fetchone()
    if row is not None and row[0] == digest:
        db.execute("UPDATE files SET mtime = ?, size = ? WHERE path = ?", (one.mtime, one.size, one.path))
        return False
    _drop(db, one.path)
    cursor = db.execute(
        "INSERT INTO files (path, stem, language, mtime, size, hash) VALUES (?, ?, ?, ?, ?, ?)",
        (one.path, PurePosixPath(one.path).stem, language, one.mtime, one.size, digest),
    )
    number = cursor.lastrowid
    for item in definitions(language, text):
        written = db.execute(
            "INSERT INTO definitions (file, name, kind, scope, signature, text, first, last)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (number, item.name, item.kind, item.scope, item.signature, item.text, item.first, item.last),
        )
        db.execute("INSERT INTO words (rowid, text) VALUES (?, ?)", (written.lastrowid, item.text))
    return True


def _drop(db: sqlite3.Connection, path: str) -> bool:
    row = db.execute("SELECT id FROM files WHERE path = ?", (path,)).fetchone()
    if row is None:
        return False
    db.execute(
        "INSERT INTO words (words, rowid, text) SELECT 'delete', id, text FROM definitions WHERE file = ?", (row[0],)
    )
    db.execute("DELETE FROM definitions WHERE file = ?", (row[0],))
    db.execute("DELETE FROM files WHERE id = ?", (row[0],))
    return True


def _language(path: str) -> str | None:
    from assistant.workspace.definitions import QUERIES  # noqa: PLC0415 (as in _put)
    from infill.languages import language_of  # noqa: PLC0415 (as in _put)

    name = language_of(path)
    return name if name in QUERIES else None


# Reading.

_COLUMNS = (
    "f.path, f.language, d.name, d.kind, d.scope, d.signature, d.text, d.first, d.last"
    " FROM definitions d JOIN files f ON f.id = d.file"
)
_ENTRY = f"SELECT {_COLUMNS}"
COMMON = 200
"""Definitions with a word from which on it tells nothing."""


class Reader:
    """Looks things up; every answer is in a steady order. What goes wrong gives nothing: an index is a convenience."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._db: sqlite3.Connection | None = None
        self._known: dict[tuple[object, ...], list[tuple[object, ...]]] = {}
        self._generation = 0

    def refresh(self) -> int:
        """Forgets what was looked up, if the index has changed since; another number after each change."""
        generation = self._generation
        rows = self._ask("PRAGMA data_version", ())
        self._generation = int(str(rows[0][0])) if rows else 0
        if self._generation != generation:
            self._known.clear()
        return self._generation

    def close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    def _rows(self, query: str, values: Sequence[object]) -> list[tuple[object, ...]]:
        key = (query, *values)
        rows = self._known.get(key)
        if rows is None:
            rows = self._ask(query, values)
            if sum(map(len, self._known.values())) > KEPT:
                self._known.clear()
            self._known[key] = rows
        return rows

    def _ask(self, query: str, values: Sequence[object]) -> list[tuple[object, ...]]:
        try:
            if self._db is None:
                if not self._file.exists():
                    return []
                self._db = _connect(self._file, read_only=True)
                self._db.execute("PRAGMA busy_timeout = 20")
                if _meta(self._db, "version") != str(VERSION):
                    self.close()
                    return []
            return self._db.execute(query, tuple(values)).fetchall()
        except sqlite3.Error:
            self.close()
            return []

    def named(self, names: Sequence[str], *, most: int = 40) -> list[Entry]:
        """The definitions of these names; of a name that has more than ``most``, none."""
        marks = ",".join("?" * len(names))
        counts = self._rows(
            f"SELECT name, count(*) FROM definitions WHERE name IN ({marks}) GROUP BY name",  # noqa: S608 (marks only)
            names,
        )
        few = [str(name) for name, count in counts if int(str(count)) <= most]
        marks = ",".join("?" * len(few))
        rows = self._rows(f"{_ENTRY} WHERE d.name IN ({marks}) ORDER BY d.name, f.path, d.first", few)
        return list(map(_entry, rows))

    def beginning(self, start: str, *, most: int = 8) -> list[Entry]:
        """The definitions whose names begin so, the shortest first."""
        return [
            _entry(row)
            for row in self._rows(
                f"{_ENTRY} WHERE d.name >= ? AND d.name < ? ORDER BY length(d.name), d.name, f.path LIMIT ?",
                (start, start + "\U0010ffff", most),
            )
        ]

    def like(self, words: Sequence[str], *, most: int = 12) -> list[Entry]:
        """The definitions whose first lines share the most telling ones of these words, the best first.

        The rarer a word, the more it tells; one that stands in ``COMMON`` definitions tells nothing, and is not
        followed further, so that the time does not grow with the workspace.
        """
        worth: dict[int, float] = {}
        for word in dict.fromkeys(words):
            term = '"' + word.replace('"', '""') + '"'
            rows = self._rows("SELECT rowid FROM words WHERE words MATCH ? LIMIT ?", (term, COMMON))
            if len(rows) < COMMON:
                for (number,) in rows:
                    key = int(str(number))
                    worth[key] = worth.get(key, 0.0) + math.log(2 * COMMON / len(rows))
        best = sorted(worth, key=lambda number: (-worth[number], number))[:most]
        marks = ",".join("?" * len(best))
        found = self._rows(f"SELECT d.id, {_COLUMNS} WHERE d.id IN ({marks})", best)
        entries = {int(str(row[0])): _entry(row[1:]) for row in found}
        return [entries[number] for number in best if number in entries]

    def in_file(self, path: str, *, most: int = 200) -> list[Entry]:
        return list(map(_entry, self._rows(f"{_ENTRY} WHERE f.path = ? ORDER BY d.first LIMIT ?", (path, most))))

    def ending(self, end: str, *, most: int = 20) -> list[str]:
        """The paths that end with these parts, as ``pkg/module.py``."""
        rows = self._rows(
            "SELECT path FROM files WHERE stem = ? AND (path = ? OR substr(path, -?) = ?) AND reason IS NULL"
            " ORDER BY length(path), path LIMIT ?",
            (PurePosixPath(end).stem, end, len(end) + 1, "/" + end, most),
        )
        return [str(path) for (path,) in rows]

    def has(self, path: str) -> bool:
        return bool(self._rows("SELECT 1 FROM files WHERE path = ? AND reason IS NULL", (path,)))

    def near(self, folder: str, *, most: int = 12) -> list[str]:
        """The files of a folder, those that were changed last first."""
        start = f"{folder}/" if folder else ""
        rows = self._rows(
            "SELECT path FROM files WHERE substr(path, 1, ?) = ? AND instr(substr(path, ?), '/') = 0"
            " AND reason IS NULL ORDER BY mtime DESC, path LIMIT ?",
            (len(start), start, len(start) + 1, most),
        )
        return [str(path) for (path,) in rows]

    def reason(self, path: str) -> str | None:
        """Why a file that passed by its path is not in the index."""
        rows = self._rows("SELECT reason FROM files WHERE path = ?", (path,))
        return None if not rows or rows[0][0] is None else str(rows[0][0])

    def size(self) -> tuple[int, int]:
        """Files and definitions."""
        rows = self._rows("SELECT (SELECT count(*) FROM files WHERE reason IS NULL), count(*) FROM definitions", ())
        return (int(str(rows[0][0])), int(str(rows[0][1]))) if rows else (0, 0)

    def is_whole(self) -> bool:
        """Whether the workspace was gone through once."""
        rows = self._rows("SELECT value FROM meta WHERE key = 'swept'", ())
        return bool(rows and rows[0][0])


def _entry(row: Sequence[object]) -> Entry:
    path, language, name, kind, scope, signature, text, first, last = row
    return Entry(
        str(path),
        str(language),
        str(name),
        str(kind),
        str(scope),
        str(signature),
        str(text),
        int(str(first)),
        int(str(last)),
    )
