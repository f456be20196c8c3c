"""The log is one JSON object a line, and holds nothing of anybody's code unless that was asked for."""

import json
import logging
import logging.handlers
import stat
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from assistant import logs
from tests.serve.conftest import ADMIN, OPTIONS, PREFIX, SUFFIX, Listen, Serve

SECRET = "zq_private_word"
TEXT = f"# {SECRET}\n{PREFIX}{SUFFIX}"
START = len(TEXT) - len(SUFFIX)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    """A log file that is being written."""
    path = tmp_path / "log" / "serve.log"
    handler = logs.install(path)
    yield path
    logs.uninstall(handler)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]


def test_a_request_is_one_line(log: Path, serve: Serve) -> None:
    served = serve()
    served.get("/health")
    (line,) = lines(log)
    assert line["event"] == "answered"
    assert (line["method"], line["route"], line["status"], line["level"]) == ("GET", "/health", 200, "info")
    assert line["ms"] >= 0
    assert line["time"].endswith("+00:00")


BAD: list[tuple[str, dict[str, Any]]] = [
    ("/v1/hone/complete", {"json": {"text": TEXT, "start": START, "filename": f"{SECRET}.py", "document": SECRET}}),
    ("/v1/hone/complete", {"json": {"text": TEXT, "start": START, "language": SECRET, "stop": [SECRET]}}),
    ("/v1/hone/complete", {"json": {"text": TEXT, "start": START, "stream": True}}),
    ("/v1/hone/complete", {"json": {"text": {SECRET: TEXT}, "start": TEXT}}),
    ("/v1/hone/complete", {"json": {"text": TEXT, "start": START, SECRET: 1}}),
    ("/v1/hone/complete", {"json": {"text": TEXT, "start": START, "seed": SECRET, "policy": SECRET + "!"}}),
    ("/v1/hone/complete", {"json": {"text": TEXT, "start": START, "stop": {SECRET: SECRET}}}),
    ("/v1/hone/complete", {"json": {"text": TEXT, "start": 10_000}}),
    ("/v1/hone/complete", {"json": TEXT}),
    ("/v1/hone/complete", {"content": TEXT, "headers": {"content-type": "application/json"}}),
    ("/v1/hone/complete", {"content": TEXT, "headers": {"content-type": "text/plain"}}),
    ("/v1/hone/complete", {"content": f'{{"text": "{SECRET}', "headers": {"content-type": "application/json"}}),
    (f"/v1/{SECRET}?{SECRET}={SECRET}", {"json": {"text": TEXT}}),
    ("/v1/hone/edit", {"json": {"text": TEXT, "blocks": [[0, 1]], "instruction": SECRET}}),
    ("/v1/hone/cancel", {"json": {"request": SECRET}}),
    ("/infill", {"json": {"input_prefix": TEXT, "input_suffix": SECRET, "n_predict": SECRET}}),
    ("/infill", {"json": {"input_prefix": TEXT, "input_suffix": SUFFIX, "input_extra": SECRET}}),
    ("/v1/completions", {"json": {"prompt": {SECRET: TEXT}, "model": SECRET, "n": SECRET}}),
    ("/v1/completions", {"json": {"prompt": TEXT, "suffix": SUFFIX, "model": "", "max_tokens": SECRET}}),
    ("/v1/completions", {"json": {"segments": {"prefix": [TEXT]}, "language": SECRET}}),
    ("/v1/fim/completions", {"json": {"prompt": TEXT, "stop": {SECRET: SECRET}, "model": SECRET}}),
    ("/v1/chat/completions", {"json": {"messages": [{"role": SECRET, "content": TEXT}], "model": SECRET}}),
    ("/api/generate", {"json": {"prompt": TEXT, "options": {SECRET: SECRET, "temperature": SECRET}, "model": SECRET}}),
    ("/api/generate", {"json": {"prompt": [TEXT], "model": "m"}}),
    ("/api/show", {"json": {"model": [SECRET]}}),
    ("/tokenize", {"json": {"content": {SECRET: TEXT}}}),
    ("/v1/events", {"json": {"type": SECRET, "completion_id": [SECRET]}}),
]


