"""The server put together: errors in every protocol's form, the page, the description, the connection below."""

import gzip
import json
import socket
import time
from typing import Any

import httpx
import pytest
import uvicorn

from assistant import server
from assistant.errors import BusyError, DaemonError, HoneError, ModelError, PositionError, RequestError
from assistant.server import invalid_message, page_files, status_of, uvicorn_config
from tests.serve.conftest import OPTIONS, PREFIX, TEXT, Listen, Serve, Served

HTML = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
BODY = {"text": TEXT, "start": len(PREFIX), "filename": "add.py"}
PAGE = {
    "index.html": b"<!doctype html><script type=module src=/page/app.js></script>",
    "app.js": b"1",
    "style.css": b"a{}",
    "parts/icon.svg": b"<svg/>",
}


# Errors.


def openai(answer: httpx.Response) -> str:
    error = answer.json()["error"]
    assert isinstance(error["type"], str)
    assert isinstance(error["message"], str)
    return str(error["message"])


def ollama(answer: httpx.Response) -> str:
    assert isinstance(answer.json()["error"], str)
    return str(answer.json()["error"])


def plain(answer: httpx.Response) -> str:
    assert answer.headers["content-type"].startswith("text/plain")
    return answer.text


FORMS = [
    ("/v1/hone/complete", openai),
    ("/v1/completions", openai),
    ("/infill", openai),
    ("/v1/fim/completions", openai),
    ("/api/generate", ollama),
    ("/v1/events", plain),
    ("/v1/nothing", openai),
    ("/api/nothing", ollama),
]


@pytest.mark.parametrize(("path", "form"), FORMS, ids=[path for path, _ in FORMS])
def test_errors_have_the_form_of_their_protocol(served: Served, path: str, form: Any) -> None:
    seen = [
        served.request("DELETE", path),
        served.post(path, json=BODY, headers={"host": "evil.example"}),
        served.post(path, content=b"x", headers={"content-length": str(2**30)}),
        served.post(path, json=[]),
    ]
    for answer, statuses in zip(seen, [(404, 405), (403,), (413,), (400, 404, 422)], strict=True):
        assert answer.status_code in statuses
        assert len(form(answer)) > 10
    if seen[0].status_code == 405:
        assert "POST" in seen[0].headers["allow"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RequestError("x"), 400),
        (PositionError("x"), 400),
        (BusyError("x", 2.4), 503),
        (ModelError("x"), 503),
        (DaemonError("x"), 500),
        (HoneError("x"), 500),
    ],
)
def test_every_error_has_a_status(serve: Serve, error: HoneError, status: int) -> None:
    assert status_of(error)[0] == status
    served = serve()

    async def fail(*_: Any, **__: Any) -> None:
        raise error

    served.worker.complete = fail  # type: ignore[method-assign, assignment]
    for path, body in (
        ("/v1/hone/complete", BODY),
        ("/v1/completions", {"model": "", "prompt": PREFIX, "suffix": "\n"}),
        ("/api/generate", {"model": "", "prompt": PREFIX, "suffix": "\n", "stream": False}),
    ):
        answer = served.post(path, json=body)
        assert answer.status_code == status, (path, answer.text)
        assert "x" in answer.text
        assert ("retry-after" in answer.headers) == (status == 503)
    assert status != 503 or int(status_of(error)[1]["retry-after"]) >= 1


def test_a_validation_error_names_our_fields_and_nothing_else() -> None:
    names = frozenset({"stop", "options"})
    problem = {"type": "string_type", "loc": ("body", "stop", 3), "msg": "Input should be a valid string", "input": "s"}
    assert invalid_message([problem], names) == "stop.3: Input should be a valid string"
    problem |= {"loc": ("body", "options", "secret")}
    assert "secret" not in invalid_message([problem], names)
    problem |= {"type": "value_error", "msg": "Value error, secret is bad"}
    assert invalid_message([problem] * 9, names).count("options has a value") == 3
    assert "secret" not in invalid_message([problem], names)


