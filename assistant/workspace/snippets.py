"""What from other places may help at a place in a file: small pieces of text, the most useful first.

``gather`` is a function of what is known (``Known``, frozen) and of the index.

Sources: ``definitions`` of names near the cursor and of what resembles the lines there, ``imports`` (signatures of what
the file imports), ``open`` (places in open documents that are like the cursor's, and the parts that share the most
names with the lines before it), ``recent`` (what this session changed) and ``diagnostics`` (what other tools say is
wrong near the cursor).
"""

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain
from pathlib import Path, PurePosixPath

from assistant.types import SOURCES, Snippet
from assistant.workspace.gate import Gate, KeptOut, content
from assistant.workspace.imports import Import, imports, shared
from assistant.workspace.index import Entry, Reader, index_file, sweep
from infill.borrowing import cursor_of, places_in

ORDER: tuple[str, ...] = ("definitions", "imports", "open", "recent", "diagnostics")
"""All sources; what is asked for together comes in this order."""
DEFAULT_SOURCES: tuple[str, ...] = ("open",)
"""The sources that are on where nobody says otherwise: those that held-out packages showed to help."""
MOST = 20
MOST_CHARS = 12_000
LIMITS = {
    "definitions": (6, 2600),
    "imports": (2, 800),
    "open": (10, 8000),
    "recent": (3, 1600),
    "diagnostics": (1, 400),
}
"""Snippets and characters of one source; none of them can take the place of another."""
BEFORE, BEHIND = 24, 8
"""Lines around the cursor whose names count."""
FAR = 40_000
"""Characters on both sides of the cursor whose names are looked through: a file of any length costs the same."""
PLACES, MARGIN = 6, 6
"""Places in open documents that are like the cursor's, and lines on both sides of each that go along."""
WINDOW, STEP = 12, 6
"""Lines of a part of an open document."""
LEAST_ALIKE = 0.08
"""Share of names in common below which a part of another document says nothing."""
OPEN_CHARS = 120_000
"""Longer documents are not looked through."""
OFFLINE_OPEN = 8

