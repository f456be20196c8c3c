"""How likely an answer is right: the signs, the fit, and what is said about both."""

import math
import random
from dataclasses import replace

import pytest

from infill.chance import (
    Place,
    Rivals,
    Told,
    calibration_error,
    chance,
    fit,
    quiet,
    ranking,
    reliability,
    signs,
)
from infill.judge import SIGNS, Draft

PLACE = Place("def f(self):\n    value = ", one_line=True)


def draft(logp: float = -2.0, tokens: int = 4, origin: str = "canvas", evidence: float = 0.0) -> Draft:
    each = (logp / (tokens + 1),) * tokens
    return Draft(tuple(range(tokens)), 0, origin, True, -1.0, -0.5, logp, each, evidence)


def told(draft: Draft, text: str = "total", origin: str = "", *, margin: float = 0.5) -> dict[str, float]:
    found = signs(draft, text, origin or draft.origin, PLACE, margin=margin, agreed=False)
    return dict(zip(SIGNS, found, strict=True))


def test_signs_say_where_an_answer_comes_from() -> None:
    assert told(draft(origin="causal"))["causal"] == 1
    own, other = draft(origin="copy", evidence=3.0), replace(draft(origin="copy", evidence=3.0), borrowed=True)
    assert (told(own)["copy"], told(own)["borrowed"]) == (1, 0)
    assert (told(other)["copy"], told(other)["borrowed"]) == (0, 1)
    assert told(own)["copy_matched"] == told(other)["borrowed_matched"] == 3.0
    assert told(draft(), origin="trimmed")["mended"] == 1
    assert told(draft(), "a\nb\nc")["lines"] > told(draft(), "a")["lines"] == 0


def test_signs_stay_within_bounds_whatever_happens() -> None:
    wild = Draft((), 0, "word", True, -1e9, -1e9, -1e9, (), 0)
    for margin in (math.inf, -math.inf):
        assert all(abs(value) <= 30 for value in told(wild, "x" * 10_000, margin=margin).values())


def test_of_a_draft_that_nobody_judged_nothing_else_counts() -> None:
    a, b = (told(replace(draft(logp), judged=False)) for logp in (-0.1, -20.0))
    assert a == b
    assert [name for name, value in a.items() if value] == ["constant", "unjudged"]


def test_rivals() -> None:
    rivals = Rivals()
    assert rivals.margin("a", -1.0) == math.inf
    rivals.add(draft(origin="canvas"), "a", -1.0)
    rivals.add(draft(origin="canvas"), "b", -4.0)
    rivals.add(draft(origin="canvas"), "b", -3.0)
    assert rivals.margin("a", -1.0) == 2.0
    assert rivals.margin("b", -3.0) == -2.0
    assert not rivals.agreed("b")
    rivals.add(draft(origin="causal"), "b", -9.0)
    assert rivals.agreed("b")
    assert rivals.margin("a", -1.0) == 2.0, "a worse draft of a text takes nothing from it"


def rows(n: int, seed: int = 0) -> tuple[list[list[float]], list[bool], list[float]]:
    """Answers whose fate is drawn with a probability that follows from two of the signs."""
    rng = random.Random(seed)
    found, fates, truth = [], [], []
    for _ in range(n):
        row = [rng.gauss(0, 1) if name in ("confidence", "margin", "size") else 0.0 for name in SIGNS]
        row[0] = 1.0
        odds = -1.0 + 2.0 * row[SIGNS.index("confidence")] - 1.0 * row[SIGNS.index("margin")]
        p = 1 / (1 + math.exp(-odds))
        found.append(row)
        truth.append(p)
        fates.append(rng.random() < p)
    return found, fates, truth


def test_the_fit_finds_the_truth() -> None:
    found, fates, _ = rows(4000)
    weights = fit(found, fates)
    assert set(weights) == set(SIGNS)
    assert weights["constant"] == pytest.approx(-1.0, abs=0.15)
    assert weights["confidence"] == pytest.approx(2.0, abs=0.2)
    assert weights["margin"] == pytest.approx(-1.0, abs=0.15)
    assert weights["size"] == pytest.approx(0.0, abs=0.1)
    fresh, fates, truth = rows(4000, seed=1)
    said = [chance(row, weights) for row in fresh]
    assert max(abs(a - b) for a, b in zip(said, truth, strict=True)) < 0.12
    answers = [Told(p, fate, 1) for p, fate in zip(said, fates, strict=True)]
    assert calibration_error(answers) < 0.03


def test_a_fit_needs_both_fates() -> None:
    found, _, _ = rows(10)
    for one in ([True] * 10, [False] * 10):
        with pytest.raises(ValueError, match="right answers and wrong ones"):
            fit(found, one)
    with pytest.raises(ValueError, match="right answers and wrong ones"):
        fit([], [])
    weights = fit(found[:2], [True, False])
    assert all(math.isfinite(weight) for weight in weights.values()), "two answers that are told apart at once"


def test_nothing_fitted_is_certain() -> None:
    assert chance([0.0] * len(SIGNS), {}) == 1.0
    far = dict.fromkeys(SIGNS, 1e6)
    assert 0.0 < chance([-1.0] * len(SIGNS), far) < chance([1.0] * len(SIGNS), far) <= 1.0


ANSWERS = [Told(0.9, True, 10), Told(0.9, True, 10), Told(0.8, False, 40), Told(0.2, True, 5), Told(0.2, False, 5)]


def test_reliability_and_its_error() -> None:
    bins = reliability(ANSWERS, 2)
    assert [(b.n, b.right) for b in bins] == [(2, 0.5), (3, pytest.approx(2 / 3))]
    assert [b.chance for b in bins] == pytest.approx([0.2, 2.6 / 3])
    assert calibration_error(ANSWERS, 2) == pytest.approx((2 * 0.3 + 3 * 0.2) / 5)
    assert calibration_error([Told(1.0, True, 1)]) == 0.0, "1 belongs to the last bin"
    assert calibration_error([]) == 0.0


def test_ranking() -> None:
    assert ranking(ANSWERS) == pytest.approx((1 + 1 + 1 + 1 + 0 + 0.5) / 6)
    assert math.isnan(ranking([Told(0.5, True, 1)]))


def test_the_quiet_curve() -> None:
    everything, some, none = quiet(ANSWERS, 10, (0.0, 0.5, 0.95))
    assert (everything.shown, everything.right, everything.kept) == (0.5, 0.6, 1.0)
    assert everything.characters == pytest.approx(25 / 70)
    assert some.shown == 0.3
    assert some.right == pytest.approx(2 / 3)
    assert some.characters == pytest.approx(20 / 60)
    assert some.kept == pytest.approx(2 / 3)
    assert none.shown == none.kept == 0.0
    assert math.isnan(none.right)
