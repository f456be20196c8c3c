"""Reads ``tests/cases``: short texts with the answer drawn in its place; the format is in ``tests/cases/README.md``."""

import re
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "cases"


@dataclass(frozen=True)
class Case:
    name: str
    prefix: str
    answer: str
    suffix: str
    expected: str
    """What stands behind ``----``; "" if nothing."""
    flags: dict[str, str]

    @property
    def language(self) -> str:
        return self.flags.get("language", "python")

    @property
    def drawn(self) -> str | None:
        """The text drawn in ``expected``."""
        found = re.search("⟦(.*)⟧", self.expected, re.DOTALL)
        return found[1].replace("\\r", "\r") if found else None


def cases(feature: str) -> list[Case]:
    return [
        _case(f"{path.stem}: {part.partition(chr(10))[0]}", part.partition("\n")[2])
        for path in sorted((FOLDER / feature).glob("*.txt"))
        for part in re.split(r"^### ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    ]


def _case(name: str, body: str) -> Case:
    flags: dict[str, str] = {}
    first, _, rest = body.partition("\n")
    if first.startswith("# ") and "⟦" not in first:
        flags = {key: value for key, _, value in (word.partition("=") for word in first[2:].split())}
        body = rest
    body, _, expected = body.partition("\n----\n")
    prefix, answer, suffix = re.split("[⟦⟧]", body.rstrip("\n") + "\n")
    if "crlf" in flags:
        prefix, suffix = prefix.replace("\n", "\r\n"), suffix.replace("\n", "\r\n")
    if "bom" in flags:
        prefix = "\ufeff" + prefix
    return Case(name, prefix, answer.replace("\\r", "\r"), suffix, expected.strip(), flags)
