"""Reading between pixels: GridSample in every mode and padding, DeformConv, RoiAlign, MaxRoiPool, AffineGrid."""

import itertools

import numpy as np

from tests.judging.judge import Case, make_case

_rng = np.random.default_rng(4)


def _f(*shape: int) -> np.ndarray:
    return np.asarray(_rng.standard_normal(shape), np.float32)


def _cases() -> list[Case]:
    cases = []
    for mode, padding, align in itertools.product(
        ("linear", "nearest", "cubic"), ("zeros", "border", "reflection"), (0, 1)
    ):
        more = {"mode": mode, "padding_mode": padding, "align_corners": align}
        grid = np.asarray(_rng.uniform(-1.9, 1.9, (2, 3, 4, 2)), np.float32)
        cases.append(
            make_case("GridSample", [_f(2, 3, 4, 5), grid], name=f"grid_{mode}_{padding}_{align}", opset=20, **more)
        )
        if mode != "cubic":
            grid = np.asarray(_rng.uniform(-1.9, 1.9, (1, 2, 3, 2, 3)), np.float32)
            name = f"grid3d_{mode}_{padding}_{align}"
            cases.append(make_case("GridSample", [_f(1, 2, 3, 4, 3), grid], name=name, opset=20, **more))
    for mode in ("bilinear", "bicubic"):
        grid = np.asarray(_rng.uniform(-1.2, 1.2, (2, 3, 4, 2)), np.float32)
        cases.append(make_case("GridSample", [_f(2, 3, 4, 5), grid], name=f"grid_{mode}_opset16", mode=mode, opset=16))
    x, w = _f(2, 4, 5, 6), _f(6, 2, 3, 2)
    offset, mask, b = _f(2, 2 * 6 * 2, 3, 3), _f(2, 2 * 6, 3, 3), _f(6)
    more = {"group": 2, "offset_group": 2, "strides": [2, 2], "pads": [1, 0, 1, 1], "kernel_shape": [3, 2]}
    cases.append(make_case("DeformConv", [x, w, offset, b, mask], name="deform", opset=19, **more))
    cases.append(make_case("DeformConv", [x, w, offset, None, mask], name="deform_no_bias", opset=19, **more))
    plain = {"dilations": [2, 1], "kernel_shape": [2, 2]}
    cases.append(
        make_case(
            "DeformConv", [_f(1, 2, 5, 4), _f(3, 2, 2, 2), _f(1, 8, 3, 3)], name="deform_plain", opset=19, **plain
        )
    )
    rois = np.array(
        [[0.3, 0.4, 5.1, 4.2], [1.7, -2.1, 7.9, 3.3], [2.2, 2.1, 2.4, 2.3], [4.1, 3.2, 9.3, 8.4]], np.float32
    )
    batch = np.array([0, 1, 1, 0], np.int64)
    for mode, ratio, coordinates in itertools.product(("avg", "max"), (0, 2), ("half_pixel", "output_half_pixel")):
        cases.append(
            make_case(
                "RoiAlign",
                [_f(2, 3, 6, 7), rois, batch],
                name=f"roi_{mode}_{ratio}_{coordinates}",
                constants=(2,),
                mode=mode,
                sampling_ratio=ratio,
                coordinate_transformation_mode=coordinates,
                output_height=3,
                output_width=2,
                spatial_scale=0.9,
            )
        )
    regions = np.column_stack([batch, rois]).astype(np.float32)  # and above the image, upside down, beside it
    regions = np.append(regions, np.float32([[1, 5, -5, 5, -1], [0, 0.5, 1.5, 2.5, -0.5], [1, -8, 3, -4, 9]]), axis=0)
    off_edges = regions + np.float32(0.01)  # at run time a difference must not round them to other pixels
    for scale, pooled, frozen in ((1.0, [3, 2], True), (0.5, [1, 7], True), (1.0, [1, 7], False), (0.9, [3, 2], False)):
        cases.append(
            make_case(
                "MaxRoiPool",
                [_f(2, 3, 6, 7), regions if frozen else off_edges],
                name=f"max_roi_{scale}_{pooled[0]}x{pooled[1]}",
                constants=(1,) if frozen else (),
                pooled_shape=pooled,
                spatial_scale=scale,
            )
        )
    for shape in ([2, 3, 4, 5], [2, 3, 3, 4, 2]):
        theta = _f(2, len(shape) - 2, len(shape) - 1)
        inputs = [theta, np.array(shape, np.int64)]
        cases.append(
            make_case("AffineGrid", inputs, name=f"affine_{len(shape)}d", opset=20, constants=(1,), align_corners=1)
        )
    return cases


CASES = _cases()
