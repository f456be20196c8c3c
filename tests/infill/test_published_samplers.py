"""Published samplers against plain loops, written here from what the projects publish: step by step the same."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from infill.canvas import Canvas
from infill.passes import drive
from infill.policy import Knobs
from infill.published import PUBLISHED
from infill.rules import DRAWS, RULES, Taste
from infill.sampler import Pace, Plan, refine
from infill.schedule import SCHEDULES, Moment
from infill.types import Denoiser
from model.tokenizer import Tokenizer
from tests.fakes import FakeState
from tests.infill.toy import WORDS, Toy, ToyTokenizer


def counts(schedule: str, places: int, steps: int) -> list[int]:
    """How many places each step writes, if every step writes as many as it shall."""
    now, told = places, []
    for step in range(steps):
        count = int(SCHEDULES[schedule](Moment(torch.tensor([places]), torch.tensor([now]), step, steps)))
        told.append(count)
        now -= count
    return told


def llada_counts(places: int, steps: int) -> list[int]:
    """Equal parts, and what is left over goes to the first steps, one each."""
    return [places // steps + (1 if step < places % steps else 0) for step in range(steps)]


def dream_counts(places: int, steps: int) -> list[int]:
    """int(open * (1 - s / t)) over linspace(1, 0.001, steps + 1), in the tensors' own float32."""
    times = torch.linspace(1, 1e-3, steps + 1)
    now, told = torch.tensor(places), []
    for step in range(steps):
        count = int(now / 1 * (1 - times[step + 1] / times[step])) if step < steps - 1 else int(now)
        told.append(count)
        now = now - count
    return told


def dllm_counts(places: int, steps: int) -> list[int]:
    """round(open * (1 - p)), where p is (1 - alpha(s)) / (1 - alpha(t)) and alpha(t) = 1 - t, in float32."""
    now, told = places, []
    for step in range(steps):
        s, t = torch.tensor((steps - step - 1) / steps), torch.tensor((steps - step) / steps)
        kept = float((1 - (1 - s)) / (1 - (1 - t)))
        told.append(min(now, round(now * (1 - kept))))
        now -= told[-1]
    return told


def ours(places: int, steps: int, share: str) -> list[int]:
    """As many as it takes to have the schedule's share open afterwards, at least one while any is open."""
    now, told = places, []
    for step in range(steps):
        left = 1 - (step + 1) / steps if share == "linear" else math.cos((step + 1) / steps * math.pi / 2)
        told.append(min(now, max(1, now - math.floor(places * left + 1e-4))))
        now -= told[-1]
    return told


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [("linear", [2, 1, 2, 1]), ("even", [2, 2, 1, 1]), ("dream", [1, 1, 1, 3]), ("rounded", [2, 1, 2, 1])],
)
def test_six_places_in_four_steps(schedule: str, expected: list[int]) -> None:
    assert counts(schedule, 6, 4) == expected


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 7, 8, 12, 32, 64, 100])
def test_counts_are_those_of_the_projects(steps: int) -> None:
    for places in [*range(40), 63, 64, 65, 100, 128]:
        assert counts("even", places, steps) == llada_counts(places, steps)
        assert counts("dream", places, steps) == dream_counts(places, steps)
        assert counts("rounded", places, steps) == dllm_counts(places, steps)
        assert counts("linear", places, steps) == ours(places, steps, "linear")
        assert counts("cosine", places, steps) == ours(places, steps, "cosine")


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_rows_are_counted_each_for_itself(schedule: str) -> None:
    places, now = torch.tensor([9, 1, 0, 30]), torch.tensor([7, 1, 0, 29])
    for step in range(5):
        together = SCHEDULES[schedule](Moment(places, now, step, 5))
        alone = [int(SCHEDULES[schedule](Moment(places[i : i + 1], now[i : i + 1], step, 5))) for i in range(4)]
        assert together.tolist() == alone
        assert (together <= now).all()
    last = SCHEDULES[schedule](Moment(places, now, 4, 5))
    assert last.tolist() == now.tolist(), "the last step leaves nothing open"


# The loops of the projects, in plain words. Each gets a network, a row with masks, settings and a generator, and tells
# the row after every pass. Draws are made in the order in which ours makes them (a token for every masked place, then
# places; but places first where they do not depend on the network), and a pass that would write nothing is left out;
# neither changes what may come out.

