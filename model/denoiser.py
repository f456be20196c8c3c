"""The canvas model as the engine sees it: encode a context once, then fill, score and measure holes behind it.

Implements ``infill.types.Denoiser``. Every call (``model.calls``) is a few rows of tokens behind a state; the rows of
all calls go through the network packed side by side, in one pass. Tensors stay on the model's device; logits are
float32. Shapes: K rows, N places, M wanted places, D model width, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from model.calls import Call, Denoise, Encode, Inspect, Score, Think, common
from model.graphs import Graphs
from model.inference import Cache, Group, Inference, Tokens
from model.network import Network
from model.tokenizer import Tokenizer

CHUNK = 128
"""Tokens of one group at most, where a row is not longer itself: they are all attended to and then mostly masked."""
LOGIT_BYTES = 64 * 2**20
"""Logits made at once, unless one call alone asks for more."""


@dataclass
class State:
    """An encoded context. ``hidden`` [capacity, D] keeps the last layer's output of every position, so that a state
    can be shortened without computing anything."""

    ids: tuple[int, ...]
    cache: Cache
    hidden: Tensor

    @property
    def nbytes(self) -> int:
        return self.cache.nbytes + self.hidden.nbytes

    @property
    def last(self) -> Tensor:
        """[1, D]: the hidden state at the context's end."""
        return self.hidden[len(self.ids) - 1 : len(self.ids)]


@dataclass
class Packed:
    """The rows of a pass side by side, without their padding, as plain numbers: one entry per token."""

    ids: list[int] = field(default_factory=list[int])
    previous: list[int] = field(default_factory=list[int])
    position: list[int] = field(default_factory=list[int])
    first: list[int] = field(default_factory=list[int])
    last: list[int] = field(default_factory=list[int])
    groups: list[Group] = field(default_factory=list[Group])

    def encode(self, cache: Cache, ids: Sequence[int], known: int) -> None:
        """What follows the first ``known`` ids: it sees itself causally, and stays in the cache."""
        for behind in range(known, len(ids), CHUNK):
            start, end = len(self.ids), len(self.ids) + min(CHUNK, len(ids) - behind)
            self.ids += ids[behind : behind + CHUNK]
            self.previous += ids[behind - 1 : behind + CHUNK - 1] if behind else (0, *ids[: CHUNK - 1])
            self.position += range(behind, behind + end - start)
            self.first += [start] * (end - start)
            self.last += range(start, end)
            del self.previous[end:]
            self.groups.append(Group(cache, behind, start, end, kept=True))

    def row(self, state: State, row: Sequence[int], pad: int, *, causal: bool) -> list[int]:
        """A row behind a context, and which of its places it has tokens in."""
        places = [place for place, token in enumerate(row) if token != pad]
        start, behind = len(self.ids), len(state.ids)
        end = start + len(places)
        self.ids += [row[place] for place in places]
        self.previous += [row[place - 1] if place else state.ids[-1] for place in places]
        self.position += [behind + place for place in places]
        self.first += [start] * len(places)
        self.last += range(start, end) if causal else [end - 1] * len(places)
        self._join(state, start, end)
        return places

    def _join(self, state: State, start: int, end: int) -> None:
        """Puts tokens into the last group if that stands on the same context and has room for them."""
        if start == end:
            return
        behind = len(state.ids)
        if self.groups and not self.groups[-1].kept and self.groups[-1].cache is state.cache:
            begun = self.groups[-1].start
            if end - begun <= min(CHUNK, state.cache.columns - behind):
                self.groups[-1] = Group(state.cache, behind, begun, end, kept=False)
                return
        self.groups.append(Group(state.cache, behind, start, end, kept=False))

    def tokens(self, device: torch.device) -> Tokens:
        numbers = [self.ids, self.previous, self.position, self.first, self.last]
        ids, previous, position, first, last = torch.tensor(numbers, device=device).unbind(0)
        return Tokens(ids, previous, position, first, last, self.groups)


