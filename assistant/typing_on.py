"""What somebody who types most likely wants next: the rest of the line, or more."""

OPENERS = (":", "(", "[", "{", ",", "\\", "=>", "->", "=", '"""', "'''", "`")
"""Signs behind which a line seldom ends, or a block begins."""


def one_line(text: str, at: int) -> bool | None:
    """``CompletionRequest.one_line`` for a cursor at ``at``: behind text on its line the rest of that line is wanted,
    unless the line opens something. That is right more often than several lines are, and takes half the time
    (docs/log.md)."""
    before = text[text.rfind("\n", 0, at) + 1 : at].rstrip()
    return True if before.strip() and not before.endswith(OPENERS) else None
