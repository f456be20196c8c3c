"""What the language server sends along from the workspace, and the life of the index, seen from the client."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from assistant.types import SOURCES
from assistant.workspace.index import Reader, index_file
from assistant.workspace.snippets import ORDER
from lsp.documents import Document
from lsp.session import Session
from lsp.workspace import HUNK, _hunks
from tests.lsp.peers import MODERN, Editor, Script, in_memory, run, until
from tests.serve.processes import private

WATCHING: dict[str, Any] = {
    **MODERN,
    "workspace": {
        **MODERN["workspace"],
        "didChangeWatchedFiles": {"dynamicRegistration": True},
        "workspaceFolders": True,
    },
}
SHOP = '''def price_of(article: str, *, discount: float = 0.0) -> float:
    """What an article costs."""
    return 1.0 - discount


class Basket:
    owner: str

    def add_article(self, article: str, count: int) -> None:
        self.articles[article] = count
'''
MAIN = "from shop import Basket, price_of\n\n\ndef total(basket):\n    \n"
CANARY = "zq9canary7"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with private(tmp_path):
        monkeypatch.setenv("HONE_CACHE_DIR", str(tmp_path / "cache"))
        root = tmp_path / "project"
        root.mkdir()
        (root / ".git").mkdir()
        (root / "shop.py").write_text(SHOP)
        (root / "main.py").write_text(MAIN)
        yield root


class Desk:
    """An editor with a folder open."""

    def __init__(self, editor: Editor, session: Session, script: Script, root: Path) -> None:
        self.editor, self.session, self.script, self.root = editor, session, script, root

    def uri(self, name: str) -> str:
        return (self.root / name).as_uri()

    def open(self, name: str, text: str | None = None) -> str:
        uri = self.uri(name)
        self.editor.open((self.root / name).read_text() if text is None else text, uri)
        return uri

    async def texts(self, line: int, character: int, name: str = "main.py") -> list[str]:
        """The snippets that go along with a question asked by hand, so that nothing is remembered."""
        await self.editor.inline(line, character, self.uri(name), by_hand=True)
        return [snippet.text for snippet in self.script.seen()[-1].extra]

    def reader(self) -> Reader:
        return Reader(index_file(self.root))

    async def indexed(self, true: Callable[[Reader], object], what: str) -> None:
        def look() -> object:
            reader = self.reader()
            try:
                return true(reader)
            finally:
                reader.close()

        await until(look, what, 60)


@contextlib.asynccontextmanager
async def desk(
    root: Path, *, options: Any = None, capabilities: dict[str, Any] = WATCHING, folders: bool = True
) -> AsyncIterator[Desk]:
    answers = iter(f"answer{number}" for number in range(1000))
    script = Script(lambda _: [next(answers)])
    editor, session = in_memory(script)
    await editor.request(
        "initialize",
        processId=None,
        rootUri=None,
        capabilities=capabilities,
        initializationOptions={"debounceMs": 0, "ahead": False, "context": list(ORDER), **(options or {})},
        workspaceFolders=[{"uri": root.as_uri(), "name": "project"}] if folders else None,
    )
    editor.notify("initialized")
    here = Desk(editor, session, script, root)
    try:
        yield here
    finally:
        for root_ in session.context._roots.values():
            root_.reader.close()
        for task in list(session._tasks):
            task.cancel()
        await asyncio.gather(*session._tasks, return_exceptions=True)
        if session.context._pool is not None:
            session.context._pool.shutdown()


def test_definitions_of_what_is_used_go_along(project: Path) -> None:
    async def work() -> None:
        async with desk(project) as here:
            await here.indexed(lambda reader: reader.is_whole(), "the index")
            here.open("main.py")
            texts = await here.texts(4, 4)
            assert any("def price_of(article: str, *, discount: float = 0.0)" in text for text in texts)
            assert any("class Basket" in text for text in texts)
            sources = {snippet.source for snippet in here.script.seen()[-1].extra}
            assert sources <= set(SOURCES)

    run(work)


def test_only_what_was_measured_to_help_goes_along_by_itself(project: Path) -> None:
    (project / "shop.py").write_text(SHOP + MAIN.replace("    \n", "    return len(basket)\n"))

    async def work() -> None:
        async with desk(project, options={"context": "auto"}) as here:
            here.open("shop.py")
            here.open("main.py")
            assert await here.texts(4, 4)
            assert {one.source for one in here.script.seen()[-1].extra} == {"open"}
            assert here.session.context.sources() == ("open",)
            [root] = here.session.context._roots.values()
            root.wants_sweep = True
            await here.session.context._write(root)
            assert not root.file.exists(), "no index is made for the others"

    run(work)


def test_they_stay_as_they_are_while_a_line_is_typed(project: Path) -> None:
    async def work() -> None:
        async with desk(project) as here:
            await here.indexed(lambda reader: reader.is_whole(), "the index")
            uri = here.open("main.py")
            first = await here.texts(4, 4)
            assert first
            for version, sign in enumerate("amount = basket", start=2):
                here.editor.type(sign, 4, 2 + version, version, uri)
                assert await here.texts(4, 3 + version) == first

    run(work)


def test_saving_brings_the_index_up_to_date(project: Path) -> None:
    async def work() -> None:
        async with desk(project) as here:
            await here.indexed(lambda reader: reader.is_whole(), "the index")
            (project / "shop.py").write_text(SHOP.replace("price_of", "cost_of"))
            here.editor.notify("textDocument/didSave", textDocument={"uri": here.uri("shop.py")})
            await here.indexed(lambda reader: reader.named(["cost_of"]), "the new name")
            await here.indexed(lambda reader: not reader.named(["price_of"]), "the old name's end")

    run(work)


def test_files_that_come_move_and_go(project: Path) -> None:
    async def work() -> None:
        async with desk(project) as here:
            await here.indexed(lambda reader: reader.is_whole(), "the index")
            await until(lambda: ("client/registerCapability",) in [one[:1] for one in here.editor.asked], "watching")
            (registered,) = [params for name, params in here.editor.asked if name == "client/registerCapability"]
            assert registered["registrations"][0]["method"] == "workspace/didChangeWatchedFiles"
            (project / "new.py").write_text("def brand_new(): pass\n")
            changes = [{"uri": here.uri("new.py"), "type": 1}]
            here.editor.notify("workspace/didChangeWatchedFiles", changes=changes)
            await here.indexed(lambda reader: reader.named(["brand_new"]), "the new file")
            (project / "new.py").rename(project / "moved.py")
            changes = [{"uri": here.uri("new.py"), "type": 3}, {"uri": here.uri("moved.py"), "type": 1}]
            here.editor.notify("workspace/didChangeWatchedFiles", changes=changes)
            await here.indexed(
                lambda reader: [one.path for one in reader.named(["brand_new"])] == ["moved.py"], "the move"
            )
            (project / "moved.py").unlink()
            here.editor.notify("workspace/didChangeWatchedFiles", changes=[{"uri": here.uri("moved.py"), "type": 3}])
            await here.indexed(lambda reader: not reader.named(["brand_new"]), "the end of the file")

    run(work)


def test_an_ignore_file_takes_effect_when_it_is_saved(project: Path) -> None:
    async def work() -> None:
        async with desk(project) as here:
            await here.indexed(lambda reader: reader.named(["price_of"]), "the index")
            (project / ".gitignore").write_text("shop.py\n")
            here.editor.notify("textDocument/didSave", textDocument={"uri": here.uri(".gitignore")})
            await here.indexed(lambda reader: not reader.named(["price_of"]), "the rule")
            here.open("main.py")
            here.open("shop.py")
            assert not any("price_of(article" in text for text in await here.texts(4, 4))

    run(work)


def test_nothing_secret_reaches_the_index_or_a_request(project: Path) -> None:
    secret = f"{CANARY}A1b2C3d4E5f6G7h8"
    (project / ".gitignore").write_text("private/\n*.local.py\n")
    (project / ".env").write_text(f"PRICE_OF={secret}\n")
    (project / "private").mkdir()
    (project / "private" / "price.py").write_text(f"def price_of(basket): return '{CANARY}'\n")
    (project / "settings.local.py").write_text(f"price_of = '{CANARY}'\nbasket = '{CANARY}'\n")
    (project / "basket.pem").write_text(f"-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----\n")
    (project / "keys.py").write_text(f"def total_price(basket):\n    token = '{secret}'\n    return price_of(basket)\n")
    (project / "pem.py").write_text(
        f'def price_of(basket):\n    """-----BEGIN RSA PRIVATE KEY-----\n{CANARY}\n-----END RSA PRIVATE KEY-----"""\n'
    )
    names = [".env", "private/price.py", "settings.local.py", "basket.pem", "keys.py", "pem.py"]

    async def work() -> None:
        async with desk(project) as here:
            await here.indexed(lambda reader: reader.is_whole(), "the index")
            for name in names:
                here.open(name)
            here.open("main.py", MAIN.replace("    \n", "    return price_of(basket)\n"))
            await here.texts(4, 4)
            for name in names[:4]:  # what is kept out by its name is not even answered for
                assert await here.editor.inline(0, 3, here.uri(name), by_hand=True) == []
            asked = "".join(repr(request) for request, _ in here.script.asked)
            assert "price_of(article" in asked, "something did go along"
            assert CANARY not in asked
            for file in index_file(project).parent.iterdir():
                assert CANARY.encode() not in file.read_bytes(), file.name
            said = " ".join(here.editor.messages("window/logMessage"))
            assert "ignored by .gitignore" in said
            assert CANARY not in said

    run(work)


def test_a_cell_of_a_notebook_that_is_kept_out_is_kept_out(project: Path) -> None:
    (project / ".gitignore").write_text("private/\n")

    async def work() -> None:
        async with desk(project) as here:
            for folder, count in (("private", 0), ("public", 1)):
                uri = f"vscode-notebook-cell:{project / folder}/a.ipynb#W2sZmlsZQ%3D%3D"
                here.editor.open("x = \n", uri=uri)
                assert len(await here.editor.inline(0, 4, uri)) == count
            assert len(here.script.seen()) == 1

    run(work)


def test_what_was_changed_lately_goes_along(project: Path) -> None:
    other = "".join(f"value_{number} = {number}\n" for number in range(60))
    (project / "other.py").write_text(other)

    async def work() -> None:
        async with desk(project, options={"context": ["recent"]}) as here:
            uri = here.open("other.py")
            here.open("main.py")
            await until(lambda: here.session.context._is_started, "the start")
            assert await here.texts(4, 4) == []
            here.editor.type("value_30 = renamed_thing(30)\n", 30, 0, 2, uri)
            found = await here.texts(3, 4)
            assert found == ["value_29 = 29\nvalue_30 = renamed_thing(30)\nvalue_30 = 30"]
            here.editor.notify("textDocument/didClose", textDocument={"uri": uri})
            assert await here.texts(2, 0) == found, "also once it is closed"

    run(work)


def test_open_documents_go_along_where_they_are_alike(project: Path) -> None:
    async def work() -> None:
        async with desk(project, options={"context": ["open"]}) as here:
            uri = here.uri("other.py")
            here.editor.open("def sum_up(basket):\n    total = price_of(basket)\n    return total\n", uri)
            here.open("main.py")
            await until(lambda: here.session.context._is_started, "the start")
            (text,) = await here.texts(4, 4)
            assert "total = price_of(basket)" in text

    run(work)


def test_problems_near_the_cursor_go_along(project: Path) -> None:
    async def work() -> None:
        async with desk(project, options={"context": ["diagnostics"]}) as here:
            uri = here.open("main.py")
            await until(lambda: here.session.context._is_started, "the start")
            place = {"start": {"line": 3, "character": 4}, "end": {"line": 3, "character": 9}}
            await here.editor.request(
                "textDocument/codeAction",
                textDocument={"uri": uri},
                range=place,
                context={"diagnostics": [{"range": place, "message": "returns\nnothing", "source": "checker"}]},
            )
            assert await here.texts(4, 4) == ["main.py:4: checker: returns nothing"]

    run(work)


@pytest.mark.parametrize("options", [{"context": "off"}, {"enabled": True, "context": []}])
def test_off_means_nothing_goes_along(project: Path, options: dict[str, Any]) -> None:
    async def work() -> None:
        async with desk(project, options=options) as here:
            here.open("shop.py")
            here.open("main.py")
            await until(lambda: here.session.context._is_started, "the start")
            found = await here.texts(4, 4)
            if options["context"] == "off":
                assert found == []
                assert not index_file(project).exists(), "what is not used is not written"
            else:
                assert any("context must be" in one for one in here.editor.messages())

    run(work)


def test_a_repository_is_found_where_the_client_names_no_folder(project: Path) -> None:
    async def work() -> None:
        async with desk(project, folders=False) as here:
            here.open("main.py")
            await here.indexed(lambda reader: reader.named(["price_of"]), "the index")
            assert any("price_of(article" in text for text in await here.texts(4, 4))

    run(work)


def test_a_home_folder_is_not_indexed(project: Path) -> None:
    async def work() -> None:
        async with desk(project.parent) as here:  # HOME, as the fixture has it
            await until(lambda: here.editor.messages("window/logMessage"), "the note")
            assert "too much for a workspace" in here.editor.messages("window/logMessage")[0]
            assert here.session.context._roots == {}

    run(work)


def test_folders_come_and_go(project: Path, tmp_path: Path) -> None:
    second = tmp_path / "second"
    second.mkdir()
    (second / "far.py").write_text("def far_away(): pass\n")

    async def work() -> None:
        async with desk(project) as here:
            await until(lambda: here.session.context._roots, "the first folder")
            folder = {"uri": second.as_uri(), "name": "second"}
            here.editor.notify("workspace/didChangeWorkspaceFolders", event={"added": [folder], "removed": []})
            await until(lambda: Reader(index_file(second)).named(["far_away"]), "the second folder", 60)
            here.editor.notify("workspace/didChangeWorkspaceFolders", event={"added": [], "removed": [folder]})
            assert [root.name for root in here.session.context._roots] == ["project"]

    run(work)


def test_the_index_goes_with_the_workspace(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lsp.workspace.POLL_S", 0.2)

    async def work() -> None:
        async with desk(project) as here:
            await here.indexed(lambda reader: reader.is_whole(), "the index")
            shutil.rmtree(project)
            await until(lambda: not index_file(project).exists(), "the end of the index", 60)

    run(work)


def test_a_large_workspace_shows_its_progress(project: Path) -> None:
    for number in range(220):
        (project / f"m{number}.py").write_text(f"def f{number}(): pass\n")

    async def work() -> None:
        async with desk(project) as here:
            await here.indexed(lambda reader: reader.is_whole(), "the index")
            await until(
                lambda: any(
                    name == "$/progress" and params["value"]["kind"] == "end" for name, params in here.editor.notes
                ),
                "the end of the progress",
            )
            told = [params["value"].get("message", "") for name, params in here.editor.notes if name == "$/progress"]
            assert any("reading the definitions of project" in one for one in told)

    run(work)


def document(text: str) -> Document:
    return Document.of("file:///a.py", 1, "python", text)


@pytest.mark.parametrize(
    ("before", "after_", "expected"),
    [
        ("a\nb\nc\n", "a\nb\nc\n", []),
        ("a\nb\nc\n", "a\nx\nc\n", ["a\nx\nc"]),
        ("a\nb\nc\n", "a\nc\n", []),
        ("", "a\n", ["a"]),
        ("a\nb\nc\nd\ne\nf\ng\n", "x\nb\nc\nd\ne\nf\ny\n", ["f\ny", "x\nb"]),
        ("a\nb\n", "a\n\n\nb\n", []),
        ("", "".join(f"{n}\n" for n in range(50)), ["\n".join(str(n) for n in range(HUNK))]),
        ("", "".join(f"{n}\n" for n in range(5000)), ["\n".join(str(n) for n in range(HUNK))]),
    ],
)
def test_changed_places(before: str, after_: str, expected: list[str]) -> None:
    assert [one.text for one in _hunks(document(before), document(after_), "a.py")] == expected
