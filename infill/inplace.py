"""Holes filled in place, by published models: prefix | masks | suffix is one row, and every pass sees all of it.

The way of a request is the engine's, with other drafts. Such a model has no head for lengths and no judge, so lengths
are searched by how sure its first step is of a hole of that length (CAL, "first-step confidence"), one batch for all of
them; models that were trained to expand and delete find the length themselves (DreamOn, arXiv 2602.01326). Models whose
blocks see only what is before them get the text behind the hole in their prompt, and answer block after block.

Ids and text; the network is a ``model.published.load.Published``.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch

from infill.canvas import Canvas
from infill.engine import Request
from infill.expand import Lengths, expand
from infill.judge import FILE, Calibration, Draft
from infill.passes import denoise
from infill.policy import JUDGED
from infill.prompted import write
from infill.published import PUBLISHED
from infill.sampler import Plan, refine
from infill.types import PUBLISHED_POLICY, Candidate
from model.published.denoiser import Around, Published
from model.tokenizer import Tokenizer

BEHIND = 1 / 3
"""Share of the context that is for the text behind the hole, where both sides are long."""
SPARE = 8
"""Places that are left free besides those of the longest hole: what was dropped, and what a repair adds."""
CHARACTERS = 12
"""Characters of a long text that are looked at for each token that there is room for."""
FIRST = 4
"""Masks with which a model that finds lengths itself begins, as DreamOn is published."""

CALIBRATION = Calibration(alpha=1.0, beta=0.0, gamma=0.0, copies=0, others=0, lengths=10, steps=1)
"""A draft's score is the mean log confidence with which it was written. ``lengths``: how many are tried."""


def in_place(folder: Path) -> Calibration:
    """What was measured for the model in ``folder``, where something was; else ``CALIBRATION``.

    Raises:
        ValueError: the file is not what ``Calibration.save`` wrote.
    """
    return Calibration.load(folder) if (folder / FILE).is_file() else CALIBRATION


TASK = (
    "A piece of the following {language} code is missing. It stood where the mark <GAP> is. Answer with the missing "
    "piece alone, in a code block.\n\n```\n{before}<GAP>{behind}\n```"
)


@dataclass(frozen=True)
class Cut:
    """Where the context ends and the hole begins."""

    before: tuple[int, ...]
    dropped: bytes = b""
    """What stands between there and the cursor, and is written anew."""
    first: torch.Tensor | None = None
    """[n]: the ids with which it can be; None: nothing was dropped."""


