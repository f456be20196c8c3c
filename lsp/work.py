"""An action at work: the model asked, progress shown, stopped where the user stops it."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Self

from lsprotocol import types

from assistant.types import CompletionRequest, CompletionResult, EditRequest, EditResult
from lsp.protocol import REFUSED, log
from lsp.session import Session

PATIENCE_S = 0.5
"""What takes longer is shown."""
START_S = 15.0
"""So long an action waits for a daemon that starts."""


class Work:
    """``async with Work(...)``. ``token``: the client's, where it gave one; else one is made for what takes long."""

    def __init__(
        self,
        session: Session,
        title: str,
        ask: Callable[[CompletionRequest], Awaitable[CompletionResult]],
        edit: Callable[[EditRequest], Awaitable[EditResult]],
        token: str | int | None = None,
    ) -> None:
        self._session, self._title, self._token = session, title, token
        self._ask, self._edit = ask, edit
        self._message = ""
        self._share: float | None = None
        self._is_shown = False
        self._showing: asyncio.Task[None] | None = None

    async def tasks(self) -> tuple[str, ...]:
        """As ``lsp.actions.Work``."""
        return await self._session.known_tasks(START_S)

    async def ask(self, request: CompletionRequest, /) -> CompletionResult:
        """As ``lsp.actions.Work``."""
        return await self._ask(request)

    async def edit(self, request: EditRequest, /) -> EditResult:
        """As ``lsp.actions.Work``."""
        return await self._edit(request)

    def report(self, message: str, share: float | None = None) -> None:
        """What is done at the moment, and how much of all is behind."""
        self._message, self._share = message, share
        if self._is_shown and self._token is not None:
            self._session.work_done_progress.report(
                self._token, types.WorkDoneProgressReport(message=message, percentage=_percentage(share))
            )

    async def __aenter__(self) -> Self:
        worker = asyncio.current_task()
        assert worker is not None, "work is done in a task"
        if self._token is not None:
            self._begin(worker)
        else:
            self._showing = asyncio.ensure_future(self._show(worker))
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._showing is not None:
            self._showing.cancel()
        if self._is_shown and self._token is not None:
            self._session.work_done_progress.end(self._token, types.WorkDoneProgressEnd())

    async def _show(self, worker: "asyncio.Task[Any]") -> None:
        window = self._session.client_capabilities.window
        if window is None or not window.work_done_progress:
            return
        await asyncio.sleep(PATIENCE_S)
        token = f"hone-{uuid.uuid4().hex}"
        try:
            await self._session.work_done_progress.create_async(token)
        except REFUSED as error:
            log.warning("the client shows no progress: %s", type(error).__name__)
            return
        self._token = token
        self._begin(worker)

    def _begin(self, worker: "asyncio.Task[Any]") -> None:
        progress = self._session.work_done_progress
        assert self._token is not None
        progress.begin(
            self._token,
            types.WorkDoneProgressBegin(
                title=f"Hone: {self._title}",
                cancellable=True,
                message=self._message or None,
                percentage=_percentage(self._share),
            ),
        )
        self._is_shown = True
        loop = asyncio.get_running_loop()
        stopped = progress.tokens[self._token]
        stopped.add_done_callback(lambda done: loop.call_soon_threadsafe(worker.cancel) if done.cancelled() else None)


def _percentage(share: float | None) -> int | None:
    return None if share is None else round(100 * min(max(share, 0.0), 1.0))
