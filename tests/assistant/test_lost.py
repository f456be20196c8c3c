"""Words lost from statements: put back where what is left does nothing, and nowhere else."""

import ast
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from assistant.bindings import program
from assistant.lost import restored
from assistant.rules import by_rule
from assistant.stale import renamed
from assistant.types import EditRequest

ROOT = Path(__file__).resolve().parents[2]
RESTORED = {
    "a sum that nobody takes": ("def f(a, b):\n    «»a + b\n", "return "),
    "a value at the end of a branch": (
        "def f(a) -> int:\n    if a:\n        «»a[0]\n    else:\n        return 2\n", "return ",
    ),
    "a name, where values are returned": ("def f(a):\n    if not a:\n        return 0\n    «»a\n", "return "),
    "an exception": ("def f(a):\n    if not a:\n        «»ValueError('a')\n    return a\n", "raise "),
    "one of the project's": ("def f(a):\n    if not a:\n        «»errors.HoneError(a)\n    return a\n", "raise "),
    "the one that was caught": (
        "def f():\n    try:\n        g()\n    except OSError as error:\n        print(1)\n        «»error\n", "raise ",
    ),
    "a method that is not called": ("def f(a):\n    a.close«»\n    return a.x\n\n\ndef g(b):\n    b.close()\n", "()"),
    "one of several yields": ("def f(a):\n    yield 1\n    «»a\n", "yield "),
    "a context manager": ("@contextmanager\ndef f(a):\n    a.begin()\n    «»a\n    a.end()\n", "yield "),
    "a coroutine": (
        "class A:\n    async def f(self):\n        «»self.g()\n\n    async def g(self):\n        pass\n", "await ",
    ),
    "sleep": ("async def f():\n    «»asyncio.sleep(1)\n", "await "),
    "an f-string": ("def f(name):\n    print(«»'hello {name}')\n", "f"),
    "with a field that is shown": ("def f(self):\n    raise ValueError(«»'no {self.name!r}')\n", "f"),
    "behind longer characters": ("def f(name):\n    return 'ä𝄞', «»'{name}'\n", "f"),
    "a default": ("def f(a=«»):\n    if a is None:\n        a = []\n    return a\n", None),
}  # fmt: skip
LEFT_ALONE = {
    "documentation": "def f():\n    '''It {f}.'''\n    'x'\n    ...\n",
    "a call": "def f(a):\n    a.append(1)\n    print(a)\n",
    "in try": "def f(a):\n    try:\n        a.b\n    except AttributeError:\n        return 1\n    return 2\n",
    "what is expected to fail": "def f(a):\n    with pytest.raises(KeyError):\n        a['b']\n",
    "a failure": "def f():\n    1 / 0\n",
    "a test": "def test_f(a):\n    a['b']\n    ValueError(a)\n",
    "an attribute that is looked up": "def f(self):\n    self.loaded\n",
    "in a loop": "def f(a):\n    for b in a:\n        b + 1\n",
    "that goes on": "def f(a):\n    a + 1\n    g(a)\n",
    "that returns nothing": "def f(a) -> None:\n    a + 1\n",
    "out of functions": "x = 1\nx + 1\nValueError(x)\n",
    "a coroutine that is kept": "async def f():\n    pass\n\n\nasync def g():\n    x = f()\n    h(f())\n    return x\n",
    "a method that is a coroutine only in another class": (
        "class A:\n    async def g(self):\n        pass\n\n\nclass B:\n    def g(self):\n        pass\n\n"
        "    async def f(self):\n        self.g()\n"
    ),
    "filled in": "def f(name):\n    return '{name}'.format(name=name)\n",
    "filled in later": "def f(name):\n    text = '{name}'\n    return text.format(name=name)\n",
    "filled in by what it is given to": "def f(name):\n    raise E('{name}', {'name': name})\n",
    "a path": "def f(item):\n    app.route('/{item}')\n",
    "of something else": "def f(name):\n    return '{other}'\n",
    "braces of its own": "def f(name):\n    return '{{name}} {name}', '{name} {'\n",
    "true for both": "x is None or x is True or x is ...\n",
    "a method that shows an error": "def f(self):\n    self.ReportError('no')\n    log.ShowError(1)\n    return 1\n",
    "a fixture that chooses": "@fixture(scope='session')\ndef f(a):\n    a() or skip('none')\n",
    "a pipeline": "def f(first, second):\n    first >> second\n",
    "a loop that acts": "def f(files):\n    [one.close() for one in files]\n",
    "a comparison that is recorded": "def f(q, column):\n    with q.where():\n        column == 3\n",
    "an item that is looked up": "def f(config):\n    config['key']\n",
    "filled in by its keywords": "def f(name):\n    return t('Hello {name}', name=name)\n",
    "a format for ticks": "def f(scatter):\n    x = scatter.x\n    h = scatter.legend(fmt='{x:g}')\n    return h\n",
    "of a shell": "def f(home):\n    return run('echo ${home} > x')\n",
    "a coroutine of another class": (
        "class A:\n    async def close(self):\n        pass\n\n\n"
        "class B(Base):\n    async def stop(self):\n        self.close()\n"
    ),
    "a default that is refused": "def f(a=[]):\n    if a is None:\n        raise ValueError\n    return len(a)\n",
    "a default that is told from None": "def f(a=[]):\n    return [] if a is not None else 0\n",
    "a default that is taken": "def f(a=[]):\n    return a\n",
}  # fmt: skip


