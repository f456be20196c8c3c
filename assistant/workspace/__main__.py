"""``python -m assistant.workspace``: the process that writes an index, so that nobody who must answer has to.

    sweep ROOT     brings the index up to date with the workspace
    update ROOT    looks again at the files that stdin names: one JSON list of paths below ROOT
    prune          removes the indexes of workspaces that are gone

It gives way to everything else, tells its progress as JSON lines on stdout, and ends when nobody reads them any more.
"""

import argparse
import contextlib
import json
import os
import sqlite3
import sys
import time
from pathlib import Path

from assistant.workspace.gate import Gate
from assistant.workspace.index import Progress, forget, index_file, prune, sweep, update

DONE, FAILED = 0, 2
REST_S = 0.005
"""After each batch."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m assistant.workspace", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("sweep", "update"):
        command = commands.add_parser(name)
        command.add_argument("root", type=Path)
        command.add_argument("--exclude", action="append", default=[])
        command.add_argument("--index", type=Path)
    commands.add_parser("prune")
    options = parser.parse_args(arguments)
    os.umask(0o077)
    with contextlib.suppress(OSError, AttributeError):
        os.nice(10)
    try:
        if options.command == "prune":
            _tell(removed=prune())
            return DONE
        return _write(options)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (OSError, sqlite3.Error) as error:  # TimeoutError, as filelock's, is an OSError
        _tell(error=f"{type(error).__name__}: {error}")
        return FAILED


def _write(options: argparse.Namespace) -> int:
    file: Path = options.index or index_file(options.root)
    if not options.root.is_dir():
        _tell(gone=forget(options.root))
        return DONE
    gate = Gate(options.root, tuple(options.exclude))
    if options.command == "update":
        _tell(changed=update(gate, json.load(sys.stdin), file))
        return DONE
    prune()
    swept = sweep(gate, file, on_progress=_progress, pause_s=REST_S)
    if swept is None:
        _tell(busy=True)
    else:
        _tell(
            files=swept.files,
            definitions=swept.definitions,
            changed=swept.changed,
            removed=swept.removed,
            seconds=round(swept.seconds, 2),
            time=int(time.time()),
        )
    return DONE


def _progress(progress: Progress) -> None:
    _tell(done=progress.done, total=progress.total, changed=progress.changed)


def _tell(**what: object) -> None:
    print(json.dumps(what), flush=True)  # noqa: T201 (its output)


if __name__ == "__main__":
    sys.exit(main())
