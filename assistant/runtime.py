"""The runtime file: where a running daemon is written down, who may be believed, and whether it is still true.

Everything is light, because every command looks here first. It knows nothing of HTTP, nor of how a daemon starts.

The folder is the user's runtime folder (``HONE_RUNTIME_DIR`` overrides it) and closed to everybody else, since the file
holds the token with which the daemon is run. A process is told from a later one with the same number by the time at
which it was created.
"""

import contextlib
import ipaddress
import json
import os
import stat
import sys
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import platformdirs
import psutil

from assistant import __version__
from assistant.config import EMBEDDED_FOLDER, Settings
from assistant.errors import DaemonError

LARGEST = 64 * 2**10
SAME_START_S = 2.0
"""Between two readings of one process's birth: it is derived from the clock, which is corrected now and then."""
ANY_HOST = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}  # noqa: S104 (not to bind: to reach what is bound so)


@dataclass(frozen=True)
class Endpoint:
    """A daemon: where it listens, which process it is, and what it was asked to hold."""

    version: str
    pid: int
    started: float
    """When the process was created, in seconds since the epoch."""
    token: str = field(repr=False)
    """Lets whoever has it stop the daemon; accepted wherever another token is asked for."""
    host: str = ""
    port: int = 0
    socket: str | None = None
    """A Unix socket; then there is no host and port."""
    model: str | None = None
    """The checkpoint's folder; None for the embedded model."""
    edit_model: str | None = None
    """The folder of the checkpoint that does edits; None where nobody said."""
    device: str = "auto"
    dtype: str | None = None
    quantize: str | None = None
    ready: bool = False
    """Whether the model was opened; until then requests wait."""

    @property
    def address(self) -> str:
        """For people: what a browser opens, or the socket's path."""
        if self.socket is not None:
            return f"unix:{self.socket}"
        host = self.reachable_host
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def reachable_host(self) -> str:
        return ANY_HOST.get(self.host, self.host)


@dataclass(frozen=True)
class Sighting:
    """What the runtime file says, and what became of it."""

    state: Literal["none", "running", "stale", "untrusted"]
    endpoint: Endpoint | None = None
    """As far as the file could be read; believe it only where the state is "running"."""
    detail: str = ""
    """Why not, as a sentence; "" where a daemon runs or none does."""


# Places.


def runtime_folder(env: Mapping[str, str] | None = None) -> Path:
    env = os.environ if env is None else env
    if env.get("HONE_RUNTIME_DIR"):
        return Path(env["HONE_RUNTIME_DIR"]).expanduser().absolute()
    with warnings.catch_warnings():  # platformdirs warns where a system has no such folder and it takes another one
        warnings.simplefilter("ignore")
        return platformdirs.user_runtime_path("hone")


def runtime_file(env: Mapping[str, str] | None = None) -> Path:
    return runtime_folder(env) / "daemon.json"


def log_file(env: Mapping[str, str] | None = None) -> Path:
    """Where a daemon writes that a front end has started. It outlives the session, as the runtime folder may not."""
    env = os.environ if env is None else env
    if env.get("HONE_RUNTIME_DIR"):
        return runtime_folder(env) / "daemon.log"
    return platformdirs.user_log_path("hone") / "daemon.log"


