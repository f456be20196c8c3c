"""What is to become of a file: new text for some of its blocks, and what became of the others.

The gate. What parsed before parses after; what did not has no more errors than it had. In Python, and where the file
was a program before, its syntax tree with the blocks taken out is the same before and after.
"""

import ast
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from assistant.edits import applied
from assistant.refactor.files import Original
from assistant.refactor.select import Block
from assistant.types import TextEdit
from infill.minimal import spliced
from infill.program import parses, tree_of
from infill.syntax import worse

_LINE_END = re.compile(r"\r\n|\n|\r")
Lines = tuple[int, int]
"""The first and the last line of a block, from 1; the last is before the first where nothing is left of it."""


@dataclass(frozen=True)
class Outcome:
    """What became of one block."""

    block: Block
    reason: str | None
    """Why it is left as it is; None where it has a new text."""
    edits: tuple[TextEdit, ...] = ()
    """Of the file's text, in order."""
    new: str = ""
    """What becomes of its lines."""

    @property
    def gain(self) -> float:
        return max((one.gain for one in self.edits), default=0.0)

    @property
    def worth(self) -> tuple[bool, float]:
        """What must be left out is that of least worth: what a rule found is worth more than what a model did."""
        return any(one.ruled for one in self.edits), self.gain

    def dropped(self, reason: str) -> "Outcome":
        return replace(self, reason=reason, edits=(), new="")


@dataclass(frozen=True)
class Change:
    """A file with the outcomes of all its blocks, in order."""

    original: Original
    language: str
    outcomes: tuple[Outcome, ...]
    model: str = ""
    """What it is called."""

    def by(self, one: Outcome) -> str:
        """What changed a block: a rule, the model, or one after the other."""
        if not any(edit.ruled for edit in one.edits):
            return self.model
        return f"rule and {self.model}" if one.gain > 0 and self.model else "rule"

    @property
    def path(self) -> str:
        return self.original.path

    @property
    def changed(self) -> tuple[Outcome, ...]:
        return tuple(one for one in self.outcomes if one.reason is None)

    @property
    def text(self) -> str:
        """With the changed blocks."""
        return spliced(self.original.text, ((one.block.start, one.block.end, one.new) for one in self.changed))

    @property
    def data(self) -> bytes:
        return self.text.encode("utf-8")

    def only(self, kept: Iterable[Block], reason: str) -> "Change":
        """With changes in these blocks alone; ``reason`` is what is said of the others."""
        blocks = set(kept)
        return replace(
            self,
            outcomes=tuple(
                one.dropped(reason) if one.reason is None and one.block not in blocks else one for one in self.outcomes
            ),
        )


def outcome(text: str, block: Block, edits: Sequence[TextEdit], reason: str | None) -> Outcome:
    """What a model's edits of a block come to."""
    if not edits:
        return Outcome(block, reason or "right")
    inside = all(block.start <= one.start <= one.end <= block.end for one in edits)
    ordered = all(one.end <= other.start for one, other in pairwise(edits))
    if not inside or not ordered:
        return Outcome(block, "outside of the block")
    old = text[block.start : block.end]
    new = applied(text[: block.end], edits)[block.start :]
    if new == old:
        return Outcome(block, "right")
    if new and old.endswith("\n") and not new.endswith("\n"):
        return Outcome(block, "joins lines with what follows")
    try:
        new.encode("utf-8")
    except UnicodeEncodeError:
        return Outcome(block, "is no text")
    return Outcome(block, None, tuple(edits), new)


def settled(change: Change) -> Change:
    """The change as far as it passes the gate: where all of it does not, what fails alone is left out, and then blocks
    that gain least."""
    if not change.changed or wrong(change) is None:
        return change
    kept = []
    for one in change.changed:
        reason = wrong(change.only([one.block], ""))
        if reason is None:
            kept.append(one)
        else:
            change = _without(change, one.block, reason)
    kept.sort(key=lambda one: one.worth, reverse=True)
    while kept and (reason := wrong(change)) is not None:
        change = _without(change, kept.pop().block, reason)
    return change


def _without(change: Change, block: Block, reason: str) -> Change:
    return replace(
        change,
        outcomes=tuple(one.dropped(reason) if one.block == block else one for one in change.outcomes),
    )


def wrong(change: Change) -> str | None:
    """Why the file with the change does not pass the gate; None where it does."""
    old, new = change.original.text, change.text
    if new == old:
        return None
    if worse(old, new, change.language):
        return "would not parse"
    if change.language == "python" and parses(old):
        before, after = _spans(old, change.changed)
        try:
            if outside(old, before) != outside(new, after):
                return "would change what is outside of it"
        except RecursionError:
            return "is nested too deep to be checked"
    return None


def _spans(text: str, changed: Sequence[Outcome]) -> tuple[list[Lines], list[Lines]]:
    """The lines of the changed blocks before and after, as Python counts them: a lone carriage return ends one, too."""
    before, after = [], []
    grown = at = passed = 0
    for one in changed:
        passed += _ends(text[at : one.block.start])
        first = passed + 1
        old, new = text[one.block.start : one.block.end], one.new
        last = passed + _height(old)
        before.append((first, last))
        after.append((first + grown, first + grown + _height(new) - 1))
        grown += _height(new) - _height(old)
        passed, at = passed + _ends(old), one.block.end
    return before, after


def _ends(text: str) -> int:
    return len(_LINE_END.findall(text))


def _height(text: str) -> int:
    """Lines, with or without an end to the last one."""
    return _ends(text) + (bool(text) and not text.endswith(("\n", "\r")))


def outside(text: str, blocks: Sequence[Lines]) -> object:
    """The syntax tree of a Python program without what is in blocks: a mark stands for that, so that its place counts.

    A statement that begins in a block and ends behind it, because its head is in it, may change, but for what it holds.
    """
    return _Outside(blocks).of(tree_of(text))


class _Outside:
    def __init__(self, blocks: Sequence[Lines]) -> None:
        self._blocks = [(first, last, index) for index, (first, last) in enumerate(blocks) if last >= first]

    def of(self, node: object) -> object:
        if isinstance(node, list):
            return self._together([self.of(one) for one in node])
        if not isinstance(node, ast.AST):
            return repr(node)
        lines = _lines(node)
        if lines is None:
            return self._plain(node)
        first, last = lines
        for low, high, index in self._blocks:
            if low <= first <= high:
                return ("block", index) if last <= high else ("begins in", index, *self._held(node))
        return self._plain(node)

    def _plain(self, node: ast.AST) -> object:
        return (type(node).__name__, *(self.of(getattr(node, name, None)) for name in node._fields))

    def _held(self, node: ast.AST) -> list[object]:
        """What of a node's inside stands behind the block that the node begins in."""
        found: list[object] = []
        for child in ast.iter_child_nodes(node):
            if _lines(child) is None:
                found += self._held(child)
            elif (one := self.of(child))[0] != "block":  # type: ignore[index]
                found.append(one)
        return found

    @staticmethod
    def _together(found: list[object]) -> list[object]:
        """Several marks of one block beside each other are one."""
        kept: list[object] = []
        for one in found:
            if not (kept and kept[-1] == one and isinstance(one, tuple) and one[0] == "block"):
                kept.append(one)
        return kept


def _lines(node: ast.AST) -> Lines | None:
    """With decorators; None for what has no place of its own."""
    first, last = getattr(node, "lineno", None), getattr(node, "end_lineno", None)
    if first is None or last is None:
        return None
    return min([first, *(one.lineno for one in getattr(node, "decorator_list", ()))]), last
