"""The network in use: one pass for the tokens of many contexts, and as little around each matrix product as possible.

A copy of ``model.network.Network``'s weights, made once at load, in the form that a pass wants: query, key, value and
gate are one matrix, so are the two halves of the feed-forward; look-ups are tables; matrices lie as the CPU's bf16
instructions read them. The residual stream is float32. It computes what the network computes, and knows no text.

Shapes: N tokens of a pass, H heads, S head size, D model width, T columns of a cache, V vocabulary.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from model.config import ModelConfig
from model.network import GATE_INPUTS, Attention, Block, Network, pair

ALIGNED = 16
"""Columns of a cache are a multiple of this."""
EPSILON = torch.finfo(torch.float32).eps
"""As in torch's own RMS norm of float32."""
WIDE = 4096
"""Outputs from which a float32 matrix is laid out for the processor: below, that costs more than it gains."""
SEEN = 64
"""Columns that are attended to are rounded up to a multiple of this (see ``rounded``)."""


class Cache:
    """Keys [layers, H, S, T] (transposed: three times faster) and values [layers, H, T, S] of one context.

    Columns behind the context are scratch: a pass writes its own keys and values there, so that old and new ones are
    attended to in one product. They are finite at all times (a weight of zero times infinity would be no number).
    """

    def __init__(self, config: ModelConfig, columns: int, *, device: torch.device, dtype: torch.dtype) -> None:
        self.columns = -(-columns // ALIGNED) * ALIGNED
        shape = (config.n_layers, config.n_heads, config.head_dim, self.columns)
        keys = torch.zeros(shape, device=device, dtype=dtype)
        values = torch.zeros(shape, device=device, dtype=dtype).view(*shape[:2], self.columns, config.head_dim)
        self.nbytes = keys.nbytes + values.nbytes
        self.layers = list(zip(keys.unbind(0), values.unbind(0), strict=True))


@dataclass(frozen=True)
class Group:
    """Tokens ``start`` to ``end`` of a pass, all behind the first ``behind`` columns of one cache."""

    cache: Cache
    behind: int
    start: int
    end: int
    kept: bool
    """Whether their keys and values belong to the context from now on."""


@dataclass(frozen=True)
class Tokens:
    """What a pass computes. Tensors are [N], int64. Groups are in order; together they are all N tokens."""

    ids: Tensor
    previous: Tensor
    """Id to the left."""
    position: Tensor
    first: Tensor
    """The first token of the pass that a token sees, ..."""
    last: Tensor
    """... and the last one; besides, all that its group stands behind."""
    groups: Sequence[Group]


class Inference:
    """One forward pass at a time. Later changes of the network's weights are not seen."""

    def __init__(self, network: Network) -> None:
        with torch.no_grad():
            weight = network.embedding.weight.detach()
            self.dtype, self.device = weight.dtype, weight.device
            self.table = functional.rms_norm(weight, (weight.shape[1],))
            self.shift = network.shift.detach().float()
            self.pairs = None if network.pair_embedding is None else network.pair_embedding.weight.detach()
            self.logits = linear(weight)
            self.length_up = linear(network.length_head.up.weight.detach())
            self.length_down = linear(network.length_head.down.weight.detach())
            self.length_classes = network.length_head.classes
            self.edit_up = self.edit_down = None
            if network.edit_head is not None:
                self.edit_up = linear(network.edit_head.up.weight.detach())
                self.edit_down = linear(network.edit_head.down.weight.detach())
            self.layers = [_Layer(block) for block in network.blocks if isinstance(block, Block)]
            self.turns = _turns(network)
            self.attend = padded if self.device.type == "cuda" else grouped
            self.rounds = self.device.type == "cpu" and self.dtype == torch.bfloat16
            """Whether passes are filled up to sizes for which the processor's code is likely made already."""

    def run(self, tokens: Tokens, wanted: Tensor | None = None, attend: "Attend | None" = None) -> Tensor:
        """Hidden states [N, D], normed; only those of the tokens ``wanted`` [M] where that is given. ``attend`` is
        another way of attention than the device's usual one."""
        if self.rounds:
            tokens, wanted = filled(tokens, wanted)
        x = x0 = self.embed(tokens)
        turn = self.turns.index_select(0, tokens.position)
        attend = attend or self.attend(tokens)
        for i, layer in enumerate(self.layers):
            x = x.mul(layer.residual[0]).add_(x0, alpha=layer.residual[1])
            y = attend(i, *layer.project(norm(x).to(self.dtype), tokens.ids, turn))
            if wanted is not None and i == len(self.layers) - 1:
                x, y = x.index_select(0, wanted), y.index_select(0, wanted)
            x.add_(layer.out(y))
            x.add_(layer.feed_forward(norm(x).to(self.dtype)))
        return norm(x).to(self.dtype)

    def embed(self, tokens: Tokens) -> Tensor:
        """[N, D]: see ``model.network.Network.embed``."""
        x = self.table.index_select(0, tokens.ids).float()
        x.addcmul_(self.table.index_select(0, tokens.previous).float(), self.shift)
        if self.pairs is not None:
            x.add_(self.pairs.index_select(0, pair(tokens.ids, tokens.previous, len(self.pairs))))
        return norm(x)

    def lengths(self, hidden: Tensor) -> Tensor:
        """[D] -> logits [2, max_hole + 2] (see ``model.network.LengthHead``)."""
        out = self.length_down(functional.silu(self.length_up(hidden[None])))
        return out.view(2, self.length_classes)

    def edits(self, hidden: Tensor) -> Tensor:
        """[N, D] -> [N, inserts + 3] (see ``model.network.EditHead``)."""
        assert self.edit_up is not None
        assert self.edit_down is not None
        return self.edit_down(functional.silu(self.edit_up(hidden)))


class _Layer:
    def __init__(self, block: Block) -> None:
        attention, feed_forward = block.attention, block.feed_forward
        self.heads = attention.heads
        keep, door = block.residual.tolist()
        self.residual = (keep, door)
        self.width = attention.query.in_features
        parts = [adjacent(attention.query.weight, self.heads), adjacent(attention.key.weight, self.heads)]
        parts.append(attention.value.weight)
        self.values: Tensor | None = None
        if attention.value_embedding is not None and attention.value_gate is not None:
            self.values = attention.value_embedding.weight.detach()
            parts.append(functional.pad(attention.value_gate.weight, (0, self.width - GATE_INPUTS)))
        self.inputs = linear(torch.cat([part.detach() for part in parts]))
        self.out = linear(attention.out.weight.detach())
        self.gate_up = linear(torch.cat([feed_forward.gate.weight.detach(), feed_forward.up.weight.detach()]))
        self.down = linear(feed_forward.down.weight.detach())

    def project(self, x: Tensor, ids: Tensor, turn: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x [N, D] -> q, k, v [N, H, S]; q is scaled already."""
        n, width, heads = len(x), self.width, self.heads
        made = self.inputs(x)
        # Query and key at once; a rotation by an angle is a product of complex numbers.
        qk = norm(made[:, : 2 * width].float().view(n, 2, heads, -1))
        turned = torch.view_as_complex(qk.view(n, 2, heads, -1, 2)) * turn
        q, k = torch.view_as_real(turned).view(n, 2, heads, -1).to(x.dtype).unbind(1)
        v = made[:, 2 * width : 3 * width].view(n, heads, -1)
        if self.values is not None:
            gate = made[:, 3 * width :].sigmoid().mul_(2)
            v = v.addcmul(gate[..., None], self.values.index_select(0, ids).view(n, heads, -1))
        return q, k, v

    def feed_forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(functional.silu(gate).mul_(up))


def rounded(n: int) -> int:
    """Up to one of eight sizes between two powers of two.

    For every new shape of a bf16 product oneDNN makes code, which takes as long as a product of 20 rows and keeps 0.7
    MB: a third of the time of who types, since without rounding hardly two passes are of the same size (docs/log.md).
    """
    step = 1 << max(n.bit_length() - 4, 0)
    return -(-n // step) * step


def filled(tokens: Tokens, wanted: Tensor | None) -> tuple[Tokens, Tensor | None]:
    """The same pass with its groups rounded up, and where in it the wanted tokens stand. What is filled in are copies
    of a group's last token, which nobody sees; their keys and values are scratch."""
    sizes = [one.end - one.start for one in tokens.groups]
    full = [min(rounded(size), one.cache.columns - one.behind) for size, one in zip(sizes, tokens.groups, strict=True)]
    if sizes == full:
        return tokens, wanted
    source, shift, groups = list[int](), list[int](), list[Group]()
    place = torch.empty(len(tokens.ids), dtype=torch.int64)
    for group, size, more in zip(tokens.groups, sizes, full, strict=True):
        begin = len(source)
        source += [*range(group.start, group.end), *[group.end - 1] * (more - size)]
        shift += [begin - group.start] * more
        torch.arange(begin, begin + size, out=place[group.start : group.end])
        groups.append(replace(group, start=begin, end=begin + more))
    index, by = torch.tensor([source, shift]).unbind(0)
    ids, previous, position, first, last = (
        one.index_select(0, index) for one in (tokens.ids, tokens.previous, tokens.position, tokens.first, tokens.last)
    )
    chosen = place if wanted is None else place.index_select(0, wanted)
    return Tokens(ids, previous, position, first + by, last + by, groups), chosen


Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""(layer, q, k, v [N, H, S]) -> [N, D]; writes the keys and values of kept tokens into their caches."""


def grouped(tokens: Tokens) -> Attend:
    """Attention group by group: no padding and no copy of a cache. For the CPU."""
    hidden = [_hidden(tokens, group) for group in tokens.groups]

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out = torch.empty_like(v)
        for group, blocked in zip(tokens.groups, hidden, strict=True):
            rows, end = slice(group.start, group.end), group.behind + group.end - group.start
            keys, values = group.cache.layers[layer]
            keys[:, :, group.behind : end] = k[rows].permute(1, 2, 0)
            values[:, group.behind : end] = v[rows].transpose(0, 1)
            seen = _seen(group)
            keys, values = keys[:, :, :seen], values[:, :seen]
            asked = q[rows].transpose(0, 1)
            if end - group.behind == 1:  # bf16 instructions need several rows to pay.
                asked, keys, values = asked.float(), keys.float(), values.float()
            scores = torch.bmm(asked, keys)
            if blocked is not None:
                scores[:, :, group.behind :].masked_fill_(blocked, float("-inf"))
            out[rows] = torch.bmm(scores.softmax(-1), values).transpose(0, 1)
        return out.flatten(1)

    return attend


def padded(tokens: Tokens) -> Attend:
    """Attention of all groups in one kernel, each filled up to the largest. For a GPU, where a launch costs more than
    the padding."""
    groups, device = tokens.groups, tokens.ids.device
    sizes = torch.tensor([[group.behind, group.start, group.end] for group in groups], device=device)
    behind, start, end = sizes.unbind(1)
    far = max(group.behind for group in groups)
    near = max(group.end - group.start for group in groups)
    place = start[:, None] + torch.arange(near, device=device)
    """[G, near]: the token of the pass that stands there."""
    used = place < end[:, None]
    place = torch.where(used, place, 0)
    sees = place[:, None, :] >= tokens.first[place][:, :, None]
    sees &= place[:, None, :] <= tokens.last[place][:, :, None]
    sees &= used[:, None, :]
    before = (torch.arange(far, device=device) < behind[:, None])[:, None].expand(-1, near, -1)
    allowed = torch.cat([before, sees], dim=2)[:, None]
    owner = torch.repeat_interleave(torch.arange(len(groups), device=device), end - start, output_size=len(tokens.ids))
    index = (owner, torch.arange(len(tokens.ids), device=device) - start[owner])

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        for group in groups:
            if group.kept:
                keys, values = group.cache.layers[layer]
                stop = group.behind + group.end - group.start
                keys[:, :, group.behind : stop] = k[group.start : group.end].permute(1, 2, 0)
                values[:, group.behind : stop] = v[group.start : group.end].transpose(0, 1)
        old_k = torch.stack([group.cache.layers[layer][0][:, :, :far] for group in groups]).transpose(2, 3)
        old_v = torch.stack([group.cache.layers[layer][1][:, :far] for group in groups])
        all_k = torch.cat([old_k, k[place].transpose(1, 2)], dim=2)
        all_v = torch.cat([old_v, v[place].transpose(1, 2)], dim=2)
        asked = q[place].transpose(1, 2)
        y = functional.scaled_dot_product_attention(asked, all_k, all_v, attn_mask=allowed, scale=1.0)
        return y.transpose(1, 2)[index].flatten(1)

    return attend


def norm(x: Tensor) -> Tensor:
    """``model.network.norm`` in fewer operations than torch takes on a CPU: they are most of a pass of one token."""
    if x.device.type != "cpu":
        return functional.rms_norm(x, (x.shape[-1],))
    squared: Tensor = torch.linalg.vecdot(x, x)
    return x * squared.mul_(1 / x.shape[-1]).add_(EPSILON).rsqrt_()[..., None]


def _seen(group: Group) -> int:
    """Columns of its cache that a group attends to: its own are the last, but for some to round that are hidden."""
    end = group.behind + group.end - group.start
    return end if group.end - group.start == 1 else min(-(-end // SEEN) * SEEN, group.cache.columns)


def _hidden(tokens: Tokens, group: Group) -> Tensor | None:
    """[n, columns behind the context] bool: which of them a token does not see; None where each sees all."""
    if group.end - group.start == 1:
        return None
    rows = slice(group.start, group.end)
    place = torch.arange(group.start, group.start + _seen(group) - group.behind, device=tokens.ids.device)
    return (place < tokens.first[rows, None]) | (place > tokens.last[rows, None])


def linear(weight: Tensor) -> Callable[[Tensor], Tensor]:
    """x [N, in] -> x @ weight.T for a weight [out, in] that does not change."""
    if weight.device.type == "cpu" and weight.dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported():  # noqa: SLF001
        return _laid_out(weight)
    if weight.device.type == "cpu" and weight.dtype == torch.float32:
        # A product that need not transpose is faster at any number of rows, by a third at one.
        transposed = weight.T.contiguous()
        if max(weight.shape) < WIDE or not torch.backends.mkldnn.is_available():
            return lambda x: torch.matmul(x, transposed)
        wide = _laid_out(weight)
        return lambda x: torch.matmul(x, transposed) if len(x) == 1 else wide(x)
    return lambda x: functional.linear(x, weight)


def _laid_out(weight: Tensor) -> Callable[[Tensor], Tensor]:
    """Laid out for the processor's matrix instructions once instead of in every product: half the time for one row of
    bf16, two thirds for some rows of a vocabulary in float32. It is how torch's own compiler does it, hence the pinned
    version; there is no public name."""
    laid_out = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), None)  # noqa: SLF001
    product = torch.ops.mkldnn._linear_pointwise  # noqa: SLF001

    def of(x: Tensor) -> Tensor:
        more = rounded(len(x)) - len(x)
        whole = functional.pad(x, (0, 0, 0, more)) if more else x
        made: Tensor = product(whole, laid_out, None, "none", [], "")
        return made[: len(x)] if more else made

    return of


def adjacent(weight: Tensor, heads: int) -> Tensor:
    """Rows of a query or key matrix, reordered so that the two numbers of a rotated pair stand side by side. Query and
    key alike: their product does not notice."""
    return weight.view(heads, 2, -1, weight.shape[1]).transpose(1, 2).reshape(weight.shape)


def _turns(network: Network) -> Tensor:
    """[positions, 2, 1, S / 2], complex: the rotations of query and key, the query's with the attention's scale."""
    turn = torch.complex(network.cos.float(), network.sin.float())
    attention = next(module for module in network.modules() if isinstance(module, Attention))
    return torch.stack([turn * attention.scale, turn], dim=1)[:, :, None]
