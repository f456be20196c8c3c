"""The extension in a real VS Code workbench: what is seen, what keys and commands do, what is in the file."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Browser, sync_playwright

from assistant import daemon as real_daemon
from tests.editors import vscode
from tests.editors.conftest import unavailable
from tests.editors.vscode import START_S, Script, Workbench, until
from tests.lsp.conftest import StartDaemon
from tests.serve.processes import ROOT, private

pytestmark = pytest.mark.timeout(400)  # of which the first test waits for the package and the window
ADD = "def add(a, b):\n    return\n"


@pytest.fixture(scope="module")
def extensions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not vscode.CODE_SERVER.exists():
        unavailable(
            f"there is no VS Code at {vscode.CODE_SERVER}; tests/editors/get_vscode.sh gets one, "
            "HONE_CODE_SERVER names another"
        )
    folder = tmp_path_factory.mktemp("vscode")
    vsix = vscode.build(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder))
        return vscode.install(vsix, folder)


@pytest.fixture(scope="module")
def browser(extensions: Path) -> Iterator[Browser]:
    if not Path(vscode.CHROMIUM).exists():
        unavailable(f"{vscode.CHROMIUM} is not there: install chromium, or set HONE_CHROMIUM")
    with sync_playwright() as playwright:
        one = playwright.chromium.launch(executable_path=vscode.CHROMIUM, args=vscode.ARGUMENTS)
        yield one
        one.close()


@pytest.fixture(scope="module")
def shared(
    browser: Browser, extensions: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Workbench, Script]]:
    """One window for all tests that need no daemon: opening one takes longer than most of them."""
    with private(tmp_path_factory.mktemp("window")) as folder:
        script = Script(folder)
        one = Workbench(browser, extensions, folder)
        one.set(hone__path=str(script.program))
        try:
            one.start()
            one.wait_for_status("sparkle")
            yield one, script
        finally:
            one.end()


@pytest.fixture
def window(shared: tuple[Workbench, Script]) -> Workbench:
    """With its own settings only, and nothing on the screen."""
    one, script = shared
    script.set()
    one.settings = {"hone.path": one.settings["hone.path"]}
    one.set()
    one.press("Escape")
    one.clear_notifications()
    one.wait_for_status("sparkle")
    return one


@pytest.fixture
def script(shared: tuple[Workbench, Script]) -> Script:
    return shared[1]


# Ghost text.


def test_ghost_text_is_seen_typed_along_and_accepted(window: Workbench, script: Script) -> None:
    script.set(("return ", "a + b"))
    window.open(ADD)
    window.press("ArrowDown", "End")
    window.type(" ")
    window.wait_for_ghost("a + b")
    assert window.file.read_text() == ADD, "it is only drawn"
    assert re.fullmatch(r"\(sparkle\) Hone \d+ ms", window.status)
    asked, accepted = script.asked, script.accepted
    for key, rest in (("a", " + b"), (" ", "+ b"), ("+", " b")):
        window.type(key)
        window.wait_for_ghost(rest)
    assert script.asked == asked, "what is typed along is known"
    window.press("Escape")
    window.wait_for_ghost("")
    window.press("Alt+\\")
    window.wait_for_ghost(" b")
    assert script.messages("textDocument/inlineCompletion")[-1]["trigger"] == 1, "asked by hand"
    window.press("Tab")
    window.wait_for_ghost("")
    assert window.save() == "def add(a, b):\n    return a + b\n"
    until(lambda: script.accepted, "the acceptance", lambda count: count == accepted + 1)
    assert window.told == []


def test_alternatives_are_cycled_through(window: Workbench, script: Script) -> None:
    script.set(("x = ", "one", "two", "three"))
    window.open("x =\n")
    window.press("End")
    window.type(" ")
    window.wait_for_ghost("one")
    window.press("Alt+\\")
    for key, text in (("Alt+]", "two"), ("Alt+]", "three"), ("Alt+[", "two")):
        window.press(key)
        window.wait_for_ghost(text)
    window.press("Tab")
    window.wait_for_ghost("")
    assert window.save() == "x = two\n"


def test_by_words_and_the_rest(window: Workbench, script: Script) -> None:
    script.set(("# ", "for a in b:\n    use(a)\n    done(a)"))
    window.open("#\n")
    window.press("End")
    window.type(" ")
    window.wait_for_ghost("for a in b:\n    use(a)\n    done(a)")
    accepted = script.accepted
    window.press("Control+ArrowRight")
    window.wait_for_ghost(" a in b:\n    use(a)\n    done(a)")
    window.press("Control+ArrowRight")
    window.wait_for_ghost("a in b:\n    use(a)\n    done(a)")
    assert script.accepted == accepted, "not before all of it is"
    window.press("Tab")
    window.wait_for_ghost("")
    assert window.save() == "# for a in b:\n    use(a)\n    done(a)\n"
    until(lambda: script.accepted, "the acceptance", lambda count: count == accepted + 1)


def test_text_of_all_scripts_before_and_in_it(window: Workbench, script: Script) -> None:
    script.set(("'ä€𝄞', ", "'größe', '𝄞', name"))
    window.open("# ä€𝄞\ns = ['ä€𝄞',]\n")
    window.press("ArrowDown", "End", "ArrowLeft")
    window.type(" ")
    until(lambda: window.ghost, "ghost text", lambda ghost: ghost.startswith("'größe', '𝄞', name"))
    window.type("'g")
    until(lambda: window.ghost, "the rest", lambda ghost: ghost.startswith("röße', '𝄞', name"))
    window.press("Tab")
    window.wait_for_ghost("")
    # VS Code itself puts the cursor one column too far to the left for each such character in what is accepted.
    window.press("End")
    window.type("  # 𝄞")
    assert window.save() == "# ä€𝄞\ns = ['ä€𝄞', 'größe', '𝄞', name]  # 𝄞\n"


def test_brackets_and_quotes_that_close_themselves(window: Workbench, script: Script) -> None:
    script.set(("prin", 't("hello")'))
    window.set(editor__autoClosingBrackets="always", editor__autoClosingQuotes="always")
    window.open("\n")
    window.type("prin")
    window.wait_for_ghost('t("hello")')
    window.type('t("h')
    until(window.lines, "the closed line", lambda lines: lines[0] in ('print("h")', 'print("hello")'))
    window.wait_for_ghost("ello")
    window.press("Tab")
    window.wait_for_ghost("")
    assert window.save() == 'print("hello")\n'


def test_line_ends_of_the_file(window: Workbench, script: Script) -> None:
    script.set(("b = ", "1\r\nc = 2"))
    window.open("a\r\nb =\r\n")
    window.press("ArrowDown", "End")
    window.type(" ")
    window.wait_for_ghost("1\nc = 2")
    window.press("Tab")
    window.wait_for_ghost("")
    assert window.save() == "a\r\nb = 1\r\nc = 2\r\n"


def test_an_answer_for_a_text_that_has_changed_is_not_shown(window: Workbench, script: Script) -> None:
    script.set(("x = ", "old"), ("x = y", "new"), delay=0.5)
    window.open("x =\n")
    window.press("End")
    asked = script.asked
    window.type(" ")
    until(lambda: script.asked, "the request", lambda count: count > asked)
    window.type("y")
    seen = set()

    def look() -> str:
        ghost = window.ghost
        seen.add(ghost)
        return ghost

    until(look, "the new one", lambda ghost: ghost == "new")
    assert seen == {"", "new"}


# Notebooks.


def test_a_cell_of_a_notebook(window: Workbench, script: Script) -> None:
    """Only a model that sees the cell above knows the answers."""
    script.set(("radius = 2\n\narea = ", "3 * radius"), ("area = 3 * radius\n\ndef f():\n    ", "return area"))
    window.open_notebook("radius = 2", "area =", "def f():\n    ...")
    window.cells.nth(1).locator(".view-lines").click()
    window.press("Control+End")
    window.type(" ")
    window.wait_for_ghost("3 * radius")
    assert sources(window)[1] == "area =", "it is only drawn"
    window.press("Tab")
    window.wait_for_ghost("")
    window.save()
    assert sources(window) == ["radius = 2", "area = 3 * radius", "def f():\n    ..."]
    window.cells.nth(2).locator(".view-line").last.click()
    window.command("Hone: Fill Hole")
    last = window.cells.nth(2).locator(".view-line").last
    until(last.inner_text, "the edit", lambda text: "return" in text)
    window.save()
    assert sources(window) == ["radius = 2", "area = 3 * radius", "def f():\n    return area"]
    until(lambda: [one for one in window.told if "Hone" in one], "the end of the progress", lambda told: told == [])


def test_a_rename_in_a_notebook_goes_on_in_its_other_cells(window: Workbench, script: Script) -> None:
    del script
    window.open_notebook("total = 1", "print(total)", "x = total")
    window.cells.nth(0).locator(".view-lines").click()
    window.press("Control+Home", "Control+Shift+ArrowRight")
    window.type("amount")
    assert "Hone: Fix This Block" in offered(window), "it is Python"

    def open_menu() -> None:  # Escape has left the cell
        window.cells.nth(1).locator(".view-lines").click()
        window.press("Control+.")

    window.code_action("Rename everywhere else, too", open_menu)
    last = window.cells.nth(2).locator(".view-line").last
    until(last.inner_text, "the edit", lambda text: "amount" in text)
    window.save()
    assert sources(window) == ["amount = 1", "print(amount)", "x = amount"]
    window.press("Control+z")
    window.save()
    assert sources(window) == ["amount = 1", "print(total)", "x = total"], "one step of undo"


def test_cells_of_other_languages_stay_with_the_editor(window: Workbench, script: Script) -> None:
    script.set(("area = ", "3"), ("select ", "everything"))
    window.open_notebook("area =", "select", languages={1: "sql"})
    until(lambda: script.messages("notebookDocument/didOpen"), "the notebook")
    assert script.messages("notebookDocument/didOpen")[-1]["cells"] == ["python"]
    changes = len(script.messages("notebookDocument/didChange"))
    window.cells.nth(1).locator(".view-lines").click()
    window.press("Control+End")
    window.type(" ")
    window.cells.nth(0).locator(".view-lines").click()
    window.press("Control+End")
    window.type(" ")
    window.wait_for_ghost("3")
    window.press("Tab")
    window.save()
    assert sources(window) == ["area = 3", "select "]
    assert len(script.messages("notebookDocument/didChange")) == changes + 2, "what was typed and what was taken"


def sources(window: Workbench) -> list[str]:
    """Of the notebook's cells, on disk."""
    return ["".join(cell["source"]) for cell in json.loads(window.file.read_text(encoding="utf-8"))["cells"]]


