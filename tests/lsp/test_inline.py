"""textDocument/inlineCompletion and textDocument/completion, in memory, with a completer that knows the answers."""

import asyncio
import random
from typing import Any

import pytest
from lsprotocol.types import Position

from assistant.errors import BusyError, DaemonError
from lsp.documents import Document
from tests.lsp.peers import MODERN, URI, Editor, RequestFailedError, Script, after, in_memory, run, until

CODE = "def add(a, b):\n    ret\n"
ALONE: dict[str, Any] = {"ahead": False, "debounceMs": 0}


def applied(text: str, item: dict[str, Any], encoding: str = "utf-16") -> str:
    """The text with an item accepted, by the protocol's rules."""
    document = Document.of("", 0, "", text, encoding)
    start, end = (document.offset(Position(**item["range"][name])) for name in ("start", "end"))
    assert item["range"]["start"]["line"] == item["range"]["end"]["line"], "a range stays on one line"
    return text[:start] + str(item["insertText"]) + text[end:]


def test_an_automatic_request_gets_one_item_and_one_by_hand_several() -> None:
    async def work() -> None:
        script = Script(lambda _: ["urn a + b", "urn b + a", "urn 0"])
        editor, _ = in_memory(script)
        await editor.start(options=ALONE)
        editor.open(CODE)
        items = await editor.inline(1, 7)
        assert [item["insertText"] for item in items] == ["urn a + b"]
        assert applied(CODE, items[0]) == "def add(a, b):\n    return a + b\n"
        items = await editor.inline(1, 7, by_hand=True)
        assert [item["insertText"] for item in items] == ["urn a + b", "urn b + a", "urn 0"]
        assert script.asked[0][0].filename == "/project/a.py"
        assert [request.n for request in script.seen()] == [1, 3]

    run(work)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
def test_positions_are_in_the_units_that_were_agreed_on(encoding: str) -> None:
    async def work() -> None:
        editor, _ = in_memory(Script(after(("prin", 't("𝄞")'))))
        await editor.start(capabilities=MODERN | {"general": {"positionEncodings": [encoding]}}, options=ALONE)
        line = "# ä€𝄞prin"
        editor.open(line)
        column = {"utf-8": 15, "utf-16": 10, "utf-32": 9}[encoding]
        items = await editor.inline(0, column)
        assert applied(line, items[0], encoding) == '# ä€𝄞print("𝄞")'
        assert items[0]["range"]["start"] == {"line": 0, "character": column}

    run(work)


def test_closing_signs_behind_the_cursor_are_taken_in() -> None:
    async def work() -> None:
        editor, _ = in_memory(Script(after(('print("', "hello"))))
        await editor.start(options=ALONE)
        editor.open('print("")\n')
        (item,) = await editor.inline(0, 7)
        assert item["insertText"] == 'hello")'
        assert applied('print("")\n', item) == 'print("hello")\n'
        editor.open("print(x) if x else y\n", uri="file:///b.py")
        editor.open('print(" or "x")\n', uri="file:///c.py")
        (item,) = await editor.inline(0, 7, "file:///c.py")
        assert item["insertText"] == "hello", "code behind the cursor stays behind it"

    run(work)


def test_an_unchecked_answer_that_repeats_the_closing_sign_replaces_it() -> None:
    async def work() -> None:
        script = Script(after(("f(", "a, b)")))
        editor, _ = in_memory(script)
        await editor.start(options=ALONE)
        editor.open("f()\n", uri="file:///a.unknown")
        script.verdict = "unchecked"
        (item,) = await editor.inline(0, 2, "file:///a.unknown")
        assert applied("f()\n", item) == "f(a, b)\n"
        script.verdict = "valid"  # the gate has seen both of them in place
        editor.open("f((f()\n", uri="file:///b.py")
        (item,) = await editor.inline(0, 5, "file:///b.py")
        assert applied("f((f()\n", item) == "f((f(a, b))\n"

    run(work)


def test_a_selected_entry_of_the_menu_is_asked_about_as_if_it_were_taken() -> None:
    async def work() -> None:
        script = Script(after(("sys.argv", "[1:]")))
        editor, _ = in_memory(script)
        await editor.start(options=ALONE)
        editor.open("x = sys.ar\n")
        where = {"start": {"line": 0, "character": 8}, "end": {"line": 0, "character": 10}}
        (item,) = await editor.inline(0, 10, selected={"range": where, "text": "argv"})
        assert item["range"] == where
        assert item["insertText"] == "argv[1:]"
        assert script.asked[0][0].text == "x = sys.argv\n"

    run(work)


