"""DiffusionGemma's loading and calling against transformers' own, on random weights."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import DiffusionGemmaConfig, DiffusionGemmaForBlockDiffusion

from model.published import gemma

CONFIG: dict[str, Any] = {
    "architectures": ["DiffusionGemmaForBlockDiffusion"],
    "model_type": "diffusion_gemma",
    "canvas_length": 8,
    "text_config": {
        "model_type": "diffusion_gemma_text",
        "vocab_size": 61,
        "hidden_size": 32,
        "intermediate_size": 48,
        "moe_intermediate_size": 16,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "num_global_key_value_heads": 1,
        "head_dim": 8,
        "global_head_dim": 16,
        "sliding_window": 8,
        "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
        "num_experts": 4,
        "top_k_experts": 2,
        "use_bidirectional_attention": "vision",
        "final_logit_softcapping": 30.0,
        "max_position_embeddings": 128,
    },
    "vision_config": {
        "model_type": "gemma4_vision",
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "patch_size": 4,
        "pooling_kernel_size": 2,
        "position_embedding_size": 16,
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As transformers saves it: tied tensors once, buffers of encoder and decoder apart."""
    model = DiffusionGemmaForBlockDiffusion(DiffusionGemmaConfig(**CONFIG))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, t in [*model.named_parameters(), *model.named_buffers()]:
            noise = torch.randn(t.shape, generator=generator)
            if name.endswith(("layer_scalar", "scale")) or "norm" in name:
                t.copy_(1 + 0.2 * noise)
            elif t.ndim > 1:
                t.copy_(noise / math.sqrt(t.shape[-1]))
    path = tmp_path_factory.mktemp("gemma")
    model.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def reference(folder: Path) -> DiffusionGemmaForBlockDiffusion:
    model = DiffusionGemmaForBlockDiffusion.from_pretrained(folder, dtype=torch.float32)
    model.eval()
    return model


@pytest.fixture(scope="module")
def config(folder: Path) -> DiffusionGemmaConfig:
    return gemma.config_of(json.loads((folder / "config.json").read_text()))


@pytest.fixture(scope="module")
def network(folder: Path, config: DiffusionGemmaConfig) -> gemma.Gemma:
    held = load_file(folder / "model.safetensors")
    return gemma.build(config, held.__getitem__, device="cpu", dtype=torch.float32)


def tokens(rows: int, length: int, seed: int) -> Tensor:
    return torch.randint(1, 61, (rows, length), generator=torch.Generator().manual_seed(seed))


def test_a_file_holds_what_is_expected_and_nothing_else(folder: Path, config: DiffusionGemmaConfig) -> None:
    held = {name: tuple(t.shape) for name, t in load_file(folder / "model.safetensors").items()}
    expected, unread = gemma.tensors(config), gemma.recomputed(config)
    assert not expected.keys() & unread.keys()
    assert {**expected, **unread} | held == {**expected, **unread}
    assert held.keys() >= expected.keys()
    assert {name for name in held if name not in expected} == {n for n in unread if n != "lm_head.weight"}


@pytest.mark.parametrize("length", [3, 21])
def test_logits_are_those_of_transformers(
    network: gemma.Gemma, reference: DiffusionGemmaForBlockDiffusion, length: int
) -> None:
    """With a context longer than the sliding window too, and with what was thought before."""
    ids, canvas = tokens(2, length, 2), tokens(2, 8, 3)
    thoughts = torch.randn(2, 8, 61, generator=torch.Generator().manual_seed(4))
    got = thoughts
    for before in (None, thoughts):
        with torch.no_grad():
            expected = reference(input_ids=ids, decoder_input_ids=canvas, self_conditioning_logits=before).logits
        got = network(network.encode(ids), canvas, before)
        assert got.dtype == torch.float32
        assert expected.std() > 0.3
        assert (got - expected).abs().max() < 1e-4
    assert (network(network.encode(ids), canvas) - got).abs().max() > 1e-2


