"""Who may talk to the server, and how much they may send: ASGI middlewares that hold for every route, known or not.

They see a request's head, and count its body; what is asked is not their subject, and how a protocol spells an error
is told to them. ``protected`` puts them in order:

    WholeAddress           "GET http://127.0.0.1:8077/health" is "GET /health", called by that name
    HeadLimit     431/414  header lines, their size, the address; 400: another version of HTTP, a body with two lengths
    HostCheck     403      called by a name that a web page could have made up (DNS rebinding)
    OriginCheck   403      sent by a web page of somebody else; answers preflights of those that may
    TokenCheck    401      the token, where one is set
    BodyLimit     413/408  size of the body, announced or not, and the time to send it

A web page can send a request to loopback without asking first ("simple requests"), whatever the body's type says. The
body may hold JSON all the same; so it is the origin that is checked, on every route and method, not the content type.
"""

import asyncio
import base64
import binascii
import contextlib
import hmac
import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import unquote, urlsplit

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from assistant.bounds import ServerOptions

LOOPBACK_NAMES = frozenset({"localhost", "ip6-localhost"})
EDITOR_ORIGINS = ("vscode-webview://*",)
"""Origins that no web page has: views inside of an editor."""
METHODS = "GET, HEAD, POST"
HEADERS = "authorization, content-type, x-api-key, x-hone-client"
MAX_TARGET_BYTES = 8192
BODIES_AT_ONCE = 16
"""So many bodies of the largest size may be arriving at the same time."""
REST_TIMES = 4
"""So many times the largest body is taken of one that is refused, for ``REST_SECONDS`` at most."""
REST_SECONDS = 2.0
GONE = 499
"""The client went away while it was sending; nobody is told."""
EVERYWHERE = [
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
]
"""Headers of every answer."""

Headers = list[tuple[bytes, bytes]]


Refuse = Callable[[str, int, str, Mapping[str, str]], Response]
"""(path, status, message, headers) -> the error answer, in the form of the protocol that the path belongs to."""


def protected(app: ASGIApp, options: ServerOptions, refuse: Refuse) -> ASGIApp:
    app = BodyLimit(app, options, refuse)
    app = TokenCheck(app, options, refuse)
    app = OriginCheck(app, options, refuse)
    app = HostCheck(app, options, refuse)
    app = HeadLimit(app, options, refuse)
    return WholeAddress(app)


