"""Any body of roughly the right types: never a 5xx, and a good request right after is answered."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.serve.conftest import Served

NUMBER = st.none() | st.integers(-3, 200) | st.floats(allow_nan=False, allow_infinity=False) | st.just(10**30)
TEXT = (
    st.none()
    | st.text(max_size=20)
    | st.sampled_from(["<|fim_prefix|>a<|fim_suffix|>b<|fim_middle|>", "\r\n", "def f(\n", "\ud800"])
)
TEXTS = TEXT | st.lists(st.text(max_size=4), max_size=5)
FLAG = st.none() | st.booleans()
ANY: st.SearchStrategy[Any] = st.recursive(
    TEXT | NUMBER | FLAG,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)
OPENAI = {
    "model": TEXT,
    "prompt": TEXTS,
    "suffix": TEXT,
    "max_tokens": NUMBER,
    "temperature": NUMBER,
    "top_p": NUMBER,
    "n": st.none() | st.integers(-1, 4),
    "best_of": NUMBER,
    "stop": TEXTS,
    "stream": FLAG,
    "echo": FLAG,
    "seed": NUMBER,
    "logprobs": st.none() | st.just(0),
    "stream_options": st.none() | st.fixed_dictionaries({"include_usage": FLAG}),
    "language": TEXT,
    "filename": TEXT,
}
FIELDS = st.sampled_from(["content", "", "timings/prompt_n", "a/b/c", "/"])
INFILL = {
    "input_prefix": TEXT,
    "input_suffix": TEXT,
    "prompt": TEXT,
    "input_extra": ANY,
    "n_predict": NUMBER,
    "n_cmpl": NUMBER,
    "stop": TEXTS,
    "stream": FLAG,
    "temperature": NUMBER,
    "top_p": NUMBER,
    "t_max_prompt_ms": NUMBER,
    "t_max_predict_ms": NUMBER,
    "response_fields": st.none() | st.lists(FIELDS),
    "seed": NUMBER,
}
OLLAMA = {
    "model": TEXT,
    "prompt": TEXT,
    "suffix": TEXT,
    "stream": FLAG,
    "raw": FLAG,
    "keep_alive": ANY,
    "template": TEXT,
    "options": st.none()
    | st.fixed_dictionaries(
        {},
        optional={
            "num_predict": NUMBER,
            "temperature": NUMBER,
            "top_p": NUMBER,
            "seed": NUMBER,
            "stop": TEXTS,
            "num_ctx": ANY,
        },
    ),
}
TABBY = {
    "language": TEXT,
    "temperature": NUMBER,
    "seed": NUMBER,
    "mode": st.none() | st.just("standard"),
    "segments": st.none()
    | st.fixed_dictionaries({"prefix": TEXT}, optional={"suffix": TEXT, "filepath": TEXT, "clipboard": ANY}),
    "debug_options": st.none() | st.fixed_dictionaries({}, optional={"raw_prompt": TEXT, "return_prompt": FLAG}),
}
MISTRAL = {
    name: OPENAI[name]
    for name in ("model", "prompt", "suffix", "max_tokens", "temperature", "top_p", "stop", "stream", "seed")
}
MISTRAL |= {"random_seed": NUMBER, "diffusing": FLAG, "model": st.sampled_from(["mercury-coder", "codestral", None])}
ROUTES: dict[str, tuple[str, dict[str, st.SearchStrategy[Any]]]] = {
    "openai": ("/v1/completions", OPENAI),
    "tabby": ("/v1/completions", TABBY),
    "mistral": ("/v1/fim/completions", MISTRAL),
    "ollama": ("/api/generate", OLLAMA),
    "infill": ("/infill", INFILL),
    "completion": ("/completion", {**INFILL, "prompt": TEXTS}),
    "tokenize": ("/tokenize", {"content": TEXT, "with_pieces": FLAG, "add_special": FLAG}),
    "detokenize": (
        "/detokenize",
        {"tokens": st.none() | st.lists(st.integers(-2, 2000) | st.just(10**30), max_size=4)},
    ),
    "show": ("/api/show", {"model": TEXT, "name": ANY}),
    "event": ("/v1/events", {"type": TEXT | st.just("view"), "completion_id": TEXT, "choice_index": NUMBER}),
    "edit": ("/v1/edit/completions", {"messages": ANY}),
}


@pytest.mark.parametrize("route", ROUTES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_no_body_is_too_odd(route: str, data: st.DataObject, served: Served) -> None:
    path, fields = ROUTES[route]
    body = data.draw(st.fixed_dictionaries({}, optional=fields))
    answer = served.post(path, content=json.dumps(body).encode(), headers={"Content-Type": "application/json"})
    assert answer.status_code in (200, 400, 422), (answer.status_code, answer.text)
    if answer.status_code != 200:
        assert len(answer.text) > 10, "an error says what is wrong"


ODD = [b"", b"{", b"[]", b"null", b'"x"', b"\xff", b'{"prompt": NaN}', b'{"prompt":' + b"[" * 5000]


@pytest.mark.parametrize("path", ["/infill", "/v1/completions", "/api/generate", "/v1/fim/completions"])
def test_what_is_no_json_object_is_refused(path: str, served: Served) -> None:
    for content in ODD:
        answer = served.post(path, content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code in (400, 422), (content[:20], answer.text)
    assert served.post("/infill", json={"input_prefix": "x = "}).status_code == 200
