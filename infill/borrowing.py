"""Drafts copied from other texts: open documents, and whatever else comes along with a request.

Places there are ranked as those of the file itself are (``infill.places``), but not all of them are looked at: those
that end like what was typed, by the longest ending that is there often enough, and those next to a line like the one
above the cursor or the one below. So many large documents can be looked through between two keys.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

from infill.copying import SHORTEST, Copy
from infill.places import Cursor, Line, Place, copies, read

ALIKE = 6
"""Characters by which lines are found that begin or end alike."""
REACH = 2_000
"""Characters on both sides of the cursor that decide which places are like it."""
OTHERS = 100_000
"""Characters of other texts that drafts are copied from, in all."""
ENOUGH = 24
"""Places of one text that end like what was typed: with so many, those that share less are not looked for."""
MOST = 100
"""Places of one text that are looked at for one reason."""


def borrowed(prefix: str, suffix: str, others: Sequence[str], count: int, *, one_line: bool) -> list[Copy]:
    """Up to ``count`` different texts that stand at places like the cursor's in ``others``, the likeliest first."""
    cursor = cursor_of(prefix, suffix, one_line=one_line)
    found: list[Place] = []
    room = OTHERS
    for text in others:
        found += places_in(text[: max(room, 0)], cursor)
        room -= len(text)
    return copies(found)[:count]


def cursor_of(prefix: str, suffix: str, *, one_line: bool) -> Cursor:
    """Line ends may be any."""
    before, behind = prefix[-REACH:].replace("\r\n", "\n"), suffix[:REACH].replace("\r\n", "\n")
    return Cursor.of(before, behind, one_line=one_line)


def places_in(text: str, cursor: Cursor) -> Iterator[Place]:
    """The places of another text that may be like the cursor's."""
    known = _Text.of(text)
    for i, at in dict.fromkeys([*known.ending(cursor.typed), *known.beside(cursor)]):
        yield from cursor.compared(known.lines, i, at, far=0, behind=False)


@dataclass(frozen=True)
class _Text:
    """A text that is looked through again and again."""

    lines: Sequence[Line]
    joined: str
    """Their texts, with a line end behind each."""
    starts: Sequence[int]
    """Where each begins in that."""
    heads: dict[str, list[int]]
    """The lines that begin alike."""
    tails: dict[str, list[int]]
    """Those that end alike."""

    @classmethod
    @lru_cache(maxsize=64)
    def of(cls, text: str) -> "_Text":
        lines = read(text.splitlines())
        starts, at = list[int](), 0
        heads, tails = (defaultdict[str, list[int]](list) for _ in range(2))
        for i, line in enumerate(lines):
            starts.append(at)
            heads[line.text[:ALIKE]].append(i)
            tails[line.text[-ALIKE:]].append(i)
            at += len(line.text) + 1
        return cls(lines, "".join(f"{line.text}\n" for line in lines), starts, heads, tails)

    def ending(self, typed: str) -> list[tuple[int, int]]:
        """Lines and places on them before which stands the end of what was typed: all of it, half, a quarter, ..."""
        found: list[tuple[int, int]] = []
        length = len(typed)
        while length >= SHORTEST and len(found) < ENOUGH:
            found = [self.place(at) for at in islice(self.behind(typed[-length:]), MOST)]
            length //= 2
        return found

    def behind(self, key: str) -> Iterator[int]:
        at = self.joined.find(key)
        while at >= 0:
            yield at + len(key)
            at = self.joined.find(key, at + 1)

    def place(self, at: int) -> tuple[int, int]:
        line = bisect_right(self.starts, at) - 1
        return line, at - self.starts[line]

    def beside(self, cursor: Cursor) -> Iterator[tuple[int, int]]:
        """Lines that begin as the cursor's does, and stand below one like that above the cursor, or above one like that
        below."""
        above = [i + 1 for line in cursor.above[-1:] for i in self.alike(line.text)]
        below = [i - 1 for line in cursor.below[:1] for i in self.alike(line.text)]
        for i in (*above, *below):
            if 0 <= i < len(self.lines) and self.lines[i].text.startswith(cursor.typed):
                yield i, len(cursor.typed)

    def alike(self, text: str) -> list[int]:
        """Lines that end or begin as the text does."""
        tails, heads = self.tails.get(text[-ALIKE:], []), self.heads.get(text[:ALIKE], [])
        return [*tails[:MOST], *heads[:MOST]]