def test_encoder_and_decoder_scale_their_layers_apart(network: gemma.Gemma) -> None:
    """The one thing that they do not share."""
    inner = network.model.model
    ours, theirs = inner.encoder.language_model.layers[0], inner.decoder.layers[0]
    assert ours.self_attn.q_proj.weight is theirs.self_attn.q_proj.weight
    assert ours.layer_scalar.item() != theirs.layer_scalar.item()
    assert network.model.lm_head.weight is inner.decoder.embed_tokens.weight
    assert inner.encoder.vision_tower is None


def test_a_canvas_beside_padding_is_what_it_is_alone(network: gemma.Gemma) -> None:
    rows, canvas = [tokens(1, length, seed=length)[0] for length in (4, 21, 13)], tokens(3, 8, 9)
    ids, valid = torch.zeros(3, 24, dtype=torch.long), torch.zeros(3, 24, dtype=torch.bool)
    for row, (start, text) in enumerate(zip((0, 3, 8), rows, strict=True)):
        ids[row, start : start + len(text)] = text
        valid[row, start : start + len(text)] = True
    together = network(network.encode(ids, valid), canvas)
    for row, text in enumerate(rows):
        alone = network(network.encode(text[None]), canvas[row : row + 1])
        assert (together[row] - alone[0]).abs().max() < 1e-4


def test_a_context_serves_many_steps_and_is_left_as_it_was(network: gemma.Gemma) -> None:
    context, canvas = network.encode(tokens(1, 12, 2)), tokens(1, 8, 3)
    first = network(context, canvas)
    network(context, tokens(1, 8, 4), first)
    assert torch.equal(network(context, canvas), first)


def test_an_empty_context_is_refused(network: gemma.Gemma) -> None:
    with pytest.raises(ValueError, match="at least one token"):
        network.encode(tokens(2, 3, 1), torch.tensor([[True, True, True], [False, False, False]]))


def test_bf16_is_within_rounding(folder: Path, config: DiffusionGemmaConfig, network: gemma.Gemma) -> None:
    held = load_file(folder / "model.safetensors")
    rounded = gemma.build(config, held.__getitem__, device="cpu", dtype=torch.bfloat16)
    theirs = DiffusionGemmaForBlockDiffusion.from_pretrained(folder, dtype=torch.bfloat16).eval()
    ids, canvas = tokens(2, 12, 2), tokens(2, 8, 3)
    with torch.no_grad():
        expected = theirs(input_ids=ids, decoder_input_ids=canvas).logits
    got = rounded(rounded.encode(ids), canvas)
    assert (got - expected).abs().max() < 0.1
    assert (got - network(network.encode(ids), canvas)).abs().mean() < 0.1


def text(**changed: Any) -> dict[str, Any]:
    return CONFIG | {"text_config": CONFIG["text_config"] | changed}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (CONFIG | {"model_type": "gemma4"}, "model_type is 'gemma4'"),
        ({name: value for name, value in CONFIG.items() if name != "text_config"}, "text_config is missing"),
        (text(num_experts=None), "text_config.num_experts"),
        (text(num_hidden_layers=10**9), "text_config.num_hidden_layers must be"),
        (text(hidden_size="32"), "text_config.hidden_size"),
        (text(top_k_experts=5), "top_k_experts 5"),
        (text(rms_norm_eps="small"), "rms_norm_eps"),
        (CONFIG | {"tie_word_embeddings": False}, "tie_word_embeddings"),
    ],
)
def test_a_config_that_means_something_else_is_refused(config: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        gemma.config_of(config)


def test_every_tensor_is_read_once(config: DiffusionGemmaConfig, folder: Path) -> None:
    held, read = load_file(folder / "model.safetensors"), []
    reading: Callable[[str], Tensor] = lambda name: (read.append(name), held[name])[1]  # type: ignore[func-returns-value]  # noqa: E731
    gemma.build(config, reading, device="cpu", dtype=torch.float32)
    assert sorted(read) == sorted(gemma.tensors(config))
