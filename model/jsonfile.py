"""JSON files, other people's and ours: read strictly, written whole."""

import json
from collections import Counter
from pathlib import Path
from typing import Any, cast

LARGEST = 100_000_000
"""Bytes."""
LONGEST = 80
"""Characters of a name that stand in a sentence about it."""


def read_json(path: Path) -> dict[str, Any]:
    """An object with no name twice and no number that is none. Raises ValueError, naming the file."""
    if not path.is_file():
        raise ValueError(f"{path} is missing")
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path} is larger than {LARGEST} bytes")
    return json_object(path.read_bytes(), str(path))


def json_object(text: bytes, where: str) -> dict[str, Any]:
    """``read_json`` of what was read already; ``where`` is named in errors."""
    try:
        value = json.loads(text.decode("utf-8"), object_pairs_hook=_once, parse_constant=_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where} is not JSON that can be used: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{where} must hold an object, not {type(value).__name__}")  # noqa: TRY004 (a file's value)
    return cast("dict[str, Any]", value)


def write_json(path: Path, value: Any) -> None:
    """Atomically: a reader sees the old file or the new one."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(value, indent=2) + "\n", "utf-8")
    temporary.replace(path)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"{twice[:LONGEST]!r} is there twice")
    return found


def _constant(text: str) -> None:
    raise ValueError(f"{text} is not a number")
