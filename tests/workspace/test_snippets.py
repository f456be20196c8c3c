"""What is gathered for a place: from where, in which order, how much, and that it stays while a line is typed."""

from dataclasses import replace
from pathlib import Path

import pytest

from assistant.types import SOURCES, Snippet
from assistant.workspace.gate import Gate
from assistant.workspace.imports import Import, imports
from assistant.workspace.index import Reader, index_file, sweep
from assistant.workspace.snippets import (
    LIMITS,
    MARGIN,
    MOST,
    MOST_CHARS,
    ORDER,
    WINDOW,
    Edited,
    Known,
    Opened,
    Problem,
    called,
    gather,
    offline,
)

FILES = {
    "shop/__init__.py": "from shop.basket import Basket\n",
    "shop/basket.py": """class Basket:
    owner: str

    def __init__(self, owner: str) -> None:
        self.owner = owner

    def add_article(self, article: str, count: int = 1) -> None:
        self.articles[article] = count
""",
    "shop/prices.py": '''RATE = 0.19


def price_of(article: str, *, discount: float = 0.0) -> float:
    """What an article costs."""
    return CATALOGUE[article] * (1 - discount)


def unrelated(): pass
''',
    "other/prices.py": "def price_of(stone): pass\n",
    "tests/test_prices.py": "def price_of(fake): pass\n",
    "web/client.ts": "export function priceOf(article: string): number { return 1; }\nexport default class Client {}\n",
    "web/util/index.js": "export const helper = (x) => x;\n",
    "main.py": "never read: the text of the request counts\n",
}


@pytest.fixture
def workspace(root: Path) -> tuple[Gate, Reader]:
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    gate = Gate(root)
    assert sweep(gate) is not None
    return gate, Reader(index_file(root))


def at(marked: str, path: str = "main.py", **more: object) -> Known:
    """``|`` is the cursor."""
    text = marked.replace("|", "", 1)
    return replace(Known(path, text, marked.index("|"), sources=ORDER), **more)  # type: ignore[arg-type]


def texts(known: Known, workspace: tuple[Gate, Reader], source: str) -> list[str]:
    gate, reader = workspace
    return [one.text for one in gather(replace(known, sources=(source,)), reader, gate.path).snippets]


HEAD = "from shop.prices import price_of, RATE\nfrom shop import Basket\n\n\ndef total(basket):\n"


def test_the_definition_that_is_imported_comes_first(workspace: tuple[Gate, Reader]) -> None:
    known = at(HEAD + "    price_of(basket)\n    |\n")
    gate, reader = workspace
    (first, *_) = gather(replace(known, sources=("definitions",)), reader, gate.path).snippets
    assert (first.path, first.source) == ("shop/prices.py", "definitions")
    assert first.text.startswith("def price_of(article: str, *, discount")
    assert "def unrelated" not in first.text


def test_a_method_comes_with_its_class(workspace: tuple[Gate, Reader]) -> None:
    known = at("from shop.basket import Basket\n\n\ndef f(b):\n    b.add_article(1)\n    |\n")
    found = texts(known, workspace, "definitions")
    assert any(one.startswith("class Basket:\n    def add_article(self") for one in found)


def test_what_the_file_defines_itself_is_not_looked_for(workspace: tuple[Gate, Reader]) -> None:
    known = at("def price_of(own): ...\n\n\nprice_of(1)\n|\n")
    assert texts(known, workspace, "definitions") == []


def test_the_file_itself_never_counts(workspace: tuple[Gate, Reader]) -> None:
    text = FILES["shop/prices.py"]
    known = Known("shop/prices.py", "price_of(\n", 9)
    for source in SOURCES:
        for found in texts(known, workspace, source):
            assert "CATALOGUE" not in found, source
    gathered = offline(workspace[0].root, "shop/prices.py", text[:60], 60, SOURCES)
    assert all(one.path != "shop/prices.py" for one in gathered)


def test_signatures_of_what_is_imported(workspace: tuple[Gate, Reader]) -> None:
    found = texts(at(HEAD + "    |\n"), workspace, "imports")
    assert "def price_of(article: str, *, discount: float = 0.0) -> float:\nRATE = 0.19" in found
    assert "class Basket:\n    def __init__(self, owner: str) -> None:" in found, "through the package"


def test_no_source_repeats_another(workspace: tuple[Gate, Reader]) -> None:
    gate, reader = workspace
    known = at(HEAD + "    price_of(basket)\n    |\n")
    found = gather(known, reader, gate.path).snippets
    assert sum("def price_of(article" in one.text for one in found) == 1
    assert len({one.text for one in found}) == len(found)


