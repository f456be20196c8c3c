"""Blocks of a text, which are what is edited: whole lines, in order, none of them twice.

They are found by tree-sitter: definitions by kind and name, what a query captures, what stands around given lines.
Where one lies inside of another the outer one is taken. In a text that does not parse, the stretches that are broken
can be blocks as well: what is wrong with them is why no definition is found there.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from tree_sitter import Node, Parser, Query, QueryCursor, QueryError

from assistant.errors import RequestError
from assistant.workspace.definitions import DECLARATIONS, QUERIES, WRAPPERS
from infill import languages
from infill.brackets import is_deep

KINDS = ("function", "class", "method", "statement")
BODIES = frozenset(
    {
        "module", "block", "program", "statement_block", "class_body", "source_file", "declaration_list",
        "translation_unit", "compound_statement", "field_declaration_list", "compilation_unit", "body_statement",
        "chunk", "statement_list", "interface_body", "enum_body", "do_block",
    }
)  # fmt: skip
"""Nodes whose children are statements."""
COMMENTS = frozenset({"comment", "line_comment", "block_comment"})
RUN = 20
"""Lines of a broken stretch, or of statements beside each other, that make one block at most."""


@dataclass(frozen=True)
class Block:
    """Whole lines of a text."""

    start: int
    """In code points."""
    end: int
    """Behind the end of its last line."""
    first: int
    """Lines count from 1; they end with a line feed."""
    last: int
    kind: str
    """function, method, class, statement, broken, text, or the name of a query's capture."""
    name: str = ""


@dataclass(frozen=True)
class Wanted:
    """Which blocks of a text."""

    kind: str = "function"
    name: re.Pattern[str] | None = None
    """Looked for in the name of a definition."""
    query: str | None = None
    """A tree-sitter query: what it captures, but for captures whose names begin with an underscore."""
    broken: bool = False
    """Stretches that do not parse, too."""


@dataclass(frozen=True)
class _Definition:
    node: Node
    kind: str
    name: str


