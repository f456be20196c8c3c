"""The comparison of the canvas model with its twin: the same command, seconds long, and the arithmetic of the bound."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import twin
from model.config import ModelConfig
from model.corpus import Corpus
from model.data import Stream
from model.network import Network
from model.rows import Rows
from model.tokenizer import Tokenizer


def command(data: Path, out: Path) -> list[str]:
    small = ["--seeds=2", "--steps=5", "--streams=1", "--canvas=64", "--holes=3", "--draws=2", "--n=2"]
    return [*small, f"--data={data}", f"--out={out}"]


def test_the_command_goes_on_where_it_was(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.train.Run.check", lambda _run: {})  # takes longer than all the rest
    assert twin.main(command(data, tmp_path)) == 0
    out = capsys.readouterr().out
    result = json.loads(out.splitlines()[-1])
    rows = {row["name"]: row for row in result["models"]}
    assert list(rows) == ["canvas", "twin, tokens", "twin, compute"]
    assert rows["canvas"]["steps"] == rows["twin, tokens"]["steps"] == 5
    assert rows["twin, compute"]["steps"] == round(5 * result["cost_ratio"]) > 5
    assert rows["canvas"]["bound"]["mean"] > rows["canvas"]["length"]["mean"] > 0
    assert rows["twin, tokens"]["bound"] is None
    for row in rows.values():
        assert 0 < row["stream"]["low"] < row["stream"]["mean"] < row["stream"]["high"] < 10
    answers = {(row["kind"], row["name"]) for row in result["answers"]}
    assert len(answers) == 2 * 6
    assert (tmp_path / "twin.png").stat().st_size > 1000
    kept = {path: path.stat().st_mtime_ns for path in [*tmp_path.glob("seed*/*/*"), *tmp_path.glob("seed*/*.json")]}
    assert twin.main(command(data, tmp_path)) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == result
    assert kept == {path: path.stat().st_mtime_ns for path in kept}, "nothing is done twice"
    assert twin.main([*command(data, tmp_path), "--canvas=32"]) == 2
    assert "was trained with --canvas 64, not 32: give another --out" in capsys.readouterr().err


def test_what_cannot_be_is_named(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert twin.main(command(tmp_path / "none", tmp_path)) == 2
    assert "none" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        twin.main([*command(data, tmp_path), "--draws=1"])
    assert "--draws must be at least 2, not 1" in capsys.readouterr().err


@pytest.fixture
def stream(data: Path, tokenizer: Tokenizer, config: ModelConfig) -> Stream:
    found = twin.holes(Corpus.open(data / "valid"), tokenizer, config, 20)
    assert all(0 < one.end - one.start <= config.max_hole for one in found)
    return next(one for one in found if one.end - one.start > 1)


def of_two(stream: Stream) -> Stream:
    """The same stream with a hole of two tokens."""
    return Stream(stream.ids, stream.prefix, stream.end - 2, stream.end, stream.suffix)


def test_the_bound_is_the_mean_over_orders(network: Network, tokenizer: Tokenizer, stream: Stream) -> None:
    """For two tokens both orders can be written down: 1/2 (a, then b given a) + 1/2 (b, then a given b)."""
    two = of_two(stream)
    truth, mask = two.ids[two.start : two.end], tokenizer.mask

    def nats(shown: list[int], place: int) -> float:
        rows = Rows(1, len(two.ids), 2 + len(two.suffix))
        rows.ids[0] = two.ids
        rows.hang(0, 0, shown, two.suffix, two.start, int(two.ids[two.start - 1]), segment=0)
        hidden = twin.hidden_of(network, rows)[1][0, place]
        return -float(network.logits(hidden).log_softmax(-1)[int(truth[place])])

    with torch.inference_mode():
        first = [nats([mask, mask], place) for place in (0, 1)]
        second = [nats([mask, int(truth[1])], 0), nats([int(truth[0]), mask], 1)]
        found = twin.bound_nats(network, tokenizer, two, 256, np.random.default_rng(1))
    expected = (sum(first) + sum(second)) / 2
    assert abs(found.nats - expected) < 5 * math.sqrt(found.variance) + 1e-6
    assert found.variance < 0.01 * expected**2
    assert abs(found.nats - sum(first)) > 1e-4, "not what one step would give"


def test_the_causal_nats_are_those_of_the_chain_rule(network: Network, stream: Stream) -> None:
    with torch.inference_mode():
        nats, length = twin.causal_nats(network, stream)
        for end in (5, stream.start, len(stream.ids) - 1):
            rows = Rows(1, end, 0)
            rows.ids[0] = stream.ids[:end]
            hidden = twin.hidden_of(network, rows)[0][0, -1]
            expected = -float(network.logits(hidden).log_softmax(-1)[int(stream.ids[end])])
            assert nats[end - 1] == pytest.approx(expected, abs=1e-4)
    assert len(nats) == len(stream.ids) - 1
    assert length > 0


def test_the_bound_does_not_see_what_it_is_asked(network: Network, tokenizer: Tokenizer, stream: Stream) -> None:
    """Hidden all at once (one draw in the last stratum), the states do not depend on the hole's tokens."""
    rng = np.random.default_rng(0)
    with torch.inference_mode():
        one = twin.bound_nats(network, tokenizer, of_two(stream), 2, rng)
        changed = Stream(stream.ids.copy(), stream.prefix, stream.end - 2, stream.end, stream.suffix)
        changed.ids[-1] = tokenizer.pad  # the end lies behind the hole
        two = twin.bound_nats(network, tokenizer, changed, 2, np.random.default_rng(0))
    assert one == two
