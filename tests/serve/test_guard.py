"""Who gets in and how much they may send, on every route; and that the same checks notice an app without guards."""

import asyncio
import base64
import json
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message

from assistant.bounds import ServerOptions
from assistant.guard import host_allowed, split_host
from assistant.server import open_app
from tests.serve.conftest import ADMIN, OPTIONS, PREFIX, TEXT, Listen, Serve, Served

BODY = {"text": TEXT, "start": len(PREFIX), "filename": "add.py"}
HERE = ("127.0.0.1", 8077)
UNIX = "unix"
TOKEN = "token-of-everybody"
Pairs = list[tuple[str, str]]


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes
    read: int
    """Parts of the body that were taken."""
    read_before: int = 0
    """Those that were taken before the answer was there."""


def ask(
    app: ASGIApp,
    method: str = "GET",
    path: str = "/v1/hone/complete",
    headers: Pairs | None = None,
    parts: Iterable[bytes] = (b"",),
    *,
    server: tuple[str, int] | str = HERE,
) -> Answer:
    """One request straight to ASGI, where headers may be missing or doubled."""
    unix = server == UNIX
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers or []],
        "client": None if unix else ("127.0.0.1", 50_000),
        "server": ("/run/hone.sock", None) if unix else server,
    }
    answer = Answer(0, {}, b"", 0)
    waiting = [*parts]

    async def run() -> None:
        done = asyncio.Event()

        async def receive() -> Message:
            if not waiting:
                await done.wait()
                return {"type": "http.disconnect"}
            answer.read += 1
            return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
                answer.read_before = answer.read
            else:
                answer.body += message["body"]
                if not message.get("more_body"):
                    done.set()

        await app(scope, receive, send)

    asyncio.run(run())
    return answer


def routes(app: FastAPI) -> list[tuple[str, str]]:
    """Every method and path there is, and some that are not."""
    known = [(method, path.replace("{name:path}", "index.html")) for method, path in api_routes(app.routes)]
    assert len(known) > 20, "routes are listed in another way in this version of FastAPI"
    return [*known, ("GET", "/openapi.json"), ("GET", "/nothing"), ("DELETE", "/"), ("OPTIONS", "/v1/hone/complete")]


def api_routes(found: Iterable[BaseRoute]) -> Iterator[tuple[str, str]]:
    for route in found:
        if isinstance(route, APIRoute):
            yield from ((method, route.path) for method in sorted(route.methods or ()))
        elif isinstance(router := getattr(route, "original_router", None), APIRouter):
            yield from api_routes(router.routes)


# Strangers.


@dataclass(frozen=True)
class Attack:
    name: str
    headers: Pairs = field(hash=False)
    status: int = 403


HOST = ("host", "127.0.0.1:8077")
ATTACKS = [
    Attack("a name that was rebound to 127.0.0.1", [("host", "evil.example:8077")]),
    Attack("no host", []),
    Attack("two hosts", [HOST, ("host", "evil.example")]),
    Attack("the same host twice", [HOST, HOST]),
    Attack("a host that ends like an address of ours", [("host", "127.0.0.1.evil.example")]),
    Attack("a foreign origin", [HOST, ("origin", "https://evil.example")]),
    Attack("no origin in particular", [HOST, ("origin", "null")]),
    Attack("another port of this machine", [HOST, ("origin", "http://127.0.0.1:3000")]),
    Attack("another name of this machine", [HOST, ("origin", "http://localhost:8077")]),
    Attack("two origins", [HOST, ("origin", "http://127.0.0.1:8077"), ("origin", "https://evil.example")]),
    Attack("an image in a foreign page", [HOST, ("sec-fetch-site", "cross-site")]),
    Attack("a page at another port", [HOST, ("sec-fetch-site", "same-site")]),
    Attack("own origin, but not from there", [HOST, ("origin", f"http://{HOST[1]}"), ("sec-fetch-site", "cross-site")]),
    Attack("a preflight", [HOST, ("origin", "https://evil.example"), ("access-control-request-method", "POST")]),
]


