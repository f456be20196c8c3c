"""``hone eval --edits``: blocks made worse by program, edited, and compared with what a person wrote.

Every kind of damage gets the same number of blocks from held-out packages, and the same blocks are asked about as they
were, with nothing to do. A model that fills holes annotates (``infill.annotate``); of one that edits both ways are
asked: the canvas (``infill.edit``), and the causal head, which writes the block from scratch. What a stricter or laxer
threshold would give is read off the same answers. Beside them stand rules, which mend errors and names without a model,
and for kinds that a codemod undoes exactly, pyupgrade and ruff. QuixBugs is judged by running its tests.
"""

import ast
import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from infill import codemods
from infill.annotate import TASKS as ANNOTATIONS
from infill.annotate import Annotator
from infill.chance import regression
from infill.edit import Change, Edit, EditCalibration, EditOptions, Editor, EditPrompt, Looked
from infill.engine import Infiller
from infill.evaluate import BENCH, EvalOptions, files_of
from infill.judge import Calibration
from infill.minimal import WORDS, spliced
from infill.passes import drive
from infill.roundtrip import GROUP
from infill.sandbox import run_program
from infill.tasks import LARGEST_FILE, Source, parses
from infill.trial import conditions, load
from model.checkpoint import DEFAULT_EDITS, DEFAULT_WEIGHTS
from model.damage.draw import draw
from model.damage.kinds import KINDS
from model.damage.types import GROUPS, damaged
from model.denoiser import NetworkDenoiser
from model.spans import python_parser

GAINS = (
    -30.0, -20.0, -15.0, -10.0, -7.0, -4.0, -2.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 12.0, 14.0,
    17.0, 20.0, 25.0,
)  # fmt: skip
"""Thresholds that are looked at, in nats."""
MOST_FALSE = 0.005
"""Share of right blocks that may be changed: what a threshold is chosen for. Right code is to be left alone."""
ANNOTATE = "annotate"
DRAWS = 400
LARGEST = 30.0
"""Nats of one kind, at most, that weights are fitted to."""
STEPS = 2
"""Of a canvas, where nothing else is asked for."""
Mode = Literal["canvas", "causal"]
Way = Callable[["Repair"], "Answer | None"]
Rules = Callable[[str, int, int, str], str | None]
"""A text, where its block is, and a task -> the text with the block mended; None where rules do not do the task."""


@dataclass(frozen=True)
class Repair:
    """One block to edit: ``text[start:end]`` of a file; ``right`` is the file as a person wrote it."""

    group: str
    kind: str
    package: str
    text: str
    start: int
    end: int
    right: str
    tests: str | None = None
    """What to append to the program to judge it by running it."""

    @property
    def clean(self) -> bool:
        return self.text == self.right


@dataclass(frozen=True)
class Answer:
    """What came of one block: the changes with their gains, so that any threshold can be looked at later."""

    repair: Repair
    changes: tuple[Change, ...]
    ms: float
    passes: int
    tokens: int
    doubt: float
    looked: tuple[Looked, ...] = ()

    def text(self, least_gain: float) -> str:
        kept = (one for one in self.changes if one.gain >= least_gain)
        return spliced(self.repair.text, ((one.start, one.end, one.new) for one in kept))


@dataclass
class Tally:
    """Numbers of some answers at one threshold."""

    blocks: int = 0
    exact: int = 0
    changed: int = 0
    parses: int = 0
    extra: list[int] = field(default_factory=list[int])
    """Words changed beyond those that had to be, for the blocks that were changed."""

    @property
    def rates(self) -> dict[str, float]:
        n = max(self.blocks, 1)
        return {
            "exact": self.exact / n,
            "changed": self.changed / n,
            "parses": self.parses / n,
            "extra": sum(self.extra) / max(len(self.extra), 1),
        }


def make_repairs(sources: Sequence[Source], kinds: Iterable[str], n: int, *, seed: int = 0) -> Iterator[Repair]:
    """Up to ``n`` damaged blocks of each kind, evenly over packages, and as many right ones in which it would fit."""
    parser = python_parser()
    packages: dict[str, list[Source]] = {}
    for source in sources:
        if len(source.text) <= LARGEST_FILE and parses(source.text):
            packages.setdefault(source.package, []).append(source)
    names = sorted(packages)
    for index, kind in enumerate(kinds):
        rng = np.random.default_rng([seed, index])
        found = tries = 0
        while found < n and tries < DRAWS and names:
            tries += 1
            files = packages[names[tries % len(names)]]
            source = files[int(rng.integers(len(files)))]
            drawn = draw(rng, source.text, parser, (kind,), several=0.0)
            if drawn is None or not drawn[1].edits:
                continue
            block, damage = drawn
            worse = damaged(source.text, damage.edits)
            end = block.end + len(worse) - len(source.text)
            group = KINDS[kind].group
            yield Repair(group, kind, source.package, worse, block.start, end, source.text)
            yield Repair(group, kind, source.package, source.text, block.start, block.end, source.text)
            found += 1


