"""Hone's own API: answers, steps as they come, cancelling, and what an admin may ask."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from assistant import bounds
from assistant.api import Events
from assistant.bounds import Bounded
from assistant.errors import ModelError
from assistant.types import Caller, CompletionRequest, CompletionResult, Draft, OnDraft
from assistant.worker import Limits
from tests.serve.conftest import ADMIN, ANSWER, OPTIONS, PREFIX, TEXT, Listen, Serve, Served, serving

BODY: dict[str, Any] = {"text": TEXT, "start": len(PREFIX), "filename": "add.py"}
COMPLETE = "/v1/hone/complete"
Event = tuple[str, dict[str, Any]]


def events(text: str) -> list[Event]:
    found = []
    for block in text.split("\n\n")[:-1]:
        name, data = block.split("\n")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def until(holds: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline, f"not in 10 seconds: {what}"
        time.sleep(0.005)


def outcomes(served: Served, outcome: str) -> float:
    samples = (sample for metric in served.metrics.registry.collect() for sample in metric.samples)
    return sum(s.value for s in samples if s.name == "hone_completions_total" and s.labels["outcome"] == outcome)


class Gate:
    """A model that takes one call, and the next ones when it is told."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.open = threading.Event()
        self.calls = 0

    def __call__(self, name: str) -> None:
        self.calls += 1
        self.reached.set()
        assert self.open.wait(20), "nobody opened the gate"


# Answers.


def test_an_answer_says_what_it_is_worth(client: Served) -> None:
    answer = client.post(COMPLETE, json=BODY)
    assert answer.status_code == 200
    out = answer.json()
    assert out["completions"][0]["text"] == ANSWER
    assert (out["completions"][0]["start"], out["completions"][0]["end"]) == (len(PREFIX), len(PREFIX))
    assert out["completions"][0]["verdict"] == "valid"
    assert out["steps"] >= 1
    assert out["reason"] is None
    assert out["model"]
    assert out["context_tokens"] > 0


def test_a_language_without_a_grammar_is_answered_and_marked(client: Served) -> None:
    out = client.post(COMPLETE, json=BODY | {"filename": "add.unknown"}).json()
    assert [one["verdict"] for one in out["completions"]] == ["unchecked"]


def test_no_answer_is_an_answer_with_a_reason(serve: Serve) -> None:
    out = serve(PREFIX, ")").post(COMPLETE, json=BODY).json()
    assert out["completions"] == []
    assert out["reason"]


def test_every_option_reaches_the_engine() -> None:
    seen: list[tuple[CompletionRequest, Caller]] = []
    options = {
        "end": 27, "language": "python", "n": 2, "max_tokens": 5, "budget_ms": 900.5, "steps": 3, "policy": "entropy",
        "lengths": 2, "temperature": 0.5, "top_p": 0.9, "seed": 7, "one_line": True, "stop": ["x", "y"],
    }  # fmt: skip

    async def complete(request: CompletionRequest, caller: Caller, **_: Any) -> CompletionResult:
        seen.append((request, caller))
        return CompletionResult((), 0, 0, reason="empty")

    with serving() as served:
        served.worker.complete = complete  # type: ignore[method-assign, assignment]
        more = {"document": "file:///add.py", "batch": True, "request": "r1"}
        answer = served.post(COMPLETE, json=BODY | options | more, headers={"x-hone-client": "editor-1"})
    assert answer.status_code == 200, answer.text
    wanted = CompletionRequest(**(BODY | options | {"stop": ("x", "y")}))
    assert seen == [(wanted, Caller("editor-1", "file:///add.py", True, "r1"))]


@pytest.mark.parametrize(
    ("more", "status", "said"),
    [
        ({"policy": "best"}, 400, "policy must be one of"),
        ({"start": 1000}, 400, "outside of the text"),
        ({"end": 0}, 400, "outside of the text"),
        ({"n": "2"}, 422, "n: "),
        ({"text": None}, 422, "text: "),
        ({"colour": 1}, 422, "not known"),
        ({"text": "\ud800"}, 422, "text has half of a surrogate pair"),
    ],
)
def test_a_bad_request_hears_what_is_wrong(client: Served, more: dict[str, Any], status: int, said: str) -> None:
    answer = client.post(COMPLETE, content=json.dumps(BODY | more), headers={"content-type": "application/json"})
    assert answer.status_code == status
    assert said in answer.json()["error"]["message"]
    assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"[" * 100_000, b'{"n":' + b"9" * 5000 + b"}", b"\xff"])
