"""The table of languages: how files of each are recognised, and which grammar checks them.

Grammars come as one wheel per language (tree-sitter and tree-sitter-grammars organisations, MIT), work offline, and are
imported when first needed: a request for Python loads the Python grammar and no other.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module, metadata
from pathlib import PurePath
from typing import cast

import tree_sitter


@dataclass(frozen=True)
class Language:
    """One row of the table. ``name`` is also what ``<lang:name>`` in the tokenizer says."""

    name: str
    extensions: tuple[str, ...]
    """With the dot, in lower case."""
    filenames: tuple[str, ...] = ()
    """Whole file names, in lower case."""
    comment: str = ""
    """Begins a comment that ends with the line; "" where the language has none."""
    indent_block: bool = False
    """True: blocks are made by indentation. False: by braces, keywords or tags."""
    interpreters: tuple[str, ...] = ()
    """Programs named by a ``#!`` line."""
    aliases: tuple[str, ...] = ()
    """Other names, above all the identifiers that editors send."""
    package: str = ""
    """Distribution that holds the grammar."""
    function: str = "language"
    """The grammar's function in its module."""

    ascii_only: bool = False
    """The grammar's scanner asks C's ``isalpha`` about code points, which reads out of bounds for large ones and takes
    the process down now and then: it must see ASCII only."""

    @property
    def module(self) -> str:
        return self.package.replace("-", "_")

    def seen(self, data: bytes) -> bytes:
        """What the grammar is given of a text in UTF-8. Offsets stay, and no text parses otherwise for it."""
        return data.translate(_ASCII) if self.ascii_only else data


_ASCII = bytes(byte if byte < 0x80 else ord("_") for byte in range(256))
"""Every byte of a longer character becomes a letter."""
DEPTH = 120
"""Levels beyond which a text is not parsed: the YAML grammar's scanner overruns its state beyond 253 of them and takes
the process down."""
_YAML_MARK = re.compile(r"[-?:](?=\s|$)")


LANGUAGES: tuple[Language, ...] = (
    Language(
        name="python",
        extensions=(".py", ".pyi", ".pyw"),
        filenames=("sconstruct", "sconscript", "wscript"),
        comment="#",
        indent_block=True,
        interpreters=("python", "python3", "pypy", "pypy3"),
        aliases=("py", "python3"),
        package="tree-sitter-python",
    ),
    Language(
        name="javascript",
        extensions=(".js", ".mjs", ".cjs", ".jsx"),
        filenames=("jakefile",),
        comment="//",
        interpreters=("node", "nodejs"),
        aliases=("js", "jsx", "javascriptreact"),
        package="tree-sitter-javascript",
    ),
    Language(
        name="typescript",
        extensions=(".ts", ".mts", ".cts"),
        comment="//",
        interpreters=("deno", "ts-node", "bun"),
        aliases=("ts",),
        package="tree-sitter-typescript",
        function="language_typescript",
    ),
    Language(
        name="tsx",
        extensions=(".tsx",),
        comment="//",
        aliases=("typescriptreact",),
        package="tree-sitter-typescript",
        function="language_tsx",
    ),
    Language(name="go", extensions=(".go",), comment="//", aliases=("golang",), package="tree-sitter-go"),
    Language(name="rust", extensions=(".rs",), comment="//", aliases=("rs",), package="tree-sitter-rust"),
    Language(name="java", extensions=(".java",), comment="//", package="tree-sitter-java"),
    Language(name="c", extensions=(".c", ".h"), comment="//", package="tree-sitter-c"),
    Language(
        name="cpp",
        extensions=(".cpp", ".cc", ".cxx", ".c++", ".hpp", ".hh", ".hxx", ".h++", ".inl", ".ipp", ".tpp"),
        comment="//",
        aliases=("c++", "cxx"),
        package="tree-sitter-cpp",
    ),
    Language(
        name="csharp", extensions=(".cs", ".csx"), comment="//", aliases=("c#", "cs"), package="tree-sitter-c-sharp"
    ),
    Language(
        name="ruby",
        extensions=(".rb", ".rake", ".gemspec", ".ru"),
        filenames=("rakefile", "gemfile", "guardfile", "vagrantfile", "brewfile", "podfile", "fastfile"),
        comment="#",
        interpreters=("ruby",),
        aliases=("rb",),
        package="tree-sitter-ruby",
    ),
    Language(
        name="php",
        extensions=(".php", ".phtml"),
        comment="//",
        interpreters=("php",),
        package="tree-sitter-php",
        function="language_php",
    ),
    Language(
        name="bash",
        extensions=(".sh", ".bash", ".zsh", ".ksh"),
        filenames=(".bashrc", ".bash_profile", ".bash_aliases", ".profile", ".zshrc", "pkgbuild"),
        comment="#",
        interpreters=("sh", "bash", "dash", "zsh", "ksh"),
        ascii_only=True,
        aliases=("sh", "shell", "shellscript", "zsh"),
        package="tree-sitter-bash",
    ),
    Language(
        name="lua",
        extensions=(".lua",),
        comment="--",
        interpreters=("lua", "luajit"),
        package="tree-sitter-lua",
    ),
    Language(name="html", extensions=(".html", ".htm", ".xhtml"), package="tree-sitter-html"),
    Language(name="css", extensions=(".css",), package="tree-sitter-css"),
    Language(
        name="json",
        extensions=(".json", ".jsonc", ".geojson", ".ipynb", ".webmanifest"),
        filenames=(".babelrc", ".eslintrc", ".prettierrc", "composer.lock", "pipfile.lock"),
        aliases=("jsonc",),
        package="tree-sitter-json",
    ),
    Language(
        name="yaml",
        extensions=(".yaml", ".yml"),
        filenames=(".clang-format", ".clang-tidy"),
        comment="#",
        indent_block=True,
        aliases=("yml",),
        package="tree-sitter-yaml",
    ),
    Language(
        name="toml",
        extensions=(".toml",),
        filenames=("cargo.lock", "pipfile", "poetry.lock", "uv.lock"),
        comment="#",
        package="tree-sitter-toml",
    ),
    Language(
        name="markdown",
        extensions=(".md", ".markdown", ".mdown"),
        aliases=("md",),
        package="tree-sitter-markdown",
    ),
)

