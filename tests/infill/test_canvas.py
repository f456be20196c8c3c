"""The canvas: what is a hole stays a hole, what is fixed stays fixed."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from infill.canvas import Canvas
from tests.fakes import byte_tokenizer

CPU = torch.device("cpu")
TOKENIZER = byte_tokenizer()
MASK, PAD = TOKENIZER.mask, TOKENIZER.pad

lengths = st.lists(st.integers(1, 9), min_size=1, max_size=5)
glues = st.lists(st.integers(64, 200), max_size=8)


@given(lengths, glues)
def test_rows_are_holes_then_glue_then_padding(sizes: list[int], glue: list[int]) -> None:
    canvas = Canvas.of_lengths(sizes, glue, TOKENIZER, CPU)
    for row, size in zip(canvas.ids.tolist(), sizes, strict=True):
        assert row[:size] == [MASK] * size
        assert row[size : size + len(glue)] == glue
        assert set(row[size + len(glue) :]) <= {PAD}
    assert canvas.hole.sum(1).tolist() == sizes
    assert torch.equal(canvas.open, canvas.hole)
    assert canvas.ids.shape[1] == max(sizes) + len(glue)


def test_given_tokens_are_committed_and_masks_open() -> None:
    canvas = Canvas.of_rows([[70, MASK, 71], [MASK]], [99], TOKENIZER, CPU)
    assert canvas.open.tolist() == [[False, True, False, False], [True, False, False, False]]
    assert canvas.committed.tolist() == [[True, False, True, False], [False, False, False, False]]
    assert canvas.rows() == [[70, MASK, 71], [MASK]]


@given(lengths, glues, st.integers(0, 2**20))
def test_commit_and_remask_change_what_they_are_told_to(sizes: list[int], glue: list[int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    start = Canvas.of_lengths(sizes, glue, TOKENIZER, CPU)
    where = (torch.rand(start.ids.shape, generator=generator) < 0.5) & start.hole
    tokens = torch.randint(64, 320, start.ids.shape, generator=generator)
    written = start.commit(where, tokens, torch.full(start.ids.shape, 0.5))
    assert torch.equal(written.ids[where], tokens[where])
    assert torch.equal(written.ids[~where], start.ids[~where])
    assert torch.equal(written.committed, where)
    assert (written.confidence[where] == 0.5).all()
    again = written.remask(where)
    assert torch.equal(again.ids, start.ids)
    assert torch.equal(again.open, start.open)
    assert torch.equal(again.confidence, start.confidence)


def test_a_written_fixed_place_is_noticed() -> None:
    start = Canvas.of_lengths([2, 3], [80, 81], TOKENIZER, CPU)
    ones = torch.ones(start.ids.shape)
    fair = start.commit(start.hole, torch.full_like(start.ids, 70), ones)
    assert fair.agrees(start)
    assert not start.commit(torch.ones_like(start.hole), torch.full_like(start.ids, 70), ones).agrees(start)
    assert not start.remask(~start.hole).agrees(start)


def test_mean_log_confidence_counts_the_hole_only() -> None:
    start = Canvas.of_lengths([1, 2], [80], TOKENIZER, CPU)
    written = start.commit(start.hole, torch.full_like(start.ids, 70), torch.full(start.ids.shape, 0.25))
    assert written.mean_log_confidence().tolist() == pytest.approx([-1.3862944] * 2)


def test_rows_keep_their_names() -> None:
    canvas = Canvas.of_rows([[MASK, 70], [MASK] * 3, [71, 72, 73, 74]], [80], TOKENIZER, torch.device("cpu"))
    assert canvas.names == (0, 1, 2)
    taken = canvas.take([2, 0]).take([1, 0])
    assert taken.names == (0, 2)
    assert taken.rows() == [[MASK, 70], [71, 72, 73, 74]]
    assert taken.agrees(canvas.take([0, 2]))
