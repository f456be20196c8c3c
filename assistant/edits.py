"""Edits of a request made in its text."""

from collections.abc import Iterable

from assistant.types import TextEdit
from infill.minimal import spliced


def applied(text: str, edits: Iterable[TextEdit]) -> str:
    """The text with the edits made; they do not overlap."""
    return spliced(text, ((one.start, one.end, one.text) for one in edits))
