"""Decisions by data that a trace has frozen: a file has no way back to torch, and must not answer where they differ.

The one idea: the function is run on data of other signs and sizes until each decision has gone another way; where torch
then says what the model says, or nothing, the decision does no harm.
"""

from __future__ import annotations

import linecache
from collections.abc import Callable, Iterator, Sequence

import onnx_ir as ir
import torch
from torch import Tensor

from onnx_ig.errors import ModelError
from onnx_ig.pytorch.check import Argument, compare, evaluator, halves_inside, redrawn, run_torch, tolerance
from onnx_ig.pytorch.decisions import Read, recorded

_SCALES = (-1.0, 10.0, 0.1, -1e3, 1e-3, float("nan"))


def reads_of(forward: Callable[..., Tensor], arguments: Sequence[Argument]) -> list[Read]:
    """What ``forward`` reads of the examples' data into Python, where it may decide."""
    with recorded(examples := [argument.example.detach() for argument in arguments]) as reads:
        run_torch(forward, examples)
    return [read for read in reads if read.arguments]


def refuse_frozen_decisions(
    model: ir.Model, forward: Callable[..., Tensor], arguments: Sequence[Argument], reads: Sequence[Read]
) -> None:
    """Raise ModelError, naming its place, for a decision of ``forward`` by its data that ``model`` may hold frozen.

    One that never goes another way is refused too: nothing tells that the model is right where it does. So is what is
    read of an attributed input as a number: how Python decides by it is not seen.

    Args:
        reads: those at the examples, by :func:`reads_of`.
    """
    if not reads:
        return
    taken, evaluate = _decisions(reads), evaluator(model)
    attributed = {i for i, argument in enumerate(arguments) if argument.attributed}
    numbers = {r.place for r in reads if not isinstance(r.value, bool) and r.arguments & attributed}
    harmless: set[str] = set()
    for tensors in _probes(arguments):
        with recorded(tensors) as found:
            try:
                expected = run_torch(forward, tensors)
            except Exception:  # the user's own code refuses such data, by what it read last
                harmless.update(read.place for read in found[-1:])
                continue
        differing = sorted(place for place, _ in _decisions(found) ^ taken)
        if not differing or not torch.isfinite(expected).any():
            continue
        try:
            feeds = {argument.name: tensor for argument, tensor in zip(arguments, tensors, strict=True)}
            compare(
                expected,
                evaluate(feeds),
                tolerance([expected, *tensors], halves_inside(model)),
                "other data",
                must=False,
            )
        except Exception as error:  # a frozen size makes ONNX Runtime fail in many ways
            raise _refusal(differing[0]) from error
        harmless.update(place for place in differing if place not in numbers)
    if unknown := [read.place for read in reads if read.place not in harmless]:
        raise _refusal(unknown[0])


def _decisions(reads: Sequence[Read]) -> set[tuple[str, object]]:
    """Place and value of what was read of the arguments' data."""
    return {(read.place, read.value) for read in reads if read.arguments}


def _probes(arguments: Sequence[Argument]) -> Iterator[list[Tensor]]:
    """The examples with attributed values scaled; the others, which are masks, with and without zeros; all redrawn."""
    for scale in _SCALES:
        yield [a.example.detach() * scale if a.attributed else a.example.detach().clone() for a in arguments]
    generator = torch.Generator().manual_seed(20)
    yield [a.example.detach() * (1 if a.attributed else _kept(a.example, generator)) for a in arguments]
    yield [a.example.detach() if a.attributed else torch.ones_like(a.example) for a in arguments]  # nothing masked
    for _ in range(3):
        yield [redrawn(a.example.detach().cpu(), generator).to(a.example.device) for a in arguments]


def _kept(value: Tensor, generator: torch.Generator) -> Tensor:
    """A mask of 0 and 1 in the shape of ``value``, never all 0."""
    kept = torch.rand(value.shape, generator=generator) > 0.4
    kept.view(-1)[:1] = True
    return kept.to(value)


def _refusal(place: str) -> ModelError:
    file, _, line = place.rpartition(":")
    code = linecache.getline(file, int(line)).strip() if line.isdigit() else ""
    return ModelError(
        f"the model decides by its data in Python ({place}{': ' if code else ''}{code}), and a file would hold the "
        "decision of the examples for all data: write it on tensors, with torch.where or torch.cond, or use the Python "
        "classes, which refuse data that decide otherwise"
    )
