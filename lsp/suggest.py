"""A place in a document in, suggestions out: what is known, a wait for the next key, the model, and nothing stale.

The newest question about a document wins: an older one that still waits is answered with nothing, and its work in the
daemon stops. Offsets only; it knows nothing of positions or of the protocol.
"""

import asyncio
import itertools
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Protocol

from assistant.errors import HoneError
from assistant.types import Caller, Completion, CompletionRequest, CompletionResult, Snippet
from assistant.typing_on import one_line
from lsp.ahead import Ahead, Answered
from lsp.documents import Document
from lsp.history import is_word
from lsp.notebook import Beside
from lsp.options import EAGERNESS, Options
from lsp.pace import Pace
from lsp.window import WHOLE, Window, Windows

CLOSING = re.compile(r"[ \t]*[)\]}>\"'`:;,][)\]}>\"'`:;, \t]*(?=[\r\n]|$)")
"""The rest of a line that is nothing but closing signs, as editors add them by themselves."""
SURROGATE = re.compile("[\ud800-\udfff]")
PATIENCE = 3
"""Who asks by hand waits so many times longer."""


class Complete(Protocol):
    """``assistant.async_client.AsyncClient.complete``, or one that knows the answers."""

    def __call__(self, request: CompletionRequest, caller: Caller) -> Awaitable[CompletionResult]: ...


class Counting(Protocol):
    """``assistant.statistics.Statistics``, or what stands before it."""

    def count(self, name: str, language: str = "", n: int = 1) -> None: ...
    def took(self, ms: float, language: str = "") -> None: ...


class Uncounted:
    def count(self, name: str, language: str = "", n: int = 1) -> None:
        pass

    def took(self, ms: float, language: str = "") -> None:
        pass


class Surroundings(Protocol):
    """``lsp.workspace.Workspace``, or nothing."""

    def denied(self, document: Document) -> str | None:
        """Why a document may not enter a prompt; None: it may."""
        ...

    async def snippets(self, document: Document, text: str, at: int) -> tuple[Snippet, ...]:
        """What from other places may help at a place."""
        ...

    def beside(self, document: Document) -> Beside:
        """What the other cells of a notebook put around one of them."""
        ...


@dataclass(frozen=True)
class Question:
    document: Document
    at: int
    """In ``text``."""
    text: str
    """The document's, or as it would be if an entry of the menu were taken."""
    by_hand: bool
    channel: str = "inline"
    """A newer question of the same channel about the same document supersedes this one."""
    fit: bool = True
    """Whether suggestions take in the closing signs behind them."""


@dataclass(frozen=True)
class Suggestion:
    """``text`` takes the place of ``start``..``end``, which lies on one line."""

    text: str
    start: int
    end: int


