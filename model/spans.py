"""Which part of a file becomes the hole: the spans people complete, drawn from real code.

Offsets are code points of the file's text. Syntax nodes are found in a window around the position only, so the cost
does not grow with the file.
"""

import re
from dataclasses import dataclass, replace

import numpy as np
import tree_sitter
import tree_sitter_python

KINDS = {"rest": 0.27, "line": 0.17, "lines": 0.15, "node": 0.27, "chars": 0.14}
WINDOW = 3000
_CLOSERS = re.compile(r"[)\]}\"']+:?$")
_NODES = {
    "argument_list", "block", "binary_operator", "boolean_operator", "call", "comparison_operator", "dictionary",
    "expression_statement", "list", "parameters", "return_statement", "if_statement", "for_statement", "string",
    "subscript", "tuple", "attribute", "list_comprehension", "with_statement", "assignment", "lambda",
}  # fmt: skip


@dataclass(frozen=True)
class Example:
    """Text around one hole: ``before`` | ``middle`` | ``after``."""

    before: str
    middle: str
    after: str


def draw(rng: np.random.Generator, text: str, parser: tree_sitter.Parser) -> Example:
    """One hole in a file of at least one character, with what an editor may have done to the text around it."""
    at = int(rng.integers(0, len(text)))
    kind = rng.choice(list(KINDS), p=np.array(list(KINDS.values())))
    start, end = _node(rng, text, at, parser) if kind == "node" else _PLAIN[str(kind)](rng, text, at)
    return _realistic(rng, Example(text[:start], text[start:end], text[end:]), kind)


def _bounds(text: str, at: int) -> tuple[int, int]:
    """Start and end of the line at ``at``, or of the next line that is not blank."""
    while True:
        start = text.rfind("\n", 0, at) + 1
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        if text[start:end].strip() or end == len(text):
            return start, end
        at = end + 1


def _rest(rng: np.random.Generator, text: str, at: int) -> tuple[int, int]:
    start, end = _bounds(text, at)
    indent = len(text[start:end]) - len(text[start:end].lstrip())
    return int(rng.integers(start + indent, end + 1)) if start + indent < end else end, end


def _line(rng: np.random.Generator, text: str, at: int) -> tuple[int, int]:
    start, end = _bounds(text, at)
    # An editor has indented the new line already, mostly.
    indent = len(text[start:end]) - len(text[start:end].lstrip())
    return (start + indent if rng.random() < 0.7 else start), end


def _lines(rng: np.random.Generator, text: str, at: int) -> tuple[int, int]:
    start, end = _line(rng, text, at)
    for _ in range(int(rng.integers(1, 8))):
        after = text.find("\n", end + 1)
        if after < 0:
            break
        end = after
    return start, len(text[:end].rstrip()) if text[start:end].strip() else end


def _node(rng: np.random.Generator, text: str, at: int, parser: tree_sitter.Parser) -> tuple[int, int]:
    low = text.rfind("\n", 0, max(0, at - WINDOW // 2)) + 1
    window = text[low : low + WINDOW]
    data = window.encode()
    place = len(window[: at - low].encode())
    node = parser.parse(data).root_node.descendant_for_byte_range(place, place)
    found: list[tree_sitter.Node] = []
    while node is not None and node.parent is not None:
        if node.type in _NODES and 0 < node.end_byte - node.start_byte < 400:
            found.append(node)
        node = node.parent
    if not found:
        return _rest(rng, text, at)
    chosen = found[int(rng.integers(len(found)))]
    start = low + len(data[: chosen.start_byte].decode())
    end = start + len(data[chosen.start_byte : chosen.end_byte].decode())
    if chosen.type in {"argument_list", "parameters"} and end - start > 2:
        return start + 1, end - 1
    return start, end


def _chars(rng: np.random.Generator, text: str, at: int) -> tuple[int, int]:
    """Any two places, inside words too: the cursor seldom stands where a tokenizer would cut."""
    return at, min(len(text), at + int(np.exp(rng.uniform(0, np.log(190)))))


def _realistic(rng: np.random.Generator, example: Example, kind: str) -> Example:
    chance = rng.random()
    if chance < 0.05:
        return replace(example, after="")  # the end of a file that is being written
    if kind == "rest" and chance < 0.2 and (closers := _CLOSERS.search(example.middle)):
        # An editor that closes brackets has typed them already.
        cut = closers.start()
        return replace(example, middle=example.middle[:cut], after=closers.group() + example.after)
    if chance > 0.95:
        return replace(example, after=_half_written(rng, example.after))
    return example


def _half_written(rng: np.random.Generator, after: str) -> str:
    """The text behind with one line cut short, as in a file that does not parse just now."""
    lines = after[:4000].split("\n")
    if len(lines) < 3:
        return after
    i = int(rng.integers(1, min(len(lines), 20)))
    lines[i] = lines[i][: int(rng.integers(0, len(lines[i]) + 1))]
    return "\n".join(lines)


_PLAIN = {"rest": _rest, "line": _line, "lines": _lines, "chars": _chars}


def python_parser() -> tree_sitter.Parser:
    return tree_sitter.Parser(tree_sitter.Language(tree_sitter_python.language()))
