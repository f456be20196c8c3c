"""After a rename or a changed signature, are the right places proposed? On the standard library, against CPython.

Renames: a name of a real file is changed where it is first bound, and everything that is proposed is compared with what
CPython's own symbol tables say is the same name. Every proposal is accepted in turn, as an editor does it, and the next
one asked for. Signatures: a parameter is taken out of a function and of its calls, then put back into the function
alone: what is proposed for each call is compared with what stood there. Or it is taken out of the function alone, and
the calls must lose just that argument. No model takes part. Ends with one line of JSON.
"""

import argparse
import ast
import json
import random
import re
import symtable
import sys
import sysconfig
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from assistant.config import Settings
from assistant.nextedit import Proposal, proposals
from assistant.service import Assistant, open_infiller
from assistant.types import CompletionRequest


@dataclass(frozen=True)
class Edited:
    """``lsp.history.Span``."""

    start: int
    end: int
    old: str
    serial: int


FRESH = "renamed_here"


def main(argv: Sequence[str] | None = None) -> int:
    options = parse(argv)
    assistant = Assistant(lambda: open_infiller(Settings(model=options.model))) if options.ask else None
    dice = random.Random(options.seed)
    sources = list(files(options.files, dice))
    tallies: dict[str, Tally] = defaultdict(Tally)
    for path, text in sources:
        for case in dice.sample(found := list(renames(text)), min(options.cases, len(found))):
            tally(tallies[f"rename {case.kind}"], case, text, options.verbose and path)
        for kind, cases in (("removed", removals(text)), ("added", additions(text))):
            for change in dice.sample(list(cases), min(options.cases, len(cases))):
                tally_change(tallies[f"parameter {kind}"], change, options.verbose and path)
                if assistant is not None and kind == "added":
                    tally_model(tallies, change, assistant)
    Console(width=None if sys.stdout.isatty() else 140).print(table(tallies))
    rows = {name: one.as_object() for name, one in sorted(tallies.items())}
    print(json.dumps({"benchmark": "next_edit", "files": len(sources), "seed": options.seed, "rows": rows}))
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--files", type=int, default=120)
    parser.add_argument("--cases", type=int, default=12, help="of each kind and file")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ask", action="store_true", help="ask the model, too, what an added argument is")
    parser.add_argument("--model", type=Path, help="a checkpoint (the embedded model)")
    parser.add_argument("--verbose", action="store_true", help="say where something is wrong")
    return parser.parse_args(argv)


def files(count: int, dice: random.Random) -> Iterator[tuple[str, str]]:
    folder = Path(sysconfig.get_paths()["stdlib"])
    paths = [
        path
        for path in sorted(folder.rglob("*.py"))
        if not {"test", "tests", "site-packages", "lib2to3"} & set(path.parts)
    ]
    dice.shuffle(paths)
    for path in paths:
        text = path.read_bytes().decode("utf-8", "replace")
        if count > 0 and 1000 < len(text) < 60_000 and "\ufffd" not in text and "\r" not in text:
            try:
                compile(text, str(path), "exec", dont_inherit=True)
            except (SyntaxError, ValueError):
                continue
            count -= 1
            yield path.relative_to(folder).as_posix(), text


