"""What is worth learning from: verdicts on one file, on its overlap with texts set apart, and on duplicates.

Nothing here reads or writes the data folder. Content is UTF-8 with LF line ends.
"""

import ast
import gzip
import json
import re
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from datasketch import MinHash, MinHashLSH
from numpy.typing import NDArray

from model.corpus import Row
from model.fetch import CorpusError, Package

Hashes = NDArray[np.uint64]

# ---------------------------------------------------------------------------------------------------- one file

SMALLEST, LARGEST = 200, 200_000

_BY_PATH = re.compile(
    r"(^|/)(_?vendor(ed|_pkgs)?|_vendored|third_party|externals?|extern|_?locale|locales|_?generated|gen|antlr\d?|_antlr)/"
    r"|_(data|pb2|pb2_grpc|generated|gen|tables?|mapping)\.py$|(^|/)(parsetab|lextab|unicodedata_.*)\.py$"
    r"|(^|/)lib2to3/tests/data/",
    re.IGNORECASE,
)

_GENERATED = re.compile(
    rb"@generated|\b(auto-?|automatically |machine[- ])generated|do not (edit|modify)|don't edit"
    rb"|\bgenerated (by|from|with|using|file|code)\b",
    re.IGNORECASE,
)

_LETTERS = np.zeros(256, bool)
_LETTERS[[*range(ord("a"), ord("z") + 1), *range(ord("A"), ord("Z") + 1), ord("_")]] = True
_SPACES = [ord(char) for char in " \t\n\f"]


def reject(path: str, content: bytes) -> str | None:
    """Why a file is not worth learning from, or None. Cheap questions first."""
    if _BY_PATH.search(path):
        return "vendored, generated or data by path"
    if not SMALLEST <= len(content) <= LARGEST:
        return "too small or too large"
    if _GENERATED.search(content, 0, 1000):
        return "says that it is generated"
    lines = content.split(b"\n")
    if max(map(len, lines)) > 1000 or len(content) / len(lines) > 100:
        return "long lines"
    counts = np.bincount(np.frombuffer(content, np.uint8), minlength=256)
    marks = max(1, int(counts.sum() - counts[_SPACES].sum()))
    if counts[128:].sum() / marks > 0.1:
        return "mostly not ASCII"
    if counts[48:58].sum() / marks > 0.25:
        return "mostly digits"
    if counts[_LETTERS].sum() / marks < 0.5:
        return "few letters"
    if counts[0]:
        return "not UTF-8 text"
    return _reject_syntax(content)


def _reject_syntax(content: bytes) -> str | None:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return "not UTF-8 text"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in old code
            ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return "syntax error"
    return None


# ---------------------------------------------------------------------------------------------------- overlap

GRAM = 13
LEAK = 0.1

OVERLAPS = ("overlaps a benchmark", "overlaps a held-out package")

_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Reference:
    """What a file must not overlap with."""

    words: dict[str, int] = field(default_factory=dict)
    """Every word of the benchmarks, with a number from 1."""
    grams: frozenset[tuple[int, ...]] = frozenset()
    """Every run of 13 words of the benchmarks."""
    held_out: Hashes = field(default_factory=lambda: np.empty(0, np.uint64))
    """Sorted shingles of the held-out packages."""


def benchmark_texts(folder: Path) -> list[str]:
    """Every string of every record of the benchmark files of a folder, program parts joined as they are run.

    Raises:
        CorpusError: there is no benchmark in the folder.
    """
    texts: list[str] = []
    for path in sorted([*folder.glob("*.jsonl"), *folder.glob("*.jsonl.gz")]):
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
            for line in lines:
                record = {key: value for key, value in json.loads(line).items() if isinstance(value, str)}
                if "suffix" in record:
                    record["prompt"] += record.pop("canonical_solution") + record.pop("suffix")
                texts.extend(record.values())
    if not texts:
        raise CorpusError(f"no benchmark (*.jsonl, *.jsonl.gz) in {folder}")
    return sorted(set(texts))


def benchmark_reference(texts: Sequence[str]) -> Reference:
    """All runs of 13 words, without case and punctuation, of the texts.

    The measure of Brown et al., "Language Models are Few-Shot Learners" (2020), appendix C. Runs with under five
    different words that hold letters are left out: ``0 1 2 3 ...`` is nobody's program.
    """
    words: dict[str, int] = {}
    grams = set()
    for text in texts:
        found = _WORD.findall(text.lower())
        numbers = [words.setdefault(word, len(words) + 1) for word in found]
        for i in range(len(found) - GRAM + 1):
            if len({word for word in found[i : i + GRAM] if not word.isdigit()}) >= 5:
                grams.add(tuple(numbers[i : i + GRAM]))
    return Reference(words, frozenset(grams))


