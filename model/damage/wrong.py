"""Code that parses and says the wrong thing, or has lost a word: names, operators, arguments, numbers, conditions."""

import re
from collections.abc import Iterable
from itertools import pairwise

import numpy as np

from model.damage.scan import BUILTINS, KEYWORDS, Node, Scan, items, mixed, pick
from model.damage.types import Edit, Table, kind

TABLE: Table = {}

_COMPARE = {"<": ("<=", ">"), "<=": ("<", ">="), ">": (">=", "<"), ">=": (">", "<=")}
_EQUAL = {"==": "!=", "!=": "==", "is": "is not", "is not": "is", "in": "not in", "not in": "in"}
_ARITHMETIC = {
    "+": "-", "-": "+", "*": "/", "/": "*", "//": "/", "%": "//", "**": "*", "&": "|", "|": "&", "^": "&", "<<": ">>",
    ">>": "<<", "+=": "-=", "-=": "+=", "*=": "/=", "/=": "*=", "//=": "/=", "|=": "&=", "&=": "^=", "^=": "&=",
}  # fmt: skip
_ONE_WAY = {"-", "/", "//", "%", "**", "<<", ">>", "@"}
_TWINS: dict[str, str] = {}
for _pair in (
    "min max", "any all", "append extend", "startswith endswith", "lower upper", "lstrip rstrip", "keys values",
    "add remove", "sorted reversed", "find rfind", "split rsplit", "floor ceil", "encode decode", "read write",
    "hasattr getattr", "setattr getattr", "isinstance issubclass", "str repr", "int float", "list set", "popleft pop",
    "push pop", "appendleft append", "update add", "insert append", "discard remove", "sum len", "first last",
    "left right", "start end", "stop start", "width height", "row column", "rows columns", "x y", "dumps loads",
    "dump load", "readline readlines", "union intersection", "isfile isdir", "is_file is_dir", "dirname basename",
    "parent name", "zip enumerate", "before after", "source target", "key value", "old new", "KeyError IndexError",
    "ValueError TypeError", "AttributeError KeyError", "OSError ValueError",
):  # fmt: skip
    _first, _second = _pair.split()
    _TWINS.setdefault(_first, _second)
    _TWINS.setdefault(_second, _first)
_INDEX = re.compile(r"^(i|j|k|n|m|idx|index|pos|position|start|end|lo|hi|low|high|mid|left|right|offset|size|length)$")
_CALLED = re.compile(r"\b([^\W\d]\w*)\(")


def _fields(node: Node, *names: str) -> list[Node]:
    return [child for name in names if (child := node.child_by_field_name(name)) is not None]


# ---------------------------------------------------------------------------------------------------- names


