"""Writes the table of docs/edits.md from the kinds of damage. With --check: says whether it is current."""

import sys
from collections import Counter
from pathlib import Path

from model.damage.kinds import KINDS
from model.damage.types import GROUPS

PAGE = Path(__file__).with_name("edits.md")
BEGIN, END = "<!-- kinds: made by `python docs/edits.py` -->\n", "<!-- end of kinds -->\n"


def main() -> int:
    page = PAGE.read_text(encoding="utf-8")
    current = filled(page)
    if "--check" in sys.argv[1:]:
        return int(page != current)
    PAGE.write_text(current, encoding="utf-8")
    return 0


def filled(page: str) -> str:
    """The page with its tables made anew."""
    head, _, rest = page.partition(BEGIN)
    return head + BEGIN + tables() + END + rest.partition(END)[2]


def tables() -> str:
    counts = Counter(kind.group for kind in KINDS.values())
    lines = ["", "| group | instruction | kinds |", "| --- | --- | --- |"]
    lines += [f"| `{name}` | {text} | {counts[name]} |" for name, text in GROUPS.items()]
    lines += ["", "| kind | group | instruction |", "| --- | --- | --- |"]
    lines += [f"| `{kind.name}` | {kind.group} | {kind.instruction} |" for kind in KINDS.values()]
    return "\n".join([*lines, "", ""])


if __name__ == "__main__":
    sys.exit(main())
