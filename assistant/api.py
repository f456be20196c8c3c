"""Hone's own API: completions, their steps as server-sent events, cancelling, and what an admin may ask.

``caller_of`` and ``until_disconnect`` serve every other protocol too.
"""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from fastapi import APIRouter, Request
from starlette.requests import ClientDisconnect

from assistant.types import Caller

router = APIRouter()
T = TypeVar("T")


def caller_of(request: Request, document: str | None = None, *, batch: bool = False) -> Caller:
    """Who asks: the name in ``X-Hone-Client``, else the user agent and its host."""
    host = request.client.host if request.client else ""
    name = request.headers.get("x-hone-client") or f"{request.headers.get('user-agent', '')} {host}"
    return Caller(name.strip()[:200], document, batch)


async def until_disconnect(request: Request, work: Awaitable[T]) -> T:
    """The outcome of ``work``, which is cancelled when the client goes away. The request's body has been read.

    Raises:
        ClientDisconnect: the client went away; nobody reads the answer.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.create_task(_disconnect(request))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        gone.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait((task,))


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
