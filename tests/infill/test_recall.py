"""The file's own text beside the causal head: a distribution still, by the formula, with the ends where they belong."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from infill.engine import Infiller
from infill.judge import Calibration
from infill.recall import Recall, by_line
from infill.recallfit import LENGTHS, Place, fit, nats
from infill.types import InfillOptions, Prompt
from model.config import ModelConfig
from model.denoiser import NetworkDenoiser
from model.network import Network
from tests.fakes import small_tokenizer

END, SIZE = 2, 20
WEIGHTS = {1: 3.0, 2: 2.0, 4: 1.0}
TOKENS = st.lists(st.integers(3, 8), max_size=20)


def plain(texts: list[list[int]], history: list[int], log_p: torch.Tensor) -> torch.Tensor:
    """The formula of the module, place by place, without ends."""
    p = log_p.exp().double()
    for length, weight in WEIGHTS.items():
        if len(history) < length:
            break
        counts = torch.zeros(SIZE, dtype=torch.float64)
        for side in texts:
            for at in range(len(side) - length):
                if side[at : at + length] == history[-length:]:
                    counts[side[at + length]] += 1
        if counts.sum() == 0:
            break
        p = (counts + weight * p) / (counts.sum() + weight)
    return p.log()


@given(
    before=TOKENS,
    behind=TOKENS,
    elsewhere=TOKENS,
    written=st.lists(st.integers(3, 8), max_size=5),
    seed=st.integers(0, 99),
)
def test_the_mixture_is_that_of_the_formula(
    before: list[int], behind: list[int], elsewhere: list[int], written: list[int], seed: int
) -> None:
    history = [*before, *written]
    log_p = torch.randn(SIZE, generator=torch.Generator().manual_seed(seed)).log_softmax(-1)
    # Ends are tested below: no two tokens follow each other here as behind the hole.
    recall = Recall(before, [9, *behind], WEIGHTS, END, elsewhere=elsewhere)
    mixed = recall.mixed(history, log_p)
    assert float(mixed.exp().sum()) == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(
        mixed.double(), plain([before, [9, *behind], elsewhere], history, log_p), rtol=1e-4, atol=1e-4
    )


@given(before=TOKENS, row=st.lists(st.integers(3, 8), min_size=1, max_size=6))
def test_a_row_gets_what_its_tokens_get_one_by_one(before: list[int], row: list[int]) -> None:
    recall = Recall(before, [], WEIGHTS, END)
    log_p = torch.full((SIZE,), -math.log(SIZE))
    single = [float(recall.mixed([*before, *row[:i]], log_p)[token]) for i, token in enumerate(row)]
    assert recall.row(before, row, [-math.log(SIZE)] * len(row)) == pytest.approx(single, abs=1e-4)


def test_what_the_file_repeats_becomes_likelier() -> None:
    log_p = torch.full((SIZE,), -math.log(SIZE))
    mixed = Recall([4, 5, 6, 7, 4, 5], [], {2: 1.0}, END).mixed([4, 5, 6, 7, 4, 5], log_p)
    assert int(mixed.argmax()) == 6
    assert torch.equal(Recall([4, 5, 6, 7], [], {2: 1.0}, END).mixed([8, 8], log_p), log_p)


def test_an_answer_ends_where_lines_break_and_where_the_suffix_goes_on() -> None:
    log_p = torch.full((SIZE,), -math.log(SIZE))
    breaking = Recall([4, 5, 10, 4, 5], [], {2: 1.0}, END, frozenset([10]))
    assert int(breaking.mixed([4, 5], log_p).argmax()) == END
    going_on = Recall([4, 5, 6, 7, 4, 5], [6, 7, 9], {2: 1.0}, END)
    assert int(going_on.mixed([4, 5], log_p).argmax()) == END
    other = Recall([4, 5, 6, 8, 4, 5], [6, 7, 9], {2: 1.0}, END)
    assert int(other.mixed([4, 5], log_p).argmax()) == 6


def test_lines_are_encoded_once() -> None:
    asked: list[str] = []

    def encode(text: str) -> list[int]:
        asked.append(text)
        return list(text.encode())

    encoded = by_line(encode)
    text = "def f():\n    return 1\n\n\ndef g():\n    return 1\n"
    assert bytes(encoded(text)).decode() == text
    before = len(asked)
    assert bytes(encoded(text + "x")).decode() == text + "x"
    assert len(asked) == before + 1, "only the last line is another one"


def test_the_fit_trusts_places_that_are_right_and_no_others() -> None:
    none = [0] * len(LENGTHS)
    right = [Place(math.log(0.1), [5, 5, 5], [5, 5, 5])] * 20
    wrong = [Place(math.log(0.5), [5, 0, 0], none)] * 20
    fitted = fit(right + wrong)
    assert fitted["4"] < fitted["2"]
    assert nats(right + wrong, list(fitted.values())) < nats(right + wrong, [1e9] * 3)
    assert fit(wrong) == {}
    assert fit([]) == {}


LINE = "    total = self.compute(left, right)\n"
CODE = f"def first(self):\n{LINE}    return total\n\n\ndef second(self):\n    total = self."
REST = "compute(left, right)"


def network() -> NetworkDenoiser:
    """One that knows nothing."""
    tokenizer = small_tokenizer()
    config = ModelConfig(vocab_size=tokenizer.vocab_size, d_model=32, n_layers=2, n_heads=2, d_ff=64, context=256)
    made = Network(config).eval()
    made.initialise(torch.Generator().manual_seed(0))
    return NetworkDenoiser(made, tokenizer)


def drafts(weights: dict[str, float], options: InfillOptions) -> dict[str, float]:
    """What the causal head writes first, and the judge's word on it."""
    calibration = Calibration(causal_candidate=True, causal_tokens=64, short=0, sure=1.0, copies=1, recall=weights)
    found = Infiller(network(), calibration=calibration).drafts(Prompt(CODE, "\n    return total\n", "python"), options)
    return {text: draft.causal_logp for draft, text in found if draft.origin == "causal"}


