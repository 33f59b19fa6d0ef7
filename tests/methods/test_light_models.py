"""The nine published architectures in onnx's own test data, with weights that give them gradients.

Their weights are ConstantOfShape nodes of one value, so every gradient is zero. Here each float weight gets seeded
random values of He scale, the network is cut before its last Softmax, and the gradient that ONNX Runtime computes in
float32 is held against central differences of the network in float64, where the step is too small for a ReLU to flip.
"""

import numpy as np
import onnx
import onnx.backend.test
import pytest
from onnx.reference import ReferenceEvaluator

import onnx_ig
from onnx_ig.checking.exact.widening import as_float64
from onnx_ig.runtime.session import Session
from tests.helpers.light_models import NAMES, logits_of, with_weights
from tests.judging.kernels.torch_ops import KERNELS

STEP = 1e-7
TOLERANCE = 1e-3  # of ‖∇F‖, for a gradient in float32


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
