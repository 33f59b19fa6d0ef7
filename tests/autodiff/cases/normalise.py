"""Normalisations: every axis, optional inputs and outputs, both forms of GroupNormalization, training, even windows."""

import itertools

import numpy as np

from tests.judging.judge import make_case

_rng = np.random.default_rng(6)


def _f(*shape: int) -> np.ndarray:
    return np.asarray(_rng.standard_normal(shape), np.float32)


def _positive(*shape: int) -> np.ndarray:
    return np.asarray(_rng.uniform(0.5, 2.0, shape), np.float32)


_SHAPE = (2, 4, 3, 2)
_STATISTICS = [_f(4), _f(4), _f(4), _positive(4)]

_BATCH = [
    make_case("BatchNormalization", [_f(*shape), *_STATISTICS], name=f"batch_{len(shape)}", epsilon=1e-2)
    for shape in ((5, 4), (2, 4, 3), _SHAPE, (2, 4, 2, 2, 2))
] + [
    make_case("BatchNormalization", [_f(*_SHAPE), *_STATISTICS], name="batch_constant", constants=(1, 2, 3, 4)),
    make_case("BatchNormalization", [_f(5, 4, 2), *_STATISTICS], name="batch_training", training_mode=1, n_outputs=3),
    make_case(
        "BatchNormalization",
        [_f(5, 4), *_STATISTICS],
        name="batch_training_2",
        training_mode=1,
        momentum=0.7,
        n_outputs=3,
    ),
]

_LAYER = [
    make_case(
        "LayerNormalization",
        [_f(2, 3, 4), *(_f(*(2, 3, 4)[axis:]) for _ in range(n_inputs - 1))],
        name=f"layer_{axis}_{n_inputs}_{n_outputs}",
        axis=axis,
        epsilon=1e-3,
        n_outputs=n_outputs,
    )
    for axis, n_inputs, n_outputs in itertools.product((-1, -2, 0, 1), (2, 3), (1, 3))
] + [make_case("LayerNormalization", [_f(2, 3, 4), _f(4), _f(4)], name="layer_constant", constants=(1, 2))]

_RMS = [
    make_case("RMSNormalization", [_f(2, 3, 4), _f(*(2, 3, 4)[axis:])], name=f"rms_{axis}", opset=23, axis=axis)
    for axis in (-1, -2, 0, 1)
]

_INSTANCE = [
    make_case("InstanceNormalization", [_f(*shape), _f(4), _f(4)], name=f"instance_{len(shape)}", epsilon=1e-2)
    for shape in ((2, 4, 5), _SHAPE, (2, 4, 2, 2, 2))
] + [
    make_case(
        "InstanceNormalization", [_f(*_SHAPE), np.ones(4, np.float32), _f(4)], name="instance_unit", constants=(1, 2)
    )
]

_GROUP = [
    make_case("GroupNormalization", [_f(*_SHAPE), _f(size), _f(size)], name=f"group_{opset}", opset=opset, num_groups=2)
    for opset, size in ((18, 2), (21, 4))
]

_OTHERS = (
    [
        make_case(
            "MeanVarianceNormalization",
            [_f(*_SHAPE)],
            name=f"mean_variance_{'_'.join(map(str, axes))}",
            axes=list(axes),
        )
        for axes in ((0, 2, 3), (1,), (-1, -2))
    ]
    + [make_case("MeanVarianceNormalization", [_f(*_SHAPE)], name="mean_variance_default")]
    + [
        make_case("LpNormalization", [_f(2, 3, 4)], name=f"lp_{p}_{axis}", p=p, axis=axis)
        for p in (1, 2)
        for axis in (-1, 0, 1)
    ]
    + [
        make_case("LRN", [_f(*shape)], name=f"lrn_{size}_{len(shape)}", size=size, alpha=0.5, beta=0.6, bias=1.5)
        for size, shape in (
            (1, (2, 5, 2, 2)),
            (2, (2, 5, 2, 2)),
            (3, (2, 5, 2, 2)),
            (4, (2, 6, 3, 2)),
            (7, (2, 5, 2, 2)),
            (3, (2, 5, 4)),
            (3, (2, 5)),
        )
    ]
)

CASES = _BATCH + _LAYER + _RMS + _INSTANCE + _GROUP + _OTHERS
