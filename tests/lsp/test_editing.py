"""Tasks done to blocks: where they are offered, which blocks are sent, and the small edits that come back."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from assistant.errors import DaemonError, HoneError
from assistant.rules import Ruled, by_rule
from assistant.service import Assistant
from assistant.types import TASKS, Caller, EditRequest, EditResult
from infill.engine import Infiller
from lsp.actions import ACTIONS, Editing, Place, blocks
from tests.lsp.peers import MODERN, URI, Editor, RequestFailedError, Script, in_memory, run, until
from tests.mender import Mender

SOURCE = "import os\n\n\ndef add(a, b):\n    total = a + b\n    retrun total\n\n\ndef sub(a, b):\n    retrun a - b\n"
TITLES = ["Fix this block", "Modernise", "Add annotations", "Add docstring", "Make names agree with their definitions"]


class Edits:
    """The assistant's own way from a request to edits, over a network that knows what is right."""

    def __init__(self, mender: Mender | None = None) -> None:
        self.assistant = Assistant(lambda: Infiller(mender or Mender({"retrun": "return"})))
        self.asked: list[EditRequest] = []
        self.before: Callable[[], None] = lambda: None

    async def __call__(self, request: EditRequest, caller: Caller) -> EditResult:
        assert caller.document is not None
        self.asked.append(request)
        self.before()
        return self.assistant.edit(request)


class Slow:
    """A daemon that is there once ``came`` is set; with an error, if there is one."""

    def __init__(self) -> None:
        self.came = asyncio.Event()
        self.error: HoneError | None = None

    async def open(self) -> tuple[str, ...]:
        await self.came.wait()
        if self.error is not None:
            raise self.error
        return TASKS


def starting(monkeypatch: pytest.MonkeyPatch, seconds: float) -> tuple[Slow, Editor]:
    """Actions wait so long for the daemon."""
    monkeypatch.setattr("lsp.work.START_S", seconds)
    monkeypatch.setattr("lsp.features.START_S", seconds)
    daemon = Slow()
    editor, session = in_memory(Script(lambda _: []), edit=Edits())
    session.open_daemon = daemon.open
    return daemon, editor


def by_hand(editor: Editor, where: dict[str, Any]) -> "asyncio.Future[Any]":
    context = {"diagnostics": [], "triggerKind": 1}
    _, future = editor.begin("textDocument/codeAction", textDocument={"uri": URI}, range=where, context=context)
    return future


def test_what_is_asked_for_while_the_daemon_starts_is_answered_once_it_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def steps() -> None:
        daemon, editor = starting(monkeypatch, 20.0)
        await editor.start(MODERN)
        editor.open(SOURCE, version=5)
        assert await offers(editor, lines(9, 9)) == await offers(editor, lines(9, 9)), "moves of the cursor do not wait"
        asked = by_hand(editor, lines(9, 9))
        command = {"action": "addDocstring", "uri": URI, "range": lines(9, 9)}
        _, run_ = editor.begin("workspace/executeCommand", command="hone.run", arguments=[command])
        await asyncio.sleep(0.05)
        assert not asked.done()
        assert not run_.done()
        daemon.came.set()
        assert [one["title"] for one in await asked if one["title"] in TITLES] == TITLES
        await run_
        assert editor.applied

    run(steps)


def test_a_daemon_that_takes_long_is_said_to_be_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps() -> None:
        daemon, editor = starting(monkeypatch, 0.05)
        await editor.start(MODERN)
        editor.open(SOURCE, version=5)
        with pytest.raises(RequestFailedError, match="Hone is still starting; try again in a few seconds"):
            await by_hand(editor, lines(0, 0))
        command: dict[str, Any] = {}
        for action in ("modernise", "addDocstring"):
            command = {"action": action, "uri": URI, "range": lines(3, 5)}
            with pytest.raises(RequestFailedError, match="Hone is still starting"):
                await editor.request("workspace/executeCommand", command="hone.run", arguments=[command])
        ruled = {"action": "fixBlock", "uri": URI, "range": lines(3, 6)}
        await editor.request("workspace/executeCommand", command="hone.run", arguments=[ruled])
        assert editor.applied, "rules need no daemon"
        daemon.error = DaemonError("no daemon runs; run `hone serve`")
        daemon.came.set()
        await asyncio.sleep(0.05)
        with pytest.raises(RequestFailedError, match="no daemon runs"):
            await editor.request("workspace/executeCommand", command="hone.run", arguments=[command])
        daemon.error = None
        assert [one["title"] for one in await by_hand(editor, lines(9, 9)) if one["title"] in TITLES] == TITLES

    run(steps)


def lines(first: int, last: int) -> dict[str, Any]:
    return {"start": {"line": first, "character": 0}, "end": {"line": last, "character": 0}}


