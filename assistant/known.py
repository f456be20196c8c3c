"""Published checkpoints that have a short name here: which repository of the hub, which family, how large.

Repositories and sizes are what the projects' own pages and code say. The licence that counts is the one that the hub
names when a model is pulled; the one here is for the list. Data only.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Known:
    name: str
    repo: str
    family: str
    """A name in ``model.published.registry.FAMILIES``."""
    parameters: float
    """Billions."""
    licence: str = ""
    """"": the hub tells."""
    instruct: bool = False
    """Whether it was tuned to follow instructions."""
    tokenizer: str | None = None
    """The repository with its tokenizer, where that is another one."""


KNOWN = {
    one.name: one
    for one in (
        Known("dreamon-7b", "Dream-org/DreamOn-v0-7B", "dreamon", 7.6, "apache-2.0"),
        Known("dream-coder-7b", "Dream-org/Dream-Coder-v0-Base-7B", "dream", 7.6, "apache-2.0"),
        Known("dream-coder-7b-instruct", "Dream-org/Dream-Coder-v0-Instruct-7B", "dream", 7.6, "apache-2.0", True),
        Known("dream-7b", "Dream-org/Dream-v0-Base-7B", "dream", 7.6, "apache-2.0"),
        Known("dream-7b-instruct", "Dream-org/Dream-v0-Instruct-7B", "dream", 7.6, "apache-2.0", True),
        Known("diffucoder-7b", "apple/DiffuCoder-7B-Base", "diffucoder", 7.6, "apple-amlr"),
        Known("diffucoder-7b-instruct", "apple/DiffuCoder-7B-Instruct", "diffucoder", 7.6, "apple-amlr", True),
        Known("diffucoder-7b-cpgrpo", "apple/DiffuCoder-7B-cpGRPO", "diffucoder", 7.6, "apple-amlr", True),
        Known("open-dcoder-0.5b", "fredzzp/open-dcoder-0.5B", "open-dcoder", 0.5),
        Known(
            "a2d-coder-0.5b-mdlm",
            "dllm-hub/Qwen2.5-Coder-0.5B-Instruct-diffusion-mdlm-v0.1",
            "a2d-qwen2",
            0.6,
            "apache-2.0",
            True,
        ),
        Known(
            "a2d-coder-0.5b-bd3lm",
            "dllm-hub/Qwen2.5-Coder-0.5B-Instruct-diffusion-bd3lm-v0.1",
            "a2d-qwen2-bd3lm",
            0.6,
            "apache-2.0",
            True,
        ),
        Known("llada-8b", "GSAI-ML/LLaDA-8B-Base", "llada", 8.0, "mit"),
        Known("llada-8b-instruct", "GSAI-ML/LLaDA-8B-Instruct", "llada", 8.0, "mit", True),
        Known("llada-1.5-8b", "GSAI-ML/LLaDA-1.5", "llada", 8.0, "mit", True),
        Known("llada2-mini-16b", "inclusionAI/LLaDA2.0-mini", "llada2", 16.3, "apache-2.0", True),
        Known("coda-1.7b", "Salesforce/CoDA-v0-Base", "coda", 1.7, "cc-by-nc-4.0"),
        Known("coda-1.7b-instruct", "Salesforce/CoDA-v0-Instruct", "coda", 1.7, "cc-by-nc-4.0", True),
        Known("sdar-1.7b-chat", "JetLM/SDAR-1.7B-Chat", "sdar", 1.7, "mit", True),
        Known("fast-dllm-v2-1.5b", "Efficient-Large-Model/Fast_dLLM_v2_1.5B", "fast-dllm-v2", 1.5, "", True),
        Known(
            "diffusion-gemma-26b-it",
            "google/diffusiongemma-26B-A4B-it",
            "diffusion-gemma",
            25.2,
            "apache-2.0",
            instruct=True,
        ),
        Known("mdlm-owt", "kuleshov-group/mdlm-owt", "mdlm", 0.17, "apache-2.0", tokenizer="openai-community/gpt2"),
    )
}
