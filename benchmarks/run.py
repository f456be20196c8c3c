"""What has become slower or faster, or better or worse, since the last committed results?

    make bench                    every benchmark; says first how long that takes
    make bench ONLY="latency"     one, or several
    make bench SAVE=1             and keep the results in benchmarks/results, to be committed

Each benchmark is run as its own program, with few repetitions. Milliseconds are compared in units of a fixed piece of
work measured just before and just after (``infill.machine.kernel_ms``), so that another machine, or a busier one,
can be compared with, roughly; ratios and qualities are compared as they are. What has moved beyond the noise is
printed: beyond both intervals where the benchmark states any, else by more than ``NOISE`` and what the fixed work has
drifted. Ends with one line of JSON.
"""

import argparse
import json
import math
import os
import platform
import re
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console
from rich.table import Table

from infill.machine import kernel_ms

HERE = Path(__file__).parent
RESULTS = HERE / "results"
QUIET = 1.5
"""Results are kept only where the fixed work after a benchmark took less than so many times what it took before."""
NOISE = 0.15
"""Share by which milliseconds differ between two runs of the same program on a shared machine."""
LEAST_MS = 0.5
"""What takes less is not compared."""
_MS = re.compile(r"(?:^|[ _])ms(?:$|[ _,])")
Kind = Literal["time", "ratio", "quality"]


@dataclass(frozen=True)
class Bench:
    options: tuple[str, ...]
    seconds: float
    """About, on two cores of 2021."""
    code: bool = False
    """Asks for held-out code: the corpus where it is built, else the standard library (which the model has seen)."""


BENCHES: dict[str, Bench] = {
    "latency": Bench(("--n", "12", "--repeats", "2", "--threads", "1"), 75, code=True),
    "keystroke": Bench(("--n", "5", "--threads", "1"), 20, code=True),
    "parts": Bench(("--threads", "1"), 40),
    "engines": Bench(("--threads", "1", "hone", "hone bf16", "hone int8", "hone int8 head", "torch"), 60),
    "batching": Bench(("--threads", "1", "--n", "4", "--most", "16"), 30),
    "serving": Bench(("--clients", "1,16", "--flat-out", "1,16", "--seconds", "3.5"), 90),
    "workspace": Bench(("--files", "500"), 20),
    "large_file": Bench((), 15),
    "mend": Bench(("--files", "20"), 20),
    "next_edit": Bench(("--files", "10"), 20),
    "rivals": Bench(("--n", "6", "--starts", "3", "--threads", "1"), 210, code=True),
}


@dataclass(frozen=True)
class Number:
    """One number of a result, with the interval that the benchmark itself states, if any."""

    kind: Kind
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Moved:
    name: str
    before: float
    now: float
    change: float
    """now / before for times (in units of the fixed work) and ratios, now - before for qualities."""


