"""Which blocks: drawn as the lines of a text, and the names of what was found."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.errors import RequestError
from assistant.refactor.places import places
from assistant.refactor.select import Block, Text, Wanted, check_query

PYTHON = '''import os

LIMIT = 1


@cache
def outer(a):
    def inner():
        return a
    return inner


class Shape:
    """Doc."""

    side = 1

    def area(self):
        if self.side:
            return 1
        return 2

    @property
    def size(self):
        return 3


async def last(): return 1; pass
'''


def found(text: str, language: str = "python", **wanted: object) -> list[tuple[int, int, str, str]]:
    blocks = Text(text, language).blocks(Wanted(**wanted))  # type: ignore[arg-type]
    check(text, blocks)
    return [(one.first, one.last, one.kind, one.name) for one in blocks]


def check(text: str, blocks: list[Block]) -> None:
    """Whole lines, in order, none of them twice."""
    at = 0
    lines = text.split("\n")
    for one in blocks:
        assert at <= one.start < one.end <= len(text)
        assert one.start == 0 or text[one.start - 1] == "\n"
        assert one.end == len(text) or text[one.end - 1] == "\n"
        assert text[one.start : one.end].rstrip("\n") == "\n".join(lines[one.first - 1 : one.last]).rstrip("\n")
        at = one.end


def test_kinds() -> None:
    functions = [(6, 10, "function", "outer"), (18, 21, "method", "area"), (23, 25, "method", "size")]
    assert found(PYTHON) == [*functions, (28, 28, "function", "last")]
    assert found(PYTHON, kind="method") == functions[1:]
    assert found(PYTHON, kind="class") == [(13, 25, "class", "Shape")]
    assert found(PYTHON, kind="statement") == [
        (1, 1, "statement", ""), (3, 3, "statement", ""), (9, 9, "statement", ""), (10, 10, "statement", ""),
        (14, 14, "statement", ""), (16, 16, "statement", ""), (19, 20, "statement", ""), (21, 21, "statement", ""),
        (25, 25, "statement", ""), (28, 28, "statement", ""),
    ]  # fmt: skip


def test_names_and_queries() -> None:
    assert [one[3] for one in found(PYTHON, name=re.compile("^s"))] == ["size"]
    assert [one[3] for one in found(PYTHON, name=re.compile("e"))] == ["outer", "area", "size"]
    query = "(if_statement consequence: (_) @_inside) @branch (class_definition name: (_) @name)"
    assert found(PYTHON, query=query) == [(13, 13, "name", ""), (19, 20, "branch", "")]
    for wrong in ("(if_statement", "(no_such_node) @x", "(if_statement)"):
        with pytest.raises(RequestError, match="--query"):
            found(PYTHON, query=wrong)
    assert check_query("(arrow_function) @f", ["python", "javascript", "typescript"]) == ["javascript", "typescript"]


def test_around_lines() -> None:
    def around(*lines: int, **wanted: object) -> tuple[list[tuple[int, int]], list[int]]:
        blocks, missed = Text(PYTHON, "python").around(lines, Wanted(**wanted))  # type: ignore[arg-type]
        return [(one.first, one.last) for one in blocks], missed

    assert around(19, 20, 6, 9) == ([(6, 10), (18, 21)], []), "a line of an inner function and one of the outer one"
    assert around(8) == ([(8, 9)], [])
    assert around(3, 16, 2, 99) == ([(3, 3), (16, 16)], [2, 99]), "outside of functions it is the statement"
    assert around(14, 19, kind="class") == ([(13, 25)], [])
    assert around(3, 19, kind="class") == ([(3, 3), (13, 25)], [])
    assert around(19, 3, name=re.compile("area")) == ([(18, 21)], [3])
    assert around(20, 24, query="(if_statement) @x") == ([(19, 20)], [24])


BROKEN = "def right():\n    return 1\n\n\ndef wrong(a)\n    return a\n\n\nx = (1\n"


def test_what_does_not_parse_is_a_block_too() -> None:
    assert ("right", "function") in [(name, kind) for _, _, kind, name in found(BROKEN)]
    blocks = Text(BROKEN, "python").blocks(Wanted(broken=True))
    check(BROKEN, blocks)
    lines = {line for one in blocks for line in range(one.first, one.last + 1)}
    assert {5, 9} <= lines
    assert found(BROKEN, broken=True, name=re.compile("right")) == [(1, 2, "function", "right")]


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        (
            "javascript",
            "export function f() {\n  return 1\n}\nconst g = () => 1\nclass A {\n  m() { return 2 }\n}\n",
            "fgm",
        ),
        ("go", "package p\n\nfunc f() {\n}\n\nfunc (a A) m() {\n}\n", "fm"),
        ("rust", "fn f() {}\n\nimpl A {\n    fn m(&self) {}\n}\n", "fm"),
        ("java", "class A {\n    int m() { return 1; }\n}\n", "m"),
        ("ruby", "def f\n  1\nend\n", "f"),
        ("bash", "f() {\n  echo é\n}\n", "f"),
    ],
)
def test_other_languages(language: str, text: str, expected: str) -> None:
    assert "".join(one[3] for one in found(text, language)) == expected


@given(st.text(alphabet="ab(=:\n\r \tdefx'é", max_size=80), st.integers(1, 12), st.integers(0, 12))
def test_whole_covers_every_line_with_something_on_it(text: str, first: int, more: int) -> None:
    one = Text(text, "python")
    blocks = one.whole(first, first + more)
    check(text, blocks)
    covered = {line for block in blocks for line in range(block.first, block.last + 1)}
    lines = text.split("\n")
    wanted = {n for n, line in enumerate(lines, 1) if line.strip() and first <= n <= first + more}
    assert wanted <= covered
    assert all(first <= line <= first + more for line in covered)


@given(st.text(alphabet="ab(=:\n\r \tdefclass'é", max_size=120), st.sampled_from(["function", "class", "statement"]))
def test_any_text_has_whole_blocks(text: str, kind: str) -> None:
    check(text, Text(text, "python").blocks(Wanted(kind, broken=True)))


def test_places_as_other_programs_write_them() -> None:
    lines = """
a.py:3:1: E501 line too long
./src/b c.py:17:    total = 1
\x1b[1ma.py\x1b[0m\x1b[36m:\x1b[0m5:2
  --> src/d.rs:9:12
Found 3 errors.
http://example.org:80/
x.py:0:1
x.py:12abc
""".splitlines()
    assert places(lines) == ({"a.py": [3, 5], "./src/b c.py": [17], "src/d.rs": [9]}, 4)
    with pytest.raises(RequestError, match="names no place"):
        places(["nothing", ""])