class WholeAddress:
    """Understands requests that name the whole address, as a client sends them that takes the server for a proxy.

    The name in the address counts, as RFC 9112 (3.2.2) says, and is checked like one in the Host header. A Host header
    that says otherwise is not ignored: it stays beside the name, and of two ``HostCheck`` lets none pass.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (match := re.match(rb"(?i)http://([^/]*)", scope.get("raw_path") or b"")):
            raw = scope["raw_path"][match.end() :] or b"/"
            called, headers = match[1].decode("latin-1"), scope["headers"]
            if [host.lower() for host in values(scope, b"host")] != [called.lower()]:
                headers = [*headers, (b"host", match[1])]
            # In place: who logs and who spells errors looks at the same scope.
            scope.update(path=unquote(raw.decode("latin-1")), raw_path=raw, headers=headers)
        await self.app(scope, receive, send)


class HeadLimit:
    def __init__(self, app: ASGIApp, options: ServerOptions, refuse: Refuse) -> None:
        self.app = app
        self._refusal = refuse
        self._options = options

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (problem := self._problem(scope)):
            status, message = problem
            # What is so large was not read by anybody; nothing on this connection is worth waiting for.
            await self._refusal(scope["path"], status, message, {"connection": "close"})(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _problem(self, scope: Scope) -> tuple[int, str] | None:
        headers: Headers = scope["headers"]
        version = scope.get("http_version", "1.1")
        if not version.startswith("1."):
            return 400, f"the request is one of HTTP/{version}, and here HTTP/1.1 is spoken (curl: --http1.1)"
        names = {name.lower() for name, _ in headers}
        if {b"content-length", b"transfer-encoding"} <= names:  # whoever stands between may believe the other one
            return 400, "there are Content-Length and Transfer-Encoding; send one of them"
        target = len(scope.get("raw_path") or b"") + len(scope.get("query_string") or b"")
        if target > MAX_TARGET_BYTES:
            return 414, f"the address has {target} bytes, and at most {MAX_TARGET_BYTES} are read"
        if len(headers) > self._options.max_headers:
            return 431, f"{len(headers)} header lines are more than {self._options.max_headers}; send fewer"
        size = sum(len(name) + len(value) for name, value in headers)
        if size > self._options.max_header_bytes:
            return 431, f"headers of {size} bytes are larger than {self._options.max_header_bytes}; send less"
        return None


class HostCheck:
    def __init__(self, app: ASGIApp, options: ServerOptions, refuse: Refuse) -> None:
        self.app = app
        self._refusal = refuse
        self._allowed = frozenset(name.lower() for name in options.allowed_hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not host_allowed(values(scope, b"host"), scope, self._allowed):
            message = (
                "this server is not called by the name in the Host header; use 127.0.0.1 or localhost,"
                " or start it with --allow-host NAME"
            )
            await self._refusal(scope["path"], 403, message, {})(scope, receive, send)
            return
        await self.app(scope, receive, send)


def host_allowed(hosts: list[str], scope: Scope, allowed: Iterable[str]) -> bool:
    """Whether exactly one Host header calls the server by a name that is its own.

    A page that rebinds its name to 127.0.0.1 still sends its own name here. An address cannot be rebound. None is
    needed where no page can be asking: through a Unix socket, and on loopback in HTTP/1.0, which has no such header,
    and which no browser speaks.
    """
    if is_unix(scope) and hosts in ([], [""]):
        return True
    if hosts == [] and scope.get("http_version") == "1.0":
        return _is_loopback(scope)
    if len(hosts) != 1 or (parts := split_host(hosts[0])) is None:
        return False
    name, port = parts
    if name in allowed or (port is not None and f"{name}:{port}" in allowed):
        return True
    if name in LOOPBACK_NAMES or name.endswith(".localhost"):
        return True
    address = _address(name)
    if address is None:
        return False
    server = scope.get("server")
    return address.is_loopback or (server is not None and address == _address(str(server[0])))


def split_host(value: str) -> tuple[str, int | None] | None:
    """Name in lower case and port of a Host header; None where it is neither a name nor an address. The dot at the end
    of a full name ("localhost.") is no part of it."""
    match = re.fullmatch(
        r"(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\.?)(?::([0-9]{1,5}))?", value
    )
    if match is None or (match[3] and int(match[3]) > 65535):
        return None
    return (match[1] or match[2]).lower(), int(match[3]) if match[3] else None


def is_unix(scope: Scope) -> bool:
    """Whether the request came through a Unix socket, which no web page can reach."""
    server = scope.get("server")
    return scope.get("client") is None and (server is None or server[1] is None)


def _is_loopback(scope: Scope) -> bool:
    address = _address(str((scope.get("server") or ("", None))[0]))
    return address is not None and address.is_loopback


class OriginCheck:
    """Lets pass what no web page sent, and the pages that may. Strangers get no CORS header and no preflight."""

    def __init__(self, app: ASGIApp, options: ServerOptions, refuse: Refuse) -> None:
        self.app = app
        self._refusal = refuse
        self._allowed = frozenset(origin.lower().rstrip("/") for origin in (*options.allowed_origins, *EDITOR_ORIGINS))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        origins = values(scope, b"origin")
        listed = len(origins) == 1 and origin_listed(origins[0], self._allowed)
        if not listed and not self._own(scope, origins):
            message = (
                "this server does not talk to pages of other origins; start it with --allow-origin ORIGIN for one that"
                " may"
            )
            await self._refusal(scope["path"], 403, message, {})(scope, receive, send)
        elif not origins:
            await self.app(scope, receive, send)
        elif scope["method"] == "OPTIONS" and values(scope, b"access-control-request-method"):
            await _preflight(scope, origins[0])(scope, receive, send)
        else:
            await self.app(scope, receive, _with_cors(send, origins[0]))

    def _own(self, scope: Scope, origins: list[str]) -> bool:
        """Whether the server's own page sent it, or no page at all."""
        # Browsers say so even where they send no origin, as for images and links. "same-site" is another port.
        if any(site not in ("same-origin", "none") for site in values(scope, b"sec-fetch-site")):
            return False
        return not origins or (len(origins) == 1 and _same_place(origins[0], scope))


def origin_listed(origin: str, allowed: Iterable[str]) -> bool:
    """Whether an origin is in the list, where "scheme://*" stands for every origin of that scheme."""
    origin = origin.lower()
    return origin in allowed or f"{origin.partition('://')[0]}://*" in allowed


def _same_place(origin: str, scope: Scope) -> bool:
    hosts = values(scope, b"host")
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return False
    if len(hosts) != 1 or (host := split_host(hosts[0])) is None or parts.scheme != scope.get("scheme"):
        return False
    bare = not (parts.path or parts.query or parts.fragment or "@" in parts.netloc)
    usual = {"http": 80, "https": 443}.get(parts.scheme)
    name = (parts.hostname or "").removesuffix(".")
    return bare and (name, port or usual) == (host[0], host[1] or usual)


def _preflight(scope: Scope, origin: str) -> Response:
    headers = {
        "access-control-allow-origin": origin,
        "access-control-allow-methods": METHODS,
        "access-control-allow-headers": HEADERS,
        "access-control-max-age": "600",
        "vary": "origin",
    }
    if values(scope, b"access-control-request-private-network") == ["true"]:
        headers["access-control-allow-private-network"] = "true"
    return Response(status_code=204, headers=headers)


def _with_cors(send: Send, origin: str) -> Send:
    async def tell(message: Message) -> None:
        if message["type"] == "http.response.start":
            more = [(b"access-control-allow-origin", origin.encode("latin-1")), (b"vary", b"origin")]
            message = {**message, "headers": [*message.get("headers", ()), *more]}
        await send(message)

    return tell