FAMILIES = {"tsx": "javascript", "typescript": "javascript", "cpp": "c"}
EXTENSIONS = {
    "py": "python", "pyi": "python", "pyw": "python", "js": "javascript", "mjs": "javascript", "cjs": "javascript",
    "jsx": "javascript", "ts": "typescript", "mts": "typescript", "cts": "typescript", "tsx": "tsx", "go": "go",
    "rs": "rust", "java": "java", "c": "c", "h": "c", "cpp": "cpp", "cc": "cpp", "cxx": "cpp", "hpp": "cpp",
    "hh": "cpp", "hxx": "cpp", "cs": "csharp", "rb": "ruby", "php": "php", "lua": "lua", "sh": "bash", "bash": "bash",
}  # fmt: skip
"""The languages that are indexed, by extension: ``infill.languages`` would bring the parser into every editor."""
KEYWORDS = frozenset(
    """False None String True __file__ __init__ __main__ __name__ abstract and any args arguments assert async auto
    await bool boolean break byte bytes case catch char class cls const constructor continue def default defer del
    delete dict do double elif else end enum except exit export extends extern false final finally float for foreach
    from func function global goto if implements import in include int interface internal is isinstance kwargs
    lambda len let list local long map match mod module mut namespace new nil nonlocal not null object operator or
    override package pass print private protected pub public raise range readonly ref require require_once return
    self set short signed sizeof static str string struct super switch template then this throw throws trait true
    try tuple type typedef typeof undefined union unsigned until use using var virtual void volatile when where
    while with yield""".split()  # noqa: SIM905
)
"""Of all languages: they are defined nowhere."""
_WORD = re.compile(r"[^\W\d]\w*")
_USED = re.compile(r"(?P<dot>\.|->|::)?\b(?P<name>[^\W\d]\w{2,})\b(?P<call>\s*[(\[.]|::|->)?")
_QUIET = re.compile(r"\"[^\"\n]*\"|'[^'\n]*'|(?:^|\s)(?:#|//|--)\s[^\n]*")
_IMPORTS = re.compile(r"\s*(?:import|from|use|using|require|#\s*include|export\s+\{)\b")
_LOCAL = re.compile(
    r"\b(?:def|class|fn|func|function|const|let|var|type|struct|enum|trait|interface|module)\s+\*?(\w+)"
    r"|^[ \t]*(\w+)[ \t]*(?::[^=\n]+)?(?::?=)(?!=)",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Opened:
    """Another document that is open."""

    path: str
    text: str


@dataclass(frozen=True)
class Edited:
    """A place that was changed, as it is now."""

    path: str
    text: str
    line: int = 0


@dataclass(frozen=True)
class Problem:
    line: int
    """From 0."""
    message: str


@dataclass(frozen=True)
class Known:
    path: str
    """Below the workspace's root, with slashes; anything else for a file outside of it."""
    text: str
    at: int
    language: str | None = None
    """None: by the path."""
    opened: tuple[Opened, ...] = ()
    """The last used first; not the file itself."""
    edits: tuple[Edited, ...] = ()
    """The newest first."""
    problems: tuple[Problem, ...] = ()
    sources: tuple[str, ...] = DEFAULT_SOURCES
    """In the order in which they are wanted."""


@dataclass(frozen=True)
class Gathered:
    snippets: tuple[Snippet, ...] = ()
    kept_out: tuple[KeptOut, ...] = ()
    """What was looked at, and why it is not among them."""


Admit = Callable[[str], str | None]
"""Why a file may not be shown, by its path; None: it may."""


def gather(known: Known, reader: Reader | None, admit: Admit) -> Gathered:
    """At most ``MOST`` snippets with ``MOST_CHARS`` characters in all; the same for the same arguments."""
    language = known.language or language_of(known.path)
    around = _Around.of(known.text, known.at)
    if reader is not None:
        reader.refresh()
    kept: dict[KeptOut, None] = {}
    found: list[Snippet] = []
    shown: set[tuple[str, str]] = set()
    brought = imports(reader, known.path, language, known.text) if reader is not None and language else ()
    for source in known.sources:
        if source == "definitions" and reader is not None and language:
            fresh = _definitions(known, language, around, reader, brought, shown)
        elif source == "imports" and reader is not None and language:
            fresh = _imported(known, around, reader, brought, shown)
        elif source == "open":
            fresh = _open(known, around, admit, kept)
        elif source == "recent":
            fresh = _recent(known, around, admit, kept)
        elif source == "diagnostics":
            fresh = _problems(known, around)
        else:
            continue
        found += _within(fresh, *LIMITS[source])
    admitted = _admitted(found, admit, kept, around)
    return Gathered(tuple(_within(iter(admitted), MOST, MOST_CHARS)), tuple(kept))


def _admitted(found: list[Snippet], admit: Admit, kept: dict[KeptOut, None], around: "_Around") -> Iterator[Snippet]:
    seen: set[str] = set()
    for snippet in found:
        plain = snippet.text.strip()
        if not plain or plain in seen or plain in around.near:
            continue
        seen.add(plain)
        # The index holds what passed the gate when it was written; the user's globs may have changed since.
        reason = admit(snippet.path) or content(snippet.text)
        if reason is None:
            yield snippet
        else:
            kept[KeptOut(snippet.path, reason)] = None


def _within(snippets: Iterator[Snippet], most: int, chars: int) -> Iterator[Snippet]:
    for snippet in snippets:
        if most == 0 or chars <= 0:
            return
        if len(snippet.text) <= chars:
            most -= 1
            chars -= len(snippet.text)
            yield snippet


def language_of(path: str) -> str | None:
    return EXTENSIONS.get(PurePosixPath(path.replace("\\", "/")).suffix.lower().removeprefix("."))


# The lines around the cursor.


@dataclass(frozen=True)
class _Around:
    line: int
    """The cursor's, from 0."""
    before: tuple[str, ...]
    behind: tuple[str, ...]
    called: str
    """What stands on the cursor's line before it, up to the last name that is called or looked into."""
    near: str
    """What the model sees anyway."""

    @classmethod
    def of(cls, text: str, at: int) -> "_Around":
        start = text.rfind("\n", 0, at) + 1
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        head = text[max(0, start - 6000) : start].splitlines()[-BEFORE:]
        tail = text[end + 1 : end + 3000].splitlines()[:BEHIND]
        return cls(
            text.count("\n", 0, start),
            tuple(head),
            tuple(tail),
            called(text[start:at]),
            text[max(0, start - 1000) : end + 500],
        )

    def used(self) -> dict[str, "_Use"]:
        """Names and how near they are, the nearest first."""
        found: dict[str, _Use] = {}
        lines = [(1, self.called)] if self.called else []
        lines += [(2 + i, line) for i, line in enumerate(reversed(self.before))]
        lines += [(4 + 2 * i, line) for i, line in enumerate(self.behind)]
        for distance, line in sorted(lines, key=lambda one: one[0]):
            if _IMPORTS.match(line):
                continue
            for use in _USED.finditer(_QUIET.sub(" ", line)):
                name = use["name"]
                if name in KEYWORDS or name in found:
                    continue
                found[name] = _Use(distance, bool(use["dot"]), bool(use["call"]))
        return found

    def words(self) -> frozenset[str]:
        lines = [self.called, *self.before[-12:], *self.behind[:3]]
        telling = [line for line in lines if not _IMPORTS.match(line)]
        return frozenset(word for line in telling for word in _WORD.findall(line) if len(word) > 2) - KEYWORDS


@dataclass(frozen=True)
class _Use:
    distance: int
    is_member: bool
    is_called: bool


def called(line: str) -> str:
    """The beginning of a line up to the last name that is called or looked into: it changes with few keys only."""
    ends = [found.end() for found in re.finditer(r"\w{3,}\s*(?:\(|\.|::|->)", line)]
    return line[: ends[-1]] if ends else ""


# Definitions.


def _definitions(
    known: Known,
    language: str,
    around: _Around,
    reader: Reader,
    brought: Sequence[Import],
    shown: set[tuple[str, str]],
) -> Iterator[Snippet]:
    used = around.used()
    near = known.text[max(0, known.at - FAR) : known.at + FAR]
    local = {name for pair in _LOCAL.findall(near) for name in pair if name}
    by_alias = {one.alias: one for one in brought}
    wanted = [name for name, use in used.items() if use.is_member or name not in local or name in by_alias]
    asked = {(by_alias[name].name or name) if name in by_alias else name: name for name in wanted}
    rated: list[tuple[float, int, Entry]] = []
    entries = _by_name(reader.named(list(asked)), known.path, language)
    for real, candidates in entries.items():
        name = asked[real]
        use, origin = used[name], by_alias.get(name)
        for entry in candidates:
            rated.append(
                (_worth(entry, use, origin, len(candidates), known.path, brought, language), len(rated), entry)
            )
    rated.sort(key=lambda one: (-one[0], one[1]))
    names: dict[str, int] = {}
    for worth, _, entry in rated:
        if worth < LEAST_WORTH or names.get(entry.name, 0) >= 2:
            continue
        names[entry.name] = names.get(entry.name, 0) + 1
        shown.add((entry.path, entry.name))
        yield Snippet(entry.path, _defined(entry), "definitions")
    yield from _alike(known, language, around, reader, shown, local)


LEAST_WORTH = 0.02
ALIKE = 4
"""Definitions that resemble the lines before the cursor, at most."""


def _alike(
    known: Known, language: str, around: _Around, reader: Reader, shown: set[tuple[str, str]], local: set[str]
) -> Iterator[Snippet]:
    words = sorted(around.words(), key=lambda word: (-len(word), word))[:16]
    family, left = FAMILIES.get(language, language), ALIKE
    for entry in reader.like(words, most=12):
        if left and entry.path != known.path and FAMILIES.get(entry.language, entry.language) == family:
            if (entry.path, entry.name) in shown or entry.kind == "class" or entry.name in local:
                continue
            if _is_test(entry.path) and not _is_test(known.path):
                continue
            left -= 1
            yield Snippet(entry.path, _defined(entry), "definitions")


def _by_name(entries: list[Entry], path: str, language: str) -> dict[str, list[Entry]]:
    family = FAMILIES.get(language, language)
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.path != path and FAMILIES.get(entry.language, entry.language) == family:
            found.setdefault(entry.name, []).append(entry)
    return found


def _worth(
    entry: Entry, use: _Use, origin: Import | None, rivals: int, path: str, brought: Sequence[Import], language: str
) -> float:
    worth = 1 / (use.distance + 2)
    if origin is not None and not entry.scope:
        return worth * (6 if _comes_from(entry.path, origin) else 0.2 / rivals)
    is_member = entry.kind == "method"
    if is_member != use.is_member and not (use.is_member and any(one.name == "" for one in brought)):
        worth *= 0.1
    elif not is_member and language in {"python", "javascript", "typescript", "tsx"} and origin is None:
        worth *= 0.3  # what is not imported cannot be meant, unless the import is still to come
    if any(one.path == entry.path for one in brought):
        worth *= 4
    if use.is_called:
        worth *= 1.5
    if _is_test(entry.path) and not _is_test(path):
        worth *= 0.2
    near = 1 + shared(entry.path, path)
    return worth * near / (near + 2) / rivals


def _comes_from(path: str, origin: Import) -> bool:
    """A package may define what it gives in a module of its own."""
    package = origin.path.removesuffix("__init__.py")
    return path == origin.path or (package != origin.path and path.startswith(package))


def _is_test(path: str) -> bool:
    return any(part in {"tests", "test", "__tests__", "spec"} for part in path.split("/")[:-1]) or bool(
        re.search(r"(?:^|/)(?:test_[^/]*|conftest|[^/]*[._](?:test|spec))\.\w+$", path)
    )


def _defined(entry: Entry) -> str:
    """A method with the class that it belongs to, where a line says so."""
    if entry.scope and entry.language == "python" and entry.kind == "method":
        return f"class {entry.scope}:\n" + "\n".join(f"    {line}" for line in entry.text.splitlines())
    return entry.text


# Imports.


def _imported(
    known: Known, around: _Around, reader: Reader, brought: Sequence[Import], shown: set[tuple[str, str]]
) -> Iterator[Snippet]:
    used = around.used()
    near = known.text[max(0, known.at - FAR) : known.at + FAR]
    everywhere = frozenset(_WORD.findall(near)) if any(one.name in {"", "*"} for one in brought) else frozenset()
    lines: dict[str, list[str]] = {}
    ranked = sorted(brought, key=lambda one: used[one.alias].distance if one.alias in used else 1000)
    for one in ranked[:24]:
        for entry in _entries(one, reader, used, everywhere):
            if (entry.path, entry.name) in shown or entry.path == known.path:
                continue
            shown.add((entry.path, entry.name))
            lines.setdefault(entry.path, []).extend(_heads(entry, reader))
    for path, heads in lines.items():
        yield Snippet(path, "\n".join(heads[:12]), "imports")


def _entries(one: Import, reader: Reader, used: dict[str, _Use], everywhere: frozenset[str]) -> list[Entry]:
    here = [entry for entry in reader.in_file(one.path) if not entry.scope]
    if one.name in {"", "*"}:
        # A module as a whole: what of it is used in this file, else what it begins with.
        named = [entry for entry in here if entry.name in everywhere and not entry.name.startswith("_")]
        near = [entry for entry in named if entry.name in used]
        return (near or named)[:8] if one.name == "*" or one.alias in used or near else named[:4]
    found = [entry for entry in here if entry.name == (one.alias if one.name == "default" else one.name)]
    if not found and one.path.endswith("__init__.py"):
        named = [entry for entry in reader.named([one.name]) if not entry.scope and _comes_from(entry.path, one)]
        return named[:1]
    return found[:1]


def _heads(entry: Entry, reader: Reader) -> list[str]:
    """A signature; of a class, with that of what makes one."""
    end = ":" if entry.language == "python" and entry.kind in {"class", "function"} else ""
    head = entry.signature.removesuffix(":") + end
    if entry.kind != "class":
        return [head]
    makers = {"__init__", "constructor", "new", entry.name, "initialize"}
    made = [one for one in reader.in_file(entry.path) if one.scope == entry.name and one.name in makers]
    return [head, *("    " + one.signature for one in made[:1])]


# Open documents.


def _open(known: Known, around: _Around, admit: Admit, kept: dict[KeptOut, None]) -> Iterator[Snippet]:
    others: list[Opened] = []
    for other in known.opened[:16]:
        if other.path == known.path:
            continue
        reason = admit(other.path) or (
            f"longer than {OPEN_CHARS} characters" if len(other.text) > OPEN_CHARS else content(other.text)
        )
        if reason is None:
            others.append(other)
        else:
            kept[KeptOut(other.path, reason)] = None
    taken: list[tuple[str, range]] = []
    for other, lines in chain(_places(known, others), _parts(around.words(), others)):
        apart = max(len(lines) // 2, 1)
        if not any(other.path == path and abs(lines.start - one.start) < apart for path, one in taken):
            taken.append((other.path, lines))
            text = "\n".join(other.text.splitlines()[lines.start : lines.stop])
            yield Snippet(other.path, text.strip("\n"), "open")


def _places(known: Known, others: Sequence[Opened]) -> Iterator[tuple[Opened, range]]:
    """What stands around the places that are most like the cursor's, each of which would go on otherwise."""
    cursor = cursor_of(known.text[: known.at], known.text[known.at :], one_line=False)
    rated = [(-place.score, rank, place) for rank, one in enumerate(others) for place in places_in(one.text, cursor)]
    texts: set[str] = set()
    for _, rank, place in sorted(rated, key=lambda one: one[:2]):
        if place.text not in texts:
            texts.add(place.text)
            yield others[rank], range(max(place.first - MARGIN, 0), place.stop + MARGIN)
        if len(texts) == PLACES:
            return


def _parts(wanted: Collection[str], others: Sequence[Opened]) -> Iterator[tuple[Opened, range]]:
    """The parts of documents that share the most of the ``wanted`` names."""
    rated: list[tuple[float, int, int]] = []
    for rank, other in enumerate(others):
        for first, words in _windows(other.text):
            common = len(words.intersection(wanted))
            if common >= 2 and (alike := common / len(words.union(wanted))) >= LEAST_ALIKE:
                rated.append((-alike, rank, first))
    for _, rank, first in sorted(rated):
        yield others[rank], range(first, first + WINDOW)


@lru_cache(maxsize=24)
def _windows(text: str) -> tuple[tuple[int, frozenset[str]], ...]:
    """Overlapping parts of a text by their first line, with their names."""
    per_line = [frozenset(word for word in _WORD.findall(line) if len(word) > 2) for line in text.splitlines()]
    return tuple(
        (first, frozenset().union(*per_line[first : first + WINDOW]) - KEYWORDS)
        for first in range(0, max(1, len(per_line) - STEP), STEP)
    )


# What was changed, and what is wrong.


def _recent(known: Known, around: _Around, admit: Admit, kept: dict[KeptOut, None]) -> Iterator[Snippet]:
    for edit in known.edits:
        if edit.path == known.path and abs(edit.line - around.line) < 40:
            continue  # the model sees it
        if (reason := admit(edit.path)) is not None:
            kept[KeptOut(edit.path, reason)] = None
            continue
        yield Snippet(edit.path, edit.text, "recent")


def _problems(known: Known, around: _Around) -> Iterator[Snippet]:
    near = [one for one in known.problems if abs(one.line - around.line) <= 8]
    near.sort(key=lambda one: (abs(one.line - around.line), one.line, one.message))
    lines = [f"{known.path}:{one.line + 1}: {' '.join(one.message.split())[:90]}" for one in near[:3]]
    if lines:
        yield Snippet(known.path, "\n".join(lines), "diagnostics")


# Without an editor, for measuring.


def offline(
    root: Path,
    path: str,
    text: str,
    at: int,
    sources: Collection[str] = DEFAULT_SOURCES,
    *,
    index: Path | None = None,
) -> tuple[Snippet, ...]:
    """What an editor would send along at ``at`` in ``text``, which stands for the content of ``path`` below ``root``.

    The index of ``root`` is made when the process first asks for it, at ``index`` or in the usual place. What it and
    the disk have of ``path`` itself never counts. As open documents count the files that ``path`` imports and then
    those beside it, the last changed first, ``OFFLINE_OPEN`` in all. Nothing was changed lately, and nothing is wrong.
    Raises: ValueError for a source that does not exist.
    """
    if unknown := sorted(set(sources) - set(SOURCES)):
        raise ValueError(f"unknown source {unknown[0]!r}; there are {', '.join(SOURCES)}")
    gate, reader = _offline(root.resolve(), index)
    ordered = tuple(one for one in ORDER if one in sources)
    known = Known(path, text, at, sources=ordered)
    if "open" in sources:
        known = replace(known, opened=tuple(beside(known, gate, reader)))
    return gather(known, reader, gate.path).snippets


@lru_cache(maxsize=64)
def _offline(root: Path, index: Path | None) -> tuple[Gate, Reader]:
    gate = Gate(root)
    file = index or index_file(root)
    sweep(gate, file)
    return gate, Reader(file)


def beside(known: Known, gate: Gate, reader: Reader, most: int = OFFLINE_OPEN) -> Iterator[Opened]:
    """Files that somebody who works on this one is likely to have open."""
    language = known.language or language_of(known.path)
    brought = imports(reader, known.path, language, known.text) if language else ()
    folder = PurePosixPath(known.path).parent.as_posix()
    paths = [one.path for one in brought] + reader.near("" if folder == "." else folder, most=2 * most)
    for path in [one for one in dict.fromkeys(paths) if one != known.path][:most]:
        text = _read(gate, path)
        if isinstance(text, str):
            yield Opened(path, text)


@lru_cache(maxsize=128)
def _read(gate: Gate, path: str) -> str | KeptOut:
    return gate.read(path)
