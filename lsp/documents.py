"""The open documents, as the editor has them: values that never change, one per version.

Whoever computes holds on to the document that was asked about; an answer is stale when ``get`` gives another one.
Nothing is ever read from disk. Notifications in an order that makes no sense (a change to what is not open, a document
closed twice) are passed over.
"""

from collections.abc import Iterator, Sequence
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

    def changed(self, changes: Sequence[TextDocumentContentChangeEvent], version: int) -> "Document":
        lines = self.lines
        for change in changes:
            if isinstance(change, TextDocumentContentChangePartial):
                lines = splice(lines, change.range, change.text, self.encoding)
            else:
                lines = split(change.text)
        return replace(self, lines=lines, version=version)


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

    def change(self, uri: str, version: int, changes: Sequence[TextDocumentContentChangeEvent]) -> Document | None:
        """The new document; None where there was none."""
        document = self.get(uri)
        if document is None:
            return None
        document = self._open[unquote(uri)] = document.changed(changes, version)
        return document

    def close(self, uri: str) -> None:
        self._open.pop(unquote(uri), None)
