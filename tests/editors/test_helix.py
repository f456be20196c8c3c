"""Helix on a real screen, with the recipe of docs/editors.md as its configuration, word for word."""

import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from tests.editors.conftest import PREFIX, START_S, Answering, unavailable, until
from tests.editors.terminal import Terminal
from tests.serve.processes import ROOT

PAGE = (ROOT / "docs" / "editors.md").read_text(encoding="utf-8")
HELIX = Path(os.environ.get("HONE_HELIX") or PREFIX / "helix" / "root" / "usr" / "lib" / "hx" / "hx")


@pytest.fixture(scope="module")
def helix() -> Path:
    if not os.access(HELIX, os.X_OK):
        unavailable(f"there is no Helix at {HELIX}; tests/editors/get_helix.sh gets one, HONE_HELIX names another")
    subprocess.run([HELIX, "--version"], capture_output=True, check=True)
    return HELIX


def test_menu_and_actions(helix: Path, terminal: Terminal, environment: Path, answering: Answering) -> None:
    (recipe,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    answering(("return ", "a + b  # ä€𝄞"), ("def sub(a, b):\n    ", "return a - b"))
    config = environment / ".config" / "helix"
    config.mkdir(parents=True)
    (config / "languages.toml").write_text(recipe, encoding="utf-8")
    file = environment / "a.py"
    text = "def add(a, b):\n    return\n\n\ndef sub(a, b):\n    ...\n"
    file.write_text(text, encoding="utf-8")
    log = environment / ".cache" / "helix" / "helix.log"
    runtime = HELIX.parent / "runtime"
    terminal.open([helix, "-vv", "a.py"], {"TERM": "tmux-256color", "HELIX_RUNTIME": runtime}, height=16)
    until(lambda: log.exists() and '"initialized"' in log.read_text(), "the language server", seconds=START_S)
    terminal.press("j", "A", "Space")
    until(terminal.text, "the menu", lambda screen: re.search(r"a \+ b  # ä€𝄞 +text", screen))
    terminal.press("C-n")
    until(
        terminal.text, "the entry in its place", lambda screen: "return a + b  # ä€𝄞\n" in re.sub(" +\n", "\n", screen)
    )
    assert "a + b" not in file.read_text(encoding="utf-8")
    terminal.press("Enter")
    until(terminal.text, "the end of the menu", lambda screen: not re.search(r"ä€𝄞 +text", screen))
    terminal.press("Escape")
    time.sleep(0.3)  # a key right behind Escape is one with Alt
    terminal.type("6ggglh a")  # to the last character of the line, and one back: a cursor in the dots
    until(terminal.text, "the actions", lambda screen: "Fill this hole" in screen)
    assert "Complete this body" in terminal.text()
    terminal.press("Enter")
    until(terminal.text, "the edit", lambda screen: "return a - b" in screen)
    terminal.type(":w")
    terminal.press("Enter")
    saved = text.replace("return", "return a + b  # ä€𝄞").replace("...", "return a - b")
    until(lambda: file.read_text(encoding="utf-8"), "the saved file", lambda now: now == saved)
