"""Each fault that is worked around is still there, and the work-around avoids it.

A test that fails as "gone" says that the quirk of that name can be deleted, once no supported version has the fault.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import onnxruntime
import openvino
import pytest
import torch

import onnx_ig
from onnx_ig.graph.quirks.ceil_mode import SettleCeilModePass
from onnx_ig.graph.quirks.moved_examples import PartMovedExamplesPass
from onnx_ig.graph.quirks.padding_before_pooling import NameAxesBeforePoolingPass
from onnx_ig.graph.quirks.squeezed_axes import NameSqueezedAxesPass
from onnx_ig.graph.quirks.transposed_weights import SeparateTransposedWeightsPass

Run = Callable[[onnx.ModelProto, np.ndarray], np.ndarray]
_rng = np.random.default_rng(0)


def _parsed(text: str, **weights: np.ndarray) -> onnx.ModelProto:
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]> f {text}')
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in weights.items())
    return proto


def _normal(*shape: int) -> np.ndarray:
    return _rng.normal(size=shape).astype(np.float32)


def _plain(proto: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    """The value by ONNX Runtime that optimises nothing."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


def _onnx_runtime(proto: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


def _openvino(proto: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    core = openvino.Core()
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(proto.SerializeToString()), "CPU", options)
    return np.asarray(compiled({"x": x})[compiled.outputs[0]])


def _inferred(proto: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    """The sizes of the output by onnx's shape inference."""
    (y,) = onnx.shape_inference.infer_shapes(proto).graph.output
    return np.array([d.dim_value for d in y.type.tensor_type.shape.dim])


def _sizes(proto: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    return np.array(_plain(proto, x).shape)


# Each: the model, its input, the quirk, the program that has the fault, what gives the right answer.
FAULTS: dict[str, tuple[onnx.ModelProto, np.ndarray, ir.passes.InPlacePass, Run, Run]] = {
    "padding of zeros moved into a maximum": (
        _parsed(
            """(float[1, 1, 3, 3] x) => (float[1, 1, 2, 2] y) <int64[8] pads = {0, 0, 1, 1, 0, 0, 0, 0}>
            { h = Pad (x, pads)  y = MaxPool <kernel_shape = [3, 3]> (h) }"""
        ),
        -np.arange(1, 10, dtype=np.float32).reshape(1, 1, 3, 3),
        NameAxesBeforePoolingPass(),
        _onnx_runtime,
        _plain,
    ),
    "one weight of a convolution and a transposed one": (
        _parsed(
            """(float[1, 8, 6, 6] x) => (float[1, 8, 6, 6] y) { h = Conv <pads = [1, 1, 1, 1]> (x, w)  r = Relu (h)
            y = ConvTranspose <pads = [1, 1, 1, 1]> (r, w) }""",
            w=_normal(8, 8, 3, 3),
        ),
        _normal(1, 8, 6, 6),
        SeparateTransposedWeightsPass(),
        _openvino,
        _plain,
    ),
    "one square weight of products both ways": (
        _parsed(
            """(float[4, 64] x) => (float[4, 64] y)
            { h = MatMul (x, w)  r = Relu (h)  t = Transpose <perm = [1, 0]> (w)  y = MatMul (r, t) }""",
            w=_normal(64, 64),
        ),
        _normal(4, 64),
        SeparateTransposedWeightsPass(),
        _openvino,
        _plain,
    ),
    "a window that starts beyond the input": (
        _parsed(
            """(float[1, 1, 4] x) => (float[1, 1, S] y)
            { y = MaxPool <kernel_shape = [2], strides = [3], pads = [1, 1], ceil_mode = 1> (x) }"""
        ),
        _normal(1, 1, 4),
        SettleCeilModePass(),
        _inferred,
        _sizes,
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_the_fault_is_there_and_avoided(name: str) -> None:
    proto, x, quirk, faulty, right = FAULTS[name]
    expected = right(proto, x)
    largest = np.abs(expected).max()
    assert np.abs(faulty(proto, x) - expected).max() > 0.05 * largest, "gone"
    changed = ir.from_proto(proto)
    assert quirk(changed).modified
    assert not quirk(changed).modified, "a second time"
    np.testing.assert_allclose(faulty(ir.to_proto(changed), x), expected, rtol=0, atol=1e-4 * largest)


class _Squeezed(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.squeeze()


@pytest.mark.filterwarnings("ignore")  # of the exporters, about themselves
@pytest.mark.parametrize("dynamo", [True, False])
def test_exported_squeezes_name_no_axes(dynamo: bool, tmp_path: Path) -> None:
    """torch kept the axis of three examples; the exported file drops it at one."""
    path, at_three = str(tmp_path / "squeezed.onnx"), (torch.ones(3, 1, 4),)
    batch: dict[str, Any] = (
        {"dynamic_shapes": ({0: "batch"},)} if dynamo else {"dynamic_axes": {"x": {0: "batch"}, "y": {0: "batch"}}}
    )
    torch.onnx.export(
        _Squeezed().eval(),
        at_three,
        path,
        dynamo=dynamo,
        input_names=["x"],
        output_names=["y"],
        opset_version=18,
        **batch,
    )
    proto, one = onnx.load(path), np.ones((1, 1, 4), np.float32)
    assert _plain(proto, one).shape == (4,), "gone"
    changed = ir.from_proto(onnx.shape_inference.infer_shapes(proto))
    assert NameSqueezedAxesPass()(changed).modified
    assert _plain(ir.to_proto(changed), one).shape == (1, 4)


MOVED = "(float16[N, T, 3] x) => (float16[T, N, 4] y) { t = Transpose <perm = [1, 0, 2]> (x)  y = MatMul (t, w) }"
MOVED_AND_CAST = """(double[N, T, 3] x) => (float[T, N, 4] y)
    { t = Transpose <perm = [1, 0, 2]> (x)  c = Cast <to = 1> (t)  y = MatMul (c, w) }"""
OPEN = """
import onnxruntime, sys
onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
"""


@pytest.mark.parametrize(("text", "dtype"), [(MOVED, np.float16), (MOVED_AND_CAST, np.float32)])
def test_examples_moved_before_a_product_end_no_process(text: str, dtype: type, tmp_path: Path) -> None:
    """In a process of its own, which the fault ends."""
    w = _rng.normal(size=(3, 4)).astype(dtype)
    proto, path = onnx.shape_inference.infer_shapes(_parsed(text, w=w)), tmp_path / "moved.onnx"
    onnx.save(proto, path)
    assert subprocess.run([sys.executable, "-c", OPEN, path], check=False).returncode < 0, "gone"
    changed = ir.from_proto(proto)
    assert PartMovedExamplesPass()(changed).modified
    assert not PartMovedExamplesPass()(changed).modified, "a second time"
    x = _rng.normal(size=(2, 5, 3)).astype(
        onnx.helper.tensor_dtype_to_np_dtype(proto.graph.input[0].type.tensor_type.elem_type)
    )
    expected = x.transpose(1, 0, 2).astype(np.float64) @ w.astype(np.float64)
    np.testing.assert_allclose(_onnx_runtime(ir.to_proto(changed), x), expected, rtol=0, atol=2e-2)


def test_examples_that_stay_or_are_multiplied_in_their_type_are_left() -> None:
    for text in (
        "(float16[N, 3, T] x) => (float16[N, T, 4] y) { t = Transpose <perm = [0, 2, 1]> (x)  y = MatMul (t, w) }",
        "(float[N, T, 3] x) => (float[T, N, 4] y) { t = Transpose <perm = [1, 0, 2]> (x)  y = MatMul (t, w) }",
    ):
        w = np.ones((3, 4), np.float16 if "float16" in text else np.float32)
        changed = ir.from_proto(onnx.shape_inference.infer_shapes(_parsed(text, w=w)))
        assert not PartMovedExamplesPass()(changed).modified


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_recurrent_layers_of_float16(kind: str, tmp_path: Path) -> None:
    """Examples first, as torch writes them: every form opens, and is near that of float32."""
    gates = {"LSTM": 16, "GRU": 12, "RNN": 4}[kind]
    weights = {"w": _normal(1, gates, 3), "r": _normal(1, gates, 4)}
    text = f"""(TYPE[N, 5, 3] x) => (TYPE[N, 4] y) {{ t = Transpose <perm = [1, 0, 2]> (x)
        s, h = {kind} <hidden_size = 4> (t, w, r)  y = Squeeze (h, zero) }}"""
    x, found = _normal(2, 5, 3), {}
    for name, dtype in (("float16", np.float16), ("float", np.float32)):
        proto = _parsed(
            text.replace("TYPE", name), zero=np.zeros(1, np.int64), **{n: v.astype(dtype) for n, v in weights.items()}
        )
        method = onnx_ig.IntegratedGradients(proto, provider="cpu")
        found[name] = method.attribute(x.astype(dtype), target=1, n_steps=8).astype(np.float32)
        file = onnx_ig.export(proto, tmp_path / f"{name}.onnx", target=1, n_steps=8)
        np.testing.assert_allclose(onnx_ig.open(file).attribute(x.astype(dtype)), found[name], rtol=0, atol=1e-2)
    np.testing.assert_allclose(found["float16"], found["float"], rtol=0, atol=2e-2 * np.abs(found["float"]).max())