Row = list[int]
MASK = ToyTokenizer().mask


def masked(row: Row) -> list[int]:
    return [place for place, token in enumerate(row) if token == MASK]


def best(scores: dict[int, float], count: int) -> list[int]:
    """The places of the ``count`` highest scores; the leftmost of equals."""
    return sorted(scores, key=lambda place: (-scores[place], place))[:count]


def keep_top_p(logits: Tensor, top_p: float) -> Tensor:
    """One place: from the likeliest down, a token goes once those before it are together above ``top_p``."""
    if top_p >= 1:
        return logits
    kept, before = logits.clone(), 0.0
    order = logits.sort(descending=True).indices
    sums = logits[order].softmax(-1).cumsum(-1)
    for rank, token in enumerate(order.tolist()):
        if rank > 0 and before > top_p:
            kept[token] = -math.inf
        before = float(sums[rank])
    return kept


def keep_top_k(logits: Tensor, top_k: int) -> Tensor:
    if top_k == 0:
        return logits
    least = sorted(logits.tolist(), reverse=True)[min(top_k, len(logits)) - 1]
    return torch.tensor([value if value >= least else -math.inf for value in logits.tolist()])


def filtered(logits: Tensor, s: "Settings", order: str) -> Tensor:
    """The probabilities of one place after temperature and filters."""
    if s.temperature > 0:
        logits = logits / s.temperature
    if order == "p, k":
        logits = keep_top_k(keep_top_p(logits, s.top_p), s.top_k)
    else:
        logits = keep_top_p(keep_top_k(logits, s.top_k), s.top_p)
    return logits.softmax(-1)


def draw(chances: dict[int, Tensor], s: "Settings", g: torch.Generator) -> dict[int, int]:
    """A token for every place: the likeliest, or the first of exponential clocks (which is torch.multinomial)."""
    if s.temperature == 0:
        return {place: int(p.argmax()) for place, p in chances.items()}
    clocks = torch.empty(len(chances), len(next(iter(chances.values())))).exponential_(generator=g)
    return {place: int((p / clock).argmax()) for (place, p), clock in zip(chances.items(), clocks, strict=True)}


@dataclass(frozen=True)
class Settings:
    steps: int
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    noise: float = 0.0
    block: int = 64
    threshold: float = 0.5
    edit: float = 0.4
    post: int = 0


Loop = Callable[[Toy, Row, Settings, torch.Generator], Iterator[Row]]


def dream_loop(alg: str) -> Loop:
    def loop(toy: Toy, row: Row, s: Settings, g: torch.Generator) -> Iterator[Row]:
        row = list(row)
        times = torch.linspace(1, 1e-3, s.steps + 1)
        for i in range(s.steps):
            open_places = masked(row)
            part = 1 - times[i + 1] / times[i]
            last = i == s.steps - 1
            count = len(open_places) if last else int(torch.tensor(float(len(open_places))) * part)
            if not open_places or (alg != "origin" and count == 0):
                continue
            chosen: list[int] = []
            if alg == "origin":
                u = torch.rand(1, len(row), generator=g)[0]
                chosen = [place for place in open_places if last or u[place] < part]
                if not chosen:
                    continue
            logits = toy.logits(row)
            chances = {place: filtered(logits[place], s, "p, k") for place in open_places}
            tokens = draw(chances, s, g)
            if alg != "origin":
                score = {}
                for place, p in chances.items():
                    top = sorted(p.tolist(), reverse=True)
                    score[place] = {
                        "maskgit_plus": float(p[tokens[place]]),
                        "topk_margin": float(torch.tensor(top[0]) - torch.tensor(top[1])),
                        "entropy": float((p * torch.log(p + 1e-10)).sum()),
                    }[alg]
                if s.noise:
                    all_scores = torch.full((1, len(row)), -math.inf)
                    for place, value in score.items():
                        all_scores[0, place] = value / s.noise
                    chosen = torch.multinomial(all_scores.softmax(-1), count, generator=g)[0].tolist()
                else:
                    chosen = best(score, count)
            for place in chosen:
                row[place] = tokens[place]
            yield list(row)

    return loop


