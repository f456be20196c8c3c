"""What other languages, Python 2, editors and tools leave in Python's text."""

import pytest

from assistant.foreign import translated
from assistant.rules import by_rule
from assistant.types import EditRequest
from infill.program import compiles

MENDED = {
    "and": ("if a && b && c:\n    f()\n", "if a and b and c:\n    f()\n"),
    "or, and not": ('if a || !b("||"):\n    f()\n', 'if a or not b("||"):\n    f()\n'),
    "else if": ("if a:\n    f()\nelse if b:\n    g()\n", "if a:\n    f()\nelif b:\n    g()\n"),
    "then": ("if a then:  # so\n    f()\n", "if a:  # so\n    f()\n"),
    "comparisons": (
        "if a =! 1:\n    f()\nif a => 1:\n    f()\nif a <> 1:\n    f()\n",
        "if a != 1:\n    f()\nif a >= 1:\n    f()\nif a != 1:\n    f()\n",
    ),
    "counting": ("a = 1\na.b++\na--;\n", "a = 1\na.b += 1\na -= 1\n"),
    "an arrow": ("def f() - > int:\n    return 1\n", "def f() -> int:\n    return 1\n"),
    "print": (
        'print "a, b", 1  # two\nprint "%s" % x\n',
        'print("a, b", 1)  # two\nprint("%s" % x)\n',
    ),
    "an empty line": (
        "def f(a):\n    print a\n    print\nprint\n",
        "def f(a):\n    print(a)\n    print()\nprint()\n",
    ),
    "except and raise": (
        'try:\n    f()\nexcept (A, b.C), e:\n    raise D, "x, y"\n',
        'try:\n    f()\nexcept (A, b.C) as e:\n    raise D("x, y")\n',
    ),
    "raise": ("raise A, f(b)\n", "raise A(f(b))\n"),
    "repr": ("x = `a + b`\n", "x = repr(a + b)\n"),
    "an octal number": ("os.chmod(a, 0755)\n", "os.chmod(a, 0o755)\n"),
    "quotes and spaces of a text processor": ("x = {“a”: 1}\ny\u00a0= 2\n", 'x = {"a": 1}\ny = 2\n'),
    "a key that is assigned to": ('x = {\n    "a"= 1,\n    "b" = 2,\n}\n', 'x = {\n    "a": 1,\n    "b": 2,\n}\n'),
    "a plus of a patch": (
        "def f():\n    a = 1\n+    b = 2\n    return a, b\n",
        "def f():\n    a = 1\n    b = 2\n    return a, b\n",
    ),
    "a marker that was forgotten": ("a = 1\n>>>>>>> topic\nb = 2\n", "a = 1\nb = 2\n"),
    "a head that was pasted twice": ("if a:\nif a:\n    f()\n", "if a:\n    f()\n"),
    "a brace at the end": ('x = f"{a} of {b.c(1)"\n', 'x = f"{a} of {b.c(1)}"\n'),
    "a brace in the middle": ('x = f"{a of {b}"\n', 'x = f"{a} of {b}"\n'),
    "a brace that opens": ('x = f"{a} of b.c}"\n', 'x = f"{a} of {b.c}"\n'),
    "documentation": ('def f():\n    """One.\n    return 1\n', 'def f():\n    """One."""\n    return 1\n'),
    "documentation that is half closed": (
        'def f():\n    """One.""\n    return 1\n\n\ndef g():\n    """Two."""\n',
        'def f():\n    """One."""\n    return 1\n\n\ndef g():\n    """Two."""\n',
    ),
    "a tab": ("def f():\n    if a:\n\tg()\n    return 1\n", "def f():\n    if a:\n        g()\n    return 1\n"),
    "CR LF": ('if a && b:\r\n    print "x"\r\n', 'if a and b:\r\n    print("x")\r\n'),
    "functions": (
        "function f(a):\n    throw new E(a)\nfunc g():\n    pass\n",
        "def f(a):\n    raise E(a)\ndef g():\n    pass\n",
    ),
    "braces": (
        "if (a > 1) {\n    f()\n} else {\n    g()\n}\ntry:\n    f()\ncatch OSError as error:\n    g()\n",
        "if (a > 1):\n    f()\nelse:\n    g()\ntry:\n    f()\nexcept OSError as error:\n    g()\n",
    ),
    "declarations": ("const a = 1;\nlet b = new C.D(2);\n", "a = 1;\nb = C.D(2);\n"),
    "arrows": (
        "f = (x, y) => x + y\ng = map(x => x * 2, y)\nh = () => 1\nif f => 1:\n    f()\n",
        "f = lambda x, y: x + y\ng = map(lambda x: x * 2, y)\nh = lambda: 1\nif f >= 1:\n    f()\n",
    ),
    "a lambda without its colon": ("f = lambda a, b (a, b)\n", "f = lambda a, b: (a, b)\n"),
    "a colon before what is done": ("def f(a) return a\nif f: pass\n", "def f(a): return a\nif f: pass\n"),
    "a walrus that is torn": ("if (a : = f()) > 1:\n    g()\n", "if (a := f()) > 1:\n    g()\n"),
    "a question": ("def f(x):\n    return x >= 0 ? x : -x;\n", "def f(x):\n    return x if x >= 0 else -x\n"),
    "identity": ("if a === b or a !== c:\n    f()\n", "if a == b or a != c:\n    f()\n"),
    "a comment": (
        'x = a // b  // the "half"\n// and next\ny = 1\n',
        'x = a // b  # the "half"\n# and next\ny = 1\n',
    ),
    "an apostrophe": ("assert a, 'isn't it'\n", 'assert a, "isn\'t it"\n'),
    "a brace behind a conversion": ('x = f"of {b!r"\n', 'x = f"of {b!r}"\n'),
    "long numbers": ("a = 10L + 0xFFL\n", "a = 10 + 0xFF\n"),
    "exec in": ("exec a in b, c\n", "exec(a, b, c)\n"),
    "constants": ("def f(a=null):\n    return true\n", "def f(a=None):\n    return True\n"),
}  # fmt: skip
LEFT = {
    "a conflict": "a = 1\n<<<<<<< HEAD\nb = 2\n=======\nb = 3\n>>>>>>> topic\n",
    "a statement that is half written": "def f(a):\n    result =\n    return a\n",
    "an attribute that is half written": "def f(a):\n    a.\n    return a\n",
    "a tab that may stand in two places": "class A:\n    def f(self):\n        a = 1\n\tb = 2\n",
    "print that goes on": 'print "a",\n',
    "two exceptions, as in Python 3.14": "try:\n    f()\nexcept ValueError, TypeError:\n    pass\n",
    "what no name may have in it": "€ = 2\n",
    "an array of a shell": "$a = 2\nb = $a ? 1\n",
    "a name of one's own": "true = 1\nnull = true\n",
    "what a string says": 'x = "a && b" if c else "print x"\n',
}


