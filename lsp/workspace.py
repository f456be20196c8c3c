"""The workspace around the open documents: what of it goes into a request, and the life of its index.

The index is written by a process of its own (``python -m assistant.workspace``), which is started when a folder is
opened, after saves, when the client tells of changed files, and now and then, because not every client does. Here it is
only read. Nothing heavy is imported before the client is there.
"""

import asyncio
import contextlib
import errno
import functools
import json
import os
import sys
from collections import OrderedDict, deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lsprotocol import types
from pygls.uris import to_fs_path

import assistant
from assistant.types import Snippet
from assistant.workspace.secrets import denied_by
from lsp.documents import CELL, Document
from lsp.notebook import Beside, Whole, is_foreign
from lsp.protocol import REFUSED, log

if TYPE_CHECKING:
    from assistant.workspace.gate import Gate
    from assistant.workspace.index import Reader
    from assistant.workspace.snippets import Edited
    from lsp.session import Session

PLACES_KEPT = 8
"""Places of a document for which snippets are remembered."""
SETTLE_S = 0.5
"""After a change on disk, until the index is brought up to date: changes come in crowds."""
POLL_S, POLL_UNTOLD_S = 900.0, 180.0
"""Between two sweeps, where the client tells of changed files and where it does not."""
SHOWN_FROM = 200
"""Files to be read from which progress is shown."""
OPEN = 16
"""Other documents that are looked through."""
HUNK, HUNKS = 12, 3
"""Lines of a changed place, and such places of one document."""
COMPARED = 400
"""Changed lines that are compared one by one."""
WATCHED = "**/*.{py,pyi,js,mjs,cjs,jsx,ts,mts,cts,tsx,go,rs,java,c,h,cpp,cc,cxx,hpp,hh,hxx,cs,rb,php,lua,sh,bash}"
IGNORE_FILES = (".gitignore", "exclude")


@dataclass(eq=False)
class Root:
    path: Path
    gate: "Gate"
    reader: "Reader"
    file: Path
    pending: set[str] = field(default_factory=set)
    """Paths below it to be looked at again."""
    is_writing: asyncio.Lock = field(default_factory=asyncio.Lock)
    settling: asyncio.TimerHandle | None = None
    wants_sweep: bool = False


