"""The engine end to end, over a denoiser that knows the answer."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from infill.engine import Infiller
from infill.judge import SIGNS, Calibration
from infill.policy import POLICIES
from infill.sampler import Late
from infill.types import Infill, InfillOptions, Prompt, Step
from model.calls import one_by_one
from tests.fakes import FakeState, ScriptedDenoiser, byte_tokenizer, byte_tokens, small_tokenizer

BEFORE = "def first(self, index):\n    "
ANSWER = "return self.values[index]"
AFTER = "\n\n\ndef second(self):\n    return True\n"

OWN = Calibration(copies=0)
"""The model's own drafts only, so that a test is about them."""

BYTES = byte_tokens(byte_tokenizer())


def fill(
    prefix: str,
    answer: str,
    suffix: str,
    options: InfillOptions | None = None,
    *,
    calibration: Calibration | None = None,
    language: str | None = "python",
    should_stop: Callable[[], bool] | None = None,
    on_step: Callable[[Step], None] | None = None,
    **denoiser: object,
) -> tuple[Infill, ScriptedDenoiser]:
    scripted = ScriptedDenoiser(prefix, answer, **denoiser)  # type: ignore[arg-type]
    infiller = Infiller(scripted, calibration=calibration or OWN)
    prompt = Prompt(prefix, suffix, language)
    return infiller.fill(prompt, options or InfillOptions(), should_stop=should_stop, on_step=on_step), scripted


def texts(found: Infill) -> list[str]:
    return [candidate.text for candidate in found.candidates]


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("policy", [*POLICIES, "causal"])
def test_every_policy_answers(policy: str, steps: int) -> None:
    found, _ = fill(BEFORE, ANSWER, AFTER, InfillOptions(policy=policy, steps=steps))
    assert texts(found) == [ANSWER]
    best = found.candidates[0]
    assert best.origin == ("causal" if policy == "causal" else "canvas")
    assert best.verdict == "valid"
    assert best.tokens == len(small_tokenizer().encode(ANSWER))
    assert found.reason is None


def test_the_answer_is_found_among_wrong_lengths() -> None:
    """The length head errs by two tokens; the judge does not."""
    true = len(small_tokenizer().encode(ANSWER))
    found, denoiser = fill(BEFORE, ANSWER, AFTER, InfillOptions(lengths=5), guess=true + 2, language=None)
    assert texts(found) == [ANSWER]
    assert denoiser.widths[0][0] == 5
    alone, _ = fill(BEFORE, ANSWER, AFTER, InfillOptions(lengths=1, repair_rounds=0), guess=true + 2)
    assert [candidate.origin for candidate in alone.candidates] == ["trimmed"]


def test_a_known_length_is_not_searched() -> None:
    true = len(small_tokenizer().encode(ANSWER))
    found, denoiser = fill(BEFORE, ANSWER, AFTER, InfillOptions(hole_length=true), guess=3)
    assert texts(found) == [ANSWER]
    assert denoiser.calls["lengths"] == 0
    assert {rows for rows, _ in denoiser.widths} == {1}


def test_work_is_counted_truthfully() -> None:
    found, denoiser = fill(BEFORE, ANSWER, AFTER, InfillOptions(steps=3), sharp=2.0)
    calls = denoiser.calls
    assert found.steps == calls["denoise"] == 3
    assert found.passes == calls["encode"] + calls["encode with past"] + calls["denoise"] + calls["score"] == 5
    assert set(found.timing_ms) == {"context", "draft", "judge", "gate", "total"}
    parts = sum(found.timing_ms.values()) - found.timing_ms["total"]
    assert 0 < parts <= found.timing_ms["total"]


def test_a_keystroke_reuses_the_context() -> None:
    denoiser = ScriptedDenoiser(BEFORE, ANSWER)
    infiller = Infiller(denoiser, calibration=OWN)
    for typed in range(3):
        found = infiller.fill(Prompt(BEFORE + ANSWER[:typed], AFTER, "python"))
        assert texts(found) == [ANSWER[typed:]]
    other = Prompt("# another document\n" + BEFORE, AFTER[:3], "python")
    denoiser.prefix = other.prefix
    infiller.fill(other)
    denoiser.prefix = BEFORE
    infiller.fill(Prompt(BEFORE + ANSWER[:3], AFTER, "python"))
    assert denoiser.calls["encode"] == 2  # one for each document
    assert denoiser.calls["encode with past"] <= 6  # each keystroke, and the end of a word that is healed


def test_an_answer_ends_before_a_stop_text() -> None:
    found, _ = fill("total = ", "value + index * 2", "\n", InfillOptions(stop=("* ", " + ")))
    assert texts(found) == ["value"]
    assert found.candidates[0].stopped_by == " + "
    whole, _ = fill("total = ", "value + index * 2", "\n", InfillOptions(stop=("**",)))
    assert texts(whole) == ["value + index * 2"]
    assert whole.candidates[0].stopped_by == ""
    brackets, _ = fill("total = ", "f(g(value", "\n", InfillOptions(stop=(")",)))
    assert not any(")" in text for text in texts(brackets)), "closers that are added count too"
    with pytest.raises(ValueError, match="stop"):
        InfillOptions(stop=("",))


