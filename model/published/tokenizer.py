"""Tokenizers of published checkpoints, read from their own files without running anything of theirs.

``tokenizer.json`` where a folder has one, else the ``vocab.json`` and ``merges.txt`` of Qwen2 or GPT-2. What is asked
of them is the same as of our own: exact bytes of every token, and no special token from the text of a file. Chat
templates of a folder are never rendered; ``model.published.registry`` knows how a family is spoken to.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers
from tokenizers import Tokenizer as Encoder

from model.jsonfile import read_json
from model.tokenizer import BYTE_OF, Tokenizer, read_encoder

PAD = -1
"""Fills rows of a canvas up. It is no token: what a family calls padding may be a token that it writes."""

QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Qwen2's pre-tokens (``transformers`` ``Qwen2Tokenizer``)."""

LARGEST = 2**31 - 1
"""Of all ids: the library's own have 32 bits."""

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


class PublishedTokenizer(Tokenizer):
    """Ids of a published vocabulary. No id is special by its number: ``token_bytes`` of a special one is empty."""

    n_special = 0

    def __init__(self, encoder: Encoder, vocab_size: int) -> None:
        """``vocab_size``: rows of the network's head; ids beyond the tokenizer's own are known and mean nothing.

        Raises:
            ValueError: tokens that the network has no row for, or a vocabulary whose bytes cannot be told.
        """
        self._encoder = encoder
        self.vocab_size = vocab_size
        self.pad = PAD
        self.mask = self.eot = PAD
        """Set by whoever knows the family."""
        self._bytes = _table(encoder, vocab_size)

    def id_of(self, token: str) -> int | None:
        """The id of a token by its own name, special ones too."""
        found: int | None = self._encoder.token_to_id(token)
        return found

    def encode(self, text: str) -> list[int]:
        """Token ids of ``text``: what looks like a special token in it is text."""
        self._encoder.encode_special_tokens = True
        return self._whole(text)

    def encode_marked(self, text: str) -> list[int]:
        """Token ids of a text of our own, in which special tokens stand by name."""
        self._encoder.encode_special_tokens = False
        return self._whole(text)

    def language(self, name: str | None) -> int:
        raise ValueError(f"published vocabularies have no token for the language {name!r}")

    def silent(self) -> list[int]:
        """Ids that write nothing: special ones, and rows of the head without a token."""
        return [token for token, text in enumerate(self._bytes) if not text]


def load_tokenizer(folder: Path, vocab_size: int) -> PublishedTokenizer:
    """Raises ValueError, naming the file that is missing or wrong."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        path = folder / "vocab.json"
        if not path.is_file() or not (folder / "merges.txt").is_file():
            raise ValueError(f"{folder} holds no tokenizer.json, and no vocab.json with merges.txt")
    encoder = read_encoder(path) if path.name == "tokenizer.json" else _byte_pairs(folder)
    if getattr(encoder.model, "dropout", None):
        raise ValueError(f"{path} drops merges by chance (dropout {encoder.model.dropout}), which is for training only")
    try:
        return PublishedTokenizer(encoder, vocab_size)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _byte_pairs(folder: Path) -> Encoder:
    """Qwen2's tokenizer, or GPT-2's where a folder says so, from ``vocab.json`` and ``merges.txt``."""
    vocab = read_json(folder / "vocab.json")
    if not all(type(token) is int and 0 <= token <= LARGEST for token in vocab.values()):
        raise ValueError(f"{folder / 'vocab.json'} must map texts to whole numbers from 0 to {LARGEST}")
    try:
        lines = (folder / "merges.txt").read_text(encoding="utf-8").splitlines()
        pairs = [line.split(" ") for line in lines if line and not line.startswith("#version")]
        merges = [(left, right) for left, right in pairs]
    except ValueError as error:
        raise ValueError(f"{folder / 'merges.txt'} is no list of pairs: {error}") from error
    lost = next((text for pair in merges for text in (*pair, "".join(pair)) if text not in vocab), None)
    if lost is not None:
        # The library would panic.
        raise ValueError(f"{folder / 'merges.txt'} does not fit vocab.json, which lacks {lost!r}")
    encoder = Encoder(models.BPE(vocab=vocab, merges=merges))
    config = _config(folder)
    if "GPT2" in str(config.get("tokenizer_class", "")):
        encoder.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        encoder.normalizer = normalizers.NFC()
        encoder.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(QWEN2), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    encoder.decoder = decoders.ByteLevel()
    for token, (content, special) in sorted(_added(folder, config).items()):
        encoder.add_tokens([AddedToken(content, special=special, normalized=False)])
        if encoder.token_to_id(content) != token:
            raise ValueError(f"{folder}: the added token {content!r} should have the id {token}, which leaves a gap")
    return encoder


def _config(folder: Path) -> Mapping[str, Any]:
    path = folder / "tokenizer_config.json"
    return read_json(path) if path.is_file() else {}


def _added(folder: Path, config: Mapping[str, Any]) -> dict[int, tuple[str, bool]]:
    """Tokens beyond the vocabulary: id -> text, and whether it is a special one."""
    path = folder / "added_tokens.json"
    named = read_json(path) if path.is_file() else {}
    found = {token: (text, True) for text, token in named.items() if type(token) is int}
    entries = config.get("added_tokens_decoder", {})
    for token, entry in entries.items() if isinstance(entries, dict) else ():
        if not token.isdigit() or not isinstance(entry, dict) or not isinstance(entry.get("content"), str):
            raise ValueError(f"{folder / 'tokenizer_config.json'}: the added token {token!r} is not described")
        found[int(token)] = (entry["content"], bool(entry.get("special", True)))
    if len({text for text, _ in found.values()}) < len(found):
        raise ValueError(f"{folder}: an added token has two ids")
    return found


def _table(encoder: Encoder, vocab_size: int) -> list[bytes]:
    """The bytes of every id; none for special tokens and ids without one."""
    vocab = encoder.get_vocab(with_added_tokens=True)
    bytes_of = _spelled_in_bytes if vocab.keys() >= BYTE_OF.keys() else _spelled_in_pieces
    if bytes_of is _spelled_in_pieces and "<0x0A>" not in vocab:
        raise ValueError("the tokenizer has no token for every byte: it loses text, and cannot be used")
    added = encoder.get_added_tokens_decoder()
    table = [b""] * vocab_size
    for text, token in vocab.items():
        if token >= vocab_size:
            raise ValueError(f"the tokenizer has the id {token} ({text!r}), but the network only {vocab_size} tokens")
        if token not in added:
            table[token] = bytes_of(text)
        elif not added[token].special:
            table[token] = added[token].content.encode()
    return table


def _spelled_in_bytes(text: str) -> bytes:
    """Byte-level vocabularies (GPT-2): a character stands for a byte."""
    return bytes(BYTE_OF[char] for char in text) if all(char in BYTE_OF for char in text) else text.encode()


def _spelled_in_pieces(text: str) -> bytes:
    """SentencePiece: a low line stands for a space, and bytes that are no text have tokens of their own."""
    byte = _BYTE.fullmatch(text)
    return bytes([int(byte.group(1), 16)]) if byte else text.replace("\u2581", " ").encode()
