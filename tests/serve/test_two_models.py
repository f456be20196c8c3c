"""One model fills holes and another one edits, on one thread: who is asked, what is told, what is freed."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from assistant.client import Client
from assistant.config import Settings
from assistant.daemon import command
from assistant.edits import applied
from assistant.errors import ModelError, RequestError
from assistant.metrics import Metrics
from assistant.server import create_app
from assistant.service import Assistant
from assistant.status import counters
from assistant.types import TASKS, Caller, CompletionRequest, EditRequest
from assistant.worker import Beside, Limits, Worker
from infill.annotate import Annotator
from infill.engine import Infiller
from model.checkpoint import save_model
from model.config import SIZES, ModelConfig
from model.network import Network
from tests.fakes import ScriptedDenoiser, small_tokenizer
from tests.mender import Mender
from tests.serve.conftest import ADMIN, OPTIONS, listening
from tests.serve.processes import hone, make_checkpoint, private, this_process, until

HOLE = CompletionRequest("x = \n", 4, filename="a.py")
WRONG = "def add(a, b):\n    retrun a + b\n"
EDIT = EditRequest(WRONG, "fix", ((0, len(WRONG)),), filename="a.py")


@dataclass
class Pair:
    worker: Worker
    holes: ScriptedDenoiser
    edits: Mender
    metrics: Metrics
    opened: list[str]
    """Names of the models in the order in which they were opened."""


def paired(limits: Limits = Limits(), **more: Any) -> Pair:  # noqa: B008 (frozen)
    holes, edits = ScriptedDenoiser("x = ", "value"), Mender({"retrun": "return"})
    opened: list[str] = []
    metrics = Metrics()

    def opening(name: str, denoiser: Any) -> Callable[[], Infiller]:
        def open_one() -> Infiller:
            opened.append(name)
            return Infiller(denoiser)

        return open_one

    beside = Beside("mender", more.pop("open", opening("edits", edits)), **more)
    worker = Worker(opening("holes", holes), limits, name="scripted", beside=beside, on_finished=metrics.finished)
    return Pair(worker, holes, edits, metrics, opened)


@contextmanager
def started(pair: Pair) -> Iterator[Pair]:
    pair.worker.start()
    try:
        yield pair
    finally:
        pair.worker.close()


@pytest.fixture
def pair() -> Iterator[Pair]:
    with started(paired()) as one:
        yield one


def test_over_a_socket_holes_go_to_one_and_edits_to_the_other(pair: Pair) -> None:
    app = create_app(pair.worker, OPTIONS, metrics=pair.metrics, on_shutdown=lambda: None)
    with listening(app) as url, Client(this_process(int(url.rpartition(":")[2]), token=ADMIN)) as client:
        assert client.complete(HOLE).completions[0].text == "value"
        assert pair.edits.batches == [], "a hole is not shown to the model that edits"
        before = client.status()
        assert (before["model"]["name"], before["model"]["edit_model"]) == ("scripted", "mender")
        assert (before["model"]["edits"], before["model"]["edit_model_loaded"]) == (True, False)
        assert pair.opened == ["holes"], "what is told of a model does not open it"
        passes = list(pair.holes.batches)
        assert applied(WRONG, client.edit(EDIT).edits) == "def add(a, b):\n    return a + b\n"
        assert pair.holes.batches == passes, "a block is not shown to the model that fills holes"
        assert pair.opened == ["holes", "edits"]
        assert client.status()["load"]["edit_model_loaded"] is True
        numbers = counters(client.metrics())
    assert (numbers["hone_completions_total"], numbers["hone_edits_total"]) == (1, 1)
    assert (numbers["hone_model_loaded"], numbers["hone_edit_model_loaded"]) == (1, 1)


def test_an_answer_names_the_model_that_gave_it(pair: Pair) -> None:
    app = create_app(pair.worker, OPTIONS, metrics=pair.metrics, on_shutdown=lambda: None)

    async def ask() -> list[str]:
        transport = httpx.ASGITransport(app=app, client=("127.0.0.1", 50_000))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8077") as client:
            edit = await client.post(
                "/v1/hone/edit", json={"text": WRONG, "task": "fix", "blocks": EDIT.blocks, "filename": "a.py"}
            )
            hole = await client.post("/v1/hone/complete", json={"text": "x = \n", "start": 4, "filename": "a.py"})
        return [edit.json()["model"], hole.json()["model"]]

    assert asyncio.run(ask()) == ["mender", "scripted"]


def test_annotations_are_made_by_the_model_that_fills_holes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Annotator, "able", True)
    text = "def f(a=False):\n    print(a)\n"
    wanted = EditRequest(text, "annotate", ((0, len(text)),), filename="a.py")
    for tasks, model in ((("modernise",), "scripted"), (TASKS, "mender")):
        with started(paired(tasks=tasks)) as pair:
            app = create_app(pair.worker, OPTIONS, metrics=pair.metrics, on_shutdown=lambda: None)
            with listening(app) as url, Client(this_process(int(url.rpartition(":")[2]), token=ADMIN)) as client:
                info = client.status()["model"]
                assert "annotate" in info["tasks"]
                assert info["own_tasks"] == (["annotate"] if model == "scripted" else [])
                found = client.edit(wanted)
                assert applied(text, found.edits) == "def f(a: bool = False) -> None:\n    print(a)\n"
                assert pair.opened == (["holes"] if model == "scripted" else ["holes", "edits"])


def test_both_at_once_share_the_thread(pair: Pair) -> None:
    async def both() -> list[Any]:
        asked = [pair.worker.complete(HOLE, Caller(f"c{i}")) for i in range(4)]
        edits = [pair.worker.edit(EDIT, Caller(f"e{i}")) for i in range(4)]
        return list(await asyncio.gather(*asked, *edits))

    found = asyncio.run(both())
    assert [one.completions[0].text for one in found[:4]] == ["value"] * 4
    assert [applied(WRONG, one.edits) for one in found[4:]] == [WRONG.replace("retrun", "return")] * 4


def test_batch_work_of_one_model_gives_way_to_what_somebody_waits_for_from_the_other(pair: Pair) -> None:
    order: list[str] = []
    run_holes, run_edits = pair.holes.run, pair.edits.run

    def watched(name: str, run: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def go(calls: Any) -> Any:
            order.append(name)
            time.sleep(0.002)
            return run(calls)

        return go

    pair.holes.run = watched("hole", run_holes)  # type: ignore[method-assign, assignment]
    pair.edits.run = watched("edit", run_edits)  # type: ignore[method-assign, assignment]

    async def both() -> None:
        patient = [asyncio.ensure_future(pair.worker.edit(EDIT, Caller("refactor", batch=True))) for _ in range(8)]
        await asyncio.sleep(0)
        for _ in range(4):
            await pair.worker.complete(HOLE, Caller("typing"))
        await asyncio.gather(*patient)

    asyncio.run(both())
    first, last = order.index("hole"), len(order) - 1 - order[::-1].index("hole")
    during = order[first : last + 1]
    assert during.count("hole") > 2 * during.count("edit"), order
    assert "edit" in order[last:], "and is done in the end"


def test_what_nobody_asks_for_a_while_is_freed_alone() -> None:
    pair = paired(Limits(idle_unload_s=0.3))
    with started(pair):

        async def scenario() -> None:
            await pair.worker.edit(EDIT)
            deadline = time.monotonic() + 20
            while pair.worker.load().edit_model_loaded:
                assert time.monotonic() < deadline
                await pair.worker.complete(HOLE)
                await asyncio.sleep(0.01)
            assert pair.worker.load().loaded, "the one that is asked stays"
            assert (await pair.worker.info()).edits
            assert (await pair.worker.edit(EDIT)).edits, "and the other comes back"

        asyncio.run(scenario())
    assert pair.opened == ["edits", "holes", "edits"]


def test_both_are_freed_when_nobody_asks_at_all() -> None:
    pair = paired(Limits(idle_unload_s=0.05))
    with started(pair):
        asyncio.run(pair.worker.edit(EDIT))
        asyncio.run(pair.worker.complete(HOLE))
        until(lambda: not pair.worker.load().loaded and not pair.worker.load().edit_model_loaded, "freeing", 20)


def test_above_the_memory_limit_the_one_that_nobody_asks_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assistant.worker.MEMORY_EVERY", 1)
    pair = paired(Limits(memory_bytes=1))
    with started(pair):

        async def scenario() -> None:
            await pair.worker.edit(EDIT)
            await pair.worker.complete(HOLE)
            assert not pair.worker.load().edit_model_loaded
            assert pair.worker.load().loaded
            assert (await pair.worker.edit(EDIT)).edits

        asyncio.run(scenario())


def test_one_that_cannot_be_opened_does_not_stop_the_other() -> None:
    def fail() -> Infiller:
        raise ModelError("damaged")

    pair = paired(open=fail)
    with started(pair):

        async def scenario() -> None:
            with pytest.raises(ModelError, match="damaged"):
                await pair.worker.edit(replace(EDIT, blocks=((0, 15), (15, len(WRONG)))))
            assert (await pair.worker.complete(HOLE)).completions[0].text == "value"

        asyncio.run(scenario())


def test_one_that_cannot_edit_says_so_and_status_too() -> None:
    pair = paired(tasks=())
    pair.edits.inserts = 0
    with started(pair):

        async def scenario() -> None:
            assert not (await pair.worker.info()).edits
            with pytest.raises(RequestError, match="HONE_EDIT_MODEL"):
                await pair.worker.edit(EDIT)
            assert not (await pair.worker.info()).edits

        asyncio.run(scenario())


def test_the_assistant_in_this_process_asks_the_same() -> None:
    pair = paired()
    opened: list[str] = []

    def opening(name: str, denoiser: Any) -> Callable[[], Infiller]:
        def open_one() -> Infiller:
            opened.append(name)
            return Infiller(denoiser)

        return open_one

    assistant = Assistant(opening("holes", pair.holes), opening("edits", pair.edits))
    assert assistant.edit(EDIT).edits
    assert opened == ["edits"]
    assert assistant.complete(HOLE).completions[0].text == "value"
    assert assistant.edit(EDIT).edits
    assert opened == ["edits", "holes"]


def test_a_daemon_of_two_folders(tmp_path: Path) -> None:
    """Two real folders with weights that have learned nothing: the process, its status and its misfits."""
    holes = make_checkpoint(tmp_path / "holes")
    tokenizer = small_tokenizer()
    config = ModelConfig(**SIZES["nano"].to_dict() | {"vocab_size": tokenizer.vocab_size, "inserts": 4})
    save_model(tmp_path / "edits", Network(config), tokenizer)
    (tmp_path / "a.py").write_text(WRONG, encoding="utf-8")
    with private(tmp_path):
        models = ["--model", str(holes), "--edit-model", str(tmp_path / "edits")]
        done = hone("fix", str(tmp_path / "a.py"), "--check", "--daemon", "start", *models)
        assert done.returncode in (0, 1), done
        told = json.loads(hone("serve", "status", "--json").stdout)
        assert (told["model"], told["edit_model"]) == ("holes", "edits")
        assert (told["edits"], told["edit_model_loaded"], told["edited"] > 0) == (True, True, True)
        assert "edits     by edits: fix, modernise, annotate, document, rename\n" in hone("serve", "status").stdout
        other = hone("fix", str(tmp_path / "a.py"), "--check", "--edit-model", str(holes))
        assert "it edits with" in other.stderr
        assert hone("serve", "stop").returncode == 0


def test_settings_travel_to_a_daemon(tmp_path: Path) -> None:
    words = command(Settings(edit_model=tmp_path))
    assert words[words.index("--edit-model") + 1] == str(tmp_path)
