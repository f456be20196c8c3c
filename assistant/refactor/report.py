"""What is told of a run: progress on stderr, one object for each block, counts at the end."""

import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from assistant.refactor.change import Change, Outcome
from assistant.source import position_at
from assistant.workspace.gate import KeptOut

TELL_S = 10.0
"""Between two lines about progress, where there is no terminal."""
LISTED = 6
"""Reasons that are counted one by one."""


class _Rate(TextColumn):
    """Blocks per second of those that the model was asked for."""

    def __init__(self, pace: "Pace") -> None:
        super().__init__("")
        self._pace = pace

    def render(self, _: Task) -> Text:
        return Text(f"{self._pace.per_second:.1f} blocks/s", style="cyan")


class Pace:
    """How many blocks there were, and how fast the model answered."""

    def __init__(self) -> None:
        self.asked = self.known = self.files = 0
        self._began = time.monotonic()

    def add(self, count: int, asked: bool) -> None:
        if asked:
            self.asked += count
        else:
            self.known += count

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    @property
    def per_second(self) -> float:
        return self.asked / max(self.seconds, 1e-6)


class Watched:
    """A bar on a terminal."""

    def __init__(self, progress: Progress, total: int, pace: Pace) -> None:
        self._progress = progress
        self._task = progress.add_task("editing", total=total)
        self._pace = pace

    def __call__(self, count: int, asked: bool) -> None:
        self._pace.add(count, asked)
        self._progress.advance(self._task, count)


@contextmanager
def watching(console: Console, total: int, files: int, pace: Pace) -> Iterator[Watched]:
    """A bar on a terminal; elsewhere a line from time to time."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(pace), TimeRemainingColumn())
    over = threading.Event()

    def tell() -> None:
        while not over.wait(TELL_S):
            done = f"{pace.asked + pace.known} of {count(total, 'block')}, {pace.files} of {count(files, 'file')}"
            print(f"hone: {done} ({pace.per_second:.1f} blocks/s)", file=sys.stderr, flush=True)  # noqa: T201

    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        if not console.is_terminal:
            threading.Thread(target=tell, daemon=True).start()
        try:
            yield Watched(progress, total, pace)
        finally:
            over.set()


def objects(change: Change) -> Iterator[dict[str, object]]:
    """One for each block, changed or not."""
    text = change.original.text
    for one in change.outcomes:
        yield {
            "file": change.path,
            "line": one.block.first,
            "last": one.block.last,
            "kind": one.block.kind,
            "name": one.block.name,
            "changed": one.reason is None,
            "reason": one.reason,
            **(_changed(text, one, change.by(one)) if one.reason is None else {}),
        }


def _changed(text: str, one: Outcome, by: str) -> dict[str, object]:
    edits = [
        {"start": _place(text, edit.start), "end": _place(text, edit.end), "text": edit.text} for edit in one.edits
    ]
    old = text[one.block.start : one.block.end]
    return {
        "by": by,
        "gain": round(one.gain, 3),
        "ruled": any(edit.ruled for edit in one.edits),
        "old": old,
        "new": one.new,
        "edits": edits,
    }


def _place(text: str, offset: int) -> dict[str, int]:
    line, column = position_at(text, offset)
    return {"line": line, "column": column}


def skipped(kept_out: Iterable[KeptOut]) -> str:
    """Counts by reason, in words."""
    reasons = Counter(re.sub(r" \(line \d+\)$", "", one.reason) for one in kept_out)
    named = [f"{count} {reason}" for reason, count in reasons.most_common(LISTED)]
    rest = sum(reasons.values()) - sum(count for _, count in reasons.most_common(LISTED))
    return ", ".join([*named, *([f"{rest} for other reasons"] if rest else [])])


def outcomes(changes: Sequence[Change]) -> str:
    """What became of the blocks, in words."""
    reasons = Counter(one.reason for change in changes for one in change.outcomes if one.reason is not None)
    changed = sum(len(change.changed) for change in changes)
    files = sum(bool(change.changed) for change in changes)
    parts = [f"{count(changed, 'block')} changed in {count(files, 'file')}"]
    names = {"right": "left alone as right"}
    return ", ".join([*parts, *(f"{n} {names.get(reason, reason)}" for reason, n in reasons.most_common())])


def count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
