"""Loops whose states change their shape, or are sequences: every door gives each example's own attribution."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest

import onnx_ig
from tests.helpers.doors import DOORS, PRODUCTS, Arrays, Baselines, Case, assert_right, expected, first_rows

RNG = np.random.default_rng(5)
X, Z = (RNG.normal(size=(7, 3)).astype(np.float32) for _ in range(2))
FEW, MANY, NONE = np.array(1), np.array(3), np.array(0)

# the graph from x [N, 3] to y [N, 3]; c is a number of steps, g whether there are any, known at run time
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "one row for all": (
        """y = Loop (two, , row) <body = b (int64 i, bool g, float[K, 3] s) => (bool g2, float[L, 3] s2)
        { g2 = Identity (g) q = Add (s, x) m = MatMul (q, w) s2 = Sin (m) }>""",
        {},
    ),
    "one row for all, a number of steps given": (
        """y = Loop (c, , row) <body = b (int64 i, bool g, float[K, 3] s) => (bool g2, float[L, 3] s2)
        { g2 = Identity (g) f = Cast <to = 1> (i) q = Add (s, x) r = Add (q, f) m = MatMul (r, w) s2 = Sin (m) }>""",
        {"c": MANY},
    ),
    "one row for all, one step": (
        """y = Loop (c, , row) <body = b (int64 i, bool g, float[K, 3] s) => (bool g2, float[L, 3] s2)
        { g2 = Identity (g) q = Add (s, x) s2 = Sin (q) }>""",
        {"c": FEW},
    ),
    "one row for all, no step": (
        """l = Loop (c, , row) <body = b (int64 i, bool g, float[K, 3] s) => (bool g2, float[L, 3] s2)
        { g2 = Identity (g) q = Add (s, x) s2 = Sin (q) }>  a = Add (l, x)  y = Tanh (a)""",
        {"c": NONE},
    ),
    "one row for all, a condition given": (
        """y = Loop (, g, row) <body = b (int64 i, bool g1, float[K, 3] s) => (bool g2, float[L, 3] s2)
        { g2 = Less (i, two) q = Add (s, x) m = MatMul (q, w) s2 = Sin (m) }>""",
        {"g": np.array(True)},
    ),
    "a number": (
        """y = Loop (two, , number) <body = b (int64 i, bool g, float[] s) => (bool g2, float[] s2)
        { g2 = Identity (g) q = Mul (s, x) m = MatMul (q, w) s2 = Sin (m) }>""",
        {},
    ),
    "a number, a number of steps given": (
        """y = Loop (c, , number) <body = b (int64 i, bool g, float[] s) => (bool g2, float[] s2)
        { g2 = Identity (g) q = Mul (s, x) m = MatMul (q, w) s2 = Sin (m) }>""",
        {"c": MANY},
    ),
    "one state widens the next": (
        """a, y = Loop (, g, row, row) <body = b (int64 i, bool g1, float[K, 3] s, float[K, 3] t)
        => (bool g2, float[L, 3] s2, float[L, 3] t2) { g2 = Less (i, two) q = Add (s, x) s2 = Sin (q) r = Add (s, t)
        t2 = Cos (r) }>""",
        {"g": np.array(True)},
    ),
    "with a scan output": (
        """f, o = Loop (c, , row) <body = b (int64 i, bool g, float[K, 3] s) => (bool g2, float[L, 3] s2, float[L, 3] u)
        { g2 = Identity (g) q = Add (s, x) s2 = Sin (q) u = Exp (s2) }>  y = ReduceSum <keepdims = 0> (o, first)""",
        {"c": MANY},
    ),
    "with a scan output, one step": (
        """f, o = Loop (c, , row) <body = b (int64 i, bool g, float[K, 3] s) => (bool g2, float[L, 3] s2, float[L, 3] u)
        { g2 = Identity (g) q = Add (s, x) s2 = Sin (q) u = Exp (s2) }>  y = ReduceSum <keepdims = 0> (o, first)""",
        {"c": FEW},
    ),
    "with a scan output, written out": (
        """f, o = Loop (two, , row) <body = b (int64 i, bool g, float[K, 3] s)
        => (bool g2, float[L, 3] s2, float[L, 3] u)
        { g2 = Identity (g) q = Add (s, x) s2 = Sin (q) u = Exp (s2) }>  y = ReduceSum <keepdims = 0> (o, first)""",
        {},
    ),
    "the number of the step is a scan output": (
        """f, o = Loop (c, , row) <body = b (int64 i, bool g, float[K, 3] s) => (bool g2, float[L, 3] s2, int64 i)
        { g2 = Identity (g) q = Add (s, x) s2 = Sin (q) i2 = Identity (i) }>
        p = Cast <to = 1> (o) n = ReduceSum <keepdims = 0> (p) y = Mul (f, n)""",
        {"c": MANY},
    ),
    "rows that grow": (
        """e = Slice (x, first, first, one)  a, f = Loop (two, , e, x) <body = b (int64 i, bool g, float[N, K] q,
        float[N, 3] s) => (bool g2, float[N, L] q2, float[N, 3] s2) { g2 = Identity (g) s2 = Sin (s)
        q2 = Concat <axis = 1> (q, s2) }>  t = Slice (a, first, three, one)  y = Exp (t)""",
        {},
    ),
    "a sequence that a loop makes": (
        """e = SequenceEmpty ()  f, q = Loop (two, , x, e) <body = b (int64 i, bool g, float[N, 3] s, seq(float[N,
        3]) t)
        => (bool g2, float[N, 3] s2, seq(float[N, 3]) t2) { g2 = Identity (g) m = MatMul (s, w) s2 = Sin (m)
        t2 = SequenceInsert (t, s2) }>  o = ConcatFromSequence <axis = 1, new_axis = 1> (q)
        y = ReduceMean <axes = [1], keepdims = 0> (o)""",
        {},
    ),
    "a sequence that a loop makes, a number of steps given": (
        """e = SequenceEmpty ()  f, q = Loop (c, , x, e) <body = b (int64 i, bool g, float[N, 3] s, seq(float[N, 3]) t)
        => (bool g2, float[N, 3] s2, seq(float[N, 3]) t2) { g2 = Identity (g) m = MatMul (s, w) s2 = Sin (m)
        t2 = SequenceInsert (t, s2) }>  o = ConcatFromSequence <axis = 1, new_axis = 1> (q)
        y = ReduceMean <axes = [1], keepdims = 0> (o)""",
        {"c": MANY},
    ),
    "a sequence that a loop makes, and nothing else": (
        """e = SequenceEmpty ()  q = Loop (c, , e) <body = b (int64 i, bool g, seq(float[N, 3]) t)
        => (bool g2, seq(float[N, 3]) t2) { g2 = Identity (g) f = Cast <to = 1> (i) m = Mul (x, f) s = Sin (m)
        t2 = SequenceInsert (t, s) }>  o = ConcatFromSequence <axis = 1, new_axis = 1> (q)
        y = ReduceSum <keepdims = 0> (o, one)""",
        {"c": MANY},
    ),
    "a sequence that a loop makes, one behind the other": (
        """e = SequenceEmpty ()  f, q = Loop (c, , x, e) <body = b (int64 i, bool g, float[N, 3] s, seq(float[N, 3]) t)
        => (bool g2, float[N, 3] s2, seq(float[N, 3]) t2) { g2 = Identity (g) m = MatMul (s, w) s2 = Sin (m)
        t2 = SequenceInsert (t, s2) }>  o = ConcatFromSequence <axis = 1> (q)
        z = Sin (o)  y = Slice (z, one, four, one)""",
        {"c": MANY},
    ),
    "a sequence that a loop makes, its last": (
        """e = SequenceEmpty ()  f, q = Loop (c, , x, e) <body = b (int64 i, bool g, float[N, 3] s, seq(float[N, 3]) t)
        => (bool g2, float[N, 3] s2, seq(float[N, 3]) t2) { g2 = Identity (g) m = MatMul (s, w) s2 = Sin (m)
        t2 = SequenceInsert (t, s2) }>  a = SequenceAt (q, last)  b = SequenceAt (q, zero)
        y = Mul (a, b)""",
        {"c": MANY},
    ),
    "a sequence that a loop reads": (
        """t = SplitToSequence <axis = 1> (x)  z = ReduceSum <keepdims = 1> (x, one)  f, o = Loop (three_, , z)
        <body = b (int64 i, bool g, float[N, 1] s) => (bool g2, float[N, 1] s2, float[N, 1] u) { g2 = Identity (g)
        v = SequenceAt (t, i) m = Mul (s, v) s2 = Tanh (m) u = Exp (s2) }>  r = Squeeze (o, two_)
        y = Transpose <perm = [1, 0]> (r)""",
        {},
    ),
    "a sequence that a loop reads, a number of steps given": (
        """t = SplitToSequence <axis = 1> (x)  z = ReduceSum <keepdims = 1> (x, one)  f, o = Loop (c, , z)
        <body = b (int64 i, bool g, float[N, 1] s) => (bool g2, float[N, 1] s2, float[N, 1] u) { g2 = Identity (g)
        v = SequenceAt (t, i) m = Mul (s, v) s2 = Tanh (m) u = Exp (s2) }>  r = Squeeze (o, two_)
        y = Transpose <perm = [1, 0]> (r)""",
        {"c": MANY},
    ),
    "a state made of its mean over the rows": (
        """l = Loop (two, , row) <body = b (int64 i, bool g, float[K, 3] s) => (bool g2, float[L, 3] s2)
        { g2 = Identity (g) m = ReduceMean <axes = [0], keepdims = 1> (s) q = Add (m, row) s2 = Cos (q) }>
        y = Mul (l, x)""",
        {},
    ),
    "a branch with a loop in it, in a loop": (
        """y = Loop (two, , row) <body = b (int64 i, bool g, float[K, 3] s) => (bool g2, float[L, 3] s2)
        { g2 = Identity (g) e = Equal (i, zero) s2 = If (e) <then_branch = a () => (p) { p = Loop (two, , s)
        <body = bb (int64 j, bool k, float[K, 3] v) => (bool k2, float[M, 3] v2) { k2 = Identity (k) m = Add (v, x)
        v2 = Sin (m) }> }, else_branch = o () => (r) { r = Cos (s) }> }>""",
        {},
    ),
    "a loop that is never entered": (
        """l = Loop (zero, , row) <body = b (int64 i, bool g, float[K, 3] s) => (bool g2, float[L, 3] s2)
        { g2 = Identity (g) q = Add (s, x) s2 = Sin (q) }>  a = Add (l, x)  y = Exp (a)""",
        {},
    ),
    "a sequence that shrinks": (
        """k = SequenceConstruct (x, row, x)  e = SequenceErase (k, zero)  a = SequenceAt (e, zero)
        b = SequenceAt (e, last)  m = Mul (a, b)  y = Sin (m)""",
        {},
    ),
    "a sequence that branches make": (
        """t = If (g) <then_branch = a () => (seq(float[N, 3]) p) { u = Sin (x) v = Exp (x) p = SequenceConstruct (u,
        v) },
        else_branch = e () => (seq(float[N, 3]) q) { r = MatMul (x, w) q = SequenceConstruct (r, x) }>
        a = SequenceAt (t, zero)  b = SequenceAt (t, last)  y = Mul (a, b)""",
        {"g": np.array(True)},
    ),
    "a sequence that branches change": (
        """k = SequenceConstruct (x)  t = If (g) <then_branch = a () => (seq(float[N, 3]) p) { u = Sin (x)
        p = SequenceInsert (k, u) }, else_branch = e () => (seq(float[N, 3]) q) { r = MatMul (x, w)
        q = SequenceInsert (k, r, zero) }>  i = Identity (t)  o = ConcatFromSequence <axis = 1, new_axis = 1> (i)
        y = ReduceMean <axes = [1], keepdims = 0> (o)""",
        {"g": np.array(False)},
    ),
    "in a branch": (
        """y = If (g) <then_branch = a () => (float[N, 3] p) { p = Loop (c, , row) <body = b (int64 i, bool k,
        float[K, 3] s)
        => (bool k2, float[L, 3] s2) { k2 = Identity (k) q = Add (s, x) s2 = Sin (q) }> },
        else_branch = e () => (float[N, 3] q) { q = Exp (x) }>""",
        {"g": np.array(True), "c": MANY},
    ),
    "in a loop": (
        """y = Loop (two, , x) <body = b (int64 i, bool g, float[N, 3] s) => (bool g2, float[N, 3] s2)
        { g2 = Identity (g) s2 = Loop (c, , row) <body = bb (int64 j, bool k, float[K, 3] v)
        => (bool k2, float[L, 3] v2)
        { k2 = Identity (k) m = Add (v, s) v2 = Sin (m) }> }>""",
        {"c": MANY},
    ),
    "a loop in it": (
        """y = Loop (c, , row) <body = b (int64 i, bool g, float[K, 3] s) => (bool g2, float[L, 3] s2)
        { g2 = Identity (g) s2 = Loop (two, , s) <body = bb (int64 j, bool k, float[K, 3] v)
        => (bool k2, float[L, 3] v2)
        { k2 = Identity (k) m = Add (v, x) v2 = Sin (m) }> }>""",
        {"c": MANY},
    ),
    "a branch in it": (
        """y = Loop (two, , row) <body = b (int64 i, bool g, float[K, 3] s) => (bool g2, float[L, 3] s2)
        { g2 = Identity (g) o = Equal (i, zero) s2 = If (o) <then_branch = a () => (p)
        { q = Add (s, x) p = MatMul (q, w) }, else_branch = e () => (q) { q = Sin (s) }> }>""",
        {},
    ),
    "branches of one row and of many": (
        """t = If (g) <then_branch = a () => (p) { p = ReduceMean <axes = [0], keepdims = 1> (w) },
        else_branch = e () => (q) { q = Sin (x) }>  m = Mul (t, x)  y = Tanh (m)""",
        {"g": np.array(True)},
    ),
    "branches of one row and of many, the other": (
        """t = If (g) <then_branch = a () => (p) { p = ReduceMean <axes = [0], keepdims = 1> (w) },
        else_branch = e () => (q) { q = Sin (x) }>  m = Mul (t, x)  y = Tanh (m)""",
        {"g": np.array(False)},
    ),
}  # fmt: skip

COPIED = ("int64 i)", "int64 i2)")  # ONNX Runtime gives other values where a body returns its counter as it is


def model(text: str, further: dict[str, Any]) -> onnx.ModelProto:
    kinds = {"f": "float", "i": "int64", "b": "bool"}
    given = "".join(f", {kinds[v.dtype.kind]}{'[N, 3]' if v.ndim else ''} {name}" for name, v in further.items())
    return onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["": 17]> f (float[N, 3] x{given}) => (float[N, 3] y)
        <int64[1] one = {{1}}, int64[1] first = {{0}}, int64[1] three = {{3}}, int64[1] four = {{4}},
         int64 zero = {{0}}, int64 two = {{2}},
         int64 three_ = {{3}}, int64[1] two_ = {{2}}, int64 last = {{-1}},
         float number = {{0.75}}, float[1, 3] row = {{0.5, -0.25, 1}},
         float[3, 3] w = {{0.5, -1, 0.25, 0.75, 0.5, -0.5, 1, 0.25, -0.75}}> {{ {text} }}"""
    )


