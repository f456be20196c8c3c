"""The model's thread: many at once, in turn, newest first, in time; and what happens when something goes wrong."""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from assistant.errors import BusyError, ModelError, PositionError
from assistant.types import Caller, CompletionRequest, CompletionResult, Draft, Finished
from assistant.worker import Limits, Worker, give_back, resident_bytes
from infill.engine import Infiller
from infill.types import InfillOptions
from tests.fakes import ScriptedDenoiser

ANSWER = "value + index"
HOLE = CompletionRequest("x = \n", 4, filename="a.py")


class Denoiser(ScriptedDenoiser):
    """Waits at a gate before each pass, so that tests say when the model works."""

    def __init__(self, *, closed: bool = False) -> None:
        super().__init__("x = ", ANSWER)
        self.gate = threading.Event()
        self.threads: set[str] = set()
        if not closed:
            self.gate.set()

    def run(self, calls: Any) -> list[Any]:
        self.threads.add(threading.current_thread().name)
        assert self.gate.wait(20)
        return super().run(calls)


Scenario = Callable[[Worker, Denoiser], Coroutine[Any, Any, None]]


def serve(scenario: Scenario, *, closed: bool = False, limits: Limits = Limits()) -> list[Finished]:  # noqa: B008
    told: list[Finished] = []
    denoiser = Denoiser(closed=closed)
    worker = Worker(lambda: Infiller(denoiser), limits, on_finished=told.append)
    worker.start()
    try:
        asyncio.run(scenario(worker, denoiser))
    finally:
        denoiser.gate.set()
        worker.close()
    return told


def text(result: CompletionResult) -> str | None:
    return result.completions[0].text if result.completions else None


async def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, "it did not come about"
        await asyncio.sleep(0.002)


def test_many_are_answered_in_common_passes() -> None:
    async def scenario(worker: Worker, denoiser: Denoiser) -> None:
        # The first waits alone in its pass, so that the others come together however busy the machine is.
        asked = [asyncio.create_task(worker.complete(HOLE, Caller("client 0")))]
        await until(lambda: worker.load().running == 1)
        asked += [asyncio.create_task(worker.complete(HOLE, Caller(f"client {i}"))) for i in range(1, 16)]
        await until(lambda: worker.load().waiting + worker.load().running == 16)
        denoiser.gate.set()
        assert [text(result) for result in await asyncio.gather(*asked)] == [ANSWER] * 16
        assert max(denoiser.batches) >= 15
        assert worker.load().batch_width > 4
        assert denoiser.threads == {"model"}

    told = serve(scenario, closed=True)
    assert [one.outcome for one in told] == ["answered"] * 16
    assert all(one.passes and one.tokens and one.context_tokens and one.verdicts == ("valid",) for one in told)


def test_the_queue_is_bounded_and_says_when_to_ask_again() -> None:
    async def scenario(worker: Worker, denoiser: Denoiser) -> None:
        asked = [asyncio.create_task(worker.complete(HOLE))]
        await until(lambda: worker.load().running == 1)
        asked += [asyncio.create_task(worker.complete(HOLE)) for _ in range(3)]
        await until(lambda: worker.load().waiting == 3)
        with pytest.raises(BusyError) as refused:
            await worker.complete(HOLE)
        assert refused.value.retry_after_s > 0
        denoiser.gate.set()
        assert [text(result) for result in await asyncio.gather(*asked)] == [ANSWER] * 4, "nobody else is lost"

    serve(scenario, closed=True, limits=Limits(waiting=3, running=1))


def test_clients_take_turns_and_batch_work_comes_last() -> None:
    order: list[str] = []

    async def scenario(worker: Worker, denoiser: Denoiser) -> None:
        async def ask(client: str, *, batch: bool = False) -> None:
            await worker.complete(HOLE, Caller(client, batch=batch))
            order.append(client)

        asked = [asyncio.create_task(ask("first"))]
        await until(lambda: worker.load().running == 1)
        asked += [asyncio.create_task(ask(client)) for client in ("greedy", "greedy", "greedy", "modest")]
        asked.insert(0, asyncio.create_task(ask("refactor", batch=True)))
        await until(lambda: worker.load().waiting == 5)
        denoiser.gate.set()
        await asyncio.gather(*asked)

    serve(scenario, closed=True, limits=Limits(running=1))
    assert order == ["first", "greedy", "modest", "greedy", "greedy", "refactor"]


