"""verify on ONNX models: no right gradient is called wrong, and every wrong rule is, by Python and the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest
from click.testing import CliRunner

import onnx_ig
from onnx_ig.autodiff import registry
from onnx_ig.cli.app import app
from onnx_ig.engine.engine import Engine
from onnx_ig.errors import InputError

RNG = np.random.default_rng(5)


def model(text: str, **weights: tuple[int, ...]) -> onnx.ModelProto:
    """A model in text, with random weights of the given shapes."""
    rng = np.random.default_rng(5)
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]> f {text}')
    for name, shape in weights.items():
        array = (rng.standard_normal(shape) / np.sqrt(max(1, int(np.prod(shape[1:]))))).astype(np.float32)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return proto


def deep_relu() -> onnx.ModelProto:
    layers = " ".join(f"m{i} = MatMul (r{i}, w{i}) r{i + 1} = Relu (m{i})" for i in range(6))
    shapes = {f"w{i}": (40, 40) for i in range(6)}
    text = f"(float[N, 40] r0) => (float[N, 5] y) {{ {layers} y = MatMul (r6, last) }}"
    return model(text, **shapes, last=(40, 5))


CONV = """(float[N, 3, 12, 12] x) => (float[N, 4] y) {
  c = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w) r = Relu (c)
  p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (r) d = Conv <kernel_shape = [3, 3]> (p, v)
  q = Relu (d) h = Conv <kernel_shape = [1, 1]> (q, u)
  g = GlobalAveragePool (h) y = Flatten <axis = 1> (g) }"""
ATTENTION = """(float[N, 5, 8] x) => (float[N, 8] y) <int64[1] one = {1}> {
  l = LayerNormalization <axis = -1> (x, scale) q = MatMul (l, wq) k = MatMul (l, wk)
  t = Transpose <perm = [0, 2, 1]> (k) s = MatMul (q, t) a = Softmax <axis = -1> (s)
  v = MatMul (a, l) e = Erf (v) z = Add (e, x)
  y = ReduceMean <keepdims = 0> (z, one) }"""
SCALED = """(float[N, 3] x) => (float[N, 2] y) <float[3] m = {50000, 0.0002, 3}, float[3] s = {20000, 0.0001, 2}> {
  c = Sub (x, m) d = Div (c, s) h = MatMul (d, w) r = Relu (h) y = MatMul (r, v) }"""
SUBJECTS: dict[str, Callable[[], onnx.ModelProto]] = {
    "a deep net of ReLUs": deep_relu,
    "convolutions, ReLU and max-pooling": lambda: model(CONV, w=(6, 3, 3, 3), v=(5, 6, 3, 3), u=(4, 5, 1, 1)),
    "attention": lambda: model(ATTENTION, scale=(8,), wq=(8, 8), wk=(8, 8)),
    "columns of very different sizes": lambda: model(SCALED, w=(3, 30), v=(30, 2)),
}
ROWS = np.array([[60000, 0.0001, 4], [20000, 0.0005, 1]], np.float32)
# right gradients: the model, what verify is told
RIGHT: dict[str, tuple[Callable[[], onnx.ModelProto], dict[str, Any]]] = {
    **{name: (make, {}) for name, make in SUBJECTS.items()},
    "data of the columns' own sizes": (SUBJECTS["columns of very different sizes"], {"inputs": ROWS}),
    "data on the kink of every ReLU": (
        lambda: model("(float[N, 4] x) => (float[N, 3] y) { r = Relu (x) y = MatMul (r, w) }", w=(4, 3)),
        {"inputs": np.zeros((2, 4), np.float32)},
    ),
    "a black picture, equal in every window": (
        lambda: model(CONV, w=(6, 3, 3, 3), v=(5, 6, 3, 3), u=(4, 5, 1, 1)),
        {"inputs": np.zeros((1, 3, 12, 12), np.float32)},
    ),
    "an absolute value at zero": (
        lambda: model("(float[N, 4] x) => (float[N, 4] y) { a = Abs (x) n = Neg (x) m = Max (n, x) y = Add (a, m) }"),
        {"inputs": np.zeros((1, 4), np.float32)},
    ),
    "a jump at whole numbers": (
        lambda: model("(float[N, 4] x) => (float[N, 4] y) { a = Floor (x) s = Sin (x) y = Add (a, s) }"),
        {"inputs": np.array([[1, 2, 3, 4]], np.float32)},
    ),
    "a large sum beside a small slope": (
        lambda: model("(float[N, 4] x) => (float[N, 4] y) <float c = {1000000}> { s = Sin (x) y = Add (s, c) }"),
        {},
    ),
    "an inner tensor": (SUBJECTS["attention"], {"at": "s"}),
    "an inner tensor that is read twice": (SUBJECTS["attention"], {"at": "l"}),
    "half precision": (
        lambda: model(
            """(float16[N, 4] x) => (float16[N, 3] y) { f = Cast <to = 1> (x) m = MatMul (f, w) r = Relu (m)
            y = Cast <to = 10> (r) }""",
            w=(4, 3),
        ),
        {},
    ),
    "no dependence": (
        lambda: model("(float[N, 4] x, float[N, 4] z) => (float[N, 4] y) { s = Sin (x) f = Floor (z) y = Add (s, f) }"),
        {"inputs": {"x": np.ones((1, 4), np.float32)}, "additional_forward_args": {"z": np.ones((1, 4), np.float32)}},
    ),
}


@pytest.mark.parametrize("case", RIGHT)
def test_no_right_gradient_is_called_wrong(case: str) -> None:
    make, keywords = RIGHT[case]
    report = onnx_ig.verify(make(), samples=1, **keywords)
    assert report.passed, report.rows
    assert any(row.tolerance is not None for row in report.rows)


def scaled(op: Any, x: ir.Value) -> ir.Value:
    return op.Mul(x, op.constant(np.array(1.01), like=x))


def negated(op: Any, x: ir.Value) -> ir.Value:
    return op.Neg(x)


def reordered(op: Any, x: ir.Value) -> ir.Value:
    """The same numbers at other places, as a transposed factor gives them."""
    return op.Reshape(op.Slice(op.Reshape(x, [-1]), [-1], [-(2**40)], [0], [-1]), op.Shape(x))


def shifted(op: Any, x: ir.Value) -> ir.Value:
    return op.Add(x, op.constant(np.array(0.05), like=x))


def spoil(op_type: str, how: Callable[[Any, ir.Value], ir.Value], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the rule of an operator give a wrong cotangent for its first input."""
    right = registry._TABLE["", op_type]
    assert right.kind == "rule" and right.function is not None
    function = right.function

    def rule(op: Any, node: ir.Node, *cotangents: Any) -> Any:
        found = function(op, node, *cotangents)
        first, *rest = found if isinstance(found, (list, tuple)) else [found]
        return [lambda: how(op, first() if callable(first) else first), *rest]

    monkeypatch.setitem(registry._TABLE, ("", op_type), registry.Entry("rule", rule, right.broadcasts))


