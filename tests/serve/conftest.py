"""An app over a real worker whose model knows the answer, in memory and on a real port."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from assistant.bounds import ServerOptions
from assistant.metrics import Metrics
from assistant.server import create_app, uvicorn_config
from assistant.worker import Limits, Worker
from infill.engine import Infiller
from tests.fakes import ScriptedDenoiser

PREFIX = "def add(a, b):\n    return "
ANSWER = "a + b"
SUFFIX = "\n"
TEXT = PREFIX + SUFFIX
ADMIN = "admin-token-of-the-tests"
OPTIONS = ServerOptions(version="1.2.3", admin_token=ADMIN)


@dataclass
class Served:
    """One app with all that it stands on."""

    app: FastAPI
    worker: Worker
    denoiser: ScriptedDenoiser
    metrics: Metrics
    options: ServerOptions
    shutdowns: list[float] = field(default_factory=list[float])
    """When a shutdown was asked for."""

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        """One request in memory, through every guard. Loopback and this client's own name unless told otherwise."""

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app, client=("127.0.0.1", 50_000))
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8077") as client:
                return await client.request(method, path, **more)

        return asyncio.run(ask())

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.request("GET", path, **more)

    def post(self, path: str, **more: Any) -> httpx.Response:
        return self.request("POST", path, **more)


Serve = Callable[..., Served]
"""serve(prefix, answer, options=..., limits=..., **of the denoiser): an app whose model knows the answer."""


@contextmanager
def serving(
    prefix: str = PREFIX,
    answer: str = ANSWER,
    *,
    options: ServerOptions = OPTIONS,
    limits: Limits = Limits(),  # noqa: B008 (frozen)
    **denoiser: Any,
) -> Iterator[Served]:
    scripted = ScriptedDenoiser(prefix, answer, **denoiser)
    metrics = Metrics()
    worker = Worker(lambda: Infiller(scripted), limits, on_finished=metrics.finished)
    worker.start()
    shutdowns: list[float] = []
    app = create_app(worker, options, metrics=metrics, on_shutdown=lambda: shutdowns.append(time.monotonic()))
    try:
        yield Served(app, worker, scripted, metrics, options, shutdowns)
    finally:
        worker.close()


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as stack:
        yield lambda *args, **more: stack.enter_context(serving(*args, **more))


@pytest.fixture
def served(serve: Serve) -> Served:
    """Knows that ``ANSWER`` follows ``PREFIX``."""
    return serve()


@pytest.fixture
def client(served: Served) -> Served:
    """``client.post("/v1/...", json=...)`` in memory: httpx over ASGI."""
    return served


@contextmanager
def listening(app: FastAPI, options: ServerOptions = OPTIONS, *, uds: str | None = None) -> Iterator[str]:
    """The app on a free loopback port, or a Unix socket, by uvicorn as it is in use; gives "http://127.0.0.1:PORT"."""
    sock = socket.socket(socket.AF_UNIX if uds else socket.AF_INET)
    try:
        sock.bind(uds or ("127.0.0.1", 0))
        port = 0 if uds else sock.getsockname()[1]
        server = uvicorn.Server(uvicorn_config(app, host="127.0.0.1", port=port, uds=uds, options=options))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + 10
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            assert time.monotonic() < deadline, "the server did not start in 10 seconds"
            time.sleep(0.005)
        try:
            yield "http://localhost" if uds else f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            thread.join(3)
            if thread.is_alive():
                server.force_exit = True
                thread.join(10)
            assert not thread.is_alive(), "the server did not end"
    finally:
        sock.close()


Listen = Callable[..., str]


@pytest.fixture
def listen(serve: Serve) -> Iterator[Listen]:
    """listen(served): that app on a real port, as its address; listen(): one that knows ``ANSWER``."""
    with ExitStack() as stack:

        def start(one: Served | None = None, **more: Any) -> str:
            one = one or serve()
            context: AbstractContextManager[str] = listening(one.app, one.options, **more)
            return stack.enter_context(context)

        yield start


@pytest.fixture
def url(listen: Listen, served: Served) -> str:
    """The address of ``served`` on a real port."""
    return listen(served)
