"""Both clients against the real server on a real port."""

import asyncio
import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from assistant import client as client_module
from assistant.async_client import AsyncClient
from assistant.client import Client
from assistant.errors import BusyError, DaemonError, HoneError, ModelError, PositionError, RequestError
from assistant.metrics import Metrics
from assistant.runtime import Endpoint
from assistant.server import create_app
from assistant.types import Caller, Completer, CompletionRequest, CompletionResult, Draft, OnDraft
from assistant.worker import Worker
from tests.serve.conftest import ADMIN, ANSWER, OPTIONS, PREFIX, TEXT, Listen, Serve, Served, listening
from tests.serve.processes import this_process, until

REQUEST = CompletionRequest(TEXT, len(PREFIX), filename="a.py")
T = TypeVar("T")


def endpoint_of(url: str) -> Endpoint:
    return this_process(int(url.rpartition(":")[2]), token=ADMIN)


@dataclass
class Asked:
    """One client of the two, asked the same way."""

    endpoint: Endpoint
    is_async: bool
    stream: bool = False

    def complete(self, request: CompletionRequest, **more: Any) -> CompletionResult:
        if self.is_async:
            return self._run(lambda client: client.complete(request, **more))
        with Client(self.endpoint, name="tests") as client:
            return client.complete(request, on_step=(lambda _: None) if self.stream else None, **more)

    def status(self) -> dict[str, Any]:
        if self.is_async:
            return self._run(lambda client: client.status())
        with Client(self.endpoint, name="tests") as client:
            return client.status()

    def _run(self, use: Callable[[AsyncClient], Awaitable[T]]) -> T:
        async def ask() -> T:
            client = AsyncClient(lambda *, replace: self.endpoint, name="tests")
            try:
                return await use(client)
            finally:
                await client.close()

        return asyncio.run(ask())


Ask = Callable[[str], Asked]


WAYS = ["Client", "AsyncClient", "Client with steps"]


@pytest.fixture(params=WAYS[:2])
def ask(request: pytest.FixtureRequest) -> Ask:
    """ask(url): the client that is the subject."""
    way: str = request.param
    return lambda url: Asked(endpoint_of(url), way == "AsyncClient", stream="steps" in way)


def outcome(served: Served, name: str) -> bool:
    text = served.metrics.text().decode()
    return any(line.startswith("hone_completions_total{") and f'outcome="{name}"' in line for line in text.splitlines())


def slowly(_: str) -> None:
    time.sleep(0.05)


# --- what both do


def test_an_answer_comes_through_as_it_was_given(ask: Ask, url: str, served: Served) -> None:
    here = asyncio.run(served.worker.complete(REQUEST))
    there = ask(url).complete(REQUEST)
    assert [one.text for one in there.completions] == [ANSWER]
    assert there.completions == here.completions
    assert (there.reason, there.context_tokens) == (None, here.context_tokens)
    assert there.passes > 0
    assert there.timing_ms["total"] > 0


def test_every_wish_arrives(ask: Ask, listen: Listen, serve: Serve) -> None:
    served = serve(PREFIX, "first(a)\n    second(b)")
    seen: list[CompletionRequest] = []
    genuine = served.worker.complete

    async def complete(request: CompletionRequest, caller: Caller, *, on_step: OnDraft | None = None) -> Any:
        seen.append(request)
        assert caller == Caller("tests", "file:///a.py", batch=True, request="r1")
        return await genuine(request, caller, on_step=on_step)

    served.worker.complete = complete  # type: ignore[method-assign, assignment]
    wanted = CompletionRequest(
        PREFIX + "gone\n", len(PREFIX), len(PREFIX) + 4, filename="b.py", language="python", n=2, max_tokens=32,
        budget_ms=30_000.0, steps=6, policy="confidence", lengths=3, temperature=0.5, top_p=0.9, seed=7,
        one_line=True, stop=("STOP",),
    )  # fmt: skip
    ask(listen(served)).complete(wanted, caller=Caller("ignored", "file:///a.py", batch=True, request="r1"))
    assert seen == [wanted]


def test_steps_are_seen_on_the_way(listen: Listen, serve: Serve) -> None:
    drafts: list[Draft] = []
    with Client(endpoint_of(listen(serve(on_call=slowly)))) as client:
        result = client.complete(replace(REQUEST, steps=3), on_step=drafts.append)
    assert result.completions[0].text == ANSWER
    assert drafts
    assert "".join(token or "" for token in drafts[-1].tokens).startswith("a")
    assert len(drafts[-1].tokens) == len(drafts[-1].confidence)


def test_no_answer_is_a_value(ask: Ask, listen: Listen, serve: Serve) -> None:
    asked = ask(listen(serve("x = ", "   ")))
    result = asked.complete(CompletionRequest("x = \n", 4, filename="a.py"))
    assert result.completions == ()
    assert result.reason
    assert asked.status()["empty"] == {result.reason: 1}


