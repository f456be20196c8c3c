"""An evaluation's arithmetic, baseline and journal, and the whole way from tasks to a table with a fake engine."""

import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from infill import report, trial
from infill.copying import copied, copied_tokens
from infill.evaluate import EvalOptions, main, tasks_of
from infill.journal import Journal
from infill.metrics import Answer, Outcome, compare, first_line, judge, mean, quantile, summarise
from infill.systems import Asker, Recorder, System, baselines, systems
from infill.tasks import Source, Task, from_folder, make_tasks
from infill.trial import Cell, questions, run_trial
from infill.types import Candidate, Infill, InfillOptions, Prompt

TEXT = "def f(a, b):\n    total = a + b\n    return total\n"
SOURCES = [Source(package, "m.py", TEXT.replace("total", name)) for package, name in (("p", "total"), ("q", "result"))]


def task_of(marked: str, kind: str = "rest", test: str | None = None) -> Task:
    """The hole is the text between « and »."""
    prefix, rest = marked.split("«")
    middle, suffix = rest.split("»")
    return Task(kind, "p", "m.py", prefix + middle + suffix, len(prefix), len(prefix) + len(middle), test=test)


RETURN = task_of("def f(a):\n    return «a + 1»\n")


# Judging one answer.


def check_judge(text: str, raw: str | None = None, **expected: object) -> None:
    outcome = judge("s", RETURN, Answer(text, raw, tokens=2, ms=3.0), 3)
    assert {name: getattr(outcome, name) for name in expected} == expected


def test_an_answer_is_compared_with_what_a_person_wrote() -> None:
    check_judge("a + 1", exact=True, exact_stripped=True, first_line=True, similarity=1.0, valid=True, empty=False)
    check_judge("a + 1 ", exact=False, exact_stripped=True, first_line=True)
    check_judge("a + 1\n    pass", exact=False, exact_stripped=False, first_line=True)
    check_judge("a + 2", exact=False, similarity=0.8, valid=True, length_error=-1)
    check_judge("", empty=True, exact=False, similarity=0.0)


def test_validity_is_that_of_the_whole_file_before_and_behind_the_gate() -> None:
    check_judge("(a", valid=False, kept=False, valid_raw=None)
    check_judge("a", raw="a +", valid=True, valid_raw=False)
    check_judge("a", raw="a", valid=True, valid_raw=True)
    check_judge("", raw="a +", empty=True, valid_raw=False)


def test_an_error_that_was_there_before_is_not_the_answers() -> None:
    broken = task_of("def f(:\n    return «a + 1»\n")
    kept = {text: judge("s", broken, Answer(text), 3).kept for text in ("a + 1", "a +", "")}
    assert kept == {"a + 1": True, "a +": False, "": True}
    assert not judge("s", broken, Answer("a + 1"), 3).valid


def test_the_first_line_that_says_something_counts() -> None:
    assert [first_line(text) for text in ("a\nb", "\n  a \nb", "", "\n")] == ["a", "  a", "", ""]


# Judging many.


def outcome(task: str = "t", **values: Any) -> Outcome:
    made = replace(judge("s", RETURN, Answer("a + 1", "a + 1", tokens=3, ms=1.0), 3), task=task)
    return replace(made, **values)


def test_a_mean_has_the_standard_error_of_independent_tasks() -> None:
    rate = mean([1.0] * 30 + [0.0] * 70)
    assert rate.value == pytest.approx(0.3)
    assert rate.error == pytest.approx(math.sqrt(0.3 * 0.7 / 99))
    assert mean([0.5]).error == 0
    with pytest.raises(ValueError, match="no values"):
        mean([])


def test_a_quantile_is_a_value_that_was_seen() -> None:
    assert quantile(list(map(float, range(1, 11))), 0.9) == 9
    assert quantile([5.0], 0.9) == 5


