"""Files of ONNX Runtime's highest optimisation level on CPU, whose convolutions read tensors in blocks of channels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest

import onnx_ig
from onnx_ig.errors import NotDifferentiableError
from onnx_ig.loading.foreign.microsoft import blocked as microsoft_nchwc
from onnx_ig.runtime.session import Session

_rng = np.random.default_rng(5)
X = _rng.normal(size=(2, 3, 12, 12)).astype(np.float32)

# The body of a graph from x [N, 3, 12, 12] to y, its weights (shapes by name), operators its optimised form must hold
BODIES: dict[str, tuple[str, dict[str, tuple[int, ...]], set[str]]] = {
    "one layer": ("y = Conv <pads = [1, 1, 1, 1]> (x, w, b)", {"w": (20, 3, 3, 3), "b": (20,)}, {"Conv"}),
    "stride, dilation, SAME": (
        'h = Conv <strides = [2, 2], auto_pad = "SAME_LOWER"> (x, w, b)  y = Conv <dilations = [2, 2]> (h, v)',
        {"w": (32, 3, 4, 4), "b": (32,), "v": (16, 32, 2, 2)},
        {"Conv"},
    ),
    "padded channels": (
        "h = Conv (x, w)  y = Conv (h, v)",
        {"w": (24, 3, 3, 3), "v": (5, 24, 2, 2)},
        {"Conv", "ReorderOutput"},
    ),
    "groups": (
        "h = Conv (x, w)  g = Conv <group = 2> (h, v)  d = Conv <group = 32> (g, u)  y = Sigmoid (d)",
        {"w": (32, 3, 3, 3), "v": (32, 16, 2, 2), "u": (32, 1, 3, 3)},
        {"Conv"},
    ),
    "activations": (
        "h = Conv (x, w)  a = LeakyRelu <alpha = 0.3> (h)  g = Conv (a, v)  s = Tanh (g)  k = Conv (s, v)"
        "  y = HardSigmoid (k)",
        {"w": (16, 3, 3, 3), "v": (16, 16, 2, 2)},
        {"Conv"},
    ),
    "residual": (
        "h = Conv (x, w)  g = Conv <pads = [1, 1, 1, 1]> (h, v)  s = Add (g, h)  y = Relu (s)",
        {"w": (16, 3, 3, 3), "v": (16, 16, 3, 3)},
        {"Conv"},
    ),
    "pools": (
        "h = Conv (x, w)  m = MaxPool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]> (h)"
        "  a = AveragePool <kernel_shape = [2, 2], pads = [0, 0, 1, 1], count_include_pad = 1> (m)"
        "  p = GlobalAveragePool (a)  q = GlobalMaxPool (a)  y = Add (p, q)",
        {"w": (16, 3, 3, 3)},
        {"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"},
    ),
    "scaled channels": (
        "h = Conv (x, w)  p = GlobalAveragePool (h)  k = Conv (p, v)  g = Sigmoid (k)  m = Mul (h, g)  y = Conv (m, v)",
        {"w": (32, 3, 3, 3), "v": (32, 32, 1, 1)},
        {"Conv"},
    ),
    "joined": (
        "h = Conv (x, w)  g = Conv (x, u)  c = Concat <axis = 1> (h, g)  y = Conv (c, v)",
        {"w": (16, 3, 3, 3), "u": (32, 3, 3, 3), "v": (16, 48, 1, 1)},
        {"Conv"},
    ),
    "nearest": (
        "h = Conv (x, w)  r = Resize <mode = \"nearest\", coordinate_transformation_mode = \"asymmetric\","
        " nearest_mode = \"floor\"> (h, , s)  y = Conv (r, v)",
        {"w": (16, 3, 3, 3), "v": (16, 16, 2, 2), "s": (4,)},
        {"Upsample"},
    ),
    "linear": (
        "h = Conv (x, w)  r = Resize <mode = \"linear\", coordinate_transformation_mode = \"align_corners\"> (h, , s)"
        "  y = Conv (r, v)",
        {"w": (16, 3, 3, 3), "v": (16, 16, 2, 2), "s": (4,)},
        {"Upsample"},
    ),
    "normalised": (
        "h = Conv (x, w)  m = MaxPool <kernel_shape = [2, 2]> (h)"
        "  y = BatchNormalization (m, gamma, beta, mean, var)",
        {"w": (16, 3, 3, 3), "gamma": (16,), "beta": (16,), "mean": (16,), "var": (16,)},
        {"Conv"},
    ),
    "channels last": (
        "h = Conv (x, w)  t = Transpose <perm = [0, 2, 3, 1]> (h)  e = Erf (t)"
        "  u = Transpose <perm = [0, 3, 1, 2]> (e)  y = Conv (u, v)",
        {"w": (16, 3, 3, 3), "v": (16, 16, 2, 2)},
        {"Conv", "ReorderInput"},
    ),
}  # fmt: skip


def model_of(name: str) -> onnx.ModelProto:
    text, shapes, _ = BODIES[name]
    model = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 18]>
        f (float[N, 3, 12, 12] x) => (float[N, C, H, W] y) {{ {text} }}"""
    )
    rng = np.random.default_rng(3)
    for weight, shape in shapes.items():
        values = rng.normal(size=shape) / np.sqrt(max(np.prod(shape[1:]), 1))
        if weight == "s":
            values = np.array([1, 1, 2, 3])
        elif weight == "var":
            values = np.abs(values) + 0.5
        model.graph.initializer.append(onnx.numpy_helper.from_array(values.astype(np.float32), weight))
    return model


