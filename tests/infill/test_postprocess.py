"""Filters by cases; and right answers, cut out of real files, that must come through filters and gate unharmed."""

import random
import sysconfig
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infill.postprocess import FILTERS, Situation, one_line_mode, postprocess
from infill.syntax import SyntaxGate
from tests.drawn import Case, cases

CASES = cases("postprocess")
MODULES = (
    "argparse",
    "ast",
    "calendar",
    "configparser",
    "csv",
    "dataclasses",
    "difflib",
    "shutil",
    "tarfile",
    "textwrap",
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_cases(case: Case) -> None:
    one_line = "lines" not in case.flags and one_line_mode(case.prefix, case.suffix)
    situation = Situation(case.prefix, case.suffix, case.language, one_line)
    assert postprocess(case.answer, situation) == (case.answer if case.drawn is None else case.drawn)


def test_every_filter_has_cases() -> None:
    assert {apply.__name__ for apply in FILTERS} == {case.name.partition(":")[0] for case in CASES}


@pytest.mark.parametrize(
    ("suffix", "expected"),
    [
        ("", False),
        ("\nx", False),
        (")", False),
        (")]}:;, \r\nx", False),
        ("  # note", True),
        (" + z\n", True),
        ('"', True),
    ],
)
def test_one_line_mode(suffix: str, expected: bool) -> None:
    assert one_line_mode("x = ", suffix) is expected


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60), st.sampled_from(["python", "c", "yaml", None]))
def test_filters_take_any_text_and_settle(prefix: str, text: str, suffix: str, language: str | None) -> None:
    situation = Situation(prefix, suffix, language, one_line_mode(prefix, suffix))
    once = postprocess(text, situation)
    assert postprocess(once, situation) == once if once else once == ""


def test_right_answers_from_real_files_survive_filters_and_gate() -> None:
    draw = random.Random(0)
    holes = [hole for name in MODULES for hole in real_holes(name, draw, count=40)]
    assert len(holes) > 250
    kept = sum(
        postprocess(middle, Situation(prefix, suffix, "python", one_line_mode(prefix, suffix))) == middle
        for prefix, middle, suffix in holes
    )
    assert kept >= 0.99 * len(holes)
    refused = [middle for prefix, middle, suffix in holes if not SyntaxGate(prefix, suffix, "python").accepts(middle)]
    assert refused == []


def real_holes(module: str, draw: random.Random, *, count: int) -> list[tuple[str, str, str]]:
    """(prefix, middle, suffix): rests of lines, whole lines with and without indentation, and 2-5 lines."""
    text = (Path(sysconfig.get_path("stdlib")) / f"{module}.py").read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    holes: list[tuple[str, str, str]] = []
    for _ in range(count):
        first = draw.randrange(len(lines) - 5)
        last = first + draw.choice((0, 0, 0, draw.randint(1, 4)))
        line = lines[first].rstrip()
        indent = len(line) - len(line.lstrip())
        start = starts[first] + draw.choice((0, indent, draw.randint(indent, len(line))))
        end = starts[last] + len(lines[last].rstrip("\n"))
        middle = text[start:end]
        if middle.strip() and middle == middle.rstrip():
            holes.append((text[:start], middle, text[end:]))
    return holes
