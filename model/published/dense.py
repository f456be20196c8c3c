"""Published networks without experts: Qwen2's, Qwen3's and Llama's kind, and LLaDA.

All are the network of ``moe.py`` with a feed-forward in each layer; here their ``config.json`` is read. Whose they are:
- ``qwen2``: Dream, Dream-Coder, DiffuCoder, DreamOn, Open-dCoder, Fast-dLLM v2, Tiny-A2D of Qwen2.5
- ``qwen3``: CoDA, SDAR, Tiny-A2D of Qwen3
- ``llama``: Stable-DiffCoder, Tiny-A2D of Llama
- ``llada``: LLaDA, LLaDA-1.5, iLLaDA

A config says nothing about who sees whom, nor, except for LLaDA, whether the answer for a place stands one place before
it: that belongs to the checkpoint. ``block``: places that see each other, and all blocks before them; 0: all see all.
"""

from collections.abc import Mapping
from typing import Any

from model.published.fields import flag, head_size, number, only, said, theta, whole
from model.published.moe import Names, Sizes, build, recomputed, tensors

__all__ = ["build", "llada", "llama", "qwen2", "qwen3", "recomputed", "tensors"]

LLADA = Names(
    embedding="model.transformer.wte",
    norm="model.transformer.ln_f",
    head="model.transformer.ff_out",
    layers="model.transformer.blocks",
    norms=("attn_norm", "ff_norm"),
    qkv=("q_proj", "k_proj", "v_proj"),
    out="attn_out",
    feed=("ff_proj", "up_proj", "ff_out"),
)
LLADA_UNLESS_SAID: dict[str, Any] = {
    "activation_type": "swiglu",
    "block_type": "sequential",
    "layer_norm_type": "default",
    "rope": False,
    "weight_tying": True,
    "mlp_ratio": 4,
    "rope_theta": 10000.0,
    "rms_norm_eps": 1e-5,
    "rope_full_precision": True,
}
"""What LLaDA's own code takes for a field that is missing, where that makes a difference."""

QWEN3_HEAD = 128


def qwen2(config: Mapping[str, Any], block: int = 0) -> Sizes:
    """Raises ValueError, naming the field."""
    only(config, attention_bias={None, True}, use_mrope={None, False})
    return _sizes(config, block, qkv_bias=True)


def qwen3(config: Mapping[str, Any], block: int = 0) -> Sizes:
    """Raises ValueError, naming the field."""
    bias = flag(config, "attention_bias")
    return _sizes({"head_dim": QWEN3_HEAD} | dict(config), block, qk_norm=True, qkv_bias=bias, out_bias=bias)


def llama(config: Mapping[str, Any], block: int = 0) -> Sizes:
    """Raises ValueError, naming the field."""
    only(config, mlp_bias={None, False}, sliding_window={None})
    bias = flag(config, "attention_bias")
    return _sizes(config, block, qkv_bias=bias, out_bias=bias)


def llada(config: Mapping[str, Any]) -> Sizes:
    """Of LLaDA's own fields, which are OLMo's. Raises ValueError, naming the field."""
    config = LLADA_UNLESS_SAID | dict(config)
    only(
        config,
        activation_type={"silu"},
        alibi={None, False},
        attention_layer_norm={None, False},
        bias_for_layer_norm={None, False},
        block_group_size={None, 1},
        block_type={"llama"},
        clip_qkv={None},
        embedding_layer_norm={None, False},
        include_bias={None, False},
        input_emb_norm={None, False},
        layer_norm_type={"rms"},
        layer_norm_with_affine={None, True},
        multi_query_attention={None, False},
        norm_after={None, False},
        rope={True},
        scale_logits={None, False},
    )
    hidden, heads, vocab = whole(config, "d_model"), whole(config, "n_heads"), whole(config, "vocab_size")
    embedded = whole(config, "embedding_size", vocab)
    if embedded < vocab:
        raise ValueError(f"embedding_size {embedded} is less than vocab_size {vocab}")
    if hidden % heads:
        raise ValueError(f"d_model {hidden} does not divide into n_heads {heads}")
    width = whole(config, "mlp_hidden_size", hidden * whole(config, "mlp_ratio"))
    return Sizes(
        vocab=embedded,
        hidden=hidden,
        heads=heads,
        kv_heads=whole(config, "n_kv_heads", heads),
        head_dim=hidden // heads,
        rotary=hidden // heads,
        theta=theta(config),
        eps=number(config, "rms_norm_eps"),
        positions=whole(config, "max_sequence_length"),
        dense=(width,) * whole(config, "n_layers"),
        names=LLADA,
        qk_norm=False,
        qkv_bias=flag(config, "include_qkv_bias"),
        tied=flag(config, "weight_tying"),
        turned_wide=flag(config, "rope_full_precision"),
    )


def _sizes(
    config: Mapping[str, Any], block: int, *, qk_norm: bool = False, qkv_bias: bool = False, out_bias: bool = False
) -> Sizes:
    """Of the fields that Qwen and Llama share."""
    only(config, hidden_act={"silu"}, use_sliding_window={None, False})
    kinds = config.get("layer_types") or []
    if not isinstance(kinds, list) or any(kind != "full_attention" for kind in kinds):
        raise ValueError(f"layer_types is {said(kinds)}: only 'full_attention' can be used")
    hidden, heads = whole(config, "hidden_size"), whole(config, "num_attention_heads")
    head_dim = head_size(config)
    return Sizes(
        vocab=whole(config, "vocab_size"),
        hidden=hidden,
        heads=heads,
        kv_heads=whole(config, "num_key_value_heads", heads),
        head_dim=head_dim,
        rotary=head_dim,
        theta=theta(config),
        eps=number(config, "rms_norm_eps"),
        positions=whole(config, "max_position_embeddings"),
        dense=(whole(config, "intermediate_size"),) * whole(config, "num_hidden_layers"),
        qk_norm=qk_norm,
        qkv_bias=qkv_bias,
        out_bias=out_bias,
        tied=flag(config, "tie_word_embeddings"),
        block=block,
    )