class Text:
    """A text with its syntax tree; for one thread."""

    def __init__(self, text: str, language: str) -> None:
        """``language``: a name of the table, of a language with a grammar."""
        row = languages.get(language)
        reader = _parser(language)
        assert row is not None
        assert reader is not None, f"{language} has a grammar"
        self.text, self.language = text, row.name
        data = text.encode("utf-8", "replace")
        # Of what the grammar cannot bear nothing is seen.
        is_borne = languages.depth(text, row) <= languages.DEPTH and not is_deep(text)
        self.tree = reader.parse(row.seen(data) if is_borne else b"")
        self.starts = [0, *(match.end() for match in re.finditer("\n", text))]
        if self.starts[-1] == len(text) and len(text):
            self.starts.pop()
        self._data = data

    def blocks(self, wanted: Wanted) -> list[Block]:
        """Raises:
        RequestError: the query is none of this language's.
        """
        if wanted.query is not None:
            return self._tidy(self._captured(wanted.query))
        found = [self._block(*one) for one in self._of_kind(wanted)]
        if wanted.broken and wanted.name is None:
            found = [*self._tidy(found), *self._broken(found)]
        return self._tidy(found)

    def around(self, lines: Iterable[int], wanted: Wanted) -> tuple[list[Block], list[int]]:
        """The block around each of the lines, which count from 1, and those with none. Where none of the kind that is
        wanted is around a line, it is the statement there."""
        candidates = [self._block(*one) for one in self._of_kind(wanted)] if wanted.query is None else []
        if wanted.query is not None:
            candidates = self._captured(wanted.query)
        wider = wanted.query is None and wanted.name is None
        others = [*candidates]
        if wider and wanted.kind != "statement":
            others = [self._block(node, "statement") for node in self._statements(self.tree.root_node)]
        if wider and wanted.broken:
            others += self._broken(candidates)
        found, missed = [], []
        for line in sorted(set(lines)):
            near = [one for one in candidates if one.first <= line <= one.last]
            near = near or [one for one in others if one.first <= line <= one.last]
            if near:
                found.append(min(near, key=lambda one: one.last - one.first))
            else:
                missed.append(line)
        return self._tidy(found), missed

    def whole(self, first: int = 1, last: int | None = None) -> list[Block]:
        """The lines ``first`` to ``last`` as blocks: a function is one, and what is between them is cut at empty lines.
        Only lines with something on them are in one."""
        last = len(self.starts) if last is None else min(last, len(self.starts))
        functions = self._tidy([self._block(*one) for one in self._of_kind(Wanted())])
        marks = sorted({first, last + 1, *(line for one in functions for line in (one.first, one.last + 1))})
        found = []
        for low, high in pairwise(line for line in marks if first <= line <= last + 1):
            inside = next((one for one in functions if one.first <= low <= one.last), None)
            if inside is not None:
                found.append(self._lines(low, high - 1, inside.kind, inside.name))
            else:
                found += self._runs(low, high - 1, "text")
        return [one for one in found if self.text[one.start : one.end].strip()]

    # Kinds.

    def _of_kind(self, wanted: Wanted) -> Iterator[tuple[Node, str, str]]:
        if wanted.kind == "statement":
            if wanted.name is None:
                yield from ((node, "statement", "") for node in self._statements(self.tree.root_node))
            return
        for one in self._definitions():
            fits = one.kind == wanted.kind or (wanted.kind == "function" and one.kind == "method")
            if fits and (wanted.name is None or wanted.name.search(one.name)):
                yield _whole(one.node), one.kind, one.name

    def _definitions(self) -> list[_Definition]:
        query = _definitions_query(self.language)
        if query is None:
            return []
        found: dict[int, tuple[Node, str, str]] = {}
        for _, captures in QueryCursor(query).matches(self.tree.root_node):
            (name,) = captures.pop("name")[:1]
            for kind, nodes in captures.items():
                if kind in ("class", "function", "method"):
                    found.setdefault(nodes[0].id, (nodes[0], kind, self._string(name)))
        ordered = sorted(found.values(), key=lambda one: (one[0].start_byte, -one[0].end_byte))
        return [
            _Definition(node, "method" if kind == "function" and _in_class(node, found) else kind, name)
            for node, kind, name in ordered
        ]

    def _statements(self, top: Node) -> Iterator[Node]:
        """What the bodies of the file, its classes and its functions are made of, but for these themselves."""
        inner = {one.node.id for one in self._definitions()}
        inner |= {_whole(one.node).id for one in self._definitions()}
        todo = [top]
        while todo:
            node = todo.pop()
            for child in node.named_children:
                if child.id in inner or child.type in BODIES:
                    todo.append(child)
                elif node.type in BODIES and child.type not in COMMENTS and not child.is_error:
                    yield child

    def _captured(self, source: str) -> list[Block]:
        query = query_of(self.language, source)
        found = []
        for name, nodes in QueryCursor(query).captures(self.tree.root_node).items():
            if not name.startswith("_"):
                found += [self._block(node, name) for node in nodes]
        return found

    def _broken(self, besides: Sequence[Block]) -> list[Block]:
        taken = {line for one in besides for line in range(one.first, one.last + 1)}
        lines: set[int] = set()
        todo = [self.tree.root_node]
        while todo:
            node = todo.pop()
            if node.is_error or node.is_missing:
                first, last = _rows(node)
                # What is missing is often missed only on the next line.
                lines |= set(range(max(first, 1) if node.is_missing else first + 1, last + 2))
            if node.has_error:
                todo.extend(node.children)
        free = sorted(line for line in lines - taken if line <= len(self.starts))
        found = []
        while free:
            end = 1
            while end < len(free) and free[end] == free[end - 1] + 1:
                end += 1
            found += self._runs(free[0], free[end - 1], "broken")
            del free[:end]
        return [one for one in found if self.text[one.start : one.end].strip()]

    # Lines.

    def _block(self, node: Node, kind: str, name: str = "") -> Block:
        first, last = _rows(node)
        return self._lines(first + 1, last + 1, kind, name)

    def _lines(self, first: int, last: int, kind: str, name: str = "") -> Block:
        end = self.starts[last] if last < len(self.starts) else len(self.text)
        return Block(self.starts[first - 1], end, first, last, kind, name)

    def _runs(self, first: int, last: int, kind: str) -> list[Block]:
        """Lines cut at empty ones, the pieces not longer than ``RUN`` where that can be."""
        found: list[Block] = []
        low: int | None = None
        for line in range(first, last + 2):
            empty = (
                line > last
                or not self.text[self._lines(line, line, "").start : self._lines(line, line, "").end].strip()
            )
            if empty and low is not None:
                piece = self._lines(low, line - 1, kind)
                if found and piece.last - found[-1].first < RUN:
                    piece = self._lines(found.pop().first, piece.last, kind)
                found.append(piece)
                low = None
            elif not empty and low is None:
                low = line
        return found

    def _tidy(self, found: Iterable[Block]) -> list[Block]:
        """In order; those that share a line as one, with the outer one's name."""
        kept: list[Block] = []
        for one in sorted(found, key=lambda one: (one.first, -one.last)):
            if not kept or one.first > kept[-1].last:
                kept.append(one)
            elif one.last > kept[-1].last:
                outer = kept.pop()
                kept.append(self._lines(outer.first, one.last, outer.kind, outer.name))
        return kept

    def _string(self, node: Node) -> str:
        return self._data[node.start_byte : node.end_byte].decode("utf-8", "replace")


