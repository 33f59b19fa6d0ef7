"""Inspection: what can be differentiated, every obstacle, and where one can attribute, without running the model."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto as T

import onnx_ig
from onnx_ig.inspection import LAYERS_SHOWN, Inspection, contract_of, inspect
from tests.helpers.cli_models import MODELS, model, node

ROW = {"x": (T.FLOAT, ["N", 3])}
OUT = {"y": (T.FLOAT, ["N", 3])}
SQUARE = np.eye(3, dtype=np.float32)


def custom(op_type: str, inputs: str, output: str) -> Any:
    return onnx.helper.make_node(op_type, inputs.split(), [output], name=f"node_{output}", domain="example.custom")


def two_outputs() -> onnx.ModelProto:
    """y is blocked twice on separate branches, z is not, and s comes through Round only."""
    return model(
        [
            node("Tanh", "x", "t"), custom("Mystery", "t", "m"), custom("Riddle", "t", "r"), node("Add", "m r", "y"),
            node("MatMul", "t w", "z"), node("Round", "x", "s"),
        ],
        ROW,
        {"y": (T.FLOAT, ["N", 3]), "z": (T.FLOAT, ["N", 3]), "s": (T.FLOAT, ["N", 3])},
        {"w": SQUARE},
    )  # fmt: skip


def test_every_obstacle_on_the_path_is_named_and_no_other() -> None:
    found = {gradient.output: gradient for gradient in inspect(two_outputs()).gradients}
    assert {name: gradient.status for name, gradient in found.items()} == {"y": "blocked", "z": "yes", "s": "zero"}
    assert [(one.op_type, one.node) for one in found["y"].obstacles] == [
        ("example.custom::Mystery", "node_m"), ("example.custom::Riddle", "node_r"),
    ]  # fmt: skip
    assert all(one.reason and one.advice for one in found["y"].obstacles)
    assert not found["z"].obstacles and not found["s"].obstacles


# inputs, nodes, expected status of y by x
STATUS: dict[str, tuple[list[Any], str]] = {
    "smooth": ([node("Tanh", "x", "y")], "yes"),
    "independent": ([node("Shape", "x", "s"), node("ConstantOfShape", "s", "y")], "zero"),
    "rounded": ([node("Round", "x", "r"), node("Tanh", "r", "y")], "zero"),
    "through whole numbers": ([node("Cast", "x", "i", to=T.INT64), node("Cast", "i", "y", to=T.FLOAT)], "zero"),
    "around an obstacle": ([custom("Mystery", "w", "m"), node("Add", "x m", "y")], "yes"),
    "obstacle behind an obstacle": ([custom("Mystery", "x", "m"), custom("Riddle", "m", "y")], "blocked"),
}


@pytest.mark.parametrize("case", STATUS)
def test_status_agrees_with_differentiate(case: str) -> None:
    nodes, status = STATUS[case]
    proto = model(nodes, ROW, OUT, {"w": SQUARE[:1]})
    (gradient,) = (gradient for gradient in inspect(proto).gradients if gradient.wrt == "x")
    assert (gradient.output, gradient.status) == ("y", status)
    if status == "yes":
        onnx_ig.differentiate(proto, ["x"], ["y"])
    else:
        with pytest.raises(onnx_ig.OnnxIgError):
            onnx_ig.differentiate(proto, ["x"], ["y"])


def token_model() -> onnx.ModelProto:
    nodes = [
        node("Gather", "table ids", "words"),
        node("Shape", "ids", "shape"),
        node("Gather", "shape one", "length"),
        node("Range", "zero length one_step", "positions"),
        node("Gather", "table positions", "places"),
        node("Add", "words places", "sum"),
        node("MatMul", "sum w", "hidden"),
        node("Add", "hidden bias", "layer"),
        node("Tanh", "layer", "bent"),
        node("Add", "bent sum", "residual"),
        node("MatMul", "residual w", "y"),
    ]
    constants = {
        "table": np.ones((9, 3), np.float32), "one": np.array(1), "zero": np.array(0), "one_step": np.array(1),
        "w": SQUARE, "bias": np.ones(3, np.float32),
    }  # fmt: skip
    return model(nodes, {"ids": (T.INT64, ["N", "T"])}, {"y": (T.FLOAT, ["N", "T", 3])}, constants)


def test_embeddings_are_lookups_by_value_not_by_position() -> None:
    found = inspect(token_model())
    assert [(layer.tensor.name, layer.op_type) for layer in found.embeddings] == [("words", "Gather")]
    assert [(g.wrt, g.output, g.status) for g in found.gradients] == [("words", "y", "yes")]


def test_layers_include_their_bias_and_residual_sums_but_no_output() -> None:
    found = inspect(token_model())
    assert [layer.tensor.name for layer in found.layers] == ["sum", "layer", "residual"]
    assert all(layer.tensor.shape is not None and len(layer.tensor.shape) == 3 for layer in found.layers)


def test_every_tensor_listed_can_be_attributed(tmp_path: Path) -> None:
    path = MODELS / "digits_cnn" / "digits_cnn.onnx"
    found = inspect(path)
    assert found.layers
    for layer in found.layers:
        onnx_ig.export(path, tmp_path / "at.onnx", at=layer.tensor.name, overwrite=True)
    assert (found.layout, found.opset, found.nodes) == ("batched", 18, 10)
    assert found.inputs[0].shape == ["batch", 1, 8, 8] and found.inputs[0].dtype == "float32"


def test_many_layers_are_spread_evenly() -> None:
    count = 3 * LAYERS_SHOWN
    nodes = [node("MatMul", f"h{i} w", f"h{i + 1}") for i in range(count)] + [node("Tanh", f"h{count}", "y")]
    found = inspect(model(nodes, {"h0": (T.FLOAT, ["N", 3])}, OUT, {"w": SQUARE}))
    assert found.layers_in_all == count and len(found.layers) == LAYERS_SHOWN
    assert (found.layers[0].tensor.name, found.layers[-1].tensor.name) == ("h1", f"h{count}")


LAYOUTS: dict[str, tuple[list[Any], list[Any], str | None]] = {
    "batched": (["N", 3], ["N", 3], "batched"),
    "fixed": ([4, 3], [4, 3], "fixed"),
    "none": ([3, 3], [5, 3], "none"),
}


def test_layout_of_a_signal_beside_a_state() -> None:
    """Together they have no axis of examples; the signal alone has, and its state elsewhere."""
    nodes = [
        node("ReduceSum", "state zeroth", "s", keepdims=0), node("Add", "x s", "h"), node("Tanh", "h", "y"),
    ]  # fmt: skip
    inputs = {"x": (T.FLOAT, ["N", 3]), "state": (T.FLOAT, [2, "N", 3])}
    found = inspect(model(nodes, inputs, OUT, {"zeroth": np.array([0])}))
    assert found.layout == "batched"
    assert "where x alone is attributed" in found.layout_note and "one path point per" in found.layout_note


@pytest.mark.parametrize("case", LAYOUTS)
def test_layout(case: str) -> None:
    rows, out, layout = LAYOUTS[case]
    rewrite = [node("Tanh", "x", "y")] if case != "none" else [node("MatMul", "w x", "y")]
    weights = {} if case != "none" else {"w": np.ones((5, 3), np.float32)}
    assert inspect(model(rewrite, {"x": (T.FLOAT, rows)}, {"y": (T.FLOAT, out)}, weights)).layout == layout


def test_a_model_without_float_inputs_or_embeddings_has_no_gradients() -> None:
    found = inspect(model([node("Cast", "x", "y", to=T.FLOAT)], {"x": (T.INT64, ["N", 3])}, OUT, {}))
    assert found.gradients == [] and found.embeddings == [] and found.layers == []


def test_the_contract_of_an_attribution_model(tmp_path: Path) -> None:
    path = onnx_ig.export(MODELS / "digits_cnn" / "digits_cnn.onnx", tmp_path / "ig.onnx", baselines="input")
    found = inspect(path)
    assert found.contract is not None and found.contract["form"] == "complete"
    assert [entry["role"] for entry in found.contract["inputs"]] == ["attributed", "target", "baseline"]
    assert found.gradients == [] and found.layout == "batched"


def test_a_contract_of_another_version_is_refused(tmp_path: Path) -> None:
    path = onnx_ig.export(MODELS / "digits_cnn" / "digits_cnn.onnx", tmp_path / "ig.onnx")
    proto = onnx.load(path)
    proto.metadata_props[0].value = '{"version": 99}'
    with pytest.raises(onnx_ig.OnnxIgError, match="export it again"):
        contract_of(onnx_ig.load(proto))


@pytest.mark.parametrize("proto", [two_outputs(), token_model()], ids=["obstacles", "tokens"])
def test_everything_is_json(proto: onnx.ModelProto) -> None:
    found = inspect(proto)
    again = json.loads(json.dumps(found.to_dict()))
    assert again.keys() == {field.name for field in dataclasses.fields(Inspection)}
    assert again["gradients"] == [dataclasses.asdict(gradient) for gradient in found.gradients]


def test_the_source_is_left_as_it_was() -> None:
    loaded = onnx_ig.load(two_outputs())
    before = onnx.ModelProto.SerializeToString(ir.to_proto(loaded.ir_model))
    inspect(loaded)
    assert onnx.ModelProto.SerializeToString(ir.to_proto(loaded.ir_model)) == before
