"""The action "Fix this syntax error": by rule, by the model, or refused with a sentence. And how actions take long."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.mend import Broken, Mending
from assistant.types import CompletionRequest
from lsp.actions import ACTIONS, Edit, Place, Work
from tests.lsp.peers import MODERN, URI, Editor, RequestFailedError, Script, in_memory, run, until

MENDED = {
    "a closer at the end": ("x = f(1, g(2)|\ny = 1\n", "x = f(1, g(2))\ny = 1\n", "python"),
    "a closer before the colon": ("if f(a:|\n    pass\n", "if f(a):\n    pass\n", "python"),
    "a colon": ("def f(a)|\n    return a\n", "def f(a):\n    return a\n", "python"),
    "a quote": ("x = 'abc|\ny = 1\n", "x = 'abc'\ny = 1\n", "python"),
    "a closer too much": ("x = f(1))|\ny = 1\n", "x = f(1)\ny = 1\n", "python"),
    "seen on the next line": ("x = [1, 2\ny = 1|\n", "x = [1, 2]\ny = 1\n", "python"),
    "one sign of equality": ("if x = 1:|\n    pass\n", "if x == 1:\n    pass\n", "python"),
    "behind longer characters": ("s = 'ä𝄞'; x = f(1|\n", "s = 'ä𝄞'; x = f(1)\n", "python"),
    "javascript": ("function f(a {|\n  return a;\n}\n", "function f(a) {\n  return a;\n}\n", "javascript"),
    "windows": ("x = f(1|\r\ny = 1\r\n", "x = f(1)\r\ny = 1\r\n", "python"),
}


@pytest.mark.parametrize("name", MENDED)
def test_what_is_missing_is_found_by_rule(name: str) -> None:
    drawn, expected, language = MENDED[name]
    at = drawn.index("|")
    broken = Broken(drawn.replace("|", ""), language)
    fault = broken.near(at, at)
    assert fault is not None
    mending = broken.mended(fault, at)
    assert mending is not None
    assert mending.of(broken.text) == expected


@pytest.mark.parametrize(
    ("text", "language"), [("x = 1\n", "python"), ("((((", "unknown"), ("x = (\0", "python"), ("", "python")]
)
def test_nothing_to_fix(text: str, language: str) -> None:
    broken = Broken(text, language)
    assert broken.faults == []
    assert broken.near(0, len(text)) is None


def test_an_error_far_away_is_not_meant() -> None:
    text = "x = f(\n" + "\n" * 9 + "y = 1\n"
    broken = Broken("y = 1\n" * 9 + "x = = 1\n", "python")
    assert broken.near(0, 0) is None
    assert broken.near(len(broken.text) - 1, len(broken.text) - 1) is not None
    assert Broken(text, "python").faults


@given(st.text("ab()[]:='\"\n ,#", max_size=60), st.integers(0, 60))
def test_a_mending_always_leaves_fewer_errors(text: str, at: int) -> None:
    broken = Broken(text, "python")
    at = min(at, len(text))
    fault = broken.near(at, at)
    mending = None if fault is None else broken.mended(fault, at)
    if mending is not None:
        assert len(Broken(mending.of(text), "python").faults) < len(broken.faults)
    for start, end in [] if fault is None else broken.holes(fault):
        assert 0 <= start <= end <= len(text)


# Over the protocol.


async def offers(editor: Editor, line: int, *, wrong: int | None = None) -> list[dict[str, Any]]:
    where = {"start": {"line": line, "character": 0}, "end": {"line": line, "character": 0}}
    at = {"line": line if wrong is None else wrong, "character": 0}
    diagnostics = [] if wrong is None else [{"range": {"start": at, "end": at}, "message": "syntax error"}]
    found: list[dict[str, Any]] = await editor.request(
        "textDocument/codeAction",
        textDocument={"uri": URI}, range=where, context={"diagnostics": diagnostics, "only": ["quickfix"]},
    )  # fmt: skip
    return found


async def opened(text: str, script: Script) -> Editor:
    editor, _ = in_memory(script)
    await editor.start(MODERN)
    editor.open(text)
    return editor


def test_a_fix_by_rule_asks_no_model() -> None:
    async def work() -> None:
        script = Script(lambda _: [])
        editor = await opened("a = 1\n\n\n\nx = f(1, g(2)\ny = 1\n", script)
        assert await offers(editor, 0) == []
        (offer,) = await offers(editor, 4)
        assert offer["title"] == "Fix this syntax error"
        assert offer["kind"] == "quickfix"
        assert offer["tags"] == [1]
        assert "isPreferred" not in offer
        edit = (await editor.request("codeAction/resolve", **offer))["edit"]
        (change,) = edit["documentChanges"]
        (one,) = change["edits"]
        assert one["newText"] == ")"
        assert one["range"]["start"] == one["range"]["end"] == {"line": 4, "character": 13}
        assert not edit["changeAnnotations"][one["annotationId"]]["needsConfirmation"], "undo is enough"
        assert script.asked == []

    run(work)


def test_a_diagnostic_near_by_is_taken_along() -> None:
    async def work() -> None:
        editor = await opened("a = 1\n\n\n\nx = f(1, g(2)\ny = 1\n", Script(lambda _: []))
        (offer,) = await offers(editor, 0, wrong=4)
        assert [one["message"] for one in offer["diagnostics"]] == ["syntax error"]

    run(work)


BEYOND_RULES = "def f(a):\n    retrun a b c d e f g\n\nx = 1\n"


@pytest.mark.parametrize(
    ("answers", "expected"),
    [(["return a"], "return a"), (["still wrong here", "x y"], None), ([], None)],
)
def test_what_no_rule_mends_is_written_by_the_model(answers: list[str], expected: str | None) -> None:
    async def work() -> None:
        def answer(request: CompletionRequest) -> list[str]:
            return answers if request.text[: request.start].endswith("    ") else ["still wrong here"]

        script = Script(answer)
        editor = await opened(BEYOND_RULES, script)
        (offer,) = await offers(editor, 1)
        request = editor.request("codeAction/resolve", **offer)
        if expected is None:
            with pytest.raises(RequestFailedError, match="fewer syntax errors"):
                await request
        else:
            edit = (await request)["edit"]
            (one,) = edit["documentChanges"][0]["edits"]
            assert one["newText"].startswith("urn a"), "only what changes is in the edit"
            assert edit["changeAnnotations"][one["annotationId"]]["needsConfirmation"], "the model wrote it"
        assert script.asked

    run(work)


def test_nothing_is_broken_at_the_place_of_a_command() -> None:
    async def work() -> None:
        editor = await opened("x = 1\n", Script(lambda _: []))
        with pytest.raises(RequestFailedError, match="no syntax error here"):
            await editor.request(
                "workspace/executeCommand",
                command="hone.run",
                arguments=[{"action": "fixSyntax", "uri": URI, "position": {"line": 0, "character": 0}}],
            )

    run(work)


# Actions that take long.


class Slow:
    name, title, kind, needs_confirmation, is_generated = "slow", "Slow", "refactor.rewrite", False, True
    is_local = True

    def __init__(self) -> None:
        self.given: Any = None
        self.go_on = asyncio.Event()
        self.ended: list[str] = []

    def applies(self, place: Place) -> bool:
        return True

    async def run(self, place: Place, work: Work) -> tuple[Edit, ...]:
        self.given = place.given
        work.report("one of two", 0.5)
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise
        work.report("two of two", 1.0)
        return (Edit(6, 7, "3", "the second"), Edit(0, 1, "y", "the first"))


def progress(editor: Editor) -> list[dict[str, Any]]:
    return [params["value"] for name, params in editor.notes if name == "$/progress"]


def slowly(scenario: Callable[[Editor, Slow], Any]) -> None:
    async def work() -> None:
        slow = Slow()
        ACTIONS.append(slow)
        try:
            editor = await opened("x = 1\n2\n", Script(lambda _: []))
            await scenario(editor, slow)
        finally:
            ACTIONS.remove(slow)

    run(work)


def begin(editor: Editor, **more: Any) -> tuple[int, "asyncio.Future[Any]"]:
    data = {"action": "slow", "uri": URI, "position": {"line": 0, "character": 0}, "instruction": "shorter"}
    return editor.begin("workspace/executeCommand", command="hone.run", arguments=[data], **more)


def test_an_action_tells_its_progress_and_edits_several_places() -> None:
    async def scenario(editor: Editor, slow: Slow) -> None:
        _, answer = begin(editor, workDoneToken="mine")
        await until(lambda: len(progress(editor)) > 1, "the progress")
        slow.go_on.set()
        assert (await answer)["applied"]
        assert [one["kind"] for one in progress(editor)] == ["begin", "report", "report", "end"]
        assert progress(editor)[0]["cancellable"]
        assert progress(editor)[1]["percentage"] == 50
        assert slow.given["instruction"] == "shorter"
        edits = editor.applied[0]["documentChanges"][0]["edits"]
        assert [one["newText"] for one in edits] == ["y", "3"]
        labels = editor.applied[0]["changeAnnotations"]
        assert [labels[one["annotationId"]]["description"] for one in edits] == ["the first", "the second"]

    slowly(scenario)


def test_progress_is_shown_for_what_takes_long_where_no_token_was_given() -> None:
    async def scenario(editor: Editor, slow: Slow) -> None:
        _, answer = begin(editor)
        await until(lambda: progress(editor), "the progress")
        assert progress(editor)[0]["message"] == "one of two"
        slow.go_on.set()
        await answer
        await until(lambda: progress(editor)[-1]["kind"] == "end", "its end")

    slowly(scenario)


@pytest.mark.parametrize("how", ["request", "progress"])
def test_an_action_can_be_stopped(how: str) -> None:
    async def scenario(editor: Editor, slow: Slow) -> None:
        number, answer = begin(editor, workDoneToken="mine")
        await until(lambda: len(progress(editor)) > 1, "the progress")
        if how == "request":
            editor.notify("$/cancelRequest", id=number)
        else:
            editor.notify("window/workDoneProgress/cancel", token="mine")
        with pytest.raises(RequestFailedError) as failed:
            await answer
        assert failed.value.code == -32800
        await until(lambda: slow.ended, "the end of the work")
        await until(lambda: progress(editor)[-1]["kind"] == "end", "the end of the progress")
        assert editor.answers[number] == 1
        assert editor.applied == []
        assert len(await offers(editor, 0)) == 0, "it goes on"

    slowly(scenario)


def test_a_mending_is_spliced_in() -> None:
    assert Mending(1, 2, "xy").of("abc") == "axyc"
