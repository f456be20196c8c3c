"""The daemon from outside: start it when none runs, replace it when it is another one, stop it, read its log.

Front ends call ``ensure``. However many call it at once, one of them starts the daemon and the others find it. It knows
nothing of how the daemon works; that is ``assistant.serve``.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from assistant import runtime
from assistant.client import Client
from assistant.config import Settings
from assistant.errors import DaemonError, HoneError
from assistant.runtime import Endpoint

START_S = 600.0
"""Until the model is open; one of many gigabytes on a slow disk takes minutes."""
LISTEN_S = 60.0
END_S = 8.0
"""A little more than ``assistant.serve`` takes to end in peace."""
POLL_S = 0.02
Tell = Callable[[str], None]
"""Told what takes long, as a sentence without a beginning or an end: "starting the daemon"."""


def ensure(settings: Settings, *, replace: bool = True, tell: Tell | None = None) -> Endpoint:
    """A daemon of this version that holds what the settings ask for: the one that runs, or a new one.

    ``replace``: whether one that does not fit is ended for it.

    Raises:
        DaemonError: it cannot be started, with the reason from its log; or another one may not be replaced.
    """
    tell = tell or _silent
    lock = FileLock(runtime.private_folder(runtime.runtime_folder()) / "start.lock", mode=0o600)
    asked, deadline = time.time(), time.monotonic() + START_S
    while True:
        found = _usable(settings)
        if found is None or (found.ready and not _answers(found)):
            with contextlib.suppress(Timeout), lock.acquire(timeout=0):
                found = _usable(settings)  # somebody may have started it between the look and the lock
                if found is None or (found.ready and not _answers(found)):
                    if (wrong := _failure_since(asked, settings)) is not None:
                        raise DaemonError(wrong)
                    return _take_over(settings, replace, tell)
        elif found.ready:
            return found
        # Somebody else starts one, or it opens its model. Until then nobody knows whether that succeeds.
        if time.monotonic() > deadline:
            raise DaemonError(f"the daemon has been starting for {START_S:.0f} s; `hone serve logs` may tell why")
        time.sleep(POLL_S)


def _silent(_: str) -> None:
    pass


def _usable(settings: Settings) -> Endpoint | None:
    endpoint = runtime.find()
    return endpoint if endpoint is not None and runtime.misfit(endpoint, settings) is None else None


def _answers(endpoint: Endpoint) -> bool:
    """Whether that daemon answers, and nobody else in its place."""
    try:
        with Client(endpoint) as client:
            client.status()
    except DaemonError:
        return False
    except HoneError:
        return True
    return True


def _take_over(settings: Settings, replace: bool, tell: Tell) -> Endpoint:
    running = runtime.find()
    if running is None:
        tell("starting the daemon")
        return _start_or_tell(settings)
    wrong = runtime.misfit(running, settings) or "it does not answer"
    if not replace:
        raise DaemonError(f"the daemon was replaced by another one ({wrong}); start this program again to use it")
    tell(f"replacing the daemon: {wrong}")
    end(running)
    return _start_or_tell(settings)


def _start_or_tell(settings: Settings) -> Endpoint:
    """Starts it; a failure is told to everybody who waits for this start, so that they need not fail one by one."""
    note = _failure_note()
    try:
        endpoint = start(settings)
    except DaemonError as error:
        with contextlib.suppress(OSError):
            note.write_text(json.dumps({"command": command(settings), "message": str(error)}), encoding="utf-8")
        raise
    note.unlink(missing_ok=True)
    return endpoint


def _failure_since(moment: float, settings: Settings) -> str | None:
    """How a start with the same settings failed while we waited for it."""
    note = _failure_note()
    try:
        if note.stat().st_mtime < moment:
            return None
        told = json.loads(note.read_text(encoding="utf-8"))
        return str(told["message"]) if told["command"] == command(settings) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _failure_note() -> Path:
    return runtime.runtime_folder() / "start.failed"


# Start.


def start(settings: Settings) -> Endpoint:
    """A new daemon, with its model open. It outlives this process and its terminal.

    Raises:
        DaemonError: it ended before that; with the last line of its log that says why.
    """
    log = _open_log(runtime.log_file())
    begin = log.stat().st_size
    with log.open("ab") as output:
        try:
            child = subprocess.Popen(  # noqa: S603 (ourselves)
                command(settings),
                cwd=Path(__file__).resolve().parent.parent,  # not the user's folder: Python would import from there
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                creationflags=getattr(subprocess, "DETACHED_PROCESS", 0)
                | getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        except OSError as error:
            raise DaemonError(f"the daemon cannot be started: {error.strerror}: {sys.executable}") from error
    # Where this process lives on, the child must not stay a zombie when it ends.
    ended = threading.Event()
    threading.Thread(target=_reap, args=(child, ended), name="reap", daemon=True).start()
    return _wait(child, ended, log, begin)


def _reap(child: subprocess.Popen[bytes], ended: threading.Event) -> None:
    child.wait()
    ended.set()


def _wait(child: subprocess.Popen[bytes], ended: threading.Event, log: Path, begin: int) -> Endpoint:
    started = time.monotonic()
    while True:
        found = runtime.look().endpoint
        mine = found if found is not None and found.pid == child.pid else None
        if mine is not None and mine.ready:
            return mine
        if ended.wait(POLL_S):
            raise DaemonError(f"the daemon did not start: {last_words(log, begin, child.returncode)}")
        if time.monotonic() - started > (LISTEN_S if mine is None else START_S):
            child.terminate()
            raise DaemonError(f"the daemon did not start in time; {log} may tell why")


def command(settings: Settings) -> list[str]:
    """The command line of a daemon with these settings: those that are not as they were born."""
    plain = Settings()
    words = [sys.executable, "-m", "assistant", "serve", "--any-port"]
    for key in PASSED:
        value = getattr(settings, key)
        if value == getattr(plain, key) or (settings.socket is not None and key in ("host", "port")):
            continue
        if isinstance(value, Path):
            value = value.absolute()
        flag = f"--{key.replace('_', '-')}"
        words += [flag] if value is True else [flag, ",".join(value) if isinstance(value, tuple) else str(value)]
    return words


PASSED = (
    "model", "edit_model", "device", "dtype", "quantize", "threads", "host", "port", "socket", "allow_host",
    "allow_origin", "log_code", "idle_unload", "exit_idle", "memory", "queue",
)  # fmt: skip
"""Everything but the token, which other users could read from a command line: it comes from the environment."""


def _environment() -> dict[str, str]:
    """This process's, with paths that lead to the same place from anywhere."""
    env = dict(os.environ)
    for key in ("HONE_RUNTIME_DIR", "HONE_CONFIG"):
        if env.get(key):
            env[key] = str(Path(env[key]).expanduser().absolute())
    return env


