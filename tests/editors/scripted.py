"""``hone lsp`` as it is, but for its completer, which knows answers: python -m tests.editors.scripted FILE.

The file is JSON: ``answers`` has pairs of what stands before the cursor and the alternatives for what follows,
``delay`` is in seconds.
"""

import json
import logging
import sys
from pathlib import Path

from assistant.types import CompletionRequest
from lsp.server import create_server, serve_stdio
from tests.lsp.peers import Script


def main() -> int:
    script = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))

    def answer(request: CompletionRequest) -> list[str]:
        before = request.text[: request.start]
        for prefix, texts in script["answers"]:
            first = texts[0]
            for done in range(len(first)):
                if before.endswith(prefix + first[:done]):
                    return [text[done:] for text in texts if text.startswith(first[:done])]
        return []

    logging.getLogger("pygls").setLevel(logging.CRITICAL + 1)
    return serve_stdio(create_server(Script(answer, delay=script.get("delay", 0.0))))


if __name__ == "__main__":
    sys.exit(main())
