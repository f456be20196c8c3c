"""Are the README's numbers still true? Runs every command that it names beside some, in its order.

    make claims                     all of them: hours
    make claims ONLY="keystroke"    those with one of these words in the command or the heading
    python benchmarks/claims.py --list

What a command prints stands under the place in the README that names it; which noise a number has, the README says.
Ends with one line of JSON.
"""

import argparse
import json
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

ROOT = Path(__file__).resolve().parents[1]
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"`((?:hone eval|python benchmarks/)[^`]*)`")


@dataclass(frozen=True)
class Claim:
    heading: str
    command: str


def claims(text: str) -> list[Claim]:
    """Commands in the running text of a page, each once, with the heading above it; those in code blocks show how to
    use Hone."""
    found: dict[str, Claim] = {}
    for part in re.split(r"^#+ ", FENCE.sub("", text), flags=re.MULTILINE)[1:]:
        heading, _, body = part.partition("\n")
        for command in COMMAND.findall(body):
            plain = " ".join(command.split())
            found.setdefault(plain, Claim(heading.strip(), plain))
    return list(found.values())


def run(claim: Claim) -> int:
    program, *arguments = shlex.split(claim.command)
    command = ["-m", "assistant", *arguments] if program == "hone" else arguments
    return subprocess.run([sys.executable, *command], cwd=ROOT, check=False).returncode


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("only", nargs="*", metavar="WORD", help="in the command or the heading (default: all)")
    parser.add_argument("--list", action="store_true", help="say what would be run")
    parser.add_argument("--page", type=Path, default=ROOT / "README.md", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    wanted = [
        one
        for one in claims(options.page.read_text(encoding="utf-8"))
        if not options.only or any(word in f"{one.heading} {one.command}" for word in options.only)
    ]
    if not wanted:
        parser.error(f"no command in {options.page.name} has one of these words: {', '.join(options.only)}")
    console = Console(width=None if sys.stdout.isatty() else 120)
    results = []
    for claim in wanted:
        console.rule(f"{claim.heading}: {claim.command}")
        if options.list:
            continue
        begun = time.monotonic()
        code = run(claim)
        results.append(asdict(claim) | {"code": code, "seconds": round(time.monotonic() - begun, 1)})
        if code:
            console.print(f"failed with {code}")
    print(json.dumps({"benchmark": "claims", "results": results}))
    return int(any(one["code"] for one in results))


if __name__ == "__main__":
    sys.exit(main())
