"""Which occurrences of a name in a Python text are the same thing: scopes as Python has them, read off a syntax tree.

``Names(tree, data, "x")`` looks at the occurrences of one name only, so it is quick in a long file. Attributes count
where their object is known: ``self.x`` and ``cls.x`` in the methods of a class. All offsets are bytes. What stands in
strings and comments is not looked at, but the parts of an f-string are.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from tree_sitter import Node, Tree

COMPREHENSIONS = {"list_comprehension", "set_comprehension", "dictionary_comprehension", "generator_expression"}
FUNCTIONS = {"function_definition", "lambda"}
TARGETS = {
    "pattern_list", "tuple_pattern", "list_pattern", "list_splat_pattern", "as_pattern_target", "tuple", "list",
    "parenthesized_expression", "expression_list", "list_splat", "with_item",
}  # fmt: skip
"""What may stand between a name that is bound and the statement that binds it."""
BOUND_IN = {
    "assignment": "left", "augmented_assignment": "left", "for_statement": "left", "for_in_clause": "left",
    "as_pattern": "alias", "named_expression": "name",
}  # fmt: skip


class Scope(NamedTuple):
    kind: str
    """module, function, class, comprehension, or types (of type parameters)."""
    start: int
    end: int


@dataclass(eq=False)
class Occurrence:
    start: int
    path: tuple[Node, ...]
    """From the root to the identifier."""
    role: str
    """name, attribute, keyword (of a call), or other: a part of a module's path, a keyword of a pattern."""
    binding: str
    """What binds it here: parameter, def, class, import, assignment, augmented_assignment, for_statement, ...; "" for a
    use.
    """
    scope: Scope
    """Where a binding here would be made."""
    owner: Scope | None = None
    """The scope that it belongs to; None where the text does not bind it."""

    @property
    def node(self) -> Node:
        return self.path[-1]


class Names:
    def __init__(self, tree: Tree, data: bytes, name: str) -> None:
        self._tree, self._data, self._name = tree, data, name
        self.found = [self._occurrence(path) for path in _paths(tree, data, name)]
        self._by_start = {one.start: one for one in self.found}
        self._resolve()

    def at(self, start: int) -> Occurrence | None:
        return self._by_start.get(start)

    def same(self, one: Occurrence) -> list[Occurrence]:
        """All occurrences of what ``one`` is, in the order of the text; [] where that is not known."""
        if one.owner is None:
            return []
        return [other for other in self.found if other.owner == one.owner and other.role in ("name", "attribute")]

    def _occurrence(self, path: tuple[Node, ...]) -> Occurrence:
        scopes = list(_scopes(path))
        role, binding = _role(path)
        if binding == "named_expression":  # it binds outside of comprehensions
            scopes = [scope for scope in scopes if scope.kind != "comprehension"]
        return Occurrence(path[-1].start_byte, path, role, binding, scopes[-1])

    def _resolve(self) -> None:
        declared = {(one.scope, one.binding) for one in self.found if one.binding in ("global", "nonlocal")}
        bound: set[Scope] = set()
        module = Scope("module", 0, self._tree.root_node.end_byte)
        for one in self.found:
            if one.role == "name" and one.binding and (one.scope, "nonlocal") not in declared:
                bound.add(module if (one.scope, "global") in declared else one.scope)
        for one in self.found:
            if one.role == "attribute":
                one.owner = self._class_of(one.path)
            elif one.role == "name":
                one.owner = _owner(one, bound, declared, module)

    def _class_of(self, path: tuple[Node, ...]) -> Scope | None:
        """The class of ``self`` in ``self.x``."""
        target = path[-2].child_by_field_name("object")
        if target is None or target.type != "identifier":
            return None
        mine = target.text
        for index in range(len(path) - 2, 1, -1):
            node = path[index]
            if node.type not in FUNCTIONS:
                continue
            parameters = node.child_by_field_name("parameters")
            if parameters is None or mine not in (found.text for found in _parameter_names(parameters)):
                continue
            outer = index - 2 if path[index - 1].type == "decorated_definition" else index - 1
            if node.type == "lambda" or path[outer].type != "block" or path[outer - 1].type != "class_definition":
                return None
            first = next(_parameter_names(parameters), None)
            if first is None or first.text != mine or "staticmethod" in decorators(path[index - 1]):
                return None
            return _scope("class", path[outer - 1])
        return None


