"""What the gate keeps out. The rules of .gitignore are compared with git itself."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from assistant.workspace import gate as module
from assistant.workspace.gate import Gate, KeptOut, content

IGNORED = [
    # (ignore files by folder, path, whether git ignores it)
    ({"": "*.log\n"}, "a.log", True),
    ({"": "*.log\n"}, "deep/er/a.log", True),
    ({"": "/a.log\n"}, "deep/a.log", False),
    ({"": "/a.log\n"}, "a.log", True),
    ({"": "build/\n"}, "build/x.py", True),
    ({"": "build/\n"}, "deep/build/x.py", True),
    ({"": "build/\n"}, "build", False),
    ({"": "deep/build\n"}, "x/deep/build/a.py", False),
    ({"": "*.py\n!keep.py\n"}, "keep.py", False),
    ({"": "*.py\n!keep.py\n"}, "lose.py", True),
    ({"": "!keep.py\n*.py\n"}, "keep.py", True),
    ({"": "data/\n!data/keep.py\n"}, "data/keep.py", True),
    ({"": "data/*\n!data/keep.py\n"}, "data/keep.py", False),
    ({"": "data/*\n!data/keep.py\n"}, "data/lose.py", True),
    ({"": "data/*\n!data/in/\n"}, "data/in/a.py", False),
    ({"": "**/tmp/*.py\n"}, "a/b/tmp/c.py", True),
    ({"": "a/**/z.py\n"}, "a/z.py", True),
    ({"": "a/**/z.py\n"}, "a/b/c/z.py", True),
    ({"": "a/**\n"}, "a/b/c.py", True),
    ({"": "a?.py\n"}, "ab.py", True),
    ({"": "a[!b].py\n"}, "ab.py", False),
    ({"": "a[!b].py\n"}, "ac.py", True),
    ({"": "# a.py\n"}, "a.py", False),
    ({"": "\\#a.py\n"}, "#a.py", True),
    ({"": "\\!a.py\n"}, "!a.py", True),
    ({"": "a.py   \n"}, "a.py", True),
    ({"": "a\\ \n"}, "a ", True),
    ({"": "\n\n"}, "a.py", False),
    ({"": "*\n!*/\n!*.py\n"}, "deep/a.py", False),
    ({"": "*\n!*/\n!*.py\n"}, "deep/a.txt", True),
    ({"": "*.py\n", "deep": "!a.py\n"}, "deep/a.py", False),
    ({"": "*.py\n", "deep": "!a.py\n"}, "a.py", True),
    ({"": "!a.py\n", "deep": "*.py\n"}, "deep/a.py", True),
    ({"deep": "a.py\n"}, "a.py", False),
    ({"deep": "/a.py\n"}, "deep/a.py", True),
    ({"deep": "/a.py\n"}, "deep/er/a.py", False),
    ({"": "deep/\n", "deep": "!a.py\n"}, "deep/a.py", True),
    ({".git/info": "a.py\n"}, "a.py", True),
    ({".git/info": "a.py\n", "": "!a.py\n"}, "a.py", False),
    ({"user": "a.py\n"}, "a.py", True),
    ({"user": "a.py\n", ".git/info": "!a.py\n"}, "a.py", False),
    ({"": "\xe4.py\n"}, "\xe4.py", True),
    ({"": "A.py\r\n"}, "A.py", True),
    ({"": "*\n!a/\n"}, "a/b.py", True),
    ({"": "a/**\n!a/b/\n"}, "a/b/c.py", True),
    ({"": "/*\n!/a\n"}, "a/b.py", False),
    ({"": "/*\n!/a\n"}, "b/a/c.py", True),
    ({"": "x.py\n!x.py/\n"}, "x.py/x.py", True),
    ({"": "a/b\n!b\n"}, "a/b/c.py", False),
    ({"": "[a\n"}, "a.py", False),
]


@pytest.mark.parametrize(("rules", "path", "expected"), IGNORED, ids=lambda value: repr(value)[:60])
def test_ignore_files_mean_what_git_says(
    root: Path, home: Path, rules: dict[str, str], path: str, expected: bool
) -> None:
    git = shutil.which("git")
    if git is None:
        (root / ".git" / "info").mkdir(parents=True)
    else:
        subprocess.run([git, "init", "-q", str(root)], check=True)
    for folder, text in rules.items():
        file = root / folder / (".gitignore" if folder != ".git/info" else "exclude")
        if folder == "user":
            file = home / ".config" / "git" / "ignore"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode())
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text("")
    if git is not None:
        asked = subprocess.run([git, "-C", str(root), "check-ignore", "-q", "--no-index", path], check=False)
        assert (asked.returncode == 0) == expected, "the table is wrong"
    reason = Gate(root).path(path)
    assert (reason is not None) == expected
    assert path not in {found.path for found in Gate(root).walk()} or not expected
    if expected:
        assert reason is not None
        assert reason.startswith("ignored by ")


def test_a_workspace_inside_of_a_repository_obeys_its_rules(root: Path) -> None:
    (root / ".git").mkdir()
    (root / ".gitignore").write_text("*.gen.py\n")
    inner = root / "packages" / "one"
    inner.mkdir(parents=True)
    assert Gate(inner).path("a.gen.py") == "ignored by .gitignore"
    assert Gate(inner).path("a.py") is None


def test_whoever_opens_an_ignored_folder_means_it(root: Path) -> None:
    (root / ".git").mkdir()
    (root / ".gitignore").write_text("scratch/\n")
    (root / "scratch").mkdir()
    (root / "scratch" / ".gitignore").write_text("b.py\n")
    assert Gate(root).path("scratch/a.py") is not None
    assert Gate(root / "scratch").path("a.py") is None
    assert Gate(root / "scratch").path("b.py") is not None


def test_worktrees_share_the_rules_of_their_repository(root: Path, tmp_path: Path) -> None:
    main = tmp_path / "main" / ".git"
    (main / "info").mkdir(parents=True)
    (main / "info" / "exclude").write_text("a.py\n")
    (main / "worktrees" / "tree").mkdir(parents=True)
    (main / "worktrees" / "tree" / "commondir").write_text("../..\n")
    (root / ".git").write_text(f"gitdir: {main}/worktrees/tree\n")
    assert Gate(root).path("a.py") == "ignored by .git/info/exclude"


def test_a_rule_that_came_later_counts_after_a_refresh(root: Path) -> None:
    gate = Gate(root)
    assert gate.path("a.py") is None
    (root / ".gitignore").write_text("a.py\n")
    gate.refresh()
    assert gate.path("a.py") is not None


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (".env", "'.env' of the built-in list"),
        ("deep/.ssh/config", "'.ssh/' of the built-in list"),
        ("x.gen.py", "'*.gen.py' of the option exclude"),
        ("../a.py", "outside of the workspace"),
        ("deep/../../a.py", "outside of the workspace"),
        ("/etc/passwd", "'passwd' of the built-in list"),
        ("/usr/lib/a.py", "outside of the workspace"),
    ],
)
def test_every_refusal_names_its_rule(root: Path, path: str, reason: str) -> None:
    found = Gate(root, ("*.gen.py",)).path(path)
    assert found is not None
    assert reason in found


def test_links_are_not_followed(root: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "a.py").write_text("canary = 1\n")
    (tmp_path / ".env").write_text("canary\n")
    (root / "loop").symlink_to(root)
    (root / "away").symlink_to(tmp_path / "outside")
    (root / "away.py").symlink_to(tmp_path / "outside" / "a.py")
    (root / "env.py").symlink_to(tmp_path / ".env")
    (root / "b.py").write_text("b = 1\n")
    kept: list[KeptOut] = []
    gate = Gate(root)
    assert [found.path for found in gate.walk(kept)] == ["b.py"]
    assert {one.path for one in kept} == {"loop", "away", "away.py", "env.py"}
    assert gate.path("away/a.py") == "a link that leads out of the workspace"
    assert "built-in list" in (gate.path("env.py") or "")
    assert isinstance(gate.read("away.py"), KeptOut)
    assert gate.read("b.py") == "b = 1\n"
    assert gate.path("loop/b.py") is None, "the same file by another way"


def test_a_root_behind_a_link_is_a_root(root: Path, tmp_path: Path) -> None:
    (root / "b.py").write_text("b = 1\n")
    (tmp_path / "link").symlink_to(root)
    gate = Gate(tmp_path / "link")
    assert gate.read("b.py") == "b = 1\n"
    assert gate.path(root / "b.py") is None


def test_folders_that_nobody_writes_in_are_not_entered(root: Path) -> None:
    for folder in ("node_modules", ".git", "__pycache__", "myenv"):
        (root / folder).mkdir()
        (root / folder / "a.py").write_text("a = 1\n")
    (root / "myenv" / "pyvenv.cfg").write_text("")
    kept: list[KeptOut] = []
    assert list(Gate(root).walk(kept)) == []
    assert {one.path for one in kept} == {"node_modules/", ".git/", "__pycache__/", "myenv/"}


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_what_cannot_be_read_is_told(root: Path) -> None:
    (root / "a.py").write_text("a = 1\n")
    (root / "a.py").chmod(0)
    assert isinstance(Gate(root).read("a.py"), KeptOut)


def test_what_is_no_file_is_not_waited_for(root: Path) -> None:
    os.mkfifo(root / "pipe.py")
    assert list(Gate(root).walk()) == []
    assert Gate(root).read("pipe.py") == KeptOut("pipe.py", "not a file")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"a\0b", "not text"),
        (b"caf\xe9", "not UTF-8 text"),
        (b"x" * (module.LARGEST + 1), "larger than"),
        (b"x" * (module.LONGEST_LINE + 1), "lines that nobody writes"),
        (b"// Code generated by protoc. DO NOT EDIT.\n", "generated"),
        (b"# @generated\n", "generated"),
        (b"k = '''-----BEGIN PRIVATE KEY-----\nabc\n'''", "holds a private key (line 1)"),
    ],
)
def test_content_that_is_kept_out(root: Path, data: bytes, reason: str) -> None:
    (root / "a.py").write_bytes(data)
    found = Gate(root).read("a.py")
    assert isinstance(found, KeptOut)
    assert reason in found.reason


def test_plain_code_passes(root: Path) -> None:
    for text in ("", "a = 1\n", "\ufeffa = 1\r\n", "def generated(): ...\n# do not edit the name\n"):
        (root / "a.py").write_bytes(text.encode())
        assert Gate(root).read("a.py") == text.removeprefix("\ufeff")
    assert content("a = 1\n") is None


def test_the_larger_part_of_our_own_code_passes() -> None:
    here = Path(__file__).resolve().parents[2]
    gate = Gate(here)
    texts = [gate.read(found.path) for found in gate.walk() if found.path.startswith(("lsp/", "model/", "infill/"))]
    code = [text for text in texts if isinstance(text, str)]
    assert len(code) >= 0.9 * len([text for text in texts if isinstance(text, str) or "holds" in text.reason])


def test_a_name_that_is_no_text_is_kept_out_and_said(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/bad\xff.py"
    try:
        Path(os.fsdecode(path)).write_text("x = 1\n", encoding="utf-8")
    except OSError:
        pytest.skip("this file system takes text alone")
    kept_out: list[KeptOut] = []
    assert not list(Gate(tmp_path).walk(kept_out))
    assert [(one.path, one.reason) for one in kept_out] == [("bad\\udcff.py", "its name is no text")]
