"""The syntax gate: does an answer add an error to the buffer? Never raises on bad code.

The promise. Let *old* be the buffer without the answer, *new* the buffer with it, and let an *error* be an ERROR or a
MISSING node of tree-sitter's tree. An accepted answer adds none, which means all of:

1. If *old* has no error, *new* has none.
2. *new* has at most as many errors as *old*.
3. No error of *new* lies inside the answer.
4. What an ERROR of *new* covers outside the answer was covered by ERRORs of *old* (offsets behind the hole shifted), or
   is a place where *old* had a MISSING node (white space between an ERROR and the hole belongs to it); one that
   overlaps the answer needs one of *old* that touches the hole.
   A MISSING node of *new* lies in an ERROR of *old*, or *old* missed the same thing at the same place.

A buffer is usually broken *at* the hole while it is typed (``x = foo(|``). That error is no excuse for a bad answer:
where an error remains that overlaps or touches the answer, closing the brackets that the text before the hole left open
must make it go away. So ``foo(|`` takes ``a, b`` (an older bracket stays open) and refuses ``a b``, although both leave
one error. Only where no plausible filler mends the hole either (the file is broken around it) are the four rules
enough, together with brackets that match inside the answer. The empty answer changes nothing and is always accepted.

That is the least. With ``clean`` the verdict is stricter: the new buffer has no error at all. ``can_be_clean`` says
whether that can be asked for, because the buffer is broken at the hole only; ``foo(|`` then takes ``a, b)``.

Python has a word of its own: where a buffer would be a program with something else in the hole, an answer with which
Python's compiler refuses it (``f(a=1, a=2)``) is refused too, though the grammar takes it (``infill.program``).

The buffer is parsed once. Each answer is spliced in as an edit of that tree and parsed incrementally; since an
incremental parse can differ from one from scratch, a verdict "accepted" is confirmed by the latter for buffers up to
``CONFIRM_BYTES``. Inside, all offsets are UTF-8 bytes; callers see code points.
"""

import re
import time
from bisect import bisect_right
from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

from tree_sitter import Point, Tree

from infill import languages, program
from infill.brackets import split_due, unmatched

CONFIRM_BYTES = 256 * 1024
"""Largest buffer for which an accepted answer is parsed again from scratch (about 20 ms at this size)."""
TRIES = 40
"""Most parses that ``longest_valid`` makes; fewer in a large buffer, where each may cost a parse of it all."""
TRIED_BYTES = 1024 * 1024

_BEGINNINGS = (16 * 1024, 128 * 1024, 1024 * 1024)
_SLOW_S = 2e-6
"""Seconds per byte; code that people write takes a twentieth of it. The worst grammar is quadratic in its brackets."""
_WINDOW = 8 * 1024
_LINES = ("", "pass", "if x:", "x,", "x = [", "x(", "class x(", "def x(", "{", "@x", '"""', "try:", "else:")
"""What may stand for the cursor's line: nothing, a statement, the beginning of something."""
_OPENERS = ("if x:", "else:", "except x:", "def x():", "class x:")
"""What may stand above lines that are indented."""
INDENTS = 4
_CLOSING = (")", "]", "}", "),", "],", "},", "):")
_HIDDEN = "hidden"
_TOKEN = re.compile(r"\w+|[^\w\s]")


class Error(NamedTuple):
    """One ERROR or MISSING node: bytes [start, end) of the text that was parsed; MISSING is empty."""

    start: int
    end: int
    missing: str = ""
    """What a MISSING node stands for; "" for an ERROR."""


