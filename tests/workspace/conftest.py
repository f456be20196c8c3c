"""A private home for every test, with a cache folder of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serve.processes import private


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with private(tmp_path) as folder:
        monkeypatch.setenv("HONE_CACHE_DIR", str(tmp_path / "cache"))
        yield folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder
