"""Code actions: where they are offered, what the model is asked, and the edit that comes back."""

import asyncio
from typing import Any

import pytest

from assistant.types import CompletionRequest, CompletionResult
from lsp import actions
from lsp.actions import ACTIONS, Edit, Place, Work, empty_body, selected_or_marked
from tests.lsp.peers import MODERN, URI, Editor, RequestFailedError, Script, in_memory, run, until

HOLE = "§"


def drawn(text: str) -> tuple[str, int]:
    at = text.index("|")
    return text[:at] + text[at + 1 :], at


def place(text: str, at: int, end: int | None = None, filename: str = "a.py", language: str = "python") -> Place:
    return Place(text, at, at if end is None else end, filename, language)


BODIES = {
    "pass": ("def f():\n    |pass\n", "def f():\n    §\n"),
    "at the header": ("def f(|a, b):\n    ...\n\nx = 1\n", "def f(a, b):\n    §\n\nx = 1\n"),
    "behind the colon": ("class A:\n    def f(self): |...\n", "class A:\n    def f(self):\n        §\n"),
    "nothing": ("def f():|\n", "def f():\n    §\n"),
    "nothing, more behind": ("def f():\n|\ndef g():\n    return 1\n", "def f():\n    §\n\ndef g():\n    return 1\n"),
    "docstring": ('def f():\n    """Say |it."""\n', 'def f():\n    """Say it."""\n    §\n'),
    "long docstring": (
        'def f():\n  """Say\n\n  it.\n  """\n  p|ass\nx = 1\n',
        'def f():\n  """Say\n\n  it.\n  """\n  §\nx = 1\n',
    ),
    "todo": ("def f():\n\t# TODO: say |it\n", "def f():\n\t# TODO: say it\n\t§\n"),
    "todo and pass": ("def f():\n    # TODO: it\n    pa|ss\n", "def f():\n    # TODO: it\n    §\n"),
    "signature of many lines": (
        "async def f(\n    a,|\n    b,\n) -> int:\n    ...\n",
        "async def f(\n    a,\n    b,\n) -> int:\n    §\n",
    ),
    "not implemented": ("def f():\n    |raise NotImplementedError\n", "def f():\n    §\n"),
    "windows": ("def f():\r\n    |pass\r\nx\r\n", "def f():\r\n    §\r\nx\r\n"),
    "the end of the file": ("def f():|", "def f():\n    §"),
}  # fmt: skip
BRACES = {
    "javascript": ("function f(a) {|}\n", "function f(a) {\n    §\n}\n"),
    "open": ("class A {\n  int f(int a) {\n    |\n  }\n}\n", "class A {\n  int f(int a) {\n    §\n  }\n}\n"),
    "todo": ("fn f() -> u8 {|\n    // TODO: it\n}\n", "fn f() -> u8 {\n    // TODO: it\n    §\n}\n"),
    "arrow": ("const f = (a) => {|};\n", "const f = (a) => {\n    §\n};\n"),
}
NO_BODY = [
    "def f():\n    return |1\n",
    "def f():\n    a = 1\n    pa|ss\n",
    "x = |1\n",
    "def f():\n    return 1\n\nx = |1\n",
    "|",
    "class A:|\n    pass\n",
]
NO_BRACES = ["if (a) {|}\n", "function f() { return |1; }\n", "const a = {|};\n", "while (true) {|}\n", "|"]


def filled(text: str, hole: actions.Hole) -> str:
    return text[: hole.start] + hole.lead + HOLE + hole.tail + text[hole.end :]


@pytest.mark.parametrize("name", BODIES)
def test_an_empty_body_of_python(name: str) -> None:
    text, at = drawn(BODIES[name][0])
    hole = empty_body(place(text, at))
    assert hole is not None
    assert filled(text, hole) == BODIES[name][1]


@pytest.mark.parametrize("name", BRACES)
def test_an_empty_body_in_braces(name: str) -> None:
    text, at = drawn(BRACES[name][0])
    hole = empty_body(place(text, at, filename="a.x", language="x"))
    assert hole is not None
    assert filled(text, hole) == BRACES[name][1]


@pytest.mark.parametrize("text", NO_BODY)
def test_no_empty_body_of_python(text: str) -> None:
    assert empty_body(place(*drawn(text))) is None


