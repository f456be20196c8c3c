"""The published families, as data: how a folder is recognised, which network it holds, and how that is asked.

Nothing of a folder is trusted to say how it is to be run: a family's attention, shift, mask and end tokens stand here.
Facts from the projects' own configurations, code and model cards (docs/models.md has the sources).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

import torch
from torch import Tensor

from model.published import dense, dit, moe
from model.published.fields import said, whole

Shapes = Mapping[str, tuple[int, ...]]
Read = Callable[[str], Tensor]


class Sizes(Protocol):
    @property
    def vocab(self) -> int: ...
    @property
    def positions(self) -> int: ...
    @property
    def block(self) -> int: ...


@dataclass(frozen=True)
class Layout:
    """How the tensors of a file become a network."""

    sizes: Callable[[Mapping[str, Any]], Any]
    """``config.json`` -> ``Sizes``; ValueError names the field that cannot be used."""
    tensors: Callable[[Any], Shapes]
    recomputed: Callable[[Any], Shapes]
    build: Callable[..., torch.nn.Module]
    """(sizes, read, device=, dtype=), and quantize= where it can."""
    can_quantize: bool = False


@dataclass(frozen=True)
class Chat:
    """How an instruction is put to an instruct checkpoint: text of ours with special tokens by name."""

    before: str
    after: str


CHATML = Chat(
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n",
    "<|im_end|>\n<|im_start|>assistant\n",
)
LLAMA3 = Chat(
    "<|startoftext|><|start_header_id|>user<|end_header_id|>\n\n",
    "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
)
LING = Chat(
    "<role>SYSTEM</role>detailed thinking off<|role_end|><role>HUMAN</role>", "<|role_end|><role>ASSISTANT</role>"
)

GEMMA4 = Chat("<bos><|turn>user\n", "<turn|>\n<|turn>model\n")

QWEN_FIM = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")
QWEN_ENDS = ("<|endoftext|>", "<|im_end|>")


@dataclass(frozen=True)
class Family:
    name: str
    title: str
    layout: Layout
    sampler: str
    """A name in ``infill.published.PUBLISHED``: how its authors sample."""
    masks: tuple[str, ...] = ("<|mask|>",)
    """Names of the mask token, in the order in which they are looked for."""
    mask: int | None = None
    """Its id, where neither the configuration nor the tokenizer tells."""
    shift: bool = False
    """What is said at a place is about the token behind it, as in the autoregressive model that it was made from."""
    ends: tuple[str, ...] = QWEN_ENDS
    """Tokens that end an answer, the one that fills up what is left first."""
    begin: tuple[str, ...] = ()
    """Tokens before every text."""
    close: tuple[str, ...] = ()
    """Tokens behind every text."""
    chat: Chat | None = CHATML
    fim: tuple[str, str, str] | None = None
    """For those that do not see what follows: tokens that put the text behind the hole into the prompt."""
    context: int | None = None
    """Places that its authors recommend, where they are fewer than the network knows."""
    own_head: bool = False
    """A head that stands in a file counts, even where the configuration says that it is the embedding."""
    blocks: bool = False
    """Writes block after block, each of which sees itself and what is before it."""
    aligned: bool = False
    """A block ends where the prompt does, so that the first one may be short; else the first one is whole."""
    uniform: bool = False
    """Noise is random tokens; there is no mask, and nothing is filled in place."""
    expands: bool = False
    """Trained to find the length of a hole: one token makes two masks of one, another takes one away."""


def _llama(sizes: Callable[..., moe.Sizes], **fixed: Any) -> Layout:
    """Networks of Llama's kind, with experts or without, are one network here."""
    return Layout(lambda config: sizes(config, **fixed), moe.tensors, moe.recomputed, moe.build, can_quantize=True)


def _blockwise(sizes: Callable[..., moe.Sizes], field: str, default: int) -> Layout:
    """Block-causal attention, with a block as large as ``field`` says."""
    return _llama(lambda config: sizes(config, block=whole(config, field, default)))


def _late(name: str) -> Callable[..., Any]:
    """A function of ``model.published.uniform``, which imports transformers' models: seconds, for one family alone."""

    def call(*args: Any, **options: Any) -> Any:
        return getattr(import_module("model.published.uniform"), name)(*args, **options)

    return call