def test_a_calibration_sees_every_draft_of_a_text() -> None:
    """Else what the causal head wrote too would seem to come from nobody else."""
    calibration = Calibration(causal_candidate=True, copies=0)
    infiller = Infiller(ScriptedDenoiser(BEFORE, ANSWER), calibration=calibration)
    drafts = infiller.drafts(Prompt(BEFORE, AFTER, "python"), InfillOptions())
    assert {draft.origin for draft, text in drafts if text == ANSWER} == {"causal", "canvas"}
    assert texts(infiller.fill(Prompt(BEFORE, AFTER, "python"), InfillOptions(n=9))).count(ANSWER) == 1


def test_alternatives_are_distinct_and_ordered() -> None:
    found, _ = fill("total = ", "1 + 2 + 3", "\n", InfillOptions(n=4, lengths=8), guess=4)
    assert len(found.candidates) > 1
    assert len(set(texts(found))) == len(found.candidates) <= 4
    scores = [candidate.score for candidate in found.candidates]
    assert scores == sorted(scores, reverse=True)
    sampled, denoiser = fill("total = ", "1 + 2 + 3", "\n", InfillOptions(n=4, lengths=2, temperature=2.0), sharp=4.0)
    assert denoiser.widths[0][0] == 10  # not all of them will be valid
    assert len(set(texts(sampled))) == len(sampled.candidates)


@pytest.mark.parametrize("policy", ["confidence", "maskgit", "causal"])
def test_the_seed_decides(policy: str) -> None:
    def answers(seed: int) -> list[str]:
        options = InfillOptions(n=3, temperature=1.3, seed=seed, policy=policy, steps=3)
        return texts(fill("x = [", "1, 2, 3, 4, 5", "]\n", options, sharp=12.0, language=None)[0])

    assert answers(7) == answers(7)
    assert len({tuple(answers(seed)) for seed in range(12)}) > 1


def test_cancelling_stops_at_the_next_step() -> None:
    stop_after = 2
    calls: list[str] = []
    options = InfillOptions(steps=20)
    found, denoiser = fill(
        BEFORE,
        ANSWER,
        AFTER,
        options,
        sharp=1.0,
        on_call=calls.append,
        should_stop=lambda: calls.count("denoise") == stop_after,
    )
    assert found.candidates == ()
    assert found.reason == "cancelled"
    assert denoiser.calls["denoise"] == found.steps == stop_after
    assert denoiser.calls["score"] == 0


def test_a_cancelled_request_leaves_the_context_usable() -> None:
    denoiser = ScriptedDenoiser(BEFORE, ANSWER)
    infiller = Infiller(denoiser, calibration=OWN)
    prompt = Prompt(BEFORE, AFTER, "python")
    for policy in ("confidence", "causal"):
        denoiser.calls.clear()
        stopped = infiller.fill(
            prompt,
            InfillOptions(steps=9, policy=policy),
            should_stop=lambda: denoiser.calls["denoise"] + denoiser.calls["next_logits"] > 0,
        )
        assert stopped.reason == "cancelled"
        assert texts(infiller.fill(prompt)) == [ANSWER]


def test_a_spent_budget_still_answers() -> None:
    """Each forward pass takes 10 ms of a clock of our own; the answer comes late by one pass at most."""
    time = 0.0

    def forward(_name: str) -> None:
        nonlocal time
        time += 0.010

    denoiser = ScriptedDenoiser(BEFORE, ANSWER, sharp=2.0, on_call=forward)
    options = InfillOptions(steps=30, budget_ms=65)
    found = Infiller(denoiser, calibration=OWN, clock=lambda: time).fill(Prompt(BEFORE, AFTER, "python"), options)
    assert texts(found) == [ANSWER]
    assert 1 < denoiser.calls["denoise"] < 5
    assert found.timing_ms["total"] <= 65 + 10


def test_on_step_sees_the_canvas_sharpen() -> None:
    seen: list[Step] = []
    fill(BEFORE, ANSWER, AFTER, InfillOptions(steps=4), sharp=2.0, on_step=seen.append)
    mask = small_tokenizer().mask
    opened = [sum(token == mask for token in step.ids) for step in seen]
    assert opened == sorted(opened, reverse=True)
    assert opened[0] > 0
    assert opened[-1] == 0
    assert [step.index for step in seen] == [1, 2, 3, 4]
    for step in seen:
        assert [sure == 0 for sure in step.confidence] == [token == mask for token in step.ids]


def test_the_causal_head_shows_its_steps_too() -> None:
    seen: list[Step] = []
    fill(BEFORE, ANSWER, AFTER, InfillOptions(policy="causal"), on_step=seen.append)
    assert [len(step.ids) for step in seen] == list(range(1, len(small_tokenizer().encode(ANSWER)) + 1))
    assert {step.phase for step in seen} == {"causal"}


# Long answers.

BODY = "".join(f"    value_{i} = compute(index, {i})\n" for i in range(12)) + "    return value_3"


