"""Files as bytes and back: read once, replaced in one step, and only while they are what they were.

What is written goes into a file beside the old one, which then takes its place: whoever looks sees all of the old text
or all of the new one. The file beside has a name that tells whose it is, so that one that a crash left is found again.
"""

import contextlib
import hashlib
import os
import re
import stat
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from assistant.errors import SourceError
from assistant.workspace.gate import LARGEST, WRITTEN_BY_PROGRAMS, Gate, KeptOut, content, decoded

BESIDE = ".hone-refactor"
"""The end of the name of a file that waits to take another's place."""


class ChangedError(SourceError):
    """The file is not any more what it was when it was read."""


@dataclass(frozen=True)
class Original:
    """A file as it was read."""

    path: str
    """Below the root, with slashes."""
    data: bytes
    mode: int

    @cached_property
    def text(self) -> str:
        """With its byte-order mark and its line ends."""
        return self.data.decode("utf-8")

    @cached_property
    def digest(self) -> str:
        return digest(self.data)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def read(gate: Gate, path: str) -> Original | KeptOut:
    """A file below the gate's root, or why it is not edited. Links are not followed, in no part of the path."""
    place = gate.root / path
    if (link := _link(gate.root, path)) is not None:
        return KeptOut(link, "a link, which is not followed")
    if (reason := gate.path(path)) is not None:
        return KeptOut(path, reason)
    if WRITTEN_BY_PROGRAMS.search(place.name):
        return KeptOut(path, "written by a program")
    try:
        data, status = _bytes(place, LARGEST + 1)
    except OSError as error:
        return KeptOut(path, f"cannot be read: {error.strerror}")
    if data is None:
        return KeptOut(path, "not a file")
    if status.st_nlink > 1:
        return KeptOut(path, "has several names (hard links)")
    text = decoded(data)
    if isinstance(text, KeptOut):
        return KeptOut(path, text.reason)
    if (reason := content(text)) is not None:
        return KeptOut(path, reason)
    return Original(path, data, stat.S_IMODE(status.st_mode))


def current(root: Path, path: str) -> str | None:
    """The digest of what stands there now; None where there is no file."""
    try:
        data, _ = _bytes(root / path, None)
    except OSError:
        return None
    return None if data is None else digest(data)


def replace(root: Path, path: str, data: bytes, *, expected: str, mode: int) -> None:
    """Writes ``data`` in place of what has the digest ``expected``, with ``mode``, in one step.

    Raises:
        ChangedError: something else stands there; it is left alone.
        SourceError: it cannot be written.
    """
    place = root / path
    beside = _beside(place)
    _require(root, path, expected)
    if not os.access(place, os.W_OK):
        raise SourceError(f"{path} is write-protected")
    try:
        beside.unlink(missing_ok=True)
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            _keep(place, beside, mode)
            _require(root, path, expected)  # again, since writing takes its time
            beside.replace(place)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
        _settle(place.parent)
    except OSError as error:
        raise SourceError(f"{path} cannot be written: {error.strerror}") from error


def _require(root: Path, path: str, expected: str) -> None:
    if _link(root, path) is not None or current(root, path) != expected:
        raise ChangedError(f"{path} has changed meanwhile")


def sweep(root: Path, path: str) -> None:
    """Takes away what a crash left beside a file."""
    with contextlib.suppress(OSError):
        _beside(root / path).unlink(missing_ok=True)


def _beside(place: Path) -> Path:
    # Names have at most 255 bytes.
    name = place.name if len(place.name.encode()) < 200 else hashlib.sha256(place.name.encode()).hexdigest()
    return place.with_name(f".{name}{BESIDE}")


def _bytes(place: Path, most: int | None) -> tuple[bytes | None, os.stat_result]:
    """None for what is no file."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    handle = os.open(place, flags)
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        os.close(handle)
        return None, status
    with os.fdopen(handle, "rb") as file:
        return file.read() if most is None else file.read(most), status


def _link(root: Path, path: str) -> str | None:
    """The first part of a path below the root that is a link."""
    parts = path.split("/")
    for count in range(1, len(parts) + 1):
        if (root / "/".join(parts[:count])).is_symlink():
            return "/".join(parts[:count])
    return None


def _keep(old: Path, new: Path, mode: int) -> None:
    """What a file has beside its bytes."""
    status = old.stat()
    if hasattr(os, "chown") and (status.st_uid, status.st_gid) != (os.geteuid(), new.stat().st_gid):
        with contextlib.suppress(OSError):
            os.chown(new, status.st_uid, status.st_gid)
    new.chmod(mode)
    if hasattr(os, "listxattr"):
        with contextlib.suppress(OSError):
            for name in os.listxattr(old):
                os.setxattr(new, name, os.getxattr(old, name))


def _settle(folder: Path) -> None:
    """The new name is on the disk as well."""
    with contextlib.suppress(OSError):  # not every system opens folders
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def below(root: Path, given: Path) -> str | None:
    """A path below ``root``, which has no links in it, as it was given: parts behind the root stay links. None where it
    is not below it."""
    plain = Path(os.path.abspath(given))  # noqa: PTH100 (links stay links)
    for folder in (*reversed(plain.parents), plain):
        if os.path.realpath(folder) == str(root):
            return plain.relative_to(folder).as_posix()
    return None


def here(root: Path, path: str) -> str:
    """What a path below ``root`` is called in the current folder, as messages have it."""
    return os.path.relpath(root / path) + "/" * path.endswith("/")


_ODD = re.compile(r'[\x00-\x1f\x7f"\\]')


def quoted(path: str) -> str:
    """As git writes a path in a patch."""
    if not _ODD.search(path):
        return path
    known = {"\a": "a", "\b": "b", "\t": "t", "\n": "n", "\v": "v", "\f": "f", "\r": "r", '"': '"', "\\": "\\"}
    return '"' + _ODD.sub(lambda one: "\\" + (known.get(one.group()) or f"{ord(one.group()):03o}"), path) + '"'
