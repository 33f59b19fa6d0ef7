"""Along which axis of a tensor attributions are added up: that of its channels, or that of an embedding's vectors.

The one idea: the axis stays, with size 1, so that what is summed has as many axes as the tensor and lies over it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import onnx_ir as ir

from onnx_ig.attribution.layout import Layout, dims_of
from onnx_ig.common.types import SumOver
from onnx_ig.errors import InputError, UsageError
from onnx_ig.graph.reading import is_float

_OF_PICTURES = (1, 3)  # channels


def summed_axes(sum_over: SumOver | None, tensors: Sequence[ir.Value], layout: Layout) -> dict[str, int]:
    """The axis of each of the ``tensors`` by name; {} where nothing is summed.

    * ``channels``: the first axis behind that of the examples; of a model's input of four axes that lies as NHWC, with
      1 or 3 channels, the last.
    * ``embedding``: the last axis.

    Raises:
        UsageError: another word. InputError: a tensor without such an axis, or without one beside it.
    """
    if sum_over is None:
        return {}
    if sum_over not in get_args(SumOver):
        raise UsageError(f"unknown sum_over {sum_over!r} (--sum-over): choose {' or '.join(get_args(SumOver))}")
    return {str(tensor.name): _axis(sum_over, tensor, layout) for tensor in tensors}


def map_of_nothing(algorithm: str, nodes: Sequence[ir.Node]) -> UsageError:
    """What is said where no layer is named; ``nodes``: those that the output is computed by, in order."""
    found = [str(node.outputs[0].name) for node in nodes if node.op_type == "Conv" and node.domain == ""]
    which = f"the last one here gives {found[-1]!r}" if found else "this output is computed by none"
    return UsageError(
        f"{algorithm} makes a map of a convolution's channels: name its output, or that of the activation behind it, "
        f"with at= (--at); {which}, and `onnx-ig inspect` lists the tensors"
    )


def require_maps(algorithm: str, tensors: Sequence[ir.Value], layout: Layout) -> None:
    """Refuse tensors of which a class activation map cannot be made: those that are not [N, channels, height, width].

    Raises:
        InputError: naming one of them.
    """
    for tensor in tensors:
        axes = _axes(tensor, layout)
        if axes != 3 or not is_float(tensor):
            raise InputError(
                f"{algorithm} makes a map of a convolution's channels, [N, channels, height, width], and "
                f"{tensor.name!r} is {_shape(tensor)}: choose the output of a convolution, or of the activation behind "
                "it, with at= (--at); `onnx-ig inspect` lists the tensors"
            )


def channel_axis(tensor: ir.Value, layout: Layout) -> int:
    """The first axis behind that of the examples, or behind a single one that a lone example has in its place."""
    dims = dims_of(tensor)
    return 0 if layout.kind == "none" and not (len(dims) == 4 and dims[0] == 1) else 1


def _axis(sum_over: SumOver, tensor: ir.Value, layout: Layout) -> int:
    axes, dims = _axes(tensor, layout), dims_of(tensor)
    if axes < 2:
        what = "its channels" if sum_over == "channels" else "an embedding's vectors"
        raise InputError(
            f"sum_over={sum_over!r} (--sum-over) adds up along the axis of {what}, and {tensor.name!r}, "
            f"{_shape(tensor)}, has no other beside that of the examples: leave it out, or choose another tensor with "
            "at= (--at)"
        )
    if sum_over == "embedding":
        return len(dims) - 1
    if layout.kind == "none" and len(dims) < 4 and dims[0] == 1:
        raise InputError(
            f"whether axis 0 of {tensor.name!r}, {_shape(tensor)}, is that of the examples or a single channel cannot "
            "be told: leave sum_over= (--sum-over) out, or give the model an axis of examples"
        )
    first = channel_axis(tensor, layout)
    lies_as_nhwc = tensor.is_graph_input() and axes == 3 and dims[first] not in _OF_PICTURES
    return len(dims) - 1 if lies_as_nhwc and dims[-1] in _OF_PICTURES else first


def _axes(tensor: ir.Value, layout: Layout) -> int:
    """How many axes an example of the tensor has.

    Raises:
        InputError: the model does not tell.
    """
    if tensor.shape is None:
        raise InputError(f"the number of axes of {tensor.name!r} is unknown; declare its shape in the model")
    return len(tensor.shape) - channel_axis(tensor, layout)


def _shape(tensor: ir.Value) -> str:
    return "[" + ", ".join("?" if d is None else str(d) for d in dims_of(tensor)) + "]"