def quixbugs(folder: Path) -> Iterator[Repair]:
    """The 40 programs of QuixBugs, whole, with their tests."""
    for line in (folder / "quixbugs_python.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        wrong, right = row["buggy_program"], row["solution"]
        yield Repair("quixbugs", row["name"], "quixbugs", wrong, 0, len(wrong), right, row["tests"])


def ruled(rules: Rules, repair: Repair) -> Answer | None:
    """What rules make of a block; None where its task is not for them."""
    began = time.perf_counter()
    text = rules(repair.text, repair.start, repair.end, repair.group)
    if text is None:
        return None
    ms = 1000 * (time.perf_counter() - began)
    changes = [Change(start, end, new, math.inf) for start, end, new in codemods.edits(repair.text, text)]
    return Answer(repair, tuple(changes), ms, 0, 0, 0.0)


def answer(editor: Editor, repair: Repair, task: str, mode: Mode, *, rounds: int = 6, steps: int = STEPS) -> Answer:
    """Edits one block with the lowest threshold, so that all of them can be looked at."""
    prompt = EditPrompt(repair.text, repair.start, repair.end, task, "python", f"{repair.package}/module.py")
    options = EditOptions(least_gain=GAINS[0], mode=mode, rounds=rounds if mode == "canvas" else 1, steps=steps)
    began = time.perf_counter()
    with torch.inference_mode():
        found: Edit = drive(editor.begin(prompt, options), editor.denoiser)
    ms = 1000 * (time.perf_counter() - began)
    return Answer(repair, found.changes, ms, found.passes, found.tokens, max(found.doubts, default=0.0), found.looked)


def annotated(annotator: Annotator, repair: Repair) -> Answer | None:
    """What a model that fills holes makes of a block that lacks annotations; None where that is not the task."""
    if repair.kind not in ANNOTATIONS:
        return None
    prompt = EditPrompt(repair.text, repair.start, repair.end, repair.group, "python", f"{repair.package}/module.py")
    began = time.perf_counter()
    with torch.inference_mode():
        found = drive(annotator.begin(prompt), annotator.infiller.denoiser)
    ms = 1000 * (time.perf_counter() - began)
    return Answer(repair, found.changes, ms, found.passes, found.tokens, 0.0)


def annotations(answers: Iterable[Answer]) -> dict[str, int]:
    """How many annotations damage took away, how many were made in their place, and how many of these are the same."""
    found = {"missing": 0, "made": 0, "same": 0}
    for one in answers:
        places = zip(*(_types(text) for text in (one.repair.text, one.text(0.0), one.repair.right)), strict=True)
        for before, after, right in places:
            if before is None and right is not None:
                found["missing"] += 1
                found["made"] += after is not None
                found["same"] += after == right
    return found


def _types(text: str) -> Iterator[str | None]:
    """The annotations of parameters and returns, in order."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
            given = [*(one.annotation for one in arguments), node.returns]
            yield from (None if one is None else ast.unparse(one) for one in given)


def tally(answers: Iterable[Answer], least_gain: float) -> Tally:
    total = Tally()
    for one in answers:
        text = one.text(least_gain)
        total.blocks += 1
        total.exact += text == one.repair.right
        total.parses += parses(text)
        if text != one.repair.text:
            total.changed += 1
            total.extra.append(max(0, _size(one.repair.text, text) - _size(one.repair.text, one.repair.right)))
    return total


def _size(old: str, new: str) -> int:
    """Words that differ between two texts, of the one that has more of them."""
    return sum(
        max(len(WORDS.findall(old[start:end])), len(WORDS.findall(piece)))
        for start, end, piece in codemods.edits(old, new)
    )


def threshold(answers: Sequence[Answer], most_false: float = MOST_FALSE) -> float:
    """The gain with the most repairs of those at which at most that share of the right blocks is changed."""
    right = [one for one in answers if one.repair.clean]
    wrong = [one for one in answers if not one.repair.clean]
    allowed = [gain for gain in GAINS if tally(right, gain).changed <= most_false * max(len(right), 1)]
    return max(allowed or [GAINS[-1]], key=lambda gain: (tally(wrong, gain).exact, -gain))


def weighed(answers: Iterable[Answer]) -> EditCalibration:
    """What a reading and what was filled in count beside the causal head, in its nats: a logistic regression on whether
    a proposal is what a person wrote. Nothing, where none is or all are, or the causal head speaks against those that
    are."""
    rows: list[list[float]] = []
    right: list[float] = []
    for one in answers:
        text, wanted = (each.replace("\r\n", "\n") for each in (one.repair.text, one.repair.right))
        for looked in one.looked:
            rows.append([1.0, *(max(-LARGEST, min(value, LARGEST)) for value in looked[3:])])
            right.append(float(text[: looked.start] + looked.new + text[looked.end :] == wanted))
    if len(set(right)) < 2:
        return EditCalibration()
    _, causal, reading, fill = regression(torch.tensor(rows, dtype=torch.float64), torch.tensor(right).double())
    if causal <= 0:
        return EditCalibration()
    return EditCalibration(reading=round(reading / causal, 3), fill=round(fill / causal, 3))


def run(options: EvalOptions, rules: Rules | None = None) -> int:
    """Measures and prints. With ``--calibrate`` what speaks for an edit is weighed, the thresholds are chosen, and both
    are written beside the weights.

    Raises:
        ValueError: the model was not trained to edit, and there are no rules to measure, or there is to be a threshold.
    """
    folder = options.model or DEFAULT_EDITS
    denoiser = load(replace(options, model=folder))
    calibration = EditCalibration.load(folder)
    editor = Editor(denoiser, calibration=calibration)
    if not editor.able and (rules is None or options.calibrate):
        raise ValueError("this model was not trained to edit: train one with `hone train --edits 0.5`")
    chosen = [
        kind for kind in KINDS if not options.kinds or kind in options.kinds or KINDS[kind].group in options.kinds
    ]
    repairs = list(make_repairs(files_of(options), chosen, options.n, seed=options.seed))
    result: dict[str, Any] = {
        **conditions(denoiser), "n": options.n, "split": options.split, "edits": editor.able, "groups": {},
    }  # fmt: skip
    if options.calibrate:
        half = track(repairs[::2], "weighing", console=Console(stderr=True))
        editor.calibration = weighed(answer(editor, one, one.group, "canvas", rounds=1) for one in half)
    is_asked = not options.calibrate and ANNOTATIONS.intersection(chosen)
    ways = ways_of(editor, options, rules, annotating(options, denoiser) if is_asked else None)
    answers: dict[str, list[Answer]] = {way: [] for way in ways}
    for repair in track(repairs, "editing", console=Console(stderr=True)):
        for way, ask in ways.items():
            if (found := ask(repair)) is not None:
                answers[way].append(found)
    if options.calibrate:
        gains = {
            group: threshold(
                [one for one in answers["canvas"] if one.repair.group == group],
                1.0 if group == GROUP else MOST_FALSE,  # what stands the way back is old wherever it stands
            )
            for group in GROUPS
            if any(one.repair.group == group for one in answers["canvas"])
        }
        calibration = replace(editor.calibration, least_gain=calibration.least_gain | gains)
        calibration.save(folder)
    result["least_gain"] = calibration.least_gain
    for way, given in answers.items():
        for group in GROUPS:
            ours = [one for one in given if one.repair.group == group]
            if ours:
                row = summary(ours, 0.0 if way == "holes" else calibration.of(group))
                if group == ANNOTATE and all(parses(one.text(row["least_gain"])) for one in ours):
                    row["annotations"] = annotations(one for one in ours if not one.repair.clean)
                result["groups"].setdefault(group, {})[way] = row
    if not options.calibrate:
        result["codemods"] = agreement(repairs, answers.get("canvas", []), calibration)
    if editor.able and options.programs and not options.calibrate and BENCH.is_dir():
        modes: tuple[Mode, ...] = ("canvas", "causal")
        result["quixbugs"] = {
            mode: programs(editor, quixbugs(options.bench or BENCH), mode, calibration.of("fix"))
            for mode in modes
            if mode in ways
        }
    if options.json:
        sys.stdout.write(json.dumps(result) + "\n")
    else:
        show(result)
    return 0


def annotating(options: EvalOptions, denoiser: NetworkDenoiser) -> Annotator:
    """By the model that is measured, else by the embedded one that fills holes, which the one for edits does not."""
    folder = options.model or DEFAULT_WEIGHTS
    filler = denoiser if options.model is not None else load(replace(options, model=folder))
    return Annotator(Infiller(filler, calibration=Calibration.load(folder)))


def ways_of(
    editor: Editor, options: EvalOptions, rules: Rules | None, annotator: Annotator | None = None
) -> dict[str, Way]:
    """Who is asked about every block. Without a model that edits, rules alone; for a threshold, the canvas alone.

    Raises:
        ValueError: a way is named that there is not.
    """
    ways = every_way(editor, options, rules, annotator)
    if unknown := sorted(set(options.policies) - set(ways)):
        raise ValueError(f"--policies: with --edits there are {', '.join(ways)}, not {unknown[0]}")
    return {name: way for name, way in ways.items() if name in options.policies or not options.policies}


def every_way(editor: Editor, options: EvalOptions, rules: Rules | None, annotator: Annotator | None) -> dict[str, Way]:
    """The same, whatever was asked for."""
    ways: dict[str, Way] = {}
    if rules is not None and not options.calibrate:
        ways["rules"] = lambda repair: ruled(rules, repair)
    if annotator is not None and annotator.able:
        ways["holes"] = lambda repair: annotated(annotator, repair)
    if not editor.able:
        return ways
    ways["canvas"] = lambda repair: answer(editor, repair, repair.group, "canvas")
    if options.calibrate:
        return ways
    for steps in options.steps:
        ways[f"canvas, {steps} steps"] = partial(_in_steps, editor, steps)
    ways["causal"] = lambda repair: answer(editor, repair, repair.group, "causal")
    return ways


def _in_steps(editor: Editor, steps: int, repair: Repair) -> Answer:
    return answer(editor, repair, repair.group, "canvas", steps=steps)


def agreement(
    repairs: Sequence[Repair], answers: Sequence[Answer], calibration: EditCalibration
) -> dict[str, dict[str, Any]]:
    """By kind that a codemod undoes: how often each tool, and the model, make of a damaged block what a person wrote,
    and how often the model makes of it what the tool makes."""
    found: dict[str, dict[str, Any]] = {}
    known = codemods.tools()
    texts = {one.repair: one.text(calibration.of(one.repair.group)) for one in answers}
    for kind in dict.fromkeys(one.kind for one in repairs if one.kind in codemods.RULES and known):
        ours = [one for one in repairs if one.kind == kind and not one.clean]
        row: dict[str, Any] = {"blocks": len(ours)}
        for name, tool in known.items():
            made = {one: codemods.inside(one.text, tool(one.text, kind), one.start, one.end) for one in ours}
            row[name] = {
                "exact": sum(made[one] == one.right for one in ours) / max(len(ours), 1),
                "changed": sum(made[one] != one.text for one in ours) / max(len(ours), 1),
            }
            if texts:
                row[name]["agrees"] = sum(made[one] == texts[one] for one in ours) / max(len(ours), 1)
        if texts:
            row["canvas"] = {"exact": sum(texts[one] == one.right for one in ours) / max(len(ours), 1)}
        found[kind] = row
    return found


def summary(answers: Sequence[Answer], least_gain: float) -> dict[str, Any]:
    right = [one for one in answers if one.repair.clean]
    wrong = [one for one in answers if not one.repair.clean]
    seconds = sum(one.ms for one in answers) / 1000
    kinds = sorted({one.repair.kind for one in answers})
    return {
        "blocks": len(wrong),
        "least_gain": least_gain,
        "wrong": tally(wrong, least_gain).rates,
        "right": tally(right, least_gain).rates,
        "broken": tally([one for one in wrong if not parses(one.repair.text)], least_gain).rates
        | {"blocks": sum(not parses(one.repair.text) for one in wrong)},
        "ms_per_block": 1000 * seconds / max(len(answers), 1),
        "tokens_per_s": sum(one.tokens for one in answers) / max(seconds, 1e-9),
        "doubt": {
            name: float(np.mean([one.doubt for one in part])) if part else 0.0
            for name, part in (("wrong", wrong), ("right", right))
        },
        "kinds": {
            kind: tally([one for one in wrong if one.repair.kind == kind], least_gain).rates["exact"] for kind in kinds
        },
        "false": {
            kind: tally([one for one in right if one.repair.kind == kind], least_gain).rates["changed"]
            for kind in kinds
        },
        "beyond": {
            kind: tally([one for one in wrong if one.repair.kind == kind], least_gain).rates["extra"] for kind in kinds
        },
        "curve": {
            str(gain): {"exact": tally(wrong, gain).rates["exact"], "false": tally(right, gain).rates["changed"]}
            for gain in GAINS
        },
    }


def programs(editor: Editor, repairs: Iterable[Repair], mode: Mode, least_gain: float) -> dict[str, Any]:
    """Repair rate by tests, and how many right programs are changed."""
    fixed, changed, false, total = 0, 0, 0, 0
    for repair in repairs:
        total += 1
        text = answer(editor, repair, "fix", mode).text(least_gain)
        changed += text != repair.text
        if text != repair.text:
            fixed += run_program(f"{text}\n{repair.tests}").passed
        right = Repair("quixbugs", repair.kind, "quixbugs", repair.right, 0, len(repair.right), repair.right)
        false += answer(editor, right, "fix", mode).text(least_gain) != repair.right
    return {"programs": total, "repaired": fixed, "changed": changed, "right_ones_changed": false}


def show(result: dict[str, Any]) -> None:
    console = Console(width=None if sys.stdout.isatty() else 120)
    if not result["edits"]:
        console.print("This model was not trained to edit: rules, tools and holes alone.")
    table = Table(title=f"{result['n']} blocks of each kind, {result['split']} split", title_justify="left")
    for column in ("group", "way", "repaired exactly %", "of those that did not parse %", "changed %", "extra words",
                   "right blocks changed %", "ms a block", "tokens/s"):  # fmt: skip
        table.add_column(column, justify="left" if column in ("group", "way") else "right")
    for group, modes in result["groups"].items():
        for mode, row in modes.items():
            broken = row["broken"]
            table.add_row(
                group, mode, f"{100 * row['wrong']['exact']:.1f}",
                f"{100 * broken['exact']:.1f} ({broken['blocks']})" if broken["blocks"] else "",
                f"{100 * row['wrong']['changed']:.1f}", f"{row['wrong']['extra']:.1f}",
                f"{100 * row['right']['changed']:.1f}", f"{row['ms_per_block']:.0f}", f"{row['tokens_per_s']:.0f}",
            )  # fmt: skip
    console.print(table)
    for way, row in result["groups"].get(ANNOTATE, {}).items():
        if (found := row.get("annotations")) is not None:
            console.print(
                f"Annotations, {way}: {found['missing']} are missing, {found['made']} of them are made, "
                f"{found['same']} of these as a person wrote them"
            )
    show_kinds(console, result)
    show_agreement(console, result.get("codemods", {}))
    for mode, row in result.get("quixbugs", {}).items():
        console.print(
            f"QuixBugs, {mode}: {row['repaired']} of {row['programs']} programs pass their tests, {row['changed']} "
            f"were changed; of the right ones {row['right_ones_changed']} were"
        )


def show_kinds(console: Console, result: dict[str, Any]) -> None:
    ways = list(dict.fromkeys(way for modes in result["groups"].values() for way in modes))
    table = Table(title="by kind: repaired exactly %, right blocks changed %, extra words", title_justify="left")
    for column in ("kind", *ways):
        table.add_column(column, justify="left" if column == "kind" else "right")
    for modes in result["groups"].values():
        for kind in next(iter(modes.values()))["kinds"]:
            cells = [
                f"{100 * modes[way]['kinds'][kind]:.0f}, {100 * modes[way]['false'][kind]:.0f}, "
                f"{modes[way]['beyond'][kind]:.1f}"
                if way in modes else "" for way in ways
            ]  # fmt: skip
            table.add_row(kind, *cells)
    console.print(table)


def show_agreement(console: Console, found: dict[str, dict[str, Any]]) -> None:
    if not found:
        return
    names = [name for name in next(iter(found.values())) if name != "blocks"]
    table = Table(title="what codemods do exactly: as a person wrote it %, as the model %", title_justify="left")
    for column in ("kind", "blocks", *names):
        table.add_column(column, justify="left" if column == "kind" else "right")
    for kind, row in found.items():
        cells = [
            f"{100 * row[name]['exact']:.0f}" + (f", {100 * row[name]['agrees']:.0f}" if "agrees" in row[name] else "")
            for name in names
        ]
        table.add_row(kind, str(row["blocks"]), *cells)
    console.print(table)
