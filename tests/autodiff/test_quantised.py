"""Quantised models: the value stays their own, the gradient is that of the float equivalent, evaluated by torch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
import torch
from click.testing import CliRunner
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from torch import nn

import onnx_ig
from onnx_ig.cli import app
from onnx_ig.errors import NoGradientPathError, NotDifferentiableError
from onnx_ig.inspection import inspect
from onnx_ig.runtime.session import Session
from tests.helpers.torch_twin import Twin, dequantise, quantise

_rng = np.random.default_rng(0)


def agree(model: onnx.ModelProto, x: np.ndarray, tolerance: float = 1e-5) -> np.ndarray:
    """Compare value and gradient with the model's own and the twin's; returns the gradient."""
    (output,) = (o.name for o in model.graph.output)
    own = Session(model, "cpu", threads=1).run({"x": x})[output]
    u = _rng.standard_normal(own.shape).astype(np.float32)
    proto = onnx_ig.differentiate(model)
    assert {node.domain for node in proto.graph.node} == {""}
    values = Session(proto, "cpu", threads=1).run({"x": x, f"cotangent_{output}": u})
    np.testing.assert_array_equal(values[output], own)
    leaf = torch.tensor(x, requires_grad=True)
    (expected,) = torch.autograd.grad(Twin(model)(x=leaf)[output], leaf, torch.tensor(u))
    grad = values["grad_x"]
    scale = np.linalg.norm(expected.numpy())
    assert scale > 0
    assert np.linalg.norm(grad - expected.numpy()) <= tolerance * scale
    return grad


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        *(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 8, 3, stride=2, padding=1),
            nn.Sigmoid(),
        ),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)),
    ).eval()


class Batches(CalibrationDataReader):
    """One batch of calibration data."""

    def __init__(self, x: np.ndarray) -> None:
        self._batches: Iterator[dict[str, np.ndarray]] = iter([{"x": x}])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._batches, None)


@pytest.fixture(scope="module")
def float_model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    path = tmp_path_factory.mktemp("quantised") / "float.onnx"
    x = _rng.standard_normal((4, 3, 12, 12)).astype(np.float32)
    options: dict[str, Any] = {"input_names": ["x"], "output_names": ["y"], "dynamo": False}
    torch.onnx.export(network(), (torch.tensor(x),), path, dynamic_axes={"x": {0: "N"}, "y": {0: "N"}}, **options)
    return path, x


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("weights", [QuantType.QInt8, QuantType.QUInt8])
@pytest.mark.parametrize("form", [QuantFormat.QDQ, QuantFormat.QOperator])
def test_static_quantisation(
    form: QuantFormat, weights: QuantType, per_channel: bool, float_model: tuple[Path, np.ndarray], tmp_path: Path
) -> None:
    source, x = float_model
    quantize_static(
        source, tmp_path / "q.onnx", Batches(x), quant_format=form, per_channel=per_channel, weight_type=weights,
        activation_type=QuantType.QUInt8,
    )  # fmt: skip
    grad = agree(onnx.load(tmp_path / "q.onnx"), x * 1.2)  # beyond the calibrated range: some values are clipped
    assert (grad == 0).any()


def test_dynamic_quantisation(float_model: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    source, x = float_model
    quantize_dynamic(source, tmp_path / "q.onnx")
    model = onnx.load(tmp_path / "q.onnx")
    assert {"DynamicQuantizeLinear", "MatMulInteger", "ConvInteger"} <= {node.op_type for node in model.graph.node}
    agree(model, x, 1e-4)


def _model(body: str, initializers: dict[str, np.ndarray], shape: str = "N, 6", opset: int = 18) -> onnx.ModelProto:
    text = f"""<ir_version: 8, opset_import: ["" : {opset}, "com.microsoft" : 1]>
        f (float[{shape}] x) => (float[...] y) {{ {body} }}"""
    model = onnx.parser.parse_model(text.replace("[...]", ""))
    model.graph.initializer.extend(onnx.numpy_helper.from_array(a, n) for n, a in initializers.items())
    return model


def _scales(**numbers: float) -> dict[str, np.ndarray]:
    """Scales and zero points: names that start with z are uint8."""
    return {n: np.array(v, np.uint8 if n.startswith("z") else np.float32) for n, v in numbers.items()}


_WEIGHT = _rng.integers(-100, 100, (6, 4)).astype(np.int8)
_COLUMNS = {"w": _WEIGHT, "sw": np.array([0.02, 0.01, 0.03, 0.02], np.float32), "zw": np.array([1, 0, -2, 3], np.int8)}
_QUANTISE = "q = QuantizeLinear (x, s, z)"
_RETURN = "y = DequantizeLinear (r, t, zt)"
_BASE = _scales(s=0.02, z=120, t=0.03, zt=100)

ISLANDS = {
    "integers moved about": (
        f"{_QUANTISE} a = Reshape (q, shape) b = Transpose <perm = [1, 0, 2]> (a)"
        f" r = Concat <axis = 1> (b, b) {_RETURN}",
        _BASE | {"shape": np.array([-1, 2, 3])},
    ),
    "one place of integers": (
        f"{_QUANTISE} a = Reshape (q, shape) r = Gather <axis = 1> (a, place) {_RETURN}",
        _BASE | {"shape": np.array([-1, 2, 3]), "place": np.array(1)},
    ),
    "weights per column": (
        f"{_QUANTISE} a = DequantizeLinear (q, s, z) v = DequantizeLinear <axis = 1> (w, sw, zw) y = MatMul (a, v)",
        _BASE | _COLUMNS,
    ),
    "QLinearMatMul": (f"{_QUANTISE} r = QLinearMatMul (q, s, z, w, sw, zw, t, zt) {_RETURN}", _BASE | _COLUMNS),
    "MatMulInteger": (
        f"{_QUANTISE} i = MatMulInteger (q, w, z, zw) j = Add (i, c) k = Cast <to = 1> (j) y = Mul (k, s)",
        _BASE | _COLUMNS | {"c": np.array([1, 2, 3, 4], np.int32)},
    ),
    "weights by Cast and Mul": (
        "k = Cast <to = 1> (w) v = Mul (k, sw) y = MatMul (x, v)",
        _COLUMNS,
    ),
    "DynamicQuantizeLinear": (
        "q, s, z = DynamicQuantizeLinear (x) i = MatMulInteger (q, w, z, zw) k = Cast <to = 1> (i) y = Mul (k, s)",
        _COLUMNS,
    ),
    "per column": (
        "q = QuantizeLinear <axis = 1> (x, s, z) y = DequantizeLinear <axis = 1> (q, s, z)",
        {"s": np.linspace(0.001, 0.02, 6).astype(np.float32), "z": np.array([0, 255, 120, 3, 9, 100], np.uint8)},
    ),
    "QLinearAdd": (
        f"{_QUANTISE} a = com.microsoft.QLinearSigmoid (q, s, z, t, zt)"
        f" r = com.microsoft.QLinearAdd (q, s, z, a, t, zt, t, zt) {_RETURN}",
        _BASE | {"t": np.array(0.012, np.float32)},
    ),
    "QLinearMul": (
        f"{_QUANTISE} a = com.microsoft.QLinearLeakyRelu <alpha = 0.2> (q, s, z, t, zt)"
        f" r = com.microsoft.QLinearMul (q, s, z, a, t, zt, t, zt) {_RETURN}",
        _BASE,
    ),
    "QLinearConcat": (
        f"{_QUANTISE} r = com.microsoft.QLinearConcat <axis = 1> (t, zt, q, s, z, q, t, zt) {_RETURN}",
        _BASE,
    ),
    "QLinearSoftmax": (
        f"{_QUANTISE} r = com.microsoft.QLinearSoftmax <axis = 1, opset = 13> (q, s, z, t, zt) {_RETURN}",
        _BASE | _scales(t=1 / 256, zt=0),
    ),
    "MatMulIntegerToFloat": (
        f"{_QUANTISE} y = com.microsoft.MatMulIntegerToFloat (q, w, s, sw, z, zw)",
        _BASE | _COLUMNS,
    ),
    "DynamicQuantizeMatMul": ("y = com.microsoft.DynamicQuantizeMatMul (x, w, sw, zw)", _COLUMNS),
}


@pytest.mark.parametrize("name", ISLANDS)
def test_islands_of_integers(name: str) -> None:
    body, initializers = ISLANDS[name]
    x = _rng.standard_normal((3, 6)).astype(np.float32) * 1.5
    agree(_model(body, initializers), x, 1e-4)


def test_what_is_straight_through_is_reported(tmp_path: Path) -> None:
    body = (
        f"{_QUANTISE} a = Reshape (q, shape) p = DequantizeLinear (a, s, z) r = Mul (p, p) n = Round (x) y = Add (r, n)"
    )
    model = _model(body, _BASE | {"shape": np.array([-1, 6])})
    model.graph.output[0].type.tensor_type.shape.CopyFrom(model.graph.input[0].type.tensor_type.shape)
    counts = {"DequantizeLinear": 1, "QuantizeLinear": 1}
    metadata = {entry.key: entry.value for entry in onnx_ig.differentiate(model).metadata_props}
    assert json.loads(metadata["onnx_ig.straight_through"]) == counts
    assert [gradient.straight_through for gradient in inspect(model).gradients] == [counts]
    onnx.save(model, tmp_path / "q.onnx")
    onnx_ig.export(tmp_path / "q.onnx", tmp_path / "ig.onnx")
    np.save(tmp_path / "x.npy", np.ones((1, 6), np.float32))
    for file in ("q.onnx", "ig.onnx"):
        arguments = [
            "attribute",
            tmp_path / file,
            "-i",
            tmp_path / "x.npy",
            "--target",
            "0",
            "-o",
            tmp_path / file[:-5],
        ]
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        assert result.exit_code == 0, result.stderr
        assert "straight-through at 1 DequantizeLinear, 1 QuantizeLinear" in result.stdout
        assert json.loads((tmp_path / file[:-5] / "report.json").read_text())["straight_through"] == counts
    assert json.loads(onnx_ig.differentiate(_model("y = Sin (x)", {})).metadata_props[0].value) == {}


def test_as_torch_fake_quantizes() -> None:
    x, u = (_rng.standard_normal((5, 6)).astype(np.float32) * 2 for _ in range(2))
    body = "q = QuantizeLinear (x, s, z) y = DequantizeLinear (q, s, z)"
    values = Session(onnx_ig.differentiate(_model(body, _scales(s=0.015, z=140))), "cpu").run(
        {"x": x, "cotangent_y": u}
    )
    leaf = torch.tensor(x, requires_grad=True)
    y = torch.fake_quantize_per_tensor_affine(leaf, 0.015, 140, 0, 255)
    (expected,) = torch.autograd.grad(y, leaf, torch.tensor(u))
    np.testing.assert_array_equal(values["grad_x"], expected)
    assert 0 < (values["grad_x"] == 0).sum() < x.size


@pytest.mark.parametrize(("axis", "size"), [(1, 6), (0, 6), (1, 5)])
def test_blocks(axis: int, size: int) -> None:
    """One scale for each block of two elements along an axis, the last block cut short."""
    shape = (3, size) if axis else (size, 3)
    x, u = (_rng.standard_normal(shape).astype(np.float32) for _ in range(2))
    blocks = (3, -(-size // 2)) if axis else (-(-size // 2), 3)
    s, z = _rng.uniform(0.005, 0.01, blocks).astype(np.float32), np.full(blocks, 120, np.uint8)
    t = np.array(2, np.float32) * s  # another scale on the way back: no shortcut
    body = f"""q = QuantizeLinear <axis = {axis}, block_size = 2> (x, s, z)
        y = DequantizeLinear <axis = {axis}, block_size = 2> (q, t, z)"""
    model = _model(body, {"s": s, "z": z, "t": t}, f"{shape[0]}, {shape[1]}", opset=21)
    values = Session(onnx_ig.differentiate(model), "cpu").run({"x": x, "cotangent_y": u})
    wide = np.repeat(s, 2, axis).take(range(size), axis)
    inside = np.abs(np.round(x / wide) + 120 - 127.5) <= 127.5
    np.testing.assert_allclose(values["grad_x"], np.where(inside, 2 * u, 0), rtol=1e-5)


@pytest.mark.parametrize("with_zeros", [True, False])
def test_a_table_of_half_bytes_is_attributed_where_its_rows_are_numbers(with_zeros: bool) -> None:
    """y = Σ w · row: the attributions are w · (the row of the id − that of id 0), by ONNX Runtime's own look-up."""
    sizes, z = "block_size = 16, quantize_axis = 1, gather_axis = 0", ", z" if with_zeros else ""
    text = f"""<ir_version: 8, opset_import: ["" : 18, "com.microsoft" : 1]>
        f (int64[N, 2] ids) => (float[N, 2] y, float[N, 2, 32] e) {{
          e = com.microsoft.GatherBlockQuantized <{sizes}> (t, ids, s{z})
          m = Mul (e, w)  y = ReduceSum <keepdims = 0> (m, last) }}"""
    model, ids = onnx.parser.parse_model(text), np.array([[1, 4], [3, 2]])
    w = _rng.standard_normal(32).astype(np.float32)
    weights = {"t": _rng.integers(0, 256, (5, 16)).astype(np.uint8), "s": np.float32(_rng.uniform(0.1, 1, (5, 2)))}
    weights |= {"w": w, "last": np.array([-1])} | ({"z": np.array([[0x27]] * 5, np.uint8)} if with_zeros else {})
    model.graph.initializer.extend(onnx.numpy_helper.from_array(a, n) for n, a in weights.items())
    rows, start = (Session(model, "cpu").run({"ids": i}, ["e"])["e"] for i in (ids, np.zeros_like(ids)))
    del model.graph.output[1]
    assert [place.tensor.name for place in inspect(model).layers][:1] == ["e"]
    found = np.asarray(onnx_ig.IntegratedGradients(model, provider="cpu", at="e").attribute(ids, target=0))
    np.testing.assert_allclose(found[:, 0], (w * (rows - start))[:, 0], rtol=1e-4, atol=1e-6)
    assert not found[:, 1].any()