@pytest.mark.parametrize("context", [512, 192])
def test_a_long_answer_goes_on_block_after_block(context: int) -> None:
    """With a context of 192 tokens there is no room behind the prefix: the context is cut anew on the way."""
    prefix = "def compute_all(index):\n"
    options = InfillOptions(max_tokens=400)
    found, denoiser = fill(prefix, BODY, "\n", options, context=context, max_hole=32, sharp=12.0)
    assert texts(found) == [BODY]
    tokens = len(small_tokenizer().encode(BODY))
    assert tokens > 5 * 32
    assert found.candidates[0].tokens == tokens
    assert (1, 32) in denoiser.widths  # a full block without glue


def test_a_long_answer_stops_at_the_limit_with_whole_lines() -> None:
    found, _ = fill("def compute_all(index):\n", BODY, "\n", InfillOptions(max_tokens=100), max_hole=32, sharp=12.0)
    text = found.candidates[0].text
    assert found.candidates[0].tokens == len(small_tokenizer().encode(text)) <= 100
    assert text.count("\n") >= 2
    assert BODY.startswith(text + "\n")


def test_a_known_length_beyond_the_canvas() -> None:
    tokens = len(small_tokenizer().encode(BODY))
    options = InfillOptions(hole_length=tokens, max_tokens=16)
    found, denoiser = fill("def compute_all(index):\n", BODY, "\n", options, context=1024, max_hole=32)
    assert texts(found) == [BODY]
    assert denoiser.calls["lengths"] == 0


def test_the_causal_head_may_be_one_more_candidate() -> None:
    """The canvas errs everywhere; with the causal candidate the answer is right all the same."""

    def slip(target: list[int], row: list[int]) -> list[int]:
        return [BYTES[ord("1")]] * len(target)

    for causal, right in ((True, True), (False, False)):
        calibration = Calibration(causal_candidate=causal, causal_tokens=40)
        found, _ = fill(BEFORE, ANSWER, AFTER, calibration=calibration, slip=slip, tokenizer=byte_tokenizer())
        assert (texts(found) == [ANSWER]) is right
    short = Calibration(causal_candidate=True, causal_tokens=5)
    found, _ = fill(BEFORE, ANSWER, AFTER, calibration=short, slip=slip, tokenizer=byte_tokenizer())
    assert all(candidate.origin != "causal" for candidate in found.candidates)  # cut off, so it is no answer
    after, _ = fill(BEFORE, ANSWER, AFTER, calibration=short, tokenizer=byte_tokenizer())
    assert texts(after) == [ANSWER]  # the canvas stands where the causal head began


def test_a_causal_draft_that_is_sure_needs_no_canvas() -> None:

    base = Calibration(causal_candidate=True, causal_tokens=40, copies=0, steps=1)
    for sure, steps in ((0.1, 0), (1.0, 1)):
        calibration = replace(base, sure=sure)
        found, denoiser = fill(BEFORE, ANSWER, AFTER, calibration=calibration, sharp=9.0)
        assert (texts(found), found.steps) == ([ANSWER], steps)
        assert denoiser.calls["denoise"] == steps
    brief, _ = fill(BEFORE, ANSWER, AFTER, calibration=replace(base, short=40), sharp=9.0)
    assert (texts(brief), brief.steps) == ([ANSWER], 0)
    asked, _ = fill(BEFORE, ANSWER, AFTER, InfillOptions(lengths=2), calibration=replace(base, sure=0.1))
    assert asked.steps == 1, "who asks for lengths gets them"


@pytest.mark.parametrize("gain", [0.0, 30.0])
def test_copies_that_cannot_win_are_not_judged(gain: float) -> None:
    """The causal head writes ``wrong``; the file suggests ``one``, which wins only where copies count for much."""
    certain = Calibration(causal_candidate=True, causal_tokens=40, short=40, copy_gain=gain)
    found, denoiser = fill("a = call(one)\nb = call(", "wrong)", "\n", calibration=certain)
    assert texts(found) == ["one)" if gain else "wrong)"]
    assert denoiser.calls["score"] == (1 if gain else 0)
    assert denoiser.calls["denoise"] == 0


def test_copies_are_looked_at_where_the_causal_draft_does_not_parse() -> None:
    certain = Calibration(causal_candidate=True, causal_tokens=40, short=40)
    found, denoiser = fill("a = call(one)\nb = call(", "))", "\n", calibration=certain)
    assert [(one.text, one.origin) for one in found.candidates] == [("one)", "copy")]
    assert denoiser.calls["score"] == 1


@pytest.mark.parametrize("trust", [-1.0, 5.0])
def test_only_copies_that_might_still_win_are_judged(monkeypatch: pytest.MonkeyPatch, trust: float) -> None:
    """The answer is what it is with all of them judged; where copies count for much, each of these might win."""
    prefix = "".join(f"a = call(value[{i}])\n" for i in range(6)) + "b = call("
    judged = Calibration(copies=6, copy_base=trust)
    few, brief = fill(prefix, "value[7])", "\n", calibration=judged)
    monkeypatch.setattr("infill.engine.FIRST", 6)
    every, long = fill(prefix, "value[7])", "\n", calibration=judged)
    assert few.candidates[0].text == every.candidates[0].text
    assert few.candidates[0].score == every.candidates[0].score
    assert (brief.calls["score"], long.calls["score"]) == (2 if trust > 0 else 1, 1)
    assert trust > 0 or brief.scored < long.scored


LONG = "return [" + ", ".join(str(i) for i in range(100, 110)) + "]"