@dataclass(frozen=True)
class Asked:
    """Hidden states ``start`` to ``end`` of a pass, whose logits answer a call or, of a large ``Score``, some rows."""

    call: int
    start: int
    end: int
    scored: "Scored | None" = None
    inspected: bool = False
    """The hidden states go to the head for edits instead."""


@dataclass(frozen=True)
class Scored:
    """Rows whose tokens are scored: tokens [K, N] behind a state."""

    state: State
    tokens: Tensor
    read: list[int]
    """For every token but a row's first, row by row without padding: which of the call's hidden states precedes it."""


class NetworkDenoiser:
    """A trained ``Network`` with its tokenizer. Later changes of the network's weights are not seen."""

    def __init__(self, network: Network, tokenizer: Tokenizer, *, graphs: bool = False) -> None:
        """``graphs``: passes of fixed shapes, replayed as CUDA graphs on a GPU (``model.graphs``)."""
        self.network, self.tokenizer = network, tokenizer
        self.inference = Inference(network)
        self.graphs = Graphs(self.inference, network.config, network.positions) if graphs else None
        self.device, self.dtype = self.inference.device, self.inference.dtype
        config = network.config
        self.context, self.max_hole, self.glue = config.context, config.max_hole, config.glue
        self.inserts = config.inserts
        self.capacity = network.capacity

    def run(self, calls: Sequence[Call]) -> list[Any]:
        """All calls in one forward pass, answered in their order (see ``encode``, ``denoise`` and ``score``).

        Raises:
            ValueError: a call that cannot be answered; nothing is computed or consumed then.
        """
        self._check(calls)
        packed, wanted, asked = Packed(), list[int](), list[Asked]()
        # Calls on the same state stand next to each other, and what asks for logits before what does not.
        order = sorted(range(len(calls)), key=lambda i: _state_of(calls[i]))
        encoded: dict[int, tuple[State, int, int]] = {}
        for i in order:
            match calls[i]:
                case Encode(ids, past):
                    state, known = self._begun(tuple(ids), past)
                    encoded[i] = state, known, len(wanted)
                    wanted += range(len(packed.ids), len(packed.ids) + len(ids) - known)
                    packed.encode(state.cache, state.ids, known)
                case Denoise(state, canvas, places):
                    start = len(wanted)
                    wanted += self._pack(packed, state, canvas, places)
                    asked.append(Asked(i, start, len(wanted)))
                case Score(state, tokens):
                    for rows in tokens.split(max(1, self._most_logits // tokens.shape[1])):
                        start, begun = len(wanted), len(packed.ids)
                        read = self._pack_scored(packed, state, rows)
                        wanted += range(begun, len(packed.ids))
                        asked.append(Asked(i, start, len(wanted), Scored(state, rows, read)))
                case Inspect(state, block, glue):
                    start, begun = len(wanted), len(packed.ids)
                    packed.row(state, [*block, *glue], self.tokenizer.pad, causal=False)
                    wanted += range(begun, begun + len(block) + 1)
                    asked.append(Asked(i, start, len(wanted), inspected=True))
        hidden = self._pass(packed, wanted)
        answers: list[list[Any]] = [[] for _ in calls]
        for i, (state, known, start) in encoded.items():
            state.hidden[known : len(state.ids)] = hidden[start : start + len(state.ids) - known]
            answers[i] = [state]
        for i, answer in self._read(hidden, asked):
            answers[i].append(answer)
        return [parts[0] if len(parts) == 1 else torch.cat(parts) for parts in answers]

    def encode(self, ids: Sequence[int], past: State | None = None) -> State:
        """Keys and values of ``ids``. ``past`` is consumed; what it has in common with ``ids`` is not computed again.

        Raises:
            ValueError: no ids, or more than the positions that the model knows.
        """
        state: State = self.run([Encode(ids, past)])[0]
        return state

    def denoise(self, state: State, canvas: Tensor, wanted: Tensor) -> Tensor:
        """Canvas [K, N] (pad where a row is shorter) -> logits [M, V] of the M ``wanted`` [K, N] places, row by row.

        Raises:
            ValueError: the canvas does not fit behind the context.
        """
        logits: Tensor = self.run([Denoise(state, canvas, wanted)])[0]
        return logits

    def score(self, state: State, tokens: Tensor) -> Tensor:
        """tokens [K, N] (pad at the end) -> log p [K, N] of each token after the context and the tokens left of it.

        Raises:
            ValueError: the tokens do not fit behind the context.
        """
        scored: Tensor = self.run([Score(state, tokens)])[0]
        return scored

    def inspect(self, state: State, block: Sequence[int], glue: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Log odds [N] that a token of ``block`` [N] is wrong, log p [N + 1, inserts + 2] of what is missing before it.

        Raises:
            ValueError: the model has no head for edits, or the block does not fit behind the context.
        """
        found: tuple[Tensor, Tensor] = self.run([Inspect(state, block, glue)])[0]
        return found

    def next_logits(self, state: State) -> Tensor:
        """[V]: the causal head's view of the token behind the context."""
        return self.inference.logits(state.last)[0].float()

    def last_logits(self, state: State, count: int) -> Tensor:
        """[count, V]: the causal head's view of the last context tokens, each after those before it. Computes no pass.

        Raises:
            ValueError: the context has no token before them.
        """
        end = len(state.ids) - 1
        if not 0 < count <= end:
            raise ValueError(f"a context of {end + 1} tokens has 1 to {end} that follow another, not {count}")
        return self.inference.logits(state.hidden[end - count : end]).float()

    def length_logprobs(self, state: State, *, line: bool = False) -> Tensor:
        """[max_hole + 2]: log probability of each hole length, the last for "longer"."""
        return self.inference.lengths(state.last)[int(line)].float().log_softmax(-1)

    def _check(self, calls: Sequence[Call]) -> None:
        for call in calls:
            if isinstance(call, Think):
                raise ValueError("this model's noise is masks, not random tokens")  # noqa: TRY004 (the call is wrong)
            if isinstance(call, Encode):
                if not 0 < len(call.ids) <= self.capacity:
                    raise ValueError(f"a context has 1 to {self.capacity} tokens, not {len(call.ids)}")
                continue
            if isinstance(call, Inspect):
                if self.inserts == 0 or not call.block or not call.glue:
                    raise ValueError("this model has no head for edits" if not self.inserts else "no block, or no glue")
                width = len(call.block) + len(call.glue)
            else:
                width = (call.canvas if isinstance(call, Denoise) else call.tokens).shape[1]
            if len(call.state.ids) + width > self.network.positions:
                raise ValueError(f"{width} tokens do not fit behind a context of {len(call.state.ids)}")
        consumed = [call.past for call in calls if isinstance(call, Encode) and call.past is not None]
        used = [*consumed, *{id(call.state): call.state for call in calls if not isinstance(call, Encode)}.values()]
        assert len({id(state) for state in used}) == len(used), "a state is used that another call consumes"

    def _begun(self, ids: tuple[int, ...], past: State | None) -> tuple[State, int]:
        """The state that will hold ``ids``, and how many of them it holds already."""
        if past is None:
            config = self.network.config
            cache = Cache(config, self.network.positions, device=self.device, dtype=self.dtype)
            hidden = torch.empty(self.capacity, config.d_model, device=self.device, dtype=self.dtype)
            return State(ids, cache, hidden), 0
        known = common(past.ids, ids)
        past.ids = ids
        return past, known

    def _pack(self, packed: Packed, state: State, canvas: Tensor, wanted: Tensor) -> Iterator[int]:
        """Packs the rows of a canvas of which something is wanted; the tokens of the pass whose hidden states are asked
        for."""
        # Together, since reading makes a device wait.
        rows = torch.stack([canvas, wanted & (canvas != self.tokenizer.pad)]).tolist()
        for row, asked in zip(*rows, strict=True):
            if any(asked):
                start = len(packed.ids)
                places = packed.row(state, row, self.tokenizer.pad, causal=False)
                yield from (start + i for i, place in enumerate(places) if asked[place])

    def _pack_scored(self, packed: Packed, state: State, rows: Tensor) -> list[int]:
        """The same for rows to be scored. Their last tokens need not be read, nor rows that another one begins with;
        drafts of one hole often are alike. Gives ``Scored.read``."""
        pad, begun = self.tokenizer.pad, len(packed.ids)
        inputs = [tuple(token for token, follower in pairwise(row) if follower != pad) for row in rows.tolist()]
        starts: dict[tuple[int, ...], int] = {}
        longer: tuple[int, ...] = ()
        for row in sorted(set(inputs), reverse=True):  # a row comes right after those that begin with it
            if longer[: len(row)] != row:
                starts[row] = len(packed.ids) - begun
                packed.row(state, row, pad, causal=True)
                longer = row
            else:
                starts[row] = starts.get(longer, 0)
        return [starts[row] + place for row in inputs for place in range(len(row))]

    def _pass(self, packed: Packed, wanted: Sequence[int]) -> Tensor:
        """Hidden states [M, D] of the wanted tokens."""
        if not packed.ids:
            return torch.empty(0, self.network.config.d_model, device=self.device, dtype=self.dtype)
        chosen = None if len(wanted) == len(packed.ids) else torch.tensor(wanted, dtype=torch.int64, device=self.device)
        run = self.inference.run if self.graphs is None else self.graphs.run
        return run(packed.tokens(self.device), chosen)

    @property
    def _most_logits(self) -> int:
        """Rows of float32 logits made at once."""
        return LOGIT_BYTES // (4 * self.network.config.vocab_size)

    def _read(self, hidden: Tensor, asked: Sequence[Asked]) -> Iterator[tuple[int, Any]]:
        """The answers out of the hidden states, in a few large products with the tied embedding."""
        batch: list[Asked] = []
        for one in asked:
            if one.inspected:
                yield one.call, self._inspected(hidden[one.start : one.end])
                continue
            if batch and one.end - batch[0].start + len(batch) + 1 > self._most_logits:
                yield from self._read_batch(hidden, batch)
                batch = []
            batch.append(one)
        if batch:
            yield from self._read_batch(hidden, batch)

    def _read_batch(self, hidden: Tensor, batch: Sequence[Asked]) -> Iterator[tuple[int, Tensor]]:
        begin, end = batch[0].start, batch[-1].end
        # A row's first token follows the context: its hidden state is there already.
        lasts = [one.scored.state.last for one in batch if one.scored is not None]
        rows = hidden[begin:end]
        logits = self.inference.logits(torch.cat([rows, *lasts]) if lasts else rows).float()
        at_end = iter(logits[end - begin :])
        for one in batch:
            found = logits[one.start - begin : one.end - begin]
            yield one.call, found if one.scored is None else self._scored(one.scored, next(at_end), found)

    def _inspected(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        out = self.inference.edits(hidden).float()
        return out[:-1, 0], out[:, 1:].log_softmax(-1)

    def _scored(self, asked: Scored, first: Tensor, others: Tensor) -> Tensor:
        """Logits [V] of the rows' first places and logits [M, V] of the call's hidden states -> log p [K, N]."""
        pad, tokens = self.tokenizer.pad, asked.tokens
        scored = torch.zeros(tokens.shape, device=self.device)
        scored[:, 0] = first.log_softmax(-1)[tokens[:, 0]]
        follows = tokens[:, 1:] != pad
        read = torch.tensor(asked.read, dtype=torch.int64, device=self.device)
        scored[:, 1:][follows] = others[read, tokens[:, 1:][follows]] - others.logsumexp(-1)[read]
        return scored.masked_fill_(tokens == pad, 0.0)


def _state_of(call: Call) -> tuple[bool, int]:
    """Sorts calls by the state that they stand on, and those that make a state behind all others."""
    return (True, 0) if isinstance(call, Encode) else (False, id(call.state))
