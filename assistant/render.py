"""Drawing on a terminal: an answer in its place in the file, a draft while it sharpens. Knows rich and plain values."""

from collections.abc import Sequence
from pathlib import PurePath
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.syntax import Syntax
from rich.text import Text

from assistant.source import BYTE_ORDER_MARK, position_at
from assistant.types import Completion, CompletionResult, Draft

INSERTED = "bold on #24442c"
OPEN, CLOSE = "⟦", "⟧"
"""Drawn around the answer where there are no colours to show it."""
AROUND = 6
"""Lines shown above and below the answer."""
SHADES = ((0.95, "bold green"), (0.8, "green"), (0.5, "yellow"), (0.0, "red"))
"""Colour of a draft's token by the probability it had when it was committed."""
HIDDEN = "░"
BREAK = "⏎"
"""Stands for a line break where a draft is shown in one line."""
ORIGINS = {
    "canvas": "denoised on a canvas",
    "repair": "denoised on a canvas, again where it was wrong",
    "causal": "written by the causal head",
    "copy": "copied from elsewhere",
    "word": "only the end of the word",
    "closed": "a draft with its brackets closed",
    "trimmed": "the valid beginning of a draft",
}
"""What is said of a completion's origin."""


def in_place(text: str, completion: Completion, *, filename: str, colour: bool) -> RenderableType:
    """The lines around the answer with the answer spliced in: syntax colours, numbers, the new text standing out."""
    before, after = text[: completion.start].removeprefix(BYTE_ORDER_MARK), text[completion.end :]
    answer = completion.text if colour else f"{OPEN}{completion.text}{CLOSE}"
    first_line, first_column = position_at(before, len(before))
    last_line, last_column = position_at(before + answer, len(before + answer))
    whole = (before + answer + after).replace("\r\n", "\n").replace("\r", "\n")
    lines = (max(1, first_line - AROUND), min(whole.count("\n") + 1, last_line + AROUND))
    lexer = Syntax.guess_lexer(PurePath(filename or "text").name, code=None)
    view = Syntax(whole, lexer, theme="ansi_dark", line_numbers=True, line_range=lines, tab_size=4)
    if colour:
        view.stylize_range(INSERTED, (first_line, first_column - 1), (last_line, last_column - 1))
    return view


def summary(result: CompletionResult) -> str:
    """One line: time, how the answer was made, what came of it."""
    passes = _counted(result.passes, "pass", "passes")
    parts = [f"{result.timing_ms.get('total', 0.0):.0f} ms"]
    if result.completions:
        best = result.completions[0]
        checked = "syntax checked" if best.verdict == "valid" else "syntax not checked: no grammar"
        parts += [f"{_made(best.origin, result.steps)} ({passes})", _counted(best.tokens, "token", "tokens")]
        parts += [f"confidence {best.confidence:.2f}", checked]
    else:
        parts += [_counted(result.steps, "denoising step", "denoising steps"), passes]
    return ", ".join(parts)


def _made(origin: str, steps: int) -> str:
    made, taken = ORIGINS.get(origin, origin), _counted(steps, "step", "steps")
    if origin in ("canvas", "repair"):
        return f"{made} in {taken}"
    if steps == 0:
        return f"{made} without a canvas"
    return f"{made}, {'chosen over' if origin in ('causal', 'copy', 'word') else 'from'} a canvas of {taken}"


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def draft_text(draft: Draft) -> Text:
    """A draft as coloured text; what is still hidden is a shaded block."""
    text = Text()
    for token, confidence in zip(draft.tokens, draft.confidence, strict=True):
        if token is None:
            text.append(HIDDEN, style="dim")
        else:
            text.append(token, style=next(style for least, style in SHADES if confidence >= least))
    return text


def stages(drafts: Sequence[Draft], console: Console) -> None:
    """The steps of a canvas, a line for each, as far as the line goes."""
    for draft in drafts:
        line = Text(f"{draft.index:4} ", style="dim")
        for part in draft_text(draft).split("\n", include_separator=False):
            line.append_text(part if len(line) == 5 else Text(BREAK, style="dim") + part)
        line.truncate(console.width, overflow="ellipsis")
        console.print(line, no_wrap=True)


class Sharpening:
    """Shows every draft as it comes: live in a terminal, one block after the other elsewhere. A context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, transient=False, auto_refresh=False) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def __call__(self, draft: Draft) -> None:
        title = Text(f"{draft.phase} {draft.index}", style="dim")
        if self._live:
            self._live.update(Group(title, draft_text(draft)), refresh=True)
        else:
            self._console.print(title, draft_text(draft), sep="\n", soft_wrap=True)
