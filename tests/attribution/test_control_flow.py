"""If, Loop and Scan on the path of attribution models: every door gives each example's own attribution."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest

from onnx_ig.errors import NotDifferentiableError, UsageError
from onnx_ig.inspection import inspect
from tests.helpers.doors import DOORS, PRODUCTS, Case, assert_right, expected, first_rows

RNG = np.random.default_rng(3)
X, Z, K = (RNG.normal(size=(7, 3)).astype(np.float32) for _ in range(3))
YES, NO = np.array(True), np.array(False)

# the graph from x [N, 3] to y [N, 3]; further inputs: c is a number for all, b has a row per example
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "a branch, then more": (
        """h = MatMul (x, w)  t = If (c) <then_branch = a () => (float[N, 3] p) { p = Sin (h) },
        else_branch = e () => (float[N, 3] q) { q = Mul (h, h) }>  y = Sigmoid (t)""",
        {"c": YES},
    ),
    "the other branch": (
        """t = If (c) <then_branch = a () => (float[N, 3] p) { p = Sin (x) },
        else_branch = e () => (float[N, 3] q) { q = Mul (x, x) }>  y = Sigmoid (t)""",
        {"c": NO},
    ),
    "branches of linear layers in front": (
        """t = If (c) <then_branch = a () => (float[N, 3] p) { p = MatMul (x, w) },
        else_branch = e () => (float[N, 3] q) { q = Identity (x) }>  y = Tanh (t)""",
        {"c": YES},
    ),
    "branches without declared shapes": (
        """t = If (c) <then_branch = a () => (p) { p = Sin (x) }, else_branch = e () => (q) { q = Mul (x, x) }>
        y = Tanh (t)""",
        {"c": YES},
    ),
    "branches of different ranks": (
        """t = If (c) <then_branch = a () => (p) { p = Sin (x) },
        else_branch = e () => (q) { s = Unsqueeze (x, one) q = Squeeze (s) }>  y = MatMul (t, w)""",
        {"c": YES},
    ),
    "a branch that squeezes if it can": (
        """u = Unsqueeze (x, one)  s = Shape (u)  d = Gather (s, one)  e = Equal (d, one)  f = Squeeze (e)
        t = If (f) <then_branch = a () => (p) { p = Squeeze (u, one) }, else_branch = e () => (q) { q = Identity (u) }>
        g = MatMul (t, w)  y = Tanh (g)""",
        {},
    ),
    "by a sampling rate": (
        """k = Equal (c, rate)  t = If (k) <then_branch = a () => (float[N, 3] p) { p = MatMul (x, w) },
        else_branch = e () => (float[N, 3] q) { m = Mul (x, two) q = Exp (m) }>  y = Sigmoid (t)""",
        {"c": np.array(16000)},
    ),
    "by a length": (
        """s = Shape (x)  l = Gather (s, one)  k = Greater (l, one)  f = Squeeze (k)
        t = If (f) <then_branch = a () => (float[N, 3] p) { p = Sin (x) },
        else_branch = e () => (float[N, 3] q) { q = Exp (x) }>  y = MatMul (t, w)""",
        {},
    ),
    "a branch of constants": (
        """h = MatMul (x, w)  t = If (c) <then_branch = a () => (float[3] p) { p = Constant
        <value = float[3] {0.1, 0.2, 0.3}> () },
        else_branch = e () => (float[3] q) { q = ReduceMean <axes = [0], keepdims = 0> (w) }>  m = Mul (h, t)
        y = Tanh (m)""",
        {"c": YES},
    ),
    "a branch that hands on what is outside": (
        """h = MatMul (x, w)  t = If (c) <then_branch = a () => (float[N, 3] p) { p = Identity (h) },
        else_branch = e () => (float[N, 3] q) { q = Identity (x) }>  y = Tanh (t)""",
        {"c": YES},
    ),
    "several outputs": (
        """t, u = If (c) <then_branch = a () => (float[N, 3] p, float[N, 3] r) { p = Sin (x) r = Exp (x) },
        else_branch = e () => (float[N, 3] q, float[N, 3] v) { q = Cos (x) v = MatMul (x, w) }>  y = Mul (t, u)""",
        {"c": NO},
    ),
    "branches in branches": (
        """t = If (c) <then_branch = a () => (float[N, 3] p) { p = If (d) <then_branch = aa () => (float[N, 3] pp)
        { pp = Sin (x) }, else_branch = ee () => (float[N, 3] qq) { qq = MatMul (x, w) }> },
        else_branch = e () => (float[N, 3] q) { q = Exp (x) }>  y = Tanh (t)""",
        {"c": YES, "d": NO},
    ),
    "a branch off the path": (
        """t = If (c) <then_branch = a () => (float[3, 3] p) { p = Sin (w) },
        else_branch = e () => (float[3, 3] q) { q = Cos (w) }>  h = MatMul (x, t)  y = Tanh (h)""",
        {"c": YES},
    ),
    "a branch that reads another input": (
        """t = If (c) <then_branch = a () => (float[N, 3] p) { p = Mul (x, b) },
        else_branch = e () => (float[N, 3] q) { q = Add (x, b) }>  y = Tanh (t)""",
        {"c": YES, "b": K},
    ),
    "names as outside": (
        """h = MatMul (x, w)  t = If (c) <then_branch = a () => (float[N, 3] t_) { y_ = Sin (h) t_ = Exp (y_) },
        else_branch = a () => (float[N, 3] t_) { y_ = Cos (h) t_ = Neg (y_) }>  y = Tanh (t)""",
        {"c": YES},
    ),
    "a loop": (
        """y = Loop (two_, , x) <body = b (int64 i, bool g, float[N, 3] s) => (bool g2, float[N, 3] s2)
        { g2 = Identity (g) m = MatMul (s, w) s2 = Tanh (m) }>""",
        {},
    ),
    "a loop behind a linear layer, a condition given": (
        """h = MatMul (x, w)  l = Loop (c, yes, h) <body = b (int64 i, bool g, float[N, 3] s)
        => (bool g2, float[N, 3] s2) { g2 = Identity (g) s2 = Sin (s) }>  y = Sigmoid (l)""",
        {"c": np.array(3)},
    ),
    "a loop whose states have wrong shapes in the file": (
        """y = Loop (two_, , x) <body = b (int64 i, bool g, float s) => (bool g2, float s2)
        { g2 = Identity (g) s2 = Sin (s) }>""",
        {},
    ),
    "a loop over a length": (
        """s = Shape (x)  l = Gather (s, one)  n = Squeeze (l)  z = ReduceSum <keepdims = 1> (x, one)
        f, o = Loop (n, , z) <body = b (int64 i, bool g, float[N, 1] v) => (bool g2, float[N, 1] v2, float[N, 1] u)
        { g2 = Identity (g) p = Gather <axis = 1> (x, i) q = Unsqueeze (p, one) m = Mul (v, q) v2 = Tanh (m)
        u = Exp (v2) }>  r = Squeeze (o, last)  y = Transpose <perm = [1, 0]> (r)""",
        {},
    ),
    "a loop that counts with its step": (
        """y = Loop (two_, , x) <body = b (int64 i, bool g, float[N, 3] s) => (bool g2, float[N, 3] s2)
        { g2 = Identity (g) f = Cast <to = 1> (i) a = Add (f, two) m = Mul (s, a) s2 = Sin (m) }>""",
        {},
    ),
    "a loop that stops early": (
        """y, k = Loop (ten, yes, x, zero) <body = b (int64 i, bool g, float[N, 3] s, float r)
        => (bool g2, float[N, 3] s2, float r2) { s2 = Sin (s) r2 = Add (r, two) g2 = Less (r2, five) }>""",
        {},
    ),
    "a branch in a loop": (
        """y = Loop (two_, , x) <body = b (int64 i, bool g, float[N, 3] s) => (bool g2, float[N, 3] s2)
        { g2 = Identity (g) o = Equal (i, zero_) s2 = If (o) <then_branch = a () => (float[N, 3] p)
        { p = MatMul (s, w) }, else_branch = e () => (float[N, 3] q) { q = Sin (s) }> }>""",
        {},
    ),
    "a loop in a branch": (
        """t = If (c) <then_branch = a () => (float[N, 3] p) { p = Loop (two_, , x) <body = b (int64 i, bool g,
        float[N, 3] s) => (bool g2, float[N, 3] s2) { g2 = Identity (g) s2 = Sin (s) }> },
        else_branch = e () => (float[N, 3] q) { q = Exp (x) }>  y = Sigmoid (t)""",
        {"c": YES},
    ),
    "a loop in a loop": (
        """y = Loop (two_, , x) <body = b (int64 i, bool g, float[N, 3] s) => (bool g2, float[N, 3] s2)
        { g2 = Identity (g) s2 = Loop (two_, , s) <body = bb (int64 j, bool k, float[N, 3] v)
        => (bool k2, float[N, 3] v2) { k2 = Identity (k) m = MatMul (v, w) v2 = Sin (m) }> }>""",
        {},
    ),
    "a loop that reads what is outside": (
        """h = MatMul (x, w)  y = Loop (two_, , x) <body = b (int64 i, bool g, float[N, 3] s)
        => (bool g2, float[N, 3] s2) { g2 = Identity (g) m = Mul (s, h) a = Add (m, b) s2 = Sin (a) }>""",
        {"b": K},
    ),
    "a loop off the path": (
        """t = Loop (two_, , w) <body = b (int64 i, bool g, float[3, 3] s) => (bool g2, float[3, 3] s2)
        { g2 = Identity (g) s2 = Sin (s) }>  h = MatMul (x, t)  y = Tanh (h)""",
        {},
    ),
    "a loop of no steps": (
        """h = MatMul (x, w)  l = Loop (c, , h) <body = b (int64 i, bool g, float[N, 3] s) => (bool g2, float[N, 3] s2)
        { g2 = Identity (g) s2 = Exp (s) }>  y = Tanh (l)""",
        {"c": np.array(0)},
    ),
    "a scan": (
        """z = ReduceSum <keepdims = 0> (x, one)  f, o = Scan <num_scan_inputs = 1, scan_input_axes = [1],
        scan_output_axes = [1], body = b (float[N] s, float[N] u) => (float[N] s2, float[N] v)
        { s2 = Mul (s, u) v = Sin (s2) }> (z, x)  y = Sigmoid (o)""",
        {},
    ),
    "a scan in a branch": (
        """z = ReduceSum <keepdims = 0> (x, one)  t = If (c) <then_branch = a () => (float[N, 3] p)
        { f, p = Scan <num_scan_inputs = 1, scan_input_axes = [1], scan_output_axes = [1],
        body = b (float[N] s, float[N] u) => (float[N] s2, float[N] v) { s2 = Mul (s, u) v = Sin (s2) }> (z, x) },
        else_branch = e () => (float[N, 3] q) { q = Cos (x) }>  y = Sigmoid (t)""",
        {"c": YES},
    ),
    "a branch in a scan": (
        """z = ReduceSum <keepdims = 0> (x, one)  f, o = Scan <num_scan_inputs = 1, scan_input_axes = [1],
        scan_output_axes = [1], body = b (float[N] s, float[N] u) => (float[N] s2, float[N] v)
        { s2 = If (c) <then_branch = a () => (float[N] p) { p = Mul (s, u) }, else_branch = e () => (float[N] q)
        { q = Add (s, u) }> v = Sin (s2) }> (z, x)  y = Sigmoid (o)""",
        {"c": YES},
    ),
    "a function of each element of a sequence": (
        """s = SplitToSequence <axis = 1> (x)  m = SequenceMap <body = b (float[N, 1] u) => (float[N, 1] v)
        { v = Sin (u) }> (s)  o = ConcatFromSequence <axis = 1> (m)  y = Sigmoid (o)""",
        {},
    ),
    "a sequence that a loop off the path collects": (
        """q0 = SequenceEmpty ()  q = Loop (two_, , q0) <body = b (int64 i, bool g, seq(float[N, 3]) s)
        => (bool g2, seq(float[N, 3]) s2) { g2 = Identity (g) v = Sin (b) s2 = SequenceInsert (s, v) }>
        o = ConcatFromSequence <axis = 1, new_axis = 1> (q)  m = ReduceSum <keepdims = 0> (o, one)  a = Mul (m, x)
        y = Sigmoid (a)""",
        {"b": K},
    ),
}  # fmt: skip


def model(text: str, further: dict[str, Any]) -> onnx.ModelProto:
    kinds = {"f": "float", "i": "int64", "b": "bool"}
    given = "".join(f", {kinds[v.dtype.kind]}{'[N, 3]' if v.ndim else ''} {name}" for name, v in further.items())
    proto = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 17]> f (float[N, 3] x{given}) => (float[N, 3] y)
        <int64[1] one = {{1}}, int64[1] last = {{2}}, float two = {{2}}, float zero = {{0}}, float five = {{5}},
         float half = {{0.5}}, int64 zero_ = {{0}}, int64 two_ = {{2}}, int64 ten = {{10}}, int64 rate = {{16000}},
         bool yes = {{1}},
         float[3, 3] w = {{0.5, -1, 0.25, 0.75, 0.5, -0.5, 1, 0.25, -0.75}}> {{ {text} }}"""
    )
    return proto