def broken_by(app: ASGIApp, attack: Attack, method: str, path: str) -> bool:
    """Whether an attack gets further than the guards."""
    headers = [*attack.headers, ("content-type", "text/plain")]
    answer = ask(app, method, path, headers, [json.dumps(BODY).encode()])
    return answer.status != attack.status or any(name.startswith("access-control") for name in answer.headers)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_strangers_are_refused_on_every_route(served: Served, attack: Attack) -> None:
    assert [route for route in routes(served.app) if broken_by(served.app, attack, *route)] == []
    assert not served.denoiser.calls, "the model was asked"


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_the_checks_notice_an_app_without_guards(served: Served, attack: Attack) -> None:
    unprotected = open_app(served.worker, OPTIONS)
    assert broken_by(unprotected, attack, "POST", "/v1/hone/complete")
    assert broken_by(unprotected, attack, "GET", "/nothing")


def test_a_refused_request_hears_why_in_the_form_of_its_protocol(served: Served) -> None:
    answer = ask(served.app, "POST", "/v1/hone/complete", [("host", "evil.example")])
    assert "--allow-host" in json.loads(answer.body)["error"]["message"]
    answer = ask(served.app, "POST", "/api/generate", [HOST, ("origin", "https://evil.example")])
    assert "--allow-origin" in json.loads(answer.body)["error"]


def test_a_simple_request_of_a_foreign_page_does_not_reach_the_model(served: Served, url: str) -> None:
    # What a form, or fetch() without a preflight, can send from any page; the body is JSON all the same.
    kinds = ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "")
    body = json.dumps(BODY | {"prompt": PREFIX, "suffix": "\n", "input_prefix": PREFIX, "model": ""}).encode()
    posts = [path for method, path in routes(served.app) if method == "POST"]
    assert "/v1/hone/complete" in posts
    with httpx.Client(base_url=url) as client:
        for path in posts:
            for kind in kinds:
                headers = {"origin": "https://evil.example"} | ({"content-type": kind} if kind else {})
                answer = client.post(path, content=body, headers=headers)
                assert answer.status_code == 403, (path, kind)
    assert not served.denoiser.calls


# Names of the server.


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.0.0.1:8077", "127.0.0.1:9000", "127.8.9.1:1", "localhost", "LocalHost:80", "localhost:65535",
        "[::1]", "[::1]:8077", "[::ffff:127.0.0.1]:1", "app.localhost:8077", "192.168.7.7:8077", "box", "box:8077",
        "other:9000", "localhost.", "localhost.:8077", "app.localhost.", "127.0.0.1.", "box.:1",
    ],
)  # fmt: skip
def test_names_that_are_ours(host: str) -> None:
    scope = {"server": ("192.168.7.7", 8077), "client": ("192.168.7.8", 1)}
    assert host_allowed([host], scope, {"box", "other:9000"})


@pytest.mark.parametrize(
    "host",
    [
        "", " ", "evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "evil-localhost", "localhost:",
        "localhost:65536", "localhost:x", "localhost:80:80", "localhost@evil.example", "evil.example#localhost",
        "localhost,evil.example", "localhost evil", "127.0.0.1/", "0.0.0.0", "0.0.0.0:8077", "[::]", "127.1", "0x7f.1",
        "2130706433", "017700000001", "10.0.0.1", "192.168.7.7:8077", "[::1", "::1", "[::1]evil", "[fe80::1%25lo]",
        "other", "other:9001", "ⓛocalhost", "localhost\x00", "xbox", "*", "localhost..", ".localhost", ".",
        "evil.example.", "[::1].", "box.evil.example.", "10.0.0.1.",
    ],
)  # fmt: skip
def test_names_that_are_not(host: str) -> None:
    assert not host_allowed([host], {"server": HERE, "client": ("127.0.0.1", 1)}, {"box", "other:9000"})


def test_a_unix_socket_needs_no_name(served: Served) -> None:
    good: list[Pairs] = [[], [("host", "")], [("host", "localhost")]]
    assert [ask(served.app, "GET", "/health", headers, server=UNIX).status for headers in good] == [200] * 3
    assert ask(served.app, "GET", "/health", [("host", "evil.example")], server=UNIX).status == 403
    assert ask(served.app, "GET", "/health", []).status == 403


