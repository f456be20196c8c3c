"""The sandbox really stops what it promises to stop. Every program here runs in a process of its own."""

import socket
import sys
import time
from pathlib import Path

import pytest

from infill.sandbox import run_program


def check(source: str, outcome: str, *, detail: str = "", seconds: int = 5, memory_mb: int = 1024) -> None:
    verdict = run_program(source, seconds=seconds, memory_mb=memory_mb)
    assert (verdict.outcome, verdict.passed) == (outcome, outcome == "passed"), verdict
    assert detail in verdict.detail


@pytest.mark.parametrize(
    ("source", "outcome", "detail"),
    [
        ("import math, typing, hashlib, re\nassert math.prod([2, 3]) == 6", "passed", ""),
        ("assert 1 == 2, 'unequal'", "failed", "AssertionError: unequal"),
        ("def f(:", "failed", "SyntaxError"),
        ("raise SystemExit(0)", "failed", "SystemExit"),
        ("import os\nos._exit(0)", "crashed", "status 0"),
        ('print(\'{"outcome": "passed"}\')\nraise ValueError', "failed", "ValueError"),
        ("if __name__ != '__main__': raise ValueError", "passed", ""),
        ("import sys\nassert sys.stdin.read() == ''", "passed", ""),
        ("def f(): return f()\nf()", "failed", "RecursionError"),
    ],
)
def test_only_a_program_that_reaches_its_end_has_passed(source: str, outcome: str, detail: str) -> None:
    check(source, outcome, detail=detail)


def test_an_endless_loop_is_stopped() -> None:
    started = time.monotonic()
    check("while True: pass", "timeout", seconds=1)
    check("import time\ntime.sleep(60)", "timeout", seconds=1)
    assert time.monotonic() - started < 20


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of other systems does not keep RLIMIT_AS")
def test_a_memory_bomb_is_stopped() -> None:
    check("x = bytearray(2 * 2**30)", "memory", memory_mb=256)
    check("x = [0]\nwhile True: x += x", "memory", memory_mb=256)


def test_no_socket_reaches_even_this_machine() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        check(f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 2)", "failed", detail="refused")
    check("import urllib.request\nurllib.request.urlopen('http://127.0.0.1')", "failed")


@pytest.mark.parametrize(
    "source",
    [
        "import os\nos.fork()",
        "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'pass'])",
        "import os\nos.system('true')",
        "import os, sys\nos.execv(sys.executable, ['python'])",
        "import ctypes\nctypes.CDLL(None).fork()",
        "import os\nos.kill(os.getppid(), 0)",
    ],
)
def test_no_second_process_is_started(source: str) -> None:
    check(source, "failed", detail="refused")


def test_files_outside_the_working_folder_stay_as_they_are(tmp_path: Path) -> None:
    kept = tmp_path / "kept.txt"
    kept.write_text("here")
    check(f"open({str(kept)!r}, 'w')", "failed", detail="refused")
    check(f"import os\nos.remove({str(kept)!r})", "failed", detail="refused")
    check(f"import os\nos.open({str(kept)!r}, os.O_RDWR)", "failed", detail="refused")
    check("open('note.txt', 'w').write('x')\nassert open('note.txt').read() == 'x'", "passed")
    assert kept.read_text() == "here"


def test_the_environment_is_not_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HONE_SECRET", "word")
    check("import os\nassert 'HONE_SECRET' not in os.environ", "passed")
