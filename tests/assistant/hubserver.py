"""A server that speaks the part of the hub's API that a pull needs: real HTTP, with the hub's headers and errors.

Connections can be cut, answers falsified, and every request is written down.
"""

import hashlib
import json
import re
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_good"
LARGE = {".safetensors"}
"""Stored with LFS: the hub tells a SHA-256 of these, and git's checksum of the rest."""


@dataclass
class Repo:
    files: dict[str, bytes]
    licence: str | None = "apache-2.0"
    card: dict[str, Any] = field(default_factory=dict)
    gated: bool = False
    """Whether files are for ``TOKEN`` alone."""

    @property
    def commit(self) -> str:
        found = hashlib.sha1(usedforsecurity=False)
        for name, data in sorted(self.files.items()):
            found.update(name.encode() + data)
        return found.hexdigest()

    def described(self, repo: str) -> dict[str, Any]:
        card = self.card | ({"license": self.licence} if self.licence else {})
        siblings = [_sibling(name, data) for name, data in self.files.items()]
        return {"id": repo, "modelId": repo, "sha": self.commit, "tags": [], "cardData": card, "siblings": siblings}


def _sibling(name: str, data: bytes) -> dict[str, Any]:
    blob = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
    found: dict[str, Any] = {"rfilename": name, "size": len(data), "blobId": blob}
    if Path(name).suffix in LARGE:
        found["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
    return found


@dataclass
class Hub:
    url: str
    repos: dict[str, Repo] = field(default_factory=dict)
    old: dict[str, Repo] = field(default_factory=dict)
    """Earlier commits, by their names."""
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    """Paths of files, and the range that was asked for."""
    cuts: list[int] = field(default_factory=list)
    """After so many bytes of a safetensors file the connection ends; one for each of the next requests."""
    reset: bool = False
    """Whether it is then reset, instead of closed."""
    false: set[str] = field(default_factory=set)
    """Files that come with a bit turned."""
    deaf: bool = False
    """Whether ranges are not listened to."""
    elsewhere: str = ""
    """Where large files lie: requests are sent there."""
    tokens: list[str | None] = field(default_factory=list)
    """What requests for files brought along."""
    stall: threading.Event = field(default_factory=threading.Event)
    """Where a cut is negative, the connection stands still after so many bytes until this is set."""

    @property
    def fetched(self) -> list[str]:
        return [path.rpartition("/")[2] for path, _ in self.asked]


@contextmanager
def serving() -> Iterator[Hub]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            _answer(self, hub)

        def do_HEAD(self) -> None:
            _answer(self, hub)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class's name)
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # a client that was killed

    server = Server(("127.0.0.1", 0), Handler)
    hub = Hub(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        hub.stall.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _answer(handler: BaseHTTPRequestHandler, hub: Hub) -> None:
    path = unquote(urlsplit(handler.path).path)
    if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
        _described(handler, hub, match[1], match[2])
    elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
        _file(handler, hub, match[1], match[2], match[3])
    else:
        _error(handler, 404, None)


def _at(hub: Hub, repo: str, revision: str | None) -> Repo | None:
    now = hub.repos[repo]
    return now if revision in (None, "main", now.commit) else hub.old.get(str(revision))


def _described(handler: BaseHTTPRequestHandler, hub: Hub, repo: str, revision: str | None) -> None:
    if repo not in hub.repos:
        _error(handler, 401, "RepoNotFound")
        return
    found = _at(hub, repo, revision)
    if found is None:
        _error(handler, 404, "RevisionNotFound")
        return
    _send(handler, 200, json.dumps(found.described(repo)).encode(), {"Content-Type": "application/json"})


def _file(handler: BaseHTTPRequestHandler, hub: Hub, repo: str, revision: str, name: str) -> None:
    asked, token = handler.headers.get("Range"), handler.headers.get("Authorization")
    hub.tokens.append(token)
    hub.asked.append((f"{repo}/{name}", asked))
    found = _at(hub, repo, revision) if repo in hub.repos else None
    if found is None or name not in found.files:
        _error(handler, 404, "EntryNotFound")
        return
    if found.gated and token != f"Bearer {TOKEN}":
        _error(handler, 403, "GatedRepo")
        return
    if hub.elsewhere and Path(name).suffix in LARGE:
        _send(handler, 302, b"", {"Location": f"{hub.elsewhere}{handler.path}"})
        return
    data = found.files[name]
    if name in hub.false:
        data = data[:-1] + bytes([data[-1] ^ 1])
    headers = {"X-Repo-Commit": revision, "ETag": f'"{hashlib.sha256(data).hexdigest()}"', "Accept-Ranges": "bytes"}
    status, start = 200, 0
    if asked and not hub.deaf:
        start = int(asked.removeprefix("bytes=").partition("-")[0])
        status = 206
        headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
    cut = hub.cuts.pop(0) if hub.cuts and name.endswith(".safetensors") else None
    _send(handler, status, data[start:], headers, cut=cut, hub=hub)


def _send(
    handler: BaseHTTPRequestHandler,
    status: int,
    body: bytes,
    headers: dict[str, str],
    *,
    cut: int | None = None,
    hub: Hub | None = None,
) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    if handler.command == "HEAD":
        return
    handler.wfile.write(body if cut is None else body[: abs(cut)])
    if cut is None or hub is None:
        return
    handler.wfile.flush()
    if cut < 0:
        hub.stall.wait(30)
    if hub.reset:
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.close_connection = True


def _error(handler: BaseHTTPRequestHandler, status: int, code: str | None) -> None:
    _send(handler, status, b"{}", {"X-Error-Code": code, "X-Error-Message": code} if code else {})
