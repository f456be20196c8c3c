"""How likely an answer is exactly right: a logistic regression on what the engine knows of it.

Nothing else is asked of the network. The weights are fitted on held-out code by ``hone eval --calibrate`` and stand in
``calibration.json``; ``hone eval --quiet`` says how true the probabilities are.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from infill.judge import SIGNS, Draft

RIDGE = 1.0
"""Pull of each weight towards 0, in units of a standard deviation of its sign: few answers of a kind say little."""
NEWTON_STEPS = 40


@dataclass(frozen=True)
class Place:
    """What an answer's chance depends on besides the answer."""

    prefix: str
    one_line: bool
    """Whether the answer had to end with its line."""

    @property
    def line_before(self) -> str:
        return self.prefix[self.prefix.rfind("\n") + 1 :]


class Rivals:
    """The texts that were drafted for one hole: an answer's chance depends on what else it could have been."""

    def __init__(self) -> None:
        self._scores: dict[str, float] = {}
        self._origins: dict[str, set[str]] = {}

    def add(self, draft: Draft, text: str, score: float) -> None:
        self._scores[text] = max(score, self._scores.get(text, -math.inf))
        self._origins.setdefault(text, set()).add("borrowed" if draft.borrowed else draft.origin)

    def margin(self, text: str, score: float) -> float:
        """How far ``score`` is above that of the best other text; infinity where there is none."""
        return score - max((other for known, other in self._scores.items() if known != text), default=-math.inf)

    def agreed(self, text: str) -> bool:
        """Whether drafts of several origins are this text."""
        return len(self._origins.get(text, ())) > 1


def signs(draft: Draft, text: str, origin: str, place: Place, *, margin: float, agreed: bool) -> tuple[float, ...]:
    """What is known of the answer ``text`` that ``draft`` became, in the order of ``SIGNS``.

    origin: the candidate's; margin: score above that of the best other text; agreed: whether drafts of several origins
    are the same text. Of a draft that was not judged nothing else counts: that a canvas trusts itself says little.
    """
    if not draft.judged:
        return tuple(float(name in ("constant", "unjudged")) for name in SIGNS)
    worst = min(draft.token_logp, default=0.0)
    near = place.line_before
    is_copy = draft.origin == "copy"
    known = {
        "constant": 1.0,
        "confidence": max(math.log(max(draft.confidence, 1e-9)), -8.0),
        "total": max(draft.causal_logp, -25.0),
        "worst": max(worst, -12.0),
        "length": max(draft.length_logp, -8.0),
        "canvas": max(draft.canvas_logp, -5.0),
        "margin": min(max(margin, -3.0), 3.0),
        "agreed": float(agreed),
        "lines": min(math.log1p(text.count("\n")), 2.0),
        "size": math.log1p(min(len(text), 400)),
        "one_line": float(place.one_line),
        "begun": float(bool(near.strip())),
        "inside_word": float(near[-1:].isalnum() or near[-1:] == "_"),
        "copy": float(is_copy and not draft.borrowed),
        "copy_matched": draft.evidence * (is_copy and not draft.borrowed),
        "borrowed": float(draft.borrowed),
        "borrowed_matched": draft.evidence * draft.borrowed,
        "causal": float(draft.origin == "causal"),
        "word": float(draft.origin == "word"),
        "mended": float(origin in ("repair", "closed", "trimmed")),
    }
    return tuple(known.get(name, 0.0) for name in SIGNS)


def chance(found: Sequence[float], weights: Mapping[str, float]) -> float:
    """The probability of what ``signs`` found; 1 where nothing was fitted."""
    if not weights:
        return 1.0
    odds = math.fsum(weights[name] * value for name, value in zip(SIGNS, found, strict=True))
    return 1 / (1 + math.exp(-max(min(odds, 30.0), -30.0)))


