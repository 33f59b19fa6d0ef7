"""Decide what an attribution model will contain: which inputs are attributed, where the path lies, what is baked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import get_args

import onnx_ir as ir

from onnx_ig.attribution.chosen_targets import ChosenTarget, TargetSpec, TargetsSpec, one_target, several_targets
from onnx_ig.attribution.chosen_tensors import attributable, default_inputs, float_tensor, input_called, output_called
from onnx_ig.attribution.decisions import decided_by_data
from onnx_ig.attribution.layout import (
    NO_BATCH,
    Layout,
    dims_of,
    example_shape,
    layout_of,
    require_examples_first,
    target_axis,
    with_rows_elsewhere,
)  # fmt: skip
from onnx_ig.attribution.summed_axes import map_of_nothing, require_maps, summed_axes
from onnx_ig.attribution.training import training_nodes
from onnx_ig.common.types import Algorithm, Array, Form, SumOver
from onnx_ig.errors import InputError, UsageError
from onnx_ig.graph.copying import needed_for
from onnx_ig.graph.reading import read_by
from onnx_ig.loading.model import Model, refuse_attribution_model

ALGORITHMS: tuple[Algorithm, ...] = get_args(Algorithm)
MAPS: tuple[Algorithm, ...] = ("grad-cam", "hirescam")  # of a convolution: products summed over its channels
FORMS: tuple[Form, ...] = ("complete", "step")

BaselineSpec = float | str | Array

STEPS_PER_RUN = 16  # path points that the complete form evaluates together, unless told


@dataclass(frozen=True)
class Plan:
    """Everything that is decided before a graph is built.

    Attributes:
        attributed: names of the model inputs that the baseline replaces.
        at: names of the tensors whose attribution is reported (the attributed inputs unless chosen otherwise).
        output: name of the tensor F is selected from.
        target: ``input`` (a graph input), ``predicted`` (of several: those of the largest outputs, the largest first),
            indices, indices of each of several targets, or None when the output is one number per example.
        target_rank: number of output axes a target selects from.
        targets: how many targets each example has, on axis 1 of the input of targets and of the attributions (axis 0
            where there is no axis of examples), and on the last one of the scores; 1: there is no such axis.
        path_parts: how many sums over points of the path the step form finds apart, for each target one beside the
            other on that axis; more than one are sums over the ranges of points that an input holds, [path_parts, 2].
        baselines: per attributed input ``input`` (a graph input), a number or a text, or an array.
        path: nodes and weights to bake, or None for inputs.
        to_tolerance: instead, the relative error at which the complete form stops, and the most steps it takes.
        steps_per_run: path points per evaluation inside the complete form; 0 for no loop.
        per_example: additional inputs with one row per example.
        method: the name of the baked path's quadrature rule, for the contract.
        prefix: put before every name that the attribution model adds.
        affine_prefix: lay the path behind the affine part of the model (the same result for less work).
        in_sequence: the complete form's chunks of the path are so many copies of the step, not turns of a loop.
        own_outputs: whether the complete form gives the model's own outputs as well.
        path_points: the length of a path that is an input, where that is settled.
        pooled: of Input×Gradient, the factor beside the tensor is the mean of its gradient over the axes behind that of
            channels.
        sum_over: along what the attributions are added up, inside the graph; ``summed_axes``: the axis of each tensor
            in ``at``, which stays with size 1.
    """

    algorithm: str
    form: str
    attributed: list[str]
    at: list[str]
    output: str
    layout: Layout
    target: ChosenTarget
    target_rank: int
    baselines: dict[str, BaselineSpec]
    path: tuple[Array, Array] | None
    steps_per_run: int
    per_example: frozenset[str]
    multiply_by_inputs: bool
    method: str | None = None
    prefix: str = ""
    affine_prefix: bool = True
    to_tolerance: tuple[float, int] | None = None
    targets: int = 1
    in_sequence: bool = False
    own_outputs: bool = True
    path_points: int | None = None
    path_parts: int = 1
    pooled: bool = False
    sum_over: SumOver | None = None
    summed_axes: dict[str, int] = field(default_factory=dict)

    @property
    def is_integrated(self) -> bool:
        """Whether a path is integrated over (else Input×Gradient, or the map that its products add up to)."""
        return self.algorithm == "integrated-gradients"

    @property
    def target_axis(self) -> int:
        """The axis of several targets in the attributions."""
        return target_axis(self.layout)


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
    to_tolerance: tuple[float, int] | None = None,
    targets: TargetsSpec | None = None,
    in_sequence: bool = False,
    path_points: int | None = None,
    pooled: bool = False,
    sum_over: SumOver | None = None,
) -> Plan:
    """Resolve the defaults of :func:`onnx_ig.export` against a model.

    ``batch_axis``: None: the tensors hold one example, whatever their shapes look like; else the shapes tell.
    ``declared_rows``: the number of examples to declare, where the model's batch was fixed and has been freed, or is
    to be fixed. ``in_sequence``, ``path_points``, ``pooled``: see :class:`Plan`. ``targets``: instead of ``target``, a
    number of them as an input, ``top-3``, ``input-3``, or several. ``sum_over``: see
    :func:`onnx_ig.attribution.summed_axes.summed_axes`.

    Raises:
        UsageError: an unknown algorithm, form or name, or options that contradict each other.
        InputError: the default input or output is ambiguous, the target does not fit the output, the examples of the
            output or of a tensor in ``at`` are not on axis 0, or a tensor has no axis to sum over.
        NotDifferentiableError: a node is in training mode.
    """
    refuse_attribution_model(model)
    _refuse_contradictions(algorithm, form, steps_per_run, to_tolerance)
    _refuse_sums_of_no_meaning(algorithm, sum_over, multiply_by_inputs=multiply_by_inputs)
    chosen_output = output_called(model, output)
    nodes = needed_for([chosen_output], [], list(model.ir_model.graph))
    for refusal in training_nodes(nodes, model):
        raise refusal
    if algorithm in MAPS and not at:
        raise map_of_nothing(algorithm, nodes)
    attributed = list(inputs) if inputs else default_inputs(model, at or ())
    tensors = [float_tensor(model, name) for name in at] if at else [attributable(model, name) for name in attributed]
    sources = [input_called(model, name) for name in attributed]
    assert not batch_axis, "the examples are brought to axis 0 before"
    layout = NO_BATCH if batch_axis is None else layout_of(sources, chosen_output, declared_rows)
    alone = "this one has none"
    if layout.batched:
        layout, alone = _riding(model, chosen_output, sources, tensors, layout, per_example)
    for tensor in (chosen_output, *tensors):
        require_examples_first(tensor, layout)
    if algorithm in MAPS:
        require_maps(algorithm, tensors, layout)
        sum_over = "channels"
    if steps_per_run == 0 and not layout.batched and algorithm == "integrated-gradients":
        raise UsageError(
            f"a loop-free model needs a batch axis on its inputs and its output for the path points; {alone}, so it "
            "evaluates one path point at a time: leave steps_per_run out"
        )
    dims = example_shape(chosen_output, layout)
    each, chosen = 1, one_target(target, dims, chosen_output)
    if targets is not None:
        each, chosen = several_targets(targets, dims, chosen_output)
    return Plan(
        algorithm=algorithm,
        form=form,
        attributed=attributed,
        at=[str(t.name) for t in tensors],
        output=str(chosen_output.name),
        layout=layout,
        target=chosen,
        target_rank=len(dims),
        baselines=_baselines(baselines, attributed),
        path=path,
        steps_per_run=1 if not layout.batched else STEPS_PER_RUN if steps_per_run is None else steps_per_run,
        per_example=frozenset(str(x.name) for x in _in_rows(model, layout, per_example) if x.name not in attributed),
        multiply_by_inputs=multiply_by_inputs,
        method=method,
        prefix=prefix,
        affine_prefix=affine_prefix,
        to_tolerance=to_tolerance,
        targets=each,
        in_sequence=in_sequence,
        path_points=path_points,
        pooled=pooled or algorithm == "grad-cam",
        sum_over=sum_over,
        summed_axes=summed_axes(sum_over, tensors, layout),
    )


def _refuse_contradictions(
    algorithm: str, form: str, steps_per_run: int | None, to_tolerance: tuple[float, int] | None
) -> None:
    for value, allowed, what in ((algorithm, ALGORITHMS, "algorithm"), (form, FORMS, "form")):
        if value not in allowed:
            raise UsageError(f"unknown {what} {value!r}: choose {' or '.join(allowed)}")
    if algorithm != "integrated-gradients" and form == "step":
        raise UsageError(f"{algorithm} has no path to step along: export it with form='complete'")
    if steps_per_run is not None and steps_per_run < 0:
        raise UsageError(f"steps_per_run must be 0 (no loop) or more, not {steps_per_run}")
    if to_tolerance is not None and (form == "step" or steps_per_run == 0):
        which = "form='step'" if form == "step" else "steps_per_run=0"
        raise UsageError(
            f"tolerance= (--tolerance) needs a loop that ends by itself, and a model with {which} has none: export the "
            "complete form with its loop, or leave the tolerance out"
        )


def _refuse_sums_of_no_meaning(algorithm: str, sum_over: SumOver | None, *, multiply_by_inputs: bool) -> None:
    """Raise UsageError where there is nothing that the sums would be of."""
    if algorithm in MAPS:
        if sum_over not in (None, "channels"):
            raise UsageError(f"{algorithm} sums over channels: leave sum_over={sum_over!r} (--sum-over) out")
        if not multiply_by_inputs:
            raise UsageError(
                f"{algorithm} is a sum of products with the layer's values: leave multiply_by_inputs=False "
                "(--no-multiply-by-inputs) out"
            )
    if sum_over is not None and not multiply_by_inputs:
        raise UsageError(
            f"sum_over={sum_over!r} (--sum-over) adds up what each element adds to F, and without the factor "
            "(x − baseline) there are gradients alone: leave multiply_by_inputs=False (--no-multiply-by-inputs) out"
        )


def _riding(
    model: Model,
    output: ir.Value,
    sources: Sequence[ir.Value],
    tensors: Sequence[ir.Value],
    layout: Layout,
    per_example: Sequence[str],
) -> tuple[Layout, str]:
    """A batched ``layout`` with what keeps path points from riding as further rows, and that in words, if anything.

    Raises:
        InputError: the data decide what is run, and the examples cannot be taken apart.
    """
    nodes = needed_for([output], [], list(model.ir_model.graph))
    decided = decided_by_data(nodes, {*sources, *tensors, *_in_rows(model, layout, per_example)})
    shapes = {str(x.name): dims_of(x) for x in model.inputs}
    elsewhere = with_rows_elsewhere(shapes, [str(x.name) for x in sources], layout.symbol)
    read = {x for node in nodes for x in read_by(node)}
    others = [x for x in model.inputs if x in read and x.name in elsewhere]
    layout = replace(layout, apart=bool(decided), whole=bool(others))
    if not decided:
        return layout, f"{others[0].name!r} has the examples on another axis" if others else ""
    runs = f"the data decide what {{}} {decided[0].op_type} {decided[0].name or ''!r} runs"
    if others:
        raise InputError(
            f"{runs.format('the')}, so each example has to be evaluated alone; input {others[0].name!r} "
            f"{others[0].shape} has its examples on another axis than the first: move them there (a Transpose in the "
            "model), or call it with batch_axis=None (--batch-axis none)"
        )
    return layout, runs.format("its")


def _in_rows(model: Model, layout: Layout, per_example: Sequence[str]) -> list[ir.Value]:
    """The inputs with a row per example: those said to have, and those whose axis 0 is the batch."""
    return [x for x in model.inputs if x.name in per_example or _has_examples_first(x, layout)]


def _baselines(given: BaselineSpec | Mapping[str, BaselineSpec], attributed: Sequence[str]) -> dict[str, BaselineSpec]:
    per_input = dict(given) if isinstance(given, Mapping) else dict.fromkeys(attributed, given)
    for name in per_input:
        if name not in attributed:
            raise UsageError(f"a baseline is given for {name!r}, which is not attributed ({', '.join(attributed)})")
    return {name: per_input.get(name, 0) for name in attributed}


def _has_examples_first(x: ir.Value, layout: Layout) -> bool:
    """Whether axis 0 of ``x`` is the batch by its name, or is fixed to as many examples."""
    if layout.symbol is not None:
        return _symbol(x) == layout.symbol
    return layout.kind == "fixed" and dims_of(x)[:1] == [layout.n]


def _symbol(x: ir.Value) -> str | None:
    """The name of the dimension of axis 0."""
    return getattr(x.shape[0], "value", None) if x.shape else None
