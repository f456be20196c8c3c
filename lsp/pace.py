"""How long to wait for the next key, and how much time a request gets, from how long answers take."""

from dataclasses import dataclass

SHARE = 0.3
"""Of the newest measurement in a mean."""
BURST_S = 0.4
"""Requests closer together than this come from somebody who is typing on."""


@dataclass
class Pace:
    latency_ms: float = 0.0
    """Mean time from asking the daemon to having its answer; 0 before the first."""
    overhead_ms: float = 0.0
    """The part of it that is not the model's work: the way there and back, and the queue."""
    _last: float = float("-inf")

    def measured(self, total_ms: float, model_ms: float) -> None:
        first = self.latency_ms == 0
        self.latency_ms = _mean(self.latency_ms, total_ms, first)
        self.overhead_ms = _mean(self.overhead_ms, max(total_ms - model_ms, 0.0), first)

    def debounce_ms(self, now: float, most_ms: float) -> float:
        """The wait before a request at ``now`` (in seconds): none for the first key, else a part of what an answer
        takes. Where that is 30 ms nothing is saved by waiting; where it is a second, a request that the next key makes
        void costs the answer to that key a second.
        """
        typing = now - self._last < BURST_S
        self._last = now
        return min(self.latency_ms / 3, most_ms) if typing else 0.0

    def budget_ms(self, wanted_ms: float, waited_ms: float) -> float:
        """What the model gets, so that the answer is there ``wanted_ms`` after the request."""
        return max(wanted_ms - waited_ms - self.overhead_ms, wanted_ms / 4, 1.0)


def _mean(old: float, new: float, first: bool) -> float:
    return new if first else (1 - SHARE) * old + SHARE * new
