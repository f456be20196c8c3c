"""Unmodified clients over a real socket: the packages of OpenAI, Ollama and Mistral, and curl as plugins start it."""

import asyncio
import json
import re
import shutil
import subprocess
import threading
import time
from datetime import UTC, datetime, timedelta

import httpx
import ollama
import openai
import pytest
from mistralai.client import Mistral

from tests.serve.conftest import PREFIX, SUFFIX, Listen, Serve, Served


@pytest.fixture
def address(listen: Listen, serve: Serve) -> str:
    return listen(serve(PREFIX, "a + b"))


@pytest.fixture
def ours(address: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)


def test_openai(ours: openai.OpenAI) -> None:
    with ours:
        assert [model.id for model in ours.models.list()][1] == "qwen2.5-coder:hone"
        assert ours.models.retrieve("anything").object == "model"
        answer = ours.completions.create(model="m", prompt=PREFIX, suffix=SUFFIX, max_tokens=16)
        assert answer.choices[0].text == "a + b"
        assert answer.choices[0].finish_reason == "stop"
        assert answer.usage is not None
        assert answer.usage.completion_tokens > 0
        assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_openai_streams(ours: openai.OpenAI) -> None:
    with (
        ours,
        ours.completions.create(
            model="m", prompt=PREFIX, suffix=SUFFIX, stream=True, stream_options={"include_usage": True}
        ) as stream,
    ):
        chunks = list(stream)
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == "a + b"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.prompt_tokens > 0


def test_openai_errors(ours: openai.OpenAI) -> None:
    with ours:
        with pytest.raises(openai.BadRequestError, match="not token ids"):
            ours.completions.create(model="m", prompt=[1, 2])
        with pytest.raises(openai.BadRequestError, match="cannot chat"):
            ours.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])


def test_ollama(address: str) -> None:
    with ollama.Client(address) as ours:
        assert [model.model for model in ours.list().models][1] == "qwen2.5-coder:hone"
        shown = ours.show("anything")
        assert ".Suffix" in (shown.template or "")
        assert shown.capabilities == ["completion", "insert"]
        answer = ours.generate("m", PREFIX, suffix=SUFFIX, options={"num_predict": 16, "temperature": 0.2})
        assert (answer.response, answer.done, answer.done_reason) == ("a + b", True, "stop")
        assert (answer.eval_count or 0) > 0
        assert (answer.total_duration or 0) > 0
        pieces = list(ours.generate("m", PREFIX, suffix=SUFFIX, stream=True))
        assert "".join(piece.response or "" for piece in pieces) == "a + b"
        assert pieces[-1].done
        assert ours.ps().models[0].model is not None
        with pytest.raises(ollama.ResponseError, match="does not support chat"):
            ours.chat("m", [{"role": "user", "content": "hi"}])


def test_mistral(address: str) -> None:
    with Mistral(api_key="none", server_url=address) as ours:
        answer = ours.fim.complete(model="codestral-latest", prompt=PREFIX, suffix=SUFFIX, max_tokens=16, random_seed=1)
        assert answer.choices[0].message is not None
        assert answer.choices[0].message.content == "a + b"
        events = list(ours.fim.stream(model="codestral-latest", prompt=PREFIX, suffix=SUFFIX))
        assert "".join(str(event.data.choices[0].delta.content) for event in events) == "a + b"
        assert events[-1].data.choices[0].finish_reason == "stop"
        models = ours.models.list()
        assert models.data
        assert models.data[0].capabilities.completion_fim


CURL = shutil.which("curl")


def curl(address: str, path: str, body: object, *more: str) -> str:
    assert CURL is not None
    headers = ["--header", "Content-Type: application/json", "--header", "Authorization: Bearer "]
    command = [CURL, "--silent", "--no-buffer", "--request", "POST", "--url", address + path, *headers, *more]
    command += ["--data", "@-"]
    done = subprocess.run(command, input=json.dumps(body), capture_output=True, text=True, check=True, timeout=30)
    return done.stdout


