"""A model made to write as many tokens as is asked for, and a gate that lets everything pass: for measurements where
all sides must write as much, or where only the model is looked at."""

import torch
from torch import Tensor

from model.denoiser import NetworkDenoiser, State
from model.network import Network
from model.tokenizer import Tokenizer

STEEP = 8.0
"""Log p that a length loses for each token more or less than wished for."""


class Forced(NetworkDenoiser):
    """Its length head, which is computed as ever, then answers that ``left`` tokens are missing. ``endless``: the
    causal head never says that the text ends."""

    def __init__(self, network: Network, tokenizer: Tokenizer, *, endless: bool = False) -> None:
        super().__init__(network, tokenizer)
        self.endless = endless
        self.left = 0
        """The engine asks once for each block; it writes a full one where more is missing than a canvas holds."""
        self.looks = 0
        """How often it was asked for the next token."""

    def length_logprobs(self, state: State, *, line: bool = False) -> Tensor:
        lengths = torch.arange(self.max_hole + 2, device=self.device)
        wished = -STEEP * (lengths - min(self.left, self.max_hole + 1)).abs().float()
        self.left -= self.max_hole
        return wished.log_softmax(-1).to(super().length_logprobs(state, line=line))

    def next_logits(self, state: State) -> Tensor:
        self.looks += 1
        return self._endless(super().next_logits(state))

    def last_logits(self, state: State, count: int) -> Tensor:
        return self._endless(super().last_logits(state, count))

    def _endless(self, logits: Tensor) -> Tensor:
        if self.endless:
            logits[..., self.tokenizer.eot] = -torch.inf
        return logits


class OpenGate:
    """Lets everything pass, so that nothing is mended."""

    checked = False
    can_be_clean = False

    def __init__(self, _prefix: str, _suffix: str, _language: str | None) -> None:
        pass

    def accepts(self, _middle: str, *, clean: bool = False) -> bool:  # noqa: ARG002
        return True

    def errors(self, _middle: str, *, clean: bool = False) -> list[tuple[int, int]]:  # noqa: ARG002
        return []

    def longest_valid(self, middle: str, *, clean: bool = False) -> str:  # noqa: ARG002
        return middle

    def closed(self, middle: str) -> str:
        return middle
