"""Integrated Gradients with Captum's signature, computed by ONNX Runtime on the attribution model.

The mathematics: Sundararajan, Taly, Yan, "Axiomatic Attribution for Deep Networks" (arXiv 1703.01365); the arguments:
Captum's ``IntegratedGradients``. F(x; t) is the selected output of example x, ∇F its gradient.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Literal, TypeVar, overload

from onnx_ig.common.types import Array, Numbers, Progress, Rule
from onnx_ig.data import Data
from onnx_ig.engine.averaged import Noise, smoothed
from onnx_ig.engine.path_rule import path_rule
from onnx_ig.methods.captum_family import wrapped
from onnx_ig.methods.explanation import Explanation, explanation
from onnx_ig.methods.method import Method
from onnx_ig.methods.requests import Arguments

Inputs = TypeVar("Inputs")


class IntegratedGradients(Method):
    """Integrated Gradients: attribution = (x − x') · Σ_k w_k ∇F(x' + a_k (x − x'); t).

    >>> import numpy as np, onnx.parser, onnx_ig
    >>> model = onnx.parser.parse_model('''<ir_version: 10, opset_import: ["": 21]>
    ...     square (float[n, 2] x) => (float[n, 2] y) { y = Mul(x, x) }''')
    >>> x = np.array([[3, -4]], np.float32)
    >>> attributions, delta = onnx_ig.IntegratedGradients(model).attribute(x, target=1, return_convergence_delta=True)
    >>> print(attributions.round(3), bool(abs(delta[0]) < 1e-3))
    [[ 0. 16.]] True
    """

    algorithm = "integrated-gradients"

    def has_convergence_delta(self) -> bool:
        """True: Σ attributions − (F(x) − F(x')) tells how exact the quadrature was."""
        return True

    @overload
    def attribute(
        self,
        inputs: Inputs,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        n_steps: int | None = None,
        method: Rule | None = None,
        internal_batch_size: int | None = None,
        return_convergence_delta: Literal[False] = False,
        *,
        tolerance: float | None = None,
        max_steps: int | None = None,
        per_example: Sequence[str] = (),
        allow_nonfinite: bool = False,
        progress: Progress | bool | None = None,
        noise: Noise | None = None,
        average_baselines: bool = False,
    ) -> Inputs: ...

    @overload
    def attribute(
        self,
        inputs: Inputs,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        n_steps: int | None = None,
        method: Rule | None = None,
        internal_batch_size: int | None = None,
        *,
        return_convergence_delta: Literal[True],
        tolerance: float | None = None,
        max_steps: int | None = None,
        per_example: Sequence[str] = (),
        allow_nonfinite: bool = False,
        progress: Progress | bool | None = None,
        noise: Noise | None = None,
        average_baselines: bool = False,
    ) -> tuple[Inputs, Numbers]: ...

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
        *,
        tolerance: float | None = None,
        max_steps: int | None = None,
        per_example: Sequence[str] = (),
        allow_nonfinite: bool = False,
        progress: Progress | bool | None = None,
        noise: Noise | None = None,
        average_baselines: bool = False,
    ) -> Any:
        """(x − x') · Σ_k w_k ∇F(x' + a_k (x − x'); t) for each input, in its shape, type and kind (tensor or array).

        Args:
            inputs: one array or tensor, a tuple, or (ONNX sources) a dict by input name; examples on axis 0. The path
                moves all of them at once.
            baselines: x': None (zeros), a number, an array of the input's shape or with one row, or a tuple of these.
            target: the output element explained: None for outputs of one number per example, an int or tuple for all
                examples, or one per example; ``"predicted"``: the class of the largest output at x.
            additional_forward_args: further model inputs, not attributed.
            n_steps: path points, 50 if nothing is said; more make the delta smaller.
            method: the quadrature rule: gausslegendre (if nothing is said), riemann_left, riemann_right,
                riemann_middle, riemann_trapezoid.
            internal_batch_size: at most this many rows (path points × examples) per Run; fewer where more are no
                faster.
            return_convergence_delta: also return Σ attributions − (F(x) − F(x')), [N]. Returned or not, a warning says
                where it is above 5 % of F(x) − F(x'); knowing it costs two path points.
            tolerance: instead of ``n_steps`` and ``method``: for each example path points are added, and those before
                used again, until the estimated error Σ |error| / Σ |attributions| is at most this, such as 0.01; see
                :func:`onnx_ig.engine.adaptive.integrate_to_tolerance`. Exported files and ``verify`` have fixed steps.
            max_steps: with ``tolerance``, at most this many intervals between path points, 1024 if nothing is said. An
                example that needs more is warned of, and its best value returned.
            per_example: names of additional inputs that have one row per example although their shape does not tell.
            allow_nonfinite: accept NaN and infinity in inputs and baselines.
            progress: True for a bar, in a terminal or a notebook; or what is called with (rows done, rows in all), with
                ``tolerance`` in all that is begun.
            noise: average over inputs with noise: SmoothGrad, VarGrad (:class:`onnx_ig.Noise`).
            average_baselines: each of the K rows of ``baselines`` is one of every example, and the answer is the mean
                over them (expected gradients): of the attributions, F(x') and the delta. K times the evaluations.

        Raises:
            UsageError: an unknown method, too few steps, or both ``tolerance`` and ``n_steps`` or ``method``.
            InputError, NotDifferentiableError, NoGradientPathError, OutOfMemoryError: see
                :class:`onnx_ig.InputXGradient`.
        """
        given = Arguments(
            inputs,
            baselines,
            target,
            additional_forward_args,
            per_example,
            allow_nonfinite,
            internal_batch_size,
            progress,
            average_baselines=average_baselines,
        )
        rule = smoothed(path_rule(n_steps, method, tolerance, max_steps), noise)
        attributions, delta = self._attributed(given, rule, ends=return_convergence_delta)
        return (attributions, delta) if return_convergence_delta else attributions

    @overload
    def explain(
        self,
        inputs: Data,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        n_steps: int | None = None,
        method: Rule | None = None,
        internal_batch_size: int | None = None,
        *,
        tolerance: float | None = None,
        max_steps: int | None = None,
        per_example: Sequence[str] = (),
        allow_nonfinite: bool = False,
        progress: Progress | bool | None = None,
        noise: Noise | None = None,
        average_baselines: bool = False,
    ) -> Explanation[dict[str, Array]]: ...

    @overload
    def explain(
        self,
        inputs: Inputs,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        n_steps: int | None = None,
        method: Rule | None = None,
        internal_batch_size: int | None = None,
        *,
        tolerance: float | None = None,
        max_steps: int | None = None,
        per_example: Sequence[str] = (),
        allow_nonfinite: bool = False,
        progress: Progress | bool | None = None,
        noise: Noise | None = None,
        average_baselines: bool = False,
    ) -> Explanation[Inputs]: ...

    def explain(
        self,
        inputs: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        n_steps: int | None = None,
        method: Rule | None = None,
        internal_batch_size: int | None = None,
        *,
        tolerance: float | None = None,
        max_steps: int | None = None,
        per_example: Sequence[str] = (),
        allow_nonfinite: bool = False,
        progress: Progress | bool | None = None,
        noise: Noise | None = None,
        average_baselines: bool = False,
    ) -> Explanation[Any]:
        """What :meth:`attribute` returns for the same arguments, and F, the delta, the estimated error and the steps.

        ``inputs`` may be what :func:`onnx_ig.read` returned: its targets, masks and padding are taken where nothing
        else is given, and its names are shown.

        With ``tolerance``, the error and, for attributions of the inputs, F are known without further evaluations.
        Otherwise F costs two forward passes, and the error no evaluation: the path is taken in two halves, whose
        difference tells (:func:`onnx_ig.engine.fixed.integrate_fixed`), so that the attributions differ by rounding.
        """
        given = Arguments(
            inputs,
            baselines,
            target,
            additional_forward_args,
            per_example,
            allow_nonfinite,
            internal_batch_size,
            progress,
            average_baselines=average_baselines,
        )
        rule = smoothed(path_rule(n_steps, method, tolerance, max_steps), noise)
        return self._explained(given.unpacked(), rule, estimate=True)

    def explain_targets(
        self,
        inputs: Any,
        targets: Any = "top-3",
        baselines: Any = None,
        additional_forward_args: Any = None,
        n_steps: int | None = None,
        method: Rule | None = None,
        internal_batch_size: int | None = None,
        *,
        tolerance: float | None = None,
        max_steps: int | None = None,
        per_example: Sequence[str] = (),
        allow_nonfinite: bool = False,
        progress: Progress | bool | None = None,
        noise: Noise | None = None,
        average_baselines: bool = False,
    ) -> list[Explanation[Any]]:
        """What :meth:`explain` returns, for each of several targets, in fewer evaluations than as many calls.

        At a point of the path the model is run forwards once, and backwards for each target. With ``tolerance`` an
        example is done when all its targets are; the value of each is that at which it was exact enough.

        Args:
            targets: ``"top-3"``, the classes of each example's largest outputs at x, the largest first, or a list with
                any of the forms of :meth:`explain`'s ``target`` in it: ``[3, 5, 9]``. A keyword of its own, because a
                list as ``target`` has one index per example, as in Captum.

        Returns:
            One explanation per target; ``report.target`` tells the indices.

        Raises:
            UsageError, InputError, NotDifferentiableError, OutOfMemoryError: as :meth:`explain`; an output of one
                number per example, or with fewer classes.

        >>> import numpy as np, onnx.parser, onnx_ig
        >>> model = onnx.parser.parse_model('''<ir_version: 10, opset_import: ["": 21]>
        ...     square (float[n, 2] x) => (float[n, 2] y) { y = Mul(x, x) }''')
        >>> x = np.array([[3, -4]], np.float32)
        >>> for found in onnx_ig.IntegratedGradients(model).explain_targets(x, "top-2"):
        ...     print(found.report.target, found.attributions.round(3))
        [1] [[ 0. 16.]]
        [0] [[9. 0.]]
        """
        given = Arguments(
            inputs,
            baselines,
            None,
            additional_forward_args,
            per_example,
            allow_nonfinite,
            internal_batch_size,
            progress,
            average_baselines=average_baselines,
        ).unpacked()
        rule = smoothed(path_rule(n_steps, method, tolerance, max_steps), noise)
        began = time.perf_counter()
        return [
            explanation(self._returned(answer.found, given.inputs, answer.bound), answer, given, began, rule)
            for answer in self.answers(given, targets, rule)
        ]
