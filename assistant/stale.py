"""Half-done renames in Python, finished: uses of a name that is gone, where it is clear what the thing is called now.

Names that nothing binds, attributes of ``self`` that nothing gives it, and keywords that a function of the same text
does not take. Which of the names that are there was meant: one that nothing uses, or one that is like the old name.
"""

import ast
import builtins
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from functools import lru_cache

from assistant.bindings import BUILTINS, Function, Places, Program, Scope, Use, bound_in, last_name, program, uses
from assistant.mend import Mending
from assistant.spelling import is_member

ENOUGH = 0.6
"""What must speak for a name: its likeness, 0 to 1, and more."""
SURE = 0.7
"""The same for an attribute: it may come from elsewhere."""
IDLE = 0.35
"""What speaks for a name that nothing uses."""
BUILTIN = 0.2
"""What speaks against a builtin, and against an import that nothing uses for what is called: another one is missing."""
SOMEWHAT = 0.4
"""Likeness of another name that forbids to take the only one that nothing uses."""
OTHER_CASE = 0.15
"""What speaks against a name that is written as those of other things are."""
APART = 0.08
"""By how much more must speak for it than for any other."""
DEEPEST = 8
"""Classes between one and what it inherits from."""
NOT_MEANT = frozenset({"self", "cls", "_"})
HARMLESS = frozenset({"dataclass", "final", "runtime_checkable", "total_ordering", "Generic", "Protocol", "ABC"})
"""Decorators and bases of classes that bring no attributes along that are asked for by name."""
PARTIAL = re.compile(r"Mixin|Base|Abstract")
"""In the name of a class that others complete."""
BRACED = re.compile(r"\{(\w+)")
"""A name in a text that is a template."""
DYNAMIC = frozenset({"__getattr__", "__getattribute__", "setattr", "__dict__"})


def renamed(text: str, blocks: Sequence[tuple[int, int]]) -> list[Mending]:
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
    rules = (_names(known, places), _members(known, roots, places), _keywords(known, roots, places))
    found = {one.start: one for rule in rules for one in rule}
    return tuple(sorted(found.values(), key=lambda one: one.start))


def likeness(old: str, new: str) -> float:
    """0 to 1. An abbreviation, or the same with something before or behind, is much like it."""
    words, others = ([word for word in name.lower().split("_") if word] for name in (old, new))
    a, b = "".join(words), "".join(others)
    if not a or not b:
        return 0.0
    found = [SequenceMatcher(None, a, b, autojunk=False).ratio()]
    shorter, longer = sorted((a, b), key=len)
    if shorter in longer:
        found.append(0.5 + 0.4 * len(shorter) / len(longer))
    few, many = sorted((words, others), key=len)
    if few in (many[1:], many[:-1]):  # a word before or behind
        found.append(0.9)
    if len(words) == len(others) and all(
        x.startswith(y) or y.startswith(x) for x, y in zip(words, others, strict=True)
    ):
        found.append(0.8)
    letters = iter(longer)
    if shorter[0] == longer[0] and len(shorter) > 1 and all(letter in letters for letter in shorter):
        found.append(0.7)
    return max(found) - (OTHER_CASE if _case(old) != _case(new) else 0)


def _case(name: str) -> str:
    """As what it is written: a constant, a class, or anything else."""
    if name.isupper():
        return "constant"
    return "class" if any(word[:1].isupper() for word in name.split("_")) else ""


def _best(old: str, chances: Mapping[str, float], least: float = ENOUGH) -> str | None:
    """The name that ``old`` most likely is now, by what speaks for each beside its likeness; None where that is none,
    or two.
    """
    ranked = sorted(((likeness(old, name) + more, name) for name, more in chances.items()), reverse=True)[:2]
    if not ranked or ranked[0][0] < least or (len(ranked) > 1 and ranked[0][0] - ranked[1][0] < APART):
        return None
    return ranked[0][1]


# --- names that nothing binds


def _names(known: Program, places: Places) -> Iterator[Mending]:
    if not known.unbound:
        return
    stale: dict[tuple[str, ast.AST], list[Use]] = {}
    around = [node for root in places.holding(known.unbound) for node in ast.walk(root)]
    # Bound in a function, and used out of any: what stands too far out is no name of old.
    elsewhere = {name for node in around if isinstance(node, Scope) for name in bound_in(node)}
    for use in uses(places, known.unbound):
        if use.node.id in use.bound or use.node.id.startswith("__") or is_member(known.text, use):
            continue
        if use.node.id not in elsewhere or any(isinstance(one, Scope) for one in use.within):
            stale.setdefault((use.node.id, _outermost(use)), []).append(use)
    if not stale:
        return
    idle = _idle_imports(places)
    called = {node.func for node in around if isinstance(node, ast.Call)}
    now = {
        key: _now(key[0], found, idle, is_called=any(use.node in called for use in found))
        for key, found in stale.items()
    }
    taken = Counter((new, function) for (_, function), new in now.items())
    for (old, function), found in stale.items():
        new = now[old, function]
        for use in found if new is not None and taken[new, function] == 1 else ():
            start = places.of(use.node)
            if known.text.startswith(old, start):
                yield Mending(start, start + len(old), str(new))


