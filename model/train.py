"""The training run, to be read downwards: settings, setup, loop, save. ``hone train`` or ``python -m model.train``.

Runs on CPU, CUDA and MPS, on one device or under ``torchrun``. Weights are bf16 with fp32 masters, float32 on a CPU
without bf16 instructions, where that is four times faster. Batches are a
function of seed and step, and all state is saved, so a run that is stopped goes on exactly where it was.
"""

import argparse
import csv
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data import DataLoader

from model.checkpoint import (
    CheckpointError,
    best_dtype,
    choose_device,
    load_model,
    read_config,
    save_model,
    save_tensors,
)
from model.config import SIZES, ModelConfig
from model.corpus import Corpus
from model.damage.kinds import KINDS
from model.damage.types import GROUPS
from model.data import Batches, to
from model.fetch import CorpusError
from model.jsonfile import read_json, write_json
from model.loss import Batch, Losses, losses
from model.network import Network
from model.optim import Optimiser
from model.options import Parser
from model.schedule import learning_rate
from model.tokenizer import Tokenizer

EDITS = ("stream", "canvas", "edit")
"""Losses on batches of edits that tell something."""
OBJECTIVES = ("canvas", "causal")
LIMITS: dict[str, tuple[float, float]] = {
    "minutes": (0.001, 1e7),
    "steps": (1, 10**9),
    "streams": (1, 1 << 16),
    "canvas": (1, 1 << 16),
    "matrix_rate": (1e-9, 10.0),
    "other_rate": (1e-9, 10.0),
    "weight_decay": (0.0, 10.0),
    "warm": (0.0, 1.0),
    "decay": (0.0, 1.0),
    "average": (0.0, 1.0),
    "clip": (1e-9, 1e9),
    "own": (0.0, 1.0),
    "edits": (0.0, 1.0),
    "seed": (0, 2**63 - 1),
    "workers": (0, 1024),
    "save_minutes": (1e-9, 1e9),
    "check_minutes": (1e-9, 1e9),
}
"""The least and the most that can be meant."""
FREE = {
    "data", "out", "start", "minutes", "steps", "save_minutes", "check_minutes", "workers", "compile", "device",
    "resume",
}  # fmt: skip
"""Settings that may be others when a run goes on: how long, how and where, and what it began with."""


@dataclass(frozen=True)
class Settings:
    """What a run is asked to do. Exactly one of ``minutes`` and ``steps`` ends it.

    Raises:
        ValueError: names the setting.
    """

    size: str
    data: Path
    out: Path
    minutes: float | None = None
    steps: int | None = None
    streams: int = 8
    """Streams per step and process; each has ``context`` tokens."""
    canvas: int = 256
    """Canvas tokens behind each stream."""
    matrix_rate: float = 0.02
    other_rate: float = 0.003
    weight_decay: float = 0.0
    warm: float = 0.01
    decay: float = 0.25
    average: float = 0.998
    clip: float = 1.0
    own: float = 0.0
    """Share of the steps (in the second half) whose damage is the model's own samples."""
    edits: float = 0.0
    """Share of the steps that train edits."""
    tasks: str | None = None
    """Kinds of damage, and groups of them, that edits are drawn from: names with commas between; None: all."""
    seed: int = 1
    device: str = "auto"
    compile: bool = False
    workers: int = 0
    save_minutes: float = 5.0
    check_minutes: float = 5.0
    resume: bool = False
    start: Path | None = None
    """A model folder whose weights the run begins with; None: random ones."""
    objective: str = "canvas"
    """"causal": next-token loss alone, on the same streams; no canvases are made, and no head for lengths or edits
    learns. What comes out is a plain autoregressive model that fills holes, for comparisons."""

    def __post_init__(self) -> None:
        if self.size not in SIZES:
            raise ValueError(f"size {self.size!r} is unknown: choose one of {', '.join(SIZES)}")
        if (self.minutes is None) == (self.steps is None):
            raise ValueError("give either --minutes or --steps")
        kinds_of(self.tasks)
        if self.objective not in OBJECTIVES:
            raise ValueError(f"objective {self.objective!r} is unknown: choose one of {', '.join(OBJECTIVES)}")
        if self.objective == "causal" and (self.own or self.edits):
            raise ValueError("--objective causal has no canvases: leave --own and --edits at 0")
        for name, (least, most) in LIMITS.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= most:  # what is no number is not between them
                raise ValueError(f"--{_option(name)} must be from {least} to {most}, not {value}")

    @property
    def width(self) -> int:
        """Canvas tokens that are really behind each stream."""
        return self.canvas if self.objective == "canvas" else 0


