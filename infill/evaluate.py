"""``hone eval``: how good are the answers, and how long do they take? On code that the model has never seen.

Every system answers the same tasks in the same run, one task after the other, so that what else the machine does
disturbs all of them alike. Each judged answer is appended to a journal at once: a run that was stopped goes on where it
was. Importing this module does not import torch.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from infill.tasks import KINDS, Source, Task, from_corpus, from_folder, from_humaneval, from_quixbugs, make_tasks
from model.options import Parser, whole

if TYPE_CHECKING:
    from infill.repairs import Rules
    from infill.workspaces import Elsewhere

TREE_KINDS = ("rest", "line", "lines", "expression", "arguments", "block")
TYPED = ("rest", "line")
STEPS = (1, 2, 4, 8, 16)
QUICK = 60
DATA = Path("data")
BENCH = Path("benchmarks/data")


@dataclass(frozen=True)
class EvalOptions:
    """What one evaluation may choose.

    Raises:
        ValueError: names the option, its value and what is allowed.
    """

    model: Path | None = None
    """A checkpoint's folder; None for the embedded weights."""
    data: Path = DATA
    split: str = "valid"
    source: Path | None = None
    """A folder of Python files instead of the corpus."""
    n: int = 500
    """Tasks of each kind."""
    kinds: tuple[str, ...] = ()
    """Empty: ``TREE_KINDS``, or ``TYPED`` where the question is what somebody who types sees."""
    steps: tuple[int, ...] = ()
    """Empty: ``STEPS``, or what is enough for the question."""
    policies: tuple[str, ...] = ()
    """Empty: all of them."""
    true_length: str = "default"
    bench: Path | None = None
    programs: bool = True
    """Run the benchmarks when they are there."""
    bench_n: int | None = None
    """Tasks of each benchmark at most; None for all."""
    longest: int | None = None
    """Most tokens of a middle; None: what one canvas holds."""
    seed: int = 0
    quick: bool = False
    one_line: bool = True
    json: bool = False
    plot: Path | None = None
    resume: Path | None = None
    device: str = "auto"
    dtype: str = "auto"
    calibrate: bool = False
    chances: bool = False
    context: bool = False
    quiet: bool = False
    edits: bool = False

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.kinds if kind not in KINDS]
        if unknown and not self.edits:
            raise ValueError(f"--kinds: unknown kind {unknown[0]!r}; there are {', '.join(KINDS)}")
        if self.split not in ("valid", "test"):
            raise ValueError(f"--split must be valid or test, not {self.split!r}")
        if self.n < 1:
            raise ValueError(f"--n must be at least 1, not {self.n}")
        if self.chances and not self.calibrate:
            raise ValueError("--chances is a part of --calibrate: give both")
        if self.calibrate + self.context + self.quiet > 1 or self.edits + self.context + self.quiet > 1:
            raise ValueError(
                "--calibrate, --context, --quiet and --edits are questions of their own: ask one at a time (but "
                "--edits --calibrate, which chooses the thresholds of edits)"
            )
        if any(count < 1 for count in self.steps):
            raise ValueError(f"--steps must be at least 1 each, not {min(self.steps)}")
        if self.true_length not in ("default", "all", "none"):
            raise ValueError(f"--true-length must be default, all or none, not {self.true_length!r}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of ``hone eval``; their names are those of ``EvalOptions``."""
    add = parser.add_argument
    where = parser.add_argument_group("what is measured")
    where.add_argument(
        "--model", metavar="NAME", help="an installed model, a checkpoint's folder, or embedded (the embedded model)"
    )
    where.add_argument("--data", type=Path, metavar="FOLDER", default=DATA, help="a built corpus (default: data)")
    where.add_argument(
        "--split",
        default="valid",
        choices=["valid", "test"],
        help="valid, to choose by, or test, to report (valid)",
    )
    where.add_argument("--source", type=Path, metavar="FOLDER", help="any folder of Python files instead of the corpus")
    where.add_argument(
        "--kinds",
        type=words,
        default=(),
        metavar="A,B",
        help=f"of {','.join(KINDS)} (default: all up to block; {','.join(TYPED)} for --calibrate, --context, --quiet)",
    )
    where.add_argument("--n", type=int, default=500, help="tasks of each kind (default: 500)")
    where.add_argument("--longest", type=int, metavar="TOKENS", help="longest middle (default: what one canvas holds)")
    where.add_argument(
        "--bench",
        type=Path,
        metavar="FOLDER",
        help="HumanEval-Infilling and QuixBugs (default: benchmarks/data if there)",
    )
    where.add_argument("--no-bench", dest="programs", action="store_false", help="run no programs")
    where.add_argument("--bench-n", type=int, metavar="N", help="tasks of each benchmark at most")
    how = parser.add_argument_group("who is asked")
    how.add_argument(
        "--policies",
        type=words,
        default=(),
        metavar="A,B",
        help="of infill.policy, or with --edits of rules,canvas,causal (default: all)",
    )
    how.add_argument(
        "--steps", type=numbers, default=(), metavar="1,2,4", help="denoising steps (1,2,4,8,16; 1 for --calibrate)"
    )
    how.add_argument(
        "--true-length",
        default="default",
        choices=["default", "all", "none"],
        help="policies that are also told the true length: the first one, all, none",
    )
    how.add_argument(
        "--free", dest="one_line", action="store_false", help="do not tell one-line kinds that one line is wanted"
    )
    how.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:N or mps (auto)")
    how.add_argument("--dtype", default="auto", metavar="NAME", help="auto, bfloat16 or float32 (auto)")
    how.add_argument("--seed", type=whole(0, 2**63 - 1), default=0, help="of the choice of tasks and of answers (0)")
    how.add_argument("--quick", action="store_true", help=f"{QUICK} tasks, one policy, two step counts, two kinds")
    add(
        "--calibrate",
        action="store_true",
        help="choose the judge's numbers and how likely answers are right on this split; writes calibration.json",
    )
    add("--chances", action="store_true", help="with --calibrate: leave the judge's numbers as they are")
    add("--context", action="store_true", help="what texts from other files of a workspace are worth, by their source")
    add("--quiet", action="store_true", help="how true the chances are, and what is shown above each of them")
    add(
        "--edits",
        action="store_true",
        help="how well blocks that were made worse are mended, and right ones left alone; --kinds are kinds of damage",
    )
    add("--json", action="store_true", help="JSON on stdout instead of tables")
    add("--plot", type=Path, metavar="FILE.png", help="quality against time")
    add("--resume", type=Path, metavar="FILE.jsonl", help="journal of answers: appended to, and not asked again")


def words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in words(text))


