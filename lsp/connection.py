"""The daemon behind the language server: found or started in the background, looked for again when it has gone, by the
settings of then: `hone model use` may have been said in between.

Nothing here blocks the event loop, and nothing heavy is imported before it is needed. It knows nothing of the protocol;
who waits for what is told to a listener.
"""

import asyncio
import functools
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from assistant.config import Settings
from assistant.errors import DaemonError, SettingError
from assistant.types import Caller, CompletionRequest, CompletionResult, EditRequest, EditResult

if TYPE_CHECKING:
    from assistant.async_client import AsyncClient
    from assistant.runtime import Endpoint

log = logging.getLogger("hone.lsp")
PATIENCE_S = 0.4
"""What takes longer is told."""
SILENT_S = 5.0
"""Beyond its budget; a daemon that has answered before and then says nothing for so long hangs."""
REST_S = 20.0
"""A daemon that does not start is not started again at every key."""


class Listener(Protocol):
    def waiting(self, what: str) -> None:
        """For something that takes long; may be told several times."""
        ...

    def done(self) -> None: ...


class Connection:
    def __init__(
        self,
        settings: Settings,
        listener: Listener | None = None,
        *,
        reread: Callable[[], Settings] | None = None,
    ) -> None:
        """``reread``: the settings as they are by then; what cannot be read is as it was."""
        self._settings = settings
        self._reread = reread
        self.listener = listener
        self.on_another: Callable[[], None] = lambda: None
        """Told when a daemon was found that is not the one before; its model may be another, too."""
        self._last: tuple[int, float] | None = None
        """The process of the newest one."""
        self._client: AsyncClient | None = None
        self._opening: asyncio.Lock | None = None
        self._failure: DaemonError | None = None
        self._rest_until = 0.0
        self._is_locating = False
        self._has_answered = False
        """Whether the daemon that was found last has; before that it may still open its model."""

    async def complete(self, request: CompletionRequest, caller: Caller) -> CompletionResult:
        """As ``AsyncClient.complete``, but somebody who types does not wait a minute for a daemon that hangs.

        Raises:
            HoneError: as that; for a while after a start that failed, its reason again without a new attempt.
        """
        self._rested()
        client = await self._opened()
        asking = asyncio.ensure_future(client.complete(request, caller))
        wait_s = SILENT_S + (request.budget_ms or 0) / 1000
        try:
            while not (await asyncio.wait({asking}, timeout=wait_s))[0]:
                if self._has_answered and not self._is_locating:
                    raise DaemonError(f"the daemon has said nothing for {wait_s:.0f} s; `hone serve stop` ends it")
        finally:
            asking.cancel()
        self._has_answered = True
        return asking.result()

    async def edit(self, request: EditRequest, caller: Caller) -> EditResult:
        """As ``AsyncClient.edit``.

        Raises:
            HoneError: as that, and as ``complete``.
        """
        self._rested()
        client = await self._opened()
        return await client.edit(request, caller)

    async def open(self) -> tuple[str, ...]:
        """Finds or starts the daemon, for the first request not to wait for it; the tasks that its model can do.

        Raises:
            HoneError: it cannot be reached; with the reason.
        """
        self._rested()
        client = await self._opened()
        model = (await client.status()).get("model")
        return tuple(model.get("tasks", ())) if isinstance(model, dict) else ()

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    def _rested(self) -> None:
        if self._failure is not None and time.monotonic() < self._rest_until:
            raise self._failure

    async def _opened(self) -> "AsyncClient":
        if self._opening is None:
            self._opening = asyncio.Lock()
        async with self._opening:
            if self._client is None:
                client_class = await asyncio.to_thread(_import_client)
                locate = functools.partial(self._locate, asyncio.get_running_loop())
                self._client = client_class(locate)
            return self._client

    def _locate(self, loop: asyncio.AbstractEventLoop, *, replace: bool) -> "Endpoint":
        """On a thread of its own."""
        endpoint = self._located(loop, replace=replace)
        before, self._last = self._last, (endpoint.pid, endpoint.started)
        if before not in (None, self._last):
            loop.call_soon_threadsafe(self.on_another)
        return endpoint

    def _located(self, loop: asyncio.AbstractEventLoop, *, replace: bool) -> "Endpoint":
        from assistant import daemon, runtime  # noqa: PLC0415 (with the client, off the way of the first answer)

        if self._reread is not None:
            try:
                self._settings = self._reread()
            except SettingError as error:
                log.warning("the settings cannot be read any more: %s", error)
        if self._settings.daemon == "never":
            endpoint = runtime.find()
            if endpoint is None:
                raise DaemonError("no daemon runs, and the setting daemon = never starts none; run `hone serve`")
            return endpoint
        loop.call_soon_threadsafe(loop.call_later, PATIENCE_S, self._tell, "waiting for the daemon")

        def tell(what: str) -> None:
            loop.call_soon_threadsafe(self._tell, what)

        self._is_locating, self._has_answered = True, False
        try:
            endpoint = daemon.ensure(self._settings, replace=replace, tell=tell)
        except DaemonError as error:
            self._failure, self._rest_until = error, time.monotonic() + REST_S
            raise
        else:
            self._failure = None
            return endpoint
        finally:
            self._is_locating = False
            loop.call_soon_threadsafe(self._done)

    def _tell(self, what: str) -> None:
        if self.listener is not None and self._is_locating:
            self.listener.waiting(what)

    def _done(self) -> None:
        if self.listener is not None:
            self.listener.done()


def _import_client() -> "type[AsyncClient]":
    from assistant.async_client import AsyncClient  # noqa: PLC0415 (httpx is a tenth of a second)

    return AsyncClient
