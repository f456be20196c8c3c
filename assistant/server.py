"""The HTTP server, put together: routers, guards, the page, error answers. It knows no protocol and no model.

    request -> Observed -> guards (assistant/guard.py) -> router -> Bounded(serving) -> worker

Every error leaves in the form of the protocol that its path belongs to, and says nothing of what the request held.
"""

import asyncio
import contextlib
import logging
import mimetypes
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from types import MappingProxyType
from typing import Any, cast

import h11
import uvicorn
from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from assistant import api
from assistant.bounds import Bounded, LimitError, ServerOptions
from assistant.errors import BusyError, HoneError, ModelError, RequestError
from assistant.guard import GONE, MAX_TARGET_BYTES, REST_SECONDS, protected, reading_on
from assistant.metrics import CONTENT_TYPE, Metrics
from assistant.protocols import inception, llamacpp, mistral, ollama, openai, tabby
from assistant.protocols.answer import error_body
from assistant.types import Serving

__all__ = ["ServerOptions", "create_app", "uvicorn_config"]

ROUTERS = (llamacpp.router, openai.router, mistral.router, inception.router, ollama.router, tabby.router)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
DESCRIPTION = "/openapi.json"
UNKNOWN = "unknown"
"""Stands for every path that is no route, in metrics and logs: a path may hold anything."""
log = logging.getLogger("hone.serve")


def create_app(
    serving: Serving,
    options: ServerOptions,
    *,
    metrics: Metrics | None = None,
    on_shutdown: Callable[[], None] | None = None,
) -> FastAPI:
    """The whole server as an ASGI app. ``metrics``: the one whose ``finished`` the worker tells."""
    app = open_app(serving, options, metrics=metrics, on_shutdown=on_shutdown)
    app.add_middleware(protected, options=options, refuse=error_answer)
    app.add_middleware(Observed, metrics=app.state.metrics)  # the last one added is the first one asked
    return app


