"""Code actions: a list of small objects. A new one is appended to ``ACTIONS``; nothing else changes.

An action says whether it applies to a place and, when it is chosen, what text takes the place of what. Offsets only;
the protocol is in ``lsp.features``: offers and their resolution, the command for a key, versions, annotations that the
user may confirm one by one, progress, cancelling.

How to add one: write a class with the attributes of ``Action``. ``applies`` is asked on a thread of its own at every
move of the cursor, for a part of a large document where the action ``is_local``. ``run`` is a coroutine that may take
many seconds: it asks the model with ``work.ask``, as often as it likes, says how far it is with ``work.report``, and
raises a ``HoneError`` where there is no edit. It returns as many edits as it wants, in any order, in one or many blocks
of the document; edits with the same ``why`` are one group in the editor's preview. A document that changes meanwhile,
and a user who cancels, end it with ``CancelledError`` or make its edits void; it needs no code for either. What a
command brings along beside the place (an instruction, say) is in ``place.given``.

Where a body ends is found by lines and brackets, without a parser: an offer may be missed, and what is chosen still
passes the syntax gate.
"""

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from assistant.edits import applied
from assistant.errors import HoneError, RequestError
from assistant.types import CompletionRequest, CompletionResult, EditRequest, EditResult, TextEdit
from lsp.convert import split
from lsp.documents import difference
from lsp.history import Span

if TYPE_CHECKING:
    from assistant.mend import Broken, Fault
    from assistant.nextedit import Proposal
    from assistant.rules import Ruled

BUDGET_MS = 8000.0
MAX_TOKENS = 192
LANGUAGE = "python"
"""What the embedded model has learnt to edit."""
EDIT_MS = 20_000.0
RULED_AT_ONCE = 50_000
"""Characters of the longest text in which rules are tried before an action is offered."""
NEAR_ERROR = 200
"""Characters around a syntax error that the model edits."""
BY_RULE = "found by rule; it leaves fewer syntax errors"
MENDED = "mended by rule"
REASONS = {
    "right": "the model finds nothing to change here",
    "no gain": "nothing that the model would change is likely enough to be right",
    "no way back": "what the model would change is more than modernising",
    "syntax": "what the model would change does not parse",
    "budget": "the time was up; select fewer lines",
    "long line": "a line is longer than the model can edit",
    "superseded": "a newer request took its place",
}
"""Why a block has no edit, in words."""


@dataclass(frozen=True)
class Place:
    """A document, and what is selected in it; nothing where the two are equal."""

    text: str
    start: int
    end: int
    filename: str
    language: str
    """As the editor names it; may be anything."""
    edits: tuple[Span, ...] = ()
    """What was changed in the document lately."""
    wrong: tuple[tuple[int, int], ...] = ()
    """Where other tools see something wrong, near the place."""
    given: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What came along with the command."""
    tasks: tuple[str, ...] = ()
    """What the model can be asked to do to a block, as far as that is known; once it runs, an action asks ``work``."""

    @property
    def is_cursor(self) -> bool:
        """A single character, too: Helix and Kakoune always select the one under the cursor."""
        return self.end - self.start <= 1


@dataclass(frozen=True)
class Edit:
    start: int
    end: int
    text: str
    why: str = ""
    """For the user who is asked to confirm it; "" for who wrote it."""
    by_rule: bool = False
    """Whether no model has written it."""


class Work(Protocol):
    """What an action may use while it runs."""

    async def tasks(self) -> tuple[str, ...]:
        """What the model can be asked to do to a block; waits for a daemon that starts.

        Raises:
            HoneError: it cannot be reached, or takes long to start.
        """
        ...

    async def ask(self, request: CompletionRequest, /) -> CompletionResult:
        """Asks the model.

        Raises:
            HoneError: from the daemon.
        """
        ...

    async def edit(self, request: EditRequest, /) -> EditResult:
        """Has the model do a task to blocks.

        Raises:
            HoneError: from the daemon.
        """
        ...

    def report(self, message: str, share: float | None = None) -> None:
        """Shown to the user: what is done at the moment, and how much of all is behind."""
        ...


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
    def needs_confirmation(self) -> bool:
        """Where the editor can ask, edit by edit; one edit by rule is made at once all the same, as quick fixes are."""
        ...

    @property
    def is_generated(self) -> bool:
        """Whether the model may have written the text."""
        ...

    @property
    def is_local(self) -> bool:
        """Whether the definitions around the place are enough: of a large file no more is looked at. What asks where
        names come from needs the whole text.
        """
        ...

    def applies(self, place: Place) -> bool:
        """Quick: asked at every move of the cursor."""
        ...

    async def run(self, place: Place, work: Work, /) -> tuple[Edit, ...]:
        """Edits that do not overlap.

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
    is_generated: bool = True
    is_local: bool = True

    def applies(self, place: Place) -> bool:
        return self.find(place) is not None

    async def run(self, place: Place, work: Work) -> tuple[Edit, ...]:
        hole = self.find(place)
        if hole is None:
            raise RequestError(f"{self.title!r} does not apply here; put the cursor on what is to be written")
        before, behind = place.text[: hole.start] + hole.lead, hole.tail + place.text[hole.end :]
        result = await work.ask(_request(place, before, behind, n=3))
        if not result.completions:
            raise RequestError(f"the model has nothing to write here: {result.reason}")
        for one in result.completions:
            edit = Edit(hole.start, hole.end, hole.lead + one.text + hole.tail)
            if edit.text != place.text[hole.start : hole.end] and await asyncio.to_thread(_is_sound, place, edit):
                return (edit,)
        raise RequestError("nothing that the model would write here leaves the file whole")


