from pathlib import Path

import pytest

from assistant.config import Settings, config_path, load_settings
from assistant.errors import SettingError


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """An environment with a settings folder of its own."""
    (tmp_path / "hone").mkdir()
    return {"XDG_CONFIG_HOME": str(tmp_path)}


def write(env: dict[str, str], text: str) -> None:
    config_path(env).write_text(text, encoding="utf-8")


def test_without_anything_the_defaults_hold(home: dict[str, str]) -> None:
    assert load_settings(env=home) == Settings()


def test_file_then_environment_then_flags(home: dict[str, str]) -> None:
    write(home, "n = 2\nsteps = 4\nbudget_ms = 300\n")
    env = home | {"HONE_STEPS": "8", "HONE_BUDGET_MS": "400"}
    settings = load_settings({"budget_ms": "500", "seed": None, "unrelated": 1}, env)
    assert (settings.n, settings.steps, settings.budget_ms, settings.seed) == (2, 8, 500.0, 0)


def test_hone_config_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('device = "cpu"', encoding="utf-8")
    assert load_settings(env={"HONE_CONFIG": str(path)}).device == "cpu"


def test_hone_config_must_exist(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"HONE_CONFIG names .*nowhere\.toml"):
        load_settings(env={"HONE_CONFIG": str(tmp_path / "nowhere.toml")})


def test_an_empty_variable_says_nothing(home: dict[str, str]) -> None:
    assert load_settings(env=home | {"HONE_STEPS": ""}) == Settings()


def test_a_seed_keeps_all_its_digits(home: dict[str, str]) -> None:
    assert load_settings({"seed": "9007199254740993"}, home).seed == 9007199254740993


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("n", "0", "1 to 64"),
        ("n", "65", "1 to 64"),
        ("n", "two", "whole number"),
        ("max_tokens", "1.5", "whole number"),
        ("steps", "-1", "1 to 1024"),
        ("lengths", "0", "1 to 64"),
        ("budget_ms", "nan", "from 1 to"),
        ("budget_ms", "inf", "from 1 to"),
        ("temperature", "-0.1", "0 to 10"),
        ("top_p", "0", "0.01 to 1"),
        ("seed", "-1", "from 0"),
        ("policy", "  ", "name"),
        ("device", "tpu", "cuda:N"),
        ("device", "cpu:0", "cuda:N"),
        ("model", "/does/not/exist", "folder"),
    ],
)
def test_a_bad_value_is_named(home: dict[str, str], key: str, value: str, allowed: str) -> None:
    flag = f"--{key.replace('_', '-')}"
    with pytest.raises(SettingError) as error:
        load_settings({key: value}, home)
    assert flag in str(error.value)
    assert repr(value) in str(error.value)
    assert allowed in str(error.value)


def test_a_bad_variable_is_named(home: dict[str, str]) -> None:
    with pytest.raises(SettingError, match=r"HONE_TOP_P: top_p must be a number from 0\.01 to 1, not '2'"):
        load_settings(env=home | {"HONE_TOP_P": "2"})


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("n = true", "n must be a whole number from 1 to 64, not True"),
        ("n = [1]", "not [1]"),
        ("stepz = 1", "unknown setting 'stepz'; known are model, edit_model, device"),
        ("n = = 1", "cannot be read"),
    ],
)
def test_a_bad_file_is_named(home: dict[str, str], text: str, part: str) -> None:
    write(home, text)
    with pytest.raises(SettingError) as error:
        load_settings(env=home)
    assert str(config_path(home)) in str(error.value)
    assert part in str(error.value)


def test_a_file_in_another_encoding_is_an_error(home: dict[str, str]) -> None:
    config_path(home).write_bytes(b'policy = "\xff"')
    with pytest.raises(SettingError, match="cannot be read"):
        load_settings(env=home)
