"""How a text with a hole becomes token ids: the same function for training and for use, so that they cannot drift.

The causal stream is ``[language][<file> name][<edit> task <eol> block][<suf> suffix [<eof>]][<pre> [<bof>] prefix]``:
suffix first and prefix
last, so that typing only appends and the keys and values of everything before stay exact. There is no marker between
prefix and middle for the same reason. In training the middle and ``<eot>`` follow.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from model.tokenizer import Tokenizer

GRID = 4
"""A long prefix is cut at line numbers divisible by this: the cut stays put while a few lines are typed."""
STEADY = 32
"""Where a text is cut changes only as the prefix grows by that share of the room: what stands behind a cut is encoded
anew when it moves."""
HINT = 8
"""Most tokens of the file's name."""
EDITS_SHORTER = 2
"""Contexts of edits are so many times shorter than others: what is wrong is seen from near by, and it costs less."""
_LINE_CHARS = 3
"""Characters of a token in a line that is typed: few lines have less."""
_CHARS = 12
"""Characters looked at per token of budget; code averages 4, so only runs of spaces make this too few."""


@dataclass(frozen=True)
class Layout:
    ids: list[int]
    """Context ids, the causal stream up to the cursor."""
    glue: list[int]
    """The first tokens of the suffix, which a canvas shows behind its hole."""


def encode_context(
    tokenizer: Tokenizer,
    prefix: str,
    suffix: str,
    *,
    language: str | None,
    filename: str | None,
    context: int,
    glue: int,
    reserve: int = 0,
    suffix_tokens: int | None = None,
    edit: tuple[str, Sequence[int]] | None = None,
) -> Layout:
    """Lays out one prompt in at most ``context - reserve`` tokens.

    ``edit``: the name of a task, and the tokens of the block between prefix and suffix that it is to be done to.

    The suffix gets ``suffix_tokens`` (default: a quarter of the context), or what a short prefix leaves over. Only the
    text near the hole is read, so a file of any length costs the same.
    """
    head = [tokenizer.language(language)]
    if filename:
        head += [tokenizer.file, *tokenizer.encode(_hint(filename))[:HINT]]
    if edit is not None:
        head += [tokenizer.edit, *tokenizer.encode(edit[0]), tokenizer.eol, *edit[1]]
    room = context - reserve - len(head) - 4  # <suf> <eof> <pre> <bof>
    share = room // 3 if suffix_tokens is None else min(suffix_tokens, room)
    step = max(room // STEADY, 1)
    spare = _spare(tokenizer, prefix, step)
    prefix_ids, whole = _prefix(tokenizer, prefix, room - min(share, _most(suffix)), spare)
    cut = share
    if suffix_tokens is None:
        share = room - len(prefix_ids)
        cut = share - spare - -(len(prefix_ids) + spare) % step
    suffix_ids, ends = _suffix(tokenizer, suffix, share, cut)
    ids = [*head, tokenizer.suf, *suffix_ids]
    if ends:
        ids.append(tokenizer.eof)
    ids.append(tokenizer.pre)
    if whole:
        ids.append(tokenizer.bof)
    ids += prefix_ids
    return Layout(ids, suffix_ids[:glue] if suffix_ids else [tokenizer.eof])


def _hint(filename: str) -> str:
    return "/".join(filename.replace("\\", "/").split("/")[-2:])


def _most(text: str) -> int:
    """No text has more tokens than bytes."""
    return min(4 * len(text), 1 << 30)


def _spare(tokenizer: Tokenizer, prefix: str, step: int) -> int:
    """Tokens that the line at the cursor does not have yet: with them it has a round number that does not change with
    each key, as its tokens do, of which a key may also make fewer."""
    line = prefix[max(prefix.rfind("\n"), 0) :]
    if len(line) > _CHARS * step * STEADY:
        return 0
    tokens = len(tokenizer.encode(line))
    return -(-max(tokens, len(line) // _LINE_CHARS) // step) * step - tokens


def _prefix(tokenizer: Tokenizer, prefix: str, budget: int, spare: int) -> tuple[list[int], bool]:
    """All of the prefix in at most ``budget`` tokens, else its end with ``spare`` left over; and whether it is all."""
    if len(prefix) <= budget * _CHARS:
        ids = tokenizer.encode(prefix)
        if len(ids) <= budget:
            return ids, True
    budget -= spare
    near = max(0, len(prefix) - budget * _CHARS)
    line = prefix.count("\n", 0, near)
    cuts: list[int] = []
    at = near
    while (at := prefix.find("\n", at) + 1) > 0:
        line += 1
        if line % GRID == 0:
            cuts.append(at)
    pieces = [prefix[a:b] for a, b in zip(cuts, [*cuts[1:], len(prefix)], strict=False)]
    total, start = 0, None
    for cut, piece in zip(reversed(cuts), reversed(pieces), strict=True):
        total += len(tokenizer.encode(piece))
        if total > budget:
            break
        start = cut
    if start is not None and len(ids := tokenizer.encode(prefix[start:])) <= budget:
        return ids, False
    # Lines too long for the grid: a cut at a round character position is as stable.
    step = max(1, budget)
    at = -(-max(0, len(prefix) - 3 * budget) // step) * step
    while at < len(prefix) and len(ids := tokenizer.encode(prefix[at:])) > budget:
        at += step
    return (ids, False) if at < len(prefix) else (tokenizer.encode(prefix[-max(budget // 4, 1) :])[-budget:], False)


def _suffix(tokenizer: Tokenizer, suffix: str, budget: int, cut: int) -> tuple[list[int], bool]:
    """All of the suffix in at most ``budget`` tokens, else its beginning in at most ``cut``; and whether it is all."""
    if budget <= 0:
        return [], False
    window = suffix[: budget * _CHARS]
    ids = tokenizer.encode(window)
    if len(ids) <= budget:
        return ids, len(window) == len(suffix)
    ids = ids[: max(cut, 0)]
    newlines = [i for i, token in enumerate(ids) if tokenizer.token_bytes(token).startswith(b"\n")]
    if newlines and newlines[-1] > cut // 2:
        ids = ids[: newlines[-1]]
    return ids, False


@dataclass(frozen=True)
class Operations:
    """How to make another block of one: ``wrong`` [n] tokens go, ``inserts`` [n + 1] come before each or the end."""

    wrong: list[bool]
    inserts: list[int]

    def opened(self, ids: Sequence[int], mask: int) -> list[int]:
        """The block with ``mask`` where a token is to be written."""
        row: list[int] = []
        for token, wrong, count in zip(ids, self.wrong, self.inserts[:-1], strict=True):
            row += [mask] * count
            if not wrong:
                row.append(token)
        return row + [mask] * self.inserts[-1]


def line_start(text: str, at: int) -> int:
    """The line breaks before the line at ``at``: a token begins there and nowhere else. A byte-order mark is no part of
    the first line."""
    start = text.rfind("\n", 0, at) + 1
    return max(len(text[:start].rstrip("\r\n")), int(text.startswith("\ufeff")))


def line_end(text: str, at: int) -> int:
    """The end of the line at ``at``, or of the last one above it that is not empty: line breaks are one token."""
    end = text.find("\n", at)
    end = len(text) if end < 0 else end
    return len(text[:end].rstrip("\r\n")) if text[max(end - 1, 0) : end] in ("\r", "\n") else end


def further_end(text: str, end: int) -> int:
    """The end of the next line that is not empty, behind the ``end`` of one."""
    start = end + len(text[end:]) - len(text[end:].lstrip("\r\n"))
    return line_end(text, start)
