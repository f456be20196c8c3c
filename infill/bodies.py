"""What a function says of its types: its defaults, what its body does with a parameter, and what it returns.

A type is only ever denied here: a checker would complain of it, or another one would be needed beside it.
"""

import ast
import builtins
import re
from collections.abc import Iterator, Sequence

Function = ast.FunctionDef | ast.AsyncFunctionDef
PLAIN = {
    name: getattr(builtins, name)
    for name in (
        "str", "bytes", "bytearray", "bool", "int", "float", "complex", "list", "tuple", "dict", "set", "frozenset",
    )
}  # fmt: skip
"""Types of which everything is known, if nobody makes one of his own of them."""
CALLED = {"Text": "str", "List": "list", "Tuple": "tuple", "Dict": "dict", "Set": "set", "FrozenSet": "frozenset"}
"""What typing calls them."""
NUMBERS = ("bool", "int", "float", "complex")
"""Each is taken for those behind it."""
OPTIONAL = re.compile(r"\b(?:None|Optional|Any|object)\b")
ENDS = frozenset({"exit", "_exit", "abort", "fail", "skip", "error"})
"""Functions that usually do not come back."""
DISPLAYS: tuple[tuple[tuple[type[ast.expr], ...], str], ...] = (
    ((ast.JoinedStr,), "str"),
    ((ast.List, ast.ListComp), "list"),
    ((ast.Tuple,), "tuple"),
    ((ast.Dict, ast.DictComp), "dict"),
    ((ast.Set, ast.SetComp), "set"),
    ((ast.GeneratorExp,), "generator"),
)


def own(function: Function) -> Iterator[ast.AST]:
    """The nodes of a function's body, without those of functions in it."""
    todo: list[ast.AST] = [*function.body]
    while todo:
        node = todo.pop()
        yield node
        if not isinstance(node, Function | ast.Lambda | ast.ClassDef):
            todo += ast.iter_child_nodes(node)


