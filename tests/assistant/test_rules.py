"""Syntax errors mended by rule: slips of the hand, inside of the blocks alone, before a model and instead of one."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.edits import applied
from assistant.errors import CannotEditError, ModelError
from assistant.mend import Broken
from assistant.rules import ERROR_LEFT, NO_MODEL, Ruling, by_rule
from assistant.slips import is_near
from assistant.types import EditRequest, EditResult, ShouldStop, TextEdit

SLIPS = {
    "a keyword misspelt": ("def f(total):\n    retrun total\n", "def f(total):\n    return total\n"),
    "a keyword at the top": ("improt os\n\nprint(os)\n", "import os\n\nprint(os)\n"),
    "a word twice": ("if name name == 1:\n    pass\n", "if name == 1:\n    pass\n"),
    "a comma in a call": ("f(self.a b)\n", "f(self.a, b)\n"),
    "a comma at a line's end": ("x = [\n    1\n    2,\n]\n", "x = [\n    1,\n    2,\n]\n"),
    "a colon in a dict": ('x = {"a" 1}\n', 'x = {"a": 1}\n'),
    "an equals sign": ("depth int(text)\n", "depth = int(text)\n"),
    "a default": ("def f(a: int 3):\n    pass\n", "def f(a: int = 3):\n    pass\n"),
    "an opener between two words": (
        "def f(token, names):\n    g(names)\n    return namestoken]\n",
        "def f(token, names):\n    g(names)\n    return names[token]\n",
    ),
    "a closer twice": ("x = f(g(1)))\n", "x = f(g(1))\n"),
    "a closer of another kind": ("def f(v):\n    return str(v].upper()\n", "def f(v):\n    return str(v).upper()\n"),
    "a quote inside of a list": ('x = ["a", "b, "c"]\n', 'x = ["a", "b", "c"]\n'),
    "the other quote": ("x = {\"a': 1, \"b\": 2}\n", 'x = {"a": 1, "b": 2}\n'),
    "a lost def": ("f(self, a) -> int:\n    return 1\n", "def f(self, a) -> int:\n    return 1\n"),
    "a lost if": ("def f(a):\n    a is None:\n        return 1\n", "def f(a):\n    if a is None:\n        return 1\n"),
    "a colon behind a long head": ("def f(\n    a,\n) -> None\n    pass\n", "def f(\n    a,\n) -> None:\n    pass\n"),
    "documentation that is not closed": (
        'def f(a):\n    """Not closed.\n    return a\n\n\ndef g(a):\n    """The sum (of both)."""\n    return a\n',
        'def f(a):\n    """Not closed."""\n    return a\n\n\ndef g(a):\n    """The sum (of both)."""\n    return a\n',
    ),
    "two of them": ("def f(a)\n    retrun a\n", "def f(a):\n    return a\n"),
}  # fmt: skip


LEFT = {
    "a line in another place": "class A:\n    @property\n    x = 1\n    def f(self) -> str:\n        return 'x'\n",
    "lines that end as no parser thinks": "def f(a, b):\r    if a == b:\r        return 1\r    return a\r",
}
"""Where a parser is led on to many a text that is none of what was meant."""


def request(text: str, *blocks: tuple[int, int], task: str = "fix") -> EditRequest:
    return EditRequest(text, task, blocks or ((0, len(text)),), language="python")


def unable(_: EditRequest, __: ShouldStop) -> EditResult:
    raise CannotEditError("this model was not trained to edit")


def never(_: EditRequest, __: ShouldStop) -> EditResult:
    raise AssertionError("nobody is to be asked")