def fit(rows: Sequence[Sequence[float]], right: Sequence[bool], ridge: float = RIDGE) -> dict[str, float]:
    """The weights by name that make the answers' fates likeliest (Newton's method; there is one best place).

    Raises: ValueError when there are no answers, or all of them met the same fate.
    """
    if not rows or all(right) or not any(right):
        raise ValueError("chances cannot be fitted: there must be right answers and wrong ones")
    x = torch.tensor([list(row) for row in rows], dtype=torch.float64)
    y = torch.tensor([float(one) for one in right], dtype=torch.float64)
    return {name: round(w, 5) for name, w in zip(SIGNS, regression(x, y, ridge), strict=True)}


def regression(x: Tensor, y: Tensor, ridge: float = RIDGE) -> list[float]:
    """x [N, S], its first column 1, y [N] of 0 and 1 -> the S weights of the logistic regression."""
    scale = x.std(0)
    scale[scale < 1e-9] = 1.0
    x = x / scale
    pull = torch.full((x.shape[1],), ridge, dtype=torch.float64)
    pull[0] = 1e-6
    weights = torch.zeros(x.shape[1], dtype=torch.float64)
    for _ in range(NEWTON_STEPS):
        p = (x @ weights).sigmoid()
        slope = x.T @ (p - y) + pull * weights
        curve = x.T @ (x * (p * (1 - p)).clamp_min(1e-9)[:, None]) + torch.diag(pull)
        step = torch.linalg.solve(curve, slope)
        weights = weights - step
        if float(step.abs().max()) < 1e-9:
            break
    found: list[float] = (weights / scale).tolist()
    return found


@dataclass(frozen=True)
class Told:
    """One answer: how likely it was said to be right, whether it is, and how long it is."""

    chance: float
    right: bool
    characters: int


@dataclass(frozen=True)
class Bin:
    """Answers of about the same chance."""

    low: float
    high: float
    n: int
    chance: float
    """Their mean."""
    right: float
    """The share of them that is."""


def reliability(answers: Sequence[Told], bins: int = 10) -> list[Bin]:
    """Answers by their chance, those bins that hold any."""
    rows = []
    for i in range(bins):
        low, high = i / bins, (i + 1) / bins
        inside = [a for a in answers if low <= a.chance < high or (i == bins - 1 and a.chance == 1)]
        if inside:
            n = len(inside)
            rows.append(Bin(low, high, n, sum(a.chance for a in inside) / n, sum(a.right for a in inside) / n))
    return rows


def calibration_error(answers: Sequence[Told], bins: int = 10) -> float:
    """The expected one: how far a bin's chance is from the share that is right, in the mean over answers."""
    return sum(b.n * abs(b.chance - b.right) for b in reliability(answers, bins)) / max(len(answers), 1)


def ranking(answers: Sequence[Told]) -> float:
    """How often a right answer has a higher chance than a wrong one (area under the ROC curve); nan without both."""
    right = sorted(a.chance for a in answers if a.right)
    wrong = sorted(a.chance for a in answers if not a.right)
    if not right or not wrong:
        return math.nan
    above = sum((r > w) + 0.5 * (r == w) for r in right for w in wrong)
    return above / (len(right) * len(wrong))


@dataclass(frozen=True)
class Quiet:
    """What is seen by who is shown only answers with at least this chance."""

    threshold: float
    shown: float
    """Share of the requests."""
    right: float
    """Share of what is shown that is exactly right; nan where nothing is."""
    characters: float
    """The same by characters."""
    kept: float
    """Share of the right answers that is still shown."""


def quiet(answers: Sequence[Told], requests: int, thresholds: Sequence[float]) -> list[Quiet]:
    """``requests``: how many there were, those without an answer too."""
    rows = []
    every = sum(a.right for a in answers)
    for threshold in thresholds:
        shown = [a for a in answers if a.chance >= threshold]
        right = [a for a in shown if a.right]
        characters = sum(a.characters for a in shown)
        rows.append(
            Quiet(
                threshold,
                len(shown) / max(requests, 1),
                len(right) / len(shown) if shown else math.nan,
                sum(a.characters for a in right) / characters if characters else math.nan,
                len(right) / every if every else math.nan,
            )
        )
    return rows
