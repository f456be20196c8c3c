"""`hone fix`: one file or stdin."""

from pathlib import Path

import pytest

from assistant.refactor.journal import Journal
from tests.mender import Mender
from tests.refactor.conftest import RIGHT, WRONG, Hone, commit, git


def test_a_patch_and_the_file(repo: Path, hone: Hone) -> None:
    (repo / "in").mkdir()
    file = repo / "in" / "a.py"
    file.write_bytes(b"\xef\xbb\xbf" + WRONG.replace("\n", "\r\n").encode())
    file.chmod(0o755)
    done = hone("fix", "in/a.py")
    assert done.code == 0, done
    assert file.read_bytes() == b"\xef\xbb\xbf" + WRONG.replace("\n", "\r\n").encode()
    assert hone("fix", "in/a.py", "--check").code == 1
    git(repo, "apply", stdin=done.out.encode())
    applied = file.read_bytes()
    file.write_bytes(b"\xef\xbb\xbf" + WRONG.replace("\n", "\r\n").encode())
    assert hone("fix", "in/a.py", "--write").code == 0
    assert file.read_bytes() == applied == b"\xef\xbb\xbf" + RIGHT.replace("\n", "\r\n").encode()
    assert file.stat().st_mode & 0o777 == 0o755
    assert hone("fix", "in/a.py", "--check").code == 0
    assert "nothing to change" in hone("fix", "in/a.py").err


def test_what_was_written_is_taken_back(repo: Path, hone: Hone) -> None:
    """As one does while one writes the file: it is not committed."""
    (repo / "in").mkdir()
    file = repo / "in" / "a.py"
    file.write_text(WRONG)
    file.chmod(0o755)
    (repo / "link.py").symlink_to("in/a.py")
    done = hone("fix", "link.py", "--write")
    assert done.code == 0, done
    assert "1 file written; `hone refactor --undo` puts back what was there" in done.err
    assert (file.read_text(), file.stat().st_mode & 0o777) == (RIGHT, 0o755)
    assert (repo / "link.py").is_symlink()
    undone = hone("refactor", "--undo")
    assert undone.code == 0, undone
    assert "(fix) is undone: 1 file put back" in undone.err
    assert (file.read_text(), file.stat().st_mode & 0o777) == (WRONG, 0o755)


def test_a_run_that_was_interrupted_is_not_written_over(repo: Path, hone: Hone) -> None:
    (repo / "a.py").write_text(WRONG)
    with Journal(repo.resolve()) as journal:
        preview = journal.begin("fix", {})
        assert hone("fix", "a.py", "--write").code == 0
        assert journal.unfinished() == preview, "a run that wrote nothing yet can still be gone on with"
        journal.become(preview, "writing")
    (repo / "a.py").write_text(WRONG)
    done = hone("fix", "a.py", "--write")
    assert done.code == 2
    assert "`hone refactor --resume` finishes it" in done.err
    assert (repo / "a.py").read_text() == WRONG


def test_stdin_gives_the_text_back(repo: Path, hone: Hone) -> None:
    assert hone("fix", "-", "--stdin-filename", "x.py", stdin=WRONG).out == RIGHT
    assert hone("fix", "-", "--stdin-filename", "x.py", stdin=RIGHT).out == RIGHT
    assert hone("fix", "-", "--language", "python", stdin=WRONG.replace("\n", "\r\n")).out == RIGHT.replace(
        "\n", "\r\n"
    )
    assert hone("fix", "-", "--stdin-filename", "x.py", stdin="").out == ""
    assert hone("fix", "-", "--stdin-filename", "x.py", "--check", stdin=WRONG).code == 1
    assert hone("fix", "-", "--stdin-filename", "x.py", "--write", stdin=WRONG).code == 2
    assert "language" in hone("fix", "-", stdin=WRONG).err


def test_only_some_lines(repo: Path, hone: Hone) -> None:
    assert hone("fix", "-", "--stdin-filename", "x.py", "--lines", "4-6", stdin=WRONG).out == WRONG.replace(
        "a + b.bb", "a + b"
    )
    assert hone("fix", "-", "--stdin-filename", "x.py", "--lines", "10", stdin=WRONG).out == WRONG.replace(
        "a - b.bb", "a - b"
    )
    for lines in ("0-1", "3-2", "x", "1-", "99"):
        assert hone("fix", "-", "--stdin-filename", "x.py", "--lines", lines, stdin=WRONG).code == 2


def test_what_does_not_parse_is_mended(repo: Path, hone: Hone, mender: Mender) -> None:
    mender.right = {"def sub(a, b)\n": "def sub(a, b):\n"}
    broken = RIGHT.replace("def sub(a, b):", "def sub(a, b)")
    assert hone("fix", "-", "--stdin-filename", "x.py", stdin=broken).out == RIGHT
    (repo / "a.py").write_text(broken)
    commit(repo)
    assert hone("refactor", "fix", "--write").code == 0
    assert (repo / "a.py").read_text() == RIGHT


