"""Notebooks: which cells there are, in what order, and a cell between the others as one text.

A cell is a document of its own, with its own versions and positions, and no program by itself: its names come from the
others. So whoever asks the model, a rule or a parser about a cell asks about the text of all cells in its language, and
the answer is taken back to the cell it belongs to. That text is made parsable first: lines of IPython are comments,
sign for sign, so that places stay where they are, and cells that are half written are left out. A verdict is about the
whole text, and must not depend on them.
"""

import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from urllib.parse import unquote

from lsprotocol import types

from assistant.types import CompletionRequest, CompletionResult
from lsp.documents import CELL, Document

AROUND = 50_000
"""Characters of other cells on either side, at most: many times what a model takes in."""
BETWEEN = "\n\n"
LANGUAGE = "python"
MAGIC = re.compile(r"^(?:%(?=%?[A-Za-z])|([ \t]*)!(?=[^=\s])|\?)", re.MULTILINE)
"""The first sign of a line that IPython takes for itself; ``%`` further in goes on with an expression."""
CELL_MAGIC = re.compile(r"%%(?!(?:time|timeit|capture|prun)\b)\w+")
"""At the top of a cell: it is in another language, whatever the editor says."""
SYNTAX_ONLY, TOP_LEVEL_AWAIT = 0x400, 0x2000
"""Of ``ast``, which need not be imported."""


@dataclass(frozen=True)
class Beside:
    """What the cells above and below put around a document."""

    head: str = ""
    tail: str = ""
    is_python: bool = False
    """Whether it is a cell of Python that they stand around."""

    def asked(self, request: CompletionRequest) -> CompletionRequest:
        """The same question, with the other cells around it."""
        if self == ALONE:
            return request
        shift, end = len(self.head), request.end
        return replace(
            request,
            text=self.head + (as_python(request.text) if self.is_python else request.text) + self.tail,
            start=request.start + shift,
            end=None if end is None else end + shift,
        )

    def answered(self, result: CompletionResult) -> CompletionResult:
        """The answer to it, in places of the document."""
        shift = len(self.head)
        moved = [replace(one, start=one.start - shift, end=one.end - shift) for one in result.completions]
        return replace(result, completions=tuple(moved))


ALONE = Beside()


@dataclass(frozen=True, eq=False)
class Whole:
    """A document between those that are one program with it; whatever is no cell is whole by itself."""

    own: Document
    above: tuple[Document, ...] = ()
    below: tuple[Document, ...] = ()
    beside: Beside = ALONE

    @cached_property
    def text(self) -> str:
        return self.beside.asked(CompletionRequest(self.own.text, 0)).text

    @property
    def start(self) -> int:
        """Where ``own`` begins in ``text``."""
        return len(self.beside.head)

    @property
    def pieces(self) -> Iterator[tuple[Document, int]]:
        """Every document, and where it begins in ``text``; ``own`` first: what lies at its borders is its own."""
        yield self.own, self.start
        at = 0
        for one in self.above:
            yield one, at
            at += len(one.text) + len(BETWEEN)
        at += len(self.own.text) + len(BETWEEN)
        for one in self.below:
            yield one, at
            at += len(one.text) + len(BETWEEN)

    def locate(self, start: int, end: int) -> tuple[Document, int] | None:
        """In which document a stretch of ``text`` lies, and where that begins; None: in no single one."""
        return next(((one, at) for one, at in self.pieces if at <= start and end <= at + len(one.text)), None)


class Notebooks:
    """As documents: notifications in an order that makes no sense are passed over."""

    def __init__(self, find: Callable[[str], Document | None]) -> None:
        """``find``: the open document of a URI."""
        self._find = find
        self._cells: dict[str, list[types.NotebookCell]] = {}
        self._of: dict[str, str] = {}
        """The notebook of each cell."""

    def open(self, notebook: types.NotebookDocument) -> None:
        self._set(unquote(notebook.uri), list(notebook.cells))

    def change(self, uri: str, changes: types.NotebookDocumentCellChanges) -> None:
        cells = self._cells.get(unquote(uri))
        if cells is None:
            return
        cells = list(cells)
        if changes.structure is not None:
            array = changes.structure.array
            cells[array.start : array.start + array.delete_count] = array.cells or ()
        fresh = {cell.document: cell for cell in changes.data or ()}
        self._set(unquote(uri), [fresh.get(cell.document, cell) for cell in cells])

    def close(self, uri: str) -> None:
        self._set(unquote(uri), [])
        self._cells.pop(unquote(uri), None)

    def cells(self, uri: object) -> list[str]:
        """The URIs of a notebook's cells, in order."""
        return [cell.document for cell in self._cells.get(unquote(uri), ())] if isinstance(uri, str) else []

    def _set(self, key: str, cells: list[types.NotebookCell]) -> None:
        for cell in self._cells.get(key, ()):
            self._of.pop(unquote(cell.document), None)
        self._cells[key] = cells
        for cell in cells:
            self._of[unquote(cell.document)] = key

    def holds(self, document: Document) -> bool:
        """Whether it is a cell of a notebook that is known."""
        return document.key in self._of

    def beside(self, document: Document) -> Beside:
        """What the other cells in its language hold."""
        return self.whole(document).beside

    def whole(self, document: Document) -> Whole:
        """With the other cells in its language, the nearest ones where there is too much."""
        cells = self._cells.get(self._of.get(document.key, ""), ())
        keys = [unquote(cell.document) for cell in cells]
        if document.key not in keys or is_foreign(document):
            return Whole(document)
        at = keys.index(document.key)
        above = _near(self._wanted(reversed(cells[:at]), document))[::-1]
        below = _near(self._wanted(cells[at + 1 :], document))
        head = "".join(text + BETWEEN for _, text in above)
        tail = "".join(BETWEEN + text for _, text in below)
        beside = Beside(head, tail, document.language_id == LANGUAGE)
        return Whole(document, tuple(one for one, _ in above), tuple(one for one, _ in below), beside)

    def _wanted(self, cells: Iterable[types.NotebookCell], document: Document) -> Iterable[Document]:
        for cell in cells:
            other = self._find(cell.document) if cell.kind == types.NotebookCellKind.Code else None
            if other is not None and other.language_id == document.language_id:
                yield other


def _near(cells: Iterable[Document]) -> list[tuple[Document, str]]:
    """The first ones with something in them, and how they are read."""
    found, left = [], AROUND
    for cell in cells:
        text = _readable(cell.text, cell.language_id)
        left -= len(text) + len(BETWEEN)
        if left < 0:
            break
        if text:
            found.append((cell, text))
    return found


def is_foreign(document: Document) -> bool:
    """A cell that is named Python by the editor, and says that it is another language."""
    text = document.blocks[0].lines[0]
    return document.uri.startswith(CELL) and document.language_id == LANGUAGE and CELL_MAGIC.match(text) is not None


def as_python(text: str) -> str:
    """With comments for what is IPython's; as long as before."""
    return MAGIC.sub(lambda found: f"{found[1] or ''}#", text)


@lru_cache(maxsize=512)
def _readable(text: str, language: str) -> str:
    """Of another cell, what parses: "" for one of Python that is half written, and for one with nothing in it. As long
    as the cell, else.
    """
    if not text.strip():
        return ""
    if language != LANGUAGE:
        return text.encode("utf-8", "replace").decode()  # as what is sent: without halves of characters
    if CELL_MAGIC.match(text):
        return ""
    text = as_python(text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes in strings that are none
            compile(text, "", "exec", SYNTAX_ONLY | TOP_LEVEL_AWAIT)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    return text
