"""Does a workspace of 5,000 files stay out of the way? How long its index takes, how large it is, what a request costs.

A workspace is generated in a temporary folder. Measured: the first index (as the language server makes it, by a process
of its own that gives way to others), a sweep with nothing to do, one changed file, the size on disk, the memory of
that process and of `hone lsp`, the time of `gather` for one place with the sources that are on by themselves and with
all (what a request finds in the memory of its line costs nothing), and how long `hone lsp` takes to answer while the
index is being made, for an editor that wants all sources: where none needs an index, none is made.

    python benchmarks/workspace.py --files 5000
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from assistant.types import SOURCES
from assistant.workspace.gate import Gate
from assistant.workspace.index import Reader, index_file, sweep, update
from assistant.workspace.snippets import DEFAULT_SOURCES, Known, Opened, gather

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
WORDS = """order price basket customer article stock count total owner address payment invoice report parser token
    buffer window cursor state event handler client server request answer cache index query table column value
""".split()  # noqa: SIM905


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--places", type=int, default=400)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HONE_CACHE_DIR"] = f"{folder}/cache"
        root = Path(folder) / "workspace"
        size = generate(root, options.files)
        print(f"{options.files} files, {size / 2**20:.1f} MiB of text, {psutil.cpu_count()} cores")
        found: dict[str, Any] = {}
        found |= told(measure(root, options.places))
        found |= told(asyncio.run(served(root)))
    print(json.dumps({"files": options.files, "mib": round(size / 2**20, 1)} | found))


def told(found: dict[str, Any]) -> dict[str, Any]:
    for name, value in found.items():
        print(f"{name:48} {value}", flush=True)
    return found


def generate(root: Path, files: int, seed: int = 0) -> int:
    """Packages of 25 modules that import and call each other; how many bytes there are."""
    rng = random.Random(seed)
    (root / ".git").mkdir(parents=True)
    (root / ".gitignore").write_text("*.log\nbuild/\n")
    total = 0
    for number in range(files):
        package = root / "src" / f"package_{number // 25}"
        package.mkdir(parents=True, exist_ok=True)
        text = module(rng, number, files)
        (package / f"module_{number}.py").write_text(text)
        total += len(text)
    return total


def module(rng: random.Random, number: int, files: int) -> str:
    others = [rng.randrange(files) for _ in range(3)]
    lines = [f"from package_{other // 25}.module_{other} import make_{other}, Store{other}" for other in others]
    lines += ["", "", f"class Store{number}:", f'    """What {rng.choice(WORDS)} needs."""', ""]
    for _ in range(6):
        name, first, second = (rng.choice(WORDS) for _ in range(3))
        lines += [
            f"    def {name}_{first}(self, {second}: int, limit: int = {rng.randrange(100)}) -> int:",
            f"        {name} = self.{first}.{second}({second} + limit)",
            f"        for {first} in range({name}):",
            f"            {second} += make_{rng.choice(others)}({first}, {name})",
            f"        return {second}",
            "",
        ]
    for _ in range(4):
        name, first, second = (rng.choice(WORDS) for _ in range(3))
        lines += [
            "",
            f"def {name}_{second}_{number}({first}, {second}):",
            f"    store = Store{rng.choice(others)}({first})",
            f"    return store.{name}_{first}({second}, limit={rng.randrange(100)})",
            "",
        ]
    lines += ["", f"def make_{number}(value, count):", "    return value * count", ""]
    return "\n".join(lines)


def measure(root: Path, places: int) -> dict[str, Any]:
    seconds, memory = first_index(root)
    gate = Gate(root)
    again = timed(lambda: sweep(gate))
    path = next(gate.walk()).path
    (root / path).write_text((root / path).read_text() + "\n\ndef added(): pass\n")
    one = timed(lambda: update(gate, [path]))
    reader = Reader(index_file(root))
    files, definitions = reader.size()
    times = gathering(root, gate, reader, places, DEFAULT_SOURCES)
    all_times = gathering(root, gate, reader, places, SOURCES)
    return {
        "first index, s": round(seconds, 1),
        "files a second": round(files / seconds),
        "memory of the process that makes it, MiB": round(memory / 2**20),
        "a sweep with nothing to do, s": round(again, 2),
        "one changed file, ms": round(1000 * one, 1),
        "definitions": definitions,
        "size on disk, MiB": round(index_file(root).stat().st_size / 2**20, 1),
        "gather, ms, half of them below": round(statistics.median(times), 2),
        "gather, ms, 99 of 100 below": round(sorted(times)[int(0.99 * len(times))], 2),
        "gather from all sources, ms, half below": round(statistics.median(all_times), 2),
        "gather from all sources, ms, 99 of 100 below": round(sorted(all_times)[int(0.99 * len(all_times))], 2),
    }


def first_index(root: Path) -> tuple[float, int]:
    """Seconds, and the most memory that was seen."""
    started = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, "-m", "assistant.workspace", "sweep", str(root)], stdout=subprocess.DEVNULL, cwd=ROOT
    )
    process, most = psutil.Process(child.pid), 0
    while child.poll() is None:
        try:
            most = max(most, process.memory_info().rss)
        except psutil.Error:
            break
        time.sleep(0.05)
    child.wait()
    return time.perf_counter() - started, most


def timed(work: Any) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def gathering(root: Path, gate: Gate, reader: Reader, places: int, sources: tuple[str, ...]) -> list[float]:
    """Milliseconds of this thread for each of so many places, with 8 documents open, in the order of somebody who goes
    down a file: a few lines here, then another file.
    """
    rng = random.Random(1)
    paths = [found.path for found in gate.walk()]
    opened = tuple(Opened(path, (root / path).read_text()) for path in rng.sample(paths, 8))
    times: list[float] = []
    while len(times) < places:
        path = rng.choice(paths)
        text = (root / path).read_text()
        at = rng.randrange(len(text) // 2)
        for _ in range(10):
            at = text.find("\n", at) + 1 or len(text)
            known = Known(path, text, at, opened=opened, sources=sources)
            started = time.thread_time()
            gather(known, reader, gate.path)
            times.append(1000 * (time.thread_time() - started))
    return times[:places]


async def served(root: Path) -> dict[str, Any]:
    """`hone lsp` with this workspace, from nothing: how it answers while the index is made, and its memory."""
    from tests.lsp.peers import MODERN, over_stdio

    index_file(root).unlink()
    env = {"HONE_DAEMON": "never", "HONE_RUNTIME_DIR": f"{root.parent}/run"}
    async with over_stdio(**env) as (editor, child):
        started = time.perf_counter()
        await editor.request(
            "initialize", processId=None, rootUri=root.as_uri(), capabilities=MODERN,
            initializationOptions={"context": list(SOURCES)},
        )  # fmt: skip
        ready = time.perf_counter() - started
        editor.notify("initialized")
        path = next(Gate(root).walk()).path
        uri = (root / path).as_uri()
        editor.open((root / path).read_text(), uri)
        waits = []
        reader, deadline = Reader(index_file(root)), time.monotonic() + 600
        line = 0
        while time.monotonic() < deadline:
            started = time.perf_counter()
            await editor.request(
                "textDocument/codeAction", textDocument={"uri": uri}, context={"diagnostics": []},
                range={"start": {"line": line, "character": 0}, "end": {"line": line, "character": 0}},
            )  # fmt: skip
            waits.append(1000 * (time.perf_counter() - started))
            await editor.inline(line, 0, uri)
            line = (line + 1) % 40
            await asyncio.sleep(0.05)
            reader.refresh()
            if reader.is_whole():
                break
        memory = psutil.Process(child.pid).memory_info().rss
        reader.close()
        return {
            "hone lsp: initialize, ms": round(1000 * ready),
            "hone lsp: memory with the index, MiB": round(memory / 2**20),
            "hone lsp: an answer meanwhile, ms, half below": round(statistics.median(waits), 1),
            "hone lsp: an answer meanwhile, ms, 99 of 100": round(sorted(waits)[int(0.99 * len(waits))], 1),
        }


if __name__ == "__main__":
    main()
