"""A network below the editor that knows what is right."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from model.calls import Call, one_by_one
from model.edits import operations
from model.tokenizer import Tokenizer
from tests.fakes import CPU, FakeState, small_tokenizer


@dataclass
class Mender:
    """Knows pairs of damaged and right texts of whole lines; every other line is right."""

    right: dict[str, str]
    tokenizer: Tokenizer = field(default_factory=small_tokenizer)
    context: int = 512
    max_hole: int = 64
    glue: int = 8
    inserts: int = 32
    device: torch.device = CPU
    sure: float = 6.0
    eager: float = 8.0
    """How much better a right token looks to the causal head than a wrong one."""
    tasks: list[str] = field(default_factory=list[str])
    seen: list[str] = field(default_factory=list[str])

    batches: list[int] = field(default_factory=list[int])
    """Calls in every pass."""

    def run(self, calls: Sequence[Call]) -> list[Any]:
        self.batches.append(len(calls))
        return one_by_one(self, calls)

    def encode(self, ids: Sequence[int], past: FakeState | None = None) -> FakeState:
        assert torch.is_inference_mode_enabled()
        assert len(ids) <= self.context
        return FakeState(tuple(ids))

    def inspect(self, state: FakeState, block: Sequence[int], glue: Sequence[int]) -> tuple[Tensor, Tensor]:
        todo = operations(block, self.target(state))
        odds = torch.tensor([self.sure if wrong else -self.sure for wrong in todo.wrong])
        missing = torch.full((len(block) + 1, self.inserts + 2), -9.0)
        missing[torch.arange(len(block) + 1), torch.tensor(todo.inserts)] = -0.01
        return odds, missing

    def denoise(self, state: FakeState, canvas: Tensor, wanted: Tensor) -> Tensor:
        target = self.target(state)
        logits = torch.zeros(*canvas.shape, self.tokenizer.vocab_size)
        for k, row in enumerate(canvas.tolist()):
            for i, _ in enumerate(row):
                logits[k, i, target[min(i, len(target) - 1)]] = 8.0
        return logits[wanted]

    def score(self, state: FakeState, tokens: Tensor) -> Tensor:
        target = [*self.target(state), self.tokenizer.eot]
        scores = torch.full(tokens.shape, -0.1 - self.eager)
        for k, row in enumerate(tokens.tolist()):
            for i, token in enumerate(row):
                if token == self.tokenizer.pad:
                    scores[k, i] = 0.0
                elif row[: i + 1] == target[: i + 1]:
                    scores[k, i] = -0.1
        return scores

    def next_logits(self, state: FakeState) -> Tensor:
        ids = list(state.ids)
        done = self.tokenizer.decode(ids[ids.index(self.tokenizer.pre) :])
        target = self.tokenizer.decode(self.target(state))
        known = next((n for n in range(len(target), -1, -1) if done.endswith(target[:n])), 0)
        rest = self.tokenizer.encode(target[known:])
        logits = torch.zeros(self.tokenizer.vocab_size)
        logits[rest[0] if rest else self.tokenizer.eot] = 9.0
        return logits

    def last_logits(self, state: FakeState, count: int) -> Tensor:
        ends = range(len(state.ids) - count + 1, len(state.ids) + 1)
        return torch.stack([self.next_logits(FakeState(state.ids[:end])) for end in ends])

    def length_logprobs(self, state: FakeState, *, line: bool = False) -> Tensor:
        raise AssertionError("the length of a block is not searched for")

    def target(self, state: FakeState) -> list[int]:
        ids = list(state.ids)
        begin = ids.index(self.tokenizer.edit)
        task = ids[begin + 1 : ids.index(self.tokenizer.eol, begin)]
        block = self.tokenizer.decode(ids[ids.index(self.tokenizer.eol, begin) + 1 : ids.index(self.tokenizer.suf)])
        self.tasks.append(self.tokenizer.decode(task))
        self.seen.append(block)
        text = block
        for old, new in self.right.items():
            text = text.replace(old, new)
        return self.tokenizer.encode(text)