class Workspace:
    def __init__(self, session: "Session") -> None:
        self._session = session
        self.always: tuple[str, ...] = ()
        """Globs of files that never enter a prompt, whatever the client's options say."""
        self._roots: dict[Path, Root] = {}
        self._loose: OrderedDict[Path, Gate] = OrderedDict()
        """For files outside of every root, by their folder."""
        self._is_told = False
        """Whether the client tells of changed files."""
        self._names_folders = False
        self._used: OrderedDict[str, None] = OrderedDict()
        """Keys of open documents, the one used last at the end."""
        self._bases: dict[str, Document] = {}
        """Open documents as they were opened."""
        self._lasts: dict[str, Document] = {}
        """And as they are."""
        self._closed: deque[Edited] = deque(maxlen=8)
        """Changed places of documents that were closed since."""
        self._problems: dict[str, tuple[tuple[int, str, str], ...]] = {}
        """What other tools say of a document: line, message, and the text of that line."""
        self._known: dict[str, OrderedDict[tuple[int, str, int], tuple[Snippet, ...]]] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._exclude: tuple[str, ...] = ()
        self._is_started = False

    @property
    def _excluded(self) -> tuple[str, ...]:
        return (*self.always, *self._session.options.exclude)

    # What a request is told.

    def denied(self, document: Document) -> str | None:
        """Why a document may not enter a prompt."""
        if is_foreign(document):
            return "the cell is in another language than Python: its first line says so"
        exclude = self._excluded
        if (glob := denied_by(document.path, exclude)) is not None:
            where = "the option exclude" if glob in exclude else "the built-in list"
            return f"{glob!r} of {where} keeps it out of every prompt"
        if (path := _fs_path(document.uri)) is None:
            return None
        reason = self._gate_of(path).path(path)
        return None if reason is None else f"{reason}: it is kept out of every prompt"

    def sources(self) -> tuple[str, ...]:
        wanted = self._session.options.context
        if wanted == "auto":
            from assistant.workspace.snippets import DEFAULT_SOURCES  # noqa: PLC0415 (once the client is there)

            return DEFAULT_SOURCES
        return () if isinstance(wanted, str) else wanted

    def beside(self, document: Document) -> Beside:
        """What the other cells of a notebook put around one of them: they are of one file, so one gate is for all."""
        return self._session.notebooks.beside(document)

    def whole(self, document: Document) -> Whole:
        """A cell between the others; any other document by itself."""
        return self._session.notebooks.whole(document)

    async def snippets(self, document: Document, text: str, at: int) -> tuple[Snippet, ...]:
        """For a place in ``text``, which is the document's or will be."""
        sources = self.sources()
        path = _fs_path(document.uri)
        root = None if path is None else self._root_of(path)
        others = [one for one in (self._session.documents.get(key) for key in reversed(self._used)) if one is not None]
        # The cells of an open notebook are many, and small: they would leave no room for others, and serve their own.
        others = [one for one in others if one.key != document.key and not self._session.notebooks.holds(one)][:OPEN]
        if not sources or (root is None and not others and document.key not in self._problems):
            return ()
        key = _place(text, at)
        known = self._known.setdefault(document.key, OrderedDict())
        if key in known:
            known.move_to_end(key)
            return known[key]
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="context")
        work = functools.partial(self._gather, document, text, at, root, path, tuple(others), sources)
        found = await asyncio.get_running_loop().run_in_executor(self._pool, work)
        known[key] = found
        while len(known) > PLACES_KEPT:
            known.popitem(last=False)
        return found

    def _gather(
        self,
        document: Document,
        text: str,
        at: int,
        root: Root | None,
        path: Path | None,
        others: Sequence[Document],
        sources: tuple[str, ...],
    ) -> tuple[Snippet, ...]:
        """On a thread of its own: a disk may be slow."""
        from assistant.workspace.snippets import Known, Opened, Problem, gather  # noqa: PLC0415

        def named(uri: str, label: str) -> str:
            place = _fs_path(uri)
            return label if place is None else _below(root, place)

        def admit(name: str) -> str | None:
            place = Path(name)
            if root is not None and not place.is_absolute():
                return root.gate.path(name)
            is_file = place.is_absolute() and _is_possible(name)
            return self._gate_of(place).path(place) if is_file else denied_by(name, self._exclude)

        edits: list[Edited] = []
        if "recent" in sources:
            changed = [(one, self._bases.get(one.key)) for one in (document, *others)]
            for one, base in changed:
                if base is not None and base is not one:
                    edits += _hunks(base, one, named(one.uri, one.path))
            edits += list(self._closed)
        problems = [
            Problem(line, message)
            for line, message, stood in self._problems.get(document.key, ())
            if line < len(document.lines) and document.lines[line] == stood
        ]
        opened = [Opened(named(one.uri, one.path), one.text) for one in others] if "open" in sources else []
        name = document.path if path is None else _below(root, path)
        known = Known(name, text, at, None, tuple(opened), tuple(edits), tuple(problems), sources)
        return gather(known, None if root is None else root.reader, admit).snippets

    # What is told here.

    def changed(self, key: str, document: Document | None) -> None:
        """A document was opened or changed; None: it was closed."""
        if document is None:
            self._close(key)
            return
        if key not in self._bases:
            self._bases[key] = document
            self._adopt(document)
        self._lasts[key] = document
        self._used[key] = None
        self._used.move_to_end(key)

    def _close(self, key: str) -> None:
        base, last = self._bases.pop(key, None), self._lasts.pop(key, None)
        self._used.pop(key, None)
        self._problems.pop(key, None)
        # What was changed in it is still of use; the document itself is no longer looked through.
        self._known.clear()
        if base is not None and last is not None and base is not last and self._is_started:
            path = _fs_path(last.uri)
            name = last.path if path is None else _below(self._root_of(path), path)
            self._closed.extendleft(reversed(_hunks(base, last, name)))

    def diagnosed(self, document: Document, found: Sequence[types.Diagnostic]) -> None:
        """What other tools say is wrong: servers are told of it with requests for code actions only."""
        if found:
            lines = document.lines
            self._problems[document.key] = tuple(
                (one.range.start.line, _message(one), lines[one.range.start.line])
                for one in found[:16]
                if one.range.start.line < len(lines)
            )

    def saved(self, uri: str) -> None:
        self._touched([uri])

    def watched(self, changes: Sequence[types.FileEvent]) -> None:
        self._touched([change.uri for change in changes])

    def _touched(self, uris: Sequence[str]) -> None:
        for uri in uris:
            path = _fs_path(uri)
            root = None if path is None else self._root_of(path)
            if path is None or root is None:
                continue
            if path.name in IGNORE_FILES:
                root.wants_sweep = True
                self._forget()
            else:
                root.pending.add(path.relative_to(root.path).as_posix())
            self._settle(root)

    # Folders and their indexes.

    async def start(self) -> None:
        """Once the client is there."""
        # On a thread: these are a tenth of a second, and somebody may be typing already.
        await asyncio.to_thread(_import)
        self._is_started = True
        folders = [one.uri for one in self._session.workspace.folders.values()]
        root_uri = self._session.workspace.root_uri
        if not folders and root_uri:
            folders = [root_uri]
        self._names_folders = bool(folders)
        self._exclude = self._excluded
        self._add(folders)
        for document in self._session.documents:
            self._adopt(document)
        await self._register()
        self._session.spawn(self._poll())

    async def _register(self) -> None:
        workspace = self._session.client_capabilities.workspace
        watching = None if workspace is None else workspace.did_change_watched_files
        if watching is None or not watching.dynamic_registration:
            return
        watchers = [types.FileSystemWatcher(glob_pattern=glob) for glob in (WATCHED, "**/.gitignore")]
        options = types.DidChangeWatchedFilesRegistrationOptions(watchers=watchers)
        registration = types.Registration("hone-files", types.WORKSPACE_DID_CHANGE_WATCHED_FILES, options)
        try:
            await self._session.client_register_capability_async(types.RegistrationParams([registration]))
        except REFUSED as error:
            log.warning("the client does not tell of changed files: %s", type(error).__name__)
        else:
            self._is_told = True

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(POLL_S if self._is_told else POLL_UNTOLD_S)
            for root in list(self._roots.values()):
                if root.path.is_dir():
                    await self._sweep(root)
                else:
                    self._remove(root)

    def folders_changed(self, event: types.WorkspaceFoldersChangeEvent) -> None:
        if not self._is_started:
            return
        for folder in event.removed:
            path = _fs_path(folder.uri)
            if path is not None and (root := self._roots.get(_real(path))) is not None:
                root.reader.close()
                del self._roots[root.path]
        self._names_folders = True
        self._add([folder.uri for folder in event.added])
        self._forget()

    def configured(self) -> None:
        """The options have changed."""
        self._forget()
        if not self._is_started:
            return
        if self._excluded != self._exclude:
            self._exclude = self._excluded
            self._loose.clear()
            for root in self._roots.values():
                root.gate = _gate(root.path, self._exclude)
        for root in self._roots.values():
            root.wants_sweep = True
            self._settle(root)

    def _add(self, uris: Sequence[str]) -> None:
        from assistant.workspace.index import Reader, index_file  # noqa: PLC0415 (as in sources)

        for uri in uris:
            path = _fs_path(uri)
            if path is None or not path.is_dir():
                continue
            real = _real(path)
            if real in self._roots:
                continue
            if real in (Path.home(), Path(real.anchor)):
                self._session.note(f"{real} is not indexed: it is too much for a workspace; open a project's folder")
                continue
            file = index_file(real)
            root = self._roots[real] = Root(real, _gate(real, self._exclude), Reader(file), file)
            root.wants_sweep = True
            self._settle(root, now=True)

    def _adopt(self, document: Document) -> None:
        """Where the client names no folder, a document's repository is one."""
        if self._names_folders or not self._is_started or (path := _fs_path(document.uri)) is None:
            return
        if self._root_of(path) is None:
            top = next((one for one in path.parents if (one / ".git").exists()), None)
            if top is not None:
                self._add([top.as_uri()])

    def _remove(self, root: Root) -> None:
        from assistant.workspace.index import forget  # noqa: PLC0415 (as in sources)

        root.reader.close()
        self._roots.pop(root.path, None)
        forget(root.path)
        self._forget()

    def _settle(self, root: Root, *, now: bool = False) -> None:
        if root.settling is not None:
            root.settling.cancel()
        loop = asyncio.get_running_loop()
        root.settling = loop.call_later(0 if now else SETTLE_S, lambda: self._session.spawn(self._write(root)))

    async def _write(self, root: Root) -> None:
        if not {"definitions", "imports"} & set(self.sources()):
            return
        if root.wants_sweep:
            root.wants_sweep = False
            root.gate.refresh()
            root.pending.clear()
            await self._sweep(root)
        elif root.pending:
            paths, root.pending = sorted(root.pending), set()
            await self._run(root, "update", json.dumps(paths))

    async def _sweep(self, root: Root) -> None:
        if {"definitions", "imports"} & set(self.sources()):
            await self._run(root, "sweep", "")
            root.gate.refresh()

    async def _run(self, root: Root, command: str, paths: str) -> None:
        """The process that writes. Its work is no one's worry: without an index there are fewer snippets."""
        was_whole = await asyncio.to_thread(root.reader.is_whole)
        options = [word for glob in self._exclude for word in ("--exclude", glob)]
        async with root.is_writing:
            try:
                child = await asyncio.create_subprocess_exec(
                    sys.executable, "-P", "-m", "assistant.workspace", command, str(root.path), "--index",
                    str(root.file), *options,
                    env=_environment(), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.DEVNULL,
                )  # fmt: skip
            except OSError as error:
                log.warning("the index cannot be written: %s", type(error).__name__)
                return
            try:
                await self._follow(root, child, paths)
            finally:
                self._session.indexing.done()
                if child.returncode is None:
                    with contextlib.suppress(ProcessLookupError):
                        child.kill()
                    await child.wait()
        if not was_whole:
            self._forget()  # now there is something to find

    async def _follow(self, root: Root, child: asyncio.subprocess.Process, paths: str) -> None:
        source, sink = child.stdout, child.stdin
        assert source is not None
        assert sink is not None
        with contextlib.suppress(ConnectionError):
            sink.write(paths.encode())
            await sink.drain()
        sink.close()
        window = self._session.client_capabilities.window
        shows = window is not None and bool(window.work_done_progress)
        while line := await source.readline():
            said = json.loads(line)
            if "total" in said and said["total"] - said["done"] + said["changed"] >= SHOWN_FROM and shows:
                share = f"{said['done']} of {said['total']} files"
                self._session.indexing.waiting(f"reading the definitions of {root.path.name}: {share}")
            if "error" in said:
                self._session.note(f"the index of {root.path} cannot be written: {said['error']}")
        await child.wait()

    # Which is where.

    def _root_of(self, path: Path) -> Root | None:
        """The innermost."""
        around = [root for root in self._roots.values() if path.is_relative_to(root.path)]
        if not around and self._roots:
            real = _real(path)
            around = [root for root in self._roots.values() if real.is_relative_to(root.path)]
        return max(around, key=lambda root: len(root.path.parts), default=None)

    def _gate_of(self, path: Path) -> "Gate":
        root = self._root_of(path)
        if root is not None:
            return root.gate
        folder = path.parent
        if folder not in self._loose:
            top = next((one for one in path.parents if (one / ".git").exists()), folder)
            self._loose[folder] = _gate(top, self._excluded)
            while len(self._loose) > OPEN:
                self._loose.popitem(last=False)
        return self._loose[folder]

    def _forget(self) -> None:
        self._known.clear()
        self._loose.clear()
        for root in self._roots.values():
            root.gate.refresh()