def train(settings: Settings) -> dict[str, float]:
    """Runs to the end and returns the last check on held-out code, or nothing where a run that goes on was finished.
    Progress goes to stderr.

    A run is never begun over another one, which would be lost, and one that goes on is never begun: somebody who
    mistypes --out would wait for hours before noticing.

    Raises:
        ValueError: ``out`` holds a run, or with ``resume`` none, or a damaged or another one, or cannot be written.
    """
    saved = saved_run(settings)
    _writable(settings.out)
    run = Run(settings)
    if saved is not None:
        run.load(saved)
        if run.done and saved["final"]:
            sys.stderr.write(f"hone: {settings.out} is finished after {run.index} steps: nothing to do\n")
            return {}
    with run.progress:
        batches = run.batches()
        while not run.done:
            run.step(next(batches))
    result = run.check()
    run.save(final=True)
    if run.world > 1:
        dist.destroy_process_group()
    return result


class Run:
    """One process of a training run."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.rank, self.world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        local = os.environ.get("LOCAL_RANK")
        self.device = choose_device(settings.device if local is None else f"{settings.device}:{local}")
        if self.world > 1:
            dist.init_process_group("nccl" if self.device.type == "cuda" else "gloo")
        self.tokenizer = Tokenizer.load(settings.data / "tokenizer")
        self.config = replace(SIZES[settings.size], vocab_size=self.tokenizer.vocab_size)
        if not settings.edits and (settings.start is None or not read_config(settings.start).inserts):
            self.config = replace(self.config, inserts=0)  # a head that learns nothing is no part of a model
        network = Network(self.config)
        network.initialise(torch.Generator().manual_seed(settings.seed))
        if settings.start is not None:
            take_over(network, self.tokenizer, settings.start)
        self.network = network.to(self.device, best_dtype(self.device))
        self.optimiser = Optimiser(
            self.network,
            matrix_rate=settings.matrix_rate,
            other_rate=settings.other_rate,
            decay=settings.weight_decay,
            average=settings.average,
        )
        self.body = torch.compile(self.network.forward, dynamic=False) if settings.compile else self.network.forward
        self.index, self.seconds, self.tokens = 0, 0.0, 0
        self.logs = Logs(settings.out) if self.rank == 0 else None
        self.peak = _peak(self.device)
        self.last_save = self.last_check = time.monotonic()
        self.started = time.monotonic()
        self.progress = _progress(self.rank == 0)
        self.bar = self.progress.add_task("train", total=1.0, shown="")

    @property
    def share(self) -> float:
        """How much of the run is done, 0 to 1."""
        if self.settings.steps is not None:
            return self.index / self.settings.steps
        return self.seconds / 60 / (self.settings.minutes or 1.0)

    @property
    def done(self) -> bool:
        return self.share >= 1.0

    def batches(self) -> Iterator[Batch]:
        s = self.settings
        source = Corpus.open(s.data / "train")
        data = Batches(
            source, self.tokenizer, self.config, streams=s.streams, canvas=s.width, seed=s.seed,
            first=self.index, rank=self.rank, world=self.world, edits=s.edits, kinds=kinds_of(s.tasks),
        )  # fmt: skip
        if s.workers == 0:
            return (data[i] for i in range(len(data)))
        return iter(
            DataLoader(
                data, batch_size=None, sampler=range(1 << 40), num_workers=s.workers, prefetch_factor=4,
                pin_memory=self.device.type == "cuda", worker_init_fn=_one_thread,
            )
        )  # fmt: skip

    def step(self, batch: Batch) -> None:
        begun = time.monotonic()
        batch = to(batch, self.device)
        rng = np.random.default_rng([self.settings.seed, self.index, 7])
        if self.share > 0.5 and rng.random() < self.settings.own:
            self.own_damage(batch, rng)
        result = losses(self.network, self.body(batch.ids, batch.canvases), batch, self.settings.objective)
        result.total.backward()
        self.reduce()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.clip)
        factor = learning_rate(min(self.share, 1.0), self.settings.warm, self.settings.decay)
        self.optimiser.step(self.index, factor)
        self.network.zero_grad(set_to_none=True)
        self.index += 1
        self.tokens += batch.ids.numel() * self.world
        if self.index > 3:  # the first steps compile
            self.seconds += time.monotonic() - begun
        self.report(result, factor, time.monotonic() - begun)

    def own_damage(self, batch: Batch, rng: np.random.Generator) -> None:
        """Puts the model's own guesses into some of the masked places: the errors it will have to mend itself.

        Guesses that are wrong get the full weight of damage, right ones that of visible tokens (on-policy training as
        in DMax and Seed Diffusion).
        """
        with torch.no_grad():
            _, hidden = self.body(batch.ids, batch.canvases)
            rows = batch.masked.nonzero(as_tuple=True)
            guesses = torch.cat([self.network.logits(h).argmax(-1) for h in hidden[rows].split(1024)])
        chosen = torch.from_numpy(rng.random(len(guesses)) < 0.5).to(self.device)
        rows = (rows[0][chosen], rows[1][chosen])
        ids, previous = batch.canvases.ids, batch.canvases.previous
        ids[rows] = guesses[chosen]
        right = ids[rows] == batch.canvas_targets[rows]
        batch.canvas_weights[rows] = torch.where(right, 0.1, 1.0)
        segment = batch.canvases.segment
        follows = torch.zeros_like(segment, dtype=torch.bool)
        follows[:, 1:] = (segment[:, 1:] == segment[:, :-1]) & (segment[:, 1:] >= 0)
        previous[:, 1:] = torch.where(follows[:, 1:], ids[:, :-1], previous[:, 1:])

    def reduce(self) -> None:
        if self.world == 1:
            return
        for p in self.network.parameters():
            if p.grad is not None:
                dist.all_reduce(p.grad)
                p.grad /= self.world

    def report(self, result: Losses, factor: float, took: float) -> None:
        if self.logs is None:
            return
        if self.index % 10 == 0 or self.done:
            rate = self.settings.streams * (self.config.context + self.settings.width) / took
            share = rate * operations(self.config, self.settings.width) / self.peak
            row = {
                "stream": float(result.stream), "canvas": float(result.canvas), "fill": float(result.fill),
                "line": float(result.line), "edit": float(result.edit),
                "tokens_per_s": rate, "peak_share": share, "rate": factor,
            }  # fmt: skip
            self.logs.row("train", self.index, self.seconds / 60, self.tokens, row)
            left = self.seconds / max(self.share, 1e-6) - self.seconds
            shown = (
                f"step {self.index} | nats {row['stream']:.3f} causal {row['canvas']:.3f} canvas | "
                f"{rate:,.0f} tok/s {share:.0%} of peak | {left / 60:.0f} min left"
            )
            self.progress.update(self.bar, completed=min(self.share, 1.0), shown=shown)
        now = time.monotonic()
        if now - self.last_check > 60 * self.settings.check_minutes:
            self.check()
        if now - self.last_save > 60 * self.settings.save_minutes:
            self.save()

    @torch.no_grad()
    def check(self) -> dict[str, float]:
        """Losses on fixed batches of held-out packages, with the averaged weights and the present ones."""
        source = Corpus.open(self.settings.data / "valid")
        kinds = kinds_of(self.settings.tasks)
        width = 256 if self.settings.objective == "canvas" else 0
        data = Batches(source, self.tokenizer, self.config, streams=8, canvas=width, seed=12345, kinds=kinds)
        batches = [data[i] for i in range(6)]
        data.edits = float(self.settings.edits > 0)
        edits = [data[i] for i in range(6 * math.ceil(self.settings.edits))]
        result: dict[str, float] = {}
        present = {name: p.detach().clone() for name, p in self.network.named_parameters()}
        for label, weights in (("average", self.optimiser.averages), ("present", present)):
            self.put(weights)
            result |= {f"{label}.{k}": v for k, v in self.measure(batches).items()}
            result |= {f"{label}.edits.{k}": v for k, v in self.measure(edits).items() if k in EDITS}
        self.put(present)
        self.last_check = time.monotonic()
        if self.logs is not None:
            self.logs.row("check", self.index, self.seconds / 60, self.tokens, result)
        return result

    def measure(self, batches: list[Batch]) -> dict[str, float]:
        rows: list[Losses] = []
        size = tokens = 0
        if not batches:
            return {}
        for batch in batches:
            moved = to(batch, self.device)
            hidden = self.network(moved.ids, moved.canvases)
            rows.append(losses(self.network, hidden, moved, self.settings.objective))
            seen = batch.targets[batch.weights > 0].tolist()
            size, tokens = size + sum(len(self.tokenizer.token_bytes(t)) for t in seen), tokens + len(seen)
        names = ("stream", "canvas", "fill", "line", "edit")
        mean = {k: float(torch.stack([getattr(r, k) for r in rows]).mean()) for k in names}
        return mean | {"bits_per_byte": mean["stream"] / math.log(2) * tokens / size}

    @torch.no_grad()
    def put(self, weights: dict[str, Tensor]) -> None:
        for name, p in self.network.named_parameters():
            p.copy_(weights[name])

    def save(self, *, final: bool = False) -> None:
        """The averaged weights as a model folder, and everything needed to go on."""
        self.last_save = time.monotonic()
        if self.rank != 0:
            return
        out = self.settings.out
        save_model(out / "average", self.network, self.tokenizer, self.optimiser.averages)
        save_model(out / "present", self.network, self.tokenizer, self.optimiser.masters)
        state = {name: value.cpu() for name, value in self.optimiser.state().items()}
        save_tensors(out / "state.safetensors", state | {"index": torch.tensor(self.index)})
        settings = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(self.settings).items()}
        progress = {"index": self.index, "seconds": self.seconds, "tokens": self.tokens, "final": final}
        write_json(out / "run.json", progress | {"settings": settings, "model": self.config.to_dict()})

    def load(self, saved: dict[str, Any]) -> None:
        """Goes on where ``saved_run`` was. Nothing is changed before all is known to be right."""
        if saved["model"] != self.config.to_dict():
            path = self.settings.out / "run.json"
            raise ValueError(f"{path} is a run of another size: give another --out, or the --size it was begun with")
        path = self.settings.out / "state.safetensors"
        try:
            state = load_file(path, device="cpu")
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{path} cannot be read ({error}): give another --out") from error
        wanted = {name: value.shape for name, value in self.optimiser.state().items()} | {"index": torch.Size()}
        if {name: value.shape for name, value in state.items()} != wanted:
            raise ValueError(f"{path} holds the state of another model than run.json says: give another --out")
        # Weights and progress are two files: the tensor says which step the weights are of.
        self.index = int(state.pop("index"))
        self.seconds, self.tokens = saved["seconds"], saved["tokens"]
        self.optimiser.load(state)
        if self.logs is not None:
            self.logs.rewind(self.index)


def saved_run(settings: Settings) -> dict[str, Any] | None:
    """What ``run.json`` says of the run that goes on; None for one that begins.

    Raises:
        ValueError: ``train`` tells when.
    """
    path = settings.out / "run.json"
    if not settings.resume:
        if path.exists():
            raise ValueError(f"{settings.out} holds a run: --resume goes on with it, or give another --out")
        return None
    if not path.exists():
        raise ValueError(f"{settings.out} holds no run to resume: leave --resume out to begin one, or give its --out")
    saved = read_json(path)
    kinds: dict[str, Any] = {
        "index": int, "seconds": int | float, "tokens": int, "final": bool, "settings": dict, "model": dict,
    }  # fmt: skip
    wrong = [name for name, kind in kinds.items() if not isinstance(saved.get(name), kind)]
    if wrong:
        name, value = wrong[0], saved.get(wrong[0])
        raise ValueError(f"{path} is not what a run saves ({name} is {value!r:.60}): give another --out")
    for field in fields(Settings):
        begun, wanted = saved["settings"].get(field.name, field.default), getattr(settings, field.name)
        # Older runs do not say all, and have an empty text for all tasks. Another size is told of by its numbers.
        if field.name not in FREE | {"size"} and (begun or None) != (wanted or None):
            raise ValueError(
                f"{path} is a run with --{_option(field.name)} {begun}, not {wanted}: give that, or another --out"
            )
    return saved


def _option(name: str) -> str:
    return name.replace("_", "-")


def _writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise ValueError(f"--out {folder} cannot be written: {error.strerror}") from error


def kinds_of(tasks: str | None) -> list[str] | None:
    """The kinds of damage that are named, by themselves or by their group; None for all.

    Raises:
        ValueError: an unknown name, with the groups that there are, or none.
    """
    if tasks is None:
        return None
    named = [name.strip() for name in tasks.split(",") if name.strip()]
    if not named:
        raise ValueError(f"--tasks must name kinds of edits or groups of them, not {tasks!r}: leave it out for all")
    for name in named:
        if name not in KINDS and name not in GROUPS:
            raise ValueError(f"task {name!r} is unknown: choose from {', '.join(GROUPS)}, or kinds of docs/edits.md")
    return [kind.name for kind in KINDS.values() if {kind.name, kind.group} & set(named)] or None


def take_over(network: Network, tokenizer: Tokenizer, folder: Path) -> None:
    """Puts the weights of the model in ``folder`` into ``network``; a head for edits and a table of pairs stay as they
    are where it has none.

    Raises:
        ValueError: another size, or another tokenizer: its ids mean other texts.
        CheckpointError: no model there, or a damaged one.
    """
    known, theirs = load_model(folder, device=torch.device("cpu"), dtype=torch.float32)
    ours = network.config
    if known.config not in [
        replace(ours, inserts=inserts, pairs=pairs) for inserts in (0, ours.inserts) for pairs in (0, ours.pairs)
    ]:
        raise ValueError(f"{folder} is a model of another size: give the --size it was trained with")
    texts = ([one.token_bytes(i) for i in range(one.vocab_size)] for one in (theirs, tokenizer))
    if next(texts) != next(texts):
        raise ValueError(f"{folder} has another tokenizer than the data: copy its tokenizer files into data/tokenizer")
    network.load_state_dict(known.state_dict(), strict=known.config == ours)


class Logs:
    """One CSV per kind of row, and TensorBoard's format beside it where that is installed."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        if not (folder / "run.json").exists():
            self.rewind(0)
        try:
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 (optional)
        except ImportError:
            self.board: Any = None
        else:
            self.board = SummaryWriter(str(folder / "tensorboard"))

    def rewind(self, step: int) -> None:
        """Forgets the rows behind ``step``: a run that goes on from there writes them again."""
        for path in (self.folder / "train.csv", self.folder / "check.csv"):
            if not path.exists():
                continue
            lines = path.read_bytes().decode("utf-8", "replace").splitlines(keepends=True)
            steps = [line.split(",")[0] for line in lines[1:]]
            junk = [i for i, number in enumerate(steps, 2) if not (number.isascii() and number.isdecimal())]
            if junk:
                raise ValueError(f"{path}: line {junk[0]} begins with no step: take it out, or give another --out")
            kept = [line for line, number in zip(lines[1:], steps, strict=True) if int(number) <= step]
            path.write_bytes("".join([*lines[:1], *kept]).encode())

    def row(self, kind: str, step: int, minutes: float, tokens: int, values: dict[str, float]) -> None:
        path = self.folder / f"{kind}.csv"
        new = not path.exists() or not path.stat().st_size
        with path.open("a", newline="") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(["step", "minutes", "tokens", *values])
            writer.writerow([step, f"{minutes:.3f}", tokens, *(f"{v:.5g}" for v in values.values())])
        if self.board is not None:
            for name, value in values.items():
                self.board.add_scalar(f"{kind}/{name}", value, step)


