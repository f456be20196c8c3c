"""Code actions: a list of small objects. A new one is appended to ``ACTIONS``; nothing else changes.

An action says whether it applies to a place and, when it is chosen, what text takes the place of what. Offsets only;
the protocol is in ``lsp.features``. Where a body ends is found by lines and brackets, without a parser: an offer may be
missed, and what is chosen still passes the syntax gate.
"""

import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from assistant.errors import RequestError
from assistant.types import CompletionRequest, CompletionResult
from lsp.convert import split

BUDGET_MS = 8000.0
MAX_TOKENS = 192


@dataclass(frozen=True)
class Place:
    """A document, and what is selected in it; nothing where the two are equal."""

    text: str
    start: int
    end: int
    filename: str
    language: str
    """As the editor names it; may be anything."""

    @property
    def is_cursor(self) -> bool:
        """A single character, too: Helix and Kakoune always select the one under the cursor."""
        return self.end - self.start <= 1


@dataclass(frozen=True)
class Edit:
    start: int
    end: int
    text: str


Ask = Callable[[CompletionRequest], Awaitable[CompletionResult]]


class Action(Protocol):
    @property
    def name(self) -> str:
        """For commands, as ``fillHole``."""
        ...

    @property
    def title(self) -> str: ...

    @property
    def kind(self) -> str:
        """A code action kind of the protocol, as ``refactor.rewrite``."""
        ...

    @property
    def needs_confirmation(self) -> bool: ...

    def applies(self, place: Place) -> bool:
        """Quick: asked at every move of the cursor."""
        ...

    async def run(self, place: Place, ask: Ask) -> tuple[Edit, ...]:
        """
        Raises:
            HoneError: there is no edit; a sentence says why.
        """
        ...


@dataclass(frozen=True)
class Hole:
    start: int
    end: int
    lead: str = ""
    """Written before what the model writes."""
    tail: str = ""
    """And behind it."""


Find = Callable[[Place], Hole | None]


@dataclass(frozen=True)
class Filling:
    """Finds a hole by rule and lets the model fill it."""

    name: str
    title: str
    find: Find = field(repr=False)
    kind: str = "refactor.rewrite"
    needs_confirmation: bool = False

    def applies(self, place: Place) -> bool:
        return self.find(place) is not None

    async def run(self, place: Place, ask: Ask) -> tuple[Edit, ...]:
        hole = self.find(place)
        if hole is None:
            raise RequestError(f"{self.title!r} does not apply here; put the cursor on what is to be written")
        before, behind = place.text[: hole.start] + hole.lead, hole.tail + place.text[hole.end :]
        result = await ask(
            CompletionRequest(
                before + behind,
                len(before),
                filename=place.filename or None,
                max_tokens=MAX_TOKENS,
                budget_ms=BUDGET_MS,
                one_line=False,
            )
        )
        if not result.completions:
            raise RequestError(f"the model has nothing to write here: {result.reason}")
        return (Edit(hole.start, hole.end, hole.lead + result.completions[0].text + hole.tail),)


# Finding holes.

MARKER = re.compile(r"\.\.\.|\bpass\b|\b(?:todo|unimplemented)!\(\)")
TODO = re.compile(r"[ \t]*(?:#|//|--|/\*|<!--)[ \t]*(?:TODO|FIXME)\b.*")
HEADER = re.compile(r"(?P<indent>[ \t]*)(?:async[ \t]+)?def[ \t]+\w+")
STUB = re.compile(r"(?:pass|\.\.\.|raise NotImplementedError(?:\(.*\))?)[ \t]*(?:#.*)?")
STRING = re.compile(r"[rRuUbB]{0,2}(\"\"\"|'''|\"|')")
BRACED = re.compile(r"\{(?P<body>\s*(?:(?://|/\*)[ \t]*(?:TODO|FIXME).*?(?=[\r\n]|$)\s*)?)\}")
FUNCTION = re.compile(r"\)[^;{}]*$|=>\s*$")
CONTROL = re.compile(r"\b(?:if|for|while|switch|catch|match|loop|else|try|do)\b[^;{}\n]*$")
NEAR = 4096
"""How far from the cursor a body is looked for, in characters."""


def selected_or_marked(place: Place) -> Hole | None:
    """What is selected, without the blanks around it, else a marker that the cursor touches, else the line's TODO."""
    if not place.is_cursor:
        selected = place.text[place.start : place.end]
        start = place.start + len(selected) - len(selected.lstrip())
        return Hole(start, start + len(selected.strip())) if selected.strip() else None
    start, line = _line_at(place.text, place.start)
    at = place.start - start
    for found in MARKER.finditer(line):
        if found.start() <= at <= found.end() and not _is_quoted(line, found.start()):
            return Hole(start + found.start(), start + found.end())
    if TODO.fullmatch(line):  # the comment says what to write: it stays
        indent = line[: len(line) - len(line.lstrip())]
        return Hole(start + len(line), start + len(line), _line_end(place.text) + indent)
    return None


def empty_body(place: Place) -> Hole | None:
    """The body of the function at the cursor, where there is nothing in it."""
    if not place.is_cursor:
        return None
    return (
        _python_body(place)
        if place.language == "python" or place.filename.endswith((".py", ".pyi"))
        else _braces(place)
    )


def _line_at(text: str, offset: int) -> tuple[int, str]:
    """Where the line begins, and the line without its end."""
    start = max(text.rfind("\n", 0, offset), text.rfind("\r", 0, offset)) + 1
    ends = [end for end in (text.find("\n", offset), text.find("\r", offset)) if end >= 0]
    return start, text[start : min(ends, default=len(text))]


