"""Convolutions: ranks, groups, strides beside kernels, one-sided and automatic pads, all of the transposed."""

from typing import Any

import numpy as np

from tests.judging.judge import Case, make_case

_rng = np.random.default_rng(1)


def _f(*shape: int) -> np.ndarray:
    return np.asarray(_rng.standard_normal(shape), np.float32)


# name: (spatial shape of X, C, M, group, kernel, attributes)
_CONV: dict[str, tuple[tuple[int, ...], int, int, int, tuple[int, ...], dict[str, Any]]] = {
    "1d": ((9,), 2, 3, 1, (3,), {"pads": [1, 1]}),
    "2d": ((5, 6), 2, 3, 1, (3, 3), {"pads": [1, 1, 1, 1]}),
    "3d": ((4, 5, 3), 2, 2, 1, (2, 3, 2), {"strides": [1, 2, 1], "pads": [0, 1, 1, 0, 1, 0]}),
    "pointwise": ((4, 3), 3, 2, 1, (1, 1), {}),
    "pointwise_strided": ((5, 6), 3, 2, 1, (1, 1), {"strides": [2, 2]}),
    "pointwise_padded": ((4, 3), 3, 2, 1, (1, 1), {"pads": [1, 0, 1, 2]}),
    "group": ((5, 5), 4, 6, 2, (3, 3), {"pads": [1, 1, 1, 1]}),
    "group_strided": ((7, 6), 4, 6, 2, (3, 3), {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "depthwise": ((5, 5), 3, 3, 3, (3, 3), {"pads": [1, 1, 1, 1]}),
    "depthwise_strided": ((6, 6), 3, 3, 3, (3, 3), {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "depthwise_multiplied": ((5, 5), 2, 6, 2, (3, 2), {}),
    "kernel7_stride4_pad3": ((13, 12), 2, 2, 1, (7, 7), {"strides": [4, 4], "pads": [3, 3, 3, 3]}),
    "kernel7_stride2_pad3": ((14, 13), 2, 2, 1, (7, 7), {"strides": [2, 2], "pads": [3, 3, 3, 3]}),
    "stride_above_kernel": ((11, 10), 2, 2, 1, (2, 2), {"strides": [4, 3]}),
    "stride_above_kernel_padded": ((11, 10), 2, 2, 1, (2, 1), {"strides": [4, 3], "pads": [1, 0, 2, 3]}),
    "pads_asymmetric": ((6, 7), 2, 2, 1, (3, 3), {"pads": [0, 2, 1, 0]}),
    "pads_asymmetric_strided": ((8, 8), 2, 2, 1, (3, 3), {"strides": [2, 2], "pads": [0, 2, 1, 0]}),
    "pads_above_kernel": ((4, 4), 1, 2, 1, (2, 2), {"pads": [3, 0, 2, 4]}),
    "dilated": ((8, 9), 2, 2, 1, (3, 2), {"dilations": [2, 3], "pads": [2, 1, 2, 1]}),
    "dilated_strided": (
        (9, 10),
        2,
        4,
        2,
        (3, 2),
        {"dilations": [2, 3], "strides": [2, 2], "pads": [2, 1, 0, 1]},
    ),
    "mixed_strides": ((6, 7), 2, 2, 1, (3, 3), {"strides": [1, 2], "pads": [1, 1, 1, 1]}),
    "same_upper": ((8, 7), 2, 2, 1, (3, 4), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    "same_lower": ((8, 7), 2, 2, 1, (3, 4), {"auto_pad": "SAME_LOWER", "strides": [2, 3]}),
    "same_upper_stride1": ((5, 6), 2, 2, 1, (3, 4), {"auto_pad": "SAME_UPPER"}),
    "same_stride_above_kernel": ((7, 8), 2, 2, 1, (1, 2), {"auto_pad": "SAME_UPPER", "strides": [3, 3]}),
    "valid": ((8, 7), 2, 2, 1, (3, 3), {"auto_pad": "VALID", "strides": [2, 1]}),
}

_TRANSPOSE: dict[str, tuple[tuple[int, ...], int, int, int, tuple[int, ...], dict[str, Any]]] = {
    "1d": ((5,), 2, 3, 1, (3,), {"strides": [2], "pads": [1, 0]}),
    "2d": ((3, 4), 2, 3, 1, (3, 3), {}),
    "3d": ((2, 3, 2), 2, 2, 1, (2, 3, 2), {"strides": [2, 2, 1]}),
    "doubling": ((3, 4), 3, 2, 1, (2, 2), {"strides": [2, 2]}),
    "group": ((3, 4), 4, 6, 2, (3, 3), {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]}),
    "depthwise": ((4, 4), 3, 3, 3, (4, 4), {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "pads_asymmetric": ((4, 4), 2, 2, 1, (3, 3), {"strides": [2, 2], "pads": [0, 2, 1, 0]}),
    "dilated": ((4, 4), 2, 2, 1, (3, 2), {"dilations": [2, 3], "pads": [1, 1, 1, 1]}),
    "dilated_strided": (
        (4, 3),
        2,
        2,
        1,
        (3, 2),
        {"dilations": [2, 3], "strides": [3, 2], "output_padding": [2, 1]},
    ),
    "stride_above_kernel": ((3, 3), 2, 2, 1, (2, 1), {"strides": [4, 3]}),
    "output_shape": ((3, 3), 2, 2, 1, (3, 3), {"strides": [3, 2], "output_shape": [8, 6]}),
    "output_shape_upper": (
        (3, 3),
        2,
        2,
        1,
        (4, 4),
        {"strides": [3, 2], "output_shape": [9, 7], "auto_pad": "SAME_UPPER"},
    ),
    "output_shape_above": (
        (3, 3),
        2,
        2,
        1,
        (3, 3),
        {"strides": [3, 2], "output_shape": [10, 8], "output_padding": [1, 1]},
    ),
    "same_upper": ((3, 4), 2, 2, 1, (3, 4), {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    "same_lower": ((3, 4), 2, 2, 1, (3, 4), {"strides": [2, 1], "auto_pad": "SAME_LOWER"}),
    "valid": ((3, 4), 2, 2, 1, (3, 2), {"strides": [2, 1], "auto_pad": "VALID"}),
}


def _cases() -> list[Case]:
    cases = []
    for name, (spatial, c, m, group, kernel, attributes) in _CONV.items():
        inputs = [_f(2, c, *spatial), _f(m, c // group, *kernel), _f(m)]
        attributes = {"group": group, **attributes}
        cases.append(make_case("Conv", inputs, name=f"conv_{name}", kernel_shape=list(kernel), **attributes))
        cases.append(make_case("Conv", inputs[:2], name=f"conv_{name}_constant_w", constants=(1,), **attributes))
    for name, (spatial, c, m, group, kernel, attributes) in _TRANSPOSE.items():
        inputs = [_f(2, c, *spatial), _f(c, m // group, *kernel), _f(m)]
        attributes = {"group": group, **attributes}
        cases.append(
            make_case("ConvTranspose", inputs, name=f"transpose_{name}", kernel_shape=list(kernel), **attributes)
        )
        cases.append(
            make_case("ConvTranspose", inputs[:2], name=f"transpose_{name}_constant_w", constants=(1,), **attributes)
        )
    return cases


CASES = _cases()
