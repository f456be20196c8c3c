"""The settings for Zed in docs/editors.md, and the requests that its code makes of them."""

import json
import re
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.serve.conftest import PREFIX, SUFFIX, Listen, Serve
from tests.serve.processes import ROOT

FORMATS = {
    "qwen": "<|fim_prefix|>{prefix}<|fim_suffix|>{suffix}<|fim_middle|>",
    "star_coder": "<fim_prefix>{prefix}<fim_suffix>{suffix}<fim_middle>",
    "code_llama": "<PRE> {prefix} <SUF>{suffix} <MID>",
    "deepseek_coder": "<｜fim▁begin｜>{prefix}<｜fim▁hole｜>{suffix}<｜fim▁end｜>",
    "codestral": "[SUFFIX]{suffix}[PREFIX]{prefix}",
    "glm": "<|code_prefix|>{prefix}<|code_suffix|>{suffix}<|code_middle|>",
}


def settings() -> dict[str, Any]:
    page = (ROOT / "docs" / "editors.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    return dict(json.loads(block)["edit_predictions"])


@pytest.mark.parametrize("name", FORMATS)
def test_every_prompt_format_is_answered_at_the_address_of_the_page(name: str, serve: Serve) -> None:
    told = settings()
    server = told[told["provider"]]
    address = urlsplit(server["api_url"])
    assert (address.hostname, address.port) == ("127.0.0.1", 8077)
    body = {
        "model": server["model"],
        "prompt": FORMATS[name].format(prefix=PREFIX, suffix=SUFFIX),
        "max_tokens": server["max_output_tokens"],
        "temperature": None,
        "stop": ["<|endoftext|>"],
        "environment": None,
    }
    answer = serve(PREFIX, "a + b").post(address.path, json=body).json()
    assert answer["choices"][0]["text"] == "a + b"
    assert isinstance(answer["id"], str)
    assert server["prompt_format"] in FORMATS


def test_the_port_and_the_model_are_those_of_the_daemon(listen: Listen, serve: Serve) -> None:
    import httpx

    from assistant.config import Settings

    server = settings()["open_ai_compatible_api"]
    assert urlsplit(server["api_url"]).port == Settings().port
    models = httpx.get(f"{listen(serve(PREFIX, 'a + b'))}/v1/models", trust_env=False).json()
    assert server["model"] in [one["id"] for one in models["data"]]
