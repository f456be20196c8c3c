"""``hone`` as VS Code starts it, but for its completer, which knows answers.

python -m tests.editors.vscode_server SCRIPT LOG (lsp | doctor | --version)

The script is JSON and read anew for each request: ``answers`` has pairs of what stands before the cursor and the
alternatives for what follows, ``delay`` is in seconds, ``confirm`` makes code actions ask for confirmation, ``tasks``
is what the model can do to blocks, ``edits`` has pairs of what it finds in them and what it makes of that, ``exit``
ends the server at once, with ``hang`` it answers nothing. What the client sends goes into the log, a line of JSON for
each message.
"""

import dataclasses
import json
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

from assistant import __version__


def main() -> int:
    script, log, command = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    if command == "--version":
        sys.stdout.write(f"hone {__version__}\n")
        return 0
    if command == "doctor":
        named = os.environ.get("HONE_MODEL", "one that knows the answers")
        sys.stdout.write(f"ok       model     {named}\n")
        return 0
    assert command == "lsp", command
    return serve(script, log)


def serve(script: Path, log: Path) -> int:
    from assistant.types import Caller, CompletionRequest, CompletionResult, EditRequest, EditResult, TextEdit
    from lsp import actions
    from lsp.actions import Filling
    from lsp.server import create_server, serve_stdio
    from tests.lsp.peers import Script

    def read() -> dict[str, Any]:
        return dict(json.loads(script.read_text(encoding="utf-8")))

    def answer(request: CompletionRequest) -> list[str]:
        before = request.text[: request.start]
        for prefix, texts in read()["answers"]:
            first = texts[0]
            for done in range(len(first)):
                if before.endswith(prefix + first[:done]):
                    return [text[done:] for text in texts if text.startswith(first[:done])]
        return []

    first = read()
    if "exit" in first:
        return int(first["exit"])
    if first.get("hang"):
        sys.stdin.read()
        time.sleep(3600)
    completer = Script(answer)
    if first.get("confirm"):
        actions.ACTIONS[:] = [
            dataclasses.replace(one, needs_confirmation=True) if isinstance(one, Filling) else one
            for one in actions.ACTIONS
        ]
    logging.getLogger("pygls").setLevel(logging.CRITICAL + 1)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(**line: Any) -> None:
        os.write(descriptor, (json.dumps(line | {"pid": os.getpid()}) + "\n").encode())

    async def complete(request: CompletionRequest, caller: Caller) -> CompletionResult:
        note(method="the model", ahead=caller.batch)
        if session.tasks not in (None, await tasks()):  # the daemon of another model has come
            session.found_another()
        completer.delay = read().get("delay", 0.0)
        return await completer(request, caller)

    async def tasks() -> tuple[str, ...]:
        return tuple(read().get("tasks", ()))

    async def edit(request: EditRequest, caller: Caller) -> EditResult:
        del caller
        found = []
        for block, (start, end) in enumerate(request.blocks):
            for old, new in read().get("edits", ()):
                if (at := request.text.find(old, start, end)) >= 0:
                    found.append(TextEdit(at, at + len(old), new, block, gain=1.0))
        return EditResult(tuple(found), ("right",) * len(request.blocks))

    session = create_server(complete, tasks, edit=edit)
    handle = session.protocol.handle_message

    def noted(message: Any) -> None:
        if "method" in message:
            params = message.get("params") or {}
            trigger = (params.get("context") or {}).get("triggerKind")
            cells = [one["languageId"] for one in params.get("cellTextDocuments") or ()]
            note(method=message["method"], trigger=trigger, command=params.get("command"), cells=cells)
        handle(message)

    session.protocol.handle_message = noted  # type: ignore[method-assign]
    return serve_stdio(session)


if __name__ == "__main__":
    sys.exit(main())
