"""What is said of a checkpoint, from its headers, for every family."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from assistant import checkpoints
from assistant.config import Settings
from assistant.errors import ModelError
from assistant.models import tasks_of
from assistant.service import open_infiller
from model.published.load import open_published
from model.published.registry import FAMILIES
from tests.published import make

Spoil = Callable[[Path], object]


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


def rewritten(**changes: Any) -> Spoil:
    def spoil(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        (folder / "config.json").write_text(json.dumps(config | changes), encoding="utf-8")

    return spoil


def holding(name: str, content: bytes) -> Spoil:
    return lambda folder: (folder / name).write_bytes(content)


def stored(change: Callable[[dict[str, torch.Tensor]], object]) -> Spoil:
    def spoil(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors")

    return spoil


def gap(folder: Path) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    vocab = tokenizer["model"]["vocab"]
    vocab[next(token for token, number in vocab.items() if number == len(vocab) - 1)] = len(vocab) + 5
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")


SHIFT = "network.shift"
SPOILT: list[tuple[Spoil, str]] = [
    (rewritten(model_type=None), "config.json: model_type is None, not 'hone-canvas'"),
    (rewritten(n_layers=10**12), "config.json: n_layers must be a whole number from 1 to 1024, not 1000000000000"),
    (rewritten(n_layers=1024), "but its config.json needs"),
    (rewritten(d_model=2048), "but its config.json needs"),
    (rewritten(n_layers=1), "which is not known"),
    (holding("config.json", b"[]"), "config.json must hold an object, not list"),
    (holding("config.json", b"null"), "config.json must hold an object, not NoneType"),
    (holding("config.json", b"[" * 100_000), "config.json is not JSON that can be used"),
    (holding("config.json", b'{"model_type": "hone-canvas"}'), "config.json lacks vocab_size"),
    (holding("tokenizer.json", b"{}"), "tokenizer.json is no tokenizer that can be used"),
    (holding("tokenizer.json", b""), "tokenizer.json is no tokenizer that can be used"),
    (holding("tokenizer.json", bytes(range(256))), "tokenizer.json is no tokenizer that can be used"),
    (gap, "tokenizer.json: not a tokenizer of Hone"),
    (lambda folder: (folder / "tokenizer.json").unlink(), "holds no tokenizer.json"),
    (stored(lambda tensors: tensors.pop(SHIFT)), "lacks the tensor 'network.shift'"),
    (stored(lambda tensors: tensors.update(more=torch.ones(1))), "holds the tensor 'more'"),
    (stored(lambda tensors: tensors.update({SHIFT: torch.ones(3)})), "'network.shift' has the shape [3], not [64]"),
    (stored(lambda tensors: tensors.update({SHIFT: tensors[SHIFT].to(torch.int8)})), "'network.shift' is of the type"),
    (holding("pytorch_model.bin", b""), "pytorch_model.bin is a pickle"),
]


@pytest.mark.parametrize(("spoil", "said"), SPOILT)
def test_looking_refuses_what_opening_refuses_in_the_same_words(
    checkpoint: Path, tmp_path: Path, spoil: Spoil, said: str
) -> None:
    folder = tmp_path / "spoilt"
    shutil.copytree(checkpoint, folder)
    spoil(folder)
    with pytest.raises(ModelError) as looked:
        checkpoints.look(folder)
    with pytest.raises(ModelError) as opened:
        open_infiller(Settings(model=folder, device="cpu"))
    assert said in str(looked.value)
    assert str(opened.value).startswith(str(looked.value))
    assert str(folder) in str(looked.value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_weights_that_are_no_numbers_are_refused(
    checkpoint: Path, tmp_path: Path, value: float, dtype: torch.dtype
) -> None:
    folder = tmp_path / "spoilt"
    shutil.copytree(checkpoint, folder)
    stored(lambda tensors: tensors.update({SHIFT: tensors[SHIFT].to(dtype).index_fill(0, torch.tensor(7), value)}))(
        folder
    )
    with pytest.raises(ModelError, match=r"model.safetensors: 'network.shift' holds numbers that are not finite"):
        open_infiller(Settings(model=folder, device="cpu"))


@pytest.mark.parametrize("name", ["calibration.json", "edits.json"])
def test_what_lies_too_deep_is_told_in_one_sentence(checkpoint: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "deep"
    shutil.copytree(checkpoint, folder)
    (folder / name).write_text("[" * 100_000, encoding="utf-8")
    tasks_of(folder)
    with pytest.raises(ModelError, match=f"{name} is not JSON that can be used"):
        open_infiller(Settings(model=folder, device="cpu"))


@pytest.mark.parametrize("config", ["{}", "[]", "{", '{"context": "many"}', '{"model_type": "gpt2"}'])
def test_what_is_no_checkpoint_is_told_in_one_sentence(tmp_path: Path, config: str) -> None:
    path = make(tmp_path, "a2d-qwen2")
    (path / "config.json").write_text(config, encoding="utf-8")
    with pytest.raises(ModelError) as error:
        checkpoints.look(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value) or "gpt2" in str(error.value)
