import io
from pathlib import Path

import pytest
from rich.console import Console

from assistant.cli import main
from assistant.demo import MARKER, SHOWN, Shown, run_demo
from assistant.errors import PositionError
from assistant.render import HIDDEN
from assistant.service import Assistant
from infill.engine import Infiller
from tests.assistant.conftest import KnowAnswer
from tests.fakes import ScriptedDenoiser


def run(path: Path, answer: str, *, colour: bool = False) -> tuple[int, str]:
    screen = io.StringIO()
    console = Console(file=screen, width=100, force_terminal=colour, color_system="truecolor" if colour else None)
    prefix = path.read_text(encoding="utf-8").split(MARKER)[0]
    assistant = Assistant(lambda: Infiller(ScriptedDenoiser(prefix, answer)))
    return run_demo(assistant, [Shown(path, "a hole")], console), screen.getvalue()


def test_the_answer_is_shown_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text(f"def f(self, index):\n    return {MARKER}\n\n\nx = 1\n", encoding="utf-8")
    answered, screen = run(path, "self.values[index]")
    assert answered == 1
    assert "  2     return ⟦self.values[index]⟧" in screen
    assert "a hole  a.py:2:12" in screen
    assert " ms, " in screen
    assert "denoised on a canvas in 2 steps (" in screen
    assert "the surest canvas, step by step:\n   1 self.values░░░\n   2 self.values[index]" in screen


def test_other_answers_give_another_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text(f"def f(self, index):\n    return {MARKER}\n", encoding="utf-8")
    assert run(path, "index")[1] != run(path, "self")[1]


def test_colours_stand_in_for_brackets(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text(f"def f(self, index):\n    return {MARKER}\n", encoding="utf-8")
    _, screen = run(path, "index", colour=True)
    assert "⟦" not in screen
    assert "48;2;36;68;44m" in screen  # the background of what was inserted


def test_no_answer_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text(f"x = {MARKER}\n", encoding="utf-8")
    answered, screen = run(path, "  ")
    assert answered == 0
    assert "no answer: " in screen


def test_a_file_without_a_hole_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text("x = 1\n", encoding="utf-8")
    with pytest.raises(PositionError, match=f"the marker '{MARKER}' must stand in the text once"):
        run(path, "index")


def test_your_own_file(tmp_path: Path, know: KnowAnswer, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.py"
    path.write_text(f"def f(self, index):\n    return {MARKER}\n", encoding="utf-8")
    know("def f(self, index):\n    return ", "index")
    assert main(["demo", str(path)]) == 0
    assert "⟦index⟧" in capsys.readouterr().out


@pytest.mark.parametrize("shown", SHOWN, ids=lambda shown: shown.path.name)
def test_the_examples_have_one_hole_and_would_be_python(shown: Shown) -> None:
    before, after = shown.path.read_text(encoding="utf-8").split(MARKER)
    filled = before + ("x" if before.endswith(".") else "pass" if shown.one_line is False else "") + after
    if shown.path.name.startswith("1"):
        filled = before + "x)" + after
    compile(filled, shown.path.name, "exec")


@pytest.mark.weights
def test_the_embedded_model_fills_every_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo"]) == 0
    screen = capsys.readouterr().out
    assert screen.count("syntax checked") == len(SHOWN)
    assert screen.count("the surest canvas, step by step:") >= 2
    assert screen.count(HIDDEN) > 2
