"""Real daemons whose model knows the answer, written down where ``hone lsp`` looks for them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from assistant import runtime
from tests.serve.conftest import ADMIN, OPTIONS, Served, listening, serving
from tests.serve.processes import private, this_process, write


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """No settings, no files and no daemon of whoever runs the tests."""
    with private(tmp_path) as folder:
        yield folder


class Daemon:
    """A server of ours on a real port, which can be ended and replaced."""

    def __init__(self, *known: Any, **more: Any) -> None:
        self._known, self._more = known, more
        self._stack = ExitStack()
        self.served: Served | None = None

    def start(self) -> Served:
        served = self.served = self._stack.enter_context(serving(*self._known, **self._more))
        url = self._stack.enter_context(listening(served.app, OPTIONS))
        self.endpoint = write(this_process(int(url.rpartition(":")[2]), token=ADMIN))
        return served

    def end(self) -> None:
        runtime.runtime_file().unlink(missing_ok=True)
        self._stack.close()
        self._stack = ExitStack()


StartDaemon = Callable[..., Daemon]


@pytest.fixture
def start_daemon(home: Path) -> Iterator[StartDaemon]:
    """start_daemon(prefix, answer, **of the denoiser): it runs when this returns."""
    with ExitStack() as stack:

        def start(*known: Any, **more: Any) -> Daemon:
            daemon = Daemon(*known, **more)
            stack.callback(daemon.end)
            daemon.start()
            return daemon

        yield start
