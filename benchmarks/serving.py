"""How does one daemon serve many who type? Latency and throughput, with batching and without, with the cache and
without, and the causal head writing one token at a time.

A server process listens on a real loopback port; clients type real code into files of the standard library, each at
human speed, ask after every pause, and drop what they asked before when they type on. Then the same clients without
pauses, each asking again as soon as it is answered: what the server can do at most. All that varies is the server.
Ends with one line of JSON.
"""

import argparse
import asyncio
import json
import math
import os
import random
import subprocess
import sys
import sysconfig
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from assistant.typing_on import one_line

CLIENTS = (1, 2, 4, 8, 16, 32, 64)
SERVERS: dict[str, dict[str, object]] = {
    "batched": {},
    "one at a time": {"running": 1},
    "no cache": {"cache_bytes": 0},
    "causal head, batched": {"policy": "causal"},
    "causal head, one at a time": {"policy": "causal", "running": 1},
}
KEY_S, SPREAD = 0.18, 0.5
"""Median seconds between two keys, and the spread of its logarithm: about 60 words a minute."""
PAUSE_S = 0.075
"""A request goes out when no key follows for so long."""
BUDGET_MS = 1000.0


@dataclass
class Heard:
    """What the clients of one run saw."""

    clients: int
    server: str
    pace: str
    """"typing" or "flat out"."""
    seconds: float = 0.0
    sent: int = 0
    outcomes: Counter[str] = field(default_factory=Counter[str])
    latencies_ms: list[float] = field(default_factory=list[float])
    """Of answers that somebody still waited for."""
    every_ms: list[float] = field(default_factory=list[float])
    """Of all answers, among them that something newer was asked or that the server is full."""
    connections: int = 0
    """That the clients opened, each as many as it had requests under way."""
    tokens: int = 0
    cpu_s: float = 0.0
    width: float = 0.0
    """Mean requests per forward pass at the end."""

    @property
    def answered(self) -> int:
        """Requests that were served to the end, with a completion or with the reason for none."""
        return self.outcomes["answered"] + self.outcomes["empty"]

    def row(self) -> dict[str, object]:
        per_answer = 1000 * self.cpu_s / max(self.answered, 1)
        return {
            "server": self.server,
            "pace": self.pace,
            "clients": self.clients,
            "sent": self.sent,
            **{name: self.outcomes[name] for name in ("answered", "empty", "superseded", "busy", "lost")},
            "answers_per_s": round(self.answered / self.seconds, 2),
            "tokens_per_s": round(self.tokens / self.seconds, 1),
            **{f"p{q}_ms": round(percentile(self.latencies_ms, q), 1) for q in (50, 90, 99)},
            "p99_of_all_ms": round(percentile(self.every_ms, 99), 1),
            "connections": self.connections,
            "cpu_ms_per_answer": round(per_answer, 1),
            "batch_width": round(self.width, 2),
        }


def percentile(values: Sequence[float], q: float) -> float:
    """Nearest rank; NaN of nothing."""
    return sorted(values)[max(math.ceil(q / 100 * len(values)) - 1, 0)] if values else math.nan


def main(argv: Sequence[str] | None = None) -> int:
    options = parse(argv)
    if options.serve is not None:
        serve(json.loads(options.serve))
        return 0
    console = Console(stderr=True)
    documents = read(options.source)
    found: list[Heard] = []
    for name, settings in SERVERS.items():
        if options.only and name not in options.only:
            continue
        with server({**settings, "threads": options.threads}) as (process, port):
            policy = str(settings.get("policy", ""))
            asyncio.run(width(Connection(port)))  # it answers when the model is open
            asyncio.run(run(port, process, documents, Heard(2, name, "warming up"), 2.0, options.seed, policy))
            runs = [Heard(clients, name, "typing") for clients in options.clients]
            runs += [Heard(clients, name, "flat out") for clients in options.flat_out]
            for heard in runs:
                asyncio.run(run(port, process, documents, heard, options.seconds, options.seed, policy))
                console.print(heard.row())
            found += runs
    Console(width=None if sys.stdout.isatty() else 170).print(table(found))
    if options.plot:
        plot(found, options.plot)
    print(json.dumps({"benchmark": "serving", "threads": options.threads, "rows": [one.row() for one in found]}))
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("--clients", type=numbers, default=CLIENTS, help="clients that type, as 1,8,64")
    parser.add_argument("--flat-out", type=numbers, default=(1, 16, 64), help="clients without pauses")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each run")
    parser.add_argument("--only", action="append", choices=list(SERVERS), help="some of the servers")
    parser.add_argument("--threads", type=int, help="of the model (default: the server's)")
    parser.add_argument("--source", type=Path, default=Path(sysconfig.get_path("stdlib")), help="a folder of Python")
    parser.add_argument("--plot", type=Path, help="write a picture")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split(","))


