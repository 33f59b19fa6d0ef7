"""Judge a model's gradient against central differences of its own forward pass, in float64.

For a random direction u of the inputs and a random cotangent v of the outputs, ⟨v, J u⟩ by central differences must
equal
⟨Jᵀ v, u⟩ from the gradient graph. Two evaluations of the forward model per input, whatever its size; nothing of the
engine is used on the left-hand side.
"""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx

import onnx_ig
from onnx_ig.autodiff.registry import lookup_name
from onnx_ig.checking.exact.forward import Forward
from onnx_ig.checking.exact.widening import all_nodes, as_float64
from onnx_ig.differentiation import exact_gradient
from onnx_ig.errors import ModelError, NoGradientPathError, NotDifferentiableError, OnnxIgError, OnnxIgWarning
from onnx_ig.runtime.session import Session
from tests.judging.declaring import declared

FLOAT, DOUBLE = onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE
EXACT_TOLERANCE = 1e-5  # float64 against central differences with step 1e-6
FLOAT32_TOLERANCE = 2e-3  # the same product evaluated in float32 by ONNX Runtime
ROUNDING = 1e-5  # what saturated functions leave of a gradient of 0 in float32


@dataclass
class Case:
    """A model with one set of inputs; ``constants`` names the inputs that are frozen into the model before judging."""

    name: str
    model: onnx.ModelProto
    inputs: dict[str, Any]
    constants: tuple[str, ...] = ()
    noise: float = 1e-3  # moves the inputs off the kinks on which hand-written examples like to sit


@dataclass
class Verdict:
    """``outcome``: right, wrong, refused, zero (derivative zero by nature), or unjudged (with the reason)."""

    name: str
    outcome: str
    detail: str = ""
    errors: dict[str, float] = field(default_factory=dict)


def make_case(
    op_type: str,
    inputs: list[np.ndarray | None],
    *,
    name: str = "",
    n_outputs: int = 1,
    opset: int = 18,
    domain: str = "",
    constants: tuple[int, ...] = (),
    noise: float = 0.0,
    **attributes: Any,
) -> Case:
    """A one-node case: ``inputs`` by position (None leaves one out); positions in ``constants`` are frozen."""
    names = ["" if x is None else f"x{i}" for i, x in enumerate(inputs)]
    outputs = [f"y{i}" for i in range(n_outputs)]
    node = onnx.helper.make_node(op_type, names, outputs, domain=domain, **attributes)
    arrays = {n: x for n, x in zip(names, inputs, strict=True) if x is not None}
    infos = [
        onnx.helper.make_tensor_value_info(n, onnx.helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
        for n, x in arrays.items()
    ]
    graph = onnx.helper.make_graph([node], op_type, infos, [onnx.ValueInfoProto(name=n) for n in outputs])
    opsets = [onnx.helper.make_opsetid("", opset)] + ([onnx.helper.make_opsetid(domain, 1)] if domain else [])
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10)
    inferred = onnx.shape_inference.infer_shapes(model)
    for info, known in zip(graph.output, inferred.graph.output, strict=True):
        info.CopyFrom(known)
        if (
            info.type.WhichOneof("value") is None
        ):  # the standard infers nothing: the first float input's type, any shape
            info.type.tensor_type.elem_type = next(i.type.tensor_type.elem_type for i in infos if _is_float_tensor(i))
    model.graph.CopyFrom(graph)
    return Case(name or op_type, model, arrays, tuple(f"x{i}" for i in constants), noise)


