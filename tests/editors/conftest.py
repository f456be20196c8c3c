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
    """A copy with its help tags made, as plugin managers make them."""
    folder = shutil.copytree(PLUGIN, tmp_path_factory.mktemp("plugin") / "hone")
    command: list[str | Path] = [nvim, "--clean", "--headless", "-c", f"helptags {folder / 'doc'}", "-c", "quitall"]
    subprocess.run(command, capture_output=True, check=True, timeout=START_S)
    return folder


def until(read: Callable[[], T], what: str, true: Callable[[T], object] = bool, seconds: float = PATIENCE_S) -> T:
    deadline = time.monotonic() + seconds
    while not true(value := read()):
        assert time.monotonic() < deadline, f"{what} did not come about in {seconds:.0f} s; there is {value!r}"
        time.sleep(0.02)
    return value


class Neovim:
    def __init__(self, nvim: Path, init: Path, file: Path) -> None:
        self._nvim, self.file = nvim, file
        self._socket = init.parent / "nvim.sock"
        self._output = (init.parent / "nvim.out").open("wb")
        self._child = subprocess.Popen(
            [nvim, "--clean", "--headless", "--listen", self._socket, "-u", init, file],
            stdin=subprocess.DEVNULL, stdout=self._output, stderr=self._output, cwd=file.parent,
        )  # fmt: skip
        until(self._socket.exists, "Neovim's start", seconds=START_S)

    def _remote(self, kind: str, text: str) -> str:
        done = subprocess.run(
            [self._nvim, "--clean", "--headless", "--server", self._socket, kind, text],
            capture_output=True, text=True, timeout=PATIENCE_S, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, f"{text}: {done.stdout}{done.stderr}"
        return done.stdout

    def lua(self, code: str) -> Any:
        """The value that the code returns."""
        quoted = code.replace("'", "''")
        answer = self._remote("--remote-expr", f"luaeval('vim.json.encode({{ v = assert(load(_A))() }})', '{quoted}')")
        found = json.loads(answer)
        return found.get("v") if isinstance(found, dict) else None

    def type(self, keys: str) -> None:
        """All at once, as fast as no one types."""
        self._remote("--remote-send", keys)

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

    def end(self) -> None:
        """With whatever it has started."""
        family = [psutil.Process(self._child.pid), *psutil.Process(self._child.pid).children(recursive=True)]
        for process in family:
            with contextlib.suppress(psutil.Error):
                process.kill()
        self._child.wait(PATIENCE_S)
        self._output.close()


Start = Callable[..., Neovim]


def write_init(folder: Path, plugin: Path, config: str) -> Path:
    path = folder / "init.lua"
    path.write_text(INIT % {"plugin": json.dumps(str(plugin)), "config": config}, encoding="utf-8")
    return path


@pytest.fixture
def start(nvim: Path, plugin: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """start(text, config): an editor with a file of that text open and, unless told otherwise, its server running."""
    for name in [name for name in os.environ if name.startswith(("XDG_", "NVIM"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    with ExitStack() as stack:

        def open_(
            text: str, config: str = "require('hone').setup()", *, filename: str = "a.py", wait: bool = True
        ) -> Neovim:
            file = home / filename
            file.write_bytes(text.encode())
            editor = Neovim(nvim, write_init(home, plugin, config), file)
            stack.callback(editor.end)
            if wait:
                editor.wait_for_server()
            return editor

        yield open_


Scripted = Callable[..., str]


@pytest.fixture
def scripted(home: Path) -> Scripted:
    """scripted((before, answer, ...), ..., delay=...): Lua that sets the plugin up with a server that knows answers."""

    def config(*answers: tuple[str, ...], delay: float = 0.0, more: str = "") -> str:
        script = home / "script.json"
        pairs = [[before, list(texts)] for before, *texts in answers]
        script.write_text(json.dumps({"answers": pairs, "delay": delay}), encoding="utf-8")
        command = ", ".join(json.dumps(str(word)) for word in (sys.executable, "-m", "tests.editors.scripted", script))
        return (
            f"require('hone').setup({{ cmd = {{ {command} }}, "
            f"cmd_env = {{ PYTHONPATH = {json.dumps(str(ROOT))} }}, {more} }})"
        )

    return config
