"""What a file imports, read line by line without a parser, and which files of the workspace that is.

Python, JavaScript and TypeScript, Java, and quoted includes of C and C++. What does not lie in the workspace is passed
over.
"""

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from assistant.workspace.index import Reader

READ = 40_000
"""Characters from the beginning of a file in which imports are looked for."""
SCRIPTS = ("", ".ts", ".tsx", ".d.ts", ".mts", ".js", ".jsx", ".mjs", ".cjs", "/index.ts", "/index.tsx", "/index.js")
_PYTHON = re.compile(
    r"^[ \t]*(?:from[ \t]+(?P<module>\.*[\w.]*)[ \t]+import[ \t]+(?:\((?P<many>[^)]*)\)|(?P<names>[^\n#;]+))"
    r"|import[ \t]+(?P<whole>[\w., \t]+))",
    re.MULTILINE,
)
_SCRIPT = re.compile(
    r"^[ \t]*(?:import|export)\s+(?:type\s+)?(?P<names>[\w$*{},\s]+?)\s+from\s*['\"](?P<module>[^'\"\n]+)['\"]"
    r"|^[ \t]*(?:const|let|var)\s+(?P<bound>\{[^}]*\}|[\w$]+)\s*=\s*require\(\s*['\"](?P<required>[^'\"\n]+)['\"]",
    re.MULTILINE,
)
_JAVA = re.compile(r"^[ \t]*import[ \t]+(?:static[ \t]+)?(?P<module>[\w.]+)[ \t]*;", re.MULTILINE)
_INCLUDE = re.compile(r"^[ \t]*#[ \t]*include[ \t]*\"(?P<module>[^\"\n]+)\"", re.MULTILINE)
_ALIAS = re.compile(r"(?P<name>[\w$*]+)(?:\s+as\s+(?P<alias>[\w$]+))?")


@dataclass(frozen=True)
class Import:
    path: str
    """A file of the workspace, or a package's ``__init__.py``."""
    name: str
    """What is taken from it; "" for the file as a whole, "*" for everything."""
    alias: str
    """What it is called here."""


def imports(reader: Reader, path: str, language: str, text: str) -> tuple[Import, ...]:
    """In their order; ``path`` is the file's own, below the root."""
    head = text[:READ]
    if language == "python":
        found = _python(reader, path, head)
    elif language in {"javascript", "typescript", "tsx"}:
        found = _script(reader, path, head)
    elif language == "java":
        found = _java(reader, path, head)
    elif language in {"c", "cpp"}:
        found = _include(reader, path, head)
    else:
        return ()
    return tuple(dict.fromkeys(one for one in found if one.path != path))


def nearest(paths: list[str], path: str) -> str | None:
    """Of several files, the one with the longest way in common."""
    return min(paths, key=lambda one: (-shared(one, path), one.count("/"), one), default=None)


def shared(one: str, other: str) -> int:
    """How many folders two paths have in common from the top."""
    count = 0
    for mine, theirs in zip(one.split("/")[:-1], other.split("/")[:-1], strict=False):
        if mine != theirs:
            break
        count += 1
    return count


def _names(text: str) -> Iterator[tuple[str, str]]:
    for part in re.sub(r"#[^\n]*|//[^\n]*|\\\n|\btype\s+(?=[\w$])", "", text).strip("{} \t\n").split(","):
        if found := _ALIAS.fullmatch(part.strip()):
            yield found["name"], found["alias"] or found["name"]


def _python(reader: Reader, path: str, text: str) -> Iterator[Import]:
    for found in _PYTHON.finditer(text):
        if found["whole"] is not None:
            for module, alias in _modules(found["whole"]):
                if file := _python_file(reader, path, module):
                    yield Import(file, "", alias)
            continue
        module = found["module"]
        file = _python_file(reader, path, module)
        for name, alias in _names(found["many"] or found["names"] or ""):
            inner = _python_file(reader, path, f"{module}{'' if module.endswith('.') else '.'}{name}")
            if inner is not None and PurePosixPath(inner).name != "__init__.py":
                yield Import(inner, "", alias)  # a module of a package
            elif file is not None:
                yield Import(file, name, alias)


def _modules(text: str) -> Iterator[tuple[str, str]]:
    for part in text.split(","):
        module, _, alias = part.strip().partition(" as ")
        yield module.strip(), (alias or module).strip()


def _python_file(reader: Reader, path: str, module: str) -> str | None:
    dots = len(module) - len(module.lstrip("."))
    inner = module[dots:].replace(".", "/")
    if dots:
        base = PurePosixPath(path).parent
        for _ in range(dots - 1):
            base = base.parent
        below = (base / inner).as_posix() if inner else base.as_posix()
        wanted = [f"{below}.py", f"{below}/__init__.py", f"{below}.pyi"] if inner else [f"{below}/__init__.py"]
        return next((one for one in map(posixpath.normpath, wanted) if reader.has(one)), None)
    if not inner:
        return None
    for end in (f"{inner}.py", f"{inner}/__init__.py", f"{inner}.pyi"):
        file = nearest(reader.ending(end), path)
        # A top-level name like "types" or "json" is the standard library's unless the file lies beside this one or at
        # a place where imports begin.
        if file is not None and ("/" in inner or _is_importable(file, path)):
            return file
    return None


def _is_importable(file: str, path: str) -> bool:
    top = PurePosixPath(file).parent.as_posix() if not file.endswith("__init__.py") else "."
    return top in {".", "src", "lib", PurePosixPath(path).parent.as_posix()}


def _script(reader: Reader, path: str, text: str) -> Iterator[Import]:
    for found in _SCRIPT.finditer(text):
        file = _script_file(reader, path, found["module"] or found["required"])
        if file is None:
            continue
        names = found["names"] or found["bound"]
        braces = names.find("{")
        if braces < 0:
            for name, alias in _names(names):
                yield Import(file, "" if name == "*" else "default", alias)
            continue
        for _, alias in _names(names[:braces].rstrip(", \t\n")):
            yield Import(file, "default", alias)
        for name, alias in _names(names[braces:].replace(":", " as ")):
            yield Import(file, name, alias)


def _script_file(reader: Reader, path: str, module: str) -> str | None:
    plain = re.sub(r"\.(?:[mc]?js|jsx)$", "", module)
    if module.startswith("."):
        below = posixpath.normpath(posixpath.join(posixpath.dirname(path), plain))
        ways = [posixpath.normpath(posixpath.join(posixpath.dirname(path), module))]
        return next((one for one in [*ways, *(below + end for end in SCRIPTS)] if reader.has(one)), None)
    if module.startswith(("@/", "~/")):
        for end in SCRIPTS[1:]:
            if (file := nearest(reader.ending(f"src/{plain[2:]}{end}"), path)) is not None:
                return file
    return None


def _java(reader: Reader, path: str, text: str) -> Iterator[Import]:
    for found in _JAVA.finditer(text):
        module = found["module"]
        file = nearest(reader.ending(module.replace(".", "/") + ".java"), path)
        if file is not None:
            name = module.rpartition(".")[2]
            yield Import(file, name, name)


def _include(reader: Reader, path: str, text: str) -> Iterator[Import]:
    for found in _INCLUDE.finditer(text):
        beside = posixpath.normpath(posixpath.join(posixpath.dirname(path), found["module"]))
        plain = posixpath.normpath(found["module"]).lstrip("./")
        file = beside if reader.has(beside) else nearest(reader.ending(plain), path)
        if file is not None:
            yield Import(file, "*", "*")
