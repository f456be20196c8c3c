"""Editors for tests: plain JSON-RPC, so that everything can be sent, in any order; in memory or over a process."""

import asyncio
import contextlib
import itertools
import json
import os
import re
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from assistant.types import Caller, Completion, CompletionRequest, CompletionResult
from lsp.server import create_server
from lsp.session import Edits, Session

ROOT = Path(__file__).resolve().parents[2]
URI = "file:///project/a.py"
MODERN: dict[str, Any] = {
    "textDocument": {
        "inlineCompletion": {},
        "codeAction": {
            "tagSupport": {"valueSet": [1]},
            "resolveSupport": {"properties": ["edit"]},
            "dataSupport": True,
        },
    },
    "workspace": {
        "configuration": True,
        "workspaceEdit": {"documentChanges": True, "changeAnnotationSupport": {"groupsOnLabel": True}},
    },
    "window": {"workDoneProgress": True},
}


class RequestFailedError(Exception):
    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(f"{error['code']}: {error['message']}")
        self.code = error["code"]
        self.message = error["message"]


class Editor:
    """Counts the answers to every request; ``notes`` has the notifications of the server."""

    def __init__(self, send: Callable[[dict[str, Any]], None]) -> None:
        self._send = send
        self._ids = itertools.count(1)
        self._pending: dict[Any, asyncio.Future[Any]] = {}
        self.answers: Counter[Any] = Counter()
        self.notes: list[tuple[str, Any]] = []
        self.asked: list[tuple[str, Any]] = []
        """Requests of the server."""
        self.lost: list[dict[str, Any]] = []
        """Errors that name no request."""
        self.configuration: Any = None
        self.applied: list[Any] = []
        self.replies: dict[str, dict[str, Any]] = {}
        """By method: what is answered instead, be it an answer or not."""
        self.watch: Callable[[dict[str, Any]], None] = lambda _: None
        """In memory: told each message at the moment in which the server sends it."""

    def receive(self, message: dict[str, Any]) -> None:
        if "method" not in message and message["id"] is None:
            self.lost.append(message["error"])
        elif "method" not in message:
            self.answers[message["id"]] += 1
            future = self._pending.get(message["id"])
            if future is not None and not future.done():
                if "error" in message:
                    future.set_exception(RequestFailedError(message["error"]))
                else:
                    future.set_result(message["result"])
        elif "id" in message:
            self.asked.append((message["method"], message["params"]))
            reply = self.replies.get(message["method"], {"result": self._answer(message)})
            self._send({"jsonrpc": "2.0", "id": message["id"], **reply})
        else:
            self.notes.append((message["method"], message["params"]))

    def _answer(self, message: dict[str, Any]) -> Any:
        if message["method"] == "workspace/configuration":
            return [self.configuration]
        if message["method"] == "workspace/applyEdit":
            self.applied.append(message["params"]["edit"])
            return {"applied": True}
        return None

    def notify(self, method: str, **params: Any) -> None:
        self._send({"jsonrpc": "2.0", "method": method, "params": params})

    def begin(self, method: str, **params: Any) -> tuple[int, "asyncio.Future[Any]"]:
        number = next(self._ids)
        future = self._pending[number] = asyncio.get_running_loop().create_future()
        self._send({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        return number, future

    async def request(self, method: str, **params: Any) -> Any:
        _, future = self.begin(method, **params)
        return await asyncio.wait_for(future, 20)

    # What editors do.

    async def start(self, capabilities: dict[str, Any] = MODERN, options: Any = None) -> dict[str, Any]:
        found = await self.request(
            "initialize", processId=None, rootUri=None, capabilities=capabilities, initializationOptions=options
        )
        self.notify("initialized")
        return dict(found["capabilities"])

    def open(self, text: str, uri: str = URI, version: int = 1, language: str = "python") -> None:
        self.notify(
            "textDocument/didOpen",
            textDocument={"uri": uri, "languageId": language, "version": version, "text": text},
        )

    def replace(self, text: str, version: int, uri: str = URI) -> None:
        self.notify(
            "textDocument/didChange", textDocument={"uri": uri, "version": version}, contentChanges=[{"text": text}]
        )

    def type(self, text: str, line: int, character: int, version: int, uri: str = URI) -> None:
        here = {"line": line, "character": character}
        self.notify(
            "textDocument/didChange",
            textDocument={"uri": uri, "version": version},
            contentChanges=[{"range": {"start": here, "end": here}, "text": text}],
        )

    def delete(self, line: int, start: int, end: int, version: int, uri: str = URI) -> None:
        ends = {"start": {"line": line, "character": start}, "end": {"line": line, "character": end}}
        self.notify(
            "textDocument/didChange",
            textDocument={"uri": uri, "version": version},
            contentChanges=[{"range": ends, "text": ""}],
        )

    def ask(
        self, line: int, character: int, uri: str = URI, *, by_hand: bool = False, selected: Any = None, **more: Any
    ) -> tuple[int, "asyncio.Future[Any]"]:
        context: dict[str, Any] = {"triggerKind": 1 if by_hand else 2}
        if selected is not None:
            context["selectedCompletionInfo"] = selected
        return self.begin(
            "textDocument/inlineCompletion",
            textDocument={"uri": uri, **more},
            position={"line": line, "character": character},
            context=context,
        )

    async def inline(self, line: int, character: int, uri: str = URI, **more: Any) -> list[dict[str, Any]]:
        _, future = self.ask(line, character, uri, **more)
        items: list[dict[str, Any]] = (await asyncio.wait_for(future, 20))["items"]
        return items

    def messages(self, method: str = "window/showMessage") -> list[str]:
        return [params["message"] for name, params in self.notes if name == method]


class Script:
    """A completer that knows answers: ``answer(request)`` gives the texts to write at the place asked about."""

    def __init__(self, answer: Callable[[CompletionRequest], list[str]], *, delay: float = 0.0) -> None:
        self.answer = answer
        self.delay = delay
        self.ahead_delay = 0.0
        self.asked: list[tuple[CompletionRequest, Caller]] = []
        self.cancelled: list[Caller] = []
        self.gate: asyncio.Event | None = None
        """Nothing is answered before it is set."""
        self.error: Exception | None = None
        self.verdict: Any = "valid"
        self.chance = 1.0

    async def __call__(self, request: CompletionRequest, caller: Caller) -> CompletionResult:
        self.asked.append((request, caller))
        try:
            if self.gate is not None:
                await self.gate.wait()
            await asyncio.sleep(self.ahead_delay if caller.batch else self.delay)
        except asyncio.CancelledError:
            self.cancelled.append(caller)
            raise
        if self.error is not None:
            raise self.error
        end = request.start if request.end is None else request.end
        found = tuple(
            Completion(text, request.start, end, 0.9, 0.9, self.verdict, 3, "canvas", self.chance)
            for text in self.answer(request)
        )
        return CompletionResult(found[: request.n], 1, 1, {"total": 1.0}, None if found else "empty")

    def seen(self, *, batch: bool = False) -> list[CompletionRequest]:
        return [request for request, caller in self.asked if caller.batch == batch]


def after(*pairs: tuple[str, str]) -> Callable[[CompletionRequest], list[str]]:
    """Answers by what stands before the cursor; an answer that was begun goes on."""

    def answer(request: CompletionRequest) -> list[str]:
        before = request.text[: request.start]
        for prefix, text in pairs:
            for done in range(len(text)):
                if before.endswith(prefix + text[:done]):
                    return [text[done:]]
        return []

    return answer


class _Writer:
    def __init__(self, deliver: Callable[[dict[str, Any]], None]) -> None:
        self._deliver = deliver

    def write(self, data: bytes) -> None:
        self._deliver(json.loads(data.split(b"\r\n\r\n", 1)[1]))

    def close(self) -> None:
        pass


class Counts:
    """Statistics in memory."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def count(self, name: str, language: str = "", n: int = 1) -> None:
        self.counts[name] += n

    def took(self, ms: float, language: str = "") -> None:
        self.counts["took"] += 1


def in_memory(
    complete: Any, statistics: Counts | None = None, edit: Edits | None = None, tasks: tuple[str, ...] = ()
) -> tuple[Editor, Session]:
    """An editor and a server in this loop; ``tasks`` are what the model can do to a block."""

    async def open_daemon() -> tuple[str, ...]:
        return tasks

    session = create_server(complete, open_daemon, statistics=statistics, edit=edit)

    def send(message: dict[str, Any]) -> None:
        session.protocol.receive(json.dumps(message).encode())

    editor = Editor(send)
    loop = asyncio.get_running_loop()

    def deliver(message: dict[str, Any]) -> None:
        editor.watch(message)
        loop.call_soon(editor.receive, message)

    session.protocol.set_writer(_Writer(deliver))
    return editor, session


Connect = Callable[..., contextlib.AbstractAsyncContextManager[tuple["Wired", asyncio.subprocess.Process]]]


class Wired(Editor):
    """An editor with a process at the other end."""

    def __init__(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, port: int = 0) -> None:
        super().__init__(self._frame)
        self._source, self._sink = source, sink
        self.port = port

    def write(self, data: bytes) -> None:
        """As it is."""
        self._sink.write(data)

    def _frame(self, message: dict[str, Any]) -> None:
        data = json.dumps(message).encode()
        self.write(b"Content-Length: %d\r\n\r\n" % len(data) + data)

    async def read(self) -> None:
        while header := await self._source.readline():
            if found := re.match(rb"Content-Length: (\d+)", header):
                while (await self._source.readline()).strip():
                    pass
                self.receive(json.loads(await self._source.readexactly(int(found.group(1)))))


async def _lsp(*arguments: str, **env: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "assistant", "lsp", *arguments,
        cwd=ROOT, env=os.environ | env,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


@contextlib.asynccontextmanager
async def over_stdio(**env: str) -> AsyncIterator[tuple[Wired, asyncio.subprocess.Process]]:
    """An editor and ``hone lsp`` as a process."""
    child = await _lsp(**env)
    assert child.stdin is not None
    assert child.stdout is not None
    async with _reading(Wired(child.stdout, child.stdin), child) as editor:
        yield editor, child


@contextlib.asynccontextmanager
async def over_tcp(**env: str) -> AsyncIterator[tuple[Wired, asyncio.subprocess.Process]]:
    """The same with ``--tcp``."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    child = await _lsp("--tcp", f"127.0.0.1:{port}", **env)
    source, sink = await _connected(port)
    async with _reading(Wired(source, sink, port), child) as editor:
        yield editor, child
    sink.close()


async def _connected(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    deadline = asyncio.get_running_loop().time() + 20
    while True:
        try:
            return await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            assert asyncio.get_running_loop().time() < deadline, "it does not listen"
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def _reading(editor: Wired, child: asyncio.subprocess.Process) -> AsyncIterator[Wired]:
    assert child.stdin is not None
    reading = asyncio.ensure_future(editor.read())
    try:
        yield editor
    finally:
        reading.cancel()
        if child.returncode is None:
            child.kill()
        await child.wait()
        child.stdin.close()
        child._transport.close()  # type: ignore[attr-defined]
        with contextlib.suppress(asyncio.CancelledError, ConnectionError):
            await reading


async def until(true: Callable[[], object], what: str, seconds: float = 15) -> None:
    deadline = asyncio.get_running_loop().time() + seconds
    while not true():
        assert asyncio.get_running_loop().time() < deadline, f"{what} did not come about in {seconds:.0f} s"
        await asyncio.sleep(0.005)


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await work()

    asyncio.run(main())
