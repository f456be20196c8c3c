"""The training command itself, small: it learns, stops, goes on exactly, and leaves folders that load."""

import csv
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from model.checkpoint import CheckpointError, load_denoiser, load_model, read_config, save_model
from model.config import SIZES
from model.network import Network
from model.optim import orthogonalise
from model.tokenizer import Tokenizer
from model.train import Run, Settings, main, train


def settings(data: Path, out: Path, steps: int, *, resume: bool = False) -> Settings:
    return Settings(
        size="nano", data=data, out=out, steps=steps, streams=2, canvas=64, own=1.0, device="cpu", resume=resume
    )


def test_it_learns(data: Path, tmp_path: Path) -> None:
    train(settings(data, tmp_path, 80))
    with (tmp_path / "train.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[-1]["stream"]) < float(rows[0]["stream"]) - 0.8
    assert float(rows[-1]["canvas"]) < float(rows[0]["canvas"]) - 0.3
    denoiser = load_denoiser(tmp_path / "average")
    assert denoiser.next_logits(denoiser.encode([70, 71])).isfinite().all()


def test_only_who_trains_edits_has_a_head_for_them(data: Path, tmp_path: Path) -> None:
    """An untrained one would be taken for a model that edits."""
    plain = settings(data, tmp_path / "plain", 1)
    train(plain)
    assert read_config(tmp_path / "plain" / "average").inserts == 0
    editing = replace(plain, edits=0.5, out=tmp_path / "edits", start=tmp_path / "plain" / "average")
    run = Run(editing)
    assert run.config.inserts > 0
    run.save()
    further = replace(plain, out=tmp_path / "further", start=tmp_path / "edits" / "average")
    assert Run(further).config.inserts > 0, "what was learnt is kept"


def test_a_model_without_pairs_is_trained_on_with_them(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At first they say nothing, so nothing is lost; then they learn."""
    plain = settings(data, tmp_path / "plain", 1)
    train(plain)
    monkeypatch.setitem(SIZES, "nano", replace(SIZES["nano"], pairs=512))
    further = replace(plain, steps=2, out=tmp_path / "further", start=tmp_path / "plain" / "average")
    run = Run(further)
    known, _ = load_model(tmp_path / "plain" / "average", device=torch.device("cpu"), dtype=run.network.shift.dtype)
    ids = torch.arange(70, 90)[None]
    assert torch.equal(run.network.embed(ids, ids + 1), known.embed(ids, ids + 1))
    train(further)
    learnt = load_denoiser(tmp_path / "further" / "average").network
    assert learnt.pair_embedding is not None
    assert learnt.pair_embedding.weight.any(dim=1).sum() > 100, "rows"


def test_stop_and_resume_is_bit_identical(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(settings(data, tmp_path / "whole", 12))
    # The same run, killed after six steps: the schedule belongs to twelve.
    monkeypatch.setattr("model.train.Run.done", property(lambda run: run.index >= 6))
    train(settings(data, tmp_path / "parts", 12))
    monkeypatch.undo()
    train(settings(data, tmp_path / "parts", 12, resume=True))
    steps = [int(row["step"]) for row in csv.DictReader((tmp_path / "parts" / "train.csv").read_text().splitlines())]
    assert steps == sorted(set(steps)), "no step is logged twice"
    whole, parts = (load_file(tmp_path / name / "state.safetensors") for name in ("whole", "parts"))
    assert int(whole["index"]) == int(parts["index"]) == 12
    for name, value in whole.items():
        assert torch.equal(value, parts[name]), name


def test_the_causal_objective_is_next_tokens_alone(data: Path, tmp_path: Path) -> None:
    causal = replace(settings(data, tmp_path, 3), own=0.0, objective="causal")
    run, other = Run(causal), Run(replace(causal, objective="canvas", out=tmp_path / "canvas"))
    ours, theirs = next(run.batches()), next(other.batches())
    assert torch.equal(ours.ids, theirs.ids), "the same streams"
    assert torch.equal(ours.weights, theirs.weights)
    assert (ours.canvases.ids.shape[1], theirs.canvases.ids.shape[1]) == (0, 64), "no canvas is made"
    with torch.no_grad():
        alone, _ = run.network(ours.ids, ours.canvases)
        beside, _ = other.network(theirs.ids, theirs.canvases)
    assert torch.allclose(alone.float(), beside.float(), atol=0.05), "streams do not see canvases"
    before = run.network.length_head.up.weight.detach().clone()
    for batch, _ in zip(run.batches(), range(3), strict=False):
        run.step(batch)
    assert torch.equal(before, run.network.length_head.up.weight)
    result = run.check()
    assert result["average.bits_per_byte"] > 0
    assert result["average.canvas"] == 0.0


def test_the_causal_objective_resumes_exactly(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def causal(out: str, *, resume: bool = False) -> Settings:
        return replace(settings(data, tmp_path / out, 6, resume=resume), own=0.0, objective="causal")

    train(causal("whole"))
    monkeypatch.setattr("model.train.Run.done", property(lambda run: run.index >= 3))
    train(causal("parts"))
    monkeypatch.undo()
    with pytest.raises(ValueError, match="a run with --objective causal"):
        train(replace(causal("parts", resume=True), objective="canvas"))
    train(causal("parts", resume=True))
    whole, parts = (load_file(tmp_path / name / "state.safetensors") for name in ("whole", "parts"))
    for name, value in whole.items():
        assert torch.equal(value, parts[name]), name


def test_two_processes_train_as_one(data: Path, tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "model.train",
        "--size=nano", f"--data={data}", f"--out={tmp_path}", "--steps=3", "--streams=1", "--canvas=32", "--device=cpu",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(load_file(tmp_path / "state.safetensors")["index"]) == 3


def test_bad_settings_are_named(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="size 'huge' is unknown: choose one of nano"):
        Settings(size="huge", data=data, out=tmp_path, steps=1)
    with pytest.raises(ValueError, match="either --minutes or --steps"):
        Settings(size="nano", data=data, out=tmp_path)
    with pytest.raises(ValueError, match="objective 'both' is unknown: choose one of canvas, causal"):
        Settings(size="nano", data=data, out=tmp_path, steps=1, objective="both")
    with pytest.raises(ValueError, match="leave --own and --edits at 0"):
        Settings(size="nano", data=data, out=tmp_path, steps=1, objective="causal", own=0.1)
    assert main(["--size=nano", "--steps=1", f"--data={tmp_path}/none", f"--out={tmp_path}/out"]) == 2
    assert "hone:" in capsys.readouterr().err


def test_a_run_of_another_size_is_not_resumed(data: Path, tmp_path: Path) -> None:
    train(settings(data, tmp_path, 1))
    with pytest.raises(ValueError, match="run of another size"):
        train(replace(settings(data, tmp_path, 2, resume=True), size="tiny"))


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finished")
    train(settings(data, out, 2))
    return out


def test_a_finished_run_is_left_alone(data: Path, finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in finished.glob("*.*")}
    assert train(settings(data, finished, 2, resume=True)) == {}
    assert "is finished after 2 steps: nothing to do" in capsys.readouterr().err
    with pytest.raises(ValueError, match="holds a run: --resume goes on with it"):
        train(settings(data, finished, 2))
    with pytest.raises(ValueError, match="holds no run to resume"):
        train(settings(data, finished / "new", 2, resume=True))
    assert {path: path.read_bytes() for path in finished.glob("*.*")} == before


@pytest.mark.parametrize(
    ("name", "value"),
    [("streams", 3), ("canvas", 32), ("seed", 2), ("own", 0.5), ("edits", 0.1), ("tasks", "fix"), ("clip", 2.0)],
)
def test_a_run_goes_on_as_it_was_begun(data: Path, finished: Path, name: str, value: object) -> None:
    changed: dict[str, Any] = {name: value}
    with pytest.raises(ValueError, match=f"run.json is a run with --{name} .*, not {value}: give that"):
        train(replace(settings(data, finished, 4, resume=True), **changed))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("run.json", b"{}", "is not what a run saves"),
        ("run.json", b"[]", "must hold an object"),
        ("run.json", b"", "is not JSON"),
        ("state.safetensors", b"", "cannot be read"),
        ("state.safetensors", b"\x08\0\0\0\0\0\0\0{}      ", "holds the state of another model"),
        ("train.csv", b"step,minutes\n\xff\xfe\n", "line 2 begins with no step"),
    ],
)
def test_a_damaged_run_is_named(
    data: Path, finished: Path, tmp_path: Path, name: str, content: bytes, said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    (out / name).write_bytes(content)
    given = ["--size=nano", "--steps=4", "--streams=2", "--canvas=64", "--own=1.0", "--device=cpu", "--resume"]
    assert main([*given, f"--data={data}", f"--out={out}"]) == 2
    told = capsys.readouterr().err
    assert f"hone: {out / name}" in told
    assert said in told
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    "given",
    [
        "steps=0", "steps=-1", "matrix-rate=0", "matrix-rate=nan", "other-rate=inf", "other-rate=-1", "weight-decay=-1",
        "weight-decay=nan", "warm=2", "average=1.5", "edits=-0.1", "clip=0", "tasks=", "tasks=,", "canvas=1000000000",
        "seed=-1", "workers=-1", "streams=0", "steps=many", "device=tpu",
    ],
)  # fmt: skip
def test_an_option_that_cannot_be_meant_is_one_line(
    tmp_path: Path, given: str, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = [] if given.startswith("steps") else ["--steps=1"]
    try:
        code: object = main([*steps, f"--{given}", f"--out={tmp_path / 'out'}"])
    except SystemExit as leaving:
        code = leaving.code
    told = capsys.readouterr().err
    assert code == 2
    assert f"--{given.split('=', maxsplit=1)[0]}" in told
    assert told.startswith("hone: ")
    assert told.count("\n") == 1


@pytest.mark.parametrize("minutes", ["nan", "0", "-1", "inf"])
def test_minutes_are_a_time(tmp_path: Path, minutes: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"--minutes={minutes}", f"--out={tmp_path / 'out'}"]) == 2
    assert "--minutes must be from 0.001 to" in capsys.readouterr().err


@pytest.mark.parametrize("out", ["file", "file/below", "/proc/none"])
def test_a_folder_that_cannot_be_written_is_named(
    data: Path, tmp_path: Path, out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["--size=nano", "--steps=1", f"--data={data}", f"--out={tmp_path / out}"]) == 2
    told = capsys.readouterr().err
    assert f"--out {tmp_path / out} cannot be written: " in told
    assert told.count("\n") == 1


def test_a_run_begins_with_the_weights_of_a_model(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = tmp_path / "first"
    train(settings(data, first, 4))
    begun = Run(replace(settings(data, tmp_path / "second", 1), start=first / "average"))
    trained, _ = load_model(first / "average", device=torch.device("cpu"), dtype=torch.bfloat16)
    for name, value in trained.named_parameters():
        assert torch.equal(begun.network.get_parameter(name), value), name
        assert torch.equal(begun.optimiser.masters[name], value.float()), name
    again = ["--size=nano", "--steps=1", f"--data={data}", f"--out={tmp_path}/out"]
    assert main([*again, f"--start={tmp_path}/none"]) == 2
    assert "none" in capsys.readouterr().err
    assert main([*again, f"--start={first}/average", "--size=tiny"]) == 2
    assert "another size" in capsys.readouterr().err


def test_momentum_is_made_orthogonal() -> None:
    g = torch.randn(3, 40, 64, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalise(g).float())
    assert values.min() > 0.5
    assert values.max() < 1.4


class TestCheckpoint:
    def test_round_trip(self, network: Network, tokenizer: Tokenizer, tmp_path: Path) -> None:
        save_model(tmp_path, network, tokenizer)
        loaded, _ = load_model(tmp_path, device=torch.device("cpu"), dtype=torch.float32)
        for (name, a), b in zip(network.named_parameters(), loaded.parameters(), strict=True):
            assert torch.equal(a.bfloat16().float(), b), name
        assert torch.equal(loaded.cos, network.cos)

    def test_shards(
        self, network: Network, tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("model.checkpoint.SHARD", 100_000)
        save_model(tmp_path, network, tokenizer)
        assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
        load_model(tmp_path, device=torch.device("cpu"), dtype=torch.float32)

    def test_what_is_wrong_is_said(self, network: Network, tokenizer: Tokenizer, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match=r"holds no config\.json"):
            load_denoiser(tmp_path)
        save_model(tmp_path, network, tokenizer)
        with pytest.raises(CheckpointError, match="device 'tpu9' is unknown"):
            load_denoiser(tmp_path, device="tpu9")
        with pytest.raises(CheckpointError, match="dtype 'int3' is unknown"):
            load_denoiser(tmp_path, dtype="int3")
        some = {n: p.detach() for n, p in network.named_parameters() if n != "shift"}
        save_model(tmp_path, network, tokenizer, some)
        with pytest.raises(CheckpointError, match=r"lacks the tensor .network\.shift. \(1 in all\)"):
            load_denoiser(tmp_path)
        save_model(tmp_path, network, tokenizer, {**some, "shift": torch.zeros(3)})
        with pytest.raises(CheckpointError, match=r"network\.shift. has the shape \[3\], not \[64\]"):
            load_denoiser(tmp_path)
        file = tmp_path / "model.safetensors"
        file.write_bytes(file.read_bytes()[:1000])
        with pytest.raises(CheckpointError, match=r"model.safetensors is cut off"):
            load_denoiser(tmp_path)

    def test_transformers_opens_it(self, network: Network, tokenizer: Tokenizer, tmp_path: Path) -> None:
        from transformers import AutoModel, AutoTokenizer

        from model.pretrained import HoneCanvasModel

        save_model(tmp_path / "ours", network, tokenizer)
        opened = AutoModel.from_pretrained(tmp_path / "ours", dtype=torch.float32)
        assert isinstance(opened, HoneCanvasModel)
        reference, _ = load_model(tmp_path / "ours", device=torch.device("cpu"), dtype=torch.float32)
        for (name, a), b in zip(reference.named_parameters(), opened.network.parameters(), strict=True):
            assert torch.equal(a, b), name
        opened.save_pretrained(tmp_path / "theirs")
        tokenizer.save(tmp_path / "theirs")
        load_model(tmp_path / "theirs", device=torch.device("cpu"), dtype=torch.float32)
        text = "def f(x):\n    return x\n"
        assert AutoTokenizer.from_pretrained(tmp_path / "ours")(text)["input_ids"] == tokenizer.encode(text)
