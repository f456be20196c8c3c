"""Names in Python that nothing binds, and what they were meant to be.

Misspelt: one slip away from exactly one name that could be meant; or the binding, where nothing uses it by that name.
In a method: an attribute of ``self`` without ``self.``, or ``self`` that is no parameter.

Which those are, Python's own compiler says (``symtable``), so right programs have none, but for those that
get names from elsewhere: those are left alone.
"""

import ast
import builtins
import re
import symtable
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from assistant.mend import Mending
from assistant.slips import is_near

LEAST = 3
"""Letters of a name; shorter ones are near to too many."""
ELSEWHERE = re.compile(r"\bimport[ \t]*\*|\b(?:exec|globals|locals|vars|eval)[ \t]*\(|\b__getattr__\b")
"""What may bind names that are not seen."""
BUILTINS = frozenset(dir(builtins))
Scope = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def respelt(text: str, blocks: Sequence[tuple[int, int]]) -> list[Mending]:
    """Edits inside of the blocks, in order; [] where the text is no program, or may get names from elsewhere."""
    if ELSEWHERE.search(text) or "\0" in text:
        return []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
            unbound = set(_unbound(symtable.symtable(text, "module", "exec")))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    wanted = {name for name in unbound if len(name) >= LEAST and not name.startswith("__")}
    if not wanted:
        return []
    found: dict[tuple[int, int], Mending] = {}
    places = _Places(text)
    for use in _uses(tree, wanted):
        one = _meant(text, places, use)
        if one is not None and any(low <= one.start and one.end <= high for low, high in blocks):
            found[one.start, one.end] = one
    return [found[place] for place in sorted(found)]


def _meant(text: str, places: "_Places", use: "_Use") -> Mending | None:
    """What makes a name that nothing binds into one that is bound; None where that is not clear."""
    wrong, start = use.node.id, places.of(use.node)
    if wrong in use.bound or not text.startswith(wrong, start):  # the same name may be bound here, and not elsewhere
        return None
    near = [name for name in use.bound if len(name) >= LEAST and is_near(wrong, name)]
    # Of what is not in the text, only with the same letters or one of them less: "text" is no misspelt "next".
    near += [name for name in BUILTINS - use.bound if is_near(wrong, name) and _is_close(wrong, name)]
    if len(near) > 1:
        return None
    if near:
        [right] = near
        bindings = [one.start() for one in re.finditer(rf"\b{re.escape(right)}\b", text)]
        used = len(re.findall(rf"\b{re.escape(wrong)}\b", text)) > 1 or text.count(wrong) > text.count(right)
        if len(bindings) == 1 and used:  # nobody uses it by that name: it is what is misspelt
            wrong, right, start = right, wrong, bindings[0]
        return Mending(start, start + len(wrong), right)
    if use.method is None:
        return None
    if wrong == "self":
        return _first_parameter(text, places, use.method)
    arguments = [*use.method.args.posonlyargs, *use.method.args.args]
    if arguments and arguments[0].arg == "self" and re.search(rf"\bself\.{re.escape(wrong)}\b", text):
        return Mending(start, start, "self.")
    return None


def _is_close(wrong: str, right: str) -> bool:
    return len(wrong) != len(right) or sorted(wrong) == sorted(right)


def _first_parameter(text: str, places: "_Places", method: Scope) -> Mending | None:
    if isinstance(method, ast.Lambda) or method.decorator_list:
        return None
    head = re.compile(r"(?:async[ \t]+)?def[ \t]+\w+[ \t]*\([ \t]*").match(text, places.of(method))
    if head is None:
        return None
    alone = text.startswith(")", head.end())
    return Mending(head.end(), head.end(), "self" if alone else "self, ")


@dataclass(frozen=True)
class _Use:
    node: ast.Name
    bound: frozenset[str]
    """What is bound where it is used, as far as names are known there."""
    method: Scope | None
    """The function in a class that it is used in."""


@dataclass
class _Places:
    """Where nodes of a tree stand in its text, in code points."""

    text: str
    starts: list[int] = field(default_factory=list[int])

    def __post_init__(self) -> None:
        self.starts = [0, *(one.end() for one in re.finditer(r"\r\n|\r|\n", self.text))]

    def of(self, node: ast.expr | ast.FunctionDef | ast.AsyncFunctionDef) -> int:
        start = self.starts[node.lineno - 1]
        end = self.starts[node.lineno] if node.lineno < len(self.starts) else len(self.text)
        line = self.text[start:end].encode("utf-8", "surrogatepass")
        return start + len(line[: node.col_offset].decode("utf-8", "replace"))


def _unbound(table: symtable.SymbolTable) -> Iterator[str]:
    bound = {one.get_name() for one in table.get_symbols() if _binds(one)} | _declared(table)
    todo = [table]
    while todo:
        one = todo.pop()
        todo += one.get_children()
        for symbol in one.get_symbols():
            is_free = symbol.is_global() or one is table
            if symbol.is_referenced() and is_free and symbol.get_name() not in bound | BUILTINS:
                yield symbol.get_name()


def _declared(table: symtable.SymbolTable) -> set[str]:
    """Names of the module that functions bind, by ``global``."""
    found: set[str] = set()
    for child in table.get_children():
        found |= {one.get_name() for one in child.get_symbols() if one.is_declared_global()} | _declared(child)
    return found


def _binds(symbol: symtable.Symbol) -> bool:
    return symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace() or symbol.is_parameter()


def _uses(tree: ast.Module, wanted: set[str]) -> Iterator[_Use]:
    todo: list[tuple[ast.AST, frozenset[str], Scope | None]] = [(tree, frozenset(_bound_in(tree)), None)]
    while todo:
        node, bound, method = todo.pop()
        if isinstance(node, ast.Name) and node.id in wanted and isinstance(node.ctx, ast.Load):
            yield _Use(node, bound, method)
        if isinstance(node, Scope):
            bound |= frozenset(_bound_in(node))
        in_class = isinstance(node, ast.ClassDef)
        todo += (
            (child, bound, child if in_class and isinstance(child, Scope) else method)
            for child in ast.iter_child_nodes(node)
        )


def _bound_in(scope: ast.AST) -> Iterator[str]:
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
