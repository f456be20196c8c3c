"""Lengths, scores, calibration and the contexts kept between requests: the engine's small parts."""

import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from infill.canvas import Canvas
from infill.contexts import Contexts
from infill.engine import Infiller
from infill.judge import FILE, SIGNS, Calibration, Draft, foreseen, judge, surest
from infill.lengths import beyond_line, likeliest, within
from infill.passes import drive
from infill.repair import blamed, doubted, starts, variants
from infill.types import InfillOptions, Prompt
from model.calls import common
from model.config import ModelConfig
from model.denoiser import NetworkDenoiser
from model.network import Network
from tests.fakes import CPU, SAMPLE, FakeState, ScriptedDenoiser, small_tokenizer


def distribution(**p: float) -> torch.Tensor:
    """log p of lengths 0..4 and "longer"; what is not named shares the rest."""
    named = {int(name[1:]): value for name, value in p.items()}
    rest = (1 - sum(named.values())) / (6 - len(named))
    return torch.tensor([named.get(i, rest) for i in range(6)]).log()


def test_the_likeliest_lengths_come_first() -> None:
    log_p = distribution(n3=0.5, n1=0.2, n0=0.2)
    found = likeliest(log_p, 2, 4, 0.5)
    assert found is not None
    assert [length for length, _ in found] == [3, 1]  # never 0
    assert [math.exp(p) for _, p in found] == pytest.approx([0.5, 0.2])
    assert [length for length, _ in likeliest(log_p, 9, 2, 1.0) or []] == [1, 2]


def test_longer_than_the_canvas() -> None:
    assert likeliest(distribution(n5=0.6), 3, 4, 0.5) is None
    assert likeliest(distribution(n5=0.4), 3, 4, 0.5) is not None
    assert likeliest(distribution(n4=0.6), 3, 3, 0.5) is None  # longer than the limit is longer, too
    assert likeliest(distribution(n5=0.99), 3, 4, math.inf) is not None


def test_beyond_the_line() -> None:
    short, long = distribution(n1=0.9, n2=0.05), distribution(n4=0.5, n5=0.4)
    assert beyond_line(long, short)
    assert not beyond_line(short, short)
    assert not beyond_line(long, long)
    assert not beyond_line(short, long)


@pytest.mark.parametrize(
    ("sizes", "tokens", "count"),
    [((8, 7, 9), 24, 3), ((8, 7, 9), 23, 2), ((64, 63), 112, 1), ((64,), 10, 1), ((), 10, 0), ((5, 90, 1), 20, 1)],
)
def test_lengths_within_a_number_of_tokens(sizes: tuple[int, ...], tokens: int, count: int) -> None:
    assert within(sizes, tokens) == count


def test_the_surest_drafts_go_on() -> None:
    tokenizer = small_tokenizer()
    canvas = Canvas.of_lengths([4, 5, 6], [], tokenizer, CPU)
    sure = torch.tensor([[0.5], [0.9], [0.7]]).expand(3, 6)
    canvas = canvas.commit(canvas.open, canvas.ids.clamp_min(tokenizer.n_special), sure)
    own = Calibration(beta=0.0, gamma=1.0, judge_tokens=11)
    assert surest(canvas, [0.0, 0.0, 0.0], own) == [1, 2], "the third has no room"
    assert surest(canvas, [0.0, -9.0, -9.0], Calibration(beta=1.0, gamma=1.0, judge_tokens=11)) == [0, 1]
    assert surest(canvas, [0.0, 0.0, 0.0], Calibration(beta=0.0, gamma=1.0, judge_tokens=1)) == [1], "one always does"


def test_what_the_judge_would_say_is_foreseen() -> None:
    """The causal head wrote 1, 2 and ended with 0; in each place it gave token t the log p -(t + place)."""
    seen = [-(torch.arange(6.0) + place) for place in range(3)]
    written, ends = [1, 2], [0]
    assert foreseen([1, 2], written, seen, ends) == (-1 - 3 - 2, True)
    assert foreseen([1], written, seen, ends) == (-1 - 1, True)
    assert foreseen([], written, seen, ends) == (0.0, True)
    assert foreseen([1, 2, 5, 5], written, seen, ends) == (-1 - 3 - 7, False)
    assert foreseen([1, 4, 2], written, seen, ends) == (-1 - 5, False), "after the first difference nothing is known"
    assert foreseen([3], written, seen, ends) == (-3, False)
    total, known = foreseen([1, 2], written, seen, [0, 1])
    assert known
    assert total == pytest.approx(-4 + math.log(math.exp(-2) + math.exp(-3)))
    assert foreseen([1, 2], written, seen[:2], ends) == (-4, False), "cut off before its end"