WRONG = {"scaled by 1.01": scaled, "of the other sign": negated, "in another order": reordered, "shifted": shifted}
# each an odd number of times, for an even number of wrong signs is right
OPERATORS = {
    "MatMul": "a deep net of ReLUs",
    "Relu": "columns of very different sizes",
    "Conv": "convolutions, ReLU and max-pooling",
    "MaxPool": "convolutions, ReLU and max-pooling",
    "Softmax": "attention",
    "Erf": "attention",
    "LayerNormalization": "attention",
    "Div": "columns of very different sizes",
}


@pytest.mark.parametrize("how", WRONG)
@pytest.mark.parametrize("op_type", OPERATORS)
def test_no_wrong_rule_is_called_right(op_type: str, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(op_type, WRONG[how], monkeypatch)
    proto = SUBJECTS[OPERATORS[op_type]]()
    assert not onnx_ig.verify(proto, samples=0).passed
    if op_type in ("MatMul", "Erf"):
        onnx.save(proto, tmp_path / "m.onnx")
        done = CliRunner().invoke(app, ["verify", str(tmp_path / "m.onnx"), "--samples", "0"])
        assert done.exit_code == 8, done.stdout + done.stderr


def test_a_wrong_engine_is_told_by_its_own_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Engine.gradient

    def wrong(self: Engine, *rest: Any, **keywords: Any) -> Any:
        found = right(self, *rest, **keywords)
        found.attributions = {name: value * 1.05 for name, value in found.attributions.items()}
        return found

    monkeypatch.setattr(Engine, "gradient", wrong)
    report = onnx_ig.verify(SUBJECTS["attention"](), samples=0)
    assert [row.passed for row in report.rows] == [True, False] and not report.passed


# what cannot be judged is neither right nor wrong
UNJUDGED: dict[str, tuple[str, dict[str, Any], str]] = {
    "saturated": (
        "(float[N, 3] x) => (float[N, 3] y) <float c = {1000000}> { m = Mul (x, c) y = Sigmoid (m) }",
        {"inputs": np.array([[1, 2, 3]], np.float32)},
        "nothing could be judged",
    ),
    "not finite": (
        "(float[N, 3] x) => (float[N, 3] y) { l = Log (x) y = Log (l) }",
        {"inputs": np.full((1, 3), 0.5, np.float32)},
        "nothing could be judged",
    ),
    "rounding": (
        """(float[N, 3] x) => (float[N, 3] y) <float s = {0.01}, uint8 z = {128}> {
        q = QuantizeLinear (x, s, z) d = DequantizeLinear (q, s, z) y = Sin (d) }""",
        {},
        "quantised",
    ),
    "a size that is not declared": ("(float[N, T] x) => (float[N, T] y) { y = Sin (x) }", {}, "no values can be drawn"),
}


@pytest.mark.parametrize("case", UNJUDGED)
def test_what_cannot_be_judged_is_said(case: str) -> None:
    text, keywords, words = UNJUDGED[case]
    with pytest.raises(InputError, match=words):
        onnx_ig.verify(model(text), samples=0, **keywords)


def test_at_on_the_command_line(tmp_path: Path) -> None:
    onnx.save(SUBJECTS["attention"](), tmp_path / "m.onnx")
    done = CliRunner().invoke(app, ["verify", str(tmp_path / "m.onnx"), "--at", "q", "--samples", "0"])
    assert done.exit_code == 0 and "verified" in done.stdout and "float64" in done.stdout, done.stderr
    done = CliRunner().invoke(app, ["verify", str(tmp_path / "m.onnx"), "--at", "qq"])
    assert done.exit_code == 2 and "'qq'" in done.stderr
