"""`hone refactor` as it is used: real files, real git, one process."""

import json
import os
import re
import time
from pathlib import Path

import pytest

from assistant.refactor import report
from assistant.refactor.journal import Journal, programs
from tests.mender import Mender
from tests.refactor.conftest import FIXES, RIGHT, WRONG, Hone, commit, git, snapshot


@pytest.fixture
def project(repo: Path) -> Path:
    """Three files that are wrong, and one that is right."""
    (repo / "pkg").mkdir()
    (repo / "a.py").write_text(WRONG)
    (repo / "right.py").write_text(RIGHT)
    (repo / "pkg" / "b.py").write_text(WRONG.replace("def ", "async def "))
    (repo / "pkg" / "c.py").write_text("class C:\n    def f(self, a, b):\n        return a - b.bb\n")
    commit(repo)
    return repo


def mended(text: str) -> str:
    for wrong, right in FIXES.items():
        text = text.replace(wrong, right)
    return text


def test_a_preview_is_a_patch_and_writes_nothing(project: Path, hone: Hone) -> None:
    before = snapshot(project)
    done = hone("refactor", "fix")
    assert done.code == 0, done
    assert "\x1b" not in done.out
    assert snapshot(project) == before
    assert "--write writes this" in done.err
    assert "5 blocks changed in 3 files" in done.err
    assert "2 left alone as right" in done.err
    git(project, "apply", stdin=done.out.encode())
    assert {path: data.decode() for path, (data, _) in snapshot(project).items()} == {
        path: mended(data.decode()) for path, (data, _) in before.items()
    }


def test_what_was_shown_is_written_and_not_asked_for_again(project: Path, hone: Hone, mender: Mender) -> None:
    shown = hone("refactor", "fix").out
    asked = len(mender.seen)
    done = hone("refactor", "fix", "--write")
    assert done.code == 0, done
    assert len(mender.seen) == asked, "the answers come from the journal"
    assert git(project, "diff").count("\n+    ") == shown.count("\n+    ")
    assert (project / "a.py").read_text() == RIGHT
    assert "`hone refactor --undo` puts back" in done.err


