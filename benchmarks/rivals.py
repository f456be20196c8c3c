"""How long does an answer of so many tokens take with Hone, and how long with what people would run instead?

Every engine gets the same places in held-out files, the same number of context tokens and of answer tokens, on the
same threads, in turn; each lives in a process of its own, which measures itself. Nobody may stop early.

    hone                    all that it does: length search, judge, syntax gate, and repair where nothing passes
    hone, no gate           length search and judge
    hone, told the length   one canvas after another of the wanted size, and the judge; no gate
    hone, causal head       the same weights token by token; no gate
    llama.cpp               its Python package, in the process: a Llama of the same shape
                            (``pip install llama-cpp-python gguf`` here, or where ``--llama-python`` is)
    llama_cpp.server        the server of this package, ``/v1/completions`` with a suffix
    llama-server            llama.cpp's own program, asked at its own fill-in-the-middle route (``--llama-server``)
    transformers            the same Llama, ``generate`` with its keys and values kept
    llada                   the low-confidence sampler of LLaDA (Nie et al., arXiv 2502.09992, algorithm 5) on a network
                            of the same shape that sees the whole row, and computes all of it in every step

The rivals' weights are random: nothing but their speed is looked at. "cached" is the second of two requests that are
one keystroke apart, "fresh" one for a text not seen before. Also: memory, and the time from starting a program to its
first answer. What is not installed is left out, in one line. Ends with one line of JSON.
"""

import argparse
import contextlib
import http.client
import importlib.util
import inspect
import itertools
import json
import math
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean, median, quantiles
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from rich.table import Table

    from infill.tasks import Task
    from model.tokenizer import Tokenizer

# An engine runs in a process that imports nothing but what it needs, maybe by another interpreter: imports are below.

ROOT = Path(__file__).parent.parent
MEASURES = ("hone", "hone, no gate")
"""What all are compared with: what a user waits for, and what of it the others do too."""
PAUSE = 0.05
"""Seconds between two turns, for threads that wait actively to fall asleep."""
HOLE = 64
"""Tokens that the engine leaves of the context for an answer: of the longest canvas."""
NEW = 4
"""Context tokens at most that a keystroke changes."""
ROOM = 1024
"""Tokens that the rivals have room for."""
SUF, PRE = 3, 4
"""The special tokens between which the suffix stands (``model.layout``)."""
MASK, MIDDLE = 1, 63
"""The one that LLaDA fills in, and one without use in Hone, behind which the rivals' middle begins."""
SPECIALS = 64


@dataclass(frozen=True)
class Ask:
    """One request."""

    path: str
    prefix: str
    suffix: str
    ids: list[int]
    """The context that Hone's engine makes of it."""
    size: int
    """Tokens of the answer."""
    near: tuple[str, str] = ("", "")
    """The texts of this context, prefix and suffix."""


@dataclass(frozen=True)
class Place:
    """Two requests one keystroke apart."""

    before: Ask
    now: Ask


@dataclass(frozen=True)
class Setup:
    """What an engine's process is told."""

    engine: str
    threads: int
    model: str | None = None
    """A checkpoint's folder; None: the embedded weights."""
    shape: dict[str, Any] = field(default_factory=dict[str, Any])
    """Its sizes."""
    gguf: str = ""
    """Folder of the files for llama.cpp."""
    server: str | None = None
    """The program llama-server."""


@dataclass(frozen=True)
class Row:
    """One engine's answers of one size."""

    engine: str
    what: str
    threads: int
    n: int
    ms: float
    """Median from the request to the whole answer."""
    quartiles: tuple[float, float]
    processor_ms: float
    """Median of what the processor worked for it, all threads together: the measure on a machine with other work."""
    tokens_per_s: float
    context: float
    """Mean context tokens."""
    given: float
    """Mean tokens of the texts that were handed over."""
    against: dict[str, dict[str, float]]
    """How many times faster each of ``MEASURES`` is, with the middle 95 %."""
    against_processor: dict[str, dict[str, float]]
    """The same in the processor's time."""


@dataclass(frozen=True)
class Start:
    engine: str
    first_answer_s: float
    quartiles: tuple[float, float]
    peak_mib: float


