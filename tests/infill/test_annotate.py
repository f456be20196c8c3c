"""Annotations: what is read off, what is asked of the model, and what of its answers is taken."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from infill.annotate import Annotator, evident, fits, known, parsed, places, repeated
from infill.edit import Edit, EditPrompt
from infill.engine import Infiller
from infill.judge import SIGNS, Calibration
from infill.minimal import spliced
from infill.types import Candidate, Infill, InfillOptions, Prompt

SOURCE = """from pathlib import Path
import typing as t


class Store:
    def __init__(self, root: Path, name="a", *, strict=False, found=None):
        self.root = root

    @staticmethod
    def make(root):
        yield Store(root)

    def exists(self, name):
        return (self.root / name).exists()

    def __len__(self):
        return 0

    def other(self, *names, **more):
        raise NotImplementedError
"""


@dataclass
class Model:
    """Fills holes with what it was told, in order; below the annotator."""

    answers: Sequence[tuple[str, float]]
    calibration: Calibration = field(default_factory=lambda: Calibration(chance=dict.fromkeys(SIGNS, 0.1)))
    asked: list[Prompt] = field(default_factory=list[Prompt])

    def clock(self) -> float:
        return float(len(self.asked))

    async def begin(self, prompt: Prompt, options: InfillOptions, *, should_stop: object = None) -> Infill:
        self.asked.append(prompt)
        text, chance = self.answers[len(self.asked) - 1]
        return Infill((candidate(text, chance),), 1, 2, {})


def candidate(text: str, chance: float) -> Candidate:
    return Candidate(text, 0.0, chance, "valid", 1, "canvas", chance)


def annotated(model: Model, text: str, task: str = "annotate", **more: Any) -> tuple[str, Edit]:
    work = Annotator(cast(Infiller, model)).begin(EditPrompt(text, 0, len(text), task, "python"), **more)
    with pytest.raises(StopIteration) as done:
        work.send(None)
    found: Edit = done.value.value
    return spliced(text, ((one.start, one.end, one.new) for one in found.changes)), found


def test_places_are_found_in_order() -> None:
    found = [(one.function.name, one.name) for one in places(SOURCE, parsed(SOURCE), 0, len(SOURCE))]
    assert found == [
        ("__init__", "name"), ("__init__", "strict"), ("__init__", "found"), ("__init__", ""), ("make", "root"),
        ("make", ""), ("exists", "name"), ("exists", ""), ("__len__", ""), ("other", ""),
    ]  # fmt: skip
    at = SOURCE.index("def exists")
    assert [one.name for one in places(SOURCE, parsed(SOURCE), at, at + 10)] == ["name", ""]
    assert list(places("def f(:\n", parsed("def f(:\n"), 0, 8)) == []


@pytest.mark.parametrize("text", ["\ufeffdef f(é, a=1):\n    pass\n", "x = 1\rdef f(é, a=1):  # b\r    pass\r"])
def test_lines_are_those_that_python_counts(text: str) -> None:
    found = [(one.name, text[: one.start][-3:]) for one in places(text, parsed(text), 0, len(text))]
    assert found == [("é", "f(é"), ("a", ", a"), ("", "=1)")]


def test_the_first_line_behind_a_byte_order_mark() -> None:
    text = "\ufeffdef f(é, a=''):\n    return é\n"
    new, found = annotated(Model([("int", 0.9), ("int", 0.9)]), text)
    assert new == "\ufeffdef f(é: int, a: str = '') -> int:\n    return é\n"
    assert all(one.start for one in found.changes)


def test_what_is_evident_is_not_asked() -> None:
    found = {(one.function.name, one.name): evident(one) for one in places(SOURCE, parsed(SOURCE), 0, len(SOURCE))}
    assert {key: value for key, value in found.items() if value is not None} == {
        ("__init__", "name"): "str", ("__init__", "strict"): "bool", ("__init__", ""): "None", ("__len__", ""): "int",
    }  # fmt: skip
    text = "def f(a=1) -> None:\n    print(a)\n"
    [number] = places(text, parsed(text), 0, 9)
    assert evident(number) is None, "1 may be meant as a float"


def test_what_is_likely_and_fits_is_made_and_seen_by_what_follows() -> None:
    text = "def f(a, b):\n    return a + b\n"
    model = Model([("int", 0.9), ("str", 0.3), ("int", 0.7)])
    new, found = annotated(model, text)
    assert new == "def f(a: int, b) -> int:\n    return a + b\n"
    assert [(one.prefix, one.suffix) for one in model.asked] == [
        ("def f(a: ", ", b):\n    return a + b\n"),
        ("def f(a: int, b: ", "):\n    return a + b\n"),
        ("def f(a: int, b) -> ", ":\n    return a + b\n"),
    ]
    assert all(one.gain == 0.7 for one in found.changes)
    assert annotated(Model([("x", 0.9), ("str, c: int", 0.9), ("None", 0.9)]), text)[1].changes == ()
    assert annotated(Model([]), new.replace("b)", "b: int)"))[1].reason == "right"


def test_spaces_around_the_sign_come_along() -> None:
    text = "def f(a=None, b = ''):\n    return a\n"
    new, _ = annotated(Model([("str | None", 0.9), ("int", 0.1)]), text)
    assert new == "def f(a: str | None = None, b: str = ''):\n    return a\n"
    windows = text.replace("\n", "\r\n")
    whole = new.replace("):", ") -> int:")
    assert annotated(Model([("str | None", 0.9), ("int", 0.9)]), windows)[0] == whole.replace("\n", "\r\n")


def test_what_the_same_name_has_everywhere_else_is_repeated() -> None:
    head = "def e(size: float) -> None:\n    print(size)\n\n\n"
    text = head + "def f(size: float) -> None:\n    print(size)\n\n\ndef g(size):\n    print(size)\n"
    model = Model([])
    assert "def g(size: float) -> None:" in annotated(model, text)[0]
    assert model.asked == []
    [place, _] = places(text, parsed(text), text.index("def g"), len(text))
    assert repeated(place, parsed(text)) == "float"
    assert repeated(place, parsed(text[len(head) :])) is None, "in one place alone it may be another thing"
    assert repeated(place, parsed(text + "\n\ndef h(size: int) -> None:\n    print(size)\n")) is None


def test_it_ends_in_time() -> None:
    text = "def f(a, b, c):\n    return a\n"
    model = Model([("int", 0.9)] * 9)
    new, found = annotated(model, text, budget_ms=1500.0)
    assert (new, found.reason) == ("def f(a: int, b: int, c):\n    return a\n", None)
    stopped = annotated(model, text, should_stop=lambda: True)[1]
    assert (stopped.changes, stopped.reason) == ((), "cancelled")


@pytest.mark.parametrize(
    ("head", "body", "annotation", "does"),
    [
        ("def f(a):", "return a", "int", True),
        ("def f(a):", "return a", "list[Path]", True),
        ("def f(a):", "return a", "t.Callable[[int], str]", True),
        ("def f(a):", "return a", "Pathh", False),
        ("def f(a):", "return a", "'str'", False),
        ("def f(a):", "return a", "0", False),
        ("def f(a):", "return a", "f(a)", False),
        ("def f(a):", "return a", "int, str", False),
        ("def f(a):", "return a", "a if a else int", False),
        ("def f(a=None):", "return a", "int", False),
        ("def f(a=None):", "return a", "int | None", True),
        ("def f(a=None):", "return a", "None", False),
        ("def f(a=1):", "return a", "str", False),
        ("def f(a=1):", "return a", "float", True),
        ("def f(a=1):", "return a", "str | int", True),
        ("def f(a=1):", "return a", "Path", True),
        ("def f(a=()):", "return a", "list[int]", False),
        ("def f(a=()):", "return a", "tuple[int, ...]", True),
        ("def f(a=[]):", "return a", "t.Sequence[int]", True),
        ("def f(a={}):", "return a", "dict[str, int] | None", True),
        ("def f(a):", "return a", "SIZE", False),
        ("def f(a):", "return a", "Alias", True),
    ],
)
def test_a_type_must_be_one_and_fit_the_default(head: str, body: str, annotation: str, *, does: bool) -> None:
    text = f"import typing as t\nfrom pathlib import Path\n\nSIZE = 1\nAlias = t.Any\n\n\n{head}\n    {body}\n"
    tree = parsed(text)
    assert fits(next(places(text, tree, 0, len(text))), annotation, known(tree)) is does


@pytest.mark.parametrize(
    ("body", "annotation", "does"),
    [
        ("return 1", "int", True), ("return 1", "None", False), ("return", "int", False), ("yield 1", "int", False),
        ("yield 1", "Iterator[int]", True), ("pass", "int", True), ("raise NotImplementedError", "None", True),
    ],
)  # fmt: skip
def test_what_is_returned_must_fit_the_body(body: str, annotation: str, *, does: bool) -> None:
    text = f"from typing import Iterator\n\n\ndef f():\n    {body}\n"
    tree = parsed(text)
    assert fits(next(places(text, tree, 0, len(text))), annotation, known(tree)) is does


@pytest.mark.parametrize(
    ("body", "annotation", "does"),
    [
        ("return a.strip()", "str", True),
        ("return a.strip()", "int", False),
        ("return a.strip()", "int | str", True),
        ("return a.parent", "str", False),
        ("return a.parent", "Path", True),
        ("return a[0]", "int", False),
        ("return a()", "str", False),
        ("return [b for b in a]", "int", False),
        ("with a:\n        return 1", "str", False),
        ("if a is None:\n        return 1\n    return 2", "Path", False),
        ("if a is None:\n        return 1\n    return 2", "Path | None", True),
        ("if a == 'x':\n        return 1\n    return 2", "bool", False),
        ("if a == 1:\n        return 1\n    return 2", "float", True),
        ("if isinstance(a, str):\n        return 1\n    return 2", "str", False),
        ("if isinstance(a, str):\n        return 1\n    return 2", "str | list[str]", True),
        ("return lambda a: a()", "str", True),
    ],
)
def test_what_is_done_with_a_parameter_must_be_possible(body: str, annotation: str, *, does: bool) -> None:
    text = f"from pathlib import Path\n\n\ndef f(a):\n    {body}\n"
    tree = parsed(text)
    assert fits(next(places(text, tree, 0, len(text))), annotation, known(tree)) is does


@pytest.mark.parametrize(
    ("body", "annotation", "does"),
    [
        ("return 'a' if b else f'{b}'", "str", True),
        ("return 'a' if b else 1", "str", False),
        ("return 'a' % b", "int", False),
        ("return [1]", "list[int]", True),
        ("return [1]", "Iterable[int]", True),
        ("return 1", "float", True),
        ("return not b", "int", True),
        ("if b:\n        return 1", "int", False),
        ("if b:\n        return 1", "int | None", True),
        ("if b:\n        return 1\n    return None", "Iterable[int]", False),
        ("if b:\n        return 1\n    raise b", "int", True),
        ("if b:\n        return 1\n    else:\n        return 2", "int", True),
        ("while True:\n        if b:\n            return 1", "int", True),
        ("while True:\n        if b:\n            break\n        return 1", "int", False),
        ("try:\n        return 1\n    except OSError:\n        pass", "int", False),
        ("try:\n        return 1\n    except OSError:\n        raise b", "int", True),
        ("with b:\n        return 1", "int", True),
        ("match b:\n        case 1:\n            return 1\n        case _:\n            return 2", "int", True),
        ("match b:\n        case 1:\n            return 1\n        case 2:\n            return 2", "int", False),
        ("if b:\n        return 1\n    sys.exit(2)", "int", True),
    ],
)
def test_every_way_out_of_a_function_must_fit(body: str, annotation: str, *, does: bool) -> None:
    text = f"import sys\nfrom typing import Iterable\n\n\ndef f(*b):\n    {body}\n"
    tree = parsed(text)
    assert fits(next(places(text, tree, 0, len(text))), annotation, known(tree)) is does


def test_what_yields_in_a_coroutine_is_asynchronous() -> None:
    text = "from typing import AsyncIterator, Iterator\n\n\nasync def f():\n    yield 1\n"
    tree = parsed(text)
    place = next(places(text, tree, 0, len(text)))
    assert fits(place, "AsyncIterator[int]", known(tree))
    assert not fits(place, "Iterator[int]", known(tree))


LATE = """from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from pathlib import Path
T = TypeVar("T")


