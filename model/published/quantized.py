"""Matrices of a network in 8 or 4 bits: weights alone, made wide again for each product.

The packing is bitsandbytes' (optional): blockwise dynamic 8 bits (Dettmers et al., arXiv 2110.02861) and 4-bit
NormalFloat (QLoRA, arXiv 2305.14314). Embeddings, heads, norms, biases and routers stay as they are. What is saved is
memory; a pass is not faster by it. The loss is measured by ``benchmarks/quantize.py``.
"""

import importlib
import logging
import sys
import warnings
from collections.abc import Iterator
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

BITS = {"int8": 8, "int4": 4}
"""What a person may ask for."""
BYTES = {"int8": 1.02, "int4": 0.57}
"""Bytes for each number, scales included."""
MATRICES = ("qkv", "out", "gate_up", "down")
MISSING = "--quantize needs bitsandbytes: pip install 'hone[quantize]'"


class Quantized:
    """One matrix [out, in], or several of the same shape [E, out, in]."""

    def __init__(self, weight: Tensor, kind: str) -> None:
        """Raises ValueError: no such kind, or the library for it is not installed."""
        if kind not in BITS:
            raise ValueError(f"quantize must be one of {', '.join(BITS)}, not {kind!r}")
        library = _library()
        self.shape = weight.shape
        self.dtype = torch.uint8
        self._parts: list[Quantized] = []
        if weight.ndim == 3:
            self._parts = [Quantized(part, kind) for part in weight]
            return
        self._wide = library.dequantize_4bit if kind == "int4" else library.dequantize_blockwise
        if kind == "int4":
            self._packed, self._state = library.quantize_4bit(weight.contiguous(), blocksize=64, quant_type="nf4")
        else:
            self._packed, self._state = library.quantize_blockwise(weight.contiguous(), blocksize=256)

    def __iter__(self) -> Iterator["Quantized"]:
        return iter(self._parts)

    @property
    def nbytes(self) -> int:
        if self._parts:
            return sum(part.nbytes for part in self._parts)
        return int(self._packed.nbytes + self._state.absmax.nbytes)

    def wide(self) -> Tensor:
        """The matrix as it is multiplied with."""
        found: Tensor = self._wide(self._packed, self._state)
        return found.view(self.shape)


def linear(x: Tensor, weight: Tensor | Quantized, bias: Tensor | None = None) -> Tensor:
    return functional.linear(x, weight.wide() if isinstance(weight, Quantized) else weight, bias)


def quantize_layer(layer: nn.Module, kind: str) -> None:
    """The matrices of a layer in place of themselves."""
    for module in list(layer.modules()):
        for name in MATRICES:
            weight = module._parameters.get(name)  # noqa: SLF001 (a parameter cannot be replaced by anything else)
            if weight is not None and weight.ndim > 1:
                delattr(module, name)
                setattr(module, name, Quantized(weight.data, kind))


def count_parameters(network: nn.Module) -> int:
    """Numbers that the network has learnt, however they are held."""
    held = [value for module in network.modules() for value in vars(module).values() if isinstance(value, Quantized)]
    return sum(p.numel() for p in network.parameters()) + sum(prod(one.shape) for one in held)


def _library() -> Any:
    # With the package ``kernels`` beside it, it fetches compiled code from the hub and runs it; for products that are
    # not used here. Without, it complains.
    sys.modules["kernels"] = None  # type: ignore[assignment]
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module("bitsandbytes.functional")
        except ImportError as error:
            raise ValueError(MISSING) from error
