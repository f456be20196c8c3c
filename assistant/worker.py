"""The one thread that owns the models: the queue before it, turns between clients, newest wins, deadlines, idle unload.

There is one model, or two: one that fills holes, and one beside it that edits. Each is opened by the first request for
it. Forward passes of all running requests of a model are batched (``infill.batcher``), and the models take turns.
Everything that touches a model happens on this thread; the event loop leaves jobs and waits for them. What needs no
model is answered there and then, however long a pass takes: who is superseded or cancelled, and whose time is over
before its turn has come.
"""

import asyncio
import ctypes
import gc
import logging
import math
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
from assistant.models import ANNOTATE
from assistant.parts import SMALL, Part, found_apart, parted
from assistant.service import checked, checked_edit, completing, describe, edited, editing
from assistant.types import (
    TASKS,
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
from infill.annotate import TASKS as ANNOTATIONS
from infill.batcher import Batcher, Task
from infill.edit import Edit
from infill.engine import Infiller
from infill.passes import Work

T = TypeVar("T")
log = logging.getLogger("hone.worker")

GRACE = 0.25
"""Share of its budget by which a request may be late; then it answers with what it has. Beside many others its next
pass may be far away; alone it finishes in time by itself."""
PATIENCE = 8
"""Passes after which the batch work of one model gets a turn beside what somebody waits for from the other."""
MEMORY_EVERY = 16
"""Passes between two looks at the memory of the process."""
SPARE_BYTES = 64 * 2**20
"""What may be cached above what the process needs without caches, where the limit is below that."""


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
    """A model is freed after so many seconds without a request for it; None: never."""
    memory_bytes: int | None = None
    """Resident memory of the process above which the cached contexts are dropped, and the model for edits is freed
    while nobody asks it; None: no limit."""


Result = CompletionResult | Edit


@dataclass(frozen=True)
class Beside:
    """A model that does the edits, beside the one that fills holes."""

    name: str
    open: Callable[[], Infiller]
    """Called on the models' thread, again after each unloading."""
    tasks: tuple[str, ...] = TASKS
    """What it says of itself that it can do, which is what is told before it is opened."""
    instruct: bool = False
    """Whether it follows instructions; where not, they go to the model that fills holes."""


class _Model:
    """One model, open or not; but for ``name``, for the models' thread."""

    def __init__(self, name: str, open_infiller: Callable[[], Infiller]) -> None:
        self.name = name
        self.infiller: Infiller | None = None
        self.batcher: Batcher | None = None
        self.info: ModelInfo | None = None
        """Stays when it is unloaded."""
        self.used = time.monotonic()
        self.open_since = math.inf
        """Infinite while it is not open."""
        self._open = open_infiller

    def opened(self, cache_bytes: int) -> tuple[Infiller, Batcher]:
        """Raises: whatever opening it raises."""
        self.used = time.monotonic()
        if self.infiller is None or self.batcher is None:
            infiller = self._open()
            self.info = describe(infiller, self.name)
            infiller.contexts.limit_bytes = cache_bytes
            self.infiller, self.batcher = infiller, Batcher(infiller.denoiser)
            self.open_since = time.monotonic()
        return self.infiller, self.batcher

    def unload(self) -> None:
        self.infiller = self.batcher = None
        self.open_since = math.inf
        give_back()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    @property
    def tasks(self) -> Sequence[Task[Any]]:
        return self.batcher.tasks if self.batcher is not None else ()


@dataclass(eq=False)
class _Job:
    model: _Model
    begin: Callable[[Infiller, "_Job", float | None], Work[Any]]
    """The work itself, with what is left of its budget in milliseconds."""
    nothing: Callable[[str], Result]
    """The result of work that never began, by the reason."""
    language: str | None
    budget_ms: float | None
    caller: Caller
    arrived: float
    is_edit: bool
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
        """What is left of its budget, which counts from its arrival; that the model had to be opened does not count."""
        since = max(self.arrived, min(self.model.open_since, now))
        return None if self.budget_ms is None else self.budget_ms - 1000 * (now - since)

    def is_over(self) -> bool:
        """Whether nothing is left of it, so that it is not worth to begin."""
        left = self.left_ms(time.monotonic())
        return left is not None and left <= 0


class Worker:
    """``Serving`` over an engine. ``start`` it before the first request, ``close`` it at the end."""

    def __init__(
        self,
        open_infiller: Callable[[], Infiller],
        limits: Limits = Limits(),
        *,
        name: str = "model",
        beside: Beside | None = None,
        on_finished: OnFinished | None = None,
    ) -> None:
        """``open_infiller`` is called on the models' thread, again after each unloading; ``on_finished`` there or on
        the event loop. ``beside``: who does the edits, where it is another model."""
        self.limits = limits
        self.on_finished = on_finished
        self._main = _Model(name, open_infiller)
        self._beside = beside
        self._cutting = asyncio.Lock()
        self._cut: tuple[str, list[int]] = "", []
        """The last very large text, and where it may be cut."""
        self._editor = self._main if beside is None else _Model(beside.name, beside.open)
        self._models = (self._main,) if beside is None else (self._main, self._editor)
        self._passed_over = 0
        self._changed = threading.Condition()
        # All below is guarded by the condition's lock, but for what runs: only the models' thread changes that.
        self._queue = _Queue()
        self._running: list[_Job] = []
        self._asked: deque[tuple[Callable[[Infiller], Any], Future[Any]]] = deque()
        self._closed = False
        self._passes = 0
        self._most_bytes = limits.memory_bytes
        """The limit, or what can be held instead."""
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stops what runs and what waits, and ends the thread."""
        with self._changed:
            self._closed = True
        self._stop(lambda _: True, "cancelled")
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

        result: CompletionResult
        works, budget_ms = [(begin, nothing)], options.budget_ms
        [result] = await self._work(self._main, works, request.language, budget_ms, caller, is_edit=False)
        return result

    async def edit(
        self,
        request: EditRequest,
        caller: Caller = Caller(),  # noqa: B008 (frozen)
    ) -> EditResult:
        request = checked_edit(request)
        started = time.monotonic()
        parts = await self._parted(request)

        def nothing(reason: str) -> Edit:
            return Edit((), 0, 0, reason)

        def beginning(part: EditRequest, block: int) -> _Begin:
            def begin(infiller: Infiller, job: _Job, left: float | None) -> Work[Edit]:
                return editing(infiller, replace(part, budget_ms=left), block, should_stop=job.is_stopped)

            return begin, nothing

        works = [beginning(part.request, block) for part in parts for block in range(len(part.request.blocks))]
        by_words = request.instruction is not None
        can = self._beside is not None and self._beside.instruct if by_words else self._knows(request.task)
        model = self._editor if can or self._beside is None else self._main
        left = request.budget_ms
        if left is not None:
            left = max(left - 1000 * (time.monotonic() - started), 1.0)
        found = await self._work(model, works, request.language, left, caller, is_edit=True)
        # Several blocks are checked together, in all of the text: not on the event loop.
        return await asyncio.to_thread(edited, parts, found, 1000 * (time.monotonic() - started))

    async def _parted(self, request: EditRequest) -> list[Part]:
        if len(request.text) <= SMALL:
            return [Part(request)]
        async with self._cutting:  # in the order in which they came: the newest wins
            if self._cut[0] != request.text:
                self._cut = request.text, await found_apart(request.text, request.language, request.filename)
            return parted(request, self._cut[1])

    async def _work(
        self,
        model: _Model,
        works: Sequence["_Begin"],
        language: str | None,
        budget_ms: float | None,
        caller: Caller,
        *,
        is_edit: bool,
    ) -> list[Any]:
        """The results of one request's parts, each a job of its own; all stop when one of them fails."""
        now = time.monotonic()
        jobs = [_Job(model, begin, nothing, language, budget_ms, caller, now, is_edit) for begin, nothing in works]
        if caller.document is not None:  # newest wins
            same = (caller.client, caller.document)
            self._stop(lambda job: (job.caller.client, job.caller.document) == same, "superseded")
        with self._changed:
            if self._closed:
                raise BusyError("the daemon is stopping", 1.0)
            if len(self._queue) >= self.limits.waiting:
                raise BusyError(f"{self.limits.waiting} requests are waiting already; ask again in a moment", 1.0)
            for job in jobs:
                self._queue.put(job)
            self._changed.notify()
        watching = asyncio.create_task(self._watch(jobs)) if budget_ms is not None else None
        try:
            return await asyncio.gather(*(asyncio.wrap_future(job.future) for job in jobs))
        except BaseException:
            self._stop(lambda job: job in jobs, "cancelled")
            raise
        finally:
            if watching is not None:
                watching.cancel()

    def cancel(self, client: str, request: str) -> bool:
        return self._stop(lambda job: (job.caller.client, job.caller.request) == (client, request), "cancelled") > 0

    def _stop(self, wanted: Callable[[_Job], bool], reason: str) -> int:
        """Stops what waits and what runs, and answers it at once; the model leaves it at its next pass. How many."""
        with self._changed:
            waiting = self._queue.take_if(wanted)
            running = [job for job in self._running if wanted(job) and not job.is_stopped()]
            for job in (*waiting, *running):
                job.stopped = reason
            self._changed.notify()
        for job in waiting:
            self._end(job, job.nothing(reason))
        for job in running:
            _answer(job, job.nothing(reason))
        return len(waiting) + len(running)

    async def _watch(self, jobs: Sequence[_Job]) -> None:
        """Answers what still waits when its time is over: the models' thread may be in the middle of a long pass."""
        while (left := jobs[0].left_ms(time.monotonic())) is not None and left > 0:  # noqa: ASYNC110 (for a time)
            await asyncio.sleep(left / 1000)
        self._end_waiting(lambda job: job in jobs)

    def _end_waiting(self, wanted: Callable[[_Job], bool]) -> None:
        with self._changed:
            over = self._queue.take_if(wanted)
        for job in over:
            self._end(job, job.nothing("budget"))

    async def tokenize(self, text: str) -> list[int]:
        # A long text takes seconds, in which the models' thread has better things to do.
        encode: Callable[[str], list[int]] = (await self._tokenizer()).encode
        return await asyncio.to_thread(encode, text)

    async def detokenize(self, tokens: list[int]) -> str:
        decode: Callable[[list[int]], str] = (await self._tokenizer()).decode
        return await asyncio.to_thread(decode, tokens)

    async def pieces(self, tokens: list[int]) -> list[bytes]:
        known: Callable[[int], bytes] = (await self._tokenizer()).token_bytes
        return await asyncio.to_thread(lambda: [known(token) for token in tokens])

    async def _tokenizer(self) -> Any:
        return await self._ask(lambda infiller: infiller.denoiser.tokenizer)

    async def info(self) -> ModelInfo:
        known = self._main.info
        if known is None:
            known = await self._ask(lambda infiller: describe(infiller, self._main.name))
        known = replace(known, loaded=self._main.infiller is not None)
        if self._beside is None:
            return known
        own = tuple(task for task in known.tasks if task == ANNOTATE and task not in self._edit_tasks)
        tasks = tuple(task for task in TASKS if task in {*own, *self._edit_tasks})
        there = self._editor.infiller is not None
        told = self._beside.name if self._beside.instruct else known.instruct_model
        return replace(
            known,
            tasks=tasks,
            own_tasks=own,
            edit_model=self._beside.name,
            edit_model_loaded=there,
            instruct_model=told,
        )

    def _knows(self, task: str) -> bool:
        """Whether a task is for the model beside the main one."""
        return task not in ANNOTATIONS or ANNOTATE in self._edit_tasks

    @property
    def _edit_tasks(self) -> tuple[str, ...]:
        """What the model beside the main one can do."""
        if self._editor.info is not None:
            return self._editor.info.tasks
        return () if self._beside is None else self._beside.tasks

    def load(self) -> Load:
        infillers = [one for one in (model.infiller for model in self._models) if one is not None]
        batchers = [one for one in (model.batcher for model in self._models) if one is not None]
        widths = [width for batcher in batchers for width in list(batcher.widths)]
        return Load(
            waiting=len(self._queue),
            running=len(self._running),
            cached_bytes=sum(one.contexts.bytes for one in infillers),
            loaded=self._main.infiller is not None,
            batch_width=sum(widths) / len(widths) if widths else 0.0,
            edit_model_loaded=self._beside is not None and self._editor.infiller is not None,
        )

    async def _ask(self, question: Callable[[Infiller], T]) -> T:
        """Something that needs the open model, answered on its thread between two passes."""
        answer: Future[T] = Future()
        with self._changed:
            if self._closed:
                raise BusyError("the daemon is stopping", 1.0)
            self._asked.append((question, answer))
            self._changed.notify()
        return await asyncio.wrap_future(answer)

    # On the models' thread.

    def _run(self) -> None:
        with torch.inference_mode():
            while self._wait():
                try:
                    self._turn()
                except Exception as error:
                    log.exception("the models' thread stumbled")
                    self._start_afresh(error)

    def _turn(self) -> None:
        """One pass of each model that has something to do, and all that happens around it."""
        self._end_waiting(_Job.is_over)
        self._answer()
        self._admit()
        for model in self._next():
            model.used = time.monotonic()
            if model.batcher is not None:
                model.batcher.step()
        self._unload_idle()
        self._watch_memory()

    def _next(self) -> list[_Model]:
        """The models whose turn it is: those that somebody waits for, and now and then those with batch work alone."""
        busy = [model for model in self._models if model.tasks]
        urgent = [model for model in busy if any(not task.batch for task in model.tasks)]
        if not urgent or len(urgent) == len(busy) or self._passed_over >= PATIENCE:
            self._passed_over = 0
            return busy
        self._passed_over += 1
        return urgent

    def _start_afresh(self, error: Exception) -> None:
        """A mistake of ours must not leave anybody waiting: all are told, and the next request opens its model anew."""
        self._refuse(error)
        running = list(self._running)
        self._running.clear()
        for job in running:
            self._fail(job, error)
        for model in self._models:
            model.unload()

    def _wait(self) -> bool:
        """Until there is something to do; False when the worker is closed and everybody has been told."""
        while True:
            with self._changed:
                if self._queue or self._running or self._asked:
                    return True
                if self._closed:
                    return False
                self._changed.wait(self._idle_left())
            self._unload_idle()  # without the lock, which the event loop waits for

    def _idle_left(self) -> float | None:
        """Seconds until a model is to be unloaded if nobody asks for it; None: none is."""
        limit, now = self.limits.idle_unload_s, time.monotonic()
        open_ones = [model for model in self._models if model.infiller is not None]
        if limit is None or not open_ones:
            return None
        return max(min(model.used + limit - now for model in open_ones), 0.0)

    def _unload_idle(self) -> None:
        limit, now = self.limits.idle_unload_s, time.monotonic()
        for model in self._models:
            if limit is not None and model.infiller is not None and not model.tasks and now >= model.used + limit:
                model.unload()

    def _opened(self, model: _Model) -> tuple[Infiller, Batcher] | None:
        """Where it cannot be opened, all that wait for it are told so."""
        try:
            return model.opened(self.limits.cache_bytes)
        except Exception as error:  # noqa: BLE001 (who waits is told)
            self._refuse(error, model)
            return None

    def _refuse(self, error: Exception, model: _Model | None = None) -> None:
        """Tells everybody who waits for the model, or for any, that there is no answer."""
        with self._changed:
            jobs = self._queue.take_if(lambda job: model in (None, job.model))
            asked = list(self._asked) if model in (None, self._main) else []
            if asked:
                self._asked.clear()
        for job in jobs:
            self._fail(job, error)
        for _, answer in asked:
            with suppress(InvalidStateError):
                answer.set_exception(error)

    def _answer(self) -> None:
        while self._asked:
            if (there := self._opened(self._main)) is None:
                return
            question, answer = self._asked.popleft()
            with suppress(InvalidStateError):
                try:
                    answer.set_result(question(there[0]))
                except Exception as error:  # noqa: BLE001 (who asked is told)
                    answer.set_exception(error)

    def _admit(self) -> None:
        """Jobs join their model's batch, up to the limit, clients in turn. Those that are stopped leave first: what
        they had encoded is what the next one of their document goes on from."""
        for model in self._models:
            if model.batcher is not None:
                model.batcher.leave()
        while len(self._running) < self.limits.running:
            with self._changed:
                job = self._queue.get()
                if job is None:
                    return
                self._running.append(job)
            self._begin(job)

    def _begin(self, job: _Job) -> None:
        if (there := self._opened_for(job)) is None:
            return
        infiller, batcher = there
        job.begun = time.monotonic()
        left = job.left_ms(job.begun)
        try:
            work = job.begin(infiller, job, None if left is None else max(left, 0.1))
        except HoneError as error:  # this model cannot do it
            self._leave(job)
            self._fail(job, error)
            return

        def finished(result: Result | None, error: Exception | None) -> None:
            self._leave(job)
            if error is not None:
                self._fail(job, error)
            else:
                assert result is not None
                self._end(job, replace(result, reason=job.stopped) if job.is_stopped() else result)

        batcher.add(Task(work, finished, job.is_stopped, job.is_late, job.caller.batch))

    def _opened_for(self, job: _Job) -> tuple[Infiller, Batcher] | None:
        """The job's model. Where it cannot be opened, the job and all that wait for the same are told so."""
        try:
            return job.model.opened(self.limits.cache_bytes)
        except Exception as error:  # noqa: BLE001 (who waits is told)
            self._leave(job)
            self._fail(job, error)
            self._refuse(error, job.model)
            return None

    def _leave(self, job: _Job) -> None:
        with self._changed:
            self._running.remove(job)

    def _watch_memory(self) -> None:
        self._passes += 1
        limit, most = self.limits.memory_bytes, self._most_bytes
        if limit is None or most is None or self._passes % MEMORY_EVERY or (used := resident_bytes()) <= limit:
            return
        if self._editor is not self._main and self._editor.infiller is not None and not self._editor.tasks:
            self._editor.unload()
            used = resident_bytes()
        if used <= most:
            return
        for model in self._models:
            if model.infiller is not None:
                model.infiller.contexts.clear()
        give_back()
        if (needed := resident_bytes()) > most:
            self._most_bytes = needed + SPARE_BYTES
            log.warning(
                "the process needs %d MiB without caches, more than the %d MiB of --memory: they go above %d MiB",
                *(count // 2**20 for count in (needed, most, self._most_bytes)),
            )

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
            _answer(job, result)

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
            is_edit=job.is_edit,
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


def _answer(job: _Job, result: Result) -> None:
    with suppress(InvalidStateError):  # it was stopped and answered, or the caller has gone
        job.future.set_result(result)


def resident_bytes() -> int:
    return int(psutil.Process().memory_info().rss)


def give_back() -> None:
    """Frees what nobody uses, and gives it back to the system, which glibc does only when asked."""
    gc.collect()
    with suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


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

    def take_if(self, wanted: Callable[[_Job], bool]) -> list[_Job]:
        taken: list[_Job] = []
        for lane in (self._urgent, self._patient):
            for client, jobs in list(lane.items()):
                kept = deque[_Job]()
                for job in jobs:
                    (taken if wanted(job) else kept).append(job)  # asked once: time goes on between two questions
                if kept:
                    lane[client] = kept
                else:
                    del lane[client]
        return taken


def _on(loop: asyncio.AbstractEventLoop, on_step: OnDraft) -> OnDraft:
    def tell(draft: Draft) -> None:
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(on_step, draft)

    return tell
