"""What a change does to a file, in hunks: as a patch that ``git apply`` takes, on a terminal, and hunk by hunk.

Lines end with a line feed, as git sees them; a carriage return before it, or a byte-order mark, is a part of the line.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher

from assistant.refactor.change import Change, Outcome
from assistant.refactor.files import quoted

CONTEXT = 3
"""Lines around what is changed."""
CODES = {"header": "1", "place": "36", "-": "31", "+": "32", " ": "0"}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x80-\x9f]")


@dataclass(frozen=True)
class Step:
    """Old lines ``a1:a2`` of the file become ``new``."""

    a1: int
    """From 0."""
    a2: int
    new: tuple[str, ...]
    block: int
    """The index of the outcome that it belongs to."""


@dataclass(frozen=True)
class Hunk:
    """Steps that are near to each other, with the lines around them."""

    old: tuple[str, ...]
    """All lines of the file as it was."""
    steps: tuple[Step, ...]
    start: int
    """Lines ``start:end`` of the old file are in it."""
    end: int
    grown: int
    """By how many lines the hunks before it make the file longer."""
    by: str = ""
    """What changed its blocks; it stands in its first line, where programs that read patches pass it over."""

    def lines(self) -> Iterator[str]:
        """As in a patch, each with its sign and, but for the last line of a file, its end."""
        gained = sum(len(step.new) - (step.a2 - step.a1) for step in self.steps)
        before, after = self.end - self.start, self.end - self.start + gained
        by = f" by {self.by}" if self.by else ""
        yield f"@@ -{_range(self.start, before)} +{_range(self.start + self.grown, after)} @@{by}\n"
        at = self.start
        for step in self.steps:
            yield from (f" {line}" for line in self.old[at : step.a1])
            yield from (f"-{line}" for line in self.old[step.a1 : step.a2])
            yield from (f"+{line}" for line in step.new)
            at = step.a2
        yield from (f" {line}" for line in self.old[at : self.end])


def split(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"[^\n]*\n|[^\n]+", text))


def hunks(change: Change) -> list[Hunk]:
    old = split(change.original.text)
    groups: list[list[Step]] = []
    for index, one in enumerate(change.outcomes):
        for step in _steps(old, one, index) if one.reason is None else ():
            if groups and step.a1 - groups[-1][-1].a2 <= 2 * CONTEXT:
                groups[-1].append(step)
            else:
                groups.append([step])
    found, grown = [], 0
    for steps in groups:
        start, end = max(steps[0].a1 - CONTEXT, 0), min(steps[-1].a2 + CONTEXT, len(old))
        by = ", ".join(dict.fromkeys(change.by(change.outcomes[step.block]) for step in steps))
        found.append(Hunk(old, tuple(steps), start, end, grown, by))
        grown += sum(len(step.new) - (step.a2 - step.a1) for step in steps)
    return found


def _steps(old: Sequence[str], one: Outcome, index: int) -> Iterator[Step]:
    low = one.block.first - 1
    a, b = old[low : one.block.last], split(one.new)
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if tag != "equal":
            yield Step(low + i1, low + i2, b[j1:j2], index)


def accepted(change: Change, taken: Sequence[Hunk], reason: str) -> Change:
    """The change with these of its hunks alone; ``reason`` is what is said of blocks of which nothing is left."""
    old = split(change.original.text)
    outcomes = []
    for index, one in enumerate(change.outcomes):
        if one.reason is not None:
            outcomes.append(one)
            continue
        lines: list[str] = []
        at = one.block.first - 1
        for step in (step for hunk in taken for step in hunk.steps if step.block == index):
            lines += [*old[at : step.a1], *step.new]
            at = step.a2
        new = "".join([*lines, *old[at : one.block.last]])
        same = new == change.original.text[one.block.start : one.block.end]
        outcomes.append(one.dropped(reason) if same else replace(one, new=new))
    return replace(change, outcomes=tuple(outcomes))


def patch(change: Change, prefix: str = "") -> str:
    """``prefix``: the way from the top of the repository to the root of the paths, with a slash at its end."""
    return "".join([*header(change, prefix), *(line for hunk in hunks(change) for line in ended(hunk.lines()))])


def header(change: Change, prefix: str = "") -> list[str]:
    a, b = quoted(f"a/{prefix}{change.path}"), quoted(f"b/{prefix}{change.path}")
    # As git does it, a tab ends a name with a space in it: else what follows the space could be a date.
    tab = "\t" if " " in change.path + prefix else ""
    return [f"diff --git {a} {b}\n", f"--- {a}{tab}\n", f"+++ {b}{tab}\n"]


def ended(lines: Iterator[str]) -> Iterator[str]:
    """A last line without an end says so, as in every patch."""
    for line in lines:
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def coloured(text: str) -> str:
    """A patch for a terminal: with colours, and with nothing in it that the terminal would take for a command."""
    return "".join(_drawn(line) for line in re.findall(r"[^\n]*\n|[^\n]+", text))


def _drawn(line: str) -> str:
    plain = line.removesuffix("\n")
    end = line[len(plain) :]
    if plain.startswith(("diff --git ", "--- a/", '--- "a/', "+++ b/", '+++ "b/')):
        kind = "header"
    elif plain.startswith("@@ "):
        kind = "place"
    else:
        kind = plain[:1] if plain[:1] in CODES else " "
    shown = _CONTROL.sub(lambda one: f"^{chr(ord(one.group()) ^ 64)}" if ord(one.group()) < 128 else "\ufffd", plain)
    return shown + end if CODES[kind] == "0" else f"\x1b[{CODES[kind]}m{shown}\x1b[0m{end}"


def _range(start: int, count: int) -> str:
    """Lines from ``start``, from 0, as a patch has them."""
    if count == 1:
        return str(start + 1)
    return f"{start + 1 if count else start},{count}"
