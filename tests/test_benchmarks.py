"""The arithmetic of the benchmarks. What they find is not a test: a machine's speed is no property of the program."""

import asyncio
import contextlib
import json
import os
import random
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import claims, engines, keystroke, latency, parts, places, quantize, run, serving
from docs.reference import forwarded_parser
from infill.machine import bandwidth, dispatch_us, kernel_ms, peak
from infill.metrics import Mean
from infill.places import WEIGHTS
from infill.tasks import Task
from infill.timing import ratio, side_by_side, stopwatch
from model.config import ModelConfig


def test_a_ratio_is_that_of_the_medians() -> None:
    found = ratio([(1.0, 4.0), (2.0, 6.0), (100.0, 8.0)])
    assert (found.ours_ms, found.theirs_ms, found.faster, found.n) == (2.0, 6.0, 3.0, 3)
    assert found.in_all == 18 / 103
    assert found.low <= 3.0 <= found.high
    assert found == ratio([(1.0, 4.0), (2.0, 6.0), (100.0, 8.0)]), "the same pairs give the same interval"
    with pytest.raises(ValueError, match="no pairs"):
        ratio([])


@pytest.mark.parametrize("name", ["claims", "mend", "rivals", "twin"])
def test_scripts_that_share_code_run_by_their_paths_from_anywhere(name: str, tmp_path: Path) -> None:
    """As the documents say, without PYTHONPATH: pytest itself finds more than Python does."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, str(Path(run.__file__).with_name(f"{name}.py")), "--help"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout


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


def test_what_a_part_cannot_do_without() -> None:
    """By hand, for one canvas of three open places and one of glue behind five tokens."""
    config = ModelConfig(vocab_size=100, d_model=8, n_layers=2, n_heads=2, d_ff=16, context=32)
    costs = parts.costs_of(config, torch.float32, tokens=4, near=4, context=5, wanted=3)
    # Four matrices for four tokens in the first layer; in the last one keys and values for four, the rest for three.
    assert costs["attention"].operations == 2 * 64 * (4 * 4 + 2 * 4 + 2 * 3) + 4 * 8 * 9 * (4 + 3)
    assert costs["mlp"].operations == 2 * 3 * 8 * 16 * (4 + 3)
    assert costs["head"].operations == 2 * 8 * 100 * 3
    assert costs["head"].nbytes == 4 * (8 * 100 + 3 * 100)
    machine = parts.Machine(peak=1e6, bandwidth=1e6, dispatch_us=1.0)
    assert costs["head"].ms(machine) == pytest.approx(4.8), "operations take longer than bytes"
    assert costs["sampling"].ms(machine) == pytest.approx(1.2), "bytes alone"


def test_the_clock_gives_time_to_the_innermost_part() -> None:
    clock = parts.Clock(torch.device("cpu"))
    inner = clock.around("inner", lambda: time.sleep(0.03))

    def both() -> None:
        inner()
        time.sleep(0.01)

    clock.around("outer", both)()
    assert 0.03 <= clock.spent["inner"] < 0.2
    assert 0.01 <= clock.spent["outer"] < 0.03 + clock.spent["inner"]


def test_the_counter_counts_operations() -> None:
    with torch.inference_mode(), parts.Counter() as counter:
        torch.zeros(2).add_(1).mul_(2)
    assert counter.count == 3


def test_the_machine_is_measured() -> None:
    cpu = torch.device("cpu")
    assert kernel_ms() > 0
    assert peak(torch.float32, cpu) > 1e8
    assert bandwidth(1 << 16, cpu) > 1e7
    assert 0 < dispatch_us() < 1e4


def result(ms: float, faster: float, low: float, high: float, exact: float) -> dict[str, Any]:
    time_of = {"ours_ms": ms, "theirs_ms": 2 * ms, "faster": faster, "low": low, "high": high, "n": 12}
    rows = [{"name": "rest", "time": time_of, "exact": [{"value": exact, "error": 0.0625, "n": 60}]}]
    return {"benchmark": "latency", "threads": 1, "rows": rows}


def test_the_numbers_of_a_result() -> None:
    found = run.numbers(result(30.0, 1.5, 1.2, 1.8, 0.25))
    assert found == {
        "rows/rest/time/ours_ms": run.Number("time", 30.0),
        "rows/rest/time/theirs_ms": run.Number("time", 60.0),
        "rows/rest/time/faster": run.Number("ratio", 1.5, 1.2, 1.8),
        "rows/rest/exact/0": run.Number("quality", 0.25, 0.125, 0.375),
    }
    nested = run.numbers(
        {"rows": [{"name": "canvases", "batch": 2, "length": 8, "ms": 5.0, "parts_ms": {"head": 1.0}}]}
    )
    assert set(nested) == {"rows/canvases 2 8/ms", "rows/canvases 2 8/parts_ms/head"}
    named = run.numbers({"ms_p50": 1.0, "gather, ms, half of them below": 2.0, "forms": 3.0, "files": 4})
    assert set(named) == {"ms_p50", "gather, ms, half of them below"}


@pytest.mark.parametrize(
    ("now", "kernel", "moved"),
    [
        (result(30.0, 1.5, 1.2, 1.8, 0.3), 2.0, []),
        (result(60.0, 1.5, 1.2, 1.8, 0.3), 4.0, []),  # the machine is half as fast
        (result(60.0, 1.5, 1.2, 1.8, 0.3), 2.0, ["rows/rest/time/ours_ms", "rows/rest/time/theirs_ms"]),
        (result(32.0, 1.7, 1.4, 1.9, 0.35), 2.0, []),
        (result(30.0, 2.2, 1.9, 2.4, 0.3), 2.0, ["rows/rest/time/faster"]),
        (result(30.0, 1.5, 1.2, 1.8, 0.6), 2.0, ["rows/rest/exact/0"]),
    ],
)
def test_what_moved_beyond_the_noise(now: dict[str, Any], kernel: float, moved: list[str]) -> None:
    before = {"kernel_ms": [2.0, 2.0], "result": result(30.0, 1.5, 1.2, 1.8, 0.3)}
    found = run.compare(before, {"kernel_ms": [kernel, kernel], "result": now})
    assert [one.name for one in found] == moved
    for one in found:
        assert one.change == pytest.approx(one.now - one.before if "exact" in one.name else one.now / one.before)


def test_what_takes_no_time_is_not_compared() -> None:
    before = {"kernel_ms": [2.0, 2.0], "result": {"a_ms": 0.1, "answers_per_s": 8.0}}
    assert run.compare(before, {"kernel_ms": [2.0, 2.0], "result": {"a_ms": 0.2, "answers_per_s": 8.1}}) == []
    [moved] = run.compare(before, {"kernel_ms": [2.0, 2.0], "result": {"a_ms": 0.9, "answers_per_s": 8.1}})
    assert moved.name == "a_ms"


def test_a_drifting_machine_allows_more() -> None:
    before = {"kernel_ms": [2.0, 2.0], "result": {"a_ms": 10.0}}
    assert run.compare(before, {"kernel_ms": [1.9, 2.1], "result": {"a_ms": 12.0}}) == []
    assert len(run.compare(before, {"kernel_ms": [2.0, 2.0], "result": {"a_ms": 12.0}})) == 1


def test_results_are_found_again(tmp_path: Path) -> None:
    base: dict[str, Any] = {
        "options": ["--n", "5"],
        "code": None,
        "hardware": "a-2-cores",
        "kernel_ms": [1.0, 1.0],
        "result": {},
    }
    run.save(tmp_path, "keystroke", base | {"date": "2026-01-01"})
    run.save(tmp_path, "keystroke", base | {"date": "2026-02-01", "hardware": "b-4-cores"})
    run.save(tmp_path, "keystroke", base | {"date": "2026-03-01", "options": ["--n", "9"]})
    (tmp_path / "keystroke_older_form.json").write_text("[]")
    same = run.latest(tmp_path, "keystroke", base)
    assert same is not None
    assert same[0] == "keystroke_a-2-cores_2026-01-01.json", "the same hardware, though another one is later"
    other = run.latest(tmp_path, "keystroke", base | {"hardware": "c-8-cores"})
    assert other is not None
    assert other[0] == "keystroke_b-4-cores_2026-02-01.json"
    assert run.latest(tmp_path, "latency", base) is None


def test_every_benchmark_in_the_table_is_there() -> None:
    assert all((run.HERE / f"{name}.py").is_file() for name in run.BENCHES)
    assert run.hardware().replace("-", "").isalnum()


def test_the_plain_module_computes_what_hone_computes() -> None:
    """What other engines are given is the same pass: causal for a token, and canvases that do not see each other."""
    options = engines.parse(["--context", "40", "--n", "1"])
    with torch.inference_mode():
        passes = list(engines.made(options))
    ours, plain = engines.hone(options, passes, Path()), engines.eager(options, passes, Path())
    assert [one.name for one in passes] == ["token", "rest", "32", "64"]
    rows = engines.measured({"hone": (0.0, ours), "torch": (0.0, plain)}, passes, 1)
    assert rows[1].difference < 1e-3
    assert rows[1].same > 0.99
    int8 = engines.of_int8(engines.int8_weights)(options, passes[:1], Path())
    assert 1e-3 < float((int8[0]() - ours[0]()).abs().max()) < 3, "another format is another number, though close"


def test_weights_in_fewer_bits_are_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert quantize.main(["--n", "1"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])["rows"]
    assert found["int8"]["nats"] != found["float32"]["nats"], "nothing was packed"
    assert abs(found["int8"]["nats"] - found["float32"]["nats"]) < abs(found["int4"]["nats"] - found["float32"]["nats"])


def _hole(prefix: str, middle: str, suffix: str) -> places.Hole:
    text = prefix + middle + suffix
    return places.Hole(Task("rest", "p", "m.py", text, len(prefix), len(prefix) + len(middle)))


def test_the_signs_of_places_are_weighed() -> None:
    """Where one sign alone tells which place is right, the fit finds it, and ranks by it."""
    made: list[places.Hole] = []
    for i in range(12):
        right, wrong = f"a_{i} = first(x)\nb = a_{i} + 1\n", f"a_{i} = other(y)\nc = 2\n"
        before = right + wrong if i % 2 else wrong + right
        made.append(_hole(f"{before}a_{i} = ", "first(x)", f"\nb = a_{i} + 1\n"))
    every = torch.ones(len(WEIGHTS), dtype=torch.float64)
    below = list(WEIGHTS).index("down")
    blind = every.clone()
    blind[below] = 0
    weights, other = places.fit(made, every), places.fit(made, blind)
    assert weights[below] > 0.5
    assert [hole.rank(weights) for hole in made] == [0] * len(made)
    assert other[below] == 0
    assert {hole.rank(other) for hole in made} == {0, 1}
    assert _hole("x = ", "nowhere()", "\n").rank(weights) is None


PAGE = """# A

