"""Prompts as the clients write them, by family, and back."""

import gc
import time

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from assistant.protocols.fim import SENTINELS, Hole, locate, parse
from assistant.protocols.guess import guess

# As Zed, Continue, cursortab.nvim and the model cards write them.
FORMATS = {
    "qwen": "<|fim_prefix|>{prefix}<|fim_suffix|>{suffix}<|fim_middle|>",
    "starcoder": "<fim_prefix>{prefix}<fim_suffix>{suffix}<fim_middle>",
    "santacoder": "<fim-prefix>{prefix}<fim-suffix>{suffix}<fim-middle>",
    "deepseek": "<｜fim▁begin｜>{prefix}<｜fim▁hole｜>{suffix}<｜fim▁end｜>",
    "codellama": "<PRE> {prefix} <SUF>{suffix} <MID>",
    "codestral": "[SUFFIX]{suffix}[PREFIX]{prefix}",
    "glm": "<|code_prefix|>{prefix}<|code_suffix|>{suffix}<|code_middle|>",
    "codegeex": "<|user|>\n###PATH:{name}\n###LANGUAGE:Python\n###MODE:BLOCK\n"
    "<|code_suffix|>{suffix}<|code_prefix|>{prefix}<|code_middle|><|assistant|>\n",
    "seed": "<[fim-suffix]>{suffix}<[fim-prefix]>{prefix}<[fim-middle]>",
    "qwen, in a repository": "<|repo_name|>repo\n<|file_sep|>other.py\nx = 1\n<|file_sep|>{name}\n"
    "<|fim_prefix|>{prefix}<|fim_suffix|>{suffix}<|fim_middle|>",
    "seed, in a repository": "<[fim-suffix]>{suffix}<[fim-prefix]><filename>other.py\nx = 1\n\n"
    "<filename>{name}\n{prefix}<[fim-middle]>",
    "starcoder, named": "<file_sep>{name}\n<fim_prefix>{prefix}<fim_suffix>{suffix}<fim_middle>",
}
PIECES = st.characters(exclude_categories=["Cs"]) | st.sampled_from(["\n", "    ", "<", ">", "|", "def f():"])
TEXT = st.lists(PIECES).map("".join)


@pytest.mark.parametrize("family", FORMATS)
@given(prefix=TEXT, suffix=TEXT)
def test_reading_a_prompt_undoes_writing_it(family: str, prefix: str, suffix: str) -> None:
    assume(not any(sign in prefix + "\n" + suffix for sign in (*SENTINELS, "<|marker_", "<<<<<<< CURRENT")))
    prompt = FORMATS[family].format(prefix=prefix, suffix=suffix, name="pkg/a.py")
    hole = parse(prompt)
    assert hole is not None
    assert (hole.prefix, hole.suffix) == (prefix, suffix)
    assert (hole.before, hole.after) == ("", "")
    assert hole.filename == ("pkg/a.py" if "{name}" in FORMATS[family] else None)


@given(TEXT)
def test_a_text_without_sentinels_is_no_prompt(text: str) -> None:
    assume(not any(sign in text for sign in SENTINELS))
    assert parse(text) is None
    assert locate(text, "\n").prefix.endswith(text[-3:])


PARTS = ["x", "\n", "<|user_cursor|>", "<<<<<<< CURRENT\n", "=======\n", "original/a", "current/a", "updated/a"]
PARTS += ["<|cursor|>", "<|marker_1|>", "updated", "current", *SENTINELS]


@given(st.lists(st.sampled_from(PARTS)))
def test_no_order_of_sentinels_is_too_odd(parts: list[str]) -> None:
    text = "".join(parts)
    hole = locate(text)
    assert len(hole.prefix) + len(hole.suffix) <= len(text)


