"""`hone model bench`, and what `hone doctor` tells of a published model."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from assistant import demo, modelbench, modelcommand
from assistant.cli import main
from assistant.demo import Shown
from assistant.modelbench import Row, agreement
from tests.assistant.conftest import KnowAnswer
from tests.published import make


def row(hole: str, keeps: bool | None, text: str | None) -> Row:
    return Row(hole, keeps, 1.0, 1, 1, 1.0, text, "")


def test_agreement_counts_the_holes_that_got_the_same_text_both_ways() -> None:
    rows = [
        row("a", True, "x"), row("a", False, "x"),
        row("b", True, "x"), row("b", False, "y"),
        row("c", True, None), row("c", False, None),
        row("d", True, None), row("d", False, "x"),
        row("e", None, "x"),
    ]  # fmt: skip
    assert agreement(rows) == (2, 4)


def test_the_embedded_model_is_measured_one_way(
    know: KnowAnswer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from assistant import service

    denoiser = know("n = len(", "values)")
    monkeypatch.setattr(modelbench, "open_infiller", service.open_infiller)
    file = tmp_path / "a.py"
    file.write_text("n = len(<CURSOR>\n", encoding="utf-8")
    monkeypatch.setattr(modelbench, "SHOWN", (Shown(file, "a hole", one_line=True),))
    assert main(["model", "bench", "--rounds", "2", "--json"]) == 0
    first, last = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (first["hole"], first["keeps"], first["text"]) == ("a hole", None, "values)")
    assert first["tokens"] == len(denoiser.tokenizer.encode("values)"))
    assert first["tokens_per_s"] == pytest.approx(1000 * first["tokens"] / first["ms"], rel=0.1)
    assert last["of"] == 0


def test_a_published_model_is_measured_both_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make(tmp_path, "a2d-qwen2", max_position_embeddings=1024)
    monkeypatch.setattr(modelbench, "SHOWN", tuple(replace(one, max_tokens=4) for one in demo.SHOWN[:2]))
    main(["model", "bench", str(path), "--rounds", "1", "--json", "--dtype", "float32"])
    *rows, last = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert [one["keeps"] for one in rows] == [True, False] * 2
    assert last["of"] == 2
    assert all(one["passes"] > 0 for one in rows)


def test_what_takes_long_gets_fewer_rounds(
    know: KnowAnswer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from assistant import service

    denoiser = know("n = len(", "values)")
    monkeypatch.setattr(modelbench, "open_infiller", service.open_infiller)
    file = tmp_path / "a.py"
    file.write_text("n = len(<CURSOR>\n", encoding="utf-8")
    monkeypatch.setattr(modelbench, "SHOWN", (Shown(file, "a hole", one_line=True),))
    passes = []
    for patience in (60.0, 0.0):
        monkeypatch.setattr(modelbench, "PATIENCE_S", patience)
        before = len(denoiser.batches)
        assert main(["model", "bench", "--rounds", "3"]) == 0
        passes.append(len(denoiser.batches) - before)
    assert passes[0] > passes[1]
    assert "hone: a hole: a.py" in capsys.readouterr().err


@pytest.mark.parametrize("rounds", ["0", "-1", "two", "10000", "1.5"])
def test_rounds_are_a_number(rounds: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", "bench", "--rounds", rounds]) == 2
    assert "--rounds must be a whole number from 1 to 1000" in capsys.readouterr().err


def test_doctor_says_what_a_published_model_is_and_needs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = make(tmp_path, "dreamon", max_position_embeddings=1024)
    (path / "modeling_dream.py").write_text("raise SystemExit", encoding="utf-8")
    assert main(["doctor", "--model", str(path), "--json"]) == 0
    found = {one["name"]: one for one in map(json.loads, capsys.readouterr().out.splitlines())}
    assert found["weights"]["state"] == "ok"
    assert found["weights"]["found"].startswith("DreamOn, ")
    assert "GiB as bfloat16" in found["weights"]["found"]
    assert "modeling_dream.py beside it: never run" in found["weights"]["found"]
    assert main(["doctor", "--json"]) == 0
    assert "weights" not in {json.loads(line)["name"] for line in capsys.readouterr().out.splitlines()}


def test_a_question_is_asked_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    class Terminal:
        def __init__(self, typed: str) -> None:
            self.typed = typed

        def isatty(self) -> bool:
            return True

        def readline(self) -> str:
            return self.typed

    for typed, meant in (("y\n", True), ("Yes\n", True), ("\n", False), ("", False), ("no\n", False)):
        monkeypatch.setattr("sys.stdin", Terminal(typed))
        assert modelcommand._agreed("really?", "--yes") is meant
        assert capsys.readouterr().err == "really? [y/N] "
