"""Requests as the clients send them, and what each client needs back: data in ``tests/cases/protocols``.

A case holds what the model knows (``prefix`` and the ``answer`` that follows it), a request, and an answer: ``status``;
``events`` ("sse" or "ndjson") if it comes in pieces, and ``done`` if they end with [DONE]; and statements about places
in it, named by JSON pointers ("-1" is the last): ``equal``, ``matching`` (a regular expression), ``present``,
``absent``, ``joined`` (the place in every event, put together); ``raw`` are regular expressions for the bytes, and all
that is stated of an answer in ``plain`` text.
"""

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serve.conftest import Serve

CASES = sorted((Path(__file__).resolve().parents[2] / "cases" / "protocols").glob("*.json"))
MISSING = object()


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_recorded_request_is_answered_as_its_client_needs(path: Path, serve: Serve) -> None:
    case = json.loads(path.read_text(encoding="utf-8"))
    model, request, wanted = case["model"], case["request"], case["answer"]
    served = serve(model["prefix"], model["answer"])
    content = json.dumps(request["body"]).encode() if "body" in request else None
    headers = {"Content-Type": "application/json"} | request["headers"]
    answer = served.request(request["method"], request["path"], content=content, headers=headers)
    assert answer.status_code == wanted["status"], answer.text
    check(answer, wanted)
    if "calls" in model:
        assert sum(served.denoiser.calls.values()) == model["calls"]


def check(answer: httpx.Response, wanted: dict[str, Any]) -> None:
    for pattern in wanted.get("raw", ()):
        assert re.search(pattern, answer.text), answer.text
    if wanted.get("plain"):
        assert answer.headers["content-type"].startswith("text/plain")
        return
    if answer.content:
        assert ": " not in re.sub(r'"(\\.|[^"\\])*"', '""', answer.text).replace("data: ", ""), "not compact"
    if not answer.content:
        assert wanted.keys() == {"status"}
        return
    body = read(answer, wanted)
    for pointer, value in wanted.get("equal", {}).items():
        assert at(body, pointer) == value, pointer
    for pointer, pattern in wanted.get("matching", {}).items():
        assert re.search(pattern, at(body, pointer)), (pointer, at(body, pointer))
    for pointer in wanted.get("present", ()):
        assert at(body, pointer) is not MISSING, pointer
    for pointer in wanted.get("absent", ()):
        assert at(body, pointer) is MISSING, pointer
    for pointer, text in wanted.get("joined", {}).items():
        found = [at(event, pointer) for event in body]
        assert "".join(piece for piece in found if piece is not MISSING) == text, pointer


def read(answer: httpx.Response, wanted: dict[str, Any]) -> Any:
    kind = wanted.get("events")
    if kind == "ndjson":
        assert answer.headers["content-type"] == "application/x-ndjson"
        return [json.loads(line) for line in answer.text.splitlines()]
    if kind == "sse":
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = [part.removeprefix("data: ") for part in answer.text.split("\n\n") if part]
        assert (events[-1] == "[DONE]") == wanted.get("done", False)
        return [json.loads(event) for event in events if event != "[DONE]"]
    return answer.json()


def at(body: Any, pointer: str) -> Any:
    """RFC 6901, but that "-1" is the last of a list; ``MISSING`` where there is nothing."""
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        try:
            body = body[int(name)] if isinstance(body, list) else body[name]
        except (KeyError, IndexError, TypeError):
            return MISSING
    return body
