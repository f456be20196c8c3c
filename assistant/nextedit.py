"""The next edit: after a rename near by, the next place that still has the old name; after a changed signature, the
next call that does not fit. For Python, by rule: no model is asked, and what is not sure is not proposed.

What was renamed is read off the recent edits: the text with an edit taken back has the old name, and there its uses are
looked up by scope (``assistant.names``). A rename counts where the name is bound: at a parameter, a definition, an
import, the first assignment. Each proposal is tried: the text with it has no more syntax errors than without it, and
the new name means there what it means at its definition.
"""

import difflib
import keyword
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

from tree_sitter import Node, Tree

from assistant.names import Names, Occurrence, decorators, parameter_name
from infill import languages

LARGEST = 300_000
"""Bytes; nothing is looked for in a larger text: a parser lets nothing else run meanwhile."""
RECENT = 4
"""Newest renames, and newest edits of parameters, that are looked at."""
TOKENS = re.compile(r"\w+|\s+|[^\w\s]")
LONGEST_SPAN = 4000
HARMLESS = {
    "staticmethod",
    "classmethod",
    "cache",
    "lru_cache",
    "override",
    "abstractmethod",
    "contextmanager",
    "final",
}
"""Decorators that leave the parameters as they are."""


class Edited(Protocol):
    """``text[start:end]`` of the text as it is, where ``old`` stood; later edits have a larger ``serial``."""

    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def old(self) -> str: ...
    @property
    def serial(self) -> int: ...


@dataclass(frozen=True)
class Proposal:
    """``text`` for ``start``..``end``."""

    start: int
    end: int
    text: str
    why: str


def supports(language: str | None, filename: str | None = None) -> bool:
    return languages.resolve(language, filename) == "python"


def proposals(text: str, edits: Sequence[Edited], cursor: int) -> list[Proposal]:
    """The places that the newest change calls for, in the order of the text from the cursor on and around; []: none.

    Never raises on a text that does not parse.
    """
    buffer = _Buffer(text)
    if len(buffer.data) > LARGEST:
        return []
    newest = sorted(edits, key=lambda one: -one.serial)
    found: list[Proposal] = []
    for group in islice(_renames(text, newest), RECENT):
        found = _places_to_rename(buffer, group)
        if found:
            break
    else:
        found = list(_calls_to_mend(buffer, newest))
    found.sort(key=lambda one: (one.start < cursor, one.start))
    return found


