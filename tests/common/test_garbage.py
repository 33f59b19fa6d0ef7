"""Searches for unreachable objects are put off while a block runs, and on again, if they were, after the last."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from onnx_ig.common.garbage import without_searches


@pytest.fixture(params=[True, False], ids=["on before", "off before"])
def on_before(request: pytest.FixtureRequest) -> Iterator[bool]:
    was_on = gc.isenabled()
    (gc.enable if request.param else gc.disable)()
    yield request.param
    (gc.enable if was_on else gc.disable)()


def test_searches_are_on_again_after_the_last_block(on_before: bool) -> None:
    with without_searches():
        with pytest.raises(ValueError, match="inside"), without_searches():
            raise ValueError("inside")
        assert not gc.isenabled()
    assert gc.isenabled() == on_before


def test_threads_wait_for_each_others_blocks(on_before: bool) -> None:
    @without_searches()
    def block(number: int) -> bool:
        return sum(range(1000 * number)) >= 0 and gc.isenabled()

    with ThreadPoolExecutor(4) as pool:
        assert not any(pool.map(block, range(50)))
    assert gc.isenabled() == on_before
