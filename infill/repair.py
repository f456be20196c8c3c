"""What of a draft to write again when its text does not parse: from blamed characters to open places."""

from collections.abc import Callable, Sequence
from itertools import pairwise

Span = tuple[int, int]

CHANGES = (0, 1, -1, 2)
"""By how many tokens the part that is written again grows: a wrong token, a missing one, one too many, two missing."""


def starts(ids: Sequence[int], text_of: Callable[[Sequence[int]], str]) -> list[int]:
    """Where in the text each token begins, and where the last one ends: len(ids) + 1 code-point offsets."""
    return [len(text_of(ids[:i])) for i in range(len(ids) + 1)]


def blamed(offsets: Sequence[int], spans: Sequence[Span]) -> list[int]:
    """The tokens that touch one of the spans. ``offsets`` as from ``starts``."""
    return [
        i
        for i, (a, b) in enumerate(pairwise(offsets))
        if any(a < end and start < max(b, a + 1) for start, end in spans)
    ]


def doubted(tokens: Sequence[int], log_p: Sequence[float]) -> list[int]:
    """Those of the ``tokens`` (places in ``log_p``) that are less likely than their average.

    A parser's error often covers a whole line, and the fault is one token of it.
    """
    if not tokens:
        return []
    average = sum(log_p[i] for i in tokens) / len(tokens)
    return [i for i in tokens if log_p[i] <= average]


def variants(ids: Sequence[int], tokens: Sequence[int], margin: int, mask: int, longest: int) -> list[list[int]]:
    """Rows with the ``tokens`` (places in ``ids``) and ``margin`` more on both sides open, the same number of them and
    some more or fewer; at most ``longest`` tokens each."""
    marked = [any(abs(i - place) <= margin for place in tokens) for i in range(len(ids))]
    if not any(marked):
        return []
    # Growth goes where the blame ends: what is missing is missed at the first token that does not fit.
    at = max(i for i, is_open in enumerate(marked) if is_open)
    row = [mask if is_open else token for token, is_open in zip(ids, marked, strict=True)]
    rows = [row[:at] + [mask] * (1 + change) + row[at + 1 :] for change in CHANGES]
    return [grown for grown in rows if mask in grown and len(grown) <= longest]
