"""``hone refactor``: blocks of a repository are selected, edited in large batches, shown, verified, written, undone.

Preview is the default. Nothing is written but by ``--write`` and ``--interactive``, and what they write, the journal
can take back. Results go to stdout, all else to stderr.
"""

import argparse
import json
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from types import FrameType
from typing import Any

from pathspec import GitIgnoreSpec
from pathspec.patterns.gitignore.base import GitIgnorePatternError
from rich.console import Console

from assistant.errors import ModelError, RequestError, SourceError
from assistant.refactor import git
from assistant.refactor.asking import Ask, Selected, changes
from assistant.refactor.change import Change
from assistant.refactor.diff import coloured, patch
from assistant.refactor.files import Original, below, here, read
from assistant.refactor.journal import Journal, Run, journal_file
from assistant.refactor.picking import Picker
from assistant.refactor.places import places
from assistant.refactor.report import Pace, count, objects, outcomes, skipped, watching
from assistant.refactor.select import KINDS, Text, Wanted, check_query
from assistant.refactor.verify import clear, passes, verify
from assistant.refactor.writing import Done, decided, finish, undo
from assistant.source import read_source
from assistant.types import TASKS
from assistant.workspace.command import workspace_of
from assistant.workspace.gate import Gate, KeptOut
from assistant.workspace.secrets import check_glob
from infill import languages

DONE, WOULD_CHANGE, ERROR = 0, 1, 2
TAUGHT = ("python",)
"""What the embedded model learned to edit; other languages are for those who ask for them."""
BATCH, JOBS = 32, 8
BEYOND = "beyond the limit"
NOWHERE, BEHIND = "does not exist", "is behind the end of the file"
NOT_AROUND = "with nothing of that kind around it"
MISTAKEN = (NOWHERE, BEHIND)
"""What a list of places is wrong about, where nothing of it is selected."""
LONGEST = 4096
"""Characters of an instruction, as the daemon takes them."""
SHOWN = 60
RESUME = "`hone refactor --resume` goes on where it was"
AGAIN = "the same command goes on where it was"
KEPT = (
    "task", "paths", "language", "include", "exclude", "kind", "name", "query", "limit", "limit_files", "jobs", "batch",
    "daemon", "write", "interactive", "verify", "verify_timeout", "force", "model", "edit_model", "device", "dtype",
    "threads", "instruction",
)  # fmt: skip
"""Options that an interrupted run is gone on with."""
OVERRIDDEN = ("model", "edit_model", "device", "dtype", "threads", "daemon", "jobs", "batch")
"""Those of them that may be others when it is."""

Editing = Callable[[argparse.Namespace, int], AbstractContextManager[tuple[Ask, str, str]]]
"""From options and the number of blocks side by side: who is asked, what tells its model from others, and its name."""


def run(options: argparse.Namespace, kinds: Mapping[str, str], editing: Editing) -> int:
    """``kinds``: the group of each kind of task.

    Raises:
        HoneError: what was asked for cannot be done; what stands in the files is whole.
    """
    with _interruptible():
        if options.undo or options.resume:
            _check_alone(options, kinds)
            # There is no task here, so the first word is a path as well.
            root = _root([Path(path) for path in [options.task, *options.paths] if path is not None])
            return _undo(root, options) if options.undo else _resume(root, options, kinds, editing)
        if options.instruction is not None:
            _take_instruction(options, kinds)
        else:
            check_task(options.task, kinds)
        return _Refactoring(options, kinds, editing).run()


def _check_alone(options: argparse.Namespace, kinds: Mapping[str, str]) -> None:
    """Nothing is said beside --undo or --resume that would count for nothing."""
    flag = "--undo" if options.undo else "--resume"
    word = options.task
    if word is not None and (word in TASKS or word in kinds) and not os.path.lexists(word):
        raise RequestError(f"the task {word!r} and {flag}, which is for the last run as it was begun: leave one out")
    for path in (word, *options.paths):
        if path is not None and not os.path.lexists(path):
            raise SourceError(f"{path} does not exist")
    # Those that say who is asked do no harm beside --undo: they stand in many an alias.
    heeded = {"task", "paths", *OVERRIDDEN, *(["force"] if options.undo else [])}
    besides = [*(name for name in KEPT if name not in heeded), "check", "from_stdin", "stdin_filename"]
    besides += ["resume", "json", "patch"] if options.undo else []
    for name in besides:
        if getattr(options, name, None):
            other = f"--{name.replace('_', '-')}"
            raise RequestError(f"{other} and {flag}, which is for the last run as it was begun: leave one out")


