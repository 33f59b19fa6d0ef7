"""Random graphs: a quick run over the table of operators, and the tester tested."""

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from onnx import parser

from onnx_ig.autodiff import registry
from onnx_ig.checking.exact.widening import as_float64
from tests.judging.graphs.excuse import excuse, shaken
from tests.judging.judge import Case, make_case
from tests.judging.random_graphs import SHAPES, graphs, judge_graph, reproduction

SMOOTH = np.array([0.3, -0.8, 1.1], np.float32)


@pytest.mark.parametrize("shapes", SHAPES)
def test_random_graphs(shapes: str) -> None:
    @settings(
        max_examples=38, derandomize=True, deadline=None, database=None, phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(graphs(shapes))
    def check(case: Case) -> None:
        judgement = judge_graph(case)
        assume(judgement.outcome != "discarded")
        assert judgement.outcome == "right", f"{judgement.reason}\n{reproduction(case)}"

    check()


def test_wrong_rule_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = registry.Entry("rule", lambda op, node, dy: op.Mul(dy, op.Sin(node.inputs[0])))
    monkeypatch.setitem(registry._TABLE, ("", "Sin"), wrong)
    assert judge_graph(make_case("Sin", [SMOOTH])).outcome == "wrong"


def test_breaking_rule_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._TABLE, ("", "Sin"), registry.Entry("rule", lambda op, node, dy: 1 / 0))
    assert judge_graph(make_case("Sin", [SMOOTH])).outcome == "wrong"


def test_wrong_only_in_float32_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def rule(op, node, dy):  # type: ignore[no-untyped-def]
        slope = op.Mul(dy, op.Cos(node.inputs[0]))
        return slope if dy.dtype == onnx.TensorProto.DOUBLE else op.Mul(slope, 1.01)

    monkeypatch.setitem(registry._TABLE, ("", "Sin"), registry.Entry("rule", rule))
    assert judge_graph(make_case("Sin", [SMOOTH])).outcome == "wrong"


def test_corner_is_not_held_against_the_gradient() -> None:
    judgement = judge_graph(make_case("Relu", [np.zeros(3, np.float32)]))
    assert judgement.outcome == "discarded" and "not smooth" in judgement.reason


def test_lost_digits_are_not_held_against_the_gradient() -> None:
    model = parser.parse_model(
        """<ir_version: 10, opset_import: ["": 18]> lost (float[3] x) => (float[3] y) <float big = {20000}> {
            high = Add (x, big)
            low = Sub (high, big)
            y = Mul (low, low)
        }"""
    )
    assert excuse(Case("lost digits", model, {"x": SMOOTH}, noise=0.0)) == "rounding of float32"


def test_shaking_multiplies_every_float_output() -> None:
    model = shaken(as_float64(make_case("Sin", [SMOOTH]).model))
    assert [node.op_type for node in model.graph.node] == ["Sin", "RandomUniformLike", "Mul"]
    assert model.graph.node[-1].output[0] == model.graph.output[0].name
