"""Expressions and words as they were written once: the clean side has the modern idiom, the damage the old one.

The meaning stays, as far as the types that the modern form shows allow (``x in (1, 2)`` against ``x == 1 or x == 2``).
Names that only the old form needs (``os``, ``List``) are not imported: the edits stay in the block.
"""

import re
from collections.abc import Iterable

import numpy as np

from model.damage.scan import (
    AND,
    ARITHMETIC,
    COMPARE,
    COMPREHENSIONS,
    KEYWORDS,
    LOOSE,
    NOT,
    OR,
    Node,
    Scan,
    items,
    mixed,
    parameter,
    pick,
)
from model.damage.sure import (
    is_bound,
    is_call_of,
    is_container,
    is_dict,
    is_imported,
    is_made,
    is_plain_value,
    looks_around,
)
from model.damage.types import Edit, Table, kind

TABLE: Table = {}

# ---------------------------------------------------------------------------------------------------- f-strings

_PLAIN_F = re.compile(r"[fF]('''|\"\"\"|'|\")$")
_PERCENT = re.compile(r"(?!0)\d*(\.\d+)?[feEgG]$")
"""What says the same of a float in both ways of formatting: "-" does not, zeros are put before no nan, and "d" takes no
3.7 in the new one. Of other numbers (Decimal, arrays) it does not say the same."""
_LOOSE_VALUES = {"expression_list", "pattern_list", "yield", "named_expression", "list_splat", "lambda"}
Part = str | tuple[Node, str, str]
"""Text between the braces of an f-string, or a value with its conversion and format."""


def _f_parts(scan: Scan, string: Node) -> list[Part] | None:
    """What an f-string is made of, or None where another form cannot say the same."""
    if not _PLAIN_F.match(scan.src(string.children[0])) or scan.parent(string).type == "concatenated_string":
        return None
    parts: list[Part] = []
    at = scan.span(string.children[0])[1]
    for child in string.children[1:]:
        start, end = scan.span(child)
        if child.type == "interpolation":
            parts.append(scan.text[at:start])
            value = child.child_by_field_name("expression")
            # What a model writes as ``{ x}`` nobody would take.
            if value is None:
                return None
            low, high = scan.span(value)
            if (low > start + 1 and scan.text[low] != "{") or scan.text[high].isspace():
                return None
            types = [part.type for part in child.children if part.type not in {"{", "}"}]
            known = {"type_conversion", "format_specifier"}
            if value.type in _LOOSE_VALUES or any(name not in known for name in types[1:]):
                return None
            conversion = next((scan.src(part) for part in child.children if part.type == "type_conversion"), "")
            form = next((scan.src(part)[1:] for part in child.children if part.type == "format_specifier"), "")
            if "{" in form or any(
                sign in scan.src(value) for sign in ("\n", "\\", "#", scan.src(string.children[-1])[0])
            ):
                return None
            parts.append((value, conversion, form))
            at = end
    parts.append(scan.text[at : scan.span(string.children[-1])[0]])
    texts = [part for part in parts if isinstance(part, str)]
    return parts if len(texts) < len(parts) and not any("\\N" in text for text in texts) else None


def _f_strings(rng: np.random.Generator, scan: Scan) -> Iterable[tuple[Node, str, list[Part]]]:
    """f-strings in random order, with their quote and their parts."""
    for string in mixed(rng, scan.of("string")):
        if (parts := _f_parts(scan, string)) is not None:
            yield string, scan.src(string.children[-1]), parts


