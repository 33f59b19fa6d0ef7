"""Pooling: ranks, one-sided and automatic pads, dilations, rounding up, strides beside kernels, ties."""

from typing import Any

import numpy as np

from tests.judging.judge import Case, make_case

_rng = np.random.default_rng(2)


def _f(*shape: int) -> np.ndarray:
    return np.asarray(_rng.standard_normal(shape), np.float32)


# name: (spatial shape, kernel, attributes)
_WINDOWS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "1d": ((9,), (3,), {"strides": [2]}),
    "2x2_stride2": ((6, 8), (2, 2), {"strides": [2, 2]}),
    "2x2_stride2_rest": ((7, 9), (2, 2), {"strides": [2, 2]}),
    "3x3_stride2_pad1": ((8, 7), (3, 3), {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "3x3_stride1_pad1": ((5, 6), (3, 3), {"pads": [1, 1, 1, 1]}),
    "3d": ((4, 5, 6), (2, 3, 2), {"strides": [2, 1, 3], "pads": [0, 1, 1, 0, 1, 0]}),
    "stride_above_kernel": ((9, 11), (2, 3), {"strides": [3, 5]}),
    "pads_asymmetric": ((6, 7), (3, 4), {"strides": [2, 3], "pads": [0, 2, 1, 0]}),
    "ceil": ((7, 8), (3, 3), {"strides": [2, 2], "ceil_mode": 1}),
    "ceil_pads": ((9, 7), (3, 3), {"strides": [3, 2], "pads": [1, 0, 1, 1], "ceil_mode": 1}),
    "ceil_beyond": ((2, 4), (1, 1), {"strides": [2, 2], "ceil_mode": 1}),  # the window beyond the input is left out
    "ceil_beyond_one": ((5, 7), (1, 2), {"strides": [3, 3], "ceil_mode": 1}),
    "same_upper": ((7, 8), (3, 2), {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    "same_lower": ((7, 8), (3, 4), {"strides": [2, 1], "auto_pad": "SAME_LOWER"}),
    "valid": ((7, 8), (3, 2), {"strides": [2, 2], "auto_pad": "VALID"}),
    "one_axis": ((4, 6), (1, 3), {"strides": [1, 2]}),
    "pointwise_strided": ((5, 6), (1, 1), {"strides": [2, 3]}),
    "whole": ((4, 5), (4, 5), {}),
}
_DILATED: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "dilated": ((8, 9), (3, 2), {"dilations": [2, 3]}),
    "dilated_strided": ((9, 10), (2, 3), {"dilations": [3, 2], "strides": [2, 2], "pads": [1, 1, 0, 1]}),
}


def _cases() -> list[Case]:
    cases = []
    for name, (spatial, kernel, attributes) in {**_WINDOWS, **_DILATED}.items():
        x, more = _f(2, 3, *spatial), {"kernel_shape": list(kernel), **attributes}
        newer = 19 if "dilations" in more else 18  # AveragePool dilates from opset 19 on
        cases.append(make_case("MaxPool", [x], name=f"max_{name}", **more))
        cases.append(make_case("AveragePool", [x], name=f"average_{name}", opset=newer, **more))
        if name == "ceil_beyond_one":
            newer = 22  # before, onnx's inference is a window too long, and pads would count where ceil_mode does not
        cases.append(
            make_case("AveragePool", [x], name=f"average_padded_{name}", opset=newer, count_include_pad=1, **more)
        )
        cases.append(make_case("LpPool", [x], name=f"lp2_{name}", **more))
    for p in (1, 3):
        cases.append(make_case("LpPool", [_f(2, 2, 6, 5)], name=f"lp{p}", p=p, kernel_shape=[3, 2], strides=[2, 1]))
        cases.append(make_case("GlobalLpPool", [_f(2, 3, 4, 5)], name=f"global_lp{p}", p=p))
    for op_type in ("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"):
        cases.append(make_case(op_type, [_f(2, 3, 4, 5)], name=f"{op_type}_2d"))
        cases.append(make_case(op_type, [_f(2, 3, 4, 3, 2)], name=f"{op_type}_3d"))
    for order in (0, 1):
        kernel = {"kernel_shape": [3, 2], "strides": [2, 2]}
        cases.append(
            make_case(
                "MaxPool", [_f(2, 2, 7, 6)], name=f"max_indices_{order}", n_outputs=2, storage_order=order, **kernel
            )
        )
    indices = np.array([[[[5, 7], [13, 15]], [[16, 19], [24, 31]]]], np.int64)
    unpool = {"kernel_shape": [2, 2], "strides": [2, 2]}
    cases.append(make_case("MaxUnpool", [_f(1, 2, 2, 2), indices], name="unpool", constants=(1,), **unpool))
    cases.append(make_case("MaxUnpool", [_f(1, 2, 2, 2), indices], name="unpool_runtime_indices", **unpool))
    return cases


CASES = _cases()
