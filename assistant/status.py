"""What a daemon says of itself, put into words: for `hone serve status` and `hone doctor`.

Nothing here raises because a daemon is in a bad way: that is what it tells of.
"""

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import psutil

from assistant import __version__, runtime
from assistant.client import Client
from assistant.errors import DaemonError
from assistant.runtime import Endpoint

State = Literal["none", "opening", "running", "silent", "stale", "untrusted"]

REASONS: Mapping[str, tuple[str, str]] = {
    "syntax": (
        "every draft would have added a syntax error, and none could be mended",
        "look for an error near the cursor; a longer --budget-ms leaves more time to mend",
    ),
    "confidence": (
        "the model was too unsure of every draft",
        "more code above the cursor helps: names, imports, the beginning of the statement",
    ),
    "empty": (
        "the likeliest thing at that place is nothing",
        "nothing to do where the code is complete; begin the statement where it is not",
    ),
    "budget": (
        "the time was over before there was a draft that could be shown",
        "raise budget_ms; look at `hone serve status` for requests that wait",
    ),
    "cancelled": ("whoever asked went away", "nothing to do"),
    "superseded": ("a newer request for the same document took its place", "nothing to do"),
    "failed": ("the engine failed, which is a mistake of ours", "see `hone serve logs`"),
}
"""Why there was no answer: what it means, and what to do about it."""


@dataclass(frozen=True)
class Report:
    state: State
    detail: str = ""
    """What is wrong, as a sentence with the fix; "" if nothing is."""
    version: str | None = None
    pid: int | None = None
    address: str | None = None
    uptime_s: float | None = None
    model: str | None = None
    device: str | None = None
    dtype: str | None = None
    loaded: bool | None = None
    edits: bool | None = None
    """Whether blocks can be edited."""
    tasks: tuple[str, ...] = ()
    """What a model can do to them; rules do some without."""
    edit_model: str | None = None
    """Another model, which does that."""
    edit_model_loaded: bool | None = None
    instruct_model: str | None = None
    """The one of them that follows instructions in free words."""
    memory_bytes: int | None = None
    requests: int | None = None
    """For completions."""
    edited: int | None = None
    """Blocks that were asked to be edited."""
    cache_hit_rate: float | None = None
    """Share of the contexts' tokens that were in the cache."""
    waiting: int | None = None
    running: int | None = None
    batch_width: float | None = None
    empty: Mapping[str, int] | None = None
    """The last empty answers, by reason."""

    def as_object(self) -> dict[str, Any]:
        return asdict(self)

    def as_text(self) -> str:
        return "\n".join(_lines(self))


def observe() -> Report:
    """What the daemon that runs is doing; or which state it is in otherwise."""
    seen = runtime.look()
    if seen.state != "running" or seen.endpoint is None:
        return Report("none" if seen.state == "running" else seen.state, seen.detail)
    endpoint = seen.endpoint
    known = Report(
        "opening",
        version=endpoint.version,
        pid=endpoint.pid,
        address=endpoint.address,
        memory_bytes=_memory(endpoint.pid),
        detail=_other_version(endpoint),
    )
    if not endpoint.ready:
        return known
    try:
        with Client(endpoint) as client:
            return _told(known, client.status(), counters(client.metrics()))
    except DaemonError as error:
        return Report(**vars(known) | {"state": "silent", "detail": str(error)})


def explain(reasons: Mapping[str, int]) -> Iterator[tuple[str, int, str, str]]:
    """(reason, how often, what it means, what to do), the commonest first."""
    for reason, count in Counter(reasons).most_common():
        meaning, fix = REASONS.get(reason, ("a reason that this version does not know", "see `hone serve logs`"))
        yield reason, count, meaning, fix


def _told(known: Report, status: Mapping[str, Any], numbers: Mapping[str, float]) -> Report:
    model, load = status.get("model") or {}, status["load"]
    asked = numbers.get("hone_context_tokens_total", 0.0)
    return Report(
        **vars(known)
        | {
            "state": "running",
            "detail": status.get("model_error") or known.detail,
            "version": status["version"],
            "uptime_s": status["uptime_s"],
            "model": model.get("name"),
            "device": model.get("device"),
            "dtype": model.get("dtype"),
            "loaded": load["loaded"],
            "edits": model.get("edits"),
            "tasks": tuple(model.get("tasks") or ()),
            "edit_model": model.get("edit_model"),
            "edit_model_loaded": load.get("edit_model_loaded"),
            "instruct_model": model.get("instruct_model"),
            "requests": int(numbers.get("hone_completions_total", 0)),
            "edited": int(numbers.get("hone_edits_total", 0)),
            "cache_hit_rate": numbers.get("hone_context_tokens_cached_total", 0.0) / asked if asked else None,
            "waiting": load["waiting"],
            "running": load["running"],
            "batch_width": load["batch_width"],
            "empty": status["empty"],
        }
    )


def counters(text: str) -> dict[str, float]:
    """Each number of Prometheus's text format, summed over its labels."""
    found: dict[str, float] = {}
    for line in text.splitlines():
        name, _, value = line.rpartition(" ")
        if name and not line.startswith("#"):
            with contextlib.suppress(ValueError):
                key = name.partition("{")[0]
                found[key] = found.get(key, 0.0) + float(value)
    return found


def _other_version(endpoint: Endpoint) -> str:
    if endpoint.version == __version__:
        return ""
    return f"it has version {endpoint.version}, this is {__version__}: `hone serve stop`, and start it again"


def _memory(pid: int) -> int | None:
    try:
        return psutil.Process(pid).memory_info().rss
    except psutil.Error:
        return None


def _lines(report: Report) -> Iterator[str]:
    if report.pid is None:
        yield report.detail or "no daemon runs; `hone serve` starts one"
        return
    states = {"opening": "opens its model", "silent": "does not answer"}
    yield f"the daemon {states.get(report.state, 'runs')}, version {report.version}, process {report.pid}"
    if report.detail:
        yield f"  but       {report.detail}"
    yield f"  address   {report.address}"
    if report.uptime_s is not None:
        yield f"  up for    {duration(report.uptime_s)}"
    if report.model is not None:
        loaded = "" if report.loaded else ", not in memory now"
        yield f"  model     {report.model} on {report.device} in {report.dtype}{loaded}"
    if report.edit_model is not None:
        loaded = "" if report.edit_model_loaded else ", not in memory now"
        yield f"  edits     by {report.edit_model}{loaded}: {', '.join(report.tasks) or 'none'}"
    elif report.edits is not None:
        by_none = "by none: this model was not trained to edit"
        yield f"  edits     {'by the same model: ' + ', '.join(report.tasks) if report.edits else by_none}"
    if report.instruct_model is not None:
        yield f"  words     are followed by {report.instruct_model}"
    if report.memory_bytes is not None:
        yield f"  memory    {report.memory_bytes / 2**20:.0f} MiB"
    if report.requests is not None:
        empty = sum((report.empty or {}).values())
        edited = f", and {report.edited} blocks to edit" if report.edited else ""
        yield f"  requests  {report.requests}, {empty} of the last ones without an answer{edited}"
        rate = (
            "nothing yet" if report.cache_hit_rate is None else f"{report.cache_hit_rate:.0%} of the context's tokens"
        )
        yield f"  cached    {rate}"
        yield f"  load      {report.running} running, {report.waiting} waiting, {report.batch_width:.1f} per pass"


def duration(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = ((days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s"))
    shown = [f"{count} {unit}" for count, unit in parts if count]
    return " ".join(shown[:2]) or "0 s"