def _take_instruction(options: argparse.Namespace, kinds: Mapping[str, str]) -> None:
    """There is no task beside an instruction, so the first word is a path as well."""
    check_instruction(options.instruction)
    word = options.task
    if word is not None and (word in TASKS or word in kinds) and not os.path.lexists(word):
        raise RequestError(f"the task {word!r} and --instruction are two ways to say what is to be done: choose one")
    options.task, options.paths = None, [path for path in [word, *options.paths] if path is not None]


def check_instruction(instruction: str) -> None:
    """Raises:
    RequestError: it says nothing, or more than can be asked.
    """
    if not instruction.strip() or len(instruction) > LONGEST:
        raise RequestError(f"--instruction must say what is to be done, in at most {LONGEST} characters")


def check_task(task: str | None, kinds: Mapping[str, str]) -> str:
    """Raises:
    RequestError: it is none; lists those that there are.
    """
    known = f"it knows the tasks {', '.join(TASKS)}, and each of their {len(kinds)} kinds, which docs/edits.md lists"
    if task is None:
        raise RequestError("a TASK or --instruction TEXT is needed: `hone refactor fix src`; " + known)
    if task not in TASKS and task not in kinds:
        close = get_close_matches(task, [*TASKS, *kinds], 3)
        meant = f"; is it {' or '.join(close)}?" if close else ""
        raise RequestError(f"task {task!r} is unknown to the model: {known}{meant}")
    return task


@dataclass
class _Selection:
    root: Path
    selected: list[Selected] = field(default_factory=list[Selected])
    kept_out: list[KeptOut] = field(default_factory=list[KeptOut])
    """Of those that would have been of use."""
    read: int = 0
    """Files in which blocks were looked for."""

    @property
    def blocks(self) -> int:
        return sum(len(one.blocks) for one in self.selected)


