"""Run one program under limits: started by ``infill.sandbox`` as a script of its own, never imported by Hone.

Reads one JSON job from stdin (``source``, ``seconds``, ``memory_mb``, ``word``), limits itself, runs the source as
``__main__`` and writes one JSON report to stdout. The layers, outermost first: resource limits of the kernel, a
network namespace without interfaces where the kernel permits one, and an audit hook that refuses sockets, new
processes, foreign code and changes of files outside the working folder. That stops accidents of a model's programs. It
is no defence against a program written to break out: for that, use a virtual machine.
"""

import ctypes
import json
import os
import sys
from typing import Any

if sys.platform != "win32":
    import resource

REFUSED = (
    "socket.",
    "subprocess.",
    "ctypes.",
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.kill",
    "os.killpg",
    "os.posix_spawn",
    "os.spawn",
    "os.startfile",
    "os.system",
    "pty.",
    "shutil.",
    "signal.pthread_kill",
    "webbrowser.",
)
CHANGES = (
    "os.chmod",
    "os.chown",
    "os.link",
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.symlink",
    "os.truncate",
)
NEW_USER, NEW_NETWORK = 0x10000000, 0x40000000  # CLONE_NEWUSER, CLONE_NEWNET of linux/sched.h
DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of linux/prctl.h


def main() -> None:
    job = json.loads(sys.stdin.buffer.read())
    report = os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    isolated = leave_network()
    limit(int(job["seconds"]), int(job["memory_mb"]) * 2**20)
    outcome, detail = execute(job["source"])
    answer = {"word": job["word"], "outcome": outcome, "detail": detail[:300], "isolated": isolated}
    os.write(report, json.dumps(answer).encode())
    os._exit(0)  # Threads that a program leaves behind must not hold up the report.


def execute(source: str) -> tuple[str, str]:
    """("passed" | "failed" | "memory", what went wrong)."""
    space: dict[str, Any] = {"__name__": "__main__", "__builtins__": __builtins__}
    try:
        code = compile(source, "program.py", "exec", dont_inherit=True)
        sys.addaudithook(refuse)
        exec(code, space)  # noqa: S102 - running it is the purpose of this file
    except MemoryError:
        space.clear()
        return "memory", "MemoryError"
    except BaseException as error:  # noqa: BLE001 - SystemExit too: a program that leaves early has not passed
        return "failed", f"{type(error).__name__}: {error}"
    return "passed", ""


def limit(seconds: int, memory: int) -> None:
    """Limits that the kernel keeps, also against C code. Windows has none of them: there the caller's clock is left."""
    if sys.platform == "win32":
        return
    wanted = {
        "RLIMIT_AS": memory,
        "RLIMIT_CPU": seconds + 1,
        "RLIMIT_FSIZE": 2**20,
        "RLIMIT_NOFILE": 64,
        "RLIMIT_NPROC": 0,
        "RLIMIT_CORE": 0,
    }
    for name, value in wanted.items():
        number = getattr(resource, name, None)
        if number is None:
            continue
        hard = resource.getrlimit(number)[1]
        allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
        try:
            resource.setrlimit(number, (allowed, allowed))
        except (OSError, ValueError):  # macOS refuses some limits; the others still hold.
            continue


def leave_network() -> bool:
    """Move into a network namespace that has no interface; False where the system has none or forbids it."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(DIE_WITH_PARENT, 9, 0, 0, 0)
        return bool(libc.unshare(NEW_USER | NEW_NETWORK) == 0)
    except (OSError, AttributeError):
        return False


def refuse(event: str, arguments: tuple[Any, ...]) -> None:
    """The audit hook: raises PermissionError for what a test program has no business doing."""
    if event.startswith(REFUSED):
        raise PermissionError(f"{event} is refused in the sandbox")
    if event == "open":
        path, mode, flags = arguments
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        if writes or (isinstance(mode, str) and set(mode) & set("wax+")):
            stay(event, path)
    elif event in CHANGES:
        for path in arguments[:2]:
            if isinstance(path, str | bytes):
                stay(event, path)


def stay(event: str, path: object) -> None:
    here = os.path.realpath(os.curdir)
    if not isinstance(path, str | bytes) or os.path.commonpath([here, os.path.realpath(os.fsdecode(path))]) != here:
        raise PermissionError(f"{event} outside the working folder is refused in the sandbox")


if __name__ == "__main__":
    main()