class AbsentError(Exception):
    """Something that an engine needs is not installed."""


# Engines: opened once in their own process; a call answers and says how many tokens it wrote.


class Answer(NamedTuple):
    written: int
    """Tokens."""
    given: int
    """Tokens of the text handed over, which clean-up and the gate may have shortened."""


Engine = Callable[[Ask], Answer]


def hone(setup: Setup, *, gated: bool = False, told: bool = False, causal: bool = False) -> Engine:
    import torch

    from benchmarks.forced import Forced, OpenGate
    from infill.engine import Infiller
    from infill.judge import Calibration
    from infill.syntax import SyntaxGate
    from infill.types import InfillOptions, Prompt, Step
    from model.checkpoint import DEFAULT_WEIGHTS, best_dtype, load_model

    torch.set_num_threads(setup.threads)
    folder, cpu = Path(setup.model) if setup.model else DEFAULT_WEIGHTS, torch.device("cpu")
    denoiser = Forced(*load_model(folder, device=cpu, dtype=best_dtype(cpu)), endless=causal)
    gate = SyntaxGate if gated else OpenGate
    infiller = Infiller(denoiser, calibration=Calibration.load(folder), gate=gate)

    def answer(ask: Ask) -> Answer:
        drafted = [0]
        denoiser.left, denoiser.looks = ask.size, 0
        options = InfillOptions(
            max_tokens=ask.size,
            hole_length=ask.size if told else None,
            policy="causal" if causal else None,
            one_line=False,
            copies=0,
        )

        def watch(step: Step) -> None:
            if step.phase == "draft":
                drafted.append(len(step.ids))

        found = infiller.fill(
            Prompt(ask.prefix, ask.suffix, filename=ask.path), options, on_step=None if causal else watch
        )
        # The causal head alone cannot move its context along: it leaves more for long answers.
        same = found.context_tokens == len(ask.ids) or (causal and ask.size > HOLE)
        assert same, "another context than the others have"
        given = len(denoiser.tokenizer.encode(found.candidates[0].text)) if found.candidates else 0
        return Answer(denoiser.looks - 1 if causal else max(drafted), given)

    return answer


def llama(setup: Setup, *, kind: str) -> Engine:
    """``llama_cpp.Llama`` in this process. Its own ``suffix`` puts token 0 where the markers belong (0.3.36), so that
    the prompt is put together here, as llama-server does it."""
    try:
        from llama_cpp import Llama
    except ImportError as error:
        raise AbsentError("pip install llama-cpp-python gguf, or give --llama-python") from error
    model = Llama(
        gguf_of(setup, kind),
        n_ctx=ROOM,
        n_threads=setup.threads,
        n_threads_batch=setup.threads,
        verbose=False,
    )

    def answer(ask: Ask) -> Answer:
        found: Any = model.create_completion([*ask.ids, MIDDLE], max_tokens=ask.size, temperature=0.0)
        written: int = found["usage"]["completion_tokens"]
        return Answer(written, written)

    return answer


def server(setup: Setup, *, kind: str) -> Engine:
    """The program llama-server, and ``POST /infill``."""
    if setup.server is None:
        raise AbsentError("no llama-server on the path, nor at --llama-server")
    model, threads = gguf_of(setup, kind), str(setup.threads)
    ask_for = program(
        [setup.server, "--model", model, "--ctx-size", str(ROOM), "--parallel", "1", "--threads", threads,
         "--threads-batch", threads, "--threads-http", "1", "--spm-infill", "--no-webui", "--log-disable"],
        "/health",
    )  # fmt: skip

    def answer(ask: Ask) -> Answer:
        suffix, prefix = parts(ask.ids)
        body = {
            "input_prefix": prefix,
            "input_suffix": suffix,
            "n_predict": ask.size,
            "ignore_eos": True,
            "cache_prompt": True,
            "samplers": ["top_k"],
            "top_k": 1,
        }
        written: int = ask_for("POST", "/infill", body)["tokens_predicted"]
        return Answer(written, written)

    return answer