def _now(old: str, found: Sequence[Use], imported: Collection[str], *, is_called: bool) -> str | None:
    """What a name is called now that several places in one function use."""
    first = min(use.node.lineno for use in found)
    around = [scope for scope in found[0].within if all(scope in use.within for use in found)]
    scopes = [scope for scope in around if isinstance(scope, Scope)]
    idle = {name for scope in scopes for name in _idle(scope, first)}
    chances = {name: -BUILTIN for name in BUILTINS if not name.startswith("__")} | dict.fromkeys(
        frozenset[str].intersection(*(use.bound for use in found)), 0.0
    )
    chances |= dict.fromkeys(imported, -BUILTIN if is_called else 0.0) | dict.fromkeys(idle, IDLE)
    for name in {*NOT_MEANT, *(name for scope in scopes for name in _later(scope, first))} - idle:
        chances.pop(name, None)
    if (new := _best(old, chances)) is not None:
        return new
    [*rest], other = idle, chances.keys() - idle - BUILTINS
    # What is called is rather a forgotten import, as is a class where a variable is idle.
    if len(rest) != 1 or is_called or _case(old) != _case(rest[0]):
        return None
    return None if any(likeness(old, name) >= SOMEWHAT for name in other) else rest[0]


def _outermost(use: Use) -> ast.AST:
    """The outermost function around a use, else the module."""
    return next((one for one in use.within if isinstance(one, Scope)), use.within[0])


def _idle(scope: Scope, line: int) -> set[str]:
    """Names that a function binds up to a line, and that nothing in it uses."""
    used: set[str] = set()
    for node in ast.walk(scope):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Store):
            used.add(node.id)
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            used.add(node.target.id)
        elif isinstance(node, ast.Global | ast.Nonlocal):
            used.update(node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            used.update(BRACED.findall(node.value))
    bound = set(bound_in(scope)) - _later(scope, line)
    return {name for name in bound - used - NOT_MEANT if not name.startswith("__")}


def _later(scope: Scope, line: int) -> set[str]:
    """Names that are bound in the statement of that line, or behind it, and not before."""
    before = {one.arg for one in ast.walk(scope.args) if isinstance(one, ast.arg)}
    later: set[str] = set()
    for node in ast.walk(scope):
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.NamedExpr):
            names = {one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}
            (later if (node.end_lineno or node.lineno) >= line else before).update(names)
    return later - before


def _idle_imports(places: Places) -> set[str]:
    """What is imported and not used, without a look at all of a large file where most of it is used near the top."""
    idle = {
        (one.asname or one.name).partition(".")[0]
        for root in places.holding(["import"])
        for node in ast.walk(root)
        if isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and node.module != "__future__")
        for one in node.names
    }
    for root in places.holding(idle):
        if not idle:
            break
        idle -= {node.id for node in ast.walk(root) if isinstance(node, ast.Name)}
    return idle


# --- attributes of self


def _members(known: Program, roots: Iterable[ast.stmt], places: Places) -> Iterator[Mending]:
    """Of classes of which all that they have is seen, and that lack one thing: what lacks more, or is never made
    itself, gets it from a class that inherits from it.
    """
    if any(
        isinstance(node, Function) and node.args.args[:1] and node.args.args[0].arg == "self"
        for node in known.tree.body
    ):
        return  # a method that lost its class
    wanted = {node for root in roots for node in ast.walk(root) if isinstance(node, ast.ClassDef)}
    if not wanted:
        return
    inside = (node for root in places.holding(["class"]) for node in ast.walk(root))
    classes = {node.name: node for node in inside if isinstance(node, ast.ClassDef)}
    for node in (node for node in classes.values() if node in wanted):
        had, methods = _had(node, classes), _functions(node)
        own, told, taken = _own(node)
        if had is None or "__init__" not in methods or told & DYNAMIC or PARTIAL.search(node.name):
            continue
        lacked = [one for one in taken if one.attr not in own | told | had]
        if len({one.attr for one in lacked}) != 1 or len(lacked) != _asked(old := lacked[0].attr, places):
            continue
        called = {call.func for call in ast.walk(node) if isinstance(call, ast.Call)}
        within = {name for name, one in methods.items() if any(use in ast.walk(one) for use in lacked)}
        plain = {name for name in own if name not in methods or methods[name].decorator_list}
        fitting = (set(methods) - within if called.intersection(lacked) else plain) - {"__init__"}
        new = _best(old, dict.fromkeys(fitting, 0.0), SURE)
        for one in lacked if new is not None else ():
            end = places.end_of(one)
            if known.text[end - len(old) : end] == old:
                yield Mending(end - len(old), end, str(new))