_DIT = Layout(dit.sizes, dit.tensors, dit.recomputed, dit.build)
_DREAM = _llama(dense.qwen2)

FAMILIES = {
    family.name: family
    for family in (
        Family("dream", "Dream, Dream-Coder", _DREAM, "dream", shift=True, context=2048),
        Family("diffucoder", "DiffuCoder", _DREAM, "diffucoder", shift=True, context=2048),
        Family(
            "dreamon",
            "DreamOn",
            _DREAM,
            "dreamon",
            shift=True,
            context=2048,
            begin=("<|beginoftext|>",),
            close=("<|endoftext|>",),
            chat=None,
            expands=True,
        ),
        Family("open-dcoder", "Open-dCoder", _llama(dense.qwen2), "opendcoder", masks=("<M>",), shift=True, chat=None),
        Family("a2d-qwen2", "Tiny-A2D (Qwen2)", _llama(dense.qwen2), "a2d-mdlm"),
        Family("a2d-qwen3", "Tiny-A2D (Qwen3)", _llama(dense.qwen3), "a2d-mdlm"),
        Family(
            "a2d-llama",
            "Tiny-A2D (Llama)",
            _llama(dense.llama),
            "a2d-mdlm",
            ends=("<|end_of_text|>", "<|eot_id|>"),
            chat=Chat(
                "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n",
                "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
            ),
        ),
        Family(
            "a2d-qwen2-bd3lm",
            "Tiny-A2D (Qwen2, blocks)",
            _llama(dense.qwen2, block=32),
            "a2d-bd3lm",
            fim=QWEN_FIM,
            blocks=True,
            aligned=True,
        ),
        Family(
            "a2d-qwen3-bd3lm",
            "Tiny-A2D (Qwen3, blocks)",
            _llama(dense.qwen3, block=32),
            "a2d-bd3lm",
            fim=QWEN_FIM,
            blocks=True,
            aligned=True,
        ),
        Family(
            "llada",
            "LLaDA, LLaDA-1.5, iLLaDA",
            _llama(dense.llada),
            "llada",
            masks=("<|mdm_mask|>",),
            mask=126336,
            ends=("<|endoftext|>", "<|eot_id|>"),
            chat=LLAMA3,
        ),
        Family(
            "llada-moe",
            "LLaDA-MoE",
            _llama(moe.llada_moe),
            "llada",
            mask=156895,
            ends=("<|endoftext|>", "<|role_end|>"),
            chat=LING,
        ),
        Family(
            "llada2",
            "LLaDA2",
            _llama(moe.llada2, block=32),
            "llada2",
            mask=156895,
            ends=("<|endoftext|>", "<|role_end|>"),
            chat=LING,
            blocks=True,
        ),
        Family("coda", "CoDA", _llama(dense.qwen3), "coda", mask=151669, shift=True, own_head=True),
        Family(
            "sdar",
            "SDAR",
            _blockwise(dense.qwen3, "block_size", 4),
            "sdar",
            masks=("<|MASK|>",),
            mask=151669,
            fim=QWEN_FIM,
            blocks=True,
        ),
        Family(
            "sdar-moe",
            "SDAR-MoE",
            _blockwise(moe.qwen3_moe, "block_size", 4),
            "sdar",
            masks=("<|MASK|>",),
            mask=151669,
            fim=QWEN_FIM,
            blocks=True,
        ),
        Family(
            "fast-dllm-v2",
            "Fast-dLLM v2",
            _blockwise(dense.qwen2, "bd_size", 32),
            "fastdllm2",
            masks=("|<MASK>|",),
            mask=151665,
            shift=True,
            fim=QWEN_FIM,
            blocks=True,
        ),
        Family(
            "diffusion-gemma",
            "DiffusionGemma",
            Layout(_late("sizes"), _late("tensors"), _late("recomputed"), _late("build")),
            "diffusion-gemma",
            masks=(),
            ends=("<turn|>", "<eos>"),
            chat=GEMMA4,
            context=8192,
            uniform=True,
        ),
        Family("mdlm", "MDLM", _DIT, "mdlm", masks=(), mask=50257, ends=("<|endoftext|>",), chat=None),
        Family("bd3lm", "BD3-LM", _DIT, "bd3lm", masks=(), mask=50257, ends=("<|endoftext|>",), chat=None, blocks=True),
    )
}  # fmt: skip

