"""`hone serve`: one process that listens, opens the model beside that, and leaves as it came.

It listens first: whoever started it knows within a second that it is there, and a request waits for the model only. It
does not know how a model is opened; that is given to it.
"""

import asyncio
import contextlib
import logging
import os
import secrets
import shutil
import signal
import socket
import stat
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import psutil
import uvicorn
from filelock import FileLock, Timeout

from assistant import __version__, logs, runtime
from assistant.bounds import ServerOptions
from assistant.config import Settings
from assistant.errors import DaemonError, HoneError, SettingError
from assistant.metrics import Metrics
from assistant.runtime import Endpoint
from assistant.server import create_app, uvicorn_config
from assistant.types import (
    Caller,
    CompletionRequest,
    CompletionResult,
    EditRequest,
    EditResult,
    Load,
    ModelInfo,
    OnDraft,
    OnFinished,
    Serving,
)

GRACE_S = 2
"""How long running requests may go on once the daemon is to end."""
CLOSE_S = 5.0
"""How long the model may take to stop after that."""
TIDY_S = 30.0
LARGEST_LOG = 8 * 2**20


log = logging.getLogger("hone.serve")


class Closable(Serving, Protocol):
    """A ``Serving`` with a thread of its own: ``assistant.worker.Worker``."""

    def start(self) -> None: ...
    def close(self) -> None: ...


OpenServing = Callable[[OnFinished], Closable]
"""Builds what answers; may take as long as importing torch does."""


def serve(settings: Settings, open_serving: OpenServing, *, any_port: bool = False) -> bool:
    """Runs until it is told to end: by a signal, by ``/v1/hone/shutdown``, or because nobody asks any more.

    False when the model is in the middle of something that cannot be interrupted: the process must leave without it.

    Raises:
        SettingError: it would let strangers in.
        DaemonError: one runs already, or the port or socket is taken.
        ModelError: the model cannot be opened.
    """
    check_closed(settings)
    folder = runtime.private_folder(runtime.runtime_folder())
    with _only_one(folder), _listener(settings, any_port=any_port) as sock, _log(settings):
        loop = asyncio.new_event_loop()
        closed = loop.run_until_complete(_run(settings, sock, open_serving))
        loop.close()  # unlike asyncio.run, this does not wait for threads
    return closed


@contextlib.contextmanager
def _log(settings: Settings) -> Iterator[None]:
    """To stderr, which is the log file where a front end has started it."""
    handler = logs.install(log_code=settings.log_code)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # what it has to say of starting and ending, we say
    try:
        yield
    finally:
        logs.uninstall(handler)


def check_closed(settings: Settings) -> None:
    """Raises:
    SettingError: others could reach the daemon, and no token keeps them out.
    """
    if settings.token is None and settings.socket is None and not runtime.is_loopback(settings.host):
        raise SettingError(
            f"--host {settings.host} can be reached from other machines, so it needs --token TEXT (or HONE_TOKEN), "
            "which every client must then send; `openssl rand -hex 16` makes one"
        )


# The one that runs.


