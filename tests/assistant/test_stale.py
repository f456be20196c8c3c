"""Half-done renames: finished where it is clear what the thing is called now; right programs are left alone."""

import importlib.util
from pathlib import Path

import pytest

from assistant.edits import applied
from assistant.errors import CannotEditError
from assistant.rules import Ruling, by_rule
from assistant.stale import likeness, renamed
from assistant.types import EditRequest, EditResult, ShouldStop

ROOT = Path(__file__).resolve().parents[2]
SHELF = """class Shelf:
    def __init__(self, books):
        self.books = books

    def add(self, book):
        self.books.append(book)

    def show(self, depth=1, *, sort=False):
        return """
FINISHED = {
    "the only parameter that nothing uses": ("def f(data):\n    return len({})\n", "content", "data"),
    "of two, the one like it": ("def f(message, key):\n    return len({})\n", "msg", "message"),
    "a variable in use": (
        "def f(rows):\n    total = sum(rows)\n    print(total)\n    return {}\n", "total_value", "total",
    ),
    "in a function inside": (
        "def f(normal_func):\n    def g():\n        return {}()\n    return {}(g)\n", "normal", "normal_func",
    ),
    "an import": ("import contextlib\n\nwith {}.suppress(OSError):\n    pass\n", "ctxlib", "contextlib"),
    "a function": ("def find_all(x):\n    return x\n\n\ny = {}(1)\n", "findAll", "find_all"),
    "a class, not a variable of its name": (
        "class Lexer:\n    pass\n\n\ndef f(lexer):\n    return lexer or {}()\n", "new_Lexer", "Lexer",
    ),
    "in an annotation, where parameters do not count": (
        "class Route:\n    pass\n\n\ndef f(route: {}):\n    pass\n", "the_Route", "Route",
    ),
    "an attribute": (SHELF + "len(self.{})\n", "books_list", "books"),
    "a method": (SHELF + "self.{}(None)\n", "add_", "add"),
    "a keyword": (SHELF + "self.show({}=True)\n", "sort_", "sort"),
    "a keyword of a class": (SHELF + "0\n\n\nx = Shelf({}=[])\n", "volumes", "books"),
    "behind longer characters": ("def f(width):\n    return 'ä𝄞', {}\n", "wid", "width"),
}  # fmt: skip
LEFT_ALONE = {
    "nothing like it": "def f(a, b):\n    return something\n",
    "two alike": "def f(row1, row2):\n    return row\n",
    "both are used": "def f(data):\n    return data, content\n",
    "bound by what uses it": "def f():\n    total = total_value()\n    return total\n",
    "names from elsewhere": "from os import *\n\n\ndef f(width):\n    return wid\n",
    "names that are made": "globals().update(wid=1)\n\n\ndef f(width):\n    return wid\n",
    "two old names for one": "def f(data):\n    return content, entries\n",
    "no program": "def f(width:\n    return wid\n",
    "inherited": (
        "class A(B):\n    def __init__(self):\n        self.book = 1\n\n    def f(self):\n        self.books\n"
    ),
    "a mixin": "class A:\n    def f(self):\n        self.book = 1\n        return self.books\n",
    "by its name": (
        "class AMixin:\n    def __init__(self):\n        self.book = 1\n\n    def f(self):\n        return self.books\n"
    ),
    "from its bases here": (
        "class A:\n    books = 1\n\n\nclass B(A):\n    def __init__(self):\n        self.book = 1\n\n"
        "    def f(self):\n        return self.books, self.book\n"
    ),
    "given by name": (
        "class A:\n    def __init__(self):\n        self.book = 1\n        setattr(self, 'x', 1)\n\n"
        "    def f(self):\n        return self.books\n"
    ),
    "a class whose import is lost": "def f(data):\n    return isinstance(Other, type)\n",
    "a constant that is lost": "def f(data):\n    return MOST_OF_THEM\n",
    "any keyword": "def f(width, **more):\n    return width, more\n\n\nf(1, wid=2)\n",
    "a decorated function": "@made\ndef f(width):\n    return width\n\n\nf(wid=2)\n".replace("@made", "@property"),
    "a function hidden by a parameter": (
        "def f(*, width=1):\n    return width\n\n\ndef g(f):\n    return f(wid=2)\n"
    ),
    "a keyword that is there": "def f(width, wid):\n    return width, wid\n\n\nf(1, wid=2)\n",
}  # fmt: skip


def whole(text: str) -> str:
    for one in reversed(renamed(text, [(0, len(text))])):
        text = one.of(text)
    return text


@pytest.mark.parametrize("name", FINISHED)
def test_uses_get_the_name_of_now(name: str) -> None:
    text, old, new = FINISHED[name]
    wrong, right = text.replace("{}", old), text.replace("{}", new)
    assert whole(wrong) == right
    assert whole(right) == right
    assert whole(wrong.replace("\n", "\r\n")) == right.replace("\n", "\r\n")


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_what_is_not_clear_is_left_alone(name: str) -> None:
    assert whole(LEFT_ALONE[name]) == LEFT_ALONE[name]


def test_only_inside_of_the_blocks() -> None:
    text = "def f(width):\n    return wid\n\n\ndef g(height):\n    return hgt\n"
    at = text.index("def g")
    [one] = renamed(text, [(at, len(text))])
    assert one.of(text) == text.replace("hgt", "height")


def test_right_programs_are_left_alone() -> None:
    files = [
        *ROOT.glob("*/*.py"),
        *(Path(found.origin) for found in map(importlib.util.find_spec, MODULES) if found and found.origin),
    ]
    assert len(files) > 100
    wrong = [file for file in files if renamed(text := file.read_text(encoding="utf-8"), [(0, len(text))])]
    assert wrong == []


MODULES = ("argparse", "ast", "asyncio.transports", "enum", "http.cookiejar", "inspect", "re", "ssl", "typing")
"""Some of them take names from elsewhere in ways that look like a rename."""


@pytest.mark.parametrize(
    ("old", "new", "other"),
    [
        ("msg", "message", "manager"),
        ("old_path", "path", "pathlib"),
        ("securityFlags", "security_flags", "security"),
        ("get_cur_context", "get_current_context", "Context"),
        ("the_Route", "Route", "route"),
    ],
)
def test_what_is_more_alike(old: str, new: str, other: str) -> None:
    assert likeness(old, new) > likeness(old, other)
    assert 0 <= likeness(old, other) <= 1
    assert likeness("_", new) == 0


def unable(_: EditRequest, __: ShouldStop) -> EditResult:
    raise CannotEditError("this model was not trained to edit")


def test_a_task_of_its_own_that_needs_no_model() -> None:
    text = "def f(width):\n    return wid\n\n\ndef g(height):\n    return height\n"
    blocks = ((0, 29), (31, len(text)))
    found = Ruling(unable)(EditRequest(text, "rename", blocks, language="python"), lambda: False)
    assert applied(text, found.edits) == text.replace("wid\n", "width\n")
    assert found.reasons[0] is None
    assert found.reasons[1] is not None


def test_it_mends_no_syntax_and_fixing_finishes_renames_too() -> None:
    broken = "def f(width)\n    return wid\n"
    asked = EditRequest(broken, "rename", ((0, len(broken)),), language="python")
    assert not by_rule(asked).is_mended
    asked = EditRequest(broken, "fix", ((0, len(broken)),), language="python")
    assert by_rule(asked).request.text == "def f(width):\n    return width\n"
