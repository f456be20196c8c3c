"""Large documents: what is sent of them, and that answers come back to their places."""

import asyncio
import random
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant import parts
from assistant.cuts import find_cuts
from assistant.parts import AROUND, SMALL
from assistant.types import EditRequest, EditResult, TextEdit
from infill.languages import parser
from lsp.documents import Document
from lsp.history import Change
from lsp.window import WHOLE, Windows, found_apart
from tests.lsp.peers import URI, Editor, RequestFailedError, Script, in_memory, run, until
from tests.lsp.test_inline import applied

ALONE: dict[str, Any] = {"ahead": False, "debounceMs": 0, "context": []}
BODY = 'def function_{0}(first):\n    """Number {0}: ä."""\n    return first * {0}\n\n\n'
LARGE = "".join(BODY.format(number) for number in range(8000))


def test_a_text_is_cut_between_its_definitions_only() -> None:
    text = 'x = """\ndef no(): pass\n"""\nclass A:\n    def f(self):\n        pass\n\ndef g(): pass\n'
    assert [text[cut:].split(maxsplit=1)[0] for cut in find_cuts(text, "python")] == ["class"]
    large = text + LARGE
    cuts = find_cuts(large, "python")
    grammar = parser("python")
    assert grammar is not None
    assert len(cuts) > 100
    for cut in random.Random(1).sample(cuts, 20):
        assert large[cut:].startswith("def function_")
        for part in (large[:cut], large[cut:]):
            assert not grammar.parse(part.encode()).root_node.has_error


def test_nothing_is_cut_around_an_error_or_in_one_class() -> None:
    assert (
        find_cuts("class A:\n" + "".join(f"    def f{i}(self):\n        return 1\n\n" for i in range(500)), "python")
        == []
    )
    assert len(find_cuts("one\n" * 5000, "unknown")) > 10


async def cuts(document: Document) -> list[int]:
    return [found.start() for found in re.finditer(r"^def ", document.text, re.MULTILINE)]


async def opened(text: str) -> tuple[Windows, Document]:
    windows, document = Windows(cuts), Document.of(URI, 1, "python", text)
    assert windows.wants(document, ()) == (len(text) > SMALL)
    await windows.learn(document)
    return windows, document


def test_a_window_lies_around_the_cursor_and_stays() -> None:
    async def work() -> None:
        windows, document = await opened(LARGE)
        middle = len(LARGE) // 2
        found = windows.around(document.key, len(LARGE), middle)
        sent = found.of(LARGE)
        assert 2 * AROUND <= len(sent) <= 2 * AROUND + 5000
        assert sent.startswith("def ")
        assert windows.around(document.key, len(LARGE), middle + 1000) is found
        assert windows.around(document.key, len(LARGE), middle + AROUND) != found
        assert windows.around(document.key, len(LARGE), 0).head == 0
        assert windows.around(document.key, len(LARGE), len(LARGE)).tail == 0

    run(work)


