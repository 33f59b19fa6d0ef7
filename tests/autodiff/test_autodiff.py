"""The driver: the tester rejects wrong rules, a new operator needs one rule, refusals name what stands in the way."""

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx.reference import ReferenceEvaluator

import onnx_ig
from onnx_ig.autodiff import registry
from onnx_ig.errors import InputError, ModelError, NoGradientPathError, NotDifferentiableError
from onnx_ig.graph.node import given
from onnx_ig.runtime.session import Session
from tests.autodiff.cases import own_cases
from tests.judging.judge import judge, make_case


def model(text: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18, "custom" : 1]>\n{text}')


def gradients(proto: onnx.ModelProto, **feeds: np.ndarray) -> dict[str, np.ndarray]:
    evaluator = ReferenceEvaluator(proto)
    return dict(zip([o.name for o in proto.graph.output], evaluator.run(None, feeds), strict=True))


WRONG = {
    "scaled": lambda op, node, dy: op.Mul(op.Mul(dy, op.Cos(given(node, 0))), 1.001),
    "sign": lambda op, node, dy: op.Neg(op.Mul(dy, op.Cos(given(node, 0)))),
    "zero": lambda op, node, dy: op.zeros_like(given(node, 0)),
    "sum": lambda op, node, dy: op.Expand(op.ReduceSum(op.Mul(dy, op.Cos(given(node, 0)))), op.Shape(dy)),
}


@pytest.mark.parametrize("name", WRONG)
def test_the_judge_rejects_a_wrong_rule(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = make_case("Sin", [np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)])
    assert judge(case).outcome == "right"
    monkeypatch.setitem(registry._TABLE, ("", "Sin"), registry.Entry("rule", WRONG[name]))
    assert judge(case).outcome == "wrong"


def test_a_new_operator_needs_one_rule() -> None:
    text = "sinc (float[2] x) => (float[2] y) { s = custom.Twice (x)  y = Sin (s) }"
    with pytest.raises(NotDifferentiableError, match="custom::Twice"):
        onnx_ig.differentiate(model(text))
    try:

        @registry.vjp("Twice", domain="custom")
        def twice(op, node, dy):  # type: ignore[no-untyped-def]
            """y = 2 x:  dx = 2 dy."""
            return op.Mul(dy, 2.0)

        proto = onnx_ig.differentiate(model(text))
        assert [o.name for o in proto.graph.output] == ["y", "grad_x"]
    finally:
        registry._TABLE.pop(("custom", "Twice"))


def test_a_second_rule_is_an_error() -> None:
    with pytest.raises(ValueError, match="Sin"):
        registry.vjp("Sin")(lambda op, node, dy: dy)


def test_cases_are_collected_from_every_family() -> None:
    assert len({name.partition("-")[0] for name in own_cases()}) >= 5


def test_inner_tensors_and_several_outputs() -> None:
    proto = onnx_ig.differentiate(
        model("f (float[3] x) => (float[3] y, float[3] z) { h = Sin (x)  y = Mul (h, h)  z = Add (h, x) }"),
        wrt=["h", "x"],
    )
    x = np.array([0.1, 0.2, 0.3], np.float32)
    u, v = np.array([1, 2, 3], np.float32), np.array([0.5, 0, -1], np.float32)
    values = gradients(proto, x=x, cotangent_y=u, cotangent_z=v)
    np.testing.assert_allclose(values["grad_h"], 2 * np.sin(x) * u + v, rtol=1e-6)
    np.testing.assert_allclose(values["grad_x"], (2 * np.sin(x) * u + v) * np.cos(x) + v, rtol=1e-6)


def test_nothing_dead_remains_and_weights_get_no_adjoint() -> None:
    proto = onnx_ig.differentiate(
        model(
            """f (float[N, 3] x) => (float[N, 2] y)
            <float[3, 2] w = {1, 2, 3, 4, 5, 6}, float[2] b = {1, 2}> { h = MatMul (x, w)  y = Add (h, b) }"""
        )
    )
    used = {name for node in proto.graph.node for name in node.input} | {o.name for o in proto.graph.output}
    assert all(any(y in used for y in node.output) for node in proto.graph.node)
    assert all(t.name in used for t in proto.graph.initializer)
    assert [node.op_type for node in proto.graph.node].count("MatMul") == 2


def test_names_in_the_way_are_renamed_or_refused() -> None:
    proto = onnx_ig.differentiate(model("f (float[3] x) => (float[3] y) { grad_x = Sin (x)  y = Mul (grad_x, x) }"))
    assert [o.name for o in proto.graph.output] == ["y", "grad_x"]
    with pytest.raises(ModelError, match="grad_x"):
        onnx_ig.differentiate(model("f (float[3] x) => (float[3] grad_x) { grad_x = Sin (x) }"))


