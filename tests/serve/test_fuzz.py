"""Bad input of all kinds: requests made from the server's own description, raw bytes, and ten thousand bad requests.

No 5xx but 501 and 503, no hang, no memory kept, and a good request right after is answered.
"""

import gc
import json
import re
import select
import socket
import time
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


def bad_requests(number: int) -> list[tuple[str, str, list[str], bytes]]:
    """(method, path, headers, body), none of them like those of another number: what is kept of one, grows."""
    text = "x" * 300 + str(number)
    host = "Host: localhost"
    here = [host, "Content-Type: application/json"]
    wrong = {"text": text, "start": -1, "document": f"file:///{number}", "request": f"r{number}"}
    return [
        ("POST", "/v1/hone/complete", here, json.dumps(wrong).encode()),
        ("POST", "/v1/hone/complete", here, json.dumps(GOOD | {"start": 999, "document": f"d{number}"}).encode()),
        ("POST", "/v1/hone/complete", here, json.dumps(GOOD | {f"field{number}": text}).encode()),
        ("POST", "/v1/hone/complete", here, f'{{"text": "{text}'.encode()),
        ("POST", "/v1/hone/cancel", here, json.dumps({"request": text[:100] + str(number)}).encode()),
        ("POST", "/v1/completions", here, json.dumps({"model": text, "prompt": {"a": text}}).encode()),
        ("POST", "/infill", here, json.dumps({"input_prefix": [text], "n_predict": text}).encode()),
        ("POST", "/api/generate", here, json.dumps({"model": text, "prompt": number}).encode()),
        ("GET", f"/{number}/{text}", [host], b""),
        ("GET", f"/page/{number}", [host], b""),
        ("GET", f"/v1/hone/status?{number}", [host, f"Authorization: Bearer {number}"], b""),
        (f"M{number}", "/health", [host], b""),
        ("GET", "/health", [f"Host: {number}.evil.example"], b""),
        ("GET", "/health", [host, f"Origin: https://{number}.example"], b""),
        ("GET", "/health", [host, *(f"X-{number}-{n}: {n}" for n in range(101))], b""),
        ("POST", "/nothing", [host, f"Content-Length: {2**40 + number}"], b""),
    ]


class Connection:
    """A keep-alive connection that is opened again when the server has closed it."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self.sock: socket.socket | None = None

    def ask(self, method: str, path: str, headers: list[str], body: bytes) -> int:
        if not any(line.startswith("Content-Length") for line in headers):
            headers = [*headers, f"Content-Length: {len(body)}"]
        head = "\r\n".join([f"{method} {path} HTTP/1.1", *headers]).encode()
        if self.sock is None:
            self.sock = socket.create_connection(self.address, timeout=10)
        self.sock.sendall(head + b"\r\n\r\n" + body)
        data = b""
        while b"\r\n\r\n" not in data:
            data += self.sock.recv(65536)
        head, _, rest = data.partition(b"\r\n\r\n")
        length = int(re.search(rb"content-length: (\d+)", head)[1])  # type: ignore[index]
        while len(rest) < length:
            rest += self.sock.recv(65536)
        if b"connection: close" in head:
            self.close()
        return int(head[9:12])

    def close(self) -> None:
        if self.sock is not None:
            self.sock.close()
            self.sock = None


def resident() -> int:
    gc.collect()
    return psutil.Process().memory_info().rss


@pytest.mark.timeout(60)
def test_ten_thousand_bad_requests_leave_nothing_behind(address: tuple[str, int]) -> None:
    connection = Connection(address)
    kinds = len(bad_requests(0))
    begun = time.monotonic()
    try:
        for number in range(50):
            for request in bad_requests(number):
                assert 400 <= connection.ask(*request) < 500 or request[1] == "/v1/hone/cancel", request
        before = resident()
        for number in range(100, 100 + 10_000 // kinds):
            for request in bad_requests(number):
                connection.ask(*request)
        grown = resident() - before
        good = ("POST", "/v1/hone/complete", ["Host: localhost", "Content-Type: application/json"])
        assert connection.ask(*good, json.dumps(GOOD).encode()) == 200
    finally:
        connection.close()
    took = time.monotonic() - begun
    assert grown < 4 * 2**20, f"{grown / 2**20:.1f} MiB more after {took:.1f} s"
