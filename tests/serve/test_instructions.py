"""Instructions in free words over HTTP, by a tiny published model that knows some answers: who is asked, and how."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from assistant.async_client import AsyncClient
from assistant.client import Client
from assistant.config import Settings
from assistant.edits import applied
from assistant.errors import CannotEditError, RequestError
from assistant.metrics import Metrics
from assistant.runtime import Endpoint
from assistant.server import create_app
from assistant.service import Assistant, open_infiller
from assistant.types import EditRequest, EditResult
from assistant.worker import Beside, Worker
from infill.engine import Infiller
from tests.fakes import ScriptedDenoiser
from tests.mender import Mender
from tests.published import BLOCK, MODERN, SPACED, SPACES
from tests.serve.conftest import ADMIN, OPTIONS, Served, listening
from tests.serve.processes import hone, make_checkpoint, private, this_process

TEXT = "import os\n\n\n" + BLOCK
ORDER = EditRequest(TEXT, "", ((12, len(TEXT)),), filename="a.py", instruction=SPACES)


@contextmanager
def serving(worker: Worker) -> Iterator[Served]:
    metrics = Metrics()
    worker.start()
    try:
        app = create_app(worker, OPTIONS, metrics=metrics, on_shutdown=lambda: None)
        yield Served(app, worker, None, metrics, OPTIONS)  # type: ignore[arg-type]
    finally:
        worker.close()


@pytest.fixture
def served(instructed: Path) -> Iterator[Served]:
    """A model that fills holes, and beside it one that follows instructions."""
    beside = Beside("words", lambda: open_infiller(Settings(model=instructed)), instruct=True)
    with serving(Worker(lambda: Infiller(ScriptedDenoiser("x = ", "value")), name="holes", beside=beside)) as one:
        yield one


def post(served: Served, **more: Any) -> Any:
    return served.post("/v1/hone/edit", json={"text": TEXT, "blocks": [[12, len(TEXT)]], "filename": "a.py"} | more)


def text_of(edits: list[dict[str, Any]]) -> str:
    text = TEXT
    for one in reversed(edits):
        text = text[: one["start"]] + one["text"] + text[one["end"] :]
    return text


def test_an_instruction_is_followed_over_http(served: Served) -> None:
    answer = post(served, instruction=SPACES)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert text_of(found["edits"]) == "import os\n\n\n" + SPACED
    assert (found["reasons"], found["model"]) == ([None], "words")


def test_a_task_is_put_into_words(served: Served) -> None:
    answer = post(served, task="modernise")
    assert text_of(answer.json()["edits"]) == "import os\n\n\n" + MODERN


@pytest.mark.parametrize(
    ("more", "status", "message"),
    [
        ({"instruction": SPACES, "task": "fix"}, 400, "two ways to say"),
        ({"instruction": "  "}, 400, "must say what is to be done"),
        ({}, 422, "task or instruction is needed"),
        ({"instruction": "x" * 5000}, 422, "instruction"),
    ],
)
def test_what_cannot_be(served: Served, more: dict[str, str], status: int, message: str) -> None:
    answer = post(served, **more)
    assert answer.status_code == status
    assert message in answer.text


def test_the_status_says_who_follows(served: Served, instructed: Path) -> None:
    headers = {"authorization": f"Bearer {ADMIN}"}
    told = served.get("/v1/hone/status", headers=headers).json()["model"]
    assert (told["instruct"], told["instruct_model"], told["edits"]) == (True, "words", True)
    with serving(Worker(lambda: open_infiller(Settings(model=instructed)), name="alone")) as alone:
        told = alone.get("/v1/hone/status", headers=headers).json()["model"]
        assert (told["instruct"], told["instruct_model"], told["edits"], told["edit_model"]) == (
            True, "alone", True, None,
        )  # fmt: skip
    with serving(Worker(lambda: Infiller(ScriptedDenoiser("x = ", "value")))) as none:
        told = none.get("/v1/hone/status", headers=headers).json()["model"]
        assert (told["instruct"], told["instruct_model"]) == (False, None)


def test_both_clients_pass_it_on(served: Served) -> None:
    async def ask(endpoint: Endpoint) -> EditResult:
        other = AsyncClient(lambda *, replace: endpoint)
        try:
            return await other.edit(ORDER)
        finally:
            await other.close()

    with listening(served.app) as url:
        endpoint = this_process(int(url.rpartition(":")[2]), token=ADMIN)
        with Client(endpoint) as client:
            found = client.edit(ORDER)
        again = asyncio.run(ask(endpoint))
    assert applied(TEXT, found.edits) == "import os\n\n\n" + SPACED
    assert again.edits == found.edits


def test_who_cannot_says_so_to_clients_as_to_everybody() -> None:
    with serving(Worker(lambda: Infiller(Mender({})))) as served, listening(served.app) as url:
        client = Client(this_process(int(url.rpartition(":")[2]), token=ADMIN))
        with client, pytest.raises(CannotEditError, match="no instruction in free words"):
            client.edit(ORDER)


def test_instructions_go_to_the_model_of_two_that_follows(instructed: Path) -> None:
    """Here the one that fills holes; tasks go to the other."""
    mender = Mender({"a*2": "a * 3"})
    beside = Beside("mender", lambda: Infiller(mender))
    with serving(Worker(lambda: open_infiller(Settings(model=instructed)), name="words", beside=beside)) as served:
        found = post(served, instruction=SPACES).json()
        assert text_of(found["edits"]) == "import os\n\n\n" + SPACED
        assert found["model"] == "words"
        assert mender.batches == []
        found = post(served, task="fix").json()
        assert text_of(found["edits"]) == TEXT.replace("a*2", "a * 3")
        assert found["model"] == "mender"


def test_the_assistant_in_this_process_asks_the_same(instructed: Path) -> None:
    def words() -> Infiller:
        return open_infiller(Settings(model=instructed))

    def mender() -> Infiller:
        return Infiller(Mender({}))

    for assistant in (Assistant(words), Assistant(mender, words), Assistant(words, mender)):
        assert applied(TEXT, assistant.edit(ORDER).edits) == "import os\n\n\n" + SPACED
    with pytest.raises(CannotEditError, match="HONE_EDIT_MODEL"):
        Assistant(mender).edit(ORDER)
    with pytest.raises(RequestError, match="two ways"):
        Assistant(words).edit(replace(ORDER, task="fix"))


def test_a_daemon_of_two_folders(instructed: Path, tmp_path: Path) -> None:
    """Processes: the one that is started opens the folder and says so; what it is asked comes from the command line."""
    holes = make_checkpoint(tmp_path / "holes")
    file = tmp_path / "a.py"
    file.write_text(TEXT, encoding="utf-8")
    with private(tmp_path):
        models = ["--model", str(holes), "--edit-model", str(instructed)]
        done = hone("fix", str(file), "--instruction", SPACES, "--daemon", "start", "--write", *models)
        assert done.returncode == 0, done
        assert file.read_text(encoding="utf-8") == "import os\n\n\n" + SPACED
        told = json.loads(hone("serve", "status", "--json").stdout)
        assert (told["model"], told["edit_model"], told["instruct_model"]) == (
            "holes",
            instructed.name,
            instructed.name,
        )
        assert f"words     are followed by {instructed.name}" in hone("serve", "status").stdout
        assert hone("serve", "stop").returncode == 0