def _asked(name: str, places: Places) -> int:
    """How often anything is asked for an attribute of that name."""
    around = (node for root in places.holding([name]) for node in ast.walk(root))
    return sum(isinstance(node, ast.Attribute) and node.attr == name for node in around)


def _had(node: ast.ClassDef, classes: Mapping[str, ast.ClassDef], depth: int = 0) -> set[str] | None:
    """What a class inherits; None where that is not known."""
    if node.keywords or depth > DEEPEST or not all(last_name(one) in HARMLESS for one in node.decorator_list):
        return None
    found = set(dir(object))
    for base in node.bases:
        name = base.id if isinstance(base, ast.Name) else ""
        kind = getattr(builtins, name, None)
        if last_name(base) in HARMLESS:
            continue
        if name in classes and name != node.name:
            more = _had(classes[name], classes, depth + 1)
            if more is None:
                return None
            given, told, _ = _own(classes[name])
            found |= more | given | told
        elif isinstance(kind, type):
            found |= set(dir(kind))
        else:
            return None
    return found


def _own(node: ast.ClassDef) -> tuple[set[str], set[str], list[ast.Attribute]]:
    """What ``self`` has by this class, what texts in it may be names of, and what is asked of ``self``."""
    given, told = set(bound_in(node)), set[str]()
    taken: list[ast.Attribute] = []
    added = {one.target for one in ast.walk(node) if isinstance(one, ast.AugAssign)}
    for one in ast.walk(node):
        if isinstance(one, ast.Attribute) and isinstance(one.value, ast.Name) and one.value.id in ("self", "cls"):
            if isinstance(one.ctx, ast.Load) or one in added:
                taken.append(one)
            else:
                given.add(one.attr)
        elif isinstance(one, ast.Constant) and isinstance(one.value, str) and one.value.isidentifier():
            told.add(one.value)  # slots, setattr
        elif isinstance(one, ast.Name):
            told.update({one.id} & DYNAMIC)
    return given, told | given & DYNAMIC, taken


# --- keywords of calls


def _keywords(known: Program, roots: Iterable[ast.stmt], places: Places) -> Iterator[Mending]:
    functions = _functions(known.tree)
    todo: list[tuple[ast.AST, dict[str, Function], dict[str, Function]]] = [(one, functions, {}) for one in roots]
    while todo:
        node, functions, methods = todo.pop()
        if isinstance(node, ast.ClassDef):
            methods = _functions(node)
        elif isinstance(node, Scope):
            hidden = set(bound_in(node))
            functions = {name: function for name, function in functions.items() if name not in hidden}
        if isinstance(node, ast.Call) and (function := _callee(node.func, functions, methods)) is not None:
            yield from _passed(node, function, known.text, places)
        todo += ((child, functions, methods) for child in ast.iter_child_nodes(node))


def _callee(node: ast.expr, functions: Mapping[str, Function], methods: Mapping[str, Function]) -> Function | None:
    if isinstance(node, ast.Name):
        return functions.get(node.id)
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"):
        return methods.get(node.attr)
    return None


def _functions(scope: ast.Module | ast.ClassDef) -> dict[str, Function]:
    """What can be called by a name that is bound once there: functions, and classes that say how they are made."""
    bound = Counter(bound_in(scope))
    found: dict[str, Function] = {}
    for node in scope.body:
        if isinstance(node, ast.ClassDef) and not node.decorator_list and not node.keywords:
            made = (one for one in node.body if isinstance(one, Function) and one.name == "__init__")
            found.update((node.name, one) for one in made)
        elif isinstance(node, Function):
            found[node.name] = node
    return {name: function for name, function in found.items() if bound[name] == 1}


def _passed(call: ast.Call, function: Function, text: str, places: Places) -> Iterable[Mending]:
    parameters = function.args
    if parameters.kwarg is not None or function.decorator_list or any(one.arg is None for one in call.keywords):
        return
    names = [one.arg for one in (*parameters.args, *parameters.kwonlyargs)]
    given = {one.arg for one in call.keywords}
    first = len(call.args) + (names[:1] in (["self"], ["cls"]))
    free = [name for name in names[first:] if name not in given and name not in NOT_MEANT]
    for keyword in call.keywords:
        if keyword.arg is None or keyword.arg in names:
            continue
        required = [name for name in free if name in _required(parameters)]
        new = required[0] if len(required) == 1 else _best(keyword.arg, dict.fromkeys(free, IDLE))
        start = places.of(keyword)
        if new is not None and text.startswith(keyword.arg, start):
            yield Mending(start, start + len(keyword.arg), new)


def _required(parameters: ast.arguments) -> set[str]:
    """Parameters without a default."""
    plain = [one.arg for one in parameters.args]
    plain = plain[: len(plain) - len(parameters.defaults)]
    return {
        *plain,
        *(one.arg for one, value in zip(parameters.kwonlyargs, parameters.kw_defaults, strict=True) if value is None),
    }
