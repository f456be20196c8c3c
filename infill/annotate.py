"""Annotations: each place of a function that lacks one is a hole, and the model that fills holes fills it.

What a default or a body says by itself (``=False``, no value returned) is read off it, and what the same name has
everywhere else in the file is repeated. Anything else the model writes, one place after the other, so that each sees
those before it; only types whose names the file knows are taken, only such as the body does not deny, and only where
they are likely enough to be right. Other places stay as they are; ``*args`` and ``**kwargs`` are none.
"""

import ast
import builtins
import re
from collections.abc import Iterator
from dataclasses import dataclass

from infill.bodies import OPTIONAL, Function, gives, is_none, is_of, own, takes
from infill.edit import Change, Edit, EditPrompt
from infill.engine import Infiller
from infill.minimal import minimal
from infill.program import line_starts, tree_of
from infill.syntax import worse
from infill.types import InfillOptions, Prompt, ShouldStop

PARAMETERS, RETURNS = "missing-parameter-annotation", "missing-return-annotation"
TASKS = frozenset({"annotate", "missing-annotations", PARAMETERS, RETURNS})
"""What this does; those that name a parameter or what is returned do that alone."""
LEAST = 0.6
"""How likely an annotation must be right to be made: on held-out functions nine of ten then are what a person wrote."""
LONGEST = 24
"""Tokens of an annotation."""
MOST = 48
"""Places of one block."""
LARGEST = 300_000
"""Characters of the longest text in which anything is annotated."""
TYPES = frozenset(name for name, one in vars(builtins).items() if isinstance(one, type)) | {"None"}
RETURNED = {
    "__init__": "None", "__str__": "str", "__repr__": "str", "__len__": "int", "__bool__": "bool", "__hash__": "int",
    "__contains__": "bool", "__eq__": "bool", "__ne__": "bool", "__lt__": "bool", "__le__": "bool", "__gt__": "bool",
    "__ge__": "bool", "__del__": "None", "__setitem__": "None", "__delitem__": "None", "__setattr__": "None",
}  # fmt: skip
"""What Python asks of methods."""
STUB = (ast.Pass, ast.Raise)
READERS = frozenset(
    {
        "register", "singledispatch", "singledispatchmethod", "validate_call", "validate_arguments", "typechecked",
        "beartype", "inject",
    }
)  # fmt: skip
"""Decorators that go by annotations."""
VARIABLE = re.compile(r"\b(?:TypeVar|ParamSpec|TypeVarTuple)$")
COMMENT = re.compile(r"#[ \t]*type:(?![ \t]*ignore)")
"""Types in comments; a checker wants them in one place."""
HEAD = re.compile(r"(?:async\s+)?def\s+\w+\s*\(")
CLOSED = re.compile(r"(?:[\s,/\\)]|#[^\r\n]*+)*\)(?=\s*:)")
"""What stands between the last parameter and the colon, with a comma, brackets around a default, comments."""
MADE = re.compile(r"Iterator|Iterable|Generator|Any|object")
GIVEN = (ast.Name, ast.Attribute, ast.Subscript, ast.BinOp, ast.BitOr, ast.Constant, ast.Tuple, ast.List, ast.Load)
"""What types are written with."""


@dataclass(frozen=True)
class Place:
    """Where an annotation is missing: between ``start`` and ``end``, with ``lead`` before it and ``tail`` behind."""

    function: Function
    name: str
    """Of the parameter; "" for what is returned."""
    start: int
    end: int
    lead: str
    tail: str
    default: ast.expr | None = None
    owner: ast.ClassDef | None = None
    """The class whose method it is in."""

    @property
    def is_return(self) -> bool:
        return not self.name


