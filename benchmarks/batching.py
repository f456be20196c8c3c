"""What does a request cost when the forward passes of many are one pass, against one pass each?

Several contexts are encoded, full ones of random tokens (what they say does not matter to the time). Each waits for a
forward pass, and all are answered turn about, in one pass and one by one:

    step     the causal head's: one more token
    draft    eight canvases of four places and their glue
    judge    eight rows scored

Ends with one line of JSON.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from infill.canvas import Canvas
from infill.timing import Ratio, ratio, side_by_side, stopwatch
from model.calls import Call, Denoise, Encode, Score, one_by_one
from model.checkpoint import load_denoiser
from model.denoiser import NetworkDenoiser, State

WIDTHS = (1, 2, 4, 8, 16, 32, 64)
ROWS = 8
HOLE = 4


@dataclass(frozen=True)
class Row:
    """One kind of pass for so many requests."""

    kind: str
    requests: int
    tokens: int
    """Of one request."""
    time: Ratio
    """Of one request."""


class Contexts:
    """Encoded contexts, each a token longer than ``ids`` between a step and the next."""

    def __init__(self, denoiser: NetworkDenoiser, count: int, length: int) -> None:
        self.denoiser = denoiser
        generator = torch.Generator().manual_seed(0)
        vocabulary, first = denoiser.tokenizer.vocab_size, denoiser.tokenizer.n_special
        drawn = torch.randint(first, vocabulary, (count, length + 1), generator=generator)
        self.ids: list[list[int]] = drawn.tolist()
        self.states: list[State] = [denoiser.encode(ids[:-1]) for ids in self.ids]
        glue = self.ids[0][: denoiser.glue]
        self.canvas = Canvas.of_lengths([HOLE] * ROWS, glue, denoiser.tokenizer, denoiser.device)
        self.tokens = drawn[:ROWS, :HOLE].to(denoiser.device)

    def calls(self, kind: str, count: int) -> list[Call]:
        if kind == "step":
            return [Encode(ids, state) for ids, state in zip(self.ids[:count], self.states, strict=False)]
        if kind == "draft":
            return [Denoise(state, self.canvas.ids, self.canvas.open) for state in self.states[:count]]
        return [Score(state, self.tokens) for state in self.states[:count]]

    def per_request(self, kind: str, answer: Callable[[Sequence[Call]], object], count: int) -> Callable[[], float]:
        def timed() -> float:
            for ids, state in zip(self.ids, self.states, strict=True):
                self.denoiser.encode(ids[:-1], state)  # Back to the beginning, which computes nothing.
            calls = self.calls(kind, count)
            return stopwatch(lambda: answer(calls), self.synchronise) / count

        return timed

    def synchronise(self) -> None:
        if self.denoiser.device.type == "cuda":
            torch.cuda.synchronize()


def main(argv: Sequence[str] | None = None) -> int:
    options = parse(argv)
    torch.set_num_threads(options.threads)
    denoiser = load_denoiser(options.model, device=options.device, dtype=options.dtype)
    widths = [width for width in WIDTHS if width <= options.most]
    with torch.inference_mode():
        contexts = Contexts(denoiser, max(widths), min(options.context, denoiser.context))
        pairs = [(kind, width) for kind in options.kinds for width in widths]
        rows = [
            measured(contexts, kind, width, options.n) for kind, width in track(pairs, console=Console(stderr=True))
        ]
    Console(width=None if sys.stdout.isatty() else 120).print(table(rows))
    facts = {"threads": options.threads, "device": str(denoiser.device), "dtype": str(denoiser.dtype)}
    print(json.dumps({"benchmark": "batching", **facts, "rows": list(map(asdict, rows))}))
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--model", type=Path, metavar="FOLDER", help="a checkpoint (default: the embedded weights)")
    parser.add_argument("--kinds", nargs="+", default=["step", "draft", "judge"], choices=["step", "draft", "judge"])
    parser.add_argument("--most", type=int, default=WIDTHS[-1], help="requests in one pass at most")
    parser.add_argument("--n", type=int, default=10, help="pairs of measurements of each row")
    parser.add_argument("--context", type=int, default=512, help="context tokens (at most what the model takes)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="auto")
    return parser.parse_args(argv)


def measured(contexts: Contexts, kind: str, count: int, n: int) -> Row:
    together = contexts.per_request(kind, contexts.denoiser.run, count)
    alone = contexts.per_request(kind, lambda calls: one_by_one(contexts.denoiser, calls), count)
    together()
    alone()
    pairs = [side_by_side(together, alone, repeats=1, swap=turn % 2 == 1) for turn in range(n)]
    tokens = {"step": 1, "draft": contexts.canvas.ids.numel(), "judge": ROWS * (HOLE - 1)}[kind]
    return Row(kind, count, tokens, ratio(pairs))


def table(rows: Sequence[Row]) -> Table:
    result = Table(title="one forward pass for many requests against one each", title_justify="left")
    for name in ("pass", "tokens", "requests", "together, ms each", "alone, ms each", "times cheaper"):
        result.add_column(name, justify="left" if name == "pass" else "right")
    for row in rows:
        time = row.time
        faster = f"{time.faster:.2f} ({time.low:.2f}-{time.high:.2f})"
        counts = str(row.tokens), str(row.requests)
        result.add_row(row.kind, *counts, f"{time.ours_ms:.2f}", f"{time.theirs_ms:.2f}", faster)
    return result


if __name__ == "__main__":
    sys.exit(main())
