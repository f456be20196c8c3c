"""The language of a text that comes without a name, where it can be known for sure: Python.

llama.vim and some others send neither a file's name nor a language. Their answers would go out unchecked, and the model
would not be told that it reads Python, which is what the embedded one has learned. A wrong guess would be worse: the
gate would refuse good answers of another language. So a guess needs a definition, an import or a block in Python's own
form, and text around it that Python's grammar reads without any error.
"""

import re

from infill.languages import parser

_ANCHOR = re.compile(r"^(?:(?:async )?def |class |from \w|import \w|@\w|if |for |while |with |try:)", re.MULTILINE)
_OWN = frozenset(
    {
        "function_definition",
        "class_definition",
        "decorated_definition",
        "import_from_statement",
        "if_statement",
        "for_statement",
        "while_statement",
        "with_statement",
        "try_statement",
    }
)
"""Statements that have this form in Python only: with a colon and an indented block, or ``from ... import``."""
_NEAR = 16 * 1024
"""How many characters before the cursor are looked at."""


def guess(prefix: str) -> str | None:
    """ "python", or None where that is not certain. ``prefix``: the text before the cursor."""
    near = prefix[-_NEAR:]
    starts = [match.start() for match in _ANCHOR.finditer(near)]
    line = near.rfind("\n") + 1
    if not starts or starts[0] >= line:
        return None
    # The cursor's line is unfinished, and so may be the statement around it.
    for end in (line, max((start for start in starts if start < line), default=0)):
        if _is_python(near[starts[0] : end]):
            return "python"
    return None


def _is_python(text: str) -> bool:
    reader = parser("python")
    if reader is None or not text.strip():
        return False
    root = reader.parse(text.encode("utf-8", "replace")).root_node
    return not root.has_error and any(child.type in _OWN for child in root.children)
