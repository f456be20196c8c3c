"""The guess is Python or nothing, and never Python for another language."""

from pathlib import Path

import pytest

from assistant.protocols.guess import guess
from infill.languages import LANGUAGES, language_of

ROOT = Path(__file__).resolve().parents[3]
OTHERS = {
    "javascript": "import os from 'os'\nclass A {\n  f(x) { return x }\n}\nfor (const x of y) {\n  z(x)\n}\n",
    "typescript": "import { a } from './a'\nclass A<T> { x: T }\nif (a) {\n  b()\n}\n",
    "go": 'package main\nimport "fmt"\nfunc main() {\n\tfor i := 0; i < 3; i++ {\n\t\tfmt.Println(i)\n\t}\n}\n',
    "rust": 'use std::io;\nfn main() {\n    for x in 0..3 {\n        if x > 1 { println!("{}", x); }\n    }\n}\n',
    "java": "import java.util.List;\nclass A extends B {\n    int x;\n}\n",
    "cpp": "class A : public B {\n  int x;\n};\nint main() {\n  while (true) {}\n}\n",
    "csharp": "using System;\nclass A : B {\n    int X { get; }\n}\n",
    "ruby": "class Foo < Bar\n  def bar\n    x\n  end\nend\nif x\n  y\nend\n",
    "bash": "if [ -f x ]; then\n  echo y\nfi\nfor x in a b; do\n  echo $x\ndone\n",
    "lua": "for i = 1, 3 do\n  print(i)\nend\nwhile x do\n  y()\nend\n",
    "nim": "import os\nproc f(x: int): int =\n  return x\nfor x in y:\n  echo x\n",
    "swift": "import Foundation\nclass A: B {\n    func f() -> Int { return 1 }\n}\nif x { y() }\n",
    "kotlin": "import a.b\nclass A : B() {\n    fun f() = 1\n}\n",
    "haskell": "import Data.List\nclass Foo a where\n  bar :: a\n",
    "gdscript": "extends Node\nclass Foo:\n\tvar x = 1\nfunc f():\n\tpass\n",
    "scala": "import a.b.c\nclass A(x: Int)\ndef f(x: Int): Int = x + 1\n@main def run(): Unit = f(1)\n",
    "crystal": "class Foo\n  def bar\n    1\n  end\nend\n",
    "julia": "import Base\nfor x in 1:3\n    println(x)\nend\nif x > 1\n    y\nend\n",
    "english": "if you read this: good\nfrom here on we go\nimport is a word\nclass is another\nwith love\n",
    "yaml": "if: always()\nfor: x\nwith:\n  a: b\nclass Foo: bar\n",
    "css": "@media print {\n  a { b: c }\n}\n@import 'x';\n",
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_language_is_not_taken_for_python(name: str) -> None:
    text = OTHERS[name]
    lines = text.splitlines(keepends=True)
    for count in range(len(lines) + 1):
        assert guess("".join(lines[:count])) is None
        assert guess("".join(lines[:count]) * 3 + "x") is None


def test_every_language_of_ours_without_python_is_tried_or_has_no_blocks() -> None:
    data = {"html", "json", "toml", "markdown", "php", "c", "tsx", "python"}
    assert {row.name for row in LANGUAGES} - data <= OTHERS.keys()


def test_every_place_in_our_own_sources_is_known_or_left_open() -> None:
    known = asked = 0
    for path in sorted((ROOT / "assistant").glob("*.py")):
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        for count in range(20, len(lines), 40):
            found = guess("".join(lines[:count]) + "    ret")
            assert found in ("python", None)
            asked += 1
            known += found == "python"
    assert known > 0.9 * asked


@pytest.mark.parametrize(
    ("prefix", "found"),
    [
        ("import os\n\ndef add(a, b):\n    ret", "python"),
        ("def add(a, b):\n", "python"),
        ("class A:\n    def e(self):\n        pass\n\n    def f(self):\n        return g(1,\n             ", "python"),
        ("from a.b import c\nx = ", "python"),
        ("from strutils import split\nx = ", None),
        ("import os\n\n\ndef f():\n    pass\n\n\ndef g(x, y=(\n", "python"),
        ("x = 1\ny = ", None),
        ("import os\n", None),
        ("def add(a, b", None),
        ("", None),
    ],
)
def test_what_is_enough(prefix: str, found: str | None) -> None:
    assert guess(prefix) == found


def test_a_prefix_that_begins_in_the_middle_of_a_file() -> None:
    assert (
        guess("        return x\n\n    def g(self):\n        pass\n\n\nclass B:\n    def f(self):\n        x")
        == "python"
    )


def test_files_of_other_languages_beside_us_are_not_taken_for_python() -> None:
    others = [p for p in (ROOT / "docs").rglob("*") if p.is_file() and language_of(p.name) not in (None, "python")]
    assert others
    for path in others:
        text = path.read_text(encoding="utf-8", errors="replace")
        assert guess(text) is None, path