def llada_loop(
    remasking: str, counts_of: Callable[[int, int], list[int]] = llada_counts, judge: torch.dtype = torch.float64
) -> Loop:
    """Also dllm's, which counts in another way, leaves out steps without a count and is sure in float32."""

    def loop(toy: Toy, row: Row, s: Settings, g: torch.Generator) -> Iterator[Row]:
        row = list(row)
        for begin in range(0, len(row), s.block):
            block = range(begin, min(begin + s.block, len(row)))
            for count in counts_of(len([p for p in masked(row) if p in block]), s.steps):
                if count == 0:
                    continue
                logits = toy.logits(row).double()
                open_places = masked(row)
                noise = torch.ones(len(open_places), logits.shape[1], dtype=torch.float64)
                if s.temperature > 0:
                    noise = -torch.rand(noise.shape, dtype=torch.float64, generator=g).log()
                tokens = {
                    place: int((logits[place].exp() / noise[i] ** s.temperature).argmax())
                    for i, place in enumerate(open_places)
                }
                if remasking == "random":
                    u = torch.rand(1, len(row), generator=g)[0]
                    score = {place: float(u[place]) for place in open_places if place in block}
                else:
                    score = {p: float(logits[p].to(judge).softmax(-1)[tokens[p]]) for p in open_places if p in block}
                for place in best(score, count):
                    row[place] = tokens[place]
                yield list(row)

    return loop


def fastdllm_loop(toy: Toy, row: Row, s: Settings, g: torch.Generator) -> Iterator[Row]:
    """LLaDA with a threshold: the surest place of the block and all that have it."""
    row = list(row)
    for begin in range(0, len(row), s.block):
        while inside := [p for p in masked(row) if begin <= p < begin + s.block]:
            chances = toy.logits(row).double().softmax(-1)
            sure = {p: float(chances[p].max()) for p in inside}
            first = best(sure, 1)[0]
            for place in inside:
                if place == first or sure[place] >= s.threshold:
                    row[place] = int(chances[place].argmax())
            yield list(row)


def fastdllm2_loop(toy: Toy, row: Row, s: Settings, g: torch.Generator) -> Iterator[Row]:
    """Sub-blocks from left to right; above the threshold, and the surest."""
    row = list(row)
    for begin in range(0, len(row), s.block):
        while inside := [p for p in masked(row) if begin <= p < begin + s.block]:
            chances = toy.logits(row).softmax(-1)
            sure = {p: float(chances[p].max()) for p in inside}
            first = best(sure, 1)[0]
            for place in inside:
                if place == first or sure[place] > s.threshold:
                    row[place] = int(chances[place].argmax())
            yield list(row)


def sdar_loop(strategy: str) -> Loop:
    """Block after block; also LLaDA2's, whose strategy is the dynamic one. Counts are parts of the block's length."""

    def loop(toy: Toy, row: Row, s: Settings, g: torch.Generator) -> Iterator[Row]:
        row = list(row)
        for begin in range(0, len(row), s.block):
            block = range(begin, min(begin + s.block, len(row)))
            counts = llada_counts(len(block), s.steps)
            for step in range(s.steps):
                inside = [place for place in masked(row) if place in block]
                count = min(len(inside), counts[step])
                if not inside or (count == 0 and strategy != "low_confidence_dynamic"):
                    continue
                logits = toy.logits(row)
                chances = {place: filtered(logits[place], s, "k, p") for place in masked(row)}
                tokens = draw(chances, s, g)
                sure = {place: float(chances[place][tokens[place]]) for place in inside}
                if strategy == "sequential":
                    chosen = inside[:count]
                elif strategy == "low_confidence_static":
                    chosen = best(sure, count)
                else:
                    chosen = [place for place in inside if sure[place] > s.threshold]
                    if len(chosen) < counts[step]:
                        chosen = best(sure, count)
                for place in chosen:
                    row[place] = tokens[place]
                yield list(row)

    return loop