@pytest.mark.parametrize("name", SLIPS)
def test_slips_are_taken_back(name: str) -> None:
    wrong, right = SLIPS[name]
    assert Broken(wrong, "python").faults
    assert by_rule(request(wrong)).request.text == right
    found = Ruling(unable)(request(wrong), lambda: False)
    assert applied(wrong, found.edits) == right
    assert all(one.ruled for one in found.edits)
    windows = wrong.replace("\n", "\r\n")
    assert by_rule(request(windows)).request.text == right.replace("\n", "\r\n")
    marked = Ruling(unable)(request("\ufeff" + wrong), lambda: False)
    assert applied("\ufeff" + wrong, marked.edits) == "\ufeff" + right
    assert all(one.start for one in marked.edits)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("def f(é, a): return a is 'é'\n", "def f(é, a): return a == 'é'\n"),
        ("def f(é, width): return é + widht\n", "def f(é, width): return é + width\n"),
        ("def f(é, width): return é + wid\n", "def f(é, width): return é + width\n"),
        ("if a === b and print(“é”):\n    pass\n", 'if a == b and print("é"):\n    pass\n'),
        ("  x = 1\nprint(x)\n", "x = 1\nprint(x)\n"),
    ],
)
def test_a_byte_order_mark_is_no_part_of_the_first_line(wrong: str, right: str) -> None:
    assert by_rule(request(wrong)).request.text == right
    for low in (0, 1):
        ruled = by_rule(request("\ufeff" + wrong, (low, 1 + len(wrong))))
        assert ruled.request.text == "\ufeff" + right
        assert ruled.request.blocks == ((low, 1 + len(right)),)
        assert applied("\ufeff" + wrong, ruled.without_model().edits) == "\ufeff" + right
    first = by_rule(request("\ufeff" + wrong, (0, 0)))
    assert (first.is_mended, first.request.blocks) == (False, ((0, 0),))


@pytest.mark.parametrize("name", LEFT)
def test_where_no_slip_is_seen_nothing_is_changed(name: str) -> None:
    assert by_rule(request(LEFT[name])).request.text == LEFT[name]


def test_what_was_done_on_the_way_is_taken_back() -> None:
    """Several heads without a colon: errors become fewer, too, with signs that are wrong."""
    bodies = ["self.__class__ = RemoteError", "pass", "return {'a': a[1:]}", "del a"]
    head = "def f(self, a: dict[str, bytes]) -> NoReturn"
    wrong, right = ("\n\n".join(f"{head}{end}\n    {body}\n" for body in bodies) for end in ("", ":"))
    assert by_rule(request(wrong)).request.text in (right, wrong)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("optsset(1)", "opts.set(1)"), ("optsappend(1)", "opts.append(1)")],
)
def test_a_lost_dot(wrong: str, right: str) -> None:
    head = "def f(opts):\n    opts.set(2)\n    return "
    assert by_rule(request(head + wrong + "\n")).request.text == head + right + "\n"


WRONG = "def f(a)\n    return a.a\n\n\ndef g(b):\n    retrun b\n"
BLOCKS = ((0, 24), (26, len(WRONG)))


def test_the_model_sees_what_rules_have_mended_and_both_become_one_answer() -> None:
    seen: list[EditRequest] = []

    def ask(asked: EditRequest, _: ShouldStop) -> EditResult:
        seen.append(asked)
        at = asked.text.index("a.a")
        return EditResult((TextEdit(at, at + 3, "a", 0, 7.0),), (None, "right"), 3, 20)

    found = Ruling(ask)(request(WRONG, *BLOCKS), lambda: False)
    right = "def f(a):\n    return a\n\n\ndef g(b):\n    return b\n"
    assert applied(WRONG, found.edits) == right
    assert [seen[0].text[start:end] for start, end in seen[0].blocks] == [
        "def f(a):\n    return a.a\n", "def g(b):\n    return b\n",
    ]  # fmt: skip
    assert found.reasons == (None, None)
    assert [(one.block, one.gain, one.ruled) for one in found.edits] == [(0, 7.0, True), (0, 7.0, True), (1, 0.0, True)]
    assert (found.passes, found.tokens) == (3, 20)


def test_only_inside_of_the_blocks() -> None:
    found = Ruling(unable)(request(WRONG, BLOCKS[1]), lambda: False)
    assert applied(WRONG, found.edits) == WRONG.replace("retrun", "return")
    assert Ruling(unable)(request(WRONG, (14, 24)), lambda: False).reasons == (NO_MODEL,)


def test_where_nothing_edits_it_is_said_what_is_left() -> None:
    text = "x = 1\n\n\n)))]]( = = =\n"
    found = Ruling(unable)(request(text, (0, 6), (8, len(text))), lambda: False)
    assert found.reasons[0] == NO_MODEL
    assert found.reasons[1] in (ERROR_LEFT, None)
    left = Broken(applied(text, found.edits), "python").faults
    assert (found.reasons[1] == ERROR_LEFT) == (not found.edits and bool(left))


