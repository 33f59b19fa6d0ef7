"""DFT and STFT: both forms of the axis, inverse, one-sided, lengths that cut and pad, real and complex, windows."""

import itertools
from typing import Any

import numpy as np

from tests.judging.judge import Case, make_case

_rng = np.random.default_rng(0)


def _f(*shape: int) -> np.ndarray:
    return np.asarray(_rng.standard_normal(shape), np.float32)


def _dft(opset: int, shape: tuple[int, ...], axis: int, length: int | None, **attributes: Any) -> Case:
    label = "_".join([*(f"{k}{v}" for k, v in attributes.items()), *map(str, shape), f"axis{axis}", f"length{length}"])
    inputs = [_f(*shape), None if length is None else np.array(length, np.int64)]
    constants = () if length is None else (1,)
    if opset >= 20:
        inputs.append(np.array(axis, np.int64))
        return make_case(
            "DFT", inputs, name=f"dft_{opset}_{label}", opset=opset, constants=(*constants, 2), **attributes
        )
    if length is None:
        inputs.pop()
    return make_case(
        "DFT", inputs, name=f"dft_{opset}_{label}", opset=opset, constants=constants, axis=axis, **attributes
    )


def _stft(name: str, parts: int, window: bool, length: int | None, step: int, **attributes: Any) -> Case:
    w = _f(6) if window else None
    inputs = [_f(2, 17, parts), np.array(step, np.int64), w, None if length is None else np.array(length, np.int64)]
    constants = (1,) if length is None else (1, 3)
    if length is None:
        inputs.pop()
    return make_case("STFT", inputs, name=f"stft_{name}_{parts}_{step}", constants=constants, **attributes)


_SHAPES = (((2, 6, 1), 1), ((2, 5, 2), 1), ((2, 4, 3, 2), 2), ((2, 4, 3, 1), 1))

CASES = [
    *(
        _dft(opset, shape, axis, length, inverse=inverse)
        for opset, (shape, axis), length, inverse in itertools.product((18, 20), _SHAPES, (None, 4, 8), (0, 1))
    ),
    *(
        _dft(opset, shape, 1, length, onesided=1)
        for opset, shape, length in itertools.product((18, 20), ((2, 6, 1), (2, 5, 1)), (None, 4, 7, 8))
    ),
    *(_dft(20, (2, 4, 2), 1, length, onesided=1, inverse=1) for length in (None, 5, 6, 8)),
    *(
        _stft(name, parts, window, length, step, onesided=onesided)
        for step in (1, 2, 5, 7)
        for name, parts, window, length, onesided in (
            ("window", 1, True, None, 1),
            ("both", 1, True, 6, 0),
            ("length", 1, False, 5, 1),
            ("complex", 2, True, 6, 0),
        )
    ),
    *(
        make_case("DFT", [_f(2, 4, 3, 2), length, np.array(axis)], name=f"dft_run_time_axis{axis}", opset=20, **more)
        for axis, length, more in (
            (0, None, {}),
            (-2, np.array(5), {"inverse": 1}),
            (1, None, {"inverse": 1, "onesided": 1}),
        )
    ),
    make_case("STFT", [_f(1, 60, 1), np.array(1, np.int64), _f(20)], name="stft_many_shifts", constants=(1,)),
    *(
        make_case("STFT", [_f(2, 17), np.array(2, np.int64), w, np.array(6, np.int64)], name=name, constants=(1, 3))
        for name, w in (("stft_rank_2", None), ("stft_rank_2_window", _f(6)))
    ),
    make_case("STFT", [_f(1, 20, 1), np.array(3, np.int64), _f(6)], name="stft_run_time_step"),
]
