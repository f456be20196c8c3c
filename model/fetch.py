"""The packages that the corpus is made of: the pinned table, their download, their licences, their files.

``packages.toml`` names every package with its version and hash. Wheels are fetched by pip, one at a time, by exact name
and hash, into a cache folder, and nothing in them is ever run. Two rows are read where they already are: the standard
library of the running Python and the installed ``torch``. Their hash covers the Python files; ``Source.pinned`` says
whether it is the table's.

A package is taken only when its own metadata names permissive licences and nothing else.
"""

import email
import hashlib
import re
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from email.message import Message
from importlib import metadata
from pathlib import Path
from typing import Literal

TABLE = Path(__file__).with_name("packages.toml")

SPLITS = ("train", "valid", "test")

Runner = Callable[[Sequence[str]], "subprocess.CompletedProcess[str]"]
"""Runs pip with these arguments and gives back its exit code and output."""


class CorpusError(Exception):
    """The corpus cannot be built; the message names the package or file and what would mend it."""


class LicenceError(CorpusError):
    """A package without a permissive licence in its metadata."""


@dataclass(frozen=True)
class Package:
    """One row of the table."""

    name: str
    version: str
    licence: str
    homepage: str
    split: str
    source: Literal["wheel", "stdlib", "installed"]
    file: str
    """Name of the wheel; empty when the files are read where they are."""
    sha256: str
    """Of the wheel, or of the Python files (see ``tree_digest``)."""
    size: int
    """Bytes to download; 0 when nothing is."""


@dataclass(frozen=True)
class Source:
    """A package at hand: fetched, verified, its licence read."""

    package: Package
    version: str
    licence: str
    sha256: str
    wheel: Path | None

    @property
    def pinned(self) -> bool:
        """Whether these are byte for byte the files that the table pins."""
        return self.sha256 == self.package.sha256

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Path and content of every Python file, in the order of their paths."""
        if self.wheel is not None:
            yield from _wheel_files(self.wheel)
        elif self.package.source == "stdlib":
            yield from _stdlib_files()
        else:
            yield from _installed_files(self.package.name)


def read_table(path: Path = TABLE) -> list[Package]:
    """The rows of ``packages.toml``, held-out packages first.

    Raises:
        CorpusError: a row lacks a field, or names a split or source that does not exist.
    """
    rows = tomllib.loads(path.read_text(encoding="utf-8"))["package"]
    try:
        packages = [
            Package(**{"source": "wheel", "file": "", "size": 0, **row})  # the common values need not be written
            for row in rows
        ]
    except TypeError as error:
        raise CorpusError(f"{path}: {error}") from error
    for package in packages:
        if package.split not in SPLITS:
            raise CorpusError(
                f"{path}: {package.name}: split must be one of {', '.join(SPLITS)}, not {package.split!r}"
            )
        if package.source not in ("wheel", "stdlib", "installed"):
            raise CorpusError(f"{path}: {package.name}: unknown source {package.source!r}")
    return sorted(packages, key=lambda package: package.split == "train")


def run_pip(arguments: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    """Run the pip of this Python."""
    command = [sys.executable, "-m", "pip", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - no shell, names from our table


def fetch(package: Package, cache: Path, run: Runner = run_pip) -> Source:
    """Bring one package to hand. A wheel that is already in ``cache`` and has the right hash is not fetched again.

    Raises:
        CorpusError: pip fails, the hash is wrong, or the installed version is another one.
        LicenceError: the metadata names no permissive licence, or also another kind.
    """
    if package.source == "wheel":
        wheel = _fetch_wheel(package, cache, run)
        return Source(
            package, package.version, permissive(package.name, *_wheel_metadata(wheel)), package.sha256, wheel
        )
    if package.source == "stdlib":
        version = sys.version.split()[0]
        return Source(package, version, _stdlib_licence(), tree_digest(_stdlib_files()), None)
    version = _installed_version(package)
    message = _parse(metadata.distribution(package.name).read_text("METADATA") or "")
    licence = permissive(package.name, message, [])
    return Source(package, version, licence, tree_digest(_installed_files(package.name)), None)


def tree_digest(files: Iterator[tuple[str, bytes]]) -> str:
    """SHA-256 over paths and contents, in the given order."""
    digest = hashlib.sha256()
    for path, content in files:
        digest.update(f"{path}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_digest(content: bytes) -> str:
    """SHA-256 of bytes."""
    return hashlib.sha256(content).hexdigest()


# ---------------------------------------------------------------------------------------------------- licences

_PERMISSIVE = re.compile(
    r"mit(-cmu|-0)?|mit no attribution|x11|isc|isc license \(iscl\)|0bsd|zlib|zlib/libpng|cc0-1\.0|hpnd|unlicense"
    r"|bsd([- ][234][- ]clause)?|(new|modified|simplified|revised) bsd|psf(-2\.0)?|python-2\.0|cnri-python|ncsa"
    r"|bsl-1\.0|apache([- ]2(\.0)?)?|apache software|apache license,? (version )?2(\.0)?|python software foundation"
    r"|the unlicense \(unlicense\)|historical permission notice and disclaimer \(hpnd\)|public domain|llvm-exception",
    re.IGNORECASE,
)

_RESTRICTIVE = re.compile(
    r"\b(a?gpl|lgpl|mpl|epl|eupl|cddl|cecill|sspl|busl|osl|cpal|cc-by-(nc|sa|nd)\S*)\b(?!-compatible)"
    r"|\b[al]?gpl[v\d-]|\bmpl[-\d]|(general|mozilla|eclipse) public|proprietary|non-?commercial|commons clause",
    re.IGNORECASE,
)

_LICENCE_TEXTS = {
    "MIT": "permission is hereby granted, free of charge",
    "BSD-3-Clause": "redistribution and use in source and binary forms",
    "Apache-2.0": "apache license version 2.0",
    "ISC": "permission to use, copy, modify, and/or distribute this software for any purpose",
    "PSF-2.0": "python software foundation license version 2",
}


def permissive(name: str, message: Message, texts: Sequence[str]) -> str:
    """The licence that a package's metadata names, when all that it names is permissive.

    Asked in this order, the first that says anything decides: ``License-Expression``, the licence classifiers, a short
    ``License`` field, and last the ``texts`` of the licence files. (A long ``License`` field or file may quote the
    licences of bundled libraries, so it counts only when there is nothing shorter.)

    Raises:
        LicenceError: nothing is named, or something that is not permissive.
    """
    expression = message.get("License-Expression")
    classifiers = [c.split("::")[-1].strip() for c in message.get_all("Classifier", []) if c.startswith("License")]
    classifiers = [c for c in classifiers if c != "OSI Approved"]
    field = (message.get("License") or "").strip()
    short = field if len(field) < 100 and "\n" not in field else ""
    for said in (expression, short, *classifiers):
        if said and _RESTRICTIVE.search(said):
            raise LicenceError(f"{name} is not permissively licensed: its metadata says {said!r}")
    if expression:
        parts = [part for part in re.split(r"\s+(?:AND|OR|WITH)\s+|[()]", expression) if part.strip()]
        return _all_permissive(name, expression, parts)
    if classifiers:
        return _all_permissive(name, "; ".join(classifiers), classifiers)
    if short:
        return _all_permissive(name, short, re.split(r"\s+(?:AND|OR)\s+|/(?!libpng)|;", short))
    for text in (field, *texts):
        flat = " ".join(text.lower().split())
        for licence, phrase in _LICENCE_TEXTS.items():
            if phrase in flat and not _RESTRICTIVE.search(flat):
                return licence
    raise LicenceError(f"{name} names no licence that is known to be permissive; leave it out of the table")


def _all_permissive(name: str, said: str, parts: Sequence[str]) -> str:
    for part in parts:
        plain = re.sub(r"^the\s+|\s+licen[cs]e$|\s+licen[cs]e(?= \()", "", part.strip(), flags=re.IGNORECASE)
        if not (_PERMISSIVE.fullmatch(plain) or _PERMISSIVE.fullmatch(part.strip())):
            raise LicenceError(f"{name} is not known to be permissively licensed: its metadata says {said!r}")
    return said


# ---------------------------------------------------------------------------------------------------- wheels

# The same wheel is chosen on every machine: CPython 3.11 on x86-64 Linux, whatever runs this.
_PLATFORMS = ["any", "linux_x86_64", "manylinux1_x86_64", "manylinux2010_x86_64", "manylinux2014_x86_64"]
_PLATFORMS += [f"manylinux_2_{minor}_x86_64" for minor in (5, 12, 17, 24, 27, 28)]
_TARGET = ["--python-version", "3.11", "--implementation", "cp", "--abi", "cp311", "--abi", "abi3", "--abi", "none"]
_TARGET += [part for platform in _PLATFORMS for part in ("--platform", platform)]


def _fetch_wheel(package: Package, cache: Path, run: Runner) -> Path:
    wheel = cache / package.file
    if wheel.is_file() and file_digest(wheel) == package.sha256:
        return wheel
    incoming = (
        cache / "incoming" / package.name
    )  # a file gets its own name in the cache only when it is whole and right
    incoming.mkdir(parents=True, exist_ok=True)
    wanted = incoming / "requirement.txt"
    wanted.write_text(f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n", encoding="utf-8")
    options = ["download", "--no-deps", "--only-binary=:all:", "--require-hashes", "--disable-pip-version-check", "-q"]
    done = run([*options, *_TARGET, "-d", str(incoming), "-r", str(wanted)])
    fetched = incoming / package.file
    if done.returncode != 0 or not fetched.is_file():
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise CorpusError(
            f"cannot fetch {package.name} {package.version}: {lines[-1] if lines else 'pip fetched nothing'}"
        )
    if file_digest(fetched) != package.sha256:
        fetched.unlink()
        raise CorpusError(f"{package.file} has another sha256 than packages.toml: not used")
    fetched.replace(wheel)
    wanted.unlink()
    incoming.rmdir()
    return wheel


def _wheel_files(wheel: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(wheel) as archive:
        for name in sorted(archive.namelist()):
            if name.endswith(".py"):
                yield name, archive.read(name)


def _wheel_metadata(wheel: Path) -> tuple[Message, list[str]]:
    """The metadata of a wheel and the texts of its licence files."""
    with zipfile.ZipFile(wheel) as archive:
        info = [name for name in archive.namelist() if re.match(r"[^/]+\.dist-info/", name)]
        main = next(name for name in info if name.count("/") == 1 and name.endswith("/METADATA"))
        texts = [name for name in info if re.search(r"(licen[cs]e|copying)", name.split("/")[-1], re.IGNORECASE)]
        return _parse(_text(archive.read(main))), [_text(archive.read(name)) for name in sorted(texts)]


def _parse(text: str) -> Message:
    return email.message_from_string(text)


def _text(content: bytes) -> str:
    return content.decode("utf-8", errors="replace")


# ---------------------------------------------------------------------------------------------------- in place


def _stdlib_files() -> Iterator[tuple[str, bytes]]:
    root = Path(sysconfig.get_path("stdlib"))
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).parts
        # Build settings hold paths of this machine, and installed packages have rows of their own.
        if parts[0] in ("site-packages", "dist-packages") or parts[-1].startswith("_sysconfigdata"):
            continue
        yield "/".join(parts), path.read_bytes()


def _stdlib_licence() -> str:
    text = Path(sysconfig.get_path("stdlib"), "LICENSE.txt")
    if text.is_file() and "PYTHON SOFTWARE FOUNDATION LICENSE VERSION 2" not in _text(text.read_bytes()):
        raise LicenceError(f"{text} is not the licence of the Python Software Foundation")
    return "PSF-2.0"


def _installed_version(package: Package) -> str:
    try:
        version = metadata.version(package.name)
    except metadata.PackageNotFoundError:
        raise CorpusError(f"{package.name} is read from its installation: pip install {package.name}") from None
    if version.split("+")[0] != package.version:
        raise CorpusError(f"{package.name} {version} is installed, but packages.toml pins {package.version}")
    return version


def _installed_files(name: str) -> Iterator[tuple[str, bytes]]:
    """The Python files of an installed distribution, less ``version.py``, which names the build (CPU or CUDA)."""
    paths = [path for path in metadata.files(name) or [] if path.suffix == ".py" and path.name != "version.py"]
    for path in sorted(paths):
        yield path.as_posix(), Path(str(path.locate())).read_bytes()
