"""A block's syntax in the form that damages ask for: nodes by type, their places in the file's text, lines, names.

Trees are in bytes and begin at the block's first line; everything here is given back in code points of the file.
"""

import builtins
import keyword
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache, cached_property
from itertools import accumulate
from typing import TypeVar

import numpy as np
import tree_sitter

from model.spans import WINDOW, python_parser

Node = tree_sitter.Node
T = TypeVar("T")

WORD = re.compile(r"[^\W\d]\w*")
KEYWORDS = frozenset(keyword.kwlist)
BUILTINS = frozenset(name for name in dir(builtins) if not name.startswith("_"))
METHODS = frozenset(
    name
    for kind in (str, bytes, list, dict, set, int, float)
    for name in dir(kind)
    if not name.startswith("_") and len(name) > 2
)
STATEMENTS = frozenset(
    {
        "expression_statement", "return_statement", "raise_statement", "assert_statement", "delete_statement",
        "pass_statement", "break_statement", "continue_statement", "global_statement", "nonlocal_statement",
        "import_statement", "import_from_statement", "future_import_statement",
        "if_statement", "for_statement", "while_statement", "try_statement", "with_statement", "match_statement",
        "function_definition", "class_definition", "decorated_definition",
    }
)  # fmt: skip
COMPOUND = frozenset(
    name for name in STATEMENTS if name.split("_")[0] in {"if", "for", "while", "try", "with", "match"}
) | {"function_definition", "class_definition", "decorated_definition"}
_SHELL = "if 1:"
"""What stands before a block that is indented, so that its indentation is right."""
_INDENT = re.compile(r"[ \t]*")


@cache
def _parser() -> tree_sitter.Parser:
    return python_parser()


