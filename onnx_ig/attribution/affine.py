"""Find the affine prefix: the tensors up to which the straight path stays straight.

Along x' + a (x − x') every tensor that depends affinely on the attributed ones is itself a straight line. So what
computes such tensors is evaluated at the two end points only, the path is laid at the frontier (the affine tensors that
something not affine reads), and the summed cotangent is pulled back through the prefix once. The result is the same;
the cost of the prefix no longer grows with the number of steps. Path points ride as further examples, so where several
do, the prefix ends where the examples have no axis to themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from onnx_ig.graph.builder import is_static
from onnx_ig.graph.node import attr_int, attr_str, constant
from onnx_ig.graph.reading import read_by

# Affine in their first input, whatever the others are, as long as those do not move along the path.
# fmt: off
_IN_THE_FIRST = frozenset((
    "AveragePool", "BatchNormalization", "Conv", "ConvTranspose", "CumSum", "DFT", "DepthToSpace", "Div", "Dropout",
    "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "GlobalAveragePool", "Identity", "Neg", "Pad",
    "ReduceMean", "ReduceSum", "Reshape", "Resize", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose",
    "Trilu", "Unsqueeze",
))
# fmt: on
# Affine in all inputs together.
_JOINTLY = frozenset(("Add", "Concat", "Mean", "Sub", "Sum"))
# Affine in one input while the others stand still.
_IN_EACH = frozenset(("Einsum", "Gemm", "MatMul", "Mul"))
# Their value depends on the shape of what they read alone, and shapes do not move.
_SHAPES = frozenset(("Shape", "Size"))
# What makes a prefix worth evaluating apart from the path.
_COSTLY = frozenset(("Conv", "ConvTranspose", "DFT", "Einsum", "Gemm", "MatMul"))
# A frontier this much larger than the input would cost more memory traffic than the prefix saves.
_LARGEST_GROWTH = 16


def affine_frontier(
    nodes: Sequence[ir.Node], sources: Sequence[ir.Value], output: ir.Value, *, batched: bool
) -> dict[ir.Value, int]:
    """The tensors at which to lay the path from ``sources`` to ``output``, each with the axis of its examples.

    The end of the affine prefix, or the sources themselves where that saves nothing.

    Args:
        nodes: the forward graph in topological order.
        sources: the tensors the path is defined at, examples on axis 0; they may be in the result themselves.
        batched: several path points are evaluated at once, as further examples.
    """
    themselves = dict.fromkeys(sources, 0)
    if any(x.dtype not in (ir.DataType.FLOAT, ir.DataType.DOUBLE) for x in sources):
        return themselves  # half precision: the summed cotangent is kept in float32 and would have to be narrowed
    affine = dict(themselves)
    moving, frontier, costly = set(sources), dict[ir.Value, int](), False
    needed = _ancestors(nodes, output)
    examples = {_name(x.shape[0]) for x in sources if x.shape} - {None}
    for node in nodes:
        if node not in needed or node.op_type in _SHAPES or not any(x in moving for x in read_by(node)):
            continue
        moving.update(node.outputs)
        axes = {y: _axis(y, examples) if batched else 0 for y in node.outputs if y.shape is not None}
        known = {y: axis for y, axis in axes.items() if axis is not None}
        straight = all(x not in moving or x in affine for x in node.inputs if x is not None)
        if straight and len(known) == len(node.outputs) and _is_affine(node, moving) and not _moves_rows(node, affine):
            affine.update(known)
            costly |= node.op_type in _COSTLY
        else:
            frontier.update((x, affine[x]) for x in read_by(node) if x in affine)
    if output in affine:
        frontier[output] = affine[output]
    if not costly or not frontier or _elements(frontier) > _LARGEST_GROWTH * _elements(sources):
        return themselves
    return frontier


def _is_affine(node: ir.Node, moving: set[ir.Value]) -> bool:
    """Whether the node's outputs are affine in those of its inputs that move along the path."""
    if node.domain not in ("", "ai.onnx"):
        return False
    moves = [i for i, x in enumerate(node.inputs) if x in moving]
    if node.op_type in _JOINTLY:
        return True
    if node.op_type in _IN_EACH:
        return len(moves) == 1 or (node.op_type == "Gemm" and (0 in moves) != (1 in moves))
    if node.op_type not in _IN_THE_FIRST or moves != [0]:
        return False
    if node.op_type == "Pad":
        return attr_str(node, "mode", "constant") in ("constant", "reflect", "edge", "wrap")
    if node.op_type == "Resize":
        return attr_str(node, "mode", "nearest") in ("nearest", "linear", "cubic")
    if node.op_type == "BatchNormalization":
        return attr_int(node, "training_mode", 0) == 0 and len(node.outputs) == 1
    if node.op_type == "Dropout":
        return len(node.outputs) == 1 and (len(node.inputs) < 3 or node.inputs[2] is None)
    return True


def _moves_rows(node: ir.Node, affine: Mapping[ir.Value, int]) -> bool:
    """Whether rows change places along the examples' axis of the first input, as where sequences are sorted by length.

    What brings them back counts the examples alone, and not those that path points add.
    """
    x = node.inputs[0]
    if x not in affine or x is None or node.op_type not in ("Gather", "GatherElements", "GatherND", "Slice"):
        return False
    axis = affine[x]
    if node.op_type == "GatherND":
        return attr_int(node, "batch_dims", 0) <= axis
    if node.op_type != "Slice":
        return attr_int(node, "axis", 0) in (axis, axis - len(x.shape or ()))
    axes = constant(node.inputs[3]) if len(node.inputs) > 3 else None
    return axes is None or bool({axis, axis - len(x.shape or ())} & set(axes.tolist()))


def _axis(x: ir.Value, examples: set[str | None]) -> int | None:
    """The one axis of ``x`` whose size is called as the ``examples`` are."""
    found = [axis for axis, size in enumerate(x.shape or ()) if _name(size) in examples]
    return found[0] if len(found) == 1 else None


def _name(size: int | ir.SymbolicDim) -> str | None:
    return None if isinstance(size, int) else size.value


def _ancestors(nodes: Sequence[ir.Node], output: ir.Value) -> set[ir.Node]:
    wanted, found = {output}, set()
    for node in reversed(nodes):
        if any(y in wanted for y in node.outputs):
            found.add(node)
            wanted.update(read_by(node))
    return found


def _elements(values: Iterable[ir.Value]) -> int:
    """Elements of the values for one example, as far as they are declared."""
    total = 0
    for x in values:
        dims = [] if x.shape is None else [d if isinstance(d, int) else 1 for d in x.shape]
        total += int(np.prod(dims, dtype=np.int64)) if is_static(x) or dims else 1
    return max(total, 1)
