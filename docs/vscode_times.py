"""From a key to ghost text in VS Code, and the pictures for its extension: with the embedded model, in Chromium.

PYTHONPATH=. python docs/vscode_times.py [--pictures]
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

from assistant import daemon
from tests.editors import vscode
from tests.editors.typed import LINES, SHOP, WARM
from tests.editors.vscode import Workbench, until
from tests.serve.processes import ROOT, private

PICTURES = ROOT / "editors" / "vscode" / "images"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pictures", action="store_true", help="also take the pictures")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        vsix = vscode.build(folder)
        with private(folder):
            browser = playwright.chromium.launch(executable_path=vscode.CHROMIUM, args=vscode.ARGUMENTS)
            path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
            window = Workbench(browser, vscode.install(vsix, folder), folder, {"PATH": path})
            try:
                window.start("shop.py", SHOP)
                window.wait_for_status("sparkle")
                if arguments.pictures:
                    take_pictures(window)
                measure(window)
            finally:
                window.end()
                browser.close()
                daemon.stop()
    return 0


def take_pictures(window: Workbench) -> None:
    for _ in range(2):  # the first one waits for the model
        window.open(SHOP)
        window.press("Control+End")
        window.type("def revenue(items):\n")
        window.press("Alt+\\")
        until(lambda: window.ghost, "ghost text", seconds=90)
    window.press("Control+F11")
    time.sleep(1)
    window.page.screenshot(path=PICTURES / "ghost.png")
    window.set(hone__confirmEdits=True)
    window.open(SHOP + "def cheapest(items):\n    ...\n")
    window.press("Control+End", "ArrowUp", "End")
    window.code_action("Fill this hole")
    window.page.locator(".bulk-edit-panel .monaco-list-row .edit-checkbox").last.click()
    time.sleep(1)
    window.page.screenshot(path=PICTURES / "preview.png")
    window.page.locator(".bulk-edit-panel .monaco-button", has_text="Discard").click()
    window.set(hone__confirmEdits=None)


def measure(window: Workbench) -> None:
    window.set(hone__eagerness="high")  # how fast, not how sure
    asked: list[float] = []
    along: list[float] = []
    for line in (*WARM, *LINES):
        window.open(SHOP)
        window.press("Control+End")
        for at, part in enumerate(line[:-1].split("\n")):
            window.press(*(["Enter", "Shift+Home", "Delete"] if at else []))
            window.page.keyboard.insert_text(part)
        # At once: what is suggested in between is not seen, or would be typed along.
        took = window.key_to_ghost(line[-1], longest_ms=4000)
        if took is None or line in WARM:
            continue
        asked.append(took)
        time.sleep(0.3)
        ghost = window.ghost
        if len(ghost) > 1 and ghost[0].isprintable() and ghost[0] != " ":
            took = window.key_to_ghost(ghost[0], ghost[1:])
            along += [] if took is None else [took]
    load = os.getloadavg()[0]
    rows = {"what is typed along": along, "a new line, asked of the model": asked}
    for what, times in rows.items():
        print(f"{what}: {statistics.median(times):.0f} ms ({min(times):.0f} to {max(times):.0f}), {len(times)}")  # noqa: T201
    print(json.dumps({"lines": len(LINES), "load": load, "asked": asked, "along": along}))  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