def check_query(source: str, known: Iterable[str]) -> list[str]:
    """The languages among ``known`` that the query is one of.

    Raises:
        RequestError: there is none; says what is wrong.
    """
    fits, wrong = [], ""
    for language in known:
        try:
            query_of(language, source)
            fits.append(language)
        except RequestError as error:
            wrong = wrong or str(error)
    if not fits:
        raise RequestError(wrong or "--query needs a language with a grammar")
    return fits


@cache
def query_of(language: str, source: str) -> Query:
    """Raises:
    RequestError: says where it is wrong.
    """
    reader = _parser(language)
    if reader is None or reader.language is None:
        raise RequestError(f"--query: no grammar of {language} is installed")
    try:
        query = Query(reader.language, source)
    except (QueryError, SyntaxError, ValueError, NameError, TypeError) as error:
        raise RequestError(f"--query is none of {language}: {error}") from error
    if not any(not query.capture_name(index).startswith("_") for index in range(query.capture_count)):
        raise RequestError("--query captures nothing: name what is to be edited, as in (function_definition) @it")
    return query


@cache
def _parser(language: str) -> Parser | None:
    return languages.parser(language)


@cache
def _definitions_query(language: str) -> Query | None:
    reader = _parser(language)
    if language not in QUERIES or reader is None or reader.language is None:
        return None
    return Query(reader.language, QUERIES[language])


def _rows(node: Node) -> tuple[int, int]:
    """The first and the last row, from 0; what ends with a line's end does not reach into the next one."""
    first, last = node.start_point.row, node.end_point.row
    return first, last - 1 if node.end_point.column == 0 and last > first else last


def _whole(node: Node) -> Node:
    """With its decorators, or the statement that it is the value of."""
    while node.parent is not None and node.parent.type in WRAPPERS | DECLARATIONS:
        node = node.parent
    return node


def _in_class(node: Node, found: dict[int, tuple[Node, str, str]]) -> bool:
    around = node.parent
    while around is not None:
        if around.id in found:
            return found[around.id][1] == "class"
        around = around.parent
    return False
