"""Random models that compute each example by itself, wherever the axis of the examples goes on the way.

The one idea: a tensor is drawn with its dimensions, of which one is the examples'; operators mix all the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import helper

EXAMPLES = "N"
FEATURES = (4, 3)  # of one example of the input x
OPSET = 18
_MOST_AXES = 4


@dataclass(frozen=True)
class Tensor:
    """A tensor of the graph; ``dims`` are numbers and, once, EXAMPLES."""

    name: str
    dims: tuple[int | str, ...]

    @property
    def examples(self) -> int:
        """The axis of the examples."""
        return self.dims.index(EXAMPLES)

    @property
    def others(self) -> list[int]:
        """The other axes."""
        return [i for i, d in enumerate(self.dims) if d != EXAMPLES]

    def size(self, axis: int) -> int:
        """The size of an axis that is not the examples'."""
        return int(self.dims[axis])

    def resized(self, axis: int, *sizes: int) -> tuple[int | str, ...]:
        """``dims`` with ``sizes`` in the place of one."""
        return (*self.dims[:axis], *sizes, *self.dims[axis + 1 :])


class Batches:
    """The graph so far."""

    def __init__(self, draw: Callable[..., Any]) -> None:
        self.draw = draw
        self.rng = np.random.default_rng(self.integer(0, 2**20))
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.tensors = [Tensor("x", (EXAMPLES, *FEATURES))]
        self.further: list[Tensor] = []  # inputs beside x, with a row per example

    def integer(self, low: int, high: int) -> int:
        """An integer of [low, high]."""
        return int(self.draw(st.integers(low, high)))

    def choice(self, options: Any) -> Any:
        """One of the options."""
        return options[self.integer(0, len(options) - 1)]

    def constant(self, value: Any) -> str:
        """A constant: floats in float32, integers in int64."""
        array = np.asarray(value)
        array = array.astype(np.float32 if array.dtype.kind == "f" else np.int64)
        self.constants.append(onnx.numpy_helper.from_array(array, f"c{len(self.constants)}"))
        return self.constants[-1].name

    def drawn(self, *shape: int) -> str:
        """A float constant."""
        return self.constant(self.rng.normal(scale=0.7, size=shape))

    def add(self, op_type: str, inputs: list[str], *dims: tuple[int | str, ...], **attributes: Any) -> None:
        """A node, with an output of each of ``dims``."""
        outputs = [f"t{len(self.nodes)}_{i}" for i in range(len(dims))]
        self.nodes.append(helper.make_node(op_type, inputs, outputs, **attributes))
        self.tensors += [Tensor(name, d) for name, d in zip(outputs, dims, strict=True)]

    def model(self) -> onnx.ModelProto:
        """With two numbers per example as output, which depend on every tensor that nothing else reads."""
        read = {name for node in self.nodes for name in node.input}
        total = ""
        for t in [t for t in self.tensors if t.name not in read]:
            perm = [t.examples, *t.others]
            features = math.prod(t.size(i) for i in t.others)
            self.add("Transpose", [t.name], tuple(t.dims[i] for i in perm), perm=perm)
            self.add("Reshape", [self.tensors[-1].name, self.constant([0, features])], (EXAMPLES, features))
            self.add("MatMul", [self.tensors[-1].name, self.drawn(features, 2)], (EXAMPLES, 2))
            if total:
                self.add("Add", [total, self.tensors[-1].name], (EXAMPLES, 2))
            total = self.tensors[-1].name
        self.nodes.append(helper.make_node("Identity", [total], ["y"]))
        inputs = [
            helper.make_tensor_value_info(t.name, onnx.TensorProto.FLOAT, t.dims)
            for t in (Tensor("x", (EXAMPLES, *FEATURES)), *self.further)
        ]
        outputs = [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [EXAMPLES, 2])]
        graph = helper.make_graph(self.nodes, "batches", inputs, outputs, self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)


def _weight(g: Batches, t: Tensor) -> None:
    if t.dims[-1] != EXAMPLES:
        columns = g.integer(2, 4)
        g.add("MatMul", [t.name, g.drawn(t.size(-1), columns)], (*t.dims[:-1], columns))


def _transpose(g: Batches, t: Tensor) -> None:
    perm = g.draw(st.permutations(range(len(t.dims))))
    g.add("Transpose", [t.name], tuple(t.dims[i] for i in perm), perm=perm)


def _pointwise(g: Batches, t: Tensor) -> None:
    g.add(g.choice(("Tanh", "Sigmoid", "Sin", "Softplus", "Neg", "Identity")), [t.name], t.dims)


def _shifted_or_scaled(g: Batches, t: Tensor) -> None:
    other = g.drawn(*(1 if d == EXAMPLES else int(d) for d in t.dims))
    g.add(g.choice(("Add", "Mul", "Sub")), [t.name, other], t.dims)


def _of_two(g: Batches, t: Tensor) -> None:
    other = g.choice([u for u in g.tensors if u.dims == t.dims])
    g.add(g.choice(("Add", "Mul", "Sub")), [t.name, other.name], t.dims)