def test_long_holes_have_fewer_drafts_and_only_the_surest_go_on() -> None:
    tokens = len(byte_tokenizer().encode(LONG))
    assert 40 < tokens <= 80
    calibration = replace(OWN, lengths=4, steps=2, draft_tokens=3 * tokens + 3, judge_tokens=tokens + 1)
    options = InfillOptions(max_tokens=80)
    scripted: dict[str, Any] = {"tokenizer": byte_tokenizer(), "max_hole": 80, "context": 400, "sharp": 5.0}
    found, denoiser = fill(BEFORE, LONG, AFTER, options, calibration=calibration, **scripted)
    assert texts(found) == [LONG]
    assert [rows for rows, _ in denoiser.widths] == [3, 1], "three fit, one goes on"
    every, denoiser = fill(BEFORE, LONG, AFTER, replace(options, lengths=4), calibration=calibration, **scripted)
    assert texts(every) == [LONG]
    assert {rows for rows, _ in denoiser.widths} == {4}, "who asks for lengths gets them"


# One line.


def test_one_line_where_text_follows_the_cursor() -> None:
    found, _ = fill("x = foo(", "alpha, beta", ") + tail\n")
    assert texts(found) == ["alpha, beta"]


@pytest.mark.parametrize("policy", ["confidence", "causal"])
def test_one_line_of_a_longer_hole(policy: str) -> None:
    """Three lines are missing and one is wanted: the line's own length is searched, and no line break is written."""
    answer = "first = read(index)\n    second = write(first)\n    third = close(second)"
    prefix = "def f(index):\n    "
    found, denoiser = fill(prefix, answer, "\n    return True\n", InfillOptions(one_line=True, policy=policy))
    assert texts(found) == [answer.split("\n", maxsplit=1)[0]]
    if policy == "confidence":
        assert denoiser.calls["line lengths"] == 1
    else:
        line = small_tokenizer().encode(texts(found)[0])
        assert denoiser.calls["next_logits"] == len(line) + 1  # it stops at the line break
    whole, _ = fill(prefix, answer, "\n    return True\n", InfillOptions(policy=policy))
    assert texts(whole) == [answer]


def test_one_line_drafts_hold_no_line_break() -> None:
    """Not even before the filters: it could not be the answer, and would mislead the tokens beside it."""
    breaks = set(Infiller(ScriptedDenoiser("", "")).breaks.tolist())

    def written(*, one_line: bool) -> set[int]:
        seen: set[int] = set()

        def spy(target: list[int], row: list[int]) -> list[int]:
            seen.update(row[: row.index(small_tokenizer().eol)] if small_tokenizer().eol in row else row)
            return target

        options = InfillOptions(one_line=one_line, lengths=8, steps=8)
        fill(BEFORE, "first = 1\n    second = 2", "", options, slip=spy, sharp=3.0)
        return seen

    assert written(one_line=False) & breaks
    assert not written(one_line=True) & breaks


def test_one_line_is_filled_up_to_the_suffix_where_that_is_the_line() -> None:
    """Then the canvas shows the suffix as glue, which is worth more than the line's end alone."""
    rows: list[list[int]] = []

    def spy(target: list[int], row: list[int]) -> list[int]:
        rows.append(row)
        return target

    fill(BEFORE, ANSWER, AFTER, InfillOptions(one_line=True), slip=spy)
    eol = small_tokenizer().eol
    assert all(eol not in row for row in rows)
    rows.clear()
    fill(BEFORE, ANSWER + "\n    " + ANSWER + "\n    " + ANSWER, AFTER, InfillOptions(one_line=True), slip=spy)
    assert all(eol in row for row in rows)


# The gate, repair, trimming.


def test_repair_mends_what_does_not_parse() -> None:
    """The first draft has a bracket too many; asked again about it with its neighbours in place, the model is right."""
    tokenizer = byte_tokenizer()
    answer = "return values[index]"
    place = answer.index("[")

    def slip(target: list[int], row: list[int]) -> list[int]:
        return [*target[:place], BYTES[ord(")")], *target[place + 1 :]] if row[0] == tokenizer.mask else target

    options = InfillOptions(lengths=1, steps=1)
    found, denoiser = fill(BEFORE, answer, AFTER, options, slip=slip, tokenizer=tokenizer)
    assert texts(found) == [answer]
    assert found.candidates[0].origin == "repair"
    assert found.timing_ms["repair"] > 0
    assert denoiser.calls["denoise"] == found.steps > 1
    without, _ = fill(BEFORE, answer, AFTER, replace(options, repair_rounds=0), slip=slip, tokenizer=tokenizer)
    assert texts(without) != [answer]
    assert all(candidate.origin == "trimmed" for candidate in without.candidates)


def test_repair_finds_a_missing_token() -> None:
    """The draft is one token too short: the row that grows by one mends it."""
    tokenizer = byte_tokenizer()
    answer = "return index + 1"
    found, _ = fill(BEFORE, answer, AFTER, InfillOptions(lengths=1), guess=len(answer) - 1, tokenizer=tokenizer)
    assert texts(found) == [answer]
    assert found.candidates[0].origin == "repair"


