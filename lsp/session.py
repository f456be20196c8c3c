"""What one language server knows: its client, the open documents, the options, what was told and accepted."""

import asyncio
import contextlib
import contextvars
import uuid
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar
from typing import Protocol as Seam

from lsprotocol import types
from pygls.lsp.server import LanguageServer

from assistant import __version__
from assistant.errors import DaemonError, HoneError, RequestError
from assistant.types import Caller, EditRequest, EditResult
from lsp.documents import Document, Documents
from lsp.history import Change, History, Span
from lsp.kept import Kept
from lsp.notebook import Notebooks, Whole
from lsp.options import SECTION, Options, read_options
from lsp.protocol import DID_CHANGE_STATUS, REFUSED, TASKS_CHANGED, Protocol, log
from lsp.suggest import Complete, Counting, Suggester, Uncounted
from lsp.window import Windows
from lsp.workspace import Workspace

if TYPE_CHECKING:
    from assistant.nextedit import Proposal

T = TypeVar("T")
REMEMBERED = 256
"""Suggestions by their name, for when they are accepted."""


class Edits(Seam):
    """``assistant.async_client.AsyncClient.edit``, or one that knows the answers."""

    def __call__(self, request: EditRequest, caller: Caller) -> Awaitable[EditResult]: ...


async def _no_daemon() -> tuple[str, ...]:
    return ()


async def _nobody_edits(request: EditRequest, caller: Caller) -> EditResult:
    del request, caller
    raise RequestError("this server has no model that edits")


