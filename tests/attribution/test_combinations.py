"""Every combination of what export bakes or leaves open, built, run, and held against formulas in NumPy.

y_t = (sin(h) B)_t · q_t with h = x A and q = z C, so the gradient is known by hand:
∂y_t/∂h = cos(h) B_t q_t, ∂y_t/∂q = e_t (sin(h) B)_t, and those by x and z are theirs times Aᵀ and Cᵀ.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import onnx
import onnxruntime
import pytest

import onnx_ig
from onnx_ig.attribution import Contract
from onnx_ig.cli.terminal.display import call_signature
from onnx_ig.inspection import inspect
from onnx_ig.quadrature import path_nodes_and_weights

SCHEMA_FILE = Path(onnx_ig.__file__).parent / "attribution" / "contract.schema.json"
SCHEMA = jsonschema.Draft202012Validator(json.loads(SCHEMA_FILE.read_text()))
RNG = np.random.default_rng(0)
A, B, C = (RNG.standard_normal(shape).astype(np.float32) for shape in ((3, 4), (4, 5), (2, 5)))
X, Z = (RNG.standard_normal((2, n)).astype(np.float32) for n in (3, 2))
STARTS = {"x": 0.1 * RNG.standard_normal((1, 3)).astype(np.float32), "z": np.full((1, 2), 0.25, np.float32)}
NODES, WEIGHTS = path_nodes_and_weights("gausslegendre", 5)

# keyword arguments of export: the loop is over chunks of two path points
FORMS: dict[str, dict[str, Any]] = {
    "loop": {"n_steps": 5, "steps_per_run": 2},
    "loop, open path": {"path_as_input": True, "steps_per_run": 2},
    "no loop": {"n_steps": 5, "steps_per_run": 0},
    "no loop, open path": {"path_as_input": True, "steps_per_run": 0},
    "step": {"form": "step"},
    "input-x-gradient": {"algorithm": "input-x-gradient"},
}
TARGETS: dict[str, tuple[Any, list[int]]] = {
    "open": ("input", [4, 1]),
    "fixed": (3, [3, 3]),
    "predicted": ("predicted", []),
}
# keyword arguments of export, the inputs attributed, the tensors whose attribution is reported
PLACES: dict[str, tuple[dict[str, Any], list[str], list[str]]] = {
    "one input": ({"inputs": ["x"]}, ["x"], ["x"]),
    "two inputs": ({"inputs": ["x", "z"]}, ["x", "z"], ["x", "z"]),
    "at a layer": ({"at": "h"}, ["x"], ["h"]),
    "at two layers": ({"at": ["h", "q"]}, ["x", "z"], ["h", "q"]),
}
COMBINATIONS = [
    combination
    for combination in itertools.product(FORMS, TARGETS, PLACES, ("baked", "open"))
    if combination[0] != "input-x-gradient" or combination[3] == "baked"
]


@pytest.fixture(scope="module")
def model() -> onnx_ig.Model:
    text = """<ir_version: 8, opset_import: ["" : 18]> f (float[N, 3] x, float[N, 2] z) => (float[N, 5] y)
    { h = MatMul (x, A) s = Sin (h) p = MatMul (s, B) q = MatMul (z, C) y = Mul (p, q) }"""
    proto = onnx.parser.parse_model(text)
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(w, n) for w, n in ((A, "A"), (B, "B"), (C, "C")))
    return onnx_ig.load(proto)


def tensors(x: Any, z: Any) -> dict[str, Any]:
    return {"x": x, "z": z, "h": x @ A, "q": z @ C}


def forward(at: dict[str, Any]) -> Any:
    return (np.sin(at["h"]) @ B) * at["q"]


def gradients(at: dict[str, Any], t: int) -> dict[str, Any]:
    by_h = np.cos(at["h"]) * B[:, t] * at["q"][t]
    by_q = np.eye(5)[t] * (np.sin(at["h"]) @ B[:, t])
    return {"h": by_h, "q": by_q, "x": by_h @ A.T, "z": by_q @ C.T}


def expected(place: str, targets: list[int], integrated: bool, multiply: bool) -> dict[str, list[Any]]:
    """Every output, example by example in float64; what is not attributed keeps its value along the path."""
    _, attributed, reported = PLACES[place]
    found: dict[str, list[Any]] = {}
    for x, z, t in zip(X.astype(np.float64), Z.astype(np.float64), targets, strict=True):
        start_of = {"x": x, "z": z, **{name: STARTS[name][0] * integrated for name in attributed}}
        start, end = tensors(**start_of), tensors(x, z)
        sums: dict[str, Any] = dict.fromkeys(reported, 0.0)
        scores = []
        for a, weight in zip(NODES, WEIGHTS, strict=True) if integrated else [(1.0, 1.0)]:
            here = {name: start[name] + a * (end[name] - start[name]) for name in end}
            scores.append(forward(here)[t])
            for name in reported:
                sums[name] = sums[name] + weight * gradients(here, t)[name]
        values = {f"attribution_{n}": sums[n] * (end[n] - start[n] if multiply else 1) for n in reported}
        y, at_start = forward(end), forward(start)[t]
        values |= {"y": y, "target_used": t, "score": y[t]}
        if integrated:
            gap = sum(values[f"attribution_{n}"].sum() for n in reported) - (y[t] - at_start)
            values |= {"baseline_score": at_start, "convergence_delta": gap, "path_scores": np.array(scores)}
        for name, value in values.items():
            found.setdefault(name, []).append(value)
    return found


@pytest.mark.parametrize("combination", COMBINATIONS, ids=", ".join)
def test_combination(combination: tuple[str, str, str, str], model: onnx_ig.Model, tmp_path: Path) -> None:
    form, target, place, baseline = combination
    (place_keywords, attributed, reported), (target_keyword, targets) = PLACES[place], TARGETS[target]
    multiply = COMBINATIONS.index(combination) % 3 != 0  # not an axis of its own: every third goes without
    integrated = form != "input-x-gradient"
    baked = {"x": STARTS["x"], "z": 0.25}
    starts = "input" if baseline == "open" else {name: baked[name] for name in attributed} if integrated else 0
    keywords = {**FORMS[form], **place_keywords, "target": target_keyword, "baselines": starts}
    path = onnx_ig.export(model, tmp_path / "ig.onnx", multiply_by_inputs=multiply, **keywords)

    open_path = form == "step" or "open path" in form
    wanted_inputs = ["x", "z", *(["target"] if target == "open" else [])]
    wanted_inputs += [f"baseline_{name}" for name in attributed] if baseline == "open" else []
    wanted_inputs += ["path_nodes", "path_weights"] if open_path else []
    feeds = {"x": X, "z": Z, "target": np.array(targets), **{f"baseline_{n}": v for n, v in STARTS.items()}}
    feeds |= {"path_nodes": NODES.astype(np.float32), "path_weights": WEIGHTS.astype(np.float32)}
    session = onnxruntime.InferenceSession(path)
    assert [i.name for i in session.get_inputs()] == wanted_inputs
    graph = onnx.load(path).graph
    assert all(value.doc_string for value in (*graph.input, *graph.output))
    result = dict(
        zip(
            [o.name for o in session.get_outputs()],
            session.run(None, {n: feeds[n] for n in wanted_inputs}),
            strict=True,
        )
    )
    if target == "predicted":
        targets = forward(tensors(X, Z)).argmax(1).tolist()
    want = expected(place, targets, integrated, multiply)
    assert {f"attribution_{name}" for name in reported} <= set(result) <= set(want)
    assert ("path_scores" if form == "step" else "score") in result
    for name, value in result.items():
        by_point = 1 if name == "path_scores" else 0
        np.testing.assert_allclose(value, np.stack(want[name], by_point), rtol=1e-5, atol=2e-6, err_msg=name)
    SCHEMA.validate(json.loads(onnx_ig.load(path).ir_model.metadata_props["onnx_ig.contract"]))
    if place == "one input":  # whatever is open is in the signature that `onnx-ig inspect` prints
        found = inspect(path)
        assert found.contract is not None
        contract = Contract.from_json(json.dumps(found.contract))
        signature = call_signature(contract, found.inputs, found.outputs)
        assert all(name in signature for name in (*wanted_inputs, *result))
