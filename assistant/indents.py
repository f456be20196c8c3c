"""Wrong indentation in Python, corrected where Python's own parser says that there is some: which lines are meant is
read off those around them, and a parser says whether it helped.
"""

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from assistant.mend import Mending
from infill import program

BLANK = re.compile(r"[ \t]*(?:#.*)?$")
HEAD = re.compile(r".*:[ \t]*(?:#.*)?$")
DEFINITION = re.compile(r"[ \t]*(?:async[ \t]+)?(?:def|class)[ \t]+(\w+)")
OPEN = re.compile(r".*[(\[{,\\][ \t]*(?:#.*)?$")
STRING = re.compile(
    r"""#[^\n]*|\"{3}(?:[^\\]|\\.)*?\"{3}|'{3}(?:[^\\]|\\.)*?'{3}|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'""", re.DOTALL
)
NEXT_HEAD = re.compile(r"[ \t]*(?:else|elif|except|finally|case)\b")
ENDS = re.compile(r"[ \t]*(?:return|raise|continue|break|pass)\b")
LONGEST = 200_000
"""Characters of the longest text that is looked at: it is parsed several times."""
Span = tuple[int, int]


def reindented(text: str, blocks: Sequence[Span]) -> list[Mending]:
    """Edits of the indentation of some lines, in order, all inside of blocks; [] where nothing is wrong with it, or no
    such edit takes the error away.
    """
    found = program.fault(text) if len(text) <= LONGEST and "\0" not in text else None
    if found is None:
        return []
    lines = _Lines(text)
    at = lines.row(found.start)
    best: list[Mending] = []
    furthest = at
    for rows, level in _candidates(lines, at, found.message):
        edits = [lines.edit(row, level - lines.level(rows[0])) for row in lines.with_comments(rows)]
        made = [one for one in edits if one is not None]
        inside = all(any(low <= one.start and one.end <= high for low, high in blocks) for one in made)
        if len(made) < len(edits) or not inside:
            continue
        left = program.fault(_with(text, made))
        if left is None:
            return made
        row = _Lines(_with(text, made)).row(left.start)
        if row > furthest + 1 and row > rows[-1]:
            best, furthest = made, row
    return best


def _with(text: str, edits: Sequence[Mending]) -> str:
    for one in reversed(edits):
        text = one.of(text)
    return text


def _candidates(lines: "_Lines", at: int, message: str) -> Iterator[tuple[Sequence[int], int]]:
    """Rows, and the level to which the first of them goes, all others by as much; likeliest first."""
    before = lines.above(at)
    if before is None:
        yield lines.run(at), 0
        return
    level, upper = lines.level(at), lines.level(before)
    earlier = lines.above(before)
    if "unexpected indent" in message:
        if earlier is not None and lines.level(earlier) == level > upper:
            yield [before], level  # the line above was moved out
        yield lines.run(at), upper
        yield [at], upper
    elif "unindent does not match" in message:
        shift = 0 if earlier is None else upper - lines.level(earlier)
        if earlier is not None and lines.is_head(earlier) and lines.unit < shift and lines.level(earlier) < level:
            yield [before], level  # the first of a block was moved in
        for wanted in sorted(lines.levels(at), key=lambda one: (abs(one - level), -one)):
            below = lines.below(at)
            alone = lines.is_head(at) and below is not None and lines.level(below) == wanted + lines.unit
            yield from (([at], wanted), (lines.run(at), wanted)) if alone else ((lines.run(at), wanted), ([at], wanted))
    elif "expected an indented block" in message:
        named = re.search(r"on line (\d+)", message)
        head = int(named[1]) - 1 if named else before
        wanted, below = lines.level(head) + lines.unit, lines.below(at)
        if below is not None and lines.level(below) >= wanted and not OPEN.match(lines.lines[at].rstrip("\r\n")):
            yield [at], wanted
        yield lines.body(head, at), wanted
        yield [at], wanted
    elif "outside" in message or "expected 'except'" in message or NEXT_HEAD.match(lines.lines[at]):
        # A return outside of its function, an else without its if: something above or this is too far out.
        if "outside" in message and (found := lines.moved_out(at)) is not None:
            yield found
        for wanted in lines.levels(at):
            if wanted < level:
                yield [at], wanted
        for first in (at, before):
            levels = [one for one in lines.levels(first) if one > lines.level(first)]
            for wanted in reversed(levels) if "outside" in message else levels:
                yield lines.run(first, exact=True), wanted
                yield [first], wanted


