"""Cells of a notebook: the model sees those around the one that is asked about, the editor its own positions."""

from typing import Any

import pytest

from assistant.types import CompletionRequest, EditRequest, EditResult, TextEdit
from lsp.notebook import as_python
from tests.lsp.peers import MODERN, Editor, RequestFailedError, Script, in_memory, run

NOTEBOOK = "file:///w/a.ipynb"
CAPABLE = MODERN | {"notebookDocument": {"synchronization": {}}}
ALONE = {"debounceMs": 0, "ahead": False}
Cell = tuple[str, str]
"""Its language and its text; ``markdown`` is no code."""


def uri(name: object) -> str:
    return f"vscode-notebook-cell:/w/a.ipynb#{name}"


def item(name: object, cell: Cell) -> dict[str, Any]:
    return {"uri": uri(name), "languageId": cell[0], "version": 1, "text": cell[1]}


def entry(name: object, cell: Cell) -> dict[str, Any]:
    return {"kind": 1 if cell[0] == "markdown" else 2, "document": uri(name)}


def open_notebook(editor: Editor, *cells: Cell) -> None:
    notebook = {"uri": NOTEBOOK, "notebookType": "jupyter-notebook", "version": 1}
    editor.notify(
        "notebookDocument/didOpen",
        notebookDocument={**notebook, "cells": [entry(name, cell) for name, cell in enumerate(cells)]},
        cellTextDocuments=[item(name, cell) for name, cell in enumerate(cells)],
    )


def change_notebook(editor: Editor, **cells: Any) -> None:
    editor.notify(
        "notebookDocument/didChange", notebookDocument={"uri": NOTEBOOK, "version": 2}, change={"cells": cells}
    )


async def started(options: Any = ALONE) -> tuple[Editor, Script]:
    script = Script(lambda _: ["answer"])
    editor, _ = in_memory(script)
    found = await editor.start(CAPABLE, options)
    assert found["notebookDocumentSync"] == {"notebookSelector": [{"notebook": "*"}]}
    return editor, script


def drawn(request: CompletionRequest) -> str:
    return f"{request.text[: request.start]}|{request.text[request.start :]}"


def asked(*cells: Cell, at: int = 1) -> str:
    """What the model sees with the cursor at the end of a cell of one line, whose range in the answer is right."""
    seen = []

    async def work() -> None:
        editor, script = await started()
        open_notebook(editor, *cells)
        column = len(cells[at][1])
        (found,) = await editor.inline(0, column, uri(at))
        here = {"line": 0, "character": column}
        assert found["range"] == {"start": here, "end": here}
        seen.append(drawn(script.seen()[-1]))

    run(work)
    return seen[0]


def python(text: str) -> Cell:
    return ("python", text)


def test_a_cell_stands_between_those_above_and_below_it() -> None:
    assert (
        asked(python("import math"), python("r = 2"), python("x = "), python("print(x)"), at=2)
        == "import math\n\nr = 2\n\nx = |\n\nprint(x)"
    )


@pytest.mark.parametrize(
    ("other", "seen"),
    [
        (("markdown", "# Title"), ""),
        (("sql", "select 1"), ""),
        (python("x = (1,"), ""),
        (python("'''half"), ""),
        (python("%matplotlib inline\n!ls\nr = 2"), "#matplotlib inline\n#ls\nr = 2\n\n"),
        (python("%%time\nr = 2"), "#%time\nr = 2\n\n"),
        (python("%%bash\nls *"), ""),
        (python("r = await get()"), "r = await get()\n\n"),
        (python("s = '\\d'"), "s = '\\d'\n\n"),
        (python("\n\n"), ""),
        (python("a = '" + "x" * 60_000 + "'"), ""),
    ],
)
def test_what_of_another_cell_the_model_sees(other: Cell, seen: str) -> None:
    assert asked(other, python("x = ")) == f"{seen}x = |"


def test_a_cell_of_another_language_sees_its_own() -> None:
    assert asked(("sql", "select (1"), ("sql", "select "), python("r = 2")) == "select (1\n\nselect |"


