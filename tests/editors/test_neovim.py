"""The plugin in a real Neovim: what is drawn, what the keys do, what is in the file afterwards."""

import re
import time
from pathlib import Path

import pytest

from assistant import daemon as real_daemon
from tests.editors.conftest import START_S, Answering, Scripted, Start, until
from tests.lsp.conftest import StartDaemon

ADD = "def add(a, b):\n    return\n"


# With the daemon and `hone lsp`, as users have them.


def test_ghost_text_is_seen_accepted_and_saved(start: Start, start_daemon: StartDaemon) -> None:
    start_daemon()
    editor = start(ADD)
    editor.type("jA ")
    editor.wait_for_ghost("a + b")
    assert editor.lines == ["def add(a, b):", "    return "], "it is only drawn"
    editor.type("<Tab>")
    editor.wait_for_line(1, "    return a + b")
    assert editor.ghost == ""
    assert editor.save() == "def add(a, b):\n    return a + b\n"
    assert editor.told == []


def test_neovim_alone_without_the_plugin(start: Start, start_daemon: StartDaemon) -> None:
    start_daemon()
    page = (Path(__file__).parents[2] / "docs" / "neovim.md").read_text(encoding="utf-8")
    (config,) = [
        block for block in re.findall(r"```lua\n(.*?)```", page, re.DOTALL) if "vim.lsp.config('hone'" in block
    ]
    editor = start(ADD, config)
    editor.type("jA ")
    editor.wait_for_ghost("a + b")
    editor.type("<Tab>")
    editor.wait_for_line(1, "    return a + b")
    assert editor.save() == "def add(a, b):\n    return a + b\n"


