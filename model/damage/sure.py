"""What must be sure before two forms mean the same: what a name is bound to, what is imported, what a part may do.

All of it looks at the text alone, and where that does not say, the answer is no: the damage is not made, and so there
is no way back. Better a rewrite too few than one that changes what a program does.
"""

import re
from collections.abc import Callable, Iterable
from functools import lru_cache

from model.damage.scan import Node, Scan

DISPLAYS = ("list", "dictionary", "set", "list_comprehension", "dictionary_comprehension", "set_comprehension")
_LOOKS_AROUND = re.compile(
    r"\b(?:eval|exec|locals|vars|dir|globals|next|_getframe|currentframe|super|await|async|yield)\b|:=|\blambda\b"
)


def is_bound(scan: Scan, *names: str) -> bool:
    """Whether the text makes something of its own of one of these names, which are a builtin's or one of ``typing``, or
    may do so by ``import *``."""
    return any(_binds(scan.text, name) for name in names)


@lru_cache(maxsize=256)
def _binds(text: str, name: str) -> bool:
    if name not in text:
        return False
    own = rf"""(?mx) \b(?:class|def)[ ]+{name}\b | \bas[ ]+{name}\b | \bimport[ ]+{name}\b
        | \b{name}[ ]*(?::[^=\n()]*)?=(?!=) | \b{name}[ ]*[-+*/|&^%]=
        | (?:^[ \t]*|,[ ]*){name}[ ]*,[^\n=()]*=(?!=) | ^[^\n=():]*,[ ]*{name}[ ]*=(?!=)
        | \bfor\b(?:(?!\bin\b)[^\n])*\b{name}\b
        | \blambda\b[^:\n]*\b{name}\b[^:\n]*:
        | \bdef[ ]+\w+\((?:[^()]|\([^()]*\))*?(?<=[(,*\s]){name}[ ]*[,):=]
        | ^[ \t]*from[ ]+(?!typing[ ])[\w.]+[ ]+import[ ](?:[^\n(]*|\([^)]*)\b{name}\b
        | ^from[ ]+[\w.]+[ ]+import[ ]+\*"""
    return re.search(own, text) is not None


def is_imported(scan: Scan, node: Node, module: str, name: str) -> bool:
    """Whether the text binds ``name`` above a node: ``import module``, or ``from module import name``."""
    above = scan.text[: scan.span(node)[0]]
    if name == module:
        return re.search(rf"(?m)^import (?:[\w., ]*, *)?{module}\b(?! as)(?!\.)", above) is not None
    return re.search(rf"(?m)^from {module} import (?:[^\n(#]*|\([^)]*)\b{name}\b(?! as)", above) is not None


def is_made(scan: Scan, name: str, fits: Callable[[Scan, Node], bool]) -> bool:
    """Whether the block binds a variable, and always to what fits. It may be a parameter, or come from elsewhere."""
    if not name.isidentifier() or scan.of("match_statement"):
        return False
    shared = scan.of("global_statement", "nonlocal_statement")
    if any(scan.src(one) == name for node in shared for one in node.children):
        return False
    bound = [use for use in scan.targets if scan.src(use) == name]
    bound = [use for use in bound if scan.parent(use).type != "augmented_assignment"]
    for use in bound:
        around = scan.parent(use)
        value = around.child_by_field_name("right")
        if around.type != "assignment" or around.children[0].id != use.id or value is None or not fits(scan, value):
            return False
    return bool(bound)


def is_call_of(scan: Scan, node: Node, names: Iterable[str]) -> bool:
    """Whether it is a call of one of these builtins."""
    name = scan.src(node.children[0]) if node.type == "call" else ""
    return name in names and not is_bound(scan, name)


def is_list(scan: Scan, node: Node) -> bool:
    return node.type in {"list", "list_comprehension"} or is_call_of(scan, node, ("list", "sorted"))


def is_dict(scan: Scan, node: Node) -> bool:
    return node.type in {"dictionary", "dictionary_comprehension"} or is_call_of(scan, node, ("dict",))


def is_container(scan: Scan, node: Node) -> bool:
    return node.type in DISPLAYS or is_call_of(scan, node, ("list", "sorted", "dict", "set", "frozenset"))


def is_text(scan: Scan, node: Node) -> bool:
    return node.type in {"string", "concatenated_string"} or is_call_of(scan, node, ("str", "repr"))


def is_plain_value(scan: Scan, node: Node) -> bool:
    """A number or a text, which nobody changes in place."""
    if node.type == "unary_operator":
        return is_plain_value(scan, node.children[-1])
    return node.type in {"integer", "float"} or is_text(scan, node) or is_call_of(scan, node, ("len", "int", "float"))


def is_sequence(scan: Scan, node: Node) -> bool:
    return is_list(scan, node) or node.type == "tuple" or is_text(scan, node)


def is_whole_number(scan: Scan, node: Node) -> bool:
    """Floats are added otherwise by ``sum``, from Python 3.12 on."""
    return node.type == "integer" or is_call_of(scan, node, ("len", "int", "ord"))


def looks_around(scan: Scan, node: Node) -> bool:
    """Whether it asks for the names around it, for the next of something, or keeps a variable for later: a scope of its
    own, in which a comprehension is, is another thing for these."""
    if _LOOKS_AROUND.search(scan.src(node)):
        return True
    kept = (one for one in scan.inside(node, "generator_expression") if one.id != node.id)
    return any(scan.parent(one).type != "call" for one in kept)


def is_swallowed(scan: Scan, node: Node) -> bool:
    """Whether somebody around may go on after an error in the middle, and see what was done by then."""
    around = node
    while above := scan.above(around, "try_statement", "with_statement", "function_definition", "class_definition"):
        if above.type == "try_statement":
            return True
        if above.type != "with_statement":
            return above.type == "class_definition"  # whose names comprehensions do not see, either
        clause = next((child for child in above.children if child.type == "with_clause"), above)
        if any(not re.match(r"(?:[\w.]+\.)?open\(", scan.src(item)) for item in clause.children if item.is_named):
            return True
        around = above
    return False


def is_seen_inside(scan: Scan, name: str, scope: Node) -> bool:
    """Whether a function or a class inside of the scope uses the variable, or the scope's is another one's."""
    others = ("function_definition", "class_definition", "lambda", "global_statement", "nonlocal_statement")
    return any(
        scan.src(one) == name
        for node in scan.inside(scope, *others)
        if node.id != scope.id
        for one in scan.inside(node, "identifier")
    )
