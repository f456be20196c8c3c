"""textDocument/copilotInlineEdit as clients of Copilot's server call it, in memory; no model takes part."""

import asyncio
from typing import Any

import pytest
from lsprotocol.types import Position

from lsp.documents import Document
from tests.lsp.peers import MODERN, URI, Counts, Editor, RequestFailedError, Script, in_memory, run, until

CODE = """import os


def area(width, height):
    # width stays in a comment
    return width * height


def shadow(width):
    return width


print(area(1, height=2), f"{area(3, 4)}")
"""


def offset(text: str, where: dict[str, int], encoding: str = "utf-16") -> int:
    return Document.of("", 0, "", text, encoding).offset(Position(**where))


class Typist:
    """An editor whose text the test knows."""

    def __init__(self, editor: Editor, text: str, encoding: str = "utf-16") -> None:
        self.editor, self.text, self.version, self.encoding = editor, text, 1, encoding
        editor.open(text)

    def put(self, start: int, end: int, new: str) -> None:
        document = Document.of("", 0, "", self.text, self.encoding)
        ends = [document.position(one) for one in (start, end)]
        names = ("start", "end")
        where = {name: {"line": one.line, "character": one.character} for name, one in zip(names, ends, strict=True)}
        self.version += 1
        self.text = self.text[:start] + new + self.text[end:]
        self.editor.notify(
            "textDocument/didChange",
            textDocument={"uri": URI, "version": self.version},
            contentChanges=[{"range": where, "text": new}],
        )

    def rename(self, old: str, new: str, *, nth: int = 0) -> int:
        at = -1
        for _ in range(nth + 1):
            at = self.text.index(old, at + 1)
        self.put(at, at + len(old), new)
        return at

    async def ask(self, at: int = 0, **more: Any) -> list[dict[str, Any]]:
        here = Document.of("", 0, "", self.text, self.encoding).position(at)
        answer = await self.editor.request(
            "textDocument/copilotInlineEdit",
            textDocument={"uri": URI, "version": self.version} | more,
            position={"line": here.line, "character": here.character},
            context={"triggerKind": 2},
        )
        assert set(answer) == {"edits"}
        return list(answer["edits"])

    async def accept(self, edit: dict[str, Any]) -> None:
        start, end = (offset(self.text, edit["range"][name], self.encoding) for name in ("start", "end"))
        self.put(start, end, edit["text"])
        await self.editor.request(
            "workspace/executeCommand",
            command=edit["command"]["command"],
            arguments=edit["command"]["arguments"],
        )

    async def follow(self, at: int = 0) -> int:
        """Accepts until nothing is left to do, as sidekick does."""
        for count in range(50):
            edits = await self.ask(at)
            if not edits:
                return count
            assert edits[0]["textDocument"] == {"uri": URI, "version": self.version}
            await self.accept(edits[0])
        raise AssertionError("there is no end to it")


async def typist(text: str = CODE, counts: Counts | None = None, encoding: str = "", **options: Any) -> Typist:
    editor, _ = in_memory(Script(lambda _: []), counts)
    capabilities = MODERN | ({"general": {"positionEncodings": [encoding]}} if encoding else {})
    await editor.start(capabilities, options=options)
    return Typist(editor, text, encoding or "utf-16")


def test_a_renamed_parameter_is_renamed_where_it_is_used_and_nowhere_else() -> None:
    async def work() -> None:
        counts = Counts()
        one = await typist(counts=counts)
        assert await one.ask() == []
        at = one.rename("width", "w")
        assert await one.follow(at) == 1
        assert one.text == CODE.replace("area(width", "area(w").replace("return width *", "return w *")
        assert counts.counts["edit_shown"] == counts.counts["edit_accepted"] == 1
        at = one.rename("height", "h")
        assert await one.follow(at) == 2
        assert "return w * h" in one.text
        assert "area(1, h=2)" in one.text, "the name in a call belongs to it"
        assert "def shadow(width):\n    return width" in one.text
        assert "# width stays" in one.text

    run(work)


def test_a_name_typed_letter_by_letter() -> None:
    async def work() -> None:
        one = await typist()
        at = one.text.index("area")
        one.put(at, at + 4, "")
        for index, letter in enumerate("surface"):
            one.put(at + index, at + index, letter)
        assert await one.follow(at) == 2
        assert 'print(surface(1, height=2), f"{surface(3, 4)}")' in one.text

    run(work)


def test_the_next_place_is_the_next_one_behind_the_cursor() -> None:
    async def work() -> None:
        one = await typist("def f(a):\n    b = a\n    c = a\n    d = a\n")
        one.rename("a", "x")
        for at, line in ((0, 1), (one.text.index("c ="), 2), (one.text.index("d ="), 3), (len(one.text), 1)):
            (edit,) = await one.ask(at)
            assert edit["range"]["start"]["line"] == line
            assert edit["text"] == "x"

    run(work)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
def test_places_behind_longer_characters(encoding: str) -> None:
    async def work() -> None:
        one = await typist("def f(näme):\n    return '𝄞é', näme, '𝄞'\n", encoding=encoding)
        one.rename("näme", "größe")
        assert await one.follow() == 1
        assert one.text == "def f(größe):\n    return '𝄞é', größe, '𝄞'\n"

    run(work)


def test_calls_follow_a_signature() -> None:
    async def work() -> None:
        text = "def f(a, b, c):\n    return a + c\n\n\ndef g(d):\n    return f(1, d, 3) + f(1, 2, c=3)\n"
        one = await typist(text)
        at = one.text.index(", b")
        one.put(at, at + 3, "")
        assert await one.follow() == 2
        assert "return f(1, 3) + f(1, c=3)" in one.text

    run(work)