class _Refactoring:
    def __init__(
        self,
        options: argparse.Namespace,
        kinds: Mapping[str, str],
        editing: Editing,
        *,
        places: Mapping[str, Sequence[int]] | None = None,
    ) -> None:
        """``places``: lines of files below the root, instead of what stands on stdin."""
        self.options, self.editing = options, editing
        self.include = _include(options.include)
        self.exclude = _exclude(options.exclude)
        self.task: str = options.task or ""
        self.instruction: str | None = options.instruction
        self.places = places
        self.limit = _whole(options.limit, "--limit")
        self.limit_files = _whole(options.limit_files, "--limit-files")
        self.jobs = _whole(options.jobs, "--jobs") or JOBS
        self.batch = _whole(options.batch, "--batch") or BATCH
        self.timeout_s = _seconds(options.verify_timeout, "--verify-timeout")
        self.writes = options.write or options.interactive
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self.colour = colours(options.color)
        for one, other in (("query", "kind"), ("query", "name")):
            if getattr(options, one) and getattr(options, other):
                raise RequestError(f"--{one} and --{other} are not for the same run: leave one out")
        if options.patch == "-" and options.json:
            raise RequestError("--patch - and --json both go to stdout: leave one out, or name a file")
        if options.verify_timeout is not None and options.verify is None:
            raise RequestError(f"--verify-timeout {options.verify_timeout} needs --verify COMMAND")
        self.wanted = Wanted(
            _choice(options.kind or "function", "--kind", KINDS),
            _pattern(options.name),
            options.query,
            broken=(options.kind is None and kinds.get(self.task, self.task) == "fix"),
        )
        self.languages = self._languages()

    def run(self) -> int:
        options = self.options
        from_stdin = options.from_stdin or "-" in options.paths
        if options.stdin_filename is not None:
            if options.paths != ["-"] or options.interactive or options.verify is not None:
                raise RequestError("--stdin-filename needs - as the only PATH, and neither --interactive nor --verify")
            return self._text(read_source("-", stdin_filename=options.stdin_filename).text)
        if from_stdin:
            if set(options.paths) - {"-"}:
                raise RequestError("PATHs and a list of FILE:LINE on stdin are two ways to say the same")
            found = self._listed() if self.places is None else self._placed(_root([]), self.places)
        else:
            found = self._walked([Path(path) for path in options.paths] or [Path()])
        self._tell_selection(found)
        if from_stdin and not found.selected:
            for one in found.kept_out:
                if one.reason in MISTAKEN:
                    named = here(found.root, one.path)
                    raise RequestError(f"stdin names {named}, which {one.reason}, and nothing else to be edited")
        if self.writes:
            return self._with_journal(found)
        with Journal(found.root) as journal:
            if (run := journal.unfinished()) is not None:
                self._offer(run)
            with self._told_where(AGAIN):
                return self._shown(self._edited(found, journal), found, journal)

    @contextmanager
    def _told_where(self, how: str) -> Iterator[None]:
        try:
            yield
        except KeyboardInterrupt:
            self._tell(f"interrupted; nothing is written, and what was answered so far is in the journal: {how}")
            raise

    def again(self, folder: Path, root: Path) -> _Selection:
        """What a run selects that was begun in ``folder``."""
        if self.places is not None:
            return self._placed(root, self.places)
        return self._walked([Path(path) for path in self.options.paths] or [folder])

    # Selecting.

    def _walked(self, paths: Sequence[Path]) -> _Selection:
        for path in paths:
            if not path.exists() and not path.is_symlink():
                raise SourceError(f"{path} does not exist")
        root = _root(paths)
        gate = Gate(root, self.exclude)
        found = _Selection(root)
        seen: set[str] = set()
        for path in paths:
            place = below(root, path)
            if place is None:
                raise RequestError(f"{path} is not below {root}: one repository at a time")
            if path.is_dir() and not path.is_symlink():
                kept_out: list[KeptOut] = []
                prefix = "" if place == "." else f"{place}/"
                for file in Gate(root / place, self.exclude).walk(kept_out):
                    if prefix + file.path not in seen:
                        seen.add(prefix + file.path)
                        self._take(found, gate, prefix + file.path, named=False)
                kept_out = [KeptOut(prefix + one.path, one.reason) for one in kept_out]
                found.kept_out += [one for one in kept_out if one.path.endswith("/") or self._fits(one.path)]
            elif place not in seen:
                seen.add(place)
                self._take(found, gate, place, named=True)
        return found

    def _listed(self) -> _Selection:
        if sys.stdin.isatty():
            raise RequestError("a list of FILE:LINE is needed on stdin, as from `ruff check --output-format concise`")
        named, passed_over = places(sys.stdin.read().splitlines())
        if passed_over:
            self._tell(f"{count(passed_over, 'line')} of stdin name{'s' * (passed_over == 1)} no place")
        root = _root([])
        found = _Selection(root)
        known: dict[str, list[int]] = {}
        for name, lines in named.items():
            if (place := below(root, Path(name))) is None:
                found.kept_out.append(KeptOut(os.path.abspath(name), "outside of the workspace"))  # noqa: PTH100
            else:
                known.setdefault(place, []).extend(lines)
        self.places = known
        return self._placed(root, known, found)

    def _placed(self, root: Path, known: Mapping[str, Sequence[int]], found: _Selection | None = None) -> _Selection:
        found = found or _Selection(root)
        gate = Gate(root, self.exclude)
        for place, lines in known.items():
            self._take(found, gate, place, named=True, lines=lines)
        return found

    def _take(
        self, found: _Selection, gate: Gate, path: str, *, named: bool, lines: Sequence[int] | None = None
    ) -> None:
        """A file, if it is wanted; ``named``: the user named it, so that nothing is left unsaid."""
        if self.include is not None and not self.include.match_file(path):
            return
        language = languages.language_of(path)
        if language is None and "." in path.rpartition("/")[2].lstrip("."):
            if named:
                found.kept_out.append(KeptOut(path, "of no known language"))
            return
        if language is not None and language not in self.languages:
            if named:
                found.kept_out.append(KeptOut(path, f"{language}, which --language {language} lets in"))
            return
        if lines is not None and not os.path.lexists(gate.root / path):
            found.kept_out.append(KeptOut(path, NOWHERE))
            return
        original = read(gate, path)
        if isinstance(original, KeptOut):
            if language is not None or named:
                found.kept_out.append(original)
            return
        language = language or languages.resolve(None, path, original.text)
        if language is None or language not in self.languages:
            return
        text = Text(original.text, language)
        found.read += 1
        if lines is None:
            blocks = text.blocks(self.wanted)
        else:
            blocks, missed = text.around(lines, self.wanted)
            found.kept_out += [
                KeptOut(f"{path}:{line}", NOT_AROUND if line <= len(text.starts) else BEHIND) for line in missed
            ]
        if blocks:
            found.selected.append(Selected(original, language, tuple(blocks)))

    def _fits(self, path: str) -> bool:
        inside = self.include is None or self.include.match_file(path)
        return inside and languages.language_of(path) in self.languages

    def _languages(self) -> list[str]:
        asked = [name for one in self.options.language or TAUGHT for name in one.split(",")]
        known = [row.name for row in languages.LANGUAGES if languages.parser(row.name) is not None]
        if "all" in asked:
            names = known
        else:
            names = []
            for one in asked:
                row = languages.get(one)
                if row is None or row.name not in known:
                    raise RequestError(f"--language {one!r} is not known; known are all, {', '.join(known)}")
                names.append(row.name)
        return names if self.wanted.query is None else check_query(self.wanted.query, names)

    # Editing.

    def _edited(self, found: _Selection, journal: Journal) -> list[Change]:
        changed: list[Change] = []
        if not found.selected:
            return changed
        with self.editing(self.options, self.batch) as (ask, model, name), ExitStack() as stack:
            pace = Pace()
            watched = stack.enter_context(watching(self.console, found.blocks, len(found.selected), pace))
            made = stack.enter_context(closing(changes(
                found.selected, self.task, ask, journal, model=model, name=name, jobs=max(self.jobs, 1),
                instruction=self.instruction, on_blocks=watched,
            )))  # fmt: skip
            for one in made:
                changed.append(self._limited(one, changed))
                pace.files += 1
                if self._is_full(changed):
                    break
        parts = [f"{count(pace.asked, 'block')} in {pace.seconds:.1f} s ({pace.per_second:.1f} blocks/s)"] * bool(
            pace.asked
        )
        parts += [f"{count(pace.known, 'block')} from the journal"] * bool(pace.known)
        left = found.blocks - sum(len(one.outcomes) for one in changed)
        unseen = f", {count(left, 'block')} not looked at, in {count(len(found.selected) - len(changed), 'file')}"
        self._tell(f"{', '.join(parts)}: {outcomes(changed)}{unseen * bool(left)}")
        return changed

    def _limited(self, change: Change, before: Sequence[Change]) -> Change:
        if self.limit is None:
            return change
        left = self.limit - sum(len(one.changed) for one in before)
        blocks = [one.block for one in change.changed]
        return change.only(blocks[:left], BEYOND)

    def _is_full(self, changed: Sequence[Change]) -> bool:
        blocks = sum(len(one.changed) for one in changed)
        files = sum(bool(one.changed) for one in changed)
        return (self.limit is not None and blocks >= self.limit) or (
            self.limit_files is not None and files >= self.limit_files
        )

    def _verified(self, changed: list[Change], found: _Selection, journal: Journal) -> list[Change]:
        if self.options.verify is None:
            return changed
        done = verify(
            changed,
            self.options.verify,
            found.root,
            journal,
            jobs=_whole(self.options.jobs, "--jobs") or os.cpu_count() or 1,
            folder=self._folder(found.root),
            timeout_s=self.timeout_s,
            tell=self._tell,
        )
        if done.blind:
            self._tell(
                f"note: {self.options.verify!r} passes even with these files broken, so it says nothing of the edits; "
                "does it run an installed copy?"
            )
        for path, output in sorted(done.failed.items()):
            self._tell(
                f"{here(found.root, path)} fails {self.options.verify!r}, and is left as it was there:\n{output}"
            )
        if done.trials:
            self._tell(f"{self.options.verify!r} ran {count(done.trials, 'time')}: {outcomes(done.changes)}")
        return done.changes

    # Showing.

    def _shown(self, changed: list[Change], found: _Selection, journal: Journal) -> int:
        changed = self._verified(changed, found, journal)
        self._print(changed, found.root)
        any_changed = any(one.changed for one in changed)
        if self.options.check:
            return WOULD_CHANGE if any_changed else DONE
        if any_changed and not self.options.json:
            self._tell("nothing is written; --write writes this, --interactive asks for each hunk")
        return DONE

    def _print(self, changed: Sequence[Change], root: Path, *, patches: bool = True) -> None:
        repository = git.top(root)
        prefix = "" if repository is None else git.prefix_of(repository, root)
        if self.options.patch is not None:
            whole = "".join(patch(one, prefix) for one in changed if one.changed)
            if self.options.patch == "-":
                out(whole)
                return
            try:
                Path(self.options.patch).write_bytes(whole.encode())
            except OSError as error:
                raise SourceError(f"--patch {self.options.patch} cannot be written: {error.strerror}") from error
            files = count(sum(bool(one.changed) for one in changed), "file")
            self._tell(f"the patch of {files} is in {self.options.patch}")
            patches = False
        for one in changed:
            if self.options.json:
                for values in objects(one):
                    out(json.dumps(values, ensure_ascii=False) + "\n")
            elif self.options.check and one.changed:
                out(f"{here(root, one.path)}: {count(len(one.changed), 'block')} would change\n")
            elif patches and one.changed:
                text = patch(one, prefix)
                out(coloured(text) if self.colour else text)
        sys.stdout.flush()

    def _text(self, text: str) -> int:
        """A text from stdin: shown, or, where it is to be written, given back."""
        name = self.options.stdin_filename
        language = languages.resolve(None, name, text)
        if language is None or language not in self.languages:
            raise RequestError(
                f"--stdin-filename {name}: {language or 'no known language'} is not wanted; see --language"
            )
        original = Original(Path(name).name, text.encode("utf-8", "surrogatepass"), 0o644)
        selected = Selected(original, language, tuple(Text(text, language).blocks(self.wanted)))
        root = _root([])
        if (reason := Gate(root, self.exclude).path(below(root, Path(name)) or Path(name).name)) is not None:
            raise SourceError(f"{name} never enters a prompt: {reason}")
        found = _Selection(root, [selected] if selected.blocks else [], read=1)
        self._tell_selection(found)
        with Journal(root) as journal:
            changed = self._edited(found, journal)
            if self.options.write and not self.options.json:
                out(changed[0].text if changed else text)
                return DONE
            return self._shown(changed, found, journal)

    # Writing.

    def _with_journal(self, found: _Selection) -> int:
        with Journal(found.root) as journal, journal.alone():
            clear(found.root, journal)
            run = journal.unfinished()
            if run is not None and run.state != "editing" and not self.options.force:
                if self._offered(run):
                    return finished(found.root, journal, run, self)
                raise RequestError(f"{half_written(run)}, --force leaves it as it is")
            if run is not None and run.state != "editing":
                journal.become(run, "written")
            elif run is not None:
                self._tell(f"a run of {run.when} was interrupted before it wrote; its answers are used again")
            self._check_clean(found)
            stored = {name: getattr(self.options, name) for name in KEPT}
            stored["paths"] = [path if path == "-" else os.path.abspath(path) for path in self.options.paths]  # noqa: PTH100
            run = journal.begin(
                self.task or told(self.instruction), stored | {"places": self.places, "folder": str(Path.cwd())}
            )
            try:
                return self.go_on(found, journal, run)
            except (RequestError, ModelError):  # after any other error, whoever is asked may be back
                journal.give_up(run)
                raise

    def go_on(self, found: _Selection, journal: Journal, run: Run) -> int:
        with self._told_where(RESUME):
            changed = self._verified(self._edited(found, journal), found, journal)
            if self.options.interactive:
                with self._picker() as picker:
                    changed = picker.pick(changed)
        self._print(changed, found.root, patches=False)
        journal.decide(run, decided(changed))
        return finished(found.root, journal, run, self)

    def _check_clean(self, found: _Selection) -> None:
        if self.options.force:
            return
        changed = git.uncommitted(found.root, [one.original.path for one in found.selected])
        if changed:
            named = ", ".join(here(found.root, one) for one in changed[:3]) + (
                f" and {len(changed) - 3} more" if len(changed) > 3 else ""
            )
            raise RequestError(
                f"{named}: changed since the last commit, or not in one; commit first, or --force (`hone refactor "
                "--undo` puts back what was there before)"
            )
        if git.top(found.root) is None:
            self._tell("not in a git repository: `hone refactor --undo` is the only way back")

    @contextmanager
    def _picker(self) -> Iterator[Picker]:
        with ExitStack() as stack:
            answers = sys.stdin
            if self.places is not None:  # stdin is the list
                try:
                    answers = stack.enter_context(Path("/dev/tty").open(encoding="utf-8"))
                except OSError:
                    raise RequestError("--interactive needs a terminal to ask at, and stdin is a list") from None

            def show(text: str) -> None:
                out(text)
                sys.stdout.flush()

            yield Picker(show, answers.readline, self.colour)

    def _offered(self, run: Run) -> bool:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            return False
        sys.stderr.write(f"hone: the run of {run.when} ({run.task}) was interrupted while it wrote. Finish it? [y/N] ")
        sys.stderr.flush()
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    def _offer(self, run: Run) -> None:
        how = "before it wrote" if run.state == "editing" else "while it wrote"
        undone = "" if run.state == "editing" else ", --undo takes it back"
        self._tell(f"the run of {run.when} ({run.task}) was interrupted {how}: --resume goes on with it{undone}")

    def _folder(self, root: Path) -> str:
        """Where the command of ``--verify`` runs: where the user is, as far as that is below the root."""
        return below(root, Path.cwd()) or ""

    def _tell_selection(self, found: _Selection) -> None:
        if self.options.verbose:
            for one in found.kept_out:
                self._tell(f"skipped {here(found.root, one.path)}: {one.reason}")
        # What is in folders like .git, nobody misses.
        if missed := [one for one in found.kept_out if one.reason != "not written by hand"]:
            more = "" if self.options.verbose else " (--verbose lists them)"
            self._tell(f"skipped: {skipped(missed)}{more}")
        if not found.selected:
            self._tell(f"nothing is selected: {self._why_nothing(found)}")

    def _why_nothing(self, found: _Selection) -> str:
        options = self.options
        if not found.read:
            like = f" that --include {' '.join(options.include)!r} takes" if options.include else ""
            return f"no file of {', '.join(self.languages)}{like} was found that may be edited"
        if self.places is not None:
            return "no block is around the lines that stdin names"
        where = f"in {count(found.read, 'file')}"
        if options.query is not None:
            return f"--query captures nothing {where}"
        if options.name is not None:
            return f"no {self.wanted.kind} {where} has a name like --name {options.name!r}"
        others = "; --kind class or --kind statement selects others" if options.kind is None else ""
        return f"there is no {self.wanted.kind} {where}{others}"

    def _tell(self, message: str) -> None:
        tell(message)


