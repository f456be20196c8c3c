"""llama.cpp's server as llama.vim, llama.vscode and Continue call it.

``/infill`` puts ``prompt``, the current line up to the cursor, behind ``input_prefix``. On a blank line ``prompt`` is
empty and the answer holds the indentation. What the clients do not know how to use is left out: slots, samplers, log
probabilities; ``input_extra`` is accepted and not read (context from other files comes with Hone's own front ends).
"""

import asyncio
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
    as_events,
    as_json,
    model_names,
    prompt_text,
    run,
    tokens,
)
from assistant.protocols.fim import Hole, locate
from assistant.types import Completion, CompletionResult, ModelInfo

router = APIRouter(route_class=JsonRoute, tags=["llama.cpp"])

Number = Annotated[float, Field(allow_inf_nan=False)]


class Options(BaseModel):
    """What both ways to complete accept; other keys are accepted and not read."""

    n_predict: int | None = None
    """-1: as many as fit, which here is the default. 0: only warm up."""
    max_tokens: int | None = None
    n_cmpl: int | None = Field(None, ge=1)
    n: int | None = Field(None, ge=1)
    stop: Stops = None
    stream: bool | None = None
    temperature: Number | None = None
    top_p: Number | None = None
    seed: int | None = None
    t_max_prompt_ms: Number | None = None
    t_max_predict_ms: Number | None = None
    response_fields: list[str] | None = Field(None, fail_fast=True)

    @property
    def warm_up(self) -> bool:
        return 0 in (self.n_predict, self.max_tokens)

    def wish(self) -> Wish:
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        limit = self.n_predict if self.n_predict is not None else self.max_tokens
        return Wish(
            n=self.n_cmpl or self.n or 1,
            max_tokens=limit,
            temperature=self.temperature if self.temperature is None else max(self.temperature, 0.0),
            top_p=self.top_p,
            seed=self.seed,
            stop=tuple(stop),
            budget_ms=self.budget_ms,
        )

    @property
    def budget_ms(self) -> float | None:
        """The user waits for both; the server that the names come from has no such limit unless asked."""
        if self.t_max_predict_ms is None or self.t_max_predict_ms <= 0:
            return None
        return max(self.t_max_prompt_ms or 0, 0) + self.t_max_predict_ms


class InfillBody(Options):
    input_prefix: str | None = None
    input_suffix: str | None = None
    prompt: str | None = None
    input_extra: list[Any] | None = None

    @property
    def warm_up(self) -> bool:
        """llama.vim's first versions warm up with one token, and even an empty file has a line break."""
        return super().warm_up or not (self.input_prefix or self.prompt or self.input_suffix)


class CompletionBody(Options):
    prompt: str | list[Any] = ""


class TextBody(BaseModel):
    content: str
    add_special: bool = False
    """Accepted and not read: this model puts its special tokens around the parts of a prompt, none at its beginning."""
    parse_special: bool = True
    """The same: what looks like a special token in a text is text."""
    with_pieces: bool = False


class TokensBody(BaseModel):
    tokens: list[int] = Field(fail_fast=True)


@router.post("/infill")
async def infill(request: Request, body: InfillBody) -> Response:
    prefix = (body.input_prefix or "") + (body.prompt or "")
    return await _complete(request, body, Hole(prefix, body.input_suffix or ""), body.prompt or "")


@router.post("/completion")
@router.post("/completions")
async def completion(request: Request, body: CompletionBody) -> Response:
    prompt = prompt_text(body.prompt)
    return await _complete(request, body, locate(prompt), prompt)


async def _complete(request: Request, body: Options, hole: Hole, prompt: str) -> Response:
    info = await serving_of(request).info()
    if body.warm_up:
        # The text is not encoded: the next request's will differ, and a warm-up must cost next to nothing.
        return _respond(body, [_answer(info, CompletionResult((), 0, 0), None, body, prompt, "")])
    result = await run(request, hole, body.wish())
    found = result.completions[: body.wish().n] or (None,)
    answers = [
        _answer(info, result, one, body, prompt, hole.wrapped(one.text if one else ""), index)
        for index, one in enumerate(found)
    ]
    return _respond(body, answers, result)


def _respond(body: Options, answers: list[Json], result: CompletionResult | None = None) -> Response:
    if body.stream:
        return as_events([part for answer in answers for part in _streamed(answer)], result, done=False)
    picked = [_picked(answer, body.response_fields) for answer in answers]
    return as_json(picked if (body.n_cmpl or body.n or 1) > 1 else picked[0], result)


def _streamed(answer: Json) -> list[Json]:
    piece = {"index": answer["index"], "content": answer["content"], "tokens": [], "stop": False, "id_slot": 0}
    last = answer | {"content": "", "stop": True}
    return [piece, last] if answer["content"] else [last]


def _picked(answer: Json, fields: list[str] | None) -> Json:
    """Only the fields that are asked for; "timings/prompt_n" is the value within, under just this name.

    What Hone says of the answer comes along wherever the answer itself is asked for."""
    if not fields:
        return answer
    picked: Json = {}
    for field in fields:
        value: Any = answer
        for name in field.split("/"):
            value = value.get(name, _MISSING) if isinstance(value, dict) else _MISSING
        if value is not _MISSING:
            picked[field] = value
    return picked | ({"hone": answer["hone"]} if "content" in picked else {})


_MISSING = object()


