"""Attribute an ordinary model: differentiate it, and let the engine run it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from onnx_ig.attribution import default_inputs, make_plan
from onnx_ig.attribution.batch_axis import examples_first
from onnx_ig.attribution.layout import example_shape
from onnx_ig.cli.options import DEFAULT_ALGORITHM
from onnx_ig.cli.request import AttributeOptions, Found
from onnx_ig.cli.values import Values, read_values
from onnx_ig.common.types import Progress
from onnx_ig.engine.advice import Notes, notes_of
from onnx_ig.engine.engine import Attribution, Request
from onnx_ig.engine.opening import open_engine
from onnx_ig.engine.path_rule import FixedSteps, path_rule
from onnx_ig.errors import InputError, UsageError
from onnx_ig.graph.declared import spec_of
from onnx_ig.loading.model import Model, tensors_of
from onnx_ig.methods.arguments import (
    broadcast_baselines,
    broadcast_target,
    check_inputs,
    check_rows,
    chosen_target,
)


def attribute_plain(model: Model, options: AttributeOptions, progress: Progress) -> Found:
    """Attributions of ``model``'s inputs, or of the tensors ``options.at``.

    Raises:
        UsageError, InputError, NotDifferentiableError, ProviderError, OutOfMemoryError: see those classes.
    """
    model = examples_first(model, options.batch_axis)
    algorithm = options.algorithm or DEFAULT_ALGORITHM
    integrated = algorithm == DEFAULT_ALGORITHM
    if not integrated:
        _refuse_path_options(options)
    rule = path_rule(options.n_steps, options.method, options.tolerance, options.max_steps)  # type: ignore[arg-type]

    values = read_values(
        [spec_of(x) for x in model.inputs], lambda: default_inputs(model, options.at), options.inputs, options.extra,
        options.baselines, options.pictures, files=options.files,
        allow_nonfinite=options.allow_nonfinite, otherwise=model.defaults,
    )  # fmt: skip
    _refuse_early(model, options, values)
    engine = open_engine(
        model,
        {**values.inputs, **values.extra},
        algorithm=algorithm,
        provider=options.provider,
        inputs=list(values.inputs),
        output=options.output,
        at=list(options.at),
        per_example=tuple(options.per_example),
        batch_axis=options.batch_axis and 0,
        multiply_by_inputs=options.multiply_by_inputs is not False,
    )
    if not options.at:
        check_inputs(values.inputs, options.allow_nonfinite)
    layout = engine.plan.layout
    examples = 1 if layout.kind == "none" else len(next(iter(values.inputs.values())))
    per_example = {name: value for name, value in values.extra.items() if name in engine.plan.per_example}
    check_rows({name: value for name, value in per_example.items() if len(value) != 1}, examples)
    dims = engine.output_dims(values.inputs, values.extra)
    target: Any = chosen_target(
        values.target(options.target), dims, lambda: engine.predicted(values.inputs, values.extra), predict=True
    )
    request = Request(
        inputs=values.inputs,
        target=broadcast_target(target, examples, dims),
        examples=examples,
        baselines=broadcast_baselines(values.inputs, values.baselines, options.allow_nonfinite) if integrated else {},
        per_example=per_example,
        shared={name: value for name, value in values.extra.items() if name not in per_example},
    )
    size = options.internal_batch_size
    if integrated:
        result: Attribution = rule.integrate(
            engine, request, estimate=True, internal_batch_size=size, progress=progress
        )
    else:
        result = engine.gradient(request, internal_batch_size=size, progress=progress)
    assert result.scores is not None
    notes = notes_of(engine, model, rule, request, result, missed=False) if integrated else Notes()
    return Found(
        algorithm=algorithm,
        attributions=result.attributions,
        score=result.scores,
        provider=engine.provider,
        inputs={name: value for name, value in values.inputs.items() if name in result.attributions},
        batched=layout.kind != "none",
        target=request.target,
        baseline_score=result.baseline_scores,
        convergence_delta=result.delta,
        method=rule.method if integrated and isinstance(rule, FixedSteps) else None,
        n_steps=rule.n_steps if integrated and isinstance(rule, FixedSteps) else None,
        tolerance=options.tolerance,
        error_estimate=result.error_estimate,
        steps_used=result.steps_used,
        missed=rule.missed(result) if integrated else None,
        pictures={name: value for name, value in values.pictures.items() if name in result.attributions},
        series={name: value for name, value in values.series.items() if name in result.attributions},
        features={name: value for name, value in values.features.items() if name in result.attributions},
        rows=values.rows,
        example_names=values.example_names if layout.kind != "none" else (),
        notes=(*values.notes, *notes.all),
        straight_through=engine.straight_through,
    )


def _refuse_early(model: Model, options: AttributeOptions, values: Values) -> None:
    """Whether names, target and baselines fit, as far as declared shapes tell: building the gradient takes its time.

    Raises:
        UsageError, InputError: they do not.
    """
    broadcast_baselines(values.inputs, values.baselines, options.allow_nonfinite)
    try:
        plan = make_plan(
            model,
            inputs=list(values.inputs),
            output=options.output,
            at=list(options.at),
            batch_axis=options.batch_axis and 0,
        )
    except InputError:  # of ranks that only the data tell: the engine sees both
        return
    by_name = {str(tensor.name): tensor for tensor in tensors_of(model.ir_model.graph)}
    alone, examples = plan.layout.kind == "none", len(next(iter(values.inputs.values()), ()))
    fed = {**values.inputs, **values.extra}
    sizes = {d: n for x in model.inputs if x.shape for d, n in zip(x.shape, fed[str(x.name)].shape, strict=False)}
    shapes: dict[str, Sequence[int | None] | None] = {}
    for name in plan.at:
        declared = by_name[name].shape
        shape = None if declared is None else [d if isinstance(d, int) else sizes.get(d) for d in declared]
        shapes[name] = [1, *shape] if alone and shape is not None else shape
    dims = example_shape(by_name[plan.output], plan.layout)
    options.names.check(shapes, 1 if alone else examples, dims)
    known = [d for d in dims if d is not None]
    target = values.target(options.target)
    if len(known) == len(dims) and not (target is None or isinstance(target, str)):
        broadcast_target(target, 1 if alone else examples, known)


def _refuse_path_options(options: AttributeOptions) -> None:
    """Raise UsageError for options of a path where there is none."""
    given = {
        "--method": options.method,
        "--n-steps": options.n_steps,
        "--tolerance": options.tolerance,
        "--max-steps": options.max_steps,
        "--baseline": options.baselines,
    }
    for name, value in given.items():
        if value:
            raise UsageError(f"{name} goes with integrated-gradients: input-x-gradient has no path and no baseline")
