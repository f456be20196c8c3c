"""The way back: what modernises is told from what changes a program by the damage that is trained on."""

import ast
import re
import sysconfig
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest

from infill.roundtrip import TRACES, UNSURE, is_dated, taken_back
from model.damage.kinds import KINDS
from model.damage.types import Block, damaged
from tests.model.damage.test_kinds import CASES, Case

PAIRS = {
    "none": ("if a == None:\n    f(a)\n", "if a is None:\n    f(a)\n"),
    "a literal": ("x = dict()\n", "x = {}\n"),
    "an f-string": ("x = 'a %s' % b\n", "x = f'a {b}'\n"),
    "a dict in an f-string": ("x = 'a %s' % ({1: b}[c],)\n", "x = f'a { {1: b}[c]}'\n"),
    "a comprehension": ("x = []\nfor y in b:\n    x.append(f(y))\n", "x = [f(y) for y in b]\n"),
    "a comprehension in a function": (
        "def g(b):\n    x = []\n    for a in b:\n        if a:\n            x.append(f(a))\n    return x\n",
        "def g(b):\n    x = [f(a) for a in b if a]\n    return x\n",
    ),
    "the cause": (
        "try:\n    f()\nexcept A as error:\n    raise B\n",
        "try:\n    f()\nexcept A as error:\n    raise B from error\n",
    ),
    "counting in a function": (
        "def g(b):\n    i = 0\n    for a in b:\n        f(i, a)\n        i += 1\n    h()\n",
        "def g(b):\n    for i, a in enumerate(b):\n        f(i, a)\n    h()\n",
    ),
    "a class": ("class A(object):\n    x = 1\n", "class A:\n    x = 1\n"),
    "a branch": (
        "if a:\n    f(1)\nelse:\n    if b:\n        f(2)\n    else:\n        f(3)\n",
        "if a:\n    f(1)\nelif b:\n    f(2)\nelse:\n    f(3)\n",
    ),
    "lines that go": ("def f(a):\n    if a:\n        return 1\n    else:\n        return 2\n",
                      "def f(a):\n    if a:\n        return 1\n    return 2\n"),
    "two places that belong together": (
        "i = 0\nfor a in b:\n    f(i, a)\n    g(a)\n    i += 1\nh()\n",
        "for i, a in enumerate(b):\n    f(i, a)\n    g(a)\nh()\n",
    ),
    "an annotation": ("def f(a: Optional[int]) -> None:\n    g(a)\n", "def f(a: int | None) -> None:\n    g(a)\n"),
}  # fmt: skip
OTHERS = {
    "another name": ("x = dict(a=b)\n", "x = {'a': c}\n"),
    "another type": ("def f(a: Optional[int]):\n    g(a)\n", "def f(a: str | None):\n    g(a)\n"),
    "the other way round": ("if a == None:\n    f(a)\n", "if a is not None:\n    f(a)\n"),
    "a line that is lost": ("def f(a):\n    log(a)\n    return a\n", "def f(a):\n    return a\n"),
    "a branch that is lost": ("if a:\n    f(1)\nelse:\n    f(2)\n", "if a:\n    f(1)\n"),
    "spaces that nobody writes": ("x = 'a %s' % b\n", "x = f'a { b}'\n"),
    "spaces at the end": ("x = 'a %r' % b\n", "x = f'a {b !r}'\n"),
    "no program": ("x = dict()\n", "x = {\n"),
    "an old idiom": ("x = {}\n", "x = dict()\n"),
    "nothing": ("x = dict()\n", ""),
    "a cause that nobody caught": (
        "try:\n    f()\nexcept A as error:\n    raise B\n", "try:\n    f()\nexcept A as error:\n    raise B from e\n",
    ),
    "a cause of itself": (
        "try:\n    f()\nexcept A as error:\n    raise error\n",
        "try:\n    f()\nexcept A as error:\n    raise error from error\n",
    ),
    "a generator that is awaited": ("x = all([await y.f() for y in b])\n", "x = all(await y.f() for y in b)\n"),
    "a generator that stops early": ("any([log(y) for y in b])\n", "any(log(y) for y in b)\n"),
    "a list gone over as a dict": (
        "for i in order:\n    v = order[i]\n    f(i, v)\n", "for i, v in order.items():\n    f(i, v)\n",
    ),
    "a list that grows": (
        "for i in range(len(xs)):\n    x = xs[i]\n    xs.append(x)\n", "for i, x in enumerate(xs):\n    xs.append(x)\n",
    ),
    "a column": ("y = t.filter(t.deleted == None)\n", "y = t.filter(t.deleted is None)\n"),
    "a mask": ("y = t[t.deleted == None]\n", "y = t[t.deleted is None]\n"),
    "pairs": ("x = dict(y, **z)\n", "x = {**y, **z}\n"),
    "alignment": ("x = '%-5s' % b\n", "x = f'{b:-5s}'\n"),
    "a number cut off": ("x = '%d' % b\n", "x = f'{b:d}'\n"),
    "a text's type": ("def g(y: Optional['A']):\n    h(y)\n", "def g(y: 'A' | None):\n    h(y)\n"),
    "a text's path": ("import Path\nx = os.path.exists(y)\n", "import Path\nx = y.exists()\n"),
    "a text's file": ("x = open(y).read()\n", "x = y.read_text()\n"),
    "a default that fails": ("d[1]\nx = d['a'] if 'a' in d else d['b']\n", "d[1]\nx = d.get('a', d['b'])\n"),
    "a count used afterwards": (
        "def g(b):\n    i = 0\n    for a in b:\n        f(i, a)\n        i += 1\n    return i\n",
        "def g(b):\n    for i, a in enumerate(b):\n        f(i, a)\n    return i\n",
    ),
    "a variable used afterwards": (
        "def g(b):\n    x = []\n    for a in b:\n        x.append(f(a))\n    return x, a\n",
        "def g(b):\n    x = [f(a) for a in b]\n    return x, a\n",
    ),
    "a class's names": (
        "class A:\n    k = 2\n    x = []\n    for y in b:\n        x.append(y * k)\n",
        "class A:\n    k = 2\n    x = [y * k for y in b]\n",
    ),
    "a suppression without its import": (
        "try:\n    f()\nexcept A:\n    pass\n", "with suppress(A):\n    f()\n",
    ),
    "a name of its own": (
        "class A:\n    def list(self):\n        return 1\n\n    def all(self) -> List[int]:\n        return 2\n",
        "class A:\n    def list(self):\n        return 1\n\n    def all(self) -> list[int]:\n        return 2\n",
    ),
    "a parameter that is added to": (
        "def f(a):\n    a = a + 1\n    return a\n", "def f(a):\n    a += 1\n    return a\n",
    ),
    "an array's truth": (
        "def f(s):\n    x = np.array(s.split())\n    if len(x) > 0:\n        return 1\n",
        "def f(s):\n    x = np.array(s.split())\n    if x:\n        return 1\n",
    ),
    "a list that becomes an array": (
        "def f():\n    x = []\n    x = np.array(x)\n    if len(x) > 0:\n        return 1\n",
        "def f():\n    x = []\n    x = np.array(x)\n    if x:\n        return 1\n",
    ),
    "a mask with a name": (
        "def f(x):\n    m = x.col == None\n    return x[m]\n", "def f(x):\n    m = x.col is None\n    return x[m]\n",
    ),
    "a list that is added to": (
        "def f(x):\n    for i in range(len(x)):\n        v = x[i]\n        x += [v]\n",
        "def f(x):\n    for i, v in enumerate(x):\n        x += [v]\n",
    ),
    "a dict that becomes another": (
        "def f(d):\n    for k in d.keys():\n        v = d[k]\n        d = g(d, v)\n",
        "def f(d):\n    for k, v in d.items():\n        d = g(d, v)\n",
    ),
    "an interruption that is undone": (
        "try:\n    a()\nexcept:\n    b()\n    raise\n", "try:\n    a()\nexcept Exception:\n    b()\n    raise\n",
    ),
    "a truth that is a number": (
        "def f(x):\n    if type(x) == int:\n        return 1\n",
        "def f(x):\n    if isinstance(x, int):\n        return 1\n",
    ),
    "super in a class that is made anew": (
        "@dataclass(slots=True)\nclass A(B):\n    def f(self):\n        super(A, self).f()\n",
        "@dataclass(slots=True)\nclass A(B):\n    def f(self):\n        super().f()\n",
    ),
    "a key that may come twice": ("x = dict(a=1, **b)\n", 'x = {"a": 1, **b}\n'),
    "a dict from elsewhere": ("from compat import dict\nx.y = dict()\n", "from compat import dict\nx.y = {}\n"),
    "a tokenizer": ('def f(tok):\n    return tok.encode("utf-8")\n', "def f(tok):\n    return tok.encode()\n"),
    "a tuple of values": ("def f(*a):\n    return 'v %s' % a\n", "def f(*a):\n    return f'v {a}'\n"),
    "a sum of numpy's": ("x = np.sum([i for i in y])\n", "x = np.sum(i for i in y)\n"),
    "a function as a type": (
        "def f(x: Optional[callable]) -> None:\n    pass\n", "def f(x: callable | None) -> None:\n    pass\n",
    ),
    "the value before the key": (
        "def f(b, c):\n    d = {}\n    for _ in c:\n        d[next(b)] = next(b)\n    return d\n",
        "def f(b, c):\n    d = {next(b): next(b) for _ in c}\n    return d\n",
    ),
    "quotes as in Python 3.12": ('x = "a %s" % d["k"]\n', 'x = f"a {d["k"]}"\n'),
    "a conversion that there is not": ('x = f"{repr(a)}"\n', 'x = f"{a!d}"\n'),
    "super in a comprehension": (
        "class A(B):\n    def f(self, b):\n        return {y: super(A, self).g(y) for y in b}\n",
        "class A(B):\n    def f(self, b):\n        return {y: super().g(y) for y in b}\n",
    ),
}  # fmt: skip
HEAD, TAIL = "import os\n\n\n", "\n\ndef last(a):\n    return os.sep + a\n"


