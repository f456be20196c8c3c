"""Python's own verdict: never in the way of a program, and the last word on what is none."""

import gc
import random
import sys
import sysconfig
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infill import program
from infill.program import MOST_BYTES, WHOLE_BYTES, compiles, fault, parses, tree_of
from infill.syntax import SyntaxGate

LINES = st.sampled_from(
    [
        *("x = 1", "y = x", "pass", "print(x)", "return x", "yield x", "break", "continue", "await x", "del x", "1"),
        *("global x", "nonlocal x", "import a", "from a import *", "from __future__ import division", "print x"),
        *(
            "def f(a, b):",
            "def f(a, a):",
            "async def f():",
            "class A(a=1, a=2):",
            "class A:",
            "for x in y:",
            "while x:",
        ),
        *("if x:", "else:", "try:", "except A:", "finally:", "with x as y:", "match x:", "case 1:", "case x:", "@a"),
        *(
            "f(a=1, a=2)",
            "f(**a, *b)",
            "f(a=1, b)",
            "x = f(",
            "a=1,",
            "b,",
            ")",
            "[*a for a in b]",
            "x is 1",
            "'''",
            "é",
        ),
        *("type X = int", "x = f'{a['b']}'", "except A, B:", "x = '\\d'", "lambda a, a: a", "\ufeff", "\ud83d", "0777"),
    ]
)
BLOCK = st.lists(st.tuples(st.integers(0, 3), LINES), max_size=5).map(
    lambda lines: "".join("    " * depth + line + "\n" for depth, line in lines)
)


def gate_alone(prefix: str, suffix: str, monkeypatch: pytest.MonkeyPatch) -> SyntaxGate:
    """A gate to which everything is a program."""
    gate = SyntaxGate(prefix, suffix, "python")
    monkeypatch.setattr(gate, "_python", False)
    return gate


@settings(max_examples=400, deadline=None)
@given(BLOCK, BLOCK, BLOCK, st.integers(0, 8), st.integers(0, 8))
def test_a_program_stays_one_and_no_program_is_refused(
    prefix: str, middle: str, suffix: str, before: int, behind: int
) -> None:
    """The hole may begin and end within a line."""
    prefix, middle, suffix = prefix + middle[:before], middle[before:].rstrip("\n"), "\n" + suffix[behind:]
    gate = SyntaxGate(prefix, suffix, "python")
    new = prefix + middle + suffix
    with pytest.MonkeyPatch.context() as patch:
        by_grammar = gate_alone(prefix, suffix, patch).accepts(middle)
    if gate.accepts(middle):
        assert by_grammar
        found = fault(new) if compiles(prefix + suffix) else None
        to_come = found is not None and found.message.startswith(program._TO_COME)
        assert found is None or to_come or any(word in middle for word in ("type X", "f'{a", "except A, B"))
    else:
        assert not (by_grammar and compiles(new)), "Python takes it"
        assert gate.errors(middle)


def test_right_answers_from_real_files_are_programs() -> None:
    """Also where only the statements around are compiled."""
    draw = random.Random(0)
    asked = 0
    for module in ("argparse", "ast", "tarfile", "dataclasses", "shutil", "bisect", "asyncio/base_events", "decimal"):
        text = (Path(sysconfig.get_path("stdlib")) / f"{module}.py").read_text(encoding="utf-8")
        for _ in range(12):
            start = draw.randrange(len(text))
            end = text.index("\n", min(start + draw.randrange(200), len(text) - 1))
            gate = SyntaxGate(text[:start], text[end:], "python")
            assert gate.accepts(text[start:end]), text[start:end]
            asked += len(text) > WHOLE_BYTES
    assert asked > 50


