"""The mean of models: of all their weights, of one kind only."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model.average import main
from model.checkpoint import load_model, save_model
from model.config import ModelConfig
from model.network import Network
from model.tokenizer import Tokenizer


def saved(folder: Path, network: Network, tokenizer: Tokenizer, factor: float = 1.0) -> Path:
    weights = {name: p.detach() * factor for name, p in network.named_parameters()}
    save_model(folder, network, tokenizer, weights)
    return folder


def test_every_weight_is_the_mean(network: Network, tokenizer: Tokenizer, tmp_path: Path) -> None:
    folders = [saved(tmp_path / str(factor), network, tokenizer, factor) for factor in (1.0, 2.0, 0.0)]
    assert main([*map(str, folders), "--out", str(tmp_path / "mean")]) == 0
    mean, _ = load_model(tmp_path / "mean", device=torch.device("cpu"), dtype=torch.float32)
    for name, p in network.named_parameters():
        torch.testing.assert_close(mean.get_parameter(name), p, rtol=0.01, atol=1e-6)


def test_models_of_other_kinds_are_refused(
    network: Network, config: ModelConfig, tokenizer: Tokenizer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = saved(tmp_path / "one", network, tokenizer)
    wider = saved(tmp_path / "wider", Network(replace(config, d_ff=2 * config.d_ff)), tokenizer)
    for other, why in ((wider, "another shape"), (tmp_path / "none", "none")):
        with pytest.raises(SystemExit) as stopped:
            main([str(one), str(other), "--out", str(tmp_path / "mean")])
        assert stopped.value.code == 2
        assert why in capsys.readouterr().err
        assert not (tmp_path / "mean").exists()
