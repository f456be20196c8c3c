"""Command lines of the programs behind ``hone data``, ``hone train`` and ``hone eval``: errors are one line."""

import argparse
from collections.abc import Callable
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """Complains in one line that names the value, as the other commands do."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"hone: {message}; `{self.prog} --help` lists what there is\n")


def whole(least: int, most: int) -> Callable[[str], int]:
    """The type of an option that is a whole number between the two."""

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"must be a whole number from {least} to {most}, not {text[:60]!r}")
        return value

    return convert