def told(instruction: str | None) -> str:
    """An instruction as a run is called by."""
    words = " ".join((instruction or "").split())
    return f'"{words if len(words) <= SHOWN else words[: SHOWN - 1] + "…"}"'


def tell(message: str) -> None:
    print("hone:", message, file=sys.stderr, flush=True)  # noqa: T201 (it is said to a person)


def colours(when: str | None) -> bool:
    """Whether what goes to stdout is coloured."""
    when = _choice(when or "auto", "--color", ("auto", "always", "never"))
    return when == "always" or (when == "auto" and Console().is_terminal and "NO_COLOR" not in os.environ)


def half_written(run: Run) -> str:
    return (
        f"the run of {run.when} ({run.task}) was interrupted while it wrote: `hone refactor --resume` finishes it, "
        "`hone refactor --undo` takes it back"
    )


def finished(root: Path, journal: Journal, run: Run, refactoring: "_Refactoring | None" = None) -> int:
    """Writes what is decided, and lets the command of ``--verify`` have the last word, in the work tree itself."""
    if run.state == "undoing":
        return _told_undone(root, run, undo(root, journal, run, force=True))
    done = finish(root, journal, run)
    command = run.options.get("verify")
    if command is not None and done.written:
        folder = Path(run.options["folder"])
        last = passes(command, folder if folder.is_dir() else root, refactoring.timeout_s if refactoring else None)
        if not last.passed:
            undone = undo(root, journal, run, force=True)
            tell(f"{command!r} fails in the work tree ({last.why}), and passes in a worktree:\n{last.output}")
            tell(f"{count(len(undone.written), 'file')} put back as they were")
            return ERROR
    journal.become(run, "written" if done.written else "ended")
    for path, reason in done.refused.items():
        tell(f"not written: {here(root, path)}{reason.removeprefix(path)}")
    if done.written:
        tell(f"{count(len(done.written), 'file')} written; `hone refactor --undo` puts back what was there")
    else:
        tell("nothing is written")
    return ERROR if done.refused else DONE


