"""Every protocol once with the embedded model: a real answer that has passed the gate."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from assistant.config import Settings
from assistant.models import for_edits
from assistant.server import create_app
from assistant.service import open_infiller
from assistant.wire import EditBody
from assistant.worker import Beside, Worker
from infill.syntax import SyntaxGate
from tests.serve.conftest import OPTIONS

pytestmark = pytest.mark.weights

PREFIX = '''import os


def read(path):
    """Return the text of a file."""
    with open(path) as file:
        return file.'''
SUFFIX = "\n\n\nprint(read('x'))\n"


@pytest.fixture(scope="module")
def app() -> Iterator[FastAPI]:
    settings = Settings()
    beside = Beside("edits", lambda: open_infiller(for_edits(settings)))
    worker = Worker(lambda: open_infiller(settings), beside=beside)
    worker.start()
    try:
        yield create_app(worker, OPTIONS)
    finally:
        worker.close()


def post(app: FastAPI, *requests: tuple[str, dict[str, Any]]) -> list[httpx.Response]:
    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=app, client=("127.0.0.1", 50_000))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8077", timeout=60) as client:
            return list(await asyncio.gather(*(client.post(path, json=body) for path, body in requests)))

    return asyncio.run(ask())


ASKED = {"prompt": PREFIX, "suffix": SUFFIX, "model": "m", "stream": False}
SEGMENTS = {"language": "python", "segments": {"prefix": PREFIX, "suffix": SUFFIX, "filepath": "a.py"}}
CASES: dict[str, tuple[str, dict[str, Any], tuple[str | int, ...]]] = {
    "llama.cpp": ("/infill", {"input_prefix": PREFIX, "input_suffix": SUFFIX, "t_max_predict_ms": 5000}, ("content",)),
    "openai": ("/v1/completions", ASKED, ("choices", 0, "text")),
    "mistral": ("/v1/fim/completions", ASKED, ("choices", 0, "message", "content")),
    "inception": ("/v1/fim/completions", ASKED | {"model": "mercury-coder"}, ("choices", 0, "text")),
    "ollama": ("/api/generate", ASKED, ("response",)),
    "tabby": ("/v1/completions", SEGMENTS, ("choices", 0, "text")),
}


@pytest.mark.parametrize("protocol", CASES)
def test_an_answer_of_the_embedded_model_is_valid(protocol: str, app: FastAPI) -> None:
    path, body, place = CASES[protocol]
    answer = post(app, (path, body))[0]
    assert answer.headers["x-hone-verdict"] == "valid"
    text: Any = answer.json()
    for step in place:
        text = text[step]
    assert text.strip()
    assert SyntaxGate(PREFIX, SUFFIX, "python").accepts(text)


def test_three_at_once_are_three_different_answers(app: FastAPI) -> None:
    lines = "# language: python\n# indentation: use 4 spaces for a tab\n"
    body = ASKED | {"prompt": lines + "def area(width, height):\n    return ", "suffix": "\n\n\nprint(area(1, 2))\n"}
    answers = [answer.json()["choices"][0]["text"] for answer in post(app, *[("/v1/completions", body)] * 3)]
    assert len(set(answers)) == 3, answers


def test_llama_vscode_gets_alternatives(app: FastAPI) -> None:
    body = {"input_prefix": "def area(width, height):\n", "prompt": "    return ", "input_suffix": "\n", "n_cmpl": 3}
    texts = [one["content"] for one in post(app, ("/infill", body))[0].json()]
    assert 1 < len(texts) == len(set(texts)) <= 3


def test_the_examples_of_an_edit_work_out_of_the_box(app: FastAPI) -> None:
    examples: Any = EditBody.model_json_schema()["examples"]
    for answer in post(app, *(("/v1/hone/edit", example) for example in examples)):
        assert answer.status_code == 200, answer.text
        assert answer.json()["edits"]


def test_an_instruction_hears_of_the_tasks_that_there_are(app: FastAPI) -> None:
    [answer] = post(app, ("/v1/hone/edit", {"text": "", "blocks": [[0, 0]], "instruction": "shorten it"}))
    assert answer.status_code == 501
    assert "it knows modernise, annotate" in answer.json()["error"]["message"]
