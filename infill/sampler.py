"""The one denoising loop and its step, and the causal head's loop beside it.

Four things are kept apart: the schedule (how many places, ``infill.schedule``), the policy (which, ``infill.policy``),
the step (one forward pass, one commit) and the loop (until settled, out of budget or cancelled). Shapes: K rows, N
places, V vocabulary.
"""

import itertools
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from infill.canvas import Canvas
from infill.passes import denoise, score
from infill.policy import JUDGED, POLICIES, REVISES, Knobs, Proposal
from infill.rules import BY_CHANCE, DRAWS, EDITS, EXACT, REVISING, RULES, Taste
from infill.schedule import SCHEDULES, Moment
from infill.types import Denoiser, ShouldStop, State
from model.tokenizer import Tokenizer

Report = Callable[[Canvas], None]
Curb = Callable[[Tensor, Tensor], None]
"""Changes the logits [M, V] of the places that were asked about [K, N] before anything is drawn."""

CHOICES = POLICIES | RULES

Narrow = Callable[[Canvas], Sequence[int]]
"""Which rows are worth further steps, given the canvas with all that is open as the first step would write it."""


class Cancelled(Exception):  # noqa: N818 (nothing went wrong)
    """The caller's ``should_stop`` said yes; raised between steps, caught once in ``Infiller.fill``."""


class Late(Exception):  # noqa: N818 (nothing went wrong)
    """The budget is long spent and the next pass has not come: thrown into a request by who batches many."""


@dataclass(frozen=True)
class Plan:
    """How to denoise."""

    steps: int
    """With blocks: of each."""
    policy: str = "confidence"
    """A name in ``POLICIES`` or ``RULES``."""
    schedule: str = "linear"
    temperature: float = 0.0
    top_p: float = 1.0
    banned: Tensor | None = None
    """[n] ids that may not be written, besides the special ones: line breaks where the answer is one line."""
    first: Tensor | None = None
    """[n] ids that may not stand in the hole's first place."""
    draw: str | None = None
    """A name in ``DRAWS``: how a published sampler draws tokens; None: ``choose``."""
    top_k: int = 0
    """0: all. Only where ``draw`` says how."""
    knobs: Knobs = field(default_factory=Knobs)
    block: int | None = None
    """Places that are filled before those to their right; None: all at once."""
    post: int = 0
    """Steps that may follow when nothing is open, as long as they change something."""
    settles: bool = False
    """The last step takes the likeliest tokens, whatever the temperature."""


@dataclass
class Pace:
    """Time and cancelling, asked between steps; and a count of the work done."""

    budget_ms: float | None = None
    should_stop: ShouldStop | None = None
    clock: Callable[[], float] = time.perf_counter
    """Seconds."""
    steps: int = 0
    passes: int = 0
    begun: float = field(init=False)

    def __post_init__(self) -> None:
        self.begun = self.clock()

    def check(self) -> None:
        """Raises ``Cancelled`` when the caller has lost interest."""
        if self.should_stop is not None and self.should_stop():
            raise Cancelled

    def elapsed_ms(self) -> float:
        return 1000 * (self.clock() - self.begun)

    def tight(self, need_ms: float = 0.0) -> bool:
        """Whether the budget does not hold ``need_ms`` more."""
        return self.budget_ms is not None and self.elapsed_ms() + need_ms > self.budget_ms


