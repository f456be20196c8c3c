"""``hone model bench``: how long a model takes for the demo's holes on this machine, and what it computes for them."""

import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

from assistant.config import Settings
from assistant.demo import MARKER, SHOWN, Shown
from assistant.service import Assistant, open_infiller
from assistant.source import read_source, take_marker
from assistant.types import CompletionRequest, CompletionResult

PATIENCE_S = 20.0
"""After which no further round begins."""


@dataclass(frozen=True)
class Row:
    hole: str
    keeps: bool | None
    """Whether keys and values of what is around the hole were kept between passes; None where there is no choice."""
    ms: float
    """The median of all rounds."""
    passes: int
    tokens: int
    """Of the answer."""
    tokens_per_s: float
    text: str | None
    """None: no answer."""
    reason: str


def run(
    settings: Settings, rounds: int, *, as_json: bool, say: Callable[[str], None], note: Callable[[str], None]
) -> int:
    """Returns how many holes were answered. ``say`` takes the results, ``note`` what is being measured.

    Raises:
        HoneError: the model cannot be opened.
    """
    infiller = open_infiller(settings)
    assistant = Assistant(lambda: infiller)
    ways: tuple[bool | None, ...] = (True, False) if getattr(infiller.denoiser, "can_keep", False) else (None,)
    # The first answer also pays for what is made once; the least that can be asked for is enough.
    assistant.complete(replace(_request(SHOWN[0]), steps=1, lengths=1, max_tokens=1))
    rows = []
    for item in SHOWN:
        note(f"{item.title}: {item.path.name}")
        for row in _rows(assistant, infiller.denoiser, item, ways, rounds):
            rows.append(row)
            say(json.dumps(asdict(row), ensure_ascii=False) if as_json else _line(row))
    alike, pairs = agreement(rows)
    if as_json:
        say(json.dumps({"same_text": alike, "of": pairs, "device": str(infiller.denoiser.device)}))
    elif pairs:
        say(f"the same text with keys and values kept and without: {alike} of {pairs}")
    return sum(row.text is not None for row in rows)


def _rows(assistant: Assistant, denoiser: Any, item: Shown, ways: Sequence[bool | None], rounds: int) -> Iterator[Row]:
    """One row for each way; the ways take turns, so that what else the machine does meets all of them alike. What takes
    long gets fewer rounds."""
    found: list[list[CompletionResult]] = [[] for _ in ways]
    started = time.perf_counter()
    for _ in range(rounds):
        if found[-1] and time.perf_counter() - started > PATIENCE_S:
            break
        for results, keeps in zip(found, ways, strict=True):
            if keeps is not None:
                denoiser.keeps = keeps
            results.append(assistant.complete(_request(item)))
    for results, keeps in zip(found, ways, strict=True):
        last = results[-1]
        ms = statistics.median(result.timing_ms["total"] for result in results)
        best = last.completions[0] if last.completions else None
        tokens = len(denoiser.tokenizer.encode(best.text)) if best else 0
        yield Row(
            item.title,
            keeps,
            round(ms, 1),
            last.passes,
            tokens,
            round(1000 * tokens / ms, 2) if ms else 0.0,
            best.text if best else None,
            last.reason or "",
        )


def _request(item: Shown) -> CompletionRequest:
    text, start = take_marker(read_source(str(item.path)).text, MARKER)
    return CompletionRequest(text, start, filename=item.path.name, one_line=item.one_line, max_tokens=item.max_tokens)


def agreement(rows: Sequence[Row]) -> tuple[int, int]:
    """How many holes got the same text both ways, or none both times, of how many that were asked for both ways."""
    pairs = [
        (kept.text, anew.text)
        for kept, anew in pairwise(rows)
        if kept.keeps is True and anew.keeps is False and kept.hole == anew.hole
    ]
    return sum(kept == anew for kept, anew in pairs), len(pairs)


def _line(row: Row) -> str:
    way = {True: "kept", False: "anew", None: ""}[row.keeps]
    answer = repr(row.text) if row.text is not None else f"no answer: {row.reason}"
    return (
        f"{row.hole:24} {way:5} {row.ms:10.0f} ms {row.passes:4} passes {row.tokens:4} tokens "
        f"{row.tokens_per_s:8.2f} tokens/s  {answer}"
    )
