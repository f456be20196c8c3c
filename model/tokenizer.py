"""Text to token ids and back: byte-level BPE that loses nothing, with the special tokens as the first 64 ids.

The ids of special tokens are given by position and never by matching text: ``encode`` of a file that contains the
characters ``<mask>`` gives ordinary tokens. Knows nothing of prompts (``layout``) or tensors.

The pre-token pattern decides what may become one token, and mattered more than the vocabulary's size when measured:
a newline run with the indentation behind it, an identifier with its underscores, at most three digits, at most four
marks. Byte-level BPE after Radford et al., "Language Models are Unsupervised Multitask Learners" (2019), by the
``tokenizers`` library.
"""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from tokenizers import Regex, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as Encoder

LANGUAGES = (
    "other",
    "python",
    "javascript",
    "typescript",
    "tsx",
    "go",
    "rust",
    "java",
    "c",
    "cpp",
    "csharp",
    "ruby",
    "php",
    "bash",
    "lua",
    "html",
    "css",
    "json",
    "yaml",
    "toml",
    "markdown",
)

N_SPECIAL = 64

_ROLES = ["<pad>", "<mask>", "<eot>", "<suf>", "<pre>", "<bof>", "<eof>", "<eol>", "<file>", "<edit>"]
_NAMED = _ROLES + [f"<lang:{name}>" for name in LANGUAGES]

SPECIALS = _NAMED + [f"<reserved:{i}>" for i in range(N_SPECIAL - len(_NAMED))]
"""The special tokens; the place in this list is the id."""

PATTERN = r"(?:\r?\n)+[ \t]*| ?[A-Za-z_]+|[0-9]{1,3}| ?[^\sA-Za-z_0-9]{1,4}|[ ]+|\t+|\s+"
"""One pre-token. No token crosses its border; every character falls under one of the branches."""

LINES = re.compile(r"(?<=\S)(?=\r?\n)")
"""Where a pre-token begins whatever stands around it: the pieces of a text can be encoded apart."""
KEPT_LINES = 4096
"""Lines whose ids are kept: a context is tokenised at every key, and all of its lines but one are the old ones."""
LONG = 1 << 16
"""Characters of a text whose lines are not kept: it is no context."""


