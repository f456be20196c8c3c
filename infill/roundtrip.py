"""The way back: a change that modernises is one for sure where the damage that is trained on, done to its result, gives
the text that was there.

The programs of ``model.damage`` put an old idiom where a modern one stands, and the program means the same. So whatever
they make of the new text means what it means; where the old text is among that, the change did nothing but modernise.
A model may then guess as it likes. In TransCoder (Roziere et al., 2020) the way back makes data; here it is a test.
"""

import re
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from infill.minimal import spliced
from model.damage.kinds import KINDS
from model.damage.scan import STATEMENTS
from model.damage.types import Block, Edits, Kind, damaged
from model.spans import python_parser

GROUP = "modernise"
"""The damage that leaves what a program means as it is."""
PATIENCE = 16
"""How often in a row a kind may do nothing new at a place: it draws places, and how they are worded."""
TRIES = 96
"""How often it is asked in all."""
LEVELS = 3
"""Statements around a change in which it is looked for, from the smallest outwards."""
WIDER = frozenset(
    {
        "length-test", "long-increment", "keys-call", "get-default", "old-super", "readlines", "lost-cause",
        "key-lookup", "redundant-encoding",
    }
)  # fmt: skip
"""Kinds that ask what stands around the statement that they change."""
SCOPED = frozenset(
    {
        "append-loop", "dict-loop", "set-loop", "sum-loop", "any-loop", "manual-counter", "length-test",
        "long-increment", "keys-call", "get-default", "range-len", "key-lookup", "redundant-encoding",
        "readlines", "open-close",
    }
)  # fmt: skip
"""Kinds that ask what else is done with a name in the function: it must be seen whole."""
UNSURE = frozenset({"merged-dicts"})
"""Kinds that mean the same of some values only: ``dict(a, **b)`` takes pairs for ``a``."""
WHOLE = 20_000
"""Characters of the longest function that is looked at whole."""
LONGEST = 3000
"""Characters of the longest of them; of longer ones the head and the first statement are enough."""
NEAR = 50_000
"""Characters on both sides of a change that are parsed."""
TRACES = {
    "format-call": r"\.format\(",
    "percent-format": r"['\"] % ",
    "joined-text": r"\b(?:str|repr|ascii)\(",
    "repr-call": r"\b(?:str|repr|ascii)\(",
    "u-prefix": r"\bu['\"]",
    "os-path": r"\bos\.(?:path\.|getcwd\()",
    "open-read": r"\)\.read\(\)",
    "empty-call": r"\b(?:dict|list|tuple)\(\)",
    "dict-keywords": r"\bdict\(",
    "set-call": r"\b(?:set\(\[|dict\()",
    "merged-dicts": r"\bdict\(",
    "added-lists": r"\blist\(",
    "bracketed-generator": r"\(\[",
    "equals-none": r"[!=]=\s*None\b",
    "equals-true": r"== (?:True|False)\b",
    "type-equals": r"\btype\(",
    "tuple-chain": r"\) or ",
    "or-chain": r"== .* or .*==|!= .* and .*!=",
    "split-comparison": r"(?<![\w.])([\w.]+) and \1\b",
    "early-not": r"\bnot .*\b(?:in|is)\b",
    "length-test": r"\blen\(\w+\) [=<>!]",
    "keys-call": r"\.keys\(\)",
    "get-default": r"\] if .* in .* else ",
    "bare-except": r"\bexcept\s*:",
    "lost-cause": r"\braise\b|^\s*[)\]}]+\s*$",
    "old-error": r"\b(?:IOError|EnvironmentError)\b",
    "typing-names": r"\b(?:List|Dict|Set|Tuple|FrozenSet|Type)\b",
    "typing-union": r"\b(?:Optional|Union)\[",
    "old-super": r"\bsuper\(\w",
    "object-base": r"\bclass\s+\w+\((?:object)?\)",
    "coding-line": r"coding[:=]",
    "needless-parentheses": r"\b(?:if|elif|while|return)\s*\(",
    "semicolon": r";",
    "while-one": r"\bwhile\s+1\b",
    "long-increment": r"(?<![\w.])([\w.]+) = \1 [^\w\s]",
    "redundant-mode": r", \"r\"",
    "redundant-encoding": r"\(['\"]utf-?8['\"]\)",
    "decorator-call": r"@.*\((?:maxsize=None)?\)",
    "old-subprocess": r"\bsubprocess\.PIPE\b|\buniversal_newlines\b",
    "old-prefix": r"\[(?:len\(|:-len\()",
    "readlines": r"\.readlines\(\)",
    "append-loop": r"\.append\(",
    "dict-loop": r"= \{\}",
    "set-loop": r"= set\(\)",
    "sum-loop": r" \+= ",
    "any-loop": r"\breturn (?:True|False)\b",
    "yield-loop": r"\byield \w",
    "range-len": r"\brange\(len\(",
    "manual-counter": r" \+= 1\b",
    "key-lookup": r"\bfor \w+ in (?s:.)*? = .*\[",
    "named-lambda": r"= lambda\b",
    "open-close": r"\.close\(\)",
    "try-pass": r"\bpass\b",
    "nested-with": r"\bwith\b.*:\n\s*with\b",
    "branches-for-value": r"\belse:",
    "branches-for-truth": r"\breturn True\b",
    "nested-if": r":\n\s*if\b",
    "nested-else": r"\belse:\n\s*if\b",
    "else-after-return": r"\belse:",
    "temporary-swap": r"\b(?:tmp|temp|swap) = ",
}
"""What of each kind's damage can be seen: lines in which this is not found cannot be taken back to."""
_TRACES = [re.compile(trace, re.MULTILINE) for trace in TRACES.values()]


