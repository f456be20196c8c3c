"""``hone eval --calibrate``: what the file's own text counts, the judge's numbers, how many lengths and steps, and how
likely answers are right, all chosen on held-out code.

Every task is drafted once per policy and step count with the most lengths; all smaller settings follow from these
drafts by arithmetic, because the rows of a batch do not see each other. Chosen is what gets the most exact answers
within ``ALLOWED`` times what the causal head of the same weights takes; edit similarity decides between equals. Time is
the processor's, where that is what computes, so that other work on the machine does not decide. What copies from
other files are worth is fitted last, where somebody finds such texts. With all that fixed, every task is answered as
``hone eval --quiet`` does it, and the chances are fitted to these answers' fates.

Shapes: T tasks, C drafts of a task (its likeliest length first, padded).
"""

import itertools
import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any

import torch
from rapidfuzz.distance import Levenshtein
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from infill import lengthfit
from infill.chance import fit as fit_chance
from infill.engine import Infiller
from infill.evaluate import EvalOptions, files_of, tasks_of
from infill.judge import Calibration, Draft
from infill.metrics import mean
from infill.quiet import answers
from infill.recallfit import fit as fit_recall
from infill.recallfit import places as recall_places
from infill.systems import prompt_of
from infill.tasks import Task
from infill.trial import load_any
from infill.types import InfillOptions
from infill.workspaces import Elsewhere, Workspaces
from model.checkpoint import DEFAULT_WEIGHTS
from model.published.denoiser import Published

ALPHAS = tuple(i / 10 for i in range(11))
COPY_BASES = (-8.0, -6.0, -5.0, -4.0, -3.0, -2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0)
COPY_GAINS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.8, 1.1)
BETAS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
GAMMAS = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0)
LENGTHS = (1, 2, 4, 8)
PENALTY = 0.01
"""On the squares of the numbers that are fitted together, each in units of how much its term differs between drafts."""
SPEAKING = 4
"""Terms that speak for a draft the more, the higher they are: log p of all sorts."""
LEAST = 100
"""Tasks from which so many numbers can be fitted."""
ALLOWED = 2.0
"""Answers may take so many times longer than the causal head's: 1 would leave its own draft out, which is worth it."""
TIMED = 12
"""Tasks on which each setting is timed."""


@dataclass(frozen=True)
class Drafted:
    """The drafts of one task, likeliest length first, and what each would be worth as the answer."""

    drafts: Sequence[Draft]
    exact: Sequence[bool]
    similarity: Sequence[float]
    accepted: Sequence[bool]
    """Whether the syntax gate lets it through."""


@dataclass(frozen=True)
class Choice:
    """One setting, the best judge for it, and what it reaches."""

    calibration: Calibration
    exact: float
    error: float
    similarity: float
    ms: float
    """Median milliseconds of an answer with the context cached."""


def run(options: EvalOptions, elsewhere: Elsewhere | None = None) -> int:
    """Measure, print the grid, write ``calibration.json`` beside the weights. Returns the exit code."""
    denoiser = load_any(options)
    if isinstance(denoiser, Published):
        return lengthfit.run(options, denoiser)
    folder = options.model or DEFAULT_WEIGHTS
    clock = time.process_time if denoiser.device.type == "cpu" else time.perf_counter
    infiller = Infiller(denoiser, calibration=Calibration.load(folder), clock=clock)
    made = tasks_of(options, lambda text: len(denoiser.tokenizer.encode(text)), denoiser.max_hole)
    tasks = [task for kind in made.values() for task in kind]
    choices: list[Choice] = []
    chosen, limit = None, 0.0
    with Workspaces(files_of(options), elsewhere) as workspaces:
        if not options.chances:
            asked = track(tasks, "the file's own text", console=Console(stderr=True))
            infiller.calibration = replace(infiller.calibration, recall=fit_recall(recall_places(infiller, asked)))
            choices, chosen, limit = judges(infiller, options, tasks, workspaces)
            infiller.calibration = chosen.calibration
        asked = track(tasks, "chances", console=Console(stderr=True))
        infiller.calibration = replace(infiller.calibration, chance=chances(infiller, asked, workspaces))
    infiller.calibration.save(folder)
    if options.json:
        best = {} if chosen is None else asdict(chosen)
        best |= {"calibration": asdict(infiller.calibration)}
        grid: list[dict[str, Any]] = [asdict(choice) for choice in choices]
        sys.stdout.write(json.dumps({"limit_ms": limit, "chosen": best, "grid": grid}) + "\n")
        return 0
    if chosen is not None:
        show(choices, chosen, limit)
    sys.stdout.write(f"written to {folder}\n")
    return 0


