"""The arithmetic of the benchmarks. What they find is not a test: a machine's speed is no property of the program."""

import asyncio
import contextlib
import json
import random
import time
from collections.abc import Callable

import pytest

from benchmarks import keystroke, latency, serving
from infill.metrics import Mean
from infill.tasks import Task
from infill.timing import ratio, side_by_side, stopwatch


def test_a_ratio_is_that_of_the_medians() -> None:
    found = ratio([(1.0, 4.0), (2.0, 6.0), (100.0, 8.0)])
    assert (found.ours_ms, found.theirs_ms, found.faster, found.n) == (2.0, 6.0, 3.0, 3)
    assert found.in_all == 18 / 103
    assert found.low <= 3.0 <= found.high
    assert found == ratio([(1.0, 4.0), (2.0, 6.0), (100.0, 8.0)]), "the same pairs give the same interval"
    with pytest.raises(ValueError, match="no pairs"):
        ratio([])


def test_equal_pairs_leave_no_doubt() -> None:
    found = ratio([(2.0, 3.0)] * 20)
    assert (found.low, found.faster, found.high) == (1.5, 1.5, 1.5)


@pytest.mark.parametrize(("swap", "expected"), [(False, "abbaab"), (True, "baabba")])
def test_sides_take_turns_and_begin_in_turn(swap: bool, expected: str) -> None:
    said: list[str] = []

    def side(name: str, ms: float) -> Callable[[], float]:
        def call() -> float:
            said.append(name)
            return ms

        return call

    assert side_by_side(side("a", 1.0), side("b", 2.0), repeats=3, swap=swap) == (1.0, 2.0)
    assert "".join(said) == expected


def test_the_stopwatch_waits_for_the_device_before_and_after() -> None:
    said: list[str] = []
    assert stopwatch(lambda: said.append("work"), lambda: said.append("wait")) >= 0
    assert said == ["wait", "work", "wait"]


def test_the_lengths_around_a_size() -> None:
    assert latency.around(32, 5, 64) == [32, 31, 33, 30, 34]
    assert latency.around(64, 3, 64) == [64, 63, 62]
    assert latency.around(2, 8, 4) == [2, 1, 3, 4]


def test_quality_is_that_of_each_side_on_the_same_tasks() -> None:
    task = Task("rest", "p", "m.py", "x = 12\n", 4, 6)
    exact, similarity = latency.quality([task, task], [("12", "1"), ("13", "12")])
    assert [side.value for side in exact] == [0.5, 0.5]
    assert [side.value for side in similarity] == pytest.approx([0.75, (2 / 3 + 1) / 2], abs=0.1)
    assert exact[0] == Mean(0.5, 0.5, 2)


def test_the_common_beginning() -> None:
    assert keystroke.common([1, 2, 3], [1, 2, 4, 5]) == 2
    assert keystroke.common([], [1]) == 0
    assert keystroke.common([1, 2], [1, 2, 3]) == 2


def test_percentiles_are_values_that_were_seen() -> None:
    assert [serving.percentile([4.0, 1.0, 3.0, 2.0], q) for q in (1, 50, 75, 99)] == [1.0, 2.0, 3.0, 4.0]
    assert serving.percentile([], 50) != serving.percentile([], 50)


def test_every_request_of_a_load_is_accounted_for() -> None:
    answers = [
        (200, {"completions": [{"tokens": 2}], "reason": None}, "answered"),
        (200, {"completions": [], "reason": "superseded"}, "superseded"),
        (200, {"completions": [], "reason": "syntax"}, "empty"),
        (503, {"error": {"message": "busy"}}, "busy"),
        (500, {"error": {"message": "broken"}}, "lost"),
    ]
    assert [serving.outcome_of(status, body) for status, body, _ in answers] == [name for _, _, name in answers]


def test_a_typist_asks_as_a_person_types() -> None:
    """Over a real socket: a server that answers at once; requests carry the text up to the cursor and no more."""
    seen: list[dict[str, object]] = []

    async def scenario() -> serving.Heard:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(asyncio.IncompleteReadError):
                while True:
                    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                    length = int(head.split("content-length:")[1].split("\r\n")[0])
                    seen.append(json.loads(await reader.readexactly(length)))
                    body = b'{"completions": [{"tokens": 3}], "reason": null}'
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            writer.close()

        listening = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        heard = serving.Heard(1, "test", "flat out")
        text = "value = 1\n" * 1000
        typist = serving.Typist(port, "one", text, random.Random(0), heard, "")
        await typist.type(time.monotonic() + 0.2)
        for connection in typist.idle:
            assert connection.streams is not None
            connection.streams[1].close()
            await connection.streams[1].wait_closed()
        await asyncio.sleep(0.05)  # the other ends notice
        listening.close()
        await listening.wait_closed()
        heard.seconds = 0.2
        return heard

    heard = asyncio.run(scenario())
    assert heard.sent == len(seen) == heard.outcomes["answered"] == len(heard.latencies_ms) > 3
    assert heard.tokens == 3 * heard.sent
    for body in seen:
        text, start = str(body["text"]), int(str(body["start"]))
        assert text[start - 1] in "value = 1"
        assert text[start : start + 1] in ("\n", "")
