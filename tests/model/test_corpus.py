"""From packages to a corpus: what is fetched and refused, kept and left out, and in which order."""

import hashlib
import json
import subprocess
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from email.message import Message
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from model import clean
from model.build import build, main
from model.corpus import Corpus, Row, even_sample, read_report, train_tokenizer, write_corpus
from model.fetch import CorpusError, LicenceError, Package, fetch, permissive, read_table

CONSOLE = Console(file=StringIO())


def program(name: str, functions: int = 12) -> str:
    """A program that shares no three lines in a row with a program of another name."""
    parts = [
        f"def {name}_{i}(first, second):\n    {name} = first + second\n    return {name}\n" for i in range(functions)
    ]
    return f'"""The {name} module."""\n\n' + "\n\n".join(parts)


def metadata(name: str, licence: str = "License-Expression: MIT") -> str:
    return f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.0\n{licence}\n\nA package.\n"


def make_wheel(
    folder: Path, name: str, files: dict[str, str | bytes], licence: str = "License-Expression: MIT"
) -> Package:
    """A wheel on disk, and the row that pins it."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inner, content in files.items():
            archive.writestr(f"{name}/{inner}", content)
        archive.writestr(f"{name}-1.0.dist-info/METADATA", metadata(name, licence))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Package(name, "1.0", "MIT", "https://example.org", "train", "wheel", path.name, digest, path.stat().st_size)


def write_table(path: Path, packages: Sequence[Package]) -> Path:
    rows = [
        "[[package]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in vars(package).items())
        for package in packages
    ]
    path.write_text("\n".join(rows), encoding="utf-8")
    return path


class FakePip:
    """Stands in for pip: copies wheels from a shelf, and keeps the arguments it was given."""

    def __init__(self, shelf: Path) -> None:
        self.shelf = shelf
        self.calls: list[list[str]] = []

    def __call__(self, arguments: Sequence[str]) -> "subprocess.CompletedProcess[str]":
        self.calls.append(list(arguments))
        requirement = Path(arguments[arguments.index("-r") + 1]).read_text(encoding="utf-8")
        name = requirement.split("==")[0]
        for wheel in self.shelf.glob(f"{name}-*.whl"):
            Path(arguments[arguments.index("-d") + 1], wheel.name).write_bytes(wheel.read_bytes())
            return subprocess.CompletedProcess(list(arguments), 0, "", "")
        return subprocess.CompletedProcess(list(arguments), 1, "", f"noise\nERROR: no such package {name}\n")


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    folder = tmp_path / "shelf"
    folder.mkdir()
    return folder


@pytest.fixture
def pip(shelf: Path) -> FakePip:
    return FakePip(shelf)


# --- fetching


def test_a_wheel_is_asked_for_by_name_version_and_hash_and_only_once(shelf: Path, pip: FakePip, tmp_path: Path) -> None:
    package = make_wheel(shelf, "alpha", {"a.py": program("a")})
    source = fetch(package, tmp_path / "cache", pip)
    assert {"--no-deps", "--only-binary=:all:", "--require-hashes"} <= set(pip.calls[0])
    assert source.pinned
    assert dict(source.files()) == {"alpha/a.py": program("a").encode()}
    assert fetch(package, tmp_path / "cache", pip) == source
    assert len(pip.calls) == 1
    assert [path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()] == [package.file]


def test_a_damaged_wheel_in_the_cache_is_fetched_again(shelf: Path, pip: FakePip, tmp_path: Path) -> None:
    package = make_wheel(shelf, "alpha", {"a.py": program("a")})
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / package.file).write_bytes(b"half a wheel")
    fetch(package, cache, pip)
    assert hashlib.sha256((cache / package.file).read_bytes()).hexdigest() == package.sha256


def test_a_wheel_with_another_hash_is_not_used(shelf: Path, pip: FakePip, tmp_path: Path) -> None:
    package = replace(make_wheel(shelf, "alpha", {"a.py": program("a")}), sha256="0" * 64)
    with pytest.raises(CorpusError, match=r"alpha-1\.0-py3-none-any\.whl has another sha256"):
        fetch(package, tmp_path / "cache", pip)
    assert not list((tmp_path / "cache").rglob("*.whl"))


def test_what_pip_said_is_passed_on(shelf: Path, pip: FakePip, tmp_path: Path) -> None:
    package = replace(make_wheel(shelf, "alpha", {}), name="beta")
    with pytest.raises(CorpusError, match=r"cannot fetch beta 1\.0: ERROR: no such package beta"):
        fetch(package, tmp_path / "cache", pip)


def test_the_standard_library_is_read_where_it_is() -> None:
    package = Package("cpython", "3", "PSF-2.0", "", "train", "stdlib", "", "0" * 64, 0)
    source = fetch(package, Path("unused"))
    paths = [path for path, _ in zip((path for path, _ in source.files()), range(300), strict=False)]
    assert "argparse.py" in paths
    assert not any("site-packages" in path or path.startswith("/") for path in paths)
    assert source.licence == "PSF-2.0"
    assert not source.pinned


def test_another_version_than_the_pinned_one_is_refused() -> None:
    package = Package("pytest", "0.0.1", "MIT", "", "train", "installed", "", "0" * 64, 0)
    with pytest.raises(CorpusError, match=r"is installed, but packages\.toml pins 0\.0\.1"):
        fetch(package, Path("unused"))


# --- licences


def said(*lines: str) -> Message:
    message = Message()
    for line in lines:
        key, value = line.split(": ", 1)
        message[key] = value
    return message


@pytest.mark.parametrize(
    "line",
    [
        "License-Expression: MIT",
        "License-Expression: BSD-3-Clause AND 0BSD AND MIT AND Zlib AND CC0-1.0",
        "License-Expression: (MIT OR Apache-2.0) AND Apache-2.0 WITH LLVM-exception",
        "License: Apache 2.0 License",
        "License: Apache License, Version 2.0",
        "License: BSD-3-Clause",
        "Classifier: License :: OSI Approved :: BSD License",
        "Classifier: License :: OSI Approved :: Python Software Foundation License",
        "Classifier: License :: OSI Approved :: ISC License (ISCL)",
    ],
)
def test_permissive_licences_are_taken(line: str) -> None:
    assert permissive("alpha", said(line), [])


@pytest.mark.parametrize(
    "lines",
    [
        ["License-Expression: GPL-3.0-or-later"],
        ["License-Expression: MIT AND LGPL-2.1-only"],
        ["License-Expression: MPL-2.0"],
        ["License-Expression: BUSL-1.1"],
        ["License: AGPLv3"],
        ["License: GNU General Public License v2"],
        ["License: MIT", "Classifier: License :: OSI Approved :: GNU Lesser General Public License v3 (LGPLv3)"],
        ["Classifier: License :: OSI Approved :: BSD License", "Classifier: License :: Other/Proprietary License"],
        ["License: as is, ask me"],
        ["Summary: no word about a licence"],
    ],
)
def test_other_licences_are_refused_by_name(lines: list[str]) -> None:
    with pytest.raises(LicenceError, match="alpha"):
        permissive("alpha", said(*lines), [])


def test_the_text_of_a_licence_file_is_the_last_resort() -> None:
    mit = "MIT License\n\nPermission is hereby granted, free of\ncharge, to any person ..."
    gpl = "GNU GENERAL PUBLIC LICENSE\nVersion 3"
    assert permissive("alpha", said("Name: alpha"), [mit]) == "MIT"
    with pytest.raises(LicenceError, match="names no licence"):
        permissive("alpha", said("Name: alpha"), [gpl])


def test_a_refused_package_stops_the_build(shelf: Path, pip: FakePip, tmp_path: Path) -> None:
    good = make_wheel(shelf, "alpha", {"a.py": program("a")})
    bad = make_wheel(shelf, "beta", {"b.py": program("b")}, licence="License-Expression: GPL-2.0-only")
    table = write_table(tmp_path / "table.toml", [good, bad])
    with pytest.raises(LicenceError, match=r"beta is not permissively licensed: its metadata says 'GPL-2\.0-only'"):
        build(tmp_path / "data", table=table, run=pip, console=CONSOLE, jobs=1)
    assert not (tmp_path / "data" / "train").exists()


def test_the_table_that_ships() -> None:
    packages = read_table()
    names = [package.name for package in packages]
    assert len(set(names)) == len(names) >= 30
    assert {package.split for package in packages} == {"train", "valid", "test"}
    assert all(package.version and package.licence and package.homepage for package in packages)
    assert all(len(package.sha256) == 64 for package in packages)
    assert all(package.file.endswith(".whl") and package.size for package in packages if package.source == "wheel")
    splits = [package.split for package in packages]
    assert splits == sorted(splits, key="train".__eq__), "held-out packages come first"


def test_a_bad_row_is_named(tmp_path: Path, shelf: Path) -> None:
    package = replace(make_wheel(shelf, "alpha", {}), split="training")
    with pytest.raises(CorpusError, match="alpha: split must be one of train, valid, test, not 'training'"):
        read_table(write_table(tmp_path / "table.toml", [package]))


# --- one file


@pytest.mark.parametrize(
    ("path", "content", "reason"),
    [
        ("alpha/a.py", program("a"), None),
        ("alpha/tests/test_a.py", program("a"), None),
        ("alpha/_vendor/a.py", program("a"), "vendored, generated or data by path"),
        ("alpha/locale/de.py", program("a"), "vendored, generated or data by path"),
        ("alpha/words_data.py", program("a"), "vendored, generated or data by path"),
        ("alpha/a.py", "x = 1\n", "too small or too large"),
        ("alpha/a.py", program("a", 4000), "too small or too large"),
        (
            "alpha/a.py",
            "# This file was automatically generated. Do not edit.\n" + program("a"),
            "says that it is generated",
        ),
        ("alpha/a.py", program("a") + "\nlong = '" + "word " * 300 + "'\n", "long lines"),
        ("alpha/a.py", "words = [\n" + '    "слово", "ещё слово",\n' * 20 + "]\n", "mostly not ASCII"),
        ("alpha/a.py", "table = [\n" + "    1.25, 2.25, 3.75,\n" * 20 + "]\n", "mostly digits"),
        ("alpha/a.py", "x = [\n" + "    (), {}, [], ((), {}),\n" * 20 + "]\n", "few letters"),
        ("alpha/a.py", program("a") + "\nprint 'an old one'\n", "syntax error"),
        ("alpha/a.py", program("a").encode() + b"# caf\xe9\n", "not UTF-8 text"),
    ],
)
def test_what_is_kept_of_a_file(path: str, content: str | bytes, reason: str | None) -> None:
    assert clean.reject(path, content if isinstance(content, bytes) else content.encode()) == reason


# --- overlap


BENCHMARK = """def running_mean(values, width):
    total = sum(values[:width])
    return [total / width for value in values]