NO_HTTP = {
    "no request line": (b"hello\r\n\r\n", 400, "the first line is not"),
    "a blank in the path": (b"GET /api/a b HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, "written as %20"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 60 + b"\n\n", 400, "begins with http://"),
    "no host": (b"GET /v1/health HTTP/1.1\r\n\r\n", 400, "send `Host: localhost`"),
    "two hosts": (b"GET /api/tags HTTP/1.1\r\nHost: localhost\r\nHost: a.b\r\n\r\n", 400, "more than one Host"),
    "no header": (
        b"GET /api/tags HTTP/1.1\r\nHost: localhost\r\nno header: x\r\n\r\n",
        400,
        "not a line `Name: value`",
    ),
    "no length": (b"POST /infill HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n", 400, "not a number"),
    "two lengths": (
        b"POST /infill HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        400,
        "more than one Content-Length",
    ),
    "gzipped": (
        b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        501,
        "only `chunked`",
    ),
    "no chunk": (
        b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        400,
        "hexadecimal",
    ),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "HTTP/1.1 is spoken"),
    "a large head": (b"GET /api/tags HTTP/1.1\r\nX: " + b"a" * 3_000_000, 431, "larger than 65536 bytes; send fewer"),
}


@pytest.mark.parametrize("kind", NO_HTTP)
def test_what_is_no_http_is_told_what_is_wrong_in_the_form_of_its_address(url: str, kind: str) -> None:
    data, status, words = NO_HTTP[kind]
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=10) as sock:
        sock.sendall(data)
        said = b""
        while part := sock.recv(65536):  # until it closes
            said += part
    head, _, body = said.partition(b"\r\n\r\n")
    assert said.count(b"HTTP/1.1 %d " % status) == 1
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"connection: close" in head
    if b" /v1/health" in data:
        message = body.decode()
    else:
        error = json.loads(body)["error"]
        assert isinstance(error, str) == (b" /api/" in data)
        message = error if isinstance(error, str) else error["message"]
    assert words in message
    assert httpx.post(f"{url}/v1/hone/complete", json=BODY).status_code == 200


UNREADABLE = {
    "not UTF-8": (b'{"prompt": "\xff\xfe"}', {}, 400, "not UTF-8 (at byte 12); send JSON in UTF-8"),
    "compressed": (gzip.compress(b"{}"), {"content-encoding": "gzip"}, 415, "compressed, as its Content-Encoding says"),
    "nested": (b"[" * 200_000, {}, 400, "nested too deeply"),
    "nested in a field": (b'{"prompt": "x", "a": ' + b"[" * 5000 + b"]" * 5000 + b"}", {}, 400, "nested too deeply"),
    "a long number": (b'{"seed": ' + b"9" * 5000 + b"}", {}, 400, "a number of thousands of digits"),
    "nothing": (b"", {}, 422, "the body is empty; a JSON object is needed"),
    "no JSON": (b"{prompt: 1}", {}, 422, "the body is not JSON (at character 1)"),
    "a list": (b"[1]", {}, 422, "the body must be a JSON object"),
    "null": (b"null", {}, 422, "the body must be a JSON object"),
}


@pytest.mark.parametrize(("path", "form"), FORMS[:6], ids=[path for path, _ in FORMS[:6]])
@pytest.mark.parametrize("body", UNREADABLE)
def test_a_body_that_cannot_be_read_is_told_why(served: Served, path: str, form: Any, body: str) -> None:
    content, headers, status, words = UNREADABLE[body]
    answer = served.post(path, content=content, headers=headers)
    assert answer.status_code == status, answer.text
    assert words in form(answer)
    assert served.post("/v1/hone/complete", json=BODY).status_code == 200


