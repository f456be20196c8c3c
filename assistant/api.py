"""Hone's own API: completions, their steps as server-sent events, cancelling, and what an admin may ask.

``caller_of`` and ``until_disconnect`` serve every other protocol too.
"""

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from dataclasses import asdict, replace
from json import JSONDecodeError
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import StreamingResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from assistant.bounds import ServerOptions
from assistant.errors import CannotEditError, HoneError, ModelError
from assistant.guard import knows_token
from assistant.metrics import Metrics
from assistant.types import Caller, CompletionResult, Draft, Serving
from assistant.wire import (
    CancelBody,
    CancelOut,
    CompleteBody,
    CompleteOut,
    EditBody,
    EditOut,
    ErrorDetail,
    ErrorOut,
    LoadOut,
    ModelOut,
    ShutdownOut,
    StatusOut,
    StepOut,
)

T = TypeVar("T")
STARTED = time.monotonic()
OUR_MISTAKE = "the server made a mistake with this request; its log says where"
log = logging.getLogger("hone.serve")


def caller_of(request: Request, document: str | None = None, *, batch: bool = False) -> Caller:
    """Who asks: the name in ``X-Hone-Client``, else the user agent and its host."""
    host = request.client.host if request.client else ""
    name = request.headers.get("x-hone-client") or f"{request.headers.get('user-agent', '')} {host}"
    return Caller(name.strip()[:200], document, batch)


async def until_disconnect(request: Request, work: Awaitable[T]) -> T:
    """The outcome of ``work``, which is cancelled when the client goes away. The request's body has been read.

    Raises:
        ClientDisconnect: the client went away; nobody reads the answer.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.create_task(_disconnect(request))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        gone.cancel()
        await _cancelled(task)


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _cancelled(task: "asyncio.Future[Any]") -> None:
    """Cancels what is not done yet, and waits until it is."""
    if not task.done():
        task.cancel()
        await asyncio.wait((task,))


class JsonRoute(APIRoute):
    """Reads the body as JSON whatever its type is said to be: ``curl -d``, with which every protocol here documents
    itself, calls it a form. What a web page may send without asking first is the business of the Origin check."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def read_as_json(request: Request) -> Response:
            kept = [(name, value) for name, value in request.scope["headers"] if name != b"content-type"]
            request.scope["headers"] = [*kept, (b"content-type", b"application/json")]
            return await handle(JsonRequest(request.scope, request.receive))

        return read_as_json


class JsonRequest(Request):
    """Says of a body that cannot be read what is wrong with it; FastAPI knows one sentence for all of it."""

    async def json(self) -> Any:
        """As ``Request.json``.

        Raises:
            HTTPException: the body is compressed, not UTF-8, nested too deeply, or holds a number that is too long.
            JSONDecodeError: it is not JSON.
        """
        packed = self.headers.get("content-encoding", "identity").strip().lower()
        if packed not in ("", "identity"):
            message = "the body is compressed, as its Content-Encoding says; send it as it is, without that header"
            raise HTTPException(415, message, {"accept-encoding": "identity"})
        try:
            return await super().json()
        except UnicodeDecodeError as error:
            raise HTTPException(400, f"the body is not UTF-8 (at byte {error.start}); send JSON in UTF-8") from None
        except RecursionError:
            raise HTTPException(400, "the body is nested too deeply; no field needs so many levels") from None
        except JSONDecodeError:
            raise
        except ValueError:  # Python's own limit on the digits of an integer
            raise HTTPException(400, "the body has a number of thousands of digits; send a shorter one") from None


_BREAKS = {ord(character): f"\\u{ord(character):04x}" for character in "\x85\u2028\u2029"}


def one_line(text: str) -> str:
    """JSON without what some take for a line's end: in streams every line is a message, and clients split them by
    Unicode's rules (httpx does)."""
    return text.translate(_BREAKS)


def error_out(status: int, message: str) -> ErrorOut:
    kind = "invalid_request_error" if status < 500 else "unavailable_error" if status == 503 else "server_error"
    return ErrorOut(error=ErrorDetail(message=message, type=kind))


