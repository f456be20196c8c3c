"""Where pygls's protocol is made strict: every request gets one answer, whatever order things come in.

- A request before ``initialize`` or after ``shutdown``, of an unknown method, or that cannot be read gets an error, by
  the first of these that holds; what is no message at all gets one that names no request.
- An answer of the client's that cannot be read is a failure for who waits for it.
- Changes that a client may mean though the protocol does not have them (without a version, at a place before the
  beginning) are made: to pass over one would leave another text here than there. So a document of which a change cannot
  be read is closed here until its whole text comes.
- Documents are kept by ``lsp.documents``, since pygls's workspace breaks lines at more characters than editors do.
- A request sees the document as it was when the request arrived: it is looked up before the handler's task begins.
- A suggestion for a document that changed between its handler's end and its sending is not sent, but an empty list is.
"""

import asyncio
import contextlib
import json
import logging
import math
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from contextvars import ContextVar
from typing import Any
from urllib.parse import unquote

from lsprotocol import types
from pygls.exceptions import JsonRpcException, JsonRpcMethodNotFound, JsonRpcRequestCancelled, PyglsError
from pygls.protocol import LanguageServerProtocol, lsp_method
from pygls.protocol.json_rpc import RPCMessage, RPCNotification, RPCRequest

from lsp.documents import Document, Documents
from lsp.history import Change
from lsp.notebook import Notebooks

PARSE_ERROR, INVALID_REQUEST, UNKNOWN_METHOD, INVALID_PARAMS = -32700, -32600, -32601, -32602
NOT_INITIALIZED, CONTENT_MODIFIED, FAILED = -32002, -32801, -32803
REFUSED = (PyglsError, JsonRpcException)
"""What a request to the client ends with where it is answered with an error, or not in the form of an answer."""
LARGEST = 2**31 - 1
"""Of the protocol's unsigned integers."""
log = logging.getLogger("hone.lsp")

INLINE_EDIT = "textDocument/copilotInlineEdit"
DID_FOCUS, DID_SHOW = "textDocument/didFocus", "textDocument/didShowCompletion"
DID_SHOW_EDIT, DID_ACCEPT_PART = "textDocument/didShowInlineEdit", "textDocument/didPartiallyAcceptCompletion"
DID_CHANGE_STATUS, TASKS_CHANGED = "didChangeStatus", "hone/tasks"
BEYOND = {INLINE_EDIT, DID_FOCUS, DID_SHOW, DID_SHOW_EDIT, DID_ACCEPT_PART}
"""Methods that the protocol does not have, as existing clients send them. Their params stay what JSON makes of them."""

NOTHING: dict[str, Callable[[], Any]] = {
    types.TEXT_DOCUMENT_INLINE_COMPLETION: lambda: types.InlineCompletionList([]),
    types.TEXT_DOCUMENT_COMPLETION: lambda: types.CompletionList(is_incomplete=True, items=[]),
    INLINE_EDIT: lambda: {"edits": []},
}
"""Answers about a document as it is: by method, the answer that says nothing."""

asked_about: ContextVar[Document | None] = ContextVar("asked_about", default=None)
"""Inside a request: its document, as it was when the request arrived; None where it is not open, or another version was
named."""


work_token: ContextVar[str | int | None] = ContextVar("work_token", default=None)
"""Inside a request: under what name the client wants to be told of its progress."""


