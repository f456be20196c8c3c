"""The sampler for uniform noise, against transformers' own on a random DiffusionGemma: the same tokens."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import DiffusionGemmaConfig, DiffusionGemmaForBlockDiffusion
from transformers.models.diffusion_gemma.generation_diffusion_gemma import (
    EntropyBoundSampler,
    EntropyBoundSamplerConfig,
)

from infill.renoise import RenoiseOptions, kept, renoise
from model.published import gemma

CONFIG: dict[str, Any] = {
    "model_type": "diffusion_gemma",
    "canvas_length": 8,
    "text_config": {
        "model_type": "diffusion_gemma_text",
        "vocab_size": 61,
        "hidden_size": 32,
        "intermediate_size": 48,
        "moe_intermediate_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "num_global_key_value_heads": 1,
        "head_dim": 8,
        "global_head_dim": 16,
        "sliding_window": 8,
        "layer_types": ["sliding_attention", "full_attention"],
        "num_experts": 4,
        "top_k_experts": 2,
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
        "position_embedding_size": 16,
    },
}


def run(denoise: Callable[[Tensor, Tensor | None], Tensor], *args: Any, **options: Any) -> Tensor:
    """``renoise`` with a network that answers at once."""

    async def answer(canvas: Tensor, thoughts: Tensor | None) -> Tensor:
        return denoise(canvas, thoughts)

    work = renoise(answer, *args, **options)
    with pytest.raises(StopIteration) as done:
        work.send(None)
    found: Tensor = done.value.value
    return found


@pytest.fixture(scope="module")
def reference() -> DiffusionGemmaForBlockDiffusion:
    model = DiffusionGemmaForBlockDiffusion(DiffusionGemmaConfig(**CONFIG))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim > 1:
                # Peaked, so that some places are kept early and rows settle at different steps.
                p.copy_(torch.randn(p.shape, generator=generator) * 2 / math.sqrt(p.shape[-1]))
    model.eval()
    return model


# transformers' generate imports torch's compiler, which uses what torch itself deprecates.
@pytest.mark.filterwarnings("ignore:.*script_method.*:DeprecationWarning")
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("stable", [0, 1, 2])
def test_the_tokens_are_those_of_transformers(
    reference: DiffusionGemmaForBlockDiffusion, seed: int, stable: int
) -> None:
    ids = torch.randint(1, 61, (3, 10), generator=torch.Generator().manual_seed(7))
    settings = {"max_denoising_steps": 12, "stability_threshold": stable, "confidence_threshold": 1.0}
    torch.manual_seed(seed)
    expected = reference.generate(ids, max_new_tokens=8, t_min=0.4, t_max=0.8, **settings).sequences[:, 10:]

    network = gemma.Gemma(reference)
    options = RenoiseOptions(steps=12, stable=stable, confident=1.0)
    torch.manual_seed(seed)
    with torch.no_grad():
        context = network.encode(ids)
        got = run(
            lambda canvas, thoughts: network(context, canvas, thoughts),
            (3, 8), 61, options, generator=torch.default_generator,
        )  # fmt: skip
    assert torch.equal(got, expected)


def test_the_kept_places_are_those_of_transformers() -> None:
    logits = torch.randn(4, 16, 61, generator=torch.Generator().manual_seed(3)) * 12
    for bound in (0.01, 0.1, 0.5, 3.0):
        theirs = EntropyBoundSampler(EntropyBoundSamplerConfig(entropy_bound=bound), 16, 61, 48)
        canvas = torch.zeros(4, 16, dtype=torch.long)
        expected = theirs.accept_canvas(canvas, canvas + 1, logits, 1).bool()  # type: ignore[arg-type]
        assert torch.equal(kept(logits, bound), expected)
        assert expected.any(-1).all()
        assert not expected.all()


def test_the_published_temperatures_fall() -> None:
    options = RenoiseOptions()
    assert options.temperature(48) == pytest.approx(0.8)
    assert options.temperature(1) == pytest.approx(0.4 + 0.4 / 48)


def sure_of(target: Tensor) -> Tensor:
    return torch.nn.functional.one_hot(target, 61) * 50.0


def test_a_sure_model_is_done_when_its_answer_stays() -> None:
    target = torch.randint(0, 61, (2, 8), generator=torch.Generator().manual_seed(1))
    seen: list[Tensor | None] = []

    def denoise(canvas: Tensor, thoughts: Tensor | None) -> Tensor:
        seen.append(thoughts)
        return sure_of(target)

    got = run(denoise, (2, 8), 61, RenoiseOptions(), generator=torch.Generator().manual_seed(2))
    assert torch.equal(got, target)
    assert len(seen) == 2
    assert seen[0] is None
    assert seen[1] is not None


def test_a_settled_row_keeps_its_answer() -> None:
    """The second row wavers for ever; the first changes its mind after it was done."""
    target = torch.randint(0, 60, (2, 8), generator=torch.Generator().manual_seed(1))
    step = 0

    def denoise(canvas: Tensor, thoughts: Tensor | None) -> Tensor:
        nonlocal step
        step += 1
        return sure_of(torch.stack([target[0] + (step > 3), target[1] + step % 2]))

    got = run(denoise, (2, 8), 61, RenoiseOptions(steps=6), generator=torch.Generator().manual_seed(2))
    assert step == 6
    assert torch.equal(got[0], target[0])


def test_it_can_be_stopped_after_any_step_and_still_answers() -> None:
    calls = 0

    def denoise(canvas: Tensor, thoughts: Tensor | None) -> Tensor:
        nonlocal calls
        calls += 1
        return torch.randn(1, 4, 61, generator=torch.Generator().manual_seed(calls))

    got = run(
        denoise, (1, 4), 61, RenoiseOptions(), generator=torch.Generator().manual_seed(2), should_stop=lambda: True
    )
    assert calls == 1
    assert got.shape == (1, 4)


@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"stable": -1}, {"coolest": 0.0}, {"coolest": 0.9}, {"entropy_bound": 0.0}]
)
def test_options_that_mean_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong)) if "coolest" not in wrong else "temperatures"):
        RenoiseOptions(**wrong)
