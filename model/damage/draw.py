"""Which block is damaged, and how: training problems drawn at random places of real files."""

import re
from collections.abc import Collection, Iterator

import numpy as np
import tree_sitter

from model.damage.kinds import KINDS
from model.damage.scan import STATEMENTS, Node, T, pick
from model.damage.types import Block, Damage, Edit, Kind
from model.spans import WINDOW

SHARES = {"fix": 0.32, "modernise": 0.5, "annotate": 0.07, "document": 0.04, "rename": 0.07}
"""How often a group is tried first. What modernises fits few blocks: half of the tries are a third of the examples."""
LONGEST = 1600
"""Characters of the longest block."""
SEVERAL = 0.2
"""Share of the damaged blocks that are damaged at two or three places."""
_TRIES = 6
_DEFINITIONS = {"function_definition", "class_definition", "decorated_definition"}


def draw(
    rng: np.random.Generator,
    text: str,
    parser: tree_sitter.Parser,
    kinds: Collection[str] | None = None,
    *,
    clean: float = 0.0,
    several: float = SEVERAL,
) -> tuple[Block, Damage] | None:
    """A block of a file and damage to it; None where none of some places would do.

    ``kinds`` limits the kinds that are drawn. A share ``clean`` of the blocks has damage without edits: the task is one
    of the kinds that would fit, or its group, and nothing is to be done. Blocks are whole lines, without the last line
    break. Damage of several parts has parts of one group, which is its task.
    """
    allowed = [KINDS[name] for name in kinds] if kinds is not None else list(KINDS.values())
    for _ in range(_TRIES):
        block = draw_block(rng, text, parser)
        if block is None or block.scan.broken:
            continue
        for chosen in _order(rng, allowed, block):
            damage = chosen.apply(rng, block)
            if damage is None:
                continue
            if rng.random() < clean:
                return block, Damage(chosen.name if rng.random() < 0.5 else chosen.group, ())
            if rng.random() < several:
                damage = _more(rng, block, damage, [kind for kind in allowed if kind.group == chosen.group])
            return block, damage
    return None


def _order(rng: np.random.Generator, allowed: list[Kind], block: Block) -> Iterator[Kind]:
    """Kinds that may fit, in random order: first by the shares of the groups, then by weight inside each."""
    groups: dict[str, list[Kind]] = {}
    for kind in allowed:
        # What fits nearly every block would else be all that is drawn where its group has little else.
        seldom = kind.weight < 1 and len(allowed) > 1 and rng.random() >= kind.weight
        if not seldom and kind.plausible(block):
            groups.setdefault(kind.group, []).append(kind)
    while groups:
        group = _weighted(rng, list(groups), [SHARES[name] for name in groups])
        rest = groups.pop(group)
        while rest:
            kind = _weighted(rng, rest, [kind.weight for kind in rest])
            rest.remove(kind)
            yield kind


def _weighted(rng: np.random.Generator, options: list[T], weights: list[float]) -> T:
    left = float(rng.random()) * sum(weights)
    for option, weight in zip(options, weights, strict=True):
        left -= weight
        if left < 0:
            return option
    return options[-1]


def _more(rng: np.random.Generator, block: Block, damage: Damage, allowed: list[Kind]) -> Damage:
    """The same damage with one or two more parts at other places."""
    parts, edits = list(damage.parts), list(damage.edits)
    wanted = 2 if rng.random() < 0.7 else 3
    for kind, _ in zip(_order(rng, allowed, block), range(8), strict=False):
        more = kind.apply(rng, block)
        if more is not None and not _touch(edits, more.edits):
            edits = sorted([*edits, *more.edits])
            parts.append(kind.name)
        if len(parts) == wanted:
            break
    return Damage(KINDS[parts[0]].group, tuple(edits), tuple(parts)) if len(parts) > 1 else damage


def _touch(edits: list[Edit], others: tuple[Edit, ...]) -> bool:
    return any(a[0] <= b[1] and b[0] <= a[1] for a in edits for b in others)


def draw_block(rng: np.random.Generator, text: str, parser: tree_sitter.Parser) -> Block | None:
    """A function, method, class or run of statements at a random place, or None where there is none of fit size."""
    if not text:
        return None
    at = int(rng.integers(0, len(text)))
    low = _low(text, at)
    if low is None:
        return None
    window = text[low : at + WINDOW]
    data = window.encode("utf-8", "surrogatepass")
    place = len(text[low:at].encode("utf-8", "surrogatepass"))
    root = parser.parse(data).root_node
    node: Node | None = root.descendant_for_byte_range(place, place)
    found: list[tuple[int, int]] = []
    while node is not None:
        row = [child for child in node.children if child.type in STATEMENTS] if node.type in {"block", "module"} else []
        if node.type in _DEFINITIONS and (node.parent is None or node.parent.type != "decorated_definition"):
            found += [(node.start_byte, node.end_byte)] * 3
        here = [i for i, child in enumerate(row) if child.start_byte <= place <= child.end_byte]
        if here:
            first = max(0, here[0] - int(rng.integers(0, 4)))
            last = min(len(row) - 1, here[0] + int(rng.integers(0, 6)))
            found.append((row[first].start_byte, row[last].end_byte))
        node = node.parent
    whole = at + WINDOW >= len(text)
    fit = [span for span in found if span[1] - span[0] <= 2 * LONGEST and (whole or span[1] < len(data) - 1)]
    if not fit:
        return None
    first_byte, last_byte = pick(rng, fit)
    start = low + len(data[:first_byte].decode("utf-8", "surrogatepass"))
    end = low + len(data[:last_byte].decode("utf-8", "surrogatepass"))
    return _whole_lines(text, start, end)


def _low(text: str, at: int) -> int | None:
    """Where the window begins: at a definition, so that no bracket or string is open there; None: nowhere near."""
    for reach in (WINDOW, 3 * WINDOW):
        first = max(0, at - reach)
        if not first:
            return 0
        found = [match.start() for match in _DEFINITION.finditer(text, first, at)]
        if found:
            margin = next((start for start in found if not text[start].isspace()), None)
            start = found[0] if margin is None else margin
            while text[(before := text.rfind("\n", 0, max(0, start - 1)) + 1) : start].lstrip()[:1] == "@":
                start = before  # decorators
            return start
    return None


_DEFINITION = re.compile(r"(?m)^[ \t]*(?:(?:def|class|async def) |@)")


def _whole_lines(text: str, start: int, end: int) -> Block | None:
    first = text.rfind("\n", 0, start) + 1
    last = text.find("\n", end)
    last = len(text) if last < 0 else last
    last -= text[last - 1] == "\r" if last > end else 0
    if text[first:start].strip() or not 0 < last - first <= LONGEST:
        return None
    return Block(text, first, last)
