"""Settle what a graph takes and gives: inputs with a default value, outputs that no node makes or that come twice.

The one idea: an initialiser that is also an input is an input whose value may be left out, as runtimes have it, unless
the file says nothing by it: before IR version 4 every initialiser had to be listed, and some writers still do.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from onnx_ig.common.types import Array

_FIRST_WITH_DEFAULTS = 4  # the IR version
_LAYERS = frozenset({"BatchNormalization", "Conv", "ConvTranspose", "Gemm", "GRU", "LSTM", "MatMul", "RNN"})


def take_defaults(model: ir.Model) -> dict[str, Array]:
    """The default values of the inputs that need not be fed, by name; in the graph these inputs have no value now.

    They come behind the others, so that callers who feed inputs by position need not know of them. Where all
    initialisers are listed among the inputs, and weights of layers with them, they are constants and no longer inputs.
    """
    graph = model.graph
    listed = [x for x in graph.inputs if x.is_initializer() and x.const_value is not None]
    every = len(listed) == len(graph.initializers)
    if model.ir_version is not None and model.ir_version < _FIRST_WITH_DEFAULTS:
        return {}
    if every and any(node.op_type in _LAYERS and index for x in listed for node, index in x.uses()):
        return {}
    defaults = {}
    for x in listed:
        assert x.const_value is not None
        defaults[str(x.name)] = x.const_value.numpy()
        del graph.initializers[str(x.name)]
        x.const_value = None
    others = [x for x in graph.inputs if x.name not in defaults]
    taken = [x for x in graph.inputs if x.name in defaults]
    graph.inputs.clear()
    graph.inputs.extend([*others, *taken])
    return defaults


def put_defaults_back(graph: ir.Graph, defaults: Mapping[str, Array]) -> None:
    """Give inputs of ``graph`` these values for callers who leave them out (in runtimes that know of defaults)."""
    for x in graph.inputs:
        name = str(x.name)
        if name in defaults:
            x.const_value = ir.tensor(defaults[name], name=name)
            graph.initializers[name] = x


def settle_outputs(graph: ir.Graph) -> None:
    """List each output once, and let a node make those that are initialisers."""
    outputs = list(dict.fromkeys(graph.outputs))
    for i, y in enumerate(outputs):
        if y.is_initializer() and not y.is_graph_input():
            copy = ir.Node("", "Identity", [y])
            graph.append(copy)
            name, y.name = y.name, f"onnx_ig.{y.name}"  # no name of the model's own can be in the way
            copy.outputs[0].name, copy.outputs[0].type, copy.outputs[0].shape = name, y.type, y.shape
            outputs[i] = copy.outputs[0]
    graph.outputs.clear()
    graph.outputs.extend(outputs)
