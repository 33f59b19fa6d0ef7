"""Attributed inputs meet others before a linear layer: each example's attribution is that of the example alone.

The prefix is evaluated at the baseline, which may have one row for all examples, where the other inputs have N.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest

from tests.helpers.doors import DOORS, PRODUCTS, Case, Door, assert_right, expected, first_rows

RNG = np.random.default_rng(0)
X, Z = (RNG.normal(size=(7, 3)).astype(np.float32) for _ in range(2))


def floats(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def places(low: int, high: int, *shape: int) -> np.ndarray:
    return RNG.integers(low, high, shape)


# how x [N, 3] and others come together in j [N, columns]; columns; the others, of one row per example; shared ones
MEETINGS: dict[str, tuple[str, int, dict[str, np.ndarray], dict[str, np.ndarray]]] = {
    "concatenated": ("j = Concat <axis = 1> (x, b)", 5, {"b": floats(7, 2)}, {}),
    "several categories": (
        "e = Gather (table, b)  f = Reshape (e, flat)  j = Concat <axis = 1> (x, f)", 7, {"b": places(0, 4, 7, 2)}, {},
    ),
    "stacked": (
        "u = Unsqueeze (x, one)  v = Unsqueeze (b, one)  s = Concat <axis = 1> (u, v)  j = Reshape (s, flat)",
        6, {"b": floats(7, 3)}, {},
    ),
    "picked elements": ("j = GatherElements <axis = 1> (x, b)", 4, {"b": places(-3, 3, 7, 4)}, {}),
    "picked by place": ("j = GatherND <batch_dims = 1> (x, b)", 4, {"b": places(0, 3, 7, 4, 1)}, {}),
    "picked from the other": ("q = Mul (b, x)  j = GatherElements <axis = 1> (q, c)", 2,
                              {"b": floats(7, 3), "c": places(0, 3, 7, 2)}, {}),
    "added": ("j = Add (x, b)", 3, {"b": floats(7, 1)}, {}),
    "chosen": ("k = Cast <to = 9> (b)  j = Where (k, x, half)", 3, {"b": places(0, 2, 7, 3)}, {}),
    "a matrix each": ("j = Einsum <equation = 'ni,nij->nj'> (x, b)", 4, {"b": floats(7, 3, 4)}, {}),
    "a product with a matrix each": (
        "u = Unsqueeze (x, one)  p = MatMul (u, b)  j = Reshape (p, flat)", 4, {"b": floats(7, 3, 4)}, {},
    ),
    "scattered into": ("j = ScatterElements <axis = 1> (x, b, c)", 3, {"b": places(0, 3, 7, 1), "c": floats(7, 1)}, {}),
    "scattered": ("j = ScatterElements <axis = 1> (c, b, x)", 3,
                  {"b": np.argsort(floats(7, 3), axis=1), "c": floats(7, 3)}, {}),
    "shaped like": ("s = Shape (b)  r = Reshape (x, s)  j = Reshape (r, flat)", 3, {"b": floats(7, 1, 3)}, {}),
    "repeated like": (
        "u = Unsqueeze (x, one)  s = Shape (b)  e = Expand (u, s)  j = Reshape (e, flat)",
        6, {"b": floats(7, 2, 3)}, {},
    ),
    "beside zeros like": (
        "s = Shape (b)  p = ConstantOfShape (s)  j = Concat <axis = 1> (x, p)", 5, {"b": floats(7, 2)}, {},
    ),
    "bounds of a slice": ("j = Slice (x, b, c, one)", 2, {}, {"b": np.array([1]), "c": np.array([3])}),
    "amounts of padding": ("j = Pad (x, b)", 5, {}, {"b": np.array([0, 1, 0, 1])}),
    "an axis to sum along": ("j = CumSum (x, b)", 3, {}, {"b": np.array(1)}),
    "padded by as many": (
        "s = Shape (b)  d = Gather (s, one)  a = Concat <axis = 0> (none, none, none, d)  j = Pad (x, a)",
        5, {"b": floats(7, 2)}, {},
    ),
}  # fmt: skip


def meeting(text: str, columns: int, others: dict[str, np.ndarray], inputs: str) -> onnx.ModelProto:
    """y = tanh(j W), [N, 2]."""
    kinds = {"f": "float", "i": "int64"}
    given = []
    for other, value in others.items():
        dims = ", ".join("N" if d == len(X) else str(d) for d in value.shape)
        given.append(f"{kinds[value.dtype.kind]}{f'[{dims}]' if dims else ''} {other}")
    signature = ", ".join([inputs, *given])
    proto = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 18]> f ({signature}) => (float[N, 2] y)
        <int64[1] one = {{1}}, int64[1] none = {{0}}, int64[2] flat = {{0, -1}}, float half = {{0.5}}>
        {{ {text.replace("'", '"')}  h = MatMul (j, w)  y = Tanh (h) }}"""
    )
    weights = {"w": np.cos(np.arange(2 * columns)).reshape(columns, 2), "table": np.cos(np.arange(8)).reshape(4, 2)}
    for name, value in weights.items():
        proto.graph.initializer.append(onnx.numpy_helper.from_array(value.astype(np.float32), name))
    return proto