@kind(TABLE, "format-call", "Use an f-string instead of str.format.", group="modernise", needs=("string",), weight=2)
def format_call(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for string, quote, parts in _f_strings(rng, scan):
        text = "".join(
            part if isinstance(part, str) else f"{{{part[1]}{':' if part[2] else ''}{part[2]}}}" for part in parts
        )
        values = ", ".join(scan.src(part[0]) for part in parts if not isinstance(part, str))
        return [scan.replace(string, f"{quote}{text}{quote}.format({values})")]
    return None


@kind(TABLE, "percent-format", "Use an f-string instead of % formatting.", group="modernise", needs=("string",),
      weight=2.5)  # fmt: skip
def percent_format(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for string, quote, parts in _f_strings(rng, scan):
        text = ""
        for part in parts:
            if isinstance(part, str):
                text += part.replace("{{", "{").replace("}}", "}").replace("%", "%%")
            elif not part[2]:
                text += "%" + (part[1][1:] or "s")
            elif not part[1] and _PERCENT.match(part[2]) and is_call_of(scan, part[0], ("float",)):
                text += "%" + part[2]
            else:
                break
        else:
            values = [part[0] for part in parts if not isinstance(part, str)]
            bare = len(values) == 1 and values[0].type in {"identifier", "attribute", "call"} and rng.random() < 0.7
            bare = bare and not _may_be_tuple(scan, scan.src(values[0]))
            joined = ", ".join(map(scan.src, values))
            right = joined if bare else f"({joined}{',' * (len(values) == 1)})"
            return [scan.replace(string, scan.safe(string, f"{quote}{text}{quote} % {right}", ARITHMETIC))]
    return None


def _may_be_tuple(scan: Scan, name: str) -> bool:
    """Whether the text shows that a value is one: its parts would be put into the text one by one."""
    known = re.escape(name)
    shown = rf"""(?mx) \*{known}\b | ^[ \t]*{known}[ ]=[ ](?:\(|tuple\(|[^\n(\[{{]*,) | \b{known}\[\d+\]
        | \bisinstance\({known},[^\n]*tuple | ^[ \t]*[\w., ]+,[ \w.,]*=[ ]{known}[ ]*$"""
    return re.search(
        r"(?:shape|size|version_info|args|exc_info\(\)|split\(.*\)|partition\(.*\))$", name
    ) is not None or (re.search(shown, scan.text) is not None)


@kind(TABLE, "joined-text", "Use an f-string instead of + and str().", group="modernise", needs=("string",))
def joined_text(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for string, quote, parts in _f_strings(rng, scan):
        if len(quote) > 1 or len(parts) > 7 or any(not isinstance(part, str) and part[2] for part in parts):
            continue
        pieces = []
        for part in parts:
            if not isinstance(part, str):
                name = {"!r": "repr", "!a": "ascii"}.get(part[1], "str")
                if is_bound(scan, name):
                    break
                pieces.append(f"{name}({scan.src(part[0])})")
            elif part:
                pieces.append(quote + part.replace("{{", "{").replace("}}", "}") + quote)
        else:
            binds = ARITHMETIC if scan.parent(string).type != "binary_operator" else LOOSE
            return [scan.replace(string, scan.safe(string, " + ".join(pieces), binds) if pieces[1:] else pieces[0])]
    return None


@kind(TABLE, "repr-call", "Use a conversion, !r or !s, instead of a call in the f-string.", group="modernise",
      needs=("string",))  # fmt: skip
def repr_call(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    values = [part for string in scan.of("string") for part in string.children if part.type == "interpolation"]
    for node in mixed(rng, values):
        value = node.child_by_field_name("expression")
        types = [part.type for part in node.children]
        if value is None or "type_conversion" not in types or "=" in types or value.type in _LOOSE_VALUES:
            continue
        conversion = node.children[types.index("type_conversion")]
        name = {"!r": "repr", "!s": "str", "!a": "ascii"}.get(scan.src(conversion))
        if name is None or is_bound(scan, name):
            continue  # the grammar takes any letter
        start, end = scan.span(value)
        return [(start, start, f"{name}("), (end, end, ")"), scan.replace(conversion, "")]
    return None


@kind(TABLE, "u-prefix", "Remove the u before the string.", group="modernise", needs=("string",), weight=0.08)
def u_prefix(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for string in mixed(rng, scan.of("string")):
        start = scan.span(string)[0]
        if (
            scan.parent(string).type not in {"expression_statement", "concatenated_string"}
            and scan.text[start] in "'\""
        ):
            return [(start, start, "u")]
    return None


# ---------------------------------------------------------------------------------------------------- paths

_ASKED = {"exists": "exists", "is_file": "isfile", "is_dir": "isdir", "is_symlink": "islink", "is_absolute": "isabs"}


def _path_call(scan: Scan, node: Node) -> Node | None:
    """The argument of ``Path(x)``, where the module has that name from pathlib."""
    if node.type != "call":
        return None
    name = scan.src(node.children[0])
    known = {"Path": ("pathlib", "Path"), "pathlib.Path": ("pathlib", "pathlib")}.get(name)
    if known is None or not is_imported(scan, node, *known):
        return None
    entries = items(node.child_by_field_name("arguments"))
    plain = len(entries) == 1 and entries[0].type not in {"list_splat", "keyword_argument", "generator_expression"}
    return entries[0] if plain else None


def _is_clean(scan: Scan, node: Node) -> bool:
    """Whether it is a path that says the same with pathlib: no slash at its end, which counts for a file, no dots, no
    empty text, which is this folder to pathlib, and neither bytes nor the number of an open file."""
    if scan.src(node) == "__file__":
        return True
    text = scan.src(node.children[1]) if node.type == "string" and len(node.children) > 2 else ""
    plain = node.type == "string" and scan.src(node.children[0]) in {"'", '"'} and len(node.children) == 3
    return plain and re.fullmatch(r"(?:/?(?:\w[\w.-]*|\.\w[\w.-]*))(?:/\.?\w[\w.-]*)*", text) is not None


@kind(TABLE, "os-path", "Use pathlib instead of os.path.", group="modernise", needs=("attribute", "binary_operator"),
      weight=2)  # fmt: skip
def os_path(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    if not scan.vocabulary["Path"]:
        return None
    for node in mixed(rng, scan.of("call", "attribute", "binary_operator")):
        new = _joined(scan, node) if node.type == "binary_operator" else _asked(scan, node)
        if new is not None:
            return [scan.replace(node, new)]
    return None


def _asked(scan: Scan, node: Node) -> str | None:
    if node.type == "attribute":
        given = _path_call(scan, node.children[0])
        # An attribute that is called is a method of something else.
        called = scan.parent(node).type == "call" and scan.parent(node).children[0].id == node.id
        member = scan.src(node.children[-1])
        if given is None or called or member not in {"name", "parent"} or not _is_clean(scan, given):
            return None
        asked = f"os.path.basename({scan.src(given)})"
        return asked if member == "name" else f"Path(os.path.dirname({scan.src(given)}))"
    method = node.children[0]
    if method.type != "attribute" or scan.src(node.child_by_field_name("arguments")) != "()":
        return None
    name, base = scan.src(method.children[-1]), method.children[0]
    if name in _ASKED and (given := _path_call(scan, base)) is not None and _is_clean(scan, given):
        return f"os.path.{_ASKED[name]}({scan.src(given)})"
    if scan.src(method) == "Path.cwd" and is_imported(scan, node, "pathlib", "Path"):
        return "Path(os.getcwd())"
    return None


def _joined(scan: Scan, node: Node) -> str | None:
    """``a / "b" / c`` as os.path.join: a division by or of a text can only be one of paths."""
    parts: list[Node] = []
    left = node
    while left.type == "binary_operator" and left.children[1].type == "/":
        parts.insert(0, left.children[-1])
        left = left.children[0]
    around = scan.parent(node)
    if not parts or around.type == "binary_operator" or not any(part.type == "string" for part in parts):
        return None
    if any("\n" in scan.src(part) or scan.src(part)[:1] == "*" for part in [left, *parts]):
        return None
    base = _path_call(scan, left)
    if base is None:
        return None
    call = f"os.path.join({', '.join(map(scan.src, [base, *parts]))})"
    opened = around.type == "argument_list" and scan.src(scan.parent(around).children[0]) == "open"
    if opened and (not _is_clean(scan, parts[-1]) or is_bound(scan, "open")):
        return None
    return call if opened else f"Path({call})"


@kind(TABLE, "open-read", "Use read_text or write_text instead of an open file that nobody closes.", group="modernise",
      needs=("call",))  # fmt: skip
def open_read(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("call")):
        method, arguments = node.children[0], node.child_by_field_name("arguments")
        if method.type != "attribute" or arguments is None or arguments.type != "argument_list":
            continue
        name, base, entries = scan.src(method.children[-1]), method.children[0], items(arguments)
        known = {"read_text": {"encoding", "errors"}, "read_bytes": set[str]()}.get(name)
        if known is None or not all(
            entry.type == "keyword_argument" and scan.src(entry.children[0]) in known for entry in entries
        ):
            continue
        path = _path_call(scan, base)
        if path is None or not _is_clean(scan, path) or is_bound(scan, "open"):
            continue
        given = [scan.src(path), *(['"rb"'] if name == "read_bytes" else [])]
        return [scan.replace(node, f"open({', '.join([*given, *map(scan.src, entries)])}).read()")]
    return None


# ---------------------------------------------------------------------------------------------------- literals


def _at_run_time(scan: Scan, node: Node) -> bool:
    return scan.above(node, "type") is None and scan.parent(node).type not in {"subscript", "type_parameter"}


@kind(TABLE, "empty-call", "Use a literal instead of an empty dict(), list() or tuple() call.", group="modernise",
      needs=("dictionary", "list", "tuple"), weight=1.5)  # fmt: skip
def empty_call(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    names = {"{}": "dict()", "[]": "list()", "()": "tuple()"}
    for node in mixed(rng, scan.of("dictionary", "list", "tuple")):
        target = scan.parent(node).type == "assignment" and scan.parent(node).children[0].id == node.id
        new = names.get(scan.src(node))
        if new and _at_run_time(scan, node) and not target and not is_bound(scan, new[:-2]):
            return [scan.replace(node, new)]
    return None


@kind(TABLE, "dict-keywords", "Use a dict literal instead of a dict() call.", group="modernise", needs=("dictionary",))
def dict_keywords(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("dictionary")):
        edits: list[Edit] = []
        keys: set[str] = set()
        entries = items(node)
        for entry in entries:
            key = entry.child_by_field_name("key")
            if entry.type == "dictionary_splat":
                break  # a key that comes twice is an error of the call alone
            name = scan.src(key)[1:-1]
            value = entry.child_by_field_name("value")
            if key is None or key.type != "string" or len(key.children) != 3 or not name.isidentifier():
                break
            if name in KEYWORDS or name in keys or scan.src(key)[0] not in "'\"" or value is None:
                break
            if name.startswith("__") or not name.isascii():
                break  # a class has names of its own for these
            keys.add(name)
            edits.append((scan.span(key)[0], scan.span(value)[0], name + "="))
        else:
            if edits and not is_bound(scan, "dict"):
                first, last = node.children[0], node.children[-1]
                return [scan.replace(first, "dict("), *edits, scan.replace(last, ")")]
    return None


@kind(TABLE, "set-call", "Use a set or dict literal or comprehension instead of a call with a list.", group="modernise",
      needs=("set", "set_comprehension", "dictionary_comprehension"), weight=1.5)  # fmt: skip
def set_call(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    node = pick(rng, scan.of("set", "set_comprehension", "dictionary_comprehension"))
    first, last = node.children[0], node.children[-1]
    if is_bound(scan, "set", "dict"):
        return None
    if node.type != "dictionary_comprehension":
        return [scan.replace(first, "set(["), scan.replace(last, "])")]
    pair = next((child for child in node.children if child.type == "pair"), None)
    if pair is None or len(pair.children) != 3:
        return None
    start, end = scan.span(pair)
    colon = scan.replace(pair.children[1], ",")
    if rng.random() < 0.5 and not looks_around(scan, node):
        return [scan.replace(first, "dict("), (start, start, "("), colon, (end, end, ")"), scan.replace(last, ")")]
    return [scan.replace(first, "dict(["), (start, start, "("), colon, (end, end, ")"), scan.replace(last, "])")]


@kind(TABLE, "merged-dicts", "Unpack the dicts into a literal.", group="modernise", needs=("dictionary",))
def merged_dicts(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("dictionary")):
        entries = items(node)
        if len(entries) == 2 and all(entry.type == "dictionary_splat" for entry in entries):
            return [scan.replace(node, f"dict({scan.src(entries[0])[2:].strip()}, {scan.src(entries[1])})")]
    return None


@kind(TABLE, "added-lists", "Unpack the lists into a literal.", group="modernise", needs=("list",))
def added_lists(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("list")):
        entries = items(node)
        if not 1 < len(entries) < 5 or not any(e.type == "list_splat" for e in entries) or "\n" in scan.src(node):
            continue
        parts: list[str] = []
        plain: list[str] = []
        for entry in entries:
            if entry.type == "list_splat":
                parts += [f"[{', '.join(plain)}]"] if plain else []
                parts.append(f"list({scan.src(entry)[1:].strip()})")
                plain = []
            else:
                plain.append(scan.src(entry))
        parts += [f"[{', '.join(plain)}]"] if plain else []
        if is_bound(scan, "list"):
            return None
        return [scan.replace(node, scan.safe(node, " + ".join(parts), LOOSE if len(parts) > 1 else ARITHMETIC))]
    return None


@kind(TABLE, "bracketed-generator", "Pass a generator instead of a list that is thrown away.", group="modernise",
      needs=("generator_expression",))  # fmt: skip
def bracketed_generator(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("generator_expression")):
        call = scan.parent(node)
        name = scan.src(call.children[0]).rpartition(".")[2]
        # What is awaited makes an asynchronous generator; what is called may be there for what it does.
        ends_early = name in {"any", "all"} and any(True for _ in scan.inside(node, "call"))
        if ends_early or looks_around(scan, node):
            continue
        if name == "join" and (call.type != "call" or call.children[0].children[0].type != "string"):
            continue  # it may be a table's
        if name != "join" and (call.type != "call" or call.children[0].type != "identifier" or is_bound(scan, name)):
            continue  # numpy's take no generators
        if call.type == "call" and name in {"sum", "any", "all", "min", "max", "sorted", "tuple", "frozenset", "join"}:
            start, end = scan.span(node)
            return [(start + 1, start + 1, "["), (end - 1, end - 1, "]")]
    return None


# ---------------------------------------------------------------------------------------------------- questions


CONDITIONS = (
    "if_statement",
    "elif_clause",
    "while_statement",
    "assert_statement",
    "if_clause",
    "conditional_expression",
)


@kind(TABLE, "equals-none", "Compare with None by is.", group="modernise", needs=("is", "is not"), weight=2)
def equals_none(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for sign in mixed(rng, scan.of("is", "is not")):
        compared = scan.parent(sign)
        # What is no condition may be a column's: as an argument, an index, a value.
        around, inner = scan.parent(compared), compared
        while around.type in {"boolean_operator", "not_operator", "parenthesized_expression"}:
            around, inner = scan.parent(around), around
        if around.type not in CONDITIONS or around.children[0].id == inner.id:
            continue
        if (
            compared.type == "comparison_operator"
            and len(compared.children) == 3
            and compared.children[-1].type == "none"
        ):
            return [scan.replace(sign, "==" if sign.type == "is" else "!=")]
    return None


@kind(TABLE, "equals-true", "Ask for the truth value itself instead of comparing it.", group="modernise",
      needs=("if_statement", "elif_clause", "while_statement"))  # fmt: skip
def equals_true(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("if_statement", "elif_clause", "while_statement")):
        condition = node.child_by_field_name("condition")
        if condition is None:
            continue
        denied = condition.type == "not_operator"
        asked = condition.children[-1] if denied else condition
        callee = asked.children[0] if asked.type == "call" else asked
        name = scan.src(callee)
        if (asked.type == "call" and name in _TRUTHS and not is_bound(scan, name)) or (
            asked.type == "call" and callee.type == "attribute" and scan.src(callee.children[-1]) in _TEXT_TRUTHS
        ):
            return [scan.replace(condition, f"{scan.src(asked)} == {'False' if denied else 'True'}")]
    return None


_TRUTHS = {"isinstance", "issubclass", "hasattr", "callable", "any", "all", "os.path.exists", "os.path.isfile",
           "os.path.isdir", "os.path.isabs", "os.path.islink"}  # fmt: skip
_TEXT_TRUTHS = {"startswith", "endswith", "isdigit", "isalpha", "isalnum", "isspace", "isupper", "islower",
                "isidentifier", "isnumeric", "isdecimal"}  # fmt: skip
"""What answers with True or False and nothing else; ``exists`` may count, as that of Redis does."""
_TYPES = {"str", "bytes", "bytearray", "list", "dict", "set", "frozenset", "float", "complex"}
"""Classes of which ``isinstance`` and the type say nearly the same: True is an int, a named tuple a tuple, and a class
of somebody's own is asked for by its type to leave its subclasses out."""
_KIN = {"dict": ("OrderedDict", "defaultdict", "Counter"), "list": ("UserList",), "str": ("StrEnum",)}


@kind(TABLE, "type-equals", "Ask with isinstance instead of comparing types.", group="modernise", needs=("call",),
      weight=2)  # fmt: skip
def type_equals(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("call")):
        entries = items(node.child_by_field_name("arguments"))
        if scan.src(node.children[0]) != "isinstance" or len(entries) != 2 or scan.src(entries[1]) not in _TYPES:
            continue
        name = scan.src(entries[1])
        if is_bound(scan, "type", "isinstance", name) or any(map(scan.vocabulary.get, _KIN.get(name, ()))):
            continue
        if "\n" not in scan.src(node):
            negated = scan.parent(node).type == "not_operator"
            whole = scan.parent(node) if negated else node
            sign = pick(rng, ["!=", "is not"] if negated else ["==", "is"])
            new = f"type({scan.src(entries[0])}) {sign} {scan.src(entries[1])}"
            return [scan.replace(whole, scan.safe(whole, new, COMPARE))]
    return None


_GONE = {"unicode", "basestring", "long", "xrange", "file", "buffer"}


@kind(TABLE, "tuple-chain", "Ask once, with a tuple, instead of several times.", group="modernise", needs=("tuple",))
def tuple_chain(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("tuple")):
        call = scan.parent(scan.parent(node))
        options = items(node)
        if call.type != "call" or not 1 < len(options) < 5 or "\n" in scan.src(call):
            continue
        callee, given = call.children[0], items(call.child_by_field_name("arguments"))
        name = scan.src(callee).rpartition(".")[2]
        texts = name in {"startswith", "endswith"}
        if any(option.type not in ({"string"} if texts else {"identifier", "attribute"}) for option in options):
            continue  # what is asked for may be a tuple itself
        if any(scan.src(option) in _GONE for option in options):
            continue  # which nobody asks for where the first is enough
        if name in {"isinstance", "issubclass"} and len(given) == 2 and given[1] == node and scan.simple(given[0]):
            asked = [f"{name}({scan.src(given[0])}, {scan.src(option)})" for option in options]
        elif name in {"startswith", "endswith"} and len(given) == 1 and scan.simple(callee):
            asked = [f"{scan.src(callee)}({scan.src(option)})" for option in options]
        else:
            continue
        return [scan.replace(call, scan.safe(call, " or ".join(asked), OR))]
    return None


@kind(TABLE, "or-chain", "Ask for membership instead of comparing one by one.", group="modernise",
      needs=("in", "not in"), weight=1.5)  # fmt: skip
def or_chain(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("comparison_operator")):
        if len(node.children) != 3 or not scan.simple(node.children[0]) or "\n" in scan.src(node):
            continue
        left, sign, right = node.children
        options = items(right)
        if sign.type not in {"in", "not in"} or right.type not in {"tuple", "list"} or not 1 < len(options) < 5:
            continue
        if all(_is_constant(scan, option) for option in options):
            mark, word, binds = ("==", " or ", OR) if sign.type == "in" else ("!=", " and ", AND)
            new = word.join(f"{scan.src(left)} {mark} {scan.src(option)}" for option in options)
            return [scan.replace(node, scan.safe(node, new, binds))]
    return None


def _is_constant(scan: Scan, node: Node) -> bool:
    """What can be computed before it is known whether it is wanted."""
    if node.type == "attribute":
        return scan.simple(node) and scan.src(node.children[-1]).isupper()
    return (
        scan.simple(node) or node.type == "string" or (node.type == "unary_operator" and scan.simple(node.children[-1]))
    )


@kind(TABLE, "split-comparison", "Chain the comparisons.", group="modernise", needs=("comparison_operator",))
def split_comparison(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("comparison_operator")):
        if len(node.children) == 5 and scan.simple(node.children[2]) and "\n" not in scan.src(node):
            a, first, b, second, c = map(scan.src, node.children)
            return [scan.replace(node, scan.safe(node, f"{a} {first} {b} and {b} {second} {c}", AND))]
    return None


@kind(TABLE, "early-not", "Write not in and is not as one operator.", group="modernise", needs=("not in", "is not"),
      weight=1.5)  # fmt: skip
def early_not(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for sign in mixed(rng, scan.of("not in", "is not")):
        node = scan.parent(sign)
        if node.type == "comparison_operator" and len(node.children) == 3 and "\n" not in scan.src(node):
            left, right = scan.src(node.children[0]), scan.src(node.children[-1])
            word = "in" if sign.type == "not in" else "is"
            return [scan.replace(node, scan.safe(node, f"not {left} {word} {right}", NOT))]
    return None


@kind(TABLE, "length-test", "Ask whether there is anything instead of how much.", group="modernise",
      needs=("if_statement", "while_statement", "elif_clause"))  # fmt: skip
def length_test(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("if_statement", "elif_clause", "while_statement")):
        condition = node.child_by_field_name("condition")
        if condition is None:
            continue
        denied = condition.type == "not_operator"
        name = scan.src(condition.children[-1] if denied else condition)
        if is_made(scan, name, is_container) and not is_bound(scan, "len"):
            sign = pick(rng, ["== 0", "< 1"] if denied else ["> 0", "!= 0"])
            return [scan.replace(condition, f"len({name}) {sign}")]
    return None


@kind(TABLE, "keys-call", "Ask the dict itself, not its keys.", group="modernise", needs=("in", "not in"))
def keys_call(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for sign in mixed(rng, scan.of("in", "not in")):
        around = scan.parent(sign)
        after = sign.next_sibling
        if around.type not in {"comparison_operator", "for_statement", "for_in_clause"} or after is None:
            continue
        name = scan.src(after)
        if is_made(scan, name, is_dict):  # those of an XML element or of mail headers are asked otherwise
            end = scan.span(after)[1]
            return [(end, end, ".keys()")]
    return None


@kind(TABLE, "get-default", "Use get with a default.", group="modernise", needs=("call",))
def get_default(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("call")):
        method, entries = node.children[0], items(node.child_by_field_name("arguments"))
        if method.type != "attribute" or scan.src(method.children[-1]) != "get" or len(entries) != 2:
            continue
        base, (key, default) = method.children[0], entries
        # A configuration's get wants a section and an option.
        known = is_made(scan, scan.src(base), is_dict) or scan.src(base) == "os.environ"
        if known and (scan.simple(key) or key.type == "string") and "\n" not in scan.src(node):
            if not (
                (scan.simple(default) and default.type != "attribute")
                or default.type == "string"
                or scan.src(default) in {"[]", "{}", "()"}
            ):
                continue  # it would be computed where it is not wanted
            d, k = scan.src(base), scan.src(key)
            new = f"{d}[{k}] if {k} in {d} else {scan.src(default)}"
            return [scan.replace(node, scan.safe(node, new, LOOSE))]
    return None


# ---------------------------------------------------------------------------------------------------- words


_ENDS = re.compile(
    r"exit|\bquit\b|abort|kill|terminate|rollback|\b(?:unlink|remove|rmtree|close)\b|exc_info|SystemExit|KeyboardInterrupt"
    r"|GeneratorExit|BaseException|Cancelled|\byield\b|\bawait\b|\bfinally\b"
)
"""What is said where an end of the program, or of a task, is to be caught as well."""


@kind(TABLE, "bare-except", "Name the exception that is caught.", group="modernise", needs=("except_clause",))
def bare_except(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("except_clause")):
        value = node.child_by_field_name("value")
        last = scan.parent(node).children
        after = [child for child in last[last.index(node) + 1 :] if child.type == "except_clause"]
        # Nothing would be undone where someone interrupts: an exception that is raised again must be any.
        again = any(scan.src(one) == "raise" for one in scan.inside(node, "raise_statement"))
        before = any(child.type == "except_clause" for child in last[: last.index(node)])
        narrow = value is not None and scan.src(value) == "Exception"
        if narrow and (again or before or _ENDS.search(scan.src(scan.parent(node)))):
            continue
        if is_bound(scan, "Exception", "BaseException"):
            continue
        if value is not None and scan.src(value) in {"Exception", "BaseException"} and not after:
            return [(scan.span(node.children[0])[1], scan.span(value)[1], "")]
    return None


@kind(TABLE, "lost-cause", "Name the cause of the exception: raise ... from.", group="modernise",
      needs=("raise_statement",))  # fmt: skip
def lost_cause(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("raise_statement")):
        cause, handler = node.child_by_field_name("cause"), scan.above(node, "except_clause")
        if cause is None or cause.type != "identifier" or handler is None:
            continue
        if scan.src(node.children[1]) == scan.src(cause):  # nobody writes that: it would be its own cause
            continue
        if re.search(rf"\bas[ ]+{scan.src(cause)}$", scan.src(handler).partition(":")[0].rstrip()):
            return [(scan.span(node.children[1])[1], scan.span(cause)[1], "")]
    return None


@kind(TABLE, "old-error", "Use OSError, the name that is left of three.", group="modernise", needs=("identifier",))
def old_error(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    found = [node for node in scan.of("identifier") if scan.src(node) == "OSError" and scan.variable(node)]
    if is_bound(scan, "IOError", "EnvironmentError", "OSError"):
        return None
    return [scan.replace(pick(rng, found), pick(rng, ["IOError", "EnvironmentError"]))] if found else None


_CAPITAL = {"list": "List", "dict": "Dict", "set": "Set", "tuple": "Tuple", "frozenset": "FrozenSet", "type": "Type"}


@kind(TABLE, "typing-names", "Use the built-in generic types.", group="modernise", needs=("type",), weight=2)
def typing_names(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    found = [
        node.children[0]
        for node in scan.of("generic_type", "subscript")
        if (name := scan.src(node.children[0])) in _CAPITAL
        and not is_bound(scan, name)
        and not is_bound(scan, _CAPITAL[name])
        and (node.type == "generic_type" or scan.above(node, "type") is not None)
    ]
    if not found:
        return None
    chosen = found if rng.random() < 0.6 else [pick(rng, found)]
    return [scan.replace(node, _CAPITAL[scan.src(node)]) for node in chosen]


@kind(TABLE, "typing-union", "Write the union with |.", group="modernise", needs=("|",), weight=2)
def typing_union(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    unions = [
        node
        for node in scan.of("union_type", "binary_operator")
        if node.children[1].type == "|" and scan.above(node, "type") is not None
    ]
    for node in mixed(rng, unions):
        if _is_union(scan.parent(node)) or (_is_union(scan.parent(scan.parent(node)))):
            continue
        if "\n" in scan.src(node):
            continue
        names = list(map(scan.src, _members(node)))
        rest = [name for name in names if name != "None"]
        if not rest or not all(_has_union(scan, name) for name in names):
            continue
        new = rest[0] if len(rest) == 1 else f"Union[{', '.join(rest)}]"
        return [scan.replace(node, f"Optional[{new}]" if len(rest) < len(names) else new)]
    return None


_FUNCTIONS = {"Lock", "RLock", "Event", "Condition", "Semaphore", "BoundedSemaphore", "Barrier", "Queue",
              "SimpleQueue", "JoinableQueue", "Pool", "Manager", "Value", "Array", "RawArray", "RawValue", "Pipe",
              "Timer"}  # fmt: skip
"""Names of types that are functions in ``threading`` or ``multiprocessing``."""


def _has_union(scan: Scan, name: str) -> bool:
    """Whether ``|`` can be asked of it where annotations are computed: a text and a function have none."""
    if any(sign in name for sign in "'\""):
        return False
    if name == "None" or re.search(r"(?m)^from __future__ import [^\n]*\bannotations\b", scan.text):
        return True
    last = name.partition("[")[0].strip().rpartition(".")[2]
    builtin = last in {*_TYPES, "int", "bool", "tuple", "type", "object", "range", "slice", "memoryview"}
    return (
        (builtin and "." not in name.partition("[")[0])
        or last == "ndarray"
        or (last[:1].isupper() and last not in _FUNCTIONS)
    )


def _is_union(node: Node) -> bool:
    return node.type in {"union_type", "binary_operator"} and len(node.children) == 3 and node.children[1].type == "|"


def _members(node: Node) -> list[Node]:
    if node.type == "type" and len(node.children) == 1 and _is_union(node.children[0]):
        node = node.children[0]
    if _is_union(node):
        return [*_members(node.children[0]), *_members(node.children[2])]
    return [node]


_HEADER = re.compile(r"(?m)^([ \t]*)(class|def|async def)\b[ \t]*(\w+)")


@kind(TABLE, "old-super", "Call super without arguments.", group="modernise", needs=("call",), weight=2)
def old_super(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("call")):
        arguments = node.child_by_field_name("arguments")
        if scan.src(node) != "super()" or arguments is None or is_bound(scan, "super"):
            continue
        function = scan.above(node, "function_definition", "lambda", *COMPREHENSIONS)
        if function is None or function.type != "function_definition":
            continue
        entries = items(function.child_by_field_name("parameters"))
        first = parameter(entries[0]) if entries else None
        owner = _owner(scan, function)
        if first is not None and owner and not re.search(rf"(?m)^[ \t]*{owner} = |\bdel {owner}\b", scan.text):
            return [scan.replace(arguments, f"({owner}, {scan.src(first)})")]
    return None


def _owner(scan: Scan, function: Node) -> str | None:
    """The class that a function is a method of, which may begin before the block. One that is decorated may not be the
    one that its name says: dataclass(slots=True) makes another."""
    around = scan.above(function, "class_definition", "function_definition")
    if around is not None:
        start = scan.span(around)[0]
        name = scan.src(around.child_by_field_name("name")) if around.type == "class_definition" else None
    else:
        depth = len(scan.indent(function))
        before = [
            found
            for found in _HEADER.finditer(scan.text, max(0, scan.start - 20_000), scan.start)
            if len(found.group(1)) < depth
        ]
        if not before:
            return None
        start, name = before[-1].start(), before[-1].group(3) if before[-1].group(2) == "class" else None
    above = scan.text[:start].rstrip().rpartition("\n")[2].lstrip()
    return None if above.startswith(("@", ")")) else name


@kind(TABLE, "object-base", "Remove the base class object.", group="modernise", needs=("class_definition",))
def object_base(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    if is_bound(scan, "object"):
        return None
    for node in mixed(rng, scan.of("class_definition")):
        bases, name = node.child_by_field_name("superclasses"), node.child_by_field_name("name")
        if bases is None and name is not None and node.child_by_field_name("type_parameters") is None:
            end = scan.span(name)[1]
            return [(end, end, "(object)" if rng.random() < 0.8 else "()")]
    return None


@kind(TABLE, "coding-line", "Remove the coding line: source is UTF-8.", group="modernise", weight=0.5)
def coding_line(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    head = scan.text[:200]
    if scan.start or head[:1] == "\ufeff" or "coding" in "".join(head.split("\n")[:2]):
        return None
    at = head.find("\n") + 1 if head.startswith("#!") else 0
    line = pick(rng, ["# -*- coding: utf-8 -*-", "# coding: utf-8", "# -*- coding: utf8 -*-", "# coding=utf-8"])
    return [(at, at, line + scan.newline)] if at or not head.startswith("#!") else None


@kind(TABLE, "needless-parentheses", "Remove the parentheses that do nothing.", group="modernise", weight=0.08,
      needs=("if_statement", "while_statement", "return_statement", "elif_clause"))  # fmt: skip
def needless_parentheses(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("if_statement", "while_statement", "return_statement", "elif_clause")):
        value = node.child_by_field_name("condition")
        if node.type == "return_statement" and len(node.children) == 2:
            value = node.children[1]
        if value is not None and value.type in {
            "identifier", "attribute", "call", "comparison_operator", "boolean_operator", "not_operator",
            "binary_operator", "subscript",
        }:  # fmt: skip
            start, end = scan.span(value)
            return [(start, start, "("), (end, end, ")")]
    return None


@kind(TABLE, "semicolon", "Remove the semicolon.", group="modernise", weight=0.05,
      needs=("expression_statement", "return_statement"))  # fmt: skip
def semicolon(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("expression_statement", "return_statement")):
        if scan.alone(node):
            end = scan.span(node)[1]
            return [(end, end, ";")]
    return None


@kind(TABLE, "while-one", "Write while True.", group="modernise", needs=("while_statement",))
def while_one(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("while_statement")):
        condition = node.child_by_field_name("condition")
        if condition is not None and condition.type == "true":
            return [scan.replace(condition, "1")]
    return None


@kind(TABLE, "long-increment", "Use +=.", group="modernise", needs=("augmented_assignment",))
def long_increment(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("augmented_assignment")):
        left, sign, right = node.children[0], node.children[1], node.children[-1]
        # An array or a list that is added to in place is another one's, too.
        number = left.type == "identifier" and is_made(scan, scan.src(left), is_plain_value)
        if number and right.type in {"integer", "float", "string"}:
            return [scan.replace(sign, f"= {scan.src(left)} {scan.src(sign)[:-1]}")]
    return None


@kind(TABLE, "redundant-mode", "Leave out the mode that open takes anyway.", group="modernise", needs=("call",))
def redundant_mode(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("call")):
        entries = items(node.child_by_field_name("arguments"))
        if (
            scan.src(node.children[0]) != "open"
            or is_bound(scan, "open")
            or not entries
            or entries[0].type in {"keyword_argument", "list_splat"}
        ):
            continue
        if all(
            entry.type == "keyword_argument" and scan.src(entry.children[0]) in {"encoding", "errors", "newline"}
            for entry in entries[1:]
        ):
            end = scan.span(entries[0])[1]
            return [(end, end, ', "r"')]
    return None


def _is_text_or_bytes(scan: Scan, node: Node) -> bool:
    if node.type in {"string", "concatenated_string"} or is_call_of(scan, node, ("str", "repr", "bytes")):
        return True
    callee = node.children[0] if node.type == "call" else node
    return scan.src(callee) == "json.dumps" or (
        node.type == "call"
        and callee.type == "attribute"
        and scan.src(callee.children[-1])
        in {"join", "format", "strip", "lower", "upper", "read", "read_bytes", "encode", "replace"}
    )


@kind(TABLE, "redundant-encoding", "Leave out the encoding: UTF-8 is the default.", group="modernise", needs=("call",))
def redundant_encoding(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("call")):
        callee, arguments = node.children[0], node.child_by_field_name("arguments")
        named = callee.type == "attribute" and scan.src(callee.children[-1]) in {"encode", "decode"}
        given = callee.children[0] if named else None
        # json, base64 and tokenizers have functions of that name which want something else.
        texts = given is not None and (
            _is_text_or_bytes(scan, given) or is_made(scan, scan.src(given), _is_text_or_bytes)
        )
        if texts and arguments is not None and scan.src(arguments) == "()":
            return [scan.replace(arguments, pick(rng, ['("utf-8")', "('utf-8')", '("utf8")']))]
    return None


@kind(TABLE, "decorator-call", "Leave out the empty call in the decorator.", group="modernise", needs=("decorator",))
def decorator_call(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("decorator")):
        name = scan.src(node.children[1])
        module, _, last = name.rpartition(".")
        known = {"lru_cache": "functools", "dataclass": "dataclasses", "fixture": "pytest"}.get(last)
        # Decorators of that name from elsewhere have to be called.
        if known is not None and module in {"", known} and is_imported(scan, node, known, module or last):
            return [scan.replace(node.children[1], name + "()")]
        if name == "functools.cache":
            return [scan.replace(node.children[1], "functools.lru_cache(maxsize=None)")]
    return None


@kind(TABLE, "old-subprocess", "Use capture_output and text.", group="modernise", needs=("keyword_argument",))
def old_subprocess(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("keyword_argument")):
        callee = scan.src(scan.parent(scan.parent(node)).children[0])
        if callee == "subprocess.run" and scan.src(node) == "capture_output=True":
            return [scan.replace(node, "stdout=subprocess.PIPE, stderr=subprocess.PIPE")]
        if callee.startswith("subprocess.") and scan.src(node) == "text=True":
            return [scan.replace(node, "universal_newlines=True")]
    return None


@kind(TABLE, "old-prefix", "Use removeprefix or removesuffix.", group="modernise", needs=("call",))
def old_prefix(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("call")):
        callee, entries = node.children[0], items(node.child_by_field_name("arguments"))
        if callee.type != "attribute" or len(entries) != 1 or not scan.simple(callee.children[0]):
            continue
        name, base = scan.src(callee.children[-1]), scan.src(callee.children[0])
        part = scan.src(entries[0])
        if name not in {"removeprefix", "removesuffix"} or entries[0].type != "string" or part[0] not in "'\"":
            continue
        if len(part) < 3:
            continue
        new = f"{base}[len({part}):]" if name == "removeprefix" else f"{base}[:-len({part})]"
        asked = "startswith" if name == "removeprefix" else "endswith"
        return [scan.replace(node, scan.safe(node, f"{new} if {base}.{asked}({part}) else {base}", LOOSE))]
    return None


@kind(TABLE, "readlines", "Go over the lines of the file itself.", group="modernise", needs=("for_statement",))
def readlines(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("for_statement")):
        right = node.child_by_field_name("right")
        if right is not None and right.type == "identifier" and _is_read_once(scan, node, right):
            end = scan.span(right)[1]
            return [(end, end, ".readlines()")]
    return None


def _is_read_once(scan: Scan, loop: Node, name: Node) -> bool:
    """Whether the loop goes over a file that is open to be read, and nobody asks it, or writes files, meanwhile."""
    around, header = scan.above(loop, "with_statement"), ""
    known = re.escape(scan.src(name))
    while around is not None:
        header = scan.src(next(child for child in around.children if child.type == "with_clause"))
        if re.search(rf"\bas {known}\b", header):
            break
        around = scan.above(around, "with_statement")
    opened = re.search(rf"(?<![\w.])open\([^\n]*\) as {known}\b", header)
    if around is None or opened is None or is_bound(scan, "open"):
        return False
    if re.search(r"""['"][rbt]*[wxa+][+wxabt]*['"]""", opened.group()):
        return False
    later = [one for one in scan.used(scan.src(name)) if one.start_byte > name.start_byte]
    bound = [one for one in scan.targets if scan.src(one) == scan.src(name)]
    return (
        not any(one.end_byte <= around.end_byte for one in later)
        and len(bound) == 1
        and not re.search(r"\bopen\(|\b(?:write|remove|rename|unlink|truncate|move|copy)\w*\(", scan.src(loop))
    )