# Code actions.


def test_a_hole_is_filled_from_the_menu_of_code_actions(window: Workbench, script: Script) -> None:
    script.set(("\n    ", "return a + b"))
    window.open("def add(a, b):\n    ...\n")
    window.press("ArrowDown", "End")
    window.code_action("Fill this hole")
    window.wait_for_lines("def add(a, b):", "    return a + b", "")
    assert window.save() == "def add(a, b):\n    return a + b\n"
    window.press("Control+z")
    assert window.save() == "def add(a, b):\n    ...\n", "one step of undo"


def test_the_palette_follows_the_model(window: Workbench, script: Script) -> None:
    """As after `hone model use` and the end of the daemon: another one has come, with another model."""
    script.set(tasks=["modernise"])
    restart(window, script)
    window.open("x = 1\n")
    until(lambda: offered(window), "what that model can", lambda found: "Hone: Add Annotations" not in found)
    assert "Hone: Modernise" in offered(window)
    script.set(tasks=["annotate"])

    def look() -> list[str]:
        window.press("End")
        window.type(" + y")  # the daemon is found gone by who asks it
        time.sleep(1)  # opening the palette would cancel what waits for the next key
        return offered(window)

    until(look, "what the other one can", lambda found: "Hone: Modernise" not in found)
    assert "Hone: Add Annotations" in offered(window)
    script.set()
    restart(window, script)


