"""Everything that a client may do wrong, over a real pipe: one answer per request, none of them stale, no crash."""

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from io import BytesIO
from typing import Any

import pytest

from lsp.framing import bodies
from tests.lsp.conftest import StartDaemon
from tests.lsp.peers import (
    MODERN,
    ROOT,
    URI,
    Connect,
    Editor,
    RequestFailedError,
    Script,
    in_memory,
    over_stdio,
    over_tcp,
    run,
    until,
)
from tests.serve.conftest import TEXT

ODD_URIS = [
    "untitled:Untitled-1", "file:///C:/Users/me/a%20b.py", "file:///c%3A/Users/a.py", "vscode-notebook-cell:/a.ipynb#0",
    "vscode-remote://ssh-remote+host/a.py", "file://host/share/a.py", "", "a.py", "git:/a.py?%7B%22ref%22%3A%22%22%7D",
    "file:///%F0%9F%8E%BC/%2e%2e/a.py", "inmemory://model/1", "file:///" + "x" * 9000 + ".py", "file:///a\ud800.py",
]  # fmt: skip
METHODS = [
    "textDocument/inlineCompletion", "textDocument/completion", "textDocument/codeAction", "codeAction/resolve",
    "workspace/executeCommand", "textDocument/copilotInlineEdit", "textDocument/hover", "hone/nothing", "$/unknown", "",
    "textDocument/copilotPanelCompletion", "signIn", "checkStatus", "getCompletions", "notifyShown",
]  # fmt: skip
NOTIFICATIONS = [
    "textDocument/didOpen", "textDocument/didChange", "textDocument/didClose", "textDocument/didSave",
    "textDocument/didFocus", "textDocument/didShowCompletion", "textDocument/didPartiallyAcceptCompletion",
    "textDocument/didShowInlineEdit", "workspace/didChangeConfiguration", "workspace/didChangeWatchedFiles",
    "notebookDocument/didOpen", "$/setTrace", "$/progress", "$/cancelRequest", "window/workDoneProgress/cancel", "x/y",
    "workspace/didChangeWorkspaceFolders", "exit/not", "initialized",
]  # fmt: skip


def rubbish(dice: random.Random) -> Any:
    simple: list[Any] = [
        None,
        True,
        -1,
        2**40,
        1.5,
        "",
        "x",
        [],
        {},
        {"uri": URI},
        [None],
        {"line": -1, "character": -1},
    ]
    place = {"line": dice.choice([0, 1, 10**9, -1]), "character": dice.choice([0, 3, 2**31 - 1, -7])}
    identifier = {"uri": dice.choice([URI, *ODD_URIS]), "version": dice.choice([None, 1, 3, -5, "x"])}
    whole: dict[str, Any] = {
        "textDocument": dice.choice([identifier, {**identifier, "languageId": "python", "text": "x"}, *simple]),
        "position": dice.choice([place, *simple]),
        "range": dice.choice([{"start": place, "end": place}, *simple]),
        "context": dice.choice([{"triggerKind": 2}, {"triggerKind": 99}, {"diagnostics": []}, *simple]),
        "contentChanges": dice.choice(
            [[{"text": "x"}], [{"range": {"start": place, "end": place}, "text": "é"}], *simple]
        ),
        "item": dice.choice([{"command": {"arguments": [dice.choice(simple)]}}, *simple]),
        "acceptedLength": dice.choice(simple),
        "command": dice.choice(["hone.run", "hone.accepted", "nothing", *simple]),
        "arguments": dice.choice([[{"action": "fixSyntax", "uri": URI, "position": place}], [identifier], *simple]),
        "title": "x",
        "data": dice.choice([{"action": "fillHole", "uri": URI, "range": {"start": place, "end": place}}, *simple]),
        "id": dice.choice(simple),
        "token": dice.choice(simple),
        "workDoneToken": dice.choice(["a", 1, *simple]),
        "settings": dice.choice([{"hone": {"maxTokens": []}}, *simple]),
    }
    kept = {key: value for key, value in whole.items() if dice.random() < 0.7}
    return dice.choice([kept, kept, kept, *simple])


