"""What a Scan's body computes and no later step reads, computed for all steps at once, in ONNX Runtime on CUDA.

A body's kernels are launched anew in every step, however small they are. What feeds no state needs no order of steps:
the slopes of an LSTM's gates, which its forward Scan keeps for its adjoint, are half of the body's kernels.

Moved are pointwise operators and Concat, on tensors of one known rank and numbers, out of Scans that walk forwards
along axis 0; the values that they read of the body become outputs of the Scan, and those that nothing reads any more
none.
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir as ir

_POINTWISE = frozenset(("Add", "Sub", "Mul", "Div", "Neg", "Reciprocal", "Exp", "Sqrt", "Sigmoid", "Tanh", "Identity"))
_MOVED = _POINTWISE | {"Concat"}


class ComputeOutsideScansPass(ir.passes.InPlacePass):
    """Move what feeds no state out of every Scan's body."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """See the class."""
        scans = [n for n in ir.traversal.RecursiveGraphIterator(model.graph) if n.op_type == "Scan"]
        moved = [_Fission(node).apply() for node in scans if not _lies_otherwise(node)]
        return ir.passes.PassResult(model, any(moved))


def _lies_otherwise(node: ir.Node) -> bool:
    """Whether a sequence is read or written backwards, or along another axis than the first."""
    names = ("scan_input_axes", "scan_output_axes", "scan_input_directions", "scan_output_directions")
    return any(any(node.attributes[name].as_ints()) for name in names if name in node.attributes)


class _Fission:
    """One Scan: which nodes of its body may leave, and the values outside that stand for those inside."""

    def __init__(self, node: ir.Node) -> None:
        self._node, self._body = node, node.attributes["body"].as_graph()
        self._last = node  # the last of those that take the moved ones' place
        self._states = len(node.inputs) - node.attributes["num_scan_inputs"].as_int()
        sequences = zip(self._body.inputs[self._states :], node.inputs[self._states :], strict=True)
        self._outside: dict[ir.Value, ir.Value] = {inner: whole for inner, whole in sequences if whole is not None}
        self._own = {y for n in self._body for y in n.outputs} | set(self._body.inputs)

    def apply(self) -> bool:
        """Move them; whether there are any."""
        staying = self._staying()
        leaving = [n for n in self._body if n not in staying]
        if all(n.op_type == "Identity" for n in leaving):
            return False
        written = list(self._body.outputs)[self._states :]
        outputs = dict(zip(written, self._node.outputs[self._states :], strict=True))
        kept = {y for y in outputs if y.producer() in staying}
        for inner in [*kept, *_read(leaving)]:
            if inner in self._own and inner.producer() not in leaving and inner not in self._outside:
                self._outside[inner] = outputs.get(inner) or self._stacked(inner)
        for moved in leaving:
            self._move(moved)
        for inner, outer in outputs.items():
            if inner.producer() in leaving:
                ir.convenience.replace_all_uses_with(outer, self._outside[inner], replace_graph_outputs=True)
        self._drop([y for y in written if y.producer() in leaving])
        self._body.remove(leaving, safe=True)
        return True

    def _staying(self) -> set[ir.Node]:
        """The nodes that the next states are computed from, those that cannot leave, and what these read."""
        pending = [y.producer() for y in list(self._body.outputs)[: self._states]]
        pending += [n for n in self._body if not self._may_leave(n)]
        staying: set[ir.Node] = set()
        while pending:
            node = pending.pop()
            if node is not None and node not in staying and node.graph is self._body:
                staying.add(node)
                pending += [x.producer() for x in node.inputs if x is not None]
        return staying

    def _may_leave(self, node: ir.Node) -> bool:
        if node.op_type not in _MOVED or node.domain not in ("", "ai.onnx") or len(node.outputs) != 1:
            return False
        inside = [x for x in node.inputs if x is not None and x in self._own]
        others = [x for x in node.inputs if x is not None and x not in self._own]
        ranks = {None if x.shape is None else len(x.shape) for x in inside}
        numbers = all(x.const_value is not None and x.const_value.size == 1 for x in others)
        return len(ranks) == 1 and None not in ranks and numbers and not (node.op_type == "Concat" and others)

    def _stacked(self, inner: ir.Value) -> ir.Value:
        """A further output of the Scan: ``inner`` at every step."""
        copy = ir.node("Identity", [inner])
        copy.outputs[0].name = f"{inner.name}_stacked_in"
        copy.outputs[0].type, copy.outputs[0].shape = inner.type, inner.shape
        self._body.append(copy)
        self._body.outputs.append(copy.outputs[0])
        self._node.resize_outputs(len(self._node.outputs) + 1)
        outer = self._node.outputs[-1]
        outer.name, outer.type = f"{inner.name}_stacked", inner.type
        for name in ("scan_output_axes", "scan_output_directions"):
            if name in self._node.attributes:
                axes = self._node.attributes[name].as_ints()
                self._node.attributes[name] = ir.AttrInt64s(name, [*axes, 0])
        return outer

    def _move(self, node: ir.Node) -> None:
        """A node like it behind the Scan, on whole sequences."""
        attributes = dict(node.attributes)
        if node.op_type == "Concat" and (axis := attributes["axis"].as_int()) >= 0:
            attributes["axis"] = ir.AttrInt64("axis", axis + 1)
        inputs = [x if x is None else self._outside.get(x, x) for x in node.inputs]
        made = ir.Node("", node.op_type, inputs, attributes.values(), num_outputs=1)
        made.outputs[0].name, made.outputs[0].type = f"{node.outputs[0].name}_of_all", node.outputs[0].type
        assert self._node.graph is not None
        self._node.graph.insert_after(self._last, made)
        self._last, self._outside[node.outputs[0]] = made, made.outputs[0]

    def _drop(self, unread: Iterable[ir.Value]) -> None:
        """Take outputs of the body, which nothing outside reads any more, from the Scan."""
        gone = {list(self._body.outputs).index(y) for y in unread}
        kept = [i for i in range(len(self._body.outputs)) if i not in gone]
        outputs = list(self._body.outputs)
        self._body.outputs[:] = [outputs[i] for i in kept]
        for name in ("scan_output_axes", "scan_output_directions"):
            if name in self._node.attributes:
                axes = self._node.attributes[name].as_ints()
                left = [axes[i - self._states] for i in kept if i >= self._states]
                self._node.attributes[name] = ir.AttrInt64s(name, left)
        old, graph = self._node, self._node.graph
        new = ir.Node("", "Scan", list(old.inputs), old.attributes.values(), num_outputs=len(kept), name=old.name)
        for y, i in zip(new.outputs, kept, strict=True):
            y.type, y.shape, taken = old.outputs[i].type, old.outputs[i].shape, old.outputs[i].name
            old.outputs[i].name, y.name = None, taken
            ir.convenience.replace_all_uses_with(old.outputs[i], y, replace_graph_outputs=True)
        assert graph is not None
        graph.insert_after(old, new)
        graph.remove(old, safe=True)


def _read(nodes: Iterable[ir.Node]) -> list[ir.Value]:
    return list(dict.fromkeys(x for node in nodes for x in node.inputs if x is not None))
