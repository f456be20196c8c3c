"""What one server lets a request ask for, whatever protocol it came by. Knows nothing of HTTP."""

import asyncio
import logging
from dataclasses import dataclass, replace

from assistant.errors import BusyError, RequestError
from assistant.types import (
    Caller,
    CompletionRequest,
    CompletionResult,
    EditRequest,
    EditResult,
    Load,
    ModelInfo,
    OnDraft,
    Serving,
)

GRACE_S = 2.0
"""What an answer may take beyond its budget: the gate, and what stands before it in the queue."""
STOP_TEXTS = 16
STOP_LENGTH = 256
log = logging.getLogger("hone.serve")


@dataclass(frozen=True)
class ServerOptions:
    """What one server accepts, and from whom."""

    version: str
    token: str | None = None
    """Needed on every route when set: as a bearer token, as ``x-api-key``, or as the password a browser asks for."""
    admin_token: str | None = None
    """Needed to see the status and to shut down, always; accepted wherever ``token`` is."""
    allowed_hosts: tuple[str, ...] = ()
    """Names beside the loopback ones by which clients may call the server; without a port: at any."""
    allowed_origins: tuple[str, ...] = ()
    """Web pages beside the server's own that may talk to it, as "https://name:port"."""
    max_body_bytes: int = 8 * 2**20
    max_tokens: int = 1024
    max_n: int = 16
    max_cut: int = 2**20
    """Characters that are cut into tokens, or tokens put together, for one request: of 8 MiB that took six seconds."""
    max_blocks: int = 256
    """Blocks of one edit."""
    max_seconds: float = 60.0
    max_connections: int = 512
    max_header_bytes: int = 32 * 2**10
    max_headers: int = 100
    receive_seconds: float = 20.0
    """Time to send the headers, and again to send the body."""
    log_code: bool = False
    """Write the text of requests and answers to the log."""


class LimitError(RequestError):
    """More than this server gives to one request."""


class Bounded:
    """``Serving`` that refuses what is over the limits, and ends what takes too long."""

    def __init__(self, serving: Serving, options: ServerOptions) -> None:
        self._serving = serving
        self._options = options

    async def complete(
        self,
        request: CompletionRequest,
        caller: Caller = Caller(),  # noqa: B008 (frozen)
        *,
        on_step: OnDraft | None = None,
    ) -> CompletionResult:
        """As ``Serving.complete``.

        Raises:
            LimitError: names the option, its value and the limit.
            BusyError: no answer within the limit.
        """
        request = bounded(request, self._options)
        if self._options.log_code:
            log.info("request", extra={"log_code": True, "text": request.text, "hole": [request.start, request.end]})
        try:
            async with asyncio.timeout(self._options.max_seconds + GRACE_S):
                result = await self._serving.complete(request, caller, on_step=on_step)
        except TimeoutError:
            raise BusyError(f"no answer within {self._options.max_seconds:g} seconds; ask again later", 5.0) from None
        if self._options.log_code:
            log.info("answer", extra={"log_code": True, "texts": [answer.text for answer in result.completions]})
        return result

    async def edit(
        self,
        request: EditRequest,
        caller: Caller = Caller(),  # noqa: B008 (frozen)
    ) -> EditResult:
        """As ``Serving.edit``.

        Raises:
            LimitError: names the option, its value and the limit.
            BusyError: no answer within the limit.
        """
        if len(request.blocks) > self._options.max_blocks:
            raise LimitError(
                f"{len(request.blocks)} blocks are more than the {self._options.max_blocks} of one request"
            )
        most = 1000 * self._options.max_seconds
        request = replace(request, budget_ms=min(request.budget_ms or most, most))
        try:
            async with asyncio.timeout(self._options.max_seconds + GRACE_S):
                return await self._serving.edit(request, caller)
        except TimeoutError:
            raise BusyError(f"no answer within {self._options.max_seconds:g} seconds; ask again later", 5.0) from None

    def cancel(self, client: str, request: str) -> bool:
        return self._serving.cancel(client, request)

    async def tokenize(self, text: str) -> list[int]:
        """As ``Serving.tokenize``.

        Raises:
            LimitError: the text is too long.
        """
        _require_parts("characters", len(text), self._options.max_cut)
        return await self._serving.tokenize(text)

    async def detokenize(self, tokens: list[int]) -> str:
        """As ``Serving.detokenize``.

        Raises:
            LimitError: there are too many.
        """
        _require_parts("tokens", len(tokens), self._options.max_cut)
        return await self._serving.detokenize(tokens)

    async def pieces(self, tokens: list[int]) -> list[bytes]:
        return await self._serving.pieces(tokens)

    async def info(self) -> ModelInfo:
        return await self._serving.info()

    def load(self) -> Load:
        return self._serving.load()


def bounded(request: CompletionRequest, options: ServerOptions) -> CompletionRequest:
    """The request with its time budget clamped.

    Raises:
        LimitError: names the option, its value and the limit.
    """
    _require("n", request.n, options.max_n)
    _require("max_tokens", request.max_tokens, options.max_tokens)
    _require_stops(request.stop)
    most = 1000 * options.max_seconds
    return replace(request, budget_ms=most if request.budget_ms is None else min(request.budget_ms, most))


def _require_stops(texts: tuple[str, ...]) -> None:
    if len(texts) > STOP_TEXTS:
        raise LimitError(f"stop has {len(texts)} texts, and at most {STOP_TEXTS} are looked for; send fewer")
    if (longest := max(map(len, texts), default=0)) > STOP_LENGTH:
        raise LimitError(f"stop has a text of {longest} characters, and at most {STOP_LENGTH} are looked for")


def _require_parts(what: str, count: int, most: int) -> None:
    if count > most:
        raise LimitError(f"{count} {what} are more than the {most} of one request; send them in parts")


def _require(name: str, value: int, most: int) -> None:
    if value > most:
        raise LimitError(f"{name} is {value}, and this server gives at most {most}; ask for less")