@contextlib.contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Holds the lock of the running daemon, which the system lets go of however the process ends."""
    lock = FileLock(folder / "daemon.lock", mode=0o600)
    try:
        lock.acquire(timeout=1.0)
    except Timeout:
        seen = runtime.look()
        who = f"process {seen.endpoint.pid} at {seen.endpoint.address}" if seen.endpoint else "it is just starting"
        raise DaemonError(f"a daemon runs already ({who}); `hone serve stop` ends it") from None
    except OSError as error:
        raise DaemonError(f"{folder} cannot be written to: {error.strerror}; set HONE_RUNTIME_DIR") from error
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _listener(settings: Settings, *, any_port: bool) -> Iterator[socket.socket]:
    if settings.socket is None:
        with _port(settings.host, settings.port, any_port=any_port) as sock:
            yield sock
        return
    path = settings.socket.absolute()
    with _unix_socket(path) as sock:
        mine = path.lstat().st_ino
        try:
            yield sock
        finally:
            with contextlib.suppress(OSError):
                if path.lstat().st_ino == mine:
                    path.unlink()


def _port(host: str, port: int, *, any_port: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        # On Windows the first option would let two processes share a port, the second keeps others off it.
        option = getattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_REUSEADDR)
        sock.setsockopt(socket.SOL_SOCKET, option, 1)
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        if any_port and port:
            return _port(host, 0, any_port=False)
        raise DaemonError(
            f"port {port} of {host} cannot be had: {error.strerror}; choose another with --port, or 0 for a free one"
        ) from error
    return sock


def _unix_socket(path: Path) -> socket.socket:
    if not hasattr(socket, "AF_UNIX"):
        raise SettingError(f"--socket {path} cannot be: this system has no Unix sockets; use --port")
    _remove_dead_socket(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        sock.bind(str(path))
    except OSError as error:
        sock.close()
        raise DaemonError(f"--socket {path} cannot be had: {error.strerror or error}; choose another path") from error
    finally:
        os.umask(before)
    return sock


def _remove_dead_socket(path: Path) -> None:
    """Takes away a socket at which nobody listens any more; anything else is left, and then binding fails."""
    with contextlib.suppress(OSError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(1.0)
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                path.unlink()


async def _run(settings: Settings, sock: socket.socket, open_serving: OpenServing) -> bool:
    daemon = _Daemon(settings, sock)
    opening = asyncio.create_task(daemon.open(open_serving))
    tidying = asyncio.create_task(daemon.tidy())
    try:
        await daemon.server.serve(sockets=[sock])
    finally:
        opened = opening.done()
        opening.cancel()
        tidying.cancel()
        await asyncio.gather(opening, tidying, return_exceptions=True)
        runtime.remove(daemon.endpoint)
    closed = daemon.attendant.close() and opened
    if daemon.failure is not None:
        raise daemon.failure
    return closed


class _Daemon:
    def __init__(self, settings: Settings, sock: socket.socket) -> None:
        self.settings = settings
        self.failure: Exception | None = None
        self.endpoint = _endpoint(settings, sock)
        self.metrics = Metrics()
        self.attendant = Attendant()
        options = ServerOptions(
            version=__version__,
            token=settings.token,
            admin_token=self.endpoint.token,
            allowed_hosts=settings.allow_host,
            allowed_origins=settings.allow_origin,
            log_code=settings.log_code,
        )
        app = create_app(self.attendant, options, metrics=self.metrics, on_shutdown=self.end)
        config = uvicorn_config(
            app, host=self.endpoint.host, port=self.endpoint.port, uds=self.endpoint.socket, options=options
        )
        config.timeout_graceful_shutdown = GRACE_S
        self.server = _Server(config, self.listening, self.leaving)

    def listening(self) -> None:
        runtime.write(self.endpoint)
        _say(f"version {__version__} listens at {self.endpoint.address} (process {self.endpoint.pid})")

    def leaving(self) -> None:
        """Nobody who looks from now on shall come."""
        runtime.remove(self.endpoint)
        _say("ends")

    def end(self) -> None:
        self.server.should_exit = True

    async def open(self, open_serving: OpenServing) -> None:
        started = time.monotonic()
        try:
            info = await self.attendant.open(lambda: open_serving(self.metrics.finished))
        except Exception as error:  # noqa: BLE001 (raised again at the end, for whoever waits for the start)
            self.failure = error
            self.end()
            return
        self.endpoint = replace(self.endpoint, ready=True)
        if self.server.started and not self.server.should_exit:
            runtime.write(self.endpoint)
        _say(f"{info.name} is open on {info.device} after {time.monotonic() - started:.1f} s")

    async def tidy(self) -> None:
        """Ends the daemon when nobody asks any more; keeps its file, and its log short."""
        tidied = time.monotonic()
        while True:
            await asyncio.sleep(min(1.0, (self.settings.exit_idle or 4.0) / 4))
            idle = self.attendant.idle_s()
            if self.settings.exit_idle is not None and idle > self.settings.exit_idle:
                _say(f"nobody has asked for {idle:.0f} s")
                self.end()
            if time.monotonic() - tidied > TIDY_S and self.server.started and not self.server.should_exit:
                tidied = time.monotonic()
                with contextlib.suppress(HoneError, OSError):
                    self.keep_found()
                    shorten(runtime.log_file())

    def keep_found(self) -> None:
        """Writes the runtime file again: cleaners of temporary folders take old files away, and the clock by which a
        process is recognised may have been set.
        """
        seen = runtime.look()
        if seen.state == "running" and seen.endpoint is not None and seen.endpoint.pid != self.endpoint.pid:
            _say(f"process {seen.endpoint.pid} has taken the place of this one")
            self.end()
            return
        runtime.write(replace(self.endpoint, started=psutil.Process().create_time()))
        (runtime.runtime_folder() / "daemon.lock").touch(0o600)


def _endpoint(settings: Settings, sock: socket.socket) -> Endpoint:
    unix = settings.socket is not None
    return Endpoint(
        version=__version__,
        pid=os.getpid(),
        started=psutil.Process().create_time(),
        token=secrets.token_urlsafe(32),
        host="" if unix else settings.host,
        port=0 if unix else sock.getsockname()[1],
        socket=str(settings.socket.absolute()) if settings.socket is not None else None,
        model=runtime.model_name(settings),
        edit_model=runtime.edit_model_name(settings),
        device=settings.device,
        dtype=settings.dtype,
        quantize=settings.quantize,
    )


def shorten(log: Path) -> None:
    """Begins the log anew when it is long and this process writes to it; the old one stays beside it."""
    if sys.stderr is None or not log.exists():
        return
    status = os.fstat(2)
    if os.path.samestat(status, log.stat()) and status.st_size > LARGEST_LOG:
        old = log.with_suffix(".log.1")
        old.unlink(missing_ok=True)
        old.touch(mode=0o600)  # as the log itself: with --log-code there is code in it
        shutil.copyfile(log, old)
        os.truncate(log, 0)  # it is open for appending, so that the next line is the first


def _say(message: str) -> None:
    if sys.stderr is not None and sys.stderr.isatty():
        print(f"hone serve: {message}", file=sys.stderr, flush=True)  # noqa: T201 (to whoever has started it by hand)
    else:
        log.info(message)


class _Server(uvicorn.Server):
    """Tells when it listens and when it leaves; a signal ends it in peace."""

    def __init__(self, config: uvicorn.Config, listening: Callable[[], None], leaving: Callable[[], None]) -> None:
        super().__init__(config)
        self._listening = listening
        self._leaving = leaving

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._listening()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._leaving()
        await super().shutdown(sockets=sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn does, without raising the signal again at the end: to be told to end is no failure."""
        before = {one: signal.signal(one, self.handle_exit) for one in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)


