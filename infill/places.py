"""Drafts copied from the file itself: what stands at places that are like the cursor's.

A place is like the cursor's by what stands before it, by what stands behind the text that would be copied, and by how
near and how far indented it is. All places are ranked by one logistic score; the causal head judges the best of them
like any other draft (prompt lookup decoding, Saxena 2023, brings copies into decoding by what stands before alone).
"""

import heapq
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import islice
from operator import mul
from os.path import commonprefix
from typing import NamedTuple

from infill.analogies import renamed
from infill.copying import LINES, SHORTEST, Copy

BEFORE, BEHIND = 20_000, 20_000
"""Characters on both sides that drafts are copied from."""
AROUND = 6
"""Lines on both sides that places are compared by."""
LONGEST = 400
"""Characters of a line that are compared."""
NEAR = 3
"""Lines on both sides that names are taken from."""
BEST = 40
"""Places at which other names are tried."""
MOST = 2000
"""Places that are looked at on one side, the nearest first."""


WEIGHTS = {
    "same": 0.95,
    "up": 1.2,
    "down": 1.21,
    "far": -0.34,
    "behind": -0.33,
    "level": 1.18,
    "whole": 1.75,
    "analogy": 1.9,
    "asked": 0.71,
}
"""What the signs of a place count: a conditional logit over all places of a file, fitted to 2,000 holes in the packages
that are trained on (``benchmarks/places.py``). ``same``: log of the characters before the cursor in its line that
match, ``up``: in the lines above, ``down``: in the lines below; ``far``: log of the lines from the cursor; ``behind``
it; ``level``: as far indented; ``whole``: all of the line up to the cursor matches;
``analogy``: names are changed, ``asked``: log of the lines that ask for it (``infill.analogies``)."""


class Line(NamedTuple):
    text: str
    indent: str
    number: int
    """From 0, in the text that it is from."""


class Place(NamedTuple):
    """A place that is like the cursor's, and what would be copied from it."""

    text: str
    matched: int
    """Characters before it that are those before the cursor, in its line and in those above."""
    signs: tuple[float, ...]
    """In the order of ``WEIGHTS``."""
    score: float
    """What they count in all."""
    pairs: Callable[[], Iterator[tuple[str, str]]]
    """Lines around it with those around the cursor."""
    first: int
    """Line on which it stands."""
    stop: int
    """Line behind the text that would be copied."""

    def analogy(self) -> "Place | None":
        """The same text with the names that are around the cursor, where that is another one."""
        made = renamed(self.text, self.pairs())
        if made is None:
            return None
        text, asked = made
        signs = (*self.signs[:-2], 1.0, math.log(asked))
        return self._replace(text=text, signs=signs, score=_score(signs))


def _score(signs: Iterable[float]) -> float:
    return float(sum(map(mul, WEIGHTS.values(), signs)))


def drafts(prefix: str, suffix: str, count: int, *, one_line: bool) -> list[Copy]:
    """Up to ``count`` different texts that stand at places like the cursor's, the likeliest first: the rest of a line
    each, and where more than one line may be wanted, whole lines up to the suffix as well.

    Lines are compared without their indentation and without blank ones between them. Line ends are "\n".
    """
    return copies(places(prefix, suffix, one_line=one_line))[:count]


def copies(found: Iterable[Place]) -> list[Copy]:
    """What would be copied from the places, with other names too, the likeliest first: what stands at several places
    has what speaks for all of them."""
    texts: dict[str, Copy] = {}
    for place in with_analogies(found):
        known = texts.get(place.text)
        if known is None:
            texts[place.text] = Copy(place.text, place.matched, place.score)
        else:
            a, b = known.evidence, place.score
            both = max(a, b) + math.log1p(math.exp(-abs(a - b)))
            texts[place.text] = Copy(place.text, max(known.matched, place.matched), both)
    return sorted(texts.values(), key=lambda copy: -copy.evidence)


def with_analogies(found: Iterable[Place]) -> list[Place]:
    """All places, and behind them those with other names, of the likeliest."""
    plain = list(found)
    best = heapq.nlargest(BEST, plain, key=lambda place: place.score)
    return plain + [made for place in best if (made := place.analogy()) is not None]


def places(prefix: str, suffix: str, *, one_line: bool) -> Iterator[Place]:
    """Every place, the nearest first, those before the cursor first."""
    near = prefix[-BEFORE:]
    if len(prefix) > BEFORE:  # where a line begins, so that another letter at the cursor does not change the beginning
        near = near[near.find("\n") + 1 :]
    cursor = Cursor.of(near, suffix[:BEHIND], one_line=one_line)
    key = cursor.typed[-SHORTEST:]
    for behind, lines in enumerate((cursor.above, cursor.below)):
        nearest = range(len(lines)) if behind else range(len(lines) - 1, -1, -1)
        every = ((i, at) for i in nearest if key in lines[i].text for at in _ends(lines[i].text, key))
        for i, at in islice(every, MOST):
            yield from cursor.compared(lines, i, at, far=i + 1 if behind else len(lines) - i, behind=bool(behind))


