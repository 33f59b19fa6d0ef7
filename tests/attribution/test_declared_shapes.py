"""What an attribution model says of its tensors is true, in the bodies of its loops too."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest

import onnx_ig
from tests.helpers.every_tensor import all_values, declared_types
from tests.helpers.networks import NETWORKS, exported

MODELS = Path(__file__).parents[2] / "models"
K = 7
FORMS: dict[str, dict[str, Any]] = {
    "step": {"form": "step", "baselines": "input"},
    "loop": {"path_as_input": True, "steps_per_run": 3, "baselines": "input"},
    "loop, baked": {"n_steps": K, "steps_per_run": 3, "target": 1},
    "to a tolerance": {"tolerance": 0.1, "max_steps": 16, "steps_per_run": 1},  # chunks of one length
    "several targets": {"targets": "top-2", "n_steps": K, "steps_per_run": 3},
    "several targets to a tolerance": {"targets": [1, 0], "tolerance": 0.1, "max_steps": 16, "steps_per_run": 1},
    "no loop": {"n_steps": K, "steps_per_run": 0},
    "input-x-gradient": {"algorithm": "input-x-gradient"},
}
# Of a batch that is fixed, rows on an axis together with others.
FIXED = """<ir_version: 8, opset_import: ["" : 18]> f (float[2, 3, 4] x) => (float[2, 5] y)
    <float[4, 5] w = {1, -2, 3, 4, -5, 6, 7, 8, 1, 2, 0, 1, 3, 4, 1, 2, 0, 1, 1, 5}, int64[2] s = {6, 4},
     int64[3] r = {2, 3, 5}, int64[1] a = {1}>
    { b = Sin (x)  c = Reshape (b, s)  d = MatMul (c, w)  e = Tanh (d)  h = Reshape (e, r)
      y = ReduceSum <keepdims = 0> (h, a) }"""
SUBJECTS = ["digits_cnn", "fixed batch", "lstm", "bert"]


def subject(name: str) -> tuple[Any, dict[str, np.ndarray]]:
    """A model, and values for its inputs: of 5 examples, a number that no other dimension has."""
    if name == "fixed batch":
        return onnx.parser.parse_model(FIXED), {"x": np.linspace(0, 1, 24, dtype=np.float32).reshape(2, 3, 4)}
    if name in NETWORKS:
        model, network = exported(name), NETWORKS[name]
        tensors = (*network.inputs(5), *network.extras(5))
        return model.ir_model, {str(x.name): t.numpy() for x, t in zip(model.inputs, tensors, strict=True)}
    seven = np.load(MODELS / name / "seven.npy").astype(np.float32)
    return MODELS / name / f"{name}.onnx", {"image": np.repeat(seven, 5, axis=0)}


def require_spelt_out(graph: onnx.GraphProto) -> None:
    """Kernels have their shape, no output is a constant, no body reads what it stacks: runtimes trip over these."""
    constants = {x.name for x in graph.initializer}
    assert not constants & {y.name for y in graph.output}
    for node in graph.node:
        assert node.op_type not in ("Conv", "ConvTranspose") or "kernel_shape" in {a.name for a in node.attribute}, node
        for body in (a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH):
            require_spelt_out(body)
            if node.op_type in ("Loop", "Scan"):
                scanned = next((a.i for a in node.attribute if a.name == "num_scan_inputs"), 0)
                carried = len(node.input) - (2 if node.op_type == "Loop" else scanned)
                stacked = {y.name for y in body.output[carried + (node.op_type == "Loop") :]}
                assert not stacked & {x for inner in body.node for x in inner.input}, node.name


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", SUBJECTS)
def test_declared_shapes_and_types_are_those_of_a_run(name: str, form: str, tmp_path: Path) -> None:
    source, feeds = subject(name)
    attributed = [name for name, value in feeds.items() if value.dtype.kind == "f"]
    file = onnx_ig.export(source, tmp_path / "explained.onnx", inputs=attributed, **FORMS[form])
    rows = len(next(iter(feeds.values())))
    feeds |= {f"baseline_{name}": np.zeros_like(feeds[name]) for name in attributed}
    feeds |= {"path_nodes": np.linspace(0, 1, K, dtype=np.float32), "path_weights": np.full(K, 1 / K, np.float32)}
    feeds["target"] = np.ones(rows, np.int64)
    model = onnx.load(file)
    require_spelt_out(model.graph)
    declared, sizes, known = declared_types(model.graph), defaultdict(set), 0
    for value, array, depth in all_values(model, feeds):
        told = declared.get(value)
        if told is None:
            continue
        assert onnx.helper.tensor_dtype_to_np_dtype(told.elem_type) == array.dtype, value
        if told.HasField("shape"):
            known += 1
            assert len(told.shape.dim) == array.ndim - depth, value
            for dim, size in zip(told.shape.dim, array.shape[depth:], strict=True):
                if dim.HasField("dim_value"):
                    assert dim.dim_value == size, value
                elif dim.dim_param:
                    sizes[dim.dim_param].add(size)
    assert known > 20
    assert all(len(found) == 1 for found in sizes.values()), sizes
    assert not any("onnx_ig" in name for name in sizes), sizes
