"""The sampler of models whose noise is uniform: a canvas of random tokens, drawn anew wherever the model is not sure.

DiffusionGemma's, as published (``transformers`` ``models/diffusion_gemma``): each step draws a token for every place,
keeps those of least entropy as long as together they say little about each other (the entropy bound of Ben-Hamu et al.,
arXiv 2505.24857), and makes noise of the rest; it ends when the likeliest tokens stay as they are and are likely.
Nothing is masked and nothing is ever fixed: a place that was kept may be noise in the next step.

Shapes: B rows, C places of the canvas, V vocabulary.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class RenoiseOptions:
    """The published defaults."""

    steps: int = 48
    entropy_bound: float = 0.1
    coolest: float = 0.4
    """Temperature of the last step."""
    hottest: float = 0.8
    """Temperature before the first."""
    stable: int = 1
    """For so many steps the likeliest tokens must have been the same."""
    confident: float = 0.005
    """The mean entropy must be below this."""

    def __post_init__(self) -> None:
        if self.steps < 1 or self.stable < 0:
            raise ValueError(f"steps {self.steps} must be at least 1 and stable {self.stable} at least 0")
        if not 0 < self.coolest <= self.hottest:
            raise ValueError(f"temperatures must be above 0 and fall, but go from {self.hottest} to {self.coolest}")
        if self.entropy_bound <= 0:
            raise ValueError(f"entropy_bound must be above 0, but is {self.entropy_bound}")

    def temperature(self, left: int) -> float:
        """Of the step that has ``left`` steps before it is over, itself included. Computed in float32, as published: a
        model that is told its own thoughts makes much of the last bit."""
        return float(self.coolest + (self.hottest - self.coolest) * (torch.tensor(left) / self.steps))


def kept(logits: Tensor, bound: float) -> Tensor:
    """[B, C, V] -> [B, C]: the places of least entropy, as many as have a sum of entropies, without the largest, up to
    the bound. At least one; of equals the first."""
    entropy = _entropy(logits)
    ascending, order = entropy.sort(dim=-1, stable=True)
    enough = ascending.cumsum(-1) - ascending <= bound
    return torch.zeros_like(enough).scatter(-1, order, enough)


async def renoise(
    denoise: Callable[[Tensor, Tensor | None], Awaitable[Tensor]],
    shape: tuple[int, int],
    vocab: int,
    options: RenoiseOptions,
    *,
    generator: torch.Generator,
    should_stop: Callable[[], bool] = lambda: False,
) -> Tensor:
    """Canvases [B, C] of the likeliest tokens.

    ``denoise`` takes a canvas [B, C] and the scaled logits of the step before (None in the first) and gives logits
    [B, C, V]. A row that has settled keeps its answer. ``should_stop`` is asked before every step but the first, so
    that there always is an answer.
    """
    device = generator.device
    canvas = _noise(shape, vocab, generator)
    best, thoughts = canvas, None
    settled = torch.zeros(shape[0], dtype=torch.bool, device=device)
    history = torch.full((options.stable, *shape), -1, device=device)
    for left in range(options.steps, 0, -1):
        if left < options.steps and should_stop():
            break
        logits = await denoise(canvas, thoughts) / options.temperature(left)
        drawn = torch.multinomial(logits.softmax(-1).flatten(0, 1), 1, generator=generator).view(shape)
        fresh = torch.where(kept(logits, options.entropy_bound), drawn, _noise(shape, vocab, generator))
        likeliest = logits.argmax(-1)
        if thoughts is not None:
            likeliest = torch.where(settled[:, None], best, likeliest)
            fresh = torch.where(settled[:, None], canvas, fresh)
            logits = torch.where(settled[:, None, None], thoughts, logits)
        stays = (history == likeliest).all(-1).all(0)
        history = torch.cat([history, likeliest[None]])[1:] if options.stable else history
        settled = settled | (stays & (_entropy(logits).mean(-1) < options.confident))
        canvas, best, thoughts = fresh, likeliest, logits
        if settled.all():
            break
    return best


def _noise(shape: tuple[int, int], vocab: int, generator: torch.Generator) -> Tensor:
    return torch.randint(0, vocab, shape, generator=generator, device=generator.device)


def _entropy(logits: Tensor) -> Tensor:
    """[..., V] -> [...], in nats; places that cannot be (minus infinity) count nothing."""
    log_p = logits.log_softmax(-1)
    return -(log_p.exp() * log_p.clamp_min(torch.finfo(log_p.dtype).min)).sum(-1)
