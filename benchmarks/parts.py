"""Where does the time of an engine step go, and how far is that from what the machine could do at best?

A step is one forward pass over a batch of canvases behind one full context, and the choice of what is written. Its
parts are timed while it runs. Beside each stands a floor computed from bytes and operations: the weights, the context's
keys and values and the logits moved once at the bandwidth measured in this run, or the products at the measured peak
of a large matrix product in the same dtype on the same threads, whichever takes longer.

    rows        the canvases turned into the tokens of a pass
    embedding   look-ups and the shift
    attention   projections, rotation, scores, values
    mlp         the feed-forward part
    head        the product with the vocabulary, for open places only
    sampling    tokens, confidence, what is committed
    rest        norms, residual stream, and Python between the parts

"one token" is the causal head's step: a token more in the context, and the likeliest next one. "operations" are
what torch was asked for, and what so many cost at least. Ends with one line of JSON.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch.utils._python_dispatch import TorchDispatchMode

from infill.canvas import Canvas
from infill.machine import bandwidth, dispatch_us, peak
from infill.passes import drive
from infill.sampler import Pace, Plan, refine
from model.checkpoint import load_denoiser
from model.config import ModelConfig
from model.denoiser import NetworkDenoiser, State

PARTS = ("rows", "embedding", "attention", "mlp", "head", "sampling", "rest")
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)
LENGTHS = (8, 32, 64)
GLUE = 1
SECONDS = 0.6
"""Spent on each row of the table, after warming up; three repetitions at least."""


@dataclass(frozen=True)
class Cost:
    """What a part cannot do without."""

    operations: float
    nbytes: float

    def ms(self, machine: "Machine") -> float:
        return 1000 * max(self.operations / machine.peak, self.nbytes / machine.bandwidth)


@dataclass(frozen=True)
class Machine:
    peak: float
    """Operations a second."""
    bandwidth: float
    """Bytes a second, reading as many bytes as the model's weights have."""
    dispatch_us: float
    """Of an operation on one number."""


@dataclass(frozen=True)
class Row:
    name: str
    batch: int
    length: int
    ms: float
    """Median of a step."""
    parts_ms: dict[str, float]
    floor_ms: dict[str, float]
    operations: float
    peak_share: float
    """Of the measured peak, the whole step."""
    dispatched: int
    """Operations that torch was asked for."""
    dispatch_ms: float
    """What so many cost at least, were each on one number."""


