"""``hone eval --quiet``: how true the chances are, and what somebody sees who is shown only likely answers.

Every hole is asked for as one that ends with its line, and half of them also as whatever the text behind says, which is
what editors ask; half of both with texts from other files, where somebody finds them. Some are asked for once more with
no time left for the judge. Right means that the answer is all that a person wrote there, and nothing more.
"""

import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from infill.chance import Told, calibration_error, quiet, ranking, reliability
from infill.engine import Infiller
from infill.evaluate import EvalOptions, files_of, tasks_of
from infill.judge import Calibration
from infill.sampler import Late
from infill.systems import prompt_of
from infill.tasks import Task
from infill.trial import conditions, load
from infill.types import Candidate, Infill, InfillOptions, Prompt
from infill.workspaces import Elsewhere, Workspaces
from model.calls import Denoise, Score
from model.checkpoint import DEFAULT_WEIGHTS

THRESHOLDS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
MODES = {"one line": True, "as the text says": None}
HURRIED = "in a hurry"
HURRIED_EVERY = 6


@dataclass(frozen=True)
class Answered:
    """The first candidate for one hole; None where there was none."""

    mode: str
    kind: str
    candidate: Candidate | None
    right: bool

    @property
    def told(self) -> Told | None:
        found = self.candidate
        return None if found is None else Told(found.chance, self.right, len(found.text))


def answers(infiller: Infiller, tasks: Iterable[Task], texts: Callable[[Task], tuple[str, ...]]) -> Iterator[Answered]:
    for index, task in enumerate(tasks):
        prompt = prompt_of(task)
        if index % 2 == 0:
            prompt = replace(prompt, extra=texts(task))
        for mode, one_line in MODES.items():
            if one_line is None and index % 4 > 1:
                continue
            found = infiller.fill(prompt, InfillOptions(one_line=one_line)).candidates
            yield _answered(mode, task, found)
        if index % HURRIED_EVERY == 0:
            yield _answered(HURRIED, task, hurried(infiller, prompt, InfillOptions(one_line=True)).candidates)


def _answered(mode: str, task: Task, found: Sequence[Candidate]) -> Answered:
    first = found[0] if found else None
    return Answered(mode, task.kind, first, first is not None and first.text == task.middle)


def hurried(infiller: Infiller, prompt: Prompt, options: InfillOptions) -> Infill:
    """What is answered where the time is up when canvases are written and the judge has not seen them."""
    work = infiller.begin(prompt, options)
    result: Any = None
    written = False
    try:
        with torch.inference_mode():
            while True:
                call = work.send(result)
                if written and isinstance(call, Score):
                    work.throw(Late())
                written = written or isinstance(call, Denoise)
                [result] = infiller.denoiser.run([call])
    except StopIteration as ended:
        found: Infill = ended.value
        return found


def run(options: EvalOptions, elsewhere: Elsewhere | None) -> int:
    """Raises: ValueError where the model's chances were never fitted."""
    denoiser = load(options)
    calibration = Calibration.load(options.model or DEFAULT_WEIGHTS)
    if not calibration.chance:
        raise ValueError("this model does not say how likely its answers are right: `hone eval --calibrate` first")
    infiller = Infiller(denoiser, calibration=calibration)
    made = tasks_of(options, lambda text: len(denoiser.tokenizer.encode(text)), denoiser.max_hole)
    tasks = [task for kind in made.values() for task in kind]
    with Workspaces(files_of(options), elsewhere) as workspaces:
        asked = track(tasks, "asking", console=Console(stderr=True))
        found = list(answers(infiller, asked, workspaces.texts))
    groups = {f"{kind}, {mode}": [one for one in found if (one.kind, one.mode) == (kind, mode)]
              for mode in MODES for kind in made}  # fmt: skip
    for mode in (*MODES, HURRIED):
        groups[f"all, {mode}"] = [one for one in found if one.mode == mode]
    groups["all"] = found
    result = {name: summary(group) for name, group in groups.items()}
    if options.json:
        sys.stdout.write(json.dumps({**conditions(denoiser), "n": options.n, "groups": result}) + "\n")
    else:
        show(result)
    return 0


def summary(found: Sequence[Answered]) -> dict[str, Any]:
    """Numbers of a group of answers; what cannot be said is None."""
    told = [one.told for one in found if one.told is not None]
    return {
        "requests": len(found),
        "answers": len(told),
        "right": sum(one.right for one in told),
        "error": calibration_error(told),
        "ranking": _or_none(ranking(told)),
        "reliability": [asdict(one) for one in reliability(told)],
        "quiet": [
            {name: _or_none(value) for name, value in asdict(one).items()}
            for one in quiet(told, len(found), THRESHOLDS)
        ],
    }


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def show(result: dict[str, dict[str, Any]]) -> None:
    console = Console(width=None if sys.stdout.isatty() else 120)
    for name, group in result.items():
        area = group["ranking"]
        title = (
            f"{name}: {group['requests']} requests, {group['answers']} answers, {group['right']} right; "
            f"calibration error {100 * group['error']:.1f} points, area under the curve "
            f"{'-' if area is None else f'{area:.2f}'}"
        )
        table = Table(title=title, title_justify="left")
        for column in ("chance at least", "shown %", "right %", "right, by characters %", "right ones kept %"):
            table.add_column(column, justify="right")
        for row in group["quiet"]:
            numbers = [_percent(row[key]) for key in ("shown", "right", "characters", "kept")]
            table.add_row(f"{row['threshold']:.1f}", *numbers)
        console.print(table)
    bins = Table(title="said and true, of all answers", title_justify="left")
    for column in ("chance", "answers", "mean chance %", "right %"):
        bins.add_column(column, justify="right")
    for row in result["all"]["reliability"]:
        bins.add_row(
            f"{row['low']:.1f} to {row['high']:.1f}", str(row["n"]), _percent(row["chance"]), _percent(row["right"])
        )
    console.print(bins)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
