"""The model card holds what was measured, and the folder that ships holds one model."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
import torch

from model.checkpoint import load_model, save_model
from model.config import ModelConfig
from model.network import Network
from model.tokenizer import Tokenizer

ROOT = Path(__file__).parents[2]


def script(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A training run's folder, an evaluation and a corpus report, each as its command leaves it."""
    folder = tmp_path / "run"
    tokenizer = Tokenizer.train(["x = 1\n"], vocab_size=330)
    network = Network(ModelConfig(vocab_size=tokenizer.vocab_size, d_model=32, n_layers=1, n_heads=1, d_ff=32))
    network.initialise(torch.Generator().manual_seed(0))
    save_model(folder / "average", network, tokenizer)
    head = "step,minutes,tokens,average.stream,average.canvas,average.bits_per_byte"
    (folder / "check.csv").write_text(f"{head}\n318,11.0,1302528,4.3907,6.0326,1.6313\n")
    settings = {"size": "tiny", "minutes": 100.0, "steps": None, "streams": 8, "canvas": 256, "own": 0.15, "decay": 0.3}
    settings |= {"matrix_rate": 0.02, "other_rate": 0.003}
    progress = {"index": 318, "seconds": 660.0, "tokens": 1302528, "final": True}
    (folder / "run.json").write_text(json.dumps(progress | {"settings": settings, "model": {}}))
    rate = {"value": 0.125, "error": 0.015, "n": 500}
    cell = {"kind": "rest", "system": "hone", "n": 500, "exact": rate, "first_line": rate, "similarity": rate}
    cell |= {"valid_raw": rate, "kept": rate, "empty": rate, "length_error": 2.0, "ms_median": 9.5, "steps": 1.0}
    facts = {"device": "cpu", "dtype": "bfloat16", "threads": 2, "machine": "x86_64", "where": "data/test"}
    (tmp_path / "eval.json").write_text(json.dumps(facts | {"cells": [cell], "held_against": []}))
    package = {"name": "click", "version": "8.5.1", "licence": "BSD-3-Clause", "files": 17, "bytes": 440000}
    stages = {"train": {"files": 10, "bytes": 5_000_000, "tokens": 1_400_000}}
    report = {
        "stages": stages,
        "rejected": {"long lines": {"files": 3, "bytes": 900}},
        "packages": [package | {"split": "valid"}],
    }
    (tmp_path / "report.json").write_text(json.dumps(report))
    return folder


def ship(run: Path, to: Path) -> str:
    main = script("docs/model_card.py").main
    options = {"run": run, "evaluation": run.parent / "eval.json", "corpus": run.parent / "report.json", "to": to}
    assert main([f"--{name}={value}" for name, value in options.items()]) == 0
    return (to / "README.md").read_text()


def test_it_says_what_was_measured(run: Path, tmp_path: Path) -> None:
    card = ship(run, tmp_path / "hone-test")
    for fact in (
        "# hone-test",
        "12.5 ± 1.5",
        "4.3907",
        "1.3 M tokens of stream",
        "0.18 hours",
        "8.5.1",
        "BSD-3-Clause",
    ):
        assert fact in card
    assert "--size tiny --minutes 100.0 --streams 8" in card


def test_an_older_model_leaves_nothing_behind(run: Path, tmp_path: Path) -> None:
    to = tmp_path / "hone-test"
    to.mkdir()
    (to / "model-00001-of-00002.safetensors").write_bytes(b"old")
    ship(run, to)
    assert [path.name for path in to.glob("*.safetensors*")] == ["model.safetensors"]
    load_model(to, device=torch.device("cpu"), dtype=torch.float32)


def test_the_curve_finds_the_law_it_was_drawn_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    curve = script("benchmarks/learning_curve.py")
    law = curve.Law(1.0, 60.0, 0.25)
    tokens = torch.tensor([1e6, 2e6, 4e6, 8e6, 16e6]).numpy()
    rows = [f"{int(t)},1,{t:.0f},{n:.6f},{n + 1:.6f}" for t, n in zip(tokens, law(tokens), strict=True)]
    (tmp_path / "check.csv").write_text("step,minutes,tokens,average.stream,average.canvas\n" + "\n".join(rows))
    assert curve.main([str(tmp_path), "--plot", str(tmp_path / "curve.png")]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])["average.stream"]
    assert abs(result["100x"] - float(law(tokens[-1:] * 100)[0])) < 0.05
    assert abs(result["missed_last_by"]) < 0.02
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="at least 3 checks"):
        curve.fit(tokens[:2], law(tokens[:2]))