@dataclass(frozen=True)
class FixSyntax:
    """A syntax error at the place: by rule where something small is missing or too much, else the model writes anew
    what is broken. Either way the text must have fewer errors with it.
    """

    name: str = "fixSyntax"
    title: str = "Fix this syntax error"
    kind: str = "quickfix"
    needs_confirmation: bool = True
    is_generated: bool = True
    is_local: bool = True

    def applies(self, place: Place) -> bool:
        return self._fault(place, _broken(place.text, place.language, place.filename)) is not None

    def _fault(self, place: Place, broken: "Broken") -> "Fault | None":
        for start, end in ((place.start, place.end), *place.wrong):
            if (fault := broken.near(start, end)) is not None:
                return fault
        return None

    async def run(self, place: Place, work: Work) -> tuple[Edit, ...]:
        broken = await asyncio.to_thread(_broken, place.text, place.language, place.filename)
        fault = self._fault(place, broken)
        if fault is None:
            raise RequestError("there is no syntax error here that can be seen; put the cursor on its line")
        by_rule = await asyncio.to_thread(broken.mended, fault, place.start)
        if by_rule is not None:
            return (Edit(by_rule.start, by_rule.end, by_rule.text, BY_RULE, by_rule=True),)
        if place.language == LANGUAGE and "fix" in await work.tasks():
            work.report("the model edits it")
            edits = await self._edited(place, fault, broken, work)
            if edits:
                return edits
        for count, (start, end) in enumerate(broken.holes(fault)):
            work.report("the model writes it anew", count / 3)
            found = await work.ask(_request(place, place.text[:start], place.text[end:], n=3))
            for one in found.completions:
                edit = _trimmed(place.text, Edit(start, end, one.text))
                if await asyncio.to_thread(broken.improves, edit.start, edit.end, edit.text):
                    return (edit,)
        raise RequestError("nothing that leaves fewer syntax errors was found, by rule or by the model")

    async def _edited(self, place: Place, fault: "Fault", broken: "Broken", work: Work) -> tuple[Edit, ...]:
        """What the model makes of the lines around the error, if that leaves fewer of them."""
        start, end = max(fault.start - NEAR_ERROR, 0), min(fault.end + NEAR_ERROR, len(place.text))
        request = EditRequest(
            place.text, "fix", ((start, end),), filename=place.filename or None, language=LANGUAGE, budget_ms=EDIT_MS
        )
        found = (await work.edit(request)).edits
        text = applied(place.text, found)
        if not found or not await asyncio.to_thread(broken.improves, 0, len(place.text), text):
            return ()
        return tuple(Edit(one.start, one.end, one.text, self.title.lower()) for one in found)