# Answering before there is anybody who could.


class Attendant:
    """``Serving`` from the first moment: requests wait until what really answers is there, the newest one of each
    document. Knows when it was idle."""

    def __init__(self) -> None:
        self._serving: asyncio.Future[Closable] = asyncio.get_running_loop().create_future()
        self._waiting: dict[asyncio.Future[str], Caller] = {}
        """Completions that wait, by what stops them: a reason."""
        self._active = 0
        self._last = time.monotonic()

    async def open(self, build: Callable[[], Closable]) -> ModelInfo:
        """Builds and starts it on a thread of its own, which does not keep the process from ending; opens its model."""
        loop = asyncio.get_running_loop()

        def settle(found: Closable | None, error: Exception | None) -> None:
            if error is not None:
                self._serving.set_exception(error)
            elif found is not None:
                self._serving.set_result(found)

        def work() -> None:
            try:
                found = build()
                found.start()
            except Exception as error:  # noqa: BLE001 (everybody who waits gets it)
                outcome: tuple[Closable | None, Exception | None] = (None, error)
            else:
                outcome = (found, None)
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(settle, *outcome)

        threading.Thread(target=work, name="open", daemon=True).start()
        async with self._asked() as serving:
            return await serving.info()

    def close(self) -> bool:
        """Whether it has stopped, or never began."""
        if not self._serving.done():
            return False
        if self._serving.cancelled() or self._serving.exception() is not None:
            return True
        thread = threading.Thread(target=self._serving.result().close, name="close", daemon=True)
        thread.start()
        thread.join(CLOSE_S)
        return not thread.is_alive()

    def idle_s(self) -> float:
        return 0.0 if self._active else time.monotonic() - self._last

    async def complete(
        self,
        request: CompletionRequest,
        caller: Caller = Caller(),  # noqa: B008 (frozen)
        *,
        on_step: OnDraft | None = None,
    ) -> CompletionResult:
        with self._active_now():
            if not self._serving.done() and (reason := await self._stopped(caller)):
                return CompletionResult((), steps=0, passes=0, reason=reason)
            return await (await asyncio.shield(self._serving)).complete(request, caller, on_step=on_step)

    async def edit(
        self,
        request: EditRequest,
        caller: Caller = Caller(),  # noqa: B008 (frozen)
    ) -> EditResult:
        async with self._asked() as serving:
            return await serving.edit(request, caller)

    def cancel(self, client: str, request: str) -> bool:
        if self._is_there():
            return self._serving.result().cancel(client, request)
        return self._stop(lambda caller: (caller.client, caller.request) == (client, request), "cancelled")

    async def tokenize(self, text: str) -> list[int]:
        async with self._asked() as serving:
            return await serving.tokenize(text)

    async def detokenize(self, tokens: list[int]) -> str:
        async with self._asked() as serving:
            return await serving.detokenize(tokens)

    async def pieces(self, tokens: list[int]) -> list[bytes]:
        async with self._asked() as serving:
            return await serving.pieces(tokens)

    async def info(self) -> ModelInfo:
        return await (await asyncio.shield(self._serving)).info()

    def load(self) -> Load:
        if not self._is_there():
            return Load(waiting=self._active, running=0, cached_bytes=0, loaded=False, batch_width=0.0)
        return self._serving.result().load()

    @contextlib.asynccontextmanager
    async def _asked(self) -> AsyncIterator[Closable]:
        with self._active_now():
            yield await asyncio.shield(self._serving)  # one who goes away does not take it from the others

    @contextlib.contextmanager
    def _active_now(self) -> Iterator[None]:
        self._active += 1
        try:
            yield
        finally:
            self._active -= 1
            self._last = time.monotonic()

    async def _stopped(self, caller: Caller) -> str | None:
        """Waits until somebody is there to answer; gives the reason where that is no longer wanted before."""
        if caller.document is not None:
            same = (caller.client, caller.document)
            self._stop(lambda other: (other.client, other.document) == same, "superseded")
        stop = asyncio.get_running_loop().create_future()
        self._waiting[stop] = caller
        try:
            await asyncio.wait((self._serving, stop), return_when=asyncio.FIRST_COMPLETED)
            return stop.result() if stop.done() else None
        finally:
            del self._waiting[stop]

    def _stop(self, wanted: Callable[[Caller], bool], reason: str) -> bool:
        found = [stop for stop, caller in self._waiting.items() if wanted(caller) and not stop.done()]
        for stop in found:
            stop.set_result(reason)
        return bool(found)

    def _is_there(self) -> bool:
        return self._serving.done() and not self._serving.cancelled() and self._serving.exception() is None
