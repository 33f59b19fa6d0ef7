"""The exports of a torch function that are kept: a few per function, for every object that explains it.

The one idea: whether an export may serve a call is guessed from the arguments' kinds and from what the function's
modules show without looking at their data; whether it is right is then measured (:mod:`onnx_ig.methods.pytorch.guard`).
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from onnx_ig.attribution.layout import ONE_EXAMPLE, dims_of
from onnx_ig.common.kept import Kept
from onnx_ig.common.types import Array
from onnx_ig.errors import InputError, ModelError
from onnx_ig.loading.model import Model, load_torch
from onnx_ig.methods.bound import ENGINES_KEPT
from onnx_ig.pytorch.check import BATCH, halves_inside, in_full_precision, run_torch
from onnx_ig.pytorch.decisions import Read, recorded
from onnx_ig.pytorch.own_derivative import own_derivatives, watched
from onnx_ig.pytorch.quiet import EXPORT_LOCK
from onnx_ig.pytorch.rows import rows_by_shape, rows_of
from onnx_ig.pytorch.source import call_once, find_modules, pick_output

_KEPT = 4  # an export holds a copy of the weights; a loop over many signatures must not collect them
_MOST_ELEMENTS = 1 << 21  # of the inputs in one evaluation by torch: its activations take many times their memory
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class Call:
    """``function(*inputs, *additional)``, and which of its results: the call that an export is to serve.

    Attributes:
        fed: the tensors among the arguments: the exported model's inputs, in order.
        examples: how many the first input holds on axis 0; one if all rows are ``one_example``.
        signature: what an export depends on: type and trailing shape of each tensor, the value of anything else.
        per_example: of the tensors ``fed``, which have a row per example: as ``rows`` says of each argument, else as
            shapes tell.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        inputs: tuple[Tensor, ...],
        additional: tuple[Any, ...],
        output: str | int | None = None,
        *,
        one_example: bool = False,
        rows: Sequence[bool] | None = None,
    ) -> None:
        self.function, self.inputs, self.additional, self.output = function, inputs, additional, output
        self._arguments = (*inputs, *additional)
        self.fed = [a for a in self._arguments if isinstance(a, Tensor)]
        self.one_example = one_example
        self.examples = inputs[0].shape[0] if inputs[0].dim() and not one_example else 1
        if one_example:
            rows = [False] * len(self._arguments)
        self._rows = list(rows) if rows is not None else rows_by_shape(self._arguments, len(inputs))
        self.signature = (output, *(kind(a, has) for a, has in zip(self._arguments, self._rows, strict=True)))

    @property
    def per_example(self) -> list[bool]:
        """See above."""
        return [has for a, has in zip(self._arguments, self._rows, strict=True) if isinstance(a, Tensor)]

    def asked(self) -> Call:
        """The same call with the rows that the function itself shows its additional arguments to have."""
        if self.one_example:
            return self
        known = len(self.inputs)
        rows = rows_of(
            self._arguments,
            known,
            lambda arguments: self._evaluate([a for a in arguments if isinstance(a, Tensor)]),
            certain=known,
        )
        return self if rows == self._rows else Call(self.function, self.inputs, self.additional, self.output, rows=rows)

    def evaluate(self, fed: Sequence[Tensor]) -> Tensor:
        """The function's output with these in place of the tensors among the arguments, on the CPU.

        Raises:
            InputError: the function fails.
        """
        if sum(a.numel() for a in fed) <= _MOST_ELEMENTS:
            return self._evaluate(fed)
        elements = sum(a[:1].numel() for a, rows in zip(fed, self.per_example, strict=True) if rows)
        most = max(1, _MOST_ELEMENTS // max(elements, 1))
        count = next((len(a) for a, rows in zip(fed, self.per_example, strict=True) if rows), 1)
        if count <= most:
            return self._evaluate(fed)
        return torch.cat([self._evaluate(self.rows(fed, slice(i, i + most))) for i in range(0, count, most)])

    def _evaluate(self, fed: Sequence[Tensor]) -> Tensor:
        arguments = self._with([a.clone() for a in fed])  # the function may write into what it is given
        with EXPORT_LOCK:
            return run_torch(lambda: pick_output(call_once(self.function, arguments), self.output)[1], ())

    def rows(self, fed: Sequence[Tensor], rows: slice) -> list[Tensor]:
        """Some of the examples."""
        return [a[rows] if per_example else a for a, per_example in zip(fed, self.per_example, strict=True)]

    def some_examples(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Copies of the inputs and additional arguments, of two examples at most."""
        arguments = self._with([a.clone() for a in self.rows(self.fed, slice(0, 2))])
        return tuple(arguments[: len(self.inputs)]), tuple(arguments[len(self.inputs) :])

    def own_derivatives(self) -> list[str]:
        """What makes autograd's gradient another than the function's derivative, by name, on two examples at most."""
        with EXPORT_LOCK:
            return own_derivatives(self._picked, self.rows(self.fed, slice(0, 2)))

    def evaluate_watched(self, fed: Sequence[Tensor], times: int) -> tuple[list[Tensor], list[str]]:
        """:meth:`evaluate` for so many values of the inputs at once, and :meth:`own_derivatives` of that.

        Args:
            fed: as there, but that the inputs have ``times`` as many rows as there are examples.

        Raises:
            InputError: the function does not take them together, or not with autograd.
        """
        known = len(self.inputs)
        additional = zip(fed[known:], self.per_example[known:], strict=True)
        joined = [*fed[:known], *(torch.cat([a] * times) if rows else a for a, rows in additional)]
        try:
            with EXPORT_LOCK, in_full_precision():
                result, own = watched(self._picked, joined)
            return list(result.reshape(times, self.examples, *result.shape[1:])), own
        except Exception as error:  # the user's own code
            raise InputError(f"the model does not take rows of several path points together: {error}") from error

    def _picked(self, *fed: Tensor) -> Tensor:
        return pick_output(self.function(*self._with(fed)), self.output)[1]

    def _with(self, fed: Sequence[Tensor]) -> list[Any]:
        """The arguments with these in place of the tensors among them."""
        remaining = iter(fed)
        return [next(remaining) if isinstance(a, Tensor) else a for a in self._arguments]

    def takes_one_example(self) -> bool:
        """Whether the function gives one row for the first example alone."""
        try:
            return bool(self.per_example[0]) and len(self.evaluate(self.rows(self.fed, slice(0, 1)))) == 1
        except InputError:  # statistics over the batch, say
            return False

    def require_row_each(self, result: Tensor) -> None:
        """Refuse a ``result`` that has not one row for each example.

        Raises:
            InputError: it has another number of them.
        """
        squeezed = self.examples == 1 and result.dim() < 2  # the classes of one example
        if not (self.one_example or squeezed) and result.dim() and len(result) != self.examples:
            raise InputError(
                f"the model mixes examples: its output has shape {list(result.shape)} for {self.examples} row(s), so "
                f"axis 0 is not a batch of independent examples. {ONE_EXAMPLE}, and the target an index of that whole "
                f"output, such as {tuple([0] * result.dim())}"
            )

    def require_rows_apart(self) -> None:
        """Refuse a function whose output for the first example depends on the others: no export would help.

        Where it decides in Python by its data, that is what stands in the way of one.

        Raises:
            InputError: it does, or the function itself fails.
        """
        with recorded(self.fed) as reads:
            whole = self.evaluate(self.fed)
        self.require_row_each(whole)
        decides = any(isinstance(read.value, bool) and read.arguments and not read.in_graph for read in reads)
        if self.examples > 1 and whole.dim() and not decides and self.takes_one_example():
            alone = self.evaluate(self.rows(self.fed, slice(0, 1)))
            if alone.dim() < whole.dim():  # one row's own axis may be squeezed
                alone = alone[None]
            same = alone.shape == whole[:1].shape
            if not same or not torch.allclose(alone.double(), whole[:1].double(), rtol=1e-3, atol=1e-5, equal_nan=True):
                raise InputError(
                    "the model mixes examples: its output for the first row alone is another than beside the others. "
                    f"{ONE_EXAMPLE}"
                )

    def kind_of(self, result: Tensor) -> Any:
        """The kind of what the function returned."""
        return kind(result, not self.one_example and rows_by_shape((self.inputs[0], result), 1)[1])


def kind(value: Any, rows: bool) -> Any:
    """Type and trailing shape of a tensor, which has a row per example or not; the value of anything else."""
    if isinstance(value, Tensor):
        return _Kind(value.dtype, tuple(value.shape[1:]) if rows else tuple(value.shape), rows)
    return (type(value), repr(value))


class _Kind(NamedTuple):
    """Of a tensor: its type, its shape (of one example if it has one row for each), and whether it has."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    rows: bool


_Signature: TypeAlias = tuple[Any, ...]  # a _Kind for each tensor, the value of anything else
_Lengths: TypeAlias = list[list[tuple[int, int]]]


@dataclass(eq=False)
class Export:
    """An exported model, and what is known of the function that it was exported from.

    Attributes:
        signature: of the call that it was made for; ``output``: the kind of its result.
        state: of the function's modules then.
        reads: what the function read of its arguments into Python then.
        lengths: the dynamic axes besides the examples', as places in the signature; those of one length together.
        noise: the largest difference from torch seen so far, relative to the output; None: not compared yet.
        noise_of_scores: the same of what was explained, relative to that of each example; ``least``: differences of it
            that were let pass, absolute, where it nearly vanishes.
        halves: the half precisions that the model computes in.
        engines: opened for the model, by all objects that explain the function.
    """

    model: Model
    signature: _Signature
    output: Any
    state: tuple[Any, ...]
    reads: list[Read]
    lengths: _Lengths
    noise: float | None = None
    noise_of_scores: float = 0.0
    least: float = 0.0
    engines: Kept[Any] = field(default_factory=lambda: Kept(ENGINES_KEPT))

    @functools.cached_property
    def halves(self) -> frozenset[torch.dtype]:
        """See above."""
        return halves_inside(self.model.ir_model)

    def takes(self, signature: _Signature) -> bool:
        """Whether it was made for calls of this signature; lengths of one are left to exports of their own."""
        if not self.lengths or not _alike(self.signature, signature):
            return self.signature == signature
        given = [{signature[i].shape[axis] for i, axis in places} for places in self.lengths]
        changed = {(i, axis) for i, axis, _ in _differing(self.signature, signature)}
        return changed <= {place for places in self.lengths for place in places} and all(
            len(sizes) == 1 and sizes != {1} for sizes in given
        )


def _alike(first: _Signature, second: _Signature) -> bool:
    """Whether two signatures differ in nothing but lengths."""
    return _without_lengths(first) == _without_lengths(second)


def _without_lengths(signature: _Signature) -> _Signature:
    return tuple((k.dtype, len(k.shape), k.rows) if isinstance(k, _Kind) else k for k in signature)


def _differing(first: _Signature, second: _Signature) -> list[tuple[int, int, tuple[int, int]]]:
    """Place in the signature, axis, and the two lengths, wherever they differ."""
    pairs = [(i, a, b) for i, (a, b) in enumerate(zip(first, second, strict=True)) if isinstance(a, _Kind)]
    return [
        (i, axis, (one, another))
        for i, a, b in pairs
        for axis, (one, another) in enumerate(zip(a.shape, b.shape, strict=True))
        if one != another
    ]


def _dynamic_axes(model: Model, signature: _Signature) -> _Lengths:
    """Those of the model's inputs, by place in the signature; none where a length is computed from others."""
    kinds = [(i, kind) for i, kind in enumerate(signature) if isinstance(kind, _Kind)]
    together: dict[str, list[tuple[int, int]]] = {}
    for (i, kind), x in zip(kinds, model.inputs, strict=True):
        for axis, size in enumerate(dims_of(x)[int(kind.rows) :]):
            if isinstance(size, str) and size != BATCH:
                together.setdefault(size, []).append((i, axis))
    return list(together.values()) if all(map(str.isidentifier, together)) else []


class Exports:
    """The exports of one function, the last used last; threads may share them."""

    _of_owner: WeakIdKeyDictionary = WeakIdKeyDictionary()

    def __init__(self) -> None:
        self._kept: list[Export] = []
        # by signature without lengths: the last call that was exported, and those that torch cannot export dynamic
        self._seen: dict[_Signature, tuple[_Signature, tuple[Any, Any]]] = {}
        self._not_dynamic: set[_Signature] = set()

    @classmethod
    def of(cls, function: Any) -> Exports:
        """The same for every object that explains ``function``, as long as the function lives."""
        bound = isinstance(function, types.MethodType)  # made anew by every look-up: owner.method
        owner, part = (function.__self__, function.__func__) if bound else (function, None)
        with EXPORT_LOCK:
            try:
                return cls._of_owner.setdefault(owner, {}).setdefault(part, cls())
            except TypeError:  # no weak reference to it can be held
                return cls()

    def find_or_make(self, call: Call) -> tuple[Call, Export, Tensor]:
        """An export for arguments of these kinds, and the function's modules as they are; the call, its additional
        arguments without rows where they have none; and its result."""
        with EXPORT_LOCK:
            state = _state(call.function)
            # older parameters are gone for good
            self._kept = [export for export in self._kept if export.state == state]
            found = self._found(call)
            if found is None:
                call = call.asked()
                found = self._found(call)
            result = None if found is None else call.evaluate(call.fed)
            if found is None or result is None or not (found.lengths or call.kind_of(result) == found.output):
                found, result = self._made(call)
            self._kept = [*(export for export in self._kept if export is not found), found][-_KEPT:]
            return call, found, result

    def _found(self, call: Call) -> Export | None:
        return next((export for export in self._kept if export.takes(call.signature)), None)

    def _made(self, call: Call) -> tuple[Export, Tensor]:
        """A new export; the guard refuses calls that decide otherwise than the one that it is made for."""
        model = self._for_seen_lengths(call)
        if model is None:
            inputs = tuple(x.clone() for x in call.inputs)  # the function may write into what it is given
            options = {"output": call.output, "keep_decisions": True, "per_example": call.per_example}
            model = load_torch(call.function, inputs, call.additional, any_length=True, **options)
        with recorded(call.fed) as reads:
            result = call.evaluate(call.fed)
        self._seen[_without_lengths(call.signature)] = call.signature, call.some_examples()
        lengths = _dynamic_axes(model, call.signature)
        return Export(model, call.signature, call.kind_of(result), _state(call.function), reads, lengths), result

    def _for_seen_lengths(self, call: Call) -> Model | None:
        """For a call that differs in nothing but lengths from one before; None where torch cannot."""
        kind = _without_lengths(call.signature)
        if kind not in self._seen or kind in self._not_dynamic:
            return None
        signature, second = self._seen[kind]
        differing = _differing(call.signature, signature)
        if not differing or any(1 in lengths for *_, lengths in differing):  # torch takes such an axis for a constant
            return None
        first = call.some_examples()
        options = {"output": call.output, "keep_decisions": True, "per_example": call.per_example}
        try:
            return load_torch(call.function, *first, second_example=second, **options)
        except ModelError:
            self._not_dynamic.add(kind)
            return None

    def drop(self, export: Export) -> None:
        """Forget an export that is found to be of another function."""
        with EXPORT_LOCK:
            self._kept = [kept for kept in self._kept if kept is not export]


def _state(function: Callable[..., Any]) -> tuple[Any, ...]:
    """Identity and version of parameters and buffers, and hooks, which may change the gradient alone."""
    found: list[Any] = []
    for _, module in find_modules(function):
        if isinstance(module, nn.Module):
            for part in _parts(module):
                for tensors in (part._parameters, part._buffers):
                    found += [(id(t), t._version, t.data_ptr()) for t in tensors.values() if t is not None]
                found.append(getattr(part, "training", False))  # judged at export
                for hooks in _HOOKS:
                    found += map(id, getattr(part, hooks, {}).values())
    return tuple(found)


def _parts(module: nn.Module) -> Iterable[nn.Module]:
    """As :meth:`torch.nn.Module.modules`, which takes as long as a small network's forward pass."""
    found = {id(module): module}
    waiting = [module]
    while waiting:
        for part in waiting.pop()._modules.values():
            if part is not None and id(part) not in found:
                found[id(part)] = part
                waiting.append(part)
    return found.values()


def as_tensor_like(value: Array, given: Tensor) -> Tensor:
    """The array as a tensor of the type of ``given``, on its device."""
    if given.dtype == torch.bfloat16:
        value = value.astype(np.float32)
    return torch.from_numpy(np.array(value)).to(device=given.device, dtype=given.dtype)
