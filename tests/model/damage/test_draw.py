"""Damage to real code: whatever is drawn comes undone, stays in its block, and is what its group says."""

import ast
import contextlib
import functools
import sysconfig
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from model.damage.draw import LONGEST, draw, draw_block
from model.damage.kinds import KINDS
from model.damage.types import GROUPS, Block, Damage, damaged, inverse, tidy
from model.spans import python_parser

MODULES = (
    "argparse", "asyncio/base_events", "asyncio/taskgroups", "bisect", "calendar", "cmd", "concurrent/futures/thread",
    "copy", "csv", "dataclasses", "difflib", "enum", "fractions", "glob", "graphlib", "heapq",
    "importlib/metadata/__init__",
    "ipaddress", "json/decoder",
    "logging/handlers", "mailbox", "pathlib", "queue", "random", "shlex", "statistics",
    "tempfile", "textwrap", "tomllib/_parser", "typing", "unittest/mock", "urllib/parse", "zipfile",
)  # fmt: skip
FORM = {"semicolon", "needless-parentheses", "nested-else", "coding-line", "object-base"}
"""Old forms, not words: the syntax tree may stay the same."""


@functools.cache
def library() -> tuple[str, ...]:
    folder = Path(sysconfig.get_path("stdlib"))
    ours = Path(__file__).resolve().parents[3] / "model"
    paths = [path for name in MODULES if (path := folder / f"{name}.py").is_file()]
    texts = [path.read_text(encoding="utf-8") for path in [*paths, *sorted(ours.glob("*.py"))]]
    assert len(texts) > 30
    return tuple(filter(None, texts))


def parse(text: str, start: int, end: int) -> str:
    """The syntax tree of some lines. Raises SyntaxError or ValueError where they do not parse."""
    lines = text[start:end]
    shell = "if 1:\n" if lines.lstrip("\r\n")[:1] in {" ", "\t"} else ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        return ast.dump(ast.parse(shell + lines))


def check(text: str, block: Block, damage: Damage) -> None:
    """What holds for every damage, drawn or asked for."""
    worse = damaged(text, damage.edits)
    assert worse != text
    assert damaged(worse, inverse(text, damage.edits)) == text
    assert block.start <= damage.edits[0][0]
    assert damage.edits[-1][1] <= block.end
    for (_, end, _), (start, _, _) in zip(damage.edits, damage.edits[1:], strict=False):
        assert end < start
    assert tidy(text, damage.edits) == damage.edits
    assert damage.parts


def variant(text: str, form: str) -> str:
    """The same program in another dress."""
    if form == "crlf":
        return text.replace("\n", "\r\n")
    if form == "wide":  # comments, strings and names in other scripts
        return text.replace("self", "сам").replace("value", "价值").replace("# ", "# 🎈 ")
    return text


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("form", ["plain", "crlf", "wide"])
def test_a_kind_on_real_code(name: str, form: str) -> None:
    kind = KINDS[name]
    rng = np.random.default_rng([sorted(KINDS).index(name), len(form)])
    found = 0
    for plain in mixed(rng, 12):
        text = variant(plain, form)
        block = draw_block(rng, text, python_parser())
        damage = kind.apply(rng, block) if block is not None else None
        if block is None or damage is None:
            continue
        found += 1
        check(text, block, damage)
        worse = damaged(text, damage.edits)
        clean, made = parse(text, block.start, block.end), None
        with contextlib.suppress(SyntaxError, ValueError):
            made = parse(worse, block.start, block.end + len(worse) - len(text))
        if kind.group == "fix":
            assert made != clean
        else:
            assert made is not None, worse[block.start : block.end]
            assert made != clean or name in FORM
    assert found or kind.needs or name == "coding-line", "fits nowhere"


def mixed(rng: np.random.Generator, count: int) -> list[str]:
    return [library()[int(i)] for i in rng.integers(0, len(library()), count)]


@given(st.integers(0, 2**32 - 1), st.sampled_from(["plain", "crlf", "wide"]), st.sampled_from([None, *GROUPS]))
def test_drawing(seed: int, form: str, group: str | None) -> None:
    rng = np.random.default_rng(seed)
    text = variant(mixed(rng, 1)[0], form)
    names = None if group is None else [kind.name for kind in KINDS.values() if kind.group == group]
    start = np.random.default_rng(seed)
    drawn = draw(start, text, python_parser(), names, several=0.5)
    assert drawn == draw(np.random.default_rng(seed), text, python_parser(), names, several=0.5)
    if drawn is None:
        return
    block, damage = drawn
    check(text, block, damage)
    assert 0 < block.end - block.start <= LONGEST
    assert block.start == 0 or text[block.start - 1] == "\n"
    assert block.end == len(text) or text[block.end] in "\r\n"
    groups = {KINDS[part].group for part in damage.parts}
    assert len(groups) == 1
    assert group is None or groups == {group}
    assert damage.kind == (damage.parts[0] if len(damage.parts) == 1 else groups.pop())


