"""Which baselines may stay at one row for all examples, while the prefix is evaluated at the baseline.

The one idea: one row goes through any graph that reads nothing else with rows. Where it meets another input, of many
rows or of one, only some operators would stretch it (Add does, Concat and GatherND do not).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import onnx_ir as ir

from onnx_ig.graph.copying import needed_for
from onnx_ig.graph.reading import read_by


def meeting_others(
    attributed: Iterable[ir.Value], inputs: Collection[ir.Value], wanted: Iterable[ir.Value], nodes: Sequence[ir.Node]
) -> set[ir.Value]:
    """Those of ``attributed`` that some node, of those that compute ``wanted``, depends on together with another input.

    Args:
        inputs: all inputs of the model, those ``attributed`` included.
        nodes: the model's, in topological order.
    """
    behind: dict[ir.Value, frozenset[ir.Value]] = {x: frozenset([x]) for x in inputs}
    meeting: set[ir.Value] = set()
    for node in needed_for(wanted, [], nodes):
        read = frozenset[ir.Value]().union(*(behind.get(x, frozenset()) for x in read_by(node)))
        if len(read) > 1:
            meeting |= read
        behind.update(dict.fromkeys(node.outputs, read))
    return meeting.intersection(attributed)