def test_a_summary_leaves_empty_answers_out_of_validity_and_length() -> None:
    summary = summarise(
        [
            outcome("a", ms=1.0),
            outcome("b", exact=False, valid=False, length_error=-2, ms=2.0),
            outcome("c", exact=False, empty=True, valid=False, length_error=-3, ms=9.0),
        ]
    )
    assert summary.means["exact"].value == pytest.approx(1 / 3)
    assert summary.means["valid"].value == pytest.approx(1 / 2)
    assert summary.means["empty"].value == pytest.approx(1 / 3)
    assert "passed" not in summary.means
    assert (summary.length_error, summary.length_exact) == (1.0, 0.5)
    assert (summary.ms_median, summary.ms_p90, summary.n) == (2.0, 9.0, 3)
    assert json.loads(json.dumps(summary.to_dict()))["exact"]["n"] == 3


def test_a_comparison_is_paired_by_task() -> None:
    ours = [outcome("a"), outcome("b"), outcome("only ours", exact=False)]
    theirs = [outcome("b", exact=False), outcome("a"), outcome("only theirs")]
    difference = compare(ours, theirs)
    assert (difference.value, difference.n) == (0.5, 2)
    assert difference.error == pytest.approx(0.5)


def test_the_pareto_front_is_what_nothing_faster_beats() -> None:
    assert report.pareto([(3, 0.2), (1, 0.1), (2, 0.3), (2, 0.2), (4, 0.4)]) == [(1, 0.1), (2, 0.3), (4, 0.4)]


# The baseline.


@pytest.mark.parametrize(
    ("kind", "prefix", "suffix", "expected"),
    [
        ("rest", "self.width = width\nself.he = he\nself.wid", "\n", "th = width"),
        ("rest", "x = call(a)\ny = call(b)\nz = call(", "\n", "b)"),  # the most recent of equal matches
        ("rest", "foo(alpha, 1)\nbar(alpha, 2)\nfoo(al", "\n", "pha, 1)"),  # longest before most recent
        ("rest", "value = ", "\nother = 1\nvalue = 2\n", "2"),  # behind the cursor
        ("rest", "ab\ncab", "\n", ""),  # a match at a line's end has nothing to copy, nor has a shorter one
        ("rest", "", "\nabc", ""),
        ("line", "x.ab = 1\r\ny.ab", "\r\n", " = 1"),
        ("arguments", "f(x, (1, 2))\nf(", ")\n", "x, (1, 2)"),
        ("expression", "f(x, (1, 2))\nf(", ", 3)\n", "x"),
        ("lines", "if a:\n    b()\n    c()\nelse:\n    d()\nif a", "\nelse:\n    pass\n", ":\n    b()\n    c()"),
    ],
)
def test_copying_the_longest_match(kind: str, prefix: str, suffix: str, expected: str) -> None:
    assert copied(prefix, suffix, kind) == expected


def test_copying_by_tokens_matches_whole_words_only() -> None:
    words = re.compile(r"\w+|\W")
    names: list[str] = []

    def encode(text: str) -> list[int]:
        found = words.findall(text)
        names.extend(word for word in dict.fromkeys(found) if word not in names)
        return [names.index(word) for word in found]

    def copy(prefix: str) -> str:
        return copied_tokens(prefix, "\n", "rest", encode, lambda ids: "".join(names[i] for i in ids))

    assert copy("a.width = 1\nb = 2\nc.width") == " = 1"
    assert copy("a.width = 1\nb = 2\nc.wid") == "", "half a word is no token of before"


def test_copying_finds_matches_of_any_length() -> None:
    line = "abcdefghij" * 30
    assert copied(f"{line}!\n{line}", "\n", "rest") == "!"


# Systems and the trial.


class Knowing:
    """An engine that knows the answers, makes a slip in its first draft, and remembers what it was asked."""

    def __init__(self, tasks: list[Task], gate: Callable[[str, str, str | None], Any]) -> None:
        self.answers = {(task.prefix, task.suffix): task.middle for task in tasks}
        self.gate = gate
        self.asked: list[InfillOptions] = []

    def fill(self, prompt: Prompt, options: InfillOptions = InfillOptions()) -> Infill:  # noqa: B008
        self.asked.append(options)
        known = self.answers[prompt.prefix, prompt.suffix]
        gate = self.gate(prompt.prefix, prompt.suffix, prompt.language)
        text = next((text for text in (known + "(", known) if gate.accepts(text)), "")
        if options.policy == "causal":
            return Infill((), 0, 1, {"total": 2.0}, "syntax")
        candidate = Candidate(text, -1.0, 0.5, "valid", len(text), "canvas")
        return Infill((candidate,), 2, 4, {"context": 1.0, "total": 6.0})