def test_repair_writes_no_more_than_was_asked_for() -> None:
    answer = "return index + 1"
    short = len(answer) - 1
    options = InfillOptions(lengths=1, max_tokens=short)
    found, _ = fill(BEFORE, answer, AFTER, options, guess=short, tokenizer=byte_tokenizer())
    assert texts(found) != [answer]
    assert all(one.tokens <= short for one in found.candidates)


def test_trimming_is_the_last_resort() -> None:
    answer = "first = 1\n    second = = 2"
    found, _ = fill(BEFORE, answer, AFTER, InfillOptions(lengths=1))
    assert texts(found) == ["first = 1"]
    assert found.candidates[0].origin == "trimmed"
    assert found.candidates[0].verdict == "valid"


def test_nothing_is_answered_rather_than_an_error() -> None:
    found, _ = fill(BEFORE, "))))", AFTER, InfillOptions(lengths=2))
    assert found.candidates == ()
    assert found.reason == "syntax"


def test_the_best_valid_candidate_is_taken() -> None:
    """The judge prefers the whole answer, which does not parse; a shorter draft does."""
    options = InfillOptions(lengths=3, repair_rounds=0)
    found, _ = fill("value = ", "1 + 2)", "\n", options, tokenizer=byte_tokenizer())
    assert texts(found) == ["1 + 2"]
    assert found.candidates[0].origin == "canvas"


def test_without_a_grammar_the_answer_is_unchecked() -> None:
    found, _ = fill("))) ", "((( ]]", " {{{\n", language=None)
    assert texts(found) == ["((( ]]"]
    assert found.candidates[0].verdict == "unchecked"


def test_bytes_that_are_no_text_are_dropped() -> None:
    def slip(target: list[int], row: list[int]) -> list[int]:
        return [byte_tokenizer().encode("é")[0], *target[1:]]

    found, denoiser = fill(BEFORE, ANSWER, AFTER, slip=slip, tokenizer=byte_tokenizer())
    assert {candidate.origin for candidate in found.candidates} == {"causal"}, "no canvas is text"
    assert denoiser.calls["denoise"] > 0


def test_the_causal_head_is_asked_last_where_nothing_else_is_valid() -> None:
    def slip(target: list[int], row: list[int]) -> list[int]:
        return small_tokenizer().encode(")" * 12)[:1] * len(row)

    found, denoiser = fill(BEFORE, ANSWER, AFTER, InfillOptions(repair_rounds=0), slip=slip)
    assert texts(found) == [ANSWER]
    assert found.candidates[0].origin == "causal"
    assert denoiser.calls["denoise"] > 0
    quick, _ = fill(BEFORE, ANSWER, AFTER)
    assert quick.candidates[0].origin == "canvas", "it is not asked where a canvas is valid"


def test_alternatives_are_made_valid_where_too_few_are() -> None:
    """Of "f(value" and its beginnings only some parse; the others are closed or cut."""
    found, _ = fill("total = ", "f(value", "\n", InfillOptions(n=3, lengths=6))
    assert len(found.candidates) > 1
    assert len(set(texts(found))) == len(found.candidates)
    assert {"closed", "trimmed"} & {candidate.origin for candidate in found.candidates[1:]}


def test_a_draft_that_stammers_is_no_answer() -> None:
    def slip(target: list[int], row: list[int]) -> list[int]:
        return [small_tokenizer().encode("value")[0]] * len(row)

    found, _ = fill("total = ", "index", "\n", InfillOptions(lengths=8), slip=slip, guess=8)
    assert all("valuevaluevaluevalue" not in text for text in texts(found))


def test_a_word_that_follows_itself_is_tried_once() -> None:
    """Where the length is one too long, and both places were written in one step."""
    found, _ = fill("total = ", "value", "\n", InfillOptions(lengths=1, steps=1), guess=2)
    assert texts(found) == ["value"]


def test_a_draft_is_tried_without_its_least_sure_token() -> None:
    def slip(target: list[int], row: list[int]) -> list[int]:
        return [target[0], small_tokenizer().encode("index")[0], *target[2:]]

    found, _ = fill("total = ", "value", "\n", InfillOptions(lengths=1, steps=1), slip=slip, guess=2, sharp=6.0)
    assert texts(found) == ["value"]
    sure, _ = fill("total = ", "value", "\n", InfillOptions(lengths=1, steps=1), slip=slip, guess=2, sharp=12.0)
    assert texts(sure) != ["value"], "a canvas that is sure is believed"


def test_the_limit_of_an_answer_does_not_change_what_the_model_reads() -> None:
    """A context that is cut shorter for a higher limit told it that the answer is long."""
    read = []
    for limit in (8, 64, 300):
        denoiser = ScriptedDenoiser("x = 1\n" * 500 + "total = ", "value")
        found = Infiller(denoiser, calibration=OWN).fill(
            Prompt("x = 1\n" * 500 + "total = ", "\n" * 3, "python"), InfillOptions(max_tokens=limit)
        )
        read.append(found.context_tokens)
    assert len(set(read)) == 1


def test_a_doubtful_answer_is_kept_back() -> None:
    found, _ = fill(BEFORE, ANSWER, AFTER, calibration=Calibration(min_confidence=0.99))
    assert found.candidates == ()
    assert found.reason == "confidence"
    assert fill(BEFORE, ANSWER, AFTER, calibration=Calibration(min_confidence=0.5))[0].candidates


