"""Fields of a published ``config.json``, read as what they must be; else ValueError, naming the field and its value."""

import sys
from collections.abc import Mapping
from typing import Any

LARGEST = 1 << 26
COUNTED = {"num_hidden_layers": 1024, "n_layers": 1024, "n_blocks": 1024, "num_experts": 4096}
"""Most of what is counted out, tensor by tensor, before any file is looked at."""
EXPERTS = 1 << 16
"""Most experts of all layers together, each of which has tensors with names of its own."""


SHOWN = 80
"""Characters of a value that stand in a sentence about it."""


def said(value: Any) -> str:
    """A file's value as it stands in a sentence: not all of it where somebody wrote a book."""
    try:
        text = repr(value)
    except RecursionError:
        return f"a {type(value).__name__} in many others"
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


def only(config: Mapping[str, Any], **known: set[Any]) -> None:
    """Refuses a field that says something which the network here does not do."""
    for name, values in known.items():
        if name in config and not any(config[name] is value or config[name] == value for value in values):
            raise ValueError(f"{name} is {said(config[name])}: only {sorted(map(repr, values))} can be used")


def whole(config: Mapping[str, Any], name: str, default: int | None = None, *, least: int = 1) -> int:
    value = config.get(name)
    value = default if value is None else value
    most = COUNTED.get(name, LARGEST)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"{name} must be a whole number, at least {least} and at most {most}, but is {said(value)}")
    return value


def number(config: Mapping[str, Any], name: str, default: float | None = None) -> float:
    value = config.get(name, default)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= sys.float_info.max:
        raise ValueError(f"{name} must be a number above 0, but is {said(value)}")
    return float(value)


def flag(config: Mapping[str, Any], name: str, *, default: bool = False) -> bool:
    value = config.get(name, default)
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, but is {said(value)}")  # noqa: TRY004 (what a file holds is a value)
    return value


def theta(config: Mapping[str, Any], part: float = 1) -> float:
    """The base of plain rotations: ``rope_theta``, which transformers 5 writes into ``rope_parameters``. Rotations that
    are stretched for longer texts, or turn another ``part`` of a head, are refused."""
    only(config, partial_rotary_factor={None, part})
    bases = [config["rope_theta"]] if config.get("rope_theta") is not None else []
    for field in ("rope_parameters", "rope_scaling"):
        rotation = config.get(field)
        if rotation is None:
            continue
        if not isinstance(rotation, Mapping):
            raise ValueError(f"{field} must be an object, but is {said(rotation)}")  # noqa: TRY004 (the same)
        kind = rotation.get("rope_type", rotation.get("type"))
        if kind != "default" or rotation.get("partial_rotary_factor", part) != part:
            turned = "whole heads" if part == 1 else f"{part} of each head"
            raise ValueError(
                f"{field} is {said(dict(rotation))}: only {turned} and the rope_type 'default' can be used"
            )
        bases += [rotation["rope_theta"]] if rotation.get("rope_theta") is not None else []
    found = {number({"rope_theta": base}, "rope_theta") for base in bases or [None]}
    if len(found) > 1:
        raise ValueError(f"rope_theta is said to be both {min(found)} and {max(found)}")
    return found.pop()


def head_size(config: Mapping[str, Any]) -> int:
    """``head_dim``, or else an even part of ``hidden_size``."""
    hidden, heads = whole(config, "hidden_size"), whole(config, "num_attention_heads")
    if config.get("head_dim") is None and hidden % heads:
        raise ValueError(f"hidden_size {hidden} does not divide into num_attention_heads {heads}")
    return whole(config, "head_dim", hidden // heads)