def test_the_judge_adds_up_tokens_and_end() -> None:
    denoiser = ScriptedDenoiser("x = ", "value + index")
    tokenizer = denoiser.tokenizer
    target = tokenizer.encode("value + index")
    with torch.inference_mode():
        state = denoiser.encode([tokenizer.pre, *tokenizer.encode("x = ")])
        rows = [target, target[:2]]

        def judged(ends: list[int]) -> list[tuple[float, tuple[float, ...]]]:
            return drive(judge(tokenizer, state, rows, ends, CPU), denoiser)

        (right, each), (short, _) = judged([tokenizer.eot])
        assert right == pytest.approx(-0.1 * (len(target) + 1))
        assert each == pytest.approx([-0.1] * len(target))
        assert short == pytest.approx(-0.2 - 6.0)
        (open_end, _), _ = judged([])
        assert open_end == pytest.approx(-0.1 * len(target))
        (either, _), _ = judged([tokenizer.eot, target[0]])
        ends = math.exp(-0.1) + math.exp(-6.0)
        assert either == pytest.approx(-0.1 * len(target) + math.log(ends), abs=1e-5)


def draft(logp: float, tokens: int, *, length: float = 0.0, own: float = 0.0) -> Draft:
    return Draft(tuple(range(64, 64 + tokens)), 0, "canvas", True, length, own, logp, (logp / tokens,) * tokens)


def test_alpha_goes_from_sum_to_mean() -> None:
    short, long = draft(-3.0, 2), draft(-5.0, 9)
    total, mean = Calibration(alpha=0.0, beta=0.0), Calibration(alpha=1.0, beta=0.0)
    assert short.score(total) == pytest.approx(-3.0)
    assert long.score(mean) == pytest.approx(-0.5)
    assert short.score(total) > long.score(total)
    assert short.score(mean) < long.score(mean)
    weighed = draft(-3.0, 2, length=-1.0, own=-2.0).score(Calibration(alpha=0.0, beta=0.5, gamma=0.25))
    assert weighed == pytest.approx(-3.0 - 0.5 - 0.5)


def test_calibration_lives_beside_the_weights(tmp_path: Path) -> None:
    assert Calibration.load(tmp_path) == Calibration()
    for kept in (Calibration(alpha=0.4, lengths=6), Calibration(chance=dict.fromkeys(SIGNS, -0.5), other_base=2.0)):
        kept.save(tmp_path)
        assert Calibration.load(tmp_path) == kept


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("[1]", "must hold an object"),
        (json.dumps({"alhpa": 1}), "must be an object with some of: alpha"),
        (json.dumps({"steps": 0}), "steps must be at least 1, not 0"),
        (json.dumps({"longer": 2}), "longer must be from 0 to 1, not 2"),
        (json.dumps({"policy": "best"}), "policy must be one of .*, not 'best'"),
        (json.dumps({"alpha": "high"}), "alpha must be a number, not 'high'"),
        (json.dumps({"others": -1}), "others must be at least 0, not -1"),
        (json.dumps({"chance": [1]}), "chance must be an object of these numbers: constant, "),
        (json.dumps({"chance": {"constant": 1}}), "chance must be an object of these numbers: constant, "),
        (
            json.dumps({"chance": dict.fromkeys(SIGNS, 0.5) | {"worst": "bad"}}),
            "chance.worst must be a number, not 'bad'",
        ),
    ],
)
def test_a_bad_calibration_is_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / FILE).write_text(content)
    with pytest.raises(ValueError, match=message):
        Calibration.load(tmp_path)


