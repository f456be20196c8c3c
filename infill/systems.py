"""Who is asked: the engine at each setting, the causal head of the same weights, and copying. All see the same task.

Every system is a function from a task to an ``Answer``. What the engine measures itself (steps, passes, milliseconds)
is taken from its own report; the time to encode the context is kept apart, for it is not paid on most keystrokes.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from infill.copying import copied, copied_tokens
from infill.engine import Gate
from infill.metrics import Answer
from infill.policy import POLICIES
from infill.syntax import SyntaxGate
from infill.tasks import Task
from infill.types import Infill, InfillOptions, Prompt

DEFAULT = "hone"
NO_COPIES = "hone, no copies"
TRUE_LENGTH = "hone, true length"
CAUSAL = "causal"
COPY = "copy"
COPY_NEAR = "copy, near"
COPY_TOKENS = "copy, tokens"
NEAR = 2000
"""Characters on both sides that "copy, near" sees: about the text that fits a context of 512 tokens."""
STEPS = (1, 2, 4, 8, 16)


class Filler(Protocol):
    """The engine as far as measuring needs it."""

    def fill(self, prompt: Prompt, options: InfillOptions = ...) -> Infill: ...


@dataclass(frozen=True)
class System:
    name: str
    policy: str | None = None
    """A policy's name, "causal", "copy", "copy tokens", or None for the engine's default."""
    steps: int | None = None
    true_length: bool = False
    family: str = ""
    """Systems that differ in steps only share a line of the plot."""
    copies: int | None = None
    """0: the engine may not copy."""
    near: int | None = None
    """Characters on both sides that are shown; None for all."""


def systems(policies: Sequence[str], steps: Sequence[int], *, true_length: str = "default") -> list[System]:
    """The rows of the table. true_length: "default" (for the first policy), "all" or "none".

    Raises: ValueError for a policy that does not exist.
    """
    unknown = [name for name in policies if name not in POLICIES]
    if unknown:
        raise ValueError(f"unknown policy {unknown[0]!r}; there are {', '.join(POLICIES)}")
    rows = baselines()
    for place, policy in enumerate(policies):
        told = true_length == "all" or (true_length == "default" and place == 0)
        for count in steps:
            rows.append(System(f"{policy} {count}", policy, count, family=policy, copies=0))
            if told:
                family = f"{policy}, true length"
                rows.append(System(f"{policy} {count}, true length", policy, count, true_length=True, family=family))
    return rows


def baselines() -> list[System]:
    """The default settings and what they are held against."""
    return [
        System(DEFAULT, family=DEFAULT),
        System(NO_COPIES, family=NO_COPIES, copies=0),
        System(TRUE_LENGTH, true_length=True, family=TRUE_LENGTH),
        System(CAUSAL, "causal", family=CAUSAL),
        System(COPY, "copy", family=COPY),
        System(COPY_NEAR, "copy", family=COPY_NEAR, near=NEAR),
        System(COPY_TOKENS, "copy tokens", family=COPY_TOKENS),
    ]


@dataclass(frozen=True)
class Asker:
    """Puts tasks to systems.

    filler: the engine; recorder: the gate it was built with, where the text before the gate is to be measured;
    encode, decode: the model's tokenizer; max_tokens: longest answer.
    """

    filler: Filler
    encode: Callable[[str], list[int]]
    decode: Callable[[list[int]], str]
    max_tokens: int
    recorder: "Recorder | None" = None
    one_line: bool = True
    """Tell one-line kinds to the engine. False: it decides from the text, as for an editor that does not say."""

    def count(self, text: str) -> int:
        """Tokens of a text."""
        return len(self.encode(text))

    def ask(self, system: System, task: Task) -> Answer:
        if system.policy in ("copy", "copy tokens"):
            return self._copy(system, task)
        if self.recorder is not None:
            self.recorder.first = None
        found = self.filler.fill(prompt_of(task), self.options(system, task))
        return answer(found, None if self.recorder is None else self.recorder.first)

    def options(self, system: System, task: Task) -> InfillOptions:
        """Equal for all systems but for what the system is about."""
        chosen: dict[str, Any] = {"max_tokens": self.max_tokens, "one_line": (task.one_line and self.one_line) or None}
        if system.policy is not None:
            chosen["policy"] = system.policy
        if system.steps is not None:
            chosen["steps"] = system.steps
        if system.copies is not None:
            chosen["copies"] = system.copies
        if system.true_length:
            chosen["hole_length"] = self.count(task.middle)
        return InfillOptions(**chosen)

    def _copy(self, system: System, task: Task) -> Answer:
        prefix, suffix = task.prefix, task.suffix
        if system.near is not None:
            prefix, suffix = prefix[-system.near :], suffix[: system.near]
        started = time.perf_counter()
        if system.policy == "copy":
            text = copied(prefix, suffix, task.kind)
        else:
            text = copied_tokens(prefix, suffix, task.kind, self.encode, self.decode)
        return Answer(text, tokens=self.count(text), ms=1000 * (time.perf_counter() - started), origin="copy")


class Recorder:
    """The engine's gate, which remembers the first text it was asked about: the best draft before the gate."""

    def __init__(self, gate: Callable[[str, str, str | None], Gate] = SyntaxGate) -> None:
        self.first: str | None = None
        self._gate = gate

    def __call__(self, prefix: str, suffix: str, language: str | None) -> "Recorded":
        return Recorded(self._gate(prefix, suffix, language), self)


@dataclass(frozen=True)
class Recorded:
    """One buffer's gate, listened to."""

    inner: Gate
    recorder: Recorder

    @property
    def checked(self) -> bool:
        return self.inner.checked

    @property
    def can_be_clean(self) -> bool:
        return self.inner.can_be_clean

    def accepts(self, middle: str, *, clean: bool = False) -> bool:
        if self.recorder.first is None:
            self.recorder.first = middle
        return self.inner.accepts(middle, clean=clean)

    def errors(self, middle: str, *, clean: bool = False) -> list[tuple[int, int]]:
        return self.inner.errors(middle, clean=clean)

    def longest_valid(self, middle: str, *, clean: bool = False) -> str:
        return self.inner.longest_valid(middle, clean=clean)

    def closed(self, middle: str) -> str:
        return self.inner.closed(middle)


def prompt_of(task: Task) -> Prompt:
    return Prompt(task.prefix, task.suffix, language="python", filename=task.path)


def answer(found: Infill, raw: str | None = None) -> Answer:
    """The engine's report as an answer."""
    context = found.timing_ms.get("context", 0.0)
    leading = found.candidates[0] if found.candidates else None
    return Answer(
        text=leading.text if leading else "",
        raw=raw,
        tokens=leading.tokens if leading else 0,
        steps=found.steps,
        passes=found.passes,
        ms=found.timing_ms.get("total", 0.0) - context,
        context_ms=context,
        origin=leading.origin if leading else "",
        reason=found.reason,
    )
