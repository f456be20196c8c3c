"""Several slips in one Python text, taken back one after the other, at the lines where Python's own parser stops.

A parser that goes on behind an error (``assistant.mend``) is led astray by the next one. Python's stops at the first,
so what is tried there is judged by how far it gets then. A line that nothing helps is passed over: in a copy, a
statement that says nothing stands there.
"""

import math
import re
from collections.abc import Iterator, Sequence
from itertools import islice

from assistant.indents import HEAD
from assistant.mend import Mending
from assistant.slips import WORD, keeps_words, slips
from infill import program
from infill.brackets import unmatched

LONGEST = 100_000
"""Characters of the longest text: it is parsed for every slip that is tried."""
TRIES = 60
"""Slips that are tried on one line."""
STOPS = 24
"""Lines at which the parser stops, at most."""
NEAR = 20_000
"""Characters on both sides in which words are looked for."""
OPEN = re.compile(r"'.' was never closed|unterminated|unmatched|does not match")
"""Faults that may begin anywhere above: behind them nothing is sure."""
PYTHON_2 = re.compile(r"[ \t]*(?:print|exec)[ \t]+[^=(\s]")
"""Statements of Python 2, which are no slips."""
Span = tuple[int, int]


def stepped(text: str, blocks: Sequence[Span]) -> list[Mending]:
    """Edits inside of the blocks, in order, each of which lets Python's parser get beyond its line."""
    made: list[Mending] = []
    if len(text) > LONGEST or "\0" in text:
        return made
    seen, grown, last = text, 0, -1
    for _ in range(STOPS):
        found = program.fault(seen, grammar=True)
        if found is None:
            break
        start = seen.rfind("\n", 0, found.start) + 1
        end = seen.find("\n", start)
        end = len(seen) if end < 0 else end - (seen[end - 1 : end] == "\r")
        inside = any(low + grown <= start and end <= high + grown for low, high in blocks)
        one = _beyond(seen, start, end, is_open=bool(OPEN.search(found.message))) if inside and start > last else None
        if one is not None:
            made.append(Mending(one.start - grown, one.end - grown, one.text))
            seen, grown = one.of(seen), grown + len(one.text) - (one.end - one.start)
        elif OPEN.search(found.message) or start < last or (passed := _passed(seen, start, end)) is None:
            break
        else:
            seen = passed
        last = start
    return made


def _beyond(text: str, start: int, end: int, *, is_open: bool) -> Mending | None:
    """The slip on a line that lets the parser get furthest, beyond the line at least; of those the first. Where a
    bracket or a string is open it must be closed by that."""
    best: tuple[float, Mending] | None = None
    for one in islice(_slips(text, start, end), TRIES):
        if not keeps_words(text, one.start, one.end, one.text):
            continue
        left = program.fault(one.of(text), grammar=True)
        if is_open and left is not None and OPEN.search(left.message):
            continue
        furthest = math.inf if left is None else left.start - (len(one.text) - (one.end - one.start))
        if furthest > max(end, best[0] if best else 0):
            best = furthest, one
    return best[1] if best else None


def reach(text: str) -> float:
    """How far Python's parser gets."""
    found = program.fault(text)
    return math.inf if found is None else found.start


def _slips(text: str, start: int, end: int) -> Iterator[Mending]:
    line = text[start:end]
    if PYTHON_2.match(line):
        return
    words = {*WORD.findall(text[max(start - NEAR, 0) : start]), *WORD.findall(text[end : end + NEAR])}
    around = unmatched(text[max(start - NEAR, 0) : start], "#")
    quote = '"' if text.count('"') >= text.count("'") else "'"
    for low, high, new in slips(line, words, around, quote, python=True):
        if "\n" not in new:
            yield Mending(start + low, start + high, new)
    code = line.rstrip()
    closers = "".join(reversed(unmatched(line, "#")))
    if closers and not code.endswith(("(", "[", "{")):  # what ends with one goes on below
        last = start + len(code)
        if code.endswith(":"):
            yield Mending(last - 1, last - 1, closers)
        yield Mending(last, last, closers)


def _passed(text: str, start: int, end: int) -> str | None:
    """A copy, as long as the text, in which the line says nothing; None where it has no room for that."""
    line = text[start:end]
    code = line.strip()
    indent = line[: len(line) - len(line.lstrip())]
    below = re.compile(r"(?:[ \t]*(?:#.*)?\r?\n)*([ \t]*)\S").match(text, min(end + 1, len(text)))
    is_head = below is not None and len(below.group(1)) > len(indent) and HEAD.match(line.rstrip() + ":")
    stub = "if 1:" if is_head else "0"
    if len(code) < len(stub):
        return None
    return text[:start] + indent + stub + " " * (len(line) - len(indent) - len(stub)) + text[end:]
