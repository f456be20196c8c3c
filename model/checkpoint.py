"""Folders that hold a model: ``config.json``, ``model.safetensors`` (or shards) and the tokenizer, nothing else needed.

Only safetensors are read, no code and no pickle. The files open with ``transformers`` too (``model.pretrained``).
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from model.config import ModelConfig
from model.denoiser import NetworkDenoiser
from model.jsonfile import read_json, write_json
from model.network import Network
from model.published.folder import Folder, open_folder
from model.published.kind import MODEL_TYPE
from model.tokenizer import Tokenizer

DEFAULT_WEIGHTS = Path(__file__).parent / "weights" / "hone-tiny-python"
DEFAULT_EDITS = DEFAULT_WEIGHTS.with_name("hone-tiny-python-edits")
PREFIX = "network."
"""Of the name of every tensor in a file."""
SHARD = 48 * 2**20
"""Bytes of one weight file at most, so that each can be kept in git."""


class CheckpointError(Exception):
    """A folder that is no usable checkpoint; the message names the file and what is wrong with it."""


def save_model(folder: Path, network: Network, tokenizer: Tokenizer, weights: dict[str, Tensor] | None = None) -> None:
    """Writes a folder that ``load_model`` and ``transformers`` read; bf16, each file replaced atomically.

    ``weights`` (by parameter name) replaces the network's own, for an average.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: p.detach() for name, p in network.named_parameters()} if weights is None else weights
    tensors = {PREFIX + name: value.to(torch.bfloat16).cpu().contiguous() for name, value in state.items()}
    shards = _shards(tensors)
    where: dict[str, str] = {}
    for i, shard in enumerate(shards):
        name = "model.safetensors" if len(shards) == 1 else f"model-{i + 1:05}-of-{len(shards):05}.safetensors"
        save_tensors(folder / name, shard)
        where |= dict.fromkeys(shard, name)
    if len(shards) > 1:
        size = sum(value.nbytes for value in tensors.values())
        write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": size}, "weight_map": where})
    config = {
        "model_type": MODEL_TYPE,
        "architectures": ["HoneCanvasModel"],
        "dtype": "bfloat16",
        "pad_token_id": tokenizer.pad,
        "tie_word_embeddings": True,
        **network.config.to_dict(),
    }
    tokenizer.save(folder)
    write_json(folder / "config.json", config)


def load_model(folder: Path, *, device: torch.device, dtype: torch.dtype) -> tuple[Network, Tokenizer]:
    """Reads a folder, strictly: every tensor there, of the right shape, and none besides.

    Raises:
        CheckpointError: the folder or a file in it is missing, damaged or another model's.
    """
    looked = look(folder)
    with torch.device("meta"):
        network = Network(looked.config)
    try:
        found = {name: looked.folder.read(PREFIX + name).to(device, dtype) for name, _ in network.named_parameters()}
    except (ValueError, OSError) as error:
        raise CheckpointError(str(error)) from error
    network.load_state_dict(found, assign=True)
    network.to(device, dtype)  # The rotary tables, which no checkpoint holds.
    return network.eval(), looked.tokenizer


@dataclass(frozen=True)
class Looked:
    """A folder of which everything is known but its tensors."""

    folder: Folder
    config: ModelConfig
    tokenizer: Tokenizer


def look(folder: Path) -> Looked:
    """A folder whose configuration, tokenizer and headers of the weights fit each other. No tensor is read.

    Raises:
        CheckpointError: as ``load_model``.
    """
    config = read_config(folder)
    try:
        found, tokenizer = open_folder(folder), Tokenizer.load(folder)
        _check(found, config, tokenizer)
    except (ValueError, OSError) as error:
        raise CheckpointError(str(error)) from error
    return Looked(found, config, tokenizer)