@pytest.mark.parametrize("seed", range(3))
def test_rubbish_is_answered_once_each_and_changes_nothing(seed: int) -> None:
    dice = random.Random(seed)

    async def work() -> None:
        script = Script(lambda _: ["x"])
        editor, _ = in_memory(script)
        await editor.start(options={"ahead": False, "debounceMs": 0})
        editor.open("def f():\n    pass\n")
        waiting: list[tuple[int, asyncio.Future[Any]]] = []
        for _ in range(400):
            params = rubbish(dice)
            if dice.random() < 0.5:
                number = len(editor.answers) + len(waiting) + 100_000
                future = editor._pending[number] = asyncio.get_running_loop().create_future()
                waiting.append((number, future))
                editor._send({"jsonrpc": "2.0", "id": number, "method": dice.choice(METHODS), "params": params})
            else:
                editor._send({"jsonrpc": "2.0", "method": dice.choice(NOTIFICATIONS), "params": params})
            if dice.random() < 0.1:
                await asyncio.sleep(0)
        done = asyncio.gather(*(future for _, future in waiting), return_exceptions=True)
        await asyncio.wait_for(done, 60)
        assert [editor.answers[number] for number, _ in waiting] == [1] * len(waiting)
        assert max(editor.answers.values()) == 1
        editor.open("ret\n", uri="file:///fresh.py")
        assert len(await editor.inline(0, 3, "file:///fresh.py", by_hand=True)) == 1, "it still works"

    run(work)


@pytest.mark.parametrize("uri", ODD_URIS)
def test_documents_of_every_kind_of_name(uri: str) -> None:
    async def work() -> None:
        editor, _ = in_memory(Script(lambda _: ["x"]))
        await editor.start(options={"ahead": False, "debounceMs": 0})
        assert await editor.inline(0, 0, uri) == [], "it is not open"
        editor.replace("y", 2, uri=uri)
        assert await editor.inline(0, 0, uri) == [], "a change opens nothing"
        editor.open("", uri=uri)
        editor.type("x = ", 0, 0, 2, uri=uri)
        (item,) = await editor.inline(0, 4, uri)
        assert item["insertText"] == "x"
        assert await editor.inline(0, 4, uri, version=1) == []
        editor.notify("textDocument/didClose", textDocument={"uri": uri})
        assert await editor.inline(0, 4, uri) == []

    run(work)


def test_shut_down_twice_and_what_comes_after_it() -> None:
    async def work() -> None:
        async with over_stdio() as (editor, child):
            await editor.start(MODERN)
            assert await editor.request("shutdown") is None
            with pytest.raises(RequestFailedError) as failed:
                await editor.request("shutdown")
            assert failed.value.code == -32600
            editor.open("x")
            editor.notify("$/cancelRequest", id=12345)
            with pytest.raises(RequestFailedError):
                await editor.request("textDocument/copilotInlineEdit", textDocument={"uri": URI})
            editor.notify("exit")
            assert await asyncio.wait_for(child.wait(), 20) == 0

    run(work)


@pytest.mark.parametrize("is_started", [False, True])
def test_exit_without_shutdown_ends_it_with_an_error(is_started: bool) -> None:
    async def work() -> None:
        async with over_stdio() as (editor, child):
            if is_started:
                await editor.start(MODERN)
            editor.notify("exit")
            assert await asyncio.wait_for(child.wait(), 20) == 1

    run(work)


def test_messages_that_are_none_and_huge_ones() -> None:
    """Whatever stands between two messages, the next one is read."""

    async def work() -> None:
        async with over_stdio() as (editor, child):
            await editor.start(MODERN)
            assert child.stdin is not None
            for body in (
                b"no json",
                b"{}",
                b"[]",
                b"null",
                b'{"jsonrpc": "2.0"}',
                b'{"id": 1}',
                b"[1, {}]",
                b"\xff\xfe",
                b'"x"',
            ):
                child.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
            deep = json.dumps({"jsonrpc": "2.0", "method": "x/y", "params": {"x": "y" * 3_000_000}}).encode()
            child.stdin.write(b"Content-Length: %d\r\n\r\n" % len(deep) + deep)
            nested = b'{"jsonrpc": "2.0", "method": "x/y", "params": ' + b"[" * 500 + b"]" * 500 + b"}"
            child.stdin.write(b"Content-Length: %d\r\n\r\n" % len(nested) + nested)
            with pytest.raises(RequestFailedError):
                await editor.request("workspace/executeCommand", command="hone.run", arguments=["x" * 2_000_000])
            assert child.returncode is None

    run(work)


class Bytes:
    """A stream that is there already."""

    def __init__(self, data: bytes) -> None:
        self._rest = BytesIO(data)

    async def readline(self) -> bytes:
        return self._rest.readline()

    async def readexactly(self, n: int) -> bytes:
        return self._rest.read(n)


