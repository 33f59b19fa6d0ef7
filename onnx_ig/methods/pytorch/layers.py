"""Layers of a torch module as inputs of a function: what they hold at some inputs, and F with other values there.

The one idea: a forward hook sees a layer's value and may replace it, so the function of a layer's value that Captum
integrates is a callable like any other, and is exported and explained like one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from onnx_ig.common.arrays import as_tuple, inputs_as_tuple, to_array
from onnx_ig.errors import InputError, ModelError, UsageError
from onnx_ig.methods.arguments import broadcast_baselines, require_examples
from onnx_ig.methods.pytorch.tensors import as_tensors
from onnx_ig.pytorch.source import call_once, pick_output

_Replace = Callable[[int, Any], Any]  # the number of a layer and its value: what stands in its place


@dataclass(frozen=True)
class LayerValue:
    """What a layer gave, or was given, in its last call during one evaluation.

    Attributes:
        value: a tensor, or a tuple or list with tensors.
        calls: how often the layer was called.
    """

    value: Any
    calls: int

    @property
    def tensors(self) -> list[Tensor]:
        """Its floating tensors."""
        return [v for v in _parts(self.value) if _is_float(v)]

    @property
    def kind(self) -> tuple[Any, ...]:
        """Equal for values that the same function takes."""
        return (self.calls, type(self.value), tuple(_is_float(v) for v in _parts(self.value)))


@dataclass(frozen=True)
class Layers:
    """Some layers of what ``function`` calls, each at its input or output.

    Attributes:
        function: an nn.Module or a callable that calls the layers.
        modules: the layers.
        at_input: their positional arguments, instead of what they return.
    """

    function: Callable[..., Any]
    modules: tuple[nn.Module, ...]
    at_input: bool

    def values(self, arguments: Sequence[Any]) -> list[LayerValue]:
        """The layers' values at ``function(*arguments)``.

        Raises:
            UsageError: a layer is not called.
            ModelError: a layer's value is none of tensors, tuples and lists.
            InputError: ``function`` fails on ``arguments``; a layer's value holds no floating tensor.
        """
        seen: dict[int, LayerValue] = {}

        def note(number: int, value: Any) -> None:
            calls = seen[number].calls + 1 if number in seen else 1
            seen[number] = LayerValue(_cloned(value), calls)

        with self._hooked(note):
            call_once(self.function, arguments)
        where = "input" if self.at_input else "output"
        for number, module in enumerate(self.modules):
            if number not in seen:
                raise UsageError(f"layer {number} (a {type(module).__name__}) is not called by the forward function")
            value = seen[number].value
            if not isinstance(value, (Tensor, tuple, list)):
                raise ModelError(f"the {where} of a {type(module).__name__} is a {type(value).__name__}: no tensor")
            if not seen[number].tensors:
                other = "" if self.at_input else " Attribute at a layer behind it."
                kinds = ", ".join(str(getattr(v, "dtype", type(v).__name__)) for v in _parts(value)) or "nothing"
                raise InputError(
                    f"the {where} of a {type(module).__name__} holds {kinds}: only floating tensors given by position "
                    f"have gradients.{other or ' Leave attribute_to_layer_input out to attribute to its output.'}"
                )
        return [seen[number] for number in range(len(self.modules))]

    @contextmanager
    def _hooked(self, replace: _Replace) -> Iterator[None]:
        """``replace`` sees each layer's value in this thread's calls; what it returns, unless None, stands instead."""
        thread = threading.get_ident()

        def at_input(number: int) -> Any:
            return lambda module, given: replace(number, given) if threading.get_ident() == thread else None

        def at_output(number: int) -> Any:
            return lambda module, given, got: replace(number, got) if threading.get_ident() == thread else None

        hooks = [
            module.register_forward_pre_hook(at_input(i))
            if self.at_input
            else module.register_forward_hook(at_output(i))
            for i, module in enumerate(self.modules)
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


class AtLayers:
    """F with tensors put into its layers: ``(*tensors, *arguments)`` → what the function returns at ``arguments``.

    ``added``: the tensors are added to the values of the last call (their gradient at zero is that of the layer);
    else they replace the values in every call, as Captum's LayerIntegratedGradients has it.

    A layer whose axis 0 holds m rows for each of N examples is put in as [N, m, ...].
    """

    def __init__(self, layers: Layers, values: Sequence[LayerValue], examples: int, *, added: bool) -> None:
        self._layers, self._added = layers, added
        self._calls = [value.calls for value in values]
        self._kinds = tuple(value.kind for value in values)
        self._counts = [len(value.tensors) for value in values]
        self._several = [_rows(tensor, examples) > 1 for value in values for tensor in value.tensors]

    @property
    def kind(self) -> tuple[Any, ...]:
        """Equal for those that are the same function."""
        return (self._kinds, tuple(self._several))

    def by_example(self, tensors: Sequence[Tensor], examples: int) -> tuple[Tensor, ...]:
        """The layers' tensors with one row per example."""
        pairs = zip(tensors, self._several, strict=True)
        return tuple(t.unflatten(0, (examples, -1)) if several else t for t, several in pairs)

    def as_in_layer(self, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The way back from :meth:`by_example`."""
        return tuple(t.flatten(0, 1) if several else t for t, several in zip(tensors, self._several, strict=True))

    def by_layer(self, tensors: Sequence[Tensor]) -> list[tuple[Tensor, ...]]:
        """The tensors of each layer."""
        remaining = iter(tensors)
        return [tuple(next(remaining) for _ in range(count)) for count in self._counts]

    def __call__(self, *arguments: Any) -> Any:
        total = len(self._several)
        own = self.by_layer(self.as_in_layer(arguments[:total]))
        calls = [0] * len(own)

        def replace(number: int, value: Any) -> Any:
            calls[number] += 1
            if self._added and calls[number] < self._calls[number]:
                return None
            put = iter(own[number])
            replaced = [
                v if not _is_float(v) else v + next(put) if self._added else next(put).clone() for v in _parts(value)
            ]
            return _rebuilt(value, replaced)

        with self._layers._hooked(replace):
            return self._layers.function(*arguments[total:])


@dataclass(frozen=True)
class Given:
    """What a method was called with, as a torch function's arguments.

    Attributes:
        inputs: the attributed ones; the first has the examples on axis 0.
        additional: the others, which need not be tensors.
        arrays: the inputs were arrays, and so are the answers.
    """

    inputs: tuple[Tensor, ...]
    additional: tuple[Any, ...]
    arrays: bool

    @classmethod
    def of(cls, inputs: Any, additional: Any, function: Callable[..., Any]) -> Given:
        """``function``'s arguments in Captum's forms."""
        values = inputs_as_tuple(inputs)
        if not values:
            raise InputError("inputs is empty: give a tensor or a tuple of tensors")
        tensors = as_tensors(values, function)
        require_examples({f"{i}": tensor.shape for i, tensor in enumerate(tensors)})
        if not tensors[0].dim():
            raise InputError("the first input is a single number: give tensors with the examples on axis 0")
        extra = tuple(a.detach() if isinstance(a, Tensor) else a for a in as_tuple(additional))
        return cls(tensors, extra, not isinstance(values[0], Tensor))

    @property
    def examples(self) -> int:
        """N."""
        return self.inputs[0].shape[0]

    @property
    def arguments(self) -> tuple[Any, ...]:
        """All of them."""
        return (*self.inputs, *self.additional)

    def at_baseline(self, baselines: Any, allow_nonfinite: bool = False) -> tuple[Any, ...]:
        """All of them, the inputs at their baselines.

        Raises:
            InputError: baselines of another shape.
        """
        names = [f"input_{i}" for i in range(len(self.inputs))]
        arrays = {name: to_array(x) for name, x in zip(names, self.inputs, strict=True)}
        found = broadcast_baselines(arrays, baselines, allow_nonfinite).values()
        start = (self.tensor(b, x).expand(x.shape) for b, x in zip(found, self.inputs, strict=True))
        return (*start, *self.additional)

    def tensor(self, array: Any, like: Tensor | None = None) -> Tensor:
        """``array`` on the device of ``like``, and of its type."""
        tensor = torch.as_tensor(array)
        return tensor.to(self.inputs[0].device) if like is None else tensor.to(like.device, like.dtype)

    def output(self, function: Callable[..., Any], arguments: Sequence[Any], output: Any) -> Any:
        """The output that ``output`` names at ``arguments``, an array [N, ...]."""
        array = to_array(pick_output(call_once(function, arguments), output)[1])
        return array if array.ndim else array[None]

    def answer(self, by_layer: Sequence[Sequence[Tensor]]) -> list[list[Any]]:
        """Each layer's tensors in the inputs' kind."""
        return [[self.kept(t) for t in layer] for layer in by_layer]

    def kept(self, tensor: Any) -> Any:
        """One tensor in the inputs' kind."""
        return to_array(tensor) if self.arrays else tensor


def _rows(tensor: Tensor, examples: int) -> int:
    """How many rows of ``tensor`` belong to one example."""
    size = tensor.shape[0] if tensor.dim() else 0
    if not size or size % examples:
        raise InputError(
            f"the layer's tensor has shape {list(tensor.shape)} for {examples} examples: its axis 0 must hold the "
            "examples, or some rows for each; attribute at a layer that has them there"
        )
    return size // examples


def _parts(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (tuple, list)) else [value]


def _is_float(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _rebuilt(value: Any, parts: list[Any]) -> Any:
    """``parts`` in the form of ``value``."""
    if not isinstance(value, (tuple, list)):
        return parts[0]
    return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)


def _cloned(value: Any) -> Any:
    """A copy that later layers which work in place do not change."""
    return _rebuilt(value, [v.detach().clone() if isinstance(v, Tensor) else v for v in _parts(value)])


def resized(attribution: Any, size: Any, mode: str) -> Any:
    """``attribution`` [N, channels, ...] resized to ``size`` by torch's interpolate; arrays stay arrays."""
    if isinstance(attribution, Tensor):
        return nn.functional.interpolate(attribution, size, mode=mode)
    return nn.functional.interpolate(torch.as_tensor(attribution), size, mode=mode).numpy()
