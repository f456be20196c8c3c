"""`hone complete` and `hone doctor` beside a daemon: the server runs in this process, which the runtime file names."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from assistant import runtime, service
from assistant.bounds import ServerOptions
from assistant.cli import main
from assistant.doctor import Check, check_daemon, check_settings
from assistant.errors import ModelError
from assistant.runtime import Endpoint
from assistant.status import REASONS, duration, observe
from infill.engine import Infiller
from tests.fakes import ScriptedDenoiser
from tests.serve.conftest import ADMIN, ANSWER, PREFIX, TEXT, Listen, Serve, Served
from tests.serve.processes import ROOT, hone, private, process, this_process, until, write


@pytest.fixture(autouse=True)
def home(tmp_path: Path) -> Iterator[Path]:
    with private(tmp_path) as folder:
        yield folder


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.py"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.fixture
def beside(url: str) -> Endpoint:
    """A daemon that knows ``ANSWER``."""
    return written(url)


def written(url: str) -> Endpoint:
    return write(this_process(int(url.rpartition(":")[2]), token=ADMIN))


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine in this process knows another answer, so that it can be told who answered."""
    monkeypatch.setattr(service, "open_infiller", lambda _: Infiller(ScriptedDenoiser(PREFIX, "alone")))


def complete(file: Path, *more: str) -> int:
    return main(["complete", str(file), "--at", "2:12", *more])


# --- complete


