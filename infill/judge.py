"""The judge: drafts of different lengths are compared by the causal head of the same weights.

The sum of log probabilities prefers short answers and the mean prefers long ones; a power of the length between the two
is calibrated on held-out code, together with the weight of the length head and of the canvas's own confidence.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from infill.canvas import Canvas
from infill.lengths import within
from infill.passes import score
from infill.policy import POLICIES
from infill.recall import Recall
from infill.types import State
from model.jsonfile import read_json
from model.tokenizer import Tokenizer

FILE = "calibration.json"
SIGNS = (
    "constant",
    "unjudged",
    "confidence",
    "total",
    "worst",
    "length",
    "canvas",
    "margin",
    "agreed",
    "lines",
    "size",
    "one_line",
    "begun",
    "inside_word",
    "copy",
    "copy_matched",
    "borrowed",
    "borrowed_matched",
    "causal",
    "word",
    "mended",
)
"""What a chance is computed from (``infill.chance``)."""


@dataclass(frozen=True)
class Calibration:
    """Numbers that belong to one set of weights and were chosen by measurement.

    Raises:
        ValueError: names the number and what is allowed.
    """

    alpha: float = 0.7
    """0: sum of log probabilities, 1: mean."""
    beta: float = 0.3
    """Weight of the length head's log probability."""
    gamma: float = 0.0
    """Weight of the mean log confidence with which the canvas wrote its tokens."""
    copies: int = 4
    """How many drafts are copied from elsewhere in the file; 0: none."""
    copy_base: float = 0.0
    """Score of a copied draft besides the others' terms."""
    copy_gain: float = 0.0
    """The same for each unit of what speaks for its place."""
    copy_square: float = 0.0
    """The same for its square."""
    copy_size: float = 0.0
    """The same for the logarithm of its number of tokens, the end among them."""
    first: float = 0.0
    """Weight of log p of a draft's first token: where that is wrong, all is."""
    others: int = 4
    """How many drafts are copied from texts of other files, where a request brings some; 0: none."""
    other_base: float = -1.0
    """As ``copy_base``, for these."""
    other_gain: float = 0.2
    """As ``copy_gain``, for these."""
    min_confidence: float = 0.0
    """Answers below this geometric mean probability are kept back."""
    lengths: int = 8
    draft_tokens: int = 112
    """Of these lengths only as many of the likeliest are drafted as have so many tokens together: long holes are the
    dear ones, and there a little more or less length matters least."""
    judge_tokens: int = 80
    """Of these drafts only as many of the surest go on to further steps and to the judge as have so many tokens."""
    steps: int = 2
    policy: str = "confidence"
    longer: float = 0.5
    """Above this probability of "longer than the canvas" a full block is written, and the search goes on behind it."""
    causal_candidate: bool = False
    """Whether the causal head's greedy answer is one more candidate."""
    causal_tokens: int = 8
    """Most tokens of that candidate; where more are likelier than not, there is none."""
    short: int = 3
    """Where that candidate has at most so many tokens, it and copies are all there is."""
    sure: float = 0.5
    """The same where it has at least this geometric mean probability: no canvas would win against it."""
    recall: Mapping[str, float] = field(default_factory=dict[str, float])
    """What the file's own text counts beside the causal head: weights by length of match (``infill.recall``); empty:
    nothing."""
    length_slope: float = 0.0
    """For models without a head for lengths (``infill.inplace``): how much surer they are of a hole for each e-fold of
    its length, whatever belongs there."""
    chance: Mapping[str, float] = field(default_factory=dict[str, float])
    """Weights of the signs of ``infill.chance`` by name, all of them; empty: nobody says what is likely right."""

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if one.name not in ("policy", "chance", "recall") and not isinstance(value, int | float):
                raise ValueError(f"calibration: {one.name} must be a number, not {value!r}")
        self._check_chance()
        self._check_recall()
        if self.policy not in (*POLICIES, "causal"):
            raise ValueError(f"calibration: policy must be one of {', '.join(POLICIES)}, causal, not {self.policy!r}")
        for name in ("copies", "others", "short"):
            if getattr(self, name) < 0:
                raise ValueError(f"calibration: {name} must be at least 0, not {getattr(self, name)}")
        for name in ("lengths", "steps", "causal_tokens", "draft_tokens", "judge_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"calibration: {name} must be at least 1, not {getattr(self, name)}")
        for name in ("min_confidence", "longer", "sure"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"calibration: {name} must be from 0 to 1, not {getattr(self, name)}")

    def _check_chance(self) -> None:
        weights: Any = self.chance
        if not isinstance(weights, dict) or (weights and set(weights) != set(SIGNS)):
            raise ValueError(f"calibration: chance must be an object of these numbers: {', '.join(SIGNS)}")
        for name, value in weights.items():
            if not isinstance(value, int | float):
                raise ValueError(f"calibration: chance.{name} must be a number, not {value!r}")  # noqa: TRY004

    def _check_recall(self) -> None:
        weights: Any = self.recall
        if not isinstance(weights, dict):
            raise ValueError("calibration: recall must be an object of weights by length of match")  # noqa: TRY004
        for name, value in weights.items():
            if not str(name).isdecimal() or int(name) < 1 or not isinstance(value, int | float) or not value > 0:
                raise ValueError(f"calibration: recall must have weights above 0 by length, not {name}: {value!r}")

    @classmethod
    def load(cls, folder: Path) -> "Calibration":
        """What stands beside the weights in ``folder``; the defaults where nothing does.

        Raises:
            ValueError: the file is not a JSON object of known numbers.
        """
        path = Path(folder) / FILE
        if not path.is_file():
            return cls()
        values = read_json(path)
        known = {one.name for one in fields(cls)}
        if not set(values) <= known:
            raise ValueError(f"{path} must be an object with some of: {', '.join(sorted(known))}")
        return cls(**values)

    def save(self, folder: Path) -> None:
        (Path(folder) / FILE).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Draft:
    """A finished draft with all that the judge knows of it."""

    ids: tuple[int, ...]
    """All hole tokens."""
    kept: int
    """How many of them, from the left, belong to blocks written before the last canvas."""
    origin: str
    """"canvas", "copy", "causal" or "repair"."""
    ended: bool
    """False: cut off by the limit or the budget, and the text does not end here."""
    length_logp: float
    """log p of the last block's length under the length head; 0 where the length was given."""
    canvas_logp: float
    """Mean log confidence of the canvas's tokens when they were committed; 0 where no canvas wrote them."""
    causal_logp: float
    """Sum of log p under the causal head over the last canvas's tokens and the end."""
    token_logp: tuple[float, ...]
    """The same for each of the last canvas's tokens, without the end."""
    evidence: float = 0.0
    """What speaks for the place that a copied draft is from (``infill.copying.Copy``)."""
    borrowed: bool = False
    """Whether it was copied from another file."""
    judged: bool = True
    """False: the causal head has not seen it, and ``causal_logp`` is the canvas's own opinion."""

    @property
    def scored(self) -> int:
        """How many terms ``causal_logp`` has."""
        return len(self.ids) - self.kept + self.ended

    @property
    def confidence(self) -> float:
        """Geometric mean of the causal head's probability per token."""
        return math.exp(self.causal_logp / max(self.scored, 1))

    def score(self, c: Calibration) -> float:
        per_length: float = self.causal_logp / max(self.scored, 1) ** c.alpha
        first = c.first * self.token_logp[0] if self.token_logp else 0.0
        return per_length + first + c.beta * self.length_logp + c.gamma * self.canvas_logp + self._copied(c)

    def _copied(self, c: Calibration) -> float:
        if self.origin != "copy":
            return 0.0
        if self.borrowed:
            return c.other_base + c.other_gain * self.evidence
        size = c.copy_size * math.log(max(self.scored, 1))
        return c.copy_base + c.copy_gain * self.evidence + c.copy_square * self.evidence**2 + size


def surest(canvas: Canvas, priors: Sequence[float], c: Calibration) -> list[int]:
    """The rows of a canvas that are worth a judge, the best first: by its own confidence and their lengths' log p."""
    sure, sizes = canvas.mean_log_confidence().tolist(), canvas.hole.sum(1).tolist()
    order = sorted(range(len(sizes)), key=lambda row: -(c.gamma * sure[row] + c.beta * priors[row]))
    return order[: within([sizes[row] for row in order], c.judge_tokens)]


def foreseen(
    row: Sequence[int], written: Sequence[int], seen: Sequence[Tensor], ends: Sequence[int]
) -> tuple[float, bool]:
    """What the judge would at most say of a row and its end, from what the causal head saw while it wrote ``written``
    (``infill.sampler.Decoded``), and whether it would say exactly that. Known is the beginning that they share and the
    first token that they do not."""
    total = 0.0
    for place, (token, log_p) in enumerate(zip(row, seen, strict=False)):
        total += float(log_p[token])
        if place == len(written) or token != written[place]:
            return total, False
    if len(row) >= len(seen):
        return total, False
    return total + float(seen[len(row)][list(ends)].logsumexp(0)), True


async def judge(
    tokenizer: Tokenizer,
    state: State,
    rows: Sequence[Sequence[int]],
    ends: Sequence[int],
    device: torch.device,
    recall: Recall | None = None,
) -> list[tuple[float, tuple[float, ...]]]:
    """One causal pass over all rows: the sum of log p of each row's tokens and its end, and log p of each token.

    ``ends`` are the tokens that can end a row (their probabilities add up); without any, the end is not scored. With
    ``recall`` the file's own text has its say.
    """
    variants = [[*row, end] for end in ends for row in rows] or [list(row) for row in rows]
    width = max(len(row) for row in variants)
    pad = tokenizer.pad
    tokens = torch.tensor([[*row, *[pad] * (width - len(row))] for row in variants], device=device)
    log_p = await score(state, tokens)
    if recall is not None:
        log_p = torch.tensor(
            [
                [*recall.row(state.ids, row, p[: len(row)]), *p[len(row) :]]
                for row, p in zip(variants, log_p.tolist(), strict=True)
            ],
            device=device,
        )
    sums: Tensor = log_p.sum(1).view(-1, len(rows)).logsumexp(0)
    each = log_p[: len(rows)].tolist()
    return [(total, tuple(p[: len(row)])) for total, p, row in zip(sums.tolist(), each, rows, strict=True)]
