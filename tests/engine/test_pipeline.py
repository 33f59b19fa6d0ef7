"""Reading, computing and using results overlap, in order, and end when the caller does."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx.parser
import pytest

import onnx_ig
from onnx_ig.common.pipeline import overlapped
from onnx_ig.errors import InputError, UsageError

PATIENCE = 20  # seconds until a test that waits in vain fails
MODEL = """<ir_version: 8, opset_import: ["" : 18]> f (float[N, 3] x) => (float[N, 2] y)
    <float[3, 2] w = {1, 2, 3, 4, 5, 6}> { s = Sin (x)  y = MatMul (s, w) }"""


def test_results_come_in_order() -> None:
    assert list(overlapped(range(50), lambda i: i * i)) == [(i, i * i) for i in range(50)]
    assert list(overlapped([], str)) == []
    assert list(overlapped([1], str, ahead=5)) == [(1, "1")]


def test_reading_computing_and_using_overlap() -> None:
    """Item 3 is read while 2 is computed while 1 is used: each waits for the others, so in turn they would hang."""
    together = threading.Barrier(3, timeout=PATIENCE)

    def items() -> Iterator[int]:
        for i in range(6):
            if i == 3:
                together.wait()
            yield i

    def compute(i: int) -> int:
        if i == 2:
            together.wait()
        return -i

    for item, result in overlapped(items(), compute):
        assert result == -item
        if item == 1:
            together.wait()


def test_no_more_than_a_few_are_ahead() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for i in range(100):
            taken = i + 1
            yield i

    for item, _ in overlapped(items(), lambda i: i, ahead=2):
        assert taken <= item + 1 + 2
        if item == 10:
            break
    assert taken <= 13


@pytest.mark.parametrize("where", ["reading", "computing"])
def test_errors_come_in_their_place(where: str) -> None:
    def fail(i: int, here: str) -> int:
        if i == 3 and here == where:
            raise InputError("broken")
        return i

    seen = []
    with pytest.raises(InputError, match="broken"):
        for item, _ in overlapped((fail(i, "reading") for i in range(9)), lambda i: fail(i, "computing")):
            seen.append(item)
    assert seen == [0, 1, 2]


def test_no_thread_is_left_behind() -> None:
    before = threading.active_count()
    for _ in overlapped(range(9), str):
        break
    assert threading.active_count() == before


def test_many_batches(tmp_path: Path) -> None:
    """From files to attributions, each batch with a target of its own."""
    arrays = np.random.default_rng(0).standard_normal((5, 4, 3)).astype(np.float32)
    for i, x in enumerate(arrays):
        np.save(tmp_path / f"{i}.npy", x)
    calls = ({"inputs": np.load(path), "target": i % 2} for i, path in enumerate(sorted(tmp_path.glob("*.npy"))))
    method = onnx_ig.IntegratedGradients(onnx.parser.parse_model(MODEL), provider="cpu")
    found = list(method.attribute_each(calls, n_steps=32, return_convergence_delta=True))
    assert len(found) == 5
    for i, (call, (attributions, delta)) in enumerate(found):
        np.testing.assert_array_equal(call["inputs"], arrays[i])
        np.testing.assert_allclose(attributions, np.sin(arrays[i]) * [[1, 3, 5], [2, 4, 6]][i % 2], atol=1e-5)
        assert np.abs(delta).max() < 1e-4


@pytest.mark.parametrize("item", [np.ones((1, 3), np.float32), {"input": 1}])
def test_items_that_are_no_calls_are_refused(item: Any) -> None:
    method = onnx_ig.InputXGradient(onnx.parser.parse_model(MODEL), provider="cpu")
    with pytest.raises(UsageError, match="'inputs': x"):
        list(method.attribute_each([item]))
