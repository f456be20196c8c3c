"""Ordered pure filters over one candidate: text in, text out, "" drops it.

The order and the idea of one small filter per habit of a model follow tabby (tabby-agent, codeCompletion/postprocess).
A filter mends what models do wrong; it must leave a right answer as it is, so each acts only on evidence from the text
around the hole. No filter parses: the syntax gate has the last word.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from infill import languages
from infill.brackets import due, unmatched

_NEAR = 8 * 1024
"""How many characters before and behind the hole the filters look at."""
_NOT_TEXT = " \t\r\f\v)]}:;,"
_CLOSING = (")", "]", "}", "</", "end", "fi", "done", "esac")
_CODE = {row.name for row in languages.LANGUAGES} - {"html", "css", "json", "yaml", "toml", "markdown"}
"""Languages whose blocks are code; data and documents step back and forth freely."""
_SEMICOLONS = {"c", "cpp", "csharp", "css", "java", "php", "rust"}
"""Languages whose lines are complete with a semicolon only."""
_CONTINUES = re.compile(r"[.?:+=|&]|(?:and|or)\b")
_UNFINISHED = re.compile(r"(?:[-+*/%&|^<>=.,\\?]|\b(?:and|or|not))$")
_DECLARES = re.compile(r"(?:const|let|var)\b")
_BLOCK = re.compile(
    r"""^(?:\}\s*)?(?:def|class|module|if|unless|elif|elsif|else|while|until|for|foreach|case|when|switch|begin|rescue
    |ensure|try|catch|finally|do|repeat|select|match|with)\b
    |\b(?:then|do|else|in|begin)$ | \bfunction\b[^()]*\([^()]*\)$ | [|)]$""",
    re.VERBOSE,
)
"""A line after which a block may begin without a bracket."""
_LINE = 400
_LOOP_LINES = 3
_LOOP_WORDS = 5
_LOOP_LENGTH = 20
_ECHO, _ECHO_LINES = 10, 6
"""No line of so many characters gives a value twice in a row, and no definition begins twice in so many lines."""


@dataclass(frozen=True)
class Situation:
    """Where a candidate goes: ``prefix`` | candidate | ``suffix``. What the filters ask of it is found once."""

    prefix: str
    suffix: str
    language: str | None = None
    one_line: bool = False

    @cached_property
    def line_before(self) -> str:
        """The part of the cursor's line in front of it."""
        return self.prefix[self.prefix.rfind("\n") + 1 :]

    @cached_property
    def line_behind(self) -> str:
        """The part of the cursor's line behind it, without the line's end."""
        return self.suffix[:_NEAR].partition("\n")[0].rstrip("\r")

    @cached_property
    def lines_behind(self) -> list[str]:
        """The lines after the cursor's line, up to a limit, without blank ones at the beginning."""
        lines = [line.rstrip() for line in self.suffix[:_NEAR].split("\n")[1:]]
        first = next((index for index, line in enumerate(lines) if line), len(lines))
        return lines[first:]

    @cached_property
    def lines_above(self) -> list[str]:
        """The lines before the cursor's line, up to a limit, without blank ones."""
        return [line.rstrip() for line in self.prefix[-_NEAR:].split("\n")[-_ECHO_LINES - 1 : -1] if line.strip()]

    @cached_property
    def indented_by(self) -> int | None:
        """How many spaces the lines around are indented by, 0 for tabs; None where there are both or neither."""
        near = self.prefix[-_NEAR:] + "\n" + self.suffix[:_NEAR]
        tabs, spaces = re.search(r"^\t", near, re.MULTILINE), re.search(r"^[ ]{2,}\S", near, re.MULTILINE)
        if (tabs is None) == (spaces is None):
            return None
        return 0 if tabs else _unit(near) or 4

    @cached_property
    def row(self) -> languages.Language | None:
        return languages.get(self.language)


def one_line_mode(prefix: str, suffix: str) -> bool:
    """True when text follows the cursor on its line, other than white space, closing brackets and ``: ; ,``."""
    return bool(Situation(prefix[-1:], suffix).line_behind.strip(_NOT_TEXT))


def postprocess(text: str, situation: Situation) -> str:
    """The candidate after all ``FILTERS``, "" when one of them drops it."""
    for apply in FILTERS:
        text = apply(text, situation)
        if not text:
            return ""
    return text


