"""Fakes for the seam between engine and network: a denoiser that knows the answer, and a small real tokenizer."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import Tensor

from model.calls import Call, one_by_one
from model.tokenizer import Tokenizer

CPU = torch.device("cpu")

SAMPLE = '''import os


def return_value(self, index):
    """Return the value at an index."""
    if index is None:
        raise ValueError("index must not be None")
    return self.values[index]


class Reader:
    def __init__(self, path, encoding="utf-8"):
        self.path = os.path.join(path, "name.txt")
        self.encoding = encoding

    def read(self):
        with open(self.path, encoding=self.encoding) as file:
            for line in file:
                print(line.strip(), end="\\n")
        return True
'''


@cache
def small_tokenizer() -> Tokenizer:
    """Byte-level BPE of 512 tokens: words of ``SAMPLE`` are one or two tokens, all else is bytes."""
    return Tokenizer.train([SAMPLE] * 3, vocab_size=512)


@cache
def byte_tokenizer() -> Tokenizer:
    """One token per byte."""
    return Tokenizer.train([], vocab_size=64 + 256)


@cache
def byte_tokens(tokenizer: Tokenizer) -> dict[int, int]:
    """Byte -> the token that is this byte alone."""
    table = {token: tokenizer.token_bytes(token) for token in range(tokenizer.n_special, tokenizer.vocab_size)}
    return {data[0]: token for token, data in table.items() if len(data) == 1}


@dataclass
class FakeState:
    ids: tuple[int, ...]
    alive: bool = True
    """False once ``encode`` has consumed it."""
    nbytes: int = 1 << 20


@dataclass
class ScriptedDenoiser:
    """Knows that ``answer`` follows ``prefix`` and says so through the ``Denoiser`` protocol, by text.

    Where in the answer it is, it finds out by decoding the prefix part of the context; so it works for any cut of the
    prefix and behind blocks that were written already. A canvas of the right length shows the answer, a shorter one its
    beginning, a longer one the answer and then repetitions of its last token. Confidence falls from left to right.
    """

    prefix: str
    answer: str
    tokenizer: Tokenizer = field(default_factory=small_tokenizer)
    context: int = 256
    max_hole: int = 64
    glue: int = 8
    inserts: int = 0
    device: torch.device = CPU
    slip: Callable[[list[int], list[int]], list[int]] | None = None
    """(target, canvas row) -> what is proposed instead: errors on purpose."""
    guess: int | None = None
    """Length in tokens that the length head holds likeliest; None: the true one."""
    sharp: float = 8.0
    """Logit of the right token; 8 is a probability of about 0.85 among 512."""
    on_call: Callable[[str], None] | None = None
    calls: Counter[str] = field(default_factory=Counter[str])
    widths: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    """Shape of every canvas seen."""
    scored: int = 0
    """Rows of all calls to ``score``."""
    batches: list[int] = field(default_factory=list[int])
    """Calls in every pass."""

    def run(self, calls: Sequence[Call]) -> list[Any]:
        self.batches.append(len(calls))
        return one_by_one(self, calls)

    def encode(self, ids: Sequence[int], past: FakeState | None = None) -> FakeState:
        self._called("encode" if past is None else "encode with past")
        assert len(ids) <= self.context, f"{len(ids)} context tokens are more than {self.context}"
        if past is not None:
            assert past.alive, "a state was used after it was consumed"
            past.alive = False
        return FakeState(tuple(ids))

    def next_logits(self, state: FakeState) -> Tensor:
        self._called("next_logits")
        target = [*self._target(state), self.tokenizer.eot]
        return self._logits([target[0]])[0]

    def last_logits(self, state: FakeState, count: int) -> Tensor:
        self._called("last_logits")
        before = [FakeState(state.ids[:end]) for end in range(len(state.ids) - count, len(state.ids))]
        return torch.cat([self._logits([*self._target(one), self.tokenizer.eot][:1]) for one in before])

    def length_logprobs(self, state: FakeState, *, line: bool = False) -> Tensor:
        self._called("line lengths" if line else "lengths")
        remaining = self._remaining(state)
        if line:
            remaining = remaining.split(b"\n", 1)[0]
        length = self.guess or len(self._encode(remaining))
        lengths = torch.arange(self.max_hole + 2)
        return (-(lengths - min(length, self.max_hole + 1)).abs().float()).log_softmax(-1)

    def denoise(self, state: FakeState, canvas: Tensor, wanted: Tensor) -> Tensor:
        self._called("denoise")
        self.widths.append((canvas.shape[0], canvas.shape[1]))
        target = self._target(state) or [self.tokenizer.n_special]
        full = target + target[-1:] * (canvas.shape[1] - len(target))
        rows = [self.slip(full, row) if self.slip else full for row in canvas.tolist()]
        return torch.stack([self._logits(row[: canvas.shape[1]]) for row in rows])[wanted]

    def score(self, state: FakeState, tokens: Tensor) -> Tensor:
        self._called("score")
        self.scored += len(tokens)
        target = [*self._target(state), self.tokenizer.eot]
        scores = torch.full(tokens.shape, -6.0)
        for k, row in enumerate(tokens.tolist()):
            for i, token in enumerate(row):
                if token == self.tokenizer.pad:
                    scores[k, i] = 0.0
                elif row[: i + 1] == target[: i + 1]:
                    scores[k, i] = -0.1
        return scores

    def _called(self, name: str) -> None:
        assert torch.is_inference_mode_enabled(), "the engine must not record gradients"
        self.calls[name] += 1
        if self.on_call is not None:
            self.on_call(name)

    def _logits(self, tokens: Sequence[int]) -> Tensor:
        """[N, V], the mask and the line's end above all else, to see that they are never written."""
        logits = torch.zeros(len(tokens), self.tokenizer.vocab_size)
        logits[torch.arange(len(tokens)), torch.tensor(tokens)] = self.sharp - 0.05 * torch.arange(len(tokens)).float()
        logits[:, [self.tokenizer.mask, self.tokenizer.eol]] = self.sharp + 0.1
        return logits

    def _target(self, state: FakeState) -> list[int]:
        return self._encode(self._remaining(state))

    def _encode(self, data: bytes) -> list[int]:
        """Tokens of bytes that may begin inside a character."""
        inside = next((i for i, byte in enumerate(data) if byte & 0xC0 != 0x80), len(data))
        single = byte_tokens(self.tokenizer)
        return [*(single[byte] for byte in data[:inside]), *self.tokenizer.encode(data[inside:].decode())]

    def _remaining(self, state: FakeState) -> bytes:
        """What of the answer follows the context; nothing where the context holds something else."""
        assert state.alive, "a state was used after it was consumed"
        ids = list(state.ids)
        start = len(ids) - ids[::-1].index(self.tokenizer.pre)
        seen = self.tokenizer.decode_bytes(ids[start:])
        prefix, answer = self.prefix[-4096:].encode(), self.answer.encode()
        for done in range(len(answer) + 1):
            if (prefix + answer[:done]).endswith(seen):
                return answer[done:]
        # A context that ends inside the prefix.
        ends = (end for end in range(len(prefix) - 1, len(prefix) - 64, -1) if prefix[:end].endswith(seen))
        end = next(ends, None)
        return b"" if end is None else prefix[end:] + answer
