"""Real daemons for tests: a private home, a tiny model, the command line as a process, and nothing left running."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import torch

from assistant import __version__, runtime
from assistant.runtime import Endpoint
from model.checkpoint import save_model
from model.config import SIZES, ModelConfig
from model.network import Network
from tests.fakes import small_tokenizer

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 60.0


def make_checkpoint(folder: Path) -> Path:
    """A tiny model that has learned nothing: everything is real but the answers."""
    tokenizer = small_tokenizer()
    torch.manual_seed(0)
    config = ModelConfig(**SIZES["nano"].to_dict() | {"vocab_size": tokenizer.vocab_size})
    save_model(folder, Network(config), tokenizer)
    return folder


@contextlib.contextmanager
def private(folder: Path) -> Iterator[Path]:
    """No settings, no files and no daemon of whoever runs the tests; what a test leaves running is ended."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("HONE_")]:
            patch.delenv(name)
        for name in ("FORCE_COLOR", "NO_COLOR"):
            patch.delenv(name, raising=False)
        patch.setenv("HOME", str(folder))
        patch.setenv("XDG_CONFIG_HOME", str(folder / ".config"))
        patch.setenv("XDG_DATA_HOME", str(folder / ".local" / "share"))
        patch.setenv("HONE_RUNTIME_DIR", str(folder / "run"))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("OMP_WAIT_POLICY", "passive")
        try:
            yield folder
        finally:
            for process in daemons(folder / "run"):
                with contextlib.suppress(psutil.Error):
                    process.kill()


def daemons(folder: Path) -> list[psutil.Process]:
    """The daemons whose runtime folder this is, whether or not they are written down there."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if {"assistant", "serve"} <= set(process.info["cmdline"] or ()):
            with contextlib.suppress(psutil.Error):
                if process.environ().get("HONE_RUNTIME_DIR") == str(folder):
                    found.append(process)
    return found


def hone(*arguments: str, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "assistant", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | env,
        timeout=PATIENCE_S,
        check=False,
    )


@contextlib.contextmanager
def process(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """The command line, running; ended at the latest when the block is left."""
    child = subprocess.Popen(
        [sys.executable, "-m", "assistant", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        with child:
            try:
                yield child
            finally:
                child.kill()
    finally:
        child.wait(PATIENCE_S)


def until(true: Callable[[], object], what: str, seconds: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"{what} did not come about in {seconds:.0f} s"
        time.sleep(0.01)


def this_process(port: int = 0, *, token: str = "", **more: object) -> Endpoint:
    """An endpoint that names this very process, as a server inside of a test has it."""
    values = {"version": __version__, "pid": os.getpid(), "started": psutil.Process().create_time(), "ready": True}
    return Endpoint(**{**values, "token": token, "host": "127.0.0.1", "port": port, **more})  # type: ignore[arg-type]


def write(endpoint: Endpoint) -> Endpoint:
    runtime.write(endpoint)
    return endpoint
