"""A text nested deeper than its grammar bears is not parsed, wherever it comes in: that would end the process."""

from assistant.cuts import find_cuts
from assistant.mend import Broken
from assistant.refactor.select import Text
from infill.languages import DEPTH, depth, get

DEEP = "a: 1\n" + "".join(f"{' ' * i}k{i}:\n" for i in range(600)) + "b: [\n"


def test_nothing_parses_what_the_grammar_cannot_bear() -> None:
    assert depth(DEEP, get("yaml")) > 253
    assert Broken(DEEP, "yaml").faults == []
    assert Text(DEEP, "yaml").tree.root_node.end_byte == 0
    assert len(find_cuts(DEEP, "yaml")) > 100, "as a text without a grammar"


def test_what_it_bears_is_parsed() -> None:
    assert 0 < depth("a:\n  b: [\n", get("yaml")) <= DEPTH
    assert Broken("a:\n  b: [\n", "yaml").faults
    assert depth("x = [" * 300, get("python")) == 0
