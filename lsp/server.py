"""create_server: the language server from its parts; and running it over standard input and output, or TCP."""

import asyncio
import contextlib
import functools
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO

from lsprotocol import types
from pygls.io_ import StdinAsyncReader, StdoutWriter

from assistant.config import Settings
from assistant.errors import RequestError
from assistant.runtime import is_loopback
from assistant.statistics import Statistics
from lsp import features
from lsp.actions import ACTIONS
from lsp.connection import Connection
from lsp.framing import LONGEST_LINE, Socket, Stream, bodies
from lsp.protocol import DID_ACCEPT_PART, DID_FOCUS, DID_SHOW, DID_SHOW_EDIT, INLINE_EDIT, log
from lsp.session import Edits, Session
from lsp.suggest import Complete, Counting
from lsp.workspace import register

EDITOR_S = 5.0
"""How often it is looked whether the editor still is there."""
TRIGGERS = [".", "(", "[", "{", "=", ",", ":", " "]
"""Characters at which a menu of completions is asked for."""


def create_server(
    complete: Complete,
    open_daemon: Callable[[], Awaitable[tuple[str, ...]]] | None = None,
    statistics: Counting | None = None,
    edit: Edits | None = None,
) -> Session:
    """``open_daemon`` is awaited in the background once the client is there: the first request need not wait for it."""
    session = Session(complete, statistics, edit)
    session.open_daemon = open_daemon or session.open_daemon
    session.feature(types.INITIALIZE)(functools.partial(_initialize, session))
    session.feature(types.INITIALIZED)(functools.partial(_initialized, session))
    session.feature(types.WORKSPACE_DID_CHANGE_CONFIGURATION)(functools.partial(_configured, session))
    session.feature(types.TEXT_DOCUMENT_INLINE_COMPLETION, types.InlineCompletionOptions())(
        _bound(features.inline_completion, session)
    )
    kinds = sorted({action.kind for action in ACTIONS})
    session.feature(
        types.TEXT_DOCUMENT_CODE_ACTION, types.CodeActionOptions(code_action_kinds=list(kinds), resolve_provider=True)
    )(_bound(features.code_action, session))
    session.feature(types.CODE_ACTION_RESOLVE)(_bound(features.resolve_code_action, session))
    for method, feature in (
        (DID_FOCUS, features.focused),
        (DID_SHOW, features.shown),
        (DID_SHOW_EDIT, features.shown),
        (DID_ACCEPT_PART, features.partially_accepted),
    ):
        session.feature(method)(functools.partial(feature, session))
    session.feature(INLINE_EDIT)(_bound(features.inline_edit, session))
    register(session)
    session.command(features.ACCEPTED)(functools.partial(features.accepted, session))
    session.command(features.RUN)(_bound(features.run_action, session))
    session.command(features.TASKS)(_bound(features.known_tasks, session))
    return session


def _bound(feature: Callable[..., Awaitable[Any]], session: Session) -> Callable[..., Awaitable[Any]]:
    async def bound(*arguments: Any) -> Any:
        return await feature(session, *arguments)

    return bound


def _initialize(session: Session, params: types.InitializeParams) -> None:
    if params.process_id is not None and is_alive(params.process_id):  # else it is a number of another machine's
        session.spawn(_outlived(session, params.process_id))
    session.documents.encoding = str(session.workspace.position_encoding)
    session.complaints = session.start_options(params.initialization_options)
    told = params.capabilities.experimental
    if isinstance(told, dict) and told.get("didChangeStatus"):
        session.speaks_beyond()
    session.wants_tasks = isinstance(told, dict) and bool(told.get("honeTasks"))
    documents = params.capabilities.text_document
    has_inline = documents is not None and documents.inline_completion is not None
    if session.options.completion == "on" or (session.options.completion == "auto" and not has_inline):
        session.feature(types.TEXT_DOCUMENT_COMPLETION, types.CompletionOptions(trigger_characters=TRIGGERS))(
            _bound(features.completion, session)
        )


async def _initialized(session: Session, _: Any) -> None:
    for complaint in session.complaints:
        session.tell(complaint)
    session.spawn(session.fetch_options())
    session.spawn(session.context.start())
    session.learn_tasks()


