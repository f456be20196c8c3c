"""``hone model``: checkpoints on this machine and on the hub. Light until a command needs more."""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from assistant import store
from assistant.config import EMBEDDED, EMBEDDED_FOLDER, Settings, config_path, load_settings
from assistant.errors import HoneError, ModelError, RequestError, SettingError
from assistant.known import KNOWN

ANSWER, NONE = 0, 1
Commands = Any  # argparse keeps the type of add_subparsers() private


def add_model(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_list(commands)
    _add_pull(commands)
    _add_use(commands)
    _add_info(commands)
    _add_remove(commands)
    _add_bench(commands)


def _add_name(parser: argparse.ArgumentParser, help: str, **rest: Any) -> None:  # noqa: A002 (argparse's word)
    parser.add_argument("name", metavar="NAME", help=help, **rest)


def _say(text: str) -> None:
    print(text, flush=True)


def _note(text: str) -> None:
    print("hone:", text, file=sys.stderr, flush=True)


# --- list


def _add_list(commands: Commands) -> None:
    parser = commands.add_parser(
        "list",
        help="models on this machine, and those with a short name",
        description="Show the models on this machine, the one in use marked, and published ones with a short name "
        "here. Nothing is asked of the hub.",
    )
    parser.set_defaults(run=_list)
    parser.add_argument("--json", action="store_true", help="one JSON object per model and line")


def _list(options: argparse.Namespace) -> int:
    rows = list(_rows())
    if options.json:
        for row in rows:
            _say(json.dumps(row, ensure_ascii=False))
        return ANSWER
    for line in _aligned([_cells(row) for row in rows if row["installed"]]):
        _say(line)
    _say("\n`hone model pull NAME` fetches one of these, or any OWNER/REPO of the hub:\n")
    for line in _aligned([_cells(row) for row in rows if not row["installed"]]):
        _say(line)
    for wrong in store.damaged():
        _note(wrong)
    for name, count in store.begun():
        _note(
            f"{name}: {gib(count)} are there of a pull that was stopped; pull it again, or `hone model remove {name}`"
        )
    return ANSWER


def _rows() -> Iterator[dict[str, Any]]:
    used, _ = in_use()
    here = store.installed()
    yield _row(EMBEDDED, used == EMBEDDED, "hone", None, "apache-2.0", None, None)
    if used not in {EMBEDDED, *(one.name for one in here)}:
        yield _row(used, True, None, None, None, None, None)
    for one in here:
        record = one.record
        yield _row(
            one.name,
            one.name == used,
            record.family,
            record.parameters,
            record.licence,
            one.nbytes,
            f"{record.repo}@{record.revision}",
        )
    have = {one.record.repo for one in here}
    for known in KNOWN.values():
        if known.repo not in have:
            row = _row(known.name, False, known.family, round(known.parameters * 1e9), known.licence, None, known.repo)
            yield row | {"installed": False}


def _row(
    name: str,
    used: bool,
    family: str | None,
    parameters: int | None,
    licence: str | None,
    nbytes: int | None,
    origin: str | None,
) -> dict[str, Any]:
    return {
        "name": name,
        "in_use": used,
        "installed": True,
        "family": family,
        "parameters": parameters,
        "licence": licence,
        "bytes": nbytes,
        "from": origin,
    }


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    origin, _, commit = (row["from"] or "").partition("@")
    return (
        "*" if row["in_use"] else " ",
        row["name"],
        "" if row["parameters"] is None else store.short(row["parameters"]),
        "" if row["bytes"] is None else gib(row["bytes"]),
        row["licence"] or "",
        f"{origin}@{commit[:7]}" if commit else origin,
    )


def _aligned(rows: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True) if width]
        yield "  ".join(cells).rstrip()


def in_use() -> tuple[str, Settings]:
    """The name, or else the folder, of the model that the settings choose; and the settings."""
    settings = load_settings()
    if settings.model is None or settings.model == EMBEDDED_FOLDER:
        return EMBEDDED, settings
    return store.name_in_store(settings.model) or str(settings.model), settings


def gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"


# --- pull


def _add_pull(commands: Commands) -> None:
    parser = commands.add_parser(
        "pull",
        help="fetch a published model, check it and install it",
        description="Fetch a model from the hub of Hugging Face: weights in safetensors, configuration and texts, "
        "never Python files or pickles. A pull that was stopped goes on where it was. Nothing is installed before all "
        "of it is there, every checksum is right, and its headers are those of its family. "
        "Exit codes: 0 it is there, 1 its licence was not accepted, 2 an error.",
    )
    parser.set_defaults(run=_pull)
    _add_name(parser, "a short name (`hone model list`), or OWNER/REPO")
    parser.add_argument("--revision", metavar="REV", help="a commit, tag or branch (the newest commit)")
    parser.add_argument("--name", dest="save_as", metavar="NAME", help="its name here (the short one, or REPO)")
    parser.add_argument("--accept-licence", action="store_true", help="accept a licence that is not a free one")
    parser.add_argument("--anyway", action="store_true", help="fetch it even where this machine has too little memory")