class TokenCheck:
    def __init__(self, app: ASGIApp, options: ServerOptions, refuse: Refuse) -> None:
        self.app = app
        self._refusal = refuse
        self._token = options.token
        self._accepted = [token for token in (options.token, options.admin_token) if token]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._token and not knows_token(scope, self._accepted):
            message = "this server needs its token: send it as `Authorization: Bearer TOKEN` or `x-api-key: TOKEN`"
            headers = {"www-authenticate": _challenge(scope)}
            await self._refusal(scope["path"], 401, message, headers)(scope, receive, send)
            return
        await self.app(scope, receive, send)


def _challenge(scope: Scope) -> str:
    """How to bring the token: a person in a browser is asked for it, as for a password."""
    person = any("text/html" in accept for accept in values(scope, b"accept"))
    return 'Basic realm="Hone: the token is the password"' if person else "Bearer"


def knows_token(scope: Scope, accepted: Iterable[str]) -> bool:
    """Whether the request brings one of the tokens. Takes the same time however much of a wrong one is right."""
    brought = list(tokens(scope))
    known = False
    for token in accepted:
        for one in brought:
            known |= hmac.compare_digest(one, token.encode())
    return known


def tokens(scope: Scope) -> Iterable[bytes]:
    """What a request brings as a token: bearer, ``x-api-key``, or the password that a browser asked for."""
    for value in _raw(scope, b"authorization"):
        scheme, _, token = value.partition(b" ")
        if scheme.lower() == b"bearer":
            yield token.strip()
        elif scheme.lower() == b"basic":
            try:
                yield base64.b64decode(token.strip(), validate=True).partition(b":")[2]
            except binascii.Error:
                continue
    for value in _raw(scope, b"x-api-key"):
        yield value.strip()


class BodyLimit:
    """Reads the body before anybody works on it, so that nobody waits for the rest of one, or gets too much of one."""

    def __init__(self, app: ASGIApp, options: ServerOptions, refuse: Refuse) -> None:
        self.app = app
        self._refusal = refuse
        self._most = options.max_body_bytes
        self._seconds = options.receive_seconds
        self._arriving = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if any(not value.isdecimal() or int(value[:15]) > self._most for value in values(scope, b"content-length")):
            await self._refuse(scope, 413)(scope, receive, reading_on(send, receive, self._most))
            return
        body = bytearray()
        try:
            async with asyncio.timeout(self._seconds):
                status = await self._read(receive, body)
        except TimeoutError:
            status = 408
        finally:
            self._arriving -= len(body)
        if status == 200:
            await self.app(scope, _replay(bytes(body), receive), send)
        elif status in (413, 503):  # it is coming, and fast
            await self._refuse(scope, status)(scope, receive, reading_on(send, receive, self._most))
        elif status != GONE:
            await self._refuse(scope, status)(scope, receive, send)

    async def _read(self, receive: Receive, body: bytearray) -> int:
        """200, or the status that says why not."""
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return GONE
            part = message.get("body", b"")
            body += part
            self._arriving += len(part)
            if len(body) > self._most:
                return 413
            if self._arriving > BODIES_AT_ONCE * self._most:
                return 503
            if not message.get("more_body", False):
                return 200

    def _refuse(self, scope: Scope, status: int) -> Response:
        message = {
            408: f"the body did not arrive within {self._seconds:g} seconds; send it again",
            413: f"the body is larger than {size(self._most)}, the most that is read; send only the text around the"
            " cursor, or the file in parts",
            503: "too much is being sent at once; ask again in a moment",
        }[status]
        # The rest of the body is still on its way: the next request on this connection could not be told from it.
        headers = {"connection": "close"} | ({"retry-after": "1"} if status == 503 else {})
        return self._refusal(scope["path"], status, message, headers)


def size(number: int) -> str:
    """In the unit that people say."""
    return f"{number / 2**20:.3g} MiB" if number >= 2**20 else f"{number} bytes"


def reading_on(send: Send, receive: Receive, most: int) -> Send:
    """A send for an answer to a body that was not read: before the connection is closed it takes what is still on its
    way, and keeps none of it. Who closes a connection while more arrives resets it, and the client, busy sending, never
    reads why. ``most``: bytes of the largest body."""

    async def tell(message: Message) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            await send({**message, "more_body": True})
            await _rest(receive, REST_TIMES * most)
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await send(message)

    return tell


async def _rest(receive: Receive, left: int) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(REST_SECONDS):
            while left > 0 and (message := await receive())["type"] == "http.request":
                left -= len(message.get("body", b""))
                if not message.get("more_body", False):
                    return


def _replay(body: bytes, receive: Receive) -> Receive:
    """A receive that gives the body at once, and then what comes after it: a disconnect."""
    message: Message | None = {"type": "http.request", "body": body, "more_body": False}

    async def again() -> Message:
        nonlocal message
        if message is None:
            return await receive()
        first, message = message, None
        return first

    return again


def values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1").strip() for value in _raw(scope, name)]


def _raw(scope: Scope, name: bytes) -> list[bytes]:
    headers: Headers = scope["headers"]
    return [value for key, value in headers if key.lower() == name]


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