def test_what_is_typed_along_is_answered_from_memory() -> None:
    async def work() -> None:
        script = Script(after(("ret", "urn a + b")))
        editor, _ = in_memory(script)
        await editor.start(options=ALONE)
        editor.open(CODE)
        await editor.inline(1, 7)
        for version, (letter, left) in enumerate([("u", "rn a + b"), ("r", "n a + b"), ("n", " a + b")], start=2):
            editor.type(letter, 1, 5 + version, version)
            (item,) = await editor.inline(1, 6 + version)
            assert item["insertText"] == left
        assert len(script.seen()) == 1
        editor.type("x", 1, 10, 5)
        assert await editor.inline(1, 11) == []
        assert len(script.seen()) == 2, "what is not typed along is asked about"

    run(work)


def test_a_bracket_that_the_editor_closed_is_replaced() -> None:
    async def work() -> None:
        script = Script(after(("prin", 't("hello")')))
        editor, _ = in_memory(script)
        await editor.start(options=ALONE)
        editor.open("prin\n")
        await editor.inline(0, 4)
        editor.type("t", 0, 4, 2)
        editor.type("()", 0, 5, 3)
        (item,) = await editor.inline(0, 6)
        assert applied("print()\n", item) == 'print("hello")\n'
        assert len(script.seen()) == 1

    run(work)


def test_the_next_suggestion_is_there_when_one_is_accepted() -> None:
    async def work() -> None:
        script = Script(after(("ret", "urn a + b"), ("return a + b", "\n\nprint(add(1, 2))")))
        editor, _ = in_memory(script)
        await editor.start(options={"debounceMs": 0})
        editor.open(CODE)
        await editor.inline(1, 7)
        await until(lambda: script.seen(batch=True), "the next one")
        assert script.seen(batch=True)[0].text == "def add(a, b):\n    return a + b\n"
        await asyncio.sleep(0.02)
        editor.type("urn a + b", 1, 7, 2)
        (item,) = await editor.inline(1, 16)
        assert item["insertText"] == "\n\nprint(add(1, 2))"
        assert len(script.seen()) == 1, "only the first one was waited for"

    run(work)


def test_what_is_computed_ahead_stands_behind_an_unchecked_answer_as_it_is_accepted() -> None:
    async def work() -> None:
        script = Script(after(("f(", "a, b)")))
        script.verdict = "unchecked"
        editor, _ = in_memory(script)
        await editor.start(options=ALONE | {"ahead": True})
        editor.open("f()\n", uri="file:///a.unknown")
        await editor.inline(0, 2, "file:///a.unknown")
        await until(lambda: script.seen(batch=True), "the next one")
        ahead = script.seen(batch=True)[0]
        assert (ahead.text, ahead.start) == ("f(a, b)\n", 7)

    run(work)


def test_a_key_that_leads_elsewhere_stops_what_is_computed_ahead() -> None:
    async def work() -> None:
        script = Script(after(("ret", "urn a + b"), ("return a + b", "\n\nx")))
        script.ahead_delay = 60
        editor, _ = in_memory(script)
        await editor.start(options={"debounceMs": 0})
        editor.open(CODE)
        await editor.inline(1, 7)
        await until(lambda: script.seen(batch=True), "the next one")
        editor.type("u", 1, 7, 2)  # along: it goes on
        await editor.inline(1, 8)
        assert script.cancelled == []
        editor.type("x", 1, 8, 3)
        await until(lambda: script.cancelled, "the end of the work")
        assert script.cancelled[0].batch

    run(work)


def test_an_answer_to_an_older_version_is_not_given() -> None:
    async def work() -> None:
        script = Script(after(("ret", "urn a + b")))
        script.gate = asyncio.Event()
        editor, _ = in_memory(script)
        await editor.start(options=ALONE)
        editor.open(CODE)
        _, answer = editor.ask(1, 7)
        await until(lambda: script.asked, "the question")
        editor.type("x", 1, 7, 2)
        script.gate.set()
        assert (await answer)["items"] == []
        editor.type("y", 1, 8, 3)
        _, answer = editor.ask(1, 7, version=2)
        assert (await answer)["items"] == [], "another version was named"

    run(work)