@dataclass
class Clock:
    """Time spent inside of functions it was put around; inner ones do not count for outer ones."""

    device: torch.device
    spent: dict[str, float] = field(default_factory=dict[str, float])
    _inner: list[float] = field(default_factory=list[float])

    def around(self, part: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **options: Any) -> Any:
            self._synchronise()
            began = time.perf_counter()
            self._inner.append(0.0)
            result = work(*args, **options)
            self._synchronise()
            took = time.perf_counter() - began
            self.spent[part] = self.spent.get(part, 0.0) + took - self._inner.pop()
            if self._inner:
                self._inner[-1] += took
            return result

        return timed

    def _synchronise(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


class Counter(TorchDispatchMode):
    """Counts what torch is asked for."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


def main(argv: Sequence[str] | None = None) -> int:
    options = parse(argv)
    torch.set_num_threads(options.threads)
    denoiser = load_denoiser(options.model, device=options.device, dtype=options.dtype, graphs=options.graphs)
    config = denoiser.network.config
    weights = sum(p.numel() for p in denoiser.network.parameters()) * denoiser.dtype.itemsize
    machine = Machine(peak(denoiser.dtype, denoiser.device), bandwidth(weights, denoiser.device), dispatch_us())
    lengths = [length for length in LENGTHS if length <= denoiser.max_hole]
    pairs = [(batch, length) for length in lengths for batch in BATCHES if batch <= options.most]
    with torch.inference_mode():
        generator = torch.Generator().manual_seed(0)
        context = min(options.context, denoiser.context)
        drawn = torch.randint(denoiser.tokenizer.n_special, config.vocab_size, (context,), generator=generator)
        clock = Clock(denoiser.device)
        if not options.graphs:  # what is replayed cannot be timed in parts
            watched(denoiser, clock)
        rows = [token_row(denoiser, clock, machine, drawn.tolist())]
        state = denoiser.encode(drawn.tolist())
        rows += [
            canvas_row(denoiser, clock, machine, state, batch, length)
            for batch, length in track(pairs, console=Console(stderr=True))
        ]
    Console(width=None if sys.stdout.isatty() else 160).print(table(rows, machine, options.threads, denoiser.dtype))
    facts = {"threads": options.threads, "device": str(denoiser.device), "dtype": str(denoiser.dtype)}
    facts |= {"context": context, **asdict(machine)}
    print(json.dumps({"benchmark": "parts", **facts, "rows": list(map(asdict, rows))}))
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--model", type=Path, metavar="FOLDER", help="a checkpoint (default: the embedded weights)")
    parser.add_argument("--most", type=int, default=BATCHES[-1], help="canvases in one pass at most")
    parser.add_argument("--context", type=int, default=500, help="context tokens (at most what the model takes)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--graphs", action="store_true", help="CUDA graphs (model.graphs): no parts, whole steps")
    return parser.parse_args(argv)


def watched(denoiser: NetworkDenoiser, clock: Clock) -> None:
    """Puts the clock around the parts of a pass."""
    inference = denoiser.inference
    attend = inference.attend
    places: list[tuple[Any, str, str]] = [
        (inference, "embed", "embedding"),
        (inference, "logits", "head"),
        (inference, "run", "rest"),
        (denoiser, "run", "rows"),
    ]
    places += [(layer, name, "attention") for layer in inference.layers for name in ("project", "out")]
    places += [(layer, "feed_forward", "mlp") for layer in inference.layers]
    for owner, name, part in places:
        setattr(owner, name, clock.around(part, getattr(owner, name)))
    inference.attend = clock.around("attention", lambda tokens: clock.around("attention", attend(tokens)))


def token_row(denoiser: NetworkDenoiser, clock: Clock, machine: Machine, ids: Sequence[int]) -> Row:
    first = denoiser.tokenizer.n_special
    state = denoiser.encode(ids)

    def step() -> None:
        nonlocal state
        state = denoiser.encode([*ids, *ids[: len(state.ids) + 1 - len(ids)]], state)
        int(denoiser.next_logits(state)[first:].argmax())
        if len(state.ids) == denoiser.capacity or len(state.ids) == 2 * len(ids):
            state = denoiser.encode(ids, state)  # back to the beginning, which computes nothing

    costs = costs_of(denoiser.network.config, denoiser.dtype, tokens=1, near=1, context=len(ids), wanted=1)
    return measured("one token", 1, 1, step, clock, machine, costs)


def canvas_row(denoiser: NetworkDenoiser, clock: Clock, machine: Machine, state: State, batch: int, length: int) -> Row:
    tokenizer = denoiser.tokenizer
    canvas = Canvas.of_lengths([length] * batch, [tokenizer.eof] * GLUE, tokenizer, denoiser.device)
    generator = torch.Generator(denoiser.device).manual_seed(0)

    def step() -> None:
        drive(refine(tokenizer, state, canvas, Plan(1), generator, Pace()), denoiser)

    tokens, near, wanted = batch * (length + GLUE), length + GLUE, batch * length
    config = denoiser.network.config
    costs = costs_of(config, denoiser.dtype, tokens=tokens, near=near, context=len(state.ids), wanted=wanted)
    return measured("canvases", batch, length, step, clock, machine, costs)


def costs_of(
    config: ModelConfig, dtype: torch.dtype, *, tokens: int, near: int, context: int, wanted: int
) -> dict[str, Cost]:
    """Operations and bytes of each part that has any. ``near``: tokens of its own pass that a token sees."""
    d, layers, size = config.d_model, config.n_layers, dtype.itemsize
    # Of the last layer only what is read from keys and values is computed for tokens that nobody asks about.
    full, last = (layers - 1) * tokens, wanted
    seen = 2 * 2 * d * (context + near)
    attention = 2 * d * d * (4 * full + 2 * tokens + 2 * last) + seen * (full + last)
    mlp = 2 * 3 * d * config.d_ff * (full + last)
    head = 2 * d * config.vocab_size * wanted
    logits = 4 * wanted * config.vocab_size
    return {
        "embedding": Cost(0, 2 * tokens * d * size),
        "attention": Cost(attention, layers * (4 * d * d + 2 * context * d) * size),
        "mlp": Cost(mlp, layers * 3 * d * config.d_ff * size),
        "head": Cost(head, d * config.vocab_size * size + logits),
        "sampling": Cost(0, logits),
    }


def measured(
    name: str,
    batch: int,
    length: int,
    step: Callable[[], None],
    clock: Clock,
    machine: Machine,
    costs: dict[str, Cost],
) -> Row:
    whole = clock.around("sampling", step)  # what no other part is
    whole()
    with Counter() as counter:
        step()
    taken: list[dict[str, float]] = []
    ends = time.perf_counter() + SECONDS
    while len(taken) < 3 or time.perf_counter() < ends:
        clock.spent.clear()
        whole()
        taken.append(dict(clock.spent))
    parts = {part: 1000 * median(one.get(part, 0.0) for one in taken) for part in PARTS}
    ms = 1000 * median(sum(one.values()) for one in taken)
    operations = sum(cost.operations for cost in costs.values())
    floor = {part: cost.ms(machine) for part, cost in costs.items()}
    share = 1000 * operations / ms / machine.peak
    dispatch = counter.count * machine.dispatch_us / 1000
    return Row(name, batch, length, ms, parts, floor, operations, share, counter.count, dispatch)


def table(rows: Sequence[Row], machine: Machine, threads: int, dtype: torch.dtype) -> Table:
    kind = str(dtype).removeprefix("torch.")
    title = (
        f"an engine step, {threads} threads, {kind}: peak {machine.peak / 1e9:.0f} GFLOP/s, "
        f"{machine.bandwidth / 1e9:.1f} GB/s, {machine.dispatch_us:.1f} µs an operation; milliseconds, floors behind /"
    )
    result = Table(title=title, title_justify="left")
    for name in ("step", "batch", "length", "ms", "floor", "of peak", *PARTS, "operations"):
        result.add_column(name, justify="left" if name == "step" else "right")
    for row in rows:
        result.add_row(*_cells(row))
    return result


def _cells(row: Row) -> Iterator[str]:
    yield from (row.name, str(row.batch), str(row.length), f"{row.ms:.1f}", f"{sum(row.floor_ms.values()):.1f}")
    yield f"{100 * row.peak_share:.0f} %"
    for part in PARTS:
        floor = row.floor_ms.get(part)
        yield f"{row.parts_ms[part]:.1f}" + ("" if floor is None else f"/{floor:.1f}")
    yield f"{row.dispatched} ({row.dispatch_ms:.1f})"


if __name__ == "__main__":
    sys.exit(main())
