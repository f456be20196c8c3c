"""Syntax errors and small edits that take them away: what is missing or too much is found by trying, and a parser says
what helps. What no rule mends is left for the model: ``holes`` says what to write anew.

Offsets are code points. An edit is only ever given where the text with it has fewer errors than without it.
"""

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from threading import Lock

from tree_sitter import Node, Parser, Point, Tree

from assistant.slips import WORD, slips
from infill import languages
from infill.brackets import CLOSER, is_deep, unmatched
from infill.syntax import worse

LARGEST = 300_000
"""Characters; nothing is looked for in a longer text: a parser lets nothing else run meanwhile."""
TRIES = 240
"""Edits that are tried."""
SLIPS = 120
"""Of those the first, which are known slips of the hand."""
FAULTS = 4
"""Errors on whose lines slips are looked for at once."""
NEAR = 20_000
"""Characters on both sides in which words are looked for."""
LINES = 8
"""Lines from where an error begins in which something may be missing."""
HEADER = re.compile(r"\s*(?:async\s+)?(?:def|class|if|elif|else|for|while|try|except|finally|with|match|case)\b")
TOKEN = re.compile(r"\w+|[^\w\s]")
SIGNS = {"(", ")", "[", "]", "{", "}", ":", ",", ";", ".", "=", '"', "'", "->", "=>"}


@dataclass(frozen=True)
class Fault:
    """An ERROR or a MISSING node: ``text[start:end]``."""

    start: int
    end: int
    missing: str = ""


@dataclass(frozen=True)
class Mending:
    """``text`` for ``start``..``end``."""

    start: int
    end: int
    text: str

    def of(self, text: str) -> str:
        return text[: self.start] + self.text + text[self.end :]