def _open_log(log: Path) -> Path:
    """The log file, there and readable by its owner only.

    Raises:
        DaemonError: it cannot be written.
    """
    try:
        log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
    except OSError as error:
        raise DaemonError(f"{log} cannot be written: {error.strerror}; set HONE_RUNTIME_DIR") from error
    return log


def last_words(log: Path, begin: int, code: int | None) -> str:
    """Why a daemon ended, from what it wrote behind ``begin``."""
    with log.open("rb") as file:
        file.seek(begin)
        lines = [line.strip() for line in file.read().decode("utf-8", "replace").splitlines() if line.strip()]
    complaints = [line.removeprefix("hone: ") for line in lines if line.startswith("hone: ")]
    if complaints:
        return complaints[-1]
    if code is not None and code < 0:
        return f"it was killed by signal {-code}, perhaps for want of memory; `hone doctor` says what there is"
    said = f"{lines[-1]!r}" if lines else "nothing"
    return f"it ended with code {code} and said {said}; `hone serve logs` tells more"


# Stop.


def stop() -> Endpoint | None:
    """Ends the daemon that runs and says which one it was; None where none ran. A stale file is taken away.

    Raises:
        DaemonError: it cannot be ended.
    """
    seen = runtime.look()
    if seen.state == "untrusted":
        raise DaemonError(seen.detail)
    if seen.state == "stale":
        runtime.runtime_file().unlink(missing_ok=True)
    if seen.state != "running" or seen.endpoint is None:
        return None
    end(seen.endpoint)
    return seen.endpoint


def end(endpoint: Endpoint) -> None:
    """Ends that very daemon: asks it, then tells it, then makes it.

    Raises:
        DaemonError: nothing helped.
    """
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(endpoint.pid)
        with contextlib.suppress(DaemonError), Client(endpoint) as client:
            client.shutdown()
            if _is_gone(endpoint, END_S):
                return
        for measure in (process.terminate, process.kill):
            if not runtime.is_running(endpoint):
                break
            try:
                measure()
            except psutil.AccessDenied:
                break
            if _is_gone(endpoint, END_S):
                break
    if runtime.is_running(endpoint):
        raise DaemonError(f"the daemon, process {endpoint.pid}, does not end; end it by hand")
    runtime.remove(endpoint)


def _is_gone(endpoint: Endpoint, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while runtime.is_running(endpoint):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


# Its log.


def tail(log: Path, lines: int, *, follow: bool = False) -> Iterator[str]:
    """The last lines, and then what is added, for as long as somebody reads.

    Raises:
        DaemonError: there is no log.
    """
    try:
        with log.open("rb") as file:
            yield from _last_lines(file.read(), lines)
            while follow:
                added = file.read()
                if added:
                    yield added.decode("utf-8", "replace")
                    continue
                time.sleep(0.2)
                if log.exists() and log.stat().st_size < file.tell():  # it was begun anew
                    file.seek(0)
    except FileNotFoundError:
        raise DaemonError(
            f"there is no {log}: a daemon that you start yourself writes to its terminal, or to the journal of systemd"
        ) from None
    except OSError as error:
        raise DaemonError(f"{log} cannot be read: {error.strerror}") from error


def _last_lines(data: bytes, count: int) -> Iterator[str]:
    lines = data.decode("utf-8", "replace").splitlines(keepends=True)
    yield from lines[max(len(lines) - count, 0) :]
