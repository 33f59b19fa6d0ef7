"""Does an exported model compute what the torch model computes? Asked on other values and other batch sizes.

The one idea: an exporter's mistakes are values frozen at the example, so everything that may vary is varied.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
import torch
from onnx.reference import ReferenceEvaluator
from torch import Tensor

from onnx_ig.autodiff.float64.rewriting import SpellOutFloat64Pass
from onnx_ig.common.types import Array
from onnx_ig.errors import ModelError
from onnx_ig.runtime.session import Session, lacks_kernel

BATCH = "batch"  # the name of the examples' axis
# relative to the largest element of torch's output
_TOLERANCE = {torch.float64: 1e-5, torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 6e-2}
_HALVES = {torch.float16: ir.DataType.FLOAT16, torch.bfloat16: ir.DataType.BFLOAT16}


@dataclass(frozen=True)
class Argument:
    """A tensor argument of the exported model: its example value and how it may vary.

    Attributes:
        other: a second value; the axes, besides that of the examples, along which it has another length are dynamic.
    """

    name: str
    example: Tensor
    attributed: bool
    per_example: bool
    other: Tensor | None = None

    @property
    def lengths(self) -> dict[int, str]:
        """The dynamic axes besides that of the examples, and a name for each: one for those of the same two lengths."""
        if self.other is None:
            return {}
        pairs = list(enumerate(zip(self.example.shape, self.other.shape, strict=True)))[int(self.per_example) :]
        return {axis: f"length_{one}_{another}" for axis, (one, another) in pairs if one != another}


def check_export(
    model: ir.Model, forward: Callable[..., Tensor], arguments: Sequence[Argument], dynamic_batch: bool
) -> None:
    """Compare ``model`` with ``forward`` on other values than the examples, and other batch sizes if dynamic.

    Raises:
        ModelError: they differ by more than 1e-4 of the output's maximum (in float32), or cannot be compared.
    """
    evaluate = evaluator(model)
    size = max((a.example.shape[0] for a in arguments if a.per_example), default=1)
    generator = torch.Generator().manual_seed(20)
    # The first probe must succeed. Others may be refused by torch itself: one example alone where
    # normalisation needs two, a mask or length redrawn to what the model does not take.
    plan = [(size + 1, False), (1, False), (size + 1, True)] if dynamic_batch else [(size, False), (size, True)]
    for number, (batch, redraw_all) in enumerate(plan):
        if redraw_all and all(argument.attributed for argument in arguments):
            continue
        tensors = [_vary(argument, batch, redraw_all, generator) for argument in arguments]
        try:
            expected = run_torch(forward, tensors)
        except Exception as error:  # the user's own code
            if number:
                continue
            raise ModelError(f"the torch model itself fails on {batch} examples ({_first_line(error)})") from error
        feeds = {argument.name: tensor for argument, tensor in zip(arguments, tensors, strict=True)}
        actual = evaluate(feeds)
        if batch == 1 and expected.dim() + 1 == actual.ndim:  # torch's squeeze() dropped the batch
            expected = expected[None]
        allowed = tolerance([expected, *tensors], halves_inside(model))
        compare(expected, actual, allowed, f"{batch} example{'s' if batch > 1 else ''}", must=not number)
    if dynamic_batch:
        _require_any_order(model, forward, arguments, evaluate)
    if any(argument.other is not None for argument in arguments):
        others = {a.name: a.example if a.other is None else a.other for a in arguments}
        expected = run_torch(forward, list(others.values()))
        compare(
            expected,
            evaluate(others),
            tolerance([expected, *others.values()], halves_inside(model)),
            "other lengths",
            must=True,
        )


def _require_any_order(
    model: ir.Model,
    forward: Callable[..., Tensor],
    arguments: Sequence[Argument],
    evaluate: Callable[[dict[str, Tensor]], Array],
) -> None:
    """Where examples do not go in every order, each must still be itself in those orders in which they do.

    Lengths that have to be sorted are that; offsets, by which an example ends where the next begins, are not.

    Raises:
        ModelError: an example's output depends on its neighbours, or the model differs from ``forward`` in some order.
    """
    size = max((a.example.shape[0] for a in arguments if a.per_example), default=1)

    def picked(rows: Tensor) -> dict[str, Tensor]:
        return {a.name: a.example[rows.to(a.example.device)] if a.per_example else a.example for a in arguments}

    again = picked(torch.arange(size + 1) % size)
    try:
        expected = run_torch(forward, list(again.values()))
    except Exception:  # the user's own code does not take this order
        rows = stretched(size, size + 1)
    else:
        compare(
            expected,
            evaluate(again),
            tolerance([expected, *again.values()], halves_inside(model)),
            "any order",
            must=False,
        )
        return
    whole = run_torch(forward, [a.example for a in arguments])
    found = run_torch(forward, list(picked(rows).values()))
    fits = whole.dim() and len(whole) == size and found.shape[1:] == whole.shape[1:] and len(found) == len(rows)
    if not fits or not torch.allclose(found.double(), whole[rows].double(), rtol=1e-3, atol=1e-5, equal_nan=True):
        raise ModelError("the torch model's examples go in one order alone, and each depends on its neighbours")


def _vary(argument: Argument, batch: int, redraw_all: bool, generator: torch.Generator) -> Tensor:
    """The example as ``batch`` examples; redrawn within its own range if attributed or asked for."""
    value = argument.example.detach().cpu()
    if argument.per_example:
        value = value[stretched(value.shape[0], batch)]
    if value.numel() and (argument.attributed or redraw_all):
        value = redrawn(value, generator)
    return value.to(argument.example.device)


def stretched(given: int, wanted: int) -> Tensor:
    """Which of the ``given`` examples to take for ``wanted``: in order, because lengths may have to be sorted."""
    return torch.arange(wanted) * given // wanted


def redrawn(value: Tensor, generator: torch.Generator) -> Tensor:
    """Other values in the range of ``value``, a CPU tensor; of a mask of 0 and −∞ the same in another order."""
    uniform = torch.rand(value.shape, generator=generator, dtype=torch.float64)
    if value.is_complex():
        return value
    low, high = (float(limit) for limit in torch.aminmax(value.double()))
    if value.is_floating_point():
        if not (math.isfinite(low) and math.isfinite(high)):  # a mask of 0 and −∞: its values in another order
            order = torch.randperm(value.numel(), generator=generator)
            return value.flatten()[order].reshape(value.shape)
        if low == high:
            low, high = (low - 1, high + 1) if low == 0 else (low * 0.5, high * 1.5)
        return (low + (high - low) * uniform).to(value.dtype)
    if value.dtype == torch.bool or (low >= 0 and high <= 1):  # a mask: never all masked
        drawn = uniform > 0.4
        drawn[..., 0] = True
        return drawn.to(value.dtype)
    return (low + (high - low + 1) * uniform).floor().clamp(low, high).to(value.dtype)


def run_torch(forward: Callable[..., Tensor], tensors: Sequence[Tensor]) -> Tensor:
    """``forward(*tensors)`` in full precision, without gradients, on the CPU."""
    with torch.no_grad(), in_full_precision():
        return forward(*tensors).detach().cpu()


def in_full_precision() -> contextlib.AbstractContextManager[None]:
    """A block without TF32, which would hide small mistakes."""
    if not torch.cuda.is_initialized():  # nothing is on a device
        return contextlib.nullcontext()
    cudnn = torch.backends.cudnn
    flags: contextlib.AbstractContextManager[None] = cudnn.flags(enabled=cudnn.enabled, allow_tf32=False)
    return flags


def compare(expected: Tensor, actual: Array, allowed: float, where: str, must: bool) -> None:
    """Raise ModelError where ``actual`` is not ``expected``; ``must``: nor where that has no finite value.

    ``allowed``: the difference, relative to the largest output.
    """
    if tuple(expected.shape) != actual.shape:
        raise ModelError(f"on {where} the exported model returns {actual.shape}, torch {tuple(expected.shape)}")
    wanted, got = expected.double().numpy(), actual.astype(np.float64)
    judged = np.isfinite(wanted)
    if not judged.any():
        if must and wanted.size:
            raise ModelError(f"on {where} torch's output has no finite value: the export cannot be checked")
        return
    largest = np.abs(wanted[judged]).max()
    worst = np.abs(got - wanted)[judged].max()
    if not worst <= allowed * max(largest, 1e-12):
        raise ModelError(
            f"on {where} the exported model differs from torch by {worst:.2g} (largest output {largest:.2g}, "
            f"tolerance {allowed:g} of it)"
        )


def tolerance(tensors: Sequence[Tensor], halves: frozenset[torch.dtype]) -> float:
    """How far, relative to the largest output, two computations of these types may lie apart.

    ``halves``: those that a model computes in inside, as :func:`halves_inside` tells.
    """
    return max((_TOLERANCE[t] for t in {t.dtype for t in tensors} | halves if t in _TOLERANCE), default=0.0)


def halves_inside(model: ir.Model) -> frozenset[torch.dtype]:
    """The half precisions that ``model`` computes in, under autocast perhaps."""
    inside: set[int | None] = set()
    for node in model.graph.all_nodes():
        inside |= {y.dtype for y in node.outputs}
        if node.op_type == "Cast":  # where types were not inferred
            inside.add(node.attributes["to"].as_int())
    return frozenset(half for half, name in _HALVES.items() if name in inside)


def evaluator(model: ir.Model) -> Callable[[dict[str, Tensor]], Array]:
    """Runs ``model`` in ONNX Runtime, or in the standard's reference evaluator where a type has no kernel."""
    output = model.graph.outputs[0].name
    assert output is not None
    runnable = model.clone()
    SpellOutFloat64Pass()(runnable)
    try:
        session = Session(runnable, provider="cpu")
    except ModelError as error:
        if not lacks_kernel(error):
            raise
        reference = ReferenceEvaluator(ir.to_proto(model))
        return lambda feeds: reference.run([output], {n: _array(t) for n, t in feeds.items()})[0]
    return lambda feeds: session.run({n: _array(t) for n, t in feeds.items()}, [output])[output]


def _array(tensor: Tensor) -> Array:
    tensor = tensor.detach().cpu().contiguous()
    if tensor.dtype == torch.bfloat16:  # numpy has no such type; ml_dtypes' is what onnx uses
        bits: Array = tensor.view(torch.int16).numpy()
        return bits.view(ir.DataType.BFLOAT16.numpy())
    array: Array = tensor.numpy()
    return array


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:200]}"
