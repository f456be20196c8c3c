"""Published networks with many experts: LLaDA2 (Ling MoE v2), LLaDA-MoE (OLMoE's shape) and SDAR-MoE (Qwen3-MoE).

All three are Llama's layer with normed queries and keys, where a router picks a few of many feed-forwards for a token.
They differ in names, in how far heads are rotated, in the router, and in who sees whom. LLaDA2's router is that of
DeepSeek-V3 (arXiv 2412.19437, section 2.1.2): scores are sigmoids in float32; a bias, used for choosing only, is added;
groups of experts are chosen by their two best; the chosen ones' scores are normed to one and scaled. Its first layer is
dense, and every token uses one expert more.

It knows ids and tensors, not files or text. Shapes: B rows, L places, M wanted places, N = B L tokens, D width,
H heads, S head size, R rotated part of it, E experts, K chosen ones, V vocabulary.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.published.fields import flag, number, only, whole
from model.published.places import allowed, places, turned, turns

Shapes = dict[str, tuple[int, ...]]


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
class MoeSizes:
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
    expert: int
    shared: int
    """Width of the feed-forward that every token uses besides; 0: there is none."""
    router: Router
    fused: bool
    """Names of LLaDA2, with one matrix for query, key and value; else those of Llama."""
    qk_norm: bool = True
    qkv_bias: bool = False
    out_bias: bool = False
    tied: bool = False
    block: int = 0
    """Places that see each other, and all blocks before them; 0: all see all."""

    def __post_init__(self) -> None:
        for name in ("vocab", "hidden", "heads", "kv_heads", "head_dim", "positions", "expert"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.heads % self.kv_heads:
            raise ValueError(f"{self.heads} heads do not share {self.kv_heads} heads of keys evenly")
        if self.rotary % 2 or not 0 < self.rotary <= self.head_dim:
            raise ValueError(f"{self.rotary} rotated numbers are not an even part of a head's {self.head_dim}")
        if not self.dense:
            raise ValueError("num_hidden_layers must be at least 1")
        if self.theta <= 0 or self.eps <= 0:
            raise ValueError(f"rope_theta {self.theta} and rms_norm_eps {self.eps} must be above 0")


def llada2(config: Mapping[str, Any], block: int = 32) -> MoeSizes:
    """Of the ``config.json`` of LLaDA2.0 and 2.1. Raises ValueError, naming the field."""
    only(
        config,
        hidden_act={"silu"},
        score_function={"sigmoid"},
        norm_topk_prob={True},
        use_rmsnorm={True},
        norm_head={False},
        norm_softmax={False},
        rope_scaling={None},
        use_sliding_window={False},
        moe_router_enable_expert_bias={True},
        using_split_qkv_in_self_attention={False},
    )
    layers, first = whole(config, "num_hidden_layers"), whole(config, "first_k_dense_replace", 0, least=0)
    heads, hidden = whole(config, "num_attention_heads"), whole(config, "hidden_size")
    head_dim = whole(config, "head_dim", hidden // heads)
    rotary = int(head_dim * number(config, "partial_rotary_factor", 0.5))
    if whole(config, "rotary_dim", rotary) != rotary:
        raise ValueError(f"rotary_dim {config['rotary_dim']} contradicts partial_rotary_factor, which gives {rotary}")
    expert = whole(config, "moe_intermediate_size")
    dense = whole(config, "intermediate_size") if first else 0
    return MoeSizes(
        vocab=whole(config, "vocab_size"),
        hidden=hidden,
        heads=heads,
        kv_heads=whole(config, "num_key_value_heads"),
        head_dim=head_dim,
        rotary=rotary,
        theta=number(config, "rope_theta"),
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
        fused=True,
        qkv_bias=flag(config, "use_qkv_bias"),
        out_bias=flag(config, "use_bias"),
        tied=flag(config, "tie_word_embeddings"),
        block=block,
    )


def llada_moe(config: Mapping[str, Any]) -> MoeSizes:
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
        rope_scaling={None},
        partial_rotary_factor={None, 1},
    )
    layers, heads = whole(config, "num_hidden_layers"), whole(config, "num_attention_heads")
    sparse = config.get("moe_layer_freq") or [1] * layers
    if not isinstance(sparse, list) or len(sparse) != layers or not set(sparse) <= {0, 1}:
        raise ValueError(f"moe_layer_freq must be {layers} times 0 or 1, but is {sparse!r}")
    dense = 0 if all(sparse) else whole(config, "dense_intermediate_size")
    head_dim = whole(config, "head_dim", whole(config, "hidden_size") // heads)
    return MoeSizes(
        vocab=whole(config, "vocab_size"),
        hidden=whole(config, "hidden_size"),
        heads=heads,
        kv_heads=whole(config, "num_key_value_heads", heads),
        head_dim=head_dim,
        rotary=head_dim,
        theta=number(config, "rope_theta"),
        eps=number(config, "rms_norm_eps", 1e-5),
        positions=whole(config, "max_position_embeddings"),
        dense=tuple(0 if experts else dense for experts in sparse),
        expert=whole(config, "expert_intermediate_size"),
        shared=0,
        router=Router(experts=whole(config, "num_experts"), chosen=whole(config, "num_experts_per_tok")),
        fused=False,
        qk_norm=flag(config, "qk_layernorm", default=True),
        tied=flag(config, "tie_word_embeddings"),
    )


def qwen3_moe(config: Mapping[str, Any], block: int) -> MoeSizes:
    """Of the ``config.json`` of SDAR's models with experts: Qwen3-MoE's fields. Raises ValueError, naming the field."""
    only(
        config, hidden_act={"silu"}, attention_bias={False}, rope_scaling={None}, use_sliding_window={False},
        partial_rotary_factor={None, 1},
    )  # fmt: skip
    layers, heads = whole(config, "num_hidden_layers"), whole(config, "num_attention_heads")
    step, dense = whole(config, "decoder_sparse_step", 1), config.get("mlp_only_layers") or []
    sparse = [layer not in dense and (layer + 1) % step == 0 for layer in range(layers)]
    width = 0 if all(sparse) else whole(config, "intermediate_size")
    head_dim = whole(config, "head_dim", whole(config, "hidden_size") // heads)
    return MoeSizes(
        vocab=whole(config, "vocab_size"),
        hidden=whole(config, "hidden_size"),
        heads=heads,
        kv_heads=whole(config, "num_key_value_heads"),
        head_dim=head_dim,
        rotary=head_dim,
        theta=number(config, "rope_theta"),
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
        fused=False,
        tied=flag(config, "tie_word_embeddings"),
        block=block,
    )


def tensors(sizes: MoeSizes) -> Shapes:
    """Names and shapes of all that a published file must hold."""
    d, s = sizes.hidden, sizes.head_dim
    embedding = "word_embeddings" if sizes.fused else "embed_tokens"
    shapes: Shapes = {f"model.{embedding}.weight": (sizes.vocab, d), "model.norm.weight": (d,)}
    if not sizes.tied:
        shapes["lm_head.weight"] = (sizes.vocab, d)
    for layer, width in enumerate(sizes.dense):
        part = _attention(sizes) | {"input_layernorm.weight": (d,), "post_attention_layernorm.weight": (d,)}
        if sizes.qk_norm:
            part |= dict.fromkeys(_norms(sizes), (s,))
        if width:
            part |= _swiglu("mlp", d, width)
        else:
            part["mlp.gate.weight"] = (sizes.router.experts, d)
            if sizes.router.sigmoid:
                part["mlp.gate.expert_bias"] = (sizes.router.experts,)
            for expert in range(sizes.router.experts):
                part |= _swiglu(f"mlp.experts.{expert}", d, sizes.expert)
            if sizes.shared:
                part |= _swiglu("mlp.shared_experts", d, sizes.shared)
        shapes |= {f"model.layers.{layer}.{name}": shape for name, shape in part.items()}
    return shapes


def recomputed(sizes: MoeSizes) -> Shapes:
    """What a file may hold besides, and is not read: tables of rotations, which are computed from the sizes."""
    names = ["model.rotary_emb.inv_freq"]
    names += [f"model.layers.{layer}.self_attn.rotary_emb.inv_freq" for layer in range(len(sizes.dense))]
    return dict.fromkeys(names, (sizes.rotary // 2,))


class FeedForward(nn.Module):
    """SwiGLU; gate and up in one matrix, the gate first."""

    def __init__(self, hidden: int, width: int) -> None:
        super().__init__()
        self.gate_up = nn.Parameter(torch.empty(2 * width, hidden))
        self.down = nn.Parameter(torch.empty(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        return _feed(x, self.gate_up, self.down)


class Experts(nn.Module):
    def __init__(self, sizes: MoeSizes) -> None:
        super().__init__()
        router, d, f = sizes.router, sizes.hidden, sizes.expert
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


class Layer(nn.Module):
    def __init__(self, sizes: MoeSizes, width: int) -> None:
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

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None) -> Tensor:
        """x [B, L, D], cos and sin [B, L, R / 2], mask [B, 1, L, L] or None -> [B, L, D]."""
        x = x + functional.linear(self._attend(self._norm(x, self.norm1), cos, sin, mask), self.out, self.out_bias)
        y = self._norm(x, self.norm2)
        fed: Tensor = self.feed(y.flatten(0, 1))
        return x + fed.view_as(x)

    def _attend(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None) -> Tensor:
        heads, shared = self.sizes.heads, self.sizes.kv_heads
        y = functional.linear(x, self.qkv, self.qkv_bias).unflatten(-1, (-1, self.sizes.head_dim))
        q, k, v = (part.transpose(1, 2) for part in y.split([heads, shared, shared], dim=2))
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self._norm(q, self.q_norm), self._norm(k, self.k_norm)
        q, k = turned(q, cos, sin), turned(k, cos, sin)
        # Repeated here: with a mask, the fused kernels take no shared heads.
        k, v = (part.repeat_interleave(heads // shared, dim=1) for part in (k, v))
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return mixed.transpose(1, 2).flatten(2)

    def _norm(self, x: Tensor, weight: Tensor) -> Tensor:
        return _rms(x, weight, self.sizes.eps)


class Moe(nn.Module):
    """Ids in, raw logits out: row i is about the token at place i."""

    def __init__(self, sizes: MoeSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.embedding = nn.Parameter(torch.empty(sizes.vocab, sizes.hidden))
        self.layers = nn.ModuleList(Layer(sizes, width) for width in sizes.dense)
        self.norm = nn.Parameter(torch.empty(sizes.hidden))
        self.head = self.embedding if sizes.tied else nn.Parameter(torch.empty(sizes.vocab, sizes.hidden))

    def forward(self, ids: Tensor, valid: Tensor | None = None, wanted: Tensor | None = None) -> Tensor:
        """ids [B, L] -> float32 logits [B, L, V], or [M, V] of the ``wanted`` [B, L] places.

        ``valid`` [B, L]: False is padding, on either side; places are counted, and blocks laid out, from a row's first
        valid one.
        """
        x, place = self.embedding[ids], places(ids, valid)
        cos, sin = (part.to(x.dtype) for part in turns(place, self.sizes.rotary, self.sizes.theta))
        mask = allowed(place, valid, self.sizes.block)
        for layer in self.layers:
            x = layer(x, cos, sin, mask)
        if wanted is not None:
            x = x[wanted]
        return functional.linear(_rms(x, self.norm, self.sizes.eps), self.head).float()


def build(sizes: MoeSizes, read: Callable[[str], Tensor], *, device: torch.device | str, dtype: torch.dtype) -> Moe:
    """The network with the weights that ``read`` gives for each name of ``tensors``.

    Each tensor is read once and copied straight into its place, so that besides the network itself only one tensor is
    held. A float32 router stays float32.
    """
    with torch.device("meta"):
        network = Moe(sizes)
    network.requires_grad_(requires_grad=False)
    for name, p in list(network.named_parameters()):
        kind = torch.float32 if sizes.router.sigmoid and name.endswith(("feed.gate", "feed.bias")) else dtype
        _put(network, name, nn.Parameter(torch.empty(p.shape, device=device, dtype=kind), requires_grad=False))
    if sizes.tied:
        network.head = network.embedding
    for name, part in _destinations(network, sizes):
        part.copy_(read(name))
    return network.eval()


def _destinations(network: Moe, sizes: MoeSizes) -> list[tuple[str, Tensor]]:
    """Each published name, and the part of a parameter that it fills."""
    embedding = "word_embeddings" if sizes.fused else "embed_tokens"
    parts = [(f"model.{embedding}.weight", network.embedding.data), ("model.norm.weight", network.norm.data)]
    if not sizes.tied:
        parts.append(("lm_head.weight", network.head.data))
    for index, layer in enumerate(network.layers):
        assert isinstance(layer, Layer)
        mine = [("input_layernorm.weight", layer.norm1.data), ("post_attention_layernorm.weight", layer.norm2.data)]
        mine += _attention_parts(layer, sizes)
        if isinstance(layer.feed, FeedForward):
            mine += _swiglu_parts("mlp", layer.feed.gate_up.data, layer.feed.down.data)
        else:
            mine += _expert_parts(layer.feed)
        parts += [(f"model.layers.{index}.{name}", part) for name, part in mine]
    return parts


def _attention_parts(layer: Layer, sizes: MoeSizes) -> list[tuple[str, Tensor]]:
    out = "attention.dense" if sizes.fused else "self_attn.o_proj"
    parts = [(f"{out}.weight", layer.out.data)]
    if layer.out_bias is not None:
        parts.append((f"{out}.bias", layer.out_bias.data))
    for kind, qkv in (("weight", layer.qkv), ("bias", layer.qkv_bias)):
        if qkv is not None and sizes.fused:
            parts.append((f"attention.query_key_value.{kind}", qkv.data))
        elif qkv is not None:
            rows = [heads * sizes.head_dim for heads in (sizes.heads, sizes.kv_heads, sizes.kv_heads)]
            split = zip("qkv", qkv.data.split(rows), strict=True)
            parts += [(f"self_attn.{name}_proj.{kind}", part) for name, part in split]
    if layer.q_norm is not None and layer.k_norm is not None:
        parts += zip(_norms(sizes), (layer.q_norm.data, layer.k_norm.data), strict=True)
    return parts


def _expert_parts(feed: nn.Module) -> list[tuple[str, Tensor]]:
    assert isinstance(feed, Experts)
    parts = [("mlp.gate.weight", feed.gate.data)]
    if feed.bias is not None:
        parts.append(("mlp.gate.expert_bias", feed.bias.data))
    for expert in range(feed.router.experts):
        parts += _swiglu_parts(f"mlp.experts.{expert}", feed.gate_up.data[expert], feed.down.data[expert])
    if feed.shared is not None:
        parts += _swiglu_parts("mlp.shared_experts", feed.shared.gate_up.data, feed.shared.down.data)
    return parts


def _swiglu_parts(prefix: str, gate_up: Tensor, down: Tensor) -> list[tuple[str, Tensor]]:
    gate, up = gate_up.chunk(2)
    return [(f"{prefix}.{n}_proj.weight", part) for n, part in (("gate", gate), ("up", up), ("down", down))]


def _swiglu(prefix: str, hidden: int, width: int) -> Shapes:
    shapes: Shapes = {"gate": (width, hidden), "up": (width, hidden), "down": (hidden, width)}
    return {f"{prefix}.{name}_proj.weight": shape for name, shape in shapes.items()}


def _attention(sizes: MoeSizes) -> Shapes:
    d, q, kv = sizes.hidden, sizes.heads * sizes.head_dim, sizes.kv_heads * sizes.head_dim
    if sizes.fused:
        ins, out = {"attention.query_key_value": q + 2 * kv}, "attention.dense"
    else:
        ins, out = {"self_attn.q_proj": q, "self_attn.k_proj": kv, "self_attn.v_proj": kv}, "self_attn.o_proj"
    shapes: Shapes = {f"{name}.weight": (rows, d) for name, rows in ins.items()}
    shapes[f"{out}.weight"] = (d, q)
    if sizes.qkv_bias:
        shapes |= {f"{name}.bias": (rows,) for name, rows in ins.items()}
    if sizes.out_bias:
        shapes[f"{out}.bias"] = (d,)
    return shapes


def _norms(sizes: MoeSizes) -> tuple[str, str]:
    if sizes.fused:
        return "attention.query_layernorm.weight", "attention.key_layernorm.weight"
    return "self_attn.q_norm.weight", "self_attn.k_norm.weight"


def _put(module: nn.Module, path: str, value: nn.Parameter) -> None:
    *parents, name = path.split(".")
    setattr(module.get_submodule(".".join(parents)), name, value)


def _feed(x: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    gate, up = functional.linear(x, gate_up).chunk(2, dim=-1)
    return functional.linear(functional.silu(gate) * up, down)


def _rms(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    wide = x.float()
    return weight * (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)).to(x.dtype)


def _first(scores: Tensor, count: int) -> Tensor:
    """[N, n] -> the indices [N, count] of the largest; of equals the first, on every device (topk does not promise)."""
    return scores.sort(dim=-1, descending=True, stable=True).indices[:, :count]