@pytest.mark.filterwarnings("ignore:it was not checked")  # not every model runs in ONNX Runtime as it is
@pytest.mark.parametrize("name", MODELS)
def test_every_door(name: str, tmp_path: Path) -> None:
    text, further = MODELS[name]
    rows, shared = ({k: v for k, v in further.items() if bool(v.ndim) == per_row} for per_row in (True, False))
    case = Case(model(text, further), {"x": X}, rows, shared)
    calls = [({"x": Z}, [DOORS[d] for d in ("engine in small pieces", "complete", "loop-free", "step")]),
             ({}, list(PRODUCTS.values()))]  # fmt: skip
    for baselines, doors in calls:
        wanted = expected(case, baselines, integrated=bool(baselines))
        assert np.abs(wanted["x"]).max() > 1e-2
        for opened in doors:
            attribute = opened(case, baselines, tmp_path)
            for n in (1, 2, 7):
                assert_right(attribute(case.first(n), first_rows(baselines, n)), first_rows(wanted, n))


@pytest.mark.parametrize("name", ["a branch, then more", "a loop", "a scan"])
def test_other_forms_of_a_baseline(name: str, tmp_path: Path) -> None:
    text, further = MODELS[name]
    case = Case(model(text, further), {"x": X}, {}, further)
    for baselines in ({"x": 0.25}, {"x": Z[:1]}):
        wanted = expected(case, baselines)
        for door in ("engine", "complete", "step"):
            attribute = DOORS[door](case, baselines, tmp_path)
            for n in (1, 2, 7):
                assert_right(attribute(case.first(n), baselines), first_rows(wanted, n), note=door)


