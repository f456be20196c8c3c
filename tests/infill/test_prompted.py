"""What is written behind a prompt, block after block, against the projects' loops in plain words: on transformers' own
Qwen2 with the projects' masks, pass by pass the same tokens at the same places."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import Qwen2Config, Qwen2ForCausalLM

from infill.canvas import Canvas
from infill.passes import drive
from infill.policy import Knobs
from infill.prompted import write
from infill.published import PUBLISHED
from infill.sampler import Pace, Plan
from model.jsonfile import read_json
from model.published.denoiser import Published
from model.published.load import open_published
from tests.published import make

Row = list[int]
Network = Callable[[Row, Tensor, Tensor], Tensor]
"""(ids [L], places [L], who sees whom [L, L]) -> logits [L, V], minus infinity where nothing may be written."""


def reference(folder: Path, published: Published) -> Network:
    """Transformers' own class with the folder's weights."""
    settings = {name: value for name, value in read_json(folder / "config.json").items() if name != "architectures"}
    model = Qwen2ForCausalLM(Qwen2Config(**settings | {"model_type": "qwen2", "attn_implementation": "sdpa"})).eval()
    model.load_state_dict(load_file(folder / "model.safetensors"))
    free = {*published.ends} - {published.tokenizer.mask}
    closed = [token for token in {*published.tokenizer.silent(), published.tokenizer.mask} if token not in free]

    def logits(row: Row, place: Tensor, seen: Tensor) -> Tensor:
        bias = torch.zeros(seen.shape).masked_fill(~seen, torch.finfo(torch.float32).min)
        found: Tensor = model(torch.tensor([row]), position_ids=place[None], attention_mask=bias[None, None]).logits[0]
        found[:, closed] = -math.inf
        return found

    return logits


def dllm(network: Network, prompt: Row, limit: int, size: int, mask: int, ends: Sequence[int]) -> list[Row]:
    """ZHZisZZ/dllm, ``core/samplers/bd3lm.py``: the prompt is filled up on its left until its last block is whole, and
    blocks are counted in what comes out, while places are counted without what was filled in. The last block is as
    short as what is left. As many steps as places: one in each."""
    filled = -len(prompt) % size
    row, told = [0] * filled + prompt, list[Row]()
    begin = len(row)
    while len(row) < begin + limit and not set(row[begin:]) & set(ends):
        at = len(row)
        row += [mask] * min(size, begin + limit - at)
        column = torch.arange(len(row))
        valid = column >= filled
        seen = (column[None] // size <= column[:, None] // size) & valid[None]
        seen |= ~valid[:, None]  # what was filled in sees something, so that it stays a number
        while mask in row[at:]:
            chances = network(row, (column - filled).clamp_min(0), seen).softmax(-1)
            open_places = [place for place in range(at, len(row)) if row[place] == mask]
            place = max(open_places, key=lambda place: (float(chances[place].max()), -place))
            row[place] = int(chances[place].argmax())
            told.append(row[begin:])
    return told


def fast_dllm(
    network: Network, prompt: Row, limit: int, size: int, mask: int, ends: Sequence[int], part: int, threshold: float
) -> list[Row]:
    """Fast-dLLM v2, ``generation_functions.py: batch_sample``: the first token of a block is the likeliest one behind
    the last block; then sub-block after sub-block, what is likelier than the threshold, and the likeliest."""
    row, told = list(prompt), list[Row]()
    begin = len(row)

    def logits() -> Tensor:
        column = torch.arange(len(row))
        return network(row, column, column[None] // size <= column[:, None] // size)

    while len(row) < begin + limit and not set(row[begin:]) & set(ends):
        if len(row) % size == 0:
            row.append(int(logits()[-1].argmax()))
            told.append(row[begin:])
        start = len(row) // size * size
        row += [mask] * (start + size - len(row))
        for first in range(start, start + size, part):
            while inside := [place for place in range(first, first + part) if row[place] == mask]:
                chances = logits().softmax(-1).roll(1, dims=0)
                best = max(inside, key=lambda place: (float(chances[place].max()), -place))
                for place in inside:
                    if place == best or float(chances[place].max()) > threshold:
                        row[place] = int(chances[place].argmax())
                told.append(row[begin:])
    return told


def written(published: Published, prompt: Row, limit: int, part: int, knobs: Knobs | None) -> tuple[list[Row], Row]:
    """Our rows behind the prompt after every pass, and the answer."""
    told = list[Row]()
    way = PUBLISHED[published.family.sampler]

    def plan_for(places: int) -> Plan:
        plan = way.plan(places, own=published.block)
        return replace(plan, steps=min(plan.steps, places), knobs=knobs or plan.knobs)

    def report(ids: Sequence[int], canvas: Canvas) -> None:
        told.append([*ids, *canvas.ids[0].tolist()])

    generator = torch.Generator().manual_seed(0)
    work = write(published, prompt, limit, plan_for, generator, Pace(), block=part, report=report)
    with torch.inference_mode():
        return told, drive(work, published).ids


def until(row: Row, ends: Sequence[int]) -> Row:
    return row[: next((place for place, token in enumerate(row) if token in ends), len(row))]


@pytest.mark.parametrize("length", [1, 31, 32, 45])
def test_blocks_of_dllm_end_where_the_prompt_does(tmp_path: Path, length: int) -> None:
    folder = make(tmp_path, "a2d-qwen2-bd3lm", seed=3)
    published = open_published(folder, device="cpu", dtype="float32")
    prompt = torch.randint(0, 256, (length,), generator=torch.Generator().manual_seed(length)).tolist()
    limit, mask = 40, published.tokenizer.mask
    with torch.inference_mode():
        expected = dllm(reference(folder, published), prompt, limit, published.block, mask, published.ends)
    told, answer = written(published, prompt, limit, 0, None)
    assert told == expected
    assert len(expected) == limit or set(expected[-1]) & set(published.ends)
    assert answer == until(expected[-1], published.ends)


@pytest.mark.parametrize(("length", "threshold"), [(5, 0.9), (8, 0.02), (19, 0.02), (24, 0.9)])
def test_parts_of_a_block_follow_its_first_token_in_fast_dllm_v2(tmp_path: Path, length: int, threshold: float) -> None:
    """Blocks of 16 with parts of 8. A part stands before masks that are not asked about yet."""
    folder = make(tmp_path, "fast-dllm-v2", seed=2, bd_size=16)
    published = open_published(folder, device="cpu", dtype="float32")
    prompt = torch.randint(0, 256, (length,), generator=torch.Generator().manual_seed(length)).tolist()
    part = PUBLISHED["fastdllm2"].together(published.block)
    assert part == 8
    with torch.inference_mode():
        expected = fast_dllm(
            reference(folder, published), prompt, 30, 16, published.tokenizer.mask, published.ends, part, threshold
        )
    told, answer = written(published, prompt, 30, part, Knobs(threshold=threshold))
    # Ours is not told of the masks behind the part.
    mask = published.tokenizer.mask
    assert [row + [mask] * (len(whole) - len(row)) for row, whole in zip(told, expected, strict=False)] == (
        expected[: len(told)]
    )
    assert answer == until(expected[-1], published.ends)[:30]


def test_own_blocks_take_the_place_of_the_samplers() -> None:
    """SDAR is published with blocks of 4 to 64, BD3-LM with blocks of 4, 8 and 16: a step for each place, always."""
    assert [PUBLISHED["sdar"].plan(size, own=size).steps for size in (4, 32)] == [4, 32]
    assert [PUBLISHED["bd3lm"].plan(size, own=size).steps for size in (4, 8, 16)] == [4, 8, 16]
    assert (PUBLISHED["llada"].together(), PUBLISHED["sdar"].together(4)) == (32, 0)
