"""What the file itself says about the next token, and texts that came along: a cache beside the causal head.

Code repeats itself within a file far more than between files, and a small model with a short context sees little of it.
So its probabilities are mixed with what followed the last tokens wherever else they stand in the file (cache language
models: Kuhn and De Mori 1990; for code Tu et al. 2014, Hellendoorn and Devanbu 2017). Longer matches are mixed in
after shorter ones, each counting against the mixture before it as in a hierarchy of Dirichlet priors:

    p_L(t) = (c_L(t) + k_L p_L-1(t)) / (c_L + k_L)

where c_L(t) counts the places at which the last L tokens are followed by t, and k_L says how many such places weigh as
much as everything shorter. p_0 is the causal head.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

BEFORE, BEHIND, OTHERS = 20_000, 20_000, 12_000
"""Characters on both sides, and of other texts, that are looked through."""
MOST = 64
"""Places that are counted for one answer's token, the nearest before the cursor first, then the nearest behind it."""
_LINE = re.compile(r"\n*[^\n]+|\n+")


class Votes(NamedTuple):
    """The mixture at one place: ``kept`` times the causal head's probability, and what the file adds."""

    kept: float
    added: Mapping[int, float]


class Recall:
    """What stands in one file around one hole, as tokens.

    ``before`` and ``behind`` are the tokens of both sides, ``elsewhere`` those of other texts; ``weights``: k_L by L.
    Where ``breaks`` are given (tokens that hold a line break), an answer ends before them: such a token is a vote for
    ``end``. So are the first tokens of ``behind``, where they follow each other as they do behind the hole.
    """

    @classmethod
    def of(
        cls,
        prefix: str,
        suffix: str,
        encode: Callable[[str], list[int]],
        weights: Mapping[str, float],
        end: int,
        breaks: frozenset[int],
        others: Sequence[str] = (),
    ) -> "Recall":
        """From the texts on both sides of the hole, and ``others``; ``weights`` as in ``Calibration.recall``."""
        by_length = {int(length): weight for length, weight in weights.items()}
        elsewhere = encode("\n".join(others)[:OTHERS])
        return cls(encode(prefix[-BEFORE:]), encode(suffix[:BEHIND]), by_length, end, breaks, elsewhere)

    def __init__(
        self,
        before: Sequence[int],
        behind: Sequence[int],
        weights: Mapping[int, float],
        end: int,
        breaks: frozenset[int] = frozenset(),
        elsewhere: Sequence[int] = (),
    ) -> None:
        self.weights = dict(sorted(weights.items()))
        self.shortest, self.longest = min(self.weights), max(self.weights)
        whole = [np.asarray(side, dtype=np.int32) for side in (before, behind, elsewhere)]
        nearest = ((whole[0], -1), (whole[1], 1), (whole[2], 1))
        self.sides = [
            (side, self._next(side, behind[:2], end, breaks), step)
            for side, step in nearest
            if len(side) > self.shortest
        ]
        """Tokens, what each is a vote for, and the direction in which the nearest come first."""
        self.known: dict[tuple[int, ...], Votes] = {}

    @staticmethod
    def _next(side: "np.ndarray", head: Sequence[int], end: int, breaks: frozenset[int]) -> "np.ndarray":
        """What each place is a vote for; one shorter than the side."""
        following = side[1:].copy()
        if len(head) == 2 and len(following) > 1:
            resumed = (following[:-1] == head[0]) & (following[1:] == head[1])
            following[:-1][resumed] = end
        if breaks:
            following[np.isin(following, list(breaks))] = end
        return following

    def votes(self, history: Sequence[int]) -> Votes:
        """The mixture behind ``history``: the tokens before the place, the text before the cursor among them."""
        key = tuple(history[-self.longest :])
        if key not in self.known:
            self.known[key] = self._votes(key)
        return self.known[key]

    def _votes(self, key: tuple[int, ...]) -> Votes:
        kept, added = 1.0, dict[int, float]()
        for (_, weight), voted in zip(self.weights.items(), self.voted(key), strict=False):
            total = len(voted) + weight
            kept *= weight / total
            added = {token: share * weight / total for token, share in added.items()}
            for token in voted:
                added[token] = added.get(token, 0.0) + 1 / total
        return Votes(kept, added)

    def voted(self, history: Sequence[int]) -> list[list[int]]:
        """What followed the last L tokens of ``history`` wherever else they stand, for each L that has such places."""
        key = tuple(history[-self.longest :])
        if len(key) < self.shortest:
            return []
        matched: list[tuple[int, int]] = []
        for side, following, step in self.sides:
            at = self._places(side[:-1], key)[::step]
            matched += [(self._match(side, int(i), key), int(following[i])) for i in at[: MOST - len(matched)]]
        voted = [[token for longest, token in matched if longest >= length] for length in self.weights]
        return [tokens for tokens in voted if tokens]

    def _places(self, side: "np.ndarray", key: tuple[int, ...]) -> "np.ndarray":
        """Where the shortest match that counts ends."""
        found = side[self.shortest - 1 :] == key[-1]
        for back in range(1, self.shortest):
            found &= side[self.shortest - 1 - back : len(side) - back] == key[-1 - back]
        places: np.ndarray = found.nonzero()[0]
        return places + self.shortest - 1

    def _match(self, side: "np.ndarray", at: int, key: tuple[int, ...]) -> int:
        length = self.shortest
        while length < len(key) and length <= at and side[at - length] == key[-1 - length]:
            length += 1
        return length

    def mixed(self, history: Sequence[int], log_p: Tensor) -> Tensor:
        """log p [V] of the causal head behind ``history`` -> log p [V] of the mixture."""
        votes = self.votes(history)
        if not votes.added:
            return log_p
        tokens = torch.tensor(list(votes.added), device=log_p.device)
        added = torch.tensor(list(votes.added.values()), device=log_p.device, dtype=log_p.dtype)
        result = log_p + math.log(votes.kept)
        result[tokens] = (result[tokens].exp() + added).log()
        return result

    def row(self, history: Sequence[int], row: Sequence[int], log_p: Sequence[float]) -> list[float]:
        """log p of each token of ``row`` under the causal head -> the same under the mixture."""
        text = [*history[-self.longest :], *row]
        before = len(text) - len(row)
        result: list[float] = []
        for place, (token, single) in enumerate(zip(row, log_p, strict=True)):
            votes = self.votes(text[: before + place])
            added = votes.added.get(token, 0.0)
            result.append(math.log(votes.kept * math.exp(single) + added) if added else single + math.log(votes.kept))
        return result


def by_line(encode: Callable[[str], list[int]]) -> Callable[[str], list[int]]:
    """``encode`` line by line, each line only once: most of a file is what it was at the last key."""
    known = lru_cache(maxsize=8192)(encode)

    def encoded(text: str) -> list[int]:
        return [token for line in _LINE.findall(text) for token in known(line)]

    return encoded
