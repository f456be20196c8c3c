"""Names in Python that nothing binds, and what they were meant to be.

Misspelt: one slip away from exactly one name that could be meant; or the binding, where nothing uses it by that name.
In a method: an attribute of ``self`` without ``self.``, or ``self`` that is no parameter.
"""

import ast
import re
from collections.abc import Sequence

from assistant.bindings import BUILTINS, Places, Scope, Use, bound_in, program, uses
from assistant.mend import Mending
from assistant.slips import is_near
from infill.program import compiles

METHODS = frozenset(name for kind in (list, dict, set, str, bytes) for name in dir(kind) if not name.startswith("_"))
ELSEWHERE = {"null": "None", "nil": "None", "undefined": "None", "true": "True", "false": "False"}
"""Names that other languages, and JSON, have for what Python calls otherwise."""
ALONE = ("pass", "break", "continue", "return")
"""Statements of one word."""
LEAST = 3
"""Letters of a name; shorter ones are near to too many."""


def respelt(text: str, blocks: Sequence[tuple[int, int]]) -> list[Mending]:
    """Edits inside of the blocks, in order; [] where the text is no program, or may get names from elsewhere."""
    known = program(text)
    if known is None:
        return []
    wanted = frozenset(name for name in known.unbound if len(name) >= LEAST and not name.startswith("__"))
    if not wanted:
        return []
    found: dict[tuple[int, int], Mending] = {}
    places = known.places
    for use in uses(places, wanted):
        one = _meant(text, places, use)
        if one is not None and any(low <= one.start and one.end <= high for low, high in blocks):
            found[one.start, one.end] = one
    return [found[place] for place in sorted(found)]


def _meant(text: str, places: Places, use: Use) -> Mending | None:
    """What makes a name that nothing binds into one that is bound; None where that is not clear."""
    wrong, start = use.node.id, places.of(use.node)
    if wrong in use.bound or not text.startswith(wrong, start):  # the same name may be bound here, and not elsewhere
        return None
    if use.method is not None and wrong == "self":
        return _first_parameter(text, places, use.method)
    if is_member(text, use):
        if text[:start].endswith("self,"):  # the comma may be the dot, and need not
            return None
        return Mending(start, start, "self.")
    if wrong in ELSEWHERE:
        return Mending(start, start + len(wrong), ELSEWHERE[wrong])
    if (at := _lost_dot(text, use)) is not None:
        return Mending(start + at, start + at, ".")
    if (word := _statement(text, start, wrong)) is not None:
        return Mending(start, start + len(wrong), word)
    near = [name for name in use.bound if len(name) >= LEAST and is_near(wrong, name)]
    # Of what is not in the text, only with the same letters or one of them less: "text" is no misspelt "next".
    builtins = (name for name in BUILTINS - use.bound if len(name) >= LEAST)
    near += [name for name in builtins if is_near(wrong, name) and _is_close(wrong, name)]
    if len(near) != 1:
        return None
    [right] = near
    bindings = [one.start() for one in re.finditer(rf"\b{re.escape(right)}\b", text)]
    used = len(re.findall(rf"\b{re.escape(wrong)}\b", text)) > 1
    if len(bindings) == 1 and used:  # nobody uses it by that name: it is what is misspelt
        wrong, right, start = right, wrong, bindings[0]
    return Mending(start, start + len(wrong), right)


def _lost_dot(text: str, use: Use) -> int | None:
    """Where a name falls apart into one that is bound and an attribute that the text has elsewhere, or many values
    have; None where it does not, or in several ways."""
    wrong = use.node.id
    found = [
        at
        for at in range(LEAST, len(wrong))
        if wrong[:at] in use.bound
        and (wrong[at:] in METHODS or re.search(rf"\.{re.escape(wrong[at:])}\b", text) is not None)
    ]
    return found[0] if len(found) == 1 else None


def _statement(text: str, start: int, wrong: str) -> str | None:
    """The keyword that a name alone on its line was meant to be, if the text is a program with it."""
    line = text[text.rfind("\n", 0, start) + 1 :].partition("\n")[0]
    found = [word for word in ALONE if is_near(wrong, word)] if line.strip() == wrong else []
    return found[0] if found and compiles(text[:start] + found[0] + text[start + len(wrong) :]) else None


def is_member(text: str, use: Use) -> bool:
    """Whether a name that nothing binds is an attribute of ``self`` where it is used."""
    if use.method is None:
        return False
    arguments = [*use.method.args.posonlyargs, *use.method.args.args]
    if not arguments or arguments[0].arg != "self":
        return False
    methods = bound_in(use.within[use.within.index(use.method) - 1])
    return use.node.id in methods or re.search(rf"\bself\.{re.escape(use.node.id)}\b", text) is not None


def _is_close(wrong: str, right: str) -> bool:
    return len(wrong) != len(right) or sorted(wrong) == sorted(right)


def _first_parameter(text: str, places: Places, method: Scope) -> Mending | None:
    if isinstance(method, ast.Lambda) or method.decorator_list:
        return None
    head = re.compile(r"(?:async[ \t]+)?def[ \t]+\w+[ \t]*\([ \t]*").match(text, places.of(method))
    if head is None:
        return None
    first = re.compile(r"\w+").match(text, head.end())
    if first is not None and is_near(first.group(), "self"):
        return Mending(first.start(), first.end(), "self")
    alone = text.startswith(")", head.end())
    return Mending(head.end(), head.end(), "self" if alone else "self, ")
