"""Files -> training batches: streams with one true hole each, and canvases hung into them at many cursors.

One encoded stream carries many honest problems: because it ends where its suffix begins, every position before its
end is a cursor whose middle is the rest of the stream. Batch ``i`` is a pure function of the seed and ``i``, so a run
can be resumed anywhere, on any number of workers.
"""

import re
from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import tree_sitter
from torch import Tensor
from torch.utils.data import Dataset

from model.config import ModelConfig
from model.corpus import Corpus
from model.edits import EditBatches, Laid, example
from model.layout import EDITS_SHORTER, encode_context
from model.loss import Batch
from model.network import Canvases
from model.rows import CLEAN_WEIGHT, Ints, Rows
from model.schedule import training_ratio
from model.spans import Example, draw, python_parser
from model.tokenizer import Tokenizer

TOP = re.compile(r"^[A-Za-z@_]", re.MULTILINE)
"""Begins a statement of the top level."""
_JOINT = re.compile(r"(?: ?[^\sA-Za-z_0-9]{1,3}|(?<=\S) )\Z")
_MARKS = re.compile(r"[^\sA-Za-z_0-9]{0,3}")
END_WEIGHT = 5.0
"""Loss weight of the end-of-text token: one token in hundreds, and it carries the joint with the suffix."""
REPLACED = 0.15
"""Share of the visible canvas tokens that are replaced by wrong ones."""
SHORT = 0.25
"""Share of the streams whose context is shorter than the model could take, down to ``SHORTEST`` tokens."""
SHORTEST = 48
ALONE = 0.15
"""Share of the holes that stand in a small file: what is at the top level around them and nothing else."""
BALANCE = 0.6
"""Packages are drawn by (bytes ** BALANCE), so that a few giants do not set the style."""


@dataclass
class Stream:
    """One causal stream: ``ids[start:end]`` is the true middle and ``ids[end]`` <eot>; or as much of it as fits."""

    ids: Ints
    prefix: int
    """Where the prefix begins: cursors are drawn from here on."""
    start: int
    end: int
    suffix: Ints
    """What follows ``end`` in the file; glue is taken from it."""
    beyond: int = 0
    """Tokens of the middle that do not fit."""


