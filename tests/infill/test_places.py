"""Copies from the file itself: which places are like the cursor's, and what is taken from them."""

import time

import pytest

from infill import places
from infill.analogies import renamed
from infill.places import drafts


def texts(prefix: str, suffix: str = "\n", count: int = 4, *, one_line: bool = True) -> list[str]:
    return [one.text for one in drafts(prefix, suffix, count, one_line=one_line)]


def test_the_longer_match_before_the_cursor_comes_first() -> None:
    prefix = "self.size = one\nother.size = call(2)\nself.size = one\nself.size"
    found = drafts(prefix, "", 4, one_line=True)
    assert [one.text for one in found] == [" = one", " = call(2)"]
    assert found[0].matched > found[1].matched >= 3
    assert found[0].evidence > found[1].evidence


def test_what_stands_behind_the_text_decides_between_places_with_the_same_beginning() -> None:
    both = "x = self.one\nuse(x)\n\nx = self.two\nstore(x)\n\n"
    assert texts(both + "x = self.", "\nuse(x)\n")[0] == "one"
    assert texts(both + "x = self.", "\nstore(x)\n")[0] == "two"


def test_a_whole_line_is_found_by_the_lines_around_it_alone() -> None:
    method = "    def {0}(self):\n        with self.lock:\n            self.count()\n        return self.{0}s\n\n"
    before = method.format("item") + "    def other(self):\n        with self.lock:\n            "
    assert texts(before, "\n        return self.others\n")[0] == "self.count()"


def test_a_place_behind_the_cursor_counts_too() -> None:
    assert texts("a = call(", "\n\nb = call(first, second)\n") == ["first, second)"]


def test_the_same_text_at_many_places_gains() -> None:
    lines = "".join(f"value_{i} = get(key)\n" for i in range(5))
    prefix = lines + "near = get(other)\nlast = get("
    once = drafts(lines.split("\n")[0] + "\nnear = get(other)\nlast = get(", "\n", 4, one_line=True)
    many = drafts(prefix, "\n", 4, one_line=True)
    assert once[0].text == "other)"
    assert many[0].text == "key)"


def test_the_text_ends_where_the_cursors_own_line_goes_on() -> None:
    assert texts("call(alpha, beta)\ncall(al", ", beta)\n") == ["pha"]
    assert texts("call(bar(x), y)\ncall(", ")\n") == ["bar(x), y"], "the last bracket, not the first"


def test_whole_lines_up_to_the_suffix_are_taken_where_more_than_one_may_be_wanted() -> None:
    block = "{0}if ready:\n{0}    first()\n{0}    second()\n{0}done()\n"
    prefix = "def f():\n" + block.format("    ") + "\ndef g():\n    while True:\n        if ready:\n            "
    found = texts(prefix, "\n        done()\n", one_line=False)
    assert found[0] == "first()\n            second()", "indented as the cursor is"
    assert "first()" in found
    assert "\n" not in "".join(texts(prefix, "\n        done()\n"))


def test_at_the_beginning_of_a_line_indentation_is_written_too() -> None:
    prefix = "def f():\n    first()\n    second()\n\ndef g():\n    first()\n"
    assert texts(prefix, "\n")[0] == "    second()"
    block = "def f():\n    first()\n    if ready:\n        second()\n    third()\n\ndef g():\n    first()\n"
    assert texts(block, "\n    third()\n", one_line=False)[0] == "    if ready:\n        second()"


SETTERS = """class Box:
    def set_width(self, width):
        check(width)
        self.width = width

    def set_height(self, height):
        check(height)
        """


def test_names_become_those_around_the_cursor() -> None:
    assert texts(SETTERS, "\n")[0] == "self.height = height"
    whole = drafts(SETTERS + "self.height = ", "\n", 4, one_line=True)
    assert whole[0].text == "height"
    other = SETTERS.replace("def set_height(self, height)", "def test(self, height)").replace("check(height)", "test()")
    assert "self.height = height" not in texts(other, "\n"), "nothing near asks for it"


@pytest.mark.parametrize(
    ("text", "theirs", "ours", "made"),
    [
        ("self.width = width", "check(width)", "check(height)", "self.height = height"),
        ("MAX_WIDTH = get_width()", "def set_width(x):", "def set_height(x):", "MAX_HEIGHT = get_height()"),
        ("setWidth(oldWidth)", "width = 1", "height = 1", "setHeight(oldHeight)"),
        ("a2 = b2", "a1 = b1", "a2 = b2", None),
        ("row[1] = x[1]", "row[1] = y[1]", "row[2] = y[2]", "row[2] = x[2]"),
        ("self.width", "check(width)", "check(width)", None),
        ("self.width", "check(width)", "a wholly, different(line)", None),
        ("width", "a b c width", "d e f height", None),
        ("", "a = 1", "b = 1", None),
    ],
)
def test_what_two_lines_ask_for(text: str, theirs: str, ours: str, made: str | None) -> None:
    found = renamed(text, [(theirs, ours)])
    assert (found and found[0]) == made


def test_what_stays_the_same_speaks_against_a_change() -> None:
    once, same = ("get(width)", "get(height)"), ("use(width, 1)", "use(width, 2)")
    assert renamed("width", [once, once, same]) == ("height", 2)
    assert renamed("width", [same, same, once]) is None


@pytest.mark.parametrize(
    ("prefix", "suffix"),
    [("", ""), ("\n", "\n"), ("x", "\n"), ("  ", ""), ("unlike = 1\nnothing", "\n"), ("\t", "\n\n")],
)
def test_there_may_be_nothing_to_copy(prefix: str, suffix: str) -> None:
    assert texts(prefix, suffix) == []


def test_a_line_of_one_character_over_and_over_takes_no_time() -> None:
    began = time.process_time()
    drafts("a" * 1_000_000, "a" * 1_000_000 + "\n" + "a" * 1_000_000, 8, one_line=False)
    assert time.process_time() - began < 2


def test_the_next_key_reads_no_line_again() -> None:
    """Nor where the file is longer than what is looked through, whose beginning moves along."""
    above, below = "value = compute(first, second)\n" * 1200, "\n" + "print(value)\n" * 40
    list(places.places(above + "value = comp", below, one_line=True))
    before = places._read.cache_info()
    list(places.places(above + "value = compu", below, one_line=True))
    after = places._read.cache_info()
    assert (after.hits - before.hits, after.misses - before.misses) == (2, 0)
