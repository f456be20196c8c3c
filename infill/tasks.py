"""Held-out tasks: real code with one hole each, and the answer that a person wrote.

A task is a whole file and a span of it. The same sources and the same seed give the same tasks on every machine: the
draw for a file depends on the seed, the file's name and nothing else. Plain text in, plain values out; no torch.

Kinds: ``rest`` (rest of a line from a random column behind its first character), ``line`` (a line's text, the cursor
behind the indentation), ``start`` (the same, the cursor at column 0), ``lines`` (2-4 lines), ``expression``,
``arguments``, ``block`` (nodes of the syntax tree) and ``tail`` (as ``rest``, but the file ends at the cursor's line).
"""

import gzip
import hashlib
import importlib.util
import json
import random
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import chain, zip_longest
from pathlib import Path

from tree_sitter import Node, Tree

from infill.languages import parser

KINDS = ("rest", "line", "lines", "expression", "arguments", "block", "start", "tail")
ONE_LINE = frozenset({"rest", "line", "start", "tail", "humaneval", "quixbugs"})
"""Kinds whose answer ends at the end of its line; every system is told so."""
EXPRESSIONS = frozenset(
    [
        "attribute", "await", "binary_operator", "boolean_operator", "call", "comparison_operator",
        "conditional_expression", "dictionary", "dictionary_comprehension", "generator_expression", "lambda", "list",
        "list_comprehension", "not_operator", "set", "set_comprehension", "subscript", "tuple", "unary_operator",
    ]
)  # fmt: skip
DRAWS = 12
LARGEST_FILE = 200_000  # code points; larger files are data tables more often than code


@dataclass(frozen=True)
class Source:
    package: str
    path: str
    text: str


@dataclass(frozen=True)
class Task:
    kind: str
    package: str
    path: str
    text: str
    start: int
    end: int
    prose: bool = False
    """The hole touches a comment or a docstring; the others are the code-only split."""
    test: str | None = None
    """What to append to the filled program to judge it by running it."""

    @property
    def name(self) -> str:
        return f"{self.kind}:{self.package}:{self.path}:{self.start}-{self.end}"

    @property
    def prefix(self) -> str:
        return self.text[: self.start]

    @property
    def middle(self) -> str:
        return self.text[self.start : self.end]

    @property
    def suffix(self) -> str:
        return self.text[self.end :]

    @property
    def one_line(self) -> bool:
        return self.kind in ONE_LINE

    def filled(self, answer: str) -> str:
        return self.prefix + answer + self.suffix


def make_tasks(
    sources: Sequence[Source],
    kind: str,
    n: int,
    *,
    seed: int = 0,
    longest: int | None = None,
    count: Callable[[str], int] | None = None,
) -> list[Task]:
    """Up to n tasks of one kind, evenly over packages and, within a package, over files.

    longest: most tokens of a middle, as counted by ``count`` (code points when there is none).
    Raises: ValueError for an unknown kind.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind of task {kind!r}; there are {', '.join(KINDS)}")
    by_package: dict[str, list[Source]] = defaultdict(list)
    for source in sources:
        if len(source.text) <= LARGEST_FILE:
            by_package[source.package].append(source)
    fits = _fits(longest, count)
    streams = [_package_tasks(by_package[name], kind, seed, fits) for name in sorted(by_package)]
    tasks: dict[str, Task] = {}
    for task in chain.from_iterable(zip_longest(*streams)):
        if len(tasks) == n:
            break
        if task is not None:
            tasks.setdefault(task.name, task)
    return list(tasks.values())


def from_corpus(folder: Path, split: str) -> list[Source]:
    """The files of one held-out split (``valid`` or ``test``) of a built corpus.

    Raises: FileNotFoundError with the command that builds it.
    """
    from model.corpus import Corpus  # noqa: PLC0415 - needs the extras of building a corpus, which --source does not

    if not (folder / split / "index.jsonl").exists():
        raise FileNotFoundError(f"no {split} split in {folder}: build it with `hone data build`")
    corpus = Corpus.open(folder / split)
    return [Source(corpus.package(i), corpus.path(i), corpus.text(i)) for i in range(len(corpus))]


def held_out(source: Path | None, data: Path, split: str) -> list[Source]:
    """Files that the embedded model has not seen: a folder if one is named, else a split of the built corpus, else the
    package ``rich``, which is held out of the corpus and installed with Hone.

    Raises: FileNotFoundError when a named folder holds none.
    """
    if source is not None:
        return from_folder(source)
    if (data / split / "index.jsonl").is_file():
        return from_corpus(data, split)
    found = importlib.util.find_spec("rich")
    assert found is not None
    assert found.origin is not None
    return from_folder(Path(found.origin).parent)


def from_folder(folder: Path) -> list[Source]:
    """Every Python file below a folder; the first folder below it counts as the package.

    Raises: FileNotFoundError when there is none.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is no folder: --source wants a folder of Python files")
    sources = []
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).parts
        try:
            text = path.read_bytes().decode("utf-8")
        except UnicodeDecodeError:
            continue
        sources.append(Source(parts[0] if len(parts) > 1 else folder.name, "/".join(parts), text))
    if not sources:
        raise FileNotFoundError(f"no Python file in {folder}")
    return sources


