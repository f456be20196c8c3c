"""Every system answers every task, in one interleaved run that survives being stopped.

The order is task by task, all systems on each, and kinds in turn: what else the machine does disturbs all alike, and a
run stopped half-way has half of the tasks of every cell.
"""

import json
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any, Protocol

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from infill import report
from infill.engine import Infiller
from infill.evaluate import STEPS, EvalOptions, bench_tasks, tasks_of
from infill.inplace import InPlace, in_place
from infill.journal import Journal
from infill.judge import Calibration
from infill.metrics import Answer, judge
from infill.policy import JUDGED, POLICIES
from infill.sandbox import run_program
from infill.systems import CAUSAL, Asker, Recorder, System, baselines, systems
from infill.tasks import Task
from infill.types import Denoiser
from model.checkpoint import DEFAULT_WEIGHTS, CheckpointError, load_denoiser
from model.denoiser import NetworkDenoiser
from model.published.denoiser import Published
from model.published.kind import is_published
from model.published.load import open_published

TEST_SECONDS = 5
LONGEST = 64
"""Tokens of a middle, at most, where nobody says otherwise."""


class Asks(Protocol):
    """Puts a task to a system; ``infill.systems.Asker``."""

    def count(self, text: str) -> int: ...
    def ask(self, system: System, task: Task) -> Answer: ...


@dataclass(frozen=True)
class Cell:
    """Tasks and the systems that answer them."""

    tasks: Sequence[Task]
    systems: Sequence[System]


def run(options: EvalOptions) -> int:
    """``hone eval``: load, ask, print. Returns the exit code; see ``infill.evaluate.run`` for what it raises."""
    log = Console(stderr=True)
    denoiser = load_any(options)
    asker = make_asker(denoiser, options)
    longest = min(denoiser.max_hole, LONGEST)
    cells = make_cells(options, asker.count, longest, in_place=isinstance(denoiser, Published))
    journal = Journal(options.resume, settings(options))
    first = cells[0]
    asker.ask(first.systems[0], first.tasks[0])  # The first pass builds what all later ones reuse.
    finished = watch(asker, cells, journal, log)
    if journal.outcomes:
        show(options, cells, journal, conditions(denoiser))
    return 0 if finished else 130


def load_any(options: EvalOptions) -> NetworkDenoiser | Published:
    """Our own model, or a published one. Raises: ValueError when the folder is neither, and says why."""
    if options.model is None or not is_published(options.model):
        return load(options)
    try:
        return open_published(options.model, device=options.device, dtype=options.dtype)
    except CheckpointError as error:
        raise ValueError(str(error)) from error


def load(options: EvalOptions) -> NetworkDenoiser:
    """Raises: ValueError when the folder is no model of ours, and says why."""
    try:
        return load_denoiser(options.model, device=options.device, dtype=options.dtype)
    except CheckpointError as error:
        raise ValueError(str(error)) from error


def make_asker(denoiser: Denoiser[Any], options: EvalOptions) -> Asker:
    tokenizer = denoiser.tokenizer
    recorder = Recorder()
    folder = options.model or DEFAULT_WEIGHTS
    if isinstance(denoiser, Published):
        filler = Infiller(denoiser, calibration=in_place(folder), gate=recorder, requests=InPlace)
    else:
        filler = Infiller(denoiser, calibration=Calibration.load(folder), gate=recorder)
    return Asker(
        filler=filler,
        recorder=recorder,
        encode=tokenizer.encode,
        decode=tokenizer.decode,
        max_tokens=denoiser.max_hole,
        one_line=options.one_line,
    )


def make_cells(
    options: EvalOptions, count: Callable[[str], int], longest: int, *, in_place: bool = False
) -> list[Cell]:
    """Every system on the held-out tasks; the default and its baselines where programs are run. ``in_place``: those
    that need no causal head."""
    named = options.policies or [name for name in POLICIES if not in_place or name not in JUDGED]
    rows = systems(named, options.steps or STEPS, true_length=options.true_length)
    simple = baselines()
    if in_place:
        rows, simple = ([row for row in each if row.policy != CAUSAL] for each in (rows, simple))
    held_out = [Cell(tasks, rows) for tasks in tasks_of(options, count, longest).values()]
    return held_out + [Cell(tasks, simple) for tasks in bench_tasks(options).values()]


