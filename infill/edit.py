"""Edits: a block as it is in, the block as it should be out.

The block is not written anew. Its tokens are looked at as a whole: which are wrong, and where some are missing. Several
readings of that are opened and filled as one batch of canvases. What speaks for each: how sure the head for edits is of
the reading, how sure the canvas is of what it filled in, and how much likelier than the block as it stands the causal
head finds it, which has the damaged block before it. Only one for which enough speaks, and that parses, is an edit;
everything else is left alone. What modernises must stand the way back instead (``infill.roundtrip``): then the causal
head may guess, too, how a doubtful line goes on, since a wrong guess does no harm. Longer blocks are edited in windows
of whole lines, all of them side by side.
"""

import json
import math
import re
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from infill.canvas import Canvas
from infill.judge import judge
from infill.minimal import minimal, spliced
from infill.passes import encode, inspect
from infill.roundtrip import GROUP, is_dated, taken_back
from infill.sampler import Cancelled, Late, Pace, Plan, decode, refine
from infill.syntax import Before
from infill.types import Denoiser, ShouldStop
from model.damage.kinds import group_of
from model.damage.types import GROUPS
from model.jsonfile import read_json
from model.layout import EDITS_SHORTER, Operations, encode_context, further_end, line_end, line_start

FILE = "edits.json"
LEAST_GAIN = 5.0
"""Nats, where nothing was measured."""
ROOM = 12
"""Tokens by which a window may grow."""
THRESHOLDS = (0.5, 0.25, 0.1, 0.8)
"""Probabilities above which a place counts as wrong: one reading of the block each."""
ROWS = 12
"""Readings of one window at most."""
DOUBT = 0.25
"""Probability of a fault from which on the causal head guesses how a line goes on."""
GUESSES = 2
"""First tokens that are tried."""
REPLACED = 4
"""Lines that a guessed one may stand for."""
LOOK_UP = 6
"""Tokens that are read on where the guess has met the block's own text."""
LENGTHS = 3
"""Likeliest numbers of missing tokens that are tried where the block's likeliest fault is."""


@dataclass(frozen=True)
class EditCalibration:
    """What speaks for an edit, and how much of it must, for each task: chosen so that right code is left alone.

    Raises:
        ValueError: names the number and what is allowed.
    """

    least_gain: dict[str, float] = field(default_factory=dict[str, float])
    """Nats, by group of tasks."""
    reading: float = 0.0
    """What the log odds of a reading count, beside the causal head's nats."""
    fill: float = 0.0
    """The same for the canvas's log confidence in what it filled in."""

    def __post_init__(self) -> None:
        numbers: dict[str, Any] = {"reading": self.reading, "fill": self.fill}
        numbers |= {f"least_gain of {task}": gain for task, gain in self.least_gain.items()}
        for name, value in numbers.items():
            if not isinstance(value, int | float) or not math.isfinite(value):
                raise ValueError(f"{FILE}: {name} must be a number, not {value!r}")

    @property
    def tasks(self) -> tuple[str, ...]:
        """Groups of tasks that the model was trained for: those that were measured, all where nothing was."""
        return tuple(group for group in GROUPS if group in self.least_gain or not self.least_gain)

    def of(self, task: str) -> float:
        """For a group, or for a kind of one."""
        return self.least_gain.get(group_of(task), LEAST_GAIN)

    def gain(self, causal: float, proposal: "Proposal") -> float:
        """What speaks for a proposal, in nats of the causal head's."""
        return causal + self.reading * proposal.reading + self.fill * proposal.fill

    @classmethod
    def load(cls, folder: Path) -> "EditCalibration":
        """What stands beside the weights in ``folder``; the default where nothing does.

        Raises:
            ValueError: the file is not what ``save`` wrote.
        """
        path = Path(folder) / FILE
        if not path.is_file():
            return cls()
        values = read_json(path)
        known = {one.name for one in fields(cls)}
        if not set(values) <= known or not isinstance(values.get("least_gain"), dict):
            raise ValueError(f"{path} must be an object with least_gain, an object of numbers by task, and numbers")
        return cls(**values)

    def save(self, folder: Path) -> None:
        (Path(folder) / FILE).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")


