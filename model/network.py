"""The canvas model: one Transformer that is causal on its stream and bidirectional on canvases hung into it.

It knows ids and positions, not text. Smallest module first. This is the network as it is trained; ``model.inference``
makes of its weights what computes the same in use. Shapes: B batch, T stream, C canvas positions (several canvases side
by side, told apart by ``Canvases.segment``), D model width, H heads, V vocabulary.

Ingredients and where they come from: rotary positions (RoFormer), RMSNorm without gain, QK-norm and SwiGLU as in
Llama and Qwen3, value embeddings and residual scalars (modded-nanogpt, nanochat), token shift at the embedding (RWKV),
a table of hashed pairs of tokens (Huang et al., arXiv 2501.16975; modded-nanogpt).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from model import attention
from model.config import ModelConfig

GATE_INPUTS = 32
"""Channels of the residual stream that gate the value embedding."""
PAIR = 40503
"""Odd: where a table's rows are a power of two, and as many as tokens, no two neighbours of one token share a row."""


@dataclass
class Canvases:
    """Canvases of one training batch, packed side by side behind each stream. All tensors are [B, C]."""

    ids: Tensor
    previous: Tensor
    """Id to the left: the canvas's own, or the stream's last visible one for the first place of a canvas."""
    position: Tensor
    """Place in the text: the anchor, anchor + 1, ..."""
    anchor: Tensor
    """How many stream positions the canvas sees."""
    segment: Tensor
    """Which canvas a position belongs to; -1 for unused positions."""

    def allowed(self, length: int) -> Tensor:
        """[B, 1, C, T + C]: the stream before the anchor, and the own canvas."""
        stream = torch.arange(length, device=self.ids.device)
        far = stream < self.anchor[:, :, None]
        near = self.segment[:, :, None] == self.segment[:, None, :]
        return torch.cat([far, near], dim=2)[:, None]


def norm(x: Tensor) -> Tensor:
    return functional.rms_norm(x, (x.shape[-1],))


def pair(ids: Tensor, previous: Tensor, rows: int) -> Tensor:
    """The row of a table of ``rows`` for each token and its left neighbour; int64, of the shape of both."""
    return torch.add(ids, previous, alpha=PAIR).remainder_(rows)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x [..., D] with cos and sin broadcastable to [..., D/2]."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


class Linear(nn.Linear):
    """Without bias. On the meta device, where a network waits for its weights, nothing is initialised: that would
    import torch's compiler, for a second."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=False)

    def reset_parameters(self) -> None:
        if not self.weight.is_meta:
            super().reset_parameters()


class Embedding(nn.Embedding):
    """The same for a table."""

    def reset_parameters(self) -> None:
        if not self.weight.is_meta:
            super().reset_parameters()


class Attention(nn.Module):
    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        d = config.d_model
        self.heads = config.n_heads
        # QK-norm gives every query and key the length sqrt(D): the largest logit is 12, sharp enough to copy.
        self.scale = 12.0 / config.head_dim
        self.query = Linear(d, d)
        self.key = Linear(d, d)
        self.value = Linear(d, d)
        self.out = Linear(d, d)
        self.value_embedding = Embedding(config.vocab_size, d) if config.has_value_embedding(layer) else None
        self.value_gate = Linear(GATE_INPUTS, self.heads) if self.value_embedding else None

    def project(self, x: Tensor, ids: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x [B, L, D], ids [B, L] -> q, k, v [B, H, L, head size]."""
        shape = (*x.shape[:2], self.heads, -1)
        q, k, v = (w(x).view(shape) for w in (self.query, self.key, self.value))
        if self.value_embedding is not None and self.value_gate is not None:
            gate = 2 * torch.sigmoid(self.value_gate(x[..., :GATE_INPUTS]))
            v = v + gate[..., None] * self.value_embedding(ids).view(shape)
        q, k = (rotate(norm(y).transpose(1, 2), cos, sin) for y in (q, k))
        return q, k, v.transpose(1, 2)

    def merge(self, y: Tensor) -> Tensor:
        """[B, H, L, head size] -> [B, L, D]."""
        out: Tensor = self.out(y.transpose(1, 2).flatten(2))
        return out


