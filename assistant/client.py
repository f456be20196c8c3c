"""A ``Completer`` that asks a daemon. Light to import: the command line waits for it at every call.

Also what both clients share (``assistant.async_client`` is the other one): requests and answers of Hone's API as JSON.
It knows nothing of how a daemon is found or started.
"""

import contextlib
import http.client
import json
import math
import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from types import TracebackType
from typing import Any, Protocol, Self

from assistant.errors import (
    BusyError,
    CannotEditError,
    DaemonError,
    HoneError,
    ModelError,
    PositionError,
    RequestError,
    SourceError,
)
from assistant.runtime import Endpoint
from assistant.types import (
    Caller,
    Completion,
    CompletionRequest,
    CompletionResult,
    Draft,
    EditRequest,
    EditResult,
    OnDraft,
    ShouldStop,
    TextEdit,
)

CONNECT_S = 5.0
ANSWER_S = 120.0
EDIT_S = 600.0
"""Beyond a request's own budget: the model may have to be opened first."""
PATIENCE_MS = 10_000.0
"""How long a request without a budget is repeated while the daemon is busy."""
ATTEMPTS = 6
CANCELLED = CompletionResult((), steps=0, passes=0, reason="cancelled")


class Client:
    """For one thread. A request that is given up, by ``should_stop`` or an exception, is cancelled in the daemon.

    Raises:
        DaemonError: from every call, when the daemon cannot be reached, has ended, or says nothing any more.
    """

    def __init__(self, endpoint: Endpoint, *, name: str | None = None) -> None:
        self.endpoint = endpoint
        self._headers = headers(endpoint, name or f"hone {os.getpid()}")
        self._connection: http.client.HTTPConnection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def complete(
        self,
        request: CompletionRequest,
        *,
        should_stop: ShouldStop | None = None,
        on_step: OnDraft | None = None,
        caller: Caller = Caller(),  # noqa: B008 (frozen)
    ) -> CompletionResult:
        """As ``Completer.complete``. ``should_stop`` is asked on another thread; what there is by then is lost.

        Raises:
            BusyError: the daemon is busy, and still is after the request's budget.
            RequestError: the daemon does not take the request.
            ModelError: the daemon has no usable model.
        """
        patience = Patience(request)
        while True:
            try:
                return self._complete(patience.request(), caller, should_stop, on_step)
            except BusyError as error:
                pause = patience.pause(error)
                until = time.monotonic() + pause
                while (left := until - time.monotonic()) > 0:
                    if should_stop is not None and should_stop():
                        return CANCELLED
                    time.sleep(min(left, 0.02))

    def _complete(
        self, request: CompletionRequest, caller: Caller, should_stop: ShouldStop | None, on_step: OnDraft | None
    ) -> CompletionResult:
        content = encode(body(request, caller, stream=on_step is not None))
        wait = ANSWER_S + (request.budget_ms or 0) / 1000
        with _Watch(self, should_stop) as watch:
            try:
                with self._send("POST", "/v1/hone/complete", content, wait_s=wait) as response:
                    if on_step is None:
                        return to_result(decode(response.read()))
                    return _follow(response, on_step)
            except (DaemonError, OSError, http.client.HTTPException):
                if watch.stopped:
                    return CANCELLED
                raise

    def edit(
        self,
        request: EditRequest,
        *,
        should_stop: ShouldStop | None = None,
        caller: Caller = Caller(),  # noqa: B008 (frozen)
    ) -> EditResult:
        """As ``Editing.edit``. ``should_stop`` is asked on another thread; what there is by then is lost.

        Raises:
            BusyError: the daemon is busy.
            RequestError: the daemon does not take the request, or its model cannot edit.
            ModelError: the daemon has no usable model.
        """
        content = encode(edit_body(request, caller))
        wait = EDIT_S if request.budget_ms is None else ANSWER_S + request.budget_ms / 1000
        with _Watch(self, should_stop) as watch:
            try:
                with self._send("POST", "/v1/hone/edit", content, wait_s=wait) as response:
                    return to_edits(decode(response.read()))
            except (DaemonError, OSError, http.client.HTTPException):
                if watch.stopped:
                    return EditResult((), ("cancelled",) * len(request.blocks))
                raise

    def cancel(self, request: str) -> bool:
        """Stops a request of this client by its name; False when there is none."""
        return bool(self._ask("POST", "/v1/hone/cancel", {"request": request})["cancelled"])

    def status(self, *, wait_s: float = CONNECT_S) -> dict[str, Any]:
        """What the daemon says of itself, and whether it is the one that the endpoint names.

        Raises:
            DaemonError: also when another process answers there.
        """
        found = self._ask("GET", "/v1/hone/status", wait_s=wait_s)
        check_identity(self.endpoint, found)
        return found

    def metrics(self) -> str:
        """As Prometheus reads it."""
        with self._send("GET", "/metrics", None, wait_s=CONNECT_S) as response:
            return response.read().decode("utf-8", "replace")

    def shutdown(self) -> None:
        self._ask("POST", "/v1/hone/shutdown")

    def _ask(self, method: str, path: str, values: Any = None, *, wait_s: float = CONNECT_S) -> dict[str, Any]:
        content = None if values is None else encode(values)
        with self._send(method, path, content, wait_s=wait_s) as response:
            return decode(response.read())

    @contextlib.contextmanager
    def _send(
        self, method: str, path: str, content: bytes | None, *, wait_s: float
    ) -> Iterator[http.client.HTTPResponse]:
        """The answer to one request, its body unread. The connection is kept for the next one if all of it is read."""
        response = None
        try:
            response = self._answer(method, path, content, wait_s)
            if response.status != 200:
                raise failure(response.status, response.headers, response.read())
            yield response
        except TimeoutError:
            raise silent(self.endpoint, wait_s) from None
        except (OSError, http.client.HTTPException) as error:
            raise lost(self.endpoint, error) from error
        finally:
            if response is None or not response.isclosed() or response.will_close:
                if response is not None:
                    response.close()
                self.close()

    def _answer(self, method: str, path: str, content: bytes | None, wait_s: float) -> http.client.HTTPResponse:
        used = self._connection is not None
        connection = self._connection = self._connection or connect(self.endpoint)
        try:
            if connection.sock is None:
                connection.timeout = CONNECT_S
                connection.connect()
            connection.sock.settimeout(wait_s)
            connection.request(method, path, content, self._headers)
            return connection.getresponse()
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            self.close()
            if not used:
                raise
        # A connection that lay idle may have been closed by the server meanwhile; a new one will do.
        return self._answer(method, path, content, wait_s)

    def _abort(self) -> None:
        """From another thread: whoever reads from the connection sees its end."""
        connection = self._connection
        if connection is not None and connection.sock is not None:
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)