@given(st.text(alphabet="ab🙂é", max_size=12), st.data())
def test_blame_covers_what_it_must(text: str, data: st.DataObject) -> None:
    """Every character of a span is in a blamed token, and a token that touches no span is not blamed."""
    tokenizer = small_tokenizer()
    ids = tokenizer.encode(text)
    if not text:
        assert blamed(starts(ids, tokenizer.decode), [(0, 1)]) == []
        return
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    offsets = starts(ids, lambda part: tokenizer.decode_bytes(part).decode(errors="ignore"))
    found = blamed(offsets, [(start, end)])
    covered = {i for place in found for i in range(offsets[place], offsets[place + 1])}
    assert set(range(start, end)) <= covered
    assert all(offsets[place] < end and offsets[place + 1] >= start for place in found)


def test_variants_open_the_blame_and_grow() -> None:
    rows = variants([70, 71, 72, 73, 74], [2], 1, mask=1, longest=6)
    assert rows == [[70, 1, 1, 1, 74], [70, 1, 1, 1, 1, 74], [70, 1, 1, 74]]  # seven tokens would be too many
    assert variants([70, 71], [], 1, mask=1, longest=6) == []
    assert variants([70], [0], 0, mask=1, longest=6) == [[1], [1, 1], [1, 1, 1]]  # nothing left is no answer


def test_doubt_is_below_the_average() -> None:
    assert doubted([1, 2, 3], [-9.0, -0.1, -4.0, -0.2]) == [2]
    assert doubted([], [-1.0]) == []
    assert doubted([0, 1], [-1.0, -1.0]) == [0, 1]


def test_contexts_are_kept_within_a_limit() -> None:
    contexts: Contexts[FakeState] = Contexts(limit_bytes=4 << 20)
    documents = [tuple([100 + i] * 10) for i in range(5)]
    for ids in documents:
        contexts.give(FakeState(ids))
    assert contexts.bytes == 4 << 20
    assert contexts.take(documents[0]) is None, "the least recently used one fell out"
    taken = contexts.take([*documents[4], 7])
    assert taken is not None
    assert taken.ids == documents[4]
    assert contexts.take(documents[4]) is None, "a state belongs to one request at a time"
    contexts.give(taken)
    assert contexts.take(documents[2][:5]) is not None, "half of it is in common"
    assert contexts.take(documents[3][:4]) is None, "less than half is not worth giving a document up"
    contexts.give(FakeState((1,), nbytes=1 << 40))
    assert contexts.take([1]) is not None, "one is always kept"
    contexts.limit_bytes = 0
    contexts.give(FakeState((1,)))
    assert contexts.take([1]) is None, "unless none is wanted"


@given(st.lists(st.integers(0, 2)), st.lists(st.integers(0, 2)))
def test_common_beginning(a: list[int], b: list[int]) -> None:
    n = common(a, b)
    assert a[:n] == b[:n]
    assert n == len(a) or n == len(b) or a[n] != b[n]


def test_a_kept_context_changes_nothing() -> None:
    """Over a real network: typing with the cache gives the same drafts as starting afresh at every keystroke."""
    tokenizer = small_tokenizer()
    config = ModelConfig(vocab_size=tokenizer.vocab_size, d_model=32, n_layers=2, n_heads=2, d_ff=64, context=128)
    network = Network(config).eval()
    network.initialise(torch.Generator().manual_seed(0))
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1)))
    typing = Infiller(NetworkDenoiser(network, tokenizer))
    options = InfillOptions(lengths=8, max_tokens=8)
    compared = 0
    for at in range(200, 212):
        prompt = Prompt(SAMPLE[:at], SAMPLE[230:])
        fresh = Infiller(NetworkDenoiser(network, tokenizer)).drafts(prompt, options)
        kept = typing.drafts(prompt, options)
        told = typing.fill(prompt, options)
        assert told.known_tokens >= told.context_tokens - 2, "the context was encoded a moment ago"
        assert [d.ids for d, _ in kept] == [d.ids for d, _ in fresh]
        for (a, _), (b, _) in zip(kept, fresh, strict=True):
            assert a.causal_logp == pytest.approx(b.causal_logp, abs=1e-3)
            compared += 1
    assert compared > 12
