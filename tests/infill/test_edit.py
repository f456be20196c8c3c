"""The editor over a network that knows what is right: what it changes, what it leaves alone, and what it never does."""

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from infill.edit import (
    Change,
    Edit,
    EditCalibration,
    EditOptions,
    Editor,
    EditPrompt,
    _Request,
    evidence,
    looked_up,
    readings,
)
from infill.minimal import spliced
from infill.passes import drive
from infill.sampler import Pace
from infill.syntax import worse
from model.layout import Operations
from tests.fakes import FakeState
from tests.mender import Mender


def edit(mender: Mender, text: str, block: str | None = None, task: str = "fix", **options: Any) -> tuple[str, Edit]:
    """The text after the edit of ``block`` (or of all of it), and the edit."""
    start, end = (0, len(text)) if block is None else (text.index(block), text.index(block) + len(block))
    prompt = EditPrompt(text, start, end, task, "python", "a.py")
    with torch.inference_mode():
        found = drive(Editor(mender).begin(prompt, EditOptions(**options)), mender)
    return applied(text, found.changes), found


def applied(text: str, changes: Sequence[Change]) -> str:
    return spliced(text, ((one.start, one.end, one.new) for one in changes))


SOURCE = "import os\n\n\ndef add(a, b):\n    total = a + b\n    return total\n\n\nprint(add(1, 2))\n"


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("def add(a, b)\n", "def add(a, b):\n"),
        ("total = a +* b", "total = a + b"),
        ("    retrun total", "    return total"),
        ("print(add(1, 2)\n", "print(add(1, 2))\n"),
        ("    total = a + b\n    rturn totl", "    total = a + b\n    return total"),
    ],
)
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_what_is_wrong_is_mended_and_nothing_else(wrong: str, right: str, ends: str) -> None:
    text = SOURCE.replace(right, wrong)
    assert text != SOURCE
    text, whole = text.replace("\n", ends), SOURCE.replace("\n", ends)
    mended, found = edit(Mender({wrong.strip("\n"): right.strip("\n")}), text)
    assert mended == whole
    assert found.reason is None
    # The rest of the file is not in the edit: cursors and folds stay.
    assert sum(change.end - change.start for change in found.changes) < 40


def test_right_code_is_left_alone() -> None:
    mended, found = edit(Mender({}), SOURCE)
    assert mended == SOURCE
    assert (found.changes, found.reason) == ((), "right")
    assert max(found.doubts) < 0.1


def test_the_task_and_the_block_reach_the_model() -> None:
    mender = Mender({})
    edit(mender, SOURCE, "    total = a + b", task="rename")
    assert set(mender.tasks) == {"rename"}
    assert set(mender.seen) == {"\n    total = a + b"}


def test_lines_without_an_old_idiom_cost_no_pass() -> None:
    """Nothing that the model could say of them would stand the way back."""
    mender = Mender({})
    text = SOURCE.replace("a + b", "dict()")
    assert edit(mender, text, "    return total", task="modernise")[1].passes == 0
    assert not mender.seen
    assert edit(mender, text, "    total = dict()", task="modernise")[1].passes > 0
    assert set(mender.tasks) == {"modernise"}


def test_only_the_block_is_edited() -> None:
    text = SOURCE.replace("import os", "improt os").replace("return", "retrun")
    mended, _ = edit(Mender({"improt": "import", "retrun": "return"}), text, "    retrun total")
    assert mended == SOURCE.replace("import os", "improt os")


def test_a_small_gain_is_not_enough() -> None:
    text = SOURCE.replace("return", "retrun")
    mended, found = edit(Mender({"retrun": "return"}, eager=0.01), text)
    assert (mended, found.reason) == (text, "no gain")
    assert edit(Mender({"retrun": "return"}, eager=0.01), text, least_gain=0.01)[0] == SOURCE


