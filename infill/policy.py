"""Policies: which places of the canvas are written in a step. Small tensor functions over a whole batch.

A policy gets a ``Proposal`` (what one forward pass says) and answers [K, N] which places of the hole are committed when
the step is over. It always commits at least the schedule's share of the open places, and the schedule's last share is
all of them, so every loop ends. A new idea is a new function in ``POLICIES``. Shapes: K rows, N places, V ordinary
tokens (special ones are never proposed).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from infill.canvas import Canvas

CONFIDENCE_THRESHOLD = 0.9
"""Fast-dLLM's default."""
ENTROPY_BOUND = 0.35
"""In nats; the default (``eb_threshold``) of engines that serve SDAR, such as JetEngine's descendants. SDAR's own
``generate.py`` bounds no entropy."""
EDIT_THRESHOLD = 0.9
"""LLaDA2.1's default: least probability of a token that replaces a written one."""
CHOICE_TEMPERATURE = 1.0
"""MaskGIT's noise on the log confidence at the first step; its 4.5 is for images and drowns a language model."""
ACCEPT = 0.3
"""Least probability under the causal head for a drafted token to be accepted."""


@dataclass(frozen=True)
class Knobs:
    """What a policy may be told."""

    threshold: float = CONFIDENCE_THRESHOLD
    """Probability from which a token is written, however few the schedule wants."""
    edit: float = EDIT_THRESHOLD
    """Probability above which a token replaces a written one."""
    noise: float = 0.0
    """Temperature at which places are drawn in proportion to their score (Dream's ``alg_temp``); 0: the highest win."""


@dataclass(frozen=True)
class Proposal:
    """What one forward pass proposes for a canvas."""

    canvas: Canvas
    logits: Tensor
    """[M, V] float32, without the special tokens, for the M places that were asked about; float64, or what a filter
    left of them, where the sampler ranks by that (``infill.rules``)."""
    asked: Tensor
    """[K, N] bool: these places, M in all; the open ones, and for policies that revise the whole hole."""
    tokens: Tensor
    """[K, N]: the token proposed at each place, an id of the whole vocabulary."""
    first: int
    """Id of the first ordinary token: logits[..., i] belongs to token first + i."""
    share: Tensor
    """[K]: how many open places the schedule wants written in this step; it may be none."""
    left: float
    """Share of the steps that follows this one, 0 at the last."""
    generator: torch.Generator
    judged: Tensor | None = None
    """[K, N]: log p of the proposed (where open) and present tokens under the causal head; for ``verify`` only."""
    drawn: Tensor | None = None
    """[K, N]: the open places that chance alone has chosen, each with the schedule's probability; for rules that let
    it."""
    knobs: Knobs = Knobs()

    @cached_property
    def log_z(self) -> Tensor:
        return self.logits.logsumexp(-1)

    def spread(self, values: Tensor) -> Tensor:
        """One value per place that was asked about [M] -> [K, N], 0 elsewhere."""
        return torch.zeros(self.asked.shape, device=values.device, dtype=values.dtype).masked_scatter(
            self.asked, values
        )

    @cached_property
    def log_p(self) -> Tensor:
        """[K, N]: log probability of each proposed token."""
        return self._log_p(self.tokens)

    @cached_property
    def confidence(self) -> Tensor:
        return self.log_p.exp().float()

    @cached_property
    def chance(self) -> Tensor:
        """[K, N]: probability of each proposed token, by the softmax itself: published samplers rank by this number,
        which knows fewer differences than the logarithm."""
        picked = (self.tokens[self.asked] - self.first)[:, None]
        return self.spread(self.logits.softmax(-1).gather(-1, picked).squeeze(-1))

    @cached_property
    def present(self) -> Tensor:
        """[K, N]: log probability now of the token that stands there, of the proposed one where it is open."""
        standing = self._log_p(self.canvas.ids.clamp_min(self.first))
        return torch.where(self.canvas.committed, standing, self.log_p)

    def _log_p(self, tokens: Tensor) -> Tensor:
        picked = self.logits.gather(-1, (tokens[self.asked] - self.first)[:, None]).squeeze(-1)
        return self.spread(picked - self.log_z)


Policy = Callable[[Proposal], Tensor]