class Proposal(NamedTuple):
    """What a window may become."""

    ids: list[int]
    reading: float = 0.0
    """Log odds of what is wrong and missing, against nothing being so."""
    fill: float = 0.0
    """Sum of the canvas's log confidence in what it filled in."""


class Looked(NamedTuple):
    """A proposal that was judged: ``start``..``end`` of the text (with "\n" for line ends) may become ``new``."""

    start: int
    end: int
    new: str
    causal: float
    """Nats by which the causal head finds it likelier."""
    reading: float
    fill: float


@dataclass(frozen=True)
class EditPrompt:
    """A task to be done to ``text[start:end]``; whole lines around it are what is edited."""

    text: str
    start: int
    end: int
    task: str
    """A group ("fix") or a kind ("missing-colon") of ``model.damage``."""
    language: str | None = None
    filename: str | None = None


@dataclass(frozen=True)
class EditOptions:
    """Raises ``ValueError`` with the option, its value and what is allowed."""

    least_gain: float | None = None
    """Nats by which a block must become likelier; None: what was measured for the task."""
    least_doubt: float = 0.1
    """Probability of a fault below which nothing is tried."""
    rounds: int = 6
    """How often what was edited is looked at again."""
    steps: int = 2
    mode: Literal["canvas", "causal"] = "canvas"
    """"causal": the same weights write every window from scratch, token by token; to compare with."""
    budget_ms: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("rounds", 1), ("steps", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, not {getattr(self, name)!r}")
        if self.budget_ms is not None and not self.budget_ms > 0:
            raise ValueError(f"budget_ms must be above 0, or None, not {self.budget_ms!r}")
        if self.mode not in ("canvas", "causal"):
            raise ValueError(f"mode must be canvas or causal, not {self.mode!r}")


@dataclass(frozen=True)
class Change:
    """``text[start:end]`` becomes ``new``."""

    start: int
    end: int
    new: str
    gain: float
    """Nats by which its window becomes likelier."""


@dataclass(frozen=True)
class Edit:
    """What is to change, in order; () where the block is right as it is, and then ``reason`` says so."""

    changes: tuple[Change, ...]
    passes: int
    tokens: int
    """Of the block."""
    reason: str | None = None
    doubts: tuple[float, ...] = ()
    """Highest probability of a fault in each window of the first round."""
    looked: tuple[Looked, ...] = ()
    """What was judged in that round: what weights are fitted to."""
    timing_ms: dict[str, float] = field(default_factory=dict[str, float])


class Editor:
    """Edits blocks with one network; for one thread."""

    def __init__(
        self,
        denoiser: Denoiser[Any],
        *,
        calibration: EditCalibration | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.denoiser = denoiser
        self.calibration = calibration or EditCalibration()
        self.clock = clock

    @property
    def able(self) -> bool:
        """Whether the model was trained to edit."""
        return self.denoiser.inserts > 0

    async def begin(
        self,
        prompt: EditPrompt,
        options: EditOptions = EditOptions(),
        *,
        should_stop: ShouldStop | None = None,
    ) -> Edit:
        """The edit of one block, a forward pass at a time (see ``infill.passes``); to be driven in inference mode.

        Raises:
            ValueError: the model was not trained to edit.
        """
        if not self.able:
            raise ValueError("this model was not trained to edit")
        request = _Request(self, prompt, options, Pace(options.budget_ms, should_stop, self.clock))
        try:
            changes, reason = await request.answer(), request.reason
        except Cancelled:
            changes, reason = (), "cancelled"
        except Late:
            changes, reason = request.done(), "budget"
        timing = {"total": request.pace.elapsed_ms()}
        return Edit(
            changes,
            request.pace.passes,
            request.tokens,
            None if changes else reason,
            tuple(request.doubts),
            tuple(request.looked),
            timing,
        )


@dataclass(frozen=True)
class _Window:
    """Whole lines of a text."""

    start: int
    end: int


@dataclass
class _Request:
    editor: Editor
    prompt: EditPrompt
    options: EditOptions
    pace: Pace
    reason: str = "right"
    tokens: int = 0
    doubts: list[float] = field(default_factory=list[float])
    looked: list[Looked] = field(default_factory=list[Looked])

    def __post_init__(self) -> None:
        self.denoiser = self.editor.denoiser
        self.tokenizer = self.denoiser.tokenizer
        self.text = self.prompt.text.replace("\r\n", "\n")
        """As the model reads it; offsets of what is edited are moved back at the end."""
        self.before = Before(self.text, self.prompt.language)
        self.pieces: list[tuple[int, int, str, float]] = []
        """Windows, what becomes of them, and their gains."""
        chosen = self.options.least_gain
        self.least_gain = self.editor.calibration.of(self.prompt.task) if chosen is None else chosen
        self.generator = torch.Generator(self.denoiser.device).manual_seed(self.options.seed)

    async def answer(self) -> tuple[Change, ...]:
        if self.is_tested and self.prompt.language != "python":
            self.reason = "no way back"
            return ()
        start = _moved(self.prompt.text, self.prompt.start)
        end = _moved(self.prompt.text, self.prompt.end)
        start, end = line_start(self.text, start), line_end(self.text, max(start, end - 1))
        for window in self.windows(start, end):
            self.pace.check()
            if self.pace.tight():
                self.reason = "budget"
                break
            await self.mend(window)
        return self.done()

    def windows(self, start: int, end: int) -> Iterator[_Window]:
        """Runs of whole lines that a canvas has room for. A line that is longer than one is left out."""
        most = self.denoiser.max_hole - ROOM
        low = start
        while low < end:
            high = low
            while high < end:
                further = further_end(self.text, high)
                if len(self.tokenizer.encode(self.text[low:further])) > most:
                    break
                high = further
            if high == low:
                low = further_end(self.text, low)
                self.reason = "long line"
                continue
            yield _Window(low, min(high, end))
            low = high

    async def mend(self, window: _Window) -> None:
        """Edits one window until nothing in it gains any more."""
        old = self.text[window.start : window.end]
        text, gained = old, 0.0
        for index in range(self.options.rounds):
            found = await self.improved(window, text, first=index == 0)
            if found is None or found[0] == text:
                break
            text, gained = found[0], gained + found[1]
            if self.pace.tight():
                break
        if text != old:
            self.pieces.append((window.start, window.end, text, gained))

    async def improved(self, window: _Window, text: str, *, first: bool) -> tuple[str, float] | None:
        """A better text for the window, and by how much; None where there is none."""
        if self.is_tested and not is_dated(text):
            return None  # nothing that the model could say would stand the test
        prefix, suffix = self.text[: window.start], self.text[window.end :]
        ids = self.tokenizer.encode(text)
        if not ids or len(ids) > self.denoiser.max_hole:
            return None
        laid = encode_context(
            self.tokenizer,
            prefix.removeprefix("\ufeff"),
            suffix,
            language=self.prompt.language,
            filename=self.prompt.filename,
            context=self.denoiser.context // EDITS_SHORTER,
            glue=self.denoiser.glue,
            reserve=len(ids) + 1,
            edit=(self.prompt.task, ids),
        )
        state: Any = await encode(laid.ids, None)
        self.pace.passes += 1
        if self.options.mode == "causal":
            made = [Proposal(await self.written(laid.ids, state))]
            state = await encode(laid.ids, None)
        else:
            odds, missing = await inspect(state, ids, laid.glue)
            self.pace.passes += 1
            if first:
                self.tokens += len(ids)
                self.doubts.append(doubt(odds, missing))
            made = await self.filled(state, odds, missing, ids, laid.glue)
            if made and self.is_tested and not self.tested(prefix, text, suffix, made):
                made = await self.guessed(laid.ids, state, odds, missing, ids)
                state = await encode(laid.ids, None)
        if made and self.is_tested:
            made = self.tested(prefix, text, suffix, made)
            self.reason = self.reason if made else "no way back"
        made = [one for one in made if one.ids and one.ids != ids]
        if not made:
            return None
        rows = [ids, *(one.ids for one in made)]
        totals = [
            total for total, _ in await judge(self.tokenizer, state, rows, [self.tokenizer.eot], self.denoiser.device)
        ]
        self.pace.passes += 1
        calibration = self.editor.calibration
        ranked: list[tuple[float, list[int]]] = []
        for one, total in zip(made, totals[1:], strict=True):
            causal = total - totals[0]
            ranked.append((calibration.gain(causal, one), one.ids))
            if first and (new := self.decoded(one.ids)) is not None:
                self.looked.append(Looked(window.start, window.end, new, causal, one.reading, one.fill))
        ranked.sort(reverse=True)
        for gain, row in ranked:
            if gain < self.least_gain and self.options.mode == "canvas":
                break
            new = self.decoded(row)
            if new is not None and new != text and self.holds(prefix, text, new, suffix):
                return new, gain
        self.reason = "no gain" if ranked[0][0] < self.least_gain else "syntax"
        return None

    @property
    def is_tested(self) -> bool:
        """Whether what is proposed has to stand the way back, which there is for Python alone."""
        return group_of(self.prompt.task) == GROUP

    def tested(self, prefix: str, text: str, suffix: str, made: Sequence[Proposal]) -> list[Proposal]:
        """What of the proposals stands the way back, each text once, with the most that speaks for it."""
        best: dict[str, Proposal] = {}
        for one in made:
            self.pace.check()
            new = self.decoded(one.ids)
            kept = text if new is None else taken_back(prefix, text, new, suffix)
            if kept != text:
                known = best.get(kept)
                if known is None or one.reading + one.fill > known.reading + known.fill:
                    best[kept] = one._replace(ids=self.tokenizer.encode(kept))
        return list(best.values())

    async def guessed(
        self, context: Sequence[int], state: Any, odds: Tensor, missing: Tensor, ids: Sequence[int]
    ) -> list[Proposal]:
        """How the most doubtful line may go on from the first doubt in it, as the causal head writes it, in place of as
        many lines as it may be. What the block has itself is looked up, not written: that is prompt lookup decoding
        (Saxena, 2023)."""
        absent = (1 - missing[:-1, 0].exp()).tolist()
        doubts = [max(pair) for pair in zip(odds.sigmoid().tolist(), absent, strict=True)]
        starts = [i for i, token in enumerate(ids) if not i or self.begins(token)]
        lines = list(zip(starts, [*starts[1:], len(ids)], strict=True))
        index, (low, high) = max(enumerate(lines), key=lambda line: max(doubts[slice(*line[1])]))
        worst = max(doubts[low:high])
        if worst < DOUBT:
            return []
        first = next(at for at in range(low, high) if doubts[at] >= DOUBT)
        odd = math.log(worst) - math.log1p(-min(worst, 1 - 1e-6))
        made: list[Proposal] = []
        for rank in range(GUESSES):
            state, line, sure = await self.line(context, state, ids, first, rank)
            ends = [high for _, high in lines[index : index + REPLACED]] if line else []
            made += [Proposal([*ids[:first], *line, *ids[end:]], odd, sure) for end in ends]
        return made

    async def line(
        self, context: Sequence[int], state: Any, ids: Sequence[int], first: int, rank: int
    ) -> tuple[Any, list[int], float]:
        """The rest of a line from token ``first`` of the block on, which is not to stay, beginning with the causal
        head's first choice but ``rank``; [] where it does not end in time. And the sum of its log probabilities."""
        written = [*context, *ids[:first]]
        state = await encode(written, state)
        log_p = self.denoiser.next_logits(state).log_softmax(-1)
        log_p[: self.tokenizer.n_special] = -torch.inf
        log_p[ids[first]] = -torch.inf
        begun = int(log_p.topk(rank + 1).indices[rank])
        at = len(context)

        async def extend(tokens: Sequence[int]) -> Any:
            written.extend(tokens)
            return await encode(written, state)

        async def back(count: int) -> Any:
            del written[len(written) - count :]
            return await encode(written, state)

        def guess(_: Sequence[int]) -> Sequence[int]:
            return looked_up(ids, written[at:])

        state = await extend([begun])
        limit = self.denoiser.max_hole - len(ids[:first])
        found = await decode(
            self.denoiser, extend, back, state, limit, Plan(1), self.generator, self.pace, stop=self.begins, guess=guess
        )
        self.pace.passes += 1 + len(found.ids)
        line = [begun, *found.ids] if found.end_logp is not None else []
        return state, line, float(log_p[begun]) + sum(found.token_logp)

    def begins(self, token: int) -> bool:
        """Whether a line begins with the token."""
        return self.tokenizer.token_bytes(token).startswith(b"\n")

    async def filled(
        self, state: Any, odds: Tensor, missing: Tensor, ids: Sequence[int], glue: Sequence[int]
    ) -> list[Proposal]:
        """The block under every reading of it, all filled as one batch."""
        mask, most = self.tokenizer.mask, self.denoiser.max_hole
        opened: dict[tuple[int, ...], float] = {}
        for found in readings(odds, missing, self.options.least_doubt):
            opened.setdefault(tuple(found.opened(ids, mask)), evidence(odds, missing, found))
        complete = [Proposal(list(row), odd) for row, odd in opened.items() if mask not in row]
        rows = {row: odd for row, odd in opened.items() if mask in row and len(row) <= most}
        if not rows:
            return complete
        canvas = Canvas.of_rows([list(row) for row in rows], list(glue), self.tokenizer, self.denoiser.device)
        plan = Plan(self.options.steps)
        canvas = await refine(self.tokenizer, state, canvas, plan, self.generator, self.pace)
        sure = canvas.mean_log_confidence().tolist()
        made = zip(canvas.rows(), rows.values(), sure, strict=True)
        return complete + [Proposal(row, odd, one * len(row)) for row, odd, one in made]

    async def written(self, context: Sequence[int], state: Any) -> list[int]:
        """The block as the causal head writes it from scratch."""
        ids = list(context)

        async def extend(tokens: Sequence[int]) -> Any:
            ids.extend(tokens)
            return await encode(ids, state)

        async def back(count: int) -> Any:
            del ids[len(ids) - count :]
            return await encode(ids, state)

        limit = self.denoiser.max_hole
        found = await decode(self.denoiser, extend, back, state, limit, Plan(1), self.generator, self.pace)
        self.pace.passes += len(found.ids)
        return found.ids if found.end_logp is not None else []

    def decoded(self, ids: Sequence[int]) -> str | None:
        try:
            return self.tokenizer.decode_bytes(ids).decode("utf-8")
        except UnicodeDecodeError:
            return None

    def holds(self, prefix: str, old: str, new: str, suffix: str) -> bool:
        """The gate: the file has no error that it did not have, and in Python it is a program where it was one."""
        before = prefix + old + suffix
        if self.before.text != before:
            self.before = Before(before, self.prompt.language)
        return not self.before.worse(prefix + new + suffix)

    def done(self) -> tuple[Change, ...]:
        """What was found, as small changes of the prompt's own text. Where it does not hold together, the windows that
        gain least are left as they were."""
        kept = sorted(self.pieces, key=lambda piece: -piece[3])

        def with_first(count: int) -> str:
            return spliced(self.text, (piece[:3] for piece in kept[:count]))

        held = Before(self.text, self.prompt.language).held(len(kept), with_first)
        changes: list[Change] = []
        for start, end, new, gain in sorted(kept[:held]):
            for a, b, piece in minimal(self.text[start:end], new):
                changes.append(self.change(start + a, start + b, piece, gain))
        return tuple(changes)

    def change(self, start: int, end: int, new: str, gain: float) -> Change:
        """Offsets of the text as the model reads it -> the prompt's own, with its line ends."""
        if self.returns:
            start, end = (at + bisect_left(self.returns, at) for at in (start, end))
            new = new.replace("\n", "\r\n")
        return Change(start, end, new, gain)

    @cached_property
    def returns(self) -> list[int]:
        """Where in ``text`` the lines end that have a carriage return in the prompt's."""
        return [one.start() - count for count, one in enumerate(re.finditer("\r\n", self.prompt.text))]


def doubt(odds: Tensor, missing: Tensor) -> float:
    """odds [N], missing [N + 1, inserts + 2] -> the highest probability that something is wrong at a place."""
    return max(float(odds.sigmoid().max()), float((1 - missing[:, 0].exp()).max()))


def evidence(odds: Tensor, missing: Tensor, plan: Operations) -> float:
    """Log odds of a reading against nothing being wrong: odds [N], missing [N + 1, inserts + 2]."""
    most = missing.shape[1] - 1
    wrong = sum(one for one, is_wrong in zip(odds.tolist(), plan.wrong, strict=True) if is_wrong)
    absent = sum(row[min(count, most)] - row[0] for row, count in zip(missing.tolist(), plan.inserts, strict=True))
    return float(wrong + absent)


def readings(odds: Tensor, missing: Tensor, least: float) -> list[Operations]:
    """What may be wrong with a block, likeliest first: odds [N], missing [N + 1, inserts + 2] -> operations.

    For each threshold all places above it; the likeliest single fault; and that with other numbers of missing tokens.
    """
    wrong, absent = odds.sigmoid().tolist(), (1 - missing[:, 0].exp()).tolist()
    counts = (missing[:, 1:-1].argmax(1) + 1).tolist()
    found = [
        Operations(
            [p >= threshold for p in wrong],
            [count if p >= threshold else 0 for p, count in zip(absent, counts, strict=True)],
        )
        for threshold in THRESHOLDS
        if threshold >= least
    ]
    faults = list(_faults(wrong, absent, least))
    for low, high in faults[:2]:
        for count in [0, *_counts(missing[low : high + 1], LENGTHS)]:
            inserts = [0] * len(absent)
            inserts[low] = count
            found.append(Operations([low <= i < high for i in range(len(wrong))], inserts))
    unique = {(tuple(plan.wrong), tuple(plan.inserts)): plan for plan in found if any(plan.wrong) or any(plan.inserts)}
    return list(unique.values())[:ROWS]


def _faults(wrong: Sequence[float], absent: Sequence[float], least: float) -> Iterator[tuple[int, int]]:
    """Runs of tokens that are wrong together, or places where some are missing, the likeliest first."""
    runs: list[tuple[float, int, int]] = []
    i = 0
    while i <= len(wrong):
        if i < len(wrong) and wrong[i] >= least:
            end = i
            while end < len(wrong) and wrong[end] >= least:
                end += 1
            runs.append((max(*wrong[i:end], *absent[i : end + 1]), i, end))
            i = end
        elif absent[i] >= least:
            runs.append((absent[i], i, i))
        i += 1
    for _, low, high in sorted(runs, key=lambda run: -run[0]):
        yield low, high


def _counts(missing: Tensor, most: int) -> list[int]:
    """The likeliest numbers of missing tokens at a fault: missing [n, inserts + 2]."""
    best: list[int] = (missing[:, 1:-1].amax(0).topk(min(most, missing.shape[1] - 2)).indices + 1).tolist()
    return best


def looked_up(ids: Sequence[int], written: Sequence[int]) -> Sequence[int]:
    """What follows in ``ids`` on the longest end of what is written, of three tokens at most."""
    for size in range(min(len(written), 3), 0, -1):
        end = list(written[-size:])
        for at in range(len(ids) - size - 1, -1, -1):
            if list(ids[at : at + size]) == end:
                return ids[at + size : at + size + LOOK_UP]
    return ()


def _moved(text: str, at: int) -> int:
    """An offset of ``text`` in the same text with plain line ends."""
    return at - text.count("\r\n", 0, at)
