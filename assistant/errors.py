"""What can go wrong that a caller can do something about. Our own mistakes are asserts, "no answer" is a value.

HoneError                  one sentence that names the value and the fix; the command line prints it and exits with 2
├── RequestError           the request cannot be met as asked: ask differently
│   ├── PositionError      a place outside of the text
│   ├── CannotEditError    the model was not trained to edit, or follows no instructions
│   └── SourceError        a file that cannot be read or written as text
├── BusyError              too many requests at once: ask again in a moment
├── DaemonError            no daemon can be reached or started
├── SettingError           a bad value in the settings file, the environment or a flag
└── ModelError             no usable model: `hone doctor` says what is missing
"""


class HoneError(Exception):
    """Base of all of them: catch it once, at the edge."""


class RequestError(HoneError):
    pass


class PositionError(RequestError):
    pass


class CannotEditError(RequestError):
    pass


class SourceError(RequestError):
    pass


class BusyError(HoneError):
    """``retry_after_s``: when to ask again, in seconds."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DaemonError(HoneError):
    pass


class SettingError(HoneError):
    pass


class ModelError(HoneError):
    pass
