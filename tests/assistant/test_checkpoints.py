"""What is said of a checkpoint, from its headers, for every family."""

import json
from pathlib import Path

import pytest

from assistant import checkpoints
from assistant.errors import ModelError
from model.published.load import open_published
from model.published.registry import FAMILIES
from tests.published import make


@pytest.mark.parametrize("family", FAMILIES)
def test_headers_tell_what_opening_would(tmp_path: Path, family: str) -> None:
    path = make(tmp_path, family)
    facts = checkpoints.look(path)
    opened = open_published(path, device="cpu", dtype="float32")
    assert facts.family == opened.family.name == family
    assert facts.context == opened.positions
    assert facts.block == opened.block
    assert facts.mask == (None if opened.family.uniform else opened.tokenizer.mask)
    needed = opened.family.layout.tensors(opened.family.layout.sizes(json.loads((path / "config.json").read_text())))
    assert facts.parameters >= sum(
        shape.numel() if hasattr(shape, "numel") else _count(shape) for shape in needed.values()
    )
    promised = checkpoints.expect(path / "config.json", path.name)
    assert (promised.family, promised.context, promised.block) == (facts.family, facts.context, facts.block)
    assert abs(promised.parameters - facts.parameters) <= 0.01 * facts.parameters
    lines = dict(facts.lines())
    assert lines["context"] == f"{facts.context} tokens"
    assert facts.needs["float32"] >= 4 * facts.parameters
    assert facts.needs["bfloat16"] >= 2 * facts.parameters


def _count(shape: tuple[int, ...]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total


def test_the_embedded_model_is_one_of_ours() -> None:
    from assistant.models import EMBEDDED

    facts = checkpoints.look(EMBEDDED)
    assert (facts.family, facts.context) == (checkpoints.OWN, 512)
    assert "attention" not in dict(facts.lines())


@pytest.mark.parametrize("config", ["{}", "[]", "{", '{"context": "many"}', '{"model_type": "gpt2"}'])
def test_what_is_no_checkpoint_is_told_in_one_sentence(tmp_path: Path, config: str) -> None:
    path = make(tmp_path, "a2d-qwen2")
    (path / "config.json").write_text(config, encoding="utf-8")
    with pytest.raises(ModelError) as error:
        checkpoints.look(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value) or "gpt2" in str(error.value)