def open_app(
    serving: Serving,
    options: ServerOptions,
    *,
    metrics: Metrics | None = None,
    on_shutdown: Callable[[], None] | None = None,
) -> FastAPI:
    """The app without its guards: what the tests of the guards must find to be open. Never serve it."""
    app = FastAPI(
        title="Hone",
        version=options.version,
        summary="Code completion by a diffusion language model on this machine.",
        openapi_url=DESCRIPTION,
        docs_url=None,  # it would load its scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.serving = Bounded(serving, options)
    app.state.options = options
    app.state.metrics = metrics or Metrics()
    app.state.metrics.watch(serving)
    app.state.on_shutdown = on_shutdown
    for router in (api.router, *ROUTERS, _metrics_router(), _page_router(page_files())):
        app.include_router(router)
    app.add_middleware(Heads)
    app.add_exception_handler(HoneError, _hone_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(ClientDisconnect, _gone)
    return app


def _metrics_router() -> APIRouter:
    router = APIRouter()

    @router.get("/metrics", response_class=PlainTextResponse, tags=["hone"])
    async def metrics(request: Request) -> Response:
        """Numbers for Prometheus."""
        return Response(api.metrics_of(request).text(), media_type=CONTENT_TYPE)

    return router


# Errors.


def error_answer(
    path: str, status: int, message: str, headers: Mapping[str, str] | None = None, *, plain: bool = False
) -> Response:
    """In the form of the protocol that the path belongs to, or in Tabby's, which is ``plain``."""
    body = error_body(path, status, message, plain=plain)
    if isinstance(body, str):
        return PlainTextResponse(body, status, headers)
    return JSONResponse(body, status, headers)


async def _hone_error(request: Request, error: Exception) -> Response:
    status, headers = status_of(cast(HoneError, error))
    named = {**headers, "x-hone-error": type(error).__name__}  # our own clients raise it again
    return error_answer(request.url.path, status, str(error), named, plain=tabby.asked(request))


def status_of(error: HoneError) -> tuple[int, Mapping[str, str]]:
    if isinstance(error, BusyError):
        return 503, api.retry_after(error.retry_after_s)
    if isinstance(error, ModelError):
        return 503, api.retry_after(30)
    if isinstance(error, LimitError):
        return 422, {}
    return (400 if isinstance(error, RequestError) else 500), {}


async def _http_error(request: Request, error: Exception) -> Response:
    known = cast(HTTPException, error)
    message = known.detail
    if known.status_code == 404 and message == "Not Found":
        message = "there is nothing at this address; /openapi.json lists what there is"
    elif known.status_code == 405:
        message = "this address does not take this method; /openapi.json lists what it takes"
    return error_answer(request.url.path, known.status_code, message, known.headers)


async def _invalid(request: Request, error: Exception) -> Response:
    known = cast(RequestValidationError, error)
    message = invalid_message(known.errors(), _field_names())
    plain = request.url.path == openai.PATH and tabby.is_ours(known.body)
    return error_answer(request.url.path, 422, message, plain=plain)


def invalid_message(problems: Sequence[Mapping[str, Any]], names: frozenset[str]) -> str:
    """What is wrong with a body, without a word of what is in it: neither values, nor names that are not ours."""
    said = []
    for problem in problems[:3]:
        where = [part for part in problem["loc"] if isinstance(part, int) or part in names]
        place = ".".join(map(str, where)) or "the body"
        kind = problem["type"]
        if kind == "json_invalid":
            said.append(f"the body is not JSON (at character {problem['loc'][-1]})")
        elif kind == "missing":
            said.append(f"{place} is missing" if where else "the body is empty; a JSON object is needed")
        elif kind in ("model_attributes_type", "model_type", "dict_type"):
            said.append(f"{place} must be a JSON object")
        elif kind == "string_unicode":
            said.append(f"{place} has half of a surrogate pair (\\ud800 to \\udfff), which is no text; leave it out")
        elif kind == "extra_forbidden":
            said.append(f"{place} has a field that is not known; /openapi.json lists those that are")
        elif kind in ("value_error", "assertion_error"):  # their message is made by hand, and may quote the value
            said.append(f"{place} has a value that it cannot have")
        else:
            said.append(f"{place}: {problem['msg']}")
    return "; ".join(said)


@cache
def _field_names() -> frozenset[str]:
    """Names of all fields of all our bodies. The description has them too, but takes a second to make, for which every
    other request would wait."""
    return frozenset(_fields_under(BaseModel))


def _fields_under(model: type[BaseModel]) -> Iterator[str]:
    for one in model.__subclasses__():
        if one.__module__.startswith("assistant."):
            yield from one.model_fields
        yield from _fields_under(one)


async def _gone(request: Request, error: Exception) -> Response:
    del request, error
    return Response(status_code=GONE)  # nobody reads it


class Heads:
    """Answers HEAD as GET, without the body."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return

        async def without_body(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        asked = {**scope, "method": "GET"}
        try:
            await self.app(asked, receive, without_body)
        finally:
            scope.update({"route": asked["route"]} if "route" in asked else {})  # for the log


class Observed:
    """Counts and logs every request by its route, and turns our own mistakes into an answer and a line in the log."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = time.perf_counter()
        status = GONE

        async def tell(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), *EVERYWHERE]}
            await send(message)

        try:
            await self.app(scope, receive, tell)
        except Exception:
            log.exception("failed", extra={"route": _route(scope)})
            if status != GONE:
                raise  # the answer has begun: all that is left is to close the connection
            await error_answer(scope["path"], 500, api.OUR_MISTAKE)(scope, receive, tell)
        finally:
            self._metrics.answered(_route(scope), status)
            method = scope["method"] if scope["method"] in METHODS else UNKNOWN
            took = round(1000 * (time.perf_counter() - begun), 1)
            log.info("answered", extra={"method": method, "route": _route(scope), "status": status, "ms": took})


EVERYWHERE = [
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
]


def _route(scope: Scope) -> str:
    if scope["path"] == DESCRIPTION:
        return DESCRIPTION  # served by FastAPI itself, as a route of another kind
    return getattr(scope.get("route"), "path", UNKNOWN)


# The page.

