"""What an edit that modernises may bring along."""

import numpy as np
import pytest

from infill.names import made_up, taken_away
from model.damage.draw import draw
from model.damage.kinds import KINDS
from model.damage.types import damaged
from model.spans import python_parser


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("a: Optional[str] = None", "a: str | None = None", []),
        ("a: Optional[str] = None", "a: int | None = None", ["int"]),
        ("a: Union[None, int, str]", "a: str | int | str | None", ["str"]),
        ("x = '%s: %d' % (name, size)", "x = f'{name}: {size}'", []),
        ("x = '%s: %d' % (name, size)", "x = f'{name}: {width}'", ["width"]),
        ("a: List[int]\nb: List[str]\n", "a: list[int]\nb: list[int]\n", ["int"]),
        ("if type(x) == T:", "if isinstance(x, T):", []),
        ("for i in range(len(rows)):\n    use(rows[i])", "for row in rows:\n    use(row)", ["row", "row"]),
        ("keep(a)\nb = dict()\n", "keep(a)\nb = {}\n", []),
        ("same", "same", []),
        ("", "", []),
    ],
)
def test_names_that_were_not_there(old: str, new: str, expected: list[str]) -> None:
    assert sorted(set(made_up(old, new))) == sorted(set(expected))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("if a:\n    return b\nelse:\n    return False\n", "if a:\n    return b\n", ["else:", "    return False"]),
        ("# coding: utf-8\n\nx = 1\n", "x = 1\n", []),
        ("x = 0\nfor a in b:\n    c()\n", "for x, a in enumerate(b):\n    c()\n", []),
        ("same\n", "same\nmore\n", []),
    ],
)
def test_lines_of_code_do_not_go(old: str, new: str, expected: list[str]) -> None:
    assert taken_away(old, new) == expected


SOURCE = """import os


def first(rows: list[int] | None, name: str) -> dict[str, int]:
    if rows is None or not isinstance(name, str):
        raise ValueError(f"{name} is {rows!r}")
    found = {}
    for index, row in enumerate(rows):
        found[name] = index + row
    try:
        return {key: value for key, value in found.items() if key not in name}
    except OSError as error:
        raise RuntimeError(name) from error


class Second(Exception):
    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = [] if path else {}
"""


def test_what_people_wrote_makes_nothing_up() -> None:
    """Undoing any damage that modernises can undo."""
    rng, parser = np.random.default_rng(1), python_parser()
    kinds = [kind.name for kind in KINDS.values() if kind.group == "modernise"]
    seen: set[str] = set()
    for _ in range(300):
        drawn = draw(rng, SOURCE, parser, kinds, several=0.0)
        if drawn is not None and drawn[1].edits:
            seen.add(drawn[1].kind)
            assert made_up(damaged(SOURCE, drawn[1].edits), SOURCE) == [], drawn[1].kind
    assert len(seen) > 8
