"""Muon for the matrices of the body, Adam for everything else, on fp32 masters of bf16 weights.

Muon (Keller Jordan, 2024) orthogonalises the momentum of each matrix with five Newton-Schulz steps. Matrices of one
shape are orthogonalised as one batch. All state is plain tensors, saved as safetensors and resumed exactly.
"""

from collections import defaultdict

import torch
from torch import Tensor

from model.checkpoint import best_dtype
from model.network import Network

AVERAGE_EVERY = 8
"""Steps between updates of the moving average: its horizon is hundreds of steps."""


def orthogonalise(g: Tensor, steps: int = 5) -> Tensor:
    """[n, rows, columns] -> nearest semi-orthogonal matrices, roughly (singular values in 0.7..1.2)."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g.to(best_dtype(g.device))
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.transpose(1, 2)
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        s = x @ x.transpose(1, 2)
        x = a * x + (b * s + c * s @ s) @ x
    result: Tensor = x.transpose(1, 2) if tall else x
    return result


class Optimiser:
    """Holds masters, momenta and the moving average of all weights of one network."""

    def __init__(
        self, network: Network, *, matrix_rate: float, other_rate: float, decay: float = 0.0, average: float = 0.998
    ) -> None:
        self.named = dict(network.named_parameters())
        self.matrix_rate, self.other_rate, self.decay, self.average = matrix_rate, other_rate, decay, average
        self.masters = {name: p.detach().float().clone() for name, p in self.named.items()}
        self.averages = {name: m.clone() for name, m in self.masters.items()}
        self.first = {name: torch.zeros_like(m) for name, m in self.masters.items()}
        self.groups: dict[tuple[int, ...], list[str]] = defaultdict(list)
        for name, p in self.named.items():
            if name.startswith("blocks.") and p.ndim == 2 and "value_" not in name:
                self.groups[tuple(p.shape)].append(name)
        matrices = {name for names in self.groups.values() for name in names}
        self.others = [name for name in self.named if name not in matrices]
        self.second = {name: torch.zeros_like(self.masters[name]) for name in self.others}

    @torch.no_grad()
    def step(self, step: int, factor: float) -> None:
        """One update from the gradients in place; ``step`` counts from 0, ``factor`` scales the learning rates."""
        momentum = 0.85 + 0.1 * min(step / 300, 1.0)
        for shape, names in self.groups.items():
            self._matrices(names, momentum, self.matrix_rate * factor * max(1.0, shape[0] / shape[1]) ** 0.5)
        for name in self.others:
            self._adam(name, step, self.other_rate * factor)
        for name, p in self.named.items():
            p.copy_(self.masters[name])
        if step % AVERAGE_EVERY == 0:
            # The horizon grows with the run (as in EDM), so that the start is forgotten.
            weight = 1 - min(self.average, (1 + step) / (10 + step)) ** AVERAGE_EVERY
            for name, average in self.averages.items():
                average.lerp_(self.masters[name], weight)

    def _matrices(self, names: list[str], momentum: float, rate: float) -> None:
        updates: list[Tensor] = []
        for name in names:
            gradient = self.named[name].grad
            assert gradient is not None
            gradient = gradient.float()
            buffer = self.first[name].lerp_(gradient, 1 - momentum)
            updates.append(gradient.lerp(buffer, momentum))  # Nesterov
        for name, update in zip(names, orthogonalise(torch.stack(updates)).float(), strict=True):
            self.masters[name].mul_(1 - rate * self.decay).add_(update, alpha=-rate)

    def _adam(self, name: str, step: int, rate: float, betas: tuple[float, float] = (0.9, 0.95)) -> None:
        gradient = self.named[name].grad
        if gradient is None:
            return
        gradient = gradient.float()
        first = self.first[name].lerp_(gradient, 1 - betas[0])
        second = self.second[name].mul_(betas[1]).addcmul_(gradient, gradient, value=1 - betas[1])
        scale = (second / (1 - betas[1] ** (step + 1))).sqrt_().add_(1e-10)
        self.masters[name].addcdiv_(first, scale, value=-rate / (1 - betas[0] ** (step + 1)))

    def state(self) -> dict[str, Tensor]:
        """All tensors by name, for a checkpoint."""
        parts = {"master": self.masters, "average": self.averages, "first": self.first, "second": self.second}
        return {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()}

    @torch.no_grad()
    def load(self, state: dict[str, Tensor]) -> None:
        """Takes over what ``state`` gave; the network's weights follow the masters.

        Raises:
            KeyError: a tensor is missing.
        """
        for name, value in self.state().items():
            value.copy_(state[name])
        for name, p in self.named.items():
            p.copy_(self.masters[name])