class Annotator:
    """Annotates blocks with a model that fills holes; for one thread. ``least``: how likely an annotation must be right
    to be made, 0 to 1."""

    def __init__(self, infiller: Infiller, least: float = LEAST) -> None:
        self.infiller, self.least = infiller, least

    @property
    def able(self) -> bool:
        """Whether the model says how likely it is right."""
        return bool(self.infiller.calibration.chance)

    async def begin(
        self, prompt: EditPrompt, *, budget_ms: float | None = None, should_stop: ShouldStop | None = None
    ) -> Edit:
        """The annotations of one block, a forward pass at a time; to be driven in inference mode."""
        began = self.infiller.clock()
        text, done, passes = prompt.text, set[tuple[int, str]](), 0
        gains: list[float] = []
        reason = "right"
        while len(done) < MOST:
            end = prompt.end + len(text) - len(prompt.text)
            tree = parsed(text)
            place = next(
                (
                    one
                    for one in places(text, tree, prompt.start, end)
                    if _key(one) not in done and prompt.task != (PARAMETERS if one.is_return else RETURNS)
                ),
                None,
            )
            if place is None:
                break
            if should_stop is not None and should_stop():
                return Edit((), passes, 0, "cancelled")
            if budget_ms is not None and 1000 * (self.infiller.clock() - began) >= budget_ms:
                reason = "budget"
                break
            done.add(_key(place))
            found, chance, names = evident(place) or repeated(place, tree), 1.0, known(tree) - hidden(place)
            if found == "None" and place.is_return and is_overridden(place, tree):
                reason = "no gain"
                continue
            if found is None or not fits(place, found, names):
                asked = Prompt(
                    text[: place.start] + place.lead, place.tail + text[place.end :], prompt.language, prompt.filename
                )
                options = InfillOptions(max_tokens=LONGEST, one_line=True, n=3)
                answer = await self.infiller.begin(asked, options, should_stop=should_stop)
                passes += answer.passes
                fitting = [
                    (one.chance, one.text.strip())
                    for one in answer.candidates
                    if one.chance >= self.least and fits(place, one.text.strip(), names)
                ]
                reason = "no gain"
                if not fitting:
                    continue
                chance, found = fitting[0]
            if not names_of(found) <= known(tree, place.function):
                found = f"'{found}'" if '"' in found else f'"{found}"'
            new = text[: place.start] + place.lead + found + place.tail + text[place.end :]
            if not worse(text, new, prompt.language):
                text = new
                gains.append(chance)
        grown = len(text) - len(prompt.text)
        changes = tuple(
            Change(prompt.start + a, prompt.start + b, piece, min(gains))
            for a, b, piece in minimal(prompt.text[prompt.start : prompt.end], text[prompt.start : prompt.end + grown])
        )
        timing = {"total": 1000 * (self.infiller.clock() - began)}
        return Edit(changes, passes, len(gains), None if changes else reason, timing_ms=timing)


def _key(place: Place) -> tuple[int, str]:
    """The same for a place whatever was annotated before it: annotations add no lines."""
    return place.function.lineno, place.name


def parsed(text: str) -> ast.Module:
    """The program; an empty one where it is none, or longer than is parsed again for every place."""
    try:
        return tree_of(text if len(text) <= LARGEST else "")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ast.Module([], [])


