"""The one thread that owns the model: the queue before it, turns between clients, newest wins, deadlines, idle unload.

Forward passes of all running requests are batched (``infill.batcher``). Everything that touches the model happens on
this thread; the event loop only leaves jobs and waits for them.
"""

import asyncio
import gc
import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import psutil
import torch

from assistant.errors import BusyError, HoneError
from assistant.service import checked, checked_edit, completing, describe, edited, editing
from assistant.types import (
    Caller,
    CompletionRequest,
    CompletionResult,
    Draft,
    EditRequest,
    EditResult,
    Finished,
    Load,
    ModelInfo,
    OnDraft,
    OnFinished,
    Outcome,
)
from infill.batcher import Batcher, Task
from infill.edit import Edit
from infill.engine import Infiller
from infill.passes import Work

T = TypeVar("T")
log = logging.getLogger("hone.worker")

GRACE = 0.25
"""Share of its budget by which a request may be late; then it answers with what it has. Beside many others its next
pass may be far away; alone it finishes in time by itself."""
MEMORY_EVERY = 64
"""Passes between two looks at the memory of the process."""


@dataclass(frozen=True)
class Limits:
    """What one daemon takes on."""

    waiting: int = 256
    """Requests in the queue; one more is refused with ``BusyError``."""
    running: int = 32
    """Requests whose passes are batched."""
    cache_bytes: int = 256 * 2**20
    """Keys and values of encoded contexts."""
    idle_unload_s: float | None = None
    """The model is freed after so many seconds without a request; None: never."""
    memory_bytes: int | None = None
    """Resident memory of the process above which the cached contexts are dropped; None: no limit."""


Result = CompletionResult | Edit


@dataclass(eq=False)
class _Job:
    begin: Callable[[Infiller, "_Job", float | None], Work[Any]]
    """The work itself, with what is left of its budget in milliseconds."""
    nothing: Callable[[str], Result]
    """The result of work that never began, by the reason."""
    language: str | None
    budget_ms: float | None
    caller: Caller
    arrived: float
    begun: float | None = None
    stopped: str | None = None
    """Why it is to stop: "cancelled" or "superseded"."""
    future: "Future[Any]" = field(default_factory=Future)

    def is_stopped(self) -> bool:
        return self.stopped is not None

    def is_late(self) -> bool:
        left = self.left_ms(time.monotonic())
        return left is not None and left < -GRACE * (self.budget_ms or 0.0)

    def left_ms(self, now: float) -> float | None:
        """What is left of its budget, which counts from its arrival."""
        return None if self.budget_ms is None else self.budget_ms - 1000 * (now - self.arrived)


