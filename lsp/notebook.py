"""Notebooks: which cells there are, in what order, and what the others put around one of them in a prompt.

A cell is a document of its own, with its own versions and positions. Only for the model it stands between the other
cells in its language, so that it sees what they define. What they hold is made parsable first: an answer's verdict is
about the syntax of the whole text, and must not depend on what is half written elsewhere.
"""

import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from urllib.parse import unquote

from lsprotocol import types

from assistant.types import CompletionRequest, CompletionResult
from lsp.documents import Document

AROUND = 50_000
"""Characters of other cells on either side, at most: many times what a model takes in."""
BETWEEN = "\n\n"
MAGIC = re.compile(r"^(?=%{1,2}[A-Za-z]|[ \t]*![^=\s]|\?)", re.MULTILINE)
"""Where a line begins that IPython takes for itself; ``%`` further in goes on with an expression."""
OF_PYTHON = re.compile(r"%%(time|timeit|capture|prun)\b")
"""Of the magics for a whole cell, those with Python below them."""
SYNTAX_ONLY, TOP_LEVEL_AWAIT = 0x400, 0x2000
"""Of ``ast``, which need not be imported."""


@dataclass(frozen=True)
class Beside:
    """What the cells above and below put around a document."""

    head: str = ""
    tail: str = ""

    def asked(self, request: CompletionRequest) -> CompletionRequest:
        """The same question, with the other cells around it."""
        if self == ALONE:
            return request
        shift, end = len(self.head), request.end
        return replace(
            request,
            text=self.head + request.text + self.tail,
            start=request.start + shift,
            end=None if end is None else end + shift,
        )

    def answered(self, result: CompletionResult) -> CompletionResult:
        """The answer to it, in places of the document."""
        shift = len(self.head)
        moved = [replace(one, start=one.start - shift, end=one.end - shift) for one in result.completions]
        return replace(result, completions=tuple(moved))


ALONE = Beside()


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
        """What the other cells in its language hold, the nearest first where there is too much."""
        cells = self._cells.get(self._of.get(document.key, ""), ())
        keys = [unquote(cell.document) for cell in cells]
        if document.key not in keys:
            return ALONE
        at = keys.index(document.key)
        above = _texts(self._wanted(reversed(cells[:at]), document))
        below = _texts(self._wanted(cells[at + 1 :], document))
        head = "".join(text + BETWEEN for text in reversed(above))
        return Beside(head, "".join(BETWEEN + text for text in below))

    def _wanted(self, cells: Iterable[types.NotebookCell], document: Document) -> Iterable[Document]:
        for cell in cells:
            other = self._find(cell.document) if cell.kind == types.NotebookCellKind.Code else None
            if other is not None and other.language_id == document.language_id:
                yield other


def _texts(cells: Iterable[Document]) -> Sequence[str]:
    found, left = [], AROUND
    for cell in cells:
        text = _readable(cell.text, cell.language_id)
        left -= len(text) + len(BETWEEN)
        if left < 0:
            break
        if text:
            found.append(text)
    return found


@lru_cache(maxsize=512)
def _readable(text: str, language: str) -> str:
    """Of another cell, what parses: a cell of Python with the lines of IPython as comments, and "" for one that is
    half written.
    """
    if language != "python":
        return text.strip().encode("utf-8", "replace").decode()  # as what is sent: without halves of characters
    if text.startswith("%%") and OF_PYTHON.match(text) is None:
        return ""
    text = MAGIC.sub("# ", text).strip()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes in strings that are none
            compile(text, "", "exec", SYNTAX_ONLY | TOP_LEVEL_AWAIT)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    return text
