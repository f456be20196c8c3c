"""What can go wrong that a caller can do something about. Our own mistakes are asserts, "no answer" is a value.

HoneError                  one sentence that names the value and the fix; the command line prints it and exits with 2
├── RequestError           the request cannot be met as asked: ask differently
│   ├── PositionError      a place outside of the text
│   └── SourceError        a file that cannot be read or written as text
├── SettingError           a bad value in the settings file, the environment or a flag
└── ModelError             no usable model: `hone doctor` says what is missing
"""


class HoneError(Exception):
    """Base of all of them: catch it once, at the edge."""


class RequestError(HoneError):
    pass


class PositionError(RequestError):
    pass


class SourceError(RequestError):
    pass


class SettingError(HoneError):
    pass


class ModelError(HoneError):
    pass
