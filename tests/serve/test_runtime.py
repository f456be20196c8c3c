"""The runtime file: what is written, who is believed, and what is seen through."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from assistant import runtime
from assistant.config import Settings
from assistant.errors import DaemonError
from assistant.runtime import Endpoint, Sighting
from tests.serve.processes import private, this_process, until, write

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no modes and owners of this kind")


@pytest.fixture(autouse=True)
def home(tmp_path: Path) -> Iterator[Path]:
    with private(tmp_path) as folder:
        yield folder


def put(content: str, mode: int = 0o600) -> Path:
    path = runtime.runtime_file()
    runtime.private_folder(path.parent)
    path.write_text(content, encoding="utf-8")
    path.chmod(mode)
    return path


def told(**changes: Any) -> str:
    return json.dumps(asdict(this_process(8077, token="secret")) | changes)


def test_what_is_written_is_found() -> None:
    endpoint = write(this_process(8077, token="secret", model="/m", dtype="float32"))
    assert runtime.find() == endpoint
    assert "secret" not in repr(endpoint)


def test_nothing_is_none() -> None:
    assert runtime.look() == Sighting("none")
    assert runtime.find() is None


@posix
def test_nobody_else_can_read_it() -> None:
    folder = runtime.runtime_folder()
    folder.mkdir(mode=0o755)
    write(this_process())
    assert folder.stat().st_mode & 0o777 == 0o700
    assert runtime.runtime_file().stat().st_mode & 0o777 == 0o600
    assert [path.name for path in folder.iterdir()] == ["daemon.json"]


@pytest.mark.parametrize(
    ("content", "state"),
    [
        ("{}", "stale"),
        ("", "stale"),
        ("[1]", "stale"),
        ("[" * 60_000, "stale"),
        (told(pid="1"), "stale"),
        (told(port=None), "stale"),
        (told(started="now"), "stale"),
        (told(pid=2**31 - 1), "stale"),
        (told(pid=-1), "stale"),
        (told(pid=2**70), "stale"),
        (told(started=1.0), "stale"),  # our own number, another birth
        (told(of_a_later_version={"x": 1}), "running"),
    ],
)
def test_what_is_not_true_is_seen_through(content: str, state: str) -> None:
    put(content)
    seen = runtime.look()
    assert seen.state == state
    assert (runtime.find() is not None) == (state == "running")
    assert bool(seen.detail) == (state == "stale")


def test_a_process_that_has_ended_is_seen_through() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        endpoint = replace(this_process(), pid=child.pid, started=psutil.Process(child.pid).create_time())
        write(endpoint)
        assert runtime.find() == endpoint
        child.kill()
        # Nobody has waited for it yet: it stays as a zombie, with its number and its birth.
        until(lambda: not runtime.is_running(endpoint), "its end", 10)
        seen = runtime.look()
        assert (seen.state, seen.endpoint) == ("stale", endpoint)
        assert f"process {child.pid} has ended" in seen.detail
    finally:
        child.communicate()


@posix
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666])
def test_a_file_that_others_can_read_is_not_believed(mode: int) -> None:
    put(told(), mode)
    assert runtime.look().state == "untrusted"
    with pytest.raises(DaemonError, match="open to others"):
        runtime.find()


@posix
def test_a_file_of_somebody_else_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(told())
    monkeypatch.setattr(runtime, "_folder_trouble", lambda _: None)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(DaemonError, match=f"{path} belongs to another user"):
        runtime.find()


@posix
def test_a_folder_of_somebody_else_is_neither_believed_nor_used(monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(told())
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(DaemonError, match=f"{path.parent} belongs to another user; set HONE_RUNTIME_DIR"):
        runtime.find()
    with pytest.raises(DaemonError, match="belongs to another user"):
        runtime.write(this_process())


@posix
def test_a_link_or_a_pipe_is_not_believed(tmp_path: Path) -> None:
    path = put("")
    path.unlink()
    (tmp_path / "elsewhere.json").write_text(told(), encoding="utf-8")
    (tmp_path / "elsewhere.json").chmod(0o600)
    path.symlink_to(tmp_path / "elsewhere.json")
    assert runtime.look().state == "untrusted"
    path.unlink()
    os.mkfifo(path, 0o600)
    assert runtime.look().state == "untrusted"


def test_only_the_own_file_is_removed() -> None:
    mine = write(this_process(token="a"))
    runtime.remove(replace(mine, token="b"))
    assert runtime.find() == mine
    runtime.remove(mine)
    assert runtime.look().state == "none"
    runtime.remove(mine)


def test_the_folder_is_the_one_of_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert runtime.runtime_folder() == tmp_path / "run"
    assert runtime.log_file() == tmp_path / "run" / "daemon.log"
    monkeypatch.delenv("HONE_RUNTIME_DIR")
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)  # platformdirs warns of that; here, warnings are errors
    assert runtime.runtime_folder().name == "hone"
    assert runtime.log_file().name == "daemon.log"


@pytest.mark.parametrize(
    ("changes", "wanted", "part"),
    [
        ({}, Settings(), None),
        ({"model": "/m", "device": "cuda"}, Settings(), None),
        ({"version": "0.0.1"}, Settings(), "it has version 0.0.1"),
        ({"device": "cpu"}, Settings(device="cpu"), None),
        ({}, Settings(device="cuda"), "--device auto, not cuda"),
        ({"dtype": "float32"}, Settings(dtype="auto"), None),
        ({"dtype": "float32"}, Settings(dtype="bfloat16"), "--dtype float32, not bfloat16"),
        ({"quantize": "int8"}, Settings(), None),
        ({"quantize": "int8"}, Settings(quantize="int8"), None),
        ({"quantize": "int8"}, Settings(quantize="int4"), "with --quantize int8, not with int4"),
        ({}, Settings(quantize="int4"), "without --quantize, not with int4"),
        ({}, Settings(model=Path("/")), "it holds the embedded model, not /"),
        ({"model": "/"}, Settings(model=Path("/tmp/..")), None),
    ],
)
def test_a_daemon_fits_unless_something_else_was_asked_for(
    changes: dict[str, Any], wanted: Settings, part: str | None
) -> None:
    found = runtime.misfit(replace(this_process(), **changes), wanted)
    assert found is None if part is None else part in str(found)


@pytest.mark.parametrize(
    ("changes", "address"),
    [
        ({"host": "127.0.0.1", "port": 80}, "http://127.0.0.1:80"),
        ({"host": "0.0.0.0", "port": 80}, "http://127.0.0.1:80"),
        ({"host": "::", "port": 80}, "http://[::1]:80"),
        ({"socket": "/a/b"}, "unix:/a/b"),
    ],
)
def test_the_address_is_one_that_can_be_called(changes: dict[str, Any], address: str) -> None:
    assert Endpoint("1", 1, 1.0, "t", **changes).address == address
