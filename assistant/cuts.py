"""Where a long text falls into parts that parse by themselves: between the nodes of the top level of its tree.

``python -m assistant.cuts LANGUAGE FILENAME`` reads the text from its input and writes the offsets as JSON: for who
must not wait for a parser.
"""

import json
import re
import sys
from functools import lru_cache

from infill import languages

LINE = re.compile(r"^(?=.)", re.MULTILINE)
APART = 1000
"""Characters between two places, at least: nobody needs more of them."""


def find_cuts(text: str, language: str | None, filename: str | None = None) -> list[int]:
    """Offsets at the beginnings of lines, in order. A text without a grammar may be cut before any line."""
    row = languages.get(languages.resolve(language, filename, text))
    parser = None if row is None else languages.parser(row.name)
    if row is None or parser is None or "\0" in text or languages.depth(text, row) > languages.DEPTH:
        return _apart([match.start() for match in LINE.finditer(text)])
    data = text.encode("utf-8", "surrogatepass")
    is_ascii = len(data) == len(text)
    cuts: list[int] = []
    place = offset = 0
    before_is_whole = True
    for node in parser.parse(row.seen(data)).root_node.children:
        start = node.start_byte
        whole = not (node.is_error or node.is_missing or node.has_error)
        if start and whole and before_is_whole and data[start - 1 : start] == b"\n":
            offset = start if is_ascii else offset + len(data[place:start].decode("utf-8", "surrogatepass"))
            place = start
            cuts.append(offset)
        before_is_whole = whole
    return _apart(cuts)


@lru_cache(maxsize=2)
def known_cuts(text: str, language: str | None, filename: str | None = None) -> tuple[int, ...]:
    """As ``find_cuts``, kept: who edits a text asks for one part of it after the other."""
    return tuple(find_cuts(text, language, filename))


def _apart(cuts: list[int]) -> list[int]:
    kept: list[int] = []
    for cut in cuts:
        if not kept or cut - kept[-1] >= APART:
            kept.append(cut)
    return kept


def main() -> None:
    language, filename = sys.argv[1:3]
    text = sys.stdin.buffer.read().decode("utf-8", "surrogatepass")
    print(json.dumps(find_cuts(text, language, filename)))  # noqa: T201 (what it is for)


if __name__ == "__main__":
    main()