def judge(case: Case, *, shapes: str = "static", seed: int = 0, runtime: bool = True) -> Verdict:
    """Judge the gradient of every float output with respect to each float input.

    Args:
        shapes: what the model declares: ``static``, ``symbolic`` (every dimension a symbol) or ``none`` (no shape at
        all).
        runtime: also evaluate the gradient graph in float32 in ONNX Runtime (not Dropout in training mode, which
            draws another mask there).
    """
    rng = np.random.default_rng(seed)
    model = declared(_frozen(case), shapes)
    feeds = {n: x for n, x in case.inputs.items() if n not in case.constants}
    wide = as_float64(model)
    narrow = {i.name for i in wide.graph.input if i.type.tensor_type.elem_type == FLOAT}  # by the standard
    feeds = {n: x if n in narrow else _as_double(x, rng, case.noise) for n, x in feeds.items()}
    sources = [i.name for i in wide.graph.input if _is_float_tensor(i) and i.name not in narrow]
    ends = [o.name for o in wide.graph.output if _is_float_tensor(o)]
    if not sources or not ends:
        return Verdict(case.name, "unjudged", "no float input or no float output")
    if any(_rounds(node) for node in all_nodes(model.graph)):
        return Verdict(case.name, "unjudged", "it rounds, and its gradient is the one straight through the rounding")
    try:
        forward = Forward(wide)
        reference = forward(feeds)
        again = forward(feeds)
    except Exception as error:
        return Verdict(case.name, "unjudged", f"the forward model does not run in float64: {_line(error)}")
    if any(not np.array_equal(reference[y], again[y], equal_nan=True) for y in ends):
        return Verdict(case.name, "unjudged", "the forward model draws random numbers")
    cotangents = {y: rng.standard_normal(np.shape(reference[y])) for y in ends}
    try:
        slopes = {x: _slope(forward, feeds, x, cotangents, rng) for x in sources}
    except Exception as error:
        return Verdict(case.name, "unjudged", f"the forward model does not run beside the point: {_line(error)}")
    if any(not np.isfinite(slope) for _, slope in slopes.values()):
        return Verdict(case.name, "unjudged", "the derivative is not finite here")
    return _compare(case, wide, model, feeds, cotangents, slopes, sources, ends, runtime)


def _compare(
    case: Case,
    wide: onnx.ModelProto,
    narrow: onnx.ModelProto,
    feeds: dict[str, Any],
    cotangents: dict[str, np.ndarray],
    slopes: dict[str, tuple[np.ndarray, float]], sources: list[str], ends: list[str], runtime: bool,
) -> Verdict:  # fmt: skip
    zero = all(abs(slope) < 1e-9 for _, slope in slopes.values())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OnnxIgWarning)
            exact = exact_gradient(wide, wrt=sources, outputs=ends)
    except NoGradientPathError as error:
        return Verdict(case.name, "zero" if zero else "wrong", _line(error))
    except NotDifferentiableError as error:
        return Verdict(case.name, "refused", _line(error))
    except ModelError as error:
        return Verdict(case.name, "unjudged", _line(error))
    full = {**feeds, **{f"cotangent_{y}": v for y, v in cotangents.items()}}
    errors: dict[str, float] = {}
    try:
        grads = Forward(exact)(full)
    except Exception as error:
        return Verdict(case.name, "wrong", f"the gradient model does not run in float64: {_line(error)}")
    scale = max(1e-3, max(abs(slope) for _, slope in slopes.values()))
    for x, (direction, slope) in slopes.items():
        grad = grads[f"grad_{x}"]
        if grad.shape != np.shape(feeds[x]):
            return Verdict(case.name, "wrong", f"grad_{x} has shape {grad.shape}, the input {np.shape(feeds[x])}")
        errors[x] = abs(float(np.sum(grad * direction)) - slope) / scale
        if not errors[x] <= EXACT_TOLERANCE:
            return Verdict(
                case.name, "wrong", f"{x}: ⟨Jᵀv,u⟩ = {np.sum(grad * direction):.8g}, by differences {slope:.8g}", errors
            )
    if runtime and not any(node.op_type == "Dropout" and len(node.input) > 2 for node in all_nodes(narrow.graph)):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", OnnxIgWarning)
                proto = onnx_ig.differentiate(narrow, wrt=sources, outputs=ends)
            proto.ir_version = min(proto.ir_version, 10)
            session = Session(proto, "cpu", threads=1)
            types = {i.name: i.type.tensor_type.elem_type for i in proto.graph.input}
            values = session.run({n: _as_declared(v, types[n]) for n, v in full.items() if n in types})
        except OnnxIgError as error:
            if not _runs(narrow, full):
                return Verdict(
                    case.name, "right", "in float64 only: ONNX Runtime has no kernels for the model itself", errors
                )
            return Verdict(case.name, "wrong", f"in ONNX Runtime: {_line(error)}", errors)
        for x, (direction, slope) in slopes.items():
            got = float(np.sum(values[f"grad_{x}"].astype(np.float64) * direction))
            bound = FLOAT32_TOLERANCE * (scale + float(np.sum(np.abs(grads[f"grad_{x}"] * direction)))) + ROUNDING
            if not abs(got - slope) <= bound:
                if _deviates(narrow, wide, full):
                    return Verdict(
                        case.name, "right", "by the standard, from which ONNX Runtime's result differs", errors
                    )
                return Verdict(
                    case.name, "wrong", f"{x} in ONNX Runtime: {got:.6g}, by differences {slope:.6g}", errors
                )
    return Verdict(
        case.name, "zero" if zero and not any(np.any(grads[f"grad_{x}"]) for x in sources) else "right", "", errors
    )


