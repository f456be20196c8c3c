"""What an editor may set, with ``initializationOptions`` and with the section ``hone`` of ``workspace/configuration``.

A bad value is reported by its path and replaced by the default; the server starts whatever was sent. The table of the
documentation is made from ``OPTIONS``.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from assistant.types import SOURCES
from assistant.workspace.secrets import check_glob

SECTION = "hone"
EAGERNESS = {"low": 0.3, "medium": 0.1, "high": 0.0}
"""Least chance (a calibrated probability of being exactly what is wanted) at which a suggestion is shown unasked: then
more than one in two, and more than one in three, of those shown are exactly right (`hone eval --quiet`)."""


@dataclass(frozen=True)
class Options:
    enabled: bool = True
    budget_ms: float = 1000.0
    debounce_ms: float = 75.0
    max_tokens: int = 64
    alternatives: int = 3
    ahead: bool = True
    eagerness: str = "medium"
    next_edit: bool = True
    statistics: bool = True
    completion: str = "auto"
    context: str | tuple[str, ...] = "auto"
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True)
class Option:
    key: str
    """As editors write it."""
    field: str
    read: Callable[[object], Any]
    """The field's value, or ValueError: what is allowed."""
    allowed: str
    meaning: str


def _switch(value: object) -> bool:
    if value is True or value is False:
        return value
    raise ValueError


def _number(least: float, most: float) -> Callable[[object], float]:
    def read(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise ValueError
        return float(value)

    return read


def _whole(least: int, most: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        # Lua and JavaScript have one kind of number: 3.0 is a whole one.
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise ValueError
        if value != int(value):
            raise ValueError
        return int(value)

    return read


def _choice(*allowed: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        if value not in allowed:
            raise ValueError
        return str(value)

    return read


def _globs(value: object) -> tuple[str, ...]:
    # An empty table of Lua arrives as an object.
    if value == {}:
        return ()
    if not isinstance(value, list) or not all(isinstance(one, str) and one.strip() for one in value):
        raise ValueError
    for one in value:
        check_glob(one)
    return tuple(value)


def _sources(value: object) -> str | tuple[str, ...]:
    if value in ("auto", "off"):
        return str(value)
    if not isinstance(value, list) or not value or any(one not in SOURCES for one in value):
        raise ValueError
    return tuple(dict.fromkeys(value))


OPTIONS = (
    Option("enabled", "enabled", _switch, "true or false", "whether anything is suggested"),
    Option(
        "budgetMs", "budget_ms", _number(10, 60_000), "a number from 10 to 60000",
        "time from a request to its answer; then the draft so far is the answer. Three times as long by hand",
    ),
    Option(
        "debounceMs", "debounce_ms", _number(0, 2000), "a number from 0 to 2000",
        "longest wait for the next key before the model is asked; a fast model waits less",
    ),
    Option("maxTokens", "max_tokens", _whole(1, 1024), "a whole number from 1 to 1024", "longest suggestion in tokens"),
    Option(
        "alternatives", "alternatives", _whole(1, 16), "a whole number from 1 to 16",
        "suggestions to cycle through when asked by hand",
    ),
    Option(
        "ahead", "ahead", _switch, "true or false",
        "whether the next suggestion is computed while one is shown, as if it were accepted",
    ),
    Option(
        "eagerness", "eagerness", _choice(*EAGERNESS), "low, medium or high",
        "how sure a suggestion must be to be shown while you type; asked by hand, all are shown",
    ),
    Option(
        "nextEdit", "next_edit", _switch, "true or false",
        "whether editors that ask for it are told the next place that a rename or a changed signature calls for",
    ),
    Option(
        "statistics", "statistics", _switch, "true or false",
        "whether `hone stats` can tell what was shown and accepted: numbers, on this machine",
    ),
    Option(
        "completion", "completion", _choice("auto", "on", "off"), "auto, on or off",
        "the same answers in the completion menu; auto: where the editor has no inline completion. Read at start-up",
    ),
    Option(
        "context", "context", _sources, f"auto, off or a list of {', '.join(SOURCES)}",
        "what from other places goes into a prompt; auto: what was measured to help",
    ),
    Option(
        "exclude", "exclude", _globs, "a list of globs",
        "files that never enter a prompt, beside those that usually hold secrets",
    ),
)  # fmt: skip
assert [option.field for option in OPTIONS] == [field.name for field in fields(Options)]


def read_options(*sources: tuple[str, object]) -> tuple[Options, list[str]]:
    """The options, and a sentence for every bad value. Sources are (path, values); later ones win."""
    values: dict[str, Any] = {}
    complaints: list[str] = []
    for path, source in sources:
        # Some clients send the section with its name around it.
        inner = source[SECTION] if isinstance(source, Mapping) and set(source) == {SECTION} else source
        if inner is None or inner == []:  # what an empty table of Lua becomes
            continue
        if not isinstance(inner, Mapping):
            complaints.append(f"{path} must be an object, not {_shown(inner)}; the defaults are used")
            continue
        found, wrong = _read(path, inner)
        values |= found
        complaints += wrong
    return Options(**values), complaints


def _read(path: str, source: Mapping[Any, object]) -> tuple[dict[str, Any], list[str]]:
    known = {option.key: option for option in OPTIONS}
    values: dict[str, Any] = {}
    complaints = []
    for key, value in source.items():
        option = known.get(key)
        if option is None:
            complaints.append(f"{path}.{key} is not known; known are {', '.join(known)}")
        elif value is not None:
            try:
                values[option.field] = option.read(value)
            except ValueError:
                default = _shown(getattr(Options(), option.field))
                complaints.append(
                    f"{path}.{key} must be {option.allowed}, not {_shown(value)}; {default} is used instead"
                )
    return values, complaints


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = f"{value:g}" if isinstance(value, float) else "[]" if value == () else repr(value)
    return re.sub(r"\s+", " ", text if len(text) <= 60 else text[:57] + "...")


def table() -> str:
    """All options in Markdown, for the documentation."""
    rows = ["| option | default | allowed | meaning |", "| --- | --- | --- | --- |"]
    for option in OPTIONS:
        default = _shown(getattr(Options(), option.field)).replace("'", "")
        rows.append(f"| `{option.key}` | {default} | {option.allowed} | {option.meaning} |")
    return "\n".join(rows)
