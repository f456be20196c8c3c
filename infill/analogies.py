"""Copies with other names: what a place's line would be, were its names those around the cursor.

Code is often written by analogy: a line like one above, with ``width`` where that had ``height``. The lines around a
place are laid beside the lines around the cursor; where two of them differ in a few parts of words only, these say what
becomes of what. The same happens to the text that is copied. (Systematic edits from examples: Meng et al. 2011, LASE.)
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache

_PARTS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+|\W|_|.")
LONGEST = 200
"""Longest line that is looked at."""


def renamed(text: str, pairs: Iterable[tuple[str, str]]) -> tuple[str, int] | None:
    """The text with the names that ``pairs`` (a line of the place, the same one at the cursor) ask for, and how many of
    them ask for one of the changes; None where nothing changes."""
    votes: dict[str, Counter[str]] = defaultdict(Counter)
    for theirs, ours in pairs:
        for a, b in _differences(theirs, ours):
            votes[a.lower()][b.lower()] += 1
    result: list[str] = []
    asked: dict[str, int] = {}
    for part in _parts(text):
        found = votes.get(part.lower())
        new = found.most_common(1)[0][0] if found else part.lower()
        if found and new != part.lower():
            asked[part.lower()] = found[new]
            result.append(_cased(new, part))
        else:
            result.append(part)
    return ("".join(result), sum(asked.values())) if asked else None


def _differences(theirs: str, ours: str) -> Sequence[tuple[str, str]]:
    """Parts of words of one line and the other's in their places; nothing where the lines are not alike. Parts that are
    the same in both are there too: they speak against a change."""
    a, b = _parts(theirs), _parts(ours)
    if len(a) != len(b) or max(len(theirs), len(ours)) > LONGEST:
        return ()
    changed = [(x, y) for x, y in zip(a, b, strict=True) if x != y]
    if not changed or 2 * len(changed) > len(a) or not all(x[0].isalnum() and y[0].isalnum() for x, y in changed):
        return ()
    return [(x, y) for x, y in zip(a, b, strict=True) if x[0].isalnum()]


@lru_cache(maxsize=4096)
def _parts(text: str) -> Sequence[str]:
    """Words cut at case and underscores, numbers, and single other characters."""
    return tuple(_PARTS.findall(text[: LONGEST + 1]))


def _cased(new: str, old: str) -> str:
    if old.isupper() and len(old) > 1:
        return new.upper()
    return new[:1].upper() + new[1:] if old[0].isupper() else new
