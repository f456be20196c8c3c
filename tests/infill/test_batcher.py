"""Continuous batching: the same answers as alone, in fewer passes; joining, leaving, turns and failures."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from infill.batcher import Batcher, Task
from infill.engine import Infiller
from infill.judge import Calibration
from infill.sampler import Cancelled
from infill.types import Infill, InfillOptions, Prompt
from model.calls import Call, Encode
from model.config import ModelConfig
from model.denoiser import NetworkDenoiser
from model.network import Network
from tests.fakes import SAMPLE, ScriptedDenoiser, small_tokenizer

OPTIONS = InfillOptions(lengths=4, max_tokens=12, steps=2)
CUTS = (150, 170, 190, 210, 230, 260)


@pytest.fixture(autouse=True)
def _inference() -> Any:
    with torch.inference_mode():
        yield


def network() -> NetworkDenoiser:
    tokenizer = small_tokenizer()
    config = ModelConfig(vocab_size=tokenizer.vocab_size, d_model=32, n_layers=2, n_heads=2, d_ff=64, context=128)
    made = Network(config).eval()
    made.initialise(torch.Generator().manual_seed(0))
    with torch.no_grad():
        for p in made.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1)))
    return NetworkDenoiser(made, tokenizer)


def prompt(at: int) -> Prompt:
    return Prompt(SAMPLE[:at], SAMPLE[at + 20 :], "python")


class Served:
    """Requests handed to one batcher, and what became of them."""

    def __init__(self, infiller: Infiller) -> None:
        self.infiller = infiller
        self.batcher = Batcher(infiller.denoiser)
        self.results: dict[str, Infill] = {}
        self.errors: dict[str, Exception] = {}
        self.order: list[str] = []
        self.stop: set[str] = set()
        self.late: set[str] = set()

    def add(self, name: str, asked: Prompt, *, batch: bool = False, options: InfillOptions = OPTIONS) -> None:
        def finished(result: Infill | None, error: Exception | None) -> None:
            self.order.append(name)
            if error is not None:
                self.errors[name] = error
            elif result is not None:
                self.results[name] = result

        work = self.infiller.begin(asked, options)
        self.batcher.add(Task(work, finished, lambda: name in self.stop, lambda: name in self.late, batch))

    def run(self, most: int = 500) -> int:
        for index in range(most):
            if not self.batcher.tasks:
                return index
            self.batcher.step()
        raise AssertionError(f"{len(self.batcher.tasks)} tasks are not over after {most} passes")


@pytest.mark.parametrize("causal", [False, True])
def test_batched_answers_are_those_of_one_alone(causal: bool) -> None:
    calibration = Calibration(causal_candidate=causal, alpha=0.5, copies=1)  # more would not fit into one pass
    alone = {str(at): Infiller(network(), calibration=calibration).fill(prompt(at), OPTIONS) for at in CUTS}
    served = Served(Infiller(network(), calibration=calibration))
    for at in CUTS:
        served.add(str(at), prompt(at))
    passes = served.run()
    for name, result in alone.items():
        got = served.results[name]
        assert [c.text for c in got.candidates] == [c.text for c in result.candidates]
        assert [c.score for c in got.candidates] == pytest.approx([c.score for c in result.candidates], abs=1e-3)
        assert got.reason == result.reason
    assert passes < sum(result.passes for result in alone.values()) / 3, "one pass serves many"
    assert max(served.batcher.widths) == len(CUTS)


def test_requests_join_and_leave_between_passes() -> None:
    served = Served(Infiller(network()))
    served.add("first", prompt(CUTS[0]))
    for _ in range(2):
        served.batcher.step()
    served.add("second", prompt(CUTS[1]))
    served.run()
    assert set(served.results) == {"first", "second"}
    assert served.batcher.widths[0] == 1
    assert 2 in served.batcher.widths
    fresh = Infiller(network()).fill(prompt(CUTS[1]), OPTIONS)
    assert [c.text for c in served.results["second"].candidates] == [c.text for c in fresh.candidates]


def test_who_stops_takes_no_part_in_the_next_pass_and_gives_its_context_back() -> None:
    denoiser = ScriptedDenoiser("x = ", "value + index")
    served = Served(Infiller(denoiser))
    served.add("gone", Prompt("x = ", "\n", "python"))
    served.batcher.step()
    passes = len(denoiser.batches)
    served.stop.add("gone")
    served.batcher.step()
    assert served.results["gone"].reason == "cancelled"
    assert len(denoiser.batches) == passes
    assert served.infiller.contexts.bytes > 0
    served.add("next", Prompt("x = ", "\n", "python"))
    served.run()
    assert [c.text for c in served.results["next"].candidates] == ["value + index"]
    assert denoiser.calls["encode"] == 1, "the next request goes on from the context of the one that was stopped"


def test_who_stops_before_its_first_pass_loses_nothing_that_was_encoded() -> None:
    """Somebody who types fast: each key takes the context over from a request that never got its turn."""
    denoiser = ScriptedDenoiser("x = ", "value + index")
    served = Served(Infiller(denoiser))
    served.add("first", Prompt("x = ", "\n", "python"))
    served.run()
    for key in range(3):
        served.add(f"key {key}", Prompt("x = " + "value"[: key + 1], "\n", "python"))
        served.stop.add(f"key {key}")
        served.batcher.step()
    served.add("last", Prompt("x = ", "\n", "python"))
    served.run()
    assert [c.text for c in served.results["last"].candidates] == ["value + index"]
    assert denoiser.calls["encode"] == 1, "only the first one began from nothing"


@pytest.mark.parametrize(("passes", "answered"), [(1, False), (2, True), (3, True)])
def test_who_is_late_answers_with_what_there_is(passes: int, answered: bool) -> None:
    denoiser = ScriptedDenoiser("x = ", "value + index")
    served = Served(Infiller(denoiser))
    served.add("late", Prompt("x = ", "\n", "python"), options=InfillOptions(lengths=1, steps=1))
    for _ in range(passes):  # context, canvases, judge
        served.batcher.step()
    served.late.add("late")
    served.run()
    result = served.results["late"]
    assert len(denoiser.batches) == min(passes, 3)
    assert [c.text for c in result.candidates] == (["value + index"] if answered else [])
    assert result.reason == (None if answered else "budget")


def test_batch_work_goes_behind_those_who_wait() -> None:
    served = Served(Infiller(network()))
    served.batcher.most_tokens = 40
    served.add("refactor", prompt(CUTS[1]), batch=True)
    for index in range(4):
        served.add(f"typed {index}", prompt(CUTS[1]))
    served.run()
    assert len(served.results) == 5
    assert served.order[-1] == "refactor"


def test_batch_work_gets_its_turns_however_much_is_typed() -> None:
    served = Served(Infiller(network()))
    served.batcher.most_tokens = 40
    served.add("refactor", prompt(CUTS[0]), batch=True)
    for index in range(400):
        if sum(not task.batch for task in served.batcher.tasks) < 4:
            served.add(f"typed {index}", prompt(CUTS[1]))
        served.batcher.step()
    assert "refactor" in served.results


def test_a_pass_has_a_size() -> None:
    sizes: list[int] = []

    class Counting(NetworkDenoiser):
        def run(self, calls: Sequence[Call]) -> list[Any]:
            sizes.append(len(calls))
            return super().run(calls)

    made = network()
    served = Served(Infiller(Counting(made.network, made.tokenizer)))
    served.batcher.most_tokens = 250
    for at in CUTS:
        served.add(str(at), prompt(at))
    served.run()
    assert len(served.results) == len(CUTS)
    assert 1 < max(sizes) < len(CUTS)


def test_a_failed_pass_ends_those_in_it_and_nobody_else() -> None:
    class Failing(ScriptedDenoiser):
        def run(self, calls: Sequence[Call]) -> list[Any]:
            if any(isinstance(call, Encode) for call in calls) and self.calls["encode"] == 1:
                self.calls["encode"] += 1
                raise MemoryError("no memory left")
            return super().run(calls)

    served = Served(Infiller(Failing("x = ", "value + index")))
    served.add("first", Prompt("x = ", "\n", "python"))
    served.run()
    served.add("second", Prompt("# other\nx = ", "\n", "python"))
    served.run()
    served.add("third", Prompt("x = ", "\n", "python"))
    served.run()
    assert set(served.results) == {"first", "third"}
    assert isinstance(served.errors["second"], MemoryError)


def test_a_call_that_cannot_be_answered_fails_alone() -> None:
    class Refusing(ScriptedDenoiser):
        def run(self, calls: Sequence[Call]) -> list[Any]:
            if any(isinstance(call, Encode) and len(call.ids) > 20 for call in calls):
                raise ValueError("too long")
            return super().run(calls)

    served = Served(Infiller(Refusing("x = ", "value + index")))
    for name, prefix in (("first", "x = "), ("long", "# a much longer text, of far more than twenty tokens\nx = ")):
        served.add(name, Prompt(prefix, "\n", "python"))
    served.run()
    assert [c.text for c in served.results["first"].candidates] == ["value + index"]
    assert str(served.errors["long"]) == "too long"


def test_a_request_that_cannot_begin_is_told() -> None:
    served = Served(Infiller(ScriptedDenoiser("x = ", "value")))

    async def broken() -> Infill:
        raise ValueError("no such thing")

    told: list[Exception | None] = []
    served.batcher.add(Task(broken(), lambda _, error: told.append(error), lambda: False))
    assert [str(error) for error in told] == ["no such thing"]
    assert not served.batcher.tasks


def test_a_cancelled_request_is_no_error() -> None:
    infiller = Infiller(ScriptedDenoiser("x = ", "value"))
    work = infiller.begin(Prompt("x = ", "\n", "python"))
    work.send(None)
    with pytest.raises(StopIteration) as done:
        work.throw(Cancelled())
    assert done.value.value.reason == "cancelled"
