"""What a checkpoint is, from its headers alone: nothing is opened and nothing of it is run.

Beside ``assistant.service``, which opens them, the one place where the assistant touches ``model``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path

from assistant.errors import ModelError
from model.published.folder import open_folder


@dataclass(frozen=True)
class Facts:
    family: str
    title: str
    parameters: int
    ignored: tuple[str, ...]
    """Python files beside the weights: not read, not run."""

    def lines(self) -> Iterator[tuple[str, str]]:
        yield "family", f"{self.family} ({self.title})"
        yield "parameters", f"{self.parameters / 1e9:.3g} B"


def look(folder: Path) -> Facts:
    """Raises ModelError: it is no checkpoint that can be opened, and why."""
    try:
        found = open_folder(folder)
    except ValueError as error:
        raise ModelError(str(error)) from error
    kind = str(found.config.get("model_type"))
    parameters = sum(prod(entry.shape) for entry in found.entries.values())
    return Facts(kind, kind, parameters, found.unused)