class FeedForward(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate = Linear(config.d_model, config.d_ff)
        self.up = Linear(config.d_model, config.d_ff)
        self.down = Linear(config.d_ff, config.d_model)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down(functional.silu(self.gate(x)) * self.up(x))
        return out


class Block(nn.Module):
    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.attention = Attention(config, layer)
        self.feed_forward = FeedForward(config)
        self.residual = nn.Parameter(torch.tensor([1.0, 0.0]))
        """Weights of the residual stream and of the embedding (x0) at the block's door."""


class LengthHead(nn.Module):
    """Hidden state at the cursor -> two length distributions: up to the suffix, and up to the line's end."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.classes = config.max_hole + 2
        self.up = Linear(config.d_model, config.d_model)
        self.down = Linear(config.d_model, 2 * self.classes)

    def forward(self, hidden: Tensor) -> Tensor:
        """[..., D] -> logits [..., 2, max_hole + 2]."""
        return torch.unflatten(self.down(functional.silu(self.up(hidden))), -1, (2, self.classes))


class EditHead(nn.Module):
    """Hidden states of a block's tokens -> which of them are wrong, and how many tokens are missing before each.

    Deletion and insertion as in the Levenshtein Transformer (Gu et al., arXiv 1905.11006), predicted at once.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.classes = config.inserts + 2
        self.up = Linear(config.d_model, config.d_model)
        self.down = Linear(config.d_model, 1 + self.classes)

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """[..., D] -> logit [...] of "wrong", logits [..., inserts + 2] of 0, 1, ..., inserts and "more"."""
        out = self.down(functional.silu(self.up(hidden)))
        return out[..., 0], out[..., 1:]


class Network(nn.Module):
    """Token ids in, hidden states and logits out."""

    cos: Tensor
    sin: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = Embedding(config.vocab_size, config.d_model)
        self.shift = nn.Parameter(torch.zeros(config.d_model))
        self.pair_embedding = Embedding(config.pairs, config.d_model) if config.pairs else None
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.n_layers))
        self.length_head = LengthHead(config)
        self.edit_head = EditHead(config) if config.inserts else None
        cos, sin = _rotary(config)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def reset_rotary(self) -> None:
        """Computes the rotary tables anew, for a network whose memory was not initialised."""
        cos, sin = _rotary(self.config)
        self.cos.copy_(cos)
        self.sin.copy_(sin)

    @property
    def capacity(self) -> int:
        """Most positions of a context in use: the trained ones, and a last answer written token by token."""
        return self.config.context + self.config.max_hole

    @property
    def positions(self) -> int:
        """Positions that have rotary tables: a full context and a canvas behind it."""
        return self.cos.shape[0]

    def initialise(self, generator: torch.Generator) -> None:
        """Random weights: every matrix that writes to the residual stream starts at zero (muP-like)."""
        for name, p in self.named_parameters():
            with torch.no_grad():
                if name.endswith(("out.weight", "down.weight", "value_gate.weight", "pair_embedding.weight")):
                    p.zero_()
                elif "embedding" in name:
                    p.normal_(0, 0.02, generator=generator)
                elif p.ndim == 2:
                    p.uniform_(-(bound := (3 / p.shape[1]) ** 0.5), bound, generator=generator)

    def embed(self, ids: Tensor, previous: Tensor) -> Tensor:
        """ids, previous [B, L] -> [B, L, D]: the token, channel by channel a share of its left neighbour, and what is
        known of the two together."""
        x = norm(self.embedding(ids)) + self.shift * norm(self.embedding(previous))
        if self.pair_embedding is not None:
            x = x + self.pair_embedding(pair(ids, previous, self.config.pairs))
        return norm(x)

    def forward(self, ids: Tensor, canvases: Canvases) -> tuple[Tensor, Tensor]:
        """Training: streams [B, T] and their canvases (C may be 0) -> hidden states [B, T, D] and [B, C, D], normed."""
        length = ids.shape[1]
        allowed = canvases.allowed(length)
        previous = functional.pad(ids[:, :-1], (1, 0))
        both = torch.cat([ids, canvases.ids], dim=1)
        x = x0 = self.embed(both, torch.cat([previous, canvases.previous], dim=1))
        position = torch.cat([torch.arange(length, device=ids.device).expand_as(ids), canvases.position], dim=1)
        cos, sin = self.cos[position][:, None], self.sin[position][:, None]
        for block in self.blocks:
            assert isinstance(block, Block)
            x = block.residual[0] * x + block.residual[1] * x0
            q, k, v = block.attention.project(norm(x), both, cos, sin)
            scale = block.attention.scale
            stream = attention.causal(q[:, :, :length], k[:, :, :length], v[:, :, :length], scale)
            if canvases.ids.shape[1]:
                canvas = attention.masked(q[:, :, length:], k, v, allowed, scale)
                stream = torch.cat([stream, canvas], dim=2)
            x = x + block.attention.merge(stream)
            x = x + block.feed_forward(norm(x))
        x = norm(x)
        return x[:, :length], x[:, length:]

    def logits(self, hidden: Tensor) -> Tensor:
        """[..., D] -> [..., V] through the tied embedding."""
        return hidden @ self.embedding.weight.T


def _rotary(config: ModelConfig) -> tuple[Tensor, Tensor]:
    """cos, sin [positions, head size / 2]: up to the end of a canvas behind a full context."""
    half = config.head_dim // 2
    # On the CPU even where a network is built on the meta device (see Linear).
    speed = config.rope_base ** (-torch.arange(half, dtype=torch.float32, device="cpu") / half)
    angle = torch.arange(config.context + 2 * (config.max_hole + config.glue) + 1, device="cpu")[:, None] * speed
    return angle.cos(), angle.sin()
