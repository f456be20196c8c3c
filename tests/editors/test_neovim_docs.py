"""What is written about the plugin: the help knows every option and command; what the page says to do works."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.editors.conftest import PLUGIN, Answering, Neovim, Start, until, write_init
from tests.serve.processes import ROOT

PAGE = (ROOT / "docs" / "neovim.md").read_text(encoding="utf-8")
HELP = (PLUGIN / "doc" / "hone.txt").read_text(encoding="utf-8")
READ = """
local config = require('hone.config').defaults
return { options = vim.tbl_keys(config), keys = config.keys, commands = require('hone').commands(),
  functions = vim.tbl_keys(require('hone')) }
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def known(start: Start) -> dict[str, Any]:
    found: dict[str, Any] = start("x\n", "", wait=False).lua(READ)
    return found


def test_the_help_and_the_page_have_every_option_command_and_function(known: dict[str, Any]) -> None:
    assert {"cmd", "filetypes", "keys", "server"} <= set(known["options"])
    assert {"status", "toggle", "restart", "fix", "edit", "fill"} <= set(known["commands"])
    for option in known["options"]:
        tag = "hone-option-keys" if option == "keys" else f"hone-{option}"
        assert f"*{tag}*" in HELP, option
        assert f"\n| `{option}` |" in PAGE, option
    for key, default in known["keys"].items():
        assert f"{key} = '{default}'" in HELP
        assert f"*<Plug>(hone-{key.replace('_', '-')})*" in HELP
        assert f"require('hone').{key}()" in HELP
    for command in known["commands"]:
        assert f"*:Hone-{command}*" in HELP, command
        assert f"`:Hone {command}`" in PAGE.replace("`:Hone`", "`:Hone status`"), command
    own = {"setup", "command", "commands", "config"}  # named in other words, or not for users
    for name in set(known["functions"]) - own:
        assert f"require('hone').{name}(" in HELP, name


def test_every_tag_of_the_help_is_found(plugin: Path, start: Start) -> None:
    """``setup()`` has run ``:helptags``, which complains about a tag that is there twice."""
    editor = start("x\n", "require('hone').setup({ filetypes = {} })", wait=False)
    until(lambda: editor.command("help hone"), "the tags", lambda output: output == "")
    tags = [line.split("\t")[0] for line in (plugin / "doc" / "tags").read_text(encoding="utf-8").splitlines()]
    assert len(tags) > 25
    for tag in (*tags, *re.findall(r"\|(\S+?)\|", HELP)):
        editor.command(f"help {tag}")
    assert editor.messages == ""
    for line in HELP.splitlines():
        assert len(line) <= 79, line


def clone(home: Path, program: Path) -> None:
    """Where the page supposes it, after ``make demo``; ``hone`` is not in the PATH."""
    (home / "hone" / ".venv" / "bin").mkdir(parents=True)
    (home / "hone" / "editors").symlink_to(ROOT / "editors")
    program.rename(home / "hone" / ".venv" / "bin" / "hone")


def test_installed_as_the_page_says(nvim: Path, environment: Path, answering: Answering) -> None:
    """By a stranger: the blocks of the page, and nothing else."""
    clone(environment, answering(("return ", "a + b")))
    (PLUGIN / "doc" / "tags").unlink(missing_ok=True)  # as in a new clone
    (make, script, *_), (config, *_) = blocks("sh"), blocks("lua")
    assert "make demo" in make
    subprocess.run(["sh", "-euc", script], cwd=environment, check=True, capture_output=True)
    init = environment / ".config" / "nvim" / "init.lua"
    init.parent.mkdir(parents=True)
    init.write_text(config, encoding="utf-8")
    file = environment / "a.py"
    file.write_text("def add(a, b):\n    return\n", encoding="utf-8")
    editor = Neovim(nvim, init, file, clean=False)
    try:
        editor.wait_for_server()
        editor.type("jA ")
        editor.wait_for_ghost("a + b")
        editor.type("<Tab>")
        editor.wait_for_line(1, "    return a + b")
        assert editor.command("Hone status").startswith("Hone: ")
        editor.command("help hone")
        assert editor.lua("return vim.fs.basename(vim.api.nvim_buf_get_name(0))") == "hone.txt"
        assert editor.messages == ""
    finally:
        editor.end()


LAZY = """
-- What lazy.nvim does with this spec: nothing before the event; then the folder is put into the runtimepath, its plugin
-- files are sourced, its main module is set up, and the event is told to those who came with it.
local spec = %s
local folder = vim.fs.normalize(spec.dir)
vim.api.nvim_create_autocmd(spec.event, {
  once = true,
  callback = function(event)
    local before = vim.tbl_map(function(one) return one.group end, vim.api.nvim_get_autocmds({ event = spec.event }))
    vim.opt.runtimepath:append(folder)
    for name in vim.fs.dir(folder .. '/plugin') do
      vim.cmd.source(folder .. '/plugin/' .. name)
    end
    require(spec.name).setup(spec.opts)
    for _, one in ipairs(vim.api.nvim_get_autocmds({ event = spec.event })) do
      if one.group and not vim.tbl_contains(before, one.group) then
        vim.api.nvim_exec_autocmds(spec.event, { buffer = event.buf, group = one.group, modeline = false })
      end
    end
  end,
})
"""


def test_loaded_late_as_lazy_nvim_loads_it(nvim: Path, environment: Path, answering: Answering) -> None:
    clone(environment, answering(("return ", "a + b")))
    (spec,) = [block for block in blocks("lua") if "event =" in block]
    file = environment / "a.py"
    file.write_text("def add(a, b):\n    return\n", encoding="utf-8")
    editor = Neovim(nvim, write_init(environment, environment / "nothing", LAZY % spec), file)
    try:
        assert editor.lua("return vim.fn.exists(':Hone')") == 0, "not yet"
        editor.type("jA")
        editor.wait_for_server()
        editor.type(" ")
        editor.wait_for_ghost("a + b")
        editor.type("<Tab>")
        editor.wait_for_line(1, "    return a + b")
        assert editor.lua("return vim.fn.exists(':Hone')") == 2
        assert editor.messages == ""
    finally:
        editor.end()


def test_as_a_package_of_neovim(nvim: Path, environment: Path, answering: Answering) -> None:
    """``:packadd`` is what ``vim.pack.add`` ends with."""
    answering(("return ", "a + b"))
    folder = environment / ".local" / "share" / "nvim" / "site" / "pack" / "core" / "opt"
    folder.mkdir(parents=True)
    (folder / "hone").symlink_to(PLUGIN)
    file = environment / "a.py"
    file.write_text("def add(a, b):\n    return\n", encoding="utf-8")
    config = "vim.cmd.packadd('hone')\nrequire('hone').setup({ keys = { accept = '<C-y>' } })"
    init = write_init(environment, environment / "nothing", config)
    editor = Neovim(nvim, init, file, clean=False)
    try:
        editor.wait_for_server()
        editor.type("jA ")
        editor.wait_for_ghost("a + b")
        editor.type("<C-y>")
        editor.wait_for_line(1, "    return a + b")
    finally:
        editor.end()
