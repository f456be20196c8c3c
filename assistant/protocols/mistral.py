"""Fill-in-the-middle as Mistral (Codestral) and Inception (Mercury) offer it, on one path: ``/v1/fim/completions``.

Who asks for a model named "mercury..." gets Inception's answer, ``choices[].text``; everybody else gets Mistral's,
which is shaped like a chat: ``choices[].message.content``, streamed as ``choices[].delta.content``. The fields of the
request are the union of both. ``diffusing`` is Inception's, and works under any name.
"""

import time
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from assistant.api import JsonRoute, serving_of
from assistant.protocols.answer import (
    Json,
    Stops,
    Wish,
    about,
    as_events,
    as_json,
    first,
    new_id,
    run_varied,
)
from assistant.protocols.fim import locate
from assistant.protocols.inception import diffusing
from assistant.protocols.openai import StreamOptions, usage
from assistant.types import CompletionResult

router = APIRouter(route_class=JsonRoute, tags=["Mistral"])

Number = Annotated[float, Field(allow_inf_nan=False)]


class Body(BaseModel):
    """Other keys are accepted and not read (min_tokens, presence_penalty, metadata, ...)."""

    model: str | None = None
    prompt: str
    suffix: str | None = None
    temperature: Number | None = Field(None, ge=0)
    top_p: Number | None = Field(None, ge=0, le=1)
    max_tokens: int | None = Field(None, ge=0)
    stop: Stops = None
    random_seed: int | None = None
    seed: int | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    diffusing: bool | None = None


@router.post("/v1/fim/completions")
async def fim(request: Request, body: Body) -> Response:
    hole = locate(body.prompt, body.suffix)
    wish = Wish(
        max_tokens=body.max_tokens,
        temperature=body.temperature,
        top_p=body.top_p,
        seed=body.random_seed if body.random_seed is not None else body.seed,
        stop=tuple([body.stop] if isinstance(body.stop, str) else body.stop or []),
    )
    plain = (body.model or "").startswith("mercury")
    kind = "text_completion" if plain else "chat.completion"
    head: Json = {"id": new_id("fim"), "object": kind, "created": int(time.time())}
    head["model"] = body.model or (await serving_of(request).info()).name

    def chunk(text: str, result: CompletionResult | None) -> Json:
        """Without a result: more is to come."""
        finish = None if result is None else "stop"
        shown: Json = {"text": text, "logprobs": None} if plain else {"delta": {"role": "assistant", "content": text}}
        choice: Json = {"index": 0} | shown | {"finish_reason": finish}
        last = {"usage": usage(result)} if result else {}
        if result:
            choice["hone"] = about(result, first(result))
        return head | {"object": kind if plain else f"{kind}.chunk", "choices": [choice]} | last

    if body.stream and body.diffusing and body.max_tokens != 0:
        return await diffusing(request, hole, wish, chunk)
    result = CompletionResult((), 0, 0) if body.max_tokens == 0 else await run_varied(request, hole, wish)
    best = first(result)
    text = hole.wrapped(best.text if best else "")
    if body.stream:
        return as_events([*([chunk(text, None)] if text else []), chunk("", result)], result)
    shown: dict[str, Any] = {"text": text, "logprobs": None}
    if not plain:
        shown = {"message": {"role": "assistant", "content": text, "tool_calls": None, "prefix": False}}
    choice = {"index": 0} | shown | {"finish_reason": "stop", "hone": about(result, best)}
    return as_json(head | {"choices": [choice], "usage": usage(result)}, result)