class Node:
    def add(self, node):
        return node


def last(node):
    return node
"""


@pytest.mark.parametrize(
    ("name", "annotation", "written"),
    [
        ("add", "Node", '"Node"'),
        ("last", "Node", "Node"),
        ("last", "Path", '"Path"'),
        ("last", "list[Path] | None", '"list[Path] | None"'),
        ("last", "T", None),
    ],
)
def test_a_name_that_is_not_bound_yet_stands_in_quotes(name: str, annotation: str, written: str | None) -> None:
    model = Model([(annotation, 0.9)] * 4)
    start = LATE.index(f"def {name}")
    end = LATE.find("\n\n", start) + 1 or len(LATE)
    work = Annotator(cast(Infiller, model)).begin(EditPrompt(LATE, start, end, "annotate", "python"))
    with pytest.raises(StopIteration) as done:
        work.send(None)
    text = spliced(LATE, ((one.start, one.end, one.new) for one in done.value.value.changes))
    assert (f"node: {written}) -> {written}:" in text) is bool(written)
    exec(compile(text, "<annotated>", "exec"), {})
    late = "from __future__ import annotations\n" + LATE
    assert {"Node", "Path"} <= known(parsed(late), next(places(late, parsed(late), 0, len(late))).function)


@pytest.mark.parametrize(
    ("head", "does"),
    [
        ("@app.get('/')", False),
        ("@app.command", False),
        ("@singledispatch", False),
        ("@functools.singledispatch", False),
        ("@functools.cache", True),
        ("@cache", True),
        ("@functools.lru_cache(maxsize=1)", True),
        ("@a.setter", True),
    ],
)
def test_what_may_be_read_is_not_annotated(head: str, *, does: bool) -> None:
    text = f"import functools\nfrom app import app, cache, singledispatch\n\n\n{head}\ndef f(a):\n    return a\n"
    assert any(places(text, parsed(text), 0, len(text))) is does


def test_types_in_comments_are_types() -> None:
    for text in (
        "def f(a):\n    # type: (int) -> int\n    return a\n",
        "def f(\n    a,  # type: int\n):\n    return a\n",
    ):
        assert not any(places(text, parsed(text), 0, len(text)))
    text = "def f(a):  # type: ignore\n    return a\n"
    assert any(places(text, parsed(text), 0, len(text)))


def test_what_is_overridden_is_not_said_to_give_nothing() -> None:
    text = "class A:\n    def f(self):\n        self.a = 1\n\n\nclass B(A):\n    def f(self):\n        return 1\n"
    found, _ = annotated(Model([("int", 0.9)]), text)
    assert found == text.replace("def f(self):\n        return", "def f(self) -> int:\n        return")


@pytest.mark.parametrize(
    ("text", "new"),
    [
        ("def f(): return 1\n", "def f() -> int: return 1\n"),
        ("def f(a: int, b: int = (1)): return a\n", "def f(a: int, b: int = (1)) -> int: return a\n"),
        (
            "def f(\n    a: int,  # (x):\n    /,\n):  # (y):\n    # (z):\n    return a\n",
            "def f(\n    a: int,  # (x):\n    /,\n) -> int:  # (y):\n    # (z):\n    return a\n",
        ),
        ("@g(1)\nasync def f(*a, **b): return 1\n", "@g(1)\nasync def f(*a, **b) -> int: return 1\n"),
        ("def f(a: int = {(1, 2): 3}[1, 2]): return a\n", "def f(a: int = {(1, 2): 3}[1, 2]) -> int: return a\n"),
    ],
)
def test_what_is_returned_stands_behind_the_parameters(text: str, new: str) -> None:
    assert annotated(Model([("int", 0.9)]), text)[0] == new


def test_a_kind_is_what_is_done() -> None:
    text = "def f(a):\n    return a\n"
    for task, new in (
        ("missing-parameter-annotation", "def f(a: int):"),
        ("missing-return-annotation", "def f(a) -> int:"),
        ("missing-annotations", "def f(a: int) -> int:"),
    ):
        assert annotated(Model([("int", 0.9)] * 2), text, task)[0].startswith(new)


def test_what_is_something_else_in_the_class_is_no_type_there() -> None:
    text = "class A:\n    int = 1\n\n    def list(self):\n        return B\n\n    def f(self, a):\n        return B\n"
    new, _ = annotated(Model([("list[str]", 0.9), ("int", 0.9), ("str", 0.9)]), text)
    assert new == text.replace("(self, a):", "(self, a) -> str:")