class _Watch:
    """Asks ``should_stop`` while the thread that wants to know waits for the daemon."""

    def __init__(self, client: Client, should_stop: ShouldStop | None) -> None:
        self.stopped = False
        self._client = client
        self._should_stop = should_stop
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def __enter__(self) -> Self:
        if self._should_stop is not None:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._should_stop is not None:
            self._thread.join()

    def _run(self) -> None:
        assert self._should_stop is not None
        while not self._over.wait(0.02):
            if self.stopped or self._should_stop():
                self.stopped = True
                self._client._abort()  # noqa: SLF001 (again, if it was not connected yet)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=CONNECT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.sock.settimeout(self.timeout)
            self.sock.connect(self._path)
        except BaseException:
            self.close()
            raise


def connect(endpoint: Endpoint) -> http.client.HTTPConnection:
    if endpoint.socket is not None:
        return _UnixConnection(endpoint.socket)
    return http.client.HTTPConnection(endpoint.reachable_host, endpoint.port, timeout=CONNECT_S)


# What both clients send and get.


@dataclass
class Patience:
    """How long a request is repeated while the daemon is busy: for its own budget, which the waiting eats up."""

    wanted: CompletionRequest
    attempts: int = 0

    def __post_init__(self) -> None:
        self._deadline = time.monotonic() + (self.wanted.budget_ms or PATIENCE_MS) / 1000

    def request(self) -> CompletionRequest:
        """The request with what is left of its budget."""
        self.attempts += 1
        if self.wanted.budget_ms is None or self.attempts == 1:
            return self.wanted
        return replace(self.wanted, budget_ms=max(1.0, (self._deadline - time.monotonic()) * 1000))

    def pause(self, error: BusyError) -> float:
        """Seconds to wait before the next attempt.

        Raises:
            BusyError: that one again, when there is none.
        """
        if self.attempts >= ATTEMPTS or time.monotonic() + error.retry_after_s >= self._deadline:
            raise error
        return error.retry_after_s


