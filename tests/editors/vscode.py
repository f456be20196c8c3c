"""A real VS Code workbench, code-server in headless Chromium: driven as a user does, read from its page."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import psutil
from playwright.sync_api import Browser, Locator, Page
from playwright.sync_api import TimeoutError as PlaywrightTimeoutError

from tests.editors.conftest import PREFIX
from tests.editors.conftest import until as until_in
from tests.serve.processes import ROOT

EXTENSION = ROOT / "editors" / "vscode"
FOLDER = PREFIX / "vscode"
CODE_SERVER = Path(os.environ.get("HONE_CODE_SERVER") or FOLDER / "bin" / "code-server")
CHROMIUM = os.environ.get("HONE_CHROMIUM", "/usr/bin/chromium")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync"]  # fmt: skip
START_S, PATIENCE_S = 90.0, 30.0
"""A workbench is a browser and three more processes: on a busy machine it takes its time."""
T = TypeVar("T")
SETTINGS: dict[str, Any] = {
    "chat.disableAIFeatures": True,  # the built-in ones, not those of extensions
    "editor.autoClosingBrackets": "never",
    "editor.autoClosingQuotes": "never",
    "editor.minimap.enabled": False,
    "editor.quickSuggestions": {"other": "off", "comments": "off", "strings": "off"},
    "editor.wordBasedSuggestions": "off",
    "extensions.autoCheckUpdates": False,
    "extensions.autoUpdate": False,
    "extensions.ignoreRecommendations": True,
    "files.autoSave": "off",
    "files.eol": "\n",
    "telemetry.telemetryLevel": "off",
    "window.restoreWindows": "none",
    "workbench.secondarySideBar.defaultVisibility": "hidden",
    "workbench.enableExperiments": False,
    "workbench.startupEditor": "none",
}
KEYS = [{"key": "ctrl+f12", "command": "workbench.action.revertAndCloseActiveEditor"},
        {"key": "ctrl+f11", "command": "notifications.clearAll"}]  # fmt: skip
GHOST = """() => {  // its first line is drawn within the code, the others below
  const line = (node) => node.textContent.replaceAll("\\u00a0", " ");
  const inside = [...document.querySelectorAll(".ghost-text-decoration, .ghost-text-decoration-preview")].map(line);
  const below = [...document.querySelectorAll(".suggest-preview-text .view-line")].map(line);
  return [inside.join(""), ...below].join("\\n");
}"""
CLOCK = f"""([wanted, longest]) => new Promise((resolve) => {{
  const ghost = {GHOST};
  const before = ghost();
  let pressed;
  const look = () => {{
    const text = ghost();
    if (pressed !== undefined && (wanted === null ? text !== "" && text !== before : text === wanted)) {{
      resolve(performance.now() - pressed);
    }} else if (pressed !== undefined && performance.now() - pressed > longest) resolve(null);
    else requestAnimationFrame(look);
  }};
  addEventListener("keydown", (event) => {{ pressed = event.timeStamp; }}, {{ capture: true, once: true }});
  requestAnimationFrame(look);
}})"""


def until(read: Callable[[], T], what: str, true: Callable[[T], object] = bool, seconds: float = PATIENCE_S) -> T:
    return until_in(read, what, true, seconds)


def npm(folder: Path, *arguments: str) -> None:
    """With the Node.js of the workbench; its output where it fails."""
    env = os.environ | {"PATH": f"{CODE_SERVER.parent}{os.pathsep}{os.environ['PATH']}", "TMPDIR": str(folder)}
    done = subprocess.run(
        ["npm", *arguments], cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, f"npm {' '.join(arguments)}: {done.stdout}{done.stderr}"


def build(folder: Path) -> Path:
    """The extension as it is installed: a .vsix, made in a copy of its sources."""
    copy = folder / "editors" / "vscode"
    shutil.copytree(EXTENSION, copy, ignore=shutil.ignore_patterns("node_modules", "dist", "*.vsix"))
    shutil.copy(ROOT / "LICENSE", folder)
    npm(copy, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
    npm(copy, "run", "check")
    npm(copy, "test")
    npm(copy, "run", "package")
    return copy / "hone.vsix"


def code_server(user: Path, extensions: Path, *arguments: str | Path) -> list[str | Path]:
    """Its command; what it would keep in the home folder is in ``user``."""
    config = user / "code-server.yaml"
    config.write_text("auth: none\n", encoding="utf-8")
    return [CODE_SERVER, "--config", config, "--user-data-dir", user, "--extensions-dir", extensions, *arguments]


def install(vsix: Path, folder: Path) -> Path:
    """A folder of extensions with this one in it."""
    user, extensions = folder / "user", folder / "extensions"
    user.mkdir()
    command = code_server(user, extensions, "--install-extension", vsix)
    done = subprocess.run(
        command, env=os.environ | {"EXTENSIONS_GALLERY": "{}"}, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return extensions


def write_program(folder: Path) -> Path:
    """A program ``hone`` whose server answers as ``script.json`` beside it says; ``log`` has what it was sent."""
    program = folder / "scripted-hone"
    words = " ".join(f"'{word}'" for word in (sys.executable, "-m", "tests.editors.vscode_server"))
    files = f"'{folder / 'script.json'}' '{folder / 'log'}'"
    program.write_text(f"#!/bin/sh\nPYTHONPATH='{ROOT}' exec {words} {files} \"$@\"\n", encoding="utf-8")
    program.chmod(0o755)
    return program


class Script:
    """What the program of ``write_program`` answers, and what it was sent."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.program = write_program(folder)
        self.set()

    def set(self, *answers: tuple[str, ...], **more: Any) -> None:
        """set((before, answer, alternative, ...), ..., delay=..., confirm=...)."""
        pairs = [[before, list(texts)] for before, *texts in answers]
        new = self._folder / "script.new"
        new.write_text(json.dumps({"answers": pairs, **more}), encoding="utf-8")
        new.replace(self._folder / "script.json")

    def messages(self, method: str) -> list[dict[str, Any]]:
        log = self._folder / "log"
        lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        return [message for message in map(json.loads, lines) if message["method"] == method]

    @property
    def asked(self) -> int:
        """How often the model was, by somebody who waits."""
        return sum(not one["ahead"] for one in self.messages("the model"))

    @property
    def accepted(self) -> int:
        return sum(one["command"] == "hone.accepted" for one in self.messages("workspace/executeCommand"))

    @property
    def pid(self) -> int:
        """Of the newest language server."""
        return int(self.messages("initialize")[-1]["pid"])


