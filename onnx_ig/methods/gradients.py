"""Methods that read the gradient at x alone, with Captum's signatures: Input×Gradient and Saliency.

Sources: Shrikumar et al., "Not Just a Black Box" (arXiv 1605.01713); Simonyan, Vedaldi, Zisserman, "Deep Inside
Convolutional Networks" (arXiv 1312.6034); the arguments: Captum's ``InputXGradient`` and ``Saliency``. ∇F is the
gradient of F(x; t), the selected output of example x.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar, overload

from onnx_ig.common.types import Array, Progress
from onnx_ig.data import Data
from onnx_ig.engine.averaged import Magnitude, Noise, smoothed
from onnx_ig.engine.path_rule import AtInput
from onnx_ig.methods.captum_family import wrapped
from onnx_ig.methods.explanation import Explanation
from onnx_ig.methods.method import Method
from onnx_ig.methods.requests import Arguments
from onnx_ig.runtime.session import ProviderSpec

Inputs = TypeVar("Inputs")


class _AtInput(Method):
    """One forward and one backward pass at x."""

    algorithm = "input-x-gradient"


class InputXGradient(_AtInput):
    """Input × Gradient: attribution = x · ∇F(x; t), elementwise.

    >>> import numpy as np, onnx.parser, onnx_ig
    >>> model = onnx.parser.parse_model('''<ir_version: 10, opset_import: ["": 21]>
    ...     square (float[n, 2] x) => (float[n, 2] y) { y = Mul(x, x) }''')
    >>> x = np.array([[3, -4]], np.float32)
    >>> print(onnx_ig.InputXGradient(model).attribute(x, target=1).round(3))
    [[ 0. 32.]]
    """

    @wrapped
    def attribute(
        self,
        inputs: Inputs,
        target: Any = None,
        additional_forward_args: Any = None,
        *,
        internal_batch_size: int | None = None,
        per_example: Sequence[str] = (),
        allow_nonfinite: bool = False,
        progress: Progress | bool | None = None,
        noise: Noise | None = None,
    ) -> Inputs:
        """x · ∇F(x; t) for each input, in its shape, type and kind (tensor or array).

        Args:
            inputs: one array or tensor, a tuple or list of them, or (ONNX sources) a dict by input name; examples on
                axis 0.
            target: the output element explained: None for outputs of one number per example, an int or tuple for all
                examples, or one per example; ``"predicted"``: the class of the largest output at x.
            additional_forward_args: further model inputs, not attributed.
            internal_batch_size: at most this many examples per Run (fewer where more are no faster).
            per_example: names of additional inputs that have one row per example although their shape does not tell.
            allow_nonfinite: accept NaN and infinity in the inputs.
            progress: True for a bar, in a terminal or a notebook; or what is called with (examples done, examples in
                all).
            noise: average over inputs with noise: SmoothGrad, VarGrad (:class:`onnx_ig.Noise`).

        Raises:
            InputError: an argument of the wrong shape, type, name or value.
            NotDifferentiableError, NoGradientPathError: the model cannot be differentiated.
            OutOfMemoryError: a single example does not fit.
        """
        given = Arguments(
            inputs, None, target, additional_forward_args, per_example, allow_nonfinite, internal_batch_size, progress
        )
        attributions: Inputs = self._attributed(given, smoothed(AtInput(), noise))[0]
        return attributions

    @overload
    def explain(
        self,
        inputs: Data,
        target: Any = None,
        additional_forward_args: Any = None,
        *,
        internal_batch_size: int | None = None,
        per_example: Sequence[str] = (),
        allow_nonfinite: bool = False,
        progress: Progress | bool | None = None,
        noise: Noise | None = None,
    ) -> Explanation[dict[str, Array]]: ...

    @overload
    def explain(
        self,
        inputs: Inputs,
        target: Any = None,
        additional_forward_args: Any = None,
        *,
        internal_batch_size: int | None = None,
        per_example: Sequence[str] = (),
        allow_nonfinite: bool = False,
        progress: Progress | bool | None = None,
        noise: Noise | None = None,
    ) -> Explanation[Inputs]: ...

    def explain(
        self,
        inputs: Any,
        target: Any = None,
        additional_forward_args: Any = None,
        *,
        internal_batch_size: int | None = None,
        per_example: Sequence[str] = (),
        allow_nonfinite: bool = False,
        progress: Progress | bool | None = None,
        noise: Noise | None = None,
    ) -> Explanation[Any]:
        """What :meth:`attribute` returns for the same arguments, and F(x; t), which costs nothing.

        ``inputs``: also what :func:`onnx_ig.read` returned, as in :meth:`onnx_ig.IntegratedGradients.explain`.
        """
        given = Arguments(
            inputs, None, target, additional_forward_args, per_example, allow_nonfinite, internal_batch_size, progress
        )
        return self._explained(given.unpacked(padding=False), smoothed(AtInput(), noise))


class InputXPooledGradient(InputXGradient):
    """Grad-CAM's products: attribution = v · mean over axes 2 and on of ∂F(x; t)/∂v, in the shape of v."""

    pooled = True


class GradCam(InputXGradient):
    """Grad-CAM's map of a convolution, [N, 1, height, width], summed over channels inside the graph."""

    algorithm = "grad-cam"


class HiResCam(InputXGradient):
    """HiResCAM's map of a convolution, [N, 1, height, width], summed over channels inside the graph."""

    algorithm = "hirescam"


class Saliency(_AtInput):
    """Saliency: attribution = |∇F(x; t)|, or ∇F(x; t) with ``abs=False``, elementwise.

    Args: see :class:`onnx_ig.methods.method.Method`.

    >>> import numpy as np, onnx.parser, onnx_ig
    >>> model = onnx.parser.parse_model('''<ir_version: 10, opset_import: ["": 21]>
    ...     square (float[n, 2] x) => (float[n, 2] y) { y = Mul(x, x) }''')
    >>> x = np.array([[3, -4]], np.float32)
    >>> print(onnx_ig.Saliency(model).attribute(x, target=1).round(3))
    [[0. 8.]]
    """

    def __init__(
        self,
        forward_func: Any,
        *,
        output: str | int | None = None,
        at: str | Sequence[str] | None = None,
        provider: ProviderSpec = "auto",
        batch_axis: int | None = 0,
    ) -> None:
        super().__init__(forward_func, False, output=output, at=at, provider=provider, batch_axis=batch_axis)

    @wrapped
    def attribute(
        self,
        inputs: Inputs,
        target: Any = None,
        abs: bool = True,
        additional_forward_args: Any = None,
        *,
        internal_batch_size: int | None = None,
        per_example: Sequence[str] = (),
        allow_nonfinite: bool = False,
        progress: Progress | bool | None = None,
        noise: Noise | None = None,
    ) -> Inputs:
        """|∇F(x; t)| for each input, in its shape, type and kind (tensor or array).

        Args:
            abs: False: ∇F(x; t) with its sign.
            The other arguments, and what is raised: see :class:`InputXGradient`.
        """
        given = Arguments(
            inputs, None, target, additional_forward_args, per_example, allow_nonfinite, internal_batch_size, progress
        )
        rule = Magnitude(AtInput()) if abs else AtInput()
        attributions: Inputs = self._attributed(given, smoothed(rule, noise))[0]
        return attributions
