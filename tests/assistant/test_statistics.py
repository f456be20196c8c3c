"""Counts on disk: several writers, nothing but numbers, and what `hone stats` says of them."""

import json
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from assistant import statistics
from assistant.cli import main
from assistant.statistics import STEPS_MS, Statistics, read, report, statistics_file

ROOT = Path(__file__).resolve().parents[2]
WRITER = """
from assistant.statistics import Statistics
one = Statistics()
for _ in range(200):
    one.count("asked", "python")
    one.flush()
one.close()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HONE_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def fill() -> None:
    one = Statistics()
    for name, n in {
        "asked": 90, "by_hand": 10, "overtaken": 20, "quiet_deleting": 8, "quiet_eagerness": 12, "shown": 40,
        "accepted": 10, "accepted_word": 3, "kept_30s_exact": 6, "kept_30s_similar": 2, "kept_30s_gone": 2,
        "edit_shown": 4, "edit_accepted": 3, "action_fillHole": 1,
    }.items():  # fmt: skip
        one.count(name, "python", n)
    for ms in [*[18.0] * 9, 10**9]:
        one.took(ms, "python")
    one.count("asked", "lua", 5)
    one.close()


def test_several_processes_count_into_one_file() -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER], cwd=ROOT) for _ in range(3)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    assert [(row.language, row.name, row.n) for row in read()] == [("python", "asked", 600)]


def test_it_waits_for_another_process() -> None:
    """Also for one that is just making the file."""
    statistics_file().parent.mkdir()
    with closing(sqlite3.connect(statistics_file(), isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN EXCLUSIVE")
        release = threading.Timer(0.3, lambda: other.execute("COMMIT"))
        release.start()
        one = Statistics()
        one.count("asked")
        one.flush()
        release.join()
        assert [row.n for row in read()] == [1]
        one.close()


def test_what_could_not_be_written_is_written_the_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "BUSY_S", 0.01)
    statistics_file().parent.mkdir()
    one = Statistics(every_s=60)
    with closing(sqlite3.connect(statistics_file(), isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        one.count("asked")
        one.flush()
    one.count("asked")
    one.close()
    assert [row.n for row in read()] == [2]


def test_it_is_written_in_the_background() -> None:
    one = Statistics(every_s=0.01)
    one.count("asked")
    deadline = time.monotonic() + 20
    while not read():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    one.close()
    one.close()
    assert sum(row.n for row in read()) == 1


def test_the_report() -> None:
    fill()
    found = report()["all"]
    assert found["show_rate"] == 0.7647  # 85 questions were not overtaken, 20 of them stayed without an answer
    assert found["accept_rate"] == 0.25
    assert found["quiet"] == {"deleting": 8, "eagerness": 12}
    assert found["kept"]["30s"]["rate"] == 0.8
    assert found["kept"]["2min"]["rate"] is None
    assert found["latency_ms"] == {"p50": 20, "p95": STEPS_MS[-1]}
    assert set(report()["languages"]) == {"lua", "python"}
    assert report()["languages"]["lua"]["accept_rate"] is None
    assert list(report()["days"]) == [time.strftime("%Y-%m-%d")]


def test_days_are_counted_back_from_today() -> None:
    fill()
    with closing(sqlite3.connect(statistics_file())) as database, database:
        database.execute("INSERT INTO counts VALUES ('2001-01-01', 'python', 'asked', 7)")
    assert report()["all"]["asked"] == 102
    assert report(1)["all"]["asked"] == 95


def test_names_of_languages_that_are_none_are_not_stored() -> None:
    one = Statistics()
    one.count("asked", "/home/me/secret.py")
    one.count("asked", "C++")
    one.close()
    assert {row.language for row in read()} == {"other", "c++"}


def test_a_file_that_cannot_be_written_costs_the_counts_only(folder: Path) -> None:
    folder.write_text("a file where the folder should be", encoding="utf-8")
    one = Statistics()
    one.count("asked")
    one.close()
    assert folder.read_text(encoding="utf-8") == "a file where the folder should be"


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stats"]) == 1
    assert "nothing has been counted yet" in capsys.readouterr().err
    fill()
    assert main(["stats"]) == 0
    shown = capsys.readouterr().out
    assert "python" in shown
    assert "25 %" in shown
    assert "█" in shown
    assert main(["stats", "--json", "--days", "3"]) == 0
    assert json.loads(capsys.readouterr().out) == report()
    for bad in ("0", "x", "-1"):
        assert main(["stats", f"--days={bad}"]) == 2
    assert main(["stats", "--reset"]) == 0
    assert main(["stats", "--json"]) == 1
    assert read() == []


def test_a_damaged_file_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder.mkdir()
    statistics_file().write_bytes(b"no database" * 1000)
    assert main(["stats"]) == 2
    assert "statistics.sqlite3" in capsys.readouterr().err
    one = Statistics()
    one.count("asked")
    one.close()


def test_nothing_is_stored_beside_the_counts() -> None:
    fill()
    with closing(sqlite3.connect(statistics_file())) as database:
        tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        columns = [row[1] for row in database.execute("PRAGMA table_info(counts)")]
    assert tables == ["counts"]
    assert columns == ["day", "language", "name", "n"]
