"""The hub of Hugging Face: what a repository holds at a commit, and its files, fetched and checked one by one.

The only place that imports the hub's client. That one begins a file anew after its process has ended, so a file is
fetched here by its own ``http_get``, which goes on where it stopped, into a file whose name tells what it is to become.
"""

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from huggingface_hub import HfApi, ModelInfo, constants, errors, get_token, hf_hub_url
from huggingface_hub.file_download import http_get
from huggingface_hub.utils.logging import set_verbosity_error

from assistant import __version__
from assistant.errors import ModelError
from assistant.store import git_sha1, sha256

REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
COMMIT = re.compile(r"[0-9a-f]{40}")
BEGUN = ".begun"
"""The end of the name of a file of which a part is there."""
TRIES = 3
"""After so many broken connections without a new byte it is given up."""
WAIT_S = 1.0
NETWORK = ("httpx", "httpx2", "httpcore", "httpcore2", "socket")
"""Modules whose errors are the network's; which of them the client uses depends on its release."""


@dataclass(frozen=True)
class Offered:
    """A file as the hub describes it."""

    name: str
    size: int
    sha256: str | None
    """Of large files."""
    blob: str | None
    """git's checksum, of small ones."""


@dataclass(frozen=True)
class Offer:
    """A repository at a commit."""

    repo: str
    revision: str
    licence: str
    """As the model card names it; "" where it names none."""
    link: str
    """Where the licence stands, if the card says so."""
    files: tuple[Offered, ...]

    @property
    def url(self) -> str:
        return f"{endpoint()}/{self.repo}/tree/{self.revision}"


def endpoint() -> str:
    return (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")


def look(repo: str, revision: str | None = None) -> Offer:
    """What ``repo`` holds at a revision (its main branch), which may be a branch, a tag, or a commit.

    Raises:
        ModelError: there is no such thing, or the hub cannot be reached; one sentence.
    """
    set_verbosity_error()
    with _explained(repo, revision):
        api = HfApi(endpoint=endpoint(), library_name="hone", library_version=__version__)
        found = api.model_info(repo, revision=revision, files_metadata=True, timeout=30)
    if found.sha is None or not COMMIT.fullmatch(found.sha):
        raise ModelError(f"{endpoint()} tells no commit of {repo}, so what it holds cannot be pinned")
    licence, link = _licence(found)
    return Offer(repo, found.sha, licence, link, tuple(_offered(found, repo)))


def _offered(found: ModelInfo, repo: str) -> Iterator[Offered]:
    for one in found.siblings or ():
        lfs = one.lfs
        size = lfs.size if lfs is not None else one.size
        if not isinstance(size, int) or size < 0:
            raise ModelError(f"the hub tells no size of {one.rfilename!r} in {repo}")
        yield Offered(one.rfilename, size, lfs.sha256 if lfs is not None else None, one.blob_id)


def _licence(found: ModelInfo) -> tuple[str, str]:
    card: dict[str, Any] = found.card_data.to_dict() if found.card_data is not None else {}
    named = card.get("license") or next(
        (tag.removeprefix("license:") for tag in found.tags or () if tag.startswith("license:")), ""
    )
    if named == "other":
        named = card.get("license_name") or named
    return _line(named), _line(card.get("license_link") or "")


def _line(value: object) -> str:
    """A text of the hub's, on one line and without what moves a terminal's cursor."""
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return " ".join("".join(char for char in text if char.isprintable()).split())[:200]


def fetch(offer: Offer, file: Offered, folder: Path, told: Callable[[int], None] = lambda _: None) -> Path:
    """The file, in ``folder``, with its checksum compared. ``told``: how many bytes of it are there.

    What is there already is not fetched again; of a file that was begun, the rest is.

    Raises:
        ModelError: it cannot be fetched, or is not what the hub said.
    """
    place = folder / file.name
    if place.is_file() and _trouble(place, file) is None:
        told(file.size)
        return place
    begun = folder / f"{file.name}.{(file.sha256 or file.blob or 'unknown')[:16]}{BEGUN}"
    with _explained(offer.repo, offer.revision, file.name):
        _gather(offer, file, begun, told)
        wrong = _trouble(begun, file)
        if wrong is None:
            begun.replace(place)
            return place
        begun.unlink()
    raise ModelError(f"{file.name} of {offer.repo} {wrong}: what came is thrown away")


def _gather(offer: Offer, file: Offered, begun: Path, told: Callable[[int], None]) -> None:
    """All bytes of the file, behind those that are there. A connection that breaks is opened again."""
    url = hf_hub_url(offer.repo, file.name, revision=offer.revision, endpoint=endpoint())
    headers = {"User-Agent": f"hone/{__version__}", "Accept-Encoding": "identity"}  # no rest of a packed answer
    if (token := get_token()) is not None:
        headers["Authorization"] = f"Bearer {token}"  # the client leaves it out where another host takes over
    tries = TRIES
    begun.touch()
    with begun.open("r+b") as stream:
        while (have := stream.seek(0, os.SEEK_END)) != file.size:
            if have > file.size:
                have = stream.truncate(0)
            try:
                http_get(
                    url,
                    stream,
                    resume_size=have,
                    headers=headers,
                    expected_size=file.size,
                    tqdm_class=_bar(told),
                )
            except Exception as error:
                tries = TRIES if stream.seek(0, os.SEEK_END) > have else tries - 1
                if not _is_network(error) or tries <= 0:
                    raise
                time.sleep(WAIT_S)
    told(file.size)


def _bar(told: Callable[[int], None]) -> Any:
    """What the client takes for a progress bar."""

    class Bar:
        def __init__(self, *_: Any, initial: int = 0, **__: Any) -> None:
            self.done = initial
            told(initial)

        def update(self, count: int = 1) -> None:
            self.done += count
            told(self.done)

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    return Bar


def _trouble(place: Path, file: Offered) -> str | None:
    size = place.stat().st_size
    if size != file.size:
        return f"has {size} bytes, not {file.size}"
    if file.sha256 is not None:
        return None if sha256(place) == file.sha256 else "does not have the SHA-256 that the hub tells"
    if file.blob is not None:
        return None if git_sha1(place) == file.blob else "does not have the checksum that the hub tells"
    return "has no checksum on the hub"


@contextmanager
def _explained(repo: str, revision: str | None, file: str = "") -> Iterator[None]:
    """What the client or the network raises, as one sentence."""
    host = urlsplit(endpoint()).netloc or endpoint()
    what = f"{file} of {repo}" if file else repo
    try:
        yield
    except errors.GatedRepoError as error:
        raise ModelError(
            f"{repo} is gated: accept its terms at {endpoint()}/{repo}, then `hf auth login`, or set HF_TOKEN"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ModelError(
            f"{repo} is not on {host}, or it is private: see the name; HF_TOKEN opens private ones"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ModelError(f"{repo} has no revision {revision!r}") from error
    except errors.EntryNotFoundError as error:
        raise ModelError(f"{what} is not there") from error
    except errors.OfflineModeIsEnabled as error:
        raise ModelError("HF_HUB_OFFLINE is set: nothing is asked of the hub") from error
    except errors.HFValidationError as error:
        raise ModelError(f"{repo!r} cannot be the name of a repository: OWNER/REPO") from error
    except errors.HfHubHTTPError as error:
        raise ModelError(f"{host} refuses {what}: {_reason(error)}") from error
    except Exception as error:
        if _is_network(error):
            kept = "; what has come is kept" if file else ""
            raise ModelError(f"{host} cannot be reached for {what}: {_reason(error)}{kept}") from error
        if isinstance(error, OSError):
            raise ModelError(f"{what} cannot be fetched: {_reason(error)}") from error
        raise


def _is_network(error: Exception) -> bool:
    return type(error).__module__.partition(".")[0] in NETWORK and not isinstance(error, errors.HfHubHTTPError)


def _reason(error: Exception) -> str:
    return _line(str(error).partition("\n")[0]) or type(error).__name__
