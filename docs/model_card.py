"""Puts a trained model where it ships, with a model card made from what was measured.

Copies the averaged weights of ``--run``, their tokenizer and calibration to the folder of the embedded weights, the
losses of its training run beside them, and writes ``README.md`` from the run, the corpus report and `hone eval`.

    hone eval --model runs/tiny/average --split test --json > runs/tiny/eval.json
    python docs/model_card.py --run runs/tiny --evaluation runs/tiny/eval.json
"""

import argparse
import json
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from model.checkpoint import DEFAULT_WEIGHTS, read_config

TITLES = {
    "rest": "Rest of the line",
    "line": "Whole line",
    "lines": "2 to 4 lines",
    "expression": "Expression",
    "arguments": "Arguments of a call",
    "block": "Body of a block",
    "humaneval": "HumanEval-Infilling, single line",
    "quixbugs": "QuixBugs, the wrong line",
}
HEAD = """---
license: apache-2.0
language: code
pipeline_tag: fill-mask
---

# {name}

The model that ships with Hone: it fills holes in Python code by diffusion, looking both ways, and was trained from
scratch by this project. A causal stream holds suffix and prefix, a bidirectional canvas holds the hole; the same
weights are a causal fill-in-the-middle model, which judges the canvas's drafts."""
NUMBERS = """## Numbers

- {total} parameters: {body} in {n_layers} blocks of width {d_model}, {embedding} in the tied embedding; looked up, and
  not multiplied, are {values} in value embeddings and {pairs} in a table of hashed pairs of tokens
- {context} tokens of context, holes of up to {max_hole} tokens per canvas, {vocab_size} tokens of byte-level BPE
- bf16 safetensors; opens with `transformers` after `import model.pretrained`"""
TRAINING = """## Training

- {seen:.1f} M tokens of stream in {steps} steps, {hours:.2f} hours on {machine}
- `hone train {given}`{note}
- Muon {muon} and Adam {adam}, warm-up-stable-decay, averaged weights

Losses on held-out packages while it trained (nats per token; `check.csv`):"""
QUALITY = """## Quality

Held-out packages of the `{split}` split, never trained on; percent with standard errors; one run, side by side, on
{device} {dtype}, {threads} thread(s). `hone` is the default: the length is inferred. `causal` is the causal head of
the same weights, one token at a time. `copy` copies what followed the longest match in the file, `copy, near` sees
only the text around the hole, `copy, tokens` matches the model's tokens. `parses before gate` is the best draft, `no
new error` the answer that was given.

The benchmarks with programs to run (HumanEval-Infilling, QuixBugs), where they stand below, come from a run of their
own with the same weights and calibration."""
LIMITS = """## Limits

- A very small model: it knows idioms, copies names that are near and closes what is open. It does not know libraries
  and does not reason. Most answers are not what a person wrote, as the tables show; look at them before you keep them.
- Python only. Other languages are filled as if they were Python-like text, and have not been measured.
- It sees {context} tokens around the hole and one file.
- It is no instruct model: it fills holes and follows no instructions.
- Trained on public code under permissive licences; what it writes may resemble that code."""


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--run", type=Path, required=True, help="folder of the training run")
    parser.add_argument("--evaluation", type=Path, required=True, help="what `hone eval --json` printed")
    parser.add_argument("--corpus", type=Path, default=Path("data/report.json"), help="report of `hone data build`")
    parser.add_argument("--note", default="", help="what the training's last command does not say")
    parser.add_argument("--to", type=Path, default=DEFAULT_WEIGHTS, help="where the model ships")
    arguments = parser.parse_args(argv)
    run, evaluation, corpus = (
        json.loads(path.read_text("utf-8"))
        for path in (arguments.run / "run.json", arguments.evaluation, arguments.corpus)
    )
    ship(arguments.run, arguments.to)
    note = arguments.note and f"; {arguments.note}"
    card = render(arguments.to.name, arguments.run, run, evaluation, corpus, note=note)
    (arguments.to / "README.md").write_text(card, "utf-8")
    sys.stdout.write(f"{arguments.to}: weights and model card\n")
    return 0


def ship(run: Path, to: Path) -> None:
    """The averaged weights, and nothing of an older model beside them."""
    to.mkdir(parents=True, exist_ok=True)
    for old in to.glob("model*.safetensors*"):
        old.unlink()
    for path in sorted((run / "average").iterdir()):
        shutil.copyfile(path, to / path.name)
    shutil.copyfile(run / "check.csv", to / "check.csv")