@dataclass
class _Lines:
    """The lines of a text by number, from 0; what they are indented by in characters."""

    text: str

    def __post_init__(self) -> None:
        self.lines = re.findall(r"[^\n]*\n|[^\n]+", self.text) or [""]
        self.starts = [0]
        for line in self.lines:
            self.starts.append(self.starts[-1] + len(line))
        self.inside = {
            row
            for one in STRING.finditer(self.text)
            if "\n" in one.group()
            for row in range(self.row(one.start()) + 1, self.row(one.end() - 1) + 1)
        }
        self.tabs = any(line.startswith("\t") for line in self.lines)
        steps = Counter(
            self.level(row) - self.level(above)
            for row in range(1, len(self.lines))
            if self.is_head(above := row - 1) and self.level(row) > self.level(above)
        )
        [(step, times)] = steps.most_common(1) or [(0, 0)]
        usual = (1,) if self.tabs else (2, 4, 8)
        self.unit = step if times > 1 or step in usual else 1 if self.tabs else 4

    def row(self, at: int) -> int:
        return min(max(bisect_right(self.starts, at) - 1, 0), len(self.lines) - 1)

    def is_blank(self, row: int) -> bool:
        """Nothing that has an indentation: no code, or the inside of a string."""
        return row in self.inside or BLANK.match(self.lines[row].rstrip("\r\n")) is not None

    def is_head(self, row: int) -> bool:
        return HEAD.match(self.lines[row].rstrip("\r\n")) is not None

    def level(self, row: int) -> int:
        line = self.lines[row]
        return len(line) - len(line.lstrip(" \t"))

    def above(self, row: int) -> int | None:
        return next((one for one in range(row - 1, -1, -1) if not self.is_blank(one)), None)

    def moved_out(self, row: int) -> tuple[list[int], int] | None:
        """The lines that stand as far out as the head of the function that they seem to be of; where they belong."""
        level = self.level(row)
        for one in range(row - 1, -1, -1):
            if DEFINITION.match(self.lines[one]) and self.level(one) <= level and one not in self.inside:
                inner = [other for other in range(one + 1, row + 1) if not self.is_blank(other)]
                first = next((other for other in inner if self.level(other) <= level and self._starts(other)), None)
                if first is None:
                    return None
                found = self.run(first)
                ends = (at for at, row in enumerate(found) if self.level(row) == level and self._ends(row, whole=True))
                return found[: next(ends, None)], self.level(one) + self.unit
        return None

    def _starts(self, row: int) -> bool:
        """Whether a statement begins here, as far as its first sign tells."""
        return self.lines[row].lstrip()[:1] not in (")", "]", "}")

    def with_comments(self, rows: Sequence[int]) -> list[int]:
        """The rows, and the comments above and between them that stand where they do."""
        level, first = self.level(rows[0]), rows[0]
        while first and self.level(first - 1) == level and self.lines[first - 1].lstrip(" \t").startswith("#"):
            first -= 1
        return [
            row
            for row in range(first, rows[-1] + 1)
            if row in rows or (row not in self.inside and self.lines[row].strip() and self.level(row) >= level)
        ]

    def below(self, row: int) -> int | None:
        return next((one for one in range(row + 1, len(self.lines)) if not self.is_blank(one)), None)

    def levels(self, row: int) -> list[int]:
        """Levels of the lines above, from the nearest on, each one once; a level further in behind a head."""
        found: list[int] = []
        least = None
        for one in range(row - 1, -1, -1):
            if self.is_blank(one):
                continue
            level = self.level(one)
            if least is None or level < least:
                if least is None and self.is_head(one):
                    found.append(level + self.unit)
                found.append(level)
                least = level
        return found

    def run(self, row: int, *, exact: bool = False) -> list[int]:
        """The line and those behind it that are indented at least as far, ``exact``: up to one that is further."""
        level, found = self.level(row), [row]
        for one in range(row + 1, len(self.lines)):
            if not self.is_blank(one):
                if self.level(one) < level or (exact and self.level(one) > level and not self.is_head(found[-1])):
                    break
                found.append(one)
        return found

    def body(self, head: int, row: int) -> list[int]:
        """The lines from ``row`` on that are the body of a head, all of which stand as far out as it does."""
        level, whole = self.level(head), DEFINITION.match(self.lines[head])
        found: list[int] = []
        for one in range(row, len(self.lines)):
            if self.is_blank(one):
                after = self.below(one)
                used = whole is not None and level and after is not None and whole[1] in self.lines[after]
                if not self.lines[one].strip() and one not in self.inside and (not whole or used):
                    break
                continue
            if self.level(one) < level or (self.level(one) == level and self._ends(one, whole=bool(whole))):
                break
            found.append(one)
            if not whole and self.level(one) == level and ENDS.match(self.lines[one]):
                break
        return found or [row]

    def _ends(self, row: int, *, whole: bool) -> bool:
        pattern = r"[ \t]*(?:@|(?:async[ \t]+)?def\b|class\b)" if whole else NEXT_HEAD
        return re.match(pattern, self.lines[row]) is not None

    def edit(self, row: int, by: int) -> Mending | None:
        """Moves a line; None where it stands too far out."""
        start = self.starts[row]
        if by >= 0:
            return Mending(start, start, ("\t" if self.tabs else " ") * by)
        return Mending(start, start - by, "") if self.level(row) >= -by else None
