"""The language of a text that comes without a name, where it can be known for sure: Python.

llama.vim and some others send neither a file's name nor a language. Their answers would go out unchecked, and the model
would not be told that it reads Python, which is what the embedded one has learned. A wrong guess would be worse: the
gate would refuse good answers of another language. So a guess needs a line in a form that is Python's alone, and text
around it that Python's grammar reads without any error; neither is enough, for the grammar is lenient.
"""

import re

from infill.languages import parser

_ANCHOR = re.compile(r"^(?:(?:async )?def |class |from \w|import \w|@\w|if |for |while |with |try:)", re.MULTILINE)
_FIRM = ("def ", "async def ", "class ", "@")
_INNER = re.compile(r"^[ \t]*(?:(?:async )?def |class )", re.MULTILINE)
_OWN = re.compile(
    r"^[ \t]*(?:async )?def \w+\(.*:[ \t]*(?:#.*)?$"  # Ruby's has no colon at its end, Scala's is followed by "="
    r"|^from (?:__future__|\w+\.[\w.]+) import [\w(]"  # Nim's has slashes
    r"|^if __name__ ==",
    re.MULTILINE,
)
_NEAR = 8 * 1024
"""How many characters before the cursor are looked at."""


def guess(prefix: str) -> str | None:
    """ "python", or None where that is not certain. ``prefix``: the text before the cursor."""
    near = prefix[-_NEAR:]
    starts = [match.start() for match in _ANCHOR.finditer(near)]
    line = near.rfind("\n") + 1
    if not starts or starts[0] >= line:
        return None
    # The cursor's line is unfinished, and so may be the statements around it; and the text may begin inside of one.
    inner = [match.start() for match in _INNER.finditer(near, 0, line)]
    outer = [start for start in starts if start < line]
    firm = next((start for start in outer if near.startswith(_FIRM, start)), starts[0])
    for begin in dict.fromkeys((starts[0], firm)):
        for end in dict.fromkeys((line, *inner[-1:], *outer[-1:])):
            if _is_python(near[begin:end]):
                return "python"
    return None


def _is_python(text: str) -> bool:
    reader = parser("python")
    if reader is None or not _OWN.search(text):
        return False
    return not reader.parse(text.encode("utf-8", "replace")).root_node.has_error
