"""Shape operators: sizes of zero and one, axes and repeats as constants and at run time."""

import numpy as np

from tests.judging.judge import make_case

_rng = np.random.default_rng(0)


def _f(*shape: int) -> np.ndarray:
    return np.asarray(_rng.standard_normal(shape), np.float32)


def _i(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


CASES = [
    make_case("Reshape", [_f(2, 3, 4), _i(4, -1)], name="reshape", constants=(1,)),
    make_case("Reshape", [_f(2, 3, 4), _i(0, -1)], name="reshape_copied_dim", constants=(1,)),
    make_case("Reshape", [_f(2, 3, 4), _i(4, 6)], name="reshape_at_run_time"),
    make_case("Flatten", [_f(2, 3, 4)], name="flatten_negative_axis", axis=-1),
    make_case("Squeeze", [_f(2, 1, 3, 1)], name="squeeze_all"),
    make_case("Squeeze", [_f(2, 1, 3, 1), _i(-1)], name="squeeze_constant", constants=(1,)),
    make_case("Squeeze", [_f(2, 1, 3, 1), _i(1, -1)], name="squeeze_at_run_time"),
    make_case("Unsqueeze", [_f(2, 3), _i(-1, 0)], name="unsqueeze_constant", constants=(1,)),
    make_case("Unsqueeze", [_f(2, 3), _i(1, 3)], name="unsqueeze_at_run_time"),
    make_case("Transpose", [_f(2, 3, 4)], name="transpose_reversed"),
    make_case("Transpose", [_f(2, 3, 4, 5)], name="transpose_cycle", perm=[1, 3, 0, 2]),
    make_case("Expand", [_f(3, 1), _i(2, 1, 4)], name="expand", constants=(1,)),
    make_case("Expand", [_f(3, 1), _i(2, 3, 4)], name="expand_at_run_time"),
    make_case("Expand", [_f(2, 3), _i(1)], name="expand_to_less", constants=(1,)),
    make_case("Expand", [_f(), _i(2, 3)], name="expand_scalar", constants=(1,)),
    make_case("Tile", [_f(2, 1, 3), _i(2, 4, 1)], name="tile", constants=(1,)),
    make_case("Tile", [_f(2, 1, 3), _i(1, 1, 1)], name="tile_once", constants=(1,)),
    make_case("Tile", [_f(2, 3), _i(3, 2)], name="tile_at_run_time"),
    make_case("Trilu", [_f(2, 3, 4)], name="triu"),
    make_case("Trilu", [_f(3, 4), np.array(-1)], name="tril_at_run_time", upper=0),
    make_case("Trilu", [_f(2, 4, 3), np.array(1)], name="triu_constant", constants=(1,)),
    make_case("ReverseSequence", [_f(4, 3, 2), _i(1, 4, 2)], name="reverse_sequence"),
    make_case(
        "ReverseSequence", [_f(3, 4, 2), _i(1, 4, 2)], name="reverse_sequence_batch_first", batch_axis=0, time_axis=1
    ),
]