@pytest.mark.parametrize("server", ["127.0.0.1", "::1", "192.168.7.7", "box"])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_only_on_loopback_and_in_http_1_0_the_name_may_be_missing(server: str, version: str) -> None:
    scope = {"server": (server, 8077), "client": (server, 1), "http_version": version}
    assert host_allowed([], scope, {"box"}) == (version == "1.0" and server in ("127.0.0.1", "::1"))
    assert not host_allowed([""], scope, {"box"})
    assert not host_allowed(["evil.example"], scope, {"box"})


def test_a_client_of_http_1_0_is_answered(url: str) -> None:
    for more, status in (
        (b"", 200),
        (b"Host: localhost\r\n", 200),
        (b"Host: evil.example\r\n", 403),
        (b"Host:\r\n", 403),
    ):
        with connected(url) as sock:
            sock.sendall(b"GET /health HTTP/1.0\r\n" + more + b"\r\n")
            assert answer_of(sock).startswith(b"HTTP/1.1 %d " % status), more
    with connected(url) as sock:
        sock.sendall(b"GET http://evil.example/health HTTP/1.0\r\n\r\n")
        assert answer_of(sock).startswith(b"HTTP/1.1 403 ")


def test_a_listed_name_is_ours(serve: Serve) -> None:
    served = serve(options=replace(OPTIONS, allowed_hosts=("Box.example",)))
    assert ask(served.app, "GET", "/health", [("host", "box.example:1")]).status == 200
    assert ask(served.app, "GET", "/health", [("host", "a.box.example:1")]).status == 403


def test_a_host_is_split_or_refused() -> None:
    assert split_host("[::1]:80") == ("::1", 80)
    assert split_host("A.b") == ("a.b", None)
    assert split_host("a..:1") is None


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        ("http://127.0.0.1:8077/api/version", "127.0.0.1:8077", 200),
        ("HTTP://LocalHost/api/version?a=b", "localhost", 200),
        ("http://localhost:8077", "localhost:8077", 200),
        ("http://localhost/api/nothing%20here", "localhost", 404),
        ("http://evil.example/api/version", "evil.example", 403),
        ("http://evil.example/api/version", "localhost", 403),
        ("http://localhost/api/version", "evil.example", 403),
        ("http://localhost@evil.example/api/version", "localhost@evil.example", 403),
        ("http://localhost:1/api/version", "localhost:2", 403),
        ("http:///api/version", "localhost", 403),
        ("http://http://localhost/api/version", "localhost", 403),
        ("https://localhost/api/version", "localhost", 404),
    ],
)
def test_a_whole_address_is_understood_and_its_name_checked(url: str, target: str, host: str, status: int) -> None:
    with connected(url) as sock:
        sock.sendall(f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answered = answer_of(sock)
    assert answered.startswith(b"HTTP/1.1 %d " % status), answered
    if status != 200 and not target.startswith(("https", "http://http")):
        assert b'{"error":"' in answered, "an error in the form of the path"


def test_a_body_with_two_lengths_is_refused(url: str) -> None:
    """One of two servers in a row may believe the first length and the other one the second (request smuggling)."""
    hidden = b"GET /api/version HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for lengths in (
        b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        b"transfer-encoding: chunked\r\ncontent-length: 5",
    ):
        with connected(url) as sock:
            sock.sendall(HEAD + lengths + b"\r\n\r\n0\r\n\r\n" + hidden)
            answered = answer_of(sock)
        assert answered.startswith(b"HTTP/1.1 400 ")
        assert b"send one of them" in answered
        assert answered.count(b"HTTP/1.1 ") == 1, "what follows was taken for a request"


# Pages.


def test_the_own_page_may_ask(served: Served) -> None:
    for host in ("127.0.0.1:8077", "localhost:9000", "[::1]:8077", "localhost.:8077"):
        headers = [("host", host), ("origin", f"http://{host}"), ("sec-fetch-site", "same-origin")]
        assert ask(served.app, "GET", "/health", headers).status == 200
    assert ask(served.app, "GET", "/health", [("host", "localhost"), ("origin", "http://localhost:80")]).status == 200
    for origin in ("https://127.0.0.1:8077", "http://127.0.0.1", "http://127.0.0.1:8077/", "http://127.0.0.1:x", ""):
        assert ask(served.app, "GET", "/health", [HOST, ("origin", origin)]).status == 403, origin


