"""Two ways to the same thing, timed turn about, so that what else the machine does disturbs both alike."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

RESAMPLES = 1000


@dataclass(frozen=True)
class Ratio:
    """Medians in milliseconds, and how often the second goes into the first."""

    ours_ms: float
    theirs_ms: float
    faster: float
    """theirs / ours: above 1 where ours is faster."""
    low: float
    high: float
    """The middle 95 % of the ratio when the pairs are drawn again (bootstrap)."""
    in_all: float
    """The same ratio of the sums: what all the waiting adds up to, the rare long ones included."""
    n: int


def side_by_side(
    ours: Callable[[], float], theirs: Callable[[], float], *, repeats: int, swap: bool = False
) -> tuple[float, float]:
    """The median milliseconds of both; each call says itself what it took. ``swap`` lets theirs begin."""
    taken: tuple[list[float], list[float]] = ([], [])
    for turn in range(repeats):
        for side in (0, 1) if (turn % 2 == 0) != swap else (1, 0):
            taken[side].append((ours, theirs)[side]())
    return median(taken[0]), median(taken[1])


def stopwatch(work: Callable[[], object], synchronise: Callable[[], None] = lambda: None) -> float:
    """Milliseconds of one call; ``synchronise`` waits for a device that works ahead."""
    synchronise()
    began = time.perf_counter()
    work()
    synchronise()
    return 1000 * (time.perf_counter() - began)


def ratio(pairs: Sequence[tuple[float, float]], *, seed: int = 0) -> Ratio:
    """Ratio of the medians of (ours, theirs). Raises: ValueError when there are no pairs."""
    if not pairs:
        raise ValueError("no pairs of times")
    rng = random.Random(seed)
    drawn = sorted(_of_medians(rng.choices(pairs, k=len(pairs))) for _ in range(RESAMPLES))
    ours, theirs = (median(side) for side in zip(*pairs, strict=True))
    low, high = drawn[int(0.025 * RESAMPLES)], drawn[int(0.975 * RESAMPLES) - 1]
    in_all = sum(pair[1] for pair in pairs) / sum(pair[0] for pair in pairs)
    return Ratio(ours, theirs, theirs / ours, low, high, in_all, len(pairs))


def _of_medians(pairs: Sequence[tuple[float, float]]) -> float:
    return median(theirs for _, theirs in pairs) / median(ours for ours, _ in pairs)