@dataclass(frozen=True)
class Cursor:
    """What places are compared with."""

    typed: str
    """The cursor's line before it, without its indentation."""
    indent: str
    due: str
    """The indentation of what is written here."""
    rest: str
    """The cursor's line behind it, without spaces around."""
    above: Sequence[Line]
    below: Sequence[Line]
    one_line: bool
    """Whether nothing but the rest of the line is wanted."""

    @classmethod
    def of(cls, prefix: str, suffix: str, *, one_line: bool) -> "Cursor":
        before, _, line = prefix.rpartition("\n")
        rest, _, behind = suffix.partition("\n")
        typed = line.lstrip()
        indent = line[: len(line) - len(typed)]
        above, below = _read(before), _read(behind)
        # At the very beginning of a line indentation is a part of what is written; it is likely as above.
        due = above[-1].indent if not line and above else indent
        return cls(typed, indent, due, rest.strip(), above, below, one_line)

    @property
    def bare(self) -> bool:
        """Whether nothing stands before it on its line, no indentation either."""
        return not self.typed and not self.indent

    def compared(self, lines: Sequence[Line], i: int, at: int, *, far: int, behind: bool) -> Iterator[Place]:
        """The place before character ``at`` of line ``i``, so many lines from the cursor: for the rest of the line, and
        for whole lines up to the suffix."""
        line, typed = lines[i], self.typed
        same = _ending(line.text[:at], typed)
        whole = same == at == len(typed)
        up = _above(lines, i, self.above) if whole else 0
        margin = line.indent if self.bare else ""
        ends = {i + 1: margin + _until(line.text[at:], self.rest)}
        if not self.one_line and whole and (stop := _stop(lines, i, self.below)):
            ends[stop] = margin + _reindented(lines[i:stop], margin or self.indent)[at:]
        for stop, text in ends.items():
            if text.strip():
                logs = [math.log1p(count) for count in (same, up, _below(lines, stop, self.below), far)]
                signs = (*logs, behind, line.indent == self.due, whole, 0.0, 0.0)
                pairs = partial(_pairs, lines, i, at, stop, typed, self.above, self.below)
                last = lines[stop - 1].number + 1
                yield Place(text, same + up, signs, _score(signs), pairs, line.number, last)


def _pairs(
    lines: Sequence[Line], start: int, at: int, stop: int, typed: str, above: Sequence[Line], below: Sequence[Line]
) -> Iterator[tuple[str, str]]:
    """The beginning of a place's line with the cursor's, and the lines next to it with those next to the cursor."""
    yield lines[start].text[:at], typed
    for a, b in zip(lines[max(start - NEAR, 0) : start][::-1], above[: -NEAR - 1 : -1], strict=False):
        yield a.text, b.text
    for a, b in zip(lines[stop : stop + NEAR], below, strict=False):
        yield a.text, b.text


def read(lines: Iterable[str]) -> list[Line]:
    """Those that are not blank."""
    return [Line(text, line[: line.index(text)], i) for i, line in enumerate(lines) if (text := line.strip())]


@lru_cache(maxsize=16)
def _read(text: str) -> Sequence[Line]:
    """The same for a side of the cursor, which is the same at the next key."""
    return read(text.split("\n"))


def _ends(text: str, key: str) -> Iterator[int]:
    """Where occurrences of ``key`` end; the beginning of the line for none."""
    at = text.find(key) if key else -1
    while at >= 0:
        yield at + len(key)
        at = text.find(key, at + 1)
    if not key:
        yield 0


def _ending(a: str, b: str) -> int:
    """Characters at the end of both that are the same."""
    if not a or not b or a[-1] != b[-1]:
        return 0
    return _beginning(a[: -LONGEST - 1 : -1], b[: -LONGEST - 1 : -1])


def _beginning(a: str, b: str) -> int:
    if not a or not b or a[0] != b[0]:
        return 0
    return len(commonprefix([a[:LONGEST], b[:LONGEST]]))  # noqa: RUF071 (of texts, not of paths)


def _above(lines: Sequence[Line], end: int, around: Sequence[Line]) -> int:
    """Characters of the lines before ``end`` that are those of the last ones ``around``."""
    count = 0
    for a, b in zip(lines[max(end - AROUND, 0) : end][::-1], reversed(around), strict=False):
        if a.text != b.text:
            return count + _ending(a.text, b.text)
        count += len(a.text) + 1
    return count


def _below(lines: Sequence[Line], start: int, around: Sequence[Line]) -> int:
    """Characters of the lines from ``start`` on that are those of the first ones ``around``."""
    count = 0
    for a, b in zip(lines[start : start + AROUND], around, strict=False):
        if a.text != b.text:
            return count + _beginning(a.text, b.text)
        count += len(a.text) + 1
    return count


def _until(rest: str, following: str) -> str:
    """The rest of a line, up to where the cursor's own line goes on."""
    if not following or following not in rest:
        return rest
    return rest.removesuffix(following) if rest.endswith(following) else rest[: rest.index(following)]


def _stop(lines: Sequence[Line], start: int, below: Sequence[Line]) -> int:
    """Where, a few lines behind ``start``, the lines go on as the suffix does; 0 for nowhere. Without a suffix: a few
    lines on."""
    for stop in range(start + 2, min(start + LINES, len(lines) - 1) + 1):
        if below and lines[stop].text == below[0].text:
            return stop
    return 0 if below else min(start + LINES, len(lines))


def _reindented(lines: Sequence[Line], indent: str) -> str:
    """The lines with the first one's indentation replaced; up to the first that is indented less."""
    result: list[str] = []
    for line in lines:
        if not line.indent.startswith(lines[0].indent):
            break
        result.append(indent + line.indent.removeprefix(lines[0].indent) + line.text)
    return "\n".join(result).removeprefix(indent)
