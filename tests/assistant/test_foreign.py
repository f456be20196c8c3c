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
    "constants": ("def f(a=null):\n    return true\n", "def f(a=None):\n    return True\n"),
}  # fmt: skip
LEFT = {
    "a conflict": "a = 1\n<<<<<<< HEAD\nb = 2\n=======\nb = 3\n>>>>>>> topic\n",
    "a statement that is half written": "def f(a):\n    result =\n    return a\n",
    "an attribute that is half written": "def f(a):\n    a.\n    return a\n",
    "a tab that may stand in two places": "class A:\n    def f(self):\n        a = 1\n\tb = 2\n",
    "print that goes on": 'print "a",\n',
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


@pytest.mark.parametrize("name", LEFT)
def test_what_is_not_clear_is_left_alone(name: str) -> None:
    assert fixed(LEFT[name]) == LEFT[name]


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
