"""What a published model writes behind a prompt: block after block, or all of a canvas at once.

Where blocks see only what is before them, one follows the other; where all see all, later blocks stand there as masks
while one is written (LLaDA's semi-autoregressive sampling). Both end with the block in which the answer ends.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from infill.canvas import Canvas
from infill.passes import encode, think
from infill.renoise import RenoiseOptions, renoise
from infill.sampler import Pace, Plan, refine
from model.published.denoiser import Around, Published


@dataclass(frozen=True)
class Written:
    ids: list[int]
    confidence: list[float]
    """Of each, when it was written."""
    ended: bool
    """Whether the model ended it, and not the limit or the budget."""


async def write(
    published: Published,
    prompt: Sequence[int],
    limit: int,
    plan_for: Callable[[int], Plan],
    generator: torch.Generator,
    pace: Pace,
    *,
    block: int = 0,
    report: Callable[[Sequence[int], Canvas], None] | None = None,
) -> Written:
    """At most ``limit`` tokens behind ``prompt``. ``plan_for``: how to denoise a block of so many places. ``block``:
    places that are written before those to their right, of all that see each other; 0: all of them. Where they are
    parts of a network's own blocks, and it speaks of the next place, the first place of such a block is written first:
    the block before it knows that one as an autoregressive model would (Fast-dLLM v2). ``report`` is told what is
    written and the canvas.

    Raises:
        Cancelled: ``pace.should_stop`` said yes.
        ValueError: the prompt leaves no room.
    """
    if published.family.uniform:
        return await _composed(published, prompt, limit, generator, pace)
    ids, sure = list[int](), list[float]()
    limit = min(limit, published.positions - len(prompt))
    if limit < 1:
        raise ValueError(f"a prompt of {len(prompt)} tokens leaves no room: there are {published.positions} places")
    ends, mask = set(published.ends), published.tokenizer.mask
    while len(ids) < limit and not (ids and pace.tight()):
        left = limit - len(ids)
        if published.block:
            room, behind = _own(published, len(prompt), len(ids), left, block)
            if len(prompt) + len(ids) + room + behind > published.positions:
                break
        else:
            room = min(block or left, left)
            behind = left - room
        # A network with blocks computes the whole block anew; where all see all, so would the masks behind have to be.
        keep = published.keeps and (published.block > 0 or behind == 0)
        state = Around((*prompt, *ids), (mask,) * behind, ends=True, keep=keep)
        canvas = Canvas.of_lengths([room], [], published.tokenizer, published.device)
        told = None if report is None else _telling(report, list(ids))
        canvas = await refine(published.tokenizer, state, canvas, plan_for(room), generator, pace, told)
        row, each = canvas.rows()[0], canvas.confidence[0].tolist()
        stop = next((place for place, token in enumerate(row) if token in ends), None)
        ids, sure = ids + row[:stop], sure + each[:stop]
        if stop is not None:
            return Written(ids[:limit], sure[:limit], ended=True)
    return Written(ids[:limit], sure[:limit], ended=False)


def _own(published: Published, prompt: int, done: int, left: int, part: int) -> tuple[int, int]:
    """Of the network's own block that goes on behind ``prompt`` and ``done`` places: how many are written now, and how
    many stay masks behind them."""
    size = published.block
    if published.family.aligned:
        return min(size - done % size, left), 0
    at = (prompt + done) % size
    if not part:
        return size - at, 0
    if at == 0 and published.family.shift and prompt + done > 0:
        return 1, 0
    room = min(part - at % part, size - at)
    return room, size - at - room


async def _composed(
    published: Published, prompt: Sequence[int], limit: int, generator: torch.Generator, pace: Pace
) -> Written:
    """Canvas after canvas of random tokens, each denoised until it stays as it is. How sure each is, nobody knows."""
    length = published.canvas_length
    ids = list[int]()
    while len(ids) < limit and not (ids and pace.tight()):
        state: Any = await encode([*prompt, *ids], None)
        pace.passes += 1

        async def denoise(canvas: Tensor, thoughts: Tensor | None, state: Any = state) -> Tensor:
            pace.check()
            pace.steps += 1
            pace.passes += 1
            return await think(state, canvas, thoughts)

        shape, vocab = (1, length), published.tokenizer.vocab_size
        canvas = await renoise(denoise, shape, vocab, RenoiseOptions(), generator=generator, should_stop=pace.tight)
        row = canvas[0].tolist()
        stop = next((place for place, token in enumerate(row) if token in set(published.ends)), None)
        ids += row[:stop]
        if stop is not None:
            return Written(ids[:limit], [1.0] * len(ids[:limit]), ended=True)
    return Written(ids[:limit], [1.0] * len(ids[:limit]), ended=False)


def _telling(report: Callable[[Sequence[int], Canvas], None], ids: Sequence[int]) -> Callable[[Canvas], None]:
    return lambda canvas: report(ids, canvas)
