"""Attributions to layers, with Captum's signatures: of modules of a torch function, or of tensors of an ONNX graph.

The one idea: a layer's attribution is that of its value as an input; where that value is found is
:mod:`onnx_ig.methods.layer_places`' matter. The arguments: Captum's ``LayerIntegratedGradients`` and
``LayerGradientXActivation``. v(x) is the layer's value at x, F(x; t) the selected output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from onnx_ig.common.types import Progress, Rule
from onnx_ig.errors import UsageError
from onnx_ig.methods.answers import described
from onnx_ig.methods.batches import Batches
from onnx_ig.methods.captum_family import CaptumMember, wrapped
from onnx_ig.methods.layer_places import ByLayer, Places, places_of
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

    def _answer(self, by_layer: ByLayer) -> Any:
        """One tensor or, of several, a tuple for each layer; a list for a list of layers."""
        found = [layer[0] if len(layer) == 1 else tuple(layer) for layer in by_layer]
        return found if isinstance(self.layer, (list, tuple)) else found[0]


class LayerGradientXActivation(LayerMethod):
    """Layer gradient × activation: attribution = v(x) · ∂F(x; t)/∂v, elementwise.

    Args:
        memory_efficient: taken for Captum's sake; pieces are as small as the memory asks for.
        The others: see :class:`LayerMethod`.

    >>> import numpy as np, onnx.parser, onnx_ig
    >>> model = onnx.parser.parse_model('''<ir_version: 10, opset_import: ["": 21]>
    ...     model (float[n, 2] x) => (float[n, 2] y) { h = Mul(x, x) y = Mul(h, h) }''')
    >>> x = np.array([[3, -4]], np.float32)
    >>> print(onnx_ig.LayerGradientXActivation(model, "h").attribute(x, target=1).round(3))
    [[  0. 512.]]
    """

    def __init__(
        self,
        forward_func: Any,
        layer: Any,
        device_ids: Sequence[int] | None = None,
        multiply_by_inputs: bool = True,
        memory_efficient: bool = False,
        *,
        output: str | int | None = None,
        provider: ProviderSpec = "auto",
        batch_axis: int | None = 0,
    ) -> None:
        super().__init__(
            forward_func, layer, device_ids, multiply_by_inputs, output=output, provider=provider, batch_axis=batch_axis
        )

    @wrapped
    def attribute(
        self,
        inputs: Any,
        target: Any = None,
        additional_forward_args: Any = None,
        attribute_to_layer_input: bool = False,
        grad_kwargs: Mapping[str, Any] | None = None,
        *,
        internal_batch_size: int | None = None,
        per_example: Sequence[str] = (),
        allow_nonfinite: bool = False,
        progress: Progress | bool | None = None,
    ) -> Any:
        """v(x) · ∂F(x; t)/∂v in the layer's shape: a tensor, a tuple where the layer has several, a list for a list.

        Args:
            attribute_to_layer_input: v is what the layer is given instead of what it returns; of an ONNX source, the
                float tensors that the node which computes the named tensor reads.
            grad_kwargs: Captum's arguments for torch.autograd.grad; those that change nothing here are taken.
            The others, and what is raised: see :meth:`onnx_ig.InputXGradient.attribute`.
        """
        _check_grad_keywords(grad_kwargs)
        found = self._places.gradient(
            attribute_to_layer_input,
            inputs,
            target,
            additional_forward_args,
            internal_batch_size=internal_batch_size,
            per_example=per_example,
            allow_nonfinite=allow_nonfinite,
            progress=progress,
        )
        return self._answer(found)


class LayerIntegratedGradients(LayerMethod):
    """Layer Integrated Gradients: attribution = (v − v') · Σ_k w_k ∂F/∂v at v' + a_k (v − v'), v = v(x), v' = v(x').

    Everything that does not pass through the layers keeps its value at x. Several layers move together.

    >>> import numpy as np, onnx.parser, onnx_ig
    >>> model = onnx.parser.parse_model('''<ir_version: 10, opset_import: ["": 21]>
    ...     model (float[n, 2] x) => (float[n, 2] y) { h = Mul(x, x) y = Mul(h, h) }''')
    >>> x = np.array([[3, -4]], np.float32)
    >>> print(onnx_ig.LayerIntegratedGradients(model, "h").attribute(x, target=1).round(2))
    [[  0. 256.]]
    """

    def has_convergence_delta(self) -> bool:
        """True: Σ attributions − (F(x) − F(x')) tells how exact the quadrature was, and what passes the layers by."""
        return True

    @wrapped
    def attribute(
        self,
        inputs: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        n_steps: int | None = None,
        method: Rule | None = None,
        internal_batch_size: int | None = None,
        return_convergence_delta: bool = False,
        attribute_to_layer_input: bool = False,
        grad_kwargs: Mapping[str, Any] | None = None,
        *,
        tolerance: float | None = None,
        max_steps: int | None = None,
        per_example: Sequence[str] = (),
        allow_nonfinite: bool = False,
        progress: Progress | bool | None = None,
    ) -> Any:
        """The attributions in the layer's shape: a tensor, a tuple where the layer has several, a list for a list.

        Args:
            attribute_to_layer_input, grad_kwargs: see :meth:`LayerGradientXActivation.attribute`.
            tolerance: as there, of all layers together.
            The others, and what is raised: see :meth:`onnx_ig.IntegratedGradients.attribute`.
        """
        _check_grad_keywords(grad_kwargs)
        found = self._places.integral(
            attribute_to_layer_input,
            inputs,
            baselines,
            target,
            additional_forward_args,
            n_steps=n_steps,
            method=method,
            tolerance=tolerance,
            max_steps=max_steps,
            internal_batch_size=internal_batch_size,
            per_example=per_example,
            allow_nonfinite=allow_nonfinite,
            progress=progress,
        )
        if not return_convergence_delta:
            return self._answer(found)
        delta = self._places.delta(found, baselines, inputs, target, additional_forward_args)
        return self._answer(found), delta


def _check_grad_keywords(grad_kwargs: Mapping[str, Any] | None) -> None:
    for name, value in (grad_kwargs or {}).items():
        if name not in _GRAD_KEYWORDS and value:
            raise UsageError(
                f"grad_kwargs has {name}={value!r}, which torch.autograd alone can do; {', '.join(_GRAD_KEYWORDS)} are "
                "taken, and change nothing here"
            )
