"""``hone data``: from the table of packages to a corpus, a tokenizer, a report, and packs that travel.

``build`` goes through four stages, and the report counts files and bytes after each: fetched; cleaned, one file at a
time; free of overlap with the open benchmarks and the held-out packages; free of duplicates. Held-out packages are read
first, so that a copy of one of their files in a training package is the one that goes.
"""

import argparse
import contextlib
import hashlib
import json
import multiprocessing
import os
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column, Table

from model import clean
from model.clean import Hashes, Kept, Reference
from model.corpus import Report, Row, read_report, train_tokenizer, write_corpus, write_report
from model.fetch import SPLITS, TABLE, CorpusError, Package, Runner, Source, fetch, read_table, run_pip
from model.options import Parser, whole
from model.pack import pack, parse_size, unpack
from model.tokenizer import N_SPECIAL

JOBS = 1024
SMALLEST = N_SPECIAL + 256
"""Tokens: special ones and bytes."""
LEAST = 1 << 14
"""Bytes of the smallest pack (``model.pack`` reckons with as many for its manifest)."""
BENCHMARKS = Path("benchmarks/data")
"""Where a checkout may have the open benchmarks beside it."""


@dataclass(frozen=True)
class Read:
    """What reading one package gave."""

    kept: list[Kept]
    files: Counter[str]
    """Files by their fate: the reason of their rejection, or "kept"."""
    bytes: Counter[str]
    """The same in bytes."""
    shingles: Hashes


def build(
    folder: Path,
    *,
    table: Path = TABLE,
    only: Sequence[str] = (),
    exclude_benchmarks: Path | None = None,
    seed: int = 0,
    jobs: int | None = None,
    run: Runner = run_pip,
    console: Console | None = None,
) -> Report:
    """Fetch the packages of ``table``, clean them, and write the corpus into ``folder``. Gives back the report.

    Can be interrupted and started again: wheels already in ``folder/wheels`` are kept, and a split is replaced only
    when its new text is complete. The result depends on the table, the seed and the version of Python alone.

    Args:
        only: names of packages to build from, in place of the whole table.
        exclude_benchmarks: folder with the open benchmarks (``*.jsonl``, ``*.jsonl.gz``); files that share 13 words in
            a row with one are left out. None: not checked, and the report says so.
        jobs: processes to clean with; one per core unless given.

    Raises:
        CorpusError: a package cannot be fetched, is not the one pinned, or is not permissively licensed.
    """
    began = time.monotonic()
    packages = _choose(read_table(table), only)
    reference = Reference()
    if exclude_benchmarks is not None:
        reference = clean.benchmark_reference(clean.benchmark_texts(exclude_benchmarks))
    stage = folder / "stage"
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir(parents=True)
    with _progress(console) as progress:
        sources = _fetch_all(packages, folder / "wheels", run, progress)
        reads = _read_all(sources, stage, reference, jobs or os.cpu_count() or 1, progress)
    kept, duplicates = clean.deduplicate(
        [(source.package, read.kept) for source, read in zip(sources, reads, strict=True)]
    )
    for split in SPLITS:
        _write_split(folder / split, stage, [k for p, k in kept if p.split == split], random.Random(seed))
    report = _report(sources, reads, kept, duplicates)
    report["benchmarks"] = {"checked": exclude_benchmarks is not None, "grams": len(reference.grams)}
    report["python"] = sys.version.split()[0]
    report["seconds"] = round(time.monotonic() - began, 1)
    write_report(folder, report)
    shutil.rmtree(stage)
    return report


def _choose(packages: list[Package], only: Sequence[str]) -> list[Package]:
    unknown = set(only) - {package.name for package in packages}
    if unknown:
        raise CorpusError(f"no such package in the table: {', '.join(sorted(unknown))}")
    return [package for package in packages if not only or package.name in only]


def _progress(console: Console | None) -> Progress:
    return Progress(
        TextColumn("{task.description:<8}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[name]}"),
        console=console or Console(stderr=True),
    )


def _fetch_all(packages: Sequence[Package], cache: Path, run: Runner, progress: Progress) -> list[Source]:
    task = progress.add_task("fetch", total=len(packages), name="")
    sources = []
    for package in packages:
        progress.update(task, name=package.name)
        sources.append(fetch(package, cache, run))
        progress.advance(task)
    progress.update(task, name="")
    return sources


def _read_all(
    sources: Sequence[Source], stage: Path, reference: Reference, jobs: int, progress: Progress
) -> list[Read]:
    """Read every package, the held-out ones first: what they hold is then kept out of the others."""
    task = progress.add_task("clean", total=len(sources), name="")
    reads: dict[str, Read] = {}
    for held_out in (True, False):
        batch = [source for source in sources if (source.package.split != "train") == held_out]
        batch.sort(key=lambda source: -source.package.size)
        work = [(source, stage, reference) for source in batch]
        with multiprocessing.get_context("spawn").Pool(jobs) if jobs > 1 else contextlib.nullcontext() as pool:
            results = pool.imap(_read_package, work) if pool else map(_read_package, work)
            for source, read in zip(batch, results, strict=True):
                reads[source.package.name] = read
                progress.update(task, advance=1, name=source.package.name)
        held = [read.shingles for read in reads.values()]
        shingles = np.unique(np.concatenate(held)) if held_out and held else reference.held_out
        reference = Reference(reference.words, reference.grams, shingles)
    progress.update(task, name="")
    return [reads[source.package.name] for source in sources]


