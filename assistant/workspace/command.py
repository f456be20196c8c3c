"""What the command line asks of a workspace: what goes along with a place in a file, and what was kept out and why.

Without an editor, files that the place's file imports and files beside it count as open documents. The index is brought
up to date first, for as long as the caller has patience: a sweep goes on where the last one stopped.
"""

import os
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from assistant.errors import SourceError
from assistant.source import position_at
from assistant.types import Snippet
from assistant.workspace.gate import Gate, KeptOut, content
from assistant.workspace.index import Progress, Reader, index_file, prune, sweep
from assistant.workspace.snippets import DEFAULT_SOURCES, Known, beside, gather

if TYPE_CHECKING:
    from rich.console import Console

LISTED = 12
"""Files in the list of what was kept out; the rest is counted."""


@dataclass(frozen=True)
class Around:
    """What is known around a place."""

    root: Path | None
    """The workspace; None for a file that is in none."""
    snippets: tuple[Snippet, ...]
    kept_out: tuple[KeptOut, ...]
    files: int = 0
    """In the index."""
    definitions: int = 0


@dataclass(frozen=True)
class Cut:
    """The text around a place as far as the model reads it."""

    prefix: str
    suffix: str
    tokens: int
    context: int
    """Most tokens that there may be."""


def workspace_of(file: Path) -> Path | None:
    """The nearest folder above with ``.git``, else with ``pyproject.toml``; never the home folder or the disk."""
    parents = Path(os.path.realpath(file)).parents
    for mark in (".git", "pyproject.toml"):
        for folder in parents:
            if (folder / mark).exists() and folder not in (Path.home(), Path(folder.anchor)):
                return folder
    return None


def check(file: Path, exclude: tuple[str, ...] = ()) -> Gate:
    """The gate of the workspace that holds the file.

    Raises:
        SourceError: the gate keeps the file out of every prompt; names the rule.
    """
    gate = Gate(workspace_of(file) or Path(os.path.realpath(file)).parent, exclude)
    if (reason := gate.path(os.path.abspath(file))) is not None:  # noqa: PTH100 (a link stays one)
        raise SourceError(f"{file} never enters a prompt: {reason}")
    return gate


def look(
    file: Path,
    text: str,
    at: int,
    *,
    sources: tuple[str, ...] = DEFAULT_SOURCES,
    exclude: tuple[str, ...] = (),
    patience_s: float | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Around:
    """Raises:
    SourceError: as ``check``.
    """
    gate = check(file, exclude)
    root = workspace_of(file)
    if root is None or not sources:
        return Around(root, (), ())
    kept_out: tuple[KeptOut, ...] = ()
    deadline = None if patience_s is None else time.monotonic() + patience_s
    try:
        prune()
        swept = sweep(
            gate,
            on_progress=on_progress,
            should_stop=lambda: deadline is not None and time.monotonic() > deadline,
        )
        kept_out = swept.kept_out if swept is not None else ()
    except (OSError, sqlite3.Error):
        pass  # no place for an index: what is there is used
    reader = Reader(index_file(root))
    try:
        known = Known(Path(os.path.realpath(file)).relative_to(root).as_posix(), text, at, sources=sources)
        opened = tuple(beside(known, gate, reader)) if "open" in sources else ()
        gathered = gather(Known(known.path, text, at, opened=opened, sources=sources), reader, gate.path)
        files, definitions = reader.size()
    finally:
        reader.close()
    return Around(root, gathered.snippets, (*gathered.kept_out, *_near_first(kept_out, known.path)), files, definitions)


def _near_first(kept_out: tuple[KeptOut, ...], path: str) -> list[KeptOut]:
    folder = path.rpartition("/")[0]
    return sorted(kept_out, key=lambda one: (one.path.rstrip("/").rpartition("/")[0] != folder, one.path))


def as_object(file: str, text: str, at: int, around: Around, cut: Cut) -> dict[str, object]:
    line, column = position_at(text, at)
    return {
        "file": file,
        "line": line,
        "column": column,
        "workspace": None if around.root is None else str(around.root),
        "snippets": [asdict(snippet) for snippet in around.snippets],
        "prefix": cut.prefix,
        "suffix": cut.suffix,
        "tokens": cut.tokens,
        "context": cut.context,
        "kept_out": [asdict(one) for one in around.kept_out],
        "indexed_files": around.files,
        "definitions": around.definitions,
        "holds": content(text),
    }


def show(console: "Console", file: str, text: str, at: int, around: Around, cut: Cut) -> None:
    # `hone complete` comes by here as well, and shows nothing of this.
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    line, column = position_at(text, at)
    console.print(f"[bold]{escape(file)}:{line}:{column}[/]", highlight=False)
    if around.root is None:
        console.print("not in a workspace: no .git and no pyproject.toml above it", style="dim")
    else:
        console.print(
            f"workspace {escape(str(around.root))}: {around.definitions} definitions in {around.files} files",
            style="dim",
            highlight=False,
        )
    _title(console, f"from other places: {len(around.snippets)}, the most useful first")
    for snippet in around.snippets:
        console.print(f"[cyan]{snippet.source}[/]  {escape(snippet.path)}", highlight=False)
        console.print(Text("".join(f"    {line}\n" for line in snippet.text.splitlines())), soft_wrap=True)
    _title(console, f"around the place: {cut.tokens} of at most {cut.context} tokens")
    begins = "" if text.startswith(cut.prefix[:1]) and len(cut.prefix) >= at else "…\n"
    ends = "" if len(cut.suffix) >= len(text) - at else "…"
    console.print(
        Text.assemble((begins, "dim"), cut.prefix, ("▏", "bold reverse green"), cut.suffix, (ends, "dim")),
        soft_wrap=True,
    )
    _title(console, f"kept out: {len(around.kept_out)}")
    table = Table(box=None, show_header=False, pad_edge=False)
    for one in around.kept_out[:LISTED]:
        table.add_row(Text(one.path), Text(one.reason, "dim"))
    for reason, count in Counter(one.reason for one in around.kept_out[LISTED:]).most_common():
        table.add_row(Text(f"{count} more", "italic"), Text(reason, "dim"))
    console.print(table)
    if (found := content(text)) is not None:
        console.print(f"note: this file itself {escape(found)}; the text around the cursor is what the model completes")


def _title(console: "Console", title: str) -> None:
    from rich.rule import Rule  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console.print(Rule(Text(title), align="left", style="dim"))
