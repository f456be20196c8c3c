"""Published samplers against plain loops, written here from what the projects publish: step by step the same."""

import math

import pytest
import torch

from infill.schedule import SCHEDULES, Moment


def counts(schedule: str, places: int, steps: int) -> list[int]:
    """How many places each step writes, if every step writes as many as it shall."""
    now, told = places, []
    for step in range(steps):
        count = int(SCHEDULES[schedule](Moment(torch.tensor([places]), torch.tensor([now]), step, steps)))
        told.append(count)
        now -= count
    return told


def llada_counts(places: int, steps: int) -> list[int]:
    """Equal parts, and what is left over goes to the first steps, one each."""
    return [places // steps + (1 if step < places % steps else 0) for step in range(steps)]


def dream_counts(places: int, steps: int) -> list[int]:
    """int(open * (1 - s / t)) over linspace(1, 0.001, steps + 1), in the tensors' own float32."""
    times = torch.linspace(1, 1e-3, steps + 1)
    now, told = torch.tensor(places), []
    for step in range(steps):
        count = int(now / 1 * (1 - times[step + 1] / times[step])) if step < steps - 1 else int(now)
        told.append(count)
        now = now - count
    return told


def dllm_counts(places: int, steps: int) -> list[int]:
    """round(open * (1 - p)), where p is (1 - alpha(s)) / (1 - alpha(t)) and alpha(t) = 1 - t, in float32."""
    now, told = places, []
    for step in range(steps):
        s, t = torch.tensor((steps - step - 1) / steps), torch.tensor((steps - step) / steps)
        kept = float((1 - (1 - s)) / (1 - (1 - t)))
        told.append(min(now, round(now * (1 - kept))))
        now -= told[-1]
    return told


def ours(places: int, steps: int, share: str) -> list[int]:
    """As many as it takes to have the schedule's share open afterwards, at least one while any is open."""
    now, told = places, []
    for step in range(steps):
        left = 1 - (step + 1) / steps if share == "linear" else math.cos((step + 1) / steps * math.pi / 2)
        told.append(min(now, max(1, now - math.floor(places * left + 1e-4))))
        now -= told[-1]
    return told


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [("linear", [2, 1, 2, 1]), ("even", [2, 2, 1, 1]), ("dream", [1, 1, 1, 3]), ("rounded", [2, 1, 2, 1])],
)
def test_six_places_in_four_steps(schedule: str, expected: list[int]) -> None:
    assert counts(schedule, 6, 4) == expected


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 7, 8, 12, 32, 64, 100])
def test_counts_are_those_of_the_projects(steps: int) -> None:
    for places in [*range(40), 63, 64, 65, 100, 128]:
        assert counts("even", places, steps) == llada_counts(places, steps)
        assert counts("dream", places, steps) == dream_counts(places, steps)
        assert counts("rounded", places, steps) == dllm_counts(places, steps)
        assert counts("linear", places, steps) == ours(places, steps, "linear")
        assert counts("cosine", places, steps) == ours(places, steps, "cosine")


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_rows_are_counted_each_for_itself(schedule: str) -> None:
    places, now = torch.tensor([9, 1, 0, 30]), torch.tensor([7, 1, 0, 29])
    for step in range(5):
        together = SCHEDULES[schedule](Moment(places, now, step, 5))
        alone = [int(SCHEDULES[schedule](Moment(places[i : i + 1], now[i : i + 1], step, 5))) for i in range(4)]
        assert together.tolist() == alone
        assert (together <= now).all()
    assert together.tolist() == now.tolist(), "the last step leaves nothing open"
