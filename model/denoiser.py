"""The canvas model as the engine sees it: encode a context once, then fill, score and measure holes behind it.

Implements ``infill.types.Denoiser``. Tensors stay on the model's device; logits are float32.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model.network import Cache, Network
from model.tokenizer import Tokenizer


@dataclass
class State:
    """An encoded context. ``hidden`` [capacity, D] keeps the last layer's output of every position, so that a state
    can be shortened without computing anything."""

    ids: tuple[int, ...]
    cache: Cache
    hidden: Tensor


class NetworkDenoiser:
    """A trained ``Network`` with its tokenizer."""

    def __init__(self, network: Network, tokenizer: Tokenizer) -> None:
        self.network, self.tokenizer = network, tokenizer
        weight = network.embedding.weight
        self.device, self.dtype = weight.device, weight.dtype
        config = network.config
        self.context, self.max_hole, self.glue = config.context, config.max_hole, config.glue
        self.capacity = network.capacity

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
            previous = [wanted[common - 1] if common else 0, *wanted[common:-1]]
            new = self._tensor(wanted[common:])[None]
            past.hidden[common : len(wanted)] = self.network.extend(
                new, self._tensor(previous)[None], self._causal(new.shape[1]), past.cache, keep=True
            )[0]
            past.cache.length = len(wanted)
        past.ids = wanted
        return past

    def next_logits(self, state: State) -> Tensor:
        """[V]: the causal head's view of the token behind the context."""
        return self.network.logits(state.hidden[len(state.ids) - 1]).float()

    def length_logprobs(self, state: State, *, line: bool = False) -> Tensor:
        """[max_hole + 2]: log probability of each hole length, the last for "longer"."""
        logits: Tensor = self.network.length_head(state.hidden[len(state.ids) - 1])[int(line)]
        return logits.float().log_softmax(-1)

    def denoise(self, state: State, canvas: Tensor) -> Tensor:
        """Canvas [K, N] (pad where a row is shorter) -> logits [K, N, V]."""
        visible = (canvas != self.tokenizer.pad)[:, None, None, :]
        allowed = visible.expand(-1, 1, canvas.shape[1], -1)
        return self.network.logits(self._rows(state, canvas, allowed)).float()

    def score(self, state: State, tokens: Tensor) -> Tensor:
        """tokens [K, N] (pad at the end) -> log p [K, N] of each token after the context and the tokens left of it."""
        hidden = state.hidden[len(state.ids) - 1].expand(tokens.shape[0], 1, -1)
        if tokens.shape[1] > 1:
            rest = tokens[:, :-1]
            hidden = torch.cat([hidden, self._rows(state, rest, self._causal(rest.shape[1]))], dim=1)
        logits = self.network.logits(hidden).float()
        chosen = logits.gather(2, tokens[..., None]).squeeze(2) - logits.logsumexp(-1)
        return chosen.masked_fill(tokens == self.tokenizer.pad, 0.0)

    def _rows(self, state: State, rows: Tensor, allowed: Tensor) -> Tensor:
        if len(state.ids) + rows.shape[1] > self.network.positions:
            raise ValueError(f"{rows.shape[1]} tokens do not fit behind a context of {len(state.ids)}")
        last = rows.new_full((rows.shape[0], 1), state.ids[-1])
        previous = torch.cat([last, rows[:, :-1]], dim=1)
        return self.network.extend(rows, previous, allowed, state.cache, keep=False)

    def _empty(self) -> State:
        config = self.network.config
        cache = Cache(config, self.capacity, device=self.device, dtype=self.dtype)
        hidden = torch.empty(self.capacity, config.d_model, device=self.device, dtype=self.dtype)
        return State((), cache, hidden)

    def _tensor(self, ids: Sequence[int]) -> Tensor:
        return torch.tensor(ids, dtype=torch.int64, device=self.device)

    def _causal(self, width: int) -> Tensor:
        return torch.ones(1, 1, width, width, dtype=torch.bool, device=self.device).tril()


def _common(a: tuple[int, ...], b: tuple[int, ...]) -> int:
    """Length of the common beginning."""
    if a == b[: len(a)]:
        return len(a)
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