class Broken:
    """A text with its faults; ``faults`` is empty where it parses, has no grammar, or is too long."""

    def __init__(self, text: str, language: str | None, filename: str | None = None) -> None:
        self.text = text
        self._lock = Lock()  # parsers are not for two threads
        self._row = languages.get(languages.resolve(language, filename, text))
        usable = self._row is not None and len(text) <= LARGEST and "\0" not in text
        usable = usable and languages.depth(text, self._row) <= languages.DEPTH and not is_deep(text)
        self._parser: Parser | None = languages.parser(self._row.name) if usable and self._row else None
        self._data = _encode(text)
        self._newline = "\r\n" if "\r\n" in text else "\n"
        self._is_ascii = len(self._data) == len(text)
        self._tree = None if self._parser is None else self._parser.parse(self._seen(self._data))
        self.faults = [] if self._tree is None else [self._fault(node) for node in _faulty(self._tree)]

    def near(self, start: int, end: int) -> Fault | None:
        """The fault on the lines of ``start``..``end``, or nearest to them: one line above or below at most."""
        first, last = self._line(start), self._line(end)
        spans = [(self._line(one.start), self._line(max(one.end - 1, one.start)), one) for one in self.faults]
        near = [(max(top - last, first - bottom, 0), one) for top, bottom, one in spans]
        found = [(apart, one.end - one.start, one.start, one) for apart, one in near if apart <= 1]
        return min(found, key=lambda one: one[:-1])[-1] if found else None

    def mended(self, fault: Fault, at: int) -> Mending | None:
        """The smallest edit by rule that leaves the fewest errors, fewer than there are; None where there is none.
        ``at``: the cursor, near which the fault is more likely.
        """
        tried = itertools.chain(
            ((0, one) for one in itertools.islice(self._slips(self._lines_of(fault, at)), SLIPS)),
            ((1, one) for one in self._candidates(fault, at)),
        )
        return self._best(itertools.islice(tried, TRIES))

    def mended_within(self, spans: Sequence[tuple[int, int]]) -> Mending | None:
        """As ``mended``, for whatever is wrong inside of the spans, and with edits inside of them alone."""
        faults = [one for one in self.faults if any(one.start <= end and start <= one.end for start, end in spans)]
        faults.sort(key=lambda one: one.end - one.start)  # a large one is around others, and says less of where

        def inside(found: Iterable[Mending]) -> Iterator[Mending]:
            return (one for one in found if any(start <= one.start <= one.end <= end for start, end in spans))

        lines = list(dict.fromkeys(line for one in faults[:FAULTS] for line in self._lines_of(one, one.start)))
        tried = itertools.chain(
            ((0, one) for one in itertools.islice(inside(self._slips(lines)), 2 * SLIPS)),
            ((1, one) for fault in faults[:2] for one in inside(self._candidates(fault, fault.start))),
        )
        best = self._best(itertools.islice(tried, 2 * TRIES)) if faults else None
        if best is None and faults:  # the parser went astray far from where the slip is
            every = list(dict.fromkeys(self._line_span(at) for span in spans for at in self._starts(*span)))
            best = self._best((0, one) for one in itertools.islice(inside(self._slips(every)), 2 * TRIES))
        return best

    def eased_within(self, spans: Sequence[tuple[int, int]]) -> Mending | None:
        """The slip that, taken back, makes the errors shorter, though not fewer: one of two that make up a fault."""
        covered = sum(one.end - one.start for one in self.faults)
        best: Mending | None = None
        lines = list(dict.fromkeys(line for one in self.faults[:FAULTS] for line in self._lines_of(one, one.start)))
        for one in itertools.islice(self._slips(lines), SLIPS):
            if any(start <= one.start <= one.end <= end for start, end in spans):
                count, now = self._measure(one)
                if count <= len(self.faults) and now < covered:
                    best, covered = one, now
        return best

    def _best(self, tried: Iterable[tuple[int, Mending]]) -> Mending | None:
        """Of edits with what each costs, that which leaves the fewest errors, fewer than there are."""
        best: tuple[tuple[int, ...], Mending] | None = None
        seen: set[Mending] = set()
        for rank, (cost, one) in enumerate(tried):
            if one in seen:
                continue
            seen.add(one)
            count, covered = self._measure(one)
            # A slip that is known comes first, and of the others: what is missing is forgotten more often than what is
            # too much is written.
            size = (one.end - one.start, len(one.text.strip())) if cost else (0, 0)
            worth = (count, cost, covered, *size, rank)
            if count < len(self.faults) and (best is None or worth < best[0]):
                best = worth, one
        return best[1] if best is not None and self.count_with(best[1]) < len(self.faults) else None

    def holes(self, fault: Fault) -> Iterator[tuple[int, int]]:
        """What to write anew, the smallest first: the error, the rest of its line, the line."""
        start, end = self._line_span(fault.start)
        first = start + len(self.text[start:end]) - len(self.text[start:end].lstrip())
        yield from dict.fromkeys(
            [(fault.start, min(max(fault.end, fault.start), end)), (min(fault.start, end), end), (first, end)]
        )

    def improves(self, start: int, end: int, text: str) -> bool:
        """Whether there are fewer errors with ``text`` for ``start``..``end``, parsed from scratch."""
        return self._parser is not None and self.count_with(Mending(start, end, text)) < len(self.faults)

    def count_with(self, edit: Mending) -> int:
        """How many errors there are with an edit, parsed from scratch; without a grammar as many as there are."""
        if self._parser is None:
            return len(self.faults)
        with self._lock:
            tree = self._parser.parse(self._seen(_encode(edit.of(self.text))))
        return len(_faulty(tree))

    # Trying.

    def _candidates(self, fault: Fault, at: int) -> Iterator[Mending]:
        comment = self._row.comment if self._row else ""
        if fault.missing and (fault.missing in SIGNS or not fault.missing.isidentifier()):
            yield Mending(fault.start, fault.start, fault.missing)
        lines = self._lines_of(fault, at)
        for start, end in lines:
            yield from self._on_line(start, end, comment)
        for start, end in lines[:2]:
            yield from self._over_lines(start, end, comment)
        for one in TOKEN.finditer(self.text, fault.start, min(fault.end, fault.start + 80)):
            yield Mending(one.start(), one.end(), "")
            yield Mending(one.start(), one.start(), ",")
            yield Mending(one.start(), one.start(), ", ")
        closers = "".join(reversed(unmatched(self.text[-LARGEST:], comment)))
        if closers and self._row is not None and not self._row.indent_block:
            end = len(self.text.rstrip())
            yield Mending(end, end, self._newline + closers)

    def _slips(self, lines: Iterable[tuple[int, int]]) -> Iterator[Mending]:
        python = self._row is not None and self._row.indent_block
        for start, end in lines:
            line = self.text[start:end]
            words = {*WORD.findall(self.text[max(start - NEAR, 0) : start]), *WORD.findall(self.text[end : end + NEAR])}
            around = unmatched(self.text[max(start - NEAR, 0) : start], self._row.comment if self._row else "")
            quote = '"' if self.text.count('"') >= self.text.count("'") else "'"
            for low, high, text in slips(line, words, around, quote, python=python):
                yield Mending(start + low, start + high, text.replace("\n", self._newline))

    def _lines_of(self, fault: Fault, at: int) -> list[tuple[int, int]]:
        """Lines where the cause may be: the fault's first and last, the cursor's, and the one before each."""
        spans: dict[tuple[int, int], None] = {}
        for place in (fault.start, at, max(fault.end - 1, fault.start)):
            span = self._line_span(place)
            spans[span] = None
            if before := self.text[: span[0]].rstrip():
                spans[self._line_span(len(before) - 1)] = None
        return list(spans)

    def _on_line(self, start: int, end: int, comment: str) -> Iterator[Mending]:
        line = self.text[start:end]
        code = _without_comment(line, comment).rstrip()
        last = start + len(code)
        closers = "".join(reversed(unmatched(code, comment)))
        tail = len(code) - len(code.rstrip(":;,{ "))
        python = self._row is not None and self._row.indent_block
        if closers and not self._goes_on(start, end, comment):
            yield Mending(last, last, closers)
            yield Mending(last - tail, last - tail, closers)
            yield Mending(last, last, closers + ":")
            for at in _breaks(code):
                yield Mending(start + at, start + at, closers)
        if python and HEADER.match(code) and not code.endswith(":"):
            yield Mending(last, last, ":")
        if python and HEADER.match(code) and code.endswith(":"):
            indent = line[: len(line) - len(line.lstrip())]
            yield Mending(end, end, self._newline + indent + self._unit() + "pass")
        for quote in ('"', "'", "`"):
            if code.count(quote) % 2:
                for at in (len(code), len(code) - tail, len(code.rstrip(")]}:;, {"))):
                    yield Mending(start + at, start + at, quote)
        if re.match(r"\s*(?:if|elif|while|return|assert)\b", code):
            for one in re.finditer(r"(?<![=!<>:+\-*/%&|^@])=(?!=)", code):
                yield Mending(start + one.start(), start + one.end(), "==")
        if not python:
            yield Mending(last, last, ";")
        for one in re.finditer(r"[()\[\]{}:;,.=\"']", code):
            yield Mending(start + one.start(), start + one.end(), "")
            if one.group() in CLOSER.values():  # the wrong kind
                yield from (Mending(start + one.start(), start + one.end(), sign) for sign in CLOSER.values())
        if python and line.strip():
            yield from self._indented(start, line)

    def _indented(self, start: int, line: str) -> Iterator[Mending]:
        """The line as far in as the line above, or as one of its neighbours."""
        above = self.text[:start].rstrip()
        row, _ = self._line_span(max(len(above) - 1, 0))
        outer = re.match(r"[ \t]*", self.text[row:])
        indent = outer.group() if outer else ""
        width = len(line) - len(line.lstrip())
        for wanted in (indent, indent + self._unit()):
            if wanted != line[:width]:
                yield Mending(start, start + width, wanted)

    def _over_lines(self, start: int, end: int, comment: str) -> Iterator[Mending]:
        """Closers behind one of the next lines, for a bracket that was opened on this one; on a line of their own where
        nothing stands behind the bracket."""
        line = self.text[start:end]
        own = self._newline + line[: len(line) - len(line.lstrip())]
        goes_on, first = self._goes_on(start, end, comment), end
        if goes_on:
            stop = self._further(start, end)
            closers = "".join(reversed(unmatched(self.text[start:stop], comment)))
            yield from [Mending(stop, stop, own + closers)] * bool(closers)
        for _ in range(LINES):
            code = self.text[start:end]
            closers = "".join(reversed(unmatched(code, comment)))
            if not closers:
                return
            last = start + len(_without_comment(code, comment).rstrip())
            if not goes_on or end > first:
                for at in dict.fromkeys((last, start + len(code.rstrip().rstrip(":;,")))):
                    yield Mending(at, at, closers)
                yield Mending(last, last, closers + ":")
            if end >= len(self.text):
                return
            end = self._line_span(self._below(end))[1]

    def _further(self, start: int, end: int) -> int:
        """Behind the last of the lines that stand further in than one, up to the first that does not."""
        line = self.text[start:end]
        level, found = len(line) - len(line.lstrip()), end
        while end < len(self.text):
            start, end = self._line_span(self._below(end))
            line = self.text[start:end]
            if line.strip() and len(line) - len(line.lstrip()) <= level:
                break
            found = end if line.strip() else found
        return found

    def _below(self, end: int) -> int:
        """Where the next line begins, behind the end of one."""
        return end + (2 if self.text.startswith("\r\n", end) else 1)

    def _goes_on(self, start: int, end: int, comment: str) -> bool:
        """Whether a line ends with an opened bracket and the next one stands further in, and so inside of it."""
        line = self.text[start:end]
        below = self.text[end + 1 : end + NEAR].lstrip("\r\n").partition("\n")[0]
        further = len(below) - len(below.lstrip()) > len(line) - len(line.lstrip())
        return further and _without_comment(line, comment).rstrip()[-1:] in CLOSER

    def _measure(self, tried: Mending) -> tuple[int, int]:
        """Errors of the text with an edit, and the bytes in them; parsed on top of the tree that there is."""
        if self._tree is None or self._parser is None:
            return 1, 0
        start, end = self._byte(tried.start), self._byte(tried.end)
        new = _encode(tried.text)
        data = self._data[:start] + new + self._data[end:]
        old = self._tree.copy()
        stop = start + len(new)
        old.edit(start, end, stop, _point(self._data, start), _point(self._data, end), _point(data, stop))
        with self._lock:
            found = _faulty(self._parser.parse(self._seen(data), old))
        return len(found), sum(node.end_byte - node.start_byte for node in found)

    # Places.

    def _seen(self, data: bytes) -> bytes:
        return data if self._row is None else self._row.seen(data)

    def _fault(self, node: Node) -> Fault:
        missing = node.type if node.is_missing else ""
        return Fault(self._offset(node.start_byte), self._offset(node.end_byte), missing)

    def _byte(self, offset: int) -> int:
        return offset if self._is_ascii else len(_encode(self.text[:offset]))

    def _offset(self, byte: int) -> int:
        return byte if self._is_ascii else len(self._data[:byte].decode("utf-8", "surrogatepass"))

    def _line(self, offset: int) -> int:
        return self.text.count("\n", 0, offset)

    def _starts(self, start: int, end: int) -> Iterator[int]:
        """Where lines begin."""
        while start < end:
            yield start
            start = self.text.find("\n", start) + 1 or end

    def _line_span(self, offset: int) -> tuple[int, int]:
        """Without its end."""
        end = self.text.find("\n", offset)
        start = self.text.rfind("\n", 0, offset) + 1
        end = len(self.text) if end < 0 else end
        return start, end - (self.text[start:end].endswith("\r"))

    def _unit(self) -> str:
        found = re.search(r"^(\t| {2,8})\S", self.text, re.MULTILINE)
        return found.group(1) if found else "    "


