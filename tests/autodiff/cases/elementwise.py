"""Arithmetic and functions of one tensor: broadcasting, mixed types, special exponents, both conventions of Mod."""

import numpy as np

from tests.judging.judge import Case, make_case

_rng = np.random.default_rng(1)


def _f(*shape: int) -> np.ndarray:
    return np.asarray(_rng.standard_normal(shape), np.float32)


def _positive(*shape: int) -> np.ndarray:
    return np.asarray(_rng.uniform(0.5, 2.0, shape), np.float32)


def _number(value: float) -> np.ndarray:
    return np.array(value, np.float32)


_EXPONENTS = (1.0, 2.0, 3.0, 0.5, -1.0, -0.5, 2.5, 4.0)
_POW = [
    make_case("Pow", [_positive(2, 3), _number(b)], name=f"pow_constant_{b}", constants=(1,)) for b in _EXPONENTS
] + [
    make_case(
        "Pow", [_positive(2, 3), np.array([0.0, 1.0, 2.0], np.float32)], name="pow_constant_exponents", constants=(1,)
    ),
    make_case("Pow", [_positive(2, 3), _f(3)], name="pow_both"),
    make_case("Pow", [_positive(3), _f(2, 3)], name="pow_base_broadcast"),
    make_case("Pow", [_f(2, 3), np.array([2, 3, 0], np.int64)], name="pow_integer_exponent"),
    make_case("Pow", [_f(2, 3), np.array([2, 3, 0], np.int64)], name="pow_integer_constant", constants=(1,)),
    make_case("Pow", [_f(2, 3), np.array([2], np.int64)], name="pow_square_negative_base", constants=(1,)),
]

_VARIADIC = [
    make_case(op_type, [_f(*shape) for shape in shapes], name=f"{op_type.lower()}_{len(shapes)}")
    for op_type in ("Max", "Min", "Mean", "Sum")
    for shapes in ([(2, 3)], [(2, 3), (3,)], [(2, 4, 3), (4, 1), (1,)])
]

_MOD = [
    make_case("Mod", [_f(2, 5) * 3, _positive(5)], name="mod_fmod", fmod=1),
    make_case("Mod", [_f(2, 5) * 3, -_positive(2, 1)], name="mod_fmod_negative_divisor", fmod=1),
    make_case("Mod", [_f(2, 5) * 3, -_positive(5)], name="mod_floor", opset=28),
]

_WHERE = [
    make_case("Where", [_rng.random((2, 3)) > 0.5, _f(2, 3), _f(3)], name="where"),
    make_case("Where", [_rng.random((4, 1)) > 0.5, _f(3), _number(0.5)], name="where_condition_broadcast"),
    make_case("Where", [_rng.random((2, 3)) > 0.5, _f(2, 3), _number(-1e4)], name="where_mask_value", constants=(2,)),
]

_PRELU = [
    make_case("PRelu", [_f(2, 3, 4), _f(*slope)], name=f"prelu_{len(slope)}_{slope[0] if slope else ''}")
    for slope in ((2, 3, 4), (3, 1), (1,), ())
]

_CLIP: list[Case] = [
    make_case("Clip", [_f(3, 4)], name="clip_unbounded"),
    make_case("Clip", [_f(3, 4), _number(-0.5)], name="clip_low"),
    make_case("Clip", [_f(3, 4), None, _number(0.5)], name="clip_high"),
    make_case("Clip", [_f(3, 4), _number(-0.5), _number(0.5)], name="clip_both"),
    make_case("Clip", [_f(3, 4), _number(0.5), _number(-0.5)], name="clip_crossed"),
    make_case("Clip", [_f(3, 4), _number(0.0), _number(6.0)], name="clip_constant", constants=(1, 2)),
]

_DOMAINS = {
    "Acosh": (1.2, 3.0),
    "Log": (0.3, 3.0),
    "Sqrt": (0.3, 3.0),
    "Reciprocal": (0.3, 3.0),
    **dict.fromkeys(("Asin", "Acos", "Atanh"), (-0.9, 0.9)),
    **dict.fromkeys(
        ("Sin", "Cos", "Tan", "Atan", "Sinh", "Cosh", "Asinh", "Exp", "Erf", "Abs", "Neg", "Identity"), (-1.4, 1.4)
    ),
}
_UNARY = [
    make_case(op_type, [np.asarray(_rng.uniform(low, high, (2, 7)), np.float32)], name=op_type.lower())
    for op_type, (low, high) in _DOMAINS.items()
]

_COPIES = [
    make_case("Dropout", [_f(2, 3)], name="dropout"),
    make_case(
        "Dropout", [_f(2, 3), _number(0.5), np.array(False)], name="dropout_with_mask", constants=(1, 2), n_outputs=2
    ),
    make_case("Dropout", [_f(2, 9), _number(0.3), np.array(True)], name="dropout_training", constants=(2,), seed=0),
    *(
        make_case("Dropout", [_f(2, 9), _number(0.3), np.array(mode)], name=f"dropout_run_time_{mode}", seed=1)
        for mode in (True, False)
    ),
    make_case("Cast", [_f(2, 3)], name="cast_same", to=1),
    make_case("CastLike", [_f(2, 3), _f(1)], name="cast_like", constants=(1,)),
]

CASES = _POW + _VARIADIC + _MOD + _WHERE + _PRELU + _CLIP + _UNARY + _COPIES
