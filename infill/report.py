"""Summaries as a table for the terminal, a value for JSON and a picture of quality against time."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from infill.metrics import Mean, Outcome, Summary, compare, summarise
from infill.systems import CAUSAL, COPY, COPY_NEAR, COPY_TOKENS, DEFAULT, TRUE_LENGTH, System

TITLES = {
    "rest": "rest of the line",
    "line": "whole line",
    "lines": "2-4 lines",
    "expression": "expression",
    "arguments": "arguments of a call",
    "block": "body of a block",
    "start": "whole line, cursor at column 0",
    "tail": "rest of the line at the end of the file",
    "humaneval": "HumanEval-Infilling, one line",
    "quixbugs": "QuixBugs, the wrong line",
}


def cells(outcomes: Sequence[Outcome], *, code_only: bool = False) -> list[Summary]:
    """One summary per kind and system, in the order of their first outcome."""
    groups: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        if not (code_only and outcome.prose):
            groups.setdefault((outcome.kind, outcome.system), []).append(outcome)
    order = list(dict.fromkeys(kind for kind, _ in groups))
    return [summarise(groups[key]) for key in sorted(groups, key=lambda key: order.index(key[0]))]


def held_against(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """The default system beside the others of the same run, for each kind: exact match, its ratio and its difference.

    The difference is paired (the same tasks), with its standard error.
    """
    rows = []
    for kind in dict.fromkeys(outcome.kind for outcome in outcomes):
        by_system: dict[str, list[Outcome]] = {}
        for outcome in outcomes:
            if outcome.kind == kind:
                by_system.setdefault(outcome.system, []).append(outcome)
        ours = by_system.get(DEFAULT, [])
        for name in (COPY, COPY_NEAR, COPY_TOKENS, CAUSAL, TRUE_LENGTH):
            theirs = by_system.get(name, [])
            both = {outcome.task for outcome in ours} & {outcome.task for outcome in theirs}
            if both:
                rows.append(_against(kind, name, both, ours, theirs))
    return rows


def _against(
    kind: str, name: str, both: set[str], ours: Sequence[Outcome], theirs: Sequence[Outcome]
) -> dict[str, Any]:
    mine = [outcome for outcome in ours if outcome.task in both]
    other = [outcome for outcome in theirs if outcome.task in both]
    difference = compare(mine, other)
    hits, hits_other = sum(o.exact for o in mine), sum(o.exact for o in other)
    return {
        "kind": kind,
        "against": name,
        "n": len(both),
        "exact": hits / len(both),
        "exact_other": hits_other / len(both),
        "ratio": hits / hits_other if hits_other else None,
        "difference": difference.to_dict(),
        "similarity_difference": compare(mine, other, "similarity").to_dict(),
    }


def table(kind: str, summaries: Sequence[Summary], *, note: str = "") -> Table:
    """One kind, a row per system: percent with standard errors, milliseconds, tokens."""
    found = [summary for summary in summaries if summary.kind == kind]
    tested = any("passed" in summary.means for summary in found)
    title = f"{TITLES.get(kind, kind)}{note} (n = {max((s.n for s in found), default=0)})"
    result = Table(title=title, title_justify="left", header_style="bold")
    result.add_column("system", no_wrap=True)
    names = ["exact %", "first line %", "similarity %", "parses raw %", "parses %", "no new error %", "empty %"]
    for name in [*names, "length off", "ms median", "ms p90", "steps", "passes", *(["pass@1 %"] if tested else [])]:
        result.add_column(name, justify="right")
    for row in found:
        style = "bold green" if row.system == DEFAULT else None
        numbers = [
            _percent(row.means.get(name), errors=name in ("exact", "similarity"))
            for name in ("exact", "first_line", "similarity", "valid_raw", "valid", "kept", "empty")
        ]
        numbers += [_number(row.length_error), _number(row.ms_median), _number(row.ms_p90)]
        numbers += [_number(row.steps), _number(row.passes)]
        if tested:
            numbers.append(_percent(row.means.get("passed"), errors=True))
        result.add_row(row.system, *numbers, style=style)
    return result


def against_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    result = Table(title="the default held against the others (exact match, same tasks)", title_justify="left")
    for name in ("kind", "against", "n", "default %", "other %", "ratio", "difference, points"):
        result.add_column(name, justify="left" if name in ("kind", "against") else "right")
    for row in rows:
        difference = row["difference"]
        result.add_row(
            row["kind"],
            row["against"],
            str(row["n"]),
            f"{100 * row['exact']:.1f}",
            f"{100 * row['exact_other']:.1f}",
            "-" if row["ratio"] is None else f"{row['ratio']:.2f}",
            f"{100 * difference['value']:+.1f} ± {100 * difference['error']:.1f}",
        )
    return result


def plot(path: Path, summaries: Sequence[Summary], systems: Sequence[System], *, title: str) -> None:
    """Exact match (top) and edit similarity (bottom) against the median time of an answer, one column per kind.

    Systems that differ only in steps are joined by a line; the thin grey steps are the best that any system gives in
    that time. Raises: ValueError when there is nothing to draw.
    """
    import matplotlib as mpl  # noqa: PLC0415 - a third of a second that only a picture needs
    from matplotlib.figure import Figure  # noqa: PLC0415

    kinds = list(dict.fromkeys(summary.kind for summary in summaries))
    if not kinds:
        raise ValueError("nothing to plot")
    family = {system.name: system.family or system.name for system in systems}
    figure = Figure(figsize=(1.5 + 4.2 * len(kinds), 8), layout="constrained")
    axes = figure.subplots(2, len(kinds), squeeze=False)
    names = list(dict.fromkeys(family.get(summary.system, summary.system) for summary in summaries))
    colours = {name: mpl.colormaps["tab20"](i % 20) for i, name in enumerate(names)}
    for column, kind in enumerate(kinds):
        of_kind = [summary for summary in summaries if summary.kind == kind]
        for line, measure in enumerate(("exact", "similarity")):
            axis = axes[line][column]
            for name in names:
                points = [s for s in of_kind if family.get(s.system, s.system) == name]
                _line(axis, points, measure, name, colours[name])
            steps = pareto([(s.ms_median, s.means[measure].value) for s in of_kind])
            axis.step([x for x, _ in steps], [100 * y for _, y in steps], where="post", color="0.75", lw=1, zorder=0)
            axis.set_xscale("log")
            axis.grid(visible=True, alpha=0.3)
            axis.set_xlabel("milliseconds per answer, median (context cached)")
            axis.set_ylabel("exact match, %" if measure == "exact" else "edit similarity, %")
            axis.set_title(TITLES.get(kind, kind))
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize="small")
    figure.suptitle(title)
    figure.savefig(path, dpi=130)


def _line(axis: Any, points: Sequence[Summary], measure: str, name: str, colour: Any) -> None:
    drawn = [(max(point.ms_median, 0.01), point.means[measure]) for point in points]
    if drawn:
        heights = [100 * mean.value for _, mean in drawn]
        errors = [100 * mean.error for _, mean in drawn]
        marker = "*" if name == DEFAULT else "o"
        times = [time for time, _ in drawn]
        axis.errorbar(times, heights, errors, marker=marker, ms=9 if marker == "*" else 4, label=name, color=colour)


def pareto(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points (time, quality) that no faster or equally fast point beats, by time."""
    best: list[tuple[float, float]] = []
    for time, quality in sorted(points, key=lambda point: (point[0], -point[1])):
        if not best or quality > best[-1][1]:
            best.append((time, quality))
    return best


def _percent(mean: Mean | None, *, errors: bool) -> str:
    if mean is None:
        return "-"
    return f"{100 * mean.value:.1f}" + (f" ± {100 * mean.error:.1f}" if errors else "")


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.1f}"