def llada21_loop(toy: Toy, row: Row, s: Settings, g: torch.Generator) -> Iterator[Row]:
    """Masks to tokens and tokens to other tokens; some more steps when no mask is left, while something changes."""
    row, given, post = list(row), {p for p in range(len(row)) if row[p] != MASK}, 0
    while True:
        inside = masked(row)
        if not inside:
            post += 1
            if post > s.post:
                return
        logits = toy.logits(row)
        chances = {p: filtered(logits[p], s, "k, p") for p in range(len(row)) if p not in given}
        tokens = draw(chances, s, g)
        sure = {place: float(p[tokens[place]]) for place, p in chances.items()}
        chosen = [p for p in inside if sure[p] > s.threshold]
        if len(chosen) < 1:
            chosen = best({p: sure[p] for p in inside}, min(1, len(inside)))
        edited = [p for p in chances if p not in inside and sure[p] > s.edit and tokens[p] != row[p]]
        for place in chosen + edited:
            row[place] = tokens[place]
        yield list(row)
        if not inside and not edited:
            return


def p2_loop(toy: Toy, row: Row, s: Settings, g: torch.Generator) -> Iterator[Row]:
    row, free = list(row), [p for p in range(len(row)) if row[p] == MASK]
    for i in range(s.steps):
        if not masked(row):
            return
        logits = toy.logits(row)
        chances = {place: filtered(logits[place], s, "p, k") for place in free}
        tokens = draw(chances, s, g)
        sure = {place: float(p[tokens[place]]) for place, p in chances.items()}
        lowest = sorted(free, key=lambda p: (sure[p], p))[
            : int(torch.tensor(float(len(free))) * (1 - (i + 1) / s.steps))
        ]
        for place in free:
            if place in lowest:
                row[place] = MASK
            elif row[place] == MASK:
                row[place] = tokens[place]
        yield list(row)


def bd3lm_loop(toy: Toy, row: Row, s: Settings, g: torch.Generator) -> Iterator[Row]:
    """First hitting: one masked place of the block after the other, in any order; tokens from the nucleus."""
    row = list(row)
    for begin in range(0, len(row), s.block):
        while inside := [p for p in masked(row) if begin <= p < begin + s.block]:
            open_places = masked(row)
            chances = toy.logits(row)[open_places].log_softmax(-1).double().exp()
            u = torch.rand(chances.shape, generator=g, dtype=torch.float64)
            order = torch.rand(1, len(row), generator=g)[0]
            place = max(inside, key=lambda p: float(order[p]))
            clock = 1e-10 - (u[open_places.index(place)] + 1e-10).log()
            row[place] = int((nucleus(chances[open_places.index(place)], s.top_p) / clock).argmax())
            yield list(row)


def nucleus(p: Tensor, top_p: float) -> Tensor:
    """One place: from the likeliest down as long as the sum stays within top-p; the first in any case."""
    if top_p == 1:
        return p
    within = torch.zeros_like(p)
    sums = p.sort(descending=True).values.cumsum(-1)
    for rank, token in enumerate(p.argsort(descending=True).tolist()):
        if rank == 0 or float(sums[rank]) <= top_p:
            within[token] = p[token]
    return within / within.sum()


# Ancestral sampling draws a place from one distribution over its tokens and the mask, (t - s) p and s; ours asks first
# whether, then which. The loops below draw as the projects do, and tell with what numbers ours must come to the same.
# In a race of exponential clocks, which token is the first does not depend on when it comes; and if it came at E and
# the mask at M, both at rate 1, it is before the mask where E / (E + M) < (t - s) / t. That quotient is uniform.


@dataclass
class Numbers:
    """What ours gets in place of random numbers, in order."""

    left: list[Tensor] = field(default_factory=list[Tensor])

    def rand(self, shape: Sequence[int], dtype: torch.dtype = torch.float32, **_: Any) -> Tensor:
        told = self.left.pop(0)
        assert told.shape == tuple(shape)
        return told.to(dtype)


Ancestral = tuple[list[Row], Numbers, int]
"""The rows after every change, the numbers, and how often the network was asked."""


