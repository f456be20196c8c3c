"""How much faster are blocks edited in batches than one by one? Time per 1,000 functions, side by side in one run.

Functions of the standard library are edited as `hone refactor` edits them, over the whole way: files, journal, gate. A
round is one file: it is done once with one block at a time and once with many, in turns, so that what else the machine
does disturbs both alike. Both must change the same. Ends with one line of JSON.
"""

import argparse
import json
import random
import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from assistant.checkpoints import follows
from assistant.config import Settings
from assistant.models import can_edit, for_edits, main_folder
from assistant.refactor.asking import Ask, Selected, changes
from assistant.refactor.change import Change
from assistant.refactor.files import Original
from assistant.refactor.journal import Journal
from assistant.refactor.local import here
from assistant.refactor.select import Text, Wanted
from assistant.service import open_infiller
from infill.timing import ratio, side_by_side


def main(argv: Sequence[str] | None = None) -> int:
    options = parse(argv)
    settings = for_edits(Settings(model=options.model, device=options.device, threads=options.threads))
    if not (can_edit(main_folder(settings)) or follows(main_folder(settings))):
        print("this needs a model that was trained to edit, or follows instructions: --model FOLDER", file=sys.stderr)
        return 2
    console = Console(width=None if sys.stdout.isatty() else 120)
    dice = random.Random(options.seed)
    chosen = select(options.files, options.functions, dice)
    pairs, same, changed = [], 0, 0
    with ExitStack() as stack:
        alone = stack.enter_context(here(lambda: open_infiller(settings), 1))
        batched = stack.enter_context(here(lambda: open_infiller(settings), options.batch))
        for ask in (alone, batched):  # opened, and warm
            edit(chosen[:1], options.task, ask, 1)
        for index, group in enumerate(chosen):
            found: dict[str, list[Change]] = {}
            ours = partial(timed, found, "batched", group, options.task, batched, options.batch)
            theirs = partial(timed, found, "alone", group, options.task, alone, 1)
            pairs.append(side_by_side(ours, theirs, repeats=1, swap=bool(index % 2)))
            same += [one.text for one in found["alone"]] == [one.text for one in found["batched"]]
            changed += sum(len(one.changed) for one in found["batched"])
    result = ratio(pairs)
    functions = sum(len(one.blocks) for one in chosen)
    table = Table(title=f"{functions} functions of {len(chosen)} files, task {options.task}", box=None, pad_edge=False)
    for name in ("blocks at once", "seconds per 1,000 functions", "times faster (95 %)"):
        table.add_column(name, justify="right")
    table.add_row("1", f"{result.theirs_ms:.1f}", "")
    table.add_row(
        str(options.batch), f"{result.ours_ms:.1f}", f"{result.faster:.2f} ({result.low:.2f} to {result.high:.2f})"
    )
    console.print(table)
    console.print(f"{changed} functions changed; the same text both ways in {same} of {len(chosen)} files")
    values = {
        "benchmark": "refactor", "files": len(chosen), "functions": functions, "batch": options.batch,
        "seconds_per_1000_alone": round(result.theirs_ms, 2), "seconds_per_1000_batched": round(result.ours_ms, 2),
        "faster": round(result.faster, 3), "low": round(result.low, 3), "high": round(result.high, 3),
        "in_all": round(result.in_all, 3), "same": same, "changed": changed, "seed": options.seed,
        "model": (options.model.name if options.model else "embedded"), "device": options.device,
    }  # fmt: skip
    print(json.dumps(values))
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--files", type=int, default=12)
    parser.add_argument("--functions", type=int, default=24, help="of each file, at most")
    parser.add_argument("--batch", type=int, default=32, help="blocks side by side (32)")
    parser.add_argument("--task", default="fix")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--model", type=Path, help="a checkpoint (the embedded model)")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, help="of the processor")
    return parser.parse_args(argv)


def select(files: int, functions: int, dice: random.Random) -> list[Selected]:
    folder = Path(sysconfig.get_paths()["stdlib"])
    paths = [path for path in sorted(folder.rglob("*.py")) if not {"test", "tests", "site-packages"} & set(path.parts)]
    dice.shuffle(paths)
    found: list[Selected] = []
    for path in paths:
        if len(found) == files:
            break
        data = path.read_bytes()
        if not 2000 < len(data) < 60_000 or b"\r" in data:
            continue
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            continue
        blocks = Text(text, "python").blocks(Wanted())[:functions]
        if len(blocks) >= functions // 2:
            original = Original(path.relative_to(folder).as_posix(), data, 0o644)
            found.append(Selected(original, "python", tuple(blocks)))
    return found


def timed(into: dict[str, list[Change]], name: str, group: Selected, task: str, ask: Ask, jobs: int) -> float:
    """Milliseconds a function, which are seconds for 1,000 of them."""
    started = time.perf_counter()
    into[name] = edit([group], task, ask, jobs)
    return 1000 * (time.perf_counter() - started) / len(group.blocks)


def edit(selected: Sequence[Selected], task: str, ask: Ask, jobs: int) -> list[Change]:
    """With a journal that knows nothing yet."""
    with tempfile.TemporaryDirectory() as folder, Journal(Path(folder)) as journal:
        return list(changes(selected, task, ask, journal, model="benchmark", jobs=jobs))


if __name__ == "__main__":
    sys.exit(main())
