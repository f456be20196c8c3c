"""The judge's numbers: the arithmetic on tensors is the engine's own, and the choice is what the rule says."""

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from infill import calibrate
from infill.calibrate import Choice, Drafted, Numbers, canvases, choose, fit_judge, fit_together
from infill.engine import Infiller
from infill.evaluate import main
from infill.judge import FILE, Calibration, Draft, judge
from infill.passes import drive
from infill.recallfit import places
from infill.systems import prompt_of
from infill.tasks import Task
from model.checkpoint import load_denoiser, save_model
from model.config import ModelConfig
from model.layout import encode_context
from model.network import Network
from model.tokenizer import Tokenizer

CODE = "\n\n".join(f"def f{i}(a, b):\n    total = a + b * {i}\n    return total" for i in range(12)) + "\n"


def draft(
    length: int, *, causal: float, prior: float = 0.0, own: float = 0.0, evidence: float = 0.0, first: float = 0.0
) -> Draft:
    origin = "copy" if evidence else "canvas"
    return Draft(tuple(range(100, 100 + length)), 0, origin, True, prior, own, causal, (first,), evidence)


def drawn(rng: random.Random, width: int) -> Drafted:
    drafts = [
        draft(
            rng.randint(1, 9),
            causal=-9 * rng.random(),
            prior=-3 * rng.random(),
            own=-2 * rng.random(),
            first=-3 * rng.random(),
        )
        for _ in range(width)
    ]
    drafts.sort(key=lambda one: one.length_logp, reverse=True)
    drafts += [draft(rng.randint(1, 9), causal=-9 * rng.random(), evidence=rng.uniform(1, 5)) for _ in range(2)]
    drafts += [replace(drafts[-1], causal_logp=-9 * rng.random(), borrowed=True)]
    worth = [rng.random() for _ in drafts]
    return Drafted(drafts, [x > 0.8 for x in worth], worth, [rng.random() > 0.3 for _ in drafts])


@pytest.mark.parametrize("seed", range(5))
def test_the_draft_that_is_picked_is_the_one_that_the_engine_would_give(seed: int) -> None:
    rng = random.Random(seed)
    found = [drawn(rng, rng.randint(0, 8)) for _ in range(30)]
    calibration = Calibration(
        alpha=rng.random(),
        beta=rng.random(),
        gamma=rng.random(),
        lengths=5,
        copy_base=-2 * rng.random(),
        copy_gain=0.4,
        copy_square=0.1,
        copy_size=-0.3,
        first=rng.random(),
        other_base=-rng.random(),
        other_gain=0.3,
    )
    expected = []
    for one in found:
        allowed = [i for i, d in enumerate(one.drafts) if one.accepted[i] and (i < 5 or d.origin == "copy")]
        expected.append(max(allowed, key=lambda i: one.drafts[i].score(calibration), default=-1))
    table = Numbers.of(found)
    picked = table.pick(calibration)
    assert picked.tolist() == expected
    exact = [float(one.exact[i]) if i >= 0 else 0.0 for one, i in zip(found, expected, strict=True)]
    assert table.worth(table.exact, picked).tolist() == exact


def test_what_a_canvas_may_have_meant_belongs_to_it() -> None:
    likely, other = draft(4, causal=-3.0, prior=-0.5, own=-0.2), draft(6, causal=-3.0, prior=-0.9, own=-0.3)
    shorter, copy = draft(3, causal=-2.0, prior=-0.1, own=-0.3), draft(2, causal=-4.0, evidence=1.0)
    assert canvases([copy, shorter, other, likely]) == [0, 1, 1, 0]


def test_the_fit_finds_the_length_term_that_makes_answers_exact() -> None:
    short, long = (
        draft(1, causal=-2.0),
        draft(7, causal=-5.0, own=-0.1),
    )  # the sum prefers the short one, the mean the long one
    table = Numbers.of([Drafted([short, long], [False, True], [0.1, 1.0], [True, True])] * 3)
    assert table.pick(Calibration(alpha=0.0, beta=0.0)).tolist() == [0, 0, 0]
    assert table.pick(fit_judge(table, Calibration(lengths=2))).tolist() == [1, 1, 1]
    assert fit_judge(table, Calibration(lengths=1)).alpha == 0.0, "of equals the smallest"


