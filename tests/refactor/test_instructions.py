"""`hone refactor` and `hone fix` with instructions in free words, by a tiny published model that knows some answers."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from assistant import cli, models, service
from assistant.refactor.journal import Journal
from assistant.service import open_infiller
from tests.mender import Mender
from tests.published import BLOCK, MODERN, SPACED, SPACES
from tests.refactor.conftest import Hone, Ran, commit, git, snapshot
from tests.serve.processes import ROOT

TEXT = "import os\n\n\n" + BLOCK


@pytest.fixture
def words(hone: Hone, instructed: Path, monkeypatch: pytest.MonkeyPatch) -> Hone:
    """The command line with the published model for edits."""
    monkeypatch.setattr(service, "open_infiller", open_infiller)
    monkeypatch.setattr(cli, "can_edit", models.can_edit)

    def run(*arguments: str, stdin: str | None = None) -> Ran:
        return hone(*arguments, "--edit-model", str(instructed), stdin=stdin)

    return run


@pytest.fixture
def project(repo: Path) -> Path:
    (repo / "pkg").mkdir()
    for name in ("a.py", "pkg/b.py"):
        (repo / name).write_text(TEXT)
    (repo / "other.txt").write_text("text\n")
    commit(repo)
    return repo


def test_shown_written_from_the_journal_and_undone(project: Path, words: Hone) -> None:
    before = snapshot(project)
    shown = words("refactor", "--instruction", SPACES)
    assert shown.code == 0, shown
    assert shown.out.count("+    return a * 2\n") == 2
    git(project, "apply", "--check", stdin=shown.out.encode())
    assert snapshot(project) == before
    done = words("refactor", "--instruction", SPACES, "--write")
    assert done.code == 0, done
    assert "2 blocks from the journal" in done.err
    for name in ("a.py", "pkg/b.py"):
        assert (project / name).read_text() == TEXT.replace(BLOCK, SPACED)
    assert words("refactor", "--undo").err.startswith("hone: the run of")
    assert snapshot(project) == before


def test_words_after_it_are_paths(project: Path, words: Hone) -> None:
    done = words("refactor", "--instruction", SPACES, "pkg", "--check")
    assert done.code == 1, done
    assert done.out == "pkg/b.py: 1 block would change\n"
    assert words("refactor", "nowhere", "--instruction", SPACES).code == 2
    (project / "fix").mkdir()
    (project / "fix" / "c.py").write_text(TEXT)
    done = words("refactor", "fix", "--instruction", SPACES, "--check")
    assert done.out == "fix/c.py: 1 block would change\n", "a folder of that name is a path"


def test_a_task_beside_it_is_refused(project: Path, words: Hone) -> None:
    for task in ("modernise", "missing-colon"):
        done = words("refactor", task, "--instruction", SPACES)
        assert done.code == 2
        assert f"the task '{task}' and --instruction are two ways to say" in done.err
    assert "must say what is to be done" in words("refactor", "--instruction", " ").err
    with pytest.raises(SystemExit, match="2"):
        words("fix", "a.py", "--instruction", SPACES, "--task", "modernise")


def test_another_instruction_is_another_question(project: Path, words: Hone) -> None:
    assert "from the journal" not in words("refactor", "--instruction", SPACES).err
    done = words("refactor", "--instruction", "Modernise this block.")
    assert "from the journal" not in done.err
    assert "+    return a+a\n" in done.out


def test_a_task_is_put_into_words(project: Path, words: Hone) -> None:
    done = words("refactor", "modernise", "--write")
    assert done.code == 0, done
    assert (project / "a.py").read_text() == TEXT.replace(BLOCK, MODERN)
    assert words("fix", "pkg/b.py", "--task", "modernise", "--write").code == 0
    assert (project / "pkg" / "b.py").read_text() == TEXT.replace(BLOCK, MODERN)


def test_an_interrupted_run_goes_on_with_it(project: Path, words: Hone, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> object:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("assistant.refactor.command.decided", interrupted)
        assert words("refactor", "--instruction", SPACES, "pkg", "--write").code == 130
    with Journal(project) as journal:
        run = journal.unfinished()
        assert run is not None
        assert (run.task, run.options["instruction"], run.options["task"]) == (f'"{SPACES}"', SPACES, None)
    done = words("refactor", "--resume")
    assert done.code == 0, done
    assert f'going on with the run of {run.when} ("{SPACES}")' in done.err
    assert (project / "pkg" / "b.py").read_text() == TEXT.replace(BLOCK, SPACED)
    assert (project / "a.py").read_text() == TEXT


def test_fix_does_it_to_a_file_and_to_stdin(project: Path, words: Hone) -> None:
    assert words("fix", "a.py", "--instruction", SPACES, "--check").code == 1
    assert words("fix", "a.py", "--instruction", SPACES, "--write").code == 0
    assert (project / "a.py").read_text() == TEXT.replace(BLOCK, SPACED)
    done = words("fix", "-", "--stdin-filename", "x.py", "--instruction", SPACES, stdin=TEXT)
    assert done.out == TEXT.replace(BLOCK, SPACED)


def test_a_model_that_follows_none_lists_the_tasks(
    project: Path, hone: Hone, mender: Mender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "open_infiller", open_infiller)
    for command in (["refactor"], ["fix", "a.py"]):
        done = hone(*command, "--instruction", SPACES)
        assert done.code == 2
        [line] = done.err.splitlines()
        assert "follows no instruction in free words" in line
        assert "one of the tasks fix, modernise, annotate, document, rename" in line


def test_other_weights_are_another_model(project: Path, hone: Hone, words: Hone, instructed: Path) -> None:
    own = Path(shutil.copytree(instructed, project.parent / "own"))
    arguments = ("refactor", "--instruction", SPACES, "a.py", "--edit-model", str(own))
    assert "from the journal" not in hone(*arguments).err
    assert "1 block from the journal" in hone(*arguments).err
    os.utime(max(own.glob("model-*.safetensors")), (1, 1))
    assert "from the journal" not in hone(*arguments).err


def test_who_follows_none_says_so_at_once(project: Path) -> None:
    """Without waiting for torch, which takes seconds."""
    code = (
        "import sys; from assistant.cli import main; code = main(sys.argv[1:]); assert 'torch' not in sys.modules; "
        "sys.exit(code)"
    )
    arguments = ["refactor", "--instruction", SPACES, "--daemon", "never"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done
    assert "follows no instruction in free words" in done.stderr
    assert "AssertionError" not in done.stderr
