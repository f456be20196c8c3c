"""Settings: defaults < file < environment < flags. Read once, converted once, frozen.

A bad value is reported with its name and the place where it stands.

The file is ``$XDG_CONFIG_HOME/hone/config.toml`` (``~/.config/hone/config.toml``), or what ``HONE_CONFIG`` says; its
keys are the fields below. The environment has the same names in capitals behind ``HONE_``: ``HONE_BUDGET_MS=300``.
"""

import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from assistant import store
from assistant.errors import SettingError


@dataclass(frozen=True)
class Settings:
    """What holds for every request unless the request says otherwise (``None``: the default of the loaded model), and
    how the daemon is run and found.
    """

    model: Path | None = None
    """A checkpoint's folder; None: the embedded model. Outside, an installed model's name, or "embedded"."""
    edit_model: Path | None = None
    """A checkpoint folder for edits; None: the model, and where that cannot edit, the embedded one for edits."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    dtype: str | None = None
    """auto, bfloat16 or float32."""
    quantize: str | None = None
    """int8 or int4: a published model's weights in fewer bits. Our own are small, and opened as they are."""
    threads: int | None = None
    """Processor threads of the model."""
    n: int = 1
    max_tokens: int = 64
    steps: int | None = None
    policy: str | None = None
    lengths: int | None = None
    budget_ms: float | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0

    context: str = "auto"
    """Whether what helps from the file's workspace goes along: "auto" or "never"."""
    exclude: tuple[str, ...] = ()
    """Globs of files that never enter a prompt, beside those that usually hold secrets."""
    daemon: str = "auto"
    """Whether commands ask a daemon: "auto" (one that runs), "start" (start one if none does) or "never"."""
    host: str = "127.0.0.1"
    port: int = 8077
    """0: any free one."""
    socket: Path | None = None
    """A Unix socket instead of host and port."""
    token: str | None = None
    """What every request must bring along; None: nothing, which is for loopback and Unix sockets only."""
    allow_host: tuple[str, ...] = ()
    allow_origin: tuple[str, ...] = ()
    log_code: bool = False
    """Whether the log may hold the user's code."""
    idle_unload: float | None = None
    """Seconds without a request after which the model is freed."""
    exit_idle: float | None = None
    """Seconds without a request after which the daemon ends."""
    memory: int | None = None
    """MiB of the process above which caches are dropped."""
    statistics: bool = True
    """Whether the language server counts what it shows and what is accepted, for the user alone."""
    queue: int | None = None
    """Requests that may wait; None: as many as ``assistant.worker.Limits`` says."""


def load_settings(flags: Mapping[str, Any] | None = None, env: Mapping[str, str] | None = None) -> Settings:
    """The settings of this process; ``flags`` that are None or no setting are passed over.

    Raises:
        SettingError: names the key, the value, where it stands and what is allowed.
    """
    env = os.environ if env is None else env
    values = _from_file(config_path(env), required="HONE_CONFIG" in env) | _from_environment(env)
    for key, value in (flags or {}).items():
        if key in READERS and value is not None:
            values[key] = _read(key, value, f"--{key.replace('_', '-')}")
    return Settings(**values)


def config_path(env: Mapping[str, str]) -> Path:
    if "HONE_CONFIG" in env:
        return Path(env["HONE_CONFIG"]).expanduser()
    base = env.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "hone" / "config.toml"


def _from_file(path: Path, *, required: bool) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            table = tomllib.load(file)
    except FileNotFoundError:
        if required:
            raise SettingError(f"HONE_CONFIG names {path}, which does not exist") from None
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingError(f"{path} cannot be read: {error}") from error
    unknown = sorted(table.keys() - READERS.keys())
    if unknown:
        raise SettingError(f"{path}: unknown setting {unknown[0]!r}; known are {', '.join(READERS)}")
    return {key: _read(key, value, str(path)) for key, value in table.items()}


