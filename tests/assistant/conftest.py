"""A private home for every test, and engines to stand in for the embedded model."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from assistant import models, service
from infill.engine import Infiller
from model.checkpoint import save_model
from model.config import SIZES, ModelConfig
from model.network import Network
from tests.fakes import ScriptedDenoiser, small_tokenizer

KnowAnswer = Callable[..., ScriptedDenoiser]


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No settings of whoever runs the tests; no colours, a fixed width."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / ".config"))
    monkeypatch.setenv("HONE_RUNTIME_DIR", str(folder / "runtime"))
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("HONE_CONFIG", "HONE_MODEL", "HONE_DEVICE", "FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def know(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> KnowAnswer:
    """know(prefix, answer): the model that opens from now on knows that ``answer`` follows ``prefix``; none edits."""
    monkeypatch.setattr(models, "EMBEDDED_EDITS", tmp_path / "none")

    def install(prefix: str, answer: str) -> ScriptedDenoiser:
        denoiser = ScriptedDenoiser(prefix, answer)
        monkeypatch.setattr(service, "open_infiller", lambda _: Infiller(denoiser))
        return denoiser

    return install


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny model that has learned nothing: everything is real but the answers."""
    folder = tmp_path_factory.mktemp("checkpoint")
    tokenizer = small_tokenizer()
    config = ModelConfig(**SIZES["nano"].to_dict() | {"vocab_size": tokenizer.vocab_size})
    torch.manual_seed(0)
    save_model(folder, Network(config), tokenizer)
    return folder
