"""Tell a wrong gradient from rounding and from corners, by measurement: what else would explain the judge's verdict?"""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
import onnx

import onnx_ig
from onnx_ig.checking.exact.forward import Forward
from onnx_ig.checking.exact.widening import as_float64
from onnx_ig.differentiation import exact_gradient
from onnx_ig.errors import OnnxIgError, OnnxIgWarning
from onnx_ig.runtime.session import Session
from tests.judging.judge import DOUBLE, FLOAT, Case


def wide_feeds(feeds: dict[str, Any]) -> dict[str, Any]:
    """The inputs with float32 in float64."""
    return {n: x.astype(np.float64) if x.dtype == np.float32 else x for n, x in feeds.items()}


def excuse(case: Case) -> str:
    """Why the judge's "wrong" is no mistake of the gradient; "" when it is one.

    * Not smooth here: where the gradient is off, differences with steps 1e-5 and 1e-6, or to the left and to the right,
      disagree; or it is off nowhere (the judge's own direction crossed a kink).
    * Rounding of float32: Monte Carlo arithmetic. The float64 gradient graph with every tensor multiplied by
      1 ± 2⁻²⁴ at random spreads about as far as ONNX Runtime's float32 result is away.
    """
    model, feeds, rng = as_float64(case.model), wide_feeds(case.inputs), np.random.default_rng(1)
    sources = [n for n, x in feeds.items() if x.dtype == np.float64]
    ends = [o.name for o in model.graph.output]
    forward = Forward(model)
    cotangents = {y: rng.standard_normal(v.shape) for y, v in forward(feeds).items()}
    full = {**feeds, **{f"cotangent_{y}": v for y, v in cotangents.items()}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OnnxIgWarning)
        try:
            wide = exact_gradient(model, wrt=sources, outputs=ends)
            narrow = onnx_ig.differentiate(case.model, wrt=sources, outputs=ends)
            grads = {x: Forward(wide)(full)[f"grad_{x}"] for x in sources}
        except Exception:
            return ""
    if any(grads[x].shape != feeds[x].shape for x in sources):
        return ""
    kinks = 0
    for _ in range(3):
        moves = {x: rng.standard_normal(feeds[x].shape) for x in sources}
        slopes = {x: _slopes(forward, feeds, x, u, cotangents) for x, u in moves.items()}
        tolerance = 1e-5 * max(1e-3, max(abs(fine) for _, fine, _ in slopes.values()))
        for x, (coarse, fine, jump) in slopes.items():
            if abs(float(np.sum(grads[x] * moves[x])) - fine) > tolerance:
                if abs(coarse - fine) <= tolerance and jump <= 100 * tolerance:
                    return ""
                kinks += 1
    if kinks:
        return "not smooth here: differences disagree with one another"
    return _rounding(wide, narrow, full, grads)


def _slopes(
    forward: Forward, feeds: dict[str, Any], x: str, u: np.ndarray, cotangents: dict[str, np.ndarray]
) -> tuple[float, float, float]:
    """⟨v, J u⟩ by central differences with steps 1e-5 and 1e-6, and how far the latter's two halves are apart."""

    def rise(start: float, end: float) -> float:
        low, high = (forward({**feeds, x: feeds[x] + step * u}) for step in (start, end))
        return sum(float(np.sum(v * (high[y] - low[y]))) for y, v in cotangents.items()) / (end - start)

    return rise(-1e-5, 1e-5), rise(-1e-6, 1e-6), abs(rise(0, 1e-6) - rise(-1e-6, 0))


def _rounding(
    wide: onnx.ModelProto, narrow: onnx.ModelProto, full: dict[str, Any], grads: dict[str, np.ndarray]
) -> str:
    """Monte Carlo arithmetic against ONNX Runtime in float32, over all gradients together."""
    narrow.ir_version = min(narrow.ir_version, 10)
    types = {i.name: i.type.tensor_type.elem_type for i in narrow.graph.input}
    try:
        session = Session(narrow, "cpu", threads=1)
        values = session.run(
            {n: v.astype(np.float32) if types[n] == FLOAT else v for n, v in full.items() if n in types}
        )
    except OnnxIgError:
        return ""
    noisy = Forward(shaken(wide))

    def distance(other: dict[str, np.ndarray]) -> float:
        return float(sum(np.sum((other[f"grad_{x}"] - g) ** 2) for x, g in grads.items())) ** 0.5

    spread = max(distance(noisy(full)) for _ in range(10))
    return "rounding of float32" if distance(values) <= 10 * spread else ""


def shaken(model: onnx.ModelProto) -> onnx.ModelProto:
    """The float64 model with the float outputs of every node multiplied by 1 ± 2⁻²⁴, drawn anew at each run."""
    model = copy.deepcopy(model)
    inferred = onnx.shape_inference.infer_shapes(model).graph
    double = {
        i.name for i in (*inferred.value_info, *inferred.output)
        if i.type.tensor_type.elem_type == DOUBLE
    }  # fmt: skip
    nodes = []
    for node in model.graph.node:
        nodes.append(node)
        for i, y in enumerate(node.output):
            if y in double and node.op_type != "Constant":
                node.output[i] = f"{y}_before"
                noise, one = f"{y}_noise", 2.0**-24
                nodes.append(
                    onnx.helper.make_node("RandomUniformLike", [f"{y}_before"], [noise], low=1 - one, high=1 + one)
                )
                nodes.append(onnx.helper.make_node("Mul", [f"{y}_before", noise], [y]))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model
