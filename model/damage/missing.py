"""What a program can do without and a reader cannot: annotations and docstrings, taken away."""

from collections.abc import Iterable

import numpy as np

from model.damage.scan import Node, Scan, body, items, mixed, pick
from model.damage.types import Edit, Table, kind

TABLE: Table = {}

_TYPED = {"typed_parameter", "typed_default_parameter"}

# ---------------------------------------------------------------------------------------------------- annotations


def _bare(scan: Scan, node: Node) -> list[Edit]:
    """A parameter without its annotation."""
    annotation = node.child_by_field_name("type")
    colon = next(child for child in node.children if child.type == ":")
    value = node.child_by_field_name("value")
    if annotation is None:
        return []
    edits: list[Edit] = [(scan.span(node.children[0])[1], scan.span(annotation)[1], "")]
    if value is not None:  # spaces around the sign go with the annotation
        sign = next(child for child in node.children if child.type == "=")
        edits = [(scan.span(colon)[0], scan.span(annotation)[1], "")]
        edits += [(scan.span(annotation)[1], scan.span(sign)[0], ""), (scan.span(sign)[1], scan.span(value)[0], "")]
    return edits


def _returns(scan: Scan, node: Node) -> list[Edit]:
    annotation, given = node.child_by_field_name("return_type"), node.child_by_field_name("parameters")
    if annotation is None or given is None:
        return []
    return [(scan.span(given)[1], scan.span(annotation)[1], "")]


def _typed(node: Node) -> list[Node]:
    return [item for item in items(node.child_by_field_name("parameters")) if item.type in _TYPED]


@kind(TABLE, "missing-annotations", "Annotate the parameters and the return value.", group="annotate",
      needs=("type",), weight=3)  # fmt: skip
def missing_annotations(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    functions = [node for node in scan.of("function_definition") if _typed(node)]
    if not functions:
        return None
    chosen = functions if rng.random() < 0.5 else [pick(rng, functions)]
    edits = [edit for node in chosen for item in _typed(node) for edit in _bare(scan, item)]
    return [*edits, *(edit for node in chosen for edit in _returns(scan, node))]


@kind(TABLE, "missing-parameter-annotation", "Annotate the parameter that has no annotation.", group="annotate",
      needs=("typed_parameter", "typed_default_parameter"), weight=1.5)  # fmt: skip
def missing_parameter_annotation(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    return _bare(scan, pick(rng, scan.of(*sorted(_TYPED))))


@kind(TABLE, "missing-return-annotation", "Annotate the return value.", group="annotate", needs=("->",), weight=1.5)
def missing_return_annotation(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("function_definition")):
        if edits := _returns(scan, node):
            return edits
    return None


@kind(TABLE, "missing-variable-annotation", "Annotate the variable.", group="annotate", needs=("assignment",))
def missing_variable_annotation(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("assignment")):
        annotation, value = node.child_by_field_name("type"), node.child_by_field_name("right")
        around = scan.above(node, "function_definition", "class_definition")
        # In a class the annotation may make a field.
        if annotation is not None and value is not None and around is not None and around.type == "function_definition":
            return [(scan.span(node.children[0])[1], scan.span(annotation)[1], "")]
    return None


@kind(TABLE, "vague-annotation", "Say what the annotated value holds.", group="annotate", needs=("type",))
def vague_annotation(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("type")):
        inner = node.children[0]
        if scan.parent(node).type not in {*_TYPED, "function_definition"}:
            continue
        if inner.type in {"generic_type", "subscript"} and scan.src(inner.children[0]) not in {"Literal", "Optional"}:
            return [(scan.span(inner.children[0])[1], scan.span(inner)[1], "")]
        if scan.src(inner) not in {"Any", "None", "object", "Self"}:
            return [scan.replace(node, pick(rng, ["Any", "object"]))]
    return None


# ---------------------------------------------------------------------------------------------------- docstrings


def _docstring(scan: Scan, node: Node) -> tuple[Node, Node] | None:
    """The docstring's statement and what follows it, in a body on lines of its own."""
    rows = body(node)
    if len(rows) < 2 or not all(scan.leads(row) for row in rows[:2]) or not scan.ends(rows[0]):
        return None
    text = rows[0].children[0]
    plain = text.type == "string" and not any(child.type == "interpolation" for child in text.children)
    return (rows[0], rows[1]) if rows[0].type == "expression_statement" and plain else None


def _without(scan: Scan, statement: Node, after: Node) -> list[Edit]:
    """The lines of a docstring taken out, with the blank line behind it."""
    start = scan.line_start(scan.span(statement)[0])
    end = scan.text.find("\n", scan.span(statement)[1]) + 1
    follow = scan.text.find("\n", end)
    blank = not scan.text[end:follow].strip() and follow < scan.span(after)[0]
    return [(start, follow + 1 if blank else end, "")]


def _undocumented(rng: np.random.Generator, scan: Scan, name: str) -> list[Edit] | None:
    for node in mixed(rng, scan.of(name)):
        if found := _docstring(scan, node):
            return _without(scan, *found)
    return None


@kind(TABLE, "missing-docstring", "Write the docstring of the function.", group="document",
      needs=("function_definition",), weight=3)  # fmt: skip
def missing_docstring(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    return _undocumented(rng, scan, "function_definition")


@kind(TABLE, "missing-class-docstring", "Write the docstring of the class.", group="document",
      needs=("class_definition",), weight=2)  # fmt: skip
def missing_class_docstring(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    return _undocumented(rng, scan, "class_definition")


@kind(TABLE, "short-docstring", "Complete the docstring: only its first line is there.", group="document",
      needs=("function_definition", "class_definition"))  # fmt: skip
def short_docstring(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("function_definition", "class_definition")):
        found = _docstring(scan, node)
        text = found[0].children[0] if found else node
        closing = text.children[-1]
        if text.type != "string" or len(scan.src(closing)) != 3:
            continue
        start, end = scan.span(text.children[0])[1], scan.span(closing)[0]
        lines = scan.text[start:end].splitlines()
        if len(lines) > 2 and lines[0].strip() and not lines[1].strip() and "".join(lines[2:]).strip():
            return [(start + len(lines[0].rstrip()), end, "")]
    return None