def _runs(model: onnx.ModelProto, feeds: dict[str, Any]) -> bool:
    """Whether ONNX Runtime runs the model without its gradient."""
    try:
        _outputs(model, feeds)
    except OnnxIgError:
        return False
    return True


def _outputs(model: onnx.ModelProto, feeds: dict[str, Any]) -> dict[str, np.ndarray]:
    model = copy.deepcopy(model)
    model.ir_version = min(model.ir_version, 10)
    session = Session(model, "cpu", threads=1)
    types = {i.name: i.type.tensor_type.elem_type for i in model.graph.input}
    return session.run({n: _as_declared(v, types[n]) for n, v in feeds.items() if n in types})


def _deviates(narrow: onnx.ModelProto, wide: onnx.ModelProto, feeds: dict[str, Any]) -> bool:
    """Whether ONNX Runtime computes other values from the model itself than the judge: reading the standard its way."""
    expected = Forward(wide)({i.name: feeds[i.name] for i in wide.graph.input})
    return any(
        not np.allclose(y, expected[name], rtol=1e-2, atol=1e-2, equal_nan=True)
        for name, y in _outputs(narrow, feeds).items()
        if isinstance(y, np.ndarray) and y.dtype.kind == "f"
    )


def _rounds(node: onnx.NodeProto) -> bool:
    """Whether the operator quantises: judged against its float twin in tests/autodiff/test_quantised.py."""
    entry = lookup_name(node.domain, node.op_type)
    return entry is not None and entry.kind == "straight-through" and node.op_type != "DequantizeLinear"


def _slope(
    forward: Forward, feeds: dict[str, Any], x: str, cotangents: dict[str, np.ndarray], rng: np.random.Generator
) -> tuple[np.ndarray, float]:
    """A random direction at input ``x`` and ⟨v, J u⟩ along it by central differences."""
    direction = rng.standard_normal(np.shape(feeds[x]))
    step = 1e-6
    values = []
    for sign in (1.0, -1.0):
        moved = forward({**feeds, x: np.asarray(feeds[x] + sign * step * direction)})
        values.append({y: np.asarray(moved[y], np.float64) for y in cotangents})
    # subtracting before weighting keeps the digits that a large common value would eat
    slope = sum(float(np.sum(v * (values[0][y] - values[1][y]))) for y, v in cotangents.items()) / (2 * step)
    return direction, slope


def _frozen(case: Case) -> onnx.ModelProto:
    model = copy.deepcopy(case.model)
    for name in case.constants:
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(case.inputs[name]), name))
        kept = [i for i in model.graph.input if i.name != name]
        del model.graph.input[:]
        model.graph.input.extend(kept)
    return model


def _is_float_tensor(info: onnx.ValueInfoProto) -> bool:
    return info.type.WhichOneof("value") == "tensor_type" and info.type.tensor_type.elem_type in (FLOAT, DOUBLE)


def _as_double(x: Any, rng: np.random.Generator, noise: float) -> Any:
    if isinstance(x, np.ndarray) and x.dtype == np.float32:
        return np.asarray(x.astype(np.float64) + noise * rng.uniform(-1, 1, x.shape))
    return x


def _as_declared(value: Any, elem_type: int) -> Any:
    return value.astype(np.float32) if elem_type == FLOAT and isinstance(value, np.ndarray) else value


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300] if lines else ''}"
