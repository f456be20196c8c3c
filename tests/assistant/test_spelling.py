"""Names that nothing binds, and what they were meant to be; right programs are left alone."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from assistant.bindings import program
from assistant.rules import by_rule
from assistant.spelling import respelt
from assistant.stale import renamed
from assistant.types import EditRequest

ROOT = Path(__file__).resolve().parents[2]
MEANT = "def f(width, height):\n    return width * height\n"
MENDED = {
    "a use": ("def f(width, height):\n    return widht * height\n", MEANT),
    "a constant's neighbour": ("LIMIT = 3\nx = LIMTI\n", "LIMIT = 3\nx = LIMIT\n"),
    "a builtin": ("pirnt(1)\n", "print(1)\n"),
    "a constant": ("x = Tue\n", "x = True\n"),
    "an import": ("import string.x\nx = strng.sep\n", "import string.x\nx = string.sep\n"),
    "the binding": ("totl = 1\nprint(total, total)\n", "total = 1\nprint(total, total)\n"),
    "a parameter": ("def f(widht):\n    return width + width\n", "def f(width):\n    return width + width\n"),
    "behind longer characters": ("s = 'ä𝄞'; value = 1; x = 'ä', valeu\n", "s = 'ä𝄞'; value = 1; x = 'ä', value\n"),
    "a lost self": (
        "class A:\n    def f(self):\n        self.count = 1\n        return count\n",
        "class A:\n    def f(self):\n        self.count = 1\n        return self.count\n",
    ),
    "a missing parameter": (
        "class A:\n    def f(a):\n        return self, a\n",
        "class A:\n    def f(self, a):\n        return self, a\n",
    ),
    "the only parameter": (
        "class A:\n    def f():\n        return self\n",
        "class A:\n    def f(self):\n        return self\n",
    ),
}  # fmt: skip
LEFT_ALONE = {
    "nothing near": "x = something\n",
    "two that are near": "value1 = value2 = 1\nx = value\n",
    "names from elsewhere": "from os import *\nvalue = 1\nx = valeu\n",
    "names that are made": "globals()['valeu'] = value = 1\nx = valeu\n",
    "bound by a function": "value = 1\n\n\ndef f():\n    global valeu\n    valeu = 2\n\n\nprint(valeu)\n",
    "bound in another scope": "def f(valeu):\n    value = 1\n    return valeu + value\n",
    "a comprehension": "x = [valeu for valeu in [1]]\nvalue = 1\n",
    "a class's name in its body": "class A:\n    value = 1\n    other = value\n",
    "a handler, a walrus, a pattern": (
        "try:\n    pass\nexcept E as error:\n    print(error)\nE = (eror := 1)\nmatch E:\n    case [first, *rest]:\n"
        "        print(first, rest, eror)\n"
    ),
    "a builtin with another letter": "x = int(text)\n",
    "short": "ab = 1\nx = ac\n",
    "a static method": "class A:\n    @staticmethod\n    def f(a):\n        return self\n",
    "no program": "def f(:\n    valeu\n",
    "attributes": "class A:\n    def f(self):\n        self.value = self.valeu\n",
}  # fmt: skip


def whole(text: str) -> str:
    for one in reversed(respelt(text, [(0, len(text))])):
        text = one.of(text)
    return text


@pytest.mark.parametrize("name", MENDED)
def test_what_was_meant(name: str) -> None:
    wrong, right = MENDED[name]
    assert whole(wrong) == right
    request = EditRequest(wrong, "fix", ((0, len(wrong)),), language="python")
    assert by_rule(request).request.text == right
    assert whole(wrong.replace("\n", "\r\n")) == right.replace("\n", "\r\n")


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_what_is_not_clear_is_left_alone(name: str) -> None:
    assert respelt(LEFT_ALONE[name], [(0, len(LEFT_ALONE[name]))]) == []


def test_only_inside_of_the_blocks() -> None:
    text = "value = 1\nx = valeu\ny = valeu\nz = value\n"
    [one] = respelt(text, [(20, len(text))])
    assert one.of(text) == "value = 1\nx = valeu\ny = value\nz = value\n"


def test_right_programs_are_left_alone() -> None:
    files = [*(ROOT / "assistant").rglob("*.py"), *(ROOT / "model").rglob("*.py"), *(ROOT / "tests").glob("*.py")]
    assert len(files) > 80
    wrong = [file for file in files if respelt(text := file.read_text(encoding="utf-8"), [(0, len(text))])]
    assert wrong == []
    import argparse

    text = Path(argparse.__file__).read_text(encoding="utf-8")
    assert respelt(text, [(0, len(text))]) == []


def test_after_syntax_errors_and_in_python_alone() -> None:
    text = "def f(width)\n    retrun widht\n"
    request = EditRequest(text, "fix", ((0, len(text)),), language="python")
    assert by_rule(request).request.text == "def f(width):\n    return width\n"
    other = "value = 1;\nx = valeu;\n"
    assert not by_rule(EditRequest(other, "fix", ((0, len(other)),), language="javascript")).is_mended


def test_of_a_large_file_only_statements_that_hold_an_unknown_name_are_looked_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The rest is only parsed."""
    right = "".join(f"def total_{n}(items):\n    return sum(items) + {n}\n\n\n" for n in range(500))
    wrong = "@cache\ndef area(width, height):\n    return widht * height\n\n\ndef size(now):\n    return old * 2\n"
    text = f"from functools import cache\nimport os\n\n\n{right}{wrong}{right}"
    block = (text.index("@cache"), text.index("old * 2") + 8)
    assert program(text) is not None
    walked, each = [], ast.iter_child_nodes

    def counted(node: ast.AST) -> Iterator[ast.AST]:
        walked.append(node)
        return each(node)

    with monkeypatch.context() as patch:
        patch.setattr(ast, "iter_child_nodes", counted)
        found = [one for find in (respelt, renamed) for one in find(text, [block])]
    assert [(one.start, one.text) for one in found] == [
        (text.index("widht"), "width"),
        (text.index("widht"), "width"),
        (text.index("old * 2"), "now"),
    ]
    assert len(walked) < 500


@pytest.mark.skipif(sys.version_info < (3, 12), reason="where names in f-strings stand, Python tells from 3.12 on")
def test_in_an_f_string() -> None:
    assert whole("value = 1\nx = f'{valeu}'\n") == "value = 1\nx = f'{value}'\n"
