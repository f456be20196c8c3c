"""A published checkpoint's folder, read without running anything that lies in it.

Weights come from safetensors files only: their headers are checked against what the network needs before anything is
allocated, then tensors are mapped from the file. Python files are never run or imported. All refusals are ValueError,
one sentence that names the file or the tensor. The format: https://github.com/huggingface/safetensors#format
"""

import mmap
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.jsonfile import json_object, read_json
from model.published.fields import said

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
EXPONENTS = {torch.float32: 0x7F800000, torch.float16: 0x7C00, torch.bfloat16: 0x7F80}
PART = 1 << 20
"""Numbers that are looked at at a time."""
PICKLES = {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"}
READ = {".json", ".safetensors", ".txt"}
LARGEST_HEADER = 100_000_000
"""Bytes; the limit of the format's own reader."""


@dataclass(frozen=True)
class Entry:
    """Where a tensor lies: bytes ``start`` to ``end`` of ``file``."""

    file: Path
    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True)
class Folder:
    path: Path
    config: Mapping[str, Any]
    entries: Mapping[str, Entry]
    unused: tuple[str, ...]
    """Python files beside the weights: not read, not run."""

    @property
    def nbytes(self) -> int:
        return sum(entry.end - entry.start for entry in self.entries.values())

    @property
    def parameters(self) -> int:
        return sum(prod(entry.shape) for entry in self.entries.values())

    def check(self, needed: Mapping[str, tuple[int, ...]], recomputed: Mapping[str, tuple[int, ...]]) -> None:
        """Every needed tensor is there with its shape, and nothing besides but what is ``recomputed``. From headers."""
        check_names(self.path, self.entries, needed, recomputed)
        for name, entry in self.entries.items():
            shape = needed[name] if name in needed else recomputed[name]
            if entry.shape != tuple(shape):
                where = f"{self.path / entry.file.name}: {said(name)}"
                raise ValueError(f"{where} has the shape {said(list(entry.shape))}, not {list(shape)}")

    def read(self, name: str) -> Tensor:
        """The tensor, mapped from the file. Writing to it does not change the file.

        Raises:
            ValueError: the file became shorter, or the tensor has values that are no finite numbers.
        """
        entry = self.entries[name]
        if entry.start == entry.end:
            return torch.empty(entry.shape, dtype=entry.dtype)
        # No more than this tensor: a file may be larger than the memory that a system lets anybody map for writing.
        begin = entry.start - entry.start % mmap.ALLOCATIONGRANULARITY
        with entry.file.open("rb") as file:
            if os.fstat(file.fileno()).st_size < entry.end:
                raise ValueError(f"{entry.file} has become shorter since it was checked")
            mapped = mmap.mmap(file.fileno(), entry.end - begin, access=mmap.ACCESS_COPY, offset=begin)
        data = torch.frombuffer(mapped, dtype=torch.uint8, offset=entry.start - begin)
        # A header need not end where a number of this size may begin.
        data = data.clone() if entry.start % entry.dtype.itemsize else data
        value = data.view(entry.dtype).view(entry.shape)
        if not _is_finite(value):
            raise ValueError(f"{entry.file}: {said(name)} holds numbers that are not finite: the weights are damaged")
        return value


def _is_finite(value: Tensor) -> bool:
    """Of a number that is not, all bits of the exponent are set. As whole numbers, on one thread, that is seen in
    7 ms for the embedded model; torch's sum needs 45."""
    exponent = EXPONENTS[value.dtype]
    bits: Any = value.flatten().view(torch.uint8).numpy().view(np.int32 if value.itemsize == 4 else np.int16)
    return all(int((bits[i : i + PART] & exponent).max()) < exponent for i in range(0, len(bits), PART))


def check_names(where: Path, names: Collection[str], needed: Collection[str], recomputed: Collection[str]) -> None:
    """Raises ValueError: a tensor that is needed is not among those of ``where``, or one is that nobody knows."""
    missing = [name for name in needed if name not in names]
    extra = [name for name in names if name not in needed and name not in recomputed]
    if missing:
        unknown = f", and holds {said(extra[0])}, which is not known" if extra else ""
        raise ValueError(f"{where} lacks the tensor {said(missing[0])} ({len(missing)} in all){unknown}")
    if extra:
        raise ValueError(f"{where} holds the tensor {said(extra[0])} ({len(extra)} in all), which is not known")


def open_folder(path: Path) -> Folder:
    """Raises ValueError: the folder is not one, or a file in it is not as it must be."""
    if not path.is_dir():
        raise ValueError(f"{path} is not a folder")
    names = sorted(entry.name for entry in path.iterdir())
    for name in names:
        if Path(name).suffix.lower() in PICKLES:
            raise ValueError(f"{path / name} is a pickle, which can run code when it is read: use safetensors only")
    return Folder(
        path=path,
        config=read_json(path / "config.json"),
        entries=_entries(path),
        unused=tuple(name for name in names if name.endswith(".py")),
    )


