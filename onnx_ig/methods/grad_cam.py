"""One map for each layer: its channels weighted by their gradients and summed, with Captum's signature.

Sources: Selvaraju et al., "Grad-CAM" (arXiv 1610.02391); Draelos and Carin, "Use HiResCAM instead of Grad-CAM" (arXiv
2011.08891); the arguments: Captum's ``LayerGradCam``. A(x) is the layer's value at x, [N, channels, space ...], F(x; t)
the selected output.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from onnx_ig.common.types import Progress
from onnx_ig.engine.averaged import Noise
from onnx_ig.errors import InputError, UsageError
from onnx_ig.methods.captum_family import wrapped
from onnx_ig.methods.explanation import Explanation
from onnx_ig.methods.gradients import InputXGradient
from onnx_ig.methods.layer_method import LayerMethod, check_grad_keywords
from onnx_ig.methods.layer_places import Asked, ByLayer
from onnx_ig.runtime.session import ProviderSpec

Weights: TypeAlias = Literal["grad-cam", "hirescam"]


class LayerGradCam(LayerMethod):
    """Grad-CAM: map = Σ_c A_c · mean over space of ∂F(x; t)/∂A_c, the channels c on axis 1, space on axes 2 and on.

    HiResCAM (``weights="hirescam"``): map = Σ_c A_c ⊙ ∂F(x; t)/∂A_c, which is :class:`onnx_ig.LayerGradientXActivation`
    summed over axis 1. Where what follows the layer is linear, HiResCAM sums to F(x; t) less its constant term, and
    shows each place what it adds; Grad-CAM gives every place the same weights. One forward and one backward pass.

    Args: see :class:`LayerMethod`.

    >>> import numpy as np, onnx.parser, onnx_ig
    >>> model = onnx.parser.parse_model('''<ir_version: 10, opset_import: ["": 21]>
    ...     model (float[n, 2, 3] x) => (float[n, 2, 3] y) { h = Mul(x, x) y = Mul(h, h) }''')
    >>> x = np.array([[[1, 2, 3], [1, 1, 1]]], np.float32)
    >>> cam = onnx_ig.LayerGradCam(model, "h")
    >>> print(cam.attribute(x, target=(0, 2)).round(3), cam.attribute(x, target=(0, 2), weights="hirescam").round(3))
    [[[ 6. 24. 54.]]] [[[  0.   0. 162.]]]
    """

    def __init__(
        self,
        forward_func: Any,
        layer: Any,
        device_ids: Sequence[int] | None = None,
        *,
        output: str | int | None = None,
        provider: ProviderSpec = "auto",
        batch_axis: int | None = 0,
    ) -> None:
        super().__init__(forward_func, layer, device_ids, output=output, provider=provider, batch_axis=batch_axis)

    @property
    def multiplies_by_inputs(self) -> bool:
        """False, as Captum's says: a map is not what each element adds to F."""
        return False

    @wrapped
    def attribute(
        self,
        inputs: Any,
        target: Any = None,
        additional_forward_args: Any = None,
        attribute_to_layer_input: bool = False,
        relu_attributions: bool = False,
        attr_dim_summation: bool = True,
        grad_kwargs: Mapping[str, Any] | None = None,
        *,
        weights: Weights = "grad-cam",
        internal_batch_size: int | None = None,
        per_example: Sequence[str] = (),
        allow_nonfinite: bool = False,
        progress: Progress | None = None,
        noise: Noise | None = None,
    ) -> Any:
        """The map, [N, 1, space ...]: a tensor, a tuple where the layer has several, a list for a list of layers.

        Args:
            attribute_to_layer_input, grad_kwargs: see :meth:`onnx_ig.LayerGradientXActivation.attribute`.
            relu_attributions: max(map, 0), as the paper draws it.
            attr_dim_summation: False: each channel's product, in the layer's shape, not their sum.
            weights: ``"grad-cam"``, one for each channel, or ``"hirescam"``, one for each element.
            noise: of an ONNX source, average over inputs with noise, at each of which the layer has another value;
                ``relu_attributions`` are then of the average.
            The others, and what is raised: see :meth:`onnx_ig.InputXGradient.attribute`.

        Raises:
            InputError: the layer's value has no axis of channels to sum over.
            UsageError: other ``weights``.
        """
        check_grad_keywords(grad_kwargs)
        self._require_averages(noise)
        in_graph = noise is not None and attr_dim_summation  # averages of squares are of the sums
        asked = self._asked(inputs, additional_forward_args, attribute_to_layer_input, weights, summed=in_graph)
        found = asked.method.attribute(
            asked.inputs,
            target,
            asked.additional,
            internal_batch_size=internal_batch_size,
            per_example=per_example,
            allow_nonfinite=allow_nonfinite,
            progress=progress,
            noise=noise,
        )
        return self._answer(_maps(asked.by_layer(found), relu=relu_attributions, summed=attr_dim_summation))

    def explain(
        self,
        inputs: Any,
        target: Any = None,
        additional_forward_args: Any = None,
        attribute_to_layer_input: bool = False,
        relu_attributions: bool = False,
        attr_dim_summation: bool = True,
        grad_kwargs: Mapping[str, Any] | None = None,
        *,
        weights: Weights = "grad-cam",
        internal_batch_size: int | None = None,
        per_example: Sequence[str] = (),
        allow_nonfinite: bool = False,
        progress: Progress | None = None,
        noise: Noise | None = None,
    ) -> Explanation[Any]:
        """What :meth:`attribute` returns for the same arguments, and F(x; t), which costs nothing.

        Its drawings lay the map over the picture that the model was given.
        """
        began = time.perf_counter()
        check_grad_keywords(grad_kwargs)
        self._require_averages(noise)
        in_graph = noise is not None and attr_dim_summation  # averages of squares are of the sums
        asked = self._asked(inputs, additional_forward_args, attribute_to_layer_input, weights, summed=in_graph)
        found = asked.method.explain(
            asked.inputs,
            target,
            asked.additional,
            internal_batch_size=internal_batch_size,
            per_example=per_example,
            allow_nonfinite=allow_nonfinite,
            progress=progress,
            noise=noise,
        )
        made = functools.partial(_maps, relu=relu_attributions, summed=attr_dim_summation)
        return self._explained(asked, found, began, inputs, made, weights)

    def _asked(
        self, inputs: Any, additional: Any, at_input: bool, weights: Weights, *, summed: bool
    ) -> Asked[InputXGradient]:
        """The products of each layer's elements, with the ``weights`` in their gradient's place.

        Raises:
            UsageError: other weights.
        """
        if weights not in get_args(Weights):
            raise UsageError(f"unknown weights {weights!r}: choose {' or '.join(get_args(Weights))}")
        pooled = weights == "grad-cam"
        return self._places.gradient(
            at_input, inputs, additional, pooled=pooled, sum_over="channels" if summed else None
        )


def _maps(by_layer: ByLayer, *, relu: bool, summed: bool) -> ByLayer:
    """The products of each layer as maps."""
    if summed:
        by_layer = [[_over_channels(value) for value in layer] for layer in by_layer]
    return [[value.clip(0) for value in layer] for layer in by_layer] if relu else by_layer


def _over_channels(value: Any) -> Any:
    """Σ over axis 1, which stays with size 1; of an array or a tensor."""
    if value.ndim < 2:
        raise InputError(
            f"the layer's value has shape {list(value.shape)}, without an axis 1 of channels to sum over: choose a "
            "layer whose values are [N, channels, ...], or pass attr_dim_summation=False"
        )
    if isinstance(value, np.ndarray):  # torch sums halves in more bits by itself
        return value.sum(1, keepdims=True, dtype=np.float64).astype(value.dtype)
    return value.sum(1, keepdims=True)
