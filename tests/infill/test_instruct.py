"""Edits by instruction, by tiny published models that know one answer by heart."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from infill.instruct import ASKED, GROWTH, ROOM, Instructor, InstructPrompt
from infill.passes import drive
from model.published.load import Published, open_published
from tests.published import make

TEXT = "import os\n\n\nclass Box:\n    def size(self):\n        return self.w*self.h\n\n\nprint(Box())\n"
START, END = TEXT.index("    def size"), TEXT.index("\n\n\nprint") + 1
BLOCK = TEXT[START:END]
ORDER = "Add spaces."


def prompt_of(published: Published, block: str = "def size(self):\n    return self.w*self.h") -> list[int]:
    chat, tokenizer = published.family.chat, published.tokenizer
    assert chat is not None
    text = ASKED.format(instruction=ORDER, language="python", block=block)
    return [*tokenizer.encode_marked(chat.before), *tokenizer.encode(text), *tokenizer.encode_marked(chat.after)]


def taught(folder: Path, family: str, answer: str) -> Published:
    """A model that answers the prompt with ``answer``, its end behind it as often as there is room."""
    path = make(folder, family, max_position_embeddings=512, max_sequence_length=512)
    published = open_published(path, device="cpu", dtype="float32")
    tokenizer, prompt = published.tokenizer, prompt_of(published)
    room = int(GROWTH * len(tokenizer.encode(BLOCK))) + ROOM
    row = torch.tensor([*prompt, *tokenizer.encode(answer), *[tokenizer.eot] * room])[: len(prompt) + room]
    generator = torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(published.network.requires_grad_(requires_grad=True).parameters(), lr=3e-3)
    for _ in range(200):
        hidden = torch.rand(4, len(row), generator=generator) < torch.rand(4, 1, generator=generator) + 0.2
        hidden[:, : len(prompt)] = False
        hidden[0, len(prompt) :] = True
        asked = hidden.roll(-1, dims=1) if published.family.shift else hidden
        logits = published.network(row.repeat(4, 1).masked_fill(hidden, tokenizer.mask), None, asked)
        loss = torch.nn.functional.cross_entropy(logits, row.repeat(4, 1)[hidden])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    published.network.requires_grad_(requires_grad=False)
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


def test_a_model_that_cannot_be_spoken_to_is_refused(tmp_path: Path) -> None:
    published = open_published(make(tmp_path, "dreamon"), device="cpu", dtype="float32")
    with pytest.raises(ValueError, match="DreamOn follows no instructions"):
        edit(published)