@pytest.mark.parametrize("text", NO_BRACES)
def test_no_empty_body_in_braces(text: str) -> None:
    text, at = drawn(text)
    assert empty_body(place(text, at, filename="a.x", language="x")) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = |...\n", "x = §\n"),
        ("x = ...|\n", "x = §\n"),
        ("if a:\n    pa|ss\n", "if a:\n    §\n"),
        ("    # TODO: add |them\n", "    # TODO: add them\n    §\n"),
        ("let x = to|do!();\n", "let x = §;\n"),
        ("if a:\n|    pass\n", "if a:\n    §\n"),
        ("if a:\n  |  ...  # later\n", "if a:\n    §  # later\n"),
        ("if a:\n    pass  # la|ter\n", "if a:\n    §  # later\n"),
        ("|\ttodo!();\n", "\t§;\n"),
        ("|x = ...\n", None),
        ("|  passed\n", None),
        ("x = '.|..'\n", None),
        ("password = |1\n", None),
        ("|", None),
    ],
)
def test_a_marker_under_the_cursor(text: str, expected: str | None) -> None:
    text, at = drawn(text)
    hole = selected_or_marked(place(text, at))
    assert (None if hole is None else filled(text, hole)) == expected


def test_the_selection_is_a_hole_unless_it_is_blank() -> None:
    assert selected_or_marked(place("x = 1 + 2\n", 4, 9)) == actions.Hole(4, 9)
    assert selected_or_marked(place("x =   \n", 3, 6)) is None
    assert selected_or_marked(place("def f():\n    ...\n", 9, 17)) == actions.Hole(13, 16), "a whole line"


def test_a_cursor_that_selects_the_character_under_it() -> None:
    """As Helix and Kakoune have it."""
    text = "def f():\n    ...\n"
    assert selected_or_marked(place(text, 14, 15)) == actions.Hole(13, 16)
    assert selected_or_marked(place(text, 4, 5)) is None
    assert selected_or_marked(place(text, 13, 15)) == actions.Hole(13, 16)
    assert empty_body(place(text, 4, 5)) == actions.Hole(13, 16)


