"""What a file defines: names, kinds, where, and the few lines that tell another place how to use it.

Found by tree-sitter queries in the manner of ``tags.scm``; the only module of this package that parses. Bytes go in and
plain values come out: the trees are gone when it returns. What is defined inside of a function is no one else's.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from tree_sitter import Node, Parser, Query, QueryCursor

from infill.languages import get, parser

LINES = 12
"""Of a definition's text."""
CHARS = 600
SIGNATURE = 200
MEMBERS = 16
"""Lines about what is in a class."""
MOST = 2000
"""Definitions of one file; more come from a program."""

QUERIES: dict[str, str] = {
    "python": """
        (module (expression_statement (assignment left: (identifier) @name) @constant))
        (class_definition name: (identifier) @name) @class
        (function_definition name: (identifier) @name) @function
    """,
    "javascript": """
        (class_declaration name: (_) @name) @class
        (method_definition name: (property_identifier) @name) @method
        [(function_declaration name: (_) @name) (generator_function_declaration name: (_) @name)] @function
        (variable_declarator name: (identifier) @name value: [(arrow_function) (function_expression)]) @function
        (program (lexical_declaration (variable_declarator name: (identifier) @name
            value: [(number) (string) (array) (object) (call_expression) (new_expression)]) @constant))
        (program (export_statement (lexical_declaration (variable_declarator name: (identifier) @name
            value: [(number) (string) (array) (object) (call_expression) (new_expression)]) @constant)))
        (assignment_expression left: (member_expression property: (property_identifier) @name)
            right: [(arrow_function) (function_expression)]) @function
    """,
    "go": """
        (function_declaration name: (identifier) @name) @function
        (method_declaration name: (field_identifier) @name) @method
        (type_declaration (type_spec name: (type_identifier) @name)) @type
        (source_file (const_declaration (const_spec name: (identifier) @name) @constant))
        (source_file (var_declaration (var_spec name: (identifier) @name) @constant))
    """,
    "rust": """
        [(struct_item name: (_) @name) (enum_item name: (_) @name) (union_item name: (_) @name)
         (trait_item name: (_) @name)] @class
        (type_item name: (type_identifier) @name) @type
        (impl_item type: [(type_identifier) @name (generic_type type: (type_identifier) @name)]) @scope
        (function_item name: (identifier) @name) @function
        (function_signature_item name: (identifier) @name) @function
        (macro_definition name: (identifier) @name) @macro
        [(const_item name: (identifier) @name) (static_item name: (identifier) @name)] @constant
    """,
    "java": """
        [(class_declaration name: (identifier) @name) (interface_declaration name: (identifier) @name)
         (enum_declaration name: (identifier) @name) (record_declaration name: (identifier) @name)
         (annotation_type_declaration name: (identifier) @name)] @class
        [(method_declaration name: (identifier) @name) (constructor_declaration name: (identifier) @name)] @method
    """,
    "c": """
        (struct_specifier name: (type_identifier) @name body: (_)) @class
        (union_specifier name: (type_identifier) @name body: (_)) @class
        (enum_specifier name: (type_identifier) @name body: (_)) @type
        (type_definition declarator: (type_identifier) @name) @type
        (function_definition declarator: (function_declarator declarator: (identifier) @name)) @function
        (function_definition declarator: (pointer_declarator declarator:
            (function_declarator declarator: (identifier) @name))) @function
        (translation_unit (declaration declarator: (function_declarator declarator: (identifier) @name)) @function)
        (preproc_function_def name: (identifier) @name) @macro
        (preproc_def name: (identifier) @name value: (_)) @constant
    """,
    "csharp": """
        [(class_declaration name: (identifier) @name) (interface_declaration name: (identifier) @name)
         (struct_declaration name: (identifier) @name) (enum_declaration name: (identifier) @name)
         (record_declaration name: (identifier) @name)] @class
        [(method_declaration name: (identifier) @name) (constructor_declaration name: (identifier) @name)
         (property_declaration name: (identifier) @name)] @method
    """,
    "ruby": """
        [(class name: (_) @name) (module name: (_) @name)] @class
        [(method name: (_) @name) (singleton_method name: (_) @name)] @method
        (program (assignment left: (constant) @name) @constant)
    """,
    "php": """
        [(class_declaration name: (name) @name) (interface_declaration name: (name) @name)
         (trait_declaration name: (name) @name) (enum_declaration name: (name) @name)] @class
        (method_declaration name: (name) @name) @method
        (function_definition name: (name) @name) @function
    """,
    "lua": """
        (function_declaration name: [(identifier) @name (dot_index_expression field: (identifier) @name)
            (method_index_expression method: (identifier) @name)]) @function
        (assignment_statement
            (variable_list name: [(identifier) @name (dot_index_expression field: (identifier) @name)])
            (expression_list value: (function_definition))) @function
    """,
    "bash": """
        (function_definition name: (word) @name) @function
    """,
}
QUERIES["cpp"] = (
    QUERIES["c"]
    + """
        (class_specifier name: (type_identifier) @name body: (_)) @class
        (function_definition declarator: (function_declarator declarator: (field_identifier) @name)) @method
        (function_definition declarator: (function_declarator declarator:
            (qualified_identifier name: (identifier) @name))) @method
        (function_definition declarator: (reference_declarator
            (function_declarator declarator: (_) @name))) @function
        (alias_declaration name: (type_identifier) @name) @type
        (concept_definition name: (identifier) @name) @type
    """
)
QUERIES["typescript"] = QUERIES["tsx"] = (
    QUERIES["javascript"]
    + """
        (abstract_class_declaration name: (_) @name) @class
        (interface_declaration name: (type_identifier) @name) @class
        (enum_declaration name: (identifier) @name) @class
        (type_alias_declaration name: (type_identifier) @name) @type
        (abstract_method_signature name: (property_identifier) @name) @method
        (function_signature name: (identifier) @name) @function
    """
)
CLOSED = frozenset({"function", "method"})
"""What is defined inside of these is seen from nowhere else."""
WRAPPERS = frozenset({"decorated_definition", "export_statement", "template_declaration"})
DECLARATIONS = frozenset({"lexical_declaration", "variable_declaration", "expression_statement"})
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True)
class Definition:
    name: str
    kind: str
    """class, function, method, type, constant or macro."""
    scope: str
    """The class around it; "" for none."""
    signature: str
    """On one line."""
    text: str
    """Its first lines; of a class, its head and one line for each member."""
    first: int
    """Lines count from 1."""
    last: int