def is_dated(text: str) -> bool:
    """Whether a way back may lead to the text. Cheap, and where it says no, there is none."""
    return any(trace.search(text) for trace in _TRACES)


def taken_back(prefix: str, old: str, new: str, suffix: str) -> str:
    """``old`` with those of its changes to ``new`` that damage takes back, one by one or those that are left together;
    ``old`` and ``new`` are whole lines between ``prefix`` and ``suffix``.
    """
    prefix = prefix.removeprefix("\ufeff")
    text = prefix + old + suffix
    changes = list(_changes(old, new))
    kept = [one for one in changes if _is_kept(text, len(prefix), one)]
    rest = [one for one in changes if one not in kept]
    if len(rest) > 1 and _is_kept(text, len(prefix), whole := _joined(old, rest)):
        kept = [one for one in kept if one.end <= whole.start or one.start >= whole.end] + [whole]
    return spliced(old, kept)


class _Change(NamedTuple):
    """``text`` for ``start``..``end``, whole lines."""

    start: int
    end: int
    text: str


def _changes(old: str, new: str) -> Iterator[_Change]:
    lines, others = old.splitlines(keepends=True), new.splitlines(keepends=True)
    places = [0, *accumulate(map(len, lines))]
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, lines, others, autojunk=False).get_opcodes():
        if tag != "equal":
            yield _Change(places[i1], places[i2], "".join(others[j1:j2]))


def _joined(old: str, changes: Sequence[_Change]) -> _Change:
    """Several changes as one, with what stands between them."""
    start, end = changes[0].start, changes[-1].end
    return _Change(start, end, spliced(old[:end], changes)[start:])


def _is_kept(text: str, at: int, change: _Change) -> bool:
    start, end = at + change.start, at + change.end
    low = text.rfind("\n", 0, max(start - NEAR, 0)) + 1
    return _is_undone(text[low:start], text[end : end + NEAR], text[start:end], change.text)


@lru_cache(maxsize=64)
def _is_undone(head: str, tail: str, before: str, after: str) -> bool:
    """Whether damage makes ``head + before + tail`` of ``head + after + tail``."""
    text, wanted = head + after + tail, head + before + tail
    kinds = [kind for kind in KINDS.values() if kind.group == GROUP and kind.name not in UNSURE]
    is_line = before.count("\n") == after.count("\n") <= 1
    for level, (block, is_scope) in enumerate(_blocks(text, len(head), len(head) + len(after))):
        if level and is_line:
            kinds = [kind for kind in kinds if kind.name in WIDER]
        asked = [kind for kind in kinds if (is_scope if kind.name in SCOPED else level < LEVELS)]
        if any(_gives(kind, np.random.default_rng(index), block, wanted) for index, kind in enumerate(asked)):
            return True
        if is_scope and level >= LEVELS - 1:
            break
    return False


def _gives(kind: Kind, rng: np.random.Generator, block: Block, wanted: str) -> bool:
    seen = set[Edits]()
    idle = 0
    for _ in range(TRIES):
        found = kind.apply(rng, block)
        if found is None or idle == PATIENCE:
            return False
        idle = idle + 1 if found.edits in seen else 0
        if not idle and damaged(block.text, found.edits) == wanted:
            return True
        seen.add(found.edits)
    return False


def _blocks(text: str, start: int, end: int) -> Iterator[tuple[Block, bool]]:
    """The statements around a place, whole lines, from the smallest outwards; and whether each is a function or the
    module, as a whole."""
    data = text.encode("utf-8", "surrogatepass")
    made = text[start:end]
    if made.strip():
        start, end = start + len(made) - len(made.lstrip()), start + len(made.rstrip())
    else:  # what is left on both sides of lines that went
        start, end = len(text[:start].rstrip()), len(text) - len(text[end:].lstrip()) + 1
    first, last = (len(text[:one].encode("utf-8", "surrogatepass")) for one in (start, end))
    node = python_parser().parse(data).root_node.descendant_for_byte_range(first, last)
    seen = set[tuple[int, int, bool]]()

    def place(byte: int) -> int:
        return len(data[:byte].decode("utf-8", "surrogatepass"))

    while node is not None:
        if node.type in STATEMENTS or node.type == "module":
            low = text.rfind("\n", 0, place(node.start_byte)) + 1
            high = place(node.end_byte)
            inner = node.child_by_field_name("definition") or node
            body = inner.child_by_field_name("body")
            is_scope = node.type in ("function_definition", "module") and high - low <= WHOLE
            if not is_scope and high - low > LONGEST and body is not None and body.named_children:
                high = place(body.named_children[0].end_byte)
            stop = text.find("\n", max(high - 1, 0))
            high = len(text) if stop < 0 else stop
            if 0 < high - low <= (WHOLE if is_scope else LONGEST) and (low, high, is_scope) not in seen:
                seen.add((low, high, is_scope))
                yield Block(text, low, high), is_scope
        node = node.parent
