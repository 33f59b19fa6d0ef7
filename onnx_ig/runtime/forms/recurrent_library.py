"""An LSTM's forward Scan as the operator LSTM, which cuDNN computes in one call, in ONNX Runtime on CUDA.

Files hold an LSTM that is differentiated as a Scan, because its adjoint reads the gates of every step, which the
operator does not give. With h of all steps from the operator they are those of one product, and the only thing left
that goes from step to step is c = f · c₋ + i · g: a Scan of two kernels a step in place of eleven.

Where the input's share x Wᵀ + b of the gates comes in by itself, the operator is given that, with W = 1. Replaced are
float32 Scans with the body of the plain cell; one with peepholes, lengths, clipping or other activations stays.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import onnx_ir as ir

from onnx_ig.runtime.substitution import remove_unread

_GATES = ("Sigmoid", "Sigmoid", "Sigmoid", "Tanh")  # i, o, f and g

# A value as what it is computed from: a name, or an operator with its operands, of Add and Mul in any order; "" is none
# of these. So the values of the plain cell are known by what they mean.
_Term: TypeAlias = Hashable


def _plain_cell() -> dict[_Term, str]:
    i, o, f, g = ((op, (f"z_{gate}",)) for op, gate in zip(_GATES, "iofg", strict=True))
    c = ("Add", frozenset({("Mul", frozenset({f, "c_before"})), ("Mul", frozenset({i, g}))}))
    hc = ("Tanh", (c,))
    h = ("Mul", frozenset({o, hc}))
    return {i: "i", o: "o", f: "f", g: "g", c: "c", hc: "hc", h: "h", "h_before": "h_before", "c_before": "c_before"}


_PLAIN = _plain_cell()


class UseRecurrentLibraryPass(ir.passes.InPlacePass):
    """Replace the forward Scans of plain LSTM cells by LSTM and what their other outputs need, in bodies too."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """See the class."""
        scans = [n for n in ir.traversal.RecursiveGraphIterator(model.graph) if n.op_type == "Scan"]
        cells = {node: cell for node in scans if (cell := _cell(node)) is not None}
        for node, cell in cells.items():
            _Layer(model, node, cell).replace()
        return ir.passes.PassResult(model, bool(cells))


@dataclass(frozen=True)
class _Cell:
    """A plain cell: its recurrent weights [4·H, H], and which of its values, by name, the body's outputs are."""

    recurrent: np.ndarray
    written: tuple[str, ...]


def _cell(node: ir.Node) -> _Cell | None:
    """The plain cell in a Scan's body; None: another body, or a Scan that does not go through its axis 0 in order."""
    body = node.attributes["body"].as_graph()
    orders = ("scan_input_axes", "scan_output_axes", "scan_input_directions", "scan_output_directions")
    turned = any(any(node.attributes[name].as_ints()) for name in orders if name in node.attributes)
    if len(node.inputs) != 3 or node.attributes["num_scan_inputs"].as_int() != 1 or turned:
        return None
    split = next((n for n in body if n.op_type == "Split"), None)
    recurrent = None if split is None else _recurrent_weights(split, *body.inputs)
    if split is None or recurrent is None:
        return None
    terms: dict[ir.Value | None, _Term] = dict(zip(body.inputs[:2], ("h_before", "c_before"), strict=True))
    terms |= {z: f"z_{gate}" for z, gate in zip(split.outputs, "iofg", strict=True)}
    for n in body:
        if n.op_type == "Identity":
            terms[n.outputs[0]] = terms.get(n.inputs[0], "")
        elif n is not split:
            read = [terms.get(x, "") for x in n.inputs]
            terms[n.outputs[0]] = (n.op_type, frozenset(read) if n.op_type in ("Add", "Mul") else tuple(read))
    written = tuple(_PLAIN.get(terms.get(y, ""), "") for y in body.outputs)
    return _Cell(recurrent, written) if written[:2] == ("h", "c") and all(written) else None


