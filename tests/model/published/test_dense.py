"""The networks without experts: checkpoints in the published layout against transformers' own classes, and LLaDA's
against its equations, on random weights."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from model.published import dense
from model.published.folder import open_folder
from model.published.moe import Kept, Network, Sizes

Config = dict[str, Any]
Tensors = dict[str, Tensor]

CLOSE = 1e-5
VOCAB = 61
BLOCK = 4

# Fields as they are published; only the sizes are smaller.
SHARED: Config = {
    "hidden_act": "silu",
    "hidden_size": 32,
    "intermediate_size": 40,
    "initializer_range": 0.02,
    "attention_dropout": 0.0,
    "max_position_embeddings": 64,
    "num_attention_heads": 4,
    "num_hidden_layers": 3,
    "num_key_value_heads": 2,
    "torch_dtype": "bfloat16",
    "use_cache": True,
    "vocab_size": VOCAB,
}
DREAM: Config = SHARED | {
    "architectures": ["DreamModel"],
    "auto_map": {"AutoConfig": "configuration_dream.DreamConfig", "AutoModel": "modeling_dream.DreamModel"},
    "bos_token_id": 57,
    "eos_token_id": 57,
    "mask_token_id": 60,
    "max_window_layers": 3,
    "model_type": "Dream",
    "pad_token_id": 57,
    "rms_norm_eps": 1e-06,
    "rope_scaling": None,
    "rope_theta": 1000000.0,
    "sliding_window": None,
    "tie_word_embeddings": False,
    "use_mrope": False,
    "use_sliding_window": False,
}
OPEN_DCODER: Config = SHARED | {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "max_window_layers": 2,
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0,
    "sliding_window": 32768,
    "tie_word_embeddings": True,
    "use_sliding_window": False,
}
FAST_DLLM: Config = OPEN_DCODER | {
    "architectures": ["Fast_dLLM_QwenForCausalLM"],
    "model_type": "Fast_dLLM_Qwen",
    "bd_size": BLOCK,
    "layer_types": ["full_attention"] * 3,
}
SDAR: Config = SHARED | {
    "architectures": ["SDARForCausalLM"],
    "model_type": "sdar",
    "attention_bias": False,
    "head_dim": 16,
    "max_window_layers": 3,
    "rms_norm_eps": 1e-06,
    "rope_scaling": None,
    "rope_theta": 1000000,
    "sliding_window": None,
    "tie_word_embeddings": False,
    "use_sliding_window": False,
}
CODA: Config = SDAR | {
    "architectures": ["CoDALanguageModel"],
    "model_type": "CoDA",
    "head_dim": 8,
    "block_masking_probability": 0,
}
STABLE_DIFFCODER: Config = SHARED | {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "attention_bias": False,
    "mlp_bias": False,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-06,
    "rope_scaling": None,
    "rope_theta": 500000.0,
    "tie_word_embeddings": False,
}
LLADA: Config = {
    "activation_type": "silu",
    "alibi": False,
    "alibi_bias_max": 8.0,
    "architectures": ["LLaDAModelLM"],
    "attention_dropout": 0.0,
    "attention_layer_norm": False,
    "attention_layer_norm_with_affine": True,
    "bias_for_layer_norm": False,
    "block_group_size": 1,
    "block_type": "llama",
    "d_model": 32,
    "embedding_dropout": 0.0,
    "embedding_size": 64,
    "flash_attention": False,
    "include_bias": False,
    "include_qkv_bias": False,
    "init_cutoff_factor": None,
    "init_device": "meta",
    "init_fn": "mitchell",
    "init_std": 0.02,
    "input_emb_norm": False,
    "layer_norm_type": "rms",
    "layer_norm_with_affine": True,
    "mask_token_id": 60,
    "max_sequence_length": 64,
    "mlp_hidden_size": 40,
    "mlp_ratio": 4,
    "model_type": "llada",
    "multi_query_attention": None,
    "n_heads": 4,
    "n_kv_heads": 4,
    "n_layers": 3,
    "precision": "amp_bf16",
    "residual_dropout": 0.0,
    "rms_norm_eps": 1e-05,
    "rope": True,
    "rope_full_precision": True,
    "rope_theta": 500000.0,
    "scale_logits": False,
    "use_cache": False,
    "vocab_size": VOCAB,
    "weight_tying": False,
}


def renewed(config: Config, kind: type[Any]) -> Config:
    """As transformers 5 writes it: the base of rotations within ``rope_parameters``, a kind for each layer."""
    written: Config = json.loads(kind(**config).to_json_string(use_diff=False))
    assert "rope_theta" in written["rope_parameters"]
    assert "rope_theta" not in written
    return written


@dataclass(frozen=True)
class Family:
    config: Config
    sizes: Callable[[Mapping[str, Any]], Sizes]
    reference: type[Any]
    settings: type[Any]


def qwen2(config: Config, block: int = 0) -> Family:
    return Family(config, lambda c: dense.qwen2(c, block), Qwen2ForCausalLM, Qwen2Config)


def qwen3(config: Config, block: int = 0) -> Family:
    return Family(config, lambda c: dense.qwen3(c, block), Qwen3ForCausalLM, Qwen3Config)


def llama(config: Config, block: int = 0) -> Family:
    return Family(config, lambda c: dense.llama(c, block), LlamaForCausalLM, LlamaConfig)


FAMILIES = {
    "dream": qwen2(DREAM),
    "open-dcoder, tied": qwen2(OPEN_DCODER),
    "fast-dllm-v2, blocks": qwen2(FAST_DLLM, BLOCK),
    "a2d-qwen2, transformers 5": qwen2(renewed(OPEN_DCODER, Qwen2Config)),
    "coda": qwen3(CODA),
    "sdar, blocks": qwen3(SDAR, BLOCK),
    "sdar, biases": qwen3(SDAR | {"attention_bias": True}),
    "a2d-qwen3, transformers 5, tied": qwen3(renewed(SDAR | {"tie_word_embeddings": True}, Qwen3Config)),
    "stable-diffcoder, blocks": llama(STABLE_DIFFCODER, BLOCK),
    "a2d-llama, transformers 5, one key head": llama(
        renewed(STABLE_DIFFCODER | {"num_key_value_heads": 1, "head_dim": 16, "attention_bias": True}, LlamaConfig)
    ),
}


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> Family:
    return FAMILIES[request.param]


def weights(sizes: Sizes, seed: int = 1) -> Tensors:
    """Of a size that makes every part matter: norms scale, biases shift."""
    generator = torch.Generator().manual_seed(seed)
    made = {}
    for name, shape in dense.tensors(sizes).items():
        noise = torch.randn(shape, generator=generator)
        if "norm" in name or "ln_f" in name:
            made[name] = 1 + 0.3 * noise
        else:
            made[name] = 0.3 * noise if name.endswith("bias") else 1.2 * noise / math.sqrt(shape[-1])
    return made


def write(path: Path, config: Config, tensors: Tensors) -> Path:
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps(config))
    save_file(tensors, path / "model.safetensors")
    return path


def load(path: Path, read: Callable[[Mapping[str, Any]], Sizes], dtype: torch.dtype = torch.float32) -> Network:
    folder = open_folder(path)
    sizes = read(folder.config)
    folder.check(dense.tensors(sizes), dense.recomputed(sizes))
    return dense.build(sizes, folder.read, device="cpu", dtype=dtype)


def made(path: Path, family: Family) -> Network:
    return load(write(path, family.config, weights(family.sizes(family.config))), family.sizes)


def tokens(rows: int = 2, length: int = 21, seed: int = 5) -> Tensor:
    return torch.randint(0, VOCAB, (rows, length), generator=torch.Generator().manual_seed(seed))


def seen(length: int, block: int) -> Tensor:
    """[L, L]: who sees whom, said place by place."""
    return torch.tensor([[not block or j // block <= i // block for j in range(length)] for i in range(length)])


def largest(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())


# transformers' own classes read the same file and the same config; only the mask is given.


def transformers_own(path: Path, family: Family) -> PreTrainedModel:
    state = load_file(path / "model.safetensors")
    if family.config["tie_word_embeddings"]:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    model: PreTrainedModel = family.reference(family.settings(**family.config))
    model.load_state_dict(state)
    model.eval()
    return model


def test_logits_are_those_of_transformers_own_class(tmp_path: Path, family: Family) -> None:
    network, ids = made(tmp_path, family), tokens()
    mask = torch.zeros(1, 1, 21, 21).masked_fill(~seen(21, network.sizes.block), -math.inf)
    with torch.no_grad():
        expected = transformers_own(tmp_path, family)(ids, attention_mask=mask, use_cache=False).logits
    assert expected.std() > 0.5
    assert largest(network(ids), expected) < CLOSE


def test_every_part_of_a_file_matters(tmp_path: Path, family: Family) -> None:
    """So that what the test above compares is all that there is."""
    ids, sizes = tokens(), family.sizes(family.config)
    tensors = weights(sizes)
    before = dense.build(sizes, tensors.__getitem__, device="cpu", dtype=torch.float32)(ids)
    for name, tensor in tensors.items():
        changed = tensors | {name: tensor * (1 + 0.1 * torch.arange(len(tensor)).view(-1, *[1] * (tensor.ndim - 1)))}
        after = dense.build(sizes, changed.__getitem__, device="cpu", dtype=torch.float32)(ids)
        # A bias of keys moves all scores of a query alike, so far as rotations let it.
        assert largest(before, after) > (1e-4 if name.endswith("k_proj.bias") else 1e-2), name


# LLaDA: the equations, token by token and head by head.


def llada_equations(config: Config, w: Tensors, ids: Tensor) -> Tensor:
    """ids [L] -> logits [L, V], in the type of the weights; rotations in float32 or wider."""
    heads, size = config["n_heads"], config["d_model"] // config["n_heads"]
    shared = heads // config["n_kv_heads"]
    x = w["model.transformer.wte.weight"][ids]
    for layer in range(config["n_layers"]):
        prefix = f"model.transformer.blocks.{layer}."
        p = {name.removeprefix(prefix): t for name, t in w.items() if name.startswith(prefix)}
        y = _rms(x, p["attn_norm.weight"], config["rms_norm_eps"])
        q, k, v = (y @ p[f"{n}_proj.weight"].T + p.get(f"{n}_proj.bias", torch.zeros(1)).to(y.dtype) for n in "qkv")
        mixed = []
        for head in range(heads):
            own, theirs = (
                slice(head * size, (head + 1) * size),
                slice(head // shared * size, (head // shared + 1) * size),
            )
            scores = _turned(q[:, own], config["rope_theta"]) @ _turned(k[:, theirs], config["rope_theta"]).T
            mixed.append((scores / math.sqrt(size)).softmax(-1) @ v[:, theirs])
        x = x + torch.cat(mixed, -1) @ p["attn_out.weight"].T
        y = _rms(x, p["ff_norm.weight"], config["rms_norm_eps"])
        gate = y @ p["ff_proj.weight"].T
        x = x + (gate * gate.sigmoid() * (y @ p["up_proj.weight"].T)) @ p["ff_out.weight"].T
    head_name = "wte" if config["weight_tying"] else "ff_out"
    y = _rms(x, w["model.transformer.ln_f.weight"], config["rms_norm_eps"])
    return y @ w[f"model.transformer.{head_name}.weight"].T


def _rms(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    return (wide / (wide.pow(2).mean(-1, keepdim=True) + eps).sqrt()).to(x.dtype) * weight


def _turned(x: Tensor, theta: float) -> Tensor:
    """x [L, S]: numbers i and i + S / 2 are a complex number, turned by place * theta ^ (-2 i / S)."""
    half = x.shape[-1] // 2
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    angle = torch.arange(len(x)).double()[:, None] * theta ** (-torch.arange(half).double() / half)
    turned = torch.complex(wide[:, :half], wide[:, half:]) * torch.polar(torch.ones_like(angle), angle)
    return torch.cat([turned.real, turned.imag], -1).to(x.dtype)


LLADAS = {
    "llada": LLADA,
    "shared key heads": LLADA | {"n_kv_heads": 2},
    "tied": LLADA | {"weight_tying": True, "embedding_size": None},
    "biases, a ratio for a width": LLADA | {"include_qkv_bias": True, "mlp_hidden_size": None, "mlp_ratio": 2},
}


@pytest.mark.parametrize("config", LLADAS.values(), ids=LLADAS.keys())
def test_llada_computes_its_equations(tmp_path: Path, config: Config) -> None:
    tensors, ids = weights(dense.llada(config)), tokens()
    network = load(write(tmp_path, config, tensors), dense.llada)
    wide = {name: t.double() for name, t in tensors.items()}
    expected = torch.stack([llada_equations(config, wide, row) for row in ids])
    assert expected.std() > 0.5
    assert largest(network(ids), expected) < CLOSE
    assert network(ids).shape[-1] == (config["embedding_size"] or VOCAB)


def test_llada_has_the_published_names_and_number_of_weights() -> None:
    large = LLADA | {"d_model": 4096, "n_heads": 32, "n_kv_heads": 32, "n_layers": 32, "mlp_hidden_size": 12288}
    shapes = dense.tensors(dense.llada(large | {"vocab_size": 126464, "embedding_size": 126464}))
    layer = ["attn_norm", "attn_out", "ff_norm", "ff_out", "ff_proj", "k_proj", "q_proj", "up_proj", "v_proj"]
    assert sorted(name for name in shapes if ".blocks." not in name) == [
        f"model.transformer.{name}.weight" for name in ("ff_out", "ln_f", "wte")
    ]
    assert sorted(name for name in shapes if ".blocks.31." in name) == [
        f"model.transformer.blocks.31.{name}.weight" for name in layer
    ]
    assert round(sum(math.prod(shape) for shape in shapes.values()) / 1e9, 2) == 8.02


def test_llada_in_bf16_rotates_in_float32() -> None:
    """As its own code does where ``rope_full_precision`` says so."""
    tensors, ids = weights(dense.llada(LLADA)), tokens(1, 60)
    p = {name.split("blocks.0.")[-1]: t.bfloat16() for name, t in tensors.items()}
    x = _rms(p["model.transformer.wte.weight"][ids[0]], p["attn_norm.weight"], LLADA["rms_norm_eps"])
    heads = functional.linear(x, p["k_proj.weight"]).split(8, -1)
    expected = torch.stack([_turned(head, LLADA["rope_theta"]) for head in heads])
    same = []
    for full in (True, False):
        sizes, kept = dense.llada(LLADA | {"rope_full_precision": full}), Kept()
        dense.build(sizes, tensors.__getitem__, device="cpu", dtype=torch.bfloat16)(ids, keep=kept)
        same.append(float((kept.layers[0][0][0] == expected).float().mean()))
    assert same[0] > 0.99
    assert same[1] < 0.9


# What holds for all of them.


def test_rows_with_padding_are_what_they_are_alone(tmp_path: Path, family: Family) -> None:
    network = made(tmp_path, family)
    rows = [tokens(1, length, seed=length)[0] for length in (5, 17, 9)]
    alone = [network(row[None])[0] for row in rows]
    ids, valid = torch.full((3, 19), 7), torch.zeros(3, 19, dtype=torch.bool)
    for row, (start, text) in enumerate(zip((0, 2, 10), rows, strict=True)):
        ids[row, start : start + len(text)] = text
        valid[row, start : start + len(text)] = True
    together = network(ids, valid)
    assert together.isfinite().all()
    for row, expected in enumerate(alone):
        assert largest(together[row][valid[row]], expected) < CLOSE


def test_only_wanted_places_are_scored(tmp_path: Path, family: Family) -> None:
    network, ids = made(tmp_path, family), tokens()
    wanted = torch.zeros_like(ids, dtype=torch.bool)
    wanted[0, 3] = wanted[1, 20] = True
    assert largest(network(ids, wanted=wanted), network(ids)[wanted]) < CLOSE


def test_a_place_sees_what_comes_after_it_in_its_block_or_everywhere(tmp_path: Path, family: Family) -> None:
    network, ids = made(tmp_path, family), tokens()
    changed = ids.clone()
    changed[:, 3] = (ids[:, 3] + 1) % VOCAB
    moved = (network(ids) - network(changed)).abs().amax((0, 2))
    assert moved.min() > 1e-3
    changed = ids.clone()
    changed[:, 20] = (ids[:, 20] + 1) % VOCAB
    moved = (network(ids) - network(changed)).abs().amax((0, 2))
    assert moved[20] > 1e-3
    assert bool(moved[:20].min() > 1e-3) == (network.sizes.block == 0)
    assert bool(moved[:20].max() < CLOSE) == (network.sizes.block > 0)


# A window of places, all others taken as a pass over whole rows found them.

START, WIDE = torch.tensor([9, 4]), 5


def padded() -> tuple[Tensor, Tensor]:
    """Rows of 21 places, one with padding before it, one with padding behind it."""
    valid = torch.ones(2, 21, dtype=torch.bool)
    valid[0, :3] = valid[1, 18:] = False
    return tokens(), valid


def columns() -> Tensor:
    return START[:, None] + torch.arange(WIDE)


def of_window(logits: Tensor) -> Tensor:
    return torch.stack([row[start : start + WIDE] for row, start in zip(logits, START.tolist(), strict=True)])


def changed_in_window(ids: Tensor) -> Tensor:
    return ids.scatter(1, columns(), (ids.gather(1, columns()) + 7) % VOCAB)


def test_a_window_of_unchanged_rows_gives_what_the_whole_rows_give(tmp_path: Path, family: Family) -> None:
    network, (ids, valid), kept = made(tmp_path, family), padded(), Kept()
    whole = network(ids, valid, keep=kept)
    sizes = network.sizes
    assert torch.equal(whole, network(ids, valid))
    assert [part.shape for layer in kept.layers for part in layer] == 6 * [(2, sizes.kv_heads, 21, sizes.head_dim)]
    assert largest(network.window(ids.gather(1, columns()), START, kept, valid), of_window(whole)) < CLOSE


def test_a_window_without_padding_needs_no_mask_of_it(tmp_path: Path, family: Family) -> None:
    network, ids, kept = made(tmp_path, family), tokens(), Kept()
    whole = network(ids, keep=kept)
    assert largest(network.window(ids.gather(1, columns()), START, kept), of_window(whole)) < CLOSE


def test_in_a_changed_window_other_keys_and_values_are_frozen(
    tmp_path: Path, family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reference: transformers' class over the changed rows, whose attention takes the keys and values of all
    places outside the window from its own pass over the unchanged ones."""
    network, ids = made(tmp_path, family), tokens()
    changed, kept = changed_in_window(ids), Kept()
    network(ids, keep=kept)
    got = network.window(changed.gather(1, columns()), START, kept)
    reference = transformers_own(tmp_path, family)
    mask = torch.zeros(1, 1, 21, 21).masked_fill(~seen(21, network.sizes.block), -math.inf)
    outside = torch.ones(2, 21, dtype=torch.bool).scatter(1, columns(), False)[:, None, :, None]
    frozen: list[tuple[Tensor, Tensor]] = []
    freezing = False

    def attend(module: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, **_: Any) -> tuple[Tensor, None]:
        if freezing:
            then_k, then_v = frozen[module.layer_idx]
            k, v = torch.where(outside, then_k, k), torch.where(outside, then_v, v)
        else:
            frozen.append((k, v))
        k, v = (part.repeat_interleave(q.shape[1] // part.shape[1], 1) for part in (k, v))
        scores = q @ k.transpose(2, 3) * module.scaling
        return ((scores + mask).softmax(-1) @ v).transpose(1, 2), None

    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS, "frozen", attend)
    reference.config._attn_implementation = "frozen"
    with torch.no_grad():
        reference(ids, attention_mask=mask, use_cache=False)
        freezing = True
        expected = of_window(reference(changed, attention_mask=mask, use_cache=False).logits)
    assert len(frozen) == 3
    assert largest(got, expected) < CLOSE
    assert largest(got, of_window(network(changed))) > 1e-3


def test_what_was_kept_stays_as_it_is(tmp_path: Path, family: Family) -> None:
    network, ids, kept = made(tmp_path, family), tokens(), Kept()
    network(ids, keep=kept)
    before = [part.clone() for layer in kept.layers for part in layer]
    network.window(changed_in_window(ids).gather(1, columns()), START, kept)
    after = [part for layer in kept.layers for part in layer]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_a_window_of_a_whole_block_is_exact_though_it_changed(tmp_path: Path) -> None:
    network, ids, kept = made(tmp_path, FAMILIES["sdar, blocks"]), tokens(), Kept()
    network(ids, keep=kept)
    changed = ids.clone()
    changed[:, 2 * BLOCK : 3 * BLOCK] = 3
    start = torch.full((2,), 2 * BLOCK)
    got = network.window(changed[:, 2 * BLOCK : 3 * BLOCK], start, kept)
    assert largest(got, network(changed)[:, 2 * BLOCK : 3 * BLOCK]) < CLOSE


def test_llada_has_windows_too(tmp_path: Path) -> None:
    network = load(write(tmp_path, LLADA, weights(dense.llada(LLADA))), dense.llada)
    (ids, valid), kept = padded(), Kept()
    whole = network(ids, valid, keep=kept)
    assert largest(network.window(ids.gather(1, columns()), START, kept, valid), of_window(whole)) < CLOSE


# A head that is the embedding.

HEADS = {"qwen2": (OPEN_DCODER, dense.qwen2), "llada": (LLADA | {"weight_tying": True}, dense.llada)}


@pytest.mark.parametrize("which", HEADS)
def test_a_tied_head_may_be_in_the_file_and_has_to_be_the_embedding(tmp_path: Path, which: str) -> None:
    config, read = HEADS[which]
    sizes = read(config)
    tensors, ids = weights(sizes), tokens()
    head, embedding = f"{sizes.names.head}.weight", f"{sizes.names.embedding}.weight"
    assert head not in tensors
    plain = load(write(tmp_path / "plain", config, tensors), read)
    assert plain.head is plain.embedding
    both = load(write(tmp_path / "both", config, tensors | {head: tensors[embedding].clone()}), read)
    assert both.head is both.embedding
    assert torch.equal(plain(ids), both(ids))
    other = tensors[embedding].clone()
    other[-1, -1] += 0.5
    with pytest.raises(ValueError, match=f"{head}.* is not .*{embedding}"):
        load(write(tmp_path / "other", config, tensors | {head: other}), read)


def test_an_untied_head_has_to_be_in_the_file(tmp_path: Path) -> None:
    tensors = weights(dense.qwen2(DREAM))
    del tensors["lm_head.weight"]
    with pytest.raises(ValueError, match=r"lacks the tensor 'lm_head\.weight'"):
        load(write(tmp_path, DREAM, tensors), dense.qwen2)


def test_tables_of_rotations_may_be_in_the_file_and_are_not_read(tmp_path: Path, family: Family) -> None:
    ids, tensors = tokens(), weights(family.sizes(family.config))
    tables = [name for name in dense.recomputed(family.sizes(family.config)) if name.endswith("inv_freq")]
    half = family.sizes(family.config).head_dim // 2
    plain = load(write(tmp_path / "plain", family.config, tensors), family.sizes)
    wrong = tensors | {name: torch.zeros(half) for name in tables}
    assert len(tables) == 4
    assert torch.equal(load(write(tmp_path / "tables", family.config, wrong), family.sizes)(ids), plain(ids))


# Fields.


def test_fields_that_are_left_out_are_what_transformers_takes_for_them() -> None:
    def without(config: Config, *names: str) -> Config:
        return {name: value for name, value in config.items() if name not in names}

    assert dense.qwen3(without(SDAR, "head_dim")).head_dim == Qwen3Config().head_dim
    assert dense.qwen2(DREAM).head_dim == 8
    assert dense.llama(STABLE_DIFFCODER | {"num_key_value_heads": None}).kv_heads == 4
    assert not dense.qwen2(without(DREAM, "tie_word_embeddings")).tied
    assert dense.llada(without(LLADA, "n_kv_heads", "embedding_size")).kv_heads == 4
    assert dense.qwen2(DREAM).theta == dense.qwen2(renewed(DREAM, Qwen2Config)).theta == 1e6


@pytest.mark.parametrize(
    ("read", "config", "changed", "words"),
    [
        (dense.qwen2, DREAM, {"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        (dense.qwen2, DREAM, {"use_sliding_window": True}, "use_sliding_window"),
        (dense.qwen2, DREAM, {"use_mrope": True}, "use_mrope"),
        (dense.qwen2, DREAM, {"attention_bias": False}, "attention_bias"),
        (dense.qwen2, DREAM, {"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_scaling.*linear"),
        (dense.qwen2, DREAM, {"rope_scaling": 2.0}, "rope_scaling must be"),
        (dense.qwen2, DREAM, {"rope_parameters": {"rope_theta": 1e4, "rope_type": "default"}}, "rope_theta.*both"),
        (dense.qwen2, DREAM, {"rope_parameters": {"rope_theta": 1e6, "rope_type": "yarn"}}, "rope_parameters.*yarn"),
        (
            dense.qwen2,
            DREAM,
            {"rope_parameters": {"rope_theta": 1e6, "rope_type": "default", "partial_rotary_factor": 0.5}},
            "rope_parameters.*partial",
        ),
        (dense.qwen2, DREAM, {"rope_theta": None}, "rope_theta must be"),
        (dense.qwen2, DREAM, {"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        (dense.qwen2, DREAM, {"layer_types": ["full_attention", "sliding_attention"]}, "layer_types"),
        (dense.qwen2, DREAM, {"num_key_value_heads": 3}, "4 heads"),
        (dense.qwen2, DREAM, {"num_hidden_layers": 0}, "num_hidden_layers"),
        (dense.qwen2, DREAM, {"tie_word_embeddings": 1}, "tie_word_embeddings"),
        (dense.qwen3, SDAR, {"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "rope_scaling.*llama3"),
        (dense.qwen3, SDAR, {"attention_bias": "yes"}, "attention_bias"),
        (dense.qwen3, SDAR, {"head_dim": 7}, "7 rotated numbers"),
        (dense.qwen3, SDAR, {"intermediate_size": None}, "intermediate_size"),
        (dense.llama, STABLE_DIFFCODER, {"mlp_bias": True}, "mlp_bias"),
        (dense.llama, STABLE_DIFFCODER, {"sliding_window": 4096}, "sliding_window"),
        (dense.llama, STABLE_DIFFCODER, {"vocab_size": "61"}, "vocab_size"),
        (dense.llada, LLADA, {"activation_type": "swiglu"}, "activation_type is 'swiglu'"),
        (dense.llada, LLADA, {"alibi": True}, "alibi"),
        (dense.llada, LLADA, {"attention_layer_norm": True}, "attention_layer_norm"),
        (dense.llada, LLADA, {"bias_for_layer_norm": True}, "bias_for_layer_norm"),
        (dense.llada, LLADA, {"block_group_size": 2}, "block_group_size"),
        (dense.llada, LLADA, {"block_type": "sequential"}, "block_type"),
        (dense.llada, LLADA, {"clip_qkv": 8.0}, "clip_qkv"),
        (dense.llada, LLADA, {"d_model": 34}, "d_model 34"),
        (dense.llada, LLADA, {"embedding_size": 60}, "embedding_size 60"),
        (dense.llada, LLADA, {"include_bias": True}, "include_bias"),
        (dense.llada, LLADA, {"input_emb_norm": True}, "input_emb_norm"),
        (dense.llada, LLADA, {"layer_norm_type": "gemma_rms"}, "layer_norm_type"),
        (dense.llada, LLADA, {"layer_norm_with_affine": False}, "layer_norm_with_affine"),
        (dense.llada, LLADA, {"multi_query_attention": True}, "multi_query_attention"),
        (dense.llada, LLADA, {"rope": False}, "rope is False"),
        (dense.llada, LLADA, {"rope_scaling": {"type": "dynamic"}}, "rope_scaling"),
        (dense.llada, LLADA, {"scale_logits": True}, "scale_logits"),
        (dense.llada, {n: v for n, v in LLADA.items() if n != "block_type"}, {}, "block_type is 'sequential'"),
        (dense.llada, {n: v for n, v in LLADA.items() if n != "rope"}, {}, "rope is False"),
    ],
)
def test_a_config_that_means_something_else_is_refused(
    read: Callable[[Mapping[str, Any]], Sizes], config: Config, changed: Config, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        read(config | changed)