@pytest.mark.parametrize(
    "text",
    [
        'PREFIX = "<fim_prefix>"\nSUFFIX = "<fim_suffix>"\nMIDDLE = "<fim_middle>"\n',
        'prompt = "<fim_prefix>" + before + "<fim_suffix>" + after + "<fim_middle>',
        "see [SUFFIX] and [PREFIX]",
        "<|fim_prefix|>x = 1",
        "<fim_middle>",
        "",
    ],
)
def test_code_that_mentions_sentinels_is_code(text: str) -> None:
    assert parse(text) is None
    assert locate(text) == Hole(text)


def test_a_suffix_of_its_own_leaves_the_prompt_as_it_is() -> None:
    prompt = FORMATS["qwen"].format(prefix="a", suffix="b")
    assert locate(prompt, "c") == Hole(prompt, "c")


def test_an_end_that_is_a_tag_is_text() -> None:
    assert locate("<ul><li><s>old", "</s>") == Hole("<ul><li><s>old", "</s>")
    assert locate("<s>def f():", "</s>") == Hole("<s>def f():", "")
    assert locate("def f():", "</s>") == Hole("def f():", "")


@pytest.mark.parametrize("start", ["<s>", "<bos>", "<｜begin▁of▁sentence｜>"])
def test_a_token_that_begins_every_text_is_no_part_of_it(start: str) -> None:
    assert parse(start + FORMATS["qwen"].format(prefix="a", suffix="b")) == Hole("a", "b")


@pytest.mark.parametrize(
    ("top", "language", "cut"),
    [
        ("# language: python\n# indentation: use 4 spaces for a tab\n", "python", True),
        ("//language: typescriptreact\n//indentation: use \t for a tab\n", "typescriptreact", True),
        ("/* language: css */\n/* indentation: use 2 spaces for a tab */\n", "css", True),
        ("<!-- language: html -->\n<!-- indentation: use 2 spaces for a tab -->\n", "html", True),
        ("--[[language: lua]]\n--[[indentation: use 2 spaces for a tab]]\n", "lua", True),
        ("# language: python\n\n", "python", False),
        ("# language: klingon\n# indentation: use 4 spaces for a tab\n", None, False),
        ("# the language: python\n", None, False),
        ("\n# pkg/main.py\n", "python", False),
        ("# Path: pkg/other.ts\n# const a = 1\n# pkg/main.py\n", "python", False),
        ("// Path: other.py\n// x = 1\n// src/app.ts\n", "typescript", False),
        ("# src/app.ts\n", None, False),
        ("x = 1\n# pkg/main.py\n", None, False),
    ],
)
def test_a_client_names_the_language_on_top(top: str, language: str | None, cut: bool) -> None:
    hole = locate(top + "x = ", "\n")
    assert hole.language == language
    assert hole.prefix == ("x = " if cut else top + "x = ")


def test_what_the_request_says_counts_more_than_its_text() -> None:
    prompt = "# language: python\n# indentation: use 4 spaces for a tab\nx"
    assert locate(prompt, language="lua").language == "lua"
    assert locate(FORMATS["codegeex"].format(prefix="", suffix="", name="a.py"), filename="b.go").filename == "b.go"


def test_codestral_gets_other_files_above_the_text() -> None:
    prompt = "+++++ pkg/b.py\ny = 1\n\n+++++ pkg/a.py\nx = "
    assert locate(prompt, "\n") == Hole("x = ", "\n", filename="pkg/a.py")
    assert locate(f"[SUFFIX]\n[PREFIX]{prompt}") == Hole("x = ", "\n", filename="pkg/a.py")
    diff = "diff --git a b\n+++++ pkg/a.py\nx = "
    assert locate(diff, "\n").prefix == diff


ZETA = "<|file_sep|>b.py\ny\n<|file_sep|>edit history\n<|file_sep|>a.py\n<|fim_prefix|>\nimport os\n"
REGION = "<|fim_middle|>current\nx = <|user_cursor|>\n"


