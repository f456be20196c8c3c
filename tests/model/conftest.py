"""A data folder of real code in miniature, a tokenizer trained on it, and an untrained network of test size."""

import sysconfig
from pathlib import Path

import pytest
import torch

from model.config import SIZES, ModelConfig
from model.corpus import write_corpus
from model.network import Network
from model.tokenizer import Tokenizer

MODULES = ("textwrap", "shlex", "bisect", "heapq", "fnmatch", "string", "copy", "glob", "queue", "sched")


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``train``, ``valid`` and ``tokenizer`` as `hone data build` leaves them."""
    folder = tmp_path_factory.mktemp("data")
    library = Path(sysconfig.get_path("stdlib"))
    files = [
        (path.read_bytes(), "library", path.name) for name in MODULES if (path := library / f"{name}.py").is_file()
    ]
    assert len(files) == len(MODULES)
    write_corpus(folder / "train", iter(files[:-2]))
    write_corpus(folder / "valid", iter(files[-2:]))
    Tokenizer.train((content.decode() for content, _, _ in files), vocab_size=1024).save(folder / "tokenizer")
    return folder


@pytest.fixture(scope="session")
def tokenizer(data: Path) -> Tokenizer:
    return Tokenizer.load(data / "tokenizer")


@pytest.fixture(scope="session")
def config(tokenizer: Tokenizer) -> ModelConfig:
    return ModelConfig(**{**SIZES["nano"].to_dict(), "vocab_size": tokenizer.vocab_size, "pairs": 2048})


@pytest.fixture
def network(config: ModelConfig) -> Network:
    """float32, with every matrix away from zero, so that nothing is equal by accident."""
    made = Network(config)
    generator = torch.Generator().manual_seed(3)
    made.initialise(generator)
    with torch.no_grad():
        for p in made.parameters():
            p.add_(torch.randn(p.shape, generator=generator) * 0.05)
    return made.eval()
