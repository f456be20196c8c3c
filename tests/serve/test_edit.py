"""Edits from the assistant, the worker, over HTTP and by both clients: the same ones, for every block."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from assistant.async_client import AsyncClient
from assistant.bounds import ServerOptions
from assistant.client import Client
from assistant.edits import applied
from assistant.errors import PositionError, RequestError
from assistant.metrics import Metrics
from assistant.runtime import Endpoint
from assistant.server import create_app
from assistant.service import Assistant
from assistant.types import Caller, EditRequest, EditResult
from assistant.worker import Worker
from infill.edit import EditCalibration
from infill.engine import Infiller
from tests.mender import Mender
from tests.serve.conftest import ADMIN, OPTIONS, Served, listening
from tests.serve.processes import this_process

RIGHT = "import os\n\n\ndef add(a, b):\n    total = a + b\n    return total\n\n\ndef sub(a, b):\n    return a - b\n"
WRONG = RIGHT.replace("return total", "retrun total").replace("def sub(a, b):", "def sub(a, b)")
FIXES = {"retrun": "return", "def sub(a, b)\n": "def sub(a, b):\n"}
BLOCKS = ((WRONG.index("def add"), WRONG.index("total\n\n")), (WRONG.index("def sub"), len(WRONG)))
REQUEST = EditRequest(WRONG, "fix", BLOCKS, filename="a.py")


@pytest.fixture
def mender() -> Mender:
    return Mender(FIXES)


@pytest.fixture
def worker(mender: Mender) -> Iterator[Worker]:
    worker = Worker(lambda: Infiller(mender))
    worker.start()
    yield worker
    worker.close()


@pytest.fixture
def client(worker: Worker, mender: Mender) -> Served:
    metrics = Metrics()
    app = create_app(worker, OPTIONS, metrics=metrics, on_shutdown=lambda: None)
    return Served(app, worker, mender, metrics, OPTIONS)  # type: ignore[arg-type]


def test_the_assistant_edits_all_blocks(mender: Mender) -> None:
    found = Assistant(lambda: Infiller(mender)).edit(REQUEST)
    assert applied(WRONG, found.edits) == RIGHT
    assert [edit.block for edit in found.edits] == [0, 1]
    assert found.reasons == (None, None)
    assert found.tokens > 0


def test_a_right_block_is_left_alone(mender: Mender) -> None:
    found = Assistant(lambda: Infiller(mender)).edit(EditRequest(RIGHT, "fix", ((0, len(RIGHT)),), language="python"))
    assert (found.edits, found.reasons) == ((), ("right",))


def test_what_cannot_be_is_named(mender: Mender) -> None:
    assistant = Assistant(lambda: Infiller(mender))
    with pytest.raises(RequestError, match="task 'mend' is unknown: choose one of fix, modernise"):
        assistant.edit(EditRequest(WRONG, "mend", BLOCKS))
    with pytest.raises(PositionError, match="not behind the block before it"):
        assistant.edit(EditRequest(WRONG, "fix", BLOCKS[::-1]))
    with pytest.raises(PositionError, match="offsets 0 to"):
        assistant.edit(EditRequest(WRONG, "fix", ((0, len(WRONG) + 1),)))
    with pytest.raises(RequestError, match="one or more"):
        assistant.edit(EditRequest(WRONG, "fix", ()))
    with pytest.raises(RequestError, match="not trained to edit"):
        Assistant(lambda: Infiller(Mender(FIXES, inserts=0))).edit(REQUEST)


def test_what_the_model_was_not_trained_for_is_refused(mender: Mender) -> None:
    def opened() -> Infiller:
        return Infiller(mender, edits=EditCalibration({"fix": 1.0, "rename": 2.0}))

    assert Assistant(opened).edit(REQUEST).edits
    for task in ("document", "missing-docstring"):
        with pytest.raises(RequestError, match=f"was trained for fix, rename, and not for {task}"):
            Assistant(opened).edit(replace(REQUEST, task=task))
    assert mender.tasks == ["fix"] * len(mender.tasks)
    worker = Worker(opened)
    worker.start()
    try:
        assert asyncio.run(worker.info()).tasks == ("fix", "rename")
    finally:
        worker.close()


def test_the_worker_batches_the_blocks(worker: Worker, mender: Mender) -> None:
    found = asyncio.run(worker.edit(REQUEST, Caller("me")))
    assert applied(WRONG, found.edits) == RIGHT
    assert max(mender.batches) == 2


def test_a_worker_that_cannot_says_so_and_goes_on(worker: Worker, mender: Mender) -> None:
    mender.inserts = 0
    with pytest.raises(RequestError, match="not trained to edit"):
        asyncio.run(worker.edit(REQUEST))
    mender.inserts = 32
    assert asyncio.run(worker.edit(REQUEST)).edits


def test_a_newer_edit_of_a_document_supersedes_an_older_one(worker: Worker, mender: Mender) -> None:
    async def both() -> tuple[EditResult, EditResult]:
        caller = Caller("me", "a.py")
        return await asyncio.gather(worker.edit(REQUEST, caller), worker.edit(REQUEST, caller))

    older, newer = asyncio.run(both())
    assert applied(WRONG, newer.edits) == RIGHT
    assert older.edits == () or applied(WRONG, older.edits) == RIGHT


def body(**more: Any) -> dict[str, Any]:
    return {"text": WRONG, "task": "fix", "blocks": BLOCKS, "filename": "a.py"} | more


def test_over_http(client: Served) -> None:
    answer = client.post("/v1/hone/edit", json=body())
    assert answer.status_code == 200, answer.text
    found = answer.json()
    text = WRONG
    for one in reversed(found["edits"]):
        text = text[: one["start"]] + one["text"] + text[one["end"] :]
    assert text == RIGHT
    assert found["reasons"] == [None, None]
    counted = client.get("/metrics").text
    assert "hone_requests" in counted


@pytest.mark.parametrize(
    ("values", "status", "message"),
    [
        (body(task="mend"), 400, "task 'mend' is unknown"),
        (body(instruction="make it nice"), 501, "it knows fix, modernise"),
        ({k: v for k, v in body().items() if k != "task"}, 422, "the loaded model knows fix"),
        (body(blocks=[]), 422, "blocks"),
        (body(blocks=[[5, 2]]), 400, "the block 5..2"),
        (body(blocks=[[-1, 2]]), 422, "blocks"),
        (body(tsk="fix"), 422, "a field that is not known"),
    ],
)
def test_what_cannot_be_over_http(client: Served, values: dict[str, Any], status: int, message: str) -> None:
    answer = client.post("/v1/hone/edit", json=values)
    assert answer.status_code == status, answer.text
    assert message in answer.text


def test_more_blocks_than_a_server_gives(worker: Worker, mender: Mender) -> None:
    app = create_app(worker, ServerOptions(version="1", max_blocks=1), metrics=Metrics(), on_shutdown=lambda: None)
    one = Served(app, worker, mender, Metrics(), OPTIONS)  # type: ignore[arg-type]
    answer = one.post("/v1/hone/edit", json=body())
    assert answer.status_code == 422
    assert "2 blocks are more than the 1" in answer.text


def test_by_both_clients(client: Served) -> None:
    async def ask(endpoint: Endpoint) -> Any:
        other = AsyncClient(lambda *, replace: endpoint)
        try:
            return await other.edit(REQUEST)
        finally:
            await other.close()

    with listening(client.app) as url:
        endpoint = this_process(int(url.rpartition(":")[2]), token=ADMIN)
        with Client(endpoint) as one:
            found = one.edit(REQUEST)
            with pytest.raises(RequestError, match="unknown"):
                one.edit(EditRequest(WRONG, "mend", BLOCKS))
        again = asyncio.run(ask(endpoint))
    assert applied(WRONG, found.edits) == RIGHT
    assert (again.edits, again.reasons) == (found.edits, found.reasons)