@dataclass
class InPlace(Request):
    """One request to a published model."""

    def __post_init__(self) -> None:
        super().__post_init__()
        assert isinstance(self.denoiser, Published)
        self.published: Published = self.denoiser
        self.glue: list[int] = []
        if self.plan.policy == "causal" or self.plan.policy in JUDGED:
            title = self.published.family.title
            raise ValueError(f"policy {self.plan.policy!r} needs a causal head, which {title} has not: choose another")

    @property
    def prompted(self) -> bool:
        """Whether the text behind the hole stands in the prompt, since no place sees what follows it."""
        return self.published.block > 0 or self.published.family.uniform

    def _plan(self) -> Plan:
        c, o = self.infiller.calibration, self.options
        policy = c.policy if o.policy in (None, PUBLISHED_POLICY) else o.policy
        banned = self.infiller.breaks if self.situation.one_line else None
        return Plan(o.steps or c.steps, policy, temperature=o.temperature, top_p=o.top_p, banned=banned)

    async def answer(self) -> tuple[Candidate, ...]:
        return await self.gated(self.cleaned(await self.drafts()))

    async def drafts(self) -> list[Draft]:
        self.pace.check()
        with self.timed("context"):
            self.surround()
        if self.prompted:
            found = await self.blocks()
        elif self.published.family.expands and self.options.hole_length is None:
            found = await self.expanded()
        else:
            found = await self.searched()
        return sorted(found, key=self.score, reverse=True)

    def release(self) -> None:
        self.state = None

    # What stands around the hole.

    def surround(self) -> None:
        """Ids before and behind the hole. Each side is cut at its own far end, so that the hole never moves."""
        frame = len(self.published.begin) + len(self.published.close)
        room = self.published.positions - min(self.longest, self.published.max_hole) - SPARE - frame
        before, behind = sides(self.tokenizer, self.prompt.prefix, self.prompt.suffix, room)
        begin = self.published.begin
        if not begin and not before and self.published.family.shift:
            begin = (self.tokenizer.eot,)  # what is said of a token stands at the one before it
        self.behind = (*behind, *self.published.close)
        self.possible = self.cuts([*begin, *before])
        self.at = self.possible[-1]
        self.context_tokens = len(begin) + len(before) + len(self.behind)

    def cuts(self, before: Sequence[int]) -> list["Cut"]:
        """Where the context may end, so that the first token of the hole is not one that a tokenizer would never have
        cut there (token healing, as in guidance): before its last token, and before the word of several tokens in which
        the cursor stands. As it is, where the length of the hole is given."""
        plain = [Cut(tuple(before))]
        if self.options.hole_length is not None or self.prompted or not before:
            return plain
        found: list[Cut] = []
        word = self.infiller.words.last(self.prompt.prefix, before)
        if word is not None and len(word[0]) > 1:
            found.append(self.cut(before, len(word[0]), word[1]))
        last = self.tokenizer.token_bytes(before[-1])
        if last and _is_text(last) and (longer := self.infiller.words.longer(last)):
            found.append(self.cut(before, 1, [before[-1], *longer]))
        return found or plain

    def cut(self, before: Sequence[int], count: int, first: Sequence[int]) -> "Cut":
        dropped = self.tokenizer.decode_bytes(before[-count:])
        return Cut(tuple(before[:-count]), dropped, torch.tensor(first, dtype=torch.int64))

    def around(self, *, keep: bool = False, ends: bool = False) -> Around:
        """A state for passes; ``keep``: for one that goes on with the same rows."""
        able = keep and self.published.keeps
        return Around(self.at.before, self.behind, ends, self.at.first, able)

    # Drafts.

    async def searched(self) -> list[Draft]:
        """Several lengths side by side; those of which the first step is surest are denoised to the end."""
        with self.timed("draft"):
            lengths = self.tried()
            canvas = Canvas.of_lengths(lengths, [], self.tokenizer, self.published.device)
            guesses = [(await self.first_step(canvas, cut), cut) for cut in self.possible]
            guess, self.at = max(guesses, key=lambda found: max(self.surety(found[0])))
            self.pool += self.as_drafts(guess)
            best = self.surest_rows(guess)
            canvas = canvas.take(best)
        if self.pace.tight():
            return self.as_drafts(guess.take(best))
        self.state = self.around(keep=True)
        return self.as_drafts(await self.refined(canvas, "draft"))

    def tried(self) -> list[int]:
        """Lengths from 1 to the limit, the longer the further apart; what was dropped is one token more."""
        if self.options.hole_length is not None:
            return [self.options.hole_length]
        most = min(self.limit + 1, self.published.max_hole)
        count = min(self.options.lengths or self.infiller.calibration.lengths, most)
        if count == 1:
            return [most]
        return sorted({round(most ** (i / (count - 1))) for i in range(count)})

    async def first_step(self, canvas: Canvas, cut: Cut) -> Canvas:
        """Every place as the first step would write it."""
        self.at = cut
        logits = await denoise(self.around(), canvas.ids, canvas.open)
        if self.plan.banned is not None:
            logits.index_fill_(-1, self.plan.banned, -torch.inf)
        self.pace.steps += 1
        self.pace.passes += 1
        best = logits.log_softmax(-1).max(-1)
        tokens = canvas.ids.masked_scatter(canvas.open, best.indices)
        sure = torch.zeros(canvas.ids.shape, device=logits.device).masked_scatter(canvas.open, best.values.exp())
        return canvas.commit(canvas.open, tokens, sure)

    def surest_rows(self, guess: Canvas) -> list[int]:
        """The rows that are worth going on with: two, or as many as alternatives are wanted."""
        scores = self.surety(guess)
        return sorted(range(len(scores)), key=lambda row: -scores[row])[: max(2, self.options.n)]

    def surety(self, guess: Canvas) -> list[float]:
        """How sure the first step is of each row, beyond what it always is of one as long."""
        sizes, slope = guess.hole.sum(1).tolist(), self.infiller.calibration.length_slope
        sure = guess.mean_log_confidence().tolist()
        return [one - slope * math.log(size) for one, size in zip(sure, sizes, strict=True)]

    async def expanded(self) -> list[Draft]:
        """The model makes the hole longer or shorter while it fills it; who wants alternatives gets them from holes
        that begin shorter and longer."""
        controls, device = self.published.controls, self.published.device
        assert controls.expand is not None
        assert controls.delete is not None
        most = min(self.limit, self.published.max_hole)
        starts = sorted({min(most, FIRST << i) for i in range(self.options.n)})
        plan = PUBLISHED[self.published.family.sampler].plan(most, self.plan.banned)
        if self.options.policy != PUBLISHED_POLICY:
            plan = replace(plan, temperature=self.options.temperature, top_p=self.options.top_p)
        report = self._reporter(self.on_step, "draft") if self.on_step is not None else None
        with self.timed("draft"):
            lengths = Lengths(controls.expand, controls.delete, longest=most)
            rows = [[self.tokenizer.mask] * start for start in starts]
            state = self.around(ends=True)
            canvas = await expand(
                self.tokenizer, state, rows, [], plan, lengths, device, self.generator, self.pace, report
            )
        return self.as_drafts(canvas)

    async def blocks(self) -> list[Draft]:
        """Block after block behind a prompt, until one of them ends the answer."""
        samples = self.options.n if self.plan.temperature > 0 else 1
        return [await self.one_by_one() for _ in range(samples)]

    async def one_by_one(self) -> Draft:
        if self.marks is None:
            self.plan = replace(self.plan, banned=None)  # a code block has several lines; the filters cut the answer
        way = PUBLISHED.get(self.published.family.sampler) if self.options.policy == PUBLISHED_POLICY else None
        part = 0 if way is None else way.together(self.published.block)
        with self.timed("draft"):
            found = await write(
                self.published, self.asked(), self.limit, self.plan_for, self.generator, self.pace, block=part
            )
        return self.as_draft(found.ids, found.confidence, ended=found.ended)

    def asked(self) -> list[int]:
        """The prompt of a model that sees only what is before: the text behind the hole stands in it."""
        family, encode = self.published.family, self.published.tokenizer.encode_marked
        if self.marks is not None:
            before, behind, middle = self.marks
            return [before, *self.at.before, behind, *self.behind, middle]
        if family.chat is not None:
            text = TASK.format(
                language=self.language or "",
                before=self.tokenizer.decode(self.at.before),
                behind=self.tokenizer.decode(self.behind),
            )
            return [*encode(family.chat.before), *self.tokenizer.encode(text), *encode(family.chat.after)]
        return [*self.at.before]

    @cached_property
    def marks(self) -> list[int] | None:
        """The tokens around both sides in a prompt, where the family and this tokenizer have them."""
        ids = [self.published.tokenizer.id_of(name) for name in self.published.family.fim or ()]
        found = [token for token in ids if token is not None]
        return found if len(found) == 3 else None

    async def refined(self, canvas: Canvas, phase: str) -> Canvas:
        report = self._reporter(self.on_step, phase) if self.on_step is not None else None
        plan = self.plan_for(int(canvas.hole.sum(1).max()))
        return await refine(self.tokenizer, self.state, canvas, plan, self.generator, self.pace, report)

    def plan_for(self, places: int) -> Plan:
        """As many steps as there are places, unless the request says how many; a policy may need fewer. With the policy
        "published", what its authors do."""
        o = self.options
        if o.policy == PUBLISHED_POLICY:
            way = PUBLISHED[self.published.family.sampler]
            plan = way.plan(places, self.plan.banned, own=self.published.block)
            return replace(plan, steps=o.steps or min(plan.steps, places))
        return self.plan if o.steps is not None else replace(self.plan, steps=places)

    async def mended(self, rows: Sequence[list[int]]) -> list[Draft]:
        room = self.published.positions - len(self.at.before) - len(self.behind)
        rows = [row for row in rows if len(row) <= room]
        if self.prompted or not rows:
            return []
        with self.timed("repair"):
            self.state = self.around()
            canvas = Canvas.of_rows(rows, [], self.tokenizer, self.published.device)
            return [replace(draft, origin="repair") for draft in self.as_drafts(await self.refined(canvas, "repair"))]

    def as_drafts(self, canvas: Canvas) -> list[Draft]:
        sure = canvas.confidence.tolist()
        return [self.as_draft(row, each[: len(row)]) for row, each in zip(canvas.rows(), sure, strict=True)]

    def as_draft(self, row: Sequence[int], sure: Sequence[float], *, ended: bool = True) -> Draft:
        logs = tuple(math.log(max(one, 1e-9)) for one in sure)
        mean = sum(logs) / max(len(logs), 1)
        return Draft(tuple(row), 0, "canvas", ended, 0.0, mean, sum(logs) + mean * ended, logs, judged=False)

    # Text.

    def text(self, draft: Draft) -> str | None:
        text = super().text(draft)
        if text is None or not self.prompted:
            return self.without_dropped(text)
        return unfenced(text) if self.marks is None else text

    def without_dropped(self, text: str | None) -> str | None:
        word = self.at.dropped.decode("utf-8", errors="replace")
        return text[len(word) :] if text is not None and text.startswith(word) else None

    def decoded(self, ids: Sequence[int]) -> str:
        return super().decoded(ids)[len(self.at.dropped.decode("utf-8", errors="replace")) :]


