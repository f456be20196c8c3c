import builtins
import json
from pathlib import Path
from typing import Any

import pytest

from assistant import doctor
from assistant.cli import main
from assistant.config import Settings
from assistant.doctor import Check, examine
from tests.assistant.conftest import KnowAnswer


def by_name(flags: dict[str, Any]) -> dict[str, Check]:
    return {check.name: check for check in examine(flags)}


def test_all_is_well(know: KnowAnswer, capsys: pytest.CaptureFixture[str]) -> None:
    know(doctor.PROBE, "width * height")
    assert main(["doctor"]) == 0
    screen = capsys.readouterr().out
    assert "BROKEN" not in screen
    for name in ("python", "memory", "disk", "settings", "grammars", "torch", "device", "model", "answer"):
        assert f"  {name}" in screen
    assert "'width * height'" in screen


def test_json_is_one_object_per_line(know: KnowAnswer, capsys: pytest.CaptureFixture[str]) -> None:
    know(doctor.PROBE, "width * height")
    assert main(["doctor", "--json"]) == 0
    checks = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {check["name"] for check in checks} >= {"python", "torch", "model"}
    assert all(set(check) == {"name", "state", "found", "fix"} for check in checks)


def test_a_model_that_is_not_there_is_broken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--model", str(tmp_path)]) == 1
    screen = capsys.readouterr().out
    assert "BROKEN   model     " in screen
    assert f"-> see that {tmp_path} is a complete checkpoint" in screen


def test_a_damaged_model_is_broken(checkpoint: Path, tmp_path: Path) -> None:
    for file in checkpoint.iterdir():
        data = file.read_bytes()
        (tmp_path / file.name).write_bytes(data[: len(data) // 2] if file.suffix == ".safetensors" else data)
    check = by_name({"model": tmp_path})["model"]
    assert check.state == "broken"
    assert "damaged" in check.found


def test_damaged_calibration_is_broken(checkpoint: Path, tmp_path: Path) -> None:
    for file in checkpoint.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "calibration.json").write_text('{"alpha": ', encoding="utf-8")
    check = by_name({"model": tmp_path})["model"]
    assert check.state == "broken"
    assert "calibration.json is not JSON" in check.found


def test_bad_settings_are_broken_and_the_rest_is_looked_at(know: KnowAnswer, monkeypatch: pytest.MonkeyPatch) -> None:
    know(doctor.PROBE, "width * height")
    monkeypatch.setenv("HONE_STEPS", "none")
    checks = by_name({})
    assert checks["settings"].state == "broken"
    assert "HONE_STEPS" in checks["settings"].found
    assert checks["model"].state == "ok"


def test_a_device_that_is_not_there_is_broken() -> None:
    check = doctor.check_device(Settings(device="cuda:7"))
    assert check.state == "broken"
    assert "cuda:7 is not there; there is cpu" in check.found


@pytest.mark.parametrize("missing", ["torch", "infill.languages"])
def test_what_does_not_import_is_broken_and_has_a_command(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = builtins.__import__

    def refuse(name: str, *rest: Any) -> Any:
        if name == missing:
            raise ImportError(f"No module named {name!r}")
        return genuine(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    broken = [check for check in examine({}) if check.state == "broken"]
    assert any(f"No module named {missing!r}" in check.found and "pip install" in (check.fix or "") for check in broken)


def test_little_memory_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LEAST_MEMORY", 2**60)
    assert doctor.check_memory().state == "warning"
    monkeypatch.setattr(doctor, "LEAST_DISK", 2**60)
    assert doctor.check_disk().state == "warning"


def test_who_follows_instructions_is_told(instructed: Path, checkpoint: Path) -> None:
    assert doctor.check_instructions(Settings(model=checkpoint)).found.startswith("no instruction in free words")
    for settings in (Settings(model=instructed), Settings(model=checkpoint, edit_model=instructed)):
        check = doctor.check_instructions(settings)
        assert (check.state, check.fix) == ("ok", None)
        assert check.found.startswith(f"{instructed} follows instructions")


def test_a_published_model_for_edits_is_looked_at(instructed: Path, checkpoint: Path) -> None:
    check = doctor.check_edits(Settings(model=checkpoint, edit_model=instructed))
    assert check.state == "ok"
    assert f"{instructed}, a model of its own" in check.found
