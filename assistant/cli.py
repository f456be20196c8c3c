"""The command line: builds things and prints. The one place where every package may be imported, inside a command.

Results go to stdout and everything else to stderr. Exit codes: 0 an answer, 1 none, 2 an error, 130 interrupted.
Nothing heavy is imported before a command needs it, so that ``hone --help`` answers at once.
"""

import argparse
import io
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, NoReturn, cast

from assistant import __version__
from assistant.config import Settings, load_settings
from assistant.errors import (
    CannotEditError,
    DaemonError,
    HoneError,
    ModelError,
    RequestError,
    SettingError,
    SourceError,
)
from assistant.modelcommand import add_model, chosen
from assistant.models import (
    CANNOT_EDIT,
    CANNOT_FOLLOW,
    can_edit,
    edit_folder,
    for_edits,
    main_folder,
    name_of,
    tasks_of,
    untrained,
)
from assistant.refactor.arguments import add_fix, add_refactor
from assistant.source import Source, check_offset, offset_at, position_at, read_source, take_marker, write_source
from assistant.types import SOURCES, TASKS, Completer, Completion, CompletionRequest, CompletionResult, OnFinished

if TYPE_CHECKING:
    from assistant.refactor.asking import Ask
    from assistant.runtime import Endpoint
    from assistant.serve import Closable
    from assistant.types import EditRequest, EditResult, ShouldStop
    from assistant.workspace.command import Cut
    from infill.workspaces import Elsewhere

ANSWER, NONE, ERROR, INTERRUPTED = 0, 1, 2, 130

FORWARDED = {
    "data": ("model.build", "build the corpus and the tokenizer, pack and unpack them"),
    "train": ("model.train", "train a model"),
    "eval": ("infill.evaluate", "measure a model on held-out code"),
}
"""Commands that are programs of their own: the module whose ``main(argv)`` reads the rest of the line."""


