"""Well-kept tools beside a model's edits: what they do to a block, and to nothing else."""

import pytest

from infill import codemods
from infill.codemods import RULES, edits, inside, tools
from infill.edit import Change, EditCalibration
from infill.repairs import Answer, Repair, agreement, ruled, ways_of
from model.damage.kinds import KINDS
from tests.mender import Mender

WRONG = "import os\n\n\ndef f(a):\n    if a == None:\n        return 1\n\n\ndef g(b):\n    return b == None\n"
BLOCK = (WRONG.index("def f"), WRONG.index("\n\n\ndef g"))
RIGHT = WRONG.replace("if a == None", "if a is None")


def test_every_kind_is_one() -> None:
    assert set(RULES) <= set(KINDS)
    assert {KINDS[kind].group for kind in RULES} == {"modernise"}


def test_only_what_is_inside_of_the_block() -> None:
    new = WRONG.replace("== None", "is None").replace("import os\n", "")
    assert inside(WRONG, new, *BLOCK) == RIGHT
    assert inside(WRONG, WRONG, *BLOCK) == WRONG
    assert edits(WRONG, RIGHT) == [(WRONG.index("== None"), WRONG.index("== None") + 2, "is")]


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("equals-none", WRONG, WRONG.replace("== None", "is None")),
        ("old-super", "class A(B):\n    def f(self):\n        super(A, self).f()\n", None),
        ("equals-none", "def f(:\n", "def f(:\n"),
    ],
)
def test_ruff_fixes_a_kind(kind: str, text: str, expected: str | None) -> None:
    found = codemods.ruff(text, kind)
    assert found == (text.replace("super(A, self)", "super()") if expected is None else expected)


def test_pyupgrade() -> None:
    assert codemods.pyupgrade("class A(object):\n    pass\n", "object-base") == "class A:\n    pass\n"
    assert codemods.pyupgrade("def f(:\n", "object-base") == "def f(:\n"


def test_agreement_counts_tools_and_the_model() -> None:
    wrong = Repair("modernise", "equals-none", "p", WRONG, *BLOCK, RIGHT)
    right = Repair("modernise", "equals-none", "p", RIGHT, *BLOCK, RIGHT)
    at = WRONG.index("==")
    mended = Answer(wrong, (Change(at, at + 2, "is", 9.0),), 1.0, 1, 10, 0.9)
    row = agreement([wrong, right], [mended], EditCalibration())["equals-none"]
    assert row["blocks"] == 1
    assert row["ruff"] == {"exact": 1.0, "changed": 1.0, "agrees": 1.0}
    assert row["canvas"] == {"exact": 1.0}
    alone = agreement([wrong], [Answer(wrong, (), 1.0, 1, 10, 0.1)], EditCalibration())["equals-none"]
    assert (alone["ruff"]["agrees"], alone["canvas"]["exact"]) == (0.0, 0.0)
    assert "canvas" not in agreement([wrong], [], EditCalibration())["equals-none"]
    assert set(tools()) >= {"ruff"}


def test_rules_are_a_way_of_their_own() -> None:
    text = "def f(a)\n    return a\n"
    repair = Repair("fix", "missing-colon", "p", text, 0, len(text), "def f(a):\n    return a\n")
    found = ruled(lambda text, start, end, _: text[start:end].replace("(a)", "(a):"), repair)
    assert found is not None
    assert found.text(20.0) == repair.right
    left = ruled(lambda text, start, end, task: text if task == "fix" else None, repair)
    assert left is not None
    assert left.changes == ()
    assert ruled(lambda *_: None, repair) is None


def test_without_a_model_that_edits_rules_alone_are_asked() -> None:
    from infill.edit import Editor
    from infill.evaluate import EvalOptions

    unable, able = Editor(Mender({}, inserts=0)), Editor(Mender({}))
    assert list(ways_of(unable, EvalOptions(), lambda text, *_: text)) == ["rules"]
    assert list(ways_of(unable, EvalOptions(), None)) == []
    assert list(ways_of(able, EvalOptions(steps=(1, 4)), None)) == [
        "canvas", "canvas, 1 steps", "canvas, 4 steps", "causal",
    ]  # fmt: skip
    assert list(ways_of(able, EvalOptions(calibrate=True), lambda text, *_: text)) == ["canvas"]
