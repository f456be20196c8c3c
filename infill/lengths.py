"""The length search: which hole lengths are worth a canvas. ``log_p`` is always one answer of the length head,
[max_hole + 2]: index L for L tokens, the last one for "longer"."""

from collections.abc import Sequence
from itertools import accumulate

from torch import Tensor

SURE = 0.9
"""Quantile of the line's length that stands for "by here the line has ended"."""


def likeliest(log_p: Tensor, k: int, cap: int, longer: float) -> list[tuple[int, float]] | None:
    """The ``k`` likeliest lengths from 1 to ``cap`` with their log p, likeliest first.

    None when the answer is longer than ``cap`` with a probability above ``longer``: then no length up to ``cap`` is
    right. Length 0 is never tried: a request asks for text.
    """
    if float(log_p[cap + 1 :].exp().sum()) > longer:
        return None
    best = log_p[1 : cap + 1].topk(min(k, cap))
    return [(int(i) + 1, float(p)) for i, p in zip(best.indices.tolist(), best.values.tolist(), strict=True)]


def beyond_line(fill: Tensor, line: Tensor) -> bool:
    """Whether the text up to the suffix (``fill``) is likelier than not longer than the rest of the line (``line``)."""
    ends = int((line.exp().cumsum(0) < SURE).sum())
    return float(fill.exp()[: ends + 1].sum()) < 0.5


def within(sizes: Sequence[int], tokens: int) -> int:
    """How many of the first ``sizes`` add up to at most ``tokens``; at least one, where there is one."""
    return max(min(1, len(sizes)), sum(total <= tokens for total in accumulate(sizes)))
