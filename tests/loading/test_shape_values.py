"""Dimensions that exporters compute at run time are known at load, in numbers and in the inputs' symbols."""

from __future__ import annotations

import onnx.parser
import pytest

import onnx_ig

CONSTANTS = """<int64[1] zero = {0}, int64[1] one = {1}, int64[1] two = {2}, int64[1] rest = {-1}, int64[1] six = {6},
    int64[1] keep = {0}, int64 first = {0}>"""

# name: (what computes y from x [N, 4, 6], y's dimensions)
SHAPES = {
    "shape, slice, concat": (
        "s = Shape(x) b = Slice(s, zero, one, zero) t = Concat<axis=0>(b, six, rest) y = Reshape(x, t)",
        ["N", 6, 4],
    ),
    "gathered and put back": (
        "s = Shape(x) g = Gather(s, first) b = Unsqueeze(g, zero) t = Concat<axis=0>(b, rest) y = Reshape(x, t)",
        ["N", 24],
    ),
    "rest is the symbol": ("t = Concat<axis=0>(rest, six, two, two) y = Reshape(x, t)", ["N", 6, 2, 2]),
    "zero copies": ("t = Concat<axis=0>(keep, rest) y = Reshape(x, t)", ["N", 24]),
    "expanded": (
        "s = Shape<start=0, end=1>(x) t = Concat<axis=0>(s, six) c = Cast<to=1>(six) y = Expand(c, t)",
        ["N", 6],
    ),
    "filled": ("s = Shape(x) y = ConstantOfShape(s)", ["N", 4, 6]),
    "times one": ("s = Shape<end=1>(x) p = Mul(s, one) t = Concat<axis=0>(p, rest) y = Reshape(x, t)", ["N", 24]),
    "times two": ("s = Shape<end=1>(x) p = Mul(s, two) t = Concat<axis=0>(p, rest) y = Reshape(x, t)", [None, None]),
    "beyond it": (
        "s = Shape<end=1>(x) t = Concat<axis=0>(s, rest) r = Reshape(x, t) v = Relu(r) y = Add(v, r)",
        ["N", 24],
    ),
}


@pytest.mark.parametrize("name", list(SHAPES))
def test_dimensions(name: str) -> None:
    nodes, expected = SHAPES[name]
    text = f'<ir_version: 8, opset_import: ["" : 18]> g (float[N, 4, 6] x) => (float y) {CONSTANTS} {{ {nodes} }}'
    proto = onnx.parser.parse_model(text)
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    y = onnx_ig.load(proto).outputs[0]
    assert y.shape is not None
    found = [d if isinstance(d, int) else d.value if d.value == "N" else None for d in y.shape]
    assert found == expected
