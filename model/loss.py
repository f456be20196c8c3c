"""The training loss as pure functions: next token on streams, restoration on canvases, lengths at cursors."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from model.network import Canvases, Network

CHUNKS = {"cpu": 512, "cuda": 16384}
"""Rows whose logits exist at once: what stays in a processor's cache, what keeps a GPU busy."""
ALIGNED = 64
"""Rows that are chosen from a batch are filled up to a multiple of this: oneDNN keeps code and work space for each
shape it has seen, 10 MB each on a processor with AMX, and hardly two steps choose as many."""
LENGTH_SHARE = 0.1
WRONG_WEIGHT = 4.0
"""Weight of a wrong token, and of a place where one is missing, among many right ones."""


@dataclass
class Batch:
    """Streams [B, T], canvases [B, C], and what to predict where. Weight 0 means: no loss here."""

    ids: Tensor
    targets: Tensor
    """[B, T]: the next token."""
    weights: Tensor
    """[B, T] float32."""
    canvases: Canvases
    canvas_targets: Tensor
    canvas_weights: Tensor
    lengths: Tensor
    """[B, T, 2]: tokens from here up to the suffix, and up to the line's end."""
    length_weights: Tensor
    """[B, T, 2] float32."""
    wrong: Tensor
    """[B, C] float32: whether the token is to go."""
    inserts: Tensor
    """[B, C]: tokens that are missing before this one."""
    edit_weights: Tensor
    """[B, C] float32: where the edit head learns."""
    masked: Tensor
    """[B, C] bool: hidden (not merely replaced) places, for reporting and for the model's own samples."""


@dataclass
class Losses:
    """Sums for reporting are detached; ``total`` is what is minimised."""

    total: Tensor
    stream: Tensor
    """Mean nats per token of the causal head."""
    canvas: Tensor
    """Mean nats per masked or replaced token; 0 where there are no canvases."""
    fill: Tensor
    line: Tensor
    """Mean nats of the two length distributions; 0 where they are not learned."""
    edit: Tensor
    """Mean weighted nats of the edit head; 0 where the batch has no edits."""


class _CrossEntropy(torch.autograd.Function):
    """Weighted sum of cross-entropies through a tied head, never holding all logits: the gradient is formed in the
    forward pass (the idea of Liger and Apple's cut cross-entropy)."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, table: Tensor, targets: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        grad_hidden = torch.empty_like(hidden)
        grad_table = torch.zeros(table.shape, dtype=torch.float32, device=table.device)
        nll = torch.empty(hidden.shape[0], dtype=torch.float32, device=hidden.device)
        chunk = CHUNKS.get(hidden.device.type, 4096)
        for start in range(0, hidden.shape[0], chunk):
            rows = slice(start, start + chunk)
            h, target = filled(hidden[rows]), filled(targets[rows])[:, None]
            weight = filled(weights[rows])[:, None]
            count = len(hidden[rows])
            logits = h @ table.T
            top = logits.amax(-1, keepdim=True).float()
            right = logits.gather(1, target).float()
            gradient = logits.float().sub_(top).exp_()
            total = gradient.sum(-1, keepdim=True)
            nll[rows] = (total.log() + top - right)[:count, 0]
            gradient.mul_(weight / total).scatter_add_(1, target, -weight)
            small = gradient.to(h.dtype)
            grad_hidden[rows] = (small @ table)[:count]
            grad_table += (small.T @ h).float()
        ctx.save_for_backward(grad_hidden, grad_table.to(table.dtype))
        ctx.mark_non_differentiable(nll)
        return (nll * weights).sum(), nll

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad_hidden, grad_table = ctx.saved_tensors
        return grad_hidden * grads[0].to(grad_hidden.dtype), grad_table * grads[0].to(grad_table.dtype), None, None


def filled(rows: Tensor) -> Tensor:
    """[n, ...] -> the same with zeros behind it, up to a multiple of ``ALIGNED`` rows."""
    missing = -len(rows) % ALIGNED
    return torch.cat([rows, rows.new_zeros(missing, *rows.shape[1:])]) if missing else rows


def cross_entropy(hidden: Tensor, table: Tensor, targets: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """hidden [n, D], table [V, D], targets [n], weights [n] -> weighted sum, and nats per row [n] (no gradient)."""
    total, nll = _CrossEntropy.apply(hidden, table, targets, weights)  # type: ignore[no-untyped-call]
    return total, nll


def losses(network: Network, hidden: tuple[Tensor, Tensor], batch: Batch, objective: str = "canvas") -> Losses:
    """Hidden states of ``network.forward`` -> losses. Rows without weight never reach the vocabulary.

    ``objective``: "causal" is the next-token loss alone.
    """
    stream, canvas = hidden
    first, stream_mean = token_loss(network, stream, batch.targets, batch.weights)
    if objective == "causal":
        none = torch.zeros((), device=stream.device)
        return Losses(first, stream_mean, none, none, none, none)
    second, canvas_mean = token_loss(network, canvas, batch.canvas_targets, batch.canvas_weights)
    chosen = batch.length_weights.sum(-1) > 0
    w = batch.length_weights[chosen]
    logits = network.length_head(filled(stream[chosen]))[: len(w)].float()
    nll = functional.cross_entropy(logits.flatten(0, 1), batch.lengths[chosen].flatten(), reduction="none").view(-1, 2)
    length = (nll * w).sum(0) / w.sum(0).clamp_min(1e-6)
    edit = edit_loss(network, canvas, batch)
    total = first + second + LENGTH_SHARE * length.sum() + edit
    return Losses(total, stream_mean, canvas_mean, length[0].detach(), length[1].detach(), edit.detach())


def token_loss(network: Network, hidden: Tensor, targets: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted mean nats, and (without gradient) the plain mean over the hard ones: not the clean visible tokens of a
    canvas."""
    chosen = weights > 0
    w = weights[chosen]
    total, nll = cross_entropy(hidden[chosen], network.embedding.weight, targets[chosen], w / w.sum())
    return total, nll[w >= 1.0].mean()


def edit_loss(network: Network, canvas: Tensor, batch: Batch) -> Tensor:
    """Hidden states [B, C, D] of canvases -> mean weighted nats of the edit head per place."""
    chosen = batch.edit_weights > 0
    if network.edit_head is None or not chosen.any():
        return torch.zeros((), device=canvas.device)
    wrong, inserts = batch.wrong[chosen], batch.inserts[chosen]
    logit, logits = (found[: len(wrong)] for found in network.edit_head(filled(canvas[chosen])))
    weights = 1 + (WRONG_WEIGHT - 1) * torch.stack([wrong, (inserts > 0).float()])
    nll = torch.stack([
        functional.binary_cross_entropy_with_logits(logit.float(), wrong, reduction="none"),
        functional.cross_entropy(logits.float(), inserts, reduction="none"),
    ])  # fmt: skip
    return (nll * weights).sum() / weights.sum() * 2