class SyntaxGate:
    """The verdict on answers for one buffer ``prefix + suffix``; see the module for the promise.

    ``checked`` is False where there is no grammar, the buffer is binary (has a NUL), nested deeper than the grammar can
    bear, or takes longer than ``limit_s`` seconds to parse; then every answer is accepted, unchecked.
    """

    def __init__(self, prefix: str, suffix: str, language: str | None, *, limit_s: float = 5.0) -> None:
        self._left, self._right = _encode(prefix), _encode(suffix)
        self._prefix, self._suffix = prefix[-_WINDOW:], suffix[:_WINDOW]
        self._limit = limit_s
        row = self._row = languages.get(language)
        self._comment = row.comment if row else ""
        self._depth = languages.depth(prefix + suffix, row)
        deep = self._depth > languages.DEPTH
        self._parser = None if deep or "\0" in prefix or "\0" in suffix else languages.parser(language)
        self._tree = self._first()
        self.checked = self._tree is not None
        self._old = _errors(self._tree) if self._tree else []
        self._cover = _merge([self._up_to_hole(error) for error in self._old if not error.missing])
        self._missing = {(error.start, error.missing) for error in self._old if error.missing}
        self._gaps = {error.start for error in self._old if error.missing}
        self._starts = [error.start for error in self._cover]
        self._mendable: bool | None = None
        self._python = row is not None and row.name == "python"
        self._fine: dict[tuple[int, int], bool] = {}
        # Who has begun a line may open a block in it, whose lines come next; so may who writes at the end.
        self._to_come = bool(prefix.rpartition("\n")[2].strip()) or not suffix.strip()
        row_number = self._left.count(b"\n")
        self._point = Point(row_number, len(self._left) - (self._left.rfind(b"\n") + 1))

    def _up_to_hole(self, error: Error) -> Error:
        """An ERROR of the old buffer, with the white space between it and the hole: it ends before that by chance."""
        hole = len(self._left)
        edge = len(self._left.rstrip())
        return Error(error.start, hole) if edge <= error.end < hole else error

    def accepts(self, middle: str, *, clean: bool = False) -> bool:
        """True when the answer adds no error (``clean``: leaves none). Where ``checked`` is False, always."""
        return not self._judge(middle, clean)

    @cached_property
    def can_be_clean(self) -> bool:
        """Whether all errors of the buffer come from the cursor's line: without the answer, with some simple filler in
        the hole, or with another line in place of the cursor's, it has no error at all. Brackets that older lines left
        open are closed only where code follows: at the end of a file more may be to come."""
        if not self._old:
            return True
        line = self._prefix.rsplit("\n", 1)[-1]
        closers = "".join(reversed(unmatched(line, self._comment)))
        fillers = [word + closers + end for word in ("x", "") for end in ("", ":", ";", " {}")]
        if any(self._find(_encode(filler), incremental=True) == [] for filler in fillers if filler):
            return True
        indent = line[: len(line) - len(line.lstrip())]
        above, below = self._left[: len(self._left) - len(_encode(line))], self._right.lstrip(b"\r")
        below = below[below.find(b"\n") :] if b"\n" in below else b""
        others = _LINES + _CLOSING if below.strip() else _LINES
        return any(self._parses_clean(above, _encode(indent + other), below) for other in others)

    def _parses_clean(self, above: bytes, line: bytes, below: bytes) -> bool:
        """Whether the buffer has no error with ``line`` in place of the cursor's, which ``above`` and ``below`` leave
        out."""
        assert self._tree is not None
        start, end = len(above), len(self._left) + len(self._right) - len(below)
        row = above.count(b"\n")
        old = self._tree.copy()
        old.edit(start, end, start + len(line), Point(row, 0), Point(row, end - start), Point(row, len(line)))
        tree = self._parse_parts((above, line, below), old)
        return tree is not None and not tree.root_node.has_error

    def errors(self, middle: str, *, clean: bool = False) -> list[tuple[int, int]]:
        """Code-point spans of ``middle`` to blame, in order, each at least one character; [] when it is accepted.

        An error behind the answer blames its last character, one before it the first.
        """
        text = _encode(middle)
        spans: list[tuple[int, int]] = []
        for error in _merge([self._clip(error, len(text)) for error in self._judge(middle, clean)]):
            start, end = _code_points(text, error.start), _code_points(text, error.end)
            start = min(start, len(middle) - 1)
            spans.append((start, max(end, start + 1)))
        return spans

    def longest_valid(self, middle: str, *, clean: bool = False) -> str:
        """The longest beginning that is accepted: whole if it can be, else cut at a line's end, else at a token's end.

        At most ``TRIES`` cuts are tried, and fewer in a large buffer; "" if none of them will do.
        """
        if self.accepts(middle, clean=clean):
            return middle
        size = len(self._left) + len(self._right)
        tries = min(TRIES, max(4, TRIES * TRIED_BYTES // max(16 * size, 1)))
        for cut in _cuts(middle, self._suffix[:1], tries):
            if self.accepts(middle[:cut], clean=clean):
                return middle[:cut]
        return ""

    def closed(self, middle: str) -> str:
        """``middle`` with the closers that it and the cursor's own line still need."""
        line = self._prefix.rsplit("\n", 1)[-1] + middle
        return middle + "".join(reversed(unmatched(line, self._comment)))

    def _judge(self, middle: str, clean: bool) -> list[Error]:
        """The errors that ``middle`` is to blame for, in bytes of the new buffer; [] means accepted."""
        if not self.checked or not middle:
            return []
        text = _encode(middle)
        everything = [Error(len(self._left), len(self._left) + len(text))]
        deeper = languages.depth(middle, self._row)
        too_deep = deeper and self._depth + deeper + middle.count("\n") > languages.DEPTH
        if "\0" in middle or too_deep:
            return everything
        small = len(self._left) + len(self._right) <= CONFIRM_BYTES
        tree = None
        for incremental in (True, False) if small else (True,):
            tree = self._splice(text, incremental=incremental)
            if tree is None:
                return everything
            found = _errors(tree)
            if wrong := self._wrong(found, middle, len(text)) or (found if clean else []):
                return wrong
        assert tree is not None
        return self._no_program(tree, middle, len(text)) if self._python else []

    def _no_program(self, tree: Tree, middle: str, size: int) -> list[Error]:
        """The part of the answer with which Python refuses the buffer, or what of it can be judged by itself."""
        hole, behind = len(self._left), len(self._left) + size
        part = program.part(tree, hole, behind, size + hole + len(self._right), whole=not tree.root_node.has_error)
        if part is None:
            return []
        tail = self._right[: part.end - behind]
        head, rest = part.opening + _decode(self._left[part.start :]), _decode(tail)
        refused = program.refusal(head, middle, rest, to_come=self._to_come or not rest.strip())
        if refused is None or program.newer(tree, hole, behind) or not self._would_be(part.start, head, rest):
            return []
        start, end = (hole + len(_encode(middle[: max(at - len(head), 0)])) for at in (refused.start, refused.end))
        return [Error(start, end) if start < end else Error(hole, behind)]

    def _would_be(self, start: int, head: str, tail: str) -> bool:
        """Whether with something simple in the hole Python takes ``head`` and ``tail`` for a program."""
        place = (start, len(tail))
        if place not in self._fine:
            line = self._prefix.rsplit("\n", 1)[-1]
            closers = "".join(reversed(unmatched(line, self._comment)))
            ends = dict.fromkeys(("", ":", closers, closers + ":"))
            fillers = ["", "pass", *(word + end for word in ("x", "") for end in ends if word + end)]
            if not line.strip():
                fillers += [indent + opener for indent in self._indents(line) for opener in _OPENERS]
            self._fine[place] = any(program.refusal(head, filler, tail) is None for filler in fillers)
        return self._fine[place]

    def _indents(self, line: str) -> list[str]:
        """How far a line may be indented that has only white space yet: no less than it is, and as lines above are."""
        above = (one for one in reversed(self._prefix.split("\n")[:-1]) if one.strip())
        found = dict.fromkeys(one[: len(one) - len(one.lstrip())] for one in above)
        return ["", *(one.removeprefix(line) for one in found if one != line and one.startswith(line))][:INDENTS]

    def _wrong(self, found: list[Error], middle: str, size: int) -> list[Error]:
        if not found:
            return []
        wrong = [error for error in found if not self._excused(error, size)]
        if wrong or not self._old:
            return wrong or found
        near = [error for error in found if self._touches(error, size)]
        if self._more(found):
            return near or found
        if not near or self._closed_by_brackets(middle):
            return []
        if self._hole_is_mendable() or not _balanced(self._prefix, middle, self._comment):
            return near
        return []

    def _more(self, found: list[Error]) -> bool:
        """Rule 2, for errors with a node and without one."""
        hidden = [sum(error.missing == _HIDDEN for error in errors) for errors in (found, self._old)]
        return hidden[0] > hidden[1] or len(found) - hidden[0] > len(self._old) - hidden[1]

    def _excused(self, error: Error, size: int) -> bool:
        """Rules 3 and 4 for one error of the new buffer."""
        hole, behind = len(self._left), len(self._left) + size
        if error.missing:
            place = error.start if error.start <= hole else max(error.start - size, hole)
            known = (place, error.missing) in self._missing or self._in_error(place, place)
            return known and not hole < error.start < behind
        if error.start == error.end:
            inside = hole < error.start < behind
        else:
            inside = hole <= error.start and error.end <= behind
        if inside:
            return False
        if error.start < behind and error.end > hole and not self._covered(hole, hole):
            return False
        before = error.start > hole or self._covered(error.start, min(error.end, hole))
        after = error.end < behind or self._covered(max(error.start, behind) - size, error.end - size)
        return before and after

    def _covered(self, start: int, end: int) -> bool:
        """Whether bytes [start, end) of the old buffer lie in its ERRORs; a mere point may also be one of its gaps."""
        return self._in_error(start, end) or (start == end and start in self._gaps)

    def _in_error(self, start: int, end: int) -> bool:
        at = bisect_right(self._starts, start) - 1
        return at >= 0 and end <= self._cover[at].end

    def _touches(self, error: Error, size: int) -> bool:
        """Whether only white space lies between the error and the answer, if anything."""
        start = len(self._left.rstrip()) if self._left[-1:].isspace() else len(self._left)
        room = len(self._right) - len(self._right.lstrip()) if self._right[:1].isspace() else 0
        return error.end >= start and error.start <= len(self._left) + size + room

    def _closed_by_brackets(self, middle: str) -> bool:
        """Whether closing older brackets behind the answer leaves no error at the answer."""
        closers = _open(self._prefix, middle, self._comment)
        return any(self._mends(middle + closers[:count]) for count in range(1, min(len(closers), 8) + 1))

    def _hole_is_mendable(self) -> bool:
        """Whether some simple filler leaves no error at the hole (so that a good answer can be expected to)."""
        if self._mendable is None:
            closers = _open(self._prefix, "", self._comment)[:4]
            tails = [closers[:count] for count in range(len(closers) + 1)]
            fillers = [word + tail + end for tail in tails for word in ("x", "") for end in ("", ":", ";", " {}")]
            self._mendable = any(self._mends(filler) for filler in fillers if filler)
        return self._mendable

    def _mends(self, middle: str) -> bool:
        text = _encode(middle)
        found = self._find(text, incremental=True)
        if found is None or self._more(found):
            return False
        return all(self._excused(error, len(text)) and not self._touches(error, len(text)) for error in found)

    def _clip(self, error: Error, size: int) -> Error:
        """An error of the new buffer as at least one byte of the answer."""
        start = min(max(error.start - len(self._left), 0), size - 1)
        return Error(start, min(max(error.end - len(self._left), start + 1), size))

    def _find(self, text: bytes, *, incremental: bool) -> list[Error] | None:
        """Errors of the buffer with ``text`` in the hole; None when parsing took too long."""
        tree = self._splice(text, incremental=incremental)
        return None if tree is None else _errors(tree)

    def _splice(self, text: bytes, *, incremental: bool) -> Tree | None:
        """The tree of the buffer with ``text`` in the hole; None when parsing took too long."""
        old = None
        if incremental and self._tree is not None:
            old = self._tree.copy()
            hole = len(self._left)
            lines = text.count(b"\n")
            column = len(text) - (text.rfind(b"\n") + 1) + (0 if lines else self._point.column)
            old.edit(hole, hole, hole + len(text), self._point, self._point, Point(self._point.row + lines, column))
        return self._parse(text, old)

    def _parse(self, text: bytes, old: Tree | None) -> Tree | None:
        return self._parse_parts((self._left, text, self._right), old)

    def _first(self) -> Tree | None:
        """The buffer's tree; None when there is no grammar, or parsing takes too long.

        The binding can only be stopped while it reads from a callback, and then leaks what it has read (py-tree-sitter
        0.26). So beginnings of the buffer are parsed before it, and where one of them is far slower than any code that
        people write, the rest is not begun.
        """
        size = len(self._left) + len(self._right)
        began = time.monotonic()
        for beginning in (part for part in _BEGINNINGS if 2 * part < size and self._parser is not None):
            cpu = time.process_time()
            self._parse_parts((self._left[:beginning], self._right[: max(beginning - len(self._left), 0)]), None)
            if time.process_time() - cpu > beginning * _SLOW_S or time.monotonic() - began > self._limit:
                return None
        tree = self._parse(b"", None)
        return None if time.monotonic() - began > self._limit else tree

    def _parse_parts(self, parts: tuple[bytes, ...], old: Tree | None) -> Tree | None:
        if self._parser is None or self._row is None:
            return None
        text = self._row.seen(b"".join(parts))
        return self._parser.parse(text) if old is None else self._parser.parse(text, old)


class Before:
    """A whole buffer before edits, against which others are held: what it was is found out once."""

    def __init__(self, text: str, language: str | None) -> None:
        self.text = text
        self.language = languages.get(language)

    def worse(self, new: str) -> bool:
        """Whether an edit breaks it: more errors than before, or, in Python, no program where it was one.

        What cannot be parsed (no grammar, or YAML nested deeper than its grammar bears) never is worse: it is
        unchecked. What no longer can be is.
        """
        if self.errors is None:
            return False
        found = self._errors_of(new)
        if found is None or found > self.errors:
            return True
        assert self.language is not None
        return self.language.name == "python" and any(not takes(new) for takes in self.taken)

    def held(self, count: int, applied: Callable[[int], str]) -> int:
        """How many of ``count`` edits hold together: ``applied`` gives the text with so many of them, and the first one
        holds. By bisection, since each look reads the whole buffer."""
        if count < 2 or not self.worse(applied(count)):
            return count
        low, high = 1, count
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.worse(applied(middle)) else (middle, high)
        return low

    @cached_property
    def errors(self) -> int | None:
        """None: it cannot be parsed."""
        return self._errors_of(self.text)

    @cached_property
    def taken(self) -> list[Callable[[str], bool]]:
        """What of Python takes the text as a program."""
        return [takes for takes in (program.parses, program.compiles) if takes(self.text)]

    def _errors_of(self, text: str) -> int | None:
        if self.language is None or languages.depth(text, self.language) > languages.DEPTH:
            return None
        parser = languages.parser(self.language.name)
        return None if parser is None else len(_errors(parser.parse(self.language.seen(_encode(text)))))


def worse(old: str, new: str, language: str | None) -> bool:
    """``Before.worse``, for one edit."""
    return Before(old, language).worse(new)


def _encode(text: str) -> bytes:
    # A lone surrogate (an editor cut a pair in half) becomes bytes that no grammar likes: an error, not an exception.
    return text.encode("utf-8", "surrogatepass")


def _decode(text: bytes) -> str:
    return text.decode("utf-8", "surrogatepass")


def _errors(tree: Tree) -> list[Error]:
    """All ERROR and MISSING nodes, in order; subtrees without one are not entered."""
    found: list[Error] = []
    todo = [tree.root_node]
    while todo:
        node = todo.pop()
        if node.is_error or node.is_missing:
            found.append(Error(node.start_byte, node.end_byte, node.type if node.is_missing else ""))
        if node.has_error:  # False for an ERROR node inside another one, so it is asked last
            inside = node.children
            todo.extend(inside)
            if not (node.is_error or any(child.has_error or child.is_error or child.is_missing for child in inside)):
                # What is missing is a token without a node of its own, like Python's end of line.
                found.append(Error(node.start_byte, node.start_byte, _HIDDEN))
    return sorted(found)


def _merge(errors: list[Error]) -> list[Error]:
    """The union of spans as disjoint spans in order; touching ones are joined."""
    merged: list[Error] = []
    for error in sorted(errors):
        if merged and error.start <= merged[-1].end:
            merged[-1] = Error(merged[-1].start, max(merged[-1].end, error.end))
        else:
            merged.append(error)
    return merged


def _code_points(text: bytes, end: int) -> int:
    """How many code points begin in the first ``end`` bytes."""
    return sum(byte & 0xC0 != 0x80 for byte in text[:end])


def _cuts(middle: str, following: str, tries: int) -> list[int]:
    """Where to try cutting, best first: line ends from the last to the first, then token ends likewise."""
    lines = [len(middle[: match.start()].rstrip()) for match in re.finditer(r"\n", middle)]
    joins = following.isalnum() or following == "_"
    tokens = [match.end() for match in _TOKEN.finditer(middle)]
    tokens = [end for end in tokens if end < len(middle) and not (joins and _is_word(middle[end - 1]))]
    lines = sorted({end for end in lines if end and not (joins and _is_word(middle[end - 1]))}, reverse=True)
    lines = lines[: tries // 2]
    tokens = sorted(set(tokens) - set(lines), reverse=True)
    room = tries - 1 - len(lines)
    if len(tokens) > room:
        tokens = [tokens[index * len(tokens) // room] for index in range(room)]
    return lines + tokens


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _open(prefix: str, middle: str, comment: str) -> str:
    """Closers, innermost first, for brackets that ``prefix`` (its last part) opened and nothing closed."""
    own, older, _ = split_due(prefix, middle, comment)
    return "" if own else "".join(reversed(older))


def _balanced(prefix: str, middle: str, comment: str) -> bool:
    """Whether ``middle`` closes what it opens, and otherwise only what ``prefix`` opened."""
    own, _, mismatch = split_due(prefix, middle, comment)
    return not own and not mismatch
