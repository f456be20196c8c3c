"""The picture of docs/refactor.md: a real session in a real repository, as a terminal shows it.

python docs/refactor_session.py [--model FOLDER] [--out FILE]

A small package with faults in it is made in a temporary folder, and the commands are typed into a terminal of its own.
"""

import argparse
import os
import pty
import re
import select
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.text import Text

WIDTH = 100
FILES = {
    "bank/account.py": """from bank.money import rounded


class Account:
    def __init__(self, owner, balance=0):
        self.owner = owner
        self.balance = balance

    def deposit(self, amount)
        if amount is None:
            raise ValueError("amount must not be None")
        self.balance += rounded(amount)
        retrun self.balance

    def describe(self):
        return f"{self.owner} has {self.balance}
""",
    "bank/money.py": """def rounded(amount):
    if isinstance(amount, str):
        amount = float(amount))
    return round(amount, 2)


def total(amounts):
    return sum(rounded(amount) fro amount in amounts)
""",
    "check.py": """from bank.account import Account
from bank.money import total

account = Account("Ada")
assert account.deposit("1.005") == 1.0, account.balance
assert account.describe() == "Ada has 1.0"
assert total([1, "2.5"]) == 3.5
print("all is well")
""",
}
SESSION: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("python check.py 2>&1 | tail -n 1", ()),
    ("hone refactor fix bank", ()),
    ("hone refactor fix bank --interactive", ("y", "n", "y", "y")),
    ("git diff --stat", ()),
    ("hone refactor --undo", ()),
    ("git status --short", ()),
    ("hone refactor fix bank --write", ()),
    ("python check.py", ()),
)
"""Commands, and what is answered to their questions."""
QUESTION = re.compile(rb"Take this hunk \[[^]]*\]\? (?:\x1b\[0m)?$")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", type=Path, help="a checkpoint that edits (as without --edit-model)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "refactor.svg")
    options = parser.parse_args()
    console = Console(record=True, width=WIDTH, file=Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        environment = make(home, options.model.resolve() if options.model else None)
        for command, answers in SESSION:
            console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
            shown = typed(command, answers, home / "bank", environment)
            print(shown, end="")  # noqa: T201
            console.print(Text.from_ansi(shown.rstrip("\n")), soft_wrap=False)
    # Without the fonts that Rich would have a reader's browser load from elsewhere.
    drawn = re.sub(r"@font-face \{.*?\}", "", console.export_svg(title="hone refactor"), flags=re.DOTALL)
    options.out.write_text(drawn, encoding="utf-8")
    return 0


def make(home: Path, model: Path | None) -> dict[str, str]:
    """The repository, and an environment in which nothing of the user's counts."""
    repository = home / "bank"
    for name, text in FILES.items():
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_text(text, encoding="utf-8")
    names = {name: value for name, value in os.environ.items() if not name.startswith(("HONE_", "GIT_"))}
    environment = names | {
        "HOME": str(home), "HONE_STATE_DIR": str(home / "state"), "HONE_RUNTIME_DIR": str(home / "run"),
        "XDG_CONFIG_HOME": str(home / ".config"), "GIT_CONFIG_NOSYSTEM": "1", "GIT_AUTHOR_NAME": "ada",
        "GIT_AUTHOR_EMAIL": "ada@example.org", "GIT_COMMITTER_NAME": "ada", "GIT_COMMITTER_EMAIL": "ada@example.org",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "TERM": "xterm-256color",
        "COLUMNS": str(WIDTH), "GIT_PAGER": "cat", "PYTHONDONTWRITEBYTECODE": "1", "HONE_DAEMON": "never",
    } | ({} if model is None else {"HONE_EDIT_MODEL": str(model)})  # fmt: skip
    for command in ("git init -q", "git add .", "git commit -qm first"):
        subprocess.run(shlex.split(command), cwd=repository, env=environment, check=True)  # noqa: S603
    return environment


def typed(command: str, answers: tuple[str, ...], folder: Path, environment: dict[str, str]) -> str:
    """What a terminal shows of a command; questions that are left are answered with q."""
    mine, theirs = pty.openpty()
    process = subprocess.Popen(  # noqa: S602 (a line of SESSION)
        f"stty cols {WIDTH} rows 50; {command}", shell=True, cwd=folder, env=environment,
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    left = iter(answers)
    shown = b""
    for piece in read(mine):
        shown += piece
        if QUESTION.search(shown):
            os.write(mine, f"{next(left, 'q')}\n".encode())
    os.close(mine)
    process.wait()
    text = shown.decode("utf-8", "replace").replace("\r\n", "\n")
    # The bar of the progress is drawn over and over, and at last taken away.
    return "".join(f"{line}\n" for line in tidy(text).split("\n") if line and "━" not in line)


def tidy(text: str) -> str:
    return re.sub(r"\r|\x1b\[(?:\?25[lh]|\d*[ABCDGJK])", "", text)


def read(handle: int) -> Iterator[bytes]:
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        ready, _, _ = select.select([handle], [], [], 1.0)
        if ready:
            try:
                piece = os.read(handle, 65536)
            except OSError:  # the other end is closed
                return
            if not piece:
                return
            yield piece


if __name__ == "__main__":
    sys.exit(main())
