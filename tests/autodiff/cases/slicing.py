"""Concat, Split and Slice: every sign of step, ends beyond the axis, bounds known or at run time, unread pieces."""

import numpy as np
import onnx

from tests.judging.judge import Case, make_case

_rng = np.random.default_rng(0)
_MAX, _MIN = 2**63 - 1, -(2**63)


def _f(*shape: int) -> np.ndarray:
    return np.asarray(_rng.standard_normal(shape), np.float32)


def _model(text: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]> {text}')


# name: starts, ends, axes, steps on a tensor [7, 5, 6]
_SLICES: dict[str, tuple[list[int], list[int], list[int] | None, list[int] | None]] = {
    "no_axes": ([1, 2], [4, 5], None, None),
    "nothing_cut": ([0], [_MAX], [1], None),
    "from_the_end": ([-3, -2], [_MAX, -1], [0, -1], None),
    "beyond": ([-100, 3], [100, 100], [0, 1], None),
    "stride": ([0, 1], [7, 6], [0, 2], [2, 3]),
    "stride_exact": ([0, 1], [6, 6], [2, 0], [2, 5]),
    "stride_beyond": ([2], [_MAX], [0], [100]),
    "back_to_front": ([-1], [_MIN], [1], [-1]),
    "back_part": ([4, 5], [0, -100], [1, 2], [-1, -2]),
    "back_beyond": ([_MAX], [-6], [0], [-3]),
    "mixed": ([1, 4, 1], [7, -10, 5], [0, 1, 2], [3, -2, 1]),
    "last_one": ([-1], [_MAX], [0], [1]),
}


def _slice_case(name: str, bounds_known: bool, axes_known: bool) -> Case:
    starts, ends, axes, steps = _SLICES[name]
    inputs = [_f(7, 5, 6), *(None if v is None else np.array(v, np.int64) for v in (starts, ends, axes, steps))]
    while inputs[-1] is None:
        inputs.pop()
    which = [
        i for i, v in enumerate(inputs) if v is not None and ((bounds_known and i in (1, 2)) or (axes_known and i > 2))
    ]
    suffix = {(True, True): "", (False, True): "_bounds_at_run_time", (False, False): "_all_at_run_time"}
    return make_case("Slice", inputs, name=f"slice_{name}{suffix[bounds_known, axes_known]}", constants=tuple(which))


_UNREAD = """g (float[5, 3] x) => (float[1, 3] a, float[2, 3] b)
    <int64[4] sizes = {1, 1, 2, 1}> { a0, a, b0, c = Split<axis = 0>(x, sizes)  b = Neg(b0) }"""
_UNREAD_ENDS = """g (float[5, 3] x) => (float[1, 3] a, float[1, 3] b)
    <int64[5] sizes = {1, 1, 1, 1, 1}> { p, a, q, b0, c = Split<axis = 0>(x, sizes)  b = Neg(b0) }"""


CASES = [_slice_case(name, *known) for name in _SLICES for known in ((True, True), (False, True), (False, False))] + [
    make_case("Slice", [_f(5), np.array([1], np.int32), np.array([4], np.int32)], name="slice_int32"),
    make_case("Concat", [_f(2, 3), _f(1, 3), _f(4, 3)], name="concat", axis=0),
    make_case("Concat", [_f(2, 3), _f(2, 1), _f(2, 0), _f(2, 4)], name="concat_empty_piece", axis=-1),
    make_case("Concat", [_f(2, 3)], name="concat_one", axis=1),
    make_case("Split", [_f(7, 2)], name="split_uneven", n_outputs=3, axis=0, num_outputs=3),
    make_case("Split", [_f(2, 7), np.array([3, 0, 4])], name="split_at_run_time", n_outputs=3, axis=-1),
    make_case("Split", [_f(2, 7), np.array([3, 0, 4])], name="split_sizes", n_outputs=3, axis=-1, constants=(1,)),
    Case("split_unread", _model(_UNREAD), {"x": _f(5, 3)}),
    Case("split_unread_between", _model(_UNREAD_ENDS), {"x": _f(5, 3)}),
    Case(
        "concat_partly_static",
        _model(
            """g (float[N, 3] a, float[2, 3] b, float[M, 3] c, float[1, 3] d) => (float[T, 3] y)
            { y = Concat<axis = 0>(a, b, c, d) }"""
        ),
        {"a": _f(2, 3), "b": _f(2, 3), "c": _f(3, 3), "d": _f(1, 3)},
    ),
    Case(
        "concat_dynamic_first",
        _model("g (float[N, 3] a, float[2, 3] b, float[1, 3] c) => (float[T, 3] y) { y = Concat<axis = 0>(a, b, c) }"),
        {"a": _f(2, 3), "b": _f(2, 3), "c": _f(1, 3)},
    ),
]
