"""Files as text and back, with nothing changed that was not asked for: encoding, byte-order mark, line endings, mode.

Also the ways to point into a text. Lines and columns count from 1, columns and offsets count code points; a line ends
with ``\\n``, ``\\r\\n`` or a lone ``\\r``, as in editors. A byte-order mark takes no column.
"""

import os
import re
import stat
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from assistant.errors import PositionError, SourceError
from assistant.types import TextEdit

LARGEST = 64 * 2**20
"""Bytes; more than this is data, not source."""

BYTE_ORDER_MARK = "\ufeff"
_LINE_END = re.compile(r"\r\n|\n|\r")


@dataclass(frozen=True)
class Source:
    """A file's text, decoded and otherwise untouched (a byte-order mark is its first character)."""

    text: str
    name: str
    """The file's path as given, or what stdin is to be taken for."""
    path: Path | None
    """Where it can be written back; None for stdin."""


def read_source(file: str, *, stdin_filename: str | None = None) -> Source:
    """Read ``file``, or stdin when it is "-".

    Raises:
        SourceError: no such file, not a file, too large, or not UTF-8 text.
    """
    if file == "-":
        data = sys.stdin.buffer.read(LARGEST + 1)
        return Source(_decode(data, "stdin"), stdin_filename or "", None)
    path = Path(file)
    try:
        if not path.is_file():
            raise SourceError(f"{file} is not a file" if path.exists() else f"{file} does not exist")
        with path.open("rb") as handle:
            data = handle.read(LARGEST + 1)
    except OSError as error:
        raise SourceError(f"{file} cannot be read: {error.strerror}") from error
    return Source(_decode(data, file), stdin_filename or file, path)


def _decode(data: bytes, name: str) -> str:
    if len(data) > LARGEST:
        raise SourceError(f"{name} is larger than {LARGEST >> 20} MiB: too large for source code")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SourceError(f"{name} is not UTF-8 text: byte {error.start} is 0x{data[error.start]:02x}") from error
    if "\0" in text:
        raise SourceError(f"{name} is not text: byte {data.index(0)} is zero")
    return text


def write_source(path: Path, text: str) -> None:
    """Replace the file in one step: readers see the old text or the new one, whatever happens in between.

    Keeps the file's mode and, through a symbolic link, the link.

    Raises:
        SourceError: the folder or the file cannot be written.
    """
    target = Path(os.path.realpath(path))
    try:
        mode = stat.S_IMODE(target.stat().st_mode)
        if not os.access(target, os.W_OK):
            raise SourceError(f"{path} is write-protected")
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(text.encode("utf-8"))
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(mode)
            Path(temporary).replace(target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise SourceError(f"{path} cannot be written: {error.strerror}") from error


def applied(text: str, edits: Iterable[TextEdit]) -> str:
    """The text with the edits made; they do not overlap."""
    from infill.minimal import spliced  # noqa: PLC0415 (the command line starts without the engine)

    return spliced(text, ((one.start, one.end, one.text) for one in edits))


def offset_at(text: str, line: int, column: int) -> int:
    """The offset of LINE:COLUMN; the column behind a line's last character is its end.

    Raises:
        PositionError: names the place and how far the text, or the line, goes.
    """
    start = int(text.startswith(BYTE_ORDER_MARK))
    ends = _LINE_END.finditer(text)
    for passed in range(line - 1):
        end = next(ends, None)
        if end is None:
            raise PositionError(f"line {line} is outside of the text, which has lines 1 to {passed + 1}")
        start = end.end()
    end = next(ends, None)
    width = (end.start() if end else len(text)) - start
    if line < 1:
        raise PositionError(f"line {line}: lines count from 1")
    if not 1 <= column <= width + 1:
        raise PositionError(f"column {column} is outside of line {line}, which has columns 1 to {width + 1}")
    return start + column - 1


def position_at(text: str, offset: int) -> tuple[int, int]:
    """LINE, COLUMN of an offset inside the text: the other way round."""
    ends = [match.end() for match in _LINE_END.finditer(text, 0, offset)]
    start = ends[-1] if ends else int(text.startswith(BYTE_ORDER_MARK))
    return len(ends) + 1, max(offset - start, 0) + 1


def check_offset(text: str, offset: int) -> int:
    if not 0 <= offset <= len(text):
        raise PositionError(f"offset {offset} is outside of the text, which has offsets 0 to {len(text)}")
    return offset


def take_marker(text: str, marker: str) -> tuple[str, int]:
    """The text without its one marker, and the offset where that stood.

    Raises:
        PositionError: the marker is not there, or there more than once.
    """
    count = text.count(marker) if marker else 0
    if count != 1:
        raise PositionError(f"the marker {marker!r} must stand in the text once, not {count} times")
    before, _, after = text.partition(marker)
    return before + after, len(before)
