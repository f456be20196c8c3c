"""How much the file's own text counts beside the causal head: ``infill.recall`` fitted to held-out holes.

Holes are filled with what stood there, token by token, and the weights are those under which that is likeliest. The
causal head's probability of each token and the counts beside it are all that is needed, so the fit is arithmetic.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch

from infill.engine import Infiller
from infill.recall import Recall
from infill.systems import prompt_of
from infill.tasks import Task
from model.calls import Encode
from model.layout import encode_context

LENGTHS = (2, 4, 8)
"""Lengths of match: with all from 1 to 12 the same held-out tokens were less than 1 % likelier."""
WEIGHTS = tuple(2.0**i for i in range(-3, 13))
ROUNDS = 4


class Place(NamedTuple):
    """One token that stood in a hole, or its end."""

    log_p: float
    """Under the causal head."""
    places: Sequence[int]
    """How often the last L tokens occur elsewhere, for each of ``LENGTHS``."""
    right: Sequence[int]
    """How many of these go on with the token."""


def places(infiller: Infiller, tasks: Iterable[Task]) -> list[Place]:
    """The tokens of all holes that end with their line, in their contexts."""
    denoiser, tokenizer = infiller.denoiser, infiller.denoiser.tokenizer
    breaks = frozenset(infiller.breaks.tolist())
    ends = torch.tensor([tokenizer.eot, *breaks], device=denoiser.device)
    found: list[Place] = []
    for task in tasks:
        if not task.one_line:
            continue
        prompt = prompt_of(task)
        layout = encode_context(
            tokenizer, prompt.prefix, prompt.suffix, language=prompt.language, filename=prompt.filename,
            context=denoiser.context, glue=denoiser.glue, reserve=denoiser.max_hole,
        )  # fmt: skip
        ids = [*layout.ids, *tokenizer.encode(task.middle)]
        count = len(ids) - len(layout.ids)
        with torch.inference_mode():
            [state] = denoiser.run([Encode(ids, None)])
            logits = torch.cat([denoiser.last_logits(state, count), denoiser.next_logits(state)[None]])
            log_p = logits.log_softmax(-1)
        recall = Recall.of(
            prompt.prefix, prompt.suffix, infiller.by_line, dict.fromkeys(map(str, LENGTHS), 1.0), tokenizer.eot, breaks
        )
        for i, token in enumerate([*ids[-count:], tokenizer.eot]):
            voted = recall.voted(ids[: len(layout.ids) + i])
            voted += [[]] * (len(LENGTHS) - len(voted))
            p = log_p[i, ends].logsumexp(0) if i == count else log_p[i, token]
            found.append(Place(float(p), [len(v) for v in voted], [v.count(token) for v in voted]))
    return found


def nats(found: Sequence[Place], weights: Sequence[float]) -> float:
    """Mean negative log p of the tokens under the mixture."""
    p = torch.tensor([one.log_p for one in found], dtype=torch.float64).exp()
    for i, weight in enumerate(weights):
        among = torch.tensor([one.places[i] for one in found], dtype=torch.float64)
        right = torch.tensor([one.right[i] for one in found], dtype=torch.float64)
        p = (right + weight * p) / (among + weight)
    return -float(p.clamp_min(1e-12).log().mean())


def fit(found: Sequence[Place]) -> dict[str, float]:
    """The best weights of a grid, one length after the other until none changes; nothing where nothing is gained."""
    best = [WEIGHTS[-1]] * len(LENGTHS)
    for _ in range(ROUNDS):
        before = list(best)
        for i in range(len(best)):
            tried = [[*best[:i], weight, *best[i + 1 :]] for weight in WEIGHTS]
            best = min(tried, key=lambda weights: nats(found, weights))
        if best == before:
            break
    alone = -sum(one.log_p for one in found) / max(len(found), 1)
    if not found or nats(found, best) >= alone:
        return {}
    return {str(length): weight for length, weight in zip(LENGTHS, best, strict=True)}
