"""Einsum: implicit and explicit outputs, ellipses, sums, broadcasts, diagonals, one to three operands; and Det.

(ONNX Runtime 1.31 crashes on an ellipsis that stands for no axis beside one that does, so no case has one.)
"""

import numpy as np

from tests.judging.judge import make_case

_rng = np.random.default_rng(5)


def _f(*shape: int) -> np.ndarray:
    return np.asarray(_rng.standard_normal(shape), np.float32)


_EQUATIONS: dict[str, tuple[tuple[int, ...], ...]] = {
    "ij,jk->ik": ((2, 3), (3, 4)),
    "ij,jk": ((2, 3), (3, 4)),
    "ba, ca": ((2, 3), (4, 3)),
    "i,i->": ((3,), (3,)),
    "i,j->ij": ((3,), (4,)),
    "ij->ji": ((2, 3),),
    "ij": ((2, 3),),
    "ba": ((2, 3),),
    "ij->i": ((2, 3),),
    "ij->": ((2, 3),),
    "ii->i": ((3, 3),),
    "ii": ((3, 3),),
    "iji->j": ((3, 2, 3),),
    "ijk->kij": ((2, 3, 4),),
    "bhqd,bhkd->bhqk": ((2, 2, 3, 4), (2, 2, 5, 4)),
    "bij,bjk->bik": ((2, 3, 4), (2, 4, 5)),
    "bn,anm,bm->ba": ((2, 3), (4, 3, 5), (2, 5)),
    "ij,kj->i": ((2, 3), (4, 3)),
    "ij,k->i": ((2, 3), (4,)),
    "...ij,...jk->...ik": ((2, 5, 2, 3), (2, 5, 3, 4)),
    "...ij,jk->...ik": ((5, 2, 3), (3, 4)),
    "...ij,...j->...i": ((4, 5, 2, 3), (5, 3)),
    "...ij,jk": ((5, 2, 3), (3, 4)),
    "...i->...": ((2, 3, 4),),
    "i...->...i": ((2, 3, 4),),
    "...,...->...": ((2, 3), (1, 3)),
    "...ii->...i": ((2, 3, 3),),
    "ij,ij->ij": ((2, 3), (2, 3)),
    "ii,i->i": ((3, 3), (3,)),
    "aB,Bc->ac": ((2, 3), (3, 4)),
}

CASES = [
    make_case("Einsum", [_f(*shape) for shape in shapes], name=equation, equation=equation)
    for equation, shapes in _EQUATIONS.items()
] + [
    make_case("Det", [_f(*shape)], name=f"det_{'x'.join(map(str, shape))}")
    for shape in ((1, 1), (2, 2), (3, 3), (2, 1, 1), (2, 4, 4), (2, 3, 2, 2))
]
_SINGULAR = _f(3, 3)
_SINGULAR[2] = _SINGULAR[0] + _SINGULAR[1]
CASES.append(make_case("Det", [_SINGULAR], name="det_singular"))
