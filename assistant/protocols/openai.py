"""OpenAI's ``/v1/completions``, as minuet-ai.nvim, Zed, cursortab.nvim, Continue and the ``openai`` package call it.

The path is Tabby's too: a body that is one of Tabby's (``tabby.is_ours``) goes to ``tabby``.

What is streamed has passed the syntax gate, so it comes in one piece when the answer is whole; ``finish_reason`` is
always "stop", for an answer that reaches its limit is cut back to whole, valid code, and clients drop the last line of
one that says "length".
"""

import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Discriminator, Field, Tag

from assistant.api import JsonRoute, serving_of
from assistant.errors import RequestError
from assistant.protocols import tabby
from assistant.protocols.answer import (
    Json,
    Stops,
    Wish,
    about,
    as_events,
    as_json,
    new_id,
    prompt_text,
    run_varied,
    tokens,
)
from assistant.protocols.fim import locate
from assistant.types import CompletionResult

router = APIRouter(route_class=JsonRoute, tags=["OpenAI"])

Number = Annotated[float, Field(allow_inf_nan=False)]


class StreamOptions(BaseModel):
    include_usage: bool | None = None


class Body(BaseModel):
    """Other keys are accepted and not read (penalties, logit_bias, user, top_k, ...)."""

    model: str | None = None
    prompt: str | list[Any]
    suffix: str | None = None
    max_tokens: int | None = Field(None, ge=0)
    temperature: Number | None = Field(None, ge=0)
    top_p: Number | None = Field(None, ge=0, le=1)
    n: int | None = Field(None, ge=1)
    best_of: int | None = Field(None, ge=0)
    stop: Stops = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    logprobs: int | Literal[False] | None = None
    echo: bool | None = None
    seed: int | None = None
    language: str | None = None
    """Not OpenAI's: for whoever can add a key, so that the answer is checked."""
    filename: str | None = None


def _whose(body: object) -> str:
    return "tabby" if tabby.is_ours(body) else "openai"


Bodies = Annotated[Annotated[Body, Tag("openai")] | Annotated[tabby.Body, Tag("tabby")], Discriminator(_whose)]


PATH = "/v1/completions"


@router.post(PATH)
async def completions(request: Request, body: Bodies) -> Response:
    if isinstance(body, tabby.Body):
        return await tabby.complete(request, body)
    prompt = prompt_text(body.prompt)
    if body.logprobs:
        raise RequestError(f"logprobs is {body.logprobs}, and a diffusion model has none per token; leave it out")
    if body.best_of and body.best_of < (body.n or 1):
        raise RequestError(f"best_of is {body.best_of}, less than n, which is {body.n}; leave it out")
    hole = locate(prompt, body.suffix, language=body.language, filename=body.filename)
    stop = [body.stop] if isinstance(body.stop, str) else body.stop or []
    wish = Wish(
        n=body.n or 1,
        max_tokens=body.max_tokens,
        temperature=body.temperature,
        top_p=body.top_p,
        seed=body.seed,
        stop=tuple(stop),
    )
    result = CompletionResult((), 0, 0) if body.max_tokens == 0 else await run_varied(request, hole, wish)
    before = prompt if body.echo else ""
    found = result.completions[: wish.n] or (None,)
    texts = [before + hole.wrapped(one.text if one else "") for one in found]
    notes = [about(result, one) for one in found]
    head = {"id": new_id("cmpl"), "object": "text_completion", "created": int(time.time())}
    head["model"] = (await serving_of(request).info()).name
    if not body.stream:
        choices = [choice(index, text, "stop") | {"hone": note}
                   for index, (text, note) in enumerate(zip(texts, notes, strict=True))]  # fmt: skip
        return as_json(head | {"choices": choices, "usage": usage(result)}, result)
    counted = bool(body.stream_options and body.stream_options.include_usage)
    chunks: list[Json] = []
    for index, (text, note) in enumerate(zip(texts, notes, strict=True)):
        if text:
            chunks.append({"choices": [choice(index, text, None)]})
        chunks.append({"choices": [choice(index, "", "stop") | {"hone": note}]})
    if counted:
        chunks = [chunk | {"usage": None} for chunk in chunks] + [{"choices": [], "usage": usage(result)}]
    return as_events([head | chunk for chunk in chunks], result)


def choice(index: int, text: str, finish: str | None) -> Json:
    return {"index": index, "text": text, "logprobs": None, "finish_reason": finish}


def usage(result: CompletionResult) -> Json:
    """What the model read of the prompt, and what it wrote."""
    written = tokens(result)
    return {
        "prompt_tokens": result.context_tokens,
        "completion_tokens": written,
        "total_tokens": result.context_tokens + written,
        "prompt_tokens_details": {"cached_tokens": result.known_tokens},
    }