def _from_environment(env: Mapping[str, str]) -> dict[str, Any]:
    names = {f"HONE_{key.upper()}": key for key in READERS}
    return {key: _read(key, env[name], name) for name, key in names.items() if env.get(name)}


def _read(key: str, value: object, where: str) -> Any:
    try:
        return READERS[key](value)
    except (ValueError, TypeError) as error:
        raise SettingError(f"{where}: {key} {error}, not {value!r}") from None


# Readers take what a flag, a variable or TOML holds and give the field's value, or raise ValueError: what is allowed.


def whole(least: int, most: int) -> Callable[[object], int]:
    allowed = f"must be a whole number from {least} to {most}"

    def read(value: object) -> int:
        try:
            number = int(str(value))
        except ValueError:
            raise ValueError(allowed) from None
        if not least <= number <= most:
            raise ValueError(allowed)
        return number

    return read


def real(least: float, most: float) -> Callable[[object], float]:
    allowed = f"must be a number from {least:g} to {most:g}"

    def read(value: object) -> float:
        try:
            number = float(str(value))
        except ValueError:
            raise ValueError(allowed) from None
        if not least <= number <= most:  # refuses NaN and the infinities, too
            raise ValueError(allowed)
        return number

    return read


def name(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be a name")
    return value.strip()


def choice(*allowed: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        if value not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}")
        return str(value)

    return read


def switch(value: object) -> bool:
    known = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if str(value).strip().lower() not in known:
        raise ValueError("must be true or false")
    return known[str(value).strip().lower()]


def names(value: object) -> tuple[str, ...]:
    """From a list, or from a text with commas."""
    values = value if isinstance(value, (list, tuple)) else [value]
    return tuple(name(part) for one in values for part in name(one).split(","))


def file_path(value: object) -> Path:
    return (value if isinstance(value, Path) else Path(name(value))).expanduser()


def device(value: object) -> str:
    kind, _, index = name(value).partition(":")
    if kind not in ("auto", "cpu", "cuda", "mps") or (index and not (kind == "cuda" and index.isdecimal())):
        raise ValueError("must be auto, cpu, cuda, cuda:N or mps")
    return name(value)


EMBEDDED = "embedded"
EMBEDDED_FOLDER = Path(__file__).parents[1] / "model" / "weights" / "hone-tiny-python"


def checkpoint(value: object) -> Path:
    """A folder, or the name of an installed model, which comes first: ``./NAME`` is the folder of that name."""
    if value == EMBEDDED:
        return EMBEDDED_FOLDER
    path = (value if isinstance(value, Path) else store.find(name(value)) or Path(name(value))).expanduser()
    if not path.is_dir():
        raise ValueError(
            "must be the folder of a checkpoint that exists, or the name of an installed model (`hone model list`)"
        )
    return path


def edit_checkpoint(value: object) -> Path | None:
    return None if value == EMBEDDED else checkpoint(value)


READERS: dict[str, Callable[[object], Any]] = {
    "model": checkpoint,
    "edit_model": edit_checkpoint,
    "device": device,
    "dtype": choice("auto", "bfloat16", "float32"),
    "quantize": choice("int8", "int4"),
    "threads": whole(1, 1024),
    "n": whole(1, 64),
    "max_tokens": whole(1, 4096),
    "steps": whole(1, 1024),
    "policy": name,
    "lengths": whole(1, 64),
    "budget_ms": real(1, 3_600_000),
    "temperature": real(0, 10),
    "top_p": real(0.01, 1),
    "seed": whole(0, 2**63 - 1),
    "context": choice("auto", "never"),
    "exclude": names,
    "daemon": choice("auto", "start", "never"),
    "host": name,
    "port": whole(0, 65535),
    "socket": file_path,
    "token": name,
    "allow_host": names,
    "allow_origin": names,
    "log_code": switch,
    "idle_unload": real(0.1, 31_536_000),
    "exit_idle": real(0.1, 31_536_000),
    "memory": whole(64, 2**30),
    "statistics": switch,
    "queue": whole(1, 65536),
}
assert READERS.keys() == {field.name for field in fields(Settings)}
