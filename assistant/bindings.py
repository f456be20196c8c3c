"""Names of a Python program: which of them nothing binds, where those stand, and what is bound there.

Which those are, Python's own compiler says (``symtable``), so right programs have none, but for those that get names
from elsewhere: those are left alone. All offsets are code points.
"""

import ast
import builtins
import re
import symtable
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from infill.program import quiet, tree_of

ELSEWHERE = re.compile(
    r"\bimport[ \t]*\*|\b(?:exec|globals|_convert_)[ \t]*\(|\bglobal_enum\b"
    r"|\bvars[ \t]*\([^)\n]*\)[ \t]*(?:\[|\.update)"
)
"""What may bind names that are not seen."""
BUILTINS = frozenset(dir(builtins))
ONCE = frozenset(
    {
        "StandardError", "apply", "basestring", "buffer", "cmp", "coerce", "execfile", "file", "intern", "long",
        "raw_input", "reduce", "reload", "unichr", "unicode", "xrange",
    }
)  # fmt: skip
"""Python 2's own names: who uses one means it, and stands where Python 2 runs."""
Function = ast.FunctionDef | ast.AsyncFunctionDef
Scope = Function | ast.Lambda


@dataclass(frozen=True)
class Program:
    text: str
    tree: ast.Module
    unbound: frozenset[str]
    """Names that are used and that nothing binds."""


@dataclass(frozen=True)
class Use:
    """A use of a name."""

    node: ast.Name
    bound: frozenset[str]
    """What is bound where it is used, as far as names are known there."""
    within: tuple[ast.AST, ...]
    """The module, functions and classes around it, from outside inwards."""

    @property
    def method(self) -> Scope | None:
        """The innermost function around it that stands in a class itself."""
        pairs = zip(self.within, self.within[1:], strict=False)
        found = [inner for outer, inner in pairs if isinstance(outer, ast.ClassDef) and isinstance(inner, Scope)]
        return found[-1] if found else None


@lru_cache(maxsize=4)
def program(text: str) -> Program | None:
    """None where the text is no program, or may get names from elsewhere."""
    if ELSEWHERE.search(text) or "\0" in text:
        return None
    try:
        tree = tree_of(text)
        with quiet():
            table = symtable.symtable(text, "module", "exec")
        unbound = frozenset(_unbound(table))
        return Program(text, tree, unbound and unbound - _tried(tree))  # which looks through all of it
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


@dataclass
class Places:
    """Where nodes of a tree stand in its text, in code points."""

    text: str
    starts: list[int] = field(default_factory=list[int])

    def __post_init__(self) -> None:
        self.starts = [0, *(one.end() for one in re.finditer(r"\r\n|\r|\n", self.text))]

    def of(self, node: ast.expr | ast.stmt | ast.keyword) -> int:
        return self._at(node.lineno, node.col_offset)

    def end_of(self, node: ast.expr | ast.stmt) -> int:
        return self._at(node.end_lineno or node.lineno, node.end_col_offset or node.col_offset)

    def statements(self, tree: ast.Module, blocks: Iterable[tuple[int, int]]) -> list[ast.stmt]:
        """Those of the top level that stand in the lines of a block, as a whole or in part; blocks are in order."""
        rows = [(bisect_right(self.starts, low), bisect_right(self.starts, high)) for low, high in blocks]
        ends = [last for _, last in rows]
        found = []
        for one in tree.body:
            above = min((each.lineno for each in getattr(one, "decorator_list", ())), default=one.lineno)
            first, last = min(above, one.lineno), one.end_lineno or one.lineno
            at = bisect_left(ends, first)
            if at < len(rows) and rows[at][0] <= last:
                found.append(one)
        return found

    def _at(self, line: int, column: int) -> int:
        start = self.starts[line - 1]
        end = self.starts[line] if line < len(self.starts) else len(self.text)
        data = self.text[start:end].encode("utf-8", "surrogatepass")
        return start + len(data[:column].decode("utf-8", "replace"))


def uses(tree: ast.Module, wanted: frozenset[str]) -> Iterator[Use]:
    """Uses of the names, in no order."""
    todo: list[tuple[ast.AST, frozenset[str], tuple[ast.AST, ...]]] = [(tree, frozenset(bound_in(tree)), (tree,))]
    seen: set[ast.AST] = set()
    while todo:
        node, bound, within = todo.pop()
        if isinstance(node, ast.Name) and node.id in wanted and isinstance(node.ctx, ast.Load):
            yield Use(node, bound, within)
        for child in _outside(node):
            seen.add(child)
            todo.append((child, bound, within))
        if isinstance(node, Scope):
            bound |= frozenset(bound_in(node))
        if isinstance(node, Scope | ast.ClassDef):
            within = (*within, node)
        todo += ((child, bound, within) for child in ast.iter_child_nodes(node) if child not in seen)


def _outside(node: ast.AST) -> Iterator[ast.AST]:
    """What of a function or a class is looked up around it: decorators, bases, defaults, annotations."""
    if isinstance(node, Scope):
        arguments = node.args
        yield from (one for one in (*arguments.defaults, *arguments.kw_defaults) if one is not None)
        yield from (one.annotation for one in ast.walk(arguments) if isinstance(one, ast.arg) and one.annotation)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield from node.decorator_list
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns is not None:
        yield node.returns
    if isinstance(node, ast.ClassDef):
        yield from node.bases


def bound_in(scope: ast.AST) -> Iterator[str]:
    """Names that a scope binds, without those of functions and classes in it."""
    todo = list(ast.iter_child_nodes(scope))
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.alias):
            yield (node.asname or node.name).partition(".")[0]
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            yield node.name
        if not isinstance(node, ast.Lambda):
            todo += ast.iter_child_nodes(node)


def last_name(node: ast.expr) -> str:
    """The last name of an expression, without its arguments: of ``a.b(c)`` and of ``a.b[c]`` it is ``b``."""
    while isinstance(node, ast.Call | ast.Subscript):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _unbound(table: symtable.SymbolTable) -> Iterator[str]:
    bound = {one.get_name() for one in table.get_symbols() if _binds(one)} | _declared(table)
    todo = [table]
    while todo:
        one = todo.pop()
        todo += one.get_children()
        for symbol in one.get_symbols():
            is_free = symbol.is_global() or one is table
            if symbol.is_referenced() and is_free and symbol.get_name() not in bound | BUILTINS | ONCE:
                yield symbol.get_name()


def _tried(tree: ast.Module) -> set[str]:
    """Names that need not be there: who uses them catches ``NameError``."""
    return {
        name.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Try)
        and any("NameError" in {last_name(one) for one in _caught(handler)} for handler in node.handlers)
        for part in node.body
        for name in ast.walk(part)
        if isinstance(name, ast.Name)
    }


def _caught(handler: ast.ExceptHandler) -> list[ast.expr]:
    if handler.type is None:
        return []
    return handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]


def _declared(table: symtable.SymbolTable) -> set[str]:
    """Names of the module that functions bind, by ``global``."""
    found: set[str] = set()
    for child in table.get_children():
        found |= {one.get_name() for one in child.get_symbols() if one.is_declared_global()} | _declared(child)
    return found


def _binds(symbol: symtable.Symbol) -> bool:
    return symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace() or symbol.is_parameter()