def register(session: "Session") -> None:
    """What clients tell about files and folders."""
    context = session.context

    def saved(params: types.DidSaveTextDocumentParams) -> None:
        context.saved(params.text_document.uri)

    def watched(params: types.DidChangeWatchedFilesParams) -> None:
        context.watched(params.changes)

    def folders(params: types.DidChangeWorkspaceFoldersParams) -> None:
        context.folders_changed(params.event)

    session.feature(types.TEXT_DOCUMENT_DID_SAVE, types.SaveOptions(include_text=False))(saved)
    session.feature(types.WORKSPACE_DID_CHANGE_WATCHED_FILES)(watched)
    session.feature(types.WORKSPACE_DID_CHANGE_WORKSPACE_FOLDERS)(folders)


def _import() -> None:
    import assistant.workspace.snippets  # noqa: F401, PLC0415


def _environment() -> dict[str, str]:
    """Our own package, wherever it lies; with -P, never one that lies where the editor was started."""
    home = str(Path(assistant.__file__).parents[1])
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))}


def _gate(root: Path, exclude: tuple[str, ...]) -> "Gate":
    from assistant.workspace.gate import Gate  # noqa: PLC0415 (as in Workspace.sources)

    return Gate(root, exclude)


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _fs_path(uri: str) -> Path | None:
    """None for what is not a file, or none that can be here: on another host, or of a name that no system takes. A
    notebook's cell is its file: what holds for one holds for the other.
    """
    if uri.startswith(CELL):
        uri = f"file:{uri.removeprefix(CELL)}"
    if not uri.startswith("file:"):
        return None
    try:
        path = to_fs_path(uri)
    except ValueError:  # no address
        return None
    if path is None or (os.name != "nt" and path.startswith("//")) or not _is_possible(path):
        return None
    return Path(path)


