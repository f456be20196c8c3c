"""Half-done renames: the definition has its new name, and uses inside the block still have the old one.

The new name is the one that people wrote. The old one is made up: a name that nothing near the block has. The
definition is left as it is, so the edits are at uses, all of them or those from one place on, always inside the block.
"""

import re
from collections.abc import Iterable

import numpy as np

from model.damage.scan import BUILTINS, KEYWORDS, Node, Scan, mixed, pick
from model.damage.types import Edit, Table, kind

TABLE: Table = {}

_SHORT = {
    "message": "msg", "value": "val", "number": "num", "index": "idx", "string": "s", "result": "res", "response":
    "resp", "request": "req", "argument": "arg", "arguments": "args", "parameter": "param", "function": "func",
    "length": "len_", "count": "cnt", "config": "cfg", "directory": "dir_", "filename": "fname", "document": "doc",
    "object": "obj", "context": "ctx", "buffer": "buf", "element": "elem", "character": "char", "position": "pos",
    "temporary": "tmp", "source": "src", "destination": "dst", "error": "err", "exception": "exc", "database": "db",
    "connection": "conn", "previous": "prev", "current": "cur", "maximum": "max_", "minimum": "min_", "attribute":
    "attr", "name": "label", "data": "content", "items": "entries", "item": "entry", "path": "filename", "text":
    "content", "key": "k", "line": "row", "node": "element", "size": "length", "start": "begin", "end": "stop", "args":
    "arguments", "kwargs": "options", "func": "function", "msg": "message", "val": "value", "num": "number", "idx":
    "index", "res": "result", "obj": "object_", "ctx": "context", "i": "index", "j": "k", "n": "count", "x": "value",
    "s": "text", "f": "file", "e": "error", "p": "path", "get": "fetch", "make": "create", "find": "search", "parse":
    "read", "check": "validate", "build": "make", "load": "read", "write": "save", "handle": "process", "run":
    "execute", "add": "append", "is": "check",
}  # fmt: skip
_ENDS = ("s", "_", "_", "2", "_name", "_list", "_value")
_STARTS = ("_", "new_", "old_", "my_", "the_", "current_", "cur_", "orig_")


def old_name(rng: np.random.Generator, scan: Scan, name: str) -> str | None:
    """A name that this one may have had before, and that nothing near uses."""
    parts = name.split("_")
    found = []
    for i, part in enumerate(parts):
        if (other := _SHORT.get(part)) is not None:
            found += ["_".join([*parts[:i], other, *parts[i + 1 :]])] * 3
        if len(parts) > 1 and all(parts):
            found.append("_".join(parts[:i] + parts[i + 1 :]))
    if len(parts) > 1 and all(parts):
        found.append(parts[0] + "".join(part.capitalize() for part in parts[1:]))
        found.append("_".join(part[:3] for part in parts))
    if len(name) > 4:
        found += [name[:3], name[0]]
    found.append(name + pick(rng, _ENDS))
    found.append(pick(rng, _STARTS) + name.lstrip("_"))
    fitting = [
        other
        for other in found
        if other.isidentifier() and other not in KEYWORDS and other not in BUILTINS and not scan.vocabulary[other]
    ]
    return pick(rng, fitting) if fitting else None


def _stale(rng: np.random.Generator, scan: Scan, name: str, uses: list[Node]) -> list[Edit] | None:
    """All uses, or those from one on, with an old name."""
    old = old_name(rng, scan, name) if uses else None
    if old is None:
        return None
    ordered = sorted(uses, key=lambda node: node.start_byte)
    first = int(rng.integers(len(ordered))) if rng.random() < 0.35 else 0
    return [scan.replace(node, old) for node in ordered[first:]]


def _uses(scan: Scan, name: str, within: Node, definition: Node) -> list[Node] | None:
    """The uses of a variable in a function, but for its definition; None where it is bound more than once."""
    bound = [node for node in scan.targets if scan.src(node) == name and _holds(within, node)]
    declared = list(scan.inside(within, "global_statement", "nonlocal_statement"))
    if len(bound) != 1 or any(re.search(rf"\b{name}\b", scan.src(node)) for node in declared):
        return None
    return [node for node in scan.used(name, within=within) if node.id != definition.id]


def _holds(node: Node, inner: Node) -> bool:
    return node.start_byte <= inner.start_byte and inner.end_byte <= node.end_byte


@kind(TABLE, "stale-parameter", "Use the parameter by the name it has in the signature.", group="rename",
      needs=("parameters",), weight=2)  # fmt: skip