@pytest.mark.parametrize(
    "prompt",
    [
        ZETA + REGION + "<|fim_suffix|>\nprint(x)\n<|fim_middle|>updated\n",
        ZETA + "<|fim_suffix|>\nprint(x)\n" + REGION + "<|fim_middle|>updated\n",
    ],
)
def test_a_region_of_zeta_is_answered_whole(prompt: str) -> None:
    hole = parse(prompt)
    assert hole == Hole("import os\nx = ", "\nprint(x)\n", filename="a.py", before="x = ", after="\n")
    assert hole.wrapped("1") == "x = 1\n"


def test_a_region_without_a_cursor_is_plain_text() -> None:
    hole = parse("<[fim-suffix]>b\n<[fim-prefix]>a\n<<<<<<< CURRENT\nx\n=======\n<[fim-middle]>")
    assert hole is not None
    assert hole.before == ""


SWEEP = "<|file_sep|>original/a.py:1:3\n{old}<|file_sep|>current/a.py:1:3\n{new}<|file_sep|>updated/a.py:1:3\n{begun}"


@given(TEXT, TEXT, TEXT)
def test_sweep_draws_the_cursor_in_the_present_text(before: str, after: str, old: str) -> None:
    assume(not any("<|" in text for text in (before, after, old)))
    begun = before[: before.rfind("\n") + 1]
    hole = parse(SWEEP.format(old=old, new=f"{before}<|cursor|>{after}", begun=begun))
    assert hole is not None
    assert (hole.prefix, hole.suffix, hole.filename) == (before, after, "a.py")
    assert begun + hole.wrapped("!") == before + "!" + after


@given(TEXT, TEXT, st.text("ab", min_size=1))
def test_without_a_cursor_sweep_goes_on_where_the_last_change_ends(above: str, below: str, typed: str) -> None:
    assume(not any("<|" in text for text in (above, below)) and below[:1] not in ("a", "b"))
    hole = parse(SWEEP.format(old=above + below, new=above + typed + below, begun=""))
    assert hole is not None
    assert hole.wrapped("") == above + typed + below
    assert hole.suffix.endswith(below) or below.endswith(hole.suffix)


@pytest.mark.parametrize(
    "text",
    [
        "<|file_sep|>original/a\n" + "<|file_sep|>current/a\n" * 100_000 + "<|file_sep|>updated/a\n",
        "<|file_sep|>original/a\n" * 100_000,
        "<|fim_prefix|>\n" + "<|fim_suffix|>\n<|fim_middle|>current\n" * 50_000 + "<|fim_middle|>updated\n",
        "<|fim_prefix|>\n" * 100_000 + "<|fim_middle|>current\n" * 50_000 + "<|fim_middle|>updated\n",
        "<[fim-suffix]><[fim-prefix]>" + "<filename>a\n<|marker_1|>\n<<<<<<< CURRENT\n" * 50_000 + "<[fim-middle]>",
        "[SUFFIX]" * 100_000 + "[PREFIX]" * 100_000,
        SWEEP.format(old="a" * 1_000_000, new="a" * 1_000_001, begun=""),
        "+++++ a\n" * 100_000,
        "#" + " " * 1_000_000 + "language:",
        "# a.py\n" * 100_000,
        "\n" * 1_000_000 + "def f():\n" + "\n" * 16_000,
        "def f(" + ": #" * 300_000,
        "class " + "(" * 16_000 + "\ndef f():\n    x",
    ],
    ids=range(13),
)
def test_no_prompt_takes_long_to_read(text: str) -> None:
    gc.freeze()  # what other tests have left behind is not searched for garbage meanwhile, which takes a second
    began = time.thread_time()  # a busy machine must not fail it
    try:
        guess(locate(text).prefix)
    finally:
        gc.unfreeze()
    assert time.thread_time() - began < 1


def test_sweep_with_another_beginning_than_the_text_is_not_read() -> None:
    assert parse(SWEEP.format(old="x", new="x<|cursor|>", begun="y")) is None