def judges(
    infiller: Infiller, options: EvalOptions, tasks: Sequence[Task], workspaces: Workspaces
) -> tuple[list[Choice], Choice, float]:
    """All settings with the best judge for each, the one that is chosen, and the milliseconds it was allowed."""
    log = Console(stderr=True)
    drafting = replace(infiller.calibration, causal_candidate=True, chance={})
    policies = options.policies or ("confidence",)
    limit = ALLOWED * times(infiller, tasks, InfillOptions(policy="causal"))
    choices: list[Choice] = []
    for policy, steps in itertools.product(policies, options.steps or (1,)):
        asked = InfillOptions(policy=policy, steps=steps, lengths=max(LENGTHS))
        infiller.calibration = drafting
        found = [
            drafted(infiller, task, asked, workspaces.texts(task))
            for task in track(tasks, f"{policy}, {steps} steps", console=log)
        ]
        choices += fit(infiller, tasks, found, replace(drafting, policy=policy, steps=steps))
    return choices, choose(choices, limit), limit


def chances(infiller: Infiller, tasks: Iterable[Task], workspaces: Workspaces) -> dict[str, float]:
    """The weights of what says how likely an answer is right; nothing where all answers met the same fate."""
    found = [one for one in answers(infiller, tasks, workspaces.texts) if one.candidate is not None]
    try:
        return fit_chance([one.candidate.signs for one in found if one.candidate], [one.right for one in found])
    except ValueError:
        return {}


def drafted(infiller: Infiller, task: Task, options: InfillOptions, extra: tuple[str, ...] = ()) -> Drafted:
    prompt = replace(prompt_of(task), extra=extra)
    found = infiller.drafts(prompt, replace(options, one_line=task.one_line or None))
    gate = infiller.gate(prompt.prefix, prompt.suffix, prompt.language)
    return Drafted(
        [draft for draft, _ in found],
        [text == task.middle for _, text in found],
        [Levenshtein.normalized_similarity(text, task.middle) for _, text in found],
        [gate.accepts(text, clean=True) for _, text in found],
    )


def canvases(drafts: Sequence[Draft]) -> list[int]:
    """Which canvas each draft is from, the one of the likeliest length first; 0 for those of none. What a canvas may
    have meant that is one too long (``Request.shorter``) has its confidence and is shorter."""
    made: dict[float, Draft] = {}
    for draft in drafts:
        if draft.origin == "canvas":
            longest = made.setdefault(draft.canvas_logp, draft)
            made[draft.canvas_logp] = max(longest, draft, key=lambda one: len(one.ids))
    order = sorted(made, key=lambda own: -made[own].length_logp)
    return [order.index(draft.canvas_logp) if draft.origin == "canvas" else 0 for draft in drafts]


