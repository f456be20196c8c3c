"""Words lost from Python statements, put back where the statement that is left does nothing, or says what it lacks.

A value that nobody takes was to be returned, raised, yielded or called; a coroutine that nobody awaits does not run; a
text that names variables in braces was an f-string; ``is`` with a literal was ``==``. What may be meant as it stands is
left alone.
"""

import ast
import builtins
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from assistant.bindings import Function, Places, Program, Scope, bound_in, last_name, program
from assistant.mend import Mending

ERRORS = frozenset(
    name for name, one in vars(builtins).items() if isinstance(one, type) and issubclass(one, BaseException)
)
ERROR_NAME = re.compile(r"[A-Z]\w*(?:Error|Exception)$")
SHOWS = re.compile(r"(?:Show|Report|Log|Print|Raise|Throw|Handle|Set|Get|On|Is|Has|Make|Add|Clear|Send)[A-Z]")
"""Begins names of methods that do something with an error."""
IDLE = (
    ast.Name, ast.Attribute, ast.Subscript, ast.BinOp, ast.BoolOp, ast.UnaryOp, ast.Compare, ast.JoinedStr, ast.Dict,
    ast.List, ast.Set, ast.Tuple, ast.Lambda, ast.IfExp, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp,
)  # fmt: skip
"""Expressions that do nothing as a statement, or nearly so."""
SILENT = frozenset(
    {"__init__", "__setitem__", "__delitem__", "__set__", "__delete__", "__setattr__", "__delattr__", "__del__"}
)
"""Methods of which nobody takes what they return."""
GENERATORS = frozenset({"contextmanager", "asynccontextmanager", "fixture"})
"""Decorators of functions that yield once."""
LITERALS = (str, bytes, int, float, complex)
TRIES = re.compile(r"_*(?:test|bench|time)")
PROBES = re.compile(r"raises|suppress|assert|warns|catch")
"""In what is opened by ``with``: an expression in there is tried for what it does."""
FIELD = re.compile(r"(?<![{$])\{([A-Za-z_][\w.]*(?:\[\w+\]|\(\))?)(?:![rsa])?(?::[^{}]*)?\}(?!\})")
LATEX = re.compile(r"\\\w+\{")
ROUTE = re.compile(r"/[^ ]*\Z|[^ ]*[\w\])]\{\w+\}\Z")
"""A path with parameters; a pattern, in which braces count."""
TEMPLATES = re.compile(
    r"format|fmt|template|pattern|route|path|url|compile|_$|gettext|trans|column|progress", re.IGNORECASE
)
"""In names of what takes texts with braces."""
Around = tuple[ast.AST, ...]


def restored(text: str, blocks: Sequence[tuple[int, int]]) -> list[Mending]:
    """Edits inside of the blocks, in order; [] where the text is no program, or may get names from elsewhere."""
    found = _all(text, tuple(blocks))
    return [one for one in found if any(low <= one.start and one.end <= high for low, high in blocks)]


@lru_cache(maxsize=4)
def _all(text: str, blocks: tuple[tuple[int, int], ...]) -> tuple[Mending, ...]:
    """In the statements of the top level that hold the blocks: the rest of a large file is only parsed."""
    known = program(text)
    if known is None:
        return ()
    places = known.places
    roots = places.statements(blocks)
    nodes = list(_within(known.tree, roots))
    found = {
        one.start: one
        for one in (
            *_statements(known, nodes, places),
            *_literals(known, roots, places),
            *_texts(known, nodes, places),
            *_defaults(roots, places),
        )
    }
    return tuple(found[start] for start in sorted(found))


def _within(tree: ast.Module, roots: Iterable[ast.stmt]) -> Iterator[tuple[ast.AST, Around]]:
    """Every node of some statements and those around it, from outside inwards."""
    todo: list[tuple[ast.AST, Around]] = [(one, (tree,)) for one in roots]
    while todo:
        node, around = todo.pop()
        yield node, around
        todo += ((child, (*around, node)) for child in ast.iter_child_nodes(node))