BETWEEN = [
    b"",
    b"\r\n\r\n\n",
    b"garbage\r\n",
    b"garbage\r\n\r\n",
    b"x" * 100_000 + b"\r\n",
    b"Content-Length: 0\r\n\r\n",
    b"Content-Length: -5\r\n\r\n",
    b"Content-Length: many\r\n\r\n",
    b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
    b"Content-Length: 99999999999999999999\r\n\r\n",
    b"\xff\xfe\r\n",
    b"Content-Length: 3\r\n\r\nfour",  # a length that is too small
]
HEADS = [
    b"Content-Length: %d\r\n\r\n",
    b"content-length: %d\r\n\r\n",
    b"CONTENT-LENGTH:%d\r\n\r\n",
    b"Content-Length: \t%d  \r\n\r\n",
    b"Content-Length: %d\n\n",
    b"Content-Type: application/vscode-jsonrpc; charset=utf-8\r\nContent-Length: %d\r\n\r\n",
    b"Content-Length: %d\r\nContent-Type: application/vscode-jsonrpc; charset=utf8\r\nX-Odd\r\n\r\n",
]


@pytest.mark.parametrize("head", HEADS, ids=str)
@pytest.mark.parametrize("between", BETWEEN, ids=lambda between: str(between[:30]))
def test_a_message_is_found_behind_anything(between: bytes, head: bytes) -> None:
    async def work() -> None:
        data = b"".join(between + head % 7 + b'{"n":%d}' % n for n in (1, 2))
        found = [one async for one in bodies(Bytes(data))]
        assert [one for one in found if one.startswith(b"{")] == [b'{"n":1}', b'{"n":2}']

    run(work)


def test_a_length_that_is_too_large_costs_the_message_that_it_reaches_into() -> None:
    async def work() -> None:
        lie = b"Content-Length: 17\r\n\r\n" + b'{"n":1}'
        data = lie + b"".join(HEADS[0] % 7 + b'{"n":%d}' % n for n in (2, 3))
        assert [one async for one in bodies(Bytes(data))][1:] == [b'{"n":3}']

    run(work)


@pytest.mark.parametrize("connect", [over_stdio, over_tcp])
def test_every_spelling_of_a_header_and_no_end_at_any_garbage(connect: Connect) -> None:
    async def work() -> None:
        async with connect() as (editor, child):
            await editor.start(MODERN)
            for between in BETWEEN:
                editor.write(between)
            for count, head in enumerate(HEADS):
                body = json.dumps({"jsonrpc": "2.0", "id": f"odd {count}", "method": "x/y"}).encode()
                editor.write(head % len(body) + body)
            await until(lambda: sum(editor.answers[f"odd {count}"] for count in range(len(HEADS))) == len(HEADS), "all")
            for body, code in ((b"no json", -32700), (b"\xff\xfe{}", -32700), (b"[1]", -32600), (b"5", -32600)):
                editor.lost.clear()
                editor.write(HEADS[0] % len(body) + body)
                await until(lambda: editor.lost, "an answer to nobody's request")
                assert [one["code"] for one in editor.lost] == [code]
            assert await editor.request("shutdown") is None
            editor.notify("exit")
            assert await asyncio.wait_for(child.wait(), 20) == 0

    run(work)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400"])
def test_an_id_that_json_cannot_have_is_not_sent_back(number: str) -> None:
    async def work() -> None:
        editor, session = in_memory(Script(lambda _: []))
        await editor.start()
        session.protocol.receive(b'{"jsonrpc": "2.0", "method": "shutdown", "id": %s}' % number.encode())
        await until(lambda: editor.lost, "an answer to nobody")
        assert [one["code"] for one in editor.lost] in ([-32600], [-32700])
        assert await editor.request("textDocument/copilotInlineEdit", textDocument={"uri": URI}) == {"edits": []}

    run(work)


@pytest.mark.parametrize("is_started", [False, True])
def test_nobody_reads_its_answers(is_started: bool) -> None:
    """Though somebody keeps its input open."""
    read, write = os.pipe()
    child = subprocess.Popen(
        [sys.executable, "-m", "assistant", "lsp"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=write,
        stderr=subprocess.PIPE,
    )
    os.close(write)
    assert child.stdin is not None
    if not is_started:
        os.close(read)
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"capabilities": {}}}).encode()
    child.stdin.write(HEADS[0] % len(body) + body)
    child.stdin.flush()
    if is_started:
        assert os.read(read, 10) == b"Content-Le"
        os.close(read)
        child.stdin.write(HEADS[0] % len(body) + body)
        child.stdin.flush()
    try:
        assert child.wait(30) == 1
        assert child.stderr is not None
        assert b"Traceback" not in child.stderr.read()
    finally:
        child.kill()
        child.communicate()