def test_a_long_file_is_quick_to_look_at() -> None:
    import time

    text = "x = {\n" * 200_000
    started = time.perf_counter()
    for language in ("python", "c"):
        for action in ACTIONS:
            action.applies(place(text, len(text) // 2, filename="a", language=language))
    assert time.perf_counter() - started < 0.5


# Over the protocol.

CODE = "def add(a, b):\n    pass\n"
WHERE = {"start": {"line": 1, "character": 4}, "end": {"line": 1, "character": 4}}


async def offers(editor: Editor, **context: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = await editor.request(
        "textDocument/codeAction", textDocument={"uri": URI}, range=WHERE, context={"diagnostics": [], **context}
    )
    return found


async def opened(script: Script, capabilities: dict[str, Any] = MODERN) -> Editor:
    editor, _ = in_memory(script)
    able = await editor.start(capabilities)
    assert able["codeActionProvider"] == {"codeActionKinds": ["quickfix", "refactor.rewrite"], "resolveProvider": True}
    editor.open(CODE, version=5)
    return editor


def test_an_action_is_resolved_into_an_annotated_edit_with_a_version() -> None:
    async def work() -> None:
        script = Script(lambda _: ["return a + b"])
        editor = await opened(script)
        found = await offers(editor)
        assert [offer["title"] for offer in found] == ["Fill this hole", "Complete this body"]
        assert all(offer["tags"] == [1] and "edit" not in offer for offer in found)
        for offer in found:
            edit = (await editor.request("codeAction/resolve", **offer))["edit"]
            (change,) = edit["documentChanges"]
            assert change["textDocument"] == {"uri": URI, "version": 5}
            (one,) = change["edits"]
            assert one["newText"] == "return a + b"
            assert one["range"] == {"start": {"line": 1, "character": 4}, "end": {"line": 1, "character": 8}}
            assert edit["changeAnnotations"][one["annotationId"]]["label"] == offer["title"]
        assert script.asked[0][0].text == "def add(a, b):\n    \n"
        assert script.asked[0][0].start == 19

    run(work)


def test_kinds_are_a_tree() -> None:
    async def work() -> None:
        editor = await opened(Script(lambda _: []))
        assert len(await offers(editor, only=["refactor"])) == 2
        assert len(await offers(editor, only=["refactor.rewrite"])) == 2
        assert await offers(editor, only=["refactor.rewr"]) == []
        assert await offers(editor, only=["quickfix"]) == []

    run(work)


def test_a_plain_client_gets_a_command_and_a_plain_edit() -> None:
    async def work() -> None:
        editor = await opened(Script(lambda _: ["return a + b"]), {})
        (offer, _) = await offers(editor)
        assert "tags" not in offer
        command = offer["command"]
        answer = await editor.request(
            "workspace/executeCommand", command=command["command"], arguments=command["arguments"]
        )
        assert answer == {"applied": True, "reason": None}
        assert list(editor.applied[0]["changes"]) == [URI]

    run(work)


@pytest.mark.parametrize(
    "where", [{"range": WHERE}, {"position": WHERE["start"]}, {"position": {"line": 99, "character": 0}}]
)
def test_a_command_for_a_key(where: dict[str, Any]) -> None:
    async def work() -> None:
        editor = await opened(Script(lambda _: ["return a + b"]))
        editor.open(CODE + "\nx = 1\n", version=6)
        request = editor.request(
            "workspace/executeCommand", command="hone.run", arguments=[{"action": "completeBody", "uri": URI, **where}]
        )
        if where.get("position", {}).get("line") == 99:
            with pytest.raises(RequestFailedError, match="does not apply here"):
                await request
        else:
            assert (await request)["applied"]

    run(work)


def test_a_stale_action_is_refused_before_and_after_the_model() -> None:
    async def work() -> None:
        script = Script(lambda _: ["return a + b"])
        editor = await opened(script)
        offer = (await offers(editor))[0]
        script.gate = asyncio.Event()
        _, answer = editor.begin("codeAction/resolve", **offer)
        await until(lambda: script.asked, "the question")
        editor.replace(CODE, 6)
        script.gate.set()
        for request in (answer, editor.request("codeAction/resolve", **offer)):
            with pytest.raises(RequestFailedError) as failed:
                await request
            assert failed.value.code == -32801
        assert len(script.asked) == 1

    run(work)


@pytest.mark.parametrize(
    "data",
    [
        None, [], {}, {"action": "x"}, {"action": "fillHole"}, {"action": "fillHole", "uri": 3},
        {"action": "fillHole", "uri": URI}, {"action": "fillHole", "uri": URI, "position": {"line": "x"}},
        {"action": "fillHole", "uri": URI, "range": {"start": None}}, {"action": "fillHole", "uri": "file:///b.py"},
    ],
)  # fmt: skip
def test_odd_data_is_refused_with_a_sentence(data: Any) -> None:
    async def work() -> None:
        editor = await opened(Script(lambda _: ["x"]))
        with pytest.raises(RequestFailedError) as failed:
            await editor.request("codeAction/resolve", title="x", data=data)
        assert failed.value.code in (-32602, -32803)
        with pytest.raises(RequestFailedError):
            await editor.request("workspace/executeCommand", command="hone.run", arguments=[data])
        assert editor.applied == []

    run(work)


def test_no_answer_says_why() -> None:
    async def work() -> None:
        editor = await opened(Script(lambda _: []))
        offer = (await offers(editor))[0]
        with pytest.raises(RequestFailedError, match="nothing to write here: empty"):
            await editor.request("codeAction/resolve", **offer)

    run(work)


def test_an_action_of_somebody_else_needs_no_other_change(monkeypatch: pytest.MonkeyPatch) -> None:
    class Shout:
        name, title, kind, needs_confirmation, is_generated = "shout", "Shout", "refactor.rewrite", True, True
        is_local = True

        def applies(self, place: Place) -> bool:
            return "def" in place.text

        async def run(self, place: Place, work: Work) -> tuple[Edit, ...]:
            result: CompletionResult = await work.ask(CompletionRequest(place.text, 0))
            return (Edit(4, 7, "ADD"), Edit(0, 3, result.completions[0].text))

    monkeypatch.setattr(actions, "ACTIONS", ACTIONS)
    ACTIONS.append(Shout())
    try:

        async def work() -> None:
            editor = await opened(Script(lambda _: ["DEF"]))
            offer = (await offers(editor))[-1]
            edit = (await editor.request("codeAction/resolve", **offer))["edit"]
            assert [one["newText"] for one in edit["documentChanges"][0]["edits"]] == ["DEF", "ADD"]
            assert edit["changeAnnotations"]["shout"]["needsConfirmation"]

        run(work)
    finally:
        ACTIONS.pop()
