"""Counting brackets in text that may not parse: which closers are still due.

Strings and comments are skipped, roughly: by pattern, from where the text begins.
"""

import re
from itertools import accumulate

LEVELS = 1000
"""Brackets inside of brackets, where people write dozens: with more of them open a parser takes seconds, and a mender
asks it hundreds of times."""
CLOSER = {"(": ")", "[": "]", "{": "}"}
_STRING = r"""\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'"""
_SKIP = {
    "#": re.compile(r"(?P<quotes>\"{3}|'{3})[\s\S]*?(?P=quotes)|" + _STRING + r"|#[^\n]*"),
    "//": re.compile(_STRING + r"|`(?:\\.|[^`\\])*`|//[^\n]*|/\*[\s\S]*?\*/"),
    "--": re.compile(_STRING + r"|--[^\n]*"),
}


def is_deep(text: str) -> bool:
    """Whether more than ``LEVELS`` brackets are inside of each other, strings and comments counted too."""
    if sum(map(text.count, CLOSER)) <= LEVELS:
        return False
    levels = accumulate(1 if one.group() in CLOSER else -1 for one in re.finditer(r"[()\[\]{}]", text))
    return max(levels) > LEVELS


def due(text: str, comment: str, older: list[str]) -> tuple[list[str], bool]:
    """Closers due after ``text``, outermost first, and whether it closed anything that did not match.

    ``comment`` is the language's line-comment sign; ``older`` are the closers due before ``text``.
    """
    skip = _SKIP.get(comment)
    stack, mismatch = list(older), False
    for character in skip.sub("", text) if skip else text:
        if character in CLOSER:
            stack.append(CLOSER[character])
        elif character in ")]}":
            if stack and stack[-1] == character:
                stack.pop()
            else:
                mismatch = True
    return stack, mismatch


def unmatched(text: str, comment: str) -> list[str]:
    """Closers due after ``text``, outermost first."""
    return due(text, comment, [])[0]


def split_due(prefix: str, middle: str, comment: str) -> tuple[list[str], list[str], bool]:
    """Closers due for brackets of ``middle`` and for those of ``prefix``, and whether ``middle`` mismatched."""
    older = unmatched(prefix, comment)
    stack, mismatch = due(middle, comment, older)
    # What ``middle`` popped off the older ones is gone; whatever it pushed since lies above the lowest point reached.
    kept = _lowest(middle, comment, len(older))
    return stack[kept:], stack[:kept], mismatch


def _lowest(text: str, comment: str, depth: int) -> int:
    skip = _SKIP.get(comment)
    lowest = depth
    for character in skip.sub("", text) if skip else text:
        if character in CLOSER:
            depth += 1
        elif character in ")]}":
            depth = max(0, depth - 1)
            lowest = min(lowest, depth)
    return lowest