def test_who_is_no_browser_sends_no_origin(served: Served) -> None:
    answer = ask(served.app, "GET", "/health", [HOST])
    assert answer.status == 200
    assert "access-control-allow-origin" not in answer.headers
    assert ask(served.app, "GET", "/", [HOST, ("sec-fetch-site", "none")]).status == 200


@pytest.mark.parametrize("origin", ["vscode-webview://1abc", "https://ide.example"])
def test_listed_origins_may_read_answers(serve: Serve, origin: str) -> None:
    served = serve(options=replace(OPTIONS, allowed_origins=("https://ide.example/",)))
    more = [HOST, ("origin", origin), ("sec-fetch-site", "cross-site")]
    for path, status in (("/health", 200), ("/nothing", 404)):
        answer = ask(served.app, "GET", path, more)
        assert answer.status == status
        assert answer.headers["access-control-allow-origin"] == origin
        assert "origin" in answer.headers["vary"]
        assert "access-control-allow-credentials" not in answer.headers
    preflight = ask(served.app, "OPTIONS", "/v1/hone/complete", [*more, ("access-control-request-method", "POST")])
    assert preflight.status == 204
    assert preflight.headers["access-control-allow-origin"] == origin
    assert "authorization" in preflight.headers["access-control-allow-headers"]
    assert ask(served.app, "GET", "/health", [HOST, ("origin", f"{origin}.evil.example")]).status == (
        200 if origin.startswith("vscode") else 403
    )


# The token.


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"me:{password}".encode()).decode()


def test_every_route_needs_the_token(serve: Serve) -> None:
    served = serve(options=replace(OPTIONS, token=TOKEN))
    wrong: list[Pairs] = [
        [HOST],
        [HOST, ("authorization", "Bearer ")],
        [HOST, ("authorization", f"Bearer {TOKEN[:-1]}")],
        [HOST, ("authorization", f"Bearer {TOKEN}x")],
        [HOST, ("authorization", TOKEN)],
        [HOST, ("authorization", "Bearer tökén")],
        [HOST, ("authorization", "Basic %%%")],
        [HOST, ("authorization", basic("x"))],
        [HOST, ("x-api-key", "")],
    ]
    for headers in wrong:
        for route in routes(served.app):
            answer = ask(served.app, *route, headers)
            assert answer.status == 401, (route, headers)
            assert answer.headers["www-authenticate"] == "Bearer"
            assert TOKEN.encode() not in answer.body
    unprotected = open_app(served.worker, served.options)
    assert ask(unprotected, "GET", "/health", [HOST]).status == 200, "the check would not notice an open app"


@pytest.mark.parametrize("token", [TOKEN, ADMIN])
def test_the_token_opens(serve: Serve, token: str) -> None:
    served = serve(options=replace(OPTIONS, token=TOKEN))
    for name, value in (
        ("authorization", f"Bearer {token}"),
        ("authorization", f"bearer  {token}"),
        ("authorization", basic(token)),
        ("x-api-key", token),
    ):
        assert ask(served.app, "GET", "/health", [HOST, (name, value)]).status == 200
    # A client that fills in both, one of them with something of its own.
    both = [HOST, ("authorization", "Bearer sk-none"), ("x-api-key", token)]
    assert ask(served.app, "GET", "/health", both).status == 200


def test_a_person_in_a_browser_is_asked_for_the_token(serve: Serve) -> None:
    served = serve(options=replace(OPTIONS, token=TOKEN))
    answer = ask(served.app, "GET", "/", [HOST, ("accept", "text/html,*/*")])
    assert answer.headers["www-authenticate"].startswith("Basic ")


def test_without_a_token_any_bearer_is_fine(served: Served) -> None:
    for value in ("Bearer ", "Bearer", "Bearer sk-anything", ""):
        assert ask(served.app, "GET", "/health", [HOST, ("authorization", value)]).status == 200


ADMIN_ROUTES = [("GET", "/v1/hone/status"), ("POST", "/v1/hone/shutdown")]


