"""The gate's promise, stated once more and from scratch: no old tree, no incremental parse, no code of the gate."""

import time

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tree_sitter import Node

from infill import languages
from infill.syntax import Before, SyntaxGate
from tests.drawn import Case, cases


@pytest.mark.parametrize("case", cases("syntax"), ids=lambda case: case.name)
def test_cases(case: Case) -> None:
    gate = SyntaxGate(case.prefix, case.suffix, case.language)
    assert gate.checked
    verdict = case.expected.split()[0]
    assert verdict in ("accepted", "refused")
    assert gate.accepts(case.answer) == (verdict == "accepted")
    assert bool(gate.errors(case.answer)) == (verdict == "refused")
    if case.drawn is not None:
        assert gate.longest_valid(case.answer) == case.drawn
    check_promise(case.prefix, gate.longest_valid(case.answer), case.suffix, case.language)


PIECES = st.sampled_from(
    [
        *(
            "def f(x):",
            "class A:",
            "    ",
            "\t",
            "\n",
            "\r\n",
            "\n    ",
            "return ",
            "if x:",
            "else:",
            "x = ",
            "foo(",
            "a",
        ),
        *(
            "b, c",
            ")",
            "]",
            "[",
            "{",
            "}",
            ":",
            ",",
            ";",
            "+",
            " ",
            '"',
            "'",
            '"""',
            "#",
            "é",
            "😀",
            "\ufeff",
            "\\",
            "0x",
        ),
        *(
            "for i in ",
            "while (x) {",
            "function f(a) {",
            "=>",
            "/*",
            "*/",
            "//",
            "<a>",
            "</a>",
            "\ud83d",
            "- ",
            "|",
            "$(",
        ),
    ]
)
TEXT = st.lists(PIECES, max_size=12).map("".join) | st.text(st.characters(exclude_characters="\0"), max_size=20)
NAMES = st.sampled_from([row.name for row in languages.LANGUAGES])


@settings(max_examples=300, deadline=None)
@given(TEXT, TEXT, TEXT, NAMES)
def test_an_accepted_answer_adds_no_error_to_any_buffer(prefix: str, middle: str, suffix: str, language: str) -> None:
    gate = SyntaxGate(prefix, suffix, language)
    spans = gate.errors(middle)
    assert gate.accepts(middle) == (spans == [])
    assert all(0 <= start < end <= len(middle) for start, end in spans)
    if not spans:
        check_promise(prefix, middle, suffix, language)
    beginning = gate.longest_valid(middle)
    assert middle.startswith(beginning)
    check_promise(prefix, beginning, suffix, language)


def check_promise(prefix: str, middle: str, suffix: str, language: str) -> None:
    if not middle:
        return
    left, text, right = (part.encode("utf-8", "surrogatepass") for part in (prefix, middle, suffix))
    old, new = bad_spans(left + right, language), bad_spans(left + text + right, language)
    assert old or not new, "a buffer without errors stays so"
    assert len(new) <= len(old), "the number of errors does not grow"
    was_bad = {place for start, end, _ in old for place in range(start, end + 1)}
    # White space between an error and the hole belongs to the error.
    if any(len(left.rstrip()) <= end for _, end, other in old if not other):
        was_bad |= set(range(len(left.rstrip()), len(left)))
    for start, end, missing in new:
        assert not (len(left) <= start < end <= len(left) + len(text)), "no error lies inside the answer"
        if missing:
            place = start if start <= len(left) else max(start - len(text), len(left))
            in_error = any(first <= place <= last for first, last, other in old if not other)
            assert in_error or (place, place, missing) in old, "nothing is missing that was not missing before"
        places = set(range(start, end)) or {start}
        before = {place for place in places if place < len(left)}
        behind = {place - len(text) for place in places if place >= len(left) + len(text)}
        assert before | behind <= was_bad, "errors are only where errors were"


def bad_spans(source: bytes, language: str) -> list[tuple[int, int, str]]:
    parser, row = languages.parser(language), languages.get(language)
    assert parser is not None
    assert row is not None
    if row.ascii_only:
        source = bytes(byte if byte < 0x80 else ord("_") for byte in source)

    def visit(node: Node) -> list[tuple[int, int, str]]:
        own = [(node.start_byte, node.end_byte, node.type if node.is_missing else "")]
        own = own if node.is_error or node.is_missing else []
        return own + [span for child in node.children for span in visit(child)]

    return visit(parser.parse(source).root_node)


@pytest.mark.parametrize("language", [None, "klingon", "other"])
def test_without_a_grammar_everything_passes_unchecked(language: str | None) -> None:
    gate = SyntaxGate("x = (", "", language)
    assert not gate.checked
    assert gate.accepts(")))")
    assert gate.errors(")))") == []
    assert gate.longest_valid(")))") == ")))"


def test_blame_is_on_the_part_that_is_wrong() -> None:
    gate = SyntaxGate("def f():\n    é = ", "\n", "python")
    answer = "'😀'\n    y = 1 2\n    z = 3"
    ((start, end),) = gate.errors(answer)
    assert answer[start:end] in ("1", "2", "1 ", " 2")