def test_a_request_is_about_the_document_at_its_arrival() -> None:
    async def work() -> None:
        script = Script(after(("ret", "urn a + b")))
        editor, _ = in_memory(script)
        await editor.start(options=ALONE)
        editor.open(CODE)
        _, answer = editor.ask(1, 7)
        editor.replace("\n" * 9, 2)  # before the request's task has begun
        assert (await answer)["items"] == []
        assert script.asked == []

    run(work)


def test_the_newest_request_wins_and_the_older_one_gets_an_empty_answer() -> None:
    async def work() -> None:
        script = Script(after(("ret", "urn a + b")), delay=60)
        editor, _ = in_memory(script)
        await editor.start(options=ALONE)
        editor.open(CODE)
        first, old = editor.ask(1, 7)
        await until(lambda: script.asked, "the question")
        script.delay = 0
        second, new = editor.ask(1, 7)
        assert (await old)["items"] == []
        assert len((await new)["items"]) == 1
        assert len(script.cancelled) == 1
        assert editor.answers == {1: 1, first: 1, second: 1}
        assert {caller.document for _, caller in script.asked} == {f"inline {URI}"}

    run(work)


def test_a_cancelled_request_stops_the_model_and_is_answered_once() -> None:
    async def work() -> None:
        script = Script(after(("ret", "urn a + b")), delay=60)
        editor, _ = in_memory(script)
        await editor.start(options=ALONE)
        editor.open(CODE)
        number, answer = editor.ask(1, 7)
        await until(lambda: script.asked, "the question")
        editor.notify("$/cancelRequest", id=number)
        with pytest.raises(RequestFailedError) as failed:
            await answer
        assert failed.value.code == -32800
        assert len(script.cancelled) == 1
        assert editor.answers[number] == 1

    run(work)


def test_fast_keys_are_waited_for_but_the_first_one_is_not() -> None:
    async def work() -> None:
        script = Script(after(("ret", "urn a + b")), delay=0.2)
        editor, session = in_memory(script)
        await editor.start(options={"ahead": False, "debounceMs": 2000})
        editor.open(CODE)
        await editor.inline(1, 7)
        assert session.suggester.pace.latency_ms > 150
        editor.type("x", 1, 7, 2)
        _, old = editor.ask(1, 8)
        await asyncio.sleep(0.02)
        editor.type("y", 1, 8, 3)
        _, new = editor.ask(1, 9)
        assert (await old)["items"] == []
        await new
        assert len(script.seen()) == 2, "the key between the two cost the model nothing"
        budgets = [request.budget_ms or 0 for request in script.seen()]
        assert budgets[0] > budgets[1], "what was waited is taken off the budget"

    run(work)


def test_why_there_is_nothing_is_said_once() -> None:
    async def work() -> None:
        script = Script(lambda _: ["x"])
        editor, _ = in_memory(script)
        await editor.start(options=ALONE)
        editor.open(CODE)
        script.error = DaemonError("the daemon cannot be started; free some memory")
        assert await editor.inline(1, 7) == []
        assert await editor.inline(1, 7) == []
        assert editor.messages() == ["Hone: the daemon cannot be started; free some memory"]
        script.error = BusyError("busy", 1)
        assert await editor.inline(1, 7) == []
        script.error = ZeroDivisionError()
        assert await editor.inline(1, 7) == []
        assert len(editor.messages()) == 2
        script.error = None
        assert len(await editor.inline(1, 7)) == 1

    run(work)


def test_secrets_and_excluded_files_are_never_sent() -> None:
    async def work() -> None:
        script = Script(lambda _: ["x"])
        editor, _ = in_memory(script)
        await editor.start(options={**ALONE, "exclude": ["generated/**"]})
        for uri in ("file:///home/me/.env", "file:///home/me/.ssh/config", "file:///w/generated/deep/a.py"):
            editor.open("KEY=\n", uri=uri)
            for _ in range(2):
                assert await editor.inline(0, 4, uri) == []
            assert await editor.request(
                "textDocument/codeAction",
                textDocument={"uri": uri},
                range={"start": {"line": 0, "character": 0}, "end": {"line": 0, "character": 3}},
                context={"diagnostics": []},
            ) == []  # fmt: skip
        assert script.asked == []
        assert len(editor.messages("window/logMessage")) == 3, "once for each file"

    run(work)


