"""How does quality grow with training tokens, and what would 10 and 100 times the compute give?

Reads ``check.csv`` of a training run (losses on held-out packages), fits a power law with a floor to the averaged
weights' losses, and draws curve and prediction. A few points extrapolated by a factor of 100 are a guess: the output
says how well the fit predicts the last point from those before it.

    python benchmarks/learning_curve.py runs/tiny --plot docs/learning_curve.png
"""

import argparse
import csv
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model.checkpoint import DEFAULT_WEIGHTS

COLUMNS = {"average.stream": "causal head", "average.canvas": "canvas, hidden and replaced tokens"}
FLOORS = np.linspace(0.0, 2.0, 81)
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Law:
    """nats = floor + scale * tokens ** -power (Hestness et al., arXiv 1712.00409)."""

    floor: float
    scale: float
    power: float

    def __call__(self, tokens: Floats) -> Floats:
        return self.floor + self.scale * tokens**-self.power


def fit(tokens: Floats, nats: Floats) -> Law:
    """Least squares in log space for each floor of a grid; the best floor wins.

    Raises:
        ValueError: fewer than three points.
    """
    if len(tokens) < 3:
        raise ValueError(f"a curve needs at least 3 checks, the run has {len(tokens)}: train longer")
    best: tuple[float, Law] | None = None
    for floor in FLOORS[nats.min() - 0.1 > FLOORS]:
        slope, offset = np.polyfit(np.log(tokens), np.log(nats - floor), 1)
        law = Law(float(floor), float(np.exp(offset)), float(-slope))
        error = float(((law(tokens) - nats) ** 2).sum())
        if best is None or error < best[0]:
            best = error, law
    assert best is not None
    return best[1]


def read(path: Path) -> tuple[Floats, dict[str, Floats]]:
    with path.open() as file:
        rows = list(csv.DictReader(file))
    tokens = np.array([float(row["tokens"]) for row in rows])
    return tokens, {name: np.array([float(row[name]) for row in rows]) for name in COLUMNS}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("run", type=Path, nargs="?", default=DEFAULT_WEIGHTS, help="folder that holds check.csv")
    parser.add_argument("--plot", type=Path, help="PNG to write")
    arguments = parser.parse_args(argv)
    tokens, losses = read(arguments.run / "check.csv")
    result: dict[str, object] = {"tokens": tokens[-1]}
    laws: dict[str, Law] = {}
    for name, nats in losses.items():
        law = laws[name] = fit(tokens, nats)
        guesses = {f"{k}x": round(float(law(tokens[-1:] * k)[0]), 3) for k in (10, 100)}
        # How far off the same fit would have been for the last point, had it stopped one check earlier.
        miss = float(fit(tokens[:-1], nats[:-1])(tokens[-1:])[0] - nats[-1]) if len(tokens) > 3 else None
        sys.stdout.write(
            f"{COLUMNS[name]}: {nats[-1]:.3f} nats at {tokens[-1] / 1e6:.1f} M tokens; "
            f"{law.floor:.2f} + {law.scale:.1f} * tokens^-{law.power:.3f}; predicted {guesses}; "
            f"the last point was missed by {'-' if miss is None else f'{miss:+.3f}'}\n"
        )
        result[name] = {"now": float(nats[-1]), **guesses, "law": vars(law), "missed_last_by": miss}
    if arguments.plot:
        draw(arguments.plot, tokens, losses, laws)
    sys.stdout.write(json.dumps(result) + "\n")
    return 0


def draw(path: Path, tokens: Floats, losses: dict[str, Floats], laws: dict[str, Law]) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4.5))
    far = np.geomspace(tokens[0], tokens[-1] * 100, 100)
    for name, nats in losses.items():
        (line,) = axes.plot(tokens, nats, "o", label=COLUMNS[name])
        axes.plot(far, laws[name](far), "--", color=line.get_color(), linewidth=1)
    axes.set(xscale="log", xlabel="stream tokens seen", ylabel="nats per token, held-out packages")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    raise SystemExit(main())