def render(
    name: str,
    folder: Path,
    run: Mapping[str, Any],
    evaluation: Mapping[str, Any],
    corpus: Mapping[str, Any],
    *,
    note: str = "",
) -> str:
    config = read_config(folder / "average")
    sizes = config.parameters()
    settings = run["settings"]
    seen, hours = run["tokens"] / 1e6, run["seconds"] / 3600
    parts = [
        HEAD.format(name=name),
        NUMBERS.format(
            **{part: f"{count / 1e6:.1f} M" for part, count in sizes.items()},
            **{key: value for key, value in config.to_dict().items() if key not in sizes},
        ),
        TRAINING.format(seen=seen, note=note, steps=run["index"], hours=hours, **evaluation, **_flags(settings)),
        losses(folder / "check.csv"),
        "![loss against tokens](../../../docs/learning_curve.png)",
        QUALITY.format(**evaluation, split=Path(evaluation["where"]).name),
        *(quality(kind, evaluation) for kind in dict.fromkeys(cell["kind"] for cell in evaluation["cells"])),
        LIMITS.format(context=config.context),
        "## Data",
        data(corpus),
    ]
    return "\n\n".join(parts) + "\n"


def _flags(settings: Mapping[str, Any]) -> dict[str, str]:
    """The settings as one types them; ``given`` holds those that a default would not give back."""
    named = ("size", "minutes", "steps", "streams", "canvas", "own", "decay")
    given = [f"--{key} {settings[key]}" for key in named if settings[key] is not None]
    return {"given": " ".join(given), "muon": settings["matrix_rate"], "adam": settings["other_rate"]}


def losses(path: Path) -> str:
    head, *lines = path.read_text("utf-8").split()
    names = head.split(",")
    wanted = ("minutes", "tokens", "average.stream", "average.canvas", "average.bits_per_byte")
    rows = [[line.split(",")[names.index(name)] for name in wanted] for line in lines]
    return markdown(("minutes", "tokens", "causal head", "canvas", "causal, bits per byte"), rows)


def quality(kind: str, evaluation: Mapping[str, Any]) -> str:
    cells = [cell for cell in evaluation["cells"] if cell["kind"] == kind]
    tested = any("passed" in cell for cell in cells)
    head = ["system", "n", "exact", "first line", "similarity", "parses before gate", "no new error", "empty"]
    head += ["length off", "ms", "steps", *(["pass@1"] if tested else [])]
    rows = []
    for cell in cells:
        row = [cell["system"], str(cell["n"]), percent(cell, "exact", error=True), percent(cell, "first_line")]
        row += [percent(cell, "similarity", error=True), percent(cell, "valid_raw"), percent(cell, "kept")]
        row += [
            percent(cell, "empty"),
            f"{cell['length_error']:.1f}",
            f"{cell['ms_median']:.1f}",
            f"{cell['steps']:.1f}",
        ]
        rows.append([*row, percent(cell, "passed", error=True)] if tested else row)
    return f"### {TITLES.get(kind, kind)}\n\n{markdown(head, rows)}"


def percent(cell: Mapping[str, Any], name: str, *, error: bool = False) -> str:
    if name not in cell:
        return "-"
    value = cell[name]
    return f"{100 * value['value']:.1f}" + (f" ± {100 * value['error']:.1f}" if error else "")


def data(corpus: Mapping[str, Any]) -> str:
    stages = [
        [
            name,
            f"{stage['files']:,}",
            f"{stage['bytes'] / 1e6:.1f}",
            f"{stage['tokens'] / 1e6:.1f}" if "tokens" in stage else "-",
        ]
        for name, stage in corpus["stages"].items()
    ]
    rejected = ", ".join(f"{reason} {count['files']:,} files" for reason, count in corpus["rejected"].items())
    packages = [
        [
            p["name"],
            p["version"],
            p["licence"].replace("|", "/"),
            f"{p['files']:,}",
            f"{p['bytes'] / 1e6:.2f}",
            p["split"],
        ]
        for p in corpus["packages"]
    ]
    return "\n\n".join(
        [
            "Pinned packages under permissive licences, rebuilt by `hone data build`; more in `model/packages.toml`.",
            markdown(("stage", "files", "MB", "M tokens"), stages),
            f"Left out: {rejected}.",
            markdown(("package", "version", "licence", "files kept", "MB", "split"), packages),
        ]
    )


def markdown(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    names = list(head)
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    raise SystemExit(main())
