"""Reductions: axes constant, absent, empty, negative and at run time; zeros in products; running sums and products."""

import itertools

import numpy as np

from tests.judging.judge import Case, make_case

_rng = np.random.default_rng(4)


def _positive(*shape: int) -> np.ndarray:
    return np.asarray(_rng.uniform(0.5, 2.0, shape), np.float32)


_X = _positive(2, 3, 4)
_SIGNED = np.asarray(_rng.standard_normal((2, 3, 4)), np.float32)
_REDUCTIONS = {
    "ReduceSum": _SIGNED,
    "ReduceMean": _SIGNED,
    "ReduceMax": _SIGNED,
    "ReduceMin": _SIGNED,
    "ReduceProd": _SIGNED,
    "ReduceL1": _SIGNED,
    "ReduceL2": _SIGNED,
    "ReduceSumSquare": _SIGNED,
    "ReduceLogSum": _X,
    "ReduceLogSumExp": _SIGNED,
}


def _axes(*axes: int) -> np.ndarray:
    return np.array(axes, np.int64)


def _variants(op_type: str, x: np.ndarray) -> list[Case]:
    name = op_type.lower()
    cases = [
        make_case(op_type, [x, _axes(*axes)], name=f"{name}_{keep}_{axes}_{when}", keepdims=keep, constants=constants)
        for keep, axes, (when, constants) in itertools.product(
            (0, 1), ((1,), (0, -1), (-2,)), (("constant", (1,)), ("run_time", ()))
        )
    ]
    cases += [make_case(op_type, [x], name=f"{name}_{keep}_all", keepdims=keep) for keep in (0, 1)]
    cases += [
        make_case(op_type, [x], name=f"{name}_noop_absent", keepdims=1, noop_with_empty_axes=1),
        make_case(op_type, [x, _axes()], name=f"{name}_noop_empty", noop_with_empty_axes=1, constants=(1,)),
        make_case(op_type, [x, _axes()], name=f"{name}_empty_is_all", keepdims=0, constants=(1,)),
    ]
    return cases


def _zeros(*positions: tuple[int, int]) -> np.ndarray:
    x = _positive(3, 4)
    for position in positions:
        x[position] = 0.0
    return x


_ZEROS = {
    "one": _zeros((0, 1)),
    "two_in_a_row": _zeros((0, 1), (0, 3), (2, 0)),
    "first_and_last": _zeros((0, 0), (1, 3)),
}

_PRODUCTS = [
    make_case("ReduceProd", [x, _axes(1)], name=f"reduceprod_zeros_{name}_{keep}", keepdims=keep, constants=(1,))
    for (name, x), keep in itertools.product(_ZEROS.items(), (0, 1))
]

_RUNNING = [
    make_case(
        op_type,
        [x, np.array(axis, np.int64)],
        name=f"{op_type.lower()}_{kind}_{axis}_{exclusive}{reverse}",
        opset=26 if op_type == "CumProd" else 18,
        exclusive=exclusive,
        reverse=reverse,
        constants=(1,),
    )
    for (op_type, kind, x), axis, exclusive, reverse in itertools.product(
        (
            ("CumSum", "plain", _positive(3, 4)),
            *(("CumProd", name, x) for name, x in {"plain": _positive(3, 4), **_ZEROS}.items()),
        ),
        (0, -1),
        (0, 1),
        (0, 1),
    )
] + [make_case("CumSum", [_positive(3, 4), np.array(1, np.int32)], name="cumsum_axis_at_run_time")]

CASES = [case for op_type, x in _REDUCTIONS.items() for case in _variants(op_type, x)] + _PRODUCTS + _RUNNING