def test_what_the_head_and_the_canvas_think_counts_as_measured() -> None:
    text = SOURCE.replace("return", "retrun")
    mender = Mender({"retrun": "return"}, eager=0.01)
    prompt = EditPrompt(text, 0, len(text), "fix", "python")

    def found(**weights: float) -> Edit:
        with torch.inference_mode():
            return drive(Editor(mender, calibration=EditCalibration(**weights)).begin(prompt), mender)  # type: ignore[arg-type]

    assert found().changes == ()
    by_reading = found(reading=1.0)
    assert applied(text, by_reading.changes) == SOURCE
    assert any(text[: one.start] + one.new + text[one.end :] == SOURCE for one in by_reading.looked)
    assert by_reading.changes[0].gain > 5.0
    less = found(reading=1.0, fill=1.0).changes[0].gain
    assert less < by_reading.changes[0].gain, "the canvas is never wholly sure"


def test_the_odds_of_a_reading() -> None:
    odds = torch.tensor([2.0, -3.0])
    missing = torch.tensor([[0.5, 0.25, 0.25], [0.8, 0.1, 0.1], [0.1, 0.2, 0.7]]).log()
    assert evidence(odds, missing, Operations([False, False], [0, 0, 0])) == 0.0
    assert evidence(odds, missing, Operations([True, True], [0, 0, 0])) == pytest.approx(-1.0)
    assert evidence(odds, missing, Operations([False, False], [1, 0, 9])) == pytest.approx(math.log(0.5) + math.log(7))


def test_what_breaks_the_file_is_not_returned() -> None:
    mended, found = edit(Mender({"a + b": "a + ("}), SOURCE)
    assert (mended, found.reason) == (SOURCE, "syntax")


def test_what_modernises_stands_the_way_back() -> None:
    text = "def f(a: Optional[str] = None):\n    return a\n"
    for right, allowed in (("str | None", True), ("int | None", False)):
        mended, found = edit(Mender({"Optional[str]": right}), text, task="modernise")
        assert mended == (text.replace("Optional[str]", right) if allowed else text)
        assert found.reason == (None if allowed else "no way back")
    assert "int | None" in edit(Mender({"Optional[str]": "int | None"}), text, task="fix")[0]


def test_only_python_is_modernised() -> None:
    text = "function f(a) {\n    return a == null;\n}\n"
    mender = Mender({"a == null": "a === null"})
    for language in ("javascript", None):
        prompt = EditPrompt(text, 0, len(text), "modernise", language)
        with torch.inference_mode():
            found = drive(Editor(mender).begin(prompt, EditOptions(least_gain=-30.0)), mender)
        assert (found.changes, found.reason) == ((), "no way back")


def test_of_several_changes_those_that_stand_it_are_made() -> None:
    text = "def f(a):\n    b = dict()\n    log(a, b)\n    return b\n"
    mended, _ = edit(Mender({"dict()": "{}", "    log(a, b)\n": ""}), text, task="modernise")
    assert mended == text.replace("dict()", "{}")


def test_what_a_canvas_cannot_write_is_guessed_line_by_line() -> None:
    text = "def f(a):\n    b = '%s of %s' % (a, len(a))\n    return b\n"
    right = {"'%s of %s' % (a, len(a))": "f'{a} of {len(a)}'"}
    assert edit(Blind(right), text, task="modernise")[0] == text.replace(*next(iter(right.items())))


class Blind(Mender):
    def denoise(self, state: FakeState, canvas: Tensor, wanted: Tensor) -> Tensor:
        return torch.zeros(*canvas.shape, self.tokenizer.vocab_size)[wanted]


def test_the_guess_goes_on_as_the_block_does() -> None:
    ids = [1, 2, 3, 4, 5, 2, 3, 9, 8]
    assert looked_up(ids, [7, 2, 3]) == [9, 8]
    assert looked_up(ids, [1, 2, 3]) == [4, 5, 2, 3, 9, 8]
    assert looked_up(ids, [4]) == [5, 2, 3, 9, 8]
    assert looked_up(ids, [6]) == ()
    assert looked_up(ids, []) == ()


def test_an_edit_is_worse_where_it_breaks_the_file() -> None:
    assert not worse("x = 1\n", "y = 2\n", "python")
    assert worse("x = 1\n", "x = = 1\n", "python")
    assert worse("def f():\n    return 1\n", "return 1\n\ndef f():\n    return 1\n", "python")
    assert not worse("return 1\n", "return 2\n", "python")
    assert worse("x = 1\n", "break\nx = [1\n", "python")


