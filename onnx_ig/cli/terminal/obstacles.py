"""What stands in the way of a gradient, told from the input's side: the cause before its consequences."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from onnx_ig.errors import ModelError, NotDifferentiableError
from onnx_ig.loading.model import Model


@contextmanager
def obstacles_named(model: Model) -> Iterator[None]:
    """Let a NotDifferentiableError of the block name the first node from the input, and count the others.

    The reverse walk meets the last one first, which may be a mere consequence: nothing is known of the shapes behind an
    operator that nobody knows.

    Raises:
        ModelError: instead of the NotDifferentiableError.
    """
    try:
        yield
    except NotDifferentiableError as error:
        from onnx_ig.inspection import inspect

        met = (error.op_type, error.node_name)
        for gradient in inspect(model).gradients:
            nodes = [(one.op_type, one.node) for one in gradient.obstacles]
            if met in nodes and len(nodes) > 1:
                first, more = gradient.obstacles[0], len(nodes) - 1
                nodes_more = f"{more} more node{'s' if more > 1 else ''}"
                raise ModelError(
                    f"cannot differentiate {first.op_type} (node {first.node!r}): {first.reason}. {first.advice}. "
                    f"{nodes_more} on the path cannot be differentiated; `onnx-ig inspect` lists them"
                ) from error
        raise