def _with_itself_transposed(g: Batches, t: Tensor) -> None:
    if len(t.dims) == 3 and t.examples == 0:
        g.add("Transpose", [t.name], (EXAMPLES, t.dims[2], t.dims[1]), perm=[0, 2, 1])
        g.add("MatMul", [t.name, g.tensors[-1].name], (EXAMPLES, t.dims[1], t.dims[1]))


def _concatenated(g: Batches, t: Tensor) -> None:
    if t.others:
        axis = g.choice(t.others)
        fits = [u for u in g.tensors if len(u.dims) == len(t.dims) and u.resized(axis) == t.resized(axis)]
        other = g.choice([u for u in fits if u.dims[axis] != EXAMPLES])
        g.add("Concat", [t.name, other.name], t.resized(axis, t.size(axis) + other.size(axis)), axis=axis)


def _joined_to_an_input(g: Batches, t: Tensor) -> None:
    if t.others and t.examples == 0:
        axis = g.choice(t.others)
        columns = g.integer(1, 2)
        g.further.append(Tensor(f"b{len(g.further)}", t.resized(axis, columns)))
        pair = [t.name, g.further[-1].name]
        g.add("Concat", pair[:: g.choice((1, -1))], t.resized(axis, t.size(axis) + columns), axis=axis)


def _split(g: Batches, t: Tensor) -> None:
    axes = [i for i in t.others if t.size(i) > 1]
    if axes:
        axis = g.choice(axes)
        first = g.integer(1, t.size(axis) - 1)
        sizes = [first, t.size(axis) - first]
        g.add("Split", [t.name, g.constant(sizes)], *(t.resized(axis, n) for n in sizes), axis=axis)


def _sliced(g: Batches, t: Tensor) -> None:
    axes = [i for i in t.others if t.size(i) > 1]
    if axes:
        axis = g.choice(axes)
        bounds = [g.constant([1]), g.constant([t.size(axis)]), g.constant([axis])]
        g.add("Slice", [t.name, *bounds], t.resized(axis, t.size(axis) - 1))


def _mean(g: Batches, t: Tensor) -> None:
    if len(t.dims) > 2:
        axis, kept = g.choice(t.others), g.integer(0, 1)
        g.add("ReduceMean", [t.name, g.constant([axis])], t.resized(axis, *[1] * kept), keepdims=kept)


def _axis_more(g: Batches, t: Tensor) -> None:
    if len(t.dims) < _MOST_AXES:
        axis = g.integer(0, len(t.dims))
        g.add("Unsqueeze", [t.name, g.constant([axis])], (*t.dims[:axis], 1, *t.dims[axis:]))


def _flattened(g: Batches, t: Tensor) -> None:
    if t.examples == 0:
        features = math.prod(t.size(i) for i in t.others)
        g.add("Reshape", [t.name, g.constant([0, features])], (EXAMPLES, features))


def _normalised(g: Batches, t: Tensor) -> None:
    if t.others:
        axis = g.choice(t.others)
        g.add("Softmax", [t.name], t.dims, axis=axis)


def _recurrent(g: Batches, t: Tensor) -> None:
    if len(t.dims) == 3 and t.examples == 0:
        g.add("Transpose", [t.name], (t.dims[1], EXAMPLES, t.dims[2]), perm=[1, 0, 2])
        t = g.tensors[-1]
    if len(t.dims) != 3 or t.examples != 1:
        return
    size, initial = 3, ""
    states = [u for u in g.tensors if len(u.dims) == 2 and u.examples == 0]
    if states and g.integer(0, 1):
        state = g.choice(states)
        size = state.size(1)
        g.add("Unsqueeze", [state.name, g.constant([0])], (1, EXAMPLES, size))
        initial = g.tensors[-1].name
    op_type, gates = g.choice((("LSTM", 4), ("GRU", 3), ("RNN", 1)))
    weights = [g.drawn(1, gates * size, columns) for columns in (t.size(2), size)]
    inputs = [t.name, *weights, g.drawn(1, 2 * gates * size), "", initial]
    dims = (t.dims[0], 1, EXAMPLES, size), (1, EXAMPLES, size)
    g.add(op_type, inputs, *dims, hidden_size=size, direction=g.choice(("forward", "reverse")))


_OPERATIONS = (
    _weight, _transpose, _transpose, _pointwise, _shifted_or_scaled, _of_two, _with_itself_transposed, _concatenated,
    _joined_to_an_input, _split, _sliced, _mean, _axis_more, _flattened, _normalised, _recurrent,
)  # fmt: skip


@st.composite
def batches(draw: Callable[..., Any]) -> onnx.ModelProto:
    """A model of 3–12 operations from x [N, 4, 3], and perhaps inputs that are joined to it, to y [N, 2]."""
    g = Batches(draw)
    for _ in range(g.integer(3, 12)):
        g.choice(_OPERATIONS)(g, g.choice(g.tensors[-4:]))
    return g.model()
