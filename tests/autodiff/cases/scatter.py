"""Scattering: every reduction, repeated places, zeros among factors, negative indices, indices known or at run time."""

import numpy as np

from tests.judging.judge import Case, make_case

_rng = np.random.default_rng(0)


def _f(*shape: int) -> np.ndarray:
    return np.asarray(_rng.standard_normal(shape), np.float32)


def _i(values: object) -> np.ndarray:
    return np.asarray(values, np.int64)


_ONCE = _i([[0, 2, -1], [3, 1, 0]])
_REPEATED = _i([[0, 2, -1], [0, 1, 3], [0, 2, 1]])
_TUPLES_ONCE = _i([[[0, 1], [2, -1]], [[1, 0], [2, 0]]])
_TUPLES_REPEATED = _i([[[0, 1], [2, -1]], [[0, 1], [0, 1]]])


def _zeros_among(updates: np.ndarray, *places: tuple[int, ...]) -> np.ndarray:
    for place in places:
        updates[place] = 0
    return updates


def _cases(reduction: str, known: bool) -> list[Case]:
    constants, suffix = ((1,), "") if known else ((), "_at_run_time")
    elements, tuples = (_ONCE, _TUPLES_ONCE) if reduction == "none" else (_REPEATED, _TUPLES_REPEATED)
    return [
        make_case(
            "ScatterElements",
            [_f(4, 3), elements, _f(*elements.shape)],
            name=f"elements_{reduction}{suffix}",
            constants=constants,
            reduction=reduction,
        ),
        make_case(
            "ScatterElements",
            [_f(3, 4), elements.T, _f(*elements.T.shape)],
            name=f"elements_last_{reduction}{suffix}",
            constants=constants,
            axis=-1,
            reduction=reduction,
        ),
        make_case(
            "ScatterND",
            [_f(3, 2, 4), tuples, _f(2, 2, 4)],
            name=f"nd_{reduction}{suffix}",
            constants=constants,
            reduction=reduction,
        ),
    ]


CASES = [
    case
    for reduction in ("none", "add", "mul", "max", "min")
    for known in (True, False)
    for case in _cases(reduction, known)
] + [
    make_case(
        "ScatterElements",
        [_f(4, 3), _REPEATED, _zeros_among(_f(3, 3), (0, 0), (0, 1), (2, 1))],
        name="elements_mul_zeros",
        reduction="mul",
    ),
    make_case(
        "ScatterND",
        [_f(3, 2), _TUPLES_REPEATED, _zeros_among(_f(2, 2), (0, 0))],
        name="nd_mul_one_zero",
        reduction="mul",
    ),
    make_case("ScatterElements", [_f(5), _i([1, 1]), _f(2)], name="elements_add_1d", reduction="add", constants=(1,)),
    make_case("Scatter", [_f(4, 3), _ONCE, _f(2, 3)], name="scatter", opset=9, axis=0),
]
