"""Decide what an attribution model will contain: which inputs are attributed, where the path lies, what is baked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from onnx_ig.attribution.decisions import decided_by_data
from onnx_ig.attribution.layout import (
    NO_BATCH,
    Layout,
    dims_of,
    example_shape,
    layout_of,
    require_examples_first,
    with_rows_elsewhere,
)  # fmt: skip
from onnx_ig.attribution.training import training_nodes
from onnx_ig.autodiff.entrances import by_value, where_instead
from onnx_ig.common.suggestions import nearest
from onnx_ig.common.types import Algorithm, Array, Form
from onnx_ig.errors import InputError, UsageError
from onnx_ig.graph.copying import needed_for
from onnx_ig.graph.reading import all_dependents, is_float, read_by
from onnx_ig.loading.model import Model, refuse_attribution_model, tensor_called

ALGORITHMS: tuple[Algorithm, ...] = ("integrated-gradients", "input-x-gradient")
FORMS: tuple[Form, ...] = ("complete", "step")

TargetSpec = str | int | tuple[int, ...] | None
BaselineSpec = float | str | Array

STEPS_PER_RUN = 16  # path points that the complete form evaluates together, unless told


@dataclass(frozen=True)
class Plan:
    """Everything that is decided before a graph is built.

    Attributes:
        attributed: names of the model inputs that the baseline replaces.
        at: names of the tensors whose attribution is reported (the attributed inputs unless chosen otherwise).
        output: name of the tensor F is selected from.
        target: ``input`` (a graph input), ``predicted``, indices, or None when the output is one number per example.
        target_rank: number of output axes a target selects from.
        baselines: per attributed input ``input`` (a graph input), a number or a text, or an array.
        path: nodes and weights to bake, or None for inputs.
        steps_per_run: path points per evaluation inside the complete form; 0 for no loop.
        per_example: additional inputs with one row per example.
        method: the name of the baked path's quadrature rule, for the contract.
        prefix: put before every name that the attribution model adds.
        affine_prefix: lay the path behind the affine part of the model (the same result for less work).
    """

    algorithm: str
    form: str
    attributed: list[str]
    at: list[str]
    output: str
    layout: Layout
    target: str | tuple[int, ...] | None
    target_rank: int
    baselines: dict[str, BaselineSpec]
    path: tuple[Array, Array] | None
    steps_per_run: int
    per_example: frozenset[str]
    multiply_by_inputs: bool
    method: str | None = None
    prefix: str = ""
    affine_prefix: bool = True

    @property
    def is_integrated(self) -> bool:
        """Whether a path is integrated over (else Input×Gradient)."""
        return self.algorithm == "integrated-gradients"


def make_plan(
    model: Model,
    *,
    algorithm: str = "integrated-gradients",
    form: str = "complete",
    inputs: Sequence[str] | None = None,
    output: str | None = None,
    at: Sequence[str] | None = None,
    target: TargetSpec = "input",
    baselines: BaselineSpec | Mapping[str, BaselineSpec] = 0,
    path: tuple[Array, Array] | None = None,
    steps_per_run: int | None = None,
    per_example: Sequence[str] = (),
    multiply_by_inputs: bool = True,
    method: str | None = None,
    prefix: str = "",
    affine_prefix: bool = True,
    batch_axis: int | None = 0,
    declared_rows: int | None = None,
) -> Plan:
    """Resolve the defaults of :func:`onnx_ig.export` against a model.

    ``batch_axis``: None: the tensors hold one example, whatever their shapes look like; else the shapes tell.
    ``declared_rows``: the number of examples to declare, where the model's batch was fixed and has been freed.

    Raises:
        UsageError: an unknown algorithm, form or name, or options that contradict each other.
        InputError: the default input or output is ambiguous, the target does not fit the output, or the examples of the
            output or of a tensor in ``at`` are not on axis 0.
        NotDifferentiableError: a node is in training mode.
    """
    refuse_attribution_model(model)
    for value, allowed, what in ((algorithm, ALGORITHMS, "algorithm"), (form, FORMS, "form")):
        if value not in allowed:
            raise UsageError(f"unknown {what} {value!r}: choose {' or '.join(allowed)}")
    if algorithm == "input-x-gradient" and form == "step":
        raise UsageError("input-x-gradient has no path to step along: export it with form='complete'")
    graph = model.ir_model.graph
    chosen_output = _output(model, output)
    for refusal in training_nodes(needed_for([chosen_output], [], list(graph))):
        raise refusal
    attributed = list(inputs) if inputs else default_inputs(model, at or ())
    tensors = [_inner(model, name) for name in at] if at else [_attributable(model, name) for name in attributed]
    sources = [_input(model, name) for name in attributed]
    assert not batch_axis, "the examples are brought to axis 0 before"
    layout = NO_BATCH if batch_axis is None else layout_of(sources, chosen_output, declared_rows)
    decided = _decided(model, chosen_output, {*sources, *tensors}, layout, per_example) if layout.batched else []
    elsewhere = _with_rows_elsewhere(model, chosen_output, attributed, layout) if layout.batched else []
    if decided and elsewhere:
        raise InputError(
            f"the data decide what the {decided[0].op_type} {decided[0].name or ''!r} runs, so each example has to be "
            f"evaluated alone; input {elsewhere[0].name!r} {elsewhere[0].shape} has its examples on another axis than "
            "the first: move them there (a Transpose in the model), or call it with batch_axis=None (--batch-axis none)"
        )
    layout = replace(layout, apart=bool(decided), whole=bool(elsewhere))
    for tensor in (chosen_output, *tensors):
        require_examples_first(tensor, layout)
    dims = example_shape(chosen_output, layout)
    if steps_per_run is not None and steps_per_run < 0:
        raise UsageError(f"steps_per_run must be 0 (no loop) or more, not {steps_per_run}")
    if steps_per_run == 0 and not layout.batched and algorithm == "integrated-gradients":
        reason = (
            f"the data decide what its {decided[0].op_type} {decided[0].name or ''!r} runs"
            if decided
            else f"{elsewhere[0].name!r} has the examples on another axis"
            if elsewhere
            else "this one has none"
        )
        raise UsageError(
            f"a loop-free model needs a batch axis on its inputs and its output for the path points; {reason}, so it "
            "evaluates one path point at a time: leave steps_per_run out"
        )
    per_input = dict(baselines) if isinstance(baselines, Mapping) else dict.fromkeys(attributed, baselines)
    for name in per_input:
        if name not in attributed:
            raise UsageError(f"a baseline is given for {name!r}, which is not attributed ({', '.join(attributed)})")
    symbol = layout.symbol
    rows = {
        str(x.name)
        for x in model.inputs
        if x.name not in attributed and (x.name in per_example or (symbol is not None and _symbol(x) == symbol))
    }
    return Plan(
        algorithm=algorithm,
        form=form,
        attributed=attributed,
        at=[str(t.name) for t in tensors],
        output=str(chosen_output.name),
        layout=layout,
        target=_target(target, dims, chosen_output),
        target_rank=len(dims),
        baselines={name: per_input.get(name, 0) for name in attributed},
        path=path,
        steps_per_run=1 if not layout.batched else STEPS_PER_RUN if steps_per_run is None else steps_per_run,
        per_example=frozenset(rows),
        multiply_by_inputs=multiply_by_inputs,
        method=method,
        prefix=prefix,
        affine_prefix=affine_prefix,
    )


def _decided(
    model: Model, output: ir.Value, sources: set[ir.Value], layout: Layout, per_example: Sequence[str]
) -> list[ir.Node]:
    """The nodes on the way to ``output`` whose decisions depend on what differs between examples or path points."""
    rows = {x for x in model.inputs if x.name in per_example or _symbol(x) == layout.symbol}
    return decided_by_data(needed_for([output], [], list(model.ir_model.graph)), sources | rows)


def _with_rows_elsewhere(model: Model, output: ir.Value, attributed: Sequence[str], layout: Layout) -> list[ir.Value]:
    """Those of :func:`with_rows_elsewhere` that ``output`` depends on."""
    read = {x for node in needed_for([output], [], list(model.ir_model.graph)) for x in read_by(node)}
    found = with_rows_elsewhere({str(x.name): dims_of(x) for x in model.inputs}, attributed, layout.symbol)
    return [x for x in model.inputs if x in read and x.name in found]


def _symbol(x: ir.Value) -> str | None:
    """The name of the dimension of axis 0."""
    return getattr(x.shape[0], "value", None) if x.shape else None


def _target(target: TargetSpec, dims: list[int | None], output: ir.Value) -> str | tuple[int, ...] | None:
    if not dims:
        return None
    if target == "input" or (target == "predicted" and len(dims) == 1):
        return str(target)
    if target == "predicted":
        raise InputError(f"target 'predicted' needs an output of rank 2; {output.name!r} has shape {output.shape}")
    if target is None or isinstance(target, (str, bool)):
        raise InputError(
            f"target {target!r}: give 'input', 'predicted', an int or a tuple of ints for output {output.shape}"
        )
    indices = (int(target),) if isinstance(target, (int, np.integer)) else tuple(int(t) for t in target)
    if len(indices) == len(dims):  # from the end, where the end is known
        indices = tuple(t + d if d is not None and -d <= t < 0 else t for t, d in zip(indices, dims, strict=True))
    if len(indices) != len(dims) or any(
        t < 0 or (d is not None and t >= d) for t, d in zip(indices, dims, strict=False)
    ):
        raise InputError(
            f"target {indices} does not select one element per example of output {output.name!r} {output.shape}"
        )
    return indices


def _output(model: Model, name: str | None) -> ir.Value:
    if name is not None:
        return _inner(model, name)
    floats = [y for y in model.outputs if is_float(y)]
    if len(floats) > 1:  # those that are constants or inputs themselves explain nothing
        computed = all_dependents(list(model.ir_model.graph), model.inputs) - {*model.inputs}
        floats = [y for y in floats if y in computed] or floats
    if len(floats) == 1:
        return floats[0]
    listed = ", ".join(f"{y.name} {y.dtype} {y.shape}" for y in model.outputs)
    raise InputError(f"the model has {len(floats)} float outputs; choose one with output=: {listed}")


def _float_inputs(model: Model) -> list[str]:
    """The only float input, or all of them where they are columns of one table.

    Raises:
        InputError: there is none, or there are several and they are something else.
    """
    floats = [x for x in model.required_inputs if is_float(x)]
    if len(floats) == 1 or (floats and _is_table(model.required_inputs)):
        return [str(x.name) for x in floats]
    listed = ", ".join(f"{x.name} {x.dtype} {x.shape}" for x in model.inputs)
    if not floats:
        graph = model.ir_model.graph
        raise InputError(f"the model has no float input ({listed}): {where_instead(graph, graph.inputs)}")
    raise InputError(f"the model has {len(floats)} float inputs; choose with inputs=: {listed}")


def _is_table(inputs: Sequence[ir.Value]) -> bool:
    """Whether the inputs are columns of one table: [N] or [N, k] each, of one N."""
    shapes = [[] if x.shape is None else [d if isinstance(d, int) else d.value for d in x.shape] for x in inputs]
    rows = {shape[0] for shape in shapes if len(shape) in (1, 2)}
    vectors_of_features = any(len(shape) == 1 and isinstance(shape[0], int) for shape in shapes)
    return all(len(shape) in (1, 2) for shape in shapes) and len(rows) == 1 and not vectors_of_features


def _input(model: Model, name: str) -> ir.Value:
    for value in model.inputs:
        if value.name == name:
            return value
    known = [str(x.name) for x in model.inputs]
    raise UsageError(f"the model has no input {name!r}{nearest(name, known)}; its inputs are {', '.join(known)}")


def _attributable(model: Model, name: str) -> ir.Value:
    value = _input(model, name)
    if value.dtype is not None and not is_float(value):
        raise InputError(
            f"input {name!r} holds {value.dtype.name.lower()}: {where_instead(model.ir_model.graph, [value])}"
        )
    return value


def _inner(model: Model, name: str) -> ir.Value:
    value = tensor_called(model, name)
    if not is_float(value):
        raise InputError(f"tensor {name!r} holds {value.dtype}: only float tensors can be attributed")
    return value


def default_inputs(model: Model, at: Sequence[str]) -> list[str]:
    """The inputs that the baseline replaces unless named: what the tensors ``at`` are computed from, or the only float,
    or all floats of a table.

    Raises:
        UsageError, InputError: no such tensor, or several float inputs.
    """
    if not at:
        return _float_inputs(model)
    tensors, nodes = {_inner(model, name) for name in at}, by_value(model.ir_model.graph)
    return [str(x.name) for x in model.inputs if tensors & all_dependents(nodes, [x])]
