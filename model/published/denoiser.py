"""Published networks as the engine drives them: whole rows with a hole in them, many requests in one pass."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from model.calls import Call, Denoise
from model.published.moe import Kept
from model.published.registry import Family
from model.published.tokenizer import PublishedTokenizer

MAX_HOLE = 256
"""Places of the longest hole."""
PASS_TOKENS = 8192


@dataclass(eq=False)
class Around:
    """What stands around a hole; what a context's state is elsewhere."""

    prefix: tuple[int, ...]
    suffix: tuple[int, ...] = ()
    ends: bool = False
    """Whether a place of the hole may be a token that ends the answer, or makes it longer or shorter."""
    first: Tensor | None = None
    """[n]: the only ids that may stand in the first place, where the hole begins inside a word."""
    keep: bool = False
    """Whether keys and values of what is around are computed in the first pass and kept for later ones, as they were
    then (the dual cache of Fast-dLLM, arXiv 2505.22618): rows must stay the same between passes, but for the hole."""
    kept: Kept | None = field(default=None, repr=False)
    valid: Tensor | None = field(default=None, repr=False)
    """[K, L]: which places of the kept rows are theirs; None where all are."""

    @property
    def ids(self) -> tuple[int, ...]:
        return self.prefix

    @property
    def nbytes(self) -> int:
        return 0 if self.kept is None else sum(k.nbytes + v.nbytes for k, v in self.kept.layers)

    @property
    def beside(self) -> int:
        """Tokens that a pass computes besides the canvas, for each of its rows."""
        return 1 if self.kept is not None else len(self.prefix) + len(self.suffix)


