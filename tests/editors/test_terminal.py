"""How a terminal's sequences are read."""

import pytest

from tests.editors.terminal import styled


@pytest.mark.parametrize(
    ("style", "codes", "after"),
    [
        ((), "38;2;79;82;88", ("38;2;79;82;88",)),
        (("38;2;79;82;88", "1"), "31", ("1", "31")),
        (("38;5;8", "48;5;0", "1"), "39", ("48;5;0", "1")),
        (("38;5;8", "48;5;0", "1"), "", ()),
        (("4", "31"), "0;1;44", ("1", "44")),
        (("44", "31", "4"), "49", ("31", "4")),
        (("4", "44"), "24", ("44",)),
        (("1", "2"), "22", ()),
        (("3", "9", "91"), "32", ("3", "9", "32")),
    ],
)
def test_what_holds_after_a_sequence(style: tuple[str, ...], codes: str, after: tuple[str, ...]) -> None:
    assert styled(style, codes) == after
