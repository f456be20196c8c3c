"""The mean of the weights of models that were trained on from the same ones (`python -m model.average`).

"Model soups" (Wortsman et al. 2022): models at the ends of runs that began alike lie in one basin of the loss, and what
each has of noise is less in their mean. It costs no training (docs/log.md has what it was worth).
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from model.checkpoint import CheckpointError, load_model, save_model
from model.network import Network
from model.options import Parser
from model.tokenizer import Tokenizer


def average(folders: Sequence[Path], out: Path) -> None:
    """Writes the mean of the models in ``folders`` to ``out``, bf16; it is made in float32.

    Raises:
        CheckpointError: a folder is no model, or another one's shape or tokenizer.
    """
    network, tokenizer = _load(folders[0])
    texts = _texts(tokenizer)
    total = {name: p.detach().clone() for name, p in network.named_parameters()}
    for folder in folders[1:]:
        other, its = _load(folder)
        if other.config != network.config or _texts(its) != texts:
            raise CheckpointError(f"{folder} has another shape or tokenizer than {folders[0]}: they have no mean")
        for name, p in other.named_parameters():
            total[name] += p.detach()
    save_model(out, network, tokenizer, {name: value / len(folders) for name, value in total.items()})


def _load(folder: Path) -> tuple[Network, Tokenizer]:
    return load_model(folder, device=torch.device("cpu"), dtype=torch.float32)


def _texts(tokenizer: Tokenizer) -> list[bytes]:
    return [tokenizer.token_bytes(i) for i in range(tokenizer.vocab_size)]


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(
        prog="python -m model.average", description="Average models that were trained on from the same one."
    )
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help="a model, as `hone train` writes it")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the mean goes")
    arguments: argparse.Namespace = parser.parse_args(argv)
    try:
        average(arguments.folders, arguments.out)
    except CheckpointError as error:
        parser.error(str(error))
    sys.stdout.write(f"{arguments.out}: the mean of {len(arguments.folders)} models\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