def test_the_causal_head_writes_what_other_texts_repeat() -> None:
    weights, options = {"2": 0.01, "4": 0.01}, InfillOptions(one_line=True, max_tokens=40)
    calibration = Calibration(causal_candidate=True, causal_tokens=64, short=0, sure=1.0, copies=1, recall=weights)
    before = "def second(self):\n    total = self."
    for extra, expected in (((), False), (("", CODE.replace("\n", "\r\n")), True)):
        prompt = Prompt(before, "\n    return total\n", "python", extra=extra)
        found = Infiller(network(), calibration=calibration).drafts(prompt, options)
        assert any(text == REST and draft.origin == "causal" for draft, text in found) == expected


def test_the_causal_head_writes_what_the_file_repeats() -> None:
    options = InfillOptions(one_line=True, max_tokens=40)
    weights = {"2": 0.01, "4": 0.01}
    assert REST in drafts(weights, options)
    assert REST not in drafts({}, options)
    assert REST not in drafts(weights, replace(options, copies=0)), "without copies it is on its own"
    assert REST not in drafts(weights, replace(options, policy="causal")), (
        "and where it is what others are held against"
    )


def test_the_judge_says_what_was_said_while_it_was_written() -> None:
    calibration = Calibration(causal_candidate=True, causal_tokens=64, short=0, sure=1.0, copies=1, recall={"2": 0.5})
    infiller = Infiller(network(), calibration=calibration)
    prompt, options = Prompt(CODE, "\n    return total\n", "python"), InfillOptions(one_line=True, max_tokens=40)
    found = {draft.origin: draft for draft, text in infiller.drafts(prompt, options) if text == REST}
    assert found["copy"].ids == found["causal"].ids
    assert found["copy"].token_logp == pytest.approx(found["causal"].token_logp, abs=1e-3)
    assert found["copy"].causal_logp == pytest.approx(found["causal"].causal_logp, abs=0.2), "both kinds of ends count"
