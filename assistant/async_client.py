"""The client of a daemon for those who have an event loop: the language server. Many requests at once over one client.

It stays of use when the daemon is not: one that ended is looked for again, or started again, by ``locate``.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

import httpx

from assistant.client import (
    ANSWER_S,
    CONNECT_S,
    EDIT_S,
    Patience,
    body,
    check_identity,
    decode,
    edit_body,
    encode,
    failure,
    headers,
    lost,
    silent,
    to_edits,
    to_result,
)
from assistant.errors import BusyError, DaemonError
from assistant.runtime import Endpoint
from assistant.types import Caller, CompletionRequest, CompletionResult, EditRequest, EditResult

T = TypeVar("T")


class Locate(Protocol):
    """``functools.partial(assistant.daemon.ensure, settings)``. Called on a thread of its own."""

    def __call__(self, *, replace: bool) -> Endpoint:
        """``replace``: whether a daemon that does not fit may be ended. Not so when ours was replaced by somebody
        else: two front ends of different versions would go on ending each other's.

        Raises:
            DaemonError: there is none, and none can be started.
        """
        ...


class AsyncClient:
    """A cancelled call is cancelled in the daemon. Closed by ``close``.

    Raises:
        DaemonError: from every call, when there is no daemon and none can be started.
    """

    def __init__(self, locate: Locate, *, name: str | None = None) -> None:
        self._locate = locate
        self._name = name or f"hone {os.getpid()}"
        self._lock = asyncio.Lock()
        self._line: _Line | None = None
        self._was_connected = False

    async def close(self) -> None:
        if self._line is not None:
            await self._line.http.aclose()
            self._line = None

    async def complete(
        self,
        request: CompletionRequest,
        caller: Caller = Caller(),  # noqa: B008 (frozen)
    ) -> CompletionResult:
        """As ``Serving.complete``, without the steps; the daemon takes this client's name for the caller's.

        Raises:
            BusyError: the daemon is busy, and still is after the request's budget.
            RequestError: the daemon does not take the request.
            ModelError: the daemon has no usable model.
        """
        patience = Patience(request)
        while True:
            wanted = patience.request()
            content = encode(body(wanted, caller, stream=False))
            wait = ANSWER_S + (wanted.budget_ms or 0) / 1000
            try:
                return to_result(await self._ask("POST", "/v1/hone/complete", content, wait_s=wait))
            except BusyError as error:
                await asyncio.sleep(patience.pause(error))

    async def edit(
        self,
        request: EditRequest,
        caller: Caller = Caller(),  # noqa: B008 (frozen)
    ) -> EditResult:
        """As ``Serving.edit``.

        Raises:
            BusyError: the daemon is busy.
            RequestError: the daemon does not take the request, or its model cannot edit.
        """
        content = encode(edit_body(request, caller))
        wait = EDIT_S if request.budget_ms is None else ANSWER_S + request.budget_ms / 1000
        return to_edits(await self._ask("POST", "/v1/hone/edit", content, wait_s=wait))

    async def status(self) -> dict[str, Any]:
        """What the daemon says of itself."""

        async def ask(line: "_Line") -> dict[str, Any]:
            found = await line.ask("GET", "/v1/hone/status")
            check_identity(line.endpoint, found)
            return found

        return await self._with_line(ask)

    async def _ask(self, method: str, path: str, content: bytes, *, wait_s: float) -> dict[str, Any]:
        return await self._with_line(lambda line: line.ask(method, path, content, wait_s=wait_s))

    async def _with_line(self, use: "Callable[[_Line], Awaitable[T]]") -> T:
        """What ``use`` gives; once more over a new line when the daemon behind the old one has gone."""
        line = await self._connected()
        try:
            return await use(line)
        except _GoneError:
            await self._drop(line)
        line = await self._connected()
        try:
            return await use(line)
        except _GoneError as error:
            await self._drop(line)
            raise DaemonError(str(error)) from error

    async def _connected(self) -> "_Line":
        async with self._lock:
            if self._line is None:
                endpoint = await asyncio.to_thread(self._locate, replace=not self._was_connected)
                self._line = _Line(endpoint, self._name)
                self._was_connected = True
            return self._line

    async def _drop(self, line: "_Line") -> None:
        async with self._lock:
            if self._line is line:
                self._line = None
                await line.http.aclose()


class _GoneError(Exception):
    """That daemon does not answer any more; another one may."""


class _Line:
    """The connections to one daemon."""

    def __init__(self, endpoint: Endpoint, name: str) -> None:
        self.endpoint = endpoint
        address = "http://localhost" if endpoint.socket is not None else endpoint.address
        self.http = httpx.AsyncClient(
            base_url=address,
            headers=headers(endpoint, name),
            transport=httpx.AsyncHTTPTransport(uds=endpoint.socket, limits=httpx.Limits(max_keepalive_connections=8)),
            trust_env=False,  # no proxy stands between us
        )

    async def ask(
        self, method: str, path: str, content: bytes | None = None, *, wait_s: float = CONNECT_S
    ) -> dict[str, Any]:
        try:
            response = await self.http.request(method, path, content=content, timeout=_timeout(wait_s))
        except httpx.HTTPError as error:
            raise self._lost(error, wait_s) from error
        if response.status_code != 200:
            raise self._failure(response.status_code, response.headers, response.content)
        return decode(response.content)

    def _failure(self, status: int, fields: httpx.Headers, content: bytes) -> Exception:
        found = failure(status, fields, content)
        return _GoneError(str(found)) if status == 401 else found  # another daemon has taken its place

    def _lost(self, error: httpx.HTTPError, wait_s: float) -> Exception:
        if isinstance(error, httpx.TimeoutException):
            return silent(self.endpoint, wait_s)
        refused = isinstance(error, httpx.ConnectError)
        return _GoneError(str(lost(self.endpoint, ConnectionRefusedError() if refused else error)))


def _timeout(wait_s: float) -> httpx.Timeout:
    return httpx.Timeout(CONNECT_S, read=wait_s, write=wait_s, pool=wait_s)
