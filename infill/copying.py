"""Without a model: find the longest text before the cursor that occurs elsewhere, and copy what followed it.

The baseline of `hone eval`; the engine copies from places that are like the cursor's in more ways (``infill.places``).
Looks in the prefix first (the most recent place) and then in the suffix (the nearest one). When the longest
match is followed by nothing to copy, the next place and then shorter matches are tried.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

LONGEST = 400
"""Longest match in characters or tokens."""
FIRST = 0x10000
"""The character that stands for token 0, so that tokens are searched for as characters are."""
PLACES = 20
"""Places tried for one length of match."""
LINES = 4
OPEN, CLOSE = "([{", ")]}"
SHORTEST = 3
"""A shorter match says nothing."""


class Copy(NamedTuple):
    """A text that stands elsewhere."""

    text: str
    matched: int
    """Characters before it that are those before the cursor."""
    evidence: float
    """What speaks for it, the higher the likelier."""


def copied(prefix: str, suffix: str, kind: str) -> str:
    """What to insert between prefix and suffix; "" when no character before the cursor occurs elsewhere.

    kind: a kind of ``infill.tasks``; it says where the copy ends, as it does for every other system.
    """
    return _copied(prefix, suffix, lambda rest: _cut(rest, suffix, kind))


def copied_tokens(
    prefix: str, suffix: str, kind: str, encode: Callable[[str], list[int]], decode: Callable[[list[int]], str]
) -> str:
    """The same with a match of whole tokens: the classical n-gram. A cursor inside a word matches less often."""
    before, after = ("".join(chr(FIRST + token) for token in encode(text)) for text in (prefix, suffix))

    def read(rest: str) -> str:
        return _cut(decode([ord(character) - FIRST for character in rest[:LONGEST]]), suffix, kind)

    return _copied(before, after, read)


def _copied(prefix: str, suffix: str, read: Callable[[str], str]) -> str:
    for length in _lengths(prefix, lambda length: _places(prefix, suffix, length)):
        for rest in _places(prefix, suffix, length):
            answer = read(rest)
            if answer.strip():
                return answer
    return ""


def _lengths(prefix: str, places: Callable[[int], Iterator[str]]) -> Iterator[int]:
    """The length of the longest match (by bisection: its shorter endings occur as well) and all below it."""
    low, high = 0, min(LONGEST, len(prefix))
    while low < high:
        middle = (low + high + 1) // 2
        if next(places(middle), None) is None:
            high = middle - 1
        else:
            low = middle
    yield from range(low, 0, -1)


def _places(prefix: str, suffix: str, length: int) -> Iterator[str]:
    """What followed each occurrence of the last ``length`` characters: backwards in the prefix, then in the suffix."""
    key = prefix[-length:]
    end = len(prefix) - 1
    for _ in range(PLACES):
        at = prefix.rfind(key, 0, end)
        if at < 0:
            break
        yield prefix[at + length :]
        end = at + length - 1
    yield from _behind(key, suffix)


def _behind(key: str, text: str) -> Iterator[str]:
    """What follows each of the first occurrences of ``key``."""
    at = -1
    for _ in range(PLACES):
        at = text.find(key, at + 1)
        if at < 0:
            return
        yield text[at + len(key) :]


def _cut(rest: str, suffix: str, kind: str) -> str:
    if kind in ("expression", "arguments"):
        return _balanced(rest, commas=kind == "arguments")
    if kind in ("lines", "block"):
        return _until_suffix(rest, suffix)
    return rest.split("\n", 1)[0].rstrip("\r")


def _balanced(rest: str, *, commas: bool) -> str:
    """Up to the bracket that closes what is open at the cursor, a line's end or (unless ``commas``) a comma."""
    depth = 0
    for i, character in enumerate(rest[:2000]):
        if character in OPEN:
            depth += 1
        elif character in CLOSE:
            depth -= 1
            if depth < 0:
                return rest[:i]
        elif depth == 0 and (character == "\n" or (character in ",:" and not commas)):
            return rest[:i]
    return rest[:2000]


def _until_suffix(rest: str, suffix: str) -> str:
    """Whole lines up to the first line of the suffix that is not blank, and not more than a few."""
    stop = next((line.strip() for line in suffix.split("\n") if line.strip()), None)
    lines: list[str] = []
    for line in rest.split("\n", LINES)[:LINES]:
        if lines and line.strip() == stop:
            break
        lines.append(line.rstrip("\r"))
    return "\n".join(lines).rstrip()