@dataclass(frozen=True)
class RenameToo:
    """Places that a rename or a changed signature near by calls for: those on the selected lines, or all of them."""

    name: str
    title: str
    everywhere: bool
    kind: str = "refactor.rewrite"
    is_generated: bool = False
    is_local: bool = False

    @property
    def needs_confirmation(self) -> bool:
        return self.everywhere

    def applies(self, place: Place) -> bool:
        return bool(self._wanted(place))

    def _wanted(self, place: Place) -> list["Proposal"]:
        found = _proposals(place.text, place.language, place.filename, place.edits)
        start, _ = _line_at(place.text, place.start)
        last, line = _line_at(place.text, place.end)
        end = last + len(line)
        here = [one for one in found if start <= one.start and one.end <= end]
        if not self.everywhere:
            return here
        is_near = here or any(one.start <= end and start <= one.end for one in place.edits)
        return list(found) if is_near and len(found) > len(here) else []

    async def run(self, place: Place, _: Work) -> tuple[Edit, ...]:
        found = await asyncio.to_thread(self._wanted, place)
        if not found:
            raise RequestError("there is no place here that a rename or a changed signature calls for")
        return tuple(Edit(one.start, one.end, one.text, one.why) for one in found)


@dataclass(frozen=True)
class Editing:
    """A task done to all blocks side by side, as small edits."""

    name: str
    title: str
    task: str
    kind: str = "refactor.rewrite"
    needs_confirmation: bool = True
    is_generated: bool = True
    is_local: bool = True

    def applies(self, place: Place) -> bool:
        """Where the model does it, or rules have something to do."""
        if place.language != LANGUAGE or self.task in place.tasks:
            return place.language == LANGUAGE
        if len(place.text) > RULED_AT_ONCE or not (found := blocks(place)):
            return False
        return _by_rule(self._request(place, found)).is_mended

    def _request(self, place: Place, found: tuple[tuple[int, int], ...]) -> EditRequest:
        return EditRequest(
            place.text, self.task, found, filename=place.filename or None, language=LANGUAGE, budget_ms=EDIT_MS
        )

    async def run(self, place: Place, work: Work) -> tuple[Edit, ...]:
        if place.language != LANGUAGE:
            raise RequestError(f"{self.title!r} is for Python alone so far, and this is {place.language or 'no code'}")
        tasks, unreachable = await _reached(work)
        if self.task not in tasks and not _is_ruled(self.task):
            raise unreachable or _untrained(self.task, tasks)
        found = await asyncio.to_thread(blocks, place)
        if not found:
            raise RequestError("there is no block here; select some lines, or put the cursor into a function")
        work.report(f"{len(found)} blocks" if len(found) > 1 else "one block")
        ruled = await asyncio.to_thread(_by_rule, self._request(place, found))
        result = ruled.result(await work.edit(ruled.request)) if self.task in tasks else ruled.without_model()
        if not result.edits:
            reason = next((one for one in result.reasons if one != "right"), "right") or "right"
            raise unreachable or RequestError(REASONS.get(reason, reason))
        return tuple(self._edit(one) for one in result.edits)

    def _edit(self, found: TextEdit) -> Edit:
        by_rule = found.ruled and not found.gain
        return Edit(found.start, found.end, found.text, MENDED if by_rule else self.title.lower(), by_rule)


async def _reached(work: Work) -> tuple[tuple[str, ...], HoneError | None]:
    """What the model can do; nothing, and why, where there is no model yet: rules do without."""
    try:
        return await work.tasks(), None
    except HoneError as error:
        return (), error


def _untrained(task: str, tasks: tuple[str, ...]) -> RequestError:
    what = f"for the task {task}" if tasks else "to edit blocks"
    return RequestError(f"the loaded model was not trained {what}; `hone doctor` shows which one is set")


def _is_ruled(task: str) -> bool:
    from assistant.rules import RULED  # noqa: PLC0415 (parsers come in with it)

    return task in RULED


@lru_cache(maxsize=16)
def _by_rule(request: EditRequest) -> "Ruled":
    """Kept, since an editor asks again at every move of the cursor, mostly about the same blocks of the same text."""
    from assistant.rules import by_rule  # noqa: PLC0415 (parsers come in with it)

    return by_rule(request)


