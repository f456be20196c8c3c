"""Does a file of 100,000 lines stay out of the way? What a key costs the language server and the gate, without a model.

Somebody types in the middle of the file. Measured in processor time, in one process: `didChange` with one character,
and the request for a suggestion, as the language server handles both; how many characters of the file go to the
daemon; and the syntax gate over what it is sent: once for a request, and for each answer. Ends with one line of JSON.

    python benchmarks/large_file.py --lines 100000
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from infill.syntax import SyntaxGate

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
BLOCK = """def total_{0}(items, limit):
    result = 0
    for item in items:
        result += item.price * {0}
    return min(result, limit)


"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--keys", type=int, default=70)
    options = parser.parse_args()
    per_block = BLOCK.count("\n")
    blocks = [BLOCK.format(number) for number in range(options.lines // per_block)]
    print(f"{options.lines} lines, {sum(map(len, blocks)) / 1e6:.1f} MB")
    found = asyncio.run(typed(blocks, len(blocks) // 2 * per_block - 1, options.keys))
    print(json.dumps({"lines": options.lines, "keys": options.keys} | found))


async def typed(blocks: list[str], row: int, keys: int) -> dict[str, Any]:
    """``row`` is blank, and a statement is typed there, a character a key."""
    from tests.lsp.peers import Script, in_memory

    script = Script(lambda _: [" + item.count"])
    editor, _ = in_memory(script)
    await editor.start(options={"context": "off", "debounceMs": 0, "ahead": False})
    editor.open("".join(blocks))
    await asyncio.sleep(3)  # where the file can be cut is found by a process of its own
    changes: list[float] = []
    requests: list[float] = []
    for column, character in enumerate(("average = total_1(items, 10)" + " + total_2(items, 20)" * 9)[:keys]):
        changes.append(took(lambda at=column, sign=character: editor.type(sign, row, at, at + 2)))  # type: ignore[misc]
        started = time.process_time()
        await editor.inline(row, column + 1)
        requests.append(1000 * (time.process_time() - started))
    sent = script.seen()[-1]
    gates: list[float] = []
    answers: list[float] = []
    for _ in range(5):
        made: list[SyntaxGate] = []
        prefix, suffix = sent.text[: sent.start], sent.text[sent.end :]
        gates.append(took(lambda: made.append(SyntaxGate(prefix, suffix, "python"))))  # noqa: B023
        answers += [took(lambda: made[0].accepts(" / count(items)")) for _ in range(3)]  # noqa: B023
    rows = {"didChange": changes, "request": requests, "gate for a request": gates, "gate for an answer": answers}
    for name, times in rows.items():
        print(f"{name:24} {statistics.median(times):7.2f} ms ({min(times):.2f} to {max(times):.2f})")
    print(f"{'sent to the daemon':24} {len(sent.text):7,} characters")
    return {f"{name}, ms": round(statistics.median(times), 2) for name, times in rows.items()} | {
        "characters": len(sent.text)
    }


def took(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return 1000 * (time.process_time() - started)


if __name__ == "__main__":
    main()