PAGE_HEADERS = {
    "content-security-policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; object-src 'none';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-cache",
    "vary": "accept",
}
NO_PAGE = (
    "<!doctype html><title>Hone</title><p>Hone is running. Its page is not in this installation; from a checkout, build"
    " it with <code>npm ci &amp;&amp; npm run build</code> in <code>assistant/page</code>, and start Hone again."
)


def page_files() -> dict[str, bytes]:
    """Everything that the page may load, by name. Read once, so that no request ever names a file of this machine."""
    return dict(_files(resources.files("assistant") / "page" / "dist"))


def _files(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, bytes]]:
    with contextlib.suppress(OSError):  # there is no such folder
        for entry in folder.iterdir():
            if entry.is_dir():
                yield from _files(entry, f"{prefix}{entry.name}/")
            else:
                yield prefix + entry.name, entry.read_bytes()


def _page_router(files: Mapping[str, bytes]) -> APIRouter:
    router = APIRouter()

    @router.get("/", response_class=HTMLResponse, tags=["hone"])
    async def root(request: Request) -> Response:
        """The page for browsers; for everybody else the sentence by which clients of Ollama know their server."""
        if "text/html" not in request.headers.get("accept", ""):
            return PlainTextResponse("Ollama is running", headers={"vary": "accept"})
        if "index.html" not in files:
            return HTMLResponse(NO_PAGE, 404, PAGE_HEADERS)
        return HTMLResponse(files["index.html"], headers=PAGE_HEADERS)

    @router.get("/page/{name:path}", include_in_schema=False)
    async def page(name: str) -> Response:
        content = files.get(name)
        if content is None:
            raise HTTPException(404, "the page has no such part")
        kind = KINDS.get(name.rpartition(".")[2]) or mimetypes.guess_type(name)[0] or "application/octet-stream"
        return Response(content, media_type=kind, headers=PAGE_HEADERS)

    return router


KINDS = {"js": "text/javascript", "css": "text/css", "html": "text/html", "svg": "image/svg+xml"}
"""What the machine's own table of types may have wrong, and a browser that must not guess would then refuse."""


# The server below.


def uvicorn_config(app: ASGIApp, *, host: str, port: int, uds: str | None, options: ServerOptions) -> uvicorn.Config:
    """How the app is served: ``uvicorn.Server(uvicorn_config(...)).run()``. Logs go where ``assistant.logs`` says."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        uds=uds,
        http=_connection(options),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=2 * options.max_header_bytes,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=3,
    )


def _connection(options: ServerOptions) -> type[asyncio.Protocol]:
    """uvicorn's connection, which answers at once, does not wait for ever for a request's head, and is one of so many.

    uvicorn counts its time only between requests, so that a head that comes byte by byte is never given up; and above
    its limit it goes on taking connections, which cost memory though each gets an error.
    """

    class Connection(H11Protocol):
        _patience: asyncio.TimerHandle | None = None
        _refused = False
        _head = b""
        """The beginning of the request that is arriving: what an error's form is chosen by."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            sock = transport.get_extra_info("socket")
            if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
                # asyncio does so only where the listening socket was made with the protocol's number. Without it an
                # answer, which is written head first, waits 40 ms for the acknowledgement of its head.
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if len(self.connections) > ABANDONED * options.max_connections:
                transport.abort()
            elif len(self.connections) > UNREAD * options.max_connections:
                self._end(503, full(options), api.retry_after(1))
            else:
                if len(self.connections) > options.max_connections:
                    self.app = cast(Any, _full(options))
                self._wait_for_head()

        def data_received(self, data: bytes) -> None:
            if self._refused:
                return  # it was told why; what it goes on sending is taken, or it would not read that
            seen = self.cycle
            if self.conn.their_state is h11.IDLE:
                self._head = (self._head + data)[:MAX_TARGET_BYTES]
            super().data_received(data)
            if self.cycle is not seen:
                self._head = b""
                self._stop_waiting()
            elif self._patience is None and (cast(object, seen) is None or seen.response_complete):
                self._wait_for_head()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            super().connection_lost(exc)

        def send_400_response(self, msg: str) -> None:  # noqa: ARG002 (one sentence for all)
            error = sys.exception()
            status = error.error_status_hint if isinstance(error, h11.RemoteProtocolError) else 400
            if status == 431:
                most = 2 * options.max_header_bytes
                self._end(431, f"the head of the request is larger than {most} bytes; send fewer and shorter headers")
            elif self._head.startswith(TLS):
                self._end(400, "this is TLS, and here plain HTTP is spoken; use an address that begins with http://")
            else:
                self._end(status, not_http(str(error)))

        def _wait_for_head(self) -> None:
            self._patience = self.loop.call_later(options.receive_seconds, self._give_up)

        def _stop_waiting(self) -> None:
            if self._patience is not None:
                self._patience.cancel()
                self._patience = None

        def _give_up(self) -> None:
            seconds = f"{options.receive_seconds:g} seconds"
            self._end(408, f"the head of the request did not arrive within {seconds}; it ends with an empty line")

        def _end(self, status: int, message: str, headers: Mapping[str, str] = MappingProxyType({})) -> None:
            """Refuses what is no request that the app could answer, and closes the connection."""
            if self.transport.is_closing():
                return
            answer = error_answer(self._path(), status, message, {**headers, "connection": "close"})
            head = h11.Response(status_code=status, headers=[*answer.raw_headers, *EVERYWHERE])
            try:
                for event in (head, h11.Data(data=bytes(answer.body)), h11.EndOfMessage()):
                    self.transport.write(self.conn.send(event))
            except h11.LocalProtocolError:  # another answer has begun
                self.transport.close()
                return
            if cast(object, self.cycle) is not None and not self.cycle.response_complete:
                self.cycle.disconnected = True  # the app need not wait for the rest, and cannot answer any more
                self.cycle.message_event.set()
            self._refused = True
            self._stop_waiting()
            self.transport.write_eof()
            self.loop.call_later(REST_SECONDS, self.transport.close)

        def _path(self) -> str:
            """As far as it is known where a request was going that cannot be read; "/" where not."""
            if cast(object, self.cycle) is not None and not self.cycle.response_complete:
                return self.scope["path"]
            target = self._head.split(b"\r\n", 1)[0].split(b" ")[1:2]
            path = target[0].partition(b"?")[0].decode("latin-1") if target else ""
            return path if path.startswith("/") else "/"

    return Connection