def test_a_model_that_cannot_is_asked_once() -> None:
    asked: list[int] = []

    def ask(_: EditRequest, __: ShouldStop) -> EditResult:
        asked.append(1)
        raise CannotEditError("no")

    ruling = Ruling(ask)
    for _ in range(3):
        ruling(request(WRONG), lambda: False)
    assert len(asked) == 1


def test_other_tasks_and_other_failures_are_the_models() -> None:
    with pytest.raises(CannotEditError):
        Ruling(unable)(request(WRONG, task="modernise"), lambda: False)

    def damaged(_: EditRequest, __: ShouldStop) -> EditResult:
        raise ModelError("damaged")

    with pytest.raises(ModelError):
        Ruling(damaged)(request(WRONG), lambda: False)


def test_an_instruction_is_passed_on_as_it_is() -> None:
    asked: list[EditRequest] = []

    def ask(one: EditRequest, _: ShouldStop) -> EditResult:
        asked.append(one)
        return EditResult((), ("right",))

    wanted = replace(request(WRONG, task=""), instruction="Fix this block.")
    assert Ruling(ask)(wanted, lambda: False).edits == ()
    assert asked == [wanted]
    assert by_rule(request(WRONG), lambda: False).is_mended


def test_it_stops_when_it_is_told_to() -> None:
    assert not by_rule(request(WRONG), lambda: True).is_mended


@given(st.text("ab()[]:='\"\n ,#ifdef", max_size=60), st.integers(0, 60), st.integers(0, 60))
def test_only_blocks_change_and_errors_become_fewer(text: str, one: int, other: int) -> None:
    start, end = sorted((min(one, len(text)), min(other, len(text))))
    asked = request(text, (start, end))
    ruled = by_rule(asked)
    [(low, high)] = ruled.request.blocks
    assert ruled.request.text[:low] == text[:start]
    assert ruled.request.text[high:] == text[end:]
    assert applied(text, ruled.without_model().edits) == ruled.request.text
    if ruled.is_mended:
        assert len(Broken(ruled.request.text, "python").faults) < len(Broken(text, "python").faults)


@pytest.mark.parametrize(
    ("word", "right", "near"),
    [
        ("retrun", "return", True), ("retur", "return", True), ("returnn", "return", True), ("raturn", "return", True),
        ("return", "return", False), ("retnur", "return", False), ("re", "return", False), ("fo", "for", True),
    ],
)  # fmt: skip
def test_one_slip_away(word: str, right: str, near: bool) -> None:
    assert is_near(word, right) is near
    assert is_near(right, word) is near


def test_names_are_left_where_the_program_is_none() -> None:
    text = "def f(width):\n    return wid\n"
    assert by_rule(request(text)).is_mended
    assert not by_rule(request(text + "\n\nbreak\n")).is_mended


def test_a_chain_of_calls_that_is_too_long_for_pythons_tools_is_left_alone() -> None:
    text = "async def f(q):\n    q" + ".filter(1)" * 400 + "\n"
    assert by_rule(request(text)).request.text == text


IMPORTS = "import asyncio\nimport logging\nfrom functools import wraps\n\n\n"


@pytest.mark.parametrize(
    "text",
    [
        "def f(x):\n    try:\n        return unicode(x)\n    except NameError:\n        return str(x)\n",
        'def f(name):\n    return translate("Hello {name}", name=name)\n',
        "def f():\n    with raises(TypeError):\n        g()\n",
        "def f():\n    return long(3)\n",
        "def f(x):\n    return rename_me(new_name=1)\n",
        'def f(item_id):\n    return app.get("/items/{item_id}")\n',
        'def f(item_id):\n    return "items {item_id}"\n',
        'def f(n):\n    x = "a{n}"\n    return x\n',
        'def f(name):\n    logging.info("Hello {name}!", extra={"name": name})\n',
    ],
)
def test_a_name_that_is_missing_or_a_template_is_not_made_up_for(text: str) -> None:
    """A forgotten import is not the next best one, and braces are not always an f-string's."""
    assert by_rule(request(IMPORTS + text)).request.text == IMPORTS + text
