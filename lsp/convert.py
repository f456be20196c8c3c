"""Positions of the protocol <-> offsets in code points of a text. Pure functions over a text's lines.

A line ends with ``\\n``, ``\\r\\n`` or ``\\r`` and nothing else: a form feed or U+2028 ends none.
What lies outside of the text is taken to its nearest place, as the protocol says: behind a line's end to that end
(before its line break), behind the last line to the end of the text.
"""

import re
from collections.abc import Sequence
from itertools import islice

from lsprotocol.types import Position

ENDED_LINE = re.compile(r"[^\r\n]*(?:\r\n?|\n)")


def split(text: str) -> tuple[str, ...]:
    """Lines with their ends. The last one has none: it may be empty, so there is at least one."""
    # Not beyond the last end: from each character of a long last line, the search would go on to its end.
    end = max(text.rfind("\n"), text.rfind("\r")) + 1
    return (*ENDED_LINE.findall(text, 0, end), text[end:])


def body(line: str) -> str:
    """The line without its end."""
    return line.rstrip("\r\n")


def offset_at(lines: Sequence[str], position: Position, encoding: str) -> int:
    row, column = place_at(lines, position, encoding)
    return sum(map(len, islice(lines, row))) + column


def place_at(lines: Sequence[str], position: Position, encoding: str) -> tuple[int, int]:
    """Row and column in code points."""
    if position.line >= len(lines):
        return len(lines) - 1, len(body(lines[-1]))
    row = max(position.line, 0)
    return row, code_points(body(lines[row]), position.character, encoding)


def position_at(lines: Sequence[str], offset: int, encoding: str) -> Position:
    left = max(offset, 0)
    for row, line in enumerate(lines):
        if left < len(line) or row == len(lines) - 1:
            return Position(row, units(body(line)[:left], encoding))
        left -= len(line)
    raise AssertionError("there is no line")


def code_points(line: str, count: int, encoding: str) -> int:
    """How many characters the first ``count`` code units are; one that they cut counts as a whole."""
    if count <= 0:
        return 0
    if encoding == "utf-32" or line.isascii():
        return min(count, len(line))
    width = _utf8 if encoding == "utf-8" else _utf16
    seen = 0
    for index, char in enumerate(line):
        if seen >= count:
            return index
        seen += width(char)
    return len(line)


def units(text: str, encoding: str) -> int:
    """How many code units ``text`` has."""
    if encoding == "utf-32" or text.isascii():
        return len(text)
    return sum(map(_utf8 if encoding == "utf-8" else _utf16, text))


def _utf8(char: str) -> int:
    code = ord(char)
    return 1 if code < 0x80 else 2 if code < 0x800 else 3 if code < 0x10000 else 4


def _utf16(char: str) -> int:
    return 1 if ord(char) < 0x10000 else 2