def _answer(
    info: ModelInfo,
    result: CompletionResult,
    one: Completion | None,
    body: Options,
    prompt: str,
    text: str,
    index: int = 0,
) -> Json:
    written = one.tokens if one else 0
    return {
        "index": index,
        "content": text,
        "tokens": [],
        "id_slot": 0,
        "stop": True,
        "model": info.name,
        "tokens_predicted": written,
        "tokens_evaluated": result.context_tokens,
        "generation_settings": _settings(info, body),
        "prompt": prompt,
        "has_new_line": "\n" in text,
        # Clients warn of a truncated context and say how to enlarge it; here it is chosen near the cursor by design.
        "truncated": False,
        "stop_type": _stop_type(result, one, body),
        "stopping_word": one.stopped_by if one else "",
        "tokens_cached": result.known_tokens,
        "timings": _timings(result),
        "hone": about(result, one),
    }


def _stop_type(result: CompletionResult, one: Completion | None, body: Options) -> str:
    """Why it ended: a stop text, as many tokens or as much time as were asked for, or the model itself."""
    if one is not None and one.stopped_by:
        return "word"
    most = body.wish().max_tokens
    full = one is not None and most is not None and 0 < most <= one.tokens
    return "limit" if full or body.warm_up or result.reason == "budget" else "eos"


def _settings(info: ModelInfo, body: Options) -> Json:
    wish = body.wish()
    return {
        "n_ctx": info.context,
        "n_predict": wish.max_tokens if wish.max_tokens is not None else -1,
        "temperature": wish.temperature or 0.0,
        "seed": wish.seed or 0,
        "stop": list(wish.stop),
        "stream": bool(body.stream),
    }


def _timings(result: CompletionResult) -> Json:
    """A diffusion model writes many tokens per pass, so "per token" is a mean over all of them.

    Nothing divided by nothing is 0: llama.vim prints the speeds as floats, and older versions of it stop at null.
    """
    prompt_ms = result.timing_ms.get("context", 0.0)
    predicted_ms = max(result.timing_ms.get("total", 0.0) - prompt_ms, 0.0)
    prompt_n = max(result.context_tokens - result.known_tokens, 0)
    predicted_n = tokens(result)
    return {
        "cache_n": result.known_tokens,
        "prompt_n": prompt_n,
        "prompt_ms": prompt_ms,
        "prompt_per_token_ms": prompt_ms / prompt_n if prompt_n else 0.0,
        "prompt_per_second": 1000 * prompt_n / prompt_ms if prompt_ms else 0.0,
        "predicted_n": predicted_n,
        "predicted_ms": predicted_ms,
        "predicted_per_token_ms": predicted_ms / predicted_n if predicted_n else 0.0,
        "predicted_per_second": 1000 * predicted_n / predicted_ms if predicted_ms else 0.0,
    }


@router.get("/health")
async def health() -> Json:
    return {"status": "ok"}


@router.get("/props")
async def props(request: Request) -> Json:
    info = await serving_of(request).info()
    return {
        "default_generation_settings": {"n_ctx": info.context, "params": {"n_predict": -1, "temperature": 0.0}},
        "total_slots": 1,
        "model_path": info.name,
        "model_alias": info.name,
        "chat_template": "",
        "modalities": {"vision": False, "audio": False},
        "build_info": f"hone {request.app.version}",
        "is_sleeping": not info.loaded,
    }


@router.post("/tokenize")
async def tokenize(request: Request, body: TextBody) -> Response:
    serving = serving_of(request)
    tokens = await serving.tokenize(body.content)
    pieces = await serving.pieces(tokens) if body.with_pieces else None
    # Of the largest body they are millions, and everybody else's requests are on the event loop.
    return await asyncio.to_thread(_tokenized, tokens, pieces)


def _tokenized(tokens: list[int], pieces: list[bytes] | None) -> Response:
    if pieces is None:
        return as_json({"tokens": tokens})
    return as_json({"tokens": [{"id": one, "piece": _piece(piece)} for one, piece in zip(tokens, pieces, strict=True)]})


def _piece(data: bytes) -> str | list[int]:
    """A token's text, or its bytes where it is a part of a character only."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return list(data)


@router.post("/detokenize")
async def detokenize(request: Request, body: TokensBody) -> Json:
    serving = serving_of(request)
    vocabulary = (await serving.info()).vocabulary
    for token in body.tokens:
        if not 0 <= token < vocabulary:
            raise RequestError(f"token {token} is not one of the model's, which are 0 to {vocabulary - 1}")
    return {"content": await serving.detokenize(body.tokens)}


@router.post("/apply-template")
async def apply_template(request: Request) -> Json:
    name = (await serving_of(request).info()).name
    raise RequestError(f"the model {name} has no chat template: it completes code; use /infill or /v1/completions")


@router.get("/v1/models")
@router.get("/models")
async def models(request: Request) -> Json:
    """The union of what OpenAI's, llama.cpp's and Mistral's clients read."""
    info = await serving_of(request).info()
    return {
        "object": "list",
        "data": [_model(info, name) for name in model_names(info)],
        "models": [_listed(info, name) for name in model_names(info)],
    }


@router.get("/v1/models/{name:path}")
async def model(request: Request, name: str) -> Json:
    """Clients name models freely, and are answered under any name."""
    return _model(await serving_of(request).info(), name)


def _model(info: ModelInfo, name: str) -> Json:
    return {
        "id": name,
        "object": "model",
        "created": STARTED,
        "owned_by": "hone",
        "root": info.name,
        "type": "base",
        "max_context_length": info.context,
        "capabilities": {"completion_chat": False, "completion_fim": True, "function_calling": False, "vision": False},
        "meta": {"n_vocab": info.vocabulary, "n_ctx": info.context, "n_ctx_train": info.context,
                 "n_params": info.parameters},
    }  # fmt: skip


def _listed(info: ModelInfo, name: str) -> Json:
    return {
        "name": name,
        "model": info.name,
        "capabilities": ["completion"],
        "details": {"family": "hone", "parameter_size": str(info.parameters)},
    }
