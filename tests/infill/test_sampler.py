"""The loop: every policy reaches the answer, work is bounded, and it stops when told."""

import itertools
from collections.abc import Sequence

import pytest
import torch

from infill.canvas import Canvas
from infill.passes import drive
from infill.policy import JUDGED, POLICIES
from infill.sampler import Cancelled, Pace, Plan, choose, decode, refine
from infill.schedule import SCHEDULES
from tests.fakes import FakeState, ScriptedDenoiser, byte_tokenizer, byte_tokens

ANSWER = "return self.values[index]"
PREFIX = "def f(self, index):\n    "

BYTES = byte_tokens(byte_tokenizer())


def scripted(**options: object) -> tuple[ScriptedDenoiser, list[int]]:
    denoiser = ScriptedDenoiser(PREFIX, ANSWER, **options)  # type: ignore[arg-type]
    tokenizer = denoiser.tokenizer
    return denoiser, [tokenizer.suf, tokenizer.eof, tokenizer.pre, tokenizer.bof, *tokenizer.encode(PREFIX)]


def run(denoiser: ScriptedDenoiser, ids: list[int], plan: Plan, lengths: list[int], pace: Pace | None = None) -> Canvas:
    with torch.inference_mode():
        canvas = Canvas.of_lengths(lengths, [100, 101], denoiser.tokenizer, denoiser.device)
        generator = torch.Generator().manual_seed(0)
        return drive(
            refine(denoiser.tokenizer, denoiser.encode(ids), canvas, plan, generator, pace or Pace()), denoiser
        )


@pytest.mark.parametrize("steps", [1, 2, 3, 8, 50])
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_reaches_the_answer(policy: str, schedule: str, steps: int) -> None:
    denoiser, ids = scripted()
    target = denoiser.tokenizer.encode(ANSWER)
    pace = Pace()
    canvas = run(denoiser, ids, Plan(steps, policy, schedule), [len(target), 2, len(target) + 3], pace)
    rows = canvas.rows()
    assert rows[0] == target
    assert rows[1] == target[:2]
    assert rows[2][: len(target)] == target
    assert not canvas.open.any()
    assert denoiser.calls["denoise"] == pace.steps <= steps
    assert pace.passes == pace.steps * (2 if policy in JUDGED else 1)
    assert pace.passes == denoiser.calls["denoise"] + denoiser.calls["score"]


def test_a_sure_canvas_needs_one_step_and_an_unsure_one_all() -> None:
    sure, ids = scripted(sharp=30.0)
    run(sure, ids, Plan(6), [6])
    assert sure.calls["denoise"] == 1
    unsure, ids = scripted(sharp=2.0)
    run(unsure, ids, Plan(6), [6])
    assert unsure.calls["denoise"] == 6


def test_steps_follow_the_schedule() -> None:
    denoiser, ids = scripted(sharp=2.0)
    opened: list[int] = []
    with torch.inference_mode():
        canvas = Canvas.of_lengths([8], [], denoiser.tokenizer, denoiser.device)
        state, generator = denoiser.encode(ids), torch.Generator()
        told = lambda c: opened.append(int(c.open.sum()))  # noqa: E731
        drive(refine(denoiser.tokenizer, state, canvas, Plan(4), generator, Pace(), told), denoiser)
    assert opened == [6, 4, 2, 0]


def test_rows_that_are_not_worth_it_stay_behind_after_the_first_step() -> None:
    denoiser, ids = scripted(sharp=2.0)
    target = denoiser.tokenizer.encode(ANSWER)
    seen: list[list[list[int]]] = []

    def narrow(canvas: Canvas) -> list[int]:
        seen.append(canvas.rows())
        return [2, 0]

    with torch.inference_mode():
        canvas = Canvas.of_lengths([4, 3, len(target)], [100], denoiser.tokenizer, denoiser.device)
        state, generator = denoiser.encode(ids), torch.Generator()
        work = refine(denoiser.tokenizer, state, canvas, Plan(3), generator, Pace(), narrow=narrow)
        found = drive(work, denoiser)
    assert seen == [[target[:4], target[:3], target]], "asked once, about whole drafts"
    assert found.names == (2, 0)
    assert found.rows() == [target, target[:4]]
    assert [rows for rows, _ in denoiser.widths] == [3, 2, 2]
    assert not found.open.any()


def test_remask_mends_a_token_that_was_wrong() -> None:
    """The first pass errs at place 1 and is sure of it; seeing its neighbour, the model notices."""

    def slip(target: list[int], row: list[int]) -> list[int]:
        alone = row[2] == byte_tokenizer().mask
        return [target[0], BYTES[ord("?")], *target[2:]] if alone else target

    for policy, mended in (("remask", True), ("confidence", False)):
        denoiser, ids = scripted(tokenizer=byte_tokenizer(), slip=slip)
        target = byte_tokenizer().encode(ANSWER)
        row = run(denoiser, ids, Plan(8, policy), [len(target)]).rows()[0]
        assert (row == target) is mended