@pytest.mark.parametrize(
    ("uri", "told", "filename", "language"),
    [
        ("untitled:Untitled-1", "python", "Untitled-1", "python"),
        ("vscode-notebook-cell:/w/a.ipynb#W2sZmlsZQ%3D%3D", "python", None, "python"),
        ("file:///w/tool.in", "shellscript", "/w/tool.in", "shellscript"),
        ("file:///w/a.py", "", "/w/a.py", None),
        ("file:///w/a.py", "x" * 1000, "/w/a.py", "x" * 64),
    ],
)
def test_the_language_is_the_one_that_the_editor_names(
    uri: str, told: str, filename: str | None, language: str | None
) -> None:
    """A new document has no name that tells it, and a cell is not of its notebook's."""

    async def work() -> None:
        script = Script(lambda _: ["1"])
        editor, _ = in_memory(script)
        await editor.start(options=ALONE)
        editor.open("x = \n    ...\n", uri=uri, language=told)
        assert await editor.inline(0, 4, uri)
        filled = {"action": "fillHole", "uri": uri, "position": {"line": 1, "character": 5}}
        await editor.request("workspace/executeCommand", command="hone.run", arguments=[filled])
        asked = [(one.filename, one.language) for one, _ in script.asked]
        assert asked == [(filename, language)] * 2

    run(work)


def test_an_acceptance_is_recorded_once() -> None:
    async def work() -> None:
        editor, session = in_memory(Script(lambda _: ["x"]))
        await editor.start(options=ALONE)
        editor.open(CODE)
        (item,) = await editor.inline(1, 7)
        command = item["command"]
        for _ in range(2):
            await editor.request("workspace/executeCommand", command=command["command"], arguments=command["arguments"])
        odds: tuple[Any, ...] = ([], [1], ["unknown"], [{}], None)
        for odd in odds:
            await editor.request("workspace/executeCommand", command="hone.accepted", arguments=odd)
        assert list(session.accepted) == command["arguments"]

    run(work)


@pytest.mark.parametrize(
    ("capabilities", "option", "offered"),
    [(MODERN, "auto", False), ({}, "auto", True), (MODERN, "on", True), ({}, "off", False)],
)
def test_the_menu_is_for_editors_without_inline_completion(
    capabilities: dict[str, Any], option: str, offered: bool
) -> None:
    async def work() -> None:
        editor, _ = in_memory(Script(after(("ret", "urn a + b"))))
        able = await editor.start(capabilities, {**ALONE, "completion": option})
        assert able["inlineCompletionProvider"] == {}
        assert ("completionProvider" in able) == offered
        editor.open(CODE)
        request = editor.request(
            "textDocument/completion", textDocument={"uri": URI}, position={"line": 1, "character": 7}
        )
        if not offered:
            with pytest.raises(RequestFailedError):
                await request
            return
        (item,) = (await request)["items"]
        assert item["textEdit"]["newText"] == "return a + b", "menus are filtered by the word before the cursor"
        assert item["textEdit"]["range"]["start"] == {"line": 1, "character": 4}
        assert item["filterText"].startswith("ret")

    run(work)


def test_bad_options_are_told_by_their_path_and_replaced() -> None:
    async def work() -> None:
        editor, session = in_memory(Script(lambda _: []))
        editor.configuration = {"maxTokens": "many", "debounceMs": 5}
        await editor.start(options={"budgetMs": -1, "colour": "red", "ahead": False})
        await until(lambda: len(editor.messages()) == 3, "three complaints")
        assert [message.split()[1] for message in sorted(editor.messages())] == [
            "hone.maxTokens", "initializationOptions.budgetMs", "initializationOptions.colour",
        ]  # fmt: skip
        assert (session.options.budget_ms, session.options.max_tokens) == (1000, 64)
        assert (session.options.debounce_ms, session.options.ahead) == (5, False)
        editor.configuration = {"enabled": False}
        editor.notify("workspace/didChangeConfiguration", settings=None)
        await until(lambda: not session.options.enabled, "the new configuration")
        editor.open(CODE)
        assert await editor.inline(1, 7) == []

    run(work)


