"""Statements as they were written once, and longer: loops for comprehensions, branches for values, files left open.

As in ``idioms``: the clean side has the modern form, the meaning stays as far as the types that it shows allow.
"""

import re
from collections.abc import Iterable

import numpy as np

from model.damage.scan import STATEMENTS, Node, Scan, body, items, mixed, pattern, pick
from model.damage.sure import (
    is_bound,
    is_call_of,
    is_dict,
    is_imported,
    is_made,
    is_seen_inside,
    is_sequence,
    is_swallowed,
    is_whole_number,
    looks_around,
)
from model.damage.types import Edit, Table, kind

TABLE: Table = {}

_SCOPES = ("function_definition", "class_definition")


def _lines(scan: Scan, node: Node, lines: list[tuple[int, str]]) -> list[Edit]:
    """A statement replaced by lines, each with its depth under it."""
    indent = scan.indent(node)
    return [scan.replace(node, (scan.newline + indent).join(scan.unit * depth + line for depth, line in lines))]


def _flat(scan: Scan, *nodes: Node) -> bool:
    """No line break in any of them: what is free of brackets afterwards must stand in one line."""
    return not any("\n" in scan.src(node) for node in nodes)


def _only_here(scan: Scan, names: list[Node], here: Node) -> bool:
    """Are the variables used nowhere in the function around but in one of its parts?"""
    start, end = here.start_byte, here.end_byte
    scope = scan.above(here, *_SCOPES) or scan.top
    return all(
        start <= use.start_byte < end
        for name in {scan.src(node) for node in names}
        for use in scan.used(name, within=scope)
    )


# ---------------------------------------------------------------------------------------------------- comprehensions


def _unrolled(scan: Scan, node: Node) -> tuple[list[tuple[int, str]], Node, int] | None:
    """The loops and conditions of a comprehension as lines, its value, and how deep that stands."""
    clauses = [child for child in node.children if child.type in {"for_in_clause", "if_clause"}]
    value = node.child_by_field_name("body")
    if value is None or not _flat(scan, *clauses) or any(child.type == "comment" for child in node.children):
        return None
    lines: list[tuple[int, str]] = []
    for clause in clauses:
        if clause.type == "if_clause":
            lines.append((len(lines), f"if {scan.src(clause.children[1])}:"))
            continue
        left, right = clause.child_by_field_name("left"), clause.child_by_field_name("right")
        if (
            left is None
            or right is None
            or clause.children[0].type != "for"
            or not _only_here(scan, pattern(left), node)
        ):
            return None
        if not pattern(left):
            return None
        lines.append((len(lines), f"for {scan.src(left)} in {scan.src(right)}:"))
    return None if looks_around(scan, node) else (lines, value, len(lines))


def _filled(scan: Scan, node: Node) -> tuple[str | None, Node] | None:
    """The variable that a value is assigned to (None: it is returned) and the statement, which stands alone."""
    around = scan.parent(node)
    if around.type == "return_statement" and scan.alone(around):
        return None, around
    statement = scan.parent(around)
    if around.type != "assignment" or statement.type != "expression_statement" or not scan.alone(statement):
        return None
    if len(around.children) != 3 or around.children[0].type != "identifier" or around.children[2].id != node.id:
        return None
    name = scan.src(around.children[0])
    return (name, statement) if not any(scan.src(use) == name for use in scan.inside(node, "identifier")) else None


def _loop(scan: Scan, node: Node, empty: str, add: str) -> list[Edit] | None:
    """``x = [...]`` as ``x = empty``, the loops, and ``add`` for each value."""
    unrolled, place = _unrolled(scan, node), _filled(scan, node)
    if unrolled is None or place is None:
        return None
    loops, value, depth = unrolled
    name, statement = place
    if is_swallowed(scan, statement) or (name and _is_shared(scan, name, statement)) or is_bound(scan, "set"):
        return None  # of what fails, the beginning is kept
    target = name or scan.fresh("result", "results", "found", "values", "output")
    if target is None:
        return None
    if value.type == "pair":
        if len(value.children) != 3 or not _flat(scan, value):
            return None
        calls = [any(True for _ in scan.inside(child, "call")) for child in (value.children[0], value.children[2])]
        if all(calls):
            return None  # a statement computes the value first
        key, item = scan.src(value.children[0]), scan.src(value.children[2])
    else:
        key, item = "", scan.src(value)
    if "\n" in item and "(" not in add:
        return None
    last = (depth, add.format(name=target, key=key, item=item))
    end = [] if name else [(0, f"return {target}")]
    return _lines(scan, statement, [(0, f"{target} = {empty}"), *loops, last, *end])


