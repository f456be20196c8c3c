"""``hone lsp`` as a process, over stdio and TCP, with a real daemon behind it."""

import asyncio
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from assistant import daemon as real_daemon
from assistant.cli import main
from assistant.config import Settings
from assistant.errors import DaemonError, SettingError
from assistant.runtime import Endpoint
from assistant.types import Caller, CompletionRequest, CompletionResult
from lsp.connection import Connection
from tests.lsp.conftest import StartDaemon
from tests.lsp.peers import (
    MODERN,
    URI,
    Editor,
    RequestFailedError,
    Script,
    in_memory,
    over_stdio,
    over_tcp,
    run,
    until,
)
from tests.lsp.test_inline import applied
from tests.serve.conftest import ANSWER, PREFIX, TEXT

HEAVY = ("torch", "transformers", "numpy", "tree_sitter")


async def leave(editor: Editor, child: asyncio.subprocess.Process) -> int:
    await editor.request("shutdown")
    editor.notify("exit")
    return await asyncio.wait_for(child.wait(), 10)


def test_a_suggestion_from_the_daemon_and_a_clean_end(start_daemon: StartDaemon) -> None:
    start_daemon()

    async def work() -> None:
        async with over_stdio() as (editor, child):
            able = await editor.start()
            assert able["positionEncoding"] == "utf-16"
            assert able["inlineCompletionProvider"] == {}
            editor.open(TEXT)
            (item,) = await editor.inline(1, 11)
            assert applied(TEXT, item) == PREFIX + ANSWER + "\n"
            assert editor.messages() == []
            assert await leave(editor, child) == 0
            assert child.stderr is not None
            said = (await child.stderr.read()).decode()
            assert "Traceback" not in said
            assert "return" not in said, "the log has no code"

    run(work)


IMPORT = "import time, lsprotocol.types; print(time.process_time())"


def test_it_starts_at_once_and_stays_small(start_daemon: StartDaemon) -> None:
    """In CPU time, beside what importing the protocol's types alone takes: other work on the machine does not count."""
    start_daemon()
    spent: list[float] = []

    async def work() -> None:
        async with over_stdio() as (editor, child):
            await editor.start()
            process = psutil.Process(child.pid)
            spent.append(sum(process.cpu_times()[:2]))
            editor.open(TEXT)
            await editor.inline(1, 11)
            assert process.memory_info().rss < 100 * 2**20
            if sys.platform == "linux":
                maps = await asyncio.to_thread(Path(f"/proc/{child.pid}/maps").read_text, encoding="utf-8")
                assert not [name for name in HEAVY if f"site-packages/{name}/" in maps]

    for _ in range(3):
        run(work)
    least = min(
        float(subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, check=True, timeout=60).stdout)
        for _ in range(3)
    )
    assert min(spent) < 2.5 * least


