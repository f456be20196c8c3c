"""Would another engine, or another number format, compute the same forward pass faster? At what start, size and loss?

The same pass behind the same context on the same threads, turn about in one run: Hone's own (``model.inference``) in
float32, bf16 and with int8 matrices (weights only; weights and activations; the vocabulary alone), and a plain module
of the same weights run by torch as it is, by torch.compile, by AOTInductor, by onnxruntime (float32 and its dynamic
int8) and by OpenVINO, where these are installed (``pip install onnx onnxscript onnxruntime openvino``). The exported
ones have fixed shapes, one export for each pass: better than what they could have in use, where every request has other
shapes.

    token       one token more, with its logits
    rest        four short canvases and their glue, as for the rest of a line
    32, 64      three canvases of 32 places, one of 64

"start" is what it takes until the first pass has been computed, imports included, in seconds and for all passes
together. "difference" is the largest one of a logit, "same" how often the likeliest token is that of float32. Ends
with one line of JSON.
"""

import argparse
import contextlib
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional

import model.inference
from infill.canvas import Canvas
from model.checkpoint import load_denoiser
from model.denoiser import NetworkDenoiser, Packed, State
from model.inference import WIDE, Inference, Tokens, adjacent
from model.network import GATE_INPUTS, PAIR, Block, Network

Run = Callable[[], Tensor]
PASSES = {"token": (1, 1, 0), "rest": (4, 8, 1), "32": (3, 32, 1), "64": (1, 64, 1)}
"""Canvases, places of each, glue."""


@dataclass(frozen=True)
class Pass:
    """One forward pass: behind ``state``, the logits of all tokens."""

    name: str
    state: State
    tokens: Tokens

    @property
    def mask(self) -> Tensor:
        """[N, N]: 0 where a token sees another of its pass, else minus infinity."""
        place = torch.arange(len(self.tokens.ids))
        hidden = (place < self.tokens.first[:, None]) | (place > self.tokens.last[:, None])
        return torch.zeros(hidden.shape).masked_fill(hidden, -torch.inf)


@dataclass(frozen=True)
class Row:
    engine: str
    start_s: float
    times_ms: dict[str, float]
    """By pass."""
    difference: float
    same: float


