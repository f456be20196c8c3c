"""What front ends ask and get: plain values, nothing of ours imported.

Offsets count code points of ``text``. A request's hole is ``text[start:end]``; for a completion at the cursor the two
are equal, and nothing is replaced.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

Verdict = Literal["valid", "unchecked"]


@dataclass(frozen=True)
class CompletionRequest:
    text: str
    """The whole buffer, exactly as the editor has it (line endings and byte-order mark included)."""
    start: int
    end: int | None = None
    """End of the hole; None for a hole of no width at ``start``."""
    filename: str | None = None
    language: str | None = None
    """None: from the file's name, else unknown (answered, marked unchecked)."""
    n: int = 1
    max_tokens: int = 64
    budget_ms: float | None = None
    steps: int | None = None
    policy: str | None = None
    lengths: int | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    one_line: bool | None = None


@dataclass(frozen=True)
class Completion:
    text: str
    """Replaces ``request.text[start:end]``."""
    start: int
    end: int
    score: float
    confidence: float
    verdict: Verdict
    tokens: int
    origin: str


@dataclass(frozen=True)
class Draft:
    """The leading draft after a denoising step, for those who want to watch it sharpen."""

    index: int
    phase: str
    tokens: tuple[str | None, ...]
    """Text of each token of the hole, None where nothing is committed yet."""
    confidence: tuple[float, ...]
    """Probability of each committed token, 0 where there is none."""


@dataclass(frozen=True)
class CompletionResult:
    """No completion is a value: ``completions`` is empty and ``reason`` says why."""

    completions: tuple[Completion, ...]
    steps: int
    passes: int
    timing_ms: dict[str, float] = field(default_factory=dict[str, float])
    reason: str | None = None


ShouldStop = Callable[[], bool]
"""Asked between steps; True ends the work with what there is."""
OnDraft = Callable[[Draft], None]


class Completer(Protocol):
    """Whoever completes: the assistant in this process, or a client of a daemon."""

    def complete(
        self, request: CompletionRequest, *, should_stop: ShouldStop | None = None, on_step: OnDraft | None = None
    ) -> CompletionResult: ...