def test_an_edit_is_previewed_and_then_made_or_thrown_away(window: Workbench, script: Script) -> None:
    script.set(("\n    ", "return a + b"))
    window.set(hone__confirmEdits=True)
    window.open("def add(a, b):\n    ...\n")
    window.press("ArrowDown", "End")
    old, new = "def add(a, b):\n    ...\n", "def add(a, b):\n    return a + b\n"
    for button, text in (("Discard", old), ("Apply", new)):
        window.code_action("Fill this hole")
        preview(window, button)
        window.page.locator(".tab", has_text=window.file.name).first.click()
        assert window.save() == text
    assert window.told == []


def preview(window: Workbench, button: str, change: str = "return a + b") -> None:
    """Presses a button of VS Code's preview of edits, where the change must be seen."""
    panel = window.page.locator(".bulk-edit-panel")
    panel.first.wait_for()
    until(panel.all_inner_texts, "the edit", lambda texts: change in " ".join(texts).replace("\u00a0", " "))
    if button == "Apply":  # nothing that is to be confirmed is chosen from the start
        panel.locator(".monaco-list-row", has_text=change.split(maxsplit=1)[0]).locator(".edit-checkbox").click()
    panel.locator(".monaco-button", has_text=button).click()
    until(panel.first.is_visible, "the end of the preview", lambda is_visible: not is_visible)