def decorators(node: Node) -> list[str]:
    """The names of what a ``decorated_definition`` is decorated with, without arguments."""
    if node.type != "decorated_definition":
        return []
    texts = [_text(child).lstrip("@").split("(")[0].strip() for child in node.children if child.type == "decorator"]
    return [text.rpartition(".")[2] for text in texts]


def _text(node: Node) -> str:
    return (node.text or b"").decode("utf-8", "replace")


def _paths(tree: Tree, data: bytes, name: str) -> Iterator[tuple[Node, ...]]:
    root = tree.root_node
    pattern = re.compile(
        rb"(?<![\w\x80-\xff])" + re.escape(name.encode("utf-8", "surrogatepass")) + rb"(?![\w\x80-\xff])"
    )
    for match in pattern.finditer(data):
        leaf = root.descendant_for_byte_range(match.start(), match.end())
        if leaf is None or leaf.type != "identifier" or (leaf.start_byte, leaf.end_byte) != match.span():
            continue
        path = [root]
        while path[-1] != leaf:
            child = path[-1].child_with_descendant(leaf)
            if child is None:
                break
            path.append(child)
        if path[-1] == leaf:
            yield tuple(path)


def _scope(kind: str, node: Node) -> Scope:
    return Scope(kind, node.start_byte, node.end_byte)


def _scopes(path: tuple[Node, ...]) -> Iterator[Scope]:
    """From the module inwards: those whose inside the identifier is in."""
    yield _scope("module", path[0])._replace(start=0)
    for index, node in enumerate(path[:-1]):
        child = path[index + 1]
        if node.type in ("function_definition", "class_definition"):
            if node.child_by_field_name("type_parameters") is not None and not _is_field(node, "name", child):
                yield _scope("types", node)
            if node.type == "class_definition" and _is_field(node, "body", child):
                yield _scope("class", node)
        if node.type in FUNCTIONS and (
            _is_field(node, "body", child)
            or (_is_field(node, "parameters", child) and _is_parameter(path[index + 1 :]))
        ):
            yield _scope("function", node)
        if node.type in COMPREHENSIONS:
            first = next((one for one in node.children if one.type == "for_in_clause"), None)
            outside = first == child and index + 2 < len(path) and _is_field(child, "right", path[index + 2])
            if not outside:
                yield _scope("comprehension", node)


def _is_field(node: Node, field: str, child: Node) -> bool:
    return child in node.children_by_field_name(field)


def _is_parameter(path: tuple[Node, ...]) -> bool:
    """``path`` begins with the parameters; whether it ends in a parameter's name, not in a default or an annotation."""
    return not any(_is_field(node, field, child) for node, child in pairwise(path) for field in ("type", "value"))


def _parameter_names(parameters: Node) -> Iterator[Node]:
    for child in parameters.named_children:
        name = parameter_name(child)
        if name is not None:
            yield name


def parameter_name(parameter: Node) -> Node | None:
    """Of one child of the parameters; None for ``*``, ``/`` and a comment."""
    if parameter.type == "identifier":
        return parameter
    if parameter.type in ("default_parameter", "typed_default_parameter"):
        return parameter.child_by_field_name("name")
    if parameter.type in ("typed_parameter", "list_splat_pattern", "dictionary_splat_pattern"):
        inner = parameter.named_children[0] if parameter.named_children else None
        return inner if inner is None or inner.type == "identifier" else parameter_name(inner)
    return None


