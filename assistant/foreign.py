"""What other languages, Python 2, editors and tools leave in Python's text, said as Python says it: ``&&``, ``else
if``, ``print x``, tabs among spaces, a line that was pasted twice, a brace, a quote or a colon that is lost.

Each is tried on the line at which Python's own parser stops, and taken only where that parser then gets beyond it.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import chain

from assistant.indents import HEAD, LONGEST, STRING
from assistant.mend import Mending
from infill import program

HEADS = "(?:if|elif|else|for|while|def|class|try|except|catch|finally|with)"
ASKED = r"[^?:=]+(?:[=!<>]=[^?:=]+)?(?<! )"
SPELLINGS = [
    (re.compile(pattern), new)
    for pattern, new in (
        (r"[ \t]*&&[ \t]*", " and "),
        (r"[ \t]*\|\|[ \t]*", " or "),
        (r"!==", "!="),
        (r"===", "=="),
        (r"!(?!=)[ \t]*(?=[\w(])", "not "),
        (r"<>", "!="),
        (r"=!(?=[ \t]*[^\s=])", "!="),
        (r"\([ \t]*\)[ \t]*=>[ \t]*", "lambda: "),
        (r"\(([\w, \t]+)\)[ \t]*=>[ \t]*", r"lambda \1: "),
        (r"(?<=[=(,])([ \t]*)(\w+)[ \t]*=>[ \t]*(?=[^,]*\b\2\b)(?!.*\bfor\b)", r"\1lambda \2: "),
        (r"=>", ">="),
        (r"=<", "<="),
        (r"-[ \t]+>", "->"),
        (r"^([ \t]*)(?:else[ \t]+if|elseif|elsif)\b", r"\1elif"),
        (r"^([ \t]*[\w.]+)[ \t]*\+\+[ \t]*;?$", r"\1 += 1"),
        (r"^([ \t]*[\w.]+)[ \t]*--[ \t]*;?$", r"\1 -= 1"),
        (r"(?<=\S)[ \t]+then[ \t]*:?$", ":"),
        (rf"^([ \t]*)\}}[ \t]*({HEADS}\b[^{{}}]*?)[ \t]*\{{$", r"\1\2:"),
        (rf"^([ \t]*{HEADS}\b[^{{}}]*?)[ \t]*\{{$", r"\1:"),
        (r"^([ \t]*)(?:function|func|fn|fun|sub)[ \t]+(?=\w+[ \t]*\()", r"\1def "),
        (r"^([ \t]*)catch\b", r"\1except"),
        (r"^([ \t]*)throw[ \t]+(?:new[ \t]+)?(?=\w)", r"\1raise "),
        (r"^([ \t]*)(?:const|let|var)[ \t]+(?=\w[\w, \t]*=(?!=))", r"\1"),
        (r"\bnew[ \t]+(?=[A-Za-z_][\w.]*\()", ""),
        (
            rf"^([ \t]*(?:return|[\w.]+[ \t]*=))[ \t]*({ASKED}) *\? *([^?:]*[^?: ]) *: *([^?:;]+);?$",
            r"\1 \3 if \2 else \4",
        ),
        (r":[ \t]+=(?!=)", ":="),
        (r"\b(lambda[ \t]+\w+(?:,[ \t]*\w+)*)[ \t]+(?=[\w(\[{'\"])", r"\1: "),
        (r"(?<![\w.])(0[xX][0-9a-fA-F]+|\d+)[lL]\b", r"\1"),
        (r"(?<![\w.])0(?=[0-7]+(?![\w.]))", "0o"),
        ("[\u00a0\u2002\u2003\u2009\u202f\u3000]", " "),
        ("[\u200b\ufeff]", ""),
        ("[“”„]", '"'),
        ("[‘’]", "'"),
        # What begins with a capital is another exception: Python 3.14 needs no brackets around two.
        (r"^([ \t]*except[ \t]+(?:[\w.]+|\([\w., ]+\)))[ \t]*,[ \t]*([a-z_]\w*)[ \t]*(?=:)", r"\1 as \2"),
        (r"^([ \t]*raise[ \t]+[\w.]+)[ \t]*,[ \t]*([^,]+)$", r"\1(\2)"),
        (r"^([ \t]*print)[ \t]*>>[ \t]*([\w.]+)[ \t]*,[ \t]*(.*[^,\s])$", r"\1(\3, file=\2)"),
        (r"^([ \t]*exec)[ \t]+(?![=.,(>])(.*?)[ \t]+in[ \t]+(.*[^,\s])$", r"\1(\2, \3)"),
        (r"^([ \t]*(?:print|exec))[ \t]+(?![=.,(>])(.*[^,\s])$", r"\1(\2)"),
        (r"`([^`]+)`", r"repr(\1)"),
        (r"^([ \t]*(?:'\w*'|\"\w*\"))[ \t]*=(?!=)[ \t]*", r"\1: "),
        (r"^\+(?=[ \t])", ""),
    )
]
"""What stands outside of strings and comments, and what Python has for it."""
SLASHES = re.compile(r"(?:^|[;{:]|[ \t]{2})[ \t]*(//)(?!/)")
"""What begins a comment elsewhere, where nothing is divided."""
APOSTROPHE = re.compile(r"'([^'\"\\]*\w'\w[^'\"\\]*)'")
MARKER = re.compile(r"(?:<{7}|>{7})(?: .*)?$|={7}$")
F_STRING = re.compile(r"[fF][rR]?$|[rR][fF]$")
UNCLOSED = re.compile(r"\{[A-Za-z_][\w.]*(?:\([^(){}\"']*\)|\[[^\[\]{}\"']*\])*(?:![rsa])?(?![\w.(\[}:!=])")
UNOPENED = re.compile(r"(?<![\w.{(\[])[A-Za-z_][\w.]*(?:\([^(){}\"']*\))?(?=\})")
DOCUMENTED = re.compile(r"[ \t]*[rR]?(\"\"\"|''')\S")
MOST = 20
"""Texts in three quotes that are tried to be closed."""


def translated(text: str, blocks: Sequence[tuple[int, int]]) -> Mending | None:
    """An edit inside of a block behind which Python's parser gets further; None where there is none, or no need."""
    found = program.fault(text) if len(text) <= LONGEST and "\0" not in text else None
    if found is None:
        return None
    start = text.rfind("\n", 0, found.start) + 1
    end = text.find("\n", start)
    end = len(text) if end < 0 else end - (text[end - 1 : end] == "\r")
    whole = found.message.startswith("unterminated triple-quoted")
    tried = _closed(text) if whole else _said(text, start, end)
    if found.message == "expected ':'":
        tried = chain([_colon(text, start, end, found.start)], tried)
    for one in tried:
        if not any(low <= one.start and one.end <= high for low, high in blocks):
            continue
        left = program.fault(one.of(text))
        beyond = end + len(one.text) - (one.end - one.start)
        if left is None or (not whole and left.start > beyond):
            return one
    return None