def test_a_share_of_clean_blocks() -> None:
    text, clean = library()[0], 0
    for seed in range(200):
        drawn = draw(np.random.default_rng(seed), text, python_parser(), clean=0.5)
        if drawn is not None and not drawn[1].edits:
            clean += 1
            assert drawn[1].parts == ()
            assert drawn[1].kind in KINDS or drawn[1].kind in GROUPS
    assert 60 < clean < 140
    assert all(
        draw(np.random.default_rng(seed), text, python_parser(), clean=1.0)[1].edits == ()  # type: ignore[index]
        for seed in range(5)
    )


def test_several_damages() -> None:
    text = library()[0]
    drawn = [draw(np.random.default_rng(seed), text, python_parser(), several=1.0) for seed in range(60)]
    counts = [len(pair[1].parts) for pair in drawn if pair is not None]
    assert {2, 3} <= set(counts)
    assert max(counts) == 3


def test_all_kinds_are_drawn_where_they_fit() -> None:
    text = "def f(a, b):\n    if a is not None and b not in (1, 2):\n        return a + b\n    return [x for x in a]\n"
    found = set()
    for seed in range(600):
        drawn = draw(np.random.default_rng(seed), text, python_parser(), several=0.0)
        assert drawn is not None
        found.add(drawn[1].kind)
    expected = {"lost-return", "swapped-arithmetic", "early-not", "equals-none", "or-chain", "append-loop", "nested-if"}
    assert expected | {"stale-parameter", "missing-colon", "inverted-condition"} <= found


BROKEN = st.one_of(
    st.text(max_size=60),
    st.lists(
        st.sampled_from(
            ["def f(", "x", " ", "\n", "    ", ")", ":", "return", "'", '"""', "f'{", "}", "#", "é", "\\", ","]
        ),
        max_size=25,
    ).map("".join),
)


@given(BROKEN, st.data())
@example("", None)
@example("def f(a:\n  x = (\n", None)
@example("\ud800 = 1", None)
def test_no_kind_raises(text: str, data: st.DataObject | None) -> None:
    start = data.draw(st.integers(0, len(text))) if data is not None else 0
    end = data.draw(st.integers(start, len(text))) if data is not None else len(text)
    block, rng = Block(text, start, end), np.random.default_rng(0)
    for kind in KINDS.values():
        damage = kind.apply(rng, block)
        if damage is not None:
            check(text, block, damage)
    drawn = draw(rng, text, python_parser())
    assert drawn is None or drawn[1].edits


@given(st.integers(0, 2**32 - 1))
def test_no_kind_raises_on_code_cut_anywhere(seed: int) -> None:
    rng = np.random.default_rng(seed)
    text = mixed(rng, 1)[0]
    start = int(rng.integers(0, len(text)))
    block = Block(text, start, min(len(text), start + int(rng.integers(1, 600))))
    for kind in KINDS.values():
        damage = kind.apply(rng, block)
        if damage is not None:
            check(text, block, damage)


@given(
    st.text("ab\n", max_size=30), st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5), st.text("abc", max_size=3)))
)
def test_tidy_keeps_the_outcome(text: str, raw: list[tuple[int, int, str]]) -> None:
    edits, last = [], -1
    for start, length, new in sorted(raw):
        if last < start <= len(text):
            edits.append((start, min(len(text), start + length), new))
            last = edits[-1][1]
    small = tidy(text, edits)
    assert damaged(text, small) == damaged(text, edits)
    assert damaged(damaged(text, small), inverse(text, small)) == text
    assert sum(end - start + len(new) for start, end, new in small) <= sum(e - s + len(new) for s, e, new in edits)


def test_edits_that_overlap_are_refused() -> None:
    assert tidy("abcdef", [(0, 3, "x"), (2, 4, "y")]) == ()
    assert tidy("abcdef", [(0, 3, "x"), (3, 4, "y")]) == ((0, 4, "xy"),)


def test_the_window_costs_the_same_in_a_large_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is parsed beyond the window and the block, however long the file is."""
    parsed: list[int] = []

    class Counting:
        def __init__(self) -> None:
            self.parser = python_parser()

        def parse(self, data: bytes) -> object:
            parsed.append(len(data))
            return self.parser.parse(data)

    monkeypatch.setattr("model.damage.scan._parser", Counting)
    text = library()[0] * 30
    for seed in range(30):
        draw(np.random.default_rng(seed), text, Counting())  # type: ignore[arg-type]
    assert parsed
    assert max(parsed) < 13_000
