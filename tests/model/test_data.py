"""What the model is shown in training is what it will be asked in use."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from model import data as made
from model.config import ModelConfig
from model.corpus import Corpus
from model.data import Batches, alone, joined
from model.layout import encode_context
from model.loss import ALIGNED, Batch, cross_entropy, filled, losses
from model.network import Network
from model.schedule import learning_rate, open_share
from model.spans import KINDS, Example, draw, python_parser
from model.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def batches(data: Path, tokenizer: Tokenizer, config: ModelConfig) -> Batches:
    return Batches(Corpus.open(data / "train"), tokenizer, config, streams=4, canvas=128, seed=5)


def same(a: Batch, b: Batch) -> bool:
    return all(torch.equal(getattr(a, k), getattr(b, k)) for k in ("ids", "targets", "canvas_targets", "masked"))


def test_a_batch_is_a_function_of_seed_and_index(
    batches: Batches, data: Path, tokenizer: Tokenizer, config: ModelConfig
) -> None:
    again = Batches(Corpus.open(data / "train"), tokenizer, config, streams=4, canvas=128, seed=5, first=3)
    assert same(batches[3], again[0])
    assert not same(batches[3], batches[4])
    ranks = [
        Batches(Corpus.open(data / "train"), tokenizer, config, streams=4, canvas=128, seed=5, rank=r, world=2)
        for r in (0, 1)
    ]
    assert not same(ranks[0][0], ranks[1][0])


def test_the_stream_is_the_layout_of_use_and_then_the_middle(
    batches: Batches, tokenizer: Tokenizer, config: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(made, "ALONE", 0.0)
    rng = np.random.default_rng(0)
    corpus, cut = batches.source, 0
    for _ in range(200):
        drawn = draw(rng, corpus.text(0), python_parser())
        example = joined(drawn, tokenizer)
        stream = batches.layout(rng, drawn, "a.py")
        if stream is None:
            continue
        middle = tokenizer.encode(example.middle)
        assert [*stream.ids[stream.start : stream.end], *middle[len(middle) - stream.beyond :]] == middle
        assert len(stream.ids) <= config.context
        if stream.beyond:
            cut += 1
            assert len(stream.ids) == stream.end == config.context
            assert stream.suffix.tolist() == middle[stream.end - stream.start :][: config.glue]
            continue
        assert stream.ids[stream.end] == tokenizer.eot
        laid = encode_context(
            tokenizer, example.before, example.after, language="python", filename="a.py",
            context=config.context, glue=config.glue, reserve=config.max_hole,
        )  # fmt: skip
        # The glue is what follows the hole in the file, whatever budget the suffix got.
        n = min(len(laid.glue), len(stream.suffix))
        assert stream.suffix[:n].tolist() == laid.glue[:n]
    assert cut, "some middles are longer than what is left of the context"


def test_the_length_of_the_context_does_not_tell_that_of_the_middle(batches: Batches) -> None:
    """Once it did: a context took what the middle left of the model's, and so did the place where the text ends."""
    rng = np.random.default_rng(0)
    streams = [batches.stream(rng) for _ in range(300)]
    contexts = [one.start for one in streams]
    middles = [min(one.end + one.beyond - one.start, 64) for one in streams]
    assert abs(np.corrcoef(contexts, middles)[0, 1]) < 0.2


def test_a_small_file_is_what_stands_around_a_hole_at_the_top_level() -> None:
    example = Example("import os\n\n\ndef f(a):\n    return ", "a + 1", "\n\n\nclass B:\n    pass\n")
    assert alone(example) == Example("def f(a):\n    return ", "a + 1", "\n")
    assert alone(Example("  x", "y", "")) == Example("  x", "y", "")


def test_a_hole_begins_where_its_first_token_does(tokenizer: Tokenizer) -> None:
    (one,) = tokenizer.encode("()")
    assert one
    for before, middle, moved in (
        ("x =", " y", ""),
        ("x = ", "y", " "),
        ("x = ", "5", " "),
        ("f(", ")", "("),
        ("f(", "a)", ""),
        ("x  ", "y", ""),
        ("\n ", "y", ""),
        ("", "y", ""),
        ("ret", "urn", ""),
    ):
        found = joined(Example(before, middle, "after"), tokenizer)
        assert found == Example(before.removesuffix(moved), moved + middle, "after"), before


def test_every_kind_of_hole_is_drawn(batches: Batches) -> None:
    text = batches.source.text(0)
    rng = np.random.default_rng(1)
    drawn = [draw(rng, text, python_parser()) for _ in range(400)]
    assert set(KINDS) == {"rest", "line", "lines", "node", "chars"}
    assert any("\n" in e.middle for e in drawn)
    assert any(e.before and e.before[-1].isalnum() and e.middle[:1].isalnum() for e in drawn), "a cursor inside a word"
    assert any(e.after == "" for e in drawn)
    whole = [e for e in drawn if e.before + e.middle + e.after == text]
    assert 0.8 < len(whole) / len(drawn) < 1.0, "most examples are the file itself, some what an editor made of it"


