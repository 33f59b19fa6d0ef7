"""What is known of a model's types and shapes: declared where it can be believed, inferred where it can be proved.

The one idea: inference starts from the inputs alone. What the file says of inner tensors only fills gaps, and none of
its numbers is used if any contradicts what is proved: files outlive the batch size they were exported with.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import onnx_ir as ir
import onnx_ir.passes.common as passes

from onnx_ig.errors import UsageError
from onnx_ig.graph.quirks.ceil_mode import SettleCeilModePass
from onnx_ig.loading.containers import restore_containers
from onnx_ig.loading.joined_axes import joined_symbols, made_up_name, rename, renamed
from onnx_ig.loading.rank_facts import settle_ranks
from onnx_ig.loading.shape_values import settle_shapes

Dims = Sequence["int | str | None"]

# What exporters write for "I do not know": two of them are not the same dimension.
_MEANINGLESS = frozenset({"", "?", "*", "-1", "none", "null", "nan", "unk", "unknown", "dynamic", "any"})


def infer(model: ir.Model, shapes: Mapping[str, Dims] | None = None) -> None:
    """Fill in types and shapes in place.

    Args:
        shapes: the inputs' dimensions by input name, in place of the declared ones: numbers, names, None for unknown.

    Raises:
        UsageError: ``shapes`` names no input, or has another number of axes than is declared.
    """
    graph = model.graph
    _give(graph, shapes or {})
    for x in graph.inputs:
        x.shape = _named(x)
    declared: dict[ir.Value, ir.Shape] = {}
    for node in graph:
        for y in node.outputs:
            if y.shape is not None:
                declared[y], y.shape = y.shape, None
    _propagate(model)
    while SettleCeilModePass()(model).modified:
        _forget(graph)
        _propagate(model)
    while names := joined_symbols(graph):
        rename(graph.inputs, names)
        declared = {y: renamed(shape, names) for y, shape in declared.items()}
        _forget(graph)
        _propagate(model)
    if _fill_gaps(graph, declared):
        for node in graph:
            for y in node.outputs:
                if y not in declared:
                    y.shape = None  # else a name made up for the unknown would stay
        _propagate(model)


def _forget(graph: ir.Graph) -> None:
    """Take away every inferred shape."""
    for node in graph:
        for y in node.outputs:
            y.shape = None


def _give(graph: ir.Graph, shapes: Mapping[str, Dims]) -> None:
    inputs = {str(x.name): x for x in graph.inputs}
    for name, dims in shapes.items():
        if name not in inputs:
            raise UsageError(f"shapes: the model has no input {name!r}; its inputs are {', '.join(inputs)}")
        x = inputs[name]
        if x.shape is not None and len(x.shape) != len(dims):
            raise UsageError(f"shapes: input {name!r} has {len(x.shape)} axes, {list(dims)} has {len(dims)}")
        x.shape = ir.Shape(dims)


def _named(x: ir.Value) -> ir.Shape | None:
    """The input's shape with every dimension a number or a name of its own."""
    if x.shape is None:
        return None
    return ir.Shape(
        [made_up_name(x.name, i) if (known := _believable(d)) is None else known for i, d in enumerate(x.shape)]
    )


def _believable(dim: int | ir.SymbolicDim) -> int | str | None:
    """The dimension, None if it says nothing (0 and -1 stand for unknown in many files)."""
    if isinstance(dim, int):
        return dim if dim > 0 else None
    return None if dim.value is None or str(dim.value).lower() in _MEANINGLESS else str(dim.value)


def _propagate(model: ir.Model) -> None:
    """onnx's inference, and ours of ranks and for operators that it knows nothing of, until neither finds more."""
    foreign = [node for node in ir.traversal.RecursiveGraphIterator(model.graph) if node.domain not in ("", "ai.onnx")]
    if foreign:
        from onnx_ig.loading.foreign.shapes import infer_foreign  # its rules take a while to import
    found = True
    while found:
        onnx_inference(model)
        found = any([settle_ranks(model.graph), settle_shapes(model.graph), *(infer_foreign(node) for node in foreign)])
        for x in model.graph.inputs:
            x.shape = _named(x)


def onnx_inference(model: ir.Model) -> None:
    """onnx's own inference, in place; a model that it cannot read is left with the facts it has."""
    passes.NameFixPass()(model)  # a nameless value cannot be written
    logger = logging.getLogger("onnx_ir.passes.common.shape_inference")
    disabled, logger.disabled = logger.disabled, True  # it logs a traceback; unknown shapes are a case of their own
    try:
        passes.ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(model)
    finally:
        logger.disabled = disabled
    restore_containers(model.graph)
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        if node.op_type == "Attention":  # of inputs of unknown rank it makes a number, where nothing is known
            for y in node.outputs:
                y.shape = y.shape or None


def _fill_gaps(graph: ir.Graph, declared: Mapping[ir.Value, ir.Shape]) -> bool:
    """Take from ``declared`` what inference left open; whether anything was."""
    proved = {
        str(d.value) for x in graph.inputs if x.shape is not None for d in x.shape if isinstance(d, ir.SymbolicDim)
    }
    stale = any(_contradicts(shape, y.shape, proved) for y, shape in declared.items())
    filled = False
    for y, shape in declared.items():
        if y.shape is not None and len(y.shape) != len(shape):
            continue
        known: list[int | str | None] = []
        for i, dim in enumerate(shape):
            inferred = None if y.shape is None else y.shape[i]
            own = _believable(dim)
            keep = isinstance(inferred, int) or (isinstance(inferred, ir.SymbolicDim) and inferred.value in proved)
            if keep or own is None or (stale and isinstance(own, int)):
                known.append(inferred if inferred is None or isinstance(inferred, int) else inferred.value)
            else:
                known.append(own)
        merged = ir.Shape(known)
        if y.shape is None or merged.dims != y.shape.dims:
            y.shape, filled = merged, True
    return filled


def _contradicts(declared: ir.Shape, inferred: ir.Shape | None, proved: set[str]) -> bool:
    """Whether a declared number is another one, or one of the inputs' symbols, by inference."""
    if inferred is None:
        return False
    if len(declared) != len(inferred):
        return True
    for old, new in zip(declared, inferred, strict=True):
        if isinstance(_believable(old), int) and old != new and (isinstance(new, int) or new.value in proved):
            return True
    return False
