"""Which checkpoint does what: the one that fills holes, and the one that edits, where that is another one.

Reads ``config.json`` and nothing else, so that every command may ask. What a folder really holds, whoever opens it is
told.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from assistant.config import EMBEDDED_FOLDER, Settings
from assistant.types import TASKS

EMBEDDED = EMBEDDED_FOLDER
ANNOTATE = "annotate"
"""The task that a model that fills holes does."""
EMBEDDED_EDITS = EMBEDDED.with_name("hone-tiny-python-edits")


CANNOT_EDIT = (
    "this model was not trained to edit blocks; --edit-model (HONE_EDIT_MODEL) names one that was, and `hone doctor` "
    "shows which one is set"
)
CANNOT_FOLLOW = (
    "this model follows no instruction in free words; --edit-model (HONE_EDIT_MODEL) names a published instruct "
    "checkpoint, which `hone model pull` gets, or use one of the tasks fix, modernise, annotate, document, rename"
)


def untrained(known: Sequence[str], task: str) -> str:
    """What is said where a model that edits was not trained for a task."""
    return (
        f"the model that edits was trained for {', '.join(known)}, and not for {task}; --edit-model (HONE_EDIT_MODEL) "
        "names another one"
    )


def main_folder(settings: Settings) -> Path:
    """The checkpoint that fills holes."""
    return settings.model or EMBEDDED


def can_edit(folder: Path) -> bool:
    """Whether the checkpoint says of itself that it was trained to edit blocks."""
    inserts = _read(folder / "config.json").get("inserts", 0)
    return isinstance(inserts, int) and inserts > 0


def tasks_of(folder: Path) -> tuple[str, ...]:
    """What the checkpoint says of itself that it can do to blocks: the tasks that were measured, all where none was."""
    more = {ANNOTATE} if annotates(folder) else set[str]()
    if not can_edit(folder):
        return tuple(more)
    found = _read(folder / "edits.json").get("least_gain")
    if not isinstance(found, dict) or not found:
        return TASKS
    return tuple(task for task in TASKS if task in more.union(found))


def annotates(folder: Path) -> bool:
    """Whether the checkpoint fills holes and says how likely it is right: then it annotates (``infill.annotate``)."""
    from model.published.kind import is_published  # noqa: PLC0415 (commands that need no model load none of it)

    return bool(_read(folder / "calibration.json").get("chance")) and not is_published(folder)


def edit_folder(settings: Settings) -> Path | None:
    """The checkpoint that does edits instead of the one that fills holes; None where it is the same, or none is known:
    what the settings say, else the embedded one, where the model that fills holes cannot edit."""
    chosen = settings.edit_model
    if chosen is None and not can_edit(main_folder(settings)) and can_edit(EMBEDDED_EDITS):
        chosen = EMBEDDED_EDITS
    if chosen is None or chosen.resolve() == main_folder(settings).resolve():
        return None
    return chosen


def for_edits(settings: Settings) -> Settings:
    """The same settings, with the checkpoint that edits as their model."""
    chosen = edit_folder(settings)
    return settings if chosen is None else replace(settings, model=chosen)


def _read(path: Path) -> dict[str, Any]:
    """The object in a file; an empty one where there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def name_of(folder: Path) -> str:
    return folder.resolve().name
