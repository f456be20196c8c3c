"""Models on this machine: names, records, removal; and the one line of the settings file that chooses one."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from assistant import __version__, runtime, store
from assistant.cli import main
from assistant.config import EMBEDDED_FOLDER, config_path, load_settings
from assistant.errors import ModelError
from assistant.runtime import Endpoint
from assistant.setting import changed
from assistant.store import Piece, Record
from tests.published import make

ROOT = Path(__file__).resolve().parents[2]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def models(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty store."""
    monkeypatch.setenv("HONE_MODELS", str(home / "models"))
    return home / "models"


def put(name: str, source: Path) -> Path:
    """What ``source`` holds becomes an installed model."""
    gathered = store.partial(name)
    pieces = []
    for path in sorted(source.iterdir()):
        (gathered / path.name).write_bytes(path.read_bytes())
        pieces.append(Piece(path.name, path.stat().st_size, store.sha256(path)))
    return store.install(name, Record("owner/tiny", COMMIT, "hone", 1000, "mit", None, tuple(pieces)))


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_an_installed_model_is_listed_found_and_used_by_name(
    models: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = put("tiny", checkpoint)
    assert path == models / "tiny"
    assert load_settings({"model": "tiny"}).model == path
    assert load_settings({"model": "TINY"}).model == path
    assert main(["model", "use", "tiny"]) == 0
    assert "tiny is used: " in capsys.readouterr().out
    assert load_settings().model == path
    assert main(["model", "list", "--json"]) == 0
    rows = {row["name"]: row for row in lines(capsys)}
    assert rows["tiny"]["in_use"]
    assert rows["tiny"]["from"] == f"owner/tiny@{COMMIT}"
    assert not rows["embedded"]["in_use"]
    assert not rows["dreamon-7b"]["installed"]
    assert main(["model", "use", "embedded"]) == 0
    assert load_settings().model == EMBEDDED_FOLDER


def test_the_list_marks_what_is_in_use(models: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put("tiny", checkpoint)
    assert main(["model", "list"]) == 0
    screen = capsys.readouterr().out.splitlines()
    assert screen[0].split() == ["*", "embedded", "apache-2.0"]
    assert screen[1].split()[0] == "tiny"
    assert any("Dream-org/DreamOn-v0-7B" in line for line in screen)


def test_the_list_loads_nothing_heavy(models: Path, checkpoint: Path) -> None:
    put("tiny", checkpoint)
    code = (
        "import sys; from assistant.cli import main; code = main(['model', 'list', '--json']);"
        "print(code, [name for name in ('torch', 'huggingface_hub', 'rich', 'httpx') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"


def test_a_folder_elsewhere_can_be_used(
    models: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["model", "use", str(checkpoint)]) == 0
    assert load_settings().model == checkpoint.resolve()
    capsys.readouterr()
    assert main(["model", "list", "--json"]) == 0
    assert {row["name"]: row["in_use"] for row in lines(capsys)}[str(checkpoint)] is True
    put("tiny", checkpoint)
    (tmp_path / "tiny").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_settings({"model": "tiny"}).model == models / "tiny", "an installed model comes first"
    assert load_settings({"model": "./tiny"}).model == Path("tiny")


def test_what_cannot_be_opened_is_not_used(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    assert main(["model", "use", str(tmp_path)]) == 2
    assert "model_type is None" in capsys.readouterr().err
    assert not config_path({"XDG_CONFIG_HOME": str(tmp_path)}).exists()
    assert main(["model", "use", "dreamon-7b"]) == 2
    assert "`hone model pull dreamon-7b` fetches it" in capsys.readouterr().err
    assert load_settings().model is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", 'model = "m"\n'),
        ("# mine\nn = 2", '# mine\nn = 2\nmodel = "m"\n'),
        ("n = 2\r\nseed = 1\r\n", 'n = 2\r\nseed = 1\r\nmodel = "m"\r\n'),
        ('model="old"  # why\nn=2\n', 'model="m"  # why\nn=2\n'),
        ("n = 2\n  model  =\t'o\\ld'\r\nseed = 1", 'n = 2\n  model  =\t"m"\r\nseed = 1'),
        ('edit_model = "e"\n', 'edit_model = "e"\nmodel = "m"\n'),
        ('exclude = [\n  "a", # model = "no"\n]\n', 'exclude = [\n  "a", # model = "no"\n]\nmodel = "m"\n'),
    ],
)
def test_one_line_of_the_settings_changes_and_nothing_else(before: str, after: str) -> None:
    assert changed(before, "model", "m") == after
    assert tomllib.loads(after) == tomllib.loads(before) | {"model": "m"}
    assert changed(after, "model", "m") == after


@pytest.mark.parametrize("before", ['model = """\nold"""\n', 'exclude = ["""\nmodel = "x"\n"""]\n', "[a]\nb = 1\n"])
def test_settings_that_would_change_elsewhere_are_left_alone(before: str) -> None:
    with pytest.raises(ValueError, match="model does not stand on a line of its own"):
        changed(before, "model", "m")


def test_the_settings_file_keeps_its_bytes_and_its_mode(
    models: Path, checkpoint: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = home / ".config" / "hone" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_bytes("# ünï\r\nbudget_ms = 300\r\n".encode())
    file.chmod(0o640)
    put("tiny", checkpoint)
    assert main(["model", "use", "tiny"]) == 0
    assert file.read_bytes() == '# ünï\r\nbudget_ms = 300\r\nmodel = "tiny"\r\n'.encode()
    assert file.stat().st_mode & 0o777 == 0o640
    assert main(["model", "use", "embedded"]) == 0
    assert file.read_bytes() == '# ünï\r\nbudget_ms = 300\r\nmodel = "embedded"\r\n'.encode()
    file.write_text("[table]\na = 1\n", encoding="utf-8")
    assert main(["model", "use", "tiny"]) == 2
    assert file.read_text(encoding="utf-8") == "[table]\na = 1\n"
    assert 'write it by hand: model = "tiny"' in capsys.readouterr().err


def test_what_comes_before_the_settings_or_holds_another_model_is_told(
    models: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put("tiny", checkpoint)
    assert main(["model", "use", "tiny"]) == 0
    assert capsys.readouterr().err == ""
    daemon = Endpoint(version=__version__, pid=1, started=0.0, token="t", model=str(checkpoint))
    monkeypatch.setattr(runtime, "find", lambda: daemon)
    assert main(["model", "use", "tiny"]) == 0
    assert "`hone serve stop` ends it" in capsys.readouterr().err
    assert main(["model", "use", "embedded"]) == 0
    assert f"it holds {checkpoint}, not the embedded model" in capsys.readouterr().err
    monkeypatch.setattr(runtime, "find", lambda: Endpoint(version=__version__, pid=1, started=0.0, token="t"))
    assert main(["model", "use", "embedded"]) == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(runtime, "find", lambda: None)
    monkeypatch.setenv("HONE_MODEL", str(checkpoint))
    assert main(["model", "use", "tiny"]) == 0
    assert f"HONE_MODEL={checkpoint} in the environment comes before" in capsys.readouterr().err


def test_a_model_is_removed_and_nothing_else(
    models: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put("tiny", checkpoint)
    put("other", checkpoint)
    assert main(["model", "remove", "tiny"]) == 2
    assert "--yes removes without asking" in capsys.readouterr().err
    assert main(["model", "use", "tiny"]) == 0
    assert main(["model", "remove", "tiny", "--yes"]) == 2
    assert "tiny is in use (model, " in capsys.readouterr().err
    assert (models / "tiny").is_dir()
    assert main(["model", "use", "embedded"]) == 0
    assert main(["model", "remove", "tiny", "--yes"]) == 0
    assert sorted(path.name for path in models.iterdir()) == ["other"]
    assert checkpoint.is_dir()


def test_nobody_is_asked_about_a_model_that_is_not_there(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, said in (("tiny", "no model 'tiny' is installed"), ("./tiny", "'./tiny' is not the name of a model")):
        assert main(["model", "remove", name]) == 2
        assert said in capsys.readouterr().err
    assert not models.exists()


@pytest.mark.parametrize(
    "name", ["..", ".", "", "../tiny", "a/b", "/etc", "a\\b", ".hidden", "a.partial", "tiny\n", "a."]
)
def test_names_lead_nowhere_else(models: Path, checkpoint: Path, name: str) -> None:
    put("tiny", checkpoint)
    assert store.find(name) is None
    with pytest.raises(ModelError, match="is not the name of a model"):
        store.remove(name)
    assert store.find("tiny") == models / "tiny"


def test_a_link_in_the_store_is_no_model(models: Path, checkpoint: Path) -> None:
    models.mkdir()
    (models / "link").symlink_to(checkpoint)
    assert store.find("link") is None
    with pytest.raises(ModelError, match="no model 'link' is installed"):
        store.remove("link")
    assert list(checkpoint.iterdir())


def test_what_is_half_there_is_not_found_and_is_removed_with_its_name(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (store.partial("tiny") / "config.json").write_text("{}", encoding="utf-8")
    assert store.find("tiny") is None
    assert store.installed() == []
    assert store.begun() == [("tiny", 2)]
    assert main(["model", "list"]) == 0
    assert "tiny: 0.0 MiB are there of a pull that was stopped" in capsys.readouterr().err
    store.remove("tiny")
    assert list(models.iterdir()) == []


def test_installing_leaves_out_what_nobody_asked_for_and_replaces_the_old(models: Path, checkpoint: Path) -> None:
    put("tiny", checkpoint)
    (models / "tiny" / "old").write_text("", encoding="utf-8")
    gathered = store.partial("tiny")
    (gathered / "config.json").write_text("{}", encoding="utf-8")
    (gathered / "run.py").write_text("", encoding="utf-8")
    (gathered / ".cache").mkdir()
    piece = Piece("config.json", 2, store.sha256(gathered / "config.json"))
    store.install("tiny", Record("owner/tiny", COMMIT, "hone", 1, "mit", None, (piece,)))
    assert sorted(path.name for path in (models / "tiny").iterdir()) == ["config.json", "hone.json"]
    assert sorted(path.name for path in models.iterdir()) == ["tiny"]


def test_info_says_what_is_there_and_checks_it(
    models: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = put("tiny", checkpoint)
    assert main(["model", "info", "tiny", "--check"]) == 0
    screen = capsys.readouterr().out
    assert f"owner/tiny at {COMMIT}" in screen
    assert "none damaged" in screen
    weights = path / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert main(["model", "info", "tiny"]) == 0, "headers are as they were"
    assert main(["model", "info", "tiny", "--check", "--json"]) == 1
    shown = capsys.readouterr()
    assert json.loads(shown.out.splitlines()[-1])["damaged"].keys() == {"model.safetensors"}
    assert "does not have the checksum" in shown.err
    assert main(["model", "info", str(checkpoint), "--check"]) == 0
    assert "weights read, checksums unknown, none damaged" in capsys.readouterr().out
    assert main(["model", "info"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].split() == ["name", "embedded"]
    assert "hone-tiny-python" in told[1]
    assert main(["model", "remove", "embedded", "--yes"]) == 2
    assert "comes with Hone" in capsys.readouterr().err


def test_numbers_that_are_none_are_seen_before_a_folder_is_used(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make(tmp_path, "dream")
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"][3] = float("nan")
    save_file(weights, folder / "model.safetensors")
    for command in (["info", str(folder), "--check"], ["use", str(folder)]):
        assert main(["model", *command]) == 2
        said = capsys.readouterr().err
        assert "'model.norm.weight' holds numbers that are not finite" in said
        assert said.count("\n") == 1
    assert load_settings().model is None


def test_a_head_that_is_not_the_embedding_is_seen_before_a_folder_is_used(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make(tmp_path, "dream")
    config = json.loads((folder / "config.json").read_text()) | {"tie_word_embeddings": True}
    (folder / "config.json").write_text(json.dumps(config))
    assert main(["model", "use", str(folder)]) == 2
    assert "'lm_head.weight' is not 'model.embed_tokens.weight'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change",
    [
        {"files": [{"name": "../x", "size": 1, "sha256": "0" * 64}]},
        {"files": [{"name": "x", "size": "1", "sha256": "0" * 64}]},
        {"files": [{"name": "x", "size": 1, "sha256": "nothing"}]},
        {"repo": 1},
        {"parameters": "many"},
        {"unknown": 1},
    ],
)
def test_a_damaged_record_is_told(
    models: Path, checkpoint: Path, change: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    file = put("tiny", checkpoint) / "hone.json"
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | change), encoding="utf-8")
    assert store.installed() == []
    assert main(["model", "list"]) == 0
    assert "hone.json is damaged" in capsys.readouterr().err
    assert main(["model", "remove", "tiny", "--yes"]) == 0