def places(text: str, tree: ast.Module, start: int, end: int) -> Iterator[Place]:
    """What lacks an annotation in the functions that begin in ``text[start:end]``, in order."""
    starts = line_starts(text)

    def at(line: int, column: int) -> int:
        low = starts[line - 1]
        high = starts[line] if line < len(starts) else len(text)
        return low + len(text[low:high].encode("utf-8", "surrogatepass")[:column].decode("utf-8", "replace"))

    functions = [
        (node, owner)
        for owner in ast.walk(tree)
        for node in ast.iter_child_nodes(owner)
        if isinstance(node, Function) and not is_read(node, tree)
    ]
    for node, owner in sorted(functions, key=lambda pair: pair[0].lineno):
        head = at(node.lineno, node.col_offset)
        if not start <= head < end or COMMENT.search(text, head, at(node.body[0].lineno, 0)):
            continue
        plain = [*node.args.posonlyargs, *node.args.args]
        defaults: list[ast.expr | None] = [None] * (len(plain) - len(node.args.defaults)) + [*node.args.defaults]
        pairs = [*zip(plain, defaults, strict=True), *zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)]
        around = owner if isinstance(owner, ast.ClassDef) else None
        bound = around is not None and not any("static" in ast.unparse(one) for one in node.decorator_list)
        for index, (one, default) in enumerate(pairs):
            if one.annotation is None and not (bound and index == 0):
                low = at(one.end_lineno or one.lineno, one.end_col_offset or one.col_offset)
                high = low if default is None else at(default.lineno, default.col_offset)
                yield Place(node, one.arg, low, high, ": ", "" if default is None else " = ", default, around)
        inside = [one for one in ast.walk(node.args) if isinstance(one, ast.arg | ast.expr)]
        last = max((at(one.end_lineno or 0, one.end_col_offset or 0) for one in inside), default=None)
        if node.returns is None and (found := _head_end(text, head, last)):
            yield Place(node, "", found, found, " -> ", "", owner=around)


def _head_end(text: str, start: int, last: int | None) -> int | None:
    """Behind the closing bracket of the parameters, of which the last one ends at ``last``."""
    opened = HEAD.match(text, start)
    if last is None and opened is None:
        return None
    found = CLOSED.match(text, last or (opened.end() if opened else start))
    return found.end() if found else None


def returns_value(function: Function) -> bool:
    return any(
        isinstance(one, ast.Return) and one.value is not None and not is_none(one.value) for one in own(function)
    )


def yields(function: Function) -> bool:
    return any(isinstance(one, ast.Yield | ast.YieldFrom) for one in own(function))


def _is_stub(function: Function) -> bool:
    """Whether its body says nothing: a method to be overridden."""
    return all(
        isinstance(one, STUB) or (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))
        for one in function.body
    )


def evident(place: Place) -> str | None:
    """What needs no guess; None where it does."""
    if place.is_return:
        if place.function.name in RETURNED and not yields(place.function):
            return RETURNED[place.function.name]
        nothing = not returns_value(place.function) and not yields(place.function) and not _is_stub(place.function)
        return "None" if nothing else None
    value = place.default.value if isinstance(place.default, ast.Constant) else None
    return type(value).__name__ if isinstance(value, bool | str | bytes | float) else None


def repeated(place: Place, tree: ast.Module) -> str | None:
    """What parameters of that name, or functions of that name, have everywhere else in the program; None where they
    have several, or one of them alone has any: then the name may well be another thing here."""
    found: list[str] = []
    for node in ast.walk(tree):
        if not isinstance(node, Function) or node.lineno == place.function.lineno:
            continue
        if place.is_return:
            given = [node.returns] if node.name == place.function.name else []
        else:
            arguments = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
            given = [one.annotation for one in arguments if one.arg == place.name]
        found += [ast.unparse(one) for one in given if one is not None]
    return found[0] if len(found) > 1 and len(set(found)) == 1 else None


def is_overridden(place: Place, tree: ast.Module) -> bool:
    """Whether another method of that name gives a value: what is overridden says nothing of what it may give."""
    return any(
        isinstance(one, Function) and one.name == place.function.name and (returns_value(one) or yields(one))
        for owner in ast.walk(tree)
        if isinstance(owner, ast.ClassDef)
        for one in owner.body
        if one is not place.function
    )


def is_read(function: Function, tree: ast.Module) -> bool:
    """Whether annotations may do something: a method of an object that decorates a function keeps it (``@app.get``),
    and some of those that keep one go by its annotations."""
    modules = {
        (name.asname or name.name).partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for name in node.names
    }
    for one in function.decorator_list:
        called = one.func if isinstance(one, ast.Call) else one
        root = called
        while isinstance(root, ast.Attribute | ast.Call):
            root = root.value if isinstance(root, ast.Attribute) else root.func
        last = called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""
        plain = isinstance(root, ast.Name) and (root is called or root.id in modules)
        if last in READERS or not (plain or last in ("setter", "getter", "deleter")):
            return True
    return False