def test_what_is_no_object_is_refused(client: Served, content: bytes) -> None:
    answer = client.post(COMPLETE, content=content, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422)
    assert answer.json()["error"]["message"]


def test_a_full_queue_is_said_with_a_time(serve: Serve, listen: Listen) -> None:
    gate = Gate()
    served = serve(limits=Limits(waiting=1, running=1), on_call=gate)
    url = listen(served)
    done: list[int] = []

    def ask() -> None:
        done.append(httpx.post(url + COMPLETE, json=BODY, timeout=20).status_code)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    try:
        threads[0].start()
        assert gate.reached.wait(10)
        threads[1].start()
        until(lambda: served.worker.load().waiting, "the second one waits")
        answer = httpx.post(url + COMPLETE, json=BODY)
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["error"]["type"] == "unavailable_error"
        streamed = httpx.post(url + COMPLETE, json=BODY | {"stream": True})
        assert streamed.status_code == 503, "an error before the first step has a status of its own"
    finally:
        gate.open.set()
        for thread in threads:
            thread.join(20)
    assert done == [200, 200]


def test_who_is_superseded_does_not_wait_for_the_model_to_be_opened(serve: Serve, listen: Listen) -> None:
    served, opening = serve(), threading.Event()
    open_infiller = served.worker._main._open
    served.worker._main._open = lambda: opening.wait(20) and open_infiller()  # type: ignore[assignment, return-value]
    url = listen(served)
    asked = BODY | {"document": "add.py"}
    with ThreadPoolExecutor(2) as pool:
        try:
            old = pool.submit(httpx.post, url + COMPLETE, json=asked, timeout=20)
            until(lambda: served.worker.load().running, "the model is being opened")
            new = pool.submit(httpx.post, url + COMPLETE, json=asked, timeout=20)
            assert old.result(10).json()["reason"] == "superseded"
        finally:
            opening.set()
        assert new.result(20).json()["completions"]


def test_an_edit_is_not_invented(client: Served) -> None:
    asked = {"text": TEXT, "blocks": [[0, 3]]}
    answer = client.post("/v1/hone/edit", json=asked | {"instruction": "rename it"})
    assert answer.status_code == 501
    assert "no instruction in free words; of tasks, it knows none" in answer.json()["error"]["message"]
    answer = client.post("/v1/hone/edit", json=asked | {"task": "fix"})
    assert answer.status_code == 400
    assert "not trained to edit" in answer.json()["error"]["message"]
    assert not client.denoiser.calls


# Time.


class Slow:
    """A worker that remembers what it was asked, and never answers."""

    def __init__(self) -> None:
        self.budgets: list[float | None] = []

    async def complete(self, request: CompletionRequest, caller: Caller, *, on_step: OnDraft | None = None) -> Any:
        self.budgets.append(request.budget_ms)
        await asyncio.sleep(60)


def test_every_request_has_a_budget(monkeypatch: pytest.MonkeyPatch, serve: Serve) -> None:
    monkeypatch.setattr(bounds, "GRACE_S", 0.05)
    slow = Slow()
    served = serve(options=replace(OPTIONS, max_seconds=0.1))
    served.app.state.serving = Bounded(slow, served.options)  # type: ignore[arg-type]
    for more in ({}, {"budget_ms": 50}, {"budget_ms": 9999}):
        answer = served.post(COMPLETE, json=BODY | more)
        assert answer.status_code == 503
        assert "retry-after" in answer.headers
        assert "within 0.1 seconds" in answer.json()["error"]["message"]
    assert slow.budgets == [100, 50, 100]


# Steps as they come.


