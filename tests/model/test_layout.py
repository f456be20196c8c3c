"""A prompt's ids: complete when they fit, cut at lines when not, and steady while someone types."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.layout import Layout, encode_context
from model.tokenizer import Tokenizer

CODE = "".join(f"def function_{i}(value):\n    total = value + {i}\n    return total\n\n\n" for i in range(400))


def lay(
    tokenizer: Tokenizer, prefix: str, suffix: str, context: int = 256, filename: str | None = "pkg/a.py"
) -> Layout:
    return encode_context(tokenizer, prefix, suffix, language="python", filename=filename, context=context, glue=8)


def split(tokenizer: Tokenizer, layout: Layout) -> tuple[str, str]:
    """Prefix and suffix text as the model sees them."""
    pre = layout.ids.index(tokenizer.pre)
    suf = layout.ids.index(tokenizer.suf)
    return tokenizer.decode(layout.ids[pre + 1 :]), tokenizer.decode(layout.ids[suf + 1 : pre])


def test_what_fits_is_whole_and_marked(tokenizer: Tokenizer) -> None:
    layout = lay(tokenizer, "import os\n", "\nprint(os)\n")
    assert layout.ids[0] == tokenizer.language("python")
    assert split(tokenizer, layout) == ("import os\n", "\nprint(os)\n")
    assert {tokenizer.bof, tokenizer.eof} <= set(layout.ids)
    assert tokenizer.decode(layout.glue) == tokenizer.decode(tokenizer.encode("\nprint(os)\n")[:8])


def test_an_empty_file_and_an_empty_suffix(tokenizer: Tokenizer) -> None:
    layout = lay(tokenizer, "", "", filename=None)
    t = tokenizer
    assert layout.ids == [t.language("python"), t.suf, t.eof, t.pre, t.bof]
    assert layout.glue == [t.eof]


@pytest.mark.parametrize("at", [0, 5000, 20000, len(CODE)])
def test_a_long_file_is_cut_at_lines(tokenizer: Tokenizer, at: int) -> None:
    layout = lay(tokenizer, CODE[:at], CODE[at:])
    prefix, suffix = split(tokenizer, layout)
    assert len(layout.ids) <= 256
    assert len(layout.ids) > 180
    assert CODE[:at].endswith(prefix)
    assert CODE[at:].startswith(suffix)
    assert at == len(prefix) or CODE[at - len(prefix) - 1] == "\n"


@given(st.text(max_size=3000), st.text(max_size=3000))
def test_any_text_fits(tokenizer: Tokenizer, prefix: str, suffix: str) -> None:
    layout = lay(tokenizer, prefix, suffix, context=100)
    assert 0 < len(layout.ids) <= 100
    assert len(layout.glue) <= 8
    shown, behind = split(tokenizer, layout)
    assert prefix.endswith(shown.lstrip("\ufffd")) or not shown
    assert suffix.startswith(behind.rstrip("\ufffd"))


@pytest.mark.parametrize(
    "text", ["x" * 1_000_000, "a = 1; " * 150_000, "日本" * 400_000], ids=["one word", "one line", "wide"]
)
def test_a_huge_line_fits(tokenizer: Tokenizer, text: str) -> None:
    layout = lay(tokenizer, text, text)
    assert len(layout.ids) <= 256
    assert len(split(tokenizer, layout)[0]) > 30


def test_typing_only_appends(tokenizer: Tokenizer) -> None:
    """Most keystrokes keep all but the last token or two of the context."""
    typed = "    result = [" + ", ".join(f"value + {i}" for i in range(40)) + "]\n    return result\n"
    before = lay(tokenizer, CODE[:9000], CODE[9000:], context=1024)
    kept = 0
    for n in range(1, len(typed) + 1):
        after = lay(tokenizer, CODE[:9000] + typed[:n], CODE[9000:], context=1024)
        common = next(
            (i for i, (a, b) in enumerate(zip(before.ids, after.ids, strict=False)) if a != b), len(before.ids)
        )
        kept += common >= len(before.ids) - 3
        before = after
    assert kept >= 0.88 * len(typed)


def test_reserve_leaves_room(tokenizer: Tokenizer) -> None:
    layout = encode_context(
        tokenizer, CODE[:9000], CODE[9000:], language=None, filename=None, context=256, glue=8, reserve=100
    )
    assert len(layout.ids) <= 156
    assert layout.ids[0] == tokenizer.language("other")
