"""Slips of the hand on one line, taken back: what somebody who types means, most likely first.

A slip is ``(start, end, text)``: ``line[start:end]`` should have been ``text``. Whether it helps, a parser says.
"""

import builtins
import itertools
import keyword
import re
from collections.abc import Collection, Iterator, Sequence

from infill.brackets import CLOSER, due
from infill.program import parses

Slip = tuple[int, int, str]
WORD = re.compile(r"\w+")
KEYWORDS = (
    "return", "import", "from", "def", "class", "for", "while", "if", "elif", "else", "try", "except", "finally",
    "with", "in", "not", "and", "or", "is", "as", "raise", "yield", "lambda", "pass", "break", "continue", "await",
    "async", "assert", "del", "global", "nonlocal", "None", "True", "False",
)  # fmt: skip
OTHER = {'"': "'", "'": '"'}
OPENER = {closer: opener for opener, closer in CLOSER.items()}
BUILTINS = frozenset(dir(builtins))
HEAD = re.compile(r"\s*")
GAP = re.compile(r"(?<=[\w\"')\]}])[ \t]+(?=[\w\"'(\[{])")
NAMED = re.compile(r"[\w.\s]+")
BEFORE_QUOTE = re.compile(r"(?<=[(\[{,=\s])(?=\S)|(?<=[fFrRbBuU])(?=\w)")
AFTER_QUOTE = (re.compile(r"(?<=\S)(?=[\s,)\]}:]|$)"), re.compile(r"(?<=\S)(?=\.)"))
VALUE = re.compile(r"(?:[=,:(\[{]|\b(?:in|or|and|if|is|not|return|yield))[ \t]*(?=\S)")
"""Behind it a value begins."""
PREFIX = re.compile(r"(?<!\w)[fFrRbBuU]{1,2}$")
MOST_SIGNS = 4
"""Signs beside each other that are lost at once."""
FOREIGN = "?$"
"""Signs that Python has no use for, and other languages have."""
BEGINS = re.compile(
    r"(?:return|raise|import|del|assert|pass|break|continue|global|nonlocal|def|class|while|with|try|async|for|if)\b|@"
)
"""A statement; the last two may also go on with one."""
BLOCKS = {
    "if",
    "elif",
    "else",
    "for",
    "while",
    "def",
    "class",
    "with",
    "try",
    "except",
    "finally",
    "match",
    "case",
    "async",
}


def slips(line: str, words: Collection[str], around: Sequence[str], quote: str, *, python: bool) -> Iterator[Slip]:
    """``words``: those that stand elsewhere in the text. ``around``: the closers that are due where the line begins,
    outermost first. ``quote``: the one that is usual in the text."""
    yield from _doubled(line)
    if python:
        yield from _lost_colon(line)
        yield from _misspelt(line, words)
        yield from _lost_head(line)
        yield from _merged(line, around)
        yield from _lost_in(line)
    yield from _wrong_bracket(line, around)
    yield from _doubled_closer(line)
    yield from _other_quote(line, quote)
    yield from _lost_quote(line)
    if python:
        for found in re.finditer(r"(?<=[)\]])(?=[A-Za-z_])", line):
            yield found.start(), found.start(), "."
        yield from _lost_sign(line, around)
        yield from _lost_opener(line, words)


def _doubled(line: str) -> Iterator[Slip]:
    """A word written twice."""
    for found in re.finditer(r"(?<![\w.])(\w+)([ \t]+)\1\b", line):
        yield found.start(2), found.end(), ""


def _misspelt(line: str, words: Collection[str]) -> Iterator[Slip]:
    """A keyword with a letter dropped, doubled, swapped or wrong."""
    for found in WORD.finditer(line):
        word = found.group()
        # Where a statement begins with two words, the first is a keyword, however often it is misspelt.
        begins = not line[: found.start()].strip() and re.match(r"[ \t]+\w", line[found.end() :]) is not None
        if len(word) < 2 or not word.isalpha() or word in BUILTINS or keyword.iskeyword(word):
            continue
        if word in words and not begins:
            continue
        for right in KEYWORDS:
            if is_near(word, right):
                yield found.start(), found.end(), right


def is_near(word: str, right: str) -> bool:
    """Whether one letter dropped, added or wrong, or two of them swapped, is all that is between them."""
    shorter, longer = sorted((word, right), key=len)
    if len(longer) - len(shorter) > 1 or word == right:
        return False
    head = next((i for i, (a, b) in enumerate(zip(shorter, longer, strict=False)) if a != b), len(shorter))
    if len(shorter) != len(longer):
        return shorter[head:] == longer[head + 1 :]
    rest = slice(head + 1, None)
    if shorter[rest] == longer[rest]:
        return True
    return shorter[head : head + 2] == longer[head : head + 2][::-1] and shorter[head + 2 :] == longer[head + 2 :]


