"""Models on this machine: ``HONE_MODELS``, or ``hone/models`` in the user's data folder, one folder each.

Beside its files a model has a record, ``hone.json``: where it is from, at which commit, its licence and when that was
accepted, and the size and SHA-256 of every file. A model is gathered in a folder of another name and renamed when all
of it is there and checked, so that one with its plain name is whole. Light: every command may look here.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import platformdirs

from assistant.errors import ModelError

RECORD = "hone.json"
PARTIAL = ".partial"
"""The end of the name of a folder that is being filled."""
LEAVING = ".leaving"
"""The end of the name of a folder that is being removed or replaced."""
LARGEST_RECORD = 2**20
PIECE = 2**20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Piece:
    """A file of a model."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Record:
    repo: str
    revision: str
    """A commit, in full."""
    family: str
    parameters: int
    licence: str
    """As the hub names it; "" where it names none."""
    accepted: str | None
    """When the user accepted the licence; None where it is a free one, which needs no such thing."""
    files: tuple[Piece, ...]
    tokenizer: str | None = None
    """The repository and commit (``OWNER/REPO@COMMIT``) of its tokenizer, where that is another one."""

    def as_text(self) -> str:
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"


@dataclass(frozen=True)
class Installed:
    name: str
    path: Path
    record: Record

    @property
    def nbytes(self) -> int:
        return sum(piece.size for piece in self.record.files)


def short(count: float) -> str:
    """A number of parameters, as people write it."""
    for unit, name in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        if count >= unit:
            return f"{count / unit:.3g} {name}"
    return f"{count:.0f}"


def models_folder(env: Mapping[str, str] | None = None) -> Path:
    env = os.environ if env is None else env
    if env.get("HONE_MODELS"):
        return Path(env["HONE_MODELS"]).expanduser().absolute()
    return platformdirs.user_data_path("hone", "hone") / "models"


def is_name(value: str) -> bool:
    """Whether it can be the name of a model: a plain one, which leads nowhere else."""
    return _NAME.fullmatch(value) is not None and not value.endswith((PARTIAL, LEAVING, "."))


def find(name: str, env: Mapping[str, str] | None = None) -> Path | None:
    """The folder of the installed model of that name. Letters of either size are the same: on some disks they are."""
    if not is_name(name):
        return None
    return next((path for path in _folders(models_folder(env)) if path.name.lower() == name.lower()), None)


def name_in_store(path: Path, env: Mapping[str, str] | None = None) -> str | None:
    """The name of the installed model whose folder that is."""
    folder = models_folder(env)
    return next((one.name for one in _folders(folder) if one.resolve() == path.resolve()), None)


def installed(env: Mapping[str, str] | None = None) -> list[Installed]:
    """All whole models, by name; those with a damaged record are left out, ``damaged`` has them."""
    found = []
    for path in _folders(models_folder(env)):
        with contextlib.suppress(ModelError):
            found.append(Installed(path.name, path, read_record(path)))
    return found


def damaged(env: Mapping[str, str] | None = None) -> list[str]:
    """What is wrong with the models that have no record that can be read."""
    found = []
    for path in _folders(models_folder(env)):
        try:
            read_record(path)
        except ModelError as error:
            found.append(str(error))
    return found


def begun(env: Mapping[str, str] | None = None) -> list[tuple[str, int]]:
    """Models of which a part was gathered, and how many bytes of it."""
    folder = models_folder(env)
    found = sorted(folder.glob(f"*{PARTIAL}")) if folder.is_dir() else []
    return [(path.name.removesuffix(PARTIAL), _size(path)) for path in found if path.is_dir()]


def read_record(path: Path) -> Record:
    """The record of the model in ``path``.

    Raises:
        ModelError: there is none, or it is damaged.
    """
    file = path / RECORD
    try:
        with file.open("rb") as stream:
            return _parsed(json.loads(stream.read(LARGEST_RECORD).decode("utf-8")))
    except OSError as error:
        raise ModelError(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ModelError(f"{file} is damaged ({error}): `hone model remove {path.name}`, then pull it again") from error


def _parsed(found: Any) -> Record:
    pieces = tuple(Piece(**one) for one in found.pop("files"))
    for piece in pieces:
        if not is_file_name(piece.name) or type(piece.size) is not int or not _SHA256.fullmatch(piece.sha256):
            raise ValueError(f"the file {piece.name!r} is not described")
    record = Record(files=pieces, **found)
    for key in ("repo", "revision", "family", "licence"):
        if not isinstance(getattr(record, key), str):
            raise TypeError(f"{key} is no text")
    if type(record.parameters) is not int:
        raise TypeError("parameters is no whole number")
    return record


def is_file_name(name: object) -> bool:
    """A plain name of a file: no folder, nothing above, nothing hidden."""
    return isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}", name) is not None