def test_verify_drafts_again_behind_the_accepted_beginning() -> None:
    """The draft is right up to place 3 only, and what follows becomes right once place 3 is committed."""
    wrong = BYTES[ord("?")]

    def slip(target: list[int], row: list[int]) -> list[int]:
        return target if row[3] != byte_tokenizer().mask else [*target[:4], *[wrong] * (len(target) - 4)]

    denoiser, ids = scripted(tokenizer=byte_tokenizer(), slip=slip)
    target = byte_tokenizer().encode(ANSWER)
    assert run(denoiser, ids, Plan(8, "verify"), [len(target)]).rows()[0] == target
    denoiser, ids = scripted(tokenizer=byte_tokenizer(), slip=slip)
    assert run(denoiser, ids, Plan(1, "verify"), [len(target)]).rows()[0][4] == wrong


def test_cancelling_stops_before_the_next_forward() -> None:
    denoiser, ids = scripted(sharp=2.0)
    pace = Pace(should_stop=lambda: denoiser.calls["denoise"] == 3)
    with pytest.raises(Cancelled):
        run(denoiser, ids, Plan(12), [12], pace)
    assert denoiser.calls["denoise"] == 3


def test_a_spent_budget_completes_the_draft() -> None:
    time = itertools.count(step=0.004)  # every look at the clock costs 4 ms
    denoiser, ids = scripted(sharp=2.0)
    target = denoiser.tokenizer.encode(ANSWER)
    pace = Pace(budget_ms=30, clock=lambda: next(time))
    canvas = run(denoiser, ids, Plan(50), [len(target)], pace)
    assert canvas.rows()[0] == target
    assert 1 <= denoiser.calls["denoise"] < len(target)


def test_even_no_budget_gives_a_draft() -> None:
    denoiser, ids = scripted(sharp=2.0)
    target = denoiser.tokenizer.encode(ANSWER)
    assert run(denoiser, ids, Plan(50), [len(target)], Pace(budget_ms=1e-6)).rows()[0] == target
    assert denoiser.calls["denoise"] == 1


def test_banned_tokens_are_not_written() -> None:
    denoiser, ids = scripted()
    target = denoiser.tokenizer.encode(ANSWER)
    plan = Plan(2, banned=torch.tensor(target[:1]))
    row = run(denoiser, ids, plan, [len(target)]).rows()[0]
    assert row[1:] == target[1:]
    assert row[0] != target[0]


def test_choose_draws_from_the_nucleus_with_the_seed() -> None:
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().repeat(400, 1)

    def drawn(seed: int, top_p: float, temperature: float = 1.0) -> list[int]:
        return choose(logits, temperature, top_p, torch.Generator().manual_seed(seed)).tolist()

    assert drawn(1, 1.0) == drawn(1, 1.0)
    assert drawn(1, 1.0) != drawn(2, 1.0)
    assert set(drawn(1, 1.0)) == {0, 1, 2, 3}
    assert set(drawn(1, 0.75)) == {0, 1}
    assert set(drawn(1, 0.1)) == {0}
    assert set(drawn(1, 1e-300)) == {0}
    assert set(drawn(1, 1.0, temperature=0.0)) == {0}


@pytest.mark.parametrize(("limit", "ended"), [(64, True), (3, False)])
@pytest.mark.parametrize("guesses", ["none", "right", "wrong", "half", "too long"])
def test_the_causal_head_writes_token_by_token(limit: int, ended: bool, guesses: str) -> None:
    denoiser, ids = scripted()
    target = denoiser.tokenizer.encode(ANSWER)
    wrong = [denoiser.tokenizer.n_special + 3] * 4

    def guess(written: Sequence[int]) -> list[int]:
        right = target[len(written) : len(written) + 4]
        return {"none": [], "right": right, "wrong": wrong, "half": [*right[:2], *wrong], "too long": right + wrong}[
            guesses
        ]

    with torch.inference_mode():
        state = denoiser.encode(ids)
        written = list(ids)

        async def extend(tokens: Sequence[int]) -> FakeState:
            nonlocal state
            written.extend(tokens)
            state = denoiser.encode(written, state)
            return state

        async def rewind(count: int) -> FakeState:
            nonlocal state
            del written[len(written) - count :]
            state = denoiser.encode(written, state)
            return state

        before = denoiser.calls["encode with past"]
        plan, generator = Plan(1), torch.Generator()
        work = decode(denoiser, extend, rewind, state, limit, plan, generator, Pace(), guess=guess)
        decoded = drive(work, denoiser)
    assert decoded.ids == target[:limit]
    assert (decoded.end_logp is not None) is ended
    assert len(decoded.token_logp) == len(decoded.ids)
    assert written == [*ids, *decoded.ids]
    if guesses == "right":
        assert denoiser.calls["encode with past"] - before <= -(-len(decoded.ids) // 4)
