"""Statistics for the user alone: what was suggested, accepted and kept, counted per day and language on this machine.

Only counts are stored: no code, no names of files, nothing of a document. Nothing is sent. Several processes may write
into the one file (SQLite) in the user's data folder, which ``HONE_DATA_DIR`` overrides. Who counts never waits:
numbers are added up in memory, and a thread writes them every few seconds and at the end.

Names: ``asked`` (by the editor while typing), ``by_hand``, ``overtaken`` (by the next key), ``shown``, ``accepted``,
``accepted_word``, ``accepted_line``, ``accepted_part``, ``quiet_REASON`` (asked and not shown), ``kept_WHEN_HOW`` with
30s, 2min, 10min and exact, similar, gone; ``edit_shown``, ``edit_accepted``, ``edit_quiet``; ``action_NAME``; ``ms_N``:
answers that took up to N milliseconds.
"""

import contextlib
import logging
import os
import re
import sqlite3
import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

if TYPE_CHECKING:
    from rich.console import RenderableType

log = logging.getLogger("hone.statistics")

STEPS_MS = (5, 10, 20, 30, 40, 50, 75, 100, 150, 200, 300, 400, 500, 750, 1000, 1500, 2000, 3000, 5000, 10_000, 60_000)
"""Latencies are kept as counts of these; the last holds everything above, too."""
WHEN = ("30s", "2min", "10min")
"""After an acceptance: when it is looked at."""
HOW = ("exact", "similar", "gone")
BUSY_S = 5.0
"""So long one process waits for another one's transaction."""
TABLE = """CREATE TABLE IF NOT EXISTS counts
(day TEXT NOT NULL, language TEXT NOT NULL, name TEXT NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (day, language, name))
WITHOUT ROWID"""
ADD = """INSERT INTO counts (day, language, name, n) VALUES (?, ?, ?, ?)
ON CONFLICT (day, language, name) DO UPDATE SET n = n + excluded.n"""


def statistics_file(env: Mapping[str, str] | None = None) -> Path:
    env = os.environ if env is None else env
    folder = Path(env["HONE_DATA_DIR"]) if env.get("HONE_DATA_DIR") else platformdirs.user_data_path("hone", "hone")
    return folder / "statistics.sqlite3"


class Statistics:
    """Counts. A file that cannot be written to costs the counts and nothing else."""

    def __init__(self, path: Path | None = None, *, every_s: float = 5.0) -> None:
        self._path = path
        self._every_s = every_s
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._counts: Counter[tuple[str, str, str]] = Counter()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def count(self, name: str, language: str = "", n: int = 1) -> None:
        with self._lock:
            self._counts[time.strftime("%Y-%m-%d"), _plain(language), name] += n
            if self._thread is None and not self._is_closed:
                self._thread = threading.Thread(target=self._write, name="statistics", daemon=True)
                self._thread.start()

    def took(self, ms: float, language: str = "") -> None:
        """An answer's latency."""
        self.count(f"ms_{STEPS_MS[min(bisect_left(STEPS_MS, ms), len(STEPS_MS) - 1)]}", language)

    def flush(self) -> None:
        """Writes what there is; on a thread of its own, since another process may hold the file for a moment."""
        with self._writing:
            with self._lock:
                counts, self._counts = self._counts, Counter()
            if not counts:
                return
            try:
                with opened(self._path or statistics_file()) as database:
                    database.executemany(ADD, [(*key, n) for key, n in counts.items()])
            except (sqlite3.Error, OSError) as error:
                with self._lock:
                    self._counts.update(counts)  # for the next time
                log.warning("statistics could not be written: %s", type(error).__name__)

    def close(self) -> None:
        self._is_closed = True
        self._wake.set()
        self.flush()

    def _write(self) -> None:
        while not self._wake.wait(self._every_s):
            self.flush()


def _plain(language: str) -> str:
    """The editor's name of a language; it may send anything."""
    found = language.strip().lower()
    return found if re.fullmatch(r"[a-z0-9+#._-]{1,24}", found) else "other"