class Session(LanguageServer):
    protocol: Protocol

    def __init__(self, complete: Complete, statistics: Counting | None = None, edit: Edits | None = None) -> None:
        super().__init__(
            "hone",
            __version__,
            types.TextDocumentSyncKind.Incremental,
            types.NotebookDocumentSyncOptions([types.NotebookDocumentFilterWithNotebook("*")]),
            protocol_cls=Protocol,
        )
        self.complete = complete
        self.edit = edit or _nobody_edits
        self.open_daemon: Callable[[], Awaitable[tuple[str, ...]]] = _no_daemon
        self.tasks: tuple[str, ...] | None = None
        """What the model can be asked to do to a block; None until that is known."""
        self.wants_tasks = False
        """Whether the client wants to be told when they are others."""
        self._opening: asyncio.Future[tuple[str, ...]] | None = None
        self.options = Options()
        self.statistics = Switched(statistics or Uncounted(), lambda: self.options.statistics)
        self.histories: dict[str, History] = {}
        """By the keys of open documents."""
        self.context = Workspace(self)
        self.windows = Windows()
        self.suggester = Suggester(
            complete,
            lambda: self.options,
            self.documents.is_current,
            self.note,
            self._deleting,
            self.statistics,
            around=self.context,
            windows=self.windows,
        )
        self.kept = Kept(self.documents.get, self.statistics.count)
        self.waiting = Waiting(self)
        self.indexing = Waiting(self)
        self.shown: OrderedDict[str, Offer] = OrderedDict()
        """By their names."""
        self._client_tells = False
        """Whether the client says what it shows."""
        self.accepted: deque[str] = deque(maxlen=REMEMBERED)
        """Names of suggestions, in the order of their acceptance."""
        self.complaints: list[str] = []
        """About the options, until they can be told."""
        self.trouble = ""
        """Why the model cannot be asked; "" where it can."""
        self._running = 0
        self._speaks_beyond = False
        self._status: dict[str, Any] = {}
        self._thinker = ThreadPoolExecutor(1, "thinker")
        self._told: set[str] = set()
        self._initial: object = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self.protocol.on_change = self._changed

    @property
    def documents(self) -> Documents:
        return self.protocol.documents

    @property
    def notebooks(self) -> Notebooks:
        return self.protocol.notebooks

    def _changed(self, key: str, changes: tuple[Change, ...] | None) -> None:
        document = self.documents.get(key)
        if document is None or changes is None:
            self.histories.pop(key, None)
            self.kept.forget(key)
            self.windows.forget(key)
        else:
            self.windows.changed(key, changes)
            self.histories.setdefault(key, History()).add(changes, document.text)
            self.kept.changed(key, changes)
        if document is not None and self.windows.wants(document, changes or ()):
            self.spawn(self.windows.learn(document))
        self.context.changed(key, document)
        self.suggester.changed(key, document)

    def _deleting(self, document: Document, at: int) -> bool:
        history = self.histories.get(document.key)
        return history is not None and history.deleting(document.text, at)

    def edits(self, document: Document) -> tuple[Span, ...]:
        """What was changed lately in a document that is current."""
        history = self.histories.get(document.key)
        return () if history is None or not self.documents.is_current(document) else history.spans

    def edits_of(self, whole: Whole) -> tuple[Span, ...]:
        """The same in all cells of a notebook, in the order of their text."""
        moved = (
            replace(one, start=one.start + at, end=one.end + at)
            for document, at in whole.pieces
            for one in self.edits(document)
        )
        return tuple(sorted(moved, key=lambda one: one.start))

    async def known_tasks(self, patience_s: float | None = None) -> tuple[str, ...]:
        """``tasks``, as soon as the daemon is there.

        Raises:
            HoneError: the daemon cannot be reached, or is not there within the time.
        """
        if self.tasks is None:
            if self._opening is None or self._opening.done():
                self._opening = asyncio.ensure_future(self.open_daemon())
            opening = self._opening
            await asyncio.wait({opening}, timeout=patience_s)
            if not opening.done():
                raise DaemonError("Hone is still starting; try again in a few seconds")
            found = opening.result()
            if self._opening is not opening:  # they are another daemon's by now
                return found
            self.tasks = found
        return self.tasks

    def learn_tasks(self) -> None:
        self.spawn(self._learn_tasks())

    async def _learn_tasks(self) -> None:
        try:
            tasks = await self.known_tasks()
        except HoneError as error:
            self.tell(str(error), types.MessageType.Error)
        except Exception:  # noqa: BLE001 (the edge: nobody awaits this)
            log.exception("the daemon could not be opened")
            self.tell("the daemon could not be reached; `hone doctor` says what is missing", types.MessageType.Error)
        else:
            if self.wants_tasks:
                self.protocol.notify(TASKS_CHANGED, {"tasks": list(tasks)})

    def found_another(self) -> None:
        """Another daemon has taken the place of the one before."""
        self.tasks = self._opening = None
        self.learn_tasks()

    async def think(self, work: Callable[[], T]) -> T:
        """On the one thread for what takes milliseconds: parsing."""
        return await asyncio.get_running_loop().run_in_executor(self._thinker, contextvars.copy_context().run, work)

    async def next_edits(self, document: Document, cursor: int) -> "list[Proposal]":
        """Places that a rename or a changed signature calls for, the next one first."""
        edits = self.edits(document)
        if not edits:
            return []

        def find() -> "list[Proposal]":
            from assistant.nextedit import proposals, supports  # noqa: PLC0415 (parsers come in with it)

            if not supports(document.language_id, document.path) or not self.documents.is_current(document):
                return []
            return proposals(document.text, edits, cursor)

        return await self.think(find)

    # What clients of Copilot's server show in a status line.

    def speaks_beyond(self) -> None:
        """The client knows ``didChangeStatus``: it sent something of the same set, or said so."""
        if not self._speaks_beyond:
            self._speaks_beyond = True
            self._say_status()

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """While somebody waits for the model."""
        self._running += 1
        self._say_status()
        try:
            yield
            self.trouble = ""
        finally:
            self._running -= 1
            self._say_status()

    def _say_status(self) -> None:
        status = {
            "busy": self._running > 0,
            "kind": "Warning" if self.trouble else "Normal" if self.options.enabled else "Inactive",
            "message": self.trouble,
        }
        if self._speaks_beyond and status != self._status:
            self._status = status
            self.protocol.notify(DID_CHANGE_STATUS, status)

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
            except REFUSED as error:
                log.warning("the client does not tell its configuration: %s", type(error).__name__)
            else:
                values, path = (answer[0] if answer else None), SECTION
        self.options, complaints = read_options(("initializationOptions", self._initial), (path, values))
        for complaint in complaints:
            self.tell(complaint)
        self.context.configured()

    # Acceptance.

    def offer(self, document: Document, text: str, start: int, *, kind: str = "") -> str:
        """A name for what is suggested: ``text`` at ``start``. ``kind``: "" for a completion, "edit_" for an edit."""
        last = next((one for one in reversed(self.shown.values()) if one.key == document.key), None)
        goes_on = last is not None and last.kind == kind and _goes_on(last, text, start)
        was_shown = last is not None and goes_on and last.was_shown
        offer = Offer(document.key, document.language_id, text, start, kind, was_shown)
        name = uuid.uuid4().hex
        self.shown[name] = offer
        while len(self.shown) > REMEMBERED:
            self.shown.popitem(last=False)
        return name

    def show(self, name: object, *, told: bool = False) -> None:
        """A suggestion is on the screen: ``told`` by the client, else it is taken to be. What is typed along counts
        once.
        """
        self._client_tells = self._client_tells or told
        offer = self.shown.get(name) if isinstance(name, str) else None
        if offer is not None and not offer.was_shown and told == self._client_tells:
            self.statistics.count(f"{offer.kind}shown", offer.language)
            offer.was_shown = True

    def accept(self, name: object) -> bool:
        """Whether there was a suggestion of this name; each counts once."""
        offer = self.shown.pop(name, None) if isinstance(name, str) else None
        if offer is None:
            return False
        self.accepted.append(str(name))
        self.statistics.count(f"{offer.kind}accepted", offer.language)
        if not offer.kind:
            self.kept.accepted(offer.key, offer.language, offer.text, offer.start)
        return True

    def accept_part(self, name: object, length: int) -> None:
        """``length``: so much of the suggestion's beginning, in code points."""
        offer = self.shown.get(name) if isinstance(name, str) else None
        if offer is not None and length > 0:
            taken, left = offer.text[:length], offer.text[length:]
            is_line = taken.endswith("\n") or left.startswith(("\n", "\r"))
            part = "line" if is_line else "word" if len(taken.split()) < 2 else "part"
            self.statistics.count(f"accepted_{part}", offer.language)