def knowing(tasks: list[Task]) -> tuple[Asker, Knowing]:
    recorder = Recorder()
    engine = Knowing(tasks, recorder)
    return Asker(engine, characters, text_of, 64, recorder), engine


def characters(text: str) -> list[int]:
    return list(map(ord, text))


def text_of(ids: list[int]) -> str:
    return "".join(map(chr, ids))


def test_every_policy_stands_at_every_step_count_beside_the_baselines() -> None:
    rows = systems(["confidence", "random"], (1, 2))
    assert [row.name for row in rows] == [
        "hone", "hone, no copies", "hone, true length", "causal", "copy", "copy, near", "copy, tokens", "confidence 1",
        "confidence 1, true length", "confidence 2", "confidence 2, true length", "random 1", "random 2",
    ]  # fmt: skip
    assert len(systems(["confidence", "random"], (1, 2), true_length="all")) == 15
    with pytest.raises(ValueError, match="unknown policy 'best'"):
        systems(["best"], (1,))


def test_all_systems_get_the_same_task_and_differ_in_what_they_are_about() -> None:
    asker, engine = knowing([RETURN])
    for system in systems(["confidence"], (4,)):
        asker.ask(system, RETURN)
    assert [(o.policy, o.steps, o.hole_length, o.copies, o.one_line) for o in engine.asked] == [
        (None, None, None, None, True),
        (None, None, None, 0, True),
        (None, None, 5, None, True),
        ("causal", None, None, None, True),
        ("confidence", 4, None, 0, True),
        ("confidence", 4, 5, None, True),
    ]


def test_an_answer_carries_the_first_draft_and_the_time_without_the_context() -> None:
    asker, _ = knowing([RETURN])
    answer = asker.ask(System("hone"), RETURN)
    assert (answer.text, answer.raw, answer.ms, answer.context_ms) == ("a + 1", "a + 1(", 5.0, 1.0)
    assert asker.ask(System("causal", "causal"), RETURN).reason == "syntax"


def test_kinds_take_turns_task_by_task() -> None:
    first, second = make_tasks(SOURCES, "rest", 2), make_tasks(SOURCES, "line", 1)
    one, two = System("one"), System("two")
    order = questions([Cell(first, [one, two]), Cell(second, [one])])
    assert [(system.name, task.kind) for system, task in order] == [
        ("one", "rest"), ("two", "rest"), ("one", "line"), ("one", "rest"), ("two", "rest"),
    ]  # fmt: skip


def test_a_run_that_was_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    tasks = make_tasks(SOURCES, "rest", 4)
    cells = [Cell(tasks, baselines())]
    path = tmp_path / "run.jsonl"
    asker, engine = knowing(tasks)
    steps = run_trial(asker, cells, Journal(path, {"model": "m"}))
    assert [next(steps) for _ in range(7)][-1] == (7, 28)
    with path.open("a") as file:
        file.write('{"system": "hone", "ta')
    journal = Journal(path, {"model": "m"})
    assert len(journal.outcomes) == 7
    remaining = run_trial(asker, cells, journal)
    assert next(remaining) == (8, 28)
    list(remaining)
    assert len(engine.asked) == 4 * 4  # no question twice
    assert Journal(path, {"model": "m"}).outcomes == journal.outcomes
    assert len(journal.done) == len(journal.outcomes) == 28
    with pytest.raises(ValueError, match="is of a run with model = 'm', not 'other'"):
        Journal(path, {"model": "other"})


def test_programs_are_run_with_the_answer_in_place() -> None:
    task = task_of("def f(a):\n    return «a + 1»\n", kind="humaneval", test="\nassert f(1) == 2\n")
    asker, _ = knowing([task])
    journal = Journal(None, {})
    list(run_trial(asker, [Cell([task], [baselines()[i] for i in (0, 2, 3)])], journal))
    assert [outcome.passed for outcome in journal.outcomes] == [True, True, False]


