"""``hone model pull``: a published model fetched, checked and installed whole, or not at all.

What can be known before the weights are asked for is checked before: the licence, the family, the room on the disk, the
memory. Only weights, configuration and texts are fetched; Python files and pickles never are.
"""

import json
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from assistant import checkpoints, hub, store
from assistant.checkpoints import Facts
from assistant.config import EMBEDDED
from assistant.errors import ModelError, RequestError
from assistant.hub import Offer, Offered
from assistant.known import KNOWN
from assistant.store import Piece, Record

FREE = {
    "0bsd", "apache-2.0", "bsd", "bsd-2-clause", "bsd-3-clause", "bsd-3-clause-clear", "bsl-1.0", "cc0-1.0", "isc",
    "mit", "unlicense", "zlib",
}  # fmt: skip
"""Licences, as the hub names them, that allow any use."""

SMALL = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt",
         "added_tokens.json", "special_tokens_map.json")  # fmt: skip
TOKENIZERS = ("tokenizer.json", "vocab.json", "merges.txt")
TEXTS = re.compile(r"(README|LICEN[CS]E|COPYING|NOTICE|USE_POLICY)[A-Za-z0-9_.-]*", re.IGNORECASE)
LICENCES = re.compile(r"(LICEN[CS]E|COPYING)[A-Za-z0-9_-]*(\.(txt|md|rst))?", re.IGNORECASE)
TEXT_ENDS = ("", ".txt", ".md", ".rst")
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
LARGEST_SMALL = 100_000_000
LARGEST_TEXT = 5_000_000
MARGIN = 256 * 2**20
"""Bytes that stay free on the disk."""
SHOWN = 20_000
"""Characters of a licence."""


@dataclass(frozen=True)
class Wish:
    """What is to be pulled, and as what."""

    repo: str
    name: str
    revision: str | None = None
    tokenizer: str | None = None
    accepts: bool = False
    """Whether the licence was accepted beforehand."""
    anyway: bool = False
    """Whether too little memory is no reason to leave it."""


def wish(value: str, name: str | None, revision: str | None, *, accepts: bool, anyway: bool) -> Wish:
    """Raises RequestError: there is no such thing to be had, or no such name for it."""
    known = KNOWN.get(value.lower()) or next((one for one in KNOWN.values() if one.repo == value), None)
    if known is None and not hub.REPOSITORY.fullmatch(value):
        if Path(value).expanduser().is_dir():
            raise RequestError(f"{value} is a folder, which needs no pulling: `hone model use {value}`")
        raise RequestError(f"{value!r} is no OWNER/REPO, and none of the short names: {', '.join(KNOWN)}")
    repo = known.repo if known else value
    name = name or (known.name if known else repo.partition("/")[2])
    if not store.is_name(name):
        raise RequestError(f"--name must be letters, digits, dots and dashes, not {name!r}")
    if name == EMBEDDED:
        raise RequestError(f"{name!r} is the name of the model that Hone comes with: choose another --name")
    return Wish(repo, name, revision, known.tokenizer if known else None, accepts=accepts, anyway=anyway)