LOGISTIC = {
    "reciprocal": "e = Exp (u) p = Add (e, one) y = Reciprocal (p)",
    "quotient": "e = Exp (u) p = Add (one, e) y = Div (one, p)",
    "of another sum": "e = Exp (u) p = Add (two, e) y = Div (one, p)",
}


@pytest.mark.filterwarnings("ignore:overflow")  # onnx's reference evaluator computes with exp too
@pytest.mark.parametrize("name", LOGISTIC)
def test_the_logistic_function_written_out(name: str) -> None:
    """Its gradient is finite where the exponential overflows, and right elsewhere."""
    text = f"""f (float[N, 3] u) => (float[N, 3] y) <float one = {{1}}, float two = {{2}}> {{ {LOGISTIC[name]} }}"""
    far = name != "of another sum"
    u = np.array([[-3, 0.5, 100.0 if far else 2]], np.float32)
    got = gradients(onnx_ig.differentiate(model(text)), u=u, cotangent_y=np.ones_like(u))
    wide, one = u.astype(np.float64), 1 if far else 2
    np.testing.assert_allclose(got["y"], 1 / (one + np.exp(wide)), rtol=1e-6, atol=1e-30)
    np.testing.assert_allclose(got["grad_u"], -np.exp(wide) / (one + np.exp(wide)) ** 2, rtol=1e-5, atol=1e-30)


REFUSED = {
    "no path": ("f (float[3] x) => (float[3] y) { y = Round (x) }", NoGradientPathError, "Round"),
    "integer cast": (
        "f (float[3] x) => (float[3] y) { i = Cast <to = 7> (x)  y = Cast <to = 1> (i) }",
        NoGradientPathError,
        "casts to integers",
    ),
    "unknown operator": ("f (float[3] x) => (float[3] y) { y = custom.Magic (x) }", NotDifferentiableError, "Magic"),
    "integer input": ("f (int64[3] x) => (int64[3] y) { y = Neg (x) }", InputError, "no float input"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_say_what_stands_in_the_way(name: str) -> None:
    text, error, words = REFUSED[name]
    with pytest.raises(error, match=words):
        onnx_ig.differentiate(model(text))


def test_an_unreached_input_gets_zeros_and_a_warning() -> None:
    proto = model("f (float[3] x, float[2] z) => (float[3] y) { y = Sin (x) }")
    with pytest.warns(onnx_ig.OnnxIgWarning, match="'z'"):
        result = onnx_ig.differentiate(proto, wrt=["x", "z"])
    values = gradients(result, x=np.ones(3, np.float32), z=np.ones(2, np.float32), cotangent_y=np.ones(3, np.float32))
    assert values["grad_z"].shape == (2,) and not values["grad_z"].any()
    assert [o.name for o in onnx_ig.differentiate(proto).graph.output] == ["y", "grad_x"]


def test_padding_of_a_gradient_stays_out_of_the_pooling_behind_it() -> None:
    """The cotangent of a Slice is padded, then pooled with as much padding as its window allows."""
    proto = model(
        """f (float[N,1,6] x) => (float[N,1,3] y) <int64[1] one = {1}, int64[1] end = {4}, int64[1] two = {2}>
        { m = AveragePool <kernel_shape = [3]> (x)  y = Slice (m, one, end, two) }"""
    )
    x = np.array([[[1, 2, 3, 4, 5, 6]]], np.float32)
    actual = onnx_ig.InputXGradient(proto, provider="cpu").attribute(x, target=(0, 0))
    np.testing.assert_allclose(actual, [[[0, 2 / 3, 1, 4 / 3, 0, 0]]], rtol=1e-6)


def test_with_respect_to_a_weight_that_a_lowering_rearranges() -> None:
    """LSTM's weights as initialisers, which nothing may fold, get the gradients they get as inputs."""
    header = '<ir_version: 8, opset_import: ["" : 18]> g (float[2, 3, 4] x{}) => (float[2, 1, 3, 2] y)'
    nodes = "{ y = LSTM <hidden_size = 2> (x, w, r) }"
    rng = np.random.default_rng(0)
    weights = {n: (0.3 * rng.normal(size=(1, 8, size))).astype(np.float32) for n, size in (("w", 4), ("r", 2))}
    feeds = {"x": np.ones((2, 3, 4), np.float32), "cotangent_y": np.ones((2, 1, 3, 2), np.float32)}
    inside = onnx.parser.parse_model(header.format("") + nodes)
    inside.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in weights.items())
    outside = onnx.parser.parse_model(header.format(", float[1, 8, 4] w, float[1, 8, 2] r") + nodes)
    found = Session(onnx_ig.differentiate(inside, wrt=list(weights)), "cpu").run(feeds)
    expected = Session(onnx_ig.differentiate(outside, wrt=list(weights)), "cpu").run({**feeds, **weights})
    for name in ("grad_w", "grad_r"):
        assert np.abs(expected[name]).max() > 0.01
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-6)
