"""What changes between two texts, as edits of whole words, and edits made in a text."""

import re
from collections.abc import Iterable
from difflib import SequenceMatcher

WORDS = re.compile(r"\w+|\n|[^\S\n]+|[^\w\s]")


def minimal(old: str, new: str) -> list[tuple[int, int, str]]:
    """Edits that turn ``old`` into ``new``, so that cursors, folds and marks elsewhere stay."""
    a, b = WORDS.findall(old), WORDS.findall(new)
    starts = [0]
    for word in a:
        starts.append(starts[-1] + len(word))
    return [
        (starts[i1], starts[i2], "".join(b[j1:j2]))
        for tag, i1, i2, j1, j2 in SequenceMatcher(None, a, b, autojunk=False).get_opcodes()
        if tag != "equal"
    ]


def spliced(text: str, edits: Iterable[tuple[int, int, str]]) -> str:
    """The text with ``(start, end, replacement)`` made, in any order; no two overlap. What is inserted at
    one place stands in the order given, before what replaces something there.
    """
    parts: list[str] = []
    at = 0
    for start, end, new in sorted(edits, key=lambda one: one[:2]):
        assert at <= start <= end <= len(text), "edits do not overlap, and are inside of the text"
        parts += text[at:start], new
        at = end
    return "".join([*parts, text[at:]])
