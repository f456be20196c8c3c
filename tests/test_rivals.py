"""The comparison with other programs: all are asked the same, and write as much. llama.cpp itself is not needed."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import rivals
from benchmarks.forced import Forced, OpenGate
from infill.engine import Infiller
from infill.judge import Calibration
from infill.types import InfillOptions, Prompt
from model.checkpoint import DEFAULT_WEIGHTS, load_model, read_config
from model.layout import encode_context
from model.tokenizer import Tokenizer

SHAPE = {"vocab_size": 8192, "d_model": 16, "d_ff": 32, "n_layers": 2, "n_heads": 2}
SETUP = rivals.Setup("", 1, str(DEFAULT_WEIGHTS), SHAPE)
CODE = Path(rivals.__file__).read_text(encoding="utf-8")


def ask(size: int, cut: int = 0) -> rivals.Ask:
    at = CODE.index("class Worker:")
    return rivals.ask_of("a.py", CODE[: at - cut], CODE[at + 200 :], Tokenizer.load(DEFAULT_WEIGHTS), 128, size)


def test_what_llama_server_gets_is_the_same_context() -> None:
    tokenizer = Tokenizer.load(DEFAULT_WEIGHTS)
    ids = encode_context(tokenizer, "x = (", ")\ny = 2\n", language="python", filename="m.py", context=64, glue=1).ids
    suffix, prefix = rivals.parts(ids)
    assert len(suffix) + len(prefix) + 2 == len(ids)
    assert tokenizer.decode(prefix) == "x = ("
    assert tokenizer.decode(suffix).endswith(")\ny = 2\n")
    assert (tokenizer.suf, tokenizer.pre, tokenizer.mask) == (rivals.SUF, rivals.PRE, rivals.MASK)
    assert tokenizer.n_special == rivals.SPECIALS > rivals.MIDDLE


@pytest.mark.parametrize("size", [20, 64, 70, 128])
def test_hone_writes_as_much_as_is_asked_for(size: int) -> None:
    """Its own weights, and sizes below, at and above what one canvas holds."""
    denoiser = Forced(*load_model(DEFAULT_WEIGHTS, device=torch.device("cpu"), dtype=torch.float32))
    infiller = Infiller(denoiser, calibration=Calibration.load(DEFAULT_WEIGHTS), gate=OpenGate)
    denoiser.left = size
    written: list[int] = []
    at = CODE.index("class Worker:")
    infiller.fill(
        Prompt(CODE[:at], CODE[at + 200 :], filename="a.py"),
        InfillOptions(max_tokens=size, one_line=False, copies=0),
        on_step=lambda step: written.append(len(step.ids)) if step.phase == "draft" else None,
    )
    assert max(written) == size


def test_the_causal_head_does_not_end_early() -> None:
    denoiser = Forced(*load_model(DEFAULT_WEIGHTS, device=torch.device("cpu"), dtype=torch.float32), endless=True)
    state = denoiser.encode([denoiser.tokenizer.pre, *denoiser.tokenizer.encode("x = 1\n")])
    assert denoiser.next_logits(state)[denoiser.tokenizer.eot] == -torch.inf
    assert bool((denoiser.last_logits(state, 2)[:, denoiser.tokenizer.eot] == -torch.inf).all())
    assert denoiser.looks == 1


@pytest.mark.parametrize("name", ["hone", "hone, no gate", "hone, told the length", "hone, causal head"])
def test_every_side_of_hone_answers(name: str) -> None:
    asked = rivals.ask_of(
        "a.py", CODE[:9000], CODE[9100:], Tokenizer.load(DEFAULT_WEIGHTS), read_config(DEFAULT_WEIGHTS).context, 24
    )
    written, given = rivals.ENGINES[name](SETUP)(asked)
    assert written >= 24
    assert given <= written or name == "hone", "a text is no longer than its draft, unless it was mended"


def test_transformers_keeps_what_two_requests_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second of two requests that are a keystroke apart reads the new tokens, and writes what a fresh one would."""
    networks: list[Any] = []
    written: list[list[int]] = []

    def spied(setup: rivals.Setup, dtype: str, usual: Callable[..., Any] = rivals.plain_llama) -> Any:
        network = usual(setup, dtype)
        generate = network.generate

        def kept(**given: Any) -> torch.Tensor:
            out: torch.Tensor = generate(**given)
            written.append(out[0].tolist())
            return out

        network.generate = kept
        networks.append(network)
        return network

    monkeypatch.setattr(rivals, "plain_llama", spied)
    engine, other = (rivals.transformers(SETUP, dtype="float32") for _ in range(2))
    read: list[int] = []
    networks[0].model.register_forward_pre_hook(
        lambda _module, _args, given: read.append(given["input_ids"].shape[1]), with_kwargs=True
    )
    before, now = ask(6, cut=1), ask(6)
    assert engine(before) == engine(now) == other(now) == rivals.Answer(6, 6)
    assert written[1] == written[2] != written[0]
    assert read[0] == len(before.ids) + 1
    assert read[6] <= rivals.NEW + 1
    assert read[1:6] == read[7:] == [1] * 5


