import subprocess
import sys

import pytest
import tree_sitter

from infill import languages
from model.tokenizer import LANGUAGES as TOKENS


@pytest.mark.parametrize("name", [row.name for row in languages.LANGUAGES])
def test_every_language_has_a_grammar_that_works_offline(name: str) -> None:
    parser = languages.parser(name)
    assert isinstance(parser, tree_sitter.Parser)
    assert parser.parse(b"").root_node.end_byte == 0


def test_names_are_those_of_the_tokenizer() -> None:
    assert {row.name for row in languages.LANGUAGES} == set(TOKENS) - {"other"}


def test_no_extension_file_name_or_alias_is_used_twice() -> None:
    for part in ("extensions", "filenames", "aliases", "interpreters"):
        used = [word for row in languages.LANGUAGES for word in getattr(row, part)]
        assert len(used) == len(set(used)), part
        assert all(word == word.lower() for word in used)


@pytest.mark.parametrize(
    ("filename", "language"),
    [
        ("a.py", "python"),
        ("/home/x/B.PYI", "python"),
        (r"C:\code\a.tsx", "tsx"),
        ("a.test.ts", "typescript"),
        ("a.h", "c"),
        ("a.hpp", "cpp"),
        ("Gemfile", "ruby"),
        (".bashrc", "bash"),
        ("Makefile", None),
        ("notes.txt", None),
        ("", None),
        (None, None),
    ],
)
def test_language_of_a_file_name(filename: str | None, language: str | None) -> None:
    assert languages.language_of(filename) == language


@pytest.mark.parametrize(
    ("language", "filename", "text", "expected"),
    [
        ("typescriptreact", "a.py", "", "tsx"),
        ("C++", None, "", "cpp"),
        ("klingon", "a.rs", "", "rust"),
        ("plaintext", "run", "#!/usr/bin/env python3.12\n", "python"),
        (None, "run", "#!/bin/sh -e\n", "bash"),
        (None, "run", "echo\n", None),
    ],
)
def test_resolve_asks_caller_then_name_then_shebang(
    language: str | None, filename: str | None, text: str, expected: str | None
) -> None:
    assert languages.resolve(language, filename, text) == expected


def test_unknown_language_has_no_parser() -> None:
    assert languages.parser("klingon") is None
    assert languages.get(None) is None


def test_grammars_lists_installed_versions() -> None:
    rows = languages.grammars()
    assert [name for name, _, _ in rows] == [row.name for row in languages.LANGUAGES]
    assert all(version for _, _, version in rows)


def test_only_the_grammar_that_is_needed_is_imported() -> None:
    code = (
        "import sys; from infill import languages; languages.parser('go');"
        "print(sorted(name for name in sys.modules if name.startswith('tree_sitter_')"
        " and not name.endswith('binding')))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "['tree_sitter_go']"


def test_missing_grammar_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tree_sitter_lua", None)
    languages._grammar.cache_clear()
    try:
        assert languages.parser("lua") is None
    finally:
        languages._grammar.cache_clear()