# The cursor in the middle of a word.

WORDS = "    return self.encoding or enumerate(index_values, beginning=ValueError) # naïve → 数据"


@pytest.mark.parametrize("policy", ["confidence", "causal"])
def test_every_split_of_many_words(policy: str) -> None:
    """``ret|`` is answered by ``urn x``: prefix, answer and suffix always join to the line, wherever it is cut."""
    start = WORDS.index("return")
    prefix = "def f(self, index_values):\n"
    denoiser = ScriptedDenoiser(prefix, WORDS, sharp=20.0)
    infiller = Infiller(denoiser, calibration=OWN)
    for cut in range(start, len(WORDS) - 1):
        prompt = Prompt(prefix + WORDS[:cut], "\n\n\nx = 1\n", "python")
        found = infiller.fill(prompt, InfillOptions(policy=policy))
        assert [WORDS[:cut] + text for text in texts(found)] == [WORDS]


# Options.


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", 0),
        ("max_tokens", 0),
        ("steps", 0),
        ("lengths", 0),
        ("hole_length", 0),
        ("repair_rounds", -1),
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("temperature", 1e-9),
        ("temperature", 1e9),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("seed", -1),
        ("budget_ms", 0.0),
        ("policy", "best"),
    ],
)
def test_a_bad_option_is_named(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"{name} must be .*{value!r}"):
        InfillOptions(**{name: value})  # type: ignore[arg-type]


class TestCopies:
    """Drafts copied from elsewhere in the file compete with the model's own."""

    PREFIX = "total = compute_everything(first, second)\nprint(total)\nagain = compute_ev"
    REST = "erything(first, second)"

    def test_a_copy_wins_where_the_judge_prefers_it(self) -> None:
        # The length head and the canvas are wrong; the causal head knows the answer when it sees it.
        found, denoiser = fill(
            self.PREFIX,
            self.REST,
            "\n",
            InfillOptions(lengths=1),
            guess=1,
            calibration=Calibration(beta=0.0),
            language=None,
        )
        assert texts(found)[0] == self.REST
        assert found.candidates[0].origin == "copy"
        assert denoiser.calls["score"] == 1, "copies are judged in the same pass"

    def test_none_are_taken_when_not_wanted(self) -> None:
        options = InfillOptions(lengths=1, copies=0)
        found, _ = fill(self.PREFIX, self.REST, "\n", options, guess=1, calibration=Calibration(), language=None)
        assert self.REST not in texts(found)

    def test_a_known_length_leaves_nothing_to_copy(self) -> None:
        options = InfillOptions(hole_length=1)
        found, _ = fill(self.PREFIX, self.REST, "\n", options, calibration=Calibration(), language=None)
        assert all(candidate.origin == "canvas" for candidate in found.candidates)


class TestOtherFiles:
    """Drafts copied from texts that a request brings along."""

    PREFIX, REST = "def total(self):\n    result = self", ".collect(names, strict=True)"
    OTHER = "def other(self):\n    result = self.collect(names, strict=True)\n    return result\n"

    def asked(self, extra: tuple[str, ...], calibration: Calibration, options: InfillOptions | None = None) -> Infill:
        denoiser = ScriptedDenoiser(self.PREFIX, " + 1")
        prompt = Prompt(self.PREFIX, "\n    return result\n", "python", extra=extra)
        chosen = options or InfillOptions(one_line=True)
        return Infiller(denoiser, calibration=calibration).fill(prompt, chosen)

    TRUSTING = Calibration(other_gain=20.0)

    def test_what_followed_there_is_a_draft_that_is_judged(self) -> None:
        best = self.asked((self.OTHER,), self.TRUSTING).candidates[0]
        assert (best.text, best.origin) == (self.REST, "copy")
        assert self.asked((self.OTHER,), Calibration(other_base=-50.0)).candidates[0].text == " + 1"

    @pytest.mark.parametrize("options", [InfillOptions(one_line=True, copies=0), InfillOptions(hole_length=2)])
    def test_none_are_taken_where_copies_are_not_wanted(self, options: InfillOptions) -> None:
        assert self.asked((self.OTHER,), self.TRUSTING, options).candidates[0].origin != "copy"
        assert self.asked((self.OTHER,), replace(self.TRUSTING, others=0)).candidates[0].origin != "copy"

    def test_line_ends_do_not_matter(self) -> None:
        windows = self.OTHER.replace("\n", "\r\n")
        assert self.asked((windows,), self.TRUSTING).candidates[0].text == self.REST

    def test_what_the_file_offers_itself_is_not_borrowed(self) -> None:
        calibration = replace(self.TRUSTING, copy_gain=1.0)
        before = "x = self.one\ncall(x)\nx = self"
        prompt = Prompt(before, "\n", "python", extra=("x = self.one\n", "x = self.two\n"))
        denoiser = ScriptedDenoiser(before, "wrong")
        drafts = Infiller(denoiser, calibration=calibration).drafts(prompt, InfillOptions(one_line=True))
        copies = sorted((text, draft.borrowed) for draft, text in drafts if draft.origin == "copy")
        assert copies == [(".one", False), (".two", True)]

    @pytest.mark.parametrize("extra", [(), ("",), ("nothing that helps\n",)])
    def test_without_a_match_the_answer_is_what_it_was(self, extra: tuple[str, ...]) -> None:
        plain, now = self.asked((), Calibration()), self.asked(extra, Calibration())
        assert replace(now, timing_ms={}) == replace(plain, timing_ms={})


