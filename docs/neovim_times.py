"""From a key to ghost text in Neovim, with the embedded model: with the plugin, and with Neovim's own pause.

PYTHONPATH=. python docs/neovim_times.py
"""

import json
import os
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

from assistant import daemon
from tests.editors.conftest import GHOST, NVIM, PLUGIN, Neovim, write_init
from tests.editors.typed import LINES, SHOP, WARM
from tests.serve.processes import ROOT, private

CLOCK = f"""
local function ghost() {GHOST} end
vim.on_key(function() pressed = wanted and vim.uv.hrtime() end)
vim.api.nvim_set_decoration_provider(vim.api.nvim_create_namespace('clock'), {{
  on_end = function()  -- of a drawing of the screen
    local shown = wanted and vim.api.nvim_get_current_line() == wanted.line and ghost() or ''
    if shown ~= '' and shown == (wanted.ghost or shown) then
      took, wanted = (vim.uv.hrtime() - pressed) / 1e6, nil
    end
  end,
}})
"""
LONGEST_S = 4.0
"""A line without a suggestion is left out."""


def main() -> int:
    page = (ROOT / "docs" / "neovim.md").read_text(encoding="utf-8")
    (alone,) = [one for one in re.findall(r"```lua\n(.*?)```", page, re.DOTALL) if "vim.lsp.config('hone'" in one]
    eager = "init_options = { eagerness = 'high' }, "  # how fast, not how sure
    ways = {
        "plugin": "require('hone').setup({ server = { eagerness = 'high' } })",
        "Neovim alone": alone.replace("vim.lsp.config('hone', { ", f"vim.lsp.config('hone', {{ {eager}"),
    }
    assert eager in ways["Neovim alone"]
    for name, config in ways.items():
        with tempfile.TemporaryDirectory() as folder, private(Path(folder)):
            os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
            file = Path(folder) / "shop.py"
            file.write_text(SHOP, encoding="utf-8")
            editor = Neovim(NVIM, write_init(Path(folder), PLUGIN, config), file)
            try:
                editor.wait_for_server()
                measure(name, editor)
            finally:
                editor.end()
                daemon.stop()
    return 0


def measure(name: str, editor: Neovim) -> None:
    editor.lua(CLOCK)
    asked: list[float] = []
    along: list[float] = []
    for line in (*WARM, *LINES):
        editor.type("<Esc>")
        text = json.dumps((SHOP + line[:-1]).split("\n"))
        editor.lua(f"vim.api.nvim_buf_set_lines(0, 0, -1, false, vim.json.decode({json.dumps(text)}))")
        time.sleep(0.5)
        took = keys_to_ghost(editor, "GA", line[-1], whole=line.rsplit("\n", 1)[-1])
        if took is None or line in WARM:
            continue
        asked.append(took)
        time.sleep(0.3)
        ghost = editor.ghost
        if len(ghost) > 1 and ghost[0].isprintable() and ghost[0] != " ":
            took = keys_to_ghost(editor, "", ghost[0], whole=editor.lines[-1] + ghost[0], rest=ghost[1:])
            along += [] if took is None else [took]
    for what, times in (("what is typed along", along), ("a new line, asked of the model", asked)):
        shown = f"{statistics.median(times):.0f} ms ({min(times):.0f} to {max(times):.0f}), {len(times)}"
        print(f"{name}: {what}: {shown}")  # noqa: T201
    loaded = os.getloadavg()[0]
    print(json.dumps({"way": name, "lines": len(LINES), "load": loaded, "asked": asked, "along": along}))  # noqa: T201


def keys_to_ghost(editor: Neovim, before: str, key: str, *, whole: str, rest: str | None = None) -> float | None:
    """Milliseconds from the last of these keys, typed at once, to the drawing of a suggestion: any, or that one.

    ``whole`` is the line when all are typed.
    """
    wanted = json.dumps(json.dumps({"line": whole} | ({} if rest is None else {"ghost": rest})))
    editor.lua(f"took, wanted = nil, vim.json.decode({wanted})")
    editor.type(before + ("<LT>" if key == "<" else key))
    deadline = time.monotonic() + (LONGEST_S)
    while time.monotonic() < deadline:
        if (took := editor.lua("return took")) is not None:
            return float(took)
        time.sleep(0.05)
    editor.lua("wanted = nil")
    return None


if __name__ == "__main__":
    sys.exit(main())