def breaks(before: str, after: str, language: str | None, filename: str | None = None) -> bool:
    """Whether a text is broken that was whole, or more broken than it was."""
    return worse(before, after, languages.resolve(language, filename, before))


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _point(data: bytes, at: int) -> Point:
    return Point(data.count(b"\n", 0, at), at - (data.rfind(b"\n", 0, at) + 1))


def _faulty(tree: Tree) -> list[Node]:
    """Nodes that are wrong, in order; subtrees without one are not entered."""
    found: list[Node] = []
    todo = [tree.root_node]
    while todo:
        node = todo.pop()
        if node.is_error or node.is_missing:
            found.append(node)
        if node.has_error:
            inside = node.children
            todo.extend(inside)
            wrong = any(child.has_error or child.is_error or child.is_missing for child in inside)
            if not (node.is_error or node.is_missing or wrong):
                found.append(node)  # what is missing has no node of its own
    return sorted(found, key=lambda node: (node.start_byte, node.end_byte))


def _without_comment(line: str, comment: str) -> str:
    """The line up to its comment, roughly."""
    if not comment:
        return line
    for found in re.finditer(re.escape(comment), line):
        before = line[: found.start()]
        if before.count('"') % 2 == 0 and before.count("'") % 2 == 0:
            return before
    return line


def _breaks(code: str) -> list[int]:
    """Where a closer may belong inside of a line: before an operator, a keyword or a comma, from the end."""
    found = re.finditer(r"\s*(?:[,:;=]|\b(?:in|for|if|else|and|or|as|is|not)\b|[+*/<>-])", code)
    return [one.start() for one in found][::-1][:8]
