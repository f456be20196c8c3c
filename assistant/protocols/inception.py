"""Inception's Mercury: fill-in-the-middle in the completion shape, and drafts that sharpen while one watches.

``/v1/fim/completions`` is Mistral's path too, so ``mistral`` owns the route. With ``diffusing`` each chunk's text is
the whole draft so far and replaces the one before; a place that is not written yet is shown as ``OPEN``. The last chunk
is the answer, the only one that has passed the syntax gate; where nothing passed, it is empty and takes the draft away.

Editing, applying and chatting need a model that follows instructions. None can be loaded, so the three routes say so.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import cast

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from assistant.api import caller_of, until_disconnect
from assistant.errors import HoneError, RequestError
from assistant.protocols.answer import (
    DONE,
    Json,
    JsonRoute,
    Wish,
    completion_request,
    error_body,
    event,
    first,
    options_of,
    serving_of,
)
from assistant.protocols.fim import Hole
from assistant.types import CompletionResult, Draft

router = APIRouter(route_class=JsonRoute, tags=["Inception"])

OPEN = "░"
"""A place of the draft that holds no token yet."""

Chunk = Callable[[str, CompletionResult | None], Json]
"""A chunk that shows a text; with the result, the last one."""


async def diffusing(request: Request, hole: Hole, wish: Wish, chunk: Chunk) -> Response:
    """The drafts as they come, then the answer. Until the first draft, a mistake is an error with its own status.

    Raises:
        HoneError: as ``Serving.complete``.
    """
    drafts: asyncio.Queue[Draft | None] = asyncio.Queue()
    asked = completion_request(hole, wish, options_of(request).max_tokens)
    work = asyncio.ensure_future(serving_of(request).complete(asked, caller_of(request), on_step=drafts.put_nowait))
    work.add_done_callback(lambda _: drafts.put_nowait(None))
    try:
        draft = await until_disconnect(request, drafts.get())
        if draft is None:
            await work  # raises what went wrong
    except BaseException:
        work.cancel()
        raise

    async def events() -> AsyncIterator[bytes]:
        nonlocal draft
        try:
            while draft is not None:
                yield event(chunk(hole.wrapped(drawn(draft)), None))
                draft = await drafts.get()
            result = await work
            best = first(result)
            yield event(chunk(hole.wrapped(best.text if best else ""), result))
        except HoneError as error:
            body = error_body(request.url.path, 503, str(error))
            yield event(body if isinstance(body, dict) else {"error": body})
        finally:
            work.cancel()
        yield DONE

    return StreamingResponse(events(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


def drawn(draft: Draft) -> str:
    return "".join(OPEN if token is None else token for token in draft.tokens)


@router.post("/v1/edit/completions")
async def edit(request: Request) -> Response:
    raise RequestError(await _refusal(request, "rewrite code by instruction"))


@router.post("/v1/apply/completions")
async def apply(request: Request) -> Response:
    raise RequestError(await _refusal(request, "merge an update into a file"))


@router.post("/v1/chat/completions")
async def chat(request: Request) -> Response:
    """llama.vim, known by its slot, reads ``choices`` and no status: without any it offers an empty text to replace the
    selected lines. It is told the reason where it looks; others must not take that for an answer."""
    refusal = await _refusal(request, "chat")
    if not await _has_slot(request):
        raise RequestError(refusal)
    error = error_body(request.url.path, 400, refusal)
    choice = {"index": 0, "message": {"role": "assistant", "content": refusal}, "finish_reason": "stop"}
    return JSONResponse(cast(Json, error) | {"choices": [choice]}, 400)


async def _has_slot(request: Request) -> bool:
    try:
        body = await request.json()
    except (ValueError, RecursionError):
        return False
    return isinstance(body, dict) and "id_slot" in body


async def _refusal(request: Request, what: str) -> str:
    name = (await serving_of(request).info()).name
    return f"the model {name} cannot {what}: it follows no instructions, it completes code; use /v1/fim/completions"
