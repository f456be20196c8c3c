"""The network in use says what the network in training says, and fixed keys and values change nothing."""

from typing import Any

import pytest
import torch
from torch import Tensor

from model import attention
from model.config import SIZES, ModelConfig
from model.denoiser import NetworkDenoiser, State
from model.network import Canvases, Network, pair
from model.tokenizer import Tokenizer

CLOSE = 2e-4


@pytest.fixture
def denoiser(network: Network, tokenizer: Tokenizer) -> NetworkDenoiser:
    return NetworkDenoiser(network, tokenizer)


def random_ids(count: int, vocabulary: int, seed: int = 0) -> list[int]:
    made: list[int] = torch.randint(64, vocabulary, (count,), generator=torch.Generator().manual_seed(seed)).tolist()
    return made


def one_canvas(context: list[int], canvas: list[int]) -> Canvases:
    n, anchor = len(canvas), len(context)
    return Canvases(
        ids=torch.tensor([canvas]),
        previous=torch.tensor([[context[-1], *canvas[:-1]]]),
        position=torch.arange(anchor, anchor + n)[None],
        anchor=torch.full((1, n), anchor),
        segment=torch.zeros(1, n, dtype=torch.int64),
    )


def fill(denoiser: NetworkDenoiser, state: State, row: list[int]) -> Tensor:
    """Logits of every place of one row."""
    canvas = torch.tensor([row])
    return denoiser.denoise(state, canvas, torch.ones_like(canvas, dtype=torch.bool))


def far(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


@torch.inference_mode()
def test_use_equals_training(network: Network, denoiser: NetworkDenoiser) -> None:
    context = random_ids(150, network.config.vocab_size)
    canvas = [denoiser.tokenizer.mask] * 5 + random_ids(4, network.config.vocab_size, seed=1)
    # The stream goes on behind the anchor in training: the canvas must not see that.
    stream, hidden = network(
        torch.tensor([context + random_ids(7, network.config.vocab_size, 2)]), one_canvas(context, canvas)
    )
    state = denoiser.encode(context)
    assert far(fill(denoiser, state, canvas), network.logits(hidden[0])) < CLOSE
    assert far(denoiser.next_logits(state), network.logits(stream[0, len(context) - 1])) < CLOSE
    assert (
        far(denoiser.length_logprobs(state), network.length_head(stream[0, len(context) - 1])[0].log_softmax(-1))
        < CLOSE
    )


@torch.inference_mode()
def test_a_canvas_sees_itself_only(network: Network) -> None:
    context = random_ids(40, network.config.vocab_size)
    alone = one_canvas(context, random_ids(6, network.config.vocab_size, 1))
    other = one_canvas(context[:30], random_ids(8, network.config.vocab_size, 2))
    other.segment += 1
    both = Canvases(
        *(torch.cat([a, b], dim=1) for a, b in zip(vars(other).values(), vars(alone).values(), strict=True))
    )
    ids = torch.tensor([context])
    assert far(network(ids, both)[1][:, 8:], network(ids, alone)[1]) < CLOSE


@torch.inference_mode()
@pytest.mark.parametrize("cuts", [[1], [50, 51, 52], [10, 60, 59], [99, 30]])
def test_cached_context_gives_the_same_logits(denoiser: NetworkDenoiser, cuts: list[int]) -> None:
    ids = random_ids(100, denoiser.network.config.vocab_size)
    fresh = denoiser.next_logits(denoiser.encode(ids)).clone()
    state = None
    for cut in cuts:
        state = denoiser.encode(ids[:cut], state)
    # An edit: the end differs, and is dropped again.
    state = denoiser.encode([*ids[: cuts[-1]], 77, 78], state)
    state = denoiser.encode(ids, state)
    assert state.ids == tuple(ids)
    assert far(denoiser.next_logits(state), fresh) < CLOSE


@torch.inference_mode()
def test_shortening_a_context_computes_nothing(denoiser: NetworkDenoiser, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = random_ids(60, denoiser.network.config.vocab_size)
    want = denoiser.next_logits(denoiser.encode(ids[:33])).clone()
    state = denoiser.encode(ids)
    monkeypatch.setattr(denoiser.inference, "run", None)
    assert far(denoiser.next_logits(denoiser.encode(ids[:33], state)), want) < CLOSE


@torch.inference_mode()
def test_rows_of_a_batch_do_not_meet(denoiser: NetworkDenoiser) -> None:
    tokenizer = denoiser.tokenizer
    state = denoiser.encode(random_ids(30, tokenizer.vocab_size))
    short = [tokenizer.mask, tokenizer.mask, 90]
    long = [tokenizer.mask] * 6
    rows = torch.tensor([short + [tokenizer.pad] * 3, long])
    both = denoiser.denoise(state, rows, rows == tokenizer.mask)
    assert both.shape == (8, tokenizer.vocab_size)
    assert far(both[:2], fill(denoiser, state, short)[:2]) < CLOSE
    assert far(both[2:], fill(denoiser, state, long)) < CLOSE


@torch.inference_mode()
def test_score_is_the_causal_head_token_by_token(denoiser: NetworkDenoiser) -> None:
    ids = random_ids(30, denoiser.tokenizer.vocab_size)
    answer = [70, 80, denoiser.tokenizer.eot]
    scores = denoiser.score(denoiser.encode(ids), torch.tensor([[*answer, denoiser.tokenizer.pad]]))
    for i, token in enumerate(answer):
        logits = denoiser.next_logits(denoiser.encode(ids + answer[:i]))
        assert abs(float(scores[0, i] - logits.log_softmax(-1)[token])) < CLOSE
    assert float(scores[0, 3]) == 0.0


def test_a_context_has_bounds(denoiser: NetworkDenoiser) -> None:
    with pytest.raises(ValueError, match="1 to 320 tokens, not 0"):
        denoiser.encode([])
    with pytest.raises(ValueError, match="not 321"):
        denoiser.encode([70] * 321)
    state = denoiser.encode([70] * 320)
    with pytest.raises(ValueError, match="do not fit"):
        fill(denoiser, state, [1] * 90)


def test_fused_attention_equals_the_portable_path() -> None:
    g = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 3, 300, 16, generator=g) for _ in range(3))
    fused = torch.nn.functional.scaled_dot_product_attention
    assert far(attention.causal(q, k, v, 0.2), fused(q, k, v, is_causal=True, scale=0.2)) < 1e-5
    allowed = torch.rand(2, 1, 40, 300, generator=g) < 0.5
    allowed[..., 0] = True
    few = q[:, :, :40]
    assert far(attention.masked(few, k, v, allowed, 0.2), fused(few, k, v, attn_mask=allowed, scale=0.2)) < 1e-5


