"""Guesses of what the causal head will write next, so that one pass can confirm several tokens.

Speculative decoding (arXiv 2211.17192) without a second model: guesses come from drafts that exist anyway, else from
the place in the text where the last tokens occurred before (prompt lookup decoding, Saxena 2023). Ids only; what is
guessed wrong costs a little width of one pass and changes nothing.
"""

from collections.abc import Sequence

MOST = 6
"""Tokens guessed at once: a CPU computes about as many beside one token for half of its price."""
MATCHES = (3, 2)
"""Lengths of match that are worth a guess, longest first."""


class Lookahead:
    """For one answer. ``context`` are the ids before it, ``drafts`` possible answers, the best first."""

    def __init__(self, context: Sequence[int], drafts: Sequence[Sequence[int]]) -> None:
        self.context = list(context)
        self.drafts = [list(draft) for draft in drafts]

    def guess(self, written: Sequence[int]) -> list[int]:
        """Up to ``MOST`` tokens that may follow those ``written``; none where nothing speaks for any."""
        begun = list(written)
        for draft in self.drafts:
            if len(draft) > len(begun) and draft[: len(begun)] == begun:
                return draft[len(begun) : len(begun) + MOST]
        text = self.context + begun
        for length in MATCHES:
            last = text[-length:]
            for at in range(len(text) - length - 1, length - 2, -1):
                if text[at - length + 1 : at + 1] == last:
                    return text[at + 1 : at + 1 + MOST]
        return []
