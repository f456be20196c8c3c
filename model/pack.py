"""Packs: the corpus as a few compressed files that travel together and stay under a limit.

A pack is a folder that can be used alone. It holds a manifest with the SHA-256 of every other file, one common part
(tokenizer, report, held-out splits) and parts of the training text. Files go to packs in the corpus' shuffled order,
so that each pack is a fair sample of all packages; inside a pack they lie by package and path, so that the compressor
sees neighbours. All packs of a corpus together restore it byte for byte.

    pack-1/pack-1.manifest.json
    pack-1/pack-1.common.tar.xz     valid/, test/, tokenizer/, report.json
    pack-1/pack-1.train-01.tar.xz   text.bin, index.jsonl (with each file's place in the whole corpus)

Every file is a plain ``tar.xz`` and below ``PART_LIMIT``, since some ways of transport take only small files.
"""

import io
import json
import lzma
import os
import re
import shutil
import tarfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from model.corpus import Corpus, write_corpus
from model.fetch import CorpusError, content_digest, file_digest

PART_LIMIT = 16 * 2**20
PART_TEXT = 64 * 2**20
"""Bytes of text in one part, about 9 MiB when compressed."""

_RATIO = 6.5
"""First guess of how well code compresses; the second pack uses what the first one had."""
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """One compressed file of a pack, still in memory."""

    name: str
    content: bytes


