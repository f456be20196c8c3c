"""Guesses for the causal head: from drafts, then from what followed the last tokens before."""

import pytest

from infill.lookahead import MOST, Lookahead


@pytest.mark.parametrize(
    ("context", "drafts", "written", "guessed"),
    [
        ([], [], [7], []),
        ([], [[7, 8, 9]], [7], [8, 9]),
        ([], [[7, 8, 9]], [7, 8, 9], []),
        ([], [[6, 8], [7, 9]], [7], [9]),
        ([1, 2, 3, 4, 5], [], [9, 1, 2], [3, 4, 5, 9, 1, 2]),
        ([1, 2, 3, 4, 1, 2, 5, 6], [], [1, 2], [5, 6, 1, 2]),  # the last place
        ([8, 1, 2, 3, 4, 9, 1, 2, 5, 6], [], [8, 1, 2], [3, 4, 9, 1, 2, 5]),  # the longest match
        ([1, 2, 3], [[1, 2, 7]], [1, 2], [7]),  # a draft before a match
        ([2, 3], [], [2], []),  # one token says nothing
    ],
)
def test_guesses(context: list[int], drafts: list[list[int]], written: list[int], guessed: list[int]) -> None:
    assert Lookahead(context, drafts).guess(written) == guessed


def test_a_guess_is_short() -> None:
    assert len(Lookahead(range(100, 200), []).guess([100, 101])) == MOST