class Plain(nn.Module):
    """What ``Inference.run`` and the head compute for one group, in operations that every exporter knows."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        weight = network.embedding.weight.detach().float()
        self.table = nn.Parameter(functional.rms_norm(weight, weight.shape[1:]), requires_grad=False)
        self.head = nn.Parameter(weight, requires_grad=False)
        self.shift = nn.Parameter(network.shift.detach().float(), requires_grad=False)
        self.pairs = None if network.pair_embedding is None else _fixed(network.pair_embedding.weight)
        self.blocks = nn.ModuleList(PlainBlock(block) for block in network.blocks if isinstance(block, Block))
        self.cos, self.sin = (t.float() for t in (network.cos, network.sin))

    def forward(
        self, ids: Tensor, previous: Tensor, position: Tensor, mask: Tensor, keys: Tensor, values: Tensor
    ) -> Tensor:
        """ids, previous, position [N], mask [N, N], keys [layers, H, S, T], values [layers, H, T, S] -> [N, V]."""
        x = self.table[ids] + self.shift * self.table[previous]
        if self.pairs is not None:
            x = x + self.pairs[(ids + PAIR * previous) % len(self.pairs)]
        x = x0 = _norm(x)
        cos, sin = self.cos[position][:, None], self.sin[position][:, None]
        for i, block in enumerate(self.blocks):
            x = block(x, x0, ids, cos, sin, mask, keys[i], values[i])
        return _norm(x) @ self.head.T


class PlainBlock(nn.Module):
    def __init__(self, block: Block) -> None:
        super().__init__()
        attention, feed_forward = block.attention, block.feed_forward
        self.heads, self.scale = attention.heads, attention.scale
        self.keep, self.door = block.residual.tolist()
        parts = [adjacent(attention.query.weight, self.heads), adjacent(attention.key.weight, self.heads)]
        self.inputs = _fixed(torch.cat([*parts, attention.value.weight]))
        self.out, self.down = _fixed(attention.out.weight), _fixed(feed_forward.down.weight)
        self.gate_up = _fixed(torch.cat([feed_forward.gate.weight, feed_forward.up.weight]))
        self.has_values = attention.value_embedding is not None
        if attention.value_embedding is not None and attention.value_gate is not None:
            self.values = _fixed(attention.value_embedding.weight)
            self.gate = _fixed(attention.value_gate.weight)

    def forward(
        self, x: Tensor, x0: Tensor, ids: Tensor, cos: Tensor, sin: Tensor, mask: Tensor, keys: Tensor, values: Tensor
    ) -> Tensor:
        x = self.keep * x + self.door * x0
        y = _norm(x)
        n, width = y.shape
        q, k, v = (part.reshape(n, self.heads, -1) for part in (y @ self.inputs.T).split(width, dim=1))
        if self.has_values:
            gate = 2 * torch.sigmoid(y[:, :GATE_INPUTS] @ self.gate.T)
            v = v + gate[..., None] * self.values[ids].reshape(n, self.heads, -1)
        q, k = (_turned(_norm(part), cos, sin) for part in (q, k))
        all_keys = torch.cat([keys, k.permute(1, 2, 0)], dim=2)
        all_values = torch.cat([values, v.transpose(0, 1)], dim=1)
        scores = torch.matmul(q.transpose(0, 1) * self.scale, all_keys)
        scores = scores + functional.pad(mask, (keys.shape[2], 0))
        seen = torch.matmul(scores.softmax(-1), all_values).transpose(0, 1).reshape(n, width)
        x = x + seen @ self.out.T
        gate, up = (_norm(x) @ self.gate_up.T).chunk(2, dim=-1)
        return x + (functional.silu(gate) * up) @ self.down.T


def main(argv: Sequence[str] | None = None) -> int:
    options = parse(argv)
    torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore")  # of the exporters, about themselves
    log = Console(stderr=True)
    with torch.inference_mode():
        passes = list(made(options))
    wanted = {name: make for name, make in ENGINES.items() if not options.only or name in options.only}
    ready: dict[str, tuple[float, list[Run]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, make in wanted.items():
            began = time.perf_counter()
            try:
                runs = make(options, passes, Path(folder))
                for run in runs:
                    run()
            except ImportError as error:
                log.print(f"{name}: not here ({error})")
                continue
            ready[name] = time.perf_counter() - began, runs
            log.print(f"{name}: ready after {ready[name][0]:.1f} s")
        rows = measured(ready, passes, options.n)
    Console(width=None if sys.stdout.isatty() else 120).print(table(rows, options.threads))
    facts = {"threads": options.threads, "torch": torch.__version__}
    print(json.dumps({"benchmark": "engines", **facts, "rows": list(map(asdict, rows))}))
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("only", nargs="*", metavar="ENGINE", help=f"of {', '.join(ENGINES)} (default: all)")
    parser.add_argument("--model", type=Path, metavar="FOLDER", help="a checkpoint (default: the embedded weights)")
    parser.add_argument("--context", type=int, default=500, help="context tokens (at most what the model takes)")
    parser.add_argument("--n", type=int, default=30, help="rounds")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    return parser.parse_args(argv)


def made(options: argparse.Namespace, dtype: str = "float32") -> Iterator[Pass]:
    """The passes over random context tokens: what they say does not matter to the time."""
    denoiser = load_denoiser(options.model, device="cpu", dtype=dtype)
    for name, (rows, length, glue) in PASSES.items():
        if length <= denoiser.max_hole:
            yield _pass(denoiser, name, min(options.context, denoiser.context), rows, length, glue)


def _pass(denoiser: NetworkDenoiser, name: str, context: int, rows: int, length: int, glue: int) -> Pass:
    tokenizer, generator = denoiser.tokenizer, torch.Generator().manual_seed(0)
    drawn = torch.randint(tokenizer.n_special, tokenizer.vocab_size, (context,), generator=generator).tolist()
    state = denoiser.encode(drawn)
    canvas = Canvas.of_lengths([length] * rows, [tokenizer.eof] * glue, tokenizer, denoiser.device)
    packed = Packed()
    for row in canvas.ids.tolist():
        packed.row(state, row, tokenizer.pad, causal=name == "token")
    return Pass(name, state, packed.tokens(denoiser.device))


def hone(options: argparse.Namespace, passes: Sequence[Pass], _: Path, *, dtype: str = "float32") -> list[Run]:
    """Hone's own pass; ``passes`` are made again where the context's keys are of another dtype."""
    with torch.inference_mode():
        inference = load_denoiser(options.model, device="cpu", dtype=dtype).inference
        own = passes if dtype == "float32" else list(made(options, dtype))
    return [_hone(inference, one) for one in own]


def _hone(inference: Inference, one: Pass) -> Run:
    def run() -> Tensor:
        with torch.inference_mode():
            return inference.logits(inference.run(one.tokens)).float()

    return run


def of_int8(linear: Callable[[Tensor], Callable[[Tensor], Tensor]], *, smallest: int = 0) -> Callable[..., list[Run]]:
    """Hone's own pass with the matrices of at least so many outputs in int8."""

    def make(options: argparse.Namespace, passes: Sequence[Pass], folder: Path) -> list[Run]:
        usual = model.inference.linear
        model.inference.linear = lambda weight: (linear if weight.shape[0] >= smallest else usual)(weight)
        try:
            return hone(options, passes, folder)
        finally:
            model.inference.linear = usual

    return make


