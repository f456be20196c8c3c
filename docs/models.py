"""Writes the tables of docs/models.md from the registry of families. With --check: says whether they are current."""

import sys
from pathlib import Path

from assistant.known import KNOWN
from model.published.registry import FAMILIES, REFUSED, Family

PAGE = Path(__file__).with_name("models.md")
BEGIN, END = "<!-- tables: made by `python docs/models.py` -->\n", "<!-- end of tables -->\n"


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
    lines = ["", "| short name | repository | parameters | licence | follows instructions |", "| --- " * 5 + "|"]
    lines += [
        f"| `{one.name}` | `{one.repo}` | {one.parameters:g} B | {one.licence or 'see the hub'} | "
        f"{'yes' if one.instruct else 'no'} |"
        for one in KNOWN.values()
    ]
    lines += ["", "| family | models | a place speaks of | mask | length of a hole |", "| --- " * 5 + "|"]
    lines += [
        f"| `{one.name}` | {one.title} | {'the token behind it' if one.shift else 'itself'} | "
        f"{_mask(one)} | {_length(one)} |"
        for one in FAMILIES.values()
    ]
    lines += ["", "Refused, with the reason:", ""]
    lines += [f"- `{name}`: {reason}" for name, reason in REFUSED.items()]
    return "\n".join([*lines, "", ""])


def _mask(family: Family) -> str:
    if family.uniform:
        return "none: random tokens"
    return " or ".join(f"`{_escaped(mask)}`" for mask in family.masks) or f"id {family.mask}"


def _length(family: Family) -> str:
    if family.uniform:
        return "of a canvas, behind a prompt"
    if family.blocks:
        return "until a block ends the answer"
    return "found by the model" if family.expands else "searched"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