async def _outlived(session: Session, editor: int) -> None:
    """Ends with the editor's process, whoever else keeps our standard input open."""
    while True:
        await asyncio.sleep(EDITOR_S)
        if not is_alive(editor):
            break
    log.warning("the editor's process has ended")
    if session.protocol.on_exit is not None:
        session.protocol.on_exit(1)


def is_alive(process: int) -> bool:
    if os.name != "posix":
        import psutil  # noqa: PLC0415 (not before the first answer, where there is another way)

        return psutil.pid_exists(process)
    try:
        os.kill(process, 0)
    except PermissionError:  # it is somebody else's
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return process > 0


async def _configured(session: Session, params: types.DidChangeConfigurationParams) -> None:
    await session.fetch_options(params.settings)


# Running it.


def serve(settings: Settings, tcp: str | None = None, *, reread: Callable[[], Settings] | None = None) -> int:
    """Until the client leaves. ``reread``: the settings as they are by then, for when a daemon is looked for.

    Raises:
        RequestError: ``tcp`` is no address, or cannot be listened at.
    """
    # What pygls logs holds messages, and so the user's code.
    logging.getLogger("pygls").setLevel(logging.CRITICAL + 1)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    connection = Connection(settings, reread=reread)
    statistics = Statistics() if settings.statistics else None
    session = create_server(connection.complete, connection.open, statistics, connection.edit)
    connection.listener, connection.on_another = session.waiting, session.found_another
    session.context.always = settings.exclude
    if tcp is None:
        return serve_stdio(session, statistics)
    return serve_tcp(session, *_address(tcp), statistics)


def _address(tcp: str) -> tuple[str, int]:
    host, _, port = tcp.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise RequestError(f"--tcp must be HOST:PORT, not {tcp!r}")
    if not is_loopback(host.strip("[]")):
        raise RequestError(f"--tcp listens on loopback only, since whoever connects may read files: not at {host!r}")
    return host.strip("[]"), int(port)


def serve_stdio(session: Session, statistics: Statistics | None = None) -> int:
    """Until the client leaves, also while a daemon is being started."""
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # whoever prints must not break the protocol
    leave = session.protocol.on_exit = functools.partial(_leave, statistics=statistics)
    session.protocol.set_writer(_Sink(sink, leave))

    async def run() -> None:
        if os.name == "posix":  # some editors end their servers so
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, leave, 0)
        await _listen(session, StdinAsyncReader(source, ThreadPoolExecutor(1)))

    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        asyncio.run(run())
    leave(0)
    return 0


class _Sink(StdoutWriter):
    """Standard output, and the end once nobody reads it any more."""

    def __init__(self, sink: BinaryIO, leave: Callable[[int], None]) -> None:
        super().__init__(sink)
        self._leave = leave

    def write(self, data: bytes) -> None:
        try:
            super().write(data)
        except (BrokenPipeError, ConnectionError):
            self._leave(1)


def serve_tcp(session: Session, host: str, port: int, statistics: Statistics | None = None) -> int:
    """Until the one client that may connect leaves.

    Raises:
        RequestError: the address cannot be listened at.
    """
    leave = session.protocol.on_exit = functools.partial(_leave, statistics=statistics)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if session.protocol.writer is not None:  # its answers would go to the one that came later
            log.warning("a second client was sent away: there is a server of its own for each")
            writer.close()
            return
        session.protocol.set_writer(writer)
        await _listen(session, Socket(reader))
        leave(0)

    async def run() -> None:
        async with await asyncio.start_server(connected, host, port, limit=LONGEST_LINE) as server:
            await server.serve_forever()

    try:
        asyncio.run(run())
    except OSError as error:
        if statistics is not None:
            statistics.close()
        raise RequestError(f"--tcp {host}:{port}: {error.strerror or error}; choose another port") from error
    except KeyboardInterrupt:
        leave(0)
    return 0


async def _listen(session: Session, stream: Stream) -> None:
    async for body in bodies(stream):
        session.protocol.receive(body)


def _leave(code: int, *, statistics: Statistics | None = None) -> None:
    """Threads that read, or wait for a daemon, would hold the process."""
    if statistics is not None:
        statistics.close()
    sys.stderr.flush()
    os._exit(code)
