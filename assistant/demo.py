"""`hone demo`: fill the hole in real files and show the answer where it belongs.

A hole is the marker ``<CURSOR>`` in the text. The files are read each time: change them, and the answers change. Below
the answer stands how it was made; where a canvas was denoised, its leading draft after every step.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from assistant import render
from assistant.source import position_at, read_source, take_marker
from assistant.types import Completer, CompletionRequest, CompletionResult, Draft

MARKER = "<CURSOR>"
EXAMPLES = Path(__file__).parent / "examples"


@dataclass(frozen=True)
class Shown:
    """A file with a hole, and what to say above it."""

    path: Path
    title: str
    one_line: bool | None = None
    max_tokens: int = 64
    steps: int | None = None
    """Denoising steps; with a number of them a canvas is denoised even where the causal head is sure."""


SHOWN = (
    Shown(EXAMPLES / "1_rest_of_line.py", "the rest of a line", one_line=True),
    Shown(EXAMPLES / "2_whole_line.py", "a whole line", one_line=True, steps=4),
    Shown(EXAMPLES / "3_multi_line_body.py", "a body of several lines", one_line=False, steps=4),
)


def run_demo(completer: Completer, shown: Iterable[Shown], console: Console) -> int:
    """Show each file's hole filled; returns how many were answered.

    Raises:
        SourceError: a file that cannot be read.
        PositionError: a file without exactly one marker.
    """
    answered = 0
    for item in shown:
        source = read_source(str(item.path))
        text, start = take_marker(source.text, MARKER)
        request = CompletionRequest(
            text,
            start,
            filename=item.path.name,
            one_line=item.one_line,
            max_tokens=item.max_tokens,
            steps=item.steps,
        )
        drafts: list[Draft] = []
        result = completer.complete(request, on_step=drafts.append)
        line, column = position_at(text, start)
        console.rule(f"[bold]{item.title}[/]  [dim]{item.path.name}:{line}:{column}[/]", align="left", style="dim")
        answered += _show(text, result, item.path.name, console)
        if steps := [draft for draft in drafts if draft.phase == "draft"]:
            console.print("the surest canvas, step by step:", style="dim")
            render.stages(steps, console)
            console.print()
    return answered


def _show(text: str, result: CompletionResult, filename: str, console: Console) -> bool:
    if not result.completions:
        console.print(f"no answer: {result.reason}; {render.summary(result)}\n", style="yellow", highlight=False)
        return False
    console.print(render.in_place(text, result.completions[0], filename=filename, colour=console.is_terminal))
    console.print(f"{render.summary(result)}\n", style="cyan", highlight=False, soft_wrap=True)
    return True