def stale_parameter(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.parameters):
        function = scan.above(node, "function_definition", "lambda")
        name = scan.src(node)
        if function is None or function.type == "lambda" or name in {"self", "cls"}:
            continue
        if (uses := _uses(scan, name, function, node)) and (edits := _stale(rng, scan, name, uses)):
            return edits
    return None


@kind(TABLE, "stale-local", "Use the variable by the name it was given.", group="rename",
      needs=("assignment", "for_statement", "for_in_clause", "as_pattern_target"), weight=2)  # fmt: skip
def stale_local(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    given = {node.id for node in scan.parameters}
    for node in mixed(rng, scan.targets):
        name = scan.src(node)
        scope = scan.above(node, "function_definition", "lambda", "class_definition") or scan.top
        if node.id in given or name == "_" or scope.type == "class_definition":
            continue
        if (uses := _uses(scan, name, scope, node)) and (edits := _stale(rng, scan, name, uses)):
            return edits
    return None


_DEFINED = re.compile(r"(?m)^[ \t]*(?:async[ \t]+)?(?:def|class)[ \t]+(\w+)")


@kind(TABLE, "stale-call", "Call the function by the name it has where it is defined.", group="rename",
      needs=("call",), weight=2)  # fmt: skip
def stale_call(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    defined = set(_DEFINED.findall(scan.text, max(0, scan.start - 3000), scan.end + 3000))
    for node in mixed(rng, scan.of("call")):
        callee = node.children[0]
        last = callee.children[-1] if callee.type == "attribute" else callee
        name = scan.src(last)
        owned = callee.type == "identifier" or scan.src(callee.children[0]) in {"self", "cls"}
        if last.type != "identifier" or name not in defined or not owned or name.startswith("__"):
            continue
        uses = [
            other.children[0].children[-1] if callee.type == "attribute" else other.children[0]
            for other in scan.of("call")
            if scan.src(other.children[0]) == scan.src(callee)
        ]
        if edits := _stale(rng, scan, name, uses):
            return edits
    return None


@kind(TABLE, "stale-attribute", "Use the attribute by the name it was given.", group="rename", needs=("attribute",))
def stale_attribute(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    near = scan.text[max(0, scan.start - 3000) : scan.end + 3000]
    given = set(re.findall(r"(?m)^[ \t]*self\.(\w+)(?:: [^=\n]+)? = ", near))
    members = [node for node in scan.of("attribute") if scan.src(node.children[0]) == "self"]
    for node in mixed(rng, members):
        name = scan.src(node.children[-1])
        if name not in given:
            continue
        uses = [
            other.children[-1]
            for other in members
            if scan.src(other.children[-1]) == name
            and not (scan.parent(other).type == "assignment" and scan.parent(other).children[0].id == other.id)
        ]
        if edits := _stale(rng, scan, name, uses):
            return edits
    return None


@kind(TABLE, "stale-import", "Use the imported name.", group="rename", needs=("identifier",))
def stale_import(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    names = {name for line in _IMPORTED.findall(scan.text[:20_000]) for name in re.findall(r"\w+", line.split("#")[0])}
    skipped = [scan.span(node) for node in scan.of("import_statement", "import_from_statement")]
    for node in mixed(rng, scan.of("identifier")):
        name = scan.src(node)
        if name not in names or not scan.variable(node) or name in {scan.src(target) for target in scan.targets}:
            continue
        uses = [
            other for other in scan.used(name) if not any(low <= scan.span(other)[0] < high for low, high in skipped)
        ]
        if edits := _stale(rng, scan, name, uses):
            return edits
    return None


_IMPORTED = re.compile(r"(?m)^(?:from[ \t]+\S+[ \t]+)?import[ \t]+(?!\()([^\n]+)")


@kind(TABLE, "stale-keyword", "Pass the argument by the name it has in the signature.", group="rename",
      needs=("keyword_argument",))  # fmt: skip
def stale_keyword(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("keyword_argument")):
        name, call = scan.src(node.children[0]), scan.parent(scan.parent(node))
        callee = scan.src(call.children[0]).rpartition(".")[2]
        found = re.search(
            rf"(?m)^[ \t]*(?:async )?def {re.escape(callee)}\(([^)]*)",
            scan.text[max(0, scan.start - 3000) : scan.end + 3000],
        )
        if found and re.search(rf"\b{re.escape(name)}\b", found.group(1)):
            return _stale(rng, scan, name, [node.children[0]])
    return None