_ARCHITECTURES = {
    "DreamModel": "dream",
    "LLaDAMoEModel": "llada-moe",
    "LLaDAMoEModelLM": "llada-moe",
    "LLaDAModelLM": "llada",
    "LLaDA2MoeModelLM": "llada2",
    "CoDALanguageModel": "coda",
    "SDARForCausalLM": "sdar",
    "SDARMoeForCausalLM": "sdar-moe",
    "Fast_dLLM_QwenForCausalLM": "fast-dllm-v2",
    "Qwen2ForCausalLM": "open-dcoder",
    "A2DQwen2LMHeadModel": "a2d-qwen2",
    "A2DQwen3LMHeadModel": "a2d-qwen3",
    "A2DLlamaLMHeadModel": "a2d-llama",
    "DiffusionGemmaForBlockDiffusion": "diffusion-gemma",
    "MDLM": "mdlm",
    "BD3LM": "bd3lm",
}
"""``architectures`` of a configuration; asked before ``model_type``, which some families share."""

_TYPES = {
    "Dream": "dream",
    "llada": "llada",
    "llada_moe": "llada-moe",
    "llada2_moe": "llada2",
    "CoDA": "coda",
    "sdar": "sdar",
    "sdar_moe": "sdar-moe",
    "a2d-qwen2": "a2d-qwen2",
    "a2d-qwen3": "a2d-qwen3",
    "a2d-llama": "a2d-llama",
    "diffusion_gemma": "diffusion-gemma",
    "mdlm": "mdlm",
    "bd3lm": "bd3lm",
    "Fast_dLLM_Qwen": "fast-dllm-v2",
    "qwen2": "open-dcoder",
}

REFUSED = {
    "sedd": "SEDD gives scores instead of logits, and has no published folder with a config.json",
    "gidd": "GIDD's noise is part mask, part uniform",
    "duo": "Duo's noise is uniform, and only DiffusionGemma's sampler for that is here",
    "nemotron_labs_diffusion": "Nemotron-Labs-Diffusion's network (Ministral's) is not known here",
    "llada2_moe_veomni": "this is a training folder: its experts are merged; use the published one",
}


def family_of(config: Mapping[str, Any], *, name: str = "") -> Family:
    """The family of a ``config.json``; ``name``: of the folder, which alone tells block diffusion of dllm's from the
    rest.

    Raises:
        ValueError: none, or one that cannot be used; the message names it.
    """
    kind, declared = config.get("model_type"), config.get("architectures") or []
    if kind is not None and not isinstance(kind, str):
        raise ValueError(f"model_type must be a text, but is {said(kind)}")
    if not isinstance(declared, list) or not all(isinstance(one, str) for one in declared):
        raise ValueError(f"architectures must be a list of texts, but is {said(declared)}")
    if kind in REFUSED:
        raise ValueError(f"model_type {kind!r} cannot be used: {REFUSED[kind]}")
    found = next((_ARCHITECTURES[one] for one in declared if one in _ARCHITECTURES), None)
    found = found or _TYPES.get(str(kind))
    if found is None:
        raise ValueError(
            f"model_type {said(kind)} with architectures {said(declared)} is none of the known families: "
            f"{', '.join(FAMILIES)}"
        )
    if found == "dream":
        found = _dream(config, name)
    if found.startswith("a2d") and "bd3lm" in name.lower():
        found += "-bd3lm"
    if found not in FAMILIES:
        raise ValueError(f"{found} is not known: only {', '.join(FAMILIES)}")
    return FAMILIES[found]


def _dream(config: Mapping[str, Any], name: str) -> str:
    """Which of those that all call themselves Dream."""
    if config.get("mask_token_id") == 151669 or config.get("block_size"):
        raise ValueError("this Dream works in blocks (Dream-Reasoner), which is not known here")
    if "expand_token_id" in config:
        return "dreamon"
    return "diffucoder" if "diffucoder" in name.lower() else "dream"