def from_humaneval(folder: Path) -> list[Task]:
    """HumanEval-Infilling, single line (MIT, github.com/openai/human-eval-infilling).

    The hole is the text of the missing line with its indentation and without its line break.
    Raises: FileNotFoundError when the folder has no such file.
    """
    tasks = []
    for row in _rows(folder / "HumanEval-SingleLineInfilling.jsonl.gz"):
        line, prefix = row["canonical_solution"].rstrip("\n"), row["prompt"]
        text = prefix + line + ("" if row["suffix"].startswith("\n") else "\n") + row["suffix"]
        test = f"\n{row['test']}\ncheck({row['entry_point']})\n"
        start, end = len(prefix), len(prefix) + len(line)
        tasks.append(Task("humaneval", "humaneval", row["task_id"], text, start, end, test=test))
    return tasks


def from_quixbugs(folder: Path) -> list[Task]:
    """QuixBugs (MIT, github.com/jkoppel/QuixBugs) as infilling: the line where the program was wrong is the hole."""
    tasks = []
    for row in _rows(folder / "quixbugs_python.jsonl"):
        wrong, right = row["buggy_program"].splitlines(), row["solution"].splitlines()
        changes = [op for op in SequenceMatcher(None, wrong, right, autojunk=False).get_opcodes() if op[0] != "equal"]
        if len(changes) != 1 or changes[0][4] - changes[0][3] != 1:
            continue
        number = changes[0][3]
        start = sum(len(line) + 1 for line in right[:number])
        start += len(right[number]) - len(right[number].lstrip())
        end = start + len(right[number].strip())
        text, test = "\n".join(right) + "\n", f"\n{row['tests']}\n"
        tasks.append(Task("quixbugs", "quixbugs", row["name"], text, start, end, test=test))
    return tasks


