"""A very large text is edited in parts: a stretch around some of its blocks, cut where ``assistant.cuts`` says.

The model and the gate look at no more than that, as in editors (``lsp.window``): parsing all of the text for every
block takes seconds. A part parses by itself where the text does.
"""

import asyncio
import json
import logging
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import assistant
from assistant.types import EditRequest, EditResult

SMALL = 200_000
"""Characters; a text up to this size is looked at whole."""
AROUND = 50_000
"""Characters that are looked at on either side, at least: many times what a model takes in."""

log = logging.getLogger("hone.parts")


@dataclass(frozen=True)
class Part:
    request: EditRequest
    start: int = 0
    """Where its text begins in the whole one."""
    first: int = 0
    """Which of the whole request's blocks is its first one."""


def parted(request: EditRequest, cuts: Sequence[int]) -> list[Part]:
    """Requests for one after the other of the blocks, or for several that are near each other. ``cuts``: offsets, in
    order."""
    size, blocks = len(request.text), request.blocks
    found: list[Part] = []
    first = 0
    while first < len(blocks):
        last = first
        while last + 1 < len(blocks) and blocks[last + 1][1] - blocks[first][0] <= AROUND:
            last += 1
        below = bisect_right(cuts, blocks[first][0] - AROUND) - 1
        above = bisect_left(cuts, blocks[last][1] + AROUND)
        start = cuts[below] if below >= 0 else 0
        end = cuts[above] if above < len(cuts) else size
        inside = tuple((low - start, high - start) for low, high in blocks[first : last + 1])
        found.append(Part(replace(request, text=request.text[start:end], blocks=inside), start, first))
        first = last + 1
    return found


def joined(parts: Sequence[Part], results: Sequence[EditResult]) -> EditResult:
    """The results of all parts as that of the whole request."""
    return EditResult(
        tuple(
            replace(one, start=one.start + part.start, end=one.end + part.start, block=one.block + part.first)
            for part, result in zip(parts, results, strict=True)
            for one in result.edits
        ),
        tuple(reason for result in results for reason in result.reasons),
        sum(result.passes for result in results),
        sum(result.tokens for result in results),
        sum(result.ms for result in results),
    )


async def found_apart(text: str, language: str | None, filename: str | None) -> list[int]:
    """``assistant.cuts`` in another process, since a parser lets nothing else run meanwhile; [] where that fails."""
    command = [sys.executable, "-m", "assistant.cuts", language or "", filename or ""]
    pipe = asyncio.subprocess.PIPE
    try:
        child = await asyncio.create_subprocess_exec(
            *command,
            cwd=Path(assistant.__file__).parents[1],
            stdin=pipe,
            stdout=pipe,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            said, _ = await child.communicate(text.encode("utf-8", "surrogatepass"))
        finally:
            if child.returncode is None:
                child.kill()
        return [int(one) for one in json.loads(said)]
    except (OSError, ValueError) as error:
        log.warning("a large text could not be looked through: %s", type(error).__name__)
        return []
