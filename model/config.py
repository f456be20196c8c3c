"""Sizes of the canvas model, and nothing else: no tensors, no text.

One frozen dataclass holds every size. ``SIZES`` names the ones that are trained, from ``nano`` (tests) to ``gpt2s``
(about 124M parameters, GPT-2 small's class).
"""

from dataclasses import asdict, dataclass, fields
from typing import Any

LIMITS: dict[str, tuple[float, float]] = {
    "vocab_size": (1, 1 << 24),
    "d_model": (1, 1 << 16),
    "n_layers": (1, 1024),
    "n_heads": (1, 1 << 15),
    "d_ff": (1, 1 << 20),
    "context": (1, 1 << 17),
    "max_hole": (1, 1 << 14),
    "glue": (1, 1 << 14),
    "rope_base": (1, 1e12),
    "inserts": (0, 1 << 14),
    "pairs": (0, 1 << 26),
}
"""The least and the most that each size may be: far from what is trained, and nothing that never ends."""


@dataclass(frozen=True)
class ModelConfig:
    """What a canvas model is. What one request may choose is ``infill.types.InfillOptions``.

    Raises:
        ValueError: a size that cannot work, named together with what would.
    """

    vocab_size: int = 8192
    d_model: int = 256
    n_layers: int = 5
    n_heads: int = 4
    d_ff: int = 704
    context: int = 512
    """Most tokens of the causal stream (language, file hint, suffix, prefix and, in training, the middle)."""
    max_hole: int = 64
    """Most masked tokens in one canvas; the length head knows 0..max_hole and "longer"."""
    glue: int = 8
    """Most tokens of the text behind the hole that a canvas shows."""
    rope_base: float = 10_000.0
    inserts: int = 0
    """Most tokens that an edit may insert at one place; 0: the model has no head for edits."""
    pairs: int = 0
    """Rows of the table that is looked up by a token and its left neighbour (hashed together); 0: there is none."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value, (least, most) = getattr(self, field.name), LIMITS[field.name]
            whole = field.type is int
            if type(value) not in ({int} if whole else {int, float}) or not least <= value <= most:
                kind = "whole number" if whole else "number"
                raise ValueError(f"{field.name} must be a {kind} from {least} to {most}, not {value!r:.60}")
        if self.d_model % self.n_heads:
            raise ValueError(f"d_model {self.d_model} is not a multiple of n_heads {self.n_heads}")
        if self.head_dim % 2:
            raise ValueError(f"head size {self.head_dim} must be even for rotary positions: change d_model or n_heads")

    @property
    def head_dim(self) -> int:
        return self.d_model // self.n_heads

    def has_value_embedding(self, layer: int) -> bool:
        """Whether a layer adds a value looked up by token id: every other layer, the last one always (see network)."""
        return layer % 2 == (self.n_layers - 1) % 2

    def parameters(self) -> dict[str, int]:
        """Parameter counts by part; ``total`` is what a checkpoint holds."""
        value_layers = sum(self.has_value_embedding(i) for i in range(self.n_layers))
        body = self.n_layers * (4 * self.d_model**2 + 3 * self.d_model * self.d_ff)
        embedding = self.vocab_size * self.d_model
        values = value_layers * self.vocab_size * self.d_model
        pairs = self.pairs * self.d_model
        total = body + embedding + values + pairs
        return {"body": body, "embedding": embedding, "values": values, "pairs": pairs, "total": total}

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


SIZES: dict[str, ModelConfig] = {
    "nano": ModelConfig(d_model=64, n_layers=2, n_heads=2, d_ff=128, context=256, inserts=32),
    "tiny": ModelConfig(inserts=32, pairs=32_768),
    "small": ModelConfig(d_model=384, n_layers=8, n_heads=6, d_ff=1024, context=1024, inserts=32, pairs=32_768),
    "base": ModelConfig(d_model=512, n_layers=9, n_heads=8, d_ff=1408, context=1024, inserts=32, pairs=32_768),
    "gpt2s": ModelConfig(
        vocab_size=16384, d_model=768, n_layers=12, n_heads=12, d_ff=2048, context=1024, inserts=32, pairs=32_768
    ),
}