def confidence(p: Proposal) -> Tensor:
    """Every place above a threshold (Fast-dLLM, arXiv 2505.22618)."""
    return p.canvas.committed | (p.canvas.open & (p.confidence >= p.knobs.threshold)) | _top(p.log_p, p)


def entropy(p: Proposal) -> Tensor:
    """The surest places while the sum of their entropies, but for the largest, stays under a bound (EB-Sampler,
    arXiv 2505.24857)."""
    own = p.spread(torch.special.entr(p.logits.softmax(-1)).sum(-1)).masked_fill(~p.canvas.open, torch.inf)
    ordered, order = own.sort(dim=1, stable=True)
    before = ordered.cumsum(1) - ordered  # entropy of the surer ones: inf - inf = nan is not below the bound
    bounded = torch.zeros_like(p.canvas.open).scatter(1, order, before <= ENTROPY_BOUND)
    return p.canvas.committed | (bounded & p.canvas.open) | _top(-own, p)


def topk_margin(p: Proposal) -> Tensor:
    """The places whose best token leads the second best by most ("Train for the Worst, Plan for the Best",
    arXiv 2502.06768)."""
    best = (p.logits.topk(2, dim=-1).values - p.log_z[..., None]).exp()
    return p.canvas.committed | _top(p.spread(best[..., 0] - best[..., 1]), p)


def maskgit(p: Proposal) -> Tensor:
    """The most confident places, with Gumbel noise that fades as the steps run out (MaskGIT, arXiv 2202.04200)."""
    uniform = torch.rand(p.log_p.shape, generator=p.generator, device=p.log_p.device).clamp(1e-6, 1 - 1e-6)
    noise = -torch.log(-torch.log(uniform))
    return p.canvas.committed | _top(p.log_p + CHOICE_TEMPERATURE * p.left * noise, p)


def random(p: Proposal) -> Tensor:
    """Each open place by chance, with the probability that the schedule asks for: ancestral sampling (MDLM,
    arXiv 2406.07524)."""
    rate = p.share / p.canvas.open.sum(1).clamp_min(1)
    drawn = torch.rand(p.log_p.shape, generator=p.generator, device=p.log_p.device) < rate[:, None]
    return p.canvas.committed | (drawn & p.canvas.open)


def remask(p: Proposal) -> Tensor:
    """All places of the hole are ranked anew by what the model thinks of them now, and the lowest go back to masks,
    committed ones too (P2, arXiv 2502.03540; ReMDM-conf, arXiv 2503.00307)."""
    return highest(p.present, p.canvas.hole, p.canvas.committed.sum(1) + p.share)


def verify(p: Proposal) -> Tensor:
    """The longest beginning of the draft in which the causal head gives every token at least ``ACCEPT`` (after
    speculative decoding, arXiv 2211.17192, and APD, arXiv 2506.00413); the rest is drafted again."""
    assert p.judged is not None, "verify needs the causal head's verdict"
    good = (p.judged.exp() >= ACCEPT) | ~p.canvas.open
    beginning = good.int().cumprod(1).bool()
    from_left = -torch.arange(good.shape[1], device=good.device).expand_as(p.judged).float()
    return p.canvas.committed | (p.canvas.open & beginning) | _top(from_left, p)


POLICIES: dict[str, Policy] = {
    "confidence": confidence,
    "entropy": entropy,
    "topk_margin": topk_margin,
    "maskgit": maskgit,
    "random": random,
    "remask": remask,
    "verify": verify,
}

REVISES = frozenset({"remask"})
"""Policies that ask about committed places too."""

JUDGED = frozenset({"verify"})
"""Policies that need the causal head's verdict on every proposal: one more forward pass per step."""


def _top(score: Tensor, p: Proposal) -> Tensor:
    """[K, N]: the schedule's share of the open places, highest score first."""
    return highest(score, p.canvas.open, p.share)


def highest(score: Tensor, among: Tensor, count: Tensor) -> Tensor:
    """[K, N]: the ``count`` [K] places with the highest score in each row; the leftmost of equals."""
    order = score.masked_fill(~among, -torch.inf).argsort(dim=1, descending=True, stable=True)
    rank = torch.empty_like(order).scatter(1, order, torch.arange(order.shape[1], device=order.device).expand_as(order))
    return among & (rank < count[:, None])