def known(tree: ast.Module, function: Function | None = None) -> set[str]:
    """Names that may be types: built-in ones, and what the file's top level imports, defines as a class or assigns, as
    aliases are; no type variables, which say nothing alone. With a ``function``: those that are bound when Python comes
    to its head, where annotations are looked at."""
    found = set(TYPES)
    line = None if function is None or _is_late(tree) else function.lineno
    todo: list[ast.AST] = list(tree.body)
    while todo:
        node = todo.pop()
        if line is not None and isinstance(node, ast.stmt) and (node.end_lineno or node.lineno) >= line:
            if isinstance(node, ast.If | ast.Try | ast.With):
                todo += ast.iter_child_nodes(node)
            continue
        if isinstance(node, ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(name.asname or name.name).partition(".")[0] for name in node.names}
        elif isinstance(node, ast.Assign):
            variable = isinstance(node.value, ast.Call) and VARIABLE.search(ast.unparse(node.value.func))
            if not variable and not isinstance(node.value, ast.Constant):
                found |= {one.id for one in node.targets if isinstance(one, ast.Name) and one.id[:1].isupper()}
        elif isinstance(node, ast.If) and line is not None and "TYPE_CHECKING" in ast.unparse(node.test):
            todo += node.orelse
        elif not isinstance(node, Function | ast.Lambda):
            todo += ast.iter_child_nodes(node)
    return found - {"AnyStr"}


def hidden(place: Place) -> set[str]:
    """What is something else in the class around a method: annotations are looked up there first."""
    found: set[str] = set()
    for one in place.owner.body if place.owner is not None else ():
        if isinstance(one, Function):
            found.add(one.name)
        elif isinstance(one, ast.Assign | ast.AnnAssign):
            targets = one.targets if isinstance(one, ast.Assign) else [one.target]
            found |= {name.id for name in targets if isinstance(name, ast.Name)}
    return found


def _is_late(tree: ast.Module) -> bool:
    """Whether annotations are not looked at where they stand."""
    return any(
        isinstance(node, ast.ImportFrom)
        and node.module == "__future__"
        and any(one.name == "annotations" for one in node.names)
        for node in tree.body
    )


def names_of(annotation: str) -> set[str]:
    """The names in an annotation."""
    return {one.id for one in ast.walk(tree_of(annotation)) if isinstance(one, ast.Name)}


def fits(place: Place, annotation: str, names: set[str]) -> bool:
    """Whether it is a type whose names are known, and one that the default or the returns allow."""
    try:
        [statement] = tree_of(annotation).body
    except (SyntaxError, ValueError, RecursionError):
        return False
    if not isinstance(statement, ast.Expr):
        return False
    tree = statement.value
    nodes = list(ast.walk(tree))
    if not all(isinstance(one, GIVEN) for one in nodes) or isinstance(tree, ast.List | ast.Tuple):
        return False
    if any(
        isinstance(one, ast.Constant) and one.value not in (None, ...) and "Literal" not in annotation for one in nodes
    ):
        return False
    roots = [one for one in nodes if isinstance(one, ast.Name)]
    if not all(one.id in names for one in roots) or (isinstance(tree, ast.Constant) and tree.value is not None):
        return False
    if place.is_return:
        if yields(place.function):
            is_async = isinstance(place.function, ast.AsyncFunctionDef)
            return MADE.search(annotation) is not None and is_async == ("Async" in annotation)
        fitting = (annotation != "None") == returns_value(place.function) and gives(place.function, tree)
        return fitting or _is_stub(place.function)
    if not takes(place.function, place.name, tree):
        return False
    if place.default is not None and is_none(place.default):
        return annotation != "None" and OPTIONAL.search(annotation) is not None
    return annotation != "None" and (place.default is None or is_of(place.default, tree))
