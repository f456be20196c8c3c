"""The diffusion transformer of MDLM and BD3-LM: full or block-causal attention, layers modulated by the noise level.

MDLM: Sahoo et al., arXiv 2406.07524; BD3-LM: Arriola et al., arXiv 2503.09573; adaLN: DiT, Peebles and Xie, arXiv
2212.09748. The published checkpoints were trained without telling the network its noise level: the condition is the
embedding of level 0, the same for all tokens, so what a layer makes of it is computed once when the weights are read.

It knows ids and tensors, not files or text. Shapes: B rows, L places, M wanted places, D width, H heads, V vocabulary.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.published.fields import whole
from model.published.places import allowed, places, turned, turns

FREQUENCIES = 256
"""Sines and cosines of the noise level."""

MODULATIONS = 6
"""Shift, scale and gate of a layer's attention, then of its feed-forward."""

ROTARY_BASE = 10000.0
FIELDS = ("vocab_size", "hidden_dim", "n_blocks", "n_heads", "cond_dim", "model_length")


@dataclass(frozen=True)
class DitSizes:
    vocab: int
    hidden: int
    layers: int
    heads: int
    condition: int
    positions: int
    """Places that it was trained with."""
    block: int = 0
    """Places that see each other, and all blocks before them; 0: all see all."""

    def __post_init__(self) -> None:
        for name in ("vocab", "hidden", "layers", "heads", "condition", "positions"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} of a DiT must be at least 1, not {getattr(self, name)}")
        if self.hidden % (2 * self.heads):
            raise ValueError(f"hidden_dim {self.hidden} does not divide into {self.heads} heads of even size")
        if self.block < 0:
            raise ValueError(f"block_size must not be negative, but is {self.block}")


def sizes(config: Mapping[str, Any]) -> DitSizes:
    """Of a ``config.json`` with ``model_type`` ``mdlm`` or ``bd3lm``. Raises ValueError, naming the field."""
    vocab, hidden, layers, heads, condition, positions = (whole(config, name) for name in FIELDS)
    if config.get("time_conditioning", False):
        raise ValueError("time_conditioning is true: only checkpoints that are not told their noise level can be used")
    blockwise = config.get("model_type") == "bd3lm"
    if blockwise:
        if not config.get("cross_attn", True):
            raise ValueError("cross_attn is false: this is no block diffusion model")
        if config.get("causal", False):
            raise ValueError("causal is true: this is the same authors' autoregressive model, not a diffusion one")
        if not config.get("adaln", True):
            raise ValueError("adaln is false: only the published BD3-LM checkpoints, with modulated layers, are known")
    block = whole(config, "block_size") if blockwise else 0
    return DitSizes(vocab, hidden, layers, heads, condition, positions, block)


