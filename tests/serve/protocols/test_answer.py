"""What the protocols share: bursts of the same request, limits, and errors by path."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from assistant.protocols import inception, llamacpp, mistral, ollama, openai
from assistant.protocols.answer import Alternates, Wish, compact, completion_request, error_body, stops
from assistant.protocols.fim import Hole
from assistant.wire import CompleteBody, EditBody
from tests.serve.conftest import Serve, Served


def test_requests_of_a_burst_are_counted() -> None:
    ours = Alternates()
    assert [ours.begin(b"a", 0.0) for _ in range(3)] == [0, 1, 2]
    assert ours.begin(b"b", 0.0) == 0


def test_a_burst_ends_when_nothing_is_under_way() -> None:
    ours = Alternates()
    assert ours.begin(b"a", 0.0) == 0
    assert ours.begin(b"a", 5.0) == 1  # the first is still under way
    ours.end(b"a")
    assert ours.begin(b"a", 5.0) == 2
    ours.end(b"a")
    ours.end(b"a")
    assert ours.begin(b"a", 5.1) == 0


def test_a_request_that_was_answered_a_moment_ago_counts() -> None:
    ours = Alternates()
    ours.begin(b"a", 0.0)
    ours.end(b"a")
    assert ours.begin(b"a", 0.04) == 1
    ours.end(b"a")
    assert ours.begin(b"a", 0.05) == 0


def test_nobody_of_a_burst_gets_what_another_got() -> None:
    ours = Alternates()
    for _ in range(3):
        ours.begin(b"a", 0.0)
    assert ours.fresh(b"a", ["one"]) == 0
    assert ours.fresh(b"a", ["two", "one"]) == 0, "its best is another one"
    assert ours.fresh(b"a", ["two", "one", "three"]) == 2
    assert ours.fresh(b"a", ["two", "one"]) == 1, "there is no other"
    assert ours.fresh(b"a", []) == -1
    for _ in range(ours.WIDEST - 3):
        ours.begin(b"a", 0.0)
    assert ours.begin(b"a", 0.0) == 0
    assert ours.fresh(b"a", ["one"]) == 0, "a burst that began again"


@given(st.lists(st.tuples(st.integers(0, 600), st.booleans()), max_size=2000))
def test_bursts_are_bounded(events: list[tuple[int, bool]]) -> None:
    ours = Alternates()
    for now, (key, begins) in enumerate(events):
        name = str(key).encode()
        if begins:
            assert 0 <= ours.begin(name, now / 1000) < ours.WIDEST
        else:
            ours.end(name)
        assert len(ours._bursts) <= ours.MOST


@pytest.mark.parametrize(
    ("hole", "one_line"),
    [
        (Hole("def f(values):\n    return va", "\n\nprint(f(1))\n"), True),
        (Hole("def f(values):\n    ", "\n\nprint(f(1))\n"), None),  # nothing on the line: as many as belong there
        (Hole("def f(values):", "\n\nprint(f(1))\n"), None),  # a block begins
        (Hole("x = f(  ", "\n\nprint(f(1))\n"), None),
        (Hole("def f(values):\n    return va", " \n"), None),  # the end of the text: it goes on
        (Hole("    return va", "\nb", before="def f():\n", after="\n"), None),  # a region written anew
    ],
)
def test_behind_text_the_rest_of_the_line_is_wanted(hole: Hole, one_line: bool | None) -> None:
    assert completion_request(hole, Wish(), 64).one_line is one_line


def test_three_at_once_get_three_answers(serve: Serve) -> None:
    """minuet-ai.nvim asks three times for three alternatives."""
    served = serve("def f(values):\n    return ", "values")
    body = {"model": "m", "prompt": "def f(values):\n    return ", "suffix": "\n"}
    ranks: list[int] = []
    inner = served.app.state.serving.complete

    async def complete(request: Any, *args: Any, **more: Any) -> Any:
        ranks.append(request.n)
        return await inner(request, *args, **more)

    served.app.state.serving.complete = complete

    async def three() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=served.app, client=("127.0.0.1", 50_000))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8077") as client:
            return list(await asyncio.gather(*(client.post("/v1/completions", json=body) for _ in range(3))))

    answers = [answer.json()["choices"] for answer in asyncio.run(three())]
    assert sorted(ranks) == [1, 2, 3]
    assert all(len(choices) == 1 for choices in answers)
    assert "values" in [choices[0]["text"] for choices in answers]


@pytest.mark.parametrize("more", [{"seed": 1}, {"temperature": 0}, {"n": 2}])
def test_a_reproducible_request_is_no_burst(serve: Serve, more: dict[str, int]) -> None:
    served = serve("x = ", "index")
    body = {"model": "m", "prompt": "x = ", "suffix": "\n", **more}
    texts = [served.post("/v1/completions", json=body).json()["choices"][0]["text"] for _ in range(3)]
    assert texts == ["index"] * 3


@pytest.mark.parametrize(
    ("wish", "counts"),
    [
        (Wish(temperature=0.2), False),
        (Wish(temperature=0.2, seed=-1), False),
        (Wish(temperature=0.2, seed=7), True),
        (Wish(temperature=0.2, n=3), True),
        (Wish(temperature=0.2, n=3, varied=True), False),
        (Wish(temperature=0.0, n=3), False),
        (Wish(temperature=1e-300, n=3), False),
        (Wish(temperature=1e300, n=3), True),
    ],
)
def test_a_temperature_counts_where_variety_is_wanted(wish: Wish, counts: bool) -> None:
    asked = completion_request(Hole("x"), wish, 100)
    assert (asked.temperature > 0) == counts
    assert asked.temperature <= 2


def test_more_than_the_server_gives_is_what_the_server_gives() -> None:
    asked = completion_request(Hole("a", "b"), Wish(max_tokens=8192, budget_ms=250, seed=1 << 80), 1024)
    assert (asked.max_tokens, asked.budget_ms, asked.text, asked.start) == (1024, 250, "ab", 1)
    assert 0 <= asked.seed < 1 << 63
    assert completion_request(Hole("x"), Wish(max_tokens=-1), 1024).max_tokens == 64


def test_sentinels_are_no_stop_texts() -> None:
    assert stops(["<|fim_prefix|>", "\n\n", "", "\n\n", "//"]) == ("\n\n", "//")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/generate", {"error": "no"}),
        ("/v1/health", "no"),
        ("/v1/events", "no"),
        ("/v1beta/server_setting", "no"),
        ("/v1/hone/complete", {"error": {"message": "no", "type": "invalid_request_error"}}),
        ("/v1/completions", {"error": {"message": "no", "type": "invalid_request_error", "param": None, "code": 400}}),
        ("/infill", {"error": {"message": "no", "type": "invalid_request_error", "param": None, "code": 400}}),
    ],
)
def test_an_error_is_spelled_as_its_protocol_does(path: str, body: object) -> None:
    assert error_body(path, 400, "no") == body


def test_a_client_that_goes_away_stops_its_request(serve: Serve) -> None:
    stopped: list[str] = []
    served = serve("x = ", "index")

    async def complete(*args: Any, **more: Any) -> Any:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            stopped.append("stopped")
            raise

    served.app.state.serving.complete = complete

    async def leave() -> None:
        body = json.dumps({"prompt": "x = ", "input_prefix": ""}).encode()
        messages: list[dict[str, Any]] = [
            {"type": "http.request", "body": body, "more_body": False},
            {"type": "http.disconnect"},
        ]

        async def receive() -> dict[str, Any]:
            await asyncio.sleep(0.01)
            return messages.pop(0)

        async def send(message: Any) -> None:
            pass

        scope = {"type": "http", "method": "POST", "path": "/infill", "raw_path": b"/infill", "query_string": b"",
                 "headers": [(b"host", b"127.0.0.1")], "http_version": "1.1", "scheme": "http",
                 "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8077), "asgi": {"version": "3.0"}}  # fmt: skip
        await asyncio.wait_for(served.app(scope, receive, send), 5)

    asyncio.run(leave())
    assert stopped == ["stopped"]


MANY = 50_000
KEYS = {f"k{i}": 0 for i in range(MANY)}


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (llamacpp.InfillBody, {"stop": [1] * MANY}),
        (llamacpp.InfillBody, {"stop": ["x"] * MANY}),
        (llamacpp.InfillBody, {"response_fields": [1] * MANY}),
        (llamacpp.TokensBody, {"tokens": [{}] * MANY}),
        (openai.Body, {"prompt": "", "stop": [1] * MANY}),
        (mistral.Body, {"prompt": "", "stop": [1] * MANY}),
        (ollama.GenerateBody, {"options": {"stop": [1] * MANY}}),
        (inception.RewriteBody, {"messages": [1] * MANY}),
        (CompleteBody, {"text": "", "start": 0, **KEYS}),
        (CompleteBody, {"text": "", "start": 0, "extra": [{"path": "", "text": "", "source": "open", **KEYS}]}),
        (CompleteBody, {"text": "", "start": 0, "extra": [1] * MANY}),
        (CompleteBody, {"text": "", "start": 0, "stop": [1] * MANY}),
        (EditBody, {"text": "", "blocks": [[0] * MANY], "task": "fix"}),
        (EditBody, {"text": "", "blocks": [0] * MANY, "task": "fix"}),
    ],
    ids=str,
)
def test_a_body_that_is_wrong_all_over_is_given_up_at_once(body: type[BaseModel], value: dict[str, Any]) -> None:
    """To find all that is wrong with a body of a megabyte takes a minute, in which nobody else is answered."""
    with pytest.raises(ValidationError) as found:
        body.model_validate(value)
    assert found.value.error_count() < 20


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/infill", {"input_prefix": "x = "}),
        ("/v1/completions", {"prompt": "x = "}),
        ("/v1/fim/completions", {"prompt": "x = "}),
        ("/api/generate", {"prompt": "x = "}),
    ],
)
@pytest.mark.parametrize(
    ("stop", "words"),
    [
        ([f"s{n}" for n in range(17)], "stop has 17 texts, and at most 16 are looked for; send fewer"),
        ([f"s{n}" for n in range(2000)], "stop: 2000 texts, and at most 16 are looked for; send fewer"),
        (["x" * 257], "stop has a text of 257 characters, and at most 256 are looked for"),
        ("x" * 257, "stop has a text of 257 characters, and at most 256 are looked for"),
        (["x", 1], "stop: a text or a list of texts is needed"),
        ({"x": 1}, "stop: a text or a list of texts is needed"),
    ],
)
def test_stop_texts_that_are_too_many_or_none_are_told_once(
    served: Served, path: str, body: dict[str, Any], stop: object, words: str
) -> None:
    more = {"options": {"stop": stop}} if path == "/api/generate" else {"stop": stop}
    answer = served.post(path, json=body | more)
    assert answer.status_code == 422
    error = answer.json()["error"]
    said = error if isinstance(error, str) else error["message"]
    assert said.removeprefix("options.") == words
    good = {"options": {"stop": ["", "zzz"]}} if path == "/api/generate" else {"stop": ["", "zzz"]}
    assert served.post(path, json=body | good).status_code == 200


def test_nothing_in_a_line_ends_it() -> None:
    """Clients that split a stream by Unicode's rules for lines see whole messages."""
    text = "a\x85b\u2028c\u2029d\x0be\x0cf\x1cg\r\n"
    line = compact({"text": text}).decode()
    assert len(line.splitlines()) == 1
    assert json.loads(line) == {"text": text}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/generate", {"prompt": "x", "format": "q" * 100_000}),
        ("/v1/completions", {"segments": {"prefix": "x"}, "mode": "q" * 100_000}),
    ],
)
def test_an_error_does_not_repeat_what_is_long(serve: Serve, path: str, body: dict[str, Any]) -> None:
    answer = serve().post(path, json=body)
    assert answer.status_code == 400
    assert len(answer.content) < 500


@pytest.mark.parametrize("path", ["/", "/api/version", "/api/tags"])
def test_probes_without_a_body(serve: Serve, path: str) -> None:
    served = serve()
    assert served.request("HEAD", path).status_code == 200
    assert served.request("HEAD", path).content == b""
