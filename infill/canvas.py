"""The canvas: a batch of rows, each a hole followed by glue, over one shared context.

Ids only, no text. Shapes: K rows, N places of the widest row. A place of the hole is open (``mask`` stands there) or
committed; every other place (glue, padding) is fixed and never changes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from model.tokenizer import Tokenizer


@dataclass(frozen=True)
class Canvas:
    ids: Tensor
    """[K, N] int64."""
    hole: Tensor
    """[K, N] bool: the places that may ever be written."""
    open: Tensor
    """[K, N] bool: the places of the hole that are still to be written."""
    confidence: Tensor
    """[K, N] float32: probability of each token when it was committed; 0 where open, 1 where given or fixed."""
    mask: int
    names: tuple[int, ...] = ()
    """Which row of the first canvas each one is: rows may be left behind."""

    @classmethod
    def of_lengths(
        cls, lengths: Sequence[int], glue: Sequence[int], tokenizer: Tokenizer, device: torch.device
    ) -> "Canvas":
        """One row of open places per length."""
        return cls.of_rows([[tokenizer.mask] * length for length in lengths], glue, tokenizer, device)

    @classmethod
    def of_rows(
        cls, rows: Sequence[Sequence[int]], glue: Sequence[int], tokenizer: Tokenizer, device: torch.device
    ) -> "Canvas":
        """Hole tokens per row, with ``tokenizer.mask`` where they are open."""
        width = max(len(row) for row in rows) + len(glue)
        padded = [[*row, *glue, *[tokenizer.pad] * (width - len(row) - len(glue))] for row in rows]
        ids = torch.tensor(padded, dtype=torch.int64, device=device)
        sizes = torch.tensor([len(row) for row in rows], device=device)
        hole = torch.arange(width, device=device) < sizes[:, None]
        is_open = hole & (ids == tokenizer.mask)
        return cls(ids, hole, is_open, (~is_open).float(), tokenizer.mask, tuple(range(len(rows))))

    @property
    def committed(self) -> Tensor:
        """[K, N] bool."""
        return self.hole & ~self.open

    def commit(self, where: Tensor, tokens: Tensor, confidence: Tensor) -> "Canvas":
        """Writes ``tokens`` [K, N], with their probabilities, at the places ``where`` [K, N]."""
        return replace(
            self,
            ids=torch.where(where, tokens, self.ids),
            open=self.open & ~where,
            confidence=torch.where(where, confidence, self.confidence),
        )

    def remask(self, where: Tensor) -> "Canvas":
        """Opens the places ``where`` [K, N] again."""
        return replace(
            self,
            ids=self.ids.masked_fill(where, self.mask),
            open=self.open | where,
            confidence=self.confidence.masked_fill(where, 0.0),
        )

    def within(self, begin: int, end: int) -> "Canvas":
        """The same canvas with a hole only from place ``begin`` to before ``end``."""
        if begin <= 0 and end >= self.ids.shape[1]:
            return self
        places = torch.arange(self.ids.shape[1], device=self.ids.device)
        here = (places >= begin) & (places < end)
        return replace(self, hole=self.hole & here, open=self.open & here)

    def take(self, rows: Sequence[int]) -> "Canvas":
        """These rows only, in this order."""
        chosen = torch.tensor(rows, dtype=torch.int64, device=self.ids.device)
        ids, hole, is_open, sure = (
            t.index_select(0, chosen) for t in (self.ids, self.hole, self.open, self.confidence)
        )
        return Canvas(ids, hole, is_open, sure, self.mask, tuple(self.names[row] for row in rows))

    def agrees(self, other: "Canvas") -> bool:
        """Whether the fixed places of both hold the same tokens (looks at the host)."""
        same = (self.hole == other.hole) & (self.hole | (self.ids == other.ids)) & (self.hole | ~self.open)
        return bool(same.all())

    def rows(self) -> list[list[int]]:
        """The hole tokens of every row."""
        sizes = self.hole.sum(1).tolist()
        return [row[:size] for row, size in zip(self.ids.tolist(), sizes, strict=True)]

    def mean_log_confidence(self) -> Tensor:
        """[K]: mean log probability of the hole tokens when they were committed."""
        log = self.confidence.clamp_min(1e-9).log().masked_fill(~self.hole, 0.0)
        return log.sum(1) / self.hole.sum(1).clamp_min(1)
