"""The canvas model as the engine sees it: encode a context once, then fill, score and measure holes behind it.

Implements ``infill.types.Denoiser``. Tensors stay on the model's device; logits are float32.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from model.calls import Call, one_by_one
from model.network import Cache, Network
from model.tokenizer import Tokenizer


@dataclass
class State:
    """An encoded context. ``hidden`` [capacity, D] keeps the last layer's output of every position, so that a state
    can be shortened without computing anything."""

    ids: tuple[int, ...]
    cache: Cache
    hidden: Tensor

    @property
    def nbytes(self) -> int:
        return self.cache.keys.nbytes + self.cache.values.nbytes + self.hidden.nbytes


@dataclass
class Packed:
    """Rows [K, N] of different lengths side by side, without their padding: all but ``used`` are [M]."""

    used: Tensor
    """[K, N] bool: where the rows have tokens."""
    row: Tensor
    position: Tensor
    ids: Tensor
    previous: Tensor


class NetworkDenoiser:
    """A trained ``Network`` with its tokenizer."""

    def __init__(self, network: Network, tokenizer: Tokenizer) -> None:
        self.network, self.tokenizer = network, tokenizer
        weight = network.embedding.weight
        self.device, self.dtype = weight.device, weight.dtype
        config = network.config
        self.context, self.max_hole, self.glue = config.context, config.max_hole, config.glue
        self.capacity = network.capacity

    def run(self, calls: Sequence[Call]) -> list[Any]:
        return one_by_one(self, calls)

    def encode(self, ids: Sequence[int], past: State | None = None) -> State:
        """Keys and values of ``ids``. ``past`` is consumed; what it has in common with ``ids`` is not computed again.

        Raises:
            ValueError: no ids, or more than the positions that the model knows.
        """
        if not 0 < len(ids) <= self.capacity:
            raise ValueError(f"a context has 1 to {self.capacity} tokens, not {len(ids)}")
        if past is None:
            past = self._empty()
        wanted = tuple(ids)
        common = _common(past.ids, wanted)
        past.cache.length = common
        if common < len(wanted):
            new, width = self._tensor(wanted[common:]), len(wanted) - common
            previous = self._tensor([wanted[common - 1] if common else 0, *wanted[common:-1]])
            place = torch.arange(width, device=self.device)
            allowed = place[:, None] >= place
            hidden = self.network.extend(new, previous, common + place, allowed, past.cache, keep=True)
            past.hidden[common : len(wanted)] = hidden
            past.cache.length = len(wanted)
        past.ids = wanted
        return past

    def next_logits(self, state: State) -> Tensor:
        """[V]: the causal head's view of the token behind the context."""
        return self.network.logits(state.hidden[len(state.ids) - 1]).float()

    def last_logits(self, state: State, count: int) -> Tensor:
        """[count, V]: the causal head's view of the last context tokens, each after those before it. Computes no pass.

        Raises:
            ValueError: the context has no token before them.
        """
        end = len(state.ids) - 1
        if not 0 < count <= end:
            raise ValueError(f"a context of {end + 1} tokens has 1 to {end} that follow another, not {count}")
        return self.network.logits(state.hidden[end - count : end]).float()

    def length_logprobs(self, state: State, *, line: bool = False) -> Tensor:
        """[max_hole + 2]: log probability of each hole length, the last for "longer"."""
        logits: Tensor = self.network.length_head(state.hidden[len(state.ids) - 1])[int(line)]
        return logits.float().log_softmax(-1)

    def denoise(self, state: State, canvas: Tensor, wanted: Tensor) -> Tensor:
        """Canvas [K, N] (pad where a row is shorter) -> logits [M, V] of the M ``wanted`` [K, N] places, row by row."""
        rows = self._pack(state, canvas)
        hidden = self._behind(state, rows, rows.row[:, None] == rows.row)
        return self.network.logits(hidden[wanted[rows.used]]).float()

    def score(self, state: State, tokens: Tensor) -> Tensor:
        """tokens [K, N] (pad at the end) -> log p [K, N] of each token after the context and the tokens left of it."""
        scored = tokens.new_zeros(tokens.shape, dtype=torch.float32)
        scored[:, 0] = self.next_logits(state).log_softmax(-1)[tokens[:, 0]]
        follows = tokens[:, 1:] != self.tokenizer.pad
        if follows.any():
            rows = self._pack(state, tokens[:, :-1].masked_fill(~follows, self.tokenizer.pad))
            causal = (rows.row[:, None] == rows.row) & (rows.position[:, None] >= rows.position)
            logits = self.network.logits(self._behind(state, rows, causal)).float()
            chosen = logits.gather(1, tokens[:, 1:][follows][:, None]).squeeze(1)
            scored[:, 1:][follows] = chosen - logits.logsumexp(-1)
        return scored.masked_fill(tokens == self.tokenizer.pad, 0.0)

    def _pack(self, state: State, tokens: Tensor) -> "Packed":
        if len(state.ids) + tokens.shape[1] > self.network.positions:
            raise ValueError(f"{tokens.shape[1]} tokens do not fit behind a context of {len(state.ids)}")
        used = tokens != self.tokenizer.pad
        row, column = used.nonzero(as_tuple=True)
        last = tokens.new_full((tokens.shape[0], 1), state.ids[-1])
        previous = torch.cat([last, tokens[:, :-1]], dim=1)
        return Packed(used, row, len(state.ids) + column, tokens[used], previous[used])

    def _behind(self, state: State, rows: "Packed", allowed: Tensor) -> Tensor:
        return self.network.extend(rows.ids, rows.previous, rows.position, allowed, state.cache, keep=False)

    def _empty(self) -> State:
        config = self.network.config
        cache = Cache(config, self.capacity, device=self.device, dtype=self.dtype)
        hidden = torch.empty(self.capacity, config.d_model, device=self.device, dtype=self.dtype)
        return State((), cache, hidden)

    def _tensor(self, ids: Sequence[int]) -> Tensor:
        return torch.tensor(ids, dtype=torch.int64, device=self.device)


def _common(a: tuple[int, ...], b: tuple[int, ...]) -> int:
    """Length of the common beginning."""
    if a == b[: len(a)]:
        return len(a)
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
