"""What weights in 8 and 4 bits cost in quality: nats per token of the embedded model, before and after.

Published checkpoints cannot be had everywhere, so the loss is measured on the weights that ship: every matrix of every
layer is packed as ``hone ... --quantize`` packs it and unpacked again; embedding and head stay as they are, as there.
The text is the installed starlette, a package that the model never saw. A small model loses more than a large one.
Ends with one line of JSON.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from model.checkpoint import DEFAULT_WEIGHTS, load_model
from model.denoiser import NetworkDenoiser
from model.layout import encode_context
from model.network import Network
from model.published.quantized import BITS, BYTES, Quantized
from model.tokenizer import Tokenizer

EVERY = 1500
"""Characters between two places."""
BEHIND = 48
"""Tokens that are scored behind each."""


def texts(n: int) -> list[str]:
    """Held-out files, the longest first."""
    spec = find_spec("starlette")
    assert spec is not None
    assert spec.origin is not None
    files = sorted(Path(spec.origin).parent.rglob("*.py"), key=lambda path: (-path.stat().st_size, path.name))
    return [path.read_text(encoding="utf-8") for path in files[:n]]


def nats(network: Network, tokenizer: Tokenizer, found: Sequence[str]) -> float:
    """Mean of the causal head over what follows places in each text, as a completion would be judged."""
    denoiser = NetworkDenoiser(network, tokenizer)
    total, count = 0.0, 0
    for text in found:
        for at in range(EVERY, len(text) - EVERY, EVERY):
            laid = encode_context(
                tokenizer, text[:at], "", language="python", filename="routing.py", context=denoiser.context,
                glue=denoiser.glue, reserve=BEHIND,
            )  # fmt: skip
            row = tokenizer.encode(text[at : at + 8 * BEHIND])[:BEHIND]
            log_p = denoiser.score(denoiser.encode(laid.ids), torch.tensor([row]))
            total, count = total - float(log_p.sum()), count + len(row)
    return total / count


def packed(network: Network, kind: str) -> int:
    """Every matrix of the layers as it comes out of its packing; the number of matrices."""
    matrices = [p for name, p in network.named_parameters() if p.ndim == 2 and name.startswith("blocks.")]
    for p in matrices:
        p.data.copy_(Quantized(p.data, kind).wide())
    return len(matrices)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=24, help="files (24)")
    parser.add_argument("--model", type=Path, default=DEFAULT_WEIGHTS)
    options = parser.parse_args(argv)
    found = texts(options.n)
    rows: dict[str, dict[str, float]] = {}
    with torch.inference_mode():
        for kind in ("float32", *BITS):
            network, tokenizer = load_model(options.model, device=torch.device("cpu"), dtype=torch.float32)
            matrices = packed(network, kind) if kind in BITS else 0
            assert matrices or kind == "float32", "no matrix was found"
            rows[kind] = {"nats": nats(network, tokenizer, found), "bytes": BYTES.get(kind, 4.0)}
    table = Table("weights", "bytes each", "nats per token", "more")
    for kind, row in rows.items():
        more = row["nats"] / rows["float32"]["nats"] - 1
        table.add_row(kind, f"{row['bytes']:.2f}", f"{row['nats']:.4f}", f"{100 * more:+.2f} %")
    Console(file=sys.stderr).print(table)
    sys.stdout.write(json.dumps({"benchmark": "quantize", "files": len(found), "rows": rows}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
