"""MDLM's and BD3-LM's network against the equations of their papers, on random weights."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from model.published import dit

Tensors = dict[str, Tensor]

MDLM: dict[str, Any] = {
    "architectures": ["MDLM"],
    "model_type": "mdlm",
    "vocab_size": 51,
    "model_length": 64,
    "hidden_dim": 32,
    "cond_dim": 12,
    "n_blocks": 2,
    "n_heads": 4,
    "dropout": 0.1,
    "time_conditioning": False,
    "return_dict": False,
}
BD3LM: dict[str, Any] = MDLM | {
    "architectures": ["BD3LM"],
    "model_type": "bd3lm",
    "block_size": 4,
    "cross_attn": True,
    "adaln": True,
    "attn_backend": "flex",
    "causal": False,
    "var_min": True,
}
MASK = 50


@pytest.fixture(params=[MDLM, BD3LM], ids=["mdlm", "bd3lm"])
def sizes(request: pytest.FixtureRequest) -> dit.DitSizes:
    return dit.sizes(request.param)


def weights(sizes: dit.DitSizes, seed: int = 1) -> Tensors:
    """Modulations as large as the norms, so that a mistake in them shows."""
    generator = torch.Generator().manual_seed(seed)
    made = {}
    for name, shape in dit.tensors(sizes).items():
        noise = torch.randn(shape, generator=generator)
        if "norm" in name:
            made[name] = 1 + 0.3 * noise
        elif name.endswith("bias"):
            made[name] = 0.3 * noise
        else:
            made[name] = noise * 1.2 / math.sqrt(shape[-1])
    return made


def build(sizes: dit.DitSizes, tensors: Tensors, dtype: torch.dtype = torch.float32) -> dit.Dit:
    return dit.build(sizes, tensors.__getitem__, device="cpu", dtype=dtype)


def tokens(rows: int = 2, length: int = 19, seed: int = 5) -> Tensor:
    return torch.randint(0, 51, (rows, length), generator=torch.Generator().manual_seed(seed))


# The equations in float64, row by row and head by head, with the noise level given; nothing is shared with the network.


def equations(sizes: dit.DitSizes, tensors: Tensors, ids: Tensor, sigma: float = 0.0) -> Tensor:
    w = {name.removeprefix("backbone."): t.double() for name, t in tensors.items()}
    return torch.stack([_one(sizes, w, row, _condition(w, sigma)) for row in ids])


def _condition(w: Tensors, sigma: float) -> Tensor:
    waves = [math.exp(-math.log(10000) * i / 128) * sigma for i in range(128)]
    level = torch.tensor([math.cos(x) for x in waves] + [math.sin(x) for x in waves], dtype=torch.float64)
    return _silu(_linear(w, "sigma_map.mlp.2", _silu(_linear(w, "sigma_map.mlp.0", level))))


def _one(sizes: dit.DitSizes, w: Tensors, ids: Tensor, condition: Tensor) -> Tensor:
    d = sizes.hidden
    x = w["vocab_embed.embedding"][ids]
    for n in range(sizes.layers):
        block = f"blocks.{n}"
        alpha = _linear(w, f"{block}.adaLN_modulation", condition)
        shift, scale, gate, shift_ff, scale_ff, gate_ff = (alpha[i * d : (i + 1) * d] for i in range(6))
        y = _norm(x, w[f"{block}.norm1.weight"]) * (1 + scale) + shift
        x = x + gate * (_attention(sizes, y @ w[f"{block}.attn_qkv.weight"].T) @ w[f"{block}.attn_out.weight"].T)
        y = _norm(x, w[f"{block}.norm2.weight"]) * (1 + scale_ff) + shift_ff
        x = x + gate_ff * _linear(w, f"{block}.mlp.2", _gelu(_linear(w, f"{block}.mlp.0", y)))
    alpha = _linear(w, "output_layer.adaLN_modulation", condition)
    y = _norm(x, w["output_layer.norm_final.weight"]) * (1 + alpha[d:]) + alpha[:d]
    return _linear(w, "output_layer.linear", y)


def _linear(w: Tensors, name: str, x: Tensor) -> Tensor:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def _silu(x: Tensor) -> Tensor:
    return x / (1 + torch.exp(-x))


def _gelu(x: Tensor) -> Tensor:
    """The approximation with a hyperbolic tangent."""
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def _norm(x: Tensor, weight: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * weight


def _attention(sizes: dit.DitSizes, qkv: Tensor) -> Tensor:
    size, length = sizes.hidden // sizes.heads, qkv.shape[0]
    heads = []
    for head in range(sizes.heads):
        q, k, v = (qkv[:, part * sizes.hidden + head * size :][:, :size] for part in range(3))
        scores = _turned(q) @ _turned(k).T / math.sqrt(size)
        for i in range(length):
            for j in range(length):
                if sizes.block and j // sizes.block > i // sizes.block:
                    scores[i, j] = -math.inf
        heads.append(scores.softmax(-1) @ v)
    return torch.cat(heads, -1)


def _turned(x: Tensor) -> Tensor:
    half = x.shape[1] // 2
    turned = x.clone()
    for place in range(x.shape[0]):
        for i in range(half):
            angle = place / 10000 ** (i / half)
            a, b = x[place, i], x[place, i + half]
            turned[place, i] = a * math.cos(angle) - b * math.sin(angle)
            turned[place, i + half] = b * math.cos(angle) + a * math.sin(angle)
    return turned


def test_logits_are_those_of_the_equations(sizes: dit.DitSizes) -> None:
    tensors, ids = weights(sizes), tokens()
    expected = equations(sizes, tensors, ids)
    got = build(sizes, tensors)(ids)
    assert got.dtype == torch.float32
    assert expected.std() > 0.5
    assert (got - expected).abs().max() < 1e-4
    assert (got - equations(sizes, tensors, ids, sigma=0.5)).abs().max() > 1e-2


def test_bf16_is_within_rounding(sizes: dit.DitSizes) -> None:
    """Twenty products of bf16 numbers, each rounded to 2 ** -9 of itself."""
    tensors, ids = weights(sizes), tokens()
    expected = equations(sizes, tensors, ids)
    error = (build(sizes, tensors, torch.bfloat16)(ids) - expected).abs()
    assert error.max() < 20 * 2**-9 * expected.abs().max()
    assert error.mean() < 5 * 2**-9 * expected.std()


def test_rows_with_padding_are_what_they_are_alone(sizes: dit.DitSizes) -> None:
    network = build(sizes, weights(sizes))
    rows = [tokens(1, length, seed=length)[0] for length in (5, 17, 9)]
    ids, valid = torch.full((3, 19), 7), torch.zeros(3, 19, dtype=torch.bool)
    for row, (start, text) in enumerate(zip((0, 2, 10), rows, strict=True)):
        ids[row, start : start + len(text)] = text
        valid[row, start : start + len(text)] = True
    together = network(ids, valid)
    assert together.isfinite().all()
    for row, text in enumerate(rows):
        assert (together[row][valid[row]] - network(text[None])[0]).abs().max() < 1e-4


def test_only_wanted_places_are_scored(sizes: dit.DitSizes) -> None:
    network, ids = build(sizes, weights(sizes)), tokens()
    wanted = torch.zeros_like(ids, dtype=torch.bool)
    wanted[0, 3] = wanted[1, 18] = True
    assert torch.allclose(network(ids, wanted=wanted), network(ids)[wanted], atol=1e-5)


def test_blocks_do_not_see_what_comes_after_them() -> None:
    sizes = dit.sizes(BD3LM)
    network, ids = build(sizes, weights(sizes)), tokens()
    changed = ids.clone()
    changed[:, 8:] = 3
    moved = (network(ids) - network(changed)).abs().amax(-1)
    assert moved[:, :8].max() < 1e-5
    assert moved[:, 8:].min() > 1e-2
    inside = ids.clone()
    inside[:, 3] = (ids[:, 3] + 1) % 50
    assert (network(ids) - network(inside))[:, 0].abs().max() > 1e-2


def test_subs_carries_tokens_over_and_never_answers_with_the_mask() -> None:
    logits = torch.randn(2, 6, 51, generator=torch.Generator().manual_seed(1))
    logits[..., MASK] = 50.0
    ids = tokens(2, 6).clamp_max(MASK - 1)
    ids[0, 2] = ids[1, 5] = MASK
    raw = logits.clone()
    got = dit.subs(logits, ids, MASK).exp()
    assert torch.equal(logits, raw)
    assert torch.allclose(got.sum(-1), torch.ones(2, 6))
    assert torch.equal(got.argmax(-1)[ids != MASK], ids[ids != MASK])
    assert (got[ids != MASK].amax(-1) == 1).all()
    assert (got[..., MASK] == 0).all()
    expected = logits[0, 2, :MASK].softmax(-1)
    assert torch.allclose(got[0, 2, :MASK], expected)


def test_every_tensor_is_read(sizes: dit.DitSizes) -> None:
    tensors, read = weights(sizes), set()

    def reading(name: str) -> Tensor:
        read.add(name)
        return tensors[name]

    network = dit.build(sizes, reading, device="cpu", dtype=torch.float32)
    assert read == set(dit.tensors(sizes))
    assert not any(t.is_meta for t in [*network.parameters(), *network.buffers()])


def test_mdlm_owt_has_the_published_number_of_weights() -> None:
    published = MDLM | {
        "vocab_size": 50258, "hidden_dim": 768, "cond_dim": 128, "n_blocks": 12, "n_heads": 12, "model_length": 1024,
    }  # fmt: skip
    sizes = dit.sizes(published)
    assert round(sum(math.prod(shape) for shape in dit.tensors(sizes).values()) / 1e6) == 170
    assert dit.recomputed(sizes) == {"backbone.rotary_emb.inv_freq": (32,)}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (MDLM | {"time_conditioning": True}, "time_conditioning is true"),
        (MDLM | {"n_heads": 5}, "hidden_dim 32"),
        (MDLM | {"cond_dim": None}, "cond_dim must be"),
        (MDLM | {"n_blocks": 2.0}, "n_blocks must be"),
        (BD3LM | {"block_size": 0}, "block_size must be"),
        (BD3LM | {"causal": True}, "causal is true"),
        (BD3LM | {"adaln": False}, "adaln is false"),
        (BD3LM | {"cross_attn": False}, "cross_attn is false"),
    ],
)
def test_a_config_that_means_something_else_is_refused(config: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        dit.sizes(config)
