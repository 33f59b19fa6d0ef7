"""Sequences and optionals: built, changed, split, mapped and read, at constant positions and at run time."""

import numpy as np
import onnx

from tests.judging.judge import Case

_rng = np.random.default_rng(0)


def _f(*shape: int) -> np.ndarray:
    return np.asarray(_rng.standard_normal(shape), np.float32)


def _case(name: str, signature: str, body: str, **inputs: np.ndarray) -> Case:
    text = f'<ir_version: 8, opset_import: ["" : 18]> g ({signature}) => (float[K, L] y) {{ {body} }}'
    return Case(name, onnx.parser.parse_model(text), inputs)


_AB = "float[2, 3] a, float[2, 3] b"
_AT = "s = SequenceConstruct(a, b) i = Constant<value_int = place>() z = SequenceAt(s, i)"
_MAP = """s = SequenceConstruct(a, b, a)
u, v = SequenceMap<body = each (float[P, Q] p, float[P, Q] q) => (float[P, Q] r, float[P, Q] t)
    { r = Mul(p, q) t = Tanh(p) }>(s, c)
f = ConcatFromSequence<axis = 0>(u) g = ConcatFromSequence<axis = 0>(v) y = Mul(f, g)"""

CASES = [
    _case("at", _AB, _AT.replace("place", "-1") + " y = Tanh(z)", a=_f(2, 3), b=_f(2, 3)),
    _case("at_output", _AB, _AT.replace("place", "0").replace("z =", "y ="), a=_f(2, 3), b=_f(2, 3)),
    _case(
        "insert_erase",
        _AB,
        """e = SequenceEmpty() zero = Constant<value_int = 0>() back = Constant<value_int = -1>()
        s1 = SequenceInsert(e, a) s2 = SequenceInsert(s1, b, zero) s3 = SequenceInsert(s2, b, back)
        s4 = SequenceErase(s3, zero)
        s5 = SequenceInsert(s4, a) s6 = SequenceErase(s5) y = ConcatFromSequence<axis = 0>(s6)""",
        a=_f(2, 3),
        b=_f(2, 3),
    ),
    _case(
        "split_each",
        "float[3, 2] x",
        """s = SplitToSequence<axis = 0, keepdims = 0>(x) i = Constant<value_int = 2>() j = Constant<value_int = -3>()
        p = SequenceAt(s, i) q = SequenceAt(s, j) r = Mul(p, q)
        one = Constant<value_ints = [0]>() y = Unsqueeze(r, one)""",
        x=_f(3, 2),
    ),
    _case(
        "split_in_two",
        "float[2, 5] x",
        """n = Constant<value_int = 2>() s = SplitToSequence<axis = -1>(x, n)
        i = Constant<value_int = 2>() j = Constant<value_int = 1>()
        p = SequenceAt(s, i) q = SequenceAt(s, j) y = Mul(p, q)""",
        x=_f(2, 5),
    ),
    _case(
        "split_last",
        "float[2, 5] x",
        """n = Constant<value_int = 2>() s = SplitToSequence<axis = 1>(x, n)
        i = Constant<value_int = -1>() y = SequenceAt(s, i)""",
        x=_f(2, 5),
    ),
    _case(
        "split_sizes",
        "float[2, 5] x",
        """n = Constant<value_ints = [4, 1]>() s = SplitToSequence<axis = 1>(x, n)
        i = Constant<value_int = 0>() j = Constant<value_int = 1>()
        p = SequenceAt(s, i) q = SequenceAt(s, j) y = Mul(p, q)""",
        x=_f(2, 5),
    ),
    _case(
        "split_and_put_together",
        "float[2, 5] x",
        """n = Constant<value_int = 2>() s = SplitToSequence<axis = 1>(x, n)
        y0 = ConcatFromSequence<axis = 1>(s) y = Tanh(y0)""",
        x=_f(2, 5),
    ),
    _case(
        "split_and_stack",
        "float[3, 2] x",
        "s = SplitToSequence<axis = 0, keepdims = 0>(x) y = ConcatFromSequence<axis = 0, new_axis = 1>(s)",
        x=_f(3, 2),
    ),
    _case(
        "split_at_run_time",
        "float[2, 5] x, int64 n, int64 i",
        "s = SplitToSequence<axis = 1>(x, n) y = SequenceAt(s, i)",
        x=_f(2, 5),
        n=np.array(2),
        i=np.array(-1),
    ),
    _case(
        "stack",
        "float[3] a, float[3] b",
        "s = SequenceConstruct(a, b) y = ConcatFromSequence<axis = -1, new_axis = 1>(s)",
        a=_f(3),
        b=_f(3),
    ),
    _case(
        "map",
        "float[2, 3] a, float[2, 3] b, float[2, 3] c",
        _MAP,
        a=_f(2, 3),
        b=_f(2, 3),
        c=_f(2, 3),
    ),
    _case("optional", _AB, "o = Optional(a) p = OptionalGetElement(o) y = Mul(p, b)", a=_f(2, 3), b=_f(2, 3)),
    _case("no_optional", _AB, "p = OptionalGetElement(a) y = Mul(p, b)", a=_f(2, 3), b=_f(2, 3)),
]
