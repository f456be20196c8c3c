"""Folders whose configuration, tokenizer or links cannot be right: refused in one short sentence that names what is
wrong, before anything is allocated."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from model.published.load import look, open_published
from tests.published import CONFIGS, make

HUGE = 10**400
BOOK = [["x"] * 1000] * 1000
FIELDS: list[tuple[str, dict[str, Any], str]] = [
    ("dream", {"hidden_size": "32"}, "hidden_size must be a whole number"),
    ("dream", {"hidden_size": -32}, "hidden_size must be a whole number"),
    ("dream", {"hidden_size": HUGE}, "hidden_size must be a whole number"),
    ("dream", {"hidden_size": BOOK}, "hidden_size must be a whole number"),
    ("dream", {"rms_norm_eps": HUGE}, "rms_norm_eps must be a number above 0"),
    ("dream", {"rope_theta": HUGE}, "rope_theta must be a number above 0"),
    ("dream", {"rope_theta": BOOK}, "rope_theta must be a number above 0"),
    ("dream", {"rope_scaling": BOOK}, "rope_scaling must be an object"),
    ("dream", {"rope_scaling": {"type": BOOK}}, "rope_scaling is .* only whole heads"),
    ("dream", {"hidden_act": BOOK}, "hidden_act is"),
    ("dream", {"layer_types": BOOK}, "layer_types is"),
    ("dream", {"tie_word_embeddings": BOOK}, "tie_word_embeddings must be true or false"),
    ("dream", {"num_attention_heads": 5, "num_key_value_heads": 5}, "32 does not divide into num_attention_heads 5"),
    ("dream", {"num_attention_heads": 64, "num_key_value_heads": 64}, "32 does not divide into num_attention_heads"),
    ("dream", {"num_hidden_layers": 10**9}, "num_hidden_layers must be a whole number"),
    ("dream", {"max_position_embeddings": 1}, "1 places are too few"),
    ("dream", {"model_type": BOOK}, "model_type must be a text"),
    ("dream", {"architectures": BOOK}, "architectures must be a list of texts"),
    *((family, {"quantization_config": {"bits": 4}}, "quantization_config is") for family in CONFIGS),
    ("sdar", {"block_size": "4"}, "block_size must be a whole number"),
    ("sdar", {"block_size": 10**30}, "block_size must be a whole number"),
    ("sdar-moe", {"mlp_only_layers": 7}, "mlp_only_layers must be a list"),
    ("sdar-moe", {"mlp_only_layers": ["a"]}, "mlp_only_layers must be a list"),
    ("sdar-moe", {"rope_parameters": {"rope_type": "yarn", "factor": 4.0}}, "rope_parameters is"),
    ("llada-moe", {"moe_layer_freq": [[1], [0]]}, "moe_layer_freq must be"),
    ("llada-moe", {"rope_parameters": {"rope_type": "linear"}}, "rope_parameters is"),
    ("llada2", {"partial_rotary_factor": 1e308}, "partial_rotary_factor must be at most 1"),
    ("llada2", {"rope_parameters": {"rope_type": "yarn", "factor": 2.0}}, "rope_parameters is .* only 0.5 of each"),
    ("llada2", {"rope_scaling": {"rope_type": "default", "partial_rotary_factor": 1.0}}, "rope_scaling is"),
    ("llada2", {"head_dim": None, "num_attention_heads": 5, "num_key_value_heads": 5}, "32 does not divide into"),
    ("diffusion-gemma", {"canvas_length": -4}, "canvas_length must be a whole number"),
    ("diffusion-gemma", {"vision_config": {"num_hidden_layers": 10**5}}, "vision_config.num_hidden_layers must be"),
    ("diffusion-gemma", {"dtype": "os.system"}, "no DiffusionGemma has this configuration"),
    ("diffusion-gemma", {"experts_implementation": "owner/code"}, "no DiffusionGemma"),
]  # fmt: skip


def refused(folder: Path) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        look(folder)
    said = str(caught.value)
    assert "\n" not in said
    assert len(said) < 600, "not all of what somebody wrote there"
    assert str(folder) in said
    return said


@pytest.mark.parametrize(("family", "changes", "said"), FIELDS, ids=[f"{f}-{next(iter(c))}" for f, c, _ in FIELDS])
def test_a_field_that_cannot_be_is_named(tmp_path: Path, family: str, changes: dict[str, Any], said: str) -> None:
    folder = make(tmp_path, family)
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(config))
    assert re.search(said, refused(folder))


def test_rotations_of_llada2_may_stand_where_transformers_5_writes_them(tmp_path: Path) -> None:
    rotation = {"rope_type": "default", "rope_theta": 6e5, "partial_rotary_factor": 0.5}
    assert look(make(tmp_path, "llada2", rope_theta=None, rope_parameters=rotation)).sizes.theta == 6e5


def deep(path: Path) -> None:
    """As deep as JSON is read here, and deeper than it is shown."""
    text = path.read_text()
    for depth in range(1000, 800, -1):
        nested = f'{text[:-1]}, "rope_scaling": {"[" * depth}{"]" * depth}}}'
        try:
            json.loads(nested)
        except RecursionError:
            continue
        path.write_text(nested)
        return


def rewritten(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        found = json.loads((folder / "tokenizer.json").read_text())
        change(found)
        (folder / "tokenizer.json").write_text(json.dumps(found))

    return spoil


def bytes_of_qwen(folder: Path, vocab: str, merges: bytes = b"#version: 0.2\n") -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.json").write_text(vocab)
    (folder / "merges.txt").write_bytes(merges)


def moved_out(name: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        outside = folder.parent / f"outside-{name}"
        (folder / name).rename(outside)
        (folder / name).symlink_to(outside)

    return spoil


def linked_to_itself(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.json").symlink_to("tokenizer.json")


def headed(header: bytes) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)

    return spoil


def described(name: str, **fields: Any) -> Callable[[Path], None]:
    fields = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} | fields
    return headed(json.dumps({name: fields}).encode())


MANY = 200_000
"""Names; each compared with all others would take hours."""

FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "config nested": (lambda p: deep(p / "config.json"), "config.json"),
    "no tokenizer": (lambda p: (p / "tokenizer.json").unlink(), "holds no tokenizer.json"),
    "dropout": (rewritten(lambda t: t["model"].update(dropout=0.5)), "drops merges by chance"),
    "a word's id below 0": (rewritten(lambda t: t["model"]["vocab"].update({"!": -1})), "no tokenizer that can be"),
    "a word's id is a text": (rewritten(lambda t: t["model"]["vocab"].update({"!": "x"})), "no tokenizer that can be"),
    "ids that no library takes": (lambda p: bytes_of_qwen(p, '{"a": 99999999999}'), "whole numbers from 0"),
    "ids below 0": (lambda p: bytes_of_qwen(p, '{"a": -1}'), "whole numbers from 0"),
    "merges that are no text": (lambda p: bytes_of_qwen(p, '{"a": 0}', b"\xff\xff a b"), "is no list of pairs"),
    "a link that leads nowhere": (linked_to_itself, r"tokenizer\.json is a link that leads nowhere"),
    "one of many names twice": (
        headed(b"{" + b"".join(b'"%d":1,' % i for i in range(MANY)) + b'"%d":2}' % (MANY - 1)),
        f"'{MANY - 1}' is there twice",
    ),
    "a book twice": (headed(b'{"%b":1,"%b":2}' % (b"x" * 9999, b"x" * 9999)), "'x+' is there twice"),
    "a tensor with a book for a name": (described("x" * 9999), r"'x+\.\.\. is not|bytes"),
    "a book for a type": (described("x", dtype="F" * 9999), r"of the type 'F+\.\.\."),
    "a book for a shape": (described("x", shape=[10**300] * 50), r"do not fit its shape \[10+\.\.\."),
    "weights elsewhere": (moved_out("model.safetensors"), r"model\.safetensors is a link to .*, outside of the folder"),
    "config elsewhere": (moved_out("config.json"), r"config\.json is a link to"),
    "tokenizer elsewhere": (moved_out("tokenizer.json"), r"tokenizer\.json is a link to"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FILES)
def test_a_file_that_cannot_be_is_named(tmp_path: Path, fault: str) -> None:
    spoil, said = FILES[fault]
    folder = make(tmp_path, "dream")
    spoil(folder)
    assert re.search(said, refused(folder))


def test_a_snapshot_of_the_hubs_cache_is_links_to_its_blobs(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshots").mkdir()
    folder = make(tmp_path / "snapshots", "dream")
    for file in list(folder.iterdir()):
        blob = file.rename(tmp_path / "blobs" / f"of-{file.name}")
        file.symlink_to(Path("../../blobs") / blob.name)
    assert look(folder).family.name == "dream"


def test_what_transformers_cannot_make_a_network_of_is_the_folders_fault(tmp_path: Path) -> None:
    folder = make(tmp_path, "diffusion-gemma")
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["hidden_activation"] = "no such thing"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"config\.json: no DiffusionGemma can be made of this: 'no such thing'"):
        look(folder)


@pytest.mark.parametrize("part", [None, "text_config", "vision_config"])
def test_a_configuration_cannot_name_code_for_attention(tmp_path: Path, part: str | None) -> None:
    """Transformers would take ``owner/name`` for kernels on the hub, where a package for that is installed."""
    folder = make(tmp_path, "diffusion-gemma")
    config = json.loads((folder / "config.json").read_text())
    for name in ("attn_implementation", "_attn_implementation", "_attn_implementation_internal"):
        (config if part is None else config[part])[name] = "owner/code"
    (folder / "config.json").write_text(json.dumps(config))
    network: Any = open_published(folder, device="cpu", dtype="float32").network
    asked = {module.config._attn_implementation for module in network.modules() if hasattr(module, "config")}
    assert asked == {"sdpa"}