def test_it_ends_with_the_editor_that_started_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever else keeps its input open; but a number that says nothing here is no reason to end."""
    monkeypatch.setattr("lsp.server.EDITOR_S", 0.02)
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])

    async def work() -> None:
        left: list[int] = []
        for process in (sleeper.pid, None, 2**22 + 7, 2**31 - 1, 0, -1):
            editor, session = in_memory(Script(lambda _: []))
            session.protocol.on_exit = left.append
            await editor.request("initialize", processId=process, rootUri=None, capabilities={})
            editor.notify("initialized")
        await asyncio.sleep(0.1)
        assert left == []
        sleeper.kill()
        sleeper.wait()
        await until(lambda: left, "its end")
        await asyncio.sleep(0.1)
        assert left == [1]

    run(work)


@pytest.mark.skipif(os.name != "posix", reason="there is no such signal")
def test_a_signal_to_end_is_no_crash() -> None:
    async def work() -> None:
        async with over_stdio() as (editor, child):
            await editor.start(MODERN)
            child.terminate()
            assert await asyncio.wait_for(child.wait(), 20) == 0

    run(work)


def test_a_second_client_over_tcp_is_sent_away() -> None:
    """Else the answers to the first would go to it."""

    async def work() -> None:
        async with over_tcp() as (editor, child):
            await editor.start(MODERN)
            reader, writer = await asyncio.open_connection("127.0.0.1", editor.port)
            assert await asyncio.wait_for(reader.read(), 20) == b""
            writer.close()
            editor.open("x")
            assert await editor.request("textDocument/copilotInlineEdit", textDocument={"uri": URI}) == {"edits": []}
            assert child.returncode is None

    run(work)


def asked(editor: Editor, message: dict[str, Any]) -> "asyncio.Future[Any]":
    future = editor._pending[message["id"]] = asyncio.get_running_loop().create_future()
    editor._send(message)
    return future


@pytest.mark.parametrize("params", [{}, {"params": {}}, {"params": None}, {"params": []}, {"params": 5}], ids=str)
@pytest.mark.parametrize("method", ["textDocument/hover", "x/y", "$/unknown", "textDocument/inlineCompletion"])
def test_the_first_reason_to_refuse_a_request_is_named(method: str, params: dict[str, Any]) -> None:
    """A client that knows whether a method is there by the code is not told of its params instead."""

    async def work() -> None:
        editor, _ = in_memory(Script(lambda _: []))
        request = {"jsonrpc": "2.0", "method": method, **params}
        codes = []
        for step in ("before", "between", "after"):
            if step == "between":
                await editor.start()
            elif step == "after":
                await editor.request("shutdown")
            with pytest.raises(RequestFailedError) as failed:
                await asyncio.wait_for(asked(editor, {**request, "id": step}), 5)
            codes.append(failed.value.code)
        known = method == "textDocument/inlineCompletion"
        assert codes == [-32002, -32602 if known else -32601, -32600]

    run(work)


@pytest.mark.parametrize("number", [None, True, [1], {}])
def test_a_request_whose_id_is_none_is_answered_to_nobody(number: Any) -> None:
    async def work() -> None:
        editor, _ = in_memory(Script(lambda _: []))
        await editor.start()
        editor._send({"jsonrpc": "2.0", "id": number, "method": "workspace/executeCommand", "params": {}})
        await until(lambda: editor.lost, "the answer")
        assert [one["code"] for one in editor.lost] == [-32600]
        editor._send({"id": 77, "method": "shutdown"})
        await until(lambda: editor.answers[77], "the answer to what names no version of JSON-RPC")

    run(work)


@pytest.mark.parametrize(
    ("data", "code"),
    [(None, -32602), ({"action": "nothing"}, -32602), ({"action": "fillHole", "uri": URI}, -32602),
     ({"action": "fillHole", "uri": URI, "version": 7, "position": {"line": 0, "character": 0}}, -32801),
     ({"action": "fillHole", "uri": "x:y", "position": {"line": 0, "character": 0}}, -32803)],
)  # fmt: skip
def test_codes_of_a_command_that_cannot_be_run(data: Any, code: int) -> None:
    async def work() -> None:
        editor, _ = in_memory(Script(lambda _: []))
        await editor.start()
        editor.open("x = 1\n")
        with pytest.raises(RequestFailedError) as failed:
            await editor.request("workspace/executeCommand", command="hone.run", arguments=[data])
        assert failed.value.code == code

    run(work)


@pytest.mark.parametrize("version", [{}, {"version": None}])
def test_a_change_without_a_version_is_made(version: dict[str, Any]) -> None:
    """As the protocol once had it; to pass it over would leave another text here than the editor has."""

    async def work() -> None:
        editor, session = in_memory(Script(lambda _: ["1"]))
        await editor.start(options={"ahead": False, "debounceMs": 0})
        editor.notify("textDocument/didOpen", textDocument={"uri": URI, "text": "x"})
        where = {"start": {"line": -1, "character": -4}, "end": {"line": 0, "character": 0}}
        for change in ({"text": "y = 1\nx"}, {"range": where, "text": "#"}):
            editor.notify("textDocument/didChange", textDocument={"uri": URI, **version}, contentChanges=[change])
        assert [one.text for one in session.documents] == ["#y = 1\nx"]
        assert len(await editor.inline(1, 1)) == 1

    run(work)


@pytest.mark.parametrize(("text", "language"), [("(" * 20_000, "python"), ("{" * 50_000, "javascript")])
def test_brackets_without_end_stop_nobody(text: str, language: str) -> None:
    """All code actions and next edits wait for one thread."""

    async def work() -> None:
        editor, _ = in_memory(Script(lambda _: []))
        await editor.start()
        editor.open(text + "\nx = 1\n", language=language)
        editor.type("y", 1, 0, 2)
        for line in (0, 1):
            here = {"line": line, "character": 1}
            await editor.request(
                "textDocument/codeAction", textDocument={"uri": URI}, range={"start": here, "end": here},
                context={"diagnostics": []},
            )  # fmt: skip
            with pytest.raises(RequestFailedError):
                await run_command(editor, action="fixSyntax", position=here)[1]

    began = time.process_time()
    run(work)
    assert time.process_time() - began < 10


def test_the_daemon_is_ended_and_replaced_while_five_documents_are_typed(
    start_daemon: StartDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Next edits, completions, actions and cancels of five documents at once, and no daemon in the middle of it."""
    monkeypatch.setenv("HONE_DAEMON", "never")
    daemon = start_daemon(on_call=lambda _: time.sleep(0.001))
    dice = random.Random(11)
    uris = [f"file:///project/{name}.py" for name in "vwxyz"]

    async def work() -> None:
        async with over_stdio() as (editor, child):
            await editor.start(options={"budgetMs": 300})
            for uri in uris:
                editor.open(TEXT, uri=uri)
            asked: list[tuple[int, asyncio.Future[Any]]] = []
            for key in range(120):
                uri = dice.choice(uris)
                editor.type(dice.choice("ab (:\n"), dice.randrange(3), dice.randrange(9), key + 2, uri=uri)
                asked.append(one_of_everything(editor, dice, uri))
                if dice.random() < 0.3:
                    editor.notify("$/cancelRequest", id=dice.choice(asked)[0])
                if key == 50:
                    await asyncio.to_thread(daemon.end)
                if key == 70:
                    await asyncio.to_thread(daemon.start)
                await asyncio.sleep(dice.choice([0, 0, 0.01]))
            done = asyncio.gather(*(answer for _, answer in asked), return_exceptions=True)
            for result in await asyncio.wait_for(done, 60):
                assert isinstance(result, RequestFailedError | dict | list), result
            assert [editor.answers[number] for number, _ in asked] == [1] * len(asked)
            assert child.returncode is None
            editor.open(TEXT, uri=URI)
            deadline = time.monotonic() + 30
            while not await editor.inline(1, 11, by_hand=True):
                assert time.monotonic() < deadline
                await asyncio.sleep(0.2)
            await editor.request("shutdown")
            editor.notify("exit")
            assert await asyncio.wait_for(child.wait(), 20) == 0
            assert child.stderr is not None
            said = (await child.stderr.read()).decode()
            assert "Traceback" not in said, said

    run(work)


