"""When nothing is suggested on purpose, and what is counted."""

import asyncio
from typing import Any

import pytest

from lsp import kept
from lsp.kept import Kept
from lsp.options import EAGERNESS
from tests.lsp.peers import URI, Counts, Editor, Script, after, in_memory, run, until

CODE = "def add(a, b):\n    ret\n"
ALONE: dict[str, Any] = {"ahead": False, "debounceMs": 0}


async def opened(script: Script, counts: Counts | None = None, text: str = CODE, **options: Any) -> Editor:
    editor, _ = in_memory(script, counts)
    await editor.start(options=ALONE | options)
    editor.open(text)
    return editor


@pytest.mark.parametrize(
    ("eagerness", "chance", "expected"),
    [("low", 0.29, 0), ("low", 0.3, 1), ("medium", 0.09, 0), ("medium", 0.1, 1), ("high", 0.0, 1), ("low", 1.0, 1)],
)
def test_a_suggestion_below_the_threshold_is_not_shown_unasked(eagerness: str, chance: float, expected: int) -> None:
    async def work() -> None:
        script, counts = Script(after(("ret", "urn a + b"))), Counts()
        script.chance = chance
        editor = await opened(script, counts, eagerness=eagerness)
        assert len(await editor.inline(1, 7)) == expected
        assert counts.counts["quiet_eagerness"] == 1 - expected
        assert len(await editor.inline(1, 7, by_hand=True)) == 1, "asked by hand it is shown"

    run(work)


def test_the_table_of_eagerness_is_ordered() -> None:
    assert EAGERNESS["low"] > EAGERNESS["medium"] > EAGERNESS["high"] == 0


def test_what_was_too_unsure_is_there_at_once_when_asked_by_hand() -> None:
    async def work() -> None:
        script = Script(after(("ret", "urn a + b")))
        script.chance = 0.05
        editor = await opened(script, alternatives=1)
        assert await editor.inline(1, 7) == []
        assert len(await editor.inline(1, 7, by_hand=True)) == 1
        assert len(script.seen()) == 1

    run(work)


def test_nothing_inside_of_a_word_unless_asked_by_hand() -> None:
    async def work() -> None:
        script, counts = Script(lambda _: ["x"]), Counts()
        editor = await opened(script, counts)
        assert await editor.inline(1, 5) == []
        assert script.asked == []
        assert counts.counts["quiet_inside_word"] == 1
        assert len(await editor.inline(1, 5, by_hand=True)) == 1
        assert len(await editor.inline(0, 3)) == 1, "before a blank it is none"

    run(work)


def test_nothing_while_something_is_deleted() -> None:
    async def work() -> None:
        script, counts = Script(lambda _: ["x"]), Counts()
        editor = await opened(script, counts)
        editor.delete(1, 6, 7, 2)
        assert await editor.inline(1, 6) == []
        assert counts.counts["quiet_deleting"] == 1
        assert script.asked == []
        editor.type("t", 1, 6, 3)
        assert len(await editor.inline(1, 7)) == 1
        editor.delete(1, 4, 7, 4)
        assert len(await editor.inline(1, 4)) == 1, "the whole word went: something new may come"

    run(work)


def test_every_question_is_counted_with_its_end() -> None:
    async def work() -> None:
        script, counts = Script(after(("ret", "urn a + b"))), Counts()
        editor = await opened(script, counts)
        await editor.inline(1, 7)
        editor.type("u", 1, 7, 2)
        await editor.inline(1, 8)  # typed along: shown once
        await editor.inline(1, 4)  # inside of a word
        editor.type("q", 1, 8, 3)
        await editor.inline(1, 9)  # the model has nothing
        script.delay = 60
        _, old = editor.ask(0, 0, by_hand=True)
        await until(lambda: len(script.asked) > 2, "the question")
        script.delay = 0
        _, new = editor.ask(0, 0, by_hand=True)
        await old
        await new
        assert counts.counts == {
            "asked": 4, "by_hand": 2, "shown": 1, "took": 2, "quiet_inside_word": 1, "quiet_empty": 2, "overtaken": 1,
        }  # fmt: skip

    run(work)