def test_by_rule_first_and_then_by_the_model(repo: Path, hone: Hone, mender: Mender) -> None:
    broken = WRONG.replace("def sub(a, b):", "def sub(a, b)").replace("return total", "retrun total")
    done = hone("fix", "-", "--stdin-filename", "x.py", stdin=broken)
    assert done.out == RIGHT
    assert done.err == "hone: x.py: 2 blocks mended by rule\n"
    assert "retrun" not in "".join(mender.seen), "what a rule mends the model does not see"


def test_without_a_model_that_edits(repo: Path, hone: Hone, mender: Mender) -> None:
    mender.inserts = 0
    file = repo / "a.py"
    file.write_text(WRONG.replace("def sub(a, b):", "def sub(a, b)"))
    commit(repo)
    done = hone("fix", "a.py")
    assert done.code == 0, done
    assert "+def sub(a, b):\n" in done.out
    assert "1 block mended by rule" in done.err
    assert "2 blocks looked at by rule alone: no model does this task" in done.err
    assert "--edit-model" in done.err
    git(repo, "apply", "--check", stdin=done.out.encode())
    assert hone("fix", "a.py", "--check").code == 1
    assert hone("fix", "a.py", "--write").code == 0
    assert file.read_text() == WRONG
    again = hone("fix", "a.py", "--check")
    assert (again.code, again.out) == (0, "")
    assert "nothing to change" in again.err
    assert "no model does this task" in again.err
    done = hone("fix", "-", "--stdin-filename", "x.py", "--task", "modernise", stdin=WRONG)
    assert done.code == 2
    assert "not trained to edit" in done.err


def test_where_rules_suffice_it_says_so(repo: Path, hone: Hone, mender: Mender) -> None:
    mender.inserts = 0
    done = hone("fix", "-", "--stdin-filename", "x.py", stdin="def sub(a, b)\n    return a - b\n")
    assert done.out == "def sub(a, b):\n    return a - b\n"
    assert done.err == "hone: x.py: 1 block mended by rule\n"


def test_the_task_is_named_to_the_model(repo: Path, hone: Hone, mender: Mender) -> None:
    assert hone("fix", "-", "--stdin-filename", "x.py", "--task", "annotate", stdin=WRONG).out == RIGHT
    assert set(mender.tasks) == {"annotate"}
    assert "knows the tasks" in hone("fix", "-", "--task", "mend", stdin=WRONG).err


def test_secrets_never_enter_a_prompt(repo: Path, hone: Hone, mender: Mender) -> None:
    (repo / "secrets").mkdir()
    (repo / "secrets" / "a.py").write_text(WRONG)
    key = "AKIA" + "IOSFODNN7EXAMPLE"
    (repo / "key.py").write_text(f'{WRONG}KEY = "{key}"\n')
    for file in ("secrets/a.py", "key.py"):
        done = hone("fix", file)
        assert done.code == 2
        assert "never enters a prompt" in done.err
        assert key not in done.err
    assert hone("fix", "-", "--stdin-filename", "x.py", stdin=f'{WRONG}KEY = "{key}"\n').code == 2
    assert mender.seen == []


def test_a_file_that_changes_meanwhile_is_left_alone(repo: Path, hone: Hone, mender: Mender) -> None:
    file = repo / "a.py"
    file.write_text(WRONG)
    run = mender.run

    def edit(calls: object) -> object:
        file.write_text("mine = 1\n")
        return run(calls)  # type: ignore[arg-type]

    mender.run = edit  # type: ignore[method-assign, assignment]
    done = hone("fix", "a.py", "--write")
    assert done.code == 2
    assert "changed meanwhile" in done.err
    assert file.read_text() == "mine = 1\n"


@pytest.mark.parametrize("file", ["nowhere.py", "."])
def test_no_file(repo: Path, hone: Hone, file: str) -> None:
    assert hone("fix", file).code == 2
    assert [one.name for one in repo.iterdir()] == [".git"]


def test_other_thresholds_ask_anew(repo: Path, hone: Hone, mender: Mender, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"inserts": 4}')
    (repo / "a.py").write_text(WRONG)
    asked: list[int] = []
    for thresholds in ("{}", "{}", '{"least_gain": {"fix": 1.0}}'):
        if not (folder / "edits.json").exists() or (folder / "edits.json").read_text() != thresholds:
            (folder / "edits.json").write_text(thresholds)
        assert hone("fix", "a.py", "--edit-model", str(folder)).code == 0
        asked.append(len(mender.seen))
    assert 0 < asked[0] == asked[1] < asked[2]