_BY_NAME = {name: row for row in LANGUAGES for name in (row.name, *row.aliases)}
_BY_EXTENSION = {extension: row for row in LANGUAGES for extension in row.extensions}
_BY_FILENAME = {filename: row for row in LANGUAGES for filename in row.filenames}
_BY_INTERPRETER = {program: row for row in LANGUAGES for program in row.interpreters}


def resolve(language: str | None, filename: str | None = None, text: str = "") -> str | None:
    """The name in the table: what the caller says, else what the file name says, else what a ``#!`` line says."""
    row = get(language)
    if row is not None:
        return row.name
    return language_of(filename) or _by_shebang(text)


def language_of(filename: str | None) -> str | None:
    """The language of a file by its name alone; None for an unknown one."""
    if not filename:
        return None
    path = PurePath(filename.replace("\\", "/"))
    row = _BY_FILENAME.get(path.name.lower()) or _BY_EXTENSION.get(path.suffix.lower())
    return row.name if row else None


def get(name: str | None) -> Language | None:
    """A row by name or by one of the names editors use ("typescriptreact", "shellscript", "c++")."""
    return _BY_NAME.get(name.strip().lower()) if name else None


def depth(text: str, row: Language | None) -> int:
    """An upper bound of the levels that block structure opens (leading columns, and marks (``- ? :``) on open lines),
    where they could be more than ``DEPTH``; 0 for grammars that bear any number."""
    if row is None or row.name != "yaml":
        return 0
    deepest = 0
    columns: list[int] = []
    for line in text.splitlines():
        body = line.lstrip()
        if not body:
            continue
        indent = len(line) - len(body)
        while columns and columns[-1] >= indent:
            columns.pop()
        columns.append(indent)
        columns.extend(indent + match.start() for match in _YAML_MARK.finditer(body))
        deepest = max(deepest, len(columns))
    return deepest


def parser(name: str | None) -> tree_sitter.Parser | None:
    """A new parser (parsers are not shared between threads); None where no grammar is installed."""
    row = get(name)
    grammar = _grammar(row.module, row.function) if row else None
    return tree_sitter.Parser(grammar) if grammar else None


def grammars() -> list[tuple[str, str, str | None]]:
    """(language, distribution, installed version or None) for each row, without importing any grammar."""
    return [(row.name, row.package, _version(row.package)) for row in LANGUAGES]


@cache
def _grammar(module: str, function: str) -> tree_sitter.Language | None:
    try:
        load = cast(Callable[[], object], getattr(import_module(module), function))
        return tree_sitter.Language(load())
    except (ImportError, AttributeError, ValueError):
        # ValueError: a wheel built for an ABI that this tree-sitter does not read. The answer is then unchecked.
        return None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _by_shebang(text: str) -> str | None:
    line = text[:256].partition("\n")[0].lstrip("\ufeff")
    if not line.startswith("#!"):
        return None
    for word in line[2:].split():
        program = PurePath(word).name
        row = _BY_INTERPRETER.get(program) or _BY_INTERPRETER.get(program.rstrip("0123456789."))
        if row is not None:
            return row.name
    return None