def ancestral(
    toy: Toy, row: Row, s: Settings, g: torch.Generator, times: Sequence[tuple[float, float]], *, exact: bool
) -> Ancestral:
    """A block after the other, each at these (t, s). What the network said is kept while nothing changes. ``exact``: in
    float64, as BD3-LM."""
    row, told, numbers, asked = list(row), list[Row](), Numbers(), 0
    for begin in range(0, len(row), s.block):
        kept: Tensor | None = None
        for t, earlier in times:
            inside, open_places = [p for p in masked(row) if begin <= p < begin + s.block], masked(row)
            if not inside:
                break
            if kept is None:
                asked += 1
                log_p = toy.logits(row).log_softmax(-1)
                kept = log_p.double().exp() if exact else toy.logits(row).softmax(-1)
            u = torch.rand(len(row), kept.shape[1] + 1, generator=g, dtype=torch.float64)
            clocks = 1e-10 - (u + 1e-10).log()
            whether, after = torch.ones(1, len(row), dtype=torch.float64), list(row)
            for place in inside:
                p = nucleus(kept[place], s.top_p)
                joint = torch.cat([p * (t - earlier), torch.tensor([earlier], dtype=p.dtype)])
                drawn = int((joint / clocks[place]).argmax())
                after[place] = MASK if drawn == len(p) else drawn
                first = float((clocks[place][:-1] / p).min())
                whether[0, place] = first / (first + float(clocks[place][-1]))
            numbers.left.append(whether)
            if after != row:
                numbers.left.append(u[open_places, :-1])
                row, kept = after, None
                told.append(list(row))
    return told, numbers, asked


def mdlm_times(steps: int) -> list[tuple[float, float]]:
    """All steps but the last, which takes the likeliest tokens."""
    eps = 1e-5
    return [
        (float(t), float(t) - (1 - eps) / steps) for t in torch.linspace(1, eps, steps + 1, dtype=torch.float64)[:-1]
    ]


def bd3lm_times(steps: int) -> list[tuple[float, float]]:
    """The last one is at t = 0, where nothing stays masked."""
    times = torch.linspace(1, 0, steps, dtype=torch.float64).tolist()
    return [(t, t - 1 / steps) for t in times[:-1]] + [(1.0, 0.0)]


def same_choices(monkeypatch: pytest.MonkeyPatch, toy: Toy, row: Row, plan: Plan, expected: Ancestral) -> None:
    """Ours draws what the project's loop drew, and asks the network where something changes, and not elsewhere."""
    rows, numbers, asked = expected
    with monkeypatch.context() as patch:
        patch.setattr(torch, "rand", numbers.rand)
        found = [rows[0] for rows in followed(toy, [row], plan, 0)]
    assert found == rows
    assert not numbers.left
    assert len(toy.seen) <= asked
    assert len(toy.seen) == len(rows)


def followed(toy: Toy, rows: list[Row], plan: Plan, seed: int) -> list[list[Row]]:
    """The rows after every pass of our loop."""
    told: list[list[Row]] = []
    tokenizer = cast(Tokenizer, toy.tokenizer)
    canvas = Canvas.of_rows(rows, [], tokenizer, torch.device("cpu"))
    # Tokens that stand there are given: fixed places, not written ones.
    canvas = replace(canvas, hole=canvas.open)
    work = refine(
        tokenizer, FakeState(()), canvas, plan, torch.Generator().manual_seed(seed), Pace(),
        report=lambda c: told.append([row[: len(start)] for row, start in zip(c.ids.tolist(), rows, strict=True)]),
    )  # fmt: skip
    with torch.inference_mode():
        drive(work, cast(Denoiser[FakeState], toy))
    return told


def plan_of(policy: str, schedule: str, how: str, s: Settings, **more: Any) -> Plan:
    knobs = Knobs(threshold=s.threshold, edit=s.edit, noise=s.noise)
    return Plan(
        s.steps, policy, schedule, s.temperature, s.top_p, draw=how, top_k=s.top_k, knobs=knobs,
        block=None if s.block == 64 else s.block, post=s.post, **more,
    )  # fmt: skip


def check(loop: Loop, policy: str, schedule: str, how: str, settings: Sequence[Settings], **more: Any) -> None:
    """Ours writes the same tokens at the same places in every pass, over sizes, networks and seeds."""
    passes = 0
    for s, seed in itertools.product(settings, range(2)):
        for size in (1, 2, 5, 8, 13):
            toy = Toy(seed)
            row = [MASK] * size
            if size > 5:
                row[3] = 4  # a token that is given
            expected = list(loop(toy, row, s, torch.Generator().manual_seed(seed)))
            found = followed(toy, [row], plan_of(policy, schedule, how, s, **more), seed)
            assert [rows[0] for rows in found] == expected, (s, seed, size)
            assert not masked(expected[-1])
            passes += len(expected)
    assert passes > 40


