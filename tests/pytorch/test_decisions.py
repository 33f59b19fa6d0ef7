"""Which values a torch function reads into Python, and of which arguments they depend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from onnx_ig.pytorch.decisions import Read, first_difference, recorded
from tests.helpers.networks import NETWORKS

_X, _MASK = torch.tensor([0.25, 0.5, -1.0]), torch.tensor([True, True, False])


def _written_into_a_buffer(x: Tensor, mask: Tensor) -> Any:
    buffer = torch.zeros(3)
    buffer[1:].copy_(x[1:])
    return bool(buffer.sum() > 0)


def _written_with_out(x: Tensor, mask: Tensor) -> Any:
    result = torch.empty(3)
    torch.mul(x, 2, out=result)
    return result[0].item()


# the function, and of which arguments each value depends that it reads
CASES: dict[str, tuple[Callable[[Tensor, Tensor], Any], list[set[int]]]] = {
    "bool": (lambda x, mask: bool(x.mean() > 0), [{0}]),
    "item": (lambda x, mask: x.max().item(), [{0}]),
    "int": (lambda x, mask: int(x[1]), [{0}]),
    "all of a mask": (lambda x, mask: bool(mask.all()), [{1}]),
    "both": (lambda x, mask: bool((x * mask).sum() > 0), [{0, 1}]),
    "tolist": (lambda x, mask: x.tolist(), [{0}]),
    "numpy": (lambda x, mask: x.detach().numpy(), [{0}]),
    "np.asarray": (lambda x, mask: np.asarray(x), [{0}]),
    "torch.tensor of elements": (lambda x, mask: torch.tensor([x[0], 1.0]), [{0}]),
    "index": (lambda x, mask: x[mask.sum()], [{1}]),
    "range": (lambda x, mask: list(range(mask.sum())), [{1}]),
    "torch.equal": (lambda x, mask: torch.equal(x, x.abs()), [{0}]),
    "torch.allclose": (lambda x, mask: torch.allclose(x, x.abs()), [{0}]),
    "in": (lambda x, mask: 0.5 in x, [{0}]),
    "loop with break": (lambda x, mask: [None for v in x if v > 0], [{0}, {0}, {0}]),
    "written into a buffer": (_written_into_a_buffer, [{0}]),
    "written with out=": (_written_with_out, [{0}]),
    "shape": (lambda x, mask: int(torch.tensor(x.shape).prod()), [set()]),
    "shape alone": (lambda x, mask: bool(torch.zeros_like(x).any()), [set()]),
    "nothing": (lambda x, mask: torch.where(x > 0, x, mask), []),
    "a tensor of a tensor": (lambda x, mask: torch.as_tensor(x), []),
}


@pytest.mark.parametrize("case", CASES)
def test_reads_and_what_they_depend_on(case: str) -> None:
    function, expected = CASES[case]
    with recorded([_X, _MASK]) as found:
        function(_X, _MASK)
    assert [set(read.arguments) for read in found] == expected
    line = function.__code__.co_firstlineno
    assert all(line <= int(read.place.rpartition(":")[2]) <= line + 4 for read in found)
    assert all(read.place.startswith(__file__) for read in found)


@pytest.mark.parametrize(
    ("first", "second", "differs"),
    [
        ([1.0, 2.0], [3.0, 2.0], False),
        ([1.0, 2.0], [-3.0, 2.0], True),
        ([1.0, -2.0], [1.0, 2.0], True),
    ],
)
def test_the_first_decision_that_differs(first: list[float], second: list[float], differs: bool) -> None:
    def steps(x: Tensor) -> int:
        for i, value in enumerate(x):
            if value < 0:
                return i
        return len(x)

    reads: list[list[Read]] = []
    for values in (first, second):
        with recorded([x := torch.tensor(values)]) as found:
            steps(x)
        reads.append(found)
    different = first_difference(*reads)
    assert (different is not None) == differs
    if different is not None:
        assert int(different.place.rpartition(":")[2]) == steps.__code__.co_firstlineno + 2


@pytest.mark.parametrize(("name", "arguments"), [("bert", {1}), ("lstm", None), ("vit", None)])
def test_networks(name: str, arguments: set[int] | None) -> None:
    """BERT leaves out a mask that masks nothing; nothing else here looks at its data."""
    network = NETWORKS[name]
    tensors = [*network.inputs(2), *network.extras(2)]
    with torch.no_grad(), recorded(tensors) as found:
        network.module()(*tensors)
    assert [set(read.arguments) for read in found if read.arguments] == ([] if arguments is None else [arguments])
