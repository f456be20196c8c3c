"""Edits by free words, from published instruct checkpoints: the block goes into a prompt, a rewritten one comes out.

The answer's first code block is what the block becomes; what stays the same is no edit, so cursors elsewhere stay. The
syntax gate decides as it does for every edit: a text that parses worse than before is not returned.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from textwrap import dedent, indent

import torch

from infill.edit import Change, Edit
from infill.inplace import unfenced
from infill.minimal import minimal
from infill.prompted import write
from infill.published import PUBLISHED
from infill.sampler import Cancelled, Late, Pace, Plan
from infill.syntax import worse
from infill.types import ShouldStop
from model.layout import line_end, line_start
from model.published.denoiser import Published

ASKED = (
    "{instruction}\n\nRewrite this {language} code accordingly. Answer with the rewritten code alone, in one code "
    "block.\n\n```{language}\n{block}\n```"
)
GROWTH = 1.5
"""How much longer than the block an answer may be, ..."""
ROOM = 48
"""... and tokens besides, for what stands around it."""


@dataclass(frozen=True)
class InstructPrompt:
    """What is to be done to the whole lines of ``text[start:end]``."""

    text: str
    start: int
    end: int
    instruction: str
    language: str | None = None


class Instructor:
    """Edits blocks by instruction with one published model; for one thread."""

    def __init__(self, published: Published, clock: Callable[[], float] = time.perf_counter) -> None:
        self.published, self.clock = published, clock

    @property
    def able(self) -> bool:
        """Whether it can be spoken to."""
        return self.published.family.chat is not None

    async def begin(
        self,
        prompt: InstructPrompt,
        *,
        budget_ms: float | None = None,
        seed: int = 0,
        should_stop: ShouldStop | None = None,
    ) -> Edit:
        """The edit of one block, a forward pass at a time; to be driven in inference mode.

        Raises:
            ValueError: the model follows no instructions.
        """
        if not self.able:
            raise ValueError(f"{self.published.family.title} follows no instructions")
        pace = Pace(budget_ms, should_stop, self.clock)
        start, end = line_start(prompt.text, prompt.start), line_end(prompt.text, max(prompt.start, prompt.end - 1))
        block = prompt.text[start:end]
        tokens = len(self.published.tokenizer.encode(block))
        changes, sure, reason = tuple[Change, ...](), 0.0, "cancelled"
        try:
            new, sure, reason = await self._rewritten(prompt, block, tokens, pace, seed)
        except Cancelled:
            new = None
        except Late:
            new, reason = None, "budget"
        if new is not None and worse(prompt.text, prompt.text[:start] + new + prompt.text[end:], prompt.language):
            new, reason = None, "syntax"
        if new is not None:
            changes = tuple(Change(start + a, start + b, text, sure) for a, b, text in minimal(block, new))
        timing = {"total": pace.elapsed_ms()}
        return Edit(changes, pace.passes, tokens, None if changes else reason, timing_ms=timing)

    async def _rewritten(
        self, prompt: InstructPrompt, block: str, tokens: int, pace: Pace, seed: int
    ) -> tuple[str | None, float, str]:
        """What the block becomes, the mean log confidence of it, and why it is None, or did not change."""
        published = self.published
        asked = self._asked(prompt, block)
        limit = int(GROWTH * tokens) + ROOM
        if len(asked) + limit > published.positions:
            return None, 0.0, "long"
        way = PUBLISHED.get(published.family.sampler)

        def plan_for(places: int) -> Plan:
            assert way is not None, "a model with masks has a published way of filling them"
            plan = way.plan(places, own=published.block)
            return replace(plan, steps=min(plan.steps, places), block=None)

        generator = torch.Generator(published.device).manual_seed(seed)
        together = 0 if way is None else way.together(published.block)
        found = await write(published, asked, limit, plan_for, generator, pace, block=together)
        if not found.ended:
            return None, 0.0, "budget" if pace.tight() else "long"
        answer = unfenced(published.tokenizer.decode(found.ids))
        sure = torch.tensor(found.confidence or [1.0]).clamp_min(1e-9).log().mean().item()
        if not answer.strip():
            return None, sure, "empty"
        return _as_before(answer, block), sure, "right"

    def _asked(self, prompt: InstructPrompt, block: str) -> list[int]:
        chat, tokenizer = self.published.family.chat, self.published.tokenizer
        assert chat is not None
        text = ASKED.format(
            instruction=prompt.instruction.strip(), language=prompt.language or "", block=dedent(block).strip("\n")
        )
        return [*tokenizer.encode_marked(chat.before), *tokenizer.encode(text), *tokenizer.encode_marked(chat.after)]


def _as_before(answer: str, block: str) -> str:
    """The answer with the block's indentation, line ends and blank lines around it."""
    lines = [line for line in block.splitlines() if line.strip()]
    first = min((line[: len(line) - len(line.lstrip())] for line in lines), key=len, default="")
    body = block.strip("\r\n")
    begin = len(block) - len(block.lstrip("\r\n"))
    text = indent(dedent(answer).strip("\n"), first)
    if "\r\n" in block:
        text = text.replace("\n", "\r\n")
    return block[:begin] + text + block[begin + len(body) :]
