"""Policies: each commits by its own rule, and never less than the schedule's share."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from infill.canvas import Canvas
from infill.policy import ACCEPT, CHOICE_TEMPERATURE, POLICIES, Policy, Proposal
from tests.fakes import byte_tokenizer

TOKENIZER = byte_tokenizer()
FIRST = TOKENIZER.n_special
V = TOKENIZER.vocab_size - FIRST


def proposal(
    canvas: Canvas, logits: Tensor, share: list[int], *, seed: int = 0, left: float = 0.5, judged: Tensor | None = None
) -> Proposal:
    generator = torch.Generator().manual_seed(seed)
    asked = torch.ones_like(canvas.hole)
    tokens = logits.argmax(-1) + FIRST
    return Proposal(canvas, logits[asked], asked, tokens, FIRST, torch.tensor(share), left, generator, judged)


def with_confidence(p: list[float]) -> tuple[Canvas, Tensor]:
    """One open row in which the best token has the given probabilities and the rest is even."""
    canvas = Canvas.of_lengths([len(p)], [FIRST], TOKENIZER, torch.device("cpu"))
    rest = (1 - torch.tensor([*p, 0.5])) / (V - 1)
    logits = rest.log()[:, None].repeat(1, V)
    logits[:, 7] = torch.tensor([*p, 0.5]).log()
    return canvas, logits[None]


@pytest.mark.parametrize("name", [name for name in POLICIES if name != "random"])
@given(st.lists(st.integers(1, 8), min_size=1, max_size=4), st.data())
def test_at_least_the_share_and_only_the_hole(name: str, sizes: list[int], data: st.DataObject) -> None:
    canvas = Canvas.of_lengths(sizes, [FIRST] * 3, TOKENIZER, torch.device("cpu"))
    seed = data.draw(st.integers(0, 2**20))
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn((*canvas.ids.shape, V), generator=generator)
    judged = -torch.rand(canvas.ids.shape, generator=generator) * 4
    share = [data.draw(st.integers(0, size)) for size in sizes]
    keep = POLICIES[name](proposal(canvas, logits, share, seed=seed, judged=judged))
    assert not (keep & ~canvas.hole).any()
    assert (keep.sum(1) >= torch.tensor(share)).all()


@pytest.mark.parametrize("name", [name for name in POLICIES if name != "remask"])
def test_what_is_committed_stays(name: str) -> None:
    canvas = Canvas.of_rows([[70, TOKENIZER.mask, 71, TOKENIZER.mask]], [], TOKENIZER, torch.device("cpu"))
    logits = torch.randn((1, 4, V), generator=torch.Generator().manual_seed(1))
    keep = POLICIES[name](proposal(canvas, logits, [1], judged=torch.zeros(1, 4) - 9))
    assert keep[0, 0]
    assert keep[0, 2]


@pytest.mark.parametrize(
    ("name", "confidence", "share", "kept"),
    [
        ("confidence", [0.95, 0.2, 0.92, 0.5], 1, [0, 2]),
        ("confidence", [0.3, 0.2, 0.1, 0.5], 2, [0, 3]),
        ("topk_margin", [0.3, 0.2, 0.1, 0.5], 2, [0, 3]),
        ("entropy", [0.999, 0.2, 0.1, 0.998], 1, [0, 1, 3]),
        ("entropy", [0.3, 0.2, 0.1, 0.5], 1, [3]),
    ],
)
def test_the_surest_first(name: str, confidence: list[float], share: int, kept: list[int]) -> None:
    canvas, logits = with_confidence(confidence)
    keep = POLICIES[name](proposal(canvas, logits, [share]))
    assert keep[0].nonzero().flatten().tolist() == kept


def test_margin_is_not_confidence() -> None:
    """0.45 against 0.44 is less clear than 0.4 against even crumbs."""
    canvas, logits = with_confidence([0.4, 0.4])
    logits[0, 0] = -20.0
    logits[0, 0, 7:9] = torch.tensor([0.45, 0.44]).log()
    p = proposal(canvas, logits, [1])
    assert POLICIES["topk_margin"](p)[0].nonzero().flatten().tolist() == [1]
    assert POLICIES["confidence"](p)[0].nonzero().flatten().tolist() == [0]


def test_remask_sends_a_doubted_token_back() -> None:
    canvas = Canvas.of_rows([[FIRST + 1, TOKENIZER.mask, FIRST + 7]], [], TOKENIZER, torch.device("cpu"))
    logits = torch.zeros(1, 3, V)
    logits[0, :, 7] = 9.0  # so the committed FIRST + 1 at place 0 is held for wrong now
    keep = POLICIES["remask"](proposal(canvas, logits, [0]))
    assert keep[0].tolist() == [False, True, True]


def test_verify_keeps_the_beginning_that_the_causal_head_accepts() -> None:
    canvas, logits = with_confidence([0.5] * 5)
    good, bad = torch.tensor(ACCEPT + 0.01).log(), torch.tensor(ACCEPT - 0.01).log()
    judged = torch.stack([good, good, bad, good, good, bad])[None]
    assert POLICIES["verify"](proposal(canvas, logits, [1], judged=judged))[0].nonzero().flatten().tolist() == [0, 1]
    assert POLICIES["verify"](proposal(canvas, logits, [3], judged=judged))[0].nonzero().flatten().tolist() == [0, 1, 2]


def test_random_commits_at_the_asked_rate() -> None:
    canvas = Canvas.of_lengths([400], [], TOKENIZER, torch.device("cpu"))
    logits = torch.zeros(1, 400, V)
    keep = POLICIES["random"](proposal(canvas, logits, [100], seed=3))
    assert 70 < int(keep.sum()) < 130  # 100 +- 3.5 standard deviations
    assert int(POLICIES["random"](proposal(canvas, logits, [400]))[0].sum()) == 400


def test_maskgit_noise_fades_to_the_plain_order() -> None:
    canvas, logits = with_confidence([0.5, 0.4, 0.3, 0.2])

    def kept(seed: int, left: float) -> int:
        return int(POLICIES["maskgit"](proposal(canvas, logits, [1], seed=seed, left=left))[0].nonzero())

    assert CHOICE_TEMPERATURE > 0
    assert {kept(seed, 0.0) for seed in range(20)} == {0}
    assert len({kept(seed, 1.0) for seed in range(20)}) > 1


@pytest.mark.parametrize("policy", POLICIES.values(), ids=list(POLICIES))
def test_banned_tokens_do_not_poison_the_numbers(policy: Policy) -> None:
    """Logits of -inf (banned line breaks) must not turn into nan."""
    canvas, logits = with_confidence([0.999, 0.5, 0.2])
    logits[..., 20:40] = -torch.inf
    keep = policy(proposal(canvas, logits, [3], judged=torch.zeros(1, 4)))
    assert keep[0].tolist() == [True, True, True, False]