def test_a_small_document_is_sent_whole() -> None:
    async def work() -> None:
        windows, document = await opened("x = 1\n")
        assert windows.around(document.key, 6, 3) == WHOLE

    run(work)


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 300), st.integers(0, 300)), max_size=12), st.integers(0, 2))
def test_places_and_window_move_with_the_text(edits: list[tuple[float, int, int]], early: int) -> None:
    """Each place that is left is where it was found, and the window holds what it held."""

    async def work() -> None:
        gate = asyncio.Event()

        async def late(document: Document) -> list[int]:
            await gate.wait()
            return await cuts(document)

        text = LARGE[: SMALL + 60_000]
        text = text[: text.rindex("def ")]
        windows, document = Windows(late), Document.of(URI, 1, "python", text)
        learning = asyncio.ensure_future(windows.learn(document))
        await asyncio.sleep(0)
        for count, (share, removed, inserted) in enumerate(edits):
            if count == early:
                gate.set()
                await learning
                windows.around(document.key, len(text), len(text) // 2)
            at = int(share * len(text))
            change = Change(at, text[at : at + removed], "\u00e9" * inserted)
            text = text[:at] + change.inserted + text[change.end :]
            windows.changed(document.key, (change,))
        gate.set()
        await learning
        known = windows._known[document.key]
        assert known.size == len(text)
        assert all(text[cut - 1 : cut + 1] == "\nd" for cut in known.cuts if cut)
        assert known.cuts == sorted(known.cuts)
        last = windows.last(document.key)
        assert 0 <= last.head <= len(text) - last.tail
        held = last.of(text)
        assert last == WHOLE or (held[:1] == "d" and held[-1:] == "\n") or "\u00e9" in (held[:1], held[-1:])

    asyncio.run(work())


def test_another_process_finds_the_same() -> None:
    async def work() -> None:
        document = Document.of(URI, 1, "python", LARGE)
        assert await found_apart(document) == find_cuts(LARGE, "python")
        assert await found_apart(Document.of(URI, 1, "python", "")) == []

    run(work)


def test_a_process_that_fails_costs_the_window_only(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        monkeypatch.setattr(parts.sys, "executable", "/bin/false")  # type: ignore[attr-defined]
        assert await found_apart(Document.of(URI, 1, "python", LARGE)) == []
        monkeypatch.setattr(parts.sys, "executable", "/none/there")  # type: ignore[attr-defined]
        assert await found_apart(Document.of(URI, 1, "python", LARGE)) == []

    run(work)


def test_answers_of_a_part_come_back_to_their_place() -> None:
    async def work() -> None:
        script = Script(lambda _: ["value"])
        editor, session = in_memory(script)
        await editor.start(options=ALONE)
        editor.open(LARGE)
        await until(lambda: session.windows.around(URI, len(LARGE), len(LARGE) // 2) != WHOLE, "the places", 60)
        text, line = LARGE, 20_003
        await typed(editor, script, text, line)
        assert len(script.asked[-1][0].text) < 2 * AROUND + 10_000
        assert script.asked[-1][0].text.isprintable() is False

    run(work)


async def acted(editor: Editor, action: str, line: int, character: int = 8) -> tuple[int, int, str]:
    """What a code action changes, by command: the line, the column, the new text."""
    where = {"action": action, "uri": URI, "position": {"line": line, "character": character}}
    await editor.request("workspace/executeCommand", command="hone.run", arguments=[where])
    (change,) = editor.applied.pop()["documentChanges"]
    (made,) = change["edits"]
    return made["range"]["start"]["line"], made["range"]["start"]["character"], made["newText"]


def test_code_actions_look_at_the_part_around_their_place_and_edit_there() -> None:
    seen: list[EditRequest] = []

    async def edit(request: EditRequest, caller: Any) -> EditResult:
        del caller
        seen.append(request)
        start, end = request.blocks[0]
        at = request.text.index("return", start, end)
        return EditResult((TextEdit(at, at + 6, "yield", 0, gain=1.0),), ("",))

    async def work() -> None:
        script = Script(lambda _: ["return 3"])
        editor, session = in_memory(script, edit=edit, tasks=("modernise",))
        await editor.start(options=ALONE | {"context": ["open"]})
        line = 20_000
        hole = "def near(a):\n    ...\n\n\ndef used(width, heights):\n    return (width * height)\n\n\n"
        rows = LARGE.split("\n")
        text = "height = 1\n\n\n\n" + "\n".join([*rows[:line], *hole.split("\n")[:-1], *rows[line:]])
        line += 4
        editor.open(text)
        await until(lambda: session.windows.around(URI, len(text), len(text) // 2) != WHOLE, "the places", 60)
        assert await acted(editor, "fillHole", line + 1) == (line + 1, 4, "return 3")
        assert len(script.asked[-1][0].text) < 2 * AROUND + 10_000
        assert await acted(editor, "modernise", line + 5) == (line + 5, 4, "yield")
        assert len(seen[-1].text) < 2 * AROUND + 10_000
        editor.delete(line + 5, 26, 27, 2)
        assert await acted(editor, "fixSyntax", line + 5) == (line + 5, 26, ")")
        # Rules that ask where names come from are shown all of it: in the part alone, this one looks misspelt.
        editor.type(")", line + 5, 26, 3)
        with pytest.raises(RequestFailedError, match="no model does this task"):
            await acted(editor, "fixBlock", line + 5)

    run(work)


async def typed(editor: Editor, script: Script, text: str, line: int) -> None:
    lines = text.split("\n")
    for version, letter in enumerate("x = ", start=2):
        editor.type(letter, line, len(lines[line]), version)
        lines[line] += letter
    script.answer = lambda request: ["value" if request.text[: request.start].endswith("\nx = ") else "wrong"]
    (item,) = await editor.inline(line, len(lines[line]))
    now = "\n".join(lines)
    lines[line] += "value"
    assert applied(now, item) == "\n".join(lines)
    editor.type("val", line, 4, 6)
    (item,) = await editor.inline(line, 7)
    assert item["insertText"] == "ue", "typed along"
    assert len(script.seen()) == 1


def test_behind_text_the_rest_of_the_line_is_asked_for() -> None:
    async def work() -> None:
        script = Script(lambda _: ["y"])
        editor, _ = in_memory(script)
        await editor.start(options=ALONE)
        for number, (code, expected) in enumerate(
            [("x = f", True), ("", None), ("    ", None), ("def f():", None), ("f(", None), ("f(a,", None), ("x", True)]
        ):
            editor.open(code, version=number)
            await editor.inline(0, len(code))
            assert script.asked[-1][0].one_line is expected, code
            await editor.inline(0, len(code), by_hand=True)
            assert script.asked[-1][0].one_line is None

    run(work)
