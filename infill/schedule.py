"""Schedules: how many places of the canvas are written in a step. The published ones count as their projects do.

A schedule gets a ``Moment`` and answers [K]: places per row, never more than are open; which ones is for the policy to
say. Every schedule leaves nothing open after the last step. Arithmetic is in float32 or float64 as in the originals,
because counts are rounded. Shapes: K rows.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from model.schedule import open_share

DREAM_EPS = 1e-3
"""Where Dream's time ends, as published."""
MDLM_EPS = 1e-5
"""Where MDLM's time ends, as published."""


@dataclass(frozen=True)
class Moment:
    """One step, before its forward pass."""

    opened: Tensor
    """[K]: places that were open before the first step."""
    now: Tensor
    """[K]: places that are open."""
    step: int
    """0-based."""
    steps: int
    width: int = 0
    """Places of the block, written ones too."""

    @property
    def last(self) -> bool:
        return self.step + 1 >= self.steps

    def rate(self, schedule: str) -> float:
        """Probability with which the schedule wants an open place written, if each is drawn by itself: its own, or
        an even part of the steps that are left."""
        return RATES[schedule](self.step, self.steps) if schedule in RATES else 1 / (self.steps - self.step)


Schedule = Callable[[Moment], Tensor]


def falling(share: Callable[[int, int], float]) -> Schedule:
    """As many as it takes to have ``share(step, steps)`` of the places open afterwards, and at least one."""

    def count(m: Moment) -> Tensor:
        target = (m.opened * share(m.step, m.steps) + 1e-4).floor().int()
        return torch.minimum((m.now - target).clamp_min(1), m.now)

    return count


def even(m: Moment) -> Tensor:
    """The same number in every step, and one more in each of the first steps where it does not divide (LLaDA,
    ``generate.py: get_num_transfer_tokens``). None once there are more steps than places."""
    return _at_most_open(m, m.opened // m.steps + (m.step < m.opened % m.steps))


def block(m: Moment) -> Tensor:
    """As ``even``, but parts of the whole block's length, however much of it is written already (SDAR and LLaDA2)."""
    return _at_most_open(m, torch.full_like(m.now, m.width // m.steps + (m.step < m.width % m.steps)))


def one(m: Moment) -> Tensor:
    """One, as long as there are steps."""
    return _at_most_open(m, torch.ones_like(m.now))


def rounded(m: Moment) -> Tensor:
    """What is open, times how much of the time left goes by in this step, rounded, halves to even; time goes evenly
    from 1 to 0 (dllm, ``core/samplers/utils.py: get_num_transfer_tokens`` with its linear scheduler)."""
    left = m.steps - m.step
    masked = 1 - (1 - torch.tensor([(left - 1) / m.steps, left / m.steps]))
    passing = 1 - (masked[0] / masked[1]).item()
    return _at_most_open(m, (m.now.cpu().double() * passing).round().long().to(m.now.device))


def replanned(m: Moment) -> Tensor:
    """As many as it takes to have a linear share of all places open afterwards, rounded down; it may be none (P2 in
    Open-dLLM, which counts from the beginning and not from what is open)."""
    target = (m.opened.float() * (1 - (m.step + 1) / m.steps)).long()
    return _at_most_open(m, m.now - target)


def passing(eps: float) -> Callable[[int, int], float]:
    """How much of the time left goes by in a step, where time goes evenly from 1 to ``eps``; all in the last step."""

    def rate(step: int, steps: int) -> float:
        times = torch.linspace(1, eps, steps + 1)
        return 1.0 if step + 1 >= steps else (1 - times[step + 1] / times[step]).item()

    return rate


def ancestral(step: int, steps: int) -> float:
    """MDLM's log-linear noise: all steps but the last go evenly from 1 to ``MDLM_EPS``, and a place that is masked at t
    is not at s with probability (t - s) / t; the last step writes what is left (``noise_removal``)."""
    if step + 1 >= steps:
        return 1.0
    t = torch.linspace(1, MDLM_EPS, steps)[step]
    s = t - (1 - MDLM_EPS) / (steps - 1)
    return ((t - s) / t).item()


def in_block(step: int, steps: int) -> float:
    """BD3-LM's ancestral sampling of a block: times go evenly from 1 to 0, each step takes ``1 / steps`` of them, and a
    place that is masked at t is not at s with probability (t - s) / t. The last step, at t = 0, writes what is left."""
    if step + 1 >= steps:
        return 1.0
    t = torch.linspace(1, 0, steps)[step]
    return (1 - (t - 1 / steps) / t).item()


def expected(rate: Callable[[int, int], float]) -> Schedule:
    """What is open times the step's rate, rounded down, so that many steps may pass without a word (Dream,
    ``generation_utils.py: _sample``). Dream counts the average row of a batch; here each row counts for itself."""
    return lambda m: _at_most_open(m, (m.now.float() * rate(m.step, m.steps)).long())


RATES: dict[str, Callable[[int, int], float]] = {"dream": passing(DREAM_EPS), "mdlm": ancestral, "bd3lm": in_block}
"""(step, steps) -> probability with which an open place is written where each is drawn by itself."""

SCHEDULES: dict[str, Schedule] = {
    "linear": falling(open_share),
    "cosine": falling(lambda step, steps: math.cos((step + 1) / steps * math.pi / 2)),
    "even": even,
    "block": block,
    "one": one,
    "rounded": rounded,
    "p2": replanned,
    **{name: expected(rate) for name, rate in RATES.items()},
}
"""Cosine begins with few places (MaskGIT, arXiv 2202.04200)."""


def _at_most_open(m: Moment, count: Tensor) -> Tensor:
    return m.now if m.last else torch.minimum(count, m.now)
