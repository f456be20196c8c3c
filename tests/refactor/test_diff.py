"""Patches: what git makes of them is the file with the change, byte for byte."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.refactor.change import Change, Outcome
from assistant.refactor.diff import accepted, hunks, patch, split
from assistant.refactor.files import Original
from assistant.refactor.select import Block
from assistant.types import TextEdit
from tests.refactor.conftest import git

LINE = st.sampled_from(
    ["", "a", "b", "x = 1", "-", "+y", "@@ -1 +1 @@", "\\ No newline", "é", "\r", "b\r", "\f", "\ufeff"]
)
NAMES = [
    "a.py",
    "a b.py",
    "é.py",
    "日本/語 x.py",
    'quo"te.py',
    "back\\slash.py",
    "tab\there.py",
    "-dash.py",
    "dev/null.py",
]


@st.composite
def changed(draw: st.DrawFn, name: str = "a.py") -> Change:
    """Any lines, any of which are blocks with any other lines."""
    lines = [line + "\n" for line in draw(st.lists(LINE, min_size=1, max_size=40))]
    if draw(st.booleans()):
        lines[-1] = lines[-1].removesuffix("\n") or "z"
    text = "".join(lines)
    outcomes: list[Outcome] = []
    first = 0
    while first < len(lines):
        first += draw(st.integers(0, 9))
        count = draw(st.integers(1, 4))
        if first >= len(lines):
            break
        start = len("".join(lines[:first]))
        last = min(first + count, len(lines))
        old = "".join(lines[first:last])
        new = "".join(line + "\n" for line in draw(st.lists(LINE, max_size=5)))
        if last == len(lines) and draw(st.booleans()):
            new = new.removesuffix("\n")
        block = Block(start, start + len(old), first + 1, last, "text")
        if new != old:
            edit = TextEdit(block.start, block.end, new, len(outcomes), 1.0)
            outcomes.append(Outcome(block, None, (edit,), new))
        else:
            outcomes.append(Outcome(block, "right"))
        first = last
    return Change(Original(name, text.encode(), 0o644), "python", tuple(outcomes))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    git(folder, "init", "-q")
    return folder


def applied(place: Path, change: Change, text: str, *more: str) -> bytes:
    file = place / change.path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(change.original.data)
    done = subprocess.run(["git", "apply", *more], cwd=place, input=text.encode(), capture_output=True, check=False)
    assert done.returncode == 0, (done.stderr.decode(), text)
    return file.read_bytes()


@given(changed())
def test_git_makes_the_change_of_the_patch(place: Path, change: Change) -> None:
    if not change.changed or change.text == "":
        return
    assert applied(place, change, patch(change)) == change.data
    assert applied(place, change, patch(change), "--unidiff-zero") == change.data


@given(changed(), st.data())
def test_some_hunks_are_a_part_of_the_change(place: Path, change: Change, data: st.DataObject) -> None:
    found = hunks(change)
    taken = [hunk for hunk in found if data.draw(st.booleans())]
    some = accepted(change, taken, "not taken")
    assert accepted(change, found, "").text == change.text
    assert accepted(change, [], "").text == change.original.text
    again = [(one.steps, one.start, one.end) for one in hunks(some)]
    if some.text and taken and some.text != change.original.text:
        assert applied(place, some, patch(some)) == some.data
        assert sum(len(steps) for steps, _, _ in again) <= sum(len(hunk.steps) for hunk in taken)


@given(st.text())
def test_lines_are_all_of_a_text(text: str) -> None:
    lines = split(text)
    assert "".join(lines) == text
    assert all(line.endswith("\n") for line in lines[:-1])
    assert all("\n" not in line[:-1] for line in lines)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("end", [True, False])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_names_ends_and_marks(place: Path, name: str, ends: str, end: bool, mark: str) -> None:
    text = mark + ends.join(["x = 1", "y = 2", "z = 3"]) + ends * end
    new = text.replace("3", "4")
    block = Block(0, len(text), 1, 3, "text")
    one = Outcome(block, None, (TextEdit(0, len(text), new, 0, 1.0),), new)
    change = Change(Original(name, text.encode(), 0o644), "python", (one,))
    assert applied(place, change, patch(change)) == new.encode()