def parse_size(text: str) -> int:
    """Bytes in ``60MiB``, ``1.5 GB``, ``4096``.

    Raises:
        ValueError: not a size.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    if match is None or match[2].upper() not in _UNITS:
        raise ValueError(f"not a size: {text!r}; write it like 60MiB")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def pack(
    folder: Path,
    out: Path,
    limit: int,
    *,
    jobs: int | None = None,
    on_pack: Callable[[Manifest], None] | None = None,
) -> list[Path]:
    """Write the data folder as packs of at most ``limit`` bytes each; gives back their folders.

    Args:
        jobs: compressors at work at once (0.7 GB of memory each); one per core unless given.
        on_pack: told the manifest of every pack that is complete.

    Raises:
        FileNotFoundError: the folder holds no corpus.
        CorpusError: the limit has no room for the common part and one file.
    """
    train = Corpus.open(folder / "train")
    common = _common(folder)
    identity = {"corpus": file_digest(folder / "train" / "text.bin"), "files_in_all": len(train), "limit": limit}
    out.mkdir(parents=True, exist_ok=True)
    for stale in out.glob("pack-*"):
        shutil.rmtree(stale)
    packs: list[Path] = []
    first, ratio = 0, _RATIO
    while first < len(train) or not packs:
        number = len(packs) + 1
        files, parts = _fill(train, first, limit - _overhead(common), ratio, jobs or os.cpu_count() or 1)
        raw, packed = sum(map(train.size, files)), sum(len(part.content) for part in parts)
        manifest = {**identity, "pack": number, "files": len(files), "text_bytes": raw}
        packs.append(_write_pack(out, number, [common, *parts], manifest))
        if on_pack is not None:
            on_pack(json.loads(_manifest_path(packs[-1]).read_text(encoding="utf-8")))
        first += len(files)
        ratio = raw / max(1, packed)
    return packs


def unpack(paths: Sequence[Path], folder: Path) -> Manifest:
    """Restore a data folder from packs: their folders, or their files in any order.

    Nothing is written before every checksum has been verified. Gives back what was restored: packs, files, bytes, and
    whether the corpus is complete.

    Raises:
        CorpusError: a file is missing or damaged, or the packs are of different corpora.
    """
    files = {path.name: path for given in paths for path in (sorted(given.iterdir()) if given.is_dir() else [given])}
    manifests = [
        json.loads(path.read_text("utf-8")) for name, path in sorted(files.items()) if name.endswith("manifest.json")
    ]
    if not manifests:
        raise CorpusError("no manifest among the files: a pack is unpacked together with its pack-N.manifest.json")
    if len({manifest["corpus"] for manifest in manifests}) > 1:
        raise CorpusError("the packs are of different corpora")
    for manifest in manifests:
        _verify(manifest, files)
    folder.mkdir(parents=True, exist_ok=True)
    _extract_common(next(path for name, path in files.items() if ".common." in name), folder)
    parts = [files[name] for manifest in manifests for name in manifest["sha256"] if ".train-" in name]
    _restore_train(parts, folder / "train")
    train = Corpus.open(folder / "train")
    complete = len(train) == manifests[0]["files_in_all"]
    if complete and file_digest(folder / "train" / "text.bin") != manifests[0]["corpus"]:
        raise CorpusError(f"{folder / 'train'} is not the corpus that was packed, though every part is whole")
    packs = [manifest["pack"] for manifest in manifests]
    return {"packs": packs, "files": len(train), "bytes": train.total, "complete": complete}


# ---------------------------------------------------------------------------------------------------- packing


def _fill(corpus: Corpus, first: int, room: int, ratio: float, jobs: int) -> tuple[list[int], list[Part]]:
    """The next files, as many as are likely to fit, and their parts. Takes fewer until they do fit."""
    while True:
        files: list[int] = []
        total = 0
        for i in range(first, len(corpus)):
            total += corpus.size(i)
            if total > room * ratio and files:
                break
            files.append(i)
        files.sort(key=lambda i: (corpus.package(i), corpus.path(i)))
        parts = _compress_all(corpus, files, jobs)
        packed = sum(len(part.content) for part in parts)
        if packed <= room:
            return files, parts
        if len(files) == 1:
            raise CorpusError(f"the limit has no room for {corpus.path(files[0])}: set it {packed - room} bytes higher")
        ratio *= 0.97 * max(0.1, room / packed)


def _compress_all(corpus: Corpus, files: Sequence[int], jobs: int) -> list[Part]:
    chunks: list[list[int]] = []
    total = PART_TEXT
    for i in files:
        total += corpus.size(i)
        if total > PART_TEXT:
            chunks.append([])
            total = corpus.size(i)
        chunks[-1].append(i)
    with ThreadPoolExecutor(jobs) as pool:  # lzma works outside of the interpreter lock
        contents = [content for group in pool.map(lambda chunk: _compress(corpus, chunk), chunks) for content in group]
    return [Part(f"train-{number:02}.tar.xz", content) for number, content in enumerate(contents, 1)]


def _compress(corpus: Corpus, files: Sequence[int]) -> list[bytes]:
    """One part, or several when one would be too large."""
    rows = [{"order": i, **vars(corpus.rows[i]), "start": 0, "end": corpus.size(i)} for i in files]
    start = 0
    for row in rows:
        row["start"], row["end"] = start, start + row["end"]
        start = row["end"]
    index = "".join(json.dumps(row) + "\n" for row in rows).encode()
    content = _archive({"index.jsonl": index, "text.bin": b"".join(corpus.content(i) for i in files)})
    if len(content) < PART_LIMIT or len(files) == 1:
        return [content]
    half = len(files) // 2
    return _compress(corpus, files[:half]) + _compress(corpus, files[half:])


def _common(folder: Path) -> Part:
    paths = [path for name in ("valid", "test", "tokenizer") for path in sorted((folder / name).glob("*.*"))]
    paths = [path for path in [*paths, folder / "report.json"] if path.is_file() and path.suffix != ".part"]
    content = _archive({path.relative_to(folder).as_posix(): path.read_bytes() for path in paths})
    return Part("common.tar.xz", content)


def _overhead(common: Part) -> int:
    return len(common.content) + 16 * 2**10  # the manifest: some 100 bytes for each part


def _archive(members: dict[str, bytes]) -> bytes:
    """A tar.xz of the members, the same bytes every time."""
    out = io.BytesIO()
    seen = max(4096, min(PART_TEXT, sum(map(len, members.values()))))  # the compressor sees the whole part
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": seen}]
    with lzma.open(out, "wb", filters=filters) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def _write_pack(out: Path, number: int, parts: Sequence[Part], manifest: Manifest) -> Path:
    name = f"pack-{number}"
    partial = out / f"{name}.part"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    parts = [replace(part, name=f"{name}.{part.name}") for part in parts]
    for part in parts:
        (partial / part.name).write_bytes(part.content)
    manifest = {**manifest, "sha256": {part.name: content_digest(part.content) for part in parts}}
    (partial / f"{name}.manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return partial.rename(out / name)


def _manifest_path(folder: Path) -> Path:
    return folder / f"{folder.name}.manifest.json"


# ---------------------------------------------------------------------------------------------------- unpacking


def _verify(manifest: Manifest, files: dict[str, Path]) -> None:
    for name, digest in manifest["sha256"].items():
        if name not in files:
            raise CorpusError(f"{name} of pack {manifest['pack']} is missing")
        if file_digest(files[name]) != digest:
            raise CorpusError(f"{name} is damaged: its sha256 is not the manifest's")


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(path, "r:xz") as archive:
        for info in archive:
            member = archive.extractfile(info)
            if member is not None:
                yield info.name, member.read()


def _extract_common(path: Path, folder: Path) -> None:
    for name, content in _members(path):
        if not re.fullmatch(r"((valid|test|tokenizer)/)?\w+\.\w+", name):
            raise CorpusError(f"{path.name} holds {name}, which no pack of ours does")
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)


def _restore_train(parts: Sequence[Path], folder: Path) -> None:
    """Put the files of all parts back into the order of the corpus, by way of one scratch file."""
    folder.mkdir(parents=True, exist_ok=True)
    scratch = folder / "scratch.part"
    rows: list[dict[str, Any]] = []
    with scratch.open("w+b") as file:
        for part in parts:
            members = dict(_members(part))
            base = file.tell()
            file.write(members["text.bin"])
            for line in members["index.jsonl"].splitlines():
                row = json.loads(line)
                rows.append({**row, "start": base + row["start"], "end": base + row["end"]})
        rows.sort(key=lambda row: row["order"])

        def files() -> Iterator[tuple[bytes, str, str]]:
            for row in rows:
                file.seek(row["start"])
                yield file.read(row["end"] - row["start"]), row["package"], row["path"]

        write_corpus(folder, files())
    scratch.unlink()