def main(argv: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    # Threads that spin while they wait for each other make every step 70 times slower once another program wants the
    # cores, as a compiler does. OpenMP reads this when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        if arguments and arguments[0] in FORWARDED:
            return _forward(arguments[0], arguments[1:])
        options = build_parser().parse_args(arguments)
        code = cast(Callable[[argparse.Namespace], int], options.run)(options)
        sys.stdout.flush()
    except HoneError as error:
        return _complain(str(error))
    except ModuleNotFoundError as error:
        return _complain(f"{error.name} is missing; `hone doctor` says how to get it")
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader has seen enough, as in `hone complete ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ANSWER
    except Exception:  # noqa: BLE001 - our mistake: all of it is shown, and it must not look like "no answer"
        traceback.print_exc()
        return ERROR
    return code


def _complain(message: str) -> int:
    print("hone:", " ".join(message.split()), file=sys.stderr)
    return ERROR


class _Parser(argparse.ArgumentParser):
    """Complains in one line."""

    mixed = False
    """Whether options may stand between the words of a command that takes several."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        if not self.mixed:
            return super().parse_known_args(args, namespace)
        self.mixed = False  # what is called parses with this function itself
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self.mixed = True

    def error(self, message: str) -> NoReturn:
        self.exit(ERROR, f"hone: {message}; `{self.prog} --help` lists what there is\n")


def build_parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="hone", description="Completes code with a diffusion model. Nothing leaves this machine.")
    parser.add_argument("--version", action="version", version=f"hone {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_complete(commands)
    _add_fix(commands)
    _add_refactor(commands)
    _add_serve(commands)
    _add_lsp(commands)
    _add_context(commands)
    _add_demo(commands)
    _add_model(commands)
    _add_doctor(commands)
    _add_stats(commands)
    for name, (_, summary) in FORWARDED.items():
        commands.add_parser(name, help=summary, description=summary, add_help=False)
    return parser


Commands = Any  # argparse keeps the type of add_subparsers() private


def _forward(command: str, arguments: list[str]) -> int:
    try:
        module = import_module(FORWARDED[command][0])
    except ModuleNotFoundError as error:
        raise HoneError(f"`hone {command}` needs {error.name}: {sys.executable} -m pip install {error.name}") from error
    if command == "eval":
        return cast(int, module.main(arguments, _elsewhere(), _rules, lambda name: chosen(name)[0]))
    return cast(Callable[[Sequence[str]], int], module.main)(arguments)


def _rules(text: str, start: int, end: int, task: str) -> str | None:
    """Rules as `hone fix` applies them, for measuring what they are worth; None for a task that they do not do."""
    from assistant.rules import RULED, by_rule
    from assistant.types import EditRequest

    if task not in RULED:
        return None
    return by_rule(EditRequest(text, task, ((start, end),), language="python")).request.text


def _elsewhere() -> "Elsewhere":
    """Who looks for texts in other files, for measuring what they are worth."""
    from assistant.workspace.snippets import ORDER, offline
    from infill.workspaces import Elsewhere

    def find(root: Path, path: str, text: str, at: int, sources: Sequence[str]) -> list[tuple[str, str]]:
        index = root.parent / f"{root.name}.index"
        return [(one.path, one.text) for one in offline(root, path, text, at, sources, index=index)]

    # What was changed lately and what is wrong, a package on disk cannot tell.
    sources = ("definitions", "imports", "open")
    return Elsewhere(sources, tuple(one for one in ORDER if one in sources), find)


# --- complete


def _add_complete(commands: Commands) -> None:
    parser = commands.add_parser(
        "complete",
        help="complete the code at a place in a file",
        description="Complete the code at a place in FILE. The text to insert goes to stdout. "
        "Exit codes: 0 an answer, 1 none (the reason is on stderr), 2 an error.",
    )
    parser.set_defaults(run=_complete)
    parser.add_argument("file", metavar="FILE", help="the file, or - for stdin")
    where = parser.add_argument_group("where").add_mutually_exclusive_group(required=True)
    where.add_argument("--at", metavar="LINE:COL", help="the place, both counted from 1; columns are characters")
    where.add_argument("--offset", metavar="N", help="the place, in characters from the beginning of the file")
    where.add_argument("--marker", metavar="TEXT", help="the place where this text stands; it is taken out")
    parser.add_argument("--stdin-filename", metavar="NAME", help="what stdin is to be taken for, for its language")
    parser.add_argument("--language", metavar="NAME", help="python, tsx, ... instead of what the file's name says")
    _add_answer_options(parser)
    _add_model_options(parser)
    parser.add_argument(
        "--daemon",
        metavar="WHEN",
        help="ask a daemon: auto (if one runs), start (start one if none does) or never (auto)",
    )
    parser.add_argument(
        "--context", metavar="WHEN", help="what helps from the file's workspace goes along: auto or never (auto)"
    )
    _add_exclude_option(parser)
    _add_output_options(parser)


def _add_exclude_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--exclude",
        metavar="GLOB",
        action="append",
        help="files that never enter a prompt, beside those that hold secrets",
    )


def _add_answer_options(parser: argparse.ArgumentParser) -> None:
    # Values stay strings here: assistant.config converts and checks them, wherever they come from.
    group = parser.add_argument_group("the answer")
    group.add_argument("--n", metavar="N", help="alternatives at most (1)")
    group.add_argument("--max-tokens", metavar="N", help="longest answer in tokens (64)")
    group.add_argument(
        "--budget-ms", metavar="MS", help="time budget (opening the model aside); once spent, the draft is the answer"
    )
    group.add_argument("--steps", metavar="N", help="denoising steps per canvas (the model's default)")
    group.add_argument("--policy", metavar="NAME", help="which places are committed in a step (the model's default)")
    group.add_argument("--lengths", metavar="K", help="how many lengths are tried side by side (the model's default)")
    group.add_argument("--temperature", metavar="T", help="0 takes the likeliest token (0)")
    group.add_argument("--top-p", metavar="P", help="share of the probability that is drawn from (1)")
    group.add_argument("--seed", metavar="N", help="same seed, same answer (0)")
    lines = group.add_mutually_exclusive_group()
    lines.add_argument("--one-line", dest="one_line", action="store_true", default=None, help="stop at the line's end")
    lines.add_argument("--multi-line", dest="one_line", action="store_false", help="go on behind the line's end")


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the model")
    group.add_argument(
        "--model", metavar="NAME", help="an installed model, a checkpoint's folder, or embedded (the embedded model)"
    )
    group.add_argument(
        "--edit-model",
        metavar="NAME",
        help="the same for edits (the model, or the embedded one for edits where that cannot)",
    )
    group.add_argument("--device", metavar="NAME", help="auto, cpu, cuda, cuda:N or mps (auto)")
    group.add_argument("--dtype", metavar="NAME", help="auto, bfloat16 or float32 (auto)")
    group.add_argument("--quantize", metavar="NAME", help="int8 or int4: a published model's weights in fewer bits")
    group.add_argument("--threads", metavar="N", help="processor threads (one per core)")


def _add_output_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the output")
    form = group.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object per answer and line")
    form.add_argument("--in-place", action="store_true", help="write the best answer into the file instead")
    group.add_argument("--show-steps", action="store_true", help="watch the draft sharpen, on stderr")


def _complete(options: argparse.Namespace) -> int:
    settings = load_settings(vars(options))
    if options.in_place and options.file == "-":
        raise RequestError("--in-place needs a file to write to, not stdin")
    source = read_source(options.file, stdin_filename=options.stdin_filename)
    source, start = _locate(source, options)
    request = _request(source, start, settings, options)
    if source.path is not None:
        request = _with_context(request, source.path, settings)
    result = _answer(request, settings, watch=options.show_steps)
    if not result.completions:
        print(f"hone: no answer: {result.reason}", file=sys.stderr)
        return NONE
    if options.in_place:
        _write_in_place(source, result.completions[0])
    else:
        _print_completions(source, result, as_json=options.json)
    return ANSWER


def _locate(source: Source, options: argparse.Namespace) -> tuple[Source, int]:
    if options.marker is not None:
        text, start = take_marker(source.text, options.marker)
        return Source(text, source.name, source.path), start
    if options.offset is not None:
        return source, check_offset(source.text, _whole(options.offset, "--offset", "a whole number"))
    line, colon, column = options.at.partition(":")
    form = "LINE:COL, two whole numbers from 1"
    if not colon:
        raise RequestError(f"--at must be {form}, not {options.at!r}")
    return source, offset_at(source.text, _whole(line, "--at", form), _whole(column, "--at", form))


def _whole(text: str, flag: str, allowed: str) -> int:
    if not (text.isascii() and text.isdecimal()) or len(text) > 18:  # what int() takes besides is a typing slip here
        raise RequestError(f"{flag} must be {allowed}, not {text!r}")
    return int(text)


def _request(source: Source, start: int, settings: Settings, options: argparse.Namespace) -> CompletionRequest:
    if options.language is not None:
        _check_language(options.language)
    return CompletionRequest(
        source.text,
        start,
        filename=source.name or None,
        language=options.language,
        n=settings.n,
        max_tokens=settings.max_tokens,
        budget_ms=settings.budget_ms,
        steps=settings.steps,
        policy=settings.policy,
        lengths=settings.lengths,
        temperature=settings.temperature,
        top_p=settings.top_p,
        seed=settings.seed,
        one_line=options.one_line,
    )


PATIENCE_S = 2.0
"""For an index that is not up to date; what is left waits for the next time."""


def _with_context(request: CompletionRequest, path: Path, settings: Settings) -> CompletionRequest:
    from dataclasses import replace

    from assistant.workspace.command import check, look

    if settings.context == "never":
        check(path, settings.exclude)
        return request
    around = look(path, request.text, request.start, exclude=settings.exclude, patience_s=PATIENCE_S)
    return replace(request, extra=around.snippets)


def _check_language(language: str) -> None:
    from infill.languages import LANGUAGES, get

    if get(language) is None:
        known = ", ".join(row.name for row in LANGUAGES)
        raise RequestError(f"--language {language!r} is not known; known are {known}")


def _answer(request: CompletionRequest, settings: Settings, *, watch: bool) -> CompletionResult:
    ask = _watched(request) if watch else lambda completer: completer.complete(request)
    endpoint = _daemon(settings)
    if endpoint is not None:
        from assistant.client import Client

        try:
            with Client(endpoint) as client:
                return ask(client)
        except DaemonError as error:
            if settings.daemon == "start":
                raise
            _note(f"{error}; answering without it")
    from assistant.service import Assistant, open_infiller

    return ask(Assistant(lambda: open_infiller(settings)))


def _watched(request: CompletionRequest) -> Callable[[Completer], CompletionResult]:
    def ask(completer: Completer) -> CompletionResult:
        from rich.console import Console

        from assistant.render import Sharpening, summary

        console = Console(stderr=True, highlight=False)
        with Sharpening(console) as sharpening:
            result = completer.complete(request, on_step=sharpening)
        console.print(summary(result), style="dim")
        return result

    return ask


def _daemon(settings: Settings) -> "Endpoint | None":
    """The daemon to ask, or None to answer in this process."""
    if settings.daemon == "never":
        return None
    if settings.daemon == "start":
        from assistant.daemon import ensure

        return ensure(settings, tell=_note)
    from assistant import runtime

    try:
        endpoint = runtime.find()
    except DaemonError as error:
        _note(f"{error}; answering without a daemon")
        return None
    wrong = None if endpoint is None else runtime.misfit(endpoint, settings)
    if endpoint is not None and wrong is not None:
        _note(f"the daemon (process {endpoint.pid}) is not asked: {wrong}; --daemon start replaces it")
        return None
    return endpoint


def _note(message: str) -> None:
    print("hone:", message, file=sys.stderr, flush=True)


def _print_completions(source: Source, result: CompletionResult, *, as_json: bool) -> None:
    for index, completion in enumerate(result.completions, start=1):
        if as_json:
            print(json.dumps(_as_object(source, completion, result), ensure_ascii=False))
            continue
        if len(result.completions) > 1:
            sys.stdout.flush()
            print(f"# {index} of {len(result.completions)}, score {completion.score:.2f}", file=sys.stderr, flush=True)
        print(completion.text)


def _as_object(source: Source, completion: Completion, result: CompletionResult) -> dict[str, object]:
    line, column = position_at(source.text, completion.start)
    return {
        "text": completion.text,
        "file": source.name,
        "line": line,
        "column": column,
        "start": completion.start,
        "end": completion.end,
        "score": round(completion.score, 4),
        "confidence": round(completion.confidence, 4),
        "chance": round(completion.chance, 4),
        "verdict": completion.verdict,
        "tokens": completion.tokens,
        "origin": completion.origin,
        "steps": result.steps,
        "passes": result.passes,
        "ms": {part: round(spent, 1) for part, spent in result.timing_ms.items()},
    }


def _write_in_place(source: Source, completion: Completion) -> None:
    if source.path is None:
        raise SourceError("stdin cannot be written to")
    line, column = position_at(source.text, completion.start)
    write_source(source.path, source.text[: completion.start] + completion.text + source.text[completion.end :])
    print(f"hone: {source.path}:{line}:{column}: {len(completion.text)} characters inserted", file=sys.stderr)


# --- fix and refactor


def _add_fix(commands: Commands) -> None:
    parser = commands.add_parser(
        "fix",
        help="mend a file, or what another task says",
        description="Edit the blocks of FILE and show a patch; of stdin, print the whole text, mended. "
        "Exit codes: 0 done, 1 something would change (with --check), 2 an error.",
    )
    parser.set_defaults(run=_fix)
    add_fix(parser)
    _add_model_options(parser)


def _add_refactor(commands: Commands) -> None:
    parser = commands.add_parser(
        "refactor",
        help="do a task to many blocks of a repository: preview, verify, write, undo",
        description="Do TASK to the blocks of many files, in large batches. Shows a patch that `git apply` takes, and "
        "writes nothing without --write or --interactive. "
        "Exit codes: 0 done, 1 something would change (with --check), or nothing to resume or undo, 2 an error.",
    )
    parser.set_defaults(run=_refactor)
    parser.mixed = True
    add_refactor(parser)
    _add_model_options(parser)


def _fix(options: argparse.Namespace) -> int:
    from assistant.fix import run
    from model.damage.kinds import KINDS

    return run(options, {name: kind.group for name, kind in KINDS.items()}, _editing)


def _refactor(options: argparse.Namespace) -> int:
    from assistant.refactor.command import run
    from model.damage.kinds import KINDS

    return run(options, {name: kind.group for name, kind in KINDS.items()}, _editing)


def _follows(folder: Path) -> bool:
    """Whether the checkpoint follows instructions, as its config says. Only for published ones torch is imported."""
    from model.published.kind import is_published

    if not is_published(folder):
        return False
    from assistant.checkpoints import follows

    return follows(folder)


def _can(folder: Path, task: str) -> bool:
    from model.damage.kinds import group_of

    return group_of(task) in tasks_of(folder)


@contextmanager
def _editing(options: argparse.Namespace, batch: int) -> "Iterator[tuple[Ask, str, str]]":
    """Who edits, for several threads at once, what tells its model from others in the journal, and its name."""
    settings = load_settings(vars(options))
    by_words = options.instruction is not None
    chosen = for_edits(settings)
    if by_words and not _follows(main_folder(chosen)):
        chosen = settings  # the model that fills holes may
    elif options.task and not _can(main_folder(chosen), options.task) and _can(main_folder(settings), options.task):
        chosen = settings  # the same
    folder = main_folder(chosen)
    weights = sorted(folder.glob("*.safetensors"))
    # Its thresholds stand beside the weights, and decide what is an edit.
    stats = [(file.name, file.stat()) for file in (*weights, *sorted(folder.glob("*.json")))]
    state = [(name, stat.st_mtime_ns, stat.st_size) for name, stat in stats]
    model = f"{__version__} {folder.resolve()} {state} {settings.device} {settings.dtype}"
    endpoint = _daemon(settings)
    if endpoint is not None:
        from assistant.refactor.asking import by_daemon

        with by_daemon(endpoint) as ask:
            yield ask, f"{model} {endpoint.pid} {endpoint.started}", name_of(folder)
        return
    from model.damage.kinds import group_of

    known = () if _follows(folder) else tasks_of(folder)
    with ExitStack() as stack:

        @lru_cache(maxsize=1)
        def opened() -> "Ask":
            if weights and (by_words or not (can_edit(folder) or known)) and not _follows(folder):
                # As it would when it is open, which takes seconds.
                raise CannotEditError(CANNOT_FOLLOW if by_words else CANNOT_EDIT)
            from assistant.refactor.local import here
            from assistant.service import open_infiller

            return stack.enter_context(here(lambda: open_infiller(chosen), batch))

        lock = Lock()

        def ask(request: "EditRequest", should_stop: "ShouldStop") -> "EditResult":
            if request.instruction is None and known and group_of(request.task) not in known:
                raise CannotEditError(untrained(known, request.task))  # the same, before torch is there
            with lock:  # what the journal knows already needs no torch
                answer = opened()
            return answer(request, should_stop)

        yield ask, model, name_of(folder)


# --- serve


def _add_serve(commands: Commands) -> None:
    parser = commands.add_parser(
        "serve",
        help="hold the model for every editor and terminal, over HTTP",
        description="Run the daemon in this terminal, until Ctrl-C. Exit codes: 0 it ended in peace, 2 an error.",
    )
    parser.set_defaults(run=_serve)
    where = parser.add_argument_group("where")
    where.add_argument(
        "--host", metavar="NAME", help="address to listen at; beyond loopback it needs --token (127.0.0.1)"
    )
    where.add_argument("--port", metavar="N", help="port to listen at, 0 for a free one (8077)")
    where.add_argument("--any-port", action="store_true", help="where the port is taken, take a free one")
    where.add_argument("--socket", metavar="PATH", help="listen at this Unix socket instead")
    who = parser.add_argument_group("who may ask")
    who.add_argument("--token", metavar="TEXT", help="what every request must bring along; HONE_TOKEN hides it from ps")
    who.add_argument("--allow-host", metavar="NAME", action="append", help="a further name by which it may be called")
    who.add_argument(
        "--allow-origin", metavar="URL", action="append", help="a web page that may ask, as https://NAME:PORT"
    )
    _add_model_options(parser)
    limits = parser.add_argument_group("limits")
    limits.add_argument("--idle-unload", metavar="SECONDS", help="free the model when nobody has asked for so long")
    limits.add_argument("--exit-idle", metavar="SECONDS", help="end when nobody has asked for so long")
    limits.add_argument("--memory", metavar="MIB", help="drop caches when the process is larger than this")
    limits.add_argument("--queue", metavar="N", help="requests that may wait (256)")
    log = parser.add_argument_group("the log")
    log.add_argument(
        "--log-code", action="store_true", default=None, help="write code of requests and answers to the log"
    )
    _add_serve_commands(parser)


def _add_serve_commands(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    status = commands.add_parser(
        "status",
        help="what the daemon that runs is doing",
        description="Say what the daemon that runs is doing. Exit codes: 0 it runs, 1 none does, 2 an error.",
    )
    status.set_defaults(run=_serve_status)
    status.add_argument("--json", action="store_true", help="one JSON object")
    stop = commands.add_parser(
        "stop",
        help="end the daemon",
        description="End the daemon. Exit codes: 0 it has ended, 1 none ran, 2 an error.",
    )
    stop.set_defaults(run=_serve_stop)
    logs = commands.add_parser(
        "logs",
        help="what the daemon wrote",
        description="Print the log of daemons that were started by a front end.",
    )
    logs.set_defaults(run=_serve_logs)
    logs.add_argument("-n", "--lines", metavar="N", default="50", help="so many of the last lines (50)")
    logs.add_argument("-f", "--follow", action="store_true", help="go on with what is added, until Ctrl-C")


def _serve(options: argparse.Namespace) -> int:
    if options.socket is not None and (options.host, options.port) != (None, None):
        raise SettingError("--socket goes without --host and --port: the daemon listens at one place")
    settings = load_settings(vars(options))
    from assistant.serve import serve

    def open_worker(on_finished: OnFinished) -> "Closable":
        # torch comes in with these, while the server listens already.
        from assistant.service import open_infiller
        from assistant.worker import Beside, Limits, Worker

        limits = Limits(
            waiting=settings.queue or Limits.waiting,
            idle_unload_s=settings.idle_unload,
            memory_bytes=None if settings.memory is None else settings.memory * 2**20,
        )
        folder, name = edit_folder(settings), name_of(main_folder(settings))
        beside = None
        if folder is not None:
            instruct = _follows(folder)
            tasks = TASKS if instruct else tasks_of(folder)
            beside = Beside(name_of(folder), lambda: open_infiller(for_edits(settings)), tasks, instruct)
        return Worker(lambda: open_infiller(settings), limits, name=name, beside=beside, on_finished=on_finished)

    if not serve(settings, open_worker, any_port=options.any_port):
        sys.stderr.flush()
        os._exit(ANSWER)
    return ANSWER


def _serve_status(options: argparse.Namespace) -> int:
    from assistant.status import observe

    report = observe()
    print(json.dumps(report.as_object(), ensure_ascii=False) if options.json else report.as_text())
    return ANSWER if report.state == "running" else NONE


def _serve_stop(_: argparse.Namespace) -> int:
    from assistant.daemon import stop

    ended = stop()
    if ended is None:
        _note("no daemon runs")
        return NONE
    print(f"the daemon at {ended.address}, process {ended.pid}, has ended")
    return ANSWER


def _serve_logs(options: argparse.Namespace) -> int:
    from assistant.daemon import tail
    from assistant.runtime import log_file

    for piece in tail(log_file(), _whole(options.lines, "--lines", "a whole number"), follow=options.follow):
        sys.stdout.write(piece)
        sys.stdout.flush()
    return ANSWER


# --- lsp


def _add_lsp(commands: Commands) -> None:
    parser = commands.add_parser(
        "lsp",
        help="the language server, for editors",
        description="Speak the Language Server Protocol on stdin and stdout. The daemon is found or started beside it.",
    )
    parser.set_defaults(run=_lsp)
    parser.add_argument("--stdio", action="store_true", help="what it does anyway; some editors say so")
    parser.add_argument("--tcp", metavar="HOST:PORT", help="listen for one editor there instead, for debugging")
    _add_model_options(parser)


def _lsp(options: argparse.Namespace) -> int:
    from lsp.start import serve

    def read() -> Settings:
        return load_settings(vars(options))

    return serve(read(), options.tcp, reread=read)


# --- context


def _add_context(commands: Commands) -> None:
    parser = commands.add_parser(
        "context",
        help="what the model would see at a place in a file, and what was kept out",
        description="Show what the model would see at a place in FILE, from there and from other files, and what was "
        "kept out of it and why. No model is run. Exit codes: 0 shown, 1 nothing to forget, 2 an error.",
    )
    parser.set_defaults(run=_context)
    parser.add_argument("file", metavar="FILE", nargs="?", help="a file of a workspace")
    where = parser.add_argument_group("where").add_mutually_exclusive_group()
    where.add_argument("--at", metavar="LINE:COL", help="the place, both counted from 1; columns are characters")
    where.add_argument("--offset", metavar="N", help="the place, in characters from the beginning of the file")
    where.add_argument("--marker", metavar="TEXT", help="the place where this text stands; it is taken out")
    parser.add_argument("--source", metavar="NAME", action="append", help="only this source; may be repeated")
    parser.add_argument("--forget", metavar="FOLDER", help="remove the index of this workspace instead")
    _add_exclude_option(parser)
    parser.add_argument("--model", metavar="NAME", help="the checkpoint that would read it (the embedded model)")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def _context(options: argparse.Namespace) -> int:
    from rich.console import Console

    from assistant.workspace.command import as_object, check, look, show
    from assistant.workspace.index import forget
    from assistant.workspace.snippets import DEFAULT_SOURCES

    if options.forget is not None:
        was_there = forget(Path(options.forget))
        _note(f"the index of {options.forget} is {'gone' if was_there else 'not there'}")
        return ANSWER if was_there else NONE
    if options.file is None or (options.at, options.offset, options.marker) == (None, None, None):
        raise RequestError("a FILE and a place in it are needed: hone context FILE --at LINE:COL")
    settings = load_settings(vars(options))
    sources = tuple(options.source or DEFAULT_SOURCES)
    if unknown := [name for name in sources if name not in SOURCES]:
        raise RequestError(f"--source must be one of {', '.join(SOURCES)}, not {unknown[0]!r}")
    if options.file == "-":
        raise RequestError("a file of a workspace is needed, not stdin")
    if Path(options.file).is_file():
        check(Path(options.file), settings.exclude)  # before it is read
    source, at = _locate(read_source(options.file), options)
    console = Console()
    with Console(stderr=True).status("reading the workspace") as status:
        around = look(
            Path(options.file),
            source.text,
            at,
            sources=sources,
            exclude=settings.exclude,
            on_progress=lambda now: status.update(f"reading the workspace: {now.done} of {now.total} files"),
        )
    cut = _cut(source, at, settings)
    if options.json:
        print(json.dumps(as_object(options.file, source.text, at, around, cut), ensure_ascii=False))
    else:
        show(console, options.file, source.text, at, around, cut)
    return ANSWER


def _cut(source: Source, at: int, settings: Settings) -> "Cut":
    """By the function that the engine uses."""
    from assistant.workspace.command import Cut
    from infill.languages import resolve
    from model.checkpoint import CheckpointError, look
    from model.layout import encode_context
    from model.published.kind import is_published

    folder = main_folder(settings)
    if is_published(folder):
        return _cut_by_published(folder, source, at, settings)
    try:
        looked = look(folder)
    except CheckpointError as error:
        raise ModelError(f"{error}; `hone doctor` tells more") from error
    tokenizer, sizes = looked.tokenizer, looked.config
    layout = encode_context(
        tokenizer,
        source.text[:at].removeprefix("\ufeff").replace("\r\n", "\n"),
        source.text[at:].replace("\r\n", "\n"),
        language=resolve(None, source.name, source.text),
        filename=source.name,
        context=sizes.context,
        glue=sizes.glue,
        reserve=min(settings.max_tokens, sizes.context // 2),
    )
    middle = len(layout.ids) - 1 - layout.ids[::-1].index(tokenizer.pre)
    start = layout.ids.index(tokenizer.suf)
    prefix, suffix = layout.ids[middle + 1 :], layout.ids[start + 1 : middle]
    special = {tokenizer.bof, tokenizer.eof}
    shown = [tokenizer.decode([token for token in part if token not in special]) for part in (prefix, suffix)]
    return Cut(shown[0], shown[1], len(layout.ids), sizes.context)


def _cut_by_published(folder: Path, source: Source, at: int, settings: Settings) -> "Cut":
    from assistant.workspace.command import Cut
    from infill.inplace import SPARE, sides
    from model.published.denoiser import longest_hole
    from model.published.load import look

    try:
        looked = look(folder)
    except ValueError as error:
        raise ModelError(f"{error}; `hone doctor` tells more") from error
    tokenizer, family = looked.tokenizer, looked.family
    frame = sum(tokenizer.id_of(name) is not None for name in (*family.begin, *family.close))
    room = looked.positions - min(settings.max_tokens, longest_hole(looked.positions)) - SPARE
    before, behind = sides(tokenizer, source.text[:at], source.text[at:], room - frame)
    return Cut(tokenizer.decode(before), tokenizer.decode(behind), len(before) + len(behind) + frame, room)


# --- demo


def _add_demo(commands: Commands) -> None:
    parser = commands.add_parser(
        "demo",
        help="fill holes in three real files, or in yours",
        description="Fill the hole in each FILE and show it in its place. A hole is <CURSOR> in the text.",
    )
    parser.set_defaults(run=_demo)
    parser.add_argument("files", metavar="FILE", nargs="*", help="files with <CURSOR> in them (three that come along)")
    _add_model_options(parser)


def _demo(options: argparse.Namespace) -> int:
    from rich.console import Console

    from assistant.demo import SHOWN, Shown, run_demo
    from assistant.service import Assistant, open_infiller

    settings = load_settings(vars(options))
    console = Console()
    assistant = Assistant(lambda: open_infiller(settings))
    shown = [Shown(Path(file), "your hole") for file in options.files] or SHOWN
    answered = run_demo(assistant, shown, console)
    return ANSWER if answered == len(shown) else NONE


# --- model


def _add_model(commands: Commands) -> None:
    parser = commands.add_parser(
        "model",
        help="published models: list, pull, use, info, remove, bench",
        description="Models on this machine and on the hub of Hugging Face.",
    )
    add_model(parser)


# --- doctor


def _add_doctor(commands: Commands) -> None:
    parser = commands.add_parser(
        "doctor",
        help="what is wrong with this installation, and the command that mends it",
        description="Look at everything that Hone needs. Exit codes: 0 all is well, 1 something is broken, 2 an error.",
    )
    parser.set_defaults(run=_doctor)
    parser.add_argument("--json", action="store_true", help="one JSON object per check and line")
    _add_model_options(parser)


def _doctor(options: argparse.Namespace) -> int:
    from assistant.doctor import examine

    broken = False
    for check in examine(vars(options)):
        broken = broken or check.state == "broken"
        if options.json:
            print(json.dumps(check.as_object(), ensure_ascii=False), flush=True)
        else:
            print(check.as_text(), flush=True)
    return NONE if broken else ANSWER


# --- stats


def _add_stats(commands: Commands) -> None:
    parser = commands.add_parser(
        "stats",
        help="what was suggested, accepted and kept: counted on this machine, for you alone",
        description="Show what the language server has counted: numbers only, no code, nothing sent. "
        "`statistics = false` in the settings counts nothing. "
        "Exit codes: 0 there is something, 1 nothing yet, 2 an error.",
    )
    parser.set_defaults(run=_stats)
    parser.add_argument("--json", action="store_true", help="one JSON object, by language and by day")
    parser.add_argument("--days", metavar="N", help="the last N days, today among them (all)")
    parser.add_argument("--reset", action="store_true", help="forget everything that was counted")


def _stats(options: argparse.Namespace) -> int:
    import sqlite3

    from assistant import statistics

    path = statistics.statistics_file()
    days = None if options.days is None else _whole(options.days, "--days", "a whole number from 1")
    if days == 0:
        raise RequestError("--days must be a whole number from 1, not '0'")
    try:
        if options.reset:
            _note(f"the counts of {statistics.reset(path)} days are forgotten")
            return ANSWER
        found = statistics.report(days, path)
    except (sqlite3.Error, OSError) as error:
        raise HoneError(f"{path} cannot be read: {error}; `hone stats --reset`, or delete it") from error
    if options.json:
        print(json.dumps(found, ensure_ascii=False))
    elif found["days"]:
        from rich.console import Console

        Console(highlight=False).print(statistics.drawn(found))
    else:
        _note("nothing has been counted yet; suggestions in an editor are")
    return ANSWER if found["days"] else NONE