@pytest.mark.parametrize("name", PAIRS)
def test_what_modernises_is_taken_back(name: str) -> None:
    old, new = PAIRS[name]
    assert taken_back("", old, new, "") == new
    assert taken_back(HEAD, old, new, TAIL) == new
    assert taken_back("# ä𝄞\n" + HEAD, old, new, TAIL) == new
    assert taken_back("\ufeff", old, new, TAIL) == new


@pytest.mark.parametrize("name", OTHERS)
def test_what_changes_a_program_is_not(name: str) -> None:
    old, new = OTHERS[name]
    assert taken_back(HEAD, old, new, TAIL) == old


def test_each_change_counts_alone() -> None:
    old, new = (f"{PAIRS['none'][i]}g()\n{OTHERS['another name'][i]}g()\n{PAIRS['a literal'][i]}" for i in (0, 1))
    kept = taken_back(HEAD, old, new, TAIL)
    assert kept == f"{PAIRS['none'][1]}g()\n{OTHERS['another name'][0]}g()\n{PAIRS['a literal'][1]}"
    assert taken_back(HEAD, old, old, TAIL) == old


@pytest.mark.parametrize(
    "case",
    [one for one in CASES if KINDS[one.kind].group == "modernise" and one.kind not in UNSURE],
    ids=lambda one: one.name,
)
def test_all_that_is_trained_on_stands_it(case: Case) -> None:
    """On the damage's own examples."""
    for seed in range(8):
        damage = KINDS[case.kind].apply(np.random.default_rng(seed), case.block)
        if damage is None:
            assert not case.expected
            return
        old = damaged(case.text, damage.edits)
        assert taken_back("", old, case.text, "") == case.text
        assert re.search(TRACES[case.kind], old, re.MULTILINE), "it would not be looked for"