def settings(options: EvalOptions) -> dict[str, Any]:
    """What two runs must share to share a journal: with the same settings, equal task names are equal tasks."""
    where = options.source or options.data / options.split
    return {"model": str(options.model or "embedded"), "where": str(where), "one_line": options.one_line}


def conditions(denoiser: NetworkDenoiser | Published) -> dict[str, Any]:
    return {
        "device": str(denoiser.device),
        "dtype": str(denoiser.dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def watch(asker: Asks, cells: Sequence[Cell], journal: Journal, log: Console) -> bool:
    """Run to the end with a bar and an estimate; False when the user stopped it, and what was answered is kept."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("left"), TimeRemainingColumn(), console=log) as bar:
        line = bar.add_task("asking", total=None)
        try:
            for done, total in run_trial(asker, cells, journal):
                bar.update(line, completed=done, total=total)
        except KeyboardInterrupt:
            log.print("stopped: what follows is about the answers so far")
            return False
    return True


def show(options: EvalOptions, cells: Sequence[Cell], journal: Journal, facts: dict[str, Any]) -> None:
    """The result on stdout, as JSON or as tables, and the picture where one was asked for."""
    asked = {(system.name, task.name) for cell in cells for system in cell.systems for task in cell.tasks}
    outcomes = [outcome for outcome in journal.outcomes if (outcome.system, outcome.task) in asked]
    every, code_only = report.cells(outcomes), report.cells(outcomes, code_only=True)
    against = report.held_against(outcomes)
    if options.json:
        value = {
            **settings(options), **facts, "seed": options.seed,
            "cells": [summary.to_dict() for summary in every],
            "code_only": [summary.to_dict() for summary in code_only],
            "held_against": against,
        }  # fmt: skip
        sys.stdout.write(json.dumps(value) + "\n")
    else:
        console = Console(width=None if sys.stdout.isatty() else 180)
        for kind in dict.fromkeys(summary.kind for summary in every):
            console.print(report.table(kind, every))
            if any(outcome.prose for outcome in outcomes if outcome.kind == kind):
                console.print(report.table(kind, code_only, note=", without comments and docstrings"))
        console.print(report.against_table(against))
    if options.plot is not None:
        title = f"Quality against time: {settings(options)['model']}, {facts['device']} {facts['dtype']}"
        report.plot(options.plot, every, [system for cell in cells for system in cell.systems], title=title)


def questions(cells: Sequence[Cell]) -> list[tuple[System, Task]]:
    """All questions in the order in which they are asked."""
    turns = [[[(system, task) for system in cell.systems] for task in cell.tasks] for cell in cells]
    in_turn = chain.from_iterable(zip_longest(*turns, fillvalue=[]))
    return list(chain.from_iterable(in_turn))


def run_trial(asker: Asks, cells: Sequence[Cell], journal: Journal) -> Iterator[tuple[int, int]]:
    """Ask what the journal does not hold yet. Yields (questions answered, questions in all) after each answer."""
    waiting = questions(cells)
    total, done = len(waiting), journal.done
    waiting = [(system, task) for system, task in waiting if (system.name, task.name) not in done]
    tested: dict[tuple[str, str], bool] = {}
    for i, (system, task) in enumerate(waiting):
        answer = asker.ask(system, task)
        passed = None
        if task.test is not None:
            key = (task.name, answer.text)
            if key not in tested:
                tested[key] = run_program(task.filled(answer.text) + task.test, seconds=TEST_SECONDS).passed
            passed = tested[key]
        journal.add(judge(system.name, task, answer, asker.count(task.middle), passed=passed))
        yield total - len(waiting) + i + 1, total
