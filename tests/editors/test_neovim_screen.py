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


NOTIFY = "\nvim.notify = function(message) vim.api.nvim_echo({ { message } }, true, {}) end\n"
"""As it is by default: what is told in two lines waits for a key."""


def test_fix_mends_by_rule_at_once(screen: Screen, terminal: Terminal, scripted: Scripted) -> None:
    """As quick fixes do: undo is enough. Only what a model wrote, or what is changed in several places, is asked."""
    file = screen.open("x = [1, (2]\n", scripted() + NOTIFY)
    terminal.type(":Hone fix\n")
    shown = until(terminal.text, "the mended line", lambda text: text.startswith("x = [1, (2)]\n"))
    assert "Apply?" not in shown
    terminal.type("u")
    shown = until(terminal.text, "the line as it was", lambda text: text.startswith("x = [1, (2]\n"))
    assert "Press ENTER" not in shown
    assert file.read_text() == "x = [1, (2]\n"


def test_fix_asks_before_it_puts_in_what_a_model_wrote(screen: Screen, terminal: Terminal, scripted: Scripted) -> None:
    text = "def f(a):\n    retrun a b c d e f g\n\nx = 1\n"
    file = screen.open(text, scripted(("def f(a):\n    ", "return a")) + NOTIFY)

    def ask(answer: str) -> None:
        terminal.type(":2Hone fix\n")
        shown = until(terminal.text, "the question", lambda text: "Apply?" in text and "Fix this syntax error" in text)
        assert "\n-    retrun a b c d e f g\n+    return a\n" in shown, "what it is about"
        terminal.type(answer)
        until(terminal.text, "the end of the question", lambda text: "Apply?" not in text and "Press" not in text)

    ask("n")
    terminal.type("ggA  # no")
    until(terminal.text, "what is typed next", lambda text: text.startswith("def f(a):  # no\n    retrun a b c"))
    terminal.press("Escape")
    terminal.type("u")
    ask("y")
    until(terminal.text, "the mended line", lambda text: text.startswith("def f(a):\n    return a\n"))
    assert file.read_text() == text