class Workbench:
    """One window on one folder."""

    def __init__(
        self, browser: Browser, extensions: Path, folder: Path, env: Mapping[str, str] = {}, *, trust: bool = False
    ) -> None:
        self.folder = folder
        self.workspace = folder / "workspace"
        self.workspace.mkdir(exist_ok=True)
        self._browser, self._extensions, self._trust = browser, extensions, trust
        self._user = folder / "user"
        (self._user / "User").mkdir(parents=True, exist_ok=True)
        (self._user / "User" / "keybindings.json").write_text(json.dumps(KEYS), encoding="utf-8")
        (self._user / "User" / "settings.json").write_text(json.dumps(SETTINGS), encoding="utf-8")
        # No marketplace; and the PATH of the test, which VS Code would replace with that of the user's shell.
        self._env = os.environ | {"EXTENSIONS_GALLERY": "{}", "VSCODE_CLI": "1", **env}
        self.settings: dict[str, Any] = {}
        self._files = 0

    # Starting and ending.

    def start(self, file: str = "a.py", text: str = "") -> None:
        """The window, with a file of that text open."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        output = (self.folder / "code-server.out").open("wb")
        options = ["--auth", "none", "--bind-addr", f"127.0.0.1:{port}", "--disable-telemetry",
                   "--disable-update-check", "--disable-getting-started-override"]  # fmt: skip
        if not self._trust:
            options.append("--disable-workspace-trust")
        self._child = subprocess.Popen(
            code_server(self._user, self._extensions, *options),
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        output.close()
        self._context = self._browser.new_context(viewport={"width": 1000, "height": 560}, color_scheme="light")
        self._context.set_default_timeout(START_S * 1000)
        address = f"http://127.0.0.1:{port}"
        until(lambda: _answers(address + "/healthz"), "code-server", seconds=START_S)
        path = self.write(file, text)
        opened = [["openFile", f"vscode-remote://127.0.0.1:{port}{urllib.parse.quote(str(path))}"]]
        query = urllib.parse.urlencode({"folder": self.workspace, "payload": json.dumps(opened)})
        self.page: Page = self._context.new_page()
        self.page.goto(f"{address}/?{query}")
        self._opened(path)

    def end(self) -> None:
        """With whatever it has started."""
        if hasattr(self, "_context"):
            with contextlib.suppress(Exception):
                self._context.close()
        if not hasattr(self, "_child"):
            return
        family = []
        with contextlib.suppress(psutil.Error):
            parent = psutil.Process(self._child.pid)
            family = [parent, *parent.children(recursive=True)]
        for process in family:
            with contextlib.suppress(psutil.Error):
                process.kill()
        self._child.wait(PATIENCE_S)

    # Files and settings.

    def set(self, **settings: Any) -> None:
        """Settings of the workspace: code-server does not see that the user's have changed on disk.

        ``hone__path`` is ``hone.path``. None removes.
        """
        named = {name.replace("__", "."): value for name, value in settings.items()}
        self.settings = {key: value for key, value in (self.settings | named).items() if value is not None}
        file = self.workspace / ".vscode" / "settings.json"
        file.parent.mkdir(exist_ok=True)
        text = json.dumps(self.settings)
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")

    def write(self, name: str, text: str) -> Path:
        self.file = self.workspace / name
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_bytes(text.encode())
        return self.file

    def open(self, text: str, suffix: str = ".py") -> None:
        """A new file of that text in the place of what is open, with the cursor at its start."""
        self._opened(self._shown(text, suffix))

    def open_notebook(self, *cells: str, languages: Mapping[int, str] = {}) -> None:
        """A new notebook of cells in the place of what is open, in Python where nothing else is said."""
        code: dict[str, Any] = {"cell_type": "code", "execution_count": None, "outputs": []}
        found = [
            {**code, "id": f"c{at}", "source": [text], "metadata": {"vscode": {"languageId": languages[at]}}}
            if at in languages
            else {**code, "id": f"c{at}", "source": [text], "metadata": {}}
            for at, text in enumerate(cells)
        ]
        language = {"language_info": {"name": "python"}}
        notebook = {"cells": found, "metadata": language, "nbformat": 4, "nbformat_minor": 5}
        path = self._shown(json.dumps(notebook, indent=1) + "\n", ".ipynb")
        self.page.locator(".tab.active", has_text=path.name).wait_for()
        until(self.cells.count, "the cells", lambda count: count == len(cells))

    def _shown(self, text: str, suffix: str) -> Path:
        def close() -> int:
            self.press("Control+F12")
            time.sleep(0.05)
            return self.editor.count() + self.cells.count()

        until(close, "the end of the old editors", lambda count: count == 0)
        self._files += 1
        path = self.write(f"file{self._files}{suffix}", text)
        self.page.keyboard.press("Control+p")
        box = self.page.locator(".quick-input-widget input[type=text]")
        box.fill(str(path))
        self.page.locator(".quick-input-list .monaco-list-row", has_text=path.name).first.wait_for()
        self.page.keyboard.press("Enter")
        return path

    def _opened(self, path: Path) -> None:
        self.page.locator(".tab.active", has_text=path.name).wait_for()
        self.editor.locator(".view-line").first.wait_for()
        self.editor.locator(".view-lines").click(position={"x": 300, "y": 5})
        self.press("Control+Home")

    def save(self) -> str:
        self.press("Control+s")
        dirty = self.page.locator(".tab.active.dirty")
        until(dirty.count, "the saving", lambda count: count == 0)
        return self.file.read_bytes().decode()

    # What a user does and sees.

    @property
    def editor(self) -> Locator:
        return self.page.locator(".editor-instance .monaco-editor[data-uri]")

    @property
    def cells(self) -> Locator:
        """Of the notebook that is open."""
        return self.page.locator(".notebookOverlay .code-cell-row")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def type(self, text: str) -> None:
        self.page.keyboard.type(text)

    def code_action(self, title: str, open_menu: Callable[[], object] | None = None) -> None:
        """From the menu of code actions; by key unless it is opened otherwise."""
        row = self.page.locator(".action-widget .monaco-list-row", has_text=title).first

        def opens() -> bool:  # not for an editor that is just getting back the focus
            self.press("Escape")
            with contextlib.suppress(PlaywrightTimeoutError):
                (open_menu or (lambda: self.press("Control+.")))()
                row.wait_for(timeout=3000)
            return row.is_visible()

        until(opens, f"the code action {title!r}")
        row.click()

    def command(self, title: str) -> None:
        """From the palette."""
        self.press("F1")
        self.page.locator(".quick-input-widget input[type=text]").fill(f">{title}")
        self.page.locator(".quick-input-list .monaco-list-row", has_text=title).first.wait_for()
        self.press("Enter")

    @property
    def ghost(self) -> str:
        """The lines of the suggestion that is shown; "" where there is none."""
        return str(self.page.evaluate(GHOST))

    def wait_for_ghost(self, text: str) -> None:
        until(lambda: self.ghost, f"the ghost text {text!r}", lambda ghost: ghost == text)

    def lines(self) -> list[str]:
        """Those on the screen, without ghost text where there is none."""
        found = self.editor.locator(".view-lines .view-line")
        tops = found.evaluate_all(
            "(all) => all.map((one) => [parseFloat(one.style.top), one.textContent.replaceAll('\\u00a0', ' ')])"
        )
        return [str(text) for _, text in sorted(tops)]

    def wait_for_lines(self, *lines: str) -> None:
        until(self.lines, f"the lines {lines}", lambda found: found == list(lines))

    @property
    def status(self) -> str:
        """Hone's entry of the status bar; an icon is its name in parentheses."""
        entry = self.page.locator(".statusbar-item[id$='hone.status']")
        if entry.count() == 0:
            return ""
        script = """(node) => [...node.querySelector("a").childNodes].map((one) => one.nodeType === Node.TEXT_NODE
            ? one.textContent : `(${[...one.classList].filter((name) => name.startsWith("codicon-"))
            .map((name) => name.slice(8)).join(" ")})`).join("").replaceAll("\\u00a0", " ").trim()"""
        return str(entry.first.evaluate(script))

    @property
    def status_details(self) -> str:
        entry = self.page.locator(".statusbar-item[id$='hone.status']").first
        return entry.get_attribute("aria-label") or ""

    def wait_for_status(self, part: str) -> None:
        until(lambda: self.status, f"{part!r} in the status bar", lambda text: part in text, START_S)

    @property
    def told(self) -> list[str]:
        """The notifications on the screen."""
        return self.page.locator(".notifications-toasts .notification-list-item-message").all_inner_texts()

    def wait_for_told(self, part: str) -> None:
        until(lambda: self.told, f"the notification {part!r}", lambda told: any(part in one for one in told))

    def answer(self, part: str, button: str) -> None:
        """Presses a button of the notification."""
        toast = self.page.locator(".notifications-toasts .notification-list-item", has_text=part).first
        toast.hover()
        toast.locator(".monaco-button", has_text=button).first.click()

    def clear_notifications(self) -> None:
        self.press("Control+F11")
        until(lambda: self.told, "no notifications", lambda told: told == [])

    def key_to_ghost(self, key: str, wanted: str | None = None, longest_ms: float = 10_000) -> float | None:
        """Milliseconds from that key to its suggestion on the screen: a new one, or that text. None: too late."""
        found = self.page.evaluate_handle(f"(about) => ({{ promise: ({CLOCK})(about) }})", [wanted, longest_ms])
        self.page.keyboard.type(key)
        took = found.evaluate("(one) => one.promise")
        return None if took is None else float(took)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        time.sleep(0.05)
        return False
