"""Expanding and deleting against DreamOn's loop, written here from what the project publishes."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import cast

import pytest
import torch

from infill.canvas import Canvas
from infill.expand import Lengths, expand
from infill.passes import drive
from infill.policy import Knobs
from infill.published import PUBLISHED
from infill.sampler import Cancelled, Pace, Plan
from infill.types import Denoiser
from model.tokenizer import Tokenizer
from tests.fakes import FakeState
from tests.infill.toy import WORDS, Toy, ToyTokenizer

IDS = ToyTokenizer()
MASK, GLUE = IDS.mask, [5, 6]
DREAMON = PUBLISHED["dreamon"]
Row = list[int]


def nucleus(logits: torch.Tensor, plan: Plan) -> torch.Tensor:
    """Probabilities of one place, after temperature and top-p."""
    logits = logits / plan.temperature if plan.temperature > 0 else logits
    order = logits.sort(descending=True).indices
    sums = logits[order].softmax(-1).cumsum(-1)
    for rank in range(1, len(order)):
        if plan.top_p < 1 and sums[rank - 1] > plan.top_p:
            logits = logits.index_fill(0, order[rank], -math.inf)
    return logits.softmax(-1)


def dreamon(toy: Toy, row: Row, plan: Plan, lengths: Lengths, g: torch.Generator) -> Iterator[tuple[Row, list[float]]]:
    """The hole after every pass, and how likely each token was: the place of least entropy gets a token, which need not
    be a word."""
    row, sure = list(row), [float(token != MASK) for token in row]
    budget = lengths.longest if lengths.budget is None else lengths.budget
    while MASK in row:
        logits = toy.logits([*row, *GLUE])[: len(row)]
        if len(row) == lengths.longest or budget == 0:
            logits[:, lengths.expand] -= 1e9
        places = [place for place, token in enumerate(row) if token == MASK]
        chances = [nucleus(logits[place], plan) for place in places]
        clocks = torch.ones(len(places), logits.shape[1])
        if plan.temperature > 0:
            clocks.exponential_(generator=g)
        tokens = [int((p / clock).argmax()) for p, clock in zip(chances, clocks, strict=True)]
        score = [float((p * torch.log(p + 1e-10)).sum()) for p in chances]
        chosen = max(range(len(places)), key=lambda i: (score[i], -i))
        if plan.knobs.noise:
            scores = torch.full((1, len(row) + len(GLUE)), -math.inf)
            scores[0, places] = torch.tensor(score) / plan.knobs.noise
            chosen = places.index(int(torch.multinomial(scores.softmax(-1), 1, generator=g)))
        place, token = places[chosen], tokens[chosen]
        if token == lengths.expand:
            row = [*row[:place], MASK, MASK, *row[place + 1 :]]
            sure = [*sure[:place], 0.0, 0.0, *sure[place + 1 :]]
            budget -= 1
        elif token == lengths.delete:
            stays = [p for p in range(place + 1, len(row)) if not (lengths.to_right and row[p] == MASK)]
            row, sure = [row[p] for p in [*range(place), *stays]], [sure[p] for p in [*range(place), *stays]]
        else:
            row[place], sure[place] = token, float(chances[chosen][token])
        yield list(row), list(sure)


def followed(
    toy: Toy, rows: list[Row], plan: Plan, lengths: Lengths, seed: int, pace: Pace | None = None
) -> tuple[Canvas, list[list[Row]]]:
    told: list[list[Row]] = []
    work = expand(
        cast(Tokenizer, toy.tokenizer), FakeState(()), rows, GLUE, plan, lengths, torch.device("cpu"),
        torch.Generator().manual_seed(seed), pace or Pace(), report=lambda c: told.append(c.rows()),
    )  # fmt: skip
    with torch.inference_mode():
        return drive(work, cast(Denoiser[FakeState], toy)), told


def lengths(**options: int | bool) -> Lengths:
    return Lengths(IDS.expand, IDS.delete, **options)  # type: ignore[arg-type]


PLANS = {
    "published": DREAMON.plan(4),
    "greedy": replace(DREAMON.plan(4), temperature=0.0, top_p=1.0),
    "hot": replace(DREAMON.plan(4), temperature=1.0),
    "noise": replace(DREAMON.plan(4), knobs=Knobs(noise=0.5)),
}


@pytest.mark.parametrize("name", PLANS)
def test_every_pass_is_dreamons(name: str) -> None:
    expanded = deleted = 0
    for seed in range(12):
        for start, to_right in itertools.product((1, 4, 9), (True, False)):
            limits = lengths(longest=12, budget=(None, 3)[seed % 2], to_right=to_right)  # type: ignore[arg-type]
            toy = Toy(seed, lengths=True)
            row = [MASK] * start
            if start == 9:
                row[4] = 7  # given
            expected = list(dreamon(toy, row, PLANS[name], limits, torch.Generator().manual_seed(seed)))
            canvas, found = followed(toy, [row], PLANS[name], limits, seed)
            assert [rows[0] for rows in found] == [row for row, _ in expected], (seed, start, to_right)
            assert canvas.rows() == [expected[-1][0]]
            assert canvas.confidence[0].tolist() == pytest.approx([*expected[-1][1], 1.0, 1.0], rel=1e-4)
            sizes = [start, *(len(row) for row, _ in expected)]
            expanded += sum(b > a for a, b in itertools.pairwise(sizes))
            deleted += sum(b < a for a, b in itertools.pairwise(sizes))
    assert expanded > 10
    assert deleted > 10


def test_rows_of_a_batch_do_not_know_of_each_other() -> None:
    for seed in range(10):
        toy = Toy(seed, lengths=True)
        rows = [[MASK] * 4, [MASK], [MASK] * 7, [3, MASK, MASK], [2, 1]]
        plan = PLANS["greedy"]
        together = followed(toy, rows, plan, lengths(longest=10), seed)[0]
        assert together.rows() == [followed(toy, [row], plan, lengths(longest=10), seed)[0].rows()[0] for row in rows]
        assert not together.open.any()


def test_no_row_grows_beyond_the_longest_or_its_budget() -> None:
    class Greedy(Toy):
        """Wants to expand everywhere."""

        def logits(self, row: Row) -> torch.Tensor:  # type: ignore[override]
            logits = super().logits(row)
            logits[:, IDS.expand] = 50.0
            return logits

    for options, size in (({"longest": 9}, 9), ({"longest": 30, "budget": 5}, 9), ({"longest": 4, "budget": 5}, 4)):
        toy = Greedy(1)
        canvas, told = followed(toy, [[MASK] * 4, [MASK] * 3], PLANS["published"], lengths(**options), 0)
        assert [len(row) for row in canvas.rows()] == [size, min(size, 8) if "budget" in options else size]
        assert {token for row in canvas.rows() for token in row} <= set(range(WORDS))
        assert all(len(row) <= size for rows in told for row in rows)


def test_a_hole_may_come_out_empty() -> None:
    class Nothing(Toy):
        def logits(self, row: Row) -> torch.Tensor:  # type: ignore[override]
            logits = super().logits(row)
            logits[:, IDS.delete] = 50.0
            return logits

    toy = Nothing(1)
    canvas, told = followed(toy, [[MASK] * 4, [MASK, 3, MASK]], PLANS["published"], lengths(), 0)
    assert canvas.rows() == [[], [3]]
    assert canvas.ids.tolist() == [[5, 6, IDS.pad], [3, 5, 6]]
    assert told[-1] == [[], [3]]


def test_cancelling_stops_before_the_next_pass() -> None:
    toy = Toy(2)
    with pytest.raises(Cancelled):
        followed(toy, [[MASK] * 8], PLANS["published"], lengths(), 0, Pace(should_stop=lambda: len(toy.seen) == 3))
    assert len(toy.seen) == 3


def test_a_spent_budget_completes_the_rows() -> None:
    for seed in range(8):
        times = itertools.count(step=0.004)
        toy = Toy(seed, lengths=True)
        pace = Pace(budget_ms=30, clock=lambda times=times: next(times))  # type: ignore[misc]
        canvas, _ = followed(toy, [[MASK] * 30, [MASK] * 9], PLANS["published"], lengths(longest=64), 0, pace)
        assert not canvas.open.any()
        assert {token for row in canvas.rows() for token in row} <= set(range(WORDS))
        assert 1 <= len(toy.seen) < 9
        assert pace.passes == len(toy.seen)


@pytest.mark.parametrize("wrong", [{"longest": 0}, {"budget": -1}])
def test_limits_that_mean_nothing_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        lengths(**wrong)