"""


def test_a_file_with_thirteen_words_of_a_benchmark_is_left_out() -> None:
    reference = clean.benchmark_reference([BENCHMARK])
    copied = program("a") + BENCHMARK.replace("    ", "\t").upper()
    shorter = (
        program("a") + "def running_mean(values, width):\n    total = sum(values[:width])\n    return min(total)\n"
    )
    assert clean.overlap(copied.encode(), np.empty(0, np.uint64), reference) == "overlaps a benchmark"
    assert clean.overlap(shorter.encode(), np.empty(0, np.uint64), reference) is None


def test_a_run_of_numbers_is_no_benchmark() -> None:
    numbers = "check([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14])"
    reference = clean.benchmark_reference([numbers])
    assert clean.overlap(numbers.encode(), np.empty(0, np.uint64), reference) is None


def test_benchmarks_are_read_as_they_are_run(tmp_path: Path) -> None:
    record = {"prompt": "def f(a):\n", "canonical_solution": "    return a\n", "suffix": "\nf(1)\n", "test": "assert f"}
    (tmp_path / "one.jsonl").write_text(json.dumps(record) + "\n", encoding="utf-8")
    assert clean.benchmark_texts(tmp_path) == ["assert f", "def f(a):\n    return a\n\nf(1)\n"]
    with pytest.raises(CorpusError, match="no benchmark"):
        clean.benchmark_texts(tmp_path / "elsewhere")


# --- duplicates


def kept(package: str, path: str, text: str) -> clean.Kept:
    lines = clean.significant_lines(text.encode())
    digest = hashlib.sha256(b"\n".join(lines)).digest()
    return clean.Kept(Row(0, len(text), package, path), digest, clean.signature(clean.shingle(lines)))


def test_the_first_of_equal_and_of_similar_files_stays(shelf: Path) -> None:
    package = make_wheel(shelf, "alpha", {})
    first = program("a", 40)
    commented = "# Copyright\n\n" + first.replace("\n\n\n", "\n\n")
    similar = first.replace("def a_7(", "def a_seven(")
    files = [
        kept("alpha", "first.py", first),
        kept("alpha", "commented.py", commented),
        kept("alpha", "similar.py", similar),
        kept("alpha", "other.py", program("b", 40)),
    ]
    stay, dropped = clean.deduplicate([(package, files)])
    assert [k.row.path for _, k in stay] == ["first.py", "other.py"]
    assert [(reason, k.row.path) for reason, k in dropped] == [
        ("exact duplicate", "commented.py"),
        ("near duplicate", "similar.py"),
    ]


# --- the whole way


@pytest.fixture
def table(shelf: Path, tmp_path: Path) -> Path:
    shared = program("shared", 30)
    half = "\n\n".join([program("mine", 20), program("half", 6)])
    packages = [
        make_wheel(
            shelf,
            "alpha",
            {
                "a.py": b"\xef\xbb\xbf" + program("a").replace("\n", "\r\n").encode(),
                "b.py": program("b"),
                "copy.py": shared,
                "part.py": half,
                "solution.py": program("c") + BENCHMARK,
                "_vendor/v.py": program("v"),
                "notes.txt": program("n"),
            },
        ),
        make_wheel(shelf, "beta", {"a.py": program("beta"), "again.py": program("b")}),
        replace(make_wheel(shelf, "gamma", {"held.py": shared, "half.py": program("half", 6)}), split="test"),
        replace(make_wheel(shelf, "delta", {"d.py": program("d")}), split="valid"),
    ]
    bench = tmp_path / "bench"
    bench.mkdir()
    (bench / "b.jsonl").write_text(json.dumps({"solution": BENCHMARK}) + "\n", encoding="utf-8")
    return write_table(tmp_path / "table.toml", packages)


def paths(folder: Path) -> set[str]:
    return {row.path for row in Corpus.open(folder).rows}


def test_build(table: Path, pip: FakePip, tmp_path: Path) -> None:
    data = tmp_path / "data"
    report = build(data, table=table, run=pip, console=CONSOLE, exclude_benchmarks=tmp_path / "bench", jobs=1)
    assert paths(data / "train") == {"alpha/a.py", "alpha/b.py", "beta/a.py"}
    assert paths(data / "test") == {"gamma/held.py", "gamma/half.py"}, "held-out files stay, their copies go"
    assert paths(data / "valid") == {"delta/d.py"}
    train = Corpus.open(data / "train")
    place = {train.path(i): i for i in range(len(train))}
    assert train.text(place["alpha/a.py"]) == program("a"), "no byte-order mark, LF"
    assert train.package(place["beta/a.py"]) == "beta"
    assert train.total == sum(train.size(i) for i in range(len(train))) == (data / "train" / "text.bin").stat().st_size
    assert report == read_report(data)
    assert {reason: size["files"] for reason, size in report["rejected"].items()} == {
        "vendored, generated or data by path": 1,
        "overlaps a held-out package": 2,
        "overlaps a benchmark": 1,
        "exact duplicate": 1,
    }
    counts = {name: stage["files"] for name, stage in report["stages"].items()}
    assert counts == {
        "fetched": 11,
        "clean": 10,
        "free of overlap": 7,
        "free of duplicates": 6,
        "train": 3,
        "valid": 1,
        "test": 2,
    }
    assert report["benchmarks"]["checked"] is True
    assert not (data / "stage").exists()


def test_building_again_gives_the_same_bytes_with_any_number_of_processes(
    table: Path, pip: FakePip, tmp_path: Path
) -> None:
    for name, jobs in (("one", 1), ("two", 2)):
        build(tmp_path / name, table=table, run=pip, console=CONSOLE, jobs=jobs)
    for path in sorted((tmp_path / "one").rglob("*.*")):
        if path.name in ("text.bin", "index.jsonl"):
            assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()
    assert read_report(tmp_path / "one")["benchmarks"]["checked"] is False


def test_a_build_that_was_stopped_goes_on(table: Path, pip: FakePip, shelf: Path, tmp_path: Path) -> None:
    missing = shelf / "beta-1.0-py3-none-any.whl"
    missing.rename(tmp_path / "away")
    with pytest.raises(CorpusError, match="cannot fetch beta"):
        build(tmp_path / "data", table=table, run=pip, console=CONSOLE, jobs=1)
    (tmp_path / "away").rename(missing)
    done = {call[call.index("-d") + 1] for call in pip.calls[:-1]}
    before = len(pip.calls)
    build(tmp_path / "data", table=table, run=pip, console=CONSOLE, jobs=1)
    again = {call[call.index("-d") + 1] for call in pip.calls[before:]}
    assert len(done) == 3
    assert len(again) == len(pip.calls) - before == 1
    assert not again & done


def test_only_some_packages(table: Path, pip: FakePip, tmp_path: Path) -> None:
    build(tmp_path / "data", table=table, run=pip, console=CONSOLE, only=["beta"], jobs=1)
    assert {row.package for row in Corpus.open(tmp_path / "data" / "train").rows} == {"beta"}
    assert len(Corpus.open(tmp_path / "data" / "test")) == 0
    with pytest.raises(CorpusError, match="no such package in the table: omega"):
        build(tmp_path / "data", table=table, run=pip, console=CONSOLE, only=["omega"], jobs=1)


# --- reading


def test_a_folder_without_a_corpus_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="hone data build"):
        Corpus.open(tmp_path)


def test_a_text_that_is_too_short_for_its_index_is_noticed(tmp_path: Path) -> None:
    write_corpus(tmp_path, [(b"print(1)\n", "alpha", "a.py"), (b"print(2)\n", "alpha", "b.py")])
    (tmp_path / "text.bin").write_bytes(b"print(1)\n")
    with pytest.raises(CorpusError, match="has 9 bytes, but its index needs 18"):
        Corpus.open(tmp_path)


# --- tokenizer


def test_the_sample_takes_all_of_small_packages_and_a_share_of_big_ones(tmp_path: Path) -> None:
    files = [(b"x" * 100, "big", f"{i}.py") for i in range(100)]
    files += [(b"x" * 100, "huge", f"{i}.py") for i in range(1000)]
    files += [(b"x" * 100, "small", f"{i}.py") for i in range(5)]
    write_corpus(tmp_path, files)
    corpus = Corpus.open(tmp_path)
    chosen = even_sample(corpus, 10_500)
    packages = [corpus.package(i) for i in chosen]
    assert {name: packages.count(name) for name in ("small", "big", "huge")} == {"small": 5, "big": 50, "huge": 50}
    assert len(even_sample(corpus, 10**9)) == len(corpus)


def test_the_tokenizer_is_saved_and_the_tokens_counted(table: Path, pip: FakePip, tmp_path: Path) -> None:
    data = tmp_path / "data"
    build(data, table=table, run=pip, console=CONSOLE, jobs=1)
    tokenizer = train_tokenizer(data, 400)
    stages = read_report(data)["stages"]
    test = Corpus.open(data / "test")
    assert stages["test"]["tokens"] == sum(len(tokenizer.encode(test.text(i))) for i in range(len(test)))
    assert stages["free of duplicates"]["tokens"] == sum(
        stages[split]["tokens"] for split in ("train", "valid", "test")
    )
    assert stages["fetched"]["tokens_estimated"] > stages["free of duplicates"]["tokens"]
    assert (data / "tokenizer" / "tokenizer.json").is_file()


# --- hone data


def test_the_command_shows_a_report(
    table: Path, pip: FakePip, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    build(data, table=table, run=pip, console=CONSOLE, jobs=1)
    assert main(["tokenizer", "--data", str(data), "--vocab-size", "400"]) == 0
    shown = capsys.readouterr().out
    assert "overlaps a held-out package" in shown
    assert "overlap not checked" in shown
    assert main(["report", "--data", str(data), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == read_report(data)
    assert main(["report", "--data", str(data), "--markdown"]) == 0
    assert "| [delta](https://example.org) | 1.0 | MIT | 1 | 0.00 | valid |" in capsys.readouterr().out


def test_the_command_names_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--data", str(tmp_path)]) == 2
    assert "hone data build" in capsys.readouterr().err
    assert main(["pack", "--data", str(tmp_path), "--limit", "much"]) == 2
    assert "not a size: 'much'" in capsys.readouterr().err
    assert main(["pack", "--data", str(tmp_path), "--limit", "1B"]) == 2
    assert "--limit must be at least 16384 bytes, not '1B'" in capsys.readouterr().err


@pytest.mark.parametrize("jobs", ["0", "-1", "many"])
@pytest.mark.parametrize("command", ["build", "pack"])
def test_a_wrong_option_is_one_line(command: str, jobs: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([command, f"--jobs={jobs}"])
    said = capsys.readouterr().err
    assert f"hone: argument --jobs: must be a whole number from 1 to 1024, not '{jobs}'" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    "report",
    ["{}", "[]", "", "{", "[" * 100_000, '{"stages": {"a": 1}, "rejected": {}, "packages": [], "benchmarks": {}}',
     '{"stages": {}, "rejected": {}, "packages": [[]], "benchmarks": {}}'],
)  # fmt: skip
@pytest.mark.parametrize("form", [[], ["--json"], ["--markdown"]])
def test_a_damaged_report_is_named(
    tmp_path: Path, report: str, form: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "report.json").write_text(report, encoding="utf-8")
    assert main(["report", "--data", str(tmp_path), *form]) == 2
    captured = capsys.readouterr()
    assert f"hone: {tmp_path / 'report.json'} is no" in captured.err.replace("is not", "is no")
    assert (captured.out, captured.err.count("\n")) == ("", 1)


def test_no_tokenizer_is_trained_where_its_counts_have_no_report(tmp_path: Path) -> None:
    write_corpus(tmp_path / "train", iter([(b"x = 1\n", "one", "x.py")]))
    with pytest.raises(FileNotFoundError, match=r"no report\.json"):
        train_tokenizer(tmp_path, 400)
    assert not (tmp_path / "tokenizer").exists()