def _colon(text: str, start: int, end: int, at: int) -> Mending:
    """A colon where Python expects it, before blanks and a comment."""
    code, _ = _without_comment(text[start:end])
    place = start + len(text[start : min(at, start + len(code))].rstrip(" \t"))
    return Mending(place, place, ":")


def _said(text: str, start: int, end: int) -> Iterator[Mending]:
    """For a line: the line as Python has it."""
    line = text[start:end]
    above = text[: max(start - 1, 0)].rpartition("\n")[2].rstrip("\r")
    if MARKER.match(line) and not all(re.search(rf"(?m)^{sign * 7}", text) for sign in "<=>"):
        yield Mending(start, min(end + 1, len(text)), "")  # of a whole conflict a person has to choose
    if (line == above and HEAD.match(line)) or line.strip() == "}":
        yield Mending(start, min(end + 1, len(text)), "")
    code, rest = _without_comment(line)
    every = code
    for pattern, new in SPELLINGS:
        if (made := _replaced(pattern, new, code)) != code:
            yield Mending(start, end, made + rest)
            every = _replaced(pattern, new, every)
    if every != code:
        yield Mending(start, end, every + rest)
    if (slashes := SLASHES.search(line)) is not None:
        yield Mending(start + slashes.start(1), start + slashes.end(1), "#")
    if line.count("'") == 3 and (said := APOSTROPHE.search(line)) is not None:
        yield Mending(start + said.start(), start + said.end(), f'"{said[1]}"')
    yield from _braces(line, start)
    yield from _tabs(text, line, start)


def _without_comment(line: str) -> tuple[str, str]:
    comment = next((found.start() for found in STRING.finditer(line) if found.group()[0] == "#"), len(line))
    code = line[:comment].rstrip(" \t")
    return code, line[len(code) :]


def _replaced(pattern: re.Pattern[str], new: str, code: str) -> str:
    """The code with what is found outside of strings put anew; what its groups stand for may hold strings."""
    hidden = STRING.sub(lambda one: one.group()[0] + "x" * (len(one.group()) - 2) + one.group()[-1], code)
    for found in reversed(list(pattern.finditer(hidden))):
        groups = [code[slice(*found.span(number + 1))] for number in range(pattern.groups)]
        made = new
        for number, group in enumerate(groups, 1):
            made = made.replace(f"\\{number}", group)
        code = code[: found.start()] + made + code[found.end() :]
    return code


def _braces(line: str, start: int) -> Iterator[Mending]:
    """A brace put back into an f-string."""
    for found in STRING.finditer(line):
        if F_STRING.search(line[: found.start()]) is None:
            continue
        for one in UNCLOSED.finditer(line, found.start(), found.end()):
            yield Mending(start + one.end(), start + one.end(), "}")
        for one in UNOPENED.finditer(line, found.start(), found.end()):
            yield Mending(start + one.start(), start + one.start(), "{")


def _tabs(text: str, line: str, start: int) -> Iterator[Mending]:
    """A line that is indented by tabs where the one above is by spaces, if it can stand in one place alone."""
    width = len(line) - len(line.lstrip(" \t"))
    above = text[:start].rstrip()
    above = above[above.rfind("\n") + 1 :]
    level = re.match(r" *", above)
    if "\t" not in line[:width] or level is None or above[level.end() : level.end() + 1] == "\t":
        return
    unit = re.search(r"(?m)^( +)\S", text)
    step = len(unit.group(1)) if unit else 4
    furthest = len(level.group()) + (step if HEAD.match(above) else 0)
    open_levels = {furthest} if HEAD.match(above) else set(range(0, furthest + 1, step))
    wanted = {len(line[:width].expandtabs(tab)) for tab in (step, 8)} & open_levels
    if len(wanted) == 1:
        yield Mending(start, start + width, " " * wanted.pop())


def _closed(text: str) -> Iterator[Mending]:
    """A documentation of one line, closed at its end."""
    at = tried = 0
    for line in text.splitlines(keepends=True):
        code = line.rstrip()
        opened = DOCUMENTED.match(code)
        if opened and code.count(opened[1]) == 1 and tried < MOST:
            tried += 1
            kept = code.rstrip(opened[1][0])
            yield Mending(at + len(kept), at + len(code), opened[1])
        at += len(line)
