"""What a damage is: a block of a file, edits that make it worse, and the kinds of them. Offsets are code points.

Edits are ``(start, end, replacement)`` on one text, sorted, with at least one character between two of them.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from model.damage.scan import Scan

Edit = tuple[int, int, str]
Edits = tuple[Edit, ...]

GROUPS = {
    "fix": "Fix this block.",
    "modernise": "Modernise this block.",
    "annotate": "Add the missing annotations.",
    "document": "Add the missing docstrings.",
    "rename": "Make the names agree with their definitions.",
}
"""Each group with the instruction it has as a task of its own."""


@dataclass(frozen=True)
class Block:
    """A function, method, class or run of statements: ``text[start:end]`` of a file or a part of one."""

    text: str
    start: int
    end: int

    @property
    def source(self) -> str:
        return self.text[self.start : self.end]

    @cached_property
    def scan(self) -> Scan:
        """The block's syntax, parsed once for all kinds that are tried on it."""
        return Scan(self.text, self.start, self.end)


@dataclass(frozen=True)
class Damage:
    """Edits that make a block worse; ``kind`` is the task of undoing them: a kind, or a group where kinds are mixed."""

    kind: str
    edits: Edits
    parts: tuple[str, ...] = ()
    """The kinds that were applied; empty where the block is left as it is."""


@dataclass(frozen=True)
class Kind:
    """One way to make code worse, and the task of undoing it."""

    name: str
    group: str
    instruction: str
    find: Callable[[np.random.Generator, Scan], Iterable[Edit] | None] = field(repr=False)
    """The edits for one place of a block that parses, drawn at random; None where there is none."""
    needs: tuple[str, ...] = ()
    """Types of syntax nodes of which a block must hold one: a cheap first question. Empty: it has to be tried."""
    weight: float = 1.0
    """How often it is drawn among the kinds of its group; below one also: in which share of the blocks at all."""

    def plausible(self, block: Block) -> bool:
        return not self.needs or any(need in block.scan.nodes for need in self.needs)

    def apply(self, rng: np.random.Generator, block: Block) -> Damage | None:
        """Damage at one place of the block, or None where the kind does not fit or the block does not parse."""
        if block.scan.broken or not self.plausible(block):
            return None
        edits = tidy(block.text, self.find(rng, block.scan) or ())
        if not edits or edits[0][0] < block.start or edits[-1][1] > block.end:
            return None
        return Damage(self.name, edits, (self.name,))


Table = dict[str, Kind]
_Find = Callable[[np.random.Generator, Scan], Iterable[Edit] | None]


def kind(
    table: Table, name: str, instruction: str, *, group: str, needs: tuple[str, ...] = (), weight: float = 1.0
) -> Callable[[_Find], _Find]:
    """Enters a function into a table of kinds."""

    def enter(find: _Find) -> _Find:
        assert name not in table, f"two kinds are called {name}"
        assert group in GROUPS, f"{name}: no group {group}"
        table[name] = Kind(name, group, instruction, find, needs, weight)
        return find

    return enter


def tidy(text: str, edits: Iterable[Edit]) -> Edits:
    """The same edits as small as they can be, sorted, those that touch joined, those that change nothing left out.

    Edits that overlap say two things about one place: that is refused, with no edits at all.
    """
    joined: list[Edit] = []
    for start, end, new in sorted(edits):
        if joined and start < joined[-1][1]:
            return ()
        if joined and start == joined[-1][1]:
            before, _, old_new = joined.pop()
            joined.append((before, end, old_new + new))
        else:
            joined.append((start, end, new))
    small = (_trim(text, edit) for edit in joined)
    return tuple(edit for edit in small if edit[0] < edit[1] or edit[2])


def _trim(text: str, edit: Edit) -> Edit:
    start, end, new = edit
    old = text[start:end]
    limit = min(len(old), len(new))
    head = next((i for i in range(limit) if old[i] != new[i]), limit)
    tail = next((i for i in range(limit - head) if old[-1 - i] != new[-1 - i]), limit - head)
    return start + head, end - tail, new[head : len(new) - tail]


def damaged(text: str, edits: Sequence[Edit]) -> str:
    """The text with the edits made."""
    parts: list[str] = []
    at = 0
    for start, end, new in edits:
        parts += text[at:start], new
        at = end
    return "".join([*parts, text[at:]])


def inverse(text: str, edits: Sequence[Edit]) -> Edits:
    """What turns ``damaged(text, edits)`` back into ``text``."""
    back: list[Edit] = []
    moved = 0
    for start, end, new in edits:
        back.append((start + moved, start + moved + len(new), text[start:end]))
        moved += len(new) - (end - start)
    return tuple(back)