def pull(asked: Wish, *, agreed: Callable[[str, str], bool], say: Callable[[str], None]) -> Path | None:
    """The folder of the model, fetched or there already; None where its licence was not accepted. ``agreed``: whether
    the user says yes to a question, and what to say where nobody can be asked.

    Raises:
        HoneError: it cannot be had, or cannot be used; nothing is installed.
    """
    old = _there(asked)
    offer = None if old is not None and old[1].revision == asked.revision else hub.look(asked.repo, asked.revision)
    if old is not None and (offer is None or old[1].revision == offer.revision):
        say(f"{old[0].name} is {asked.repo} at {old[1].revision[:7]} already")
        return old[0]
    assert offer is not None
    say(f"{offer.repo} at {offer.revision}")
    with _alone(asked.name):
        folder = store.partial(asked.name)
        _check_names(offer)
        small, weights = _chosen(offer, folder)
        facts = _expected(folder, asked)
        say(f"{facts.title}, {store.short(facts.parameters)} parameters")
        accepted = _licence(offer, folder, asked, old, agreed, say)
        if accepted is None:
            return None
        borrowed = _tokenizer(asked, small)
        files = [*((offer, one) for one in small), *borrowed, *((offer, one) for one in weights)]
        _check_room(folder, [one for _, one in files])
        _check_memory(facts, asked, say)
        pieces = _fetched(files[: -len(weights)], folder)
        index = folder / INDEX
        checkpoints.check_promised(folder, asked.name, _places(index) if index.is_file() else None)
        pieces += _fetched(files[-len(weights) :], folder)
        facts = checkpoints.look(folder)
        record = Record(
            offer.repo,
            offer.revision,
            facts.family,
            facts.parameters,
            offer.licence,
            accepted or None,
            tuple(pieces),
            f"{borrowed[0][0].repo}@{borrowed[0][0].revision}" if borrowed else None,
        )
        return store.install(asked.name, record)


def _there(asked: Wish) -> tuple[Path, Record] | None:
    """The model of that name, where it is from the same repository.

    Raises:
        ModelError: it is from another one.
    """
    path = store.find(asked.name)
    if path is None:
        return None
    record = store.read_record(path)
    if record.repo != asked.repo:
        raise ModelError(f"{path.name} is {record.repo} already: choose another name for {asked.repo} with --name")
    return path, record


