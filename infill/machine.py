"""How fast is this machine just now? A small, fixed amount of work beside every measurement, and the best it can do.

``kernel_ms`` is the unit in which results of different machines and moments are compared (``benchmarks/run.py``):
a matrix product and a memory copy in float32, on one thread.
``peak`` and ``bandwidth`` are what the parts of a step are held against (``benchmarks/parts.py``).
"""

import time
from collections.abc import Callable
from statistics import median

import torch

SIDE = 384
"""Of the matrices multiplied."""
COPIED = 8 * 2**20
"""Bytes copied."""
ROUNDS = 60


def kernel_ms() -> float:
    """Milliseconds of the fixed work: the median of many rounds."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    a, b = torch.rand(SIDE, SIDE), torch.rand(SIDE, SIDE)
    source = torch.zeros(COPIED // 4)
    target = torch.empty_like(source)

    def work() -> None:
        torch.mm(a, b)
        target.copy_(source)

    taken = median(seconds(work) for _ in range(ROUNDS))
    torch.set_num_threads(threads)
    return 1000 * taken


def peak(dtype: torch.dtype, device: torch.device) -> float:
    """Operations a second of the fastest matrix product found, with torch's present number of threads."""
    sides = (512, 1024) if device.type == "cpu" else (4096, 8192)
    return max(2 * side**3 / _product(side, dtype, device) for side in sides)


def _product(side: int, dtype: torch.dtype, device: torch.device) -> float:
    a, b = (torch.rand(side, side, device=device).to(dtype) for _ in range(2))
    return min(seconds(lambda: torch.mm(a, b), device) for _ in range(8))


def bandwidth(nbytes: int, device: torch.device) -> float:
    """Bytes a second when the same ``nbytes`` are read over and over: from a cache where they fit into one."""
    read = torch.zeros(max(nbytes, 4096) // 4, device=device)
    return read.nbytes / min(seconds(read.sum, device) for _ in range(12))


def dispatch_us() -> float:
    """Microseconds of an operation on one number: what torch and Python ask for any operation on the CPU."""
    one = torch.zeros(1)
    many = 1000

    def work() -> None:
        for _ in range(many):
            one.add_(1.0)

    return 1e6 * min(seconds(work) for _ in range(5)) / many


def seconds(work: Callable[[], object], device: torch.device | None = None) -> float:
    """Of one call, waiting for a device that works ahead."""
    if device is not None and device.type == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter()
    work()
    if device is not None and device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began
