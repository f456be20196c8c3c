"""The index: what is in it, that it follows the workspace, and that nothing breaks it for good."""

import json
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from filelock import FileLock

from assistant.workspace import index
from assistant.workspace.gate import Gate
from assistant.workspace.index import Progress, Reader, Swept, folder, forget, index_file, prune, sweep, update


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_py", ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def swept(root: Path) -> Swept:
    found = sweep(Gate(root))
    assert found is not None
    return found


def names(root: Path) -> list[str]:
    db = sqlite3.connect(index_file(root))
    try:
        return [name for (name,) in db.execute("SELECT name FROM definitions ORDER BY name")]
    finally:
        db.close()


def consistent(root: Path) -> None:
    """Both halves of the index tell the same."""
    db = sqlite3.connect(index_file(root))
    try:
        db.execute("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)")
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("SELECT count(*) FROM definitions WHERE file NOT IN (SELECT id FROM files)").fetchone() == (
            0,
        )
    finally:
        db.close()


def test_a_sweep_reads_only_what_has_changed(root: Path) -> None:
    write(root, a_py="def one(): pass\n", deep__b_py="def two(): pass\n")
    first = swept(root)
    assert (first.files, first.definitions, first.changed) == (2, 2, 2)
    assert swept(root).changed == 0
    write(root, a_py="def three(): pass\n")
    os.utime(root / "a.py", ns=(1, 1))
    assert swept(root).changed == 1
    assert names(root) == ["three", "two"]
    (root / "deep" / "b.py").rename(root / "c.py")
    assert swept(root).removed == 1
    reader = Reader(index_file(root))
    assert [entry.path for entry in reader.named(["two"])] == ["c.py"]
    (root / "c.py").unlink()
    swept(root)
    assert names(root) == ["three"]
    consistent(root)


def test_updates_look_at_the_named_files_only(root: Path) -> None:
    write(root, a_py="def one(): pass\n", b_py="def two(): pass\n", pkg__c_py="def in_folder(): pass\n")
    swept(root)
    write(root, a_py="def eins(): pass\n", b_py="def zwei(): pass\n")
    assert update(Gate(root), ["a.py"]) == 1
    assert names(root) == ["eins", "in_folder", "two"]
    assert update(Gate(root), ["a.py"]) == 0, "its content is the same"
    (root / "pkg" / "c.py").unlink()
    (root / "pkg").rmdir()
    assert update(Gate(root), ["pkg", "never/there.py", "notes.md"]) == 1, "a folder stands for what was in it"
    write(root, a_py="def one(): pass\n")
    (root / ".gitignore").write_text("a.py\n")
    assert update(Gate(root), ["a.py", "../outside.py"]) == 1
    assert names(root) == ["two"]
    consistent(root)


def test_nothing_of_what_is_kept_out_is_in_it(root: Path) -> None:
    canary = "zq9" + "canary"
    key = canary + "A1b2C3d4E5f6G7h8"
    write(root, fine_py="def fine(): pass\n", leak_py=f"def leak():\n    api_key = '{key}'\n")
    write(root, ignored_py=f"def ignored(): return '{canary}'\n", secrets__x_py=f"{canary} = 1\n")
    (root / ".gitignore").write_text("ignored.py\n")
    (root / ".env").write_text(f"KEY={key}\n")
    (root / "id.pem").write_text(canary)
    (root / "latin.py").write_bytes(f"{canary} = '\xe4'\n".encode("latin-1"))
    found = swept(root)
    assert names(root) == ["fine"]
    reasons = {one.path: one.reason for one in found.kept_out}
    assert reasons["ignored.py"] == "ignored by .gitignore"
    assert reasons["leak.py"] == "holds what looks like a secret (line 2)"
    assert reasons["latin.py"] == "not UTF-8 text"
    assert reasons["secrets/"].startswith("matches 'secrets/'")
    for file in folder().iterdir():
        assert canary.encode() not in file.read_bytes()


def test_a_key_that_is_written_later_takes_the_file_out(root: Path) -> None:
    write(root, a_py="def one(): pass\n")
    swept(root)
    token = "gh" + "p_" + "a1B2" * 9
    write(root, a_py=f"def one(): return '{token}'\n")
    update(Gate(root), ["a.py"])
    assert names(root) == []
    assert token.encode() not in b"".join(file.read_bytes() for file in folder().iterdir())
    assert "GitHub" in (Reader(index_file(root)).reason("a.py") or "")


def test_nobody_else_can_read_it(root: Path) -> None:
    write(root, a_py="def one(): pass\n")
    swept(root)
    if os.name != "nt":
        assert index_file(root).stat().st_mode & 0o077 == 0
        assert folder().stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("damage", ["garbage", "torn", "empty", "other version", "other root"])