IMPORTS = [
    # (file, line, what of which file by which name)
    (
        "main.py",
        "from shop.prices import price_of as cost, RATE",
        "shop/prices.py price_of cost; shop/prices.py RATE RATE",
    ),
    ("main.py", "from shop.prices import (\n    RATE,  # why\n)", "shop/prices.py RATE RATE"),
    ("main.py", "import shop.prices as p, json", "shop/prices.py - p"),
    ("main.py", "from shop import prices", "shop/prices.py - prices"),
    ("main.py", "from shop import Basket", "shop/__init__.py Basket Basket"),
    ("main.py", "from shop.prices import *", "shop/prices.py * *"),
    ("main.py", "    from shop.prices import RATE", "shop/prices.py RATE RATE"),
    ("main.py", "import os, json\nfrom typing import Any", ""),
    ("shop/basket.py", "from .prices import RATE", "shop/prices.py RATE RATE"),
    ("shop/basket.py", "from . import prices", "shop/prices.py - prices"),
    ("other/prices.py", "from ..shop.prices import RATE", "shop/prices.py RATE RATE"),
    ("web/main.ts", "import { priceOf as p, type X } from './client';", "web/client.ts priceOf p; web/client.ts X X"),
    ("web/main.ts", 'import Client, { X } from "./client.js";', "web/client.ts default Client; web/client.ts X X"),
    ("web/main.ts", "import * as all from './client'", "web/client.ts - all"),
    ("web/main.ts", "import React from 'react';", ""),
    ("web/main.js", "const { helper } = require('./util');", "web/util/index.js helper helper"),
    ("main.go", 'import "fmt"', ""),
]


@pytest.mark.parametrize(("path", "line", "expected"), IMPORTS)
def test_imports_lead_to_files(workspace: tuple[Gate, Reader], path: str, line: str, expected: str) -> None:
    language = {"py": "python", "ts": "typescript", "js": "javascript", "go": "go"}[path.rpartition(".")[2]]
    wanted = [Import(*part.replace("-", "").split(" ")) for part in expected.split("; ") if part]
    assert list(imports(workspace[1], path, language, line)) == wanted


OPEN = "def sum_up(basket):\n    total = price_of(basket)\n    return total + shipping(basket)\n"


def test_open_documents_by_what_they_share(workspace: tuple[Gate, Reader]) -> None:
    filler = "".join(f"word{number} = {number}\n" for number in range(60))
    known = at(
        "def total(basket):\n    price = price_of(basket)\n    shipping|", opened=(Opened("b.py", filler + OPEN),)
    )
    (found,) = texts(known, workspace, "open")
    assert "shipping(basket)" in found
    assert len(found.splitlines()) <= WINDOW
    assert texts(replace(known, opened=(Opened("b.py", filler),)), workspace, "open") == []


def test_open_documents_by_places_like_the_cursors(workspace: tuple[Gate, Reader]) -> None:
    filler = "".join(f"word{number} = {number}\n" for number in range(60))
    opened = (Opened("b.py", f"{filler}self.size = compute(1)\n{filler}"),)
    (found,) = texts(at("self.si|\n", opened=opened), workspace, "open")
    assert "self.size = compute(1)" in found
    assert len(found.splitlines()) == 1 + 2 * MARGIN
    assert texts(at("other.name|\n", opened=opened), workspace, "open") == []


def test_open_documents_pass_the_gate(workspace: tuple[Gate, Reader]) -> None:
    gate, reader = workspace
    (gate.root / ".gitignore").write_text("ignored.py\n")
    gate.refresh()
    token = "gh" + "p_" + "a1B2" * 9
    opened = (
        Opened(".env", OPEN), Opened("ignored.py", OPEN), Opened("/elsewhere/x.py", OPEN),
        Opened("token.py", OPEN + f"# {token}\n"), Opened("fine.py", OPEN.replace("sum_up", "add_up")),
    )  # fmt: skip
    known = at("def total(basket):\n    price = price_of(basket)\n    shipping|", opened=opened, sources=("open",))
    found = gather(known, reader, gate.path)
    assert [one.path for one in found.snippets] == ["fine.py"]
    reasons = {one.path: one.reason for one in found.kept_out}
    assert reasons["ignored.py"] == "ignored by .gitignore"
    assert reasons["token.py"] == "holds a GitHub token (line 4)"
    assert reasons["/elsewhere/x.py"] == "outside of the workspace"
    assert "built-in" in reasons[".env"]


def test_changed_places_pass_the_gate(workspace: tuple[Gate, Reader]) -> None:
    token = "gh" + "p_" + "a1B2" * 9
    edits = (Edited("a.py", "a = renamed"), Edited("b.py", f"b = '{token}'"), Edited(".env", "KEY=1"))
    gate, reader = workspace
    found = gather(at("x|", edits=edits, sources=("recent",)), reader, gate.path)
    assert found.snippets == (Snippet("a.py", "a = renamed", "recent"),)
    assert {one.path for one in found.kept_out} == {"b.py", ".env"}