def test_the_newest_request_for_a_document_wins() -> None:
    async def scenario(worker: Worker, denoiser: Denoiser) -> None:
        document = Caller("editor", document="a.py")
        running = asyncio.create_task(worker.complete(HOLE, document))
        await until(lambda: worker.load().running == 1)
        others = [
            asyncio.create_task(worker.complete(HOLE, replace(document, document="b.py"))),
            asyncio.create_task(worker.complete(HOLE, replace(document, client="another editor"))),
        ]
        await until(lambda: worker.load().waiting == 2)
        waiting = asyncio.create_task(worker.complete(HOLE, document))
        assert (await running).reason == "superseded", "though its pass has not ended"
        newest = asyncio.create_task(worker.complete(HOLE, document))
        assert (await waiting).reason == "superseded", "though no pass has ended since it came"
        assert worker.load().waiting == 3, "it has left its place to others"
        denoiser.gate.set()
        assert [text(await task) for task in (*others, newest)] == [ANSWER] * 3
        assert denoiser.calls["encode"] < 4, "the newest goes on from what the superseded one had encoded"

    told = serve(scenario, closed=True)
    assert sorted(one.outcome for one in told) == ["answered"] * 3 + ["superseded"] * 2


def test_one_who_types_takes_one_place_in_the_queue() -> None:
    async def scenario(worker: Worker, denoiser: Denoiser) -> None:
        asked = [asyncio.create_task(worker.complete(HOLE))]
        await until(lambda: worker.load().running == 1)
        for _ in range(20):
            asked.append(asyncio.create_task(worker.complete(HOLE, Caller("editor", document="a.py"))))
            await asyncio.sleep(0)
        results = await asyncio.gather(*asked[1:-1])
        assert {result.reason for result in results} == {"superseded"}
        denoiser.gate.set()
        assert [text(await asked[0]), text(await asked[-1])] == [ANSWER] * 2

    serve(scenario, closed=True, limits=Limits(waiting=2, running=1))


def test_a_caller_that_goes_away_stops_the_model_at_the_next_pass() -> None:
    async def scenario(worker: Worker, denoiser: Denoiser) -> None:
        asked = asyncio.create_task(worker.complete(HOLE))
        await until(lambda: worker.load().running == 1)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        denoiser.gate.set()
        await until(lambda: worker.load().running == 0)
        assert sum(denoiser.batches) == 1
        assert text(await worker.complete(HOLE)) == ANSWER

    told = serve(scenario, closed=True)
    assert [one.outcome for one in told] == ["cancelled", "answered"]


def test_cancelling_by_name() -> None:
    async def scenario(worker: Worker, denoiser: Denoiser) -> None:
        named = Caller("editor", request="7")
        asked = asyncio.create_task(worker.complete(HOLE, named))
        await until(lambda: worker.load().running == 1)
        assert not worker.cancel("another editor", "7")
        assert not worker.cancel("editor", "8")
        assert worker.cancel("editor", "7")
        assert not worker.cancel("editor", "7"), "it is stopped already"
        assert (await asked).reason == "cancelled", "though its pass has not ended"
        denoiser.gate.set()

    told = serve(scenario, closed=True)
    assert [(one.outcome, one.passes) for one in told] == [("cancelled", 1)], "told once, with what it took"


def test_the_budget_counts_from_arrival() -> None:
    async def scenario(worker: Worker, denoiser: Denoiser) -> None:
        first = asyncio.create_task(worker.complete(HOLE))
        await until(lambda: worker.load().running == 1)
        late = asyncio.create_task(worker.complete(replace(HOLE, budget_ms=20.0)))
        patient = asyncio.create_task(worker.complete(replace(HOLE, budget_ms=60_000.0)))
        await until(lambda: worker.load().waiting == 2)
        assert (await late).reason == "budget", "though the model is in the middle of a pass"
        assert worker.load().waiting == 1
        denoiser.gate.set()
        assert text(await first) == ANSWER
        assert text(await patient) == ANSWER

    told = serve(scenario, closed=True, limits=Limits(running=1))
    assert [one.reason for one in told] == ["budget", None, None]


def test_the_budget_does_not_count_while_the_model_is_opened() -> None:
    def open_infiller() -> Infiller:
        time.sleep(0.3)
        return Infiller(ScriptedDenoiser("x = ", ANSWER))

    async def scenario() -> None:
        asked = [worker.complete(replace(HOLE, budget_ms=200.0), Caller(f"client {i}")) for i in range(2)]
        assert [text(result) for result in await asyncio.gather(*asked)] == [ANSWER] * 2

    worker = Worker(open_infiller)
    worker.start()
    try:
        asyncio.run(scenario())
    finally:
        worker.close()


def test_a_budget_that_ends_while_it_runs_gives_the_draft_so_far() -> None:
    async def scenario(worker: Worker, denoiser: Denoiser) -> None:
        denoiser.sharp = 2.0  # unsure: all steps are needed
        denoiser.on_call = lambda name: time.sleep(0.05) if name == "denoise" else None
        result = await worker.complete(replace(HOLE, budget_ms=60.0, steps=50))
        assert text(result)
        assert result.steps < 10

    serve(scenario)


