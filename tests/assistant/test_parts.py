"""A very large text is edited in parts, and what comes of it is what would come of the whole."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant import service, worker
from assistant.cuts import known_cuts
from assistant.edits import applied
from assistant.errors import CannotEditError
from assistant.parts import AROUND, SMALL, joined, parted
from assistant.rules import Ruling, by_rule
from assistant.service import Assistant, editing
from assistant.types import EditRequest, EditResult, ShouldStop, TextEdit
from infill.engine import Infiller
from tests.mender import Mender

FUNCTIONS = [f"def f{index}(a, b):\n    total = a + b\n    return total  # {index}\n\n\n" for index in range(6000)]
RIGHT = "".join(FUNCTIONS)
PLACES = (0, 1, 2500, 4000, 5999)
assert len(RIGHT) > SMALL + 3 * AROUND


def starts(functions: Sequence[str]) -> list[int]:
    found = [0]
    for one in functions:
        found.append(found[-1] + len(one))
    return found


def wrong(text: str, right: str) -> EditRequest:
    functions = [one.replace(right, text) if index in PLACES else one for index, one in enumerate(FUNCTIONS)]
    at = starts(functions)
    return EditRequest("".join(functions), "fix", tuple((at[i], at[i + 1]) for i in PLACES), language="python")


@given(
    st.integers(0, 400_000),
    st.lists(st.integers(0, 400_000), max_size=20),
    st.lists(st.integers(0, 400_000), max_size=12),
)
def test_parts_hold_their_blocks_and_what_is_around(size: int, cuts: list[int], ends: list[int]) -> None:
    text = "x" * size
    at = sorted(min(one, size) for one in ends)
    blocks = tuple(zip(at[::2], at[1::2], strict=False))
    cuts = sorted({one for one in cuts if one < size})
    seen: list[tuple[int, int]] = []
    for part in parted(EditRequest(text, "fix", blocks), cuts):
        assert part.first == len(seen)
        end = part.start + len(part.request.text)
        assert part.start in (0, *cuts)
        assert end in (size, *cuts)
        for low, high in part.request.blocks:
            seen.append((part.start + low, part.start + high))
            assert part.start == 0 or low >= AROUND
            assert end == size or end - seen[-1][1] >= AROUND
    assert tuple(seen) == blocks


def test_the_parts_of_a_large_text_are_small() -> None:
    request = wrong("a - b", "a + b")
    parts = parted(request, known_cuts(request.text, "python"))
    assert [part.first for part in parts] == [0, 2, 3, 4]
    assert all(len(part.request.text) < 2 * AROUND + 3000 for part in parts)
    assert all(part.request.text in request.text for part in parts)
    results = [
        EditResult(
            tuple(TextEdit(low, high, "", index, 1.0) for index, (low, high) in enumerate(part.request.blocks)), ()
        )
        for part in parts
    ]
    assert applied(request.text, joined(parts, results).edits) == "".join(
        one for index, one in enumerate(FUNCTIONS) if index not in PLACES
    )


def test_rules_see_all_of_it_and_the_model_its_parts() -> None:
    asked: list[EditRequest] = []

    def ask(one: EditRequest, _: ShouldStop) -> EditResult:
        asked.append(one)
        start = one.blocks[-1][0]
        at = one.text.index("return", start)
        return EditResult(
            (TextEdit(at, at, "# ", len(one.blocks) - 1, 2.0),), ("right",) * (len(one.blocks) - 1) + (None,)
        )

    request = wrong("a + c", "a + b")
    text = request.text.replace("def f5999(a, b)", "def f5999(a, cc)")
    found = Ruling(ask)(EditRequest(text, "fix", request.blocks, language="python"), lambda: False)
    assert len(asked) == 4
    assert sum(len(one.text) for one in asked) < len(text)
    assert found.reasons == (None,) * 5
    new = applied(text, found.edits)
    assert "def f5999(a, cc):\n    total = a + cc\n    # return" in new
    assert new.count("# return") == 4


def test_a_model_that_cannot_is_asked_once() -> None:
    asked: list[EditRequest] = []

    def ask(one: EditRequest, _: ShouldStop) -> EditResult:
        asked.append(one)
        raise CannotEditError("no")

    ruling = Ruling(ask)
    request = wrong("a + b", "a + b")
    for _ in range(2):
        assert set(ruling(request, lambda: False).reasons) == {"looked at by rule alone: no model does this task"}
    assert len(asked) == 1


def test_the_assistant_and_the_daemon_look_at_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    request = wrong("a + b.bb", "a + b")
    mender = Mender({"a + b.bb": "a + b"})
    sizes: list[int] = []

    def begun(infiller: Infiller, one: EditRequest, block: int, *, should_stop: ShouldStop | None = None) -> object:
        sizes.append(len(one.text))
        return editing(infiller, one, block, should_stop=should_stop)

    monkeypatch.setattr(service, "editing", begun)
    monkeypatch.setattr(worker, "editing", begun)
    found = Assistant(lambda: Infiller(mender)).edit(request)
    assert applied(request.text, found.edits) == RIGHT
    assert sorted({one.block for one in found.edits}) == [0, 1, 2, 3, 4]
    daemon = worker.Worker(lambda: Infiller(mender))
    daemon.start()
    try:
        again = asyncio.run(daemon.edit(request))
    finally:
        daemon.close()
    assert (again.edits, again.reasons) == (found.edits, found.reasons)
    assert len(sizes) == 10
    assert max(sizes) < 2 * AROUND + 3000


def test_slips_in_a_very_large_text_are_mended() -> None:
    request = wrong("retrun total", "return total")
    assert by_rule(request).request.text == RIGHT
    [first, *_] = request.blocks
    alone = by_rule(EditRequest(request.text, "fix", (first,), language="python")).request
    assert alone.text == request.text.replace("retrun", "return", 1), "what is in no block stays"
    assert alone.blocks == (first,)