async def refine(
    tokenizer: Tokenizer,
    state: State,
    canvas: Canvas,
    plan: Plan,
    generator: torch.Generator,
    pace: Pace,
    report: Report | None = None,
    narrow: Narrow | None = None,
) -> Canvas:
    """Denoises until no place is open, block after block where the plan has blocks. At least one step is run; when the
    budget does not hold another step and the judge after it, all that is open is written at once from what the last
    step proposed. Rows that ``narrow`` does not name after the first of several steps are left behind (``Canvas.names``
    says which are there).

    Raises:
        Cancelled: ``pace.should_stop`` said yes.
    """
    start, width = canvas, canvas.ids.shape[1]
    size = plan.block or max(width, 1)
    spent = False
    for begin in range(0, width, size):
        end = min(begin + size, width)
        opened = canvas.within(begin, end).open.sum(1)
        settled = size < width and not opened.any()
        closed, extra = settled, 0
        for index in itertools.count():
            if settled or spent:
                break
            pace.check()
            began = pace.elapsed_ms()
            block = canvas.within(begin, end)
            moment = Moment(opened, block.open.sum(1), min(index, plan.steps - 1), plan.steps, end - begin)
            was_closed, before = closed, canvas
            canvas, proposal = await step(tokenizer, state, canvas, block, moment, plan, generator, pace)
            if proposal is None:
                continue
            extra += was_closed
            closed = moment.last or not canvas.within(begin, end).open.any()
            settled = closed and (extra == plan.post or (was_closed and torch.equal(before.ids, canvas.ids)))
            spent = not (settled and end == width) and pace.tight(2 * (pace.elapsed_ms() - began))
            if spent:
                canvas = canvas.commit(canvas.open, proposal.tokens, proposal.confidence)
            elif not settled and begin == index == 0 and narrow is not None:
                rows = narrow(canvas.commit(canvas.open, proposal.tokens, proposal.confidence))
                if len(rows) < len(opened):
                    canvas, opened = canvas.take(rows), opened[list(rows)]
            if report is not None:
                report(canvas)
    begun = start if len(canvas.names) == len(start.names) else start.take(canvas.names)
    assert canvas.agrees(begun), "a fixed place was written"
    return canvas


async def step(
    tokenizer: Tokenizer,
    state: State,
    canvas: Canvas,
    block: Canvas,
    moment: Moment,
    plan: Plan,
    generator: torch.Generator,
    pace: Pace,
    curb: Curb | None = None,
) -> tuple[Canvas, Proposal | None]:
    """One forward pass and one commit. ``block`` is the canvas with nothing but the places that may change now. Where
    it is clear beforehand that nothing would be written, there is no pass and no proposal."""
    share = SCHEDULES[plan.schedule](moment)
    drawn = None
    if plan.policy in BY_CHANCE:
        drawn = block.open & (
            torch.rand(block.open.shape, generator=generator, device=share.device) < moment.rate(plan.schedule)
        )
    if not moment.last and ((plan.policy in EXACT and not share.any()) or (drawn is not None and not drawn.any())):
        return canvas, None
    first = tokenizer.n_special
    asked = block.hole | canvas.open if plan.policy in REVISES | REVISING else canvas.open
    logits = (await denoise(state, canvas.ids, asked))[:, first:]
    if plan.banned is not None:
        logits.index_fill_(-1, plan.banned - first, -torch.inf)
    if plan.first is not None:
        begins = asked.nonzero()[:, 1] == 0
        logits[begins] = logits[begins].index_fill_(-1, plan.first - first, -torch.inf)
    if curb is not None:
        curb(logits, asked)
    pace.steps += 1
    pace.passes += 1
    temperature = 0.0 if plan.settles and moment.last else plan.temperature
    if plan.draw is None:
        chosen = choose(logits, temperature, plan.top_p, generator)
    else:
        chosen, logits = DRAWS[plan.draw](logits, Taste(temperature, plan.top_p, plan.top_k), generator)
    tokens = canvas.ids.masked_scatter(asked, chosen + first)
    judged = None
    if plan.policy in JUDGED:
        judged = await score(state, torch.where(canvas.open, tokens, canvas.ids))
        pace.passes += 1
    left = 1 - (moment.step + 1) / moment.steps
    proposal = Proposal(block, logits, asked, tokens, first, share, left, generator, judged, drawn, plan.knobs)
    keep = CHOICES[plan.policy](proposal)
    write = keep & block.open
    if plan.policy in EDITS:
        write = write | EDITS[plan.policy](proposal)
    written = canvas.commit(write, tokens, proposal.confidence)
    return written.remask(block.committed & ~keep), proposal


