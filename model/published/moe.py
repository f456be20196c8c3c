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
    _only(
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
    layers, first = _whole(config, "num_hidden_layers"), _whole(config, "first_k_dense_replace", 0, least=0)
    heads, hidden = _whole(config, "num_attention_heads"), _whole(config, "hidden_size")
    head_dim = _whole(config, "head_dim", hidden // heads)
    rotary = int(head_dim * _number(config, "partial_rotary_factor", 0.5))
    if _whole(config, "rotary_dim", rotary) != rotary:
        raise ValueError(f"rotary_dim {config['rotary_dim']} contradicts partial_rotary_factor, which gives {rotary}")
    expert = _whole(config, "moe_intermediate_size")
    dense = _whole(config, "intermediate_size") if first else 0
    return MoeSizes(
        vocab=_whole(config, "vocab_size"),
        hidden=hidden,
        heads=heads,
        kv_heads=_whole(config, "num_key_value_heads"),
        head_dim=head_dim,
        rotary=rotary,
        theta=_number(config, "rope_theta"),
        eps=_number(config, "rms_norm_eps"),
        positions=_whole(config, "max_position_embeddings"),
        dense=tuple(dense if layer < first else 0 for layer in range(layers)),
        expert=expert,
        shared=expert * _whole(config, "num_shared_experts", 0, least=0),
        router=Router(
            experts=_whole(config, "num_experts"),
            chosen=_whole(config, "num_experts_per_tok"),
            groups=_whole(config, "n_group"),
            groups_chosen=_whole(config, "topk_group"),
            sigmoid=True,
            # One expert's score stands as it is in the published code.
            normed=_whole(config, "num_experts_per_tok") > 1,
            scale=_number(config, "routed_scaling_factor"),
        ),
        fused=True,
        qkv_bias=_flag(config, "use_qkv_bias"),
        out_bias=_flag(config, "use_bias"),
        tied=_flag(config, "tie_word_embeddings"),
        block=block,
    )


def llada_moe(config: Mapping[str, Any]) -> MoeSizes:
    """Of LLaDA-MoE's ``config.json``. Raises ValueError, naming the field."""
    _only(
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
    layers, heads = _whole(config, "num_hidden_layers"), _whole(config, "num_attention_heads")
    sparse = config.get("moe_layer_freq") or [1] * layers
    if not isinstance(sparse, list) or len(sparse) != layers or not set(sparse) <= {0, 1}:
        raise ValueError(f"moe_layer_freq must be {layers} times 0 or 1, but is {sparse!r}")
    dense = 0 if all(sparse) else _whole(config, "dense_intermediate_size")
    head_dim = _whole(config, "head_dim", _whole(config, "hidden_size") // heads)
    return MoeSizes(
        vocab=_whole(config, "vocab_size"),
        hidden=_whole(config, "hidden_size"),
        heads=heads,
        kv_heads=_whole(config, "num_key_value_heads", heads),
        head_dim=head_dim,
        rotary=head_dim,
        theta=_number(config, "rope_theta"),
        eps=_number(config, "rms_norm_eps", 1e-5),
        positions=_whole(config, "max_position_embeddings"),
        dense=tuple(0 if experts else dense for experts in sparse),
        expert=_whole(config, "expert_intermediate_size"),
        shared=0,
        router=Router(experts=_whole(config, "num_experts"), chosen=_whole(config, "num_experts_per_tok")),
        fused=False,
        qk_norm=_flag(config, "qk_layernorm", default=True),
        tied=_flag(config, "tie_word_embeddings"),
    )


def qwen3_moe(config: Mapping[str, Any], block: int) -> MoeSizes:
    """Of the ``config.json`` of SDAR's models with experts: Qwen3-MoE's fields. Raises ValueError, naming the field."""
    _only(
        config, hidden_act={"silu"}, attention_bias={False}, rope_scaling={None}, use_sliding_window={False},
        partial_rotary_factor={None, 1},
    )  # fmt: skip
    layers, heads = _whole(config, "num_hidden_layers"), _whole(config, "num_attention_heads")
    step, dense = _whole(config, "decoder_sparse_step", 1), config.get("mlp_only_layers") or []
    sparse = [layer not in dense and (layer + 1) % step == 0 for layer in range(layers)]
    width = 0 if all(sparse) else _whole(config, "intermediate_size")
    head_dim = _whole(config, "head_dim", _whole(config, "hidden_size") // heads)
    return MoeSizes(
        vocab=_whole(config, "vocab_size"),
        hidden=_whole(config, "hidden_size"),
        heads=heads,
        kv_heads=_whole(config, "num_key_value_heads"),
        head_dim=head_dim,
        rotary=head_dim,
        theta=_number(config, "rope_theta"),
        eps=_number(config, "rms_norm_eps"),
        positions=_whole(config, "max_position_embeddings"),
        dense=tuple(0 if experts else width for experts in sparse),
        expert=_whole(config, "moe_intermediate_size"),
        shared=0,
        router=Router(
            experts=_whole(config, "num_experts"),
            chosen=_whole(config, "num_experts_per_tok"),
            normed=_flag(config, "norm_topk_prob"),
        ),
        fused=False,
        tied=_flag(config, "tie_word_embeddings"),
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

    def forward(self, x: Tensor) -> Tensor:
        """x [N, D] -> [N, D]. Tokens are sorted by expert, so that each chosen expert is one product, others none."""
        chosen, weights = self.route(x)
        order = chosen.flatten().argsort(stable=True)
        token = order // chosen.shape[1]
        counts = torch.bincount(chosen.flatten(), minlength=self.router.experts).tolist()
        outs = x.new_empty(order.shape[0], x.shape[1])
        start = 0
        for expert, count in enumerate(counts):
            if count:
                rows = token[start : start + count]
                outs[order[start : start + count]] = _feed(x[rows], self.gate_up[expert], self.down[expert])
                start += count
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

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor], allowed: Tensor | None) -> Tensor:
        """x [B, L, D], turn: cos and sin [B, L, R / 2], allowed [B, 1, L, L] or None -> [B, L, D]."""
        x = x + functional.linear(self._attend(self._norm(x, self.norm1), turn, allowed), self.out, self.out_bias)
        y = self._norm(x, self.norm2)
        fed: Tensor = self.feed(y.flatten(0, 1))
        return x + fed.view_as(x)

    def _attend(self, x: Tensor, turn: tuple[Tensor, Tensor], allowed: Tensor | None) -> Tensor:
        heads, shared = self.sizes.heads, self.sizes.kv_heads
        y = functional.linear(x, self.qkv, self.qkv_bias).unflatten(-1, (-1, self.sizes.head_dim))
        q, k, v = (part.transpose(1, 2) for part in y.split([heads, shared, shared], dim=2))
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self._norm(q, self.q_norm), self._norm(k, self.k_norm)
        q, k = _rotate(q, turn), _rotate(k, turn)
        # Repeated here: with a mask, the fused kernels take no shared heads.
        k, v = (part.repeat_interleave(heads // shared, dim=1) for part in (k, v))
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
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
        place = torch.arange(ids.shape[1], device=ids.device).expand_as(ids) if valid is None else _places(valid)
        x = self.embedding[ids]
        turn, allowed = self._turn(place, x.dtype), _allowed(place, valid, self.sizes.block)
        for layer in self.layers:
            x = layer(x, turn, allowed)
        if wanted is not None:
            x = x[wanted]
        return functional.linear(_rms(x, self.norm, self.sizes.eps), self.head).float()

    def _turn(self, place: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        steps = torch.arange(0, self.sizes.rotary, 2, device=place.device) / self.sizes.rotary
        angle = place[..., None] * (1.0 / self.sizes.theta**steps)
        return angle.cos().to(dtype), angle.sin().to(dtype)


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
    for name, place in _destinations(network, sizes):
        place.copy_(read(name))
    return network.eval()


def _destinations(network: Moe, sizes: MoeSizes) -> list[tuple[str, Tensor]]:
    """Each published name, and the part of a parameter that it fills."""
    embedding = "word_embeddings" if sizes.fused else "embed_tokens"
    places = [(f"model.{embedding}.weight", network.embedding.data), ("model.norm.weight", network.norm.data)]
    if not sizes.tied:
        places.append(("lm_head.weight", network.head.data))
    for index, layer in enumerate(network.layers):
        assert isinstance(layer, Layer)
        part = [("input_layernorm.weight", layer.norm1.data), ("post_attention_layernorm.weight", layer.norm2.data)]
        part += _attention_places(layer, sizes)
        if isinstance(layer.feed, FeedForward):
            part += _swiglu_places("mlp", layer.feed.gate_up.data, layer.feed.down.data)
        else:
            part += _expert_places(layer.feed)
        places += [(f"model.layers.{index}.{name}", place) for name, place in part]
    return places


def _attention_places(layer: Layer, sizes: MoeSizes) -> list[tuple[str, Tensor]]:
    whole = [("weight", layer.qkv.data, layer.out.data)]
    if layer.qkv_bias is not None:
        whole.append(("bias", layer.qkv_bias.data, torch.empty(0)))
    places: list[tuple[str, Tensor]] = []
    for kind, qkv, _ in whole:
        if sizes.fused:
            places.append((f"attention.query_key_value.{kind}", qkv))
        else:
            rows = [n * sizes.head_dim for n in (sizes.heads, sizes.kv_heads, sizes.kv_heads)]
            places += [(f"self_attn.{n}_proj.{kind}", part) for n, part in zip("qkv", qkv.split(rows), strict=True)]
    out = "attention.dense" if sizes.fused else "self_attn.o_proj"
    places.append((f"{out}.weight", layer.out.data))
    if layer.out_bias is not None:
        places.append((f"{out}.bias", layer.out_bias.data))
    if layer.q_norm is not None and layer.k_norm is not None:
        places += zip(_norms(sizes), (layer.q_norm.data, layer.k_norm.data), strict=True)
    return places


def _expert_places(feed: nn.Module) -> list[tuple[str, Tensor]]:
    assert isinstance(feed, Experts)
    places = [("mlp.gate.weight", feed.gate.data)]
    if feed.bias is not None:
        places.append(("mlp.gate.expert_bias", feed.bias.data))
    for expert in range(feed.router.experts):
        places += _swiglu_places(f"mlp.experts.{expert}", feed.gate_up.data[expert], feed.down.data[expert])
    if feed.shared is not None:
        places += _swiglu_places("mlp.shared_experts", feed.shared.gate_up.data, feed.shared.down.data)
    return places


def _swiglu_places(prefix: str, gate_up: Tensor, down: Tensor) -> list[tuple[str, Tensor]]:
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


def _rotate(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """x [B, H, L, S]: its first numbers are pairs, half of the rotated part from each other."""
    cos, sin = (part[:, None] for part in turn)
    rotated = 2 * cos.shape[-1]
    a, b = x[..., :rotated].chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos, x[..., rotated:]], dim=-1)


def _first(scores: Tensor, count: int) -> Tensor:
    """[N, n] -> the indices [N, count] of the largest; of equals the first, on every device (topk does not promise)."""
    return scores.sort(dim=-1, descending=True, stable=True).indices[:, :count]


def _places(valid: Tensor) -> Tensor:
    """[B, L]: how many valid places are before each."""
    return (valid.cumsum(1) - 1).clamp_min(0)


def _allowed(place: Tensor, valid: Tensor | None, block: int) -> Tensor | None:
    """[B, 1, L, L]: which places a place attends to; None where all see all. Padding sees itself, so that it stays a
    number."""
    if valid is None and not block:
        return None
    seen = torch.ones_like(place, dtype=torch.bool) if valid is None else valid
    allowed = seen[:, None, :].expand(-1, place.shape[1], -1)
    if block:
        allowed = allowed & (place[:, None, :] // block <= place[:, :, None] // block)
    if valid is not None:
        allowed = allowed | torch.eye(place.shape[1], dtype=torch.bool, device=place.device)
    return allowed[:, None]


def _only(config: Mapping[str, Any], **known: set[Any]) -> None:
    """Refuses a field that says something which the network here does not do."""
    for name, values in known.items():
        if name in config and not any(config[name] is value or config[name] == value for value in values):
            raise ValueError(f"{name} is {config[name]!r}: only {sorted(map(repr, values))} can be used")


def _whole(config: Mapping[str, Any], name: str, default: int | None = None, *, least: int = 1) -> int:
    value = config.get(name)
    value = default if value is None else value
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be a whole number, at least {least}, but is {value!r}")
    return value


def _number(config: Mapping[str, Any], name: str, default: float | None = None) -> float:
    value = config.get(name, default)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < float("inf"):
        raise ValueError(f"{name} must be a number above 0, but is {value!r}")
    return float(value)


def _flag(config: Mapping[str, Any], name: str, *, default: bool = False) -> bool:
    value = config.get(name, default)
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, but is {value!r}")  # noqa: TRY004 (what a file holds is a value)
    return value
