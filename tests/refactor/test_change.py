"""The gate of a file: what parsed parses, and in Python only the blocks differ."""

import pytest

from assistant.refactor.change import Change, Outcome, outcome, outside, settled, wrong
from assistant.refactor.files import Original
from assistant.refactor.select import Block, Text
from assistant.types import TextEdit


def change(text: str, *edits: tuple[int, int, str, float], language: str = "python") -> Change:
    """Lines ``first`` to ``last`` become a text, and how much that gains."""
    tools = Text(text, language)
    outcomes = []
    for index, (first, last, new, gain) in enumerate(edits):
        block = tools._lines(first, last, "text")
        edit = TextEdit(block.start, block.end, new, index, gain)
        outcomes.append(outcome(text, block, [edit], None))
    return Change(Original("a.py", text.encode(), 0o644), language, tuple(outcomes))


PROGRAM = "import os\n\n\ndef f(a):\n    x = 1\n    return x\n\n\ndef g():\n    return 2\n"


@pytest.mark.parametrize(
    ("text", "edits", "expected"),
    [
        (PROGRAM, [(4, 6, "def f(a: int) -> int:\n    return 1\n", 1.0)], None),
        (PROGRAM, [(5, 5, "    x = 3\n", 1.0)], None),
        (PROGRAM, [(5, 5, "    x = 3\n    y = 4\n", 1.0), (10, 10, "    return 5\n", 1.0)], None),
        (PROGRAM, [(4, 4, "async def f(a: int, *, b=2):\n", 1.0)], None),
        (PROGRAM, [(4, 6, "def f(a:\n    return 1\n", 1.0)], "would not parse"),
        (PROGRAM, [(1, 1, "class A:\n", 1.0)], "would not parse"),
        ("if a:\n    b\n    c\nd\n", [(2, 2, "    if b:\n        b\n", 1.0)], None),
        ("if a:\n    b\nc\n", [(2, 2, "    b\nelse:\n    d\n", 1.0)], "would change what is outside of it"),
        ("if a:\n    b\nc\n", [(1, 2, "if a:\n    b\nelse:\n    d\n", 1.0)], None),
        ("def f():\n    a\n    b\n", [(2, 2, "    a\ndef g():\n", 1.0)], "would change what is outside of it"),
        ("a\nb\nc\n", [(2, 2, "'''\n", 1.0)], "would not parse"),
        ("a\nb\n'''\nc\n'''\n", [(2, 2, "'''\n", 1.0)], "would not parse"),
        ("class A:\n    def f(self):\n        pass\n\n    def g(self):\n        pass\n",
         [(2, 3, "    def f(self):\n        pass\n\nclass B:\n", 1.0)], "would change what is outside of it"),
        ("f(\n    a,\n    b,\n)\n", [(2, 2, "    aa,\n", 1.0)], None),
        ("f(\n    a,\n    b,\n)\n", [(2, 2, "    a + (\n", 1.0)], "would not parse"),
        ("x = '''\na\nb\n'''\n", [(2, 2, "c\n", 1.0)], "would change what is outside of it"),
        ("\ufeffa\r\nb\r\n", [(1, 1, "\ufeffc\r\n", 1.0)], None),
        ("a = 1\r# b\rc = 2\nd = 3\n", [(2, 2, "d = 4\n", 1.0)], None),
        ("def f(a)\n    pass\n", [(1, 1, "def f(a):\n", 1.0)], None),
        ("x = = 1\n\n\ny = 2\n", [(4, 4, "y = = 3\n", 1.0)], "would not parse"),
    ],
)  # fmt: skip
def test_the_gate(text: str, edits: list[tuple[int, int, str, float]], expected: str | None) -> None:
    assert wrong(change(text, *edits)) == expected


def test_what_fails_alone_is_left_out() -> None:
    found = settled(
        change(PROGRAM, (1, 1, "import sys\n", 0.5), (5, 5, "    x = (\n", 9.0), (10, 10, "    return 3\n", 1.0))
    )
    assert [one.reason for one in found.outcomes] == [None, "would not parse", None]
    assert found.text == PROGRAM.replace("import os", "import sys").replace("return 2", "return 3")


def test_of_what_does_not_fit_together_the_least_gain_goes() -> None:
    # Each of them alone is a program.
    found = settled(change("a\nb\n", (1, 1, "a +\n", 1.0), (2, 2, "\n", 2.0), language="javascript"))
    assert [one.reason for one in found.outcomes] == ["would not parse", None]


def test_what_holds_only_together_is_not_two_blocks() -> None:
    found = settled(change("a\nb\n", (1, 1, "(a,\n", 2.0), (2, 2, "b)\n", 1.0)))
    assert [one.reason for one in found.outcomes] == ["would not parse", "would not parse"]


@pytest.mark.parametrize(
    ("edits", "reason"),
    [
        ([TextEdit(0, 3, "b", 0, 1.0)], "outside of the block"),
        ([TextEdit(5, 6, "b", 0, 1.0), TextEdit(4, 5, "c", 0, 1.0)], "outside of the block"),
        ([TextEdit(4, 9, "b", 0, 1.0)], "outside of the block"),
        ([TextEdit(4, 4, "", 0, 1.0)], "right"),
        ([TextEdit(7, 8, "", 0, 1.0)], "joins lines with what follows"),
        ([TextEdit(4, 5, "\ud800", 0, 1.0)], "is no text"),
        ([], "right"),
    ],
)
def test_edits_that_are_none(edits: list[TextEdit], reason: str) -> None:
    block = Block(4, 8, 2, 2, "text")
    assert outcome("a=1\nb=2\nc=3\n", block, edits, None) == Outcome(block, reason)


def test_a_mark_keeps_its_place() -> None:
    assert outside("a\nb\nc\n", [(2, 2)]) == outside("a\nx = 1; y = 2\nc\n", [(2, 2)])
    assert outside("a\nb\nc\n", [(2, 2)]) != outside("a\nc\nb\n", [(3, 3)])
    assert outside("a\nb\nc\n", [(2, 2)]) != outside("a\nc\n", [(2, 1)])
