"""Daemons as processes: killed in the middle of load, started by many at once, replaced, stopped, failing to start."""

import asyncio
import json
import os
import plistlib
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from assistant import __version__, daemon, runtime, serve
from assistant.cli import build_parser, main
from assistant.client import Client
from assistant.config import Settings, load_settings
from assistant.errors import DaemonError, SettingError
from assistant.runtime import Endpoint
from assistant.status import counters
from assistant.types import Caller, CompletionRequest, CompletionResult, OnFinished
from assistant.worker import Worker
from infill.engine import Infiller
from tests.fakes import ScriptedDenoiser
from tests.serve.processes import ROOT, daemons, hone, make_checkpoint, private, process, this_process, until, write

REQUEST = CompletionRequest("def f(self, index):\n    ret\n", 27, filename="a.unknown")
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    with private(tmp_path) as folder:
        yield folder


def quick(checkpoint: Path, **more: object) -> Settings:
    return replace(Settings(model=checkpoint, port=0), **more)  # type: ignore[arg-type]


# --- one daemon after another, as a user meets them: each test goes on with what the one before has left


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with private(tmp_path_factory.mktemp("shared")) as folder:
        yield folder


def running() -> Endpoint:
    endpoint = runtime.find()
    assert endpoint is not None, "no daemon runs"
    return endpoint


def test_by_hand_it_listens_before_its_model_is_open(shared: Path, checkpoint: Path) -> None:
    """And killed in the middle of load, it is seen through."""
    path = shared / "s"
    started = time.monotonic()
    with process("serve", "--socket", str(path), "--model", str(checkpoint)) as child:
        until(runtime.find, "listening")
        listens = time.monotonic() - started
        endpoint = running()
        assert (endpoint.pid, endpoint.socket, endpoint.ready) == (child.pid, str(path), False)
        assert path.stat().st_mode & 0o777 == 0o600
        with Client(endpoint) as client:
            assert client.complete(REQUEST).steps > 0  # waited for the model
        until(lambda: running().ready, "the open model")

        lost = under_load(endpoint, child.kill)
        child.wait(30)
    assert len(lost) == 8
    assert all("ended while it worked" in message or "no daemon answers" in message for message in lost)
    assert (runtime.look().state, runtime.find()) == ("stale", None)
    done = hone("serve", "status")
    assert (done.returncode, done.stderr) == (1, "")
    assert f"process {endpoint.pid} has ended without removing it; the next start replaces it" in done.stdout
    assert listens < 10, "half a second, and generous for a busy machine"


def under_load(endpoint: Endpoint, strike: Callable[[], None]) -> list[str]:
    """What eight clients are told when it happens while they are being answered."""
    answered, lost = threading.Event(), []

    def load() -> None:
        try:
            with Client(endpoint) as client:
                while True:
                    client.complete(REQUEST)
                    answered.set()
        except DaemonError as error:
            lost.append(str(error))

    threads = [threading.Thread(target=load) for _ in range(8)]
    for thread in threads:
        thread.start()
    try:
        assert answered.wait(60)
    finally:
        strike()
        for thread in threads:
            thread.join(60)
    return lost


STARTER = """
import sys
from pathlib import Path
from assistant.config import Settings
from assistant.daemon import ensure
sys.stdin.readline()
print(ensure(Settings(model=Path(sys.argv[1]), port=0)).pid)
"""


def test_ten_at_once_start_one(shared: Path, checkpoint: Path) -> None:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    starters: list[subprocess.Popen[str]] = [
        subprocess.Popen([sys.executable, "-c", STARTER, str(checkpoint)], cwd=ROOT, text=True, **pipes)  # type: ignore[call-overload]
        for _ in range(10)
    ]
    try:
        with ThreadPoolExecutor(10) as pool:
            told = list(pool.map(lambda starter: starter.communicate("go\n", timeout=60), starters))
    finally:
        for starter in starters:
            starter.kill()
            starter.wait()
    assert [error for _, error in told] == [""] * 10
    endpoint = running()
    assert {answer.strip() for answer, _ in told} == {str(endpoint.pid)}
    assert [one.pid for one in daemons(shared / "run")] == [endpoint.pid]
    assert runtime.log_file().read_text().count("listens at") == 1