def _decorates(line: str) -> bool:
    return line.lstrip().startswith("@")


def _common(a: Sequence[str], b: Sequence[str]) -> int:
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))


def keeps_words(text: str, start: int, end: int, new: str) -> bool:
    """Whether ``new`` for ``text[start:end]`` leaves the words of its lines as they are, but for slips: a parser takes
    many a text for right in which a word is missing, or another one stands."""
    first = text.rfind("\n", 0, start) + 1
    stop = text.find("\n", end)
    line = text[first : len(text) if stop < 0 else stop]
    made = line[: start - first] + new + line[end - first :]
    # A text that is documentation stays one, and a decorator too: without them much parses.
    if any(made.count(sign) < line.count(sign) for sign in ('"""', "'''")) or _decorates(line) > _decorates(made):
        return False
    if any(sign in FOREIGN or not (sign.isascii() or sign.isspace()) for sign in text[start:end] if sign not in new):
        return False  # without what Python does not have it would be another program
    if new.strip() and PREFIX.search(line[: start - first]) and line[end - first : end - first + 1] in OTHER:
        return False  # between a string and what it begins with
    if not new and re.fullmatch(r"\s*[\w.]*\w\s*", made) and line.rstrip().endswith(("=", ".")):
        return False  # a statement that is not written to its end, and would say nothing
    if not new and made.rstrip().endswith(",") > line.rstrip().endswith(","):
        return False  # which would make a tuple
    if len(new.strip()) > MOST_SIGNS and not WORD.search(new):
        return False  # one wrong guess upon the other
    a, b = WORD.findall(line), WORD.findall(made)
    head = _common(a, b)
    tail = _common(a[head:][::-1], b[head:][::-1])
    gone, come = a[head : len(a) - tail], b[head : len(b) - tail]
    if "".join(gone) == "".join(come):  # a sign lost, or a space at a keyword
        is_sign = len(come) > len(gone) and not any(quote in new for quote in OTHER)
        return not gone or is_sign or any(word in KEYWORDS for word in (*gone, *come))
    if not gone:
        return all(word in KEYWORDS for word in come) and (made.rstrip().endswith(":") or come[0] not in BLOCKS)
    if not come:  # written twice
        return gone[0] in (*a[max(head - 1, 0) : head], *a[head + len(gone) : head + len(gone) + 1])
    return len(gone) == len(come) == 1 and is_near(gone[0], come[0])


def _lost_colon(line: str) -> Iterator[Slip]:
    """Behind the head of a block, of which this may be the last line."""
    end = len(line.rstrip())
    first = WORD.search(line)
    is_head = first is not None and first.group() in BLOCKS and not line[: first.start()].strip()
    if end and line[end - 1] != ":" and (is_head or line.lstrip().startswith(")")):
        yield end, end, ":"


def _lost_head(line: str) -> Iterator[Slip]:
    """The keyword at the beginning of a statement."""
    found = HEAD.match(line)
    at = found.end() if found else 0
    code = line[at:].rstrip()
    first = WORD.match(code)
    if first is None or first.group() in BLOCKS:
        return
    if not code.endswith((":", "(")):
        if re.match(r"[\w.]+ import ", code):
            yield at, at, "from "
        return
    if re.match(r"\w+\s*\(", code) and re.search(r"\)\s*(?:->.*)?:$|\($", code):
        yield at, at, "def "
    if re.match(r"[A-Z]\w*\s*(?:\(.*\))?:$", code):
        yield at, at, "class "
    if re.match(r"[\w, ()]+ in (?![\[({])", code):
        yield at, at, "for "
    for word in ("if ", "elif ", "while ", "for ", "with ", "except "):
        if (word not in ("for ", "with ")) or " in " in code or " as " in code:
            yield at, at, word
    for gap in GAP.finditer(code):
        if first.group() == "for":
            yield at + gap.end(), at + gap.end(), "in "


def _merged(line: str, around: Sequence[str]) -> Iterator[Slip]:
    """The end of a line between two statements."""
    if around:
        return
    code = line.rstrip()
    first = WORD.match(line.lstrip())
    indent = line[: len(line) - len(line.lstrip())]
    is_block = first is not None and first.group() in BLOCKS
    for found in GAP.finditer(line):
        begins = BEGINS.match(line, found.end())
        goes_on = begins is not None and begins.group() in ("for", "if") and (is_block or not code.endswith(":"))
        wide = len(found.group()) > 1 or "\t" in found.group()
        if (begins is None or goes_on) and not wide:
            continue
        left = line[: found.start()].strip()
        is_named = NAMED.fullmatch(left) is not None and not keyword.iskeyword(left.split()[0])
        if not (is_block or left.startswith("@")) and (is_named or not parses(left)):
            continue  # which is no statement, or one that does nothing
        if not due(line[: found.start()], "#", [])[0]:
            yield found.start(), found.end(), f"\n{indent}"


