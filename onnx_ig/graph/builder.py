"""The graph builder that rules write with: ``op.Mul(a, b)`` adds a node, infers its type and folds constants.

The one idea: a rule states a formula; whatever is known while the graph is built (static dimensions, constant weights)
is computed at once, so that a static model yields a gradient free of shape arithmetic and a dynamic one stays dynamic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnxscript import GraphBuilder

from onnx_ig.common.types import Array
from onnx_ig.graph.constants import evaluated

# Results up to this size are stored; larger ones stay nodes, so that a transposed copy of a weight costs no file size.
# Every runtime folds them when it opens the model.
_FOLD_LIMIT_BYTES = 1 << 16
_VIEWS = frozenset({"Reshape", "Squeeze", "Unsqueeze"})  # in memory they cost nothing, whatever their size
_NEVER_FOLDED = frozenset(
    {"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial"}
    | {"QuantizeLinear", "DequantizeLinear"}  # quantised weights stay small
)


class _UniqueNames(GraphBuilder):
    """onnxscript's builder with names that cannot meet the model's own, and no metadata on each node."""

    def __init__(self, graph: ir.Graph, taken: set[str], parent: _UniqueNames | None = None) -> None:
        super().__init__(graph, parent=parent)
        self.taken = taken
        self._constants: dict[tuple[Any, ...], ir.Value] = {} if parent is None else parent._constants

    def fresh(self, stem: str) -> str:
        """``stem``, or the first of stem_1, stem_2, ... that no value bears."""
        name, count = stem, len(self.taken)
        while name in self.taken:
            count += 1
            name = f"{stem}_{count}"
        self.taken.add(name)
        return name

    def _adapt_outputs(self, outputs: int | Sequence[str | ir.Value], op_type: str) -> Sequence[ir.Value]:
        if isinstance(outputs, int):
            return [ir.Value(name=self.fresh(f"grad_{op_type}")) for _ in range(outputs)]
        return [out if isinstance(out, ir.Value) else ir.Value(name=self.fresh(out)) for out in outputs]

    def _generate_node_name(self, op_type: str) -> str:
        return ""

    def _annotate_node(self, node: ir.Node) -> None:
        pass

    def _constant_propagation(self, node: ir.Node) -> None:
        pass

    def _promote_constant(self, value: Any, dtype: ir.DataType | None) -> ir.Value:
        array = np.asarray(value)
        if array.size == 0 and array.dtype == np.float64:
            array = array.astype(np.int64)  # an empty list is a list of axes or dimensions
        if dtype is not None:
            array = array.astype(dtype.numpy())
        elif array.dtype == np.float64 and not isinstance(value, (np.ndarray, np.generic)):
            array = array.astype(np.float32)
        return self.constant(ir.tensor(array))

    def constant(self, tensor: ir.TensorProtocol) -> ir.Value:
        """An initialiser of the root graph; equal small constants are one."""
        key: tuple[Any, ...] = (
            tensor.dtype,
            tuple(tensor.shape.numpy()),
            tensor.tobytes() if tensor.dtype != ir.DataType.STRING and tensor.nbytes <= 256 else id(tensor),
        )
        if key not in self._constants:
            value = ir.Value(
                name=self.fresh("grad_const"),
                shape=ir.Shape(tensor.shape.numpy()),
                type=ir.TensorType(tensor.dtype),
                const_value=tensor,
            )
            self._add_initializer(value)
            self._constants[key] = value
        return self._constants[key]


class OpBuilder:
    """Adds operators of the default domain to ``graph``: ``op.<Operator>(*inputs, **attributes)``.

    Python numbers and lists become constants of the peer's type; a misspelled operator, or one that the graph's opset
    does not have, raises AttributeError at once. ``_outputs=n`` asks for n outputs.
    """

    def __init__(self, graph: ir.Graph, *, parent: OpBuilder | None = None) -> None:
        self.graph = graph
        if parent is not None:
            graph.opset_imports.setdefault("", parent.opset)  # a body in a file has none of its own
        self.opset: int = graph.opset_imports[""]
        taken = names_in(graph) if parent is None else parent._builder.taken
        self._builder: _UniqueNames = _UniqueNames(graph, taken, None if parent is None else parent._builder)

    def __getattr__(self, op_type: str) -> Callable[..., Any]:
        if op_type.startswith("_") or not onnx.defs.has(op_type, self.opset, ""):
            raise AttributeError(f"opset {self.opset} of the default domain has no operator {op_type!r}")

        def add(*inputs: Any, _outputs: int | Sequence[str] = 1, **attributes: Any) -> Any:
            if op_type == "Shape" and not attributes and is_static(inputs[0]):
                return self.constant(np.array(static_shape(inputs[0]), np.int64))
            attributes = {name: value for name, value in attributes.items() if value is not None}
            result = self._builder.op._call_op(op_type, inputs, {**attributes, "_outputs": _outputs})
            values = [result] if isinstance(result, ir.Value) else list(result)
            if isinstance(_outputs, int):  # a named value stays one
                values = self._folded(values)
            return values[0] if isinstance(result, ir.Value) else tuple(values)

        return add

    def add_node(
        self, op_type: str, inputs: Sequence[ir.Value | None], attributes: Mapping[str, Any], n_outputs: int
    ) -> Sequence[ir.Value]:
        """The dynamic form of ``op.<Operator>``: always a sequence of outputs."""
        made = getattr(self, op_type)(*inputs, **attributes, _outputs=n_outputs)
        return [made] if isinstance(made, ir.Value) else list(made)

    def _folded(self, values: list[ir.Value]) -> list[ir.Value]:
        """The constants that a node's outputs are, when every input of it is constant and the results are small."""
        node = values[0].producer()
        assert node is not None
        if node.op_type in _NEVER_FOLDED or any(x is not None and x.const_value is None for x in node.inputs):
            return values
        if any(v is not None and v.dtype == ir.DataType.STRING for v in (*node.inputs, *values)):
            return values  # class labels: no formula is shorter without them
        size = 0
        for y in values:
            if is_static(y) and y.dtype is not None:
                size += int(np.prod(static_shape(y), dtype=np.int64) * y.dtype.itemsize)
            else:
                size += sum(x.const_value.nbytes for x in node.inputs if x is not None and x.const_value is not None)
        if (size > _FOLD_LIMIT_BYTES and node.op_type not in _VIEWS) or any(
            a.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for a in node.attributes.values()
        ):
            return values
        arrays = evaluated(node, self.opset)
        self._builder.graph.remove(node, safe=True)  # lets go of its inputs
        return [self.constant(array) for array in arrays]

    def constant(self, array: Array | ir.TensorProtocol, like: ir.Value | None = None) -> ir.Value:
        """A constant tensor, cast to the element type of ``like`` when given."""
        if isinstance(array, np.ndarray):
            if like is not None and like.dtype is not None:
                array = array.astype(like.dtype.numpy())
            return self._builder.constant(ir.tensor(array))
        return self._builder.constant(array)

    def fresh(self, stem: str) -> str:
        """A value name that nothing in the model bears yet."""
        return self._builder.fresh(stem)

    def infer(self, node: ir.Node) -> None:
        """Set the types and shapes of an existing node's outputs as far as its inputs tell."""
        version, node.version = node.version, self.opset
        self._builder._infer_shapes(node)
        node.version = version
        node.metadata_props.pop("pkg.onnxscript.shape_inference_error", None)  # what stays unknown is seen as unknown

    def subgraph(self, name: str, inputs: Sequence[ir.Value]) -> OpBuilder:
        """A builder for the body of a control-flow operator; the body may read this graph's values."""
        body = ir.Graph(list(inputs), [], nodes=[], opset_imports=dict(self.graph.opset_imports), name=name)
        return OpBuilder(body, parent=self)

    # -- shapes ---------------------------------------------------------------------------------------------------

    def dim(self, x: ir.Value, axis: int) -> ir.Value:
        """The size of ``x`` along ``axis``, int64 [1]: a constant where it is known, else Shape and Slice."""
        if x.shape is not None:
            size = x.shape[axis]
            if isinstance(size, int):
                return self.constant(np.array([size], np.int64))
        return self.Shape(x, start=axis, end=axis + 1 if axis != -1 else None)

    def rank(self, x: ir.Value) -> ir.Value:
        """The number of axes of ``x``, int64 []."""
        if x.shape is not None:
            return self.constant(np.array(len(x.shape), np.int64))
        return self.Size(self.Shape(x))

    def zeros_like(self, x: ir.Value) -> ir.Value:
        """A tensor of zeros of x's shape and type."""
        assert x.dtype is not None
        zero = ir.tensor(np.zeros(1, x.dtype.numpy()), dtype=x.dtype)
        return self.ConstantOfShape(self.Shape(x), value=zero)

    def reshape_like(self, x: ir.Value, like: ir.Value) -> ir.Value:
        """``x`` in the shape of ``like`` (same number of elements)."""
        if same_shape(x, like):
            return x
        shape = _reshape_target(like)
        return self.Reshape(x, self.Shape(like) if shape is None else shape, allowzero=int(shape is None))

    def unbroadcast(self, dy: ir.Value, x: ir.Value) -> ir.Value:
        """Sum ``dy`` over the axes along which ``x`` was broadcast to dy's shape (ONNX's multidirectional rule)."""
        if same_shape(dy, x):
            return dy
        if dy.shape is not None and x.shape is not None:
            lead = len(dy.shape) - len(x.shape)
            if all(isinstance(d, int) or _same_dim(d, dy.shape[lead + i]) for i, d in enumerate(x.shape)):
                axes = [i for i in range(len(dy.shape)) if i < lead or (x.shape[i - lead] == 1 and dy.shape[i] != 1)]
                if not axes:
                    return dy
                summed = self.ReduceSum(dy, axes, keepdims=1)
                return self.Squeeze(summed, list(range(lead))) if lead else summed
            return self._split_sum(dy, x)
        # axes where x's shape, padded with leading ones, is one: summing an axis of size one changes nothing
        shape = self.Shape(x)
        lead_ones = self.Expand(1, self.Reshape(self.Sub(self.rank(dy), self.rank(x)), [1]))
        padded = self.Concat(lead_ones, shape, axis=0)
        axes = self.Reshape(self.NonZero(self.Equal(padded, 1)), [-1])
        return self.Reshape(self.ReduceSum(dy, axes, keepdims=1, noop_with_empty_axes=1), shape)

    def _split_sum(self, dy: ir.Value, x: ir.Value) -> ir.Value:
        """:meth:`unbroadcast` where only the run knows which axes were broadcast.

        An axis of size D that has size d in x (one, or D) is split into [D/d, d] and the first part summed. So the
        summed axes are constants: OpenVINO takes no others whose number depends on data.
        """
        assert dy.shape is not None and x.shape is not None
        lead = len(dy.shape) - len(x.shape)
        split, summed = [self.dim(dy, i) for i in range(lead)], list(range(lead))
        for i, d in enumerate(x.shape):
            if not _same_dim(d, dy.shape[lead + i]):
                summed.append(len(split))
                split.append(self.Div(self.dim(dy, lead + i), self.Max(self.dim(x, i), 1)))  # an empty axis has d = 0
            split.append(self.dim(x, i))
        return self.ReduceSum(self.Reshape(dy, self.Concat(*split, axis=0), allowzero=1), summed, keepdims=0)


