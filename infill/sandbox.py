"""Run a program that a model wrote: a process of its own, with limits on time and memory and without network.

``run_program`` returns a verdict and never raises for what the program does. How the process is fenced in, and what
that is worth, stands in ``infill.guard``.
"""

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Outcome = Literal["passed", "failed", "timeout", "memory", "crashed"]
GUARD = Path(__file__).with_name("guard.py")


@dataclass(frozen=True)
class Verdict:
    outcome: Outcome
    detail: str = ""
    """What went wrong, one line."""
    isolated: bool = False
    """Whether the kernel took the network away; otherwise only Python's own door to it was shut."""

    @property
    def passed(self) -> bool:
        return self.outcome == "passed"


def run_program(source: str, *, seconds: int = 5, memory_mb: int = 1024) -> Verdict:
    """Run Python source; "passed" means that its last line was reached, and nothing else does.

    seconds: wall clock and processor time; memory_mb: address space in MiB.
    Raises: OSError when the interpreter cannot be started (ours, not the program's, fault).
    """
    word = secrets.token_hex(8)
    job = {"source": source, "seconds": seconds, "memory_mb": memory_mb, "word": word}
    with tempfile.TemporaryDirectory(prefix="hone-sandbox-") as folder:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own script
            [sys.executable, "-I", "-S", "-B", str(GUARD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env={"PYTHONHASHSEED": "0"},
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(json.dumps(job).encode(), timeout=seconds)
        except subprocess.TimeoutExpired:
            return Verdict("timeout", f"more than {seconds} s")
        finally:
            end(process)
    return read_report(output, word, process.returncode)


def read_report(output: bytes, word: str, returncode: int) -> Verdict:
    """A report counts only with the word of this run: leaving early with status 0 is no pass."""
    try:
        report = json.loads(output)
        if report["word"] == word:
            return Verdict(report["outcome"], report["detail"], report["isolated"])
    except (ValueError, KeyError, TypeError):
        pass
    if returncode == -getattr(signal, "SIGXCPU", 24):
        return Verdict("timeout", "processor time used up")
    return Verdict("crashed", f"ended without a report, status {returncode}")


def end(process: "subprocess.Popen[bytes]") -> None:
    """Kill the whole process group, also when the leader is already gone, and collect the leader."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.communicate()
