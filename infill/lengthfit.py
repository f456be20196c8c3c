"""``hone eval --calibrate`` for published models: which length of hole their first step is surest of, made fair.

A first step is surer of some lengths than of others whatever belongs there (CAL calibrates its "first-step confidence"
for the same reason). Holes of known length in held-out code, each tried at all lengths in one batch, say by how much
for each e-fold of the length; the search then takes that off (``Calibration.length_slope``).
"""

import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from infill.canvas import Canvas
from infill.engine import Infiller
from infill.evaluate import EvalOptions, tasks_of
from infill.inplace import CALIBRATION, InPlace, in_place
from infill.passes import Work, drive
from infill.sampler import Pace
from infill.systems import prompt_of
from infill.tasks import Task
from infill.types import InfillOptions
from model.checkpoint import DEFAULT_WEIGHTS
from model.published.denoiser import Published

SLOPES = tuple(i / 50 for i in range(-20, 21))


@dataclass(frozen=True)
class Tried:
    """One hole at every length that is tried."""

    true: int
    """Tokens that stood there."""
    lengths: tuple[int, ...]
    sure: tuple[float, ...]
    """Mean log confidence of the first step at each."""
    ms: float

    def found(self, slope: float) -> bool:
        """Whether the search takes the length that is nearest to the true one, of those that it tries."""
        scores = [one - slope * math.log(size) for one, size in zip(self.sure, self.lengths, strict=True)]
        taken = self.lengths[max(range(len(scores)), key=scores.__getitem__)]
        return taken == min(self.lengths, key=lambda size: abs(math.log(size / self.true)))


def run(options: EvalOptions, published: Published) -> int:
    """Measure, print, write ``calibration.json`` beside the weights. Returns the exit code.

    Raises:
        ValueError: a model that has no lengths to be searched.
    """
    if published.block or published.family.uniform or published.family.expands:
        raise ValueError(f"{published.family.title} searches no lengths: there is nothing to calibrate")
    folder = options.model or DEFAULT_WEIGHTS
    infiller = Infiller(published, calibration=replace(in_place(folder), length_slope=0.0), requests=InPlace)
    made = tasks_of(options, lambda text: len(published.tokenizer.encode(text)), 64)
    tasks = [task for kind in made.values() for task in kind]
    with torch.inference_mode():
        found = [tried(infiller, task) for task in track(tasks, "lengths", console=Console(stderr=True))]
    slope = best(found)
    replace(in_place(folder), length_slope=slope).save(folder)
    facts = {
        "tasks": len(found), "length_slope": slope, "ms": fmean(one.ms for one in found),
        "found": hits(found, slope), "found_before": hits(found, CALIBRATION.length_slope),
    }  # fmt: skip
    if options.json:
        sys.stdout.write(json.dumps(facts) + "\n")
        return 0
    table = Table("slope", "nearest length found", title=f"{len(found)} holes, {facts['ms']:.0f} ms for a search")
    for each in dict.fromkeys((CALIBRATION.length_slope, slope)):
        table.add_row(f"{each:+.2f}", f"{100 * hits(found, each):.1f} %")
    Console().print(table)
    sys.stdout.write(f"written to {folder}\n")
    return 0


def tried(infiller: Infiller, task: Task) -> Tried:
    """The first step's confidence at every length, in one batch; how long that took."""
    options = InfillOptions(max_tokens=64, one_line=task.one_line)
    request = InPlace(infiller, prompt_of(task), options, Pace(), None)
    request.surround()
    lengths = request.tried()
    canvas = Canvas.of_lengths(lengths, [], request.tokenizer, request.published.device)

    async def step() -> Canvas:
        return await request.first_step(canvas, request.possible[-1])

    began = time.perf_counter()
    work: Work[Canvas] = step()
    guess = drive(work, infiller.denoiser)
    ms = 1000 * (time.perf_counter() - began)
    dropped = request.at.dropped.decode("utf-8", errors="replace")
    true = len(request.tokenizer.encode(dropped + task.middle))
    return Tried(max(true, 1), tuple(lengths), tuple(guess.mean_log_confidence().tolist()), ms)


def hits(found: Sequence[Tried], slope: float) -> float:
    return fmean(one.found(slope) for one in found)


def best(found: Sequence[Tried]) -> float:
    """The slope that finds most lengths; of equals the smallest."""
    return max(SLOPES, key=lambda slope: (hits(found, slope), -abs(slope)))