def line_endings(text: str, situation: Situation) -> str:
    """Line ends as in the buffer: those of the nearest line, before the cursor if there is one."""
    at = situation.prefix.rfind("\n")
    if at >= 0:
        crlf = situation.prefix[:at].endswith("\r")
    else:
        crlf = situation.suffix.partition("\n")[0].endswith("\r") and "\n" in situation.suffix
    plain = text.replace("\r\n", "\n")
    return plain.replace("\n", "\r\n") if crlf else plain


def one_line(text: str, situation: Situation) -> str:
    """Only the first line, where text follows the cursor on its line."""
    return text.partition("\n")[0].removesuffix("\r") if situation.one_line else text


def indent_signs(text: str, situation: Situation) -> str:
    """Tabs or spaces in front of a line, whichever the buffer uses; unchanged where it uses both or neither."""
    around = situation.indented_by
    first = "" if situation.line_before.strip() else r"\A|"
    if around == 0:
        unit = 4 if _unit(text) % 4 == 0 else _unit(text)
        return re.sub(rf"(?:{first}(?<=\n))[ ]+", lambda match: "\t" * (len(match[0]) // unit) or match[0], text)
    if around:
        return re.sub(rf"(?:{first}(?<=\n))\t+", lambda match: " " * (around * len(match[0])), text)
    return text


def first_indent(text: str, situation: Situation) -> str:
    """Takes off indentation that the cursor's line already has.

    Only on a line that is blank up to the cursor, stands at least as deep as the lines around it ask for, and does not
    go on with the line above.
    """
    before = situation.line_before
    if not before or before.strip() or text[:1] not in (" ", "\t"):
        return text
    bare = text.lstrip(" \t")
    asked = None if _CONTINUES.match(bare) else _asked(situation)
    return text if asked is None or _indent(before) < asked else bare


def block_scope(text: str, situation: Situation) -> str:
    """Ends an answer of several lines where it leaves the block for good.

    That is at a line indented less than the answer's first line and less than the line behind the hole, unless the
    answer comes back to where the line behind the hole continues. Lines that begin with a closer belong to the block.
    """
    lines = text.split("\n")
    first = situation.line_before + lines[0]
    body = [line for line in lines[1:] if line.strip()]
    if not body or situation.language not in _CODE:
        return text
    block = _indent(first) if first.strip() else _indent(body[0])
    behind = situation.lines_behind
    after = _indent(behind[0]) if behind else block
    if situation.line_behind.strip() or (behind and _leads_to(body[-1], after)):
        return text
    if _open_string(situation, lines) or _continues(text, situation):
        return text
    for index, line in enumerate(lines[1:], start=1):
        if line.strip() and _indent(line) < min(block, after) and not line.lstrip().startswith(_CLOSING):
            return _head(lines, index)
    return text


def no_repeat(text: str, situation: Situation) -> str:
    """Cuts off an end that only repeats what follows the cursor: the rest of its line, or the next lines."""
    rest = situation.line_behind.rstrip()
    if len(rest.strip(_NOT_TEXT)) > 1 and text.rstrip().endswith(rest) and len(text.rstrip()) > len(rest):
        kept = text.rstrip()[: -len(rest)]
        if len(due(text, _comment(situation), [])[0]) < len(due(rest, _comment(situation), [])[0]) or _wordy(rest):
            return kept
    behind = situation.lines_behind
    lines = text.split("\n")
    for index in range(1, len(lines)):
        if not rest and _repeats([line.rstrip() for line in lines[index:]], behind):
            return _head(lines, index)
    return text


def no_double_closer(text: str, situation: Situation) -> str:
    """Takes off closing brackets, or a quote, at the end that the text behind the cursor begins with, and needs."""
    behind, line = situation.line_behind, situation.line_before
    if text and text[-1] in "\"'`" and text[-1] == behind[:1]:
        # A quote beside other quotes may be one of three.
        mark = text[-1]
        triple = behind[1:2] == mark or (len(text) == 1 and line[-1:] == mark)
        doubled = line.count(mark) % 2 == 1 and text.count(mark) == 1 and not triple
        return text[:-1] if doubled else text
    closers = len(text) - len(text.rstrip(")]}"))
    for count in range(min(closers, len(behind)), 0, -1):
        if text[-count:] == behind[:count] and _doubled(text, count, situation):
            return text[:-count]
    return text


def no_loop(text: str, situation: Situation) -> str:
    """Cuts after the first of a line, or of a few, that come three times in a row, and of words likewise at the end."""
    lines = text.split("\n")
    bare = [line.rstrip() for line in lines]
    bare[0] = situation.line_before + bare[0]
    for start in range(len(lines)):
        for width in range(1, min(4, (len(lines) - start) // _LOOP_LINES) + 1):
            block = bare[start : start + width]
            if not _wordy("".join(block)):
                continue
            if all(bare[start + width * i : start + width * (i + 1)] == block for i in range(1, _LOOP_LINES)):
                return _head(lines, start + width)
    return _unloop_words(text)


def no_echo(text: str, situation: Situation) -> str:
    """Cuts before a line that gives the value given right above again, opens the block that it stands in once more, or
    is the head of a definition just above."""
    above = list(situation.lines_above)
    lines = text.split("\n")
    for index, line in enumerate(lines):
        whole = (situation.line_before + line if index == 0 else line).rstrip()
        head = whole.lstrip().startswith(("def ", "async def ", "class "))
        again = whole in (above if head else above[-1:])
        nested = whole.endswith(":") and above[-1:] and whole.strip() == above[-1].strip()
        if len(whole.strip()) >= _ECHO and (nested or (again and (head or "=" in whole))):
            return _head(lines, index) if index else ""
        if whole:
            above.append(whole)
    return text


def no_trailing_blank(text: str, situation: Situation) -> str:
    """No white space at the end of an answer that ends its line."""
    return text if situation.line_behind.strip() else text.rstrip()


def useful(text: str, situation: Situation) -> str:
    """Drops what is blank, holds a broken character, or stands behind the cursor already."""
    if not text.strip() or "\ufffd" in text:
        return ""
    lines = [line.rstrip() for line in text.split("\n")]
    lines[0] = situation.line_before + lines[0]
    if not lines[0].strip():
        lines = lines[1:]
    same = not situation.line_behind.strip() and len(lines) > 0 and _repeats(lines, situation.lines_behind)
    return "" if same else text


FILTERS: tuple[Callable[[str, Situation], str], ...] = (
    line_endings,
    one_line,
    indent_signs,
    first_indent,
    no_loop,
    no_echo,
    no_repeat,
    block_scope,
    no_double_closer,
    no_trailing_blank,
    useful,
)


def _comment(situation: Situation) -> str:
    return situation.row.comment if situation.row else ""


def _indent(line: str) -> int:
    """Columns in front of the text; a tab reaches to the next multiple of four."""
    return len(line.expandtabs(4)) - len(line.expandtabs(4).lstrip())


def _asked(situation: Situation) -> int | None:
    """The columns at which the cursor's line must begin at least, as the lines around it tell; None where they do not.

    Below a line that opens something it is as deep as the line behind, or simply deeper; behind a bracket with text
    after it, under that text; below a line that is complete, as deep as that.
    """
    if situation.row is None or situation.language == "markdown" or _in_string(situation):
        return None
    comment = _comment(situation)
    near = situation.prefix[-_NEAR:].rstrip()
    above = near[near.rfind("\n") + 1 :].expandtabs(4)
    deep, line = _indent(above), _without_comment(above.strip(), comment)
    if not line:
        return deep if above.strip() else None
    if unmatched(line, comment) and not line.endswith(("(", "[", "{")):
        return _aligned(above, comment)
    if not _complete(line, situation, (unmatched(near, comment) or [""])[-1]):
        behind = next((line for line in situation.lines_behind[:1] if not line.lstrip().startswith(_CLOSING)), "")
        return max(_indent(behind), deep + 1) if behind and _opens(line, situation) else deep + 1
    return deep


def _complete(line: str, situation: Situation, closer: str) -> bool:
    """Whether the next line stands as deep as this one, in brackets that ``closer`` closes."""
    row, name = situation.row, situation.language
    assert row is not None
    if closer in (")", "]") or (closer and (row.indent_block or name == "json")):
        return line.endswith(",")
    if row.indent_block:
        return not (_opens(line, situation) or line.endswith("\\"))
    if name == "html":
        return line.endswith(">") and not _opens(line, situation)
    if line.endswith(","):
        return closer == "}" and name != "css" and not _DECLARES.match(line)
    if name in _SEMICOLONS:
        return line.endswith((";", "}", "*/"))
    return line.endswith((";", "}")) or not (_opens(line, situation) or _UNFINISHED.search(line))


def _opens(line: str, situation: Situation) -> bool:
    """Whether the lines below may stand deeper."""
    if line.endswith(("(", "[", "{", ":")):
        return True
    if situation.language == "yaml":
        return line.startswith("- ") or line.endswith(("-", "|", ">"))
    if situation.language == "html":
        return not ("</" in line or line.endswith(("/>", "-->")))
    return situation.language != "python" and _BLOCK.search(line) is not None


def _aligned(line: str, comment: str) -> int | None:
    """The column behind the innermost bracket that ``line`` leaves open; None where that is hard to tell."""
    if len(line) > _LINE:
        return None
    depths = [len(unmatched(line[:count], comment)) for count in range(len(line) + 1)]
    return max(
        (count for count in range(1, len(depths)) if depths[count - 1] < depths[-1] <= depths[count]), default=None
    )


def _without_comment(line: str, comment: str) -> str:
    """``line`` without the comment at its end; a sign in quotes begins none."""
    at = line.find(comment) if comment else -1
    while at >= 0 and any(line.count(mark, 0, at) % 2 for mark in "\"'`"):
        at = line.find(comment, at + 1)
    return line if at < 0 else line[:at].rstrip()


def _in_string(situation: Situation) -> bool:
    """Whether the cursor is in a string of several lines, which may stand anywhere."""
    marks = ('"""', "'''") if situation.language == "python" else ("`",)
    return any(situation.prefix.count(mark) % 2 for mark in marks)


def _unit(text: str) -> int:
    """The smallest indentation by spaces in ``text``; 0 if there is none."""
    return min((len(found) for found in re.findall(r"^( {2,})\S", text, re.MULTILINE)), default=0)


def _wordy(text: str) -> bool:
    """Whether there is more in it than signs: brackets, ``else`` or ``pass`` may well come twice in a row."""
    return sum(character.isalnum() for character in text) >= 6


def _head(lines: list[str], count: int) -> str:
    return "\n".join(lines[:count]).removesuffix("\r")


def _leads_to(line: str, after: int) -> bool:
    """Whether a line indented by ``after`` columns may follow."""
    opens = line.rstrip().endswith((":", "{", "(", "[", ",", "\\", '"""', "'''", "do", "then"))
    return _indent(line) >= after or opens


def _open_string(situation: Situation, lines: list[str]) -> bool:
    """Whether the answer is in, or has, a string of several lines, whose lines may stand anywhere."""
    marks = ('"""', "'''", "`", "<<")
    return any(mark in line for line in lines for mark in marks) or any(
        situation.prefix.count(mark) % 2 for mark in marks[:2]
    )


def _continues(text: str, situation: Situation) -> bool:
    """Whether the answer is in a list in brackets or a comment of several lines, or leaves a bracket open."""
    comment = _comment(situation)
    around = unmatched(situation.prefix[-_NEAR:], comment)[-1:]
    in_comment = (situation.line_before + text).lstrip().startswith(("*", "/*"))
    return in_comment or around in ([")"], ["]"]) or bool(unmatched(text, comment))


def _repeats(lines: list[str], behind: list[str]) -> bool:
    """Whether ``lines`` begin with what stands behind: all of them, or at least two full lines."""
    lines = lines[next((index for index, line in enumerate(lines) if line), len(lines)) :]
    while lines and not lines[-1]:
        lines = lines[:-1]
    same = 0
    while same < min(len(lines), len(behind)) and lines[same] == behind[same]:
        same += 1
    if not _wordy("".join(lines[:same])):
        return False
    return same == len(lines) or sum(map(_wordy, lines[:same])) >= 2


def _doubled(text: str, count: int, situation: Situation) -> bool:
    """Whether the last ``count`` closers of ``text`` leave those behind the hole nothing to close.

    The cursor's line must say so, and so must the text around: within the line, or because a bracket further behind
    no longer matches.
    """
    comment, closers = _comment(situation), text[-count:]
    near, behind = situation.prefix[-_NEAR:], situation.suffix[:_NEAR]

    def spoilt(before: str, after: str) -> bool:
        without, kept = (
            due(after, comment, due(part, comment, due(before, comment, [])[0])[0])[1] for part in (text[:-count], text)
        )
        return kept and not without

    return spoilt(situation.line_before, closers) and (spoilt(near, closers) or spoilt(near, behind))


def _unloop_words(text: str) -> str:
    words = re.findall(r"\w+|\s+|[^\w\s]", text[-512:])
    for width in range(1, 17):
        block = words[-width:]
        if not any(word[0].isalnum() for word in block):
            continue
        times = 1
        while words[-width * (times + 1) : -width * times] == block:
            times += 1
        if times >= _LOOP_WORDS and times * len("".join(block)) >= _LOOP_LENGTH:
            return text[: len(text) - (times - 1) * len("".join(block))]
    return text
