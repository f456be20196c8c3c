"""Starting fast: an editor starts a server of its own each time, and waits for it.

Half of a start was the import of one module: attrs writes methods for lsprotocol's hundreds of classes, and Python
compiles them anew each time. What was compiled is kept in the cache folder (``HONE_CACHE_DIR``), found by the text that
it was compiled from, so it cannot be out of date. Without the file, or one that only we can write, all is as ever.
"""

import gc
import hashlib
import importlib.util
import marshal
import os
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import CodeType, ModuleType

import attr._make
import platformdirs

from assistant.config import Settings

_LARGEST = 16 * 2**20


def serve(settings: Settings, tcp: str | None = None, *, reread: Callable[[], Settings] | None = None) -> int:
    """``lsp.server.serve``, imported in half the time."""
    gc.disable()  # next to nothing that an import makes is garbage
    try:
        with kept_code(attr._make, kept_at()):
            import lsprotocol.types  # noqa: F401, PLC0415 (for those who import it next)
        from lsp.server import serve  # noqa: PLC0415 (behind it)
    finally:
        gc.freeze()
        gc.enable()
    return serve(settings, tcp, reread=reread)


def kept_at() -> Path:
    base = os.environ.get("HONE_CACHE_DIR")
    return (Path(base) if base else platformdirs.user_cache_path("hone")) / f"attrs-{sys.implementation.cache_tag}.bin"


@contextmanager
def kept_code(module: ModuleType, path: Path) -> Iterator[None]:
    """Inside, ``module`` compiles nothing that is kept in the file; what it compiles anew is written to it."""
    kept = _read(path)
    used: dict[bytes, CodeType] = {}
    # The compiler would ask the calling module what it imported from the future.
    future = getattr(getattr(module, "annotations", None), "compiler_flag", 0)

    def recall(source: str, filename: str, mode: str) -> CodeType:
        key = hashlib.blake2b(f"{filename}\0{mode}\0{future}\0{source}".encode(), digest_size=16).digest()
        code = kept.get(key)
        if code is None:
            code = compile(source, filename, mode, future, dont_inherit=True)
        used[key] = code
        return code

    setattr(module, "compile", recall)  # noqa: B010 (before the builtin one, which mypy knows)
    try:
        yield
    finally:
        delattr(module, "compile")
    if not used.keys() <= kept.keys():
        with suppress(OSError):
            _write(path, used)


def _read(path: Path) -> dict[bytes, CodeType]:
    """{} where there is none, it is damaged, or somebody else may have written it."""
    try:
        with path.open("rb") as file:
            if not _ours(os.fstat(file.fileno())):
                return {}
            data = file.read(_LARGEST)
    except OSError:
        return {}
    head, body = data[:_HEAD], data[_HEAD:]
    if head != _head(body):
        return {}
    found = marshal.loads(body)  # noqa: S302 (only this user can have written it, and it is whole)
    assert isinstance(found, dict)
    return found


def _write(path: Path, code: dict[bytes, CodeType]) -> None:
    """In one go: servers that start together read the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    body = marshal.dumps(code)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(_head(body) + body)
        Path(name).replace(path)
    except OSError:
        with suppress(OSError):
            Path(name).unlink()
        raise


def _head(body: bytes) -> bytes:
    return importlib.util.MAGIC_NUMBER + hashlib.sha256(body).digest()


_HEAD = len(importlib.util.MAGIC_NUMBER) + 32


def _ours(found: os.stat_result) -> bool:
    if not hasattr(os, "getuid"):
        return True  # the folder is in the user's profile, which others cannot write to
    return found.st_uid == os.getuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
