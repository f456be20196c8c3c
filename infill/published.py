"""Published samplers by name, with the settings that their projects publish. What they do is in ``infill.rules``."""

from dataclasses import dataclass

from torch import Tensor

from infill.policy import Knobs
from infill.sampler import Plan


@dataclass(frozen=True)
class SamplerDefaults:
    """How a project samples.

    Its schedule, policy and draw are names in ``infill.schedule`` and ``infill.rules``."""

    policy: str
    schedule: str
    draw: str
    steps: int | None = None
    """With blocks: of each. None: as many as there are places to fill."""
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    alg_temp: float = 0.0
    """Noise on the order of places, as ``Knobs.noise``."""
    block: int | None = None
    part: bool = False
    """``block`` is a part of the network's own blocks, not their size."""
    threshold: float = Knobs.threshold
    edit: float = Knobs.edit
    post: int = 0
    """Steps of editing after the last mask is gone."""
    settles: bool = False
    expands: bool = False
    """Expand and delete tokens are obeyed (``infill.expand``)."""
    longest: int | None = None
    """Most places that expanding may lead to."""

    def plan(self, places: int, banned: Tensor | None = None, *, own: int = 0) -> Plan:
        """For a hole of at most so many places. ``banned`` are ids that must not be written. ``own``: places of the
        network's own blocks, where it has some: the sampler's are as large, and have as many steps for each place."""
        block, steps = self.block, self.steps
        if own and not self.part:
            block, steps = own, steps and max(steps * own // (self.block or own), 1)
        steps = steps or min(places, block or places)
        return Plan(
            steps=max(steps, 1), policy=self.policy, schedule=self.schedule, temperature=self.temperature,
            top_p=self.top_p, banned=banned, draw=self.draw, top_k=self.top_k,
            knobs=Knobs(self.threshold, self.edit, self.alg_temp),
            block=block, post=self.post, settles=self.settles,
        )  # fmt: skip

    def together(self, own: int = 0) -> int:
        """Places behind a prompt that are written before those to their right; 0: all that see each other."""
        return (self.block or 0) if self.part or not own else 0


PUBLISHED: dict[str, SamplerDefaults] = {
    "dream": SamplerDefaults("dream.entropy", "dream", "dream", steps=512, temperature=0.2, top_p=0.95),
    "dreamon": SamplerDefaults("dream.entropy", "one", "dream", temperature=0.2, top_p=0.9, expands=True, longest=64),
    "diffucoder": SamplerDefaults("dream.entropy", "dream", "dream", temperature=0.3, top_p=0.95),
    "llada": SamplerDefaults("llada.low_confidence", "even", "llada", steps=32, block=32),
    "opendcoder": SamplerDefaults("opendllm.p2", "p2", "dream", steps=64, temperature=0.6, top_p=0.95),
    "coda": SamplerDefaults("dream.entropy", "dream", "dream", steps=128, alg_temp=0.1),
    "sdar": SamplerDefaults(
        "sdar.low_confidence_dynamic", "block", "sdar", steps=4, temperature=1.0, block=4, threshold=0.85
    ),
    "fastdllm2": SamplerDefaults("fastdllm2.threshold", "one", "sdar", block=8, part=True, threshold=0.9),
    "llada2": SamplerDefaults("llada2.threshold", "block", "sdar", steps=32, block=32, threshold=0.95),
    "llada2.1": SamplerDefaults("llada21.edit", "one", "sdar", block=32, threshold=0.95, edit=0.9, post=16),
    "a2d-mdlm": SamplerDefaults("llada.low_confidence", "rounded", "dllm", steps=128, block=128),
    "a2d-bd3lm": SamplerDefaults("llada.low_confidence", "rounded", "dllm", steps=32, block=32),
    "mdlm": SamplerDefaults("mdlm.ancestral", "mdlm", "mdlm", steps=129, temperature=1.0, settles=True),
    "bd3lm": SamplerDefaults("bd3lm.first_hitting", "one", "bd3lm", temperature=1.0, top_p=0.9, block=4),
}
"""Where the numbers are from; all was read in November 2026.

``dream``: DreamLM/Dream's README. ``dreamon``: DreamLM/DreamOn's README and ``eval/eval_humaneval_infilling.sh``, one
place a step, from 4 masks to 64. ``diffucoder``: the model card of DiffuCoder-7B-Instruct, a step for each token, in
Dream's sampler. ``llada``: ``generate.py: main``, 128 steps for 4 blocks of 32. ``opendcoder``: the temperature, steps
and policy of ``eval/eval_infill/run_eval.sh`` and the script's own top-p; its ``alg_temp`` means nothing to P2.
``coda``: the README's settings of the server, which runs Dream's sampler and makes no use of its block length.
``sdar``: ``generate.py``'s arguments. ``fastdllm2``: ``v2/run_chatbot.py``, blocks of 32 in sub-blocks of 8; its top-p
counts only above temperature 0, and the first token of each block, which the causal head gives there, is written first
by ``infill.prompted``. ``llada2``, ``llada2.1``: the samplers of ZHZisZZ/dllm, which mirror the checkpoints' own
``generate``, but take the likeliest token at temperature 0, as that one documents, where it draws as at 1; the card of
LLaDA2.1 names two more pairs of thresholds, 0.7 and 0.5 for quality, 0.5 and 0 for speed.
``a2d-mdlm``, ``a2d-bd3lm``: dllm's ``core/samplers``, 128 steps for 128 tokens. ``mdlm``: ``configs/config.yaml``,
128 steps and noise removal. ``bd3lm``: the README, with blocks of 4; there are checkpoints of 8 and 16, too.
Without first hitting, which the project calls faster and equivalent, it samples as ``bd3lm.ancestral`` with the
schedule ``bd3lm`` does."""
