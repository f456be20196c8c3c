"""``hone fix``: the blocks of one file, or of stdin, edited and shown, checked, or written."""

import argparse
import os
import re
import stat
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from assistant.errors import RequestError, SourceError
from assistant.refactor.asking import Selected, changes
from assistant.refactor.change import Change
from assistant.refactor.command import (
    BATCH,
    DONE,
    JOBS,
    WOULD_CHANGE,
    Editing,
    check_instruction,
    check_task,
    colours,
    finished,
    half_written,
    out,
    tell,
    told,
)
from assistant.refactor.diff import coloured, patch
from assistant.refactor.files import Original, below
from assistant.refactor.journal import Journal
from assistant.refactor.report import count
from assistant.refactor.select import Text
from assistant.refactor.writing import decided
from assistant.rules import ERROR_LEFT, NO_MODEL
from assistant.source import Source, read_source
from assistant.workspace.command import check, workspace_of
from assistant.workspace.secrets import secret_in
from infill import languages

WORDS = {
    "no gain": "looked doubtful, but nothing better is likely enough",
    "no way back": "looked doubtful, but what was tried would do more than modernise",
    "syntax": "looked doubtful, but what would be better does not parse",
    "budget": "not done: the time was up",
    "long line": "with a line that is longer than the model can edit",
    "long": "too long for the model, or for its answer",
    "empty": "for which the model wrote nothing",
}
"""Reasons behind a number of blocks."""
HOW = "--edit-model names a checkpoint that was trained to edit, and `hone doctor` says which one is set"


def run(options: argparse.Namespace, kinds: Mapping[str, str], editing: Editing) -> int:
    """``kinds``: the group of each kind of task.

    Raises:
        HoneError: what was asked for cannot be done; the file is as it was.
    """
    task = ""
    if options.instruction is None:
        task = check_task(options.task or "fix", kinds)
    else:
        check_instruction(options.instruction)
    first, last = _lines(options.lines)
    if options.write and options.file == "-":
        raise RequestError("--write needs a file to write to; the text of stdin goes to stdout")
    if options.file != "-":
        check(Path(options.file), tuple(options.exclude or ()))  # before it is read
    source = read_source(options.file, stdin_filename=options.stdin_filename)
    if (found := secret_in(source.text)) is not None:
        raise SourceError(f"{source.name or 'stdin'} never enters a prompt: it holds {found}")
    place = source.path or Path(source.name or "-")
    root = workspace_of(place) or Path(os.path.realpath(place)).parent
    selected = _selected(source, root, options.language, first, last)
    with Journal(root) as journal, editing(options, BATCH) as (ask, model, name):
        [change] = changes(
            [selected], task, ask, journal, model=model, name=name, jobs=JOBS, instruction=options.instruction
        )
        return _told(change, source, options, root, journal)


def _told(change: Change, source: Source, options: argparse.Namespace, root: Path, journal: Journal) -> int:
    missing = _missing(change)
    if said := _by_rule(change, always=bool(missing)) + missing:
        tell(f"{source.name or 'stdin'}: {said}")
    if source.path is None and not options.check:
        out(change.text)
        return DONE
    if not change.changed:
        tell(f"{source.name or 'stdin'}: nothing to change{'' if missing else _doubts(change)}")
        return DONE
    if options.check:
        out("".join(f"{source.name or 'stdin'}:{one.block.first}: would change\n" for one in change.changed))
        return WOULD_CHANGE
    if options.write:
        code = _written(change, options, root, journal)
        if code == DONE:
            tell(f"{source.name}: {count(len(change.changed), 'block')} changed")
        return code
    text = patch(change)
    out(coloured(text) if colours(options.color) else text)
    return DONE


def _written(change: Change, options: argparse.Namespace, root: Path, journal: Journal) -> int:
    with journal.alone():
        if (run := journal.unfinished()) is not None and run.state != "editing":
            raise RequestError(half_written(run))
        task = told(options.instruction) if options.instruction else options.task or "fix"
        run = journal.begin(task, {"folder": str(Path.cwd())}, "ended")
        journal.decide(run, decided([change]))
        return finished(root, journal, run)


def _selected(source: Source, root: Path, language: str | None, first: int, last: int | None) -> Selected:
    name = languages.resolve(language, source.name, source.text)
    if language is not None and languages.get(language) is None:
        raise RequestError(f"--language {language!r} is not known")
    if name is None or languages.parser(name) is None:
        raise RequestError(
            f"the language of {source.name or 'stdin'} is not known; --language or --stdin-filename tells"
        )
    text = Text(source.text, name)
    if first > len(text.starts):
        raise RequestError(f"--lines begins at {first}, and there are {len(text.starts)} lines")
    if source.path is None:
        path, mode = (below(root, Path(source.name)) if source.name else None) or Path(source.name).name, 0o644
    else:  # a link stays one: what it leads to is edited
        path = Path(os.path.realpath(source.path)).relative_to(root).as_posix()
        mode = stat.S_IMODE(source.path.stat().st_mode)
    original = Original(path or "stdin", source.text.encode("utf-8"), mode)
    return Selected(original, name, tuple(text.whole(first, last)))


def _doubts(change: Change) -> str:
    """Why blocks are as they were that may not be right."""
    found = Counter(one.reason for one in change.outcomes if one.reason is not None and one.reason != "right")
    return "".join(f"; {count(number, 'block')} {WORDS.get(reason, reason)}" for reason, number in found.items())


def _by_rule(change: Change, *, always: bool) -> str:
    """What rules mended; "" where that is nothing, unless it is ``always`` to be said."""
    ruled = sum(any(edit.ruled for edit in one.edits) for one in change.changed)
    return f"{count(ruled, 'block')} mended by rule" if ruled or always else ""


def _missing(change: Change) -> str:
    """What only a model could have done, where none edits; "" where one does."""
    if all(one.reason not in (NO_MODEL, ERROR_LEFT) for one in change.outcomes):
        return ""
    return f"{_doubts(change)}; {HOW}"


def _lines(value: str | None) -> tuple[int, int | None]:
    if value is None:
        return 1, None
    named = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", value)
    first, last = (int(named[1]), int(named[2] or named[1])) if named else (0, 0)
    if not 1 <= first <= last:
        raise RequestError(f"--lines must be A-B, two whole numbers from 1, not {value!r}")
    return first, last
