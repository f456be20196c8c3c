"""What was changed in the open documents, in this session: for suggestions that hold back, and for the next edit.

Changes that touch become one, so a name that was typed letter by letter is one change, which knows what stood there
before. Only texts and offsets; nothing leaves the process.
"""

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

SPANS = 256
"""Changed places that are remembered per document, the newest ones; a name has as many uses, seldom more."""
LARGEST = 8192
"""Characters; a change of more than this (a formatter, a paste) is no edit by hand, and takes what it touches along."""
BURST_S = 0.6
"""Deletions closer together than this belong together."""


class Change(NamedTuple):
    """``removed``, which began at ``start``, became ``inserted``."""

    start: int
    removed: str
    inserted: str

    @property
    def end(self) -> int:
        """Of what was removed."""
        return self.start + len(self.removed)

    @property
    def shift(self) -> int:
        return len(self.inserted) - len(self.removed)


@dataclass(frozen=True)
class Span:
    """A changed place: ``text[start:end]`` of the document as it is, where ``old`` stood."""

    start: int
    end: int
    old: str
    serial: int = 0
    """Grows with every change."""


class History:
    """Of one document."""

    def __init__(self) -> None:
        self.spans: tuple[Span, ...] = ()
        """In the order of the text."""
        self._serial = 0
        self._deletions: deque[float] = deque(maxlen=2)
        self._last: Change | None = None

    def add(self, changes: Iterable[Change], text: str, now: float | None = None) -> None:
        """``text``: the document behind them."""
        moment = time.monotonic() if now is None else now
        for change in changes:
            self._serial += 1
            self._last = change
            if change.removed and not change.inserted:
                self._deletions.append(moment)
            else:
                self._deletions.clear()
            self.spans = _joined(self.spans, change, self._serial)
        self.spans = _kept(self.spans, text)

    def deleting(self, text: str, at: int) -> bool:
        """Whether the user is taking something away at ``at``: a part of a word, or one sign after the other."""
        last = self._last
        if last is None or not last.removed or last.inserted or last.start != at:
            return False
        if len(self._deletions) > 1 and self._deletions[-1] - self._deletions[0] < BURST_S:
            return True
        before, behind = text[at - 1 : at], text[at : at + 1]
        return (is_word(before) and is_word(last.removed[:1])) or (is_word(last.removed[-1:]) and is_word(behind))


def is_word(sign: str) -> bool:
    return sign.isalnum() or sign == "_"


def _joined(spans: tuple[Span, ...], change: Change, serial: int) -> tuple[Span, ...]:
    """The places after one more change."""
    touched = [one for one in spans if one.end >= change.start and one.start <= change.end]
    rest = [_moved(one, change) for one in spans if one not in touched]
    if max(len(change.removed), len(change.inserted)) > LARGEST:
        return tuple(rest)
    at = start = min([change.start, *(one.start for one in touched)])
    end = max([change.end, *(one.end for one in touched)])
    pieces = []  # what stood there before: between two places the text is as it was, and a part of what was removed
    for one in touched:
        pieces += [change.removed[at - change.start : one.start - change.start] if at < one.start else "", one.old]
        at = max(at, one.end)
    pieces.append(change.removed[at - change.start :] if at < change.end else "")
    joined = Span(start, end + change.shift, "".join(pieces), serial)
    return tuple(sorted([*rest, joined], key=lambda one: one.start))


def _moved(one: Span, change: Change) -> Span:
    shift = change.shift if one.start > change.end else 0
    return replace(one, start=one.start + shift, end=one.end + shift)


def _kept(spans: tuple[Span, ...], text: str) -> tuple[Span, ...]:
    changed = [one for one in spans if text[one.start : one.end] != one.old and len(one.old) <= LARGEST]
    newest = sorted(changed, key=lambda one: -one.serial)[:SPANS]
    return tuple(sorted(newest, key=lambda one: one.start))