class Tokenizer:
    """An exact, reversible map between text and token ids.

    ``decode(encode(text)) == text`` for every text without lone surrogates (which have no UTF-8 form).
    """

    n_special = N_SPECIAL
    pad, mask, eot, suf, pre, bof, eof, eol, file, edit = range(len(_ROLES))

    def __init__(self, encoder: Encoder) -> None:
        """Wrap a trained ``tokenizers`` model.

        Raises:
            ValueError: the first 64 ids are not ``SPECIALS``, an id or a byte has no token of its own, or the text is
                not cut by ``PATTERN``.
        """
        self._encoder = encoder
        self._encoder.encode_special_tokens = True  # "<mask>" in a file is six characters, not a hole
        self.vocab_size: int = encoder.get_vocab_size()
        self._bytes = _token_bytes(encoder)
        if f"{_split()}" not in f"{encoder.pre_tokenizer}":
            raise ValueError(f"not a tokenizer of Hone: its pre-tokens must be {PATTERN}")
        self._lines: dict[str, list[int]] = {}
        self._languages = {name: len(_ROLES) + i for i, name in enumerate(LANGUAGES)}

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int = 8192) -> "Tokenizer":
        """Learn the merges from ``texts``. A small corpus gives fewer than ``vocab_size`` tokens.

        Raises:
            ValueError: no room for the special tokens and the 256 bytes.
        """
        if vocab_size < N_SPECIAL + 256:
            raise ValueError(
                f"vocab_size must be at least {N_SPECIAL + 256} (special tokens and bytes), not {vocab_size}"
            )
        encoder = Encoder(models.BPE())
        encoder.pre_tokenizer = pre_tokenizers.Sequence(
            [
                _split(),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        encoder.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=SPECIALS,
            initial_alphabet=sorted(BYTE_OF),
            show_progress=False,
        )
        encoder.train_from_iterator(texts, trainer)
        return cls(encoder)

    @classmethod
    def load(cls, folder: Path) -> "Tokenizer":
        """Read what ``save`` wrote.

        Raises:
            FileNotFoundError: the folder holds no ``tokenizer.json``.
            ValueError: the file is damaged, or another project's tokenizer.
        """
        path = Path(folder) / "tokenizer.json"
        if not path.is_file():
            raise FileNotFoundError(f"{folder} holds no tokenizer.json")
        encoder = read_encoder(path)
        try:
            return cls(encoder)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    def save(self, folder: Path) -> None:
        """Write ``tokenizer.json`` and the ``tokenizer_config.json`` that ``transformers`` wants beside it."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        _replace(folder / "tokenizer.json", self._encoder.to_str())
        _replace(folder / "tokenizer_config.json", json.dumps(_TRANSFORMERS_CONFIG, indent=2) + "\n")

    def language(self, name: str | None) -> int:
        """The id of ``<lang:name>``; ``<lang:other>`` for a language without one."""
        return self._languages.get(name or "other", self._languages["other"])

    def encode(self, text: str) -> list[int]:
        """Token ids of ``text``, never a special one. Lone surrogates become U+FFFD."""
        if len(text) > LONG:
            return self._whole(text)
        ids: list[int] = []
        for line in LINES.split(_encodable(text)):
            known = self._lines.get(line)
            if known is None:
                if len(self._lines) >= KEPT_LINES:
                    self._lines.clear()
                known = self._lines[line] = self._whole(line)
            ids += known
        return ids

    def _whole(self, text: str) -> list[int]:
        ids: list[int] = self._encoder.encode_batch_fast([_encodable(text)], add_special_tokens=False)[0].ids
        return ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """``encode`` of each text, on all cores."""
        batch = [_encodable(text) for text in texts]
        return [encoding.ids for encoding in self._encoder.encode_batch_fast(batch, add_special_tokens=False)]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ``ids``; special tokens are skipped, bytes that are not UTF-8 become U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The exact bytes of ``ids``; special tokens give none."""
        table = self._bytes
        return b"".join([table[i] for i in ids])

    def token_bytes(self, token: int) -> bytes:
        """The bytes of one token, ``b""`` for a special one."""
        return self._bytes[token]


def _split() -> pre_tokenizers.Split:
    return pre_tokenizers.Split(Regex(PATTERN), behavior="isolated")


def read_encoder(path: Path) -> Encoder:
    """A ``tokenizer.json``. Raises ValueError, naming the file, where it cannot be used."""
    try:
        return Encoder.from_str(path.read_text(encoding="utf-8"))
    except BaseException as error:
        # The library raises Exception itself, and panics, which are no Exception, where a file contradicts itself.
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
        raise ValueError(f"{path} is no tokenizer that can be used: {error}") from error


def _byte_alphabet() -> dict[str, int]:
    """The printable character that stands for each byte in a byte-level vocabulary (GPT-2's table)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    shifted = [byte for byte in range(256) if byte not in printable]
    table = {chr(byte): byte for byte in printable}
    return table | {chr(256 + i): byte for i, byte in enumerate(shifted)}


BYTE_OF = _byte_alphabet()
"""The byte that a character of a byte-level vocabulary stands for."""

_TRANSFORMERS_CONFIG = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "pad_token": "<pad>",
    "mask_token": "<mask>",
    "eos_token": "<eot>",
    "bos_token": "<bof>",
    "additional_special_tokens": [name for name in SPECIALS if name not in ("<pad>", "<mask>", "<eot>", "<bof>")],
    "clean_up_tokenization_spaces": False,
    "model_input_names": ["input_ids", "attention_mask"],
}


def _token_bytes(encoder: Encoder) -> list[bytes]:
    """The bytes of every id. Raises ValueError when the vocabulary is not ours."""
    tokens = [encoder.id_to_token(i) or "" for i in range(encoder.get_vocab_size())]
    if tokens[:N_SPECIAL] != SPECIALS:
        raise ValueError(f"not a tokenizer of Hone: ids 0..{N_SPECIAL - 1} must be {SPECIALS[0]} .. {SPECIALS[-1]}")
    strange = [i for i, token in enumerate(tokens) if i >= N_SPECIAL and not (token and set(token) <= BYTE_OF.keys())]
    if strange:
        raise ValueError(f"not a tokenizer of Hone: the id {strange[0]} stands for {tokens[strange[0]]!r}")
    table = [b""] * N_SPECIAL + [bytes(BYTE_OF[char] for char in token) for token in tokens[N_SPECIAL:]]
    missing = set(range(256)) - {token[0] for token in table if len(token) == 1}
    if missing:
        raise ValueError(f"not a tokenizer of Hone: no token for byte {min(missing)}")
    return table


def _encodable(text: str) -> str:
    """``text`` itself when it has a UTF-8 form, else with its lone surrogates replaced by U+FFFD."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _replace(path: Path, text: str) -> None:
    """Write ``text`` so that a reader sees the old file or the new one, never half of it."""
    partial = path.with_name(path.name + ".part")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
