"""`python -m model.damage FILES`: how often each kind fits blocks of real files, what a draw costs, and examples."""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import unified_diff
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from model.damage.draw import draw, draw_block
from model.damage.kinds import KINDS, instruction
from model.damage.types import Block, Damage, damaged
from model.spans import python_parser


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m model.damage", description=__doc__.partition(": ")[2])
    parser.add_argument("paths", nargs="+", type=Path, metavar="FILE", help="Python files, or folders of them")
    parser.add_argument("--blocks", type=int, default=300, help="blocks that every kind is tried on (default: 300)")
    parser.add_argument("--draws", type=int, default=300, help="draws that are timed (default: 300)")
    parser.add_argument("--examples", type=int, default=5, help="examples to show (default: 5)")
    parser.add_argument("--kind", action="append", choices=sorted(KINDS), help="only this kind; may be repeated")
    parser.add_argument("--seed", type=int, default=0)
    return parser


def main(words: Sequence[str] | None = None) -> int:
    options = build_parser().parse_args(words)
    texts = list(read(options.paths))
    if not texts:
        print("no Python file could be read", file=sys.stderr)  # noqa: T201
        return 2
    console = Console()
    rng = np.random.default_rng(options.seed)
    names = options.kind or list(KINDS)
    console.print(measure(rng, texts, names, options.blocks))
    console.print(pace(rng, texts, names, options.draws))
    for _ in range(options.examples):
        text = texts[int(rng.integers(len(texts)))]
        if (drawn := draw(rng, text, python_parser(), names)) is not None:
            console.print(render(*drawn), soft_wrap=True)
    return 0


def read(paths: Sequence[Path]) -> Iterator[str]:
    """The text of every file that is UTF-8, those of folders too."""
    for path in paths:
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            try:
                text = file.read_bytes().decode("utf-8")
            except (OSError, UnicodeDecodeError) as error:
                print(f"{file}: {error}", file=sys.stderr)  # noqa: T201
                continue
            if text.strip():
                yield text


def measure(rng: np.random.Generator, texts: Sequence[str], names: Sequence[str], count: int) -> Table:
    """A row for each kind: the share of random blocks that it fits, and what trying it costs."""
    fits, spent, blocks = Counter[str](), Counter[str](), 0
    for _ in range(count):
        block = draw_block(rng, texts[int(rng.integers(len(texts)))], python_parser())
        if block is None or block.scan.broken:
            continue
        blocks += 1
        assert block.scan.vocabulary is not None  # made here, so that it is not on the first kind's bill
        for name in names:
            started = time.perf_counter()
            fits[name] += KINDS[name].apply(rng, block) is not None
            spent[name] += int(1e9 * (time.perf_counter() - started))
    table = Table("kind", "group", title=f"{blocks} blocks")
    table.add_column("fits", justify="right")
    table.add_column("µs", justify="right")
    for name in names:
        share, cost = fits[name] / max(1, blocks), spent[name] / 1000 / max(1, blocks)
        table.add_row(name, KINDS[name].group, f"{share:.1%}", f"{cost:.0f}")
    return table


def pace(rng: np.random.Generator, texts: Sequence[str], names: Sequence[str], count: int) -> str:
    """What is drawn and how fast, in one line."""
    drawn = Counter[str]()
    started = time.process_time()
    for _ in range(count):
        found = draw(rng, texts[int(rng.integers(len(texts)))], python_parser(), names)
        drawn[KINDS[found[1].parts[0]].group if found is not None else "nothing"] += 1
    each = (time.process_time() - started) / max(1, count)
    shares = ", ".join(f"{name} {number / count:.0%}" for name, number in drawn.most_common())
    return f"{count} draws, {1e6 * each:.0f} µs each: {shares}"


def render(block: Block, damage: Damage) -> Text:
    """What mends the block, as a diff: damaged lines in red, what people wrote in green."""
    worse = damaged(block.text, damage.edits)
    end = block.end + len(worse) - len(block.text)
    shown = Text(f"\n{damage.kind}", "bold")
    shown.append(f"  {instruction(damage.kind)}  ({', '.join(damage.parts)})\n", "not bold dim")
    lines = unified_diff(worse[block.start : end].splitlines(), block.source.splitlines(), n=3, lineterm="")
    for line in list(lines)[2:]:
        shown.append(line + "\n", {"-": "not bold red", "+": "not bold green"}.get(line[:1], "not bold"))
    return shown


if __name__ == "__main__":
    sys.exit(main())
