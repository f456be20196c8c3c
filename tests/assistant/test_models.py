"""Which folder fills holes, and which one edits."""

import json
from pathlib import Path

import pytest

from assistant import models
from assistant.checkpoints import follows
from assistant.cli import main
from assistant.config import Settings, load_settings
from assistant.errors import SettingError
from assistant.models import EMBEDDED, EMBEDDED_EDITS, can_edit, edit_folder, for_edits, tasks_of
from assistant.types import TASKS
from model.checkpoint import save_model
from model.config import SIZES, ModelConfig
from model.network import Network
from model.published.kind import is_published
from tests.fakes import small_tokenizer
from tests.published import make


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``holes`` cannot edit, ``edits`` and ``both`` can; neither is embedded."""
    for name, inserts in (("holes", 0), ("edits", 8), ("both", 8)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"inserts": inserts}), encoding="utf-8")
    monkeypatch.setattr(models, "EMBEDDED", tmp_path / "holes")
    monkeypatch.setattr(models, "EMBEDDED_EDITS", tmp_path / "none")
    return tmp_path


def test_without_another_one_it_is_the_same(folders: Path) -> None:
    settings = Settings()
    assert edit_folder(settings) is None
    assert for_edits(settings) is settings


def test_the_embedded_one_for_edits_stands_in_where_the_model_cannot(
    folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "EMBEDDED_EDITS", folders / "edits")
    assert edit_folder(Settings()) == folders / "edits"
    assert for_edits(Settings(n=3)) == Settings(n=3, model=folders / "edits")
    assert edit_folder(Settings(model=folders / "both")) is None, "what can edit does so itself"
    assert edit_folder(Settings(model=folders / "holes")) == folders / "edits"


def test_what_is_asked_for_comes_first(folders: Path) -> None:
    assert edit_folder(Settings(model=folders / "both", edit_model=folders / "edits")) == folders / "edits"
    assert edit_folder(Settings(model=folders / "both", edit_model=folders / "both")) is None
    assert edit_folder(Settings(edit_model=folders / "holes")) is None


@pytest.mark.parametrize("text", ["", "[]", '{"inserts": "8"}', '{"inserts": 0}', "{}", "\xff"])
def test_a_folder_that_says_nothing_cannot_edit(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text, encoding="latin-1")
    assert not can_edit(tmp_path)
    assert not can_edit(tmp_path / "none")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"least_gain": {"rename": 1, "fix": 2, "mend": 3}, "fill": 1}', ("fix", "rename")),
        ('{"least_gain": {}}', TASKS),
        ("{}", TASKS),
        ("no", TASKS),
        ("[]", TASKS),
        ('{"least_gain": 1}', TASKS),
        (None, TASKS),
    ],
)
def test_a_folder_says_what_it_was_trained_for(folders: Path, text: str | None, expected: tuple[str, ...]) -> None:
    if text is not None:
        (folders / "edits" / "edits.json").write_text(text)
    assert tasks_of(folders / "edits") == expected
    assert tasks_of(folders / "holes") == ()


def test_a_folder_that_fills_holes_and_knows_how_likely_it_is_right_annotates(folders: Path) -> None:
    sure = '{"chance": {"constant": 0.1}}'
    for text, expected in ((sure, ("annotate",)), ('{"chance": {}}', ()), ("no", ()), ("[]", ())):
        (folders / "holes" / "calibration.json").write_text(text)
        assert tasks_of(folders / "holes") == expected
    (folders / "edits" / "edits.json").write_text('{"least_gain": {"modernise": 1}}')
    (folders / "edits" / "calibration.json").write_text(sure)
    assert tasks_of(folders / "edits") == ("modernise", "annotate")
    (folders / "holes" / "config.json").write_text('{"model_type": "Dream"}')
    (folders / "holes" / "calibration.json").write_text(sure)
    assert tasks_of(folders / "holes") == ()


def test_the_embedded_models() -> None:
    assert (tasks_of(EMBEDDED), tasks_of(EMBEDDED_EDITS)) == (("annotate",), ("modernise",))


def test_it_is_a_setting(folders: Path, tmp_path: Path) -> None:
    env = {"XDG_CONFIG_HOME": str(tmp_path), "HONE_EDIT_MODEL": str(folders / "edits")}
    assert load_settings(env=env).edit_model == folders / "edits"
    assert load_settings({"edit_model": str(folders / "both")}, env=env).edit_model == folders / "both"
    with pytest.raises(SettingError, match="HONE_EDIT_MODEL: edit_model must be the folder of a checkpoint"):
        load_settings(env=env | {"HONE_EDIT_MODEL": str(folders / "none")})


def test_doctor_says_who_edits(folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tokenizer = small_tokenizer()
    for name, inserts in (("no", 0), ("yes", 4)):
        config = ModelConfig(**SIZES["nano"].to_dict() | {"vocab_size": tokenizer.vocab_size, "inserts": inserts})
        save_model(tmp_path / name, Network(config), tokenizer)
    model = ["doctor", "--model", str(tmp_path / "no")]
    assert main(model) == 0
    assert (
        "was not trained to edit: `hone fix` mends syntax errors and misspelt names by rule" in capsys.readouterr().out
    )
    assert main([*model, "--edit-model", str(tmp_path / "yes")]) == 0
    assert f"ok       edits     {tmp_path / 'yes'}, a model of its own; fix: " in capsys.readouterr().out
    assert main([*model, "--edit-model", str(folders / "edits")]) == 1
    assert "BROKEN   edits" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("family", "published", "instruct"),
    [("llada", True, True), ("a2d-qwen3", True, True), ("dreamon", True, False), ("mdlm", True, False)],
)
def test_who_follows_instructions_is_told_by_the_config(
    tmp_path: Path, family: str, published: bool, instruct: bool
) -> None:
    folder = make(tmp_path, family)
    (folder / "model.safetensors").unlink()
    assert (is_published(folder), follows(folder)) == (published, instruct)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"model_type": "hone-canvas"}', '{"model_type": "gpt2"}', "\xff"])
def test_nobody_else_follows(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text, encoding="latin-1")
    assert is_published(tmp_path) == ("gpt2" in text)
    assert not follows(tmp_path)
    assert not is_published(tmp_path / "none")
    assert not follows(tmp_path / "none")