def _function(around: Around) -> tuple[int, Function] | None:
    """The innermost function around a node, and its place; None where a class or nothing is nearer."""
    for index in range(len(around) - 1, -1, -1):
        one = around[index]
        if isinstance(one, Function):
            return index, one
        if isinstance(one, ast.ClassDef | ast.Lambda):
            return None
    return None


# --- statements that do nothing


def _statements(known: Program, nodes: Iterable[tuple[ast.AST, Around]], places: Places) -> Iterator[Mending]:
    plain = _coroutines(known.tree.body)
    for node, around in nodes:
        if not isinstance(node, ast.Expr):
            continue
        if isinstance(node.value, ast.Name) and node.value.id == "print":  # of Python 2: an empty line
            yield Mending(places.end_of(node), places.end_of(node), "()")
        if (found := _function(around)) is None:
            continue
        index, function = found
        owner = around[index - 1]
        methods = _coroutines(owner.body) if isinstance(owner, ast.ClassDef) else set[str]()
        coroutines = {"asyncio.sleep", "anyio.sleep", *plain, *(f"self.{name}" for name in methods)}
        word = _word(node, around[index:], function, known.text, coroutines)
        if word == "()":
            end = places.end_of(node)
            yield Mending(end, end, word)
        elif word is not None:
            start = places.of(node)
            yield Mending(start, start, word)


def _word(node: ast.Expr, around: Around, function: Function, text: str, coroutines: set[str]) -> str | None:
    value = node.value
    if _is_error(value, around):
        return None if _is_tried(around, function) else "raise "
    if isinstance(value, ast.Call):
        is_lost = isinstance(function, ast.AsyncFunctionDef) and ast.unparse(value.func) in coroutines
        return "await " if is_lost else None
    is_tried = _is_tried(around, function) or any(isinstance(one, ast.Try) for one in around)
    if not isinstance(value, IDLE) or is_tried or _fails(value) or _acts(value, around):
        return None
    if _called(value, text):
        return "()"
    others = [one for one in ast.walk(function) if isinstance(one, ast.Yield)]
    if others or GENERATORS & {last_name(one) for one in function.decorator_list}:
        return None if _chooses(value) else "yield "
    given = any(isinstance(one, ast.Return) and one.value is not None for one in ast.walk(function))
    if isinstance(function.returns, ast.Constant) or function.name in SILENT or not _ends(node, around):
        return None  # it returns None, or goes on
    if _chooses(value) and not given and function.returns is None:
        return None
    is_looked_up = isinstance(value, ast.Attribute | ast.Name | ast.Subscript) and not given
    is_looked_up = is_looked_up and function.returns is None
    return None if is_looked_up else "return "


def _is_error(value: ast.expr, around: Around) -> bool:
    """An exception that is made, or the one that was caught, as it stands."""
    if isinstance(value, ast.Call):
        made, name = value.func, last_name(value.func)
        of = made.value if isinstance(made, ast.Attribute) else made
        is_plain = isinstance(of, ast.Name) and of.id not in ("self", "cls") and not SHOWS.match(name)
        return is_plain and (name in ERRORS or ERROR_NAME.match(name) is not None)
    caught = {one.name for one in around if isinstance(one, ast.ExceptHandler)}
    return isinstance(value, ast.Name) and value.id in caught


def _is_tried(around: Around, function: Function) -> bool:
    """Whether it is what an expression does that counts: in ``with raises(...)``, in a test or a benchmark."""
    opened = [item for one in around if isinstance(one, ast.With | ast.AsyncWith) for item in one.items]
    return TRIES.match(function.name) is not None or any(PROBES.search(ast.unparse(item)) for item in opened)


def _fails(value: ast.expr) -> bool:
    """Whether it is written for its failure, as ``1 / 0``."""
    return all(isinstance(one, ast.Constant | ast.operator | ast.BinOp) for one in ast.walk(value))


