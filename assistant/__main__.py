"""python -m assistant: the same as `hone`."""

import sys

from assistant.cli import main

sys.exit(main())