@pytest.mark.parametrize("route", ADMIN_ROUTES)
def test_admin_routes_always_need_the_admin_token(serve: Serve, route: tuple[str, str]) -> None:
    for options in (OPTIONS, replace(OPTIONS, token=TOKEN), ServerOptions(version="1")):
        served = serve(options=options)
        tries: list[Pairs] = [[], [("authorization", "Bearer ")], [("authorization", f"Bearer {TOKEN}")]]
        if options.admin_token is None:
            tries.append([("authorization", f"Bearer {ADMIN}")])
        assert [ask(served.app, *route, [HOST, *more]).status for more in tries] == [401] * len(tries)
        assert served.shutdowns == []
    served = serve(options=replace(OPTIONS, token=TOKEN))
    assert ask(served.app, *route, [HOST, ("authorization", f"Bearer {ADMIN}")]).status == 200


# How much they may send.


def test_a_body_that_says_that_it_is_too_large_is_refused_before_it_is_read(serve: Serve) -> None:
    served = serve(options=replace(OPTIONS, max_body_bytes=100))
    for length in ("101", "9" * 40):
        answer = ask(served.app, "POST", headers=[HOST, ("content-length", length)], parts=[b"x"] * 101)
        assert (answer.status, answer.read_before) == (413, 0)
        message = json.loads(answer.body)["error"]["message"]
        assert message.startswith("the body is larger than 100 bytes, the most that is read; send only the text around")


def test_a_body_that_does_not_say_how_large_it_is_is_read_up_to_the_limit(serve: Serve) -> None:
    served = serve(options=replace(OPTIONS, max_body_bytes=100))
    answer = ask(served.app, "POST", headers=[HOST], parts=[b"x" * 30] * 50)
    assert (answer.status, answer.read_before) == (413, 4)
    assert answer.read < 20, "the rest is taken up to a limit"
    # On an address that is none, too: nobody would look at the body there.
    assert ask(served.app, "POST", "/nothing", [HOST], parts=[b"x" * 30] * 50).status == 413
    # And the guard is what refused it.
    unprotected = open_app(served.worker, served.options)
    assert ask(unprotected, "POST", headers=[HOST], parts=[b"x" * 30] * 50).status != 413


@contextmanager
def connected(url: str) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=10) as sock:
        yield sock


