"""The page about edits is current and its example runs; the program that shows damage does."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from docs.edits import PAGE, filled
from model.damage.__main__ import main
from model.damage.kinds import KINDS

ROOT = Path(__file__).resolve().parents[3]


def test_the_table_is_current() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert filled(page) == page, "run `python docs/edits.py`"
    assert all(f"| `{name}` |" in page for name in KINDS)
    assert filled(page.replace("`lost-self`", "`lost-selves`")) == page


def test_the_check_says_so() -> None:
    done = subprocess.run([sys.executable, "-m", "docs.edits", "--check"], cwd=ROOT, check=False)
    assert done.returncode == 0


def test_the_example_runs() -> None:
    example = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert example is not None
    space: dict[str, object] = {}
    exec(example[1], space)
    assert space["worse"] != space["text"]


def test_the_program_shows_kinds_and_examples(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.py").write_text("def f(a, b):\n    return a + b\n", encoding="utf-8")
    (tmp_path / "b.py").write_bytes(b"\xff")
    options = ["--blocks", "3", "--draws", "3", "--examples", "2", "--kind", "lost-return"]
    assert main([str(tmp_path), *options]) == 0
    out, err = capsys.readouterr()
    assert "lost-return" in out
    assert "100.0%" in out
    assert "-    a + b" in out
    assert "+    return a + b" in out
    assert "b.py" in err


def test_no_file_is_an_error(tmp_path: Path) -> None:
    assert main([str(tmp_path)]) == 2