# What the app was made of. What routes depend on is async: anything else FastAPI calls on a thread, for which a request
# then waits beside a model that keeps the processor busy.


def serving_of(request: Request) -> Serving:
    serving: Serving = request.app.state.serving
    return serving


def options_of(request: Request) -> ServerOptions:
    options: ServerOptions = request.app.state.options
    return options


def metrics_of(request: Request) -> Metrics:
    metrics: Metrics = request.app.state.metrics
    return metrics


async def _serving_of(request: Request) -> Serving:
    return serving_of(request)


async def _metrics_of(request: Request) -> Metrics:
    return metrics_of(request)


async def require_admin(request: Request) -> None:
    """Only who can read the runtime file, whether or not the server has a token for everybody."""
    admin = options_of(request).admin_token
    if not admin or not knows_token(request.scope, [admin]):
        message = "this needs the admin token, which the runtime file of the server holds; `hone serve status` reads it"
        raise HTTPException(401, message, {"www-authenticate": "Bearer"})


ServingOf = Annotated[Serving, Depends(_serving_of)]
MetricsOf = Annotated[Metrics, Depends(_metrics_of)]
ADMIN = [Depends(require_admin)]
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorOut, "description": description}
    for status, description in {
        400: "An option with a value that it cannot have.",
        401: "The token is missing.",
        403: "Called by a foreign name, or from a foreign web page.",
        413: "The body is too large.",
        422: "The body is not what is described here, or asks for more than this server gives.",
        503: "Busy, or no model; see Retry-After.",
    }.items()
}
EVENTS: dict[str, Any] = {
    "description": "With `stream`: events `step` (StepOut), then one `result` (CompleteOut) or `error` (ErrorOut).",
    "content": {"text/event-stream": {"schema": {"type": "string"}}},
}

router = APIRouter(prefix="/v1/hone", route_class=JsonRoute, tags=["hone"], responses=ERRORS)


@router.post("/complete", response_model=CompleteOut, responses={200: EVENTS})
async def complete(body: CompleteBody, request: Request, serving: ServingOf) -> CompleteOut | Response:
    """Fill the hole `text[start:end]`. Every answer has passed the syntax gate, or says that it is unchecked."""
    caller = replace(caller_of(request, body.document, batch=body.batch), request=body.request)
    if body.stream:
        return await _stream(body, caller, request, serving)
    result = await until_disconnect(request, serving.complete(body.wanted(), caller))
    return await _out(result, serving)


@router.post("/cancel")
async def cancel(body: CancelBody, request: Request, serving: ServingOf) -> CancelOut:
    """Stop a request of the same client by its name."""
    return CancelOut(cancelled=serving.cancel(caller_of(request).client, body.request))


@router.post("/edit", responses={501: {"model": ErrorOut, "description": "The model follows no free words."}})
async def edit(body: EditBody, request: Request, serving: ServingOf) -> EditOut:
    """Do a task, or what an instruction says, to blocks of a buffer, all of them side by side. A block that is right
    is left as it is."""
    model = await serving.info()
    known = f"knows {', '.join(model.tasks) or 'none'}"
    if body.instruction is None and body.task is None:
        raise HTTPException(422, f"task or instruction is needed; of tasks, the loaded model {known}")
    if body.instruction is not None and not model.instruct:
        raise HTTPException(
            501,
            f"the loaded model follows no instruction in free words; of tasks, it {known}",
            {"x-hone-error": CannotEditError.__name__},
        )
    caller = replace(caller_of(request, body.document, batch=body.batch), request=body.request)
    result = await until_disconnect(request, serving.edit(body.wanted(), caller))
    model = await serving.info()
    from infill.annotate import TASKS as ANNOTATIONS  # noqa: PLC0415 (torch comes in with it; the server listens before)

    beside = None if model.own_tasks and body.task in ANNOTATIONS else model.edit_model
    asked = model.instruct_model if body.instruction is not None else beside
    return EditOut.of(result, asked or model.name)


