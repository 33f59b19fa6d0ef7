"""The nine published architectures in onnx's own test data, with weights that give them gradients.

Their weights are ConstantOfShape nodes of one value, so every gradient is zero. Here each float weight gets seeded
random values of He scale, the network is cut before its last Softmax, and the gradient that ONNX Runtime computes in
float32 is held against central differences of the network in float64, where the step is too small for a ReLU to flip.
"""

import functools
from pathlib import Path

import numpy as np
import onnx
import onnx.backend.test
import pytest
from onnx.reference import ReferenceEvaluator

import onnx_ig
from onnx_ig.checking.exact.widening import as_float64
from onnx_ig.runtime.session import Session
from tools.kernels.torch_ops import KERNELS

LIGHT = Path(onnx.backend.test.__file__).parent / "data" / "light"
NAMES = ["bvlc_alexnet", "densenet121", "inception_v1", "inception_v2", "resnet50", "shufflenet", "squeezenet"]
NAMES += ["vgg19", "zfnet512"]
STEP = 1e-7
TOLERANCE = 1e-3  # of ‖∇F‖, for a gradient in float32


@functools.cache
def with_weights(name: str) -> onnx.ModelProto:
    """The model with random weights: He scale for matrices and kernels, scales and variances near 1, the rest small."""
    rng = np.random.default_rng(7)
    model = onnx.load(LIGHT / f"light_{name}.onnx")
    shapes = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    readers = {x: (node.op_type, i) for node in model.graph.node for i, x in enumerate(node.input)}
    for node in reversed(model.graph.node):  # a scale is unsqueezed on its way to the Mul
        if node.op_type == "Unsqueeze":
            readers[node.input[0]] = readers[node.output[0]]
    kept, weights = [], []
    for node in model.graph.node:
        shape = shapes.get(node.input[0]) if node.op_type == "ConstantOfShape" else None
        if shape is None or next((a.t.data_type for a in node.attribute if a.name == "value"), 1) != 1:
            kept.append(node)
            continue
        array = _weight(tuple(int(d) for d in shape), *readers.get(node.output[0], ("", 0)), rng)
        weights.append(onnx.numpy_helper.from_array(array.astype(np.float32, copy=False), node.output[0]))
    del model.graph.node[:]
    model.graph.node.extend(kept)
    model.graph.initializer.extend(weights)
    return model


def _weight(shape: tuple[int, ...], reader: str, position: int, rng: np.random.Generator) -> np.ndarray:
    if reader == "BatchNormalization" and position in (1, 4):
        return rng.uniform(0.5, 1.5, shape)
    if len(shape) < 2 or int(np.prod(shape[1:])) == 1:
        # DenseNet's Mul and Add of [C, 1, 1] after each normalisation: scale and bias
        return rng.uniform(0.5, 1.5, shape) if reader == "Mul" else 0.05 * rng.standard_normal(shape)
    return rng.standard_normal(shape, np.float32) * np.sqrt(2 / np.prod(shape[1:]))


def logits_of(model: onnx.ModelProto) -> str:
    """The tensor that the last Softmax reads; the output where there is none."""
    last = [node for node in model.graph.node if node.op_type == "Softmax"]
    return last[-1].input[0] if last else model.graph.output[0].name


def cut(model: onnx.ModelProto, output: str) -> onnx.ModelProto:
    """The model up to the tensor ``output``, in float64."""
    model = as_float64(model)
    needed, kept = {output}, []
    for node in reversed(model.graph.node):
        if needed & set(node.output):
            needed.update(node.input)
            kept.append(node)
    del model.graph.node[:], model.graph.output[:]
    model.graph.node.extend(kept[::-1])
    model.graph.output.append(onnx.helper.make_tensor_value_info(output, onnx.TensorProto.DOUBLE, None))
    return model


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_agrees_with_differences(name: str) -> None:
    model, rng = with_weights(name), np.random.default_rng(3)
    logits = logits_of(model)
    (x_name,) = (x.name for x in model.graph.input if x.name not in {t.name for t in model.graph.initializer})
    x = rng.standard_normal((1, 3, 224, 224)).astype(np.float32)
    forward = ReferenceEvaluator(cut(model, logits), new_ops=KERNELS)

    session = Session(onnx_ig.differentiate(model, wrt=[x_name], outputs=[logits]), "cpu", threads=1)
    y = forward.run(None, {x_name: x.astype(np.float64)})[0]
    assert np.all(np.isfinite(y)) and float(np.std(y)) > 1e-3, "the weights give no usable output"
    cotangent = rng.standard_normal(y.shape).astype(np.float32)
    feeds = {x_name: x, f"cotangent_{logits}": cotangent}
    grad = session.run(feeds, [f"grad_{x_name}"])[f"grad_{x_name}"].astype(np.float64)
    assert grad.shape == x.shape
    assert float(np.linalg.norm(grad)) > 1e-3 * float(np.std(y)), "the weights give no usable gradient"

    # half along the gradient, half at random: one direction sees the size and every element
    across = rng.standard_normal(x.shape)
    direction = grad / np.linalg.norm(grad) + across / np.linalg.norm(across)
    up, down = (forward.run(None, {x_name: x + sign * STEP * direction})[0] for sign in (1, -1))
    slope = float(np.sum((up - down) * cotangent)) / (2 * STEP)
    error = abs(slope - float(np.sum(grad * direction))) / float(np.linalg.norm(grad))
    assert error < TOLERANCE