@pytest.mark.parametrize("size", list(SIZES))
def test_sizes_count_their_parameters(size: str) -> None:
    config = SIZES[size]
    with torch.device("meta"):
        network = Network(config)
    total = sum(p.numel() for p in network.parameters())
    assert abs(total - config.parameters()["total"]) < 0.06 * total  # gates, scalars and the length head come on top


def test_a_token_s_neighbours_have_rows_of_their_own() -> None:
    rows = pair(torch.full((1024,), 77), torch.arange(1024), 2048)
    assert len(rows.unique()) == 1024
    assert 0 <= int(rows.min()) <= int(rows.max()) < 2048


WHOLE = [name for name in ModelConfig().to_dict() if name != "rope_base"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"d_model": 100, "n_heads": 3}, "d_model 100 is not a multiple of n_heads 3"),
        ({"max_hole": 0}, "max_hole must be a whole number from 1 to 16384, not 0"),
        ({"pairs": -1}, "pairs must be a whole number from 0 to 67108864, not -1"),
        ({"rope_base": float("nan")}, "rope_base must be a number from 1 to 1000000000000.0, not nan"),
        ({"rope_base": float("inf")}, "rope_base must be a number"),
        ({"rope_base": "10000"}, "rope_base must be a number from 1 to 1000000000000.0, not '10000'"),
        ({"context": [512]}, r"context must be a whole number from 1 to 131072, not \[512\]"),
        ({"inserts": True}, "inserts must be a whole number"),
        *(({name: 10**12}, f"{name} must be a whole number .*, not 1000000000000") for name in WHOLE),
        *(({name: 1.5}, f"{name} must be a whole number .*, not 1.5") for name in WHOLE),
    ],
)
def test_sizes_that_cannot_work_are_named(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ModelConfig(**changes)