@pytest.mark.skipif(CURL is None, reason="curl is not installed")
def test_llama_vim_finds_the_answer_in_the_raw_bytes(address: str) -> None:
    body = {"input_prefix": PREFIX[: PREFIX.rfind("\n") + 1], "prompt": "    return ", "input_suffix": SUFFIX,
            "response_fields": ["content", "timings/prompt_n"], "n_predict": 128, "t_max_predict_ms": 250}  # fmt: skip
    raw = curl(address, "/infill", body)
    assert re.search(r'"content"\s*:"', raw)  # as the plugin looks for it: no blank after the colon
    assert "\n" not in raw
    assert json.loads(raw)["content"] == "a + b"


@pytest.mark.skipif(CURL is None, reason="curl is not installed")
def test_minuet_reads_the_stream_line_by_line(address: str) -> None:
    """Its way: strip "data:", decode, add up ``choices[1].text`` (Lua counts from 1)."""
    raw = curl(
        address,
        "/v1/completions",
        {"model": "m", "prompt": PREFIX, "suffix": SUFFIX, "stream": True},
        "--max-time",
        "3",
    )
    texts = []
    for line in raw.splitlines():
        try:
            texts.append(json.loads(re.sub("^data:", "", line))["choices"][0]["text"])
        except (ValueError, LookupError):
            continue
    assert "".join(texts) == "a + b"


@pytest.mark.skipif(CURL is None, reason="curl is not installed")
def test_three_curls_of_minuet_are_all_answered(listen: Listen, serve: Serve) -> None:
    address = listen(serve("def f(values):\n    return ", "values"))
    top = "# language: python\n# indentation: use 4 spaces for a tab\n"
    body = {"model": "m", "prompt": top + "def f(values):\n    return ", "suffix": "\n", "stream": True}
    raws: list[str] = []
    threads = [threading.Thread(target=lambda: raws.append(curl(address, "/v1/completions", body))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(raws) == 3
    assert all(raw.endswith("data: [DONE]\n\n") for raw in raws)
    assert any('"text":"values"' in raw for raw in raws)


def test_a_watcher_that_goes_away_stops_the_model(listen: Listen, serve: Serve) -> None:
    served = serve(PREFIX, "a + b + a + b + a + b + a + b", on_call=lambda _: time.sleep(0.1))
    outcomes: list[str] = []
    served.worker.on_finished = lambda finished: outcomes.append(finished.outcome)
    address = listen(served)
    body = {"model": "mercury-coder", "prompt": PREFIX, "suffix": SUFFIX, "stream": True, "diffusing": True}
    with httpx.stream("POST", f"{address}/v1/fim/completions", json=body) as answer:
        assert "░" in next(answer.iter_lines())
    deadline = time.monotonic() + 5
    while not outcomes and time.monotonic() < deadline:
        time.sleep(0.01)
    assert outcomes == ["cancelled"]


@pytest.mark.parametrize("more", [{}, {"with_pieces": True}])
def test_a_long_text_to_tokenize_holds_nobody_up(served: Served, more: dict[str, bool]) -> None:
    """In processor time of the event loop's thread: how busy the machine is does not count."""
    longest = 0.0

    async def scenario() -> httpx.Response:
        nonlocal longest
        transport = httpx.ASGITransport(app=served.app, client=("127.0.0.1", 50_000))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8077") as client:
            asked = asyncio.create_task(client.post("/tokenize", json={"content": "x" * 400_000} | more, timeout=60))
            while not asked.done():
                before = time.thread_time()
                await asyncio.sleep(0.001)
                longest = max(longest, time.thread_time() - before)
            return await asked

    answer = asyncio.run(scenario())
    assert len(answer.json()["tokens"]) == 400_000
    assert longest < 0.1


def test_models_do_not_change_their_age_and_stay_loaded(served: Served) -> None:
    def told() -> list[str]:
        tags = [one["modified_at"] for one in served.get("/api/tags").json()["models"]]
        return [
            *tags,
            served.post("/api/show", json={}).json()["modified_at"],
            served.get("/v1/models/m").json()["created"],
        ]

    before = told()
    time.sleep(1.1)
    assert told() == before
    [loaded] = served.get("/api/ps").json()["models"]
    assert datetime.fromisoformat(loaded["expires_at"]) > datetime.now(UTC) + timedelta(days=1)