def unfenced(text: str) -> str:
    """What stands in the first code block of an answer, or all of it where there is none."""
    lines = text.split("\n")
    fences = [index for index, line in enumerate(lines) if line.startswith("```")]
    if not fences:
        return text
    end = fences[1] if len(fences) > 1 else len(lines)
    return "\n".join(lines[fences[0] + 1 : end])


def _is_text(raw: bytes) -> bool:
    """Whether these are whole characters: a part of one cannot be told from the answer's."""
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def sides(tokenizer: Tokenizer, prefix: str, suffix: str, room: int) -> tuple[list[int], list[int]]:
    """Ids of the text before and behind a hole, ``room`` together at most, each cut at its own far end."""
    prefix, suffix = _ends(prefix, suffix, room)
    before, behind = tokenizer.encode(prefix), tokenizer.encode(suffix)
    least = int(room * BEHIND)
    behind = behind[: max(least, room - len(before))]
    return before[max(len(before) - (room - len(behind)), 0) :], behind


def _ends(prefix: str, suffix: str, room: int) -> tuple[str, str]:
    """As much of both sides as can be of use, without line breaks of Windows."""
    most = room * CHARACTERS
    before, behind = prefix.removeprefix("\ufeff")[-most:], suffix[:most]
    return before.replace("\r\n", "\n"), behind.replace("\r\n", "\n")
