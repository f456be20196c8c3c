"""The open documents, as the editor has them: values that never change, one per version.

Whoever computes holds on to the document that was asked about; an answer is stale when ``get`` gives another one.
Nothing is ever read from disk. Notifications in an order that makes no sense (a change to what is not open, a document
closed twice) are passed over.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from urllib.parse import unquote, urlsplit

from lsprotocol.types import (
    Position,
    Range,
    TextDocumentContentChangeEvent,
    TextDocumentContentChangePartial,
)

from lsp.convert import offset_at, place_at, position_at, range_at, split
from lsp.history import Change


@dataclass(frozen=True, eq=False)
class Document:
    uri: str
    version: int
    language_id: str
    lines: tuple[str, ...]
    encoding: str = "utf-16"
    """In what units the client counts."""

    @cached_property
    def text(self) -> str:
        return "".join(self.lines)

    @cached_property
    def key(self) -> str:
        """The same for one document, however its URI is escaped."""
        return unquote(self.uri)

    @cached_property
    def path(self) -> str:
        """The path in the URI: a label, which is not opened."""
        return unquote(urlsplit(self.uri).path)

    def offset(self, position: Position) -> int:
        return offset_at(self.lines, position, self.encoding)

    def position(self, offset: int) -> Position:
        return position_at(self.lines, offset, self.encoding)

    def range(self, start: int, end: int) -> Range:
        return range_at(self.lines, start, end, self.encoding)

    def changed(
        self, changes: Sequence[TextDocumentContentChangeEvent], version: int
    ) -> tuple["Document", tuple[Change, ...]]:
        """The next version, and what was changed on the way to it."""
        lines = self.lines
        made: list[Change] = []
        for change in changes:
            if isinstance(change, TextDocumentContentChangePartial):
                made.append(change_at(lines, change.range, change.text, self.encoding))
                lines = splice(lines, change.range, change.text, self.encoding)
            else:
                made.append(difference("".join(lines), change.text))
                lines = split(change.text)
        return replace(self, lines=lines, version=version), tuple(made)


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

    def __iter__(self) -> Iterator[Document]:
        return iter(tuple(self._open.values()))

    def get(self, uri: str) -> Document | None:
        # Editors differ in which characters of a URI they escape.
        return self._open.get(unquote(uri))

    def is_current(self, document: Document) -> bool:
        return self.get(document.uri) is document

    def open(self, uri: str, language_id: str, version: int, text: str) -> Document:
        document = Document(uri, version, language_id, split(text), self.encoding)
        self._open[unquote(uri)] = document
        return document

    def change(
        self, uri: str, version: int, changes: Sequence[TextDocumentContentChangeEvent]
    ) -> tuple[Change, ...] | None:
        """What was changed; None where there is no such document."""
        document = self.get(uri)
        if document is None:
            return None
        self._open[unquote(uri)], made = document.changed(changes, version)
        return made

    def close(self, uri: str) -> None:
        self._open.pop(unquote(uri), None)