def test_binary_is_unchecked_and_no_answer_makes_it_so() -> None:
    assert not SyntaxGate("x = '\0'", "", "python").checked
    assert not SyntaxGate("x = ", "\n", "python").accepts("'\0'")


def test_yaml_too_deep_for_its_scanner_does_not_take_the_process_down() -> None:
    deep = "".join(" " * level + "k:\n" for level in range(600))
    assert not SyntaxGate(deep, "", "yaml").checked
    assert not SyntaxGate("- " * 3000, "", "yaml").checked
    assert not SyntaxGate("a: ", "\n", "yaml").accepts("- " * 3000)
    assert not SyntaxGate("", "\n", "yaml").accepts("- " * 3000)
    assert not Before(deep, "yaml").worse(deep + "a: 1\n")
    assert Before("a: 1\n", "yaml").worse(deep)


def test_a_parse_that_takes_too_long_is_given_up() -> None:
    assert not SyntaxGate("(" * 200_000, "", "python", limit_s=0.001).checked


def test_a_buffer_that_would_take_minutes_is_left_unchecked() -> None:
    began = time.process_time()
    gate = SyntaxGate("{([" * 66_000, "", "lua")
    assert not gate.checked
    assert gate.accepts("anything")
    assert time.process_time() - began < 3


def test_checking_answers_leaves_no_memory_behind() -> None:
    """A daemon checks thousands of answers in every file that is typed in."""
    buffer = "def f(x):\n    return x\n\n" * 4000

    def check() -> None:
        gate = SyntaxGate(buffer + "y = ", "\n" + buffer, "python")
        assert gate.accepts("f(1)")
        assert not gate.accepts("f(1")

    process = psutil.Process()
    for _ in range(5):
        check()
    before = process.memory_info().rss
    for _ in range(40):
        check()
    assert process.memory_info().rss - before < 40 * len(buffer)  # a leaked text per check would be three times as much


def test_a_line_of_one_megabyte() -> None:
    line = "x = [" + "1, " * 333_000
    gate = SyntaxGate(line, "2]\n", "python")
    assert gate.accepts("foo(3), ")
    assert not gate.accepts("foo(3, ")


def test_a_hundred_thousand_lines() -> None:
    block = "def f(x):\n    y = x + 1\n    return y\n\n"
    gate = SyntaxGate(block * 12_500 + "def g(x):\n    return ", "\n\n" + block * 12_500, "python")
    start = time.process_time()
    assert gate.accepts("x + 1")
    assert not gate.accepts("x + (")
    assert gate.longest_valid("x + (") == "x"
    assert time.process_time() - start < 5, "edits of the tree, not parses of the file"


@pytest.mark.parametrize(
    ("prefix", "suffix", "expected"),
    [
        ("x = 1\ny = ", "\nz = 2\n", True),
        ("value = call(", "\nother = 1\n", True),
        ("if call(", "\n    other = 1\n", True),
        ('def f():\n    """Does ', "\n    return 1\n", True),
        ("def ", "\n    return 1\n", True),
        ("value = call(\n    first,\n    ", "", False),
        ("value = call(\n    first,\n    ", "\nother = 1\n", True),
        ("x = = 1\n\ndef f(a):\n    return ", "\n", False),
        ("const f = (a) => {\n  return a +", "\n}\n", True),
    ],
)
def test_clean_is_asked_for_where_only_the_cursors_line_is_broken(prefix: str, suffix: str, expected: bool) -> None:
    language = "javascript" if "const" in prefix else "python"
    gate = SyntaxGate(prefix, suffix, language)
    assert gate.can_be_clean == expected


def test_clean_leaves_no_error() -> None:
    gate = SyntaxGate("value = call(", "\n", "python")
    assert gate.accepts("first, second")
    assert not gate.accepts("first, second", clean=True)
    assert gate.errors("first, second", clean=True)
    assert gate.closed("first, second") == "first, second)"
    assert gate.accepts("first, second)", clean=True)
    assert gate.longest_valid("first) = = )", clean=True) == "first)"


def test_a_missing_token_without_a_node_of_its_own_is_an_error() -> None:
    """Python's end of line is such a token: the tree has an error, and no node says where."""
    gate = SyntaxGate("import typing as t\nfrom contextvars import ContextV", "\n\nx = 1\n", "python")
    assert gate.accepts("ar")
    assert not gate.accepts('ar("flask.app_ctx")')
    assert gate.errors('ar("flask.app_ctx")')


@pytest.mark.parametrize("good", range(1, 9))
def test_as_many_edits_as_hold_together_are_found_in_few_looks(good: int) -> None:
    looks: list[int] = []

    def applied(count: int) -> str:
        looks.append(count)
        return "x = 1\n" * count + ("(" if count > good else "")

    assert Before("", "python").held(8, applied) == good
    assert len(looks) <= 4


def test_what_was_no_program_before_need_not_be_one() -> None:
    broken = Before("x = (\n", "python")
    assert not broken.worse("y = (\n")
    assert Before("x = f(a=1)\n", "python").worse("x = f(a=1, a=2)\n")
    assert not Before("x = (\n", None).worse("((((")
