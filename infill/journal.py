"""Judged answers on disk, so that a run that was stopped goes on where it was."""

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from infill.metrics import Outcome


class Journal:
    """Judged answers on disk, one JSON object per line; the first line says of which run they are.

    Raises:
        ValueError: the file belongs to a run with other settings, or is no journal.
    """

    def __init__(self, path: Path | None, settings: dict[str, Any]) -> None:
        self.path = path
        self.outcomes: list[Outcome] = []
        if path is None:
            return
        if path.exists() and path.stat().st_size:
            self.outcomes = _read(path, settings)
        else:
            path.write_text(json.dumps(settings) + "\n", encoding="utf-8")

    @property
    def done(self) -> set[tuple[str, str]]:
        return {(outcome.system, outcome.task) for outcome in self.outcomes}

    def add(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(outcome)) + "\n")


def _read(path: Path, settings: dict[str, Any]) -> list[Outcome]:
    with path.open("rb+") as file:
        data = file.read()
        whole = data.rfind(b"\n") + 1
        file.truncate(whole)  # A line cut off by the interruption is asked again.
    lines = data[:whole].decode("utf-8").splitlines()
    try:
        first, *rest = [json.loads(line) for line in lines]
    except ValueError as error:
        raise ValueError(f"{path} is no journal of an evaluation: {error}") from error
    different = sorted(name for name in settings if not isinstance(first, dict) or first.get(name) != settings[name])
    if different:
        name = different[0]
        found = first.get(name) if isinstance(first, dict) else first
        raise ValueError(f"{path} is of a run with {name} = {found!r}, not {settings[name]!r}")
    names = {field.name for field in fields(Outcome)}
    return [Outcome(**{name: value for name, value in row.items() if name in names}) for row in rest]