def take_off(graph: ir.Graph, last: ir.Node) -> list[ir.Node]:
    """Take what was appended after ``last`` off the graph again; returns it in order."""
    added: list[ir.Node] = []
    while graph[-1] is not last:
        added.insert(0, graph[-1])
        graph.remove(added[0])
    return added


def names_in(graph: ir.Graph) -> set[str]:
    """Every value name in the graph and its subgraphs."""
    names = {v.name for v in (*graph.inputs, *graph.initializers.values()) if v.name}
    for node in ir.traversal.RecursiveGraphIterator(graph):
        names.update(v.name for v in node.outputs if v.name)
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.GRAPH:
                names.update(v.name for v in attribute.as_graph().inputs if v.name)
    return names


def static_shape(x: ir.Value) -> tuple[int, ...]:
    """The shape of ``x``; call only when :func:`is_static`."""
    assert x.shape is not None
    return tuple(int(d) for d in x.shape)  # type: ignore[arg-type]


def is_static(x: ir.Value) -> bool:
    """Whether every dimension of ``x`` is known."""
    return x.shape is not None and all(isinstance(d, int) for d in x.shape)


def rank_of(x: ir.Value) -> int | None:
    """The number of axes of ``x``, None where unknown."""
    return None if x.shape is None else len(x.shape)


def _same_dim(a: int | ir.SymbolicDim, b: int | ir.SymbolicDim) -> bool:
    """Whether two dimensions are known to be equal; two anonymous ones are not, though onnx_ir compares them so."""
    if isinstance(a, int) or isinstance(b, int):
        return a == b
    return a.value is not None and a.value == b.value


def same_shape(a: ir.Value, b: ir.Value) -> bool:
    """Whether two values are known to have the same shape."""
    if a is b:
        return True
    if a.shape is None or b.shape is None or len(a.shape) != len(b.shape):
        return False
    return all(_same_dim(p, q) for p, q in zip(a.shape, b.shape, strict=True))


def _reshape_target(like: ir.Value) -> list[int] | None:
    """A constant Reshape target (at most one −1) for like's shape, None where two or more dimensions are unknown."""
    if like.shape is None:
        return None
    dims = [d if isinstance(d, int) else -1 for d in like.shape]
    return dims if dims.count(-1) <= 1 and 0 not in dims else None
