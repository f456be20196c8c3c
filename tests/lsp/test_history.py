"""What was changed, against brute force: every span knows what stood there before."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsp.history import Change, History

EDITS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 6), st.text("xy", max_size=4)), max_size=12)


def reverted(text: str, history: History) -> str:
    for span in reversed(history.spans):
        text = text[: span.start] + span.old + text[span.end :]
    return text


@given(st.text("abc", max_size=30), EDITS)
def test_taking_back_all_spans_gives_the_first_text(text: str, edits: list[tuple[int, int, str]]) -> None:
    first, history = text, History()
    for at, length, new in edits:
        start = min(at, len(text))
        change = Change(start, text[start : start + length], new)
        text = text[:start] + new + text[change.end :]
        history.add([change], text)
        assert reverted(text, history) == first
        ends = [(span.start, span.end) for span in history.spans]
        assert all(before[1] < behind[0] for before, behind in itertools.pairwise(ends)), "spans are apart"


def test_a_name_typed_letter_by_letter_is_one_span() -> None:
    text, history = "x = old\n", History()
    for change in (
        Change(4, "old", ""),
        Change(4, "", "n"),
        Change(5, "", "e"),
        Change(6, "", "w"),
        Change(0, "x", "y"),
    ):
        text = text[: change.start] + change.inserted + text[change.end :]
        history.add([change], text)
    assert [(span.start, span.end, span.old) for span in history.spans] == [(0, 1, "x"), (4, 7, "old")]
    history.add([Change(4, "new", "old")], "y = old\n")
    assert [span.old for span in history.spans] == ["x"], "what is as it was is no change"


def test_a_change_of_much_text_is_no_edit_by_hand() -> None:
    history = History()
    history.add([Change(0, "a", "b")], "b" + "x" * 20_000)
    history.add([Change(0, "b" + "x" * 20_000, "c")], "c")
    assert history.spans == ()


@pytest.mark.parametrize(
    ("text", "deletions", "at", "expected"),
    [
        ("printer", ["r"], 6, True),  # a part of a word is left
        ("x = 1 ", [" "], 5, False),
        ("f(a)", [")"], 3, False),
        ("f(a))", [")", ")"], 3, True),  # one sign after the other
        ("word", ["word"], 0, False),  # all of it: something new may come
        ("word", ["d"], 0, False),  # the cursor is elsewhere
    ],
)
def test_deleting(text: str, deletions: list[str], at: int, expected: bool) -> None:
    history, now = History(), 100.0
    for removed in deletions:
        text = text[: len(text) - len(removed)]
        history.add([Change(len(text), removed, "")], text, now)
        now += 0.1
    assert history.deleting(text, at) == expected


def test_two_deletions_with_a_pause_are_no_burst() -> None:
    history = History()
    history.add([Change(4, ")", "")], "f(a)", 1.0)
    history.add([Change(3, ")", "")], "f(a", 9.0)
    assert not history.deleting("f(a", 3)