def test_the_server_can_ask_for_a_preview(window: Workbench, script: Script) -> None:
    script.set(("\n    ", "return a + b"), confirm=True)
    restart(window, script)
    window.open("def add(a, b):\n    ...\n")
    window.press("ArrowDown", "End")
    window.command("Hone: Fill Hole")
    preview(window, "Apply")
    window.page.locator(".tab", has_text=window.file.name).first.click()
    assert window.save() == "def add(a, b):\n    return a + b\n"
    script.set()
    restart(window, script)


def restart(window: Workbench, script: Script) -> None:
    old = script.pid
    window.command("Hone: Restart Language Server")
    wait_for_new_server(window, script, old)
    assert not psutil.pid_exists(old) or psutil.Process(old).status() == psutil.STATUS_ZOMBIE


def wait_for_new_server(window: Workbench, script: Script, old: int) -> None:
    until(lambda: script.pid, "the new server", lambda new: new != old, START_S)
    window.wait_for_status("sparkle")


def test_actions_as_commands(window: Workbench, script: Script) -> None:
    script.set(("\n    ", "return a + b"))
    window.open("def add(a, b):\n    pass\n\nx = 1\n")
    window.command("Hone: Complete Body")
    window.wait_for_lines("def add(a, b):", "    return a + b", "", "x = 1", "")
    window.press("Control+End", "ArrowUp")
    window.command("Hone: Fill Hole")
    window.wait_for_told("'Fill this hole' does not apply here")
    window.clear_notifications()
    window.press("Control+z", "Control+Home", "ArrowDown", "End")
    window.press("Shift+Home")
    window.command("Hone: Fill Hole")
    window.wait_for_lines("def add(a, b):", "    return a + b", "", "x = 1", "")
    assert window.save() == "def add(a, b):\n    return a + b\n\nx = 1\n"


OLD = "def area(width, height):\n    total = width * height\n    retrun total\n"


