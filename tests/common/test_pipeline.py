"""Reading ahead and writing behind: all in order, no more in memory than said, and errors where they belong."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from onnx_ig.common.pipeline import WriteBehind, read_ahead


def test_items_come_in_order_and_one_ahead() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(6):
            taken.append(number)
            yield number

    found = []
    with read_ahead(items()) as ahead:
        for number in ahead:
            assert len(taken) <= number + 2
            found.append(number)
    assert found == list(range(6))


def test_an_error_of_reading_comes_in_its_place() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    found: list[int] = []
    with pytest.raises(ValueError, match="broken"), read_ahead(items()) as ahead:
        found.extend(ahead)
    assert found == [1]


def test_all_is_written_in_order_also_where_the_block_fails() -> None:
    written: list[int] = []
    with pytest.raises(KeyError), WriteBehind() as behind:
        for number in range(5):
            behind.submit(lambda number=number: written.append(number))
        raise KeyError
    assert written == list(range(5))


def test_few_things_wait() -> None:
    gate, started = threading.Event(), []
    with WriteBehind() as behind:
        behind.submit(gate.wait)
        submitting = threading.Thread(target=lambda: [started.append(behind.submit(lambda: None)) for _ in range(9)])
        submitting.start()
        submitting.join(0.5)
        assert submitting.is_alive() and len(started) < 5
        gate.set()
        submitting.join()
    assert len(started) == 9


def test_an_error_of_writing_is_raised() -> None:
    def broken() -> None:
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"), WriteBehind() as behind:
        behind.submit(broken)