class Suggester:
    def __init__(
        self,
        complete: Complete,
        options: Callable[[], Options],
        is_current: Callable[[Document], bool],
        note: Callable[[str], None],
        deleting: Callable[[Document, int], bool] = lambda _, __: False,
        statistics: Counting | None = None,
        *,
        around: Surroundings,
        windows: Windows,
    ) -> None:
        """``note``: told once in a while why nothing is suggested, for the log. ``deleting``: whether the user takes
        something away at a place. ``statistics``: told how every question ended.
        """
        self._complete = complete
        self._options = options
        self._is_current = is_current
        self._note = note
        self._deleting = deleting
        self._statistics = statistics or Uncounted()
        self._around = around
        self._windows = windows
        self._running: dict[tuple[str, str], asyncio.Task[tuple[Suggestion, ...]]] = {}
        self._names = itertools.count(1)
        self.ahead = Ahead()
        self.pace = Pace()

    async def suggest(self, question: Question) -> tuple[Suggestion, ...]:
        """() where there is none, and where the document has changed in the meantime.

        Raises:
            HoneError: from the daemon.
        """
        self._count(question, "by_hand" if question.by_hand else "asked")
        key = (question.document.key, question.channel)
        window = self._windows.around(question.document.key, len(question.text), question.at)
        # From here on only the part is held.
        question = replace(question, text=window.of(question.text), at=question.at - window.head)
        task = asyncio.ensure_future(self._work(question, window))
        if (older := self._running.get(key)) is not None:
            older.cancel()
        self._running[key] = task
        try:
            return await task
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if caller is not None and caller.cancelling():
                raise
            self._count(question, "overtaken")
            return ()  # superseded
        except HoneError:
            self._count(question, "quiet_error")
            raise
        finally:
            if self._running.get(key) is task:
                del self._running[key]

    async def _work(self, question: Question, window: Window) -> tuple[Suggestion, ...]:
        """``question``: about the part of the document that is in the window."""
        arrived = time.monotonic()
        options, document = self._options(), question.document
        if not options.enabled:
            return self._quiet(question, "off")
        if not self._is_current(document):
            return self._stale(question)
        if (reason := self._around.denied(document)) is not None:
            self._note(f"nothing is suggested in {document.path}: {reason}")
            return self._quiet(question, "excluded")
        if not question.by_hand and (reason := self._bad_moment(question)):
            return self._quiet(question, reason)
        n = options.alternatives if question.by_hand else 1
        found = self.ahead.recall(document.key, question.text, question.at, n)
        if not found and not question.by_hand:
            await asyncio.sleep(self.pace.debounce_ms(arrived, options.debounce_ms) / 1000)
            found = await self.ahead.join(document.key, question.text, question.at)
            if not self._is_current(document):
                return self._stale(question)
        if not found:
            waited_ms = 1000 * (time.monotonic() - arrived)
            wanted_ms = options.budget_ms * (PATIENCE if question.by_hand else 1)
            budget_ms = self.pace.budget_ms(wanted_ms, waited_ms)
            found = await self._ask(document, window, question, n, budget_ms)
        answered = Answered(question.text, question.at, n, found)
        self.ahead.remember(document.key, answered)
        if not self._is_current(document):
            return self._stale(question)
        if not found:
            return self._quiet(question, "empty")
        if not question.by_hand and found[0].chance < EAGERNESS[options.eagerness]:
            return self._quiet(question, "eagerness")
        self._statistics.took(1000 * (time.monotonic() - arrived), document.language_id)
        fitted = [
            _fitted(question.text, one) if question.fit else Suggestion(one.text, one.start, one.end) for one in found
        ]
        if options.ahead:
            self._foresee(document, window, answered, fitted[0])
        return tuple(Suggestion(one.text, one.start + window.head, one.end + window.head) for one in fitted)

    def _bad_moment(self, question: Question) -> str:
        """Why nobody wants a suggestion here and now; "" where one may be wanted."""
        if is_word(question.text[question.at : question.at + 1]):
            return "inside_word"
        return "deleting" if self._deleting(question.document, question.at) else ""

    def _quiet(self, question: Question, reason: str) -> tuple[Suggestion, ...]:
        self._count(question, f"quiet_{reason}")
        return ()

    def _stale(self, question: Question) -> tuple[Suggestion, ...]:
        self._count(question, "overtaken")
        return ()

    def _count(self, question: Question, name: str) -> None:
        self._statistics.count(name, question.document.language_id)

    async def _ask(
        self, document: Document, window: Window, question: Question, n: int, budget_ms: float
    ) -> tuple[Completion, ...]:
        """``question``: about the part of the document that is in the window."""
        started = time.monotonic()
        text, at, channel = question.text, question.at, question.channel
        request = CompletionRequest(
            sendable(text),
            at,
            filename=document.filename,
            language=document.language,
            n=n,
            max_tokens=self._options().max_tokens,
            budget_ms=budget_ms,
            one_line=None if question.by_hand or channel == "ahead" else one_line(text, at),
            extra=await self._extra(document, window, text, at),
        )
        caller = Caller(
            document=label(document, channel), batch=channel == "ahead", request=f"{channel} {next(self._names)}"
        )
        beside = self._around.beside(document)
        result = beside.answered(await self._complete(beside.asked(request), caller))
        if channel != "ahead":
            self.pace.measured(1000 * (time.monotonic() - started), result.timing_ms.get("total", 0.0))
        return tuple(one for one in result.completions if one.text)

    async def _extra(self, document: Document, window: Window, text: str, at: int) -> tuple[Snippet, ...]:
        """For a place in a part of the document, which may not be as it is yet. Apart, so that a long text is not held
        while the model is waited for.
        """
        whole = text if window == WHOLE else window.back(document.text, text)
        return await self._around.snippets(document, whole, at + window.head)

    def _foresee(self, document: Document, window: Window, answered: Answered, best: Suggestion) -> None:
        accepted = answered.text[: best.start] + best.text + answered.text[best.end :]

        async def ask(text: str, at: int) -> tuple[Completion, ...]:
            try:
                question = Question(document, at, text, by_hand=False, channel="ahead")
                return await self._ask(document, window, question, 1, PATIENCE * self._options().budget_ms)
            except HoneError:  # nobody asked: who does is told
                return ()

        self.ahead.foresee(document.key, answered, accepted, best.start + len(best.text), ask)

    def changed(self, key: str, document: Document | None) -> None:
        """The document is another one now; None: it was closed."""
        if document is None:
            self.ahead.forget(key)
            for one in [task for (known, _), task in self._running.items() if known == key]:
                one.cancel()
        elif self.ahead.is_running(key):
            self.ahead.changed(key, self._windows.last(key).of(document.text))


def _fitted(text: str, completion: Completion) -> Suggestion:
    """The completion with the closing signs behind it, so that accepting it leaves the cursor behind them. What is
    inserted is what was computed: nothing is dropped from a text that passed the gate.
    """
    end = completion.end
    closing = CLOSING.match(text, end)
    covered = text[end : closing.end()] if closing else ""
    if completion.verdict == "unchecked" and covered and completion.text.endswith(covered.rstrip()):
        # No grammar has looked at it: an answer that ends in what stands there already is meant to take its place.
        return Suggestion(completion.text, completion.start, end + len(covered.rstrip()))
    return Suggestion(completion.text + covered, completion.start, end + len(covered))


def sendable(text: str) -> str:
    """Without halves of characters, which UTF-8 cannot hold; as long as before."""
    return text if text.isascii() else SURROGATE.sub("\ufffd", text)


def label(document: Document, channel: str) -> str:
    """The document's name for the daemon, which takes 4096 characters."""
    return f"{channel} {document.uri}"[-4000:]
