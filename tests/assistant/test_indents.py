"""Wrong indentation: corrected where Python's parser says that there is some, and by no other edit than of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.indents import reindented
from assistant.rules import by_rule
from assistant.types import EditRequest
from infill.program import compiles

RIGHT = {
    "a function": "def f(a):\n    b = a\n    c = b\n    return c\n",
    "a method": (
        "class A:\n    def f(self):\n        x = 1\n        y = 2\n        return x\n\n    def g(self):\n        pass\n"
    ),
    "a branch": "def f(a):\n    if a:\n        return 1\n    else:\n        return 2\n",
    "a handler": "def f(a):\n    try:\n        b = g(a)\n    except ValueError:\n        b = 0\n    return b\n",
    "tabs": "def f(a):\n\tb = a\n\treturn b\n",
    "two blanks": "def f(a):\n  if a:\n    b = a\n    return b\n  return 0\n",
    "comments": "def f(a):\n    # first\n    b = a\n    # then\n    return b\n",
    "a text of several lines": 'def f(a):\n    b = """x\ny\n  z"""\n    return b\n',
}  # fmt: skip
MOVED = [
    # in what, which line, by how much
    ("a function", 1, -4), ("a function", 2, 4), ("a function", 2, 1), ("a function", 2, -4), ("a function", 3, 1),
    ("a function", 3, -4), ("a method", 2, 4), ("a method", 2, -4), ("a method", 3, -4), ("a method", 4, -4),
    ("a method", 7, -4), ("a branch", 2, -4), ("a branch", 4, -4), ("a branch", 3, 4), ("a handler", 2, -4),
    ("a handler", 3, 1), ("a handler", 5, 1), ("tabs", 1, -1), ("tabs", 2, 1), ("two blanks", 2, -2),
    ("two blanks", 3, 2), ("a text of several lines", 1, 2), ("a text of several lines", 4, 1),
]  # fmt: skip


def moved(text: str, rows: range, by: int) -> str:
    lines = text.split("\n")
    for row in rows:
        sign = "\t" if lines[row].startswith("\t") else " "
        lines[row] = sign * by + lines[row] if by > 0 else lines[row][-by:]
    return "\n".join(lines)


def whole(text: str) -> str:
    for one in reversed(reindented(text, [(0, len(text))])):
        text = one.of(text)
    return text


@pytest.mark.parametrize(("name", "row", "by"), MOVED)
def test_one_line_is_put_back(name: str, row: int, by: int) -> None:
    wrong = moved(RIGHT[name], range(row, row + 1), by)
    assert wrong != RIGHT[name]
    assert whole(wrong) == RIGHT[name]
    assert whole(wrong.replace("\n", "\r\n")) == RIGHT[name].replace("\n", "\r\n")


@pytest.mark.parametrize(
    ("name", "rows", "by"),
    [
        ("a function", range(2, 4), 4),
        ("a function", range(1, 4), -4),
        ("a method", range(3, 5), -4),
        ("a method", range(2, 5), -4),
        ("comments", range(1, 5), -4),
        ("comments", range(3, 5), 4),
        ("two blanks", range(2, 4), -2),
    ],
)
def test_lines_in_a_row_are_put_back(name: str, rows: range, by: int) -> None:
    assert whole(moved(RIGHT[name], rows, by)) == RIGHT[name]


def test_what_follows_a_function_inside_of_another_is_not_its_body() -> None:
    right = "def f(g):\n    def h(x):\n        y = g(x)\n        return y\n\n    return h\n"
    assert whole(moved(right, range(2, 4), -4)) == right


def test_what_is_right_or_wrong_in_another_way_is_left_alone() -> None:
    for text in (
        *RIGHT.values(),
        "def f(a)\n    return a\n",
        "x = (\n",
        "",
        "\0",
        "  # only a comment\n",
        "if x = 1:\n    y\n",
    ):
        assert reindented(text, [(0, len(text))]) == []


def test_only_inside_of_the_blocks() -> None:
    wrong = moved(RIGHT["a function"], range(2, 3), 4)
    assert reindented(wrong, [(0, 10)]) == []
    asked = EditRequest(wrong, "fix", ((0, len(wrong)),), language="python")
    assert by_rule(asked).request.text == RIGHT["a function"]


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.sampled_from(["a = 1", "if a:", "else:", "return a", "def f(a):", "# a", ""]))
    )
)
def test_nothing_but_indentation_changes_and_it_gets_no_worse(rows: list[tuple[int, str]]) -> None:
    text = "".join(f"{' ' * depth}{code}\n" for depth, code in rows)
    new = whole(text)
    assert [line.strip() for line in new.split("\n")] == [line.strip() for line in text.split("\n")]
    if compiles(text):
        assert new == text
