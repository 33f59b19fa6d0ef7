"""Print what the gradient costs on the nine published architectures in onnx's own test data (see gradient_table).

    python -m tools.light_table

Nodes before and after, and the time of the model with its gradient over the model alone in ONNX Runtime on CPU, one
picture, medians in turn. That the gradients are right is what tests/methods/test_light_models.py shows.
"""

from __future__ import annotations

import argparse
import functools

import numpy as np

import onnx_ig
from onnx_ig.engine.forward import ForwardModel
from onnx_ig.runtime.session import Session
from tests.helpers.light_models import NAMES, logits_of, with_weights
from tools.gradient_table import take_turns


def main() -> None:
    """Run as a command."""
    argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0]).parse_args()
    print("| model | nodes | with gradient | ONNX Runtime × | forward ms |\n|---|---|---|---|---|", flush=True)
    for name in NAMES:
        model = with_weights(name)
        logits = logits_of(model)
        weights = {tensor.name for tensor in model.graph.initializer}
        (source,) = (x.name for x in model.graph.input if x.name not in weights)
        gradient = onnx_ig.differentiate(model, wrt=[source], outputs=[logits])
        plain = onnx_ig.load(model).clone_ir()
        forward, backward = Session(plain, "cpu"), Session(gradient, "cpu")
        x = np.random.default_rng(0).standard_normal((1, 3, 224, 224)).astype(np.float32)
        values = ForwardModel(onnx_ig.load(model), logits, one_row=False, provider="cpu")({source: x})
        feeds = {source: x, f"cotangent_{logits}": np.ones_like(values)}
        calls = {"f": functools.partial(forward.run, {source: x}), "g": functools.partial(backward.run, feeds)}
        times = take_turns(calls, 5)
        nodes, grown = len(plain.graph), len(gradient.graph.node)
        print(f"| {name} | {nodes} | {grown} | {times['g'] / times['f']:.2f} | {1000 * times['f']:.0f} |", flush=True)


if __name__ == "__main__":
    main()