def _resume(root: Path, options: argparse.Namespace, kinds: Mapping[str, str], editing: Editing) -> int:
    with Journal(root) as journal:
        run = journal.unfinished()
        if run is None:
            tell("no run was interrupted here")
            return WOULD_CHANGE
        merged = argparse.Namespace(**(vars(options) | {name: run.options.get(name) for name in KEPT}))
        for name in OVERRIDDEN:
            if getattr(options, name) is not None:
                setattr(merged, name, getattr(options, name))
        with journal.alone():
            clear(root, journal)
            tell(f"going on with the run of {run.when} ({run.task})")
            refactoring = _Refactoring(merged, kinds, editing, places=run.options.get("places"))
            if run.state != "editing":
                return finished(root, journal, run, refactoring)
            found = refactoring.again(Path(run.options["folder"]), root)
            return refactoring.go_on(found, journal, run)


def _undo(root: Path, options: argparse.Namespace) -> int:
    if not journal_file(root).exists():
        tell("no run has written anything here")
        return WOULD_CHANGE
    with Journal(root) as journal, journal.alone():
        clear(root, journal)
        run = journal.undoable()
        if run is None:
            tell("no run has written anything here that is not undone")
            return WOULD_CHANGE
        return _told_undone(root, run, undo(root, journal, run, force=options.force))


