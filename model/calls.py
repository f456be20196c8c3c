"""What a forward pass is to compute, as values: so that one pass may compute for many."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Encode:
    """-> the state of the context ``ids``; ``past`` is consumed, what it has in common is not computed again."""

    ids: Sequence[int]
    past: Any = None


@dataclass(frozen=True)
class Denoise:
    """-> logits [M, V] (float32) of the M ``wanted`` [K, N] places of ``canvas`` [K, N]."""

    state: Any
    canvas: Tensor
    wanted: Tensor


@dataclass(frozen=True)
class Score:
    """-> log p [K, N] of ``tokens`` [K, N] under the causal head."""

    state: Any
    tokens: Tensor


@dataclass(frozen=True)
class Inspect:
    """-> log odds [N] that a token of ``block`` [N] is wrong, and log p [N + 1, inserts + 2] of 0, 1, ... tokens that
    are missing before it or, in the last row, behind it. ``glue`` (one token at least) is what follows the block."""

    state: Any
    block: Sequence[int]
    glue: Sequence[int]


@dataclass(frozen=True)
class Think:
    """-> logits [B, C, V] (float32) of ``canvas`` [B, C], told ``thoughts`` [B, C, V]: the logits of the step before,
    None in the first. For models whose noise is uniform."""

    state: Any
    canvas: Tensor
    thoughts: Tensor | None


Call = Encode | Denoise | Score | Inspect | Think


def one_by_one(denoiser: Any, calls: Sequence[Call]) -> list[Any]:
    """The answers of a denoiser that has a method for each kind of call."""
    return [_answer(denoiser, call) for call in calls]


def _answer(denoiser: Any, call: Call) -> Any:
    match call:
        case Encode(ids, None):
            return denoiser.encode(ids)
        case Encode(ids, past):
            return denoiser.encode(ids, past)
        case Denoise(state, canvas, wanted):
            return denoiser.denoise(state, canvas, wanted)
        case Score(state, tokens):
            return denoiser.score(state, tokens)
        case Inspect(state, block, glue):
            return denoiser.inspect(state, block, glue)
        case Think():
            raise ValueError("only a model whose noise is uniform is told its own thoughts")


def tokens(call: Call) -> int:
    """Token rows that a pass computes for a call, padding included; 0 where no pass is needed."""
    match call:
        case Encode(ids, past):
            return len(ids) - (0 if past is None else common(past.ids, ids))
        case Denoise(state, canvas):
            beside: int = getattr(state, "beside", 0)  # a state without keys and values is computed again for each row
            return canvas.numel() + len(canvas) * beside
        case Score(tokens=rows):
            return rows.numel()
        case Inspect(block=block, glue=glue):
            return len(block) + len(glue)
        case Think(canvas=canvas):
            return canvas.numel()


def common(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the common beginning."""
    if tuple(a) == tuple(b[: len(a)]):
        return len(a)
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
