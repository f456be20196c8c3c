"""The model in this process, asked by several threads at once: their blocks share forward passes, as in the daemon."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from assistant.refactor.asking import Ask
from assistant.types import Caller, EditRequest, EditResult, ShouldStop
from assistant.worker import Limits, Worker
from infill.engine import Infiller

WAITING = 1_000_000
"""Nobody else asks, so nothing is refused."""
LOOK_S = 0.1
"""How often it is asked whether to stop."""


@contextmanager
def here(open_infiller: Callable[[], Infiller], batch: int) -> Iterator[Ask]:
    """``batch``: how many blocks are edited side by side."""
    worker = Worker(open_infiller, Limits(waiting=WAITING, running=batch))
    worker.start()

    async def answer(request: EditRequest, should_stop: ShouldStop) -> EditResult:
        work = asyncio.ensure_future(worker.edit(request, Caller(batch=True)))
        while not (await asyncio.wait({work}, timeout=LOOK_S))[0]:
            if should_stop():
                work.cancel()
                return EditResult((), ("cancelled",) * len(request.blocks))
        return work.result()

    def ask(request: EditRequest, should_stop: ShouldStop) -> EditResult:
        return asyncio.run(answer(request, should_stop))

    try:
        yield ask
    finally:
        worker.close()
