"""Where a layer's value is found and replaced: a tensor of an ONNX graph, or a module that a torch function calls.

The one idea: both come down to a method on inputs. The graph's is asked ``at`` the tensor; the function's is asked for
a function of the layer's value, that torch computes at x and at the baseline.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast

import numpy as np
import onnx_ir as ir

from onnx_ig.common import arrays
from onnx_ig.common.types import Array, SumOver
from onnx_ig.engine.forward import select
from onnx_ig.errors import InputError, UsageError, warn
from onnx_ig.graph.reading import is_float
from onnx_ig.loading.model import Model, load, tensor_called
from onnx_ig.methods import arguments
from onnx_ig.methods.gradients import InputXGradient, InputXPooledGradient
from onnx_ig.methods.integrated_gradients import IntegratedGradients
from onnx_ig.methods.method import Method
from onnx_ig.methods.sources import is_onnx

if TYPE_CHECKING:
    from torch import Tensor

    from onnx_ig.methods.pytorch.layers import AtLayers, Given, Layers, LayerValue

ByLayer = list[list[Any]]  # the attributions of each layer's tensors
_Kind = TypeVar("_Kind", bound=Method)


@dataclass(frozen=True)
class Asked(Generic[_Kind]):
    """What is asked about layers, as a method on inputs is asked it.

    Attributes:
        method: with ``inputs`` and ``additional`` as it is called.
        by_layer: what it answers, as the attributions of each layer's tensors.
        kept: a number per example in the kind of the caller's inputs.
    """

    method: _Kind
    inputs: Any
    additional: Any
    by_layer: Callable[[Any], ByLayer]
    baselines: Any = None
    kept: Callable[[Any], Any] = lambda numbers: numbers


class Places(Protocol):
    """The layers of one source; ``at_input`` asks for what a layer is given instead of what it gives.

    Attributes:
        averages: whether a layer's value follows inputs and baselines that the method itself draws and averages over.
    """

    averages: bool

    def gradient(
        self, at_input: bool, inputs: Any, additional: Any, *, pooled: bool = False, sum_over: SumOver | None = None
    ) -> Asked[InputXGradient]:
        """Value × gradient of each tensor of each layer, or the gradient alone.

        Args:
            pooled: the value × the mean of the gradient over axes 2 and on.
            sum_over: add up in the graph, where ``averages``.
        """

    def integral(
        self, at_input: bool, inputs: Any, baselines: Any, additional: Any, allow_nonfinite: bool
    ) -> Asked[IntegratedGradients]:
        """Integrated Gradients of each tensor of each layer, along the straight path of all of them together."""

    def delta(self, attributions: Any, baselines: Any, inputs: Any, target: Any, additional: Any) -> Any:
        """Σ attributions − (F(x) − F(x')), [N]."""

    def baseline_scores(self, baselines: Any, inputs: Any, target: Any, additional: Any) -> Any:
        """F(x'), [N], where a method on the layers' values is not told x'; else None."""


def places_of(forward_func: Any, layers: Sequence[Any], multiply: bool, options: dict[str, Any]) -> Places:
    """The ``layers`` of ``forward_func``.

    Raises:
        UsageError: layers that are not of the source's kind.
    """
    if is_onnx(forward_func):
        strange = [layer for layer in layers if not isinstance(layer, str)]
        if strange:
            raise UsageError(f"a layer of an ONNX model is the name of a tensor, not a {type(strange[0]).__name__}")
        return _InGraph(forward_func, list(layers), multiply, options)
    strange = [layer for layer in layers if not callable(getattr(layer, "register_forward_hook", None))]
    if strange:
        raise UsageError(f"a layer of a PyTorch model is one of its modules, not a {type(strange[0]).__name__}")
    return _InFunction(forward_func, tuple(layers), multiply, options)


class _InGraph:
    """Tensors of an ONNX graph by name."""

    averages = True

    def __init__(self, source: Any, names: list[str], multiply: bool, options: dict[str, Any]) -> None:
        self._model, self._names, self._multiply, self._options = load(source), names, multiply, options
        self._methods: dict[tuple[type[Method], bool, SumOver | None], Method] = {}

    def gradient(
        self, at_input: bool, inputs: Any, additional: Any, *, pooled: bool = False, sum_over: SumOver | None = None
    ) -> Asked[InputXGradient]:
        by_layer = functools.partial(self._by_layer, at_input)
        kind = InputXPooledGradient if pooled else InputXGradient
        return Asked(self._method(kind, at_input, sum_over), inputs, additional, by_layer)

    def integral(
        self, at_input: bool, inputs: Any, baselines: Any, additional: Any, allow_nonfinite: bool
    ) -> Asked[IntegratedGradients]:
        by_layer = functools.partial(self._by_layer, at_input)
        return Asked(self._method(IntegratedGradients, at_input), inputs, additional, by_layer, baselines)

    def delta(self, attributions: Any, baselines: Any, inputs: Any, target: Any, additional: Any) -> Any:
        method = next(iter(self._methods.values()), None) or self._method(IntegratedGradients, False)
        return method.compute_convergence_delta(attributions, baselines, inputs, target, additional)

    def baseline_scores(self, baselines: Any, inputs: Any, target: Any, additional: Any) -> Any:
        return None

    def _method(self, kind: type[_Kind], at_input: bool, sum_over: SumOver | None = None) -> _Kind:
        key = (kind, at_input, sum_over)
        if key not in self._methods:
            places = [name for layer in self._tensors(at_input) for name in layer]
            self._methods[key] = kind(self._model, self._multiply, at=places, sum_over=sum_over, **self._options)
        return cast(_Kind, self._methods[key])

    def _tensors(self, at_input: bool) -> list[list[str]]:
        return [_read_for(self._model, name) if at_input else [name] for name in self._names]

    def _by_layer(self, at_input: bool, values: Sequence[Any]) -> ByLayer:
        remaining = iter(values)
        return [[next(remaining) for _ in layer] for layer in self._tensors(at_input)]


def _read_for(model: Model, name: str) -> list[str]:
    """The float tensors, weights apart, that the node which computes ``name`` reads."""
    node = tensor_called(model, name).producer()
    read = [] if node is None else [v for v in node.inputs if v is not None and _moves(v)]
    if not read:
        what = "is an input of the model" if node is None else f"is computed by {node.op_type} from no float tensor"
        raise InputError(f"{name!r} {what}: leave attribute_to_layer_input out")
    return [str(v.name) for v in read]


def _moves(value: ir.Value) -> bool:
    return is_float(value) and value.const_value is None


def _pooled(gradient: Tensor) -> Tensor:
    """Its mean over axes 2 and on, which stay with size 1."""
    axes = tuple(range(2, gradient.ndim))
    return gradient.mean(axes, keepdim=True) if axes else gradient


class _InFunction:
    """Modules that a torch function calls, whose values torch computes once, at the inputs that are given."""

    averages = False

    def __init__(
        self, function: Callable[..., Any], modules: tuple[Any, ...], multiply: bool, options: dict[str, Any]
    ) -> None:
        self._function, self._modules, self._multiply, self._options = function, modules, multiply, options
        self._methods: dict[Any, tuple[AtLayers, Method]] = {}

    def gradient(
        self, at_input: bool, inputs: Any, additional: Any, *, pooled: bool = False, sum_over: SumOver | None = None
    ) -> Asked[InputXGradient]:
        layers, given = self._layers(at_input), self._given(inputs, additional)
        values = layers.values(given.arguments)
        at_layers, method = self._method(InputXGradient, layers, values, given.examples)
        tensors = [t for value in values for t in value.tensors]
        zeros = tuple(t.new_zeros(t.shape) for t in at_layers.by_example(tensors, given.examples))

        def by_layer(found: Any) -> ByLayer:
            gradients = at_layers.as_in_layer(found)
            if pooled:
                gradients = tuple(map(_pooled, gradients))
            if self._multiply:
                gradients = tuple(gradient * value for gradient, value in zip(gradients, tensors, strict=True))
            return given.answer(at_layers.by_layer(gradients))

        return Asked(method, zeros, given.arguments, by_layer, kept=given.kept)

    def integral(
        self, at_input: bool, inputs: Any, baselines: Any, additional: Any, allow_nonfinite: bool
    ) -> Asked[IntegratedGradients]:
        layers, given = self._layers(at_input), self._given(inputs, additional)
        values, start = layers.values(given.arguments), layers.values(given.at_baseline(baselines, allow_nonfinite))
        if [v.kind for v in start] != [v.kind for v in values]:
            raise InputError("the layers give other tensors at the baseline than at the inputs: no path joins them")
        if any(value.calls > 1 for value in values):
            warn(
                "a layer is called several times: its value is replaced in every call by that of the last, as Captum "
                "does; attributions then explain no single use of it"
            )
        at_layers, method = self._method(IntegratedGradients, layers, values, given.examples)
        end, begin = (
            at_layers.by_example([t for v in side for t in v.tensors], given.examples) for side in (values, start)
        )

        def by_layer(found: Any) -> ByLayer:
            return given.answer(at_layers.by_layer(at_layers.as_in_layer(found)))

        return Asked(method, end, given.arguments, by_layer, begin, given.kept)

    def delta(self, attributions: Any, baselines: Any, inputs: Any, target: Any, additional: Any) -> Any:
        given = self._given(inputs, additional)
        score, start = self._ends(given, baselines, target)
        parts = [arrays.to_array(a).reshape(given.examples, -1) for a in arrays.as_list(attributions)]
        total = sum(part.sum(axis=1, dtype=np.float64) for part in parts)
        delta = np.asarray(total - (score - start), parts[0].dtype)
        return given.kept(given.tensor(delta))

    def baseline_scores(self, baselines: Any, inputs: Any, target: Any, additional: Any) -> Any:
        given = self._given(inputs, additional)
        return given.kept(given.tensor(self._ends(given, baselines, target)[1]))

    def _ends(self, given: Given, baselines: Any, target: Any) -> tuple[Array, Array]:
        """F(x) and F(x') of the function itself."""
        output = given.output(self._function, given.arguments, self._options["output"])
        start = given.output(self._function, given.at_baseline(baselines), self._options["output"])
        rows = np.argmax(output, axis=-1) if isinstance(target, str) and target == "predicted" else target
        rows = arguments.broadcast_target(rows, given.examples, output.shape[1:])
        return select(output, rows), select(start, rows)

    def _given(self, inputs: Any, additional: Any) -> Given:
        from onnx_ig.methods.pytorch.layers import Given

        return Given.of(inputs, additional, self._function)

    def _layers(self, at_input: bool) -> Layers:
        from onnx_ig.methods.pytorch.layers import Layers

        return Layers(self._function, self._modules, at_input)

    def _method(
        self, kind: type[_Kind], layers: Layers, values: Sequence[LayerValue], examples: int
    ) -> tuple[AtLayers, _Kind]:
        """F of the layers' values, and the method that explains it; one for all calls with values of the same kinds."""
        from onnx_ig.methods.pytorch.layers import AtLayers

        at_layers = AtLayers(layers, values, examples, added=kind is InputXGradient)
        key = (kind, layers.at_input, at_layers.kind)
        if key not in self._methods:
            self._methods[key] = (
                at_layers,
                kind(at_layers, kind is IntegratedGradients and self._multiply, **self._options),
            )
        return cast("tuple[AtLayers, _Kind]", self._methods[key])
