"""What attrs had compiled is kept from start to start, and never believed blindly."""

import gc
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from lsp.start import kept_at, kept_code


def writer() -> ModuleType:
    """A module that compiles what it is told to, as ``attr._make`` does."""
    module = ModuleType("writer")
    exec("def value(text):\n    return eval(compile(text, '<written>', 'eval'))", module.__dict__)
    return module


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "code.bin"


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was compiled anew, in order."""
    texts: list[str] = []

    def spy(text: str, *arguments: object, **named: object) -> object:
        texts.append(text)
        return compile(text, *arguments, **named)  # type: ignore[call-overload]

    monkeypatch.setattr("lsp.start.compile", spy, raising=False)
    return texts


def values(path: Path, *texts: str) -> list[object]:
    module = writer()
    with kept_code(module, path):
        found = [module.value(text) for text in texts]
    assert "compile" not in vars(module)
    return found


def test_what_was_compiled_once_is_not_compiled_again(path: Path, compiled: list[str]) -> None:
    assert values(path, "1 + 1", "'é'") == [2, "é"]
    assert values(path, "1 + 1", "'é'") == [2, "é"]
    assert compiled == ["1 + 1", "'é'"]


def test_another_text_is_compiled(path: Path, compiled: list[str]) -> None:
    values(path, "1 + 1")
    assert values(path, "1 + 2", "1 + 1") == [3, 2]
    assert values(path, "1 + 2") == [3]
    assert compiled == ["1 + 1", "1 + 2"]


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-5], lambda data: b"", lambda data: data[:50] + b"x" + data[51:]]
)
def test_a_damaged_file_is_written_anew(path: Path, compiled: list[str], damage: object) -> None:
    values(path, "1 + 1")
    assert callable(damage)
    path.write_bytes(damage(path.read_bytes()))
    assert values(path, "1 + 1") == [2]
    assert values(path, "1 + 1") == [2]
    assert compiled == ["1 + 1", "1 + 1"]


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="has no such modes")
def test_a_file_that_others_may_write_is_not_believed(path: Path, compiled: list[str]) -> None:
    values(path, "1 + 1")
    assert path.stat().st_mode & 0o077 == 0
    path.chmod(0o666)
    assert values(path, "1 + 1") == [2]
    assert compiled == ["1 + 1", "1 + 1"]


def test_no_folder_to_write_to_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert values(tmp_path / "file" / "code.bin", "1 + 1") == [2]
    assert [found.name for found in tmp_path.iterdir()] == ["file"]


def test_a_server_that_starts_again_has_nothing_to_compile(tmp_path: Path) -> None:
    env = {**os.environ, "HONE_CACHE_DIR": str(tmp_path), "HONE_DAEMON": "never"}
    starts = "import sys; from assistant.cli import main; sys.exit(main(['lsp']))"
    subprocess.run([sys.executable, "-c", starts], env=env, input=b"", check=True, timeout=60)
    (file,) = tmp_path.iterdir()
    assert file.name == kept_at().name
    before = file.stat().st_mtime_ns
    subprocess.run([sys.executable, "-c", starts], env=env, input=b"", check=True, timeout=60)
    assert file.stat().st_mtime_ns == before
    probe = (
        "import lsp.start, attr._make, sys, unittest.mock as mock\n"
        "with mock.patch.object(lsp.start, 'compile', side_effect=AssertionError('compiled'), create=True):\n"
        "    with lsp.start.kept_code(attr._make, lsp.start.kept_at()):\n"
        "        import lsprotocol.types as types\n"
        "assert types.Position(1, 2) == types.Position(1, 2) != types.Position(1, 3)\n"
    )
    subprocess.run([sys.executable, "-c", probe], env=env, check=True, timeout=60)


def test_garbage_is_collected_again_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    import lsp.server
    import lsp.start
    from assistant.config import Settings

    monkeypatch.setattr(lsp.server, "serve", lambda *_, **__: int(gc.isenabled()))
    try:
        assert lsp.start.serve(Settings()) == 1
    finally:
        gc.unfreeze()
