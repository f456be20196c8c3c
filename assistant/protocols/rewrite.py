"""Inception's prompts for edits and merges, taken apart: a text, the block of it that is to be rewritten, and how.

Next edits (``/v1/edit/completions``) hold the file with the region that may change, and the last edits as diffs; merges
(``/v1/apply/completions``) a text and an update of it that leaves out what stays. Both become an instruction in free
words about one block. Snippets that were looked at recently are not read. Knows no HTTP.
"""

from dataclasses import dataclass

from assistant.edits import applied
from assistant.errors import RequestError
from assistant.protocols.guess import guess
from assistant.types import EditRequest, EditResult

CURSOR = "<|cursor|>"
PATH = "current_file_path: "
NONE = "None"
"""The answer of who predicts no edit."""
HISTORY = 2000
"""Characters of the newest edits that are told: a model's context is small."""
NEXT = (
    "These edits were made in the file just now, the newest last:\n\n```diff\n{history}\n```\n\nMake the change that "
    "follows from them in the code below. Where nothing follows, leave the code as it is."
)
COMPLETE = "Complete the code below where it is unfinished. Where nothing is missing, leave it as it is."
MERGE = (
    "This is an update of the code below; comments like '... existing code ...' stand for parts that stay as they are:"
    "\n\n```\n{update}\n```\n\nMerge the update into the code, in full."
)


@dataclass(frozen=True)
class Rewrite:
    """``text[start:end]`` is to be rewritten."""

    text: str
    start: int
    end: int
    instruction: str
    filename: str | None = None

    def request(self) -> EditRequest:
        return EditRequest(
            self.text,
            "",
            ((self.start, self.end),),
            filename=self.filename,
            language=None if self.filename else guess(self.text),
            instruction=self.instruction,
        )

    @property
    def block(self) -> str:
        return self.text[self.start : self.end]

    def result(self, found: EditResult) -> str:
        """What the block becomes."""
        behind = len(self.text) - self.end
        inside = [one for one in found.edits if self.start <= one.start and one.end <= self.end]
        text = applied(self.text, inside)
        return text[self.start : len(text) - behind]


def next_edit(prompt: str) -> Rewrite:
    """Raises:
    RequestError: there is no region to edit in it.
    """
    file = _section(prompt, "current_file_content")
    before, opened, rest = file.partition("<|code_to_edit|>")
    region, closed, after = rest.partition("<|/code_to_edit|>")
    if not opened or not closed:
        raise RequestError("the prompt needs <|code_to_edit|> and <|/code_to_edit|> in <|current_file_content|>")
    name = None
    if before.startswith(PATH):
        name, _, before = before.removeprefix(PATH).partition("\n")
    region = region.removeprefix("\n").removesuffix("\n").replace(CURSOR, "", 1)
    after = after.removeprefix("\n")
    if after and not after.startswith("\n"):  # some clients leave the region's last line end to the tag
        after = "\n" + after
    history = _newest(_section(prompt, "edit_diff_history", needed=False))
    instruction = NEXT.format(history=history) if history else COMPLETE
    filename = (name or "").strip() or None
    return Rewrite(before + region + after, len(before), len(before) + len(region), instruction, filename)


def merge(prompt: str) -> Rewrite:
    """Raises:
    RequestError: there is no code in it, or no update.
    """
    code, update = _section(prompt, "original_code"), _section(prompt, "update_snippet")
    if not update.strip():
        raise RequestError("<|update_snippet|> is empty: there is nothing to merge")
    return Rewrite(code, 0, len(code), MERGE.format(update=update.strip("\n")))


def _section(prompt: str, name: str, *, needed: bool = True) -> str:
    """What stands between a tag and its end, without the line ends beside the tags."""
    _, opened, rest = prompt.partition(f"<|{name}|>")
    inside, closed, _ = rest.rpartition(f"<|/{name}|>")
    if opened and closed:
        return inside.removeprefix("\n").removesuffix("\n")
    if needed:
        raise RequestError(f"the prompt needs <|{name}|> and <|/{name}|>")
    return ""


def _newest(history: str) -> str:
    """The end of it, in whole lines."""
    history = history.strip("\n")
    if len(history) <= HISTORY:
        return history
    return history[-HISTORY:].partition("\n")[2]