def _one_thread(_worker: int) -> None:
    torch.set_num_threads(1)


def operations(config: ModelConfig, canvas: int) -> float:
    """Floating-point operations per token (stream and canvas), forward and backward: 6 per weight, and attention."""
    parts = config.parameters()
    both = config.context + canvas
    columns = (config.context * config.context / 2 + canvas * both) / both
    return 6 * (parts["body"] + parts["embedding"]) + 12 * config.n_layers * config.d_model * columns


def _peak(device: torch.device) -> float:
    """Measured matrix-product rate of this machine in the run's number format, in operations per second."""
    n = 8192 if device.type == "cuda" else 1024
    a = torch.randn(n, n, device=device, dtype=best_dtype(device))
    best = math.inf
    for _ in range(5):
        begun = time.perf_counter()
        a @ a
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - begun)
    return 2 * n**3 / best


def _progress(shown: bool) -> Progress:
    console = Console(stderr=True)
    columns = (BarColumn(20), TimeElapsedColumn(), TextColumn("{task.fields[shown]}"))
    return Progress(*columns, console=console, disable=not shown, refresh_per_second=1)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``hone train``: one for each field of ``Settings``."""
    parser.add_argument("--size", default="tiny", help=f"named size: {', '.join(SIZES)} (default tiny)")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of `hone data build` (default data)")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints and logs (needed)")
    parser.add_argument("--minutes", type=float, help="training time (this or --steps is needed)")
    parser.add_argument("--steps", type=int, help="training steps (this or --minutes is needed)")
    for name, kind, text in (
        ("streams", int, "streams per step and process"),
        ("canvas", int, "canvas tokens per stream"),
        ("matrix-rate", float, "learning rate of Muon"),
        ("other-rate", float, "learning rate of Adam"),
        ("weight-decay", float, "weight decay of the matrices"),
        ("warm", float, "share of the run that warms up"),
        ("decay", float, "share of the run that decays"),
        ("average", float, "decay of the moving average of weights"),
        ("clip", float, "largest gradient norm"),
        ("own", float, "share of late steps damaged by the model's own samples"),
        ("edits", float, "share of steps that train edits"),
        ("seed", int, "seed of weights and data"),
        ("workers", int, "processes that prepare batches"),
        ("save-minutes", float, "minutes between checkpoints"),
        ("check-minutes", float, "minutes between checks on held-out code"),
    ):
        default = getattr(Settings, name.replace("-", "_"))
        parser.add_argument(f"--{name}", type=kind, default=default, help=f"{text} (default {default})")
    parser.add_argument(
        "--tasks", help="kinds of damage and groups of them for edits, with commas between (default all)"
    )
    parser.add_argument(
        "--objective", default="canvas", choices=OBJECTIVES,
        help="canvas, or causal: next-token loss alone, for comparisons (default canvas)",
    )  # fmt: skip
    parser.add_argument(
        "--device", default="auto", choices=["auto", "cpu", "cuda", "mps"], help="auto, cpu, cuda or mps (default auto)"
    )
    parser.add_argument("--compile", action="store_true", help="torch.compile the network's body")
    parser.add_argument("--start", type=Path, help="begin with the weights of this model folder")
    parser.add_argument("--resume", action="store_true", help="go on where the run in --out stopped; it must hold one")


def settings_from(arguments: argparse.Namespace) -> Settings:
    names = Settings.__dataclass_fields__
    return Settings(**{k: v for k, v in vars(arguments).items() if k in names})


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="hone train", description="Train a canvas model.")
    add_arguments(parser)
    try:
        result = train(settings_from(parser.parse_args(argv)))
    except (ValueError, OSError, CheckpointError, CorpusError) as error:
        sys.stderr.write(f"hone: {' '.join(str(error).split())}\n")
        return 2
    if result:
        sys.stdout.write(json.dumps(result) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
