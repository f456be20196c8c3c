"""What changes between two texts, as edits of whole words."""

import re
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
