"""What does diffusion buy? A canvas model against an autoregressive twin of the same size.

For each seed three trainings on the same streams in the same order, with the same optimiser and schedule:

    canvas           the canvas model as ``hone train`` makes it
    twin, tokens     next-token loss alone on the same streams; it costs less, for it makes no canvases
    twin, compute    the same with as many more steps as the canvas model's steps cost more (computed operations)

Then on held-out packages: bits per byte of the causal heads, and on the same holes the canvas's upper bound beside
them; rests of lines and whole lines as the engine answers them, every system on each task in turn. Copies from the
file and the syntax gate are off: this is about the models. Finished trainings, likelihoods and answers are kept in
``--out``; the same command goes on where it was stopped. Ends with one line of JSON.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor
from torch.nn import functional

from infill import report
from infill.engine import Infiller
from infill.journal import Journal
from infill.metrics import Answer, Outcome
from infill.systems import Asker, System
from infill.tasks import Task, from_corpus, make_tasks
from infill.trial import Cell, watch
from model.checkpoint import CheckpointError, choose_device, load_denoiser, load_model
from model.config import SIZES, ModelConfig
from model.corpus import Corpus
from model.data import Batches, Stream, to
from model.jsonfile import write_json
from model.network import Network
from model.rows import Rows
from model.tokenizer import Tokenizer
from model.train import Settings, operations, train

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.forced import OpenGate
from benchmarks.run import hardware

CANVAS, TOKENS, COMPUTE = "canvas", "twin, tokens", "twin, compute"
STEPS = (1, 4, 16)
KINDS = ("rest", "line")
HELD_OUT_SEED = 12345


@dataclass(frozen=True)
class Training:
    """One of the trainings of a seed."""

    model: str
    folder: Path
    settings: Settings

    @property
    def weights(self) -> Path:
        return self.folder / "average"


@dataclass(frozen=True)
class Likelihood:
    """What one model thinks of held-out text, in bits per byte."""

    stream: float
    """Causal head, every token of the streams: exact."""
    hole: float
    """Causal head, the tokens of the holes and their ends, given the text on both sides: exact."""
    bound: float | None = None
    """Canvas, the same holes: its length's exact part and an upper bound of the tokens'. None: it has no canvas."""
    bound_error: float | None = None
    """Standard error of ``bound`` that comes from drawing which tokens are hidden."""
    length: float | None = None
    """The part of ``bound`` that is the length's."""


class Bound(NamedTuple):
    nats: float
    variance: float
    """Of ``nats`` as an estimate."""


@dataclass(frozen=True)
class Panel:
    """Puts each system's question to the model that it is of."""

    askers: dict[str, Asker]
    """By system."""

    def count(self, text: str) -> int:
        return next(iter(self.askers.values())).count(text)

    def ask(self, system: System, task: Task) -> Answer:
        return self.askers[system.name].ask(system, task)


