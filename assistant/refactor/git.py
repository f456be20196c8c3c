"""What is asked of git: which files have changes that are not committed, and worktrees."""

import os
import subprocess
from pathlib import Path

from assistant.errors import HoneError

TIMEOUT_S = 120


def top(root: Path) -> Path | None:
    """The work tree that holds ``root``; None where there is none, or no git."""
    try:
        done = subprocess.run(  # noqa: S603 (no word of it is anybody else's)
            ["git", "-C", str(root), "rev-parse", "--show-toplevel"],  # noqa: S607 (git is where the user has it)
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
            env=_environment(),
        )
    except (OSError, subprocess.SubprocessError):
        return None
    found = os.fsdecode(done.stdout).removesuffix("\n")
    return Path(os.path.realpath(found)) if done.returncode == 0 and found else None


def run(folder: Path, *arguments: str) -> bytes:
    """What git prints.

    Raises:
        HoneError: it fails, with what it says.
    """
    # A hook is the user's program, and it is not for these trees.
    command = ["git", "-C", str(folder), "-c", f"core.hooksPath={os.devnull}", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, timeout=TIMEOUT_S, check=False, env=_environment())  # noqa: S603
    except (OSError, subprocess.SubprocessError) as error:
        raise HoneError(f"git cannot be run: {error}") from error
    if done.returncode:
        raise HoneError(f"git {arguments[0]} fails: {done.stderr.decode('utf-8', 'replace').strip()}")
    return done.stdout


def uncommitted(root: Path, paths: list[str]) -> list[str]:
    """Those of the paths below ``root`` that are not as the last commit has them."""
    repository = top(root)
    if repository is None:
        return []
    prefix = prefix_of(repository, root)
    listed = run(root, "--no-optional-locks", "status", "--porcelain=v1", "-z", "--untracked-files=all", "--no-renames")
    changed = {os.fsdecode(entry[3:]).rstrip("/") for entry in listed.split(b"\0") if entry}
    return [path for path in paths if not changed.isdisjoint(_with_parents(prefix + path))]


def prefix_of(repository: Path, root: Path) -> str:
    """The way from one to the other, with a slash at its end, or nothing."""
    return "" if root == repository else f"{root.relative_to(repository).as_posix()}/"


def _with_parents(path: str) -> set[str]:
    """A repository in the repository is one entry for all that is in it."""
    parts = path.split("/")
    return {"/".join(parts[:count]) for count in range(1, len(parts) + 1)}


def _environment() -> dict[str, str]:
    """The folder counts, not what a hook that runs us says."""
    own = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX")
    return {name: value for name, value in os.environ.items() if name not in own} | {"LC_ALL": "C"}
