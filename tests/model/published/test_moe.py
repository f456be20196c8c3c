"""The networks with experts against transformers' own classes and against the equations, on random weights."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import Glm4MoeConfig, Glm4MoeForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM

from model.published import moe

Tensors = dict[str, Tensor]

LLADA2: dict[str, Any] = {
    "architectures": ["LLaDA2MoeModelLM"],
    "model_type": "llada2_moe",
    "num_hidden_layers": 3,
    "hidden_size": 32,
    "intermediate_size": 56,
    "first_k_dense_replace": 1,
    "hidden_act": "silu",
    "max_position_embeddings": 64,
    "moe_intermediate_size": 16,
    "norm_topk_prob": True,
    "num_experts_per_tok": 3,
    "norm_head": False,
    "num_attention_heads": 4,
    "num_experts": 16,
    "num_key_value_heads": 2,
    "rope_theta": 600000,
    "rope_scaling": None,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "use_bias": False,
    "use_rmsnorm": True,
    "rms_norm_eps": 1e-06,
    "head_dim": 16,
    "num_shared_experts": 1,
    "use_qkv_bias": False,
    "vocab_size": 61,
    "rotary_dim": 8,
    "using_split_qkv_in_self_attention": False,
    "router_dtype": "fp32",
    "moe_router_enable_expert_bias": True,
    "routed_scaling_factor": 2.5,
    "n_group": 4,
    "topk_group": 2,
    "score_function": "sigmoid",
    "pad_token_id": 58,
    "partial_rotary_factor": 0.5,
    "use_sliding_window": False,
}
LLADA_MOE: dict[str, Any] = {
    "architectures": ["LLaDAMoEModelLM"],
    "model_type": "llada",
    "num_hidden_layers": 2,
    "hidden_size": 32,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "hidden_act": "silu",
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-05,
    "tie_word_embeddings": False,
    "attention_bias": False,
    "clip_qkv": None,
    "dense_intermediate_size": 48,
    "expert_intermediate_size": 16,
    "num_experts": 8,
    "num_experts_per_tok": 3,
    "shared_expert_intermediate_size": None,
    "moe_layer_freq": [1, 1],
    "qk_layernorm": True,
    "moe_router_score_function": "softmax",
    "moe_router_enable_expert_bias": False,
    "router_num_group": None,
    "routed_scaling_factor": 1,
    "norm_topk_prob": None,
    "rope_theta": 50000,
    "rope_scaling": None,
    "partial_rotary_factor": 1,
    "vocab_size": 61,
}
SDAR_MOE: dict[str, Any] = {
    "architectures": ["SDARMoeForCausalLM"],
    "model_type": "sdar_moe",
    "num_hidden_layers": 3,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "hidden_act": "silu",
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-06,
    "tie_word_embeddings": False,
    "attention_bias": False,
    "moe_intermediate_size": 16,
    "num_experts": 8,
    "num_experts_per_tok": 3,
    "norm_topk_prob": True,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [1],
    "rope_theta": 1000000,
    "rope_scaling": None,
    "use_sliding_window": False,
    "vocab_size": 61,
}
BLOCK = 8


def llada2(**changed: Any) -> moe.Sizes:
    return moe.llada2(LLADA2 | changed, BLOCK)


def routing(sizes: moe.Sizes) -> moe.Router:
    assert sizes.router is not None
    return sizes.router


FAMILIES: dict[str, Callable[[], moe.Sizes]] = {
    "llada2": llada2,
    "llada-moe": lambda: moe.llada_moe(LLADA_MOE),
    "sdar-moe": lambda: moe.qwen3_moe(SDAR_MOE, BLOCK),
}


@pytest.fixture(params=FAMILIES)
def sizes(request: pytest.FixtureRequest) -> moe.Sizes:
    return FAMILIES[request.param]()


def weights(sizes: moe.Sizes, seed: int = 1) -> Tensors:
    """Of a size that makes every part matter: routers choose, norms scale."""
    generator = torch.Generator().manual_seed(seed)
    made = {}
    for name, shape in moe.tensors(sizes).items():
        noise = torch.randn(shape, generator=generator)
        if "norm" in name:
            made[name] = 1 + 0.3 * noise
        elif name.endswith("bias"):
            made[name] = 0.2 * noise
        else:
            made[name] = noise / math.sqrt(shape[-1]) * (4 if name.endswith("mlp.gate.weight") else 1.5)
    return made


def build(sizes: moe.Sizes, tensors: Tensors, dtype: torch.dtype = torch.float32) -> moe.Network:
    return moe.build(sizes, tensors.__getitem__, device="cpu", dtype=dtype)


def tokens(rows: int = 2, length: int = 21, seed: int = 5) -> Tensor:
    return torch.randint(0, 61, (rows, length), generator=torch.Generator().manual_seed(seed))


def seen(length: int, block: int) -> Tensor:
    """[L, L]: who sees whom, said place by place."""
    if not block:
        return torch.ones(length, length, dtype=torch.bool)
    return torch.tensor([[j // block <= i // block for j in range(length)] for i in range(length)])


# The equations, token by token and head by head; nothing is shared with the network.


def equations(sizes: moe.Sizes, tensors: Tensors, ids: Tensor) -> Tensor:
    return torch.stack([_one(sizes, {name: t.double() for name, t in tensors.items()}, row) for row in ids])


def _one(sizes: moe.Sizes, w: Tensors, ids: Tensor) -> Tensor:
    fused = "model.word_embeddings.weight" in w
    x = w["model.word_embeddings.weight" if fused else "model.embed_tokens.weight"][ids]
    mask = seen(len(ids), sizes.block)
    for layer, width in enumerate(sizes.dense):
        part = {name.removeprefix(f"model.layers.{layer}."): t for name, t in w.items() if f".layers.{layer}." in name}
        x = x + _attention(sizes, part, _rms(x, part["input_layernorm.weight"], sizes.eps), mask)
        y = _rms(x, part["post_attention_layernorm.weight"], sizes.eps)
        x = x + (_swiglu(part, "mlp", y) if width else torch.stack([_experts(sizes, part, token) for token in y]))
    head = w["model.word_embeddings.weight"] if sizes.tied else w["lm_head.weight"]
    return _rms(x, w["model.norm.weight"], sizes.eps) @ head.T


def _rms(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return x / (x.pow(2).mean(-1, keepdim=True) + eps).sqrt() * weight


def _attention(sizes: moe.Sizes, w: Tensors, x: Tensor, mask: Tensor) -> Tensor:
    size, shared = sizes.head_dim, sizes.heads // sizes.kv_heads
    if "attention.query_key_value.weight" in w:
        widths = [size * n for n in (sizes.heads, sizes.kv_heads, sizes.kv_heads)]
        q_all, k_all, v_all = _linear(w, "attention.query_key_value", x).split(widths, -1)
        norms, out = ("attention.query_layernorm.weight", "attention.key_layernorm.weight"), "attention.dense"
    else:
        q_all, k_all, v_all = (_linear(w, f"self_attn.{n}_proj", x) for n in "qkv")
        norms, out = ("self_attn.q_norm.weight", "self_attn.k_norm.weight"), "self_attn.o_proj"
    heads = []
    for head in range(sizes.heads):
        own, theirs = head * size, head // shared * size
        q, k, v = q_all[:, own : own + size], k_all[:, theirs : theirs + size], v_all[:, theirs : theirs + size]
        q, k = (_turned(sizes, _rms(y, w[name], sizes.eps)) for y, name in zip((q, k), norms, strict=True))
        scores = (q @ k.T / math.sqrt(size)).masked_fill(~mask, -math.inf)
        heads.append(scores.softmax(-1) @ v)
    return _linear(w, out, torch.cat(heads, -1))


def _linear(w: Tensors, name: str, x: Tensor) -> Tensor:
    return x @ w[f"{name}.weight"].T + w.get(f"{name}.bias", torch.zeros(1))


def _turned(sizes: moe.Sizes, x: Tensor) -> Tensor:
    """x [L, S]: number i and number i + R / 2 turn together, by place * theta ^ (-2 i / R)."""
    half, turned = sizes.rotary // 2, x.clone()
    for place in range(x.shape[0]):
        for i in range(half):
            angle = place * sizes.theta ** (-2 * i / sizes.rotary)
            a, b = x[place, i], x[place, i + half]
            turned[place, i] = a * math.cos(angle) - b * math.sin(angle)
            turned[place, i + half] = b * math.cos(angle) + a * math.sin(angle)
    return turned


def _swiglu(w: Tensors, prefix: str, x: Tensor) -> Tensor:
    gate, up = x @ w[f"{prefix}.gate_proj.weight"].T, x @ w[f"{prefix}.up_proj.weight"].T
    return (gate * torch.sigmoid(gate) * up) @ w[f"{prefix}.down_proj.weight"].T


def _experts(sizes: moe.Sizes, w: Tensors, x: Tensor) -> Tensor:
    router, logits = routing(sizes), w["mlp.gate.weight"] @ x
    scores = torch.sigmoid(logits) if router.sigmoid else torch.softmax(logits, 0)
    bias = w.get("mlp.gate.expert_bias", torch.zeros_like(scores))
    size = router.experts // router.groups
    biased = (scores + bias).tolist()
    groups = [biased[g * size : (g + 1) * size] for g in range(router.groups)]
    kept = sorted(range(router.groups), key=lambda g: -sum(sorted(groups[g])[-2:]))[: router.groups_chosen]
    open_experts = [e for e in range(router.experts) if e // size in kept]
    chosen = sorted(open_experts, key=lambda e: -biased[e])[: router.chosen]
    total = sum(float(scores[e]) for e in chosen) if router.normed else 1.0
    out = torch.zeros_like(x)
    for e in chosen:
        out += router.scale * scores[e] / total * _swiglu(w, f"mlp.experts.{e}", x)
    return out + _swiglu(w, "mlp.shared_experts", x) if sizes.shared else out


def test_logits_are_those_of_the_equations(sizes: moe.Sizes) -> None:
    tensors, ids = weights(sizes), tokens()
    expected = equations(sizes, tensors, ids)
    got = build(sizes, tensors)(ids)
    assert got.dtype == torch.float32
    assert expected.std() > 0.5
    assert (got - expected).abs().max() < 1e-4


def test_biases_and_a_tied_head_are_what_the_config_says() -> None:
    sizes, ids = llada2(use_qkv_bias=True, use_bias=True, tie_word_embeddings=True, num_shared_experts=0), tokens()
    tensors = weights(sizes)
    assert len(moe.tensors(sizes).keys() - moe.tensors(llada2()).keys()) == 2 * 3
    assert moe.tensors(llada2()).keys() - moe.tensors(sizes).keys() >= {"lm_head.weight"}
    assert (build(sizes, tensors)(ids) - equations(sizes, tensors, ids)).abs().max() < 1e-4


# transformers' own classes with the same weights; the mask is given, so that they are not causal.


def bias(length: int, block: int) -> Tensor:
    return torch.zeros(1, 1, length, length).masked_fill(~seen(length, block), -math.inf)


def glm4_moe(sizes: moe.Sizes, tensors: Tensors) -> Glm4MoeForCausalLM:
    """GLM-4.5 is LLaDA2 under other names: half rotary, normed queries and keys, the same router."""
    router = routing(sizes)
    settings: dict[str, Any] = {
        "vocab_size": sizes.vocab,
        "hidden_size": sizes.hidden,
        "intermediate_size": sizes.dense[0],
        "head_dim": sizes.head_dim,
        "num_hidden_layers": len(sizes.dense),
        "num_attention_heads": sizes.heads,
        "num_key_value_heads": sizes.kv_heads,
        "rms_norm_eps": sizes.eps,
        "moe_intermediate_size": sizes.expert,
        "num_experts_per_tok": router.chosen,
        "n_routed_experts": router.experts,
        "routed_scaling_factor": router.scale,
        "n_group": router.groups,
        "topk_group": router.groups_chosen,
        "use_qk_norm": True,
        "num_mtp_layers": 0,
        "pad_token_id": None,
        "rope_parameters": {"rope_type": "default", "rope_theta": sizes.theta, "partial_rotary_factor": 0.5},
    }
    model = Glm4MoeForCausalLM(Glm4MoeConfig(**settings))
    state: Tensors = {}
    for name, t in tensors.items():
        if "query_key_value" in name:
            rows = t.split([n * sizes.head_dim for n in (sizes.heads, sizes.kv_heads, sizes.kv_heads)])
            for kind, part in zip("qkv", rows, strict=True):
                state[name.replace("attention.query_key_value", f"self_attn.{kind}_proj")] = part
        else:
            for old, new in {
                "word_embeddings": "embed_tokens",
                "attention.dense": "self_attn.o_proj",
                "attention.query_layernorm": "self_attn.q_norm",
                "attention.key_layernorm": "self_attn.k_norm",
                "gate.expert_bias": "gate.e_score_correction_bias",
            }.items():
                name = name.replace(old, new)  # noqa: PLW2901
            state[name] = t
    model.load_state_dict(stacked(state, sizes))
    model.eval()
    return model


def qwen3_moe(sizes: moe.Sizes, tensors: Tensors) -> Qwen3MoeForCausalLM:
    settings: dict[str, Any] = {
        "vocab_size": sizes.vocab,
        "hidden_size": sizes.hidden,
        "intermediate_size": max(sizes.dense) or 1,
        "num_hidden_layers": len(sizes.dense),
        "num_attention_heads": sizes.heads,
        "num_key_value_heads": sizes.kv_heads,
        "head_dim": sizes.head_dim,
        "rms_norm_eps": sizes.eps,
        "moe_intermediate_size": sizes.expert,
        "num_experts_per_tok": routing(sizes).chosen,
        "num_experts": routing(sizes).experts,
        "norm_topk_prob": routing(sizes).normed,
        "mlp_only_layers": [layer for layer, width in enumerate(sizes.dense) if width],
        "rope_parameters": {"rope_type": "default", "rope_theta": sizes.theta},
    }
    model = Qwen3MoeForCausalLM(Qwen3MoeConfig(**settings))
    model.load_state_dict(stacked(tensors, sizes))
    model.eval()
    return model


def stacked(tensors: Tensors, sizes: moe.Sizes) -> Tensors:
    """Experts as transformers keeps them in memory: one tensor for all."""
    state = {name: t for name, t in tensors.items() if ".experts." not in name}
    for layer, width in enumerate(sizes.dense):
        if not width:
            prefix = f"model.layers.{layer}.mlp.experts"
            each = range(routing(sizes).experts)
            gate, up, down = (
                torch.stack([tensors[f"{prefix}.{e}.{n}_proj.weight"] for e in each]) for n in ("gate", "up", "down")
            )
            state |= {f"{prefix}.gate_up_proj": torch.cat([gate, up], 1), f"{prefix}.down_proj": down}
    return state


def test_logits_are_those_of_transformers_own_class(sizes: moe.Sizes) -> None:
    tensors, ids = weights(sizes), tokens()
    reference = glm4_moe(sizes, tensors) if len(sizes.names.qkv) == 1 else qwen3_moe(sizes, tensors)
    with torch.no_grad():
        expected = reference(ids, attention_mask=bias(ids.shape[1], sizes.block), use_cache=False).logits
    assert (build(sizes, tensors)(ids) - expected).abs().max() < 1e-4


def test_bf16_is_within_rounding_of_transformers_bf16(sizes: moe.Sizes) -> None:
    tensors, ids = weights(sizes), tokens()
    reference = glm4_moe(sizes, tensors) if len(sizes.names.qkv) == 1 else qwen3_moe(sizes, tensors)
    reference.bfloat16()
    with torch.no_grad():
        mask = bias(ids.shape[1], sizes.block).to(torch.bfloat16)
        expected = reference(ids, attention_mask=mask, use_cache=False).logits.float()
        exact = build(sizes, tensors)(ids)
    got = build(sizes, tensors, torch.bfloat16)(ids)
    # A router near a tie may choose otherwise after rounding; then the tokens behind it differ too.
    ours, theirs = ((x - exact).abs().flatten().sort().values for x in (got, expected))
    for share in (0.5, 0.9):
        place = int(share * len(ours))
        assert ours[place] < 1.5 * theirs[place] + 0.01
    assert got.argmax(-1).eq(exact.argmax(-1)).float().mean() > 0.8


def test_rows_with_padding_are_what_they_are_alone(sizes: moe.Sizes) -> None:
    network = build(sizes, weights(sizes))
    rows = [tokens(1, length, seed=length)[0] for length in (5, 17, 9)]
    alone = [network(row[None])[0] for row in rows]
    ids, valid = torch.full((3, 19), 7), torch.zeros(3, 19, dtype=torch.bool)
    for row, (start, text) in enumerate(zip((0, 2, 10), rows, strict=True)):
        ids[row, start : start + len(text)] = text
        valid[row, start : start + len(text)] = True
    together = network(ids, valid)
    assert together.isfinite().all()
    for row, expected in enumerate(alone):
        assert (together[row][valid[row]] - expected).abs().max() < 1e-4


def test_only_wanted_places_are_scored(sizes: moe.Sizes) -> None:
    network, ids = build(sizes, weights(sizes)), tokens()
    wanted = torch.zeros_like(ids, dtype=torch.bool)
    wanted[0, 3] = wanted[1, 20] = True
    assert torch.allclose(network(ids, wanted=wanted), network(ids)[wanted], atol=1e-5)


def test_a_window_of_unchanged_rows_gives_what_the_whole_rows_give(sizes: moe.Sizes) -> None:
    network, ids, kept = build(sizes, weights(sizes)), tokens(), moe.Kept()
    whole = network(ids, keep=kept)
    window = network.window(torch.stack([ids[0, 9:14], ids[1, 4:9]]), torch.tensor([9, 4]), kept)
    assert (window - torch.stack([whole[0, 9:14], whole[1, 4:9]])).abs().max() < 1e-4


def test_blocks_do_not_see_what_comes_after_them() -> None:
    network, ids = build(llada2(), weights(llada2())), tokens()
    changed = ids.clone()
    changed[:, 2 * BLOCK :] = 3
    before, after = network(ids), network(changed)
    moved = (before - after).abs().amax(-1)
    assert moved[:, : 2 * BLOCK].max() < 1e-5
    assert moved[:, 2 * BLOCK :].min() > 1e-2
    inside = ids.clone()
    inside[:, BLOCK - 1] = (ids[:, BLOCK - 1] + 1) % 61
    assert (before - network(inside))[:, 0].abs().max() > 1e-2


def first_experts(network: moe.Network) -> moe.Experts:
    found = next(module for module in network.modules() if isinstance(module, moe.Experts))
    assert isinstance(found, moe.Experts)
    return found


def test_an_expert_that_no_token_chose_is_not_touched(sizes: moe.Sizes, monkeypatch: pytest.MonkeyPatch) -> None:
    experts = first_experts(build(sizes, weights(sizes)))
    x = torch.randn(2, sizes.hidden, generator=torch.Generator().manual_seed(2))
    products: list[int] = []
    real = moe._feed

    def feed(x: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
        products.append(len(x))
        return real(x, gate_up, down)

    monkeypatch.setattr(moe, "_feed", feed)
    chosen, _ = experts.route(x)
    experts(x)
    shared = [2] if sizes.shared else []
    assert len(products) == len(chosen.unique()) + len(shared)
    assert sum(products) == 2 * routing(sizes).chosen + sum(shared)


def test_experts_fed_at_once_give_what_they_give_one_by_one(sizes: moe.Sizes) -> None:
    """The path of a GPU, as far as it runs without one; with experts that no token chose."""
    experts = first_experts(build(sizes, weights(sizes), torch.bfloat16))
    assert experts.can_group()
    x = torch.randn(12, sizes.hidden, generator=torch.Generator().manual_seed(4)).bfloat16()
    counts = torch.zeros(routing(sizes).experts, dtype=torch.long)
    counts[[1, 2, 5]] = torch.tensor([3, 8, 1])
    one_by_one, at_once = (experts.feed(x, counts, grouped=grouped) for grouped in (False, True))
    assert (one_by_one - at_once).abs().max() <= 0.02 * one_by_one.abs().max()
    assert not first_experts(build(sizes, weights(sizes))).can_group()


def test_ties_go_to_the_first_expert(sizes: moe.Sizes) -> None:
    experts = first_experts(build(sizes, weights(sizes)))
    experts.gate.zero_()
    if experts.bias is not None:
        experts.bias.zero_()
    chosen, scores = experts.route(torch.ones(3, sizes.hidden))
    assert chosen.tolist() == [list(range(routing(sizes).chosen))] * 3
    assert scores.std() < 1e-6


def test_the_bias_chooses_and_does_not_weigh() -> None:
    sizes = llada2()
    experts = first_experts(build(sizes, weights(sizes)))
    x = torch.randn(64, sizes.hidden, generator=torch.Generator().manual_seed(3))
    assert experts.bias is not None
    experts.bias.zero_()
    free, _ = experts.route(x)
    experts.bias[[0, 1, 2]] = 10.0
    chosen, scores = experts.route(x)
    assert set(free.flatten().tolist()) > {0, 1, 2}
    assert set(chosen.flatten().tolist()) == {0, 1, 2}
    expected = torch.sigmoid(x @ experts.gate.T).gather(1, chosen)
    assert torch.allclose(scores, 2.5 * expected / expected.sum(-1, keepdim=True))


def test_a_tensor_is_read_once_and_copied_straight_into_its_place(sizes: moe.Sizes) -> None:
    tensors, read = weights(sizes), []

    def once(name: str) -> Tensor:
        read.append(name)
        return tensors[name]

    network = moe.build(sizes, once, device="cpu", dtype=torch.float32)
    assert sorted(read) == sorted(moe.tensors(sizes))
    assert sum(p.numel() for p in network.parameters()) == sum(t.numel() for t in tensors.values())
    assert not any(p.is_meta or p.requires_grad for p in network.parameters())


def test_a_float32_router_stays_float32_and_only_it() -> None:
    network = build(llada2(), weights(llada2()), torch.bfloat16)
    wide = {name.split(".")[-1] for name, p in network.named_parameters() if p.dtype == torch.float32}
    assert wide == {"gate", "bias"}


def test_the_mini_model_has_the_published_number_of_weights() -> None:
    config = LLADA2 | {
        "num_hidden_layers": 20,
        "hidden_size": 2048,
        "intermediate_size": 5120,
        "moe_intermediate_size": 512,
        "num_experts_per_tok": 8,
        "num_attention_heads": 16,
        "num_experts": 256,
        "num_key_value_heads": 4,
        "head_dim": 128,
        "vocab_size": 157184,
        "rotary_dim": 64,
        "n_group": 8,
        "topk_group": 4,
        "max_position_embeddings": 32768,
    }
    sizes = moe.llada2(config)
    total = sum(math.prod(shape) for shape in moe.tensors(sizes).values())
    assert sizes.block == 32
    assert sizes.rotary == 64
    assert round(total / 1e9, 1) == 16.3


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ({"score_function": "softmax"}, "score_function"),
        ({"norm_topk_prob": False}, "norm_topk_prob"),
        ({"rope_scaling": {"type": "yarn"}}, "rope_scaling"),
        ({"use_sliding_window": True}, "use_sliding_window"),
        ({"rotary_dim": 16}, "rotary_dim 16"),
        ({"n_group": 5}, "n_group 5"),
        ({"topk_group": 9}, "topk_group 9"),
        ({"num_experts_per_tok": 9}, "num_experts_per_tok 9"),
        ({"num_experts": 2.5}, "num_experts must be"),
        ({"num_hidden_layers": 1024, "num_experts": 4096}, "num_experts 4096 have more than 65536 experts together"),
        ({"num_key_value_heads": 3}, "4 heads"),
        ({"hidden_size": None}, "hidden_size must be"),
        ({"rope_theta": math.nan}, "rope_theta must be"),
        ({"use_bias": 1}, "use_bias must be"),
    ],
)
def test_a_config_that_means_something_else_is_refused(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        llada2(**changed)


@pytest.mark.parametrize(
    "changed",
    [
        {"clip_qkv": 8},
        {"moe_router_score_function": "sigmoid"},
        {"shared_expert_intermediate_size": 4},
        {"moe_layer_freq": [1]},
        {"routed_scaling_factor": 2.5},
        {"norm_topk_prob": True},
        {"attention_bias": True},
    ],
)
def test_a_llada_moe_config_that_means_something_else_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(changed))):
        moe.llada_moe(LLADA_MOE | changed)