@pytest.mark.parametrize("ask", WAYS, indirect=True)
@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"start": 999}, "the hole 999..999 is outside"),
        ({"policy": "magic"}, "policy must be one of"),
        ({"n": 17}, "this server gives at most 16"),
        ({"text": "x\ud800", "start": 1}, "half of a character"),
    ],
)
def test_a_bad_request_is_an_error_of_the_same_class(ask: Ask, url: str, changes: dict[str, Any], part: str) -> None:
    kind = PositionError if "start" in changes and "text" not in changes else RequestError
    with pytest.raises(kind, match=part):
        ask(url).complete(replace(REQUEST, **changes))


@pytest.mark.parametrize("ask", WAYS, indirect=True)
def test_a_model_that_cannot_be_opened_is_named(ask: Ask) -> None:
    def fail() -> Any:
        raise ModelError("/x is no model folder")

    worker = Worker(fail)
    worker.start()
    try:
        app = create_app(worker, OPTIONS, metrics=Metrics())
        with listening(app) as url, pytest.raises(ModelError, match="/x is no model folder"):
            ask(url).complete(REQUEST)
    finally:
        worker.close()


def test_status_says_who_answers(ask: Ask, url: str) -> None:
    asked = ask(url)
    assert asked.status()["version"] == "1.2.3"
    with pytest.raises(DaemonError, match=r"process \d+ answers at http"):
        replace(asked, endpoint=replace(asked.endpoint, pid=1)).status()


def test_a_unix_socket_is_as_good(ask: Ask, listen: Listen, served: Served, tmp_path: Path) -> None:
    path = tmp_path / "s"
    listen(served, uds=str(path))
    asked = replace(ask("http://x:1"), endpoint=this_process(token=ADMIN, socket=str(path)))
    assert asked.complete(REQUEST).completions[0].text == ANSWER


def test_nobody_there_is_an_error(ask: Ask, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        asked = ask(f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(DaemonError, match=r"no daemon answers at http://127\.0\.0\.1"):
            asked.complete(REQUEST)
    with pytest.raises(DaemonError, match="no daemon answers at unix:"):
        replace(asked, endpoint=this_process(socket=str(tmp_path / "s"))).complete(REQUEST)


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        (b"", "ended while it worked"),
        (b"SSH-2.0-OpenSSH\r\n", "ended while it worked"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n<htm>", "not JSON"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]", "not JSON"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", "cannot be read"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{", "ended while it worked"),
        (b"HTTP/1.1 500 Oh\r\ncontent-length: 2\r\n\r\n{}", "the daemon failed"),
        (b"HTTP/1.1 403 No\r\ncontent-length: 5\r\n\r\nnever", "does not know us: never"),
    ],
)
def test_a_stranger_at_the_port_is_an_error(ask: Ask, answer: bytes, part: str) -> None:
    with stranger(answer) as port, pytest.raises(DaemonError, match=part):
        ask(f"http://127.0.0.1:{port}").complete(REQUEST)


def test_a_daemon_that_ends_in_the_middle_of_the_steps_is_an_error() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
    step = b'event: step\ndata: {"index":1,"phase":"draft","tokens":[null],"confidence":[0.0]}\n\n'
    drafts: list[Draft] = []
    asked = stranger(head + step)
    with asked as port, pytest.raises(DaemonError, match="ended while it worked"):
        Client(endpoint_of(f"http://127.0.0.1:{port}")).complete(REQUEST, on_step=drafts.append)
    assert drafts[0] == Draft(1, "draft", (None,), (0.0,))


@contextlib.contextmanager
def stranger(answer: bytes) -> Iterator[int]:
    """A port where somebody else says something else, to everybody."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()

        def speak() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = sock.accept()
                    with connection:
                        connection.recv(65536)
                        connection.sendall(answer)
                        connection.shutdown(socket.SHUT_RDWR)

        thread = threading.Thread(target=speak, daemon=True)
        thread.start()
        try:
            yield sock.getsockname()[1]
        finally:
            sock.shutdown(socket.SHUT_RDWR)
            thread.join(5)


# --- busy


@dataclass
class Crowd:
    """A worker that is busy so many times."""

    times: int
    retry_after_s: float = 0.0
    asked: int = 0
    budgets: list[float] = field(default_factory=list[float])

    def install(self, served: Served) -> Served:
        genuine = served.worker.complete

        async def complete(request: CompletionRequest, caller: Caller, *, on_step: OnDraft | None = None) -> Any:
            self.asked += 1
            self.budgets.append(request.budget_ms or 0.0)
            if self.asked <= self.times:
                raise BusyError("256 requests are waiting", self.retry_after_s)
            return await genuine(request, caller, on_step=on_step)

        served.worker.complete = complete  # type: ignore[method-assign, assignment]
        return served


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole seconds, which HTTP counts in, are long for a test."""
    genuine = client_module.failure

    def shorter(status: int, fields: client_module.Fields, content: bytes) -> HoneError:
        error = genuine(status, fields, content)
        if isinstance(error, BusyError):
            assert error.retry_after_s == 1.0
            error.retry_after_s = 0.05
        return error

    monkeypatch.setattr(client_module, "failure", shorter)
    monkeypatch.setattr("assistant.async_client.failure", shorter)


