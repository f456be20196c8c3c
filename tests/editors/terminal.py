"""A real terminal screen (tmux) with an editor in it; what is on it, with colours, as a text that can be compared."""

import contextlib
import os
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

PATIENCE_S = 15.0
SCREENS = Path(__file__).parent / "screens"
WRITES = os.environ.get("HONE_SCREENS") == "write"  # before any test has its private environment
LETTERS = "abcdefghijklmnopqrstuvwxyz"
MARK = re.compile(r"\x1b\[([\d;]*)m|\x1b[()].|(.)", re.DOTALL)
CODES = re.compile(r"[34]8;5;\d+|[34]8;2;\d+;\d+;\d+|\d+")


class Terminal:
    """One program at a time, on a screen of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _tmux(self, *words: str | Path) -> str:
        command = ["tmux", "-S", self._folder / "tmux.sock", "-f", "/dev/null", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE_S).stdout

    def open(
        self, command: Sequence[str | Path], env: Mapping[str, str | Path] = {}, *, width: int = 60, height: int = 8
    ) -> None:
        words = ["env", *(f"{name}={value}" for name, value in env.items()), *map(str, command)]
        sizes = ["-x", str(width), "-y", str(height)]
        self._tmux("new-session", "-d", "-s", "hone", *sizes, "-c", self._folder, *words)

    def press(self, *keys: str) -> None:
        self._tmux("send-keys", "-t", "hone", *keys)

    def type(self, text: str) -> None:
        self._tmux("send-keys", "-t", "hone", "-l", text)

    def lines(self) -> list[str]:
        return self._tmux("capture-pane", "-p", "-t", "hone").removesuffix("\n").split("\n")

    def text(self) -> str:
        return "\n".join(self.lines())

    def screen(self) -> str:
        """The lines, then a letter for the style of each character, then what the letters mean; a dot: plain.

        Times are written as "N ms", since they are never the same.
        """
        rows = self._tmux("capture-pane", "-p", "-e", "-t", "hone").removesuffix("\n").split("\n")
        meanings: dict[str, str] = {}
        style: tuple[str, ...] = ()
        texts, styles = [], []
        for row in rows:
            text = drawn = ""
            for codes, character in MARK.findall(row):
                if character:
                    name = ";".join(sorted(style))
                    letter = "." if not name else meanings.setdefault(name, LETTERS[len(meanings)])
                    text, drawn = text + character, drawn + letter
                else:
                    style = styled(style, codes)
            for found in re.finditer(r"\d+(?= ms)", text):
                drawn = drawn[: found.start() + 1] + drawn[found.end() :]
            text = re.sub(r"\d+(?= ms)", "N", text).rstrip()
            texts.append(text)
            styles.append(drawn[: len(text)].rstrip("."))
        legend = [f"{letter} {name}" for name, letter in meanings.items()]
        return "\n".join(["\n".join(texts), "--", "\n".join(styles), "--", *legend]) + "\n"

    def styles(self, text: str) -> set[str]:
        """Of the characters of the first place where the text is; none where it is not."""
        lines, drawn, legend = self.screen().split("\n--\n")
        meanings = dict(line.split(" ") for line in legend.splitlines())
        for line, letters in zip(lines.split("\n"), drawn.split("\n"), strict=True):
            if (at := line.find(text)) >= 0:
                found = letters.ljust(len(line), ".")[at : at + len(text)]
                return {meanings.get(letter, "") for letter in found}
        return set()

    def end(self) -> None:
        """With whatever was started in it."""
        with contextlib.suppress(subprocess.CalledProcessError):
            first = psutil.Process(int(self._tmux("list-panes", "-t", "hone", "-F", "#{pane_pid}")))
            family = [*first.children(recursive=True), first]
            self._tmux("kill-server")
            for process in family:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            psutil.wait_procs(family, PATIENCE_S)


def styled(style: tuple[str, ...], codes: str) -> tuple[str, ...]:
    """What holds after a sequence of a terminal: one foreground, one background, and attributes."""
    now = list(style)

    def drop(pattern: str) -> None:
        now[:] = [one for one in now if not re.match(pattern, one)]

    for code in CODES.findall(codes or "0"):
        number = int(code.split(";")[0])
        if number == 0:
            now.clear()
        elif number == 38 or 30 <= number <= 39 or 90 <= number <= 97:
            drop(r"38;|[39]\d$")
            now += [] if number == 39 else [code]
        elif number == 48 or 40 <= number <= 49 or 100 <= number <= 107:
            drop(r"48;|4\d$|10\d$")
            now += [] if number == 49 else [code]
        elif 22 <= number <= 29:
            drop(rf"{number - 20}$|1$" if number == 22 else rf"{number - 20}$")
        else:
            now.append(code)
    return tuple(now)


def compare(terminal: Terminal, name: str, seconds: float = PATIENCE_S) -> None:
    """Waits for the screen of this name. HONE_SCREENS=write: what is there after a while becomes the expected one."""
    path = SCREENS / f"{name}.txt"
    if WRITES:
        time.sleep(2)
        path.write_text(terminal.screen(), encoding="utf-8")
    expected = path.read_text(encoding="utf-8")
    deadline = time.monotonic() + seconds
    while (screen := terminal.screen()) != expected and time.monotonic() < deadline:
        time.sleep(0.02)
    assert screen == expected, f"the screen {name} is\n{screen}"
