"""Tabby's server as its agents call it (VS Code, JetBrains, Vim).

``POST /v1/completions`` has OpenAI's path, so ``openai`` owns the route and hands Tabby's bodies to ``complete``. Line
ends come back as they were sent: the engine writes those of the text that it sees.
"""

import os
import platform
import reprlib
from typing import Annotated, Any, Literal, cast

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from assistant.api import JsonRoute, serving_of
from assistant.errors import RequestError
from assistant.protocols.answer import Json, Wish, about, as_json, new_id, run
from assistant.protocols.fim import Hole, locate

router = APIRouter(route_class=JsonRoute, tags=["Tabby"])


class Segments(BaseModel):
    """Snippets, declarations and the clipboard are accepted and not read."""

    prefix: str
    suffix: str | None = None
    filepath: str | None = None
    git_url: str | None = None


class DebugOptions(BaseModel):
    raw_prompt: str | None = None
    return_snippets: bool | None = None
    return_prompt: bool | None = None


class Body(BaseModel):
    language: str | None = None
    segments: Segments | None = None
    user: str | None = None
    debug_options: DebugOptions | None = None
    temperature: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    seed: int | None = None
    mode: str | None = None


class Event(BaseModel):
    type: Literal["view", "select", "dismiss"]
    completion_id: str
    choice_index: int = Field(ge=0)
    view_id: str | None = None
    elapsed: int | None = None


KEYS = frozenset({"segments", "debug_options", "mode"})
"""No client of OpenAI sends them."""


def is_ours(body: object) -> bool:
    """Whether a body of ``/v1/completions`` is one of Tabby's: it names no model, which OpenAI's must."""
    if not isinstance(body, dict) or body.get("prompt") is not None:
        return False
    known = cast(Json, body)
    return bool(known.keys() & KEYS) or ("language" in known and "model" not in known)


def asked(request: Request) -> bool:
    """Whether ``complete`` answers this request: then so are its errors Tabby's."""
    return bool(getattr(request.state, "tabby", False))


async def complete(request: Request, body: Body) -> Response:
    request.state.tabby = True
    debug = body.debug_options or DebugOptions()
    if debug.raw_prompt is not None:
        hole = locate(debug.raw_prompt, language=body.language)
    elif body.segments is not None:
        hole = Hole(body.segments.prefix, body.segments.suffix or "", body.language, body.segments.filepath)
    else:
        raise RequestError('segments is missing; send {"segments": {"prefix": "..."}}, or prompt, as OpenAI has it')
    if body.mode not in (None, "standard"):
        raise RequestError(f'mode is {reprlib.repr(body.mode)}, and this model completes only; use "standard"')
    result = await run(
        request,
        hole,
        Wish(temperature=body.temperature, seed=body.seed),
        document=body.segments.filepath if body.segments else None,
    )
    answer: Json = {
        "id": new_id("cmpl"),
        "choices": [
            {"index": index, "text": hole.wrapped(one.text), "hone": about(result, one)}
            for index, one in enumerate(result.completions[:1])
        ],
        "mode": "standard",
    }
    if not answer["choices"]:
        answer["hone"] = about(result, None)
    if debug.return_prompt:
        answer["debug_data"] = {"prompt": hole.prefix}
    return as_json(answer, result)


@router.get("/v1/health")
@router.post("/v1/health")
async def health(request: Request) -> Json:
    info = await serving_of(request).info()
    return {
        "model": info.name,
        "device": info.device,
        "arch": platform.machine(),
        "cpu_info": platform.processor(),
        "cpu_count": os.cpu_count() or 1,
        "cuda_devices": [],
        "models": {"completion": {"local": {"model_id": info.name, "device": info.device}}},
        "version": {"build_date": "", "build_timestamp": "", "git_sha": "", "git_describe": f"v{request.app.version}"},
    }


@router.post("/v1/events")
async def events(
    body: Event,  # noqa: ARG001 (checked, not kept)
    select_kind: Annotated[str | None, Query()] = None,  # noqa: ARG001 (the same)
) -> Response:
    """Accepted and forgotten: nothing of what a user does is kept."""
    return Response(status_code=200)


@router.get("/v1beta/server_setting")
async def server_setting() -> dict[str, Any]:
    return {"disable_client_side_telemetry": True}
