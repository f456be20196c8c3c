"""What a user sees: Neovim on a real screen, compared with screens that are written down, colours included."""

from pathlib import Path

import pytest

from tests.editors.conftest import START_S, Scripted, until, write_init
from tests.editors.terminal import Terminal, compare

LOOK = """
vim.o.laststatus, vim.o.showmode, vim.o.ruler = 2, false, false
vim.o.statusline = '%f: %{v:lua.require("hone").statusline()}'
"""
LOOP = "for a in b:\n    use(a)  # ä€𝄞\n    done(a)"


class Screen:
    def __init__(self, terminal: Terminal, nvim: Path, plugin: Path, home: Path) -> None:
        self._terminal, self._nvim, self._plugin, self._home = terminal, nvim, plugin, home
        self.press = terminal.press

    def open(self, text: str, config: str) -> Path:
        file = self._home / "a.py"
        file.write_text(text, encoding="utf-8")
        init = write_init(self._home, self._plugin, config + LOOK)
        self._terminal.open([self._nvim, "--clean", "-u", init, "a.py"], {"TERM": "tmux-256color"})
        until(self._terminal.lines, "the language server", lambda lines: lines[-2] == "a.py: Hone", START_S)
        return file

    def wait(self, name: str) -> None:
        compare(self._terminal, name)


@pytest.fixture
def screen(terminal: Terminal, nvim: Path, plugin: Path, environment: Path) -> Screen:
    return Screen(terminal, nvim, plugin, environment)


def test_ghost_text_typed_along_and_accepted(screen: Screen, scripted: Scripted) -> None:
    file = screen.open("def add(a, b):\n    return\n\n\nadd(1, 2)\n", scripted(("return ", "a + b  # ä€𝄞")))
    screen.press("j", "A", " ")
    screen.wait("ghost")
    screen.press("a", " ", "+")
    screen.wait("typed-along")
    assert "a + b" not in file.read_text()
    screen.press("Tab")
    screen.wait("accepted")
    screen.press("Escape", ":w", "Enter")
    saved = "def add(a, b):\n    return a + b  # ä€𝄞\n\n\nadd(1, 2)\n"
    until(file.read_text, "the saved file", lambda text: text == saved)


def test_lines_below_and_parts(screen: Screen, scripted: Scripted) -> None:
    screen.open("#\nprint(a)\n", scripted(("# ", LOOP)))
    screen.press("A", " ")
    screen.wait("lines")
    screen.press("M-Right")
    screen.wait("lines-a-word")
    screen.press("M-End")
    screen.press("M-End")
    screen.wait("lines-two")
    screen.press("M-Left")
    screen.wait("lines-dismissed")


def test_alternatives(screen: Screen, scripted: Scripted) -> None:
    screen.open("x =\n", scripted(("x = ", "one", "two", "three")))
    screen.press("A", " ")
    screen.wait("alternative-first")
    screen.press("M-Down")
    screen.wait("alternative-second")


def test_the_status_is_one_line(screen: Screen, terminal: Terminal, scripted: Scripted) -> None:
    screen.open("x =\n", scripted(("x = ", "one")))
    screen.press("A", " ")
    until(terminal.text, "ghost text", lambda text: text.startswith("x = one"))
    screen.press("Escape")
    terminal.type(":Hone\n")
    shown = until(terminal.text, "the status", lambda text: "Hone: ready; 1 answer" in text)
    assert "Press ENTER" not in shown


def test_few_colours(screen: Screen, scripted: Scripted) -> None:
    """Neovim's own colours for hints are none where there are 16."""
    screen.open("x =\n", scripted(("x = ", "one")) + "\nvim.o.termguicolors = false\n")
    screen.press("A", " ")
    screen.wait("few-colours")


def test_fix_asks_before_it_mends(screen: Screen, terminal: Terminal, scripted: Scripted) -> None:
    file = screen.open("x = [1, (2]\n", scripted())

    def ask(answer: str) -> None:
        terminal.type(":Hone fix\n")
        until(
            terminal.text, "the question", lambda text: "Apply all changes?" in text and "Fix this syntax error" in text
        )
        terminal.type(answer)
        until(terminal.text, "the end of the question", lambda text: "Apply all changes?" not in text)

    ask("n")
    terminal.type("A  # no")
    until(terminal.text, "what is typed next", lambda text: text.startswith("x = [1, (2]  # no\n"))
    terminal.press("Escape", "0")
    ask("y")
    until(terminal.text, "the mended line", lambda text: text.startswith("x = [1, (2)]  # no\n"))
    assert file.read_text() == "x = [1, (2]\n"
