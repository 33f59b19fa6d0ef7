"""The profile's arithmetic by hand, and that what it reads from both runtimes is what they run."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from tools import profile_table
from tools.benchmarking.subjects import subject
from tools.profiling.flops import Shape, flops
from tools.profiling.profiles import Operator, Profile, profiled


@pytest.mark.parametrize(
    ("operator", "inputs", "output", "multiply_adds"),
    [
        ("MatMul", [(2, 3, 5), (5, 7)], (2, 3, 7), 2 * 3 * 5 * 7),
        ("MatMul", [(4, 1, 3, 5), (2, 5, 7)], (4, 2, 3, 7), 4 * 2 * 3 * 5 * 7),
        ("MatMul", [(5,), (2, 5, 7)], (2, 7), 2 * 5 * 7),
        ("MatMul", [(2, 3, 5), (5,)], (2, 3), 2 * 3 * 5),
        ("FusedMatMul", [(2, 5, 3), (2, 7, 5)], (2, 3, 7), 2 * 3 * 5 * 7),  # both transposed
        ("Gemm", [(3, 5), (7, 5), (7,)], (3, 7), 3 * 5 * 7),  # transB
        ("Gemm", [(5, 3), (5, 7)], (3, 7), 3 * 5 * 7),  # transA
        ("FusedGemm", [(3, 5), (7,)], (3, 7), 3 * 5 * 7),  # a weight that was rearranged, and the bias
        ("FullyConnected", [(2, 3, 5), (7, 5), (0,)], (2, 3, 7), 2 * 3 * 5 * 7),
        ("Conv", [(2, 6, 9, 9), (4, 6, 3, 3), (4,)], (2, 4, 7, 7), 2 * 4 * 49 * 6 * 9),
        ("Conv", [(2, 6, 9, 9), (4, 3, 3, 3)], (2, 4, 7, 7), 2 * 4 * 49 * 3 * 9),  # two groups
        ("GroupConvolution", [(2, 6, 9, 9), (2, 2, 3, 3, 3)], (2, 4, 7, 7), 2 * 4 * 49 * 3 * 9),
        ("ConvTranspose", [(2, 6, 4), (6, 5, 3)], (2, 5, 9), 2 * 6 * 4 * 5 * 3),
        ("ConvTranspose", [(2, 6, 4), (6, 5, 3)], (2, 10, 9), 2 * 6 * 4 * 5 * 3),  # two groups
        ("GroupConvolutionBackpropData", [(2, 6, 4), (2, 3, 5, 3)], (2, 10, 9), 2 * 6 * 4 * 5 * 3),
        ("Relu", [(2, 3)], (2, 3), 0),
    ],
)
def test_flops_are_twice_the_multiply_adds(
    operator: str, inputs: list[Shape], output: Shape, multiply_adds: int
) -> None:
    assert flops(operator, inputs, [output]) == 2 * multiply_adds


_T, _I, _H = 5, 8, 16
_RECURRENT = f"""<ir_version: 8, opset_import: ["" : 18]> small (float[N, {_T}, {_I}] x) => (float[N, {_H}] y)
<int64[1] first = {{0}}> {{
    t = Tanh (x)  s = Transpose <perm = [1, 0, 2]> (t)
    all, last = RNN <hidden_size = {_H}> (s, w, r)  y = Squeeze (last, first)
}}"""
_C, _M = 4, 16  # ONNX Runtime computes output channels in blocks of up to 16
_STRIDED = f"""<ir_version: 8, opset_import: ["" : 18]> small (float[N, {_C}, 6, 6] x) => (float[N, {_M}] y)
<int64[2] pixels = {{2, 3}}> {{
    t = Tanh (x)  c = Conv <strides = [2, 2]> (t, w)  s = Tanh (c)  y = ReduceSum <keepdims = 0> (s, pixels)
}}"""
_PROJECTION, _LOOP, _CONVOLUTION = 2 * _T * _I * _H, 2 * _T * _H * _H, 2 * (_M * 2 * 2) * (_C * 3 * 3)


@pytest.mark.parametrize("provider", ["cpu", "openvino"])
@pytest.mark.parametrize(
    ("text", "weights", "per_point", "trips"),
    [
        (_RECURRENT, {"w": (1, _H, _I), "r": (1, _H, _H)}, [_PROJECTION, _PROJECTION, _LOOP, _LOOP], _T),
        (_STRIDED, {"w": (_M, _C, 3, 3)}, [_CONVOLUTION, _CONVOLUTION], 0),
    ],
)
def test_a_profile_has_the_products_of_both_directions(
    text: str, weights: dict[str, Shape], per_point: list[int], trips: int, provider: str, tmp_path: Path
) -> None:
    model = onnx.parser.parse_model(text)
    made = {name: np.full(shape, 0.1, np.float32) for name, shape in weights.items()}
    model.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in made.items())
    onnx.save(model, tmp_path / "small.onnx")
    found = subject(str(tmp_path / "small.onnx"))
    profile = profiled(found, tmp_path / "small.onnx", provider, runs=2, rows=6)
    assert profile.points <= 6
    assert profile.milliseconds > 0
    assert sorted(o.flops / profile.points for o, _ in profile.nodes if o.flops) == sorted(per_point)
    assert max(operator.trips for operator, _ in profile.nodes) == trips
    rows = profile_table.lines(profile)
    assert sum(row["share"] for row in rows) == pytest.approx(1)
    assert sum(row["count"] for row in rows) == len(profile.nodes)
    assert profile_table.section("small", provider, profile, 100.0).count("\n| ") == len(rows) + 2


_PRODUCT = Operator("MatMul", ((2, 5),), ((2, 7),), 10**9)
_SMALL = [(Operator("Relu", ((size,),), ((size,),), 0), 1.0) for size in range(20)]
_PROFILE = Profile(2, 40.0, [(_PRODUCT, 10.0), (_PRODUCT, 10.0), *_SMALL])


def test_lines_group_equal_nodes_and_end_with_the_rest() -> None:
    rows = profile_table.lines(_PROFILE)
    assert len(rows) == 16
    assert (rows[0]["operator"], rows[0]["shapes"], rows[0]["count"]) == ("MatMul", "[2,5] → [2,7]", 2)
    assert (rows[-1]["operator"], rows[-1]["count"], rows[-1]["ms"]) == ("all other", 6, 6)
    assert sum(row["share"] for row in rows) == pytest.approx(1)


@pytest.mark.parametrize(
    ("captum", "end"), [(None, "0.24 s"), (1.2, "0.24 s, Captum's best 1.2 s / 0.24 = 5.00 at most")]
)
def test_the_summary_tells_the_least_time(captum: float | None, end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile_table, "captums_best", lambda name: captum)
    text = profile_table.summary("small", _PROFILE, 200.0)
    assert text.startswith(
        "products: 1 GFLOP per path point, 50% of the time, 100 GFLOP/s on average; at the best rate 200"
    )
    assert text.endswith(end)


def test_captums_best_is_the_benchmarks() -> None:
    assert profile_table.captums_best("a model that it does not have") is None
    assert (profile_table.captums_best("MLP") or 0) > 0
