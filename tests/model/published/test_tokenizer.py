"""Published tokenizers: exact bytes of every token, and nothing special from the text of a file."""

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Tokenizer, Qwen2Tokenizer

from model.published.tokenizer import PublishedTokenizer, load_tokenizer
from model.tokenizer import BYTE_OF
from tests.published import QWEN, TEXT, encoder

STRANGE = "def f(x):\n\treturn 'äß€😀'  \r\n\n\n    # 12345 don't  <|mask|> <|im_end|>\n"


def saved(folder: Path, made: Tokenizer) -> None:
    made.save(str(folder / "tokenizer.json"))


def parts(folder: Path, **config: Any) -> dict[str, Any]:
    """``vocab.json`` and ``merges.txt`` instead of one file; the model's JSON."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=sorted(BYTE_OF), show_progress=False)
    made.train_from_iterator([TEXT * 3], trainer)
    model: dict[str, Any] = json.loads(made.to_str())["model"]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(pair) for pair in model["merges"]))
    if config:
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return model


def test_text_comes_back_as_it_was(tmp_path: Path) -> None:
    saved(tmp_path, encoder([*QWEN, "<|mask|>"]))
    tokenizer = load_tokenizer(tmp_path, 340)
    ids = tokenizer.encode(STRANGE)
    assert tokenizer.decode_bytes(ids) == STRANGE.encode()
    assert tokenizer.decode(ids) == STRANGE


def test_a_special_token_in_a_file_is_text_and_in_a_prompt_of_ours_it_is_one(tmp_path: Path) -> None:
    saved(tmp_path, encoder([*QWEN, "<|mask|>"]))
    tokenizer = load_tokenizer(tmp_path, 340)
    mask = tokenizer.id_of("<|mask|>")
    assert mask is not None
    assert mask not in tokenizer.encode("a <|mask|> b")
    assert mask in tokenizer.encode_marked("a <|mask|> b")
    assert mask not in tokenizer.encode("a <|mask|> b"), "asking the one way does not change the other"


def test_what_writes_nothing_is_known(tmp_path: Path) -> None:
    saved(tmp_path, encoder(QWEN))
    tokenizer = load_tokenizer(tmp_path, 340)
    named = {tokenizer.id_of(name) for name in QWEN}
    assert named | set(range(320 + len(QWEN), 340)) == set(tokenizer.silent())


@pytest.mark.parametrize(("kind", "theirs"), [("Qwen2Tokenizer", Qwen2Tokenizer), ("GPT2Tokenizer", GPT2Tokenizer)])
def test_vocabulary_and_merges_give_what_transformers_makes_of_them(tmp_path: Path, kind: str, theirs: Any) -> None:
    size = len(parts(tmp_path, tokenizer_class=kind)["vocab"])
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<|mask|>": size + 1, "<|endoftext|>": size}))
    tokenizer = load_tokenizer(tmp_path, size + 9)
    reference = theirs.from_pretrained(tmp_path)
    plain = STRANGE.replace("<|mask|>", "").replace("<|im_end|>", "")
    assert tokenizer.encode(plain) == reference.encode(plain, add_special_tokens=False)
    assert tokenizer.id_of("<|mask|>") == size + 1


def test_pieces_with_bytes_beside_them(tmp_path: Path) -> None:
    vocab = {f"<0x{byte:02X}>": byte for byte in range(256)} | {"▁": 256, "d": 257, "e": 258, "f": 259, "de": 260}
    made = Tokenizer(models.BPE(vocab=vocab, merges=[("d", "e")], byte_fallback=True))
    made.decoder = decoders.ByteFallback()
    saved(tmp_path, made)
    tokenizer = load_tokenizer(tmp_path, 261)
    assert tokenizer.token_bytes(256) == b" "
    assert tokenizer.decode_bytes(tokenizer.encode("de\nß")) == "de\nß".encode()


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "holds no tokenizer.json"),
        ({"tokenizer.json": "{"}, "no tokenizer that can be used"),
        ({"vocab.json": '{"a": "x"}', "merges.txt": ""}, "must map texts to whole numbers"),
        ({"vocab.json": '{"a": 0}', "merges.txt": "a b c"}, "no list of pairs"),
        ({"vocab.json": '{"a": 0, "b": 1}', "merges.txt": "a b"}, "does not fit vocab.json"),
        ({"vocab.json": '{"a": 0}', "merges.txt": "", "added_tokens.json": '{"x": 7}'}, "leaves a gap"),
        ({"vocab.json": '{"a": 0}', "merges.txt": ""}, "no token for every byte"),
    ],
)
def test_a_wrong_folder_is_named(tmp_path: Path, files: dict[str, str], said: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=said):
        load_tokenizer(tmp_path, 100)


def test_a_token_that_the_network_has_no_row_for_is_refused() -> None:
    with pytest.raises(ValueError, match="the network only 300"):
        PublishedTokenizer(encoder(QWEN), 300)
