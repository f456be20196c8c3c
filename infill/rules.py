"""The rules of published samplers: how tokens are drawn, and which places are written, as the projects themselves do.

They differ in what a place is ranked by: Dream, SDAR and LLaDA2 by the probability of the drawn token once temperature,
top-p and top-k have had their say, LLaDA by the network's own. A draw therefore answers the tokens and the logits that
policies judge by. Policies here are as those of ``infill.policy``, but write exactly what the project's loop would;
``infill.published`` says which project uses which.

Of equal places the leftmost is taken; the originals leave that to ``torch.topk``, which promises nothing. Equal ones
are common where top-p at a low temperature leaves one token, whose entropy is 0; and Dream ranks in the network's own
numbers, of which bfloat16 has few, where float32 is used here.

Shapes: K rows, N places, M places that were asked about, V ordinary tokens.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from infill.policy import Policy, Proposal, highest


@dataclass(frozen=True)
class Taste:
    """What tokens may be drawn."""

    temperature: float
    top_p: float
    """1: all."""
    top_k: int
    """0: all."""


Draw = Callable[[Tensor, Taste, torch.Generator], tuple[Tensor, Tensor]]
"""Logits [M, V] -> tokens [M], and logits [M, V] to judge them by."""


def dream(logits: Tensor, taste: Taste, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Temperature, top-p, then top-k; at temperature 0 the filters still count (Dream, ``sample_tokens``)."""
    return _drawn(_top_k(_top_p(_cooled(logits, taste), taste), taste), taste, generator)


def sdar(logits: Tensor, taste: Taste, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Temperature, top-k, then top-p (SDAR, ``sample_with_temperature_topk_topp``; LLaDA2, ``sample_tokens``)."""
    return _drawn(_top_p(_top_k(_cooled(logits, taste), taste), taste), taste, generator)


def llada(logits: Tensor, taste: Taste, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Gumbel noise in float64, raised to the temperature; judged by the logits as they were, in float64 too (LLaDA,
    ``add_gumbel_noise``). It has no top-p and no top-k."""
    exact = logits.double() if logits.device.type != "mps" else logits  # which has no float64; LLaDA does so, too
    if taste.temperature == 0:
        return exact.argmax(-1), exact
    uniform = torch.rand(exact.shape, generator=generator, device=exact.device, dtype=exact.dtype)
    return (exact.exp() / (-uniform.log()) ** taste.temperature).argmax(-1), exact


def dllm(logits: Tensor, taste: Taste, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """As ``llada``, but judged in float32: places whose probabilities differ by less are equal, and the leftmost wins
    (ZHZisZZ/dllm, ``core/samplers``)."""
    return llada(logits, taste, generator)[0], logits


def mdlm(logits: Tensor, taste: Taste, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The largest of probability over exponential noise (MDLM, ``_sample_categorical``). There is no top-p, and no
    temperature but 0, the likeliest token, and 1."""
    if taste.temperature == 0:
        return logits.argmax(-1), logits
    return _raced(logits.softmax(-1), generator), logits


def bd3lm(logits: Tensor, taste: Taste, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """As ``mdlm``, but in float64, and from the nucleus that stays within top-p, the likeliest token always in it
    (BD3-LM, ``_nucleus_sample``)."""
    logits = logits.log_softmax(-1)
    if logits.device.type != "mps":
        logits = logits.double()
    if taste.temperature == 0:
        return logits.argmax(-1), logits
    if taste.top_p < 1:
        ordered, order = logits.exp().sort(-1, descending=True)
        within = ordered.cumsum(-1) <= taste.top_p
        within[..., 0] = True
        logits = logits.masked_fill(~torch.zeros_like(within).scatter(-1, order, within), -torch.inf)
    return _raced(logits.softmax(-1), generator), logits


DRAWS: dict[str, Draw] = {
    "dream": dream, "sdar": sdar, "llada": llada, "dllm": dllm, "mdlm": mdlm, "bd3lm": bd3lm
}  # fmt: skip


def each_by_chance(p: Proposal) -> Tensor:
    """Each open place by itself, with the schedule's probability (Dream, ``origin``; ancestral sampling, MDLM's and
    BD3-LM's). Chance is asked before the network is, which need not be where it chose no place: MDLM keeps what the
    network said for its next step then (``ddpm_cache``)."""
    assert p.drawn is not None, "chance has to be asked before the pass"
    return p.canvas.committed | p.drawn


def likeliest(p: Proposal) -> Tensor:
    """The places whose drawn token is likeliest (Dream, ``maskgit_plus``)."""
    return _ranked(p.chance, p)


def widest_margin(p: Proposal) -> Tensor:
    """The places whose likeliest token leads the next by most, whichever was drawn (Dream, ``topk_margin``)."""
    best = p.logits.softmax(-1).topk(2, dim=-1).values
    return _ranked(p.spread(best[..., 0] - best[..., 1]), p)


def least_entropy(p: Proposal) -> Tensor:
    """The places of least entropy (Dream, ``entropy``)."""
    chances = p.logits.softmax(-1)
    return _ranked(p.spread((chances * (chances + 1e-10).log()).sum(-1)), p)


def any_order(p: Proposal) -> Tensor:
    """Exactly the schedule's count, anywhere (LLaDA, ``random``; BD3-LM's first hitting, one by one)."""
    score = torch.rand(p.asked.shape, generator=p.generator, device=p.asked.device)
    return p.canvas.committed | highest(score, p.canvas.open, p.share)


def surest(p: Proposal) -> Tensor:
    """The likeliest drawn tokens, exactly the schedule's count (LLaDA, ``low_confidence``; SDAR,
    ``low_confidence_static``)."""
    return p.canvas.committed | highest(p.chance, p.canvas.open, p.share)


def left_to_right(p: Proposal) -> Tensor:
    """The leftmost open places (SDAR, ``sequential``)."""
    return p.canvas.committed | highest(torch.zeros_like(p.chance), p.canvas.open, p.share)


def from_threshold(p: Proposal) -> Tensor:
    """Every place whose token has the threshold's probability, and the schedule's count (Fast-dLLM)."""
    sure = p.canvas.open & (p.chance >= p.knobs.threshold)
    return p.canvas.committed | sure | highest(p.chance, p.canvas.open, p.share)


def above_threshold(p: Proposal) -> Tensor:
    """Every place whose token is likelier than the threshold, and the schedule's count (SDAR,
    ``low_confidence_dynamic``; LLaDA2; Fast-dLLM v2)."""
    sure = p.canvas.open & (p.chance > p.knobs.threshold)
    return p.canvas.committed | sure | highest(p.chance, p.canvas.open, p.share)


def path_planning(p: Proposal) -> Tensor:
    """All places of the hole ranked by the token that was just drawn there, written ones by another token than theirs;
    the lowest are masked, the others keep their token or get the drawn one (P2 in Open-dLLM). ``infill.policy: remask``
    ranks a written place by the token that stands there."""
    masked = p.canvas.open.sum(1) - p.share
    return p.canvas.hole & ~highest(-p.chance, p.canvas.hole, masked)


def edits(p: Proposal) -> Tensor:
    """The written places that get another token: one that is likelier than the edit threshold (LLaDA2.1, token to
    token)."""
    return p.canvas.committed & (p.chance > p.knobs.edit) & (p.tokens != p.canvas.ids)


RULES: dict[str, Policy] = {
    "dream.origin": each_by_chance,
    "dream.maskgit_plus": likeliest,
    "dream.topk_margin": widest_margin,
    "dream.entropy": least_entropy,
    "llada.low_confidence": surest,
    "llada.random": any_order,
    "sdar.sequential": left_to_right,
    "sdar.low_confidence_static": surest,
    "sdar.low_confidence_dynamic": above_threshold,
    "fastdllm.threshold": from_threshold,
    "fastdllm2.threshold": above_threshold,
    "llada2.threshold": above_threshold,
    "llada21.edit": above_threshold,
    "opendllm.p2": path_planning,
    "mdlm.ancestral": each_by_chance,
    "bd3lm.ancestral": each_by_chance,
    "bd3lm.first_hitting": any_order,
}

BY_CHANCE = frozenset(name for name, rule in RULES.items() if rule is each_by_chance)
"""Rules that leave the places to chance, whatever the network says."""

REVISING = frozenset({"opendllm.p2", "llada21.edit"})
"""Rules that ask about written places too."""

EDITS: dict[str, Callable[[Proposal], Tensor]] = {"llada21.edit": edits}
"""Rules that overwrite written places: which."""

EXACT = frozenset(
    name
    for name, rule in RULES.items()
    if rule in (likeliest, widest_margin, least_entropy, surest, any_order, left_to_right)
)
"""Rules that write the schedule's count and nothing else: where it is 0 there is nothing to ask the network."""


