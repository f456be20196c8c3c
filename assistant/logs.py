"""The log of a server: one JSON object a line, without a word of anybody's code unless that was asked for.

Lines of our own loggers ("hone", "uvicorn") say what they say: their messages hold no text of a request. Of an
exception the type and the frames are written, for its message may quote the text that it failed on. Of everybody else's
lines only who spoke, and where: what they say may quote anything. ``log_code`` lifts both.
"""

import json
import logging
import os
import sys
import traceback
from datetime import UTC, datetime
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, cast

OURS = ("hone", "uvicorn")
MAX_BYTES = 5 * 2**20
BACKUPS = 3
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def install(path: Path | None = None, *, log_code: bool = False, level: int = logging.INFO) -> logging.Handler:
    """Log to a file that is rotated and that its owner alone can read; None: to stderr. ``uninstall`` takes it back."""
    handler = logging.StreamHandler(sys.stderr) if path is None else _PrivateFile(path)
    handler.setFormatter(JsonLines(log_code=log_code))
    logging.getLogger().addHandler(handler)
    for name in OURS:
        logger = logging.getLogger(name)
        logger.setLevel(level)
    return handler


def uninstall(handler: logging.Handler) -> None:
    logging.getLogger().removeHandler(handler)
    for name in OURS:
        logging.getLogger(name).setLevel(logging.NOTSET)
    handler.close()


class JsonLines(logging.Formatter):
    def __init__(self, *, log_code: bool = False) -> None:
        super().__init__()
        self._log_code = log_code

    def format(self, record: logging.LogRecord) -> str:
        ours = record.name.split(".")[0] in OURS
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        if ours or self._log_code:
            line["event"] = record.getMessage().strip()
            line |= {name: value for name, value in vars(record).items() if name not in _STANDARD | {"color_message"}}
        else:
            line["event"] = "withheld"
            line["at"] = f"{record.filename}:{record.lineno} {record.funcName}"
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = described(record.exc_info[1], log_code=self._log_code)
        return json.dumps(line, ensure_ascii=True, default=str)


def described(error: BaseException, *, log_code: bool) -> dict[str, Any]:
    """An exception without its message, which may quote what it failed on."""
    frames = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    said: dict[str, Any] = {"type": type(error).__name__, "frames": frames}
    if log_code:
        said["message"] = str(error)
    if isinstance(error, BaseExceptionGroup):
        said["errors"] = [described(inner, log_code=log_code) for inner in error.exceptions]
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        said["cause"] = described(cause, log_code=log_code)
    return said


class _PrivateFile(RotatingFileHandler):
    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        super().__init__(path, maxBytes=MAX_BYTES, backupCount=BACKUPS, encoding="utf-8", delay=False)

    def _open(self) -> TextIOWrapper:
        def private(name: str, flags: int) -> int:
            return os.open(name, flags, 0o600)

        return cast(TextIOWrapper, open(self.baseFilename, self.mode, encoding="utf-8", opener=private))