@contextmanager
def _alone(name: str) -> Iterator[None]:
    store.partial(name)
    lock = FileLock(store.models_folder() / f".{name.lower()}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ModelError(f"another `hone model pull` is at {name}") from error
    try:
        yield
    finally:
        store.tidy(name)
        lock.release()


# Which files.


def _check_names(offer: Offer) -> None:
    """No name leads out of the folder. Files in folders, and hidden ones, are left out in any case."""
    for file in offer.files:
        parts = re.split(r"[/\\]", file.name)
        if not file.name.isprintable() or ".." in parts or "" in parts or "\\" in file.name or ":" in file.name:
            raise ModelError(f"{offer.repo} holds a file with the name {file.name!r}, which leads elsewhere: refused")


def _chosen(offer: Offer, folder: Path) -> tuple[list[Offered], list[Offered]]:
    """The small files and the weights that are wanted; ``config.json``, and an index, are in ``folder`` then."""
    named = {file.name: file for file in offer.files if store.is_file_name(file.name)}
    if "config.json" not in named:
        raise ModelError(f"{offer.repo} has no config.json: what its network is cannot be known")
    if WEIGHTS not in named and INDEX not in named:
        pickles = [name for name in named if name.endswith((".bin", ".pt", ".pth", ".ckpt"))]
        instead = f", only {pickles[0]}, which can run code when it is read" if pickles else ""
        raise ModelError(f"{offer.repo} has no {WEIGHTS} and no {INDEX}{instead}")
    small = [named[name] for name in SMALL if name in named]
    small += [file for name, file in named.items() if TEXTS.fullmatch(name) and Path(name).suffix in TEXT_ENDS]
    if WEIGHTS not in named:
        small.append(named[INDEX])
    for file in small:
        if file.size > (LARGEST_TEXT if TEXTS.fullmatch(file.name) else LARGEST_SMALL):
            raise ModelError(f"{file.name} of {offer.repo} has {file.size} bytes, which cannot be")
    hub.fetch(offer, named["config.json"], folder)
    if WEIGHTS in named:
        return small, [named[WEIGHTS]]
    shards = sorted(set(_places(hub.fetch(offer, named[INDEX], folder)).values()))
    if missing := [shard for shard in shards if shard not in named or not shard.endswith(".safetensors")]:
        raise ModelError(f"{INDEX} of {offer.repo} names {missing[0]!r}, which is no safetensors file that is there")
    return small, [named[shard] for shard in shards]


def _places(index: Path) -> dict[str, str]:
    """Which tensor lies in which file."""
    try:
        places = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        return {str(name): str(place) for name, place in places.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{index.name} has no weight_map that can be read: {error}") from error


def _tokenizer(asked: Wish, small: Sequence[Offered]) -> list[tuple[Offer, Offered]]:
    """The tokenizer of another repository, where the model has none of its own and it is known whose it is."""
    if asked.tokenizer is None or {file.name for file in small} & set(TOKENIZERS):
        return []
    offer = hub.look(asked.tokenizer)
    found = [(offer, file) for file in offer.files if file.name == "tokenizer.json"]
    if not found:
        raise ModelError(f"{offer.repo} has no tokenizer.json, which {asked.repo} needs")
    return found


# What can be known beforehand.


def _expected(folder: Path, asked: Wish) -> Facts:
    """What the configuration promises.

    Raises:
        ModelError: a family that is not known, or that would be taken for another one under the name.
    """
    config = folder / "config.json"
    facts = checkpoints.expect(config, asked.repo.partition("/")[2])
    if checkpoints.expect(config, asked.name).family != facts.family:
        raise ModelError(
            f"as {asked.name!r}, {asked.repo} would be taken for another family: choose a --name that contains "
            f"{facts.family.rpartition('-')[2]!r}"
        )
    return facts


def _licence(
    offer: Offer,
    folder: Path,
    asked: Wish,
    old: tuple[Path, Record] | None,
    agreed: Callable[[str, str], bool],
    say: Callable[[str], None],
) -> str | None:
    """When the licence was accepted; "" where it needs not be, None where it was not."""
    named = offer.licence or "none named"
    say(f"licence: {named}{f', {offer.link}' if offer.link else ''}")
    if offer.licence.lower() in FREE:
        return ""
    if old is not None and old[1].accepted and old[1].licence == offer.licence:
        return old[1].accepted
    if not asked.accepts:
        for file in offer.files:
            if LICENCES.fullmatch(file.name) and file.size <= LARGEST_TEXT:
                say(f"--- {file.name}")
                say(_readable(hub.fetch(offer, file, folder)))
                say("---")
        question = f"this licence ({named}) is not a free one: read it at {offer.url}. Do you accept it?"
        if not agreed(question, "--accept-licence says yes"):
            return None
    return datetime.now(UTC).isoformat(timespec="seconds")


def _readable(path: Path) -> str:
    text = path.read_text(encoding="utf-8", errors="replace")
    text = "".join(char for char in text if char.isprintable() or char in "\n\t")
    return text[:SHOWN] + ("\n[...]" if len(text) > SHOWN else "")


def _check_room(folder: Path, files: Sequence[Offered]) -> None:
    have = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    needed = max(sum(file.size for file in files) - have, 0) + MARGIN
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ModelError(
            f"{needed / 2**30:.1f} GiB are needed in {folder.parent}, and {free / 2**30:.1f} GiB are free there: make "
            "room, or let HONE_MODELS name a folder on another disk"
        )


def _check_memory(facts: Facts, asked: Wish, say: Callable[[str], None]) -> None:
    kind, need = min(facts.needs.items(), key=lambda item: item[1])
    most, where = checkpoints.memory_here()
    if need <= most:
        return
    sentence = f"{asked.repo} needs about {need / 2**30:.1f} GiB as {kind}, and {where} has {most / 2**30:.1f} GiB"
    if not asked.anyway:
        raise ModelError(f"{sentence}: it is not fetched; --anyway fetches it nevertheless")
    say(sentence)


# The files.


def _fetched(files: Sequence[tuple[Offer, Offered]], folder: Path) -> list[Piece]:
    console = Console(stderr=True)
    columns: tuple[Any, ...] = (
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    pieces, done = list[Piece](), 0
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=sum(file.size for _, file in files))

        def told(have: int) -> None:
            progress.update(task, completed=done + have)

        for offer, file in files:
            progress.update(task, description=file.name)
            place = hub.fetch(offer, file, folder, told)
            done += file.size
            pieces.append(Piece(file.name, file.size, file.sha256 or store.sha256(place)))
    return pieces