@pytest.mark.usefixtures("beside")
def test_the_daemon_is_asked(file: Path, served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    assert complete(file) == 0
    assert capsys.readouterr() == (ANSWER + "\n", "")
    assert complete(file, "--daemon", "never") == 0
    assert capsys.readouterr() == ("alone\n", "")
    assert b'outcome="answered"' in served.metrics.text()


def test_without_a_daemon_there_is_an_answer_as_well(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert complete(file) == 0
    assert capsys.readouterr() == ("alone\n", "")


@pytest.mark.usefixtures("beside")
def test_settings_say_whether(file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("HONE_DAEMON", "never")
    assert complete(file) == 0
    assert capsys.readouterr().out == "alone\n"
    assert complete(file, "--daemon", "auto") == 0
    assert capsys.readouterr().out == ANSWER + "\n"
    assert complete(file, "--daemon", "perhaps") == 2
    assert "daemon must be one of auto, start, never, not 'perhaps'" in capsys.readouterr().err


@pytest.mark.usefixtures("beside")
def test_every_form_of_output_is_the_same(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert complete(file, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    expected = {"text": ANSWER, "file": str(file), "line": 2, "column": 12, "start": len(PREFIX), "verdict": "valid"}
    assert expected.items() <= found.items()
    assert {"context", "total"} <= found["ms"].keys()

    assert complete(file, "--show-steps", "--steps", "3") == 0
    captured = capsys.readouterr()
    assert captured.out == ANSWER + "\n"
    assert "syntax checked" in captured.err

    assert complete(file, "--in-place") == 0
    assert f"{file}:2:12: {len(ANSWER)} characters inserted" in capsys.readouterr().err
    assert file.read_text(encoding="utf-8") == PREFIX + ANSWER + "\n"


def test_no_answer_has_its_reason(file: Path, listen: Listen, serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    written(listen(serve("x = ", "   ")))
    file.write_text("x = \n", encoding="utf-8")
    assert main(["complete", str(file), "--at", "1:5"]) == 1
    assert capsys.readouterr().err.startswith("hone: no answer: ")


@pytest.mark.usefixtures("beside")
def test_an_error_of_the_request_is_an_error(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert complete(file, "--policy", "magic") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("hone: policy must be one of")


def test_a_daemon_that_does_not_answer_is_done_without(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(this_process(1, token=ADMIN))
    assert complete(file) == 0
    captured = capsys.readouterr()
    assert captured.out == "alone\n"
    assert captured.err.startswith("hone: no daemon answers at http://127.0.0.1:1; ")
    assert captured.err.endswith("; answering without it\n")


@pytest.mark.skipif(os.name == "nt", reason="modes")
@pytest.mark.usefixtures("beside")
def test_a_file_that_others_could_read_is_not_believed(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runtime.runtime_file().chmod(0o644)
    assert complete(file) == 0
    captured = capsys.readouterr()
    assert captured.out == "alone\n"
    assert "is open to others" in captured.err


def test_a_buffer_that_is_too_large_for_the_daemon_is_answered_without_it(
    file: Path, listen: Listen, serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ServerOptions(version="1", admin_token=ADMIN, max_body_bytes=100)
    written(listen(serve(options=options)))
    assert complete(file) == 0
    captured = capsys.readouterr()
    assert captured.out == "alone\n"
    assert captured.err.startswith("hone: too much for the daemon: ")


def test_start_asks_for_one(
    file: Path, beside: Endpoint, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert complete(file, "--daemon", "start") == 0  # there is one, and nothing is started
    assert capsys.readouterr() == (ANSWER + "\n", "")
    write(replace(beside, version="0.0.1"))
    monkeypatch.setattr("assistant.daemon.end", lambda endpoint: None)
    monkeypatch.setattr("assistant.daemon.start", lambda settings: beside)
    assert complete(file, "--daemon", "start") == 0
    captured = capsys.readouterr()
    assert captured.out == ANSWER + "\n"
    assert captured.err.startswith("hone: replacing the daemon: it has version 0.0.1")


@pytest.mark.usefixtures("beside")
def test_what_asks_a_daemon_loads_no_model(file: Path) -> None:
    code = (
        "import sys; from assistant.cli import main; code = main(sys.argv[1:]);"
        "print(code, [name for name in ('torch', 'numpy', 'tree_sitter', 'pydantic', 'httpx', 'asyncio', 'rich')"
        " if name in sys.modules])"
    )
    words = ["complete", str(file), "--at", "2:12"]
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == f"{ANSWER}\n0 []\n"


@pytest.mark.usefixtures("beside")
def test_the_whole_command_takes_a_moment(file: Path) -> None:
    def once() -> float:
        started = time.perf_counter()
        assert hone("complete", str(file), "--at", "2:12").stdout == ANSWER + "\n"
        return time.perf_counter() - started

    assert min(once() for _ in range(4)) < 1.0


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_an_interrupt_cancels_in_the_daemon(file: Path, listen: Listen, serve: Serve) -> None:
    served = serve(on_call=lambda _: time.sleep(0.3))
    written(listen(served))
    with process("complete", str(file), "--at", "2:12", "--steps", "64", "--lengths", "16") as child:
        until(lambda: served.denoiser.calls, "a forward pass")
        child.send_signal(signal.SIGINT)
        out, error = child.communicate(timeout=30)
    assert (child.returncode, out, error) == (130, "", "")
    until(lambda: b'outcome="cancelled"' in served.metrics.text(), "cancelling")


# --- status and doctor


def checks() -> dict[str, Check]:
    return {check.name: check for check in check_daemon()}


def test_the_doctor_sees_none() -> None:
    assert checks()["daemon"].state == "ok"
    assert "none runs" in checks()["daemon"].found


def test_the_doctor_sees_one_and_explains_empty_answers(
    file: Path, listen: Listen, serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    endpoint = written(listen(serve("x = ", "   ")))
    file.write_text("x = \n", encoding="utf-8")
    for _ in range(2):
        main(["complete", str(file), "--at", "1:5"])
    reason = capsys.readouterr().err.splitlines()[0].removeprefix("hone: no answer: ")
    until(lambda: (observe().empty or {}).get(reason) == 2, "two empty answers")  # they are counted after they are sent
    found = checks()
    assert found["daemon"].state == "ok"
    assert found["daemon"].found.startswith(f"version 1.2.3, process {os.getpid()}, at {endpoint.address}")
    assert found["empty"].found == f"2 of its last answers: {reason}: {REASONS[reason][0]}"
    assert found["empty"].fix == REASONS[reason][1]


def test_the_doctor_sees_what_is_wrong(beside: Endpoint) -> None:
    write(replace(beside, version="0.0.1"))
    assert observe().detail.startswith("it has version 0.0.1")
    assert (checks()["daemon"].state, checks()["daemon"].fix) == ("warning", "hone serve stop")

    write(replace(beside, ready=False))
    assert observe().state == "opening"
    assert checks()["daemon"].found.endswith("opens its model")

    write(replace(beside, port=1))
    assert (observe().state, checks()["daemon"].state) == ("silent", "warning")
    assert "does not answer" in observe().as_text()

    write(replace(beside, started=1.0))
    assert "is stale" in checks()["daemon"].found

    write(replace(beside, token="another"))
    assert (observe().state, checks()["daemon"].state) == ("silent", "warning")

    if os.name != "nt":
        runtime.runtime_file().chmod(0o644)
        assert "is open to others" in checks()["daemon"].found


def test_a_daemon_without_a_usable_model_says_so(listen: Listen, served: Served) -> None:
    async def info() -> NoReturn:
        raise ModelError("/x is no model folder")

    served.worker.info = info  # type: ignore[method-assign]
    written(listen(served))
    assert "/x is no model folder" in observe().as_text()
    assert checks()["daemon"].state == "warning"


def test_every_reason_of_the_engine_is_explained() -> None:
    """Reasons stand in the engine and the worker as plain words."""
    sources = [ROOT / "infill" / "engine.py", ROOT / "assistant" / "worker.py"]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    found = set(re.findall(r'(?:reason|stopped|outcome)(?:: [\w |]+)? = (?:[\w.]+ or )?"(\w+)"', text))
    assert found >= {"syntax", "confidence", "empty"}
    assert found <= REASONS.keys() | {"answered"}


def test_a_token_is_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HONE_TOKEN", "mellon")
    _, check = check_settings({})
    assert "token=(set)" in check.found
    assert "mellon" not in check.found


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (61, "1 min 1 s"), (3600, "1 h"), (90061, "1 d 1 h"), (59.9, "59 s")]
)
def test_a_duration_is_read_at_a_glance(seconds: float, text: str) -> None:
    assert duration(seconds) == text
