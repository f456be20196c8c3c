"""The engine: text with a hole in, text without one out.

One request is one straight line: context -> lengths -> canvases -> judge -> clean-up -> syntax gate -> candidates, and
repair where nothing passes the gate. Knows text, tokens and time; the network is behind ``infill.types.Denoiser``.
"""

import math
import re
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import groupby
from typing import Any, NamedTuple, Protocol

import torch

from infill import borrowing, copying, places, recall
from infill.canvas import Canvas
from infill.chance import Place, Rivals, chance, signs
from infill.contexts import LIMIT_BYTES, Contexts
from infill.edit import EditCalibration
from infill.judge import Calibration, Draft, foreseen, judge, surest
from infill.languages import language_of
from infill.lengths import beyond_line, likeliest, within
from infill.lookahead import Lookahead
from infill.passes import drive, encode
from infill.postprocess import Situation, one_line_mode, postprocess
from infill.recall import Recall
from infill.repair import blamed, doubted, starts, variants
from infill.sampler import Cancelled, Decoded, Late, Narrow, Pace, Plan, decode, refine
from infill.syntax import SyntaxGate
from infill.types import (
    PUBLISHED_POLICY,
    Candidate,
    Denoiser,
    Infill,
    InfillOptions,
    OnStep,
    Prompt,
    ShouldStop,
    Step,
    Verdict,
)
from model.calls import common
from model.layout import Layout, encode_context
from model.tokenizer import Tokenizer

REPAIRED = 3
"""Drafts that a repair round works on, the best first."""
TRIMMED = 3
"""Drafts whose longest valid beginning is looked for."""
TOKENS_PER_STEP = 32
"""Places of the longest hole for each step where the request does not say how many steps."""
TRUSTED = 8
"""Characters of a match elsewhere in the file that count more than the likeliest word."""
_WORD = re.compile(r" ?[A-Za-z_]+\Z")
_SPACE = re.compile(r"\S \Z")
_MARKS = re.compile(r" ?[^\sA-Za-z_0-9]+")
JOINED = 0.1
"""A mark at the cursor is written anew where it is so likely part of a longer token, beside what it is by itself."""
FIRST = 3
"""Rows that no canvas wrote and the judge looks at at once; the others where they might still win."""
DOUBTED = 0.6
"""The canvas's probability of a token below which the draft is tried without it, too."""
LIKELY = 0.01
"""Geometric mean probability below which a sample is noise."""
SAMPLES = 32
"""Most rows of a batch when alternatives are sampled."""


class Gate(Protocol):
    """What the engine asks of ``infill.syntax.SyntaxGate``."""

    @property
    def checked(self) -> bool: ...
    @property
    def can_be_clean(self) -> bool: ...
    def accepts(self, middle: str, *, clean: bool = False) -> bool: ...
    def errors(self, middle: str, *, clean: bool = False) -> list[tuple[int, int]]: ...
    def longest_valid(self, middle: str, *, clean: bool = False) -> str: ...
    def closed(self, middle: str) -> str: ...


class Infiller:
    """Fills holes with one network. Not for use by several threads at once: one thread owns the model.

    ``fill`` serves one request; ``begin`` gives a request as a coroutine, for ``infill.batcher`` to serve many.
    """

    def __init__(
        self,
        denoiser: Denoiser[Any],
        *,
        calibration: Calibration | None = None,
        gate: Callable[[str, str, str | None], Gate] = SyntaxGate,
        clock: Callable[[], float] = time.perf_counter,
        cache_bytes: int = LIMIT_BYTES,
        edits: EditCalibration | None = None,
        requests: "type[Request] | None" = None,
    ) -> None:
        """``gate`` is replaced only to measure what the syntax gate is worth; ``clock`` gives seconds. ``requests`` is
        the way of a request, where it is not the one here (``infill.inplace``)."""
        self.requests = requests or Request
        self.denoiser = denoiser
        self.calibration = calibration or Calibration()
        self.edits = edits or EditCalibration()
        self.gate = gate
        self.clock = clock
        self.contexts: Contexts[Any] = Contexts(cache_bytes)
        self.breaks = _line_breaks(denoiser.tokenizer).to(denoiser.device)
        self.words = Words(denoiser.tokenizer, denoiser.device)
        self.by_line = recall.by_line(denoiser.tokenizer.encode)

    def fill(
        self,
        prompt: Prompt,
        options: InfillOptions = InfillOptions(),  # noqa: B008 (frozen)
        *,
        should_stop: ShouldStop | None = None,
        on_step: OnStep | None = None,
    ) -> Infill:
        """The best candidates for the hole, best first; every one passes the syntax gate.

        ``should_stop`` is asked between steps. When ``options.budget_ms`` is spent, the draft so far is finished at
        once, checked and returned: an answer, late by one forward pass at most.
        """
        with torch.inference_mode():
            return drive(self.begin(prompt, options, should_stop=should_stop, on_step=on_step), self.denoiser)

    async def begin(
        self,
        prompt: Prompt,
        options: InfillOptions = InfillOptions(),  # noqa: B008 (frozen)
        *,
        should_stop: ShouldStop | None = None,
        on_step: OnStep | None = None,
    ) -> Infill:
        """``fill``, a forward pass at a time; to be driven in inference mode. ``Cancelled`` and ``Late`` may be thrown
        into it."""
        pace = Pace(options.budget_ms, should_stop, self.clock)
        request = self.requests(self, prompt, options, pace, on_step)
        try:
            candidates = await request.answer()
        except Cancelled:
            candidates, request.reason = (), "cancelled"
        except Late:
            candidates = request.at_once()
        finally:
            request.release()
        timing = request.timing | {"total": pace.elapsed_ms()}
        reason = None if candidates else request.reason
        return Infill(candidates, pace.steps, pace.passes, timing, reason, request.context_tokens, request.known_tokens)

    def drafts(self, prompt: Prompt, options: InfillOptions = InfillOptions()) -> list[tuple[Draft, str]]:  # noqa: B008
        """Every draft with its cleaned text, best first, before the gate: what a calibration is fitted on. Different
        drafts of the same text are all there, since a calibration may do without some kinds of them."""
        request = self.requests(self, prompt, options, Pace(options.budget_ms, None, self.clock), None)
        with torch.inference_mode():
            try:
                return list(request.texts(drive(request.drafts(), self.denoiser)))
            finally:
                request.release()