class Scan:
    """The syntax of ``text[start:end]``."""

    def __init__(self, text: str, start: int, end: int) -> None:
        self.text, self.start, self.end = text, start, end
        self.low = text.rfind("\n", 0, start) + 1
        source = text[self.low : end]
        self.newline = "\r\n" if "\r\n" in source else "\n"
        first = next((line for line in source.split("\n") if line.strip()), "")
        shell = _SHELL + self.newline if first[:1] in {" ", "\t"} else ""
        self._data = (shell + source).encode("utf-8", "surrogatepass")
        self._shift = self.low - len(shell)
        self._places: Sequence[int] | None = None
        if len(self._data) != len(shell) + len(source):
            self._places = list(accumulate(((byte & 0xC0) != 0x80 for byte in self._data), initial=0))
        self.root = self.top = _parser().parse(self._data).root_node
        """``top`` holds the block's own statements: the module, or what stands in for the indented block."""
        self.broken = self.root.has_error or not source.strip()
        if shell and not self.broken:
            self.broken = [child.type for child in self.root.children if child.type != "comment"] != ["if_statement"]
            self.top = self.root.children[0].child_by_field_name("consequence") or self.root
        self.nodes: dict[str, list[Node]] = {}
        """Nodes by type, signs and keywords among them, but none inside a string: there other rules hold."""
        self.names: list[Node] = []
        """Every identifier, those inside f-strings too."""
        self._parents: dict[int, Node] = {}
        if not self.broken:
            self._walk()

    def _walk(self) -> None:
        # One stack for nodes outside of strings, then one for what f-strings hold.
        stack = [self.top]
        strings: list[Node] = []
        while stack:
            node = stack.pop()
            kind = node.type
            self.nodes.setdefault(kind, []).append(node)
            if kind == "identifier":
                self.names.append(node)
            children = node.children
            if kind == "string":
                strings.append(node)
                for child in children:
                    self._parents[child.id] = node
                continue
            for child in reversed(children):
                self._parents[child.id] = node
                stack.append(child)
        self.nodes[self.top.type].remove(self.top)
        inner = [child for node in strings for child in node.children if child.type == "interpolation"]
        while inner:
            node = inner.pop()
            if node.type == "identifier":
                self.names.append(node)
            for child in node.children:
                self._parents[child.id] = node
                inner.append(child)

    def of(self, *types: str) -> list[Node]:
        """All nodes of these types."""
        if len(types) == 1:
            return self.nodes.get(types[0], [])
        return [node for name in types for node in self.nodes.get(name, [])]

    def parent(self, node: Node) -> Node:
        """The node around; the root's is the root."""
        return self._parents.get(node.id, self.root)

    def above(self, node: Node, *types: str) -> Node | None:
        """The nearest node of one of these types around a node."""
        while (node := self.parent(node)).id != self.root.id:
            if node.type in types:
                return node
        return None

    def inside(self, node: Node, *types: str) -> Iterator[Node]:
        """Nodes of these types at or under a node, f-strings included, in the order of the text."""
        stack = [node]
        while stack:
            node = stack.pop()
            if node.type in types:
                yield node
            stack.extend(reversed(node.children))

    # ------------------------------------------------------------------------------------------ places

    def at(self, byte: int) -> int:
        return self._shift + (self._places[byte] if self._places is not None else byte)

    def span(self, node: Node) -> tuple[int, int]:
        return self.at(node.start_byte), self.at(node.end_byte)

    def src(self, node: Node | None) -> str:
        if node is None:
            return ""
        start, end = self.span(node)
        return self.text[start:end]

    def replace(self, node: Node, new: str) -> tuple[int, int, str]:
        return (*self.span(node), new)

    def between(self, first: Node, last: Node) -> str:
        return self.text[self.at(first.start_byte) : self.at(last.end_byte)]

    def line_start(self, at: int) -> int:
        return self.text.rfind("\n", 0, at) + 1

    def line_end(self, at: int) -> int:
        """Where the line ends, without its line break."""
        end = self.text.find("\n", at)
        end = len(self.text) if end < 0 else end
        return end - 1 if end > at and self.text[end - 1] == "\r" else end

    def indent(self, node: Node) -> str:
        """The indentation of the line that a node begins in."""
        found = _INDENT.match(self.text, self.line_start(self.at(node.start_byte)))
        return found.group() if found else ""

    def leads(self, node: Node) -> bool:
        """Is it the first thing in its line?"""
        start = self.at(node.start_byte)
        return not self.text[self.line_start(start) : start].strip()

    def ends(self, node: Node) -> bool:
        """Is it the last thing in its line?"""
        end = self.at(node.end_byte)
        return not self.text[end : self.line_end(end)].strip()

    def alone(self, node: Node) -> bool:
        """Does it have its lines for itself?"""
        return self.leads(node) and self.ends(node)

    @cached_property
    def unit(self) -> str:
        """One level of indentation."""
        for block in self.of("block"):
            statement = next((child for child in block.children if child.type in STATEMENTS), None)
            header = self.parent(block)
            if statement is not None and self.leads(statement):
                inner, outer = self.indent(statement), self.indent(header)
                if len(inner) > len(outer) and inner.startswith(outer):
                    return inner[len(outer) :]
        return "\t" if "\n\t" in self.text[self.start : self.end] else "    "

    def lines(self, node: Node) -> list[int]:
        """Where the lines of a node begin, without lines that begin inside a string and blank ones."""
        first, last = self.span(node)
        starts = [self.line_start(first)]
        while (at := self.text.find("\n", starts[-1], last)) >= 0:
            starts.append(at + 1)
        hidden = [self.span(string) for string in self.inside(node, "string")]
        return [
            at
            for at in starts
            if not any(low < at < high for low, high in hidden) and self.text[at : self.line_end(at)].strip()
        ]

    def tail(self, at: int, node: Node) -> list[int] | None:
        """Where the lines of a node behind ``at`` begin; None where a string over several lines forbids moving them."""
        if any("\n" in self.src(string) and self.span(string)[1] > at for string in self.inside(node, "string")):
            return None
        return [start for start in self.lines(node) if start > at]

    def dedent(self, node: Node, unit: str) -> list[tuple[int, int, str]] | None:
        """Edits that move the lines of a node one level out, or None where that is not possible."""
        if any("\n" in self.src(string) for string in self.inside(node, "string")):
            return None
        starts = self.lines(node)
        if not all(self.text.startswith(unit, at) for at in starts):
            return None
        return [(at, at + len(unit), "") for at in starts]

    # ------------------------------------------------------------------------------------------ names

    @cached_property
    def vocabulary(self) -> Counter[str]:
        """How often every word stands in the block and near it, in code, comments and strings."""
        return Counter(WORD.findall(self.text, max(0, self.start - WINDOW), self.end + WINDOW))

    def used(self, name: str, *, within: Node | None = None) -> list[Node]:
        """The identifiers of that name which are variables: no attributes, no keywords of calls."""
        nodes = self.names if within is None else self.inside(within, "identifier")
        return [node for node in nodes if self.src(node) == name and self.variable(node)]

    def fresh(self, *names: str) -> str | None:
        """The first of these names that nothing near uses, or None."""
        return next((name for name in names if not self.vocabulary[name]), None)

    def variable(self, node: Node) -> bool:
        """Is this identifier a name of its own, not an attribute or a keyword?"""
        parent = self.parent(node)
        if parent.type == "attribute":
            return parent.children[0].id == node.id
        if parent.type == "keyword_argument":
            return parent.children[0].id != node.id
        return True

    @cached_property
    def parameters(self) -> list[Node]:
        """The names of all parameters, of lambdas too."""
        found = (parameter(item) for group in self.of("parameters", "lambda_parameters") for item in items(group))
        return [node for node in found if node is not None]

    @cached_property
    def targets(self) -> list[Node]:
        """The identifiers that bind a variable: parameters, what is assigned, loops and ``as``."""
        found = list(self.parameters)
        for node in self.of("assignment", "for_statement", "for_in_clause", "augmented_assignment"):
            found += pattern(node.child_by_field_name("left"))
        for node in self.of("as_pattern_target"):
            found += pattern(node.children[0])
        for node in self.of("named_expression"):
            found += pattern(node.child_by_field_name("name"))
        return found

    def statement(self, node: Node) -> Node | None:
        """The nearest statement at or around a node."""
        return node if node.type in STATEMENTS else self.above(node, *STATEMENTS)

    def safe(self, node: Node, new: str, binds: int = 0) -> str:
        """An expression as it must stand in place of ``node``: in parentheses where what is around binds tighter.

        ``binds`` is one of LOOSE, OR, AND, NOT, COMPARE, ARITHMETIC.
        """
        parent = self.parent(node)
        last = parent.children[-1].id == node.id
        around = 0 if parent.type in _ROOMY or (parent.type in {"assignment", "pair"} and last) else 9
        if parent.type in {"if_statement", "elif_clause", "while_statement"}:
            around = 0 if parent.child_by_field_name("condition") == node else 9
        elif parent.type in {"if_clause", "conditional_expression", "assert_statement"}:
            around = OR
        elif parent.type == "boolean_operator":
            around = AND if parent.children[1].type == "and" else OR
        elif parent.type == "not_operator":
            around = NOT
        elif parent.type == "comparison_operator":
            around = ARITHMETIC
        return new if binds >= around else f"({new})"

    def simple(self, node: Node | None) -> bool:
        """Can it stand twice for once: a name, an attribute of a name, a constant?"""
        if node is None:
            return False
        if node.type == "attribute":
            return self.simple(node.children[0])
        return node.type in {"identifier", "integer", "float", "true", "false", "none"}