def _line_end(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _is_quoted(line: str, at: int) -> bool:
    """Roughly: in a string or behind a comment sign."""
    before = line[:at]
    return before.count('"') % 2 == 1 or before.count("'") % 2 == 1 or "#" in before


@dataclass(frozen=True)
class _Line:
    start: int
    text: str

    @property
    def indent(self) -> str:
        return self.text[: len(self.text) - len(self.text.lstrip())]

    @property
    def is_blank(self) -> bool:
        return not self.text.strip()


def _lines(text: str, start: int, end: int) -> Iterator[_Line]:
    for line in split(text[start:end]):
        yield _Line(start, line.rstrip("\r\n"))
        start += len(line)


def _python_body(place: Place) -> Hole | None:
    text = place.text
    near = max(place.start - NEAR, 0)
    begin = 0 if near == 0 else text.find("\n", near) + 1
    lines = list(_lines(text, begin, place.start + NEAR))
    current = max((i for i, line in enumerate(lines) if line.start <= place.start), default=0)
    headers = [i for i in range(current, -1, -1) if HEADER.match(lines[i].text)]
    if not headers:
        return None
    header = headers[0]
    last = _header_end(lines, header)
    if last is None:
        return None
    outer = lines[header].indent
    inside = []
    for line in lines[last + 1 :]:
        if not line.is_blank and len(line.indent) <= len(outer):
            break
        inside.append(line)
    while inside and inside[-1].is_blank and inside[-1].start > place.start:
        inside.pop()
    end = inside[-1].start + len(inside[-1].text) if inside else lines[last].start + len(lines[last].text)
    if place.start > end:
        return None
    return _python_hole(text, lines[last], outer, _behind_docstring(inside))


def _header_end(lines: list[_Line], first: int) -> int | None:
    """The line in which a ``def`` ends with its colon; None where it does not, or the body stands behind it."""
    depth = 0
    for index in range(first, min(first + 40, len(lines))):
        code = lines[index].text.split("#")[0].rstrip()
        depth += sum(code.count(sign) for sign in "([{") - sum(code.count(sign) for sign in ")]}")
        if depth <= 0:
            stub = re.fullmatch(r".*:[ \t]*(?:pass|\.\.\.)?", code)
            return index if stub else None
    return None


def _behind_docstring(lines: list[_Line]) -> tuple[list[_Line], _Line | None]:
    """The statements of a body, and the line in which its docstring ends."""
    found = next((i for i, line in enumerate(lines) if not line.is_blank), None)
    if found is None:
        return [], None
    first = lines[found].text.strip()
    opening = STRING.match(first)
    if opening is None:
        return [line for line in lines[found:] if not line.is_blank], None
    quote = opening.group(1)
    last = (
        found
        if first.endswith(quote) and len(first) >= opening.end() + len(quote)
        else next((i for i in range(found + 1, len(lines)) if lines[i].text.rstrip().endswith(quote)), len(lines) - 1)
    )
    return [line for line in lines[last + 1 :] if not line.is_blank], lines[last]


def _python_hole(text: str, header: _Line, outer: str, found: tuple[list[_Line], _Line | None]) -> Hole | None:
    statements, docstring = found
    code = header.text.split("#")[0].rstrip()
    if stub := re.search(r"(?<=:)[ \t]*(?:pass|\.\.\.)$", code):  # def f(): ...
        start = header.start + stub.start()
        return None if statements else Hole(start, header.start + stub.end(), _line_end(text) + outer + _unit(text))
    if not statements:
        line = docstring or header
        at = line.start + len(line.text)
        return Hole(at, at, _line_end(text) + (docstring.indent if docstring else outer + _unit(text)))
    body = [line for line in statements if not TODO.fullmatch(line.text)]
    if not body:
        at = statements[-1].start + len(statements[-1].text)
        return Hole(at, at, _line_end(text) + statements[-1].indent)
    if len(body) > 1 or STUB.fullmatch(body[0].text.strip()) is None:
        return None
    return Hole(body[0].start + len(body[0].indent), body[0].start + len(body[0].text))


def _unit(text: str) -> str:
    """One step of indentation, as the first indented line has it."""
    found = re.search(r"^(\t| {2,8})\S", text, re.MULTILINE)
    return found.group(1) if found else "    "


def _braces(place: Place) -> Hole | None:
    text = place.text
    start, line = _line_at(text, place.start)
    begin = max(start - NEAR, 0)
    for found in BRACED.finditer(text, begin, min(start + len(line) + NEAR, len(text))):
        header = text[max(found.start() - 400, 0) : found.start()]
        first, _ = _line_at(text, found.start())
        if not first <= place.start <= found.end():
            continue
        if FUNCTION.search(header.rstrip()) is None or CONTROL.search(header.rsplit("\n", 1)[-1]):
            continue
        outer = re.match(r"[ \t]*", text[first:])
        indent = outer.group() if outer else ""
        kept = found.group("body").rstrip()  # a TODO stays
        newline = _line_end(text)
        lead = kept + newline + indent + _unit(text)
        return Hole(found.start("body"), found.end("body"), lead, newline + indent)
    return None


ACTIONS: list[Action] = [
    Filling("fillHole", "Fill this hole", selected_or_marked),
    Filling("completeBody", "Complete this body", empty_body),
]
