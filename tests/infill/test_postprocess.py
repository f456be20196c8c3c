"""Filters by cases; and right answers, cut out of real files, that must come through filters and gate unharmed."""

import random
import sysconfig
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infill.postprocess import FILTERS, Situation, first_indent, one_line_mode, postprocess
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


def test_indentation_is_taken_off_where_the_line_has_it_and_nowhere_else() -> None:
    """Lines of real files with more than their indentation, and with the cursor as deep as the line above."""
    draw = random.Random(0)
    mended: list[bool] = []
    spoilt: list[str] = []
    short = 0
    for module in MODULES:
        lines = stdlib(module).splitlines(keepends=True)
        for row in draw.sample(range(1, len(lines)), 200):
            line, above = lines[row].rstrip(), next((text for text in reversed(lines[:row]) if text.strip()), "")
            indent, shallower = (text[: len(text) - len(text.lstrip())] for text in (line, above))
            if not indent:
                continue
            before, behind = "".join(lines[:row]), "\n" + "".join(lines[row + 1 :])
            found = first_indent("  " + line.strip(), Situation(before + indent, behind, "python"))
            mended.append(found == line.strip())
            if shallower and len(shallower) < len(indent):
                answer, short = line[len(shallower) :], short + 1
                if first_indent(answer, Situation(before + shallower, behind, "python")) != answer:
                    spoilt.append(answer)
    assert short > 200
    assert len(spoilt) < 0.02 * short, spoilt
    assert sum(mended) > 0.5 * len(mended)


def stdlib(module: str) -> str:
    return (Path(sysconfig.get_path("stdlib")) / f"{module}.py").read_text(encoding="utf-8")


def real_holes(module: str, draw: random.Random, *, count: int) -> list[tuple[str, str, str]]:
    """(prefix, middle, suffix): rests of lines, whole lines with and without indentation, and 2-5 lines."""
    text = stdlib(module)
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
