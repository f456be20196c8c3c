"""``python -m lsp``: the same as ``hone lsp``, without options."""

import sys

from assistant.config import load_settings
from assistant.errors import HoneError
from lsp.start import serve

if __name__ == "__main__":
    try:
        sys.exit(serve(load_settings(), reread=load_settings))
    except HoneError as error:
        sys.exit(f"hone: {error}")
