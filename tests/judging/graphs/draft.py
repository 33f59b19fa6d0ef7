"""A model being drawn: tensors to choose from, choices made by Hypothesis, nodes added with their shapes inferred.

Shapes come from the standard's own inference for one node, so that an operator of the table needs no shape formula.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import onnx
from hypothesis import strategies as st

T = TypeVar("T")
FLOAT, INT64, BOOL = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64, onnx.TensorProto.BOOL
LARGEST = 400  # elements of a tensor
DEEPEST = 5  # axes of a tensor


class Unfit(Exception):
    """The operator cannot be added here: too many nodes, too large a result, or a shape that nobody can infer."""


@dataclass(frozen=True)
class Tensor:
    """A float tensor of the graph with the shape that it has at the drawn inputs."""

    name: str
    shape: tuple[int, ...]

    @property
    def rank(self) -> int:
        """The number of axes."""
        return len(self.shape)


class Draft:
    """The graph so far; ``tensors`` are the float tensors on which later nodes may build."""

    def __init__(self, draw: Callable[..., Any], opset: int, seed: int, chain: bool, n_nodes: int) -> None:
        self.draw, self.opset, self.chain, self.n_nodes = draw, opset, chain, n_nodes
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.inputs: dict[str, np.ndarray] = {}
        self.tensors: list[Tensor] = []
        self.types: dict[str, onnx.TypeProto] = {}
        self.known: dict[str, onnx.TensorProto] = {}  # values that shape inference may read
        self._made = 0

    # choices

    def integer(self, low: int, high: int) -> int:
        """An integer of [low, high]."""
        return int(self.draw(st.integers(low, high)))

    def choice(self, options: Sequence[T]) -> T:
        """One of the options."""
        return options[self.integer(0, len(options) - 1)]

    def flag(self) -> bool:
        """A fair coin."""
        return bool(self.draw(st.booleans()))

    def axis(self, x: Tensor) -> int:
        """An axis of ``x``, counted from either end."""
        return self.integer(0, x.rank - 1) - (x.rank if self.flag() else 0)

    def axes(self, x: Tensor) -> list[int]:
        """One or more axes of ``x``, in any order, each counted from either end."""
        picked = self.draw(st.lists(st.integers(0, x.rank - 1), min_size=1, max_size=x.rank, unique=True))
        return [a - x.rank if self.flag() else a for a in picked]

    def tensor(self, *ranks: int) -> Tensor:
        """An earlier tensor of one of the ranks (1 to 4 when none is given); reshaped into one where there is none."""
        ranks = ranks or (1, 2, 3, 4)
        fits = [t for t in self.tensors if t.rank in ranks]
        if not fits:
            return self.reranked(self.tensors[-1], self.choice(ranks))
        return fits[-1] if self.chain or self.flag() else self.choice(fits)

    def reranked(self, x: Tensor, rank: int) -> Tensor:
        """``x`` with its leading axes joined, or with axes of one element put in, until it has ``rank`` of them."""
        if x.rank >= rank:
            kept = x.shape[x.rank - rank + 1 :]
            return self.add("Reshape", [x, self.ints([-1, *kept])])
        places = self.draw(
            st.lists(st.integers(0, rank - 1), min_size=rank - x.rank, max_size=rank - x.rank, unique=True)
        )
        return self.add("Unsqueeze", [x, self.ints(places)])

    def peer(self, x: Tensor) -> Tensor:
        """A tensor that broadcasts with ``x``: an earlier one, or a weight with axes of one element or left out."""
        fits = [t for t in self.tensors if _broadcast(t.shape, x.shape) is not None]
        if fits and self.flag():
            return self.choice(fits)
        shape = [d if self.flag() else 1 for d in x.shape][self.integer(0, x.rank) if x.rank else 0 :]
        return self.weight(*shape)

    # leaves

    def weight(self, *shape: int, low: float = -1.0, high: float = 1.0) -> Tensor:
        """Uniform numbers of [low, high]: an initialiser, a Constant node or a further input of the model."""
        return self.leaf(self.rng.uniform(low, high, shape).astype(np.float32))

    def scalar(self, value: float) -> Tensor:
        """The number as an initialiser."""
        return self.leaf(np.float32(value), kinds=1)

    def leaf(self, array: Any, kinds: int = 3) -> Tensor:
        """The array as an initialiser, a Constant node or (``kinds`` ≥ 3) an input."""
        array = np.asarray(array)
        name, kind = self._name("w"), self.integer(0, kinds - 1)
        proto = onnx.numpy_helper.from_array(array, name)
        if kind == 2:
            self.inputs[name] = array
        elif kind == 1:
            self.nodes.append(onnx.helper.make_node("Constant", [], [name], value=proto))
        else:
            self.initializers.append(proto)
        if kind < 2:
            self.known[name] = proto
        self.types[name] = onnx.helper.make_tensor_type_proto(proto.data_type, array.shape)
        return Tensor(name, array.shape)

    def ints(self, values: Any) -> Tensor:
        """int64 numbers as an initialiser or a Constant node."""
        return self.leaf(np.asarray(values, np.int64), kinds=2)

    def feed(self, *shape: int) -> Tensor:
        """A further float input of the model, to build on."""
        name = self._name("x")
        self.inputs[name] = self.rng.uniform(-1.5, 1.5, shape).astype(np.float32)
        self.types[name] = onnx.helper.make_tensor_type_proto(FLOAT, shape)
        self.tensors.append(Tensor(name, shape))
        return self.tensors[-1]

    # nodes

    def add(self, op_type: str, inputs: Sequence[Tensor | None], **attributes: Any) -> Tensor:
        """Add a node of one output; see :meth:`add_many`."""
        return self.add_many(op_type, inputs, 1, **attributes)[0]

    def add_many(
        self,
        op_type: str,
        inputs: Sequence[Tensor | None],
        n_outputs: int,
        known_shape: tuple[int, ...] | None = None,
        **attributes: Any,
    ) -> list[Tensor]:
        """Add a node; its float outputs join ``tensors``. ``known_shape``: where inference does not know."""
        names = [self._name("t") for _ in range(n_outputs)]
        node = onnx.helper.make_node(op_type, ["" if x is None else x.name for x in inputs], names, **attributes)
        given = [n for n in node.input if n]
        try:
            types = onnx.shape_inference.infer_node_outputs(
                onnx.defs.get_schema(op_type, self.opset),
                node,
                {n: self.types[n] for n in given},
                {n: self.known[n] for n in given if n in self.known},
                opset_imports=[onnx.helper.make_opsetid("", self.opset)],
                ir_version=10,
            )
        except onnx.shape_inference.InferenceError as error:
            raise ValueError(f"the table draws an invalid {op_type}: {error}\n{node}") from error
        self.nodes.append(node)
        if sum(n.op_type != "Constant" for n in self.nodes) > self.n_nodes:
            raise Unfit("too many nodes")
        if known_shape is not None:
            types[names[0]] = onnx.helper.make_tensor_type_proto(FLOAT, known_shape)
        made = [Tensor(n, _shape(types[n])) for n in names]
        for tensor in made:
            self.types[tensor.name] = types[tensor.name]
            if types[tensor.name].tensor_type.elem_type == FLOAT:
                self.tensors.append(tensor)
        return made

    def shape_of(self, x: Tensor, **attributes: Any) -> Tensor:
        """Shape(x), whose value shape inference may read."""
        y = self.add("Shape", [x], **attributes)
        return self.tell(y, x.shape[attributes.get("start", 0) : attributes.get("end")])

    def tell(self, x: Tensor, values: Any) -> Tensor:
        """Say what the integer tensor ``x`` holds, so that shapes that depend on it can be inferred."""
        self.known[x.name] = onnx.numpy_helper.from_array(np.asarray(values, np.int64), x.name)
        return x

    def attempt(self, step: Callable[[Draft], object]) -> bool:
        """Take the step, or leave the graph as it was where it does not fit; whether it was taken."""
        before = len(self.nodes), len(self.initializers), len(self.tensors), dict(self.inputs)
        try:
            step(self)
        except Unfit:
            del self.nodes[before[0] :], self.initializers[before[1] :], self.tensors[before[2] :]
            self.inputs = before[3]
            return False
        return True

    def _name(self, letter: str) -> str:
        self._made += 1
        return f"{letter}{self._made}"


def _broadcast(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...] | None:
    try:
        return np.broadcast_shapes(a, b)
    except ValueError:
        return None


def _shape(type_proto: onnx.TypeProto) -> tuple[int, ...]:
    """The tensor's shape; () for a sequence, which no later node picks."""
    if type_proto.WhichOneof("value") == "sequence_type":
        return ()
    dims = type_proto.tensor_type.shape.dim
    if not type_proto.tensor_type.HasField("shape") or any(not d.HasField("dim_value") for d in dims):
        raise Unfit("a shape that nobody can infer")
    shape = tuple(d.dim_value for d in dims)
    if 0 in shape or int(np.prod(shape)) > LARGEST or len(shape) > DEEPEST:
        raise Unfit("too large, or empty")
    return shape
