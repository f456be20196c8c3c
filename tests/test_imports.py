"""Imports run one way: lsp -> assistant -> infill -> model. And the light ends of the chain stay light."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAY_IMPORT = {
    "lsp": {"lsp", "assistant"},
    "assistant": {"assistant", "infill", "model"},
    "infill": {"infill", "model"},
    "model": {"model"},
}
LOADERS = {"assistant/service.py", "assistant/checkpoints.py", "assistant/models.py"}
"""Where ``assistant`` touches ``model``: to load a checkpoint, to look at one, and to ask whose it is."""
COMPOSER = "assistant/cli.py"
"""Where everything is put together: it may import any package inside a command's body, and nobody imports it."""
HEAVY = ("torch", "transformers", "tokenizers", "numpy", "rich", "tree_sitter", "infill", "model")


def modules() -> list[Path]:
    return sorted(
        path for package in MAY_IMPORT for path in (ROOT / package).rglob("*.py") if "examples" not in path.parts
    )


def imports(tree: ast.AST) -> Iterator[tuple[ast.stmt, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node, "." * node.level + (node.module or "")


def violations(path: str, source: str) -> list[str]:
    """What a file of ours imports that it may not, as "line: name"."""
    package = path.split("/", maxsplit=1)[0]
    tree = ast.parse(source)
    at_the_top = set(tree.body)
    wrong = []
    for node, name in imports(tree):
        target = name.split(".")[0]
        inside = node not in at_the_top
        if name.startswith("."):
            reason = "relative"
        elif name == "assistant.cli" and path != "assistant/__main__.py":
            reason = "nobody imports the command line"
        elif target not in MAY_IMPORT or (path == COMPOSER and inside):
            continue
        elif target not in MAY_IMPORT[package]:
            reason = "against the direction"
        elif package == "assistant" and target == "model" and path not in LOADERS:
            reason = "assistant touches model only to load a checkpoint"
        elif path == COMPOSER and target != "assistant":
            reason = "at the top of the command line"
        else:
            continue
        wrong.append(f"{path}:{node.lineno}: {name} ({reason})")
    return wrong


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_run_one_way(path: Path) -> None:
    assert violations(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("model/network.py", "from infill.types import Step"),
        ("model/network.py", "def f():\n    import assistant.types"),
        ("infill/engine.py", "import assistant.service"),
        ("assistant/demo.py", "from model.checkpoint import load_denoiser"),
        ("assistant/demo.py", "from assistant.cli import main"),
        ("assistant/cli.py", "from model.train import train"),
        ("lsp/features.py", "from infill.engine import Infiller"),
        ("infill/engine.py", "from .canvas import Canvas"),
    ],
)
def test_a_wrong_import_is_noticed(path: str, source: str) -> None:
    assert violations(path, source)


def test_there_is_no_cycle() -> None:
    files = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in modules()}
    trees = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in files.items()}
    left = {
        name: {target for node, target in imports(tree) if target in files and node in tree.body and target != name}
        for name, tree in trees.items()
    }
    while True:  # take away what imports nothing that is left, until that changes nothing
        leaves = {name for name, targets in left.items() if not targets & left.keys()}
        if not leaves:
            break
        left = {name: targets for name, targets in left.items() if name not in leaves}
    assert not left, f"import cycle among {sorted(left)}"


@pytest.mark.parametrize("module", ["assistant.cli", "lsp"])
def test_the_light_ends_import_nothing_heavy(module: str) -> None:
    code = f"import {module}, sys; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_answers_at_once() -> None:
    """In CPU time: what else the machine does does not count."""

    def once() -> float:
        before = os.times()
        subprocess.run([sys.executable, "-m", "assistant", "--help"], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    assert min(once() for _ in range(5)) < 0.3