def is_none(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def takes(function: Function, name: str, annotation: ast.expr) -> bool:
    """Whether what is done with a parameter can be done with a value of that type."""
    optional = OPTIONAL.search(ast.unparse(annotation)) is not None
    kinds = [one for one in _alternatives(annotation) if one != "None"]
    plain = all(one in PLAIN for one in kinds)

    def has(attribute: str) -> bool:
        return any(hasattr(PLAIN[kind], attribute) for kind in kinds)

    for node in own(function):
        if isinstance(node, ast.Compare) and _is(node.left, name):
            for sign, other in zip(node.ops, node.comparators, strict=True):
                if isinstance(sign, ast.Is | ast.IsNot | ast.Eq | ast.NotEq) and is_none(other) and not optional:
                    return False
                if plain and isinstance(sign, ast.Eq | ast.NotEq) and not _is_one(_kind(other), kinds):
                    return False
        if not plain:
            continue
        if isinstance(node, ast.Attribute) and _is(node.value, name) and not has(node.attr):
            return False
        if isinstance(node, ast.Subscript) and _is(node.value, name) and not has("__getitem__"):
            return False
        if isinstance(node, ast.For | ast.comprehension | ast.YieldFrom):
            source = node.value if isinstance(node, ast.YieldFrom) else node.iter
            if _is(source, name) and not has("__iter__"):
                return False
        if (isinstance(node, ast.Await) and _is(node.value, name)) or (
            isinstance(node, ast.withitem) and _is(node.context_expr, name)
        ):
            return False
        if isinstance(node, ast.Call):
            asked = isinstance(node.func, ast.Name) and node.func.id in ("isinstance", "callable")
            if _is(node.func, name) or (asked and node.args and _is(node.args[0], name) and len(kinds) == 1):
                return False
    return True


def gives(function: Function, annotation: ast.expr) -> bool:
    """Whether what is returned can be of that type; of a function that yields nothing."""
    returned = [one.value for one in own(function) if isinstance(one, ast.Return)]
    empty = any(one is None or is_none(one) for one in returned) or not _ends(function.body)
    if empty and OPTIONAL.search(ast.unparse(annotation)) is None:
        return False
    kinds = [one for one in _alternatives(annotation) if one != "None"]
    if not all(one in PLAIN for one in kinds):
        return True
    values = [part for one in returned if one is not None for part in _branches(one) if not is_none(part)]
    first = function.args.args[0].arg if function.args.args else ""
    return all(_is_one(_kind(one), kinds) and not (first == "self" and _is(one, first)) for one in values)


def is_of(default: ast.expr, annotation: ast.expr) -> bool:
    """Whether a default can be a value of that type."""
    kinds = _alternatives(annotation)
    return not all(one in PLAIN for one in kinds) or _is_one(_kind(default), kinds)


def _is(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _alternatives(annotation: ast.expr) -> list[str]:
    """The names of the types that an annotation lets through."""
    if isinstance(annotation, ast.BinOp):
        return _alternatives(annotation.left) + _alternatives(annotation.right)
    if isinstance(annotation, ast.Constant):
        return [str(annotation.value)]
    head = annotation.value if isinstance(annotation, ast.Subscript) else annotation
    name = head.attr if isinstance(head, ast.Attribute) else head.id if isinstance(head, ast.Name) else ""
    if isinstance(annotation, ast.Subscript) and name in ("Optional", "Union"):
        inner = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
        return [*(one for part in inner for one in _alternatives(part)), *(["None"] if name == "Optional" else [])]
    return [CALLED.get(name, name)]


def _branches(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.IfExp):
        yield from (*_branches(node.body), *_branches(node.orelse))
    else:
        yield node


def _kind(node: ast.expr) -> str:
    """The type of a value, where it shows; "" where it does not."""
    if isinstance(node, ast.Constant) and node.value not in (None, ...):
        return type(node.value).__name__
    for kinds, name in DISPLAYS:
        if isinstance(node, kinds):
            return name
    if isinstance(node, ast.UnaryOp):
        return "bool" if isinstance(node.op, ast.Not) else _kind(node.operand)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        left = _kind(node.left)
        return left if left in ("str", "bytes") else ""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in PLAIN:
        return node.func.id
    return ""


def _is_one(kind: str, kinds: Sequence[str]) -> bool:
    if not kind or kind in kinds:
        return True
    return kind in NUMBERS and any(one in kinds for one in NUMBERS[NUMBERS.index(kind) :])


def _ends(body: Sequence[ast.stmt]) -> bool:
    """Whether nothing comes behind the statements: a value was returned, or there is an error."""
    if not body:
        return False
    last = body[-1]
    if isinstance(last, ast.Return | ast.Raise):
        return True
    if isinstance(last, ast.If):
        return _ends(last.body) and _ends(last.orelse)
    if isinstance(last, ast.With | ast.AsyncWith):
        return _ends(last.body)
    if isinstance(last, ast.Try | ast.TryStar):
        whole = _ends(last.orelse) if last.orelse else _ends(last.body)
        return _ends(last.finalbody) or (whole and all(_ends(one.body) for one in last.handlers))
    if isinstance(last, ast.While):
        forever = isinstance(last.test, ast.Constant) and bool(last.test.value)
        return forever and not any(isinstance(one, ast.Break) for one in ast.walk(last))
    if isinstance(last, ast.Match):
        [*_, case] = last.cases
        rest = isinstance(case.pattern, ast.MatchAs) and case.pattern.pattern is None and case.guard is None
        return rest and all(_ends(one.body) for one in last.cases)
    if isinstance(last, ast.Assert):
        return isinstance(last.test, ast.Constant) and not last.test.value
    if isinstance(last, ast.Expr) and isinstance(last.value, ast.Call):
        called = last.value.func
        name = called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""
        return name in ENDS
    return False