def test_cells_are_added_moved_changed_and_taken_away() -> None:
    async def work() -> None:
        editor, script = await started()
        open_notebook(editor, python("a = 1"), python("x = "))

        async def seen() -> str:
            await editor.inline(0, 4, uri(1), by_hand=True)
            return drawn(script.seen()[-1])

        assert await seen() == "a = 1\n\nx = |"
        array = {"start": 1, "deleteCount": 0, "cells": [entry("new", python("b = 2"))]}
        change_notebook(editor, structure={"array": array, "didOpen": [item("new", python("b = 2"))]})
        end = {"line": 0, "character": 5}
        text = [{"range": {"start": end, "end": end}, "text": "0"}]
        change_notebook(editor, textContent=[{"document": {"uri": uri(0), "version": 2}, "changes": text}])
        editor.type("y = 3; ", 0, 0, 2, uri(1))
        await editor.inline(0, 11, uri(1), by_hand=True)
        assert drawn(script.seen()[-1]) == "a = 10\n\nb = 2\n\ny = 3; x = |"
        editor.delete(0, 0, 7, 3, uri(1))
        moved = [entry(name, python("")) for name in ("new", 1, 0)]
        change_notebook(editor, structure={"array": {"start": 0, "deleteCount": 3, "cells": moved}})
        editor.type("z", 0, 0, 4, uri(1))
        await editor.inline(0, 5, uri(1))
        assert drawn(script.seen()[-1]) == "b = 2\n\nzx = |\n\na = 10"
        array = {"start": 0, "deleteCount": 1}
        change_notebook(editor, structure={"array": array, "didClose": [{"uri": uri("new")}]})
        change_notebook(editor, data=[{"kind": 1, "document": uri(0)}])
        editor.type("z", 0, 0, 5, uri(1))
        await editor.inline(0, 6, uri(1))
        assert drawn(script.seen()[-1]) == "zzx = |"
        editor.notify(
            "notebookDocument/didClose",
            notebookDocument={"uri": NOTEBOOK},
            cellTextDocuments=[{"uri": uri(0)}, {"uri": uri(1)}],
        )
        assert await editor.inline(0, 6, uri(1)) == []

    run(work)


def test_a_code_action_sees_the_cells_too_and_edits_its_own() -> None:
    async def work() -> None:
        editor, script = await started()
        open_notebook(editor, python("r = 2"), python("def f():\n    ..."), python("f()"))
        filled = {"action": "fillHole", "uri": uri(1), "version": 1, "position": {"line": 1, "character": 5}}
        await editor.request("workspace/executeCommand", command="hone.run", arguments=[filled])
        assert drawn(script.seen()[-1]) == "r = 2\n\ndef f():\n    |\n\nf()"
        (change,) = editor.applied[0]["documentChanges"]
        assert change["textDocument"] == {"uri": uri(1), "version": 1}
        where = {"start": {"line": 1, "character": 4}, "end": {"line": 1, "character": 7}}
        assert [(one["range"], one["newText"]) for one in change["edits"]] == [(where, "answer")]

    run(work)


def test_cells_are_no_context_for_other_files() -> None:
    async def work() -> None:
        editor, script = await started({**ALONE, "context": ["open"]})
        open_notebook(editor, python("def area(radius):\n    return 3 * radius ** 2"))
        editor.open("def area_of(radius):\n    return radius\n", uri="file:///w/b.py")
        editor.open("area = \n", uri="file:///w/c.py")
        await editor.inline(0, 7, "file:///w/c.py")
        assert [one.path for one in script.seen()[-1].extra] in ([], ["/w/b.py"])

    run(work)


@pytest.mark.parametrize("method", ["didOpen", "didChange", "didClose"])
def test_nonsense_about_notebooks_is_passed_over(method: str) -> None:
    async def work() -> None:
        editor, _ = await started()
        open_notebook(editor, python("r = 2"), python("x = "))
        stranger = {"uri": "file:///w/other.ipynb", "version": 1, "notebookType": "x", "cells": []}
        array = {"start": 7, "deleteCount": 9}
        for params in (
            {
                "notebookDocument": stranger,
                "cellTextDocuments": [],
                "change": {"cells": {"structure": {"array": array}}},
            },
            {"notebookDocument": stranger, "cellTextDocuments": [], "change": {}},
            {"notebookDocument": None},
        ):
            editor.notify(f"notebookDocument/{method}", **params)
        assert len(await editor.inline(0, 4, uri(1))) == 1

    run(work)


def test_all_cells_of_a_notebook_that_is_kept_out_are() -> None:
    async def work() -> None:
        editor, script = await started({**ALONE, "exclude": ["a.ipynb"]})
        open_notebook(editor, python("r = 2"), python("x = "))
        assert await editor.inline(0, 4, uri(1)) == []
        assert not script.asked

    run(work)