def int8_dynamic(weight: Tensor) -> Callable[[Tensor], Tensor]:
    """Weights in int8, a scale for each output; activations in uint8, one scale for all of them (FBGEMM)."""
    scale = weight.abs().amax(1).clamp_min(1e-9) / 127
    zeros = torch.zeros(len(scale), dtype=torch.int64)
    packed = torch.ops.quantized.linear_prepack(torch.quantize_per_channel(weight, scale, zeros, 0, torch.qint8), None)
    return lambda x: torch.ops.quantized.linear_dynamic(x, packed, True)


def int8_weights(weight: Tensor) -> Callable[[Tensor], Tensor]:
    """Weights in int8, a scale for each output; products in float32."""
    scale = weight.abs().amax(1).clamp_min(1e-9) / 127
    rounded = (weight / scale[:, None]).round().to(torch.int8)
    return lambda x: torch._weight_int8pack_mm(x, rounded, scale)  # noqa: SLF001 (as torch's compiler does it)


def inputs_of(one: Pass) -> tuple[Tensor, ...]:
    """What ``Plain.forward`` takes."""
    context = len(one.state.ids)
    keys = torch.stack([k[:, :, :context] for k, _ in one.state.cache.layers])
    values = torch.stack([v[:, :context] for _, v in one.state.cache.layers])
    tokens = one.tokens
    made = (tokens.ids, tokens.previous, tokens.position, one.mask, keys, values)
    return tuple(tensor.clone().contiguous() for tensor in made)


def plain(options: argparse.Namespace) -> Plain:
    return Plain(load_denoiser(options.model, device="cpu", dtype="float32").network).eval()


def eager(options: argparse.Namespace, passes: Sequence[Pass], _: Path) -> list[Run]:
    return [_called(plain(options), inputs_of(one)) for one in passes]


def compiled(options: argparse.Namespace, passes: Sequence[Pass], _: Path) -> list[Run]:
    return [_called(torch.compile(plain(options), dynamic=False), inputs_of(one)) for one in passes]


def inductor(options: argparse.Namespace, passes: Sequence[Pass], folder: Path) -> list[Run]:
    """Compiled ahead into a library: "start" has the compiling in it, which a user would not pay."""
    from torch._inductor import aoti_compile_and_package, aoti_load_package

    runs: list[Run] = []
    for one in passes:
        exported = torch.export.export(plain(options), inputs_of(one), strict=False)
        path = aoti_compile_and_package(exported, package_path=str(folder / f"{one.name}.pt2"))
        runs.append(_called(aoti_load_package(path), inputs_of(one)))
    return runs


