"""Operators that move pixels: blocks into channels and back, columns into images, centred cropping and padding."""

import numpy as np

from tests.judging.judge import make_case

_rng = np.random.default_rng(5)


def _f(*shape: int) -> np.ndarray:
    return np.asarray(_rng.standard_normal(shape), np.float32)


def _i(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


_COL2IM = {"strides": [2, 1], "pads": [1, 0, 1, 2], "dilations": [1, 2]}

CASES = [
    *[
        make_case("DepthToSpace", [_f(2, 18, 2, 3)], name=f"depth_to_space_{m}", blocksize=3, mode=m)
        for m in ("DCR", "CRD")
    ],
    make_case("SpaceToDepth", [_f(2, 2, 4, 6)], name="space_to_depth", blocksize=2),
    make_case("Col2Im", [_f(2, 12, 25), _i(8, 5), _i(2, 2)], name="col2im", constants=(1, 2), **_COL2IM),
    make_case("Col2Im", [_f(2, 12, 25), _i(8, 5), _i(2, 2)], name="col2im_runtime_image", constants=(2,), **_COL2IM),
    make_case("Col2Im", [_f(2, 12, 25), _i(8, 5), _i(2, 2)], name="col2im_runtime_block", constants=(1,), **_COL2IM),
    make_case("Col2Im", [_f(1, 6, 8), _i(10), _i(3)], name="col2im_1d", constants=(1, 2)),
    make_case("CenterCropPad", [_f(4, 7, 3), _i(6, 4)], name="center", axes=[0, 1], constants=(1,)),
    make_case("CenterCropPad", [_f(4, 7), _i(3, 9)], name="center_all", constants=(1,)),
]
