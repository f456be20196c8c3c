"""What all protocols share: from a request's hole and wishes to an answer, and the shape of an error.

A protocol module says where in its body the text before and behind the cursor is, and how an answer looks; everything
between is here. Knows HTTP and ``assistant.types``; knows no protocol's fields, except how each spells an error.

Temperature. Clients send 0.1 to 0.4 by habit, because an autoregressive model needs it to leave a rut. Hone searches
lengths side by side and its judge compares the drafts, which is calibrated at temperature 0, and there its answers are
best. So a temperature counts only where somebody can want variety: with a seed, or with more than one alternative.

Lines. No protocol says whether the rest of a line is wanted or more. These are requests of editors in which somebody
types, so it is decided as for our own editors (``assistant.typing_on``); where nothing follows, as at the end of a
file, and where a whole region is written anew, the text is continued as far as it goes.
"""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Annotated, Any, cast
from uuid import uuid4

from fastapi import Request, Response
from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from assistant import typing_on
from assistant.api import caller_of, one_line, options_of, serving_of, until_disconnect
from assistant.bounds import STOP_TEXTS
from assistant.errors import RequestError
from assistant.protocols.fim import NEVER_WRITTEN, Hole
from assistant.protocols.guess import guess
from assistant.types import Completion, CompletionRequest, CompletionResult, ModelInfo, OnDraft

Json = dict[str, Any]

STARTED = int(time.time())
"""When this process did, in seconds since 1970: what is told for the age of a model."""

ALIAS = "qwen2.5-coder:hone"
"""A second name of whatever model is loaded. Editors that write fill-in-the-middle prompts themselves (Zed) choose the
family of sentinels by the model's name and send nothing for a name that they do not know; this one they know."""


def _stop_texts(value: object) -> object:
    """One sentence for whatever is wrong: of a union, each branch would tell its own, of a million items each."""
    if isinstance(value, list):
        items = cast(list[object], value)
        if len(items) > MOST_STOPS:
            told = {"count": len(items), "most": STOP_TEXTS}
            raise PydanticCustomError("stop", "{count} texts, and at most {most} are looked for; send fewer", told)
        if all(isinstance(item, str) for item in items):
            return items
    elif value is None or isinstance(value, str):
        return cast(object, value)
    raise PydanticCustomError("stop", "a text or a list of texts is needed")


MOST_STOPS = 1024
"""More than any client lists; of fewer, those that no answer can contain are left out before they are counted."""
Stops = Annotated[str | list[str] | None, BeforeValidator(_stop_texts)]
"""Stop texts. Empty ones are left out, as llama.cpp does."""

COLDEST, HOTTEST = 0.01, 2.0
"""Temperatures below are 0, as what they would sample is; above are as these. Clients send any number."""

# Errors.

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    413: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
    501: "not_supported_error",
    503: "unavailable_error",
}
_PLAIN = ("/v1/health", "/v1/events", "/v1beta/")
_OLLAMA = "/api/"
_HONE = "/v1/hone/"


def error_body(path: str, status: int, message: str, *, plain: bool = False) -> Json | str:
    """An error as the protocol of ``path`` spells it; a plain ``str`` where it has no JSON for errors (Tabby), or where
    the request was one of that protocol on the path of another."""
    kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    if path.startswith(_OLLAMA):
        return {"error": message}
    if plain or path.startswith(_PLAIN):
        return message
    if path.startswith(_HONE):
        return {"error": {"message": message, "type": kind}}
    return {"error": {"message": message, "type": kind, "param": None, "code": status}}


# The request.


@dataclass(frozen=True)
class Wish:
    """What a client asks of the answer; None where it says nothing."""

    n: int = 1
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    budget_ms: float | None = None
    varied: bool = False
    """The same request is under way already, and wants another answer (see ``Alternates``)."""


def completion_request(hole: Hole, wish: Wish, max_tokens: int) -> CompletionRequest:
    """``max_tokens``: most that one request is given; who asks for more gets so many, as every such server does."""
    options: Json = {}
    seeded = wish.seed is not None and wish.seed >= 0
    if (wish.temperature or 0.0) >= COLDEST and (wish.n > 1 or seeded) and not wish.varied:
        options["temperature"] = min(wish.temperature or 0.0, HOTTEST)
        if wish.top_p is not None and 0 < wish.top_p <= 1:
            options["top_p"] = wish.top_p
    if wish.max_tokens is not None and wish.max_tokens > 0:
        options["max_tokens"] = min(wish.max_tokens, max_tokens)
    if seeded:
        options["seed"] = (wish.seed or 0) % (1 << 63)
    if wish.budget_ms is not None and wish.budget_ms > 0:
        options["budget_ms"] = wish.budget_ms
    if hole.suffix.strip() and not hole.before and not hole.after:
        options["one_line"] = typing_on.one_line(hole.prefix, len(hole.prefix))
    named = hole.language or hole.filename
    return CompletionRequest(
        text=hole.prefix + hole.suffix,
        start=len(hole.prefix),
        filename=hole.filename,
        language=hole.language if named else guess(hole.prefix),
        n=wish.n,
        stop=stops(wish.stop),
        **options,
    )


def stops(texts: Iterable[str]) -> tuple[str, ...]:
    """Stop texts without those that no answer can contain; clients list a dozen sentinels by habit."""
    return tuple(dict.fromkeys(text for text in texts if text and text not in NEVER_WRITTEN))


async def run(
    request: Request, hole: Hole, wish: Wish, *, document: str | None = None, on_step: OnDraft | None = None
) -> CompletionResult:
    """The answer; the work is cancelled when the client goes away. ``document``: only where the protocol names one.

    Raises:
        HoneError: as ``Serving.complete``.
    """
    serving, options = serving_of(request), options_of(request)
    asked = completion_request(hole, wish, options.max_tokens)
    return await until_disconnect(request, serving.complete(asked, caller_of(request, document), on_step=on_step))


