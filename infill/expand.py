"""Holes that find their own length: DreamOn's expand and delete tokens.

One place of a row is written in each step. Where the network proposes the expand token, two masks take its place; where
it proposes the delete token, the place goes, and with it every mask to its right, as DreamOn publishes it
(``eval/generator.py: batch_generate_with_expand_as_token``). The canvas is laid out anew after each step, because
everything behind such a place moves.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from infill.canvas import Canvas
from infill.policy import Proposal
from infill.rules import EXACT
from infill.sampler import Pace, Plan, Report, step
from infill.schedule import Moment
from infill.types import State
from model.tokenizer import Tokenizer


@dataclass(frozen=True)
class Lengths:
    """The tokens that change a hole's length, and how far it may go."""

    expand: int
    """Id of the token that stands for two."""
    delete: int
    """Id of the token that stands for none; DreamOn's is the end of text."""
    longest: int = 64
    """Places of a row; no further ones are proposed in a row that has as many."""
    budget: int | None = None
    """Times that a row may expand; None: as often as it may have places."""
    to_right: bool = True
    """A deleted place takes the masks to its right along (DreamOn's ``pad_eos_to_right``)."""

    def __post_init__(self) -> None:
        if self.longest < 1 or (self.budget is not None and self.budget < 0):
            raise ValueError(f"longest {self.longest} must be at least 1 and budget {self.budget} at least 0")


@dataclass
class _Row:
    """A row on the host, where it may change its length."""

    ids: list[int]
    sure: list[float]
    """Probability of each token when it was written; 0 where open, 1 where given."""
    budget: int

    def write(self, place: int, token: int, sure: float, lengths: Lengths, mask: int) -> None:
        if token == lengths.expand:
            self.ids[place : place + 1] = [mask, mask]
            self.sure[place : place + 1] = [0.0, 0.0]
            self.budget -= 1
        elif token == lengths.delete:
            gone = {at for at, now in enumerate(self.ids) if at > place and now == mask} if lengths.to_right else set()
            kept = [at for at in range(len(self.ids)) if at != place and at not in gone]
            self.ids, self.sure = [self.ids[at] for at in kept], [self.sure[at] for at in kept]
        else:
            self.ids[place], self.sure[place] = token, sure


async def expand(
    tokenizer: Tokenizer,
    state: State,
    rows: Sequence[Sequence[int]],
    glue: Sequence[int],
    plan: Plan,
    lengths: Lengths,
    device: torch.device,
    generator: torch.Generator,
    pace: Pace,
    report: Report | None = None,
) -> Canvas:
    """Denoises ``rows`` of hole tokens (``tokenizer.mask`` where they are open), each followed by ``glue``, until no
    place is open; one that comes out empty has length 0. The plan's schedule is "one", and its policy one that writes
    no more than that; steps and blocks do not count. When the budget of time does not hold another step,
    what is open is written from the last one, with the likeliest word for a place that wanted to expand. It ends:
    a row takes at most as many steps as it has masks, and two more for each time that it expands.

    Raises:
        Cancelled: ``pace.should_stop`` said yes.
    """
    assert plan.schedule == "one", "one place is written in a step"
    assert plan.policy in EXACT, f"{plan.policy} may write more than one place in a step"
    assert tokenizer.n_special <= min(lengths.expand, lengths.delete), "special tokens are never proposed"
    allowed = lengths.longest if lengths.budget is None else lengths.budget
    held = [_Row(list(row), [float(token != tokenizer.mask) for token in row], allowed) for row in rows]
    spent = False
    while not spent and (active := [row for row in held if tokenizer.mask in row.ids]):
        pace.check()
        began = pace.elapsed_ms()
        canvas = _laid(active, glue, tokenizer, device)
        full = torch.tensor([len(row.ids) >= lengths.longest or row.budget == 0 for row in active], device=device)

        def curb(logits: Tensor, asked: Tensor, full: Tensor = full) -> None:
            at_full = full[:, None].expand_as(asked)[asked]
            logits[at_full, lengths.expand - tokenizer.n_special] = -torch.inf

        now = canvas.open.sum(1)
        moment = Moment(now, now, 0, steps=2)  # any step but the last
        written, proposal = await step(tokenizer, state, canvas, canvas, moment, plan, generator, pace, curb)
        assert proposal is not None, "a place is open"
        spent = pace.tight(2 * (pace.elapsed_ms() - began))
        if spent:
            written = _all_at_once(canvas, proposal, lengths)
        _obey(active, canvas, written, lengths)
        if report is not None:
            report(_laid(held, glue, tokenizer, device))
    return _laid(held, glue, tokenizer, device)


def _obey(rows: Sequence[_Row], before: Canvas, after: Canvas, lengths: Lengths) -> None:
    """What was written in the step, in each row from right to left, so that places keep their numbers."""
    places = (before.open & ~after.open).tolist()
    for row, new, ids, sure in zip(rows, places, after.ids.tolist(), after.confidence.tolist(), strict=True):
        for place in reversed(range(len(row.ids))):
            if new[place]:
                row.write(place, ids[place], sure[place], lengths, before.mask)


def _all_at_once(canvas: Canvas, proposal: Proposal, lengths: Lengths) -> Canvas:
    """Every open place as proposed, but a word where it would expand."""
    words = proposal.logits.clone()
    words[:, [lengths.expand - proposal.first, lengths.delete - proposal.first]] = -torch.inf
    likeliest = canvas.ids.masked_scatter(proposal.asked, words.argmax(-1) + proposal.first)
    tokens = torch.where(proposal.tokens == lengths.expand, likeliest, proposal.tokens)
    return canvas.commit(canvas.open, tokens, proposal.confidence)


def _laid(rows: Sequence[_Row], glue: Sequence[int], tokenizer: Tokenizer, device: torch.device) -> Canvas:
    canvas = Canvas.of_rows([row.ids for row in rows], glue, tokenizer, device)
    width = canvas.ids.shape[1]
    sure = torch.tensor([[*row.sure, *[1.0] * (width - len(row.sure))] for row in rows], device=device)
    return replace(canvas, confidence=sure.view(len(rows), width))