`hone eval --n 1` and `hone complete a.py`, again `hone eval --n 1`.

## B

`python benchmarks/keystroke.py
--threads 1`

```sh
hone eval --help
python benchmarks/parts.py
```
"""


def test_a_pages_claims_are_its_commands_once_and_in_order() -> None:
    expected = [claims.Claim("A", "hone eval --n 1"), claims.Claim("B", "python benchmarks/keystroke.py --threads 1")]
    assert claims.claims(PAGE) == expected


def test_every_table_of_the_readme_has_a_command_that_can_be_run() -> None:
    text = claims.ROOT.joinpath("README.md").read_text(encoding="utf-8")
    found = [claim.command for claim in claims.claims(text)]
    for words in (
        "hone eval --split test", "--policies rules", "--policies canvas", "--policies holes", "benchmarks/latency.py",
        "benchmarks/keystroke.py", "benchmarks/rivals.py", "benchmarks/serving.py", "benchmarks/twin.py",
    ):  # fmt: skip
        assert any(words in command for command in found), f"nothing measures what {words} did"
    for command in found:
        program, *arguments = shlex.split(command)
        if program == "hone":
            forwarded_parser(arguments[0]).parse_args(arguments[1:])
        else:
            assert claims.ROOT.joinpath(arguments[0]).is_file()


def test_claims_are_run_and_a_failure_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A\n`python benchmarks/claims.py --list --list`\n`python benchmarks/nothing.py`\n")
    assert claims.main(["--page", str(page), "claims"]) == 0
    assert claims.main(["--page", str(page)]) == 1
    said = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert [one["code"] for one in said["results"]] == [0, 2]
    with pytest.raises(SystemExit):
        claims.main(["--page", str(page), "speed"])