@contextlib.contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """One transaction, which has the file to itself from its beginning.

    Only so does SQLite wait for other processes: a transaction that reads before it writes, and a change to another
    journal (WAL), are refused at once where somebody else is busy.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with contextlib.closing(sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        with database:
            database.execute(TABLE)
            yield database


def reset(path: Path | None = None) -> int:
    """Forgets everything; how many days there were."""
    path = path or statistics_file()
    if not path.exists():
        return 0
    with opened(path) as database:
        days = database.execute("SELECT COUNT(DISTINCT day) FROM counts").fetchone()[0]
        database.execute("DELETE FROM counts")
    with contextlib.closing(sqlite3.connect(path, timeout=BUSY_S)) as database:
        database.execute("VACUUM")
    return int(days)


# Reading.


@dataclass(frozen=True)
class Row:
    day: str
    language: str
    name: str
    n: int


def read(days: int | None = None, path: Path | None = None) -> list[Row]:
    """All counts of the last ``days`` days, today among them."""
    path = path or statistics_file()
    if not path.exists():
        return []
    first = "" if days is None else time.strftime("%Y-%m-%d", time.localtime(time.time() - 86_400 * (days - 1)))
    with opened(path) as database:
        found = database.execute(
            "SELECT day, language, name, n FROM counts WHERE day >= ? ORDER BY day, language, name", (first,)
        )
        return [Row(*row) for row in found]


def summary(rows: Iterable[Row]) -> dict[str, Any]:
    """What the counts say. A rate is None where there is nothing that it could be a part of."""
    counts: Counter[str] = Counter()
    for row in rows:
        counts[row.name] += row.n
    quiet = _named(counts, "quiet_")
    kept = {when: _kept(counts, when) for when in WHEN}
    answered = counts["asked"] + counts["by_hand"] - counts["overtaken"]
    parts = {part: counts[f"accepted_{part}"] for part in ("word", "line", "part")}
    return {
        "asked": counts["asked"],
        "by_hand": counts["by_hand"],
        "shown": counts["shown"],
        "overtaken": counts["overtaken"],
        "show_rate": _share(max(answered - sum(quiet.values()), 0), answered),
        "quiet": quiet,
        "accepted": counts["accepted"],
        "accepted_parts": parts,
        "accept_rate": _share(counts["accepted"], counts["shown"]),
        "kept": kept,
        "latency_ms": {"p50": _percentile(counts, 0.5), "p95": _percentile(counts, 0.95)},
        "next_edit": {
            "shown": counts["edit_shown"],
            "accepted": counts["edit_accepted"],
            "quiet": counts["edit_quiet"],
        },
        "actions": {
            name.removeprefix("action_"): n for name, n in sorted(counts.items()) if name.startswith("action_")
        },
    }


def _named(counts: Counter[str], kind: str) -> dict[str, int]:
    return {name.removeprefix(kind): n for name, n in sorted(counts.items()) if name.startswith(kind)}


def _kept(counts: Counter[str], when: str) -> dict[str, Any]:
    found = {how: counts[f"kept_{when}_{how}"] for how in HOW}
    return {**found, "rate": _share(found["exact"] + found["similar"], sum(found.values()))}


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _percentile(counts: Counter[str], share: float) -> int | None:
    """The step in which it lies: nine in ten answers took up to this."""
    total = sum(counts[f"ms_{step}"] for step in STEPS_MS)
    seen = 0
    for step in STEPS_MS:
        seen += counts[f"ms_{step}"]
        if total and seen >= share * total:
            return step
    return None


def report(days: int | None = None, path: Path | None = None) -> dict[str, Any]:
    """All of it, by language and by day: what ``hone stats --json`` prints."""
    rows = read(days, path)
    return {
        "all": summary(rows),
        "languages": {
            name: summary(row for row in rows if row.language == name)
            for name in sorted({row.language for row in rows})
        },
        "days": {day: summary(row for row in rows if row.day == day) for day in sorted({row.day for row in rows})},
    }


def drawn(found: dict[str, Any]) -> "RenderableType":
    """A report on a terminal: a table by language, and small bars."""
    from rich.console import Group  # noqa: PLC0415 (an editor's process needs none of this)
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("language")
    for name in ("asked", "shown", "accepted", "rate", "p50 ms", "p95 ms", "kept 30 s", "2 min", "10 min"):
        table.add_column(name, justify="right")
    rows = {**found["languages"], "all": found["all"]} if len(found["languages"]) != 1 else found["languages"]
    for language, one in rows.items():
        kept = [_percent(one["kept"][when]["rate"]) for when in WHEN]
        latency = [str(one["latency_ms"][name] or "-") for name in ("p50", "p95")]
        counts = [str(one[name]) for name in ("asked", "shown", "accepted")]
        table.add_row(language or "-", *counts, _percent(one["accept_rate"]), *latency, *kept)
    parts = [table, *_bars("quiet", found["all"]["quiet"])]
    parts += _bars("accepted by day", {day: one["accepted"] for day, one in found["days"].items()})
    parts += _bars("edits and actions", _others(found["all"]))
    return Group(*parts)


def _others(found: dict[str, Any]) -> dict[str, int]:
    edits = {f"next edit {name}": n for name, n in found["next_edit"].items()}
    return {name: n for name, n in {**edits, **found["actions"]}.items() if n}


def _bars(title: str, counts: dict[str, int], width: int = 32) -> list["RenderableType"]:
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    most = max(counts.values(), default=0)
    if most == 0:
        return []
    bars = Table.grid(padding=(0, 2))
    for name, n in counts.items():
        eighths = round(8 * width * n / most)
        bar = "█" * (eighths // 8) + ("", *"▏▎▍▌▋▊▉")[eighths % 8]
        bars.add_row(name.replace("_", " "), str(n), Text(bar, style="cyan"))
    return [Text(f"\n{title}", style="bold"), bars]


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"