def headers(endpoint: Endpoint, name: str) -> dict[str, str]:
    return {
        "Authorization": f"Bearer {endpoint.token}",
        "Content-Type": "application/json",
        "X-Hone-Client": name,
        "User-Agent": "hone",
    }


def body(request: CompletionRequest, caller: Caller, *, stream: bool) -> dict[str, Any]:
    values = vars(request) | {
        "stop": list(request.stop),
        "extra": [asdict(snippet) for snippet in request.extra],
        "document": caller.document,
        "batch": caller.batch,
        "request": caller.request,
        "stream": stream,
        "tokens_in_steps": stream,
    }
    return {key: value for key, value in values.items() if value is not None}


def encode(values: Any) -> bytes:
    try:
        return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    except UnicodeEncodeError as error:
        raise RequestError(f"the text holds half of a character at {error.start}; write it as UTF-8") from error


def decode(content: bytes) -> dict[str, Any]:
    try:
        values = json.loads(content)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise DaemonError(f"the daemon answers {content[:40]!r}, which is not JSON; is it one?")
    return values


def to_result(values: Mapping[str, Any]) -> CompletionResult:
    try:
        return CompletionResult(
            completions=tuple(
                Completion(**{key: one[key] for key in COMPLETION} | {key: _number(one[key]) for key in NUMBERS})
                for one in values["completions"]
            ),
            steps=values["steps"],
            passes=values["passes"],
            timing_ms=dict(values["timing_ms"]),
            reason=values.get("reason"),
            context_tokens=values.get("context_tokens", 0),
            known_tokens=values.get("known_tokens", 0),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DaemonError(f"the daemon's answer cannot be read ({error!r}); `hone serve stop` and try again") from error


def edit_body(request: EditRequest, caller: Caller) -> dict[str, Any]:
    values = vars(request) | {"document": caller.document, "batch": caller.batch, "request": caller.request}
    values["task"] = request.task or None
    return {key: value for key, value in values.items() if value is not None}


def to_edits(values: Mapping[str, Any]) -> EditResult:
    try:
        edits = tuple(
            TextEdit(one["start"], one["end"], one["text"], one["block"], _number(one["gain"]))
            for one in values["edits"]
        )
        return EditResult(edits, tuple(values["reasons"]), values["passes"], values["tokens"], values["ms"])
    except (KeyError, TypeError, ValueError) as error:
        raise DaemonError(f"the daemon's answer cannot be read ({error!r}); `hone serve stop` and try again") from error


COMPLETION = tuple(Completion.__dataclass_fields__)
NUMBERS = ("score", "confidence")


def _number(value: float | None) -> float:
    """JSON has no infinities: they come as null."""
    return -math.inf if value is None else float(value)


def to_draft(values: Mapping[str, Any]) -> Draft:
    return Draft(values["index"], values["phase"], tuple(values["tokens"]), tuple(values["confidence"]))


@dataclass
class Events:
    """Server-sent events, line by line."""

    on_step: OnDraft
    kind: str = "message"
    data: str = ""

    def take(self, line: str) -> CompletionResult | None:
        """One line without its end; the result once its event is complete.

        Raises:
            HoneError: what the daemon tells of instead of a result.
        """
        name, _, value = line.partition(":")
        if name == "event":
            self.kind = value.strip()
        elif name == "data":
            self.data += value.strip()
        elif not line and self.data:
            kind, values = self.kind, decode(self.data.encode())
            self.kind, self.data = "message", ""
            if kind == "step":
                self.on_step(to_draft(values))
            elif kind == "error":
                raise to_error(values, 503)
            elif kind == "result":
                return to_result(values)
        return None


def _follow(lines: Iterable[bytes], on_step: OnDraft) -> CompletionResult:
    events = Events(on_step)
    result = None
    for line in lines:  # to the end, so that the connection can be used again
        result = events.take(line.decode("utf-8").rstrip("\r\n")) or result
    if result is None:
        raise DaemonError(ENDED)
    return result


# Errors.

ENDED = "the daemon ended while it worked; `hone serve logs` tells why"
CLASSES = {
    one.__name__: one for one in (RequestError, PositionError, CannotEditError, SourceError, ModelError, DaemonError)
}


class Fields(Protocol):
    """Header fields, whatever holds them; names in any case."""

    def get(self, name: str, /) -> str | None: ...


def failure(status: int, fields: Fields, content: bytes) -> HoneError:
    """An answer that is none, as the exception that it was in the daemon."""
    try:
        values = json.loads(content)
    except ValueError:
        values = None
    if not isinstance(values, dict):
        values = {"error": {"message": content[:200].decode("utf-8", "replace").strip()}}
    kind, retry_after = fields.get("x-hone-error"), fields.get("retry-after")
    if kind == "BusyError" or (kind is None and status == 503):  # without a name it comes from below: connections
        return BusyError(_message(values, status), _seconds(retry_after))
    return to_error(values, status, kind)


def to_error(values: Mapping[str, Any], status: int, kind: str | None = None) -> HoneError:
    message = _message(values, status)
    if kind in CLASSES:
        return CLASSES[kind](message)
    if status in (400, 422):
        return RequestError(message)
    if status == 413:
        return DaemonError(f"too much for the daemon: {message}")
    if status == 503:
        return ModelError(message)
    if status in (401, 403):
        return DaemonError(f"the daemon does not know us: {message}; `hone serve stop` and try again")
    return DaemonError(f"the daemon failed: {message}; `hone serve logs` tells more")


def _message(values: Mapping[str, Any], status: int) -> str:
    detail = values.get("error")
    return str((detail.get("message") if isinstance(detail, dict) else None) or f"status {status}")


def _seconds(value: object) -> float:
    try:
        return min(max(float(str(value)), 0.05), 60.0)
    except ValueError:
        return 1.0


def check_identity(endpoint: Endpoint, status: Mapping[str, Any]) -> None:
    """Raises:
    DaemonError: another process than the endpoint's answers.
    """
    if status.get("pid") != endpoint.pid:
        raise DaemonError(
            f"process {status.get('pid')} answers at {endpoint.address}, not {endpoint.pid}; `hone serve stop` mends it"
        )


def silent(endpoint: Endpoint, seconds: float) -> DaemonError:
    return DaemonError(f"the daemon at {endpoint.address} says nothing for {seconds:.0f} s; `hone serve stop` ends it")


def lost(endpoint: Endpoint, error: Exception) -> DaemonError:
    if isinstance(error, (ConnectionRefusedError, FileNotFoundError)):
        return DaemonError(f"no daemon answers at {endpoint.address}; `hone serve status` tells more")
    return DaemonError(ENDED)