def _role(path: tuple[Node, ...]) -> tuple[str, str]:
    """Role and binding."""
    leaf, parent = path[-1], path[-2]
    above = path[-3] if len(path) > 2 else parent
    kind = parent.type
    if kind == "attribute" and _is_field(parent, "attribute", leaf):
        return "attribute", _bound_by(path[:-1])
    if kind == "keyword_argument" and _is_field(parent, "name", leaf):
        return "keyword", ""
    if kind == "keyword_pattern" and parent.children[0] == leaf:
        return "other", ""
    if kind in ("function_definition", "class_definition") and _is_field(parent, "name", leaf):
        return "name", "def" if kind == "function_definition" else "class"
    if kind in ("global_statement", "nonlocal_statement"):
        return "name", kind.removesuffix("_statement")
    if kind == "aliased_import":
        return "name", "import"
    if kind == "dotted_name":
        return _role_of_dotted(path, above)
    if kind == "splat_pattern" or (kind == "as_pattern" and parent.children[-1] == leaf):
        return "name", "pattern"
    inner = [i for i, node in enumerate(path) if node.type in ("parameters", "lambda_parameters")]
    if inner and _is_parameter(path[inner[-1] :]) and _near(path, inner[-1]):
        return "name", "parameter"
    if any(
        node.type == "type_parameter" and outer.type in ("function_definition", "class_definition")
        for outer, node in pairwise(path[-5:-1])
    ):  # of a generic definition; those of a use, as in list[int], are no bindings
        return "name", "type"
    if above.type == "type_alias_statement" and _is_field(above, "left", parent):
        return "name", "type"
    return "name", _bound_by(path)


def _near(path: tuple[Node, ...], parameters: int) -> bool:
    """Whether only what makes up a parameter lies between the parameters and the name."""
    between = {
        "default_parameter", "typed_default_parameter", "typed_parameter", "list_splat_pattern",
        "dictionary_splat_pattern", "tuple_pattern",
    }  # fmt: skip
    return all(node.type in between for node in path[parameters + 1 : -1])


def _role_of_dotted(path: tuple[Node, ...], above: Node) -> tuple[str, str]:
    leaf, dotted = path[-1], path[-2]
    is_first = dotted.children[0] == leaf
    if above.type == "import_statement":
        return ("name", "import") if is_first else ("other", "")
    if above.type in ("import_from_statement", "future_import_statement"):
        return ("name", "import") if _is_field(above, "name", dotted) else ("other", "")
    if above.type in ("aliased_import", "relative_import"):
        return "other", ""
    if above.type in ("case_pattern", "keyword_pattern") and len(dotted.children) == 1:
        return ("other", "") if leaf.text == b"_" else ("name", "pattern")
    return ("name", "") if is_first else ("other", "")


def _bound_by(path: tuple[Node, ...]) -> str:
    """What statement binds the last node of the path; "" where it is used."""
    index = len(path) - 2
    while index > 0 and path[index].type in TARGETS:
        index -= 1
    node, child = path[index], path[index + 1]
    field = BOUND_IN.get(node.type)
    if field is not None and _is_field(node, field, child):
        if node.type != "as_pattern":
            return node.type
        outer = next(
            (one.type for one in reversed(path[:index]) if one.type in ("with_statement", "except_clause")), ""
        )
        return outer or "as_pattern"
    return "del" if node.type == "delete_statement" else ""


def _owner(one: Occurrence, bound: set[Scope], declared: set[tuple[Scope, str]], module: Scope) -> Scope | None:
    scopes = [*_scopes(one.path)]
    if one.binding == "named_expression":
        scopes = [scope for scope in scopes if scope.kind != "comprehension"]
    for scope in reversed(scopes):
        if (scope, "global") in declared:
            return module if module in bound else None
        if scope.kind == "class" and scope != scopes[-1]:
            continue  # methods do not see the names of their class
        if scope in bound and (scope, "nonlocal") not in declared:
            return scope
    return None
