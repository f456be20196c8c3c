"""Copies from other texts: the places that are looked at, and what is taken from them."""

import time

import pytest

from infill.borrowing import ENOUGH, MOST, OTHERS, borrowed, cursor_of, places_in
from infill.places import drafts


def texts(prefix: str, *others: str, suffix: str = "\n", count: int = 4, one_line: bool = True) -> list[str]:
    return [one.text for one in borrowed(prefix, suffix, others, count, one_line=one_line)]


def test_the_longer_match_comes_first_from_whichever_text() -> None:
    assert texts("self.size", "other.size = two\n", "self.size = one\n") == [" = one", " = two"]


def test_a_line_is_found_by_the_one_above_it_or_the_one_below() -> None:
    other = "import json\nimport os\n\ndef first():\n    start()\n    work()\n    stop()\n"
    assert texts("def second():\n    start()\n    ", other) == ["work()"]
    assert texts("def second():\n    ", other, suffix="\n    stop()\n")[0] == "work()"
    assert texts("import io\n", other, suffix="\nimport operator\n")[0] == "import json", "alike will do"
    assert texts("wholly = 1\nother = 2\n", other) == []


def test_names_become_those_around_the_cursor() -> None:
    other = "def set_width(self, width):\n    check(width)\n    self.width = width\n"
    assert texts("def set_height(self, height):\n    check(height)\n    ", other)[0] == "self.height = height"


def test_several_lines_where_they_meet_the_suffix() -> None:
    other = "if ready:\n    first()\n    second()\ndone()\n"
    prefix = "while True:\n    if ready:\n        "
    assert texts(prefix, other, suffix="\n    done()\n", one_line=False)[0] == "first()\n        second()"
    assert "\n" not in "".join(texts(prefix, other, suffix="\n    done()\n"))


def test_line_ends_do_not_matter() -> None:
    assert texts("a = 1\r\nself.si", "b\r\nself.size = 2\r\n") == ["ze = 2"]


def test_a_place_says_on_which_lines_it_stands() -> None:
    [place] = places_in("\n\nfirst\n\nself.size = 2\n", cursor_of("self.si", "\n", one_line=True))
    assert (place.text, place.first, place.stop) == ("ze = 2", 4, 5)


def test_as_in_the_file_itself() -> None:
    """What stands in another text is found as if it stood in this one."""
    other = "".join(f"def f_{i}(x):\n    y = call_{i}(x)\n    return y + {i}\n\n" for i in range(ENOUGH // 2))
    prefix, suffix = "def g(x):\n    y = call_3(", "\n    return y + 3\n"
    assert texts(prefix, other, suffix=suffix)[0] == drafts(other + prefix, suffix, 4, one_line=True)[0].text == "x)"


def test_long_texts_cost_no_more_than_a_limit() -> None:
    far = "x" * OTHERS + "\nself.late\n"
    assert texts("y = self", far) == []
    assert texts("y = self", "x" * OTHERS, "self.late\n") == []
    assert texts("y = self", "self.late\n", far) == [".late"]


def test_one_text_over_and_over_takes_no_time() -> None:
    cursor = cursor_of("self.value = value\nself.", "\nself.value = value\n", one_line=False)
    assert 0 < len(list(places_in("self.value = value\n" * 5000, cursor))) <= 6 * MOST
    began = time.process_time()
    texts("a" * 100_000, "a" * 1_000_000, suffix="a" * 100_000)
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("prefix", "suffix", "other"),
    [
        ("", "", ""),
        ("", "", "x\n"),
        ("x", "\n", "\n\n"),
        ("  ", "", "y"),
        ("\t", "\n\n", "z\f\x1c\n"),
        ("x = ", "", "x = "),
    ],
)
def test_there_may_be_nothing_to_copy(prefix: str, suffix: str, other: str) -> None:
    assert texts(prefix, other, suffix=suffix) == []