def private_folder(folder: Path) -> Path:
    """``folder``, there and closed to everybody else.

    Raises:
        DaemonError: it belongs to somebody else, or cannot be made.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if wrong := _folder_trouble(folder):
            raise DaemonError(wrong)
        if os.name != "nt" and folder.stat().st_mode & 0o077:
            folder.chmod(0o700)
    except OSError as error:
        raise DaemonError(
            f"{folder} cannot be made: {error.strerror}; set HONE_RUNTIME_DIR to another folder"
        ) from error
    return folder


def _folder_trouble(folder: Path) -> str | None:
    """Why what lies in it proves nothing. Whoever owns the folder above could exchange it, so that one counts, too."""
    fix = "set HONE_RUNTIME_DIR to a folder of your own"
    if sys.platform == "win32":
        return None  # the user's profile is closed to others
    status, above = folder.lstat(), folder.parent.stat()
    if not stat.S_ISDIR(status.st_mode):
        return f"{folder} is not a folder; {fix}"
    if status.st_uid != os.geteuid():
        return f"{folder} belongs to another user; {fix}"
    if above.st_uid not in (0, os.geteuid()):
        return f"{folder.parent} belongs to another user; {fix}"
    return None


# Reading.


def find(env: Mapping[str, str] | None = None) -> Endpoint | None:
    """The daemon that runs, if one does.

    Raises:
        DaemonError: the runtime file is none that may be believed.
    """
    seen = look(env)
    if seen.state == "untrusted":
        raise DaemonError(seen.detail)
    return seen.endpoint if seen.state == "running" else None


def look(env: Mapping[str, str] | None = None) -> Sighting:
    """What there is, without an error: for those who explain it."""
    path = runtime_file(env)
    try:
        if wrong := _folder_trouble(path.parent):
            return Sighting("untrusted", detail=wrong)
        data = _read(path)
    except (FileNotFoundError, NotADirectoryError):
        return Sighting("none")
    except DaemonError as error:
        return Sighting("untrusted", detail=str(error))
    except OSError as error:
        return Sighting("untrusted", detail=f"{path} cannot be read: {error.strerror}; delete it")
    try:
        endpoint = parse(data)
    except ValueError as error:
        return Sighting("stale", detail=f"{path} is damaged ({error}); the next start replaces it")
    if not is_running(endpoint):
        gone = f"{path} is stale: process {endpoint.pid} has ended without removing it; the next start replaces it"
        return Sighting("stale", endpoint, gone)
    return Sighting("running", endpoint)


def _read(path: Path) -> bytes:
    # A link could lead to a file that someone else may write, a pipe would let us wait.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
    descriptor = os.open(path, flags)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise DaemonError(f"{path} is not a file; delete it")
        if sys.platform != "win32":
            if status.st_uid != os.geteuid():
                raise DaemonError(f"{path} belongs to another user and is not believed; delete it")
            if status.st_mode & 0o077:
                raise DaemonError(f"{path} is open to others, who may know its token; delete it and restart the daemon")
        return file.read(LARGEST)


def parse(data: bytes) -> Endpoint:
    """An endpoint from the file's bytes.

    Raises:
        ValueError: what is wrong with them.
    """
    try:
        values = json.loads(data)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(values, dict):
        raise ValueError("not an object")  # noqa: TRY004 (one kind of error, whatever is wrong)
    # A newer version may write more than this one knows of.
    known = {key: value for key, value in values.items() if key in KINDS}
    for key, value in known.items():
        if not isinstance(value, KINDS[key]):
            raise ValueError(f"{key} is {value!r}")  # noqa: TRY004 (as above)
    if missing := REQUIRED - known.keys():
        raise ValueError(f"no {min(missing)}")
    return Endpoint(**known)


OPTIONAL_TEXT = (str, type(None))
KINDS: dict[str, Any] = {
    "version": str, "pid": int, "started": (int, float), "token": str, "host": str, "port": int,
    "socket": OPTIONAL_TEXT, "model": OPTIONAL_TEXT, "edit_model": OPTIONAL_TEXT, "device": str,
    "dtype": OPTIONAL_TEXT, "quantize": OPTIONAL_TEXT, "ready": bool,
}  # fmt: skip
REQUIRED = {"version", "pid", "started", "token"}


def is_running(endpoint: Endpoint) -> bool:
    """Whether that very process lives: not a later one with its number, and not one that only waits to be reaped."""
    try:
        process = psutil.Process(endpoint.pid)
        same = abs(process.create_time() - endpoint.started) < SAME_START_S
        return same and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, ValueError, OverflowError):
        return False


def misfit(endpoint: Endpoint, settings: Settings) -> str | None:
    """Why this daemon is not the one that is asked for. What the settings leave open, it may have as it likes."""
    if endpoint.version != __version__:
        return f"it has version {endpoint.version}, this is {__version__}"
    if settings.model is not None and model_name(settings) != endpoint.model:
        return f"it holds {endpoint.model or 'the embedded model'}, not {model_name(settings) or 'the embedded model'}"
    if settings.edit_model is not None and edit_model_name(settings) != endpoint.edit_model:
        return f"it edits with {endpoint.edit_model or 'the model of its choice'}, not {settings.edit_model}"
    if settings.device not in ("auto", endpoint.device):
        return f"it was started with --device {endpoint.device}, not {settings.device}"
    if settings.dtype not in (None, "auto", endpoint.dtype):
        return f"it was started with --dtype {endpoint.dtype or 'auto'}, not {settings.dtype}"
    if settings.quantize not in (None, endpoint.quantize):
        held = f"with --quantize {endpoint.quantize}" if endpoint.quantize else "without --quantize"
        return f"it was started {held}, not with {settings.quantize}"
    return None


def model_name(settings: Settings) -> str | None:
    if settings.model is None or settings.model.resolve() == EMBEDDED_FOLDER.resolve():
        return None
    return str(settings.model.resolve())


def edit_model_name(settings: Settings) -> str | None:
    return None if settings.edit_model is None else str(settings.edit_model.resolve())


# Writing.


def write(endpoint: Endpoint, env: Mapping[str, str] | None = None) -> None:
    """In one go: nobody ever reads half of it.

    Raises:
        DaemonError: the folder is not ours, or cannot be written to.
    """
    path = runtime_file(env)
    private_folder(path.parent)
    try:
        descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=".daemon-", suffix=".json")  # 0600
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(asdict(endpoint), file)
            Path(draft).replace(path)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise DaemonError(f"{path} cannot be written: {error.strerror}; set HONE_RUNTIME_DIR") from error


def remove(endpoint: Endpoint, env: Mapping[str, str] | None = None) -> None:
    """Takes the file away if it tells of this daemon."""
    found = look(env).endpoint
    if found is not None and (found.pid, found.token) == (endpoint.pid, endpoint.token):
        with contextlib.suppress(OSError):
            runtime_file(env).unlink(missing_ok=True)


def is_loopback(host: str) -> bool:
    """Whether nobody on another machine can call an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
