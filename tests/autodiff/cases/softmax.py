"""Softmax along any axis, and the classification losses with weights, ignored classes and every reduction."""

import itertools

import numpy as np

from tests.judging.judge import make_case

_rng = np.random.default_rng(3)


def _f(*shape: int) -> np.ndarray:
    return np.asarray(_rng.standard_normal(shape), np.float32)


_SOFTMAX = [
    make_case(op_type, [_f(2, 3, 4)], name=f"{op_type.lower()}_axis_{axis}", axis=axis)
    for op_type in ("Softmax", "LogSoftmax")
    for axis in (-3, -1, 0, 1, 2)
]

_WEIGHT = np.asarray(_rng.uniform(0.5, 2.0, 4), np.float32)
_TARGETS = np.array([[0, 1, 3], [2, 2, 1]], np.int64)

_LOSSES = [
    make_case(
        op_type,
        [_f(2, 4, 3), _TARGETS, _WEIGHT] if weighted else [_f(2, 4, 3), _TARGETS],
        name=f"{op_type.lower()}_{reduction}_{'weighted' if weighted else 'plain'}_{ignored}",
        constants=(1,),
        n_outputs=n_outputs,
        reduction=reduction,
        **({} if ignored is None else {"ignore_index": ignored}),
    )
    for (op_type, n_outputs), reduction, weighted, ignored in itertools.product(
        (("NegativeLogLikelihoodLoss", 1), ("SoftmaxCrossEntropyLoss", 2)),
        ("none", "sum", "mean"),
        (False, True),
        (None, 2),
    )
] + [
    make_case(
        "NegativeLogLikelihoodLoss",
        [_f(3, 4), np.array([1, -1, 2], np.int64), _WEIGHT],
        name="ignored_class_outside_the_range",
        constants=(1,),
        ignore_index=-1,
    ),
    make_case("SoftmaxCrossEntropyLoss", [_f(3, 4), np.array([1, 0, 2], np.int32)], name="targets_at_run_time"),
]

CASES = _SOFTMAX + _LOSSES