@pytest.mark.usefixtures("soon")
def test_who_is_busy_is_asked_again(ask: Ask, listen: Listen, served: Served) -> None:
    crowd = Crowd(times=2)
    crowd.install(served)
    assert ask(listen(served)).complete(REQUEST).completions[0].text == ANSWER
    assert crowd.asked == 3


@pytest.mark.usefixtures("soon")
def test_who_stays_busy_is_an_error_within_the_budget(ask: Ask, listen: Listen, served: Served) -> None:
    crowd = Crowd(times=100)
    crowd.install(served)
    started = time.monotonic()
    with pytest.raises(BusyError, match="256 requests are waiting"):
        ask(listen(served)).complete(replace(REQUEST, budget_ms=400.0))
    assert crowd.asked >= 2
    assert sorted(set(crowd.budgets), reverse=True) == crowd.budgets  # the waiting counts
    assert time.monotonic() - started < 5


# --- giving up


def test_should_stop_cancels_in_the_daemon(listen: Listen, serve: Serve) -> None:
    served = serve(on_call=slowly)
    with Client(endpoint_of(listen(served))) as client:
        result = client.complete(replace(REQUEST, steps=64), should_stop=lambda: bool(served.denoiser.calls))
        assert (result.completions, result.reason) == ((), "cancelled")
        until(lambda: outcome(served, "cancelled"), "cancelling")
        served.denoiser.on_call = None
        assert client.complete(REQUEST, should_stop=lambda: False).completions[0].text == ANSWER


def test_a_cancelled_call_is_cancelled_in_the_daemon(listen: Listen, serve: Serve) -> None:
    served = serve(on_call=slowly)
    endpoint = endpoint_of(listen(served))

    async def ask() -> None:
        client = AsyncClient(lambda *, replace: endpoint)
        task = asyncio.create_task(client.complete(REQUEST))
        await asyncio.to_thread(until, lambda: served.denoiser.calls, "a forward pass")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(until, lambda: outcome(served, "cancelled"), "cancelling")
        served.denoiser.on_call = None
        assert (await client.complete(REQUEST)).completions[0].text == ANSWER
        await client.close()

    asyncio.run(ask())


# --- keeping the connection


def test_one_connection_serves_many_requests(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Endpoint] = []
    genuine = client_module.connect

    def connect(endpoint: Endpoint) -> http.client.HTTPConnection:
        opened.append(endpoint)
        return genuine(endpoint)

    monkeypatch.setattr(client_module, "connect", connect)
    with Client(endpoint_of(url)) as client:
        for on_step in (None, lambda _: None, None, lambda _: None):
            client.complete(REQUEST, on_step=on_step)
        with pytest.raises(RequestError):
            client.complete(replace(REQUEST, start=999))
        client.status()
        client.metrics()
    assert len(opened) == 1


def test_a_connection_that_was_closed_meanwhile_is_made_again(url: str) -> None:
    with Client(endpoint_of(url)) as client:
        client.complete(REQUEST)
        assert client._connection is not None
        client._connection.sock.shutdown(socket.SHUT_RDWR)
        assert client.complete(REQUEST).completions[0].text == ANSWER


def test_a_daemon_that_was_replaced_is_found_again(serve: Serve) -> None:
    """The second one listens elsewhere, and knows another answer."""
    places: list[Endpoint] = []
    replacing: list[bool] = []

    def locate(*, replace: bool) -> Endpoint:
        replacing.append(replace)
        return places[-1]

    async def ask() -> list[str]:
        client = AsyncClient(locate)
        texts = []
        for answer in ("a + b", "a - b"):
            one = serve(PREFIX, answer)
            with listening(one.app, one.options) as url:
                places.append(endpoint_of(url))
                texts += [(await client.complete(REQUEST)).completions[0].text for _ in range(2)]
        with pytest.raises(DaemonError, match="no daemon answers"):
            await client.complete(REQUEST)
        await client.close()
        return texts

    assert asyncio.run(ask()) == ["a + b", "a + b", "a - b", "a - b"]
    assert replacing == [True, False, False]  # the first finds one; ours was taken away; nobody is left


def test_a_client_stands_in_for_the_assistant(url: str) -> None:
    def front_end(completer: Completer) -> str:
        return completer.complete(REQUEST, should_stop=None, on_step=None).completions[0].text

    with Client(endpoint_of(url)) as client:
        assert front_end(client) == ANSWER
