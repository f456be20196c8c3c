"""Slips of the keyboard: letters, colons, commas, brackets, quotes, indentation."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from model.damage.scan import BUILTINS, COMPOUND, KEYWORDS, METHODS, STATEMENTS, Node, Scan, mixed, pick
from model.damage.types import Edit, Table, kind

TABLE: Table = {}

_KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_NEAR = {
    key: [
        near for r in (row - 1, row, row + 1) if 0 <= r < 3 for near in _KEYS[r][max(0, i - 1) : i + 2] if near != key
    ]
    for row, keys in enumerate(_KEYS)
    for i, key in enumerate(keys)
}
_WORDS = ("identifier", "true", "false", "none", *sorted(KEYWORDS))
_Options = Callable[[str], list[str]]
_COLONS = (
    "if_statement", "elif_clause", "else_clause", "for_statement", "while_statement", "with_statement", "try_statement",
    "except_clause", "finally_clause", "function_definition", "class_definition", "lambda", "pair", "case_clause",
)  # fmt: skip


def _words(rng: np.random.Generator, scan: Scan, least: int) -> Iterator[tuple[Node, str]]:
    """Names and keywords, in random order, that a reader can tell from a slip: known ones, or there more than once."""
    for node in mixed(rng, scan.of(*_WORDS)):
        if node.child_count:
            continue
        word = scan.src(node)
        if len(word) >= least and (
            word in KEYWORDS or word in BUILTINS or word in METHODS or scan.vocabulary[word] > 1
        ):
            yield node, word


def _unknown(scan: Scan, word: str) -> bool:
    return not scan.vocabulary[word] and word not in KEYWORDS and word not in BUILTINS and word not in METHODS


def _mistyped(rng: np.random.Generator, scan: Scan, least: int, options: _Options) -> list[Edit] | None:
    for node, word in _words(rng, scan, least):
        found = [new for new in options(word) if new != word and new.isidentifier() and _unknown(scan, new)]
        if found:
            return [scan.replace(node, pick(rng, found))]
    return None


@kind(TABLE, "dropped-letter", "Put back the letter that is missing in a name or keyword.", group="fix")
def dropped_letter(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    return _mistyped(rng, scan, 3, lambda word: [word[:i] + word[i + 1 :] for i in range(len(word))])


@kind(TABLE, "doubled-letter", "Remove the letter that was typed twice.", group="fix")
def doubled_letter(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    return _mistyped(rng, scan, 2, lambda word: [word[:i] + word[i] + word[i:] for i in range(len(word))])


@kind(TABLE, "swapped-letters", "Put the two swapped letters in order.", group="fix")
def swapped_letters(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    return _mistyped(
        rng, scan, 3, lambda word: [word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in range(len(word) - 1)]
    )


@kind(TABLE, "wrong-letter", "Correct the mistyped letter.", group="fix")
def wrong_letter(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    return _mistyped(
        rng,
        scan,
        3,
        lambda word: [word[:i] + near + word[i + 1 :] for i, char in enumerate(word) for near in _NEAR.get(char, ())],
    )


def _misspellings(word: str) -> list[str]:
    parts = word.split("_")
    found = [word + "s", word.removesuffix("s"), word.capitalize() if word.islower() else word.lower()]
    if len(parts) > 1 and all(parts):
        found += ["".join(parts), parts[0] + "".join(part.capitalize() for part in parts[1:])]
        found += ["_".join([*parts[:-2], parts[-1], parts[-2]])]
    for right, wrong in (("ei", "ie"), ("ie", "ei"), ("th", "ht"), ("ss", "s"), ("ll", "l"), ("tt", "t"), ("mm", "m"),
                         ("ence", "ance"), ("able", "ible"), ("ible", "able"), ("er", "or"), ("or", "er"),
                         ("cess", "ces"), ("par", "per"), ("sep", "sap"), ("ent", "ant"), ("ary", "ery")):  # fmt: skip
        if right in word[1:]:
            found.append(word[0] + word[1:].replace(right, wrong, 1))
    return found


@kind(TABLE, "misspelt-name", "Correct the spelling of the misspelt name.", group="fix", weight=1.5)
def misspelt_name(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node, word in _words(rng, scan, 4):
        found = [new for new in _misspellings(word) if new != word and _unknown(scan, new)]
        if node.type == "identifier" and found:
            return [scan.replace(node, pick(rng, found))]
    return None


@kind(TABLE, "doubled-word", "Remove the word that was typed twice.", group="fix", weight=0.4)
def doubled_word(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for node in mixed(rng, scan.of("identifier", *sorted(KEYWORDS - {"not", "await", "lambda"}))):
        if not node.child_count:
            word = scan.src(node)
            return [(scan.span(node)[1],) * 2 + (" " + word,)]
    return None


@kind(TABLE, "missing-colon", "Put back the missing colon.", group="fix", needs=(":",), weight=1.5)
def missing_colon(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for colon in mixed(rng, scan.of(":")):
        if scan.parent(colon).type in _COLONS:
            return [scan.replace(colon, "")]
    return None


@kind(TABLE, "missing-comma", "Put back the missing comma.", group="fix", needs=(",",), weight=1.5)
def missing_comma(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for comma in mixed(rng, scan.of(",")):
        around = scan.parent(comma)
        last = comma.next_sibling is None or comma.next_sibling.type in {")", "]", "}", "comment"}
        # A comma before the closing bracket is there for the eye, but for the one of a tuple of one.
        if not last or (around.type == "tuple" and len([c for c in around.children if c.type == ","]) == 1):
            return [scan.replace(comma, "")]
    return None


@kind(TABLE, "missing-equals", "Put back the missing equals sign.", group="fix", needs=("=",), weight=0.7)
def missing_equals(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    start, end = scan.span(pick(rng, scan.of("=")))
    spaced = scan.text[start - 1] == " " == scan.text[end : end + 1]
    return [(start, end + spaced, "")]


@kind(TABLE, "missing-dot", "Put back the missing dot.", group="fix", needs=("attribute",), weight=0.7)
def missing_dot(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    dots = [dot for dot in scan.of(".") if scan.parent(dot).type == "attribute"]
    for dot in mixed(rng, dots):
        before, after = scan.parent(dot).children[0], scan.parent(dot).children[-1]
        if before.end_byte == dot.start_byte and dot.end_byte == after.start_byte:
            glued = scan.src(before)[-1:].isalnum() and not _unknown(scan, scan.src(before) + scan.src(after))
            return None if glued else [scan.replace(dot, "")]
    return None


@kind(TABLE, "missing-close", "Put back the missing closing bracket.", group="fix", needs=(")", "]", "}"), weight=2)
def missing_close(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    return [scan.replace(pick(rng, scan.of(")", "]", "}")), "")]


@kind(TABLE, "missing-open", "Put back the missing opening bracket.", group="fix", needs=("(", "[", "{"))
def missing_open(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    return [scan.replace(pick(rng, scan.of("(", "[", "{")), "")]


@kind(TABLE, "doubled-close", "Remove the closing bracket that is one too many.", group="fix", needs=(")", "]", "}"))
def doubled_close(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    bracket = pick(rng, scan.of(")", "]", "}"))
    return [scan.replace(bracket, scan.src(bracket) * 2)]


@kind(TABLE, "wrong-bracket", "Use the bracket that matches.", group="fix", needs=(")", "]", "}"))
def wrong_bracket(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    bracket = pick(rng, scan.of(")", "]", "}"))
    return [scan.replace(bracket, pick(rng, sorted({")", "]", "}"} - {bracket.type})))]


@kind(TABLE, "missing-quote", "Put back the missing quote.", group="fix", needs=("string",), weight=1.5)
def missing_quote(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for string in mixed(rng, scan.of("string")):
        opening, closing = string.children[0], string.children[-1]
        quote = scan.src(closing)
        if len(quote) == 1 and len(string.children) > 2:
            if rng.random() < 0.7:
                return [scan.replace(closing, "")]
            end = scan.span(opening)[1]
            return [(end - 1, end, "")]
    return None


@kind(TABLE, "wrong-quote", "Close the string with the quote that opened it.", group="fix", needs=("string",))
def wrong_quote(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for string in mixed(rng, scan.of("string")):
        quote = scan.src(string.children[-1])
        if len(quote) == 1:
            return [scan.replace(string.children[-1], "'" if quote == '"' else '"')]
    return None


@kind(TABLE, "lost-f", "Put back the f before the string.", group="fix", needs=("string",), weight=1.5)
def lost_f(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for string in mixed(rng, scan.of("string")):
        start, end = scan.span(string.children[0])
        prefix = scan.text[start:end]
        if "f" in prefix.lower() and any(child.type == "interpolation" for child in string.children):
            return [(start, end, prefix.replace("f", "", 1) if "f" in prefix else prefix.replace("F", "", 1))]
    return None


@kind(TABLE, "assign-for-compare", "Compare with == instead of assigning.", group="fix", needs=("==",))
def assign_for_compare(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    return [scan.replace(pick(rng, scan.of("==")), "=")]


@kind(TABLE, "lost-keyword", "Put back the missing keyword.", group="fix", weight=1.2,
      needs=("in", "as", "import", "def", "class", "else", "for", "if", "while", "with", "except"))  # fmt: skip
def lost_keyword(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    words = scan.of("in", "as", "import", "def", "class", "else", "for", "if", "while", "with", "except", "elif")
    for word in mixed(rng, words):
        start, end = scan.span(word)
        if scan.text[end : end + 1] == " ":
            return [(start, end + 1, "")]
    return None


# ---------------------------------------------------------------------------------------------------- indentation


def _rows(scan: Scan) -> list[list[Node]]:
    """The statements of every block, where each begins its own line."""
    blocks = [
        [child for child in block.children if child.type in STATEMENTS] for block in [scan.top, *scan.of("block")]
    ]
    return [row for row in blocks if row and all(scan.leads(node) for node in row)]


@kind(TABLE, "wrong-indent", "Correct the indentation of one line.", group="fix", weight=2)
def wrong_indent(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    # A block moved as a whole does not show what is wrong with it.
    rows = [(row, i) for row in _rows(scan) for i in range(len(row)) if len(row) > 1 or scan.parent(row[i]) != scan.top]
    for row, i in mixed(rng, rows):
        node = row[i]
        at = scan.line_start(scan.span(node)[0])
        # A block of a single line may be indented as one likes; a level out it is no block any more.
        deeper = len(row) > 1 and not (i == 0 and node.type in COMPOUND)
        choice = int(rng.integers(4)) if deeper else 0
        if choice < 2 and scan.text.startswith(scan.unit, at):
            return [(at, at + len(scan.unit), "")]
        if deeper:
            return [(at, at, scan.unit if choice < 3 else " ")]
    return None


@kind(TABLE, "wrong-indent-tail", "Correct the indentation from one line on.", group="fix", weight=1.5)
def wrong_indent_tail(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for row in mixed(rng, [row for row in _rows(scan) if len(row) > 1]):
        i = int(rng.integers(1, len(row)))
        starts = sorted({at for node in row[i:] for at in scan.lines(node)})
        if all(scan.text.startswith(scan.unit, at) for at in starts) and rng.random() < 0.5:
            return [(at, at + len(scan.unit), "") for at in starts]
        return [(at, at, scan.unit) for at in starts]
    return None


@kind(TABLE, "flat-body", "Indent the body under its header.", group="fix", needs=("block",))
def flat_body(rng: np.random.Generator, scan: Scan) -> Iterable[Edit] | None:
    for block in mixed(rng, scan.of("block")):
        row = [child for child in block.children if child.type in STATEMENTS]
        if row and all(scan.leads(node) for node in row):
            edits = [scan.dedent(node, scan.unit) for node in row]
            if all(edits):
                return [edit for found in edits if found for edit in found]
    return None
