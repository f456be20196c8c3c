"""Ollama's server as Zed, Continue, Twinny and the ``ollama`` package call it.

``/api/generate`` streams lines of JSON unless told not to. Any model name is answered, by the model that is loaded. The
template that ``/api/show`` gives mentions ``.Suffix``, by which Continue knows that this model fills in the middle.
"""

import reprlib
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from hashlib import sha256
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from assistant.api import JsonRoute, serving_of
from assistant.errors import RequestError
from assistant.protocols.answer import (
    STARTED,
    Json,
    Stops,
    Wish,
    about,
    as_json,
    compact,
    first,
    model_names,
    run,
    tokens,
    verdict,
)
from assistant.protocols.fim import locate
from assistant.types import CompletionResult, ModelInfo

router = APIRouter(prefix="/api", route_class=JsonRoute, tags=["Ollama"])

VERSION = "0.12.0"
"""Whose API this is; clients refuse versions that are too old for them."""
TEMPLATE = (
    "{{- if .Suffix }}<|fim_prefix|>{{ .Prompt }}<|fim_suffix|>{{ .Suffix }}<|fim_middle|>"
    "{{ else }}{{ .Prompt }}{{ end }}"
)
FOREVER = STARTED + 100 * 365 * 86_400
"""Ollama tells so of a model that it is to keep."""
Number = Annotated[float, Field(allow_inf_nan=False)]


class Options(BaseModel):
    num_predict: int | None = None
    """-1 and -2: as many as fit, which here is the default."""
    temperature: Number | None = Field(default=None, ge=0)
    top_p: Number | None = None
    seed: int | None = None
    stop: Stops = None


class GenerateBody(BaseModel):
    """Other keys are accepted and not read (system, context, keep_alive, think, raw, template, ...)."""

    model: str | None = None
    prompt: str | None = None
    suffix: str | None = None
    stream: bool | None = None
    options: Options | None = None
    images: list[Any] | None = None
    format: Any = None


class ShowBody(BaseModel):
    model: str | None = None
    name: str | None = None


@router.post("/generate")
async def generate(request: Request, body: GenerateBody) -> Response:
    if body.images:
        raise RequestError(f"images has {len(body.images)}, and this model reads text only; leave it out")
    if body.format:
        raise RequestError(f"format is {reprlib.repr(body.format)}, and this model completes code only; leave it out")
    options = body.options or Options()
    hole = locate(body.prompt or "", body.suffix)
    wish = Wish(
        max_tokens=options.num_predict,
        temperature=options.temperature,
        top_p=options.top_p,
        seed=options.seed,
        stop=tuple([options.stop] if isinstance(options.stop, str) else options.stop or []),
    )
    # No prompt is how clients load a model ahead of time.
    idle = not (hole.prefix or hole.suffix) or options.num_predict == 0
    info = await serving_of(request).info()
    result = CompletionResult((), 0, 0) if idle else await run(request, hole, wish)
    best = first(result)
    text = hole.wrapped(best.text if best else "")
    head: Json = {"model": body.model or info.name, "created_at": _time(time.time())}
    last: Json = {"done": True, "done_reason": "load" if idle else "stop", "context": []}
    last |= _counts(result) | {"hone": about(result, best)}
    if body.stream is False:
        return as_json(head | {"response": text} | last, result)
    pieces: list[Json] = [head | {"response": text, "done": False}] if text else []
    return _lines([*pieces, head | {"response": ""} | last], result)


def _counts(result: CompletionResult) -> Json:
    """Durations in nanoseconds."""
    total, context, load = (int(result.timing_ms.get(part, 0.0) * 1e6) for part in ("total", "context", "load"))
    return {
        "total_duration": total + load,
        "load_duration": load,
        "prompt_eval_count": result.context_tokens,
        "prompt_eval_duration": context,
        "eval_count": tokens(result),
        "eval_duration": max(total - context, 0),
    }


def _lines(bodies: Iterable[Json], result: CompletionResult) -> Response:
    content = b"".join(compact(body) + b"\n" for body in bodies)
    return Response(content, media_type="application/x-ndjson", headers=verdict(result))


@router.get("/tags")
async def tags(request: Request) -> Json:
    info = await serving_of(request).info()
    return {"models": [_listed(info, name) for name in model_names(info)]}


@router.get("/ps")
async def running(request: Request) -> Json:
    info = await serving_of(request).info()
    shown = [_listed(info, info.name) | {"size_vram": 0, "context_length": info.context, "expires_at": _time(FOREVER)}]
    return {"models": shown if info.loaded else []}


@router.post("/show")
async def show(request: Request, body: ShowBody) -> Json:  # noqa: ARG001 (any name is shown the same model)
    info = await serving_of(request).info()
    return {
        "license": "",
        "modelfile": "",
        "parameters": f"num_ctx {info.context}",
        "template": TEMPLATE,
        "details": _details(info),
        "model_info": {
            "general.architecture": "hone",
            "general.parameter_count": info.parameters,
            "hone.context_length": info.context,
        },
        "capabilities": ["completion", "insert"],
        "modified_at": _time(STARTED),
    }


@router.get("/version")
async def version() -> Json:
    return {"version": VERSION}


@router.post("/chat")
async def chat(request: Request) -> Response:
    name = (await serving_of(request).info()).name
    raise RequestError(f'"{name}" does not support chat: it completes code; use /api/generate')


def _listed(info: ModelInfo, name: str) -> Json:
    return {
        "name": name,
        "model": name,
        "modified_at": _time(STARTED),
        "size": 2 * info.parameters,
        "digest": sha256(name.encode()).hexdigest(),
        "details": _details(info),
        "capabilities": ["completion", "insert"],
    }


def _details(info: ModelInfo) -> Json:
    return {
        "parent_model": "",
        "format": "safetensors",
        "family": "hone",
        "families": ["hone"],
        "parameter_size": f"{info.parameters / 1e6:.1f}M",
        "quantization_level": info.dtype,
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