def test_a_cell_with_commands_of_ipython_is_python_all_the_same() -> None:
    assert asked(python("r = 2"), python("x = "), at=1) == "r = 2\n\nx = |"
    assert as_python("%%time\n!ls\nif a:\n    !ls\nx = (a\n     % b) != 3\n") == (
        "#%time\n#ls\nif a:\n    #ls\nx = (a\n     % b) != 3\n"
    )


def test_a_cell_in_another_language_than_the_editor_says_is_left_alone() -> None:
    async def work() -> None:
        editor, script = await started()
        open_notebook(editor, python("%%bash"), python("%%time"))
        assert await editor.inline(0, 6, uri(0)) == []
        assert not script.asked
        assert len(await editor.inline(0, 6, uri(1))) == 1

    run(work)


# Code actions.


async def chosen(editor: Editor, title: str, cell: int, line: int) -> dict[str, list[tuple[dict[str, int], str]]]:
    """Where a code action writes what, by the URI of the cell."""
    here = {"line": line, "character": 0}
    offers = await editor.request(
        "textDocument/codeAction",
        textDocument={"uri": uri(cell)},
        range={"start": here, "end": here},
        context={"diagnostics": [], "triggerKind": 1},
    )
    offer = next((one for one in offers if one["title"] == title), None)
    assert offer is not None, [one["title"] for one in offers]
    edit = (await editor.request("codeAction/resolve", **offer))["edit"]
    (annotation,) = edit["changeAnnotations"].values()
    assert annotation.get("needsConfirmation", False) == (len(edit["documentChanges"]) == 1 and title == "Modernise")
    return {
        change["textDocument"]["uri"]: [(one["range"]["start"], one["newText"]) for one in change["edits"]]
        for change in edit["documentChanges"]
    }


def test_a_rename_goes_on_in_the_other_cells() -> None:
    async def work() -> None:
        editor, _ = await started()
        cells = "total = 1\n", "'total'", "!ls\nprint(total)", "total"
        open_notebook(editor, *map(python, cells))
        renamed = {"range": {"start": {"line": 0, "character": 0}, "end": {"line": 0, "character": 5}}, "text": "sum_"}
        change_notebook(editor, textContent=[{"document": {"uri": uri(0), "version": 2}, "changes": [renamed]}])
        second, third = ({"line": 1, "character": 6}, "sum_"), ({"line": 0, "character": 0}, "sum_")
        assert await chosen(editor, "Rename here too", 2, 1) == {uri(2): [second]}
        everywhere = await chosen(editor, "Rename everywhere else, too", 0, 0)
        assert everywhere == {uri(2): [second], uri(3): [third]}

    run(work)


NAMES = "def area(width, heights):\n    return width * height\n"


def test_a_rule_knows_the_names_of_the_cells_above() -> None:
    """Alone, the cell looks like a rename that was left half done."""

    async def work() -> None:
        editor, _ = await started()
        open_notebook(editor, python("x = 1"), python(NAMES))
        assert (await chosen(editor, "Fix this block", 1, 1))[uri(1)]
        open_notebook(editor, python("height = 1"), python(NAMES))
        with pytest.raises(AssertionError):
            await chosen(editor, "Fix this block", 1, 1)

    run(work)


def test_the_model_edits_a_block_of_its_cell_alone() -> None:
    wanted = ["HERE"]
    seen: list[EditRequest] = []

    async def edit(request: EditRequest, caller: Any) -> EditResult:
        del caller
        seen.append(request)
        at = request.text.index(wanted[0])
        return EditResult((TextEdit(at, at + len(wanted[0]), "NEW", 0, gain=1.0),), ("",))

    async def work() -> None:
        editor, _ = in_memory(Script(lambda _: []), edit=edit, tasks=("modernise",))
        await editor.start(CAPABLE, ALONE)
        text = "%time\ndef f():\n    !ls\n    return os.sep  # HERE\n"
        open_notebook(editor, python("import os\nOLD = 1"), python(text))
        assert await chosen(editor, "Modernise", 1, 3) == {uri(1): [({"line": 3, "character": 21}, "NEW")]}
        assert seen[-1].text == "import os\nOLD = 1\n\n" + text.replace("%", "#").replace("!", "#")
        assert seen[-1].text[slice(*seen[-1].blocks[0])].startswith("def f()")
        for wanted[0], reason in (
            ("#ls", "a command of IPython"),
            ("1\n\n#time", "not in its cell alone"),
            ("OLD", "not in its cell alone"),
        ):
            with pytest.raises(RequestFailedError, match=reason):
                await chosen(editor, "Modernise", 1, 3)

    run(work)