DREAM = [
    Settings(1), Settings(4), Settings(13), Settings(32), Settings(5, top_p=0.6), Settings(5, top_k=3),
    Settings(6, 0.8), Settings(6, 0.4, top_p=0.9), Settings(6, 1.3, top_k=4), Settings(6, 0.7, top_p=0.8, top_k=5),
]  # fmt: skip


@pytest.mark.parametrize("alg", ["origin", "maskgit_plus", "topk_margin", "entropy"])
def test_dream(alg: str) -> None:
    check(dream_loop(alg), f"dream.{alg}", "dream", "dream", DREAM)


def test_of_places_that_dream_holds_for_equal_the_leftmost_is_written() -> None:
    """At temperature 0.2, where top-p leaves one token, entropies are 0. Dream's own choice among those is that of
    ``torch.topk``, on a processor and on a GPU, or with a longer prompt, another one."""
    toy, row, s = Toy(3, sharp=12), [MASK] * 13, Settings(4, 0.2, top_p=0.95)
    logits = toy.logits(row)
    entropies = [-float((p * torch.log(p + 1e-10)).sum()) for p in (filtered(one, s, "p, k") for one in logits)]
    certain = [place for place, entropy in enumerate(entropies) if entropy == 0]
    count = dream_counts(len(row), s.steps)[0]
    assert len(certain) > count > 1, "not a case of equal places"
    first = followed(toy, [row], plan_of("dream.entropy", "dream", "dream", s), 0)[0][0]
    assert [place for place, token in enumerate(first) if token != MASK] == certain[:count]


@pytest.mark.parametrize("alg", ["maskgit_plus", "topk_margin", "entropy"])
def test_dream_with_noise_on_the_order(alg: str) -> None:
    settings = [Settings(4, noise=0.3), Settings(9, noise=1.0), Settings(6, 0.5, top_p=0.9, noise=0.4)]
    check(dream_loop(alg), f"dream.{alg}", "dream", "dream", settings)


LLADA = [
    Settings(1), Settings(3), Settings(20), Settings(2, block=4), Settings(4, block=4), Settings(3, block=5),
    Settings(4, 0.7), Settings(3, 1.0, block=4),
]  # fmt: skip


@pytest.mark.parametrize("remasking", ["low_confidence", "random"])
def test_llada(remasking: str) -> None:
    check(llada_loop(remasking), f"llada.{remasking}", "even", "llada", LLADA)


def test_llada_in_dllm() -> None:
    loop = llada_loop("low_confidence", dllm_counts, torch.float32)
    check(loop, "llada.low_confidence", "rounded", "dllm", LLADA)


@pytest.mark.parametrize(("how", "first"), [("llada", 1), ("dllm", 0)])
def test_places_that_only_float64_can_tell_apart_are_equal_in_dllm(how: str, first: int) -> None:
    """Both are certain in float32, so that the leftmost is written; LLaDA's own sampler sees which is surer."""
    logits = torch.tensor([[0.0, 20.0], [0.0, 30.0]])
    _, judged = DRAWS[how](logits, Taste(0.0, 1.0, 0), torch.Generator())
    assert int(judged.softmax(-1).max(-1).values.argmax()) == first
    assert {name for name, way in PUBLISHED.items() if way.draw == "dllm"} == {"a2d-mdlm", "a2d-bd3lm"}


@pytest.mark.parametrize("strategy", ["sequential", "low_confidence_static", "low_confidence_dynamic"])
def test_sdar(strategy: str) -> None:
    settings = [
        Settings(1), Settings(4), Settings(13), Settings(4, 1.0), Settings(4, 0.6, top_k=4, top_p=0.7),
        Settings(13, 1.0, threshold=0.85), Settings(4, top_p=0.5, threshold=0.7), Settings(2, block=4),
        Settings(4, 1.0, block=4, threshold=0.85),
    ]  # fmt: skip
    check(sdar_loop(strategy), f"sdar.{strategy}", "block", "sdar", settings)


def test_llada2() -> None:
    settings = [Settings(13, threshold=t) for t in (0.1, 0.4, 0.95)] + [Settings(3, 0.7, top_k=5, threshold=0.6)]
    check(sdar_loop("low_confidence_dynamic"), "llada2.threshold", "block", "sdar", settings)


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.9])
def test_fast_dllm(threshold: float) -> None:
    settings = [Settings(13, block=block, threshold=threshold) for block in (64, 4, 1)]
    check(fastdllm_loop, "fastdllm.threshold", "one", "llada", settings)
    check(fastdllm2_loop, "fastdllm2.threshold", "one", "sdar", settings)


