"""One sign is taken out of real code: does a rule find an edit that parses, and is it the sign that was there?

Files of the standard library lose a bracket, a colon, a comma, a quote or an equals sign, one at a time, where that
breaks them. No model takes part. Ends with one line of JSON.
"""

import argparse
import json
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from assistant.mend import Broken

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.next_edit import files

SIGNS = "()[]{}:,\"'="


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--files", type=int, default=60)
    parser.add_argument("--cases", type=int, default=6, help="of each file")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)
    dice = random.Random(options.seed)
    broken = unseen = unmended = clean = exact = 0
    spent: list[float] = []
    for _, text in files(options.files, dice):
        places = [at for at, sign in enumerate(text) if sign in SIGNS]
        for at in dice.sample(places, min(options.cases, len(places))):
            found = Broken(text[:at] + text[at + 1 :], "python")
            if not found.faults:
                continue
            broken += 1
            started = time.perf_counter()
            fault = found.near(at, at)
            mending = None if fault is None else found.mended(fault, at)
            spent.append(1000 * (time.perf_counter() - started))
            unseen += fault is None
            unmended += fault is not None and mending is None
            after = "" if mending is None else mending.of(found.text)
            clean += mending is not None and not Broken(after, "python").faults
            exact += after == text
    spent.sort()
    numbers = {
        "broken": broken, "clean": clean, "exact": exact, "no_error_near": unseen, "left_to_the_model": unmended,
        "ms_p50": round(spent[len(spent) // 2], 1), "ms_p95": round(spent[len(spent) * 95 // 100], 1),
    }  # fmt: skip
    for name, number in numbers.items():
        print(f"{name:20} {number}")
    print(json.dumps({"benchmark": "mend", "seed": options.seed, **numbers}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