TLS = b"\x16\x03"
"""How a client begins that was told https instead of http."""
NOT_HTTP = {
    "Missing mandatory Host": "the Host header is missing; send `Host: localhost`",
    "Found multiple Host": "there is more than one Host header; send one",
    "illegal request line": "the first line is not `METHOD /path HTTP/1.1`; a blank in a path is written as %20",
    "no request line": "the first line is not `METHOD /path HTTP/1.1`",
    "illegal header line": "a header is not a line `Name: value`, or has a sign that may not stand there",
    "continuation line": "the first header begins with a blank",
    "bad Content-Length": "Content-Length is not a number of bytes",
    "conflicting Content-Length": "there is more than one Content-Length; send one",
    "Only Transfer-Encoding": "of transfer encodings only `chunked` is known; send the body as it is",
    "multiple Transfer-Encoding": "there is more than one Transfer-Encoding; send `chunked`, or Content-Length instead",
    "illegal chunk header": "a chunk of the body does not begin with its length in hexadecimal digits",
    "malformed chunk footer": "a chunk of the body is not as long as it says",
}
"""By how h11's messages begin; the rest of them may be a part of what was sent, which is not said again."""


def not_http(message: str) -> str:
    """What is wrong with a request that is not HTTP/1.1, and what to send instead."""
    known = (said for begin, said in NOT_HTTP.items() if message.startswith(begin))
    return next(known, "this is not a request of HTTP/1.1")


UNREAD, ABANDONED = 2, 8
"""So many times the limit of connections are answered that it is full, without a look at what they ask; above, none."""


def full(options: ServerOptions) -> str:
    return f"{options.max_connections} connections are open already; close some or ask again in a moment"


def _full(options: ServerOptions) -> ASGIApp:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        headers = {**api.retry_after(1), "connection": "close"}
        told = reading_on(send, receive, options.max_body_bytes)
        await error_answer(scope["path"], 503, full(options), headers)(scope, receive, told)

    return answer