@dataclass(eq=False)
class Offer:
    """What was suggested, for when it is accepted."""

    key: str
    language: str
    text: str
    start: int
    kind: str
    was_shown: bool = False
    """Or the one that this is the rest of."""


def _goes_on(last: Offer, text: str, start: int) -> bool:
    """Whether a suggestion is what is left of the last one, after its beginning was typed."""
    left = last.text[start - last.start :] if start >= last.start else ""
    return bool(left) and (left.startswith(text) or text.startswith(left))


class Switched:
    """Statistics that can be turned off."""

    def __init__(self, inner: Counting, is_on: Callable[[], bool]) -> None:
        self._inner, self._is_on = inner, is_on

    def count(self, name: str, language: str = "", n: int = 1) -> None:
        if self._is_on():
            self._inner.count(name, language, n)

    def took(self, ms: float, language: str = "") -> None:
        if self._is_on():
            self._inner.took(ms, language)


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
        except REFUSED as error:
            log.warning("the client shows no progress: %s", type(error).__name__)
            return
        progress.begin(token, types.WorkDoneProgressBegin(title="Hone", message=what))
        while (more := await news.get()) is not None:
            progress.report(token, types.WorkDoneProgressReport(message=more))
        progress.end(token, types.WorkDoneProgressEnd(message="ready"))
