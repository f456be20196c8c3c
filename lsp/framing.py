"""Messages out of a stream of bytes, and back to them after whatever stood between two.

pygls's own reader knows one spelling of a header, ends with the process at a length that no memory has, and never finds
the next message again once a length was wrong.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable
from typing import Protocol

# At the end of a line rather than on a line of its own: where a length was too small, the rest of that message stands
# before it, since messages end without a line's end.
LENGTH = re.compile(rb"content-length:[ \t]*(\d{1,20})[ \t]*\r?\n\Z", re.IGNORECASE)
LARGEST = 2**29
"""Bytes of a message; what claims to be longer is none."""
LONGEST_LINE = 2**20
"""Of a header, where a limit must be named."""


class Stream(Protocol):
    def readline(self) -> Awaitable[bytes]: ...
    def readexactly(self, n: int) -> Awaitable[bytes]: ...


async def bodies(stream: Stream) -> AsyncIterator[bytes]:
    """Until the stream ends."""
    length = 0
    while line := await stream.readline():
        found = LENGTH.search(line)
        if found is not None:
            length = int(found.group(1))
            length = length if length <= LARGEST else 0
        elif length and not line.strip():
            yield await stream.readexactly(length)
            length = 0


class Socket:
    """A connection as a ``Stream``: b"" once the other side is gone."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    async def readline(self) -> bytes:
        try:
            return await self._reader.readline()
        except ValueError:  # longer than any header; it was let go of
            return b"too long\n"
        except ConnectionError:
            return b""

    async def readexactly(self, n: int) -> bytes:
        try:
            return await self._reader.readexactly(n)
        except asyncio.IncompleteReadError as error:
            return error.partial
        except ConnectionError:
            return b""
