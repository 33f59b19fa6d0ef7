"""Matrix products: vectors, broadcast batches, every transposition of Gemm."""

import itertools

import numpy as np

from tests.judging.judge import make_case

_rng = np.random.default_rng(0)


def _f(*shape: int) -> np.ndarray:
    return np.asarray(_rng.standard_normal(shape), np.float32)


_MATMUL_SHAPES = {
    "vector_vector": ((4,), (4,)),
    "vector_matrix": ((4,), (4, 3)),
    "matrix_vector": ((2, 4), (4,)),
    "vector_batch": ((4,), (2, 4, 3)),
    "batch_vector": ((2, 3, 4), (4,)),
    "broadcast_left": ((2, 1, 3, 4), (5, 4, 2)),
    "broadcast_right": ((3, 4), (2, 5, 4, 2)),
}

CASES = [make_case("MatMul", [_f(*a), _f(*b)], name=f"matmul_{name}") for name, (a, b) in _MATMUL_SHAPES.items()] + [
    make_case(
        "Gemm",
        [_f(*((4, 2) if ta else (2, 4))), _f(*((3, 4) if tb else (4, 3))), _f(*c)],
        name=f"gemm_{ta}{tb}_{len(c)}",
        alpha=0.5,
        beta=2.0,
        transA=ta,
        transB=tb,
    )
    for ta, tb, c in itertools.product((0, 1), (0, 1), ((3,), (2, 1), ()))
]