def test_other_programs_are_asked_again(
    project: Path, hone: Hone, mender: Mender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the same version and weights: what an older one has shown is not written."""
    assert len(programs()) == 64
    hone("refactor", "fix")
    asked = len(mender.seen)
    monkeypatch.setattr("assistant.refactor.journal.programs", lambda: "others")
    hone("refactor", "fix")
    assert len(mender.seen) == 2 * asked


def test_undo_puts_everything_back(project: Path, hone: Hone) -> None:
    os.chmod(project / "a.py", 0o755)  # noqa: PTH101
    commit(project)
    before = snapshot(project)
    assert hone("refactor", "fix", "--write").code == 0
    assert snapshot(project) != before
    done = hone("refactor", "--undo")
    assert done.code == 0, done
    assert snapshot(project) == before
    assert git(project, "status", "--porcelain") == ""
    again = hone("refactor", "--undo")
    assert again.code == 1, again


def test_two_runs_are_undone_one_after_the_other(project: Path, hone: Hone) -> None:
    states = [snapshot(project)]
    for name in ("^add$", "^sub$"):
        assert hone("refactor", "fix", "--write", "--force", "--name", name).code == 0
        states.append(snapshot(project))
    assert states[0] != states[1] != states[2]
    for state in (states[1], states[0]):
        assert hone("refactor", "--undo").code == 0
        assert snapshot(project) == state


def test_undo_leaves_what_has_changed_since(project: Path, hone: Hone) -> None:
    before = snapshot(project)
    hone("refactor", "fix", "--write")
    written = snapshot(project)
    (project / "a.py").write_text("mine = 1\n")
    done = hone("refactor", "--undo")
    assert done.code == 2, done
    assert "a.py has changed since" in done.err
    assert snapshot(project) == written | {"a.py": (b"mine = 1\n", written["a.py"][1])}
    forced = hone("refactor", "--undo", "--force")
    assert "a.py has changed since" in forced.err
    assert snapshot(project) == before | {"a.py": (b"mine = 1\n", written["a.py"][1])}


def test_check_has_three_codes(project: Path, hone: Hone) -> None:
    done = hone("refactor", "fix", "--check")
    assert (done.code, done.out) == (
        1,
        "a.py: 2 blocks would change\npkg/b.py: 2 blocks would change\npkg/c.py: 1 block would change\n",
    )
    assert hone("refactor", "fix", "--check", "right.py").code == 0
    assert hone("refactor", "fix", "--check", "nowhere.py").code == 2


def test_a_dirty_file_is_not_written(project: Path, hone: Hone) -> None:
    (project / "right.py").write_text(RIGHT + "\n# mine\n")
    (project / "new.txt").write_text("not Python")
    done = hone("refactor", "fix", "--write")
    assert done.code == 2, done
    assert "right.py: changed since the last commit" in done.err
    assert (project / "a.py").read_text() == WRONG
    assert hone("refactor", "fix", "--write", "a.py").code == 0, "what is not selected may be dirty"
    assert hone("refactor", "fix", "--write", "--force").code == 0
    assert (project / "right.py").read_text() == RIGHT + "\n# mine\n"
    (project / "new.py").write_text(WRONG)
    done = hone("refactor", "fix", "--write", "new.py")
    assert done.code == 2, "a file that git does not know cannot be had back from it"


def test_a_file_that_changes_meanwhile_is_left_alone(project: Path, hone: Hone, mender: Mender) -> None:
    (project / "a.py").write_text(WRONG)
    mine = WRONG + "# mine\n"
    run = mender.run

    def edit(calls: object) -> object:
        (project / "a.py").write_text(mine)
        return run(calls)  # type: ignore[arg-type]

    mender.run = edit  # type: ignore[method-assign, assignment]
    done = hone("refactor", "fix", "--write")
    assert done.code == 2, done
    assert "not written: a.py has changed meanwhile" in done.err
    assert (project / "a.py").read_text() == mine
    assert (project / "pkg" / "c.py").read_text() == mended((project / "pkg" / "c.py").read_text())
    assert hone("refactor", "--undo").code == 0, "it was not touched, so it does not stand in the way"
    assert (project / "a.py").read_text() == mine


def test_json_has_one_object_for_each_block(project: Path, hone: Hone) -> None:
    done = hone("refactor", "fix", "--json")
    found = [json.loads(line) for line in done.out.splitlines()]
    assert len(found) == 7
    [one] = [one for one in found if one["file"] == "pkg/c.py"]
    assert (one["line"], one["last"], one["kind"], one["name"], one["changed"]) == (2, 3, "method", "f", True)
    assert one["new"] == mended(one["old"]) != one["old"]
    assert one["edits"] == [
        {"start": {"line": 3, "column": 21}, "end": {"line": 3, "column": 24}, "text": ""},
    ]
    assert {one["reason"] for one in found if one["file"] == "right.py"} == {"right"}


def test_each_hunk_says_what_changed_it(project: Path, hone: Hone) -> None:
    (project / "a.py").write_text("def f(a)\n    retrun a\n")
    (project / "right.py").write_text("def sub(a, b)\n    return a - b.bb\n")
    done = hone("refactor", "fix", "a.py", "right.py", "pkg/c.py")
    name = "hone-tiny-python-edits"
    places = [line.rpartition(" @@ ")[2] for line in done.out.splitlines() if line.startswith("@@ ")]
    assert places == ["by rule", f"by rule and {name}", f"by {name}"]
    git(project, "apply", "--check", stdin=done.out.encode())
    told = [json.loads(line) for line in hone("refactor", "fix", "--json", "pkg", "a.py").out.splitlines()]
    assert {one["file"]: one["by"] for one in told} == {"a.py": "rule", "pkg/b.py": name, "pkg/c.py": name}


def test_the_patch_goes_into_a_file_as_well(project: Path, hone: Hone, tmp_path: Path) -> None:
    done = hone("refactor", "fix", "--check", "--patch", str(tmp_path / "it.patch"))
    assert done.code == 1
    shown = hone("refactor", "fix", "--patch", str(tmp_path / "it.patch"))
    assert shown.out == ""
    assert f"the patch of 3 files is in {tmp_path / 'it.patch'}" in shown.err
    git(project, "apply", str(tmp_path / "it.patch"))
    assert (project / "a.py").read_text() == RIGHT


def test_the_patch_alone_goes_to_stdout(project: Path, hone: Hone) -> None:
    done = hone("refactor", "fix", "--check", "--patch", "-")
    assert done.code == 1
    git(project, "apply", stdin=done.out.encode())
    assert (project / "a.py").read_text() == RIGHT
    assert not (project / "-").exists()


def test_limits(project: Path, hone: Hone) -> None:
    for flag, number, blocks, files in (
        ("--limit", 1, 1, 1),
        ("--limit", 3, 3, 2),
        ("--limit-files", 1, 2, 1),
        ("--limit-files", 2, 4, 2),
    ):
        done = hone("refactor", "fix", flag, str(number))
        assert f"{blocks} block{'s' * (blocks > 1)} changed in {files} file{'s' * (files > 1)}" in done.err, done


def test_unknown_tasks_list_the_tasks(project: Path, hone: Hone) -> None:
    for arguments in (["mend"], [], ["make it nice", "."]):
        done = hone("refactor", *arguments)
        assert done.code == 2
        assert "knows the tasks fix, modernise, annotate, document, rename, and each of their" in done.err
        assert len(done.err.splitlines()) == 1
    assert "is it missing-colon" in hone("refactor", "mising-colon").err
    assert hone("refactor", "missing-colon").code == 0, "a kind is a task"


def test_a_model_that_cannot_edit_says_so(project: Path, hone: Hone, mender: Mender) -> None:
    mender.inserts = 0
    done = hone("refactor", "modernise")
    assert done.code == 2
    assert "not trained to edit" in done.err


def test_without_a_model_that_edits_syntax_errors_are_mended_by_rule(project: Path, hone: Hone, mender: Mender) -> None:
    mender.inserts = 0
    (project / "a.py").write_text("def f(a)\n    retrun a\n")
    commit(project)
    before = snapshot(project)
    done = hone("refactor", "fix", "--check")
    assert done.code == 1, done
    assert "no model does this task" in done.err
    assert hone("refactor", "fix", "--write").code == 0
    after = snapshot(project)
    assert [path for path in after if after[path] != before[path]] == ["a.py"]
    assert (project / "a.py").read_text() == "def f(a):\n    return a\n"


def test_hunk_by_hunk(project: Path, hone: Hone) -> None:
    before = snapshot(project)
    done = hone("refactor", "fix", "-i", stdin="y\n?\nn\n")
    assert done.code == 0, done
    assert "y - take this hunk" in done.out
    after = snapshot(project)
    assert [path for path in after if after[path] != before[path]] == ["a.py"]
    assert git(project, "diff", "--stat").count("|") == 1
    hone("refactor", "--undo")
    assert snapshot(project) == before


@pytest.mark.parametrize(
    ("answers", "changed"),
    [("q\n", set()), ("", set()), ("a\nq\n", {"a.py"}), ("d\na\nq\n", {"pkg/b.py"}), ("n\nn\nn\nn\n", set())],
)
def test_hunks_by_their_letters(project: Path, hone: Hone, answers: str, changed: set[str]) -> None:
    far = "\n\n\n# far\n# apart\n\n\ndef sub"
    (project / "a.py").write_text(WRONG.replace("\n\n\ndef sub", far))
    commit(project)
    before = snapshot(project)
    done = hone("refactor", "fix", "-i", stdin=answers)
    assert done.code == 0, done
    after = snapshot(project)
    assert {path for path in after if after[path] != before[path]} == changed
    if "a.py" in changed:
        assert (project / "a.py").read_text() == RIGHT.replace("\n\n\ndef sub", far)


def test_a_list_of_places_says_which_blocks(project: Path, hone: Hone) -> None:
    listed = f"a.py:5:13: F821 undefined name\npkg/c.py:3: return a - b.bb\n{project}/right.py:4:1\nFound 2 errors.\n"
    done = hone("refactor", "fix", "-", "--json", stdin=listed)
    assert done.code == 0, done
    found = [json.loads(line) for line in done.out.splitlines()]
    assert [(one["file"], one["line"]) for one in found] == [("a.py", 4), ("pkg/c.py", 2), ("right.py", 4)]
    assert "1 line of stdin names no place" in done.err
    assert hone("refactor", "fix", "--from-stdin", stdin="nothing here\n").code == 2


def test_a_text_on_stdin(project: Path, hone: Hone) -> None:
    done = hone("refactor", "fix", "-", "--stdin-filename", "x.py", stdin=WRONG)
    assert done.code == 0, done
    assert done.out.startswith("diff --git a/x.py b/x.py\n")
    assert hone("refactor", "fix", "-", "--stdin-filename", "x.py", "--write", stdin=WRONG).out == RIGHT
    assert hone("refactor", "fix", "-", "--stdin-filename", "x.py", "--write", stdin=RIGHT).out == RIGHT
    assert hone("refactor", "fix", "-", "--stdin-filename", "x.py", "--check", stdin=WRONG).code == 1


def test_what_is_skipped_is_counted_and_listed(project: Path, hone: Hone) -> None:
    (project / "made.py").write_text("# Generated by a program. Do not edit.\n" + WRONG)
    (project / "long.py").write_text(WRONG + "x = '" + "a" * 3000 + "'\n")
    (project / "binary.py").write_bytes(WRONG.encode() + b"\0")
    (project / "latin.py").write_bytes(WRONG.encode() + b"# \xe9\n")
    (project / "big.py").write_text(WRONG * 7000)
    (project / "secrets").mkdir()
    (project / "secrets" / "x.py").write_text(WRONG)
    key = "AKIA" + "IOSFODNN7EXAMPLE"
    (project / "key.py").write_text(f'{WRONG}KEY = "{key}"\n')
    (project / "link.py").symlink_to("a.py")
    (project / ".gitignore").write_text("ignored.py\n")
    (project / "ignored.py").write_text(WRONG)
    os.link(project / "right.py", project / "other.py")
    commit(project)
    before = snapshot(project)
    done = hone("refactor", "fix", "--verbose", "--write")
    assert done.code == 0, done
    after = snapshot(project)
    assert {path for path in after if after[path] != before[path]} == {"a.py", "link.py", "pkg/b.py", "pkg/c.py"}
    for path, reason in {
        "made.py": "generated",
        "long.py": "has lines",
        "binary.py": "not text",
        "latin.py": "not UTF-8 text",
        "big.py": "larger than",
        "secrets/": "matches",
        "key.py": "holds an AWS key",
        "link.py": "a link, which is not followed",
        "ignored.py": "ignored by .gitignore",
        "other.py": "has several names",
    }.items():
        assert f"hone: skipped {path}: {reason}" in done.err, done
    assert "hone: skipped: " in done.err
    assert key not in done.err
    assert ", 1 holds an AWS key," in done.err
    assert (project / "link.py").is_symlink()


def test_a_file_that_is_named_is_skipped_with_its_reason(project: Path, hone: Hone) -> None:
    (project / ".env").write_text("x = 1\n")
    (project / "app.js").write_text("function f(a) { return a - b.bb }\n")
    (project / "link.py").symlink_to("a.py")
    (project / "folder").symlink_to("pkg")
    done = hone("refactor", "fix", "app.js", ".env", "link.py", "folder/b.py", "--verbose")
    assert done.code == 0
    assert "app.js: javascript, which --language javascript lets in" in done.err
    assert "link.py: a link" in done.err
    assert "folder: a link" in done.err
    assert "nothing is selected" in done.err
    assert hone("refactor", "fix", "app.js", "--language", "javascript", "--check").code == 1


def test_which_files(project: Path, hone: Hone) -> None:
    def files(*arguments: str) -> list[str]:
        done = hone("refactor", "fix", "--json", *arguments)
        assert done.code == 0, done
        return sorted({json.loads(line)["file"] for line in done.out.splitlines()})

    assert files("pkg") == ["pkg/b.py", "pkg/c.py"]
    assert files("pkg/b.py", "a.py") == ["a.py", "pkg/b.py"]
    assert files("--include", "pkg/*.py", "--include", "!c.py") == ["pkg/b.py"]
    assert files("--exclude", "pkg") == ["a.py", "right.py"]
    assert files("--exclude", "b.py", "--exclude", "a*") == ["pkg/c.py", "right.py"]
    assert files("--name", "^f$") == ["pkg/c.py"]
    assert files("--query", "(class_definition) @c") == ["pkg/c.py"]
    assert files("--kind", "method") == ["pkg/c.py"]
    done = hone("refactor", "fix", "--query", "(nothing_like_it) @c")
    assert done.code == 2
    assert "--query is none of python" in done.err
    assert hone("refactor", "fix", "--name", "(").code == 2
    assert hone("refactor", "fix", "--kind", "nothing").code == 2
    assert hone("refactor", "fix", "--limit", "0").code == 2
    assert hone("refactor", "fix", "--language", "klingon").code == 2


def test_below_the_top_of_the_repository(project: Path, hone: Hone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project / "pkg")
    done = hone("refactor", "fix")
    assert "a/pkg/b.py" in done.out
    assert "a/a.py" not in done.out
    assert hone("refactor", "fix", "--check").out == "b.py: 2 blocks would change\nc.py: 1 block would change\n"
    (project / "pkg" / "new.py").write_text(WRONG)
    assert "hone: new.py: changed since the last commit" in hone("refactor", "fix", "--write").err
    (project / "pkg" / "new.py").unlink()
    assert hone("refactor", "fix", "--write").code == 0
    assert (project / "a.py").read_text() == WRONG
    assert hone("refactor", "--undo").code == 0


def test_without_git(tmp_path: Path, hone: Hone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.py").write_text(WRONG)
    done = hone("refactor", "fix", "--write")
    assert done.code == 0, done
    assert "only way back" in done.err
    assert (tmp_path / "a.py").read_text() == RIGHT
    assert hone("refactor", "--undo").code == 0
    assert (tmp_path / "a.py").read_text() == WRONG


def test_a_write_protected_file_is_not_written(project: Path, hone: Hone) -> None:
    if os.geteuid() == 0:
        pytest.skip("nothing is protected from root")
    (project / "a.py").chmod(0o444)
    done = hone("refactor", "fix", "--write")
    assert done.code == 2
    assert "a.py is write-protected" in done.err


def test_nothing_in_a_patch_is_a_command_for_the_terminal(project: Path, hone: Hone) -> None:
    (project / "a.py").write_text(WRONG.replace("import os", "x = '\x1b]0;owned\x07'  # wr0ng"))
    done = hone("refactor", "fix", "--kind", "statement", "--color", "always", "a.py")
    assert "\x1b[31m" in done.out
    assert "\x1b]" not in done.out
    assert "^[]0;owned^G" in done.out
    assert "\x1b]" in hone("refactor", "fix", "--kind", "statement", "a.py").out, "a patch in a file is exact"


def test_only_one_writes(project: Path, hone: Hone) -> None:
    with Journal(project.resolve()) as journal, journal.alone():
        done = hone("refactor", "fix", "--write")
        assert hone("refactor", "fix", "--check").code == 1, "who only looks may look"
    assert done.code == 2
    assert "another `hone refactor` is writing" in done.err
    assert (project / "a.py").read_text() == WRONG


@pytest.mark.parametrize(
    ("arguments", "stdin", "message"),
    [
        (["-"], "nope.py:3\n", "stdin names nope.py, which does not exist"),
        (["-"], "a.py:99\n", "stdin names a.py:99, which is behind the end of the file"),
        (["--include", "["], None, "--include '[' is no glob"),
        (["--include", "[z-a]"], None, "--include '[z-a]' is no glob"),
        (["--include", "!"], None, "--include '!' is no glob"),
        (["--include", ""], None, "--include '' is no glob"),
        (["--exclude", "[z-a]"], None, "--exclude '[z-a]' is no glob"),
        (["nope"], None, "nope does not exist"),
    ],
)
def test_a_mistake_is_not_nothing_to_do(
    project: Path, hone: Hone, arguments: list[str], stdin: str | None, message: str
) -> None:
    done = hone("refactor", "fix", "--check", *arguments, stdin=stdin)
    assert done.code == 2, done
    assert message in done.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--include", "*.txt"], "no file of python that --include '*.txt' takes was found"),
        (["--name", "nobody"], "no function in 5 files has a name like --name 'nobody'"),
        (["--query", "(while_statement) @it"], "--query captures nothing in 5 files"),
        (["a.py", "--kind", "class"], "there is no class in 1 file"),
        (["latin.py"], "there is no function in 1 file; --kind class or --kind statement selects others"),
    ],
)
def test_why_nothing_is_selected(project: Path, hone: Hone, arguments: list[str], message: str) -> None:
    (project / "latin.py").write_text('# -*- coding: latin-1 -*-\nx = u"a"\n')
    done = hone("refactor", "modernise", "--check", *arguments)
    assert done.code == 0, done
    assert f"nothing is selected: {message}" in done.err


def test_what_was_refused_was_not_interrupted(project: Path, hone: Hone) -> None:
    for flags in (["--verify", "exit 3"], ["--patch", "no/such/folder"]):
        assert hone("refactor", "fix", "--write", *flags).code == 2
        assert "interrupted" not in hone("refactor", "fix", "--check").err
        assert hone("refactor", "--resume").code == 1


@pytest.mark.parametrize(
    ("arguments", "first", "second"),
    [
        (["--undo", "--resume"], "--resume", "--undo"),
        (["fix", ".", "--resume"], "'fix'", "--resume"),
        (["rename", "--undo"], "'rename'", "--undo"),
        (["--resume", "--limit", "3"], "--limit", "--resume"),
        (["--resume", "--check"], "--check", "--resume"),
        (["--undo", "--json"], "--json", "--undo"),
        (["fix", "--query", "(identifier) @it", "--kind", "class"], "--query", "--kind"),
        (["fix", "--json", "--patch", "-"], "--json", "--patch"),
        (["fix", "--verify-timeout", "3"], "--verify-timeout", "--verify COMMAND"),
    ],
)
def test_what_would_be_ignored_is_refused(
    project: Path, hone: Hone, arguments: list[str], first: str, second: str
) -> None:
    done = hone("refactor", *arguments)
    assert done.code == 2, done
    assert first in done.err
    assert second in done.err


def test_the_root_of_what_is_undone_can_be_named(project: Path, hone: Hone, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hone("refactor", "fix", "--write").code == 0
    monkeypatch.chdir(project.parent)
    assert "nope does not exist" in hone("refactor", "--undo", "nope").err
    assert hone("refactor", "--undo", "repo").code == 0
    assert (project / "a.py").read_text() == WRONG


def test_limits_say_what_is_left(project: Path, hone: Hone) -> None:
    done = hone("refactor", "fix", "--limit", "1")
    assert "1 block changed in 1 file, 1 beyond the limit, 5 blocks not looked at, in 3 files" in done.err
    done = hone("refactor", "fix", "--limit-files", "1")
    assert "2 blocks changed in 1 file, 5 blocks not looked at, in 3 files" in done.err
    assert "not looked at" not in hone("refactor", "fix").err


def test_progress_without_a_terminal(
    project: Path, hone: Hone, mender: Mender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "TELL_S", 0.01)
    run = mender.run

    def slow(calls: object) -> object:
        time.sleep(0.1)
        return run(calls)  # type: ignore[arg-type]

    mender.run = slow  # type: ignore[method-assign, assignment]
    done = hone("refactor", "fix")
    assert re.search(r"^hone: \d of 7 blocks, \d of 4 files \(\d+\.\d blocks/s\)$", done.err, re.MULTILINE)


def test_ctrl_c_says_that_answers_are_kept(
    project: Path, hone: Hone, mender: Mender, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("assistant.refactor.command.outcomes", interrupted)
    for flags, how in ([], "the same command goes on"), (["--write"], "`hone refactor --resume` goes on"):
        done = hone("refactor", "fix", *flags)
        assert done.code == 130
        assert f"what was answered so far is in the journal: {how}" in done.err