def test_canvases_restore_what_stands_in_the_stream(batches: Batches, tokenizer: Tokenizer) -> None:
    batch = batches[0]
    c = batch.canvases
    used = c.segment >= 0
    held = batch.canvas_weights > 0
    assert used.float().mean() > 0.9
    assert torch.equal(batch.masked & held, c.ids == tokenizer.mask)
    for row in range(4):
        for i in held[row].nonzero()[:, 0].tolist():
            assert batch.canvas_targets[row, i] == batch.ids[row, c.position[row, i]], "the truth at its own place"
            assert c.anchor[row, i] <= c.position[row, i], "which the canvas does not see"
    starts = torch.ones_like(used)
    starts[:, 1:] = c.segment[:, 1:] != c.segment[:, :-1]
    rows, places = (starts & used).nonzero(as_tuple=True)
    assert torch.equal(c.previous[rows, places], batch.ids[rows, c.anchor[rows, places] - 1])
    inside = used & ~starts
    assert torch.equal(c.previous[inside], c.ids[:, :-1][inside[:, 1:]])
    wrong = held & ~batch.masked & (c.ids != batch.canvas_targets)
    assert wrong.any(), "some visible tokens are replaced by wrong ones"
    assert (batch.canvas_weights[wrong] == 1).all()


def test_lengths_count_to_the_suffix_and_to_the_line_end(
    batches: Batches, tokenizer: Tokenizer, config: ModelConfig
) -> None:
    batch = batches[1]
    for row in range(4):
        ids = batch.ids[row].tolist()
        end = ids.index(tokenizer.eot)  # there is one in each of these rows
        for i in (batch.length_weights[row, :, 0] > 0).nonzero()[:, 0].tolist():
            assert batch.lengths[row, i, 0] == min(end - i - 1, config.max_hole + 1)
        for i in (batch.length_weights[row, :, 1] > 0).nonzero()[:, 0].tolist():
            n = int(batch.lengths[row, i, 1])
            text = tokenizer.decode(ids[i + 1 : i + 1 + n])
            assert "\n" not in text
            if n <= config.max_hole and i + 1 + n < end:
                assert tokenizer.token_bytes(ids[i + 1 + n]).startswith(b"\n")


def test_cross_entropy_and_its_gradient_equal_torchs() -> None:
    g = torch.Generator().manual_seed(0)
    hidden, table = torch.randn(1300, 16, generator=g), torch.randn(50, 16, generator=g)
    targets, weights = torch.randint(0, 50, (1300,), generator=g), torch.rand(1300, generator=g)
    grads: list[tuple[torch.Tensor, torch.Tensor]] = []
    for ours in (True, False):
        h, t = hidden.clone().requires_grad_(), table.clone().requires_grad_()
        if ours:
            total, _ = cross_entropy(h, t, targets, weights)
        else:
            total = (torch.nn.functional.cross_entropy(h @ t.T, targets, reduction="none") * weights).sum()
        (3 * total).backward()
        assert h.grad is not None
        assert t.grad is not None
        grads.append((h.grad, t.grad))
    for a, b in zip(*grads, strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-4)


def test_rows_that_are_chosen_come_in_few_shapes(batches: Batches, config: ModelConfig) -> None:
    """Each shape costs code and work space that oneDNN keeps."""
    network, rows = Network(config), list[int]()
    network.length_head.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    network.initialise(torch.Generator().manual_seed(0))
    for batch in (batches[0], batches[1]):
        chosen = int((batch.length_weights.sum(-1) > 0).sum())
        losses(network, network(batch.ids, batch.canvases), batch)
        assert rows.pop() == -(-chosen // ALIGNED) * ALIGNED
    ones = filled(torch.ones(3, 2))
    assert ones.sum() == 6
    assert len(ones) == ALIGNED


def test_an_untrained_network_is_as_bad_as_chance(batches: Batches, config: ModelConfig) -> None:
    network = Network(config)
    network.initialise(torch.Generator().manual_seed(0))
    batch = batches[0]
    with torch.no_grad():
        result = losses(network, network(batch.ids, batch.canvases), batch)
    for value, classes in (
        (result.stream, config.vocab_size),
        (result.canvas, config.vocab_size),
        (result.fill, 66),
        (result.line, 66),
    ):
        assert abs(float(value) - math.log(classes)) < 0.3


def test_schedules_begin_and_end_where_they_should() -> None:
    assert [round(open_share(i, 4), 2) for i in range(4)] == [0.75, 0.5, 0.25, 0.0]
    assert learning_rate(0.0, 0.1, 0.2) < 0.05
    assert learning_rate(0.5, 0.1, 0.2) == 1.0
    assert learning_rate(1.0, 0.1, 0.2) == pytest.approx(0.02)
