"""Syntax errors, lost words, misspelt and outdated names, mended by rule before a model is asked, and instead of one.

request -> by_rule -> Ruled.request -> whoever edits -> Ruled.result
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from textwrap import dedent

from assistant.cuts import known_cuts
from assistant.edits import applied
from assistant.errors import CannotEditError
from assistant.foreign import translated
from assistant.indents import reindented
from assistant.lost import restored
from assistant.mend import Broken, Mending
from assistant.parts import SMALL, joined, parted
from assistant.slips import keeps_words
from assistant.source import BYTE_ORDER_MARK
from assistant.spelling import respelt
from assistant.stale import renamed
from assistant.steps import reach, stepped
from assistant.types import EditRequest, EditResult, ShouldStop, TextEdit
from infill.languages import resolve
from infill.minimal import minimal, spliced
from infill.program import compiles, parses

RULED = ("fix", "rename")
"""The tasks that rules do, as far as they can."""
NO_MODEL = "looked at by rule alone: no model does this task"
ERROR_LEFT = "left with a syntax error that no rule mends"
MOST = 32
"""Errors that are mended in one request, at least: two for each of its blocks, where there are more."""
KINDS_OF_SLIPS = 2
"""Different changes of a block, apart from its indentation."""
Ask = Callable[[EditRequest, ShouldStop], EditResult]
Span = tuple[int, int]
Find = Callable[[str, Sequence[Span]], Sequence[Mending]]


@dataclass(frozen=True)
class Ruled:
    """A request before and after syntax errors in its blocks were mended."""

    asked: EditRequest
    request: EditRequest
    """As a model is asked: the mended text, and where the blocks are in it."""
    broken: tuple[bool, ...]
    """Blocks in which an error is left."""

    @property
    def is_mended(self) -> bool:
        return self.request.text != self.asked.text

    def result(self, found: EditResult) -> EditResult:
        """What was mended and what a model found in ``request``, as one answer to ``asked``."""
        if not self.is_mended:
            return found
        edits: list[TextEdit] = []
        reasons = list(found.reasons)
        for index, (old, new) in enumerate(zip(self.asked.blocks, self.request.blocks, strict=True)):
            inside = [one for one in found.edits if one.block == index]
            before = self.asked.text[slice(*old)]
            after = applied(self.request.text[: new[1]], inside)[new[0] :]
            gain = max((one.gain for one in inside), default=0.0)
            ruled = before != self.request.text[slice(*new)]
            changes = minimal(before, after)
            edits += [TextEdit(old[0] + start, old[0] + end, text, index, gain, ruled) for start, end, text in changes]
            if changes:
                reasons[index] = None
        return replace(found, edits=tuple(edits), reasons=tuple(reasons))

    def part(self, first: int, last: int) -> "Ruled":
        """The same for blocks ``first`` to ``last`` (without the last) alone."""
        chosen = slice(first, last)
        asked, request = (replace(one, blocks=one.blocks[chosen]) for one in (self.asked, self.request))
        return Ruled(asked, request, self.broken[chosen])

    def without_model(self) -> EditResult:
        """What rules alone do."""
        return self.result(EditResult((), tuple(ERROR_LEFT if one else NO_MODEL for one in self.broken)))


def by_rule(request: EditRequest, should_stop: ShouldStop = lambda: False) -> Ruled:
    """Mends what rules can, inside of the blocks alone; nothing for tasks that rules cannot do."""
    text, blocks = request.text, request.blocks
    if request.task not in RULED:
        return Ruled(request, request, (False,) * len(blocks))
    if text.startswith(BYTE_ORDER_MARK):
        return _marked(request, should_stop)
    is_python = resolve(request.language, request.filename, text) == "python"
    is_fix = request.task == "fix"
    is_program = is_python and compiles(text)
    known = None
    if is_fix and not is_program:
        text, blocks, known = _parsing(request, should_stop, is_python=is_python)
        is_program = is_python and compiles(text)
    for find in (restored, respelt, renamed) if is_fix else (renamed,):
        for one in reversed(_found(find, text, blocks)) if is_program else ():
            # A name that is new on a line that was mended may be what is left of a wrong guess.
            if known is None or find is not renamed or _line_of(text, one.start) in known:
                text, blocks = one.of(text), _moved(blocks, one)
    faults = Broken(text, request.language, request.filename).faults
    left = tuple(any(start <= one.start < end for one in faults) for start, end in blocks)
    return Ruled(request, replace(request, text=text, blocks=blocks), left)


def _parsing(
    request: EditRequest, should_stop: ShouldStop, *, is_python: bool
) -> tuple[str, tuple[Span, ...], frozenset[str]]:
    """The text with its syntax mended, of a very large one part by part; where the blocks are in it; and the lines that
    are as they were, or as Python says what they said."""
    if len(request.text) > SMALL:
        parts = parted(request, known_cuts(request.text, request.language, request.filename))
        if all(len(one.request.text) < len(request.text) for one in parts):
            return _together(request, [_parsing(one.request, should_stop, is_python=is_python) for one in parts])
    text, blocks = request.text, request.blocks
    for _ in range(_most(request) if is_python else 0):
        if should_stop() or (step := translated(text, blocks)) is None:
            break
        text, blocks = step.of(text), _moved(blocks, step)
    known = frozenset(text.splitlines())
    said = replace(request, text=text, blocks=blocks)
    mended = _sober(said, _mended(said, should_stop, is_python=is_python), is_python=is_python)
    if is_python and not should_stop() and not compiles(mended[0]) and (steps := stepped(text, blocks)):
        # Several slips: whoever looks at all of them at once is led astray.
        for one in reversed(steps):
            text, blocks = one.of(text), _moved(blocks, one)
        said = replace(request, text=text, blocks=blocks)
        others = _sober(said, _mended(said, should_stop, is_python=is_python), is_python=is_python)
        mended = max(mended, others, key=lambda one: reach(one[0]))
    return *mended, known


def _together(
    request: EditRequest, found: Sequence[tuple[str, tuple[Span, ...], frozenset[str]]]
) -> tuple[str, tuple[Span, ...], frozenset[str]]:
    made = [text[slice(*block)] for text, blocks, _ in found for block in blocks]
    changes = [(start, end, new) for (start, end), new in zip(request.blocks, made, strict=True)]
    grown, blocks = 0, list[Span]()
    for start, end, new in changes:
        blocks.append((start + grown, start + grown + len(new)))
        grown += len(new) - (end - start)
    return spliced(request.text, changes), tuple(blocks), frozenset[str]().union(*(known for _, _, known in found))


def _most(request: EditRequest) -> int:
    return max(MOST, 2 * len(request.blocks))


def _marked(request: EditRequest, should_stop: ShouldStop) -> Ruled:
    """As ``by_rule``, for a text with a byte-order mark, which to Python is no part of its first line."""

    bare = tuple((max(start - 1, 0), max(end - 1, 0)) for start, end in request.blocks)
    ruled = by_rule(replace(request, text=request.text[1:], blocks=bare), should_stop)
    blocks = tuple(
        (low + (old > 0), high + (end > 0))
        for (old, end), (low, high) in zip(request.blocks, ruled.request.blocks, strict=True)
    )
    text = request.text[:1] + ruled.request.text
    return Ruled(request, replace(request, text=text, blocks=blocks), ruled.broken)


def _line_of(text: str, at: int) -> str:
    end = text.find("\n", at)
    return text[text.rfind("\n", 0, at) + 1 : len(text) if end < 0 else end].rstrip("\r")


def _found(find: Find, text: str, blocks: Sequence[Span]) -> Sequence[Mending]:
    """What a rule finds. In a program that is nested too deeply for Python's own tools: nothing."""
    try:
        return find(text, blocks)
    except RecursionError:
        return ()