@pytest.mark.parametrize("post", [0, 1, 3, 16])
def test_llada21(post: int) -> None:
    settings = [Settings(13, threshold=t, edit=e, post=post) for t, e in ((0.95, 0.9), (0.5, 0.0), (0.3, 0.4))]
    check(llada21_loop, "llada21.edit", "one", "sdar", [*settings, Settings(13, 0.8, threshold=0.4, post=post)])


def test_editing_is_seen_in_these_networks() -> None:
    """So that the test above is about something: written tokens are overwritten, with masks around and without."""
    found = followed(Toy(1), [[MASK] * 8], plan_of("llada21.edit", "one", "sdar", Settings(8, edit=0.2, post=9)), 1)
    rows = [rows[0] for rows in found]
    changed = [
        (bool(masked(before)), before, after)
        for before, after in itertools.pairwise(rows)
        if any(x not in (MASK, y) for x, y in zip(before, after, strict=True))
    ]
    assert {with_masks for with_masks, _, _ in changed} == {True, False}


def test_p2() -> None:
    settings = [
        Settings(1), Settings(4), Settings(8), Settings(13), Settings(30), Settings(6, 0.6, top_p=0.95),
        Settings(6, 1.0), Settings(6, 0.6, top_p=0.5),
    ]  # fmt: skip
    check(p2_loop, "opendllm.p2", "p2", "dream", settings)


