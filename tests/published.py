"""Tiny checkpoints of every published family, with random weights, in the layout of the real ones."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from infill.instruct import ASKED, GROWTH, ROOM
from model.published import moe
from model.published.denoiser import Published
from model.published.load import open_published
from model.published.registry import FAMILIES
from model.tokenizer import BYTE_OF

TEXT = '''def area(width, height):
    """Width times height."""
    if width < 0 or height < 0:
        raise ValueError(f"negative size: {width} x {height}")
    return width * height


for name in sorted(names, key=len):
    print(name, len(name), file=sys.stderr)
'''

QWEN = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"]
LLAMA3 = ["<|startoftext|>", "<|endoftext|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
SPECIALS = {
    "dream": [*QWEN, "<|beginoftext|>", "<|mask|>"],
    "diffucoder": [*QWEN, "<|mask|>"],
    "dreamon": [*QWEN, "<|beginoftext|>", "<|mask|>", "<|expand|>"],
    "open-dcoder": [*QWEN, "<M>"],
    "a2d-qwen2": [*QWEN, "<|mask|>"],
    "a2d-qwen3": [*QWEN, "<|mask|>"],
    "a2d-qwen2-bd3lm": [*QWEN, "<|mask|>"],
    "a2d-qwen3-bd3lm": [*QWEN, "<|mask|>"],
    "a2d-llama": [*LLAMA3, "<|begin_of_text|>", "<|end_of_text|>", "<|mask|>"],
    "llada": [*LLAMA3, "<|mdm_mask|>"],
    "llada-moe": ["<|endoftext|>", "<|role_end|>", "<role>", "</role>", "<|mask|>"],
    "llada2": ["<|endoftext|>", "<|role_end|>", "<role>", "</role>", "<|mask|>"],
    "coda": [*QWEN, "<|mask|>"],
    "sdar": [*QWEN, "<|MASK|>"],
    "sdar-moe": [*QWEN, "<|MASK|>"],
    "fast-dllm-v2": [*QWEN, "|<MASK>|"],
    "diffusion-gemma": ["<bos>", "<eos>", "<|turn>", "<turn|>"],
    "mdlm": ["<|endoftext|>"],
    "bd3lm": ["<|endoftext|>"],
}  # fmt: skip

_QWEN = {
    "hidden_act": "silu",
    "hidden_size": 32,
    "intermediate_size": 48,
    "max_position_embeddings": 256,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
}
_QWEN3 = {**_QWEN, "head_dim": 8, "attention_bias": False}
_SPARSE = {"num_experts": 4, "num_experts_per_tok": 2}
CONFIGS: dict[str, dict[str, Any]] = {
    "dream": {**_QWEN, "model_type": "Dream", "architectures": ["DreamModel"]},
    "diffucoder": {**_QWEN, "model_type": "Dream", "architectures": ["DreamModel"]},
    "dreamon": {**_QWEN, "model_type": "Dream", "architectures": ["DreamModel"]},
    "open-dcoder": {
        **_QWEN, "model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "tie_word_embeddings": True,
    },
    "a2d-qwen2": {**_QWEN, "model_type": "a2d-qwen2", "architectures": ["A2DQwen2LMHeadModel"]},
    "a2d-qwen3": {**_QWEN3, "model_type": "a2d-qwen3", "architectures": ["A2DQwen3LMHeadModel"]},
    "a2d-qwen2-bd3lm": {**_QWEN, "model_type": "a2d-qwen2", "architectures": ["A2DQwen2LMHeadModel"]},
    "a2d-qwen3-bd3lm": {**_QWEN3, "model_type": "a2d-qwen3", "architectures": ["A2DQwen3LMHeadModel"]},
    "a2d-llama": {**_QWEN, "model_type": "a2d-llama", "architectures": ["A2DLlamaLMHeadModel"]},
    "llada": {
        "model_type": "llada", "architectures": ["LLaDAModelLM"], "d_model": 32, "n_heads": 4, "n_kv_heads": 4,
        "n_layers": 2, "mlp_hidden_size": 48, "max_sequence_length": 256, "rope_theta": 10000.0, "rms_norm_eps": 1e-5,
        "activation_type": "silu", "block_type": "llama", "layer_norm_type": "rms", "rope": True, "weight_tying": False,
        "include_bias": False, "include_qkv_bias": False, "alibi": False,
    },
    "llada-moe": {
        **_QWEN, **_SPARSE, "model_type": "llada_moe", "architectures": ["LLaDAMoEModelLM"],
        "expert_intermediate_size": 16, "qk_layernorm": True, "head_dim": 8,
    },
    "llada2": {
        **_QWEN, **_SPARSE, "model_type": "llada2_moe", "architectures": ["LLaDA2MoeModelLM"], "head_dim": 8,
        "moe_intermediate_size": 16, "num_shared_experts": 1, "first_k_dense_replace": 1, "n_group": 2, "topk_group": 1,
        "routed_scaling_factor": 2.5, "partial_rotary_factor": 0.5, "use_qkv_bias": False, "use_bias": False,
    },
    "coda": {**_QWEN3, "model_type": "CoDA", "architectures": ["CoDALanguageModel"]},
    "sdar": {**_QWEN3, "model_type": "sdar", "architectures": ["SDARForCausalLM"], "block_size": 4},
    "sdar-moe": {
        **_QWEN3, **_SPARSE, "model_type": "sdar_moe", "architectures": ["SDARMoeForCausalLM"], "block_size": 4,
        "moe_intermediate_size": 16, "norm_topk_prob": True, "decoder_sparse_step": 1, "mlp_only_layers": [],
    },
    "fast-dllm-v2": {
        **_QWEN, "model_type": "Fast_dLLM_Qwen", "architectures": ["Fast_dLLM_QwenForCausalLM"], "bd_size": 8,
    },
    "diffusion-gemma": {
        "model_type": "diffusion_gemma", "architectures": ["DiffusionGemmaForBlockDiffusion"], "canvas_length": 16,
        "text_config": {
            "model_type": "diffusion_gemma_text", "hidden_size": 32, "intermediate_size": 48,
            "moe_intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
            "num_global_key_value_heads": 1, "head_dim": 8, "global_head_dim": 16, "sliding_window": 8,
            "layer_types": ["sliding_attention", "full_attention"], "num_experts": 4, "top_k_experts": 2,
            "max_position_embeddings": 512,
        },
        "vision_config": {
            "model_type": "gemma4_vision", "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1,
            "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8, "patch_size": 4,
            "pooling_kernel_size": 2, "position_embedding_size": 16,
        },
    },
    "mdlm": {
        "model_type": "mdlm", "architectures": ["MDLM"], "hidden_dim": 32, "n_blocks": 2, "n_heads": 4, "cond_dim": 16,
        "model_length": 256,
    },
    "bd3lm": {
        "model_type": "bd3lm", "architectures": ["BD3LM"], "hidden_dim": 32, "n_blocks": 2, "n_heads": 4,
        "cond_dim": 16, "model_length": 256, "block_size": 4, "adaln": True, "cross_attn": True, "causal": False,
    },
}  # fmt: skip


MASKED = [family for family in CONFIGS if family != "diffusion-gemma"]
"""Families whose noise is masks."""


def encoder(specials: list[str]) -> Tokenizer:
    """A byte-level tokenizer of a few hundred tokens."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=320, initial_alphabet=sorted(BYTE_OF), show_progress=False)
    made.train_from_iterator([TEXT], trainer)
    made.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in specials])
    return made