def definitions(language: str, text: str) -> tuple[Definition, ...]:
    """What ``text`` defines, in its order; () for a language without a query. A broken text gives what can be seen."""
    tools = _tools(language)
    if tools is None:
        return ()
    reader, query = tools
    row = get(language)
    data = text.encode("utf-8", errors="replace")
    tree = reader.parse(data if row is None else row.seen(data))
    found = []
    for _, captures in QueryCursor(query).matches(tree.root_node):
        (name,) = captures.pop("name")[:1]
        for kind, nodes in captures.items():
            found.append((nodes[0], kind, _text(data, name)))
    found.sort(key=lambda one: (one[0].start_byte, -one[0].end_byte))
    return tuple(_chosen(data, found, language))


@cache
def _tools(language: str) -> tuple[Parser, Query] | None:
    made = parser(language) if language in QUERIES else None
    if made is None or made.language is None:
        return None
    return made, Query(made.language, QUERIES[language])


def _chosen(data: bytes, found: list[tuple[Node, str, str]], language: str) -> Iterator[Definition]:
    around: list[tuple[int, str, str]] = []
    """Of what is open here: end, kind, name."""
    seen: set[tuple[int, str]] = set()
    for node, kind, name in found[: 4 * MOST]:
        while around and around[-1][0] <= node.start_byte:
            around.pop()
        if (node.start_byte, name) in seen:
            continue
        seen.add((node.start_byte, name))
        is_inner = any(outer in CLOSED for _, outer, _ in around)
        scope = next((outer for _, sort, outer in reversed(around) if sort == "class"), "")
        if kind in CLOSED or kind in {"class", "scope"}:
            around.append((node.end_byte, "class" if kind == "scope" else kind, name))
        if is_inner or kind == "scope" or len(seen) > MOST:
            continue
        yield _definition(data, node, "method" if kind == "function" and scope else kind, name, scope, language)