def _acts(value: ast.expr, around: Around) -> bool:
    """Whether it may be there for what it does: ``a >> b`` of a pipeline, ``[f.close() for f in files]``, a comparison
    in a ``with`` that records it."""
    inside = list(ast.walk(value))
    shifts = any(isinstance(one, ast.LShift | ast.RShift) for one in inside)
    loops = isinstance(value, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp)
    calls = loops and any(isinstance(one, ast.Call | ast.Await) for one in inside)
    is_recorded = isinstance(value, ast.Compare) and any(isinstance(one, ast.With | ast.AsyncWith) for one in around)
    return shifts or calls or is_recorded


def _chooses(value: ast.expr) -> bool:
    """Whether it may only choose what is called: ``a() if b else c()``, ``a and b()``."""
    if isinstance(value, ast.IfExp):
        return all(isinstance(one, ast.Call | ast.Await) or _chooses(one) for one in (value.body, value.orelse))
    return isinstance(value, ast.BoolOp) and isinstance(value.values[-1], ast.Call | ast.Await)


def _called(value: ast.expr, text: str) -> bool:
    """Whether a method or function that is only named is called elsewhere in the text without arguments, or defined."""
    if not isinstance(value, ast.Attribute | ast.Name):
        return False
    name = re.escape(last_name(value))
    return re.search(rf"\.{name}\(\)" if isinstance(value, ast.Attribute) else rf"\bdef {name}\(\)", text) is not None


def _ends(node: ast.stmt, around: Around) -> bool:
    """Whether a function ends with the statement: nothing comes behind it, in no loop."""
    inner: ast.AST = node
    for one in reversed(around):
        if isinstance(one, ast.For | ast.AsyncFor | ast.While):
            return False
        for name in ("body", "orelse", "finalbody"):
            row = getattr(one, name, None)
            if isinstance(row, list) and inner in row and row[-1] is not inner:
                return False
        if isinstance(one, Function):
            return True
        inner = one
    return False


def _coroutines(body: Sequence[ast.stmt]) -> set[str]:
    """What is awaited for sure where it is called as a statement: functions of a module, or methods of a class."""
    found = {one.name for one in body if isinstance(one, ast.AsyncFunctionDef)}
    return found - {one.name for one in body if isinstance(one, ast.FunctionDef)}


# --- is with a literal


def _literals(known: Program, roots: Iterable[ast.stmt], places: Places) -> Iterator[Mending]:
    for node in (node for root in roots for node in ast.walk(root)):
        if not isinstance(node, ast.Compare):
            continue
        left = node.left
        for sign, right in zip(node.ops, node.comparators, strict=True):
            if isinstance(sign, ast.Is | ast.IsNot) and (_is_literal(left) or _is_literal(right)):
                between = re.compile(r"\bis(?:[ \t]+not)?\b")
                found = between.search(known.text, places.end_of(left), places.of(right))
                if found is not None:
                    yield Mending(found.start(), found.end(), "==" if isinstance(sign, ast.Is) else "!=")
            left = right


def _is_literal(node: ast.expr) -> bool:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, LITERALS) and not isinstance(node.value, bool)
    return isinstance(node, ast.List | ast.Dict | ast.Set | ast.Tuple)


# --- texts that name variables in braces


def _texts(known: Program, nodes: Iterable[tuple[ast.AST, Around]], places: Places) -> Iterator[Mending]:
    for node, around in nodes:
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str) or "{" not in node.value:
            continue
        found = _function(around)
        roots = {re.split(r"[.\[(]", one)[0] for one in FIELD.findall(node.value)}
        if found is None or LATEX.search(node.value) or ROUTE.match(node.value):
            continue
        if not _is_formatted(roots, around[found[0] :], known.text):
            continue
        names = {name for one in around if isinstance(one, Scope) for name in bound_in(one)}
        start = places.of(node)
        above = known.text[places.of(found[1]) : start]
        if not roots or not all(one in names and re.search(rf"\b{one}\b", above) for one in roots):
            continue
        quote = re.compile(r"[rR]?(?=[\"'])").match(known.text, start)
        if quote is not None and _holds(known.text[start : places.end_of(node)], node.value):
            yield Mending(start, start, "f")