class Batches(Dataset[Batch]):
    """Batch ``i`` of ``count``; ``rank`` of ``world`` takes every world-th one."""

    def __init__(
        self,
        source: Corpus,
        tokenizer: Tokenizer,
        config: ModelConfig,
        *,
        streams: int,
        canvas: int,
        seed: int,
        first: int = 0,
        rank: int = 0,
        world: int = 1,
        edits: float = 0.0,
        kinds: Collection[str] | None = None,
    ) -> None:
        """``edits``: share of the batches that hold edits; ``kinds``: of damage that are drawn for them, None: all."""
        if config.vocab_size != tokenizer.vocab_size:
            raise ValueError(f"model has {config.vocab_size} tokens, tokenizer {tokenizer.vocab_size}: train it anew")
        self.source, self.tokenizer, self.config = source, tokenizer, config
        self.streams, self.canvas, self.seed = streams, canvas, seed
        self.first, self.rank, self.world = first, rank, world
        sizes = np.array([row.end - row.start for row in source.rows], dtype=np.float64)
        names = np.array([row.package for row in source.rows])
        total = {name: sizes[names == name].sum() for name in np.unique(names)}
        weights = sizes * np.array([total[name] ** (BALANCE - 1) for name in names])
        self.cumulated: list[float] = np.cumsum(weights / weights.sum()).tolist()
        newline = [tokenizer.token_bytes(i).startswith(b"\n") for i in range(tokenizer.vocab_size)]
        self.newline = np.array(newline)
        self.edits, self.kinds = edits, kinds
        self.blocks = EditBatches(tokenizer, config)
        self._parser: tree_sitter.Parser | None = None  # made where it is used: it cannot be sent to a worker

    def __len__(self) -> int:
        return 1 << 40

    def __getitem__(self, index: int) -> Batch:
        index += self.first
        rng = np.random.default_rng([self.seed, index * self.world + self.rank])
        # All processes make the same kind of batch in a step: their gradients are of the same parameters.
        if np.random.default_rng([self.seed, index, 11]).random() < self.edits:
            return self.blocks.collate([self.block(rng) for _ in range(EDITS_SHORTER * self.streams)], rng)
        return self.collate([self.stream(rng) for _ in range(self.streams)], rng)

    def stream(self, rng: np.random.Generator) -> Stream:
        """Draws files and holes until one fits."""
        self._parser = self._parser or python_parser()
        while True:
            index = min(bisect_right(self.cumulated, float(rng.random())), len(self.source) - 1)
            example = draw(rng, self.source.text(index), self._parser)
            if (stream := self.layout(rng, example, self.source.path(index))) is not None:
                return stream

    def block(self, rng: np.random.Generator) -> Laid:
        """Draws files and blocks until one fits."""
        self._parser = self._parser or python_parser()
        while True:
            index = min(bisect_right(self.cumulated, float(rng.random())), len(self.source) - 1)
            found = example(rng, self.source.text(index), self._parser, self.kinds)
            if found is not None and (laid := self.blocks.lay_out(rng, found, self.source.path(index))) is not None:
                return laid

    def layout(self, rng: np.random.Generator, example: Example, path: str) -> Stream | None:
        """Token ids of one example, or None when its middle is too long for the context."""
        tokenizer, context = self.tokenizer, self.config.context
        if len(example.middle) > 4 * context:
            return None
        example = joined(example, tokenizer)
        middle = tokenizer.encode(example.middle)
        if not middle or len(middle) > context // 3:
            return None
        if rng.random() < ALONE:
            example = alone(example)
        # A context that leaves exactly the middle's room would tell how long the middle is.
        most = room = context - self.config.max_hole
        if rng.random() < SHORT:
            room = int(np.exp(rng.uniform(np.log(min(SHORTEST, most)), np.log(most))))
        laid = encode_context(
            tokenizer,
            example.before,
            example.after,
            language="python" if rng.random() < 0.95 else None,
            filename=path if rng.random() < 0.85 else None,
            context=context,
            glue=self.config.glue,
            reserve=context - room,
            suffix_tokens=int(np.exp(rng.uniform(np.log(8), np.log(0.45 * room)))) if rng.random() < 0.5 else None,
        )
        start, fits = len(laid.ids), context - len(laid.ids)
        ids, beyond = [*middle, tokenizer.eot], 0
        if len(ids) > fits:
            ids, beyond = middle[:fits], len(middle) - fits
        behind = middle[fits : fits + self.config.glue] if beyond else laid.glue
        return Stream(
            ids=np.array([*laid.ids, *ids], dtype=np.int64),
            prefix=laid.ids.index(tokenizer.pre) + 1,
            start=start,
            end=start + len(middle) - beyond,
            suffix=np.array(behind, dtype=np.int64),
            beyond=beyond,
        )

    def collate(self, streams: Sequence[Stream], rng: np.random.Generator) -> Batch:
        count, length, width = len(streams), self.config.context, self.canvas
        rows = Rows(count, length, width)
        for row, stream in enumerate(streams):
            self._stream_row(rows, row, stream)
            self._canvas_row(rows, row, stream, rng)
        return rows.batch()

    def _stream_row(self, rows: Rows, row: int, stream: Stream) -> None:
        n = len(stream.ids)
        rows.ids[row, :n] = stream.ids
        rows.targets[row, : n - 1] = stream.ids[1:]
        rows.weights[row, : n - 1] = 1.0
        if not stream.beyond:
            rows.weights[row, stream.end - 1] = END_WEIGHT
        # The state at position i stands at the cursor before token i + 1.
        longest = self.config.max_hole + 1
        cursor = np.arange(n - 1) + 1
        left = stream.end + stream.beyond - cursor
        rows.lengths[row, : n - 1, 0] = np.minimum(left, longest)
        fill = rows.length_weights[row, : n - 1, 0]
        fill[(cursor >= stream.prefix) & (left <= longest)] = 0.1
        fill[cursor > stream.start] = 0.5
        fill[stream.start - 1] = 4.0
        ends = np.append(np.flatnonzero(self.newline[stream.ids[: stream.end]]), stream.end)
        line = ends[np.searchsorted(ends, cursor[:-1])] - cursor[:-1] if n > 2 else cursor[:0]
        rows.lengths[row, : n - 2, 1] = np.minimum(line, longest)
        inside = cursor[:-1] >= stream.prefix
        # The last line's end is only known where the suffix begins a new one.
        known = cursor[:-1] <= (ends[-2] if len(ends) > 1 else 0)
        joins = len(stream.suffix) > 0 and bool(self.newline[stream.suffix[0]])
        rows.length_weights[row, : n - 2, 1] = inside & (known | joins)

    def _canvas_row(self, rows: Rows, row: int, stream: Stream, rng: np.random.Generator) -> None:
        used, segment = 0, 0
        text = np.concatenate([stream.ids[: stream.end], stream.suffix])
        while used < rows.width - 2:
            hole = self._hole(stream, rng, first=segment == 0)
            start, end = hole
            room = rows.width - used
            glue = self._glue(text, end, rng)
            if end - start > room:
                if segment and room < 16:
                    break
                end, glue = start + room, glue[:0]
            glue = glue[: room - (end - start)]
            self._damage(rows, row, used, stream, (start, end), glue, segment, rng)
            used += end - start + len(glue)
            segment += 1

    def _hole(self, stream: Stream, rng: np.random.Generator, *, first: bool) -> tuple[int, int]:
        """Start and end in the stream: the true hole, one that also ends at the suffix, or one amid the prefix."""
        longest = self.config.max_hole
        if first and 0 < stream.end - stream.start <= longest:
            return stream.start, stream.end
        chance = rng.random()
        low = max(stream.prefix, 1)
        if chance < 0.35 or stream.end - low < 4:
            length = int(np.exp(rng.uniform(0, np.log(longest + 1))))
            return max(stream.end - length, low, 1), stream.end
        start = int(rng.integers(low, stream.end))
        if chance < 0.7:  # the rest of this line
            ends = np.flatnonzero(self.newline[stream.ids[start + 1 : min(start + 1 + longest, stream.end)]])
            if len(ends):
                return start, start + 1 + int(ends[0])
        return start, min(start + int(np.exp(rng.uniform(0, np.log(longest + 1)))), stream.end)

    def _glue(self, text: Ints, end: int, rng: np.random.Generator) -> Ints:
        """What stands behind a hole's ``end``: mostly all that may be shown, sometimes less, or "line ends"."""
        most = self.config.glue
        glue = text[end : end + most]
        chance = rng.random()
        if chance < 0.2 and len(glue) and self.newline[glue[0]]:
            return np.array([self.tokenizer.eol], dtype=np.int64)
        return glue if chance < 0.75 else glue[: int(rng.integers(0, most + 1))]

    def _damage(
        self,
        rows: Rows,
        row: int,
        used: int,
        stream: Stream,
        hole: tuple[int, int],
        glue: Ints,
        segment: int,
        rng: np.random.Generator,
    ) -> None:
        start, end = hole
        n = end - start
        truth = stream.ids[start:end]
        place = slice(used, used + n)
        masked = rng.random(n) < training_ratio(rng)
        replaced = ~masked & (rng.random(n) < REPLACED)
        shown = truth.copy()
        shown[replaced] = self._wrong(stream, replaced, start, rng)
        replaced &= shown != truth
        shown[masked] = self.tokenizer.mask
        rows.hang(row, used, shown, glue, start, int(stream.ids[start - 1]), segment=segment)
        rows.canvas_targets[row, place] = truth
        rows.canvas_weights[row, place] = np.where(masked | replaced, 1.0, CLEAN_WEIGHT)
        rows.masked[row, place] = masked

    def _wrong(self, stream: Stream, replaced: npt.NDArray[np.bool_], start: int, rng: np.random.Generator) -> Ints:
        """Wrong tokens for the replaced places: plausible ones (what follows the same token elsewhere in this text),
        ones of the same text, and any."""
        n = int(replaced.sum())
        wrong = rng.integers(self.tokenizer.n_special, self.config.vocab_size, n)
        nearby = stream.ids[rng.integers(stream.prefix - 1, stream.end, n)]
        usable = nearby >= self.tokenizer.n_special
        chance = rng.random(n)
        wrong = np.where((chance < 0.7) & usable, nearby, wrong)
        for i, place in enumerate(np.flatnonzero(replaced)):
            if chance[i] < 0.4:
                left = stream.ids[start + place - 1]
                others = np.flatnonzero(stream.ids[stream.prefix : stream.end - 1] == left) + stream.prefix + 1
                if len(others):
                    wrong[i] = stream.ids[others[int(rng.integers(len(others)))]]
        return wrong


