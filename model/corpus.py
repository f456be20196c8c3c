"""The training text on disk: how it lies in a data folder, is read and written, and feeds the tokenizer.

    train/text.bin    the kept files, one after the other, UTF-8, LF
    train/index.jsonl one line per file: start and end byte in text.bin, package, path
    valid/, test/     the same for the packages held out to choose settings by, and to report
    tokenizer/        what ``train_tokenizer`` learned from train/
    report.json       counts of every stage, reasons of rejection, one row per package

Where the text comes from is ``build``; what is worth keeping, ``clean``; how it travels, ``pack``.
"""

import json
import mmap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.fetch import SPLITS, CorpusError
from model.tokenizer import Tokenizer

Report = dict[str, Any]
REPORT = {"stages": dict, "rejected": dict, "packages": list, "benchmarks": dict}
SIZE = {"files": int, "bytes": int}
ROW = SIZE | {"name": str, "version": str, "licence": str, "source": str, "pinned": bool, "split": str}
"""What a report and its parts must hold, so that it can be shown."""


@dataclass(frozen=True)
class Row:
    """Where one file lies: bytes ``start:end`` of ``text.bin``."""

    start: int
    end: int
    package: str
    path: str


class Corpus:
    """One split of a data folder, read through a memory map."""

    def __init__(self, data: "mmap.mmap | bytes", rows: Sequence[Row]) -> None:
        self._data = data
        self.rows = rows

    @classmethod
    def open(cls, folder: Path) -> "Corpus":
        """Open ``DATA/train``, ``DATA/valid`` or ``DATA/test``.

        Raises:
            FileNotFoundError: the folder holds no corpus.
            CorpusError: the index points behind the end of the text.
        """
        text, index = Path(folder) / "text.bin", Path(folder) / "index.jsonl"
        if not (text.is_file() and index.is_file()):
            raise FileNotFoundError(f"{folder} holds no corpus (text.bin, index.jsonl): run `hone data build` first")
        with index.open(encoding="utf-8") as lines:
            rows = [Row(**json.loads(line)) for line in lines]
        size = text.stat().st_size
        if rows and rows[-1].end > size:
            raise CorpusError(f"{text} has {size} bytes, but its index needs {rows[-1].end}: build it again")
        with text.open("rb") as file:
            return cls(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b"", rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def total(self) -> int:
        """Bytes of all files together."""
        return sum(row.end - row.start for row in self.rows)

    def size(self, index: int) -> int:
        """Bytes of one file."""
        return self.rows[index].end - self.rows[index].start

    def content(self, index: int) -> bytes:
        return self._data[self.rows[index].start : self.rows[index].end]

    def text(self, index: int) -> str:
        return self.content(index).decode("utf-8")

    def package(self, index: int) -> str:
        return self.rows[index].package

    def path(self, index: int) -> str:
        """Path inside the package, with slashes."""
        return self.rows[index].path


def write_corpus(folder: Path, files: Iterable[tuple[bytes, str, str]]) -> None:
    """Write ``text.bin`` and ``index.jsonl`` from (content, package, path); a reader never sees half of them."""
    folder.mkdir(parents=True, exist_ok=True)
    start = 0
    with (
        (folder / "text.bin.part").open("wb") as text,
        (folder / "index.jsonl.part").open("w", encoding="utf-8") as index,
    ):
        for content, package, path in files:
            text.write(content)
            end = start + len(content)
            index.write(json.dumps({"start": start, "end": end, "package": package, "path": path}) + "\n")
            start = end
    # An index without its text would be a lie; a text without an index is only no corpus.
    (folder / "index.jsonl").unlink(missing_ok=True)
    (folder / "text.bin.part").replace(folder / "text.bin")
    (folder / "index.jsonl.part").replace(folder / "index.jsonl")


def read_report(folder: Path) -> Report:
    """The report of a data folder.

    Raises:
        FileNotFoundError: nothing was built there.
        CorpusError: the file is not what ``write_report`` wrote.
    """
    path = folder / "report.json"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no report.json: run `hone data build` first")
    try:
        report: Report = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CorpusError(f"{path} is not JSON that can be used ({error}): build the corpus again") from error
    wrong = next(_wrong(report), None)
    if wrong is not None:
        raise CorpusError(f"{path} is no report of `hone data build` ({wrong} is not described): build it again")
    return report


def _wrong(report: Any) -> Iterator[str]:
    """Names of what a report lacks, or holds in another form."""

    def described(value: Any, kinds: Report) -> bool:
        return isinstance(value, dict) and all(isinstance(value.get(name), kind) for name, kind in kinds.items())

    if not described(report, REPORT):
        yield "the whole"
        return
    sizes = [*report["stages"].items(), *report["rejected"].items()]
    yield from (name for name, size in sizes if not described(size, SIZE))
    yield from (f"package {i}" for i, row in enumerate(report["packages"], 1) if not described(row, ROW))
    yield from (f"the split {split}" for split in SPLITS if split not in report["stages"])


def write_report(folder: Path, report: Report) -> None:
    partial = folder / "report.json.part"
    partial.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    partial.replace(folder / "report.json")


def train_tokenizer(folder: Path, vocab_size: int = 8192, *, sample_bytes: int = 50_000_000) -> Tokenizer:
    """Train the tokenizer on an even sample of ``folder/train``, save it in ``folder/tokenizer``, count tokens.

    The counts of every split go into the report.

    Raises:
        FileNotFoundError: the folder holds no corpus, or no report.
        CorpusError: the report is damaged.
    """
    train, report = Corpus.open(folder / "train"), read_report(folder)
    tokenizer = Tokenizer.train((train.text(i) for i in even_sample(train, sample_bytes)), vocab_size)
    tokenizer.save(folder / "tokenizer")
    report["tokenizer"] = {"vocab_size": tokenizer.vocab_size, "sample_bytes": sample_bytes}
    stages = report["stages"]
    for split in SPLITS:
        stages[split]["tokens"] = count_tokens(Corpus.open(folder / split), tokenizer)
    stages["free of duplicates"]["tokens"] = sum(stages[split]["tokens"] for split in SPLITS)
    density = stages["free of duplicates"]["bytes"] / max(1, stages["free of duplicates"]["tokens"])
    for stage in stages.values():
        if "tokens" in stage:
            stage["bytes_per_token"] = round(stage["bytes"] / max(1, stage["tokens"]), 4)
        else:  # what was left out is not kept, so its tokens are reckoned from its bytes
            stage["tokens_estimated"] = round(stage["bytes"] / density) if density else 0
    write_report(folder, report)
    return tokenizer


def even_sample(corpus: Corpus, size: int) -> list[int]:
    """Files of about ``size`` bytes together, in order: no package gives more than a share that all big ones give."""
    files: dict[str, list[int]] = {}
    for i in range(len(corpus)):
        files.setdefault(corpus.package(i), []).append(i)
    totals = {name: sum(map(corpus.size, mine)) for name, mine in files.items()}
    left, share = size, 0
    for place, total in enumerate(
        sorted(totals.values())
    ):  # small packages give all they have, the others share the rest
        share = left // (len(totals) - place)
        if total > share:
            break
        left -= total
    else:
        share = max(totals.values(), default=0)
    chosen = []
    for mine in files.values():
        taken = 0
        for i in mine:
            if taken >= share:
                break
            taken += corpus.size(i)
            chosen.append(i)
    return sorted(chosen)


def count_tokens(corpus: Corpus, tokenizer: Tokenizer, batch: int = 256) -> int:
    """How many tokens a corpus has."""
    total = 0
    for begin in range(0, len(corpus), batch):
        texts = [corpus.text(i) for i in range(begin, min(begin + batch, len(corpus)))]
        total += sum(map(len, tokenizer.encode_batch(texts)))
    return total
