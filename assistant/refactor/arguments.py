"""The command lines of ``hone refactor`` and ``hone fix``: parsers only, light to import."""

import argparse

KINDS = ("function", "class", "method", "statement")


def add_refactor(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "task", metavar="TASK", nargs="?", help="fix, modernise, annotate, document, rename, or a kind of one"
    )
    parser.add_argument(
        "paths",
        metavar="PATH",
        nargs="*",
        help="files and folders (this folder); - reads FILE:LINE from stdin, as linters and grep write it",
    )
    _add_instruction(parser, "a TASK")
    _add_selection(parser)
    _add_work(parser)
    _add_results(parser)
    _add_safety(parser)


def _add_instruction(parser: argparse._ActionsContainer, instead_of: str) -> None:
    parser.add_argument(
        "--instruction",
        metavar="TEXT",
        help=f"what to do, in free words, instead of {instead_of}; needs a published instruct model (--edit-model)",
    )


def _add_selection(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("which blocks")
    group.add_argument(
        "--language", metavar="NAME", action="append", help="files of this language, or all (python); may be repeated"
    )
    group.add_argument("--include", metavar="GLOB", action="append", help="only files like this; as in .gitignore")
    group.add_argument(
        "--exclude", metavar="GLOB", action="append", help="no files like this, beside those that hold secrets"
    )
    group.add_argument("--kind", metavar="KIND", help=f"{', '.join(KINDS)} (function, methods among them)")
    group.add_argument("--name", metavar="PATTERN", help="definitions with this regular expression in their name")
    group.add_argument("--query", metavar="QUERY", help="what this tree-sitter query captures")
    group.add_argument("--from-stdin", action="store_true", help="the blocks around FILE:LINE on stdin, as with -")
    group.add_argument("--stdin-filename", metavar="NAME", help="with -: stdin is the text of a file of this name")


def _add_work(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the work")
    group.add_argument("--limit", metavar="N", help="stop when N blocks are changed")
    group.add_argument("--limit-files", metavar="N", help="stop when N files are changed")
    group.add_argument("-j", "--jobs", metavar="N", help="requests side by side (8), and worktrees of --verify (cores)")
    group.add_argument("--batch", metavar="N", help="blocks side by side, without a daemon (32)")
    group.add_argument(
        "--daemon",
        metavar="WHEN",
        help="ask a daemon: auto (if one runs), start (start one if none does) or never (auto)",
    )


def _add_results(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what becomes of it")
    form = group.add_mutually_exclusive_group()
    form.add_argument("--write", action="store_true", help="write the files, instead of showing a patch")
    form.add_argument("--check", action="store_true", help="write nothing; exit code 1 when something would change")
    form.add_argument("-i", "--interactive", action="store_true", help="ask for every hunk, then write those taken")
    group.add_argument("--json", action="store_true", help="one JSON object per block and line, instead of a patch")
    group.add_argument(
        "--patch", metavar="FILE", help="write the patch to this file instead; -: to stdout, and nothing else"
    )
    group.add_argument("--color", metavar="WHEN", help="auto (on a terminal), always or never (auto)")
    group.add_argument("-v", "--verbose", action="store_true", help="list what is skipped, with the reasons")


def _add_safety(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("safety")
    group.add_argument("--verify", metavar="COMMAND", help="keep only edits with which this still passes")
    group.add_argument(
        "--verify-timeout", metavar="SECONDS", help="for one run of it (5 times as long as without edits, at least 60)"
    )
    group.add_argument("--force", action="store_true", help="also where files have changes that are not committed")
    group.add_argument("--resume", action="store_true", help="go on with the run that was interrupted")
    group.add_argument("--undo", action="store_true", help="put the files of the last run back as they were")


def add_fix(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="the file, or - for stdin: then the text goes to stdout")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--task", metavar="TASK", help="modernise, annotate, document, rename, or a kind of one (fix)")
    _add_instruction(what, "a task")
    parser.add_argument("--lines", metavar="A-B", help="these lines alone, counted from 1")
    parser.add_argument("--stdin-filename", metavar="NAME", help="what stdin is to be taken for, for its language")
    parser.add_argument("--language", metavar="NAME", help="python, tsx, ... instead of what the file's name says")
    parser.add_argument(
        "--exclude", metavar="GLOB", action="append", help="files that never enter a prompt, beside those with secrets"
    )
    parser.add_argument(
        "--daemon",
        metavar="WHEN",
        help="ask a daemon: auto (if one runs), start (start one if none does) or never (auto)",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--write", action="store_true", help="write the file, instead of showing a patch")
    form.add_argument("--check", action="store_true", help="write nothing; exit code 1 when something would change")
    parser.add_argument("--color", metavar="WHEN", help="auto (on a terminal), always or never (auto)")
