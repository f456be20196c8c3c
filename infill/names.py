"""What a modern form may bring along, and take away: an edit that modernises keeps the names and the lines of code.

A small model mends ``Optional[str]`` to ``int | None`` where the line above has ``Optional[int]``: it parses, and it is
wrong. Modern forms are made of few words of their own, so any other name that was not on the changed lines before was
made up. Lines of code become others, and do not go without any in their place.
"""

import keyword
import re
from collections import Counter
from collections.abc import Iterator
from difflib import SequenceMatcher

BROUGHT = frozenset(
    """f r s _ e err ex exc error isinstance dict list tuple set frozenset type items enumerate zip get any all sum
    OSError Exception Path parent exists is_file is_dir open read_text read_bytes write_text write_bytes suppress
    contextlib""".split()  # noqa: SIM905
)
"""Names that people's code has and its old form has not, in one of a thousand examples that are trained on, and others
of their kind."""
_WORD = re.compile(r"[^\W\d]\w*")


def made_up(old: str, new: str) -> list[str]:
    """Names on changed lines that occur there oftener than before, and that no modern form brings."""
    return [
        name
        for before, after in _changed(old.splitlines(), new.splitlines())
        for name in Counter(_WORD.findall(after)) - Counter(_WORD.findall(before))
        if name not in BROUGHT and not keyword.iskeyword(name)
    ]


def taken_away(old: str, new: str) -> list[str]:
    """Lines of code that go, where nothing takes their place. A comment may."""
    return [
        line
        for before, after in _changed(old.splitlines(), new.splitlines())
        for line in before.splitlines()
        if not after and line.strip() and not line.lstrip().startswith("#")
    ]


def _changed(old: list[str], new: list[str]) -> Iterator[tuple[str, str]]:
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag != "equal":
            yield "\n".join(old[i1:i2]), "\n".join(new[j1:j2])
