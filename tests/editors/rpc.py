"""Neovim's RPC: as much of MessagePack and of its requests as tests need."""

import itertools
import socket
import struct
from pathlib import Path
from typing import Any


def pack(value: Any) -> bytes:
    """None, booleans, whole numbers, texts and lists of these."""
    if value is None:
        return b"\xc0"
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return b"\xd3" + struct.pack(">q", value)
    if isinstance(value, str):
        data = value.encode()
        return b"\xdb" + struct.pack(">I", len(data)) + data
    return b"\xdd" + struct.pack(">I", len(value)) + b"".join(map(pack, value))


NUMBERS = {0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q",
           0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q"}  # fmt: skip
LENGTHS = {0xC4: ">B", 0xC5: ">H", 0xC6: ">I", 0xC7: ">B", 0xC8: ">H", 0xC9: ">I", 0xD9: ">B", 0xDA: ">H", 0xDB: ">I",
           0xDC: ">H", 0xDD: ">I", 0xDE: ">H", 0xDF: ">I"}  # fmt: skip


class Neovim:
    """One connection; a request is answered before the next one is sent."""

    def __init__(self, path: Path, seconds: float) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(seconds)
        try:
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise
        self._file = self._socket.makefile("rb")
        self._ids = itertools.count()

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def request(self, method: str, *arguments: Any) -> Any:
        """
        Raises:
            RuntimeError: Neovim answers with an error.
        """
        number = next(self._ids)
        self._socket.sendall(pack([0, number, method, list(arguments)]))
        while True:
            kind, *message = self._read()
            if kind == 1 and message[0] == number:
                _, error, result = message
                if error is not None:
                    raise RuntimeError(f"{method}: {error}")
                return result

    def _take(self, form: str) -> Any:
        return struct.unpack(form, self._bytes(struct.calcsize(form)))[0]

    def _bytes(self, count: int) -> bytes:
        data = self._file.read(count)
        if len(data) < count:
            raise EOFError("Neovim has left")
        return data

    def _read(self) -> Any:
        kind = self._take(">B")
        if kind in (0xC0, 0xC2, 0xC3):
            return {0xC0: None, 0xC2: False, 0xC3: True}[kind]
        if kind < 0x80:
            return kind
        if kind >= 0xE0:
            return kind - 0x100
        if kind in NUMBERS:
            return self._take(NUMBERS[kind])
        if kind <= 0xBF:
            form = {0x80: "map", 0x90: "list"}.get(kind & 0xF0, "text")
            return self._collection(form, kind & (0x1F if form == "text" else 0x0F))
        if 0xD4 <= kind <= 0xD8:  # a buffer or window, by its number
            return self._bytes(1 + (1 << (kind - 0xD4)))
        length = self._take(LENGTHS[kind])
        if 0xC7 <= kind <= 0xC9:
            return self._bytes(1 + length)
        form = "text" if kind <= 0xC6 or kind <= 0xDB else "list" if kind <= 0xDD else "map"
        return self._collection(form, length)

    def _collection(self, form: str, length: int) -> Any:
        if form == "text":
            return self._bytes(length).decode("utf-8", "replace")
        if form == "list":
            return [self._read() for _ in range(length)]
        return {self._read(): self._read() for _ in range(length)}