COMPREHENSIONS = ("generator_expression", "list_comprehension", "dictionary_comprehension", "set_comprehension")
LOOSE, OR, AND, NOT, COMPARE, ARITHMETIC = range(6)
"""How tightly an expression binds, from ``a if b else c`` on."""
_ROOMY = frozenset(
    {
        "expression_statement",
        "return_statement",
        "parenthesized_expression",
        "keyword_argument",
        "list",
        "argument_list",
    }
)


def pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    return options[int(rng.integers(len(options)))]


def mixed(rng: np.random.Generator, options: Sequence[T]) -> Iterator[T]:
    """All of them, in random order."""
    rest = list(options)
    while rest:
        at = int(rng.integers(len(rest)))
        rest[at], rest[-1] = rest[-1], rest[at]
        yield rest.pop()


def items(node: Node | None) -> list[Node]:
    """What stands between the brackets and commas of a list, tuple, call or signature."""
    if node is None:
        return []
    return [child for child in node.children if child.is_named and child.type != "comment"]


def parameter(node: Node) -> Node | None:
    """The name of one entry of a signature; None for a lone ``*`` or ``/``."""
    if node.type == "identifier":
        return node
    if node.type in {"typed_parameter", "list_splat_pattern", "dictionary_splat_pattern"}:
        named = [child for child in node.children if child.is_named]
        return parameter(named[0]) if named else None
    return node.child_by_field_name("name")


def pattern(node: Node | None) -> list[Node]:
    """The identifiers that an assignment to a target binds."""
    if node is None:
        return []
    if node.type == "identifier":
        return [node]
    if node.type in {"pattern_list", "tuple_pattern", "list_pattern", "list_splat_pattern"}:
        return [name for child in node.children for name in pattern(child)]
    return []


def body(node: Node) -> list[Node]:
    """The statements of a compound statement's block."""
    block = node.child_by_field_name("body") or node.child_by_field_name("consequence")
    return [child for child in block.children if child.type in STATEMENTS] if block is not None else []
