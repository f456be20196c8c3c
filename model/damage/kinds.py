"""All kinds of damage by name."""

from model.damage import idioms, loops, missing, rename, slips, wrong
from model.damage.types import GROUPS, Kind

KINDS: dict[str, Kind] = {
    kind.name: kind
    for group in GROUPS
    for module in (slips, wrong, idioms, loops, missing, rename)
    for kind in module.TABLE.values()
    if kind.group == group
}
assert len(KINDS) == sum(len(module.TABLE) for module in (slips, wrong, idioms, loops, missing, rename))
assert not KINDS.keys() & GROUPS.keys(), "a kind and a group are tasks by their name: it must not be the same"


def group_of(task: str) -> str:
    """The group of a kind, or the group that is named itself."""
    return KINDS[task].group if task in KINDS else task


def instruction(task: str) -> str:
    """What a task, which is a kind or a group, asks for."""
    return KINDS[task].instruction if task in KINDS else GROUPS[task]
