"""What the documents say is true: their commands parse, their links lead somewhere, made pages are current."""

import argparse
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from assistant.cli import FORWARDED, build_parser
from docs.reference import forwarded_parser

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "model").rglob("*.md")])
CODE = re.compile(r"^```(?:sh|console|bash)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")


def commands() -> Iterator[tuple[str, str]]:
    """(page, command line) for every shell command in the documents."""
    for page in PAGES:
        for block in CODE.findall(page.read_text(encoding="utf-8")):
            for line in block.replace("\\\n", " ").splitlines():
                if line.strip() and not line.lstrip().startswith("#"):
                    yield page.relative_to(ROOT).as_posix(), line.strip().removeprefix("$ ")


@pytest.mark.parametrize(("page", "line"), list(commands()), ids=lambda value: value)
def test_commands_in_the_documents_exist(page: str, line: str) -> None:
    words = shlex.split(line, comments=True)
    words = words[: next((i for i, word in enumerate(words) if word in {"<", ">", "|", "&&", ";"}), None)]
    program, arguments = words[0], words[1:]
    if program == "hone":
        parse(arguments)
    elif program == "make":
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert {word for word in arguments if "=" not in word} <= set(targets), f"{page}: no such target"
    elif program in {"python", "python3"} and arguments[0] != "-m":
        assert (ROOT / arguments[0]).is_file(), f"{page}: no such script"


def parse(arguments: list[str]) -> None:
    """Exits with an error when the command line does not take these words."""
    if arguments[0] not in FORWARDED:
        build_parser().parse_args([word for word in arguments if word != "--help"])
    elif "--help" not in arguments:
        forwarded_parser(arguments[0]).parse_args(arguments[1:])


SOURCES = [
    path
    for folder in ("assistant", "lsp", "infill", "model", "editors")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in {".py", ".ts", ".lua"} and "node_modules" not in path.parts
]
TOLD = re.compile(r"`hone ([a-z][a-z-]*)(?: ([a-z]+))?")


def test_commands_that_messages_tell_exist() -> None:
    """Nobody can do what a message says to do with a command that is none."""
    commands = subcommands(build_parser())
    told = {(path.name, *found) for path in SOURCES for found in TOLD.findall(path.read_text(encoding="utf-8"))}
    assert len(told) > 30
    wrong = [one for one in told if one[1] not in {*commands, *FORWARDED}]
    inner = {name: subcommands(parser) for name, parser in commands.items()}
    assert wrong == []
    assert [one for one in told if one[2] and inner.get(one[1]) and one[2] not in inner[one[1]]] == []


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    found = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(found[0].choices) if found else {}


def test_a_command_that_does_not_exist_is_noticed() -> None:
    with pytest.raises(SystemExit):
        parse(["complete", "a.py", "--at", "1:1", "--colour"])
    with pytest.raises(SystemExit):
        parse(["train", "--out", "x", "--colour"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    gone = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if not (page.parent / link).exists()]
    assert gone == []


def test_the_page_of_the_command_line_is_current() -> None:
    done = subprocess.run([sys.executable, "docs/reference.py", "--check"], cwd=ROOT, check=False)
    assert done.returncode == 0, "run `make docs`"


def test_every_file_stands_in_the_map() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    files = [path for package in ("assistant", "lsp", "infill", "model") for path in (ROOT / package).glob("*.py")]
    missing = [
        str(path.relative_to(ROOT)) for path in files if path.stem != "__init__" and f"`{path.name}`" not in text
    ]
    assert missing == []


def test_every_dependency_has_its_reason() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [
        *project["dependencies"],
        *(name for extra in project["optional-dependencies"].values() for name in extra),
    ]
    names = {re.split(r"[\[<>=!~ ]", name)[0] for name in wanted} - {"hone"}
    plain = {"tree-sitter-*" if name.startswith("tree-sitter-") else name for name in names}
    assert [name for name in sorted(plain) if f"`{name}`" not in text] == []


def test_torch_is_pinned_everywhere_alike() -> None:
    from assistant.doctor import TORCH

    assert f'"torch=={TORCH}.0"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
