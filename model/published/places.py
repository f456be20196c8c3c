"""Places of tokens in rows that may be padded: who is where, who sees whom, and how far queries and keys are turned.

Shapes: B rows, L places, H heads, S head size, R rotated part of it.
"""

import torch
from torch import Tensor


def places(ids: Tensor, valid: Tensor | None) -> Tensor:
    """[B, L]: how many valid places are before each. ``valid`` [B, L]: False is padding, on either side; or None."""
    if valid is None:
        return torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
    return (valid.cumsum(1) - 1).clamp_min(0)


def allowed(
    place: Tensor, valid: Tensor | None, block: int, columns: Tensor | None = None, lead: Tensor | None = None
) -> Tensor | None:
    """[B, 1, L, L]: which places a place attends to; None where all see all. Padding sees itself, so that it stays a
    number. Of ``columns`` [B, W] only, if they are given: [B, 1, W, L]. ``lead`` [B]: how many places a row's first
    block has less than the others; None: none."""
    if valid is None and not block:
        return None
    asking = place if columns is None else place.gather(1, columns)
    seen = torch.ones_like(place, dtype=torch.bool) if valid is None else valid
    mask = seen[:, None, :].expand(-1, asking.shape[1], -1)
    if block:
        begin = 0 if lead is None else lead[:, None]
        mask = mask & (((place + begin) // block)[:, None, :] <= ((asking + begin) // block)[:, :, None])
    if valid is not None:
        every = torch.arange(place.shape[1], device=place.device)
        mask = mask | ((every if columns is None else columns)[..., None] == every)
    return mask[:, None]


def turns(place: Tensor, size: int, theta: float) -> tuple[Tensor, Tensor]:
    """[B, L] -> cos and sin [B, L, size / 2] of place * theta ^ (-2 i / size), float32 (RoFormer, arXiv 2104.09864)."""
    speed = 1.0 / theta ** (torch.arange(0, size, 2, device=place.device) / size)
    angle = place[..., None] * speed
    return angle.cos(), angle.sin()


def turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x [B, H, L, S] with cos and sin [B, L, R / 2]: of its first R numbers, those R / 2 apart are a pair and turn."""
    cos, sin = cos[:, None], sin[:, None]
    rotated = 2 * cos.shape[-1]
    a, b = x[..., :rotated].chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos, x[..., rotated:]], dim=-1)
