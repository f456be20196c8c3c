"""Tasks are real spans of real files, spread evenly, and the same on every machine."""

import gzip
import json
from pathlib import Path

import pytest

from infill import tasks
from infill.tasks import KINDS, Source, Task, make_tasks

CODE = '''"""A file about shelves: größer."""

import math


class Shelf(object):
    # Boxes stay in order.
    def __init__(self, width, boxes=()):
        """Take the width."""
        self.width = width
        self.boxes = [box for box in boxes if box.width <= width]

    def volume(self, unit="m"):
        total = 0.0
        for box in self.boxes:
            total += math.prod([box.width, box.height, box.depth])
        if unit == "cm":
            return total * 1_000_000
        return total
'''
SOURCES = [Source(package, f"{name}.py", CODE) for package in ("a", "b", "c") for name in ("x", "y")]


def check(kind: str, n: int = 24) -> list[Task]:
    made = make_tasks(SOURCES, kind, n)
    assert made
    for task in made:
        assert task.prefix + task.middle + task.suffix == task.text
        assert task.middle.strip()
        assert task.kind == kind
    assert len({task.name for task in made}) == len(made)
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_tasks_whatever_the_order_of_the_files(kind: str) -> None:
    made = check(kind)
    assert made == make_tasks(SOURCES[::-1], kind, 24)
    assert made[:5] == make_tasks(SOURCES, kind, 5)
    assert made != make_tasks(SOURCES, kind, 24, seed=1)


@pytest.mark.parametrize("kind", ["rest", "line", "lines", "expression"])
def test_packages_and_files_get_equal_shares(kind: str) -> None:
    made = check(kind, 12)
    assert {(task.package, task.path) for task in made[:6]} == {(source.package, source.path) for source in SOURCES}
    assert [task.package for task in made[:6]] == ["a", "b", "c"] * 2


def test_rest_begins_behind_the_first_character_of_a_line_and_ends_with_it() -> None:
    for task in check("rest") + check("tail"):
        line = task.prefix[task.prefix.rfind("\n") + 1 :]
        assert line.strip()
        assert "\n" not in task.middle
        assert task.suffix.startswith("\n") or (task.kind == "tail" and task.suffix == "")


def test_line_is_the_text_of_a_line_with_the_cursor_behind_its_indentation() -> None:
    for task in check("line"):
        assert task.prefix[task.prefix.rfind("\n") + 1 :].strip() == ""
        assert not task.middle[0].isspace()
        assert task.suffix.startswith("\n")
    assert all(task.prefix == "" or task.prefix.endswith("\n") for task in check("start"))


def test_lines_are_two_to_four_and_do_not_end_in_a_blank_one() -> None:
    for task in check("lines"):
        found = task.middle.split("\n")
        assert 2 <= len(found) <= 4
        assert found[-1].strip()
        assert task.suffix.startswith("\n")


def test_nodes_are_what_they_are_called() -> None:
    assert {"total * 1_000_000", "box.width <= width"} <= {task.middle for task in check("expression", 200)}
    arguments = check("arguments", 200)
    assert {task.middle for task in arguments} == {"[box.width, box.height, box.depth]", "object"}
    assert all(task.prefix.endswith("(") and task.suffix.startswith(")") for task in arguments)
    assert "return total * 1_000_000" in {task.middle for task in check("block", 200)}


def test_comments_and_docstrings_are_flagged() -> None:
    flagged = {task.middle for task in check("line", 200) if task.prose}
    assert flagged == {'"""A file about shelves: größer."""', "# Boxes stay in order.", '"""Take the width."""'}


def test_a_middle_can_be_capped_in_tokens() -> None:
    made = make_tasks(SOURCES, "line", 50, longest=2, count=lambda text: len(text.split()))
    assert made
    assert all(len(task.middle.split()) <= 2 for task in made)


def test_broken_and_blank_files_give_no_task() -> None:
    assert (
        make_tasks([Source("a", "x.py", "def f(:\n"), Source("a", "y.py", "\n\n"), Source("a", "z.py", "")], "rest", 5)
        == []
    )
    one = make_tasks([Source("a", "x.py", "x\n")], "line", 5)
    assert [task.middle for task in one] == ["x"]


def test_windows_line_ends_stay_outside_the_hole() -> None:
    made = make_tasks([Source("a", "x.py", CODE.replace("\n", "\r\n"))], "line", 8)
    assert all("\r" not in task.middle and task.suffix.startswith("\r\n") for task in made)


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(ValueError, match="unknown kind of task 'word'"):
        make_tasks(SOURCES, "word", 1)


def test_a_folder_of_python_files_is_a_source(tmp_path: Path) -> None:
    (tmp_path / "pack" / "sub").mkdir(parents=True)
    (tmp_path / "pack" / "sub" / "a.py").write_text(CODE, encoding="utf-8")
    (tmp_path / "pack" / "b.py").write_bytes(b"\xff\xfe")
    (tmp_path / "c.py").write_text("x = 1\n")
    found = tasks.from_folder(tmp_path)
    assert [(source.package, source.path) for source in found] == [(tmp_path.name, "c.py"), ("pack", "pack/sub/a.py")]
    with pytest.raises(FileNotFoundError, match="wants a folder of Python files"):
        tasks.from_folder(tmp_path / "nowhere")


def test_humaneval_holes_are_filled_into_the_program_that_is_run(tmp_path: Path) -> None:
    row = {"task_id": "T/0", "entry_point": "f", "prompt": "def f(x):\n", "canonical_solution": "    y = x\n"}
    row |= {"suffix": "    return y\n", "test": "def check(g):\n    assert g(2) == 2\n"}
    with gzip.open(tmp_path / "HumanEval-SingleLineInfilling.jsonl.gz", "wt") as file:
        file.write(json.dumps(row) + "\n")
    (task,) = tasks.from_humaneval(tmp_path)
    assert (task.middle, task.suffix) == ("    y = x", "\n    return y\n")
    space: dict[str, object] = {}
    exec(task.filled("    y = 2") + str(task.test), space)


def test_quixbugs_holes_are_the_line_that_was_wrong(tmp_path: Path) -> None:
    row = {"name": "f", "buggy_program": "def f(n):\n    return n - 1", "solution": "def f(n):\n    return n + 1"}
    two = row | {"name": "g", "solution": "def f(m):\n    return m + 1"}
    text = "\n".join(json.dumps(entry | {"tests": "assert f(1) == 2"}) for entry in (row, two))
    (tmp_path / "quixbugs_python.jsonl").write_text(text)
    (task,) = tasks.from_quixbugs(tmp_path)
    assert (task.path, task.prefix, task.middle) == ("f", "def f(n):\n    ", "return n + 1")