def test_the_daemon_ends_in_the_middle_and_comes_back(
    start: Start, start_daemon: StartDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HONE_DAEMON", "never")
    daemon = start_daemon()
    editor = start(ADD)
    editor.type("jA ")
    editor.wait_for_ghost("a + b")
    daemon.end()
    editor.type("x")
    until(lambda: editor.ghost, "the end of the ghost text", lambda ghost: ghost == "")
    until(lambda: "run `hone serve`" in editor.messages, "the reason")
    editor.type("<BS>")
    daemon.start()

    def appears() -> bool:
        editor.type("<Left><Right>")
        time.sleep(0.4)
        return editor.ghost == "a + b"

    until(appears, "the ghost text of the new daemon")
    editor.type("<Tab>")
    editor.wait_for_line(1, "    return a + b")


@pytest.mark.weights
def test_with_the_embedded_model(start: Start, home: Path) -> None:
    try:
        editor = start(
            "def add(a, b):\n    retu\n\n\nprint(add(1, 2))\n",
            "require('hone').setup({ server = { budgetMs = 20000, eagerness = 'high' } })",
        )
        editor.type("jA<Left><Right>")
        until(lambda: editor.ghost, "any ghost text", lambda ghost: ghost.startswith("rn"), 60)
        editor.type("<Tab>")
        until(lambda: editor.lines[1], "the text", lambda line: line.startswith("    return"))
        compile(editor.save(), "a.py", "exec")
    finally:
        real_daemon.stop()


# With a server that knows the answers.


def test_what_is_typed_along_is_not_doubled(start: Start, scripted: Scripted) -> None:
    """Neovim alone makes `print("hello")t(` of the second one."""
    editor = start("prin\n\n", scripted(("prin", 't("hello")'), delay=0.0))
    editor.type("A<Left><Right>")
    editor.wait_for_ghost('t("hello")')
    editor.type("t(")
    editor.type("<Tab>")
    editor.wait_for_line(0, 'print("hello")')
    editor.type("<Esc>:%d<CR>iprin")
    editor.wait_for_ghost('t("hello")')
    editor.type('t("h<Tab>; x')  # all of it at once: nothing overtakes the Tab
    editor.wait_for_line(0, 'print("hello"); x')
    editor.type("<Esc>:%d<CR>iprin")
    editor.wait_for_ghost('t("hello")')
    editor.type("k<Tab>x")  # something else: the key is what it was
    editor.wait_for_line(0, "prink   x")
    assert editor.save() == "prink   x\n"


def test_text_that_does_not_fit_is_not_left_on_the_screen(start: Start, scripted: Scripted) -> None:
    editor = start("prin\n", scripted(("prin", 't("hello")'), delay=0.6))
    editor.type("A<Left><Right>")
    editor.wait_for_ghost('t("hello")')
    editor.type("t")
    editor.wait_for_ghost('("hello")')
    editor.type("x")
    assert editor.ghost == "", "not even until the next answer"


def test_it_stays_while_it_is_typed_along(start: Start, scripted: Scripted) -> None:
    editor = start("prin\n", scripted(("prin", 't("hello")'), delay=0.4))
    editor.type("A<Left><Right>")
    editor.wait_for_ghost('t("hello")')
    for key, rest in (("t", '("hello")'), ("(", '"hello")'), ('"', 'hello")')):
        editor.type(key)
        for _ in range(5):
            time.sleep(0.02)
            assert editor.ghost == rest


def test_it_does_not_wait_for_neovims_fixed_pause(start: Start, scripted: Scripted) -> None:
    clock = """
    vim.on_key(function(_, typed) pressed = typed == ' ' and vim.uv.hrtime() or pressed end)
    vim.uv.new_timer():start(0, 1, vim.schedule_wrap(function()
      local space = vim.api.nvim_get_namespaces()['nvim.lsp.inline_completion']
      if pressed and space and #vim.api.nvim_buf_get_extmarks(0, space, 0, -1, {}) > 0 then
        took, pressed = (vim.uv.hrtime() - pressed) / 1e6, nil
      end
    end))
    """
    editor = start("\n", clock + scripted(("x = ", "one"), ("y = ", "two"), ("z = ", "three")))
    times = []
    for name in "xyz":
        editor.type(f"<Esc>S{name} =")
        time.sleep(0.3)
        editor.lua("took = nil")
        editor.type(" ")
        times.append(until(lambda: editor.lua("return took"), "ghost text"))
    assert min(times) < 150, times  # of three, since other programs run here, too


def test_closing_brackets_behind_the_cursor(start: Start, scripted: Scripted) -> None:
    editor = start("print()\n", scripted(("print(", "value, end"), ("print()", "")))
    editor.type("f)i")
    editor.wait_for_ghost("value, end)")
    editor.type("va<Tab>;")
    editor.wait_for_line(0, "print(value, end);")
    assert editor.save() == "print(value, end);\n"


LOOP = "for a in b:\n    use(a)\n    done(a)"


def test_by_words_by_lines_and_the_rest(start: Start, scripted: Scripted) -> None:
    editor = start("#\n", scripted(("# ", LOOP.removeprefix("# "))))
    editor.type("A ")
    editor.wait_for_ghost(LOOP)
    editor.type("<M-Right><M-Right>")
    editor.wait_for_line(0, "# for a")
    assert editor.ghost == LOOP.removeprefix("for a"), "the rest stays on the screen"
    editor.type("<M-End>")
    editor.wait_for_line(0, "# for a in b:")
    editor.type("<M-End>")
    until(lambda: editor.lines, "the second line", lambda lines: lines == ["# for a in b:", "    use(a)"])
    assert editor.ghost == "\n    done(a)", "below the line in which it began, too"
    editor.type("<Tab>")
    assert editor.save() == f"# {LOOP}\n"


def test_next_previous_and_dismiss(start: Start, scripted: Scripted) -> None:
    editor = start("x =\n", scripted(("x = ", "one", "two", "three")))
    editor.type("A ")
    editor.wait_for_ghost("one")
    editor.type("<M-Down>")  # asks for several
    editor.wait_for_ghost("two (2/3)")
    editor.type("<M-Down>")
    editor.wait_for_ghost("three (3/3)")
    editor.type("<M-Up>")
    editor.wait_for_ghost("two (2/3)")
    editor.type("t")
    editor.wait_for_ghost("wo")
    editor.type("<Tab>")
    editor.wait_for_line(0, "x = two")
    editor.type("<Esc>:%d<CR>ix = ")
    editor.wait_for_ghost("one")
    editor.type("<M-Left>")
    editor.wait_for_ghost("")
    editor.type("<Tab>|")
    editor.wait_for_line(0, "x =     |")


def test_what_was_dismissed_does_not_come_back_by_itself(start: Start, scripted: Scripted) -> None:
    editor = start("#\n", scripted(("# ", LOOP.removeprefix("# ")), delay=0.2))
    editor.type("A ")
    editor.wait_for_ghost(LOOP)
    editor.type("<M-Right><M-Left>")  # what the acceptance has asked for is answered behind that
    editor.wait_for_line(0, "# for")
    until(lambda: editor.ghost, "the end of the ghost text", lambda ghost: ghost == "")
    for _ in range(30):
        time.sleep(0.02)
        assert editor.ghost == ""
    editor.type("<Left>")
    until(lambda: editor.lua("return vim.fn.col('.')"), "the move", lambda column: column == len("# for"))
    time.sleep(0.1)
    editor.type("<Right>")
    editor.wait_for_ghost(LOOP.removeprefix("for"))


def test_each_accepted_text_is_a_step_of_undo(start: Start, scripted: Scripted) -> None:
    editor = start("\n", scripted(("x = ", "first"), ("first + ", "second")))
    editor.type("ix = ")
    editor.wait_for_ghost("first")
    editor.type("<Tab>")
    editor.wait_for_line(0, "x = first")
    editor.type(" + ")
    editor.wait_for_ghost("second")
    editor.type("<Tab>!<Esc>")
    editor.wait_for_line(0, "x = first + second!")
    for text in ("x = first + second", "x = first + ", "x = first", "x = ", ""):
        editor.type("u")
        editor.wait_for_line(0, text)


def test_text_of_all_scripts_before_and_in_it(start: Start, scripted: Scripted) -> None:
    editor = start("# ä€𝄞\ns = ['ä€𝄞',]\n", scripted(("'ä€𝄞', ", "'größe', '𝄞', name")))
    editor.type("jA<Left> ")
    editor.wait_for_ghost("'größe', '𝄞', name]")
    editor.type("'g")
    editor.type("<M-Right>")
    editor.wait_for_line(1, "s = ['ä€𝄞', 'größe]")
    editor.type("<Tab>")
    editor.wait_for_line(1, "s = ['ä€𝄞', 'größe', '𝄞', name]")
    assert editor.save() == "# ä€𝄞\ns = ['ä€𝄞', 'größe', '𝄞', name]\n"


def test_brackets_that_close_themselves(start: Start, scripted: Scripted) -> None:
    pairs = "vim.keymap.set('i', '(', '()<Left>')\n"
    editor = start("prin\n", pairs + scripted(("prin", 't("hello")')))
    editor.type("A<Left><Right>")
    editor.wait_for_ghost('t("hello")')
    editor.type("t(<Tab>")  # before the next answer knows of the second bracket
    editor.wait_for_line(0, "print(  )")
    editor.type("<Esc>:%d<CR>iprin")
    editor.wait_for_ghost('t("hello")')
    editor.type("t(")
    editor.wait_for_ghost('"hello")')
    editor.type("<Tab>")
    editor.wait_for_line(0, 'print("hello")')


def test_line_ends_of_the_file(start: Start, scripted: Scripted) -> None:
    editor = start("a\r\nb =\r\n", scripted(("b = ", "1\r\nc = 2")))
    editor.type("jA ")
    until(lambda: editor.ghost, "ghost text")
    editor.type("<Tab>")
    until(lambda: editor.lines, "the text", lambda lines: lines == ["a", "b = 1", "c = 2"])
    assert editor.save() == "a\r\nb = 1\r\nc = 2\r\n"


def test_a_key_does_what_it_did_where_there_is_nothing_to_accept(start: Start, scripted: Scripted) -> None:
    before = "vim.keymap.set('i', '<Tab>', function() return '[was]' end, { expr = true })\n"
    editor = start("\n", before + scripted(("x = ", "one")))
    editor.type("i<Tab>")
    editor.wait_for_line(0, "[was]")
    editor.type("<Esc>:%d<CR>ix = ")
    editor.wait_for_ghost("one")
    editor.type("<Tab><Tab>")
    editor.wait_for_line(0, "x = one[was]")


def test_commands_and_statusline(start: Start, scripted: Scripted) -> None:
    editor = start("def f():\n    ...\nx =\n", scripted(("x = ", "one"), ("\n    ", "return 1")))
    command = editor.command
    assert editor.lua("return require('hone').statusline()") == "Hone"
    editor.type("GA ")
    editor.wait_for_ghost("one")
    assert re.fullmatch(r"Hone \d+ ms", editor.lua("return require('hone').statusline()"))
    assert command("Hone status").startswith("Hone: ready; 1 answer, 1 shown; newest ")
    command("Hone toggle")
    assert editor.ghost == ""
    assert editor.lua("return require('hone').statusline()") == "Hone off"
    editor.type("<Tab>|<Esc>")
    editor.wait_for_line(2, "x =     |")
    command("Hone toggle")
    editor.type("S" + "x = ")
    editor.wait_for_ghost("one")
    editor.type("<Esc>")
    command("2Hone fill")
    editor.wait_for_line(1, "    return 1")
    command("3Hone body")
    until(lambda: [text for text in editor.told if "does not apply" in text], "the refusal")
    old = editor.lua("return vim.lsp.get_clients({ name = 'hone' })[1].id")
    command("Hone restart")
    editor.wait_for_server()
    until(
        lambda: editor.lua("return (vim.lsp.get_clients({ name = 'hone' })[1] or {}).id"),
        "the new one",
        lambda new: new not in (None, old),
    )
    editor.type("GS" + "x = ")
    editor.wait_for_ghost("one")
    editor.type("<Esc>")
    command("Hone nothing")
    names = "annotate, body, edit, fill, fix, log, modernise, restart, status, toggle"
    assert editor.told[-1] == f"Hone: there is no :Hone nothing; there are {names}"
    assert editor.lua("return vim.fn.getcompletion('Hone to', 'cmdline')") == ["toggle"]
    command("Hone log")
    assert editor.lua("return vim.fs.basename(vim.api.nvim_buf_get_name(0))") == "lsp.log"
    command("help hone")
    assert editor.lua("return vim.fs.basename(vim.api.nvim_buf_get_name(0))") == "hone.txt"


ASKED = "return require('hone').status().answers"


@pytest.mark.parametrize("at_first", [True, False])
def test_toggle_switches_suggestions_in_all_buffers(start: Start, scripted: Scripted, at_first: bool) -> None:
    editor = start("#\n", scripted(("x = ", "one"), more=f"enabled = {str(at_first).lower()}"))
    editor.command("edit b.py")
    editor.wait_for_server()
    if not at_first:
        editor.command("Hone toggle")
    for _ in range(2):
        for file in ("a.py", "b.py"):
            editor.command(f"buffer {file}")
            editor.type("Sx = ")
            editor.wait_for_ghost("one")
            editor.type("<Esc>")
        editor.command("Hone toggle")
        asked = editor.lua(ASKED)
        for file in ("a.py", "b.py"):
            editor.command(f"buffer {file}")
            editor.type("Sx = ")
            time.sleep(0.4)  # longer than Neovim waits before it asks
            assert editor.ghost == ""
            editor.type("<Esc>")
        assert editor.lua(ASKED) == asked
        editor.command("Hone toggle")


def test_what_is_typed_before_the_server_is_there_gets_a_suggestion(start: Start, scripted: Scripted) -> None:
    late = "cmd = { 'sh', '-c', 'sleep 1; exec hone lsp' }"
    editor = start("#\n", scripted(("x = ", "one"), more=late), wait=False)
    editor.type("Sx = ")
    assert editor.lua("return require('hone').status().state") == "none"
    editor.wait_for_ghost("one")


def test_fill_on_a_selection(start: Start, scripted: Scripted) -> None:
    """With text of all scripts in it: what is replaced ends exactly where the selection ends."""
    editor = start("x = ['ä', '𝄞']  # 𝄞\n", scripted(("x = [", "'größe', '𝄞'")))
    editor.type("f'vf𝄞l:Hone fill<CR>")
    editor.wait_for_line(0, "x = ['größe', '𝄞']  # 𝄞")
    editor.type("<Esc>0f'vE:Hone fill<CR>")
    editor.wait_for_line(0, "x = ['größe', '𝄞' '𝄞']  # 𝄞")


def test_edit_offers_what_the_server_can_do_there(start: Start, scripted: Scripted) -> None:
    choose = """
    vim.ui.select = function(offers, options, chosen)
      seen = vim.tbl_map(options.format_item, offers)
      chosen(offers[pick])
    end
    """
    editor = start("def f():\n    ...\nx = 1\ny = 2\n", choose + scripted(("\n    ", "return 1"), ("\n", "print()")))
    editor.lua("pick = 2")
    editor.type(":2Hone edit<CR>")
    assert until(lambda: editor.lua("return seen"), "the choice") == ["Fill this hole"]
    assert editor.lines[1] == "    ...", "nothing was chosen"
    editor.lua("pick, seen = 1, nil")
    editor.type("jf.:Hone edit<CR>")
    editor.wait_for_line(1, "    return 1")
    assert editor.lua("return seen") == ["Fill this hole", "Complete this body"]
    editor.type("ggjjjV:Hone edit<CR>")
    editor.wait_for_line(3, "print()")
    editor.type("gg0:Hone edit<CR>")
    until(lambda: [text for text in editor.told if "nothing to edit here" in text], "why there is nothing")


CHOOSE = """
asked = {}
vim.fn.confirm = function(text) table.insert(asked, text) return answer end
vim.ui.select = function(offers, options, chosen)
  seen = vim.tbl_map(options.format_item, offers)
  for index, title in ipairs(seen) do
    if pick and title:find(pick, 1, true) then chosen(offers[index]) end
  end
end
"""


def test_neovims_own_key_for_code_actions_shows_what_would_change(start: Start, scripted: Scripted) -> None:
    """`gra` in normal and visual mode: at once by rule in one place, asked about with the change in all others."""
    text = "def area(width, height):\n    size = width * height\n    return size + width\n\n\nx = [1, (2]\n"
    editor = start(text, CHOOSE + scripted())
    editor.type("fwcwbreadth<Esc>")
    editor.lua("pick, answer = 'everywhere', 2")
    editor.type("gra")
    (question,) = until(lambda: editor.lua("return asked"), "the question")
    assert "-    size = width * height" in question
    assert "+    return size + breadth" in question
    assert editor.lines[1] == "    size = width * height", "the answer was no"
    editor.lua("pick, seen = 'Rename here too', nil")
    editor.type("jgra")
    editor.wait_for_line(1, "    size = breadth * height")
    editor.lua("pick, asked = 'everywhere', {}")
    editor.lua("answer = 1")
    editor.type("ggVjgra")
    editor.wait_for_line(2, "    return size + breadth")
    assert len(editor.lua("return asked")) == 1
    editor.type("<Esc>")
    editor.lua("pick, seen, asked = 'Fix this block', nil, {}")
    editor.type("GVgra")
    editor.wait_for_line(5, "x = [1, (2)]")
    assert not editor.lua("return asked")
    assert editor.messages == ""


def test_fix_mends_or_says_why_not(start: Start, scripted: Scripted) -> None:
    editor = start("x = [1, (2]\ny = 1\n", scripted())
    editor.type(":Hone fix<CR>")
    editor.wait_for_line(0, "x = [1, (2)]")
    editor.type("j:Hone fix<CR>")
    until(lambda: editor.told, "why there is nothing", lambda told: any("no syntax error" in text for text in told))


def test_modernise_and_annotate_ask_the_server(start: Start, scripted: Scripted) -> None:
    editor = start("def f(a):\n    return a\n", scripted())
    for command in ("modernise", "annotate"):
        editor.lua("told = {}")
        editor.command(f"Hone {command}")
        (reason,) = until(lambda: editor.told, "why there is no edit")
        assert "model" in reason


def test_nothing_is_edited_when_the_text_has_changed_meanwhile(start: Start, scripted: Scripted) -> None:
    editor = start("def f():\n    ...\n", scripted(("\n    ", "return 1"), delay=1.0))
    editor.type("jf.:Hone fill<CR>")
    editor.type("Onew<Esc>")
    until(lambda: editor.told, "the refusal", lambda told: any("changed since" in text for text in told))
    assert editor.lines == ["def f():", "    new", "    ..."]


@pytest.mark.parametrize("delay", [0.0, 0.3])
def test_typing_along_at_any_speed_and_tab_at_once(start: Start, scripted: Scripted, delay: float) -> None:
    editor = start("\n", scripted(("prin", 't("hello", name)'), ("other", " = 1"), delay=delay))
    for pause in (0, 2, 16, 75, 200):
        editor.type("<Esc>ggdGiprin")
        editor.wait_for_ghost('t("hello", name)')
        editor.lua(f"""
        for index, key in ipairs({{ 't', '(', '"', 'h', 'e', '<Tab>', ';' }}) do
          vim.defer_fn(function() vim.api.nvim_input(key) end, index * {pause})
        end
        """)
        until(lambda: editor.lines, f"the text at {pause} ms", lambda lines: lines == ['print("hello", name);'])
        editor.type("<Esc>ggdGiprin")
        editor.wait_for_ghost('t("hello", name)')
        editor.lua(f"""
        for index, key in ipairs({{ 't', '(', 'x', '<Tab>', ';' }}) do
          vim.defer_fn(function() vim.api.nvim_input(key) end, index * {pause})
        end
        """)
        until(lambda: editor.lines, f"a Tab at {pause} ms", lambda lines: lines == ["print(x ;"])


def test_the_server_is_told_what_was_seen_and_taken(start: Start, scripted: Scripted) -> None:
    editor = start("#\n", "vim.lsp.log.set_level('DEBUG')\n" + scripted(("# ", "𝄞 and more")))

    def sent(method: str) -> list[str]:
        log = Path(editor.lua("return vim.lsp.log.get_filename()")).read_text(encoding="utf-8")
        return [line for line in log.splitlines() if '"rpc.send"' in line and method in line]

    editor.type("A ")
    editor.wait_for_ghost("𝄞 and more")
    until(lambda: sent("didShowCompletion"), "the report of what is shown")
    editor.type("<M-Right>")
    editor.wait_for_line(0, "# 𝄞")
    assert "acceptedLength = 2," in until(lambda: sent("didPartiallyAcceptCompletion"), "the report")[-1]
    editor.type(" a<M-Right>")
    editor.wait_for_line(0, "# 𝄞 and")
    (_, last) = until(lambda: sent("didPartiallyAcceptCompletion"), "the second", lambda lines: len(lines) == 2)
    assert "acceptedLength = 6," in last
    editor.type("<Tab>")
    editor.wait_for_line(0, "# 𝄞 and more")
    until(lambda: sent("hone.accepted"), "the report of the acceptance")


def test_bad_options_are_told_and_nothing_starts(start: Start) -> None:
    config = """
    for _, options in ipairs({
      { keys = { acept = 'x' } }, { keys = { next = '<C-x><Tabb>' } },
      { keys = { accept = 3 } }, { filetypes = 'python' }, { colour = 1 },
      { cmd = { 'no-such-hone', 'lsp' } },
    }) do
      require('hone').setup(options)
    end
    """
    editor = start("x\n", config, wait=False)
    told = until(lambda: editor.told, "the complaints", lambda told: len(told) == 6)
    for message, words in zip(
        told,
        ("keys.acept", "<Tabb> is no key", "keys.accept", "filetypes must be a table", "colour", "no-such-hone"),
        strict=True,
    ):
        assert words in message
    assert not editor.lua("return #vim.lsp.get_clients() > 0")
    missing = "no-such-hone is not an executable; `pip install` Hone from its clone"
    assert missing in editor.command("Hone")
    editor.command("Hone restart")
    assert missing in editor.told[-1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("cmd_env = { HONE_BUDGET_MS = 'much' }", "HONE_BUDGET_MS: budget_ms must be a number"),
        ("model = 'no-such-model'", "HONE_MODEL: model must be the folder of a checkpoint"),
        ("cmd = { 'hone' }", "the following arguments are required: COMMAND"),
    ],
)
def test_a_start_that_fails_says_why(start: Start, options: str, words: str) -> None:
    editor = start("x\n", f"require('hone').setup({{ {options} }})", wait=False)
    reason = f"Hone: the language server does not start: {words}"
    until(lambda: editor.told, "the reason", lambda told: any(one.startswith(reason) for one in told), START_S)
    assert words in editor.command("Hone")


