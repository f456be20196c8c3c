"""Scopes read off the syntax tree, against CPython's own symbol tables."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from assistant.nextedit import proposals
from benchmarks.next_edit import FRESH, Edited, renames

ROOT = Path(__file__).resolve().parents[2]
TRICKY = """import os.path, sys as system
from collections import OrderedDict as od, deque

count = 0


def bump(step=count, *rest, key=lambda step: step + 1, **more):
    global count
    count += step
    total = [step for step in rest if step] + [step]
    def inner(value=total):
        nonlocal total
        total = value, count, more
        return lambda step: (step, total)
    if (found := [found_here := one for one in rest]):
        return found, found_here
    return inner


class Box:
    size = 3
    sizes = [size for _ in range(size)]

    def __init__(self, size, item: od = deque()):
        self.size = size
        self.item = item
        self.call = lambda self: self.size

    def grow(self, by):
        def more(self):
            return self.size + by
        try:
            with open(os.path.join(by)) as handle, handle:
                for by in handle:
                    self.size += by
        except (OSError, ValueError) as error:
            raise system.exit(error) from error
        return more, self.grow, Box.grow, self.item

    @staticmethod
    def other(this):
        return this.size

    def kind(self):
        match self.item:
            case [first, *others] if first:
                return first, others
            case Box(size=wanted):
                return wanted
            case whole:
                return whole


box = Box(size=bump(step=2), item=None)
print(count, [box for box in [box]], {box: count for count in (1, 2)}, bump(1, step=3))
del box
"""


@dataclass(frozen=True)
class Case:
    text: str
    name: str
    first: int
    rest: frozenset[int]


def cases() -> list[Case]:
    texts = [TRICKY, *((ROOT / name).read_text(encoding="utf-8") for name in ("lsp/convert.py", "lsp/ahead.py"))]
    found = [Case(text, one.name, one.first, one.rest) for text in texts for one in renames(text)]
    assert len(found) > 100
    return found


def test_what_is_renamed_is_what_python_takes_for_the_same() -> None:
    wrong = []
    for case in cases():
        now = case.text[: case.first] + FRESH + case.text[case.first + len(case.name) :]
        grown = len(FRESH) - len(case.name)
        edit = Edited(case.first, case.first + len(FRESH), case.name, 1)
        found = {one.start - grown * (one.start > case.first) for one in proposals(now, [edit], 0)}
        # The variable of a loop that is bound elsewhere, too, is renamed in its loop only.
        if found != case.rest and not (case.name == "by" and found <= case.rest):
            wrong.append((case.name, case.first, sorted(found - case.rest), sorted(case.rest - found)))
    assert wrong == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        # (the signature that was edited, what becomes of the calls)
        ("def f(a, [b]):\n    a\nf(1, 2)\nf(b=2, a=1)\n", "def f(a, ):\n    a\nf(1)\nf(a=1)\n"),
        ("class A:\n    def f(self, a[, b]): a\n    def g(self): self.f(1, 2)\n",
         "class A:\n    def f(self, a): a\n    def g(self): self.f(1)\n"),
        ("class A:\n    def __init__(self, a[, b]): a\nA(1, 2)\nA(1)\n",
         "class A:\n    def __init__(self, a): a\nA(1)\nA(1)\n"),
        ("def f(a[, b]):\n    a\nf(\n    1,\n    2,\n)\n", "def f(a):\n    a\nf(\n    1,\n)\n"),
        ("def f(a[, b]):\n    a\nf(*x)\nf(1, **y)\n", "def f(a):\n    a\nf(*x)\nf(1, **y)\n"),
        ("@property\ndef f(a[, b]):\n    a\nf(1, 2)\n", "@property\ndef f(a):\n    a\nf(1, 2)\n"),
        ("def f(a[, b]):\n    a\ndef g(f):\n    f(1, 2)\n", "def f(a):\n    a\ndef g(f):\n    f(1, 2)\n"),
    ],
)  # fmt: skip
def test_calls_after_a_parameter_was_taken_out(before: str, after: str) -> None:
    """``[...]`` is what was taken out."""
    start, end = before.index("["), before.index("]")
    text = before[:start] + before[end + 1 :]
    edits = [Edited(start, start, before[start + 1 : end], 1)]
    for serial in range(2, 10):
        found = proposals(text, edits, 0)
        if not found:
            break
        one = found[0]
        edits.append(Edited(one.start, one.start + len(one.text), text[one.start : one.end], serial))
        text = text[: one.start] + one.text + text[one.end :]
    assert text == after


def test_an_added_parameter_is_passed_where_a_variable_of_its_name_is_near() -> None:
    text = "def f(a, b):\n    f(a)\n\n\ndef g(b):\n    f(1)\n\n\ndef h(c):\n    f(1)\n"
    start = text.index(", b")
    (one,) = proposals(text, [Edited(start, start + 3, "", 1)], 0)
    assert text[: one.start] + one.text + text[one.end :] == text.replace("g(b):\n    f(1)", "g(b):\n    f(1, b)")
