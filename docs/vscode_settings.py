"""Writes the language server's options into what is made of them: the settings of VS Code's extension and their table.

python docs/vscode_settings.py [--check]

With --check: says whether both are current.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

from lsp.options import OPTIONS, SECTION, Option, Options

ROOT = Path(__file__).resolve().parents[1]
MANIFEST = ROOT / "editors" / "vscode" / "package.json"
PAGE = ROOT / "docs" / "vscode.md"
TABLE = re.compile(r"(?<=\n)\| setting \| default \| meaning \|\n(?:\|.*\n)+")
OWN = ("path", "python", "model", "editModel", "languages", "confirmEdits", "trace.server")
"""Of the extension itself; the rest is the server's."""
NUMBER = re.compile(r"a (whole )?number from (\d+) to (\d+)")


def main() -> int:
    manifest = json.loads(MANIFEST.read_text(encoding="utf-8"))
    properties = settings(manifest["contributes"]["configuration"]["properties"])
    manifest["contributes"]["configuration"]["properties"] = properties
    made = {
        MANIFEST: json.dumps(manifest, ensure_ascii=False, indent=2) + "\n",
        PAGE: TABLE.sub(lambda _: table(properties), PAGE.read_text(encoding="utf-8")),
    }
    if "--check" in sys.argv[1:]:
        return int(any(text != path.read_text(encoding="utf-8") for path, text in made.items()))
    for path, text in made.items():
        path.write_text(text, encoding="utf-8")
    return 0


def settings(there: dict[str, Any]) -> dict[str, Any]:
    """All settings: the extension's own as they are, the server's as its options say."""
    own = {f"{SECTION}.{name}": there[f"{SECTION}.{name}"] for name in OWN}
    server = {
        f"{SECTION}.{option.key}": schema(option)
        | {
            "scope": "window",
            "order": 10 + at,
            "markdownDescription": f"{option.meaning[0].upper()}{option.meaning[1:]}.",
        }
        for at, option in enumerate(OPTIONS)
    }
    return own | server


def schema(option: Option) -> dict[str, Any]:
    """What the option's words say is allowed, in JSON Schema; its own reader must agree."""
    default = getattr(Options(), option.field)
    if option.allowed == "true or false":
        return {"type": "boolean", "default": default}
    if option.allowed == "a list of globs":
        return {"type": "array", "items": {"type": "string", "minLength": 1}, "default": list(default)}
    if found := NUMBER.fullmatch(option.allowed):
        least, most = int(found[2]), int(found[3])
        assert accepts(option, least), option
        assert accepts(option, most), option
        assert not accepts(option, least - 1), option
        assert not accepts(option, most + 1), option
        kind = "integer" if found[1] else "number"
        return {"type": kind, "minimum": least, "maximum": most, "default": round(default)}
    words, _, listed = option.allowed.partition(" or a list of ")
    names, several = re.split(r", | or ", words), listed.split(", ") if listed else []
    values = [*names, *([one] for one in several)]
    assert all(accepts(option, value) for value in values), f"{option.allowed!r} is a form that is not known here"
    allowed = {"type": "string", "enum": names}
    if several:
        allowed = {"anyOf": [allowed, {"type": "array", "items": {"enum": several}, "uniqueItems": True}]}
    return allowed | {"default": default}


def accepts(option: Option, value: object) -> bool:
    try:
        option.read(value)
    except ValueError:
        return False
    return True


def table(properties: dict[str, Any]) -> str:
    rows = ["| setting | default | meaning |", "| --- | --- | --- |"]
    for name, one in properties.items():
        default = json.dumps(one["default"]).strip('"')
        shown = f"{len(one['default'])} of programming and markup" if name.endswith(".languages") else default
        rows.append(f"| `{name}` | {shown or 'empty'} | {one['markdownDescription']} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.exit(main())