def tensors(sizes: DitSizes) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all that a published file must hold."""
    d, c, ff = sizes.hidden, sizes.condition, 4 * sizes.hidden
    shapes: dict[str, tuple[int, ...]] = {
        "vocab_embed.embedding": (sizes.vocab, d),
        "sigma_map.mlp.0.weight": (c, FREQUENCIES),
        "sigma_map.mlp.0.bias": (c,),
        "sigma_map.mlp.2.weight": (c, c),
        "sigma_map.mlp.2.bias": (c,),
        "output_layer.norm_final.weight": (d,),
        "output_layer.linear.weight": (sizes.vocab, d),
        "output_layer.linear.bias": (sizes.vocab,),
        "output_layer.adaLN_modulation.weight": (2 * d, c),
        "output_layer.adaLN_modulation.bias": (2 * d,),
    }
    for layer in range(sizes.layers):
        shapes |= {
            f"blocks.{layer}.{name}": shape
            for name, shape in {
                "norm1.weight": (d,),
                "attn_qkv.weight": (3 * d, d),
                "attn_out.weight": (d, d),
                "norm2.weight": (d,),
                "mlp.0.weight": (ff, d),
                "mlp.0.bias": (ff,),
                "mlp.2.weight": (d, ff),
                "mlp.2.bias": (d,),
                "adaLN_modulation.weight": (MODULATIONS * d, c),
                "adaLN_modulation.bias": (MODULATIONS * d,),
            }.items()
        }
    return {f"backbone.{name}": shape for name, shape in shapes.items()}


def recomputed(sizes: DitSizes) -> dict[str, tuple[int, ...]]:
    """What a file may hold besides, and is not read: the table of rotations, which is computed from the sizes, and in
    BD3-LM the two ends of the noise interval that its training settled on."""
    table: dict[str, tuple[int, ...]] = {"backbone.rotary_emb.inv_freq": (sizes.hidden // sizes.heads // 2,)}
    return table | ({"sampling_eps_min": (), "sampling_eps_max": ()} if sizes.block else {})


class Layer(nn.Module):
    """One block. ``modulation`` [6, D] is what the condition does to it."""

    modulation: Tensor

    def __init__(self, sizes: DitSizes) -> None:
        super().__init__()
        d = sizes.hidden
        self.heads = sizes.heads
        self.norm1 = nn.Parameter(torch.empty(d))
        self.norm2 = nn.Parameter(torch.empty(d))
        self.attn_qkv = nn.Parameter(torch.empty(3 * d, d))
        self.attn_out = nn.Parameter(torch.empty(d, d))
        self.up = nn.Parameter(torch.empty(4 * d, d))
        self.up_bias = nn.Parameter(torch.empty(4 * d))
        self.down = nn.Parameter(torch.empty(d, 4 * d))
        self.down_bias = nn.Parameter(torch.empty(d))
        self.register_buffer("modulation", torch.empty(MODULATIONS, d))

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None) -> Tensor:
        """x [B, L, D] float32, cos and sin [B, L, S / 2], mask [B, 1, L, L] or None -> [B, L, D] float32."""
        shift, scale, gate, shift_ff, scale_ff, gate_ff = self.modulation.unbind()
        y = functional.linear(_modulated(x, self.norm1, shift, scale, self.attn_qkv.dtype), self.attn_qkv)
        q, k, v = y.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k = (turned(part.float(), cos, sin).to(v.dtype) for part in (q, k))
        y = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + gate * functional.linear(y.transpose(1, 2).flatten(2), self.attn_out).float()
        y = functional.linear(_modulated(x, self.norm2, shift_ff, scale_ff, self.up.dtype), self.up, self.up_bias)
        y = functional.linear(functional.gelu(y, approximate="tanh"), self.down, self.down_bias)
        return x + gate_ff * y.float()


class Dit(nn.Module):
    """Ids in, raw logits out: row i is about the token at place i; nothing is masked or carried over (see ``subs``).

    The residual stream, the norms and the modulations are float32, as they were in training.
    """

    modulation: Tensor

    def __init__(self, sizes: DitSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.embedding = nn.Parameter(torch.empty(sizes.vocab, sizes.hidden))
        self.layers = nn.ModuleList(Layer(sizes) for _ in range(sizes.layers))
        self.norm = nn.Parameter(torch.empty(sizes.hidden))
        self.head = nn.Parameter(torch.empty(sizes.vocab, sizes.hidden))
        self.head_bias = nn.Parameter(torch.empty(sizes.vocab))
        self.register_buffer("modulation", torch.empty(2, sizes.hidden))

    def forward(self, ids: Tensor, valid: Tensor | None = None, wanted: Tensor | None = None) -> Tensor:
        """ids [B, L] -> float32 logits [B, L, V], or [M, V] of the ``wanted`` [B, L] places.

        ``valid`` [B, L]: False is padding, on either side; places are counted, and blocks laid out, from a row's first
        valid one.
        """
        place = places(ids, valid)
        cos, sin = turns(place, self.sizes.hidden // self.sizes.heads, ROTARY_BASE)
        mask = allowed(place, valid, self.sizes.block)
        x = self.embedding[ids].float()
        for layer in self.layers:
            x = layer(x, cos, sin, mask)
        if wanted is not None:
            x = x[wanted]
        shift, scale = self.modulation.unbind()
        y = _modulated(x, self.norm, shift, scale, self.head.dtype)
        return functional.linear(y, self.head, self.head_bias).float()


def build(sizes: DitSizes, read: Callable[[str], Tensor], *, device: torch.device | str, dtype: torch.dtype) -> Dit:
    """The network with the weights that ``read`` gives for each name of ``tensors``. Norms stay float32."""
    with torch.device("meta"):
        network = Dit(sizes)
    network.requires_grad_(requires_grad=False)

    def put(module: nn.Module, attribute: str, value: Tensor, kind: torch.dtype = dtype) -> None:
        value = value.to(device=device, dtype=kind)
        if isinstance(getattr(module, attribute), nn.Parameter):
            value = nn.Parameter(value, requires_grad=False)
        setattr(module, attribute, value)

    condition = _condition(lambda name: read(f"backbone.sigma_map.{name}").float())

    def modulation(name: str) -> Tensor:
        weight, bias = (read(f"backbone.{name}.adaLN_modulation.{part}").float() for part in ("weight", "bias"))
        return functional.linear(condition, weight, bias).view(-1, sizes.hidden)

    put(network, "embedding", read("backbone.vocab_embed.embedding"))
    put(network, "norm", read("backbone.output_layer.norm_final.weight"), torch.float32)
    put(network, "head", read("backbone.output_layer.linear.weight"))
    put(network, "head_bias", read("backbone.output_layer.linear.bias"))
    put(network, "modulation", modulation("output_layer"), torch.float32)
    names = {
        "attn_qkv": "attn_qkv.weight",
        "attn_out": "attn_out.weight",
        "up": "mlp.0.weight",
        "up_bias": "mlp.0.bias",
        "down": "mlp.2.weight",
        "down_bias": "mlp.2.bias",
    }
    for index, layer in enumerate(network.layers):
        for attribute, name in names.items():
            put(layer, attribute, read(f"backbone.blocks.{index}.{name}"))
        for attribute in ("norm1", "norm2"):
            put(layer, attribute, read(f"backbone.blocks.{index}.{attribute}.weight"), torch.float32)
        put(layer, "modulation", modulation(f"blocks.{index}"), torch.float32)
    return network.eval()


def subs(logits: Tensor, ids: Tensor, mask: int) -> Tensor:
    """Raw logits [B, L, V] -> log probabilities under MDLM's SUBS: a place that is not masked keeps its token with
    certainty, and the mask is never an answer (section 3.2.3 of the paper)."""
    blocked = torch.zeros(logits.shape[-1], dtype=torch.bool, device=logits.device)
    blocked[mask] = True
    free = logits.masked_fill(blocked, float("-inf")).log_softmax(-1)
    kept = torch.full_like(logits, float("-inf")).scatter(-1, ids[..., None], 0.0)
    return torch.where((ids == mask)[..., None], free, kept)


def _condition(read: Callable[[str], Tensor]) -> Tensor:
    """[C]: the embedding of noise level 0, whose sines are 0 and cosines 1."""
    level = torch.cat([torch.ones(FREQUENCIES // 2), torch.zeros(FREQUENCIES // 2)])
    hidden = functional.silu(functional.linear(level, read("mlp.0.weight"), read("mlp.0.bias")))
    return functional.silu(functional.linear(hidden, read("mlp.2.weight"), read("mlp.2.bias")))


def _modulated(x: Tensor, weight: Tensor, shift: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    normed = functional.layer_norm(x, (x.shape[-1],), weight)
    return (normed * (1 + scale) + shift).to(dtype)
