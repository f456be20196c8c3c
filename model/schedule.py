"""How much is damaged at which time, for the training loss and the sampler alike.

Masking keeps each token with probability 1 - t. Training draws t once per canvas; the sampler walks t from 1 to 0.
"""

import numpy as np


def training_ratio(rng: np.random.Generator, full: float = 0.4) -> float:
    """Share of a canvas that is masked: all of it with probability ``full``, because a hole is first seen so, and most
    answers are drafted in one or a few steps; else uniform in (0.1, 1)."""
    return 1.0 if rng.random() < full else float(rng.uniform(0.1, 1.0))


def open_share(step: int, steps: int) -> float:
    """Sampler: share of the hole still masked *after* step ``step`` (0-based) of ``steps``, linear."""
    if not 0 <= step < steps:
        raise ValueError(f"step must be in 0..{steps - 1}, not {step}")
    return 1.0 - (step + 1) / steps


def learning_rate(progress: float, warm: float, decay: float, floor: float = 0.02) -> float:
    """Warm-up, stable, decay (MiniCPM's WSD): factor in [floor, 1] for ``progress`` in [0, 1]."""
    if progress < warm:
        return max(progress / warm, floor)
    if progress > 1.0 - decay:
        return max((1.0 - progress) / decay, 0.0) * (1.0 - floor) + floor
    return 1.0