# baselines of x, numbers apart from arrays: one is baked into a file, the others are its input; and the doors
CALLS: list[tuple[tuple[Any, ...], dict[str, Door]]] = [
    ((0.25,), {"step": DOORS["step"]}),
    ((Z[:1], Z), {door: DOORS[door] for door in ("engine in small pieces", "complete", "loop-free", "step")}),
    ((0,), PRODUCTS),
]


@pytest.mark.parametrize("name", MEETINGS)
def test_an_additional_input(name: str, tmp_path: Path) -> None:
    text, columns, rows, shared = MEETINGS[name]
    case = Case(meeting(text, columns, {**rows, **shared}, "float[N, 3] x"), {"x": X}, rows, shared)
    for baselines, doors in CALLS:
        wanted = [expected(case, {"x": b}, integrated=doors is not PRODUCTS) for b in baselines]
        assert all(np.abs(want["x"]).max() > 1e-2 for want in wanted)
        for door, opened in doors.items():
            attribute = opened(case, {"x": baselines[0]}, tmp_path)
            for baseline, want in zip(baselines, wanted, strict=True):
                for n in (1, 2, 7):
                    found = attribute(case.first(n), first_rows({"x": baseline}, n))
                    assert_right(found, first_rows(want, n), note=f"{door}, {n} examples, baseline {baseline}")


# baselines of two inputs that meet: each a number, one row, or a row per example
TUPLES: list[tuple[Any, Any]] = [(Z[:1], Z[:, :2]), (Z, Z[:1, :2]), (Z[:1], Z[1:2, :2]), (0.5, Z[:, :2])]
TOGETHER = {
    "concatenated": ("j = Concat <axis = 1> (x, b)", 5),
    "multiplied and concatenated": ("s = ReduceMean (b, one)  p = Mul (x, s)  j = Concat <axis = 1> (p, b)", 5),
}


@pytest.mark.parametrize("name", TOGETHER)
def test_attributed_inputs_with_baselines_of_their_own(name: str, tmp_path: Path) -> None:
    text, columns = TOGETHER[name]
    case = Case(meeting(text, columns, {}, "float[N, 3] x, float[N, 2] b"), {"x": X, "b": floats(7, 2)})
    for door in ("engine", "complete", "step"):
        for first, second in TUPLES:
            baselines = {"x": first, "b": second}
            want = expected(case, baselines)
            attribute = DOORS[door](case, baselines, tmp_path)
            for n in (1, 2, 7):
                assert_right(attribute(case.first(n), first_rows(baselines, n)), first_rows(want, n), note=door)
