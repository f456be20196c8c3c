"""A published checkpoint as the engine sees it: opened strictly, without anything of its folder being run.

Implements what ``infill.inplace`` needs of ``infill.types.Denoiser``. A context is not encoded beforehand: text before
and behind a hole stand in the same row, and each pass computes all of it, or the hole alone beside kept keys and values
(``Around.keep``). Rows of all calls of a pass go through the network together, filled up on the right.

Shapes: K rows, N places of a canvas, M wanted places, L places of a row, V vocabulary.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from math import prod
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor

from model.calls import Call, Denoise
from model.checkpoint import choose_device, choose_dtype
from model.published.folder import Folder, open_folder, read_json
from model.published.moe import Kept
from model.published.quantized import BYTES
from model.published.registry import FAMILIES, Family, family_of
from model.published.tokenizer import PublishedTokenizer, load_tokenizer

MAX_HOLE = 256
"""Places of the longest hole."""
PASS_TOKENS = 8192
HEADROOM = 1.15
"""Memory for what a pass computes, as a factor of the weights."""
LEAST_HEADROOM = 3 * 2**29
"""Bytes: the first pass of a length search (ten rows of 430 tokens, 0.6 B parameters) took 0.94 GiB besides the weights
in bfloat16 and 1.36 GiB in float32."""


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
        self.begin = tuple(_ids(tokenizer, family.begin))
        self.close = tuple(_ids(tokenizer, family.close))
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
        for call in calls:
            made, places = self._rows(call)
            rows, wanted = rows + made, wanted + places
            counts.append(sum(map(len, places)))
        ids, valid = _padded(rows, self.device)
        chosen = torch.zeros(ids.shape, dtype=torch.bool)
        for row, at in enumerate(wanted):
            chosen[row, at] = True
        logits: Tensor = self.network(ids, valid, chosen.to(self.device))
        return list(logits.split(counts))

    def _rows(self, call: Denoise) -> tuple[list[list[int]], list[list[int]]]:
        """The rows of a call without padding, and the places whose output is about its wanted ones."""
        state, pad = call.state, self.tokenizer.pad
        rows = [
            [*state.prefix, *(token for token in row if token != pad), *state.suffix] for row in call.canvas.tolist()
        ]
        # With nothing before it, a shifted network says of the first place what it says at the first place.
        begin = len(state.prefix) - self.family.shift
        places = [[max(begin + place, 0) for place, asked in enumerate(row) if asked] for row in call.wanted.tolist()]
        return rows, places

    def _beside(self, call: Denoise) -> Tensor:
        """A call whose state keeps what is around the hole: computed whole once, then the hole alone."""
        state = call.state
        rows, places = self._rows(call)
        begin = max(len(state.prefix) - self.family.shift, 0)
        if state.kept is None:
            ids, valid = _padded(rows, self.device)
            chosen = torch.zeros(ids.shape, dtype=torch.bool)
            for row, found in enumerate(places):
                chosen[row, found] = True
            kept = Kept()
            logits: Tensor = self.network(ids, valid, chosen.to(self.device), keep=kept)
            state.kept, state.valid = kept, valid
            return logits
        width = max(len(row) for row in rows) - begin - len(state.suffix)
        ids, _ = _padded(rows, self.device)
        window = ids[:, begin : begin + width]
        start = torch.full((len(rows),), begin, device=self.device)
        out: Tensor = self.network.window(window, start, state.kept, state.valid)  # type: ignore[operator]
        chosen = torch.zeros(window.shape, dtype=torch.bool)
        for row, found in enumerate(places):
            chosen[row, [place - begin for place in found]] = True
        return out[chosen.to(self.device)]

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


def open_published(
    path: Path,
    *,
    device: str = "auto",
    dtype: str = "auto",
    family: str | None = None,
    available: int | None = None,
    quantize: str | None = None,
) -> Published:
    """``device``: auto, cpu, cuda or mps; ``dtype``: auto, bfloat16 or float32. ``family``: instead of what the folder
    says of itself. ``available``: bytes that the device has free; asked of it where None. ``quantize``: "int8" or
    "int4", for weights in fewer bits.

    Raises:
        CheckpointError: no such device or dtype.
        ValueError: the folder is wrong, incomplete, unknown or too large; one sentence that names what and where.
    """
    place = choose_device(device)
    kind = choose_dtype(dtype, place)
    looked = look(path, family)
    sizes, layout = looked.sizes, looked.family.layout
    if quantize is not None and not layout.can_quantize:
        raise ValueError(f"{looked.family.title} can be opened as it is only, not with --quantize {quantize}")
    need = memory(looked.folder.parameters, kind, quantize, outer=looked.outer)
    free = available if available is not None else free_memory(place)
    if need > free:
        raise ValueError(
            f"{path} needs about {need / 2**30:.1f} GiB on {place} as {str(kind).removeprefix('torch.')}, and "
            f"{free / 2**30:.1f} GiB are free: choose another --device or --dtype"
            + (", or --quantize int8 or int4" if layout.can_quantize and quantize is None else "")
        )
    fewer: dict[str, Any] = {} if quantize is None else {"quantize": quantize}
    network = layout.build(sizes, looked.folder.read, device=place, dtype=kind, **fewer)
    made: type[Published] = Published
    if looked.family.uniform:
        # Looked up late: it imports transformers' models, which takes seconds.
        made = import_module("model.published.uniform").Uniform
    return made(
        network,
        looked.family,
        looked.tokenizer,
        positions=sizes.positions,
        block=sizes.block,
        controls=looked.controls,
    )


@dataclass(frozen=True)
class Looked:
    """A folder of which everything is known but its tensors."""

    folder: Folder
    family: Family
    sizes: Any
    tokenizer: PublishedTokenizer
    controls: Controls

    @property
    def positions(self) -> int:
        known: int = self.sizes.positions
        return min(known, self.family.context or known)

    @property
    def outer(self) -> int:
        """Numbers of the embedding and the head: whatever has a row for each token."""
        return outer(self.family, self.sizes)


def outer(family: Family, sizes: Any) -> int:
    """Numbers of the embedding and the head: whatever has a row for each token."""
    shapes = family.layout.tensors(sizes).values()
    return sum(prod(shape) for shape in shapes if shape and shape[0] == sizes.vocab)


def look(path: Path, family: str | None = None) -> Looked:
    """A folder whose headers, configuration and tokenizer are what its family needs. No tensor is read.

    Raises:
        ValueError: as ``open_published``, but for the memory.
    """
    folder = open_folder(path)
    found, sizes = expected(path / "config.json", path.resolve().name, family, folder.config)
    if found.own_head and sizes.tied and f"{sizes.names.head}.weight" in folder.entries:
        sizes = replace(sizes, tied=False)
    folder.check(found.layout.tensors(sizes), found.layout.recomputed(sizes))
    tokenizer, controls = tokens(path, found, sizes.vocab)
    return Looked(folder, found, sizes, tokenizer, controls)


def expected(
    file: Path, name: str, family: str | None = None, config: Mapping[str, Any] | None = None
) -> tuple[Family, Any]:
    """The family and the sizes that a ``config.json`` promises, whether there are weights or not. ``name``: of the
    folder in which they lie.

    Raises:
        ValueError: it cannot be read, is unknown, or has a field that cannot be used.
    """
    config = read_json(file) if config is None else config
    if family is not None and family not in FAMILIES:
        raise ValueError(f"family {family!r} is unknown: choose one of {', '.join(FAMILIES)}")
    found = FAMILIES[family] if family is not None else family_of(config, name=name)
    try:
        return found, found.layout.sizes(config)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None


def longest_hole(positions: int) -> int:
    """Places of a hole at most, where there are so many for all of the text."""
    return min(MAX_HOLE, positions // 4)


def is_published(path: Path) -> bool:
    """Whether a folder holds something other than our own model. Reads ``config.json`` alone."""
    try:
        found = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and found.get("model_type") not in (None, "hone-canvas")


def memory(parameters: int, dtype: torch.dtype, quantize: str | None = None, *, outer: int = 0) -> int:
    """Bytes that a model of so many numbers needs on its device, with what a pass computes. ``outer``: how many of them
    belong to its embedding and head, which are never made small."""
    small = dtype.itemsize if quantize is None else BYTES[quantize]
    weights = int(outer * dtype.itemsize + (parameters - outer) * small)
    return int(max(weights * HEADROOM, weights + LEAST_HEADROOM))


def free_memory(device: torch.device) -> int:
    """Bytes that are free there."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def tokens(path: Path, family: Family, vocab: int) -> tuple[PublishedTokenizer, Controls]:
    """The tokenizer, which is told its mask and its end, and the tokens that change lengths.

    Raises:
        ValueError: there is none, or it has no mask token: the folder holds an autoregressive model.
    """
    tokenizer = load_tokenizer(path, vocab)
    generation = path / "generation_config.json"
    settings = {**(read_json(generation) if generation.is_file() else {}), **read_json(path / "config.json")}
    mask = None if family.uniform else settings.get("mask_token_id")
    if mask is None:
        mask = next((found for name in family.masks if (found := tokenizer.id_of(name)) is not None), family.mask)
    if family.uniform:
        mask = tokenizer.pad
    elif type(mask) is not int or not 0 <= mask < tokenizer.vocab_size:
        known = " or ".join(family.masks) or "any"
        raise ValueError(f"{path} has no mask token ({known}): it is no {family.title}, or an autoregressive model")
    tokenizer.mask = mask
    ends = [found for name in family.ends if (found := tokenizer.id_of(name)) is not None]
    if not ends:
        raise ValueError(f"{path}: the tokenizer knows none of {', '.join(family.ends)}, which end a text")
    tokenizer.eot = ends[0]
    if not family.expands:
        return tokenizer, Controls()
    expand = settings.get("expand_token_id", tokenizer.id_of("<|expand|>"))
    delete = settings.get("delete_token_id", tokenizer.eot)
    for name, token in (("expand_token_id", expand), ("delete_token_id", delete)):
        if type(token) is not int or not 0 <= token < tokenizer.vocab_size or token == mask:
            raise ValueError(f"{path}: {name} is {token!r}, which is no token of its own")
    return tokenizer, Controls(expand, delete)


def _ids(tokenizer: PublishedTokenizer, names: Sequence[str]) -> list[int]:
    return [found for name in names if (found := tokenizer.id_of(name)) is not None]


def _padded(rows: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor | None]:
    """Rows side by side [K, L], and which places are theirs; None where all are."""
    width = max(map(len, rows))
    ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], device=device)
    if all(len(row) == width for row in rows):
        return ids, None
    sizes = torch.tensor([len(row) for row in rows], device=device)
    return ids, torch.arange(width, device=device) < sizes[:, None]
