"""A network for samplers to choose by: a fixed random function of the ids, without a context and without special ids
apart, as published checkpoints are used in place."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from model.calls import Call, one_by_one

WORDS = 11
"""Ordinary tokens 0..10; behind them stand mask, pad, expand and delete."""


@dataclass
class ToyTokenizer:
    n_special: int = 0
    mask: int = WORDS
    pad: int = WORDS + 1
    expand: int = WORDS + 2
    delete: int = WORDS + 3
    vocab_size: int = WORDS + 4


@dataclass
class Toy:
    """Logits of a place depend on all ids of its row but padding; blocked ids have minus infinity."""

    seed: int
    sharp: float = 3.0
    lengths: bool = False
    """Whether expand and delete may be proposed."""
    tokenizer: ToyTokenizer = field(default_factory=ToyTokenizer)
    seen: list[Tensor] = field(default_factory=list[Tensor])
    """Every canvas that was asked about."""

    def __post_init__(self) -> None:
        g = torch.Generator().manual_seed(self.seed)
        self.words = torch.randn(self.tokenizer.vocab_size, 8, generator=g)
        self.mixing = torch.randn(64, 64, generator=g)
        self.out = torch.randn(64, 8, self.tokenizer.vocab_size, generator=g)

    def logits(self, row: Sequence[int]) -> Tensor:
        """[N, V], one row without padding."""
        n = len(row)
        mixed = self.mixing[:n, :n] @ self.words[torch.tensor(row, dtype=torch.int64)] / max(n, 1) ** 0.5
        logits = self.sharp * torch.einsum("nd,ndv->nv", mixed, self.out[:n]) / 8**0.5
        blocked = [self.tokenizer.mask, self.tokenizer.pad]
        if not self.lengths:
            blocked += [self.tokenizer.expand, self.tokenizer.delete]
        logits[:, blocked] = -torch.inf
        return logits

    def denoise(self, state: object, canvas: Tensor, wanted: Tensor) -> Tensor:
        self.seen.append(canvas.clone())
        rows = []
        for ids, asked in zip(canvas.tolist(), wanted, strict=True):
            row = [token for token in ids if token != self.tokenizer.pad]
            rows.append(self.logits(row)[asked[: len(row)]])
        return torch.cat(rows)

    def run(self, calls: Sequence[Call]) -> list[Any]:
        return one_by_one(self, calls)
