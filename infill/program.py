"""Python's own verdict on Python code: what its compiler refuses and tree-sitter's grammar does not.

A keyword argument given twice, ``return`` outside a function, a ``nonlocal`` without a name to bind: the text parses,
and is no program. Code is compiled and never run. Where the compiler gives up, or the running Python may be too old for
the text, there is no verdict.
"""

import ast
import re
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from tree_sitter import Node, Tree

WHOLE_BYTES = 16 * 1024
"""Buffers up to this size are compiled as a whole (about 2 ms), of larger ones the statements around the answer."""
MOST_BYTES = 64 * 1024
"""Statements longer than this are not compiled at all (about 10 ms)."""

_LOCK = threading.Lock()
"""The filters of warnings are the process's: two threads that set them aside could put them back in the wrong order.
What makes a syntax tree counts how deep it is for all threads together, and fails where that does not come out even."""
_TO_COME = ("expected an indented block", "expected 'except' or 'finally' block")
_UNSURE = (ValueError, RecursionError, MemoryError, OverflowError, SystemError)


class Fault(NamedTuple):
    message: str
    start: int
    end: int
    """Where in the text, in code points; roughly, since the compiler counts bytes now and then."""


class Part(NamedTuple):
    """Bytes [start, end) of a buffer that can be compiled by themselves, behind ``opening``."""

    start: int
    end: int
    opening: str = ""


def fault(text: str, *, grammar: bool = False) -> Fault | None:
    """Why Python does not take the text for a program, or ``grammar``: why its grammar does not; None when it does, or
    cannot tell.

    ``await`` is allowed everywhere, as in notebooks.
    """
    try:
        _compile(text, ast.PyCF_ONLY_AST if grammar else ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    except SyntaxError as error:
        start = _offset(text, error.lineno, error.offset)
        return Fault(error.msg, start, max(_offset(text, error.end_lineno, error.end_offset), start + 1))
    except _UNSURE:
        return None
    return None


def compiles(text: str) -> bool:
    """Whether Python takes the text for a program."""
    return _takes(text, ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def parses(text: str) -> bool:
    """Whether Python's grammar takes the text, be it a program or not."""
    return _takes(text, ast.PyCF_ONLY_AST)


def _takes(text: str, flags: int) -> bool:
    try:
        _compile(text, flags)
    except (SyntaxError, *_UNSURE):
        return False
    return True


@contextmanager
def quiet() -> Iterator[None]:
    """For as long as it is not left, Python's parser warns of nothing and is used by one thread."""
    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def tree_of(text: str) -> ast.Module:
    """Raises:
    SyntaxError, ValueError, RecursionError, MemoryError: as ``ast.parse``.
    """
    with quiet():
        return ast.parse(text.removeprefix("\ufeff"))


def _compile(text: str, flags: int) -> None:
    with quiet():
        compile(text.removeprefix("\ufeff"), "<buffer>", "exec", flags, dont_inherit=True)


def refusal(head: str, middle: str, tail: str, *, to_come: bool = True) -> Fault | None:
    """Why ``head + middle + tail`` is no program, but for a block that may still be ``to_come`` behind ``middle``."""
    found = fault(head + middle + tail)
    end = len(head) + len(middle.rstrip())
    if found is None or not (to_come and found.message.startswith(_TO_COME) and found.start >= end):
        return found
    # Only the first fault is known: with a block in its place the rest can be looked at.
    if not middle.rstrip().endswith(":"):
        return None
    found = fault(head + middle.rstrip() + " pass" + tail)
    return None if found is None or found.message.startswith(_TO_COME) else found


def part(tree: Tree, start: int, end: int, size: int, *, whole: bool) -> Part | None:
    """What to compile to judge bytes [start, end) of a buffer of ``size`` bytes; None: nothing there can be.

    ``whole``: the buffer itself, where it is small. Else the statements around those bytes, out of the classes that
    they stand in; None where they have errors or are too long.
    """
    if whole and size <= WHOLE_BYTES:
        return Part(0, size)
    node = tree.root_node
    while True:
        around = list(_around(node, start, end))
        inner = _body(around[0], start) if len(around) == 1 else None
        if inner is None:
            break
        node = inner
    if not around or any(node.has_error for node in around):
        return None
    after = around[-1].next_sibling
    if after is not None and after.start_point.column > around[0].start_point.column:
        # An indentation that nothing asks for: the answer may have cut a block in two.
        above = around[0].prev_sibling
        around = [*([above] if above is not None else []), *around, after]
    column = around[0].start_point.column
    found = Part(min(around[0].start_byte - column, start), max(around[-1].end_byte, end), "if 1:\n" if column else "")
    return found if found.end - found.start <= MOST_BYTES else None


def newer(tree: Tree, start: int, end: int) -> bool:
    """Whether bytes [start, end) have syntax that the running Python may not know yet."""
    todo = [tree.root_node]
    while todo:
        node = todo.pop()
        if sys.version_info < _since(node):
            return True
        todo.extend(_around(node, start, end))
    return False


def _since(node: Node) -> tuple[int, int]:
    """The Python that brought what this node is."""
    match node.type:
        case "type_alias_statement" | "type_parameter":
            return (3, 13)
        case "interpolation" if set(node.text or b"") & set(b"'\"\\\n#"):
            return (3, 12)
        case "except_clause" if len(node.children_by_field_name("value")) > 1:
            return (3, 14)
        case "string_start" if b"t" in (node.text or b"").lower():
            return (3, 14)
        case _:
            return (3, 0)


def _around(node: Node, start: int, end: int) -> Iterator[Node]:
    """The children of ``node`` that overlap or touch bytes [start, end)."""
    cursor = node.walk()  # Node.first_child_for_byte takes the process down behind the last child (py-tree-sitter 0.26)
    found = cursor.goto_first_child_for_byte(max(start - 1, 0)) is not None
    while found and cursor.node is not None and cursor.node.start_byte <= end:
        if cursor.node.end_byte >= start:
            yield cursor.node
        found = cursor.goto_next_sibling()


def _body(node: Node, start: int) -> Node | None:
    """The body of a class, where ``start`` lies in it and it has lines of its own."""
    if node.type == "decorated_definition":
        node = node.child_by_field_name("definition") or node
    body = node.child_by_field_name("body") if node.type == "class_definition" else None
    inside = body is not None and body.start_byte <= start and body.start_point.row > node.start_point.row
    return body if inside else None


def line_starts(text: str) -> list[int]:
    """Where the lines begin that Python counts: a lone carriage return ends one too, and a byte order mark stands
    before the first."""
    return [int(text.startswith("\ufeff")), *(one.end() for one in re.finditer(r"\r\n?|\n", text))]


def _offset(text: str, line: int | None, column: int | None) -> int:
    """The place in the text of a line and a column that count from 1."""
    starts = line_starts(text)
    row = min(max((line or 1) - 1, 0), len(starts) - 1)
    end = starts[row + 1] - 1 if row + 1 < len(starts) else len(text)
    return min(starts[row] + max((column or 1) - 1, 0), end)
