"""What one answer is worth, and what many of them are worth together. Pure arithmetic on plain values.

Rates and similarities lie in 0..1, times are milliseconds. A standard error is that of a mean over independent tasks,
sd / sqrt(n), which for a rate is the binomial one; tasks of one package are a little alike, so it is a lower bound.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from rapidfuzz.distance import Levenshtein

from infill.tasks import Task, errors, parses


@dataclass(frozen=True)
class Answer:
    """What a system said to a task."""

    text: str
    raw: str | None = None
    """The text before the syntax gate; None for a system that has no gate, or could not tell."""
    tokens: int = 0
    steps: int = 0
    passes: int = 0
    ms: float = 0.0
    """Time with the context's keys and values at hand, as while typing."""
    context_ms: float = 0.0
    """Time to encode the context, not part of ``ms``."""
    origin: str = ""
    reason: str | None = None


@dataclass(frozen=True)
class Outcome:
    """One answer, judged. Flat, so that it is one line of JSON."""

    system: str
    kind: str
    task: str
    package: str
    prose: bool
    text: str
    exact: bool
    exact_stripped: bool
    """Exact but for white space at the end."""
    first_line: bool
    similarity: float
    empty: bool
    valid: bool
    """The whole file with the answer in place parses. An empty answer leaves the file as it was and is not counted."""
    kept: bool
    """The gate's promise, checked without it: the file has no more errors than before. A bracket that stood open before
    the cursor may stay open, so this can hold where ``valid`` does not."""
    valid_raw: bool | None
    """The same for what the model said before the gate."""
    length_error: int
    """Tokens of the answer minus tokens of the middle."""
    steps: int
    passes: int
    ms: float
    context_ms: float
    origin: str
    reason: str | None
    passed: bool | None = None
    """The program ran through its test; None where there is no test."""


@dataclass(frozen=True)
class Mean:
    value: float
    error: float
    """Standard error; 0 for a single task."""
    n: int

    def to_dict(self) -> dict[str, float]:
        return {"value": self.value, "error": self.error, "n": self.n}


RATES = ("exact", "exact_stripped", "first_line", "similarity", "valid_raw", "valid", "kept", "empty", "passed")


@dataclass(frozen=True)
class Summary:
    system: str
    kind: str
    n: int
    means: Mapping[str, Mean]
    """Of each name in ``RATES`` that was measured."""
    length_error: float
    """Mean absolute difference in tokens, of answers that are not empty."""
    length_exact: float
    """Share of those with the right number of tokens."""
    ms_median: float
    ms_p90: float
    steps: float
    passes: float

    def to_dict(self) -> dict[str, object]:
        numbers = {name: mean.to_dict() for name, mean in self.means.items()}
        rest = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "means"}
        return rest | numbers


def judge(system: str, task: Task, answer: Answer, gold_tokens: int, *, passed: bool | None = None) -> Outcome:
    """Compare an answer with what a person wrote, and parse the file with the answer in place."""
    gold, text = task.middle, answer.text
    valid = parses(task.filled(text))
    if answer.raw is None or not answer.raw:
        valid_raw = None
    else:
        valid_raw = valid if answer.raw == text else parses(task.filled(answer.raw))
    return Outcome(
        system=system,
        kind=task.kind,
        task=task.name,
        package=task.package,
        prose=task.prose,
        text=text,
        exact=text == gold,
        exact_stripped=text.rstrip() == gold.rstrip(),
        first_line=first_line(text) == first_line(gold),
        similarity=Levenshtein.normalized_similarity(text, gold),
        empty=not text,
        valid=valid,
        kept=valid or errors(task.filled(text)) <= errors(task.filled("")),
        valid_raw=valid_raw,
        length_error=answer.tokens - gold_tokens,
        steps=answer.steps,
        passes=answer.passes,
        ms=answer.ms,
        context_ms=answer.context_ms,
        origin=answer.origin,
        reason=answer.reason,
        passed=passed,
    )


def first_line(text: str) -> str:
    """The first line that is not blank, without white space at its end."""
    return next((line.rstrip() for line in text.splitlines() if line.strip()), "")


def summarise(outcomes: Sequence[Outcome]) -> Summary:
    """The numbers of one cell: outcomes of one system on one kind. Raises: ValueError when there are none."""
    if not outcomes:
        raise ValueError("nothing to summarise")
    given = [outcome for outcome in outcomes if not outcome.empty]
    values: dict[str, list[float]] = {
        name: [float(getattr(outcome, name)) for outcome in outcomes if getattr(outcome, name) is not None]
        for name in RATES
    }
    for name in ("valid", "kept"):
        values[name] = [float(getattr(outcome, name)) for outcome in given]
    times = [outcome.ms for outcome in outcomes]
    return Summary(
        system=outcomes[0].system,
        kind=outcomes[0].kind,
        n=len(outcomes),
        means={name: mean(found) for name, found in values.items() if found},
        length_error=fmean(abs(outcome.length_error) for outcome in given) if given else math.nan,
        length_exact=fmean(outcome.length_error == 0 for outcome in given) if given else math.nan,
        ms_median=median(times),
        ms_p90=quantile(times, 0.9),
        steps=fmean(outcome.steps for outcome in outcomes),
        passes=fmean(outcome.passes for outcome in outcomes),
    )


def compare(ours: Iterable[Outcome], theirs: Iterable[Outcome], name: str = "exact") -> Mean:
    """Mean difference ours - theirs over the tasks that both answered, with the error of a paired comparison."""
    other = {outcome.task: float(getattr(outcome, name)) for outcome in theirs}
    return mean([float(getattr(mine, name)) - other[mine.task] for mine in ours if mine.task in other])


def mean(values: Sequence[float]) -> Mean:
    """Raises: ValueError when there are no values."""
    if not values:
        raise ValueError("no values")
    centre = fmean(values)
    spread = math.fsum((value - centre) ** 2 for value in values)
    error = math.sqrt(spread / (len(values) - 1) / len(values)) if len(values) > 1 else 0.0
    return Mean(centre, error, len(values))


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that is not below the given share of all values."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
