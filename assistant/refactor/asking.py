"""Many edits side by side, across files: who is asked, in which pieces, and what the journal knows already."""

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from assistant.client import Client
from assistant.errors import BusyError
from assistant.refactor.change import Change, outcome, settled
from assistant.refactor.files import Original
from assistant.refactor.journal import Answer, Journal, key
from assistant.refactor.select import Block
from assistant.rules import Ruled, Ruling, by_rule
from assistant.runtime import Endpoint
from assistant.types import Caller, EditRequest, EditResult, ShouldStop

AT_ONCE = 16
"""Blocks of one request: a daemon gives each request a minute."""
PATIENCE_S = 600.0
"""How long a request is repeated while a daemon is busy."""
LOOK_S = 0.1
"""Between two looks whether to stop, meanwhile."""
UNANSWERED = ("budget", "cancelled")

Ask = Callable[[EditRequest, ShouldStop], EditResult]
"""Edits; called by several threads at once."""


@dataclass(frozen=True)
class Selected:
    """A file and the blocks of it that are to be edited."""

    original: Original
    language: str
    blocks: tuple[Block, ...]


@contextmanager
def by_daemon(endpoint: Endpoint) -> Iterator[Ask]:
    """A connection for each thread."""
    own = threading.local()
    clients: list[Client] = []

    def ask(request: EditRequest, should_stop: ShouldStop) -> EditResult:
        if not hasattr(own, "client"):
            own.client = Client(endpoint)
            clients.append(own.client)
        client: Client = own.client
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                # Behind everything that somebody waits for.
                return client.edit(request, should_stop=should_stop, caller=Caller(batch=True))
            except BusyError as error:
                again = time.monotonic() + error.retry_after_s
                while time.monotonic() < again:
                    if should_stop() or time.monotonic() > deadline:
                        raise
                    time.sleep(LOOK_S)

    try:
        yield ask
    finally:
        for client in clients:
            client.close()


def changes(
    selected: Iterable[Selected],
    task: str,
    ask: Ask,
    journal: Journal,
    *,
    model: str,
    name: str = "",
    jobs: int,
    instruction: str | None = None,
    on_blocks: Callable[[int, bool], None] = lambda *_: None,
) -> Generator[Change, None, None]:
    """What becomes of each file, in order; ``jobs`` requests are under way at once, also beyond the file that is waited
    for. ``model`` tells models apart in the journal, and ``name`` is what it is called. ``instruction``: what to do in
    free words, where there is no task. ``on_blocks`` is told how many more blocks have their answer, and whether the
    model was asked for it.
    """
    ruling = Ruling(ask)
    stop = threading.Event()
    pool = ThreadPoolExecutor(jobs, thread_name_prefix="ask")
    under_way: deque[tuple[Selected, _Answers]] = deque()
    waiting = iter(selected)
    running = 0
    try:
        while True:
            while running < 2 * jobs and (one := next(waiting, None)) is not None:
                answers = _Answers(one, task, instruction, model, journal)
                if known := len(one.blocks) - len(answers.todo):
                    on_blocks(known, False)
                ruled = _Once(partial(by_rule, answers.request, stop.is_set))
                for first, blocks in answers.pieces():
                    answers.asked[blocks] = pool.submit(_answers, ruling, ruled, first, blocks, stop.is_set)
                running += len(answers.asked)
                under_way.append((one, answers))
            if not under_way:
                return
            one, answers = under_way[0]
            for blocks, future in answers.asked.items():
                answers.take(future.result())
                on_blocks(len(blocks), True)
            under_way.popleft()
            running -= len(answers.asked)
            yield answers.change(name)
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
        # What was answered beyond the file that is waited for is known the next time.
        for _, answers in under_way:
            for future in answers.asked.values():
                if not future.cancelled() and future.exception() is None:
                    answers.take(future.result())


class _Answers:
    """Of one file."""

    def __init__(self, selected: Selected, task: str, instruction: str | None, model: str, journal: Journal) -> None:
        self.selected = selected
        self.asked: dict[tuple[Block, ...], Future[dict[Block, Answer]]] = {}
        self._journal = journal
        original = selected.original
        words = {} if instruction is None else {"instruction": instruction}
        self._keys = {
            block: key(
                **words, model=model, task=task, language=selected.language, path=original.path, text=original.digest,
                block=[block.start, block.end],
            )
            for block in selected.blocks
        }  # fmt: skip
        self._known: dict[Block, Answer] = {}
        for block in selected.blocks:
            if (found := journal.answer(self._keys[block])) is not None:
                self._known[block] = found
        self.todo = [block for block in selected.blocks if block not in self._known]
        self.request = EditRequest(
            original.text,
            task,
            tuple((block.start, block.end) for block in self.todo),
            filename=original.path,
            language=selected.language,
            instruction=instruction,
        )

    def pieces(self) -> list[tuple[int, tuple[Block, ...]]]:
        """Blocks that are asked about together, and which of those that are left is the first of them."""
        return [(at, tuple(self.todo[at : at + AT_ONCE])) for at in range(0, len(self.todo), AT_ONCE)]

    def take(self, found: dict[Block, Answer]) -> None:
        self._journal.keep(
            {self._keys[block]: answer for block, answer in found.items() if answer.reason not in UNANSWERED}
        )
        self._known |= found

    def change(self, name: str) -> Change:
        original = self.selected.original
        outcomes = []
        for block in self.selected.blocks:
            answer = self._known[block]
            outcomes.append(outcome(original.text, block, answer.edits, answer.reason))
        return settled(Change(original, self.selected.language, tuple(outcomes), name))


class _Once:
    """What rules do to a file, found by the thread that asks first."""

    def __init__(self, find: Callable[[], Ruled]) -> None:
        self._find, self._lock = find, threading.Lock()
        self._found: Ruled | None = None

    def __call__(self) -> Ruled:
        with self._lock:
            if self._found is None:
                self._found = self._find()
            return self._found


def _answers(
    ruling: Ruling, ruled: _Once, first: int, blocks: tuple[Block, ...], should_stop: ShouldStop
) -> dict[Block, Answer]:
    whole = ruled()
    found = _by_block(blocks, ruling.finish(whole.part(first, first + len(blocks)), should_stop))
    late = [index for index, block in enumerate(blocks) if found[block].reason == "budget"]
    for index in late if len(blocks) > 1 else ():
        if should_stop():
            break
        alone = whole.part(first + index, first + index + 1)
        found |= _by_block([blocks[index]], ruling.finish(alone, should_stop))
    return found


def _by_block(blocks: Iterable[Block], result: EditResult) -> dict[Block, Answer]:
    return {
        block: Answer(tuple(edit for edit in result.edits if edit.block == index), result.reasons[index])
        for index, block in enumerate(blocks)
    }