# Alternatives.


@dataclass
class _Burst:
    began: float
    asked: int = 0
    under_way: int = 0
    given: set[str] = field(default_factory=set[str])


class Alternates:
    """Which of several identical requests this is: clients that want three alternatives ask three times at once.

    A request counts as the next one of a burst while one like it is under way, or within ``WINDOW_S`` of the first,
    which is how far apart processes arrive that were started together. Who asks again later gets the same answer again.
    Pure but for its memory, which holds ``MOST`` bursts; the caller says what time it is.
    """

    WINDOW_S = 0.05
    MOST = 256
    WIDEST = 8
    """Requests after which a burst begins again: load tests send hundreds of the same."""

    def __init__(self) -> None:
        self._bursts: dict[bytes, _Burst] = {}

    def begin(self, key: bytes, now: float) -> int:
        """How many like it came before it; follow with ``end``."""
        burst = self._bursts.pop(key, None)
        if burst is None or (burst.under_way == 0 and now - burst.began >= self.WINDOW_S):
            burst = _Burst(now)
        self._bursts[key] = burst  # the newest last
        while len(self._bursts) > self.MOST:
            del self._bursts[next(iter(self._bursts))]
        rank = burst.asked % self.WIDEST
        if rank == 0:
            burst.given.clear()
        burst.asked += 1
        burst.under_way += 1
        return rank

    def fresh(self, key: bytes, texts: Sequence[str]) -> int:
        """Which of these answers, the best first, nobody of the burst has got; the last where all are given. Who asks
        for more alternatives may have another best one: more lengths are looked at."""
        burst = self._bursts.get(key)
        given = set[str]() if burst is None else burst.given
        chosen = next((i for i, text in enumerate(texts) if text not in given), len(texts) - 1)
        given.update(texts[max(chosen, 0) : chosen + 1])
        return chosen

    def end(self, key: bytes) -> None:
        if (burst := self._bursts.get(key)) is not None:
            burst.under_way = max(burst.under_way - 1, 0)


async def run_varied(request: Request, hole: Hole, wish: Wish) -> CompletionResult:
    """As ``run``; but where the same request is under way already, the best answer that it did not get, or the last.

    Not where somebody asks for a reproducible answer, by a seed or by temperature 0, or for alternatives by number.
    """
    if wish.n != 1 or wish.seed is not None or wish.temperature == 0:
        return await run(request, hole, wish)
    state = request.app.state
    if not hasattr(state, "alternates"):
        state.alternates = Alternates()
    alternates: Alternates = state.alternates
    key = sha256(repr((caller_of(request).client, hole, wish)).encode()).digest()
    rank = alternates.begin(key, time.monotonic())
    try:
        most = min(rank, options_of(request).max_n - 1)
        result = await run(request, hole, replace(wish, n=most + 1, varied=True))
        chosen = alternates.fresh(key, [one.text for one in result.completions])
    finally:
        alternates.end(key)
    return replace(result, completions=result.completions[chosen : chosen + 1] if result.completions else ())


# The answer.


def about(result: CompletionResult, completion: Completion | None) -> Json:
    """What Hone says of an answer beside its text, for the key "hone" of protocols that tolerate other keys."""
    if completion is None:
        return {"verdict": None, "reason": result.reason}
    return {
        "verdict": completion.verdict,
        "score": completion.score,
        "confidence": completion.confidence,
        "origin": completion.origin,
        "steps": result.steps,
    }


def first(result: CompletionResult) -> Completion | None:
    return result.completions[0] if result.completions else None


def verdict(result: CompletionResult) -> dict[str, str]:
    """The same as HTTP headers, for every protocol."""
    best = first(result)
    return {"X-Hone-Verdict": best.verdict} if best else {"X-Hone-Reason": result.reason or "empty"}


def tokens(result: CompletionResult) -> int:
    return sum(completion.tokens for completion in result.completions)


def prompt_text(prompt: str | list[Any]) -> str:
    """The one prompt of a request.

    Raises:
        RequestError: token ids, several prompts or none.
    """
    if isinstance(prompt, str):
        return prompt
    if len(prompt) != 1 or not isinstance(prompt[0], str):
        what = "token ids" if prompt and not isinstance(prompt[0], str) else f"a list of {len(prompt)}"
        raise RequestError(f"prompt must be one text, not {what}; send each text in a request of its own")
    # Half of a surrogate pair is no text; a list's items have not been checked for it.
    return prompt[0].encode("utf-8", "replace").decode()


def as_json(body: Any, result: CompletionResult | None = None) -> Response:
    return Response(compact(body), media_type="application/json", headers=verdict(result) if result else None)


def as_events(bodies: Iterable[Json], result: CompletionResult | None = None, *, done: bool = True) -> Response:
    """Server-sent events of an answer that is there already: nothing is shown that has not passed the gate."""
    lines = [event(body) for body in bodies] + ([DONE] if done else [])
    headers = {"Cache-Control": "no-store"} | (verdict(result) if result else {})
    return Response(b"".join(lines), media_type="text/event-stream", headers=headers)


DONE = b"data: [DONE]\n\n"


def event(body: Mapping[str, Any]) -> bytes:
    return b"data: " + compact(body) + b"\n\n"


def compact(body: Any) -> bytes:
    text = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return one_line(text).encode("utf-8", "replace")


def new_id(kind: str) -> str:
    return f"{kind}-{uuid4().hex}"


def model_names(info: ModelInfo) -> tuple[str, str]:
    return info.name, ALIAS