def whole(text: str) -> str:
    for one in reversed(restored(text, [(0, len(text))])):
        text = one.of(text)
    return text


@pytest.mark.parametrize("name", RESTORED)
def test_what_was_lost(name: str) -> None:
    text, word = RESTORED[name]
    wrong, right = text.replace("«»", "" if word else "[]"), text.replace("«»", word or "None")
    assert whole(wrong) == right
    assert whole(right) == right
    assert by_rule(EditRequest(wrong, "fix", ((0, len(wrong)),), language="python")).request.text == right


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("x is 1\n", "x == 1\n"),
        ("if x is not 'a':\n    pass\n", "if x != 'a':\n    pass\n"),
        ("if 'is' is x is  not ():\n    pass\n", "if 'is' == x != ():\n    pass\n"),
    ],
)
def test_values_are_compared_by_what_they_are(wrong: str, right: str) -> None:
    assert whole(wrong) == right


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_what_may_be_meant_as_it_stands(name: str) -> None:
    assert whole(LEFT_ALONE[name]) == LEFT_ALONE[name]


def test_only_inside_of_the_blocks() -> None:
    text = "def f(a):\n    a + 1\n\n\ndef g(a):\n    a + 2\n"
    [one] = restored(text, [(text.index("def g"), len(text))])
    assert one.of(text) == text.replace("a + 2", "return a + 2")


def test_right_programs_are_left_alone() -> None:
    found = [
        importlib.util.find_spec(name) for name in ("argparse", "asyncio.streams", "http.client", "string", "typing")
    ]
    files = [*ROOT.glob("*/*.py"), *(Path(one.origin) for one in found if one is not None and one.origin)]
    assert len(files) > 100
    wrong = [file for file in files if restored(text := file.read_text(encoding="utf-8"), [(0, len(text))])]
    assert wrong == []


LARGE = "".join(f"def f{number}(a, b):\n    a + b\n\n\n" for number in range(2000))


def test_of_a_large_file_only_the_functions_that_hold_the_blocks_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is parsed, once; what its other functions hold costs nothing, and changes nothing."""
    text = f"@print(\n    1)\n{LARGE}class A:\n    def f(self):\n        self.row\n"
    assert program(text) is not None
    walked, each = [], ast.iter_child_nodes

    def counted(node: ast.AST) -> Iterator[ast.AST]:
        walked.append(node)
        return each(node)

    start = text.index("def f1000(")
    block = (start, text.index("def f1001("))
    with monkeypatch.context() as patch:
        patch.setattr(ast, "iter_child_nodes", counted)
        found = [one for find in (restored, renamed) for one in find(text, [block])]
    assert [(one.start, one.text) for one in found] == [(text.index("a + b", start), "return ")]
    assert len(walked) < 500
    everywhere = restored(text, [(0, len(text))])
    spans = [(text.index(f"def f{number}("), text.index(f"def f{number}(") + 30) for number in (0, 7, 1999)]
    by_block = [one for span in spans for one in restored(text, [span])]
    assert by_block == [one for one in everywhere if any(low <= one.start <= high for low, high in spans)]
    assert restored(text, spans) == by_block
    assert restored(text, [(1, 20)]) == [], "a block in a decorator"
