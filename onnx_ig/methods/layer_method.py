"""What attributing to layers shares: the layers, and the forms in which they are given and answered.

The one idea: a layer's attribution is that of its value as an input; where that value is found is
:mod:`onnx_ig.methods.layer_places`' matter.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from onnx_ig.common.arrays import inputs_as_tuple, to_array
from onnx_ig.common.types import Algorithm, Array
from onnx_ig.engine.averaged import Noise
from onnx_ig.errors import UsageError
from onnx_ig.methods.answers import described
from onnx_ig.methods.batches import Batches
from onnx_ig.methods.captum_family import CaptumMember
from onnx_ig.methods.explanation import Explanation
from onnx_ig.methods.layer_places import Asked, ByLayer, Places, places_of
from onnx_ig.methods.sources import picklable, unpickled
from onnx_ig.runtime.session import ProviderSpec

# torch.autograd.grad's, which choose how its graph is kept; what it computes is the same.
_GRAD_KEYWORDS = ("retain_graph", "allow_unused", "materialize_grads")


class LayerMethod(Batches, CaptumMember):
    """What both methods share: the layers, and the forms in which they are given and answered.

    Args:
        forward_func: an nn.Module, a callable on tensors, or anything :func:`onnx_ig.load` takes.
        layer: a module that ``forward_func`` calls, or a list of such; of an ONNX source the name of a float tensor
            inside the graph, or a list of names.
        device_ids: taken for Captum's sake; devices are the provider's.
        multiply_by_inputs: False leaves out the factor: the layer's value, or its change from the baseline.
        output, provider, batch_axis: see :class:`onnx_ig.methods.method.Method`.

    Raises:
        UsageError: layers that are not of the source's kind.
    """

    def __init__(
        self,
        forward_func: Any,
        layer: Any,
        device_ids: Sequence[int] | None = None,
        multiply_by_inputs: bool = True,
        *,
        output: str | int | None = None,
        provider: ProviderSpec = "auto",
        batch_axis: int | None = 0,
    ) -> None:
        self.layer, self.device_ids = layer, device_ids
        self._multiply_by_inputs = multiply_by_inputs
        self._options: dict[str, Any] = {"output": output, "provider": provider, "batch_axis": batch_axis}
        self.forward_func = forward_func

    @property
    def forward_func(self) -> Any:
        """What is explained. Captum's classes for language models put another one into a copy of the method."""
        return self._forward_func

    @forward_func.setter
    def forward_func(self, forward_func: Any) -> None:
        layers = self.layer if isinstance(self.layer, (list, tuple)) else [self.layer]
        if not layers:
            raise UsageError("layer is empty: give a layer, or a list of layers")
        self._forward_func = forward_func
        self._places: Places = places_of(forward_func, layers, self._multiply_by_inputs, self._options)

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in self.__dict__.items() if name != "_places"}
        return state | {"_forward_func": picklable(self._forward_func)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.forward_func = unpickled(state["_forward_func"])

    def __repr__(self) -> str:
        layers = self.layer if isinstance(self.layer, (list, tuple)) else [self.layer]
        names = ", ".join(layer if isinstance(layer, str) else type(layer).__name__ for layer in layers)
        options = {"output": self._options["output"], "provider": self._options["provider"]}
        return described(self, self._forward_func, layer=names, **options)

    @property
    def multiplies_by_inputs(self) -> bool:
        """Whether attributions hold the factor v(x), or v(x) − v(x'); without it they are local."""
        return self._multiply_by_inputs

    def compute_convergence_delta(
        self,
        attributions: Any,
        start_point: Any,
        end_point: Any,
        target: Any = None,
        additional_forward_args: Any = None,
    ) -> Any:
        """Σ attributions − (F(end_point) − F(start_point)) of each example, [N]; the points are the model's inputs."""
        return self._places.delta(attributions, start_point, end_point, target, additional_forward_args)

    @staticmethod
    def interpolate(layer_attribution: Any, interpolate_dims: Any, interpolate_mode: str = "nearest") -> Any:
        """A layer's attribution [N, channels, ...] resized to ``interpolate_dims``, as torch's interpolate does."""
        from onnx_ig.methods.pytorch.layers import resized

        return resized(layer_attribution, interpolate_dims, interpolate_mode)

    def _require_averages(self, noise: Noise | None, average_baselines: bool = False) -> None:
        """Refuse averages that a layer's value cannot follow.

        Raises:
            UsageError: the layers are modules.
        """
        if self._places.averages or (noise is None and not average_baselines):
            return
        what, instead = "noise=", "captum.attr.NoiseTunnel takes this method, and averages over inputs with noise"
        if noise is None:
            what, instead = "average_baselines=", "take the mean of one call for each row of baselines"
        raise UsageError(
            f"{what} goes with the layers of ONNX models: a module's value is computed by torch, once, at the inputs "
            f"that are given, and would not follow others; {instead}"
        )

    def _explained(
        self,
        asked: Asked[Any],
        found: Explanation[Any],
        began: float,
        inputs: Any,
        made: Callable[[ByLayer], ByLayer] = lambda by_layer: by_layer,
        algorithm: Algorithm | None = None,
    ) -> Explanation[Any]:
        """What was ``found`` for the layers' values, as it is answered.

        Args:
            inputs: the model's own.
            made: what is made of the layers' attributions; ``algorithm``: its name, unless it is that of ``found``.
        """

        def kept(numbers: Any) -> Any:
            return None if numbers is None else asked.kept(numbers)

        by_layer = made(asked.by_layer(found.attributions))
        seconds = time.perf_counter() - began
        known = found.report.attributions
        names = list(known) if asked.inputs is inputs else self._names(by_layer)
        values = map(to_array, (tensor for layer in by_layer for tensor in layer))
        report = replace(
            found.report,
            algorithm=algorithm or found.report.algorithm,
            attributions={
                name: _in_rows_of(array, own) for name, array, own in zip(names, known.values(), values, strict=True)
            },
            inputs=found.report.inputs if asked.inputs is inputs else _by_name(inputs),
            baseline_score=None if found.baseline_scores is None else to_array(found.baseline_scores),
            convergence_delta=None if found.convergence_delta is None else to_array(found.convergence_delta),
            seconds={"attribution": seconds},
        )
        return replace(
            found,
            attributions=self._answer(by_layer),
            scores=kept(found.scores),
            report=report,
            seconds=seconds,
            baseline_scores=kept(found.baseline_scores),
            convergence_delta=kept(found.convergence_delta),
            error_estimate=kept(found.error_estimate),
        )

    def _names(self, by_layer: ByLayer) -> list[str]:
        """What the tensors of modules are called: by their module's place in the whole, several of one numbered."""
        layers = self.layer if isinstance(self.layer, (list, tuple)) else [self.layer]
        modules = getattr(self._forward_func, "named_modules", dict)
        known = {id(module): name for name, module in dict(modules()).items()}
        names: list[str] = []
        for layer, tensors in zip(layers, by_layer, strict=True):
            name = known.get(id(layer)) or type(layer).__name__
            names += [name] if len(tensors) == 1 else [f"{name}[{i}]" for i in range(len(tensors))]
        return names if len({*names}) == len(names) else [f"{name} ({i})" for i, name in enumerate(names)]

    def _answer(self, by_layer: ByLayer) -> Any:
        """One tensor or, of several, a tuple for each layer; a list for a list of layers."""
        found = [layer[0] if len(layer) == 1 else tuple(layer) for layer in by_layer]
        return found if isinstance(self.layer, (list, tuple)) else found[0]


def _in_rows_of(array: Array, own: Array) -> Array:
    """A layer's attributions with as many rows as ``array`` has examples, which a layer may hold together."""
    if own.size == array.size:
        return own.reshape(array.shape)
    return own if len(own) == len(array) else own.reshape(len(array), -1, *own.shape[1:])


def _by_name(inputs: Any) -> dict[str, Array]:
    """The inputs of a function by their numbers."""
    return {f"input {place}": to_array(value) for place, value in enumerate(inputs_as_tuple(inputs))}


def check_grad_keywords(grad_kwargs: Mapping[str, Any] | None) -> None:
    """Refuse arguments for torch.autograd.grad that would change something.

    Raises:
        UsageError: naming one.
    """
    for name, value in (grad_kwargs or {}).items():
        if name not in _GRAD_KEYWORDS and value:
            raise UsageError(
                f"grad_kwargs has {name}={value!r}, which torch.autograd alone can do; {', '.join(_GRAD_KEYWORDS)} are "
                "taken, and change nothing here"
            )