def _rows(path: Path) -> Iterator[dict[str, str]]:
    data = path.read_bytes()
    for line in (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8").splitlines():
        yield json.loads(line)


def _fits(longest: int | None, count: Callable[[str], int] | None) -> Callable[[str], bool]:
    if longest is None:
        return lambda _: True
    if count is None:
        return lambda middle: len(middle) <= longest
    # A token is at least one byte, so most middles need no counting; very long ones are not worth it.
    return lambda middle: len(middle) <= 40 * longest and count(middle) <= longest


def _package_tasks(files: list[Source], kind: str, seed: int, fits: Callable[[str], bool]) -> Iterator[Task]:
    """Tasks of one package, one file after the other in shuffled order, for as many rounds as it gives new ones."""
    order = sorted(files, key=lambda source: _digest(seed, source.package, source.path))
    pages = [_Page(source) for source in order]
    for round_number in range(1000):
        given = False
        for page in pages:
            source = page.source
            rng = random.Random(_digest(seed, kind, round_number, source.package, source.path))
            task = page.draw(kind, rng, fits)
            if task is not None:
                given = True
                yield task
        if not given:
            return


def _digest(*parts: object) -> int:
    return int.from_bytes(hashlib.sha256("\0".join(map(str, parts)).encode()).digest()[:8], "big")


class _Page:
    """One file and what is known about it, found out when it is first drawn from."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._spans: dict[str, list[tuple[int, int]]] = {}
        self._prose: list[tuple[int, int]] | None = None

    def draw(self, kind: str, rng: random.Random, fits: Callable[[str], bool]) -> Task | None:
        spans = self.spans(kind)
        for _ in range(DRAWS if spans else 0):
            start, end = _place(self.source.text, kind, rng.choice(spans), rng)
            middle = self.source.text[start:end]
            text = self.source.text[:end] if kind == "tail" else self.source.text
            if middle.strip() and fits(middle) and (kind != "tail" or parses(text)):
                prose = any(a < end and start < b for a, b in self._prose or ())
                return Task(kind, self.source.package, self.source.path, text, start, end, prose)
        return None

    def spans(self, kind: str) -> list[tuple[int, int]]:
        """Where a task of this kind may lie, in code points; nothing for a file that does not parse."""
        if self._prose is None:
            data = self.source.text.encode()
            tree = python_tree(data)
            self._prose = _spans_of(tree, data, is_prose)
            broken = tree.root_node.has_error
            self._spans = {
                "expression": [] if broken else _spans_of(tree, data, lambda node: node.type in EXPRESSIONS),
                "arguments": []
                if broken
                else _spans_of(tree, data, lambda node: node.type == "argument_list", inside=1),
                "block": [] if broken else _spans_of(tree, data, lambda node: node.type == "block"),
                "line": [] if broken else _code_lines(self.source.text),
            }
        return self._spans.get(kind, self._spans["line"])


def python_tree(data: bytes) -> Tree:
    python = parser("python")
    assert python is not None
    return python.parse(data)


def parses(text: str) -> bool:
    """Whether a parse of the whole text from scratch finds no error and nothing missing."""
    return not python_tree(text.encode()).root_node.has_error


def errors(text: str) -> int:
    """How many errors and missing pieces a parse of the whole text from scratch finds."""
    root = python_tree(text.encode()).root_node
    return sum(node.is_error or node.is_missing for node in _walk(root)) if root.has_error else 0


def is_prose(node: Node) -> bool:
    """A comment, or a string that is a statement of its own (a docstring)."""
    return node.type == "comment" or (
        node.type == "string" and node.parent is not None and node.parent.type == "expression_statement"
    )


def _code_lines(text: str) -> list[tuple[int, int]]:
    """(first character that is no space, end without line break) of every line that is not blank."""
    spans, position = [], 0
    for line in text.split("\n"):
        body = line.rstrip("\r")
        if body.strip():
            spans.append((position + len(body) - len(body.lstrip()), position + len(body)))
        position += len(line) + 1
    return spans


def _place(text: str, kind: str, span: tuple[int, int], rng: random.Random) -> tuple[int, int]:
    """The hole of a kind at a span; an empty hole when the span has no room for one."""
    start, end = span
    if kind in ("rest", "tail"):
        last = start + len(text[start:end].rstrip()) - 1
        return (rng.randint(start + 1, last), end) if last > start else (end, end)
    if kind == "start":
        return text.rfind("\n", 0, start) + 1, end
    if kind == "lines":
        return start, _end_after(text, end, rng.randint(1, 3))
    return start, end


def _end_after(text: str, end: int, more: int) -> int:
    """End of the line that comes ``more`` lines later; ``end`` itself when that one is blank or there is none."""
    stop = end
    for _ in range(more):
        newline = text.find("\n", stop)
        if newline < 0:
            return 0
        following = text.find("\n", newline + 1)
        stop = len(text) if following < 0 else following
    last = text[text.rfind("\n", 0, stop) + 1 : stop]
    return stop - (len(last) - len(last.rstrip("\r"))) if last.strip() else 0


def _spans_of(tree: Tree, data: bytes, wanted: Callable[[Node], bool], inside: int = 0) -> list[tuple[int, int]]:
    """Spans in code points of the nodes that are wanted, ``inside`` bytes shorter at both ends."""
    offsets = _offsets(data)
    spans = []
    for node in _walk(tree.root_node):
        start, end = node.start_byte + inside, node.end_byte - inside
        if wanted(node) and start < end:
            spans.append((offsets(start), offsets(end)))
    return spans


def _walk(root: Node) -> Iterator[Node]:
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(reversed(node.children))


def _offsets(data: bytes) -> Callable[[int], int]:
    """Byte offset -> code point offset."""
    if data.isascii():
        return lambda offset: offset
    later = [i for i, byte in enumerate(data) if byte & 0xC0 == 0x80]
    return lambda offset: offset - bisect_right(later, offset - 1)