def _told_undone(root: Path, run: Run, done: Done) -> int:
    for path, reason in done.refused.items():
        tell(f"not put back: {here(root, path)}{reason.removeprefix(path)}")
    if done.refused and not done.written:
        tell("nothing is put back; --force puts back the other files")
        return ERROR
    tell(f"the run of {run.when} ({run.task}) is undone: {count(len(done.written), 'file')} put back")
    return ERROR if done.refused else DONE


def _root(paths: Sequence[Path]) -> Path:
    """The workspace of the paths, or of this folder; else the folder itself."""
    found: set[Path] = set()
    for path in paths or [Path()]:
        folder = path if path.is_dir() and not path.is_symlink() else path.parent
        found.add(workspace_of(folder / "-") or Path(os.path.realpath(folder)))
    if len(found) > 1:
        raise RequestError(f"one repository at a time, not {' and '.join(sorted(map(str, found)))}")
    return found.pop()


@contextmanager
def _interruptible() -> Iterator[None]:
    """What ends a process politely is as Ctrl-C: everything temporary is taken away."""

    def stop(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signals = [one for name in ("SIGTERM", "SIGHUP") if (one := getattr(signal, name, None)) is not None]
    before = [signal.signal(one, stop) for one in signals]
    try:
        yield
    finally:
        for one, old in zip(signals, before, strict=True):
            signal.signal(one, old)


def out(text: str) -> None:
    """As it is: no line end becomes another one."""
    stream: Any = getattr(sys.stdout, "buffer", None)
    if stream is None:
        sys.stdout.write(text)
    else:
        sys.stdout.flush()
        stream.write(text.encode("utf-8", "surrogatepass"))


def _whole(value: str | None, flag: str) -> int | None:
    if value is None:
        return None
    if not (str(value).isascii() and str(value).isdecimal()) or not 0 < int(value) < 10**9:
        raise RequestError(f"{flag} must be a whole number from 1, not {value!r}")
    return int(value)


def _seconds(value: str | None, flag: str) -> float | None:
    try:
        number = None if value is None else float(value)
    except ValueError:
        number = -1.0
    if number is not None and not 0 < number < 10**7:
        raise RequestError(f"{flag} must be a number of seconds, not {value!r}")
    return number


def _choice(value: str, flag: str, allowed: Iterable[str]) -> str:
    if value not in (allowed := tuple(allowed)):
        raise RequestError(f"{flag} must be one of {', '.join(allowed)}, not {value!r}")
    return value


def _include(globs: Sequence[str] | None) -> GitIgnoreSpec | None:
    if not globs:
        return None
    for one in globs:
        try:
            patterns = list(GitIgnoreSpec.from_lines([one]).patterns)
        except (GitIgnorePatternError, re.error) as error:
            raise RequestError(f"--include {one!r} is no glob: {error}") from error
        if all(pattern.include is None for pattern in patterns):
            raise RequestError(f"--include {one!r} is no glob: it matches nothing; \\[ or \\# stands for the character")
    return GitIgnoreSpec.from_lines(globs)


def _exclude(globs: Sequence[str] | None) -> tuple[str, ...]:
    for one in globs or ():
        try:
            check_glob(one)
        except ValueError as error:
            raise RequestError(f"--exclude {error}") from error
    return tuple(globs or ())


def _pattern(value: str | None) -> re.Pattern[str] | None:
    try:
        return None if value is None else re.compile(value)
    except re.error as error:
        raise RequestError(f"--name is no regular expression: {error}, in {value!r}") from error