class TestChance:
    def test_it_is_one_where_nothing_was_fitted(self) -> None:
        found, _ = fill(BEFORE, ANSWER, AFTER)
        assert found.candidates[0].chance == 1.0
        assert len(found.candidates[0].signs) == len(SIGNS)

    def test_it_follows_from_the_signs_of_the_answer(self) -> None:
        weights = dict.fromkeys(SIGNS, 0.0) | {"constant": -1.0, "copy": 3.0}
        calibration = Calibration(chance=weights, copy_gain=20.0)
        copied, _ = fill("a = call(one)\nb = call(", "wrong", "\n", calibration=calibration)
        assert copied.candidates[0].origin == "copy"
        assert copied.candidates[0].chance == pytest.approx(1 / (1 + math.exp(-2)))
        own, _ = fill(BEFORE, ANSWER, AFTER, calibration=replace(calibration, copies=0))
        assert own.candidates[0].chance == pytest.approx(1 / (1 + math.exp(1)))

    def test_it_depends_on_what_else_the_answer_could_have_been(self) -> None:
        found, _ = fill(BEFORE, ANSWER, AFTER, InfillOptions(n=2), language=None)
        first, second = found.candidates
        margin, agreed = SIGNS.index("margin"), SIGNS.index("agreed")
        assert first.signs[margin] == pytest.approx(min(first.score - second.score, 3.0))
        assert second.signs[margin] == pytest.approx(-first.signs[margin])
        assert first.signs[agreed] == 1.0, "the causal head and a canvas wrote it"

    def test_out_of_time_nobody_has_judged(self) -> None:
        """The budget is spent by the first denoising step."""
        now = [0.0]

        def late(_: Step) -> None:
            now[0] = 1e6

        weights = dict.fromkeys(SIGNS, 0.0) | {"unjudged": -2.0, "confidence": 5.0}
        scripted = ScriptedDenoiser(BEFORE, ANSWER)
        infiller = Infiller(scripted, calibration=Calibration(copies=0, chance=weights), clock=lambda: now[0])
        work = infiller.begin(Prompt(BEFORE, AFTER, "python"), InfillOptions(budget_ms=5.0, steps=1), on_step=late)
        with torch.inference_mode():
            (result,) = one_by_one(scripted, [work.send(None)])
            for _ in range(20):
                (result,) = one_by_one(scripted, [work.send(result)])
                if now[0]:
                    break
            with pytest.raises(StopIteration) as ended:
                work.throw(Late())
        best = ended.value.value.candidates[0]
        assert best.chance == pytest.approx(1 / (1 + math.exp(2)))


class TestClean:
    """An answer leaves no error where that can be asked for."""

    def test_a_bracket_that_stays_open_is_closed(self) -> None:
        found, _ = fill("value = call(", "first, second", "\nother = 1\n")
        assert texts(found) == ["first, second)"]
        assert found.candidates[0].origin == "closed"

    def test_a_block_gets_its_colon(self) -> None:
        found, _ = fill("if call(", "first", "\n    other = 1\n")
        assert texts(found) == ["first):"]

    def test_a_bracket_of_an_earlier_line_may_stay_open(self) -> None:
        found, _ = fill("value = call(\n    first,\n    ", "second,", "")
        assert texts(found) == ["second,"]

    def test_in_a_buffer_that_is_broken_elsewhere_no_new_error_is_enough(self) -> None:
        found, _ = fill("x = = 1\n\ndef f(a):\n    return ", "a + 1", "\n")
        assert texts(found) == ["a + 1"]

    def test_the_better_draft_is_the_one_that_parses(self) -> None:
        denoiser = ScriptedDenoiser("value = call(", "first)")
        infiller = Infiller(denoiser, calibration=OWN)
        found = infiller.fill(Prompt("value = call(", "\n", "python"), InfillOptions(lengths=6))
        assert texts(found) == ["first)"]


class TestHealing:
    """The word in which the cursor stands is completed as the tokenizer would have written it."""

    BEFORE = "def first(self, index):\n    ret"

    def test_the_context_holds_the_whole_word(self) -> None:
        denoiser = ScriptedDenoiser(self.BEFORE, "urn index")
        infiller = Infiller(denoiser, calibration=OWN)
        found = infiller.fill(Prompt(self.BEFORE, AFTER, "python"))
        assert texts(found) == ["urn index"]
        (whole,) = denoiser.tokenizer.encode("return")
        assert whole in infiller.words.longer(b"ret")
        assert denoiser.calls["encode with past"] == 1, "the word is in the context"

    def test_the_word_alone_may_be_the_answer(self) -> None:
        found, _ = fill(self.BEFORE, "urn", AFTER)
        assert texts(found) == ["urn"]

    def test_a_word_that_is_whole_is_left_alone(self) -> None:
        found, _ = fill("index = 1\nprint(in", "teger)", "\n", language=None)
        assert texts(found) == ["teger)"], "index is a token, but not what follows here"

    def test_a_long_match_elsewhere_overrules_it(self) -> None:
        prefix = "value = ask(retries=3)\nother = 2\nvalue = ask(ret"
        found, denoiser = fill(prefix, "urn)", "\n", calibration=Calibration(beta=0.0), language=None)
        assert denoiser.calls["encode with past"] == 0
        assert texts(found)[0] == "urn)"

    def test_a_word_that_goes_on_behind_the_cursor_is_not_completed(self) -> None:
        _, denoiser = fill(self.BEFORE, "", "urn index\n")
        assert denoiser.calls["last_logits"] == 0


