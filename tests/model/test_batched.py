"""Many calls in one forward pass are answered as each is alone; contexts and rows that share a pass do not meet."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from model import denoiser as denoiser_module
from model import inference
from model.calls import Call, Denoise, Encode, Score, one_by_one
from model.checkpoint import load_denoiser
from model.denoiser import NetworkDenoiser, State
from model.inference import Tokens, grouped, padded, rounded
from model.network import Network
from model.tokenizer import Tokenizer

ROOT = Path(__file__).resolve().parents[2]
CLOSE = 2e-4
PAD, MASK = Tokenizer.pad, Tokenizer.mask


@pytest.fixture(params=["grouped", "padded", "rounded", "fixed"])
def denoiser(network: Network, tokenizer: Tokenizer, request: pytest.FixtureRequest) -> NetworkDenoiser:
    """With either way of attention, with passes of rounded sizes and with fixed shapes, wherever the tests run."""
    made = NetworkDenoiser(network, tokenizer, graphs=request.param == "fixed")
    if request.param != "fixed":
        made.inference.attend = padded if request.param == "padded" else grouped
        made.inference.rounds = request.param == "rounded"
    return made


class Random:
    """Calls drawn by a seed; drawn again with the same seed, they are the same on states of their own."""

    def __init__(self, denoiser: NetworkDenoiser, seed: int) -> None:
        self.denoiser = denoiser
        self.generator = torch.Generator().manual_seed(seed)

    def number(self, low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=self.generator))

    def ids(self, count: int) -> list[int]:
        vocabulary = self.denoiser.tokenizer.vocab_size
        made: list[int] = torch.randint(64, vocabulary, (count,), generator=self.generator).tolist()
        return made

    def state(self) -> State:
        return self.denoiser.encode(self.ids(self.number(1, 200)))

    def rows(self) -> Tensor:
        """Of different lengths, padded at the end; some places are masks."""
        lengths = [self.number(1, 40) for _ in range(self.number(1, 5))]
        rows = [[MASK if self.number(0, 2) else token for token in self.ids(length)] for length in lengths]
        return torch.tensor([row + [PAD] * (max(lengths) - len(row)) for row in rows])

    def encode(self) -> Encode:
        """From nothing, behind a past, away from it, or shortened to what is known."""
        kind = self.number(0, 3)
        if kind == 0:
            return Encode(self.ids(self.number(1, 300)))
        past = self.state()
        kept = list(past.ids[: self.number(1, len(past.ids))])
        return Encode(kept if kind == 1 else kept + self.ids(self.number(1, 60)), past)

    def on(self, state: State) -> Call:
        rows = self.rows()
        if self.number(0, 1):
            wanted = torch.rand(rows.shape, generator=self.generator) < 0.6  # Pads too: they are not answered.
            return Denoise(state, rows, wanted)
        return Score(state, torch.where(rows == MASK, 99, rows))

    def calls(self, count: int) -> list[Call]:
        made: list[Call] = []
        states: list[State] = []
        for _ in range(count):
            if not self.number(0, 2):
                made.append(self.encode())
                continue
            if not states or self.number(0, 1):
                states.append(self.state())
            made.append(self.on(states[self.number(0, len(states) - 1)]))
        return made


def far(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max()) if a.numel() else 0.0


def compare(batched: Sequence[Any], single: Sequence[Any], close: float = CLOSE) -> None:
    for one, other in zip(batched, single, strict=True):
        if isinstance(one, State):
            assert one.ids == other.ids
            length = len(one.ids)
            assert far(one.hidden[:length], other.hidden[:length]) < close
            for mine, theirs in zip(one.cache.layers, other.cache.layers, strict=True):
                assert far(mine[0][:, :, :length], theirs[0][:, :, :length]) < close
                assert far(mine[1][:, :length], theirs[1][:, :length]) < close
        else:
            assert one.shape == other.shape
            assert one.dtype == torch.float32
            assert far(one, other) < close
            if one.numel():
                assert torch.equal(one.argmax(-1), other.argmax(-1))


# The same answers.


@torch.inference_mode()
@given(seed=st.integers(0, 2**31), count=st.integers(1, 9))
def test_a_batch_is_answered_as_its_calls_alone(network_denoiser: NetworkDenoiser, seed: int, count: int) -> None:
    for attend in (grouped, padded):
        network_denoiser.inference.attend = attend
        batched = network_denoiser.run(Random(network_denoiser, seed).calls(count))
        network_denoiser.inference.attend = grouped
        compare(batched, one_by_one(network_denoiser, Random(network_denoiser, seed).calls(count)))


@pytest.fixture(scope="module")
def network_denoiser(tokenizer: Tokenizer, config: Any) -> NetworkDenoiser:
    """One for all examples that are drawn."""
    made = Network(config)
    generator = torch.Generator().manual_seed(3)
    made.initialise(generator)
    with torch.no_grad():
        for p in made.parameters():
            p.add_(torch.randn(p.shape, generator=generator) * 0.05)
    return NetworkDenoiser(made.eval(), tokenizer)


@torch.inference_mode()
def test_every_kind_of_call_in_one_pass(denoiser: NetworkDenoiser, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = Random(denoiser, 7)
    state, other = draw.state(), draw.state()
    rows = torch.tensor([[MASK, 80, 81, PAD], [MASK, MASK, 90, 91]])
    calls: list[Call] = [
        Encode(draw.ids(150)),
        Denoise(state, rows, rows == MASK),
        Encode([*other.ids, 70, 71], other),
        Score(state, torch.where(rows == MASK, 75, rows)),
    ]
    passes: list[Tokens] = []
    run = denoiser.inference.run

    def counted(tokens: Tokens, wanted: Tensor | None = None) -> Tensor:
        passes.append(tokens)
        return run(tokens, wanted)

    monkeypatch.setattr(denoiser.inference, "run", counted)
    answers = denoiser.run(calls)
    assert [len(tokens.ids) for tokens in passes] == [150 + 7 + 2 + 5], "no padding, and no row's last scored token"
    assert [type(answer) for answer in answers] == [State, Tensor, State, Tensor]
    assert answers[1].shape == (3, denoiser.tokenizer.vocab_size)
    assert answers[2] is other
    assert answers[3].shape == (2, 4)
    assert float(answers[3][0, 3]) == 0.0, "a pad is worth nothing"
    # The two calls on one state share one product with its keys.
    assert len(passes[0].groups) == 1 + 2 + 1


@torch.inference_mode()
def test_a_state_goes_on_the_same_after_a_batch(denoiser: NetworkDenoiser) -> None:
    """Canvases use the columns behind a context as scratch: nothing of them stays."""
    draw = Random(denoiser, 1)
    ids, more = draw.ids(60), draw.ids(9)
    fresh = denoiser.encode([*ids, *more])
    state = denoiser.encode(ids)
    denoiser.run([Encode(draw.ids(30)), *(draw.on(state) for _ in range(3))])
    denoiser.run([Encode(draw.ids(30)), Encode([*ids, *more], state)])
    compare([state], [fresh])


@torch.inference_mode()
@pytest.mark.parametrize("length", [1, denoiser_module.CHUNK, denoiser_module.CHUNK + 1, 300])
def test_a_long_context_is_encoded_in_pieces(denoiser: NetworkDenoiser, length: int) -> None:
    """And says what it says token by token."""
    ids = Random(denoiser, 2).ids(length)
    state: State | None = None
    for end in range(1, length + 1, 7):
        state = denoiser.encode(ids[:end], state)
    compare([denoiser.encode(ids)], [denoiser.encode(ids, state)])


@torch.inference_mode()
def test_many_rows_behind_a_long_context(denoiser: NetworkDenoiser) -> None:
    """More than the scratch columns hold at once."""
    draw = Random(denoiser, 3)
    state = denoiser.encode(draw.ids(denoiser.capacity))
    rows = torch.tensor([draw.ids(60) for _ in range(6)])
    together = denoiser.denoise(state, rows, torch.ones_like(rows, dtype=torch.bool)).view(6, 60, -1)
    for row, logits in zip(rows, together, strict=True):
        alone = denoiser.denoise(state, row[None], torch.ones(1, 60, dtype=torch.bool))
        assert far(logits, alone) < CLOSE


@torch.inference_mode()
def test_logits_are_made_in_bounded_pieces(denoiser: NetworkDenoiser, monkeypatch: pytest.MonkeyPatch) -> None:
    vocabulary = denoiser.tokenizer.vocab_size
    single = one_by_one(denoiser, Random(denoiser, 5).calls(8))
    limit = 50
    monkeypatch.setattr(denoiser_module, "LOGIT_BYTES", limit * 4 * vocabulary)
    made: list[int] = []
    product = denoiser.inference.logits

    def counted(hidden: Tensor) -> Tensor:
        made.append(len(hidden))
        return product(hidden)

    monkeypatch.setattr(denoiser.inference, "logits", counted)
    calls = Random(denoiser, 5).calls(8)
    compare(denoiser.run(calls), single)
    largest = max(int(call.wanted.sum()) for call in calls if isinstance(call, Denoise))
    assert max(made) <= max(limit + 1, largest)
    assert len(made) > 2


# Nothing to compute.


@torch.inference_mode()
def test_what_is_known_costs_no_pass(denoiser: NetworkDenoiser, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = Random(denoiser, 4)
    state, other = denoiser.encode(draw.ids(40)), draw.state()
    head = denoiser.next_logits(state).log_softmax(-1)
    monkeypatch.setattr(denoiser.inference, "run", None)
    assert denoiser.run([]) == []
    single = torch.tensor([[70], [80]])
    nothing = torch.full((2, 3), MASK)
    no_pass: list[Call] = [Score(state, single), Encode(other.ids[:1], other)]
    scored, shorter = denoiser.run(no_pass)
    assert far(scored[:, 0], head[[70, 80]]) < CLOSE
    assert shorter is other
    assert len(other.ids) == 1
    (empty,) = denoiser.run([Denoise(state, nothing, nothing != MASK)])
    assert empty.shape == (0, denoiser.tokenizer.vocab_size)


@torch.inference_mode()
def test_rows_that_begin_alike_are_scored_as_each_alone_and_read_once(
    denoiser: NetworkDenoiser, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = Random(denoiser, 5)
    state, row, other = denoiser.encode(draw.ids(30)), draw.ids(9), draw.ids(4)
    rows = [row, [*row[:8], 99], row[:5], row[:1], [*row[:4], 98], other, [*row[:2], 97, 96, 95], row]
    tokens = torch.tensor([[*one, *[PAD] * (9 - len(one))] for one in rows])
    alone = torch.cat([denoiser.score(state, tokens[i : i + 1]) for i in range(len(rows))])
    sizes: list[int] = []
    runner = denoiser.graphs or denoiser.inference
    run = runner.run

    def counting(packed: Tokens, wanted: Tensor | None = None) -> Tensor:
        sizes.append(len(packed.ids))
        return run(packed, wanted)

    monkeypatch.setattr(runner, "run", counting)
    assert far(denoiser.score(state, tokens), alone) < CLOSE
    assert sizes == [8 + 3 + 4], "the longest row, the other one, and the one that leaves it after two tokens"


# Isolation.


@torch.inference_mode()
def test_another_context_in_the_pass_changes_nothing(denoiser: NetworkDenoiser) -> None:
    assert leak(denoiser) < CLOSE


@torch.inference_mode()
@pytest.mark.parametrize("kind", ["rows", "contexts"])
def test_a_broken_mask_would_be_noticed(denoiser: NetworkDenoiser, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    attend = denoiser.inference.attend

    def everyone_sees_all(tokens: Tokens) -> inference.Attend:
        if kind == "rows":
            return attend(replace(tokens, first=tokens.first * 0, last=tokens.last * 0 + len(tokens.ids)))
        caches = [group.cache for group in tokens.groups][::-1]
        swapped = [replace(group, cache=cache) for group, cache in zip(tokens.groups, caches, strict=True)]
        return attend(replace(tokens, groups=swapped))

    monkeypatch.setattr(denoiser.inference, "attend", everyone_sees_all)
    assert leak(denoiser) > 10 * CLOSE


def leak(denoiser: NetworkDenoiser) -> float:
    """How much the answers of two rows change with what else is in the pass: a row, and a context."""
    changed: list[Tensor] = []
    for seed in (1, 2):
        fixed, other = Random(denoiser, 0), Random(denoiser, seed)
        state, stranger = denoiser.encode(fixed.ids(50)), denoiser.encode(other.ids(70))
        rows = torch.tensor([fixed.ids(6), other.ids(6)])
        foreign = torch.tensor([other.ids(8)])
        calls: list[Call] = [
            Denoise(stranger, foreign, foreign > 0),
            Denoise(state, rows, rows > 0),
            Score(state, rows),
        ]
        _, logits, scores = denoiser.run(calls)
        changed.append(torch.cat([logits[:6].flatten(), scores[0]]))
    return far(*changed)


# What cannot be answered.


@torch.inference_mode()
def test_a_call_that_cannot_be_answered_stops_the_pass_before_it_begins(denoiser: NetworkDenoiser) -> None:
    draw = Random(denoiser, 6)
    state = denoiser.encode(draw.ids(denoiser.capacity))
    past = draw.state()
    ids = past.ids
    wide = torch.full((1, 90), MASK)
    cases: list[tuple[Call, str]] = [
        (Encode([]), "1 to 320 tokens, not 0"),
        (Encode([70] * 321), "not 321"),
        (Denoise(state, wide, wide == MASK), "90 tokens do not fit behind a context of 320"),
        (Score(state, wide), "do not fit"),
    ]
    for wrong, message in cases:
        with pytest.raises(ValueError, match=message):
            denoiser.run([Encode([*ids, 70], past), wrong])
        assert past.ids == ids, "the past of another call was consumed"


@torch.inference_mode()
@pytest.mark.parametrize(
    "second", [lambda state: Encode([71], state), lambda state: Score(state, torch.tensor([[70]]))]
)
def test_a_consumed_state_is_nobody_elses(denoiser: NetworkDenoiser, second: Callable[[State], Call]) -> None:
    state = Random(denoiser, 6).state()
    with pytest.raises(AssertionError, match="another call consumes"):
        denoiser.run([Encode([70], state), second(state)])


# The model that ships.


@pytest.mark.weights
@torch.inference_mode()
@pytest.mark.parametrize(("dtype", "close"), [("float32", CLOSE), ("bfloat16", 0.5)])
def test_the_embedded_model_in_a_batch(dtype: str, close: float) -> None:
    """bf16 has 8 bits: a logit of 20 is known to 0.1, and products of other sizes add up in another order. The
    likeliest token may change where two are that close."""
    denoiser = load_denoiser(device="cpu", dtype=dtype)
    draw = Random(denoiser, 0)
    states = [denoiser.encode(draw.ids(length)) for length in (40, 512, 200, 333)]
    calls: list[Call] = [draw.on(state) for state in states for _ in range(2)]
    same: list[Tensor] = []
    for one, other in zip(denoiser.run(calls), one_by_one(denoiser, calls), strict=True):
        assert far(one, other) < close
        if one.shape[-1] == denoiser.tokenizer.vocab_size:
            same.append((one.argmax(-1) == other.argmax(-1)).float())
    assert float(torch.cat(same).mean()) > (0.999 if dtype == "float32" else 0.9)


@pytest.mark.weights
def test_loading_imports_no_compiler() -> None:
    """torch's compiler and sympy are a second and 60 MB: some operations on the meta device import them."""
    code = """if True:
        import sys, torch
        from model.checkpoint import load_denoiser
        denoiser = load_denoiser()
        with torch.inference_mode():
            state = denoiser.encode([70, 71])
            canvas = torch.full((2, 3), denoiser.tokenizer.mask)
            denoiser.denoise(state, canvas, canvas > 0)
            denoiser.score(state, canvas + 70)
        print([name for name in ("torch._dynamo", "torch._inductor", "sympy") if name in sys.modules])
    """
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("size", [1, 5, 8, 40])
def test_passes_of_fixed_shapes_are_the_usual_ones(network: Network, tokenizer: Tokenizer, size: int) -> None:
    """A context written token by token and canvases behind it, with buffers and without; a larger pass before leaves
    nothing behind."""
    usual, fixed = NetworkDenoiser(network, tokenizer), NetworkDenoiser(network, tokenizer, graphs=True)
    drawn = Random(usual, size)
    ids = drawn.ids(30)
    rows = torch.tensor([drawn.ids(size) for _ in range(3)])
    everywhere = torch.ones_like(rows, dtype=torch.bool)
    seen: list[list[Tensor]] = []
    with torch.inference_mode():
        for denoiser in (usual, fixed):
            state = denoiser.encode(ids[:20])
            denoiser.denoise(state, rows.repeat(2, 1)[:2], everywhere[:2])
            for end in range(21, len(ids) + 1):
                state = denoiser.encode(ids[:end], state)
            seen.append(
                [denoiser.next_logits(state), denoiser.denoise(state, rows, everywhere), denoiser.score(state, rows)]
            )
    assert fixed.graphs is not None
    assert fixed.graphs.fixed, "none of these passes was of fixed shape"
    for ours, theirs in zip(*seen, strict=True):
        assert (ours - theirs).abs().max() < CLOSE


def test_passes_of_rounded_sizes_have_few_shapes(network_denoiser: NetworkDenoiser) -> None:
    """Each new one costs a processor's code."""
    inference, seen = network_denoiser.inference, set[int]()
    product = inference.layers[0].inputs

    def watched(x: Tensor) -> Tensor:
        seen.add(len(x))
        return product(x)

    inference.layers[0].inputs, inference.rounds = watched, True
    try:
        for count in range(1, 200):
            network_denoiser.encode([*range(64, 64 + count)])
    finally:
        inference.layers[0].inputs, inference.rounds = product, False
    assert len(seen) < 80
    assert all(rounded(count) >= count and rounded(count) <= 1.125 * count + 1 for count in range(1, 1000))