def _called(module: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> Run:
    def run() -> Tensor:
        with torch.no_grad():
            return module(*inputs)

    return run


def exported(options: argparse.Namespace, one: Pass, folder: Path) -> Path:
    """The plain module as ONNX, of one pass's shapes."""
    path = folder / f"{one.name}.onnx"
    if not path.exists():
        with contextlib.redirect_stdout(sys.stderr):
            torch.onnx.export(plain(options), inputs_of(one), str(path), dynamo=True, external_data=False)
    return path


def onnxruntime(options: argparse.Namespace, passes: Sequence[Pass], folder: Path, *, int8: bool = False) -> list[Run]:
    import onnxruntime as engine

    settings = engine.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.log_severity_level = 3
    runs: list[Run] = []
    for one in passes:
        path = exported(options, one, folder)
        if int8:
            from onnxruntime.quantization import QuantType, quantize_dynamic

            rounded = folder / f"{one.name}-int8.onnx"
            quantize_dynamic(path, rounded, per_channel=True, weight_type=QuantType.QInt8)
            path = rounded
        session = engine.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
        names = [given.name for given in session.get_inputs()]
        given = dict(zip(names, (tensor.numpy() for tensor in _used(inputs_of(one), names)), strict=True))
        runs.append(partial(_of_session, session.run, given))
    return runs


def openvino(options: argparse.Namespace, passes: Sequence[Pass], folder: Path) -> list[Run]:
    import openvino as engine

    settings = {
        "INFERENCE_NUM_THREADS": options.threads,
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
    }
    runs: list[Run] = []
    for one in passes:
        loaded = engine.Core().compile_model(str(exported(options, one, folder)), "CPU", settings)
        names = [given.any_name for given in loaded.inputs]
        given = [tensor.numpy() for tensor in _used(inputs_of(one), names)]
        runs.append(partial(_of_loaded, loaded, given))
    return runs


def _of_session(run: Callable[..., Any], given: dict[str, Any]) -> Tensor:
    return torch.from_numpy(run(None, given)[0])


def _of_loaded(loaded: Callable[..., Any], given: list[Any]) -> Tensor:
    return torch.from_numpy(loaded(given)[0].copy())


def _used(inputs: tuple[Tensor, ...], names: Sequence[str]) -> list[Tensor]:
    """The inputs by their names: an exporter may leave out what does not matter."""
    known = dict(zip(("ids", "previous", "position", "mask", "keys", "values"), inputs, strict=True))
    return [known[name] for name in names]


ENGINES: dict[str, Callable[..., list[Run]]] = {
    "hone": hone,
    "hone bf16": lambda *given: hone(*given, dtype="bfloat16"),
    "hone int8": of_int8(int8_dynamic),
    "hone int8 head": of_int8(int8_dynamic, smallest=WIDE),
    "hone int8 weights": of_int8(int8_weights),
    "torch": eager,
    "torch.compile": compiled,
    "aotinductor": inductor,
    "onnxruntime": onnxruntime,
    "onnxruntime int8": lambda *given: onnxruntime(*given, int8=True),
    "openvino": openvino,
}


def measured(ready: dict[str, tuple[float, list[Run]]], passes: Sequence[Pass], n: int) -> list[Row]:
    """All engines turn about, round by round."""
    taken: dict[str, list[list[float]]] = {name: [[] for _ in passes] for name in ready}
    for _ in range(n):
        for place in range(len(passes)):
            for name, (_, runs) in ready.items():
                began = time.perf_counter()
                runs[place]()
                taken[name][place].append(1000 * (time.perf_counter() - began))
    truth = [run() for run in next(iter(ready.values()))[1]]
    rows = []
    for name, (start, runs) in ready.items():
        found = [run().float() for run in runs]
        difference = max(float((a - b).abs().max()) for a, b in zip(found, truth, strict=True))
        alike = torch.cat([a.argmax(-1) == b.argmax(-1) for a, b in zip(found, truth, strict=True)])
        times = {one.name: median(spent) for one, spent in zip(passes, taken[name], strict=True)}
        rows.append(Row(name, start, times, difference, float(alike.float().mean())))
    return rows


def table(rows: Sequence[Row], threads: int) -> Table:
    result = Table(
        title=f"one forward pass, {threads} threads; milliseconds, times faster than the first", title_justify="left"
    )
    passes = list(rows[0].times_ms)
    for name in ("engine", "start s", *passes, "difference", "same %"):
        result.add_column(name, justify="left" if name == "engine" else "right")
    for row in rows:
        cells = [f"{row.times_ms[one]:.1f} ({rows[0].times_ms[one] / row.times_ms[one]:.2f})" for one in passes]
        result.add_row(row.engine, f"{row.start_s:.1f}", *cells, f"{row.difference:.2g}", f"{100 * row.same:.1f}")
    return result


def _norm(x: Tensor) -> Tensor:
    return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-7)


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Adjacent pairs rotated: x [N, H, S], cos and sin [N, 1, S / 2]."""
    a, b = x.reshape(*x.shape[:2], -1, 2).unbind(-1)
    return torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1).reshape(x.shape)


def _fixed(weight: Tensor) -> nn.Parameter:
    return nn.Parameter(weight.detach().float().contiguous(), requires_grad=False)


if __name__ == "__main__":
    sys.exit(main())