def test_a_quantised_tensor_inside_control_flow_is_refused() -> None:
    body = """q = QuantizeLinear (x, s, z)
        r = If (c) <then_branch = a () => (uint8[N, 6] p) { p = Identity (q) },
                    else_branch = b () => (uint8[N, 6] n) { n = Identity (q) }>
        y = DequantizeLinear (r, s, z)"""
    model = _model(body, _BASE | {"c": np.array(True)})
    with pytest.raises(NotDifferentiableError, match="quantised tensor"):
        onnx_ig.differentiate(model)


def test_a_cast_to_integers_is_no_quantisation() -> None:
    with pytest.raises(NoGradientPathError):
        onnx_ig.differentiate(_model("i = Cast <to = 3> (x) y = Cast <to = 1> (i)", {}))


def test_the_twin_rounds_and_clips() -> None:
    x = torch.tensor([-9.0, 0.26, 9.0], requires_grad=True)
    s, z = torch.tensor(0.1), torch.tensor(10.0)
    y = dequantise(quantise(x, s, z, (0, 20)), s, z)
    np.testing.assert_allclose(y.detach(), [-1.0, 0.3, 1.0], rtol=1e-6)
    np.testing.assert_allclose(torch.autograd.grad(y.sum(), x)[0], [0, 1, 0], rtol=1e-6)