@pytest.mark.parametrize(("at_once", "passes"), [(1, 5), (2, 3)])
def test_llada_computes_the_whole_row_in_every_step(at_once: int, passes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    network = rivals.plain_llama(SETUP, "float32")
    monkeypatch.setattr(rivals, "plain_llama", lambda _setup, _dtype: network)
    rows: list[torch.Tensor] = []
    network.model.register_forward_pre_hook(lambda _module, args: rows.append(args[0].clone()))
    asked = ask(5)
    assert rivals.llada(SETUP, at_once=at_once)(asked) == rivals.Answer(5, 5)
    assert [int((row == rivals.MASK).sum()) for row in rows] == list(range(5, 0, -at_once))
    assert len(rows) == passes
    assert {row.shape[1] for row in rows} == {len(asked.ids) - 2 + 5}
    with torch.inference_mode():
        seen = [network.model(row, use_cache=False).last_hidden_state[0, 0] for row in (rows[0], rows[0].clone())]
        rows[0][0, -1] += 1
        changed = network.model(rows[0], use_cache=False).last_hidden_state[0, 0]
    assert torch.equal(*seen)
    assert not torch.equal(seen[0], changed), "the first place sees the last one"


def test_quartiles_and_what_is_compared() -> None:
    assert rivals.quartiles([3.0]) == (3.0, 3.0)
    assert rivals.quartiles([1.0, 2.0, 3.0, 4.0, 5.0]) == (2.0, 4.0)
    found = rivals.compared([{"ms": 1.0}, {"ms": 2.0}, {"ms": 99.0}], [{"ms": 4.0}, {"ms": 4.0}], "ms")
    assert found == {"faster": 4.0 / 1.5, "low": 2.0, "high": 4.0}, "of the places that both have answered"


def test_the_processor_s_time_is_that_of_all_threads_and_no_sleep() -> None:
    began = time.perf_counter(), rivals.busy_s(os.getpid())
    total = 0
    while rivals.busy_s(os.getpid()) - began[1] < 0.05:
        total += sum(range(20_000))
    time.sleep(0.3)
    wall, busy = time.perf_counter() - began[0], rivals.busy_s(os.getpid()) - began[1]
    assert total
    assert 0.05 <= busy < wall - 0.2
    one = threading.Thread(target=sum, args=(range(2_000_000),))
    one.start()
    one.join()
    assert rivals.busy_s(os.getpid()) - began[1] >= busy, "a thread that has ended is not taken back"


def test_peak_memory_is_that_of_the_program_asked() -> None:
    """Not of what the process was before it became that program."""
    own = bytearray(200 << 20)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        time.sleep(0.5)
        assert 1 < rivals.peak_mib(other.pid) < 100
        other.communicate(b"\n")
    assert rivals.peak_mib(os.getpid()) > len(own) >> 20


def test_the_whole_run_without_llama_cpp(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Real processes; what is not installed costs its row and nothing else."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "a.py").write_text(CODE, encoding="utf-8")
    arguments = ["--source", str(tmp_path), "--sizes", "16", "--n", "1", "--starts", "1", "--threads", "1"]
    assert rivals.main(["llama-server q8_0", *arguments, "--llama-server", str(tmp_path / "none")]) == 0
    out, err = capsys.readouterr()
    assert "llama-server q8_0: not here" in err
    result = json.loads(out.splitlines()[-1])
    assert [start["engine"] for start in result["starts"]] == ["hone", "hone, no gate"]
    assert [(row["engine"], row["what"]) for row in result["rows"]] == [
        (engine, f"16 tokens, {kind}, threads 1")
        for engine in ("hone", "hone, no gate")
        for kind in ("fresh", "cached")
    ]
    for row in result["rows"]:
        assert 0 < row["processor_ms"] < 1.5 * row["ms"]
        assert row["tokens_per_s"] == pytest.approx(16000 / row["ms"])
    [same] = {row["against"]["hone"]["faster"] for row in result["rows"] if row["engine"] == "hone"}
    assert same == 1.0
    assert all(start["peak_mib"] > 50 < 1000 * start["first_answer_s"] for start in result["starts"])
