"""Small models of the operators that ONNX Runtime has no CUDA kernel for."""

from __future__ import annotations

import onnx
import onnx.parser

_PICTURE, _VECTOR, _WAVE = "N, 2, 6, 8", "N, 9", "N, 12, {parts}"
_CONSTANTS = """<int64 axis = {-2}, int64 step = {3}, int64 eight = {8},
    float[8] window = {0.1, 0.4, 0.8, 1, 1, 0.8, 0.4, 0.1}, int64[4] shape = {3, 2, 6, 8}>"""
_POOL = "p, i = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(x)"

# by name: the input's dimensions, the nodes, and whether the whole of it is rewritten
CASES: dict[str, tuple[str, str, bool]] = {
    "Tan": (_VECTOR, "y = Tan(x)", True),
    "Sinh": (_VECTOR, "y = Sinh(x)", True),
    "Cosh": (_VECTOR, "y = Cosh(x)", True),
    "Mean": (_VECTOR, "a = Sin(x) b = Mul(x, a) y = Mean(x, a, b)", True),
    "Mean of one": (_VECTOR, "y = Mean(x)", True),
    "Celu": (_VECTOR, "y = Celu(x)", True),
    "Celu, alpha": (_VECTOR, "y = Celu<alpha = 2.5>(x)", True),
    "MeanVarianceNormalization": (_PICTURE, "y = MeanVarianceNormalization(x)", True),
    "MeanVarianceNormalization, axes": (_PICTURE, "y = MeanVarianceNormalization<axes = [1, 3]>(x)", True),
    "LpPool": (_PICTURE, "y = LpPool<kernel_shape = [2, 3], strides = [2, 1], pads = [0, 1, 0, 1]>(x)", True),
    "LpPool, p = 1": (_PICTURE, "y = LpPool<kernel_shape = [2, 2], p = 1>(x)", True),
    "LpPool, p = 3": (_PICTURE, "y = LpPool<kernel_shape = [2, 2], p = 3>(x)", True),
    "LpPool, rounded up": (_PICTURE, "y = LpPool<kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1>(x)", False),
    "GlobalLpPool": (_PICTURE, "y = GlobalLpPool<p = 3>(x)", True),
    "MaxUnpool": (_PICTURE, f"{_POOL} y = MaxUnpool<kernel_shape = [2, 2], strides = [2, 2]>(p, i)", True),
    "MaxUnpool, shape": ("3, 2, 6, 8", f"{_POOL} y = MaxUnpool<kernel_shape = [2, 2]>(p, i, shape)", True),
    "DFT": (_WAVE.format(parts=1), "y = DFT(x, , axis)", True),
    "DFT, onesided": (_WAVE.format(parts=1), "y = DFT<onesided = 1>(x, , axis)", True),
    "DFT, padded": (_WAVE.format(parts=2), "y = DFT(x, eight, axis)", True),
    "DFT, inverse": (_WAVE.format(parts=2), "y = DFT<inverse = 1>(x)", True),
    "STFT": (_WAVE.format(parts=1), "y = STFT(x, step, window)", True),
    "STFT, both sides": (_WAVE.format(parts=1), "y = STFT<onesided = 0>(x, step, , eight)", True),
}


def model_of(name: str) -> onnx.ModelProto:
    """The case's forward model."""
    dimensions, nodes, _ = CASES[name]
    told = f"float[{dimensions}] y" if name.startswith("MaxUnpool") else "y"  # which shape inference does not find
    graph = f"g (float[{dimensions}] x) => ({told}) {_CONSTANTS} {{ {nodes} }}"
    model = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : 20]> {graph}')
    return onnx.shape_inference.infer_shapes(model, data_prop=True)