class Protocol(LanguageServerProtocol):
    def __init__(self, server: Any, converter: Any) -> None:
        super().__init__(server, converter)
        self.documents = Documents()
        self.notebooks = Notebooks(self.documents.get)
        self.on_change: Callable[[str, tuple[Change, ...] | None], None] = lambda _, __: None
        """Told the key of a document, and what was changed in it; None: it was opened or closed."""
        self.on_exit: Callable[[int], None] | None = None
        """Ends the process; None: as pygls does it."""
        self._is_initialized = False
        self._versions: dict[int | str, int] = {}
        """Of requests that name the version they are about, beyond what the protocol asks for."""
        self._tokens: dict[int | str, str | int] = {}
        """Of requests that brought a token for their progress."""
        self._about: dict[int | str, tuple[str, Document]] = {}
        """What running requests for suggestions are about."""

    # Documents.

    @lsp_method(types.TEXT_DOCUMENT_DID_OPEN)
    def lsp_text_document__did_open(self, params: types.DidOpenTextDocumentParams) -> None:
        self._open(params.text_document)

    @lsp_method(types.TEXT_DOCUMENT_DID_CHANGE)
    def lsp_text_document__did_change(self, params: types.DidChangeTextDocumentParams) -> None:
        self._change(params.text_document, params.content_changes)

    @lsp_method(types.TEXT_DOCUMENT_DID_CLOSE)
    def lsp_text_document__did_close(self, params: types.DidCloseTextDocumentParams) -> None:
        self._close(params.text_document)

    def _open(self, opened: types.TextDocumentItem) -> None:
        self.documents.open(opened.uri, opened.language_id, opened.version, opened.text)
        self.on_change(unquote(opened.uri), None)

    def _change(
        self, changed: types.VersionedTextDocumentIdentifier, changes: Sequence[types.TextDocumentContentChangeEvent]
    ) -> None:
        was_lost = self.documents.is_lost(changed.uri)
        made = self.documents.change(changed.uri, changed.version, changes)
        if made is not None:
            self.on_change(unquote(changed.uri), None if was_lost else made)
        elif not was_lost:
            log.warning("a document was changed that is not open")

    def _lose(self, uri: object) -> None:
        if isinstance(uri, str) and self.documents.lose(uri):
            log.warning("a change of a document cannot be read; nothing is done in it until its whole text comes")
            self.on_change(unquote(uri), None)

    def _close(self, closed: types.TextDocumentIdentifier) -> None:
        self.documents.close(closed.uri)
        self.on_change(unquote(closed.uri), None)

    # Notebooks: their cells are documents as others are, in an order.

    @lsp_method(types.NOTEBOOK_DOCUMENT_DID_OPEN)
    def lsp_notebook_document__did_open(self, params: types.DidOpenNotebookDocumentParams) -> None:
        # First the order: a cell that is opened is known as one.
        self.notebooks.open(params.notebook_document)
        for cell in params.cell_text_documents:
            self._open(cell)

    @lsp_method(types.NOTEBOOK_DOCUMENT_DID_CHANGE)
    def lsp_notebook_document__did_change(self, params: types.DidChangeNotebookDocumentParams) -> None:
        changes = params.change.cells
        if changes is None:
            return
        self.notebooks.change(params.notebook_document.uri, changes)
        if changes.structure is not None:
            for closed in changes.structure.did_close or ():
                self._close(closed)
            for opened in changes.structure.did_open or ():
                self._open(opened)
        for content in changes.text_content or ():
            self._change(content.document, content.changes)

    @lsp_method(types.NOTEBOOK_DOCUMENT_DID_CLOSE)
    def lsp_notebook_document__did_close(self, params: types.DidCloseNotebookDocumentParams) -> None:
        for cell in params.cell_text_documents:
            self._close(cell)
        self.notebooks.close(params.notebook_document.uri)

    # The end.

    @lsp_method(types.SHUTDOWN)
    def lsp_shutdown(self, *_: Any) -> Generator[Any, Any, None]:
        """Cancels what runs; that ends requests, and they are forgotten meanwhile."""
        yield from ()
        for msg_id, future in list(self._request_futures.items()):
            if msg_id != self.msg_id and not future.done():
                future.cancel()
        self._shutdown = True

    @lsp_method(types.EXIT)
    def lsp_exit(self, *args: Any) -> Any:
        if self.on_exit is not None:
            self.on_exit(0 if self._shutdown else 1)
        return super().lsp_exit(*args)

    # Requests.

    def receive(self, body: bytes) -> None:
        """A message as it came. Nothing that is in it ends the loop that reads."""
        try:
            message = json.loads(body, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            log.warning("what came is no JSON")
            self._refuse(None, PARSE_ERROR, "the message is no JSON")
            return
        try:
            self.handle_message(message)
        except Exception as error:  # noqa: BLE001 (the edge)
            self._server.report_server_error(error, JsonRpcException)

    def _refusal(self, data: dict[str, Any]) -> tuple[int, str] | None:
        """Why a request is refused before its params are looked at."""
        method = data["method"]
        if data.get("jsonrpc") != "2.0" or not isinstance(method, str):
            return INVALID_REQUEST, "no request of JSON-RPC 2.0"
        if self._shutdown:
            return INVALID_REQUEST, "the server was shut down"
        if not self._is_initialized and method != types.INITIALIZE:
            return NOT_INITIALIZED, "the server waits for initialize"
        if self._is_initialized and method == types.INITIALIZE:
            return INVALID_REQUEST, "the server is initialized already"
        try:
            self._get_handler(method)
        except JsonRpcMethodNotFound:
            return UNKNOWN_METHOD, f"there is no method {method}"
        return None

    def _read(self, data: dict[str, Any]) -> Any:
        """A message that may be handled; None for one that was answered already.

        Raises:
            JsonRpcException: it cannot be read; who waits for it knows.
        """
        method, is_request = data.get("method"), "id" in data and "method" in data
        beyond = isinstance(method, str) and method in BEYOND
        params = data.get("params")
        if data.get("error", ...) is None:  # beside a result
            del data["error"]
        try:
            if method == types.TEXT_DOCUMENT_DID_OPEN:
                _complete_opening(params)
            elif method == types.TEXT_DOCUMENT_DID_CHANGE:
                self._complete_change(params)
            message = super().structure_message({**data, "params": None} if beyond else data)
        except JsonRpcException as error:
            if method in (types.TEXT_DOCUMENT_DID_OPEN, types.TEXT_DOCUMENT_DID_CHANGE):
                self._lose(_named(params, "textDocument"))
            elif method == types.NOTEBOOK_DOCUMENT_DID_CHANGE:
                for cell in self.notebooks.cells(_named(params, "notebookDocument")):
                    self._lose(cell)
            if is_request:
                self._send_response(data["id"], error=error.to_response_error())
            elif "id" in data:
                unread = types.ResponseError(FAILED, "the client's answer cannot be read")
                self._handle_response(data["id"], error=unread)
            raise
        if is_request and not isinstance(message, RPCRequest):
            return self._refuse(data["id"], INVALID_REQUEST, f"{method} is no request")
        if beyond:
            message.params = params
        if is_request:
            self._note_version(data["id"], params)
        return message

    def _complete_change(self, params: object) -> None:
        """A version that a client does not name is the next one; a place before the beginning is the beginning."""
        identifier = params.get("textDocument") if isinstance(params, dict) else None
        if isinstance(identifier, dict) and identifier.get("version") is None:
            known = self.documents.get(str(identifier.get("uri")))
            identifier["version"] = 0 if known is None else known.version + 1
        _complete_changes(params)

    def _note_version(self, msg_id: int | str, params: object) -> None:
        document = params.get("textDocument") if isinstance(params, dict) else None
        version = document.get("version") if isinstance(document, dict) else None
        if isinstance(version, int):
            self._versions[msg_id] = version
        token = params.get("workDoneToken") if isinstance(params, dict) else None
        if isinstance(token, str | int):
            self._tokens[msg_id] = token

    def handle_message(self, message: RPCMessage | dict[str, Any]) -> None:
        if not isinstance(message, dict) or not message.keys() & {"jsonrpc", "method"}:
            log.warning("what came is no message")
            return self._refuse(None, INVALID_REQUEST, "no message of JSON-RPC 2.0")
        if "id" in message and not _is_id(message["id"]):
            log.warning("the id of what came is none")
            return self._refuse(None, INVALID_REQUEST, "an id is a number or a text") if "method" in message else None
        if "id" in message and "method" in message and (refusal := self._refusal(message)) is not None:
            return self._refuse(message["id"], *refusal)
        if "jsonrpc" not in message or (message := self._read(message)) is None:
            return None
        method = getattr(message, "method", None)
        if isinstance(message, RPCRequest):
            self._is_initialized = True
        elif isinstance(message, RPCNotification) and not self._is_initialized and method != types.EXIT:
            return None
        return super().handle_message(message)  # type: ignore[no-any-return,func-returns-value,unused-ignore,arg-type]

    def _refuse(self, msg_id: int | str | None, code: int, message: str) -> None:
        """``msg_id``: None where nobody can tell what was asked."""
        if msg_id is None:
            self._send_data({"jsonrpc": self.VERSION, "id": None, "error": {"code": code, "message": message}})
            return
        self._versions.pop(msg_id, None)
        self._tokens.pop(msg_id, None)
        self._send_response(msg_id, error=types.ResponseError(code, message))

    def _handle_request(self, msg_id: int | str, method_name: str, params: Any) -> None:
        version = self._versions.pop(msg_id, None)
        document = self._document_of(params)
        if document is not None and version is not None and version != document.version:
            document = None
        if document is not None and method_name in NOTHING:
            self._about[msg_id] = method_name, document
        work_token.set(self._tokens.pop(msg_id, None))
        asked_about.set(document)  # in the context of this message, which the handler's task inherits
        super()._handle_request(msg_id, method_name, params)

    def _execute_handler(
        self, msg_id: int | str, handler: Any, callback: Callable[[Any], None], args: Any = None, kwargs: Any = None
    ) -> None:
        """As pygls does it, but what is done is forgotten, whoever asked for it."""

        def done(future: Any) -> None:
            self._request_futures.pop(msg_id, None)
            callback(future)

        super()._execute_handler(msg_id, handler, done, args, kwargs)

    @contextlib.contextmanager
    def stoppable(self) -> Iterator[None]:
        """Around the work of a command: pygls cancels the request, which is answered, and not the task behind it."""
        task = asyncio.current_task()
        request = self._request_futures.get(self.msg_id) if self.msg_id is not None else None
        is_answered = False

        def stop(done: "Future[Any]") -> None:
            nonlocal is_answered
            if done.cancelled() and task is not None:
                is_answered = True
                task.cancel()

        if isinstance(request, Future):
            request.add_done_callback(stop)
        try:
            yield
        except asyncio.CancelledError:
            if is_answered:
                raise
            raise JsonRpcRequestCancelled("stopped by the user") from None

    def _document_of(self, params: Any) -> Document | None:
        identifier = getattr(params, "text_document", None)
        if identifier is not None:
            return self.documents.get(identifier.uri)
        uri = _named(params, "textDocument")
        return self.documents.get(uri) if isinstance(uri, str) else None

    def _send_response(self, msg_id: int | str, result: Any = None, error: types.ResponseError | None = None) -> None:
        method, document = self._about.pop(msg_id, ("", None))
        if document is not None and error is None and not self.documents.is_current(document):
            result = NOTHING[method]()
        super()._send_response(msg_id, result, error)


def _no_constant(name: str) -> None:
    """JSON has no NaN and no Infinity, though Python reads them: in an answer nobody else could."""
    raise ValueError(name)


def _is_id(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, str | int) and not isinstance(value, bool)


def _named(params: object, key: str) -> object:
    """The URI of a document in params as they came."""
    identifier = params.get(key) if isinstance(params, dict) else None
    return identifier.get("uri") if isinstance(identifier, dict) else None


def _complete_opening(params: object) -> None:
    opened = params.get("textDocument") if isinstance(params, dict) else None
    if isinstance(opened, dict):
        for name, default in (("version", 0), ("languageId", "")):
            if opened.get(name) is None:
                opened[name] = default


def _complete_changes(params: object) -> None:
    """Makes changes of a document what they should be: a range of null is none, and a text is a text.

    Raises:
        JsonRpcException: one has no text.
    """
    changes = params.get("contentChanges") if isinstance(params, dict) else None
    for change in changes if isinstance(changes, list) else ():
        if isinstance(change, dict):
            if not isinstance(change.get("text"), str):
                raise JsonRpcException("a change of a document has no text", INVALID_REQUEST)
            where = change.get("range", ...)
            if where is None:
                del change["range"]
            elif isinstance(where, dict):
                for place in where.values():
                    _bound(place)


def _bound(place: object) -> None:
    if isinstance(place, dict):
        for name in ("line", "character"):
            if isinstance(value := place.get(name), int):
                place[name] = min(max(value, 0), LARGEST)
