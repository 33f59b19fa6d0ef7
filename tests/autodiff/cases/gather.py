"""Gathering: every rank of indices and axis, constant indices in each cheap form, repeated and negative ones, ties."""

import numpy as np

from tests.judging.judge import Case, make_case

_rng = np.random.default_rng(0)


def _f(*shape: int) -> np.ndarray:
    return np.asarray(_rng.standard_normal(shape), np.float32)


def _i(values: object) -> np.ndarray:
    return np.asarray(values, np.int64)


# name: indices, axis of a tensor [3, 5, 4]
_GATHERS: dict[str, tuple[object, int]] = {
    "scalar": (1, 1),
    "scalar_negative": (-2, 1),
    "one": ([2], 0),
    "one_negative": ([-1], -1),
    "consecutive": ([1, 2, 3], 1),
    "consecutive_negative": ([-3, -2, -1], 1),
    "across_the_end": ([-1, 0, 1], 1),
    "permutation": ([2, 0, -2, 1, 4], 1),
    "some": ([3, 0, -1], 1),
    "repeated": ([0, 0, 2, 1, -1, 2], 1),
    "repeated_often": ([1, 1, 1, 1, 1, 1, 0], 1),
    "matrix": ([[0, 2], [1, 0]], 0),
    "matrix_last": ([[0, 2, 1], [1, 3, -1]], -1),
    "matrix_middle_unique": ([[0, 2], [1, 3]], 1),
    "nested_one": ([[1]], 1),
}


def _gather_case(name: str, known: bool) -> Case:
    indices, axis = _GATHERS[name]
    constants = (1,) if known else ()
    suffix = "" if known else "_at_run_time"
    return make_case(
        "Gather", [_f(3, 5, 4), _i(indices)], name=f"gather_{name}{suffix}", constants=constants, axis=axis
    )


_TUPLES = _i([[[0, 1], [1, -1]], [[0, 1], [2, 0]]])
_OTHER_TUPLES = _i([[0, 1], [1, 2], [2, 0]])
_BATCH = _i([[[1], [0], [1]], [[2], [-1], [2]]])
_KEPT = np.array([False, True, True])

CASES = (
    [_gather_case(name, known) for name in _GATHERS for known in (True, False)]
    + [
        case
        for known in (True, False)
        for case in (
            make_case(
                "GatherElements",
                [_f(3, 4), _i([[0, 2, -1, 0], [0, 1, 1, 2]])],
                name=f"gather_elements_{known}",
                constants=(1,) if known else (),
                axis=0,
            ),
            make_case(
                "GatherElements",
                [_f(3, 4), _i([[0, 3], [1, 1], [2, -4]])],
                name=f"gather_elements_last_{known}",
                axis=-1,
            ),
            make_case("GatherND", [_f(3, 4, 2), _TUPLES], name=f"gather_nd_{known}", constants=(1,) if known else ()),
            make_case(
                "GatherND",
                [_f(3, 4, 2), _OTHER_TUPLES],
                name=f"gather_nd_once_{known}",
                constants=(1,) if known else (),
            ),
            make_case(
                "GatherND",
                [_f(2, 4, 3), _BATCH],
                name=f"gather_nd_batch_{known}",
                constants=(1,) if known else (),
                batch_dims=1,
            ),
            make_case(
                "GatherND",
                [_f(2, 2, 3, 2), _i([[[1], [2]], [[0], [0]]])],
                name=f"gather_nd_two_batch_axes_{known}",
                constants=(1,) if known else (),
                batch_dims=2,
            ),
            make_case("Compress", [_f(2, 4), _KEPT], name=f"compress_{known}", constants=(1,) if known else (), axis=1),
            make_case("Compress", [_f(2, 4), _KEPT], name=f"compress_flat_{known}", constants=(1,) if known else ()),
            make_case(
                "TopK", [_f(3, 6), _i([2])], name=f"topk_{known}", n_outputs=2, constants=(1,) if known else (), axis=-1
            ),
            make_case(
                "TopK",
                [_f(6, 3), _i([4])],
                name=f"topk_smallest_unsorted_{known}",
                n_outputs=2,
                constants=(1,) if known else (),
                axis=0,
                largest=0,
                sorted=0,
            ),
            make_case(
                "TopK",
                [_f(3, 6), _i([2])],
                name=f"topk_24_{known}",
                n_outputs=2,
                opset=24,
                constants=(1,) if known else (),
            ),
        )
    ]
    + [
        make_case("OneHot", [_i([0, -1, 7]), _i(4), _f(2)], name="one_hot", constants=(0, 1)),
        make_case("OneHot", [_i([[0, -1, 7]]), _i(4), _f(2)], name="one_hot_at_run_time", axis=1),
        make_case("Unique", [_f(7)], name="unique", n_outputs=1),
        make_case("Unique", [_f(3, 4)], name="unique_rows", n_outputs=4, axis=0, sorted=0),
        make_case(
            "Range", [np.array(0.3, np.float32), np.array(2.1, np.float32), np.array(0.4, np.float32)], name="range"
        ),
        make_case(
            "Range",
            [np.array(2.3, np.float32), np.array(-1.1, np.float32), np.array(-0.4, np.float32)],
            name="range_down",
        ),
        *(
            make_case(
                "TensorScatter",
                [_f(2, 3, 5, 2), _f(2, 3, 2, 2), _i(start)],
                name=f"tensor_scatter_{mode}",
                opset=24,
                mode=mode,
            )
            for mode, start in (("linear", [1, 3]), ("circular", [4, 2]))
        ),
        make_case("TensorScatter", [_f(2, 5, 3), _f(2, 2, 3)], name="tensor_scatter_at_front", opset=24),
        make_case(
            "TensorScatter", [_f(2, 5, 3), _f(2, 2, 3), _i([1, 0])], name="tensor_scatter_axis", opset=24, axis=1
        ),
    ]
)
