"""Several slips in one text: each is taken back at the line where Python's parser stops."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.rules import by_rule
from assistant.steps import stepped
from assistant.types import EditRequest
from infill.program import compiles

RIGHT = '''from os import path, sep


class Reader:
    """Reads."""

    def __init__(self, name, size=1):
        self.name, self.size = name, size

    def read(self, count):
        while count > 0:
            for part, end in self.parts(count):
                if end:
                    return [part, end]
        return path.join(self.name, sep)


def first(
    reader,
    count,
):
    return reader.read(
        count,
    )
'''
SLIPS = [
    ("from os import path, sep", "frmo os import path, sep"),
    ("from os import path, sep", "ffrom os import path, sep"),
    ("class Reader:", "calss Reader:"),
    ("    def __init__(self, name, size=1):", "    edf __init__(self, name, size=1):"),
    ("    def __init__(self, name, size=1):", "    def __init__(self name, size=1):"),
    ("    def read(self, count):", "    deef read(self, count):"),
    ("while count > 0:", "while count > 0"),
    ("for part, end in self.parts(count):", "for part end in self.parts(count):"),
    ("return [part, end]", "return [part end]"),
    ("return path.join(self.name, sep)", "retrun path.join(self.name, sep)"),
    ("return path.join(self.name, sep)", "return path.join(self.name, sep"),
    ("def first(\n", "dfe first(\n"),
    ("    reader,\n    count,\n", "    reader\n    count,\n"),
]


def fixed(text: str) -> str:
    return by_rule(EditRequest(text, "fix", ((0, len(text)),), language="python")).request.text


@pytest.mark.parametrize(("one", "other"), [(i, j) for i in range(len(SLIPS)) for j in range(i + 1, len(SLIPS))])
def test_two_slips_are_taken_back(one: int, other: int) -> None:
    pairs = (SLIPS[one], SLIPS[other])
    if pairs[0][0] == pairs[1][0]:
        return
    text = RIGHT
    for right, wrong in pairs:
        text = text.replace(right, wrong, 1)
    assert fixed(text) == RIGHT
    assert fixed(text.replace("\n", "\r\n")) == RIGHT.replace("\n", "\r\n")


def test_a_line_that_nothing_helps_is_passed_over() -> None:
    text = RIGHT.replace("return [part, end]", "return [part, end").replace("class", "calss")
    text = text.replace("        self.name, self.size = name, size\n", "        self.name ~ % size\n")
    assert "class Reader:" in fixed(text)
    head = "def f(a):\n    a ~ % b\n\n\ndef g(a)\n    retrun a\n"
    found = stepped(head, [(0, len(head))])
    assert [(one.text, head[one.start : one.end]) for one in found] == [(":", ""), ("return", "retrun")]


def test_behind_an_open_bracket_nothing_is_sure() -> None:
    text = "x = f(\n    (1, 2,\n    [3, 4),\n)\ny = [\n\n\ndef g(a)\n    retrun a\n"
    assert stepped(text, [(0, len(text))]) == []


def test_what_ends_with_an_opening_bracket_is_not_closed_there() -> None:
    text = "def f(a, b, c)\n    x = [a b, a.get(\n        a, b, c,\n    )]\n    retrun x\n"
    right = "def f(a, b, c):\n    x = [a, b, a.get(\n        a, b, c,\n    )]\n    return x\n"
    assert fixed(text) == right


@given(st.text("ab()[]:=,'\n .#ifdefretun", max_size=80), st.integers(0, 80), st.integers(0, 80))
def test_edits_are_in_order_and_inside_of_the_blocks(text: str, one: int, other: int) -> None:
    low, high = sorted((min(one, len(text)), min(other, len(text))))
    found = stepped(text, [(low, high)])
    at = low
    for edit in found:
        assert at <= edit.start <= edit.end <= high
        at = edit.end
    assert not (found and compiles(text))