def test_nothing_of_a_request_is_in_the_log_nor_in_an_error(log: Path, serve: Serve, listen: Listen) -> None:
    served = serve(TEXT[:START])
    with httpx.Client(base_url=listen(served)) as client:
        for path, request in BAD:
            answer = client.post(path, **request)
            if answer.status_code >= 400:
                assert SECRET not in answer.text, (path, request, answer.text)
        for path in ("/metrics", "/v1/hone/status"):
            assert SECRET not in client.get(path, headers={"x-api-key": ADMIN}).text
    deadline = time.monotonic() + 20  # a line is written behind its answer
    while (count := len([line for line in lines(log) if line["event"] == "answered"])) < len(BAD) + 2:
        assert time.monotonic() < deadline, f"{count} lines for {len(BAD) + 2} requests"
        time.sleep(0.01)
    assert count == len(BAD) + 2
    assert SECRET not in log.read_text()


def test_our_own_mistake_is_in_the_log_with_its_place_and_without_its_words(log: Path, serve: Serve) -> None:
    served = serve()

    async def fail(*_: Any, **__: Any) -> None:
        try:
            dict[str, str]()[SECRET]
        except KeyError as error:
            raise RuntimeError(f"no {SECRET}") from error

    served.worker.complete = fail  # type: ignore[method-assign, assignment]
    answer = served.post("/v1/hone/complete", json={"text": TEXT, "start": START})
    assert answer.status_code == 500
    assert "log says where" in answer.json()["error"]["message"]
    assert "Traceback" not in answer.text
    failed = next(line for line in lines(log) if line["event"] == "failed")
    assert failed["level"] == "error"
    assert failed["route"] == "/v1/hone/complete"
    assert failed["error"]["type"] == "RuntimeError"
    assert any("test_logs.py" in frame and frame.endswith("fail") for frame in failed["error"]["frames"])
    assert failed["error"]["cause"]["type"] == "KeyError"
    assert SECRET not in log.read_text() + answer.text


def test_code_is_logged_when_asked_for_and_the_line_says_so(tmp_path: Path, serve: Serve) -> None:
    path = tmp_path / "serve.log"
    handler = logs.install(path, log_code=True)
    try:
        served = serve(TEXT[:START], options=replace(OPTIONS, log_code=True))
        served.post("/v1/hone/complete", json={"text": TEXT, "start": START, "filename": "add.py"})
    finally:
        logs.uninstall(handler)
    request, answer, _ = lines(path)
    assert (request["event"], request["log_code"], request["text"]) == ("request", True, TEXT)
    assert (answer["event"], answer["log_code"], answer["texts"]) == ("answer", True, ["a + b"])


def test_other_libraries_lines_are_withheld(log: Path) -> None:
    # asyncio quotes the exception of a task, and with it perhaps what a client sent.
    logging.getLogger("asyncio").error("Task exception was never retrieved: ValueError('%s')", SECRET)
    logging.getLogger("uvicorn.error").info("Uvicorn running on %s", "http://127.0.0.1:1")
    other, ours = lines(log)
    assert (other["logger"], other["event"], other["level"]) == ("asyncio", "withheld", "error")
    assert "test_logs.py" in other["at"]
    assert ours["event"] == "Uvicorn running on http://127.0.0.1:1"
    assert SECRET not in log.read_text()


def test_a_value_cannot_forge_a_line(log: Path) -> None:
    logging.getLogger("hone.serve").info("answered", extra={"route": 'x"}\n{"event": "forged"}\u2028'})
    assert [line["event"] for line in lines(log)] == ["answered"]


def test_the_file_is_private_and_rotated(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (handler,) = [one for one in logging.getLogger().handlers if isinstance(one, logging.handlers.RotatingFileHandler)]
    handler.maxBytes = 1000
    for number in range(100):
        logging.getLogger("hone.serve").info("answered", extra={"number": number})
    files = sorted(log.parent.iterdir())
    assert [path.name for path in files] == ["serve.log", *(f"serve.log.{n}" for n in range(1, logs.BACKUPS + 1))]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert all(path.stat().st_size <= 1000 for path in files)
    assert lines(log)[-1]["number"] == 99


def test_without_a_file_it_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    handler = logs.install()
    try:
        logging.getLogger("hone.serve").info("answered")
        logging.getLogger("hone.serve").debug("not shown")
    finally:
        logs.uninstall(handler)
    logging.getLogger("hone.serve").info("nobody listens")
    out = capsys.readouterr()
    assert out.out == ""
    assert [json.loads(line)["event"] for line in out.err.splitlines()] == ["answered"]
