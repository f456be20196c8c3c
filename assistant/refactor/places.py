"""Places that another program names: ``file:line[:column]`` at the beginning of a line, as linters, compilers and grep
write it."""

import re
from collections.abc import Iterable

from assistant.errors import RequestError

_PLACE = re.compile(r"^\s*(?:-->\s*)?(?P<file>[^\s:][^:]*?):(?P<line>\d{1,9})(?::\d{1,9})?(?!\w)")
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def places(lines: Iterable[str]) -> tuple[dict[str, list[int]], int]:
    """Lines, from 1, by the file they are in, in the order in which the files come; and how many lines named none.

    Raises:
        RequestError: no line names a place.
    """
    found: dict[str, list[int]] = {}
    passed_over = 0
    for line in lines:
        named = _PLACE.match(_COLOURS.sub("", line))
        if named is not None and int(named["line"]) > 0:
            found.setdefault(named["file"], []).append(int(named["line"]))
        elif line.strip():
            passed_over += 1
    if not found:
        raise RequestError(
            "stdin names no place: a list of FILE:LINE is needed there, or --stdin-filename NAME for a text"
        )
    return found, passed_over
