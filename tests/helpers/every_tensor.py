"""Run a model with every tensor in it as an output, those of the bodies of Loop and Scan at every step.

The one idea: what a body computes becomes one more scan output of its node, until the main graph has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper


def all_values(model: onnx.ModelProto, feeds: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray, int]]:
    """(name, values, in how many bodies it is) of every input and every node's output; values have an axis per body."""
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    inputs = {x.name for x in exposed.graph.input}
    depths = {name: (name, 0) for name in inputs} | _expose(exposed.graph)
    del exposed.graph.output[:], exposed.graph.value_info[:]
    exposed.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in depths if name not in inputs)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(exposed.SerializeToString(), options, providers=["CPUExecutionProvider"])
    given = {name: value for name, value in feeds.items() if name in inputs}
    names = [y.name for y in session.get_outputs()]
    found = given | dict(zip(names, session.run(names, given), strict=True))
    for outside, (name, depth) in depths.items():
        if outside in found:
            yield name, found[outside], depth


def _expose(graph: onnx.GraphProto) -> dict[str, tuple[str, int]]:
    """By the name in ``graph``: the name of the value that it is, and how many bodies further in that is."""
    found: dict[str, tuple[str, int]] = {}
    for node in graph.node:
        found |= {y: (y, 0) for y in node.output if y}
        bodies = [a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]
        for body in bodies if node.op_type in ("Loop", "Scan") else ():
            for inner, (name, depth) in _expose(body).items():
                body.node.append(helper.make_node("Identity", [inner], [f"{inner}_to_show"]))
                body.output.append(helper.make_empty_tensor_value_info(f"{inner}_to_show"))
                node.output.append(f"{inner}_at_every_step")
                found[f"{inner}_at_every_step"] = name, depth + 1
                for attribute in node.attribute:
                    if attribute.name in ("scan_output_axes", "scan_output_directions"):
                        attribute.ints.append(0)
    return found


def declared_types(graph: onnx.GraphProto) -> dict[str, onnx.TypeProto.Tensor]:
    """What the graph and the bodies in it say of their tensors' types and shapes."""
    found = {v.name: v.type.tensor_type for v in (*graph.value_info, *graph.input, *graph.output)}
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                found |= declared_types(attribute.g)
    return found
