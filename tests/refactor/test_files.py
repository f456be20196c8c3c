"""Files are replaced whole, as what they were, and only if they are what they were."""

import os
import stat
from pathlib import Path

import pytest

from assistant.refactor.files import BESIDE, ChangedError, below, current, digest, quoted, read, replace, sweep
from assistant.refactor.files import Original as File
from assistant.workspace.gate import Gate, KeptOut


def test_what_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    data = b"\xef\xbb\xbfx = 1\r\ny = 2"
    path.write_bytes(data)
    path.chmod(0o751)
    has_names = hasattr(os, "setxattr")
    if has_names:
        try:
            os.setxattr(path, "user.note", b"mine")
        except OSError:
            has_names = False
    found = read(Gate(tmp_path), "a.py")
    assert isinstance(found, File)
    assert (found.data, found.mode, found.text) == (data, 0o751, "\ufeffx = 1\r\ny = 2")
    replace(tmp_path, "a.py", b"new", expected=found.digest, mode=found.mode)
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o751
    assert not has_names or os.getxattr(path, "user.note") == b"mine"
    assert [one.name for one in tmp_path.iterdir()] == ["a.py"]


def test_what_changed_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_bytes(b"theirs")
    with pytest.raises(ChangedError, match=r"a\.py has changed meanwhile"):
        replace(tmp_path, "a.py", b"new", expected=digest(b"old"), mode=0o644)
    assert path.read_bytes() == b"theirs"
    path.unlink()
    with pytest.raises(ChangedError):
        replace(tmp_path, "a.py", b"new", expected=digest(b"old"), mode=0o644)
    (tmp_path / "b.py").write_bytes(b"old")
    path.symlink_to("b.py")
    with pytest.raises(ChangedError):
        replace(tmp_path, "a.py", b"new", expected=digest(b"old"), mode=0o644)
    assert (tmp_path / "b.py").read_bytes() == b"old"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.py", "b.py"]


def test_what_a_crash_left_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_bytes(b"old")
    left = tmp_path / f".a.py{BESIDE}"
    left.write_bytes(b"half of")
    replace(tmp_path, "a.py", b"new", expected=digest(b"old"), mode=0o644)
    assert current(tmp_path, "a.py") == digest(b"new")
    left.write_bytes(b"half of")
    sweep(tmp_path, "a.py")
    assert not left.exists()


def test_a_long_name(tmp_path: Path) -> None:
    name = "a" * 250 + ".py"
    (tmp_path / name).write_bytes(b"old")
    replace(tmp_path, name, b"new", expected=digest(b"old"), mode=0o644)
    assert (tmp_path / name).read_bytes() == b"new"


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_what_is_no_file(tmp_path: Path, make: object) -> None:
    make(tmp_path / "a.py")  # type: ignore[operator]
    found = read(Gate(tmp_path), "a.py")
    assert isinstance(found, KeptOut)
    assert found.reason == "not a file"


def test_paths_below_a_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "root"
    (root / "in").mkdir(parents=True)
    (root / "back").symlink_to(root)
    (tmp_path / "other").symlink_to(root)
    monkeypatch.chdir(root / "in")
    assert below(root, Path("a.py")) == "in/a.py"
    assert below(root, Path("../b.py")) == "b.py"
    assert below(root, tmp_path / "other" / "in" / "a.py") == "in/a.py"
    assert below(root, root / "back" / "a.py") == "back/a.py", "a link below the root stays one"
    assert below(root, root) == "."
    assert below(root, tmp_path / "x.py") is None


def test_names_as_git_writes_them() -> None:
    assert quoted("a b/é.py") == "a b/é.py"
    assert quoted('a"b\\c\td\x01.py') == '"a\\"b\\\\c\\td\\001.py"'