@kind(TABLE, "confused-name", "Use the right variable.", group="fix", needs=("identifier",), weight=3)
def confused_name(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    targets = {node.id for node in scan.targets}
    known = sorted({scan.src(node) for node in scan.targets} - {"self", "cls", "_"})
    if len(known) < 2:
        return None
    for node in mixed(rng, scan.of("identifier")):
        name = scan.src(node)
        callee = scan.parent(node).type == "call" and scan.parent(node).children[0].id == node.id
        if name in known and node.id not in targets and not callee and scan.variable(node):
            return [scan.replace(node, pick(rng, [other for other in known if other != name]))]
    return None


@kind(TABLE, "confused-attribute", "Use the right attribute.", group="fix", needs=("attribute",), weight=1.5)
def confused_attribute(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    near = scan.text[max(0, scan.start - 3000) : scan.end + 3000]
    for node in mixed(rng, scan.of("attribute")):
        base, last = node.children[0], node.children[-1]
        called = scan.parent(node).type == "call" and scan.parent(node).children[0].id == node.id
        if base.type != "identifier" or last.type != "identifier":
            continue
        found = re.findall(rf"\b{re.escape(scan.src(base))}\.([^\W\d]\w*)\b(\(?)", near)
        others = sorted({name for name, bracket in found if bool(bracket) == called} - {scan.src(last)} - KEYWORDS)
        if others:
            return [scan.replace(last, pick(rng, others))]
    return None


@kind(TABLE, "confused-call", "Call the right function.", group="fix", needs=("call",))
def confused_call(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    callees = [node.children[0] for node in scan.of("call") if node.children[0].type == "identifier"]
    if not callees:
        return None
    known = {scan.src(node) for node in callees}
    known |= set(_CALLED.findall(scan.text, max(0, scan.start - 1500), scan.end + 1500)) - KEYWORDS
    node = pick(rng, callees)
    name = scan.src(node)
    others = sorted(other for other in known if other != name and other[:1].isupper() == name[:1].isupper())
    return [scan.replace(node, pick(rng, others))] if others else None


@kind(TABLE, "wrong-twin", "Use the counterpart that is meant (min or max, append or extend, ...).", group="fix",
      needs=("identifier",), weight=2)  # fmt: skip
def wrong_twin(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("identifier")):
        name = scan.src(node)
        if name not in _TWINS:
            continue
        around = scan.parent(node)
        member = around.type == "attribute" and around.children[0].id != node.id
        callee = around.type == "call" and around.children[0].id == node.id
        caught = around.type in {"except_clause", "raise_statement"} or (
            callee and scan.parent(around).type == "raise_statement"
        )
        if member or caught or (callee and name in BUILTINS):
            return [scan.replace(node, _TWINS[name])]
    return None


# ---------------------------------------------------------------------------------------------------- operators


def _operators(scan: Scan, table: Iterable[str]) -> list[Node]:
    within = {"binary_operator", "comparison_operator", "boolean_operator", "augmented_assignment"}
    return [sign for sign in scan.of(*table) if scan.parent(sign).type in within]


@kind(TABLE, "swapped-comparison", "Use the right comparison sign.", group="fix", needs=tuple(_COMPARE), weight=3)
def swapped_comparison(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    signs = _operators(scan, _COMPARE)
    if not signs:
        return None
    sign = pick(rng, signs)
    return [scan.replace(sign, pick(rng, _COMPARE[sign.type]))]


@kind(TABLE, "swapped-equality", "Ask for equality, identity or membership the right way round.", group="fix",
      needs=tuple(_EQUAL), weight=2)  # fmt: skip
def swapped_equality(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    signs = [sign for sign in _operators(scan, _EQUAL) if " " not in sign.type or scan.src(sign) == sign.type]
    if not signs:
        return None
    sign = pick(rng, signs)
    return [scan.replace(sign, _EQUAL[sign.type])]


@kind(TABLE, "is-for-equals", "Compare values with ==, not identity.", group="fix", needs=("==", "!="), weight=0.7)
def is_for_equals(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for sign in mixed(rng, _operators(scan, ("==", "!="))):
        if scan.parent(sign).children[-1].type in {"string", "integer", "tuple", "list"}:
            return [scan.replace(sign, "is" if sign.type == "==" else "is not")]
    return None


@kind(TABLE, "swapped-arithmetic", "Use the right operator.", group="fix", needs=tuple(_ARITHMETIC), weight=2)
def swapped_arithmetic(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for sign in mixed(rng, _operators(scan, _ARITHMETIC)):
        around = scan.parent(sign)
        texts = any(child.type in {"string", "concatenated_string", "list"} for child in around.children)
        if not texts and scan.above(sign, "type") is None:
            return [scan.replace(sign, _ARITHMETIC[sign.type])]
    return None


@kind(TABLE, "swapped-logic", "Join the conditions with the right word, and or or.", group="fix", needs=("and", "or"),
      weight=1.5)  # fmt: skip
def swapped_logic(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    word = pick(rng, scan.of("and", "or"))
    return [scan.replace(word, "or" if word.type == "and" else "and")]


@kind(TABLE, "lost-update", "Add to the variable instead of overwriting it.", group="fix",
      needs=("augmented_assignment",))  # fmt: skip
def lost_update(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    node = pick(rng, scan.of("augmented_assignment"))
    operator = node.child_by_field_name("operator")
    return [scan.replace(operator, "=")] if operator is not None else None


@kind(TABLE, "lost-minus", "Put back the lost minus sign.", group="fix", needs=("unary_operator",))
def lost_minus(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    signs = [node.children[0] for node in scan.of("unary_operator") if node.children[0].type == "-"]
    return [scan.replace(pick(rng, signs), "")] if signs else None


# ---------------------------------------------------------------------------------------------------- order


def _swap(rng: np.random.Generator, scan: Scan, entries: list[Node]) -> list[Edit] | None:
    pairs = [(a, b) for a, b in pairwise(entries) if scan.src(a) != scan.src(b)]
    if not pairs:
        return None
    a, b = pick(rng, pairs)
    return [scan.replace(a, scan.src(b)), scan.replace(b, scan.src(a))]


@kind(TABLE, "swapped-arguments", "Pass the arguments in the right order.", group="fix", needs=("argument_list",),
      weight=2)  # fmt: skip
def swapped_arguments(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("call")):
        if scan.src(node.children[0]) in {"max", "min"}:
            continue
        around = node.child_by_field_name("arguments")
        if around is not None and around.type == "argument_list":
            plain = [
                item
                for item in items(around)
                if item.type not in {"keyword_argument", "list_splat", "dictionary_splat"}
            ]
            if edits := _swap(rng, scan, plain):
                return edits
    return None


@kind(TABLE, "swapped-elements", "Put the elements in the right order.", group="fix", weight=1,
      needs=("tuple", "expression_list", "pattern_list", "subscript", "tuple_pattern"))  # fmt: skip
def swapped_elements(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    nodes = scan.of("tuple", "expression_list", "pattern_list", "subscript", "tuple_pattern")
    for node in mixed(rng, nodes):
        entries = node.children_by_field_name("subscript") if node.type == "subscript" else items(node)
        operand = scan.parent(node).type in {"comparison_operator", "except_clause", "type", "generic_type"}
        if len(entries) == 2 and not operand and (edits := _swap(rng, scan, entries)):
            return edits
    return None


@kind(TABLE, "swapped-operands", "Put the operands in the right order.", group="fix", weight=1.5,
      needs=("binary_operator", "comparison_operator"))  # fmt: skip
def swapped_operands(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    texts = _texts(scan)
    for node in mixed(rng, scan.of("binary_operator", "comparison_operator")):
        if len(node.children) != 3:
            continue
        left, sign, right = node.children
        joined = sign.type == "+" and any(scan.src(side) in texts or side.type == "list" for side in (left, right))
        if (sign.type in _ONE_WAY or sign.type in _COMPARE or joined) and scan.src(left) != scan.src(right):
            return [scan.replace(left, scan.src(right)), scan.replace(right, scan.src(left))]
    return None


def _texts(scan: Scan) -> set[str]:
    """The variables that hold a text or a list, to be seen from a literal that is assigned to them."""
    found = set()
    for node in scan.of("assignment"):
        right = node.child_by_field_name("right")
        if right is not None and right.type in {"string", "list", "list_comprehension", "concatenated_string"}:
            found.add(scan.src(node.children[0]))
    return found


# ---------------------------------------------------------------------------------------------------- numbers


def _shift(rng: np.random.Generator, scan: Scan, node: Node) -> list[Edit] | None:
    """One more or one less than what stands there."""
    up = rng.random() < 0.5
    source = scan.src(node)
    if node.type == "integer":
        if not source.isdecimal():
            return None
        value = int(source)
        return [scan.replace(node, str(value + 1 if up or value == 0 else value - 1))]
    if node.type == "unary_operator" and source[:1] == "-" and source[1:].isdecimal():
        return [scan.replace(node, str(int(source) + (1 if up else -1)))]
    if node.type in {"identifier", "attribute", "call", "subscript", "binary_operator"}:
        if node.type == "binary_operator" and node.children[1].type not in {"+", "-"}:
            return None
        spaces = " " if " " in source or node.type != "identifier" or rng.random() < 0.8 else ""
        end = scan.span(node)[1]
        return [(end, end, f"{spaces}{'+' if up else '-'}{spaces}1")]
    return None


@kind(TABLE, "range-off-by-one", "Correct the bounds of the range.", group="fix", needs=("call",), weight=2)
def range_off_by_one(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    calls = [node for node in scan.of("call") if scan.src(node.children[0]) == "range"]
    for node in mixed(rng, calls):
        entries = items(node.child_by_field_name("arguments"))
        if len(entries) == 2 and scan.src(entries[0]) == "1" and rng.random() < 0.4:
            return [(scan.span(entries[0])[0], scan.span(entries[1])[0], "")]
        for entry in mixed(rng, entries[:2]):
            if edits := _shift(rng, scan, entry):
                return edits
    return None


@kind(TABLE, "slice-off-by-one", "Correct the bounds of the slice.", group="fix", needs=("slice",), weight=1.5)
def slice_off_by_one(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("slice")):
        for entry in mixed(rng, items(node)):
            if rng.random() < 0.25 and len(items(node)) > 1:
                return [scan.replace(entry, "")]
            if edits := _shift(rng, scan, entry):
                return edits
    return None


@kind(TABLE, "index-off-by-one", "Correct the index.", group="fix", needs=("subscript",), weight=1.5)
def index_off_by_one(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("subscript")):
        entries = node.children_by_field_name("subscript")
        if len(entries) != 1:
            continue
        entry = entries[0]
        counts = entry.type in {"integer", "unary_operator"} or _INDEX.match(scan.src(entry))
        if counts and (edits := _shift(rng, scan, entry)):
            return edits
    return None


@kind(TABLE, "lost-one", "Put back the lost + 1 or - 1.", group="fix", needs=("binary_operator",), weight=2)
def lost_one(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("binary_operator")):
        left, sign, right = node.children[0], node.children[1], node.children[-1]
        if sign.type in {"+", "-"} and scan.src(right) == "1":
            return [(scan.span(left)[1], scan.span(right)[1], "")]
        if sign.type == "+" and scan.src(left) == "1":
            return [(scan.span(left)[0], scan.span(right)[0], "")]
    return None


@kind(TABLE, "wrong-number", "Correct the number.", group="fix", needs=("integer",))
def wrong_number(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    small = [
        node
        for node in scan.of("integer")
        if scan.src(node) in {"0", "1", "2", "3", "4", "8", "10", "16"}
        and scan.parent(node).type
        in {"comparison_operator", "return_statement", "assignment", "augmented_assignment", "binary_operator"}
    ]
    return _shift(rng, scan, pick(rng, small)) if small else None


# ---------------------------------------------------------------------------------------------------- conditions


def _conditions(scan: Scan) -> list[Node]:
    found = [
        node.child_by_field_name("condition") for node in scan.of("if_statement", "elif_clause", "while_statement")
    ]
    found += [node.children[1] for node in scan.of("if_clause")]
    found += [node.children[2] for node in scan.of("conditional_expression")]
    return [node for node in found if node is not None]


@kind(TABLE, "inverted-condition", "Turn the condition round: it is inverted.", group="fix", weight=2,
      needs=("if_statement", "elif_clause", "while_statement", "if_clause", "conditional_expression"))  # fmt: skip
def inverted_condition(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, _conditions(scan)):
        if node.type in {"not_operator", "true"}:
            continue
        start, end = scan.span(node)
        if node.type in {"boolean_operator", "conditional_expression", "lambda", "named_expression"}:
            return [(start, start, "not ("), (end, end, ")")]
        return [(start, start, "not ")]
    return None


@kind(TABLE, "lost-not", "Put back the lost not.", group="fix", needs=("not",), weight=2)
def lost_not(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    word = pick(rng, scan.of("not"))
    start, end = scan.span(word)
    if scan.parent(word).type == "is not":
        return [(scan.span(scan.parent(word).children[0])[1], end, "")]
    return [(start, end + (scan.text[end : end + 1] == " "), "")]


@kind(TABLE, "stuck-condition", "Put back the condition that was replaced by a constant.", group="fix",
      needs=("if_statement", "while_statement", "return_statement"), weight=0.5)  # fmt: skip
def stuck_condition(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    found = _conditions(scan)
    for node in scan.of("return_statement"):
        found += [
            child
            for child in node.children
            if child.type in {"comparison_operator", "boolean_operator", "not_operator"}
        ]
    for node in mixed(rng, found):
        if node.type not in {"true", "false"}:
            return [scan.replace(node, "True" if rng.random() < 0.7 else "False")]
    return None


@kind(TABLE, "wrong-boolean", "Use the other truth value.", group="fix", needs=("true", "false"))
def wrong_boolean(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    node = pick(rng, scan.of("true", "false"))
    return [scan.replace(node, "False" if node.type == "true" else "True")]


@kind(TABLE, "swapped-jump", "Leave the loop or go on with it, as is meant: break or continue.", group="fix",
      needs=("break_statement", "continue_statement"))  # fmt: skip
def swapped_jump(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    node = pick(rng, scan.of("break_statement", "continue_statement"))
    return [scan.replace(node, "continue" if node.type == "break_statement" else "break")]


# ---------------------------------------------------------------------------------------------------- lost words


def _lost_word(rng: np.random.Generator, scan: Scan, statement: str, word: str) -> list[Edit] | None:
    for node in mixed(rng, scan.of(statement)):
        if len(node.children) == 2 and node.children[0].type == word:
            return [(scan.span(node)[0], scan.span(node.children[1])[0], "")]
    return None


@kind(TABLE, "lost-return", "Put back the lost return.", group="fix", needs=("return_statement",), weight=2)
def lost_return(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    return _lost_word(rng, scan, "return_statement", "return")


@kind(TABLE, "lost-raise", "Put back the lost raise.", group="fix", needs=("raise_statement",))
def lost_raise(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    return _lost_word(rng, scan, "raise_statement", "raise")


@kind(TABLE, "lost-await", "Put back the lost await.", group="fix", needs=("await",), weight=2)
def lost_await(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    return _lost_word(rng, scan, "await", "await")


@kind(TABLE, "lost-yield", "Put back the lost yield.", group="fix", needs=("yield",))
def lost_yield(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    return _lost_word(rng, scan, "yield", "yield")


@kind(TABLE, "lost-self", "Put back the lost self.", group="fix", needs=("attribute",), weight=2)
def lost_self(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    members = [node for node in scan.of("attribute") if scan.src(node.children[0]) in {"self", "cls"}]
    if not members:
        return None
    node = pick(rng, members)
    return [(scan.span(node)[0], scan.span(node.children[-1])[0], "")]


@kind(TABLE, "missing-self", "Put back the missing first parameter of the method.", group="fix", needs=("parameters",),
      weight=0.8)  # fmt: skip
def missing_self(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("parameters")):
        entries = items(node)
        if entries and scan.src(entries[0]) in {"self", "cls"}:
            end = scan.span(entries[1])[0] if len(entries) > 1 else scan.span(entries[0])[1]
            return [(scan.span(entries[0])[0], end, "")]
    return None


@kind(TABLE, "lost-call", "Call the function instead of naming it.", group="fix", needs=("call",))
def lost_call(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("argument_list")):
        if scan.src(node) == "()" and scan.parent(node).type == "call":
            return [scan.replace(node, "")]
    return None


@kind(TABLE, "lost-star", "Unpack the argument with * or **.", group="fix", needs=("list_splat", "dictionary_splat"))
def lost_star(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("list_splat", "dictionary_splat")):
        if scan.parent(node).type == "argument_list":
            rest = items(scan.parent(node))
            after = rest[rest.index(node) + 1 :]
            behind = any(item.type in {"keyword_argument", "dictionary_splat"} for item in rest[: rest.index(node)])
            if not behind or not after:
                return [scan.replace(node.children[0], "")]
    return None


@kind(TABLE, "lost-operand", "Put back the lost part of the expression.", group="fix",
      needs=("binary_operator", "boolean_operator"))  # fmt: skip
def lost_operand(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("binary_operator", "boolean_operator")):
        if any(side.type == "string" for side in (node.children[0], node.children[-1])):
            continue
        if scan.above(node, "type") is None:
            keep = node.children[0] if rng.random() < 0.5 else node.children[-1]
            return [scan.replace(node, scan.src(keep))]
    return None


@kind(TABLE, "lost-wrapper", "Put back the function call around the value.", group="fix", needs=("call",))
def lost_wrapper(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("call")):
        arguments = node.child_by_field_name("arguments")
        callee = node.children[0]
        if arguments is None or arguments.type != "argument_list" or scan.src(callee) not in _WRAPPERS:
            continue
        plain = [item for item in items(arguments) if item.type not in {"keyword_argument", "list_splat"}]
        if plain and scan.parent(node).type != "expression_statement":
            chosen = pick(rng, plain)
            return [scan.replace(node, scan.safe(node, scan.src(chosen)) if chosen.child_count else scan.src(chosen))]
    return None


_WRAPPERS = {
    "abs", "bool", "bytes", "dict", "enumerate", "float", "frozenset", "int", "iter", "len", "list", "max", "min",
    "next", "repr", "reversed", "round", "set", "sorted", "str", "sum", "tuple", "type", "any", "all", "super",
}  # fmt: skip


@kind(TABLE, "lost-slice", "Put back the lost index or slice.", group="fix", needs=("subscript",))
def lost_slice(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("subscript")):
        entries = node.children_by_field_name("subscript")
        target = node.id in {side.id for side in _assigned(scan)}
        counts = all(entry.type in {"slice", "integer", "unary_operator"} for entry in entries)
        if entries and counts and not target and scan.above(node, "type") is None:
            return [(scan.span(node.children[0])[1], scan.span(node)[1], "")]
    return None


def _assigned(scan: Scan) -> list[Node]:
    return [side for node in scan.of("assignment", "augmented_assignment") for side in _fields(node, "left")]


@kind(TABLE, "lost-element", "Put back the lost element.", group="fix", needs=("list", "tuple", "dictionary", "set"),
      weight=0.6)  # fmt: skip
def lost_element(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("list", "tuple", "dictionary", "set")):
        entries = items(node)
        if len(entries) == 1 and node.type == "list":
            return [scan.replace(entries[0], "")]
        if len(entries) > 2:
            i = int(rng.integers(len(entries)))
            if i + 1 < len(entries):
                return [(scan.span(entries[i])[0], scan.span(entries[i + 1])[0], "")]
            return [(scan.span(entries[i - 1])[1], scan.span(entries[i])[1], "")]
    return None


@kind(TABLE, "lost-line", "Put back the lost statement.", group="fix", weight=0.8,
      needs=("expression_statement",))  # fmt: skip
def lost_line(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("expression_statement")):
        inner = node.children[0]
        # What is left must miss it: a value that goes round a loop or is read again, a call on something known.
        told = inner.type in {"assignment", "augmented_assignment"} and inner.children[0].type == "identifier"
        called = inner.type == "call" and inner.children[0].type == "attribute"
        rest = [child for child in scan.parent(node).children if child.is_named and child.type != "comment"]
        if not (told or called) or not scan.alone(node) or len(rest) < 2:
            continue
        subject = inner.children[0] if told else inner.children[0].children[0]
        if len(scan.used(scan.src(subject))) < (3 if told else 2):
            continue
        start, end = scan.line_start(scan.span(node)[0]), scan.line_end(scan.span(node)[1])
        after = scan.text.find("\n", end, scan.end)
        if after >= 0:
            return [(start, after + 1, "")]
        before = scan.line_start(start - 1) if start else 0
        if before >= scan.start and start:
            return [(scan.line_end(before), end, "")]
    return None


@kind(TABLE, "mutable-default", "Use None as the default, not a value shared by all calls.", group="fix",
      needs=("default_parameter", "typed_default_parameter"))  # fmt: skip
def mutable_default(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("default_parameter", "typed_default_parameter")):
        name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
        if name is None or value is None or value.type != "none":
            continue
        asked = re.search(
            rf"\b{re.escape(scan.src(name))} (?:is None|or|= \[\]|= \{{\}})", scan.text[scan.start : scan.end]
        )
        if asked:
            return [scan.replace(value, pick(rng, ["[]", "{}"]))]
    return None