# the same, where the data decide
DECIDED: dict[str, tuple[str, dict[str, Any]]] = {
    "a branch by the mean": (
        """m = ReduceMean <keepdims = 0> (x)  k = Greater (m, zero)
        t = If (k) <then_branch = a () => (float[N, 3] p) { p = MatMul (x, w) },
        else_branch = e () => (float[N, 3] q) { q = Exp (x) }>  y = Sigmoid (t)""",
        {},
    ),
    "a branch by another input": (
        """m = ReduceMean <keepdims = 0> (b)  k = Greater (m, zero)
        t = If (k) <then_branch = a () => (float[N, 3] p) { p = MatMul (x, w) },
        else_branch = e () => (float[N, 3] q) { q = Exp (x) }>  y = Sigmoid (t)""",
        {"b": K},
    ),
    "a loop until the data are small": (
        """y, k = Loop (ten, yes, x, zero) <body = b (int64 i, bool g, float[N, 3] s, float r)
        => (bool g2, float[N, 3] s2, float r2) { h = MatMul (s, w) s2 = Sin (h) r2 = ReduceSum <keepdims = 0> (s2)
        g2 = Greater (r2, zero) }>""",
        {},
    ),
    "a branch in a loop by what the loop carries": (
        """y = Loop (two_, , x) <body = b (int64 i, bool g, float[N, 3] s) => (bool g2, float[N, 3] s2)
        { g2 = Identity (g) m = ReduceMax <keepdims = 0> (s) k = Greater (m, half) s2 = If (k)
        <then_branch = a () => (float[N, 3] p) { p = MatMul (s, w) }, else_branch = e () => (float[N, 3] q)
        { q = Sin (s) }> }>""",
        {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DECIDED)
def test_what_the_data_decide_is_decided_for_each_example_at_each_path_point(name: str, tmp_path: Path) -> None:
    text, further = DECIDED[name]
    case = Case(model(text, further), {"x": X}, further)
    wanted = expected(case, {"x": Z})
    for opened in (DOORS["engine"], DOORS["engine in small pieces"], DOORS["complete"], DOORS["step"]):
        attribute = opened(case, {"x": Z}, tmp_path)
        for n in (1, 2, 7):
            assert_right(attribute(case.first(n), first_rows({"x": Z}, n)), first_rows(wanted, n))
    wanted = expected(case, {}, integrated=False)
    for opened in PRODUCTS.values():
        attribute = opened(case, {}, tmp_path)
        assert_right(attribute(case, {}), wanted)
    with pytest.raises(UsageError, match="the data decide what its"):
        DOORS["loop-free"](case, {"x": Z}, tmp_path)


# what no gradient is made of: the nodes, the operator and the reason, whether the graph tells it before a run
REFUSED: dict[str, tuple[str, str, str, bool]] = {
    "a state that grows": (
        """a, f = Loop (c, , x, x) <body = b (int64 i, bool g, float[N, K] q, float[N, 3] s)
        => (bool g2, float[N, L] q2, float[N, 3] s2) { g2 = Identity (g) s2 = Sin (s) q2 = Concat <axis = 1> (q, q) }>
        y = Slice (a, none, three, one)""",
        "Loop", r"its state 'q' changes its shape from \[N,3\] to \[N,6\] in a step.*or write the growing tensor", True,
    ),
    "a state that starts as what may be one row for all": (
        """start = Compress <axis = 0> (w, pick)  y = Loop (two_, , start) <body = b (int64 i, bool g, float[A, 3] s)
        => (bool g2, float[B, 3] s2) { g2 = Identity (g) q = Add (s, x) s2 = Sin (q) }>""",
        "Loop", "has another shape at another one.*Start its states with the shape", False,
    ),
    "a sequence carried along": (
        """q0 = SequenceEmpty ()  q = Loop (c, , q0) <body = b (int64 i, bool g, seq(float[N, 3]) s)
        => (bool g2, seq(float[N, 3]) s2) { g2 = Identity (g) v = Sin (x) s2 = SequenceInsert (s, v, zero_) }>
        o = ConcatFromSequence <axis = 1, new_axis = 1> (q)  y = ReduceSum <keepdims = 0> (o, one)""",
        "ConcatFromSequence", "or the state of a loop", True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_gradient_is_said_by_every_door(name: str, tmp_path: Path) -> None:
    text, operator, words, known = REFUSED[name]
    shared = {"c": np.array(2)}
    proto = model(text, shared)
    constants = {"none": np.array([0]), "three": np.array([3]), "pick": np.array([True, False, False])}
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(value, key) for key, value in constants.items())
    case = Case(proto, {"x": X}, {}, shared)
    found = next(one for one in inspect(proto).gradients if one.wrt == "x")
    assert found.status == ("blocked" if known else "yes")
    assert (operator in [one.op_type for one in found.obstacles]) == known
    for doors, baselines in ((DOORS, {"x": Z}), (PRODUCTS, {})):
        for opened in doors.values():
            with pytest.raises(NotDifferentiableError, match=f"cannot differentiate {operator} .*{words}"):
                opened(case, baselines, tmp_path)(case, baselines)