def _folders(folder: Path) -> list[Path]:
    try:
        found = sorted(folder.iterdir(), key=lambda path: path.name.lower())
    except OSError:
        return []
    return [path for path in found if is_name(path.name) and path.is_dir() and not path.is_symlink()]


# Changes.


def partial(name: str) -> Path:
    """The folder in which a model of that name is gathered; made if it is not there.

    Raises:
        ModelError: it cannot be made.
    """
    path = models_folder() / f"{name}{PARTIAL}"
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelError(f"{path} cannot be made: {error.strerror}; HONE_MODELS names another folder") from error
    return path


def tidy(name: str) -> None:
    """What was gathered goes where no weights are among it: they alone are worth going on with."""
    path = models_folder() / f"{name}{PARTIAL}"
    if path.is_dir() and not any(".safetensors" in one.name and "index" not in one.name for one in path.iterdir()):
        _delete(path)


def install(name: str, record: Record) -> Path:
    """What was gathered becomes the model of that name, in place of an older one. Files that the record does not list
    are removed first.

    Raises:
        ModelError: it cannot be written, and what was gathered is still there.
    """
    try:
        return _install(name, record)
    except OSError as error:
        raise ModelError(
            f"{error.filename or name} cannot be written: {error.strerror}; what has come is kept"
        ) from error


def _install(name: str, record: Record) -> Path:
    source, target = partial(name), models_folder() / name
    wanted = {piece.name for piece in record.files}
    for path in source.iterdir():
        if path.name not in wanted:
            _delete(path)
    (source / RECORD).write_text(record.as_text(), encoding="utf-8")
    old = find(name)
    if old is not None:
        gone = _leaving(old)
        source.replace(target)
        _delete(gone)
    else:
        source.replace(target)
    return target


def remove(name: str) -> int:
    """Removes the model of that name, and what was gathered of it. Returns the number of bytes.

    Raises:
        ModelError: there is none of that name.
    """
    there = parts(name)
    count = sum(map(_size, there))
    try:
        for one in there:
            _delete(_leaving(one))
    except OSError as error:
        raise ModelError(f"{error.filename} cannot be removed: {error.strerror}") from error
    return count


def parts(name: str) -> list[Path]:
    """The folder of the model of that name, and that of what was gathered of it.

    Raises:
        ModelError: there is neither.
    """
    if not is_name(name):
        raise ModelError(f"{name!r} is not the name of a model; `hone model list` has those that there are")
    folders = (find(name), models_folder() / f"{name}{PARTIAL}")
    there = [one for one in folders if one is not None and one.is_dir() and not one.is_symlink()]
    if not there:
        raise ModelError(f"no model {name!r} is installed; `hone model list` has those that there are")
    return there


def _size(folder: Path) -> int:
    return sum(one.lstat().st_size for one in folder.rglob("*") if one.is_file())


def _leaving(path: Path) -> Path:
    """Renamed first: nobody opens a model of which half is gone."""
    gone = path.with_name(f"{path.name}{LEAVING}")
    if gone.exists():
        _delete(gone)
    return path.replace(gone)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


# Checksums.


def verify(path: Path, record: Record) -> Iterator[tuple[Piece, str | None]]:
    """Every file of the record, and what is wrong with it."""
    for piece in record.files:
        yield piece, _trouble(path / piece.name, piece)


def _trouble(file: Path, piece: Piece) -> str | None:
    try:
        size = file.stat().st_size
        if size != piece.size:
            return f"has {size} bytes, not {piece.size}"
        return None if sha256(file) == piece.sha256 else "does not have the checksum that it had when it was pulled"
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def git_sha1(file: Path) -> str:
    """What git calls a file of this content: the only checksum that the hub has of small ones."""
    found = hashlib.sha1(b"blob %d\0" % file.stat().st_size, usedforsecurity=False)
    with file.open("rb") as stream:
        while data := stream.read(PIECE):
            found.update(data)
    return found.hexdigest()
