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
from tests.editors.vscode import Workbench, until
from tests.serve.processes import ROOT, private

PICTURES = ROOT / "editors" / "vscode" / "images"
SHOP = """from dataclasses import dataclass


@dataclass
class Item:
    name: str
    price: float
    count: int = 1


def total(items):
    result = 0
    for item in items:
        result += item.price * item.count
    return result


"""
LINES = [
    "def cheapest(items):\n    return ", "def names(items):\n    return [", "def find(items, name):\n    for item in ",
    "def largest(numbers):\n    best = ", "class Cart:\n    def __init__(self, items):\n        self.",
    "items = [Item(", "import ", "from typing import ", "def add(a, b):\n    return ", "with open(", "print(",
    "def is_empty(items):\n    return len(", "try:\n    total(", "if __name__ == ", "for item in ",
    "assert total([]) == ", "def clear(items):\n    items.", "def count(items):\n    return sum(",
    "def is_free(item):\n    return item.", "def mean(numbers):\n    return ",
]  # fmt: skip


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
    for line in LINES:
        window.open(SHOP)
        window.press("Control+End")
        for at, part in enumerate(line[:-1].split("\n")):
            window.press(*(["Enter", "Shift+Home", "Delete"] if at else []))
            window.page.keyboard.insert_text(part)
        time.sleep(0.5)
        took = window.key_to_ghost(line[-1])
        if took is None:
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
