"""One setting written into the settings file; everything else in it stays as it is, byte for byte."""

import json
import os
import re
import tomllib
from pathlib import Path

from assistant.config import config_path
from assistant.errors import SettingError, SourceError
from assistant.source import write_source

_VALUE = re.compile(r"""[ \t]*=[ \t]*("(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[^\s"'#\[{]+)[ \t]*(?=\r?\n|#|\Z)""")


def write_setting(key: str, value: str) -> Path:
    """``key = "value"`` in the settings file. Returns the file's path.

    Raises:
        SettingError: the file cannot be read, written, or changed without touching more of it.
    """
    path = config_path(os.environ)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        old = path.read_bytes().decode("utf-8") if path.exists() else ""
        new = changed(old, key, value)
        if new != old:
            path.touch(mode=0o600)
            write_source(path, new)
    except (OSError, UnicodeDecodeError, SourceError) as error:
        raise SettingError(f"{path} cannot be changed: {error}") from error
    except ValueError as error:
        raise SettingError(f"{path}: {error}; write it by hand: {key} = {_quoted(value)}") from None
    return path


def changed(text: str, key: str, value: str) -> str:
    """The file's text with another value of ``key``.

    Raises:
        ValueError: why the text cannot be changed in one place.
    """
    before = _parsed(text)
    if before is None:
        raise ValueError("it is no TOML that can be read")
    new = _replaced(text, key, value)
    if _parsed(new) != before | {key: value}:
        raise ValueError(f"{key} does not stand on a line of its own")
    return new


def _parsed(text: str) -> dict[str, object] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def _replaced(text: str, key: str, value: str) -> str:
    end = "\r\n" if "\r\n" in text else "\n"
    line = re.search(rf"^[ \t]*{key}(?=[ \t]*=)", text, re.MULTILINE)
    found = None if line is None else _VALUE.match(text, line.end())
    if found is not None:
        return text[: found.start(1)] + _quoted(value) + text[found.end(1) :]
    gap = end if text and not text.endswith("\n") else ""
    return f"{text}{gap}{key} = {_quoted(value)}{end}"


def _quoted(value: str) -> str:
    """A TOML string: JSON's escapes are among TOML's, which also wants one for DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
