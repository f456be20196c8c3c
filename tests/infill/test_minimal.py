"""Edits between two texts, and made in one."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infill.minimal import minimal, spliced


@given(st.text(max_size=60), st.text(max_size=60), st.randoms())
def test_minimal_edits_make_the_new_text_in_any_order(old: str, new: str, order: Random) -> None:
    edits = minimal(old, new)
    order.shuffle(edits)
    assert spliced(old, edits) == new
    assert minimal(old, old) == []


@pytest.mark.parametrize(
    ("edits", "text"),
    [
        ([], "abcdef"),
        ([(0, 6, "")], ""),
        ([(6, 6, "!"), (0, 0, "?")], "?abcdef!"),
        ([(2, 2, "1"), (2, 2, "2")], "ab12cdef"),
        ([(2, 4, "-"), (2, 2, "<")], "ab<-ef"),
        ([(4, 4, ">"), (2, 4, "-")], "ab->ef"),
        ([(3, 5, "long enough"), (1, 2, "")], "aclong enoughf"),
    ],
)
def test_edits_are_made_where_they_are_said(edits: list[tuple[int, int, str]], text: str) -> None:
    assert spliced("abcdef", edits) == text


@pytest.mark.parametrize("edits", [[(0, 3, ""), (2, 4, "")], [(5, 7, "")], [(3, 2, "")], [(1, 3, "a"), (2, 2, "b")]])
def test_edits_that_overlap_or_reach_out_are_a_mistake_of_ours(edits: list[tuple[int, int, str]]) -> None:
    with pytest.raises(AssertionError):
        spliced("abcdef", edits)
