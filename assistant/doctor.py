"""`hone doctor`: look at everything that Hone needs, say what is wrong and the command that mends it.

Each check is a generator function over what was found before it; none of them raises, because a doctor that falls over
what is broken is of no use. So everything heavy is imported inside.
"""

import os
import platform
import shlex
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from assistant.config import Settings, config_path, load_settings
from assistant.errors import CannotEditError, HoneError
from assistant.types import CompletionRequest, EditRequest

State = Literal["ok", "warning", "broken"]

PYTHON = (3, 11)
TORCH = "2.13"
"""The release that Hone is tested with; others may work."""
LEAST_MEMORY = 1 * 2**30
LEAST_DISK = 512 * 2**20
PROBE = "def area(width, height):\n    return "
EDIT_MS = 20_000
"""What a large model may take to look at it."""
WRONG = "def area(width, height):\n    if width == None:\n        retrun 0\n"
"""Something for every task."""


@dataclass(frozen=True)
class Check:
    name: str
    state: State
    found: str
    fix: str | None = None
    """A command, or what to do where no command can."""

    def as_text(self) -> str:
        sign = {"ok": "ok     ", "warning": "warning", "broken": "BROKEN "}[self.state]
        line = f"{sign}  {self.name:8}  {self.found}"
        return f"{line}\n{'':19}-> {self.fix}" if self.fix else line

    def as_object(self) -> dict[str, str | None]:
        return asdict(self)


def examine(flags: Mapping[str, Any]) -> Iterator[Check]:
    """All checks, one after the other, cheap ones first."""
    yield check_python()
    yield check_memory()
    yield check_disk()
    settings, check = check_settings(flags)
    yield check
    yield from check_daemon()
    yield from check_grammars()
    torch = check_torch()
    yield torch
    if torch.state == "broken":
        yield Check("model", "broken", "not looked at, because torch does not work")
        return
    yield check_device(settings)
    yield from check_model(settings)


def check_python() -> Check:
    found = f"{platform.python_version()} ({sys.executable}) on {platform.system()} {platform.machine()}"
    if sys.version_info < PYTHON:
        return Check("python", "broken", found, "install Python 3.11 or newer, then: rm -rf .venv && make install")
    return Check("python", "ok", found)


def check_memory() -> Check:
    try:
        import psutil
    except ImportError:
        return Check("memory", "warning", "cannot be read: psutil is missing", _install("psutil"))
    memory = psutil.virtual_memory()
    found = f"{_size(memory.available)} free of {_size(memory.total)}, {os.cpu_count()} cores"
    if memory.available < LEAST_MEMORY:
        return Check("memory", "warning", found, "close something: Hone wants 1 GiB")
    return Check("memory", "ok", found)


def check_disk() -> Check:
    here = Path(__file__).resolve().parent
    free = shutil.disk_usage(here).free
    found = f"{_size(free)} free on the disk that holds Hone"
    if free < LEAST_DISK:
        return Check("disk", "warning", found, "make room: caches and updates want 512 MiB")
    return Check("disk", "ok", found)


def check_settings(flags: Mapping[str, Any]) -> tuple[Settings, Check]:
    """The settings in force, or the defaults where they are bad."""
    path = config_path(os.environ)
    try:
        settings = load_settings(flags)
    except HoneError as error:
        return Settings(), Check("settings", "broken", str(error), f"correct that value; the file is {path}")
    changed = [
        f"{key}={'(set)' if key == 'token' else value}"
        for key, value in vars(settings).items()
        if value != getattr(Settings(), key)
    ]
    source = str(path) if path.is_file() else f"no file at {path}"
    return settings, Check("settings", "ok", f"{', '.join(changed) or 'defaults'} ({source})")


def check_daemon() -> Iterator[Check]:
    """Whether one runs, is ours and answers; and why its last empty answers were empty."""
    try:
        from assistant.status import explain, observe
    except ImportError as error:
        yield Check("daemon", "broken", f"cannot be looked for: {error}", _install(error.name or "psutil"))
        return
    report = observe()
    if report.state == "none":
        yield Check("daemon", "ok", "none runs; `hone serve` or an editor starts one")
        return
    if report.pid is None or report.state == "silent":
        yield Check("daemon", "warning", report.detail, "hone serve stop")
        return
    found = f"version {report.version}, process {report.pid}, at {report.address}"
    if report.state == "opening":
        yield Check("daemon", "ok", f"{found}, opens its model")
    elif report.detail:
        yield Check("daemon", "warning", f"{found}: {report.detail}", "hone serve stop")
    else:
        yield Check("daemon", "ok", f"{found}, {report.requests} requests")
    for reason, count, meaning, fix in explain(report.empty or {}):
        yield Check("empty", "ok", f"{count} of its last answers: {reason}: {meaning}", fix)


def check_grammars() -> Iterator[Check]:
    try:
        from infill.languages import grammars, parser
    except ImportError as error:
        yield Check("grammars", "broken", f"tree-sitter does not import: {error}", _install("tree-sitter"))
        return
    rows = grammars()
    for name, package, version in rows:
        if version is None:
            yield Check("grammars", "broken", f"{name}: {package} is not installed", _install(package))
        elif parser(name) is None:
            yield Check(
                "grammars", "broken", f"{name}: {package} {version} does not load", _install(package, "--upgrade")
            )
    working = [name for name, _, version in rows if version and parser(name)]
    if len(working) == len(rows):
        yield Check("grammars", "ok", f"{len(rows)} languages: {', '.join(working)}")


