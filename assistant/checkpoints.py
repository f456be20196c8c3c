"""What a checkpoint is, from its headers alone: nothing is opened and nothing of it is run.

Beside ``assistant.service``, which opens them, the one place where the assistant touches ``model``.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any

import psutil
import torch

from assistant.errors import ModelError
from assistant.store import short
from model import checkpoint
from model.published import load
from model.published.folder import check_names
from model.published.kind import is_published
from model.published.quantized import BITS
from model.published.registry import Family

KINDS = (torch.bfloat16, torch.float32)
OWN = "hone"
"""The family of models that this project trains."""


@dataclass(frozen=True)
class Facts:
    family: str
    title: str
    parameters: int
    context: int
    """Tokens that it sees at most."""
    block: int = 0
    """Tokens of a block that sees itself and what is before it; 0: every token sees all others."""
    shift: bool = False
    """Whether what is said at a place is about the token behind it."""
    mask: int | None = None
    """The id of its mask token; None where it has none, because noise is random tokens."""
    instruct: bool = False
    """Whether its family is spoken to in turns."""
    expands: bool = False
    """Whether it finds the length of a hole itself."""
    needs: Mapping[str, int] = field(default_factory=dict)
    """Bytes of memory by number format, with what a pass computes. int8 and int4: with --quantize, else bfloat16."""
    ignored: tuple[str, ...] = ()
    """Python files beside the weights: not read, not run."""

    def lines(self) -> Iterator[tuple[str, str]]:
        yield "family", f"{self.family} ({self.title})"
        yield "parameters", short(self.parameters)
        yield "context", f"{self.context} tokens"
        if self.family != OWN:
            yield "attention", self._attention
            yield "shift", "each place speaks of the token behind it" if self.shift else "none"
            yield "mask", "none: noise is random tokens" if self.mask is None else f"token {self.mask}"
            yield "lengths", self._lengths
        for kind, count in self.needs.items():
            yield "memory", f"{count / 2**30:.2f} GiB as {kind}"

    @property
    def _attention(self) -> str:
        if self.mask is None:
            return "a canvas sees itself and the prompt; the prompt sees what is before"
        return (
            f"blocks of {self.block}, each sees itself and what is before it"
            if self.block
            else ("every token sees all others")
        )

    @property
    def _lengths(self) -> str:
        if self.block or self.mask is None:
            return "until the answer ends, behind a prompt"
        return "found by the model itself" if self.expands else "searched"


def look(folder: Path) -> Facts:
    """What lies in ``folder``, its headers compared with what its family's network needs.

    Raises:
        ModelError: it is no checkpoint that can be opened, and why.
    """
    try:
        if not is_published(folder):
            return _own(folder)
        found = load.look(folder)
    except (ValueError, checkpoint.CheckpointError) as error:
        raise ModelError(str(error)) from error
    facts = _facts(found.family, found.sizes, found.folder.parameters)
    mask = None if found.family.uniform else found.tokenizer.mask
    return replace(facts, mask=mask, ignored=found.folder.unused)


def read_through(folder: Path) -> None:
    """Reads every tensor of ``folder``, one at a time; nothing is kept.

    Raises:
        ModelError: it is no checkpoint that can be opened, or its weights are damaged, and where.
    """
    try:
        if is_published(folder):
            load.read_through(folder)
            return
        own = checkpoint.look(folder).folder
        for name in own.entries:
            own.read(name)
    except (ValueError, checkpoint.CheckpointError) as error:
        raise ModelError(str(error)) from error


def follows(folder: Path) -> bool:
    """Whether a published checkpoint can be told in words what to do; False also where it is none of those known."""
    try:
        family, _ = load.expected(folder / "config.json", folder.resolve().name)
    except ValueError:
        return False
    return is_published(folder) and family.chat is not None


def expect(config: Path, name: str) -> Facts:
    """What a ``config.json`` promises, before there are weights. ``name``: of the folder that they will lie in.

    Raises:
        ModelError: a family that is not known, or sizes that cannot be.
    """
    try:
        family, sizes = load.expected(config, name)
        return _facts(family, sizes, sum(prod(shape) for shape in family.layout.tensors(sizes).values()))
    except ValueError as error:
        raise ModelError(str(error)) from error


def check_promised(folder: Path, name: str, tensors: Collection[str] | None) -> None:
    """All that can be known of ``folder`` before there are weights: the tokenizer has what its family needs (an
    autoregressive model's has no mask), and so have the names of ``tensors``, where an index tells them.

    Raises:
        ModelError: something is missing, or there is something that is not known.
    """
    try:
        family, sizes = load.expected(folder / "config.json", name)
        load.tokens(folder, family, sizes.vocab)
        if tensors is not None:
            check_names(folder, tensors, family.layout.tensors(sizes), family.layout.recomputed(sizes))
    except ValueError as error:
        raise ModelError(str(error)) from error


def memory_here() -> tuple[int, str]:
    """Bytes of the largest memory of this machine, whether they are free or not, and whose they are."""
    found = [(int(psutil.virtual_memory().total), "this machine")]
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            found.append((int(properties.total_memory), str(properties.name)))
    return max(found)


def _facts(family: Family, sizes: Any, parameters: int) -> Facts:
    return Facts(
        family=family.name,
        title=family.title,
        parameters=parameters,
        context=min(sizes.positions, family.context or sizes.positions),
        block=sizes.block,
        shift=family.shift,
        instruct=family.chat is not None,
        expands=family.expands,
        needs=_needs(parameters)
        | (_small(parameters, load.outer(family, sizes)) if family.layout.can_quantize else {}),
    )


def _own(folder: Path) -> Facts:
    found = checkpoint.look(folder)
    parameters = found.folder.parameters
    return Facts(OWN, "Hone's own", parameters, found.config.context, needs=_needs(parameters))


def _small(parameters: int, outer: int) -> dict[str, int]:
    return {kind: load.memory(parameters, torch.bfloat16, kind, outer=outer) for kind in BITS}


def _needs(parameters: int) -> dict[str, int]:
    return {str(kind).removeprefix("torch."): load.memory(parameters, kind) for kind in KINDS}
