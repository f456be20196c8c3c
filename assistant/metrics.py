"""What the server has done, for Prometheus and for ``hone doctor``: numbers and names of ours, nobody's code."""

import threading
from collections import Counter as Tally
from collections import deque

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from assistant.types import Finished, Serving
from infill.languages import LANGUAGES

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
REMEMBERED = 50
"""Empty answers that ``hone doctor`` can ask about."""
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 2, 5, 15, 60)
STEPS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128)
SPEEDS = (5, 10, 25, 50, 100, 200, 400, 800, 1600, 3200, 6400)
KNOWN_LANGUAGES = frozenset(language.name for language in LANGUAGES)


class Metrics:
    """Give ``finished`` to the worker: it may be called on any thread."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._lock = threading.Lock()
        self._reasons: deque[str] = deque(maxlen=REMEMBERED)
        one = self.registry
        ProcessCollector(registry=one)
        self._requests = Counter("hone_requests", "HTTP requests answered", ["route", "status"], registry=one)
        self._outcomes = Counter("hone_completions", "Completions asked for", ["outcome", "language"], registry=one)
        self._edits = Counter("hone_edits", "Blocks asked to be edited", ["outcome", "language"], registry=one)
        self._empties = Counter("hone_empty", "Answers without a completion", ["reason"], registry=one)
        self._steps = Histogram("hone_steps", "Denoising steps per answer", buckets=STEPS, registry=one)
        self._passes = Counter("hone_passes", "Forward passes of the model", registry=one)
        self._tokens = Counter("hone_tokens", "Tokens in the completions returned", registry=one)
        self._speed = Histogram("hone_tokens_per_second", "Speed of each answer", buckets=SPEEDS, registry=one)
        self._queue = Histogram("hone_queue_seconds", "From arrival to the first step", buckets=SECONDS, registry=one)
        self._answer = Histogram("hone_answer_seconds", "From arrival to the answer", buckets=SECONDS, registry=one)
        self._context = Counter("hone_context_tokens", "Tokens of context asked about", registry=one)
        self._known = Counter("hone_context_tokens_cached", "Tokens of context found in the cache", registry=one)
        self._verdicts = Counter("hone_verdicts", "What the syntax gate said", ["verdict"], registry=one)
        self._origins = Counter("hone_origins", "Where completions came from", ["origin"], registry=one)

    def watch(self, serving: Serving) -> None:
        """Shows how busy a worker is at the moment somebody looks."""
        gauge = Gauge("hone_waiting", "Requests in the queue", registry=self.registry)
        gauge.set_function(lambda: serving.load().waiting)
        gauge = Gauge("hone_running", "Requests whose steps are being taken", registry=self.registry)
        gauge.set_function(lambda: serving.load().running)
        gauge = Gauge("hone_cached_bytes", "Keys and values of encoded contexts", registry=self.registry)
        gauge.set_function(lambda: serving.load().cached_bytes)
        gauge = Gauge("hone_model_loaded", "1 while the model is in memory", registry=self.registry)
        gauge.set_function(lambda: serving.load().loaded)
        gauge = Gauge("hone_edit_model_loaded", "1 while another model for edits is in memory", registry=self.registry)
        gauge.set_function(lambda: serving.load().edit_model_loaded)
        gauge = Gauge("hone_batch_width", "Requests per forward pass, of the last passes", registry=self.registry)
        gauge.set_function(lambda: serving.load().batch_width)

    def answered(self, route: str, status: int) -> None:
        """One HTTP request. ``route`` is a route's pattern, never the path that was sent."""
        self._requests.labels(route, str(status)).inc()

    def finished(self, finished: Finished) -> None:
        """What became of one completion, or of one block of an edit."""
        language = known_language(finished.language)
        if finished.is_edit:
            self._edits.labels(finished.outcome, language).inc()
            self._passes.inc(finished.passes)
            return
        self._outcomes.labels(finished.outcome, language).inc()
        self._queue.observe(finished.queue_ms / 1000)
        self._answer.observe(finished.total_ms / 1000)
        self._passes.inc(finished.passes)
        self._context.inc(finished.context_tokens)
        self._known.inc(finished.known_tokens)
        for verdict in finished.verdicts:
            self._verdicts.labels(verdict).inc()
        for origin in finished.origins:
            self._origins.labels(origin).inc()
        if finished.outcome == "answered":
            self._tokens.inc(finished.tokens)
            self._steps.observe(finished.steps)
            worked_ms = finished.total_ms - finished.queue_ms
            if worked_ms > 0:
                self._speed.observe(1000 * finished.tokens / worked_ms)
        elif finished.outcome in ("empty", "failed"):  # who cancels or types on is not waiting for an explanation
            reason = finished.reason or finished.outcome
            self._empties.labels(reason).inc()
            with self._lock:
                self._reasons.append(reason)

    def empty_by_reason(self) -> dict[str, int]:
        """Of the last answers without a completion."""
        with self._lock:
            return dict(Tally(self._reasons))

    def text(self) -> bytes:
        """All of it as Prometheus reads it."""
        return generate_latest(self.registry)


def known_language(name: str | None) -> str:
    """A language of ours; whatever else a client calls its language must not become a time series."""
    if name is None:
        return "none"
    return name if name in KNOWN_LANGUAGES else "other"