def gradient(source: onnx.ModelProto | Path) -> dict[str, np.ndarray]:
    """The output, and the gradient for one cotangent of its shape."""
    (y,) = Session(source if isinstance(source, Path) else source.SerializeToString(), "cpu").run({"x": X}).values()
    cotangent = np.cos(np.arange(y.size, dtype=np.float32)).reshape(y.shape)
    return Session(onnx_ig.differentiate(source), "cpu").run({"x": X, "cotangent_y": cotangent})


@pytest.mark.parametrize("name", BODIES)
def test_value_and_gradient(name: str, tmp_path: Path) -> None:
    model = model_of(name)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    path = Path(options.optimized_model_filepath)
    blocked = {n.op_type for n in onnx.load(path).graph.node if n.domain == microsoft_nchwc.BLOCKED}
    if not blocked:
        pytest.skip("ONNX Runtime has no such kernels on this processor")
    assert blocked >= BODIES[name][2], blocked
    expected, ours = gradient(model), gradient(path)
    for tensor, value in expected.items():
        np.testing.assert_allclose(ours[tensor], value, atol=1e-5 * np.abs(value).max())


def _memory(w: np.ndarray, block: int, first: bool) -> np.ndarray:
    """Weights as ONNX Runtime stores them: the input's channels in blocks too unless ``first``."""
    o, i, h, k = w.shape
    if first:
        return w.reshape(o // block, block, i, h, k).transpose(0, 2, 3, 4, 1).reshape(w.shape).copy()
    split = w.reshape(o // block, block, i // block, block, h, k)
    return split.transpose(0, 2, 4, 5, 3, 1).reshape(w.shape).copy()


def blocked_model(block: int, channels: int) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """Two convolutions as a machine with this block size stores them, and plainly."""
    model = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 18, "{microsoft_nchwc.BLOCKED}" : 1]>
        f (float[N, 3, 12, 12] x) => (float[N, {channels}, 8, 8] y)
        {{ h = B.Conv (x, w)  g = B.Conv (h, v)  y = B.ReorderOutput <channels = {channels}> (g) }}""".replace(
            "B.", microsoft_nchwc.BLOCKED + "."
        )
    )
    plain = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 18]>
        f (float[N, 3, 12, 12] x) => (float[N, {channels}, 8, 8] y) {{ h = Conv (x, w)  y = Conv (h, v) }}"""
    )
    rng = np.random.default_rng(1)
    w = rng.normal(size=(channels, 3, 3, 3)).astype(np.float32)
    v = rng.normal(size=(channels, channels, 3, 3)).astype(np.float32)
    padding = -channels % block
    wide_w = np.pad(w, ((0, padding), (0, 0), (0, 0), (0, 0)))
    wide_v = np.pad(v, ((0, padding), (0, padding), (0, 0), (0, 0)))
    stored = {"w": _memory(wide_w, block, first=True), "v": _memory(wide_v, block, first=False)}
    for proto, weights in ((model, stored), (plain, {"w": w, "v": v})):
        proto.graph.initializer.extend(onnx.numpy_helper.from_array(a, name) for name, a in weights.items())
    return model, plain


@pytest.mark.parametrize(
    ("block", "channels", "here"),
    [(8, 8, 16), (8, 20, 16), (16, 20, 8), (16, 8, 0), (8, 32, 8), (16, 32, 16)],
    ids=lambda number: str(number),
)
def test_block_size_is_told_by_the_shapes_or_else_by_the_machine(
    block: int, channels: int, here: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(microsoft_nchwc, "block_size_here", lambda: here)
    model, plain = blocked_model(block, channels)
    cotangent = _rng.normal(size=(2, channels, 8, 8)).astype(np.float32)
    feeds = {"x": X, "cotangent_y": cotangent}
    ours, expected = (Session(onnx_ig.differentiate(m), "cpu").run(feeds) for m in (model, plain))
    for name, value in expected.items():
        np.testing.assert_allclose(ours[name], value, atol=1e-5 * np.abs(value).max())


def test_what_fits_no_block_size_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(microsoft_nchwc, "block_size_here", lambda: 0)
    with pytest.raises(NotDifferentiableError, match="blocks of unknown size"):
        onnx_ig.differentiate(blocked_model(16, 32)[0])
