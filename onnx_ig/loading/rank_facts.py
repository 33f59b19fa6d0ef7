"""How many axes tensors have, where only the operators around them tell: a Conv's input has as many as its weight.

The one idea: an operator ties the ranks of some of its tensors to each other or to its attributes, in both directions,
so that what is known of one tensor is known of those before it too. (onnx's inference goes forwards alone.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import onnx_ir as ir

_Inputs = list[ir.Value | None]


class _Tie(NamedTuple):
    """Tensors whose ranks are ``rank`` + their offset; ``rank`` is None where it is one of theirs that must tell."""

    tensors: list[tuple[ir.Value | None, int]]
    rank: int | None = None


class _Broadcast(NamedTuple):
    """A tensor that has as many axes as that of ``inputs`` with the most, if each has at least so many."""

    inputs: list[ir.Value]
    output: ir.Value
    least: int


def settle_ranks(graph: ir.Graph) -> bool:
    """Give tensors of unknown rank a shape of so many unknown dimensions, in place; whether any was found."""
    ties = [tie for node in ir.traversal.RecursiveGraphIterator(graph) for tie in _ties(node)]
    found = 0
    while more := sum(_settled(tie) for tie in (*ties, *reversed(ties))):
        found += more
    return found > 0


def _settled(tie: _Tie | _Broadcast) -> bool:
    """Whether the tie told a rank that was unknown."""
    if isinstance(tie, _Broadcast):
        ranks = [len(x.shape) for x in tie.inputs if x.shape is not None]
        told = tie.output.shape is None and len(ranks) == len(tie.inputs) and min(ranks) >= tie.least
        return told and _settled(_Tie([(tie.output, 0)], max(ranks)))
    known = [len(v.shape) - offset for v, offset in tie.tensors if v is not None and v.shape is not None]
    if tie.rank is not None:
        known.append(tie.rank)
    if len(set(known)) != 1:
        return False
    found = False
    for value, offset in tie.tensors:
        if value is not None and value.shape is None and known[0] + offset >= 0 and _is_tensor(value):
            value.shape = ir.Shape([None] * (known[0] + offset))
            found = True
    return found


def _is_tensor(value: ir.Value) -> bool:
    return isinstance(value.type, ir.TensorType)


def _ties(node: ir.Node) -> Iterator[_Tie | _Broadcast]:
    """What the node says of ranks. What a body says of tensors outside holds only when it runs: left out."""
    if node.domain in ("", "ai.onnx"):
        yield from _broadcasts(node)
    make = _OPERATORS.get(node.op_type)
    if make is None or node.domain not in ("", "ai.onnx") or not node.inputs:
        return
    for tie in make(node):
        own = [(v, offset) for v, offset in tie.tensors if v is None or v.shape is not None or v.graph is node.graph]
        yield _Tie(own, tie.rank)


def _broadcasts(node: ir.Node) -> Iterator[_Broadcast]:
    if node.op_type == "Expand":
        inputs = [node.inputs[0], _of_whose_shape(node.inputs[1])]
    else:
        inputs = list(node.inputs) if node.op_type in _BROADCASTING or node.op_type == "MatMul" else []
    known = [x for x in inputs if x is not None]
    if known and len(known) == len(inputs):
        yield _Broadcast(known, node.outputs[0], 2 if node.op_type == "MatMul" else 0)


def _at(node: ir.Node, index: int) -> ir.Value | None:
    return node.inputs[index] if index < len(node.inputs) else None


def _length(value: ir.Value | None) -> int | None:
    """The number of elements of a vector."""
    known = value is not None and value.shape is not None and len(value.shape) == 1 and isinstance(value.shape[0], int)
    return int(value.shape[0]) if known else None  # type: ignore[union-attr, index, arg-type]


def _first(node: ir.Node, shift: int = 0) -> _Tie:
    """The first input and the outputs, which have ``shift`` axes more."""
    return _Tie([(node.inputs[0], 0), *((y, shift) for y in node.outputs)])


def _same(node: ir.Node) -> Iterator[_Tie]:
    yield _first(node)


def _all(node: ir.Node) -> Iterator[_Tie]:
    yield _Tie([(v, 0) for v in (*node.inputs, *node.outputs)])


def _shaped(node: ir.Node) -> Iterator[_Tie]:
    """Reshape and ConstantOfShape, whose shape is a list of so many numbers, or that of another tensor."""
    shape = node.inputs[-1]
    yield _Tie([(node.outputs[0], 0), (_of_whose_shape(shape), 0)], _length(shape))


def _of_whose_shape(shape: ir.Value | None) -> ir.Value | None:
    """The tensor that ``shape`` is the whole shape of."""
    node = None if shape is None else shape.producer()
    if node is None or node.op_type != "Shape" or "end" in node.attributes:
        return None
    start: int = node.attributes.get_int("start", 0)
    return None if start else node.inputs[0]


def _fixed(*ranks: int) -> Callable[[ir.Node], Iterator[_Tie]]:
    """The ranks of the first inputs."""

    def ties(node: ir.Node) -> Iterator[_Tie]:
        for value, rank in zip(node.inputs, ranks, strict=False):
            yield _Tie([(value, 0)], rank)

    return ties


def _window(node: ir.Node) -> Iterator[_Tie]:
    """x [N, C, *spatial], a weight of as many axes, y."""
    kernel = node.attributes.get_ints("kernel_shape", None)
    weight = _at(node, 1) if "Conv" in node.op_type else None
    yield _Tie([(node.inputs[0], 0), (weight, 0), (node.outputs[0], 0)], None if kernel is None else len(kernel) + 2)


def _transpose(node: ir.Node) -> Iterator[_Tie]:
    perm = node.attributes.get_ints("perm", None)
    yield _first(node)._replace(rank=None if perm is None else len(perm))


def _unsqueeze(node: ir.Node) -> Iterator[_Tie]:
    count = _length(_at(node, 1))
    if count is not None:
        yield _first(node, count if node.op_type == "Unsqueeze" else -count)


def _reduce(node: ir.Node) -> Iterator[_Tie]:
    count = 1 if node.op_type.startswith("Arg") else _length(_at(node, 1))
    if node.attributes.get_int("keepdims", 1):
        yield _first(node)
    elif count:
        yield _first(node, -count)


def _gemm(node: ir.Node) -> Iterator[_Tie]:
    yield _Tie([(v, 0) for v in (*node.inputs[:2], node.outputs[0])], 2)


def _tile(node: ir.Node) -> Iterator[_Tie]:
    yield _first(node)._replace(rank=_length(_at(node, 1)))


def _gather(node: ir.Node) -> Iterator[_Tie]:
    indices = _at(node, 1)
    if indices is not None and indices.shape is not None:
        yield _first(node, len(indices.shape) - 1)


def _einsum(node: ir.Node) -> Iterator[_Tie]:
    terms, _, output = str(node.attributes.get_string("equation", "")).replace(" ", "").partition("->")
    for value, term in zip((*node.inputs, *node.outputs), (*terms.split(","), output), strict=False):
        if "..." not in term and (term or value not in node.outputs):
            yield _Tie([(value, 0)], len(term))


def _rotary(node: ir.Node) -> Iterator[_Tie]:
    yield _first(node)._replace(rank=None if "num_heads" in node.attributes else 4)  # three axes need it


def _attention(node: ir.Node) -> Iterator[_Tie]:
    yield _Tie([(v, 0) for v in node.outputs[1:]], 4)
    if "q_num_heads" not in node.attributes:  # which three axes [batch, length, heads · size] need
        yield _Tie([(v, 0) for v in (*node.inputs[:3], node.outputs[0])], 4)


_SAME = frozenset(
    {
        "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Cast", "CastLike", "Ceil", "Celu", "CenterCropPad",
        "Clip", "Cos", "Cosh", "CumProd", "CumSum", "DFT", "DequantizeLinear", "Dropout", "Elu", "Erf", "Exp",
        "Floor", "Gelu", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "GroupNormalization", "HardSigmoid",
        "HardSwish", "Hardmax", "Identity", "InstanceNormalization", "IsInf", "IsNaN", "LRN", "LayerNormalization",
        "LeakyRelu", "Log", "LogSoftmax", "LpNormalization", "MaxUnpool", "MeanVarianceNormalization", "Mish", "Neg",
        "Not", "PRelu", "Pad", "QuantizeLinear", "RMSNormalization", "Reciprocal", "Relu", "Resize",
        "ReverseSequence", "Round", "ScatterND", "Selu", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Slice",
        "Softmax", "Softplus", "Softsign", "Split", "Sqrt", "Swish", "Tan", "Tanh", "ThresholdedRelu", "TopK", "Trilu",
    }
)  # fmt: skip
_BROADCASTING = frozenset(
    {
        "Add", "And", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Div", "Equal", "Greater", "GreaterOrEqual",
        "Less", "LessOrEqual", "Max", "Mean", "Min", "Mod", "Mul", "Or", "Pow", "Sub", "Sum", "Where", "Xor",
    }
)  # fmt: skip
_WINDOWS = ("AveragePool", "Conv", "ConvInteger", "ConvTranspose", "DeformConv", "LpPool", "MaxPool")
_REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")

_OPERATORS: dict[str, Callable[[ir.Node], Iterator[_Tie]]] = {
    **dict.fromkeys(_SAME, _same),
    **dict.fromkeys(("Concat", "GatherElements", "GridSample", "ScatterElements"), _all),
    **dict.fromkeys(_WINDOWS, _window),
    **dict.fromkeys((*(f"Reduce{kind}" for kind in _REDUCTIONS), "ArgMax", "ArgMin"), _reduce),
    **dict.fromkeys(("Squeeze", "Unsqueeze"), _unsqueeze),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), _fixed(3, 3, 3)),
    **dict.fromkeys(("DepthToSpace", "SpaceToDepth"), _fixed(4)),
    "Attention": _attention,
    "Einsum": _einsum,
    "Flatten": lambda node: iter([_Tie([(node.outputs[0], 0)], 2)]),
    "Gather": _gather,
    "Gemm": _gemm,
    "LinearAttention": _fixed(3, 3, 3, 4, 3, 3),
    "ConstantOfShape": _shaped,
    "Reshape": _shaped,
    "RotaryEmbedding": _rotary,
    "Tile": _tile,
    "Transpose": _transpose,
}