def test_edits_that_do_not_hold_together_are_not_made_together() -> None:
    text = "try:\n    go()\nexcept A:\n    mend()\nfinally:\n    close()\n"
    request = _Request(Editor(Mender({})), EditPrompt(text, 0, len(text), "fix", "python"), EditOptions(), Pace())
    one, other = "\nexcept A:\n    mend()", "\nfinally:\n    close()"
    for part, gain in ((one, 2.0), (other, 5.0)):
        request.pieces.append((text.index(part), text.index(part) + len(part), "", gain))
    assert applied(text, request.done()) == text.replace(other, "")


def test_a_long_block_is_edited_in_windows() -> None:
    lines = [f"value_{i} = compute({i})" for i in range(60)]
    lines[3], lines[50] = "value_3 = compute(3", "value_50 == compute(50)"
    right = {"compute(3\n": "compute(3)\n", "value_50 == c": "value_50 = c"}
    mender = Mender(right)
    mended, found = edit(mender, "\n".join(lines) + "\n")
    assert mended == "\n".join(f"value_{i} = compute({i})" for i in range(60)) + "\n"
    assert len(found.doubts) > 5
    assert all(len(mender.tokenizer.encode(text)) <= mender.max_hole for text in mender.seen)


def test_a_byte_order_mark_stays_and_is_not_shown_to_the_model() -> None:
    mender = Mender({"imprt": "import"})
    text = "\ufeff" + SOURCE.replace("import", "imprt")
    mended, found = edit(mender, text)
    assert mended == "\ufeff" + SOURCE
    assert [(one.start, one.end) for one in found.changes] == [(1, 6)]
    assert mender.seen
    assert not any("\ufeff" in one for one in mender.seen)


def test_from_scratch_the_same_comes_out() -> None:
    text = SOURCE.replace("return", "retrun")
    assert edit(Mender({"retrun": "return"}), text, "    retrun total", mode="causal")[0] == SOURCE


def test_cancelled_and_out_of_time() -> None:
    text = SOURCE.replace("return", "retrun")
    prompt = EditPrompt(text, 0, len(text), "fix", "python")
    mender = Mender({"retrun": "return"})
    with torch.inference_mode():
        found = drive(Editor(mender).begin(prompt, should_stop=lambda: True), mender)
        assert (found.changes, found.reason) == ((), "cancelled")
        clock = iter(range(1000))
        late = drive(Editor(mender, clock=lambda: next(clock)).begin(prompt, EditOptions(budget_ms=1)), mender)
    assert late.reason == "budget"


def test_a_model_that_cannot_edit_says_so() -> None:
    mender = Mender({}, inserts=0)
    with pytest.raises(ValueError, match="not trained to edit"):
        edit(mender, SOURCE)


@pytest.mark.parametrize("wrong", [{"rounds": 0}, {"steps": 0}, {"budget_ms": 0}, {"mode": "both"}, {"seed": -1}])
def test_bad_options_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        EditOptions(**wrong)


@given(st.lists(st.integers(-8, 8), min_size=1, max_size=12), st.data())
@settings(max_examples=50)
def test_readings_are_different_and_change_something(odds: list[int], data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.integers(0, 5), min_size=len(odds) + 1, max_size=len(odds) + 1))
    missing = torch.full((len(rows), 6), -4.0)
    missing[torch.arange(len(rows)), torch.tensor(rows)] = 0.0
    plans = readings(torch.tensor(odds).float(), missing.log_softmax(-1), 0.1)
    assert all(any(plan.wrong) or any(plan.inserts) for plan in plans)
    assert len({(tuple(plan.wrong), tuple(plan.inserts)) for plan in plans}) == len(plans)
    assert all(max(plan.inserts) <= 4 for plan in plans), "'more' is no number of tokens"
    if max(odds) > 0:
        assert Operations([x >= 0 for x in odds], plans[0].inserts).wrong == plans[0].wrong
