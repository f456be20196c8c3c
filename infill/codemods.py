"""Well-kept tools that do exactly what undoing some kinds of damage needs: pyupgrade, and ruff's fixes.

They are asked about the same blocks as a model, to show where it agrees with them. Development dependencies: where they
are not installed, nobody is asked.
"""

import importlib.util
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from infill.minimal import minimal, spliced

RULES: Mapping[str, str] = {
    "percent-format": "UP031,UP032", "format-call": "UP032", "u-prefix": "UP025", "typing-names": "UP006,UP035",
    "typing-union": "UP007,UP045", "old-super": "UP008", "object-base": "UP004", "coding-line": "UP009",
    "redundant-mode": "UP015", "equals-none": "E711", "equals-true": "E712", "empty-call": "C408",
    "dict-keywords": "C408", "set-call": "C401,C402,C403,C404,C405,C406", "early-not": "E713,E714",
    "needless-parentheses": "UP034", "repr-call": "RUF010", "old-error": "UP024", "old-subprocess": "UP021,UP022",
    "old-prefix": "FURB188", "append-loop": "PERF401", "dict-loop": "PERF403", "yield-loop": "UP028",
    "keys-call": "SIM118", "get-default": "SIM401", "nested-if": "SIM102", "nested-with": "SIM117",
    "branches-for-value": "SIM108", "branches-for-truth": "SIM103", "try-pass": "SIM105", "nested-else": "PLR5501",
    "else-after-return": "RET505", "named-lambda": "E731", "bracketed-generator": "C419", "tuple-chain": "SIM101",
    "split-comparison": "PLR1716", "or-chain": "PLR1714", "any-loop": "SIM110", "readlines": "FURB129",
    "os-path": "PTH", "redundant-encoding": "UP012",
}  # fmt: skip
"""Kinds of damage, and the rules of ruff whose fixes undo them."""
TIMEOUT_S = 30.0
Codemod = Callable[[str, str], str]
"""A text and a kind -> what the tool makes of the text; the text itself where it cannot read it."""


def tools() -> dict[str, Codemod]:
    """Those that are installed."""
    found: dict[str, Codemod] = {}
    if importlib.util.find_spec("pyupgrade") is not None:
        found["pyupgrade"] = pyupgrade
    if importlib.util.find_spec("ruff") is not None:
        found["ruff"] = ruff
    return found


def pyupgrade(text: str, kind: str) -> str:
    del kind  # it does all that it can
    return _run([sys.executable, "-m", "pyupgrade", "--py311-plus", "-"], text)


def ruff(text: str, kind: str) -> str:
    """The fixes of the kind's own rules, those among them that ruff calls unsafe."""
    options = ["--isolated", "--fix-only", "--unsafe-fixes", "--preview", "--quiet", "--target-version", "py311"]
    command = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        *options,
        "--select",
        RULES[kind],
        "--stdin-filename",
        "m.py",
        "-",
    ]
    return _run(command, text)


def inside(text: str, new: str, start: int, end: int) -> str:
    """``text`` with those of the changes alone that lie in ``text[start:end]``: tools change whole files."""
    return spliced(text, (one for one in edits(text, new) if start <= one[0] and one[1] <= end))


def edits(text: str, new: str) -> list[tuple[int, int, str]]:
    """As ``minimal``, for long texts that differ in few places."""
    head, tail = _common(text, new)
    found = minimal(text[head : len(text) - tail], new[head : len(new) - tail])
    return [(head + a, head + b, piece) for a, b, piece in found]


def _common(old: str, new: str) -> tuple[int, int]:
    """How many characters two texts share at their beginnings, and at their ends behind that; whole lines of them."""
    limit = min(len(old), len(new))
    head = next((i for i in range(limit) if old[i] != new[i]), limit)
    head = old.rfind("\n", 0, head) + 1
    tail = next((i for i in range(limit - head) if old[-1 - i] != new[-1 - i]), limit - head)
    line = old.find("\n", len(old) - tail) if tail else -1
    return head, 0 if line < 0 else len(old) - line


def _run(command: list[str], text: str) -> str:
    done = subprocess.run(  # noqa: S603 (a module of this installation)
        command, input=text, capture_output=True, text=True, encoding="utf-8", timeout=TIMEOUT_S, check=False,
        cwd=Path(sys.prefix),  # no settings of whoever measures
    )  # fmt: skip
    return done.stdout or text