def alone(example: Example) -> Example:
    """The statement of the top level in which a hole stands, as a file of its own."""
    before = example.before
    begins = [match.start() for match in TOP.finditer(before)]
    after = example.after
    behind = TOP.search(after, after.find("\n") + 1) if "\n" in after else None
    return Example(
        before[begins[-1] :] if begins else before,
        example.middle,
        after if behind is None else after[: behind.start()].rstrip() + "\n",
    )


def joined(example: Example, tokenizer: Tokenizer) -> Example:
    """The hole from where the token begins in which a space or a mark before it ends: in use it is written anew, too
    (``infill.engine.Request.stub``)."""
    found = _JOINT.search(example.before[-5:])
    if found is None:
        return example
    mark = found.group()
    marks = _MARKS.match(example.middle)
    assert marks is not None
    if mark != " " and tokenizer.encode(mark + marks.group()) == [
        *tokenizer.encode(mark),
        *tokenizer.encode(marks.group()),
    ]:
        return example
    return Example(example.before[: -len(mark)], mark + example.middle, example.after)


def to(batch: Batch, device: torch.device) -> Batch:
    """The same batch on a device."""
    moved: dict[str, Tensor | Canvases] = {}
    for name, value in vars(batch).items():
        if isinstance(value, Canvases):
            moved[name] = Canvases(*(v.to(device, non_blocking=True) for v in vars(value).values()))
        else:
            moved[name] = value.to(device, non_blocking=True)
    return Batch(**moved)  # type: ignore[arg-type]
