"""Bad input of all kinds: requests made from the server's own description, raw bytes, and ten thousand bad requests.

No 5xx but 501 and 503, no hang, no memory kept, and a good request right after is answered.
"""

import gc
import json
import re
import select
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import psutil
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from assistant.server import create_app
from assistant.worker import Worker
from infill.engine import Infiller
from tests.fakes import ScriptedDenoiser
from tests.serve.conftest import ADMIN, ANSWER, OPTIONS, PREFIX, TEXT, Served, listening, serving

ALLOWED = {501, 503}
HEADERS = {"host": "127.0.0.1:8077", "x-api-key": ADMIN}
GOOD = {"text": TEXT, "start": len(PREFIX), "filename": "add.py"}


@pytest.fixture(scope="module")
def fuzzed() -> Iterator[Served]:
    with serving() as served:
        yield served


@pytest.fixture(scope="module")
def address(fuzzed: Served) -> Iterator[tuple[str, int]]:
    with listening(fuzzed.app, fuzzed.options) as url:
        yield "127.0.0.1", int(url.rpartition(":")[2])
        answer = httpx.post(f"{url}/v1/hone/complete", json=GOOD)
        assert answer.json()["completions"][0]["text"] == ANSWER, "not well after all of this"


# From the description.


def described() -> Any:
    worker = Worker(lambda: Infiller(ScriptedDenoiser(PREFIX, ANSWER)))  # not started: only described
    return schemathesis.openapi.from_dict(create_app(worker, OPTIONS).openapi())


OPERATIONS = [operation.ok() for operation in described().get_all_operations()]
GOOD_AND_BAD = [(one.label, schemathesis.GenerationMode.POSITIVE) for one in OPERATIONS] + [
    (one.label, schemathesis.GenerationMode.NEGATIVE)
    for one in OPERATIONS
    if list(one.body)  # without a body there is nothing to get wrong
]


@pytest.fixture(scope="module")
def operations(fuzzed: Served) -> dict[str, Any]:
    schema = schemathesis.openapi.from_asgi("/openapi.json", fuzzed.app, headers=HEADERS)
    found: list[Any] = [operation.ok() for operation in schema.get_all_operations()]  # type: ignore[union-attr]
    return {operation.label: operation for operation in found}


@pytest.mark.parametrize(("label", "mode"), GOOD_AND_BAD)
def test_what_the_description_allows_and_what_it_does_not(
    operations: dict[str, Any], label: str, mode: schemathesis.GenerationMode
) -> None:
    @settings(max_examples=12, phases=[Phase.generate], suppress_health_check=list(HealthCheck), derandomize=True)
    @given(case=operations[label].as_strategy(generation_mode=mode))
    def check(case: Any) -> None:
        answer = case.call(headers=HEADERS)
        assert answer.status_code < 500 or answer.status_code in ALLOWED, answer.text

    check()


# Raw bytes.

