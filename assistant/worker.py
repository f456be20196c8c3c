"""The one thread that owns the model, and the queue before it."""

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from assistant.errors import BusyError
from assistant.service import Assistant
from assistant.types import (
    Caller,
    CompletionRequest,
    CompletionResult,
    Draft,
    Finished,
    Load,
    ModelInfo,
    OnDraft,
    OnFinished,
    Outcome,
)
from infill.engine import Infiller


@dataclass(frozen=True)
class Limits:
    """What one daemon takes on."""

    waiting: int = 256
    """Requests in the queue; one more is refused with ``BusyError``."""
    running: int = 32
    """Requests whose steps are batched."""
    cache_bytes: int = 256 * 2**20
    """Keys and values of encoded contexts."""
    idle_unload_s: float | None = None
    """The model is freed after so many seconds without a request; None: never."""
    memory_bytes: int | None = None
    """Resident memory of the process above which caches are dropped; None: no limit."""


@dataclass
class _Job:
    request: CompletionRequest
    caller: Caller
    on_step: OnDraft | None
    arrived: float
    future: "Future[CompletionResult]" = field(default_factory=Future)
    stop: threading.Event = field(default_factory=threading.Event)


def _on(loop: asyncio.AbstractEventLoop, on_step: OnDraft) -> OnDraft:
    def tell(draft: Draft) -> None:
        loop.call_soon_threadsafe(on_step, draft)

    return tell


class Worker:
    """``Serving`` over an engine. ``start`` it before the first request, ``close`` it at the end."""

    def __init__(
        self,
        open_infiller: Callable[[], Infiller],
        limits: Limits = Limits(),
        *,
        on_finished: OnFinished | None = None,
    ) -> None:
        self.limits = limits
        self.on_finished = on_finished
        self._assistant = Assistant(open_infiller)
        self._queue: queue.Queue[_Job | None] = queue.Queue()
        self._running: _Job | None = None
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stops what runs, and ends the thread."""
        if self._running is not None:
            self._running.stop.set()
        self._queue.put(None)
        self._thread.join()

    async def complete(
        self,
        request: CompletionRequest,
        caller: Caller = Caller(),  # noqa: B008 (frozen)
        *,
        on_step: OnDraft | None = None,
    ) -> CompletionResult:
        if self._queue.qsize() >= self.limits.waiting:
            raise BusyError(f"{self.limits.waiting} requests are waiting", 1.0)
        loop = asyncio.get_running_loop()
        told = None if on_step is None else _on(loop, on_step)
        job = _Job(request, caller, told, time.monotonic())
        self._queue.put(job)
        try:
            return await asyncio.wrap_future(job.future)
        except asyncio.CancelledError:
            job.stop.set()
            raise

    def cancel(self, client: str, request: str) -> bool:
        job = self._running
        if job is None or (job.caller.client, job.caller.request) != (client, request):
            return False
        job.stop.set()
        return True

    async def tokenize(self, text: str) -> list[int]:
        infiller = await asyncio.to_thread(self._assistant.open)
        return infiller.denoiser.tokenizer.encode(text)

    async def detokenize(self, tokens: list[int]) -> str:
        infiller = await asyncio.to_thread(self._assistant.open)
        return infiller.denoiser.tokenizer.decode(tokens)

    async def info(self) -> ModelInfo:
        denoiser = (await asyncio.to_thread(self._assistant.open)).denoiser
        return ModelInfo(
            "hone-tiny-python", 0, denoiser.context, denoiser.max_hole, denoiser.tokenizer.vocab_size,
            str(denoiser.device), "bfloat16", loaded=True,
        )  # fmt: skip

    def load(self) -> Load:
        return Load(self._queue.qsize(), int(self._running is not None), 0, loaded=True, batch_width=0.0)

    def _run(self) -> None:
        while (job := self._queue.get()) is not None:
            self._running = job
            begun = time.monotonic()
            try:
                result = self._assistant.complete(job.request, should_stop=job.stop.is_set, on_step=job.on_step)
            except Exception as error:  # noqa: BLE001 (the caller gets it)
                if not job.future.cancelled():
                    job.future.set_exception(error)
                continue
            finally:
                self._running = None
            if not job.future.cancelled():
                job.future.set_result(result)
            self._tell(job, result, begun)

    def _tell(self, job: _Job, result: CompletionResult, begun: float) -> None:
        if self.on_finished is None:
            return
        now = time.monotonic()
        outcome: Outcome = (
            "answered" if result.completions else "cancelled" if result.reason == "cancelled" else "empty"
        )
        self.on_finished(
            Finished(
                outcome,
                result.reason,
                job.request.language,
                job.caller,
                1000 * (begun - job.arrived),
                1000 * (now - job.arrived),
                result.steps,
                result.passes,
                sum(c.tokens for c in result.completions),
                result.context_tokens,
                result.known_tokens,
                tuple(c.verdict for c in result.completions),
                tuple(c.origin for c in result.completions),
            )
        )