def main(argv: Sequence[str] | None = None) -> int:
    options = parse(argv)
    torch.set_num_threads(options.threads)
    log = Console(stderr=True)
    try:
        config = config_of(options)
        likelihoods: dict[int, dict[str, Likelihood]] = {}
        answers: dict[int, list[Outcome]] = {}
        for seed in range(1, options.seeds + 1):
            runs = trainings(options, config, seed)
            for run in runs:
                finish(run, log)
            likelihoods[seed] = likelihoods_of(options, runs, seed)
            found = answers_of(options, runs, seed, log)
            if found is None:
                return 130
            answers[seed] = found
    except (ValueError, FileNotFoundError, CheckpointError) as error:
        sys.stderr.write(f"twin: {error}\n")
        return 2
    result = facts(options, config) | {
        "models": [model_row(options, config, name, likelihoods) for name in (CANVAS, TOKENS, COMPUTE)],
        "answers": answer_rows(answers),
    }
    console = Console(width=None if sys.stdout.isatty() else 150)
    console.print(model_table(result))
    for kind in KINDS:
        console.print(answer_table(kind, result))
    plot = options.plot or options.out / "twin.png"
    draw(plot, answers, f"{options.size}, {options.steps} steps, {options.seeds} seeds")
    log.print(f"quality against speed: {plot}")
    print(json.dumps(result))
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    add = parser.add_argument
    add("--data", type=Path, default=Path("data"), help="folder of `hone data build`, with its tokenizer")
    add("--out", type=Path, required=True, help="folder for trainings and results")
    add("--seeds", type=int, default=3)
    add("--size", default="nano", choices=list(SIZES))
    add("--steps", type=int, default=320, help="training steps of the canvas model and of the twin at the same tokens")
    add("--streams", type=int, default=4, help="streams per step")
    add("--canvas", type=int, default=256, help="canvas tokens per stream")
    add("--split", default="valid", choices=["valid", "test"])
    add("--holes", type=int, default=200, help="held-out streams for the likelihoods")
    add("--draws", type=int, default=16, help="how often each hole's tokens are hidden for the bound")
    add("--n", type=int, default=100, help="tasks of each kind")
    add("--threads", type=int, default=1)
    add("--device", default="cpu", choices=["auto", "cpu", "cuda", "mps"])
    add("--compile", action="store_true", help="torch.compile in training")
    add("--workers", type=int, default=0, help="processes that prepare batches")
    add("--plot", type=Path, help="PNG of quality against speed (default: twin.png in --out)")
    options = parser.parse_args(argv)
    for name in ("seeds", "steps", "streams", "canvas", "holes", "n", "threads"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1, not {getattr(options, name)}")
    if options.steps < 4:
        parser.error(f"--steps must be at least 4, not {options.steps}: the clock starts with the fourth")
    if options.draws < 2:
        parser.error(f"--draws must be at least 2, not {options.draws}: one draw has no standard error")
    return options


def config_of(options: argparse.Namespace) -> ModelConfig:
    tokenizer = Tokenizer.load(options.data / "tokenizer")
    return ModelConfig(**{**SIZES[options.size].to_dict(), "vocab_size": tokenizer.vocab_size})


def cost_ratio(config: ModelConfig, canvas: int) -> float:
    """Operations of a step with canvases over those of a step without."""
    both = operations(config, canvas) * (config.context + canvas)
    return both / (operations(config, 0) * config.context)


# Training.


def trainings(options: argparse.Namespace, config: ModelConfig, seed: int) -> list[Training]:
    longer = round(options.steps * cost_ratio(config, options.canvas))
    wanted = ((CANVAS, "canvas", options.steps), (TOKENS, "causal", options.steps), (COMPUTE, "causal", longer))
    rows = []
    for model, objective, steps in wanted:
        folder = options.out / f"seed{seed}" / model.replace(", ", "-")
        settings = Settings(
            size=options.size, data=options.data, out=folder, steps=steps, streams=options.streams,
            canvas=options.canvas, seed=seed, device=options.device, compile=options.compile, workers=options.workers,
            objective=objective,
        )  # fmt: skip
        rows.append(Training(model, folder, settings))
    return rows


def finish(run: Training, log: Console) -> None:
    """Trains what is not trained yet. Raises: ValueError where the folder holds another training."""
    path = run.folder / "run.json"
    if path.is_file():
        saved = json.loads(path.read_text("utf-8"))
        for name in ("size", "steps", "streams", "canvas", "seed", "objective"):
            wanted, found = getattr(run.settings, name), saved["settings"].get(name)
            if wanted != found:
                raise ValueError(f"{run.folder} was trained with --{name} {found}, not {wanted}: give another --out")
        if saved["final"]:
            return
    log.print(f"training: {run.folder} ({run.settings.steps} steps)")
    train(replace(run.settings, resume=path.is_file()))


# Likelihoods.


def likelihoods_of(options: argparse.Namespace, runs: Sequence[Training], seed: int) -> dict[str, Likelihood]:
    path = options.out / f"seed{seed}" / "likelihood.json"
    settings = {"split": options.split, "holes": options.holes, "draws": options.draws}
    if path.is_file() and (saved := json.loads(path.read_text("utf-8")))["settings"] == settings:
        return {name: Likelihood(**row) for name, row in saved["models"].items()}
    found: dict[str, Likelihood] = {}
    for run in runs:
        device = choose_device(options.device)
        network, tokenizer = load_model(run.weights, device=device, dtype=torch.float32)
        streams = holes(Corpus.open(options.data / options.split), tokenizer, network.config, options.holes)
        draws = options.draws if run.model == CANVAS else 0
        shown = track(streams, f"seed {seed}, likelihood: {run.model}", console=Console(stderr=True))
        found[run.model] = likelihood(network, tokenizer, shown, draws)
    write_json(path, {"settings": settings, "models": {name: asdict(row) for name, row in found.items()}})
    return found


def holes(source: Corpus, tokenizer: Tokenizer, config: ModelConfig, count: int) -> list[Stream]:
    """The first ``count`` held-out streams whose hole fits into a canvas; the same for every model of the size."""
    data = Batches(source, tokenizer, config, streams=1, canvas=0, seed=HELD_OUT_SEED)
    rng = np.random.default_rng(HELD_OUT_SEED)
    found: list[Stream] = []
    while len(found) < count:
        stream = data.stream(rng)
        if stream.end - stream.start <= config.max_hole:
            found.append(stream)
    return found


@torch.inference_mode()
def likelihood(network: Network, tokenizer: Tokenizer, streams: Iterable[Stream], draws: int) -> Likelihood:
    """``draws``: how often each hole is hidden for the bound; 0: no bound."""
    rng = np.random.default_rng(HELD_OUT_SEED)
    size = np.array([len(tokenizer.token_bytes(i)) for i in range(tokenizer.vocab_size)])
    rows: list[tuple[float, ...]] = []
    for stream in streams:
        nats, length = causal_nats(network, stream)
        nbytes = (size[stream.ids[1:]].sum(), size[stream.ids[stream.start : stream.end]].sum())
        bound = bound_nats(network, tokenizer, stream, draws, rng) if draws else Bound(0.0, 0.0)
        rows.append((nats.sum(), nats[stream.start - 1 :].sum(), length, *bound, *nbytes))
    whole, hole, length, tokens, variance, whole_bytes, hole_bytes = np.array(rows).sum(0).tolist()
    whole_unit, unit = 1 / math.log(2) / whole_bytes, 1 / math.log(2) / hole_bytes
    if not draws:
        return Likelihood(whole * whole_unit, hole * unit)
    return Likelihood(
        whole * whole_unit, hole * unit, (length + tokens) * unit, math.sqrt(variance) * unit, length * unit
    )


def causal_nats(network: Network, stream: Stream) -> tuple[npt.NDArray[np.float64], float]:
    """Nats of every token but the first (the last is the end of the hole), and of the hole's length at its start."""
    rows = Rows(1, len(stream.ids), 0)
    rows.ids[0] = stream.ids
    hidden = hidden_of(network, rows)[0][0]
    nll = functional.cross_entropy(
        network.logits(hidden[:-1]), torch.from_numpy(stream.ids[1:]).to(hidden.device), reduction="none"
    )
    lengths = network.length_head(hidden[stream.start - 1])[0].log_softmax(-1)
    return nll.double().cpu().numpy(), -float(lengths[stream.end - stream.start])


def bound_nats(network: Network, tokenizer: Tokenizer, stream: Stream, draws: int, rng: np.random.Generator) -> Bound:
    """Upper bound of the nats of a hole's n tokens when its length is known: that of a model that opens them one by one
    in random order, n / k * (nats of k hidden tokens) in the mean over k = 1..n and over which k are hidden (Uria et
    al., arXiv 1310.1757; Ou et al., arXiv 2406.03736). The share that is hidden is drawn evenly, once per stratum.
    """
    truth, n = stream.ids[stream.start : stream.end], stream.end - stream.start
    glue = stream.suffix[: network.config.glue]
    width = n + len(glue)
    rows = Rows(1, len(stream.ids), draws * width)
    rows.ids[0] = stream.ids
    hidden = np.zeros((draws, width), dtype=np.bool_)
    for draw in range(draws):
        k = 1 + int((draw + rng.random()) / draws * n)
        hidden[draw, rng.permutation(n)[:k]] = True
        shown = np.where(hidden[draw, :n], tokenizer.mask, truth)
        rows.hang(0, draw * width, shown, glue, stream.start, int(stream.ids[stream.start - 1]), segment=draw)
    states = hidden_of(network, rows)[1][0].view(draws, width, -1)[:, :n]
    targets = torch.from_numpy(truth).to(states.device).expand(draws, n)
    nll = functional.cross_entropy(network.logits(states).transpose(1, 2), targets, reduction="none")
    masked = hidden[:, :n]
    each = n * (nll.double().cpu().numpy() * masked).sum(1) / masked.sum(1)
    return Bound(float(each.mean()), float(each.var(ddof=1)) / draws)


def hidden_of(network: Network, rows: Rows) -> tuple[Tensor, Tensor]:
    batch = to(rows.batch(), network.shift.device)
    states: tuple[Tensor, Tensor] = network(batch.ids, batch.canvases)
    return states


# Answers.


def systems() -> dict[str, list[System]]:
    """The systems of each model."""
    plain = [System(f"canvas, steps {n}", "confidence", n, family="canvas", copies=0) for n in STEPS]
    head = System("canvas, causal head", "causal", family="canvas, causal head")
    return {CANVAS: [*plain, head]} | {name: [System(name, "causal", family=name)] for name in (TOKENS, COMPUTE)}


def answers_of(options: argparse.Namespace, runs: Sequence[Training], seed: int, log: Console) -> list[Outcome] | None:
    """Every system on every task, one task after the other. None: stopped by the user; what was answered is kept."""
    askers: dict[str, Asker] = {}
    for run in runs:
        denoiser = load_denoiser(run.weights, device=options.device)
        tokenizer = denoiser.tokenizer
        asker = Asker(Infiller(denoiser, gate=OpenGate), tokenizer.encode, tokenizer.decode, denoiser.max_hole)
        askers |= dict.fromkeys((system.name for system in systems()[run.model]), asker)
    every = [system for row in systems().values() for system in row]
    panel, sources = Panel(askers), from_corpus(options.data, options.split)
    longest = SIZES[options.size].max_hole
    cells: list[Cell] = []
    for kind in KINDS:
        made = make_tasks(sources, kind, options.n, longest=longest, count=panel.count)
        if not made:
            raise ValueError(f"no task of kind {kind!r} in {options.data / options.split}")
        cells.append(Cell(made, every))
    settings = {"split": options.split, "steps": [run.settings.steps for run in runs], "threads": options.threads}
    journal = Journal(options.out / f"seed{seed}" / "answers.jsonl", settings)
    for system in every:  # The first pass builds what all later ones reuse.
        panel.ask(system, cells[0].tasks[0])
    log.print(f"seed {seed}: answers")
    if not watch(panel, cells, journal, log):
        return None
    asked = {task.name for cell in cells for task in cell.tasks}
    return [outcome for outcome in journal.outcomes if outcome.task in asked]


# The result.


@dataclass(frozen=True)
class Spread:
    """A number over the seeds."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        found = list(values)
        return cls(fmean(found), min(found), max(found))


def facts(options: argparse.Namespace, config: ModelConfig) -> dict[str, Any]:
    runs = [trainings(options, config, seed) for seed in range(1, options.seeds + 1)]
    return {
        "benchmark": "twin", "size": options.size, "parameters": config.parameters()["total"], "seeds": options.seeds,
        "steps": options.steps, "streams": options.streams, "context": config.context, "canvas": options.canvas,
        "split": options.split, "holes": options.holes, "draws": options.draws, "n": options.n,
        "threads": options.threads, "device": str(choose_device(options.device)), "torch": torch.__version__,
        "hardware": hardware(), "cost_ratio": cost_ratio(config, options.canvas),
        "step_time_ratio": asdict(Spread.of(seconds(canvas) / seconds(twin) for canvas, twin, _ in runs)),
    }  # fmt: skip


def seconds(run: Training) -> float:
    """Of one training step, in the mean; the first three are not in the run's clock."""
    saved = json.loads((run.folder / "run.json").read_text("utf-8"))
    return float(saved["seconds"]) / (int(saved["index"]) - 3)


def model_row(
    options: argparse.Namespace, config: ModelConfig, model: str, found: dict[int, dict[str, Likelihood]]
) -> dict[str, Any]:
    [run] = [run for run in trainings(options, config, 1) if run.model == model]
    row: dict[str, Any] = {"name": model, "steps": run.settings.steps}
    row["stream_tokens"] = run.settings.steps * options.streams * config.context
    for name in Likelihood.__dataclass_fields__:
        values = [getattr(found[seed][model], name) for seed in found]
        row[name] = None if None in values else asdict(Spread.of(values))
    return row


def answer_rows(answers: dict[int, list[Outcome]]) -> list[dict[str, Any]]:
    """One row for each kind and system."""
    by_seed = [{(s.kind, s.system): s for s in report.cells(found)} for found in answers.values()]
    rows = []
    for kind, system in by_seed[0]:
        cells = [found[kind, system] for found in by_seed]
        rows.append({
            "kind": kind, "name": system, "n": cells[0].n,
            "exact": asdict(Spread.of(cell.means["exact"].value for cell in cells)),
            "similarity": asdict(Spread.of(cell.means["similarity"].value for cell in cells)),
            "empty": asdict(Spread.of(cell.means["empty"].value for cell in cells)),
            "ms": asdict(Spread.of(cell.ms_median for cell in cells)),
        })  # fmt: skip
    return rows


def model_table(result: dict[str, Any]) -> Table:
    title = f"bits per byte of held-out packages, mean (range) of {result['seeds']} seeds; lower is better"
    table = Table(title=title, title_justify="left")
    for name in ("model", "steps", "stream tokens", "streams, exact", "holes, causal, exact", "holes, canvas, at most"):
        table.add_column(name, justify="left" if name == "model" else "right")
    for row in result["models"]:
        bound = "-" if row["bound"] is None else f"{_spread(row['bound'])} ± {row['bound_error']['mean']:.3f}"
        exact = [_spread(row[name]) for name in ("stream", "hole")]
        table.add_row(row["name"], str(row["steps"]), f"{row['stream_tokens']:,}", *exact, bound)
    return table


def answer_table(kind: str, result: dict[str, Any]) -> Table:
    rows = [row for row in result["answers"] if row["kind"] == kind]
    title = f"{report.TITLES[kind]}, {rows[0]['n']} tasks a seed, mean (range) of {result['seeds']} seeds"
    table = Table(title=title, title_justify="left")
    for name in ("system", "exact %", "edit similarity %", "empty %", "ms, median"):
        table.add_column(name, justify="left" if name == "system" else "right")
    for row in rows:
        shares = [_spread(row[name], 100, 1) for name in ("exact", "similarity", "empty")]
        table.add_row(row["name"], *shares, _spread(row["ms"], 1, 1))
    return table


def _spread(value: dict[str, float], scale: float = 1, digits: int = 3) -> str:
    mean, low, high = (f"{scale * value[name]:.{digits}f}" for name in ("mean", "low", "high"))
    return f"{mean} ({low}-{high})"


def draw(path: Path, answers: dict[int, list[Outcome]], title: str) -> None:
    """Quality against speed, all seeds together."""
    pooled = report.cells([outcome for found in answers.values() for outcome in found])
    every = [system for row in systems().values() for system in row]
    report.plot(path, pooled, every, title=f"Canvas model and autoregressive twin: {title}")


if __name__ == "__main__":
    sys.exit(main())