@pytest.mark.parametrize("size", [100, WHOLE_BYTES + 1000])
@pytest.mark.parametrize(
    ("prefix", "middle", "suffix"),
    [
        ("class A:\n    def f(self):\n        return g(a=1, ", "a=2", ")\n"),
        ("class A:\n    @d\n    class B:\n        x = 1\n        ", "return x", "\n\n    y = 1\n"),
        ("class A:\n    x = 1; y = ", "f(a=1, a=1)", "\n"),
        ("class A: x = ", "f(a=1, a=1)", "\n"),
        ("def f(x):\n    y = x\n", "y = 1", "\n    return y\n"),
        ("", "\n\n    \nreturn 1", "\n"),
        ("def f():\n    pass", "\n\nbreak", "\n"),
        ("@d\nclass A(a=1, ", "a=1", "):\n    x = 1\n"),
        ("def f():\n\tif x:\n\t\t", "continue", "\n"),
    ],
)
def test_what_is_no_program_is_refused_in_files_of_any_size(size: int, prefix: str, middle: str, suffix: str) -> None:
    filler = "def g(x):\n    return x\n\n\n" * (size // 27) + "z = 1\n"
    gate = SyntaxGate(filler + prefix, suffix + filler, "python")
    assert not gate.accepts(middle)
    with pytest.MonkeyPatch.context() as patch:
        assert gate_alone(filler + prefix, suffix + filler, patch).accepts(middle), "it is Python that refuses it"
    assert not compiles(filler + prefix + middle + suffix + filler)


def test_the_blame_is_on_what_python_names() -> None:
    gate = SyntaxGate("x = 'é'\ny = f(a=1, ", ")\n", "python")
    answer = "b=2, a=3, c=4"
    assert [answer[start:end] for start, end in gate.errors(answer)] == ["a=3"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_fault_lies_in_its_line_however_lines_end(end: str) -> None:
    text = f"\ufeffx = 1{end}{end}f(a=1, a=2){end}"
    found = fault(text)
    assert found is not None
    assert text[found.start : found.end] == "a=2"


def test_what_is_longer_than_python_is_asked_about_is_taken() -> None:
    prefix = "def f():\n" + "    x = 1\n" * (MOST_BYTES // 10 + 10)
    assert SyntaxGate(prefix + "    x = ", "\n", "python").accepts("f(a=1, a=1)")


@pytest.mark.parametrize("text", ["-" * 5000 + "x", "x" + ".a" * 20_000, "lambda:" * 3000 + "x", "\ud83d"])
def test_where_the_compiler_gives_up_nothing_is_refused(text: str) -> None:
    assert fault(text) is None
    assert not compiles(text)
    assert not parses(text)


def test_no_warning_escapes_and_nothing_is_run() -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert fault("x = 1\nprint(x is 1, '\\d')\nraise SystemExit\n") is None
    assert seen == []


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="this Python knows all of it")
@pytest.mark.parametrize("middle", ["try:\n    x()\nexcept A, B:\n    y()", "x = t'{y}'"])
def test_what_newer_pythons_take_is_taken(middle: str) -> None:
    assert fault(middle)
    assert SyntaxGate("", "\n", "python").accepts(middle)


@pytest.mark.parametrize(
    ("prefix", "answer", "suffix", "accepted"),
    [
        ("def f(a):\n    ", "if x:", "\n    return 1\n", False),
        ("def f(a):\n    ", "if x:", "\n        return 1\n", True),
        ("def f(a):\n    ", "x = 1", "\n        return 1\n", False),
        ("def f(a):\n    if", " x:", "\n    return 1\n", True),  # who has begun the line goes on
        ("def f(a):\n    ", "if x:", "\n", True),  # at the end more may come
        ("def f(a):\n    x = a\n\n", "    return f", "\n        pass\n", False),
        ("def f(a):\n    x = a\n\n", "    if f:", "\n        pass\n", True),
    ],
)
def test_a_block_that_an_answer_opens_needs_lines(prefix: str, answer: str, suffix: str, accepted: bool) -> None:
    """Where code follows, in small files and in large ones."""
    for more in ("", "x = 1\n" * 3000):
        assert SyntaxGate(more + prefix, suffix, "python").accepts(answer) is accepted


def test_several_threads_may_ask_for_trees() -> None:
    """Python fails where its collector lets another thread go on while one makes a tree."""
    text = "".join(f"def f{i}(a):\n    for b in [a, [1, [2, [3]]]]:\n        print(a + b * {i})\n" for i in range(100))
    before = sys.getswitchinterval(), gc.get_threshold()
    slow: list[object] = []
    gc.callbacks.append(lambda *_: slow.append(sum(range(50))))
    try:
        sys.setswitchinterval(1e-6)
        gc.set_threshold(10)
        with ThreadPoolExecutor(4) as pool:
            assert all(len(tree.body) == 100 for tree in pool.map(tree_of, [text] * 40))
    finally:
        gc.callbacks.pop()
        sys.setswitchinterval(before[0])
        gc.set_threshold(*before[1])
