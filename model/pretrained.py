"""The canvas model as ``transformers`` classes, so that the ecosystem's tools open, save and share it.

The folder is the same as ``model.checkpoint`` writes. Importing this module registers both classes with the Auto
classes; nothing is executed from the folder.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from model.config import ModelConfig
from model.network import Canvases, Network
from model.published.kind import MODEL_TYPE


class HoneCanvasConfig(PretrainedConfig):
    """``ModelConfig`` as ``config.json``."""

    model_type = MODEL_TYPE

    def __init__(self, **values: Any) -> None:
        sizes = {name: values.pop(name, default) for name, default in ModelConfig().to_dict().items()}
        super().__init__(**values)
        for name, value in sizes.items():
            setattr(self, name, value)

    def sizes(self) -> ModelConfig:
        return ModelConfig(**{name: getattr(self, name) for name in ModelConfig().to_dict()})


class HoneCanvasModel(PreTrainedModel):
    """Wraps ``Network``; ``forward`` takes streams and, if given, canvases behind them."""

    config_class = HoneCanvasConfig
    base_model_prefix = "network"

    def __init__(self, config: HoneCanvasConfig) -> None:
        super().__init__(config)
        self.network = Network(config.sizes())
        self.post_init()  # type: ignore[no-untyped-call]

    def _init_weights(self, module: torch.nn.Module) -> None:
        if isinstance(module, Network):
            module.reset_rotary()
            # After loading, transformers calls this once more and marks what came from the file.
            if not any(getattr(p, "_is_hf_initialized", False) for p in module.parameters()):
                module.initialise(torch.Generator().manual_seed(torch.initial_seed() % 2**31))

    def forward(self, input_ids: Tensor, canvases: Canvases | None = None, **_: Any) -> BaseModelOutput:
        """Hidden states [B, T, D] of the causal stream, and of the canvases [B, C, D] as ``hidden_states[0]``."""
        if canvases is None:
            blank = input_ids.new_zeros(input_ids.shape[0], 0)
            canvases = Canvases(blank, blank, blank, blank, blank)
        stream, canvas = self.network(input_ids, canvases)
        return BaseModelOutput(last_hidden_state=stream, hidden_states=(canvas,))


AutoConfig.register(MODEL_TYPE, HoneCanvasConfig)
AutoModel.register(HoneCanvasConfig, HoneCanvasModel)
