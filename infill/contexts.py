"""Encoded contexts of the last few documents, so that a keystroke costs only its own tokens.

The network's keys and values are exact for a common beginning of two contexts (suffix first, prefix last), so the state
that shares the longest beginning with a new context is handed to the network, which keeps what is common.
"""

from collections.abc import Sequence
from typing import Generic

from infill.types import Denoiser, State

KEEP = 4
"""Documents: one being typed in, and a few that the user goes back to."""


class Contexts(Generic[State]):
    """The states, most recently used first. Not for use by several threads at once: one thread owns the model."""

    def __init__(self, denoiser: Denoiser[State]) -> None:
        self._denoiser = denoiser
        self._states: list[State] = []
        self.passes = 0
        """Forward passes so far; a state that is only shortened, or the same again, costs none."""

    def encode(self, ids: Sequence[int]) -> State:
        """The state of ``ids``, from the kept state with the longest common beginning if it shares at least half."""
        shared = [common(state.ids, ids) for state in self._states]
        best = max(range(len(shared)), key=shared.__getitem__, default=None)
        if best is None or 2 * shared[best] < len(self._states[best].ids):
            state = self._encode(ids, None)
        else:
            state = self._encode(ids, self._states.pop(best))
        self._states.insert(0, state)
        del self._states[KEEP:]
        return state

    def extend(self, ids: Sequence[int]) -> State:
        """The state of ``ids`` out of the one used last, which it replaces."""
        self._states[0] = state = self._encode(ids, self._states[0])
        return state

    def _encode(self, ids: Sequence[int], past: State | None) -> State:
        known = 0 if past is None else common(past.ids, ids)
        self.passes += known < len(ids)
        return self._denoiser.encode(ids) if past is None else self._denoiser.encode(ids, past)


def common(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the common beginning."""
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return i
    return min(len(a), len(b))
