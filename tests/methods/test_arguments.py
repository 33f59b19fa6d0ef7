"""Every form in which Captum's users write baselines and targets, and every wrong one with its error."""

from typing import Any

import numpy as np
import pytest
import torch

from onnx_ig.errors import InputError
from onnx_ig.methods.arguments import UNKNOWN_RANGE, broadcast_baselines, broadcast_target

# output dimensions of one example, target for two examples, expected rows
TARGETS: dict[str, tuple[list[int], Any, Any]] = {
    "one number": ([], None, None),
    "one number [N, 1]": ([1], None, None),
    "one number, index 0": ([1], 0, None),
    "int": ([3], 2, [2, 2]),
    "numpy integer": ([3], np.int32(2), [2, 2]),
    "1-tuple": ([3], (2,), [2, 2]),
    "list": ([3], [2, 0], [2, 0]),
    "array": ([3], np.array([2, 0]), [2, 0]),
    "tensor": ([3], torch.tensor([2, 0]), [2, 0]),
    "0-d tensor": ([3], torch.tensor(1), [1, 1]),
    "array of one": ([3], np.array([1]), [1, 1]),
    "column": ([3], np.array([[2], [0]]), [2, 0]),
    "tuple": ([3, 4], (1, 3), [[1, 3], [1, 3]]),
    "list of tuples": ([3, 4], [(1, 3), (0, 0)], [[1, 3], [0, 0]]),
    "array of rows": ([3, 4], np.array([[1, 3], [0, 0]]), [[1, 3], [0, 0]]),
    "shorter": ([3, 1], (2,), [[2, 0], [2, 0]]),
    "shorter list": ([3, 1], [2, 1], [[2, 0], [1, 0]]),
    "from the end": ([3], -1, [2, 2]),
    "from the end, 1-tuple": ([3], (-3,), [0, 0]),
    "from the end, tensor of one": ([3], torch.tensor([-2]), [1, 1]),
    "from the end, tuple": ([3, 4], (-1, 1), [[2, 1], [2, 1]]),
    "from the end, list of tuples": ([3, 4], [(-1, -4), (0, -1)], [[2, 0], [0, 3]]),
    "from the end of one number": ([1], -1, None),
}


@pytest.mark.parametrize("name", TARGETS)
def test_target(name: str) -> None:
    dims, target, expected = TARGETS[name]
    rows = broadcast_target(target, 2, dims)
    if expected is None:
        assert rows is None
    else:
        assert rows is not None and rows.dtype == np.int64
        np.testing.assert_array_equal(rows, expected)


WRONG_TARGETS: dict[str, tuple[list[int], Any, str]] = {
    "missing": ([3], None, r"\[N, 3\]"),
    "out of range": ([3], 3, "out of range"),
    "before the first": ([3], -4, "out of range"),
    "from an end that is not known": ([UNKNOWN_RANGE], -1, "out of range"),
    "from the end, list": ([3], [-1, 0], "out of range"),  # Captum refuses it too
    "from the end, tensor": ([3], torch.tensor([0, -1]), "out of range"),
    "one of the list": ([3], [0, 5], "example 1"),
    "bool": ([3], True, "bool"),
    "float": ([3], 1.0, "float"),
    "float array": ([3], np.array([1.0, 2.0]), "integers"),
    "text": ([3], "1", "str"),
    "too few": ([3], [0, 1, 2], "3 targets for 2 examples"),
    "too short": ([3, 4], (1,), "needs 2"),
    "too long": ([3], (1, 2), "needs 1"),
    "of one number": ([], 1, "one number"),
    "ragged": ([3, 4], [(1, 2), (1,)], "lengths"),
    "three axes": ([3], np.zeros((2, 1, 2), np.int64), "axis"),
}


@pytest.mark.parametrize("name", WRONG_TARGETS)
def test_wrong_target(name: str) -> None:
    dims, target, words = WRONG_TARGETS[name]
    with pytest.raises(InputError, match=words):
        broadcast_target(target, 2, dims)


X = {"x": np.ones((2, 3), np.float32)}
XY = {**X, "y": np.ones((2, 4), np.float64)}

BASELINES: dict[str, tuple[dict[str, Any], Any, list[tuple[int, ...]]]] = {
    "none": (X, None, [(1, 3)]),
    "number": (X, 0.5, [(1, 3)]),
    "array": (X, np.zeros((2, 3)), [(2, 3)]),
    "one row": (X, torch.zeros(1, 3), [(1, 3)]),
    "tuple of one": (X, (0.5,), [(1, 3)]),
    "tuple": (XY, (None, np.zeros((2, 4))), [(1, 3), (2, 4)]),
    "number for all": (XY, 0.5, [(1, 3), (1, 4)]),
    "by name": (XY, {"y": 1.0}, [(1, 3), (1, 4)]),
    "broadcast": (X, np.full((1, 1), 0.5), [(1, 3)]),
    "broadcast, one axis": (X, np.full(1, 0.5), [(1, 3)]),
}


@pytest.mark.parametrize("name", BASELINES)
def test_baselines(name: str) -> None:
    inputs, baselines, shapes = BASELINES[name]
    result = broadcast_baselines(inputs, baselines)
    assert [v.shape for v in result.values()] == shapes
    assert [v.dtype for v in result.values()] == [x.dtype for x in inputs.values()]


WRONG_BASELINES: dict[str, tuple[dict[str, Any], Any, str]] = {
    "shape": (X, np.zeros((2, 4)), r"\[2, 4\].*\[2, 3\]"),
    "rank": (X, np.zeros(3), r"\[3\].*\[2, 3\]"),
    "more rows than examples": (X, np.zeros((4, 3)), r"\[4, 3\].*\[1, 3\]"),
    "more axes": (X, np.zeros((1, 2, 3)), r"\[1, 2, 3\].*\[1, 3\]"),
    "rows": (X, np.zeros((3, 3)), r"\[3, 3\].*\[1, 3\]"),
    "count": (XY, (0.0,), "1 baselines for 2 inputs"),
    "name": (X, {"z": 0}, "'z'"),
    "not finite": (X, np.full((2, 3), np.nan), "NaN"),
}


@pytest.mark.parametrize("name", WRONG_BASELINES)
def test_wrong_baselines(name: str) -> None:
    inputs, baselines, words = WRONG_BASELINES[name]
    with pytest.raises(InputError, match=words):
        broadcast_baselines(inputs, baselines)
