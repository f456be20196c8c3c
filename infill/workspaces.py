"""Held-out packages as folders, for whoever looks for texts that may help in the other files of a workspace.

Who that is, ``infill`` does not know: the command line brings a function along (``assistant.workspace``). An answer
must not leak: a text of the task's own file is refused here, whatever that function promises. Near duplicates of a file
left the corpus when it was built (``model.clean``), so that they cannot give an answer away either.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from infill.tasks import Source, Task

Find = Callable[[Path, str, str, int, Sequence[str]], Sequence[tuple[str, str]]]
"""(root, path, text, at, sources) -> (path, text) of what may help there, the most useful first."""


@dataclass(frozen=True)
class Elsewhere:
    """Who finds texts in other files, and what there is to choose from."""

    sources: tuple[str, ...]
    """Kinds of texts that a package as it lies on disk can offer."""
    default: tuple[str, ...]
    """Those that are on."""
    find: Find


class Workspaces:
    """The packages of ``files``, each in a folder of its own until the ``with`` block ends."""

    def __init__(self, files: Sequence[Source], elsewhere: Elsewhere | None) -> None:
        """Without ``elsewhere`` nothing is ever found."""
        self._files = files
        self._elsewhere = elsewhere
        self._folder = tempfile.TemporaryDirectory(prefix="hone-eval-")
        self._roots: dict[str, Path] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._folder.cleanup()

    def root(self, package: str) -> Path:
        """The folder with the package's files, written when it is first asked for."""
        root = self._roots.get(package)
        if root is None:
            root = self._roots[package] = Path(self._folder.name) / "packages" / package
            for file in self._files:
                if file.package == package:
                    path = root / file.path
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(file.text, encoding="utf-8", newline="")
        return root

    def texts(self, task: Task, sources: Sequence[str] | None = None) -> tuple[str, ...]:
        """What may help at the task's hole, from ``sources`` (default: those that are on).

        Raises: ValueError where a text comes from the task's own file.
        """
        if self._elsewhere is None:
            return ()
        wanted = self._elsewhere.default if sources is None else sources
        text = task.prefix + task.suffix
        found = self._elsewhere.find(self.root(task.package), task.path, text, task.start, wanted)
        if any(path == task.path for path, _ in found):
            raise ValueError(f"{task.name}: a text comes from the file itself, and may hold the answer")
        return tuple(text for _, text in found)
