"""Passes of fixed shapes, so that a GPU can replay one as a CUDA graph: one launch instead of some hundred.

A pass of one context is copied into buffers of the next larger size, with the context's keys and values beside it;
what is left of a buffer is filled with tokens that see only themselves. Other passes (of several contexts, or longer
ones) go through ``model.inference`` as ever. On a CPU the same buffers are computed without a graph: good for tests.
Written without a GPU at hand: its speed has not been measured, so ``load_denoiser`` asks for it only when told to.
"""

import torch
from torch import Tensor
from torch.nn import functional

from model.config import ModelConfig
from model.inference import Attend, Group, Inference, Tokens

SIZES = (1, 8, 32, 64, 128, 256)
"""Tokens of a pass; each is captured when it is first wanted."""


class Graphs:
    """``run`` computes what ``Inference.run`` does."""

    def __init__(self, inference: Inference, config: ModelConfig, columns: int) -> None:
        """``columns``: the most of a context's cache that a pass can stand behind."""
        self.inference, self.config, self.columns = inference, config, columns
        self.fixed: dict[int, Fixed] = {}

    def run(self, tokens: Tokens, wanted: Tensor | None = None) -> Tensor:
        """Hidden states as of ``Inference.run``; valid until the next pass."""
        group = alone(tokens)
        size = next((size for size in SIZES if size >= len(tokens.ids)), None)
        if group is None or size is None or group.behind > self.columns:
            return self.inference.run(tokens, wanted)
        if size not in self.fixed:
            self.fixed[size] = Fixed(self.inference, self.config, size, self.columns)
        hidden = self.fixed[size].run(tokens, group)
        return hidden if wanted is None else hidden.index_select(0, wanted)


def alone(tokens: Tokens) -> Group | None:
    """The groups of a pass as one, where all stand on the same context and none but a single one stays in it."""
    first = tokens.groups[0]
    if len(tokens.groups) == 1:
        return first
    if any(group.kept or group.cache is not first.cache for group in tokens.groups):
        return None
    return Group(first.cache, first.behind, 0, len(tokens.ids), kept=False)


class Fixed:
    """Buffers of one size, and the graph over them. n: tokens of a pass, at most ``size``."""

    def __init__(self, inference: Inference, config: ModelConfig, size: int, columns: int) -> None:
        self.inference, self.size, self.columns = inference, size, columns
        device, dtype = inference.device, inference.dtype
        self.numbers = torch.zeros(5, size, dtype=torch.int64, device=device)
        self.behind = torch.zeros((), dtype=torch.int64, device=device)
        shape = (config.n_layers, config.n_heads, columns, config.head_dim)
        self.keys, self.values = (torch.zeros(shape, device=device, dtype=dtype) for _ in range(2))
        made = (config.n_layers, size, config.n_heads, config.head_dim)
        self.new_keys, self.new_values = (torch.zeros(made, device=device, dtype=dtype) for _ in range(2))
        self.place = torch.arange(size, device=device)
        ids, previous, position, first, last = self.numbers.unbind(0)
        self.tokens = Tokens(ids, previous, position, first, last, groups=())
        self.graph: torch.cuda.CUDAGraph | None = None
        self.hidden: Tensor | None = None

    def run(self, tokens: Tokens, group: Group) -> Tensor:
        """[n, D]."""
        n = len(tokens.ids)
        self._fill(tokens, group)
        if self.inference.device.type != "cuda":
            self.hidden = self._compute()
        elif self.graph is None:
            self._capture()
        if self.graph is not None:
            self.graph.replay()
        if group.kept:
            stop = group.behind + n
            for (keys, values), k, v in zip(group.cache.layers, self.new_keys, self.new_values, strict=True):
                keys[:, :, group.behind : stop] = k[:n].permute(1, 2, 0)
                values[:, group.behind : stop] = v[:n].transpose(0, 1)
        assert self.hidden is not None
        return self.hidden[:n]

    def _fill(self, tokens: Tokens, group: Group) -> None:
        n, behind = len(tokens.ids), group.behind
        given = torch.stack([tokens.ids, tokens.previous, tokens.position, tokens.first, tokens.last])
        self.numbers[:, :n] = given
        self.numbers[:3, n:] = 0
        self.numbers[3:, n:] = self.place[n:]
        self.behind.fill_(behind)
        for i, (keys, values) in enumerate(group.cache.layers):
            self.keys[i, :, :behind] = keys[:, :, :behind].transpose(1, 2)
            self.values[i, :, :behind] = values[:, :behind]

    def _capture(self) -> None:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # the libraries make their workspaces outside of the graph
            for _ in range(3):
                self._compute()
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.hidden = self._compute()

    def _compute(self) -> Tensor:
        return self.inference.run(self.tokens, attend=self._attend())

    def _attend(self) -> Attend:
        first, last = self.numbers[3], self.numbers[4]
        near = (self.place >= first[:, None]) & (self.place <= last[:, None])
        far = (torch.arange(self.columns, device=self.place.device) < self.behind).expand(self.size, -1)
        allowed = torch.cat([far, near], dim=1)

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            self.new_keys[layer].copy_(k)
            self.new_values[layer].copy_(v)
            keys = torch.cat([self.keys[layer], k.transpose(0, 1)], dim=1)
            values = torch.cat([self.values[layer], v.transpose(0, 1)], dim=1)
            asked = q.transpose(0, 1)[None]
            y = functional.scaled_dot_product_attention(asked, keys[None], values[None], attn_mask=allowed, scale=1.0)
            return y[0].transpose(0, 1).flatten(1)

        return attend