def _read_package(work: tuple[Source, Path, Reference]) -> Read:
    """Clean one package into ``stage/NAME.bin``. Runs in a process of its own."""
    source, stage, reference = work
    read = Read([], Counter(), Counter(), np.empty(0, np.uint64))
    shingles = [read.shingles]
    start = 0
    with (stage / f"{source.package.name}.bin").open("wb") as out:
        for path, raw in source.files():
            content = raw.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            lines = clean.significant_lines(content)
            own = clean.shingle(lines)
            fate = clean.reject(path, content) or clean.overlap(content, own, reference) or "kept"
            read.files[fate] += 1
            read.bytes[fate] += len(content)
            if fate != "kept":
                continue
            out.write(content)
            row = Row(start, start + len(content), source.package.name, path)
            start = row.end
            digest = hashlib.blake2b(b"\n".join(lines), digest_size=16).digest()
            read.kept.append(Kept(row, digest, clean.signature(own)))
            if source.package.split != "train":
                shingles.append(own)
    return replace(read, shingles=np.unique(np.concatenate(shingles)))


def _write_split(folder: Path, stage: Path, kept: list[Kept], order: random.Random) -> None:
    """Write the files of one split in shuffled order, so that any beginning of it is a fair sample."""
    kept = sorted(kept, key=lambda k: (k.row.package, k.row.path))
    order.shuffle(kept)
    with contextlib.ExitStack() as stack:
        staged = {
            name: stack.enter_context((stage / f"{name}.bin").open("rb")) for name in {k.row.package for k in kept}
        }

        def files() -> Iterator[tuple[bytes, str, str]]:
            for k in kept:
                staged[k.row.package].seek(k.row.start)
                yield staged[k.row.package].read(k.row.end - k.row.start), k.row.package, k.row.path

        write_corpus(folder, files())


def _report(
    sources: Sequence[Source],
    reads: Sequence[Read],
    kept: Sequence[tuple[Package, Kept]],
    duplicates: Sequence[tuple[str, Kept]],
) -> Report:
    files: Counter[str] = sum((read.files for read in reads), Counter())
    size: Counter[str] = sum((read.bytes for read in reads), Counter())
    stages = {"fetched": {"files": files.total(), "bytes": size.total()}}
    passed = [reason for reason in files if reason in (*clean.OVERLAPS, "kept")]
    stages["clean"] = {"files": sum(files[r] for r in passed), "bytes": sum(size[r] for r in passed)}
    stages["free of overlap"] = {"files": files.pop("kept"), "bytes": size.pop("kept")}
    stages["free of duplicates"] = _size([k for _, k in kept])
    for split in SPLITS:
        stages[split] = _size([k for package, k in kept if package.split == split])
    for reason, k in duplicates:
        files[reason] += 1
        size[reason] += k.row.end - k.row.start
    mine: dict[str, list[Kept]] = {source.package.name: [] for source in sources}
    for package, k in kept:
        mine[package.name].append(k)
    rows = [_package_row(source, read, mine[source.package.name]) for source, read in zip(sources, reads, strict=True)]
    return {
        "stages": stages,
        "rejected": {reason: {"files": count, "bytes": size[reason]} for reason, count in files.most_common()},
        "packages": sorted(rows, key=lambda row: -row["bytes"]),
    }


def _size(kept: Sequence[Kept]) -> dict[str, int]:
    return {"files": len(kept), "bytes": sum(k.row.end - k.row.start for k in kept)}


def _package_row(source: Source, read: Read, kept: Sequence[Kept]) -> Report:
    package = source.package
    return {
        "name": package.name,
        "version": source.version,
        "licence": source.licence,
        "source": package.homepage,
        "file": package.file or package.source,
        "sha256": source.sha256,
        "pinned": source.pinned,
        "split": package.split,
        "files_fetched": read.files.total(),
        **_size(kept),
    }


# ---------------------------------------------------------------------------------------------------- hone data