def answer_of(sock: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    data = b""
    try:
        while part := sock.recv(65536):
            data += part
    except ConnectionResetError:
        pass
    return data


HEAD = b"POST /v1/hone/complete HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def test_a_chunked_body_ends_at_the_limit_on_a_real_connection(serve: Serve, listen: Listen) -> None:
    url = listen(serve(options=replace(OPTIONS, max_body_bytes=100_000)))
    with connected(url) as sock:
        sock.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        chunk = b"2710\r\n" + b"x" * 10_000 + b"\r\n"
        try:
            for _ in range(5000):  # 50 MB; never all of it
                sock.sendall(chunk)
        except (BrokenPipeError, ConnectionResetError):
            pass
        else:
            pytest.fail("the server read to the end")
    sent = httpx.post(f"{url}/v1/hone/complete", content=iter([b"x" * 50_000] * 4))
    assert sent.status_code == 413
    assert httpx.post(f"{url}/v1/hone/complete", json=BODY).status_code == 200


def test_who_sends_too_much_without_listening_reads_why_afterwards(serve: Serve, listen: Listen) -> None:
    """Most clients send all they have before they read; a reset connection tells them nothing."""
    url = listen(serve(options=replace(OPTIONS, max_body_bytes=3 * 2**20)))
    for length in (b"Content-Length: 9000000\r\n\r\n" + b"x" * 9_000_000, b"Transfer-Encoding: chunked\r\n\r\n"):
        with connected(url) as sock:
            sock.sendall(HEAD + length)
            if length.endswith(b"\r\n\r\n"):
                sock.sendall((b"f4240\r\n" + b"x" * 1_000_000 + b"\r\n") * 9 + b"0\r\n\r\n")
            answer = answer_of(sock)
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"larger than 3 MiB" in answer
    assert httpx.post(f"{url}/v1/hone/complete", json=BODY).status_code == 200


def test_a_body_that_does_not_come_is_given_up(serve: Serve, listen: Listen) -> None:
    url = listen(serve(options=replace(OPTIONS, receive_seconds=0.3)))
    with connected(url) as sock:
        sock.sendall(HEAD + b"Content-Length: 1000\r\n\r\n{")
        begun = time.monotonic()
        assert answer_of(sock).startswith(b"HTTP/1.1 408 ")
        assert 0.2 < time.monotonic() - begun < 3


def test_a_body_that_breaks_off_as_no_http_is_answered_once(
    serve: Serve, listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    """By the connection; the app, which waits for the rest, must not answer too."""
    url = listen(serve(options=replace(OPTIONS, receive_seconds=0.3)))
    with connected(url) as sock, caplog.at_level("INFO", "hone.serve"):
        sock.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n")
        time.sleep(0.1)
        sock.sendall(b"{}   no chunk\r\n")
        assert sock.recv(65536).startswith(b"HTTP/1.1 400 ")
        poll(lambda: caplog.records, lambda said: "answered" in [one.message for one in said])
        time.sleep(0.5)
    assert not [one for one in caplog.records if one.levelname == "ERROR"]
    assert httpx.post(f"{url}/v1/hone/complete", json=BODY).status_code == 200


@pytest.mark.parametrize("first", [b"", b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ", b"G"])
def test_a_head_that_does_not_come_is_given_up(serve: Serve, listen: Listen, first: bytes) -> None:
    url = listen(serve(options=replace(OPTIONS, receive_seconds=0.3)))
    with connected(url) as sock:
        sock.sendall(first)
        assert answer_of(sock).startswith(b"HTTP/1.1 408 ")


def test_a_slow_head_is_given_up_on_a_connection_that_was_used_before(serve: Serve, listen: Listen) -> None:
    url = listen(serve(options=replace(OPTIONS, receive_seconds=0.3)))
    with connected(url) as sock:
        sock.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
        time.sleep(0.5)  # a used connection may rest
        begun = time.monotonic()
        try:
            for byte in b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: " + b"a" * 1000:
                sock.sendall(bytes([byte]))
                time.sleep(0.02)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert time.monotonic() - begun < 3


def test_a_slow_request_that_is_in_time_is_answered(serve: Serve, listen: Listen) -> None:
    url = listen(serve(options=replace(OPTIONS, receive_seconds=1.0)))
    body = json.dumps(BODY).encode()
    with connected(url) as sock:
        for part in (HEAD, b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body), body[:10], body[10:]):
            sock.sendall(part)
            time.sleep(0.15)
        assert answer_of(sock).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([f"X-{n}: {n}" for n in range(101)], 431),
        (["X-Large: " + "a" * 40_000], 431),
        (["X-Larger: " + "a" * 200_000], 431),
        ([f"X-{n}: {'a' * 1000}" for n in range(90)], 431),
        ([f"X-{n}: {n}" for n in range(90)], 200),
        (["X-Fine: " + "a" * 30_000], 200),
    ],
    ids=["many", "large", "larger", "many and large", "not too many", "not too large"],
)
def test_heads_have_a_limit(url: str, lines: list[str], status: int) -> None:
    with connected(url) as sock:
        head = "\r\n".join(["GET /health HTTP/1.1", "Host: localhost", "Connection: close", *lines])
        sock.sendall(head.encode() + b"\r\n\r\n")
        assert answer_of(sock).startswith(b"HTTP/1.1 %d " % status)


def test_an_address_has_a_limit(url: str) -> None:
    assert httpx.get(f"{url}/health?" + "a" * 9000).status_code == 414


def test_connections_have_a_limit(serve: Serve, listen: Listen) -> None:
    url = listen(serve(options=replace(OPTIONS, max_connections=4)))
    held = [socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=10) for _ in range(4)]
    try:
        answer = poll(lambda: httpx.get(f"{url}/api/version"), lambda answer: answer.status_code == 503)
        assert answer.headers["retry-after"] == "1"
        assert "4 connections" in answer.json()["error"]
        with connected(url) as sock:  # most clients send all they have before they read
            sock.sendall(HEAD + b"Content-Length: 9000000\r\n\r\n" + b"x" * 9_000_000)
            assert answer_of(sock).startswith(b"HTTP/1.1 503 "), "the answer was lost with the connection"
        more = [socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=10) for _ in range(8)]
        held += more
        more[-1].sendall(HEAD + b"Content-Length: 900000\r\n\r\n" + b"x" * 900_000)
        answered = answer_of(more[-1])
        assert answered.startswith(b"HTTP/1.1 503 "), "a request far over the limit was dropped"
        assert b"retry-after: 1\r\n" in answered
        more = [socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=10) for _ in range(32)]
        held += more
        assert answer_of(more[-1]) == b"", "a connection without end over the limit was kept"
    finally:
        for sock in held:
            sock.close()
    assert poll(lambda: httpx.get(f"{url}/health"), lambda answer: answer.status_code == 200)


