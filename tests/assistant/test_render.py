import io
from dataclasses import replace

import pytest
from rich.console import Console

from assistant.render import Sharpening, draft_text, in_place, stages, summary
from assistant.types import Completion, CompletionResult, Draft

DRAFTS = (
    Draft(1, "draft", ("self", None, None), (0.97, 0.0, 0.0)),
    Draft(2, "draft", ("self", ".", "values"), (0.97, 0.6, 0.2)),
)


def completion(text: str, start: int) -> Completion:
    return Completion(text, start, start, score=-1.0, confidence=0.5, verdict="valid", tokens=3, origin="canvas")


def draw(text: str, answer: Completion, *, colour: bool = False) -> str:
    screen = io.StringIO()
    console = Console(file=screen, width=80, force_terminal=colour, color_system="truecolor" if colour else None)
    console.print(in_place(text, answer, filename="a.py", colour=colour))
    return screen.getvalue()


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_the_answer_stands_on_its_line(mark: str, newline: str) -> None:
    before = f"{mark}a = 1{newline}b = "
    screen = draw(before + newline + "c = 3", completion("2", len(before)))
    assert [line.rstrip() for line in screen.splitlines()] == ["  1 a = 1", "  2 b = ⟦2⟧", "  3 c = 3"]


def test_only_the_lines_around_are_shown() -> None:
    text = "".join(f"x{i} = {i}\n" for i in range(1, 101))
    screen = draw(text, completion("0", text.index("\nx51")))
    assert "x50 = 50⟦0⟧" in screen
    assert "x44 " in screen
    assert "x56 " in screen
    assert "x43 " not in screen
    assert "x57 " not in screen


def test_what_was_inserted_has_a_background_and_the_rest_has_none() -> None:
    lines = draw("a = \nb = 2\n", completion("1 +\\\n    3", 4), colour=True).splitlines()
    assert ["48;2;36;68;44" in line for line in lines[:3]] == [True, True, False]


def test_confidence_is_a_colour() -> None:
    text = draft_text(DRAFTS[1])
    assert text.plain == "self.values"
    assert [str(span.style) for span in text.spans] == ["bold green", "yellow", "red"]
    assert draft_text(DRAFTS[0]).plain == "self░░"


@pytest.mark.parametrize("terminal", [True, False])
def test_every_draft_is_shown(terminal: bool) -> None:
    screen = io.StringIO()
    with Sharpening(Console(file=screen, width=80, force_terminal=terminal, color_system=None)) as show:
        for draft in DRAFTS:
            show(draft)
    drawn = screen.getvalue()
    assert "self░░" in drawn
    assert "self.values" in drawn
    assert "draft 2" in drawn


def test_the_summary_says_what_it_took_and_what_came_of_it() -> None:
    timing = {"total": 12.3}
    full = CompletionResult((completion("x", 0),), steps=4, passes=7, timing_ms=timing)
    assert summary(full) == (
        "12 ms, denoised on a canvas in 4 steps (7 passes), 3 tokens, confidence 0.50, syntax checked"
    )
    assert summary(CompletionResult((), 1, 2, timing, "empty")) == "12 ms, 1 denoising step, 2 passes"


@pytest.mark.parametrize(
    ("origin", "steps", "said"),
    [
        ("causal", 0, "written by the causal head without a canvas (3 passes)"),
        ("causal", 1, "written by the causal head, chosen over a canvas of 1 step (3 passes)"),
        ("copy", 4, "copied from elsewhere, chosen over a canvas of 4 steps (3 passes)"),
        ("repair", 6, "denoised on a canvas, again where it was wrong in 6 steps (3 passes)"),
    ],
)
def test_the_summary_says_who_wrote_the_answer(origin: str, steps: int, said: str) -> None:
    made = replace(completion("x", 0), origin=origin, tokens=1)
    assert summary(CompletionResult((made,), steps, 3, {})) == f"0 ms, {said}, 1 token, confidence 0.50, syntax checked"


def test_stages_are_a_line_each() -> None:
    screen = io.StringIO()
    drafts = (
        replace(DRAFTS[0], tokens=("if x:\n    ", None, None)),
        replace(DRAFTS[1], tokens=("long " * 20, ".", "y")),
    )
    stages(drafts, Console(file=screen, width=30, color_system=None))
    assert screen.getvalue() == "   1 if x:⏎    ░░\n   2 long long long long long…\n"
