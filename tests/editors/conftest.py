"""A real Neovim per test: driven over its own RPC, with what it draws read back; a private home around it."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest

from tests.editors import rpc
from tests.editors.terminal import Terminal
from tests.lsp.conftest import home, start_daemon
from tests.serve.processes import ROOT

__all__ = ["home", "start_daemon"]  # fixtures

PLUGIN = ROOT / "editors" / "neovim"
# Before any test has its private home.
PREFIX = Path(os.environ.get("HONE_EDITORS") or Path.home() / ".cache" / "hone-editors")
NVIM = Path(os.environ.get("HONE_NVIM") or PREFIX / "nvim" / "root" / "usr" / "bin" / "nvim")
START_S, PATIENCE_S = 30.0, 15.0
T = TypeVar("T")

INIT = """
vim.opt.runtimepath:prepend(%(plugin)s)
vim.g.loaded_python3_provider = 0  -- else a file of Python asks every Python in the PATH for a module, and waits
vim.o.swapfile, vim.o.shada, vim.o.termguicolors, vim.o.more = false, '', true, false
told = {}
vim.notify = function(message) table.insert(told, message) end
%(config)s
"""
GHOST = """
local found = {}
for _, name in ipairs({ 'nvim.lsp.inline_completion', 'hone' }) do
  local space = vim.api.nvim_get_namespaces()[name]
  for _, mark in ipairs(space and vim.api.nvim_buf_get_extmarks(0, space, 0, -1, { details = true }) or {}) do
    local function text(chunks)
      return table.concat(vim.tbl_map(function(chunk) return chunk[1] end, chunks))
    end
    local lines = vim.tbl_map(text, { mark[4].virt_text or {}, unpack(mark[4].virt_lines or {}) })
    found[#found + 1] = table.concat(lines, '\\n')
  end
end
return table.concat(found, '|')
"""


def unavailable(what: str) -> None:
    """A failure where the tests must be complete, else a skip."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(scope="session")
def nvim() -> Path:
    if not os.access(NVIM, os.X_OK):
        unavailable(f"there is no Neovim at {NVIM}; tests/editors/get_nvim.sh gets one, HONE_NVIM names another")
    version = subprocess.run([NVIM, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    assert version >= "NVIM v0.12", version
    return NVIM


@pytest.fixture(scope="session")
def plugin(nvim: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy as a clone has it: without help tags."""
    del nvim
    return shutil.copytree(PLUGIN, tmp_path_factory.mktemp("plugin") / "hone", ignore=shutil.ignore_patterns("tags"))


def until(read: Callable[[], T], what: str, true: Callable[[T], object] = bool, seconds: float = PATIENCE_S) -> T:
    deadline = time.monotonic() + seconds
    while not true(value := read()):
        assert time.monotonic() < deadline, f"{what} did not come about in {seconds:.0f} s; there is {value!r}"
        time.sleep(0.02)
    return value


def connect(socket: Path) -> rpc.Neovim | None:
    try:
        return rpc.Neovim(socket, PATIENCE_S)
    except OSError:
        return None


class Neovim:
    def __init__(self, nvim: Path, init: Path, file: Path, *, clean: bool = True) -> None:
        """``clean``: with the folders of Neovim alone."""
        self.file = file
        socket = file.parent / "nvim.sock"
        self._output = (file.parent / "nvim.out").open("wb")
        self._child = subprocess.Popen(
            [nvim, *(["--clean"] if clean else []), "--headless", "--listen", socket, "-u", init, file],
            stdin=subprocess.DEVNULL, stdout=self._output, stderr=self._output, cwd=file.parent,
        )  # fmt: skip
        connection = until(lambda: connect(socket), "Neovim's start", seconds=START_S)
        assert connection is not None
        self._rpc = connection

    def lua(self, code: str) -> Any:
        """The value that the code returns."""
        return self._rpc.request("nvim_exec_lua", code, [])

    def type(self, keys: str) -> None:
        """All at once, as fast as no one types."""
        self._rpc.request("nvim_input", keys)

    def command(self, text: str) -> str:
        """Its output."""
        return str(self.lua(f"return vim.api.nvim_exec2({json.dumps(text)}, {{ output = true }}).output"))

    @property
    def lines(self) -> list[str]:
        found: list[str] = self.lua("return vim.api.nvim_buf_get_lines(0, 0, -1, false)")
        return found

    @property
    def ghost(self) -> str:
        return str(self.lua(GHOST))

    @property
    def told(self) -> list[str]:
        return list(self.lua("return told") or [])

    @property
    def messages(self) -> str:
        """Of Neovim itself, and what the plugin tells."""
        return "\n".join([self.lua("return vim.api.nvim_exec2('messages', { output = true }).output"), *self.told])

    def wait_for_server(self) -> None:
        code = "return #vim.lsp.get_clients({ bufnr = 0, name = 'hone', method = 'textDocument/inlineCompletion' })"
        until(lambda: self.lua(code), "the language server", lambda count: count == 1, START_S)

    def wait_for_ghost(self, text: str) -> None:
        until(lambda: self.ghost, f"the ghost text {text!r}", lambda ghost: ghost == text)

    def wait_for_line(self, number: int, text: str) -> None:
        until(lambda: self.lines[number], f"line {number} {text!r}", lambda line: line == text)

    def save(self) -> str:
        self.type("<Esc>:w<CR>")
        until(lambda: self.lua("return vim.bo.modified"), "the saving", lambda modified: modified is False)
        return self.file.read_bytes().decode()

    def kill_server(self) -> None:
        (server,) = [one for one in psutil.Process(self._child.pid).children() if "scripted" in " ".join(one.cmdline())]
        server.kill()

    def end(self) -> None:
        """With whatever it has started."""
        family = [psutil.Process(self._child.pid), *psutil.Process(self._child.pid).children(recursive=True)]
        for process in family:
            with contextlib.suppress(psutil.Error):
                process.kill()
        self._child.wait(PATIENCE_S)
        self._rpc.close()
        self._output.close()


@pytest.fixture
def terminal(environment: Path) -> Iterator[Terminal]:
    if shutil.which("tmux") is None:
        unavailable("there is no tmux; apt-get install tmux")
    one = Terminal(environment)
    try:
        yield one
    finally:
        one.end()


Start = Callable[..., Neovim]


def write_init(folder: Path, plugin: Path, config: str) -> Path:
    path = folder / "init.lua"
    path.write_text(INIT % {"plugin": json.dumps(str(plugin)), "config": config}, encoding="utf-8")
    return path


@pytest.fixture
def environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A private home, in which ``hone`` is in the PATH."""
    for name in [name for name in os.environ if name.startswith(("XDG_", "NVIM", "TMUX"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    return home


@pytest.fixture
def start(nvim: Path, plugin: Path, environment: Path) -> Iterator[Start]:
    """start(text, config): an editor with a file of that text open and, unless told otherwise, its server running."""
    with ExitStack() as stack:

        def open_(
            text: str, config: str = "require('hone').setup()", *, filename: str = "a.py", wait: bool = True
        ) -> Neovim:
            file = environment / filename
            file.write_bytes(text.encode())
            editor = Neovim(nvim, write_init(environment, plugin, config), file)
            stack.callback(editor.end)
            if wait:
                editor.wait_for_server()
            return editor

        yield open_


Answering = Callable[..., Path]


@pytest.fixture
def answering(environment: Path, monkeypatch: pytest.MonkeyPatch) -> Answering:
    """answering((before, answer, ...), ..., delay=...): ``hone lsp`` knows these answers, without a model."""

    def write(*answers: tuple[str, ...], delay: float = 0.0) -> Path:
        script, program = environment / "script.json", environment / "bin" / "hone"
        pairs = [[before, list(texts)] for before, *texts in answers]
        script.write_text(json.dumps({"answers": pairs, "delay": delay}), encoding="utf-8")
        program.parent.mkdir(exist_ok=True)
        lines = [
            "#!/bin/sh",
            f'[ "$1" = lsp ] || exec "{sys.executable}" -m assistant "$@"',
            f'PYTHONPATH="{ROOT}" exec "{sys.executable}" -m tests.editors.scripted "{script}"',
        ]
        program.write_text("\n".join(lines) + "\n", encoding="utf-8")
        program.chmod(0o755)
        if not os.environ["PATH"].startswith(str(program.parent)):
            monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
        return program

    return write


Scripted = Callable[..., str]


@pytest.fixture
def scripted(answering: Answering) -> Scripted:
    """scripted((before, answer, ...), ..., delay=...): Lua that sets the plugin up with a server that knows answers."""

    def config(*answers: tuple[str, ...], delay: float = 0.0, more: str = "") -> str:
        answering(*answers, delay=delay)
        return f"require('hone').setup({{ {more} }})"

    return config
