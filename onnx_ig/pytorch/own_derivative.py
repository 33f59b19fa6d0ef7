"""Where a torch model's gradient is not the derivative of what it computes: nothing in an ONNX file tells that.

The one idea: the model is run once with autograd and watched: what it takes off the graph, and which nodes of the
graph have a backward of the model's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction
from torch.overrides import TorchFunctionMode, resolve_name

from onnx_ig.errors import warn

_DETACHING = frozenset({Tensor.detach, Tensor.detach_, Tensor.data.__get__})


def own_derivatives(function: Callable[..., Tensor], arguments: Sequence[Tensor]) -> list[str]:
    """What makes autograd's gradient of ``function`` another than its derivative, by name; [] for most models.

    A model that autograd cannot differentiate has no other gradient to differ from: [].
    """
    try:
        return watched(function, arguments)[1]
    except Exception:  # the user's own code; without autograd it ran
        return []


def watched(function: Callable[..., Tensor], arguments: Sequence[Tensor]) -> tuple[Tensor, list[str]]:
    """``function(*arguments)`` with autograd, on the CPU, and what :func:`own_derivatives` says of it.

    Raises:
        Exception: what the function raises.
    """
    leaves = [a.detach().requires_grad_(a.is_floating_point()) for a in arguments]
    with (
        torch.enable_grad(),
        torch.autograd.graph.saved_tensors_hooks(lambda _: None, lambda _: None),  # nothing is kept for a backward
    ):
        given = [leaf.clone() for leaf in leaves]  # the model may write into what it is given, but not into leaves
        with _Detached() as detached:
            result = function(*given)
    nodes = {f"{type(node).__name__.removesuffix('Backward')}.backward" for node in _graph(result)}
    return result.detach().cpu(), sorted(detached.names | nodes)


def warn_of(own: Sequence[str]) -> None:
    """Say what :func:`own_derivatives` found, if anything."""
    if own:
        warn(
            f"the model changes its own gradient ({', '.join(own)}), which ONNX cannot tell: attributions are of the "
            "derivative of what it computes, and may differ from torch's"
        )


class _Detached(TorchFunctionMode):
    """Notes the names of calls that take a float tensor off autograd's graph."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function is Tensor.register_hook:
            self.names.add("Tensor.register_hook")
        watched = function in _DETACHING or not torch.is_grad_enabled()
        # a leaf is a parameter: the inputs are clones
        on_graph = watched and any(isinstance(a, Tensor) and a.requires_grad and not a.is_leaf for a in args)
        result = function(*args, **(kwargs or {}))
        if on_graph and isinstance(result, Tensor) and result.is_floating_point():
            name = resolve_name(function) or getattr(function, "__name__", str(function))
            self.names.add(name if function in _DETACHING else f"{name} without gradients")
        return result


def _graph(result: Tensor) -> Iterator[BackwardCFunction]:
    """The nodes of ``result``'s graph whose backward is written in Python, but those of torch.cond and the like."""
    seen, waiting = set(), [result.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting.extend(following for following, _ in node.next_functions)
            written = isinstance(node, BackwardCFunction)
            if written and not node._forward_cls.__module__.startswith("torch._higher_order_ops"):
                yield node