class Worker:
    """``Serving`` over an engine. ``start`` it before the first request, ``close`` it at the end."""

    def __init__(
        self,
        open_infiller: Callable[[], Infiller],
        limits: Limits = Limits(),
        *,
        name: str = "model",
        on_finished: OnFinished | None = None,
    ) -> None:
        """``open_infiller`` is called on the model's thread, again after each unloading. ``on_finished`` too."""
        self.limits = limits
        self.name = name
        self.on_finished = on_finished
        self._open_infiller = open_infiller
        self._infiller: Infiller | None = None
        self._batcher: Batcher | None = None
        self._info: ModelInfo | None = None
        self._changed = threading.Condition()
        # All below is guarded by the condition's lock, but for what runs: only the model's thread changes that.
        self._queue = _Queue()
        self._running: list[_Job] = []
        self._asked: deque[tuple[Callable[[Infiller], Any], Future[Any]]] = deque()
        self._closed = False
        self._passes = 0
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stops what runs and what waits, and ends the thread."""
        with self._changed:
            self._closed = True
            for job in [*self._queue.jobs(), *self._running]:
                job.stopped = job.stopped or "cancelled"
            self._changed.notify()
        self._thread.join()

    # On the event loop.

    async def complete(
        self,
        request: CompletionRequest,
        caller: Caller = Caller(),  # noqa: B008 (frozen)
        *,
        on_step: OnDraft | None = None,
    ) -> CompletionResult:
        loop = asyncio.get_running_loop()
        told = None if on_step is None else _on(loop, on_step)
        request, options = checked(request)

        def begin(infiller: Infiller, job: _Job, left: float | None) -> Work[CompletionResult]:
            return completing(
                infiller, request, replace(options, budget_ms=left), should_stop=job.is_stopped, on_step=told
            )

        def nothing(reason: str) -> CompletionResult:
            return CompletionResult((), 0, 0, reason=reason)

        result: CompletionResult = (await self._work([(begin, nothing)], request.language, options.budget_ms, caller))[
            0
        ]
        return result

    async def edit(
        self,
        request: EditRequest,
        caller: Caller = Caller(),  # noqa: B008 (frozen)
    ) -> EditResult:
        request = checked_edit(request)
        started = time.monotonic()

        def nothing(reason: str) -> Edit:
            return Edit((), 0, 0, reason)

        def beginning(block: int) -> _Begin:
            def begin(infiller: Infiller, job: _Job, left: float | None) -> Work[Edit]:
                return editing(infiller, replace(request, budget_ms=left), block, should_stop=job.is_stopped)

            return begin, nothing

        works = [beginning(block) for block in range(len(request.blocks))]
        found = await self._work(works, request.language, request.budget_ms, caller)
        return edited(request, found, 1000 * (time.monotonic() - started))

    async def _work(
        self, works: Sequence["_Begin"], language: str | None, budget_ms: float | None, caller: Caller
    ) -> list[Any]:
        """The results of one request's parts, each a job of its own; all stop when one of them fails."""
        now = time.monotonic()
        jobs = [_Job(begin, nothing, language, budget_ms, caller, now) for begin, nothing in works]
        with self._changed:
            if self._closed:
                raise BusyError("the daemon is stopping", 1.0)
            self._supersede(caller)
            if len(self._queue) >= self.limits.waiting:
                raise BusyError(f"{self.limits.waiting} requests are waiting already; ask again in a moment", 1.0)
            for job in jobs:
                self._queue.put(job)
            self._changed.notify()
        try:
            return await asyncio.gather(*(asyncio.wrap_future(job.future) for job in jobs))
        except BaseException:
            with self._changed:
                for job in jobs:
                    job.stopped = job.stopped or "cancelled"
                self._changed.notify()
            raise

    def cancel(self, client: str, request: str) -> bool:
        found = False
        with self._changed:
            for job in [*self._queue.jobs(), *self._running]:
                if (job.caller.client, job.caller.request) == (client, request) and not job.is_stopped():
                    job.stopped = "cancelled"
                    found = True
            self._changed.notify()
        return found

    async def tokenize(self, text: str) -> list[int]:
        return await self._ask(lambda infiller: infiller.denoiser.tokenizer.encode(text))

    async def detokenize(self, tokens: list[int]) -> str:
        return await self._ask(lambda infiller: infiller.denoiser.tokenizer.decode(tokens))

    async def info(self) -> ModelInfo:
        known = self._info
        if known is None:
            known = await self._ask(lambda infiller: describe(infiller, self.name))
        return replace(known, loaded=self._infiller is not None)

    def load(self) -> Load:
        infiller, batcher = self._infiller, self._batcher
        widths = list(batcher.widths) if batcher else []
        return Load(
            waiting=len(self._queue),
            running=len(self._running),
            cached_bytes=infiller.contexts.bytes if infiller else 0,
            loaded=infiller is not None,
            batch_width=sum(widths) / len(widths) if widths else 0.0,
        )

    def _supersede(self, caller: Caller) -> None:
        """Newest wins: what the same client asked of the same document before is no longer wanted."""
        if caller.document is None:
            return
        for job in [*self._queue.jobs(), *self._running]:
            if (job.caller.client, job.caller.document) == (caller.client, caller.document):
                job.stopped = job.stopped or "superseded"

    async def _ask(self, question: Callable[[Infiller], T]) -> T:
        """Something that needs the open model, answered on its thread between two passes."""
        answer: Future[T] = Future()
        with self._changed:
            if self._closed:
                raise BusyError("the daemon is stopping", 1.0)
            self._asked.append((question, answer))
            self._changed.notify()
        return await asyncio.wrap_future(answer)

    # On the model's thread.

    def _run(self) -> None:
        with torch.inference_mode():
            while self._wait():
                try:
                    self._turn()
                except Exception as error:
                    log.exception("the model's thread stumbled")
                    self._start_afresh(error)

    def _turn(self) -> None:
        """One pass, and all that happens around it."""
        self._sweep()
        if (batcher := self._opened()) is None:
            return
        self._answer()
        self._admit(batcher)
        batcher.step()
        self._watch_memory()

    def _start_afresh(self, error: Exception) -> None:
        """A mistake of ours must not leave anybody waiting: all are told, and the next request opens the model anew."""
        self._refuse(error)
        running = list(self._running)
        self._running.clear()
        for job in running:
            self._fail(job, error)
        self._unload()

    def _wait(self) -> bool:
        """Until there is something to do; False when the worker is closed and everybody has been told."""
        with self._changed:
            idle = self.limits.idle_unload_s if self._infiller is not None else None
            while not (self._queue or self._running or self._asked):
                if self._closed:
                    return False
                if not self._changed.wait(idle):
                    self._unload()
                    idle = None
        return True

    def _opened(self) -> Batcher | None:
        """The batcher over the open model, which is opened where it is not. Where it cannot be, all that wait are
        told so."""
        if not (self._queue or self._running or self._asked):
            return None
        if self._batcher is None:
            try:
                infiller = self._open_infiller()
                self._info = describe(infiller, self.name)
            except Exception as error:  # noqa: BLE001 (who waits is told)
                self._refuse(error)
                return None
            infiller.contexts.limit_bytes = self.limits.cache_bytes
            self._infiller, self._batcher = infiller, Batcher(infiller.denoiser)
        return self._batcher

    def _refuse(self, error: Exception) -> None:
        with self._changed:
            jobs, asked = self._queue.take_all(), list(self._asked)
            self._asked.clear()
        for job in jobs:
            self._fail(job, error)
        for _, answer in asked:
            with suppress(InvalidStateError):
                answer.set_exception(error)

    def _unload(self) -> None:
        self._infiller = self._batcher = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _answer(self) -> None:
        while self._asked:
            question, answer = self._asked.popleft()
            assert self._infiller is not None
            with suppress(InvalidStateError):
                try:
                    answer.set_result(question(self._infiller))
                except Exception as error:  # noqa: BLE001 (who asked is told)
                    answer.set_exception(error)

    def _sweep(self) -> None:
        """Tells those in the queue that are stopped already, or whose time is over."""
        now = time.monotonic()
        with self._changed:
            over = self._queue.take_if(lambda job: job.is_stopped() or (job.left_ms(now) or 1.0) <= 0)
        for job in over:
            self._end(job, job.nothing(job.stopped or "budget"))

    def _admit(self, batcher: Batcher) -> None:
        """Jobs join the batch, up to its limit, clients in turn. Those that are stopped leave first: what they had
        encoded is what the next one of their document goes on from."""
        batcher.leave()
        while len(self._running) < self.limits.running:
            with self._changed:
                job = self._queue.get()
                if job is None:
                    return
                self._running.append(job)
            self._begin(job, batcher)

    def _begin(self, job: _Job, batcher: Batcher) -> None:
        assert self._infiller is not None
        job.begun = time.monotonic()
        left = job.left_ms(job.begun)
        try:
            work = job.begin(self._infiller, job, None if left is None else max(left, 0.1))
        except HoneError as error:  # this model cannot do it
            with self._changed:
                self._running.remove(job)
            self._fail(job, error)
            return

        def finished(result: Result | None, error: Exception | None) -> None:
            with self._changed:
                self._running.remove(job)
            if error is not None:
                self._fail(job, error)
            else:
                assert result is not None
                self._end(job, replace(result, reason=job.stopped) if job.is_stopped() else result)

        batcher.add(Task(work, finished, job.is_stopped, job.is_late, job.caller.batch))

    def _watch_memory(self) -> None:
        self._passes += 1
        limit = self.limits.memory_bytes
        if limit is None or self._passes % MEMORY_EVERY or self._infiller is None:
            return
        if psutil.Process().memory_info().rss > limit:
            self._infiller.contexts.clear()
            gc.collect()

    # The end of a job.

    def _end(self, job: _Job, result: Result) -> None:
        outcome: Outcome = "empty"
        if job.stopped is not None:
            outcome = "superseded" if job.stopped == "superseded" else "cancelled"
        elif isinstance(result, Edit) or result.completions:
            outcome = "answered"  # to leave a block as it is, is an answer
        try:
            self._tell(job, outcome, result.reason, result)  # first: who has the answer may ask for the numbers next
        finally:
            with suppress(InvalidStateError):  # the caller has gone
                job.future.set_result(result)

    def _fail(self, job: _Job, error: Exception) -> None:
        try:
            self._tell(job, "failed", type(error).__name__ if not isinstance(error, HoneError) else "refused", None)
        finally:
            with suppress(InvalidStateError):
                job.future.set_exception(error)

    def _tell(self, job: _Job, outcome: Outcome, reason: str | None, result: Result | None) -> None:
        if self.on_finished is None:
            return
        now = time.monotonic()
        told = Finished(
            outcome,
            reason,
            job.language,
            job.caller,
            queue_ms=1000 * ((job.begun or now) - job.arrived),
            total_ms=1000 * (now - job.arrived),
        )
        if isinstance(result, Edit):
            told = replace(told, passes=result.passes, tokens=result.tokens)
        elif result is not None:
            told = replace(
                told,
                steps=result.steps,
                passes=result.passes,
                tokens=sum(completion.tokens for completion in result.completions),
                context_tokens=result.context_tokens,
                known_tokens=result.known_tokens,
                verdicts=tuple(completion.verdict for completion in result.completions),
                origins=tuple(completion.origin for completion in result.completions),
            )
        self.on_finished(told)