def test_it_stands_on_its_own(shared: Path, checkpoint: Path) -> None:
    """The program that started it has ended; nothing of it may keep the daemon, or be kept by it."""
    endpoint = running()
    found = psutil.Process(endpoint.pid)
    assert os.getsid(endpoint.pid) == endpoint.pid
    assert found.environ()["OMP_WAIT_POLICY"] == "passive"
    assert found.cwd() == str(ROOT)  # where it is installed, not where somebody happened to stand
    log = runtime.log_file()
    if sys.platform == "linux":
        assert {Path(f"/proc/{endpoint.pid}/fd/{number}").readlink() for number in (1, 2)} == {log}
    assert log.stat().st_mode & 0o777 == 0o600
    assert (endpoint.version, endpoint.model, endpoint.ready) == (__version__, str(checkpoint), True)


def test_whoever_asks_uses_the_one_that_runs(
    shared: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    endpoint = running()
    assert daemon.ensure(Settings()).pid == endpoint.pid
    assert daemon.ensure(quick(checkpoint)).pid == endpoint.pid
    file = tmp_path / "a.unknown"
    file.write_text(REQUEST.text, encoding="utf-8")
    arguments = ["complete", str(file), "--at", "2:8", "--json"]
    there = hone(*arguments)
    here = main([*arguments, "--daemon", "never", "--model", str(checkpoint)])
    captured = capsys.readouterr()
    assert (there.returncode, there.stderr) == (here, captured.err)
    texts = [[json.loads(line)["text"] for line in out.splitlines()] for out in (there.stdout, captured.out)]
    assert texts[0] == texts[1]
    with Client(endpoint) as client:
        assert counters(client.metrics())["hone_completions_total"] == 1


def test_status_tells_how_it_is(shared: Path) -> None:
    endpoint = running()
    done = hone("serve", "status")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"version {__version__}, process {endpoint.pid}" in done.stdout
    assert endpoint.address in done.stdout
    report = json.loads(hone("serve", "status", "--json").stdout)
    assert (report["state"], report["pid"], report["requests"]) == ("running", endpoint.pid, 1)
    assert report["memory_bytes"] > 2**20
    assert endpoint.token not in done.stdout + json.dumps(report)


def test_logs_are_shown(shared: Path) -> None:
    done = hone("serve", "logs", "-n", "1000")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == runtime.log_file().read_text()
    assert "return_value" not in done.stdout


def test_one_more_by_hand_is_refused(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--port", "0"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"hone: a daemon runs already (process {running().pid} at http://")
    assert "`hone serve stop` ends it" in said


def test_one_of_another_version_is_not_asked_but_replaced(
    shared: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = write(replace(running(), version="0.0.1"))
    file = tmp_path / "a.unknown"
    file.write_text(REQUEST.text, encoding="utf-8")
    main(["complete", str(file), "--at", "2:8", "--model", str(checkpoint)])
    said = f"the daemon (process {old.pid}) is not asked: it has version 0.0.1, this is {__version__}"
    assert said in capsys.readouterr().err
    assert runtime.is_running(old)
    with pytest.raises(DaemonError, match=r"was replaced by another one \(it has version 0\.0\.1"):
        daemon.ensure(quick(checkpoint), replace=False)
    told: list[str] = []
    new = daemon.ensure(quick(checkpoint), tell=told.append)
    assert told == [f"replacing the daemon: it has version 0.0.1, this is {__version__}"]
    assert (new.version, new.ready) == (__version__, True)
    assert new.pid != old.pid
    assert [one.pid for one in daemons(shared / "run")] == [new.pid]


def test_stop_works_once(shared: Path) -> None:
    endpoint = running()
    done = hone("serve", "stop")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"the daemon at {endpoint.address}, process {endpoint.pid}, has ended\n"
    assert not runtime.is_running(endpoint)
    assert not runtime.runtime_file().exists()
    again = hone("serve", "stop")
    assert (again.returncode, again.stdout, again.stderr) == (1, "", "hone: no daemon runs\n")
    status = hone("serve", "status")
    assert (status.returncode, status.stdout) == (1, "no daemon runs; `hone serve` starts one\n")


# --- by hand


def test_a_signal_ends_it_even_while_it_opens_its_model(home: Path, checkpoint: Path) -> None:
    path = home / "s"
    with process("serve", "--socket", str(path), "--model", str(checkpoint)) as child:
        until(runtime.find, "listening")
        child.send_signal(signal.SIGTERM)
        _, said = child.communicate(timeout=30)
    assert child.returncode == 0, said
    assert not path.exists()
    assert not runtime.runtime_file().exists()


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_what_runs_is_answered_before_it_ends(home: Path) -> None:
    scripted = ScriptedDenoiser("x = ", "1 + 2", on_call=lambda _: time.sleep(0.05))
    answers: list[CompletionResult] = []

    def ask() -> None:
        until(lambda: runtime.find() is not None and running().ready, "listening")
        with Client(running()) as client:
            answers.append(client.complete(CompletionRequest("x = \n", 4, filename="a.py")))

    def strike() -> None:
        until(lambda: scripted.calls, "a forward pass")
        os.kill(os.getpid(), signal.SIGTERM)

    def open_worker(on_finished: OnFinished) -> Worker:
        return Worker(lambda: Infiller(scripted), on_finished=on_finished)

    threads = [threading.Thread(target=work) for work in (ask, strike)]
    for thread in threads:
        thread.start()
    assert serve.serve(Settings(port=0), open_worker)
    for thread in threads:
        thread.join(30)
    assert [one.text for one in answers[0].completions] == ["1 + 2"]
    assert runtime.look().state == "none"


def test_before_there_is_anybody_who_could_answer_the_newest_request_wins() -> None:
    """64 who type while the daemon starts must not each leave a connection behind for every key."""
    building = threading.Event()
    denoiser = ScriptedDenoiser("x = ", "1")

    def build() -> Worker:
        assert building.wait(20)
        return Worker(lambda: Infiller(denoiser))

    async def scenario() -> None:
        attendant = serve.Attendant()
        opening = asyncio.create_task(attendant.open(build))
        hole, typist = CompletionRequest("x = \n", 4, filename="a.py"), Caller("editor", document="a.py", request="7")
        callers = [typist, replace(typist, document="b.py"), typist, Caller("another", request="8"), typist]
        asked = []
        for caller in callers:
            asked.append(asyncio.create_task(attendant.complete(hole, caller)))
            await asyncio.sleep(0)
        assert [(await asked[i]).reason for i in (0, 2)] == ["superseded"] * 2
        assert not attendant.cancel("editor", "8")
        assert attendant.cancel("another", "8")
        assert not attendant.cancel("another", "8"), "it is stopped already"
        assert (await asked[3]).reason == "cancelled"
        building.set()
        assert [(await asked[i]).completions[0].text for i in (1, 4)] == ["1", "1"]
        await opening
        assert attendant.idle_s() > 0, "everybody has been answered"
        assert await asyncio.to_thread(attendant.close)

    asyncio.run(scenario())


def test_it_ends_when_nobody_asks(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def idle(*, busy: bool) -> bool:
        with serve._port("127.0.0.1", 0, any_port=False) as sock:
            one = serve._Daemon(Settings(exit_idle=0.1), sock)
            one.attendant._active = int(busy)
            tidying = asyncio.create_task(one.tidy())
            await asyncio.sleep(0.4)
            tidying.cancel()
            return one.server.should_exit

    assert asyncio.run(idle(busy=False))
    assert not asyncio.run(idle(busy=True))


def test_it_keeps_its_file_unless_another_one_has_taken_its_place(home: Path) -> None:
    async def kept() -> tuple[Endpoint | None, bool]:
        with serve._port("127.0.0.1", 0, any_port=False) as sock:
            one = serve._Daemon(Settings(), sock)
            one.keep_found()
            return runtime.find(), one.server.should_exit

    runtime.private_folder(runtime.runtime_folder())
    found, ends = asyncio.run(kept())
    assert found is not None
    assert (found.pid, ends) == (os.getpid(), False)
    parent = psutil.Process(os.getppid())
    other = write(replace(this_process(1, token="t"), pid=parent.pid, started=parent.create_time()))
    assert asyncio.run(kept()) == (other, True)


def test_a_socket_that_nobody_listens_at_is_replaced_and_a_file_is_not(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with serve._unix_socket(path) as sock:
        sock.listen()
        with pytest.raises(DaemonError, match=f"--socket {path} cannot be had"):
            serve._unix_socket(path)
    path.unlink()
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(DaemonError, match="cannot be had"):
        serve._unix_socket(path)
    assert path.read_text() == "mine"
    with pytest.raises(DaemonError, match="AF_UNIX path too long"):
        serve._unix_socket(tmp_path / ("x" * 200))


def test_a_taken_port_is_an_error_or_another_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(DaemonError, match=f"port {port} of 127.0.0.1 cannot be had: .*choose another with --port"):
            serve._port("127.0.0.1", port, any_port=False)
        with serve._port("127.0.0.1", port, any_port=True) as other:
            assert other.getsockname()[1] not in (0, port)
    with pytest.raises(DaemonError, match="cannot be had"):
        serve._port("203.0.113.1", 0, any_port=True)  # no address of this machine


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.org"])
def test_beyond_loopback_it_needs_a_token(home: Path, host: str) -> None:
    with pytest.raises(SettingError, match=f"--host {host} can be reached from other machines, so it needs --token"):
        serve.check_closed(Settings(host=host))
    serve.check_closed(Settings(host=host, token="t"))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_on_loopback_it_needs_none(host: str) -> None:
    serve.check_closed(Settings(host=host))


@pytest.mark.parametrize("more", [["--port", "0"], ["--host", "127.0.0.1"]])
def test_a_socket_goes_without_a_port(
    more: list[str], home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--socket", str(tmp_path / "s"), *more]) == 2
    assert "--socket goes without --host and --port" in capsys.readouterr().err


def test_a_socket_that_the_settings_name_is_passed_on_alone(tmp_path: Path) -> None:
    words = daemon.command(Settings(socket=tmp_path / "s", port=8099))
    assert "--socket" in words
    assert "--port" not in words


def test_the_command_says_so(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--host", "0.0.0.0"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("hone: --host 0.0.0.0 can be reached from other machines")
    assert said.count("\n") == 1


def test_the_log_is_begun_anew_when_it_is_long(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = home / "daemon.log"
    code = (
        "import sys; from pathlib import Path; from assistant import serve; serve.LARGEST_LOG = 20\n"
        "for number in range(4): print('line', number, file=sys.stderr, flush=True); serve.shorten(Path(sys.argv[1]))"
    )
    with log.open("ab") as output:
        subprocess.run([sys.executable, "-c", code, str(log)], stderr=output, cwd=ROOT, check=True)
    assert log.with_suffix(".log.1").read_text() == "line 0\nline 1\nline 2\n"
    assert log.read_text() == "line 3\n"
    assert log.with_suffix(".log.1").stat().st_mode & 0o077 == 0


# --- starts that fail


def test_a_start_that_fails_says_why_to_everybody_who_waits(home: Path) -> None:
    empty = home / "empty"
    empty.mkdir()

    def start() -> str:
        with pytest.raises(DaemonError) as error:
            daemon.ensure(quick(empty))
        return str(error.value)

    started = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        told = [future.result() for future in [pool.submit(start) for _ in range(4)]]
    assert {message.partition(":")[0] for message in told} == {"the daemon did not start"}
    assert f"{empty} is no model folder" in told[0]
    assert len(set(told)) == 1
    assert runtime.log_file().read_text().count("is no model folder") == 1  # and not once for each of them
    assert time.monotonic() - started < 30
    assert daemons(home / "run") == []
    assert runtime.find() is None


@pytest.mark.parametrize(
    ("said", "code", "reason"),
    [
        ('{"event": "x"}\nhone: /m is no model folder\n', 2, "/m is no model folder"),
        ("hone: first\nhone: last\n", 2, "last"),
        ("Traceback ...\nMemoryError: no\n", 1, "it ended with code 1 and said 'MemoryError: no'"),
        ("", 1, "it ended with code 1 and said nothing"),
        ("loading\n", -9, "it was killed by signal 9, perhaps for want of memory"),
    ],
)
def test_last_words(tmp_path: Path, said: str, code: int, reason: str) -> None:
    log = tmp_path / "log"
    log.write_text("hone: of an earlier start\n", encoding="utf-8")
    begin = log.stat().st_size
    with log.open("a", encoding="utf-8") as file:
        file.write(said)
    assert daemon.last_words(log, begin, code).startswith(reason)


def test_a_daemon_that_does_not_listen_to_reason_is_ended(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon, "END_S", 0.3)
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); input()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as deaf:  # type: ignore[call-overload]
        deaf.stdout.readline()
        started = psutil.Process(deaf.pid).create_time()
        write(replace(this_process(1, token="t"), pid=deaf.pid, started=started, port=1))
        stopped = daemon.stop()
        assert stopped is not None
        assert stopped.pid == deaf.pid
        assert deaf.wait(30) == -signal.SIGKILL
    assert runtime.look().state == "none"


def test_a_process_with_the_same_number_is_left_alone(home: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        write(replace(this_process(1), pid=other.pid, started=1.0))
        assert daemon.stop() is None
        assert other.poll() is None
        other.communicate(b"\n")
    assert runtime.look().state == "none"


@pytest.mark.parametrize("by_socket", [False, True])
def test_the_command_line_of_a_daemon_means_the_same_settings(home: Path, checkpoint: Path, *, by_socket: bool) -> None:
    where: dict[str, Any] = {"socket": home / "s"} if by_socket else {"host": "127.0.0.2", "port": 1}
    settings = Settings(
        model=checkpoint, device="cpu", dtype="float32", threads=2, **where,
        allow_host=("a", "b"), allow_origin=("http://a",), log_code=True, idle_unload=1.5, exit_idle=2.5, memory=512,
        queue=9,
    )  # fmt: skip
    words = daemon.command(settings)
    options = build_parser().parse_args(words[words.index("assistant") + 1 :])
    assert load_settings(vars(options)) == settings
    assert options.any_port
    assert "secret" not in " ".join(daemon.command(replace(settings, token="secret")))


# --- what is written down elsewhere


def test_the_log_is_followed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("1\n2\n3\n", encoding="utf-8")
    assert list(daemon.tail(log, 2)) == ["2\n", "3\n"]
    assert list(daemon.tail(log, 0)) == []
    lines = daemon.tail(log, 1, follow=True)
    assert next(lines) == "3\n"
    with log.open("a", encoding="utf-8") as file:
        file.write("4\n")
    assert next(lines) == "4\n"
    log.write_text("5\n", encoding="utf-8")
    assert next(lines) == "5\n"
    with pytest.raises(DaemonError, match=r"there is no .*nowhere"):
        next(daemon.tail(tmp_path / "nowhere", 1))


def test_the_unit_and_the_agent_start_what_there_is() -> None:
    unit = (DOCS / "hone.service").read_text(encoding="utf-8")
    line = re.search(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    assert line is not None
    agent = plistlib.loads((DOCS / "dev.hone.daemon.plist").read_bytes())
    for words in (shlex.split(line[1]), agent["ProgramArguments"]):
        assert Path(words[0]).name == "hone"
        options = build_parser().parse_args(words[1:])
        assert load_settings(vars(options), {}).idle_unload == 1800
    assert agent["KeepAlive"] == {"SuccessfulExit": False}
    assert "Restart=on-failure" in unit
