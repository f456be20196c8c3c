"""Whose checkpoint a folder holds, by its ``config.json`` alone. It imports nothing heavy: every command may ask."""

from pathlib import Path

from model.jsonfile import read_json

MODEL_TYPE = "hone-canvas"
"""Of the models that this project trains."""


def is_published(path: Path) -> bool:
    """Whether somebody else trained the model in ``path``. What it really holds, whoever opens it is told."""
    try:
        return read_json(path / "config.json").get("model_type") not in (None, MODEL_TYPE)
    except (OSError, ValueError):
        return False
