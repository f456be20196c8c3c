"""`hone` as a process of its own, with a network below the editor that knows what is right, and that takes its time.

What is below the unit is slow here, the network and the system where files are written, so that a process can be killed
in every phase of its work.
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import model.damage.kinds  # noqa: F401 (all three are what every forked process would have to import)
from assistant import cli, service
from assistant.cli import main
from assistant.types import TASKS
from infill.engine import Infiller
from tests.mender import Mender
from tests.refactor.conftest import FIXES


class Slow(Mender):
    def run(self, calls: Sequence[Any]) -> list[Any]:
        time.sleep(0.004)
        return super().run(calls)


def slow_files(seconds: float) -> None:
    fsync, replace = os.fsync, Path.replace

    def slow_fsync(handle: int) -> None:
        time.sleep(seconds)
        fsync(handle)

    def slow_replace(self: Path, target: Path) -> Path:
        time.sleep(seconds)
        done = replace(self, target)
        time.sleep(seconds)
        return done

    os.fsync = slow_fsync  # type: ignore[assignment]
    Path.replace = slow_replace  # type: ignore[assignment, method-assign]


def hone(folder: str, arguments: Sequence[str], environment: dict[str, str], log: str, seconds: float = 0.02) -> None:
    """The body of a process."""
    os.environ.update(environment)
    os.chdir(folder)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    one = Slow(dict(FIXES))
    service.open_infiller = lambda _: Infiller(one)  # type: ignore[assignment, misc]
    vars(cli)["can_edit"] = lambda _: True
    vars(cli)["tasks_of"] = lambda _: TASKS
    slow_files(seconds)
    raise SystemExit(main(arguments))