def times(infiller: Infiller, tasks: Sequence[Task], options: InfillOptions) -> float:
    """Median milliseconds of an answer on a few tasks, evenly chosen, with the context encoded before."""
    every = max(1, len(tasks) // TIMED)
    taken = []
    for task in tasks[::every][:TIMED]:
        asked = replace(options, one_line=task.one_line or None)
        infiller.fill(prompt_of(task), replace(asked, policy=None, steps=1, lengths=1))
        timing = infiller.fill(prompt_of(task), asked).timing_ms
        taken.append(timing["total"] - timing.get("context", 0.0))
    return median(taken)


def fit(infiller: Infiller, tasks: Sequence[Task], found: Sequence[Drafted], base: Calibration) -> Iterator[Choice]:
    """The best judge for each number of lengths, without the causal head's own answer and with it."""
    table = Numbers.of(found)
    for count, causal in itertools.product(LENGTHS, (False, True)):
        calibration = fit_judge(table, replace(base, lengths=count, causal_candidate=causal))
        picked = table.pick(calibration)
        exact = mean(table.worth(table.exact, picked).tolist())
        similarity = float(table.worth(table.similarity, picked).mean())
        infiller.calibration = calibration
        yield Choice(calibration, exact.value, exact.error, similarity, times(infiller, tasks, InfillOptions()))


def fit_judge(table: "Numbers", base: Calibration) -> Calibration:
    """``base`` with the judge's numbers that give the most exact answers; of equals the ones with the highest
    similarity, of these the smallest. First without copied drafts, then what those are worth, then those from other
    files."""

    def worth(c: Calibration) -> tuple[float, float]:
        picked = table.pick(c)
        exact, similarity = table.worth(table.exact, picked).sum(), table.worth(table.similarity, picked).sum()
        return float(exact), round(float(similarity), 6)

    grid = itertools.product(ALPHAS, BETAS, GAMMAS)
    alone = max((replace(base, alpha=a, beta=b, gamma=g, copies=0, others=0) for a, b, g in grid), key=worth)
    copying = (
        replace(alone, copies=base.copies, copy_base=b, copy_gain=g)
        for b, g in itertools.product(COPY_BASES, COPY_GAINS)
    )
    own = fit_together(table, max(copying, key=worth))
    if not bool(table.borrowed.any()):
        return replace(own, others=base.others, other_base=own.copy_base, other_gain=own.copy_gain)
    borrowing = (
        replace(own, others=base.others, other_base=b, other_gain=g)
        for b, g in itertools.product(COPY_BASES, COPY_GAINS)
    )
    return max(borrowing, key=worth)


def fit_together(table: "Numbers", c: Calibration) -> Calibration:
    """``c`` with the numbers under which a right draft is likeliest the one that is picked, or where none is right the
    most similar one: a conditional logit over the drafts of each task (McFadden, 1974). A grid on which right answers
    are counted fits what happened to be right: on other tasks its choice gains a fifth of this (docs/log.md)."""
    out = table.out(c) | table.borrowed
    right = table.exact.masked_fill(out, 0.0)
    similar = table.similarity.masked_fill(out, -1.0)
    most = (similar == similar.max(1, keepdim=True).values) & ~out
    good = torch.where(right.any(1, keepdim=True), right, most.double())
    asked = (good.sum(1) > 0) & ((~out).sum(1) > good.sum(1))
    if int(asked.sum()) < LEAST:
        return c
    terms, good, out = table.weighed(1.0)[asked], good[asked], out[asked]
    scale = terms[~out].std(0).clamp_min(1e-6)
    weights = _likeliest(terms / scale, good, out) / scale
    mean, first, beta, gamma, base, gain, square, size = weights.tolist()
    if mean <= 0:
        return c
    return replace(
        c, alpha=1.0, first=first / mean, beta=beta / mean, gamma=gamma / mean, copy_base=base / mean,
        copy_gain=gain / mean, copy_square=square / mean, copy_size=size / mean,
    )  # fmt: skip


def _likeliest(terms: Tensor, good: Tensor, out: Tensor) -> Tensor:
    """[8]: weights of terms [T, C, 8] under which the ``good`` drafts [T, C] are likeliest. What speaks for a draft is
    not held against it: with one canvas a task, its own confidence would be, where copies are mostly wrong."""
    allowed = torch.ones(terms.shape[-1], dtype=torch.float64)
    while True:
        weights = torch.zeros_like(allowed, requires_grad=True)
        search = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe")

        def loss(weights: Tensor = weights, search: torch.optim.LBFGS = search, allowed: Tensor = allowed) -> float:
            search.zero_grad()
            log_p = (terms @ (weights * allowed)).masked_fill(out, -torch.inf).log_softmax(1)
            value = PENALTY * weights.square().sum() - (log_p.exp() * good).sum(1).clamp_min(1e-9).log().mean()
            value.backward()
            return float(value.detach())

        search.step(loss)
        found = weights.detach() * allowed
        against = found[:SPEAKING] < 0
        if not against.any():
            return found
        allowed = allowed.clone()
        allowed[:SPEAKING][against] = 0.0


@dataclass(frozen=True)
class Numbers:
    """What the judge knows of all drafts, as tensors [T, C]."""

    causal: Tensor
    terms: Tensor
    first: Tensor
    prior: Tensor
    own: Tensor
    exact: Tensor
    similarity: Tensor
    accepted: Tensor
    """0 where a task has no further draft."""
    evidence: Tensor
    """What speaks for the place of a copied draft, 0 for the others."""
    place: Tensor
    """Which canvas it is from, likeliest length first; 0 for the others."""
    copied: Tensor
    """From the same file."""
    borrowed: Tensor
    """From another file."""
    causal_head: Tensor

    @classmethod
    def of(cls, found: Sequence[Drafted]) -> "Numbers":
        width = max([1, *(len(one.drafts) for one in found)])

        def grid(rows: Sequence[Sequence[float]]) -> Tensor:
            return torch.tensor([[*map(float, row), *[0.0] * (width - len(row))] for row in rows], dtype=torch.float64)

        return cls(
            grid([[draft.causal_logp for draft in one.drafts] for one in found]),
            grid([[draft.scored for draft in one.drafts] for one in found]).clamp_min(1),
            grid([[next(iter(draft.token_logp), 0.0) for draft in one.drafts] for one in found]),
            grid([[draft.length_logp for draft in one.drafts] for one in found]),
            grid([[draft.canvas_logp for draft in one.drafts] for one in found]),
            grid([one.exact for one in found]),
            grid([one.similarity for one in found]),
            grid([one.accepted for one in found]),
            grid([[draft.evidence for draft in one.drafts] for one in found]),
            grid([canvases(one.drafts) for one in found]),
            grid([[draft.origin == "copy" and not draft.borrowed for draft in one.drafts] for one in found]).bool(),
            grid([[draft.borrowed for draft in one.drafts] for one in found]).bool(),
            grid([[draft.origin == "causal" for draft in one.drafts] for one in found]).bool(),
        )

    def pick(self, c: Calibration) -> Tensor:
        """[T]: the draft that becomes the answer, as in ``Draft.score`` and the gate behind it; -1 for none."""
        weights = [1.0, c.first, c.beta, c.gamma, c.copy_base, c.copy_gain, c.copy_square, c.copy_size]
        score = self.weighed(c.alpha) @ torch.tensor(weights, dtype=torch.float64)
        score = score + self.borrowed * (c.other_base + c.other_gain * self.evidence)
        score = score.masked_fill(self.out(c), -torch.inf)
        best = score.max(dim=1)
        return best.indices.masked_fill(best.values == -torch.inf, -1)

    def weighed(self, alpha: float) -> Tensor:
        """[T, C, 8]: what the judge's numbers weigh, in the order of ``pick``."""
        evidence = self.evidence
        copied = [one * self.copied for one in (torch.ones_like(evidence), evidence, evidence**2, self.terms.log())]
        return torch.stack([self.causal / self.terms**alpha, self.first, self.prior, self.own, *copied], dim=-1)

    def out(self, c: Calibration) -> Tensor:
        """[T, C]: drafts that are not there, not valid or not made with these settings."""
        out = (self.accepted == 0) | (self.place >= c.lengths)
        out = out | (self.copied & (c.copies == 0)) | (self.borrowed & (c.others == 0))
        return out | (self.causal_head & (not c.causal_candidate))

    def worth(self, value: Tensor, picked: Tensor) -> Tensor:
        """[T]: ``value`` of the picked drafts, 0 where there is none."""
        return value.gather(1, picked.clamp_min(0)[:, None])[:, 0].masked_fill(picked < 0, 0.0)


def choose(choices: Sequence[Choice], limit: float) -> Choice:
    """The most exact within ``limit`` milliseconds; the fastest of all when none is that fast."""
    within = [choice for choice in choices if choice.ms <= limit]
    if not within:
        return min(choices, key=lambda choice: choice.ms)
    return max(within, key=lambda choice: (choice.exact, choice.similarity, -choice.ms))


def show(choices: Sequence[Choice], chosen: Choice, limit: float) -> None:
    table = Table(title=f"exact match by lengths and steps; at most {limit:.1f} ms", title_justify="left")
    for name in (
        "policy",
        "steps",
        "lengths",
        "causal",
        "alpha",
        "beta",
        "gamma",
        "copies",
        "from other files",
        "exact %",
        "similarity %",
        "ms",
    ):
        table.add_column(name, justify="right")
    for choice in choices:
        c = choice.calibration
        numbers = [
            f"{c.alpha:g}",
            f"{c.beta:g}",
            f"{c.gamma:g}",
            f"{c.copy_base:g} + {c.copy_gain:g} log",
            f"{c.other_base:g} + {c.other_gain:g} log",
            f"{100 * choice.exact:.1f} ± {100 * choice.error:.1f}",
        ]
        row = [
            c.policy,
            str(c.steps),
            str(c.lengths),
            "yes" if c.causal_candidate else "",
            *numbers,
            f"{100 * choice.similarity:.1f}",
            f"{choice.ms:.1f}",
        ]
        table.add_row(*row, style="bold green" if choice is chosen else None)
    Console(width=None if sys.stdout.isatty() else 120).print(table)
