"""Whether accepted text is still there after a while, looked up in the open document. Offsets, edits and clocks only;
what is found is counted, and the text is forgotten with the last look.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from difflib import SequenceMatcher

from assistant.statistics import WHEN
from lsp.documents import Document
from lsp.history import Change

LOOKS_S = dict(zip((30.0, 120.0, 600.0), WHEN, strict=True))
"""When it is looked at, in seconds after the acceptance, and what that is called."""
SIMILAR = 0.8
"""Share of the text that is still there, for it to count as kept with changes."""
NEAR = 512
"""How far from its place accepted text is looked for, in characters."""
TRACKED = 64
"""Acceptances at once; the oldest is given up."""


@dataclass(eq=False)
class _Tracked:
    key: str
    language: str
    text: str
    start: int
    end: int
    is_there: bool = False
    """Whether the editor has put it into the document: the command of an acceptance may come before the change."""


class Kept:
    def __init__(
        self,
        find: Callable[[str], Document | None],
        count: Callable[[str, str], None],
        looks_s: dict[float, str] = LOOKS_S,
    ) -> None:
        """``find``: the open document of a key."""
        self._find, self._count, self._looks_s = find, count, looks_s
        self._tracked: list[_Tracked] = []

    def accepted(self, key: str, language: str, text: str, start: int) -> None:
        if not text.strip():
            return
        one = _Tracked(key, language, text, start, start + len(text))
        self._tracked = [*self._tracked[1 - TRACKED :], one]
        self._look_for(one)
        loop = asyncio.get_running_loop()
        last = max(self._looks_s)
        for seconds, name in self._looks_s.items():
            loop.call_later(seconds, self._look, one, name, seconds == last)

    def changed(self, key: str, changes: tuple[Change, ...]) -> None:
        for one in self._tracked:
            if one.key != key:
                continue
            if not one.is_there:
                self._look_for(one)
                continue
            for change in changes:
                _follow(one, change)

    def forget(self, key: str) -> None:
        """The document was closed: nobody can tell any more."""
        self._tracked = [one for one in self._tracked if one.key != key]

    def _look_for(self, one: _Tracked) -> None:
        document = self._find(one.key)
        if document is None:
            return
        at = document.text.find(one.text, max(one.start - NEAR, 0), one.start + len(one.text) + NEAR)
        if at >= 0:
            one.start, one.end, one.is_there = at, at + len(one.text), True

    def _look(self, one: _Tracked, name: str, is_last: bool) -> None:
        document = self._find(one.key)
        if one not in self._tracked:
            return
        if is_last:
            self._tracked.remove(one)
        if document is None or not one.is_there:
            return
        now = document.text[one.start : one.end]
        how = "exact" if now.strip() == one.text.strip() else "similar" if _similar(one.text, now) else "gone"
        self._count(f"kept_{name}_{how}", one.language)


def _follow(one: _Tracked, change: Change) -> None:
    """Where the text is after a change. What is written inside of it belongs to it."""
    if change.end <= one.start and not (change.start == one.start and one.start == one.end):
        one.start += change.shift
        one.end += change.shift
    elif change.start < one.end:
        behind = change.start + len(change.inserted)
        if change.start < one.start:  # its beginning was taken away
            one.start = behind
        one.end = max(one.end + change.shift if change.end <= one.end else behind, one.start)


def _similar(old: str, now: str) -> bool:
    if not now or len(now) > 4 * len(old) or len(old) > 20_000:
        return False
    matcher = SequenceMatcher(None, old, now, autojunk=False)
    if matcher.real_quick_ratio() < SIMILAR or matcher.quick_ratio() < SIMILAR:
        return False
    if len(old) > 2000:  # the exact ratio is quadratic
        return True
    return matcher.ratio() >= SIMILAR