def test_edits_as_commands(window: Workbench, script: Script) -> None:
    """What rules do at once, what the model does after a look at it, what nobody can is not offered."""
    edits = [["total = width * height", "return width * height"]]
    script.set(tasks=["modernise"], edits=edits)
    restart(window, script)
    window.open(OLD)
    window.press("ArrowDown")
    window.command("Hone: Fix This Block")
    window.wait_for_lines("def area(width, height):", "    total = width * height", "    return total", "")
    fixed = OLD.replace("retrun", "return")
    assert window.save() == fixed, "a quick fix asks nothing"
    window.command("Hone: Modernise")
    preview(window, "Discard", "return width * height")
    window.page.locator(".tab", has_text=window.file.name).first.click()
    assert window.save() == fixed
    window.command("Hone: Modernise")
    preview(window, "Apply", "return width * height")
    window.page.locator(".tab", has_text=window.file.name).first.click()
    assert window.save() == fixed.replace("total = width", "return width")
    assert "Hone: Rename Here Too" in offered(window)
    assert "Hone: Add Annotations" not in offered(window), "the model cannot"
    window.command("Hone: Rename Here Too")
    window.wait_for_told("there is no place here that a rename or a changed signature calls for")
    window.clear_notifications()
    window.open("x = (1\n", suffix=".lua")
    assert "Hone: Fix This Block" not in offered(window), "Python alone"
    assert "Hone: Fix Syntax Error" in offered(window)
    script.set()
    restart(window, script)


def offered(window: Workbench) -> list[str]:
    """Hone's commands in the palette."""
    window.press("F1")
    window.page.locator(".quick-input-widget input[type=text]").fill(">Hone: ")
    rows = window.page.locator(".quick-input-list .monaco-list-row .label-name")
    found = until(rows.all_inner_texts, "commands", lambda texts: any(text.startswith("Hone: ") for text in texts))
    window.press("Escape")
    return [text.replace("\u00a0", " ") for text in found]


def test_an_edit_for_a_text_that_has_changed_is_not_made(window: Workbench, script: Script) -> None:
    script.set(("\n    ", "return a + b"), delay=1.5)
    window.open("def add(a, b):\n    ...\n")
    window.press("ArrowDown", "End")
    sent = len(script.messages("workspace/executeCommand"))
    window.command("Hone: Fill Hole")
    until(lambda: len(script.messages("workspace/executeCommand")), "the request", lambda count: count > sent)
    window.press("Control+Home")
    window.type("#")
    window.wait_for_told("the document has changed since; ask again")
    assert window.save() == "#def add(a, b):\n    ...\n"


# Settings, commands, the status bar.


def test_suggestions_are_turned_off_and_on(window: Workbench, script: Script) -> None:
    script.set(("x = ", "one"))
    window.open("\n")
    window.set(hone__enabled=False)
    window.wait_for_status("(circle-slash) Hone off")
    assert "the setting hone.enabled" in window.status_details
    window.type("x = ")
    quiet(window, script)
    window.command("Hone: Turn Suggestions On or Off")
    window.wait_for_status("sparkle")
    window.type("1\nx = ")
    window.wait_for_ghost("one")
    window.command("Hone: Turn Suggestions On or Off")
    window.wait_for_ghost("")
    window.wait_for_status("Hone off")
    window.command("Hone: Status")
    window.page.locator(".quick-input-list .monaco-list-row", has_text="Turn Suggestions On").click()
    window.wait_for_status("sparkle")