def poll(look: Any, good: Any) -> Any:
    deadline = time.monotonic() + 5
    while not good(seen := look()):
        assert time.monotonic() < deadline, f"still {seen}"
        time.sleep(0.01)
    return seen


def test_bodies_that_arrive_together_have_a_limit_together(serve: Serve) -> None:
    served = serve(options=replace(OPTIONS, max_body_bytes=1000))
    statuses: list[int] = []

    async def slow(app: ASGIApp, hold: asyncio.Event) -> None:
        parts = [b"x" * 900, b"x"]
        scope = {"type": "http", "method": "POST", "path": "/nothing", "headers": [(b"host", b"localhost")]}

        async def receive() -> Message:
            if len(parts) == 1:
                await hold.wait()
            return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        await app({**scope, "scheme": "http", "client": ("127.0.0.1", 1), "server": HERE}, receive, send)

    async def run() -> None:
        hold = asyncio.Event()
        tasks = [asyncio.create_task(slow(served.app, hold)) for _ in range(20)]
        await asyncio.sleep(0.05)
        hold.set()
        await asyncio.gather(*tasks)
        await slow(served.app, hold)

    asyncio.run(run())
    assert sorted(statuses[:3]) == [503] * 3  # 17 times 900 bytes fit in 16 times 1000
    assert statuses[3:] == [404] * 18


# How much they may ask for.


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"n": 17}, "n is 17"),
        ({"max_tokens": 1025}, "max_tokens is 1025"),
        ({"stop": ["x"] * 17}, "stop"),
        ({"stop": ["x" * 257]}, "stop"),
        ({"n": 0}, "n"),
        ({"n": 65}, "n"),
        ({"budget_ms": 0}, "budget_ms"),
        ({"temperature": 1e9}, "temperature"),
        ({"seed": 2**63}, "seed"),
        ({"start": -1}, "start"),
        ({"start": 2**70}, "start"),
    ],
)
def test_what_one_request_may_ask_for_has_limits(client: Served, more: dict[str, Any], named: str) -> None:
    answer = client.post("/v1/hone/complete", json=BODY | more)
    assert answer.status_code == 422
    assert named in answer.json()["error"]["message"]
    assert not client.denoiser.calls


def test_texts_to_cut_and_tokens_to_put_together_have_a_limit(serve: Serve) -> None:
    served = serve(options=replace(OPTIONS, max_cut=100))
    for path, body, status in (
        ("/tokenize", {"content": "é" * 100}, 200),
        ("/tokenize", {"content": "é" * 101}, 422),
        ("/tokenize", {"content": "é" * 101, "with_pieces": True}, 422),
        ("/detokenize", {"tokens": [70] * 100}, 200),
        ("/detokenize", {"tokens": [70] * 101}, 422),
    ):
        answer = served.post(path, json=body)
        assert answer.status_code == status, (path, answer.text)
        assert status == 200 or "101 " in answer.json()["error"]["message"]
    assert OPTIONS.max_cut == 2**20


def test_every_protocol_has_the_same_limits(serve: Serve) -> None:
    served = serve(options=replace(OPTIONS, max_n=2))
    answer = served.post("/v1/completions", json={"model": "", "prompt": PREFIX, "suffix": "\n", "n": 3})
    assert answer.status_code == 422
    assert answer.json()["error"]["message"] == "n is 3, and this server gives at most 2; ask for less"
