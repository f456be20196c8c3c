"""Prompts that editors have already written for some model, taken apart again: sentinels and template lines.

An editor that cannot send ``suffix`` puts the text before and behind the cursor between the sentinels of a model
family; one that can often puts lines on top that name the language. Hone has sentinels of its own (``model.layout``),
so it needs the plain texts back. Pure functions over text; they know no protocol and no model.

A prompt is taken for a fill-in-the-middle prompt only when it has the whole form of one: it begins with a sentinel and
ends with the one for "now the middle". Code that merely mentions a sentinel is left alone.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from infill.languages import get, language_of


@dataclass(frozen=True)
class Hole:
    """Where the answer goes."""

    prefix: str
    suffix: str = ""
    language: str | None = None
    filename: str | None = None
    before: str = ""
    after: str = ""
    """A rewrite prompt is answered with its whole region: the answer stands between ``before`` and ``after``."""

    def wrapped(self, text: str) -> str:
        return f"{self.before}{text}{self.after}"


@dataclass(frozen=True)
class Family:
    name: str
    prefix: str
    suffix: str
    middle: str
    file: str | None = None
    """Begins a file, before its name."""


FAMILIES = (
    Family("qwen", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|file_sep|>"),  # CodeGemma too
    Family("starcoder", "<fim_prefix>", "<fim_suffix>", "<fim_middle>", "<file_sep>"),  # Stable Code, Granite too
    Family("santacoder", "<fim-prefix>", "<fim-suffix>", "<fim-middle>"),
    Family("deepseek", "<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),
    Family("codellama", "<PRE>", "<SUF>", "<MID>"),
    Family("glm", "<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>"),
    Family("seed", "<[fim-prefix]>", "<[fim-suffix]>", "<[fim-middle]>", "<filename>"),  # Zeta 2 too
)
_CODESTRAL = Family("codestral", "[PREFIX]", "[SUFFIX]", "")
_STARTS = ("<s>", "<bos>", "<|begin_of_text|>", "<｜begin▁of▁sentence｜>")
_ENDS = (
    *("<|endoftext|>", "<|file_separator|>", "<|fim_pad|>", "<|repo_name|>", "<|im_start|>", "<|im_end|>"),
    *("<|user|>", "<|assistant|>", "<eos>", "<EOT>", "</s>", "<end_of_turn>", "<｜end▁of▁sentence｜>", "</fim_middle>"),
)
_FILES = ("<|file_sep|>", "<file_sep>", "<filename>", "<|file_separator|>", "###PATH:")
SENTINELS = frozenset(
    {part for family in (*FAMILIES, _CODESTRAL) for part in (family.prefix, family.suffix, family.middle) if part}
    | {*_STARTS, *_ENDS, *_FILES}
)
NEVER_WRITTEN = SENTINELS - {"<s>", "</s>", "<filename>", "###PATH:"}
"""What no answer contains: stop texts that say only this need not be looked for. The rest is HTML or words, too."""

_CURSOR = "<|user_cursor|>"
_CURRENT, _DIVIDER = "<<<<<<< CURRENT\n", "=======\n"
_MARKER = re.compile(r"<\|marker_\d+\|>\n?")
_SEPARATOR = "<|file_sep|>"
_LANGUAGE_LINE = re.compile(r"[^\w\s]{1,4}\s*language: (?P<name>[\w+#.-]+)\s*[^\w\s]{0,3}")
_INDENT_LINE = re.compile(r"[^\w\s]{1,4}\s*indentation: use (\d+ spaces|\t|\\t) for a tab\s*[^\w\s]{0,3}")
_FILE_LINE = re.compile(r"^\+{5} (?P<name>\S[^\n]*)\n", re.MULTILINE)
_PATH_LINE = re.compile(r"(?P<mark>#|//|--) (?P<path>[^\s:]+\.\w+)")
_TOP = 16 * 1024
"""How many characters at the top are looked at for a client's own lines."""


def locate(prompt: str, suffix: str | None = None, *, language: str | None = None, filename: str | None = None) -> Hole:
    """Where the answer goes. What the request says of language and file counts before what its text says."""
    is_tag = suffix == "</s>" and "<s>" in prompt.removeprefix("<s>")  # of HTML
    behind = "" if suffix in (None, *_ENDS) and not is_tag else suffix or ""
    hole = (parse(prompt) if not behind else None) or Hole(prompt, behind)
    hole = without_template(hole)
    return replace(hole, language=language or hole.language, filename=filename or hole.filename)


def parse(prompt: str) -> Hole | None:
    """A prompt with sentinels as the hole that it draws; None for any other text."""
    for start in _STARTS:
        prompt = prompt.removeprefix(start)
    return _sweep(prompt) or _zeta(prompt) or _codestral(prompt) or _family(prompt)


def without_template(hole: Hole) -> Hole:
    """The hole without the lines that a client puts on top of the text, and with the language that they name."""
    head, _, rest = hole.prefix.partition("\n")
    second, newline, below = rest.partition("\n")
    if (match := _LANGUAGE_LINE.fullmatch(head)) and get(match["name"]):  # minuet
        language = hole.language or match["name"]
        if newline and _INDENT_LINE.fullmatch(second):
            return replace(hole, prefix=below, language=language)
        return replace(hole, language=language)
    files = list(_FILE_LINE.finditer(hole.prefix))  # Continue, for Codestral
    if files and (hole.prefix.startswith("+++++ ") or len(files) > 1):
        last = files[-1]
        return replace(hole, prefix=hole.prefix[last.end() :], filename=hole.filename or last["name"])
    if hole.language is None and hole.filename is None:
        return replace(hole, language=_named_on_top(hole.prefix))
    return hole


