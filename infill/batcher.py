"""Continuous batching: one forward pass for all requests that wait for one.

Requests join and leave between passes; each is a coroutine of passes (``infill.passes``) and knows nothing of the
others. The step, not the request, is the unit of scheduling (Orca, OSDI 2022). Knows no clients, queues or clocks.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar, cast

from infill.passes import Work
from infill.sampler import Cancelled, Late
from infill.types import Denoiser
from model.calls import Call, tokens

T = TypeVar("T")

MOST_TOKENS = 384
"""Token rows of one pass: beyond, a CPU gains nothing from more of them, and everybody waits for the slowest."""
BATCH_SHARE = 0.25
"""How much of a pass is for batch work while somebody waits for an answer."""
PATIENCE = 8
"""Passes after which batch work gets a turn, however large."""
WIDTHS = 256
WIDTH = 32
"""Requests that ``together`` has under way at once: each holds the keys and values of a context."""


@dataclass(eq=False)
class Task(Generic[T]):
    """One request in the batch. ``finished`` is told its result, or the exception that ended it."""

    work: Work[T]
    finished: Callable[[T | None, Exception | None], None]
    should_stop: Callable[[], bool]
    is_late: Callable[[], bool] = lambda: False
    """Whether it must answer with what it has, without another pass."""
    batch: bool = False
    """Goes behind those that somebody waits for."""
    call: Call | None = None
    """What it waits for."""


class Batcher:
    """Not for use by several threads at once: one thread owns the model, and calls everything here."""

    def __init__(self, denoiser: Denoiser[Any], *, most_tokens: int | None = None) -> None:
        """``most_tokens``: of one pass; None: what the denoiser says, else ``MOST_TOKENS``."""
        self.denoiser = denoiser
        self.most_tokens: int = getattr(denoiser, "pass_tokens", MOST_TOKENS) if most_tokens is None else most_tokens
        self.tasks: list[Task[Any]] = []
        self.widths: deque[int] = deque(maxlen=WIDTHS)
        """Requests in each of the last passes."""
        self._patience = 0

    def add(self, task: Task[Any]) -> None:
        """Starts a request: it runs up to its first pass."""
        self.tasks.append(task)
        self._resume(task, partial(task.work.send, None))

    def step(self) -> None:
        """One forward pass, and what its requests do with the results. Those that want to stop take no part."""
        self.leave()
        chosen = self.choose()
        if not chosen:
            return
        self.widths.append(len(chosen))
        try:
            results = self.denoiser.run([call for _, call in chosen])
        except ValueError as error:
            # A call that cannot be answered, and nothing was computed: it fails alone, the others do not.
            if len(chosen) == 1:
                self._throw(chosen[0][0], error)
                return
            for one in chosen:
                self._alone(*one)
            return
        except Exception as error:  # noqa: BLE001 (every request of the pass is told)
            for task, _ in chosen:
                self._throw(task, error)
            return
        for (task, _), result in zip(chosen, results, strict=True):
            self._resume(task, partial(task.work.send, result))

    def _alone(self, task: Task[Any], call: Call) -> None:
        try:
            [result] = self.denoiser.run([call])
        except Exception as error:  # noqa: BLE001 (who asked is told)
            self._throw(task, error)
        else:
            self._resume(task, partial(task.work.send, result))

    def leave(self) -> None:
        """Ends those that want to stop or are late; what they had encoded is free for others now."""
        for task in [task for task in self.tasks if task.should_stop()]:
            self._throw(task, Cancelled())
        for task in [task for task in self.tasks if task.is_late()]:
            self._throw(task, Late())

    def choose(self) -> list[tuple[Task[Any], Call]]:
        """The calls of the next pass, within its size, the oldest requests first: where there are more than can be
        served, some should be in time, and not all of them too late."""
        urgent = [task for task in self.tasks if not task.batch]
        patient = [task for task in self.tasks if task.batch]
        chosen, room = _fitting(urgent, self.most_tokens, always=True)
        room = min(room, int(BATCH_SHARE * self.most_tokens)) if urgent else room
        more, _ = _fitting(patient, room, always=not chosen or self._patience >= PATIENCE)
        self._patience = 0 if more or not patient else self._patience + 1
        return chosen + more

    def _resume(self, task: Task[Any], go: Callable[[], Call]) -> None:
        try:
            task.call = go()
        except StopIteration as done:
            self._end(task, done.value, None)
        except Exception as error:  # noqa: BLE001 (whoever asked is told)
            self._end(task, None, error)

    def _throw(self, task: Task[Any], error: Exception) -> None:
        self._resume(task, partial(task.work.throw, error))

    def _end(self, task: Task[Any], result: object, error: Exception | None) -> None:
        self.tasks.remove(task)
        task.finished(result, error)


def together(works: Sequence[Work[T]], denoiser: Denoiser[Any], *, width: int = WIDTH) -> list[T]:
    """Many requests side by side, ``width`` of them at a time; their results in order.

    Raises:
        Exception: the first that a request ended with; the others are given up.
    """
    batcher = Batcher(denoiser)
    waiting = deque(enumerate(works))
    results: dict[int, T] = {}
    failed: list[Exception] = []

    def finished(index: int, result: T | None, error: Exception | None) -> None:
        if error is not None:
            failed.append(error)
        else:
            results[index] = cast(T, result)

    while waiting or batcher.tasks:
        while waiting and len(batcher.tasks) < width:
            index, work = waiting.popleft()
            batcher.add(Task(work, partial(finished, index), should_stop=lambda: False))
        batcher.step()
        if failed:
            for work in works:
                work.close()
            raise failed[0]
    return [results[index] for index in range(len(works))]


def _fitting(tasks: Sequence[Task[Any]], room: int, *, always: bool) -> tuple[list[tuple[Task[Any], Call]], int]:
    """As many of the tasks' calls as have room, in their order, and the room that is left; ``always``: at least one."""
    chosen: list[tuple[Task[Any], Call]] = []
    for task in tasks:
        assert task.call is not None, "a task that has begun waits for a pass, or is over"
        need = tokens(task.call)
        if need <= room or (always and not chosen):
            chosen.append((task, task.call))
            room -= need
    return chosen, room