def _mended(request: EditRequest, should_stop: ShouldStop, *, is_python: bool) -> EditRequest:
    """The request with errors of its syntax taken away, one after the other, as long as there are fewer."""
    text, blocks = request.text, request.blocks
    for _ in range(_most(request)):
        if should_stop() or (is_python and compiles(text)):
            break
        steps = reindented(text, blocks)[::-1] if is_python else []
        steps = steps or _steps(Broken(text, request.language, request.filename), blocks, request)
        if not steps:
            break
        for one in steps:
            text, blocks = one.of(text), _moved(blocks, one)
    return replace(request, text=text, blocks=blocks)


def _sober(request: EditRequest, mended: EditRequest, *, is_python: bool) -> tuple[str, tuple[Span, ...]]:
    """The text of a request with what is right of its mending, and where the blocks are in it.

    Errors become fewer on the way of a wrong mending, too: a parser that went astray is led on. So a block is mended
    only where it is whole afterwards; what is not needed for that is taken back; what is left must look like a slip.
    """

    def is_whole(text: str, start: int, end: int) -> bool:
        if is_python:
            return compiles(text) or parses(dedent(text[start:end]))
        faults = Broken(text, request.language, request.filename).faults
        return not any(start <= one.start < end for one in faults)

    text, blocks = request.text, list(request.blocks)
    for index in range(len(blocks) - 1, -1, -1):
        (start, end), (low, high) = blocks[index], mended.blocks[index]
        old, new = text[start:end], mended.text[low:high]
        if old == new:
            continue
        changes = minimal(old, new)
        for one in sorted(changes, key=lambda change: -len(change[2])) if len(changes) <= MOST else ():
            fewer = [other for other in changes if other != one]
            made = spliced(old, fewer)
            if fewer and is_whole(text[:start] + made + text[end:], start, start + len(made)):
                changes = fewer
        made = spliced(old, changes)
        if _are_slips(old, changes) and is_whole(text[:start] + made + text[end:], start, start + len(made)):
            text = text[:start] + made + text[end:]
            moved = len(made) - len(old)
            blocks[index:] = [(start, end + moved), *((a + moved, b + moved) for a, b in blocks[index + 1 :])]
    return text, tuple(blocks)