def test_nothing_is_counted_where_that_is_off() -> None:
    async def work() -> None:
        counts = Counts()
        editor = await opened(Script(lambda _: ["x"]), counts, statistics=False)
        (item,) = await editor.inline(1, 7)
        await editor.request("workspace/executeCommand", **command(item))
        assert not counts.counts

    run(work)


def command(item: dict[str, Any]) -> dict[str, Any]:
    return {"command": item["command"]["command"], "arguments": item["command"]["arguments"]}


def test_a_client_that_tells_what_it_shows_is_believed() -> None:
    async def work() -> None:
        counts = Counts()
        editor = await opened(Script(lambda request: [str(request.start)]), counts)
        (item,) = await editor.inline(1, 7)
        assert counts.counts["shown"] == 1
        editor.notify("textDocument/didShowCompletion", item=item)
        assert counts.counts["shown"] == 1, "the same one"
        (item,) = await editor.inline(0, 3)
        assert counts.counts["shown"] == 1, "it may not be on the screen"
        editor.notify("textDocument/didShowCompletion", item=item)
        assert counts.counts["shown"] == 2
        odds: list[dict[str, Any]] = [{}, {"item": None}, {"item": {"command": {"arguments": [{}]}}}, {"item": 3}]
        for odd in odds:
            editor.notify("textDocument/didShowCompletion", **odd)
        assert counts.counts["shown"] == 2

    run(work)


@pytest.mark.parametrize(
    ("length", "part"), [(1, "word"), (4, "word"), (7, "part"), (9, "line"), (13, "part"), (0, None), (-3, None)]
)
def test_a_part_that_was_accepted(length: int, part: str | None) -> None:
    async def work() -> None:
        counts = Counts()
        editor = await opened(Script(lambda _: ["𝄞rn a +b\nx = y"]), counts)
        (item,) = await editor.inline(1, 7)
        editor.notify("textDocument/didPartiallyAcceptCompletion", item=item, acceptedLength=length)
        found = {name for name in counts.counts if name.startswith("accepted")}
        assert found == ({f"accepted_{part}"} if part else set())

    run(work)


@pytest.fixture
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Kept.__init__, "__defaults__", ({0.05: "30s", 0.3: "10min"},))
    assert kept.LOOKS_S == {30.0: "30s", 120.0: "2min", 600.0: "10min"}


@pytest.mark.parametrize("command_first", [False, True])
@pytest.mark.parametrize(
    ("later", "how"),
    [
        (None, "exact"),
        (("# above\n", 0, 0), "exact"),
        (("# behind", 1, 16), "exact"),
        (("c", 1, 11), "similar"),
        ("gone", "gone"),
    ],
)
def test_what_was_accepted_is_looked_at_again(quick_looks: None, command_first: bool, later: Any, how: str) -> None:
    async def work() -> None:
        counts = Counts()
        editor = await opened(Script(after(("ret", "urn a + b"))), counts)
        (item,) = await editor.inline(1, 7)
        if command_first:
            await editor.request("workspace/executeCommand", **command(item))
        editor.type(item["insertText"], 1, 7, 2)
        if not command_first:
            await editor.request("workspace/executeCommand", **command(item))
        if later == "gone":
            editor.replace("def add(a, b):\n    pass\n", 3)
        elif later is not None:
            text, line, character = later
            editor.type(text, line, character, 3)
        await until(lambda: counts.counts[f"kept_10min_{how}"], "the last look")
        found = {name: n for name, n in counts.counts.items() if name.startswith("kept")}
        assert found == {f"kept_30s_{how}": 1, f"kept_10min_{how}": 1}

    run(work)


def test_a_closed_document_tells_nothing(quick_looks: None) -> None:
    async def work() -> None:
        counts = Counts()
        editor = await opened(Script(after(("ret", "urn a + b"))), counts)
        (item,) = await editor.inline(1, 7)
        editor.type(item["insertText"], 1, 7, 2)
        await editor.request("workspace/executeCommand", **command(item))
        editor.notify("textDocument/didClose", textDocument={"uri": URI})
        await asyncio.sleep(0.4)
        assert counts.counts["accepted"] == 1
        assert not [name for name in counts.counts if name.startswith("kept")]

    run(work)