def test_positions_outside_of_the_text_are_taken_to_their_nearest_place() -> None:
    async def work() -> None:
        script = Script(lambda _: ["x"])
        editor, _ = in_memory(script)
        await editor.start(options=ALONE)
        editor.open("ab\r\ncd")
        for line, character, offset in [(0, 99, 2), (99, 0, 6), (1, 2**31 - 1, 6), (2**31 - 1, 2**31 - 1, 6)]:
            await editor.inline(line, character, by_hand=True)
            assert script.asked[-1][0].start == offset
            editor.open("ab\r\ncd")
        with pytest.raises(RequestFailedError) as failed:
            await editor.inline(-1, 0)
        assert failed.value.code == -32602
        assert script.asked[-1][0].text == "ab\r\ncd"

    run(work)


async def opened(script: Script) -> Editor:
    editor, _ = in_memory(script)
    await editor.start(options=ALONE)
    editor.open(CODE)
    return editor


def test_half_a_character_is_not_sent() -> None:
    async def work() -> None:
        script = Script(lambda _: ["x"])
        editor = await opened(script)
        editor.open("s = '\ud800'\n")
        assert len(await editor.inline(0, 8)) == 1
        assert script.asked[-1][0].text == "s = '\ufffd'\n"

    run(work)


def test_a_request_in_flight_is_answered_when_the_server_is_shut_down() -> None:
    async def work() -> None:
        script = Script(lambda _: ["x"], delay=60)
        editor = await opened(script)
        number, answer = editor.ask(1, 7)
        await until(lambda: script.asked, "the question")
        assert await editor.request("shutdown") is None
        with pytest.raises(RequestFailedError):
            await answer
        assert editor.answers[number] == 1
        assert len(script.cancelled) == 1

    run(work)


def test_a_closed_document_is_answered_with_nothing_and_forgotten() -> None:
    async def work() -> None:
        script = Script(lambda _: ["x"], delay=60)
        editor = await opened(script)
        _, answer = editor.ask(1, 7)
        await until(lambda: script.asked, "the question")
        editor.notify("textDocument/didClose", textDocument={"uri": URI})
        assert (await answer)["items"] == []
        assert len(script.cancelled) == 1
        assert await editor.inline(1, 7) == []

    run(work)


@pytest.mark.parametrize("seed", range(4))
def test_no_answer_is_stale_when_it_leaves_the_server(seed: int) -> None:
    """Random keys in three documents, answers that take their time: what is suggested fits the text that the server has
    at that moment, and every request is answered once.
    """
    dice = random.Random(seed)
    uris = [f"file:///project/{name}.py" for name in "abc"]

    async def work() -> None:
        script = Script(lambda request: [request.text[: request.start].rpartition("\n")[2] + "#"])
        editor, session = in_memory(script)
        await editor.start(options={"debounceMs": 5})
        asked: dict[int, tuple[str, int]] = {}
        waiting: list[asyncio.Future[Any]] = []
        fresh: list[bool] = []

        def watch(message: dict[str, Any]) -> None:
            if message.get("id") in asked and (message.get("result") or {}).get("items"):
                uri, version = asked[message["id"]]
                document = session.documents.get(uri)
                fresh.append(document is not None and document.version == version)

        editor.watch = watch
        for uri in uris:
            editor.open("x = 1\n", uri=uri)
        for version in range(2, 202):
            uri = dice.choice(uris)
            script.delay = dice.choice([0, 0, 0.001, 0.02])
            editor.type(dice.choice(["a", "#", "𝄞", "\n", "("]), dice.randrange(3), dice.randrange(6), version, uri)
            number, answer = editor.ask(dice.randrange(3), dice.randrange(8), uri, by_hand=dice.random() < 0.2)
            asked[number] = (uri, version)
            waiting.append(answer)
            if dice.random() < 0.2:
                editor.notify("$/cancelRequest", id=dice.choice(list(asked)))
            await asyncio.sleep(dice.choice([0, 0, 0, 0.003, 0.03]))
        await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 20)
        assert [editor.answers[number] for number in asked] == [1] * 200
        assert len(fresh) > 10
        assert all(fresh)
        assert editor.messages() == []

    run(work)