@router.get("/status", dependencies=ADMIN)
async def status(request: Request, serving: ServingOf, metrics: MetricsOf) -> StatusOut:
    """What this server is, and how it is doing."""
    model, problem = None, None
    try:
        model = ModelOut.of(await serving.info())
    except ModelError as error:
        problem = str(error)
    return StatusOut(
        version=options_of(request).version,
        pid=os.getpid(),
        uptime_s=time.monotonic() - STARTED,
        model=model,
        model_error=problem,
        load=LoadOut(**asdict(serving.load())),
        empty=metrics.empty_by_reason(),
    )


@router.post("/shutdown", dependencies=ADMIN, responses={501: {"model": ErrorOut, "description": "Not from here."}})
async def shutdown(request: Request) -> ShutdownOut:
    """Answer what is under way, and end."""
    if request.app.state.on_shutdown is None:
        raise HTTPException(501, "this server was not started to be stopped by a request; end its process")
    request.app.state.on_shutdown()
    return ShutdownOut(stopping=True)


# Server-sent events.


class _Newest:
    """Holds the newest draft only: who reads slowly sees fewer of them."""

    def __init__(self) -> None:
        self._draft: Draft | None = None
        self._news = asyncio.Event()

    def put(self, draft: Draft) -> None:
        self._draft = draft
        self._news.set()

    def take(self) -> Draft | None:
        draft, self._draft = self._draft, None
        self._news.clear()
        return draft

    async def wait(self) -> None:
        await self._news.wait()


async def _stream(body: CompleteBody, caller: Caller, request: Request, serving: Serving) -> Response:
    """The answer begins with the first draft, so that a request that fails before it has a status of its own."""
    newest = _Newest()
    task = asyncio.ensure_future(serving.complete(body.wanted(), caller, on_step=newest.put))
    task.add_done_callback(lambda done: done.cancelled() or done.exception())  # it may fail when nobody listens
    try:
        await until_disconnect(request, _draft_or_done(newest, task))
        if task.done():
            task.result()
    except BaseException:
        await _cancelled(task)
        raise
    return Events(_events(newest, task, serving, with_tokens=body.tokens_in_steps), task)


class Events(StreamingResponse):
    """Ends the work when the client goes away, be it before the first event is read."""

    def __init__(self, events: AsyncIterator[bytes], task: "asyncio.Future[CompletionResult]") -> None:
        headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
        super().__init__(events, media_type="text/event-stream", headers=headers)
        self._task = task

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._task.cancel()


async def _draft_or_done(newest: _Newest, task: "asyncio.Future[CompletionResult]") -> None:
    news = asyncio.create_task(newest.wait())
    try:
        await asyncio.wait((news, task), return_when=asyncio.FIRST_COMPLETED)
    finally:
        news.cancel()


async def _events(
    newest: _Newest, task: "asyncio.Future[CompletionResult]", serving: Serving, *, with_tokens: bool
) -> AsyncIterator[bytes]:
    """Each draft that is in time, then the result."""
    while True:
        await _draft_or_done(newest, task)
        if draft := newest.take():
            yield event("step", StepOut.of(draft, with_tokens=with_tokens))
        elif task.done():
            break
    try:
        yield event("result", await _out(task.result(), serving))
    except HoneError as error:
        yield event("error", error_out(503, str(error)))
    except Exception:
        log.exception("failed")
        yield event("error", error_out(500, OUR_MISTAKE))


def event(name: str, data: BaseModel) -> bytes:
    return f"event: {name}\ndata: {one_line(data.model_dump_json())}\n\n".encode()


async def _out(result: CompletionResult, serving: Serving) -> CompleteOut:
    # Who was stopped gets nobody's text, and must not wait until the model is open to hear whose.
    name = "" if result.reason in ("superseded", "cancelled") else (await serving.info()).name
    return CompleteOut.of(result, name)


def retry_after(seconds: float) -> Mapping[str, str]:
    """In whole seconds, as HTTP has it, and never at once."""
    return {"retry-after": str(max(1, round(seconds)))}