class _Buffer:
    """A text in bytes and its tree; both ways between code points and bytes."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.data = text.encode("utf-8", "surrogatepass")
        self._is_ascii = len(self.data) == len(text)
        self._tree: Tree | None = None

    @property
    def tree(self) -> Tree:
        if self._tree is None:
            self._tree = parse(self.data)
        return self._tree

    def byte(self, offset: int) -> int:
        return offset if self._is_ascii else len(self.text[:offset].encode("utf-8", "surrogatepass"))

    def offset(self, byte: int) -> int:
        return byte if self._is_ascii else len(self.data[:byte].decode("utf-8", "surrogatepass"))


def parse(data: bytes) -> Tree:
    parser = languages.parser("python")
    assert parser is not None, "the grammar of Python is a dependency"
    return parser.parse(data)


def faults(tree: Tree) -> int:
    """How many ERROR and MISSING nodes there are."""
    count, todo = 0, [tree.root_node]
    while todo:
        node = todo.pop()
        count += node.is_error or node.is_missing
        if node.has_error:
            todo += node.children
    return count


# Renames.


@dataclass
class _Rename:
    old: str
    new: str
    starts: list[int] = field(default_factory=list[int])
    """Where ``new`` stands for ``old`` by an edit, in code points."""


def _renames(text: str, edits: Sequence[Edited]) -> Iterator[_Rename]:
    """What names the edits replaced, the newest first."""
    groups: dict[tuple[str, str], _Rename] = {}
    for edit in edits:
        for start, old, new in replaced_names(text, edit):
            groups.setdefault((old, new), _Rename(old, new)).starts.append(start)
    yield from groups.values()


def replaced_names(text: str, edit: Edited) -> Iterator[tuple[int, str, str]]:
    """(start in ``text``, old name, new name) of the names that an edit replaced one for one."""
    start, end = edit.start, edit.end
    while start > 0 and _is_word(text[start - 1]):
        start -= 1
    while end < len(text) and _is_word(text[end]):
        end += 1
    if end - start > LONGEST_SPAN or len(edit.old) > LONGEST_SPAN:
        return
    old = TOKENS.findall(text[start : edit.start] + edit.old + text[edit.end : end])
    new = TOKENS.findall(text[start:end])
    at = [start]
    for token in new:
        at.append(at[-1] + len(token))
    for kind, first, last, begin, stop in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "replace" and last - first == stop - begin:
            for before, after, index in zip(old[first:last], new[begin:stop], range(begin, stop), strict=True):
                if before != after and _is_name(before) and _is_name(after):
                    yield at[index], before, after


def _is_word(sign: str) -> bool:
    return sign.isalnum() or sign == "_"


def _is_name(word: str) -> bool:
    dunder = word.startswith("__") and word.endswith("__")
    return word.isidentifier() and not keyword.iskeyword(word) and not dunder and word != "_"


def _places_to_rename(buffer: _Buffer, rename: _Rename) -> list[Proposal]:
    old, new = rename.old.encode(), rename.new.encode()
    starts = sorted(buffer.byte(start) for start in rename.starts)
    data = buffer.data
    was = _replaced(data, [(start, start + len(new), old) for start in starts])
    shift = len(old) - len(new)
    reverted = {start + index * shift for index, start in enumerate(starts)}
    tree = parse(was)
    names = Names(tree, was, rename.old)
    definition = _renamed_definition(names, reverted)
    if definition is None or _is_taken(Names(tree, was, rename.new), definition):
        return []
    same = [one for one in _reach(names, definition) if one.start not in reverted]
    places = [one.start for one in same]
    free = [one.start for one in _keywords(tree, was, definition, rename.old) if one.start not in reverted]
    here = {  # place before the rename -> place in the text as it is
        start: start - shift * sum(one < start for one in reverted) for start in {*places, *free}
    }
    edits = [(start, start + len(old), new) for start in sorted(here.values())]
    if not edits:
        return []
    after = _replaced(data, edits)
    after_tree = parse(after)
    if faults(after_tree) > faults(buffer.tree):
        return []
    renamed = Names(after_tree, after, rename.new)
    begin = definition.start - shift * sum(one < definition.start for one in reverted)

    def behind(start: int) -> int:
        """A place of the text as it is, in the text with everything renamed."""
        return start - shift * sum(one < start for one, _, _ in edits)

    meant = renamed.at(behind(begin))
    good = []
    for start in sorted(here):
        one = renamed.at(behind(here[start]))
        if one is not None and meant is not None and (start in free or one.owner == meant.owner):
            good.append(here[start])
    why = f"{rename.old} is {rename.new} now"
    return [Proposal(buffer.offset(start), buffer.offset(start + len(old)), rename.new, why) for start in good]


def _replaced(data: bytes, edits: Sequence[tuple[int, int, bytes]]) -> bytes:
    parts, at = [], 0
    for start, end, new in sorted(edits):
        parts += [data[at:start], new]
        at = end
    return b"".join([*parts, data[at:]])


def _renamed_definition(names: Names, reverted: set[int]) -> Occurrence | None:
    """The renamed occurrence that is the first binding of its name."""
    for start in sorted(reverted):
        one = names.at(start)
        if one is None or one.role not in ("name", "attribute") or not _defines(one):
            continue
        same = names.same(one)
        defining = [other for other in same if _defines(other)]
        if defining and (defining[0] is one or _statement(one) is not None):
            return one
    return None


def _defines(one: Occurrence) -> bool:
    return bool(one.binding) and one.binding not in ("augmented_assignment", "global", "nonlocal", "del")


def _statement(one: Occurrence) -> Node | None:
    """The loop, ``with`` or ``except`` whose variable it is."""
    if one.binding not in ("for_statement", "with_statement", "except_clause"):
        return None
    return next((node for node in reversed(one.path) if node.type == one.binding), None)


def _reach(names: Names, definition: Occurrence) -> list[Occurrence]:
    """What has to be renamed with a definition. The variable of a loop is often used again for another loop: then only
    what is in its own."""
    same = names.same(definition)
    statement = _statement(definition)
    defining = [one for one in same if _defines(one)]
    if statement is None or len(defining) == 1:
        return same
    return [one for one in same if statement.start_byte <= one.start < statement.end_byte]


def _is_taken(names: Names, definition: Occurrence) -> bool:
    """Whether the new name meant something in the same scope before."""
    return any(one.binding and one.owner == definition.owner for one in names.found)


def _keywords(tree: Tree, data: bytes, definition: Occurrence, name: str) -> list[Occurrence]:
    """``name=`` in calls of the function whose parameter it is."""
    kinds = [node.type for node in definition.path]
    index = max((i for i, kind in enumerate(kinds) if kind in ("parameters", "lambda_parameters")), default=0) - 1
    if definition.binding != "parameter" or index < 0 or kinds[index] != "function_definition":
        return []
    function = definition.path[index]
    found = []
    for call, _ in _calls(tree, data, definition.path[: index + 1], function):
        arguments = call.child_by_field_name("arguments")
        for argument in arguments.named_children if arguments is not None else []:
            key = argument.child_by_field_name("name") if argument.type == "keyword_argument" else None
            if key is not None and key.text == name.encode():
                found.append(key)
    starts = {node.start_byte for node in found}
    return [one for one in Names(tree, data, name).found if one.start in starts]


def _calls(tree: Tree, data: bytes, path: Sequence[Node], function: Node) -> list[tuple[Node, bool]]:
    """The calls of a function that is known by one name, and whether the first parameter is given by the object."""
    name = function.child_by_field_name("name")
    outer = path[-2] if len(path) > 1 else path[-1]
    if name is None or not set(decorators(outer)) <= HARMLESS:
        return []
    block = path[-3] if outer.type == "decorated_definition" else outer
    names = Names(tree, data, (name.text or b"").decode())
    one = names.at(name.start_byte)
    if one is None:
        return []
    is_method = one.scope.kind == "class" and block.type == "block"
    if name.text == b"__init__" and is_method:
        return [(call, True) for call in _constructions(tree, data, one)]
    same = names.same(one)
    if sum(_defines(other) for other in same) != 1:
        return []
    found = []
    for other in same:
        callee = other.path[-2] if other.role == "attribute" else other.node
        call = other.path[-3] if other.role == "attribute" else other.path[-2]
        if (
            call.type == "call"
            and call.child_by_field_name("function") == callee
            and is_method == (other.role == "attribute")
        ):
            found.append((call, is_method and "staticmethod" not in decorators(outer)))
    return found


def _constructions(tree: Tree, data: bytes, init: Occurrence) -> list[Node]:
    """Calls of the class that ``__init__`` is in."""
    owner = next(node for node in reversed(init.path) if node.type == "class_definition")
    name = owner.child_by_field_name("name")
    if name is None:
        return []
    names = Names(tree, data, (name.text or b"").decode())
    one = names.at(name.start_byte)
    same = [] if one is None else names.same(one)
    if sum(_defines(other) for other in same) != 1:
        return []
    calls = [other.path[-2] for other in same if other.role == "name"]
    return [
        call
        for call, other in zip(calls, same, strict=False)
        if call.type == "call" and call.child_by_field_name("function") == other.node
    ]


# Signatures.


@dataclass(frozen=True)
class Parameter:
    name: str
    kind: str
    """positional, normal, keyword, * or **."""
    has_default: bool


def _parameters(node: Node) -> list[Parameter]:
    found: list[Parameter] = []
    kind = "normal"
    for child in node.children:
        if child.type in ("positional_separator", "/"):
            found = [Parameter(one.name, "positional", one.has_default) for one in found]
        elif child.type in ("keyword_separator", "*"):
            kind = "keyword"
        name = parameter_name(child)
        if name is None:
            continue
        inner = child.named_children[0] if child.type == "typed_parameter" else child
        text = (name.text or b"").decode()
        if inner.type == "list_splat_pattern":
            found.append(Parameter(text, "*", has_default=True))
            kind = "keyword"
        elif inner.type == "dictionary_splat_pattern":
            found.append(Parameter(text, "**", has_default=True))
        else:
            found.append(Parameter(text, kind, child.type in ("default_parameter", "typed_default_parameter")))
    return found


@dataclass(frozen=True)
class Argument:
    name: str
    """"" for a positional one."""
    node: Node

    @property
    def text(self) -> str:
        return (self.node.text or b"").decode("utf-8", "surrogatepass")


def _bind(parameters: Sequence[Parameter], arguments: Sequence[Argument]) -> dict[int, str] | None:
    """The parameter of each argument by its number; None where the call does not fit."""
    by_place = [one for one in parameters if one.kind in ("positional", "normal")]
    by_name = {one.name for one in parameters if one.kind in ("normal", "keyword")}
    kinds = {one.kind for one in parameters}
    bound: dict[int, str] = {}
    place = 0
    for index, argument in enumerate(arguments):
        if argument.name:
            if argument.name not in by_name and "**" not in kinds:
                return None
            bound[index] = argument.name
        elif place < len(by_place):
            bound[index] = by_place[place].name
            place += 1
        elif "*" in kinds:
            bound[index] = "*"
        else:
            return None
    given = [name for name in bound.values() if name != "*"]
    missing = [one.name for one in parameters if not one.has_default and one.name not in given]
    return None if missing or len(set(given)) < len(given) else bound


def _calls_to_mend(buffer: _Buffer, edits: Sequence[Edited]) -> Iterator[Proposal]:
    root = buffer.tree.root_node
    seen: set[int] = set()
    for edit in edits:
        start, end = buffer.byte(edit.start), buffer.byte(edit.end)
        path = [root]
        node: Node | None = root.descendant_for_byte_range(start, end)
        while node is not None and path[-1] != node:
            child = path[-1].child_with_descendant(node)
            if child is None:
                break
            path.append(child)
        index = next((i for i in range(len(path) - 1, -1, -1) if path[i].type == "parameters"), None)
        if index is None or path[index - 1].type != "function_definition" or path[index].start_byte in seen:
            continue
        if len(seen) == RECENT:
            return
        seen.add(path[index].start_byte)
        yield from _mended_calls(buffer, path[:index], path[index], edits)


def _mended_calls(
    buffer: _Buffer, path: Sequence[Node], parameters: Node, edits: Sequence[Edited]
) -> Iterator[Proposal]:
    """Calls of the function at the end of ``path`` that fitted before its parameters were edited, and do not now."""
    if parameters.has_error:
        return
    first, last = parameters.start_byte, parameters.end_byte
    inside = [
        (buffer.byte(one.start) - first, buffer.byte(one.end) - first, one.old.encode("utf-8", "surrogatepass"))
        for one in edits
        if buffer.byte(one.start) > first and buffer.byte(one.end) < last
    ]
    text = _replaced(buffer.data[first:last], inside)
    old_tree = parse(b"def f" + text + b": pass\n")
    old_node = old_tree.root_node.children[0].child_by_field_name("parameters")
    if old_tree.root_node.has_error or old_node is None:
        return
    old, new = _parameters(old_node), _parameters(parameters)
    if old == new:
        return
    for call, is_bound in _calls(buffer.tree, buffer.data, path, path[-1]):
        arguments = _arguments(call)
        if arguments is None:
            continue
        before, after = (old[1:], new[1:]) if is_bound else (old, new)
        bound = _bind(before, arguments)
        if bound is None or _bind(after, arguments) is not None:
            continue
        written = _rewritten(buffer, call, arguments, bound, before, after, path[-1])
        if written is not None and (proposal := _smallest(buffer, call, written, path[-1])) is not None:
            yield proposal


def _arguments(call: Node) -> list[Argument] | None:
    """None where not all of them can be read off the call."""
    found = call.child_by_field_name("arguments")
    if found is None or found.type != "argument_list" or found.has_error:
        return None
    arguments = []
    for child in found.named_children:
        if child.type in ("list_splat", "dictionary_splat", "comment"):
            return None
        name = child.child_by_field_name("name") if child.type == "keyword_argument" else None
        arguments.append(Argument("" if name is None else (name.text or b"").decode(), child))
    return arguments


def _rewritten(
    buffer: _Buffer,
    call: Node,
    arguments: Sequence[Argument],
    bound: dict[int, str],
    before: Sequence[Parameter],
    after: Sequence[Parameter],
    function: Node,
) -> list[str] | None:
    """The arguments as the new parameters want them; None where that is not known."""
    had, has = [one.name for one in before], [one.name for one in after]
    gone, added = [name for name in had if name not in has], [name for name in has if name not in had]
    if len(gone) == len(added) == 1 and had.index(gone[0]) == has.index(added[0]):
        return [
            f"{added[0]}={one.text.partition('=')[2].lstrip()}" if one.name == gone[0] else one.text
            for one in arguments
        ]
    if [name for name in had if name in has] != [name for name in has if name in had]:
        return None  # another order: what an argument by place means cannot be told
    kept = [(one, bound[index]) for index, one in enumerate(arguments) if bound[index] not in gone]
    texts = {name: one.text for one, name in kept if not one.name}
    named = [one.text for one, _ in kept if one.name]
    rest = [one.text for one, name in kept if not one.name and name == "*"]
    given = {name for _, name in kept}
    by_place: list[str] = []
    is_open = True  # whether a next argument by place would be the next parameter
    for parameter in after:
        if parameter.kind in ("*", "**"):
            continue
        if parameter.name in texts:
            if not is_open:
                return None
            by_place.append(texts[parameter.name])
        elif parameter.name in given or parameter.has_default:
            is_open = False
        elif parameter.name not in added or not _is_visible(buffer, call, parameter.name, function):
            return None  # nobody knows what to pass
        elif is_open and parameter.kind != "keyword":
            by_place.append(parameter.name)
        else:
            named.append(f"{parameter.name}={parameter.name}")
    return [*by_place, *rest, *named] if is_open or not rest else None


def _is_visible(buffer: _Buffer, call: Node, name: str, function: Node) -> bool:
    """Whether ``name`` is a variable of a function around the call: then it is what is meant, most often. In the
    function itself it is its own parameter, which says nothing; and a name of the module is often another thing.
    """
    if function.start_byte <= call.start_byte < function.end_byte:
        return False
    data = buffer.data[: call.start_byte] + name.encode() + b", " + buffer.data[call.start_byte :]
    tried = Names(parse(data), data, name)
    one = tried.at(call.start_byte)
    if one is None or one.owner is None or one.owner.kind != "function":
        return False
    first = next((other for other in tried.same(one) if _defines(other)), None)
    return first is not None and first.start < one.start


def _smallest(buffer: _Buffer, call: Node, written: Sequence[str], function: Node) -> Proposal | None:
    """The change of the argument list, if it leaves no more errors than there are."""
    node = call.child_by_field_name("arguments")
    if node is None:
        return None
    old = buffer.data[node.start_byte : node.end_byte].decode("utf-8", "surrogatepass")
    new = _laid_out(old, written)
    start = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    most = min(len(old), len(new)) - start
    end = next((i for i in range(most) if old[-1 - i] != new[-1 - i]), most)
    at = buffer.offset(node.start_byte)
    text = buffer.text[: at + start] + new[start : len(new) - end] + buffer.text[at + len(old) - end :]
    if old == new or faults(parse(text.encode("utf-8", "surrogatepass"))) > faults(buffer.tree):
        return None
    name = function.child_by_field_name("name")
    why = f"{(name.text or b'').decode() if name is not None else 'the function'} has other parameters now"
    return Proposal(at + start, at + len(old) - end, new[start : len(new) - end], why)


def _laid_out(old: str, arguments: Sequence[str]) -> str:
    """Arguments in brackets; one per line where they were."""
    match = re.match(r"\((\s*\n\s*)", old)
    if match is None or not arguments:
        return f"({', '.join(arguments)})"
    tail = re.search(r",?\s*\)$", old)
    return "(" + match.group(1) + ("," + match.group(1)).join(arguments) + (tail.group() if tail else ")")
