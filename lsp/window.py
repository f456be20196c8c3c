"""What of a large document is sent: the part around the cursor, cut between definitions of the top level.

A verdict on an answer is about the syntax of the text that was sent. It is that of the whole document where the text
was cut between two nodes of the top level of its tree: what is left out parses by itself. So the document is parsed
once, when it is opened, by a process of its own, since a parser lets nothing else run meanwhile; the places are kept
and moved along with what is typed. Until they are known, and where there are none (one class around everything), all of
it is sent. A language without a grammar has no verdicts, and is cut between any two lines.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from assistant import parts
from assistant.parts import AROUND, SMALL
from lsp.documents import Document
from lsp.history import Change

NEAR = 20_000
"""A window is kept until the cursor comes as near as this to one of its ends."""
REPLACED = 20_000
"""A change of so many characters makes the places be looked for again."""


@dataclass(frozen=True)
class Window:
    head: int = 0
    """Characters that are left out at the beginning."""
    tail: int = 0
    """And at the end."""

    def of(self, text: str) -> str:
        return text[self.head : len(text) - self.tail] if self != WHOLE else text

    def back(self, known: str, text: str) -> str:
        """``known`` with ``text`` in place of what is in the window."""
        return known[: self.head] + text + known[len(known) - self.tail :] if self != WHOLE else text

    def holds(self, size: int, start: int, end: int) -> bool:
        """Whether a stretch of a text of that size is inside."""
        return self.head <= start and end <= size - self.tail


WHOLE = Window()


@dataclass(eq=False)
class _Known:
    size: int
    """Of the document as it is now."""
    cuts: list[int] = field(default_factory=list[int])
    """Offsets in the document as it is now, in order."""
    is_found: bool = False
    changes: list[Change] = field(default_factory=list[Change])
    """Since it was looked at, until it is found."""
    last: Window = WHOLE


Find = Callable[[Document], Awaitable[list[int]]]


async def found_apart(document: Document) -> list[int]:
    return await parts.found_apart(document.text, document.language_id, document.filename)


class Windows:
    def __init__(self, find: Find | None = None) -> None:
        self._find = find or found_apart
        self._known: dict[str, _Known] = {}

    async def learn(self, document: Document) -> None:
        """Looks for the places where a document may be cut."""
        if len(document.text) <= SMALL:
            return
        known = self._known[document.key] = _Known(len(document.text))
        cuts = await self._find(document)
        if self._known.get(document.key) is known:
            known.cuts, known.is_found = cuts, True
            for change in known.changes:
                _move(known, change)
            known.changes.clear()

    def wants(self, document: Document, changes: Sequence[Change]) -> bool:
        """Whether ``learn`` should be asked: the document became large, or much of it another one."""
        is_large = len(document.text) > SMALL
        much = any(max(len(one.removed), len(one.inserted)) > REPLACED for one in changes)
        return is_large and (much or document.key not in self._known)

    def changed(self, key: str, changes: Sequence[Change]) -> None:
        known = self._known.get(key)
        if known is None:
            return
        for change in changes:
            if known.is_found:
                _move(known, change)
            else:
                known.changes.append(change)

    def forget(self, key: str) -> None:
        self._known.pop(key, None)

    def last(self, key: str) -> Window:
        """The one that was used last, as it lies now."""
        known = self._known.get(key)
        return WHOLE if known is None else known.last

    def around(self, key: str, size: int, at: int) -> Window:
        """For a place in a text of ``size`` characters."""
        known = self._known.get(key)
        if known is None or not known.is_found or size <= SMALL:
            return WHOLE
        last = known.last
        before, behind = at - last.head, size - last.tail - at
        if last != WHOLE and (last.head == 0 or before >= NEAR) and (last.tail == 0 or behind >= NEAR):
            return last
        first = bisect_right(known.cuts, at - AROUND) - 1
        end = bisect_left(known.cuts, at + AROUND)
        head = known.cuts[first] if first >= 0 else 0
        tail = size - known.cuts[end] if end < len(known.cuts) else 0
        known.last = Window(head, max(tail, 0))
        return known.last


def _move(known: _Known, change: Change) -> None:
    """The places, and the window, after a change; those that it touches are gone."""
    first, behind = bisect_left(known.cuts, change.start), bisect_right(known.cuts, change.end)
    known.cuts[first:] = [cut + change.shift for cut in known.cuts[behind:]]
    head, tail, size = known.last.head, known.last.tail, known.size
    known.size += change.shift
    border = 1 if change.removed else 0  # what takes something away at an end of the window touches it
    if change.end + border <= head:
        known.last = Window(head + change.shift, tail)
    elif change.start >= size - tail + border:
        known.last = Window(head, tail + change.shift)
    elif change.start < head or change.end > size - tail:
        known.last = WHOLE