# The server, a process of its own.


def serve(settings: dict[str, object]) -> None:
    """Listens on a free port, says which on stdout, and serves until it is killed."""
    import socket

    import uvicorn

    from assistant.config import Settings
    from assistant.server import ServerOptions, create_app, uvicorn_config
    from assistant.service import open_infiller
    from assistant.worker import Limits, Worker

    policy, threads = settings.pop("policy", None), settings.pop("threads", None)
    assert policy is None or isinstance(policy, str)
    chosen = Settings(threads=threads if isinstance(threads, int) else None)
    worker = Worker(lambda: open_infiller(chosen), Limits(**settings))  # type: ignore[arg-type]
    worker.start()
    listening = socket.create_server(("127.0.0.1", 0))
    options = ServerOptions(version="benchmark", admin_token="benchmark")  # noqa: S106 (lives for a minute)
    port = int(listening.getsockname()[1])
    config = uvicorn_config(create_app(worker, options), host="127.0.0.1", port=port, uds=None, options=options)
    print(port, flush=True)
    uvicorn.Server(config).run(sockets=[listening])


@contextmanager
def server(settings: dict[str, object]) -> Iterator[tuple[psutil.Process, int]]:
    command = [sys.executable, __file__, "--serve", json.dumps(settings)]
    env = {"OMP_WAIT_POLICY": "passive", **os.environ}  # as `hone` does
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as child:
        try:
            assert child.stdout is not None
            yield psutil.Process(child.pid), int(child.stdout.readline())
        finally:
            child.kill()


# The clients.


def read(folder: Path) -> list[str]:
    """Files to type into: of a usual size, in a fixed order."""
    texts = [path.read_text("utf-8", errors="ignore") for path in sorted(folder.glob("*.py"))]
    return [text for text in texts if 8_000 < len(text) < 80_000]


async def run(
    port: int, process: psutil.Process, documents: Sequence[str], heard: Heard, seconds: float, seed: int, policy: str
) -> None:
    """All clients of one run, side by side."""
    before, begun = cpu(process), time.monotonic()
    until = begun + seconds
    typists = [
        Typist(port, f"client {i}", documents[i % len(documents)], random.Random(seed + i), heard, policy)
        for i in range(heard.clients)
    ]
    await asyncio.gather(*(typist.type(until) for typist in typists))
    heard.seconds = time.monotonic() - begun
    heard.cpu_s = cpu(process) - before
    heard.width = await width(next((one.idle[-1] for one in typists if one.idle), Connection(port)))


def cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