def test_a_stream_shows_the_steps_and_ends_with_the_result(client: Served) -> None:
    answer = client.post(COMPLETE, json=BODY | {"stream": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    *steps, (last, result) = events(answer.text)
    assert last == "result"
    assert result["completions"][0]["text"] == ANSWER
    assert {name for name, _ in steps} == {"step"}
    assert [step["index"] for _, step in steps] == sorted({step["index"] for _, step in steps})
    assert "".join(token or "" for token in steps[-1][1]["tokens"]) == ANSWER
    assert all(len(step["tokens"]) == len(step["confidence"]) for _, step in steps)


def test_a_stream_without_the_text_of_its_steps(client: Served) -> None:
    steps = events(client.post(COMPLETE, json=BODY | {"stream": True, "tokens_in_steps": False}).text)[:-1]
    assert steps
    assert all(step["tokens"] == [] and step["confidence"] for _, step in steps)


def test_the_causal_mode_streams_too(client: Served) -> None:
    *steps, (_, result) = events(client.post(COMPLETE, json=BODY | {"stream": True, "policy": "causal"}).text)
    assert steps
    assert steps[0][1]["phase"] == "causal"
    assert result["completions"][0]["text"] == ANSWER


class Hasty:
    """A worker whose drafts come faster than anybody reads."""

    def __init__(self, drafts: int, size: int) -> None:
        self.drafts, self.size = drafts, size

    async def complete(self, request: CompletionRequest, caller: Caller, *, on_step: OnDraft) -> CompletionResult:
        for index in range(self.drafts):
            on_step(Draft(index, "draft", ("x" * self.size,), (0.5,)))
            await asyncio.sleep(0)
        return CompletionResult((), self.drafts, 0, reason="empty")

    async def info(self) -> Any:
        with serving() as served:
            return await served.worker.info()


def test_who_reads_slowly_misses_drafts_and_never_the_result(serve: Serve, listen: Listen) -> None:
    served = serve()
    served.app.state.serving = Hasty(drafts=300, size=1_000_000)
    url = listen(served)
    with httpx.stream("POST", url + COMPLETE, json=BODY | {"stream": True}, timeout=20) as answer:
        time.sleep(0.5)
        seen = events(answer.read().decode())
    assert seen[-1][0] == "result"
    assert 1 <= len(seen) - 1 < 100
    indices = [step["index"] for _, step in seen[:-1]]
    assert indices == sorted(set(indices))


def test_an_error_after_the_first_step_is_an_event(serve: Serve) -> None:
    class Failing(Hasty):
        async def complete(self, *args: Any, on_step: OnDraft, **more: Any) -> CompletionResult:
            on_step(Draft(0, "draft", (None,), (0.0,)))
            await asyncio.sleep(0.05)
            raise RuntimeError("SECRET")

    served = serve()
    served.app.state.serving = Failing(1, 1)
    answer = served.post(COMPLETE, json=BODY | {"stream": True})
    assert [name for name, _ in events(answer.text)] == ["step", "error"]
    assert "SECRET" not in answer.text


# Cancelling.


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_away_stops_the_model(serve: Serve, listen: Listen, stream: bool) -> None:
    gate = Gate()
    served = serve(on_call=gate)
    url = listen(served)
    body = json.dumps(BODY | {"stream": stream}).encode()
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as sock:
        head = b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        sock.sendall(head % (COMPLETE.encode(), len(body)) + body)
        assert gate.reached.wait(10)
    time.sleep(0.2)  # the server hears of it
    calls = gate.calls
    gate.open.set()
    until(lambda: outcomes(served, "cancelled") == 1, "the request ended as cancelled")
    assert gate.calls <= calls + 1, "the model went on for nobody"
    assert httpx.post(url + COMPLETE, json=BODY).json()["completions"]


def test_a_client_that_goes_away_in_the_middle_of_a_stream_stops_the_model(serve: Serve, listen: Listen) -> None:
    served = serve(PREFIX, "a + b + a + b + a", on_call=lambda _: time.sleep(0.05))
    url = listen(served)
    with httpx.stream("POST", url + COMPLETE, json=BODY | {"stream": True, "policy": "causal"}) as answer:
        next(answer.iter_lines())
    until(lambda: outcomes(served, "cancelled") == 1, "the request ended as cancelled")


REQUEST = "POST %s HTTP/%s\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"


def everything(sock: socket.socket) -> bytes:
    """All that comes until the other side ends."""
    said = b""
    while part := sock.recv(65536):
        said += part
    return said


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("unix", [False, True])
def test_a_client_that_ends_its_own_side_once_it_has_asked_is_answered(
    serve: Serve, listen: Listen, tmp_path: Path, version: str, stream: bool, unix: bool
) -> None:
    """As ``nc -N`` does. Two requests at once, of which the first is the model's."""
    gate = Gate()
    served = serve(on_call=gate)
    path = str(tmp_path / "hone.sock")
    url = listen(served, uds=path if unix else None)
    body = json.dumps(BODY | {"stream": stream})
    with socket.socket(socket.AF_UNIX if unix else socket.AF_INET) as sock:
        sock.settimeout(20)
        sock.connect(path if unix else ("127.0.0.1", int(url.rpartition(":")[2])))
        asked = REQUEST % (COMPLETE, version, len(body), body)
        if version == "1.1":
            asked += "GET /api/version HTTP/1.1\r\nHost: localhost\r\n\r\n"
        sock.sendall(asked.encode())
        assert gate.reached.wait(10)
        sock.shutdown(socket.SHUT_WR)
        time.sleep(0.2)  # the server hears of it
        gate.open.set()
        said = everything(sock)
    assert said.startswith(b"HTTP/1.1 100 " if version == "1.1" else b"HTTP/1.1 200 "), "no HTTP/1.0 client knows a 100"
    assert said.count(b"HTTP/1.1 200 ") == (2 if version == "1.1" else 1)
    assert b'"text":"a + b"' in said
    assert outcomes(served, "cancelled") == 0


def test_who_breaks_off_a_request_hears_nothing_and_holds_nobody_up(url: str) -> None:
    body = json.dumps(BODY)
    for end in (10, len(REQUEST), -1):
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=10) as sock:
            sock.sendall((REQUEST % (COMPLETE, "1.1", len(body), body)).encode()[:end])
            sock.shutdown(socket.SHUT_WR)
            assert everything(sock) == b""
    assert httpx.post(url + COMPLETE, json=BODY).json()["completions"]


def test_a_request_is_cancelled_by_its_name(serve: Serve, listen: Listen) -> None:
    gate = Gate()
    served = serve(on_call=gate)
    url = listen(served)
    results: list[dict[str, Any]] = []
    mine = {"x-hone-client": "editor-1"}

    def ask() -> None:
        results.append(httpx.post(url + COMPLETE, json=BODY | {"request": "r1"}, headers=mine, timeout=20).json())

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        assert gate.reached.wait(10)
        for body, headers, cancelled in (
            ({"request": "r2"}, mine, False),
            ({"request": "r1"}, {"x-hone-client": "editor-2"}, False),
            ({"request": "r1"}, mine, True),
        ):
            answer = httpx.post(f"{url}/v1/hone/cancel", json=body, headers=headers)
            assert answer.json() == {"cancelled": cancelled}
    finally:
        gate.open.set()
        thread.join(20)
    assert (results[0]["completions"], results[0]["reason"]) == ([], "cancelled")


# What an admin may ask.

AS_ADMIN = {"authorization": f"Bearer {ADMIN}"}


def test_the_status_says_how_the_server_is(client: Served) -> None:
    status = client.get("/v1/hone/status", headers=AS_ADMIN).json()
    assert status["version"] == "1.2.3"
    assert status["model"]["context"] == 256
    assert status["model_error"] is None
    assert status["load"]["waiting"] == 0
    assert status["empty"] == {}


def test_the_status_is_there_without_a_model(serve: Serve) -> None:
    served = serve()

    async def fail() -> None:
        raise ModelError("there is no such folder")

    served.worker.info = fail  # type: ignore[method-assign, assignment]
    status = served.get("/v1/hone/status", headers=AS_ADMIN).json()
    assert (status["model"], status["model_error"]) == (None, "there is no such folder")


def test_empty_answers_are_remembered_with_their_reason(serve: Serve) -> None:
    served = serve(PREFIX, ")")
    reason = served.post(COMPLETE, json=BODY).json()["reason"]
    assert served.get("/v1/hone/status", headers=AS_ADMIN).json()["empty"] == {reason: 1}


def test_a_shutdown_is_passed_on(client: Served) -> None:
    assert client.post("/v1/hone/shutdown", headers=AS_ADMIN).json() == {"stopping": True}
    assert len(client.shutdowns) == 1


def test_a_server_that_cannot_be_shut_down_says_so(client: Served) -> None:
    client.app.state.on_shutdown = None
    assert client.post("/v1/hone/shutdown", headers=AS_ADMIN).status_code == 501


def test_events_that_nobody_begins_to_read_end_their_work() -> None:
    async def lines() -> AsyncIterator[bytes]:
        yield b"data: 1\n\n"

    async def work() -> None:
        async def gone(_: object) -> None:
            raise OSError("the client has left")

        async def receive() -> dict[str, str]:
            return {"type": "http.disconnect"}

        task: asyncio.Future[Any] = asyncio.ensure_future(asyncio.sleep(60))
        for version in ("2.3", "2.4"):
            with suppress(Exception):
                await Events(lines(), task)({"type": "http", "asgi": {"spec_version": version}}, receive, gone)
        await asyncio.sleep(0)
        assert task.cancelled()

    asyncio.run(work())
