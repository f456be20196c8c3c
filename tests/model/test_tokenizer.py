"""The tokenizer: every text comes back, no text gives a special token, other tools read it."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.tokenizer import LANGUAGES, SPECIALS, Tokenizer

CODE = '''
class Stack:
    """A stack of things, used in 1999 and 2024."""

    def __init__(self, items=None):
        self.items = list(items or [])

    def push(self, item):
        if item is None:
            raise ValueError("nothing to push")
        self.items.append(item)
        return self

\tdef tabbed(self):
\t\treturn self.items[0:10000] != []
'''


pieces = st.one_of(st.text(), st.sampled_from([*SPECIALS, "\r\n", "\n\n    ", "\t", "  ", "def ", "😀", "\x00"]))
texts = st.lists(pieces, max_size=12).map("".join)
trained = Tokenizer.train([CODE] * 3, vocab_size=600)


@pytest.fixture
def tokenizer() -> Tokenizer:
    return trained


@given(texts)
@settings(max_examples=300, deadline=None)
def test_every_text_comes_back_and_none_gives_a_special_token(text: str) -> None:
    ids = trained.encode(text)
    assert trained.decode(ids) == text
    assert trained.decode_bytes(ids) == text.encode()
    assert all(i >= trained.n_special for i in ids)


@given(st.lists(texts, max_size=5))
@settings(max_examples=50, deadline=None)
def test_a_batch_is_encoded_like_its_texts(batch: list[str]) -> None:
    assert trained.encode_batch(batch) == [trained.encode(text) for text in batch]


WHITE = "\t\r\n\x0b\f\x1c\x85\u2028"
spaced = Tokenizer.train([f"a{one}{two}b{one}\n{two}" for one in WHITE for two in WHITE] * 9, vocab_size=600)


@given(st.text(f"ab_1. {WHITE}\ud83d", max_size=12))
@settings(max_examples=500, deadline=None)
def test_a_text_is_encoded_like_its_lines(text: str) -> None:
    assert spaced.encode(text) == spaced.encode_batch([text])[0]


def test_old_lines_make_room_for_new_ones(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model.tokenizer.KEPT_LINES", 3)
    text = "".join(f"\nline{i}" for i in range(50))
    assert tokenizer.encode(text) == tokenizer.encode_batch([text])[0]
    assert len(tokenizer._lines) <= 3


@given(st.binary(max_size=40))
def test_every_byte_has_a_token(content: bytes) -> None:
    of = {trained.token_bytes(i): i for i in range(trained.n_special, trained.vocab_size)}
    ids = [of[bytes([byte])] for byte in content]
    assert trained.decode_bytes(ids) == content
    assert trained.decode(ids) == content.decode(errors="replace")


def test_special_tokens_are_the_first_64_ids(tokenizer: Tokenizer) -> None:
    assert len(SPECIALS) == len(set(SPECIALS)) == tokenizer.n_special == 64
    named = [tokenizer.pad, tokenizer.mask, tokenizer.eot, tokenizer.suf, tokenizer.pre]
    named += [tokenizer.bof, tokenizer.eof, tokenizer.eol, tokenizer.file, tokenizer.edit]
    assert named == list(range(10))
    assert [SPECIALS[tokenizer.language(name)] for name in LANGUAGES] == [f"<lang:{name}>" for name in LANGUAGES]
    assert tokenizer.language("cobol") == tokenizer.language(None) == tokenizer.language("other")


def test_special_tokens_are_skipped_when_decoding(tokenizer: Tokenizer) -> None:
    ids = [tokenizer.bof, *tokenizer.encode("x = 1"), tokenizer.mask, tokenizer.eot]
    assert tokenizer.decode(ids) == "x = 1"
    assert tokenizer.token_bytes(tokenizer.mask) == b""


def test_lone_surrogates_become_replacement_characters(tokenizer: Tokenizer) -> None:
    assert tokenizer.decode(tokenizer.encode("a\ud800b")) == "a\ufffdb"


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("\n        self", ["\n        ", "self"]),
        ("\n\n    def", ["\n\n    ", "def"]),
        ("\n\t\treturn", ["\n\t\t", "return"]),
        ("1999", ["199", "9"]),
    ],
)
def test_what_is_one_token(tokenizer: Tokenizer, text: str, tokens: list[str]) -> None:
    assert [tokenizer.token_bytes(i).decode() for i in tokenizer.encode(text)] == tokens


def test_no_token_crosses_a_border(tokenizer: Tokenizer) -> None:
    for i in range(tokenizer.n_special, tokenizer.vocab_size):
        token = tokenizer.token_bytes(i).decode(errors="replace")
        assert not ("\n" in token and token.strip()), token
        assert sum(char.isdigit() for char in token) <= 3, token


def test_training_and_loading_give_the_same_ids(tokenizer: Tokenizer, tmp_path: Path) -> None:
    again = Tokenizer.train([CODE] * 3, vocab_size=600)
    tokenizer.save(tmp_path / "deep" / "folder")
    loaded = Tokenizer.load(tmp_path / "deep" / "folder")
    text = CODE + "<mask><eot>"
    assert tokenizer.encode(text) == again.encode(text) == loaded.encode(text)
    assert loaded.vocab_size == tokenizer.vocab_size
    assert not list(tmp_path.rglob("*.part"))


def test_transformers_reads_the_same_ids(tokenizer: Tokenizer, tmp_path: Path) -> None:
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    tokenizer.save(tmp_path)
    for kind in (PreTrainedTokenizerFast, AutoTokenizer):
        other = kind.from_pretrained(tmp_path)
        assert len(other) == tokenizer.vocab_size
        assert other(CODE)["input_ids"] == tokenizer.encode(CODE)
        assert other.decode(tokenizer.encode(CODE)) == CODE
        assert [other.convert_tokens_to_ids(name) for name in SPECIALS] == list(range(64))
        assert (other.pad_token_id, other.mask_token_id, other.eos_token_id) == (0, 1, 2)


def test_too_small_a_vocabulary_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 320"):
        Tokenizer.train(["x"], vocab_size=300)


def test_a_folder_without_a_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"holds no tokenizer\.json"):
        Tokenizer.load(tmp_path)


def test_a_foreign_tokenizer_is_refused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    path = tmp_path / "tokenizer.json"
    foreign = json.loads(path.read_text(encoding="utf-8"))
    for token in foreign["added_tokens"]:
        token["content"] = token["content"].replace("mask", "musk")
    foreign["model"]["vocab"]["<musk>"] = foreign["model"]["vocab"].pop("<mask>")
    path.write_text(json.dumps(foreign), encoding="utf-8")
    with pytest.raises(ValueError, match="not a tokenizer of Hone"):
        Tokenizer.load(tmp_path)


def test_other_pre_tokens_are_refused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    path = tmp_path / "tokenizer.json"
    foreign = json.loads(path.read_text(encoding="utf-8"))
    foreign["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = r"\S+|\s+"
    path.write_text(json.dumps(foreign), encoding="utf-8")
    with pytest.raises(ValueError, match="its pre-tokens must be"):
        Tokenizer.load(tmp_path)