def check_links(path: Path) -> None:
    """Files that are read lie in the folder itself: a link out of it could name any file of the user's. The hub's own
    cache, where a snapshot is links to ``blobs``, is one folder.

    Raises:
        ValueError: a file that would be read is a link to somewhere else.
    """
    home = path.resolve()
    inside = [home, *([home.parents[1] / "blobs"] if home.parent.name == "snapshots" else [])]
    for entry in sorted(path.iterdir()) if path.is_dir() else ():
        if not entry.is_symlink() or entry.suffix not in READ:
            continue
        try:
            target = entry.resolve()
        except (OSError, RuntimeError):  # which of them, depends on Python's version
            raise ValueError(f"{entry} is a link that leads nowhere: put the file itself there") from None
        if not any(target.is_relative_to(one) for one in inside):
            raise ValueError(f"{entry} is a link to {target}, outside of the folder: put the file itself there")


def _entries(path: Path) -> dict[str, Entry]:
    index, single = path / INDEX, path / SINGLE
    if index.is_file() and single.is_file():
        raise ValueError(f"{path} holds both {INDEX} and {SINGLE}: which one counts cannot be told")
    if single.is_file():
        return _header(single)
    if not index.is_file():
        raise ValueError(f"{path} holds neither {SINGLE} nor {INDEX}")
    where = read_json(index).get("weight_map")
    if not isinstance(where, dict) or not where:
        raise ValueError(f"{index} has no weight_map")
    entries: dict[str, Entry] = {}
    for shard in dict.fromkeys(_shard(index, name, shard) for name, shard in where.items()):
        for name, entry in _header(path / shard).items():
            if name in entries:
                raise ValueError(f"the tensor {said(name)} is in both {entries[name].file.name} and {shard} of {path}")
            if where.get(name) != shard:
                raise ValueError(f"{path / shard} holds the tensor {said(name)}, which {INDEX} does not say")
            entries[name] = entry
    for name, shard in where.items():
        if name not in entries:
            raise ValueError(f"{path / shard} lacks the tensor {said(name)}, which {INDEX} promises")
    return entries


def _shard(index: Path, name: str, shard: object) -> str:
    """A plain name of a file that is there beside the index."""
    plain = isinstance(shard, str) and shard.endswith(".safetensors") and not set(shard) & set("/\\:\0")
    if not plain:
        raise ValueError(
            f"{index} puts {said(name)} into {said(shard)}, which is not the name of a safetensors file beside it"
        )
    if not (index.parent / str(shard)).is_file():
        raise ValueError(f"{index} puts {said(name)} into {shard}, which is missing")
    return str(shard)


def _header(file: Path) -> dict[str, Entry]:
    """Eight bytes with the header's length, the header, then tensors without gaps up to the file's end."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or length > min(size - 8, LARGEST_HEADER):
            raise ValueError(f"{file} is cut off, or is not a safetensors file: its header would be {length} bytes")
        header = json_object(stream.read(length), f"the header of {file}")
    if not isinstance(header.pop("__metadata__", {}), dict):
        raise ValueError(f"the header of {file} has a __metadata__ that is no object")  # noqa: TRY004 (a file's value)
    entries = {name: _entry(file, 8 + length, name, fields) for name, fields in header.items()}
    end = 8 + length
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].start, item[1].end)):
        if entry.start != end:
            raise ValueError(f"{file}: the tensor {said(name)} begins at byte {entry.start}, not at {end}")
        end = entry.end
    if end != size:
        raise ValueError(f"{file} has {size} bytes, but its header describes {end}: it is cut off or damaged")
    return entries


def _entry(file: Path, base: int, name: str, fields: object) -> Entry:
    if not isinstance(fields, dict) or set(fields) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{file}: {said(name)} is not described by dtype, shape and data_offsets")
    dtype, shape, offsets = fields["dtype"], fields["shape"], fields["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise ValueError(f"{file}: {said(name)} is of the type {said(dtype)}: only {', '.join(DTYPES)} can be used")
    if not _whole(shape) or not _whole(offsets) or len(offsets) != 2:
        raise ValueError(f"{file}: {said(name)} has the shape {said(shape)} at {said(offsets)}, which cannot be")
    start, end = offsets
    if end - start != prod(shape) * DTYPES[dtype].itemsize:
        raise ValueError(f"{file}: {said(name)} has {end - start} bytes, which do not fit its shape {said(shape)}")
    return Entry(file, DTYPES[dtype], tuple(shape), base + start, base + end)


def _whole(values: object) -> bool:
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)