def _are_slips(text: str, changes: Sequence[tuple[int, int, str]]) -> bool:
    """Whether changes are a few, or all of one kind, and leave the words as they are but for slips."""
    kinds = {(text[start:end], new) for start, end, new in changes if (text[start:end] + new).strip()}
    return len(kinds) <= KINDS_OF_SLIPS and all(keeps_words(text, *one) for one in changes)


class Ruling:
    """Asks by rule first, and then the model, if it can edit; for several threads at once."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._unable = False

    def __call__(self, request: EditRequest, should_stop: ShouldStop) -> EditResult:
        """Raises:
        CannotEditError: the model cannot, and the task is none that rules can do.
        """
        return self.finish(by_rule(request, should_stop), should_stop)

    def finish(self, ruled: Ruled, should_stop: ShouldStop) -> EditResult:
        """Asks the model, of a very large text for the parts around the blocks.

        Raises:
            CannotEditError: as above.
        """
        if should_stop():  # which the rules were asked, too: what they found may be half of it
            return EditResult((), ("cancelled",) * len(ruled.broken))
        is_ruled = ruled.asked.task in RULED
        if self._unable and is_ruled:
            return ruled.without_model()
        try:
            return ruled.result(self._asked(ruled.request, should_stop))
        except CannotEditError:
            if not is_ruled:
                raise
            self._unable = True
            return ruled.without_model()

    def _asked(self, request: EditRequest, should_stop: ShouldStop) -> EditResult:
        if len(request.text) <= SMALL:
            return self._ask(request, should_stop)
        parts = parted(request, known_cuts(request.text, request.language, request.filename))
        return joined(parts, [self._ask(one.request, should_stop) for one in parts])


def _steps(broken: Broken, blocks: Sequence[Span], request: EditRequest) -> list[Mending]:
    """What takes errors away: one edit, or two on lines near each other, neither of which helps alone."""
    if not broken.faults:
        return []
    if (found := broken.mended_within(blocks)) is not None:
        return [found]
    if (first := broken.eased_within(blocks)) is None:
        return []
    eased = Broken(first.of(broken.text), request.language, request.filename)
    second = eased.mended_within(_moved(blocks, first))
    if second is None or eased.count_with(second) >= len(broken.faults):
        return []
    return [first, second]


def _moved(blocks: Iterable[Span], edit: Mending) -> tuple[Span, ...]:
    """Where blocks are after an edit in one of them; an insertion between two belongs to the first."""
    found: list[Span] = []
    grown = len(edit.text) - (edit.end - edit.start)
    inside = False
    for start, end in blocks:
        if inside:
            found.append((start + grown, end + grown))
        elif start <= edit.start and edit.end <= end:
            inside = True
            found.append((start, end + grown))
        else:
            shift = grown if start >= edit.end else 0
            found.append((start + shift, end + shift))
    return tuple(found)