def python_server(setup: Setup, *, kind: str) -> Engine:
    """The server of the Python package, and ``POST /v1/completions`` with a suffix. It takes texts, and has no setting
    that puts the suffix first: behind a keystroke, it reads the suffix anew."""
    model, threads = gguf_of(setup, kind), str(setup.threads)
    if importlib.util.find_spec("llama_cpp") is None or importlib.util.find_spec("sse_starlette") is None:
        raise AbsentError("pip install 'llama-cpp-python[server]' gguf, or give --llama-python")
    ask_for = program(
        [sys.executable, "-m", "llama_cpp.server", "--model", model, "--n_ctx", str(ROOM), "--n_threads", threads,
         "--n_threads_batch", threads, "--verbose", "False"],
        "/v1/models",
    )  # fmt: skip

    def answer(ask: Ask) -> Answer:
        body = {"prompt": ask.near[0], "suffix": ask.near[1], "max_tokens": ask.size, "temperature": 0.0}
        written: int = ask_for("POST", "/v1/completions", body)["usage"]["completion_tokens"]
        return Answer(written, written)

    return answer


def program(command: Sequence[str], ready: str) -> Callable[..., dict[str, Any]]:
    """Starts a server and waits until the route ``ready`` answers. What comes back asks it, each time over a connection
    of its own: a server may close one that waits for long."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    PROGRAMS.append(started)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def ask_for(method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        connection.request(method, path, json.dumps(body) if body else None, {"Content-Type": "application/json"})
        response = connection.getresponse()
        found: dict[str, Any] = json.loads(response.read())
        connection.close()
        if response.status != 200:
            raise ConnectionError(f"{command[0]}: {found}")
        return found

    while True:
        with contextlib.suppress(OSError):
            ask_for("GET", ready)
            return ask_for
        connection.close()
        if started.poll() is not None:
            raise AbsentError(f"{command[0]} ended with {started.returncode}")
        time.sleep(0.005)


def parts(ids: Sequence[int]) -> tuple[list[int], list[int]]:
    """Suffix and prefix of a context as two lists without their markers; language and file name go to the suffix."""
    suf, pre = ids.index(SUF), ids.index(PRE)
    return [*ids[:suf], *ids[suf + 1 : pre]], list(ids[pre + 1 :])


def transformers(setup: Setup, *, dtype: str) -> Engine:
    import torch
    from transformers import DynamicCache

    network = plain_llama(setup, dtype)
    kept, known = DynamicCache(config=network.config), list[int]()
    # Before transformers 5.24 the cache had another name.
    cache = "cache" if "cache" in inspect.signature(network.forward).parameters else "past_key_values"

    def answer(ask: Ask) -> Answer:
        nonlocal known
        ids = [*ask.ids, MIDDLE]
        same = next((i for i, (a, b) in enumerate(zip(known, ids, strict=False)) if a != b), min(len(known), len(ids)))
        same = min(same, len(ids) - 1)
        if kept.get_seq_length() > same:
            kept.crop(same - kept.get_seq_length())
        with torch.inference_mode():
            given = {"input_ids": torch.tensor([ids]), cache: kept}
            out = network.generate(**given, max_new_tokens=ask.size, do_sample=False)
        known = out[0].tolist()[: kept.get_seq_length()]
        written = int(out.shape[1]) - len(ids)
        return Answer(written, written)

    return answer


def plain_llama(setup: Setup, dtype: str) -> Any:
    """A ``LlamaForCausalLM`` of the shape, with random weights; it never writes a special token."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(setup.threads)
    torch.manual_seed(0)
    shape = setup.shape
    config = LlamaConfig(
        vocab_size=shape["vocab_size"],
        hidden_size=shape["d_model"],
        intermediate_size=shape["d_ff"],
        num_hidden_layers=shape["n_layers"],
        num_attention_heads=shape["n_heads"],
        num_key_value_heads=shape["n_heads"],
        max_position_embeddings=ROOM,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=0,
    )
    network = LlamaForCausalLM(config).to(getattr(torch, dtype)).eval()
    with torch.no_grad():
        network.model.embed_tokens.weight[:SPECIALS] = 0.0
    return network


