"""The inputs and outputs of an attribution model: named, typed, documented, and either open or baked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from onnx_ig.attribution import contract as names
from onnx_ig.attribution.contract import ContractInput
from onnx_ig.attribution.layout import declare_rows
from onnx_ig.attribution.plan import Plan
from onnx_ig.attribution.target import Target, apart, largest, side_by_side
from onnx_ig.common.types import Array
from onnx_ig.errors import InputError
from onnx_ig.graph.builder import OpBuilder, is_static, same_shape

_BATCH, _BASELINE_ROWS, _STEPS = "batch", "baseline_rows", "path_points"
_OWN = {
    "attributed": "the model's own input",
    "per_example": "the model's own input, one row per example",
    "shared": "the model's own input, the same for every example",
}


class Interface:
    """Declares what the plan leaves open as graph inputs in the contract's order, and binds the rest to constants."""

    def __init__(self, op: OpBuilder, plan: Plan, own: Sequence[ir.Value], attributed: Sequence[ir.Value]) -> None:
        self._op, self._plan, self._own, self._attributed = op, plan, own, attributed
        self._graph = op.graph
        self._target: ir.Value | None = None
        self._baselines: dict[ir.Value, ir.Value] = {}
        self._path: tuple[ir.Value, ir.Value] | None = None
        self._parts: ir.Value | None = None
        self._roles: dict[ir.Value, str] = {}
        self.baked: dict[str, Any] = {}
        self.described: list[ContractInput] = []
        self._declare()

    def targets(self, output: ir.Value) -> list[Target]:
        """Each target: of the graph's input (int64 [N] or [N, target_rank]), by the output at x, or baked in.

        A single None: ``output`` is one number per example.
        """
        plan, op = self._plan, self._op
        if isinstance(plan.target, list):
            return list(plan.target)
        if isinstance(plan.target, tuple):
            return [plan.target]
        if plan.target == "predicted":
            found = largest(op, output, plan.targets, plan.layout.kind == "none")
            which = "the predicted class" if plan.targets == 1 else "the classes of the largest outputs, in order"
            self.output(names.TARGET_USED, side_by_side(op, found, 1), f"{which}, held along the path")
            return [*found]
        return [self._target] if plan.targets == 1 else apart(op, self._target, plan.targets)

    def baseline(self, x: ir.Value, expanded: bool) -> ir.Value:
        """The baseline of attributed input ``x``, with its own rows (1 or N) or expanded to x's shape.

        Where path points do not ride as further examples, the model may take so many rows as x has and no others.
        """
        value = self._baselines[x]
        if same_shape(value, x) or not (expanded or not self._plan.layout.batched):
            return value
        return self._op.Expand(value, self._op.Shape(x))

    @property
    def path_type(self) -> ir.DataType:
        """The element type of path nodes and weights."""
        return ir.DataType.DOUBLE if self._attributed[0].dtype == ir.DataType.DOUBLE else ir.DataType.FLOAT

    def path(self) -> tuple[ir.Value, ir.Value]:
        """path_nodes and path_weights, [K].

        Unequal lengths make the Run fail or give NaN (but not in OpenVINO, which takes dimensions of one name to be
        equal). What compares them only bounds a Slice: bounds are read on the CPU, so nothing is copied to a device.
        """
        assert self._path is not None
        op, (nodes, weights) = self._op, self._path
        if is_static(nodes) and is_static(weights):
            return nodes, weights
        equal = op.Cast(op.Equal(op.Shape(nodes), op.Shape(weights)), to=ir.DataType.INT64)
        nan_unless_equal = op.Slice(op.constant(np.array([np.nan, 0]), like=weights), equal, [2], [0])
        return nodes, op.Add(weights, op.ReduceSum(nan_unless_equal, [0]))

    def parts(self) -> list[tuple[ir.Value, ir.Value]]:
        """The ranges of points that are summed apart, each its first point and the one behind its last, int64 [1]."""
        if self._parts is None:
            return []
        flat = self._op.Reshape(self._parts, [-1])
        bounds = [self._op.Slice(flat, [i], [i + 1], [0]) for i in range(2 * self._plan.path_parts)]
        return list(zip(bounds[::2], bounds[1::2], strict=True))

    def attribution(self, tensor: ir.Value, value: ir.Value) -> None:
        """Declare ``attribution_<tensor>``."""
        summed = self._plan.summed_axes.get(str(tensor.name))
        how = "elementwise" if summed is None else f"summed over axis {summed}"
        self.output(names.ATTRIBUTION + str(tensor.name), value, f"attribution of {tensor.name!r}, {how}", tensor)

    def output(self, name: str, value: ir.Value, doc: str, like: ir.Value | None = None) -> None:
        """Declare a graph output called ``name``; per example unless ``like`` gives its shape."""
        out = self._op.Identity(value)
        out.name, out.doc_string = self._plan.prefix + name, doc
        rows: Any = self._plan.layout.n or self._plan.layout.symbol or _BATCH
        several = [self._plan.targets] if self._plan.targets > 1 else []
        if like is not None:
            out.shape, out.type = like.shape, value.type or like.type
            beside, axis = self._plan.targets * self._plan.path_parts, self._plan.target_axis
            if like.shape is not None:
                own = self._plan.summed_axes.get(str(like.name))
                dims = [1 if place == own else d for place, d in enumerate(like.shape)]
                out.shape = ir.Shape([*dims[:axis], *([beside] if beside > 1 else []), *dims[axis:]])
        elif name == names.PATH_SCORES:
            points = (self._plan.path_points or _STEPS) if self._plan.layout.batched else 1
            out.shape = ir.Shape([points, rows, *several])
        else:
            out.shape = ir.Shape([rows, *several])
        if out.dtype is None:
            out.dtype = value.dtype or self._attributed[0].dtype
        self._graph.outputs.append(out)

    def finish(self) -> None:
        """Describe the inputs in their final order, and declare the number of examples where it is fixed."""
        if self._plan.layout.n is not None:
            declare_rows(self._graph, self._plan.layout.n, self._plan.layout.symbol)
        for x in self._own:
            per_example = x.name in self._plan.per_example
            self._roles[x] = "attributed" if x in self._attributed else "per_example" if per_example else "shared"
        for x in self._graph.inputs:
            role = self._roles[x]
            shape = [] if x.shape is None else [d if isinstance(d, int) else d.value for d in x.shape]
            assert x.dtype is not None
            x.doc_string = x.doc_string or _OWN[role]
            self.described.append(ContractInput(str(x.name), role, x.dtype.name.lower(), shape))
        for y in self._graph.outputs:
            y.doc_string = y.doc_string or "the model's own output at x"

    def rows(self) -> dict[ir.Value, bool]:
        """The inputs with one row per example, and whether one row may serve them all."""
        roles = {x: self._roles[x] for x in self._graph.inputs}
        return {x: role == "baseline" for x, role in roles.items() if role not in ("shared", "path")}

    def example_axes(self) -> dict[ir.Value, int]:
        """The axis of the examples in each output that has one."""
        named = {y: [getattr(d, "value", None) for d in y.shape] for y in self._graph.outputs if y.shape is not None}
        symbol = self._plan.layout.symbol
        return {y: dims.index(symbol) for y, dims in named.items() if symbol in dims}

    def _declare(self) -> None:
        plan, rows = self._plan, self._plan.layout.n or self._plan.layout.symbol or _BATCH
        if plan.target == "input":
            shape = [rows, *([plan.targets] if plan.targets > 1 else [])]
            shape += [] if plan.target_rank == 1 else [plan.target_rank]
            self._target = self._input(
                "target", names.TARGET, ir.DataType.INT64, shape, "the output element explained, per example"
            )
        elif plan.target is not None:
            self.baked["target"] = self._baked_target(plan.target)
        if not plan.is_integrated:
            return
        for x in self._attributed:
            self._baselines[x] = self._baseline(x, plan.baselines[str(x.name)])
        dtype = self.path_type
        if plan.to_tolerance is not None:
            tolerance, max_steps = plan.to_tolerance
            self.baked["path"] = {"method": names.NESTED, "tolerance": tolerance, "max_steps": max_steps}
        elif plan.path is None:
            steps: Any = 1 if plan.form == "step" and not plan.layout.batched else plan.path_points or _STEPS
            self._path = (
                self._input(
                    "path", names.PATH_NODES, dtype, [steps], "positions on the path, 0 (baseline) to 1 (input)"
                ),
                self._input("path", names.PATH_WEIGHTS, dtype, [steps], "quadrature weights"),
            )
            if plan.path_parts > 1:
                shape = [plan.path_parts, 2]
                self._parts = self._input(
                    "path", names.PATH_PARTS, ir.DataType.INT64, shape, "ranges of path points that are summed apart"
                )
        else:
            nodes, weights = (np.asarray(values, dtype.numpy()) for values in plan.path)
            self._path = self._op.constant(nodes), self._op.constant(weights)
            self.baked["path"] = {"method": plan.method, "n_steps": len(nodes)}

    def _baked_target(self, target: str | tuple[int, ...] | list[tuple[int, ...]]) -> Any:
        if isinstance(target, list):
            return [list(one) for one in target]
        if isinstance(target, tuple):
            return list(target)
        return target if self._plan.targets == 1 else f"top-{self._plan.targets}"

    def _baseline(self, x: ir.Value, spec: Any) -> ir.Value:
        name = names.BASELINE + str(x.name)
        assert x.dtype is not None
        if isinstance(spec, str) and spec == "input":
            shape = [] if x.shape is None else [d if isinstance(d, int) else d.value for d in x.shape]
            if self._plan.layout.kind == "batched" and shape:
                shape[0] = f"{_BASELINE_ROWS}_{x.name}"
            return self._input("baseline", name, x.dtype, shape, f"baseline of {x.name!r}: its shape, axis 0 also 1")
        if isinstance(spec, (int, float, str)):
            text = x.dtype == ir.DataType.STRING
            if isinstance(spec, str) != text and (spec or not text):
                given, holds = ("text", "numbers") if isinstance(spec, str) else ("number", "text")
                raise InputError(f"the baseline of {x.name!r} is the {given} {spec}, the input holds {holds}")
            self.baked[name] = baked = spec or "" if text else spec
            value = np.array(baked, x.dtype.numpy())
            dims: list[int | None] = [None]
            if x.shape is not None:
                dims = [d if isinstance(d, int) else None for d in x.shape]
            if self._plan.layout.batched:
                dims[0] = 1  # one row serves every example
            return self._op.Expand(self._op.constant(_tensor(value)), self._op.Shape(x) if None in dims else dims)
        array = np.asarray(spec)
        expected = [] if x.shape is None else [d if isinstance(d, int) else None for d in x.shape]
        fits = array.ndim == len(expected) and all(
            e is None or a == e or (i == 0 and a == 1)
            for i, (a, e) in enumerate(zip(array.shape, expected, strict=True))
        )
        if not fits:
            raise InputError(f"the baseline of {x.name!r} has shape {list(array.shape)}, the input {x.shape}")
        self.baked[name] = "array"
        return self._op.constant(_tensor(array.astype(x.dtype.numpy())))

    def _input(self, role: str, name: str, dtype: ir.DataType, shape: list[Any], doc: str) -> ir.Value:
        value = ir.Value(
            name=self._plan.prefix + name, type=ir.TensorType(dtype), shape=ir.Shape(shape), doc_string=doc
        )
        self._graph.inputs.append(value)
        self._roles[value] = role
        return value


def _tensor(array: Array) -> Array | ir.TensorProtocol:
    """The array, or the tensor of text that an array of strings is."""
    if array.dtype.kind != "O":
        return array
    return ir.StringTensor([str(text).encode() for text in array.flat], shape=ir.Shape(array.shape))
