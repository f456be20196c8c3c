"""A published checkpoint as the engine sees it: opened strictly, without anything of its folder being run.

Implements what ``infill.inplace`` needs of ``infill.types.Denoiser``. A context is not encoded beforehand: text before
and behind a hole stand in the same row, and each pass computes all of it, or the hole alone beside kept keys and values
(``Around.keep``). Rows of all calls of a pass go through the network together, filled up on the right.

Shapes: K rows, N places of a canvas, M wanted places, L places of a row, V vocabulary.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import psutil
import torch

from model.checkpoint import choose_device, choose_dtype
from model.jsonfile import read_json
from model.published.denoiser import Controls, Published
from model.published.fields import only
from model.published.folder import Folder, check_links, open_folder
from model.published.moe import same_head
from model.published.quantized import BYTES
from model.published.registry import FAMILIES, Family, family_of
from model.published.tokenizer import PublishedTokenizer, load_tokenizer

LEAST_PLACES = 64
"""Of a hole, what is around it, and what is left free for repairs."""
HEADROOM = 1.15
"""Memory for what a pass computes, as a factor of the weights."""
LEAST_HEADROOM = 3 * 2**29
"""Bytes: the first pass of a length search (ten rows of 430 tokens, 0.6 B parameters) took 0.94 GiB besides the weights
in bfloat16 and 1.36 GiB in float32."""


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
            f"{path} needs about {need / 2**30:.1f} GiB on {place} as {quantize or str(kind).removeprefix('torch.')}, "
            f"and {free / 2**30:.1f} GiB are free: choose another --device or --dtype"
            + (", or --quantize int8 or int4" if layout.can_quantize and quantize is None else "")
        )
    fewer: dict[str, Any] = {} if quantize is None else {"quantize": quantize}
    network = layout.build(sizes, looked.folder.read, device=place, dtype=kind, **fewer)
    made: type[Published] = Published
    if looked.family.uniform:
        from model.published.uniform import Uniform  # noqa: PLC0415 (imports transformers' models, for seconds)

        made = Uniform
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
    check_links(path)
    folder = open_folder(path)
    found, sizes = expected(path / "config.json", path.resolve().name, family, folder.config)
    if found.own_head and sizes.tied and f"{sizes.names.head}.weight" in folder.entries:
        sizes = replace(sizes, tied=False)
    folder.check(found.layout.tensors(sizes), found.layout.recomputed(sizes))
    tokenizer, controls = tokens(path, found, sizes.vocab)
    return Looked(folder, found, sizes, tokenizer, controls)


def read_through(path: Path) -> None:
    """Reads every tensor, one at a time; nothing is kept.

    Raises:
        ValueError: as ``look``; or one is damaged, or a head that should be the embedding is not.
    """
    looked = look(path)
    for name in looked.folder.entries:
        looked.folder.read(name)
    if getattr(looked.sizes, "tied", False):
        same_head(looked.sizes, looked.folder.read)


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
    try:
        found = FAMILIES[family] if family is not None else family_of(config, name=name)
        only(config, quantization_config={None})  # weights in a format of their own
        sizes = found.layout.sizes(config)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
    if sizes.positions < LEAST_PLACES:
        raise ValueError(f"{file}: {sizes.positions} places are too few to fill a hole in: it takes {LEAST_PLACES}")
    return found, sizes


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
