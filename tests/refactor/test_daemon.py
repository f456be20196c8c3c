"""`hone refactor` beside a daemon: it is asked over HTTP, several requests side by side, behind everybody else."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from assistant import runtime, service
from assistant.bounds import ServerOptions
from assistant.metrics import Metrics
from assistant.server import create_app
from assistant.worker import Limits, Worker
from infill.engine import Infiller
from tests.mender import Mender
from tests.refactor.conftest import FIXES, Hone, commit
from tests.serve.conftest import ADMIN, listening
from tests.serve.processes import this_process

FUNCTION = "def f{0}(a, b):\n    return a + b.bb\n\n\n"


@pytest.fixture
def daemon() -> Iterator[Mender]:
    """One that refuses what does not fit into a short queue."""
    mender = Mender(dict(FIXES))
    worker = Worker(lambda: Infiller(mender), Limits(waiting=20))
    worker.start()
    options = ServerOptions(version="1", admin_token=ADMIN)
    app = create_app(worker, options, metrics=Metrics(), on_shutdown=lambda: None)
    with listening(app, options) as url:
        runtime.write(this_process(int(url.rpartition(":")[2]), token=ADMIN, ready=True))
        yield mender
    worker.close()


def project(repo: Path) -> None:
    for index in range(6):
        (repo / f"m{index}.py").write_text("".join(FUNCTION.format(n) for n in range(5)))
    (repo / "long.py").write_text("".join(FUNCTION.format(n) for n in range(20)))
    commit(repo)


def test_the_daemon_is_asked(repo: Path, hone: Hone, mender: Mender, daemon: Mender) -> None:
    project(repo)
    done = hone("refactor", "fix", "--write", "--jobs", "4")
    assert done.code == 0, done
    assert "50 blocks changed in 7 files" in done.err
    assert all("bb" not in path.read_text() for path in repo.glob("*.py"))
    assert mender.seen == [], "the model in this process was not asked"
    assert max(daemon.batches) > 1


def test_never_is_never(
    repo: Path, hone: Hone, mender: Mender, daemon: Mender, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in range(8):
        (repo / f"m{index}.py").write_text(FUNCTION.format(index))
    assert hone("refactor", "fix", "--check", "--daemon", "never").code == 1
    assert daemon.seen == []
    assert max(mender.batches) > 1, "files share passes"
    batches = mender.batches
    one = Mender(dict(FIXES))
    monkeypatch.setattr(service, "open_infiller", lambda _: Infiller(one))
    (repo / "m0.py").write_text("x = 1\n" + (repo / "m0.py").read_text())
    assert hone("refactor", "fix", "--check", "--daemon", "never", "--batch", "1").code == 1
    assert len(one.batches) < len(batches), "what did not change comes from the journal"


def test_a_daemon_that_ends_is_told_of_and_gone_on_with(repo: Path, hone: Hone, daemon: Mender) -> None:
    project(repo)
    run, left = daemon.run, [100]

    def fail(calls: object) -> object:
        left[0] -= 1
        if left[0] < 0:
            raise RuntimeError("out of memory")
        return run(calls)  # type: ignore[arg-type]

    daemon.run = fail  # type: ignore[method-assign, assignment]
    done = hone("refactor", "fix", "--write", "--jobs", "1")
    assert done.code == 2, done
    assert all("bb" in path.read_text() for path in repo.glob("*.py"))
    daemon.run = run  # type: ignore[method-assign]
    done = hone("refactor", "--resume")
    assert done.code == 0, done
    assert "from the journal" in done.err
    assert all("bb" not in path.read_text() for path in repo.glob("*.py"))
