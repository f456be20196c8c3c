"""DiffusionGemma as the engine sees it: a context that is encoded once, a canvas that is told its own thoughts.

Its noise is random tokens, so a canvas has no masks, and nothing is filled in place: the text behind a hole stands in
the prompt. Shapes: B rows, L places of the context, C of the canvas, V vocabulary.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from transformers.models.diffusion_gemma import DiffusionGemmaConfig

from model.calls import Call, Encode, Think
from model.published import gemma
from model.published.denoiser import Published


@dataclass(frozen=True)
class GemmaSizes:
    config: DiffusionGemmaConfig
    vocab: int
    positions: int
    block: int = 0


@dataclass(eq=False)
class Encoded:
    """The state of a context."""

    ids: tuple[int, ...]
    context: gemma.Context
    beside: int = 0

    @property
    def nbytes(self) -> int:
        layers = getattr(self.context.cache, "layers", ())
        return sum(layer.keys.nbytes + layer.values.nbytes for layer in layers if layer.keys is not None)


def sizes(config: Mapping[str, Any]) -> GemmaSizes:
    """Raises ValueError, naming the field."""
    made = gemma.config_of(config)
    text = made.get_text_config(decoder=True)
    return GemmaSizes(made, int(text.vocab_size), int(text.max_position_embeddings))


def tensors(found: GemmaSizes) -> gemma.Shapes:
    return gemma.tensors(found.config)


def recomputed(found: GemmaSizes) -> gemma.Shapes:
    return gemma.recomputed(found.config)


def build(found: GemmaSizes, read: Any, *, device: torch.device | str, dtype: torch.dtype) -> gemma.Gemma:
    return gemma.build(found.config, read, device=device, dtype=dtype)


class Uniform(Published):
    """A ``Published`` that encodes and thinks, and does nothing else."""

    def __init__(self, network: torch.nn.Module, *args: Any, **options: Any) -> None:
        super().__init__(network, *args, **options)
        self.gemma = cast(gemma.Gemma, network)
        self.canvas_length = self.gemma.canvas_length

    def run(self, calls: Sequence[Call]) -> list[Any]:
        """One pass for each call: contexts and canvases are of different lengths.

        Raises:
            ValueError: a call that this network cannot answer; nothing is computed then.
        """
        for call in calls:
            if not isinstance(call, Encode | Think):
                raise ValueError(f"{self.family.title} fills no masks: it writes behind a prompt")  # noqa: TRY004
            if isinstance(call, Encode) and not 0 < len(call.ids) <= self.positions - self.canvas_length:
                most = self.positions - self.canvas_length
                raise ValueError(f"a prompt has 1 to {most} tokens, not {len(call.ids)}")
        return [self._answer(call) for call in calls]

    def _answer(self, call: Call) -> Encoded | Tensor:
        if isinstance(call, Encode):
            ids = torch.tensor([list(call.ids)], device=self.device)
            return Encoded(tuple(call.ids), self.gemma.encode(ids))
        assert isinstance(call, Think)
        logits: Tensor = self.gemma(call.state.context, call.canvas, call.thoughts)
        return logits
