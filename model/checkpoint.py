"""Folders that hold a model: ``config.json``, ``model.safetensors`` (or shards) and the tokenizer, nothing else needed.

Only safetensors are read, no code and no pickle. The files open with ``transformers`` too (``model.pretrained``).
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from model.config import ModelConfig
from model.denoiser import NetworkDenoiser
from model.network import Network
from model.tokenizer import Tokenizer

DEFAULT_WEIGHTS = Path(__file__).parent / "weights" / "hone-tiny-python"
DEFAULT_EDITS = DEFAULT_WEIGHTS.with_name("hone-tiny-python-edits")
MODEL_TYPE = "hone-canvas"
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
    tensors = {f"network.{name}": value.to(torch.bfloat16).cpu().contiguous() for name, value in state.items()}
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
    config = read_config(folder)
    try:
        tokenizer = Tokenizer.load(folder)
    except (FileNotFoundError, ValueError) as error:
        raise CheckpointError(f"{folder}: {error}") from error
    if tokenizer.vocab_size != config.vocab_size:
        raise CheckpointError(f"{folder}: tokenizer has {tokenizer.vocab_size} tokens, the model {config.vocab_size}")
    with torch.device("meta"):
        network = Network(config)
    wanted = dict(network.named_parameters())
    found: dict[str, Tensor] = {}
    for name, value in _tensors(folder):
        short = name.removeprefix("network.")
        target = wanted.pop(short, None)
        if target is None:
            raise CheckpointError(f"{folder}: tensor {name} does not belong to a model of these sizes")
        if target.shape != value.shape:
            raise CheckpointError(f"{folder}: {name} has shape {tuple(value.shape)}, not {tuple(target.shape)}")
        found[short] = value.to(device, dtype)
    if wanted:
        raise CheckpointError(f"{folder}: {len(wanted)} tensors are missing, {min(wanted)} first")
    network.load_state_dict(found, assign=True)
    network.to(device, dtype)  # The rotary tables, which no checkpoint holds.
    return network.eval(), tokenizer


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
        raw: dict[str, Any] = json.loads(path.read_text("utf-8"))
        if raw.get("model_type") != MODEL_TYPE:
            raise CheckpointError(f"{path}: model_type is {raw.get('model_type')!r}, not {MODEL_TYPE!r}")
        raw = {"inserts": 0, "pairs": 0} | raw  # models from before there were edits, and pairs
        return ModelConfig(**{name: raw[name] for name in ModelConfig().to_dict()})
    except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error


def save_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Atomically, as safetensors."""
    temporary = path.with_name(path.name + ".tmp")
    save_file(tensors, temporary, metadata={"format": "pt"})
    temporary.replace(path)


def write_json(path: Path, value: Any) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(value, indent=2) + "\n", "utf-8")
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


def _tensors(folder: Path) -> list[tuple[str, Tensor]]:
    files = sorted(folder.glob("model*.safetensors"))
    if not files:
        raise CheckpointError(f"{folder} holds no model.safetensors")
    found: list[tuple[str, Tensor]] = []
    for path in files:
        try:
            with safe_open(path, framework="pt") as file:
                found += [(name, file.get_tensor(name)) for name in file.keys()]  # noqa: SIM118 (not a dict)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path} is damaged: {error}") from error
    return found