def differentiated(case: Case, baselines: Baselines, folder: Path) -> Any:
    """x · ∇F(x) from the gradient model as it is."""
    session = onnxruntime.InferenceSession(onnx_ig.differentiate(case.model, wrt=["x"]).SerializeToString())

    def attribute(case: Case, _: Baselines) -> Arrays:
        cotangent = np.zeros_like(case.inputs["x"])
        cotangent[:, case.target] = 1
        (found,) = session.run(["grad_x"], {**case.feeds, "cotangent_y": cotangent})
        return {"x": found * case.inputs["x"]}

    return attribute


IN_ALL_DOORS = (
    "one row for all",
    "a sequence that a loop makes, one behind the other",
    "with a scan output, one step",
    "a sequence that branches make",
    "a loop in it",
)


@pytest.mark.filterwarnings("ignore:the attributions of")
@pytest.mark.filterwarnings("ignore:it was not checked")  # not every model runs in ONNX Runtime as it is
@pytest.mark.parametrize("name", MODELS)
def test_every_door(name: str, tmp_path: Path) -> None:
    text, further = MODELS[name]
    case = Case(model(text, further), {"x": X}, {}, further)
    doors, products, counts = ["complete"], [differentiated], [2]
    if name in IN_ALL_DOORS:
        doors, products, counts = [*DOORS], [differentiated, *PRODUCTS.values()], [1, 2, 7]
    for baselines, opens in (({"x": Z}, [DOORS[door] for door in doors]), ({}, products)):
        reference = Case(model(text.replace(*COPIED), further), {"x": X}, {}, further).first(counts[-1])
        wanted = expected(reference, first_rows(baselines, counts[-1]), integrated=bool(baselines))
        assert np.abs(wanted["x"]).max() > 1e-2
        for opened in opens:
            attribute = opened(case, baselines, tmp_path)
            for n in counts:
                assert_right(attribute(case.first(n), first_rows(baselines, n)), first_rows(wanted, n))


def test_nodes_of_branches_count_for_what_is_written_out() -> None:
    chain = " ".join(f"p{k} = Sin (p{k - 1})" for k in range(1, 11))
    text = f"""t = Constant <value = int64 {{400}} > ()  y = Loop (t, , row) <body = b (int64 i, bool g, float[K, 3] s)
        => (bool g2, float[L, 3] s2) {{ g2 = Identity (g) q = Add (s, x) o = Less (i, two) s2 = If (o)
        <then_branch = a () => (p10) {{ p0 = Neg (q) {chain} }}, else_branch = e () => (r) {{ r = Cos (q) }}> }}>"""
    made = onnx_ig.differentiate(model(text, {}), wrt=["x"])
    assert len(made.graph.node) < 400