def one_of_everything(editor: Editor, dice: random.Random, uri: str) -> tuple[int, "asyncio.Future[Any]"]:
    place = {"line": dice.randrange(4), "character": dice.randrange(12)}
    document = {"uri": uri}
    choice = dice.randrange(5)
    if choice == 0:
        return editor.begin("textDocument/copilotInlineEdit", textDocument=document, position=place)
    if choice == 1:
        return editor.begin(
            "textDocument/codeAction",
            textDocument=document, range={"start": place, "end": place}, context={"diagnostics": []},
        )  # fmt: skip
    if choice == 2:
        data = {"action": dice.choice(["fillHole", "fixSyntax", "renameHere"]), "uri": uri, "position": place}
        return editor.begin("workspace/executeCommand", command="hone.run", arguments=[data])
    return editor.ask(place["line"], place["character"], uri, by_hand=choice == 3)


def test_a_crowd_of_cancels_for_nothing() -> None:
    async def work() -> None:
        editor, _ = in_memory(Script(lambda _: ["x"]))
        await editor.start(options={"ahead": False, "debounceMs": 0})
        for odd in ("unknown", 0, -1, 2**53, None, True, [1], {"a": 1}):
            editor.notify("$/cancelRequest", id=odd)
        editor.open("x = \n")
        number, answer = editor.ask(0, 4)
        await until(lambda: editor.answers[number], "the answer")
        editor.notify("$/cancelRequest", id=number)
        assert len((await answer)["items"]) == 1
        await asyncio.sleep(0.01)
        assert editor.answers[number] == 1

    run(work)


