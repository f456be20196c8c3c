"""Edits by instruction, by tiny published models that know one answer by heart."""

from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import torch

from infill.instruct import Instructor, InstructPrompt
from infill.passes import drive
from model.published.denoiser import Published
from model.published.load import open_published
from model.published.registry import FAMILIES
from tests.published import learn_answers, make

TEXT = "import os\n\n\nclass Box:\n    def size(self):\n        return self.w*self.h\n\n\nprint(Box())\n"
START, END = TEXT.index("    def size"), TEXT.index("\n\n\nprint") + 1
BLOCK = TEXT[START:END]
ORDER = "Add spaces."


def taught(folder: Path, family: str, answer: str) -> Published:
    path = make(folder, family, max_position_embeddings=512, max_sequence_length=512)
    published = open_published(path, device="cpu", dtype="float32")
    learn_answers(published, [(ORDER, dedent(BLOCK), answer)])
    return published


def edit(published: Published, **changes: Any) -> Any:
    asked = replace(InstructPrompt(TEXT, START, END, ORDER, "python"), **changes)
    with torch.inference_mode():
        return drive(Instructor(published).begin(asked), published)


@pytest.mark.parametrize("family", ["llada", "dream"])
def test_a_block_becomes_what_the_answer_says_and_only_what_differs_changes(tmp_path: Path, family: str) -> None:
    published = taught(tmp_path, family, "```python\ndef size(self):\n    return self.w * self.h\n```")
    found = edit(published)
    assert [(TEXT[one.start : one.end], one.new) for one in found.changes] == [("", " "), ("", " ")]
    assert {TEXT[one.start] for one in found.changes} == {"*", "s"}
    assert found.reason is None
    assert found.passes >= 2


def test_an_answer_that_parses_worse_is_not_taken(tmp_path: Path) -> None:
    found = edit(taught(tmp_path, "llada", "```python\ndef size(self:\n    return self.w\n```"))
    assert found.changes == ()
    assert found.reason == "syntax"


def test_an_answer_that_changes_nothing_is_no_edit(tmp_path: Path) -> None:
    found = edit(taught(tmp_path, "llada", "```python\ndef size(self):\n    return self.w*self.h\n```"))
    assert found.changes == ()
    assert found.reason == "right"


def test_a_block_that_does_not_fit_is_left_alone(tmp_path: Path) -> None:
    published = open_published(make(tmp_path, "llada"), device="cpu", dtype="float32")
    found = edit(published, text="x = 1\n" * 400, start=0, end=2400)
    assert found.changes == ()
    assert found.reason == "long"
    assert found.passes == 0


def test_a_block_that_ends_with_its_line_end_does_not_reach_into_the_next_line(tmp_path: Path) -> None:
    published = open_published(make(tmp_path, "llada"), device="cpu", dtype="float32")
    text = "x = 1\n" * 400 + "a, b, c = 2, 3, 4\n"
    assert edit(published, text=text, start=0, end=2400).tokens == edit(published, text=text, start=0, end=2399).tokens


def test_a_model_that_cannot_be_spoken_to_is_refused(tmp_path: Path) -> None:
    published = open_published(make(tmp_path, "dreamon"), device="cpu", dtype="float32")
    with pytest.raises(ValueError, match="DreamOn follows no instructions"):
        edit(published)


@pytest.mark.parametrize("family", [family.name for family in FAMILIES.values() if family.chat is not None])
def test_every_family_that_is_spoken_to_can_be_asked(tmp_path: Path, family: str) -> None:
    """Nothing was learned, so nothing is to be expected but an end."""
    published = open_published(make(tmp_path, family), device="cpu", dtype="float32")
    found = edit(published, text="def f(a):\n    return a*2\n", start=0, end=26)
    assert found.passes > 0
    assert (found.reason is None) == bool(found.changes)
