"""Writes docs/cli.md from the parsers of the command line: `make docs`. With --check: says whether it is current."""

import argparse
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import cast

from assistant.cli import FORWARDED, build_parser

PAGE = Path(__file__).with_name("cli.md")
HEAD = """# The command line

Made from the program by `make docs`. Results go to stdout, everything else to stderr.
Exit codes: 0 an answer, 1 none, 2 an error (one line on stderr names the value), 130 interrupted.

Settings hold for every command: defaults, then the file `~/.config/hone/config.toml`, then the environment, then flags.
The names are the same everywhere: `--budget-ms 300`, `HONE_BUDGET_MS=300`, `budget_ms = 300`.
"""


def main() -> int:
    page = render(build_parser())
    if "--check" in sys.argv[1:]:
        return int(page != PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(page, encoding="utf-8")
    return 0


def render(parser: argparse.ArgumentParser) -> str:
    """The page. It reads actions, not ``format_help()``, whose form differs between versions of Python."""
    return "\n".join([HEAD, *(line for command in walk(parser) for line in _section(command))]).rstrip() + "\n"


def walk(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parsers of all commands that do something themselves, in the order of their help."""
    nested = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]  # noqa: SLF001
    if not nested or parser.get_default("run"):
        yield parser
    for action in nested:
        for name, command in action.choices.items():
            forwarded = parser.prog == "hone" and name in FORWARDED
            yield from walk(forwarded_parser(name) if forwarded else command)


def forwarded_parser(command: str) -> argparse.ArgumentParser:
    """The parser of a command that is a program of its own."""
    module = import_module(FORWARDED[command][0])
    if hasattr(module, "build_parser"):
        return cast(argparse.ArgumentParser, module.build_parser())
    parser = argparse.ArgumentParser(prog=f"hone {command}", description=FORWARDED[command][1])
    module.add_arguments(parser)
    return parser


def _section(parser: argparse.ArgumentParser) -> list[str]:
    lines = [f"## {parser.prog}", "", parser.description or "", ""]
    actions = [action for action in parser._actions if not isinstance(action, HIDDEN)]  # noqa: SLF001
    if not actions:
        return lines
    return [*lines, "| option | meaning |", "| --- | --- |", *(_row(action) for action in actions), ""]


def _row(action: argparse.Action) -> str:
    name = ", ".join(action.option_strings) or f"{action.metavar or action.dest}"
    value = f" {action.metavar or action.dest.upper()}" if action.option_strings and action.nargs != 0 else ""
    return f"| `{name}{value}` | {(action.help or '').replace('%%', '%').replace('|', chr(92) + '|')} |"


HIDDEN = (argparse._HelpAction, argparse._SubParsersAction)  # noqa: SLF001
"""What has no row of its own: every command has the one, and the other one's commands have sections."""


if __name__ == "__main__":
    sys.exit(main())
