"""Print, for real architectures at full size, what the gradient costs over the forward pass, and how exact it is.

    python -m tools.gradient_table [NAME ...] [--batch N] [--rounds N]

For each model: nodes before and after differentiation; the largest error of the gradient against torch in float64 over
its largest element, for one input; the time of the model with its gradient over the time of the model alone, in ONNX
Runtime on CPU; the same for eager torch; and ONNX Runtime's gradient time over torch's. The four take turns; medians.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor, nn

from onnx_ig.autodiff.gradient import gradient_model
from onnx_ig.loading.model import load
from onnx_ig.runtime.session import Session
from tools.full_size import MODELS, FullSize

_HEAD = (
    "model",
    "nodes",
    "with gradient",
    "max rel. error",
    "ONNX Runtime ×",
    "torch ×",
    "time / torch's",
    "forward ms",
)


def main() -> None:
    """Run as a command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=list(MODELS))
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    print("| " + " | ".join(_HEAD) + " |\n|" + "---|" * len(_HEAD), flush=True)
    for name in options.names:
        print("| " + " | ".join(measured(name, MODELS[name], options.batch, options.rounds)) + " |", flush=True)


def measured(name: str, model: FullSize, batch: int, rounds: int) -> list[str]:
    """One line of the table."""
    module, tensors = model.module(), model.inputs(batch)
    loaded = load(module, example_inputs=tensors[0][:2], additional_forward_args=tuple(t[:2] for t in tensors[1:]))
    source, output = str(loaded.inputs[0].name), str(loaded.outputs[0].name)
    gradient = gradient_model(loaded.ir_model, [source], [output])
    plain = loaded.clone_ir()
    plain.ir_version = gradient.ir_version = 8
    feeds = {str(x.name): t.numpy() for x, t in zip(loaded.inputs, tensors, strict=True)}
    forward, backward = Session(plain, "cpu"), Session(gradient, "cpu")
    seed = np.zeros(forward.run(feeds)[output].shape, np.float32)
    seed[:, 0] = 1
    full = {**feeds, f"cotangent_{output}": seed}
    times = take_turns(
        {
            "forward": lambda: forward.run(feeds),
            "gradient": lambda: backward.run(full),
            "torch forward": lambda: _torch_forward(module, tensors),
            "torch gradient": lambda: _torch_gradient(module, tensors),
        },
        rounds,
    )
    error = _error(module, model, backward, feeds, output)
    return [
        name,
        str(_count(plain)),
        str(_count(gradient)),
        f"{error:.1e}",
        f"{times['gradient'] / times['forward']:.2f}",
        f"{times['torch gradient'] / times['torch forward']:.2f}",
        f"{times['gradient'] / times['torch gradient']:.2f}",
        f"{1000 * times['forward']:.0f}",
    ]


_MOST_ROUNDS = 25
_PAUSE = 0.1  # seconds between calls: the threads of one runtime go on spinning for a while and would slow the next


def take_turns(calls: Mapping[str, Callable[[], Any]], rounds: int, least_seconds: float = 0.0) -> dict[str, float]:
    """Median seconds of each call over ``rounds`` in turn, after one warm-up each.

    Short calls are noisy: further rounds follow, up to 25, until the longest has taken ``least_seconds`` in all.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for done in range(max(rounds, _MOST_ROUNDS)):
        if done >= rounds and max(map(sum, seconds.values())) >= least_seconds:
            break
        for name, call in calls.items():
            time.sleep(_PAUSE)
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def _torch_forward(module: nn.Module, tensors: tuple[Tensor, ...]) -> Tensor:
    with torch.no_grad():
        return module(*tensors)


def _torch_gradient(module: nn.Module, tensors: tuple[Tensor, ...]) -> Tensor:
    x = tensors[0].clone().requires_grad_()
    return torch.autograd.grad(module(x, *tensors[1:])[:, 0].sum(), x)[0]


def _error(module: nn.Module, model: FullSize, session: Session, feeds: dict[str, Any], output: str) -> float:
    """Largest error of one example's gradient over its largest element, against torch in float64."""
    tensors = model.inputs(1, seed=1)
    wide = copy.deepcopy(module).double()
    exact = _torch_gradient(wide, (tensors[0].double(), *tensors[1:])).numpy()
    names = list(feeds)
    values = {n: t.numpy() for n, t in zip(names, tensors, strict=True)}
    shape = (1, *_torch_forward(module, tensors).shape[1:])
    mark = np.zeros(shape, np.float32)
    mark[:, 0] = 1
    got = session.run({**values, f"cotangent_{output}": mark})[f"grad_{names[0]}"]
    return float(np.abs(got - exact).max() / np.abs(exact).max())


def _count(model: ir.Model) -> int:
    return sum(1 for _ in ir.traversal.RecursiveGraphIterator(model.graph))


if __name__ == "__main__":
    main()