def _recurrent_weights(split: ir.Node, h_before: ir.Value, c_before: ir.Value, x: ir.Value) -> np.ndarray | None:
    """R [4·H, H] of the h₋ Rᵀ + x that ``split`` takes the gates from; None: it takes them from something else."""
    gemm = None if split.inputs[0] is None else split.inputs[0].producer()
    if gemm is None or gemm.op_type != "Gemm" or gemm.inputs[0] is not h_before or tuple(gemm.inputs[2:]) != (x,):
        return None
    factors = [gemm.attributes.get_float(name, 1.0) for name in ("alpha", "beta")]
    turned = [gemm.attributes.get_int(name, 0) for name in ("transA", "transB")]
    quarters = len(split.outputs) == 4 and split.attributes.get_int("axis", 0) in (1, -1)
    weight = None if gemm.inputs[1] is None else gemm.inputs[1].const_value
    if factors != [1.0, 1.0] or turned != [0, 1] or not quarters or weight is None:
        return None
    return weight.numpy() if weight.dtype == ir.DataType.FLOAT else None


class _Layer:
    """One direction of one layer: what is read of it, made when it is first asked for."""

    def __init__(self, model: ir.Model, node: ir.Node, cell: _Cell) -> None:
        self._model, self._node, self._written = model, node, cell.written
        self._named = 0  # values that got a name
        h0, c0, x = node.inputs
        assert h0 is not None and c0 is not None and x is not None
        self._h0, self._c0, self._x = h0, c0, x
        self._recurrent = cell.recurrent  # [4·H, H]
        self._size = self._recurrent.shape[1]

    def replace(self) -> None:
        """Let all readers of the Scan read the new values, and remove it."""
        made: dict[str, Callable[[], ir.Value]] = {
            "h": lambda: self._h,
            "c": lambda: self._c[1],
            "i": lambda: self._gates[0],
            "o": lambda: self._gates[1],
            "f": lambda: self._gates[2],
            "g": lambda: self._gates[3],
            "hc": lambda: self._op("Tanh", self._c[1]),
            "c_before": lambda: self._before(self._c0, self._c[1]),
            "h_before": lambda: self._h_before,
        }
        _, last_h, last_c = self._lstm
        wanted: list[Callable[[], ir.Value]] = [
            lambda: self._op("Squeeze", last_h, self._numbers([0])),
            lambda: self._op("Squeeze", last_c, self._numbers([0])),
        ]
        wanted += [made[name] for name in self._written[2:]]
        for y, make in zip(self._node.outputs, wanted, strict=True):
            if y.uses() or y.is_graph_output():
                ir.convenience.replace_all_uses_with(y, make(), replace_graph_outputs=True)
        remove_unread(self._node)

    @cached_property
    def _lstm(self) -> tuple[ir.Value, ir.Value, ir.Value]:
        """h of all steps [T, 1, N, H], and the last h and c [1, N, H]."""
        x, weight, bias = self._input()
        inputs = [
            *(x, self._constant(weight[np.newaxis]), self._constant(self._recurrent[np.newaxis])),
            None if bias is None else self._constant(np.concatenate([bias, 0 * bias])[np.newaxis]),
            *(None, self._op("Unsqueeze", self._h0, self._numbers([0]))),
            self._op("Unsqueeze", self._c0, self._numbers([0])),
        ]
        y, last_h, last_c = self._made(ir.node("LSTM", inputs, {"hidden_size": self._size}, num_outputs=3)).outputs
        return y, last_h, last_c

    def _input(self) -> tuple[ir.Value, np.ndarray, np.ndarray | None]:
        """x, W and b whose x Wᵀ + b is the input's share of the gates."""
        share = self._x.producer()
        if share is not None and share.op_type == "Add":
            product, bias = share.inputs
            made = None if product is None else product.producer()
            if made is not None and made.op_type == "MatMul" and bias is not None and bias.const_value is not None:
                x, weight = made.inputs[0], _known(made.inputs[1])
                if x is not None and weight is not None and bias.const_value.size == 4 * self._size:
                    return x, np.ascontiguousarray(weight.T), bias.const_value.numpy().reshape(-1)
        return self._x, np.eye(4 * self._size, dtype=np.float32), None

    @cached_property
    def _h(self) -> ir.Value:
        return self._op("Squeeze", self._lstm[0], self._numbers([1]))

    @cached_property
    def _h_before(self) -> ir.Value:
        return self._before(self._h0, self._h)

    @cached_property
    def _gates(self) -> list[ir.Value]:
        """i, o, f and g of all steps, [T, N, H] each."""
        product = self._op("MatMul", self._h_before, self._constant(np.ascontiguousarray(self._recurrent.T)))
        z = self._op("Add", product, self._x)
        sizes = self._numbers([self._size] * 4)
        split = self._made(ir.node("Split", [z, sizes], {"axis": 2}, num_outputs=4))
        return [self._op(op, gate) for op, gate in zip(_GATES, split.outputs, strict=True)]

    @cached_property
    def _c(self) -> tuple[ir.Value, ir.Value]:
        """The last c, and c of all steps."""
        i, _, f, g = self._gates
        new = self._op("Mul", i, g)
        before, kept, added = (_float(name) for name in ("c_before", "f", "i_g"))
        product = ir.node("Mul", [kept, before])
        total = ir.node("Add", [product.outputs[0], added])
        copy = ir.node("Identity", [total.outputs[0]])
        for inside, name in ((product, "kept"), (total, "c"), (copy, "c_written")):
            inside.outputs[0].name = self._fresh(name)
            inside.outputs[0].type = before.type
        for x in (before, kept, added):
            x.name = self._fresh(str(x.name))
        outputs = [total.outputs[0], copy.outputs[0]]
        body = ir.Graph([before, kept, added], outputs, nodes=[product, total, copy], name="cell")
        scan = ir.node("Scan", [self._c0, f, new], {"body": body, "num_scan_inputs": 2}, num_outputs=2)
        last, every = self._made(scan).outputs
        return last, every

    def _before(self, first: ir.Value, every: ir.Value) -> ir.Value:
        """What a step finds: ``first`` [N, H], then ``every`` [T, N, H] but its last."""
        rest = self._op("Slice", every, self._numbers([0]), self._numbers([-1]), self._numbers([0]))
        start = self._op("Unsqueeze", first, self._numbers([0]))
        return self._made(ir.node("Concat", [start, rest], {"axis": 0})).outputs[0]

    def _op(self, op_type: str, *inputs: ir.Value) -> ir.Value:
        return self._made(ir.node(op_type, list(inputs))).outputs[0]

    def _made(self, node: ir.Node) -> ir.Node:
        assert self._node.graph is not None
        for y in node.outputs:
            y.name, y.type = self._fresh(node.op_type), ir.TensorType(ir.DataType.FLOAT)
        self._node.graph.insert_before(self._node, node)
        return node

    def _numbers(self, values: list[int]) -> ir.Value:
        return self._constant(np.array(values, np.int64))

    def _constant(self, array: np.ndarray) -> ir.Value:
        name = self._fresh("constant")
        value = ir.Value(
            name=name,
            type=ir.TensorType(ir.DataType.from_numpy(array.dtype)),
            shape=ir.Shape(array.shape),
            const_value=ir.tensor(array, name=name),
        )
        self._model.graph.register_initializer(value)
        return value

    def _fresh(self, name: str) -> str:
        self._named += 1
        return f"{self._node.outputs[0].name}_{name}_{self._named}"


def _float(name: str) -> ir.Value:
    return ir.Value(name=name, type=ir.TensorType(ir.DataType.FLOAT))


def _known(x: ir.Value | None) -> np.ndarray | None:
    """The matrix, where it is a constant or the transpose of one."""
    if x is None:
        return None
    if x.const_value is not None:
        return x.const_value.numpy()
    node = x.producer()
    inner = node.inputs[0] if node is not None and node.op_type == "Transpose" else None
    return None if inner is None or inner.const_value is None else inner.const_value.numpy().T
