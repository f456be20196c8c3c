"""Checkpoint folders that are whole, and many that are not: refused in a sentence that names what is wrong."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from model.published.folder import INDEX, SINGLE, open_folder

NEEDED = {"a.weight": (2, 3), "b.weight": (4,)}
RECOMPUTED = {"inv_freq": (2,)}
A, B = "one.safetensors", "two.safetensors"


def whole(path: Path, **changes: torch.Tensor) -> None:
    (path / "config.json").write_text('{"model_type": "x"}')
    weights = {"a.weight": torch.arange(6.0).view(2, 3), "b.weight": torch.ones(4, dtype=torch.bfloat16)} | changes
    save_file(weights, path / SINGLE)


def sharded(path: Path) -> None:
    (path / "config.json").write_text("{}")
    save_file({"a.weight": torch.arange(6.0).view(2, 3)}, path / A)
    save_file({"b.weight": torch.ones(4)}, path / B)
    index(path, {"a.weight": A, "b.weight": B})


def index(path: Path, where: object) -> None:
    (path / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": where}))


def raw(path: Path, header: object, data: bytes = b"") -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    (path / "config.json").write_text("{}")
    (path / SINGLE).write_bytes(len(text).to_bytes(8, "little") + text + data)


def one(shape: list[int], start: int, end: int, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    whole(tmp_path, inv_freq=torch.zeros(2))
    (tmp_path / "modeling_x.py").write_text("raise SystemExit('run')")
    folder = open_folder(tmp_path)
    folder.check(NEEDED, RECOMPUTED)
    assert folder.unused == ("modeling_x.py",)
    assert folder.nbytes == 24 + 8 + 8
    assert torch.equal(folder.read("a.weight"), torch.arange(6.0).view(2, 3))
    assert torch.equal(folder.read("b.weight"), torch.ones(4, dtype=torch.bfloat16))
    folder.read("a.weight").zero_()
    assert folder.read("a.weight")[1, 2] == 5, "a mapped tensor is the reader's own"


def test_shards_are_read_through_the_index(tmp_path: Path) -> None:
    sharded(tmp_path)
    folder = open_folder(tmp_path)
    folder.check(NEEDED, {})
    assert torch.equal(folder.read("b.weight"), torch.ones(4))


def test_a_tensor_at_an_odd_byte_is_read(tmp_path: Path) -> None:
    text = json.dumps({"a": one([1], 0, 4)}).encode()
    raw(tmp_path, text + b" " * (1 - len(text) % 2), torch.tensor([2.5]).numpy().tobytes())
    assert open_folder(tmp_path).read("a").item() == 2.5


def test_a_file_that_is_larger_than_the_memory_is_read_tensor_by_tensor(tmp_path: Path) -> None:
    """No system lets anybody map all of it for writing."""
    much = 2**43
    raw(tmp_path, {"huge": one([much // 4], 0, much), "small": one([1], much, much + 4)})
    file = tmp_path / SINGLE
    begin = file.stat().st_size
    try:
        with file.open("r+b") as stream:
            stream.seek(begin + much)
            stream.write(torch.tensor([2.5]).numpy().tobytes())
    except OSError:
        pytest.skip("no sparse files here")
    assert open_folder(tmp_path).read("small").item() == 2.5


def test_a_file_that_became_shorter_is_refused_and_not_read_beyond_its_end(tmp_path: Path) -> None:
    whole(tmp_path)
    folder = open_folder(tmp_path)
    os.truncate(tmp_path / SINGLE, (tmp_path / SINGLE).stat().st_size - 1)
    last = max(folder.entries, key=lambda name: folder.entries[name].end)
    with pytest.raises(ValueError, match="has become shorter since it was checked"):
        folder.read(last)


SINGLE_FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no config": (lambda p: (p / "config.json").unlink(), r"config\.json is missing"),
    "broken config": (lambda p: (p / "config.json").write_text("{"), r"config\.json is not JSON"),
    "a list": (lambda p: (p / "config.json").write_text("[]"), r"config\.json must hold an object"),
    "not a number": (lambda p: (p / "config.json").write_text('{"a": NaN}'), "NaN is not a number"),
    "said twice": (lambda p: (p / "config.json").write_text('{"a": 1, "a": 2}'), "'a' is there twice"),
    "no weights": (lambda p: (p / SINGLE).unlink(), "neither"),
    "a pickle": (lambda p: (p / "pytorch_model.bin").write_bytes(b"\x80"), r"pytorch_model\.bin is a pickle"),
    "a pickle, PT": (lambda p: (p / "weights.PT").write_bytes(b"\x80"), r"weights\.PT is a pickle"),
    "two sources": (lambda p: index(p, {"a.weight": SINGLE}), "both"),
    "cut off": (lambda p: (p / SINGLE).write_bytes((p / SINGLE).read_bytes()[:-1]), "cut off or damaged"),
    "too long": (lambda p: (p / SINGLE).write_bytes((p / SINGLE).read_bytes() + b"x"), "cut off or damaged"),
    "header cut off": (lambda p: (p / SINGLE).write_bytes((p / SINGLE).read_bytes()[:30]), "is cut off"),
    "empty": (lambda p: (p / SINGLE).write_bytes(b""), "is cut off"),
    "huge header": (lambda p: (p / SINGLE).write_bytes(b"\xff" * 16), "is cut off, or is not"),
    "header no JSON": (lambda p: raw(p, b"}"), "the header of .* is not JSON"),
    "twice in header": (lambda p: raw(p, b'{"a": 1, "a": 1}'), "'a' is there twice"),
    "fields": (lambda p: raw(p, {"a": {"dtype": "F32"}}), "'a' is not described"),
    "metadata": (lambda p: raw(p, {"__metadata__": [1]}), "__metadata__ that is no object"),
    "type": (lambda p: raw(p, {"a": one([1], 0, 8, "I64")}, bytes(8)), "'a' is of the type 'I64'"),
    "negative": (lambda p: raw(p, {"a": one([-1], 0, 4)}, bytes(4)), r"'a' has the shape \[-1\]"),
    "backwards": (lambda p: raw(p, {"a": one([1], 4, 0)}, bytes(4)), "'a' has -4 bytes"),
    "beyond": (lambda p: raw(p, {"a": one([10**12], 0, 4 * 10**12)}), "cut off or damaged"),
    "a gap": (lambda p: raw(p, {"a": one([1], 4, 8)}, bytes(8)), "'a' begins"),
    "overlap": (lambda p: raw(p, {"a": one([1], 0, 4), "b": one([1], 0, 4)}, bytes(4)), "'b' begins"),
    "missing": (lambda p: raw(p, {"b.weight": one([4], 0, 16)}, bytes(16)), "lacks the tensor 'a.weight'"),
    "extra": (lambda p: whole(p, more=torch.ones(1)), "holds the tensor 'more'"),
    "misshapen": (lambda p: whole(p, **{"b.weight": torch.ones(5)}), r"'b\.weight' has the shape \[5\], not \[4\]"),
    "turned": (lambda p: whole(p, **{"a.weight": torch.ones(3, 2)}), r"'a\.weight' has the shape \[3, 2\]"),
    "a wrong table": (lambda p: whole(p, inv_freq=torch.ones(3)), "'inv_freq' has the shape"),
    "renamed": (
        lambda p: raw(p, {"a.wait": one([2, 3], 0, 24), "b.weight": one([4], 24, 40)}, bytes(40)),
        r"lacks the tensor 'a\.weight' .* and holds 'a\.wait'",
    ),
}


@pytest.mark.parametrize("fault", SINGLE_FAULTS)
def test_a_broken_folder_is_refused(tmp_path: Path, fault: str) -> None:
    spoil, said = SINGLE_FAULTS[fault]
    whole(tmp_path)
    spoil(tmp_path)
    with pytest.raises(ValueError, match=said):
        open_folder(tmp_path).check(NEEDED, RECOMPUTED)


SHARD_FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no map": (lambda p: index(p, {}), "no weight_map"),
    "escapes": (lambda p: index(p, {"a.weight": "../one.safetensors"}), "not the name of a safetensors file"),
    "absolute": (lambda p: index(p, {"a.weight": str(p / A)}), "not the name of a safetensors file"),
    "not weights": (lambda p: index(p, {"a.weight": "config.json"}), "not the name of a safetensors file"),
    "no name": (lambda p: index(p, {"a.weight": 3}), "'a.weight' into 3"),
    "shard missing": (lambda p: (p / B).unlink(), r"two\.safetensors, which is missing"),
    "twice": (lambda p: save_file({"a.weight": torch.ones(2, 3), "b.weight": torch.ones(4)}, p / B), "is in both"),
    "unsaid": (lambda p: index(p, {"b.weight": A}), "which .* does not say"),
    "promised": (lambda p: index(p, {"a.weight": A, "b.weight": B, "c": B}), "lacks the tensor 'c'"),
}


@pytest.mark.parametrize("fault", SHARD_FAULTS)
def test_broken_shards_are_refused(tmp_path: Path, fault: str) -> None:
    spoil, said = SHARD_FAULTS[fault]
    sharded(tmp_path)
    spoil(tmp_path)
    with pytest.raises(ValueError, match=said):
        open_folder(tmp_path)


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a folder"):
        open_folder(tmp_path / "nothing")
