"""The HTTP server, put together: routers, guards, error answers. It knows no protocol and no model."""

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec

import uvicorn
from fastapi import FastAPI

from assistant import api
from assistant.bounds import Bounded, ServerOptions
from assistant.metrics import Metrics
from assistant.types import Serving

__all__ = ["ServerOptions", "create_app", "uvicorn_config"]
PROTOCOLS = ("llamacpp", "openai", "mistral", "inception", "ollama", "tabby")


def create_app(
    serving: Serving,
    options: ServerOptions,
    *,
    metrics: Metrics | None = None,
    on_shutdown: Callable[[], None] | None = None,
) -> FastAPI:
    app = FastAPI(title="Hone", version=options.version, docs_url=None, redoc_url=None, strict_content_type=False)
    app.state.serving = Bounded(serving, options)
    app.state.options = options
    app.state.metrics = metrics or Metrics()
    app.state.on_shutdown = on_shutdown
    app.include_router(api.router)
    for name in PROTOCOLS:
        if find_spec(f"assistant.protocols.{name}"):
            app.include_router(import_module(f"assistant.protocols.{name}").router)
    return app


def uvicorn_config(app: FastAPI, *, host: str, port: int, uds: str | None, options: ServerOptions) -> uvicorn.Config:
    """How the app is served: ``uvicorn.Server(uvicorn_config(...)).run()``."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        uds=uds,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=options.max_connections,
        h11_max_incomplete_event_size=2 * options.max_header_bytes,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=3,
    )
