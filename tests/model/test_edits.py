"""Blocks made worse, as training batches and as the model in use sees them."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.calls import Encode, Inspect
from model.config import ModelConfig
from model.corpus import Corpus
from model.data import Batches
from model.denoiser import NetworkDenoiser
from model.edits import EditBatches, Example, example, lines_around, operations
from model.layout import line_end, line_start
from model.loss import losses
from model.network import Network
from model.spans import python_parser
from model.tokenizer import Tokenizer
from model.train import Settings, kinds_of, train

TOKENS = st.lists(st.integers(70, 80), max_size=30)
SOURCE = "import os\n\n\ndef add(a, b):\n    total = a + b\n    return total\n\n\nprint(add(1, 2))\n"


@given(TOKENS, TOKENS)
def test_operations_lead_from_one_block_to_the_other(worse: list[int], clean: list[int]) -> None:
    todo = operations(worse, clean)
    row = todo.opened(worse, mask=1)
    assert len(row) == len(clean)
    assert all(shown in (1, right) for shown, right in zip(row, clean, strict=True))
    if worse == clean:
        assert not any(todo.wrong)
        assert not any(todo.inserts)


def test_lines_begin_and_end_where_a_token_does(tokenizer: Tokenizer) -> None:
    for text in (SOURCE, SOURCE.replace("    return", "   \n\n    return"), "\n\nx = 1", "x"):
        whole = tokenizer.encode(text)
        for at in range(len(text)):
            start, end = line_start(text, at), line_end(text, at)
            assert start <= end
            parts = [tokenizer.encode(part) for part in (text[:start], text[start:end], text[end:])]
            assert [token for part in parts for token in part] == whole, (text, at)


@given(st.integers(0, 2**32 - 1))
def test_a_window_is_whole_lines_with_all_edits_in_them(seed: int) -> None:
    at = SOURCE.index("total")
    low, high = SOURCE.index("def"), SOURCE.index("\n\n\nprint")
    start, end = lines_around(np.random.default_rng(seed), SOURCE, ((at, at + 5, "x"),), low, high)
    assert low - 3 <= start < at
    assert at + 5 < end <= high
    assert SOURCE[start:].startswith("\n")
    assert SOURCE[end] == "\n"


def test_a_batch_holds_what_a_person_wrote(data: Path, config: ModelConfig, tokenizer: Tokenizer) -> None:
    batches = Batches(Corpus.open(data / "train"), tokenizer, config, streams=4, canvas=64, seed=1, edits=1.0)
    faults = 0
    for index in range(12):
        batch = batches[index]
        assert batch.ids.shape == (8, config.context // 2)
        for row in range(8):
            ids = batch.ids[row].tolist()
            block = ids[ids.index(tokenizer.edit) : ids.index(tokenizer.suf)]
            worse = block[block.index(tokenizer.eol) + 1 :]
            anchor = int(batch.canvases.anchor[row, 0])
            clean = ids[anchor : ids.index(tokenizer.eot)]
            segment, shown = batch.canvases.segment[row], batch.canvases.ids[row]
            first = shown[segment == 0].tolist()
            assert first[: len(worse)] == worse
            faults += worse != clean
            wrong = batch.wrong[row, : len(worse)]
            inserts = batch.inserts[row, : len(worse) + 1]
            assert (worse == clean) == (not wrong.any() and not inserts.any())
            assert len(worse) - int(wrong.sum()) + int(inserts.sum()) == len(clean)
            second = torch.nonzero(segment == 1).flatten()[: len(clean)]
            assert batch.canvas_targets[row, second].tolist() == clean
            visible = shown[second] != tokenizer.mask
            assert torch.equal(shown[second][visible], batch.canvas_targets[row, second][visible])
            # The stream is learnt from where the right block begins: damaged code is never a target.
            assert not batch.weights[row, : anchor - 1].any()
            assert batch.weights[row, anchor - 1 : anchor + len(clean)].all()
    assert 12 * 8 * 0.3 < faults < 12 * 8 * 0.95


def test_all_processes_make_the_same_kind_of_batch(data: Path, config: ModelConfig, tokenizer: Tokenizer) -> None:
    source = Corpus.open(data / "train")
    both = [
        Batches(source, tokenizer, config, streams=1, canvas=64, seed=1, edits=0.5, rank=rank, world=2)
        for rank in (0, 1)
    ]
    kinds = [[bool(batches[i].edit_weights.any()) for i in range(12)] for batches in both]
    assert kinds[0] == kinds[1]
    assert len(set(kinds[0])) == 2
    later = Batches(source, tokenizer, config, streams=1, canvas=64, seed=1, edits=0.5, first=5)
    assert [bool(later[i].edit_weights.any()) for i in range(7)] == kinds[0][5:]


def test_examples_are_damaged_inside_their_lines() -> None:
    rng, parser = np.random.default_rng(2), python_parser()
    found = [one for _ in range(200) if (one := example(rng, SOURCE, parser)) is not None]
    assert len(found) > 50
    for one in found:
        assert one.before + one.clean + one.after == SOURCE
    assert 0.1 < sum(one.clean == one.damaged for one in found) / len(found) < 0.6
    assert {"fix"} < {one.task for one in found}


def test_only_the_named_kinds_are_drawn() -> None:
    rng, parser = np.random.default_rng(2), python_parser()
    kinds = kinds_of("lost-return, rename")
    assert kinds is not None
    assert {"lost-return", "stale-local"} <= set(kinds)
    assert "missing-colon" not in kinds
    found = {one.task for _ in range(100) if (one := example(rng, SOURCE, parser, ["lost-return"])) is not None}
    assert found == {"lost-return", "fix"}


def test_an_unknown_task_is_named_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="task 'mend' is unknown: choose from fix, modernise"):
        Settings(size="nano", data=tmp_path, out=tmp_path, steps=1, tasks="fix,mend")


def test_the_edit_head_learns(data: Path, tmp_path: Path) -> None:
    settings = Settings(size="nano", data=data, out=tmp_path, steps=40, streams=2, canvas=64, edits=1.0, device="cpu")
    train(settings)
    with (tmp_path / "train.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[-1]["edit"]) < 0.8 * float(rows[0]["edit"])
    with (tmp_path / "check.csv").open() as file:
        assert float(list(csv.DictReader(file))[-1]["average.edits.edit"]) > 0


def test_infilling_batches_teach_nothing_about_edits(
    data: Path, network: Network, config: ModelConfig, tokenizer: Tokenizer
) -> None:
    batch = Batches(Corpus.open(data / "train"), tokenizer, config, streams=1, canvas=64, seed=1)[0]
    result = losses(network, network(batch.ids, batch.canvases), batch)
    result.total.backward()
    assert float(result.edit) == 0
    assert network.edit_head is not None
    assert all(p.grad is None for p in network.edit_head.parameters())


def test_in_use_a_block_is_looked_at_as_in_training(
    network: Network, config: ModelConfig, tokenizer: Tokenizer
) -> None:
    laid = EditBatches(tokenizer, config).lay_out(
        np.random.default_rng(1),
        Example("import os\n", "\nx = os.path(1)", "\nx = os.path 1)", "\nprint(x)\n", "fix"),
        "a.py",
    )
    assert laid is not None
    batch = EditBatches(tokenizer, config).collate([laid], np.random.default_rng(1))
    with torch.no_grad():
        _, hidden = network(batch.ids, batch.canvases)
        assert network.edit_head is not None
        n = len(laid.damaged)
        logit, logits = network.edit_head(hidden[0, : n + 1])
    denoiser = NetworkDenoiser(network, tokenizer)
    with torch.inference_mode():
        [state] = denoiser.run([Encode(laid.ids[: laid.start].tolist())])
        other = denoiser.encode([80, 81, 82])
        [(odds, missing), _] = denoiser.run([Inspect(state, laid.damaged, laid.glue), Inspect(other, [90, 91], [92])])
    assert torch.allclose(odds, logit[:n], atol=2e-3)
    assert torch.allclose(missing, logits.log_softmax(-1), atol=2e-3)


def test_a_model_without_a_head_for_edits_says_so(network: Network, config: ModelConfig, tokenizer: Tokenizer) -> None:
    plain = Network(replace(config, inserts=0))
    plain.initialise(torch.Generator().manual_seed(1))
    denoiser = NetworkDenoiser(plain, tokenizer)
    assert denoiser.inserts == 0
    with torch.inference_mode(), pytest.raises(ValueError, match="no head for edits"):
        denoiser.inspect(denoiser.encode([80, 81]), [82], [83])