UNSURE = {
    "a later assignment": ("x = 1\nx = 2\nprint(x)\n", "x", "y", 1),
    "a name that is there already": ("x = 1\ny = 2\nprint(x, y)\n", "x", "y", 0),
    "a use": ("x = 1\nprint(x)\nprint(x)\n", "x", "y", 1),
    "a keyword": ("x = 1\nprint(x)\n", "x", "in", 0),
    "no name": ("x = 1\nprint(x)\n", "x", "3", 0),
    "a string": ("x = 'word'\nprint('word')\n", "word", "other", 0),
    "an attribute of something else": ("class A:\n    def f(self, o):\n        o.x = 1\n        o.x\n", "x", "y", 0),
}


@pytest.mark.parametrize("name", UNSURE)
def test_what_is_not_sure_is_not_proposed(name: str) -> None:
    async def work() -> None:
        text, old, new, nth = UNSURE[name]
        one = await typist(text)
        one.rename(old, new, nth=nth)
        assert await one.ask() == []

    run(work)


def test_a_stale_version_an_unknown_document_and_odd_params_get_no_edit() -> None:
    async def work() -> None:
        one = await typist()
        one.rename("width", "w")
        assert await one.ask(version=1) == []
        assert await one.ask(uri="file:///other.py") == []
        for odd in (
            {},
            {"textDocument": None},
            {"textDocument": {"uri": 3}},
            {"textDocument": {"uri": URI}, "position": 3},
        ):
            answer = await one.editor.request("textDocument/copilotInlineEdit", **odd)
            assert answer == {"edits": []} or odd.get("position") == 3
        assert len(await one.ask()) == 1

    run(work)


def test_an_answer_that_is_overtaken_by_a_change_is_empty() -> None:
    async def work() -> None:
        one = await typist()
        one.rename("width", "w")
        _, answer = one.editor.begin(
            "textDocument/copilotInlineEdit",
            textDocument={"uri": URI, "version": one.version}, position={"line": 0, "character": 0},
        )  # fmt: skip
        one.put(0, 0, "#\n")
        assert (await answer) == {"edits": []}
        assert len(await one.ask()) == 1

    run(work)


def test_it_can_be_turned_off() -> None:
    async def work() -> None:
        one = await typist(nextEdit=False)
        one.rename("width", "w")
        assert await one.ask() == []

    run(work)


def test_other_languages_get_none() -> None:
    async def work() -> None:
        one = await typist()
        one.editor.open("function f(width) {\n  return width;\n}\n", language="javascript", version=1)
        one.text, one.version = "function f(width) {\n  return width;\n}\n", 1
        one.rename("width", "w")
        assert await one.ask() == []

    run(work)


def test_the_status_is_told_to_those_who_know_it() -> None:
    async def work() -> None:
        script = Script(lambda _: ["x"])
        editor, _ = in_memory(script)
        await editor.start(options={"ahead": False, "debounceMs": 0})
        editor.open("x = \n")
        await editor.inline(0, 4)

        def told() -> list[Any]:
            return [params for name, params in editor.notes if name == "didChangeStatus"]

        assert told() == []
        editor.notify("textDocument/didFocus", textDocument={"uri": URI})
        editor.notify("textDocument/didFocus")
        await until(told, "the status")
        await editor.inline(0, 3)
        assert [one["busy"] for one in told()] == [False, True, False]
        assert {one["kind"] for one in told()} == {"Normal"}

    run(work)


# The same as code actions.


async def offered(one: Typist, line: int) -> list[dict[str, Any]]:
    where = {"line": line, "character": 0}
    found = await one.editor.request(
        "textDocument/codeAction",
        textDocument={"uri": URI},
        range={"start": where, "end": where},
        context={"diagnostics": [], "only": ["refactor"]},
    )
    return [offer for offer in found if offer["title"].startswith("Rename")]


def test_the_same_as_code_actions() -> None:
    async def work() -> None:
        one = await typist()
        assert await offered(one, 5) == []
        one.rename("height", "h")
        assert [offer["title"] for offer in await offered(one, 3)] == ["Rename everywhere else, too"]
        assert await offered(one, 9) == []
        here, everywhere = await offered(one, 5)
        assert "tags" not in here, "no model has written it"
        edit = (await one.editor.request("codeAction/resolve", **here))["edit"]
        (change,) = edit["documentChanges"]
        assert [each["newText"] for each in change["edits"]] == ["h"]
        edit = (await one.editor.request("codeAction/resolve", **everywhere))["edit"]
        assert len(edit["documentChanges"][0]["edits"]) == 2
        (annotation,) = edit["changeAnnotations"].values()
        assert annotation["needsConfirmation"]
        assert annotation["description"] == "height is h now"
        one.put(0, 0, "#\n")
        with pytest.raises(RequestFailedError):
            await one.editor.request("codeAction/resolve", **here)

    run(work)


def test_requests_in_a_crowd_are_answered_once_each() -> None:
    async def work() -> None:
        one = await typist()
        one.rename("width", "w")
        waiting = [
            one.editor.begin(
                "textDocument/copilotInlineEdit",
                textDocument={"uri": URI, "version": one.version}, position={"line": 3, "character": 0},
            )
            for _ in range(20)
        ]  # fmt: skip
        for number, _ in waiting[::2]:
            one.editor.notify("$/cancelRequest", id=number)
        await asyncio.gather(*(answer for _, answer in waiting), return_exceptions=True)
        assert [one.editor.answers[number] for number, _ in waiting] == [1] * 20

    run(work)
