"""The one denoising loop and its step, and the causal head's loop beside it.

Four things are kept apart: the schedule (how many places, ``infill.schedule``), the policy (which, ``infill.policy``),
the step (one forward pass, one commit) and the loop (until settled, out of budget or cancelled). Shapes: K rows, N
places, V vocabulary.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from infill.canvas import Canvas
from infill.passes import denoise, score
from infill.policy import JUDGED, POLICIES, REVISES, Proposal
from infill.schedule import SCHEDULES, Moment
from infill.types import Denoiser, ShouldStop, State
from model.tokenizer import Tokenizer

Report = Callable[[Canvas], None]
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
    policy: str = "confidence"
    schedule: str = "linear"
    temperature: float = 0.0
    top_p: float = 1.0
    banned: Tensor | None = None
    """[n] ids that may not be written, besides the special ones: line breaks where the answer is one line."""


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
    """Denoises until no place is open. At least one step is run; when the budget does not hold another step and the
    judge after it, all that is open is written at once from what the last step proposed. Rows that ``narrow`` does not
    name after the first of several steps are left behind (``Canvas.names`` says which are there).

    Raises:
        Cancelled: ``pace.should_stop`` said yes.
    """
    start = canvas
    opened = canvas.open.sum(1)
    for index in range(plan.steps):
        pace.check()
        began = pace.elapsed_ms()
        canvas, proposal = await step(tokenizer, state, canvas, opened, index, plan, generator, pace)
        settled = index + 1 == plan.steps or not canvas.open.any()
        if not settled and pace.tight(2 * (pace.elapsed_ms() - began)):
            canvas = canvas.commit(canvas.open, proposal.tokens, proposal.confidence)
            settled = True
        if not settled and index == 0 and narrow is not None:
            rows = narrow(canvas.commit(canvas.open, proposal.tokens, proposal.confidence))
            if len(rows) < len(opened):
                canvas, opened = canvas.take(rows), opened[list(rows)]
        if report is not None:
            report(canvas)
        if settled:
            break
    begun = start if len(canvas.names) == len(start.names) else start.take(canvas.names)
    assert canvas.agrees(begun), "a fixed place was written"
    return canvas


async def step(
    tokenizer: Tokenizer,
    state: State,
    canvas: Canvas,
    opened: Tensor,
    index: int,
    plan: Plan,
    generator: torch.Generator,
    pace: Pace,
) -> tuple[Canvas, Proposal]:
    """One forward pass and one commit. ``opened`` [K]: how many places were open at the first step."""
    first = tokenizer.n_special
    asked = canvas.hole if plan.policy in REVISES else canvas.open
    logits = (await denoise(state, canvas.ids, asked))[:, first:]
    if plan.banned is not None:
        logits.index_fill_(-1, plan.banned - first, -torch.inf)
    pace.steps += 1
    pace.passes += 1
    chosen = choose(logits, plan.temperature, plan.top_p, generator) + first
    tokens = canvas.ids.masked_scatter(asked, chosen)
    judged = None
    if plan.policy in JUDGED:
        judged = await score(state, torch.where(canvas.open, tokens, canvas.ids))
        pace.passes += 1
    share = SCHEDULES[plan.schedule](Moment(opened, canvas.open.sum(1), index, plan.steps))
    proposal = Proposal(canvas, logits, asked, tokens, first, share, 1 - (index + 1) / plan.steps, generator, judged)
    keep = POLICIES[plan.policy](proposal)
    written = canvas.commit(keep & canvas.open, tokens, proposal.confidence)
    return written.remask(canvas.committed & ~keep), proposal


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
    report: Callable[[Sequence[int], Sequence[float]], None] | None = None,
) -> Decoded:
    """The causal head, token by token, until end of text, a token for which ``stop`` holds, or ``limit`` tokens.

    ``extend`` appends tokens to the context and gives the new state, ``rewind`` takes the last n away again. Where the
    likeliest token is wanted, what ``guess`` thinks will follow is looked at in the same pass; only what the head would
    have written itself is kept. When the budget runs out, what is there is returned unended.

    Raises:
        Cancelled: ``pace.should_stop`` said yes.
    """
    ids: list[int] = []
    sure: list[float] = []
    seen: list[Tensor] = []

    def choice(logits: Tensor) -> tuple[int, float, Tensor]:
        log_p = logits.log_softmax(-1)
        allowed = log_p.clone()
        allowed[: denoiser.tokenizer.n_special] = -torch.inf
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