def check_torch() -> Check:
    fix = _install(f"torch=={TORCH}.0")
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a shared library that does not load
        return Check("torch", "broken", f"does not import: {error}", fix)
    total = float(torch.ones(4, 4).matmul(torch.ones(4, 4)).sum())
    if total != 64.0:
        return Check("torch", "broken", f"{torch.__version__} multiplies wrongly: {total}, not 64", fix)
    found = f"{torch.__version__}, {torch.get_num_threads()} threads"
    if not torch.__version__.startswith(f"{TORCH}."):
        return Check("torch", "warning", f"{found}; Hone is tested with {TORCH}", fix)
    return Check("torch", "ok", found)


def check_device(settings: Settings) -> Check:
    import torch

    there = {"cpu": platform.processor() or platform.machine()}
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(index)
            there[f"cuda:{index}"] = f"{torch.cuda.get_device_name(index)}, {_size(free)} free of {_size(total)}"
    if torch.backends.mps.is_available():
        there["mps"] = "Apple GPU"
    found = "; ".join(f"{name} ({what})" for name, what in there.items())
    wanted = "cuda:0" if settings.device == "cuda" else settings.device
    if wanted not in {"auto", *there}:
        fix = "choose one of these with --device, HONE_DEVICE or the settings file"
        return Check("device", "broken", f"{settings.device} is not there; there is {found}", fix)
    return Check("device", "ok", f"{settings.device}: {found}")


def check_model(settings: Settings) -> Iterator[Check]:
    """Open the model and let it answer once: that is what everything above is for."""
    fix = "git checkout -- model/weights"
    if settings.model is not None:
        fix = f"see that {settings.model} is a complete checkpoint, or take the embedded one: `hone model use embedded`"
    try:
        from assistant.service import Assistant, open_infiller
    except ImportError as error:
        yield Check("model", "broken", f"the engine does not import: {error}", "make install")
        return
    yield from check_published(settings)
    assistant = Assistant(lambda: open_infiller(settings))
    try:
        started = time.perf_counter()
        assistant.open()
        opened = time.perf_counter() - started
        result = assistant.complete(CompletionRequest(PROBE, len(PROBE), language="python", one_line=True))
    except HoneError as error:
        yield Check("model", "broken", str(error), fix)
        return
    name = settings.model or "embedded"
    yield Check("model", "ok", f"{name}, opened in {opened * 1000:.0f} ms")
    spent = f"{result.timing_ms.get('total', 0.0):.0f} ms"
    if result.completions:
        yield Check("answer", "ok", f"{PROBE.splitlines()[-1].strip()} -> {result.completions[0].text!r} in {spent}")
    else:
        yield Check("answer", "warning", f"none in {spent}: {result.reason}", "is this model trained? See `hone eval`")
    yield check_edits(settings)
    yield check_instructions(settings)


def check_published(settings: Settings) -> Iterator[Check]:
    """What a published model is and needs; of one that cannot be opened, opening says why."""
    from assistant import checkpoints, store

    if settings.model is None:
        return
    try:
        facts = checkpoints.look(settings.model)
        record = store.read_record(settings.model) if store.name_in_store(settings.model) else None
    except HoneError:
        return
    if facts.family == checkpoints.OWN:
        return
    needs = ", ".join(f"{_size(count)} as {kind}" for kind, count in facts.needs.items())
    found = f"{facts.title}, {store.short(facts.parameters)} parameters, needs {needs}"
    if record is not None:
        found += f"; {record.repo}@{record.revision[:7]}, licence {record.licence or 'not named'}"
    if facts.ignored:
        found += f"; {', '.join(facts.ignored)} beside it: never run"
    yield Check("weights", "ok", found)


def check_edits(settings: Settings) -> Check:
    """Open the model that edits and let it look at something that is wrong."""
    from assistant.models import EMBEDDED_EDITS, edit_folder, for_edits, main_folder, tasks_of
    from assistant.service import Assistant, open_infiller

    folder = edit_folder(settings)
    assistant = Assistant(lambda: open_infiller(for_edits(settings)))
    where = "embedded" if folder == EMBEDDED_EDITS else str(folder)
    name = "the same model" if folder is None else f"{where}, a model of its own"
    task = next(iter(tasks_of(main_folder(for_edits(settings)))), "fix")
    request = EditRequest(WRONG, task, ((0, len(WRONG)),), language="python", budget_ms=EDIT_MS)
    try:
        found = assistant.edit(request)
    except CannotEditError:
        return Check(
            "edits",
            "ok" if folder is None else "broken",
            f"{name} was not trained to edit: `hone fix` mends syntax errors and misspelt names by rule",
            "name a checkpoint that was, with --edit-model or HONE_EDIT_MODEL",
        )
    except HoneError as error:
        return Check("edits", "broken", str(error), f"see that {folder} is a complete checkpoint")
    what = ", ".join(f"{WRONG[one.start : one.end]!r} -> {one.text!r}" for one in found.edits) or "nothing"
    if found.reasons == ("budget",):
        what = "the time was over"
    return Check("edits", "ok", f"{name}; {task}: {what}, in {found.ms:.0f} ms")


def check_instructions(settings: Settings) -> Check:
    """Who can be told in free words what to do, as headers have it: to ask a large model may take minutes."""
    from assistant.checkpoints import follows
    from assistant.models import edit_folder, main_folder

    for folder in (edit_folder(settings), main_folder(settings)):
        if folder is not None and follows(folder):
            return Check("words", "ok", f"{folder} follows instructions: `hone refactor --instruction TEXT`")
    return Check(
        "words",
        "ok",
        "no instruction in free words is followed; tasks are",
        "`hone model list` has instruct models; name one with --edit-model or HONE_EDIT_MODEL",
    )


def _install(package: str, *flags: str) -> str:
    """With the Python that runs now: there may be others."""
    return shlex.join([sys.executable, "-m", "pip", "install", *flags, package])


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