FILL = {"action": "completeBody", "uri": URI, "position": {"line": 0, "character": 0}}
NO = {"error": {"code": -32601, "message": "no"}}


def run_command(editor: Editor, **data: Any) -> tuple[int, "asyncio.Future[Any]"]:
    return editor.begin("workspace/executeCommand", command="hone.run", arguments=[FILL | data])


@pytest.mark.parametrize(
    "data",
    [{"method": ["x"]}, {"method": {"name": "x"}}, {"jsonrpc": "2.0"},
     {"jsonrpc": "2.0", "id": 77, "method": "textDocument/hover", "params": 5}],
)  # fmt: skip
def test_what_is_inside_of_a_message_is_no_message(data: dict[str, Any]) -> None:
    async def work() -> None:
        editor, _ = in_memory(Script(lambda _: []))
        await editor.start()
        editor.open("x = (\n")
        here = {"start": {"line": 0, "character": 1}, "end": {"line": 0, "character": 1}}
        found = await editor.request(
            "textDocument/codeAction", textDocument={"uri": URI}, range=here,
            context={"diagnostics": [{"range": here, "message": "x", "data": data}]},
        )  # fmt: skip
        assert found[0]["title"] == "Fix this syntax error"
        assert editor.answers[77] == 0

    run(work)


@pytest.mark.parametrize("method", ["textDocument/didOpen", "workspace/didChangeConfiguration", "$/cancelRequest"])
def test_a_notification_that_asks_is_refused(method: str) -> None:
    async def work() -> None:
        editor, _ = in_memory(Script(lambda _: []))
        await editor.start()
        with pytest.raises(RequestFailedError, match=r"no request|-326"):
            await editor.request(method, textDocument={"uri": URI, "languageId": "x", "version": 1, "text": ""}, id=1)

    run(work)