def _is_shared(scan: Scan, name: str, node: Node) -> bool:
    """Whether a function that the loop calls may see the variable while it is filled."""
    return is_seen_inside(scan, name, scan.above(node, *_SCOPES) or scan.top)


@kind(TABLE, "append-loop", "Write the loop that appends as a list comprehension.", group="modernise",
      needs=("list_comprehension",), weight=3)  # fmt: skip
def append_loop(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("list_comprehension")):
        if edits := _loop(scan, node, "[]", "{name}.append({item})"):
            return edits
    return None


@kind(TABLE, "dict-loop", "Write the loop that fills a dict as a comprehension.", group="modernise",
      needs=("dictionary_comprehension",), weight=2)  # fmt: skip
def dict_loop(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("dictionary_comprehension")):
        if edits := _loop(scan, node, "{}", "{name}[{key}] = {item}"):
            return edits
    return None


@kind(TABLE, "set-loop", "Write the loop that fills a set as a comprehension.", group="modernise",
      needs=("set_comprehension",))  # fmt: skip
def set_loop(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("set_comprehension")):
        if edits := _loop(scan, node, "set()", "{name}.add({item})"):
            return edits
    return None


def _generators(rng: np.random.Generator, scan: Scan, *names: str) -> Iterable[tuple[str, Node, Node]]:
    """Calls ``name(x for ...)`` of one of these names: the name, the call, the generator."""
    for node in mixed(rng, scan.of("generator_expression")):
        call = scan.parent(node)
        name = scan.src(call.children[0])
        if call.type == "call" and name in names and call.children[-1].id == node.id:
            yield name, call, node


