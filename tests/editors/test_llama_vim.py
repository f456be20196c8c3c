"""llama.vim, as it comes from llama.cpp, in a real Neovim that asks a server of ours over a socket.

HONE_LLAMA_VIM names another copy of it, such as a clone of the plugin's own repository.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from assistant import runtime
from tests.editors.conftest import PREFIX, START_S, Neovim, unavailable, until
from tests.editors.terminal import Terminal, compare
from tests.serve.conftest import Listen, Serve, Served, listen, serve
from tests.serve.processes import process

__all__ = ["listen", "serve"]  # fixtures

LLAMA_VIM = Path(os.environ.get("HONE_LLAMA_VIM") or PREFIX / "llama.vim")
ADD = "def add(a, b):\n    return\n"

# The name of the address has changed in the course of time. A clone starts itself, llama.cpp's copy is told to.
INIT = """
set noswapfile shada= termguicolors
let g:loaded_python3_provider = 0
set runtimepath^={plugin}
runtime autoload/llama.vim
for name in ['endpoint', 'endpoint_fim']
  if has_key(g:llama_config, name)
    let g:llama_config[name] = '{address}/infill'
  endif
endfor
{config}
call llama#init()
"""
GHOST = """
local first, rest = '', {}
local space = vim.api.nvim_get_namespaces()['vt_fim']
for _, mark in ipairs(space and vim.api.nvim_buf_get_extmarks(0, space, 0, -1, { details = true }) or {}) do
  for _, chunk in ipairs(mark[4].virt_text or {}) do
    first = first .. (chunk[2]:find('hint') and chunk[1] or '')
  end
  for _, line in ipairs(mark[4].virt_lines or {}) do
    rest[#rest + 1] = '\\n' .. line[1][1]
  end
end
return first .. table.concat(rest)
"""


@dataclass(frozen=True)
class Asked:
    """A request that has been answered."""

    body: dict[str, Any]
    status: int


class Listening:
    """Writes down what ``/infill`` is asked, between the socket and the app."""

    def __init__(self, app: ASGIApp, asked: list[Asked]) -> None:
        self._app, self._asked = app, asked

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = bytearray()
        status = 0

        async def hear() -> Message:
            message = await receive()
            body.extend(message.get("body", b""))
            return message

        async def say(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        await self._app(scope, hear, say)
        if scope["path"] == "/infill":
            self._asked.append(Asked(json.loads(body), status))


@pytest.fixture
def asked() -> list[Asked]:
    return []


Knows = Callable[..., tuple[str, Served]]


@pytest.fixture
def knows(serve: Serve, listen: Listen, asked: list[Asked]) -> Knows:
    """knows(prefix, answer, **of the denoiser): the address of a server that knows the answer, and the server."""

    def start(prefix: str, answer: str, **denoiser: Any) -> tuple[str, Served]:
        served = serve(prefix, answer, **denoiser)
        served.app.add_middleware(Listening, asked=asked)
        return listen(served), served

    return start


@pytest.fixture
def llama_vim() -> Path:
    if not (LLAMA_VIM / "autoload" / "llama.vim").is_file():
        unavailable(f"there is no llama.vim in {LLAMA_VIM}; tests/editors/get_llama_vim.sh gets it")
    return LLAMA_VIM


class Editor(Neovim):
    @property
    def ghost(self) -> str:
        return str(self.lua(GHOST))

    @property
    def messages(self) -> str:
        return self.command("messages")


Open = Callable[..., Editor]


def write_init(folder: Path, plugin: Path, address: str, config: str = "") -> Path:
    path = folder / "init.vim"
    path.write_text(INIT.format(plugin=plugin, address=address, config=config), encoding="utf-8")
    return path


@pytest.fixture
def open_(nvim: Path, llama_vim: Path, environment: Path) -> Iterator[Open]:
    """open_(text, address, config=...): an editor with a file of that text; ``config`` is in Vim's language."""
    with ExitStack() as stack:

        def start(text: str, address: str, config: str = "") -> Editor:
            file = environment / "a.py"
            file.write_text(text, encoding="utf-8")
            editor = Editor(nvim, write_init(environment, llama_vim, address, config), file)
            stack.callback(editor.end)
            return editor

        yield start


def test_ghost_text_is_seen_accepted_and_saved(open_: Open, knows: Knows, asked: list[Asked]) -> None:
    address, served = knows("def add(a, b):\n    return ", "a + b")
    editor = open_(ADD, address)
    editor.type("jA ")
    editor.wait_for_ghost("a + b")
    assert editor.lines == ["def add(a, b):", "    return "], "it is only drawn"
    editor.type("<Tab>")
    editor.wait_for_line(1, "    return a + b")
    assert editor.save() == "def add(a, b):\n    return a + b\n"
    assert editor.messages == ""
    completion = next(one for one in asked if one.body["prompt"] == "    return ")
    assert completion.body["input_prefix"] == "def add(a, b):\n"
    assert {one.status for one in asked} == {200}
    counted = f'hone_requests_total{{route="/infill",status="200"}} {len(asked):.1f}'
    assert counted in served.metrics.text().decode()


def test_several_lines(open_: Open, knows: Knows) -> None:
    address, _ = knows("def add(a, b):\n", "    c = a + b\n    return c")
    editor = open_("def add(a, b):\n\n\n\nx = 1\n", address)
    editor.type("jA<Space><BS>")
    editor.wait_for_ghost("    c = a + b\n    return c")
    editor.type("<Tab>")
    editor.wait_for_line(2, "    return c")
    assert editor.save() == "def add(a, b):\n    c = a + b\n    return c\n\n\nx = 1\n"
    assert editor.messages == ""


def test_the_first_line_alone(open_: Open, knows: Knows) -> None:
    address, _ = knows("def add(a, b):\n", "    c = a + b\n    return c")
    editor = open_("def add(a, b):\n\n\n\nx = 1\n", address)
    editor.type("jA<Space><BS>")
    editor.wait_for_ghost("    c = a + b\n    return c")
    editor.type("<S-Tab>")
    editor.wait_for_line(1, "    c = a + b")
    assert "return" not in editor.save()
    assert editor.messages == ""


def test_a_key_does_what_it_did_where_there_is_no_answer(open_: Open, knows: Knows, asked: list[Asked]) -> None:
    """And the line about speeds, which the plugin writes even then, is no error."""
    address, _ = knows("def add(a, b):\n    return ", "a + b", on_call=lambda name: time.sleep(0.4))
    editor = open_(ADD, address, "let g:llama_config.t_max_prompt_ms = 0 | let g:llama_config.t_max_predict_ms = 0.001")
    editor.type("jA ")
    until(lambda: asked, "a request")
    time.sleep(0.3)
    assert editor.ghost == ""
    assert editor.messages == ""
    editor.type("<Tab>x")
    until(lambda: editor.lines[1], "the tab", lambda line: line.split() == ["return", "x"])
    assert editor.messages == ""


def test_what_was_yanked_goes_along_and_warms_nothing_up(open_: Open, knows: Knows, asked: list[Asked]) -> None:
    address, served = knows("def add(a, b):\n    return ", "a + b")
    editor = open_("one = 1\ntwo = 2\nthree = 3\n", address, "let g:llama_config.ring_update_ms = 100")
    editor.type("3yy")
    warm_up = until(lambda: next((one for one in asked if one.body["input_extra"]), None), "the warm-up")
    assert warm_up is not None
    assert [extra["text"] for extra in warm_up.body["input_extra"]] == ["one = 1\ntwo = 2\nthree = 3\n"]
    assert (warm_up.status, warm_up.body["prompt"]) == (200, "")
    assert served.metrics.empty_by_reason() == {}, "nobody has asked for a completion"
    assert not served.denoiser.calls, "the model was not asked"
    editor.lua("vim.api.nvim_buf_set_lines(0, 0, -1, false, { 'def add(a, b):', '    return' })")
    editor.type("jA ")
    editor.wait_for_ghost("a + b")
    assert asked[-1].body["input_extra"] == warm_up.body["input_extra"]
    assert editor.messages == "3 lines yanked"


def test_on_the_screen(terminal: Terminal, nvim: Path, llama_vim: Path, environment: Path, knows: Knows) -> None:
    address, _ = knows("def add(a, b):\n    return ", "a + b")
    file = environment / "a.py"
    file.write_text(ADD + "\n\nadd(1, 2)\n", encoding="utf-8")
    init = write_init(environment, llama_vim, address, "set laststatus=0 | let g:llama_config.show_info = 1")
    terminal.open([nvim, "--clean", "-u", init, "a.py"], {"TERM": "tmux-256color"})
    until(terminal.text, "the file", lambda text: "add(1, 2)" in text, START_S)
    terminal.press("j", "A", " ")
    compare(terminal, "llama-vim")
    terminal.press("Tab")
    terminal.press("Escape", ":w", "Enter")
    saved = "def add(a, b):\n    return a + b\n\n\nadd(1, 2)\n"
    until(file.read_text, "the saved file", lambda text: text == saved)


@pytest.mark.weights
def test_with_hone_serve_and_the_embedded_model(open_: Open, environment: Path) -> None:
    with process("serve", "--port", "0"):

        def ready() -> runtime.Endpoint | None:
            found = runtime.find()
            return found if found is not None and found.ready else None

        daemon = until(ready, "the daemon", seconds=60)
        assert daemon is not None
        address = f"http://{daemon.host}:{daemon.port}"
        editor = open_("import os\n\n\ndef add(a, b):\n    ret\n\n\nprint(add(1, 2))\n", address)
        editor.type("4jA")

        def appears() -> bool:
            editor.type("<Left><Right>")
            time.sleep(0.7)  # it asks at most every 0.6 s
            return editor.ghost != ""

        until(appears, "any ghost text", seconds=60)
        body = {"input_prefix": "import os\n\n\ndef add(a, b):\n", "prompt": "    ret",
                "input_suffix": "\n\n\nprint(add(1, 2))\n\n"}  # fmt: skip
        ours = httpx.post(f"{address}/infill", json=body, timeout=60).json()["content"]
        # The same beginning: the plugin gives the model a quarter of a second, and this request none to keep to.
        shown = editor.ghost
        assert shown.startswith("urn")
        assert ours.startswith("urn")
        editor.type("<Tab>")
        editor.wait_for_line(4, "    ret" + shown.partition("\n")[0])
        compile(editor.save(), "a.py", "exec")
        assert editor.messages == ""
        metrics = httpx.get(f"{address}/metrics", timeout=60).text
    assert 'hone_requests_total{route="/infill",status="200"}' in metrics
    assert 'hone_requests_total{route="/infill",status="4' not in metrics
