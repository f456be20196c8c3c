"""Published checkpoints opened strictly, and asked through the seam that the engine uses."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from model.calls import Denoise, Encode, Think, tokens
from model.published.denoiser import Around, Published
from model.published.kind import is_published
from model.published.load import open_published
from model.published.registry import FAMILIES
from tests.published import MASKED, encoder, make

FULL = [family for family in MASKED if not FAMILIES[family].blocks]


def opened(root: Path, family: str, **changes: Any) -> Published:
    return open_published(make(root, family, **changes), device="cpu", dtype="float32")


def asked(published: Published, state: Around, *rows: list[int]) -> Denoise:
    """Rows of a canvas, all of whose masks are wanted; -1 fills up."""
    width = max(map(len, rows))
    canvas = torch.tensor([[*row, *[published.tokenizer.pad] * (width - len(row))] for row in rows])
    return Denoise(state, canvas, canvas == published.tokenizer.mask)


@pytest.mark.parametrize("family", MASKED)
def test_a_place_is_answered_by_what_the_network_says_of_it(tmp_path: Path, family: str) -> None:
    published = opened(tmp_path, family)
    mask = published.tokenizer.mask
    before, behind = published.tokenizer.encode("def area("), published.tokenizer.encode("):\n    return")
    [found] = published.run([asked(published, Around(tuple(before), tuple(behind)), [mask, 40, mask])])
    row = torch.tensor([[*before, mask, 40, mask, *behind]])
    # Where blocks end with the prompt, the first one is shorter by what they would lack otherwise.
    lead = {"lead": torch.tensor([-len(before) % published.block])} if published.family.aligned else {}
    whole = published.network(row, **lead)[0]
    at = [len(before) - published.family.shift, len(before) + 2 - published.family.shift]
    open_ids = [i for i in range(published.tokenizer.vocab_size) if published.tokenizer.token_bytes(i) and i != mask]
    torch.testing.assert_close(found[:, open_ids], whole[at][:, open_ids], atol=1e-5, rtol=1e-5)
    closed = sorted(set(range(published.tokenizer.vocab_size)) - set(open_ids))
    assert closed
    assert (found[:, closed] == -torch.inf).all()


@pytest.mark.parametrize("family", MASKED)
def test_a_family_says_whether_it_writes_in_blocks(tmp_path: Path, family: str) -> None:
    assert (opened(tmp_path, family).block > 0) == FAMILIES[family].blocks


@pytest.mark.parametrize("family", MASKED)
def test_calls_of_one_pass_do_not_see_each_other(tmp_path: Path, family: str) -> None:
    published = opened(tmp_path, family)
    mask, encode = published.tokenizer.mask, published.tokenizer.encode
    calls = [
        asked(published, Around(tuple(encode("x = ")), tuple(encode("\n"))), [mask] * 2, [mask] * 7),
        asked(published, Around(tuple(encode("for name in names:\n    print(")), ()), [mask, mask, 30]),
    ]
    alone = [published.run([call])[0] for call in calls]
    for found, expected in zip(published.run(calls), alone, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("keep", [False, True])
def test_with_nothing_before_it_a_shifted_network_answers_the_first_places_there(tmp_path: Path, keep: bool) -> None:
    """As the projects shift logits: those of the first place stand for the first two."""
    published = opened(tmp_path, "dream")
    mask = published.tokenizer.mask
    state, rows = Around((), (50, 51), keep=keep), [[mask, mask, 40, mask], [40, mask, mask, mask], [mask] * 4]
    told = [[0, 0, 2], [0, 1, 2], [0, 0, 1, 2]]
    for _ in range(2):
        [found] = published.run([asked(published, state, *rows)])
        whole = published.network(torch.tensor([[*row, 50, 51] for row in rows]))
        expected = torch.cat([whole[row, at] for row, at in enumerate(told)])
        torch.testing.assert_close(found[:, :256], expected[:, :256], atol=1e-5, rtol=1e-5)


def test_only_where_an_answer_may_end_can_it_be_ended(tmp_path: Path) -> None:
    published = opened(tmp_path, "dreamon")
    mask = published.tokenizer.mask
    free = {*published.ends, *published.controls.all()}
    [inside] = published.run([asked(published, Around((60,), (61,)), [mask])])
    [ending] = published.run([asked(published, Around((60,), (61,), ends=True), [mask])])
    assert (inside[0, sorted(free)] == -torch.inf).all()
    assert ending[0, sorted(free)].isfinite().all()
    assert ending[0, mask] == -torch.inf


def test_a_hole_that_begins_inside_a_word_begins_with_one_of_its_tokens(tmp_path: Path) -> None:
    published = opened(tmp_path, "llada")
    mask = published.tokenizer.mask
    [found] = published.run([asked(published, Around((60,), (61,), first=torch.tensor([70, 71])), [mask, mask])])
    assert found[0].isfinite().nonzero().flatten().tolist() == [70, 71]
    assert found[1].isfinite().sum() > 200


def test_a_pass_counts_what_it_computes(tmp_path: Path) -> None:
    published = opened(tmp_path, "llada")
    call = asked(published, Around((60, 61, 62), (61,)), [published.tokenizer.mask] * 3, [published.tokenizer.mask] * 3)
    assert tokens(call) == 2 * (4 + 3)


@pytest.mark.parametrize("family", [family for family in FULL if family != "mdlm"])
def test_keys_and_values_around_an_unchanged_hole_can_be_kept(tmp_path: Path, family: str) -> None:
    published = opened(tmp_path, family)
    mask, encode = published.tokenizer.mask, published.tokenizer.encode
    state = Around(tuple(encode("for name in ")), tuple(encode(":\n")), keep=True)
    rows = [mask, mask, mask], [mask, 40, mask]
    first = published.run([asked(published, state, *rows)])[0]
    assert state.kept is not None
    torch.testing.assert_close(published.run([asked(published, state, *rows)])[0], first, atol=1e-5, rtol=1e-4)
    assert state.nbytes > 0
    assert state.beside <= 1


@pytest.mark.parametrize("family", [family for family in MASKED if FAMILIES[family].blocks and family != "bd3lm"])
@pytest.mark.parametrize("behind", [0, 3])
def test_in_blocks_kept_keys_and_values_change_nothing(tmp_path: Path, family: str, behind: int) -> None:
    """Though the prompt ends inside a block, whose other places see the hole, and masks of it follow."""
    published = opened(tmp_path, family)
    mask, before = published.tokenizer.mask, tuple(range(60, 97))
    state, fresh = (Around(before, (mask,) * behind, keep=keep) for keep in (True, False))
    for canvas in ([mask, mask, mask], [mask, 40, mask], [41, 40, mask]):
        kept, whole = (published.run([asked(published, one, canvas)])[0] for one in (state, fresh))
        torch.testing.assert_close(kept, whole, atol=1e-5, rtol=1e-4)


def test_kept_keys_and_values_are_those_of_the_first_pass(tmp_path: Path) -> None:
    published = opened(tmp_path, "dream")
    mask, encode = published.tokenizer.mask, published.tokenizer.encode
    before, behind = tuple(encode("for name in ")), tuple(encode(":\n"))
    state = Around(before, behind, keep=True)
    published.run([asked(published, state, [mask, mask, mask])])
    late = published.run([asked(published, state, [mask, 40, mask])])[0]
    fresh = published.run([asked(published, Around(before, behind), [mask, 40, mask])])[0]
    assert late.isfinite().equal(fresh.isfinite())
    difference = (late - fresh)[fresh.isfinite()].abs().max()
    assert 0 < difference < 5, "near, and not the same: what is around has not seen the new token"


def test_what_it_cannot_do_is_refused_before_anything_is_computed(tmp_path: Path) -> None:
    published = opened(tmp_path, "llada")
    with pytest.raises(ValueError, match="no causal head"):
        published.run([Encode([1, 2, 3])])
    with pytest.raises(ValueError, match="there is room for 6"):
        published.run([asked(published, Around((60,) * 250), [published.tokenizer.mask] * 7)])


def test_a_model_of_random_tokens_encodes_and_thinks(tmp_path: Path) -> None:
    published = opened(tmp_path, "diffusion-gemma")
    assert published.canvas_length == 16
    [state] = published.run([Encode(published.tokenizer.encode("def area("))])
    canvas = torch.randint(0, 300, (1, 16), generator=torch.Generator().manual_seed(1))
    [first] = published.run([Think(state, canvas, None)])
    [second] = published.run([Think(state, canvas, first)])
    assert first.shape == (1, 16, published.tokenizer.vocab_size)
    assert not torch.equal(first, second), "it is told what it thought"
    assert state.nbytes > 0
    with pytest.raises(ValueError, match="fills no masks"):
        published.run([Denoise(Around((1,)), canvas, canvas > 0)])
    with pytest.raises(ValueError, match="fills holes in place"):
        opened(tmp_path, "llada").run([Think(state, canvas, None)])


# Folders that are not right.


def without(path: Path, name: str) -> None:
    tensors = load_file(path / "model.safetensors")
    del tensors[name]
    save_file(tensors, path / "model.safetensors")


def renamed(path: Path) -> None:
    tensors = load_file(path / "model.safetensors")
    tensors["model.norms.weight"] = tensors.pop("model.norm.weight")
    save_file(tensors, path / "model.safetensors")


def misshapen(path: Path) -> None:
    tensors = load_file(path / "model.safetensors")
    tensors["model.norm.weight"] = torch.ones(31)
    save_file(tensors, path / "model.safetensors")


def not_finite(path: Path) -> None:
    tensors = load_file(path / "model.safetensors")
    tensors["model.norm.weight"][3] = torch.nan
    save_file(tensors, path / "model.safetensors")


def extra(path: Path) -> None:
    tensors = load_file(path / "model.safetensors")
    save_file(tensors | {"model.layers.9.mlp.up_proj.weight": torch.ones(2, 2)}, path / "model.safetensors")


def configured(**changes: Any) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        config = json.loads((path / "config.json").read_text())
        (path / "config.json").write_text(json.dumps(config | changes))

    return change


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: without(path, "model.norm.weight"), "lacks the tensor 'model.norm.weight'"),
        (lambda path: without(path, "model.layers.1.self_attn.q_proj.bias"), "q_proj.bias"),
        (renamed, "model.norms.weight"),
        (misshapen, r"\[31\], not \[32\]"),
        (extra, "model.layers.9.mlp.up_proj.weight"),
        (lambda path: (path / "pytorch_model.bin").write_bytes(b"\x80\x04"), "pickle"),
        (lambda path: (path / "config.json").unlink(), "config.json is missing"),
        (lambda path: (path / "tokenizer.json").unlink(), "holds no tokenizer.json"),
        (configured(hidden_act="gelu"), "hidden_act"),
        (configured(num_hidden_layers=3), "lacks the tensor"),
        (configured(num_hidden_layers=10**9), "num_hidden_layers must be"),
        (configured(num_attention_heads=0), "num_attention_heads"),
        (not_finite, r"model.safetensors: 'model.norm.weight' holds numbers that are not finite"),
        (configured(mask_token_id=10**6), "no mask token"),
        (configured(vocab_size=100), "tokenizer|shape"),
    ],
)
def test_a_folder_that_is_not_right_is_refused_and_named(
    tmp_path: Path, spoil: Callable[[Path], object], said: str
) -> None:
    path = make(tmp_path, "dream")
    spoil(path)
    with pytest.raises(ValueError, match=said) as refused:
        open_published(path, device="cpu", dtype="float32")
    assert "\n" not in str(refused.value)


def test_an_autoregressive_model_is_not_taken_for_open_dcoder(tmp_path: Path) -> None:
    path = make(tmp_path, "open-dcoder")
    encoder(["<|endoftext|>", "<|im_end|>"]).save(str(path / "tokenizer.json"))
    with pytest.raises(ValueError, match="no mask token"):
        open_published(path, device="cpu", dtype="float32")


def test_a_head_of_its_own_counts_where_the_authors_code_takes_it(tmp_path: Path) -> None:
    path = make(tmp_path, "coda")
    before = open_published(path, device="cpu", dtype="float32").network.get_parameter("head")
    configured(tie_word_embeddings=True)(path)
    network = open_published(path, device="cpu", dtype="float32").network
    assert torch.equal(network.get_parameter("head"), before)
    other = make(tmp_path, "a2d-qwen3")
    configured(tie_word_embeddings=True)(other)
    with pytest.raises(ValueError, match="lm_head"):
        open_published(other, device="cpu", dtype="float32")


def test_what_does_not_fit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"needs about 1\.5 GiB on cpu as float32, and 0\.0 GiB are free"):
        open_published(make(tmp_path, "dream"), device="cpu", dtype="float32", available=1000)
    with pytest.raises(ValueError, match=r"on cpu as int4, and 0\.0 GiB are free: choose another --device or --dtype$"):
        open_published(tmp_path / "tiny-dream", device="cpu", dtype="float32", available=1000, quantize="int4")


def test_python_files_are_never_run(tmp_path: Path) -> None:
    path = make(tmp_path, "dream")
    marker = tmp_path / "ran"
    for name in ("modeling_dream.py", "configuration_dream.py", "tokenization_dream.py", "__init__.py"):
        (path / name).write_text(f"open({str(marker)!r}, 'w')")
    configured(auto_map={"AutoModel": "modeling_dream.DreamModel"})(path)
    open_published(path, device="cpu", dtype="float32")
    assert not marker.exists()


def test_another_family_can_be_named(tmp_path: Path) -> None:
    path = make(tmp_path, "a2d-qwen3")
    assert open_published(path, device="cpu", dtype="float32").block == 0
    assert open_published(path, device="cpu", dtype="float32", family="a2d-qwen3-bd3lm").block == 32
    with pytest.raises(ValueError, match="'gpt' is unknown"):
        open_published(path, device="cpu", family="gpt")


def test_bfloat16_is_as_near_as_its_rounding(tmp_path: Path) -> None:
    path = make(tmp_path, "dream")
    wide, narrow = (open_published(path, device="cpu", dtype=kind) for kind in ("float32", "bfloat16"))
    mask = wide.tokenizer.mask
    call = asked(wide, Around((60, 61), (62,)), [mask] * 4)
    exact, rounded = wide.run([call])[0], narrow.run([call])[0]
    known = exact.isfinite()
    assert (exact - rounded)[known].abs().max() < 0.05 * exact[known].abs().max()


def test_ours_and_theirs_are_told_apart(tmp_path: Path) -> None:
    assert is_published(make(tmp_path, "dream"))
    assert not is_published(Path("model/weights/hone-tiny-python"))
    assert not is_published(tmp_path)