@pytest.mark.parametrize("method", ["workspace/configuration", "client/registerCapability"])
@pytest.mark.parametrize("reply", [NO, {"result": 5}, {"error": 5}, {}], ids=str)
def test_a_client_that_refuses_is_served(method: str, reply: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        editor, session = in_memory(Script(lambda _: ["1"]))
        editor.replies[method] = reply
        watching = {"didChangeWatchedFiles": {"dynamicRegistration": True}, "configuration": True}
        await editor.start({**MODERN, "workspace": watching}, {"debounceMs": 0, "ahead": False})
        await until(lambda: method in [asked for asked, _ in editor.asked], "the question")
        editor.notify("workspace/didChangeConfiguration", settings={"hone": {"maxTokens": 33}})
        editor.open("x = \n")
        assert [one["insertText"] for one in await editor.inline(0, 4)] == ["1"]
        await asyncio.sleep(0.05)
        assert session.options.max_tokens == (33 if method == "workspace/configuration" and reply else 64)

    run(work)
    assert "never retrieved" not in caplog.text


@pytest.mark.parametrize(
    "reply",
    [NO, {"result": None}, {"result": 5}, {"result": {}}, {"result": []}, {"error": {"code": "x"}}, {"error": 5}, {},
     {"error": None, "result": {"applied": True}}],
    ids=str,
)  # fmt: skip
def test_a_command_is_answered_whatever_becomes_of_its_edit(reply: dict[str, Any]) -> None:
    async def work() -> None:
        editor, session = in_memory(Script(lambda _: ["return 1"]))
        editor.replies["workspace/applyEdit"] = reply
        await editor.start()
        editor.open("def f():\n    pass\n")
        number, answer = run_command(editor)
        if "applied" in str(reply):
            assert (await asyncio.wait_for(answer, 10))["applied"]
        else:
            with pytest.raises(RequestFailedError):
                await asyncio.wait_for(answer, 10)
        assert editor.answers[number] == 1
        assert not session.protocol._request_futures

    run(work)


def test_what_was_refused_is_forgotten() -> None:
    async def work() -> None:
        editor, session = in_memory(Script(lambda _: []))
        await editor.start()
        editor.open("x = 1\n")
        for _ in range(20):
            with pytest.raises(RequestFailedError):
                await run_command(editor, action="fixSyntax")[1]
        assert not session.protocol._request_futures

    run(work)


def test_shut_down_while_a_command_waits() -> None:
    async def work() -> None:
        editor, _ = in_memory(Script(lambda _: ["return 1"], delay=5.0))
        await editor.start()
        editor.open("def f():\n    pass\n")
        number, answer = run_command(editor)
        await asyncio.sleep(0.05)
        assert await editor.request("shutdown") is None
        with pytest.raises(RequestFailedError):
            await asyncio.wait_for(answer, 10)
        assert editor.answers[number] == 1

    run(work)


@pytest.mark.parametrize(
    "uri",
    ["file:///" + "d" * 300 + "/a.py", "file:///a%00b/c.py", "file://[abc/a.py", "file:///" + "e/" * 3000 + "a.py"],
)
def test_an_odd_document_leaves_others_alone(uri: str) -> None:
    async def work() -> None:
        editor, _ = in_memory(Script(lambda _: ["1"]))
        await editor.start(options={"debounceMs": 0, "ahead": False})
        editor.open("y = \n", uri)
        editor.open("x = \n")
        assert len(await editor.inline(0, 4)) == 1
        assert isinstance(await editor.inline(0, 4, uri), list)
        here = {"start": {"line": 0, "character": 1}, "end": {"line": 0, "character": 1}}
        ask = {"range": here, "context": {"diagnostics": []}}
        assert isinstance(await editor.request("textDocument/codeAction", textDocument={"uri": uri}, **ask), list)
        far = {"line": 2**40, "character": 2**40}
        assert await editor.request(
            "textDocument/copilotInlineEdit", textDocument={"uri": URI, "version": 1}, position=far
        ) == {"edits": []}

    run(work)


UNREADABLE: list[Any] = [
    [{"text": None}],
    [{}],
    [{"range": {"start": {"line": 0, "character": 0}, "end": {"line": 0, "character": 1}}}],
    [{"range": {"start": 5}, "text": "x"}],
    [{"range": 5, "text": "x"}],
    [5],
    5,
    None,
]


@pytest.mark.parametrize("changes", UNREADABLE, ids=str)
def test_after_a_change_that_cannot_be_read_nothing_is_known_until_the_whole_text_comes(changes: Any) -> None:
    """What the editor has then is another text: answers about the old one would be stale."""

    async def work() -> None:
        script = Script(lambda _: ["1"])
        editor, session = in_memory(script)
        await editor.start(options={"ahead": False, "debounceMs": 0})
        editor.open("x = \n")
        assert len(await editor.inline(0, 4)) == 1
        editor.notify("textDocument/didChange", textDocument={"uri": URI, "version": 2}, contentChanges=changes)
        editor.type("y", 0, 0, 3)
        assert await editor.inline(0, 4, by_hand=True) == []
        edits = {"textDocument": {"uri": URI, "version": 3}, "position": {"line": 0, "character": 0}}
        assert await editor.request("textDocument/copilotInlineEdit", **edits) == {"edits": []}
        with pytest.raises(RequestFailedError, match="not open"):
            await run_command(editor, action="fillHole")[1]
        assert len(script.asked) == 1
        editor.replace("zz = \n", 4)
        assert len(await editor.inline(0, 5)) == 1
        assert [one.text for one in session.documents] == ["zz = \n"]

    run(work)


def test_a_notebook_of_which_a_change_cannot_be_read() -> None:
    async def work() -> None:
        editor, session = in_memory(Script(lambda _: ["1"]))
        await editor.start(options={"ahead": False, "debounceMs": 0})
        uris = [f"vscode-notebook-cell:/a.ipynb#{name}" for name in "ab"]
        editor.notify(
            "notebookDocument/didOpen",
            notebookDocument={
                "uri": "file:///a.ipynb", "notebookType": "jupyter-notebook", "version": 1,
                "cells": [{"kind": 2, "document": uri} for uri in uris],
            },
            cellTextDocuments=[{"uri": uri, "languageId": "python", "version": 1, "text": "x = "} for uri in uris],
        )  # fmt: skip
        assert len(await editor.inline(0, 4, uris[1])) == 1
        editor.notify(
            "notebookDocument/didChange",
            notebookDocument={"uri": "file:///a.ipynb", "version": 2},
            change={"cells": {"textContent": [{"document": {"uri": uris[0], "version": 2}, "changes": [{}]}]}},
        )
        assert [await editor.inline(0, 4, uri) for uri in uris] == [[], []]
        assert not list(session.documents)

    run(work)


def test_a_document_that_was_lost_is_opened_and_closed_as_any() -> None:
    async def work() -> None:
        editor, session = in_memory(Script(lambda _: ["1"]))
        await editor.start(options={"ahead": False, "debounceMs": 0})
        for again in (True, False):
            editor.open("x = \n")
            editor.notify("textDocument/didChange", textDocument={"uri": URI, "version": 2}, contentChanges=5)
            if again:
                editor.open("y = \n")
                assert len(await editor.inline(0, 4)) == 1
            editor.notify("textDocument/didClose", textDocument={"uri": URI})
            editor.replace("z = \n", 3)
            assert await editor.inline(0, 4) == []
        assert not list(session.documents)

    run(work)


@pytest.mark.parametrize("text", ["x = 1\ry = 2\r", "def f():\n    x = 1\r    return x\n"])
def test_lines_that_end_as_no_parser_thinks_are_not_edited(text: str) -> None:
    async def work() -> None:
        editor, _ = in_memory(Script(lambda _: ["1"]))
        await editor.start()
        editor.open(text)
        for line in (0, 1):
            here = {"line": line, "character": 3}
            found = await editor.request(
                "textDocument/codeAction", textDocument={"uri": URI}, range={"start": here, "end": here},
                context={"diagnostics": []},
            )  # fmt: skip
            assert found == []
            with pytest.raises(RequestFailedError, match="carriage returns"):
                await run_command(editor, action="fixSyntax", position=here)[1]

    run(work)


@pytest.mark.parametrize(
    ("text", "line"),
    [("def f(x):\n    pass\n", 1), ("for i in range(3):\n    pass\n", 1), ("def f(x):\n    '''doc'''\n", 1)],
)
@pytest.mark.parametrize("answer", ["def f(x):", "pass", "# nothing"])
def test_what_is_filled_leaves_a_program(text: str, line: int, answer: str) -> None:
    """A header without its body is an answer while one types; as an edit it breaks the file."""

    async def work() -> None:
        editor, _ = in_memory(Script(lambda _: [answer]))
        await editor.start()
        editor.open(text)
        for action in ("fillHole", "completeBody"):
            try:
                await run_command(editor, action=action, position={"line": line, "character": 5})[1]
            except RequestFailedError:
                continue
        for edit in editor.applied:
            (change,) = edit["documentChanges"][0]["edits"]
            lines = text.splitlines(keepends=True)
            ends = change["range"]
            start, end = (
                sum(map(len, lines[: ends[one]["line"]])) + ends[one]["character"] for one in ("start", "end")
            )
            made = text[:start] + change["newText"] + text[end:]
            assert made != text
            compile(made, "f.py", "exec")

    run(work)


def test_two_errors_of_one_line_are_told_apart() -> None:
    async def work() -> None:
        editor, _ = in_memory(Script(lambda _: []))
        await editor.start()
        editor.open('{"a": "' + "b" * 300, language="json")
        here = {"line": 0, "character": 100}
        found = await editor.request(
            "textDocument/codeAction", textDocument={"uri": URI}, range={"start": here, "end": here},
            context={"diagnostics": []},
        )  # fmt: skip
        assert [one["title"] for one in found] == ["Fix this syntax error"]

    run(work)
