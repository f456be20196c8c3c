"""What does a keystroke cost with the context's keys and values kept, and what without? Are the answers the same?

A person types real code, one character at a time, in the middle of a real file. Each keystroke is encoded twice, turn
about: on top of what the keystroke before left behind, and from nothing. Tokenising is part of both. The logits of both
are compared each time. Ends with one line of JSON.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from infill.canvas import Canvas
from infill.tasks import Task, held_out, make_tasks
from infill.timing import Ratio, ratio, stopwatch
from model.checkpoint import load_denoiser
from model.denoiser import NetworkDenoiser
from model.layout import encode_context

WANTED = 5.0
"""How many times cheaper a keystroke should be at least."""
HOLE = 16
"""Tokens of the canvas whose logits are compared."""


@dataclass(frozen=True)
class Keystroke:
    kept_ms: float
    fresh_ms: float
    context: int
    new: int
    """Context tokens that the kept state did not have."""
    difference: float
    """Largest absolute difference of a logit, causal head and canvas."""
    same: bool
    """Whether the likeliest token is the same at every place."""


def main(argv: Sequence[str] | None = None) -> int:
    options = parse(argv)
    torch.set_num_threads(options.threads)
    denoiser = load_denoiser(options.model, device=options.device, dtype=options.dtype)
    sources = held_out(options.source, options.data, options.split)
    tasks = make_tasks(sources, "line", options.n)
    strokes = [
        stroke
        for task in track(tasks, "typing", console=Console(stderr=True))
        for stroke in typed(denoiser, task, min(options.context, denoiser.context))
    ]
    cost = ratio([(stroke.kept_ms, stroke.fresh_ms) for stroke in strokes])
    Console(width=None if sys.stdout.isatty() else 140).print(table(strokes, cost))
    facts = {"threads": options.threads, "device": str(denoiser.device), "dtype": options.dtype}
    largest = max(stroke.difference for stroke in strokes)
    same = sum(stroke.same for stroke in strokes) / len(strokes)
    result = {"benchmark": "keystroke", **facts, **asdict(cost), "largest_difference": largest, "same_tokens": same}
    print(json.dumps(result))
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--model", type=Path, metavar="FOLDER", help="a checkpoint (default: the embedded weights)")
    parser.add_argument("--data", type=Path, default=Path("data"), help="a built corpus")
    parser.add_argument("--split", default="valid", choices=["valid", "test"])
    parser.add_argument("--source", type=Path, help="any folder of Python files instead of the corpus")
    parser.add_argument("--n", type=int, default=20, help="lines that are typed")
    parser.add_argument("--context", type=int, default=512, help="context tokens (at most what the model takes)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="auto")
    return parser.parse_args(argv)


def typed(denoiser: NetworkDenoiser, task: Task, context: int) -> Iterator[Keystroke]:
    """Type the line of a task. The first character is not counted: nobody has been there before."""
    state: Any = None
    kept: Sequence[int] = ()

    def encode(at: int, past: Any) -> Any:
        layout = encode_context(
            denoiser.tokenizer,
            task.text[: task.start + at],
            task.suffix,
            language="python",
            filename=task.path,
            context=context,
            glue=denoiser.glue,
        )
        return denoiser.encode(layout.ids, past)

    with torch.inference_mode():
        for at in range(len(task.middle) + 1):
            box: list[Any] = [state, None]

            def on_kept(at: int = at, box: list[Any] = box) -> None:
                box[0] = encode(at, box[0])

            def on_nothing(at: int = at, box: list[Any] = box) -> None:
                box[1] = encode(at, None)

            wait = synchroniser(denoiser)
            turns = [on_kept, on_nothing] if at % 2 else [on_nothing, on_kept]
            taken = {work: stopwatch(work, wait) for work in turns}
            state = box[0]
            if at > 0:
                new = len(state.ids) - common(kept, state.ids)
                times = taken[on_kept], taken[on_nothing]
                yield Keystroke(*times, len(state.ids), new, *compared(denoiser, state, box[1]))
            kept = tuple(state.ids)


def synchroniser(denoiser: NetworkDenoiser) -> Any:
    return torch.cuda.synchronize if denoiser.device.type == "cuda" else lambda: None


def common(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the common beginning."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def compared(denoiser: NetworkDenoiser, kept: Any, fresh: Any) -> tuple[float, bool]:
    """Largest absolute difference of a logit, and whether the likeliest tokens are the same, of both heads."""
    canvas = Canvas.of_lengths([HOLE], [], denoiser.tokenizer, denoiser.device)
    differences, same = [], True
    for one, other in (
        (denoiser.next_logits(kept), denoiser.next_logits(fresh)),
        (denoiser.denoise(kept, canvas.ids, canvas.hole), denoiser.denoise(fresh, canvas.ids, canvas.hole)),
    ):
        differences.append(float((one.float() - other.float()).abs().max()))
        same = same and bool((one.argmax(-1) == other.argmax(-1)).all())
    return max(differences), same


def table(strokes: Sequence[Keystroke], cost: Ratio) -> Table:
    result = Table(title=f"a keystroke, {cost.n} of them", title_justify="left")
    result.add_column("")
    result.add_column("median", justify="right")
    tokens = sorted(stroke.new for stroke in strokes)
    same = sum(stroke.same for stroke in strokes) / len(strokes)
    for name, value in (
        ("with the cache, ms", f"{cost.ours_ms:.2f}"),
        ("without, ms", f"{cost.theirs_ms:.2f}"),
        (f"times cheaper (wanted: {WANTED:.0f})", f"{cost.faster:.1f} ({cost.low:.1f}-{cost.high:.1f})"),
        ("context tokens", str(sorted(stroke.context for stroke in strokes)[len(strokes) // 2])),
        ("new tokens", str(tokens[len(tokens) // 2])),
        ("largest difference of a logit", f"{max(stroke.difference for stroke in strokes):.2g}"),
        ("same likeliest tokens", f"{100 * same:.1f} %"),
    ):
        result.add_row(name, value)
    return result


if __name__ == "__main__":
    sys.exit(main())