PATHS = sorted({one.path for one in OPERATIONS} - {"/v1/hone/shutdown"})
BODIES = [
    b"",
    b"{}",
    json.dumps(GOOD).encode(),
    json.dumps({"model": "", "prompt": PREFIX, "suffix": "\n", "stream": True}).encode(),
    json.dumps({"input_prefix": PREFIX, "input_suffix": "\n", "prompt": "", "n_predict": 8}).encode(),
    json.dumps({"language": "python", "segments": {"prefix": PREFIX, "suffix": "\n"}}).encode(),
]


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A request as it should be, then damaged in a few places."""
    body = draw(st.sampled_from(BODIES) | st.binary(max_size=200))
    method = draw(st.sampled_from(["GET", "POST", "POST", "HEAD", "OPTIONS", "PUT", "x"]))
    lines = [
        f"{method} {draw(st.sampled_from(PATHS))} HTTP/1.1",
        "Host: localhost",
        f"Content-Length: {draw(st.sampled_from([len(body), len(body), len(body), 0, len(body) + 9, -1, 2**70]))}",
        *draw(st.lists(st.sampled_from(LINES), max_size=4)),
    ]
    data = bytearray("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
    for _ in range(draw(st.integers(0, 4))):
        where = draw(st.integers(0, len(data)))
        data[where : where + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(data)


LINES = [
    "Content-Type: application/json", "Content-Type: text/plain", "Transfer-Encoding: chunked", "Host: evil.example",
    "Expect: 100-continue", "Connection: close", "Connection: upgrade", "Upgrade: websocket", "Upgrade: h2c",
    "Content-Encoding: gzip", "Origin: null", "Accept: text/html", "Range: bytes=0-1", "Authorization: Basic =",
    "Authorization: Bearer \xff", "X-Api-Key: ", "X-Hone-Client: \xff\xfe", "Content-Length: 5", "Cookie: a=b",
    "If-None-Match: *", "X-HTTP-Method-Override: DELETE", "Content-Type: multipart/form-data", "Accept-Encoding: ,,,",
]  # fmt: skip


def exchange(address: tuple[str, int], data: bytes) -> bytes:
    """All that the server says to these bytes, until it closes; it must, once nothing more comes."""
    with socket.create_connection(address, timeout=10) as sock:
        try:
            sock.sendall(data)
            answered, _, _ = select.select([sock], [], [], 0.05)
            said = sock.recv(65536) if answered else b""
            sock.shutdown(socket.SHUT_WR)
            while part := sock.recv(65536):
                said += part
        except TimeoutError:
            pytest.fail(f"no end to the answer to {data!r}")
        except OSError:  # it has closed the connection already, with bytes of ours unread
            return b""
    return said


@settings(max_examples=150)
@given(data=requests() | st.binary(max_size=300))
@example(data=b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
@example(data=b"POST /infill HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n")
@example(data=b"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
@example(data=b"CONNECT localhost:1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
@example(data=b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
@example(data=b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
@example(data=b"GET /%ff%fe/%00 HTTP/1.1\r\nHost: localhost\r\n\r\n")
@example(data=b"GET / HTTP/0.9\r\n\r\n")
@example(data=b"\r\n" * 500)
def test_raw_bytes(address: tuple[str, int], data: bytes) -> None:
    for status in map(int, re.findall(rb"HTTP/1\.1 (\d{3}) ", exchange(address, data))):
        assert status < 500 or status in ALLOWED


# Ten thousand.

Request = tuple[str, str, list[str], bytes]
"""(method, path, headers, body)"""
HERE = ["Host: localhost", "Content-Type: application/json"]


def bad_requests(number: int) -> list[Request]:
    """None of them is like those of another number, and each is large: were something kept of one kind, it would show.

    The last one ends its connection.
    """
    text = f"{number:06}" * 1000
    host = HERE[0]
    wrong = {"text": text, "start": -1, "document": text[:4000], "request": f"r{number}"}
    bodies: list[tuple[str, Any]] = [
        ("/v1/hone/complete", wrong),
        ("/v1/hone/complete", GOOD | {"start": 999, "document": text[:4000], "filename": text[:4000]}),
        ("/v1/hone/complete", GOOD | {text: text}),
        ("/v1/hone/complete", text),
        ("/v1/hone/edit", {"text": text, "blocks": [[0, 1]], "instruction": text[:4000]}),
        ("/v1/completions", {"model": text, "prompt": {"a": text}}),
        ("/infill", {"input_prefix": [text], "n_predict": text}),
        ("/api/generate", {"model": text, "prompt": number}),
    ]
    last: Request = ("GET", "/health", [host, *(f"X-{number}-{n}: {text[:200]}" for n in range(101))], b"")
    if number % 2:
        last = ("POST", f"/{text}", [host, f"Content-Length: {2**40 + number}"], b"")
    return [
        *(("POST", path, HERE, json.dumps(body).encode()) for path, body in bodies),
        ("GET", f"/{text}", [host], b""),
        ("GET", f"/page/{text}", [host], b""),
        ("GET", f"/v1/hone/status?{text}", [host, f"Authorization: Bearer {text}", f"X-Hone-Client: {text}"], b""),
        (f"M{text[:2000]}", "/health", [host], b""),
        ("GET", "/health", [f"Host: {number}.evil.example", f"User-Agent: {text}"], b""),
        ("GET", "/health", [host, f"Origin: https://{text}.example"], b""),
        last,
    ]


def ask_all(address: tuple[str, int], asked: list[Request]) -> list[int]:
    """Statuses of requests that are sent at once on one connection."""
    data = b""
    for method, path, headers, body in asked:
        length = [] if any(line.startswith("Content-Length") for line in headers) else [f"Content-Length: {len(body)}"]
        data += "\r\n".join([f"{method} {path} HTTP/1.1", *headers, *length]).encode() + b"\r\n\r\n" + body
    with socket.create_connection(address, timeout=10) as sock:
        sock.sendall(data)
        said = b""
        while len(statuses := re.findall(rb"HTTP/1\.1 (\d{3}) ", said)) < len(asked):
            part = sock.recv(65536)
            assert part, f"{len(asked)} requests, {len(statuses)} answers"
            said += part
    return [int(status) for status in statuses]


def resident() -> int:
    gc.collect()
    return psutil.Process().memory_info().rss


def test_ten_thousand_bad_requests_leave_nothing_behind(address: tuple[str, int]) -> None:
    kinds = len(bad_requests(0))
    for number in range(50):
        assert all(400 <= status < 500 or status == 501 for status in ask_all(address, bad_requests(number)))
    before = resident()
    for number in range(50, 50 + 10_000 // kinds + 1):
        ask_all(address, bad_requests(number))
    grown = resident() - before
    assert ask_all(address, [("POST", "/v1/hone/complete", HERE, json.dumps(GOOD).encode())]) == [200]
    assert grown < 2 * 2**20, f"{grown / 2**20:.1f} MiB more"
