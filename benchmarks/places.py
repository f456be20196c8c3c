"""What the signs of a place say about copying from it: the weights of ``infill.places``, fitted and measured.

Holes in files of the packages that are trained on, one half to fit, one to measure: how often what stood in a hole is
among the first few copies, by both sides and by what stands before the cursor alone.

    python benchmarks/places.py --files 2500 --n 1500
"""

import argparse
import random
from collections.abc import Sequence
from copy import copy
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from infill.places import WEIGHTS, places, with_analogies
from infill.tasks import Source, Task, make_tasks
from model.corpus import Corpus

RIDGE = 1e-3
BEFORE = ("same", "up", "far", "whole")
"""Signs that know nothing of what stands behind the hole."""
ANALOGY = list(WEIGHTS).index("analogy")
FIRST = (1, 4, 8)


class Hole:
    """Its places: signs [P, S], texts, and which are right."""

    def __init__(self, task: Task) -> None:
        found = with_analogies(places(task.prefix, task.suffix, one_line=True))
        self.signs = torch.tensor([place.signs for place in found], dtype=torch.float64).view(-1, len(WEIGHTS))
        self.texts = [place.text for place in found]
        self.right = torch.tensor([text == task.middle for text in self.texts], dtype=torch.bool)
        self.truth = task.middle

    def plain(self) -> "Hole":
        """Without changed names."""
        hole = copy(self)
        kept = (self.signs[:, ANALOGY] == 0).tolist()
        hole.signs, hole.right = self.signs[kept], self.right[kept]
        hole.texts = [text for text, one in zip(self.texts, kept, strict=True) if one]
        return hole

    def rank(self, weights: Tensor) -> int | None:
        """Which copy the right one is, from 0; None where it is none."""
        scores: dict[str, float] = {}
        for text, odds in zip(self.texts, (self.signs @ weights).exp().tolist(), strict=True):
            scores[text] = scores.get(text, 0.0) + odds
        if self.truth not in scores:
            return None
        return sum(score > scores[self.truth] for score in scores.values())


def fit(holes: Sequence[Hole], used: Tensor) -> Tensor:
    """The weights under which the right places are likeliest among all (a conditional logit); others stay at 0."""
    decided = [hole for hole in holes if hole.right.any() and not hole.right.all()]
    weights = torch.zeros(len(WEIGHTS), dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        total = RIDGE * weights.square().sum()
        for hole in decided:
            scores = hole.signs @ (weights * used)
            total = total - (scores[hole.right].logsumexp(0) - scores.logsumexp(0)) / len(decided)
        total.backward()
        return total

    optimiser.step(loss)
    return (weights * used).detach()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--files", type=int, default=2500)
    parser.add_argument("--n", type=int, default=1500, help="holes of each kind")
    parser.add_argument("--seed", type=int, default=5)
    arguments = parser.parse_args()
    corpus = Corpus.open(arguments.data / "train")
    chosen = random.Random(arguments.seed).sample(range(len(corpus)), min(arguments.files, len(corpus)))
    sources = [Source(corpus.package(i), corpus.path(i), corpus.text(i)) for i in chosen]
    log = Console(stderr=True)
    made = {kind: make_tasks(sources, kind, arguments.n, seed=3, longest=250) for kind in ("line", "rest")}
    holes = {kind: [Hole(task) for task in track(tasks, kind, console=log)] for kind, tasks in made.items()}
    unchanged = {kind: [hole.plain() for hole in found] for kind, found in holes.items()}
    every = torch.ones(len(WEIGHTS), dtype=torch.float64)
    before = torch.tensor([float(name in BEFORE) for name in WEIGHTS], dtype=torch.float64)
    shipped = torch.tensor(list(WEIGHTS.values()), dtype=torch.float64)
    table = Table(*("signs", *WEIGHTS, *(f"{kind}, first {k}, %" for kind in holes for k in FIRST)))
    for name, asked, used in (
        ("what stands before", unchanged, before), ("both sides", unchanged, every), ("and analogies", holes, every),
        ("as it ships", holes, None),
    ):  # fmt: skip
        halves = {kind: len(found) * 2 // 3 for kind, found in asked.items()}
        learnt = [hole for kind, found in asked.items() for hole in found[: halves[kind]]]
        weights = shipped if used is None else fit(learnt, used)
        shares: list[str] = []
        for kind, found in asked.items():
            ranks = [hole.rank(weights) for hole in found[halves[kind] :]]
            shares += [f"{100 * sum(r is not None and r < k for r in ranks) / len(ranks):.1f}" for k in FIRST]
        table.add_row(name, *(f"{float(w):.2f}" for w in weights), *shares)
    Console(width=200).print(table)


if __name__ == "__main__":
    main()