def fixed(text: str) -> str:
    return by_rule(EditRequest(text, "fix", ((0, len(text)),), language="python")).request.text


@pytest.mark.parametrize("name", MENDED)
def test_it_is_said_as_python_says_it(name: str) -> None:
    text, wanted = MENDED[name]
    assert fixed(text) == wanted
    assert fixed(wanted) == wanted


COLONS = """class A(B):  # of B
    def f(self, a):
        if a:
            for b in a:\t
                g(b)
        else:  # none
            h()

    def i(self) -> int:
        try:
            with j() as k:
                return k
        except L as error:
            while error:
                pass
        finally:
            g()
"""


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_all_colons_of_a_class_are_put_back(end: str) -> None:
    right = COLONS.replace("\n", end)
    assert fixed(right.replace(":", "")) == right


@pytest.mark.parametrize("name", LEFT)
def test_what_is_not_clear_is_left_alone(name: str) -> None:
    assert fixed(LEFT[name]) == LEFT[name]


SLIPPED = {
    "a closer on its own line": (
        "x = {\n    'a': 1,\n    'b': 2,\ny = 1\n",
        "x = {\n    'a': 1,\n    'b': 2,\n}\ny = 1\n",
    ),
    "the closer of an inner one": (
        "def f():\n    x = g(\n        1,\n        2,\n    return x\n",
        "def f():\n    x = g(\n        1,\n        2,\n    )\n    return x\n",
    ),
    "a quote that opens": ('x = {"name": shop", "b": 1}\n', 'x = {"name": "shop", "b": 1}\n'),
    "two statements": (
        "def f(self, a, b):\n    self.a = a        self.b = b\n    return a\n",
        "def f(self, a, b):\n    self.a = a\n    self.b = b\n    return a\n",
    ),
    "a loop behind a statement": (
        "def f(a):\n    b = [] for c in a:\n        b = c\n    c = b return c\n",
        "def f(a):\n    b = []\n    for c in a:\n        b = c\n    c = b\n    return c\n",
    ),
    "a decorator": (
        "class A:\n    @staticmethod def f(a):\n        return a\n",
        "class A:\n    @staticmethod\n    def f(a):\n        return a\n",
    ),
    "in": ("x = [a for a, b c if b]\n", "x = [a for a, b in c if b]\n"),
    "a statement of one word": ("class E(Exception):\n    psas\n", "class E(Exception):\n    pass\n"),
}
KEPT = {
    "a bracket between two words": "def f[T(a):\n    return a\n",
    "half a comma": "def f(self):\n    for a in self,lines:\n        self.lines = a\n",
    "Python 2's own names": "def f(char, searcher_string):\n    return unichr(1), basestring, raw_input()\n",
    "a choice": "class A:\n    def f(self, a):\n        self.g(a) if a else self.h(a)\n",
    "a condition": "class A:\n    def f(self):\n        self.a and self.h(1)\n",
}


@pytest.mark.parametrize("name", SLIPPED)
def test_it_is_put_where_a_person_puts_it(name: str) -> None:
    text, wanted = SLIPPED[name]
    assert fixed(text) == wanted
    assert fixed(wanted) == wanted
    assert fixed(text.replace("\n", "\r\n")) == wanted.replace("\n", "\r\n")


@pytest.mark.parametrize("name", KEPT)
def test_no_other_program_is_made(name: str) -> None:
    assert fixed(KEPT[name]) == KEPT[name]


def test_nothing_is_done_outside_of_the_blocks() -> None:
    text = "if a && b:\n    f()\nif a && b:\n    f()\n"
    assert translated(text, ((text.rindex("if"), len(text)),)) is None
    assert translated(text, ()) is None
    assert not compiles(text)


def test_what_is_left_of_a_guess_is_no_old_name() -> None:
    text = "def main(argv):\n    return (result)\n"
    assert fixed(text) == "def main(argv):\n    return (argv)\n"
    broken = text.replace("(result)", "(result))")
    assert fixed(broken) == text
