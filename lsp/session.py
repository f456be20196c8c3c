"""What one language server knows: its client, the open documents, the options, what was told and accepted."""

import asyncio
import uuid
from collections import OrderedDict, deque
from collections.abc import Coroutine
from typing import Any

from lsprotocol import types
from pygls.exceptions import PyglsError
from pygls.lsp.server import LanguageServer

from assistant import __version__
from lsp.documents import Document, Documents
from lsp.options import SECTION, Options, read_options
from lsp.protocol import Protocol, log
from lsp.suggest import Complete, Suggester

REMEMBERED = 256
"""Suggestions by their name, for when they are accepted."""


class Session(LanguageServer):
    protocol: Protocol

    def __init__(self, complete: Complete) -> None:
        super().__init__("hone", __version__, types.TextDocumentSyncKind.Incremental, protocol_cls=Protocol)
        self.complete = complete
        self.options = Options()
        self.suggester = Suggester(complete, lambda: self.options, self.documents.is_current, self.note)
        self.waiting = Waiting(self)
        self.shown: OrderedDict[str, str] = OrderedDict()
        """Name of a suggestion -> key of its document."""
        self.accepted: deque[str] = deque(maxlen=REMEMBERED)
        """Names of suggestions, in the order of their acceptance."""
        self.complaints: list[str] = []
        """About the options, until they can be told."""
        self._told: set[str] = set()
        self._initial: object = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self.protocol.on_change = self._changed

    @property
    def documents(self) -> Documents:
        return self.protocol.documents

    def _changed(self, key: str) -> None:
        self.suggester.changed(key, self.documents.get(key))

    def report_server_error(self, error: Exception, source: Any) -> None:
        """pygls would put it on the screen, with whatever the message held."""
        log.error("%s: %s", getattr(source, "__name__", source), type(error).__name__)

    # Telling.

    def note(self, message: str) -> None:
        """Into the client's log, once."""
        if message not in self._told:
            self._told.add(message)
            self.window_log_message(types.LogMessageParams(types.MessageType.Info, message))

    def tell(self, message: str, kind: types.MessageType = types.MessageType.Warning) -> None:
        """On the screen, once."""
        if message not in self._told:
            self._told.add(message)
            self.window_show_message(types.ShowMessageParams(kind, f"Hone: {message}"))

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """In the background, with a reference, so that it is not collected."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # Options.

    def start_options(self, initial: object) -> list[str]:
        self._initial = initial
        self.options, complaints = read_options(("initializationOptions", initial))
        return complaints

    async def fetch_options(self, pushed: object = None) -> None:
        """From the client where it can be asked, else what it sent along."""
        values, path = pushed, "settings"
        workspace = self.client_capabilities.workspace
        if workspace is not None and workspace.configuration:
            items = [types.ConfigurationItem(section=SECTION)]
            try:
                answer = await self.workspace_configuration_async(types.ConfigurationParams(items))
            except PyglsError as error:
                log.warning("the client does not tell its configuration: %s", type(error).__name__)
            else:
                values, path = (answer[0] if answer else None), SECTION
        self.options, complaints = read_options(("initializationOptions", self._initial), (path, values))
        for complaint in complaints:
            self.tell(complaint)

    # Acceptance.

    def show(self, document: Document) -> str:
        """A name for a suggestion."""
        name = uuid.uuid4().hex
        self.shown[name] = document.key
        while len(self.shown) > REMEMBERED:
            self.shown.popitem(last=False)
        return name

    def accept(self, name: object) -> bool:
        """Whether there was a suggestion of this name; each counts once."""
        if not isinstance(name, str) or self.shown.pop(name, None) is None:
            return False
        self.accepted.append(name)
        return True


class Waiting:
    """Says what is waited for: as progress where the client shows that, else in its log."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._news: asyncio.Queue[str | None] | None = None
        """What is waited for, None when that is over; no queue while nothing is shown."""

    def waiting(self, what: str) -> None:
        window = self._session.client_capabilities.window
        if window is None or not window.work_done_progress:
            self._session.note(f"{what}, which may take a few seconds")
        elif self._news is not None:
            self._news.put_nowait(what)
        else:
            self._news = asyncio.Queue()
            self._session.spawn(self._show(what, self._news))

    def done(self) -> None:
        if self._news is not None:
            self._news.put_nowait(None)
            self._news = None

    async def _show(self, what: str, news: "asyncio.Queue[str | None]") -> None:
        progress, token = self._session.work_done_progress, f"hone-{uuid.uuid4().hex}"
        try:
            await progress.create_async(token)
        except PyglsError as error:
            log.warning("the client shows no progress: %s", type(error).__name__)
            return
        progress.begin(token, types.WorkDoneProgressBegin(title="Hone", message=what))
        while (more := await news.get()) is not None:
            progress.report(token, types.WorkDoneProgressReport(message=more))
        progress.end(token, types.WorkDoneProgressEnd(message="ready"))