def _is_possible(path: str) -> bool:
    """Whether there may be such a file: a name can be too long, or hold half a character or a NUL."""
    try:
        os.lstat(path)
    except ValueError:
        return False
    except OSError as error:
        return error.errno not in (errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL)
    return True


def _below(root: Root | None, path: Path) -> str:
    if root is not None:
        for one in (path, _real(path)):
            if one.is_relative_to(root.path):
                return one.relative_to(root.path).as_posix()
    return path.as_posix()


def _place(text: str, at: int) -> tuple[int, str, int]:
    """A line: its number, what stands on it before the cursor, and what stands above it."""
    start = text.rfind("\n", 0, at) + 1
    return text.count("\n", 0, start), text[start:at], hash(text[max(0, start - 200) : start])


def _message(found: types.Diagnostic) -> str:
    return f"{found.source}: {found.message}" if found.source else str(found.message)


def _hunks(base: Document, now: Document, path: str) -> "list[Edited]":
    """The places in which a document differs from what it was, the last in the text first."""
    from difflib import SequenceMatcher  # noqa: PLC0415 (seldom needed)

    from assistant.workspace.snippets import Edited  # noqa: PLC0415 (as in Workspace.sources)

    old, new = base.lines, now.lines
    head = _common(old, new)
    tail = _common(old[head:][::-1], new[head:][::-1])
    was, is_now = old[head : len(old) - tail], new[head : len(new) - tail]
    if len(was) <= COMPARED and len(is_now) <= COMPARED:
        steps = SequenceMatcher(None, was, is_now, autojunk=False).get_opcodes()
        spans = [(first, last) for tag, _, _, first, last in steps if tag != "equal" and last > first]
    else:
        spans = [(0, min(len(is_now), HUNK))]
    found = []
    for first, last in reversed(spans):
        start, end = max(0, head + first - 1), min(len(new), head + last + 1)
        lines = new[start : min(end, start + HUNK)]
        if "".join(new[head + first : head + last]).strip():
            found.append(Edited(path, "".join(lines).strip("\r\n"), head + first))
    return found[:HUNKS]


def _common(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """How many lines both begin with. Slices are compared: that is quick for lines that are the same objects."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