def llada(setup: Setup, *, at_once: int, dtype: str = "float32") -> Engine:
    """In each step the network sees the whole row; of the likeliest tokens of all open places the ``at_once`` surest
    are written (linear schedule, one block, temperature 0). Kinder than the published code in two ways: logits are
    computed for the answer's places alone, and in float32."""
    import torch

    network = plain_llama(setup, dtype)
    for layer in network.model.layers:
        layer.self_attn.is_causal = False

    def answer(ask: Ask) -> Answer:
        suffix, prefix = parts(ask.ids)
        first, last = len(prefix), len(prefix) + ask.size
        row = torch.tensor([[*prefix, *[MASK] * ask.size, *suffix]])
        steps = 0
        with torch.inference_mode():
            while (row[0, first:last] == MASK).any():
                hidden = network.model(row, use_cache=False).last_hidden_state[0, first:last]
                sure, tokens = network.lm_head(hidden).softmax(-1).max(-1)
                still = row[0, first:last] == MASK
                chosen = sure.masked_fill(~still, -math.inf).topk(min(at_once, int(still.sum()))).indices
                row[0, first + chosen] = tokens[chosen]
                steps += 1
        assert steps == -(-ask.size // at_once)
        return Answer(ask.size, ask.size)

    return answer


ENGINES: dict[str, Callable[[Setup], Engine]] = {
    "hone": lambda setup: hone(setup, gated=True),
    "hone, no gate": hone,
    "hone, told the length": lambda setup: hone(setup, told=True),
    "hone, causal head": lambda setup: hone(setup, causal=True),
    "llama.cpp bf16": lambda setup: llama(setup, kind="bf16"),
    "llama.cpp q8_0": lambda setup: llama(setup, kind="q8_0"),
    "llama-server bf16": lambda setup: server(setup, kind="bf16"),
    "llama-server q8_0": lambda setup: server(setup, kind="q8_0"),
    "llama_cpp.server q8_0": lambda setup: python_server(setup, kind="q8_0"),
    "transformers": lambda setup: transformers(setup, dtype="float32"),
    "transformers bf16": lambda setup: transformers(setup, dtype="bfloat16"),
    "llada, a token a step": lambda setup: llada(setup, at_once=1),
    "llada, two a step": lambda setup: llada(setup, at_once=2),
}
FORGETFUL = ("llada, a token a step", "llada, two a step")
"""These keep nothing between requests, and take long: they are asked once for each place, and for a third of them."""
FOREIGN = ("llama.cpp", "llama_cpp.server", "llama-server")
"""These run by the interpreter that has llama.cpp."""

PROGRAMS: list["subprocess.Popen[bytes]"] = []
"""Programs that an engine has started: they are what is measured then, and not this process."""


def work() -> None:
    """An engine's process: a ``Setup`` and then ``Ask`` on stdin, a line of JSON each; as many answers on stdout."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever libraries print is no answer
    setup = Setup(**json.loads(sys.stdin.readline()))
    if setup.engine == "gguf":
        out.write(json.dumps(write_gguf(setup)) + "\n")
        return
    try:
        engine = ENGINES[setup.engine](setup)
        watched = [one.pid for one in PROGRAMS] or [os.getpid()]
        for line in sys.stdin:
            ask = Ask(**json.loads(line))
            busy, began = sum(map(busy_s, watched)), time.perf_counter()
            written, given = engine(ask)
            ms = 1000 * (time.perf_counter() - began)
            processor_ms = 1000 * (sum(map(busy_s, watched)) - busy)
            peak = sum(map(peak_mib, watched))
            found = {"ms": ms, "processor_ms": processor_ms, "written": written, "given": given, "peak_mib": peak}
            out.write(json.dumps(found) + "\n")
    except AbsentError as absent:
        out.write(json.dumps({"absent": str(absent)}) + "\n")
    finally:
        for one in PROGRAMS:
            one.terminate()
            one.wait()


def busy_s(process: int) -> float:
    """Seconds of a processor that all threads of a process have had, ended ones too, however many others wanted it: its
    clock as ``clock_getcpuclockid`` names it on Linux."""
    return time.clock_gettime((~process << 3) | 2)


def peak_mib(process: int) -> float:
    """Most memory that a process has had at once, since its program began. (``getrusage`` counts in what the process
    was before it became this program.)"""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text(encoding="utf-8"))
    return int(found[1]) / 1024 if found else math.nan


# The files for llama.cpp.


def gguf_of(setup: Setup, kind: str) -> str:
    path = Path(setup.gguf) / f"{kind}.gguf"
    if not path.is_file():
        raise AbsentError("no model file: pip install gguf beside llama-cpp-python")
    return str(path)


def write_gguf(setup: Setup) -> dict[str, str]:
    """A Llama of the shape with random weights and Hone's vocabulary, in bf16 and in q8_0. The layout is that of
    llama.cpp's own converter: names by ``gguf``'s table, norms in float32."""
    try:
        import gguf
        import numpy as np
    except ImportError:
        return {"absent": "gguf"}
    shape, rng = setup.shape, np.random.default_rng(0)
    d, wide, vocab, heads = shape["d_model"], shape["d_ff"], shape["vocab_size"], shape["n_heads"]
    tensors = {"token_embd": rng.normal(0, 0.02, (vocab, d)), "output_norm": np.ones(d)}
    tensors["token_embd"][:SPECIALS] = 0.0
    for i in range(shape["n_layers"]):
        sizes = {"attn_q": (d, d), "attn_k": (d, d), "attn_v": (d, d), "attn_output": (d, d)}
        sizes |= {"ffn_gate": (wide, d), "ffn_up": (wide, d), "ffn_down": (d, wide)}
        tensors |= {f"blk.{i}.{name}": rng.normal(0, 0.02, size) for name, size in sizes.items()}
        tensors |= {f"blk.{i}.{name}": np.ones(d) for name in ("attn_norm", "ffn_norm")}
    told = json.loads((Path(setup.model or "") / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    words = sorted(told["vocab"], key=told["vocab"].__getitem__)
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in told["merges"]]
    for kind in ("bf16", "q8_0"):
        form = {"bf16": gguf.GGMLQuantizationType.BF16, "q8_0": gguf.GGMLQuantizationType.Q8_0}[kind]
        file = gguf.GGUFWriter(Path(setup.gguf) / f"{kind}.gguf", "llama")
        file.add_name(f"random, {kind}")
        file.add_context_length(ROOM)
        file.add_embedding_length(d)
        file.add_block_count(shape["n_layers"])
        file.add_feed_forward_length(wide)
        file.add_head_count(heads)
        file.add_head_count_kv(heads)
        file.add_rope_dimension_count(d // heads)
        file.add_rope_freq_base(10_000.0)
        file.add_layer_norm_rms_eps(1e-6)
        file.add_vocab_size(vocab)
        file.add_tokenizer_model("gpt2")
        file.add_tokenizer_pre("gpt-2")
        file.add_token_list(words)
        control, normal = int(gguf.TokenType.CONTROL), int(gguf.TokenType.NORMAL)
        file.add_token_types([control if i < SPECIALS else normal for i in range(vocab)])
        file.add_token_merges(merges)
        file.add_bos_token_id(0)
        file.add_eos_token_id(2)
        file.add_add_bos_token(False)
        for name, token in (("pre", PRE), ("suf", SUF), ("mid", MIDDLE)):
            file.add_uint32(f"tokenizer.ggml.fim_{name}_token_id", token)
        for name, values in tensors.items():
            array = values.astype(np.float32)
            if array.ndim == 1:
                file.add_tensor(f"{name}.weight", array)
            else:
                file.add_tensor(f"{name}.weight", gguf.quantize(array, form), raw_dtype=form)
        file.write_header_to_file()
        file.write_kv_data_to_file()
        file.write_tensors_to_file()
        file.close()
    return {}


# The process that asks.


def main(argv: Sequence[str] | None = None) -> int:
    options = parse(argv)
    from rich.console import Console

    from infill.tasks import held_out
    from model.checkpoint import DEFAULT_WEIGHTS, read_config
    from model.tokenizer import Tokenizer

    log = Console(stderr=True)
    folder = options.model or DEFAULT_WEIGHTS
    config, tokenizer = read_config(folder), Tokenizer.load(folder)
    sources = held_out(options.source, options.data, options.split)
    count = options.n + 1  # the first place of each size warms up
    tasks = {size: tasks_of(sources, tokenizer, config.context, size, count) for size in options.sizes}
    with tempfile.TemporaryDirectory() as files:
        setup = Setup("gguf", 1, str(folder), config.to_dict(), files, options.llama_server)
        if any(name.startswith(FOREIGN) for name in options.engines):
            asked_alone(options, setup)
        first = tasks[options.sizes[0]][0]
        starts = started(options, setup, first, tasks[options.sizes[-1]][0], log)
        names = [start.engine for start in starts]
        rows = [row for threads in options.threads for row in measured(options, setup, names, threads, tasks, log)]
    console = Console(width=None if sys.stdout.isatty() else 150)
    for threads in options.threads:
        for processor in (False, True):
            console.print(table([row for row in rows if row.threads == threads], starts, threads, processor=processor))
    found = {"rows": list(map(asdict, rows)), "starts": list(map(asdict, starts))}
    print(json.dumps({"benchmark": "rivals", "versions": versions(options), **found}))
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    add = parser.add_argument
    add("engines", nargs="*", metavar="ENGINE", help=f"of {'; '.join(ENGINES)} (default: all)")
    add("--model", type=Path, metavar="FOLDER", help="a checkpoint (default: the embedded weights)")
    add("--data", type=Path, default=Path("data"), help="a built corpus")
    add("--split", default="valid", choices=["valid", "test"])
    add("--source", type=Path, help="any folder of Python files instead of the corpus")
    add("--sizes", type=_numbers, default=[32, 128], metavar="32,128", help="tokens of an answer")
    add("--n", type=int, default=12, help="places of each size")
    add("--starts", type=int, default=5, help="how often each engine is started")
    add("--threads", type=_numbers, default=[1, 2], metavar="1,2")
    add("--llama-python", default=os.environ.get("HONE_LLAMA_PYTHON", sys.executable), metavar="PROGRAM",
        help="interpreter with llama-cpp-python and gguf (default: HONE_LLAMA_PYTHON, else this one)")  # fmt: skip
    add("--llama-server", default=os.environ.get("HONE_LLAMA_SERVER") or shutil.which("llama-server"),
        metavar="PROGRAM", help="llama.cpp's server (default: HONE_LLAMA_SERVER, else llama-server)")  # fmt: skip
    options = parser.parse_args(argv)
    if unknown := [name for name in options.engines if name not in ENGINES]:
        parser.error(f"there is no engine {unknown[0]!r}; there are {'; '.join(ENGINES)}")
    options.engines = list(dict.fromkeys([*MEASURES, *(options.engines or ENGINES)]))
    return options


def _numbers(text: str) -> list[int]:
    return sorted({int(number) for number in text.split(",")})


def tasks_of(sources: Any, tokenizer: "Tokenizer", context: int, size: int, count: int) -> list[Place]:
    """Places where about ``size`` tokens are missing, in files that fill the context.

    Raises: ValueError when the sources have too few.
    """
    from infill.tasks import make_tasks

    def length(text: str) -> int:
        return len(tokenizer.encode(text))

    found: list[Place] = []
    for kind in ("block", "lines"):
        for task in make_tasks(sources, kind, 100 * count, longest=size + size // 4, count=length):
            if len(found) == count:
                return found
            if length(task.middle) >= size - size // 4 and (place := place_of(task, tokenizer, context, size)):
                found.append(place)
    raise ValueError(f"only {len(found)} places of {size} tokens in files that are long enough; {count} are needed")


def place_of(task: "Task", tokenizer: "Tokenizer", context: int, size: int) -> Place | None:
    """None where the file does not fill the context, or the keystroke moves what of it is seen."""
    now, before = (ask_of(task.path, prefix, task.suffix, tokenizer, context, size)
                   for prefix in (task.prefix, task.prefix[:-1]))  # fmt: skip
    new = next((i for i, (a, b) in enumerate(zip(before.ids, now.ids, strict=False)) if a != b), len(before.ids))
    full = len(now.ids) >= 0.9 * (context - min(HOLE, context // 2))
    return Place(before, now) if full and len(now.ids) - new <= NEW else None


def ask_of(path: str, prefix: str, suffix: str, tokenizer: "Tokenizer", context: int, size: int) -> Ask:
    """The request with the context as ``infill.engine`` lays it out."""
    from infill.languages import language_of
    from model.layout import encode_context

    layout = encode_context(
        tokenizer,
        prefix,
        suffix,
        language=language_of(path),
        filename=path,
        context=context,
        glue=1,
        reserve=min(HOLE, context // 2),
    )
    behind, before = parts(layout.ids)
    near = tokenizer.decode(before), tokenizer.decode(behind)
    return Ask(path, prefix, suffix, layout.ids, size, near)


class Worker:
    """An engine's process."""

    def __init__(self, options: argparse.Namespace, setup: Setup) -> None:
        """Starts it. What it needs of Hone is found here; its threads are told before it loads anything."""
        foreign = setup.engine.startswith((*FOREIGN, "gguf"))
        python = options.llama_python if foreign else sys.executable
        threads = str(setup.threads)
        told = {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads, "TRANSFORMERS_VERBOSITY": "error"}
        environment = os.environ | told | {"PYTHONPATH": str(ROOT)}
        self.began = time.perf_counter()
        self.process = subprocess.Popen(
            [python, __file__, "--work"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.say(asdict(setup))

    def say(self, value: Mapping[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(value) + "\n")
        self.process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        """Raises: AbsentError when something that the engine needs is not there."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("an engine's process ended without an answer")
        found: dict[str, Any] = json.loads(line)
        if "absent" in found:
            raise AbsentError(found["absent"])
        return found

    def ask(self, ask: Ask) -> dict[str, Any]:
        """Raises: as ``hear``, and RuntimeError when it wrote fewer tokens than asked for."""
        with contextlib.suppress(BrokenPipeError):  # it has said why
            self.say(asdict(ask))
        found = self.hear()
        if found["written"] < ask.size:
            raise RuntimeError(f"{found['written']} tokens were written instead of {ask.size}")
        return found

    def stop(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self.process.communicate()


@contextlib.contextmanager
def worker(options: argparse.Namespace, setup: Setup) -> Iterator[Worker]:
    one = Worker(options, setup)
    try:
        yield one
    finally:
        one.stop()


def asked_alone(options: argparse.Namespace, setup: Setup) -> None:
    """Lets llama.cpp's files be written. Where they cannot be, its engines say so."""
    with worker(options, setup) as writer, contextlib.suppress(AbsentError):
        writer.hear()


def started(options: argparse.Namespace, setup: Setup, short: Place, long: Place, log: Any) -> list[Start]:
    """Every engine started anew, turn about, with as few threads as it will have: the first answer, and memory after a
    short one and a long one. Engines that are not there are left out."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in options.engines}
    for _ in range(options.starts):
        for name in list(taken):
            with worker(options, _for(setup, name, min(options.threads))) as one:
                try:
                    one.ask(short.before)
                    seconds = time.perf_counter() - one.began
                    # A sampler that computes its whole row has had as long a one already.
                    last = short if name in FORGETFUL else long
                    taken[name].append((seconds, one.ask(last.before)["peak_mib"]))
                except AbsentError as absent:
                    log.print(f"{name}: not here ({absent})", soft_wrap=True)
                    del taken[name]
    starts = []
    for name, found in taken.items():
        seconds_of, peaks = zip(*found, strict=True)
        starts.append(Start(name, median(seconds_of), quartiles(seconds_of), median(peaks)))
    return starts


def _for(setup: Setup, engine: str, threads: int) -> Setup:
    return Setup(engine, threads, setup.model, setup.shape, setup.gguf, setup.server)


def measured(
    options: argparse.Namespace,
    setup: Setup,
    names: Sequence[str],
    threads: int,
    tasks: Mapping[int, Sequence[Place]],
    log: Any,
) -> Iterator[Row]:
    """All engines turn about, place by place; who begins changes."""
    from rich.progress import track

    taken: dict[tuple[str, int, str], list[dict[str, Any]]] = {}
    with contextlib.ExitStack() as stack:
        workers = {name: stack.enter_context(worker(options, _for(setup, name, threads))) for name in names}
        rounds = [(i, size) for i in range(options.n + 1) for size in options.sizes]
        for i, size in track(rounds, f"threads: {threads}", console=log):
            place = tasks[size][i]
            begins = i % len(names)
            for name in [*names[begins:], *names[:begins]]:
                if name in FORGETFUL and i > -(-options.n // 3):
                    continue
                time.sleep(PAUSE)
                fresh = workers[name].ask(place.before)
                cached = fresh if name in FORGETFUL else workers[name].ask(place.now)
                if i:
                    taken.setdefault((name, size, "fresh"), []).append(fresh)
                    taken.setdefault((name, size, "cached"), []).append(cached)
    for name, size, kind in itertools.product(names, options.sizes, ("fresh", "cached")):
        answers = taken[name, size, kind]
        times = [one["ms"] for one in answers]
        yield Row(
            engine=name,
            what=f"{size} tokens, {kind}, threads {threads}",
            threads=threads,
            n=len(answers),
            ms=median(times),
            quartiles=quartiles(times),
            processor_ms=median(one["processor_ms"] for one in answers),
            tokens_per_s=1000 * size / median(times),
            context=fmean(len(place.now.ids) for place in tasks[size][1:]),
            given=fmean(one["given"] for one in answers),
            against={one: compared(taken[one, size, kind], answers, "ms") for one in MEASURES},
            against_processor={one: compared(taken[one, size, kind], answers, "processor_ms") for one in MEASURES},
        )


def compared(ours: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]], key: str) -> dict[str, float]:
    """On the places that both have answered, the first ones."""
    from infill.timing import ratio

    found = ratio([(one[key], other[key]) for one, other in zip(ours, theirs, strict=False)])
    return {"faster": found.faster, "low": found.low, "high": found.high}


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = quantiles(values, n=4, method="inclusive")
    return low, high


def versions(options: argparse.Namespace) -> dict[str, str]:
    """Of what was measured, as far as it is installed."""
    asked = "import importlib.metadata as m, json; print(json.dumps({d.name: d.version for d in m.distributions()}))"
    found: dict[str, str] = {}
    for python in (options.llama_python, sys.executable):
        done = subprocess.run([python, "-c", asked], stdout=subprocess.PIPE, text=True, check=False)
        found |= json.loads(done.stdout or "{}")
    wanted = ("llama_cpp_python", "transformers", "torch")
    spelt = {name.replace("-", "_"): version for name, version in found.items()}
    return {name: spelt[name] for name in wanted if name in spelt}


def table(rows: Sequence[Row], starts: Sequence[Start], threads: int, *, processor: bool) -> "Table":
    from rich.table import Table

    what = "processor ms of an answer" if processor else "ms from a request to its answer"
    title = f"median {what}, {threads} thread{'s' * (threads > 1)} (times as much as {'; as '.join(MEASURES)})"
    result = Table(title=title, title_justify="left")
    kinds = list(dict.fromkeys(row.what for row in rows))
    more = () if processor else ("tokens/s", "MiB", "start s")
    for column in ("engine", *(kind.rpartition(",")[0] for kind in kinds), *more):
        result.add_column(column, justify="left" if column == "engine" else "right")
    for start in starts:
        own = {row.what: row for row in rows if row.engine == start.engine}
        cells = [_cell(own[kind], processor=processor) for kind in kinds]
        fastest = max(row.tokens_per_s for row in own.values())
        rest = (f"{fastest:.0f}", f"{start.peak_mib:.0f}", f"{start.first_answer_s:.2f}")
        result.add_row(start.engine, *cells, *(() if processor else rest))
    return result


def _cell(row: Row, *, processor: bool) -> str:
    ms, against = (row.processor_ms, row.against_processor) if processor else (row.ms, row.against)
    times = "; ".join(f"{one['faster']:.1f}" for one in against.values())
    return f"{ms:.0f} ({times})"


if __name__ == "__main__":
    if sys.argv[1:] == ["--work"]:
        work()
    else:
        sys.exit(main())