def choose(logits: Tensor, temperature: float, top_p: float, generator: torch.Generator) -> Tensor:
    """Logits [..., V] -> token per place [...]: the likeliest at temperature 0, else drawn from the nucleus
    (Holtzman et al., arXiv 1904.09751)."""
    if temperature == 0:
        return logits.argmax(-1)
    p = (logits / temperature).softmax(-1)
    if top_p < 1:
        ordered, order = p.sort(dim=-1, descending=True)
        beyond = ordered.cumsum(-1) - ordered >= top_p
        beyond[..., 0] = False  # however small the nucleus is
        ordered = ordered.masked_fill(beyond, 0.0)
        p = torch.zeros_like(p).scatter(-1, order, ordered)
    return torch.multinomial(p.flatten(0, -2), 1, generator=generator).view(p.shape[:-1])


@dataclass(frozen=True)
class Decoded:
    """What the causal head wrote."""

    ids: list[int]
    token_logp: list[float]
    end_logp: float | None
    """log p of the token that ended them; None when the limit or the budget did."""
    seen: list[Tensor] = field(default_factory=list[Tensor])
    """log p [V] of everything else that could have stood in each place, and in the end's."""


async def decode(
    denoiser: Denoiser[State],
    extend: Callable[[Sequence[int]], Awaitable[State]],
    rewind: Callable[[int], Awaitable[State]],
    state: State,
    limit: int,
    plan: Plan,
    generator: torch.Generator,
    pace: Pace,
    *,
    stop: Callable[[int], bool] = lambda _token: False,
    guess: Callable[[Sequence[int]], Sequence[int]] = lambda _ids: (),
    mixed: Callable[[Sequence[int], Tensor], Tensor] = lambda _ids, log_p: log_p,
    report: Callable[[Sequence[int], Sequence[float]], None] | None = None,
) -> Decoded:
    """The causal head, token by token, until end of text, a token for which ``stop`` holds, or ``limit`` tokens.

    ``extend`` appends tokens to the context and gives the new state, ``rewind`` takes the last n away again. Where the
    likeliest token is wanted, what ``guess`` thinks will follow is looked at in the same pass; only what the head would
    have written itself is kept. ``mixed`` is told what is written and may change the log p [V] of what follows. When
    the budget runs out, what is there is returned unended.

    Raises:
        Cancelled: ``pace.should_stop`` said yes.
    """
    ids: list[int] = []
    sure: list[float] = []
    seen: list[Tensor] = []

    def choice(logits: Tensor) -> tuple[int, float, Tensor]:
        log_p = mixed(ids, logits.log_softmax(-1))
        allowed = log_p.clone()
        allowed[: denoiser.tokenizer.n_special] = -torch.inf
        if plan.first is not None and not ids:
            allowed[plan.first] = -torch.inf
        allowed[denoiser.tokenizer.eot] = log_p[denoiser.tokenizer.eot]
        token = int(choose(allowed[None], plan.temperature, plan.top_p, generator))
        return token, float(log_p[token]), log_p

    def ends(token: int) -> bool:
        return token == denoiser.tokenizer.eot or stop(token)

    while True:
        pace.check()
        token, log_p, others = choice(denoiser.next_logits(state))
        seen.append(others)
        if ends(token):
            return Decoded(ids, sure, log_p, seen)
        if len(ids) == limit:
            return Decoded(ids, sure, None, seen)
        ids.append(token)
        sure.append(log_p)
        ahead = [] if plan.temperature > 0 else list(guess(ids))[: limit - len(ids)]
        if not pace.tight():
            state = await extend([token, *ahead])
            for index, guessed in enumerate(ahead):
                token, log_p, others = choice(denoiser.last_logits(state, len(ahead) - index)[0])
                if token != guessed or ends(token):
                    state = await rewind(len(ahead) - index)
                    break
                ids.append(token)
                sure.append(log_p)
                seen.append(others)
        if report is not None:
            report(ids, sure)
        if pace.tight():
            return Decoded(ids, sure, None, seen)