class Published:
    """A network with its family and tokenizer."""

    glue = 0
    inserts = 0
    graphs = None
    canvas_length = 0
    """Places of a canvas of random tokens; 0: what is open are masks."""

    def __init__(
        self,
        network: torch.nn.Module,
        family: Family,
        tokenizer: PublishedTokenizer,
        *,
        positions: int,
        block: int = 0,
        controls: "Controls | None" = None,
    ) -> None:
        self.network, self.family, self.tokenizer, self.block = network, family, tokenizer, block
        parameter = next(network.parameters())
        self.device, self.dtype = parameter.device, parameter.dtype
        self.positions = min(positions, family.context or positions)
        self.max_hole = longest_hole(self.positions)
        self.context = self.positions - self.max_hole
        self.pass_tokens = PASS_TOKENS if self.device.type != "cpu" else 1
        """Tokens of all rows of one pass, at most: beyond, one request more gains nothing. On a CPU one is enough."""
        self.keeps = self.can_keep
        """Whether keys and values of what is around a hole are kept between passes: faster, and nearly the same."""
        self.controls = controls or Controls()
        ends = [tokenizer.id_of(name) for name in family.ends]
        self.ends = tuple(token for token in ends if token is not None)
        """Ids that end an answer."""
        self.begin = tuple(ids_of(tokenizer, family.begin))
        self.close = tuple(ids_of(tokenizer, family.close))
        silent = sorted({*tokenizer.silent(), tokenizer.mask})
        free = {*self.ends, *self.controls.all()} - {tokenizer.mask}
        self._closed = torch.tensor(silent, dtype=torch.int64, device=self.device)
        self._ending = torch.tensor([i for i in silent if i not in free], dtype=torch.int64, device=self.device)

    @property
    def can_keep(self) -> bool:
        return hasattr(self.network, "window")

    def run(self, calls: Sequence[Call]) -> list[Any]:
        """All calls in as few passes as they allow: one for those that compute whole rows, one for each that has keys
        and values of its own.

        Raises:
            ValueError: a call that this network cannot answer; nothing is computed then.
        """
        asked = [self._checked(call) for call in calls]
        answers: list[Tensor | None] = [None] * len(calls)
        together = [i for i, call in enumerate(asked) if not call.state.keep]
        if together:
            for i, logits in zip(together, self._whole([asked[i] for i in together]), strict=True):
                answers[i] = logits
        for i, call in enumerate(asked):
            if call.state.keep:
                answers[i] = self._beside(call)
        return [self._allowed(call, logits) for call, logits in zip(asked, answers, strict=True) if logits is not None]

    def _checked(self, call: Call) -> Denoise:
        if not isinstance(call, Denoise) or not isinstance(call.state, Around):
            title = self.family.title
            raise ValueError(f"{title} has no causal head and no head for edits: it fills holes in place")  # noqa: TRY004
        room = self.positions - len(call.state.prefix) - len(call.state.suffix)
        if call.canvas.shape[1] > room:
            raise ValueError(f"a hole of {call.canvas.shape[1]} tokens does not fit: there is room for {room}")
        return call

    def _whole(self, calls: Sequence[Denoise]) -> list[Tensor]:
        rows: list[list[int]] = []
        wanted: list[list[int]] = []
        counts: list[int] = []
        twice = dict[int, list[int]]()
        for index, call in enumerate(calls):
            made, places = self._rows(call)
            rows, wanted = rows + made, wanted + places
            counts.append(sum(len(set(at)) for at in places))
            if counts[-1] < sum(map(len, places)):
                twice[index] = _among_different(places)
        ids, valid = _padded(rows, self.device)
        chosen = torch.zeros(ids.shape, dtype=torch.bool)
        for row, at in enumerate(wanted):
            chosen[row, at] = True
        lead = self._lead([call.state for call in calls for _ in call.canvas])
        logits: Tensor = self.network(ids, valid, chosen.to(self.device), **lead)
        found = list(logits.split(counts))
        for index, order in twice.items():
            found[index] = found[index][order]
        return found

    def _lead(self, states: Sequence[Around]) -> dict[str, Tensor]:
        """What the network is told of its blocks, for rows with these states: where they do not begin with the row."""
        if not self.family.aligned:
            return {}
        missing = [-len(state.prefix) % self.block for state in states]
        return {"lead": torch.tensor(missing, device=self.device)}

    def _rows(self, call: Denoise) -> tuple[list[list[int]], list[list[int]]]:
        """The rows of a call without padding, and the places whose output is about its wanted ones."""
        state, pad = call.state, self.tokenizer.pad
        rows = [
            [*state.prefix, *(token for token in row if token != pad), *state.suffix] for row in call.canvas.tolist()
        ]
        # With nothing before them, a shifted network says of the first two places what it says at the first.
        begin = len(state.prefix) - self.family.shift
        places = [[max(begin + place, 0) for place, asked in enumerate(row) if asked] for row in call.wanted.tolist()]
        return rows, places

    def _beside(self, call: Denoise) -> Tensor:
        """A call whose state keeps what is around the hole: computed whole once, then the hole alone, or all of the
        network's own block that it is part of, so that nothing that sees the hole is left as it was."""
        state = call.state
        rows, places = self._rows(call)
        lead = self._lead([state] * len(rows))
        begin, end = len(state.prefix) - self.family.shift, len(state.suffix)
        if self.block:
            first = 0 if not lead else int(lead["lead"][0])
            begin, end = min(begin, len(state.prefix) - (len(state.prefix) + first) % self.block), 0
        begin = max(begin, 0)
        if state.kept is None:
            ids, valid = _padded(rows, self.device)
            chosen = torch.zeros(ids.shape, dtype=torch.bool)
            for row, found in enumerate(places):
                chosen[row, found] = True
            kept = Kept()
            logits: Tensor = self.network(ids, valid, chosen.to(self.device), keep=kept, **lead)
            state.kept, state.valid = kept, valid
            return logits if state.prefix else logits[_among_different(places)]
        width = max(len(row) for row in rows) - begin - end
        ids, _ = _padded(rows, self.device)
        window = ids[:, begin : begin + width]
        start = torch.full((len(rows),), begin, device=self.device)
        out: Tensor = self.network.window(window, start, state.kept, state.valid, **lead)  # type: ignore[operator]
        chosen = torch.zeros(window.shape, dtype=torch.bool)
        for row, found in enumerate(places):
            chosen[row, [place - begin for place in found]] = True
        asked = out[chosen.to(self.device)]
        return asked if state.prefix else asked[_among_different(places)]

    def _allowed(self, call: Denoise, logits: Tensor) -> Tensor:
        """Logits [M, V] with what may not be written at minus infinity."""
        logits.index_fill_(-1, self._ending if call.state.ends else self._closed, -torch.inf)
        if call.state.first is not None:
            asked = call.wanted.nonzero()
            at_first = (asked[:, 1] == 0).to(self.device)
            closed = torch.ones(logits.shape[-1], dtype=torch.bool, device=self.device)
            closed[call.state.first.to(self.device)] = False
            logits.masked_fill_(at_first[:, None] & closed, -torch.inf)
        return logits

    def next_logits(self, state: Around) -> Tensor:  # noqa: ARG002 (the seam)
        raise ValueError(f"{self.family.title} has no causal head")

    def last_logits(self, state: Around, count: int) -> Tensor:  # noqa: ARG002
        raise ValueError(f"{self.family.title} has no causal head")

    def length_logprobs(self, state: Around, *, line: bool = False) -> Tensor:  # noqa: ARG002
        raise ValueError(f"{self.family.title} has no head for lengths")


@dataclass(frozen=True)
class Controls:
    """Tokens that change the length of a hole (DreamOn)."""

    expand: int | None = None
    delete: int | None = None

    def all(self) -> set[int]:
        return {token for token in (self.expand, self.delete) if token is not None}


def longest_hole(positions: int) -> int:
    """Places of a hole at most, where there are so many for all of the text."""
    return min(MAX_HOLE, positions // 4)


def _among_different(places: Sequence[Sequence[int]]) -> list[int]:
    """Of each place in each row: which it is, if each is counted once."""
    order, before = list[int](), 0
    for at in places:
        which = {place: before + index for index, place in enumerate(dict.fromkeys(at))}
        order += [which[place] for place in at]
        before += len(which)
    return order


def ids_of(tokenizer: PublishedTokenizer, names: Sequence[str]) -> list[int]:
    return [found for name in names if (found := tokenizer.id_of(name)) is not None]


def _padded(rows: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor | None]:
    """Rows side by side [K, L], and which places are theirs; None where all are."""
    width = max(map(len, rows))
    ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], device=device)
    if all(len(row) == width for row in rows):
        return ids, None
    sizes = torch.tensor([len(row) for row in rows], device=device)
    return ids, torch.arange(width, device=device) < sizes[:, None]
