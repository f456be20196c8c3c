"""Which family a folder holds, by its configuration alone."""

from typing import Any

import pytest

from model.published.registry import FAMILIES, family_of
from tests.published import CONFIGS, folder_name


@pytest.mark.parametrize("family", CONFIGS)
def test_a_family_is_recognised(family: str) -> None:
    extra = {"expand_token_id": 5} if family == "dreamon" else {}
    assert family_of(CONFIGS[family] | extra, name=folder_name(family)) is FAMILIES[family]


def test_every_family_has_a_checkpoint_to_be_tested_with() -> None:
    assert CONFIGS.keys() == FAMILIES.keys()


def test_the_architecture_decides_where_a_type_is_shared() -> None:
    config = {"model_type": "llada", "architectures": ["LLaDAMoEModelLM"]}
    assert family_of(config).name == "llada-moe"


def test_a_type_decides_where_no_architecture_is_named() -> None:
    assert family_of({"model_type": "sdar"}).name == "sdar"


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_type": "llama", "architectures": ["LlamaForCausalLM"]}, "none of the known families"),
        ({"model_type": "gidd"}, "'gidd' cannot be used"),
        ({"model_type": "sedd"}, "'sedd' cannot be used"),
        ({"model_type": "llada2_moe_veomni"}, "training folder"),
        ({"model_type": "Dream", "mask_token_id": 151669}, "Dream-Reasoner"),
        ({"model_type": "Dream", "block_size": 32}, "Dream-Reasoner"),
        ({}, "none of the known families"),
        ({"model_type": ["Dream"], "architectures": ["DreamModel"]}, "model_type must be a text"),
        ({"model_type": "Dream", "architectures": "DreamModel"}, "architectures must be a list of texts"),
        ({"model_type": "Dream", "architectures": [1]}, "architectures must be a list of texts"),
        ({"model_type": "x" * 10**6}, r"^model_type 'x{70,80}\.\.\. with architectures \[\] is none"),
    ],
)
def test_what_is_not_known_is_named(config: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        family_of(config)