def blocks(place: Place) -> tuple[tuple[int, int], ...]:
    """The blocks of the selected lines, else the function or the broken stretch at the cursor, else its statement."""
    from assistant.refactor.select import Text, Wanted  # noqa: PLC0415 (parsers come in with it)

    first = place.text.count("\n", 0, place.start) + 1
    text = Text(place.text, LANGUAGE)
    if place.is_cursor:
        found, _ = text.around([first], Wanted(broken=True))
    else:
        # A selection that ends at the beginning of a line does not reach into it.
        found = text.whole(first, place.text.count("\n", 0, max(place.end - 1, place.start)) + 1)
    return tuple((one.start, one.end) for one in found)


def _is_sound(place: Place, edit: Edit) -> bool:
    """Whether the file is a program with it where it was one: an answer while typing may end with a block to come, an
    edit may not."""
    from assistant.mend import breaks  # noqa: PLC0415 (parsers come in with it)

    after = place.text[: edit.start] + edit.text + place.text[edit.end :]
    return not breaks(place.text, after, place.language, place.filename)


@lru_cache(maxsize=2)
def _broken(text: str, language: str, filename: str) -> "Broken":
    from assistant.mend import Broken  # noqa: PLC0415 (parsers come in with it)

    return Broken(text, language, filename)


@lru_cache(maxsize=2)
def _proposals(text: str, language: str, filename: str, edits: tuple[Span, ...]) -> tuple["Proposal", ...]:
    if not edits:
        return ()
    from assistant.nextedit import proposals, supports  # noqa: PLC0415 (the same)

    return tuple(proposals(text, edits, 0)) if supports(language, filename) else ()


def _request(place: Place, before: str, behind: str, *, n: int = 1) -> CompletionRequest:
    return CompletionRequest(
        before + behind,
        len(before),
        filename=place.filename or None,
        language=place.language or None,
        n=n,
        max_tokens=MAX_TOKENS,
        budget_ms=BUDGET_MS,
        one_line=False,
    )


def _trimmed(text: str, edit: Edit) -> Edit:
    """Without what it shares with the text, at both ends."""
    change = difference(text[edit.start : edit.end], edit.text)
    start = edit.start + change.start
    return Edit(start, start + len(change.removed), change.inserted, edit.why, edit.by_rule)


# Finding holes.

MARKER = re.compile(r"\.\.\.|\bpass\b|\b(?:todo|unimplemented)!\(\)")
ALONE = re.compile(rf"\s*(?P<hole>{MARKER.pattern})(?=;?\s*(?:(?:#|//).*)?$)")
"""A line with nothing but a marker in it."""
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
    """A marker that the cursor touches or that holds what is selected, else what is selected, without the blanks around
    it, else the line's TODO, or the marker that is alone in its line.
    """
    start, line = _line_at(place.text, place.start)
    first, last = place.start - start, (place.start if place.is_cursor else place.end) - start
    for found in MARKER.finditer(line):
        if found.start() <= first and last <= found.end() and not _is_quoted(line, found.start()):
            return Hole(start + found.start(), start + found.end())
    if not place.is_cursor:
        selected = place.text[place.start : place.end]
        start = place.start + len(selected) - len(selected.lstrip())
        return Hole(start, start + len(selected.strip())) if selected.strip() else None
    if alone := ALONE.match(line):
        return Hole(start + alone.start("hole"), start + alone.end("hole"))
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
    close = first.find(quote, opening.end())
    if close >= 0 and first[close + len(quote) :].split("#")[0].strip():  # the beginning of an expression
        return [line for line in lines[found:] if not line.is_blank], None
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
    FixSyntax(),
    RenameToo("renameHere", "Rename here too", everywhere=False),
    RenameToo("renameEverywhere", "Rename everywhere else, too", everywhere=True),
    Editing("fixBlock", "Fix this block", "fix", is_local=False),
    Editing("modernise", "Modernise", "modernise"),
    Editing("addAnnotations", "Add annotations", "annotate"),
    Editing("addDocstring", "Add docstring", "document"),
    Editing("renameUses", "Make names agree with their definitions", "rename", is_local=False),
]