@pytest.mark.parametrize(
    ("more", "place"),
    [
        ({"text": "\ud800x"}, "text"),
        ({"filename": "a\udfff"}, "filename"),
        ({"extra": [{"path": "a", "text": "\ud83d", "source": "open"}]}, "extra.0.text"),
        ({"\ud800": 1}, "the body"),
    ],
)
def test_half_of_a_surrogate_pair_is_named(served: Served, more: dict[str, Any], place: str) -> None:
    """An editor that counts in UTF-16 may cut an emoji in two."""
    answer = served.post("/v1/hone/complete", content=json.dumps(BODY | more).encode())
    assert answer.status_code == 422
    assert openai(answer).startswith(f"{place} has half of a surrogate pair")


def test_no_wrong_request_waits_for_the_description(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes a second to make, and everybody else's requests wait meanwhile."""
    monkeypatch.setattr(type(served.app), "openapi", lambda _: pytest.fail("made"))
    answer = served.post("/infill", json={"input_prefix": PREFIX, "n_predict": "many"})
    assert openai(answer).startswith("n_predict: ")


def test_no_request_waits_for_a_thread(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread gets its turn only when a model that computes lets go of the processor."""

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("a part of the request was given to a thread")

    monkeypatch.setattr("anyio.to_thread.run_sync", refuse)
    admin = {"authorization": f"Bearer {OPTIONS.admin_token}"}
    assert served.post("/v1/hone/complete", json=BODY).status_code == 200
    assert [served.get(path, headers=admin).status_code for path in ADMIN_PAGES] == [200] * len(ADMIN_PAGES)


ADMIN_PAGES = ("/v1/hone/status", "/metrics", "/health", "/v1/models", "/")


def test_an_address_with_a_slash_too_many_is_not_sent_elsewhere(served: Served) -> None:
    assert served.get("/health/").status_code == 404


# The description.


def test_the_description_tells_every_limit(served: Served) -> None:
    description = served.get("/openapi.json").json()
    assert description["info"]["version"] == "1.2.3"
    body = description["components"]["schemas"]["CompleteBody"]
    for name, field in body["properties"].items():
        for kind in field.get("anyOf", [field]):
            if kind["type"] in ("integer", "number"):
                assert {"minimum", "maximum"} <= kind.keys(), name
            elif kind["type"] == "string":
                assert {"maxLength", "pattern"} & kind.keys(), name
            elif kind["type"] == "array":
                assert "maxItems" in kind, name
    responses = description["paths"]["/v1/hone/complete"]["post"]["responses"]
    assert {"200", "400", "422", "503"} <= responses.keys()
    assert "text/event-stream" in responses["200"]["content"]


def test_the_examples_of_the_description_work(served: Served) -> None:
    schemas = served.get("/openapi.json").json()["components"]["schemas"]
    examples = schemas["CompleteBody"]["examples"]
    assert examples
    for example in examples:
        answer = served.post("/v1/hone/complete", json=example)
        assert answer.status_code == 200
        assert "a + b" in answer.text


def test_no_documentation_is_loaded_from_elsewhere(served: Served) -> None:
    assert [served.get(path).status_code for path in ("/docs", "/redoc")] == [404, 404]


# The page.


@pytest.fixture
def paged(monkeypatch: pytest.MonkeyPatch, serve: Serve) -> Served:
    monkeypatch.setattr(server, "page_files", lambda: PAGE)
    return serve()


def test_a_browser_gets_the_page(paged: Served) -> None:
    answer = paged.get("/", headers=HTML)
    assert answer.content == PAGE["index.html"]
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'self'; style-src 'self' 'unsafe-inline';")
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "accept" in answer.headers["vary"]


@pytest.mark.parametrize("accept", ["*/*", "application/json", ""])
def test_everybody_else_gets_the_sentence_that_clients_of_ollama_know(paged: Served, accept: str) -> None:
    assert paged.get("/", headers={"accept": accept}).text == "Ollama is running"
    assert paged.request("HEAD", "/", headers={"accept": accept}).status_code == 200


def test_a_head_has_no_body(paged: Served, listen: Listen) -> None:
    url = listen(paged)
    for path in ("/", "/page/app.js", "/health", "/v1/models", "/api/tags", "/props", "/openapi.json"):
        answer = httpx.head(url + path, headers=HTML)
        assert (answer.status_code, answer.content) == (200, b"")
        assert int(answer.headers["content-length"]) == len(httpx.get(url + path, headers=HTML).content)
    assert httpx.head(f"{url}/v1/completions").status_code == 405


def test_parts_of_the_page_have_their_types(paged: Served) -> None:
    for name, kind in (("app.js", "text/javascript"), ("style.css", "text/css"), ("parts/icon.svg", "image/svg+xml")):
        answer = paged.get(f"/page/{name}")
        assert answer.content == PAGE[name]
        assert answer.headers["content-type"].partition(";")[0] == kind
        assert "content-security-policy" in answer.headers


@pytest.mark.parametrize(
    "name",
    [
        "../../server.py", "..%2f..%2fserver.py", "%2e%2e/%2e%2e/server.py", "....//server.py", "/etc/passwd",
        "//etc/passwd", "app.js/", "app.js%00", "./app.js", "parts/../app.js", "parts", "", "APP.JS", "..\\server.py",
    ],
)  # fmt: skip
def test_no_name_leads_out_of_the_page(paged: Served, listen: Listen, name: str) -> None:
    url = listen(paged)
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=10) as sock:
        # A client library would tidy the path up.
        sock.sendall(f"GET /page/{name} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        assert sock.recv(65536).startswith(b"HTTP/1.1 404 ")


def test_a_page_that_is_not_there_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, serve: Serve) -> None:
    monkeypatch.setattr(server, "page_files", dict)
    answer = serve().get("/", headers=HTML)
    assert answer.status_code == 404
    assert "npm run build" in answer.text


def test_files_of_the_page_are_read_from_the_package() -> None:
    files = page_files()
    assert b"<script" in files["index.html"]
    assert not [name for name in files if name.startswith(("/", "."))]


# The connection below.


def test_the_server_below_says_nothing_of_itself_and_writes_no_log_of_its_own(served: Served, url: str) -> None:
    answer = httpx.get(f"{url}/health")
    assert "server" not in answer.headers
    config = uvicorn_config(served.app, host="127.0.0.1", port=0, uds=None, options=OPTIONS)
    assert (config.access_log, config.log_config, config.proxy_headers) == (False, None, False)
    assert isinstance(config, uvicorn.Config)


def test_a_forwarded_address_is_not_believed(served: Served, url: str) -> None:
    answer = httpx.get(f"{url}/health", headers={"x-forwarded-for": "1.2.3.4", "x-forwarded-host": "evil.example"})
    assert answer.status_code == 200


def test_small_answers_are_not_held_back(url: str) -> None:
    """40 ms each, were they to wait for an acknowledgement."""
    with httpx.Client(base_url=url) as client:
        took = []
        for _ in range(20):
            begun = time.perf_counter()
            client.get("/health")
            took.append(time.perf_counter() - begun)
    assert sorted(took)[5] < 0.030


def test_it_answers_on_a_unix_socket(served: Served, listen: Listen, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = str(tmp_path_factory.mktemp("s") / "s")
    listen(served, uds=path)
    with httpx.Client(transport=httpx.HTTPTransport(uds=path), base_url="http://localhost") as client:
        assert client.post("/v1/hone/complete", json=BODY).json()["completions"][0]["text"] == "a + b"
        assert client.get("/health", headers={"host": ""}).status_code == 200
        assert client.get("/health", headers={"host": "evil.example"}).status_code == 403


def test_many_requests_on_one_connection_sent_at_once(url: str) -> None:
    one = b"GET /api/version HTTP/1.1\r\nHost: localhost\r\n\r\n"
    last = b"GET /api/version HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=10) as sock:
        sock.sendall(one * 20 + last)
        data = b""
        while part := sock.recv(65536):
            data += part
    assert data.count(b"HTTP/1.1 200 ") == 21
    assert json.loads(data.rpartition(b"\r\n\r\n")[2])["version"]