def test_a_damaged_index_is_made_anew(root: Path, damage: str) -> None:
    write(root, **{f"f{number}_py": f"def name_{number}(): pass\n" for number in range(60)})
    swept(root)
    file = index_file(root)
    data = file.read_bytes()
    if damage == "garbage":
        file.write_bytes(b"this is no database" * 1000)
    elif damage == "torn":
        file.write_bytes(data[: len(data) // 2])
    elif damage == "empty":
        file.write_bytes(b"")
    else:
        db = sqlite3.connect(file)
        key, value = ("version", "0") if damage == "other version" else ("root", "/elsewhere")
        db.execute("UPDATE meta SET value = ? WHERE key = ?", (value, key))
        db.commit()
        db.close()
    reader = Reader(file)
    reader.named(["name_1"])  # whoever reads meanwhile gets nothing, or something; never an error
    reader.close()
    assert swept(root).definitions == 60
    assert [entry.path for entry in Reader(file).named(["name_1"])] == ["f1.py"]
    consistent(root)


def test_a_reader_sees_what_is_written_while_it_is_open(root: Path) -> None:
    write(root, a_py="def one(): pass\n")
    reader = Reader(index_file(root))
    assert reader.named(["one"]) == [], "there is no index yet"
    swept(root)
    before = reader.refresh()
    assert len(reader.named(["one"])) == 1
    write(root, b_py="def one(): pass\n")
    update(Gate(root), ["b.py"])
    assert reader.refresh() != before
    assert len(reader.named(["one"])) == 2


def test_ways_to_look_things_up(root: Path) -> None:
    write(
        root, pkg__mod_py="def parse_line(text): return split_fields(text)\nclass Parser:\n    def parse(self): ...\n"
    )
    write(root, a_py="def other(): pass\n", **{f"m{number}_py": "def many(): pass\n" for number in range(6)})
    swept(root)
    reader = Reader(index_file(root))
    assert [entry.name for entry in reader.named(["parse_line", "nothing"])] == ["parse_line"]
    assert [(entry.scope, entry.kind) for entry in reader.named(["parse"])] == [("Parser", "method")]
    assert reader.named(["many"], most=5) == [], "too common to say anything"
    assert [entry.name for entry in reader.beginning("parse")] == ["parse", "parse_line"]
    assert reader.like(["split_fields", "text"])[0].name == "parse_line"
    assert reader.like([]) == []
    assert reader.like(['quote"and OR words']) == []
    assert reader.ending("pkg/mod.py") == ["pkg/mod.py"]
    assert reader.ending("kg/mod.py") == []
    assert reader.near("pkg") == ["pkg/mod.py"]
    assert reader.near("", most=2) != []
    assert reader.has("a.py")
    assert not reader.has("b.py")
    assert reader.size() == (8, 10)
    assert reader.is_whole()


def test_one_sweep_at_a_time(root: Path) -> None:
    write(root, a_py="def one(): pass\n")
    swept(root)
    with FileLock(index_file(root).with_name(index_file(root).name + ".lock")):
        assert sweep(Gate(root)) is None


def test_a_sweep_that_was_stopped_is_gone_on_with(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "BATCH", 10)
    write(root, **{f"f{number}_py": f"def name_{number}(): pass\n" for number in range(40)})
    told: list[Progress] = []
    sweep(Gate(root), on_progress=told.append, should_stop=lambda: len(told) == 2)
    assert told[-1] == Progress(20, 40, 20)
    reader = Reader(index_file(root))
    assert reader.size() == (20, 20)
    assert not reader.is_whole()
    assert swept(root).changed == 20
    reader.refresh()
    assert reader.size() == (40, 40)
    assert reader.is_whole()
    consistent(root)


def started(root: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "assistant.workspace", "sweep", str(root), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])


def test_a_process_killed_in_the_middle_leaves_a_good_index(root: Path) -> None:
    body = "".join(f"def name_{number}(): pass\n" for number in range(300))
    write(root, **{f"f{number}_py": body for number in range(300)})
    child = started(root)
    assert child.stdout is not None
    first = json.loads(child.stdout.readline())
    assert first["done"] < first["total"] == 300
    child.kill()
    child.wait()
    child.stdout.close()
    done, _ = Reader(index_file(root)).size()
    assert 0 < done < 300
    found = swept(root)
    assert found.changed <= 300 - done, "what was written stays written"
    assert found.definitions == 300 * 300
    consistent(root)


def test_two_processes_at_once(root: Path) -> None:
    write(root, **{f"f{number}_py": f"def name_{number}(): pass\n" for number in range(200)})
    children = [started(root), started(root)]
    said = [[json.loads(line) for line in child.communicate(timeout=60)[0].splitlines()] for child in children]
    assert [child.returncode for child in children] == [0, 0]
    assert any("files" in lines[-1] for lines in said)
    assert Reader(index_file(root)).size() == (200, 200)
    consistent(root)


def test_the_process_ends_when_nobody_listens_any_more(root: Path) -> None:
    body = "".join(f"def name_{number}(): pass\n" for number in range(200))
    write(root, **{f"f{number}_py": body for number in range(400)})
    child = started(root)
    assert child.stdout is not None
    child.stdout.readline()
    child.stdout.close()
    child.wait(60)
    assert Reader(index_file(root)).size()[0] < 400
    assert not psutil.pid_exists(child.pid) or child.returncode is not None


def test_the_index_goes_with_the_workspace(root: Path, tmp_path: Path) -> None:
    write(root, a_py="def one(): pass\n")
    swept(root)
    other = tmp_path / "other"
    write(other, a_py="def one(): pass\n")
    swept(other)
    assert prune() == []
    for path in root.iterdir():
        path.unlink()
    root.rmdir()
    assert prune() == [str(root)]
    assert not index_file(root).exists()
    assert index_file(other).exists()
    assert prune(time.time() + index.UNUSED_S + 60) == [str(other)]
    assert not index_file(other).exists()


def test_it_can_be_forgotten(root: Path) -> None:
    write(root, a_py="def one(): pass\n")
    assert not forget(root)
    swept(root)
    assert forget(root)
    assert list(folder().iterdir()) == []


def test_a_cache_folder_that_cannot_be_written_is_told(root: Path, home: Path) -> None:
    (home / "cache").write_text("a file where the folder should be")
    done = subprocess.run(
        [sys.executable, "-m", "assistant.workspace", "sweep", str(root)],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 2
    assert "Error" in json.loads(done.stdout)["error"]
    assert done.stderr == ""


def test_two_roots_have_two_indexes(tmp_path: Path) -> None:
    assert index_file(tmp_path / "a" / "src") != index_file(tmp_path / "b" / "src")