def main(
    argv: Sequence[str] | None = None,
    elsewhere: "Elsewhere | None" = None,
    rules: "Rules | None" = None,
    find: Callable[[str], Path] = Path,
) -> int:
    """``hone eval``: exit code 0, or 2 with one line that names what is wrong.

    elsewhere: finds texts in other files, rules: mends syntax errors, find: the folder of an installed model; nobody
    does for ``python -m infill.evaluate``.
    """
    parser = Parser(prog="hone eval", description=(__doc__ or "").split("\n", 1)[0])
    add_arguments(parser)
    try:
        arguments = parser.parse_args(argv)
        arguments.model = None if arguments.model in (None, "embedded") else find(arguments.model)
        return run(options_of(arguments), elsewhere, rules)
    except (ValueError, FileNotFoundError) as error:
        sys.stderr.write(f"hone eval: {error}\n")
        return 2


def options_of(arguments: argparse.Namespace) -> EvalOptions:
    """Raises: ValueError for a value that is not allowed."""
    names = {field.name for field in fields(EvalOptions)}
    chosen = EvalOptions(**{name: value for name, value in vars(arguments).items() if name in names})
    return quick(chosen) if chosen.quick else chosen


def quick(options: EvalOptions) -> EvalOptions:
    """A first impression in a minute or so: not enough tasks for a verdict."""
    policies = options.policies or ("confidence",)
    return replace(options, n=min(options.n, QUICK), kinds=("rest", "line"), steps=(1, 4), policies=policies)


def run(options: EvalOptions, elsewhere: "Elsewhere | None" = None, rules: "Rules | None" = None) -> int:
    """Measure and print; everything but the result goes to stderr. Returns the exit code: 0, or 130 when interrupted.

    Raises:
        ValueError, FileNotFoundError: a flag, a folder or a journal that cannot be used; the message names it.
        model.checkpoint.CheckpointError: the model cannot be loaded.
    """
    # torch comes in here, so that the help text need not wait for it
    from infill import calibrate, neighbours, quiet, repairs, trial  # noqa: PLC0415

    if options.edits:
        return repairs.run(options, rules)
    if options.calibrate:
        return calibrate.run(options, elsewhere)
    if options.context:
        return neighbours.run(options, elsewhere)
    return quiet.run(options, elsewhere) if options.quiet else trial.run(options)


def tasks_of(options: EvalOptions, count: Callable[[str], int], longest: int) -> dict[str, list[Task]]:
    """The held-out tasks of each kind that was asked for.

    Raises: FileNotFoundError when there is no corpus; ValueError when a kind finds no task.
    """
    sources = files_of(options)
    longest = options.longest or longest
    typed = options.calibrate or options.context or options.quiet
    made = {
        kind: make_tasks(sources, kind, options.n, seed=options.seed, longest=longest, count=count)
        for kind in options.kinds or (TYPED if typed else TREE_KINDS)
    }
    empty = [kind for kind, tasks in made.items() if not tasks]
    if empty:
        raise ValueError(f"no task of kind {empty[0]!r} in {options.source or options.data / options.split}")
    return made


def files_of(options: EvalOptions) -> list[Source]:
    """Every held-out file. Raises: FileNotFoundError when there is no corpus."""
    return from_folder(options.source) if options.source else from_corpus(options.data, options.split)


def bench_tasks(options: EvalOptions) -> dict[str, list[Task]]:
    """Tasks with a test to run; without ``--bench`` only when the usual folder exists."""
    folder = options.bench or (BENCH if BENCH.is_dir() else None)
    if folder is None or not options.programs or (options.quick and options.bench is None):
        return {}
    return {
        "humaneval": from_humaneval(folder)[: options.bench_n],
        "quixbugs": from_quixbugs(folder)[: options.bench_n],
    }


if __name__ == "__main__":
    sys.exit(main())
