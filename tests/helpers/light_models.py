"""The nine published architectures in onnx's own test data, with random weights that give them gradients."""

import functools
from pathlib import Path

import numpy as np
import onnx
import onnx.backend.test

LIGHT = Path(onnx.backend.test.__file__).parent / "data" / "light"
NAMES = ["bvlc_alexnet", "densenet121", "inception_v1", "inception_v2", "resnet50", "shufflenet", "squeezenet"]
NAMES += ["vgg19", "zfnet512"]


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
