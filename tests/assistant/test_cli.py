"""The command line: in this process with a model that knows the answer, and as a real process for the rest."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest

from assistant import __version__, service
from assistant.cli import main
from tests.assistant.conftest import KnowAnswer

ROOT = Path(__file__).resolve().parents[2]
PREFIX, ANSWER, SUFFIX = "def f(self, index):\n    return ", "self.values[index]", "\n\n\nx = 1\n"


@pytest.fixture
def file(tmp_path: Path, know: KnowAnswer) -> Path:
    know(PREFIX, ANSWER)
    path = tmp_path / "file.py"
    path.write_text(PREFIX + SUFFIX, encoding="utf-8")
    return path


def hone(*arguments: str, stdin: str | bytes = "", **env: str) -> "subprocess.CompletedProcess[str]":
    """A real process, as from a shell. Output is decoded without touching line ends."""
    done = subprocess.run(
        [sys.executable, "-m", "assistant", *arguments],
        cwd=ROOT,
        input=stdin.encode("utf-8") if isinstance(stdin, str) else stdin,
        capture_output=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | env,
        check=False,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


# --- answers


@pytest.mark.parametrize("where", [["--at", "2:12"], ["--offset", str(len(PREFIX))]])
def test_the_answer_and_nothing_else_goes_to_stdout(
    file: Path, where: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["complete", str(file), *where]) == 0
    captured = capsys.readouterr()
    assert captured.out == ANSWER + "\n"
    assert captured.err == ""
    assert file.read_text(encoding="utf-8") == PREFIX + SUFFIX


def test_a_marker_shows_the_place(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(PREFIX + "<|>" + SUFFIX, encoding="utf-8")
    assert main(["complete", str(file), "--marker", "<|>"]) == 0
    assert capsys.readouterr().out == ANSWER + "\n"


def test_stdin(know: KnowAnswer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    know(PREFIX, ANSWER)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((PREFIX + SUFFIX).encode())))
    assert main(["complete", "-", "--stdin-filename", "a.py", "--at", "2:12", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["text"], found["verdict"], found["file"]) == (ANSWER, "valid", "a.py")


def test_json_is_one_object_per_line(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["complete", str(file), "--at", "2:12", "--n", "3", "--json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    found: list[dict[str, Any]] = [json.loads(line) for line in lines]
    assert 1 <= len(found) <= 3
    best = found[0]
    assert (best["text"], best["line"], best["column"], best["start"]) == (ANSWER, 2, 12, len(PREFIX))
    assert best["steps"] >= 1
    assert best["ms"]["total"] > 0
    assert [one["score"] for one in found] == sorted((one["score"] for one in found), reverse=True)


def test_alternatives_are_numbered_on_stderr(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["complete", str(file), "--at", "2:12", "--n", "3"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith(ANSWER + "\n")
    assert captured.err.splitlines()[0].startswith("# 1 of ")


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_in_place_changes_the_hole_and_nothing_else(
    tmp_path: Path, know: KnowAnswer, mark: str, newline: str, capsys: pytest.CaptureFixture[str]
) -> None:
    know(PREFIX, ANSWER)
    path = tmp_path / "file.py"
    path.write_bytes((mark + PREFIX + SUFFIX).replace("\n", newline).encode("utf-8"))
    path.chmod(0o640)
    assert main(["complete", str(path), "--at", "2:12", "--in-place"]) == 0
    assert path.read_bytes() == (mark + PREFIX + ANSWER + SUFFIX).replace("\n", newline).encode("utf-8")
    assert path.stat().st_mode & 0o777 == 0o640
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"{path}:2:12: {len(ANSWER)} characters inserted" in captured.err


def test_steps_are_shown_on_stderr(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["complete", str(file), "--at", "2:12", "--show-steps", "--steps", "3"]) == 0
    captured = capsys.readouterr()
    assert captured.out == ANSWER + "\n"
    assert "░" in captured.err
    assert ANSWER in captured.err


def test_no_answer_is_exit_code_1_with_a_reason(
    tmp_path: Path, know: KnowAnswer, capsys: pytest.CaptureFixture[str]
) -> None:
    know("x = ", "   ")
    path = tmp_path / "file.py"
    path.write_text("x = \n", encoding="utf-8")
    assert main(["complete", str(path), "--at", "1:5", "--in-place"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("hone: no answer: ")
    assert path.read_text(encoding="utf-8") == "x = \n"


# --- errors: one line that names the value, and exit code 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{file}", "--at", "9:1"], "line 9 is outside of the text, which has lines 1 to 6"),
        (["{file}", "--at", "1:99"], "column 99 is outside of line 1, which has columns 1 to 20"),
        (["{file}", "--at", "0:1"], "lines count from 1"),
        (["{file}", "--at", "2"], "--at must be LINE:COL, two whole numbers from 1, not '2'"),
        (["{file}", "--at", "a:b"], "not 'a'"),
        (["{file}", "--offset", "999"], "offset 999 is outside of the text"),
        (["{file}", "--offset", "-1"], "--offset must be a whole number, not '-1'"),
        (["{file}", "--marker", "<|>"], "the marker '<|>' must stand in the text once, not 0 times"),
        (["{file}"], "one of the arguments --at --offset --marker is required"),
        (["{file}", "--at", "1:1", "--offset", "1"], "not allowed with argument"),
        (["{file}", "--at", "1:1", "--steps", "0"], "--steps: steps must be a whole number from 1 to 1024, not '0'"),
        (["{file}", "--at", "1:1", "--budget-ms", "soon"], "--budget-ms: budget_ms must be a number"),
        (["{file}", "--at", "1:1", "--language", "klingon"], "--language 'klingon' is not known; known are python"),
        (["{file}", "--at", "1:1", "--policy", "magic"], "policy must be one of"),
        (["{file}", "--at", "1:1", "--model", "/nowhere"], "--model: model must be the folder of a checkpoint"),
        (["{file}", "--at", "1:1", "--json", "--in-place"], "not allowed with argument"),
        (["/nowhere.py", "--at", "1:1"], "/nowhere.py does not exist"),
        (["-", "--at", "1:1", "--in-place"], "--in-place needs a file to write to, not stdin"),
        (["{file}", "--at", "1:1", "--colour"], "unrecognized arguments: --colour"),
    ],
)
def test_an_error_names_the_value(
    file: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(["complete", *(argument.format(file=file) for argument in arguments)])
    except SystemExit as leaving:  # argparse's own way out
        code = int(leaving.code or 0)
    captured = capsys.readouterr()
    assert code == 2
    assert captured.out == ""
    assert message in captured.err
    assert captured.err.startswith("hone: ")
    assert captured.err.count("\n") == 1


def test_no_command_is_an_error() -> None:
    done = hone()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1


def test_a_folder_without_a_model_is_named(file: Path, tmp_path: Path) -> None:
    done = hone("complete", str(file), "--at", "1:1", "--model", str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{tmp_path} is no model folder" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "picture.py"
    path.write_bytes(b"\x89PNG\r\n")
    done = hone("complete", str(path), "--at", "1:1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"hone: {path} is not UTF-8 text: byte 0 is 0x89\n"


def test_our_own_mistake_does_not_look_like_no_answer(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fall_over(_: object) -> NoReturn:
        raise ZeroDivisionError

    monkeypatch.setattr(service, "open_infiller", fall_over)
    assert main(["complete", str(file), "--at", "1:1"]) == 2
    assert "ZeroDivisionError" in capsys.readouterr().err


# --- as a process, with a real model that has learned nothing


def test_version_and_help() -> None:
    done = hone("--version")
    assert (done.returncode, done.stdout) == (0, f"hone {__version__}\n")
    assert "complete" in hone("--help").stdout
    assert "--show-steps" in hone("complete", "--help").stdout


def test_a_real_process_answers_from_stdin_the_same_way_twice(checkpoint: Path) -> None:
    arguments = [
        "complete",
        "-",
        "--stdin-filename",
        "notes.unknown",
        "--at",
        "2:8",
        "--model",
        str(checkpoint),
        "--json",
    ]
    text = "def f(self, index):\r\n    ret\r\n    x = 1\r\n"
    first, second = hone(*arguments, stdin=text), hone(*arguments, stdin=text)
    assert first.returncode in (0, 1), first.stderr
    assert first.returncode == 0 or first.stderr.startswith("hone: no answer: ")
    assert first.stderr == second.stderr
    answers = [[json.loads(line) for line in done.stdout.splitlines()] for done in (first, second)]
    assert [one["text"] for one in answers[0]] == [one["text"] for one in answers[1]]
    assert all(one["verdict"] == "unchecked" and one["column"] == 8 for one in answers[0])


def test_settings_come_from_the_environment(checkpoint: Path) -> None:
    done = hone("complete", "-", "--at", "1:1", HONE_MODEL=str(checkpoint), HONE_STEPS="none")
    assert done.returncode == 2
    assert done.stderr == "hone: HONE_STEPS: steps must be a whole number from 1 to 1024, not 'none'\n"


@pytest.mark.weights
def test_the_embedded_model_completes_a_line() -> None:
    done = hone(
        "complete", "-", "--stdin-filename", "a.py", "--at", "2:8", "--json", stdin="def area(w, h):\n    ret\n"
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["verdict"] == "valid"
    assert found["text"].startswith("urn")
