"""Attributions to layers, with Captum's signatures: of modules of a torch function, or of tensors of an ONNX graph.

The arguments: Captum's ``LayerIntegratedGradients`` and ``LayerGradientXActivation``. v(x) is the layer's value at x,
F(x; t) the selected output.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from onnx_ig.common.types import Progress, Rule
from onnx_ig.engine.averaged import Noise
from onnx_ig.methods.captum_family import wrapped
from onnx_ig.methods.explanation import Explanation
from onnx_ig.methods.layer_method import LayerMethod, check_grad_keywords
from onnx_ig.runtime.session import ProviderSpec


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
        progress: Progress | None = None,
        noise: Noise | None = None,
    ) -> Any:
        """v(x) · ∂F(x; t)/∂v in the layer's shape: a tensor, a tuple where the layer has several, a list for a list.

        Args:
            attribute_to_layer_input: v is what the layer is given instead of what it returns; of an ONNX source, the
                float tensors that the node which computes the named tensor reads.
            grad_kwargs: Captum's arguments for torch.autograd.grad; those that change nothing here are taken.
            noise: of an ONNX source, average over inputs with noise, at each of which the layer has another value.
            The others, and what is raised: see :meth:`onnx_ig.InputXGradient.attribute`.
        """
        check_grad_keywords(grad_kwargs)
        self._require_averages(noise)
        asked = self._places.gradient(attribute_to_layer_input, inputs, additional_forward_args)
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
        return self._answer(asked.by_layer(found))

    def explain(
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
        progress: Progress | None = None,
        noise: Noise | None = None,
    ) -> Explanation[Any]:
        """What :meth:`attribute` returns for the same arguments, and F(x; t), which costs nothing."""
        began = time.perf_counter()
        check_grad_keywords(grad_kwargs)
        self._require_averages(noise)
        asked = self._places.gradient(attribute_to_layer_input, inputs, additional_forward_args)
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
        return self._explained(asked, found, began, inputs)


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
        progress: Progress | None = None,
        noise: Noise | None = None,
        average_baselines: bool = False,
    ) -> Any:
        """The attributions in the layer's shape: a tensor, a tuple where the layer has several, a list for a list.

        Args:
            attribute_to_layer_input, grad_kwargs: see :meth:`LayerGradientXActivation.attribute`.
            tolerance: as there, of all layers together.
            noise, average_baselines: of an ONNX source: the model's inputs and baselines that are averaged over.
            The others, and what is raised: see :meth:`onnx_ig.IntegratedGradients.attribute`.
        """
        check_grad_keywords(grad_kwargs)
        self._require_averages(noise, average_baselines)
        asked = self._places.integral(
            attribute_to_layer_input, inputs, baselines, additional_forward_args, allow_nonfinite
        )
        of_average = return_convergence_delta and (noise is not None or average_baselines)
        attribute: Any = asked.method.attribute  # two forms of answer
        answer = attribute(
            asked.inputs,
            asked.baselines,
            target,
            asked.additional,
            n_steps=n_steps,
            method=method,
            tolerance=tolerance,
            max_steps=max_steps,
            internal_batch_size=internal_batch_size,
            per_example=per_example,
            allow_nonfinite=allow_nonfinite,
            progress=progress,
            noise=noise,
            average_baselines=average_baselines,
            return_convergence_delta=of_average,
        )
        found = asked.by_layer(answer[0] if of_average else answer)
        if not return_convergence_delta:
            return self._answer(found)
        if of_average:
            return self._answer(found), answer[1]
        delta = self._places.delta(found, baselines, inputs, target, additional_forward_args)
        return self._answer(found), delta

    def explain(
        self,
        inputs: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        n_steps: int | None = None,
        method: Rule | None = None,
        internal_batch_size: int | None = None,
        attribute_to_layer_input: bool = False,
        grad_kwargs: Mapping[str, Any] | None = None,
        *,
        tolerance: float | None = None,
        max_steps: int | None = None,
        per_example: Sequence[str] = (),
        allow_nonfinite: bool = False,
        progress: Progress | None = None,
        noise: Noise | None = None,
        average_baselines: bool = False,
    ) -> Explanation[Any]:
        """What :meth:`attribute` returns for the same arguments, and F, the delta, the estimated error and the steps.

        F(x') and the delta are of the model's inputs, as ``attribute`` has them; see
        :meth:`onnx_ig.IntegratedGradients.explain` for the others.
        """
        began = time.perf_counter()
        check_grad_keywords(grad_kwargs)
        self._require_averages(noise, average_baselines)
        asked = self._places.integral(
            attribute_to_layer_input, inputs, baselines, additional_forward_args, allow_nonfinite
        )
        found = asked.method.explain(
            asked.inputs,
            asked.baselines,
            target,
            asked.additional,
            n_steps=n_steps,
            method=method,
            tolerance=tolerance,
            max_steps=max_steps,
            internal_batch_size=internal_batch_size,
            per_example=per_example,
            allow_nonfinite=allow_nonfinite,
            progress=progress,
            noise=noise,
            average_baselines=average_baselines,
        )
        of_model = (baselines, inputs, target, additional_forward_args)
        if (start := self._places.baseline_scores(*of_model)) is not None:
            delta = self._places.delta(asked.by_layer(found.attributions), *of_model)
            found = replace(found, baseline_scores=start, convergence_delta=delta)
        return self._explained(asked, found, began, inputs)