def test_without_a_daemon_it_says_so_once_and_works_once_there_is_one(
    start_daemon: StartDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HONE_DAEMON", "never")
    daemon = start_daemon()
    daemon.end()

    async def work() -> None:
        async with over_stdio() as (editor, _):
            await editor.start()
            editor.open(TEXT)
            for _ in range(3):
                assert await editor.inline(1, 11) == []
            (message,) = editor.messages()
            assert "run `hone serve`" in message
            await asyncio.to_thread(daemon.start)
            assert len(await editor.inline(1, 11)) == 1

    run(work)


def test_a_daemon_that_cannot_start_is_told_with_the_reason(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HONE_RUNTIME_DIR", "/proc/none")

    async def work() -> None:
        async with over_stdio() as (editor, child):
            await editor.start()
            await until(editor.messages, "the reason")
            assert "HONE_RUNTIME_DIR" in editor.messages()[0]
            editor.open(TEXT)
            assert await editor.inline(1, 11) == []
            assert len(editor.messages()) == 1
            assert await leave(editor, child) == 0

    run(work)


def test_a_cancelled_request_stops_the_step_in_the_daemon(start_daemon: StartDaemon) -> None:
    slow = start_daemon(on_call=lambda _: time.sleep(0.05))

    async def work() -> None:
        async with over_stdio() as (editor, _):
            await editor.start(options={"ahead": False, "budgetMs": 60_000})
            editor.open(TEXT)
            number, answer = editor.ask(1, 11)
            assert slow.served is not None
            calls = slow.served.denoiser.calls
            await until(lambda: calls, "the model's work")
            editor.notify("$/cancelRequest", id=number)
            with pytest.raises(RequestFailedError):
                await answer
            metrics = slow.served.metrics
            await until(lambda: b'outcome="cancelled"' in metrics.text(), "the cancelling")

    run(work)


def test_it_leaves_when_its_editor_is_gone(start_daemon: StartDaemon) -> None:
    start_daemon()

    async def work() -> None:
        async with over_stdio() as (editor, child):
            await editor.start()
            assert child.stdin is not None
            child.stdin.close()
            assert await asyncio.wait_for(child.wait(), 10) == 0

    run(work)


def test_out_of_order_requests_are_answered(start_daemon: StartDaemon) -> None:
    start_daemon()

    async def work() -> None:
        async with over_stdio() as (editor, child):
            _, early = editor.ask(0, 0)
            with pytest.raises(RequestFailedError) as failed:
                await early
            assert failed.value.code == -32002
            await editor.start()
            with pytest.raises(RequestFailedError):
                await editor.request("initialize", capabilities={}, processId=None, rootUri=None)
            with pytest.raises(RequestFailedError):
                await editor.request("hone/unknown")
            with pytest.raises(RequestFailedError):
                await editor.request("textDocument/inlineCompletion", textDocument=3)
            await editor.request("shutdown")
            _, late = editor.ask(0, 0)
            with pytest.raises(RequestFailedError) as failed:
                await late
            assert failed.value.code == -32600
            editor.notify("exit")
            assert await asyncio.wait_for(child.wait(), 10) == 0
            assert set(editor.answers.values()) == {1}

    run(work)


def test_over_tcp(start_daemon: StartDaemon) -> None:
    start_daemon()

    async def work() -> None:
        async with over_tcp() as (editor, _):
            await editor.start()
            editor.open(TEXT)
            (item,) = await editor.inline(1, 11)
            assert item["insertText"] == ANSWER

    run(work)


class Hanging:
    """A client of a daemon that answers once."""

    def __init__(self) -> None:
        self.answers = 0
        self.given_up = 0

    async def complete(self, request: CompletionRequest, caller: Caller) -> CompletionResult:
        del request, caller
        self.answers += 1
        try:
            await asyncio.sleep(0.3 if self.answers == 1 else 30)
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        return CompletionResult((), 0, 0, {}, "empty")


def test_a_daemon_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """But one that was only just found is: it may still open its model."""
    monkeypatch.setattr("lsp.connection.SILENT_S", 0.1)

    async def work() -> None:
        connection, hanging = Connection(Settings()), Hanging()
        monkeypatch.setattr(connection, "_client", hanging)
        request = CompletionRequest("x", 1, budget_ms=10)
        assert (await connection.complete(request, Caller())).reason == "empty"
        with pytest.raises(DaemonError, match="has said nothing"):
            await asyncio.wait_for(connection.complete(request, Caller()), 5)
        await asyncio.sleep(0)
        assert hanging.given_up == 1

    run(work)


def test_a_daemon_is_looked_for_by_the_settings_of_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """`hone model use` may have been said; and who knew what the old model can is told that there is another."""
    asked: list[str | None] = []
    now: list[Settings | None] = [Settings(dtype="bfloat16"), Settings(dtype="float32"), None, Settings()]
    processes = [1, 1, 2, 3]

    def ensure(settings: Settings, **_: object) -> Endpoint:
        asked.append(settings.dtype)
        return Endpoint("1.0", processes[len(asked) - 1], 0.0, "token", ready=len(asked) > 1)

    def reread() -> Settings:
        if (found := now[len(asked)]) is None:
            raise SettingError("no TOML")
        return found

    monkeypatch.setattr("assistant.daemon.ensure", ensure)

    async def work() -> None:
        connection = Connection(Settings(), reread=reread)
        told: list[int] = []
        connection.on_another = lambda: told.append(len(asked))
        for _ in now:
            await asyncio.to_thread(connection._locate, asyncio.get_running_loop(), replace=True)
            await asyncio.sleep(0)
        assert asked == ["bfloat16", "float32", "float32", Settings().dtype]
        assert told == [3, 4]

    run(work)


@pytest.mark.parametrize("wants", [True, False])
def test_a_client_that_wants_to_is_told_what_the_model_can(wants: bool) -> None:
    async def work() -> None:
        tasks = [("fix",), ("modernise", "fix")]

        async def open_daemon() -> tuple[str, ...]:
            return tasks[0]

        editor, session = in_memory(Script(lambda _: []))
        session.open_daemon = open_daemon
        await editor.start({**MODERN, "experimental": {"honeTasks": wants}})
        assert await editor.request("workspace/executeCommand", command="hone.tasks") == ["fix"]
        tasks.pop(0)
        session.found_another()
        await until(lambda: session.tasks == ("modernise", "fix"), "what the other model can")
        await asyncio.sleep(0)
        told = [params["tasks"] for name, params in editor.notes if name == "hone/tasks"]
        assert told == ([["fix"], ["modernise", "fix"]] if wants else [])

    run(work)


def test_torture(start_daemon: StartDaemon, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: PLR0915 (one long session)
    """Five documents, 200 keys with cancels, wrong versions and places, odd orders, and the daemon ended in the middle:
    one answer for every request, none of them stale, and it still works afterwards.
    """
    monkeypatch.setenv("HONE_DAEMON", "never")
    daemon = start_daemon(on_call=lambda _: time.sleep(0.002))
    dice = random.Random(7)
    uris = [f"file:///project/{name}.py" for name in "abcde"]

    async def work() -> None:
        async with over_stdio() as (editor, child):
            await editor.start(options={"budgetMs": 500})
            texts = dict.fromkeys(uris, TEXT)
            versions = dict.fromkeys(uris, 1)
            asked: dict[int, tuple[str, int, asyncio.Future[Any]]] = {}
            cancelled: set[int] = set()
            for uri in uris:
                editor.open(TEXT, uri=uri)
            for key in range(200):
                uri = dice.choice(uris)
                letter = dice.choice(["a", " ", "+", "(", "\n", "𝄞", "é"])
                lines = texts[uri].split("\n")
                row = dice.randrange(len(lines))
                texts[uri] = "\n".join([*lines[:row], lines[row] + letter, *lines[row + 1 :]])
                versions[uri] += 1
                editor.type(letter, row, 2**31 - 1, versions[uri], uri=uri)
                line, column = dice.choice([(1, 11), (0, 0), (10**6, 10**6), (1, 2**31 - 1), (row, 3)])
                number, answer = editor.ask(line, column, uri, by_hand=dice.random() < 0.2)
                asked[number] = (uri, versions[uri], answer)
                if dice.random() < 0.4:
                    victim = dice.choice(list(asked))
                    cancelled.add(victim)
                    editor.notify("$/cancelRequest", id=victim)
                if dice.random() < 0.1:
                    strange(editor, dice, uris)
                if key == 100:
                    await asyncio.to_thread(daemon.end)
                if key == 130:
                    await asyncio.to_thread(daemon.start)
                await asyncio.sleep(dice.choice([0, 0, 0.005, 0.02]))
            results = await asyncio.wait_for(
                asyncio.gather(*(answer for _, _, answer in asked.values()), return_exceptions=True), 30
            )
            for number, result in zip(asked, results, strict=True):
                assert editor.answers[number] == 1
                if isinstance(result, RequestFailedError):
                    assert number in cancelled, result
                    assert result.code == -32800
                else:
                    assert not isinstance(result, BaseException), result
                    assert isinstance(result["items"], list)
            await asyncio.sleep(0.1)
            assert max(editor.answers.values()) == 1
            assert child.returncode is None
            editor.open(TEXT, uri=URI)

            async def answered() -> bool:
                return bool(await editor.inline(1, 11, by_hand=True))

            deadline = time.monotonic() + 20
            while not await answered():
                assert time.monotonic() < deadline
                await asyncio.sleep(0.2)
            assert await leave(editor, child) == 0

    run(work)


def strange(editor: Editor, dice: random.Random, uris: list[str]) -> None:
    """What no editor should send."""
    uri = dice.choice(uris)
    choice = dice.randrange(7)
    if choice == 0:
        editor.notify("textDocument/didClose", textDocument={"uri": "file:///never/opened.py"})
    elif choice == 1:
        editor.replace("x", 7, uri="file:///never/opened.py")
    elif choice == 2:
        editor.notify("textDocument/didChange", textDocument={"uri": uri})
    elif choice == 3:
        editor.notify("$/cancelRequest", id="unknown")
    elif choice == 4:
        editor.ask(-5, -5, uri)[1].add_done_callback(lambda future: future.exception())
    elif choice == 5:
        editor.ask(1, 1, uri, version=-3)
    else:
        editor.notify("textDocument/didOpen", textDocument={"uri": 5})


@pytest.mark.weights
def test_with_the_embedded_model_and_a_daemon_of_its_own(home: Path) -> None:
    code = "def add(a, b):\n    retu\n\n\nprint(add(1, 2))\n"

    async def work() -> None:
        try:
            async with over_stdio() as (editor, child):
                await editor.start(MODERN, {"budgetMs": 20_000, "eagerness": "high"})
                editor.open(code)
                _, answer = editor.ask(1, 8)
                (item,) = (await asyncio.wait_for(answer, 60))["items"]
                assert item["insertText"].startswith("rn")
                compile(applied(code, item), "a.py", "exec")

                def progress() -> list[str]:
                    return [params["value"]["kind"] for name, params in editor.notes if name == "$/progress"]

                await until(lambda: "end" in progress(), "the end of the progress")
                assert progress()[0] == "begin", "what is waited for is shown"
                assert await leave(editor, child) == 0
        finally:
            await asyncio.to_thread(real_daemon.stop)

    run(work)


def test_tcp_is_for_this_machine_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lsp", "--tcp", "0.0.0.0:0"]) == 2
    assert "loopback only" in capsys.readouterr().err