def _ranked(score: Tensor, p: Proposal) -> Tensor:
    """The highest scores; with noise (``alg_temp``), places are drawn one after the other, without replacement, with
    probabilities softmax(score / noise). One race of exponential clocks is the same, and is how ``torch.multinomial``
    does it."""
    if p.knobs.noise:
        chances = (score / p.knobs.noise).masked_fill(~p.canvas.open, -torch.inf).softmax(1)
        score = chances / torch.empty_like(chances).exponential_(generator=p.generator)
    return p.canvas.committed | highest(score, p.canvas.open, p.share)


def _cooled(logits: Tensor, taste: Taste) -> Tensor:
    return logits / taste.temperature if taste.temperature > 0 else logits


def _drawn(logits: Tensor, taste: Taste, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    chances = logits.softmax(-1)
    if taste.temperature == 0:
        return chances.argmax(-1), logits
    return torch.multinomial(chances, 1, generator=generator).squeeze(-1), logits


def _raced(chances: Tensor, generator: torch.Generator) -> Tensor:
    uniform = torch.rand(chances.shape, generator=generator, device=chances.device, dtype=chances.dtype)
    return (chances / (1e-10 - (uniform + 1e-10).log())).argmax(-1)


def _top_p(logits: Tensor, taste: Taste) -> Tensor:
    """Without the tokens that are less likely than those that together are likelier than top-p."""
    if taste.top_p >= 1:
        return logits
    ordered, order = logits.sort(-1, descending=True)
    beyond = ordered.softmax(-1).cumsum(-1) > taste.top_p
    beyond = torch.cat([torch.zeros_like(beyond[..., :1]), beyond[..., :-1]], -1)
    return logits.masked_fill(torch.zeros_like(beyond).scatter(-1, order, beyond), -torch.inf)


def _top_k(logits: Tensor, taste: Taste) -> Tensor:
    """The top-k likeliest, and what is as likely as the last of them."""
    if not taste.top_k:
        return logits
    least = logits.topk(min(taste.top_k, logits.shape[-1]), -1).values[..., -1:]
    return logits.masked_fill(logits < least, -torch.inf)
