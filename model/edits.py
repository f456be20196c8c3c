"""Training batches for edits: a block of real code made worse by program, its task, and what a person wrote.

The block, some whole lines, stands in the context with the name of the task. Behind it hang two canvases: the block as
it is, where the edit head learns which tokens are wrong and where some are missing, and the block with those places
open, where the canvas learns to fill them. The causal head learns to write the right block from the damaged one: the
judge of edits, and the autoregressive way to do the same. Knows ids and offsets, and nothing of the kinds of damage.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

import numpy as np
import tree_sitter

from model.config import ModelConfig
from model.damage.draw import draw
from model.damage.kinds import KINDS
from model.damage.types import Edits, damaged
from model.layout import EDITS_SHORTER, Operations, encode_context, further_end, line_end, line_start
from model.loss import Batch
from model.rows import CLEAN_WEIGHT, Ints, Rows
from model.tokenizer import Tokenizer

CLEAN = 0.35
"""Share of the blocks that are as a person wrote them: most code is right, and is to be left alone."""
BY_GROUP = 0.6
"""Share of the tasks that are named by their group ("fix") instead of their kind ("missing-colon")."""


LEAST_AROUND = 40
"""Tokens that are left for the task and what stands around a block."""


@dataclass(frozen=True)
class Example:
    """One block: ``before`` | ``clean`` or ``damaged`` | ``after``."""

    before: str
    clean: str
    damaged: str
    after: str
    task: str


def operations(damaged: Sequence[int], clean: Sequence[int]) -> Operations:
    """What turns ``damaged`` into ``clean``: what is written in place of tokens stands before the first of them."""
    wrong, inserts = [False] * len(damaged), [0] * (len(damaged) + 1)
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, damaged, clean, autojunk=False).get_opcodes():
        if tag != "equal":
            wrong[i1:i2] = [True] * (i2 - i1)
            inserts[i1] = j2 - j1
    return Operations(wrong, inserts)


def example(
    rng: np.random.Generator, text: str, parser: tree_sitter.Parser, kinds: Collection[str] | None = None
) -> Example | None:
    """One block of the text, damaged or left as it is; None where no kind of damage fits the place that was drawn.
    ``kinds`` limits what is drawn."""
    drawn = draw(rng, text, parser, kinds)
    if drawn is None or not drawn[1].edits:
        return None
    block, damage = drawn
    edits = damage.edits
    start, end = lines_around(rng, text, edits, block.start, block.end)
    here: Edits = tuple((a - start, b - start, new) for a, b, new in edits)
    clean = text[start:end]
    worse = clean if rng.random() < CLEAN else damaged(clean, here)
    kind = KINDS.get(damage.kind)
    task = kind.group if kind is not None and rng.random() < BY_GROUP else damage.kind
    return Example(text[:start], clean, worse, text[end:], task)


def lines_around(rng: np.random.Generator, text: str, edits: Edits, low: int, high: int) -> tuple[int, int]:
    """Whole lines with all edits in them, and by chance a few more of the block ``low``..``high`` on both sides."""
    start, end = line_start(text, edits[0][0]), line_end(text, edits[-1][1])
    for _ in range(int(rng.integers(0, 8))):
        if start > low and rng.random() < 0.5:
            start = line_start(text, start - 1)
        elif end < high:
            end = further_end(text, end)
    return start, end


@dataclass(frozen=True)
class Laid:
    """One example as ids."""

    ids: Ints
    """The stream: context, clean block, <eot>."""
    start: int
    """Where the clean block begins."""
    damaged: list[int]
    clean: list[int]
    glue: list[int]


class EditBatches:
    """Examples as ids, and batches of them."""

    def __init__(self, tokenizer: Tokenizer, config: ModelConfig) -> None:
        self.tokenizer, self.config = tokenizer, config
        self.length = config.context // EDITS_SHORTER
        self.width = 2 * (config.max_hole + config.glue)
        newline = [tokenizer.token_bytes(i).startswith((b"\n", b"\r\n")) for i in range(tokenizer.vocab_size)]
        self.newline = np.array(newline)

    def lay_out(self, rng: np.random.Generator, found: Example, path: str) -> Laid | None:
        """Token ids of an example; None when its block is longer than a canvas."""
        tokenizer, most = self.tokenizer, self.config.max_hole
        if max(len(found.clean), len(found.damaged)) > 12 * most:
            return None
        worse, clean = tokenizer.encode(found.damaged), tokenizer.encode(found.clean)
        if not worse or not clean or max(len(worse), len(clean)) > most:
            return None
        if len(worse) + len(clean) > self.length - LEAST_AROUND:
            return None
        laid = encode_context(
            tokenizer,
            found.before,
            found.after,
            language="python",
            filename=path if rng.random() < 0.85 else None,
            context=self.length,
            glue=self.config.glue,
            reserve=len(clean) + 1,
            edit=(found.task, worse),
        )
        ids = np.array([*laid.ids, *clean, tokenizer.eot], dtype=np.int64)
        return Laid(ids, len(laid.ids), worse, clean, laid.glue)

    def collate(self, examples: Sequence[Laid], rng: np.random.Generator) -> Batch:
        rows = Rows(len(examples), self.length, self.width)
        for row, one in enumerate(examples):
            self._stream_row(rows, row, one)
            self._inspected(rows, row, one)
            self._opened(rows, row, one, rng)
        return rows.batch()

    def _stream_row(self, rows: Rows, row: int, one: Laid) -> None:
        n = len(one.ids)
        rows.ids[row, :n] = one.ids
        rows.targets[row, : n - 1] = one.ids[1:]
        # Code is read often enough elsewhere, and damaged code is not to be learnt: here the right block counts.
        rows.weights[row, one.start - 1 : n - 1] = 1.0
        most = self.config.max_hole + 1
        rows.lengths[row, one.start - 1, 0] = min(len(one.clean), most)
        rows.length_weights[row, one.start - 1, 0] = 1.0

    def _inspected(self, rows: Rows, row: int, one: Laid) -> None:
        """The block as it is."""
        todo = operations(one.damaged, one.clean)
        n = len(one.damaged)
        rows.hang(row, 0, one.damaged, one.glue, one.start, int(one.ids[one.start - 1]), segment=0)
        rows.wrong[row, :n] = todo.wrong
        rows.inserts[row, : n + 1] = np.minimum(todo.inserts, self.config.inserts + 1)
        rows.edit_weights[row, : n + 1] = 1.0

    def _opened(self, rows: Rows, row: int, one: Laid, rng: np.random.Generator) -> None:
        """The right block with what is to be written open: just that, or some more, or all of it."""
        todo = operations(one.damaged, one.clean)
        mask = self.tokenizer.mask
        shown = np.array(todo.opened(one.damaged, mask), dtype=np.int64)
        truth = np.array(one.clean, dtype=np.int64)
        chance = rng.random()
        if chance < 0.15:
            shown[:] = mask
        elif chance < 0.5 or not (shown == mask).any():
            shown[rng.random(len(shown)) < rng.uniform(0.05, 0.5)] = mask
        used = len(one.damaged) + len(one.glue)
        rows.hang(row, used, shown, one.glue, one.start, int(one.ids[one.start - 1]), segment=1)
        place = slice(used, used + len(shown))
        masked = shown == mask
        rows.canvas_targets[row, place] = truth
        rows.canvas_weights[row, place] = np.where(masked, 1.0, CLEAN_WEIGHT)
        rows.masked[row, place] = masked
