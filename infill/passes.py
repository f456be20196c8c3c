"""Forward passes as values that a request awaits, so that whoever drives requests may batch the passes of many.

A request is a coroutine. It awaits what the network has to compute and knows nothing of other requests; ``drive``
serves one alone, ``infill.batcher`` serves many with one pass for all of them.
"""

from collections.abc import Awaitable, Coroutine, Generator, Sequence
from typing import Any, Generic, TypeVar, cast

from torch import Tensor

from infill.types import Denoiser, State
from model.calls import Call, Denoise, Encode, Inspect, Score, Think

T = TypeVar("T")

Work = Coroutine[Call, Any, T]
"""A request under way: yields calls, is sent their results, returns a T."""


class _Asked(Generic[T]):
    """Awaiting it hands the call to whoever drives the coroutine, and gives what it sends back."""

    def __init__(self, call: Call) -> None:
        self.call = call

    def __await__(self) -> Generator[Call, T, T]:
        return (yield self.call)


def encode(ids: Sequence[int], past: State | None) -> Awaitable[State]:
    """The state of a context; ``past`` is consumed."""
    return cast(Awaitable[State], _Asked(Encode(ids, past)))


def denoise(state: State, canvas: Tensor, wanted: Tensor) -> Awaitable[Tensor]:
    """Canvas [K, N] -> logits [M, V] of the M ``wanted`` [K, N] places."""
    return _Asked(Denoise(state, canvas, wanted))


def score(state: State, tokens: Tensor) -> Awaitable[Tensor]:
    """tokens [K, N] -> log p [K, N] under the causal head."""
    return _Asked(Score(state, tokens))


def inspect(state: State, block: Sequence[int], glue: Sequence[int]) -> Awaitable[tuple[Tensor, Tensor]]:
    """block [N] -> log odds [N] of "wrong", log p [N + 1, inserts + 2] of what is missing before a token or the end."""
    return _Asked(Inspect(state, block, glue))


def think(state: State, canvas: Tensor, thoughts: Tensor | None) -> Awaitable[Tensor]:
    """Canvas [B, C] and the logits of the step before -> logits [B, C, V]."""
    return _Asked(Think(state, canvas, thoughts))


def drive(work: Work[T], denoiser: Denoiser[Any]) -> T:
    """One request alone: every call is a pass of its own."""
    result: Any = None
    while True:
        try:
            call = work.send(result)
        except StopIteration as done:
            return cast(T, done.value)
        try:
            [result] = denoiser.run([call])
        except BaseException:
            work.close()
            raise
