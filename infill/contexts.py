"""Encoded contexts of the last documents, so that a keystroke costs only its own tokens.

The network's keys and values are exact for a common beginning of two contexts (suffix first, prefix last), so the state
that shares the longest beginning with a new context is handed to the network, which keeps what is common. A state
belongs to one request at a time: it is taken out, and given back when the request is over.
"""

from collections.abc import Sequence
from typing import Generic

from infill.types import State
from model.calls import common

LIMIT_BYTES = 64 * 2**20


class Contexts(Generic[State]):
    """The states that nobody uses right now, most recently used first.

    Within a limit in bytes; one is always kept, unless the limit is 0.
    """

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self.limit_bytes = limit_bytes
        self._states: list[State] = []

    def take(self, ids: Sequence[int]) -> State | None:
        """The state with the longest beginning in common with ``ids``, if it shares at least half of itself."""
        shared = [common(state.ids, ids) for state in self._states]
        best = max(range(len(shared)), key=shared.__getitem__, default=None)
        if best is None or 2 * shared[best] < len(self._states[best].ids):
            return None
        return self._states.pop(best)

    def give(self, state: State) -> None:
        """Takes a state back, and lets the least recently used ones go that the limit does not hold."""
        self._states.insert(0, state)
        while len(self._states) > bool(self.limit_bytes) and self.bytes > self.limit_bytes:
            del self._states[-1]

    def clear(self) -> None:
        self._states.clear()

    @property
    def bytes(self) -> int:
        return sum(state.nbytes for state in self._states)