def _named_on_top(prefix: str) -> str | None:
    """The language of the file that the last line of the comment on top names: Continue puts the file's path there.

    Only when the comment's sign is that language's own, so that two things must agree.
    """
    found = None
    for line in prefix[:_TOP].split("\n")[:-1]:
        if line and not line.startswith(("#", "//", "--")):
            break
        match = _PATH_LINE.fullmatch(line)
        row = get(language_of(match["path"])) if match else None
        if match and row and row.comment == match["mark"]:
            found = row.name
    return found


def _codestral(prompt: str) -> Hole | None:
    if not prompt.startswith(_CODESTRAL.suffix) or _CODESTRAL.prefix not in prompt:
        return None
    suffix, _, prefix = prompt.removeprefix(_CODESTRAL.suffix).partition(_CODESTRAL.prefix)
    return Hole(prefix, suffix)


def _family(prompt: str) -> Hole | None:
    whole = re.sub(r"<\|assistant\|>\n?\Z", "", prompt)
    for family in FAMILIES:
        body = whole.removesuffix(family.middle)
        first, second = body.find(family.prefix), body.find(family.suffix)
        if body == whole or first < 0 or second < 0:
            continue
        begin = min(first, second)
        if not (begin == 0 or body.startswith("<")):
            continue
        if first < second:
            prefix, suffix = body[first + len(family.prefix) : second], body[second + len(family.suffix) :]
        else:
            prefix, suffix = body[first + len(family.prefix) :], body[second + len(family.suffix) : first]
        if family.name == "codellama":  # its sentinels are words: <PRE> prefix <SUF>suffix <MID>
            prefix, suffix = prefix.removeprefix(" ").removesuffix(" "), suffix.removesuffix(" ")
        return _rewritten(_filed(Hole(prefix, suffix), body[:begin], family))
    return None


def _filed(hole: Hole, preamble: str, family: Family) -> Hole:
    """The file's name, from in front of the sentinels or from the top of the prefix."""
    if family.file is not None:
        inside = list(re.finditer(rf"^{re.escape(family.file)}([^\n]*)\n", hole.prefix, re.MULTILINE))
        if inside and hole.prefix.startswith(family.file):
            return replace(hole, prefix=hole.prefix[inside[-1].end() :], filename=inside[-1][1].strip() or None)
    at, mark = max((preamble.rfind(mark), mark) for mark in _FILES)
    if at < 0:
        return hole
    name, _, rest = preamble[at + len(mark) :].partition("\n")
    named = mark == "###PATH:" or not rest.strip()
    return replace(hole, filename=name.strip() or None) if named else hole


def _rewritten(hole: Hole) -> Hole:
    """A region to rewrite at the end of the prefix (Zeta 2): the answer goes where the cursor is drawn in it."""
    outer, current, region = hole.prefix.rpartition(_CURRENT)
    if current and region.endswith(_DIVIDER):
        region = region.removesuffix(_DIVIDER)
    elif (marker := _MARKER.search(hole.prefix)) is not None:
        outer, region = hole.prefix[: marker.start()], hole.prefix[marker.start() :]
    else:
        return hole
    if _CURSOR not in region:
        return hole
    before, _, after = region.partition(_CURSOR)
    prefix, suffix = outer + _MARKER.sub("", before), _MARKER.sub("", after) + hole.suffix
    return replace(hole, prefix=prefix, suffix=suffix, before=before, after=after)


def _zeta(prompt: str) -> Hole | None:
    """Zeta with Qwen's sentinels: the region stands, as "current", before or behind the suffix."""
    body = prompt.removesuffix("<|fim_middle|>updated\n")
    preamble, begun, rest = body.partition("<|fim_prefix|>\n")
    head, drawn, region = rest.partition("<|fim_middle|>current\n")
    if body == prompt or not begun or not drawn or _CURSOR not in region:
        return None
    prefix, _, early = head.partition("<|fim_suffix|>\n")
    before, _, rest = region.partition(_CURSOR)
    after, _, late = rest.partition("<|fim_suffix|>\n")
    hole = Hole(prefix + before, after + (early or late), before=before, after=after)
    return _filed(hole, preamble, FAMILIES[0])


def _sweep(prompt: str) -> Hole | None:
    """Sweep: a window of lines before and after the user's last change, to be written once more.

    Where no cursor is drawn, it is where the last change ends. An answer continues what was begun of it.
    """
    parts = prompt.rsplit(_SEPARATOR, 3)[1:]
    heads = ("original/", "current/", "updated/")
    if len(parts) != 3 or not all(part.startswith(head) for part, head in zip(parts, heads, strict=True)):
        return None
    (_, _, original), (name, _, current), (_, _, prefill) = (part.partition("\n") for part in parts)
    if "<|cursor|>" in current:
        before, _, after = current.partition("<|cursor|>")
    else:
        end = _change(original, current)
        before, after = current[:end], current[end:]
    if not before.startswith(prefill):
        return None
    name = re.sub(r":\d+:\d+\Z", "", name.removeprefix("current/").strip())
    return Hole(before, after, filename=name or None, before=before[len(prefill) :], after=after)


def _change(old: str, new: str) -> int:
    """Where in ``new`` what differs from ``old`` ends; the end of the text where nothing differs."""
    if old == new:
        return len(new)
    most = min(len(old), len(new))
    head = _longest(most, lambda count: old[:count] == new[:count])
    tail = _longest(most - head, lambda count: old[len(old) - count :] == new[len(new) - count :])
    return len(new) - tail


def _longest(most: int, same: Callable[[int], bool]) -> int:
    """The largest count for which ``same`` holds, as it does for all smaller ones: prompts may be megabytes long."""
    low = 0
    while low < most:
        middle = (low + most + 1) // 2
        low, most = (middle, most) if same(middle) else (low, middle - 1)
    return low
