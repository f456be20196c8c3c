"""What front ends ask and get: plain values, nothing of ours imported.

Offsets count code points of ``text``. A request's hole is ``text[start:end]``; for a completion at the cursor the two
are equal, and nothing is replaced.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

Verdict = Literal["valid", "unchecked"]
SOURCES = ("recent", "open", "definitions", "imports", "diagnostics")
"""Where a snippet comes from: recent edits, open documents, definitions of names near the cursor, what the file
imports, what other tools say is wrong near the cursor."""


@dataclass(frozen=True)
class Snippet:
    """Text from another place that may help; it has passed the gate for secrets."""

    path: str
    text: str
    source: str
    """A name in ``SOURCES``."""


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
    stop: tuple[str, ...] = ()
    """Texts before which an answer ends; what is left has passed the gate."""
    extra: tuple[Snippet, ...] = ()
    """From other places, the most useful first."""


@dataclass(frozen=True)
class Caller:
    """Who asks, where one model serves several."""

    client: str = ""
    """Clients are served in turn, however many requests each of them sends."""
    document: str | None = None
    """A newer request of the same client for the same document supersedes an older one; None: nothing is superseded."""
    batch: bool = False
    """Goes behind every request that somebody waits for."""
    request: str | None = None
    """A name by which the caller can cancel it."""


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
    chance: float = 1.0
    """Calibrated probability that it is exactly what was wanted, as measured on held-out code; 1 where unknown."""
    stopped_by: str = ""
    """The stop text before which it ended."""


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
    context_tokens: int = 0
    known_tokens: int = 0
    """How many of the context's tokens were in the cache."""


TASKS = ("fix", "modernise", "annotate", "document", "rename")
"""What an editing model can be asked to do to a block; docs/edits.md has the kinds of each."""


@dataclass(frozen=True)
class EditRequest:
    """A task to be done to blocks of one buffer; whole lines around each are what is edited."""

    text: str
    """The whole buffer, exactly as the editor has it."""
    task: str
    """A name of ``model.damage``: a group ("fix", "modernise", "annotate", "document", "rename") or a kind of one;
    nothing where there is an instruction."""
    blocks: tuple[tuple[int, int], ...]
    """Start and end of each, in order, without overlap; all of them are edited side by side."""
    filename: str | None = None
    language: str | None = None
    budget_ms: float | None = None
    instruction: str | None = None
    """In free words, for published instruct models, instead of a task."""


@dataclass(frozen=True)
class TextEdit:
    """``text[start:end]`` of the request's buffer becomes ``text``."""

    start: int
    end: int
    text: str
    block: int
    """Which of the request's blocks it is in."""
    gain: float
    """Nats by which the lines around it become likelier; 0 where no model was asked."""
    ruled: bool = False
    """Whether a rule mended a syntax error in the block."""


@dataclass(frozen=True)
class EditResult:
    """No edit is a value: a block that is right has none, and ``reasons`` says so."""

    edits: tuple[TextEdit, ...]
    """Small, in order, without overlap; with all of them the buffer parses at least as well as before."""
    reasons: tuple[str | None, ...]
    """Why a block has no edit ("right", "no gain", "no way back", "syntax", "budget", "cancelled", "long line"; from an
    instruct model "long" and "empty" too); None where it has."""
    passes: int = 0
    tokens: int = 0
    """Tokens of the blocks."""
    ms: float = 0.0


@dataclass(frozen=True)
class ModelInfo:
    """The loaded model, or the one that the next request loads."""

    name: str
    parameters: int
    context: int
    """Most tokens of context, prefix and suffix together."""
    max_hole: int
    """Tokens that are written at once."""
    vocabulary: int
    device: str
    dtype: str
    loaded: bool
    tasks: tuple[str, ...] = ()
    """Of ``TASKS``: what can be done to blocks, by it or by the model beside it."""
    own_tasks: tuple[str, ...] = ()
    """Those of them that it does itself though there is another model for edits."""
    edit_model: str | None = None
    """The name of another model that does all other edits; None where there is none beside it."""
    edit_model_loaded: bool = False
    instruct_model: str | None = None
    """The name of the model that follows instructions in free words, one of these two; None where neither does."""

    @property
    def edits(self) -> bool:
        """Whether blocks can be edited."""
        return bool(self.tasks)

    @property
    def instruct(self) -> bool:
        """Whether instructions in free words are followed."""
        return self.instruct_model is not None


Outcome = Literal["answered", "empty", "cancelled", "superseded", "failed"]


@dataclass(frozen=True)
class Finished:
    """What became of one request: for metrics and logs, so without a word of anybody's code."""

    outcome: Outcome
    reason: str | None
    language: str | None
    caller: Caller
    queue_ms: float
    """From its arrival until its first step."""
    total_ms: float
    """From its arrival until its answer."""
    steps: int = 0
    passes: int = 0
    tokens: int = 0
    """Of the answers returned."""
    context_tokens: int = 0
    known_tokens: int = 0
    verdicts: tuple[Verdict, ...] = ()
    origins: tuple[str, ...] = ()
    """Where each answer came from: "canvas", "repair", "trimmed", ..."""
    is_edit: bool = False
    """One block of an edit, not a hole."""


@dataclass(frozen=True)
class Load:
    """How busy the models are right now."""

    waiting: int
    running: int
    cached_bytes: int
    loaded: bool
    batch_width: float
    """Mean number of requests per forward pass, of the last 256 passes; 0 before the first."""
    edit_model_loaded: bool = False
    """Whether the model beside it that does edits is in memory."""


ShouldStop = Callable[[], bool]
"""Asked between steps; True ends the work with what there is."""
OnDraft = Callable[[Draft], None]


OnFinished = Callable[[Finished], None]


class Completer(Protocol):
    """Whoever completes: the assistant in this process, or a client of a daemon."""

    def complete(
        self, request: CompletionRequest, *, should_stop: ShouldStop | None = None, on_step: OnDraft | None = None
    ) -> CompletionResult: ...


class Editing(Protocol):
    """Whoever edits: the assistant in this process, or a client of a daemon."""

    def edit(self, request: EditRequest, *, should_stop: ShouldStop | None = None) -> EditResult:
        """
        Raises:
            PositionError: a block is not inside the text.
            RequestError: an unknown task, a model that was not trained to edit, or one that follows no instructions.
        """
        ...


class Serving(Protocol):
    """A completer for many at once, on an event loop: ``assistant.worker.Worker``."""

    async def complete(
        self,
        request: CompletionRequest,
        caller: Caller = Caller(),
        *,
        on_step: OnDraft | None = None,
    ) -> CompletionResult:
        """``on_step`` is called on the event loop. A cancelled call stops at the model's next step.

        Raises:
            BusyError: the queue is full; says when to ask again.
            HoneError: as ``Completer.complete``.
        """
        ...

    async def edit(self, request: EditRequest, caller: Caller = Caller()) -> EditResult:
        """All blocks side by side.

        Raises:
            BusyError, HoneError: as ``complete``.
        """
        ...

    def cancel(self, client: str, request: str) -> bool:
        """Stops a request by its name; False when there is none. It ends with the reason "cancelled"."""
        ...

    async def tokenize(self, text: str) -> list[int]: ...
    async def detokenize(self, tokens: list[int]) -> str: ...
    async def pieces(self, tokens: list[int]) -> list[bytes]:
        """The bytes of each token, which may be a part of a character."""
        ...

    async def info(self) -> ModelInfo:
        """Opens the model if nothing is known of it yet.

        Raises:
            ModelError: it cannot be opened.
        """
        ...

    def load(self) -> Load: ...