_Begin = tuple[Callable[[Infiller, _Job, float | None], Work[Any]], Callable[[str], Result]]


class _Queue:
    """Jobs in turn between clients, and those that somebody waits for before batch work."""

    def __init__(self) -> None:
        self._urgent: OrderedDict[str, deque[_Job]] = OrderedDict()
        self._patient: OrderedDict[str, deque[_Job]] = OrderedDict()

    def __len__(self) -> int:
        return sum(len(jobs) for lane in (self._urgent, self._patient) for jobs in list(lane.values()))

    def put(self, job: _Job) -> None:
        lane = self._patient if job.caller.batch else self._urgent
        lane.setdefault(job.caller.client, deque()).append(job)

    def get(self) -> _Job | None:
        """The oldest job of the client whose turn it is; its next one comes after everybody else's."""
        for lane in (self._urgent, self._patient):
            if lane:
                client, jobs = lane.popitem(last=False)
                job = jobs.popleft()
                if jobs:
                    lane[client] = jobs
                return job
        return None

    def jobs(self) -> list[_Job]:
        return [job for lane in (self._urgent, self._patient) for jobs in lane.values() for job in jobs]

    def take_if(self, wanted: Callable[[_Job], bool]) -> list[_Job]:
        taken: list[_Job] = []
        for lane in (self._urgent, self._patient):
            for client, jobs in list(lane.items()):
                taken += [job for job in jobs if wanted(job)]
                kept = deque(job for job in jobs if not wanted(job))
                if kept:
                    lane[client] = kept
                else:
                    del lane[client]
        return taken

    def take_all(self) -> list[_Job]:
        return self.take_if(lambda _: True)


def _on(loop: asyncio.AbstractEventLoop, on_step: OnDraft) -> OnDraft:
    def tell(draft: Draft) -> None:
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(on_step, draft)

    return tell
