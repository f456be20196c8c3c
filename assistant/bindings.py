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
    places: "Places"
    unbound: frozenset[str]
    """Names that are used and that nothing binds."""

    @property
    def text(self) -> str:
        return self.places.text

    @property
    def tree(self) -> ast.Module:
        return self.places.tree


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
        places = Places(text, tree)
        with quiet():
            table = symtable.symtable(text, "module", "exec")
        unbound = frozenset(_unbound(table, places))
        tried = _tried(tree) if unbound and "NameError" in text else set[str]()  # which looks through all of it
        return Program(places, unbound - tried)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


@dataclass
class Places:
    """Where nodes of a tree stand in its text, in code points."""

    text: str
    tree: ast.Module
    starts: list[int] = field(init=False)
    """Of lines."""
    _rows: tuple[list[int], list[int]] = field(init=False)
    """The first and the last line of each statement of the top level: both grow."""

    def __post_init__(self) -> None:
        self.starts = [0, *(one.end() for one in re.finditer(r"\r\n|\r|\n", self.text))]
        body = self.tree.body
        above = ([one.lineno, *(each.lineno for each in getattr(one, "decorator_list", ()))] for one in body)
        self._rows = [min(rows) for rows in above], [one.end_lineno or one.lineno for one in body]

    def of(self, node: ast.expr | ast.stmt | ast.keyword) -> int:
        return self._at(node.lineno, node.col_offset)

    def end_of(self, node: ast.expr | ast.stmt) -> int:
        return self._at(node.end_lineno or node.lineno, node.end_col_offset or node.col_offset)

    def statements(self, blocks: Iterable[tuple[int, int]]) -> list[ast.stmt]:
        """Those of the top level that stand in the lines of a block, as a whole or in part."""
        firsts, lasts = self._rows
        found: set[int] = set()
        for low, high in blocks:
            begin = bisect_left(lasts, bisect_right(self.starts, low))
            found.update(range(begin, bisect_right(firsts, bisect_right(self.starts, high))))
        return [self.tree.body[index] for index in sorted(found)]

    def holding(self, names: Iterable[str]) -> list[ast.stmt]:
        """Those of the top level in which one of the names stands, be it in a string: few of a large file."""
        pattern = "|".join(map(re.escape, names))
        return self.statements(one.span() for one in re.finditer(rf"\b(?:{pattern})\b", self.text)) if pattern else []

    def _at(self, line: int, column: int) -> int:
        start = self.starts[line - 1]
        end = self.starts[line] if line < len(self.starts) else len(self.text)
        data = self.text[start:end].encode("utf-8", "surrogatepass")
        return start + len(data[:column].decode("utf-8", "replace"))


def uses(places: Places, wanted: frozenset[str]) -> Iterator[Use]:
    """Uses of the names, in no order. What they are bound to is looked for around them alone."""
    tree = places.tree
    bound = frozenset(bound_in(tree))
    todo: list[tuple[ast.AST, frozenset[str], tuple[ast.AST, ...]]]
    todo = [(one, bound, (tree,)) for one in places.holding(wanted)]
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


def _unbound(module: symtable.SymbolTable, places: Places) -> Iterator[str]:
    bound = {*bound_in(places.tree), *_declared(places), *BUILTINS, *ONCE}
    todo = [module]
    while todo:
        one = todo.pop()
        inside = one.get_children()
        todo += inside
        # Of these it is known without a look, which takes as long as there are scopes in this one.
        defined = {child.get_name() for child in inside}
        for symbol in map(one.lookup, {*one.get_identifiers()} - bound - defined):
            is_free = symbol.is_global() or (one is module and not _binds(symbol))
            if symbol.is_referenced() and is_free:
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


def _declared(places: Places) -> Iterator[str]:
    """Names of the module that functions bind, by ``global``."""
    for root in places.holding(["global"]):
        for node in ast.walk(root):
            if isinstance(node, ast.Global):
                yield from node.names


def _binds(symbol: symtable.Symbol) -> bool:
    return symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace() or symbol.is_parameter()