def test_the_result_is_a_table_a_picture_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tasks = [make_tasks(SOURCES, kind, 4) for kind in ("rest", "line")]
    cells = [Cell(group, systems(["confidence"], (1, 2))) for group in tasks]
    asker, _ = knowing(tasks[0] + tasks[1])
    journal = Journal(None, {})
    list(run_trial(asker, cells, journal))
    facts = {"device": "cpu", "dtype": "float32"}
    trial.show(EvalOptions(plot=tmp_path / "plot.png"), cells, journal, facts)
    table = capsys.readouterr().out
    assert "rest of the line (n = 4)" in table
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    trial.show(EvalOptions(json=True), cells, journal, facts)
    value = json.loads(capsys.readouterr().out)
    cell = {(cell["kind"], cell["system"]): cell for cell in value["cells"]}["line", "hone"]
    assert (cell["exact"]["value"], cell["valid"]["value"], cell["valid_raw"]["value"]) == (1.0, 1.0, 0.0)
    against = {(row["kind"], row["against"]): row for row in value["held_against"]}
    assert against["rest", "hone, true length"]["ratio"] == 1.0
    assert against["rest", "causal"]["ratio"] is None
    assert against["rest", "causal"]["difference"]["value"] == 1.0


# Options.


def test_options_name_what_is_wrong(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["--kinds", "rest,word"]) == 2
    assert "unknown kind 'word'" in capsys.readouterr().err
    assert main(["--n", "0"]) == 2
    assert main(["--steps", "0,1"]) == 2
    assert "--steps must be at least 1 each, not 0" in capsys.readouterr().err
    assert main(["--model", str(tmp_path / "nothing")]) == 2
    assert str(tmp_path / "nothing") in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["--n", "many"])
    assert "argument --n: invalid int value: 'many'" in (said := capsys.readouterr().err)
    assert said.count("\n") == 1
    (tmp_path / "x.py").write_text("x = 1\n", encoding="utf-8")
    with pytest.raises(FileNotFoundError, match=r"x\.py is no folder: --source wants a folder of Python files"):
        from_folder(tmp_path / "x.py")


@pytest.mark.parametrize(("given", "folder"), [("embedded", None), ("mine", Path("/models/mine"))])
def test_a_model_is_named_as_in_the_other_commands(
    given: str, folder: Path | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path | None] = []

    def run(options: EvalOptions, *_: object) -> int:
        asked.append(options.model)
        return 0

    monkeypatch.setattr("infill.evaluate.run", run)
    assert main(["--model", given], find=lambda name: Path("/models") / name) == 0
    assert asked == [folder]


def test_quick_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[EvalOptions] = []

    def run(options: EvalOptions) -> int:
        seen.append(options)
        return 0

    monkeypatch.setattr(trial, "run", run)
    assert main(["--quick"]) == 0
    assert (seen[0].n, seen[0].kinds, seen[0].steps) == (60, ("rest", "line"), (1, 4))
    assert main(["--policies", "random", "--steps", "2,4", "--kinds", "rest"]) == 0
    assert (seen[1].policies, seen[1].steps, seen[1].kinds) == (("random",), (2, 4), ("rest",))


def test_tasks_come_from_any_folder(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text(TEXT)
    made = tasks_of(EvalOptions(source=tmp_path, kinds=("rest", "line"), n=3), len, 64)
    assert [len(tasks) for tasks in made.values()] == [3, 3]
    with pytest.raises(ValueError, match="no task of kind 'block'"):
        tasks_of(EvalOptions(source=tmp_path, kinds=("block",), longest=1), len, 64)
    with pytest.raises(FileNotFoundError, match="hone data build"):
        tasks_of(EvalOptions(data=tmp_path), len, 64)


def test_help_does_not_wait_for_torch() -> None:
    code = "import sys; from infill import evaluate; sys.exit('torch' in sys.modules or 'matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