def test_steps_are_told_on_the_event_loop() -> None:
    async def scenario(worker: Worker, denoiser: Denoiser) -> None:
        loop, seen = asyncio.get_running_loop(), list[Draft]()

        def on_step(draft: Draft) -> None:
            assert asyncio.get_running_loop() is loop
            seen.append(draft)

        await worker.complete(replace(HOLE, steps=3), on_step=on_step)
        await until(lambda: len(seen) >= 1)

    serve(scenario)


def test_bad_requests_are_refused_before_they_wait() -> None:
    async def scenario(worker: Worker, denoiser: Denoiser) -> None:
        with pytest.raises(PositionError, match="99"):
            await worker.complete(replace(HOLE, start=99))
        assert worker.load().waiting == 0

    serve(scenario, closed=True)


def test_a_model_that_cannot_be_opened_is_told_to_all_and_tried_again() -> None:
    attempts = []

    def open_infiller() -> Infiller:
        attempts.append(1)
        if len(attempts) == 1:
            raise ModelError("no weights here")
        return Infiller(ScriptedDenoiser("x = ", ANSWER))

    async def scenario() -> None:
        with pytest.raises(ModelError, match="no weights here"):
            await worker.info()
        assert text(await worker.complete(HOLE)) == ANSWER
        info = await worker.info()
        assert (info.name, info.loaded, info.instruct) == ("scripted", True, False)

    worker = Worker(open_infiller, name="scripted")
    worker.start()
    asyncio.run(scenario())
    worker.close()


def test_an_idle_model_is_freed_and_comes_back() -> None:
    async def scenario(worker: Worker, denoiser: Denoiser) -> None:
        assert text(await worker.complete(HOLE)) == ANSWER
        assert worker.load().loaded
        await until(lambda: not worker.load().loaded)
        assert not (await worker.info()).loaded, "to ask about it does not load it"
        assert text(await worker.complete(HOLE)) == ANSWER
        assert worker.load().loaded

    serve(scenario, limits=Limits(idle_unload_s=0.05))


def test_freed_memory_goes_back_to_the_system() -> None:
    before = resident_bytes()
    kept = [bytearray(4096) for _ in range(100_000)]
    last = bytearray(4096)  # above all that is freed, so that the heap cannot just end lower
    del kept
    give_back()
    assert resident_bytes() < before + 100 * 2**20
    assert len(last) == 4096


def test_a_limit_that_cannot_be_held_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    dropped = []
    monkeypatch.setattr("assistant.worker.MEMORY_EVERY", 1)
    monkeypatch.setattr("assistant.worker.resident_bytes", lambda: 300 * 2**20)
    monkeypatch.setattr("assistant.worker.give_back", lambda: dropped.append(1))

    async def scenario(worker: Worker, denoiser: Denoiser) -> None:
        for _ in range(3):
            assert text(await worker.complete(HOLE)) == ANSWER

    serve(scenario, limits=Limits(memory_bytes=200 * 2**20))
    assert len(dropped) == 1
    assert [one.message for one in caplog.records if one.name == "hone.worker"] == [
        "the process needs 300 MiB without caches, more than the 200 MiB of --memory: they go above 364 MiB"
    ]


def test_a_mistake_of_ours_leaves_nobody_waiting() -> None:
    async def scenario(worker: Worker, denoiser: Denoiser) -> None:
        broken = asyncio.create_task(worker.complete(HOLE))
        await until(lambda: worker.load().running == 1)
        denoiser.run = lambda calls: [None]  # type: ignore[method-assign]
        denoiser.gate.set()
        with pytest.raises(Exception):  # noqa: B017, PT011 (any will do)
            await broken
        del denoiser.run
        assert text(await worker.complete(HOLE)) == ANSWER

    told = serve(scenario, closed=True)
    assert [one.outcome for one in told] == ["failed", "answered"]


def test_closing_ends_what_runs_and_what_waits() -> None:
    denoiser = Denoiser(closed=True)
    worker = Worker(lambda: Infiller(denoiser), Limits(running=1))
    worker.start()

    async def scenario() -> None:
        asked = [asyncio.create_task(worker.complete(HOLE)) for _ in range(3)]
        await until(lambda: worker.load().waiting == 2)
        closing = asyncio.create_task(asyncio.to_thread(worker.close))
        await asyncio.sleep(0.01)
        denoiser.gate.set()
        assert {(await task).reason for task in asked} == {"cancelled"}
        await closing
        with pytest.raises(BusyError):
            await worker.complete(HOLE)

    asyncio.run(scenario())


def test_tokens_there_and_back() -> None:
    async def scenario(worker: Worker, denoiser: Denoiser) -> None:
        tokens = await worker.tokenize("return ähm")
        assert await worker.detokenize(tokens) == "return ähm"

    serve(scenario)


def test_stop_texts_reach_the_engine() -> None:
    async def scenario(worker: Worker, denoiser: Denoiser) -> None:
        assert text(await worker.complete(replace(HOLE, stop=(" +",)))) == "value"

    serve(scenario)
    assert InfillOptions(stop=("a",)).stop == ("a",)