@kind(TABLE, "sum-loop", "Use sum instead of a loop that adds.", group="modernise", needs=("generator_expression",))
def sum_loop(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for _, call, node in _generators(rng, scan, "sum"):
        unrolled, place = _unrolled(scan, node), _filled(scan, call)
        if unrolled is None or place is None or not _flat(scan, unrolled[1]):
            continue
        (loops, value, depth), (name, statement) = unrolled, place
        if is_swallowed(scan, statement) or (name and _is_shared(scan, name, statement)) or is_bound(scan, "sum"):
            continue
        if not is_whole_number(scan, value):
            continue  # floats are added otherwise from Python 3.12 on, and arrays in place
        target = name or scan.fresh("total", "count", "result")
        if target is not None:
            last = (depth, f"{target} += {scan.src(value)}")
            end = [] if name else [(0, f"return {target}")]
            return _lines(scan, statement, [(0, f"{target} = 0"), *loops, last, *end])
    return None


@kind(TABLE, "any-loop", "Use any or all instead of a loop.", group="modernise", needs=("generator_expression",))
def any_loop(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for name, call, node in _generators(rng, scan, "any", "all"):
        unrolled, statement = _unrolled(scan, node), scan.parent(call)
        if unrolled is None or statement.type != "return_statement" or not scan.alone(statement):
            continue
        loops, value, depth = unrolled
        if is_bound(scan, name):
            continue
        if not _flat(scan, value) or value.type in {"lambda", "conditional_expression"}:
            continue
        if name == "any":
            found, first, last = scan.src(value), "True", "False"
        else:
            bare = scan.src(value)
            found = f"not ({bare})" if value.type in {"boolean_operator", "comparison_operator"} else f"not {bare}"
            first, last = "False", "True"
        lines = [*loops, (depth, f"if {found}:"), (depth + 1, f"return {first}"), (0, f"return {last}")]
        return _lines(scan, statement, lines)
    return None


@kind(TABLE, "yield-loop", "Use yield from instead of a loop.", group="modernise", needs=("yield",), weight=2)
def yield_loop(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("yield")):
        statement = scan.parent(node)
        types = [child.type for child in node.children]
        name = scan.fresh("item", "x", "value", "element")
        function = scan.above(node, "function_definition", "lambda")
        if types[:2] != ["yield", "from"] or function is None or function.children[0].type != "def":
            continue
        if scan.parent(function).type == "decorated_definition" or re.match(r"[^\n]*@", _line_above(scan, function)):
            continue  # a coroutine of old is sent values, which goes through to what it yields from
        # What is left in the middle is closed with its reader: it must be nobody else's.
        given = node.children[2]
        new = given.type == "call" and not is_call_of(scan, given, ("iter", "next"))
        if not new and given.type not in {"list", "tuple", "string", "list_comprehension", "generator_expression"}:
            continue
        if statement.type != "expression_statement" or not scan.alone(statement):
            continue
        if name is not None:
            lines = [(0, f"for {name} in {scan.src(node.children[2])}:"), (1, f"yield {name}")]
            return _lines(scan, statement, lines)
    return None


def _line_above(scan: Scan, node: Node) -> str:
    """The line before the one that a node begins in."""
    return scan.text[: scan.line_start(scan.span(node)[0])].rstrip("\r\n").rpartition("\n")[2]


# ---------------------------------------------------------------------------------------------------- loop headers


def _header(rng: np.random.Generator, scan: Scan, call: str) -> Iterable[tuple[Node, Node, Node, Node, Node]]:
    """Loops over ``call(x)`` or ``x.call()`` with two targets: the loop, target, target, x, first statement."""
    for node in mixed(rng, scan.of("for_statement")):
        left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
        rows = body(node)
        if left is None or right is None or right.type != "call" or left.type != "pattern_list" or not rows:
            continue
        targets, arguments = items(left), items(right.child_by_field_name("arguments"))
        callee = right.children[0]
        if len(targets) != 2 or targets[0].type != "identifier" or node.children[0].type != "for":
            continue
        if not scan.leads(node) or not scan.leads(rows[0]):
            continue
        if scan.src(callee) == call and len(arguments) == 1:
            over = arguments[0]
        elif callee.type == "attribute" and scan.src(callee.children[-1]) == call and not arguments:
            over = callee.children[0]
        else:
            continue
        if over.type in {"identifier", "attribute", "call", "subscript"} and _flat(scan, left, right):
            yield node, targets[0], targets[1], over, rows[0]


def _is_steady(scan: Scan, loop: Node, name: str) -> bool:
    """Whether what is gone over is only looked at in the loop: nothing comes into it, or out of it, or in its place."""
    for use in scan.used(name, within=loop.child_by_field_name("body")):
        around = scan.parent(use)
        taken = around.type == "subscript" and around.children[0].id == use.id
        call = scan.parent(scan.parent(use))
        if taken and scan.parent(around).type not in {"assignment", "augmented_assignment", "delete_statement"}:
            continue
        if taken and scan.parent(around).children[0].id != around.id and scan.parent(around).type == "assignment":
            continue
        if around.type == "argument_list" and is_call_of(scan, call, ("len",)):
            continue
        return False
    return True


_SEQUENCES = r"(?:list|tuple|List|Tuple|Sequence)(?:\[|$)|str$"
_MAPPINGS = r"(?:dict|Dict)(?:\[|$)"


def _is_given(scan: Scan, name: str, types: str) -> bool:
    """Whether a variable is a parameter with an annotation that matches, and nothing else."""
    bound = [use for use in scan.targets if scan.src(use) == name]
    if len(bound) != 1:
        return False
    around = scan.parent(bound[0])
    known = around.type in {"typed_parameter", "typed_default_parameter"}
    return known and re.match(types, scan.src(around.child_by_field_name("type"))) is not None


def _before(scan: Scan, first: Node, line: str) -> Edit:
    """A line of its own before a statement."""
    at = scan.span(first)[0]
    return at, at, line + scan.newline + scan.indent(first)


@kind(TABLE, "range-len", "Use enumerate instead of range(len()).", group="modernise", needs=("for_statement",),
      weight=2)  # fmt: skip
def range_len(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node, index, value, over, first in _header(rng, scan, "enumerate"):
        right = node.child_by_field_name("right")
        name = scan.src(over)
        known = over.type == "identifier" and (is_made(scan, name, is_sequence) or _is_given(scan, name, _SEQUENCES))
        if (
            known
            and right is not None
            and _is_steady(scan, node, name)
            and not is_bound(scan, "len", "range", "enumerate")
        ):
            start, end = scan.span(index)[0], scan.span(right)[1]
            return [
                (start, end, f"{scan.src(index)} in range(len({name}))"),
                _before(scan, first, f"{scan.src(value)} = {name}[{scan.src(index)}]"),
            ]
    return None


@kind(TABLE, "manual-counter", "Use enumerate instead of counting by hand.", group="modernise",
      needs=("for_statement",), weight=1.5)  # fmt: skip
def manual_counter(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node, index, value, over, _ in _header(rng, scan, "enumerate"):
        right, last = node.child_by_field_name("right"), body(node)[-1]
        name = scan.src(index)
        bound = [use for use in scan.targets if scan.src(use) == name]
        skips = any(True for _ in scan.inside(node, "continue_statement"))
        if right is None or skips or len(bound) > 1 or not _only_here(scan, [index], node):
            continue
        if scan.used(name, within=over) or is_bound(scan, "enumerate"):
            continue
        around = scan.above(node, *_SCOPES)
        if is_seen_inside(scan, name, node) or (around is not None and around.type == "class_definition"):
            continue
        if not scan.leads(last) or not scan.ends(last) or node.child_by_field_name("alternative") is not None:
            continue
        end = scan.span(last)[1]
        return [
            _before(scan, node, f"{name} = 0"),
            (scan.span(index)[0], scan.span(right)[1], f"{scan.src(value)} in {scan.src(over)}"),
            (end, end, f"{scan.newline}{scan.indent(last)}{name} += 1"),
        ]
    return None


@kind(TABLE, "key-lookup", "Go over items instead of looking every key up.", group="modernise",
      needs=("for_statement",), weight=2)  # fmt: skip
def key_lookup(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node, key, value, over, first in _header(rng, scan, "items"):
        right = node.child_by_field_name("right")
        name = scan.src(over)
        known = over.type == "identifier" and (is_made(scan, name, is_dict) or _is_given(scan, name, _MAPPINGS))
        if known and right is not None and _is_steady(scan, node, name):  # mail headers have a key more than once
            keys = pick(rng, [name, f"{name}.keys()"])
            return [
                (scan.span(key)[0], scan.span(right)[1], f"{scan.src(key)} in {keys}"),
                _before(scan, first, f"{scan.src(value)} = {name}[{scan.src(key)}]"),
            ]
    return None


# ---------------------------------------------------------------------------------------------------- functions


@kind(TABLE, "named-lambda", "Write the named lambda as a function.", group="modernise",
      needs=("function_definition",), weight=2)  # fmt: skip
def named_lambda(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("function_definition")):
        name, given = node.child_by_field_name("name"), node.child_by_field_name("parameters")
        rows = body(node)
        block = node.child_by_field_name("body")
        fields = {node.field_name_for_child(i) for i in range(len(node.children))}
        if node.children[0].type != "def" or "return_type" in fields or "type_parameters" in fields:
            continue
        if name is None or given is None or block is None or len(rows) != 1 or rows[0].type != "return_statement":
            continue
        plain = not any(
            True for _ in scan.inside(node, "typed_parameter", "typed_default_parameter", "comment", "yield")
        )
        if not plain or scan.parent(node).type == "decorated_definition" or not scan.alone(node):
            continue
        if len(rows[0].children) != 2 or "\n" in scan.src(given):
            continue
        value = rows[0].children[1]
        # A function has a name of its own.
        if looks_around(scan, value) or re.search(rf"\b{scan.src(name)}\.__|\b(?:pickle|__name__)\b", scan.text):
            continue
        text = f"({scan.src(value)})" if value.type == "expression_list" else scan.src(value)
        parameters = scan.src(given)[1:-1].strip().rstrip(",")
        return [scan.replace(node, f"{scan.src(name)} = lambda{' ' * bool(parameters)}{parameters}: {text}")]
    return None


# ---------------------------------------------------------------------------------------------------- with


def _with(rng: np.random.Generator, scan: Scan) -> Iterable[tuple[Node, list[Node], Node]]:
    """Plain with statements whose body stands on lines of its own: statement, items, colon."""
    for node in mixed(rng, scan.of("with_statement")):
        rows = body(node)
        clause = next((child for child in node.children if child.type == "with_clause"), None)
        colon = next((child for child in node.children if child.type == ":"), None)
        if clause is None or colon is None or not rows or node.children[0].type != "with":
            continue
        if scan.leads(node) and all(scan.leads(row) for row in rows) and scan.ends(rows[-1]):
            yield node, [child for child in clause.children if child.type == "with_item"], colon


@kind(TABLE, "open-close", "Open the file with a context manager.", group="modernise", needs=("with_statement",),
      weight=3)  # fmt: skip
def open_close(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    leaving = ("return_statement", "break_statement", "continue_statement", "yield", "raise_statement")
    for node, entries, colon in _with(rng, scan):
        value = entries[0].children[0] if len(entries) == 1 else node
        if value.type != "as_pattern" or any(True for _ in scan.inside(node, *leaving)):
            continue
        call, target = value.children[0], value.children[-1]
        known = r"(?:(?:io|gzip|bz2|lzma|codecs|tarfile)\.)?open$"  # what others open need not be closed by with
        opened = call.type == "call" and re.match(known, scan.src(call.children[0])) and not is_bound(scan, "open")
        starts = scan.tail(scan.span(colon)[1], node)
        if not opened or target.type != "as_pattern_target" or target.children[0].type != "identifier" or not starts:
            continue
        bound = [one for one in scan.targets if scan.src(one) == scan.src(target)]
        if sum(node.start_byte <= one.start_byte < node.end_byte for one in bound) != 1:
            continue  # another one would be closed
        if all(scan.text.startswith(scan.unit, at) for at in starts):
            name, end = scan.src(target), scan.line_end(scan.span(node)[1])
            return [
                (scan.span(node)[0], scan.span(colon)[1], f"{name} = {scan.src(call)}"),
                *((at, at + len(scan.unit), "") for at in starts),
                (end, end, f"{scan.newline}{scan.indent(node)}{name}.close()"),
            ]
    return None


@kind(TABLE, "try-pass", "Use contextlib.suppress instead of try and pass.", group="modernise",
      needs=("with_statement",), weight=2)  # fmt: skip
def try_pass(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node, entries, colon in _with(rng, scan):
        call = entries[0].children[0] if len(entries) == 1 else node
        called = scan.src(call.children[0]) if call.type == "call" else ""
        module = {"suppress": "suppress", "contextlib.suppress": "contextlib"}.get(called)
        if module is None or not is_imported(scan, node, "contextlib", module):
            continue
        names = [scan.src(item) for item in items(call.child_by_field_name("arguments"))]
        if not names or any("*" in name or "\n" in name for name in names):
            continue
        caught = names[0] if len(names) == 1 else f"({', '.join(names)})"
        indent, end = scan.indent(node), scan.line_end(scan.span(node)[1])
        return [
            (scan.span(node)[0], scan.span(colon)[0], "try"),
            (end, end, f"{scan.newline}{indent}except {caught}:{scan.newline}{indent}{scan.unit}pass"),
        ]
    return None


@kind(TABLE, "nested-with", "Open both in one with statement.", group="modernise", needs=("with_statement",))
def nested_with(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node, entries, colon in _with(rng, scan):
        starts = scan.tail(scan.span(colon)[1], node)
        header = scan.text[scan.span(node)[0] : scan.span(colon)[0]]
        if len(entries) != 2 or not starts or "\n" in header or (header.rstrip().endswith(")") and "(" in header[:6]):
            continue
        first, second = map(scan.src, entries)
        inner = f"{scan.newline}{scan.indent(node)}{scan.unit}with {second}:"
        return [
            (scan.span(node)[0], scan.span(colon)[1], f"with {first}:{inner}"),
            *((at, at, scan.unit) for at in starts),
        ]
    return None


# ---------------------------------------------------------------------------------------------------- branches


@kind(TABLE, "branches-for-value", "Write the branches as one conditional expression.", group="modernise",
      needs=("conditional_expression",), weight=1.5)  # fmt: skip
def branches_for_value(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("conditional_expression")):
        around = scan.parent(node)
        statement = around if around.type == "return_statement" else scan.parent(around)
        if around.type not in {"return_statement", "assignment"} or not scan.alone(statement) or not _flat(scan, node):
            continue
        if around.type == "assignment" and (
            statement.type != "expression_statement" or len(around.children) != 3 or not _flat(scan, around.children[0])
        ):
            continue
        start = "return" if around.type == "return_statement" else f"{scan.src(around.children[0])} ="
        first, _, condition, _, second = map(scan.src, node.children)
        lines = [(0, f"if {condition}:"), (1, f"{start} {first}"), (0, "else:"), (1, f"{start} {second}")]
        return _lines(scan, statement, lines)
    return None


def _is_bool(scan: Scan, node: Node) -> bool:
    """Whether a comparison answers True or False and nothing else."""
    left, *rest = node.children
    if len(rest) != 2:
        return False
    counted = is_call_of(scan, left, ("len",)) and rest[1].type == "integer"
    return counted or rest[0].type in {"in", "not in", "is", "is not"}


@kind(TABLE, "branches-for-truth", "Return the condition itself.", group="modernise", needs=("return_statement",))
def branches_for_truth(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("return_statement")):
        value = node.children[-1]
        # Other comparisons may answer with what is no bool: of arrays, of columns.
        truth = (
            value.type == "not_operator"
            or (value.type == "comparison_operator" and _is_bool(scan, value))
            or is_call_of(scan, value, ("isinstance", "hasattr", "callable", "issubclass"))
        )
        if truth and len(node.children) == 2 and scan.alone(node) and _flat(scan, node):
            lines = [(0, f"if {scan.src(value)}:"), (1, "return True"), (0, "else:"), (1, "return False")]
            return _lines(scan, node, lines if rng.random() < 0.5 else [*lines[:2], (0, "return False")])
    return None


@kind(TABLE, "nested-if", "Join the two conditions with and.", group="modernise", needs=("if_statement",))
def nested_if(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("if_statement")):
        condition = node.child_by_field_name("condition")
        colon = next((child for child in node.children if child.type == ":"), None)
        if node.child_by_field_name("alternative") is not None or condition is None or colon is None:
            continue
        if condition.type != "boolean_operator" or condition.children[1].type != "and" or not _flat(scan, condition):
            continue
        rows, starts = body(node), scan.tail(scan.span(colon)[1], node)
        if not starts or not all(scan.leads(row) for row in [node, *rows]):
            continue
        inner = f":{scan.newline}{scan.indent(node)}{scan.unit}if {scan.src(condition.children[2])}"
        return [
            (scan.span(condition.children[0])[1], scan.span(condition)[1], inner),
            *((at, at, scan.unit) for at in starts),
        ]
    return None


@kind(TABLE, "nested-else", "Use elif.", group="modernise", needs=("elif_clause",), weight=1.5)
def nested_else(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("elif_clause")):
        whole = scan.parent(node)
        start, word = scan.span(node)[0], scan.span(node.children[0])[1]
        starts = scan.tail(start, whole)
        if starts and scan.leads(node) and all(scan.leads(row) for row in body(node)):
            header = f"else:{scan.newline}{scan.indent(node)}{scan.unit}if"
            return [(start, word, header), *((at, at, scan.unit) for at in starts)]
    return None


@kind(TABLE, "else-after-return", "Leave out the else after a return.", group="modernise",
      needs=("return_statement", "raise_statement", "continue_statement", "break_statement"))  # fmt: skip
def else_after_return(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    leaving = {"return_statement", "raise_statement", "continue_statement", "break_statement"}
    for node in mixed(rng, scan.of("if_statement")):
        rows, around = body(node), scan.parent(node)
        if not rows or rows[-1].type not in leaving or node.child_by_field_name("alternative") is not None:
            continue
        row = [child for child in around.children if child.type in STATEMENTS]
        rest = row[row.index(node) + 1 :]
        if around.type != "block" or not rest or not scan.alone(rows[-1]) or not scan.leads(node):
            continue
        if len(rest) > 6 or not all(scan.leads(child) for child in rest):
            continue
        if starts := scan.tail(scan.span(node)[1], around):
            at = starts[0]
            head = f"{scan.indent(node)}else:{scan.newline}{scan.unit}"
            return [(at, at, head), *((start, start, scan.unit) for start in starts[1:])]
    return None


@kind(TABLE, "temporary-swap", "Swap the two without a temporary name.", group="modernise",
      needs=("expression_list",), weight=2)  # fmt: skip
def temporary_swap(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("assignment")):
        left, right = node.children[0], node.children[-1]
        if left.type != "pattern_list" or right.type != "expression_list" or not scan.alone(scan.parent(node)):
            continue
        targets, values = list(map(scan.src, items(left))), list(map(scan.src, items(right)))
        plain = all(item.type in {"identifier", "subscript", "attribute"} for item in items(left))
        name = scan.fresh("tmp", "temp", "swap")
        plain = plain and not any(True for _ in scan.inside(left, "call", "await"))
        if plain and len(targets) == 2 and values == targets[::-1] and name is not None and _flat(scan, node):
            a, b = targets
            return _lines(scan, scan.parent(node), [(0, f"{name} = {a}"), (0, f"{a} = {b}"), (0, f"{b} = {name}")])
    return None