def _lost_in(line: str) -> Iterator[Slip]:
    """Between the names of a comprehension and what they are taken from."""
    for found in re.finditer(r"\S[ \t]+for[ \t]+\w+(?:,[ \t]*\w+)*[ \t]+(?!in\b|\w+[ \t]+in\b)(?=\w)", line):
        yield found.end(), found.end(), "in "


def _wrong_bracket(line: str, around: Sequence[str]) -> Iterator[Slip]:
    """A closing bracket of another kind than the one that is due."""
    stack = list(around)
    for at, sign in enumerate(line):
        if sign in CLOSER:
            stack.append(CLOSER[sign])
        elif sign in OPENER and stack and (wanted := stack.pop()) != sign:
            yield at, at + 1, wanted


def _doubled_closer(line: str) -> Iterator[Slip]:
    """A closing bracket typed twice."""
    for closer in _too_many(line):
        for found in re.finditer(re.escape(closer * 2), line):
            yield found.start(), found.start() + 1, ""


def _too_many(line: str) -> list[str]:
    """Closers of which there are more than of their openers."""
    return [closer for closer, opener in OPENER.items() if line.count(closer) > line.count(opener)]


def _other_quote(line: str, quote: str) -> Iterator[Slip]:
    """One quote of the other kind."""
    if line.count('"') % 2 and line.count("'") % 2:
        for one in (OTHER[quote], quote):
            for found in re.finditer(one, line):
                yield found.start(), found.end(), OTHER[one]


def _lost_quote(line: str) -> Iterator[Slip]:
    for quote in ('"', "'"):
        if line.count(quote) % 2 == 0 or line.count(OTHER[quote]) % 2:
            continue
        last = line.rfind(quote)
        for found in itertools.chain(*(pattern.finditer(line) for pattern in AFTER_QUOTE)):
            if line[found.start() - 1] != quote and line.count(quote, 0, found.start()) % 2:
                yield found.start(), found.start(), quote
        for found in BEFORE_QUOTE.finditer(line):
            opened = line.count(quote, 0, found.start()) % 2
            if found.start() <= last and line[found.start()] != quote and not opened:
                yield found.start(), found.start(), quote


def _lost_sign(line: str, around: Sequence[str]) -> Iterator[Slip]:
    """A comma, a colon or an equals sign between two things that cannot stand beside each other."""
    for found in GAP.finditer(line):
        left, right = WORD.findall(line[: found.start()])[-1:], WORD.match(line, found.end())
        if (left and keyword.iskeyword(left[0]) and left[0] not in ("None", "True", "False")) or (
            right
            and keyword.iskeyword(right.group())
            and right.group() not in ("None", "True", "False", "lambda", "not")
        ):
            continue
        inside = due(line[: found.start()], "#", list(around))[0]
        piece = re.split(r"[,(\[{]", line[: found.start()])[-1]
        comma, colon, equals = [(found.start(), found.start(), sign) for sign in (",", ":", " =")]
        if not inside:
            if re.search(r"(?<![=!<>])=(?!=)", line):
                continue  # which would give one value to two names
            yield from (equals, comma) if not re.match(r"\s*(?:return|for|in|print)\b", line) else (comma, equals)
        elif inside[-1] == "}":
            yield from (comma, colon) if ":" in piece else (colon, comma)
        elif ":" in piece and inside[-1] == ")":
            yield from (equals, comma)
        elif re.match(r"\s*(?:async\s+)?def\b", line):
            yield from (comma, colon, equals)
        else:
            yield from (comma, equals)
    end = len(line.rstrip())
    if end and line[end - 1] not in ",([{:":
        yield end, end, ","


def _lost_opener(line: str, words: Collection[str]) -> Iterator[Slip]:
    """An opening bracket, inside of what looks like one word, behind a word, or at the end."""
    known = {*words, *BUILTINS}
    for closer in _too_many(line):
        opener = OPENER[closer]
        for found in WORD.finditer(line):
            word = found.group()
            if word in words:
                continue
            splits = [i for i in range(2, len(word)) if word[i:] in known and (word[:i] in known or len(word) > i + 1)]
            for i in sorted(splits, key=lambda i: (word[:i] not in known, -min(i, len(word) - i))):
                yield found.start() + i, found.start() + i, opener
        for found in re.finditer(r"(?<=[\w\])])(?=[\"'\[{(*~-])", line):
            yield found.start(), found.start(), opener
        for found in VALUE.finditer(line):
            yield found.end(), found.end(), opener
    end = len(line.rstrip())
    if end and re.search(r"\w$|=$", line[:end]):
        for opener in "([{":
            yield end, end, opener if line[end - 1] != "=" else f" {opener}"
