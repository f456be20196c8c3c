"""Packs: under the limit, usable alone, whole together, and damage is noticed."""

import functools
import json
import random
import shutil
from pathlib import Path

import pytest

from model import pack as packing
from model.corpus import Corpus, write_corpus, write_report
from model.fetch import CorpusError
from model.pack import pack, parse_size, unpack
from model.tokenizer import Tokenizer

LIMIT = 120_000


@functools.cache
def noise(seed: int, size: int) -> bytes:
    """Text that hardly compresses."""
    return bytes(random.Random(seed).choices(b"abcdefghijklmnopqrstuvwxyz_ \n", k=size))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    files = [(noise(i, 2_000 + 37 * i), f"package{i % 3}", f"m{i}.py") for i in range(60)]
    files += [("# ünïcödé\n".encode() * 40, "package1", "u.py"), (b"", "package1", "empty.py")]
    random.Random(0).shuffle(files)
    write_corpus(folder / "train", files)
    write_corpus(folder / "valid", [(b"valid = 1\n", "held", "v.py")])
    write_corpus(folder / "test", [(b"test = 1\n", "held", "t.py")])
    Tokenizer.train(["def f(x):\n    return x\n"], 400).save(folder / "tokenizer")
    write_report(folder, {"stages": {}})
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_all_packs_together_restore_every_byte_and_each_is_under_the_limit(data: Path, tmp_path: Path) -> None:
    packs = pack(data, tmp_path / "packs", LIMIT, jobs=1)
    assert len(packs) >= 2
    for folder in packs:
        assert sum(path.stat().st_size for path in folder.iterdir()) <= LIMIT
    assert sum(path.stat().st_size for path in packs[0].iterdir()) > LIMIT // 2, "the limit is used"
    restored = unpack(packs, tmp_path / "restored")
    assert restored["complete"] is True
    assert contents(tmp_path / "restored") == contents(data)


def test_one_pack_alone_is_a_fair_sample(data: Path, tmp_path: Path) -> None:
    packs = pack(data, tmp_path / "packs", LIMIT, jobs=1)
    restored = unpack(packs[:1], tmp_path / "one")
    assert restored["complete"] is False
    train, whole = Corpus.open(tmp_path / "one" / "train"), Corpus.open(data / "train")
    assert 0 < len(train) < len(whole)
    assert [train.text(i) for i in range(len(train))] == [whole.text(i) for i in range(len(train))]
    assert len({train.package(i) for i in range(len(train))}) == 3
    assert Corpus.open(tmp_path / "one" / "test").text(0) == "test = 1\n"
    assert Tokenizer.load(tmp_path / "one" / "tokenizer").vocab_size > 64


def test_files_may_arrive_in_any_order_and_folder(data: Path, tmp_path: Path) -> None:
    packs = pack(data, tmp_path / "packs", LIMIT, jobs=1)
    loose = sorted((path for folder in packs for path in folder.iterdir()), key=lambda path: path.name[::-1])
    assert unpack(loose, tmp_path / "restored")["complete"] is True


def test_packing_twice_gives_the_same_bytes(data: Path, tmp_path: Path) -> None:
    pack(data, tmp_path / "first", LIMIT, jobs=1)
    pack(data, tmp_path / "second", LIMIT, jobs=2)
    assert contents(tmp_path / "first") == contents(tmp_path / "second")


def test_packs_of_another_run_do_not_stay(data: Path, tmp_path: Path) -> None:
    pack(data, tmp_path / "packs", LIMIT, jobs=1)
    pack(data, tmp_path / "packs", 10 * LIMIT, jobs=1)
    assert [path.name for path in (tmp_path / "packs").iterdir()] == ["pack-1"]


def test_a_part_that_would_be_too_large_is_split(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "PART_LIMIT", 20_000)
    packs = pack(data, tmp_path / "packs", 10 * LIMIT, jobs=1)
    sizes = [path.stat().st_size for path in packs[0].glob("*.train-*")]
    assert len(sizes) > 3
    assert max(sizes) < 20_000
    assert unpack(packs, tmp_path / "restored")["complete"] is True


def test_damage_is_noticed_before_anything_is_written(data: Path, tmp_path: Path) -> None:
    packs = pack(data, tmp_path / "packs", LIMIT, jobs=1)
    part = next(packs[0].glob("*.train-01.*"))
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)
    with pytest.raises(CorpusError, match=r"pack-1\.train-01\.tar\.xz is damaged"):
        unpack(packs, tmp_path / "restored")
    part.unlink()
    with pytest.raises(CorpusError, match=r"pack-1\.train-01\.tar\.xz of pack 1 is missing"):
        unpack(packs, tmp_path / "restored")
    assert not (tmp_path / "restored").exists()


def test_packs_of_two_corpora_are_not_mixed(data: Path, tmp_path: Path) -> None:
    first = pack(data, tmp_path / "first", LIMIT, jobs=1)
    write_corpus(data / "train", [(noise(99, 5_000), "other", "o.py")])
    second = pack(data, tmp_path / "second", LIMIT, jobs=1)
    shutil.move(first[1], tmp_path / "pack-2")
    with pytest.raises(CorpusError, match="different corpora"):
        unpack([*second, tmp_path / "pack-2"], tmp_path / "restored")


def test_a_manifest_is_needed(data: Path, tmp_path: Path) -> None:
    packs = pack(data, tmp_path / "packs", LIMIT, jobs=1)
    with pytest.raises(CorpusError, match="no manifest"):
        unpack(list(packs[0].glob("*.xz")), tmp_path / "restored")


def test_a_limit_without_room_says_how_much_is_missing(data: Path, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"the limit has no room for m\d+\.py: set it \d+ bytes higher"):
        pack(data, tmp_path / "packs", 19_000, jobs=1)


def test_progress_is_told(data: Path, tmp_path: Path) -> None:
    told: list[int] = []
    packs = pack(data, tmp_path / "packs", LIMIT, jobs=1, on_pack=lambda manifest: told.append(manifest["files"]))
    assert sum(told) == len(Corpus.open(data / "train"))
    manifest = json.loads((packs[0] / "pack-1.manifest.json").read_text(encoding="utf-8"))
    assert manifest["files"] == told[0]


@pytest.mark.parametrize(
    ("text", "size"), [("60MiB", 60 * 2**20), ("1.5 GB", 1_500_000_000), ("4096", 4096), ("16kib", 16384)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "60 miles", "-1MB", "MiB"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="not a size"):
        parse_size(text)
