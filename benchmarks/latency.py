"""Is a diffusion answer faster than the causal head of the same weights writing it token by token, and as good?

Both stand on the same context, encoded before, and are timed turn about on the same tasks from held-out code. The
length search (length query, a batch of canvases, judging) is part of the diffusion's time.

    rest     the rest of a line: the default answer against the causal head, both as the engine gives them
    32, 64   canvases of this many tokens with the search around them against the causal head writing exactly as many
             ("fixed"), and both as the engine gives them on tasks whose answer has about this many tokens ("free")

Quality stands beside each time: exact match and edit similarity on the same tasks. Ends with one line of JSON.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rapidfuzz.distance import Levenshtein
from rich.console import Console
from rich.progress import track
from rich.table import Table

from infill.canvas import Canvas
from infill.engine import TOKENS_PER_STEP, Infiller
from infill.judge import Calibration, judge, surest
from infill.lengths import within
from infill.metrics import Mean, mean
from infill.passes import drive
from infill.sampler import Pace, Plan, refine
from infill.systems import prompt_of
from infill.tasks import Source, Task, held_out, make_tasks
from infill.timing import Ratio, ratio, side_by_side, stopwatch
from infill.types import InfillOptions
from model.checkpoint import DEFAULT_WEIGHTS, load_denoiser
from model.denoiser import NetworkDenoiser
from model.layout import encode_context

KINDS_OF_LONG = ("lines", "block")
WANTED = {"rest": 1.0, "32": 2.0, "64": 3.0}
"""How many times faster than the causal head each answer should be at least."""


@dataclass(frozen=True)
class Row:
    """One comparison."""

    name: str
    time: Ratio
    context: float
    """Mean context tokens."""
    exact: tuple[Mean, Mean] | None = None
    """Of ours and of the causal head."""
    similarity: tuple[Mean, Mean] | None = None
    tokens: tuple[float, float] | None = None
    """Mean tokens of the answers."""


@dataclass(frozen=True)
class Bench:
    infiller: Infiller
    context: int
    capacity: int
    """Tokens that a context may grow to while the causal head writes."""
    repeats: int

    def count(self, text: str) -> int:
        return len(self.infiller.denoiser.tokenizer.encode(text))

    def synchronise(self) -> None:
        if self.infiller.denoiser.device.type == "cuda":
            torch.cuda.synchronize()


def main(argv: Sequence[str] | None = None) -> int:
    options = parse(argv)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    denoiser = load_denoiser(options.model, device=options.device, dtype=options.dtype)
    infiller = Infiller(denoiser, calibration=Calibration.load(options.model or DEFAULT_WEIGHTS))
    bench = Bench(infiller, min(options.context, denoiser.context), denoiser.capacity, options.repeats)
    sources = held_out(options.source, options.data, options.split)
    rest = chosen(bench, sources, ("rest",), options.n, 1, denoiser.max_hole)
    rows = [free(bench, "rest", rest)]
    for size in (32, 64):
        if size <= denoiser.max_hole:
            tasks = chosen(bench, sources, KINDS_OF_LONG, options.n, round(0.88 * size), size + size // 8)
            rows += [fixed(bench, size, tasks), free(bench, str(size), tasks)]
    facts = {"threads": options.threads, "device": str(denoiser.device), "dtype": options.dtype}
    calibration = asdict(infiller.calibration)
    Console(width=None if sys.stdout.isatty() else 140).print(table(rows))
    print(json.dumps({"benchmark": "latency", **facts, "calibration": calibration, "rows": list(map(asdict, rows))}))
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--model", type=Path, metavar="FOLDER", help="a checkpoint (default: the embedded weights)")
    parser.add_argument("--data", type=Path, default=Path("data"), help="a built corpus")
    parser.add_argument("--split", default="valid", choices=["valid", "test"])
    parser.add_argument("--source", type=Path, help="any folder of Python files instead of the corpus")
    parser.add_argument("--n", type=int, default=60, help="tasks of each size")
    parser.add_argument("--repeats", type=int, default=3, help="times that each task is answered by each side")
    parser.add_argument("--context", type=int, default=512, help="context tokens (at most what the model takes)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="auto")
    return parser.parse_args(argv)


def chosen(
    bench: Bench, sources: Sequence[Source], kinds: Sequence[str], n: int, shortest: int, longest: int
) -> list[Task]:
    """Tasks with enough text around them to fill the context, and a middle of the wanted number of tokens.

    Raises: ValueError when the sources have none.
    """
    found: list[Task] = []
    for kind in kinds:
        made = make_tasks(sources, kind, 40 * n, longest=longest, count=bench.count)
        fitting = (task for task in made if bench.count(task.middle) >= shortest and crowded(bench, task))
        found += [task for task, _ in zip(fitting, range(-(-n // len(kinds))), strict=False)]
    if not found:
        raise ValueError(f"no file is long enough for a context of {bench.context} tokens around a hole")
    return found


def crowded(bench: Bench, task: Task) -> bool:
    """Whether the text around the hole fills the context; 24 characters a token are more than code ever needs."""
    near = task.prefix[-24 * bench.context :] + task.suffix[: 24 * bench.context]
    return bench.count(near) >= bench.context


def free(bench: Bench, name: str, tasks: Sequence[Task]) -> Row:
    """Both sides as the engine gives them: they decide themselves how long the answer is."""
    pairs: list[tuple[float, float]] = []
    answers: list[tuple[str, str]] = []
    for i, task in enumerate(track(tasks, f"{name}, free", console=Console(stderr=True))):
        sides = [Side(bench.infiller, task, policy) for policy in (None, "causal")]
        for side in sides:
            side()  # Leaves the context encoded.
        pairs.append(side_by_side(*sides, repeats=bench.repeats, swap=i % 2 == 1))
        answers.append((sides[0].text, sides[1].text))
    context = mean([len(ids_of(bench, task, 64)) for task in tasks]).value
    ours, theirs = (mean([bench.count(pair[side]) for pair in answers]).value for side in (0, 1))
    return Row(f"{name}, free", ratio(pairs), context, *quality(tasks, answers), (ours, theirs))


class Side:
    """The engine on one task with one policy. A call answers and gives the milliseconds, context not included."""

    def __init__(self, infiller: Infiller, task: Task, policy: str | None) -> None:
        self.text = ""
        self._infiller, self._prompt = infiller, prompt_of(task)
        self._options = InfillOptions(one_line=task.one_line or None, policy=policy)

    def __call__(self) -> float:
        found = self._infiller.fill(self._prompt, self._options)
        self.text = found.candidates[0].text if found.candidates else ""
        return found.timing_ms["total"] - found.timing_ms.get("context", 0.0)


def quality(tasks: Sequence[Task], answers: Sequence[tuple[str, str]]) -> tuple[tuple[Mean, Mean], tuple[Mean, Mean]]:
    """(exact of ours and theirs, edit similarity of ours and theirs)."""

    def both(worth: Callable[[str, str], float]) -> tuple[Mean, Mean]:
        judged = [
            [worth(pair[side], task.middle) for task, pair in zip(tasks, answers, strict=True)] for side in (0, 1)
        ]
        return mean(judged[0]), mean(judged[1])

    return both(lambda text, gold: float(text == gold)), both(Levenshtein.normalized_similarity)


def fixed(bench: Bench, size: int, tasks: Sequence[Task]) -> Row:
    """Answers of ``size`` tokens on both sides, whatever they say."""
    pairs: list[tuple[float, float]] = []
    contexts: list[int] = []
    with torch.inference_mode():
        for i, task in enumerate(track(tasks, f"{size}, fixed", console=Console(stderr=True))):
            layout_ids = ids_of(bench, task, size)
            contexts.append(len(layout_ids))
            ours, theirs = searcher(bench, layout_ids, size), decoder(bench, layout_ids, size)
            ours()
            theirs()
            pairs.append(side_by_side(ours, theirs, repeats=bench.repeats, swap=i % 2 == 1))
    return Row(f"{size}, fixed", ratio(pairs), mean(contexts).value)


def ids_of(bench: Bench, task: Task, size: int) -> list[int]:
    denoiser = bench.infiller.denoiser
    layout = encode_context(
        denoiser.tokenizer,
        task.prefix,
        task.suffix,
        language="python",
        filename=task.path,
        context=bench.context,
        glue=denoiser.glue,
        reserve=max(0, bench.context + size - bench.capacity),
    )
    return layout.ids


def network(bench: Bench) -> NetworkDenoiser:
    denoiser = bench.infiller.denoiser
    assert isinstance(denoiser, NetworkDenoiser)
    return denoiser


def searcher(bench: Bench, ids: Sequence[int], size: int) -> Callable[[], float]:
    """The engine's passes for an answer of ``size`` tokens: lengths, canvases of the lengths around it, as many of
    them as the calibration allows, and the judge."""
    denoiser, calibration = network(bench), bench.infiller.calibration
    state = denoiser.encode(ids)
    lengths = around(size, calibration.lengths, denoiser.max_hole)
    lengths = lengths[: within(lengths, calibration.draft_tokens)]
    plan = Plan(max(calibration.steps, -(-size // TOKENS_PER_STEP)), calibration.policy)
    glue = [denoiser.tokenizer.eof]

    def answer() -> None:
        likely = denoiser.length_logprobs(state).tolist()
        priors = [likely[length] for length in lengths]

        def narrow(canvas: Canvas) -> list[int]:
            return surest(canvas, [priors[name] for name in canvas.names], calibration)

        canvas = Canvas.of_lengths(lengths, glue, denoiser.tokenizer, denoiser.device)
        generator = torch.Generator(denoiser.device).manual_seed(0)
        work = refine(denoiser.tokenizer, state, canvas, plan, generator, Pace(), narrow=narrow)
        canvas = drive(work, denoiser)
        canvas = canvas.take(narrow(canvas))
        drive(judge(denoiser.tokenizer, state, canvas.rows(), [denoiser.tokenizer.eot], denoiser.device), denoiser)

    return lambda: stopwatch(answer, bench.synchronise)


def around(size: int, count: int, most: int) -> list[int]:
    """``count`` different lengths as close to ``size`` as they can be without exceeding ``most``."""
    return sorted(range(1, most + 1), key=lambda length: (abs(length - size), length))[:count]


def decoder(bench: Bench, ids: Sequence[int], size: int) -> Callable[[], float]:
    """The causal head, greedily, ``size`` tokens and no end before."""
    denoiser = network(bench)
    first = denoiser.tokenizer.n_special
    state: Any = denoiser.encode(ids)

    def work() -> None:
        nonlocal state
        written = list(ids)
        for i in range(size):
            written.append(int(denoiser.next_logits(state)[first:].argmax()) + first)
            if i < size - 1:  # The last token need not be read.
                state = denoiser.encode(written, state)

    def timed() -> float:
        nonlocal state
        state = denoiser.encode(ids, state)  # Back to the beginning, outside the clock.
        return stopwatch(work, bench.synchronise)

    return timed


def table(rows: Sequence[Row]) -> Table:
    result = Table(title="an answer of Hone against the causal head of the same weights", title_justify="left")
    times = ("ours ms", "causal ms", "times faster", "in all", "wanted")
    for name in ("answer", "n", "context", *times, "exact %", "similarity %"):
        result.add_column(name, justify="left" if name == "answer" else "right")
    for row in rows:
        time = row.time
        result.add_row(
            row.name,
            str(time.n),
            f"{row.context:.0f}",
            f"{time.ours_ms:.1f}",
            f"{time.theirs_ms:.1f}",
            f"{time.faster:.2f} ({time.low:.2f}-{time.high:.2f})",
            f"{time.in_all:.2f}",
            f"{WANTED[row.name.split(',')[0]]:.0f}"
            if row.name.endswith("fixed") or row.name.startswith("rest")
            else "",
            _pair(row.exact),
            _pair(row.similarity),
        )
    return result


def _pair(means: tuple[Mean, Mean] | None) -> str:
    if means is None:
        return "-"
    ours, theirs = means
    return f"{100 * ours.value:.1f} / {100 * theirs.value:.1f} ± {100 * ours.error:.1f}"


if __name__ == "__main__":
    sys.exit(main())