class Typist:
    """Types the lines of a document again, from a random place on, and asks for the rest of them."""

    def __init__(self, port: int, name: str, text: str, rng: random.Random, heard: Heard, policy: str) -> None:
        self.port, self.name, self.text, self.rng, self.heard = port, name, text, rng, heard
        self.policy = policy
        self.idle: list[Connection] = []
        self.asked: set[asyncio.Task[None]] = set()
        starts = [i + 1 for i, character in enumerate(text) if character == "\n" and i > 2000]
        self.at = rng.choice(starts[: -len(starts) // 4])

    async def type(self, until: float) -> None:
        typing = self.heard.pace != "flat out"
        await asyncio.sleep(self.rng.uniform(0, KEY_S) if typing else 0)
        while time.monotonic() < until:
            end = self.text.find("\n", self.at)
            for place in range(self.at, end if end > 0 else len(self.text)):
                if time.monotonic() >= until:
                    break
                if not self.text[place].isspace() or self.rng.random() < 0.2:
                    await self.key(place + 1, end, typing=typing)
            self.at = end + 1 if 0 < end < len(self.text) - 2000 else 2000
        if self.asked:
            await asyncio.wait(self.asked, timeout=30)
        self.heard.outcomes["lost"] += sum(not task.done() for task in self.asked)

    async def key(self, place: int, end: int, *, typing: bool) -> None:
        wait = self.rng.lognormvariate(math.log(KEY_S), SPREAD)
        if not typing:
            await self.ask(place, end)
            return
        if wait > PAUSE_S:
            await asyncio.sleep(PAUSE_S)
            task = asyncio.create_task(self.ask(place, end))
            self.asked.add(task)
            task.add_done_callback(self.asked.discard)
            wait -= PAUSE_S
        await asyncio.sleep(wait)

    async def ask(self, place: int, end: int) -> None:
        """One request: the line's rest is not there yet."""
        body: dict[str, object] = {
            "text": self.text[:place] + self.text[end:],
            "start": place,
            "filename": "module.py",
            "document": "module.py",
            "budget_ms": BUDGET_MS,
            "one_line": one_line(self.text, place),
        }
        if self.policy:
            body["policy"] = self.policy
        self.heard.sent += 1
        begun = time.perf_counter()
        if not self.idle:
            self.idle.append(Connection(self.port))
            self.heard.connections += 1
        connection = self.idle.pop()
        try:
            status, answer = await connection.post("/v1/hone/complete", body, self.name)
        except (OSError, asyncio.IncompleteReadError):
            self.heard.outcomes["lost"] += 1
            return
        self.idle.append(connection)
        outcome = outcome_of(status, answer)
        self.heard.outcomes[outcome] += 1
        took_ms = 1000 * (time.perf_counter() - begun)
        self.heard.every_ms.append(took_ms)
        if outcome in ("answered", "empty"):
            self.heard.latencies_ms.append(took_ms)
            self.heard.tokens += sum(completion["tokens"] for completion in answer["completions"])


def outcome_of(status: int, answer: Any) -> str:
    if status != 200:
        return "busy" if status == 503 else "lost"
    if answer["completions"]:
        return "answered"
    return "superseded" if answer["reason"] == "superseded" else "empty"


class Connection:
    """HTTP/1.1 with keep-alive, as little of it as a load needs: a client library would take the server's processor."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, body: dict[str, object], client: str) -> tuple[int, Any]:
        return await self.ask("POST", path, json.dumps(body).encode(), f"X-Hone-Client: {client}\r\n")

    async def ask(self, method: str, path: str, body: bytes = b"", headers: str = "") -> tuple[int, Any]:
        if self.streams is None:
            self.streams = await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self.streams
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{headers}"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(answer.split("content-length:", 1)[1].split("\r\n", 1)[0])
        said = json.loads(await reader.readexactly(length))
        if "\r\nconnection: close\r\n" in answer:
            writer.close()
            self.streams = None
        return int(answer.split(" ", 2)[1]), said


async def width(connection: Connection) -> float:
    """Requests in a pass, on average. By a connection that was used before: a full server takes no other."""
    _, status = await connection.ask("GET", "/v1/hone/status", headers="Authorization: Bearer benchmark\r\n")
    return float(status["load"]["batch_width"])


# What was found.


def table(found: Sequence[Heard]) -> Table:
    shown = Table(title="one daemon, many who type; milliseconds from request to answer")
    columns = list(found[0].row()) if found else []
    for name in columns:
        shown.add_column(name.replace("_", " "), justify="left" if name in ("server", "pace") else "right")
    for one in found:
        shown.add_row(*(str(value) for value in one.row().values()))
    return shown


def plot(found: Sequence[Heard], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for name in dict.fromkeys(one.server for one in found):
        typing = [one for one in found if one.server == name and one.pace == "typing"]
        flat = [one for one in found if one.server == name and one.pace == "flat out"]
        clients = [one.clients for one in typing]
        (line,) = left.plot(clients, [percentile(one.latencies_ms, 50) for one in typing], marker="o", label=name)
        left.plot(clients, [percentile(one.latencies_ms, 99) for one in typing], ls=":", color=line.get_color())
        rates = [one.outcomes["answered"] / one.seconds for one in flat]
        right.plot([one.clients for one in flat], rates, marker="o", color=line.get_color(), label=name)
    left.set(xlabel="clients typing", ylabel="ms to the answer (solid: median, dotted: p99)", yscale="log")
    right.set(xlabel="clients without pauses", ylabel="completions per second", ylim=(0, None))
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.grid(alpha=0.3)
    left.legend(fontsize=8)
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    sys.exit(main())
