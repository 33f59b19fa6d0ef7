"""How many axes tensors have where only a run tells: taken from one run on the user's data, and held to from then on.

The one idea: what was seen once is no proof, so the model is made to check it. An input is declared with so many axes,
which every runtime enforces; a tensor inside is reshaped to the shape it has, written as a list of so many numbers.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from onnx_ig.autodiff.float64.rewriting import SpellOutFloat64Pass
from onnx_ig.common.types import Array
from onnx_ig.errors import InputError
from onnx_ig.loading.shape_facts import infer
from onnx_ig.runtime.session import Session


def hold_observed_ranks(model: ir.Model, feeds: Mapping[str, Array]) -> bool:
    """Give every float tensor of unknown rank the one it has at ``feeds``, in place; whether there was any.

    The sizes of axes stay unknown. At other data with another rank the model's Run fails.

    Raises:
        InputError: an input has no data.
        ModelError: ONNX Runtime refuses the model, or the data.
    """
    if not unknown_ranks(model.graph):
        return False
    unfed = [str(x.name) for x in model.graph.inputs if x.name not in feeds]
    if unfed:
        raise InputError(f"numbers of axes that only a run tells need data of every input; {unfed[0]!r} has none")
    infer(model, {str(x.name): [None] * feeds[str(x.name)].ndim for x in model.graph.inputs if x.shape is None})
    for value, rank in _observed(model, feeds).items():
        if value.shape is None:  # still, with those before it known
            _hold(model.graph, value, rank)
            infer(model)
    return True


def unknown_ranks(graph: ir.Graph) -> list[ir.Value]:
    """The float tensors of the main graph whose number of axes is unknown, in topological order."""
    values = [*graph.inputs, *(y for node in graph for y in node.outputs)]
    unknown = (v for v in values if v.shape is None and isinstance(v.type, ir.TensorType))
    return [v for v in unknown if v.dtype is not None and v.dtype.is_floating_point()]


def _observed(model: ir.Model, feeds: Mapping[str, Array]) -> dict[ir.Value, int]:
    """The ranks, by one run with the tensors in question as the outputs."""
    unknown = unknown_ranks(model.graph)
    if not unknown:
        return {}
    outputs = list(model.graph.outputs)
    model.graph.outputs[:] = unknown
    try:
        runnable = model.clone()
    finally:
        model.graph.outputs[:] = outputs
    SpellOutFloat64Pass()(runnable)
    values = Session(runnable, "cpu").run(feeds, [str(v.name) for v in unknown])
    return {v: values[str(v.name)].ndim for v in unknown}


def _hold(graph: ir.Graph, x: ir.Value, rank: int) -> None:
    """Put x' = Reshape(x, Reshape(Shape(x), [rank])) in x's place: the inner Reshape fails at any other rank."""
    node = x.producer()
    assert node is not None
    count = ir.Value(
        name=f"onnx_ig.rank_of.{x.name}",
        shape=ir.Shape([1]),
        type=ir.TensorType(ir.DataType.INT64),
        const_value=ir.tensor(np.array([rank], np.int64)),
    )
    graph.register_initializer(count)
    shape = ir.Node("", "Shape", [x], name=f"{node.name}_shape")
    checked = ir.Node("", "Reshape", [shape.outputs[0], count], [ir.AttrInt64("allowzero", 0)])
    held = ir.Node("", "Reshape", [x, checked.outputs[0]], [ir.AttrInt64("allowzero", 1)])
    y = held.outputs[0]
    y.type = x.type
    ir.convenience.replace_all_uses_with(x, y, replace_graph_outputs=True)
    shape.replace_input_with(0, x)
    held.replace_input_with(0, x)
    x.name, y.name = f"onnx_ig.unchecked.{x.name}", x.name
    graph.insert_after(node, [shape, checked, held])
