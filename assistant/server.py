"""The HTTP server, put together: routers, guards, the page, error answers. It knows no protocol and no model.

    request -> Observed -> guards (assistant/guard.py) -> router -> Bounded(serving) -> worker

Every error leaves in the form of the protocol that its path belongs to, and says nothing of what the request held.
"""

import contextlib
import logging
import mimetypes
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any, cast

import uvicorn
from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from assistant import api
from assistant.bounds import Bounded, LimitError, ServerOptions
from assistant.connection import Connection
from assistant.errors import BusyError, HoneError, ModelError, RequestError
from assistant.guard import EVERYWHERE, GONE, protected
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
        http=cast(Any, partial(Connection, options, error_answer)),
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
