"""Inception's next edits and merges: prompts taken apart as its clients write them, answers of a model in its form."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from assistant.config import Settings
from assistant.errors import RequestError
from assistant.metrics import Metrics
from assistant.protocols.rewrite import COMPLETE, HISTORY, MERGE, NEXT, Rewrite, merge, next_edit
from assistant.server import create_app
from assistant.service import open_infiller
from assistant.types import EditResult, TextEdit
from assistant.worker import Beside, Worker
from infill.engine import Infiller
from tests.fakes import ScriptedDenoiser
from tests.published import BLOCK, make_instructed
from tests.serve.conftest import OPTIONS, Served

EDITED, NEXT_BLOCK = "-def f(b):\n+def f(a):", "def f(a, b):\n    return a*2\n"
UPDATE, MERGED = "# ... existing code ...\n    return b\n", "def f(a):\n    return b\n"
KNOWN = (
    (NEXT.format(history=EDITED), BLOCK, NEXT_BLOCK),
    (MERGE.format(update=UPDATE.strip()), BLOCK, MERGED),
)
REGION = BLOCK.rstrip("\n")
DIFF = f"<|edit_diff_history|>\n{EDITED}\n<|/edit_diff_history|>"
SNIPPETS = "<|recently_viewed_code_snippets|>\n\n<|/recently_viewed_code_snippets|>\n\n"
FILE = "<|current_file_content|>\ncurrent_file_path: pkg/a.py\n{}\n<|/current_file_content|>\n\n"
HEAD, TAIL = "import os\n\n\n", "print(f(1))"
CURSOR = REGION.replace("a*2", "a*<|cursor|>2")
PROMPTS = {
    "zed": SNIPPETS + FILE.format(f"{HEAD}<|code_to_edit|>\n{CURSOR}\n<|/code_to_edit|>\n\n{TAIL}") + DIFF,
    "cursortab": SNIPPETS + FILE.format(f"{HEAD}<|code_to_edit|>\n{CURSOR}\n<|/code_to_edit|>\n{TAIL}") + DIFF,
}
APPLY = f"<|original_code|>\n{BLOCK}\n<|/original_code|>\n\n<|update_snippet|>\n{UPDATE}<|/update_snippet|>"


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_instructed(tmp_path_factory.mktemp("taught"), KNOWN)


@pytest.fixture
def served(taught: Path) -> Iterator[Served]:
    beside = Beside("words", lambda: open_infiller(Settings(model=taught)), instruct=True)
    metrics = Metrics()
    worker = Worker(lambda: Infiller(ScriptedDenoiser("x = ", "value")), name="holes", beside=beside)
    worker.start()
    app = create_app(worker, OPTIONS, metrics=metrics, on_shutdown=lambda: None)
    yield Served(app, worker, None, metrics, OPTIONS)  # type: ignore[arg-type]
    worker.close()


def asked(prompt: str, **more: Any) -> dict[str, Any]:
    return {"model": "mercury-edit-2", "messages": [{"role": "user", "content": prompt}]} | more


@pytest.mark.parametrize("client", PROMPTS)
def test_a_next_edit_is_taken_apart(client: str) -> None:
    found = next_edit(PROMPTS[client])
    assert found.text == f"{HEAD}{REGION}\n{TAIL}"
    assert (found.block, found.filename) == (REGION, "pkg/a.py")
    assert found.instruction == NEXT.format(history=EDITED)
    assert found.request().blocks == ((len(HEAD), len(HEAD) + len(REGION)),)


def test_without_edits_before_it_is_completed() -> None:
    assert next_edit(PROMPTS["zed"].replace(DIFF, "")).instruction == COMPLETE
    empty = "<|edit_diff_history|>\n\n<|/edit_diff_history|>"
    assert next_edit(PROMPTS["zed"].replace(DIFF, empty)).instruction == COMPLETE


def test_of_many_edits_the_newest_are_told() -> None:
    lines = [f"+line {n}" for n in range(1000)]
    many = "<|edit_diff_history|>\n" + "\n".join(lines) + "\n<|/edit_diff_history|>"
    told = next_edit(PROMPTS["zed"].replace(DIFF, many)).instruction
    assert "+line 999\n" in told
    assert "+line 100\n" not in told
    assert len(told) < len(NEXT) + HISTORY


def test_edits_beyond_the_region_are_not_in_the_answer() -> None:
    one = Rewrite("ab\ncd\nef", 3, 5, "")
    edits = (TextEdit(0, 1, "A", 0, 0.0), TextEdit(3, 4, "CC", 0, 0.0), TextEdit(6, 8, "", 0, 0.0))
    assert one.result(EditResult(edits, (None,))) == "CCd"


@pytest.mark.parametrize("prompt", ["", "<|current_file_content|>\nx\n<|/current_file_content|>", "<|code_to_edit|>x"])
def test_a_prompt_without_a_region_is_named(prompt: str) -> None:
    with pytest.raises(RequestError, match="the prompt needs"):
        next_edit(prompt)
    with pytest.raises(RequestError, match=r"the prompt needs <\|original_code\|>"):
        merge(prompt)
    with pytest.raises(RequestError, match="nothing to merge"):
        merge(APPLY.replace(UPDATE, ""))


@pytest.mark.parametrize("client", PROMPTS)
def test_a_next_edit_is_answered(served: Served, client: str) -> None:
    answer = served.post("/v1/edit/completions", json=asked(PROMPTS[client]))
    assert answer.status_code == 200, answer.text
    found = answer.json()
    [choice] = found["choices"]
    assert choice["message"] == {"role": "assistant", "content": f"```\n{NEXT_BLOCK}```"}
    assert (choice["finish_reason"], found["object"], found["model"]) == ("stop", "chat.completion", "mercury-edit-2")
    assert set(found["usage"]) == {"prompt_tokens", "completion_tokens", "total_tokens"}


def test_no_edit_is_the_word_for_it(served: Served) -> None:
    prompt = PROMPTS["zed"].replace(CURSOR, "x = [" + "1, " * 2000 + "]")
    answer = served.post("/v1/edit/completions", json=asked(prompt)).json()
    assert answer["choices"][0]["message"]["content"] == "None"
    assert answer["hone"]["reason"] == "long"


def test_an_update_is_merged(served: Served) -> None:
    answer = served.post("/v1/apply/completions", json=asked(APPLY))
    assert answer.json()["choices"][0]["message"]["content"] == MERGED


def test_what_could_not_be_merged_is_an_error(served: Served) -> None:
    answer = served.post("/v1/apply/completions", json=asked(APPLY.replace(BLOCK, BLOCK * 100)))
    assert answer.status_code == 400
    assert "too long for the model" in answer.json()["error"]["message"]


def test_streamed_pieces_are_the_same_answer(served: Served) -> None:
    answer = served.post("/v1/edit/completions", json=asked(PROMPTS["zed"], stream=True))
    assert answer.headers["content-type"].startswith("text/event-stream")
    *events, done = [part.removeprefix("data: ") for part in answer.text.split("\n\n") if part]
    assert done == "[DONE]"
    deltas = [json.loads(event)["choices"][0]["delta"] for event in events]
    assert "".join(delta.get("content", "") for delta in deltas) == f"```\n{NEXT_BLOCK}```"


@pytest.mark.parametrize("count", [0, 2])
def test_one_message_of_a_user_is_needed(served: Served, count: int) -> None:
    messages = [{"role": "system", "content": "x"}, *[{"role": "user", "content": "y"}] * count]
    answer = served.post("/v1/edit/completions", json={"messages": messages})
    assert answer.status_code == 400
    assert f"one of the role user, not {count}" in answer.json()["error"]["message"]


def test_content_may_come_in_parts(served: Served) -> None:
    parts = [{"type": "text", "text": APPLY[:30]}, {"type": "text", "text": APPLY[30:]}]
    answer = served.post("/v1/apply/completions", json={"messages": [{"role": "user", "content": parts}]})
    assert answer.json()["choices"][0]["message"]["content"] == MERGED
    assert answer.json()["model"] == "words"


def test_a_chat_is_none_for_it_either(served: Served) -> None:
    answer = served.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "hello"}]})
    assert answer.status_code == 400
    assert "it follows instructions about code; use /v1/hone/edit" in answer.json()["error"]["message"]