def test_every_kind_leaves_a_trace_in_the_lines_it_changes() -> None:
    """In real code: what has no trace is not looked at."""
    seen = Counter[str]()
    kinds = {name: kind for name, kind in KINDS.items() if kind.group == "modernise"}
    assert kinds.keys() == TRACES.keys()
    rng = np.random.default_rng(1)
    for name in ("argparse", "ast", "tarfile", "typing", "statistics", "pathlib", "inspect"):
        text = (Path(sysconfig.get_path("stdlib")) / f"{name}.py").read_text("utf-8")
        for start, end in functions(text):
            block = Block(text, start, end)
            for one, kind in kinds.items():
                damage = kind.apply(rng, block)
                if damage is not None:
                    low, high = text.rfind("\n", 0, damage.edits[0][0]) + 1, text.find("\n", damage.edits[-1][1])
                    kept = len(text) - (high if high >= 0 else len(text))
                    worse = damaged(text, damage.edits)
                    assert re.search(TRACES[one], worse[low : len(worse) - kept], re.MULTILINE), (one, damage.edits)
                    seen[one] += 1
    assert len(seen) > 30
    assert seen.total() > 1000


def functions(text: str) -> Iterator[tuple[int, int]]:
    """Where the functions stand, whole lines."""
    starts = [0, *accumulate(len(line) for line in text.splitlines(keepends=True))]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef) and node.end_lineno is not None and node.end_lineno - node.lineno < 40:
            yield starts[node.lineno - 1], starts[node.end_lineno] - 1


def test_new_code_is_not_looked_at() -> None:
    assert is_dated("x = dict()\n")
    assert not is_dated("def f(a: int | None) -> dict[str, int]:\n    return {} if a is None else {'a': a}\n")
