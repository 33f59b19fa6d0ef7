"""Resize: every mode, coordinate transformation and rounding, up and down, by scales and by sizes."""

import itertools
from typing import Any

import numpy as np

from tests.judging.judge import Case, make_case

_rng = np.random.default_rng(3)
_COORDINATES = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
)
_ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


def _f(*shape: int) -> np.ndarray:
    return np.asarray(_rng.standard_normal(shape), np.float32)


def _resize(
    name: str, x: np.ndarray, *, to: list[int] | None = None, by: list[float] | None = None, **more: Any
) -> Case:
    """A Resize to sizes or by scales, which are constants of the model."""
    roi = more.pop("roi", None)
    scales = None if by is None else np.array(by, np.float32)
    sizes = None if to is None else np.array(to, np.int64)
    inputs = [x, None if roi is None else np.array(roi, np.float32), scales, sizes]
    constants = tuple(i for i in (1, 2, 3) if inputs[i] is not None)
    while inputs[-1] is None:
        inputs.pop()
    return make_case("Resize", inputs, name=name, constants=constants, opset=more.pop("opset", 19), **more)


def _cases() -> list[Case]:
    cases = []
    for coordinates in _COORDINATES:
        for mode in ("linear", "cubic"):
            more = {"mode": mode, "coordinate_transformation_mode": coordinates}
            cases.append(_resize(f"{mode}_{coordinates}_up", _f(1, 2, 4, 5), to=[1, 2, 9, 8], **more))
            cases.append(_resize(f"{mode}_{coordinates}_down", _f(1, 2, 9, 8), to=[1, 2, 4, 5], **more))
            cases.append(_resize(f"{mode}_{coordinates}_one", _f(1, 2, 4, 5), to=[1, 2, 1, 1], **more))
        for rounding in _ROUNDINGS:
            more = {"mode": "nearest", "coordinate_transformation_mode": coordinates, "nearest_mode": rounding}
            cases.append(_resize(f"nearest_{coordinates}_{rounding}_up", _f(1, 2, 4, 5), to=[1, 2, 9, 7], **more))
            cases.append(_resize(f"nearest_{coordinates}_{rounding}_down", _f(1, 2, 9, 8), to=[1, 2, 4, 5], **more))
            cases.append(_resize(f"nearest_{coordinates}_{rounding}_x23", _f(1, 2, 4, 5), by=[1, 1, 2, 3], **more))
    for mode, antialias in itertools.product(("linear", "cubic"), (0, 1)):
        more = {"mode": mode, "antialias": antialias, "exclude_outside": 1 if mode == "cubic" else 0}
        cases.append(_resize(f"{mode}_antialias{antialias}_down", _f(1, 2, 9, 8), by=[1, 1, 0.4, 0.7], **more))
    crop = {"coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 3.0}
    roi = [0, 0, 0.3, -0.2, 1, 1, 0.9, 1.3]
    for mode in ("nearest", "linear"):
        cases.append(_resize(f"{mode}_crop", _f(1, 1, 5, 6), to=[1, 1, 4, 7], roi=roi, mode=mode, **crop))
    inputs = [_f(1, 1, 5, 6), np.array([0, 0, 0.31, -0.23, 1, 1, 0.87, 1.33], np.float32), None, np.array([1, 1, 4, 7])]
    cases.append(
        make_case("Resize", inputs, name="region_at_run_time", constants=(3,), opset=19, mode="linear", **crop)
    )
    for mode in ("nearest", "cubic"):
        inputs = [_f(1, 1, 5, 6), None, np.array([1, 1, 1.7, 0.6], np.float32)]
        cases.append(make_case("Resize", inputs, name=f"{mode}_scales_at_run_time", opset=19, mode=mode))
    for policy in ("not_larger", "not_smaller"):
        more = {"keep_aspect_ratio_policy": policy, "axes": [2, 3], "mode": "linear"}
        cases.append(_resize(policy, _f(1, 2, 4, 6), to=[9, 8], **more))
    cases += [
        _resize("axes_subset", _f(1, 2, 4, 6), by=[1.5], axes=[-1], mode="linear"),
        _resize("axes_order", _f(1, 2, 4, 6), by=[1.5, 0.5], axes=[3, 2], mode="nearest"),
        _resize("linear_1d", _f(2, 3, 5), by=[1, 1, 2], mode="linear"),
        _resize("linear_3d", _f(1, 2, 3, 4, 3), by=[1, 1, 2, 1.5, 2], mode="linear"),
        _resize("nearest_3d", _f(1, 2, 3, 4, 3), by=[1, 1, 2, 3, 2], mode="nearest"),
        _resize("nearest_channels", _f(2, 3, 4, 4), by=[2, 3, 1, 0.5], mode="nearest"),
        _resize(
            "thirds",
            _f(1, 1, 9, 9),
            by=[1, 1, 1 / 3, 1 / 3],
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        ),
        make_case("Resize", [_f(1, 2, 4, 5), None, None, np.array([1, 2, 7, 9])], name="runtime_sizes", mode="linear"),
        make_case(
            "Upsample", [_f(1, 2, 3, 4), np.array([1, 1, 2, 3], np.float32)], name="upsample9", opset=9, constants=(1,)
        ),
        make_case("Upsample", [_f(1, 2, 3, 4)], name="upsample7", opset=7, scales=[1.0, 1.0, 2.0, 2.0]),
    ]
    return cases


CASES = _cases()
