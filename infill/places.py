"""Drafts copied from the file itself: what stands at places that are like the cursor's.

A place is like the cursor's by what stands before it, by what stands behind the text that would be copied, and by how
near and how far indented it is. All places are ranked by one logistic score; the causal head judges the best of them
like any other draft (prompt lookup decoding, Saxena 2023, brings copies into decoding by what stands before alone).
"""

import math
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from os.path import commonprefix
from typing import NamedTuple

import numpy as np

from infill.copying import LINES, SHORTEST, Copy

BEFORE, BEHIND = 20_000, 20_000
"""Characters on both sides that drafts are copied from."""
AROUND = 6
"""Lines on both sides that places are compared by."""
LONGEST = 400
"""Characters of a line that are compared."""
MOST = 2000
"""Places that are looked at on one side, the nearest first."""


class _Line(NamedTuple):
    text: str
    indent: str


def drafts(prefix: str, suffix: str, count: int, *, one_line: bool) -> list[Copy]:
    """Up to ``count`` different texts that stand at places like the cursor's, the likeliest first: the rest of a line
    each, and where more than one line may be wanted, whole lines up to the suffix as well.

    A place is like the cursor's by what stands before it and by what stands behind the text: the lines around are
    compared without their indentation and without blank ones. Line ends are "\n".
    """
    before, behind = prefix[-BEFORE:].split("\n"), suffix[:BEHIND].split("\n")
    typed = before[-1].lstrip()
    indent = before[-1][: len(before[-1]) - len(typed)]
    above, below = _lines(before[:-1]), _lines(behind[1:])
    # At the very beginning of a line indentation is a part of what is written; it is likely as above.
    bare = not before[-1]
    due = above[-1].indent if bare and above else indent
    found: dict[str, tuple[int, float]] = {}

    def add(text: str, matched: int, evidence: float) -> None:
        if text.strip():
            known, sum_ = found.get(text, (0, -math.inf))
            found[text] = max(known, matched), float(np.logaddexp(sum_, evidence))

    for side, lines in enumerate((above, below)):
        nearest = range(len(lines)) if side else range(len(lines) - 1, -1, -1)
        places = ((i, at) for i in nearest for at in _ends(lines[i].text, typed[-SHORTEST:]))
        for i, at in islice(places, MOST):
            line = lines[i]
            same = _ending(line.text[:at], typed)
            whole = same == at == len(typed)
            up = _above(lines, i, above) if whole else 0
            far = i + 1 if side else len(lines) - i
            place = partial(_evidence, same, up, far, bool(side), line.indent == due, whole)
            margin = line.indent if bare else ""
            add(margin + _until(line.text[at:], behind[0].strip()), same + up, place(_below(lines, i + 1, below)))
            if not one_line and whole and (stop := _stop(lines, i, below)):
                text = margin + _reindented(lines[i:stop], margin or indent)[at:]
                add(text, same + up, place(_below(lines, stop, below)))
    ranked = sorted(found.items(), key=lambda item: -item[1][1])[:count]
    return [Copy(text, matched, evidence) for text, (matched, evidence) in ranked]


def _evidence(same: int, up: int, far: int, behind: bool, level: bool, whole: bool, down: int) -> float:
    """The score of a place: a conditional logit over all places of a file, fitted to 2,000 holes in files of the
    packages that are trained on (a line or the rest of one), so that softmax gives the chance that a place is the one
    to copy from, if any is. ``same``: characters before the cursor in its line that match, ``up``: in the lines above,
    ``down``: in the lines below; ``far``: lines from the cursor; ``level``: as far indented; ``whole``: all of the line
    up to the cursor matches."""
    return (
        1.03 * math.log1p(same) + 1.24 * math.log1p(up) + 1.23 * math.log1p(down) - 0.31 * math.log1p(far)
        - 0.15 * behind + 1.43 * level + 1.92 * whole
    )  # fmt: skip


def _lines(lines: Sequence[str]) -> list[_Line]:
    """Those that are not blank."""
    return [_Line(text, line[: line.index(text)]) for line in lines if (text := line.strip())]


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
    return _beginning(a[: -LONGEST - 1 : -1], b[: -LONGEST - 1 : -1])


def _beginning(a: str, b: str) -> int:
    return len(commonprefix([a[:LONGEST], b[:LONGEST]]))  # noqa: RUF071 (of texts, not of paths)


def _above(lines: Sequence[_Line], end: int, around: Sequence[_Line]) -> int:
    """Characters of the lines before ``end`` that are those of the last ones ``around``."""
    count = 0
    for a, b in zip(lines[max(end - AROUND, 0) : end][::-1], reversed(around), strict=False):
        if a.text != b.text:
            return count + _ending(a.text, b.text)
        count += len(a.text) + 1
    return count


def _below(lines: Sequence[_Line], start: int, around: Sequence[_Line]) -> int:
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


def _stop(lines: Sequence[_Line], start: int, below: Sequence[_Line]) -> int:
    """Where, a few lines behind ``start``, the lines go on as the suffix does; 0 for nowhere. Without a suffix: a few
    lines on."""
    for stop in range(start + 2, min(start + LINES, len(lines) - 1) + 1):
        if below and lines[stop].text == below[0].text:
            return stop
    return 0 if below else min(start + LINES, len(lines))


def _reindented(lines: Sequence[_Line], indent: str) -> str:
    """The lines with the first one's indentation replaced; up to the first that is indented less."""
    result: list[str] = []
    for line in lines:
        if not line.indent.startswith(lines[0].indent):
            break
        result.append(indent + line.indent.removeprefix(lines[0].indent) + line.text)
    return "\n".join(result).removeprefix(indent)