def test_the_fit_learns_what_a_copy_is_worth() -> None:
    own, near, far = draft(2, causal=-3.0), draft(2, causal=-4.0, evidence=1.1), draft(2, causal=-4.0, evidence=4.5)
    trusted = Drafted([own, far], [False, True], [0.1, 1.0], [True, True])
    doubted = Drafted([own, near], [True, False], [1.0, 0.1], [True, True])
    table = Numbers.of([trusted, doubted] * 3)
    fitted = fit_judge(table, Calibration())
    assert table.pick(fitted).tolist() == [1, 0] * 3
    assert table.pick(Calibration(copies=0)).tolist() == [0, 0] * 3


def test_what_is_fitted_together_holds_for_other_tasks() -> None:
    rng = random.Random(3)
    truth = Calibration(
        alpha=1.0, beta=0.5, gamma=0.2, first=0.8, copy_base=-1.0, copy_gain=0.2, copy_square=0.3, copy_size=-1.0
    )

    def tasks(count: int) -> Numbers:
        found = []
        for _ in range(count):
            one = drawn(rng, 4)
            likely = [3 * d.score(truth) + rng.gauss(0, 1) for d in one.drafts]
            valid = [not d.borrowed for d in one.drafts]
            best = max((i for i, ok in enumerate(valid) if ok), key=likely.__getitem__)
            found.append(replace(one, exact=[i == best for i in range(len(likely))], accepted=valid))
        return Numbers.of(found)

    def exact(table: Numbers, c: Calibration) -> float:
        return float(table.worth(table.exact, table.pick(c)).mean())

    before = Calibration(alpha=1.0)
    fitted, other = fit_together(tasks(400), before), tasks(400)
    assert exact(other, fitted) > exact(other, before) + 0.1
    assert exact(other, fitted) > exact(other, truth) - 0.03
    assert fit_together(tasks(50), before) == before, "too few"


def test_the_fit_learns_what_a_copy_from_another_file_is_worth_by_itself() -> None:
    own, copy = draft(2, causal=-3.0), draft(2, causal=-4.0, evidence=3.0)
    other = replace(copy, borrowed=True)
    wrong = Drafted([own, copy], [True, False], [1.0, 0.1], [True, True])
    right = Drafted([own, other], [False, True], [0.1, 1.0], [True, True])
    table = Numbers.of([wrong, right] * 3)
    fitted = fit_judge(table, Calibration())
    assert table.pick(fitted).tolist() == [0, 1] * 3
    assert table.pick(replace(fitted, others=0)).tolist() == [0, 0] * 3
    alone = fit_judge(Numbers.of([wrong] * 3), Calibration(others=2))
    assert (alone.other_base, alone.other_gain, alone.others) == (alone.copy_base, alone.copy_gain, 2), (
        "the next best guess"
    )


def test_similarity_decides_between_equals() -> None:
    short, long = draft(1, causal=-2.0), draft(7, causal=-5.0)
    table = Numbers.of([Drafted([short, long], [False, False], [0.1, 0.9], [True, True])])
    assert table.pick(fit_judge(table, Calibration(lengths=2))).tolist() == [1]


