"""Published models filling holes in place, by tiny ones that know one text by heart, against plain loops."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from infill import lengthfit, policy
from infill.batcher import together
from infill.engine import Infiller
from infill.evaluate import EvalOptions, main
from infill.inplace import CALIBRATION, Cut, InPlace, in_place, unfenced
from infill.lengthfit import SLOPES, Tried, best
from infill.types import Infill, InfillOptions, Prompt, Step
from model.calls import Call, Denoise, Encode, Think
from model.published.denoiser import Around, Published
from model.published.load import open_published
from model.published.moe import Network
from tests.published import TEXT, learn, make

HOLES = ["width * height", "if width < 0 or height < 0:", "height", ' "negative"', "names, key=len"]


@pytest.fixture(scope="module", params=["dream", "llada"])
def learnt(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Published:
    published = open_published(make(tmp_path_factory.mktemp("model"), request.param), device="cpu", dtype="float32")
    learn(published, TEXT)
    return published


def engine(published: Published) -> Infiller:
    return Infiller(published, calibration=CALIBRATION, requests=InPlace)


def prompt(hole: str, text: str = TEXT) -> Prompt:
    before, _, behind = text.partition(hole)
    return Prompt(before, behind, "python")


def test_a_hole_of_unknown_length_is_filled_with_what_stood_there(learnt: Published) -> None:
    found = {hole: engine(learnt).fill(prompt(hole), InfillOptions(max_tokens=16)) for hole in HOLES[:3]}
    right = [hole for hole, infill in found.items() if [one.text for one in infill.candidates][:1] == [hole]]
    assert len(right) >= 2, found


def test_every_answer_passes_the_gate_and_says_so(learnt: Published) -> None:
    found = engine(learnt).fill(prompt("width * height"), InfillOptions(max_tokens=16, n=3))
    assert found.candidates
    assert {one.verdict for one in found.candidates} == {"valid"}


def test_a_word_that_the_cursor_cuts_is_completed(learnt: Published) -> None:
    before = TEXT[: TEXT.index("width * height") + 2]
    behind = TEXT[TEXT.index(" * height") :]
    found = engine(learnt).fill(Prompt(before, behind, "python"), InfillOptions(max_tokens=8))
    assert [one.text for one in found.candidates][:1] == ["dth"]


@pytest.mark.parametrize("before", ["x = '😀", "x = 'ß", "# €"])
def test_a_character_of_several_tokens_before_the_cursor_is_no_trouble(
    learnt: Published, before: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    infiller = engine(learnt)
    monkeypatch.setattr(infiller.words, "longer", lambda _: [70, 71])  # as a larger vocabulary has some
    found = list[str]()
    for width in range(1, 6):
        infill = infiller.fill(Prompt(before, "\n", None), InfillOptions(max_tokens=width, n=4))
        found += [one.text for one in infill.candidates]
    assert found


def by_hand(published: Published, before: list[int], behind: list[int], length: int) -> list[int]:
    """One place a step, the surest: the row built and read without any of the engine."""
    tokenizer = published.tokenizer
    closed = [*tokenizer.silent(), tokenizer.mask]
    hole = [tokenizer.mask] * length
    while tokenizer.mask in hole:
        logits = published.network(torch.tensor([[*before, *hole, *behind]]))[0]
        logits[:, closed] = -torch.inf
        best = logits.log_softmax(-1).max(-1)
        at = [i for i, token in enumerate(hole) if token == tokenizer.mask]
        place = max(at, key=lambda i: float(best.values[len(before) + i - published.family.shift]))
        hole[place] = int(best.indices[len(before) + place - published.family.shift])
    return hole


@pytest.mark.parametrize("hole", HOLES)
def test_the_engine_writes_what_a_plain_loop_writes(
    learnt: Published, hole: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learnt, "keeps", False)
    asked = prompt(hole)
    before, behind = learnt.tokenizer.encode(asked.prefix), learnt.tokenizer.encode(asked.suffix)
    length = len(learnt.tokenizer.encode(hole)) + 1
    steps: list[Step] = []
    options = InfillOptions(hole_length=length, policy="maskgit", steps=length, repair_rounds=0, seed=3)
    monkeypatch.setattr(policy, "CHOICE_TEMPERATURE", 0.0)  # the surest one, then
    engine(learnt).fill(asked, options, on_step=steps.append)
    assert list(steps[-1].ids) == by_hand(learnt, before, behind, length)
    assert [step.ids.count(learnt.tokenizer.mask) for step in steps] == list(range(length - 1, -1, -1))


def test_requests_side_by_side_get_what_they_get_alone(learnt: Published) -> None:
    options = InfillOptions(max_tokens=12)
    alone = [engine(learnt).fill(prompt(hole), options) for hole in HOLES]
    infiller = engine(learnt)
    with torch.inference_mode():
        works = [infiller.begin(prompt(hole), options) for hole in HOLES]
        found: list[Infill] = together(works, learnt)
    assert [[one.text for one in infill.candidates] for infill in found] == [
        [one.text for one in infill.candidates] for infill in alone
    ]


def test_however_long_the_text_the_hole_stays_where_it_is(learnt: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = prompt("width * height")
    states: list[Around] = []
    run = learnt.run

    def watched(calls: Sequence[Call]) -> list[Any]:
        states.extend(call.state for call in calls if isinstance(call, Denoise))
        return run(calls)

    monkeypatch.setattr(learnt, "run", watched)
    # Both sides too long, one side, and a line without an end.
    for before, behind in (
        ("# x\n" * 2000, "# y\n" * 2000),
        ("# x\n" * 2000, ""),
        ("", "# y\n" * 2000),
        ("x" * 9000, ""),
    ):
        states.clear()
        full = Prompt(before + asked.prefix, asked.suffix + behind, "python")
        engine(learnt).fill(full, InfillOptions(max_tokens=8))
        for state in states:
            text = learnt.tokenizer.decode(state.prefix)
            assert any(full.prefix[: len(full.prefix) - cut].endswith(text) for cut in range(30))
            assert full.suffix.startswith(learnt.tokenizer.decode(state.suffix))
            assert len(state.prefix) > 20 or not before
            assert len(state.suffix) > 20 or not behind
            assert len(state.prefix) + 9 + len(state.suffix) <= learnt.positions


def test_nothing_to_stand_on_is_no_error(learnt: Published) -> None:
    for asked in (Prompt("", "", None), Prompt("", "\n", "python"), Prompt("\ufeff", "", "python")):
        engine(learnt).fill(asked, InfillOptions(max_tokens=4))


def test_a_request_can_be_stopped_and_late_ones_answer_with_what_there_is(learnt: Published) -> None:
    stopped = engine(learnt).fill(prompt("height"), InfillOptions(), should_stop=lambda: True)
    assert stopped.reason == "cancelled"
    late = engine(learnt).fill(prompt("width * height"), InfillOptions(budget_ms=0.01, max_tokens=8))
    assert late.passes == 1
    assert late.candidates or late.reason


@pytest.mark.parametrize("policy", ["causal", "verify"])
def test_what_needs_a_causal_head_is_refused(learnt: Published, policy: str) -> None:
    with pytest.raises(ValueError, match="needs a causal head"):
        engine(learnt).fill(prompt("height"), InfillOptions(policy=policy))


def test_a_passes_cost_is_that_of_a_search_and_the_steps(learnt: Published) -> None:
    found = engine(learnt).fill(prompt("width * height"), InfillOptions(max_tokens=8, repair_rounds=0))
    assert found.passes == found.steps
    assert found.passes >= 2


# A model that finds lengths itself.


def expanded_by_hand(published: Published, before: Sequence[int], behind: Sequence[int], most: int) -> list[int]:
    """DreamOn's loop over plain rows: the place of least entropy is written, an expand token becomes two masks, a
    delete token goes and takes the masks to its right along."""
    tokenizer, controls = published.tokenizer, published.controls
    closed = sorted({*tokenizer.silent(), tokenizer.mask} - {*published.ends, controls.expand, controls.delete})
    hole, budget = [tokenizer.mask] * 4, most
    while tokenizer.mask in hole:
        logits = published.network(torch.tensor([[*before, *hole, *behind]]))[0, len(before) - 1 :][: len(hole)]
        logits[:, closed] = -torch.inf
        if len(hole) >= most or budget == 0:
            logits[:, controls.expand] = -torch.inf
        p = logits.softmax(-1)
        entropy = -(p * (p + 1e-10).log()).sum(-1)
        place = min((i for i, token in enumerate(hole) if token == tokenizer.mask), key=lambda i: float(entropy[i]))
        token = int(p[place].argmax())
        if token == controls.expand:
            hole[place : place + 1] = [tokenizer.mask] * 2
            budget -= 1
        elif token == controls.delete:
            hole = hole[:place] + [one for one in hole[place + 1 :] if one != tokenizer.mask]
        else:
            hole[place] = token
    return hole


def test_a_hole_grows_and_shrinks_as_in_a_plain_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InPlace, "cuts", lambda _, before: [Cut(tuple(before))])
    asked, lengths = prompt("width * height"), set[int]()
    # Random networks seldom ask for more room or less; these do, and end with 9, 12, 0, 3 and 1 tokens.
    for seed in (0, 4, 9, 10, 11):
        (tmp_path / str(seed)).mkdir()
        published = open_published(make(tmp_path / str(seed), "dreamon", seed=seed), device="cpu", dtype="float32")
        network = cast(Network, published.network)
        network.head.data[published.controls.expand or 0] *= 4
        network.head.data[published.controls.delete or 0] *= 2
        encode = published.tokenizer.encode
        before, behind = [*published.begin, *encode(asked.prefix)], [*encode(asked.suffix), *published.close]
        expected = expanded_by_hand(published, before, behind, 12)
        drafts = engine(published).drafts
        monkeypatch.setattr(InPlace, "texts", lambda _, found: [(draft, "") for draft in found])
        [(draft, _)] = drafts(asked, InfillOptions(max_tokens=12))
        assert list(draft.ids) == expected
        lengths.add(len(expected))
    assert min(lengths) < 4 < max(lengths), "some grew and some shrank"


# Blocks that see only what is before them.


def recite(published: Published, answer: str, ask: Callable[[], list[int]], steps: int = 150) -> None:
    """Teaches a block-causal network to answer one prompt."""
    tokenizer, block = published.tokenizer, published.block
    row = [*ask(), *tokenizer.encode(answer), tokenizer.eot]
    row += [tokenizer.eot] * (-len(row) % block)
    ids, start = torch.tensor(row), len(ask())
    generator = torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(published.network.requires_grad_(requires_grad=True).parameters(), lr=3e-3)
    for _ in range(steps):
        hidden = torch.rand(8, len(ids), generator=generator) < torch.rand(8, 1, generator=generator) + 0.2
        hidden[:, :start] = False
        # Only the last block of a row is damaged: what is before it is written.
        lasts = torch.randint(start // block, len(ids) // block, (8, 1), generator=generator)
        hidden &= torch.arange(len(ids)) // block == lasts
        asked = hidden.roll(-1, dims=1) if published.family.shift else hidden
        logits = published.network(ids.repeat(8, 1).masked_fill(hidden, tokenizer.mask), None, asked)
        loss = torch.nn.functional.cross_entropy(logits, ids.repeat(8, 1)[hidden])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    published.network.requires_grad_(requires_grad=False)


@pytest.mark.parametrize("family", ["sdar", "fast-dllm-v2"])
def test_blocks_answer_behind_a_prompt_that_holds_both_sides(tmp_path: Path, family: str) -> None:
    published = open_published(make(tmp_path, family), device="cpu", dtype="float32")
    asked = prompt("width * height")
    fim = [published.tokenizer.id_of(name) or 0 for name in published.family.fim or ()]

    def ask() -> list[int]:
        encode = published.tokenizer.encode
        return [fim[0], *encode(asked.prefix), fim[1], *encode(asked.suffix), fim[2]]

    recite(published, "width * height", ask)
    found = engine(published).fill(asked, InfillOptions(max_tokens=24))
    assert [one.text for one in found.candidates][:1] == ["width * height"]
    assert found.steps >= 1


def test_a_model_of_random_tokens_answers_behind_a_prompt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = open_published(make(tmp_path, "diffusion-gemma"), device="cpu", dtype="float32")
    answer = [*published.tokenizer.encode("```python\nwidth * height\n```"), published.ends[0]]
    row = torch.tensor([*answer, *[published.ends[0]] * (published.canvas_length * 3)])
    prompts, calls = list[tuple[int, ...]](), list[Call]()
    run = published.run

    def knowing(calls_: Sequence[Call]) -> list[Any]:
        """The network's answers, drowned by what is to come out."""
        calls.extend(calls_)
        found = run(calls_)
        for i, call in enumerate(calls_):
            if isinstance(call, Encode):
                prompts.append(tuple(call.ids))
            if isinstance(call, Think):
                done = len(call.state.ids) - len(prompts[0])
                known = row[done : done + published.canvas_length]
                found[i] = found[i] + 50.0 * torch.nn.functional.one_hot(known, published.tokenizer.vocab_size)
        return found

    monkeypatch.setattr(published, "run", knowing)
    found = engine(published).fill(prompt("width * height"), InfillOptions(max_tokens=64))
    assert [one.text for one in found.candidates][:1] == ["width * height"]
    assert len(answer) > published.canvas_length, "several canvases"
    assert len(prompts) == -(-len(answer) // published.canvas_length)
    text = published.tokenizer.decode(prompts[0])
    assert "return <GAP>" in text
    assert "for name in sorted" in text
    assert found.steps == sum(isinstance(call, Think) for call in calls)


def test_the_first_code_block_of_an_answer_counts() -> None:
    assert unfenced("Here:\n```python\na\nb\n```\nmore\n```\nc\n```") == "a\nb"
    assert unfenced("```\nopen") == "open"
    assert unfenced("plain") == "plain"


def test_a_state_of_its_own_is_not_kept_after_the_answer(learnt: Published) -> None:
    infiller = engine(learnt)
    infiller.fill(prompt("height"), InfillOptions(max_tokens=4))
    assert infiller.contexts.bytes == 0
    assert Around((1, 2)).nbytes == 0


# Measured and calibrated.


def test_a_search_is_calibrated_on_holes_of_known_length(
    tmp_path: Path, learnt: Published, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "area.py").write_text(TEXT)
    monkeypatch.setattr(lengthfit, "SLOPES", (-0.5, 0.0, 0.5))
    options = EvalOptions(model=tmp_path, source=tmp_path / "code", kinds=("rest",), n=12, json=True, calibrate=True)
    assert lengthfit.run(options, learnt) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["tasks"] > 3
    assert found["found"] >= found["found_before"]
    assert in_place(tmp_path).length_slope == found["length_slope"]


def test_a_slope_makes_longer_holes_less_likely() -> None:
    one = Tried(true=8, lengths=(1, 8, 32), sure=(-0.5, -0.2, -0.1), ms=1.0)
    assert not one.found(0.0), "surest of the longest"
    assert one.found(0.1)
    assert not one.found(0.5)
    assert best([one]) in [slope for slope in SLOPES if one.found(slope)]


def test_hone_eval_measures_published_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "area.py").write_text(TEXT)
    words = ["--source", str(tmp_path / "code"), "--n", "2", "--kinds", "rest", "--steps", "1", "--no-bench", "--json"]
    assert main(["--model", str(make(tmp_path, "llada")), *words, "--policies", "confidence"]) == 0
    cells = json.loads(capsys.readouterr().out)["cells"]
    names = {cell["system"] for cell in cells}
    assert {"hone", "confidence 1", "copy"} <= names
    assert "causal" not in names, "it has no causal head"
