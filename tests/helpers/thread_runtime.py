"""Run many mixed calls on one object from several threads and compare each with the serial answer.

A program of its own: what goes wrong here ends the process, and a test sees that from outside. Prints the number of
calls that were right.
"""

from __future__ import annotations

import copy
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import onnx
import onnx.parser

import onnx_ig
from onnx_ig.common.types import Provider

SIZES = [1] * 20 + [3] * 20 + [1, 2, 3, 2]  # the same long enough for a session to be opened for it, then others
STEPS = [4, 4, 4, 8]


def convolutional() -> tuple[onnx.ModelProto, tuple[int, ...]]:
    """Convolutions, and a product with many rows whose weight ONNX Runtime reads in place."""
    text = """<ir_version: 8, opset_import: ["" : 18]> f (float[N, 3, 10, 10] x) => (float[N, 5] y)
    { c = Conv <pads = [1, 1, 1, 1]> (x, k)  t = Sin (c)  f = Reshape (t, flat)  r = Transpose <perm = [0, 2, 1]> (f)
      p = MatMul (r, w)  s = Sin (p)  q = MatMul (s, v)  y = ReduceMean <keepdims = 0> (q, one) }"""
    return _filled(text, k=(8, 3, 3, 3), w=(8, 64), v=(64, 5), flat=[0, 8, 100], one=[1]), (3, 10, 10)


def transformer() -> tuple[onnx.ModelProto, tuple[int, ...]]:
    """One head of attention over 70 tokens."""
    text = """<ir_version: 8, opset_import: ["" : 18]> f (float[N, 70, 64] x) => (float[N, 5] y)
    { q = MatMul (x, wq)  k = MatMul (x, wk)  t = Transpose <perm = [0, 2, 1]> (k)  a = MatMul (q, t)
      p = Softmax (a)  v = MatMul (x, wv)  o = MatMul (p, v)  h = Add (o, x)  m = ReduceMean <keepdims = 0> (h, one)
      y = MatMul (m, w) }"""
    return _filled(text, wq=(64, 64), wk=(64, 64), wv=(64, 64), w=(64, 5), one=[1]), (70, 64)


def _filled(text: str, **initializers: Any) -> onnx.ModelProto:
    rng, proto = np.random.default_rng(0), onnx.parser.parse_model(text)
    for name, value in initializers.items():
        whole = isinstance(value, list)
        numbers = np.array(value) if whole else rng.standard_normal(value).astype(np.float32) / value[0] ** 0.5 / 3
        proto.graph.initializer.append(onnx.numpy_helper.from_array(numbers, name))
    return proto


def torch_convolutional() -> tuple[Any, tuple[int, ...]]:
    """A module of convolutions."""
    from torch import nn

    return _eval(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Tanh(), nn.Flatten(), nn.Linear(512, 5)), (3, 10, 10)


def torch_transformer() -> tuple[Any, tuple[int, ...]]:
    """A module of one layer of attention over six tokens."""
    from torch import nn

    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu")
    return _eval(layer, nn.Flatten(), nn.Linear(48, 5)), (6, 8)


def _eval(*layers: Any) -> Any:
    import torch

    torch.manual_seed(0)
    for parameter in (p for layer in layers for p in layer.parameters()):
        torch.nn.init.normal_(parameter, std=0.2)
    return torch.nn.Sequential(*layers).eval()


MODELS = {
    "convolutional": convolutional,
    "transformer": transformer,
    "torch-convolutional": torch_convolutional,
    "torch-transformer": torch_transformer,
}


def main(name: str, provider: Provider, threads: int, calls: int) -> None:
    """Give every thread as many calls, each time another batch, target and number of steps."""
    model, shape = MODELS[name]()
    rng = np.random.default_rng(1)
    data = {n: rng.standard_normal((n, *shape)).astype(np.float32) for n in set(SIZES)}

    def call(methods: tuple[Any, Any], i: int) -> list[np.ndarray]:
        gradient, integrated = methods
        x, target = data[SIZES[i % len(SIZES)]], i % 5
        if i % 7 == 6:
            return [gradient.attribute(x, target=target)]
        steps = STEPS[i // len(SIZES) % len(STEPS)]
        return list(integrated.attribute(x, target=target, n_steps=steps, return_convergence_delta=True))

    def made(source: Any) -> tuple[Any, Any]:
        return onnx_ig.InputXGradient(source, provider=provider), onnx_ig.IntegratedGradients(source, provider=provider)

    alone = made(model)
    expected = [call(alone, i) for i in range(calls)]
    shared = made(copy.deepcopy(model))  # of a torch module, nothing is exported yet

    def work(offset: int) -> int:
        for i in range(calls):
            j = (i + offset) % calls
            for found, wanted in zip(call(shared, j), expected[j], strict=True):
                np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
        return calls

    offsets = [0] * (threads // 2) + [7 * t for t in range(threads - threads // 2)]  # some in step, some not
    with ThreadPoolExecutor(threads) as pool:
        print(sum(pool.map(work, offsets)))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))  # type: ignore[arg-type]
