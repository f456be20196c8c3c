"""What ``hone eval --edits`` counts, and that it runs on a real network."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from infill import codemods
from infill.edit import Change, EditCalibration, Editor, Looked
from infill.evaluate import main
from infill.repairs import (
    GAINS,
    Answer,
    Repair,
    annotations,
    answer,
    make_repairs,
    quixbugs,
    tally,
    threshold,
    weighed,
)
from infill.tasks import Source
from model.checkpoint import save_model
from model.config import SIZES, ModelConfig
from model.damage.kinds import KINDS
from model.network import Network
from tests.fakes import small_tokenizer
from tests.mender import Mender

SOURCE = "import os\n\n\ndef add(a, b):\n    total = a + b\n    return total\n\n\ndef sub(a, b):\n    return a - b\n"
RIGHT = Repair("fix", "lost-return", "p", SOURCE, 0, len(SOURCE), SOURCE)
WRONG = Repair("fix", "lost-return", "p", SOURCE.replace("return total", "total"), 0, len(SOURCE), SOURCE)


def given(repair: Repair, *changes: Change) -> Answer:
    return Answer(repair, changes, 1.0, 3, 20, 0.5)


def mend(gain: float) -> Answer:
    at = WRONG.text.index("    total\n") + 4
    return given(WRONG, Change(at, at, "return ", gain))


def spoil(gain: float) -> Answer:
    at = SOURCE.index("total")
    return given(RIGHT, Change(at, at + 5, "sum", gain))


def test_blocks_are_damaged_and_come_with_right_ones() -> None:
    made = list(make_repairs([Source("p", "a.py", SOURCE)], ["lost-return", "confused-name", "f-string"][:2], 3))
    assert made == list(make_repairs([Source("p", "a.py", SOURCE)], ["lost-return", "confused-name"], 3))
    assert len(made) == 12
    for wrong, right in zip(made[::2], made[1::2], strict=True):
        assert not wrong.clean
        assert right.clean
        assert wrong.right == right.text == SOURCE
        # All that was damaged lies inside of the block.
        assert wrong.text[: wrong.start] + right.text[right.start : right.end] + wrong.text[wrong.end :] == SOURCE


def test_answers_are_counted_at_any_threshold() -> None:
    answers = [mend(4.0), mend(9.0), spoil(6.0), given(RIGHT), given(WRONG)]
    low, high = tally(answers, 0.0), tally(answers, 8.0)
    assert (low.blocks, low.exact, low.changed, low.parses) == (5, 3, 3, 5)
    assert (high.exact, high.changed) == (3, 1), "two right ones that were left alone, one mended"
    assert low.extra == [0, 0, 1]


def test_the_threshold_leaves_right_code_alone() -> None:
    answers = [mend(gain) for gain in (4.0, 9.0, 9.0)] + [spoil(6.0)] + [given(RIGHT)] * 20
    assert threshold(answers, 0.0) == 7.0
    assert threshold(answers, 0.05) == GAINS[0]
    assert threshold([spoil(1000.0)], 0.0) == GAINS[-1]


def test_what_speaks_for_right_proposals_gains_weight() -> None:
    rng = np.random.default_rng(1)
    answers: list[Answer] = []
    at = WRONG.text.index("total\n", WRONG.text.index("a + b"))
    for _ in range(300):
        causal, reading = rng.normal(size=2) * 4
        right = causal + 0.5 * reading + rng.logistic() > 0
        new = "return total" if right else "total()"
        looked = Looked(at, at + 5, new, causal, reading, rng.normal())
        answers.append(replace(given(WRONG), looked=(looked,)))
    found = weighed(answers)
    assert 0.35 < found.reading < 0.65
    assert abs(found.fill) < 0.5
    assert weighed([given(WRONG)]) == EditCalibration(), "nothing was looked at"
    wrong_way = [replace(one, looked=tuple(x._replace(causal=-x.causal) for x in one.looked)) for one in answers]
    assert weighed(wrong_way) == EditCalibration()


def test_both_ways_are_asked() -> None:
    editor = Editor(Mender({"    total\n": "    return total\n"}))
    for mode in ("canvas", "causal"):
        found = answer(editor, WRONG, "fix", mode)
        assert found.text(0.0) == SOURCE, mode
        assert found.passes > 0


def test_quixbugs_has_forty_programs() -> None:
    programs = list(quixbugs(Path(__file__).resolve().parents[2] / "benchmarks" / "data"))
    assert len(programs) == 40
    assert all(not one.clean and one.tests for one in programs)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A network that knows nothing, and can edit."""
    tokenizer = small_tokenizer()
    network = Network(ModelConfig(**{**SIZES["nano"].to_dict(), "vocab_size": tokenizer.vocab_size}))
    network.initialise(torch.Generator().manual_seed(1))
    save_model(tmp_path / "model", network, tokenizer)
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "a.py").write_text(SOURCE)
    return tmp_path


def test_it_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--edits", "--model", f"{folder}/model", "--source", f"{folder}/code", "--n", "1"]
    kinds = ["--kinds", "lost-return,annotate"]
    assert main([*asked, *kinds, "--json", "--no-bench"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["groups"]["fix"]) == {"canvas", "causal"}
    assert found["groups"]["fix"]["canvas"]["blocks"] == 1
    assert main([*asked, *kinds, "--no-bench"]) == 0
    assert "lost-return" in capsys.readouterr().out
    assert main([*asked, *kinds, "--json", "--no-bench", "--policies", "causal"]) == 0
    assert set(json.loads(capsys.readouterr().out)["groups"]["fix"]) == {"causal"}
    assert main([*asked, *kinds, "--policies", "entropy"]) == 2
    assert "there are canvas, causal, not entropy" in capsys.readouterr().err
    assert main([*asked, *kinds, "--calibrate"]) == 0
    assert set(EditCalibration.load(folder / "model").least_gain) <= {"fix", "annotate"}
    assert main([*asked, "--context"]) == 2


def test_thresholds_are_read_strictly(tmp_path: Path) -> None:
    EditCalibration({"fix": 3.5}, 0.5, 1.5).save(tmp_path)
    read = EditCalibration.load(tmp_path)
    assert (read.reading, read.fill) == (0.5, 1.5)
    assert read.of("fix") == read.of("lost-return") == 3.5
    assert read.of("annotate") == EditCalibration().of("annotate")
    assert KINDS["lost-return"].group == "fix"
    for wrong in (
        "no",
        "[]",
        '{"least_gain": {"fix": "much"}}',
        '{"least_gain": {"fix": NaN}}',
        '{"more": {}}',
        '{"least_gain": {}, "fill": "x"}',
    ):
        (tmp_path / "edits.json").write_text(wrong)
        with pytest.raises(ValueError, match=r"edits\.json"):
            EditCalibration.load(tmp_path)


def test_annotations_are_counted_one_by_one() -> None:
    bare = "def f(a, b, c):\n    return a\n"
    right = "def f(a: int, b: str, c) -> int:\n    return a\n"
    repair = Repair("annotate", "missing-annotations", "p", bare, 0, len(bare), right)
    made = "def f(a: int, b: bytes, c: int):\n    return a\n"
    changes = [Change(start, end, new, 0.7) for start, end, new in codemods.edits(bare, made)]
    assert annotations([Answer(repair, tuple(changes), 1.0, 1, 3, 0.0)]) == {"missing": 3, "made": 2, "same": 1}
    assert annotations([Answer(repair, (), 1.0, 1, 3, 0.0)]) == {"missing": 3, "made": 0, "same": 0}