def test_what_was_changed_near_the_cursor_is_seen_anyway(workspace: tuple[Gate, Reader]) -> None:
    text = "".join(f"line_{number}\n" for number in range(200)) + "|"
    edits = (Edited("main.py", "near", 190), Edited("main.py", "far", 20))
    assert texts(at(text, edits=edits), workspace, "recent") == ["far"]


def test_problems_near_the_cursor(workspace: tuple[Gate, Reader]) -> None:
    problems = (Problem(40, "far"), Problem(0, "no\n  name"), Problem(2, "wrong type"))
    known = at("a\nb\nc|\n", problems=problems)
    assert texts(known, workspace, "diagnostics") == ["main.py:3: wrong type\nmain.py:1: no name"]


def test_typing_along_a_line_changes_nothing(workspace: tuple[Gate, Reader]) -> None:
    gate, reader = workspace
    before, line = HEAD, "    amount = count + size * weight"
    found = {
        gather(at(before + line[:end] + "|\n    return 1\n"), reader, gate.path).snippets for end in range(len(line))
    }
    assert len(found) == 1


def test_a_call_on_the_line_brings_its_definition(workspace: tuple[Gate, Reader]) -> None:
    line = "    amount = price_of(basket, dis"
    before = "from shop.prices import price_of\n\n\ndef f(basket):\n"
    found = [
        any("def price_of" in one for one in texts(at(before + line[:end] + "|\n"), workspace, "definitions"))
        for end in range(len(line))
    ]
    assert found.index(True) == line.index("(") + 1
    assert all(found[line.index("(") + 1 :])


@pytest.mark.parametrize(
    ("line", "expected"),
    [("", ""), ("a = pri", ""), ("price_of(", "price_of("), ("x = obj.", "x = obj."), ("f(", ""),
     ("abc(de, f.g", "abc("), ("std::vec", "std::"), ("ptr->fi", "ptr->")],
)  # fmt: skip
def test_the_part_of_a_line_that_counts(line: str, expected: str) -> None:
    assert called(line) == expected


def test_it_is_bounded_and_always_the_same(root: Path) -> None:
    for number in range(40):
        body = "".join(f"    value_{i} = compute_{i}(value_{i})\n" for i in range(20))
        (root / f"m{number}.py").write_text(f"def name_{number}(argument):\n{body}")
    gate = Gate(root)
    sweep(gate)
    reader = Reader(index_file(root))
    calls = "".join(f"name_{number}(value_{number}, compute_{number})\n" for number in range(20))
    imported = "".join(f"from m{number} import name_{number}\n" for number in range(40))
    opened = tuple(Opened(f"m{number}.py", (root / f"m{number}.py").read_text()) for number in range(16))
    edits = tuple(Edited(f"e{number}.py", f"edit_{number} = 1\n" * 40) for number in range(9))
    known = at(
        imported + calls + "|", opened=opened, edits=edits, problems=tuple(Problem(59, "x" * 999) for _ in range(9))
    )
    found = gather(known, reader, gate.path).snippets
    assert 8 < len(found) <= MOST
    assert sum(len(one.text) for one in found) <= MOST_CHARS
    for source, (most, chars) in LIMITS.items():
        mine = [one.text for one in found if one.source == source]
        assert 0 < len(mine) <= most, source
        assert sum(map(len, mine)) <= chars
    assert gather(known, Reader(index_file(root)), Gate(root).path).snippets == found


def test_without_an_index_there_are_the_open_documents(root: Path) -> None:
    known = at("def total(basket):\n    price = price_of(basket)\n    shipping|", opened=(Opened("b.py", OPEN),))
    assert [one.source for one in gather(known, None, Gate(root).path).snippets] == ["open"]
    assert [one.source for one in gather(known, Reader(root / "none.db"), Gate(root).path).snippets] == ["open"]


@pytest.mark.parametrize(
    "text", ["", "|", "\n", "\r\n\r\n", "\ufeff", "\U0001f600" * 50, "\ud800 price_of(", "(" * 5000]
)
def test_any_text_will_do(workspace: tuple[Gate, Reader], text: str) -> None:
    gate, reader = workspace
    for place in (0, len(text) // 2, len(text)):
        gather(Known("main.py", text, place), reader, gate.path)


def test_offline_counts_imported_files_as_open(workspace: tuple[Gate, Reader], tmp_path: Path) -> None:
    text = "from shop.prices import price_of\n\n\ndef f(article, discount):\n    CATALOGUE[article]\n    \n"
    found = offline(workspace[0].root, "main.py", text, len(text) - 1, ("open",), index=tmp_path / "i.db")
    assert [one.path for one in found] == ["shop/prices.py"]
    assert (tmp_path / "i.db").exists()
    with pytest.raises(ValueError, match="unknown source 'all'"):
        offline(workspace[0].root, "main.py", text, 0, ("all",))
