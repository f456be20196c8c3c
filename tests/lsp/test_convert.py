"""Positions and documents against brute force, and against pygls where the two mean the same."""

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lsprotocol.types import Position, Range, TextDocumentContentChangePartial, TextDocumentContentChangeWholeDocument
from pygls.workspace import PositionCodec, TextDocument

from lsp.convert import body, offset_at, position_at, split, units
from lsp.documents import Document, Documents, difference
from lsp.history import Change

ENCODINGS = ("utf-8", "utf-16", "utf-32")
TEXTS = st.text(st.sampled_from("ab \t\n\n\r\u2028\x0c\x85äλ€𝄞👩\u200d\ud800"), max_size=40)
# pygls breaks lines where str.splitlines does, and knows no lone surrogates.
PLAIN = st.text(st.sampled_from("ab \näλ€𝄞👩"), max_size=40)


def width(char: str, encoding: str) -> int:
    data = char.encode({"utf-8": "utf-8", "utf-16": "utf-16-le", "utf-32": "utf-32-le"}[encoding], "surrogatepass")
    return len(data) // {"utf-8": 1, "utf-16": 2, "utf-32": 4}[encoding]


def places(text: str, encoding: str) -> dict[tuple[int, int], int]:
    """(line, column) -> offset, by walking over the text."""
    found: dict[tuple[int, int], int] = {}
    line = column = 0
    for offset, char in enumerate(text):
        if char == "\n" and offset and text[offset - 1] == "\r":
            line, column = line - 1, -1  # one line end of two characters; nobody stands between them
        elif column >= 0:
            found[line, column] = offset
        if char in "\r\n":
            line, column = line + 1, 0
        else:
            column += width(char, encoding)
    found[line, column] = len(text)
    return found


@given(TEXTS, st.sampled_from(ENCODINGS))
def test_every_place_there_and_back(text: str, encoding: str) -> None:
    lines = split(text)
    assert "".join(lines) == text
    for (line, column), offset in places(text, encoding).items():
        assert offset_at(lines, Position(line, column), encoding) == offset
        assert position_at(lines, offset, encoding) == Position(line, column)


def test_a_last_line_without_an_end_costs_no_more_than_others() -> None:
    began = time.process_time()
    assert len(split("y" * 1_000_000)) == 1
    assert time.process_time() - began < 2, "a minified file is opened at once"


@given(TEXTS, st.integers(0, 50), st.integers(0, 200), st.sampled_from(ENCODINGS))
def test_what_lies_outside_is_taken_to_the_nearest_place(text: str, line: int, column: int, encoding: str) -> None:
    lines = split(text)
    offset = offset_at(lines, Position(line, column), encoding)
    if line >= len(lines):
        assert offset == len(text)
        return
    begin = sum(map(len, lines[:line]))
    assert begin <= offset <= begin + len(body(lines[line]))
    if column >= units(body(lines[line]), encoding):
        assert offset == begin + len(body(lines[line]))


@given(PLAIN, st.integers(0, 12), st.integers(0, 30), st.sampled_from(ENCODINGS))
def test_as_pygls_has_it(text: str, line: int, column: int, encoding: str) -> None:
    theirs = TextDocument("file:///a", text, position_codec=PositionCodec(encoding))
    lines = split(text)
    if line < len(theirs.lines) and column <= units(body(lines[line]), encoding):
        assert offset_at(lines, Position(line, column), encoding) == theirs.offset_at_position(Position(line, column))


@settings(max_examples=300)
@given(
    TEXTS,
    st.lists(
        st.tuples(st.integers(0, 8), st.integers(0, 12), st.integers(0, 8), st.integers(0, 12), TEXTS), max_size=5
    ),
    st.sampled_from(ENCODINGS),
    st.sampled_from([1, 2, 256]),
)
def test_changes_are_what_they_are_in_the_whole_text(text: str, edits: list[Any], encoding: str, block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lsp.documents.BLOCK", block)
        check_changes(text, edits, encoding)


def check_changes(text: str, edits: list[Any], encoding: str) -> None:
    documents = Documents()
    documents.encoding = encoding
    documents.open("file:///a.py", "python", 1, text)
    for version, (line, column, last, end, new) in enumerate(edits, start=2):
        where = Range(Position(line, column), Position(last, end))
        lines = split(text)
        start, stop = sorted(offset_at(lines, place, encoding) for place in (where.start, where.end))
        before, text = text, text[:start] + new + text[stop:]
        made = documents.change("file:///a.py", version, [TextDocumentContentChangePartial(where, new)])
        document = documents.get("file:///a.py")
        assert document is not None
        assert made is not None
        assert replayed(before, made) == text
        assert document.text == text
        assert document.lines == split(text)
        assert document.version == version
        for row in range(len(document.lines) + 1):
            for place in (Position(row, 0), Position(row, 1), Position(row, 99)):
                assert document.offset(place) == offset_at(document.lines, place, encoding)
        for at in range(len(text) + 2):
            assert document.position(at) == position_at(document.lines, at, encoding)


def replayed(text: str, changes: tuple[Change, ...]) -> str:
    for change in changes:
        assert text[change.start : change.end] == change.removed
        text = text[: change.start] + change.inserted + text[change.end :]
    return text


@given(st.text("ab\n", max_size=12), st.text("ab\n", max_size=12))
def test_a_new_text_is_one_change(old: str, new: str) -> None:
    change = difference(old, new)
    assert replayed(old, (change,)) == new
    assert not change.removed or not change.inserted or change.removed[0] != change.inserted[0]


def test_odd_orders_are_passed_over() -> None:
    documents = Documents()
    whole = TextDocumentContentChangeWholeDocument("new")
    assert documents.change("file:///a.py", 2, [whole]) is None
    documents.close("file:///a.py")
    first = documents.open("file:///a%20b.py", "python", 1, "one")
    assert documents.get("file:///a b.py") is first
    again = documents.open("file:///a b.py", "python", 1, "two")
    assert not documents.is_current(first)
    assert documents.is_current(again)
    documents.close("file:///a%20b.py")
    assert documents.get("file:///a b.py") is None
    assert list(documents) == []


def test_a_long_file_stays_quick() -> None:
    import time

    text = "def f(x):  # ä\n    return x\n" * 50_000
    document = Document.of("file:///a.py", 1, "python", text)
    change = TextDocumentContentChangePartial(Range(Position(50_000, 4), Position(50_000, 4)), "x")
    started = time.perf_counter()
    for version in range(10):
        document, _ = document.changed([change], version)
        _ = document.text
        assert document.position(document.offset(Position(50_000, 5))).line == 50_000
    assert (time.perf_counter() - started) / 10 < 0.2


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_column_inside_of_a_character_is_behind_it(encoding: str) -> None:
    inside = {"utf-8": 2, "utf-16": 1, "utf-32": 1}[encoding]
    assert offset_at(("𝄞x",), Position(0, inside), encoding) == 1


def test_a_long_last_line_is_split_at_once() -> None:
    """A file of one line that nothing ends, as minified ones are; its time was quadratic: minutes."""
    text = "a\r\nb\rc\n" + "x" * 5_000_000
    started = time.process_time()
    assert split(text) == ("a\r\n", "b\r", "c\n", "x" * 5_000_000)
    assert time.process_time() - started < 5
