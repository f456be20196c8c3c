import io
import stat
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant import source
from assistant.errors import PositionError, SourceError
from assistant.source import check_offset, offset_at, position_at, read_source, take_marker, write_source

TEXTS = st.text(alphabet=st.sampled_from("ab\n\r\té😀\ufeff\x0b\u2028"), max_size=30)


@given(TEXTS)
def test_places_and_offsets_agree(text: str) -> None:
    for offset in range(int(text.startswith("\ufeff")), len(text) + 1):
        if text[max(offset - 1, 0) : offset + 1] != "\r\n":  # no place of its own
            assert offset_at(text, *position_at(text, offset)) == offset


@pytest.mark.parametrize(
    ("text", "line", "column", "offset"),
    [
        ("", 1, 1, 0),
        ("ab", 1, 3, 2),
        ("a\r\nb\n", 2, 1, 3),
        ("a\rb", 2, 2, 3),
        ("a\n", 2, 1, 2),
        ("\ufeffab", 1, 1, 1),
        ("😀é\nx", 1, 3, 2),
        ("a\x0bb\u2028c", 1, 6, 5),
    ],
)
def test_offset_at(text: str, line: int, column: int, offset: int) -> None:
    assert offset_at(text, line, column) == offset


@pytest.mark.parametrize(
    ("line", "column", "message"),
    [
        (3, 1, "line 3 is outside of the text, which has lines 1 to 2"),
        (0, 1, "line 0: lines count from 1"),
        (1, 4, "column 4 is outside of line 1, which has columns 1 to 3"),
        (1, 0, "column 0 is outside of line 1, which has columns 1 to 3"),
        (2, 3, "column 3 is outside of line 2, which has columns 1 to 2"),
    ],
)
def test_a_place_outside_is_named(line: int, column: int, message: str) -> None:
    with pytest.raises(PositionError) as error:
        offset_at("ab\r\nc", line, column)
    assert str(error.value) == message


def test_an_offset_outside_is_named() -> None:
    assert check_offset("abc", 3) == 3
    with pytest.raises(PositionError, match="offset 4 is outside of the text, which has offsets 0 to 3"):
        check_offset("abc", 4)


def test_the_marker_is_taken_out() -> None:
    assert take_marker("a<|>b", "<|>") == ("ab", 1)


@pytest.mark.parametrize(("marker", "count"), [("<|>", 0), ("a", 2), ("", 0)])
def test_the_marker_stands_there_once(marker: str, count: int) -> None:
    with pytest.raises(PositionError, match=f"once, not {count} times"):
        take_marker("a b a", marker)


@pytest.mark.parametrize("data", ["", "a\r\nb\rc\n", "\ufeffx = 1\n", "é😀\t\u2028"])
def test_reading_and_writing_change_nothing(tmp_path: Path, data: str) -> None:
    path = tmp_path / "file.py"
    path.write_bytes(data.encode("utf-8"))
    read = read_source(str(path))
    assert read.text == data
    write_source(path, read.text)
    assert path.read_bytes() == data.encode("utf-8")


def test_writing_keeps_mode_and_link_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path, link = tmp_path / "file.sh", tmp_path / "link.sh"
    path.write_text("old")
    path.chmod(0o750)
    link.symlink_to(path)
    write_source(link, "new")
    assert link.is_symlink()
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o750
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file.sh", "link.sh"]


def test_a_failed_write_leaves_the_old_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.py"
    path.write_text("old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(SourceError, match="cannot be written: No space left on device"):
        write_source(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.py"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"ok \xff", "is not UTF-8 text: byte 3 is 0xff"),
        (b"a\0b", "is not text: byte 1 is zero"),
        ("a".encode("utf-16"), "is not UTF-8 text: byte 0"),
    ],
)
def test_a_file_that_is_no_text_is_named(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(data)
    with pytest.raises(SourceError) as error:
        read_source(str(path))
    assert str(path) in str(error.value)
    assert message in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"nowhere\.py does not exist"):
        read_source(str(tmp_path / "nowhere.py"))
    with pytest.raises(SourceError, match="is not a file"):
        read_source(str(tmp_path))


def test_a_huge_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "LARGEST", 2**20)
    path = tmp_path / "huge.py"
    path.write_bytes(b" " * (2**20 + 1))
    with pytest.raises(SourceError, match="larger than 1 MiB"):
        read_source(str(path))


def test_stdin_takes_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"x = 1\r\n")))
    read = read_source("-", stdin_filename="a.py")
    assert (read.text, read.name, read.path) == ("x = 1\r\n", "a.py", None)
