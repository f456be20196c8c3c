"""The open documents, as the editor has them: values that never change, one per version.

Whoever computes holds on to the document that was asked about; an answer is stale when ``get`` gives another one.
Nothing is ever read from disk. Notifications in an order that makes no sense (a change to what is not open, a document
closed twice) are passed over.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, chain
from urllib.parse import unquote, urlsplit

from lsprotocol.types import (
    Position,
    Range,
    TextDocumentContentChangeEvent,
    TextDocumentContentChangePartial,
)

from lsp.convert import offset_at, place_at, position_at, split
from lsp.history import Change

CELL = "vscode-notebook-cell:"
"""What URIs of a notebook's cells begin with: behind it are the notebook's path, and the cell as a fragment."""
LANGUAGE = 64
"""Characters of a language's name that the daemon takes."""
BLOCK = 256
"""Lines that are kept together: a change makes new ones of those that it touches, and of no others."""


@dataclass(frozen=True, eq=False)
class Block:
    """Some lines of a document, with their ends."""

    lines: tuple[str, ...]

    @cached_property
    def text(self) -> str:
        return "".join(self.lines)


@dataclass(frozen=True, eq=False)
class Document:
    uri: str
    version: int
    language_id: str
    blocks: tuple[Block, ...]
    """Of the last line, which has no end, there is always one."""
    encoding: str = "utf-16"
    """In what units the client counts."""

    @classmethod
    def of(cls, uri: str, version: int, language_id: str, text: str, encoding: str = "utf-16") -> "Document":
        return cls(uri, version, language_id, tuple(blocks(split(text))), encoding)

    @cached_property
    def text(self) -> str:
        return "".join([block.text for block in self.blocks])

    def forget(self) -> None:
        """There is a newer version: what was put together for this one is let go of, whoever still holds on to it."""
        for name in ("text", "lines"):
            self.__dict__.pop(name, None)

    @cached_property
    def lines(self) -> tuple[str, ...]:
        return tuple(chain.from_iterable(block.lines for block in self.blocks))

    @cached_property
    def key(self) -> str:
        """The same for one document, however its URI is escaped."""
        return unquote(self.uri)

    @cached_property
    def path(self) -> str:
        """The path in the URI: a label, which is not opened."""
        try:
            return unquote(urlsplit(self.uri).path)
        except ValueError:  # a bracket where a host should be
            return unquote(self.uri)

    @property
    def filename(self) -> str | None:
        """For those who would tell the language by it; of a notebook's cell it is not that of the file."""
        return None if self.uri.startswith(CELL) else self.path or None

    @property
    def language(self) -> str | None:
        """As the editor names it, if it does: a new document has no name yet, and users may choose another one."""
        return self.language_id[:LANGUAGE] or None

    @cached_property
    def _rows(self) -> list[int]:
        """The row behind each block."""
        return list(accumulate(len(block.lines) for block in self.blocks))

    @cached_property
    def _ends(self) -> list[int]:
        """The offset behind each block."""
        return list(accumulate(len(block.text) for block in self.blocks))

    def _before(self, index: int) -> tuple[int, int]:
        """The first row and the first offset of a block."""
        return (self._rows[index - 1], self._ends[index - 1]) if index else (0, 0)

    def _block_of(self, row: int) -> int:
        return min(bisect_right(self._rows, row), len(self.blocks) - 1)

    def offset(self, position: Position) -> int:
        index = self._block_of(max(position.line, 0))
        row, start = self._before(index)
        here = Position(max(position.line, 0) - row, position.character)
        return start + offset_at(self.blocks[index].lines, here, self.encoding)

    def position(self, offset: int) -> Position:
        index = min(bisect_right(self._ends, max(offset, 0)), len(self.blocks) - 1)
        row, start = self._before(index)
        found = position_at(self.blocks[index].lines, max(offset, 0) - start, self.encoding)
        return Position(found.line + row, found.character)

    def range(self, start: int, end: int) -> Range:
        return Range(self.position(start), self.position(end))

    def changed(
        self, changes: Sequence[TextDocumentContentChangeEvent], version: int
    ) -> tuple["Document", tuple[Change, ...]]:
        """The next version, and what was changed on the way to it."""
        document = self
        made: list[Change] = []
        for change in changes:
            if isinstance(change, TextDocumentContentChangePartial):
                document, one = document._replaced(change.range, change.text)
            else:
                one = difference(document.text, change.text)
                document = replace(document, blocks=tuple(blocks(split(change.text))))
            made.append(one)
        return replace(document, version=version), tuple(made)

    def _replaced(self, where: Range, text: str) -> tuple["Document", Change]:
        """With ``text`` in place of a range. Only the blocks around it are looked at: one before it, for a line end of
        two signs that may come about, and one behind it, for the line that follows.
        """
        rows = sorted((max(where.start.line, 0), max(where.end.line, 0)))
        first = max(self._block_of(rows[0]) - 1, 0)
        last = min(self._block_of(rows[1]) + 1, len(self.blocks) - 1)
        row, start = self._before(first)
        lines = tuple(chain.from_iterable(block.lines for block in self.blocks[first : last + 1]))
        here = Range(*(Position(max(one.line, 0) - row, one.character) for one in (where.start, where.end)))
        change = change_at(lines, here, text, self.encoding)
        fresh = splice(lines, here, text, self.encoding)
        same = len(fresh) == len(lines)  # most changes stay within a line
        around = _alike(self.blocks[first : last + 1], fresh) if same else tuple(blocks(fresh))
        document = replace(self, blocks=(*self.blocks[:first], *around, *self.blocks[last + 1 :]))
        return document, change._replace(start=change.start + start)


