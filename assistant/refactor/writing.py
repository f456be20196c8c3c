"""Files are written, and put back: whole, once, and only where they are what they are taken for.

A run can be killed at any moment. What it wanted is in the journal before the first file is touched, and what it did is
told by the files, so that finishing and undoing are the same walk through them, begun anew as often as needed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from assistant.errors import SourceError
from assistant.refactor.change import Change
from assistant.refactor.files import ChangedError, current, digest, replace, sweep
from assistant.refactor.journal import Journal, Run, Written


@dataclass(frozen=True)
class Done:
    written: list[str]
    refused: dict[str, str]
    """Files that were left as they were found, and why."""


def decided(changes: Sequence[Change]) -> list[Written]:
    """What a run is going to write."""
    found = []
    for one in changes:
        if one.changed:
            original, data = one.original, one.data
            new = digest(data)
            found.append(Written(one.path, original.mode, original.data, data, original.digest, new, len(one.changed)))
    return found


def finish(root: Path, journal: Journal, run: Run, on_file: Callable[[str], None] = lambda _: None) -> Done:
    """Writes what a decided run has not written yet."""
    written, refused = [], {}
    for one in journal.files(run):
        sweep(root, one.path)
        if one.refused:
            continue
        try:
            if current(root, one.path) != one.new:
                replace(root, one.path, one.after, expected=one.old, mode=one.mode)
        except SourceError as error:
            refused[one.path] = str(error)
            journal.refuse(run, one.path)
            continue
        written.append(one.path)
        on_file(one.path)
    return Done(written, refused)


def undo(root: Path, journal: Journal, run: Run, *, force: bool = False) -> Done:
    """Puts the files of a run back as they were, or, where one has changed since, none; ``force``: all the others."""
    files = [one for one in journal.files(run) if not one.refused]
    refused: dict[str, str] = {}
    for one in files:
        if current(root, one.path) not in (one.old, one.new):
            refused[one.path] = f"{one.path} has changed since"
    if refused and not force:
        return Done([], refused)
    journal.become(run, "undoing")
    restored = []
    for one in files:
        sweep(root, one.path)
        if one.path in refused:
            continue
        try:
            if current(root, one.path) != one.old:
                replace(root, one.path, one.before, expected=one.new, mode=one.mode)
                restored.append(one.path)
        except ChangedError as error:
            refused[one.path] = str(error)
        except SourceError as error:  # it stays to be undone
            return Done(restored, refused | {one.path: str(error)})
    journal.become(run, "undone")
    return Done(restored, refused)