def _pull(options: argparse.Namespace) -> int:
    import os

    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # read when the hub's client is loaded
    from assistant.pull import pull, wish

    asked = wish(options.name, options.save_as, options.revision, accepts=options.accept_licence, anyway=options.anyway)
    path = pull(asked, agreed=_agreed, say=_note)
    if path is None:
        _note("not accepted, and not fetched")
        return NONE
    _say(f"{path.name} is installed: `hone model use {path.name}`, or --model {path.name}")
    return ANSWER


# --- use


def _add_use(commands: Commands) -> None:
    parser = commands.add_parser(
        "use",
        help="make a model the one that is used",
        description="Write `model = ...` into the settings file and leave the rest of it as it is. The model's headers "
        "are checked first, and all weights of a folder that was not pulled. A daemon that runs goes on with the model "
        "that it has until another is started.",
    )
    parser.set_defaults(run=_use)
    _add_name(parser, "an installed model, the folder of a checkpoint, or embedded")


def _use(options: argparse.Namespace) -> int:
    from assistant.setting import write_setting

    if options.name == EMBEDDED:
        path = write_setting("model", EMBEDDED)
        _say(f"the embedded model is used ({path})")
    else:
        folder, name = chosen(options.name)
        from assistant.checkpoints import look, read_through

        facts = look(folder)
        if name is None:
            read_through(folder)
        path = write_setting("model", name or str(folder.resolve()))
        _say(f"{name or folder} is used: {facts.title}, {store.short(facts.parameters)} parameters ({path})")
    _tell_others()
    return ANSWER


def chosen(value: str) -> tuple[Path, str | None]:
    """The folder of an installed model with its name, or another folder.

    Raises:
        RequestError: there is neither.
    """
    found = store.find(value)
    if found is not None:
        return found, found.name
    path = Path(value).expanduser()
    if path.is_dir():
        return path, None
    hint = f"`hone model pull {value}` fetches it" if value in KNOWN else "`hone model list` has those that there are"
    raise RequestError(f"{value!r} is neither an installed model nor a folder; {hint}")


def _tell_others() -> None:
    """What may come before the file, and who may still hold another model."""
    import os

    from assistant import runtime

    if os.environ.get("HONE_MODEL"):
        _note(f"HONE_MODEL={os.environ['HONE_MODEL']} in the environment comes before the settings file")
    try:
        endpoint = runtime.find()
        wrong = None if endpoint is None else runtime.misfit(endpoint, load_settings())
    except HoneError:
        return
    if wrong is not None:
        _note(f"the daemon that runs is another one ({wrong}): `hone serve stop` ends it")


# --- info


