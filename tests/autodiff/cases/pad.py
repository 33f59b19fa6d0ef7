"""Pad in every mode: all axes or some, negative amounts, more than one copy of the axis, amounts at run time."""

import numpy as np

from tests.judging.judge import Case, make_case

_rng = np.random.default_rng(0)


def _f(*shape: int) -> np.ndarray:
    return np.asarray(_rng.standard_normal(shape), np.float32)


_AMOUNTS: dict[str, tuple[list[int], list[int] | None]] = {
    "all": ([0, 1, 2, 0, 0, 2], None),
    "some": ([1, 2, 1, 0], [-1, 1]),
    "negative": ([0, -1, 2, 0, 1, -1], None),
    "nothing": ([0, 0], [1]),
}
_WRAPPED_TWICE = ([7, 9], [1])


def _pad_case(mode: str, name: str, amounts: tuple[list[int], list[int] | None], known: bool) -> Case:
    pads, axes = amounts
    value = np.array(0.5, np.float32) if mode == "constant" else None
    inputs = [_f(2, 3, 4), np.array(pads, np.int64), value, None if axes is None else np.array(axes, np.int64)]
    while inputs[-1] is None:
        inputs.pop()
    constants = tuple(i for i in (1, 3) if known and i < len(inputs))
    suffix = "" if known else "_at_run_time"
    return make_case("Pad", inputs, name=f"{mode}_{name}{suffix}", opset=19, constants=constants, mode=mode)


CASES = [
    _pad_case(mode, name, amounts, known)
    for mode in ("constant", "reflect", "edge", "wrap")
    for name, amounts in _AMOUNTS.items()
    for known in (True, False)
] + [
    _pad_case("wrap", "twice", _WRAPPED_TWICE, True),
    _pad_case("edge", "long", _WRAPPED_TWICE, True),
    make_case("Pad", [_f(2, 3), np.array([1, 0, 0, 2])], name="constant_without_value", constants=(1,)),
]