def quiet(window: Workbench, script: Script, seconds: float = 1.0) -> None:
    """No ghost text comes, though it had the time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert window.ghost == ""
        time.sleep(0.05)


def test_a_bad_setting_is_told_and_the_default_used(window: Workbench, script: Script) -> None:
    script.set(("x = ", "one"))
    window.open("\n")
    window.set(hone__maxTokens="many")
    window.wait_for_told("hone.maxTokens must be a whole number from 1 to 1024, not 'many'; 64 is used instead")
    assert "hone.maxTokens" in window.status_details
    window.type("x = ")
    window.wait_for_ghost("one")
    until(lambda: window.status, "no warning any more", lambda text: text.startswith("(sparkle)"))
    assert len(window.told) == 1, "the extension's own settings are no strangers"


def test_other_languages(window: Workbench, script: Script) -> None:
    script.set(("x = ", "one"))
    before = script.pid
    window.set(hone__languages=["plaintext"])
    wait_for_new_server(window, script, before)
    window.open("\n")
    window.type("x = ")
    quiet(window, script)
    window.open("\n", suffix=".txt")
    window.type("x = ")
    window.wait_for_ghost("one")
    now = script.pid
    window.set(hone__languages=None)
    wait_for_new_server(window, script, now)


def test_the_installation_is_checked(window: Workbench, script: Script) -> None:
    window.command("Hone: Check Installation")
    window.page.locator(".tab.active", has_text="Hone").wait_for()
    report = until(window.lines, "the report", lambda lines: "ok       model     one that knows the answers" in lines)
    assert report[0] == "Hone: ready"
    assert str(script.program) in report[1]
    before = script.pid
    window.set(hone__model="~/tiny")
    wait_for_new_server(window, script, before)
    window.command("Hone: Check Installation")
    until(window.lines, "the model of the settings", lambda lines: "ok       model     ~/tiny" in lines)
    before = script.pid
    window.set(hone__model=None)
    wait_for_new_server(window, script, before)


# When something ends.


def test_a_server_that_is_killed_comes_back(window: Workbench, script: Script) -> None:
    script.set(("x = ", "one"))
    for time_ in range(2):
        window.open("\n")
        window.type("x = ")
        window.wait_for_ghost("one")
        old = script.pid
        psutil.Process(old).kill()
        wait_for_new_server(window, script, old)
        window.type("1\nx = ")
        window.wait_for_ghost("one")
        if time_ == 0:
            window.wait_for_told("the language server has ended unexpectedly; it is started again")
            window.clear_notifications()
    assert window.told == [], "once"


def test_a_server_that_does_not_start(window: Workbench, script: Script) -> None:
    script.set(exit=3)
    window.command("Hone: Restart Language Server")
    window.wait_for_told("the language server does not start")
    assert window.status == "(warning) Hone"
    assert "the language server does not run" in window.status_details
    script.set(("x = ", "one"))
    window.answer("does not start", "Restart")
    window.wait_for_status("sparkle")
    window.open("\n")
    window.type("x = ")
    window.wait_for_ghost("one")


def test_a_server_that_answers_nothing_is_given_up_and_ended(window: Workbench, script: Script) -> None:
    script.set(hang=True)
    window.command("Hone: Restart Language Server")
    until(lambda: window.status, "the start", lambda text: "loading" in text)
    until(lambda: servers(script), "the process")
    told = "the language server does not start: there is no answer within 30 s"
    until(lambda: window.told, "the failure", lambda found: any(told in one for one in found), 2 * START_S)
    until(lambda: servers(script), "the end of the process", lambda found: found == [])
    script.set(("x = ", "one"))
    window.answer("does not start", "Restart")
    window.wait_for_status("sparkle")
    window.open("\n")
    window.type("x = ")
    window.wait_for_ghost("one")


def servers(script: Script) -> list[int]:
    """The processes that stand for language servers of this window."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "lsp" in words and str(script.program.parent / "script.json") in words:
            found.append(process.pid)
    return found


# Windows of their own.


