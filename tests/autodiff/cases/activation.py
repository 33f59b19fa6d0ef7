"""Activation functions: default and other attributes, parameters of either sign."""

import numpy as np

from tests.judging.judge import make_case

_rng = np.random.default_rng(2)
_X = np.asarray(_rng.uniform(-4.0, 4.0, (3, 11)), np.float32)

_VARIANTS: dict[str, list[dict[str, float]]] = {
    "Relu": [{}],
    "Sigmoid": [{}],
    "Tanh": [{}],
    "LeakyRelu": [{}, {"alpha": 0.3}, {"alpha": 1.5}, {"alpha": -0.5}],
    "Elu": [{}, {"alpha": 0.5}, {"alpha": -0.5}],
    "Selu": [{}, {"alpha": 2.0, "gamma": 3.0}, {"alpha": -1.0, "gamma": 1.0}],
    "Celu": [{}, {"alpha": 2.0}, {"alpha": 0.5}],
    "HardSigmoid": [{}, {"alpha": 0.5, "beta": 0.6}],
    "HardSwish": [{}],
    "Softplus": [{}],
    "Softsign": [{}],
    "ThresholdedRelu": [{}, {"alpha": 2.0}, {"alpha": -1.0}],
    "Shrink": [{}, {"lambd": 1.5, "bias": 1.0}, {"lambd": -1.0, "bias": 0.5}],
    "Mish": [{}],
}

CASES = (
    [
        make_case(
            op_type, [_X], name="_".join([op_type.lower(), *(f"{k}_{v}" for k, v in attributes.items())]), **attributes
        )
        for op_type, variants in _VARIANTS.items()
        for attributes in variants
    ]
    + [make_case("Gelu", [_X], name=f"gelu_{kind}", opset=20, approximate=kind) for kind in ("none", "tanh")]
    + [make_case("Swish", [_X], name=f"swish_{alpha}", opset=24, alpha=alpha) for alpha in (1.0, 1.7)]
    + [
        make_case("SwiGLU", [_X[:, :10], _X[:, 1:]], name=f"swiglu_{alpha}", opset=28, alpha=alpha)
        for alpha in (1.0, 1.7)
    ]
)
