"""Emacs on a real screen, with the recipes of docs/editors.md as its configuration, word for word."""

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.editors.conftest import PREFIX, START_S, Answering, unavailable, until
from tests.editors.terminal import Terminal
from tests.serve.processes import ROOT

PAGE = (ROOT / "docs" / "editors.md").read_text(encoding="utf-8")
EMACS = Path(os.environ.get("HONE_EMACS") or PREFIX / "emacs" / "emacs")
QUIET = """
(setq make-backup-files nil create-lockfiles nil auto-save-default nil inhibit-startup-screen t
      native-comp-enable-subr-trampolines nil native-comp-jit-compilation nil ; no compiler is there
      lsp-auto-guess-root t lsp-disabled-clients '(ruff) lsp-headerline-breadcrumb-enable nil)
"""
TEXT = "def add(a, b):\n    return\n\n\ndef sub(a, b):\n    ...\n"
ANSWERS = (("return ", "a + b  # ä€𝄞"), ("def sub(a, b):\n    ", "return a - b"))


@pytest.fixture(scope="module")
def emacs() -> Path:
    if not os.access(EMACS, os.X_OK):
        unavailable(f"there is no Emacs at {EMACS}; tests/editors/get_emacs.sh gets one, HONE_EMACS names another")
    version = subprocess.run([EMACS, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    assert re.match(r"GNU Emacs (3\d|[4-9]\d)\.", version), version
    return EMACS


Open = Callable[[str], Path]


@pytest.fixture
def open_(emacs: Path, terminal: Terminal, environment: Path, answering: Answering) -> Open:
    """open_(the package of the recipe): a file, opened in Emacs, whose server runs."""

    def start(package: str) -> Path:
        (recipe,) = [block for block in re.findall(r"```elisp\n(.*?)```", PAGE, re.DOTALL) if package in block]
        answering(*ANSWERS)
        init = environment / ".emacs.d" / "init.el"
        init.parent.mkdir()
        init.write_text(QUIET + recipe, encoding="utf-8")
        file = environment / "a.py"
        file.write_text(TEXT, encoding="utf-8")
        terminal.open([emacs, "-nw", "a.py"], {"TERM": "xterm-256color"}, width=100, height=16)
        return file

    return start


def shows(terminal: Terminal, pattern: str, seconds: float = 15.0) -> None:
    until(terminal.text, f"{pattern!r} on the screen", lambda text: re.search(pattern, text), seconds)


def test_ghost_text_and_actions_with_lsp_mode(open_: Open, terminal: Terminal) -> None:
    file = open_("lsp-mode")
    shows(terminal, r"\[hone:\d+\]", START_S)
    terminal.press("Down", "C-e", "Space")
    shows(terminal, r"return a \+ b  # ä€𝄞")
    assert terminal.styles("a + b  # ä€𝄞") == {"90"}, "grey"
    assert "a + b" not in file.read_text(encoding="utf-8"), "it is only drawn"
    terminal.press("Tab")
    until(lambda: terminal.styles("a + b"), "code", lambda styles: styles == {""})
    terminal.press("M->", "Up", "C-e", "C-b", "M-x")
    terminal.type("lsp-execute-code-action\n")
    shows(terminal, "Select code action")
    terminal.type("Fill this hole\n")
    shows(terminal, "return a - b")
    terminal.press("C-x", "C-s")
    saved = TEXT.replace("return", "return a + b  # ä€𝄞").replace("...", "return a - b")
    until(lambda: file.read_text(encoding="utf-8"), "the saved file", lambda text: text == saved)


def test_menu_and_actions_with_eglot(open_: Open, terminal: Terminal) -> None:
    file = open_("eglot")
    shows(terminal, r"eglot:", START_S)
    terminal.press("Down", "C-e", "Space", "C-M-i")
    shows(terminal, r"return a \+ b  # ä€𝄞")
    terminal.press("M->", "Up", "C-e", "C-Space", "C-b", "C-b", "C-b", "M-x")
    terminal.type("eglot-code-actions\n")
    shows(terminal, "eglot. Pick an action")
    terminal.type("Fill this hole\n")
    shows(terminal, "return a - b")
    terminal.press("C-x", "C-s")
    saved = TEXT.replace("return", "return a + b  # ä€𝄞").replace("...", "return a - b")
    until(lambda: file.read_text(encoding="utf-8"), "the saved file", lambda text: text == saved)
