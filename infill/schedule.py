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

    @property
    def last(self) -> bool:
        return self.step + 1 == self.steps


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
    count = m.opened // m.steps + (m.step < m.opened % m.steps)
    return m.now if m.last else torch.minimum(count, m.now)


def rounded(m: Moment) -> Tensor:
    """What is open, times how much of the time left goes by in this step, rounded, halves to even; time goes evenly
    from 1 to 0 (dllm, ``core/samplers/utils.py: get_num_transfer_tokens`` with its linear scheduler)."""
    left = m.steps - m.step
    masked = 1 - (1 - torch.tensor([(left - 1) / m.steps, left / m.steps]))
    passing = 1 - (masked[0] / masked[1]).item()
    return m.now if m.last else (m.now.double() * passing).round().long()


def dream(m: Moment) -> Tensor:
    """What is open, times how much of the time left goes by in this step, rounded down, so that many steps may pass
    without a word; all that is left in the last one (Dream, ``generation_utils.py: _sample``). Time goes evenly from 1
    to ``DREAM_EPS``. Dream counts the average row of a batch; here each row counts for itself."""
    times = torch.linspace(1, DREAM_EPS, m.steps + 1)
    passing = 1 - times[m.step + 1] / times[m.step]
    return m.now if m.last else (m.now.float() * passing.to(m.now.device)).long()


SCHEDULES: dict[str, Schedule] = {
    "linear": falling(open_share),
    "cosine": falling(lambda step, steps: math.cos((step + 1) / steps * math.pi / 2)),
    "even": even,
    "rounded": rounded,
    "dream": dream,
}
"""Cosine begins with few places (MaskGIT, arXiv 2202.04200)."""
