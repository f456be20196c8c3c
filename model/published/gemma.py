"""DiffusionGemma through transformers' class: a causal encoder of the context, a canvas that is denoised beside it.

The network is ``transformers``' own (``models/diffusion_gemma``, part of the installed library; nothing of a checkpoint
folder is run). It differs from the other published models in kind: noise is uniform, so there is no mask token; a
canvas starts as random tokens and is told, from its second step on, what it thought in the step before (``thoughts``).
Pictures are not read: the tensors of the vision tower are known by name and left in the file.

It knows ids and tensors, not files or text. Shapes: B rows, L places of the context, C of the canvas, V vocabulary.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Cache, DynamicCache
from transformers.models.diffusion_gemma import DiffusionGemmaConfig, DiffusionGemmaForBlockDiffusion

from model.published.fields import whole

Shapes = dict[str, tuple[int, ...]]
UNREAD = ("model.encoder.vision_tower.", "model.encoder.embed_vision.")


def config_of(config: Mapping[str, Any]) -> DiffusionGemmaConfig:
    """``config.json`` as transformers checks it. Raises ValueError where a field is missing or of another kind."""
    if config.get("model_type") != "diffusion_gemma":
        raise ValueError(f"model_type is {config.get('model_type')!r}, not 'diffusion_gemma'")
    text = config.get("text_config")
    if not isinstance(text, Mapping):
        raise ValueError("text_config is missing")  # noqa: TRY004 (what a file holds is a value)
    if config.get("canvas_length") is not None:
        whole(config, "canvas_length")
    for name in ("vocab_size", "hidden_size", "num_hidden_layers", "num_experts", "top_k_experts"):
        try:
            whole(text, name)
        except ValueError as error:
            raise ValueError(f"text_config.{error}") from None
    vision = config.get("vision_config")
    if isinstance(vision, Mapping) and vision.get("num_hidden_layers") is not None:
        try:
            whole(vision, "num_hidden_layers")  # its layers are counted out, though none is read
        except ValueError as error:
            raise ValueError(f"vision_config.{error}") from None
    if not config.get("tie_word_embeddings", True):
        raise ValueError(
            "tie_word_embeddings is false: only the published layout, where encoder and decoder share, is known"
        )
    try:
        made = DiffusionGemmaConfig(**{name: value for name, value in config.items() if name != "auto_map"})
    except Exception as error:
        # Whatever transformers' checks raise for a wrong field: it is the folder's fault, and the caller is to say so.
        raise ValueError(f"no DiffusionGemma has this configuration: {_last(error)}") from error
    if text["top_k_experts"] > text["num_experts"]:
        raise ValueError(f"top_k_experts {text['top_k_experts']} exceeds the {text['num_experts']} experts there are")
    # The portable kernels: others are not installed everywhere, and "eager" materialises all scores in float32.
    made._attn_implementation = "sdpa"  # noqa: SLF001
    _blank(made)  # what cannot be made is the configuration's fault
    return made


def tensors(config: DiffusionGemmaConfig) -> Shapes:
    """Names and shapes of all that a published file must hold: what the decoder shares with the encoder once."""
    return {name: tuple(t.shape) for name, t in _stored(_blank(config)).items() if not name.startswith(UNREAD)}


def recomputed(config: DiffusionGemmaConfig) -> Shapes:
    """What a file may hold besides, and is not read: the vision tower, and the head, which is the embedding."""
    state = _blank(config).state_dict()
    return {name: tuple(t.shape) for name, t in state.items() if name.startswith(UNREAD) or name == "lm_head.weight"}


@dataclass(frozen=True)
class Context:
    """An encoded context of B rows. Rows end together: padding is on the left, wherever it was."""

    cache: Cache
    valid: Tensor
    """[B, L]."""

    @property
    def lengths(self) -> Tensor:
        """[B]: valid places of each row."""
        return self.valid.sum(1)


class Gemma(nn.Module):
    """Context and canvas in, logits of the canvas out: row i is about the token at place i of the canvas."""

    def __init__(self, model: DiffusionGemmaForBlockDiffusion) -> None:
        super().__init__()
        self.model = model
        self.canvas_length = int(model.config.canvas_length or 0)
        self.vocab: int = model.lm_head.out_features
        # Older versions of transformers call it past_key_values.
        known = inspect.signature(type(model.model.decoder).forward).parameters
        self.cache_name = "cache" if "cache" in known else "past_key_values"

    def encode(self, ids: Tensor, valid: Tensor | None = None) -> Context:
        """ids [B, L], at least one of each row valid (False in ``valid`` [B, L] is padding, on either side)."""
        valid = torch.ones_like(ids, dtype=torch.bool) if valid is None else valid
        if not valid.any(1).all():
            raise ValueError("DiffusionGemma needs a context of at least one token, as the one that begins every text")
        # Sliding layers keep a number of last columns, so rows have to end together.
        order = valid.int().argsort(dim=1, stable=True)
        ids, valid = ids.gather(1, order), valid.gather(1, order)
        cache = DynamicCache(config=self.model.config.get_text_config(decoder=True))
        self.model.model.encoder(
            input_ids=ids,
            attention_mask=None if valid.all() else valid,
            position_ids=(valid.cumsum(1) - 1).clamp_min(0),
            **{self.cache_name: cache},
        )
        return Context(cache, valid)

    def forward(self, context: Context, canvas: Tensor, thoughts: Tensor | None = None) -> Tensor:
        """canvas [B, C]; thoughts [B, C, V]: the logits of the step before, as its sampler left them, or None in the
        first step -> float32 logits [B, C, V]."""
        places = torch.arange(canvas.shape[1], device=canvas.device)
        out = self.model(
            decoder_input_ids=canvas,
            self_conditioning_logits=thoughts,
            decoder_attention_mask=nn.functional.pad(context.valid, (0, canvas.shape[1]), value=True),
            decoder_position_ids=context.lengths[:, None] + places,
            **{self.cache_name: context.cache},
        )
        logits: Tensor = out.logits
        return logits.float()


def build(
    config: DiffusionGemmaConfig, read: Callable[[str], Tensor], *, device: torch.device | str, dtype: torch.dtype
) -> Gemma:
    """The network with the weights that ``read`` gives for each name of ``tensors``."""
    model = _blank(config)
    model.requires_grad_(requires_grad=False)
    model.model.encoder.vision_tower = None
    model.model.encoder.embed_vision = None
    for name in _stored(model):
        parent, _, attribute = name.rpartition(".")
        module, value = model.get_submodule(parent), read(name).to(device=device, dtype=dtype)
        if attribute in module._parameters:  # noqa: SLF001
            setattr(module, attribute, nn.Parameter(value, requires_grad=False))
        else:
            module.register_buffer(attribute, value)
    for module in model.modules():
        _recompute(module, config, device)
    for name, source in model.all_tied_weights_keys.items():
        if not name.startswith(UNREAD):
            parent, _, attribute = name.rpartition(".")
            setattr(model.get_submodule(parent), attribute, model.get_parameter(source))
    blank = [name for name, t in [*model.named_parameters(), *model.named_buffers()] if t.is_meta]
    assert not blank, blank
    return Gemma(model.eval())


def _blank(config: DiffusionGemmaConfig) -> DiffusionGemmaForBlockDiffusion:
    try:
        with torch.device("meta"):
            return DiffusionGemmaForBlockDiffusion(config)
    except Exception as error:
        # The same: an activation that transformers does not know is a KeyError.
        raise ValueError(f"no DiffusionGemma can be made of this: {_last(error)}") from error


def _last(error: Exception) -> str:
    """The last line of what transformers says, which has its reason."""
    lines = str(error).strip().splitlines()
    return lines[-1].strip()[:200] if lines else type(error).__name__


def _stored(model: DiffusionGemmaForBlockDiffusion) -> dict[str, Tensor]:
    """What of the model's state stands in a file: tied tensors once."""
    return {name: t for name, t in model.state_dict().items() if name not in model.all_tied_weights_keys}


def _recompute(module: nn.Module, config: DiffusionGemmaConfig, device: torch.device | str) -> None:
    """Fills what is in no file: tables of rotations, scales of embeddings."""
    fresh = dict(module.named_buffers(recurse=False))
    if any(name.endswith("inv_freq") for name in fresh):
        # On the CPU as transformers does it, so that the numbers are the same.
        made = type(module)(config.text_config)
        fresh = {name: getattr(made, name).to(device) for name in fresh}
    elif "embed_scale" in fresh:
        fresh = {"embed_scale": torch.tensor(module.scalar_embed_scale, device=device)}
    else:
        return
    for name, value in fresh.items():
        module.register_buffer(name, value, persistent=False)
