"""Inception's Mercury: fill-in-the-middle in the completion shape, and drafts that sharpen while one watches.

``/v1/fim/completions`` is Mistral's path too, so ``mistral`` owns the route. With ``diffusing`` each chunk's text is
the whole draft so far and replaces the one before; a place that is not written yet is shown as ``OPEN``. The last chunk
is the answer, the only one that has passed the syntax gate; where nothing passed, it is empty and takes the draft away.

Next edits and merges are answered where a model follows instructions (``rewrite``), in the chat shape: the region in a
code block, or the literal None where nothing is to be changed; the merged text as it is. Where none follows, and for
chats, the routes say so.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from assistant.api import Events, JsonRoute, caller_of, options_of, serving_of, until_disconnect
from assistant.errors import HoneError, RequestError
from assistant.protocols.answer import (
    DONE,
    Json,
    Wish,
    as_events,
    as_json,
    completion_request,
    error_body,
    event,
    first,
    new_id,
)
from assistant.protocols.fim import Hole
from assistant.protocols.rewrite import NONE, Rewrite, merge, next_edit
from assistant.types import CompletionResult, Draft, EditResult

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
        yield DONE

    return Events(events(), work)


def drawn(draft: Draft) -> str:
    return "".join(OPEN if token is None else token for token in draft.tokens)


class Message(BaseModel):
    role: str = "user"
    content: str | list[Any]

    @property
    def text(self) -> str:
        if isinstance(self.content, str):
            return self.content
        parts = [part.get("text") for part in self.content if isinstance(part, dict)]
        return "".join(part for part in parts if isinstance(part, str))


class RewriteBody(BaseModel):
    """Other keys are accepted and not read: how an answer is sampled is the model's own business."""

    model: str | None = None
    messages: list[Message] = Field(min_length=1, fail_fast=True)
    stream: bool | None = None

    @property
    def prompt(self) -> str:
        """Raises:
        RequestError: there is not one message of a user.
        """
        said = [message.text for message in self.messages if message.role == "user"]
        if len(said) != 1:
            raise RequestError(f"messages must hold one of the role user, not {len(said)}")
        return said[0]


@router.post("/v1/edit/completions")
async def edit(request: Request, body: RewriteBody) -> Response:
    """The next edit of a region. Whatever the reason, no edit is no error."""
    await _require_words(request, "rewrite code by instruction")
    rewrite = next_edit(body.prompt)
    found = await _found(request, rewrite)
    text = rewrite.result(found)
    return await _answer(request, body, NONE if text == rewrite.block else f"```\n{text}\n```", found)


@router.post("/v1/apply/completions")
async def apply(request: Request, body: RewriteBody) -> Response:
    """An update merged into a text; an error where it could not be, since the text as it was is no merged one."""
    await _require_words(request, "merge an update into a file")
    rewrite = merge(body.prompt)
    found = await _found(request, rewrite)
    if found.reasons[0] not in (None, "right"):
        raise RequestError(f"the update was not merged: {NOT_MERGED.get(found.reasons[0] or '', found.reasons[0])}")
    return await _answer(request, body, rewrite.result(found), found)


NOT_MERGED = {
    "syntax": "what the model wrote parses worse than the original",
    "long": "the original and the update are too long for the model, or its answer for the original",
    "empty": "the model wrote nothing",
    "budget": "the time was over",
}


async def _require_words(request: Request, what: str) -> None:
    if not (await serving_of(request).info()).instruct:
        raise RequestError(await _refusal(request, what))


async def _found(request: Request, rewrite: Rewrite) -> EditResult:
    return await until_disconnect(request, serving_of(request).edit(rewrite.request(), caller_of(request)))


async def _answer(request: Request, body: RewriteBody, text: str, found: EditResult) -> Response:
    """In the shape of a chat. ``usage`` counts the tokens of the block; how long the answer was, nobody counts."""
    info = await serving_of(request).info()
    about: Json = {"reason": found.reasons[0], "passes": found.passes}
    head: Json = {"id": new_id("edit"), "object": "chat.completion", "created": int(time.time())}
    head["model"] = body.model or info.instruct_model
    usage = {"prompt_tokens": found.tokens, "completion_tokens": 0, "total_tokens": found.tokens}
    if not body.stream:
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        return as_json(head | {"choices": [choice], "usage": usage, "hone": about})
    head["object"] = "chat.completion.chunk"
    piece = {"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None}
    last = {"index": 0, "delta": {}, "finish_reason": "stop"}
    return as_events([head | {"choices": [piece]}, head | {"choices": [last], "usage": usage, "hone": about}])


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
    except (HTTPException, ValueError):  # not JSON
        return False
    return isinstance(body, dict) and "id_slot" in body


async def _refusal(request: Request, what: str) -> str:
    info = await serving_of(request).info()
    name = info.instruct_model or info.name
    if info.instruct:
        return f"the model {name} cannot {what} here: it follows instructions about code; use /v1/hone/edit"
    return f"the model {name} cannot {what}: it follows no instructions, it completes code; use /v1/fim/completions"