async def opened(edits: Edits, tasks: tuple[str, ...] = TASKS, language: str = "python") -> Editor:
    editor, session = in_memory(Script(lambda _: []), edit=edits, tasks=tasks)
    await editor.start(MODERN)
    await until(lambda: session.tasks == tasks, "what the model can do")
    editor.open(SOURCE, version=5, language=language)
    return editor


async def offers(editor: Editor, where: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = await editor.request(
        "textDocument/codeAction", textDocument={"uri": URI}, range=where, context={"diagnostics": []}
    )
    return [offer for offer in found if offer["title"] in TITLES]


def test_every_task_has_an_action() -> None:
    assert [one.title for one in ACTIONS if isinstance(one, Editing)] == TITLES
    assert tuple(one.task for one in ACTIONS if isinstance(one, Editing)) == TASKS


@pytest.mark.parametrize(
    ("tasks", "language", "line", "titles"),
    [
        (TASKS, "python", 4, TITLES),
        ((), "python", 0, []),
        ((), "python", 4, ["Fix this block"]),
        (TASKS, "lua", 4, []),
        (("modernise",), "python", 0, ["Modernise"]),
    ],
)
def test_offered_where_the_model_can_or_rules_find_something(
    tasks: tuple[str, ...], language: str, line: int, titles: list[str]
) -> None:
    async def work() -> None:
        editor = await opened(Edits(), tasks, language)
        assert [one["title"] for one in await offers(editor, lines(line, line))] == titles

    run(work)


def test_a_cursor_that_moves_about_has_rules_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[EditRequest] = []

    def watched(request: EditRequest) -> Ruled:
        tried.append(request)
        return by_rule(request)

    monkeypatch.setattr("assistant.rules.by_rule", watched)
    source = SOURCE.replace("add", "add_all")  # no other test asks about it

    def is_offered(at: int, text: str = source) -> bool:
        place = Place(text, at, at, "file.py", "python")
        return next(one for one in ACTIONS if one.title == TITLES[0]).applies(place)

    at = source.index("total")
    assert all(is_offered(at + more) for more in range(9))
    assert len(tried) == 1
    assert is_offered(source.index("retrun a - b"))
    assert len(tried) == 2, "another block"
    assert not is_offered(at, source.replace("retrun", "return"))
    assert len(tried) == 3, "another text"


@pytest.mark.parametrize(
    ("where", "mended"),
    [
        (lines(4, 4), "    return total"),
        (lines(9, 9), "    return a - b"),
        (lines(3, 9), "    return total"),
        (lines(3, 10), "    return total,    return a - b"),
    ],
    ids=["function", "other function", "selection", "two functions"],
)
def test_only_what_is_wrong_in_the_block_is_changed(where: dict[str, Any], mended: str) -> None:
    async def work() -> None:
        edits = Edits()
        editor = await opened(edits)
        offer = (await offers(editor, where))[0]
        assert offer["title"] == "Fix this block"
        assert "edit" not in offer
        assert offer["tags"] == [1]
        answer = (await editor.request("codeAction/resolve", **offer))["edit"]
        (change,) = answer["documentChanges"]
        assert change["textDocument"] == {"uri": URI, "version": 5}
        text = SOURCE
        for one in sorted(change["edits"], key=lambda one: -one["range"]["start"]["line"]):
            at = sum(map(len, SOURCE.splitlines(keepends=True)[: one["range"]["start"]["line"]]))
            start, end = (at + one["range"][side]["character"] for side in ("start", "end"))
            assert SOURCE[start:end] == "retrun", "a small edit"
            text = text[:start] + one["newText"] + text[end:]
        for line in mended.split(","):
            assert line in text
        assert text.count("return") == mended.count("return")
        asks = answer["changeAnnotations"][change["edits"][0]["annotationId"]]["needsConfirmation"]
        assert asks == (len(change["edits"]) > 1), "one edit by rule is made at once"
        assert edits.asked[0].task == "fix"
        assert len(edits.asked[0].blocks) >= mended.count("return")

    run(work)


def test_nothing_to_change_is_said() -> None:
    async def work() -> None:
        editor = await opened(Edits(Mender({})))
        offer = (await offers(editor, lines(4, 4)))[1]
        with pytest.raises(RequestFailedError, match="finds nothing to change"):
            await editor.request("codeAction/resolve", **offer)

    run(work)


def test_the_model_sees_what_rules_have_mended() -> None:
    async def work() -> None:
        edits = Edits(Mender({"return total": "return a_sum"}))
        editor = await opened(edits)
        offer = (await offers(editor, lines(4, 4)))[0]
        answer = (await editor.request("codeAction/resolve", **offer))["edit"]
        (change,) = answer["documentChanges"]
        lines_of = SOURCE.splitlines(keepends=True)
        for one in sorted(change["edits"], key=lambda one: -one["range"]["start"]["character"]):
            row, last = one["range"]["start"]["line"], one["range"]["end"]["character"]
            line = lines_of[row]
            lines_of[row] = line[: one["range"]["start"]["character"]] + one["newText"] + line[last:]
        assert "".join(lines_of) == SOURCE.replace("retrun total", "return a_sum")
        assert all(one["needsConfirmation"] for one in answer["changeAnnotations"].values())
        assert "return total\n" in edits.asked[0].text

    run(work)


def test_an_error_that_no_rule_mends_is_edited_by_the_model() -> None:
    text = "x = 1\n? ? ? ? ?\ny = 2\n"
    assert by_rule(EditRequest(text, "fix", ((0, len(text)),), language="python")).without_model().edits == ()

    async def work() -> None:
        edits = Edits(Mender({"? ? ? ? ?": "z = 3"}))
        editor, session = in_memory(Script(lambda _: []), edit=edits, tasks=TASKS)
        await editor.start(MODERN)
        await until(lambda: session.tasks == TASKS, "what the model can do")
        editor.open(text, version=5)
        found: list[dict[str, Any]] = await editor.request(
            "textDocument/codeAction",
            textDocument={"uri": URI}, range=lines(1, 1), context={"diagnostics": [], "only": ["quickfix"]},
        )  # fmt: skip
        [offer] = [one for one in found if one["title"] == "Fix this syntax error"]
        answer = (await editor.request("codeAction/resolve", **offer))["edit"]
        assert answer["documentChanges"][0]["edits"]
        assert all(one["needsConfirmation"] for one in answer["changeAnnotations"].values()), "the model wrote it"
        assert [one.task for one in edits.asked] == ["fix"]

    run(work)


def test_an_edit_of_a_text_that_changed_meanwhile_is_refused() -> None:
    async def work() -> None:
        edits = Edits()
        editor = await opened(edits)
        offer = (await offers(editor, lines(4, 4)))[0]
        edits.before = lambda: editor.open(SOURCE + "\n", version=6)
        with pytest.raises(RequestFailedError, match="changed"):
            await editor.request("codeAction/resolve", **offer)

    run(work)


def test_a_command_without_a_model_that_edits() -> None:
    async def work() -> None:
        edits = Edits()
        editor = await opened(edits, ())
        asked = {"action": "modernise", "uri": URI, "range": lines(4, 4)}
        with pytest.raises(RequestFailedError, match="not trained to edit"):
            await editor.request("workspace/executeCommand", command="hone.run", arguments=[asked])
        asked["action"] = "renameUses"
        with pytest.raises(RequestFailedError, match="no rule mends"):
            await editor.request("workspace/executeCommand", command="hone.run", arguments=[asked])
        assert edits.asked == []

    run(work)


def test_what_the_model_can_do_is_told_to_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        daemon, editor = starting(monkeypatch, 0.05)
        await editor.start(MODERN)
        _, asked = editor.begin("workspace/executeCommand", command="hone.tasks")
        await asyncio.sleep(0.1)
        assert not asked.done(), "it waits for the daemon"
        daemon.came.set()
        assert await asked == list(TASKS)

    run(work)


def test_a_command_for_another_language_says_so() -> None:
    async def work() -> None:
        edits = Edits()
        editor = await opened(edits, language="lua")
        asked = {"action": "modernise", "uri": URI, "range": lines(4, 4)}
        with pytest.raises(RequestFailedError, match="'Modernise' is for Python alone so far, and this is lua"):
            await editor.request("workspace/executeCommand", command="hone.run", arguments=[asked])
        assert edits.asked == []

    run(work)


def test_only_what_the_model_was_trained_for_is_asked_of_it() -> None:
    async def work() -> None:
        editor = await opened(Edits(), ("modernise",))
        asked = {"action": "addDocstring", "uri": URI, "range": lines(4, 4)}
        with pytest.raises(RequestFailedError, match="not trained for the task document"):
            await editor.request("workspace/executeCommand", command="hone.run", arguments=[asked])

    run(work)


def test_a_half_done_rename_is_finished_by_rule() -> None:
    async def work() -> None:
        edits = Edits()
        editor = await opened(edits, ("modernise",))
        editor.open("def area(width, height):\n    return wid * height\n", version=6)
        [offer] = [one for one in await offers(editor, lines(1, 1)) if one["title"] == TITLES[-1]]
        answer = (await editor.request("codeAction/resolve", **offer))["edit"]
        [change] = answer["documentChanges"][0]["edits"]
        assert change["range"] == {"start": {"line": 1, "character": 11}, "end": {"line": 1, "character": 14}}
        assert change["newText"] == "width"
        assert edits.asked == [], "no model is asked"

    run(work)


def test_blocks_of_a_broken_file() -> None:
    text = "def f(:\n    x = 1\n\n\ndef g():\n    return 2\n"
    found = blocks(Place(text, 2, 2, "a.py", "python"))
    assert found
    assert text[found[0][0] : found[0][1]].startswith("def f(:")
    inside = text.index("return")
    assert [text[a:b] for a, b in blocks(Place(text, inside, inside, "a.py", "python"))] == ["def g():\n    return 2\n"]