@pytest.mark.parametrize("steps", [1, 2, 5, 12, 40])
def test_mdlm(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """``ddpm_cache``, then noise removal."""
    settings = Settings(steps + 1, 1.0)
    for size, seed in itertools.product((1, 5, 13), range(5)):
        row = [MASK] * size
        if size > 5:
            row[3] = 4
        rows, numbers, asked = ancestral(
            Toy(seed), row, settings, torch.Generator().manual_seed(seed), mdlm_times(steps), exact=False
        )
        last = rows[-1] if rows else row
        if masked(last):
            best = Toy(seed).logits(last).argmax(-1).tolist()
            rows.append([best[place] if token == MASK else token for place, token in enumerate(last)])
            numbers.left.append(torch.zeros(1, size))
        plan = plan_of("mdlm.ancestral", "mdlm", "mdlm", settings, settles=True)
        same_choices(monkeypatch, Toy(seed), row, plan, (rows, numbers, asked + 1))


@pytest.mark.parametrize("top_p", [0.5, 0.9, 1.0])
@pytest.mark.parametrize("block", [4, 64])
def test_bd3lm_step_by_step(monkeypatch: pytest.MonkeyPatch, block: int, top_p: float) -> None:
    """``_ddpm_caching_update`` without first hitting, block after block."""
    for steps, size, seed in itertools.product((1, 2, 5, 30), (1, 5, 13), range(3)):
        row = [MASK] * size
        if size > 5:
            row[3] = 4
        settings = Settings(steps, 1.0, top_p, block=block)
        generator = torch.Generator().manual_seed(seed)
        expected = ancestral(Toy(seed), row, settings, generator, bd3lm_times(steps), exact=True)
        assert not masked(expected[0][-1])
        plan = plan_of("bd3lm.ancestral", "bd3lm", "bd3lm", settings)
        same_choices(monkeypatch, Toy(seed), row, plan, expected)


def test_bd3lm_first_hitting() -> None:
    settings = [Settings(13, 1.0, block=b, top_p=p) for b in (4, 64) for p in (0.5, 0.9, 1.0)]
    check(bd3lm_loop, "bd3lm.first_hitting", "one", "bd3lm", settings)


def test_mdlm_reveals_and_draws_with_the_probabilities_of_the_posterior() -> None:
    """MDLM draws from one distribution over tokens and the mask, (t - s) p and s. Ours draws whether and what apart:
    the same, to within four standard deviations of 4000 places."""
    n, step, steps = 4000, 2, 6
    p = torch.tensor([0.5, 0.3, 0.2])
    t = torch.linspace(1, 1e-5, steps)[step]
    s = t - (1 - 1e-5) / (steps - 1)
    posterior = torch.cat([(t - s) * p, s[None]]) / t
    generator = torch.Generator().manual_seed(5)
    tokens, _ = DRAWS["mdlm"](p.log().expand(n, 3), Taste(1.0, 1.0, 0), generator)
    moment = Moment(torch.tensor([n]), torch.tensor([n]), step, steps)
    written = torch.rand(n, generator=generator) < moment.rate("mdlm")
    outcome = torch.where(written, tokens, 3)
    for value, chance in enumerate(posterior.tolist()):
        share = (outcome == value).float().mean().item()
        assert abs(share - chance) < 4 * math.sqrt(chance * (1 - chance) / n)


@pytest.mark.parametrize("policy", ["dream.entropy", "llada.low_confidence", "fastdllm.threshold", "opendllm.p2"])
def test_rows_of_a_batch_do_not_know_of_each_other(policy: str) -> None:
    how = {"llada": "llada", "fastdllm": "llada"}.get(policy.split(".", maxsplit=1)[0], "dream")
    schedule = {"dream.entropy": "dream", "llada.low_confidence": "even", "opendllm.p2": "p2"}.get(policy, "one")
    plan = plan_of(policy, schedule, how, Settings(9))
    toy = Toy(2)
    rows = [[MASK] * 9, [MASK, 3, MASK], [MASK] * 5]
    together = followed(toy, rows, plan, 0)[-1]
    assert together == [followed(toy, [row], plan, 0)[-1][0] for row in rows]


@pytest.mark.parametrize("policy", ["dream.entropy", "dream.origin"])
def test_where_nothing_would_be_written_the_network_is_not_asked(policy: str) -> None:
    """512 steps, as Dream publishes it, for 10 places."""
    toy = Toy(0)
    followed(toy, [[MASK] * 10], plan_of(policy, "dream", "dream", Settings(512)), 0)
    assert 1 < len(toy.seen) <= 10


@pytest.mark.parametrize("policy", RULES)
def test_any_rule_is_complete_when_time_is_short(policy: str) -> None:
    times = itertools.count(step=0.004)
    toy = Toy(3)
    tokenizer = cast(Tokenizer, toy.tokenizer)
    canvas = Canvas.of_rows([[MASK] * 20], [5], tokenizer, torch.device("cpu"))
    plan = Plan(20, policy, "one", 1.0, 0.9, draw="dream", block=1, post=3 * (policy == "llada21.edit"))
    pace = Pace(budget_ms=30, clock=lambda: next(times))
    work = refine(tokenizer, FakeState(()), canvas, plan, torch.Generator().manual_seed(0), pace)
    with torch.inference_mode():
        found = drive(work, cast(Denoiser[FakeState], toy))
    assert not found.open.any()
    assert MASK not in found.rows()[0]
    assert 1 <= len(toy.seen) < 10


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_sampler_fills_a_hole(name: str) -> None:
    """In place, without special ids apart, and with one word banned; the next block as well as the first."""
    toy = Toy(1)
    tokenizer = cast(Tokenizer, toy.tokenizer)
    for size in (1, 6, 40):
        canvas = Canvas.of_rows([[MASK] * size, [MASK] * (size // 2 + 1)], [5, 6], tokenizer, torch.device("cpu"))
        plan = PUBLISHED[name].plan(size, banned=torch.tensor([3]))
        pace = Pace()
        work = refine(tokenizer, FakeState(()), canvas, plan, torch.Generator().manual_seed(0), pace)
        with torch.inference_mode():
            rows = drive(work, cast(Denoiser[FakeState], toy)).rows()
        assert [len(row) for row in rows] == [size, size // 2 + 1]
        assert {token for row in rows for token in row} <= set(range(WORDS)) - {3}
        # One pass for a place at most, but where masks come back or written tokens change.
        assert pace.steps <= sum(map(len, rows)) + 129 * (name in ("opendcoder", "llada2.1"))


def test_the_plan_has_the_settings() -> None:
    plan = PUBLISHED["sdar"].plan(10)
    assert (plan.steps, plan.block, plan.temperature, plan.knobs.threshold) == (4, 4, 1.0, 0.85)
    assert PUBLISHED["diffucoder"].plan(10).steps == 10
    assert PUBLISHED["fastdllm2"].plan(40).steps == 8
    assert PUBLISHED["coda"].plan(1).knobs.noise == 0.1
