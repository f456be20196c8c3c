import pytest

from assistant.config import Settings
from assistant.edits import applied
from assistant.errors import PositionError, RequestError
from assistant.models import EMBEDDED_EDITS, for_edits
from assistant.service import Assistant, checked, describe, open_infiller
from assistant.types import CompletionRequest, Draft, EditRequest
from infill.engine import Infiller
from tests.fakes import ScriptedDenoiser


def assistant(prefix: str, answer: str) -> Assistant:
    return Assistant(lambda: Infiller(ScriptedDenoiser(prefix, answer)))


@pytest.mark.parametrize(
    ("before", "answer", "after"),
    [
        ("def f(index):\n    return ", "index", "\n"),
        ("def f(index):\r\n    return ", "index", "\r\n"),
        ("\ufeffx = ", "index", "\n"),
        ("print(", "self.index", ")\n"),
        ("", "import os", ""),
    ],
)
def test_the_answer_fits_the_hole(before: str, answer: str, after: str) -> None:
    request = CompletionRequest(before + after, len(before), filename="a.py")
    result = assistant(before.removeprefix("\ufeff").replace("\r\n", "\n"), answer).complete(request)
    assert [completion.text for completion in result.completions] == [answer]
    best = result.completions[0]
    assert (best.start, best.end, best.verdict) == (len(before), len(before), "valid")
    assert result.reason is None
    assert result.timing_ms["total"] > 0


def test_what_is_in_the_hole_is_replaced() -> None:
    text = "x = wrong\n"
    result = assistant("x = ", "index").complete(CompletionRequest(text, 4, 9, filename="a.py"))
    best = result.completions[0]
    assert text[: best.start] + best.text + text[best.end :] == "x = index\n"


@pytest.mark.parametrize(
    ("text", "start", "moved"), [("\ufeffx", 0, 1), ("x = 1\r\ny\r\n", 6, 5), ("\r\n", 1, 0), ("ab", 1, 1)]
)
def test_no_answer_splits_a_mark_or_a_line_end(text: str, start: int, moved: int) -> None:
    before = text[:moved].removeprefix("\ufeff")
    result = assistant(before, "0").complete(CompletionRequest(text, start, language="nothing"))
    assert [completion.start for completion in result.completions] == [moved]


def test_a_language_without_grammar_is_answered_unchecked() -> None:
    result = assistant("x = ", "index").complete(CompletionRequest("x = ", 4, filename="notes.unknown"))
    assert [completion.verdict for completion in result.completions] == ["unchecked"]


@pytest.mark.parametrize(("start", "end"), [(-1, None), (5, None), (2, 1), (0, 5)])
def test_a_hole_outside_is_named(start: int, end: int | None) -> None:
    with pytest.raises(PositionError, match="outside of the text, which has offsets 0 to 4"):
        assistant("", "x").complete(CompletionRequest("x = ", start, end))


def test_a_policy_that_does_not_exist_is_named() -> None:
    with pytest.raises(RequestError, match=r"policy must be one of .*, not 'magic'"):
        assistant("", "x").complete(CompletionRequest("x = ", 4, policy="magic"))


def test_work_can_be_stopped() -> None:
    result = assistant("x = ", "index").complete(CompletionRequest("x = ", 4), should_stop=lambda: True)
    assert (result.completions, result.reason) == ((), "cancelled")


def test_drafts_sharpen_until_nothing_is_hidden() -> None:
    drafts: list[Draft] = []
    prefix, answer = "def f(self):\n    return ", "self.values[index]"
    request = CompletionRequest(prefix + "\n", len(prefix), filename="a.py", steps=3)
    assistant(prefix, answer).complete(request, on_step=drafts.append)
    assert len(drafts) > 1
    assert all(len(draft.tokens) == len(draft.confidence) for draft in drafts)
    assert None not in drafts[-1].tokens


def test_the_model_is_opened_once_and_late() -> None:
    opened = []

    def open_infiller() -> Infiller:
        opened.append(1)
        return Infiller(ScriptedDenoiser("x = ", "index"))

    ours = Assistant(open_infiller)
    assert not opened
    results = [ours.complete(CompletionRequest("x = ", 4, filename="a.py")) for _ in range(2)]
    assert opened == [1]
    assert results[0].completions == results[1].completions


OLD = """class Basket(object):
    def __init__(self, owner: Optional[str] = None):
        super(Basket, self).__init__()
        self.owner = owner
        self.items = dict()
"""
MODERN = """class Basket:
    def __init__(self, owner: str | None = None) -> None:
        super().__init__()
        self.owner = owner
        self.items = {}
"""


@pytest.mark.weights
def test_the_embedded_model_modernises_and_leaves_modern_code_alone() -> None:
    settings = for_edits(Settings(device="cpu"))
    assert settings.model == EMBEDDED_EDITS
    assistant = Assistant(lambda: open_infiller(settings))
    found = assistant.edit(EditRequest(OLD, "modernise", ((0, len(OLD)),), language="python"))
    text = applied(OLD, found.edits)
    assert "super().__init__()" in text
    assert "self.items = {}" in text
    assert "self.owner = owner" in text
    again = assistant.edit(EditRequest(MODERN, "modernise", ((0, len(MODERN)),), language="python"))
    assert again.edits == ()
    assert describe(assistant.open(), "edits").tasks == ("modernise",)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_of_whole_lines_that_are_selected_the_last_end_stays(newline: str) -> None:
    text = newline.join(["a = 1", "b = 2", "c = 3", ""])
    start, end = text.index("b"), text.index("c")
    request, _ = checked(CompletionRequest(text, start, end))
    assert text[request.start : request.end] == "b = 2"