class TestStub:
    """A space or a mark at the cursor is written anew, joined with what follows as the tokenizer joins it."""

    SPACE = ("def first(self, index):\n    return ", "index", AFTER)
    MARK = ("value = call(", '"index")', "\n")

    @pytest.mark.parametrize("policy", ["confidence", "causal"])
    @pytest.mark.parametrize(("place", "left"), [(SPACE, "return"), (MARK, "call")], ids=["space", "mark"])
    def test_the_context_ends_before_it(
        self, place: tuple[str, str, str], left: str, policy: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        prefix, answer, suffix = place
        denoiser, contexts = ScriptedDenoiser(prefix, answer), list[str]()
        lengths = denoiser.length_logprobs, denoiser.next_logits

        def at_length(state: FakeState, *, line: bool = False) -> Tensor:
            contexts.append(denoiser.tokenizer.decode(state.ids))
            return lengths[0](state, line=line)

        def at_next(state: FakeState) -> Tensor:
            contexts.append(denoiser.tokenizer.decode(state.ids))
            return lengths[1](state)

        monkeypatch.setattr(denoiser, "length_logprobs", at_length)
        monkeypatch.setattr(denoiser, "next_logits", at_next)
        shown: list[Step] = []
        infiller, prompt = Infiller(denoiser, calibration=OWN), Prompt(prefix, suffix, "python")
        found = infiller.fill(prompt, InfillOptions(policy=policy), on_step=shown.append)
        assert texts(found) == [answer]
        assert contexts[0].endswith(left)
        assert denoiser.tokenizer.decode(shown[-1].ids) == answer
        assert len(shown[-1].ids) == len(shown[-1].confidence)

    @pytest.mark.parametrize(
        ("before", "answer", "left"), [("call(", '"index"))', "call"), ("call(ret", "urn_value))", "return")]
    )
    def test_what_the_causal_head_wrote_is_repaired_behind_the_same_context(
        self, before: str, answer: str, left: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        denoiser, contexts = ScriptedDenoiser(f"value = {before}", answer, sharp=20.0), list[str]()
        denoise = denoiser.denoise

        def at_canvas(state: FakeState, canvas: Tensor, wanted: Tensor) -> Tensor:
            contexts.append(denoiser.tokenizer.decode(state.ids))
            return denoise(state, canvas, wanted)

        monkeypatch.setattr(denoiser, "denoise", at_canvas)
        infiller, prompt = Infiller(denoiser, calibration=OWN), Prompt(f"value = {before}", "\n", "python")
        infiller.fill(prompt, InfillOptions(policy="causal"))
        assert contexts, "it was repaired"
        assert all(one.endswith(left) for one in contexts), contexts

    def test_nothing_else_may_stand_there(self) -> None:
        prefix, answer, suffix = self.SPACE
        (wrong,) = small_tokenizer().encode("value")
        found, _ = fill(prefix, answer, suffix, slip=lambda target, _row: [wrong, *target[1:]])
        assert not [text for text in texts(found) if text.startswith("alue")]

    def test_a_copy_is_judged_behind_it_too(self) -> None:
        prefix = "def one(self):\n    return self.index + 1\n\n\ndef two(self):\n    return "
        calibration = Calibration(copies=4, copy_gain=5.0)

        def stammered(target: list[int], _row: list[int]) -> list[int]:
            return target[:1] * len(target)

        found, _ = fill(prefix, "self.index + 1", "\n", calibration=calibration, slip=stammered)
        assert [(one.text, one.origin) for one in found.candidates] == [("self.index + 1", "copy")]

    def test_a_mark_that_joins_with_nothing_likely_stays(self) -> None:
        _, denoiser = fill("value = call(", "index)", "\n")
        assert denoiser.calls["last_logits"] == 1
        assert denoiser.calls["encode with past"] == 0

    def test_a_given_length_counts_from_the_cursor(self) -> None:
        prefix, _, suffix = self.SPACE
        assert len(small_tokenizer().encode(" 5")) == 2
        assert texts(fill(prefix, "5", suffix, InfillOptions(hole_length=1))[0]) == ["5"]


def test_what_a_stop_text_ended_is_not_ended_otherwise() -> None:
    found, _ = fill("if ", "f(values):", "\n    pass\n", InfillOptions(stop=("(",)))
    assert set(texts(found)) <= {"f"}


def test_the_tokens_that_are_counted_are_those_of_the_answer() -> None:
    found, _ = fill("total = ", "index + value", "\n", InfillOptions(stop=(" +",)))
    assert texts(found) == ["index"]
    assert found.candidates[0].tokens == 1