class Given(NamedTuple):
    """A draft that no canvas wrote: a copy, or nothing behind the word."""

    ids: list[int]
    evidence: float = 0.0
    borrowed: bool = False
    """From another file."""


@dataclass
class Request:
    """One call of ``fill``: its settings, the context it stands on, and what it has cost."""

    infiller: Infiller
    prompt: Prompt
    options: InfillOptions
    pace: Pace
    on_step: OnStep | None
    timing: dict[str, float] = field(default_factory=dict[str, float])
    reason: str = "empty"
    clean: bool = True
    """Whether an answer must leave no error at all, or only add none."""
    table: torch.Tensor | None = None
    """The length distribution of this hole; None where the length was given."""
    head: str = ""
    """How the answer begins: the end of the word in which the cursor stands, where that is certain."""
    stub: str = ""
    """What of the text before the cursor the context leaves out, and every draft begins with: a tokenizer joins a space
    or a mark with what follows, and behind one that stands alone the model has seldom seen anything."""
    kept: list[int] = field(default_factory=list[int])
    """Blocks that are written already, when the answer is longer than a canvas."""
    state: Any = None
    """The encoded context; this request's own until it is released."""
    context_tokens: int = 0
    known_tokens: int = 0
    recall: Recall | None = None
    """What the file's own text says beside the causal head."""
    base: list[int] = field(default_factory=list[int])
    """The context that the causal head writes behind."""
    asked_causal: bool = False
    seen: list[torch.Tensor] = field(default_factory=list[torch.Tensor])
    """What the causal head saw while it wrote (``infill.sampler.Decoded``)."""
    left_out: list[Given] = field(default_factory=list[Given])
    """Rows that could not win against what it wrote; looked at should that not pass the gate, ..."""
    bar: float = -math.inf
    """... and nothing that does have its score."""
    pool: list[Draft] = field(default_factory=list[Draft])
    """Every complete draft so far: what there is to answer with when no further pass will come."""

    def __post_init__(self) -> None:
        self.denoiser = self.infiller.denoiser
        self.tokenizer = self.denoiser.tokenizer
        self.generator = torch.Generator(self.denoiser.device).manual_seed(self.options.seed)
        prefix, suffix = self.prompt.prefix, self.prompt.suffix
        self.language = self.prompt.language or language_of(self.prompt.filename)
        chosen = self.options.one_line
        one_line = one_line_mode(prefix, suffix) if chosen is None else chosen
        self.situation = Situation(prefix, suffix, self.language, one_line)
        self.place = Place(prefix, one_line)
        self.rivals = Rivals()
        self.limit = self.options.hole_length or self.options.max_tokens
        self.longest = max(self.limit, self.options.max_tokens)
        self.plan = self._plan()

    def _plan(self) -> Plan:
        c, o = self.infiller.calibration, self.options
        banned = self.infiller.breaks if self.situation.one_line else None
        policy = o.policy or c.policy
        if policy == PUBLISHED_POLICY:
            raise ValueError("policy 'published' is how the authors of a published model sample it: choose another")
        return Plan(o.steps or c.steps, policy, temperature=o.temperature, top_p=o.top_p, banned=banned)

    @cached_property
    def gate(self) -> Gate:
        with self.timed("gate"):
            return self.infiller.gate(self.prompt.prefix, self.prompt.suffix, self.language)

    # The way of the request.

    async def answer(self) -> tuple[Candidate, ...]:
        """Best is an answer that leaves no error at all. Where none can (the buffer is broken elsewhere), one that adds
        none will do. What the causal head writes is looked at last where it was not asked before: it takes longer, and
        is more often valid."""
        found = await self.gated(self.cleaned(await self.drafts()))
        if found or self.asked_causal or self.kept or self.options.hole_length is not None or self.pace.tight():
            return found
        return await self.gated(self.cleaned(await self.causal()), repair=False)

    async def gated(self, ranked: Sequence[tuple[Draft, str]], *, repair: bool = True) -> tuple[Candidate, ...]:
        """Drafts that pass the gate, or one that does once it is closed, repaired or trimmed."""
        if not ranked:
            return ()
        self.reason = "syntax"
        found = self.passing(ranked)
        if self.left_out and not self.pace.tight() and (not found or found[0].score < self.bar):
            given, self.left_out = self.left_out, []
            ends = self.ends(self.glue == [self.tokenizer.eol])
            late = self.cleaned(await self.judged(None, [], ends, "canvas", given))
            ranked = sorted([*ranked, *late], key=lambda pair: self.score(pair[0]), reverse=True)
            found = self.passing(ranked)
        if found:
            return found + self.more(ranked, found)
        with self.timed("gate"):
            self.clean = self.gate.can_be_clean
        found = self.close(ranked) if self.clean else self.passing(ranked)
        return found or (await self.repair(ranked) if repair else ()) or self.trim(ranked)

    def at_once(self) -> tuple[Candidate, ...]:
        """The best of the drafts so far that can be had without another pass."""
        self.reason = "budget"
        ranked = self.cleaned(sorted(self.pool, key=self.score, reverse=True))
        if not ranked:
            return ()
        if found := self.passing(ranked):
            return found
        self.clean = self.gate.can_be_clean
        return (() if self.clean else self.passing(ranked)) or self.close(ranked) or self.trim(ranked)

    async def drafts(self) -> list[Draft]:
        """Finished drafts, best first."""
        self.pace.check()
        if self.options.hole_length is None and _SPACE.search(self.prompt.prefix):
            self.stub = " "
        with self.timed("context"):
            await self.lay_out("")
            if self.options.hole_length is None:
                self.recall = self.recalled()
                await self.heal()
        found = await (self.causal() if self.plan.policy == "causal" else self.canvases())
        return sorted(found, key=self.score, reverse=True)

    def score(self, draft: Draft) -> float:
        return draft.score(self.infiller.calibration)

    def cleaned(self, drafts: Sequence[Draft]) -> list[tuple[Draft, str]]:
        """Drafts with their texts after the filters; empty ones and repeated ones are left out."""
        found: dict[str, Draft] = {}
        for draft, text in self.texts(drafts):
            found.setdefault(text, draft)
            self.rivals.add(draft, text, self.score(draft))
        return [(draft, text) for text, draft in found.items()]

    def texts(self, drafts: Sequence[Draft]) -> Iterator[tuple[Draft, str]]:
        least = max(self.infiller.calibration.min_confidence, LIKELY if self.plan.temperature > 0 else 0.0)
        for draft in drafts:
            text = None if draft.origin != "copy" and self.stammers(draft.ids) else self.text(draft)
            if text is None or not (text := postprocess(self.stopped(text), self.situation)):
                continue
            if draft.confidence < least:
                self.reason = "confidence"
            else:
                yield draft, text

    def passing(self, ranked: Sequence[tuple[Draft, str]]) -> tuple[Candidate, ...]:
        """The first n that pass the gate. Out of budget, the first one must do."""
        found: list[Candidate] = []
        gate = self.gate
        with self.timed("gate"):
            for draft, text in ranked:
                if len(found) == self.options.n or (found and self.pace.tight()):
                    break
                self.pace.check()
                if gate.accepts(text, clean=self.clean):
                    found.append(self.candidate(draft, text, draft.origin))
        return tuple(found)

    def more(self, ranked: Sequence[tuple[Draft, str]], found: Sequence[Candidate]) -> tuple[Candidate, ...]:
        """Where alternatives are wanted and too few drafts are valid: others with their brackets closed, or trimmed."""
        seen = {candidate.text for candidate in found}
        extra: list[Candidate] = []
        with self.timed("gate"):
            for draft, text in ranked:
                if len(found) + len(extra) >= self.options.n or self.pace.tight():
                    break
                for origin, made in (("closed", partial(self.closed, draft)), ("trimmed", self.shortened)):
                    changed = made(text)
                    fresh = changed.strip() and changed not in seen and changed == self.stopped(changed)
                    if fresh and self.gate.accepts(changed, clean=self.clean):
                        seen.add(changed)
                        extra.append(self.candidate(draft, changed, origin, text))
                        break
        return tuple(extra)

    def closed(self, draft: Draft, text: str) -> str:
        """With its brackets closed; nothing where a stop text ended the draft, which is not to end in another way."""
        raw = self.text(draft)
        return self.gate.closed(text) if raw is None or self.stopped(raw) == raw else ""

    def shortened(self, text: str) -> str:
        return postprocess(self.gate.longest_valid(text, clean=self.clean), self.situation)

    def candidate(self, draft: Draft, text: str, origin: str, drafted: str | None = None) -> Candidate:
        """``drafted``: the text of the draft, where another one was made of it."""
        verdict: Verdict = "valid" if self.gate.checked else "unchecked"
        score, drafted = self.score(draft), drafted or text
        margin, agreed = self.rivals.margin(drafted, score), self.rivals.agreed(drafted)
        known = signs(draft, text, origin, self.place, margin=margin, agreed=agreed)
        likely = chance(known, self.infiller.calibration.chance)
        size = len(self.tokenizer.encode(text))
        by = "" if origin == "trimmed" else self.stopped_by(self.text(draft) or "")
        return Candidate(text, score, draft.confidence, verdict, size, origin, likely, known, by)

    # Context.

    async def lay_out(self, written: str) -> None:
        """Encodes the context of a hole behind the prefix and what is ``written`` already."""
        prefix, suffix = self.sides
        prefix = prefix[: len(prefix) - len(self.stub)]
        self.layout: Layout = encode_context(
            self.tokenizer,
            prefix.removeprefix("\ufeff") + written,
            suffix,
            language=self.language,
            filename=self.prompt.filename,
            context=self.denoiser.context,
            glue=self.denoiser.glue,
            reserve=self.reserve,
        )
        self.glue = self.layout.glue
        self.ids = list(self.layout.ids)
        self.release()
        await self.encode(self.infiller.contexts.take(self.ids))

    @property
    def reserve(self) -> int:
        """Tokens of the context that are left to the answer, as in training; answers longer than a canvas move the
        context along. Where it depended on the limit, a high one told the model that the answer is long."""
        hole = self.denoiser.max_hole
        return min(max(self.longest, hole) if self.plan.policy == "causal" else hole, self.denoiser.context // 2)

    async def heal(self) -> None:
        """Completes the word in which the cursor stands, where one token that begins with it is likelier than the word
        as it was cut: a tokenizer would not have cut it there, and the model has seldom seen the pieces (token healing,
        as in guidance and in llama.cpp). A long match elsewhere in the file that goes on otherwise overrules it."""
        if self.stub or await self.joins():
            return
        if self.situation.suffix[:1].isalnum() or self.situation.suffix[:1] == "_":
            return
        word = self.infiller.words.last(self.prompt.prefix, self.ids)
        if word is None:
            return
        tail, longer = word
        log_p = self.denoiser.last_logits(self.state, len(tail)).log_softmax(-1)
        best = longer[int(log_p[0, longer].argmax())]
        as_cut = sum(float(log_p[i, token]) for i, token in enumerate(tail))
        head = self.infiller.words.end(tail, best)
        agreed = all(one.text.startswith(head) for one in self.copied if one.matched >= TRUSTED)
        if agreed and float(log_p[0, best]) > as_cut:
            self.head = head
            self.ids = self.ids[: len(self.ids) - len(tail)]
            await self.extend([best])

    async def joins(self) -> bool:
        """Whether the mark at the cursor is likely part of a longer token (``("``, ``):``), and so is written anew."""
        last, prefix = self.ids[-1], self.sides[0]
        written = self.tokenizer.token_bytes(last)
        mark = written.decode(errors="ignore")
        if not _MARKS.fullmatch(mark) or mark.encode() != written or not prefix.endswith(mark):
            return False
        longer = self.infiller.words.longer(written)
        if not longer:
            return False
        log_p = self.denoiser.last_logits(self.state, 1)[0].log_softmax(-1)
        if float(log_p[longer].logsumexp(0) - log_p[last]) < math.log(JOINED):
            return False
        self.stub = mark
        await self.rewind(self.ids[:-1])
        return True

    async def extend(self, tokens: Sequence[int]) -> Any:
        """Appends tokens to the context; the state before is used up."""
        self.ids += tokens
        await self.encode(self.state)
        return self.state

    async def encode(self, past: Any) -> None:
        """The state of the present context, which takes the place of ``past``."""
        known = 0 if past is None else common(past.ids, self.ids)
        if not self.context_tokens:
            self.context_tokens, self.known_tokens = len(self.ids), known
        self.pace.passes += known < len(self.ids)
        self.state = None  # what becomes of it when the pass fails, nobody knows
        try:
            self.state = await encode(self.ids, past)
        except (Cancelled, Late):
            self.state = past  # the pass was never begun: what was encoded before is worth keeping
            raise

    def release(self) -> None:
        """Gives the encoded context back to the cache."""
        if self.state is not None:
            self.infiller.contexts.give(self.state)
            self.state = None

    def recalled(self) -> Recall | None:
        """What the file's own text says beside the causal head, where that is wanted. As a policy of its own the causal
        head is what others are measured against."""
        weights = self.infiller.calibration.recall
        if not weights or self.options.copies == 0 or self.plan.policy == "causal":
            return None
        breaks = self.infiller.breaks.tolist() if self.situation.one_line else []
        others = [text.replace("\r\n", "\n") for text in self.prompt.extra]
        eot = self.tokenizer.eot
        return Recall.of(*self.sides, self.infiller.by_line, weights, eot, frozenset(breaks), others)

    @cached_property
    def sides(self) -> tuple[str, str]:
        """The text before the cursor and behind it, with "\\n" for line ends."""
        return self.prompt.prefix.replace("\r\n", "\n"), self.prompt.suffix.replace("\r\n", "\n")

    # Drafting by canvas.

    async def canvases(self) -> list[Draft]:
        """A batch of canvases, one per likely length; before it, full blocks while the answer is longer than one.

        Where a short answer is likely, the causal head writes one more candidate; where it is sure of it, or it is very
        short, it and the copies are all there is.
        """
        c = self.infiller.calibration
        found: list[Draft] = []
        while True:
            room = min(self.denoiser.max_hole, self.limit - len(self.kept))
            with self.timed("draft"):
                search, line = self.lengths(room)
            # Who wants alternatives wants different ones.
            wanted = c.causal_candidate or self.options.n > 1
            if wanted and self.table is not None and not self.kept:
                expected = int((self.table.exp().cumsum(0) < 0.5).sum())
                if expected <= c.causal_tokens:
                    found = [
                        replace(draft, length_logp=self.prior(len(draft.ids)))
                        for draft in await self.causal()
                        if draft.ended
                    ]
                    self.pool += found
                certain = any(len(draft.ids) <= c.short or draft.confidence >= c.sure for draft in found)
                if certain and self.thrifty and self.options.steps is None:
                    return found + await self.against(found[0], line)
            if search is not None:
                return found + await self.search(search, line)
            if not self.kept and (given := self.given()):
                with_end = await self.judged(None, [], self.ends(line), "canvas", given)
                self.pool += with_end
                found += with_end
            block = await self.block(room)
            if len(self.kept) + room == self.limit or self.pace.tight():
                return [*found, block]
            self.kept = list(block.ids)
            await self.advance(block.ids[-room:])

    def lengths(self, room: int) -> tuple[list[tuple[int, float]] | None, bool]:
        """The lengths to try with their log p, or None for a full block; and whether they end with the line.

        The honest hole reaches up to the suffix. Only where one line is wanted, the cursor stands at the line's end and
        the text up to the suffix is likely longer than the line, it ends with the line instead.
        """
        c = self.infiller.calibration
        if self.options.hole_length is not None:
            return (None if self.limit - len(self.kept) > room else [(room, 0.0)]), False
        fill = self.denoiser.length_logprobs(self.state).float().cpu()
        at_end = not self.prompt.suffix.split("\n", 1)[0].strip()
        if self.situation.one_line and at_end:
            line = self.denoiser.length_logprobs(self.state, line=True).float().cpu()
            if beyond_line(fill, line):
                self.table = line
                return likeliest(line, self.count, room, math.inf), True
        self.table = fill
        longer = math.inf if self.situation.one_line else c.longer
        return likeliest(fill, self.count, room, longer), False

    def prior(self, length: int) -> float:
        """log p of a draft's length that was not searched for."""
        return 0.0 if self.table is None else float(self.table[min(length, len(self.table) - 1)])

    @cached_property
    def copied(self) -> list[copying.Copy]:
        """Texts copied from elsewhere in the file."""
        count = self.infiller.calibration.copies if self.options.copies is None else self.options.copies
        if self.options.hole_length is not None or not count:
            return []
        return places.drafts(*self.sides, count, one_line=self.situation.one_line)

    @cached_property
    def borrowed(self) -> list[copying.Copy]:
        """The same from other files, but for what the file itself offers."""
        prompt, count = self.prompt, self.infiller.calibration.others
        if not prompt.extra or not count or self.options.hole_length is not None or self.options.copies == 0:
            return []
        own = {one.text for one in self.copied}
        found = borrowing.borrowed(
            prompt.prefix, prompt.suffix, prompt.extra, count + len(own), one_line=self.situation.one_line
        )
        return [one for one in found if one.text not in own][:count]

    def given(self) -> list[Given]:
        """Rows that need no canvas: copied texts, and nothing more where the word alone may be the answer."""
        if self.kept:
            return []
        longest = min(self.limit, self.denoiser.max_hole)
        rows: list[Given] = []
        for copies, borrowed in ((self.copied, False), (self.borrowed, True)):
            fitting = [
                (self.stub + one.text.removeprefix(self.head), one) for one in copies if one.text.startswith(self.head)
            ]
            made = [Given(self.tokenizer.encode(text), one.evidence, borrowed) for text, one in fitting]
            rows += [row for row in made if 0 < len(row.ids) <= longest]
        return [*rows, Given([])] if self.head else rows

    @property
    def count(self) -> int:
        """How many lengths are tried: alternatives need more drafts than there are answers, since not all are valid."""
        n = self.options.n
        return max(self.options.lengths or self.infiller.calibration.lengths, 1 if n == 1 else 2 * n + 2)

    async def search(self, search: Sequence[tuple[int, float]], line: bool) -> list[Draft]:
        """Fills all lengths as one batch and has them judged, with the rows that need no canvas."""
        if line:
            self.glue = [self.tokenizer.eol]
        given = self.promising(self.given(), self.ends(line))
        samples = 1
        if self.plan.temperature > 0 and self.options.n > 1:
            samples = min(-(-2 * self.options.n // len(search)), max(1, SAMPLES // len(search)))
        if self.thrifty:
            search = search[: within([length for length, _ in search], self.infiller.calibration.draft_tokens)]
        lengths, priors = zip(*(pair for pair in search for _ in range(samples)), strict=True)
        with self.timed("draft"):
            canvas = Canvas.of_lengths(lengths, self.glue, self.tokenizer, self.denoiser.device)
            canvas = await self.refine(canvas, "draft", partial(self.surest, priors))
            self.pool += self.unjudged(canvas, [priors[name] for name in canvas.names])
            canvas = canvas.take(self.surest(priors, canvas))
        return await self.judged(canvas, [priors[name] for name in canvas.names], self.ends(line), "canvas", given)

    def promising(self, given: list[Given], ends: Sequence[int]) -> list[Given]:
        """The rows whose first tokens let the most be hoped for; the others are ``left_out`` unless that is not met."""
        if not self.thrifty or len(given) <= FIRST:
            return given
        first = self.denoiser.next_logits(self.state).log_softmax(-1)
        seen = [first if self.recall is None else self.recall.mixed(self.ids, first)]
        totals = [foreseen(row.ids, (), seen, ends)[0] for row in given]
        hopes = [
            self.score(self.of_given(row, total, (total,) * bool(row.ids), ends))
            for row, total in zip(given, totals, strict=True)
        ]
        order = sorted(range(len(given)), key=hopes.__getitem__, reverse=True)
        self.left_out, self.bar = [given[i] for i in order[FIRST:]], hopes[order[FIRST]]
        return [given[i] for i in order[:FIRST]]

    async def against(self, written: Draft, line: bool) -> list[Draft]:
        """The rows that need no canvas, against what the causal head has written: judged where they might win."""
        if line:
            self.glue = [self.tokenizer.eol]
        self.bar = self.score(written)
        ends, exact, open_rows = self.ends(line), list[Draft](), list[Given]()
        for row in self.given():
            total, known = foreseen(row.ids, written.ids, self.seen, ends)
            first = tuple(float(self.seen[0][token]) for token in row.ids[:1])
            draft = self.of_given(row, total, written.token_logp[: len(row.ids)] if known else first, ends)
            if known:
                exact.append(draft)
            elif self.score(draft) > self.bar:
                open_rows.append(row)
            else:
                self.left_out.append(row)
        return exact + (await self.judged(None, [], ends, "canvas", open_rows) if open_rows else [])

    @property
    def thrifty(self) -> bool:
        """Whether drafts that are unlikely to win may be left out: who wants alternatives wants them all."""
        return self.options.n == 1 and self.options.lengths is None

    def surest(self, priors: Sequence[float], canvas: Canvas) -> list[int]:
        """The rows that go on, by what the canvas itself and the length head think of them."""
        if not self.thrifty:
            return list(range(len(canvas.names)))
        return surest(canvas, [priors[name] for name in canvas.names], self.infiller.calibration)

    def unjudged(self, canvas: Canvas, priors: Sequence[float]) -> list[Draft]:
        """The canvas's rows with its own opinion of them in place of the judge's."""
        sure = canvas.mean_log_confidence().tolist()
        return [
            Draft(tuple(row), 0, "canvas", ended=True, length_logp=prior, canvas_logp=own,
                  causal_logp=own * len(row), token_logp=(own,) * len(row), judged=False)
            for row, prior, own in zip(canvas.rows(), priors, sure, strict=True)
            if not self.kept
        ]  # fmt: skip

    async def block(self, room: int) -> Draft:
        """A full block without glue: more text follows it."""
        with self.timed("draft"):
            canvas = Canvas.of_lengths([room], [], self.tokenizer, self.denoiser.device)
            canvas = await self.refine(canvas, "draft")
        return (await self.judged(canvas, [0.0], [], "canvas"))[0]

    async def advance(self, block: Sequence[int]) -> None:
        """Moves the cursor behind a block; the context is cut anew when it has no room left."""
        with self.timed("context"):
            if len(self.ids) + len(block) + self.denoiser.max_hole <= self.denoiser.context:
                await self.extend(block)
            else:
                await self.lay_out(self.head + self.tokenizer.decode(self.kept))

    async def refine(self, canvas: Canvas, phase: str, narrow: Narrow | None = None) -> Canvas:
        report = None
        if self.on_step is not None:
            report = self._reporter(self.on_step, phase)
        plan = self.plan
        if self.options.steps is None:
            # Places written in one step do not see each other: long holes need more steps.
            longest = int(canvas.hole.sum(1).max())
            plan = replace(plan, steps=max(plan.steps, -(-longest // TOKENS_PER_STEP)))
        if self.stub and not self.kept:
            plan = replace(plan, first=self.infiller.words.unlike(self.stub))
        return await refine(self.tokenizer, self.state, canvas, plan, self.generator, self.pace, report, narrow)

    def _reporter(self, on_step: OnStep, phase: str) -> Callable[[Canvas], None]:
        def report(canvas: Canvas) -> None:
            ids = canvas.ids[0][canvas.hole[0]].tolist()
            sure = canvas.confidence[0][canvas.hole[0]].tolist()
            shown = self.shown([*self.kept, *ids], [*[1.0] * len(self.kept), *sure])
            on_step(Step(self.pace.steps, *shown, phase))

        return report

    def shown(self, ids: Sequence[int], sure: Sequence[float]) -> tuple[tuple[int, ...], tuple[float, ...]]:
        """Tokens of an answer as text behind the cursor, and how sure each is: with its head, without its stub."""
        first = self.tokenizer.token_bytes(ids[0]) if ids else b""
        if self.stub and first:
            begun, doubt, ids, sure = first[len(self.stub) :].decode(errors="ignore"), sure[0], ids[1:], sure[1:]
        else:
            begun, doubt = self.head, 1.0
        given = self.tokenizer.encode(begun)
        return (*given, *ids), (*[doubt] * len(given), *sure)

    # Judging.

    def ends(self, line: bool) -> list[int]:
        """Tokens that can end the answer: end of text, and where only the line ends, a line break too."""
        if not line:
            return [self.tokenizer.eot]
        current = self.prompt.prefix.rsplit("\n", 1)[-1]
        indent = current[: len(current) - len(current.lstrip())]
        return [self.tokenizer.eot, self.tokenizer.encode("\n" + indent)[0]]

    async def judged(
        self,
        canvas: Canvas | None,
        priors: Sequence[float],
        ends: Sequence[int],
        origin: str,
        given: Sequence[Given] = (),
    ) -> list[Draft]:
        """The canvas's rows and those that need none as finished drafts, all judged in one pass."""
        self.pace.check()
        with self.timed("repair" if origin == "repair" else "judge"):
            search = origin == "canvas" and bool(ends) and self.options.hole_length is None
            rows = list(self.drafted(canvas, priors, search=search)) if canvas else []
            texts = [*(row for row, _, _ in rows), *(row.ids for row in given)]
            verdicts = await judge(self.tokenizer, self.state, texts, ends, self.denoiser.device, self.recall)
        self.pace.passes += 1
        special = self.tokenizer.n_special
        assert all(token >= special for row, _, _ in rows for token in row), "a special token in an answer"
        return [
            Draft((*self.kept, *row), len(self.kept), origin, bool(ends), prior, own, total, each)
            for (row, prior, own), (total, each) in zip(rows, verdicts[: len(rows)], strict=True)
        ] + [
            self.of_given(row, total, each, ends)
            for row, (total, each) in zip(given, verdicts[len(rows) :], strict=True)
        ]

    def drafted(
        self, canvas: Canvas, priors: Sequence[float], *, search: bool
    ) -> Iterator[tuple[list[int], float, float]]:
        """Each row of a canvas with the log p of its length and of its tokens; in a ``search``, also shorter ones."""
        own = canvas.mean_log_confidence().tolist()
        found = zip(canvas.rows(), canvas.confidence.tolist(), priors, own, strict=True)
        for row, sure, prior, mean in found:
            yield row, prior, mean
            if search and row:
                yield from ((fewer, self.prior(len(fewer)), mean) for fewer in self.shorter(row, sure))

    def shorter(self, row: Sequence[int], sure: Sequence[float]) -> list[list[int]]:
        """What a row may have meant whose length is one too long: without the words that follow themselves
        (``namename``; places that are written in one step do not see each other), and without its least sure token."""
        once = [token for i, token in enumerate(row) if not (i and token == row[i - 1] and self.is_word(token))]
        least = min(range(len(row)), key=sure.__getitem__)
        doubted = [*row[:least], *row[least + 1 :]] if sure[least] < DOUBTED else []
        return [fewer for fewer in ([once] if once == doubted else [once, doubted]) if fewer and fewer != row]

    def is_word(self, token: int) -> bool:
        return self.tokenizer.token_bytes(token).strip().isalpha()

    def of_given(self, row: Given, total: float, each: tuple[float, ...], ends: Sequence[int]) -> Draft:
        """A row that no canvas wrote as a draft, with the causal head's log p in all and of each token."""
        origin, prior = "copy" if row.ids else "word", self.prior(len(row.ids))
        return Draft(tuple(row.ids), 0, origin, bool(ends), prior, 0.0, total, each, row.evidence, row.borrowed)

    # Drafting by the causal head.

    def mixed(self, written: Sequence[int], log_p: torch.Tensor) -> torch.Tensor:
        return log_p if self.recall is None else self.recall.mixed([*self.base, *written], log_p)

    async def causal(self) -> list[Draft]:
        """What the causal head writes token by token; as many samples as alternatives are wanted."""
        self.asked_causal = True
        sampled = self.plan.temperature > 0
        limit = min(self.limit, self.denoiser.context - len(self.ids))
        if self.plan.policy != "causal":
            limit = min(limit, self.infiller.calibration.causal_tokens)
        with self.timed("causal"):
            base = self.base = list(self.ids)
            found: list[Draft] = []
            for _ in range(self.options.n if sampled and self.plan.policy == "causal" else 1):
                await self.rewind(base)
                decoded = await self.decode(limit)
                self.seen = decoded.seen
                if decoded.ids or self.head:
                    found.append(_causal_draft(decoded))
            if self.plan.policy != "causal":
                await self.rewind(base)
        return found

    async def decode(self, limit: int) -> Decoded:
        breaks = set(self.infiller.breaks.tolist()) if self.situation.one_line else set()
        report = self._teller(self.on_step) if self.on_step is not None else None
        # As a policy of its own it is what others are measured against: token by token.
        alone = self.plan.policy == "causal"
        ahead = None if alone else Lookahead(self.ids, [row.ids for row in self.given()])

        async def back(count: int) -> Any:
            await self.rewind(self.ids[: len(self.ids) - count])
            return self.state

        return await decode(
            self.denoiser,
            self.extend,
            back,
            self.state,
            limit,
            replace(self.plan, first=self.infiller.words.unlike(self.stub) if self.stub else None),
            self.generator,
            self.pace,
            stop=breaks.__contains__,
            guess=ahead.guess if ahead else lambda _: (),
            mixed=self.mixed,
            report=report,
        )

    def _teller(self, on_step: OnStep) -> Callable[[Sequence[int], Sequence[float]], None]:
        def tell(ids: Sequence[int], log_p: Sequence[float]) -> None:
            on_step(Step(len(ids), *self.shown(ids, [math.exp(p) for p in log_p]), "causal"))

        return tell

    async def rewind(self, ids: list[int]) -> None:
        """Back to the context ``ids``, which the present one begins with."""
        if len(ids) < len(self.ids):
            self.ids = list(ids)
            await self.extend([])

    # When nothing passes the gate.

    async def repair(self, ranked: Sequence[tuple[Draft, str]]) -> tuple[Candidate, ...]:
        """Masks the tokens to blame and a margin again and denoises them in what is left of the budget, in rows of
        several lengths. The first round takes those among them that the causal head doubts too, later ones all, with a
        margin that grows."""
        seen = {text for _, text in ranked}
        for margin in range(1, self.options.repair_rounds + 1):
            if self.pace.tight():
                break
            rows = [row for draft, text in ranked[:REPAIRED] for row in self.reopened(draft, text, margin)]
            if not rows:
                continue
            mended = sorted(await self.mended(rows), key=self.score, reverse=True)
            fresh = [(draft, text) for draft, text in self.cleaned(mended) if text not in seen]
            if found := self.passing(fresh):
                return found
            seen |= {text for _, text in fresh}
            ranked = fresh or ranked
        return ()

    def reopened(self, draft: Draft, text: str, margin: int) -> list[list[int]]:
        """Rows of the last canvas with the tokens to blame open again. The filters mostly cut the end off, so spans in
        the cleaned text are spans in the draft where that begins with it; else the draft itself is blamed."""
        if draft.kept != len(self.kept):
            return []
        raw = self.text(draft) or ""
        with self.timed("gate"):
            spans = self.gate.errors(text if raw.startswith(text) else raw, clean=self.clean)
        offsets = starts(draft.ids, self.decoded)
        tail = [place - draft.kept for place in blamed(offsets, spans) if place >= draft.kept]
        if margin == 1:
            tail = doubted(tail, draft.token_logp)
        most = min(self.denoiser.max_hole, max(self.longest, len(draft.ids)) - draft.kept)
        return variants(draft.ids[draft.kept :], tail, margin, self.tokenizer.mask, most)

    async def mended(self, rows: Sequence[list[int]]) -> list[Draft]:
        if self.plan.policy == "causal":
            self.plan = replace(self.plan, policy=self.infiller.calibration.policy)
            await self.rewind(self.base)
        with self.timed("repair"):
            canvas = Canvas.of_rows(rows, self.glue, self.tokenizer, self.denoiser.device)
            canvas = await self.refine(canvas, "repair")
        return await self.judged(canvas, [0.0] * len(rows), self.ends(self.glue == [self.tokenizer.eol]), "repair")

    def close(self, ranked: Sequence[tuple[Draft, str]]) -> tuple[Candidate, ...]:
        """A good draft that only leaves brackets open, with their closers."""
        with self.timed("gate"):
            for draft, text in ranked[:TRIMMED]:
                self.pace.check()
                closed = self.closed(draft, text)
                for full in dict.fromkeys((closed, closed + ":")) if closed else ():
                    if full != text and full == self.stopped(full) and self.gate.accepts(full, clean=True):
                        return (self.candidate(draft, full, "closed", text),)
        return ()

    def trim(self, ranked: Sequence[tuple[Draft, str]]) -> tuple[Candidate, ...]:
        """The longest valid beginning of one of the best drafts."""
        gate = self.gate
        with self.timed("gate"):
            for draft, text in ranked[:TRIMMED]:
                self.pace.check()
                beginning = self.shortened(text)
                if beginning.strip() and gate.accepts(beginning, clean=self.clean):
                    return (self.candidate(draft, beginning, "trimmed", text),)
        return ()

    # Text.

    def text(self, draft: Draft) -> str | None:
        """The text of a draft; None when it is not UTF-8. A cut-off one goes up to its last whole line."""
        try:
            text = self.head + self.tokenizer.decode_bytes(draft.ids).decode("utf-8")
        except UnicodeDecodeError:
            return None
        if not text.startswith(self.stub):
            return None
        text = text[len(self.stub) :]
        if not draft.ended and self.options.hole_length is None and "\n" in text:
            text = text[: text.rindex("\n")]
        return text

    def stammers(self, ids: Sequence[int]) -> bool:
        """Whether a word stands three times in a row or another token four times: a canvas that did not settle,
        whatever the judge thinks of it. In 300,000 tokens of code that people wrote there are four such places."""
        runs = ((token, len(list(run))) for token, run in groupby(ids))
        return any(n > 3 or (n == 3 and self.is_word(token)) for token, n in runs)

    def stopped(self, text: str) -> str:
        """The text up to the first of the request's stop texts."""
        return min((text.split(stop, 1)[0] for stop in self.options.stop), key=len, default=text)

    def stopped_by(self, text: str) -> str:
        """The first of the request's stop texts in it; nothing where there is none."""
        return min((stop for stop in self.options.stop if stop in text), key=text.index, default="")

    def decoded(self, ids: Sequence[int]) -> str:
        """The text of a draft's beginning; a character that is not whole yet does not count."""
        text = self.head + self.tokenizer.decode_bytes(ids).decode("utf-8", errors="ignore")
        return text[len(self.stub) :]

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Adds the time of a part; parts are not nested."""
        began = self.pace.elapsed_ms()
        try:
            yield
        finally:
            self.timing[part] = self.timing.get(part, 0.0) + self.pace.elapsed_ms() - began


class Words:
    """Which tokens complete a word."""

    def __init__(self, tokenizer: Tokenizer, device: torch.device) -> None:
        self.tokenizer, self.device = tokenizer, device
        self._unlike: dict[str, torch.Tensor] = {}
        ordinary = range(tokenizer.n_special, tokenizer.vocab_size)
        self.sorted = sorted((tokenizer.token_bytes(token), token) for token in ordinary)

    def last(self, prefix: str, ids: Sequence[int]) -> tuple[list[int], list[int]] | None:
        """The tokens of the word that ``prefix`` ends with, and those that begin with it and are longer; None where
        there is no such word or token, or the context ``ids`` does not end with it."""
        match = _WORD.search(prefix[-100:])
        if match is None:
            return None
        # The space before a word belongs to it, unless it is indentation.
        for text in dict.fromkeys((match.group(), match.group().lstrip())):
            tail = self.tokenizer.encode(text)
            if list(ids[-len(tail) :]) == tail and (longer := self.longer(text.encode())):
                return tail, longer
        return None

    def unlike(self, beginning: str) -> torch.Tensor:
        """[n]: the tokens that do not begin so."""
        if beginning not in self._unlike:
            ids = [token for text, token in self.sorted if not text.startswith(beginning.encode())]
            self._unlike[beginning] = torch.tensor(ids, dtype=torch.int64, device=self.device)
        return self._unlike[beginning]

    def longer(self, word: bytes) -> list[int]:
        low = bisect_right(self.sorted, (word, self.tokenizer.vocab_size))
        high = bisect_right(self.sorted, (word + b"\xff", 0))
        return [token for _, token in self.sorted[low:high]]

    def end(self, tail: Sequence[int], token: int) -> str:
        """What ``token`` adds to the word of the tokens ``tail``."""
        whole = self.tokenizer.token_bytes(token)
        return whole[len(self.tokenizer.decode_bytes(tail)) :].decode("utf-8")


def _causal_draft(decoded: Decoded) -> Draft:
    total = sum(decoded.token_logp) + (decoded.end_logp or 0.0)
    ended = decoded.end_logp is not None
    return Draft(tuple(decoded.ids), 0, "causal", ended, 0.0, 0.0, total, tuple(decoded.token_logp))


def _line_breaks(tokenizer: Tokenizer) -> torch.Tensor:
    """[n]: the tokens that contain a line break."""
    ids = [i for i in range(tokenizer.n_special, tokenizer.vocab_size) if b"\n" in tokenizer.token_bytes(i)]
    return torch.tensor(ids, dtype=torch.int64)
