"""One connection, as uvicorn has it, with what that leaves open: patience, a limit, errors that say what is wrong.

    bytes -> h11 -> the app, or an error of ours in the form of the protocol that the path belongs to

It knows when bytes come and end, and nothing of what is asked.
"""

import asyncio
import socket
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, cast

import h11
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from assistant.api import retry_after
from assistant.bounds import ServerOptions
from assistant.guard import EVERYWHERE, MAX_TARGET_BYTES, REST_SECONDS, Refuse, reading_on

UNREAD, ABANDONED = 2, 8
"""So many times the limit of connections are answered that it is full, without a look at what they ask; above, none."""
LOOK_SECONDS = 0.02
"""Between two looks at whether a client that sends no more is still there."""
TLS = b"\x16\x03"
"""How a client begins that was told https instead of http."""
NOT_HTTP = {
    "Missing mandatory Host": "the Host header is missing; send `Host: localhost`",
    "Found multiple Host": "there is more than one Host header; send one",
    "illegal request line": "the first line is not `METHOD /path HTTP/1.1`; a blank in a path is written as %20",
    "no request line": "the first line is not `METHOD /path HTTP/1.1`",
    "illegal header line": "a header is not a line `Name: value`, or has a sign that may not stand there",
    "continuation line": "the first header begins with a blank",
    "bad Content-Length": "Content-Length is not a number of bytes",
    "conflicting Content-Length": "there is more than one Content-Length; send one",
    "Only Transfer-Encoding": "of transfer encodings only `chunked` is known; send the body as it is",
    "multiple Transfer-Encoding": "there is more than one Transfer-Encoding; send `chunked`, or Content-Length instead",
    "illegal chunk header": "a chunk of the body does not begin with its length in hexadecimal digits",
    "malformed chunk footer": "a chunk of the body is not as long as it says",
}
"""By how h11's messages begin; the rest of them may be a part of what was sent, which is not said again."""


def not_http(message: str) -> str:
    """What is wrong with a request that is not HTTP/1.1, and what to send instead."""
    known = (said for begin, said in NOT_HTTP.items() if message.startswith(begin))
    return next(known, "this is not a request of HTTP/1.1")


class Connection(H11Protocol):
    """uvicorn's connection, which answers at once, does not wait for ever for a request's head, and is one of so many.

    uvicorn counts its time only between requests, so that a head that comes byte by byte is never given up; above its
    limit it goes on taking connections, which cost memory though each gets an error; and it has no answer for a client
    that ends its own side once it has asked (``nc -N``).
    """

    def __init__(self, options: ServerOptions, refuse: Refuse, **uvicorns: Any) -> None:
        super().__init__(**uvicorns)
        self._options = options
        self._refusal = refuse
        self._patience: asyncio.TimerHandle | None = None
        self._refused = False
        self._ended = False
        """Whether the client has ended its side, and is still to be answered."""
        self._head = b""
        """The beginning of the request that is arriving: what an error's form is chosen by."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            # asyncio does so only where the listening socket was made with the protocol's number. Without it an
            # answer, which is written head first, waits 40 ms for the acknowledgement of its head.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        most = self._options.max_connections
        if len(self.connections) > ABANDONED * most:
            transport.abort()
        elif len(self.connections) > UNREAD * most:
            self._end(503, self._full_message, retry_after(1))
        else:
            if len(self.connections) > most:
                self.app = cast(Any, self._full)
            self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return  # it was told why; what it goes on sending is taken, or it would not read that
        seen = self.cycle
        if self.conn.their_state is h11.IDLE:
            self._head = (self._head + data)[:MAX_TARGET_BYTES]
        super().data_received(data)
        if self.cycle is not seen:
            self._head = b""
            self._stop_waiting()
        elif self._patience is None and (cast(object, seen) is None or seen.response_complete):
            self._wait_for_head()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Whether the connection stays: a client that has asked may end its own side, and still listen. One that has
        gone away says no more than that, until something is sent to it: its system then resets the connection."""
        self._ended = self._unanswered() and not self.cycle.more_body and self.conn.our_state is h11.SEND_RESPONSE
        if self._ended:
            if self.conn.their_http_version == b"1.1":  # which passes over it, whether or not it expects it
                self.transport.write(self.conn.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
            self._look()
        return self._ended

    def _look(self) -> None:
        """Ends the connection of a client that has gone away, so that nothing more is computed for it."""
        if self.transport.is_closing() or not self._unanswered():
            return
        if self.transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.transport.abort()
        else:
            self.loop.call_later(LOOK_SECONDS, self._look)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._ended and not self._unanswered():  # requests that it sent before it ended its side come first
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 (one sentence for all)
        error = sys.exception()
        status = error.error_status_hint if isinstance(error, h11.RemoteProtocolError) else 400
        if status == 431:
            most = 2 * self._options.max_header_bytes
            self._end(431, f"the head of the request is larger than {most} bytes; send fewer and shorter headers")
        elif self._head.startswith(TLS):
            self._end(400, "this is TLS, and here plain HTTP is spoken; use an address that begins with http://")
        else:
            self._end(status, not_http(str(error)))

    def _wait_for_head(self) -> None:
        self._patience = self.loop.call_later(self._options.receive_seconds, self._give_up)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _give_up(self) -> None:
        seconds = f"{self._options.receive_seconds:g} seconds"
        self._end(408, f"the head of the request did not arrive within {seconds}; it ends with an empty line")

    def _end(self, status: int, message: str, headers: Mapping[str, str] = MappingProxyType({})) -> None:
        """Refuses what is no request that the app could answer, and closes the connection."""
        if self.transport.is_closing():
            return
        answer = self._refusal(self._path(), status, message, {**headers, "connection": "close"})
        head = h11.Response(status_code=status, headers=[*answer.raw_headers, *EVERYWHERE])
        try:
            for event in (head, h11.Data(data=bytes(answer.body)), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event))
        except h11.LocalProtocolError:  # another answer has begun
            self.transport.close()
            return
        if self._unanswered():
            self.cycle.disconnected = True  # the app need not wait for the rest, and cannot answer any more
            self.cycle.message_event.set()
        self._refused = True
        self._stop_waiting()
        self.transport.write_eof()
        self.loop.call_later(REST_SECONDS, self.transport.close)

    def _path(self) -> str:
        """As far as it is known where a request was going that cannot be read; "/" where not."""
        if self._unanswered():
            return self.scope["path"]
        target = self._head.split(b"\r\n", 1)[0].split(b" ")[1:2]
        path = target[0].partition(b"?")[0].decode("latin-1") if target else ""
        return path if path.startswith("/") else "/"

    def _unanswered(self) -> bool:
        """Whether the app still has a request of this connection."""
        return cast(object, self.cycle) is not None and not self.cycle.response_complete

    @property
    def _full_message(self) -> str:
        return f"{self._options.max_connections} connections are open already; close some or ask again in a moment"

    async def _full(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {**retry_after(1), "connection": "close"}
        told = reading_on(send, receive, self._options.max_body_bytes)
        await self._refusal(scope["path"], 503, self._full_message, headers)(scope, receive, told)
