"""``hone eval --context``: what texts from other files are worth, one source at a time, all together and none.

Every task is answered with nothing from elsewhere first, and then with what each source finds for it; the differences
are between answers to the same task. Their intervals come from drawing files anew, for holes of one file are alike.
"""

import json
import random
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, median
from typing import Any

from rapidfuzz.distance import Levenshtein
from rich.console import Console
from rich.progress import track
from rich.table import Table

from infill.engine import Infiller
from infill.evaluate import EvalOptions, files_of, tasks_of
from infill.judge import Calibration
from infill.systems import prompt_of
from infill.tasks import Task
from infill.trial import conditions, load
from infill.types import InfillOptions, Prompt
from infill.workspaces import Elsewhere, Workspaces
from model.checkpoint import DEFAULT_WEIGHTS

NONE, ALL, ON = "none", "all together", "those that are on"
DRAWS = 2000


@dataclass(frozen=True)
class Tried:
    """One task answered with one source's texts."""

    source: str
    kind: str
    task: str
    file: str
    exact: bool
    similarity: float
    ms: float
    """With the context at hand: texts from other files are no part of it."""
    find_ms: float
    """To find the texts."""
    texts: int
    characters: int
    changed: bool
    """Whether the answer is another one than without."""


@dataclass(frozen=True)
class Interval:
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Worth:
    """What a source is worth for one kind of hole."""

    source: str
    kind: str
    n: int
    found: float
    """Share of the tasks for which it finds something."""
    characters: float
    """Mean, where it does."""
    changed: float
    exact: float
    similarity: float
    ms: float
    find_ms: float
    exact_gain: Interval
    """Against none, of all tasks, with 95 %."""
    similarity_gain: Interval


def run(options: EvalOptions, elsewhere: Elsewhere | None) -> int:
    """Raises: ValueError where there is nobody who finds texts."""
    if elsewhere is None:
        raise ValueError("--context needs somebody who looks for texts in other files: ask `hone eval --context`")
    denoiser = load(options)
    infiller = Infiller(denoiser, calibration=Calibration.load(options.model or DEFAULT_WEIGHTS))
    made = tasks_of(options, lambda text: len(denoiser.tokenizer.encode(text)), denoiser.max_hole)
    tasks = [task for kind in made.values() for task in kind]
    tried: list[Tried] = []
    with Workspaces(files_of(options), elsewhere) as workspaces:
        for task in track(tasks, "asking", console=Console(stderr=True)):
            tried += ask(infiller, task, workspaces, elsewhere, one_line=options.one_line)
    rows = list(worth(tried))
    if options.json:
        value: dict[str, Any] = {**conditions(denoiser), "n": options.n, "rows": [asdict(row) for row in rows]}
        sys.stdout.write(json.dumps(value) + "\n")
    else:
        show(rows)
    return 0


def choices(elsewhere: Elsewhere) -> dict[str, tuple[str, ...]]:
    """What is tried, by name."""
    alone = {source: (source,) for source in elsewhere.sources}
    together = {ALL: elsewhere.sources}
    if set(elsewhere.default) != set(elsewhere.sources) and len(elsewhere.default) > 1:
        together[ON] = elsewhere.default
    return {NONE: (), **alone, **together}


def ask(
    infiller: Infiller, task: Task, workspaces: Workspaces, elsewhere: Elsewhere, *, one_line: bool
) -> Iterator[Tried]:
    options = InfillOptions(one_line=(task.one_line and one_line) or None)
    prompt = prompt_of(task)
    answered: dict[tuple[str, ...], tuple[str, float]] = {}
    for name, sources in choices(elsewhere).items():
        began = time.perf_counter()
        texts = workspaces.texts(task, sources) if sources else ()
        find_ms = 1000 * (time.perf_counter() - began)
        if texts not in answered:
            extra = Prompt(prompt.prefix, prompt.suffix, prompt.language, prompt.filename, texts)
            found = infiller.fill(extra, options)
            text = found.candidates[0].text if found.candidates else ""
            answered[texts] = text, found.timing_ms["total"] - found.timing_ms.get("context", 0.0)
        text, ms = answered[texts]
        yield Tried(
            name, task.kind, task.name, f"{task.package}/{task.path}", text == task.middle,
            Levenshtein.normalized_similarity(text, task.middle), ms, find_ms, len(texts),
            sum(map(len, texts)), text != answered[()][0],
        )  # fmt: skip


def worth(tried: Sequence[Tried]) -> Iterator[Worth]:
    """One row per kind and source, in the order in which they were tried."""
    groups: dict[tuple[str, str], list[Tried]] = defaultdict(list)
    for one in tried:
        groups[one.kind, one.source].append(one)
    for (kind, source), rows in groups.items():
        without = {one.task: one for one in groups[kind, NONE]}
        pairs = [(one, without[one.task]) for one in rows]
        used = [one for one in rows if one.texts]
        yield Worth(
            source,
            kind,
            len(rows),
            len(used) / len(rows),
            fmean(one.characters for one in used) if used else 0.0,
            fmean(one.changed for one in rows),
            fmean(one.exact for one in rows),
            fmean(one.similarity for one in rows),
            median(one.ms for one in rows),
            median(one.find_ms for one in rows),
            gain([(a.file, a.exact - b.exact) for a, b in pairs]),
            gain([(a.file, a.similarity - b.similarity) for a, b in pairs]),
        )


def gain(differences: Sequence[tuple[str, float]], seed: int = 0) -> Interval:
    """The mean difference, and between what 95 % of its values lie when files are drawn anew (bootstrap)."""
    files: dict[str, list[float]] = defaultdict(list)
    for file, difference in differences:
        files[file].append(difference)
    sums = [(sum(values), len(values)) for values in files.values()]
    rng = random.Random(seed)
    means = []
    for _ in range(DRAWS):
        drawn = rng.choices(sums, k=len(sums))
        means.append(sum(total for total, _ in drawn) / sum(count for _, count in drawn))
    means.sort()
    cut = round(0.025 * DRAWS)
    return Interval(fmean(value for _, value in differences), means[cut], means[-1 - cut])


def show(rows: Sequence[Worth]) -> None:
    console = Console(width=None if sys.stdout.isatty() else 150)
    for kind in dict.fromkeys(row.kind for row in rows):
        of_kind = [row for row in rows if row.kind == kind]
        table = Table(title=f"{kind} (n = {of_kind[0].n})", title_justify="left")
        for name in ("source", "found %", "characters", "changed %", "exact %", "gain, points", "similarity %",
                     "gain, points", "ms", "find ms"):  # fmt: skip
            table.add_column(name, justify="left" if name == "source" else "right")
        for row in of_kind:
            table.add_row(
                row.source,
                f"{100 * row.found:.0f}",
                f"{row.characters:.0f}",
                f"{100 * row.changed:.1f}",
                f"{100 * row.exact:.1f}",
                _interval(row.exact_gain),
                f"{100 * row.similarity:.1f}",
                _interval(row.similarity_gain),
                f"{row.ms:.0f}",
                f"{row.find_ms:.1f}",
            )
        console.print(table)


def _interval(one: Interval) -> str:
    return f"{100 * one.value:+.1f} ({100 * one.low:+.1f} to {100 * one.high:+.1f})"