def _definition(data: bytes, node: Node, kind: str, name: str, scope: str, language: str) -> Definition:
    whole = node
    while whole.parent is not None and whole.parent.type in WRAPPERS | DECLARATIONS:
        whole = whole.parent
    shown = _class(data, whole, node, language) if kind == "class" else _first_lines(data, whole)
    return Definition(
        name=name,
        kind=kind,
        scope=scope,
        signature=_signature(data, node),
        text=shown,
        first=whole.start_point.row + 1,
        last=whole.end_point.row + 1,
    )


def _first_lines(data: bytes, node: Node) -> str:
    """As it stands, without the indentation that it has in common."""
    start = data.rfind(b"\n", 0, node.start_byte) + 1
    text = data[start : min(node.end_byte, start + 4 * CHARS)].decode("utf-8", errors="ignore")
    lines = text.splitlines()
    indent = len(lines[0]) - len(lines[0].lstrip()) if lines else 0
    shown = []
    for line in lines[:LINES]:
        shown.append(line[indent:] if not line[:indent].strip() else line.lstrip())
        if sum(map(len, shown)) > CHARS:
            break
    return "\n".join(shown)[:CHARS].rstrip()


def _signature(data: bytes, node: Node) -> str:
    body = _body(node)
    end = node.end_byte if body is None else body.start_byte
    text = data[node.start_byte : min(end, node.start_byte + 4 * SIGNATURE)].decode("utf-8", errors="ignore")
    if body is None:
        text = text.split("\n", 1)[0]
    return _SPACE.sub(" ", text).strip().rstrip("{").rstrip()[:SIGNATURE]


def _body(node: Node) -> Node | None:
    """What stands behind the head of a function or a class."""
    if (found := node.child_by_field_name("body")) is not None:
        return found
    for field in ("value", "definition", "declaration", "right"):
        inner = node.child_by_field_name(field)
        if inner is not None and (found := inner.child_by_field_name("body")) is not None:
            return found
    return None


def _class(data: bytes, whole: Node, node: Node, language: str) -> str:
    """The head, the fields, and the heads of the methods."""
    body = _body(node)
    if body is None:
        return _first_lines(data, whole)
    head = _SPACE.sub(" ", data[node.start_byte : body.start_byte].decode("utf-8", errors="ignore")).strip()[:SIGNATURE]
    lines = [head if language in {"python", "ruby"} else head + " {"]
    for child in body.named_children:
        inner = child.child_by_field_name("definition") or child
        if inner.type in {"comment", "line_comment", "block_comment", "pass_statement"}:
            continue
        if inner.type == "expression_statement" and inner.named_children and inner.named_children[0].type == "string":
            continue  # a docstring
        has_body = _body(inner) is not None
        line = "    " + _signature(data, inner)
        lines.append(line + (" ..." if has_body and language == "python" else ";" if has_body else ""))
        if len(lines) > MEMBERS or sum(map(len, lines)) > CHARS:
            break
    if language not in {"python", "ruby"}:
        lines.append("}")
    return "\n".join(lines)[: CHARS + SIGNATURE]


def _text(data: bytes, node: Node) -> str:
    return data[node.start_byte : node.end_byte].decode("utf-8", errors="ignore")
