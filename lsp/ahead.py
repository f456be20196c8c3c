"""Answers that are there before they are asked for: those that the user types along, and the next one.

While a suggestion stands and the user types what it says, it stays right: what is left of it is the answer, and nothing
is asked again. While one is shown, the one that follows its acceptance is computed behind everything that somebody
waits for. It knows nothing of positions, the protocol or the daemon.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from assistant.types import Completion

KEPT = 4
"""Answers per document; each holds the text that it was given for."""
DOCUMENTS = 16
CLOSERS = frozenset(")]}>\"'`")
INSERTED = 3
"""Closing signs that an editor adds by itself behind a typed one, at most."""


@dataclass(frozen=True, eq=False)
class Answered:
    text: str
    at: int
    n: int
    """Alternatives that were asked for."""
    completions: tuple[Completion, ...]


def along(known: Answered, text: str, at: int) -> tuple[Completion, ...]:
    """What is left of the answers for a text into which their beginning was typed; () where none goes on like that.

    An editor may have closed a bracket that was typed. What stands there now is replaced by the rest of the answer, so
    that accepting it gives exactly the text for which the answer was computed.
    """
    typed = at - known.at
    closed = len(text) - len(known.text) - typed
    if typed < 0 or not 0 <= closed <= INSERTED or not CLOSERS.issuperset(text[at : at + closed]):
        return ()
    word = text[known.at : at]
    fitting = [one for one in known.completions if len(one.text) > typed and one.text.startswith(word)]
    if not fitting or text[: known.at] != known.text[: known.at] or text[at + closed :] != known.text[known.at :]:
        return ()
    return tuple(replace(one, text=one.text[typed:], start=at, end=at + closed + one.end - known.at) for one in fitting)


@dataclass(frozen=True, eq=False)
class _Running:
    known: Answered
    """The answer that is shown."""
    text: str
    at: int
    task: "asyncio.Task[tuple[Completion, ...]]"

    def is_reached_from(self, text: str) -> bool:
        """Whether ``text`` is what was asked about, its acceptance, or on the way there."""
        shown = self.known
        if text in (shown.text, self.text):
            return True
        typed = len(text) - len(shown.text)
        counts = range(typed, max(typed - INSERTED, 1) - 1, -1)
        return any(along(shown, text, shown.at + count) for count in counts)


Ask = Callable[[str, int], Awaitable[tuple[Completion, ...]]]


class Ahead:
    """Per document, the last answers and at most one that is being computed ahead."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, deque[Answered]] = OrderedDict()
        self._running: dict[str, _Running] = {}

    def recall(self, key: str, text: str, at: int, n: int) -> tuple[Completion, ...]:
        for known in reversed(self._known.get(key, ())):
            if known.n >= n and (left := along(known, text, at)):
                return left[:n]
        return ()

    def remember(self, key: str, answered: Answered) -> None:
        if not answered.completions:
            return
        self._known.setdefault(key, deque(maxlen=KEPT)).append(answered)
        self._known.move_to_end(key)
        while len(self._known) > DOCUMENTS:
            self._known.popitem(last=False)

    def foresee(self, key: str, shown: Answered, text: str, at: int, ask: Ask) -> None:
        """Computes what follows the acceptance of what is shown, which leaves ``text`` with the cursor at ``at``."""
        running = self._running.get(key)
        if running is not None and (running.text, running.at) == (text, at):
            return
        self.stop(key)
        if self.recall(key, text, at, 1):
            return
        task = asyncio.ensure_future(self._compute(key, text, at, ask))
        self._running[key] = _Running(shown, text, at, task)

    async def _compute(self, key: str, text: str, at: int, ask: Ask) -> tuple[Completion, ...]:
        try:
            found = await ask(text, at)
            self.remember(key, Answered(text, at, 1, found))
            return found
        finally:
            running = self._running.get(key)
            if running is not None and running.task is asyncio.current_task():
                del self._running[key]

    async def join(self, key: str, text: str, at: int) -> tuple[Completion, ...]:
        """The answer that is being computed ahead for this very place; () where there is none."""
        running = self._running.get(key)
        if running is None or (running.text, running.at) != (text, at):
            return ()
        # A caller that is cancelled leaves the work alone: it is somebody else's by then, or stopped by its name.
        await asyncio.wait({running.task})
        return () if running.task.cancelled() else running.task.result()

    def is_running(self, key: str) -> bool:
        return key in self._running

    def changed(self, key: str, text: str) -> None:
        """The document has another text now: what that does not lead to is not computed any longer."""
        running = self._running.get(key)
        if running is not None and not running.is_reached_from(text):
            self.stop(key)

    def forget(self, key: str) -> None:
        self.stop(key)
        self._known.pop(key, None)

    def stop(self, key: str) -> None:
        if (running := self._running.pop(key, None)) is not None:
            running.task.cancel()