def _add_info(commands: Commands) -> None:
    parser = commands.add_parser(
        "info",
        help="what a model is, what it needs, and whether its files are whole",
        description="Say what a model is and how much memory it needs, from its headers: it is not opened. "
        "Exit codes: 0 said, 1 a file is not what it was (with --check), 2 an error.",
    )
    parser.set_defaults(run=_info)
    _add_name(parser, "an installed model, a folder, or embedded (the one in use)", nargs="?")
    parser.add_argument(
        "--check", action="store_true", help="read every file, and compare its checksum if it was pulled"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")


def _info(options: argparse.Namespace) -> int:
    from assistant.checkpoints import look, read_through
    from assistant.models import main_folder

    folder, name = _asked(options.name) if options.name else (main_folder(in_use()[1]), None)
    name = name or (EMBEDDED if folder == EMBEDDED_FOLDER else store.name_in_store(folder))
    facts = look(folder)
    record = store.read_record(folder) if (folder / store.RECORD).is_file() else None
    if options.check and record is None:
        read_through(folder)
    wrong = {}
    if options.check and record is not None:
        wrong = {piece.name: trouble for piece, trouble in store.verify(folder, record) if trouble}
    if options.json:
        found = asdict(facts) | {"name": name, "folder": str(folder), "record": asdict(record) if record else None}
        _say(json.dumps(found | ({"damaged": wrong} if options.check else {}), ensure_ascii=False))
    else:
        for key, value in _lines(name, folder, facts, record):
            _say(f"{key:11} {value}")
        if options.check:
            count = f"{len(record.files)} read" if record else "weights read, checksums unknown"
            _say(f"{'files':11} {count}, {len(wrong) or 'none'} damaged")
    for file, trouble in wrong.items():
        _note(f"{folder / file} {trouble}: `hone model remove {folder.name}`, then pull it again")
    return NONE if wrong else ANSWER


def _asked(name: str) -> tuple[Path, str | None]:
    return (EMBEDDED_FOLDER, EMBEDDED) if name == EMBEDDED else chosen(name)


def _lines(name: str | None, folder: Path, facts: Any, record: store.Record | None) -> Iterator[tuple[str, str]]:
    yield "name", name or "(a folder)"
    yield "folder", str(folder)
    yield from facts.lines()
    if record is not None:
        yield "from", f"{record.repo} at {record.revision}"
        if record.tokenizer:
            yield "tokenizer", record.tokenizer
        accepted = f", accepted on {record.accepted}" if record.accepted else ""
        yield "licence", f"{record.licence or 'none named'}{accepted}"
    if facts.ignored:
        yield "ignored", f"{', '.join(facts.ignored)}: never read, never run"


# --- remove


def _add_remove(commands: Commands) -> None:
    parser = commands.add_parser(
        "remove",
        help="remove an installed model",
        description="Remove an installed model and what an interrupted pull left of it. Folders elsewhere are never "
        "touched. Exit codes: 0 removed, 1 not, because you said no, 2 an error.",
    )
    parser.set_defaults(run=_remove)
    _add_name(parser, "an installed model")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def _remove(options: argparse.Namespace) -> int:
    name = options.name
    if name == EMBEDDED:
        raise RequestError("the embedded model comes with Hone and goes with it: there is nothing to remove")
    folder = store.find(name)
    if folder is not None:
        name = folder.name
        _refuse_if_used(folder)
    store.parts(name)
    if not options.yes and not _agreed(f"remove {name} from {store.models_folder()}?", "--yes removes without asking"):
        return NONE
    _say(f"{name} is removed, {gib(store.remove(name))}")
    return ANSWER


def _refuse_if_used(folder: Path) -> None:
    try:
        settings = load_settings()
    except SettingError:
        return
    for key, used in (("model", settings.model), ("edit_model", settings.edit_model)):
        if used is not None and used.resolve() == folder.resolve():
            import os

            where = f"HONE_{key.upper()}" if os.environ.get(f"HONE_{key.upper()}") else str(config_path(os.environ))
            how = "`hone model use embedded` first" if key == "model" else f"take `{key}` out first"
            raise ModelError(f"{folder.name} is in use ({key}, {where}): {how}")


# --- bench


def _add_bench(commands: Commands) -> None:
    parser = commands.add_parser(
        "bench",
        help="how long a model takes on this machine",
        description="Open a model, fill the holes of `hone demo` and say how long each took, in how many passes, with "
        "keys and values of what is around the hole kept between passes, and without. "
        "Exit codes: 0 measured, 1 no hole was filled, 2 an error.",
    )
    parser.set_defaults(run=_bench)
    _add_name(parser, "an installed model, a folder, or embedded (the one in use)", nargs="?")
    parser.add_argument("--rounds", metavar="N", default="3", help="medians of so many, fewer where they take long (3)")
    parser.add_argument("--device", metavar="NAME", help="auto, cpu, cuda, cuda:N or mps (auto)")
    parser.add_argument("--dtype", metavar="NAME", help="auto, bfloat16 or float32 (auto)")
    parser.add_argument("--quantize", metavar="NAME", help="int8 or int4: a published model's weights in fewer bits")
    parser.add_argument("--threads", metavar="N", help="processor threads (one per core)")
    parser.add_argument("--json", action="store_true", help="one JSON object per measurement and line")


def _bench(options: argparse.Namespace) -> int:
    rounds = options.rounds
    if not (rounds.isascii() and rounds.isdecimal()) or not 1 <= int(rounds[:4]) <= 1000 or len(rounds) > 4:
        raise RequestError(f"--rounds must be a whole number from 1 to 1000, not {rounds!r}")
    settings = load_settings(vars(options) | ({"model": _asked(options.name)[0]} if options.name else {}))
    from assistant.modelbench import run

    answered = run(settings, int(rounds), as_json=options.json, say=_say, note=_note)
    return ANSWER if answered else NONE


def _agreed(question: str, otherwise: str) -> bool:
    """Whether the user says yes.

    Raises:
        RequestError: there is nobody to ask.
    """
    if not sys.stdin.isatty():
        raise RequestError(f"{question} There is no terminal to ask in: {otherwise}")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
