"""Weights in 8 and 4 bits: how far from the wide ones, how much smaller, and what is left as it is."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from assistant.config import Settings
from assistant.models import for_edits
from assistant.service import describe, open_infiller
from model.published import quantized
from model.published.denoiser import Around, Published
from model.published.load import memory, open_published
from model.published.quantized import MISSING, Quantized, count_parameters
from tests.model.published.test_load import asked
from tests.published import TEXT, learn, make


def opened(path: Path, kind: str | None) -> Published:
    return open_published(path, device="cpu", dtype="float32", quantize=kind)


@pytest.mark.parametrize(("kind", "most"), [("int8", 0.02), ("int4", 0.12)])
def test_a_matrix_is_near_what_it_was_and_smaller(kind: str, most: float) -> None:
    weight = torch.randn(192, 128, generator=torch.Generator().manual_seed(1)) * 0.05
    small = Quantized(weight, kind)
    assert small.wide().shape == weight.shape
    assert (small.wide() - weight).norm() / weight.norm() < most
    assert small.nbytes <= weight.numel() * quantized.BYTES[kind] * 1.1


def test_no_compiled_code_is_fetched_from_the_hub(tmp_path: Path) -> None:
    """bitsandbytes asks for it on some processors as soon as it is imported, and on others in the first product."""
    (tmp_path / "kernels.py").write_text("def get_kernel(*_, **__):\n    raise SystemExit('fetched')\n")
    code = "import model.published.quantized as q, importlib; q._library(); importlib.import_module('kernels')"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert ended.stderr.splitlines()[-1].startswith("ModuleNotFoundError: import of kernels halted")
    assert "kernels-community" not in ended.stderr


@pytest.mark.parametrize("family", ["dream", "coda", "llada", "llada-moe", "llada2", "sdar"])
@pytest.mark.parametrize(("kind", "most"), [("int8", 0.1), ("int4", 0.7)])
def test_a_network_in_fewer_bits_says_nearly_the_same(tmp_path: Path, family: str, kind: str, most: float) -> None:
    path = make(tmp_path, family)
    wide, small = opened(path, None), opened(path, kind)
    mask = wide.tokenizer.mask
    call = asked(wide, Around((60, 61, 62), (63,)), [mask] * 4)
    exact, rounded = wide.run([call])[0], small.run([call])[0]
    known = exact.isfinite()
    apart = (exact - rounded)[known].norm() / exact[known].norm()
    assert 0 < apart < most


def test_embedding_head_and_router_stay_as_they_are(tmp_path: Path) -> None:
    path = make(tmp_path, "llada2")
    wide, small = opened(path, None), opened(path, "int4")
    left = dict(small.network.named_parameters())
    assert {"embedding", "head", "norm"} <= left.keys()
    assert any(name.endswith("feed.gate") for name in left)
    assert not any(name.endswith(quantized.MATRICES) for name in left)
    assert torch.equal(left["head"], wide.network.get_parameter("head"))


def test_what_was_learnt_is_still_known_in_8_bits(tmp_path: Path) -> None:
    """The loss in nats of a model that knows a text by heart, before and after. In 4 bits so small a one forgets it."""
    published = opened(make(tmp_path, "llada"), None)
    learn(published, TEXT)
    ids = torch.tensor(published.tokenizer.encode(TEXT))
    places = torch.arange(5, len(ids), 7)
    row = ids.clone()
    row[places] = published.tokenizer.mask

    def lost() -> float:
        logits = published.network(row[None])[0]
        return float(torch.nn.functional.cross_entropy(logits[places], ids[places]))

    before = lost()
    for layer in published.network.get_submodule("layers").children():
        quantized.quantize_layer(layer, "int8")
    assert lost() - before < 0.01


def test_a_network_in_fewer_bits_has_as_many_parameters(tmp_path: Path) -> None:
    path = make(tmp_path, "llada2")
    wide, small = opened(path, None).network, opened(path, "int4").network
    assert count_parameters(small) == count_parameters(wide) == sum(p.numel() for p in wide.parameters())


def test_memory_is_asked_for_what_is_held() -> None:
    parameters = 10**10
    wide = memory(parameters, torch.bfloat16)
    small = memory(parameters, torch.bfloat16, "int4", outer=parameters // 10)
    assert wide / 2.6 > small > wide / 4


@pytest.mark.parametrize("family", ["mdlm", "diffusion-gemma"])
def test_other_networks_are_opened_as_they_are_only(tmp_path: Path, family: str) -> None:
    with pytest.raises(ValueError, match="not with --quantize int8"):
        opened(make(tmp_path, family), "int8")


def test_a_model_of_ours_beside_a_published_one_is_opened_as_it_is(tmp_path: Path) -> None:
    settings = Settings(edit_model=make(tmp_path, "llada"), quantize="int8", device="cpu", dtype="float32")
    assert describe(open_infiller(settings), "ours").instruct_model is None
    assert describe(open_infiller(for_edits(settings)), "theirs").instruct_model == "theirs"


def test_an_unknown_kind_and_a_missing_library_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="one of int8, int4, not 'int2'"):
        Quantized(torch.zeros(2, 2), "int2")

    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ValueError, match="pip install"):
        Quantized(torch.zeros(64, 64), "int8")
    assert "hone[quantize]" in MISSING