def _is_formatted(roots: set[str], around: Around, text: str) -> bool:
    """Whether nothing else fills its braces in, as far as can be seen. ``roots``: the names in them."""
    parent = around[-1]
    if isinstance(parent, ast.Expr | ast.JoinedStr | ast.FormattedValue | ast.Attribute | ast.Compare | ast.arguments):
        return False  # documentation, a part of an f-string, .format, a comparison, a default
    if isinstance(parent, ast.Return):
        return False  # who calls may fill it in
    if isinstance(parent, ast.BinOp) and isinstance(parent.op, ast.Mod):
        return False
    for one in around:
        if isinstance(one, ast.Call) and (
            any(isinstance(other, ast.Dict) or last_name(other) in roots for other in one.args)
            or any(other.arg is None or other.arg in roots for other in one.keywords)
        ):
            return False  # what fills them in comes along
        if isinstance(one, ast.Call) and any(other.arg == "extra" for other in one.keywords):
            return False  # a log's own fields
        if isinstance(one, ast.Call) and TEMPLATES.search(ast.unparse(one.func)):
            return False
        if isinstance(one, ast.keyword) and one.arg is not None and TEMPLATES.search(one.arg):
            return False
        if isinstance(one, ast.Assign | ast.AnnAssign):
            targets = one.targets if isinstance(one, ast.Assign) else [one.target]
            names = [ast.unparse(target) for target in targets]
            if any(TEMPLATES.search(name) or re.search(rf"\b{re.escape(name)}\.format\b", text) for name in names):
                return False
    return True


def _holds(source: str, value: str) -> bool:
    """Whether the literal is one that an ``f`` before it makes into what is meant: all braces are fields."""
    return (
        "{{" not in source and "}}" not in source and len(FIELD.findall(value)) == value.count("{") == value.count("}")
    )


# --- defaults that all calls share


def _defaults(roots: Iterable[ast.stmt], places: Places) -> Iterator[Mending]:
    """``[]`` or ``{}`` where the function makes one of its own when it is given None."""
    for node in (node for root in roots for node in ast.walk(root)):
        if not isinstance(node, Function):
            continue
        plain = [*node.args.posonlyargs, *node.args.args]
        pairs = [*zip(plain[len(plain) - len(node.args.defaults) :], node.args.defaults, strict=True)]
        pairs += [(one, value) for one, value in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True) if value]
        for one, value in pairs:
            empty = (isinstance(value, ast.List) and not value.elts) or (isinstance(value, ast.Dict) and not value.keys)
            if empty and any(_asks(statement, one.arg) for statement in node.body):
                yield Mending(places.of(value), places.end_of(value), "None")


def _asks(statement: ast.stmt, name: str) -> bool:
    """Whether ``name`` is replaced where it is None."""
    for node in ast.walk(statement):
        if isinstance(node, ast.If) and _is_none(node.test, name) and any(_binds(one, name) for one in node.body):
            return True
        if isinstance(node, ast.Assign) and _binds(node, name) and isinstance(node.value, ast.IfExp):
            asked = node.value.test
            if _is_none(asked, name) or _is_none(asked, name, ast.IsNot):
                return True
    return False


def _is_none(test: ast.expr, name: str, sign: type[ast.cmpop] = ast.Is) -> bool:
    if not isinstance(test, ast.Compare) or not isinstance(test.left, ast.Name) or test.left.id != name:
        return False
    right = test.comparators[0]
    return isinstance(test.ops[0], sign) and isinstance(right, ast.Constant) and right.value is None


def _binds(statement: ast.stmt, name: str) -> bool:
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    return any(isinstance(one, ast.Name) and one.id == name for one in targets)