def main(argv: Sequence[str] | None = None) -> int:
    options = parse(argv)
    names = options.only or list(BENCHES)
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(f"{', '.join(names)}: about {math.ceil(sum(BENCHES[name].seconds for name in names) / 60)} minutes")
    report: dict[str, Any] = {}
    for name in names:
        command = [*BENCHES[name].options, *(code_of(options.data) if BENCHES[name].code else ())]
        console.rule(f"{name} {' '.join(command)}")
        saved = measured(name, command)
        if saved is None:
            console.print(f"{name} failed")
            report[name] = None
            continue
        last = latest(options.results, name, saved)
        if last is None:
            console.print("nothing committed to compare with")
            report[name] = []
        else:
            moved = compare(last[1], saved)
            compared = f"{name} against {last[0]}: {len(moved)} of {len(numbers(saved['result']))} numbers moved"
            console.print(table(compared, moved) if moved else compared, soft_wrap=True)
            report[name] = [asdict(one) for one in moved]
        if options.save and max(saved["kernel_ms"]) > QUIET * min(saved["kernel_ms"]):
            console.print("not kept: the machine was not quiet; the fixed work took", *saved["kernel_ms"], "ms")
        elif options.save:
            save(options.results, name, saved)
    print(json.dumps({"benchmark": "run", "moved": report}))
    return int(any(found is None for found in report.values()))


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("only", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHES)} (default: all)")
    parser.add_argument("--save", action="store_true", help="keep the results in benchmarks/results")
    parser.add_argument("--data", type=Path, default=Path("data"), help="a built corpus")
    parser.add_argument("--results", type=Path, default=RESULTS, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if unknown := [name for name in options.only if name not in BENCHES]:
        parser.error(f"there is no benchmark {unknown[0]!r}; there are {', '.join(BENCHES)}")
    return options


def code_of(data: Path) -> list[str]:
    corpus = (data / "valid").is_dir()
    return ["--data", str(data)] if corpus else ["--source", sysconfig.get_path("stdlib")]


def measured(name: str, options: Sequence[str]) -> dict[str, Any] | None:
    """The result of a benchmark with all that is needed to compare it; its table goes to the terminal. None: it
    failed."""
    before = kernel_ms()
    command = [sys.executable, str(HERE / f"{name}.py"), *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, env=os.environ)
    after = kernel_ms()
    shown, _, last = done.stdout.rstrip().rpartition("\n")
    print(shown)
    try:
        result = json.loads(last)
    except json.JSONDecodeError:
        return None
    where = "the corpus" if "--data" in options else "the standard library" if "--source" in options else None
    return {
        "benchmark": name,
        "options": list(BENCHES[name].options),
        "code": where,
        "hardware": hardware(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
        "kernel_ms": [before, after],
        "result": result,
    }


def hardware() -> str:
    """A short name: the processor and how many cores may be used, or the GPU."""
    if torch.cuda.is_available():
        return _slug(torch.cuda.get_device_name())
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    except OSError:
        found = None
    return f"{_slug(found[1] if found else platform.processor() or platform.machine())}-{cores()}-cores"


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def latest(folder: Path, name: str, saved: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """File name and content of the last result of the same benchmark with the same options; of the same hardware where
    there is one."""
    found: list[tuple[bool, str, str, dict[str, Any]]] = []
    for path in folder.glob(f"{name}_*.json"):
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, dict) and "kernel_ms" in content:
            alike = all(content[key] == saved[key] for key in ("options", "code"))
            if alike:
                found.append((content["hardware"] == saved["hardware"], content["date"], path.name, content))
    return max(found, key=lambda one: one[:3])[2:] if found else None


def save(folder: Path, name: str, saved: Mapping[str, Any]) -> None:
    path = folder / f"{name}_{saved['hardware']}_{saved['date']}.json"
    path.write_text(json.dumps(saved, indent=1) + "\n", encoding="utf-8")


def compare(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Moved]:
    """What differs by more than the noise."""
    units = [sum(one["kernel_ms"]) / len(one["kernel_ms"]) for one in (before, now)]
    drift = max(max(one["kernel_ms"]) / min(one["kernel_ms"]) - 1 for one in (before, now))
    old, new = numbers(before["result"]), numbers(now["result"])
    both = ((name, old[name], new[name]) for name in old if name in new)
    return [one for name, was, is_now in both if (one := _moved(name, was, is_now, units, NOISE + drift))]


def _moved(name: str, was: Number, now: Number, units: Sequence[float], noise: float) -> Moved | None:
    if was.kind == "time" and max(was.value, now.value) < LEAST_MS:
        return None
    if was.kind == "time":
        old, new = was.value / units[0], now.value / units[1]
    else:
        old, new = was.value, now.value
    if was.low is not None and was.high is not None and now.low is not None and now.high is not None:
        apart = was.high < now.low or now.high < was.low
    else:
        apart = min(old, new) > 0 and abs(math.log(new / old)) > math.log1p(noise)
    if not apart:
        return None
    return Moved(name, old, new, new - old if was.kind == "quality" else new / old)


def numbers(result: Any, path: str = "") -> dict[str, Number]:
    """The numbers of a result that can be compared, by their path in it."""
    return dict(_numbers(result, path))


def _numbers(node: Any, path: str) -> Iterator[tuple[str, Number]]:
    if isinstance(node, list):
        for index, one in enumerate(node):
            yield from _numbers(one, f"{path}/{_name(one, index)}")
    elif isinstance(node, dict) and {"value", "error"} <= set(node):
        value, error = node["value"], 2 * node["error"]
        yield path, Number("quality", value, value - error, value + error)
    elif isinstance(node, dict):
        for key, one in node.items():
            if isinstance(one, int | float) and not isinstance(one, bool):
                yield from _leaf(node, key, float(one), f"{path}/{key}".lstrip("/"), path)
            else:
                yield from _numbers(one, f"{path}/{key}".lstrip("/"))


def _leaf(node: Mapping[str, Any], key: str, value: float, name: str, path: str) -> Iterator[tuple[str, Number]]:
    if key == "faster":
        yield name, Number("ratio", value, node.get("low"), node.get("high"))
    elif key == "peak_share" or key.endswith("_per_s"):
        yield name, Number("ratio", value)
    elif _MS.search(key) or path.endswith("_ms"):
        yield name, Number("time", value)


def _name(one: Any, index: int) -> str:
    """What tells the rows of a list apart: their texts and whole numbers, else their places."""
    if not isinstance(one, dict):
        return str(index)
    keys = ("name", "engine", "kind", "what", "server", "pace", "batch", "length", "requests", "clients")
    parts = [str(one[key]) for key in keys if key in one]
    return " ".join(parts) or str(index)


def table(title: str, moved: Sequence[Moved]) -> Table:
    result = Table(title=title, title_justify="left")
    for column in ("number", "before", "now", "change"):
        result.add_column(column, justify="left" if column == "number" else "right")
    for one in moved:
        result.add_row(one.name, f"{one.before:.3g}", f"{one.now:.3g}", f"{one.change:+.3f}")
    return result


if __name__ == "__main__":
    sys.exit(main())
