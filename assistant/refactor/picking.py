"""Hunk by hunk: what is to be taken is asked for, as ``git add -p`` asks."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from assistant.refactor.change import Change, wrong
from assistant.refactor.diff import Hunk, accepted, coloured, ended, header, hunks

HELP = """y - take this hunk
n - leave it out
a - take it and all later ones of this file
d - leave it out and all later ones of this file
q - leave it out and all that follow; what was taken so far is written
? - say this
"""
NOT_TAKEN = "not taken"


@dataclass
class Picker:
    """Asks on a terminal: ``show`` prints, ``read`` gives a line, "" where there are no more."""

    show: Callable[[str], None]
    read: Callable[[], str]
    colour: bool = False
    over: bool = field(default=False, init=False)
    """Nothing more is asked, and nothing more taken."""

    def pick(self, changes: Iterable[Change]) -> list[Change]:
        return [self._file(one) if one.changed else one for one in changes]

    def _file(self, change: Change) -> Change:
        found = hunks(change)
        if not self.over:
            self._print("".join(header(change)))
        while not self.over:
            picked = accepted(change, self._hunks(found), NOT_TAKEN)
            reason = wrong(picked)
            if reason is None:
                return picked
            self.show(f"{change.path} with these hunks alone {reason}; choose others\n")
        return accepted(change, [], NOT_TAKEN)

    def _hunks(self, found: list[Hunk]) -> list[Hunk]:
        taken = []
        for index, hunk in enumerate(found):
            self._print("".join(ended(hunk.lines())))
            answer = self._ask(f"({index + 1}/{len(found)}) Take this hunk [y,n,a,d,q,?]? ")
            if answer == "y":
                taken.append(hunk)
            elif answer == "a":
                return [*taken, *found[index:]]
            elif answer == "d":
                return taken
            elif answer == "q":
                self.over = True
                return taken
        return taken

    def _ask(self, question: str) -> str:
        while True:
            self.show(f"\x1b[1;34m{question}\x1b[0m" if self.colour else question)
            line = self.read()
            if not line:
                self.show("\n")
                return "q"
            answer = line.strip().lower()[:1]
            if answer and answer in "ynadq":
                return answer
            self.show(HELP)

    def _print(self, text: str) -> None:
        self.show(coloured(text) if self.colour else text)