def blocks(lines: tuple[str, ...]) -> Iterator[Block]:
    for start in range(0, len(lines), BLOCK):
        yield Block(lines[start : start + BLOCK])


def _alike(old: tuple[Block, ...], lines: tuple[str, ...]) -> tuple[Block, ...]:
    """``lines`` in blocks of the same sizes; those that are as before are the same ones."""
    found, start = [], 0
    for block in old:
        own = lines[start : start + len(block.lines)]
        found.append(block if own == block.lines else Block(own))
        start += len(own)
    return tuple(found)


def change_at(lines: tuple[str, ...], where: Range, text: str, encoding: str) -> Change:
    """What ``splice`` does, in offsets."""
    (first, column), (last, behind) = sorted(
        (place_at(lines, where.start, encoding), place_at(lines, where.end, encoding))
    )
    start = sum(map(len, lines[:first])) + column
    if first == last:
        return Change(start, lines[first][column:behind], text)
    return Change(start, lines[first][column:] + "".join(lines[first + 1 : last]) + lines[last][:behind], text)


def difference(old: str, new: str) -> Change:
    """One change that leads from one text to the other: all between the beginning and the end that they share."""
    most = min(len(old), len(new))
    start = _shared(most, lambda count: old[:count] == new[:count])
    end = _shared(most - start, lambda count: old[len(old) - count :] == new[len(new) - count :])
    return Change(start, old[start : len(old) - end], new[start : len(new) - end])


def _shared(most: int, same: Callable[[int], bool]) -> int:
    """The largest count up to ``most`` for which ``same`` holds; it holds for all smaller ones."""
    least = 0
    while least < most:
        middle = (least + most + 1) // 2
        if same(middle):
            least = middle
        else:
            most = middle - 1
    return least


def splice(lines: tuple[str, ...], where: Range, text: str, encoding: str) -> tuple[str, ...]:
    """The lines with ``text`` in place of a range."""
    start, end = sorted((place_at(lines, where.start, encoding), place_at(lines, where.end, encoding)))
    first, last = start[0], end[0]
    between = lines[first][: start[1]] + text + lines[last][end[1] :]
    if first > 0 and between.startswith("\n") and lines[first - 1].endswith("\r"):  # two line ends become one
        first -= 1
        between = lines[first] + between
    fresh = split(between)
    if last < len(lines) - 1:  # an empty line behind the last line's end: the next line of the document stands there
        fresh = fresh[:-1]
    return (*lines[:first], *fresh, *lines[last + 1 :])


class Documents:
    def __init__(self) -> None:
        self.encoding = "utf-16"
        self._open: dict[str, Document] = {}
        self._lost: dict[str, Document] = {}
        """Open, but nobody here knows any more what is in them; as they were last."""

    def __iter__(self) -> Iterator[Document]:
        return iter(tuple(self._open.values()))

    def get(self, uri: str) -> Document | None:
        # Editors differ in which characters of a URI they escape.
        return self._open.get(unquote(uri))

    def is_current(self, document: Document) -> bool:
        return self.get(document.uri) is document

    def open(self, uri: str, language_id: str, version: int, text: str) -> Document:
        document = Document.of(uri, version, language_id, text, self.encoding)
        self._lost.pop(unquote(uri), None)
        self._open[unquote(uri)] = document
        return document

    def lose(self, uri: str) -> bool:
        """A change of it could not be read. It is as if it were closed until a change names its whole text; whether it
        was open.
        """
        document = self._open.pop(unquote(uri), None)
        if document is not None:
            self._lost[unquote(uri)] = document
        return document is not None

    def is_lost(self, uri: str) -> bool:
        return unquote(uri) in self._lost

    def change(
        self, uri: str, version: int, changes: Sequence[TextDocumentContentChangeEvent]
    ) -> tuple[Change, ...] | None:
        """What was changed; None where there is no such document, and where that is not known."""
        document = self.get(uri)
        if document is None:
            if any(not isinstance(change, TextDocumentContentChangePartial) for change in changes):
                document = self._lost.pop(unquote(uri), None)
            if document is None:
                return None
        self._open[unquote(uri)], made = document.changed(changes, version)
        document.forget()
        return made

    def close(self, uri: str) -> None:
        self._open.pop(unquote(uri), None)
        self._lost.pop(unquote(uri), None)