def test_a_server_that_is_killed_comes_back_but_not_for_ever(start: Start, scripted: Scripted) -> None:
    editor = start("#\n", scripted(("x = ", "one")))

    def kill() -> str:
        """What is told."""
        before = len(editor.told)
        editor.kill_server()
        return until(lambda: editor.told[before:], "the news", lambda told: any("killed" in one for one in told))[-1]

    for _ in range(3):
        assert kill().startswith("Hone: the language server was killed by signal 9, and is started again")
        editor.wait_for_server()

    def answered() -> str:
        editor.type("<Esc>Sx = ")  # what was typed while the server came back was not asked about
        time.sleep(1)
        return editor.ghost

    until(answered, "the ghost text 'one'", lambda ghost: ghost == "one")
    editor.type("<Esc>")
    assert "is started again" not in kill()
    assert editor.lua("return #vim.lsp.get_clients({ name = 'hone' })") == 0
    said = editor.command("Hone")
    assert said.startswith("Hone: the language server was killed by signal 9; :Hone restart starts it again")
    editor.command("Hone restart")
    editor.wait_for_server()
    assert editor.command("Hone").startswith("Hone: ready")


def test_models_that_are_named_are_the_servers_environment(
    start: Start, environment: Path, answering: Answering
) -> None:
    program, seen = answering(("return ", "a")), environment / "seen"
    recording = program.with_name("recording")
    recording.write_text(f'#!/bin/sh\nenv | grep ^HONE_ >"{seen}"\nexec "{program}" "$@"\n', encoding="utf-8")
    recording.chmod(0o755)
    options = "model = '~/tiny', edit_model = 'edits', cmd_env = { HONE_MODEL = 'other', HONE_DEVICE = 'cpu' }"
    start(ADD, f"require('hone').setup({{ cmd = {{ '{recording}', 'lsp' }}, {options} }})")
    given = dict(line.split("=", 1) for line in seen.read_text(encoding="utf-8").splitlines())
    assert (given["HONE_MODEL"], given["HONE_EDIT_MODEL"], given["HONE_DEVICE"]) == ("~/tiny", "edits", "cpu")


def test_checkhealth(start: Start, start_daemon: StartDaemon) -> None:
    start_daemon()
    editor = start(ADD, "require('hone').setup()\nvim.keymap.set('i', '<M-End>', 'x')")
    editor.lua("vim.cmd('checkhealth hone')")
    report = until(lambda: "\n".join(editor.lines), "the report", lambda text: "Keys" in text, START_S)
    assert "ERROR" not in report
    for words in ("hone 0", "the daemon runs", "1 buffer, positions in utf-8", "<Tab>: accept"):
        assert words in report, report
    assert "no language server" not in report
    assert report.count("the daemon runs") == 1
    assert "<M-End> is mapped to something else" in report


def test_checkhealth_where_nothing_runs_yet(start: Start) -> None:
    editor = start("", "require('hone').setup({ cmd = { '~/nothing', 'lsp' } })", filename="a.txt", wait=False)
    editor.lua("vim.cmd('checkhealth hone')")
    report = until(lambda: "\n".join(editor.lines), "the report", lambda text: "Keys" in text, START_S)
    assert "another way" not in report, report
    assert f"{editor.file.parent}/nothing is not an executable" in " ".join(report.split()), report