def environment(**more: str) -> dict[str, str]:
    """Where `hone` is in the PATH."""
    return {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", **more}


def test_with_the_daemon_which_ends_and_comes_back(
    browser: Browser, extensions: Path, home: Path, start_daemon: StartDaemon
) -> None:
    daemon = start_daemon()
    window = Workbench(browser, extensions, home, environment(HONE_DAEMON="never"))
    try:
        window.start(text=ADD)
        window.wait_for_status("sparkle")
        window.press("ArrowDown", "End")
        window.type(" ")
        window.wait_for_ghost("a + b")
        daemon.end()
        window.type("x")
        window.wait_for_told("run `hone serve`")
        window.wait_for_ghost("")
        until(lambda: window.status, "the warning", lambda text: text == "(warning) Hone")
        window.press("Backspace")
        daemon.start()

        def appears() -> bool:
            window.press("Alt+\\")
            time.sleep(0.4)
            return window.ghost == "a + b"

        until(appears, "the ghost text of the new daemon")
        window.press("Tab")
        window.wait_for_ghost("")
        assert window.save() == "def add(a, b):\n    return a + b\n"
        window.wait_for_status("sparkle")
    finally:
        window.end()


@pytest.mark.weights
def test_with_the_embedded_model(browser: Browser, extensions: Path, home: Path) -> None:
    window = Workbench(browser, extensions, home, environment())
    window.set(hone__budgetMs=20_000)
    try:
        window.start(text="def add(a, b):\n    retu\n\n\nprint(add(1, 2))\n")
        window.wait_for_status("sparkle")
        window.press("ArrowDown", "End", "Alt+\\")  # once: each request takes the place of the one before
        until(lambda: window.ghost, "any ghost text", lambda ghost: ghost.startswith("rn"), 120)
        window.press("Tab")
        window.wait_for_ghost("")
        saved = window.save()
        assert saved.startswith("def add(a, b):\n    return")
        compile(saved, "a.py", "exec")
    finally:
        window.end()
        real_daemon.stop()


def test_untrusted_then_without_hone_then_with_it(browser: Browser, extensions: Path, home: Path) -> None:
    """From restricted mode to ghost text, each step told with what mends it."""
    script = Script(home)
    script.set(("x = ", "one"))
    path = os.pathsep.join(one for one in os.environ["PATH"].split(os.pathsep) if not (Path(one) / "hone").exists())
    window = Workbench(browser, extensions, home, {"PATH": path}, trust=True)
    venv = window.workspace / ".venv" / "bin"
    venv.mkdir(parents=True)
    (venv / "python").write_text(f"#!/bin/sh\ntouch '{home / 'started'}'\nexit 1\n")
    (venv / "python").chmod(0o755)
    try:
        window.start(text="\n")
        window.wait_for_status("(shield) Hone off")
        assert "this workspace is not trusted" in window.status_details
        window.command("Hone: Restart Language Server")
        window.wait_for_told("Hone is off, because this workspace is not trusted")
        assert not (home / "started").exists(), "nothing of the workspace has run"
        window.answer("not trusted", "Manage Workspace Trust")
        window.page.locator(".workspace-trust-editor .monaco-button", has_text="Trust").first.click()
        window.wait_for_told("Hone was not found: there is no program `hone` in the PATH")
        assert (home / "started").exists(), "the workspace's .venv was tried"
        assert any("run `python3 -m pip install .`" in one for one in window.told)
        assert window.status == "(warning) Hone"
        window.clear_notifications()
        window.set(hone__path=str(home / "nothing"))
        window.wait_for_told(f"the setting hone.path: {home / 'nothing'} is no program")
        window.clear_notifications()
        window.set(hone__path=str(script.program))
        window.wait_for_status("sparkle")
        window.open("\n")
        window.type("x = ")
        window.wait_for_ghost("one")
    finally:
        window.end()


def test_the_model_that_edits_is_named_in_the_settings(window: Workbench, script: Script) -> None:
    before = script.pid
    window.set(hone__editModel="~/edits")
    pid = until(lambda: script.pid, "another language server", lambda pid: pid != before)
    assert psutil.Process(pid).environ()["HONE_EDIT_MODEL"] == "~/edits"
    window.wait_for_status("sparkle")
    window.set(hone__editModel=None)
    until(lambda: script.pid, "another language server", lambda now: now != pid)
    assert "HONE_EDIT_MODEL" not in psutil.Process(script.pid).environ()


# The package.


def test_settings_and_their_table_are_made_from_the_options() -> None:
    command = [sys.executable, "docs/vscode_settings.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False)
    assert done.returncode == 0, "run `python docs/vscode_settings.py`"


def test_the_lock_file_names_no_registry() -> None:
    text = (vscode.EXTENSION / "package-lock.json").read_text(encoding="utf-8")
    lock = json.loads(text)
    assert "registry" not in text
    assert not any("resolved" in package for package in lock["packages"].values())
    wanted = json.loads((vscode.EXTENSION / "package.json").read_text(encoding="utf-8"))["devDependencies"]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in wanted.values()), "exact versions"