def main(argv: Sequence[str] | None = None) -> int:
    """The ``hone data`` command. Results on stdout, the rest on stderr; 2 when something is wrong."""
    options = build_parser().parse_args(argv)
    try:
        options.run(options)
    except (CorpusError, FileNotFoundError, ValueError) as error:
        sys.stderr.write(f"hone: {error}\n")
        return 2
    return 0


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(prog="hone data", description="The corpus that the model learns from.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(name: str, run: Callable[[argparse.Namespace], None], summary: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=summary, description=summary)
        command.add_argument("--data", type=Path, default=Path("data"), metavar="FOLDER", help="data folder (data)")
        command.set_defaults(run=run)
        return command

    command = add("build", _run_build, "fetch the packages of the table, clean them, write the corpus")
    command.add_argument(
        "--only", nargs="+", default=(), metavar="NAME", help="these packages, in place of the whole table"
    )
    command.add_argument(
        "--exclude-benchmarks",
        type=Path,
        metavar="FOLDER",
        help=f"leave out files that overlap with its *.jsonl, *.jsonl.gz ({BENCHMARKS} where that exists)",
    )
    command.add_argument("--seed", type=whole(0, 2**63 - 1), default=0, help="of the order of the files (0)")
    command.add_argument("--jobs", type=whole(1, JOBS), help="processes (one per core)")
    command = add("tokenizer", _run_tokenizer, "train the tokenizer on an even sample of the training split")
    command.add_argument("--vocab-size", type=whole(SMALLEST, 1 << 24), default=8192, help="tokens in all (8192)")
    command = add("pack", _run_pack, "write the data folder as compressed packs that can travel")
    command.add_argument("--limit", default="60MiB", help="most bytes of one pack (60MiB)")
    command.add_argument("--out", type=Path, metavar="FOLDER", help="where to (packs in the data folder)")
    command.add_argument("--jobs", type=whole(1, JOBS), help="compressors at once, 0.7 GB each (one per core)")
    command = add("unpack", _run_unpack, "restore a data folder from packs")
    command.add_argument("packs", type=Path, nargs="+", metavar="PACK", help="folders of packs, or their files")
    command = add("report", _run_report, "show what the corpus is made of")
    form = command.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="the report as it is stored")
    form.add_argument("--markdown", action="store_true", help="the packages as a table for a model card")
    return parser


def _run_build(options: argparse.Namespace) -> None:
    benchmarks = options.exclude_benchmarks or (BENCHMARKS if BENCHMARKS.is_dir() else None)
    if benchmarks is None:
        sys.stderr.write("hone: overlap with benchmarks is not checked: name their folder with --exclude-benchmarks\n")
    report = build(options.data, only=options.only, exclude_benchmarks=benchmarks, seed=options.seed, jobs=options.jobs)
    show(report)


def _run_tokenizer(options: argparse.Namespace) -> None:
    train_tokenizer(options.data, options.vocab_size)
    show(read_report(options.data))


def _run_pack(options: argparse.Namespace) -> None:
    def tell(manifest: Report) -> None:
        sys.stderr.write(
            f"pack {manifest['pack']}: {manifest['files']} files, {manifest['text_bytes'] / 1e6:.1f} MB of text\n"
        )

    out, limit = options.out or options.data / "packs", parse_size(options.limit)
    if limit < LEAST:
        raise ValueError(f"--limit must be at least {LEAST} bytes, not {options.limit!r}: a manifest needs them")
    for folder in pack(options.data, out, limit, jobs=options.jobs, on_pack=tell):
        sys.stdout.write(f"{folder}\t{sum(path.stat().st_size for path in folder.iterdir())}\n")


def _run_unpack(options: argparse.Namespace) -> None:
    restored = unpack(options.packs, options.data)
    sys.stdout.write(json.dumps(restored) + "\n")


def _run_report(options: argparse.Namespace) -> None:
    report = read_report(options.data)
    if options.json:
        sys.stdout.write(json.dumps(report, indent=2) + "\n")
    elif options.markdown:
        sys.stdout.write(markdown(report))
    else:
        show(report)


def markdown(report: Report) -> str:
    """The packages of a report as a Markdown table, as the model card shows them."""
    lines = ["| package | version | licence | files | MB | split |", "| --- | --- | --- | ---: | ---: | --- |"]
    for row in report["packages"]:
        name = f"[{row['name']}]({row['source']})"
        cells = (name, row["version"], row["licence"], str(row["files"]), _megabytes(row), row["split"])
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def show(report: Report) -> None:
    """Print a report as three tables: stages, rejections, packages."""
    console = Console()
    stages = Table("stage", *(Column(name, justify="right") for name in ("files", "MB", "M tokens", "bytes/token")))
    for name, stage in report["stages"].items():
        tokens = f"{stage['tokens'] / 1e6:.2f}" if "tokens" in stage else ""
        if "tokens_estimated" in stage:
            tokens = f"about {stage['tokens_estimated'] / 1e6:.1f}"
        stages.add_row(name, str(stage["files"]), _megabytes(stage), tokens, str(stage.get("bytes_per_token", "")))
    rejected = Table("left out because", Column("files", justify="right"), Column("MB", justify="right"))
    for reason, size in report["rejected"].items():
        rejected.add_row(reason, str(size["files"]), _megabytes(size))
    packages = Table(
        "package", "version", "licence", Column("files", justify="right"), Column("MB", justify="right"), "split"
    )
    for row in report["packages"]:
        licence = row["licence"] if row["pinned"] else f"{row['licence']} (not the pinned files)"
        packages.add_row(row["name"], row["version"], licence, str(row["files"]), _megabytes(row), row["split"])
    for table in (stages, rejected, packages):
        console.print(table)
    console.print("benchmarks:", "overlap checked" if report["benchmarks"]["checked"] else "overlap not checked")


def _megabytes(size: Report) -> str:
    return f"{size['bytes'] / 1e6:.2f}"


if __name__ == "__main__":
    raise SystemExit(main())