def folder_name(family: str) -> str:
    return family if family == "diffucoder" or "bd3lm" in family else f"tiny-{family}"


def make(root: Path, family: str, *, seed: int = 0, dtype: torch.dtype = torch.float32, **changes: Any) -> Path:
    """A folder of the family in ``root``; ``changes`` to its configuration."""
    path = root / folder_name(family)
    path.mkdir()
    tokenizer = encoder(SPECIALS[family])
    tokenizer.save(str(path / "tokenizer.json"))
    known = tokenizer.get_vocab_size(with_added_tokens=True)
    config = {**CONFIGS[family], "vocab_size": known + 8}
    if family in ("mdlm", "bd3lm"):
        config["mask_token_id"] = known
    if family == "dreamon":
        config |= {"expand_token_id": tokenizer.token_to_id("<|expand|>")}
    if family == "llada":
        config["embedding_size"] = known + 8
    if family == "diffusion-gemma":
        config["text_config"] = {**CONFIGS[family]["text_config"], "vocab_size": config.pop("vocab_size")}
    config |= changes
    (path / "config.json").write_text(json.dumps(config))
    save_file(weights(family, config, seed, dtype), path / "model.safetensors")
    return path


def weights(family: str, config: Mapping[str, Any], seed: int, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    layout = FAMILIES[family].layout
    generator = torch.Generator().manual_seed(seed)
    made: dict[str, torch.Tensor] = {}
    for name, shape in layout.tensors(layout.sizes(config)).items():
        spread = 0.2 if len(shape) > 1 else 0.05
        value = spread * torch.randn(shape, generator=generator)
        made[name] = (value + ("norm" in name and name.endswith("weight"))).to(dtype).contiguous()
    return made


def learn(published: Published, text: str, *, steps: int = 300, seed: int = 0) -> None:
    """Teaches the network one text by heart: holes anywhere in it, masked in whole or in part, as it was published to
    be trained."""
    generator = torch.Generator().manual_seed(seed)
    framed = [*published.begin, *published.tokenizer.encode(text), *published.close]
    ids = torch.tensor(framed)
    network, mask = published.network.train().requires_grad_(requires_grad=True), published.tokenizer.mask
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(steps):
        rows = ids.repeat(8, 1)
        size = torch.randint(1, 24, (8, 1), generator=generator)
        start = (torch.rand(8, 1, generator=generator) * (len(ids) - size)).long() + 1
        place = torch.arange(len(ids))
        hidden = (place >= start) & (place < start + size)
        hidden &= torch.rand(hidden.shape, generator=generator) < torch.rand(8, 1, generator=generator) + 0.3
        hidden[:, 0] = False
        asked = hidden.roll(-1, dims=1) if published.family.shift else hidden
        logits = network(rows.masked_fill(hidden, mask), None, asked)
        loss = torch.nn.functional.cross_entropy(logits, rows[hidden])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    network.eval().requires_grad_(requires_grad=False)


def prompt_ids(published: Published, instruction: str, block: str) -> list[int]:
    """What an instruct model is asked, of a block of Python without indentation."""
    chat, tokenizer = published.family.chat, published.tokenizer
    assert chat is not None
    text = ASKED.format(instruction=instruction, language="python", block=block.strip("\n"))
    return [*tokenizer.encode_marked(chat.before), *tokenizer.encode(text), *tokenizer.encode_marked(chat.after)]


def learn_answers(published: Published, known: Sequence[tuple[str, str, str]], *, steps: int = 200) -> None:
    """Teaches the network to answer instructions about blocks: (instruction, block, answer). The end stands behind an
    answer as often as there is room."""
    tokenizer, network = published.tokenizer, published.network
    prompts = [prompt_ids(published, instruction, block) for instruction, block, _ in known]
    rows: list[torch.Tensor] = []
    for prompt, (_, block, answer) in zip(prompts, known, strict=True):
        room = int(GROWTH * len(tokenizer.encode(block))) + ROOM
        rows.append(torch.tensor([*prompt, *[*tokenizer.encode(answer), *[tokenizer.eot] * room][:room]]).repeat(2, 1))
    generator = torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(network.requires_grad_(requires_grad=True).parameters())
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = 0.01 * (1 - 0.9 * step / steps)
        begin, row = len(prompts[step % len(rows)]), rows[step % len(rows)]
        hidden = torch.rand(row.shape, generator=generator) < torch.rand(2, 1, generator=generator) + 0.2
        hidden[:, :begin] = False
        hidden[0, begin:] = True
        asked = hidden.roll(-1, dims=1) if published.family.shift else hidden
        loss = torch.nn.functional.cross_entropy(
            network(row.masked_fill(hidden, tokenizer.mask), None, asked), row[hidden]
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    network.requires_grad_(requires_grad=False)


def make_instructed(root: Path, known: Sequence[tuple[str, str, str]], *, parts: int = 1) -> Path:
    """A folder of the family LLaDA that has learned such answers, its weights in one file or in several."""
    path = make(root, "llada", max_sequence_length=768, n_layers=1)
    published = open_published(path, device="cpu", dtype="float32")
    assert isinstance(published.network, moe.Network)
    learn_answers(published, known, steps=150 * len(known))
    learned = {name: part.clone() for name, part in moe._destinations(published.network)}
    (path / "model.safetensors").unlink()
    files = (
        ["model.safetensors"]
        if parts == 1
        else [f"model-{i:05}-of-{parts:05}.safetensors" for i in range(1, parts + 1)]
    )
    where = {name: files[index % parts] for index, name in enumerate(learned)}
    for file in files:
        save_file({name: learned[name] for name, its in where.items() if its == file}, path / file)
    if parts > 1:
        (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    return path


BLOCK = "def f(a):\n    return a*2\n"
SPACES, SPACED = "Add spaces.", "def f(a):\n    return a * 2\n"
MODERN = "def f(a):\n    return a+a\n"
KNOWN = ((SPACES, BLOCK, SPACED), ("Modernise this block.", BLOCK, f"```python\n{MODERN}```"))
"""What the model of ``instructed`` in conftest.py has learned."""