def test_the_choice_is_the_most_exact_that_is_fast_enough() -> None:
    def choice(exact: float, ms: float, similarity: float = 0.5) -> Choice:
        return Choice(Calibration(), exact, 0.0, similarity, ms)

    slow, good, near, fast = choice(0.4, 30), choice(0.3, 10), choice(0.3, 9, 0.4), choice(0.1, 1)
    assert choose([slow, good, near, fast], 12) is good
    assert choose([slow, good, near, fast], 0.5) is fast
    assert choose([slow, good, near, fast], 50) is slow


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny untrained model on disk."""
    folder = tmp_path_factory.mktemp("model")
    tokenizer = Tokenizer.train([CODE], vocab_size=340)
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size, d_model=32, n_layers=1, n_heads=1, d_ff=32, context=96, max_hole=16
    )
    network = Network(config)
    network.initialise(torch.Generator().manual_seed(0))
    save_model(folder, network, tokenizer)
    return folder


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "m.py").write_text(CODE)
    return tmp_path / "pack"


def test_calibrating_writes_what_the_engine_reads(
    model: Path, source: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrate, "LENGTHS", (1, 3))
    arguments = ["--calibrate", "--model", str(model), "--source", str(source), "--n", "3", "--kinds", "rest"]
    assert main([*arguments, "--steps", "1,2", "--device", "cpu", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [(row["calibration"]["steps"], row["calibration"]["lengths"]) for row in result["grid"]] == [
        (1, 1), (1, 1), (1, 3), (1, 3), (2, 1), (2, 1), (2, 3), (2, 3),
    ]  # fmt: skip
    assert json.loads((model / FILE).read_text()) == result["chosen"]["calibration"]
    assert Calibration.load(model).lengths in (1, 3)
    assert set(Calibration.load(model).recall) == {"2", "4", "8"}, "a model that knows nothing learns from the file"
    (model / FILE).unlink()


def test_the_tokens_that_recall_is_fitted_to_are_those_of_the_holes(model: Path) -> None:
    denoiser = load_denoiser(model, device="cpu", dtype="float32")
    tokenizer = denoiser.tokenizer
    start = CODE.index("return total", 300)
    tasks = [Task(kind, "pack", "m.py", CODE, start, start + len("return total")) for kind in ("line", "lines")]
    found = places(Infiller(denoiser), tasks)
    row = tokenizer.encode("return total")
    assert len(found) == len(row) + 1, "one line only, and its end"
    assert found[-2].places[0] > 0, "every function returns its total"
    assert found[-2].right == found[-2].places
    prompt = prompt_of(tasks[0])
    layout = encode_context(
        tokenizer, prompt.prefix, prompt.suffix, language=prompt.language, filename=prompt.filename,
        context=denoiser.context, glue=denoiser.glue, reserve=denoiser.max_hole,
    )  # fmt: skip
    with torch.inference_mode():
        state = denoiser.encode(layout.ids)
        [(_, alone)] = drive(judge(tokenizer, state, [row], [tokenizer.eot], denoiser.device), denoiser)
    assert [one.log_p for one in found[:-1]] == pytest.approx(alone, abs=1e-4)


@pytest.mark.parametrize(
    ("recall", "words"),
    [
        ([1], "recall must be an object"),
        ({"two": 1.0}, "recall must have weights above 0 by length, not two"),
        ({"0": 1.0}, "not 0: 1.0"),
        ({"2": -1}, "not 2: -1"),
        ({"2": "much"}, "not 2: 'much'"),
    ],
)
def test_weights_of_recall_that_mean_nothing_are_named(recall: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Calibration(recall=recall)


def test_a_real_engine_is_measured_from_the_command_line(
    model: Path, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal, picture = tmp_path / "run.jsonl", tmp_path / "plot.png"
    arguments = ["--model", str(model), "--source", str(source), "--n", "2", "--kinds", "rest,lines", "--steps", "1,2"]
    arguments += ["--device", "cpu", "--bench", str(tmp_path), "--resume", str(journal), "--json"]
    assert main(arguments) == 2
    assert "HumanEval" in capsys.readouterr().err
    arguments[arguments.index("--bench") : arguments.index("--resume")] = []
    assert main([*arguments, "--no-bench", "--plot", str(picture)]) == 0
    first = json.loads(capsys.readouterr().out)
    systems = {cell["system"] for cell in first["cells"]}
    assert {"hone", "causal", "copy", "hone, true length", "verify 2", "remask 1"} <= systems
    assert all(cell["kept"]["value"] == 1 for cell in first["cells"] if "kept" in cell and "copy" not in cell["system"])
    assert picture.read_bytes().startswith(b"\x89PNG")
    lines = journal.read_text()
    assert main([*arguments, "--no-bench"]) == 0
    assert journal.read_text() == lines, "nothing is asked again"
    assert json.loads(capsys.readouterr().out)["cells"] == first["cells"]


def test_a_journal_of_another_model_is_refused(tmp_path: Path, source: Path, model: Path) -> None:
    journal = tmp_path / "run.jsonl"
    journal.write_text('{"model": "other"}\n')
    options = ["--model", str(model), "--source", str(source), "--resume", str(journal), "--quick", "--device", "cpu"]
    assert main(options) == 2