def _check(found: Folder, config: ModelConfig, tokenizer: Tokenizer) -> None:
    """Raises ValueError, naming what does not fit."""
    if tokenizer.vocab_size != config.vocab_size:
        raise ValueError(f"{found.path}: tokenizer has {tokenizer.vocab_size} tokens, the model {config.vocab_size}")
    least = config.parameters()["total"]
    if least > found.parameters:  # before a network of these sizes is drawn up
        raise ValueError(f"{found.path} holds {found.parameters} numbers, but its config.json needs {least} or more")
    with torch.device("meta"):
        network = Network(replace(config, context=1, glue=1))  # which no tensor depends on
    found.check({PREFIX + name: tuple(value.shape) for name, value in network.named_parameters()}, {})


def load_denoiser(
    folder: Path | None = None, *, device: str = "auto", dtype: str = "auto", graphs: bool = False
) -> NetworkDenoiser:
    """The embedded model, or the one in ``folder``, ready for the engine.

    ``device``: "auto" (CUDA, then MPS, then CPU), "cpu", "cuda", "cuda:1", "mps". ``dtype``: "auto" (bf16 where the
    hardware multiplies it, else float32), "bfloat16", "float32". ``graphs``: replay passes as CUDA graphs, which only a
    CUDA device does (``model.graphs``).

    Raises:
        CheckpointError: see ``load_model``; also a device that is not there.
    """
    place = choose_device(device)
    network, tokenizer = load_model(folder or DEFAULT_WEIGHTS, device=place, dtype=choose_dtype(dtype, place))
    return NetworkDenoiser(network, tokenizer, graphs=graphs and place.type == "cuda")


def choose_device(name: str = "auto") -> torch.device:
    """The device of that name.

    Raises:
        CheckpointError: it is unknown or not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise CheckpointError(f"device {name!r} is unknown: choose auto, cpu, cuda or mps") from error
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(device.type, False):
        raise CheckpointError(f"device {name!r} is not available here: choose auto or cpu")
    return device


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """The number format of that name; auto: the device's fastest.

    Raises:
        CheckpointError: it is unknown.
    """
    kinds = {"bfloat16": torch.bfloat16, "float32": torch.float32, "auto": best_dtype(device)}
    if name not in kinds:
        raise CheckpointError(f"dtype {name!r} is unknown: choose one of {', '.join(kinds)}")
    return kinds[name]


def best_dtype(device: torch.device) -> torch.dtype:
    """The number format in which a device computes fastest."""
    if device.type != "cpu":
        return torch.bfloat16
    # torch has no public question for it; without such instructions bf16 is emulated, and slower than float32.
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()  # noqa: SLF001
    return torch.bfloat16 if fast else torch.float32


def read_config(folder: Path) -> ModelConfig:
    """The sizes in ``config.json``.

    Raises:
        CheckpointError: it is missing or not one of ours.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise CheckpointError(f"{folder} is no model folder: it holds no config.json")
    try:
        raw = read_json(path)
    except (ValueError, OSError) as error:
        raise CheckpointError(str(error)) from error
    if raw.get("model_type") != MODEL_TYPE:
        raise CheckpointError(f"{path}: model_type is {raw.get('model_type')!r:.60}, not {MODEL_TYPE!r}")
    raw = {"inserts": 0, "pairs": 0} | raw  # models from before there were edits, and pairs
    names = list(ModelConfig().to_dict())
    missing = [name for name in names if name not in raw]
    if missing:
        raise CheckpointError(f"{path} lacks {missing[0]}, one of the sizes of a model of Hone")
    try:
        return ModelConfig(**{name: raw[name] for name in names})
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error


def save_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Atomically, as safetensors."""
    temporary = path.with_name(path.name + ".tmp")
    save_file(tensors, temporary, metadata={"format": "pt"})
    temporary.replace(path)


def _shards(tensors: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    shards: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, value in tensors.items():
        if size + value.nbytes > SHARD and shards[-1]:
            shards.append({})
            size = 0
        shards[-1][name] = value
        size += value.nbytes
    return shards
