"""Published networks with many experts: LLaDA2 (Ling MoE v2), LLaDA-MoE (OLMoE's shape) and SDAR-MoE (Qwen3-MoE).

All three are Llama's layer with normed queries and keys, where a router picks a few of many feed-forwards for a token.
They differ in names, in how far heads are rotated, in the router, and in who sees whom. LLaDA2's router is that of
DeepSeek-V3 (arXiv 2412.19437, section 2.1.2): scores are sigmoids in float32; a bias, used for choosing only, is added;
groups of experts are chosen by their two best; the chosen ones' scores are normed to one and scaled. Its first layer is
dense, and every token uses one expert more. Without experts the same network is Llama, Qwen2, Qwen3 or LLaDA: see
``dense.py``.

It knows ids and tensors, not files or text. Shapes: B rows, L places, M wanted places, W places of a window, N = B L
tokens, D width, H heads, kvH heads of keys, S head size, R rotated part of it, E experts, K chosen ones, V vocabulary.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.published.fields import EXPERTS, flag, head_size, number, only, said, theta, whole
from model.published.places import allowed, places, turned, turns
from model.published.quantized import Quantized, linear, quantize_layer

Shapes = dict[str, tuple[int, ...]]
ROWS = 4096
"""Of two large tensors that are compared at a time."""


@dataclass(frozen=True)
class Router:
    experts: int
    chosen: int
    groups: int = 1
    groups_chosen: int = 1
    sigmoid: bool = False
    """Scores are sigmoids, computed in float32 and biased for choosing; else a softmax over all experts."""
    normed: bool = False
    """The chosen ones' scores are divided by their sum."""
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not 1 <= self.chosen <= self.experts:
            raise ValueError(f"num_experts_per_tok {self.chosen} is not between 1 and the {self.experts} experts")
        if self.groups < 1 or self.experts % self.groups:
            raise ValueError(f"{self.experts} experts do not divide into n_group {self.groups}")
        if not 1 <= self.groups_chosen <= self.groups:
            raise ValueError(f"topk_group {self.groups_chosen} is not between 1 and n_group {self.groups}")
        if self.groups > 1 and self.experts // self.groups < 2:
            raise ValueError(f"n_group {self.groups} leaves fewer than two experts in a group")
        if self.chosen > self.groups_chosen * (self.experts // self.groups):
            raise ValueError(
                f"num_experts_per_tok {self.chosen} is more than topk_group {self.groups_chosen} groups hold"
            )


@dataclass(frozen=True)
class Names:
    """What published tensors are called: as Llama's, unless said otherwise."""

    embedding: str = "model.embed_tokens"
    norm: str = "model.norm"
    head: str = "lm_head"
    layers: str = "model.layers"
    norms: tuple[str, str] = ("input_layernorm", "post_attention_layernorm")
    qkv: tuple[str, ...] = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
    """One name: there is one matrix for all three."""
    qk_norms: tuple[str, str] = ("self_attn.q_norm", "self_attn.k_norm")
    out: str = "self_attn.o_proj"
    feed: tuple[str, str, str] = ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")


LLAMA = Names()
LLADA2 = Names(
    embedding="model.word_embeddings",
    qkv=("attention.query_key_value",),
    qk_norms=("attention.query_layernorm", "attention.key_layernorm"),
    out="attention.dense",
)


@dataclass(frozen=True)
class Sizes:
    vocab: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    rotary: int
    """How many of a head's numbers are rotated: the first ones."""
    theta: float
    eps: float
    positions: int
    """Places that it was trained with."""
    dense: tuple[int, ...]
    """For each layer the width of its one feed-forward; 0 where it has experts."""
    expert: int = 0
    shared: int = 0
    """Width of the feed-forward that every token uses besides; 0: there is none."""
    router: Router | None = None
    """None: no layer has experts."""
    names: Names = LLAMA
    qk_norm: bool = True
    qkv_bias: bool = False
    out_bias: bool = False
    tied: bool = False
    block: int = 0
    """Places that see each other, and all blocks before them; 0: all see all."""
    turned_wide: bool = False
    """Heads are rotated in float32, whatever the network's own type."""

    def __post_init__(self) -> None:
        for name in ("vocab", "hidden", "heads", "kv_heads", "head_dim", "positions"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.heads % self.kv_heads:
            raise ValueError(f"{self.heads} heads do not share {self.kv_heads} heads of keys evenly")
        if self.rotary % 2 or not 0 < self.rotary <= self.head_dim:
            raise ValueError(f"{self.rotary} rotated numbers are not an even part of a head's {self.head_dim}")
        if not self.dense:
            raise ValueError("num_hidden_layers must be at least 1")
        if 0 in self.dense and (self.router is None or self.expert < 1):
            raise ValueError(f"{self.dense.count(0)} layers have experts, but of the width {self.expert}")
        if self.router is not None and self.dense.count(0) * self.router.experts > EXPERTS:
            layers, experts = self.dense.count(0), self.router.experts
            raise ValueError(f"{layers} layers with num_experts {experts} have more than {EXPERTS} experts together")
        if self.theta <= 0 or self.eps <= 0:
            raise ValueError(f"rope_theta {self.theta} and rms_norm_eps {self.eps} must be above 0")


def llada2(config: Mapping[str, Any], block: int = 32) -> Sizes:
    """Of the ``config.json`` of LLaDA2.0 and 2.1. Raises ValueError, naming the field."""
    only(
        config,
        hidden_act={"silu"},
        score_function={"sigmoid"},
        norm_topk_prob={True},
        use_rmsnorm={True},
        norm_head={False},
        norm_softmax={False},
        use_sliding_window={False},
        moe_router_enable_expert_bias={True},
        using_split_qkv_in_self_attention={False},
    )
    layers, first = whole(config, "num_hidden_layers"), whole(config, "first_k_dense_replace", 0, least=0)
    heads, hidden = whole(config, "num_attention_heads"), whole(config, "hidden_size")
    head_dim = head_size(config)
    part = number(config, "partial_rotary_factor", 0.5)
    if part > 1:
        raise ValueError(f"partial_rotary_factor must be at most 1, but is {part}")
    rotary = int(head_dim * part)
    if whole(config, "rotary_dim", rotary) != rotary:
        raise ValueError(f"rotary_dim {config['rotary_dim']} contradicts partial_rotary_factor, which gives {rotary}")
    expert = whole(config, "moe_intermediate_size")
    dense = whole(config, "intermediate_size") if first else 0
    return Sizes(
        vocab=whole(config, "vocab_size"),
        hidden=hidden,
        heads=heads,
        kv_heads=whole(config, "num_key_value_heads"),
        head_dim=head_dim,
        rotary=rotary,
        theta=theta(config, part),
        eps=number(config, "rms_norm_eps"),
        positions=whole(config, "max_position_embeddings"),
        dense=tuple(dense if layer < first else 0 for layer in range(layers)),
        expert=expert,
        shared=expert * whole(config, "num_shared_experts", 0, least=0),
        router=Router(
            experts=whole(config, "num_experts"),
            chosen=whole(config, "num_experts_per_tok"),
            groups=whole(config, "n_group"),
            groups_chosen=whole(config, "topk_group"),
            sigmoid=True,
            # One expert's score stands as it is in the published code.
            normed=whole(config, "num_experts_per_tok") > 1,
            scale=number(config, "routed_scaling_factor"),
        ),
        names=LLADA2,
        qkv_bias=flag(config, "use_qkv_bias"),
        out_bias=flag(config, "use_bias"),
        tied=flag(config, "tie_word_embeddings"),
        block=block,
    )


def llada_moe(config: Mapping[str, Any]) -> Sizes:
    """Of LLaDA-MoE's ``config.json``. Raises ValueError, naming the field."""
    only(
        config,
        hidden_act={"silu"},
        attention_bias={False},
        clip_qkv={None},
        shared_expert_intermediate_size={None, 0},
        moe_router_score_function={"softmax"},
        moe_router_enable_expert_bias={False},
        router_num_group={None, 0, 1},
        routed_scaling_factor={None, 1},
        # The published code never divides by the sum, whatever the field says.
        norm_topk_prob={None, False},
    )
    layers, heads = whole(config, "num_hidden_layers"), whole(config, "num_attention_heads")
    sparse = config.get("moe_layer_freq") or [1] * layers
    if not isinstance(sparse, list) or len(sparse) != layers or any(one not in (0, 1) for one in sparse):
        raise ValueError(f"moe_layer_freq must be {layers} times 0 or 1, but is {said(sparse)}")
    dense = 0 if all(sparse) else whole(config, "dense_intermediate_size")
    head_dim = head_size(config)
    return Sizes(
        vocab=whole(config, "vocab_size"),
        hidden=whole(config, "hidden_size"),
        heads=heads,
        kv_heads=whole(config, "num_key_value_heads", heads),
        head_dim=head_dim,
        rotary=head_dim,
        theta=theta(config),
        eps=number(config, "rms_norm_eps", 1e-5),
        positions=whole(config, "max_position_embeddings"),
        dense=tuple(0 if experts else dense for experts in sparse),
        expert=whole(config, "expert_intermediate_size"),
        shared=0,
        router=Router(experts=whole(config, "num_experts"), chosen=whole(config, "num_experts_per_tok")),
        qk_norm=flag(config, "qk_layernorm", default=True),
        tied=flag(config, "tie_word_embeddings"),
    )


def qwen3_moe(config: Mapping[str, Any], block: int) -> Sizes:
    """Of the ``config.json`` of SDAR's models with experts: Qwen3-MoE's fields. Raises ValueError, naming the field."""
    only(config, hidden_act={"silu"}, attention_bias={False}, use_sliding_window={False})
    layers, heads = whole(config, "num_hidden_layers"), whole(config, "num_attention_heads")
    step, dense = whole(config, "decoder_sparse_step", 1), config.get("mlp_only_layers") or []
    if not isinstance(dense, list) or any(type(layer) is not int for layer in dense):
        raise ValueError(f"mlp_only_layers must be a list of whole numbers, but is {said(dense)}")
    sparse = [layer not in dense and (layer + 1) % step == 0 for layer in range(layers)]
    width = 0 if all(sparse) else whole(config, "intermediate_size")
    head_dim = head_size(config)
    return Sizes(
        vocab=whole(config, "vocab_size"),
        hidden=whole(config, "hidden_size"),
        heads=heads,
        kv_heads=whole(config, "num_key_value_heads"),
        head_dim=head_dim,
        rotary=head_dim,
        theta=theta(config),
        eps=number(config, "rms_norm_eps"),
        positions=whole(config, "max_position_embeddings"),
        dense=tuple(0 if experts else width for experts in sparse),
        expert=whole(config, "moe_intermediate_size"),
        shared=0,
        router=Router(
            experts=whole(config, "num_experts"),
            chosen=whole(config, "num_experts_per_tok"),
            normed=flag(config, "norm_topk_prob"),
        ),
        tied=flag(config, "tie_word_embeddings"),
        block=block,
    )


def tensors(sizes: Sizes) -> Shapes:
    """Names and shapes of all that a published file must hold."""
    with torch.device("meta"):
        return {name: tuple(part.shape) for name, part in _destinations(Network(sizes))}


def recomputed(sizes: Sizes) -> Shapes:
    """What a file may hold besides: tables of rotations, which are not read but computed from the sizes, and the head
    of a network whose head is the embedding (see ``build``)."""
    names = ["model.rotary_emb.inv_freq"]
    names += [f"{sizes.names.layers}.{layer}.self_attn.rotary_emb.inv_freq" for layer in range(len(sizes.dense))]
    head: Shapes = {f"{sizes.names.head}.weight": (sizes.vocab, sizes.hidden)} if sizes.tied else {}
    return dict.fromkeys(names, (sizes.rotary // 2,)) | head


class FeedForward(nn.Module):
    """SwiGLU; gate and up in one matrix, the gate first."""

    def __init__(self, hidden: int, width: int) -> None:
        super().__init__()
        self.gate_up = nn.Parameter(torch.empty(2 * width, hidden))
        self.down = nn.Parameter(torch.empty(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        return _feed(x, self.gate_up, self.down)


class Experts(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        router, d, f = sizes.router, sizes.hidden, sizes.expert
        assert router is not None
        self.router = router
        self.gate = nn.Parameter(torch.empty(router.experts, d))
        self.bias = nn.Parameter(torch.empty(router.experts)) if router.sigmoid else None
        self.gate_up = nn.Parameter(torch.empty(router.experts, 2 * f, d))
        self.down = nn.Parameter(torch.empty(router.experts, d, f))
        self.shared = FeedForward(d, sizes.shared) if sizes.shared else None

    def route(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x [N, D] -> the chosen experts [N, K] and their float32 weights [N, K]. Of equals, the first ones."""
        logits = functional.linear(x.to(self.gate.dtype), self.gate).float()
        scores = logits.sigmoid() if self.router.sigmoid else logits.softmax(-1)
        chosen = _first(self._eligible(scores if self.bias is None else scores + self.bias), self.router.chosen)
        weights = scores.gather(1, chosen)
        if self.router.normed:
            weights = weights / (weights.sum(-1, keepdim=True) + 1e-20)
        return chosen, weights * self.router.scale

    def _eligible(self, scores: Tensor) -> Tensor:
        """[N, E] with minus infinity in groups that are not among the chosen ones."""
        if self.router.groups == 1:
            return scores
        grouped = scores.view(len(scores), self.router.groups, -1)
        best = grouped.topk(2, dim=-1).values.sum(-1)
        open_groups = torch.zeros_like(best, dtype=torch.bool).scatter(1, _first(best, self.router.groups_chosen), True)
        return grouped.masked_fill(~open_groups[..., None], float("-inf")).flatten(1)

    def can_group(self) -> bool:
        """Whether torch's kernel for all experts at once takes these weights: bf16, and rows of whole 16 bytes."""
        widths = (self.down.shape[1], self.down.shape[2])
        return (
            hasattr(functional, "grouped_mm")
            and self.down.dtype == torch.bfloat16
            and not any(width % 8 for width in widths)
        )

    def feed(self, x: Tensor, counts: Tensor, *, grouped: bool) -> Tensor:
        """x [N K, D], sorted by expert, counts [E] of them -> [N K, D]. ``grouped``: two launches and no look at the
        host instead of two for each expert."""
        if grouped:
            ends = counts.cumsum(0).int()
            gate, up = functional.grouped_mm(x, self.gate_up.transpose(1, 2), offs=ends).chunk(2, dim=-1)
            return functional.grouped_mm(functional.silu(gate) * up, self.down.transpose(1, 2), offs=ends)
        parts = zip(x.split(counts.tolist()), self.gate_up, self.down, strict=True)
        return torch.cat([_feed(part, gate_up, down) for part, gate_up, down in parts if len(part)])

    def forward(self, x: Tensor) -> Tensor:
        """x [N, D] -> [N, D]. Tokens are sorted by expert, so that each chosen expert is one product, others none."""
        chosen, weights = self.route(x)
        order = chosen.flatten().argsort(stable=True)
        counts = torch.bincount(chosen.flatten(), minlength=self.router.experts)
        fed = self.feed(x[order // chosen.shape[1]], counts, grouped=x.is_cuda and self.can_group())
        outs = torch.empty_like(fed)
        outs[order] = fed
        mixed = (outs.view(*chosen.shape, -1).float() * weights[..., None]).sum(1).to(x.dtype)
        if self.shared is not None:
            mixed = mixed + self.shared(x)
        return mixed


@dataclass(frozen=True)
class Kept:
    """What a pass over whole rows leaves for ``Network.window``: keys and values [B, kvH, L, S] of each layer."""

    layers: list[tuple[Tensor, Tensor]] = field(default_factory=list)


@dataclass(frozen=True)
class Around:
    """A layer's keys and values of whole rows, while only the places ``columns`` [B, W] are computed anew."""

    keys: Tensor
    values: Tensor
    columns: Tensor

    def filled(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """k and v [B, kvH, W, S] of these places among those of the others: [B, kvH, L, S]."""
        at = self.columns[:, None, :, None].expand_as(k)
        return self.keys.scatter(2, at, k), self.values.scatter(2, at, v)


class Layer(nn.Module):
    def __init__(self, sizes: Sizes, width: int) -> None:
        super().__init__()
        self.sizes = sizes
        d, s, out = sizes.hidden, sizes.head_dim, sizes.heads * sizes.head_dim
        self.norm1 = nn.Parameter(torch.empty(d))
        self.norm2 = nn.Parameter(torch.empty(d))
        self.qkv = nn.Parameter(torch.empty(out + 2 * sizes.kv_heads * s, d))
        self.qkv_bias = nn.Parameter(torch.empty(out + 2 * sizes.kv_heads * s)) if sizes.qkv_bias else None
        self.out = nn.Parameter(torch.empty(d, out))
        self.out_bias = nn.Parameter(torch.empty(d)) if sizes.out_bias else None
        self.q_norm = nn.Parameter(torch.empty(s)) if sizes.qk_norm else None
        self.k_norm = nn.Parameter(torch.empty(s)) if sizes.qk_norm else None
        self.feed = FeedForward(d, width) if width else Experts(sizes)

    def forward(
        self,
        x: Tensor,
        cos: Tensor,
        sin: Tensor,
        mask: Tensor | None,
        *,
        keep: Kept | None = None,
        around: Around | None = None,
    ) -> Tensor:
        """x [B, L, D], cos and sin [B, L, R / 2], mask [B, 1, L, L] or None -> [B, L, D]; with ``around`` all but the
        last of the mask are of W places."""
        mixed = self._attend(self._norm(x, self.norm1), cos, sin, mask, keep, around)
        x = x + linear(mixed, self.out, self.out_bias)
        y = self._norm(x, self.norm2)
        fed: Tensor = self.feed(y.flatten(0, 1))
        return x + fed.view_as(x)

    def _attend(
        self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None, keep: Kept | None, around: Around | None
    ) -> Tensor:
        heads, shared = self.sizes.heads, self.sizes.kv_heads
        y = linear(x, self.qkv, self.qkv_bias).unflatten(-1, (-1, self.sizes.head_dim))
        q, k, v = (part.transpose(1, 2) for part in y.split([heads, shared, shared], dim=2))
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self._norm(q, self.q_norm), self._norm(k, self.k_norm)
        q, k = turned(q, cos, sin).to(v.dtype), turned(k, cos, sin).to(v.dtype)
        if around is not None:
            k, v = around.filled(k, v)
        if keep is not None:
            keep.layers.append((k, v.contiguous()))
        # Repeated here: with a mask, the fused kernels take no shared heads.
        k, v = (part.repeat_interleave(heads // shared, dim=1) for part in (k, v))
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return mixed.transpose(1, 2).flatten(2)

    def _norm(self, x: Tensor, weight: Tensor) -> Tensor:
        return _rms(x, weight, self.sizes.eps)


class Network(nn.Module):
    """Ids in, raw logits out: row i is about the token at place i."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.embedding = nn.Parameter(torch.empty(sizes.vocab, sizes.hidden))
        self.layers = nn.ModuleList(Layer(sizes, width) for width in sizes.dense)
        self.norm = nn.Parameter(torch.empty(sizes.hidden))
        self.head = self.embedding if sizes.tied else nn.Parameter(torch.empty(sizes.vocab, sizes.hidden))

    def forward(
        self,
        ids: Tensor,
        valid: Tensor | None = None,
        wanted: Tensor | None = None,
        *,
        keep: Kept | None = None,
        lead: Tensor | None = None,
    ) -> Tensor:
        """ids [B, L] -> float32 logits [B, L, V], or [M, V] of the ``wanted`` [B, L] places.

        ``valid`` [B, L]: False is padding, on either side; places are counted, and blocks laid out, from a row's first
        valid one; ``lead`` [B]: its first block has so many places less. An empty ``keep`` is filled.
        """
        x, place = self.embedding[ids], places(ids, valid)
        cos, sin = self._turns(place, x.dtype)
        mask = allowed(place, valid, self.sizes.block, lead=lead)
        for layer in self.layers:
            x = layer(x, cos, sin, mask, keep=keep)
        return self._logits(x if wanted is None else x[wanted])

    def window(
        self, ids: Tensor, start: Tensor, kept: Kept, valid: Tensor | None = None, *, lead: Tensor | None = None
    ) -> Tensor:
        """Some places of rows, all others taken as ``kept`` found them: ids [B, W], which stand in columns ``start``
        [B] and after -> float32 logits [B, W, V]. Fast-dLLM's dual cache (Wu et al., arXiv 2505.22618).

        An approximation where tokens have changed since: what other places make of the change is left out. It is exact
        if nothing has, and where blocks are whole, since those before a block do not see it and those after it are not
        seen. ``valid`` [B, L] and ``lead`` are as they were when ``kept`` was filled, which stays as it is.
        """
        columns = start[:, None] + torch.arange(ids.shape[1], device=ids.device)
        place = places(kept.layers[0][0][:, 0, :, 0], valid)
        x = self.embedding[ids]
        cos, sin = self._turns(place.gather(1, columns), x.dtype)
        mask = allowed(place, valid, self.sizes.block, columns, lead)
        for layer, (keys, values) in zip(self.layers, kept.layers, strict=True):
            x = layer(x, cos, sin, mask, around=Around(keys, values, columns))
        return self._logits(x)

    def _logits(self, x: Tensor) -> Tensor:
        return functional.linear(_rms(x, self.norm, self.sizes.eps), self.head).float()

    def _turns(self, place: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        cos, sin = turns(place, self.sizes.rotary, self.sizes.theta)
        return (cos, sin) if self.sizes.turned_wide else (cos.to(dtype), sin.to(dtype))


def build(
    sizes: Sizes,
    read: Callable[[str], Tensor],
    *,
    device: torch.device | str,
    dtype: torch.dtype,
    quantize: str | None = None,
) -> Network:
    """The network with the weights that ``read`` gives for each name of ``tensors``; a KeyError says: it is not there.

    Each tensor is copied straight into its place, so that besides the network itself only one tensor is held; with
    ``quantize`` ("int8", "int4") one layer, too, before it is made small. A float32 router stays float32. Raises
    ValueError: the head is the embedding, but the file has another one besides.
    """
    if sizes.tied:
        same_head(sizes, read)
    with torch.device("meta"):
        network = Network(sizes)
    network.requires_grad_(requires_grad=False)
    wide = sizes.router is not None and sizes.router.sigmoid

    def filled(module: nn.Module, parts: Callable[[], list[tuple[str, Tensor]]], *, deep: bool) -> None:
        for name, p in list(module.named_parameters(recurse=deep)):
            kind = torch.float32 if wide and name.endswith(("feed.gate", "feed.bias")) else dtype
            _put(module, name, nn.Parameter(torch.empty(p.shape, device=device, dtype=kind), requires_grad=False))
        if module is network and sizes.tied:
            network.head = network.embedding
        for name, part in parts():
            part.copy_(read(name))

    filled(network, lambda: _outer_parts(network), deep=False)
    for index, layer in enumerate(network.layers):
        filled(layer, partial(_layer_parts, network, index), deep=True)
        if quantize is not None:
            quantize_layer(layer, quantize)
    return network.eval()


def same_head(sizes: Sizes, read: Callable[[str], Tensor]) -> None:
    """Some files hold a tied head a second time. Some rows are compared at a time: both are large.

    Raises:
        ValueError: it is another one.
    """
    name, embedding = f"{sizes.names.head}.weight", f"{sizes.names.embedding}.weight"
    try:
        head = read(name)
    except KeyError:
        return
    pairs = zip(head.split(ROWS), read(embedding).split(ROWS), strict=True)
    if not all(torch.equal(one.float(), other.float()) for one, other in pairs):
        raise ValueError(f"{name!r} is not {embedding!r}, though the config says that they are one")


def _destinations(network: Network) -> list[tuple[str, Tensor]]:
    """Each published name, and the part of a parameter that it fills."""
    layers = [part for index in range(len(network.layers)) for part in _layer_parts(network, index)]
    return _outer_parts(network) + layers


def _outer_parts(network: Network) -> list[tuple[str, Tensor]]:
    names = network.sizes.names
    parts = [(f"{names.embedding}.weight", network.embedding.data), (f"{names.norm}.weight", network.norm.data)]
    if not network.sizes.tied:
        parts.append((f"{names.head}.weight", network.head.data))
    return parts


def _layer_parts(network: Network, index: int) -> list[tuple[str, Tensor]]:
    layer, sizes, names = network.layers[index], network.sizes, network.sizes.names
    assert isinstance(layer, Layer)
    norms = (layer.norm1.data, layer.norm2.data)
    mine = [(f"{name}.weight", norm) for name, norm in zip(names.norms, norms, strict=True)]
    mine += _attention_parts(layer, sizes)
    if isinstance(layer.feed, FeedForward):
        mine += _swiglu_parts(names.feed, layer.feed.gate_up.data, layer.feed.down.data)
    else:
        mine += _expert_parts(layer.feed)
    return [(f"{names.layers}.{index}.{name}", part) for name, part in mine]


def _attention_parts(layer: Layer, sizes: Sizes) -> list[tuple[str, Tensor]]:
    names = sizes.names
    rows = [heads * sizes.head_dim for heads in (sizes.heads, sizes.kv_heads, sizes.kv_heads)]
    parts = [(f"{names.out}.weight", layer.out.data)]
    if layer.out_bias is not None:
        parts.append((f"{names.out}.bias", layer.out_bias.data))
    for kind, qkv in (("weight", layer.qkv), ("bias", layer.qkv_bias)):
        if qkv is not None:
            split = [qkv.data] if len(names.qkv) == 1 else qkv.data.split(rows)
            parts += [(f"{name}.{kind}", part) for name, part in zip(names.qkv, split, strict=True)]
    if layer.q_norm is not None and layer.k_norm is not None:
        norms = zip(names.qk_norms, (layer.q_norm.data, layer.k_norm.data), strict=True)
        parts += [(f"{name}.weight", norm) for name, norm in norms]
    return parts


def _expert_parts(feed: nn.Module) -> list[tuple[str, Tensor]]:
    assert isinstance(feed, Experts)
    parts = [("mlp.gate.weight", feed.gate.data)]
    if feed.bias is not None:
        parts.append(("mlp.gate.expert_bias", feed.bias.data))
    for expert in range(feed.router.experts):
        names = [f"mlp.experts.{expert}.{name}_proj" for name in ("gate", "up", "down")]
        parts += _swiglu_parts(names, feed.gate_up.data[expert], feed.down.data[expert])
    if feed.shared is not None:
        names = [f"mlp.shared_experts.{name}_proj" for name in ("gate", "up", "down")]
        parts += _swiglu_parts(names, feed.shared.gate_up.data, feed.shared.down.data)
    return parts


def _swiglu_parts(names: Sequence[str], gate_up: Tensor, down: Tensor) -> list[tuple[str, Tensor]]:
    parts = [*gate_up.chunk(2), down]
    return [(f"{name}.weight", part) for name, part in zip(names, parts, strict=True)]


def _put(module: nn.Module, path: str, value: nn.Parameter) -> None:
    *parents, name = path.split(".")
    setattr(module.get_submodule(".".join(parents)), name, value)


def _feed(x: Tensor, gate_up: Tensor | Quantized, down: Tensor | Quantized) -> Tensor:
    gate, up = linear(x, gate_up).chunk(2, dim=-1)
    return linear(functional.silu(gate) * up, down)


def _rms(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    wide = x.float()
    return weight * (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)).to(x.dtype)


def _first(scores: Tensor, count: int) -> Tensor:
    """[N, n] -> the indices [N, count] of the largest; of equals the first, on every device (topk does not promise)."""
    return scores.sort(dim=-1, descending=True, stable=True).indices[:, :count]