def overlap(content: bytes, shingles: Hashes, reference: Reference) -> str | None:
    """Which of ``OVERLAPS`` a file has, or None."""
    if reference.grams and _shares_gram(content.decode("utf-8"), reference):
        return OVERLAPS[0]
    if len(shingles) and len(reference.held_out):
        place = np.searchsorted(reference.held_out, shingles).clip(max=len(reference.held_out) - 1)
        if float(np.mean(reference.held_out[place] == shingles)) > LEAK:
            return OVERLAPS[1]
    return None


def _shares_gram(text: str, reference: Reference) -> bool:
    numbers = list(map(reference.words.get, _WORD.findall(text.lower()), repeat(0)))
    if len(numbers) < GRAM:
        return False
    known = np.cumsum(np.array([0, *numbers]) > 0)
    candidates = np.flatnonzero(known[GRAM:] - known[:-GRAM] == GRAM)  # only known words: rare
    return any(tuple(numbers[i : i + GRAM]) in reference.grams for i in candidates.tolist())


# ---------------------------------------------------------------------------------------------------- duplicates

SHINGLE = 3
PERMUTATIONS = 64
SIMILAR = 0.7
_SCHEME: Literal["affine32"] = "affine32"


@dataclass(frozen=True)
class Kept:
    """A file that passed on its own: where its text waits, and what duplicates of it are known by."""

    row: Row
    digest: bytes
    signature: NDArray[np.unsignedinteger[Any]]


def significant_lines(content: bytes) -> list[bytes]:
    """The lines that are not blank or a comment, without indentation."""
    stripped = (line.strip() for line in content.split(b"\n"))
    return [line for line in stripped if line and not line.startswith(b"#")]


def shingle(lines: Sequence[bytes]) -> Hashes:
    """A 32-bit hash for every three lines in a row, or for every line of a shorter text; sorted, each once."""
    hashes = np.fromiter(map(zlib.crc32, lines), np.uint64, len(lines))
    if len(lines) > SHINGLE:
        with np.errstate(over="ignore"):
            mixed = hashes[:-2] * np.uint64(0x9E3779B97F4A7C15)
            mixed = (mixed ^ hashes[1:-1]) * np.uint64(0xC2B2AE3D27D4EB4F)
            hashes = (mixed ^ hashes[2:]) * np.uint64(0x165667B19E3779F9)
    unique: Hashes = np.unique(hashes >> np.uint64(32))
    return unique


def signature(shingles: Hashes) -> NDArray[np.unsignedinteger[Any]]:
    """MinHash [PERMUTATIONS] of shingles (Broder, "On the resemblance and containment of documents", 1997)."""
    minhash = MinHash(num_perm=PERMUTATIONS, hashfunc=int, scheme=_SCHEME)
    minhash.update_batch(shingles.tolist())
    values: NDArray[np.unsignedinteger[Any]] = minhash.hashvalues
    return values


def deduplicate(
    packages: Sequence[tuple[Package, Sequence[Kept]]],
) -> tuple[list[tuple[Package, Kept]], list[tuple[str, Kept]]]:
    """Drop every file that equals, or nearly equals, one that was read before it: the first in the given order stays.

    Near means an estimated Jaccard similarity of the line shingles of at least ``SIMILAR``; candidates come from
    locality-sensitive hashing. Gives back what stays, and what does not with the reason.
    """
    index = MinHashLSH(threshold=SIMILAR, num_perm=PERMUTATIONS)
    seen: set[bytes] = set()
    stay: list[tuple[Package, Kept]] = []
    dropped: list[tuple[str, Kept]] = []
    for package, files in packages:
        for kept in files:
            if kept.digest in seen:
                dropped.append(("exact duplicate", kept))
                continue
            minhash = MinHash(PERMUTATIONS, hashfunc=int, hashvalues=kept.signature, scheme=_SCHEME)
            near = cast(list[int], index.query(minhash))
            if any(np.mean(stay[i][1].signature == kept.signature) >= SIMILAR for i in near):
                dropped.append(("near duplicate", kept))
                continue
            seen.add(kept.digest)
            index.insert(len(stay), minhash)
            stay.append((package, kept))
    return stay, dropped