@dataclass
class Tally:
    cases: int = 0
    right: int = 0
    wrong: int = 0
    missed: int = 0
    complete: int = 0
    """Cases in which all is right and nothing is missed."""
    ms: list[float] = field(default_factory=list[float])

    def as_object(self) -> dict[str, object]:
        ms = sorted(self.ms)
        return {
            "cases": self.cases, "right": self.right, "wrong": self.wrong, "missed": self.missed,
            "complete": self.complete,
            "ms_p50": round(ms[len(ms) // 2], 1), "ms_p95": round(ms[len(ms) * 95 // 100], 1),
        }  # fmt: skip


def table(tallies: dict[str, Tally]) -> Table:
    found = Table(title="next edit", box=None, pad_edge=False)
    for name in ("what", "cases", "right", "wrong", "missed", "complete", "ms p50", "ms p95"):
        found.add_column(name, justify="left" if name == "what" else "right")
    for name, one in sorted(tallies.items()):
        row = one.as_object()
        shares = f"{100 * one.complete / one.cases:.1f} %"
        found.add_row(
            name,
            str(one.cases),
            str(one.right),
            str(one.wrong),
            str(one.missed),
            shares,
            str(row["ms_p50"]),
            str(row["ms_p95"]),
        )
    return found


# Renames, and the truth about them.


@dataclass(frozen=True)
class Rename:
    kind: str
    name: str
    first: int
    """Where it is bound, in code points."""
    rest: frozenset[int]


def tally(to: Tally, case: Rename, text: str, where: str | bool) -> None:
    """All places are accepted one after the other; the first answer is what is compared."""
    size, grown = len(case.name), len(FRESH) - len(case.name)
    now = text[: case.first] + FRESH + text[case.first + size :]
    edits = [Edited(case.first, case.first + len(FRESH), case.name, 1)]
    started = time.perf_counter()
    found = proposals(now, edits, case.first)
    to.ms.append(1000 * (time.perf_counter() - started))
    places = {one.start if one.start < case.first else one.start - grown for one in found}
    to.cases += 1
    to.right += len(places & case.rest)
    to.wrong += len(places - case.rest)
    to.missed += len(case.rest - places)
    to.complete += places == case.rest
    if where and places != case.rest:
        wrong, missed = sorted(places - case.rest), sorted(case.rest - places)
        print(where, case.kind, case.name, "first", line(text, case.first))
        print("  wrong", [line(text, one) for one in wrong], "missed", [line(text, one) for one in missed])
    if len(case.rest) <= 12 and places == case.rest:
        walk(now, edits, len(places), case)


def walk(text: str, edits: list[Edited], count: int, case: Rename) -> None:
    """As an editor does it: accept the first proposal, ask again."""
    for step in range(count):
        (one, *_) = proposals(text, edits, case.first)
        text, edits = accepted(text, edits, one, step + 2)
    assert proposals(text, edits, case.first) == [], "when all is renamed nothing is proposed"


def accepted(text: str, edits: list[Edited], one: Proposal, serial: int) -> tuple[str, list[Edited]]:
    shift = len(one.text) - (one.end - one.start)
    moved = [Edited(e.start + shift, e.end + shift, e.old, e.serial) if e.start >= one.end else e for e in edits]
    new = Edited(one.start, one.start + len(one.text), text[one.start : one.end], serial)
    return text[: one.start] + one.text + text[one.end :], [*moved, new]


def line(text: str, offset: int) -> str:
    start = text.rfind("\n", 0, offset) + 1
    return f"{text.count(chr(10), 0, offset) + 1}:{text[start:].partition(chr(10))[0].strip()[:60]}"


def renames(text: str) -> Iterator[Rename]:
    truth = Truth(text)
    for (_, name), places in truth.places.items():
        first, kind = min(places)
        if first < 0 or kind == "use" or name.startswith("__") or name == "_" or len(places) < 2:
            continue
        if (
            sum(what in ("for", "with", "except") for _, what in places)
            and sum(what != "use" for _, what in places) > 1
        ):
            kind = "several loops"
        yield Rename(kind, name, first, frozenset(place for place, _ in places if place != first))


class Truth(ast.NodeVisitor):
    """Where each name of each scope stands, by CPython: its parser and its symbol tables."""

    def __init__(self, text: str) -> None:
        self.text = text
        lines = text.split("\n")
        self.starts = [0]
        for one in lines:
            self.starts.append(self.starts[-1] + len(one) + 1)
        self.lines = [one.encode() for one in lines]
        self.places: dict[tuple[int, str], list[tuple[int, str]]] = defaultdict(list)
        self.tables = [symtable.symtable(text, "text", "exec")]
        self.used: dict[int, Counter[tuple[str, int]]] = defaultdict(Counter)
        self.inlined: list[tuple[int, int, set[str]]] = []
        """Comprehensions around the place without a table of their own (PEP 709): tables around them, what stands for
        theirs, and the names of their loops."""
        self.classes: list[tuple[int, str]] = []
        self.binder = ""
        self._owned: dict[int, int] = {}
        self.depth = 0
        self.functions: dict[tuple[int, str], list[ast.FunctionDef | ast.AsyncFunctionDef]] = defaultdict(list)
        self.calls: dict[tuple[int, str], list[ast.Call]] = defaultdict(list)
        self.inits: list[tuple[tuple[int, str], ast.FunctionDef | ast.AsyncFunctionDef]] = []
        """By the keys of their classes."""
        self.visit(ast.parse(text))
        self._join_keywords()

    def _join_keywords(self) -> None:
        """``name=`` in calls of a function whose parameter is renamed belongs to it."""
        inits = [(key, [init]) for key, init in self.inits]
        for key, functions in [*self.functions.items(), *inits]:
            defined = [what for _, what in self.places[key] if what not in ("use", "aug")]
            if len(functions) != 1 or len(defined) != 1 or not plain(functions[0]):
                continue
            table = self._owned[id(functions[0])]
            for call in self.calls[key]:
                for one in call.keywords:
                    if one.arg and any(one.arg == each.arg for each in every(functions[0].args)):
                        self.places[table, one.arg].append((self.at(one.lineno, one.col_offset), "use"))

    def at(self, row: int, column: int) -> int:
        return self.starts[row - 1] + len(self.lines[row - 1][:column].decode())

    def start(self, node: ast.expr | ast.stmt | ast.alias | ast.excepthandler | ast.arg | ast.pattern) -> int:
        return self.at(node.lineno, node.col_offset)

    def end(self, node: ast.expr | ast.stmt | ast.alias | ast.pattern) -> int:
        return self.at(node.end_lineno or 0, node.end_col_offset or 0)

    def key(self, name: str) -> tuple[int, str]:
        for depth, loop, names in reversed(self.inlined):
            inner = [table.lookup(name) for table in self.tables[depth:] if name in table.get_identifiers()]
            if name in names and all(symbol.is_free() for symbol in inner):
                return loop, name
        table = self.tables[-1]
        symbol = table.lookup(mangled(name, self.classes))
        # A comprehension does not see the names of the class around it.
        hidden = table.get_type() == "class" and any(depth == len(self.tables) for depth, _, _ in self.inlined)
        if not hidden and (symbol.is_global() or table.get_type() == "module"):
            return self.tables[0].get_id(), name
        if hidden or symbol.is_free():
            for outer in reversed(self.tables[:-1]):
                if outer.get_type() == "function" and mangled(name, self.classes) in outer.get_identifiers():
                    found = outer.lookup(mangled(name, self.classes))
                    if found.is_local() and not found.is_free():
                        return outer.get_id(), name
        return self.tables[0].get_id() if hidden else table.get_id(), name

    def put(self, name: str, place: int, what: str) -> None:
        self.places[self.key(name)].append((-1 if self.depth else place, what))

    def enter(self, name: str, row: int, visit: Sequence[ast.AST]) -> None:
        outer = self.tables[-1]
        fitting = [one for one in outer.get_children() if (one.get_name(), one.get_lineno()) == (name, row)]
        index = self.used[outer.get_id()][name, row]
        self.used[outer.get_id()][name, row] += 1
        if inlined := not fitting and isinstance(visit[0], _Generators):
            loops = [one.target for one in visit[0].node.generators]
            names = {node.id for loop in loops for node in ast.walk(loop) if isinstance(node, ast.Name)}
            self.inlined.append((len(self.tables), -id(visit[0].node), names))
        else:
            self.tables.append(fitting[index])
        for node in visit:
            self.visit(node)
        (self.inlined if inlined else self.tables).pop()

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        found = re.compile(r"def\s+").search(self.text, self.start(node))
        assert found is not None
        self.put(node.name, found.end(), "method" if self.tables[-1].get_type() == "class" else "def")
        self.functions[self.key(node.name)].append(node)
        arguments = node.args
        for one in [*arguments.defaults, *arguments.kw_defaults]:
            if one is not None:
                self.visit(one)
        for each in every(arguments):
            if each.annotation is not None:
                self.visit(each.annotation)
        if node.returns is not None:
            self.visit(node.returns)
        for decorator in node.decorator_list:
            self.visit(decorator)
        row = node.decorator_list[0].lineno if node.decorator_list else node.lineno
        outer = self.tables[-1]
        rows = {one.get_lineno() for one in outer.get_children() if one.get_name() == node.name}
        self.enter(node.name, row if row in rows else node.lineno, [_Inside(node)])

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815 (as ast names it)

    def visit__Inside(self, inside: "_Inside") -> None:
        node = inside.node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            self._owned[id(node)] = self.tables[-1].get_id()
        for each in every(node.args):
            self.put(each.arg, self.start(each), "parameter")
        for one in node.body if isinstance(node.body, list) else [node.body]:
            self.visit(one)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        for one in [*node.args.defaults, *node.args.kw_defaults]:
            if one is not None:
                self.visit(one)
        self.enter("lambda", node.lineno, [_Inside(node)])

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        found = re.compile(r"class\s+").search(self.text, self.start(node))
        assert found is not None
        self.put(node.name, found.end(), "class")
        inits = [one for one in node.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"]
        self.inits += [(self.key(node.name), one) for one in inits[:1]]
        for one in [*node.bases, *node.keywords, *node.decorator_list]:
            self.visit(one)
        row = node.decorator_list[0].lineno if node.decorator_list else node.lineno
        rows = {one.get_lineno() for one in self.tables[-1].get_children() if one.get_name() == node.name}
        self.classes.append((0, node.name))
        self.enter(node.name, row if row in rows else node.lineno, [_Body(node)])
        self.classes.pop()

    def visit__Body(self, body: "_Body") -> None:
        table = self.tables[-1].get_id()
        for one in body.node.body:
            self.visit(one)
        for method in body.node.body:
            if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef):
                self._self_of(method, table)

    def _self_of(self, method: ast.FunctionDef | ast.AsyncFunctionDef, table: int) -> None:
        """``self.x`` in a method is what the class has under that name."""
        names = [*method.args.posonlyargs, *method.args.args]
        if not names or any(isinstance(one, ast.Name) and one.id == "staticmethod" for one in method.decorator_list):
            return
        spoilt = {inner for node in ast.walk(method) if isinstance(node, ast.JoinedStr) for inner in ast.walk(node)}
        called: set[ast.AST] = set()
        for node in shielded(method.body, names[0].arg):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == names[0].arg:
                what = (
                    "use"
                    if isinstance(node.ctx, ast.Load)
                    else "attribute"
                    if isinstance(node.ctx, ast.Store)
                    else "use"
                )
                called.add(node)
                place = -1 if node in spoilt else self.end(node) - len(node.attr)
                self.places[table, node.attr].append((place, what))
        for node in ast.walk(method):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func in called:
                self.calls[table, node.func.attr].append(node)

    def _comprehension(self, name: str, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> None:
        self.visit(node.generators[0].iter)
        self.enter(name, node.lineno, [_Generators(node)])

    def visit__Generators(self, generators: "_Generators") -> None:
        node = generators.node
        for index, one in enumerate(node.generators):
            self.bind("comprehension", one.target)
            if index:
                self.visit(one.iter)
            for condition in one.ifs:
                self.visit(condition)
        for part in [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]:
            self.visit(part)

    def visit_ListComp(self, node: ast.ListComp) -> None:
        self._comprehension("listcomp", node)

    def visit_SetComp(self, node: ast.SetComp) -> None:
        self._comprehension("setcomp", node)

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> None:
        self._comprehension("genexpr", node)

    def visit_DictComp(self, node: ast.DictComp) -> None:
        self._comprehension("dictcomp", node)

    def bind(self, what: str, node: ast.AST) -> None:
        outer, self.binder = self.binder, what
        self.visit(node)
        self.binder = outer

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self.bind("for", node.target)
        for one in [node.iter, *node.body, *node.orelse]:
            self.visit(one)

    visit_AsyncFor = visit_For  # noqa: N815 (as ast names it)

    def visit_withitem(self, node: ast.withitem) -> None:
        self.visit(node.context_expr)
        if node.optional_vars is not None:
            self.bind("with", node.optional_vars)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.bind("aug", node.target)
        self.visit(node.value)

    def visit_Name(self, node: ast.Name) -> None:
        store = isinstance(node.ctx, ast.Store)
        self.put(node.id, self.start(node), (self.binder or "assignment") if store else "use")

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name):
            self.calls[self.key(node.func.id)].append(node)
        self.generic_visit(node)

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        for one in node.names:
            if one.name == "*":
                continue
            name = one.asname or one.name.split(".")[0]
            self.put(name, self.end(one) - len(name) if one.asname else self.start(one), "import")

    visit_ImportFrom = visit_Import  # noqa: N815 (as ast names it)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.type is not None:
            self.visit(node.type)
        if node.name is not None and node.type is not None:
            found = re.compile(r"\bas\s+").search(self.text, self.end(node.type))
            assert found is not None
            self.put(node.name, found.end(), "except")
        for one in node.body:
            self.visit(one)

    def visit_Global(self, node: ast.Global | ast.Nonlocal) -> None:
        for name in node.names:
            found = re.compile(rf"\b{name}\b").search(self.text, self.start(node) + len("global"))
            assert found is not None
            self.put(name, found.start(), "use")

    visit_Nonlocal = visit_Global  # noqa: N815 (as ast names it)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Before 3.12 what is in an f-string has no true place: a name in one spoils its key."""
        self.depth += 1
        self.generic_visit(node)
        self.depth -= 1

    def visit_MatchAs(self, node: ast.MatchAs) -> None:
        if node.name is not None:
            self.put(node.name, self.end(node) - len(node.name), "pattern")
        if node.pattern is not None:
            self.visit(node.pattern)


@dataclass
class _Inside(ast.AST):
    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


@dataclass
class _Body(ast.AST):
    node: ast.ClassDef


@dataclass
class _Generators(ast.AST):
    node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp


def mangled(name: str, classes: list[tuple[int, str]]) -> str:
    if not classes or not name.startswith("__") or name.endswith("__"):
        return name
    return f"_{classes[-1][1].lstrip('_')}{name}"


def every(arguments: ast.arguments) -> list[ast.arg]:
    more = [one for one in (arguments.vararg, arguments.kwarg) if one is not None]
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *more]


def shielded(body: Sequence[ast.AST], name: str) -> Iterator[ast.AST]:
    """What is in a body, but not where ``name`` is another one's parameter, nor in classes."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            continue
        own = every(node.args) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) else []
        if any(one.arg == name for one in own):
            continue
        yield node
        yield from shielded(list(ast.iter_child_nodes(node)), name)


def plain(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return not function.decorator_list


# Signatures.


@dataclass(frozen=True)
class Change:
    text: str
    """Behind the edit of the signature."""
    edit: Edited
    name: str
    """The function."""
    expected: tuple[str, ...]
    """The calls, in order, as they should be; those that cannot be known are ""."""


def tally_change(to: Tally, change: Change, where: str | bool) -> None:
    started = time.perf_counter()
    found = proposals(change.text, [change.edit], change.edit.start)
    to.ms.append(1000 * (time.perf_counter() - started))
    text, edits = change.text, [change.edit]
    for step in range(len(found)):
        again = proposals(text, edits, 0)
        if not again:
            break
        text, edits = accepted(text, edits, again[0], step + 2)
    before, after = calls_of(change.text, change.name), calls_of(text, change.name)
    to.cases += 1
    if len(before) != len(after) or len(after) != len(change.expected):
        to.wrong += len(found)
        if where:
            print(where, change.name, "calls", len(before), len(after), len(change.expected))
        return
    clean = True
    for old, new, wanted in zip(before, after, change.expected, strict=True):
        to.right += old != new and new == wanted
        to.wrong += new not in (old, wanted)
        to.missed += old == new and new != wanted
        clean = clean and new == wanted
        if where and new not in (old, wanted):
            print(where, change.name, "had", old, "has", new, "wanted", wanted)
    to.complete += clean


def tally_model(tallies: dict[str, Tally], change: Change, assistant: Assistant) -> None:
    """The arguments by rule, where the model says the same; and what the model says there by itself."""
    calls = calls_of(change.text, change.name)
    for one in proposals(change.text, [change.edit], change.edit.start):
        name = re.search(r"\w+(?=\W*$)", one.text)
        if name is None or one.text.count(name.group()) != 1:
            continue
        after = change.text[: one.start] + one.text + change.text[one.end :]
        found = calls_of(after, change.name)
        index = next((i for i, (a, b) in enumerate(zip(calls, found, strict=False)) if a != b), None)
        if index is None or len(found) != len(change.expected):
            continue
        at = one.start + name.start()
        request = CompletionRequest(
            after[:at] + after[at + len(name.group()) :], at, language="python", one_line=True, budget_ms=3000
        )
        said = next((each.text.strip() for each in assistant.complete(request).completions), "")
        its_own = calls_of(after[:at] + said + after[at + len(name.group()) :], change.name)
        is_right = found[index] == change.expected[index]
        its_right = len(its_own) > index and its_own[index] == change.expected[index]
        for what, counts, right in (
            ("added, rule and model agree", said == name.group(), is_right),
            ("added, the model alone", bool(said), its_right),
        ):
            to = tallies[what]
            to.cases += 1
            to.ms.append(0.0)
            to.right += counts and right
            to.wrong += counts and not right
            to.missed += not counts
            to.complete += counts and right


def calls_of(text: str, name: str) -> list[str]:
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return []
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    found = [node for node in found if isinstance(node.func, ast.Name) and node.func.id == name]
    return [ast.unparse(node) for node in sorted(found, key=lambda one: (one.lineno, one.col_offset))]


@dataclass(frozen=True)
class Function:
    """A plain function of a module that is called by its name only, with arguments that can be read."""

    node: ast.FunctionDef
    calls: tuple[ast.Call, ...]


def functions(text: str) -> Iterator[tuple[Truth, Function]]:
    truth = Truth(text)
    module = truth.tables[0].get_id()
    for (scope, name), nodes in truth.functions.items():
        places, calls = truth.places[scope, name], truth.calls[scope, name]
        elsewhere = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name) and node.id == name]
        if (
            scope != module
            or len(nodes) != 1
            or not calls
            or len(places) != len(calls) + 1
            or len(elsewhere) != len(calls)
        ):
            continue
        node = nodes[0]
        readable = all(
            not any(isinstance(one, ast.Starred) for one in call.args) and all(one.arg for one in call.keywords)
            for call in calls
        )
        if (
            isinstance(node, ast.FunctionDef)
            and plain(node)
            and readable
            and not node.args.vararg
            and not node.args.kwarg
        ):
            yield truth, Function(node, tuple(sorted(calls, key=lambda one: (one.lineno, one.col_offset))))


def without(text: str, spans: Sequence[tuple[int, int]]) -> str:
    for start, end in sorted(spans, reverse=True):
        text = text[:start] + text[end:]
    return text


def pieces(starts: Sequence[int], ends: Sequence[int], index: int) -> tuple[int, int]:
    """The span of one of several things that are separated by commas, with its comma."""
    if index + 1 < len(starts):
        return starts[index], starts[index + 1]
    return (ends[index - 1], ends[index]) if index else (starts[0], ends[0])


def _argument(call: ast.Call, parameters: Sequence[ast.arg], name: str) -> int | None:
    """Which argument of a call is a parameter's, among all in the order of the text."""
    for index, one in enumerate(call.keywords):
        if one.arg == name:
            return len(call.args) + index
    place = next(i for i, one in enumerate(parameters) if one.arg == name)
    return place if place < len(call.args) else None


def cut(truth: Truth, function: Function, index: int) -> tuple[tuple[int, int], list[tuple[int, int] | None]]:
    """The span of a parameter, and of its argument in every call."""
    parameters = [*function.node.args.posonlyargs, *function.node.args.args]
    starts = [truth.start(one) for one in parameters]
    ends = [truth.at(one.end_lineno or 0, one.end_col_offset or 0) for one in parameters]
    spans: list[tuple[int, int] | None] = []
    for call in function.calls:
        everything = [*call.args, *[one.value for one in call.keywords]]
        firsts = [truth.start(one) for one in call.args] + [
            truth.at(one.lineno, one.col_offset) for one in call.keywords
        ]
        at = _argument(call, parameters, parameters[index].arg)
        spans.append(None if at is None else pieces(firsts, [truth.end(one) for one in everything], at))
    return pieces(starts, ends, index), spans


def changed(text: str) -> Iterator[tuple[Truth, Function, int]]:
    for truth, function in functions(text):
        arguments = function.node.args
        if arguments.defaults or arguments.kwonlyargs or arguments.posonlyargs:
            continue
        for index in range(len(arguments.args)):
            yield truth, function, index


def removals(text: str) -> list[Change]:
    found = []
    for truth, function, index in changed(text):
        span, spans = cut(truth, function, index)
        now = text[: span[0]] + text[span[1] :]
        edit = Edited(span[0], span[0], text[span[0] : span[1]], 1)
        wanted = calls_of(without(text, [span, *[one for one in spans if one]]), function.node.name)
        if len(wanted) == len(function.calls) and fits(now):
            found.append(Change(now, edit, function.node.name, tuple(wanted)))
    return found


def additions(text: str) -> list[Change]:
    found = []
    for truth, function, index in changed(text):
        span, spans = cut(truth, function, index)
        if None in spans:
            continue
        taken = [one for one in spans if one]
        before = without(text, [span, *taken])
        at = span[0] - sum(end - start for start, end in taken if end <= span[0])
        added = text[span[0] : span[1]]
        now = before[:at] + added + before[at:]
        wanted = calls_of(text, function.node.name)
        if len(wanted) == len(function.calls) and fits(now) and fits(before):
            found.append(Change(now, Edited(at, at + len(added), "", 1), function.node.name, tuple(wanted)))
    return found


def fits(text: str) -> bool:
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
