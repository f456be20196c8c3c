"""Real files in real git repositories, and a network below the editor that knows what is right."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from assistant import cli, service
from assistant.cli import main
from assistant.types import TASKS
from infill.engine import Infiller
from tests.mender import Mender

Git = Callable[..., str]
Hone = Callable[..., "Ran"]


class Ran:
    """What a command line came to."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    def __repr__(self) -> str:
        return f"exit code {self.code}\n{self.out}\n{self.err}"


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No settings, no git settings, no daemon and no journal of whoever runs the tests."""
    folder = tmp_path_factory.mktemp("home")
    for name in [name for name in os.environ if name.startswith(("HONE_", "GIT_"))]:
        monkeypatch.delenv(name)
    for name, value in environment(folder).items():
        monkeypatch.setenv(name, value)
    for name in ("FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return folder


def environment(folder: Path) -> dict[str, str]:
    return {
        "HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder / ".config"),
        "HONE_RUNTIME_DIR": str(folder / "runtime"),
        "HONE_STATE_DIR": str(folder / "state"),
        "TMPDIR": str(folder),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@example.org",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@example.org",
        "COLUMNS": "120",
    }


def git(folder: Path, *arguments: str, stdin: bytes = b"") -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], input=stdin, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def commit(folder: Path) -> None:
    if not (folder / ".git").exists():
        git(folder, "init", "-q")
    git(folder, "add", "--all")
    git(folder, "commit", "-q", "--allow-empty", "-m", "as it is")


RIGHT = "import os\n\n\ndef add(a, b):\n    total = a + b\n    return total\n\n\ndef sub(a, b):\n    return a - b\n"
FIXES = {"a + b.bb": "a + b", "a - b.bb": "a - b", "retrun": "return", "# wr0ng": "# right"}
WRONG = RIGHT.replace("a + b", "a + b.bb").replace("a - b", "a - b.bb")


@pytest.fixture
def mender(monkeypatch: pytest.MonkeyPatch) -> Mender:
    """The model that opens from now on."""
    one = Mender(dict(FIXES))
    monkeypatch.setattr(service, "open_infiller", lambda _: Infiller(one))
    monkeypatch.setattr(cli, "can_edit", lambda _: True)
    monkeypatch.setattr(cli, "tasks_of", lambda _: TASKS)
    return one


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty repository, which is the current folder."""
    folder = tmp_path / "repo"
    folder.mkdir()
    commit(folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def hone(mender: Mender, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Hone:
    """The command line, in this process."""

    def run(*arguments: str, stdin: str | None = None) -> Ran:
        with open(os.devnull if stdin is None else _stdin(stdin), encoding="utf-8", newline="") as file:  # noqa: PTH123
            monkeypatch.setattr("sys.stdin", file)
            capfdbinary.readouterr()
            code = main(arguments)
            out, err = capfdbinary.readouterr()
        return Ran(code, out.decode(), err.decode())

    def _stdin(text: str) -> str:
        path = Path(os.environ["HOME"]) / "stdin"
        path.write_bytes(text.encode())
        return str(path)

    return run


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file that is not git's own, with its mode."""
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mode)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".git" not in path.relative_to(folder).parts
    }
