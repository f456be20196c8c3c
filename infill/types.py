"""The values that pass in and out of the engine, and the one seam to a network.

Plain frozen values; texts are ``str`` (never bytes), offsets count code points.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

import torch
from torch import Tensor

from infill.policy import POLICIES
from model.calls import Call
from model.tokenizer import Tokenizer

LEAST_TEMPERATURE = 0.001
"""Logits divided by less leave the range of a float."""

PUBLISHED_POLICY = "published"
"""The sampler that a published model's own authors use."""

Verdict = Literal["valid", "unchecked"]


@dataclass(frozen=True)
class Prompt:
    """Text with one hole: ``prefix`` | hole | ``suffix``. The whole buffer is ``prefix + suffix``."""

    prefix: str
    suffix: str = ""
    language: str | None = None
    """A name in ``infill.languages`` ("python", "tsx", ...) or None: answered, but unchecked."""
    filename: str | None = None
    extra: tuple[str, ...] = ()
    """Texts from other files that may help, the most useful first."""


@dataclass(frozen=True)
class InfillOptions:
    """What one request may choose. ``None`` means the default of the loaded model, set by measurement.

    Raises:
        ValueError: names the option, its value and what is allowed.
    """

    n: int = 1
    """How many alternatives to return at most."""
    max_tokens: int = 64
    """Longest answer in tokens; above the canvas it is written block after block."""
    steps: int | None = None
    """Denoising steps per canvas (1, 2, 4, ...)."""
    policy: str | None = None
    """A name in ``infill.policy.POLICIES``, "causal" for the causal head decoding one token at a time, or "published"
    for a published model as its authors sample it."""
    lengths: int | None = None
    """How many hole lengths are tried side by side."""
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    budget_ms: float | None = None
    """Time budget in milliseconds; when spent, the draft so far is gated and returned."""
    one_line: bool | None = None
    """True: answer ends at the line's end. None: decided from the text behind the cursor."""
    repair_rounds: int = 2
    copies: int | None = None
    """How many drafts are copied from elsewhere in the file, for the judge to compare with the model's own."""
    stop: tuple[str, ...] = ()
    """Texts before which an answer ends."""
    hole_length: int | None = None
    """The true length in tokens where it is known (evaluation): no length search."""

    def __post_init__(self) -> None:
        for name in ("n", "max_tokens", "steps", "lengths", "hole_length"):
            _require(name, value := getattr(self, name), value is None or value >= 1, "at least 1")
        _require("stop", self.stop, all(self.stop), "texts of at least one character")
        _require("copies", self.copies, self.copies is None or self.copies >= 0, "at least 0")
        _require("repair_rounds", self.repair_rounds, self.repair_rounds >= 0, "at least 0")
        drawable = self.temperature == 0 or LEAST_TEMPERATURE <= self.temperature <= 100
        _require("temperature", self.temperature, drawable, f"0, or from {LEAST_TEMPERATURE:g} to 100")
        _require("top_p", self.top_p, 0 < self.top_p <= 1, "above 0 and at most 1")
        _require("seed", self.seed, 0 <= self.seed < 1 << 63, "from 0 to 2**63 - 1")
        _require("budget_ms", self.budget_ms, self.budget_ms is None or self.budget_ms > 0, "above 0, or None")
        policies = [*POLICIES, "causal", PUBLISHED_POLICY]
        _require("policy", self.policy, self.policy is None or self.policy in policies, f"one of {', '.join(policies)}")


def _require(name: str, value: object, holds: bool, allowed: str) -> None:
    if not holds:
        raise ValueError(f"{name} must be {allowed}, not {value!r}")


@dataclass(frozen=True)
class Step:
    """What ``on_step`` is told after each denoising step: the best draft so far."""

    index: int
    ids: tuple[int, ...]
    """Token ids of the hole of the leading canvas; the mask id where nothing is committed yet."""
    confidence: tuple[float, ...]
    """Probability of each committed token when it was committed, 0 where masked."""
    phase: str
    """"draft", "judge", "repair", "causal"."""


@dataclass(frozen=True)
class Candidate:
    text: str
    """What to insert at the hole, after post-processing and the syntax gate."""
    score: float
    """The judge's calibrated score; candidates are ordered by it, best first."""
    confidence: float
    """Geometric mean of the causal head's probability per token, 0..1."""
    verdict: Verdict
    tokens: int
    origin: str
    """"canvas", "copy", "causal", "repair", "closed" or "trimmed": where it came from, for measurements."""
    chance: float = 1.0
    """Calibrated probability that it is exactly what was wanted; 1 where there is no calibration of it."""
    signs: tuple[float, ...] = ()
    """What the chance was computed from (``infill.chance``)."""
    stopped_by: str = ""
    """The stop text before which it ended."""


@dataclass(frozen=True)
class Infill:
    """The engine's answer. No candidate is a value, not an error: ``reason`` then says why."""

    candidates: tuple[Candidate, ...]
    steps: int
    """Denoising steps (forward passes of canvases) that were run."""
    passes: int
    """All forward passes: context, canvases, judge, causal."""
    timing_ms: dict[str, float] = field(default_factory=dict[str, float])
    """Milliseconds by part: "context", "draft", "causal", "judge", "repair", "gate", "total"; only what ran."""
    reason: str | None = None
    """Why there is no candidate: "cancelled", "budget", "empty", "syntax", ..."""
    context_tokens: int = 0
    known_tokens: int = 0
    """How many of them were encoded already."""


ShouldStop = Callable[[], bool]
OnStep = Callable[[Step], None]


class ContextState(Protocol):
    """Keys and values of an encoded context; owned by whoever got it from ``Denoiser.encode``."""

    @property
    def ids(self) -> tuple[int, ...]: ...
    @property
    def nbytes(self) -> int:
        """Memory that it holds on the device."""
        ...


State = TypeVar("State", bound=ContextState)
State_contra = TypeVar("State_contra", bound=ContextState, contravariant=True)


class Denoiser(Protocol[State_contra]):
    """The seam between engine and network: encode the context; given canvas ids, return logits.

    K canvases share one context. N is the width of the widest canvas; shorter rows are filled up with
    ``tokenizer.pad``, which nothing attends to. A row is hole tokens (``tokenizer.mask`` where open) followed by glue.
    """

    @property
    def tokenizer(self) -> Tokenizer: ...
    @property
    def device(self) -> torch.device:
        """Where canvases are built and logits arrive."""
        ...

    @property
    def context(self) -> int:
        """Most context tokens ``encode`` takes."""
        ...

    @property
    def max_hole(self) -> int: ...
    @property
    def glue(self) -> int: ...
    @property
    def inserts(self) -> int:
        """Most tokens that an edit inserts at one place; 0: it cannot edit."""
        ...

    def run(self, calls: Sequence[Call]) -> list[Any]:
        """All calls in one forward pass, answered in their order: states for ``Encode`` (whose ``past`` is consumed),
        logits [M, V] (float32) for ``Denoise``, log p [K, N] for ``Score``, two tensors for ``Inspect`` (see
        ``model.calls``)."""
        ...

    def next_logits(self, state: State_contra) -> Tensor:
        """Causal head: logits [V] of the token that follows the context."""
        ...

    def last_logits(self, state: State_contra, count: int) -> Tensor:
        """Causal head: logits [count, V] of the last ``count`` context tokens, each after those before it."""
        ...

    def length_logprobs(self, state: State_contra, *, line: bool = False) -> Tensor:
        """log p(length) [max_hole + 2]: index L for L hole tokens up to where the suffix begins
        (``line``: up to the end of the line), the last index for "longer than max_hole"."""
        ...
