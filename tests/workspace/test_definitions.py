"""What is found in each language; tests/cases/definitions has the texts and, behind a line of =, what they define."""

from pathlib import Path

import pytest

from assistant.workspace.definitions import CHARS, LINES, MOST, QUERIES, SIGNATURE, Definition, definitions
from assistant.workspace.snippets import EXTENSIONS
from infill.languages import LANGUAGES

CASES = Path(__file__).resolve().parents[1] / "cases" / "definitions"


def shown(one: Definition) -> str:
    scope = f"{one.scope}." if one.scope else ""
    return f"{one.kind} {scope}{one.name} {one.first}-{one.last}: {one.signature}"


@pytest.mark.parametrize("language", QUERIES)
def test_definitions_of(language: str) -> None:
    text, _, expected = (CASES / f"{language}.txt").read_text(encoding="utf-8").partition("=====\n")
    assert [shown(one) for one in definitions(language, text)] == expected.splitlines()


def test_the_light_table_of_extensions_agrees_with_the_languages() -> None:
    wanted = {
        extension.removeprefix("."): row.name
        for row in LANGUAGES
        if row.name in QUERIES
        for extension in row.extensions
    }
    assert {key: wanted.get(key) for key in EXTENSIONS} == EXTENSIONS


def text_of(language: str, text: str, name: str) -> str:
    return next(one.text for one in definitions(language, text) if one.name == name)


def test_a_class_is_its_head_its_fields_and_the_heads_of_its_methods() -> None:
    text = (
        "@final\nclass Store(Base):\n    '''Doc.'''\n\n    size: int = 0\n    # a remark\n"
        "    def get(self, key: str) -> int:\n        return 1\n\n"
        "    @property\n    def path(self):\n        return 2\n"
    )
    assert text_of("python", text, "Store") == (
        "class Store(Base):\n    size: int = 0\n    def get(self, key: str) -> int: ...\n    def path(self): ..."
    )
    text = "class Store extends Base {\n  size = 0;\n  get(key) {\n    return 1;\n  }\n}\n"
    assert text_of("javascript", text, "Store") == "class Store extends Base {\n    size = 0\n    get(key);\n}"


def test_a_function_is_its_first_lines_without_the_indentation() -> None:
    text = "class A:\n    @cached\n    def get(self):\n        a = 1\n\n        return a\n"
    assert text_of("python", text, "get") == "@cached\ndef get(self):\n    a = 1\n\n    return a"


def test_texts_are_bounded() -> None:
    long = "def f(" + "argument, " * 500 + "):\n" + "    x = 'yyyyyyyyyyyyyyyyyyyyyyyyy'\n" * 500
    (one,) = definitions("python", long)
    assert len(one.text) <= CHARS
    assert len(one.signature) <= SIGNATURE
    (short,) = definitions("python", "def f():\n" + "    x = 1\n" * 500)
    assert len(short.text.splitlines()) == LINES
    many = "".join(f"a{number} = {number}\n" for number in range(MOST + 500))
    assert len(definitions("python", many)) == MOST


@pytest.mark.parametrize("language", QUERIES)
@pytest.mark.parametrize("text", ["", "}}} ((( def class function {{{ \u00e4\U0001f600", "\ud800", "class\n" * 50])
def test_broken_texts_break_nothing(language: str, text: str) -> None:
    definitions(language, text)


def test_an_unknown_language_defines_nothing() -> None:
    assert definitions("markdown", "# a") == ()
    assert definitions("klingon", "a") == ()
